//! The processor: memory guard, trap entry, registers, reset.
//!
//! Source: The RISC-V Instruction Set Manual, volume II, privileged
//! architecture 1.12: chapter 3 for machine mode, section 3.7 for the physical
//! memory protection (PMP).

use core::arch::{asm, global_asm};
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::super::memory;
use super::super::registers::Registers as DeviceRegisters;
use super::interrupt::on_interrupt;
use crate::Board;

/// What the stack is filled with, to see how much of it was ever used.
pub(crate) const STACK_PAINT_VALUE: u32 = 0xcccc_cccc;

/// The mebibyte below the stack, in the encoding of a naturally aligned power
/// of two.
const PMP_SIZE_1_MIB: usize = (1 << 20 >> 3) - 1;
/// Locked, which holds for machine mode too; a naturally aligned power of
/// two; no access and no execution.
const PMP_NO_ACCESS: u32 = 1 << 7 | 3 << 3;

/// "Reset" to the device that ends or restarts the machine.
const RESET: u32 = 0x7777;

static RESET_REGISTER: AtomicUsize = AtomicUsize::new(0);

/// Guards the memory below the stack, so that an overflow faults instead of
/// writing on.
pub(crate) fn init(board: &Board) {
    RESET_REGISTER.store(board.reset_register, Ordering::Relaxed);
    let stack_low = memory::stack_low_address();
    let guard = (stack_low - (1 << 20)) >> 2 | PMP_SIZE_1_MIB;
    // SAFETY: fills the part of the stack that is not in use. Forbids memory
    // that nothing is placed in (the build script keeps the mebibyte below
    // the stack free) and changes no other.
    unsafe {
        asm!(
            "2: bgeu {address}, sp, 3f",
            "sw {paint}, 0({address})",
            "addi {address}, {address}, 4",
            "j 2b",
            "3:",
            address = inout(reg) stack_low => _,
            paint = in(reg) STACK_PAINT_VALUE,
            options(nostack),
        );
        asm!(
            "csrw pmpaddr0, {guard}",
            "csrw pmpcfg0, {config}",
            guard = in(reg) guard,
            config = in(reg) PMP_NO_ACCESS,
            options(nostack),
        );
    }
}

// The entry of all traps, in place of riscv-rt's. Interrupts run on the stack
// of whom they interrupt; an exception is a fault and enters on a stack of its
// own, for the faulting one may be full. Where there are floating-point
// registers, a handler may use them (to copy, say), so they are saved too.
#[cfg(hardware_float)]
global_asm!(
    // Linked as one, the assembler forgets what the target has.
    ".macro zfl_save_float",
    ".option push",
    ".option arch, +f",
    "addi sp, sp, -96",
    "csrr t0, fcsr",
    "sw t0, 80(sp)",
    "fsw ft0, 0(sp)",
    "fsw ft1, 4(sp)",
    "fsw ft2, 8(sp)",
    "fsw ft3, 12(sp)",
    "fsw ft4, 16(sp)",
    "fsw ft5, 20(sp)",
    "fsw ft6, 24(sp)",
    "fsw ft7, 28(sp)",
    "fsw fa0, 32(sp)",
    "fsw fa1, 36(sp)",
    "fsw fa2, 40(sp)",
    "fsw fa3, 44(sp)",
    "fsw fa4, 48(sp)",
    "fsw fa5, 52(sp)",
    "fsw fa6, 56(sp)",
    "fsw fa7, 60(sp)",
    "fsw ft8, 64(sp)",
    "fsw ft9, 68(sp)",
    "fsw ft10, 72(sp)",
    "fsw ft11, 76(sp)",
    ".option pop",
    ".endm",
    ".macro zfl_restore_float",
    ".option push",
    ".option arch, +f",
    "flw ft0, 0(sp)",
    "flw ft1, 4(sp)",
    "flw ft2, 8(sp)",
    "flw ft3, 12(sp)",
    "flw ft4, 16(sp)",
    "flw ft5, 20(sp)",
    "flw ft6, 24(sp)",
    "flw ft7, 28(sp)",
    "flw fa0, 32(sp)",
    "flw fa1, 36(sp)",
    "flw fa2, 40(sp)",
    "flw fa3, 44(sp)",
    "flw fa4, 48(sp)",
    "flw fa5, 52(sp)",
    "flw fa6, 56(sp)",
    "flw fa7, 60(sp)",
    "flw ft8, 64(sp)",
    "flw ft9, 68(sp)",
    "flw ft10, 72(sp)",
    "flw ft11, 76(sp)",
    "lw t0, 80(sp)",
    "csrw fcsr, t0",
    "addi sp, sp, 96",
    ".option pop",
    ".endm",
);

