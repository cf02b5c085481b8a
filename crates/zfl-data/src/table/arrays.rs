//! NumPy archives (`.npz`): an array of samples, and one of labels or of numbers
//! to learn.
//!
//! The first dimension counts samples, the others are the shape of one. Bytes
//! (`uint8`) are taken as they are, 255 standing for 1, unless a range is
//! given; other numbers are mapped onto bytes, with a range for each input
//! where a sample is a row of numbers, and one for the whole array where it is
//! an image or a window. Arrays in C and in Fortran order, plain and
//! compressed archives; no pickled objects.

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use npyz::{DType, NpyFile, Order, TypeChar};
use zip::ZipArchive;

use super::{
    Cell, Interned, Learns, Limits, Place, Ranges, Rows, TableError, TableErrorKind, Test, Values,
    data_set, error, open,
};
use crate::Targets;
use crate::dataset::TrainTest;
use crate::folder::LoadError;

/// Which array is what.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arrays {
    /// The samples.
    pub samples: String,
    /// What is learnt of each: its label, or a number.
    pub labels: String,
    /// Which of the two.
    pub learns: Learns,
    /// The natural group of each sample.
    pub groups: Option<String>,
    /// Samples and labels (or numbers) of the test part; else a share is split off.
    pub test: Option<(String, String)>,
    /// Smallest and largest value of all inputs; else what training has.
    pub range: Option<(f64, f64)>,
}

/// Loads a data set called `name` from the archive `file`. Where the arrays
/// have no test part, it is `fraction` of the samples, drawn by `seed`.
///
/// # Errors
/// [`LoadError::Table`] with the file, and the array or the sample;
/// [`LoadError::Dataset`] where the share for testing leaves a part empty.
pub fn load(
    name: &str,
    file: &Path,
    arrays: &Arrays,
    (fraction, seed): (f64, u64),
    limits: Limits,
) -> Result<TrainTest, LoadError> {
    let fault = error(file);
    let mut archive = Archive::open(file, limits).map_err(&fault)?;
    let learns = arrays.learns;
    let (labels_key, test_labels_key) = match learns {
        Learns::Classes => ("labels", "test-labels"),
        Learns::Values => ("target", "test-target"),
    };
    let mut rows = archive
        .rows(
            ("samples", &arrays.samples),
            (labels_key, &arrays.labels),
            learns,
            arrays.groups.as_deref(),
        )
        .map_err(&fault)?;
    let test = match &arrays.test {
        None => Test::Share(fraction, seed),
        Some((samples, labels)) => {
            let test = archive
                .rows(
                    ("test-samples", samples),
                    (test_labels_key, labels),
                    learns,
                    None,
                )
                .map_err(&fault)?;
            if test.shape != rows.shape {
                let shape = std::iter::once(test.row_count()).chain(test.shape);
                return Err(fault(TableErrorKind::Shape {
                    array: samples.clone(),
                    shape: shape.map(|size| size as u64).collect(),
                    needed: format!(
                        "samples of `{}` are of shape {:?}, and those for testing are the same",
                        arrays.samples, rows.shape
                    ),
                })
                .into());
            }
            // One mapping for both: bytes on one side alone would be another.
            Test::Rows(Box::new(match (&rows.values, &test.values) {
                (Values::Bytes(_), Values::Bytes(_)) => test,
                (Values::Numbers(_), _) => test.into_numbers(),
                (Values::Bytes(_), Values::Numbers(_)) => {
                    rows = rows.into_numbers();
                    test
                }
            }))
        }
    };
    let ranges = Ranges {
        all: arrays.range,
        ..Ranges::default()
    };
    data_set(name, rows, test, &ranges)
}

/// The names of the arrays in an archive.
///
/// # Errors
/// [`TableError`] if it cannot be read.
pub fn array_names(file: &Path, limits: Limits) -> Result<Vec<String>, TableError> {
    let archive = Archive::open(file, limits).map_err(error(file))?;
    Ok(archive.names())
}

