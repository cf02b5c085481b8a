//! Apache Parquet, read column by column, without Arrow.
//!
//! Columns are flat: numbers, booleans, text. Plain, dictionary and delta
//! encodings, uncompressed or packed by Snappy or Zstandard, which is what
//! pandas, pyarrow, Polars and DuckDB write unless told otherwise.
//!
//! What a file declares is held against [`Limits`] before anything is read, the
//! headers of its pages included: a page unpacks to no more than its header
//! declares. Of gzip the library would unpack whatever there is, so it is refused.

mod pages;

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parquet::basic::{Compression, ConvertedType, LogicalType};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use super::{Cell, Columns, Limits, Place, Roles, Rows, TableErrorKind, Values, open};

/// Cells that are decoded at a time.
const BATCH_ROWS: usize = 8192;

type Reader = SerializedFileReader<File>;

pub(super) fn column_names(path: &Path, limits: Limits) -> Result<Vec<String>, TableErrorKind> {
    guarded(|| Ok(names(&reader(path, limits)?)))
}

pub(super) fn read(path: &Path, columns: &Columns, limits: Limits) -> Result<Rows, TableErrorKind> {
    guarded(|| read_unguarded(path, columns, limits))
}

/// The library panics at some damaged files: where a page's lengths reach
/// beyond it, where a column begins before the file. Nothing of what it was
/// reading into is used then, so that this is one more way to fail.
fn guarded<T>(read: impl FnOnce() -> Result<T, TableErrorKind>) -> Result<T, TableErrorKind> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        Err(TableErrorKind::Read {
            place: None,
            reason: "its pages are damaged; write or copy it again".to_owned(),
        })
    })
}

fn read_unguarded(path: &Path, columns: &Columns, limits: Limits) -> Result<Rows, TableErrorKind> {
    let reader = reader(path, limits)?;
    let mut file = BufReader::new(open(path)?);
    let names = names(&reader);
    let roles = Roles::new(&names, columns)?;
    let mut rows = Rows::of_table(path, &names, &roles, columns);
    let input_count = roles.inputs.len();
    let row_count = row_count(&reader, input_count, limits)?;
    let mut values = vec![0.0; row_count * input_count];
    let mut first_row = 0;
    for index in 0..reader.num_row_groups() {
        let group = reader
            .get_row_group(index)
            .map_err(|error| damaged(None, &error))?;
        let group_rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        let mut column = |position: usize| -> Result<Column<'_>, TableErrorKind> {
            let column = Column {
                chunk: group.metadata().column(position),
                name: names.get(position).map_or("", String::as_str),
                first_row,
                row_count: group_rows,
            };
            column.check(limits)?;
            column.check_pages(&mut file, limits)?;
            Ok(column)
        };
        let cells = |position: usize| {
            let reader = group.get_column_reader(position);
            reader.map_err(|error| damaged(None, &error))
        };
        for (input, position) in roles.inputs.iter().enumerate() {
            let column = column(*position)?;
            column.read(cells(*position)?, |row, cell| {
                let number = cell.number(Place::Row(row as u64), column.name)?;
                if let Some(value) = values.get_mut(row * input_count + input) {
                    *value = number;
                }
                Ok(())
            })?;
        }
        column(roles.label)?.read(cells(roles.label)?, |row, cell| {
            rows.push_label(cell, Place::Row(row as u64))
        })?;
        if let Some(position) = roles.group {
            column(position)?.read(cells(position)?, |row, cell| {
                rows.push_group(cell, Place::Row(row as u64))
            })?;
        }
        first_row += group_rows;
    }
    rows.values = Values::Numbers(values);
    Ok(rows)
}

fn reader(path: &Path, limits: Limits) -> Result<Reader, TableErrorKind> {
    let file = open(path)?;
    let bytes = file.metadata().map_or(0, |metadata| metadata.len());
    if bytes > limits.content_bytes_max {
        return Err(TableErrorKind::TooLarge {
            what: format!("the file has {bytes} bytes"),
            limit: limits.content_bytes_max,
        });
    }
    SerializedFileReader::new(file).map_err(|error| damaged(None, &error))
}

