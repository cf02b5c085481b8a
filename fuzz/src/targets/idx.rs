//! IDX files: within the limit, the same however they arrive, plain or packed,
//! and written as they were read.

use std::io::{Cursor, Read};

use zfl_data::idx::{Content, IdxArray, IdxError, Limits, Packing, read, write};

use crate::input::Input;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Gives no more than so many bytes at a time.
struct Torn<'a> {
    bytes: &'a [u8],
    piece_bytes: usize,
}

impl Read for Torn<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(self.piece_bytes);
        (&mut self.bytes).read(&mut buffer[..count])
    }
}

/// The first byte says what the rest holds, the second how it arrives.
pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let how = input.byte();
    let content = if how & 1 == 0 {
        Content::Images
    } else {
        Content::Labels
    };
    let limits = Limits {
        values_bytes_max: 1 << (how >> 1 & 15).min(14),
    };
    let piece_bytes = usize::from(input.byte()) + 1;
    let file = input.rest();

    let is_packed = file.starts_with(&GZIP_MAGIC);
    let found = read(file, "file", content, limits);
    let torn = Torn {
        bytes: file,
        piece_bytes,
    };
    agree(&found, &read(torn, "file", content, limits), is_packed);
    match &found {
        Ok(array) => array_is_whole(array, content, limits, file),
        Err(error) => assert!(error.to_string().starts_with("file: ")),
    }
    // Packed, it is the same, and wrong in the same way.
    if !is_packed && how & 0x80 == 0 {
        let again = read(Cursor::new(packed(file)), "file", content, limits);
        agree(&found, &again, false);
    }
}

/// Asserts that two readings of a file agree. A decoder notices damage sooner or
/// later, so that they need not agree in what is wrong with a damaged file.
fn agree(
    left: &Result<IdxArray, IdxError>,
    right: &Result<IdxArray, IdxError>,
    may_be_damaged: bool,
) {
    match (left, right) {
        // `Debug` leaves the values out.
        (Ok(left), Ok(right)) => assert!(left == right, "{left:?} and {right:?} differ"),
        (Err(_), Err(_)) if may_be_damaged => {}
        _ => assert_eq!(left, right),
    }
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

fn array_is_whole(array: &IdxArray, content: Content, limits: Limits, file: &[u8]) {
    let count: u64 = array.shape().iter().map(|size| u64::from(*size)).product();
    assert_eq!(count, array.values().len() as u64);
    assert!(count <= limits.values_bytes_max);
    let rank = array.shape().len();
    assert!(match content {
        Content::Images => (2..=4).contains(&rank),
        Content::Labels => rank == 1,
    });
    let mut written = Vec::new();
    write(array, Packing::Plain, &mut written).expect("memory takes all");
    if !file.starts_with(&GZIP_MAGIC) {
        assert_eq!(written, file);
    }
    let again = read(Cursor::new(written), "again", content, limits);
    assert_eq!(again.as_ref(), Ok(array));
}
