//! CSV: text with a row a line, the first of which names the columns.
//!
//! Plain or gzip, UTF-8, cells in quotes where need be (RFC 4180). Cells are
//! separated by whichever of comma, semicolon and tab the first line has most
//! of; blanks around them do not count.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::{Cell, Columns, Limits, Place, Roles, Rows, TableErrorKind, Values, cut, open};
use crate::unpack::{Fault, Unpacked};

/// Cells of a row are separated by one of these.
const DELIMITERS: [u8; 3] = *b",;\t";

/// The first line is looked at this far, and is no longer.
const HEADER_BYTES_MAX: usize = 1 << 20;

pub(super) fn column_names(path: &Path, limits: Limits) -> Result<Vec<String>, TableErrorKind> {
    Ok(Reader::open(path, limits)?.names)
}

pub(super) fn read(path: &Path, columns: &Columns, limits: Limits) -> Result<Rows, TableErrorKind> {
    let Reader {
        mut records, names, ..
    } = Reader::open(path, limits)?;
    let roles = Roles::new(&names, columns)?;
    let mut rows = Rows::of_table(path, &names, &roles, columns);
    let mut values = Vec::new();
    let mut record = StringRecord::new();
    let mut line = 1;
    let name = |position: usize| names.get(position).map_or("", String::as_str);
    while records
        .read_record(&mut record)
        .map_err(|error| fault(&error, line, limits))?
    {
        line = line_of(&record, records.position().line());
        let place = Place::Line(line);
        let cell = |position| Cell::Text(record.get(position).unwrap_or_default());
        if values.len() + roles.inputs.len() > limits.values_max {
            return Err(TableErrorKind::TooLarge {
                what: format!("{place} is past {} values", values.len()),
                limit: limits.values_max as u64,
            });
        }
        for input in &roles.inputs {
            values.push(cell(*input).number(place, name(*input))?);
        }
        for named in [Some(roles.label), roles.group].into_iter().flatten() {
            let text = record.get(named).unwrap_or_default();
            if text.contains('\n') {
                return Err(TableErrorKind::Read {
                    place: Some(place),
                    reason: format!(
                        "column `{}` goes on over several lines; a quote is not closed",
                        name(named)
                    ),
                });
            }
        }
        rows.push_label(cell(roles.label), place)?;
        if let Some(group) = roles.group {
            rows.push_group(cell(group), place)?;
        }
    }
    rows.values = Values::Numbers(values);
    Ok(rows)
}

/// The line in which a record begins; `next` is the one after it.
fn line_of(record: &StringRecord, next: u64) -> u64 {
    let from = record.position().map_or(1, csv::Position::line);
    if next <= from + 1 {
        return from;
    }
    // Empty lines before it count as its own, and so do those within its cells.
    let breaks = record
        .iter()
        .flat_map(str::bytes)
        .filter(|byte| *byte == b'\n');
    from.max(next.saturating_sub(1 + breaks.count() as u64))
}

type Records = csv::Reader<BufReader<Content>>;

struct Reader {
    records: Records,
    names: Vec<String>,
}

impl Reader {
    fn open(path: &Path, limits: Limits) -> Result<Self, TableErrorKind> {
        let unpacked = Unpacked::new(open(path)?).map_err(|fault| TableErrorKind::Read {
            place: None,
            reason: reason(&fault),
        })?;
        let mut content = BufReader::with_capacity(
            HEADER_BYTES_MAX,
            Content {
                unpacked,
                left: limits.content_bytes_max,
            },
        );
        let start = content
            .fill_buf()
            .map_err(|error| fault(&error.into(), 0, limits))?;
        let first_line = start.split(|byte| *byte == b'\n').next();
        let first_line = first_line.unwrap_or_default();
        let delimiter = delimiter(first_line);
        let first_line = cut(String::from_utf8_lossy(first_line).trim());
        let mut records = ReaderBuilder::new()
            .delimiter(delimiter)
            .trim(Trim::All)
            .from_reader(content);
        let headers = records
            .headers()
            .map_err(|error| fault(&error, 0, limits))?;
        let names: Vec<String> = headers.iter().map(str::to_owned).collect();
        if names.iter().all(String::is_empty) {
            return Err(TableErrorKind::NoRows);
        }
        // Numbers name nothing: the file begins with its first sample.
        if names.iter().all(|name| name.parse::<f64>().is_ok()) {
            return Err(TableErrorKind::NoHeader { line: first_line });
        }
        Ok(Self { records, names })
    }
}

