//! The IDX format: a small header and an array of bytes, plain or gzip.
//!
//! Format: two zero bytes, a type (8 is `u8`), the rank, one big-endian `u32`
//! per dimension, then the values, last dimension fastest (Y. LeCun,
//! C. Cortes, C. Burges, *The MNIST database of handwritten digits*, "The IDX
//! file format"). Whether a file is gzip is decided by its magic, not its name.
//!
//! Nothing is allocated on the word of a header: memory grows with the content
//! that arrives, at most to the size the header declares, and that size is
//! bounded by [`Limits`]. So a gzip file can unpack to no more than it
//! declares. Other element types are refused.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use thiserror::Error;

use crate::unpack::{Fault, Unpacked};

/// The type code of `u8`, the only one read here.
const TYPE_U8: u8 = 8;

/// The first allocation for values; it doubles as content arrives.
const FIRST_CHUNK_BYTES: usize = 1 << 20;

/// What a file is expected to hold; decides the ranks that are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Rank 2 to 4: `[samples, inputs]`, `[samples, height, width]` or
    /// `[samples, height, width, channels]`.
    Images,
    /// Rank 1: `[samples]`.
    Labels,
}

impl Content {
    const fn ranks(self) -> std::ops::RangeInclusive<u8> {
        match self {
            Self::Images => 2..=4,
            Self::Labels => 1..=1,
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Images => "images",
            Self::Labels => "labels",
        })
    }
}

/// How much a file may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of values, the header not counted.
    pub values_bytes_max: u64,
}

impl Default for Limits {
    /// 1 GiB: above every IDX data set in common use (EMNIST ByClass, the
    /// largest, has 547 MB of training images).
    fn default() -> Self {
        Self {
            values_bytes_max: 1 << 30,
        }
    }
}

/// An array of bytes with a shape of rank 1 to 4.
#[derive(Clone, PartialEq, Eq)]
pub struct IdxArray {
    shape: Vec<u32>,
    values: Vec<u8>,
}

impl IdxArray {
    /// An array of `shape`; `None` unless the rank is 1 to 4 and `values`
    /// holds exactly as many bytes as the shape says.
    pub fn new(shape: Vec<u32>, values: Vec<u8>) -> Option<Self> {
        let fits = (1..=4).contains(&shape.len())
            && value_count(&shape).is_some_and(|count| count == values.len() as u64);
        fits.then_some(Self { shape, values })
    }

    /// The dimensions, the count of samples first.
    pub fn shape(&self) -> &[u32] {
        &self.shape
    }

    /// The values, last dimension fastest.
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    /// Gives up the values without a copy.
    pub fn into_values(self) -> Vec<u8> {
        self.values
    }

    /// How many samples (or labels) there are: the first dimension.
    pub fn sample_count(&self) -> u32 {
        self.shape.first().copied().unwrap_or(0)
    }

    /// Bytes of the header: where the first value lies in the unpacked file.
    pub fn header_bytes(&self) -> u64 {
        header_bytes(self.shape.len())
    }
}

impl fmt::Debug for IdxArray {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Millions of values help nobody in a failed assertion.
        write!(formatter, "IdxArray{:?}", self.shape)
    }
}

/// A file that could not be read as IDX.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{file}: {kind}")]
pub struct IdxError {
    /// The file, as given.
    pub file: String,
    /// What is wrong with it.
    pub kind: IdxErrorKind,
}

