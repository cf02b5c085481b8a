//! Time: a free-running counter for the clock, a one-shot timer for alarms.
//!
//! No tick: a device with nothing to do sleeps until its next deadline. The
//! counter (FPGAIO `COUNTER` of the MPS2, Arm DAI 0385 section 4.7) has 32 bits
//! and wraps every 172 s at 25 MHz; it is extended in software, so an alarm
//! is never set later than [`ALARM_US_MAX`] and each reads the counter.
//! Alarms: CMSDK APB timer (DDI 0479, section 4.1), which stops at zero when its
//! reload value is zero.

use core::cell::RefCell;
use core::task::Waker;

use critical_section::{CriticalSection, Mutex};
use embassy_time_driver::Driver;
use embassy_time_queue_utils::Queue;

use super::interrupt::{self, Source};
use super::registers::Registers;
use crate::Board;

const CONTROL: usize = 0x00;
/// Counts, and interrupts at zero.
const CONTROL_ALARM: u32 = 0b1001;
const VALUE: usize = 0x04;
const RELOAD: usize = 0x08;
const INTERRUPT_CLEAR: usize = 0x0c;

/// The longest sleep, in microseconds: well within one wrap of the counter
/// and of the timer at the clocks of the boards.
const ALARM_US_MAX: u64 = 60_000_000;

const MICROSECONDS_PER_SECOND: u64 = 1_000_000;

struct Hardware {
    timer: Registers,
    timer_clock_hz: u64,
    counter: Registers,
    counter_clock_hz: u64,
    counter_last: u32,
    counter_total: u64,
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
    /// Ticks of the counter since [`init`].
    fn ticks(&mut self) -> u64 {
        let counter = self.counter.read(0);
        self.counter_total += u64::from(counter.wrapping_sub(self.counter_last));
        self.counter_last = counter;
        self.counter_total
    }

    /// Microseconds since [`init`].
    fn now_us(&mut self) -> u64 {
        self.ticks();
        // In two steps, for the product would overflow after eight days.
        let seconds = self.counter_total / self.counter_clock_hz;
        let rest = self.counter_total % self.counter_clock_hz;
        seconds * MICROSECONDS_PER_SECOND + rest * MICROSECONDS_PER_SECOND / self.counter_clock_hz
    }

    fn set_alarm(&mut self, delay_us: u64) {
        let delay_us = delay_us.min(ALARM_US_MAX);
        let ticks = delay_us * self.timer_clock_hz / MICROSECONDS_PER_SECOND;
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX).max(1);
        self.timer.write(CONTROL, 0);
        self.timer.write(INTERRUPT_CLEAR, 1);
        self.timer.write(RELOAD, 0);
        self.timer.write(VALUE, ticks);
        self.timer.write(CONTROL, CONTROL_ALARM);
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
                    hardware.set_alarm(next_us.saturating_sub(now_us));
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

/// Ticks of the counter since [`init`]; it ticks [`tick_hz`] times a second.
pub(crate) fn ticks() -> u64 {
    critical_section::with(|section| {
        DRIVER.with(section, |state| {
            state.hardware.as_mut().map_or(0, Hardware::ticks)
        })
    })
}

/// How often the counter ticks in a second; at least 1.
pub(crate) fn tick_hz() -> u64 {
    critical_section::with(|section| {
        DRIVER.with(section, |state| {
            let hardware = state.hardware.as_ref();
            hardware.map_or(1, |hardware| hardware.counter_clock_hz.max(1))
        })
    })
}

/// Starts the clock at zero. To be called once, before any waiting.
pub(crate) fn init(board: &Board) {
    // SAFETY: the board file says that these devices are there.
    let (timer, counter) = unsafe {
        (
            Registers::new(board.timer_base),
            Registers::new(board.counter_register),
        )
    };
    critical_section::with(|section| {
        DRIVER.with(section, |state| {
            state.hardware = Some(Hardware {
                timer,
                timer_clock_hz: u64::from(board.timer_clock_hz),
                counter,
                counter_clock_hz: u64::from(board.counter_clock_hz),
                counter_last: counter.read(0),
                counter_total: 0,
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
