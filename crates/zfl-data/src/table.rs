//! Tables and arrays as data sets: CSV, Parquet and NumPy files.
//!
//! A row is a sample. One column says its class, the others are its inputs;
//! one may say which natural group (a machine, a person) a row belongs to.
//! Numbers become bytes: the range of each column over the training rows is
//! cut into 255 equal steps ([`Input`]), so that 0 to 255 stand for 0 to 1
//! wherever the column lay. Values of the test rows beyond that range are
//! clipped, as they would be on a device that knows no other range.
//!
//! Whatever the classes are called, they are numbered in the order of their
//! names: by value where all are numbers, else by their text.
//!
//! [`delimited`] reads CSV, [`columnar`] Parquet, [`arrays`] `.npz`. Readers
//! hand on one cell at a time; what a cell may be is decided here, once.

pub mod arrays;
pub mod columnar;
pub mod delimited;

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write as _};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::dataset::{CLASS_COUNT_MAX, DatasetParts, Input, Schema, TrainTest, test_split};
use crate::folder::{LoadError, VALUE_SCALE_DEFAULT};
use crate::{Dataset, DatasetError, Groups, Targets};

/// How much a file may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of content, unpacked.
    pub content_bytes_max: u64,
    /// Values: samples times inputs.
    pub values_max: usize,
}

impl Default for Limits {
    /// 1 GiB of content and 2²⁷ values, which take as much memory while their
    /// ranges are not known.
    fn default() -> Self {
        Self {
            content_bytes_max: 1 << 30,
            values_max: 1 << 27,
        }
    }
}

/// The kind of a file of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFormat {
    /// Text, plain or gzip ([`delimited`]).
    Csv,
    /// Apache Parquet ([`columnar`]).
    Parquet,
}

/// What is learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Learns {
    /// A class: whatever stands in the column is the name of one.
    #[default]
    Classes,
    /// The number that stands there (regression).
    Values,
}

/// Which column is what.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    /// The column of what is learnt.
    pub label: String,
    /// What stands there.
    pub learns: Learns,
    /// The inputs, in this order; where empty, all other columns that have a
    /// name, in the order of the file.
    pub features: Vec<String>,
    /// Columns that are no inputs; only where `features` is empty.
    pub ignore: Vec<String>,
    /// The column that says which natural group a row belongs to.
    pub group: Option<String>,
    /// The shape of a sample, whose values the inputs are in the order of C: the
    /// last dimension changes fastest. Where empty, a sample is a row.
    pub shape: Vec<usize>,
    /// How values become bytes.
    pub ranges: Ranges,
}

/// Ranges that are given rather than found in the training rows: smallest and
/// largest value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranges {
    /// Of all inputs that have none of their own.
    pub all: Option<(f64, f64)>,
    /// Of single columns.
    pub columns: BTreeMap<String, (f64, f64)>,
}

/// Where the test part comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum TestPart {
    /// A share of the rows, drawn by [`Dataset::split_test`].
    Share {
        /// Between 0 and 1, both excluded.
        fraction: f64,
        /// Decides which.
        seed: u64,
    },
    /// A file of its own, with the same columns.
    File(PathBuf),
}

/// A table that could not be read or makes no data set.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{file}: {}", Plain(kind))]
pub struct TableError {
    /// The file, as given.
    pub file: String,
    /// What is wrong with it.
    pub kind: TableErrorKind,
}

/// Where a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Line of a text file, from 1.
    Line(u64),
    /// Row of a table or sample of an array, from 0.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(formatter, "line {line}"),
            Self::Row(row) => write!(formatter, "row {row} (counted from 0)"),
        }
    }
}