/// What is wrong with an IDX file. Offsets count bytes of the unpacked content
/// unless they say `packed`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IdxErrorKind {
    /// The file does not open.
    #[error("failed to open: {reason}")]
    Open {
        /// What the system said.
        reason: String,
    },
    /// A folder, a pipe or a device; reading those could wait for ever.
    #[error("not a regular file")]
    NotAFile,
    /// The file opens but does not read.
    #[error("failed to read at byte {offset}: {reason}")]
    Read {
        /// Bytes of content read before.
        offset: u64,
        /// What the system said.
        reason: String,
    },
    /// The file is no IDX file of `u8`, or of another rank.
    #[error(
        "bad magic {} at byte 0: {content} need {}",
        Hex(*found),
        ExpectedMagic(*content)
    )]
    BadMagic {
        /// The first four bytes.
        found: [u8; 4],
        /// What was expected.
        content: Content,
    },
    /// The file ends before the content its header declares.
    #[error(
        "truncated: expected {expected_bytes} bytes, got {found_bytes} (ends at byte {found_bytes})"
    )]
    Truncated {
        /// Header and values; the smallest possible file if the header itself is cut.
        expected_bytes: u64,
        /// What there is.
        found_bytes: u64,
    },
    /// The gzip file itself is cut short.
    #[error(
        "truncated gzip: the file ends after {packed_bytes} packed bytes, at byte {offset} of the content; download or copy it again"
    )]
    GzipTruncated {
        /// Bytes of the file.
        packed_bytes: u64,
        /// Bytes of content read before.
        offset: u64,
    },
    /// The gzip content is damaged (bad block, bad checksum, bytes after the end).
    #[error(
        "corrupt gzip at packed byte {packed_offset}, byte {offset} of the content: {reason}; download or copy it again"
    )]
    GzipCorrupt {
        /// Bytes of the file consumed when it was noticed.
        packed_offset: u64,
        /// Bytes of content read before.
        offset: u64,
        /// What the decoder said.
        reason: String,
    },
    /// There is more content than the header declares.
    #[error(
        "trailing bytes: the header declares {expected_bytes} bytes, but more follow at byte {expected_bytes}"
    )]
    TrailingBytes {
        /// Header and values.
        expected_bytes: u64,
    },
    /// The header declares more than the limit.
    #[error(
        "too large: the header declares shape {shape:?}, more than the limit of {values_bytes_max} bytes of values"
    )]
    TooLarge {
        /// The dimensions declared.
        shape: Vec<u32>,
        /// The limit.
        values_bytes_max: u64,
    },
    /// The memory for the values could not be had.
    #[error("out of memory: shape {shape:?} needs {needed_bytes} bytes of values")]
    OutOfMemory {
        /// The dimensions declared.
        shape: Vec<u32>,
        /// What they need.
        needed_bytes: u64,
    },
}

struct Hex([u8; 4]);

impl fmt::Display for Hex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(formatter, "{a:02x} {b:02x} {c:02x} {d:02x}")
    }
}

struct ExpectedMagic(Content);

impl fmt::Display for ExpectedMagic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranks = self.0.ranks();
        if ranks.start() == ranks.end() {
            write!(formatter, "00 00 08 {:02x}", ranks.start())
        } else {
            write!(
                formatter,
                "00 00 08 {:02x} to 00 00 08 {:02x}",
                ranks.start(),
                ranks.end()
            )
        }
    }
}

/// Reads the file at `path`, plain or gzip.
///
/// # Errors
/// [`IdxError`] names the file and what is wrong with it.
pub fn read_path(path: &Path, content: Content, limits: Limits) -> Result<IdxArray, IdxError> {
    let fail = |kind| IdxError {
        file: path.display().to_string(),
        kind,
    };
    let open_error = |error: io::Error| {
        fail(IdxErrorKind::Open {
            reason: error.to_string(),
        })
    };
    // Before opening: to open a named pipe is already to wait for its writer.
    if !path.metadata().map_err(open_error)?.is_file() {
        return Err(fail(IdxErrorKind::NotAFile));
    }
    let file = File::open(path).map_err(open_error)?;
    read_kind(file, content, limits).map_err(fail)
}

/// Reads from `reader`, plain or gzip; `file` names it in errors.
///
/// # Errors
/// As [`read_path`].
pub fn read(
    reader: impl Read,
    file: &str,
    content: Content,
    limits: Limits,
) -> Result<IdxArray, IdxError> {
    read_kind(reader, content, limits).map_err(|kind| IdxError {
        file: file.to_owned(),
        kind,
    })
}

