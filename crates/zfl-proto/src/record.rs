//! What a device notes of its share, so that it knows it again after a reboot.

use crate::message::{Checksum, DataHeader, DataPart};

/// A share that lies in memory, as the headers of the two messages that it came
/// by: they say whose it is, its shape, and the checksums of its bytes.
///
/// | offset | size | |
/// |---|---|---|
/// | 0 | 36 | the header of the samples |
/// | 36 | 36 | the header of the labels, or of the values in their place |
/// | 72 | 4 | CRC-32 of both |
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShareRecord {
    /// Of the samples.
    pub samples: DataHeader,
    /// Of the labels, or of the values.
    pub targets: DataHeader,
}

impl ShareRecord {
    /// Length of a record, in bytes.
    pub const BYTES: usize = 2 * DataHeader::HEADER_BYTES + size_of::<u32>();

    /// Writes the record.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let (samples, targets) = (self.samples.encode(), self.targets.encode());
        let headers = samples.as_slice().iter().chain(targets.as_slice());
        let mut bytes = [0; Self::BYTES];
        let mut checksum = Checksum::new();
        for (place, byte) in bytes.iter_mut().zip(headers) {
            *place = *byte;
            checksum.update(&[*byte]);
        }
        let crc32 = checksum.finish().to_le_bytes();
        if let Some(end) = bytes.last_chunk_mut() {
            *end = crc32;
        }
        bytes
    }

    /// Reads a record from the beginning of memory that may hold anything;
    /// `None` where that is no record, or none of one share.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (bytes, _) = bytes.split_first_chunk::<{ Self::BYTES }>()?;
        let (headers, crc32) = bytes.split_last_chunk()?;
        if Checksum::of(headers) != u32::from_le_bytes(*crc32) {
            return None;
        }
        let (samples, targets) = headers.split_at_checked(DataHeader::HEADER_BYTES)?;
        let record = Self {
            samples: DataHeader::decode(samples, DataPart::Samples).ok()?,
            targets: DataHeader::decode(targets, DataPart::Labels).ok()?,
        };
        let is_of_one_share = record.samples
            == DataHeader {
                part: DataPart::Samples,
                payload_crc32: record.samples.payload_crc32,
                ..record.targets
            };
        is_of_one_share.then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ClientId;

    fn record(part: DataPart) -> ShareRecord {
        let samples = DataHeader {
            part: DataPart::Samples,
            client: ClientId(7),
            sample_count: 12,
            input_count: 64,
            class_count: 10,
            value_scale: 0.0625,
            payload_crc32: 0x1234_5678,
        };
        let targets = DataHeader {
            part,
            payload_crc32: 0x9abc_def0,
            ..samples
        };
        ShareRecord { samples, targets }
    }

    /// The bytes with a checksum that is right.
    fn sealed(mut bytes: [u8; ShareRecord::BYTES]) -> [u8; ShareRecord::BYTES] {
        let crc32 = Checksum::of(&bytes[..72]);
        bytes[72..].copy_from_slice(&crc32.to_le_bytes());
        bytes
    }

    #[test]
    fn a_record_survives_its_bytes() {
        for part in [DataPart::Labels, DataPart::Values] {
            let record = record(part);
            let bytes = record.encode();
            assert_eq!(bytes, sealed(bytes));
            assert_eq!(ShareRecord::decode(&bytes), Some(record));
            // What lies behind it does not matter.
            let longer = [&bytes[..], &[0xa5; 60]].concat();
            assert_eq!(ShareRecord::decode(&longer), Some(record));
        }
    }

    #[test]
    fn memory_without_a_record_has_none() {
        let bytes = record(DataPart::Labels).encode();
        for length in 0..bytes.len() {
            assert_eq!(ShareRecord::decode(&bytes[..length]), None, "{length}");
        }
        for (place, bit) in (0..bytes.len()).flat_map(|place| (0..8).map(move |bit| (place, bit))) {
            let mut bytes = bytes;
            bytes[place] ^= 1 << bit;
            assert_eq!(ShareRecord::decode(&bytes), None, "{place} {bit}");
        }
        // As QEMU and as hardware begin.
        assert_eq!(ShareRecord::decode(&[0; 128]), None);
        assert_eq!(ShareRecord::decode(&[0xff; 128]), None);
        assert_eq!(ShareRecord::decode(&sealed([0; ShareRecord::BYTES])), None);
    }

    #[test]
    fn halves_of_two_shares_are_no_record() {
        let whole = record(DataPart::Labels);
        let changes: [fn(&mut DataHeader); 5] = [
            |header| header.client = ClientId(8),
            |header| header.sample_count = 11,
            |header| header.input_count = 63,
            |header| header.class_count = 9,
            |header| header.value_scale = 0.125,
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut other = whole;
            change(&mut other.targets);
            assert_eq!(ShareRecord::decode(&other.encode()), None, "{index}");
        }
        let twice = ShareRecord {
            targets: whole.samples,
            ..whole
        };
        assert_eq!(ShareRecord::decode(&twice.encode()), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
            place in 0usize..72,
            byte: u8,
        ) {
            let _ = ShareRecord::decode(&bytes);
            let mut changed = record(DataPart::Values).encode();
            changed[place] = byte;
            if let Some(read) = ShareRecord::decode(&sealed(changed)) {
                // A header may name another share, but both name the same.
                prop_assert_eq!(read.samples.client, read.targets.client);
                prop_assert_eq!(read.samples.sample_count, read.targets.sample_count);
            }
        }
    }
}