/// What is wrong with a table.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum TableErrorKind {
    /// The file does not open.
    #[error("failed to open: {reason}")]
    Open {
        /// What the system said.
        reason: String,
    },
    /// A folder, a pipe or a device; reading those could wait for ever.
    #[error("not a regular file")]
    NotAFile,
    /// The file is damaged, or the disk is.
    #[error("failed to read{}: {reason}", After(*place))]
    Read {
        /// After where.
        place: Option<Place>,
        /// What the reader said.
        reason: String,
    },
    /// More than the limit.
    #[error("too large: {what}, the limit is {limit}")]
    TooLarge {
        /// What there is of what.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// No header, or no rows below it.
    #[error("no rows: the first line names the columns, and each further line is a sample")]
    NoRows,
    /// No header.
    #[error(
        "the first line `{line}` names no columns; add a line with a name for each column, such as `temperature,vibration,state`"
    )]
    NoHeader {
        /// That line.
        line: String,
    },
    /// Two columns of one name.
    #[error("two columns are named `{column}`; rename one of them")]
    DuplicateColumn {
        /// Their name.
        column: String,
    },
    /// A column that is asked for is not there.
    #[error(
        "no {} `{column}`, which `{role}` asks for; there are: {}",
        what,
        Names(there)
    )]
    NoSuchColumn {
        /// `column` or `array`.
        what: &'static str,
        /// The key that names it.
        role: &'static str,
        /// The name asked for.
        column: String,
        /// What there is.
        there: Vec<String>,
    },
    /// A column has two roles.
    #[error("column `{column}` is asked for by `{first}` and by `{second}`; a column has one role")]
    TwoRoles {
        /// The column.
        column: String,
        /// One key that names it.
        first: &'static str,
        /// Another.
        second: &'static str,
    },
    /// A range is given for what is no input.
    #[error(
        "`ranges` names `{column}`, which is no input; inputs are: {}",
        Names(inputs)
    )]
    RangeOfNone {
        /// The name.
        column: String,
        /// The inputs.
        inputs: Vec<String>,
    },
    /// Values too far apart for steps between them.
    #[error(
        "column `{column}`: from {minimum:e} to {maximum:e} is more than double precision holds; give it a range with `ranges`, or all with `range`"
    )]
    TooWide {
        /// The column.
        column: String,
        /// Its smallest value in the training rows.
        minimum: f64,
        /// Its largest.
        maximum: f64,
    },
    /// All columns have other roles.
    #[error("no column is left for inputs; there are: {}", Names(there))]
    NoInputs {
        /// What there is.
        there: Vec<String>,
    },
    /// Inputs that do not fill the shape of a sample.
    #[error(
        "a sample of shape {shape:?} has {needed} inputs, but {inputs} columns are left for them; `features` names those that are inputs, `ignore` those that are none"
    )]
    NotOfShape {
        /// The shape.
        shape: Vec<usize>,
        /// Inputs of that shape.
        needed: usize,
        /// Columns that are inputs.
        inputs: usize,
    },
    /// A row with too few or too many cells.
    #[error("{place} has {found} cells, but the header names {expected} columns")]
    Ragged {
        /// Where.
        place: Place,
        /// Cells of the row.
        found: u64,
        /// Columns.
        expected: u64,
    },
    /// An empty cell, or one that says that nothing is there.
    #[error(
        "{place}, column `{column}`: the value is missing; fill it in or delete the row{}",
        OrIgnore(*is_input)
    )]
    Missing {
        /// Where.
        place: Place,
        /// Which column.
        column: String,
        /// Whether it may be left out.
        is_input: bool,
    },
    /// An input that is no number.
    #[error(
        "{place}, column `{column}`: `{text}` is not a number{}; an input is a number, and a column of something else is left out with `ignore = [\"{column}\"]`, or is the `group`",
        DecimalComma(text)
    )]
    NotANumber {
        /// Where.
        place: Place,
        /// Which column.
        column: String,
        /// What stands there, or its beginning.
        text: String,
    },
    /// A value to learn that is no number.
    #[error(
        "{place}, column `{column}`: `{text}` is not a number{}; what `target` names is one, and a column of classes is named by `label`",
        DecimalComma(text)
    )]
    NotATarget {
        /// Where.
        place: Place,
        /// Which column.
        column: String,
        /// What stands there, or its beginning.
        text: String,
    },
    /// A number that is infinite, or a value to learn that single precision
    /// cannot hold.
    #[error("{place}, column `{column}`: {value:e} is not a finite number{}", OfSingle(*value))]
    NotFinite {
        /// Where.
        place: Place,
        /// Which column.
        column: String,
        /// What stands there.
        value: f64,
    },
    /// Nothing to tell apart.
    #[error("column `{column}` holds one class only, `{class}`; a model tells at least two apart")]
    OneClass {
        /// The column of labels.
        column: String,
        /// The class.
        class: String,
    },
    /// More classes than a label can name.
    #[error(
        "{place}, column `{column}`: `{class}` is class {}, and there are at most {CLASS_COUNT_MAX}; is it a column of labels?",
        CLASS_COUNT_MAX + 1
    )]
    TooManyClasses {
        /// Where.
        place: Place,
        /// The column of labels.
        column: String,
        /// The first class beyond.
        class: String,
    },
    /// A class of the test part that training knows nothing of.
    #[error(
        "column `{column}`: class `{class}` does not occur in the training part, whose classes are: {}",
        Names(classes)
    )]
    UnknownClass {
        /// The column of labels.
        column: String,
        /// The class.
        class: String,
        /// Those of the training part.
        classes: Vec<String>,
    },
    /// A column or an array of a type that is not read.
    #[error("{what} `{column}` is of type {found}; {remedy}")]
    Type {
        /// `column` or `array`.
        what: &'static str,
        /// Its name.
        column: String,
        /// Its type, as the file calls it.
        found: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Arrays that do not fit one another.
    #[error("array `{array}` has shape {}; {needed}", Shape(shape))]
    Shape {
        /// Its name.
        array: String,
        /// Its shape.
        shape: Vec<u64>,
        /// What is needed.
        needed: String,
    },
}

