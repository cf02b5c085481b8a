//! What a device says on its serial port.
//!
//! The bytes come from firmware that may be broken: any bytes at all are cut
//! into lines of bounded length, in which nothing can disturb a terminal, and
//! what is not a known event is only text.

mod log;

pub(crate) use log::ConsoleLog;
pub use log::LOG_BYTES_MAX;

use std::time::Instant;

use zfl_proto::console::{Event, PROMPT};
use zfl_proto::{ClientId, RoundIndex};

/// A line is cut after so many bytes.
pub const LINE_BYTES_MAX: usize = 1024;

/// An event line of a device, with its own text: see
/// [`zfl_proto::console::Event`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConsoleEvent {
    /// The firmware runs.
    Boot {
        /// Which board it was built for.
        board: String,
        /// Its version.
        version: String,
        /// Memory for data and model, in bytes.
        arena_bytes: u32,
    },
    /// The coordinator told it who it is.
    Assigned(ClientId),
    /// It has its share of the data and serves.
    Ready {
        /// Who it is.
        client: ClientId,
        /// Samples in its share.
        sample_count: u32,
    },
    /// It trains.
    Training(RoundIndex),
    /// The coordinator has its update.
    Reported(RoundIndex),
    /// It goes wrong in this round as it was told to.
    Injected {
        /// Which round.
        round: RoundIndex,
        /// The word of the [`zfl_proto::console::Fault`].
        kind: String,
    },
    /// Something failed; the device goes on.
    Failed(String),
    /// A panic; the machine stops after a few more lines.
    Panic(String),
    /// A processor fault; the machine stops after a few more lines.
    Fault(String),
    /// Counters as `key=value` words.
    Stats(String),
}

impl From<Event<'_>> for ConsoleEvent {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Boot {
                board,
                version,
                arena_bytes,
            } => Self::Boot {
                board: board.into(),
                version: version.into(),
                arena_bytes,
            },
            Event::Assigned(client) => Self::Assigned(client),
            Event::Ready {
                client,
                sample_count,
            } => Self::Ready {
                client,
                sample_count,
            },
            Event::Training(round) => Self::Training(round),
            Event::Reported(round) => Self::Reported(round),
            Event::Injected { round, kind } => Self::Injected {
                round,
                kind: kind.into(),
            },
            Event::Failed(text) => Self::Failed(text.into()),
            Event::Panic(text) => Self::Panic(text.into()),
            Event::Fault(text) => Self::Fault(text.into()),
            Event::Stats(text) => Self::Stats(text.into()),
        }
    }
}

/// An event, whose it is, and when it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceEvent {
    /// The device's index in its fleet.
    pub device: u32,
    /// When its line was read, in host time.
    pub host_time: Instant,
    /// What it says.
    pub event: ConsoleEvent,
}

/// What a [`ConsoleParser`] finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsoleItem {
    /// The device waits for a command.
    Prompt,
    /// A line, without its end and without a prompt before it.
    Line {
        /// Its text: bytes that are not UTF-8 and control characters are
        /// replaced by U+FFFD.
        text: String,
        /// Whether there was more than [`LINE_BYTES_MAX`] of it.
        is_cut: bool,
    },
}

impl ConsoleItem {
    /// The event that this line is, if it is one.
    pub fn event(&self) -> Option<ConsoleEvent> {
        match self {
            Self::Line { text, .. } => Event::parse(text).map(Into::into),
            Self::Prompt => None,
        }
    }
}

/// Cuts the bytes of a console into lines and prompts.
///
/// A line ends with `\r`, `\n` or `\r\n`. Empty lines are left out.
#[derive(Debug, Default)]
pub struct ConsoleParser {
    line: Vec<u8>,
    is_cut: bool,
    after_return: bool,
}

impl ConsoleParser {
    /// Takes the next bytes; `sink` gets what they complete.
    pub fn push(&mut self, bytes: &[u8], mut sink: impl FnMut(ConsoleItem)) {
        for &byte in bytes {
            let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => self.end_line(&mut sink),
                _ if self.line.len() < LINE_BYTES_MAX => {
                    self.line.push(byte);
                    if self.line == PROMPT.as_bytes() {
                        sink(ConsoleItem::Prompt);
                    }
                }
                _ => self.is_cut = true,
            }
        }
    }

    /// Ends the last line, which has no end of its own.
    pub fn finish(&mut self, mut sink: impl FnMut(ConsoleItem)) {
        self.end_line(&mut sink);
    }

    fn end_line(&mut self, sink: &mut impl FnMut(ConsoleItem)) {
        let mut line = self.line.as_slice();
        while let Some(rest) = line.strip_prefix(PROMPT.as_bytes()) {
            line = rest;
        }
        let text = printable(line);
        if !text.is_empty() {
            sink(ConsoleItem::Line {
                text,
                is_cut: self.is_cut,
            });
        }
        self.line.clear();
        self.is_cut = false;
    }
}

