//! Time: a free-running counter for the clock, a one-shot timer for alarms.
//!
//! No tick: a device with nothing to do sleeps until its next deadline. A
//! counter of 32 bits is extended in software, so an alarm is never set later
//! than [`ALARM_US_MAX`] and each reads the counter. The registers are in a
//! module for each kind of timer.

use core::cell::RefCell;
use core::task::Waker;

use critical_section::{CriticalSection, Mutex};
use embassy_time_driver::Driver;
use embassy_time_queue_utils::Queue;

#[cfg(feature = "virt")]
use super::clint::{Alarm, Counter};
#[cfg(feature = "mps2")]
use super::cmsdk_timer::{Alarm, Counter};
use super::interrupt::{self, Source};
#[cfg(feature = "stellaris")]
use super::stellaris_timer::{Alarm, Counter};
use crate::Board;

/// The longest sleep, in microseconds: well within one wrap of the counter
/// and of the timer at the clocks of the boards.
const ALARM_US_MAX: u64 = 60_000_000;

pub(super) const MICROSECONDS_PER_SECOND: u64 = 1_000_000;

struct Hardware {
    alarm: Alarm,
    counter: Counter,
}

struct State {
    hardware: Option<Hardware>,
    queue: Queue,
}

struct ClockDriver {
    state: Mutex<RefCell<State>>,
}

embassy_time_driver::time_driver_impl!(static DRIVER: ClockDriver = ClockDriver {
    state: Mutex::new(RefCell::new(State {
        hardware: None,
        queue: Queue::new(),
    })),
});

impl Hardware {
    /// Microseconds since [`init`].
    fn now_us(&mut self) -> u64 {
        let ticks = self.counter.ticks();
        let tick_hz = self.counter.tick_hz();
        // In two steps, for the product would overflow after days.
        let (seconds, rest) = (ticks / tick_hz, ticks % tick_hz);
        seconds * MICROSECONDS_PER_SECOND + rest * MICROSECONDS_PER_SECOND / tick_hz
    }
}

impl ClockDriver {
    fn with<R>(&self, section: CriticalSection<'_>, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.state.borrow_ref_mut(section))
    }

    /// Wakes whom it is time for and sets the alarm for the next.
    fn advance(&self) {
        critical_section::with(|section| {
            self.with(section, |state| {
                if let Some(hardware) = &mut state.hardware {
                    let now_us = hardware.now_us();
                    let next_us = state.queue.next_expiration(now_us);
                    hardware
                        .alarm
                        .set(next_us.saturating_sub(now_us).min(ALARM_US_MAX));
                }
            });
        });
    }
}

impl Driver for ClockDriver {
    fn now(&self) -> u64 {
        critical_section::with(|section| {
            self.with(section, |state| {
                state.hardware.as_mut().map_or(0, Hardware::now_us)
            })
        })
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        let earlier = critical_section::with(|section| {
            self.with(section, |state| state.queue.schedule_wake(at, waker))
        });
        if earlier {
            self.advance();
        }
    }
}

/// Ticks since [`init`] of the clock that follows the instructions, where
/// they are counted, and else time; it ticks [`tick_hz`] times a second.
pub(crate) fn ticks() -> u64 {
    with_hardware(0, |hardware| hardware.counter.instruction_ticks())
}

/// How often [`ticks`] grows in a second; at least 1.
pub(crate) fn tick_hz() -> u64 {
    with_hardware(1, |hardware| hardware.counter.instruction_tick_hz())
}

/// From now on an instruction takes `instruction_ns`, and [`ticks`] is to tell
/// how many there were.
pub(crate) fn count_instructions(instruction_ns: u32) {
    with_hardware((), |hardware| {
        hardware.counter.count_instructions(instruction_ns);
    });
}

fn with_hardware<R>(without: R, f: impl FnOnce(&mut Hardware) -> R) -> R {
    critical_section::with(|section| {
        DRIVER.with(section, |state| state.hardware.as_mut().map_or(without, f))
    })
}

/// Starts the clock at zero. To be called once, before any waiting.
pub(crate) fn init(board: &Board) {
    critical_section::with(|section| {
        DRIVER.with(section, |state| {
            state.hardware = Some(Hardware {
                alarm: Alarm::new(board),
                counter: Counter::new(board),
            });
        });
    });
    interrupt::enable(Source::Timer, board.timer_irq);
    DRIVER.advance();
}

pub(super) fn on_interrupt() {
    // Sets a new alarm, which also clears the interrupt.
    DRIVER.advance();
}