/// Longest message about a file, in characters.
const MESSAGE_CHARACTERS_MAX: usize = 4096;

/// A message on one line and without what would steer a terminal: it quotes the
/// file, which may come from anywhere.
struct Plain<'a>(&'a TableErrorKind);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        for (position, letter) in text.chars().enumerate() {
            if position == MESSAGE_CHARACTERS_MAX {
                return formatter.write_char('…');
            }
            formatter.write_char(if letter.is_control() { ' ' } else { letter })?;
        }
        Ok(())
    }
}

/// What a finite number is not a finite number of.
struct OfSingle(f64);

impl fmt::Display for OfSingle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.is_finite() {
            true => formatter.write_str(" in single precision"),
            false => Ok(()),
        }
    }
}

struct After(Option<Place>);

impl fmt::Display for After {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(place) => write!(formatter, " after {place}"),
            None => Ok(()),
        }
    }
}

/// So many names are listed in an error.
const NAMES_MAX: usize = 40;

struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, name) in self.0.iter().take(NAMES_MAX).enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(formatter, "{separator}{}", cut(name))?;
        }
        match self.0.len().saturating_sub(NAMES_MAX) {
            0 => Ok(()),
            more => write!(formatter, " and {more} more"),
        }
    }
}

struct OrIgnore(bool);

impl fmt::Display for OrIgnore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            true => formatter.write_str(", or leave the column out with `ignore`"),
            false => Ok(()),
        }
    }
}

struct DecimalComma<'a>(&'a str);

impl fmt::Display for DecimalComma<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.contains(',') && self.0.replace(',', ".").parse::<f64>().is_ok() {
            true => formatter.write_str(" (decimals are written with a point)"),
            false => Ok(()),
        }
    }
}

pub(crate) struct Shape<'a>(pub(crate) &'a [u64]);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<String> = self.0.iter().map(u64::to_string).collect();
        write!(formatter, "({})", sizes.join(", "))
    }
}

/// The beginning of a text, for an error.
fn cut(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Opens a regular file. To open a named pipe is already to wait for its writer.
fn open(path: &Path) -> Result<File, TableErrorKind> {
    let failed = |error: std::io::Error| TableErrorKind::Open {
        reason: error.to_string(),
    };
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(TableErrorKind::NotAFile);
    }
    File::open(path).map_err(failed)
}

fn error(path: &Path) -> impl Fn(TableErrorKind) -> TableError {
    let file = path.display().to_string();
    move |kind| TableError {
        file: file.clone(),
        kind,
    }
}

/// One cell as a reader finds it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cell<'a> {
    Number(f64),
    Whole(i128),
    Text(&'a str),
}

/// What stands for a value that is not there, as pandas and R write and read it.
const MISSING: [&str; 10] = [
    "", "NA", "N/A", "NaN", "nan", "-nan", "null", "NULL", "<NA>", "NaT",
];

