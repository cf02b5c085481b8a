//! One direction of a port: a bounded queue in front of a link, and a bound on
//! what the receiver is trusted to hold.

use core::time::Duration;
use std::collections::VecDeque;

use crate::frame::{CHECK_SEQUENCE_BYTES, Frame};
use crate::link::{Link, LinkOptions};
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneOptions {
    /// The link's model.
    pub link: LinkOptions,
    /// Bytes of frames that may wait. One frame always may.
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

/// Frames on their way, in order.
#[derive(Debug)]
pub(crate) struct Lane {
    /// The frames with the time of their arrival, which only grows.
    queue: VecDeque<(NetworkTime, Frame)>,
    queue_bytes: usize,
    queue_bytes_max: usize,
    link: Link,
    flight: Option<Flight>,
}

impl Lane {
    pub(crate) fn new(options: LaneOptions) -> Self {
        Self {
            queue: VecDeque::new(),
            queue_bytes: 0,
            queue_bytes_max: options.queue_bytes_max,
            link: Link::new(options.link),
            flight: options.flight.map(|options| Flight {
                options,
                bytes: 0,
                last_departure: NetworkTime::ZERO,
            }),
        }
    }

    /// Takes a frame; gives it back when there is no room.
    pub(crate) fn push(&mut self, frame: Frame, now: NetworkTime) -> Result<(), Frame> {
        let bytes = frame.len();
        if !self.queue.is_empty() && self.queue_bytes + bytes > self.queue_bytes_max {
            return Err(frame);
        }
        self.queue_bytes += bytes;
        self.queue.push_back((self.link.transit(bytes, now), frame));
        Ok(())
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
    use crate::link::LinkRate;

    const FULL: usize = 1514;

    fn lane(flight: Option<FlightOptions>, rate: LinkRate) -> Lane {
        Lane::new(LaneOptions {
            link: LinkOptions {
                rate,
                burst_bytes: 0,
            },
            queue_bytes_max: 100 * FULL,
            flight,
        })
    }

    #[test]
    fn the_flight_bound_holds_frames_back_until_the_device_speaks() {
        let mut lane = lane(Some(FlightOptions::LAN9118), LinkRate::UNLIMITED);
        let now = NetworkTime::from_millis(1);
        for _ in 0..10 {
            lane.push(vec![0; FULL], now).unwrap();
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
            lane.push(vec![0; FULL], NetworkTime::ZERO).unwrap();
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
        let mut lane = Lane::new(LaneOptions {
            link: LinkOptions {
                rate: LinkRate::UNLIMITED,
                burst_bytes: 0,
            },
            queue_bytes_max: 10,
            flight: Some(FlightOptions {
                bytes_max: 10,
                quiet: Duration::from_millis(1),
            }),
        });
        let now = NetworkTime::ZERO;
        assert_eq!(lane.push(vec![0; FULL], now), Ok(()));
        assert_eq!(lane.push(vec![0; 1], now), Err(vec![0; 1]));
        assert!(lane.pop(now).is_some());
    }
}
