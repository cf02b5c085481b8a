//! What passes between the NIC's driver and the network stack.
//!
//! The stack keeps no statistics, so they are read off the frames: any driver
//! can be wrapped in a [`Meter`]. A segment that holds anything that its
//! connection had already sent is a retransmission (RFC 4898), as it is for the
//! observers of `zfl-net`, against which these counts are held.

/// Connections whose sequence numbers are followed at one time: more than
/// the stack has sockets, the oldest gives way.
const FLOWS_MAX: usize = 8;

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const PROTOCOL_TCP: u8 = 6;
/// All but "don't fragment" says that there are more parts.
const FRAGMENT_MASK: u16 = 0x3fff;
const ETHERNET_BYTES: usize = 14;
/// Of IPv4 and of TCP.
const HEADER_BYTES_MIN: usize = 20;
const FLAG_FIN: u8 = 1;
const FLAG_SYN: u8 = 2;
/// Half of all sequence numbers.
const HALF: u32 = 1 << 31;

/// Totals since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) frames_in: u32,
    pub(crate) bytes_in: u64,
    pub(crate) frames_out: u32,
    pub(crate) bytes_out: u64,
    pub(crate) segments_in: u32,
    pub(crate) segments_out: u32,
    pub(crate) segments_retransmitted: u32,
}

/// One direction of a connection.
#[derive(Clone, Copy, Default)]
struct Flow {
    /// Local and remote port, remote address.
    key: ([u8; 4], [u8; 4]),
    /// The sequence number after the last byte sent.
    next: u32,
}

/// Counts frames.
#[derive(Default)]
pub(crate) struct Tally {
    counters: Counters,
    flows: [Flow; FLOWS_MAX],
    /// The flow to give up next.
    oldest: usize,
}

/// What a TCP segment says of its place in the stream.
struct Segment {
    key: ([u8; 4], [u8; 4]),
    sequence: u32,
    /// Sequence numbers that it takes: data, SYN, FIN.
    length: u32,
    is_first: bool,
    has_data: bool,
}

fn parse(frame: &[u8]) -> Option<Segment> {
    if frame.get(12..14)? != ETHERTYPE_IPV4 {
        return None;
    }
    let packet = frame.get(ETHERNET_BYTES..)?;
    let fragment = u16::from_be_bytes(*packet.get(6..)?.first_chunk()?);
    let is_whole = *packet.first()? >> 4 == 4 && fragment & FRAGMENT_MASK == 0;
    if *packet.get(9)? != PROTOCOL_TCP || !is_whole {
        return None;
    }
    let header_bytes = usize::from(packet.first()? & 0x0f) * 4;
    let packet_bytes = usize::from(u16::from_be_bytes(*packet.get(2..)?.first_chunk()?));
    // Without the padding of short frames.
    let segment = packet.get(header_bytes..packet_bytes)?;
    let data_offset = usize::from(segment.get(12)? >> 4) * 4;
    if header_bytes < HEADER_BYTES_MIN || data_offset < HEADER_BYTES_MIN {
        return None;
    }
    let data_bytes = segment.len().checked_sub(data_offset)?;
    let flags = *segment.get(13)?;
    let length = u32::try_from(data_bytes).ok()?
        + u32::from(flags & FLAG_SYN != 0)
        + u32::from(flags & FLAG_FIN != 0);
    Some(Segment {
        key: (*segment.first_chunk()?, *packet.get(16..)?.first_chunk()?),
        sequence: u32::from_be_bytes(*segment.get(4..)?.first_chunk()?),
        length,
        is_first: flags & FLAG_SYN != 0,
        has_data: data_bytes > 0,
    })
}

impl Tally {
    /// The totals.
    pub(crate) const fn counters(&self) -> Counters {
        self.counters
    }

    /// Counts a frame that came in.
    pub(crate) fn received(&mut self, frame: &[u8]) {
        let counters = &mut self.counters;
        counters.frames_in = counters.frames_in.wrapping_add(1);
        counters.bytes_in = counters.bytes_in.wrapping_add(length_of(frame));
        if parse(frame).is_some() {
            counters.segments_in = counters.segments_in.wrapping_add(1);
        }
    }