impl Cell<'_> {
    fn is_missing(&self) -> bool {
        match self {
            Self::Number(number) => number.is_nan(),
            Self::Whole(_) => false,
            Self::Text(text) => MISSING.contains(text),
        }
    }

    /// As an input.
    fn number(&self, place: Place, column: &str) -> Result<f64, TableErrorKind> {
        if self.is_missing() {
            return Err(TableErrorKind::Missing {
                place,
                column: column.to_owned(),
                is_input: true,
            });
        }
        let number = match self {
            Self::Number(number) => *number,
            Self::Whole(whole) => *whole as f64,
            Self::Text("true" | "True" | "TRUE") => 1.0,
            Self::Text("false" | "False" | "FALSE") => 0.0,
            Self::Text(text) => text.parse().map_err(|_| TableErrorKind::NotANumber {
                place,
                column: column.to_owned(),
                text: cut(text),
            })?,
        };
        match number.is_finite() {
            true => Ok(number),
            false => Err(TableErrorKind::NotFinite {
                place,
                column: column.to_owned(),
                value: number,
            }),
        }
    }

    /// As a value to learn.
    fn target(&self, place: Place, column: &str) -> Result<f32, TableErrorKind> {
        let number = self.number(place, column).map_err(|kind| match kind {
            TableErrorKind::Missing { place, column, .. } => TableErrorKind::Missing {
                place,
                column,
                is_input: false,
            },
            TableErrorKind::NotANumber {
                place,
                column,
                text,
            } => TableErrorKind::NotATarget {
                place,
                column,
                text,
            },
            other => other,
        })?;
        match (number as f32).is_finite() {
            true => Ok(number as f32),
            false => Err(TableErrorKind::NotFinite {
                place,
                column: column.to_owned(),
                value: number,
            }),
        }
    }

    /// As the name of a class or a group.
    fn name(&self, place: Place, column: &str) -> Result<String, TableErrorKind> {
        if self.is_missing() {
            return Err(TableErrorKind::Missing {
                place,
                column: column.to_owned(),
                is_input: false,
            });
        }
        Ok(match self {
            Self::Number(number) => number.to_string(),
            Self::Whole(whole) => whole.to_string(),
            Self::Text(text) => (*text).to_owned(),
        })
    }
}

/// Which position of a row is what.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Roles {
    /// Positions of the inputs, in their order.
    inputs: Vec<usize>,
    label: usize,
    group: Option<usize>,
}

/// pandas writes its index as a column without a name into CSV, and under this
/// one into Parquet. It numbers the rows, which is nothing to learn from.
const INDEX_COLUMN: &str = "__index_level_0__";

impl Roles {
    fn new(there: &[String], columns: &Columns) -> Result<Self, TableErrorKind> {
        let mut positions: HashMap<&str, usize> = HashMap::new();
        for (position, name) in there.iter().enumerate() {
            let is_taken = positions.insert(name, position).is_some();
            if is_taken && !name.is_empty() {
                return Err(TableErrorKind::DuplicateColumn {
                    column: name.clone(),
                });
            }
        }
        let find = |role: &'static str, name: &str| {
            let position = positions.get(name).copied();
            position.ok_or_else(|| TableErrorKind::NoSuchColumn {
                what: "column",
                role,
                column: name.to_owned(),
                there: there.to_vec(),
            })
        };
        let mut roles: HashMap<usize, &'static str> = HashMap::new();
        let mut claim = |role: &'static str, name: &str| {
            let position = find(role, name)?;
            match roles.insert(position, role) {
                None => Ok(position),
                Some(first) => Err(TableErrorKind::TwoRoles {
                    column: name.to_owned(),
                    first,
                    second: role,
                }),
            }
        };
        let role = match columns.learns {
            Learns::Classes => "label",
            Learns::Values => "target",
        };
        let label = claim(role, &columns.label)?;
        let group = match &columns.group {
            None => None,
            Some(name) => Some(claim("group", name)?),
        };
        for name in &columns.ignore {
            claim("ignore", name)?;
        }
        let mut inputs = Vec::new();
        for name in &columns.features {
            inputs.push(claim("features", name)?);
        }
        if columns.features.is_empty() {
            let is_input = |(position, name): &(usize, &String)| {
                !roles.contains_key(position) && !name.is_empty() && *name != INDEX_COLUMN
            };
            let all = there.iter().enumerate().filter(is_input);
            inputs = all.map(|(position, _)| position).collect();
        }
        if inputs.is_empty() {
            return Err(TableErrorKind::NoInputs {
                there: there.to_vec(),
            });
        }
        let sizes = columns.shape.iter();
        let needed = sizes.fold(1usize, |needed, size| needed.saturating_mul(*size));
        if !columns.shape.is_empty() && needed != inputs.len() {
            return Err(TableErrorKind::NotOfShape {
                shape: columns.shape.clone(),
                needed,
                inputs: inputs.len(),
            });
        }
        Ok(Self {
            inputs,
            label,
            group,
        })
    }

    fn input_names(&self, there: &[String]) -> Vec<String> {
        let names = self.inputs.iter().filter_map(|input| there.get(*input));
        names.cloned().collect()
    }
}