impl Rows {
    fn into_numbers(self) -> Self {
        let values = match self.values {
            Values::Bytes(bytes) => Values::Numbers(bytes.into_iter().map(f64::from).collect()),
            numbers @ Values::Numbers(_) => numbers,
        };
        Self { values, ..self }
    }
}

struct Archive {
    zip: ZipArchive<BufReader<File>>,
    file: PathBuf,
    limits: Limits,
}

/// NumPy appends this to the name of an array.
const SUFFIX: &str = ".npy";

/// NumPy writes 128 bytes, for names of fields more; the parser recurses.
const HEADER_BYTES_MAX: usize = 1024;

/// Brackets in one another: NumPy writes two, for structures a few more. With each
/// the parser tries several ways more.
const HEADER_DEPTH_MAX: usize = 6;

/// Longest text of a label, in characters.
const TEXT_CHARACTERS_MAX: u64 = 4096;

impl Archive {
    fn open(file: &Path, limits: Limits) -> Result<Self, TableErrorKind> {
        let zip =
            ZipArchive::new(BufReader::new(open(file)?)).map_err(|error| TableErrorKind::Read {
                place: None,
                reason: format!("{error}; numpy.savez writes such archives"),
            })?;
        Ok(Self {
            zip,
            file: file.to_owned(),
            limits,
        })
    }

    fn names(&self) -> Vec<String> {
        let files = self.zip.file_names().filter_map(Result::ok);
        let mut names: Vec<String> = files
            .filter_map(|name| Some(name.strip_suffix(SUFFIX)?.to_owned()))
            .collect();
        names.sort();
        names
    }

