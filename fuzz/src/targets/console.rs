//! The console, both ways: lines typed at a device, and whatever a device says.

use zfl_machine::console::{ConsoleItem, ConsoleParser, LINE_BYTES_MAX};
use zfl_proto::console::{Command, EVENT_PREFIX, Event, PROMPT};

use crate::input::Input;

/// The first byte says how the bytes of a device arrive, the rest is said.
pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let piece_bytes = usize::from(input.byte()) + 1;
    let said = input.rest();
    lines_are_those_however_torn(said, piece_bytes);
    for line in String::from_utf8_lossy(said).lines() {
        command(line);
        event(line);
    }
}

fn items(pieces: std::slice::Chunks<'_, u8>) -> Vec<ConsoleItem> {
    let mut parser = ConsoleParser::default();
    let mut items = Vec::new();
    for piece in pieces {
        parser.push(piece, |item| items.push(item));
    }
    parser.finish(|item| items.push(item));
    // Nothing is left of one console for the next.
    parser.finish(|item| panic!("{item:?} twice"));
    items
}

fn lines_are_those_however_torn(said: &[u8], piece_bytes: usize) {
    let found = items(said.chunks(piece_bytes));
    assert_eq!(found, items(said.chunks(said.len().max(1))));
    let (mut shown_bytes, mut prompts) = (0, 0);
    for item in &found {
        match item {
            ConsoleItem::Prompt => prompts += 1,
            ConsoleItem::Line { text, is_cut } => {
                assert!(!text.is_empty());
                assert!(!text.chars().any(char::is_control), "{text:?}");
                // A byte that is no text becomes a character of three.
                assert!(text.len() <= 3 * LINE_BYTES_MAX);
                assert!(!is_cut || text.chars().count() <= LINE_BYTES_MAX);
                shown_bytes += text.len();
            }
        }
        if let Some(event) = item.event() {
            assert!(
                matches!(item, ConsoleItem::Line { text, .. } if text.starts_with(EVENT_PREFIX))
            );
            assert!(!format!("{event:?}").is_empty());
        }
    }
    assert!(shown_bytes <= 3 * said.len());
    assert!(prompts <= said.len() / PROMPT.len());
}

fn command(line: &str) {
    match Command::parse(line) {
        Ok(Command::Run(options)) => {
            let written = options.to_string();
            assert!(written.len() <= zfl_proto::console::COMMAND_BYTES_MAX);
            assert_eq!(Command::parse(&written), Ok(Command::Run(options)));
        }
        Ok(_) => {}
        Err(error) => {
            // A column is of a character, or of the end of the line.
            assert!(error.column >= 1 && error.column <= line.len() + 1);
            assert!(
                line.is_char_boundary(error.column - 1),
                "{error} in {line:?}"
            );
        }
    }
}

fn event(line: &str) {
    if let Some(event) = Event::parse(line) {
        let written = event.to_string();
        assert_eq!(Event::parse(&written), Some(event), "{line:?}");
    }
}
