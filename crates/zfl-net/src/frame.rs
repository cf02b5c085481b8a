//! Ethernet frames as bytes: header, limits.

use crate::address::MacAddress;

/// An Ethernet II frame, from the destination address to the end of the
/// payload: without preamble and frame check sequence.
pub type Frame = Vec<u8>;

/// Destination, source and type.
pub const HEADER_BYTES: usize = 14;

/// The largest payload, and so the largest IP packet.
pub const PAYLOAD_BYTES_MAX: usize = 1500;

/// The largest frame.
pub const FRAME_BYTES_MAX: usize = HEADER_BYTES + PAYLOAD_BYTES_MAX;

/// The smallest frame that a station puts on a wire. Emulated devices may send
/// shorter ones, which QEMU does not pad; the switch accepts them.
pub const FRAME_BYTES_MIN: usize = 60;

/// Frame check sequence, which devices see at the end of a received frame.
pub(crate) const CHECK_SEQUENCE_BYTES: usize = 4;

/// Type field of an IPv4 packet.
pub(crate) const TYPE_IPV4: u16 = 0x0800;

/// Type field of an ARP packet.
pub(crate) const TYPE_ARP: u16 = 0x0806;

/// The first bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) destination: MacAddress,
    pub(crate) source: MacAddress,
    pub(crate) kind: u16,
}

impl Header {
    /// Splits a frame into header and payload; `None` when it is too short.
    pub(crate) fn split(frame: &[u8]) -> Option<(Self, &[u8])> {
        let (&destination, rest) = frame.split_first_chunk::<6>()?;
        let (&source, rest) = rest.split_first_chunk::<6>()?;
        let (&kind, payload) = rest.split_first_chunk::<2>()?;
        let header = Self {
            destination: MacAddress(destination),
            source: MacAddress(source),
            kind: u16::from_be_bytes(kind),
        };
        Some((header, payload))
    }

    /// A frame whose payload of `payload_bytes` is written by `fill`, padded
    /// to the smallest size of a wire.
    pub(crate) fn build<R>(
        self,
        payload_bytes: usize,
        fill: impl FnOnce(&mut [u8]) -> R,
    ) -> (Frame, R) {
        let bytes = (HEADER_BYTES + payload_bytes).max(FRAME_BYTES_MIN);
        let mut frame = Vec::with_capacity(bytes);
        frame.extend_from_slice(&self.destination.0);
        frame.extend_from_slice(&self.source.0);
        frame.extend_from_slice(&self.kind.to_be_bytes());
        frame.resize(bytes, 0);
        let payload = frame
            .get_mut(HEADER_BYTES..HEADER_BYTES + payload_bytes)
            .unwrap_or_default();
        let result = fill(payload);
        (frame, result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_its_frame() {
        let header = Header {
            destination: MacAddress([1, 2, 3, 4, 5, 6]),
            source: MacAddress([7, 8, 9, 10, 11, 12]),
            kind: TYPE_IPV4,
        };
        let (frame, ()) = header.build(100, |payload| payload.fill(0xaa));
        let (read, payload) = Header::split(&frame).unwrap();
        assert_eq!((read, payload), (header, &[0xaa; 100][..]));
    }

    #[test]
    fn a_small_frame_is_padded_with_zeros() {
        let header = Header {
            destination: MacAddress::BROADCAST,
            source: MacAddress([0; 6]),
            kind: TYPE_ARP,
        };
        let (frame, ()) = header.build(28, |payload| payload.fill(0xaa));
        assert_eq!(frame.len(), FRAME_BYTES_MIN);
        assert_eq!(frame[HEADER_BYTES + 28..], [0; 18]);
    }

    #[test]
    fn a_short_frame_has_no_header() {
        assert_eq!(Header::split(&[0; HEADER_BYTES - 1]), None);
        assert!(Header::split(&[0; HEADER_BYTES]).is_some());
    }
}
