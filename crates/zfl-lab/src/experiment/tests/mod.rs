//! What is accepted, and what is said of what is not.

mod coordinator;
mod data;
mod documents;
mod every_key;
mod faults;
mod file;
mod fleet;
mod link;
mod model;
mod partition;
mod set;
mod training;
mod written;

use std::fmt::Write as _;

use super::*;

const BOARDS: [&str; 3] = ["mps2-an385", "mps2-an386", "mps2-an500"];

const FLEET: &str = "[[fleet]]\nboard = \"mps2-an386\"\ncount = 10\n";

fn parse_with(text: &str, sets: &[&str]) -> Result<Experiment, ExperimentError> {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    Experiment::parse(text, "trial.toml", &sets, &BOARDS)
}

fn experiment(text: &str, sets: &[&str]) -> Experiment {
    parse_with(text, sets).unwrap_or_else(|error| panic!("{}", shown(&error)))
}

/// The message, the line it points at, and the help.
fn shown(error: &ExperimentError) -> String {
    let mut shown = error.to_string();
    if let Some(text) = error.text() {
        let span = error.span();
        let line_start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let line = text[line_start..].lines().next().unwrap_or_default();
        let line_end = line_start + line.len();
        let marked = text[span.start..span.end.min(line_end).max(span.start)]
            .chars()
            .count();
        let indent = text[line_start..span.start].chars().count();
        let mark = "^".repeat(marked.max(1));
        let _ = write!(shown, "\n| {line}\n| {:indent$}{mark}", "");
    }
    if let Some(help) = error.help() {
        let _ = write!(shown, "\nhelp: {help}");
    }
    shown
}

fn refused(text: &str) -> String {
    set_refused(text, &[])
}

fn set_refused(text: &str, sets: &[&str]) -> String {
    match parse_with(text, sets) {
        Ok(experiment) => panic!("accepted: {experiment:?}"),
        Err(error) => shown(&error),
    }
}
