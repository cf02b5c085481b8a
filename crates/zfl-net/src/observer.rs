//! TCP as it passes one end of a link: read off the frames, without a stack.
//!
//! An observer stands where a sender puts its frames into the link and is handed
//! those of the other side. It sees what the sender sees, and nothing of what
//! the link does in between: one stands at the device's end of each port, one at
//! the switch's. What it calls a retransmission is that of RFC 4898
//! (`tcpEStatsPerfSegsRetrans`), a duplicate acknowledgement that of RFC 5681.
//!
//! Any bytes may come. What is no whole TCP segment in one IPv4 packet is not
//! counted, and a bounded number of connections is followed.

use crate::frame::{Header, TYPE_IPV4};
use crate::time::NetworkTime;

/// Connections that are followed at one time, at one end of one port: twice what
/// the gateway carries for a device. The oldest gives way.
const FLOWS_MAX: usize = 32;

const PROTOCOL_TCP: u8 = 6;
const IPV4_HEADER_BYTES: usize = 20;
const TCP_HEADER_BYTES: usize = 20;
/// Of flags and fragment offset: all but "don't fragment" says that there are
/// more parts.
const FRAGMENT_MASK: u16 = 0x3fff;

const FLAG_FIN: u8 = 0x01;
const FLAG_SYN: u8 = 0x02;
const FLAG_RST: u8 = 0x04;
const FLAG_ACK: u8 = 0x10;

/// Half of all sequence numbers: what is less far ahead than this is ahead, and
/// not behind.
const HALF: u32 = 1 << 31;

/// The TCP segments of one direction, counted where their sender puts them into
/// the link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpCounters {
    /// All segments.
    pub segments: u64,
    /// Segments with payload.
    pub data_segments: u64,
    /// Segments with at least one byte (or SYN, or FIN) that was sent before;
    /// keep-alives, which hold one for no other purpose, are none.
    pub retransmissions: u64,
    /// Acknowledgements from the other side that say nothing new while data are
    /// outstanding, as they reached the sender.
    pub duplicate_acknowledgements: u64,
    /// Bytes of payload, those sent again included.
    pub payload_bytes: u64,
    /// Bytes of payload that had not been sent before.
    pub new_payload_bytes: u64,
    /// Segments that reset a connection.
    pub resets: u64,
}

/// Round-trip times: from a segment's way into the link until its
/// acknowledgement came out of it. One segment of a connection at a time is
/// timed, and none that was sent again (Karn's algorithm, RFC 6298, section 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundTrips {
    /// How many were measured.
    pub count: u64,
    /// Their sum, in nanoseconds.
    pub sum_ns: u64,
    /// The shortest, in nanoseconds; 0 where there is none.
    pub min_ns: u64,
    /// The longest, in nanoseconds.
    pub max_ns: u64,
}

impl RoundTrips {
    fn add(&mut self, ns: u64) {
        self.merge(&Self {
            count: 1,
            sum_ns: ns,
            min_ns: ns,
            max_ns: ns,
        });
    }

    /// Takes in others.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.min_ns = match (self.count, other.count) {
            (_, 0) => self.min_ns,
            (0, _) => other.min_ns,
            _ => self.min_ns.min(other.min_ns),
        };
        self.max_ns = self.max_ns.max(other.max_ns);
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.count += other.count;
    }
}

/// A segment that was observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    /// It asks for a connection, and did not before.
    pub(crate) opens: bool,
}

/// One end of a connection, by address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    address: [u8; 4],
    port: [u8; 2],
}

/// What a TCP segment says.
#[derive(Clone, Copy, Debug)]
struct Segment {
    source: End,
    destination: End,
    sequence: u32,
    acknowledgement: u32,
    window: u16,
    flags: u8,
    payload_bytes: u32,
}

