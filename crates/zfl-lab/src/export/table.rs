//! A table as Parquet.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};

use super::{ExportError, whole};
use crate::archive::{Archive, CellKind, Column, Records, Row, shortened};

/// Rows that are in memory at a time, and of a row group.
const GROUP_ROWS_MAX: usize = 1 << 15;

/// Writes a table beside the CSV that it is made from; its path.
pub(super) fn write<R: Row>(archive: &Archive) -> Result<PathBuf, ExportError> {
    let mut records = Records::open(archive.path().join(R::FILE))?;
    let path = archive.path().join(R::FILE).with_extension("parquet");
    let mut columns: Vec<Buffer> = records
        .header
        .iter()
        .map(|name| Buffer::new(name, R::COLUMNS.iter().find(|column| column.name == name)))
        .collect();
    whole(&path, |file| {
        let failed = parquet_error(&path);
        let mut writer = open(file, &columns).map_err(&failed)?;
        let mut rows = 0;
        while let Some(record) = records.next() {
            let (record, line) = record?;
            let fault = columns
                .iter_mut()
                .zip(record)
                .find_map(|(column, cell)| column.push(cell).err());
            if let Some(reason) = fault {
                return Err(records.row_error(line, reason).into());
            }
            rows += 1;
            if rows == GROUP_ROWS_MAX {
                write_group(&mut writer, &mut columns).map_err(&failed)?;
                rows = 0;
            }
        }
        if rows > 0 {
            write_group(&mut writer, &mut columns).map_err(&failed)?;
        }
        writer.close().map_err(&failed)?;
        Ok(())
    })?;
    Ok(path)
}

fn parquet_error(path: &Path) -> impl Fn(ParquetError) -> ExportError {
    move |error| ExportError::Write {
        path: path.to_owned(),
        source: match error {
            ParquetError::External(source) => io::Error::other(source),
            error => io::Error::other(error),
        },
    }
}

fn open(file: File, columns: &[Buffer]) -> Result<SerializedFileWriter<File>, ParquetError> {
    let fields = columns
        .iter()
        .map(|column| Ok(Arc::new(column.schema()?)))
        .collect::<Result<Vec<TypePtr>, ParquetError>>()?;
    let schema = Type::group_type_builder("schema").with_fields(fields);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by(format!("zfl {}", env!("CARGO_PKG_VERSION")))
        .build();
    SerializedFileWriter::new(file, Arc::new(schema.build()?), Arc::new(properties))
}

/// Writes what the columns hold, and empties them.
fn write_group(
    writer: &mut SerializedFileWriter<File>,
    columns: &mut [Buffer],
) -> Result<(), ParquetError> {
    let mut group = writer.next_row_group()?;
    for column in columns {
        if let Some(mut out) = group.next_column()? {
            column.write(&mut out)?;
            out.close()?;
        }
    }
    group.close()?;
    Ok(())
}

/// Cells of a column that are not written yet.
struct Buffer {
    name: String,
    is_optional: bool,
    /// For each cell 1, or 0 where it is empty; only of a column that may have such.
    levels: Vec<i16>,
    cells: Cells,
}

enum Cells {
    Integer(Vec<i64>),
    Real(Vec<f64>),
    Text(Vec<ByteArray>),
}

impl Buffer {
    /// A column; `known` where this version knows it.
    fn new(name: &str, known: Option<&Column>) -> Self {
        Self {
            name: name.to_owned(),
            is_optional: known.is_none_or(|column| column.is_optional),
            levels: Vec::new(),
            cells: match known.map_or(CellKind::Text, |column| column.kind) {
                CellKind::Integer => Cells::Integer(Vec::new()),
                CellKind::Real => Cells::Real(Vec::new()),
                CellKind::Text => Cells::Text(Vec::new()),
            },
        }
    }

