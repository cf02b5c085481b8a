//! Clock and alarm of the Stellaris microcontrollers.
//!
//! Source: LM3S6965 data sheet, chapters 9 (general-purpose timers) and 10
//! (watchdog). Alarms: a general-purpose timer as one 32-bit one-shot. Clock:
//! the watchdog, a 32-bit counter that counts down and begins anew; it is not
//! allowed to reset the device, and nobody listens to its interrupt. (The
//! timers' own count cannot be read in QEMU 7.2.) At 50 MHz it wraps after
//! 86 s, and a tick is less than half an instruction of 128 ns.

use super::registers::Registers;
use super::timer::MICROSECONDS_PER_SECOND;
use crate::Board;

const TIMER_CONFIG: usize = 0x000;
/// One timer of 32 bits.
const TIMER_CONFIG_32_BITS: u32 = 0;
const TIMER_MODE: usize = 0x004;
const TIMER_MODE_ONE_SHOT: u32 = 1;
const TIMER_CONTROL: usize = 0x00c;
const TIMER_CONTROL_ON: u32 = 1;
const TIMER_INTERRUPT_MASK: usize = 0x018;
const TIMER_INTERRUPT_CLEAR: usize = 0x024;
const TIMER_INTERRUPT_TIMEOUT: u32 = 1;
const TIMER_LOAD: usize = 0x028;

const WATCHDOG_LOAD: usize = 0x000;
const WATCHDOG_VALUE: usize = 0x004;
const WATCHDOG_CONTROL: usize = 0x008;
/// Counts; reset stays off.
const WATCHDOG_CONTROL_ON: u32 = 1;

/// The one-shot timer.
pub(super) struct Alarm {
    registers: Registers,
    clock_hz: u64,
}

impl Alarm {
    pub(super) fn new(board: &Board) -> Self {
        // SAFETY: the board file says that the timer is there.
        let registers = unsafe { Registers::new(board.timer_base) };
        registers.write(TIMER_CONTROL, 0);
        registers.write(TIMER_CONFIG, TIMER_CONFIG_32_BITS);
        registers.write(TIMER_MODE, TIMER_MODE_ONE_SHOT);
        registers.write(TIMER_INTERRUPT_MASK, TIMER_INTERRUPT_TIMEOUT);
        Self {
            registers,
            clock_hz: u64::from(board.timer_clock_hz),
        }
    }

    /// Clears the last alarm and sets the next.
    pub(super) fn set(&mut self, delay_us: u64) {
        let ticks = delay_us * self.clock_hz / MICROSECONDS_PER_SECOND;
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX).max(1);
        self.registers.write(TIMER_CONTROL, 0);
        self.registers
            .write(TIMER_INTERRUPT_CLEAR, TIMER_INTERRUPT_TIMEOUT);
        self.registers.write(TIMER_LOAD, ticks);
        self.registers.write(TIMER_CONTROL, TIMER_CONTROL_ON);
    }
}

/// The free-running counter.
pub(super) struct Counter {
    watchdog: Registers,
    clock_hz: u64,
    last: u32,
    total: u64,
}

impl Counter {
    pub(super) fn new(board: &Board) -> Self {
        // SAFETY: the board file says that the watchdog's value is there, and
        // its other registers around it.
        let watchdog = unsafe { Registers::new(board.counter_register - WATCHDOG_VALUE) };
        watchdog.write(WATCHDOG_LOAD, u32::MAX);
        watchdog.write(WATCHDOG_CONTROL, WATCHDOG_CONTROL_ON);
        Self {
            watchdog,
            clock_hz: u64::from(board.counter_clock_hz).max(1),
            last: watchdog.read(WATCHDOG_VALUE),
            total: 0,
        }
    }

    pub(super) fn ticks(&mut self) -> u64 {
        let counter = self.watchdog.read(WATCHDOG_VALUE);
        // It counts down.
        self.total += u64::from(self.last.wrapping_sub(counter));
        self.last = counter;
        self.total
    }

    pub(super) const fn tick_hz(&self) -> u64 {
        self.clock_hz
    }

    /// It follows the instructions as it follows time.
    pub(super) fn instruction_ticks(&mut self) -> u64 {
        self.ticks()
    }

    pub(super) const fn instruction_tick_hz(&self) -> u64 {
        self.clock_hz
    }

    #[expect(clippy::unused_self, reason = "other counters have something to do")]
    pub(super) fn count_instructions(&mut self, _: u32) {}
}
