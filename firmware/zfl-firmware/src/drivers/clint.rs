//! Clock and alarm of RISC-V: the core-local interruptor (CLINT), and the
//! processor's own count of instructions.
//!
//! Source: RISC-V Advanced Core Local Interruptor Specification 1.0, chapters
//! 2 and 3; RISC-V Privileged Architecture 1.12, section 3.1.10. `mtime` has
//! 64 bits and never wraps. It ticks less than once in an instruction, so that
//! instructions are counted by `minstret`, which reads as nanoseconds in some
//! versions of QEMU and as instructions in others: two readings one after the
//! other tell.

use super::cpu;
use super::registers::Registers;
use super::timer::MICROSECONDS_PER_SECOND;
use crate::Board;

/// `mtimecmp` of the only hart.
const COMPARE: usize = 0x4000;
const NS_PER_SECOND: u64 = 1_000_000_000;

fn read_time(register: Registers) -> u64 {
    loop {
        let high = register.read(4);
        let low = register.read(0);
        if register.read(4) == high {
            return u64::from(high) << 32 | u64::from(low);
        }
    }
}

/// The comparison with `mtime`.
pub(super) struct Alarm {
    registers: Registers,
    time: Registers,
    clock_hz: u64,
}

impl Alarm {
    pub(super) fn new(board: &Board) -> Self {
        // SAFETY: the board file says that CLINT and counter are there.
        let (registers, time) = unsafe {
            (
                Registers::new(board.timer_base),
                Registers::new(board.counter_register),
            )
        };
        Self {
            registers,
            time,
            clock_hz: u64::from(board.timer_clock_hz),
        }
    }

    /// Clears the last alarm and sets the next.
    pub(super) fn set(&mut self, delay_us: u64) {
        let ticks = (delay_us * self.clock_hz / MICROSECONDS_PER_SECOND).max(1);
        let [a, b, c, d, e, f, g, h] = (read_time(self.time) + ticks).to_le_bytes();
        // Never lower than both, the old and the new, in between.
        self.registers.write(COMPARE + 4, u32::MAX);
        self.registers
            .write(COMPARE, u32::from_le_bytes([a, b, c, d]));
        self.registers
            .write(COMPARE + 4, u32::from_le_bytes([e, f, g, h]));
    }
}

/// `mtime`, and `minstret` where instructions are counted.
pub(super) struct Counter {
    time: Registers,
    clock_hz: u64,
    time_first: u64,
    /// Nanoseconds for each step of `minstret`, where that is of use.
    instret_ns: Option<u64>,
}

impl Counter {
    pub(super) fn new(board: &Board) -> Self {
        // SAFETY: the board file says that the counter is there.
        let time = unsafe { Registers::new(board.counter_register) };
        Self {
            time,
            clock_hz: u64::from(board.counter_clock_hz).max(1),
            time_first: read_time(time),
            instret_ns: None,
        }
    }

    pub(super) fn ticks(&mut self) -> u64 {
        read_time(self.time) - self.time_first
    }

    pub(super) const fn tick_hz(&self) -> u64 {
        self.clock_hz
    }

    pub(super) fn instruction_ticks(&mut self) -> u64 {
        match self.instret_ns {
            Some(ns) => cpu::instructions_retired().wrapping_mul(ns),
            None => self.ticks(),
        }
    }

    pub(super) const fn instruction_tick_hz(&self) -> u64 {
        match self.instret_ns {
            Some(_) => NS_PER_SECOND,
            None => self.clock_hz,
        }
    }

    pub(super) fn count_instructions(&mut self, instruction_ns: u32) {
        self.instret_ns = match cpu::instruction_step() {
            1 => Some(u64::from(instruction_ns)),
            step if step == instruction_ns => Some(1),
            // Counts something else: `mtime` is better than that.
            _ => None,
        };
    }
}
