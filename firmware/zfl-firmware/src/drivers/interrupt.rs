//! Interrupts to drivers.
//!
//! All external interrupts share one entry, which looks the number up: the
//! numbers come from the board file, so there is no vector table to generate
//! for each board.

use core::sync::atomic::{AtomicU16, Ordering};

use cortex_m::peripheral::NVIC;
use cortex_m_rt::exception;

use super::{lan9118, timer, uart};

/// No interrupt: more than an NVIC can have.
const NONE: u16 = u16::MAX;

static NIC: AtomicU16 = AtomicU16::new(NONE);
static TIMER: AtomicU16 = AtomicU16::new(NONE);
static CONSOLE_RX: AtomicU16 = AtomicU16::new(NONE);
static CONSOLE_TX: AtomicU16 = AtomicU16::new(NONE);

/// Who wants to hear of an interrupt.
#[derive(Clone, Copy)]
pub(super) enum Source {
    Nic,
    Timer,
    ConsoleRx,
    ConsoleTx,
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

/// From now on interrupt `number` goes to `source`.
pub(super) fn enable(source: Source, number: u16) {
    let slot = match source {
        Source::Nic => &NIC,
        Source::Timer => &TIMER,
        Source::ConsoleRx => &CONSOLE_RX,
        Source::ConsoleTx => &CONSOLE_TX,
    };
    slot.store(number, Ordering::Relaxed);
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
        lan9118::on_interrupt();
    } else if number == TIMER.load(Ordering::Relaxed) {
        timer::on_interrupt();
    } else if number == CONSOLE_RX.load(Ordering::Relaxed)
        || number == CONSOLE_TX.load(Ordering::Relaxed)
    {
        uart::on_interrupt();
    } else {
        crate::fault::unexpected_exception(irqn);
    }
}