#[cfg(not(hardware_float))]
global_asm!(
    ".macro zfl_save_float",
    ".endm",
    ".macro zfl_restore_float",
    ".endm",
);

global_asm!(
    ".section .bss.fault_stack,\"aw\",@nobits",
    ".balign 16",
    "zfl_fault_registers: .space 128",
    "zfl_fault_stack: .space 4096",
    "zfl_fault_stack_top:",
    ".section .trap.start,\"ax\"",
    ".global _start_trap",
    ".balign 4",
    "_start_trap:",
    "csrw mscratch, t0",
    "csrr t0, mcause",
    "bltz t0, 2f",
    "la t0, zfl_fault_registers",
    ".irp n, 1,2,3,4,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "sw x\\n, 4*\\n(t0)",
    ".endr",
    "csrr t1, mscratch",
    "sw t1, 4*5(t0)",
    "mv a0, t0",
    "la sp, zfl_fault_stack_top",
    "call {fault}",
    "3: j 3b",
    "2:",
    "csrr t0, mscratch",
    "addi sp, sp, -64",
    "sw ra, 0(sp)",
    "sw t0, 4(sp)",
    "sw t1, 8(sp)",
    "sw t2, 12(sp)",
    "sw t3, 16(sp)",
    "sw t4, 20(sp)",
    "sw t5, 24(sp)",
    "sw t6, 28(sp)",
    "sw a0, 32(sp)",
    "sw a1, 36(sp)",
    "sw a2, 40(sp)",
    "sw a3, 44(sp)",
    "sw a4, 48(sp)",
    "sw a5, 52(sp)",
    "sw a6, 56(sp)",
    "sw a7, 60(sp)",
    "zfl_save_float",
    "csrr a0, mcause",
    "slli a0, a0, 1",
    "srli a0, a0, 1",
    "call {interrupt}",
    "zfl_restore_float",
    "lw ra, 0(sp)",
    "lw t0, 4(sp)",
    "lw t1, 8(sp)",
    "lw t2, 12(sp)",
    "lw t3, 16(sp)",
    "lw t4, 20(sp)",
    "lw t5, 24(sp)",
    "lw t6, 28(sp)",
    "lw a0, 32(sp)",
    "lw a1, 36(sp)",
    "lw a2, 40(sp)",
    "lw a3, 44(sp)",
    "lw a4, 48(sp)",
    "lw a5, 52(sp)",
    "lw a6, 56(sp)",
    "lw a7, 60(sp)",
    "addi sp, sp, 64",
    "mret",
    fault = sym fault_entry,
    interrupt = sym on_interrupt,
);

extern "C" fn fault_entry(saved: &[u32; 32]) -> ! {
    let status = FaultStatus::read();
    let registers = Registers {
        x: *saved,
        pc: Some(status.mepc),
    };
    crate::fault::on_fault(&registers, &status)
}

/// The processor's registers as far as they are known.
#[derive(Default)]
pub(crate) struct Registers {
    /// `x0` to `x31`.
    x: [u32; 32],
    pc: Option<u32>,
}

impl Registers {
    /// The registers here and now, for a panic.
    #[inline(always)]
    pub(crate) fn capture() -> Self {
        let mut x = [0u32; 32];
        let pc: u32;
        // SAFETY: stores the registers into `x`; one of them has its address.
        unsafe {
            asm!(
                ".irp n, 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
                "sw x\\n, 4*\\n({x})",
                ".endr",
                "auipc {pc}, 0",
                x = in(reg) x.as_mut_ptr(),
                pc = lateout(reg) pc,
                options(nostack),
            );
        }
        Self { x, pc: Some(pc) }
    }

    /// Where the program was.
    pub(crate) const fn pc(&self) -> Option<usize> {
        match self.pc {
            Some(pc) => Some(pc as usize),
            None => None,
        }
    }

    pub(crate) const fn sp(&self) -> usize {
        self.x[2] as usize
    }
}

