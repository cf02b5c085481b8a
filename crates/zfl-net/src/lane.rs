//! One direction of a port: a bounded queue in front of a link, and a bound on
//! what the receiver is trusted to hold.

use core::time::Duration;
use std::collections::VecDeque;

use crate::counters::{DropReason, LinkCounters};
use crate::frame::{CHECK_SEQUENCE_BYTES, Frame};
use crate::link::{Fate, Link, LinkName, LinkOptions};
use crate::time::NetworkTime;

/// The bound on bytes that a device was given and may not have read.
///
/// The LAN9118 that QEMU emulates has a receive FIFO of 10,560 bytes and drops
/// what does not fit without a word. A switch cannot see into it. It takes
/// whatever the device sends as a sign that its firmware ran and emptied the
/// FIFO, and holds back what might overflow it until then, or until
/// [`Self::quiet`] has passed for a device that has nothing to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlightOptions {
    /// Bytes in flight at most, counted as the FIFO does: with the frame check
    /// sequence, rounded up to words. A frame larger than this passes alone.
    pub bytes_max: usize,
    /// After this long without a frame either way, the bytes in flight are
    /// taken as read.
    pub quiet: Duration,
}

impl FlightOptions {
    /// The LAN9118 as QEMU has it (`hw/net/lan9118.c`: 2,640 words of data).
    pub const LAN9118: Self = Self {
        bytes_max: 10_560,
        quiet: Duration::from_millis(20),
    };
}

/// One direction of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneOptions {
    /// The link's model.
    pub link: LinkOptions,
    /// Bytes of frames that may wait to be sent, the one that is being sent
    /// included. One frame always may.
    pub queue_bytes_max: usize,
    /// The bound on bytes in flight; `None` for a receiver without need of it.
    pub flight: Option<FlightOptions>,
}

#[derive(Debug)]
struct Flight {
    options: FlightOptions,
    bytes: usize,
    last_departure: NetworkTime,
}

impl Flight {
    /// When a frame may leave, as far as the receiver's FIFO is concerned.
    fn open_at(&self, frame_bytes: usize) -> NetworkTime {
        if self.bytes == 0 || self.bytes + fifo_bytes(frame_bytes) <= self.options.bytes_max {
            NetworkTime::ZERO
        } else {
            self.last_departure + self.options.quiet
        }
    }

    fn depart(&mut self, frame_bytes: usize, now: NetworkTime) {
        if now.since(self.last_departure) >= self.options.quiet {
            self.bytes = 0;
        }
        self.bytes += fifo_bytes(frame_bytes);
        self.last_departure = now;
    }
}

/// What a frame takes of the receive FIFO.
fn fifo_bytes(frame_bytes: usize) -> usize {
    (frame_bytes + CHECK_SEQUENCE_BYTES).next_multiple_of(4)
}

/// Frames on their way.
///
/// ```text
///  push ─► [ waiting, one being sent ] ─► in the air ─► at the receiver's door ─► pop
///           └─── queue_bytes_max ───┘
///           └─────────── queue_bytes_max + what the air may hold ──────────┘
/// ```
pub(crate) struct Lane {
    /// The frames with the time of their arrival, in its order.
    queue: VecDeque<(NetworkTime, Frame)>,
    queue_bytes: usize,
    /// Frames that are not sent yet, those to be lost included: when each will
    /// be, and its bytes.
    unsent: VecDeque<(NetworkTime, usize)>,
    unsent_bytes: usize,
    queue_bytes_max: usize,
    air_bytes_max: usize,
    queue_full: DropReason,
    link: Link,
    flight: Option<Flight>,
}

impl Lane {
    pub(crate) fn new(options: LaneOptions, name: LinkName) -> Self {
        Self {
            queue: VecDeque::new(),
            queue_bytes: 0,
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            queue_bytes_max: options.queue_bytes_max,
            air_bytes_max: options.link.air_bytes_max(),
            queue_full: match name.to_device {
                true => DropReason::DownlinkQueueFull,
                false => DropReason::UplinkQueueFull,
            },
            link: Link::new(options.link, name),
            flight: options.flight.map(|options| Flight {
                options,
                bytes: 0,
                last_departure: NetworkTime::ZERO,
            }),
        }
    }