    /// The array `name`, its values handed over one by one.
    fn array(&mut self, role: &'static str, name: &str) -> Result<Array<'_>, TableErrorKind> {
        let entry = format!("{name}{SUFFIX}");
        if self.zip.index_for_name(&entry).is_none() {
            return Err(TableErrorKind::NoSuchColumn {
                what: "array",
                role,
                column: name.to_owned(),
                there: self.names(),
            });
        }
        let damaged = |reason: String| TableErrorKind::Read {
            place: None,
            reason: format!("array `{name}`: {reason}"),
        };
        let limit = self.limits.content_bytes_max;
        let member = self
            .zip
            .by_name(&entry)
            .map_err(|error| damaged(error.to_string()))?;
        // Whatever the archive declares, no more than this is unpacked.
        let mut member: Box<dyn Read + '_> = Box::new(BufReader::new(member.take(limit)));
        let start = bounded_header(&mut member).map_err(damaged)?;
        let file = NpyFile::new(Cursor::new(start).chain(member))
            .map_err(|error| damaged(error.to_string()))?;
        let shape = file.shape().to_vec();
        let count = shape
            .iter()
            .try_fold(1u64, |product, size| product.checked_mul(*size))
            .and_then(|count| usize::try_from(count).ok())
            .filter(|count| *count <= self.limits.values_max)
            .ok_or_else(|| TableErrorKind::TooLarge {
                what: format!("array `{name}` has shape {}", super::Shape(&shape)),
                limit: self.limits.values_max as u64,
            })?;
        Ok(Array {
            name: name.to_owned(),
            shape,
            count,
            file,
        })
    }

    fn rows(
        &mut self,
        samples: (&'static str, &str),
        labels: (&'static str, &str),
        learns: Learns,
        groups: Option<&str>,
    ) -> Result<Rows, TableErrorKind> {
        let array = self.array(samples.0, samples.1)?;
        let dimensions = array.shape.clone();
        let [count, shape @ ..] = dimensions.as_slice() else {
            return Err(array.misshapen("samples are counted by the first dimension"));
        };
        if shape.is_empty() || shape.contains(&0) {
            return Err(array.misshapen(
                "the first dimension counts samples, and one more at least is their shape",
            ));
        }
        // Of none there may be of any size, and each of its inputs has a name.
        if *count == 0 {
            return Err(array.misshapen("it holds no samples"));
        }
        let count = *count;
        let shape: Vec<usize> = shape
            .iter()
            .filter_map(|size| usize::try_from(*size).ok())
            .collect();
        let values = array.values()?;
        let targets = || Targets {
            name: labels.1.to_owned(),
            values: Vec::new(),
        };
        let mut rows = Rows {
            file: self.file.clone(),
            input_names: input_names(&shape),
            shape,
            values,
            labels: Interned::new(labels.1),
            targets: (learns == Learns::Values).then(targets),
            groups: groups.map(Interned::new),
        };
        let array = self.array(labels.0, labels.1)?;
        if learns == Learns::Values {
            array.check_target(count)?;
        }
        array.check_count(count, samples.1)?;
        array.cells(|row, cell| {
            let place = Place::Row(row as u64);
            match (cell, learns) {
                // Nothing is missing in an array.
                (Cell::Number(value), Learns::Values) if value.is_nan() => {
                    Err(TableErrorKind::NotFinite {
                        place,
                        column: labels.1.to_owned(),
                        value,
                    })
                }
                _ => rows.push_label(cell, place),
            }
        })?;
        if let Some(groups) = groups {
            let array = self.array("groups", groups)?;
            array.check_count(count, samples.1)?;
            array.cells(|row, cell| rows.push_group(cell, Place::Row(row as u64)))?;
        }
        Ok(rows)
    }
}

/// The beginning of an array, its header included, whose length and nesting are
/// within their bounds.
fn bounded_header(member: &mut impl Read) -> Result<Vec<u8>, String> {
    let mut start = vec![0; 12];
    member
        .read_exact(&mut start)
        .map_err(|error| error.to_string())?;
    let (length, before) = match *start {
        [_, _, _, _, _, _, 1, _, a, b, ..] => (u32::from(u16::from_le_bytes([a, b])), 10),
        [_, _, _, _, _, _, _, _, a, b, c, d] => (u32::from_le_bytes([a, b, c, d]), 12),
        _ => (0, 12),
    };
    let length = length as usize;
    if length > HEADER_BYTES_MAX {
        return Err(format!(
            "its header has {length} bytes, at most {HEADER_BYTES_MAX} are read"
        ));
    }
    let rest = (before + length).saturating_sub(start.len()) as u64;
    // Where less is there, the parser says so.
    member
        .take(rest)
        .read_to_end(&mut start)
        .map_err(|error| error.to_string())?;
    let mut depth = 0usize;
    for byte in start.iter().skip(before) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > HEADER_DEPTH_MAX {
            return Err(format!(
                "its header is nested more than {HEADER_DEPTH_MAX} deep"
            ));
        }
    }
    Ok(start)
}

/// What the inputs of a sample are called: their place in it.
fn input_names(shape: &[usize]) -> Vec<String> {
    let mut names = vec![String::new()];
    for size in shape {
        let below = |name: &String| {
            let prefix = match name.is_empty() {
                true => String::new(),
                false => format!("{name},"),
            };
            (0..*size).map(move |index| format!("{prefix}{index}"))
        };
        names = names.iter().flat_map(below).collect();
    }
    names
}

/// An array: what was looked at of it, and the rest.
type Member<'a> = std::io::Chain<Cursor<Vec<u8>>, Box<dyn Read + 'a>>;

struct Array<'a> {
    name: String,
    shape: Vec<u64>,
    count: usize,
    file: NpyFile<Member<'a>>,
}

impl Array<'_> {
    fn misshapen(&self, needed: &str) -> TableErrorKind {
        TableErrorKind::Shape {
            array: self.name.clone(),
            shape: self.shape.clone(),
            needed: needed.to_owned(),
        }
    }

    fn check_count(&self, count: u64, samples: &str) -> Result<(), TableErrorKind> {
        match self.shape.as_slice() {
            [own] | [own, 1] if *own == count => Ok(()),
            _ => Err(self.misshapen(&format!(
                "one for each of the {count} samples of `{samples}` is needed: ({count})"
            ))),
        }
    }