impl fmt::Display for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 32] = [
            "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3",
            "a4", "a5", "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11",
            "t3", "t4", "t5", "t6",
        ];
        for (index, (name, value)) in NAMES.iter().zip(self.x).enumerate().skip(1) {
            let end = if index % 4 == 3 { '\n' } else { ' ' };
            write!(f, "{name:<3}={value:#010x}{end}")?;
        }
        write!(f, "pc ={:#010x}", self.pc.unwrap_or(0))
    }
}

/// Why the processor faulted.
pub(crate) struct FaultStatus {
    mcause: u32,
    mepc: u32,
    mtval: u32,
}

impl FaultStatus {
    fn read() -> Self {
        let (mcause, mepc, mtval);
        // SAFETY: reads three status registers, which changes nothing.
        unsafe {
            asm!(
                "csrr {mcause}, mcause",
                "csrr {mepc}, mepc",
                "csrr {mtval}, mtval",
                mcause = out(reg) mcause,
                mepc = out(reg) mepc,
                mtval = out(reg) mtval,
                options(nomem, nostack),
            );
        }
        Self {
            mcause,
            mepc,
            mtval,
        }
    }

    /// The address of an access that was not allowed.
    pub(crate) const fn address(&self) -> Option<u32> {
        match self.mcause {
            0 | 1 | 4..=7 => Some(self.mtval),
            _ => None,
        }
    }

    /// The exception by name (section 3.1.15, table 3.6).
    pub(crate) const fn cause(&self) -> &'static str {
        match self.mcause {
            0 => "instruction address misaligned",
            1 => "instruction fetch not allowed",
            2 => "illegal instruction",
            3 => "breakpoint",
            4 => "load address misaligned",
            5 => "load not allowed",
            6 => "store address misaligned",
            7 => "store not allowed",
            11 => "environment call",
            _ => "unknown exception",
        }
    }
}

impl fmt::Display for FaultStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "mcause={:#010x} mepc={:#010x} mtval={:#010x}",
            self.mcause, self.mepc, self.mtval
        )
    }
}

/// Interrupts on, once all is set up.
pub(crate) fn start_interrupts() {
    // SAFETY: no critical section is open before the executor's loop.
    unsafe { ::riscv::interrupt::enable() };
}

/// Sleeps until an interrupt is pending, unless `is_awake`; without losing one
/// that comes in between: a pending interrupt ends `wfi` even when masked.
pub(crate) fn sleep_unless(is_awake: impl FnOnce() -> bool, sleep: impl FnOnce(fn())) {
    ::riscv::interrupt::disable();
    if !is_awake() {
        sleep(::riscv::asm::wfi);
    }
    // SAFETY: no critical section is open in the executor's loop.
    unsafe { ::riscv::interrupt::enable() };
}

/// What `minstret` says.
pub(crate) fn instructions_retired() -> u64 {
    loop {
        let (high, low, high_again): (u32, u32, u32);
        // SAFETY: reads counters, which changes nothing.
        unsafe {
            asm!(
                "csrr {high}, minstreth",
                "csrr {low}, minstret",
                "csrr {high_again}, minstreth",
                high = out(reg) high,
                low = out(reg) low,
                high_again = out(reg) high_again,
                options(nomem, nostack),
            );
        }
        if high == high_again {
            return u64::from(high) << 32 | u64::from(low);
        }
    }
}

/// By how much `minstret` grows with an instruction.
pub(crate) fn instruction_step() -> u32 {
    let (first, second): (u32, u32);
    // SAFETY: reads counters, which changes nothing.
    unsafe {
        asm!(
            "csrr {first}, minstret",
            "csrr {second}, minstret",
            first = out(reg) first,
            second = out(reg) second,
            options(nomem, nostack),
        );
    }
    second.wrapping_sub(first)
}

/// Interrupts off, for good: the last words are not to be interrupted.
pub(crate) fn mask_interrupts() {
    ::riscv::interrupt::disable();
}

/// Asks for a system reset, which ends QEMU under `-no-reboot`.
pub(crate) fn reset() -> ! {
    // SAFETY: the board file says that the register is there.
    let register = unsafe { DeviceRegisters::new(RESET_REGISTER.load(Ordering::Relaxed)) };
    loop {
        register.write(0, RESET);
    }
}

/// Hangs with interrupts off.
pub(crate) fn hang() -> ! {
    mask_interrupts();
    loop {
        ::riscv::asm::nop();
    }
}
