//! What a device's last words say, for people.
//!
//! A device that panics or faults prints its registers, the status of its
//! processor and the part of its stack that is in use
//! (`firmware/zfl-firmware/src/fault.rs`). Here they become words and a
//! backtrace, by the debug information of its image: [`explain`]. Each call is
//! found by what the compiler noted of the stack's layout; only where that ends
//! early, words that look like return addresses are shown, and labelled so.
//!
//! The lines come from firmware that is broken: whatever is not as expected is
//! left out, and nothing here fails.

mod dump;
mod status;
mod symbols;
mod unwind;

use std::fmt::Write as _;

use dump::Dump;
use symbols::{DebugInfo, Place};
use unwind::{Backtrace, Frame};

/// A crash in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// The source line that it happened at, `file:line`; of a panic the one it
    /// names, of a fault the innermost of the project's own.
    pub place: Option<String>,
    /// What happened and where, on one line: `panic at file:line: message`.
    pub headline: String,
    /// Status, backtrace and registers: lines for a file.
    pub text: String,
}

/// Explains a crash: `cause` is its event, `dump` the lines behind it, and
/// `image` the ELF file that ran.
pub fn explain(cause: &str, dump: &[String], image: &[u8]) -> Explanation {
    let dump = Dump::parse(dump);
    let debug = DebugInfo::read(image);
    let backtrace = match &debug {
        Ok(debug) => unwind::backtrace(debug, &dump),
        Err(_) => Backtrace::default(),
    };
    let place = place_of_panic(cause).or_else(|| place(&backtrace));
    let headline = headline(cause, place.as_deref());

    let mut text = String::new();
    for line in status::describe(&dump) {
        let _ = writeln!(text, "{line}");
    }
    if let Some(line) = status::overflow(&dump) {
        let _ = writeln!(text, "{line}");
        if let Some(task) = task(&backtrace) {
            let _ = writeln!(text, "  in the task {task}");
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    match &debug {
        Err(error) => {
            let _ = writeln!(text, "backtrace: none, the image is {error}");
        }
        Ok(_) if !dump.has_registers() => {
            text.push_str("backtrace: none, the device printed no registers\n");
        }
        Ok(_) => write_backtrace(&mut text, &backtrace),
    }
    if dump.has_registers() {
        text.push_str("\nregisters:\n");
        for line in dump.register_lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    Explanation {
        place,
        headline,
        text,
    }
}

/// `panic at file:line: message`, or the same of a fault.
fn headline(cause: &str, place: Option<&str>) -> String {
    let Some(place) = place else {
        return cause.to_owned();
    };
    // A path that has the mark itself would only be shown longer.
    let panic = cause.strip_prefix("panic at ");
    let panic = panic.and_then(|rest| rest.split_once(": "));
    match (panic, cause.strip_prefix("fault: ")) {
        (Some((_, message)), _) => format!("panic at {place}: {message}"),
        (None, Some(message)) => format!("fault at {place}: {message}"),
        (None, None) => format!("{cause} (at {place})"),
    }
}

/// `file:line` of `panic at file:line:column: message`.
fn place_of_panic(cause: &str) -> Option<String> {
    let mut parts = cause.strip_prefix("panic at ")?.splitn(4, ':');
    let (file, line) = (parts.next()?, parts.next()?);
    line.parse::<u32>().ok()?;
    Some(format!("{}:{line}", symbols::short_path(file)))
}

/// The innermost line of the project's own code.
fn place(backtrace: &Backtrace) -> Option<String> {
    let places = backtrace.frames.iter().flat_map(|frame| &frame.places);
    let own = places.filter(|place| place.is_own());
    own.filter_map(Place::file_and_line).next()
}

/// The task of the executor that the calls belong to.
fn task(backtrace: &Backtrace) -> Option<String> {
    let frames = backtrace.frames.iter().chain(&backtrace.possible);
    let mut names = frames
        .flat_map(|frame| &frame.places)
        .map(|place| place.function.as_str());
    // The executor polls a task, and it the rest: with the functions from the
    // innermost, the task is the one before.
    let mut before = None;
    names.find(|name| {
        let is_poll = name.contains("embassy_executor::raw::TaskStorage");
        if !is_poll {
            before = Some(*name);
        }
        is_poll
    })?;
    let name = before?;
    // `console::run` is `console::__run_task::…::{{closure}}` by then.
    Some(match name.split_once("::__") {
        Some((module, rest)) => {
            let task = rest.split_once("_task").map_or(rest, |(task, _)| task);
            format!("{module}::{task}")
        }
        None => name.split("::{").next().unwrap_or(name).to_owned(),
    })
}

fn write_backtrace(text: &mut String, backtrace: &Backtrace) {
    text.push_str("backtrace, innermost call first:\n");
    write_frames(text, &backtrace.frames);
    if let Some(why) = &backtrace.end {
        let _ = writeln!(text, "  ({why})");
    }
    if !backtrace.possible.is_empty() {
        text.push_str(
            "words further up the stack that look like return addresses; may show calls that are \
             over:\n",
        );
        for frame in &backtrace.possible {
            // The function itself, or what says more of a foreign one: what was
            // inlined there is the more a guess.
            let own = frame.places.iter().rfind(|place| place.is_own());
            if let Some(place) = own.or(frame.places.last()) {
                let line = place.file_and_line().unwrap_or_default();
                let _ = writeln!(
                    text,
                    "     {:#010x}  {} {line}",
                    frame.address, place.function
                );
            }
        }
    }
}

/// Writes calls; of a function that calls itself again and again, the first
/// and a count.
fn write_frames(text: &mut String, frames: &[Frame]) {
    let mut rest = frames.iter().enumerate().peekable();
    while let Some((number, frame)) = rest.next() {
        let mut mark = format!("{number:>3}  {:#010x}", frame.address);
        for place in &frame.places {
            let _ = writeln!(text, "{mark}  {}", place.function);
            if let Some(line) = place.file_and_line() {
                let _ = writeln!(text, "{:19}at {line}", "");
            }
            mark = format!("{:3}  {:>10}", "", "inlined in");
        }
        if frame.places.is_empty() {
            let _ = writeln!(text, "{mark}  ?");
        }
        let mut repeated = 0u32;
        while rest
            .next_if(|(_, next)| next.address == frame.address)
            .is_some()
        {
            repeated += 1;
        }
        if repeated > 0 {
            let _ = writeln!(text, "{:19}… and {repeated} more of the same call", "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_headline_says_what_and_where() {
        let check = |cause: &str, place: Option<&str>, expected: &str| {
            let place = place_of_panic(cause).or_else(|| place.map(Into::into));
            assert_eq!(headline(cause, place.as_deref()), expected);
        };
        check(
            "panic at zfl-firmware/src/learn.rs:7:13: index 3: out of range",
            None,
            "panic at firmware/zfl-firmware/src/learn.rs:7: index 3: out of range",
        );
        check("panic at src/x.rs:7: no", None, "panic at src/x.rs:7: no");
        check("panic without a place", None, "panic without a place");
        check(
            "fault: bus fault address=0x00000004",
            Some("crates/zfl-nn/src/layer.rs:12"),
            "fault at crates/zfl-nn/src/layer.rs:12: bus fault address=0x00000004",
        );
        check("fault: bus fault", None, "fault: bus fault");
        check(
            "qemu: fatal: Lockup",
            Some("a.rs:1"),
            "qemu: fatal: Lockup (at a.rs:1)",
        );
    }

    #[test]
    fn without_an_image_there_are_registers() {
        let lines = ["r0 =0x00000001 sp =0x20000000".to_owned()];
        let explanation = explain("fault: x", &lines, b"no ELF");
        assert_eq!(explanation.headline, "fault: x");
        assert!(
            explanation
                .text
                .starts_with("backtrace: none, the image is damaged")
        );
        assert!(
            explanation
                .text
                .ends_with("  r0 =0x00000001 sp =0x20000000\n")
        );
    }

    #[test]
    fn a_call_that_repeats_is_shown_once() {
        let frame = |address| Frame {
            address,
            places: Vec::new(),
        };
        let mut text = String::new();
        write_frames(&mut text, &[frame(2), frame(2), frame(2), frame(4)]);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "0  0x00000002  ?",
                "… and 2 more of the same call",
                "3  0x00000004  ?"
            ]
        );
    }
}