    /// Refuses what is no number, and several of them for a sample.
    fn check_target(&self, count: u64) -> Result<(), TableErrorKind> {
        if self.kind()?.0 == TypeChar::UnicodeStr {
            return Err(TableErrorKind::Type {
                what: "array",
                column: self.name.clone(),
                found: self.file.dtype().descr(),
                remedy: "what `target` names is integers, float32 or float64; classes are named by `labels`",
            });
        }
        match self.shape.as_slice() {
            [own, numbers] if *own == count && *numbers > 1 => Err(self.misshapen(&format!(
                "a model learns one number of a sample, ({count}): write one of the {numbers} as an array of its own, such as `y[:, 0]`"
            ))),
            _ => Ok(()),
        }
    }

    /// Type character and bytes of an element.
    fn kind(&self) -> Result<(TypeChar, u64), TableErrorKind> {
        match self.file.dtype() {
            DType::Plain(plain) => Ok((plain.type_char(), plain.size_field())),
            other => Err(self.refuse(other.descr())),
        }
    }

    fn refuse(&self, found: String) -> TableErrorKind {
        TableErrorKind::Type {
            what: "array",
            column: self.name.clone(),
            found,
            remedy: "samples are integers or float32 or float64, labels those or text; convert it, as by `.astype(\"float32\")` or `.astype(str)`",
        }
    }

    /// All values, in the order of C.
    fn values(self) -> Result<Values, TableErrorKind> {
        let order = match self.file.order() {
            Order::C => None,
            Order::Fortran => Some(self.shape.clone()),
        };
        let (name, count) = (self.name.clone(), self.count);
        if self.kind()? == (TypeChar::Uint, 1) {
            let mut bytes = Vec::with_capacity(count);
            self.each::<u8>(|_, byte| {
                bytes.push(byte);
                Ok(())
            })?;
            return Ok(Values::Bytes(c_order(bytes, order)));
        }
        if self.kind()?.0 == TypeChar::UnicodeStr {
            return Err(self.refuse(self.file.dtype().descr()));
        }
        let mut numbers = Vec::with_capacity(count);
        let rows = self.shape.first().copied().unwrap_or(1).max(1);
        let inputs = (count as u64 / rows).max(1);
        let is_fortran = order.is_some();
        self.cells(|index, cell| {
            // Fortran counts the first dimension fastest.
            let (row, input) = match is_fortran {
                true => (index as u64 % rows, index as u64 / rows),
                false => (index as u64 / inputs, index as u64 % inputs),
            };
            let fault = |value| TableErrorKind::NotFinite {
                place: Place::Row(row),
                column: format!("{name}, value {input}"),
                value,
            };
            let number = match cell {
                Cell::Number(number) if number.is_finite() => number,
                Cell::Number(number) => return Err(fault(number)),
                Cell::Whole(whole) => whole as f64,
                // Booleans; text is refused above.
                Cell::Text(word) => f64::from(u8::from(word == "true")),
            };
            numbers.push(number);
            Ok(())
        })?;
        Ok(Values::Numbers(c_order(numbers, order)))
    }