fn read_kind(
    reader: impl Read,
    content: Content,
    limits: Limits,
) -> Result<IdxArray, IdxErrorKind> {
    let mut input = Unpacked::new(reader).map_err(|fault| at_offset(fault, 0))?;
    let shape = read_shape(&mut input, content)?;
    let header_bytes = header_bytes(shape.len());
    let value_count = value_count(&shape)
        .filter(|count| *count <= limits.values_bytes_max)
        .and_then(|count| usize::try_from(count).ok());
    let Some(value_count) = value_count else {
        return Err(IdxErrorKind::TooLarge {
            shape,
            values_bytes_max: limits.values_bytes_max,
        });
    };
    let expected_bytes = header_bytes + value_count as u64;

    let mut values: Vec<u8> = Vec::new();
    while values.len() < value_count {
        let filled = values.len();
        let grown = filled
            .saturating_mul(2)
            .max(FIRST_CHUNK_BYTES)
            .min(value_count);
        if values.try_reserve_exact(grown - filled).is_err() {
            return Err(IdxErrorKind::OutOfMemory {
                shape,
                needed_bytes: value_count as u64,
            });
        }
        values.resize(grown, 0);
        let fresh = values.get_mut(filled..).unwrap_or_default();
        let offset = header_bytes + filled as u64;
        let count = input
            .fill(fresh)
            .map_err(|fault| at_offset(fault, offset))?;
        if filled + count < grown {
            return Err(IdxErrorKind::Truncated {
                expected_bytes,
                found_bytes: offset + count as u64,
            });
        }
    }

    // Also makes the decoder verify the checksum, which lies behind the content.
    let extra = input
        .fill(&mut [0])
        .map_err(|fault| at_offset(fault, expected_bytes))?;
    if extra > 0 {
        return Err(IdxErrorKind::TrailingBytes { expected_bytes });
    }
    Ok(IdxArray { shape, values })
}

fn read_shape<R: Read>(
    input: &mut Unpacked<R>,
    content: Content,
) -> Result<Vec<u32>, IdxErrorKind> {
    let mut magic = [0; 4];
    let count = input
        .fill(&mut magic)
        .map_err(|fault| at_offset(fault, 0))?;
    if count < magic.len() {
        return Err(IdxErrorKind::Truncated {
            expected_bytes: header_bytes(usize::from(*content.ranks().start())),
            found_bytes: count as u64,
        });
    }
    let [0, 0, TYPE_U8, rank] = magic else {
        return Err(IdxErrorKind::BadMagic {
            found: magic,
            content,
        });
    };
    if !content.ranks().contains(&rank) {
        return Err(IdxErrorKind::BadMagic {
            found: magic,
            content,
        });
    }
    let rank = usize::from(rank);
    let mut shape = Vec::with_capacity(rank);
    for dimension in 0..rank {
        let offset = header_bytes(dimension);
        let mut bytes = [0; 4];
        let count = input
            .fill(&mut bytes)
            .map_err(|fault| at_offset(fault, offset))?;
        if count < bytes.len() {
            return Err(IdxErrorKind::Truncated {
                expected_bytes: header_bytes(rank),
                found_bytes: offset + count as u64,
            });
        }
        shape.push(u32::from_be_bytes(bytes));
    }
    Ok(shape)
}

fn at_offset(fault: Fault, offset: u64) -> IdxErrorKind {
    match fault {
        Fault::Read { reason } => IdxErrorKind::Read { offset, reason },
        Fault::GzipTruncated { packed_bytes } => IdxErrorKind::GzipTruncated {
            packed_bytes,
            offset,
        },
        Fault::GzipCorrupt {
            packed_offset,
            reason,
        } => IdxErrorKind::GzipCorrupt {
            packed_offset,
            offset,
            reason,
        },
    }
}

fn header_bytes(rank: usize) -> u64 {
    4 + 4 * rank as u64
}

/// The product of the dimensions; `None` if it does not fit.
fn value_count(shape: &[u32]) -> Option<u64> {
    shape
        .iter()
        .try_fold(1u64, |product, size| product.checked_mul(u64::from(*size)))
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As it is.
    Plain,
    /// Compressed with gzip, without a time stamp: equal content, equal file.
    Gzip,
}

