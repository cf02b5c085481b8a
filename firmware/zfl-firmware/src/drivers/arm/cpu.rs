//! The processor: memory guard, fault entry, registers, reset.
//!
//! Sources: ARMv7-M Architecture Reference Manual (DDI 0403E), B1.5 for
//! exceptions, B3.2 for the system control block, B3.5 for the MPU; Armv8-M
//! Architecture Reference Manual (DDI 0553) for the limit of the stack.

use core::arch::{asm, global_asm};
use core::fmt;

pub(crate) use cortex_m_rt::STACK_PAINT_VALUE;

use cortex_m::peripheral::scb::Exception;
use cortex_m::peripheral::{Peripherals, SCB};

use super::super::memory;
use crate::Board;

/// A region of `2^(size_field + 1)` bytes.
#[cfg(not(armv8m))]
const MPU_SIZE_1_MIB: u32 = 19 << 1;
#[cfg(not(armv8m))]
const MPU_REGION_ENABLE: u32 = 1;
/// No access and no execution.
#[cfg(not(armv8m))]
const MPU_NO_ACCESS: u32 = 1 << 28;
#[cfg(not(armv8m))]
const MPU_ADDRESS_VALID: u32 = 1 << 4;
/// On, and the default map for privileged code elsewhere.
#[cfg(not(armv8m))]
const MPU_CONTROL: u32 = 0b101;
/// Trap division by zero.
const CCR_DIVIDE_BY_ZERO: u32 = 1 << 4;

/// Guards the memory below the stack, so that an overflow faults instead of
/// writing on, and gives faults their own exceptions, so that a fault whose
/// frame cannot be stacked does not lock the processor up.
pub(crate) fn init(_: &Board) {
    let Some(mut peripherals) = Peripherals::take() else {
        return;
    };
    #[expect(clippy::cast_possible_truncation, reason = "addresses have 32 bits")]
    guard_stack(&mut peripherals, memory::stack_low_address() as u32);
    // SAFETY: makes an undefined operation a fault, and changes no other.
    unsafe {
        peripherals
            .SCB
            .ccr
            .modify(|value| value | CCR_DIVIDE_BY_ZERO);
    }
    cortex_m::asm::dsb();
    cortex_m::asm::isb();
    peripherals.SCB.enable(Exception::MemoryManagement);
    peripherals.SCB.enable(Exception::BusFault);
    peripherals.SCB.enable(Exception::UsageFault);
}

/// The MPU forbids the mebibyte below the stack.
#[cfg(not(armv8m))]
fn guard_stack(peripherals: &mut Peripherals, stack_low: u32) {
    // SAFETY: forbids memory that nothing is placed in (the build script
    // keeps the mebibyte below the stack free) and changes no other.
    unsafe {
        peripherals
            .MPU
            .rbar
            .write((stack_low - (1 << 20)) | MPU_ADDRESS_VALID);
        peripherals
            .MPU
            .rasr
            .write(MPU_NO_ACCESS | MPU_SIZE_1_MIB | MPU_REGION_ENABLE);
        peripherals.MPU.ctrl.write(MPU_CONTROL);
    }
}

/// The limit of the main stack (DDI 0553, B3.21): the MPU of Armv8-M cannot
/// forbid memory to privileged code.
#[cfg(armv8m)]
fn guard_stack(_: &mut Peripherals, stack_low: u32) {
    // SAFETY: the lowest address of the stack that is in use.
    unsafe { cortex_m::register::msplim::write(stack_low) };
}

/// What the entry code below saves when the processor faults.
#[repr(C)]
struct SavedRegisters {
    r0_to_r3: [u32; 4],
    /// Where the exception's frame is.
    stack_pointer: u32,
    exception_return: u32,
    r4_to_r11: [u32; 8],
}

// Enters on a stack of its own, for the faulting one may be full. `r12` is
// spent on the way; the frame has it.
global_asm!(
    ".section .bss.fault_stack,\"aw\",%nobits",
    ".balign 8",
    "zfl_fault_stack: .space 4096",
    "zfl_fault_stack_top:",
    ".section .text.zfl_fault,\"ax\"",
    ".global HardFault, MemoryManagement, BusFault, UsageFault",
    ".thumb_func",
    "HardFault:",
    ".thumb_func",
    "MemoryManagement:",
    ".thumb_func",
    "BusFault:",
    ".thumb_func",
    "UsageFault:",
    "mrs r12, msp",
    "ldr sp, =zfl_fault_stack_top",
    "push {{r4-r11}}",
    "push {{r0-r3, r12, lr}}",
    "mov r0, sp",
    "bl {entry}",
    "udf #0",
    ".ltorg",
    entry = sym fault_entry,
);