    /// Each element in the order of the file.
    fn cells(
        self,
        mut take: impl FnMut(usize, Cell<'_>) -> Result<(), TableErrorKind>,
    ) -> Result<(), TableErrorKind> {
        let whole = |value: i128| Cell::Whole(value);
        match self.kind()? {
            (TypeChar::Bool, _) => self.each::<bool>(|index, value| {
                take(index, Cell::Text(if value { "true" } else { "false" }))
            }),
            (TypeChar::Int, 1) => self.each::<i8>(|index, value| take(index, whole(value.into()))),
            (TypeChar::Int, 2) => self.each::<i16>(|index, value| take(index, whole(value.into()))),
            (TypeChar::Int, 4) => self.each::<i32>(|index, value| take(index, whole(value.into()))),
            (TypeChar::Int, 8) => self.each::<i64>(|index, value| take(index, whole(value.into()))),
            (TypeChar::Uint, 1) => self.each::<u8>(|index, value| take(index, whole(value.into()))),
            (TypeChar::Uint, 2) => {
                self.each::<u16>(|index, value| take(index, whole(value.into())))
            }
            (TypeChar::Uint, 4) => {
                self.each::<u32>(|index, value| take(index, whole(value.into())))
            }
            (TypeChar::Uint, 8) => {
                self.each::<u64>(|index, value| take(index, whole(value.into())))
            }
            (TypeChar::Float, 4) => {
                self.each::<f32>(|index, value| take(index, Cell::Number(value.into())))
            }
            (TypeChar::Float, 8) => {
                self.each::<f64>(|index, value| take(index, Cell::Number(value)))
            }
            (TypeChar::UnicodeStr, size) if size <= TEXT_CHARACTERS_MAX => {
                self.each::<String>(|index, value| take(index, Cell::Text(value.trim())))
            }
            _ => Err(self.refuse(self.file.dtype().descr())),
        }
    }

    fn each<T: npyz::Deserialize>(
        self,
        mut take: impl FnMut(usize, T) -> Result<(), TableErrorKind>,
    ) -> Result<(), TableErrorKind> {
        let name = self.name;
        let damaged = |reason: String| TableErrorKind::Read {
            place: None,
            reason: format!("array `{name}`: {reason}"),
        };
        let values = self
            .file
            .data::<T>()
            .map_err(|error| damaged(error.to_string()))?;
        for (index, value) in values.enumerate() {
            take(index, value.map_err(|error| damaged(error.to_string()))?)?;
        }
        Ok(())
    }
}

/// From Fortran's order (the first dimension fastest) to that of C (the last),
/// where `shape` is given.
fn c_order<T: Copy>(values: Vec<T>, shape: Option<Vec<u64>>) -> Vec<T> {
    let Some(shape) = shape else {
        return values;
    };
    let shape: Vec<usize> = shape.iter().map(|size| *size as usize).collect();
    // How far apart neighbours along each dimension are in `values`.
    let strides: Vec<usize> = shape
        .iter()
        .scan(1, |stride, size| {
            Some(std::mem::replace(stride, *stride * size))
        })
        .collect();
    let source = |mut index: usize| {
        let mut from = 0;
        for (size, stride) in shape.iter().zip(&strides).rev() {
            from += index % size * stride;
            index /= size;
        }
        from
    };
    let ordered = (0..values.len()).filter_map(|index| values.get(source(index)));
    ordered.copied().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{damaged, table_file};

    fn arrays(samples: &str, labels: &str) -> Arrays {
        Arrays {
            samples: samples.to_owned(),
            labels: labels.to_owned(),
            ..Arrays::default()
        }
    }

    fn read(file: &str, samples: &str, labels: &str) -> Result<Rows, TableErrorKind> {
        let mut archive = Archive::open(&table_file(file), Limits::default())?;
        archive.rows(
            ("samples", samples),
            ("labels", labels),
            Learns::Classes,
            None,
        )
    }

    fn refused(samples: &str, labels: &str) -> String {
        let read = read("arrays.npz", samples, labels);
        read.map(|_| ()).unwrap_err().to_string()
    }

    fn load_half(arrays: &Arrays) -> TrainTest {
        let limits = Limits::default();
        load("own", &table_file("arrays.npz"), arrays, (0.5, 3), limits).unwrap()
    }

    #[test]
    fn bytes_are_taken_as_they_are() {
        let given = Arrays {
            test: Some(("test_images".into(), "test_labels".into())),
            ..arrays("images", "labels")
        };
        let data = load_half(&given);
        assert_eq!(data.train.sample_shape(), [2, 2]);
        assert_eq!(data.train.samples(), (0..24).collect::<Vec<u8>>());
        assert_eq!(data.train.value_scale(), 1.0 / 255.0);
        assert_eq!(data.train.schema().inputs, []);
        // In the order of their values.
        assert_eq!(data.train.schema().class_names, ["3", "7", "10"]);
        assert_eq!(data.train.labels(), [1, 0, 0, 2, 1, 0]);
        assert_eq!(data.test.samples(), (100..108).collect::<Vec<u8>>());
        assert_eq!(data.test.labels(), [0, 2]);

        let ranged = Arrays {
            range: Some((0.0, 51.0)),
            ..given
        };
        let data = load_half(&ranged);
        assert_eq!(data.train.samples()[..3], [0, 5, 10]);
        assert_eq!(data.test.samples()[0], 255);
        assert_eq!(data.train.schema().inputs.len(), 4);
        assert_eq!(data.train.schema().inputs[2].name, "1,0");
    }

    #[test]
    fn numbers_have_a_range_for_each_input_and_an_image_has_one() {
        let rows = read("arrays.npz", "rows", "labels").unwrap();
        let found = super::super::inputs(&rows, None, &Ranges::default()).unwrap();
        let ranges: Vec<_> = found
            .iter()
            .map(|input| (input.minimum, input.maximum))
            .collect();
        assert_eq!(ranges, [(-2.0, 3.0), (10.0, 12.5)]);
        let images = read("arrays.npz", "fortran", "labels").unwrap();
        let found = super::super::inputs(&images, Some(&[1, 2]), &Ranges::default()).unwrap();
        assert!(
            found
                .iter()
                .all(|input| (input.minimum, input.maximum) == (4.0, 11.0))
        );
    }

    #[test]
    fn groups_and_texts_are_names() {
        let data = load_half(&Arrays {
            groups: Some("machines".into()),
            ..arrays("rows", "texts")
        });
        assert_eq!(data.train.schema().class_names, ["off", "on", "standby"]);
        assert_eq!(data.train.groups().unwrap().names, ["m1", "m2"]);
        assert_eq!(
            (data.train.sample_count(), data.test.sample_count()),
            (3, 3)
        );
    }

    #[test]
    fn a_number_is_learnt() {
        let given = Arrays {
            learns: Learns::Values,
            test: Some(("test_images".into(), "test_labels".into())),
            ..arrays("images", "labels")
        };
        let data = load_half(&given);
        let values = |part: &crate::Dataset| part.targets().unwrap().values.clone();
        assert_eq!(values(&data.train), [7.0, 3.0, 3.0, 10.0, 7.0, 3.0]);
        assert_eq!(values(&data.test), [3.0, 10.0]);
        assert_eq!(data.train.targets().unwrap().name, "labels");
        assert_eq!(data.train.sample_shape(), [2, 2]);
        assert_eq!(data.train.samples(), (0..24).collect::<Vec<u8>>());
        assert!(data.train.schema().class_names.is_empty());
        // A column of one number each is no other.
        let column = load_half(&Arrays {
            labels: "column".into(),
            test: None,
            ..given.clone()
        });
        let all = [values(&column.train), values(&column.test)].concat();
        let mut sorted = all.clone();
        sorted.sort_by(f32::total_cmp);
        assert_eq!(sorted, [3.0, 3.0, 3.0, 7.0, 7.0, 10.0]);

        let refused = |array: &str| {
            let arrays = Arrays {
                labels: array.into(),
                test: None,
                ..given.clone()
            };
            let limits = Limits::default();
            let error = load("own", &table_file("arrays.npz"), &arrays, (0.5, 3), limits);
            let error = error.unwrap_err().to_string();
            let folder = format!("{}: ", table_file("arrays.npz").display());
            error.strip_prefix(&folder).unwrap_or(&error).to_owned()
        };
        assert_eq!(
            refused("rows"),
            "array `rows` has shape (6, 2); a model learns one number of a sample, (6): write one of the 2 as an array of its own, such as `y[:, 0]`"
        );
        assert_eq!(
            refused("few"),
            "array `few` has shape (2); one for each of the 6 samples of `images` is needed: (6)"
        );
        assert_eq!(
            refused("texts"),
            "array `texts` is of type '<U7'; what `target` names is integers, float32 or float64; classes are named by `labels`"
        );
        assert!(refused("none").starts_with("no array `none`, which `target` asks for"));
    }

    /// An archive of arrays: name, type, shape and values.
    fn archive(arrays: &[(&str, &str, &str, &[u8])]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut zip = zip::ZipWriter::new(file.reopen().unwrap());
        for (name, kind, shape, values) in arrays {
            let header =
                format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}\n");
            let length = u16::try_from(header.len()).unwrap().to_le_bytes();
            let options = zip::write::SimpleFileOptions::default();
            zip.start_file(format!("{name}.npy"), options).unwrap();
            for part in [b"\x93NUMPY\x01\0", &length[..], header.as_bytes(), values] {
                std::io::Write::write_all(&mut zip, part).unwrap();
            }
        }
        zip.finish().unwrap();
        file
    }

