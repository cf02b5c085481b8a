//! Clock and alarm of the MPS2 and MPS3 images.
//!
//! Alarms: CMSDK APB timer (DDI 0479, section 4.1), which stops at zero when
//! its reload value is zero. Clock: FPGAIO `COUNTER` (Arm DAI 0385 section
//! 4.7), 32 bits, which wraps every 172 s at 25 MHz.

use super::registers::Registers;
use super::timer::MICROSECONDS_PER_SECOND;
use crate::Board;

const CONTROL: usize = 0x00;
/// Counts, and interrupts at zero.
const CONTROL_ALARM: u32 = 0b1001;
const VALUE: usize = 0x04;
const RELOAD: usize = 0x08;
const INTERRUPT_CLEAR: usize = 0x0c;

/// The one-shot timer.
pub(super) struct Alarm {
    registers: Registers,
    clock_hz: u64,
}

impl Alarm {
    pub(super) fn new(board: &Board) -> Self {
        Self {
            // SAFETY: the board file says that the timer is there.
            registers: unsafe { Registers::new(board.timer_base) },
            clock_hz: u64::from(board.timer_clock_hz),
        }
    }

    /// Clears the last alarm and sets the next.
    pub(super) fn set(&mut self, delay_us: u64) {
        let ticks = delay_us * self.clock_hz / MICROSECONDS_PER_SECOND;
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX).max(1);
        self.registers.write(CONTROL, 0);
        self.registers.write(INTERRUPT_CLEAR, 1);
        self.registers.write(RELOAD, 0);
        self.registers.write(VALUE, ticks);
        self.registers.write(CONTROL, CONTROL_ALARM);
    }
}

/// The free-running counter.
pub(super) struct Counter {
    register: Registers,
    clock_hz: u64,
    last: u32,
    total: u64,
}

impl Counter {
    pub(super) fn new(board: &Board) -> Self {
        // SAFETY: the board file says that the counter is there.
        let register = unsafe { Registers::new(board.counter_register) };
        Self {
            register,
            clock_hz: u64::from(board.counter_clock_hz).max(1),
            last: register.read(0),
            total: 0,
        }
    }

    pub(super) fn ticks(&mut self) -> u64 {
        let counter = self.register.read(0);
        self.total += u64::from(counter.wrapping_sub(self.last));
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