extern "C" fn fault_entry(saved: &SavedRegisters) -> ! {
    let status = FaultStatus::read();
    let frame = saved.stack_pointer as usize;
    let word = |index: usize| memory::stack_word(frame.wrapping_add(index * 4));
    // With a stacking error the frame was never written.
    let stacked = if status.is_stacking_error() {
        None
    } else {
        // r0-r3, r12, lr, pc, xpsr
        match [0, 1, 2, 3, 4, 5, 6, 7].map(word) {
            [
                Some(r0),
                Some(r1),
                Some(r2),
                Some(r3),
                Some(r12),
                Some(lr),
                Some(pc),
                Some(xpsr),
            ] => Some([r0, r1, r2, r3, r12, lr, pc, xpsr]),
            _ => None,
        }
    };
    // With floating-point registers (EXC_RETURN bit 4 clear), or without.
    let frame_words: u32 = if saved.exception_return & 1 << 4 == 0 {
        26
    } else {
        8
    };
    let mut registers = Registers::default();
    registers.r[4..12].copy_from_slice(&saved.r4_to_r11);
    match stacked {
        Some([r0, r1, r2, r3, r12, lr, pc, xpsr]) => {
            registers.r[..4].copy_from_slice(&[r0, r1, r2, r3]);
            registers.r[12] = r12;
            // One word more where the frame had to be aligned (xPSR bit 9).
            let words = frame_words + u32::from(xpsr & 1 << 9 != 0);
            registers.sp = saved.stack_pointer.wrapping_add(words * 4);
            registers.lr = lr;
            registers.pc = Some(pc);
            registers.xpsr = Some(xpsr);
        }
        None => {
            registers.r[..4].copy_from_slice(&saved.r0_to_r3);
            registers.sp = saved.stack_pointer;
            // Of a frame that could not be written its room is taken all the
            // same; at the limit of Armv8-M (STKOF) it is not.
            if !status.is_below_limit() {
                registers.sp = registers.sp.wrapping_add(frame_words * 4);
            }
        }
    }
    crate::fault::on_fault(&registers, &status)
}

/// The processor's registers as far as they are known.
#[derive(Default)]
pub(crate) struct Registers {
    /// `r0` to `r12`.
    r: [u32; 13],
    sp: u32,
    lr: u32,
    pc: Option<u32>,
    xpsr: Option<u32>,
}

impl Registers {
    /// The registers here and now, for a panic.
    #[inline(always)]
    pub(crate) fn capture() -> Self {
        let mut r = [0u32; 13];
        let (sp, lr, pc, xpsr): (u32, u32, u32, u32);
        // SAFETY: stores the registers into `r`, whose address is in lr's
        // place only until lr is read; the rest are moves.
        unsafe {
            asm!(
                "stm {r}, {{r0-r12}}",
                "mov {sp}, sp",
                "mov {lr}, lr",
                "mov {pc}, pc",
                "mrs {xpsr}, xpsr",
                r = in(reg) r.as_mut_ptr(),
                sp = out(reg) sp,
                lr = out(reg) lr,
                pc = out(reg) pc,
                xpsr = out(reg) xpsr,
                options(nostack),
            );
        }
        Self {
            r,
            sp,
            lr,
            pc: Some(pc),
            xpsr: Some(xpsr),
        }
    }

    /// Where the program was; `None` where a full stack hides that.
    pub(crate) const fn pc(&self) -> Option<usize> {
        match self.pc {
            Some(pc) => Some(pc as usize),
            None => None,
        }
    }

    pub(crate) const fn sp(&self) -> usize {
        self.sp as usize
    }
}

impl fmt::Display for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, value) in self.r.iter().enumerate() {
            let end = if number % 4 == 3 { '\n' } else { ' ' };
            write!(f, "r{number:<2}={value:#010x}{end}")?;
        }
        write!(f, "sp ={:#010x} lr ={:#010x} ", self.sp, self.lr)?;
        match (self.pc, self.xpsr) {
            (Some(pc), Some(xpsr)) => write!(f, "pc ={pc:#010x}\nxpsr={xpsr:#010x}"),
            _ => f.write_str("pc unknown"),
        }
    }
}

