//! Interrupts to drivers.
//!
//! All external interrupts share one entry, which looks the number up: the
//! numbers come from the board file, so there is no vector table to generate
//! for each board.

use core::sync::atomic::{AtomicU16, Ordering};

use cortex_m::peripheral::NVIC;
use cortex_m_rt::exception;

use super::super::{nic, timer, uart};
use crate::Board;

/// No interrupt: more than an NVIC can have.
const NONE: u16 = u16::MAX;

static NIC: AtomicU16 = AtomicU16::new(NONE);
static TIMER: AtomicU16 = AtomicU16::new(NONE);
/// A UART has two interrupts, or one.
static CONSOLE: [AtomicU16; 2] = [const { AtomicU16::new(NONE) }; 2];

/// Who wants to hear of an interrupt.
#[derive(Clone, Copy)]
pub(in super::super) enum Source {
    Nic,
    Timer,
    Console,
}

/// An interrupt's number, for the NVIC.
#[derive(Clone, Copy)]
struct Number(u16);

// SAFETY: the number is the constant that the board file gave, below 496.
unsafe impl cortex_m::interrupt::InterruptNumber for Number {
    fn number(self) -> u16 {
        self.0
    }
}

/// The NVIC has its place, and is ready from reset.
pub(in super::super) fn init(_: &Board) {}

/// From now on interrupt `number` goes to `source`.
pub(in super::super) fn enable(source: Source, number: u16) {
    match source {
        Source::Nic => NIC.store(number, Ordering::Relaxed),
        Source::Timer => TIMER.store(number, Ordering::Relaxed),
        Source::Console => {
            let [first, second] = &CONSOLE;
            second.store(first.swap(number, Ordering::Relaxed), Ordering::Relaxed);
        }
    }
    // SAFETY: enabling breaks no critical section, for drivers enable their
    // interrupts before they share anything with the handler.
    unsafe { NVIC::unmask(Number(number)) };
}

/// Every interrupt, and every exception without a handler of its own.
///
/// # Safety
/// Called by the processor only. It may interrupt anything but a critical
/// section, and the handlers share data through critical sections alone.
#[exception]
unsafe fn DefaultHandler(irqn: i16) {
    let number = u16::try_from(irqn).unwrap_or(NONE);
    if number == NONE {
        crate::fault::unexpected_exception(irqn);
    } else if number == NIC.load(Ordering::Relaxed) {
        nic::on_interrupt();
    } else if number == TIMER.load(Ordering::Relaxed) {
        timer::on_interrupt();
    } else if CONSOLE
        .iter()
        .any(|console| number == console.load(Ordering::Relaxed))
    {
        uart::on_interrupt();
    } else {
        crate::fault::unexpected_exception(irqn);
    }
}