    /// Counts a frame that goes out.
    pub(crate) fn sent(&mut self, frame: &[u8]) {
        let counters = &mut self.counters;
        counters.frames_out = counters.frames_out.wrapping_add(1);
        counters.bytes_out = counters.bytes_out.wrapping_add(length_of(frame));
        if let Some(segment) = parse(frame) {
            counters.segments_out = counters.segments_out.wrapping_add(1);
            if self.is_repeated(&segment) {
                let counters = &mut self.counters;
                counters.segments_retransmitted = counters.segments_retransmitted.wrapping_add(1);
            }
        }
    }

    fn is_repeated(&mut self, segment: &Segment) -> bool {
        if segment.length == 0 {
            return false;
        }
        let end = segment.sequence.wrapping_add(segment.length);
        if let Some(flow) = self.flows.iter_mut().find(|flow| flow.key == segment.key) {
            // A keep-alive (RFC 9293, section 3.8.4).
            if segment.length == 1 && end == flow.next && segment.has_data {
                return false;
            }
            // A new connection may reuse the ports of an old one.
            if segment.is_first && end != flow.next {
                flow.next = end;
                return false;
            }
            // Sequence numbers wrap: what is less than half the circle ahead
            // is new, what is less than half behind was there.
            if (1..HALF).contains(&end.wrapping_sub(flow.next)) {
                let behind = flow.next.wrapping_sub(segment.sequence);
                flow.next = end;
                return (1..HALF).contains(&behind);
            }
            return true;
        }
        if let Some(flow) = self.flows.get_mut(self.oldest) {
            *flow = Flow {
                key: segment.key,
                next: end,
            };
        }
        self.oldest = (self.oldest + 1) % FLOWS_MAX;
        false
    }
}

fn length_of(frame: &[u8]) -> u64 {
    u64::try_from(frame.len()).unwrap_or(u64::MAX)
}

#[cfg(target_os = "none")]
pub(crate) use driver::{Meter, SharedTally};

/// The wrapper itself.
#[cfg(target_os = "none")]
mod driver {
    use core::cell::RefCell;
    use core::task::Context;