    /// What is said of an archive after its name.
    fn load_archive(file: &tempfile::NamedTempFile, arrays: &Arrays) -> Result<TrainTest, String> {
        let name = format!("{}: ", file.path().display());
        let loaded = load("own", file.path(), arrays, (0.4, 1), Limits::default());
        loaded.map_err(|error| error.to_string().replace(&name, ""))
    }

    #[test]
    fn a_target_is_finite() {
        let load = |values: &[f64; 3]| {
            let values: Vec<u8> = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            let file = archive(&[
                ("x", "|u1", "3, 2", &[0, 1, 2, 3, 4, 5]),
                ("y", "<f8", "3,", &values),
            ]);
            let arrays = Arrays {
                learns: Learns::Values,
                ..arrays("x", "y")
            };
            load_archive(&file, &arrays)
        };
        assert!(load(&[1.0, -0.5, 3e38]).is_ok());
        for (value, says) in [
            (f64::NAN, "NaN is not a finite number"),
            (f64::NEG_INFINITY, "-inf is not a finite number"),
            (1e39, "1e39 is not a finite number in single precision"),
        ] {
            assert_eq!(
                load(&[1.0, 2.0, value]).unwrap_err(),
                format!("row 2 (counted from 0), column `y`: {says}")
            );
        }
    }

