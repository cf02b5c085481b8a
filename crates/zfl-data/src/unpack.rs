//! A reader that unpacks gzip where its magic is found and passes other bytes on.
//!
//! It remembers how many bytes of the file were consumed and whether it was
//! the file that failed, so that a fault can be told apart: the disk, a file
//! cut short, or damaged content.

use std::io::{self, BufRead, BufReader, Chain, Cursor, ErrorKind, Read};

use flate2::bufread::MultiGzDecoder;

/// RFC 1952, section 2.3.1: ID1 and ID2.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The bytes of a file, unpacked if they are gzip.
pub(crate) enum Unpacked<R: Read> {
    Plain(Counted<R>),
    /// All members, as `gzip -d` does: whatever follows the first one is
    /// either a member too or a fault, never silently ignored.
    Gzip(Box<MultiGzDecoder<Counted<R>>>),
}

/// Why unpacking stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The file could not be read.
    Read { reason: String },
    /// The gzip file ends after `packed_bytes`.
    GzipTruncated { packed_bytes: u64 },
    /// The gzip content is damaged at or before `packed_offset`.
    GzipCorrupt { packed_offset: u64, reason: String },
}

impl<R: Read> Unpacked<R> {
    pub(crate) fn new(mut reader: R) -> Result<Self, Fault> {
        let mut start = [0; 2];
        let length = read_full(&mut reader, &mut start).map_err(|error| Fault::Read {
            reason: error.to_string(),
        })?;
        let start = start.get(..length).unwrap_or_default().to_vec();
        let packed = start == GZIP_MAGIC;
        let counted = Counted {
            inner: BufReader::with_capacity(1 << 16, Cursor::new(start).chain(reader)),
            consumed: 0,
            failed: false,
        };
        Ok(if packed {
            Self::Gzip(Box::new(MultiGzDecoder::new(counted)))
        } else {
            Self::Plain(counted)
        })
    }

    /// Fills `buffer` as far as the content goes; the number of bytes read.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        let result = match self {
            Self::Plain(counted) => read_full(counted, buffer),
            Self::Gzip(decoder) => read_full(decoder, buffer),
        };
        result.map_err(|error| self.fault(&error))
    }

    fn fault(&self, error: &io::Error) -> Fault {
        let decoder = match self {
            Self::Gzip(decoder) if !decoder.get_ref().failed => decoder,
            _ => {
                return Fault::Read {
                    reason: error.to_string(),
                };
            }
        };
        let consumed = decoder.get_ref().consumed;
        if error.kind() == ErrorKind::UnexpectedEof {
            Fault::GzipTruncated {
                packed_bytes: consumed,
            }
        } else {
            Fault::GzipCorrupt {
                packed_offset: consumed,
                reason: error.to_string(),
            }
        }
    }
}

/// Counts what is consumed of a file and notes when reading it failed.
pub(crate) struct Counted<R: Read> {
    inner: BufReader<Chain<Cursor<Vec<u8>>, R>>,
    consumed: u64,
    failed: bool,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        let (Some(from), Some(to)) = (available.get(..count), buffer.get_mut(..count)) else {
            return Ok(0);
        };
        to.copy_from_slice(from);
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let result = self.inner.fill_buf();
        if let Err(error) = &result {
            self.failed = error.kind() != ErrorKind::Interrupted;
        }
        result
    }

    fn consume(&mut self, count: usize) {
        self.consumed += count as u64;
        self.inner.consume(count);
    }
}

/// Reads until `buffer` is full or the end is reached.
fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