    fn schema(&self) -> Result<Type, ParquetError> {
        let (physical, logical) = match &self.cells {
            Cells::Integer(_) => (Physical::INT64, None),
            Cells::Real(_) => (Physical::DOUBLE, None),
            Cells::Text(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let repetition = match self.is_optional {
            true => Repetition::OPTIONAL,
            false => Repetition::REQUIRED,
        };
        Type::primitive_type_builder(&self.name, physical)
            .with_logical_type(logical)
            .with_repetition(repetition)
            .build()
    }

    /// Takes in a cell; says what is wrong with it.
    fn push(&mut self, cell: &str) -> Result<(), String> {
        if self.is_optional {
            self.levels.push(i16::from(!cell.is_empty()));
            if cell.is_empty() {
                return Ok(());
            }
        }
        let fault = |error: &dyn std::fmt::Display| {
            format!("column `{}` is `{}`: {error}", self.name, shortened(cell))
        };
        match &mut self.cells {
            Cells::Integer(cells) => cells.push(cell.parse().map_err(|error| fault(&error))?),
            Cells::Real(cells) => cells.push(cell.parse().map_err(|error| fault(&error))?),
            Cells::Text(cells) => cells.push(cell.into()),
        }
        Ok(())
    }

    /// Writes the cells, and forgets them.
    fn write(&mut self, out: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = self.is_optional.then_some(self.levels.as_slice());
        match &mut self.cells {
            Cells::Integer(cells) => {
                out.typed::<Int64Type>().write_batch(cells, levels, None)?;
                cells.clear();
            }
            Cells::Real(cells) => {
                out.typed::<DoubleType>().write_batch(cells, levels, None)?;
                cells.clear();
            }
            Cells::Text(cells) => {
                let out = out.typed::<ByteArrayType>();
                out.write_batch(cells, levels, None)?;
                cells.clear();
            }
        }
        self.levels.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;

    use super::*;
    use crate::archive::tests::{ROUND_HEADER, archive, folder, round, rounds_of_numbers};
    use crate::archive::{Client, Round};

    fn rows(path: &Path) -> Vec<Vec<(String, Field)>> {
        let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
        let row = |row: parquet::errors::Result<parquet::record::Row>| {
            let columns = row.unwrap().into_columns();
            columns.into_iter().collect()
        };
        reader.get_row_iter(None).unwrap().map(row).collect()
    }

    #[test]
    fn cells_have_the_type_of_their_column() {
        let header = ROUND_HEADER.replace(",model_sha256", ",of_the_future,model_sha256");
        let row = |number, accuracy| round(number, accuracy).replacen(",ab", ",ä,ab", 1);
        let text = [
            header,
            row(1, "0.25"),
            row(2, ""),
            row(3, "NaN"),
            "4,".to_owned(),
        ]
        .concat();
        let folder = folder(&[("rounds.csv", &text)]);
        let path = write::<Round>(&archive(&folder)).unwrap();
        assert_eq!(path, folder.path().join("rounds.parquet"));
        let rows = rows(&path);
        assert_eq!(rows.len(), 3);
        let cell = |row: usize, name: &str| {
            let (_, field) = rows[row].iter().find(|(column, _)| column == name).unwrap();
            field.clone()
        };
        assert_eq!(cell(0, "round"), Field::Long(1));
        assert_eq!(cell(0, "accuracy"), Field::Double(0.25));
        assert_eq!(cell(1, "accuracy"), Field::Null);
        assert!(matches!(cell(2, "accuracy"), Field::Double(value) if value.is_nan()));
        assert_eq!(cell(2, "model_sha256"), Field::Str("ab3".to_owned()));
        assert_eq!(cell(2, "of_the_future"), Field::Str("ä".to_owned()));
        assert_eq!(cell(2, "drops"), Field::Long(4));
        let names: Vec<&str> = rows[0].iter().map(|(name, _)| &**name).collect();
        assert_eq!(Some(&*names.join(",")), text.lines().next());

        let before = std::fs::read(&path).unwrap();
        write::<Round>(&archive(&folder)).unwrap();
        assert!(before == std::fs::read(&path).unwrap());
    }

    #[test]
    fn errors_of_numbers_are_reals() {
        let folder = folder(&[("rounds.csv", &rounds_of_numbers(&["3.5", ""]))]);
        let rows = rows(&write::<Round>(&archive(&folder)).unwrap());
        let row: Vec<_> = rows[0].iter().skip(1).take(4).cloned().collect();
        let expected = [
            ("accuracy", Field::Null),
            ("loss", Field::Double(0.5)),
            ("rmse", Field::Double(3.5)),
            ("r_squared", Field::Double(0.25)),
        ];
        assert_eq!(row, expected.map(|(name, field)| (name.to_owned(), field)));
        assert!(rows[1].contains(&("rmse".to_owned(), Field::Null)));
    }

    #[test]
    fn rows_of_several_groups_are_all_there() {
        let count = GROUP_ROWS_MAX + 2;
        let mut text = "round,detail\n".to_owned();
        for number in 0..count {
            text.push_str(&format!(
                "{number},{}\n",
                if number % 3 == 0 { "x" } else { "" }
            ));
        }
        let folder = folder(&[("clients.csv", &text)]);
        let path = write::<Client>(&archive(&folder)).unwrap();
        let file = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
        assert_eq!(file.metadata().num_row_groups(), 2);
        let rows = rows(&path);
        assert_eq!(rows.len(), count);
        for (number, row) in rows.iter().enumerate() {
            assert_eq!(row[0].1, Field::Long(i64::try_from(number).unwrap()));
            assert_eq!(row[1].1 == Field::Null, number % 3 != 0);
        }
    }

    #[test]
    fn what_cannot_be_read_leaves_nothing() {
        let text = [ROUND_HEADER, &round(1, "0.25"), &round(2, "often")].concat();
        let damaged = folder(&[("rounds.csv", &text)]);
        let error = write::<Round>(&archive(&damaged)).unwrap_err().to_string();
        assert!(
            error.contains("rounds.csv, line 3: column `accuracy` is `often`"),
            "{error}"
        );
        let left = std::fs::read_dir(damaged.path()).unwrap();
        let names: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(
            !names
                .iter()
                .any(|name| name.to_string_lossy().contains("parquet")),
            "{names:?}"
        );

        let empty = folder(&[]);
        let path = write::<Round>(&archive(&empty)).unwrap();
        assert!(rows(&path).is_empty());
    }
}
