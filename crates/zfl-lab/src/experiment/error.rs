//! What is wrong with an experiment, and where.

use std::fmt;
use std::ops::Range;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use toml::de::DeTable;

use super::keys;

/// Longest message, in bytes: a message quotes the file, and the file may hold
/// a string of a mebibyte.
const MESSAGE_BYTES_MAX: usize = 300;

/// An experiment that cannot be used: what is wrong, where, what is allowed.
///
/// As text it begins with the place, `FILE:LINE:COLUMN`, or with the `--set`
/// at fault. As a [`Diagnostic`] it shows the line.
#[derive(Debug)]
pub struct ExperimentError(Box<Report>);

#[derive(Debug)]
struct Report {
    place: String,
    line_column: Option<(usize, usize)>,
    message: String,
    help: Option<String>,
    source: Option<NamedSource<String>>,
    span: Range<usize>,
}

impl ExperimentError {
    /// An error about a file of which there is no text to show.
    pub(crate) fn without_text(file_name: &str, message: String, help: Option<String>) -> Self {
        Self(Box::new(Report {
            place: file_name.to_owned(),
            line_column: None,
            message,
            help,
            source: None,
            span: 0..0,
        }))
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What is allowed.
    pub fn help(&self) -> Option<&str> {
        self.0.help.as_deref()
    }

    /// The file, or the `--set` at fault.
    pub fn place(&self) -> &str {
        &self.0.place
    }

    /// Line and column (in characters) of the file, both from 1; `None` if the
    /// file could not be read, or a `--set` is at fault.
    pub fn line_column(&self) -> Option<(usize, usize)> {
        self.0.line_column
    }

    /// The text at fault: the file's, or the `KEY=VALUE` of a `--set`.
    pub fn text(&self) -> Option<&str> {
        self.0.source.as_ref().map(|source| source.inner().as_str())
    }

    /// Where in [`ExperimentError::text`], in bytes.
    pub fn span(&self) -> Range<usize> {
        self.0.span.clone()
    }
}

impl fmt::Display for ExperimentError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.place)?;
        if let Some((line, column)) = self.0.line_column {
            write!(formatter, ":{line}:{column}")?;
        }
        write!(formatter, ": {}", self.0.message)
    }
}

impl std::error::Error for ExperimentError {}

impl Diagnostic for ExperimentError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help()
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.0
            .source
            .as_ref()
            .map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.0.source.as_ref()?;
        Some(Box::new(std::iter::once(LabeledSpan::underline(
            self.0.span.clone(),
        ))))
    }
}

/// What is wrong, and where in the text of file and sets together.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Fault {
    /// Text that is not TOML.
    pub(crate) fn syntax(error: toml::de::Error) -> Self {
        Self {
            span: error.span().unwrap_or_default(),
            message: error.message().to_owned(),
            help: Some("TOML: `key = value` lines under `[table]` headers, text in quotes".into()),
        }
    }

    /// A value of the wrong type, or a key that is missing.
    pub(super) fn shape(error: &toml::de::Error, tree: &DeTable<'_>) -> Self {
        let span = error.span().unwrap_or_default();
        let path = keys::path_at(tree, &span).unwrap_or_default();
        let message = match error.message().strip_prefix("missing field ") {
            Some(key) => format!("missing key {key}"),
            // TOML's words for what serde calls otherwise.
            None => error
                .message()
                .replacen("invalid type: map,", "invalid type: table,", 1)
                .replacen("invalid type: sequence,", "invalid type: list,", 1)
                .replace(", expected a sequence", ", expected a list"),
        };
        Self {
            span,
            message: if path.is_empty() {
                message
            } else {
                format!("`{}`: {message}", path.join("."))
            },
            help: keys::help(&path),
        }
    }
}

/// The texts that an experiment comes from, with one range of positions for
/// all of them: the file from 0, then each `--set` after the one before, a byte
/// apart.
pub(crate) struct Sources<'a> {
    file_name: &'a str,
    text: &'a str,
    sets: &'a [String],
}

impl<'a> Sources<'a> {
    pub(crate) fn new(file_name: &'a str, text: &'a str, sets: &'a [String]) -> Self {
        Self {
            file_name,
            text,
            sets,
        }
    }

    pub(super) fn file_name(&self) -> &'a str {
        self.file_name
    }

    /// The position of the first byte of the set `index`.
    pub(super) fn set_offset(&self, index: usize) -> usize {
        let before = self.sets.iter().take(index);
        self.text.len() + 1 + before.map(|set| set.len() + 1).sum::<usize>()
    }

    /// Whether the value there comes from a `--set`.
    pub(super) fn is_set(&self, span: &Range<usize>) -> bool {
        span.start > self.text.len()
    }

    /// The set that `span` lies in, and where in it.
    fn set_at(&self, span: &Range<usize>) -> Option<(&'a str, Range<usize>)> {
        (0..self.sets.len()).find_map(|index| {
            let (set, offset) = (self.sets.get(index)?, self.set_offset(index));
            let inside = offset..=offset + set.len();
            (inside.contains(&span.start) && inside.contains(&span.end))
                .then(|| (set.as_str(), span.start - offset..span.end - offset))
        })
    }

    /// What stands at `span`, shortened.
    pub(super) fn quote(&self, span: &Range<usize>) -> String {
        let text = match self.set_at(span) {
            Some((set, span)) => set.get(span),
            None => self.text.get(span.clone()),
        };
        shorten(text.unwrap_or_default().trim(), 60)
    }

    pub(crate) fn error(&self, fault: Fault) -> ExperimentError {
        let (place, text, span, line_column) = match self.set_at(&fault.span) {
            Some((set, span)) => (
                format!("--set {}", shorten(set, 120)),
                NamedSource::new("--set", set.to_owned()),
                span,
                None,
            ),
            None => {
                let span = clamp(self.text, &fault.span);
                let line_column = line_column(self.text, span.start);
                (
                    self.file_name.to_owned(),
                    NamedSource::new(self.file_name, self.text.to_owned()),
                    span,
                    Some(line_column),
                )
            }
        };
        ExperimentError(Box::new(Report {
            place,
            line_column,
            message: shorten(&fault.message, MESSAGE_BYTES_MAX),
            help: fault.help,
            source: Some(text),
            span,
        }))
    }
}

/// `text` on one line, without what would steer a terminal, in at most `bytes`
/// bytes and a mark.
pub(crate) fn shorten(text: &str, bytes: usize) -> String {
    let mut short = String::new();
    for letter in text.chars() {
        if short.len() + letter.len_utf8() > bytes {
            short.push('…');
            break;
        }
        short.push(if letter.is_control() { ' ' } else { letter });
    }
    short
}

/// `span` on whole characters of `text`.
fn clamp(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start);
    start..text.floor_char_boundary(span.end).max(start)
}

/// Line and column of a position, from 1.
fn line_column(text: &str, position: usize) -> (usize, usize) {
    let before = text.get(..position).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}