/// Why the processor faulted.
pub(crate) struct FaultStatus {
    cfsr: u32,
    hfsr: u32,
    mmfar: u32,
    bfar: u32,
}

impl FaultStatus {
    fn read() -> Self {
        // SAFETY: reads four status registers, which changes nothing.
        unsafe {
            let scb = &*SCB::PTR;
            Self {
                cfsr: scb.cfsr.read(),
                hfsr: scb.hfsr.read(),
                mmfar: scb.mmfar.read(),
                bfar: scb.bfar.read(),
            }
        }
    }

    /// MSTKERR or STKERR, or STKOF of Armv8-M: the frame could not be written
    /// to the stack, or need not be whole.
    const fn is_stacking_error(&self) -> bool {
        self.cfsr & (1 << 4 | 1 << 12 | 1 << 20) != 0
    }

    /// STKOF of Armv8-M: the stack has a limit, and it is reached.
    const fn is_below_limit(&self) -> bool {
        self.cfsr & 1 << 20 != 0
    }

    /// The address of a memory or bus fault, where the processor knows it.
    pub(crate) const fn address(&self) -> Option<u32> {
        if self.cfsr & 1 << 7 != 0 {
            Some(self.mmfar)
        } else if self.cfsr & 1 << 15 != 0 {
            Some(self.bfar)
        } else {
            None
        }
    }

    /// The bits of CFSR and HFSR by name (DDI 0403E, B3.2.15 and B3.2.16).
    pub(crate) fn cause(&self) -> &'static str {
        const CAUSES: [(u32, &str); 17] = [
            (1, "memory fault: instruction fetch not allowed"),
            (1 << 4, "memory fault: exception frame not allowed"),
            (1 << 1, "memory fault: access not allowed"),
            (1 << 3, "memory fault: on return from an exception"),
            (1 << 5, "memory fault: saving floating-point registers"),
            (1 << 8, "bus fault: instruction fetch"),
            (1 << 12, "bus fault: exception frame"),
            (1 << 9, "bus fault: data access"),
            (1 << 10, "bus fault: data access, imprecise"),
            (1 << 11, "bus fault: on return from an exception"),
            (1 << 13, "bus fault: saving floating-point registers"),
            (1 << 16, "usage fault: undefined instruction"),
            (1 << 17, "usage fault: invalid state"),
            (1 << 18, "usage fault: invalid return"),
            (1 << 20, "usage fault: below the limit of the stack"),
            (1 << 24, "usage fault: unaligned access"),
            (1 << 25, "usage fault: division by zero"),
        ];
        CAUSES
            .iter()
            .find(|(bit, _)| self.cfsr & bit != 0)
            .map_or("hard fault", |(_, name)| name)
    }
}

impl fmt::Display for FaultStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cfsr={:#010x} hfsr={:#010x} mmfar={:#010x} bfar={:#010x}",
            self.cfsr, self.hfsr, self.mmfar, self.bfar
        )
    }
}

/// Interrupts on, once all is set up. They are on from reset.
pub(crate) fn start_interrupts() {}

/// Sleeps until an interrupt is pending, unless `is_awake`; without losing one
/// that comes in between: a pending interrupt ends `WFI` even when masked.
pub(crate) fn sleep_unless(is_awake: impl FnOnce() -> bool, sleep: impl FnOnce(fn())) {
    cortex_m::interrupt::disable();
    if !is_awake() {
        sleep(cortex_m::asm::wfi);
    }
    // SAFETY: no critical section is open in the executor's loop.
    unsafe { cortex_m::interrupt::enable() };
}

/// Interrupts off, for good: the last words are not to be interrupted.
pub(crate) fn mask_interrupts() {
    cortex_m::interrupt::disable();
}

/// Asks for a system reset, which ends QEMU under `-no-reboot`.
pub(crate) fn reset() -> ! {
    SCB::sys_reset()
}

/// Hangs with interrupts off.
pub(crate) fn hang() -> ! {
    mask_interrupts();
    loop {
        cortex_m::asm::nop();
    }
}
