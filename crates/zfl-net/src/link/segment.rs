//! What a link looks at inside a frame, and what it changes there.

use core::ops::Range;

use crate::frame::{HEADER_BYTES, Header, TYPE_IPV4};

/// IPv4 and TCP headers without options: what a segment takes of the MTU.
const HEADERS_BYTES: usize = 20 + 20;

const PROTOCOL_TCP: u8 = 6;
const FLAG_SYN: u8 = 0x02;
const OPTION_END: u8 = 0;
const OPTION_NOTHING: u8 = 1;
const OPTION_SEGMENT_SIZE: u8 = 2;

/// Where in the frame its IPv4 packet is, without padding; `None` where there
/// is no whole one.
fn packet(frame: &[u8]) -> Option<Range<usize>> {
    let (header, payload) = Header::split(frame)?;
    if header.kind != TYPE_IPV4 || payload.first()? >> 4 != 4 {
        return None;
    }
    let bytes = usize::from(be16(payload, 2)?);
    (20..=payload.len())
        .contains(&bytes)
        .then_some(HEADER_BYTES..HEADER_BYTES + bytes)
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*pair))
}

/// Flips one bit of the frame's IP packet, headers included; which one, uniform
/// bits say. Whether there is such a packet: ARP and what is no IP is left
/// alone, as is the Ethernet header.
///
/// A link's own check (the 32-bit CRC of Ethernet, Wi-Fi or LTE's radio) finds
/// an error of its bits, and drops the frame: that is loss. What reaches a
/// station changed was changed between two such checks, in the memory of a
/// router or host (J. Stone and C. Partridge, *When the CRC and TCP Checksum
/// Disagree*, SIGCOMM 2000), and that is where this bit is changed. One bit
/// never escapes the checksums of IPv4 and TCP.
pub(super) fn flip_bit(frame: &mut [u8], draw: u32) -> bool {
    let Some(packet) = packet(frame).and_then(|packet| frame.get_mut(packet)) else {
        return false;
    };
    let bits = packet.len() as u64 * 8;
    let bit = (u64::from(draw) * bits) >> 32;
    let Some(byte) = usize::try_from(bit / 8)
        .ok()
        .and_then(|at| packet.get_mut(at))
    else {
        return false;
    };
    *byte ^= 1 << (bit % 8);
    true
}

/// Lowers the maximum segment size that a SYN announces to what fits packets of
/// `mtu_bytes`, as routers do in front of a link with a smaller MTU, and mends
/// its checksum; whether there was something to lower.
pub(super) fn clamp_segment_size(frame: &mut [u8], mtu_bytes: usize) -> bool {
    clamp(frame, mtu_bytes).is_some()
}

fn clamp(frame: &mut [u8], mtu_bytes: usize) -> Option<()> {
    let packet = packet(frame)?;
    let segment = tcp_segment(frame.get_mut(packet)?)?;
    if segment.get(13)? & FLAG_SYN == 0 {
        return None;
    }
    let at = segment_size_at(segment)?;
    let announced = be16(segment, at)?;
    let allowed = u16::try_from(mtu_bytes.saturating_sub(HEADERS_BYTES)).ok()?;
    if announced <= allowed {
        return None;
    }
    let mut checksum = be16(segment, 16)?;
    for (index, (old, new)) in announced
        .to_be_bytes()
        .into_iter()
        .zip(allowed.to_be_bytes())
        .enumerate()
    {
        // An option may begin at any byte: each is the high or the low half of
        // the 16-bit word that it is summed in.
        let shift = if (at + index).is_multiple_of(2) { 8 } else { 0 };
        checksum = updated(checksum, u16::from(old) << shift, u16::from(new) << shift);
    }
    *segment.get_mut(at..)?.first_chunk_mut::<2>()? = allowed.to_be_bytes();
    *segment.get_mut(16..)?.first_chunk_mut::<2>()? = checksum.to_be_bytes();
    Some(())
}

