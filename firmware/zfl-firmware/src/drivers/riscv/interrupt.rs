//! Interrupts to drivers, by way of the platform-level interrupt controller.
//!
//! Source: RISC-V Platform-Level Interrupt Controller Specification 1.0;
//! context 0 is machine mode of the first hart. The timer's interrupt does not
//! pass through it.

use core::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use ::riscv::register::mie;

use super::super::registers::Registers;
use super::super::{nic, timer, uart};
use crate::Board;

const PRIORITIES: usize = 0x0;
const ENABLES: usize = 0x2000;
const THRESHOLD: usize = 0x20_0000;
/// The next when read; done when written.
const CLAIM: usize = 0x20_0004;

/// No interrupt.
const NONE: u16 = 0;
/// `mcause` without its top bit.
const CAUSE_TIMER: u32 = 7;
const CAUSE_EXTERNAL: u32 = 11;

static PLIC: AtomicUsize = AtomicUsize::new(0);
static NIC: AtomicU16 = AtomicU16::new(NONE);
/// A UART has two interrupts, or one.
static CONSOLE: [AtomicU16; 2] = [const { AtomicU16::new(NONE) }; 2];

/// Who wants to hear of an interrupt.
#[derive(Clone, Copy)]
pub(in super::super) enum Source {
    Nic,
    Timer,
    Console,
}

fn controller() -> Registers {
    // SAFETY: `init` stored the controller's base before any interrupt is on.
    unsafe { Registers::new(PLIC.load(Ordering::Relaxed)) }
}

/// To be called once, before any interrupt is enabled.
pub(in super::super) fn init(board: &Board) {
    PLIC.store(board.interrupt_controller_base, Ordering::Relaxed);
    controller().write(THRESHOLD, 0);
}

/// From now on interrupt `number` goes to `source`.
pub(in super::super) fn enable(source: Source, number: u16) {
    match source {
        Source::Nic => NIC.store(number, Ordering::Relaxed),
        Source::Console => {
            let [first, second] = &CONSOLE;
            second.store(first.swap(number, Ordering::Relaxed), Ordering::Relaxed);
        }
        Source::Timer => {
            // SAFETY: drivers enable their interrupts before they share
            // anything with the handler.
            unsafe { mie::set_mtimer() };
            return;
        }
    }
    let index = usize::from(number);
    let controller = controller();
    controller.write(PRIORITIES + index * 4, 1);
    let enables = ENABLES + index / 32 * 4;
    controller.write(enables, controller.read(enables) | 1 << (index % 32));
    // SAFETY: as above.
    unsafe { mie::set_mext() };
}

/// Called by the trap's entry code; `cause` is without its top bit.
pub(super) extern "C" fn on_interrupt(cause: u32) {
    match cause {
        CAUSE_TIMER => timer::on_interrupt(),
        CAUSE_EXTERNAL => on_external(),
        other => crate::fault::unexpected_exception(other),
    }
}

fn on_external() {
    loop {
        let number = controller().read(CLAIM);
        if number == 0 {
            return;
        }
        let is = |slot: &AtomicU16| u32::from(slot.load(Ordering::Relaxed)) == number;
        if is(&NIC) {
            nic::on_interrupt();
        } else if CONSOLE.iter().any(is) {
            uart::on_interrupt();
        } else {
            crate::fault::unexpected_exception(number);
        }
        controller().write(CLAIM, number);
    }
}
