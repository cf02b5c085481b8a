// A million of each operation on floats, and the instructions that QEMU counts for
// them, to compare a microcontroller's profile with what was measured on the part:
// docs/device-time.md. Runs on QEMU's mps2-an386 with an instruction every 128 ns.
#include <stdint.h>

#define COUNTER (*(volatile uint32_t *)0x40028018)  // FPGAIO COUNTER, 40 ns a tick
#define UART_DATA (*(volatile uint32_t *)0x40004000)
#define UART_STATE (*(volatile uint32_t *)0x40004004)
#define UART_CONTROL (*(volatile uint32_t *)0x40004008)
#define UART_DIVIDER (*(volatile uint32_t *)0x40004010)
#define RESET (*(volatile uint32_t *)0xe000ed0c)
#define FPU_ACCESS (*(volatile uint32_t *)0xe000ed88)

enum { TIMES = 1000000 };

static volatile float a = 7.7f, b = 3.3f, result;

static void put(const char *text)
{
    for (; *text; text++) {
        while (UART_STATE & 1) {
        }
        UART_DATA = (uint32_t)*text;
    }
}

static void report(const char *name, uint32_t ticks)
{
    uint32_t instructions = (uint32_t)((uint64_t)ticks * 40 / 128);
    char digits[12];
    char *at = digits + sizeof digits - 1;
    *at = 0;
    do {
        *--at = (char)('0' + instructions % 10);
    } while ((instructions /= 10) != 0);
    put(name);
    put(" ");
    put(at);
    put("\n");
}

#define MEASURE(name, operation)                     \
    do {                                             \
        uint32_t begin = COUNTER;                    \
        for (uint32_t i = 0; i < TIMES; i++)         \
            result = a operation b;                  \
        report(name, COUNTER - begin);               \
    } while (0)

void start(void)
{
#ifdef __ARM_FP
    FPU_ACCESS |= 0xf << 20;
    __asm__ volatile("dsb\n isb");
#endif
    UART_DIVIDER = 16;
    UART_CONTROL = 1;
    a = 7.7f, b = 3.3f;  // nothing has copied initial values
    MEASURE("add", +);
    MEASURE("subtract", -);
    MEASURE("multiply", *);
    MEASURE("divide", /);
    RESET = 0x05fa0004;
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static void *const vectors[] = {
    (void *)0x20400000,
    (void *)start,
};
