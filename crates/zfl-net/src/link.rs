//! What lies between a device and the switch, one direction of it.
//!
//! A link is asked once for every frame, in order, when the frame enters
//! it, and says when its last bit leaves. It owns no queue: frames wait in the
//! port's lane until then. Here it has a rate only; delay, jitter, loss and
//! outages belong here too.

use core::time::Duration;

use crate::frame::{CHECK_SEQUENCE_BYTES, FRAME_BYTES_MIN};
use crate::time::NetworkTime;

/// Preamble, start of frame and the gap between frames, which take time on a
/// wire but are no part of a frame (IEEE 802.3, clause 4.4.2).
const WIRE_OVERHEAD_BYTES: u64 = 8 + 12;

/// How many bits pass a link each second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkRate {
    /// `None` for a link that takes no time.
    bits_per_second: Option<u64>,
}

impl LinkRate {
    /// A link on which a frame takes no time.
    pub const UNLIMITED: Self = Self {
        bits_per_second: None,
    };

    /// A rate in megabits (10⁶ bits) per second; zero is taken as one.
    pub const fn megabits_per_second(megabits: u32) -> Self {
        Self::bits_per_second(megabits as u64 * 1_000_000)
    }

    /// A rate in bits per second; zero is taken as one.
    pub const fn bits_per_second(bits: u64) -> Self {
        Self {
            bits_per_second: Some(if bits == 0 { 1 } else { bits }),
        }
    }

    /// How long the frame occupies the wire, with check sequence, preamble and
    /// gap, and padded if it is short.
    pub fn frame_duration(self, frame_bytes: usize) -> Duration {
        let frame_bytes = (frame_bytes.max(FRAME_BYTES_MIN) + CHECK_SEQUENCE_BYTES) as u64;
        self.bytes_duration(frame_bytes + WIRE_OVERHEAD_BYTES)
    }

    /// How long bytes take on the wire.
    fn bytes_duration(self, bytes: u64) -> Duration {
        let Some(bits_per_second) = self.bits_per_second else {
            return Duration::ZERO;
        };
        let bits = u128::from(bytes) * 8;
        let nanoseconds = (bits * 1_000_000_000).div_ceil(u128::from(bits_per_second));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

/// One direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkOptions {
    /// The rate at which frames are put on the wire.
    pub rate: LinkRate,
    /// Bytes of frames that may pass at once after a pause, as in a token
    /// bucket; the rate holds on the average. 0 for a real wire.
    pub burst_bytes: usize,
}

/// The state of one direction of a link.
#[derive(Debug)]
pub(crate) struct Link {
    rate: LinkRate,
    /// How far the link may run ahead of the time.
    burst: Duration,
    /// When the last bit of the frame before has passed at the latest.
    free_at: NetworkTime,
}

impl Link {
    pub(crate) fn new(options: LinkOptions) -> Self {
        Self {
            rate: options.rate,
            burst: options.rate.bytes_duration(options.burst_bytes as u64),
            free_at: NetworkTime::ZERO,
        }
    }

    /// When the frame that enters at `now` has arrived at the other end. Never
    /// earlier than the frame before it.
    pub(crate) fn transit(&mut self, frame_bytes: usize, now: NetworkTime) -> NetworkTime {
        let begin = self.free_at.max(now - self.burst);
        self.free_at = begin + self.rate.frame_duration(frame_bytes);
        self.free_at.max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_takes_its_time_on_the_wire() {
        let rate = LinkRate::megabits_per_second(100);
        // (1514 + 4 + 20) * 8 bits at 10 ns each
        assert_eq!(rate.frame_duration(1514), Duration::from_nanos(123_040));
        // padded to 60
        assert_eq!(rate.frame_duration(42), Duration::from_nanos(6_720));
        assert_eq!(LinkRate::UNLIMITED.frame_duration(1514), Duration::ZERO);
        assert_eq!(
            LinkRate::bits_per_second(0),
            LinkRate::bits_per_second(1),
            "a link without rate would never pass a frame"
        );
    }

    #[test]
    fn frames_follow_one_another() {
        let rate = LinkRate::megabits_per_second(100);
        let mut link = Link::new(LinkOptions {
            rate,
            burst_bytes: 0,
        });
        let frame = rate.frame_duration(1514);
        let start = NetworkTime::from_millis(1);
        assert_eq!(link.transit(1514, start), start + frame);
        assert_eq!(link.transit(1514, start), start + frame + frame);
        let later = NetworkTime::from_millis(2);
        assert_eq!(link.transit(1514, later), later + frame);
    }

    #[test]
    fn a_burst_passes_at_once_and_the_rate_holds() {
        let rate = LinkRate::megabits_per_second(100);
        let mut link = Link::new(LinkOptions {
            rate,
            burst_bytes: 2 * (1514 + 4 + 20),
        });
        let start = NetworkTime::from_millis(9);
        let frame = rate.frame_duration(1514);
        let arrivals: Vec<_> = (0..4).map(|_| link.transit(1514, start)).collect();
        assert_eq!(arrivals, [start, start, start + frame, start + 2 * frame]);
        // Only a pause allows another.
        let later = start + 2 * frame;
        assert_eq!(link.transit(1514, later), later + frame);
        let pause = later + 5 * frame;
        assert_eq!(link.transit(1514, pause), pause);
    }
}