    /// The parser tries each bracket in several ways, one after another.
    #[test]
    fn a_header_is_not_nested() {
        let began = std::time::Instant::now();
        for (depth, is_read) in [(4, true), (5, false), (300, false)] {
            // Two more are around it.
            let shape = format!("6, {}", "[".repeat(depth));
            let file = archive(&[("x", "|u1", &shape, &[]), ("y", "|u1", "0,", &[])]);
            let error = load_archive(&file, &arrays("x", "y")).unwrap_err();
            let is_refused =
                error == "failed to read: array `x`: its header is nested more than 6 deep";
            assert_eq!(is_refused, !is_read, "{error}");
        }
        assert!(began.elapsed().as_secs() < 10);
    }

    /// Each input has a name, and of no samples there may be any number.
    #[test]
    fn no_samples_are_of_no_shape() {
        let file = archive(&[
            ("x", "|u1", "0, 1000000000000", &[]),
            ("y", "|u1", "0,", &[]),
        ]);
        assert_eq!(
            load_archive(&file, &arrays("x", "y")).unwrap_err(),
            "array `x` has shape (0, 1000000000000); it holds no samples"
        );
    }

    #[test]
    fn orders_types_and_packing_change_nothing() {
        let numbers = |file: &str, samples: &str, labels: &str| match read(file, samples, labels)
            .unwrap()
            .values
        {
            Values::Numbers(numbers) => numbers,
            Values::Bytes(bytes) => bytes.into_iter().map(f64::from).collect(),
        };
        let rows = numbers("arrays.npz", "rows", "labels");
        assert_eq!(rows[..4], [-2.0, 10.0, -1.0, 10.5]);
        assert_eq!(numbers("arrays.npz", "big_endian", "column"), rows);
        assert_eq!(numbers("compressed.npz", "rows", "labels"), rows);
        assert_eq!(
            numbers("arrays.npz", "fortran", "labels"),
            numbers("arrays.npz", "images", "labels")
        );
        let flags = numbers("arrays.npz", "flags", "labels");
        assert_eq!(flags, [0., 0., 1., 0., 0., 0., 1., 1., 0., 1., 1., 1.]);
    }

