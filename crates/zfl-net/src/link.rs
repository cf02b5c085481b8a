//! What lies between a device and the switch, one direction of it.
//!
//! A link is asked once for every frame, in order, when the frame enters it,
//! and says at once what becomes of it: when its last bit is sent, when it
//! arrives, whether it is lost, changed or comes twice. It owns no queue:
//! frames wait in the port's lane.
//!
//! ```text
//!  MTU ─► queue ─► rate ─► outages ─► loss ─► corruption ─► duplication ─► delay, jitter ─►
//!  (lane)  (lane)  └──────────────── for each frame that is sent ────────────────┘
//! ```
//!
//! What happens by chance is drawn from one stream for each device, direction
//! and attachment, always the same number of values for a frame, so that the
//! n-th frame meets the same fate whatever else a link does or does not do. A
//! link that leaves nothing to chance draws nothing.

mod chance;
mod outage;
pub(crate) mod segment;

use core::time::Duration;

use zfl_seed::{Purpose, Stream};

pub use self::chance::{BurstLoss, Probability};
pub use self::outage::{Outage, OutageCycle, Outages};

use self::chance::{Chance, Draws};
use self::outage::OutageClock;
use crate::counters::{DropReason, LinkCounters};
use crate::frame::{CHECK_SEQUENCE_BYTES, FRAME_BYTES_MIN, Frame, HEADER_BYTES, PAYLOAD_BYTES_MAX};
use crate::time::NetworkTime;

/// What Ethernet adds to a frame in time: frame check sequence, preamble, start
/// of frame and the gap between frames (IEEE 802.3, clauses 3.1.1 and 4.4.2).
pub const ETHERNET_OVERHEAD_BYTES: usize = CHECK_SEQUENCE_BYTES + 8 + 12;

/// The most that may be on its way in the air of a link, whose delay would
/// otherwise be a buffer without a bound: more than 100 Mbit/s for 300 ms.
const AIR_BYTES_MAX: usize = 4 << 20;

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

    /// How long a frame occupies the link that adds `overhead_bytes` to it. A
    /// short one is padded, as on Ethernet.
    pub fn frame_duration(self, frame_bytes: usize, overhead_bytes: usize) -> Duration {
        self.bytes_duration((frame_bytes.max(FRAME_BYTES_MIN) + overhead_bytes) as u64)
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

    /// How many bytes fit into a time; `None` without a limit.
    fn bytes_during(self, time: Duration) -> Option<usize> {
        let bits = u128::from(self.bits_per_second?) * time.as_nanos() / 1_000_000_000;
        Some(usize::try_from(bits / 8).unwrap_or(usize::MAX))
    }
}

/// One direction of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkOptions {
    /// The rate at which frames are put on the wire.
    pub rate: LinkRate,
    /// Bytes of frames that may pass at once after a pause, as in a token
    /// bucket; the rate holds on the average. 0 for a real wire.
    pub burst_bytes: usize,
    /// Bytes of time that each frame takes beside its own.
    pub overhead_bytes: usize,
    /// From the last bit sent to the last bit received, on the average.
    pub delay: Duration,
    /// The delay of each frame is uniform in `delay` ± `jitter`. At most
    /// `delay`.
    pub jitter: Duration,
    /// Whether jitter lets a frame overtake another. Otherwise a frame arrives
    /// no earlier than the one before, which makes the mean delay of frames
    /// that follow each other closely longer than `delay`.
    pub reorder: bool,
    /// How often a frame is lost outside of bursts.
    pub loss: Probability,
    /// When and how often frames are lost in bursts.
    pub burst_loss: Option<BurstLoss>,
    /// How often a frame that arrives comes twice. The copy takes its own time
    /// and its own jitter.
    pub duplicate: Probability,
    /// How often one bit of a frame's IP packet is changed.
    pub corrupt: Probability,
    /// The largest IP packet. Larger ones are dropped; whoever opens a TCP
    /// connection is told a segment size that fits.
    pub mtu_bytes: usize,
    /// When nothing passes.
    pub outages: Outages,
}

