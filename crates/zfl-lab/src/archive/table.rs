//! Tables read row by row, by the names of their columns.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use csv::{ErrorKind, StringRecord};
use serde::de::DeserializeOwned;

use super::ArchiveError;

/// What the cells of a column hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellKind {
    /// Whole numbers from 0.
    Integer,
    /// Numbers in double precision; `NaN` and `inf` are some.
    Real,
    /// Words.
    Text,
}

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in the header.
    pub name: &'static str,
    /// What its cells hold.
    pub kind: CellKind,
    /// Whether cells may be empty, and the column missing in the runs of other
    /// versions of zfl.
    pub is_optional: bool,
}

/// A type of which cells are read.
pub trait Cell {
    /// What the cell holds.
    const KIND: CellKind;
    /// Whether it may be empty.
    const IS_OPTIONAL: bool = false;
}

impl Cell for u32 {
    const KIND: CellKind = CellKind::Integer;
}

impl Cell for u64 {
    const KIND: CellKind = CellKind::Integer;
}

impl Cell for f64 {
    const KIND: CellKind = CellKind::Real;
}

impl Cell for String {
    const KIND: CellKind = CellKind::Text;
}

impl<C: Cell> Cell for Option<C> {
    const KIND: CellKind = C::KIND;
    const IS_OPTIONAL: bool = true;
}

/// A row of a table in a run's folder: all its columns, or those that somebody
/// needs. Made by [`table_row!`](crate::table_row).
pub trait Row: DeserializeOwned {
    /// The file in the run's folder.
    const FILE: &'static str;
    /// The columns that are read, in the order of the fields.
    const COLUMNS: &'static [Column];
}

/// Declares a [`Row`](crate::archive::Row): a struct whose fields are the columns
/// that are read. Those of an `Option` may be empty or missing. Needs `serde` in the
/// crate that uses it.
#[macro_export]
macro_rules! table_row {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident in $file:literal {
        $($(#[$of_column:meta])* $column:ident: $cell:ty,)*
    }) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq, serde::Deserialize)]
        $visibility struct $name {
            $($(#[$of_column])* $visibility $column: $cell,)*
        }

        impl $crate::archive::Row for $name {
            const FILE: &'static str = $file;
            const COLUMNS: &'static [$crate::archive::Column] = &[
                $($crate::archive::Column {
                    name: stringify!($column),
                    kind: <$cell as $crate::archive::Cell>::KIND,
                    is_optional: <$cell as $crate::archive::Cell>::IS_OPTIONAL,
                },)*
            ];
        }
    };
}

/// A whole table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table<R> {
    /// Its rows, in the order of the file.
    pub rows: Vec<R>,
    /// The file ends within a row, which is left out: whoever wrote it is not
    /// done, or was cut off.
    pub is_cut_off: bool,
}

/// Cells of the rows of a file, as text.
#[derive(Debug)]
pub(crate) struct Records {
    path: PathBuf,
    /// `None`: there is no such file, or not even a header in it.
    reader: Option<csv::Reader<io::Take<File>>>,
    pub(crate) header: StringRecord,
    record: StringRecord,
    /// Bytes of the file when it was opened: what is added later is not read.
    bytes: u64,
    ends_in_newline: bool,
    is_cut_off: bool,
}

impl Records {
    pub(crate) fn open(path: PathBuf) -> Result<Self, ArchiveError> {
        let mut records = Self {
            path,
            reader: None,
            header: StringRecord::new(),
            record: StringRecord::new(),
            bytes: 0,
            ends_in_newline: true,
            is_cut_off: false,
        };
        let (file, bytes, ends_in_newline) = match open_at_start(&records.path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(records),
            Err(source) => return Err(records.read_error(source)),
        };
        records.bytes = bytes;
        records.ends_in_newline = ends_in_newline;
        let mut reader = csv::Reader::from_reader(file.take(bytes));
        let header = reader.headers().cloned();
        // The header itself may be cut off, in the middle of a character if need be.
        if reader.position().byte() >= bytes && !ends_in_newline {
            records.is_cut_off = true;
            return Ok(records);
        }
        records.header = header.map_err(|error| records.csv_error(error))?;
        if bytes > 0 {
            records.reader = Some(reader);
        }
        Ok(records)
    }

    /// The next row and the line in which it begins.
    pub(crate) fn next(&mut self) -> Option<Result<(&StringRecord, u64), ArchiveError>> {
        let reader = self.reader.as_mut()?;
        let line = reader.position().line();
        let read = reader.read_record(&mut self.record);
        let is_last = reader.position().byte() >= self.bytes;
        match read {
            Ok(false) => {
                self.reader = None;
                None
            }
            // The number in its last cell may lack digits.
            Ok(true) if is_last && !self.ends_in_newline => {
                self.reader = None;
                self.is_cut_off = true;
                None
            }
            Ok(true) => Some(Ok((&self.record, line))),
            // A cell in quotes may hold a newline, and end there.
            Err(error) if is_last && is_cut_off(&error, self.ends_in_newline) => {
                self.reader = None;
                self.is_cut_off = true;
                None
            }
            Err(error) => {
                self.reader = None;
                Some(Err(self.csv_error(error)))
            }
        }
    }

