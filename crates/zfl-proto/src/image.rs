//! The note in a firmware image: that it is one, for which board, and which
//! messages it speaks.
//!
//! A section [`SECTION`] of the ELF file holds one note (System V ABI, chapter
//! 5): the lengths of name and description, the type, the name and the
//! description, each of 4 bytes or padded to them, in little-endian order. The
//! description is the version of the messages, in 4 bytes, and the board's name.

/// The section of the note.
pub const SECTION: &str = ".note.zfl";
/// Its owner's name.
pub const OWNER: [u8; 4] = *b"zfl\0";
/// Its type.
pub const TYPE: u32 = 1;
/// No board's name is longer, in bytes.
pub const BOARD_BYTES_MAX: usize = 64;

const HEADER_BYTES: usize = 16;
const VERSION_BYTES: usize = 4;

/// What the note says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    /// The version of its messages.
    pub protocol_version: u32,
    /// The board that the image was built for.
    pub board: &'a str,
}

impl<'a> Note<'a> {
    /// Reads the contents of the section; `None` where that is no such note.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let word = |index: usize| {
            let bytes = bytes.get(index * 4..index * 4 + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let description_bytes = usize::try_from(word(1)?).ok()?;
        if word(0)? != 4 || word(2)? != TYPE || bytes.get(12..HEADER_BYTES)? != OWNER {
            return None;
        }
        let board_bytes = description_bytes.checked_sub(VERSION_BYTES)?;
        let board = bytes
            .get(HEADER_BYTES + VERSION_BYTES..)?
            .get(..board_bytes)
            .filter(|board| board.len() <= BOARD_BYTES_MAX)?;
        Some(Self {
            protocol_version: word(4)?,
            board: core::str::from_utf8(board).ok()?,
        })
    }

    /// The bytes of the section, one after the other.
    pub fn encode(&self) -> impl Iterator<Item = u8> + use<'a> {
        let board = self.board.as_bytes();
        let board = board.get(..BOARD_BYTES_MAX).unwrap_or(board);
        let padding = board.len().next_multiple_of(4) - board.len();
        // At most BOARD_BYTES_MAX + VERSION_BYTES.
        let description_bytes = u32::try_from(VERSION_BYTES + board.len()).unwrap_or(u32::MAX);
        [4, description_bytes, TYPE, u32::from_le_bytes(OWNER)]
            .into_iter()
            .chain([self.protocol_version])
            .flat_map(u32::to_le_bytes)
            .chain(board.iter().copied())
            .chain(core::iter::repeat_n(0, padding))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_survives_the_way() {
        for board in ["", "a", "mps2", "mps2-an386", &"x".repeat(64)] {
            let note = Note {
                protocol_version: 7,
                board,
            };
            let bytes: Vec<u8> = note.encode().collect();
            assert!(bytes.len().is_multiple_of(4));
            assert_eq!(Note::decode(&bytes), Some(note));
            // What comes behind it does not matter, what lacks does.
            assert_eq!(Note::decode(&[&bytes[..], b"more"].concat()), Some(note));
            assert_eq!(Note::decode(&bytes[..16 + 3 + board.len()]), None);
        }
    }

    #[test]
    fn another_note_is_none() {
        let bytes: Vec<u8> = Note {
            protocol_version: 1,
            board: "mps2",
        }
        .encode()
        .collect();
        for (index, byte) in [(0, 5), (4, 3), (4, 255), (8, 2), (12, b'Z'), (20, 0xff)] {
            let mut changed = bytes.clone();
            changed[index] = byte;
            assert_eq!(Note::decode(&changed), None, "{index}");
        }
    }
}