impl LinkOptions {
    /// A wire that only has a rate and loses nothing.
    pub const fn wire(rate: LinkRate, burst_bytes: usize) -> Self {
        Self {
            rate,
            burst_bytes,
            overhead_bytes: ETHERNET_OVERHEAD_BYTES,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            reorder: false,
            loss: Probability::NEVER,
            burst_loss: None,
            duplicate: Probability::NEVER,
            corrupt: Probability::NEVER,
            mtu_bytes: PAYLOAD_BYTES_MAX,
            outages: Outages::NONE,
        }
    }

    /// How many bytes may be between the ends at a time.
    pub(crate) fn air_bytes_max(&self) -> usize {
        let delay = self.delay.saturating_add(self.jitter);
        if delay.is_zero() {
            return 0;
        }
        let bytes = self.rate.bytes_during(delay).unwrap_or(AIR_BYTES_MAX);
        bytes
            .saturating_add(self.burst_bytes)
            .saturating_add(HEADER_BYTES + PAYLOAD_BYTES_MAX)
            .min(AIR_BYTES_MAX)
    }

    /// Whether frames get lost that found room in the queue.
    pub(crate) fn loses(&self) -> bool {
        let chances = [self.loss, self.corrupt];
        chances.iter().any(|chance| *chance != Probability::NEVER)
            || self.burst_loss.is_some()
            || self.outages != Outages::NONE
    }

    fn leaves_to_chance(&self) -> bool {
        let chances = [self.loss, self.duplicate, self.corrupt];
        chances.iter().any(|chance| *chance != Probability::NEVER)
            || self.burst_loss.is_some()
            || !self.jitter.is_zero()
    }
}

/// Whose link it is, and which way and time: what its random numbers are named
/// by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkName {
    pub(crate) seed: u64,
    pub(crate) device: u32,
    /// How often the device has been attached before.
    pub(crate) attachment: u32,
    pub(crate) to_device: bool,
}

impl LinkName {
    /// The stream of outages, which both directions and all attachments share.
    fn outages(self) -> Stream {
        Stream::new(self.seed, Purpose::Link, self.device)
    }

    fn frames(self) -> Stream {
        let round = self.attachment.wrapping_mul(2).wrapping_add(1);
        let round = round.wrapping_add(u32::from(self.to_device));
        Stream::for_round(self.seed, Purpose::Link, self.device, round)
    }
}

/// What a link makes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    /// When its last bit is sent, that of its copy included.
    pub(crate) sent_at: NetworkTime,
    pub(crate) fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives {
        at: NetworkTime,
        copy_at: Option<NetworkTime>,
    },
    Lost(DropReason),
}

/// The state of one direction of a link.
pub(crate) struct Link {
    options: LinkOptions,
    /// How far the link may run ahead of the time.
    burst: Duration,
    /// When the last bit of the frame before has passed at the latest.
    free_at: NetworkTime,
    /// Until when at least one frame is in the link.
    busy_until: NetworkTime,
    /// When the last frame arrives, where none overtakes another.
    last_arrival: NetworkTime,
    outages: OutageClock,
    chance: Option<Box<Chance>>,
}

impl Link {
    pub(crate) fn new(options: LinkOptions, name: LinkName) -> Self {
        Self {
            burst: options.rate.bytes_duration(options.burst_bytes as u64),
            free_at: NetworkTime::ZERO,
            busy_until: NetworkTime::ZERO,
            last_arrival: NetworkTime::ZERO,
            outages: OutageClock::new(&options.outages, || name.outages()),
            chance: options
                .leaves_to_chance()
                .then(|| Box::new(Chance::new(name.frames()))),
            options,
        }
    }

    /// Whether a frame may enter, as far as its size is concerned. What opens a
    /// TCP connection is changed to say how large a segment may be.
    pub(crate) fn admit(
        &self,
        frame: &mut Frame,
        counters: &mut LinkCounters,
    ) -> Result<(), DropReason> {
        let mtu_bytes = self.options.mtu_bytes;
        if mtu_bytes >= PAYLOAD_BYTES_MAX {
            return Ok(());
        }
        if frame.len() > HEADER_BYTES + mtu_bytes {
            return Err(DropReason::TooLarge);
        }
        counters.clamped += u64::from(segment::clamp_segment_size(frame, mtu_bytes));
        Ok(())
    }