/// Names, each kept once, and which of them each row has.
#[derive(Debug, Default)]
struct Interned {
    column: String,
    names: Vec<String>,
    numbers: HashMap<String, u32>,
    rows: Vec<u32>,
}

impl Interned {
    fn new(column: &str) -> Self {
        Self {
            column: column.to_owned(),
            ..Self::default()
        }
    }

    fn push(&mut self, name: String) {
        // No file within the limits has 2³² rows.
        let next = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        let number = match self.numbers.get(&name) {
            Some(number) => *number,
            None => {
                self.names.push(name.clone());
                self.numbers.insert(name, next);
                next
            }
        };
        self.rows.push(number);
    }

    fn groups(&self) -> Groups {
        let distinct = Groups::from_names(&self.names);
        let member = |row: &u32| distinct.members.get(*row as usize).copied();
        Groups {
            members: self.rows.iter().filter_map(member).collect(),
            names: distinct.names,
        }
    }

    /// The same, numbered in the order of the names: by value where all are
    /// numbers, else by their text.
    fn sorted(&self) -> (Vec<String>, Vec<u32>) {
        let numbers: Option<Vec<f64>> = self.names.iter().map(|name| name.parse().ok()).collect();
        let mut order: Vec<usize> = (0..self.names.len()).collect();
        order.sort_by(|a, b| {
            let by_value = numbers.as_ref().and_then(|numbers| {
                let (a, b) = (numbers.get(*a)?, numbers.get(*b)?);
                Some(a.total_cmp(b))
            });
            let by_text = || self.names.get(*a).cmp(&self.names.get(*b));
            by_value.map_or_else(by_text, |order| order.then_with(by_text))
        });
        let names = order.iter().filter_map(|old| self.names.get(*old)).cloned();
        let mut new_numbers = vec![0; self.names.len()];
        for (new, old) in (0u32..).zip(&order) {
            if let Some(number) = new_numbers.get_mut(*old) {
                *number = new;
            }
        }
        let renumbered = |old: &u32| new_numbers.get(*old as usize).copied();
        let rows = self.rows.iter().filter_map(renumbered).collect();
        (names.collect(), rows)
    }
}

/// Values of all inputs, `[row][input]`.
#[derive(Debug)]
enum Values {
    /// Bytes already.
    Bytes(Vec<u8>),
    Numbers(Vec<f64>),
}

/// What a reader has found.
#[derive(Debug)]
struct Rows {
    /// Where, for errors.
    file: PathBuf,
    /// Of one sample.
    shape: Vec<usize>,
    input_names: Vec<String>,
    values: Values,
    labels: Interned,
    /// In place of labels, where values are learnt.
    targets: Option<Targets>,
    groups: Option<Interned>,
}

impl Rows {
    /// Rows of a table.
    fn of_table(path: &Path, there: &[String], roles: &Roles, columns: &Columns) -> Self {
        let name = |position: usize| there.get(position).map_or("", String::as_str);
        let targets = || Targets {
            name: name(roles.label).to_owned(),
            values: Vec::new(),
        };
        Self {
            file: path.to_owned(),
            shape: match columns.shape.is_empty() {
                true => vec![roles.inputs.len()],
                false => columns.shape.clone(),
            },
            input_names: roles.input_names(there),
            values: Values::Numbers(Vec::new()),
            labels: Interned::new(name(roles.label)),
            targets: (columns.learns == Learns::Values).then(targets),
            groups: roles.group.map(|group| Interned::new(name(group))),
        }
    }

