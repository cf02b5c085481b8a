//! Firmware images: whatever they are, they run on the board they are for or
//! are refused in a few words.

use std::sync::LazyLock;

use zfl_machine::{Board, image};
use zfl_proto::image::Note;

/// What a refusal may take, as it goes to a terminal.
const REFUSAL_BYTES_MAX: usize = 512;

static BOARDS: LazyLock<Vec<Board>> =
    LazyLock::new(|| Board::all().expect("boards that were built in"));

/// Holds `bytes` against each board.
pub(crate) fn check(bytes: &[u8]) {
    let mut suits = None;
    for board in BOARDS.iter() {
        match image::check(board, bytes) {
            Ok(()) => {
                assert!(
                    suits.is_none(),
                    "for {} and {}",
                    suits.unwrap_or(""),
                    board.name
                );
                suits = Some(board.name.as_str());
                assert!(bytes.starts_with(b"\x7fELF"));
                // It names its board where a reader without knowledge of ELF
                // finds it, and what follows the file changes nothing.
                let name = board.name.as_bytes();
                assert!(bytes.windows(name.len()).any(|window| window == name));
                let longer = [bytes, &[0; 64]].concat();
                assert!(image::check(board, &longer).is_ok());
            }
            Err(error) => {
                let text = error.to_string();
                assert!(
                    !text.is_empty() && text.len() <= REFUSAL_BYTES_MAX,
                    "{text}"
                );
                assert!(!text.chars().any(char::is_control), "{text:?}");
            }
        }
    }
    if let Some(note) = Note::decode(bytes) {
        let written: Vec<u8> = note.encode().collect();
        assert!(written.len().is_multiple_of(4));
        assert_eq!(Note::decode(&written), Some(note));
        // But for the padding, which a last note need not have.
        let described = 20 + note.board.len();
        assert_eq!(written[..described], bytes[..described]);
    }
}