impl Segment {
    /// Reads the headers of a frame; `None` where it is no TCP segment.
    fn parse(frame: &[u8]) -> Option<Self> {
        let (header, packet) = Header::split(frame)?;
        let ip: &[u8; IPV4_HEADER_BYTES] = packet.first_chunk()?;
        let fragment = u16::from_be_bytes([ip[6], ip[7]]);
        if header.kind != TYPE_IPV4
            || ip[0] >> 4 != 4
            || ip[9] != PROTOCOL_TCP
            || fragment & FRAGMENT_MASK != 0
        {
            return None;
        }
        let header_bytes = usize::from(ip[0] & 0x0f) * 4;
        if header_bytes < IPV4_HEADER_BYTES {
            return None;
        }
        // Without the padding of short frames.
        let packet_bytes = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        let segment = packet.get(header_bytes..packet_bytes)?;
        let tcp: &[u8; TCP_HEADER_BYTES] = segment.first_chunk()?;
        let data_offset = usize::from(tcp[12] >> 4) * 4;
        if data_offset < TCP_HEADER_BYTES {
            return None;
        }
        let payload_bytes = segment.len().checked_sub(data_offset)?;
        Some(Self {
            source: End {
                address: [ip[12], ip[13], ip[14], ip[15]],
                port: [tcp[0], tcp[1]],
            },
            destination: End {
                address: [ip[16], ip[17], ip[18], ip[19]],
                port: [tcp[2], tcp[3]],
            },
            sequence: u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]),
            acknowledgement: u32::from_be_bytes([tcp[8], tcp[9], tcp[10], tcp[11]]),
            window: u16::from_be_bytes([tcp[14], tcp[15]]),
            flags: tcp[13],
            // The length of a packet has 16 bits.
            payload_bytes: u32::try_from(payload_bytes).ok()?,
        })
    }

    const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Sequence numbers that it takes: payload, SYN, FIN.
    const fn length(&self) -> u32 {
        self.payload_bytes + self.has(FLAG_SYN) as u32 + self.has(FLAG_FIN) as u32
    }
}

/// What one side of a connection has sent.
#[derive(Clone, Copy, Debug)]
struct Flow {
    sender: End,
    receiver: End,
    /// The sequence number after the last byte sent.
    next: u32,
    /// The last acknowledgement, with its window.
    acknowledged: Option<(u32, u16)>,
    /// The segment that is timed: the sequence number after it, and when it was
    /// sent.
    timed: Option<(u32, NetworkTime)>,
}

/// Sees what a sender sends and receives.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    sent: TcpCounters,
    /// Segments that came out of the link.
    segments_received: u64,
    /// Those since they were last asked for.
    round_trips: RoundTrips,
    flows: Vec<Flow>,
    /// The flow that gives way next, where there is no room.
    oldest: usize,
    /// Where the last segment's flow was: most often the next one's is there too.
    recent: usize,
}

impl Observer {
    pub(crate) const fn sent_counters(&self) -> TcpCounters {
        self.sent
    }

    pub(crate) const fn segments_received(&self) -> u64 {
        self.segments_received
    }

    pub(crate) fn take_round_trips(&mut self) -> RoundTrips {
        std::mem::take(&mut self.round_trips)
    }

    /// Takes in a frame that goes into the link.
    pub(crate) fn sent(&mut self, frame: &[u8], now: NetworkTime) -> Option<Observed> {
        let segment = Segment::parse(frame)?;
        self.sent.segments += 1;
        self.sent.resets += u64::from(segment.has(FLAG_RST));
        if segment.payload_bytes > 0 {
            self.sent.data_segments += 1;
            self.sent.payload_bytes += u64::from(segment.payload_bytes);
        }
        let asks = segment.has(FLAG_SYN) && !segment.has(FLAG_ACK);
        let repeated = segment.length() > 0 && self.follow(&segment, now);
        self.sent.retransmissions += u64::from(repeated);
        Some(Observed {
            opens: asks && !repeated,
        })
    }

    /// Notes what a segment adds to its connection; whether any of it was sent
    /// before.
    fn follow(&mut self, segment: &Segment, now: NetworkTime) -> bool {
        let end = segment.sequence.wrapping_add(segment.length());
        let fresh = Flow {
            sender: segment.source,
            receiver: segment.destination,
            next: end,
            acknowledged: None,
            timed: Some((end, now)),
        };
        let Some(flow) = self.find(segment.source, segment.destination) else {
            self.sent.new_payload_bytes += u64::from(segment.payload_bytes);
            self.insert(fresh);
            return false;
        };
        // A new connection may use the ports of an old one.
        if segment.has(FLAG_SYN) && end != flow.next {
            *flow = fresh;
            self.sent.new_payload_bytes += u64::from(segment.payload_bytes);
            return false;
        }
        let behind = flow.next.wrapping_sub(segment.sequence);
        let is_plain = !segment.has(FLAG_SYN) && !segment.has(FLAG_FIN);
        if behind == 1 && segment.payload_bytes == 1 && is_plain {
            // A keep-alive (RFC 9293, section 3.8.4).
            return false;
        }
        let repeated = (1..HALF).contains(&behind);
        let ahead = end.wrapping_sub(flow.next);
        let is_new = (1..HALF).contains(&ahead);
        if is_new {
            flow.next = end;
        }
        if repeated {
            flow.timed = None;
        } else if flow.timed.is_none() {
            flow.timed = Some((end, now));
        }
        if is_new {
            // The FIN is the last of the new.
            let numbers = ahead.min(segment.length()) - u32::from(segment.has(FLAG_FIN));
            self.sent.new_payload_bytes += u64::from(numbers.min(segment.payload_bytes));
        }
        repeated
    }