    /// Takes a frame; says why, if it will not arrive.
    pub(crate) fn push(
        &mut self,
        mut frame: Frame,
        now: NetworkTime,
        counters: &mut LinkCounters,
    ) -> Result<(), DropReason> {
        self.link.admit(&mut frame, counters)?;
        while let Some((_, bytes)) = self.unsent.pop_front_if(|(sent_at, _)| *sent_at <= now) {
            self.unsent_bytes -= bytes;
        }
        let bytes = frame.len();
        let most = self.queue_bytes_max;
        let is_full = |held: usize, most: usize| held > 0 && held + bytes > most;
        if is_full(self.unsent_bytes, most)
            || is_full(self.queue_bytes, most.saturating_add(self.air_bytes_max))
        {
            return Err(self.queue_full);
        }
        let passage = self.link.transmit(&mut frame, now, counters);
        if now < passage.sent_at {
            self.unsent.push_back((passage.sent_at, bytes));
            self.unsent_bytes += bytes;
        }
        match passage.fate {
            Fate::Lost(reason) => return Err(reason),
            Fate::Arrives { at, copy_at } => {
                if let Some(copy_at) = copy_at {
                    self.insert(copy_at, frame.clone());
                }
                self.insert(at, frame);
            }
        }
        Ok(())
    }

    /// Puts a frame at its place: the last one, unless the link lets it
    /// overtake others. Of frames that arrive together, the later is behind.
    fn insert(&mut self, due: NetworkTime, frame: Frame) {
        let place = match self.queue.back() {
            Some((last, _)) if due < *last => self.queue.partition_point(|(at, _)| *at <= due),
            _ => self.queue.len(),
        };
        self.queue_bytes += frame.len();
        self.queue.insert(place, (due, frame));
    }

    /// The next frame, if it may leave by now.
    pub(crate) fn front(&self, now: NetworkTime) -> Option<&Frame> {
        self.queue
            .front()
            .filter(|(due, frame)| self.departure(*due, frame.len()) <= now)
            .map(|(_, frame)| frame)
    }

    /// Takes the next frame, if it may leave by now.
    pub(crate) fn pop(&mut self, now: NetworkTime) -> Option<Frame> {
        self.front(now)?;
        let (_, frame) = self.queue.pop_front()?;
        self.queue_bytes -= frame.len();
        if let Some(flight) = &mut self.flight {
            flight.depart(frame.len(), now);
        }
        Some(frame)
    }

    /// The receiver gave a sign of life: it has read what it was given.
    pub(crate) fn receiver_ran(&mut self) {
        if let Some(flight) = &mut self.flight {
            flight.bytes = 0;
        }
    }

    /// When the next frame may leave.
    pub(crate) fn poll_at(&self) -> Option<NetworkTime> {
        let (due, frame) = self.queue.front()?;
        Some(self.departure(*due, frame.len()))
    }