    #[test]
    fn faults_name_the_array() {
        let convert = "samples are integers or float32 or float64, labels those or text; convert it, as by `.astype(\"float32\")` or `.astype(str)`";
        assert_eq!(
            refused("row", "labels"),
            "no array `row`, which `samples` asks for; there are: big_endian, bytes, column, complex, few, flags, fortran, gap, half, images, labels, machines, pickled, rows, structure, test_images, test_labels, texts"
        );
        assert_eq!(
            refused("labels", "labels"),
            "array `labels` has shape (6); the first dimension counts samples, and one more at least is their shape"
        );
        assert_eq!(
            refused("rows", "few"),
            "array `few` has shape (2); one for each of the 6 samples of `rows` is needed: (6)"
        );
        assert_eq!(
            refused("rows", "images"),
            "array `images` has shape (6, 2, 2); one for each of the 6 samples of `rows` is needed: (6)"
        );
        assert_eq!(
            refused("gap", "labels"),
            "row 4 (counted from 0), column `gap, value 0`: NaN is not a finite number"
        );
        assert_eq!(
            refused("half", "labels"),
            format!("array `half` is of type '<f2'; {convert}")
        );
        assert_eq!(
            refused("complex", "labels"),
            format!("array `complex` is of type '<c8'; {convert}")
        );
        assert_eq!(
            refused("rows", "bytes"),
            format!("array `bytes` is of type '|S1'; {convert}")
        );
        assert_eq!(
            refused("rows", "pickled"),
            format!("array `pickled` is of type '|O'; {convert}")
        );
        assert_eq!(
            refused("structure", "labels"),
            "array `structure` has shape (6); the first dimension counts samples, and one more at least is their shape"
        );
        let other = load(
            "own",
            &table_file("arrays.npz"),
            &Arrays {
                test: Some(("rows".into(), "labels".into())),
                ..arrays("images", "labels")
            },
            (0.5, 1),
            Limits::default(),
        );
        assert!(
            other.unwrap_err().to_string().ends_with(
                "array `rows` has shape (6, 2); samples of `images` are of shape [2, 2], and those for testing are the same"
            )
        );
        let error = array_names(&table_file("pandas.csv"), Limits::default()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("numpy.savez writes such archives"),
            "{error}"
        );
    }

    #[test]
    fn size_is_bounded() {
        let open = |limits| Archive::open(&table_file("bomb.npz"), limits).unwrap();
        let limits = Limits::default();
        let read = |limits| {
            let mut archive = open(limits);
            let rows = archive.rows(
                ("samples", "rows"),
                ("labels", "labels"),
                Learns::Classes,
                None,
            );
            rows.map(|_| ()).unwrap_err().to_string()
        };
        assert_eq!(
            read(Limits {
                values_max: 99_999,
                ..limits
            }),
            "too large: array `rows` has shape (50000, 2), the limit is 99999"
        );
        // Whatever it declares, no more is unpacked.
        let cut = read(Limits {
            content_bytes_max: 100_000,
            ..limits
        });
        assert!(cut.starts_with("failed to read: array `rows`: "), "{cut}");
        assert!(read(limits).starts_with("array `labels` has shape (6)"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn a_damaged_archive_is_read_or_refused(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
            keep in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let bytes = std::fs::read(table_file("arrays.npz")).unwrap();
            let bytes = damaged(bytes, changes, keep);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.npz");
            std::fs::write(&path, &bytes).unwrap();
            let limits = Limits { values_max: 10_000, ..Limits::default() };
            for samples in ["images", "rows", "fortran", "texts"] {
                let _ = load("own", &path, &arrays(samples, "labels"), (0.5, 1), limits);
            }
        }

        /// Fortran's order and that of C hold the same elements.
        #[test]
        fn orders_are_exchanged(shape in prop::collection::vec(1u64..5, 1..4)) {
            let count = shape.iter().product::<u64>();
            let values: Vec<u64> = (0..count).collect();
            let ordered = c_order(values, Some(shape.clone()));
            for (index, value) in (0..).zip(&ordered) {
                let (mut rest, mut from, mut stride) = (index, 0, 1);
                let mut place = vec![0; shape.len()];
                for (dimension, size) in shape.iter().enumerate().rev() {
                    place[dimension] = rest % size;
                    rest /= size;
                }
                for (size, at) in shape.iter().zip(&place) {
                    from += at * stride;
                    stride *= size;
                }
                prop_assert_eq!(from, *value);
            }
        }
    }
}