    /// Takes in a frame that came out of the link.
    pub(crate) fn received(&mut self, frame: &[u8], now: NetworkTime) {
        let Some(segment) = Segment::parse(frame) else {
            return;
        };
        self.segments_received += 1;
        if !segment.has(FLAG_ACK) || segment.has(FLAG_RST) {
            return;
        }
        let Some(flow) = self.find(segment.destination, segment.source) else {
            return;
        };
        let number = segment.acknowledgement;
        // What was not sent cannot be acknowledged; what was acknowledged
        // already is an old segment, on a link that reorders.
        let is_possible = flow.next.wrapping_sub(number) < HALF;
        let is_old = flow
            .acknowledged
            .is_some_and(|(last, _)| number.wrapping_sub(last) >= HALF);
        if !is_possible || is_old {
            return;
        }
        let says = Some((number, segment.window));
        let is_duplicate =
            segment.length() == 0 && number != flow.next && flow.acknowledged == says;
        flow.acknowledged = says;
        let round_trip = flow
            .timed
            .filter(|(end, _)| number.wrapping_sub(*end) < HALF)
            .map(|(_, sent_at)| now.since(sent_at));
        if let Some(duration) = round_trip {
            flow.timed = None;
            self.round_trips
                .add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        }
        self.sent.duplicate_acknowledgements += u64::from(is_duplicate);
    }

    fn find(&mut self, sender: End, receiver: End) -> Option<&mut Flow> {
        let is_it = |flow: &Flow| flow.sender == sender && flow.receiver == receiver;
        if !self.flows.get(self.recent).is_some_and(is_it) {
            self.recent = self.flows.iter().position(is_it)?;
        }
        self.flows.get_mut(self.recent)
    }