/// The delimiter that a line has most of, outside quotes; a comma if none.
fn delimiter(line: &[u8]) -> u8 {
    let mut counts = [0usize; DELIMITERS.len()];
    let mut is_quoted = false;
    for byte in line {
        is_quoted ^= *byte == b'"';
        for (count, delimiter) in counts.iter_mut().zip(DELIMITERS) {
            *count += usize::from(!is_quoted && *byte == delimiter);
        }
    }
    let counted = DELIMITERS.iter().zip(counts);
    // The first of equals.
    let most = counted.rev().max_by_key(|(_, count)| *count);
    most.map_or(b',', |(delimiter, _)| *delimiter)
}

/// Unpacked content within its limit.
struct Content {
    unpacked: Unpacked<std::fs::File>,
    left: u64,
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self
            .unpacked
            .fill(buffer)
            .map_err(|fault| io::Error::other(reason(&fault)))?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
        Ok(count)
    }
}

fn reason(fault: &Fault) -> String {
    match fault {
        Fault::Read { reason } => reason.clone(),
        Fault::GzipTruncated { packed_bytes } => {
            format!("the gzip file ends after {packed_bytes} bytes; download or copy it again")
        }
        Fault::GzipCorrupt {
            packed_offset,
            reason,
        } => format!("corrupt gzip at byte {packed_offset}: {reason}; download or copy it again"),
    }
}