    /// Frames waiting.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    fn departure(&self, due: NetworkTime, frame_bytes: usize) -> NetworkTime {
        self.flight
            .as_ref()
            .map_or(due, |flight| due.max(flight.open_at(frame_bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{LinkRate, Probability};

    const FULL: usize = 1514;
    const NAME: LinkName = LinkName {
        seed: 1,
        device: 0,
        attachment: 0,
        to_device: true,
    };

    fn lane(flight: Option<FlightOptions>, rate: LinkRate) -> Lane {
        let options = LaneOptions {
            link: LinkOptions::wire(rate, 0),
            queue_bytes_max: 100 * FULL,
            flight,
        };
        Lane::new(options, NAME)
    }

    /// Pushes a frame of so many bytes.
    fn push(lane: &mut Lane, bytes: usize, now: NetworkTime) -> Result<(), DropReason> {
        lane.push(vec![0; bytes], now, &mut LinkCounters::default())
    }

    #[test]
    fn the_flight_bound_holds_frames_back_until_the_device_speaks() {
        let mut lane = lane(Some(FlightOptions::LAN9118), LinkRate::UNLIMITED);
        let now = NetworkTime::from_millis(1);
        for _ in 0..10 {
            push(&mut lane, FULL, now).unwrap();
        }
        let burst = |lane: &mut Lane, now| std::iter::from_fn(|| lane.pop(now)).count();
        // 1520 bytes of FIFO each: six fit 10,560, the seventh does not.
        assert_eq!(burst(&mut lane, now), 6);
        assert_eq!(lane.poll_at(), Some(NetworkTime::from_millis(21)));
        assert_eq!(burst(&mut lane, NetworkTime::from_millis(20)), 0);
        lane.receiver_ran();
        assert_eq!(burst(&mut lane, NetworkTime::from_millis(20)), 4);
    }

    #[test]
    fn a_quiet_device_is_given_more_after_a_while() {
        let mut lane = lane(Some(FlightOptions::LAN9118), LinkRate::UNLIMITED);
        for _ in 0..13 {
            push(&mut lane, FULL, NetworkTime::ZERO).unwrap();
        }
        let mut bursts = Vec::new();
        let mut now = NetworkTime::ZERO;
        while let Some(next) = lane.poll_at() {
            now = now.max(next);
            bursts.push(std::iter::from_fn(|| lane.pop(now)).count());
        }
        assert_eq!(bursts, [6, 6, 1]);
        assert_eq!(now, NetworkTime::from_millis(40));
    }

    #[test]
    fn a_frame_larger_than_every_bound_passes_alone() {
        let options = LaneOptions {
            link: LinkOptions::wire(LinkRate::UNLIMITED, 0),
            queue_bytes_max: 10,
            flight: Some(FlightOptions {
                bytes_max: 10,
                quiet: Duration::from_millis(1),
            }),
        };
        let mut lane = Lane::new(options, NAME);
        let now = NetworkTime::ZERO;
        assert_eq!(push(&mut lane, FULL, now), Ok(()));
        assert_eq!(push(&mut lane, 1, now), Err(DropReason::DownlinkQueueFull));
        assert!(lane.pop(now).is_some());
    }

    /// A lane of 1 ms a full frame, with a queue of three and 100 ms of air.
    fn long(loss: Probability) -> Lane {
        let mut link = LinkOptions::wire(LinkRate::bits_per_second(8_000 * FULL as u64), 0);
        link.overhead_bytes = 0;
        link.delay = Duration::from_millis(100);
        link.loss = loss;
        let options = LaneOptions {
            link,
            queue_bytes_max: 3 * FULL,
            flight: None,
        };
        Lane::new(options, NAME)
    }

    #[test]
    fn what_is_in_the_air_takes_no_room_in_the_queue() {
        let mut lane = long(Probability::NEVER);
        for millis in 0..50 {
            let now = NetworkTime::from_millis(millis);
            assert_eq!(push(&mut lane, FULL, now), Ok(()));
        }
        assert_eq!(lane.len(), 50);
        // The last is still being sent.
        let now = NetworkTime::from_millis(49);
        assert_eq!(push(&mut lane, FULL, now), Ok(()));
        assert_eq!(push(&mut lane, FULL, now), Ok(()));
        let full = Err(DropReason::DownlinkQueueFull);
        assert_eq!(push(&mut lane, FULL, now), full);
    }

    #[test]
    fn a_receiver_that_takes_nothing_fills_queue_and_air_and_no_more() {
        let mut lane = long(Probability::NEVER);
        let taken = (0..1_000)
            .filter(|millis| push(&mut lane, FULL, NetworkTime::from_millis(*millis)).is_ok())
            .count();
        // 100 ms of air and what is just leaving, and the queue.
        assert_eq!(taken, 100 + 1 + 3);
    }

    #[test]
    fn a_frame_that_will_be_lost_waits_as_others_do() {
        let mut lane = long(Probability::ALWAYS);
        let now = NetworkTime::ZERO;
        for _ in 0..3 {
            assert_eq!(push(&mut lane, FULL, now), Err(DropReason::Lost));
        }
        let full = Err(DropReason::DownlinkQueueFull);
        assert_eq!(push(&mut lane, FULL, now), full);
        assert_eq!(lane.poll_at(), None);
    }
}
