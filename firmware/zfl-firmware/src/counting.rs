//! Instructions from the ticks of a clock that follows them.

const NS_PER_SECOND: u64 = 1_000_000_000;
const NS_PER_US: u64 = 1000;

/// A clock by which each instruction takes the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InstructionClock {
    tick_hz: u64,
    /// `None` where time does not follow the instructions.
    instruction_ns: Option<u64>,
}

impl InstructionClock {
    pub(crate) fn new(tick_hz: u64, instruction_ns: Option<u32>) -> Self {
        Self {
            tick_hz: tick_hz.max(1),
            instruction_ns: instruction_ns.map(|ns| u64::from(ns).max(1)),
        }
    }

    /// Instructions executed in so many ticks, to the nearest; 0 where they are
    /// not counted.
    ///
    /// Two readings of the clock are off by less than a tick together. So the
    /// number is exact where an instruction takes more than two ticks.
    pub(crate) fn instructions(&self, ticks: u64) -> u64 {
        self.instruction_ns
            .map_or(0, |ns| self.nanoseconds(ticks).saturating_add(ns / 2) / ns)
    }

    /// How long so many ticks are: where instructions are counted the time of
    /// whole ones, which does not depend on when the clock was read.
    pub(crate) fn microseconds(&self, ticks: u64) -> u64 {
        let ns = match self.instruction_ns {
            Some(ns) => self.instructions(ticks).saturating_mul(ns),
            None => self.nanoseconds(ticks),
        };
        ns / NS_PER_US
    }

    fn nanoseconds(&self, ticks: u64) -> u64 {
        // In two steps, for the product would overflow after minutes.
        let (seconds, rest) = (ticks / self.tick_hz, ticks % self.tick_hz);
        seconds
            .saturating_mul(NS_PER_SECOND)
            .saturating_add(rest * NS_PER_SECOND / self.tick_hz)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 25 MHz and 128 ns, as the MPS2 boards have them, whenever one looks.
    #[test]
    fn instructions_are_exact() {
        let clock = InstructionClock::new(25_000_000, Some(128));
        for begin_ns in (0..100_000).step_by(37) {
            for count in [0, 1, 2, 3, 10, 999, 136_234_500, 1 << 40] {
                let end_ns = begin_ns + count * 128;
                let ticks = end_ns / 40 - begin_ns / 40;
                assert_eq!(clock.instructions(ticks), count, "{begin_ns} {count}");
                assert_eq!(clock.microseconds(ticks), count * 128 / 1000);
            }
        }
    }

    #[test]
    fn without_counting_there_is_time() {
        let clock = InstructionClock::new(25_000_000, None);
        assert_eq!(clock.instructions(25_000_000), 0);
        assert_eq!(clock.microseconds(25_000_000 * 86_400), 86_400_000_000);
        // Nothing that a board could say divides by zero or overflows.
        let clock = InstructionClock::new(0, Some(0));
        assert_eq!(clock.instructions(u64::MAX), u64::MAX);
    }
}