/// A fault of the CSV reader; `line` is the last that it read.
fn fault(error: &csv::Error, line: u64, limits: Limits) -> TableErrorKind {
    let place = (line > 0).then_some(Place::Line(line));
    match error.kind() {
        csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            TableErrorKind::TooLarge {
                what: "its content has more bytes".to_owned(),
                limit: limits.content_bytes_max,
            }
        }
        csv::ErrorKind::UnequalLengths {
            pos: Some(position),
            expected_len,
            len,
        } => TableErrorKind::Ragged {
            place: Place::Line(position.line()),
            found: *len,
            expected: *expected_len,
        },
        csv::ErrorKind::Utf8 { pos, .. } => TableErrorKind::Read {
            place: pos.as_ref().map_or(place, |position| {
                Some(Place::Line(position.line().saturating_sub(1))).filter(|_| position.line() > 1)
            }),
            reason: "not UTF-8 text; save it as UTF-8".to_owned(),
        },
        _ => TableErrorKind::Read {
            place,
            reason: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::super::{Learns, Ranges, TableFormat, TestPart, load};
    use super::*;
    use crate::dataset::{Dataset, TrainTest};

    const SMALL: &str =
        "time,temperature,state\n1,20.5,off\n2,21.5,on\n3,30.5,on\n4,25.5,standby\n";

    fn columns() -> Columns {
        Columns {
            label: "state".into(),
            ..Columns::default()
        }
    }

    #[test]
    fn a_number_is_learnt() {
        let columns = Columns {
            label: "temperature".into(),
            learns: Learns::Values,
            ignore: vec!["state".into()],
            ..Columns::default()
        };
        let test = "temperature,time,state\n-4,2,new\n";
        let data = load_bytes(SMALL.as_bytes(), Some(test), &columns).unwrap();
        let values = |part: &Dataset| part.targets().unwrap().values.clone();
        assert_eq!(values(&data.train), [20.5, 21.5, 30.5, 25.5]);
        assert_eq!(values(&data.test), [-4.0]);
        assert_eq!(data.train.targets().unwrap().name, "temperature");
        assert_eq!(data.train.samples(), [0, 85, 170, 255]);
        assert_eq!(data.train.labels(), [0, 2, 7, 5]);
        assert!(data.train.schema().class_names.is_empty());

        let refused = |cell: &str| {
            let text = SMALL.replace("21.5", cell);
            load_bytes(text.as_bytes(), None, &columns).unwrap_err()
        };
        assert_eq!(
            refused("warm"),
            "a.csv: line 3, column `temperature`: `warm` is not a number; what `target` names is \
             one, and a column of classes is named by `label`"
        );
        assert_eq!(
            refused("NA"),
            "a.csv: line 3, column `temperature`: the value is missing; fill it in or delete the \
             row"
        );
        assert_eq!(
            refused("1e39"),
            "a.csv: line 3, column `temperature`: 1e39 is not a finite number in single precision"
        );
    }

    #[test]
    fn columns_are_pixels_where_a_shape_says_so() {
        let columns = Columns {
            shape: vec![2, 2],
            ..columns()
        };
        let text = "state,a,b,c,d\noff,1,2,3,4\non,5,6,7,52\n";
        let data = load_bytes(
            text.as_bytes(),
            Some("d,c,b,a,state\n1,1,1,52,on\n"),
            &columns,
        );
        let data = data.unwrap();
        assert_eq!(data.train.sample_shape(), [2, 2]);
        // One range for all of an image: its pixels are compared.
        assert_eq!(data.train.samples(), [0, 5, 10, 15, 20, 25, 30, 255]);
        assert_eq!(data.test.sample_shape(), [2, 2]);
        assert_eq!(data.test.samples(), [255, 0, 0, 0]);

        let refused = |shape: &[usize]| {
            let columns = Columns {
                shape: shape.to_vec(),
                ..columns.clone()
            };
            load_bytes(text.as_bytes(), None, &columns).unwrap_err()
        };
        assert_eq!(
            refused(&[2, 3]),
            "a.csv: a sample of shape [2, 3] has 6 inputs, but 4 columns are left for them; `features` names those that are inputs, `ignore` those that are none"
        );
        assert!(refused(&[0, 2]).contains("of shape [0, 2] has 0 inputs"));
        assert!(refused(&[usize::MAX, 3]).contains("but 4 columns are left"));
    }

    /// Loads a file with this content; all of it is the training part, and the
    /// test part is `test`, or the same.
    fn load_bytes(
        content: &[u8],
        test: Option<&str>,
        columns: &Columns,
    ) -> Result<TrainTest, String> {
        let folder = tempfile::tempdir().unwrap();
        let (train_file, test_file) = (folder.path().join("a.csv"), folder.path().join("b.csv"));
        std::fs::write(&train_file, content).unwrap();
        std::fs::write(&test_file, test.map_or(content, str::as_bytes)).unwrap();
        let test = TestPart::File(test_file);
        let limits = Limits {
            content_bytes_max: 10_000,
            values_max: 1000,
        };
        let format = TableFormat::Csv;
        load("own", format, &train_file, columns, &test, limits).map_err(|error| {
            let folder = format!("{}/", folder.path().display());
            error.to_string().replace(&folder, "")
        })
    }

    fn read(content: &str) -> Dataset {
        load_bytes(content.as_bytes(), None, &columns())
            .unwrap()
            .train
    }

    fn refused(content: &str, columns: &Columns) -> String {
        load_bytes(content.as_bytes(), None, columns).unwrap_err()
    }

    #[test]
    fn a_table_becomes_samples() {
        let data = read(SMALL);
        assert_eq!(data.sample_shape(), [2]);
        assert_eq!(data.value_scale(), 1.0 / 255.0);
        // 1 to 4 and 20.5 to 30.5, each over 255 steps.
        assert_eq!(data.samples(), [0, 0, 85, 26, 170, 255, 255, 128]);
        assert_eq!(data.labels(), [0, 1, 1, 2]);
        let schema = data.schema();
        assert_eq!(schema.class_names, ["off", "on", "standby"]);
        let [time, temperature] = &schema.inputs[..] else {
            panic!("{schema:?}");
        };
        assert_eq!((time.minimum, time.maximum), (1.0, 4.0));
        assert_eq!(temperature.name, "temperature");
        assert_eq!((temperature.minimum, temperature.maximum), (20.5, 30.5));
    }

    #[test]
    fn what_programs_write_is_read() {
        // Line ends of Windows, a byte order mark, quotes, blanks, no last line end.
        let windows = format!("\u{feff}{}", SMALL.trim_end().replace('\n', "\r\n"));
        let quoted = "\"time\", temperature ,state\n1,\"20.5\",\"off\"\n2, 21.5 ,on\n\n3,30.5,on\n4,2.55e1,standby\n";
        let index =
            ",time,temperature,state\n0,1,20.5,off\n1,2,21.5,on\n2,3,30.5,on\n3,4,25.5,standby\n";
        for text in [
            windows.as_str(),
            quoted,
            &SMALL.replace(',', ";"),
            &SMALL.replace(',', "\t"),
            // The index that pandas writes.
            index,
        ] {
            let data = read(text);
            assert_eq!(data.samples(), read(SMALL).samples(), "{text}");
            assert_eq!(data.labels(), read(SMALL).labels(), "{text}");
            assert_eq!(data.schema(), read(SMALL).schema(), "{text}");
        }
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(SMALL.as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        let data = load_bytes(&packed, None, &columns()).unwrap().train;
        assert_eq!(data.samples(), read(SMALL).samples());
        assert_eq!(
            load_bytes(&packed[..packed.len() - 9], None, &columns()).unwrap_err(),
            format!(
                "a.csv: failed to read: the gzip file ends after {} bytes; download or copy it again",
                packed.len() - 9
            )
        );
    }

    #[test]
    fn columns_are_chosen() {
        let wanted = Columns {
            features: vec!["b".into(), "a".into()],
            ..columns()
        };
        let text = "a,b,c,state\n0,1,x,p\n1,0,y,q\n";
        let data = load_bytes(text.as_bytes(), None, &wanted).unwrap().train;
        assert_eq!(data.samples(), [255, 0, 0, 255]);
        let unwanted = Columns {
            ignore: vec!["c".into(), "b".into()],
            ..columns()
        };
        let data = load_bytes(text.as_bytes(), None, &unwanted).unwrap().train;
        assert_eq!(data.samples(), [0, 255]);
    }

    #[test]
    fn groups_are_who_rows_belong_to() {
        let grouped = Columns {
            group: Some("who".into()),
            ..columns()
        };
        let text = "who,a,state\n10,1,p\n9,2,q\n10,3,p\n";
        // Rows that are tested on belong to nobody.
        let test = Some("a,state\n1,p\n");
        let data = load_bytes(text.as_bytes(), test, &grouped).unwrap();
        let groups = data.train.groups().unwrap();
        assert_eq!(groups.names, ["9", "10"]);
        assert_eq!(groups.members, [1, 0, 1]);
        assert_eq!(data.train.sample_shape(), [1]);
        assert_eq!(data.test.groups(), None);
    }

    #[test]
    fn truth_is_a_number_and_a_number_a_class() {
        let data = read("a,state\nTrue,10\nfalse,9\ntrue,-1\n");
        assert_eq!(data.samples(), [255, 0, 255]);
        // In the order of their values, not of their text.
        assert_eq!(data.schema().class_names, ["-1", "9", "10"]);
        assert_eq!(data.labels(), [2, 1, 0]);
    }

    #[test]
    fn the_range_is_that_of_training_and_the_rest_is_clipped() {
        let test = "state,a,more\np,-100,1\nq,5,1\nq,1e9,1\n";
        let text = "a,state\n0,p\n10,q\n";
        let data = load_bytes(text.as_bytes(), Some(test), &columns()).unwrap();
        assert_eq!(data.train.samples(), [0, 255]);
        assert_eq!(data.test.samples(), [0, 128, 255]);
        assert_eq!(data.test.labels(), [0, 1, 1]);
        assert_eq!(data.test.schema(), data.train.schema());

        let given = Columns {
            ranges: Ranges {
                all: Some((-10.0, 10.0)),
                columns: [("b".to_owned(), (0.0, 1.0))].into(),
            },
            ..columns()
        };
        let text = "a,b,state\n0,0.2,p\n10,3,q\n";
        let data = load_bytes(text.as_bytes(), None, &given).unwrap().train;
        assert_eq!(data.samples(), [128, 51, 255, 255]);
    }

    /// The range is of the rows that are trained on, whichever those are.
    #[test]
    fn a_share_for_testing_does_not_widen_the_range() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.csv");
        let rows: String = (0..50).map(|i| format!("{i},{}\n", i % 2)).collect();
        std::fs::write(&file, format!("a,state\n{rows}")).unwrap();
        let mut has_clipped = false;
        for seed in 0..20 {
            let test = TestPart::Share {
                fraction: 0.4,
                seed,
            };
            let limits = Limits::default();
            let data = load("own", TableFormat::Csv, &file, &columns(), &test, limits).unwrap();
            assert_eq!(
                (data.train.sample_count(), data.test.sample_count()),
                (30, 20)
            );
            assert_eq!(data.train.value_range(), (0, 255));
            let input = &data.train.schema().inputs[0];
            has_clipped |= input.minimum > 0.0 || input.maximum < 49.0;
        }
        assert!(has_clipped);
    }

    #[test]
    fn a_constant_column_is_zero() {
        let data = read("a,b,state\n7,1,p\n7,2,q\n");
        assert_eq!(data.samples(), [0, 0, 0, 255]);
    }

    #[test]
    fn faults_name_their_place() {
        let with = |change: fn(&mut Columns)| {
            let mut columns = columns();
            change(&mut columns);
            columns
        };
        for (text, columns, expected) in [
            (
                "",
                columns(),
                "no rows: the first line names the columns, and each further line is a sample",
            ),
            (
                "a,state\n",
                columns(),
                "no rows: the first line names the columns, and each further line is a sample",
            ),
            (
                "1,2,3\n4,5,6\n",
                columns(),
                "the first line `1,2,3` names no columns; add a line with a name for each column, such as `temperature,vibration,state`",
            ),
            (
                "a,label\n1,p\n",
                columns(),
                "no column `state`, which `label` asks for; there are: a, label",
            ),
            (
                SMALL,
                with(|columns| columns.ignore = vec!["Time".into()]),
                "no column `Time`, which `ignore` asks for; there are: time, temperature, state",
            ),
            (
                SMALL,
                with(|columns| columns.features = vec!["time".into(), "state".into()]),
                "column `state` is asked for by `label` and by `features`; a column has one role",
            ),
            (
                "a,a,state\n1,2,p\n",
                columns(),
                "two columns are named `a`; rename one of them",
            ),
            (
                "state\np\nq\n",
                columns(),
                "no column is left for inputs; there are: state",
            ),
            (
                "a,b,state\n1,2,p\n1,2\n",
                columns(),
                "line 3 has 2 cells, but the header names 3 columns",
            ),
            (
                "a,b,state\n1,2,p\n\n1,,q\n",
                columns(),
                "line 4, column `b`: the value is missing; fill it in or delete the row, or leave the column out with `ignore`",
            ),
            (
                "a,b,state\n1,2,p\n1,NaN,q\n",
                columns(),
                "line 3, column `b`: the value is missing; fill it in or delete the row, or leave the column out with `ignore`",
            ),
            (
                "a,state\n1,p\n1,\n",
                columns(),
                "line 3, column `state`: the value is missing; fill it in or delete the row",
            ),
            (
                "a,state\nhigh,p\n1,q\n",
                columns(),
                "line 2, column `a`: `high` is not a number; an input is a number, and a column of something else is left out with `ignore = [\"a\"]`, or is the `group`",
            ),
            (
                "a;state\n1,5;p\n1;q\n",
                columns(),
                "line 2, column `a`: `1,5` is not a number (decimals are written with a point); an input is a number, and a column of something else is left out with `ignore = [\"a\"]`, or is the `group`",
            ),
            (
                "a,state\n1,p\ninf,q\n",
                columns(),
                "line 3, column `a`: inf is not a finite number",
            ),
            (
                "a,state\n1,p\n2,p\n",
                columns(),
                "column `state` holds one class only, `p`; a model tells at least two apart",
            ),
            (
                SMALL,
                with(|columns| {
                    columns.ranges.columns.insert("b".into(), (0.0, 1.0));
                }),
                "`ranges` names `b`, which is no input; inputs are: time, temperature",
            ),
        ] {
            assert_eq!(
                refused(text, &columns),
                format!("a.csv: {expected}"),
                "{text}"
            );
        }
        assert_eq!(
            refused("a,b,state\n-1e308,1,p\n1e308,2,q\n", &columns()),
            "a.csv: column `a`: from -1e308 to 1e308 is more than double precision holds; give it a range with `ranges`, or all with `range`"
        );
        // What a file says steers no terminal, and is not said at length.
        assert_eq!(
            refused("a\u{1b}[2J,label\n1,p\n", &columns()),
            "a.csv: no column `state`, which `label` asks for; there are: a [2J, label"
        );
        let long = "x".repeat(4500);
        let told = refused(&format!("{long},{long},state\n1,2,p\n"), &columns());
        assert!(told.starts_with("a.csv: two columns are named `xxx"));
        assert!(told.ends_with("xxx…"), "{told}");
        assert_eq!(told.chars().count(), "a.csv: ".len() + 4097);
        let many: String = (0..300).map(|i| format!("{i},class-{i}\n")).collect();
        assert_eq!(
            refused(&format!("a,state\n{many}"), &columns()),
            "a.csv: line 258, column `state`: `class-256` is class 257, and there are at most 256; is it a column of labels?"
        );
        let other = load_bytes(b"a,state\n1,p\n2,q\n", Some("a,state\n1,r\n"), &columns());
        assert_eq!(
            other.unwrap_err(),
            "b.csv: column `state`: class `r` does not occur in the training part, whose classes are: p, q"
        );
        let latin = load_bytes(b"a,state\n1,p\n2,\xe9t\xe9\n", None, &columns());
        assert_eq!(
            latin.unwrap_err(),
            "a.csv: failed to read after line 2: not UTF-8 text; save it as UTF-8"
        );
    }

    #[test]
    fn content_and_values_are_bounded() {
        let rows: String = (0..501).map(|i| format!("1,2,{}\n", i % 2)).collect();
        assert_eq!(
            refused(&format!("a,b,state\n{rows}"), &columns()),
            "a.csv: too large: line 502 is past 1000 values, the limit is 1000"
        );
        // A few bytes that unpack to many.
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        bomb.write_all(b"a,state\n").unwrap();
        bomb.write_all(&vec![b' '; 1 << 20]).unwrap();
        assert_eq!(
            load_bytes(&bomb.finish().unwrap(), None, &columns()).unwrap_err(),
            "a.csv: too large: its content has more bytes, the limit is 10000"
        );
        // A quote that is never closed.
        assert_eq!(
            refused("a,state\n1,p\n2,\"q\n3,p\n4,q\n", &columns()),
            "a.csv: failed to read after line 3: column `state` goes on over several lines; a quote is not closed"
        );
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = super::super::column_names(TableFormat::Csv, folder.path(), Limits::default());
        assert!(
            error
                .unwrap_err()
                .to_string()
                .ends_with(": not a regular file")
        );
    }

    proptest! {
        /// Whatever stands in a file, it is read or refused.
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = load_bytes(&bytes, None, &columns());
        }

        /// A byte is within half a step of its value.
        #[test]
        fn a_byte_is_the_nearest_step(
            values in prop::collection::vec(-1e6..1e6f64, 2..40),
        ) {
            let rows: String = values
                .iter()
                .enumerate()
                .map(|(index, value)| format!("{value},{}\n", index % 2))
                .collect();
            let data = read(&format!("a,state\n{rows}"));
            let input = &data.schema().inputs[0];
            for (value, byte) in values.iter().zip(data.samples()) {
                let back = input.minimum + f64::from(*byte) * input.resolution();
                prop_assert!((back - value).abs() <= input.resolution() * 0.5 + 1e-6);
            }
        }
    }
}