/// Writes `array` to `writer`.
///
/// # Errors
/// What the writer says.
pub fn write(array: &IdxArray, packing: Packing, writer: impl Write) -> io::Result<()> {
    match packing {
        Packing::Plain => write_plain(array, writer),
        Packing::Gzip => {
            let mut encoder = GzEncoder::new(writer, Compression::best());
            write_plain(array, &mut encoder)?;
            encoder.finish()?.flush()
        }
    }
}

/// Writes `array` to a file at `path`, replacing what is there.
///
/// # Errors
/// What the file system says.
pub fn write_path(array: &IdxArray, packing: Packing, path: &Path) -> io::Result<()> {
    write(array, packing, BufWriter::new(File::create(path)?))
}

fn write_plain(array: &IdxArray, mut writer: impl Write) -> io::Result<()> {
    let rank = u8::try_from(array.shape.len()).map_err(io::Error::other)?;
    writer.write_all(&[0, 0, TYPE_U8, rank])?;
    for size in &array.shape {
        writer.write_all(&size.to_be_bytes())?;
    }
    writer.write_all(&array.values)?;
    writer.flush()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn array(shape: &[u32]) -> IdxArray {
        let count = value_count(shape).unwrap() as usize;
        let values = (0..count).map(|i| (i * 7 % 251) as u8).collect();
        IdxArray::new(shape.to_vec(), values).unwrap()
    }

    fn bytes(array: &IdxArray, packing: Packing) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(array, packing, &mut bytes).unwrap();
        bytes
    }

    fn check(bytes: &[u8], content: Content) -> Result<IdxArray, IdxErrorKind> {
        read(bytes, "test", content, Limits::default()).map_err(|error| {
            assert_eq!(error.file, "test");
            error.kind
        })
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_plain_file_is_written_as_the_format_says() {
        let array = IdxArray::new(vec![2, 1, 3], vec![1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(
            bytes(&array, Packing::Plain),
            [
                0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6
            ]
        );
        assert_eq!(array.header_bytes(), 16);
    }

    #[test]
    fn an_array_must_have_the_size_of_its_shape() {
        assert!(IdxArray::new(vec![2, 2], vec![0; 3]).is_none());
        assert!(IdxArray::new(vec![], vec![0]).is_none());
        assert!(IdxArray::new(vec![1; 5], vec![0]).is_none());
        assert!(IdxArray::new(vec![u32::MAX; 4], vec![]).is_none());
    }

    #[test]
    fn every_rank_reads_back_plain_and_gzip() {
        for shape in [&[5][..], &[5, 3], &[5, 3, 2], &[2, 3, 4, 3], &[0, 8, 8]] {
            let content = if shape.len() == 1 {
                Content::Labels
            } else {
                Content::Images
            };
            for packing in [Packing::Plain, Packing::Gzip] {
                let array = array(shape);
                assert_eq!(check(&bytes(&array, packing), content), Ok(array));
            }
        }
    }

    /// More than one growth of the buffer, and a gzip file of two members.
    #[test]
    fn a_large_array_in_two_members_reads_back() {
        let array = array(&[3, 1000, 1000]);
        let plain = bytes(&array, Packing::Plain);
        let (first, second) = plain.split_at(1_234_567);
        let mut packed = gzip(first);
        packed.extend(gzip(second));
        assert_eq!(check(&packed, Content::Images), Ok(array));
    }

    #[test]
    fn every_cut_of_a_plain_file_is_reported_where_it_is() {
        let whole = bytes(&array(&[3, 2, 2]), Packing::Plain);
        for length in 0..whole.len() {
            let expected_bytes = match length {
                0..4 => 12,
                4..16 => 16,
                _ => 28,
            };
            assert_eq!(
                check(&whole[..length], Content::Images),
                Err(IdxErrorKind::Truncated {
                    expected_bytes,
                    found_bytes: length as u64
                })
            );
        }
    }

    #[test]
    fn every_cut_of_a_gzip_file_is_reported() {
        let whole = bytes(&array(&[30, 20]), Packing::Gzip);
        for length in 2..whole.len() {
            match check(&whole[..length], Content::Images) {
                Err(IdxErrorKind::GzipTruncated { packed_bytes, .. }) => {
                    assert_eq!(packed_bytes, length as u64);
                }
                other => panic!("cut at {length}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_truncated_file_says_expected_and_got() {
        let whole = bytes(&array(&[3, 2, 2]), Packing::Plain);
        let error = read(&whole[..20], "a/b", Content::Images, Limits::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a/b: truncated: expected 28 bytes, got 20 (ends at byte 20)"
        );
    }

    /// The content ends early although gzip itself is sound.
    #[test]
    fn a_short_content_in_a_sound_gzip_is_truncated() {
        let whole = bytes(&array(&[3, 2, 2]), Packing::Plain);
        assert_eq!(
            check(&gzip(&whole[..20]), Content::Images),
            Err(IdxErrorKind::Truncated {
                expected_bytes: 28,
                found_bytes: 20
            })
        );
    }

    #[test]
    fn a_bad_magic_is_shown_with_what_is_needed() {
        for (bytes, content, message) in [
            (
                [0, 0, 0x0d, 3],
                Content::Images,
                "bad magic 00 00 0d 03 at byte 0: images need 00 00 08 02 to 00 00 08 04",
            ),
            (
                [0, 0, 8, 1],
                Content::Images,
                "bad magic 00 00 08 01 at byte 0: images need 00 00 08 02 to 00 00 08 04",
            ),
            (
                [0, 0, 8, 3],
                Content::Labels,
                "bad magic 00 00 08 03 at byte 0: labels need 00 00 08 01",
            ),
            (
                *b"<htm",
                Content::Labels,
                "bad magic 3c 68 74 6d at byte 0: labels need 00 00 08 01",
            ),
        ] {
            assert_eq!(check(&bytes, content).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_wrong_checksum_is_corrupt() {
        let mut packed = bytes(&array(&[3, 2, 2]), Packing::Gzip);
        let crc = packed.len() - 8;
        packed[crc] ^= 1;
        match check(&packed, Content::Images) {
            Err(IdxErrorKind::GzipCorrupt {
                packed_offset,
                offset: 28,
                ..
            }) => assert_eq!(packed_offset, packed.len() as u64),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bytes_after_the_content_are_refused() {
        let mut plain = bytes(&array(&[4]), Packing::Plain);
        plain.push(0);
        let trailing = Err(IdxErrorKind::TrailingBytes { expected_bytes: 12 });
        assert_eq!(check(&plain, Content::Labels), trailing);
        assert_eq!(check(&gzip(&plain), Content::Labels), trailing);

        let mut packed = bytes(&array(&[4]), Packing::Gzip);
        packed.extend(b"garbage");
        assert!(matches!(
            check(&packed, Content::Labels),
            Err(IdxErrorKind::GzipCorrupt { .. } | IdxErrorKind::GzipTruncated { .. })
        ));
    }

    #[test]
    fn a_header_beyond_the_limit_is_refused_before_its_content() {
        let limits = Limits {
            values_bytes_max: 100,
        };
        for shape in [[101, 1], [u32::MAX, u32::MAX]] {
            let mut bytes = vec![0, 0, 8, 2];
            bytes.extend(shape.iter().flat_map(|size| size.to_be_bytes()));
            assert_eq!(
                read(&bytes[..], "test", Content::Images, limits)
                    .unwrap_err()
                    .kind,
                IdxErrorKind::TooLarge {
                    shape: shape.to_vec(),
                    values_bytes_max: 100
                }
            );
        }
    }

    /// A header that declares 4 bytes, and a megabyte behind them that does not
    /// compress: it stays in the packed file.
    #[test]
    fn unpacking_stops_at_the_declared_size() {
        let mut stream = zfl_seed::Stream::new(1, zfl_seed::Purpose::Partition, 0);
        let mut content = vec![0, 0, 8, 1, 0, 0, 0, 4];
        content.extend((0..1 << 20).map(|_| stream.next_u32() as u8));
        let bomb = gzip(&content);
        let mut unread = &bomb[..];
        let error = read(&mut unread, "bomb", Content::Labels, Limits::default()).unwrap_err();
        assert_eq!(
            error.kind,
            IdxErrorKind::TrailingBytes { expected_bytes: 12 }
        );
        // Two buffers at most were taken from the packed file.
        assert!(unread.len() > 900_000, "{}", unread.len());
    }

    #[test]
    fn a_promise_of_a_gigabyte_is_found_empty() {
        let mut bytes = vec![0, 0, 8, 1];
        bytes.extend((1u32 << 30).to_be_bytes());
        bytes.extend([0; 10]);
        assert_eq!(
            check(&bytes, Content::Labels),
            Err(IdxErrorKind::Truncated {
                expected_bytes: (1 << 30) + 8,
                found_bytes: 18
            })
        );
    }

    #[test]
    fn a_failing_disk_is_not_called_corrupt() {
        struct Failing<'a>(&'a [u8]);
        impl Read for Failing<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                match self.0.read(buffer)? {
                    0 => Err(io::Error::other("bad sector")),
                    count => Ok(count),
                }
            }
        }
        for packing in [Packing::Plain, Packing::Gzip] {
            let whole = bytes(&array(&[300]), packing);
            let half = Failing(&whole[..whole.len() / 2]);
            match read(half, "disk", Content::Labels, Limits::default()) {
                Err(IdxError {
                    kind: IdxErrorKind::Read { reason, .. },
                    ..
                }) => assert_eq!(reason, "bad sector"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn paths_that_are_no_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let kind = |path: &Path| {
            read_path(path, Content::Images, Limits::default())
                .unwrap_err()
                .kind
        };
        assert_eq!(kind(folder.path()), IdxErrorKind::NotAFile);
        assert!(matches!(
            kind(&folder.path().join("missing")),
            IdxErrorKind::Open { .. }
        ));
    }

    #[test]
    fn files_read_back_from_a_path() {
        let folder = tempfile::tempdir().unwrap();
        for packing in [Packing::Plain, Packing::Gzip] {
            // The name says nothing; the magic decides.
            let path = folder.path().join("data");
            let array = array(&[7, 3]);
            write_path(&array, packing, &path).unwrap();
            assert_eq!(
                read_path(&path, Content::Images, Limits::default()),
                Ok(array)
            );
        }
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(
            (shape, values) in prop::collection::vec(0u32..6, 2..=4).prop_flat_map(|shape| {
                let count = shape.iter().product::<u32>() as usize;
                (Just(shape), prop::collection::vec(any::<u8>(), count))
            }),
            gzip: bool,
        ) {
            let array = IdxArray::new(shape, values).unwrap();
            let packing = if gzip { Packing::Gzip } else { Packing::Plain };
            prop_assert_eq!(check(&bytes(&array, packing), Content::Images), Ok(array));
        }

        /// Any bytes give an array or an error, and never more than declared.
        #[test]
        fn any_bytes_are_survived(
            start in prop::sample::select(vec![
                vec![], vec![0, 0, 8, 1], vec![0, 0, 8, 3, 0, 0], vec![0, 0, 8, 2, 0, 0, 0],
                vec![0x1f, 0x8b], vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3],
            ]),
            rest in prop::collection::vec(any::<u8>(), 0..200),
            pack: bool,
        ) {
            let mut bytes = start;
            bytes.extend(rest);
            if pack {
                bytes = gzip(&bytes);
            }
            let limits = Limits { values_bytes_max: 1 << 16 };
            for content in [Content::Images, Content::Labels] {
                if let Ok(array) = read(&bytes[..], "any", content, limits) {
                    prop_assert_eq!(value_count(array.shape()), Some(array.values().len() as u64));
                }
            }
        }

        /// A flipped bit in a gzip file is noticed, or harmless (in the
        /// header's name, time or flags).
        #[test]
        fn a_flipped_bit_never_changes_the_values(position in 0usize..10_000, bit in 0u8..8) {
            let array = array(&[40, 5]);
            let mut packed = bytes(&array, Packing::Gzip);
            let position = position % packed.len();
            packed[position] ^= 1 << bit;
            if let Ok(read) = check(&packed, Content::Images) {
                prop_assert_eq!(read, array);
            }
        }
    }
}
