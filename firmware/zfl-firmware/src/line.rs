//! One line of input, edited byte by byte.

use zfl_proto::console::{COMMAND_BYTES_MAX, CommandError};

const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7f;
const CONTROL_U: u8 = 0x15;

/// What a typed byte did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// Nothing to show.
    Ignored,
    /// Taken in: show it.
    Added(u8),
    /// So many characters were taken back.
    Erased(usize),
    /// The line is complete; ask [`Line::take`] for it.
    End,
}

/// A line being typed, of at most [`COMMAND_BYTES_MAX`] bytes.
pub(crate) struct Line {
    bytes: heapless::Vec<u8, COMMAND_BYTES_MAX>,
    /// The line went on past its limit.
    overflow: bool,
    /// The last byte was a carriage return, so that a line feed is no second end.
    after_return: bool,
}

impl Line {
    /// An empty line.
    pub(crate) const fn new() -> Self {
        Self {
            bytes: heapless::Vec::new(),
            overflow: false,
            after_return: false,
        }
    }

    /// Takes in a typed byte.
    pub(crate) fn push(&mut self, byte: u8) -> Typed {
        let after_return = core::mem::replace(&mut self.after_return, byte == b'\r');
        match byte {
            b'\n' if after_return => Typed::Ignored,
            b'\r' | b'\n' => Typed::End,
            BACKSPACE | DELETE => match self.bytes.pop() {
                Some(_) => Typed::Erased(1),
                None => Typed::Ignored,
            },
            CONTROL_U => {
                let count = self.bytes.len();
                self.bytes.clear();
                self.overflow = false;
                Typed::Erased(count)
            }
            byte if byte < b' ' && byte != b'\t' => Typed::Ignored,
            byte => match self.bytes.push(byte) {
                Ok(()) => Typed::Added(byte),
                Err(_) => {
                    self.overflow = true;
                    Typed::Ignored
                }
            },
        }
    }

    /// Hands the line over and begins a new one.
    ///
    /// # Errors
    /// The line was too long, or holds bytes that are not ASCII; `f` is not
    /// called then.
    pub(crate) fn take<R>(&mut self, f: impl FnOnce(&str) -> R) -> Result<R, CommandError> {
        let bytes = core::mem::take(&mut self.bytes);
        if core::mem::take(&mut self.overflow) {
            return Err(CommandError {
                column: COMMAND_BYTES_MAX + 1,
                expected: "the end of the line, which has at most 192 characters",
            });
        }
        if let Some(index) = bytes.iter().position(|byte| !byte.is_ascii()) {
            return Err(CommandError {
                column: index + 1,
                expected: "an ASCII character",
            });
        }
        // ASCII is UTF-8; the fallback cannot happen.
        Ok(f(core::str::from_utf8(&bytes).unwrap_or("")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(input: &[u8]) -> Vec<Result<String, usize>> {
        let mut line = Line::new();
        let mut lines = Vec::new();
        for byte in input {
            if line.push(*byte) == Typed::End {
                lines.push(line.take(str::to_owned).map_err(|error| error.column));
            }
        }
        lines
    }

    #[test]
    fn any_line_end_is_one_end() {
        let lines = typed(b"help\r\nstats\n\nrun\r\r");
        let lines: Vec<_> = lines.into_iter().map(Result::unwrap).collect();
        assert_eq!(lines, ["help", "stats", "", "run", ""]);
    }

    #[test]
    fn typing_errors_can_be_taken_back() {
        assert_eq!(typed(b"hx\x7felp\n"), [Ok("help".to_owned())]);
        assert_eq!(typed(b"\x08nonsense\x15help\n"), [Ok("help".to_owned())]);
    }

    #[test]
    fn the_limit_is_told_with_its_column_and_forgotten_after() {
        let mut input = vec![b'x'; COMMAND_BYTES_MAX + 1];
        input.extend(b"\nhelp\n");
        let lines = typed(&input);
        assert_eq!(lines, [Err(COMMAND_BYTES_MAX + 1), Ok("help".to_owned())]);
        let mut longest = vec![b'x'; COMMAND_BYTES_MAX];
        longest.push(b'\n');
        assert!(matches!(&typed(&longest)[..], [Ok(_)]));
        assert!(include_str!("line.rs").contains(&format!("at most {COMMAND_BYTES_MAX} ")));
    }

    #[test]
    fn bytes_that_are_no_ascii_are_told_with_their_column() {
        assert_eq!(typed("caf\u{e9}\n".as_bytes()), [Err(4)]);
    }

    #[test]
    fn no_byte_panics() {
        let mut line = Line::new();
        for round in 0..3 {
            for byte in 0..=u8::MAX {
                if line.push(byte.rotate_left(round)) == Typed::End {
                    let _ = line.take(|_| ());
                }
            }
        }
    }
}