fn names(reader: &Reader) -> Vec<String> {
    let schema = reader.metadata().file_metadata().schema_descr();
    let columns = schema.columns().iter();
    columns.map(|column| column.path().string()).collect()
}

/// Rows of the file, if they are within the limit.
fn row_count(reader: &Reader, input_count: usize, limits: Limits) -> Result<usize, TableErrorKind> {
    let mut counts = reader.metadata().row_groups().iter();
    let sum = counts.try_fold(0usize, |sum, group| {
        sum.checked_add(usize::try_from(group.num_rows()).ok()?)
    });
    sum.filter(|rows| {
        let values = rows.checked_mul(input_count);
        values.is_some_and(|values| values <= limits.values_max)
    })
    .ok_or_else(|| TableErrorKind::TooLarge {
        what: format!("its rows times {input_count} inputs are more values"),
        limit: limits.values_max as u64,
    })
}

/// What the library says of a file, which is damaged then.
fn damaged(place: Option<Place>, error: &ParquetError) -> TableErrorKind {
    TableErrorKind::Read {
        place,
        reason: error.to_string(),
    }
}

/// One column of a row group.
struct Column<'a> {
    chunk: &'a ColumnChunkMetaData,
    name: &'a str,
    /// Its place in the file.
    first_row: usize,
    row_count: usize,
}