/// The TCP segment of a packet that is not a later fragment.
fn tcp_segment(packet: &mut [u8]) -> Option<&mut [u8]> {
    let header_bytes = usize::from(packet.first()? & 0x0f) * 4;
    let is_first = be16(packet, 6)? & 0x1fff == 0;
    if header_bytes < 20 || *packet.get(9)? != PROTOCOL_TCP || !is_first {
        return None;
    }
    packet.get_mut(header_bytes..)
}

/// Where the value of the option *maximum segment size* is (RFC 9293, 3.2).
fn segment_size_at(segment: &[u8]) -> Option<usize> {
    let end = usize::from(segment.get(12)? >> 4) * 4;
    let mut at = 20;
    while at < end {
        match *segment.get(at)? {
            OPTION_END => return None,
            OPTION_NOTHING => at += 1,
            kind => {
                let bytes = usize::from(*segment.get(at + 1)?);
                if kind == OPTION_SEGMENT_SIZE && bytes == 4 && at + 4 <= end {
                    return Some(at + 2);
                }
                at += bytes.max(2);
            }
        }
    }
    None
}

/// The checksum after a word has changed (RFC 1624, equation 3).
fn updated(checksum: u16, old: u16, new: u16) -> u16 {
    let mut sum = u32::from(!checksum) + u32::from(!old) + u32::from(new);
    for _ in 0..2 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    #[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits")]
    let folded = sum as u16;
    !folded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::address::MacAddress;

    /// The sum of RFC 1071, from scratch.
    fn sum(bytes: &[u8]) -> u16 {
        let mut sum: u32 = bytes
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)))
            .sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    /// Whether the checksums of IPv4 and TCP hold.
    fn is_whole(frame: &[u8]) -> bool {
        let packet = &frame[14..];
        let bytes = usize::from(be16(packet, 2).unwrap());
        let (header, segment) = packet[..bytes].split_at(20);
        let mut pseudo = header[12..20].to_vec();
        pseudo.extend_from_slice(&[0, PROTOCOL_TCP]);
        pseudo.extend_from_slice(&(segment.len() as u16).to_be_bytes());
        pseudo.extend_from_slice(segment);
        sum(header) == 0xffff && sum(&pseudo) == 0xffff
    }

    /// A frame with a TCP segment of these flags, options and data, with
    /// checksums.
    fn tcp(flags: u8, options: &[u8], data: &[u8]) -> Vec<u8> {
        assert!(options.len().is_multiple_of(4));
        let segment_bytes = 20 + options.len() + data.len();
        let mut packet = vec![0u8; 20 + 20];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&((20 + segment_bytes) as u16).to_be_bytes());
        packet[8] = 64;
        packet[9] = PROTOCOL_TCP;
        packet[12..20].copy_from_slice(&[192, 0, 2, 10, 192, 0, 2, 2]);
        let checksum = !sum(&packet[..20]);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        packet[20..24].copy_from_slice(&[0xc0, 0, 0x1f, 0x90]);
        packet[32] = (((20 + options.len()) / 4) << 4) as u8;
        packet[33] = flags;
        packet.extend_from_slice(options);
        packet.extend_from_slice(data);
        let mut pseudo = packet[12..20].to_vec();
        pseudo.extend_from_slice(&[0, PROTOCOL_TCP]);
        pseudo.extend_from_slice(&(segment_bytes as u16).to_be_bytes());
        pseudo.extend_from_slice(&packet[20..]);
        let checksum = !sum(&pseudo);
        packet[36..38].copy_from_slice(&checksum.to_be_bytes());
        let header = Header {
            destination: MacAddress([2, 0, 0, 0, 0, 1]),
            source: MacAddress([2, 0, 0, 0, 0, 2]),
            kind: TYPE_IPV4,
        };
        let (frame, ()) = header.build(packet.len(), |payload| payload.copy_from_slice(&packet));
        assert!(is_whole(&frame));
        frame
    }

    /// The segment size that is announced after a link of this MTU.
    #[track_caller]
    fn check(options: &[u8], mtu_bytes: usize, expected: Option<u16>) {
        for flags in [FLAG_SYN, FLAG_SYN | 0x10] {
            let before = tcp(flags, options, &[]);
            let mut frame = before.clone();
            let changed = clamp_segment_size(&mut frame, mtu_bytes);
            assert_eq!(changed, expected.is_some());
            assert!(is_whole(&frame));
            match expected {
                None => assert_eq!(frame, before),
                Some(size) => {
                    let at = segment_size_at(&frame[34..]).unwrap();
                    assert_eq!(be16(&frame[34..], at), Some(size));
                }
            }
        }
        let mut data = tcp(0x10, options, &[1, 2, 3]);
        let before = data.clone();
        assert!(!clamp_segment_size(&mut data, mtu_bytes));
        assert_eq!(data, before, "no SYN");
    }

    #[test]
    fn the_segment_size_is_clamped() {
        let size = [2, 4, 0x05, 0xb4];
        check(&size, 1280, Some(1240));
        check(&size, 128, Some(88));
        check(&size, 1500, None);
        check(&[2, 4, 0x02, 0x18], 1280, None);
        // Behind another option, at an odd place, and with others after it.
        check(&[1, 2, 4, 0x05, 0xb4, 0, 0, 0], 1280, Some(1240));
        check(
            &[3, 3, 7, 1, 1, 2, 4, 0xff, 0xff, 4, 2, 0],
            1280,
            Some(1240),
        );
    }

    #[test]
    fn what_announces_no_segment_size_is_left_alone() {
        check(&[], 1280, None);
        check(&[1, 1, 1, 1], 1280, None);
        // After the end of the options.
        check(&[0, 2, 4, 0x05, 0xb4, 0, 0, 0], 1280, None);
        // Of an impossible length, or cut off.
        check(&[2, 0, 0, 0], 1280, None);
        check(&[1, 1, 2, 4], 1280, None);
    }

    #[test]
    fn one_bit_of_the_packet_is_flipped_and_found_out() {
        let before = tcp(0x10, &[], &[0x5a; 100]);
        for draw in (0..=u32::MAX).step_by(1 << 20) {
            let mut frame = before.clone();
            assert!(flip_bit(&mut frame, draw));
            let bits: u32 = frame
                .iter()
                .zip(&before)
                .map(|(a, b)| (a ^ b).count_ones())
                .sum();
            assert_eq!(bits, 1);
            assert_eq!(frame[..14], before[..14]);
            // The length may be what has changed.
            assert!(packet(&frame).is_none() || !is_whole(&frame), "{draw}");
        }
    }

    #[test]
    fn padding_and_other_protocols_are_not_flipped() {
        let mut arp = tcp(0x10, &[], &[]);
        arp[12..14].copy_from_slice(&[8, 6]);
        assert!(!flip_bit(&mut arp, 7));
        // 54 bytes of frame, padded to 60.
        let before = tcp(0x10, &[], &[]);
        let mut frame = before.clone();
        assert!(flip_bit(&mut frame, u32::MAX));
        assert_eq!(frame.len(), 60);
        assert_ne!(frame[53], before[53], "the last byte of the packet");
    }

    proptest! {
        #[test]
        fn no_frame_is_too_strange(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            draw: u32,
            mtu in 128usize..1500,
            is_ip: bool,
        ) {
            let mut frame = bytes;
            if is_ip && frame.len() > 40 {
                frame[12..15].copy_from_slice(&[8, 0, 0x45]);
                frame[16..18].copy_from_slice(&[0, 40]);
                frame[23] = PROTOCOL_TCP;
            }
            let bytes = frame.len();
            clamp_segment_size(&mut frame, mtu);
            flip_bit(&mut frame, draw);
            prop_assert_eq!(frame.len(), bytes);
        }
    }
}
