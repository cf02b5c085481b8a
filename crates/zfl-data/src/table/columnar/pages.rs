//! The headers of a column's pages, as far as they say how much there is.
//!
//! The library makes room for whatever a header declares before it unpacks a
//! page, so that a few bytes could ask for gigabytes. A header is a struct of
//! Thrift's compact protocol (parquet-format's `PageHeader`), of which fields 2
//! and 3 are its page's bytes unpacked and packed; the others are skipped.

use std::io::{self, BufRead, ErrorKind, Read};

/// Structs and lists in one another; a header has three.
const DEPTH_MAX: u32 = 8;

// Types of the compact protocol that are more than a number.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

/// Bytes of all pages in `chunk` once they are unpacked; at least `limit` + 1
/// where they are more than `limit`.
///
/// # Errors
/// Whatever stands there is no page, or ends within one.
pub(super) fn unpacked_bytes(mut chunk: impl BufRead, limit: u64) -> io::Result<u64> {
    let mut sum = 0u64;
    while sum <= limit && !chunk.fill_buf()?.is_empty() {
        let [unpacked, packed] = page(&mut chunk)?;
        sum = sum.saturating_add(unpacked);
        let skipped = io::copy(&mut chunk.by_ref().take(packed), &mut io::sink())?;
        if skipped < packed {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(sum)
}

/// Reads a header: bytes of its page unpacked and packed.
fn page(header: &mut impl Read) -> io::Result<[u64; 2]> {
    let mut sizes = [None; 2];
    let mut field = 0i64;
    while let Some(kind) = next_field(header, &mut field)? {
        let size = match field {
            2 => sizes.first_mut(),
            3 => sizes.last_mut(),
            _ => None,
        };
        match size.filter(|_| !matches!(kind, TRUE..=BYTE | DOUBLE..)) {
            Some(size) => *size = Some(u64::try_from(signed(header)?).map_err(|_| damaged())?),
            None => skip(header, kind, true, DEPTH_MAX)?,
        }
    }
    match sizes {
        [Some(unpacked), Some(packed)] => Ok([unpacked, packed]),
        _ => Err(damaged()),
    }
}

fn damaged() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "its pages are damaged")
}

/// The type of the next field, whose number becomes `field`; `None` at the end.
fn next_field(from: &mut impl Read, field: &mut i64) -> io::Result<Option<u8>> {
    let byte = byte(from)?;
    let (step, kind) = (byte >> 4, byte & 15);
    if kind == 0 {
        return Ok(None);
    }
    *field = match step {
        0 => signed(from)?,
        step => field.saturating_add(step.into()),
    };
    Ok(Some(kind))
}

fn skip(from: &mut impl Read, kind: u8, is_field: bool, depth: u32) -> io::Result<()> {
    let depth = depth.checked_sub(1).ok_or_else(damaged)?;
    match kind {
        // Of a field it is the type that says which.
        TRUE | FALSE if is_field => Ok(()),
        TRUE | FALSE | BYTE => byte(from).map(drop),
        4..=6 => unsigned(from).map(drop),
        DOUBLE => discard(from, 8),
        BINARY => {
            let bytes = unsigned(from)?;
            discard(from, bytes)
        }
        LIST | SET => {
            let head = byte(from)?;
            let count = match head >> 4 {
                15 => unsigned(from)?,
                count => count.into(),
            };
            // Each takes a byte at least, so that there is an end to it.
            (0..count).try_for_each(|_| skip(from, head & 15, false, depth))
        }
        MAP => {
            let count = unsigned(from)?;
            let kinds = if count == 0 { 0 } else { byte(from)? };
            (0..count).try_for_each(|_| {
                skip(from, kinds >> 4, false, depth)?;
                skip(from, kinds & 15, false, depth)
            })
        }
        STRUCT => {
            let mut field = 0;
            while let Some(kind) = next_field(from, &mut field)? {
                skip(from, kind, true, depth)?;
            }
            Ok(())
        }
        _ => Err(damaged()),
    }
}

fn discard(from: &mut impl Read, bytes: u64) -> io::Result<()> {
    match io::copy(&mut from.take(bytes), &mut io::sink())? == bytes {
        true => Ok(()),
        false => Err(ErrorKind::UnexpectedEof.into()),
    }
}

fn byte(from: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    let [byte] = byte;
    Ok(byte)
}

/// A number of seven bits a byte, the lowest first.
fn unsigned(from: &mut impl Read) -> io::Result<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = byte(from)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(damaged())
}

/// The same with the sign in the lowest bit.
fn signed(from: &mut impl Read) -> io::Result<i64> {
    let number = unsigned(from)?;
    Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header as writers write it: type, sizes, a struct with statistics.
    fn header(unpacked: u8, packed: u8) -> Vec<u8> {
        let sizes = [0x15, 0, 0x15, unpacked * 2, 0x15, packed * 2];
        // num_values, encoding; statistics: max, null_count; is_compressed.
        let inner = [
            0x2c, 0x15, 10, 0x15, 0, 0x3c, 0x18, 2, 7, 7, 0x26, 0, 0, 0x11, 0, 0,
        ];
        [&sizes[..], &inner].concat()
    }

    #[test]
    fn sizes_are_added_up() {
        let pages = [
            header(60, 3),
            vec![9; 3],
            header(40, 0),
            header(1, 2),
            vec![0; 2],
        ];
        let chunk = pages.concat();
        assert_eq!(unpacked_bytes(&chunk[..], 1000).unwrap(), 101);
        // It is enough to know that they are more.
        assert_eq!(unpacked_bytes(&chunk[..], 50).unwrap(), 60);
        assert_eq!(unpacked_bytes(&[][..], 0).unwrap(), 0);
        let ends = pages.map(|part| part.len());
        let page_ends = [ends[0] + ends[1], ends[0] + ends[1] + ends[2]];
        for bytes in 1..chunk.len() {
            let is_between = page_ends.contains(&bytes);
            let cut = unpacked_bytes(&chunk[..bytes], 1000);
            assert!(cut.is_err() || is_between, "{bytes}: {cut:?}");
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let lists = [[0x19; 1].as_slice(), &[0x19; 20]].concat();
        for bytes in [
            // No sizes; a size below zero; an endless number; a list of lists.
            &[0][..],
            &[0x15, 0, 0x15, 1, 0x15, 2, 0],
            &[
                0x25, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            ],
            &lists,
            &[0x1d],
        ] {
            assert!(unpacked_bytes(bytes, 1000).is_err(), "{bytes:?}");
        }
    }
}
