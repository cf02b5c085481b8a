//! The system clock of a Stellaris LM3S6965: 50 MHz, and the devices on.
//!
//! Source: LM3S6965 data sheet, sections 5.2.5 and 5.4 (system control). That
//! pins must be given to UART and Ethernet is left out: the emulator has none.

use super::registers::Registers;

const SYSTEM_CONTROL: usize = 0x400f_e000;
const RAW_INTERRUPT_STATUS: usize = 0x050;
const PLL_LOCKED: u32 = 1 << 6;
const INTERRUPT_CLEAR: usize = 0x058;
const RUN_CLOCK: usize = 0x060;
const RUN_CLOCK_SYSTEM_DIVIDER: u32 = 1 << 22;
const RUN_CLOCK_BYPASS: u32 = 1 << 11;
/// 200 MHz from a crystal of 8 MHz and the main oscillator, by 4; the PLL on.
const RUN_CLOCK_50_MHZ: u32 = 3 << 23 | RUN_CLOCK_SYSTEM_DIVIDER | 0xe << 6;
const CLOCK_GATE_0: usize = 0x100;
const CLOCK_GATE_0_WATCHDOG: u32 = 1 << 3;
const CLOCK_GATE_1: usize = 0x104;
const CLOCK_GATE_1_TIMER_0: u32 = 1 << 16;
const CLOCK_GATE_1_UART_0: u32 = 1;
const CLOCK_GATE_2: usize = 0x108;
const CLOCK_GATE_2_ETHERNET: u32 = 1 << 30 | 1 << 28;

/// Polls of the PLL before it is taken for locked.
const POLLS_MAX: u32 = 100_000;

/// To be called once, before any device is used.
pub(super) fn init() {
    // SAFETY: every LM3S6965 has its system control here.
    let registers = unsafe { Registers::new(SYSTEM_CONTROL) };
    registers.write(INTERRUPT_CLEAR, PLL_LOCKED);
    registers.write(RUN_CLOCK, RUN_CLOCK_50_MHZ | RUN_CLOCK_BYPASS);
    for _ in 0..POLLS_MAX {
        if registers.read(RAW_INTERRUPT_STATUS) & PLL_LOCKED != 0 {
            break;
        }
    }
    registers.write(RUN_CLOCK, RUN_CLOCK_50_MHZ);
    for (gate, devices) in [
        (CLOCK_GATE_0, CLOCK_GATE_0_WATCHDOG),
        (CLOCK_GATE_1, CLOCK_GATE_1_TIMER_0 | CLOCK_GATE_1_UART_0),
        (CLOCK_GATE_2, CLOCK_GATE_2_ETHERNET),
    ] {
        registers.write(gate, registers.read(gate) | devices);
    }
}