    fn read_error(&self, source: io::Error) -> ArchiveError {
        ArchiveError::Read {
            path: self.path.clone(),
            source,
        }
    }

    fn csv_error(&self, error: csv::Error) -> ArchiveError {
        let line = error.position().map_or(1, csv::Position::line);
        let reason = match error.into_kind() {
            ErrorKind::Io(source) => return self.read_error(source),
            ErrorKind::Utf8 { err, .. } => {
                format!("{} is not UTF-8", self.column(Some(err.field())))
            }
            ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => format!("{len} cells in place of {expected_len}"),
            other => format!("{other:?}"),
        };
        self.row_error(line, reason)
    }

    pub(crate) fn row_error(&self, line: u64, reason: String) -> ArchiveError {
        ArchiveError::Row {
            path: self.path.clone(),
            line,
            reason: super::plain(&reason),
        }
    }

    fn column(&self, field: Option<usize>) -> String {
        match field.and_then(|field| self.header.get(field)) {
            Some(name) => format!("column `{name}`"),
            None => "a cell".to_owned(),
        }
    }

    pub(crate) const fn is_cut_off(&self) -> bool {
        self.is_cut_off
    }
}

/// Whether a row that cannot be read may be one of which the rest is missing.
fn is_cut_off(error: &csv::Error, ends_in_newline: bool) -> bool {
    match error.kind() {
        ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => len < expected_len,
        ErrorKind::Utf8 { .. } => !ends_in_newline,
        _ => false,
    }
}

/// Opens a file at its start: its length, and whether it ends in a newline (or
/// is empty).
fn open_at_start(path: &Path) -> io::Result<(File, u64, bool)> {
    let mut file = super::open_file(path)?;
    let bytes = file.metadata()?.len();
    let mut last = [b'\n'];
    if bytes > 0 {
        file.seek(SeekFrom::Start(bytes - 1))?;
        file.read_exact(&mut last)?;
        file.seek(SeekFrom::Start(0))?;
    }
    Ok((file, bytes, last == [b'\n']))
}

/// The rows of a table, one at a time.
#[derive(Debug)]
pub struct Rows<R> {
    records: Records,
    /// The places of the columns that are read.
    places: Vec<usize>,
    /// Their names.
    names: StringRecord,
    cells: StringRecord,
    row: PhantomData<fn() -> R>,
}

impl<R: Row> Rows<R> {
    pub(super) fn open(folder: &Path) -> Result<Self, ArchiveError> {
        let records = Records::open(folder.join(R::FILE))?;
        let mut places = Vec::new();
        let mut names = StringRecord::new();
        for column in R::COLUMNS {
            match records.header.iter().position(|name| name == column.name) {
                Some(place) => {
                    places.push(place);
                    names.push_field(column.name);
                }
                None if column.is_optional || records.reader.is_none() => {}
                None => {
                    let reason = format!("there is no column `{}`", column.name);
                    return Err(records.row_error(1, reason));
                }
            }
        }
        Ok(Self {
            records,
            places,
            names,
            cells: StringRecord::new(),
            row: PhantomData,
        })
    }

    /// Whether the file ends within a row; known once the rows are over.
    pub const fn is_cut_off(&self) -> bool {
        self.records.is_cut_off()
    }

    /// All that are left.
    ///
    /// # Errors
    /// Which cell is none of its column.
    pub fn collect_table(mut self) -> Result<Table<R>, ArchiveError> {
        let rows = self.by_ref().collect::<Result<_, _>>()?;
        Ok(Table {
            rows,
            is_cut_off: self.is_cut_off(),
        })
    }
}

impl<R: Row> Iterator for Rows<R> {
    type Item = Result<R, ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (record, line) = match self.records.next()? {
            Ok(record) => record,
            Err(error) => return Some(Err(error)),
        };
        self.cells.clear();
        for place in &self.places {
            self.cells
                .push_field(record.get(*place).unwrap_or_default());
        }
        let row = self.cells.deserialize(Some(&self.names));
        Some(row.map_err(|error| {
            let (names, cells) = (&self.names, &self.cells);
            self.records
                .row_error(line, cell_fault(error, names, cells))
        }))
    }
}

/// What is wrong with a cell.
fn cell_fault(error: csv::Error, names: &StringRecord, cells: &StringRecord) -> String {
    let ErrorKind::Deserialize { err, .. } = error.into_kind() else {
        return "a cell cannot be read".to_owned();
    };
    let field = err.field().and_then(|field| usize::try_from(field).ok());
    let cell = field.and_then(|field| Some((names.get(field)?, cells.get(field)?)));
    match cell {
        Some((name, cell)) => format!("column `{name}` is `{}`: {}", shortened(cell), err.kind()),
        None => err.kind().to_string(),
    }
}

/// No more of a cell than is readable in a message.
pub(crate) fn shortened(cell: &str) -> String {
    let short: String = cell.chars().take(40).collect();
    match short.len() == cell.len() {
        true => short,
        false => short + "…",
    }
}