    /// Sends a frame that enters at `now`, after those before it.
    pub(crate) fn transmit(
        &mut self,
        frame: &mut Frame,
        now: NetworkTime,
        counters: &mut LinkCounters,
    ) -> Passage {
        let (begin, sent_at) = self.occupy(frame.len(), now, counters);
        let passage = match &mut self.chance {
            // Nothing is drawn, and nothing can happen but an outage.
            None => Passage {
                sent_at,
                fate: match self.outages.is_down(begin, sent_at) {
                    true => Fate::Lost(DropReason::Outage),
                    false => Fate::Arrives {
                        at: sent_at + self.options.delay,
                        copy_at: None,
                    },
                },
            },
            Some(chance) => {
                let draws = chance.draw(&self.options);
                self.transmit_by_chance(frame, now, (begin, sent_at), draws, counters)
            }
        };
        let until = match passage.fate {
            Fate::Lost(_) => passage.sent_at,
            Fate::Arrives { at, copy_at } => copy_at.map_or(at, |copy_at| copy_at.max(at)),
        };
        counters.busy += until.since(self.busy_until.max(now));
        self.busy_until = self.busy_until.max(until);
        passage
    }

    fn transmit_by_chance(
        &mut self,
        frame: &mut Frame,
        now: NetworkTime,
        (begin, sent_at): (NetworkTime, NetworkTime),
        draws: Draws,
        counters: &mut LinkCounters,
    ) -> Passage {
        let lost = if self.outages.is_down(begin, sent_at) {
            Some(DropReason::Outage)
        } else {
            draws.is_lost.then_some(DropReason::Lost)
        };
        if let Some(reason) = lost {
            let fate = Fate::Lost(reason);
            return Passage { sent_at, fate };
        }
        if let Some(position) = draws.corrupt {
            counters.corrupted += u64::from(segment::flip_bit(frame, position));
        }
        let at = self.arrival(sent_at, draws.jitter);
        let mut passage = Passage {
            sent_at,
            fate: Fate::Arrives { at, copy_at: None },
        };
        if let Some(jitter) = draws.copy_jitter {
            let (_, copy_sent_at) = self.occupy(frame.len(), now, counters);
            counters.duplicated += 1;
            passage = Passage {
                sent_at: copy_sent_at,
                fate: Fate::Arrives {
                    at,
                    copy_at: Some(self.arrival(copy_sent_at, jitter)),
                },
            };
        }
        passage
    }

    /// When the first and the last bit of the next frame are sent.
    fn occupy(
        &mut self,
        frame_bytes: usize,
        now: NetworkTime,
        counters: &mut LinkCounters,
    ) -> (NetworkTime, NetworkTime) {
        let begin = self.free_at.max(now - self.burst);
        let options = &self.options;
        let duration = options
            .rate
            .frame_duration(frame_bytes, options.overhead_bytes);
        counters.airtime += duration;
        self.free_at = begin + duration;
        (begin.max(now), self.free_at.max(now))
    }