/// The text of bytes, safe to show on a terminal.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let safe = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    String::from_utf8_lossy(bytes).chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn items(bytes: &[u8], chunk: usize) -> Vec<ConsoleItem> {
        let mut parser = ConsoleParser::default();
        let mut items = Vec::new();
        for part in bytes.chunks(chunk) {
            parser.push(part, |item| items.push(item));
        }
        parser.finish(|item| items.push(item));
        items
    }

    /// The items of `bytes`, `>` for a prompt, cut lines with `…`; the same
    /// however the bytes are torn.
    fn check(bytes: &[u8], expected: &[&str]) {
        for chunk in [1, 2, 3, 7, bytes.len().max(1)] {
            let found: Vec<String> = items(bytes, chunk)
                .into_iter()
                .map(|item| match item {
                    ConsoleItem::Prompt => ">".into(),
                    ConsoleItem::Line { text, is_cut } => {
                        format!("{text}{}", if is_cut { "…" } else { "" })
                    }
                })
                .collect();
            assert_eq!(found, expected, "in parts of {chunk}");
        }
    }

    #[test]
    fn lines_and_prompts_are_told_apart() {
        check(b"", &[]);
        check(b"hello\r\nzfl> ", &["hello", ">"]);
        check(b"a\nb\rc\r\n\r\nd", &["a", "b", "c", "d"]);
        check(
            b"zfl> help\r\nhelp  this\r\nzfl> ",
            &[">", "help", "help  this", ">"],
        );
        check(b"zfl>\r\n zfl> \r\n", &["zfl>", " zfl> "]);
        // An event that comes while the device waits at its prompt.
        check(
            b"zfl> @zfl assigned client=3\r\nzfl> ",
            &[">", "@zfl assigned client=3", ">"],
        );
        check(b"zfl> \rzfl> x\r\n", &[">", ">", "x"]);
    }

    #[test]
    fn what_could_disturb_a_terminal_is_replaced() {
        check(
            b"\x1b[2Jred\x07\xff\xfe caf\xc3\xa9\r\n",
            &["\u{fffd}[2Jred\u{fffd}\u{fffd}\u{fffd} café"],
        );
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_is_whole() {
        let mut bytes = vec![b'x'; LINE_BYTES_MAX + 5];
        bytes.extend(b"\r\nnext\r\n");
        let cut = format!("{}…", "x".repeat(LINE_BYTES_MAX));
        check(&bytes, &[&cut, "next"]);
        let whole = [vec![b'x'; LINE_BYTES_MAX], b"\n".to_vec()].concat();
        check(&whole, &[&"x".repeat(LINE_BYTES_MAX)]);
    }

    #[test]
    fn events_are_lines_of_the_grammar() {
        let event = |line: &str| items(line.as_bytes(), 99)[0].event();
        assert_eq!(
            event("@zfl ready client=7 samples=120\r\n"),
            Some(ConsoleEvent::Ready {
                client: ClientId(7),
                sample_count: 120
            })
        );
        assert_eq!(
            event("@zfl panic at x.rs:3: no\r\n"),
            Some(ConsoleEvent::Panic("at x.rs:3: no".into()))
        );
        assert_eq!(event("say @zfl ready client=7 samples=120\r\n"), None);
        assert_eq!(event("@zfl dance\r\n"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_become_bounded_printable_lines(
            parts in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..64),
                    Just(b"zfl> ".to_vec()),
                    Just(b"@zfl ready client=".to_vec()),
                    Just(b"\r\n".to_vec()),
                    Just(vec![0xf0; 700]),
                ],
                0..24,
            ),
            chunk in 1usize..300,
        ) {
            let bytes = parts.concat();
            let found = items(&bytes, chunk);
            for item in &found {
                let _ = item.event();
                if let ConsoleItem::Line { text, .. } = item {
                    prop_assert!(text.chars().count() <= LINE_BYTES_MAX);
                    prop_assert!(!text.chars().any(char::is_control));
                }
            }
            prop_assert_eq!(&found, &items(&bytes, bytes.len().max(1)));
        }
    }
}
