//! When nothing passes a link.

use core::time::Duration;
use std::collections::VecDeque;

use zfl_seed::Stream;

use crate::time::NetworkTime;

/// Once, for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// When it begins, from the start of the network.
    pub from: Duration,
    /// How long it lasts.
    pub lasts: Duration,
}

/// Again and again. When the first one begins is drawn for each device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutageCycle {
    /// From the beginning of one to the beginning of the next; not 0.
    pub every: Duration,
    /// How long each lasts; less than `every`.
    pub lasts: Duration,
}

/// When nothing passes a link: a frame is lost of which any bit is sent during
/// an outage, whichever way it goes. Frames that wait in the queue go on
/// waiting for their turn, as the sender of a radio does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outages {
    /// In any order; they may overlap.
    pub windows: Vec<Outage>,
    /// At any phase.
    pub cycle: Option<OutageCycle>,
}

impl Outages {
    /// The link is always there.
    pub const NONE: Self = Self {
        windows: Vec::new(),
        cycle: None,
    };
}

/// Outages as time goes by.
pub(super) struct OutageClock {
    /// Begin and end of those to come, in order and apart.
    windows: VecDeque<(NetworkTime, NetworkTime)>,
    cycle: Option<OutageCycle>,
    /// Where in its cycle the network starts.
    phase_nanos: u64,
}

impl OutageClock {
    pub(super) fn new(outages: &Outages, stream: impl FnOnce() -> Stream) -> Self {
        let mut sorted: Vec<_> = outages
            .windows
            .iter()
            .map(|outage| {
                let from = NetworkTime::from_duration(outage.from);
                (from, from + outage.lasts)
            })
            .collect();
        sorted.sort_unstable();
        let mut windows: VecDeque<(NetworkTime, NetworkTime)> = VecDeque::new();
        for (from, until) in sorted {
            match windows.back_mut() {
                Some((_, last)) if from <= *last => *last = until.max(*last),
                _ => windows.push_back((from, until)),
            }
        }
        let cycle = outages.cycle.filter(|cycle| !cycle.every.is_zero());
        let phase_nanos = cycle.map_or(0, |cycle| {
            let mut stream = stream();
            let draw = u64::from(stream.next_u32()) << 32 | u64::from(stream.next_u32());
            let nanos = (u128::from(draw) * cycle.every.as_nanos()) >> 64;
            u64::try_from(nanos).unwrap_or(0)
        });
        Self {
            windows,
            cycle,
            phase_nanos,
        }
    }

    /// Whether there is an outage at any time from `begin` to `end`. `begin`
    /// never goes back.
    pub(super) fn is_down(&mut self, begin: NetworkTime, end: NetworkTime) -> bool {
        while self
            .windows
            .front()
            .is_some_and(|(_, until)| *until <= begin)
        {
            self.windows.pop_front();
        }
        let in_window = self.windows.front().is_some_and(|(from, _)| *from <= end);
        in_window || self.is_down_in_cycle(begin, end)
    }

    fn is_down_in_cycle(&self, begin: NetworkTime, end: NetworkTime) -> bool {
        let Some(cycle) = self.cycle else {
            return false;
        };
        let since = begin.as_duration() + Duration::from_nanos(self.phase_nanos);
        let in_cycle = since.as_nanos() % cycle.every.as_nanos();
        in_cycle < cycle.lasts.as_nanos()
            || in_cycle + end.since(begin).as_nanos() >= cycle.every.as_nanos()
    }
}

#[cfg(test)]
mod tests {
    use zfl_seed::Purpose;

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn at(millis: u64) -> NetworkTime {
        NetworkTime::from_millis(millis)
    }

    #[test]
    fn windows_are_merged_and_pass() {
        let window = |from, lasts| Outage {
            from: seconds(from),
            lasts: seconds(lasts),
        };
        let outages = Outages {
            windows: vec![window(8, 1), window(2, 2), window(3, 2)],
            cycle: None,
        };
        let mut clock = OutageClock::new(&outages, || Stream::new(1, Purpose::Link, 0));
        for (begin, end, is_down) in [
            (0, 1_999, false),
            (1_000, 2_000, true),
            (1_999, 2_001, true),
            (2_500, 2_500, true),
            (4_999, 6_000, true),
            (5_000, 7_999, false),
            (6_000, 20_000, true),
            (9_000, 20_000, false),
        ] {
            assert_eq!(clock.is_down(at(begin), at(end)), is_down, "{begin} {end}");
        }
    }

    #[test]
    fn a_cycle_takes_its_share_of_the_time_from_a_phase_of_its_own() {
        let outages = Outages {
            windows: Vec::new(),
            cycle: Some(OutageCycle {
                every: seconds(10),
                lasts: seconds(2),
            }),
        };
        let down_at = |device| -> Vec<u64> {
            let mut clock = OutageClock::new(&outages, || Stream::new(1, Purpose::Link, device));
            (0..100_000)
                .step_by(10)
                .filter(|time| clock.is_down(at(*time), at(*time)))
                .collect()
        };
        let first = down_at(0);
        // 2 of 10 s of 100 s, in steps of 10 ms.
        assert_eq!(first.len(), 2_000);
        assert_eq!(first, down_at(0));
        assert_ne!(first, down_at(1));
        // A frame that is sent all the time meets one.
        let mut clock = OutageClock::new(&outages, || Stream::new(1, Purpose::Link, 0));
        assert!(clock.is_down(at(0), at(10_000)));
    }
}
