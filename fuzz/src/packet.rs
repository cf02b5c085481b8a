//! Frames as a device makes them, with checksums that are right.

use std::net::Ipv4Addr;

use zfl_net::frame::{FRAME_BYTES_MAX, HEADER_BYTES};

use crate::input::Input;

pub(crate) const ARP: u16 = 0x0806;
pub(crate) const IPV4: u16 = 0x0800;
/// Headers without options.
pub(crate) const IP_BYTES: usize = 20;
const TCP_BYTES: usize = 20;

/// What a segment says, but for what the input says of it.
pub(crate) struct Segment {
    pub(crate) source: (Ipv4Addr, u16),
    pub(crate) destination: (Ipv4Addr, u16),
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) flags: u8,
}

impl Segment {
    /// An IPv4 packet with the segment; window, options (a multiple of four
    /// bytes) and payload are the input's.
    pub(crate) fn packet(&self, option_bytes: usize, input: &mut Input<'_>) -> Vec<u8> {
        let window = input.word();
        let options = input.bytes(option_bytes);
        let payload = input.block();

        let header_bytes = TCP_BYTES + options.len().next_multiple_of(4);
        let mut segment = Vec::new();
        segment.extend(self.source.1.to_be_bytes());
        segment.extend(self.destination.1.to_be_bytes());
        segment.extend(self.sequence.to_be_bytes());
        segment.extend(self.acknowledgement.to_be_bytes());
        segment.extend([(header_bytes / 4 * 16) as u8, self.flags]);
        segment.extend(window.to_be_bytes());
        segment.extend([0; 4]);
        segment.extend(options);
        segment.resize(header_bytes, 0);
        segment.extend(payload);
        segment.truncate(FRAME_BYTES_MAX - HEADER_BYTES - IP_BYTES);

        let mut packet = vec![0x45, 0];
        packet.extend(((IP_BYTES + segment.len()) as u16).to_be_bytes());
        packet.extend([0, 0, 0, 0, 64, 6, 0, 0]);
        packet.extend(self.source.0.octets());
        packet.extend(self.destination.0.octets());
        let checksum = !sum(&packet, 0);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        packet.extend(&segment);
        let checksum = !sum(&segment, pseudo(&packet));
        packet[IP_BYTES + 16..IP_BYTES + 18].copy_from_slice(&checksum.to_be_bytes());
        packet
    }
}

pub(crate) fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from(half(bytes, at)) << 16 | u32::from(half(bytes, at + 2))
}

/// The sum of the checksums of the internet (RFC 1071), which of a whole header
/// is all ones.
pub(crate) fn sum(bytes: &[u8], begin: u32) -> u16 {
    let halves = bytes.chunks(2);
    let sum = halves.fold(begin, |sum, half| {
        sum + u32::from(u16::from_be_bytes([
            half[0],
            half.get(1).copied().unwrap_or(0),
        ]))
    });
    let folded = (sum & 0xffff) + (sum >> 16);
    ((folded & 0xffff) + (folded >> 16)) as u16
}

/// What TCP sums of the packet's header.
pub(crate) fn pseudo(packet: &[u8]) -> u32 {
    let addresses = packet[12..20]
        .chunks(2)
        .map(|pair| u32::from(half(pair, 0)));
    addresses.sum::<u32>() + 6 + u32::from(half(packet, 2)) - IP_BYTES as u32
}