    fn insert(&mut self, flow: Flow) {
        if self.flows.len() < FLOWS_MAX {
            self.recent = self.flows.len();
            self.flows.push(flow);
        } else if let Some(slot) = self.flows.get_mut(self.oldest) {
            *slot = flow;
            self.recent = self.oldest;
            self.oldest = (self.oldest + 1) % FLOWS_MAX;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A segment of a connection between port 80 here and `port` there.
    #[derive(Clone, Copy)]
    struct Sample {
        port: u16,
        sequence: u32,
        acknowledgement: u32,
        window: u16,
        payload_bytes: usize,
        flags: u8,
    }

    const DATA: Sample = Sample {
        port: 1,
        sequence: 0,
        acknowledgement: 0,
        window: 1000,
        payload_bytes: 0,
        flags: FLAG_ACK,
    };

    fn data(sequence: u32, payload_bytes: usize) -> Sample {
        Sample {
            sequence,
            payload_bytes,
            ..DATA
        }
    }

    fn ack(acknowledgement: u32) -> Sample {
        Sample {
            acknowledgement,
            ..DATA
        }
    }

    impl Sample {
        fn frame(self, is_sent: bool) -> Vec<u8> {
            let mut frame = vec![0; 14 + 40 + self.payload_bytes];
            frame[12..14].copy_from_slice(&TYPE_IPV4.to_be_bytes());
            frame[14] = 0x45;
            let packet_bytes = 40 + self.payload_bytes as u16;
            frame[16..18].copy_from_slice(&packet_bytes.to_be_bytes());
            frame[23] = PROTOCOL_TCP;
            let (here, there) = ([192, 0, 2, 3], [192, 0, 2, 2]);
            let (source, destination) = match is_sent {
                true => ((here, 80), (there, self.port)),
                false => ((there, self.port), (here, 80)),
            };
            frame[26..30].copy_from_slice(&source.0);
            frame[30..34].copy_from_slice(&destination.0);
            frame[34..36].copy_from_slice(&u16::to_be_bytes(source.1));
            frame[36..38].copy_from_slice(&u16::to_be_bytes(destination.1));
            frame[38..42].copy_from_slice(&self.sequence.to_be_bytes());
            frame[42..46].copy_from_slice(&self.acknowledgement.to_be_bytes());
            frame[46] = 0x50;
            frame[47] = self.flags;
            frame[48..50].copy_from_slice(&self.window.to_be_bytes());
            // As on a wire.
            frame.resize(frame.len().max(60), 0);
            frame
        }
    }

    const AT: NetworkTime = NetworkTime::from_millis(1);

    fn after_sending(samples: &[Sample]) -> Observer {
        let mut observer = Observer::default();
        for sample in samples {
            observer.sent(&sample.frame(true), AT);
        }
        observer
    }

    /// Retransmissions and new bytes among segments sent one after the other.
    #[track_caller]
    fn check_sent(samples: &[Sample], retransmissions: u64, new_payload_bytes: u64) {
        let counters = after_sending(samples).sent_counters();
        assert_eq!(counters.segments, samples.len() as u64);
        let payload_bytes: usize = samples.iter().map(|sample| sample.payload_bytes).sum();
        assert_eq!(counters.payload_bytes, payload_bytes as u64);
        assert_eq!(
            (counters.retransmissions, counters.new_payload_bytes),
            (retransmissions, new_payload_bytes)
        );
    }

    fn with(flags: u8, sample: Sample) -> Sample {
        Sample { flags, ..sample }
    }

    #[test]
    fn what_is_sent_again_is_known() {
        let syn = with(FLAG_SYN, data(99, 0));
        let fin = with(FLAG_FIN | FLAG_ACK, data(120, 0));
        check_sent(&[syn, data(100, 10), data(110, 10), fin], 0, 20);
        check_sent(&[syn, syn, data(100, 10), data(100, 10)], 2, 10);
        check_sent(&[data(100, 10), data(110, 10), data(100, 10)], 1, 20);
        // Half of it is new.
        check_sent(&[data(100, 10), data(105, 10)], 1, 15);
        // The FIN is, its data are not.
        let last = with(FLAG_FIN | FLAG_ACK, data(100, 10));
        check_sent(&[data(100, 10), last, last], 2, 10);
        // A keep-alive holds the last byte again.
        check_sent(&[data(100, 10), data(109, 1), data(110, 10)], 0, 20);
        // Nothing of what acknowledges only.
        check_sent(&[data(100, 10), data(110, 0), data(110, 0)], 0, 10);
        // A segment in between was not seen.
        check_sent(&[data(100, 10), data(120, 10)], 0, 20);
    }

    #[test]
    fn sequence_numbers_wrap_and_ports_are_used_again() {
        check_sent(&[data(u32::MAX - 4, 10), data(5, 10)], 0, 20);
        check_sent(&[data(u32::MAX - 4, 10), data(0, 10)], 1, 15);
        let syn = with(FLAG_SYN, data(3, 0));
        check_sent(&[data(1000, 10), syn, data(4, 10)], 0, 20);
    }

    #[test]
    fn the_oldest_connection_gives_way() {
        let of_port = |port| Sample {
            port,
            ..data(100, 10)
        };
        let ports = FLOWS_MAX as u16;
        let mut samples: Vec<Sample> = (0..ports).map(of_port).collect();
        check_sent(&samples, 0, 10 * u64::from(ports));
        samples.extend([of_port(1), of_port(ports), of_port(0)]);
        // Port 0 was forgotten when the last new one came.
        check_sent(&samples, 1, 10 * (u64::from(ports) + 2));
    }

    /// Duplicate acknowledgements among those that come after data.
    #[track_caller]
    fn check_duplicates(acknowledgements: &[Sample], expected: u64) {
        let mut observer = after_sending(&[data(100, 10), data(110, 10)]);
        for sample in acknowledgements {
            observer.received(&sample.frame(false), AT);
        }
        let duplicates = observer.sent_counters().duplicate_acknowledgements;
        assert_eq!(duplicates, expected);
        assert_eq!(observer.segments_received(), acknowledgements.len() as u64);
    }

    #[test]
    fn duplicate_acknowledgements_are_those_of_rfc_5681() {
        check_duplicates(&[ack(110), ack(110), ack(110)], 2);
        // Nothing is outstanding.
        check_duplicates(&[ack(120), ack(120)], 0);
        // The window has moved.
        let wider = Sample {
            window: 2000,
            ..ack(110)
        };
        check_duplicates(&[ack(110), wider, wider], 1);
        // Data come with it.
        let with_data = Sample {
            payload_bytes: 1,
            ..ack(110)
        };
        check_duplicates(&[ack(110), with_data], 0);
        // An old one, which a link has delayed, is no news at all.
        check_duplicates(&[ack(110), ack(100), ack(110)], 1);
        // What was not sent cannot have come.
        check_duplicates(&[ack(130), ack(130)], 0);
        check_duplicates(&[with(FLAG_RST | FLAG_ACK, ack(110)), ack(110)], 0);
    }

    #[test]
    fn a_round_trip_ends_with_its_acknowledgement() {
        let mut observer = after_sending(&[data(100, 10), data(110, 10)]);
        let later = |ms: u64| NetworkTime::from_millis(1 + ms);
        // The second segment is not timed: the first is.
        observer.received(&ack(105).frame(false), later(1));
        observer.received(&ack(110).frame(false), later(2));
        observer.received(&ack(120).frame(false), later(3));
        observer.sent(&data(120, 10).frame(true), later(5));
        observer.received(&ack(130).frame(false), later(9));
        let expected = RoundTrips {
            count: 2,
            sum_ns: 6_000_000,
            min_ns: 2_000_000,
            max_ns: 4_000_000,
        };
        assert_eq!(observer.take_round_trips(), expected);
        assert_eq!(observer.take_round_trips(), RoundTrips::default());
    }

    #[test]
    fn what_was_sent_again_is_not_timed() {
        let mut observer = after_sending(&[data(100, 10), data(100, 10)]);
        observer.received(&ack(110).frame(false), NetworkTime::from_millis(9));
        assert_eq!(observer.take_round_trips().count, 0);
    }

    #[test]
    fn resets_and_openings_are_told() {
        let mut observer = Observer::default();
        let mut opens = |sample: Sample| observer.sent(&sample.frame(true), AT).unwrap().opens;
        let syn = with(FLAG_SYN, data(99, 0));
        assert!(opens(syn));
        assert!(!opens(syn));
        assert!(!opens(with(FLAG_SYN | FLAG_ACK, data(7, 0))));
        assert!(!opens(with(FLAG_RST, data(100, 0))));
        assert_eq!(observer.sent_counters().resets, 1);
    }

    #[test]
    fn what_is_no_tcp_is_not_counted() {
        let whole = data(100, 20).frame(true);
        let check = |frame: &[u8]| {
            let mut observer = Observer::default();
            assert_eq!(observer.sent(frame, AT), None);
            observer.received(frame, AT);
            assert_eq!(observer.sent_counters(), TcpCounters::default());
            assert_eq!(observer.segments_received(), 0);
        };
        for length in 0..whole.len() {
            check(&whole[..length]);
        }
        // Another protocol, version 6, a header too short, a later fragment,
        // UDP, a packet longer than its frame, a data offset past the end.
        for (offset, byte) in [
            (13, 0x06),
            (14, 0x65),
            (14, 0x44),
            (21, 1),
            (20, 0x20),
            (23, 17),
            (16, 0xff),
            (46, 0xf0),
            (46, 0x40),
        ] {
            let mut frame = whole.clone();
            frame[offset] = byte;
            check(&frame);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(
            frames in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..80), any::<bool>()), 0..20),
        ) {
            let mut observer = Observer::default();
            let mut segments = [0, 0];
            for (mut bytes, is_sent) in frames {
                if let Some(head) = bytes.get_mut(12..24) {
                    // So that some get as far as TCP.
                    head[..3].copy_from_slice(&[8, 0, 0x45]);
                    head[4] = 0;
                    head[8..10].copy_from_slice(&[0, 0]);
                    head[11] = PROTOCOL_TCP;
                }
                let is_segment = Segment::parse(&bytes).is_some();
                segments[usize::from(is_sent)] += u64::from(is_segment);
                match is_sent {
                    true => drop(observer.sent(&bytes, AT)),
                    false => observer.received(&bytes, AT),
                }
            }
            let sent = observer.sent_counters();
            prop_assert_eq!([observer.segments_received(), sent.segments], segments);
            prop_assert!(sent.new_payload_bytes <= sent.payload_bytes);
            prop_assert!(sent.retransmissions <= sent.segments);
            prop_assert!(observer.flows.len() <= FLOWS_MAX);
        }
    }
}
