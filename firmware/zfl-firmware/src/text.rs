//! Text of a bounded size.

use core::fmt;

/// A line of at most `N` bytes. What does not fit is cut off, and a control
/// character (such as a line end within a panic's message) becomes a space,
/// so whatever is formatted stays one line.
pub(crate) struct Text<const N: usize>(heapless::String<N>);

impl<const N: usize> Text<N> {
    /// The formatted arguments.
    pub(crate) fn of(arguments: fmt::Arguments<'_>) -> Self {
        let mut text = Self(heapless::String::new());
        // Its `write_str` never fails.
        let _ = fmt::write(&mut text, arguments);
        text
    }

    /// The bytes as far as they are UTF-8.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let text = match core::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let (valid, _) = bytes.split_at(error.valid_up_to());
                core::str::from_utf8(valid).unwrap_or("")
            }
        };
        Self::of(format_args!("{text}"))
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let character = if character.is_control() {
                ' '
            } else {
                character
            };
            if self.0.push(character).is_err() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_long_a_text_is_cut_between_characters() {
        let text = Text::<8>::of(format_args!("{}{}", "ab\ncd", "éééé"));
        assert_eq!(text.as_str(), "ab cdé");
        assert_eq!(Text::<8>::from_bytes(b"no\xff!").as_str(), "no");
        assert_eq!(Text::<4>::of(format_args!("{}", 12345)).as_str(), "1234");
    }
}