    /// When a frame arrives whose last bit is sent at `sent_at`; `jitter` is
    /// uniform.
    fn arrival(&mut self, sent_at: NetworkTime, jitter: u32) -> NetworkTime {
        let range = 2 * self.options.jitter.as_nanos() as u64;
        let offset = (u128::from(range) * u128::from(jitter)) >> 32;
        let offset = Duration::from_nanos(u64::try_from(offset).unwrap_or(u64::MAX));
        let least = self.options.delay.saturating_sub(self.options.jitter);
        let at = sent_at + least + offset;
        if self.options.reorder {
            return at;
        }
        self.last_arrival = self.last_arrival.max(at);
        self.last_arrival
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: LinkName = LinkName {
        seed: 1,
        device: 0,
        attachment: 0,
        to_device: true,
    };

    /// When a full frame arrives that enters at `now`.
    fn transit(link: &mut Link, now: NetworkTime) -> NetworkTime {
        let mut counters = LinkCounters::default();
        match link.transmit(&mut vec![0; 1514], now, &mut counters).fate {
            Fate::Arrives { at, .. } => at,
            Fate::Lost(reason) => panic!("lost: {reason}"),
        }
    }

    fn wire(rate: LinkRate, burst_bytes: usize) -> Link {
        Link::new(LinkOptions::wire(rate, burst_bytes), NAME)
    }

    fn ethernet_duration(rate: LinkRate, frame_bytes: usize) -> Duration {
        rate.frame_duration(frame_bytes, ETHERNET_OVERHEAD_BYTES)
    }

    #[test]
    fn a_frame_takes_its_time_on_the_wire() {
        let rate = LinkRate::megabits_per_second(100);
        // (1514 + 4 + 20) * 8 bits at 10 ns each
        assert_eq!(ethernet_duration(rate, 1514), Duration::from_nanos(123_040));
        // padded to 60
        assert_eq!(ethernet_duration(rate, 42), Duration::from_nanos(6_720));
        assert_eq!(ethernet_duration(LinkRate::UNLIMITED, 1514), Duration::ZERO);
        assert_eq!(
            LinkRate::bits_per_second(0),
            LinkRate::bits_per_second(1),
            "a link without rate would never pass a frame"
        );
    }

    #[test]
    fn frames_follow_one_another() {
        let rate = LinkRate::megabits_per_second(100);
        let mut link = wire(rate, 0);
        let frame = ethernet_duration(rate, 1514);
        let start = NetworkTime::from_millis(1);
        assert_eq!(transit(&mut link, start), start + frame);
        assert_eq!(transit(&mut link, start), start + frame + frame);
        let later = NetworkTime::from_millis(2);
        assert_eq!(transit(&mut link, later), later + frame);
    }

    #[test]
    fn a_burst_passes_at_once_and_the_rate_holds() {
        let rate = LinkRate::megabits_per_second(100);
        let mut link = wire(rate, 2 * (1514 + 4 + 20));
        let start = NetworkTime::from_millis(9);
        let frame = ethernet_duration(rate, 1514);
        let arrivals: Vec<_> = (0..4).map(|_| transit(&mut link, start)).collect();
        assert_eq!(arrivals, [start, start, start + frame, start + 2 * frame]);
        // Only a pause allows another.
        let later = start + 2 * frame;
        assert_eq!(transit(&mut link, later), later + frame);
        let pause = later + 5 * frame;
        assert_eq!(transit(&mut link, pause), pause);
    }

    #[test]
    fn a_link_is_busy_while_there_is_a_frame_in_it() {
        let rate = LinkRate::bits_per_second(8 * (1514 + 24) * 100);
        let mut options = LinkOptions::wire(rate, 0);
        options.delay = Duration::from_millis(5);
        let mut link = Link::new(options, NAME);
        let mut counters = LinkCounters::default();
        // Two frames of 10 ms at once: the second arrives after 25 ms. A third,
        // later and alone, takes 15 ms.
        for at in [0, 0, 100] {
            link.transmit(
                &mut vec![0; 1514],
                NetworkTime::from_millis(at),
                &mut counters,
            );
        }
        assert_eq!(counters.busy, Duration::from_millis(25 + 15));
        assert_eq!(counters.airtime, Duration::from_millis(30));
    }

    #[test]
    fn what_may_be_in_the_air_is_bounded() {
        let mut options = LinkOptions::wire(LinkRate::bits_per_second(800_000), 0);
        assert_eq!(options.air_bytes_max(), 0);
        options.delay = Duration::from_secs(1);
        assert_eq!(options.air_bytes_max(), 100_000 + 1514);
        options.rate = LinkRate::UNLIMITED;
        assert_eq!(options.air_bytes_max(), AIR_BYTES_MAX);
    }
}