    use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};

    use super::Tally;

    /// Where the counts are kept.
    pub(crate) type SharedTally = RefCell<Tally>;

    /// A driver whose frames are counted.
    pub(crate) struct Meter<D> {
        inner: D,
        tally: &'static SharedTally,
    }

    impl<D> Meter<D> {
        /// Counts the frames of `inner` into `tally`.
        pub(crate) const fn new(inner: D, tally: &'static SharedTally) -> Self {
            Self { inner, tally }
        }
    }

    /// A frame, or the right to send one.
    pub(crate) struct Metered<T> {
        token: T,
        tally: &'static SharedTally,
    }

    impl<T: RxToken> RxToken for Metered<T> {
        fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
            self.token.consume(|frame| {
                self.tally.borrow_mut().received(frame);
                f(frame)
            })
        }
    }

    impl<T: TxToken> TxToken for Metered<T> {
        fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
            self.token.consume(length, |frame| {
                let result = f(frame);
                self.tally.borrow_mut().sent(frame);
                result
            })
        }
    }

    impl<D: Driver> Driver for Meter<D> {
        type RxToken<'a>
            = Metered<D::RxToken<'a>>
        where
            D: 'a;
        type TxToken<'a>
            = Metered<D::TxToken<'a>>
        where
            D: 'a;

        fn receive(
            &mut self,
            cx: &mut Context<'_>,
        ) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
            let tally = self.tally;
            let (rx, tx) = self.inner.receive(cx)?;
            Some((Metered { token: rx, tally }, Metered { token: tx, tally }))
        }

        fn transmit(&mut self, cx: &mut Context<'_>) -> Option<Self::TxToken<'_>> {
            let tally = self.tally;
            let token = self.inner.transmit(cx)?;
            Some(Metered { token, tally })
        }

        fn link_state(&mut self, cx: &mut Context<'_>) -> LinkState {
            self.inner.link_state(cx)
        }

        fn capabilities(&self) -> Capabilities {
            self.inner.capabilities()
        }

        fn hardware_address(&self) -> HardwareAddress {
            self.inner.hardware_address()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TCP segment from port 80 to `port` in an Ethernet frame, padded to
    /// the least that Ethernet carries.
    fn frame(port: u16, sequence: u32, data_bytes: usize, flags: u8) -> Vec<u8> {
        let mut frame = vec![0; ETHERNET_BYTES + 40 + data_bytes];
        frame[12..14].copy_from_slice(&ETHERTYPE_IPV4);
        frame[14] = 0x45;
        let packet_bytes = u16::try_from(40 + data_bytes).unwrap();
        frame[16..18].copy_from_slice(&packet_bytes.to_be_bytes());
        frame[23] = PROTOCOL_TCP;
        frame[34..36].copy_from_slice(&80u16.to_be_bytes());
        frame[36..38].copy_from_slice(&port.to_be_bytes());
        frame[38..42].copy_from_slice(&sequence.to_be_bytes());
        frame[46] = 0x50;
        frame[47] = flags;
        frame.resize(frame.len().max(60), 0);
        frame
    }

    /// How many of the segments (port, sequence, data bytes, flags) count as
    /// retransmitted.
    fn retransmitted(segments: &[(u16, u32, usize, u8)]) -> u32 {
        let mut tally = Tally::default();
        for (port, sequence, data_bytes, flags) in segments {
            tally.sent(&frame(*port, *sequence, *data_bytes, *flags));
        }
        assert_eq!(
            usize::try_from(tally.counters().segments_out).unwrap(),
            segments.len()
        );
        tally.counters().segments_retransmitted
    }

    #[test]
    fn a_stream_in_order_repeats_nothing() {
        let segments = [
            (1, 99, 0, FLAG_SYN),
            (1, 100, 0, 0),
            (1, 100, 10, 0),
            (2, 5, 10, 0),
            (1, 110, 10, 0),
            (1, 120, 0, FLAG_FIN),
            (1, 121, 0, 0),
        ];
        assert_eq!(retransmitted(&segments), 0);
    }

    #[test]
    fn data_sent_twice_counts_once() {
        assert_eq!(retransmitted(&[(1, 100, 10, 0), (1, 100, 10, 0)]), 1);
        assert_eq!(
            retransmitted(&[(1, 100, 10, 0), (1, 110, 10, 0), (1, 100, 10, 0)]),
            1
        );
        assert_eq!(
            retransmitted(&[(1, 7, 0, FLAG_SYN), (1, 7, 0, FLAG_SYN)]),
            1
        );
        // A keep-alive holds the last byte again.
        assert_eq!(retransmitted(&[(1, 100, 10, 0), (1, 109, 1, 0)]), 0);
        assert_eq!(
            retransmitted(&[(1, 100, 0, FLAG_FIN), (1, 100, 0, FLAG_FIN)]),
            1
        );
        // Half of it is new.
        assert_eq!(retransmitted(&[(1, 100, 10, 0), (1, 105, 10, 0)]), 1);
    }

    #[test]
    fn sequence_numbers_wrap_and_ports_are_used_again() {
        assert_eq!(retransmitted(&[(1, u32::MAX - 4, 10, 0), (1, 5, 10, 0)]), 0);
        assert_eq!(retransmitted(&[(1, 1000, 10, 0), (1, 3, 0, FLAG_SYN)]), 0);
    }

    #[test]
    fn other_frames_are_only_counted() {
        let mut tally = Tally::default();
        let mut arp = frame(1, 1, 1, 0);
        arp[12..14].copy_from_slice(&[0x08, 0x06]);
        tally.sent(&arp);
        tally.received(&arp);
        tally.received(&[]);
        tally.received(&frame(1, 1, 100, 0));
        let counters = tally.counters();
        assert_eq!((counters.frames_out, counters.bytes_out), (1, 60));
        assert_eq!((counters.frames_in, counters.bytes_in), (3, 60 + 154));
        assert_eq!((counters.segments_in, counters.segments_out), (1, 0));
    }

    #[test]
    fn a_short_frame_does_not_panic() {
        let whole = frame(1, 1, 20, 0);
        let mut tally = Tally::default();
        for length in 0..whole.len() {
            tally.sent(&whole[..length]);
        }
        assert_eq!(tally.counters().segments_out, 0);
    }
}