    fn push_label(&mut self, cell: Cell<'_>, place: Place) -> Result<(), TableErrorKind> {
        if let Some(targets) = &mut self.targets {
            targets.values.push(cell.target(place, &targets.name)?);
            return Ok(());
        }
        let class = cell.name(place, &self.labels.column)?;
        self.labels.push(class);
        match self.labels.names.get(CLASS_COUNT_MAX) {
            None => Ok(()),
            Some(class) => Err(TableErrorKind::TooManyClasses {
                place,
                column: self.labels.column.clone(),
                class: cut(class),
            }),
        }
    }

    fn push_group(&mut self, cell: Cell<'_>, place: Place) -> Result<(), TableErrorKind> {
        if let Some(groups) = &mut self.groups {
            let name = cell.name(place, &groups.column)?;
            groups.push(name);
        }
        Ok(())
    }

    fn row_count(&self) -> usize {
        match &self.targets {
            None => self.labels.rows.len(),
            Some(targets) => targets.values.len(),
        }
    }
}

/// Loads a data set called `name` from a table.
///
/// # Errors
/// [`LoadError::Table`] with the file and, where there is one, the cell;
/// [`LoadError::Dataset`] where the share for testing leaves a part empty.
pub fn load(
    name: &str,
    format: TableFormat,
    file: &Path,
    columns: &Columns,
    test: &TestPart,
    limits: Limits,
) -> Result<TrainTest, LoadError> {
    let read = |path: &Path, columns: &Columns| {
        match format {
            TableFormat::Csv => delimited::read(path, columns, limits),
            TableFormat::Parquet => columnar::read(path, columns, limits),
        }
        .map_err(error(path))
    };
    let train = read(file, columns)?;
    let test = match test {
        TestPart::Share { fraction, seed } => Test::Share(*fraction, *seed),
        // Columns may be in another order there, and there may be others.
        TestPart::File(path) => Test::Rows(Box::new(read(
            path,
            &Columns {
                features: train.input_names.clone(),
                ignore: Vec::new(),
                // Nobody holds test rows.
                group: None,
                ..columns.clone()
            },
        )?)),
    };
    data_set(name, train, test, &columns.ranges)
}

/// The names of the columns of a table, in the order of the file.
///
/// # Errors
/// [`TableError`] if it cannot be read.
pub fn column_names(
    format: TableFormat,
    file: &Path,
    limits: Limits,
) -> Result<Vec<String>, TableError> {
    match format {
        TableFormat::Csv => delimited::column_names(file, limits),
        TableFormat::Parquet => columnar::column_names(file, limits),
    }
    .map_err(error(file))
}

/// Where the test rows come from.
enum Test {
    /// Fraction and seed.
    Share(f64, u64),
    Rows(Box<Rows>),
}

/// Numbers the classes, maps the values onto bytes, and splits.
fn data_set(name: &str, train: Rows, test: Test, ranges: &Ranges) -> Result<TrainTest, LoadError> {
    let fault = error(&train.file);
    if train.row_count() == 0 {
        return Err(fault(TableErrorKind::NoRows).into());
    }
    let (class_names, labels) = train.labels.sorted();
    if let ([class], None) = (class_names.as_slice(), &train.targets) {
        return Err(fault(TableErrorKind::OneClass {
            column: train.labels.column,
            class: cut(class),
        })
        .into());
    }
    let split = match &test {
        Test::Rows(_) => None,
        Test::Share(fraction, seed) => {
            let rows = train.row_count();
            Some(
                test_split(*seed, *fraction, rows).ok_or_else(|| DatasetError::TestFraction {
                    name: name.to_owned(),
                    test_fraction: *fraction,
                    sample_count: rows,
                })?,
            )
        }
    };
    let training_rows = split.as_ref().map(|(_, train)| train.as_slice());
    let inputs = inputs(&train, training_rows, ranges).map_err(&fault)?;
    let schema = Arc::new(Schema {
        inputs,
        class_names,
    });
    let whole = part(name, &train, labels, &schema)?;
    match test {
        Test::Share(fraction, seed) => Ok(whole.split_test(seed, fraction)?),
        Test::Rows(rows) => {
            let labels = known_labels(&rows, &schema.class_names).map_err(error(&rows.file))?;
            if rows.row_count() == 0 {
                return Err(error(&rows.file)(TableErrorKind::NoRows).into());
            }
            Ok(TrainTest {
                train: whole,
                test: part(name, &rows, labels, &schema)?,
            })
        }
    }
}