impl Column<'_> {
    fn descriptor(&self) -> &ColumnDescriptor {
        self.chunk.column_descr()
    }

    fn refuse(&self, found: String, remedy: &'static str) -> TableErrorKind {
        TableErrorKind::Type {
            what: "column",
            column: self.name.to_owned(),
            found,
            remedy,
        }
    }

    /// Whether it is of a type, packed in a way and of a size that is read.
    fn check(&self, limits: Limits) -> Result<(), TableErrorKind> {
        const NUMBERS: &str =
            "an input is a number: leave the column out with `ignore`, or write it as a float";
        let descriptor = self.descriptor();
        if descriptor.max_rep_level() > 0 || descriptor.path().parts().len() > 1 {
            let remedy = "write a column for each of its parts, or leave it out with `ignore`";
            return Err(self.refuse("a list or a structure".to_owned(), remedy));
        }
        let is_read = match descriptor.logical_type_ref() {
            None => {
                use ConvertedType::{
                    ENUM, INT_8, INT_16, INT_32, INT_64, JSON, NONE, UINT_8, UINT_16, UINT_32,
                    UINT_64, UTF8,
                };
                matches!(
                    descriptor.converted_type(),
                    NONE | UTF8
                        | ENUM
                        | JSON
                        | INT_8
                        | INT_16
                        | INT_32
                        | INT_64
                        | UINT_8
                        | UINT_16
                        | UINT_32
                        | UINT_64
                )
            }
            Some(logical) => matches!(
                logical,
                LogicalType::String
                    | LogicalType::Enum
                    | LogicalType::Json
                    | LogicalType::Integer(_)
            ),
        };
        if !is_read {
            let found = match descriptor.logical_type_ref() {
                Some(logical) => format!("{logical:?}"),
                None => descriptor.converted_type().to_string(),
            };
            // Without its parameters.
            let name = found.split(|letter: char| !letter.is_ascii_alphanumeric());
            let found = name.take(1).collect::<String>().to_lowercase();
            return Err(self.refuse(found, NUMBERS));
        }
        if matches!(self.chunk.compression(), Compression::GZIP(_)) {
            let remedy =
                "packed by gzip it is not read: write the file with the compression snappy or zstd";
            return Err(self.refuse("gzip".to_owned(), remedy));
        }
        let bytes = u64::try_from(self.chunk.uncompressed_size()).unwrap_or(u64::MAX);
        self.check_size(bytes, limits)
    }

    fn check_size(&self, bytes: u64, limits: Limits) -> Result<(), TableErrorKind> {
        match bytes > limits.content_bytes_max {
            false => Ok(()),
            true => Err(TableErrorKind::TooLarge {
                what: format!("column `{}` unpacks to {bytes} bytes", self.name),
                limit: limits.content_bytes_max,
            }),
        }
    }

    /// Whether its pages unpack to a size that is read, whatever the file says of
    /// the column as a whole.
    fn check_pages(
        &self,
        file: &mut BufReader<File>,
        limits: Limits,
    ) -> Result<(), TableErrorKind> {
        let (start, length) = self.chunk.byte_range();
        let bytes = file
            .seek(SeekFrom::Start(start))
            .and_then(|_| pages::unpacked_bytes(file.take(length), limits.content_bytes_max))
            .map_err(|error| TableErrorKind::Read {
                place: None,
                reason: format!("column `{}`: {error}", self.name),
            })?;
        self.check_size(bytes, limits)
    }

    fn is_unsigned(&self) -> bool {
        match self.descriptor().logical_type_ref() {
            Some(LogicalType::Integer(integer)) => !integer.is_signed,
            _ => matches!(
                self.descriptor().converted_type(),
                ConvertedType::UINT_8
                    | ConvertedType::UINT_16
                    | ConvertedType::UINT_32
                    | ConvertedType::UINT_64
            ),
        }
    }

    /// Hands each cell to `take`, with its row in the file.
    fn read(
        &self,
        reader: ColumnReader,
        mut take: impl FnMut(usize, Cell<'_>) -> Result<(), TableErrorKind>,
    ) -> Result<(), TableErrorKind> {
        let is_unsigned = self.is_unsigned();
        match reader {
            ColumnReader::BoolColumnReader(reader) => self.each(reader, |row, value| {
                take(row, Cell::Text(if *value { "true" } else { "false" }))
            }),
            ColumnReader::Int32ColumnReader(reader) => self.each(reader, |row, value| {
                take(
                    row,
                    Cell::Whole(match is_unsigned {
                        true => value.cast_unsigned().into(),
                        false => (*value).into(),
                    }),
                )
            }),
            ColumnReader::Int64ColumnReader(reader) => self.each(reader, |row, value| {
                take(
                    row,
                    Cell::Whole(match is_unsigned {
                        true => value.cast_unsigned().into(),
                        false => (*value).into(),
                    }),
                )
            }),
            ColumnReader::FloatColumnReader(reader) => self.each(reader, |row, value| {
                take(row, Cell::Number(f64::from(*value)))
            }),
            ColumnReader::DoubleColumnReader(reader) => {
                self.each(reader, |row, value| take(row, Cell::Number(*value)))
            }
            ColumnReader::ByteArrayColumnReader(reader) => self.each(reader, |row, value| {
                let text = std::str::from_utf8(value.data()).map_err(|_| {
                    let remedy = "write it as text, or leave it out with `ignore`";
                    self.refuse("bytes that are no UTF-8 text".to_owned(), remedy)
                })?;
                take(row, Cell::Text(text.trim()))
            }),
            ColumnReader::Int96ColumnReader(_) | ColumnReader::FixedLenByteArrayColumnReader(_) => {
                let remedy =
                    "write it as a float, as an integer or as text, or leave it out with `ignore`";
                Err(self.refuse(self.descriptor().physical_type().to_string(), remedy))
            }
        }
    }

    fn each<T: DataType>(
        &self,
        mut reader: ColumnReaderImpl<T>,
        mut take: impl FnMut(usize, &T::T) -> Result<(), TableErrorKind>,
    ) -> Result<(), TableErrorKind> {
        let present = self.descriptor().max_def_level();
        let (mut values, mut levels) = (Vec::new(), Vec::new());
        let mut done = 0;
        while done < self.row_count {
            values.clear();
            levels.clear();
            let wanted = BATCH_ROWS.min(self.row_count - done);
            let place = (done > 0).then(|| Place::Row((self.first_row + done - 1) as u64));
            let (count, _, _) = reader
                .read_records(wanted, Some(&mut levels), None, &mut values)
                .map_err(|error| damaged(place, &error))?;
            let first = self.first_row + done;
            if let Some(absent) = levels.iter().position(|level| *level < present) {
                return Err(TableErrorKind::Missing {
                    place: Place::Row((first + absent) as u64),
                    column: self.name.to_owned(),
                    is_input: true,
                });
            }
            if count == 0 || values.len() != count {
                return Err(TableErrorKind::Read {
                    place,
                    reason: format!(
                        "column `{}` has fewer cells than the file has rows",
                        self.name
                    ),
                });
            }
            for (row, value) in (first..).zip(&values) {
                take(row, value)?;
            }
            done += count;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{TableFormat, TestPart, column_names, load};
    use super::*;
    use crate::dataset::Dataset;
    use crate::testing::{damaged, table_file};

    fn load_file(format: TableFormat, path: &Path, columns: &Columns) -> Result<Dataset, String> {
        let test = TestPart::File(path.to_owned());
        let loaded = load("own", format, path, columns, &test, Limits::default());
        let folder = format!("{}/", path.parent().unwrap().display());
        loaded
            .map(|data| data.train)
            .map_err(|error| error.to_string().replace(&folder, ""))
    }

    fn columns(features: &[&str]) -> Columns {
        Columns {
            label: "state".into(),
            group: Some("machine".into()),
            features: features.iter().map(|name| (*name).to_owned()).collect(),
            ..Columns::default()
        }
    }

    /// The same table in both formats, as pandas writes it with its index.
    #[test]
    fn pandas_writes_the_same_table_twice() {
        let wanted = columns(&[]);
        let parquet = table_file("pandas.parquet");
        let parquet = load_file(TableFormat::Parquet, &parquet, &wanted).unwrap();
        let csv = load_file(TableFormat::Csv, &table_file("pandas.csv"), &wanted).unwrap();
        assert_eq!(parquet.samples(), csv.samples());
        assert_eq!(parquet.labels(), csv.labels());
        assert_eq!(parquet.schema(), csv.schema());
        assert_eq!(parquet.groups(), csv.groups());

        let names: Vec<&str> = csv
            .schema()
            .inputs
            .iter()
            .map(|input| input.name.as_str())
            .collect();
        // Without the index.
        assert_eq!(names, ["whole", "real", "flag"]);
        assert_eq!(csv.samples()[..6], [0, 0, 0, 51, 51, 255]);
        assert_eq!(csv.schema().class_names, ["off", "on", "standby"]);
        assert_eq!(csv.labels(), [0, 1, 1, 2, 0, 1]);
        let groups = csv.groups().unwrap();
        assert_eq!(groups.names, ["m1", "m2"]);
        assert_eq!(groups.members, [1, 1, 0, 0, 1, 0]);
    }

    /// Other types, encodings, pages and compression, and rows in two groups.
    #[test]
    fn other_encodings_are_read() {
        let path = table_file("zstd.parquet");
        let data = load_file(TableFormat::Parquet, &path, &columns(&[])).unwrap();
        let steps = [0, 51, 102, 153, 204, 255];
        let expected: Vec<u8> = steps.iter().flat_map(|step| [*step; 3]).collect();
        assert_eq!(data.samples(), expected);
        let [whole, real, large] = &data.schema().inputs[..] else {
            panic!("{:?}", data.schema());
        };
        assert_eq!((whole.minimum, whole.maximum), (250.0, 255.0));
        assert_eq!((real.minimum, real.maximum), (10.0, 12.5));
        // Beyond what is signed.
        assert_eq!(large.minimum, 2f64.powi(63));
        assert_eq!(data.schema().class_names, ["0", "1", "2"]);
        assert_eq!(data.groups().unwrap().members, [1, 1, 0, 0, 1, 0]);
    }

    #[test]
    fn columns_are_listed() {
        let path = table_file("pandas.parquet");
        let names = column_names(TableFormat::Parquet, &path, Limits::default()).unwrap();
        let expected = [
            "whole",
            "real",
            "flag",
            "machine",
            "state",
            "__index_level_0__",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn what_is_not_read_is_refused() {
        let refused = |file: &str, feature: &str| {
            let wanted = Columns {
                group: None,
                ..columns(&[feature])
            };
            load_file(TableFormat::Parquet, &table_file(file), &wanted).unwrap_err()
        };
        let unusual = |feature: &str| {
            let error = refused("unusual.parquet", feature);
            error
                .strip_prefix("unusual.parquet: ")
                .unwrap_or(&error)
                .to_owned()
        };
        let left_out =
            "an input is a number: leave the column out with `ignore`, or write it as a float";
        assert_eq!(
            unusual("gap"),
            "row 2 (counted from 0), column `gap`: the value is missing; fill it in or delete the row, or leave the column out with `ignore`"
        );
        assert_eq!(
            unusual("nan"),
            "row 3 (counted from 0), column `nan`: the value is missing; fill it in or delete the row, or leave the column out with `ignore`"
        );
        assert_eq!(
            unusual("time"),
            format!("column `time` is of type timestamp; {left_out}")
        );
        assert_eq!(
            unusual("half"),
            format!("column `half` is of type float16; {left_out}")
        );
        assert_eq!(
            unusual("list.list.element"),
            "column `list.list.element` is of type a list or a structure; write a column for each of its parts, or leave it out with `ignore`"
        );
        assert_eq!(
            unusual("text"),
            "row 0 (counted from 0), column `text`: `high` is not a number; an input is a number, and a column of something else is left out with `ignore = [\"text\"]`, or is the `group`"
        );
        assert_eq!(
            unusual("bytes"),
            "column `bytes` is of type bytes that are no UTF-8 text; write it as text, or leave it out with `ignore`"
        );
        assert_eq!(
            unusual("none"),
            "no column `none`, which `features` asks for; there are: gap, nan, time, list.list.element, half, text, bytes, good, state"
        );
        assert_eq!(
            refused("gzip.parquet", "whole"),
            "gzip.parquet: column `whole` is of type gzip; packed by gzip it is not read: write the file with the compression snappy or zstd"
        );
        let csv = refused("pandas.csv", "whole");
        assert!(csv.starts_with("pandas.csv: failed to read: "), "{csv}");
    }

    #[test]
    fn size_is_bounded() {
        let path = table_file("pandas.parquet");
        let bounded = |limits| read(&path, &columns(&[]), limits).map_err(|kind| kind.to_string());
        let limits = Limits::default();
        assert!(
            bounded(Limits {
                values_max: 18,
                ..limits
            })
            .is_ok()
        );
        assert_eq!(
            bounded(Limits {
                values_max: 17,
                ..limits
            })
            .unwrap_err(),
            "too large: its rows times 3 inputs are more values, the limit is 17"
        );
        assert_eq!(
            bounded(Limits {
                content_bytes_max: 1000,
                ..limits
            })
            .unwrap_err(),
            "too large: the file has 4302 bytes, the limit is 1000"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// A damaged file is read or refused: no panic, no endless loop.
        #[test]
        fn a_damaged_file_is_read_or_refused(
            is_pandas: bool,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
            keep in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let name = if is_pandas { "pandas.parquet" } else { "zstd.parquet" };
            let bytes = std::fs::read(table_file(name)).unwrap();
            let bytes = damaged(bytes, changes, keep);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.parquet");
            std::fs::write(&path, &bytes).unwrap();
            let _ = read(&path, &columns(&[]), Limits::default());
        }
    }
}