/// The range of each input; none where values are bytes and no range is given.
fn inputs(
    rows: &Rows,
    training_rows: Option<&[u32]>,
    ranges: &Ranges,
) -> Result<Vec<Input>, TableErrorKind> {
    let is_input = |name: &String| rows.input_names.contains(name);
    if let Some(column) = ranges.columns.keys().find(|name| !is_input(name)) {
        return Err(TableErrorKind::RangeOfNone {
            column: column.clone(),
            inputs: rows.input_names.clone(),
        });
    }
    let count = rows.input_names.len();
    let mut found = vec![(f64::INFINITY, f64::NEG_INFINITY); count];
    match &rows.values {
        Values::Bytes(_) if ranges.all.is_none() => return Ok(Vec::new()),
        Values::Bytes(_) => {}
        Values::Numbers(values) => {
            let mut widen = |row: &[f64]| {
                for ((low, high), value) in found.iter_mut().zip(row) {
                    *low = low.min(*value);
                    *high = high.max(*value);
                }
            };
            match training_rows {
                None => values.chunks_exact(count.max(1)).for_each(widen),
                Some(indices) => {
                    for index in indices {
                        let start = *index as usize * count;
                        widen(values.get(start..start + count).unwrap_or_default());
                    }
                }
            }
        }
    }
    // An image has one range: its pixels are compared with one another.
    if rows.shape.len() > 1 {
        let whole = found.iter().fold(
            (f64::INFINITY, f64::NEG_INFINITY),
            |(low, high), (other_low, other_high)| (low.min(*other_low), high.max(*other_high)),
        );
        found.fill(whole);
    }
    let named = rows.input_names.iter().zip(found);
    named
        .map(|(name, found)| {
            let given = ranges.columns.get(name).copied().or(ranges.all);
            let (minimum, maximum) = given.unwrap_or(found);
            match (maximum - minimum).is_finite() {
                true => Ok(Input {
                    name: name.clone(),
                    minimum,
                    maximum,
                }),
                false => Err(TableErrorKind::TooWide {
                    column: name.clone(),
                    minimum,
                    maximum,
                }),
            }
        })
        .collect()
}

fn part(
    name: &str,
    rows: &Rows,
    labels: Vec<u32>,
    schema: &Arc<Schema>,
) -> Result<Dataset, DatasetError> {
    let byte = |(index, value): (usize, f64)| {
        let input = schema.inputs.get(index % schema.inputs.len().max(1));
        input.map_or(0, |input| input.byte(value))
    };
    let samples = match &rows.values {
        Values::Bytes(bytes) if schema.inputs.is_empty() => bytes.clone(),
        Values::Bytes(bytes) => {
            let numbers = bytes.iter().copied().map(f64::from);
            numbers.enumerate().map(byte).collect()
        }
        Values::Numbers(numbers) => numbers.iter().copied().enumerate().map(byte).collect(),
    };
    let parts = DatasetParts {
        name: name.to_owned(),
        origin: rows.file.display().to_string(),
        sample_shape: rows.shape.clone(),
        samples,
        // No more than 256 classes: `Rows::push_label` sees to it.
        labels: labels.iter().map(|label| *label as u8).collect(),
        class_count: schema.class_names.len(),
        value_scale: VALUE_SCALE_DEFAULT,
        schema: Arc::clone(schema),
        groups: rows.groups.as_ref().map(Interned::groups),
    };
    match &rows.targets {
        None => Dataset::new(parts),
        Some(targets) => Dataset::with_targets(parts, targets.clone()),
    }
}

/// The labels of test rows, in the numbers of the training part.
fn known_labels(rows: &Rows, classes: &[String]) -> Result<Vec<u32>, TableErrorKind> {
    let mut numbers = Vec::new();
    for class in &rows.labels.names {
        let number = classes
            .iter()
            .zip(0u32..)
            .find(|(known, _)| *known == class);
        let (_, number) = number.ok_or_else(|| TableErrorKind::UnknownClass {
            column: rows.labels.column.clone(),
            class: cut(class),
            classes: classes.to_vec(),
        })?;
        numbers.push(number);
    }
    let known = |row: &u32| numbers.get(*row as usize).copied();
    Ok(rows.labels.rows.iter().filter_map(known).collect())
}
