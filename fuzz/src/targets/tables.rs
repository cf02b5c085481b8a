//! Tables and arrays of others, CSV, Parquet and NumPy files: what is read is
//! whole, within the limits and spread over its bytes; what is refused is told
//! with the file, in a line that is harmless to a terminal.

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use zfl_data::table::arrays::{self, Arrays};
use zfl_data::table::{Columns, Learns, Limits, Ranges, TableFormat, TestPart, column_names, load};
use zfl_data::{Dataset, DatasetError, LoadError, TrainTest};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::input::Input;

const LIMITS: Limits = Limits {
    content_bytes_max: 1 << 16,
    values_max: 1 << 12,
};
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// A message lists names, and each is cut.
const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// In memory, where there is such a folder.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| crate::targets::scratch("table"));

/// What is asked of the table, then the table.
pub(crate) fn check_csv(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let asked = Asked::of(&mut input);
    let file = input.rest();
    let found = asked.read_table(TableFormat::Csv, file);
    if file.starts_with(&GZIP_MAGIC) {
        return;
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(file).expect("memory takes all");
    let packed = packed.finish().expect("memory takes all");
    match (found, asked.read_table(TableFormat::Csv, &packed)) {
        (Ok(left), Ok(right)) => {
            agree(&left.train, &right.train);
            agree(&left.test, &right.test);
        }
        (Err(left), Err(right)) => assert_eq!(left, right),
        (left, right) => panic!("{left:?} and packed {right:?}"),
    }
}

/// What is asked of the table, then the table.
pub(crate) fn check_parquet(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let asked = Asked::of(&mut input);
    let file = input.rest();
    // The same again: nothing is left of a panic that the reader has caught.
    match [(); 2].map(|()| asked.read_table(TableFormat::Parquet, file)) {
        [Ok(left), Ok(right)] => agree(&left.train, &right.train),
        [Err(left), Err(right)] => assert_eq!(left, right),
        [left, right] => panic!("{left:?} and then {right:?}"),
    }
}

/// What is asked of the arrays, then the archive, or the arrays that are put
/// into one: a checksum hides them from whoever changes a byte.
pub(crate) fn check_npz(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let asked = Asked::of(&mut input);
    match asked.how & 0x80 {
        0 => write(input.rest()),
        _ => write(&archive(&mut input)),
    }
    if let Err(message) = asked.read_arrays() {
        refusal_holds(&message);
    }
}

/// An archive of the arrays in the blocks.
fn archive(input: &mut Input<'_>) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for name in ["a.npy", "b.npy", "c.npy", "d.npy"] {
        let options = SimpleFileOptions::default();
        zip.start_file(name, options).expect("memory takes all");
        zip.write_all(input.block()).expect("memory takes all");
    }
    zip.finish().expect("memory takes all").into_inner()
}

fn write(file: &[u8]) {
    std::fs::write(&*FILE, file).expect("room for a file");
}

/// What is asked of a table, by bytes.
struct Asked {
    how: u8,
    picks: [u8; 4],
}

impl Asked {
    fn of(input: &mut Input<'_>) -> Self {
        Self {
            how: input.byte(),
            picks: [(); 4].map(|()| input.byte()),
        }
    }

    fn is(&self, bit: u8) -> bool {
        self.how >> bit & 1 == 1
    }

    /// One of the names.
    fn name(&self, pick: usize, names: &[String]) -> String {
        let place = usize::from(self.picks[pick]).checked_rem(names.len());
        place.map_or_else(|| "none".to_owned(), |place| names[place].clone())
    }

    fn learns(&self) -> Learns {
        match self.is(0) {
            true => Learns::Values,
            false => Learns::Classes,
        }
    }

    fn range(&self) -> Option<(f64, f64)> {
        self.is(3).then_some((-1.0, 20.0))
    }

    fn read_table(&self, format: TableFormat, file: &[u8]) -> Result<TrainTest, String> {
        write(file);
        let found = self.load_table(format);
        std::fs::remove_file(&*FILE).expect("the file that was written");
        match &found {
            Ok(data) => data_holds(data, self.range().is_some()),
            Err(message) => refusal_holds(message),
        }
        found
    }

    fn load_table(&self, format: TableFormat) -> Result<TrainTest, String> {
        let names = column_names(format, &FILE, LIMITS).map_err(|error| error.to_string())?;
        let columns = Columns {
            label: self.name(0, &names),
            learns: self.learns(),
            group: self.is(1).then(|| self.name(1, &names)),
            ignore: match self.is(2) {
                true => vec![self.name(2, &names)],
                false => Vec::new(),
            },
            features: match self.is(5) {
                true => vec![self.name(2, &names), self.name(3, &names)],
                false => Vec::new(),
            },
            shape: match self.is(6) {
                true => vec![1, usize::from(self.picks[3])],
                false => Vec::new(),
            },
            ranges: Ranges {
                all: self.range(),
                columns: Default::default(),
            },
        };
        let test = match self.is(4) {
            true => TestPart::File(FILE.clone()),
            false => TestPart::Share {
                fraction: 0.3,
                seed: 1,
            },
        };
        load("table", format, &FILE, &columns, &test, LIMITS).map_err(told)
    }

    fn read_arrays(&self) -> Result<(), String> {
        let names = arrays::array_names(&FILE, LIMITS).map_err(|error| error.to_string())?;
        let arrays = Arrays {
            samples: self.name(0, &names),
            labels: self.name(1, &names),
            learns: self.learns(),
            groups: self.is(1).then(|| self.name(2, &names)),
            test: match self.is(4) {
                true => Some((self.name(2, &names), self.name(3, &names))),
                false => None,
            },
            range: self.range(),
        };
        let data = arrays::load("arrays", &FILE, &arrays, (0.3, 1), LIMITS).map_err(told)?;
        data_holds(&data, self.range().is_some());
        Ok(())
    }
}

/// What an error says. One of the data set names that, another the file.
fn told(error: LoadError) -> String {
    match error {
        LoadError::Dataset(error) => {
            assert!(!matches!(error, DatasetError::CountMismatch { .. }));
            format!("{}: {error}", FILE.display())
        }
        error => error.to_string(),
    }
}

fn refusal_holds(message: &impl Display) {
    let message = message.to_string();
    let file: &Path = &FILE;
    let rest = message.strip_prefix(&format!("{}: ", file.display()));
    let rest = rest.unwrap_or_else(|| panic!("{message}"));
    assert!(rest.len() <= MESSAGE_BYTES_MAX, "{} bytes", rest.len());
    assert!(!rest.contains(char::is_control), "{rest:?}");
}

fn data_holds(data: &TrainTest, has_range: bool) {
    for part in [&data.train, &data.test] {
        assert!(part.samples().len() <= LIMITS.values_max);
        assert_eq!(part.sample_shape(), data.train.sample_shape());
        assert_eq!(part.schema(), data.train.schema());
        if let Some(groups) = part.groups() {
            assert_eq!(groups.members.len(), part.sample_count());
        }
    }
    let inputs = &data.train.schema().inputs;
    for input in inputs {
        assert!(input.minimum.is_finite() && input.maximum.is_finite());
        assert!(input.minimum <= input.maximum);
        assert!(input.resolution().is_finite());
        assert_eq!(input.byte(input.minimum), 0);
        let last = if input.minimum < input.maximum {
            255
        } else {
            0
        };
        assert_eq!(input.byte(input.maximum), last, "{input:?}");
    }
    // A column's range is that of training, so that its ends are there.
    if !has_range && data.train.sample_shape().len() == 1 {
        for (place, input) in inputs.iter().enumerate() {
            let bytes = data
                .train
                .samples()
                .iter()
                .skip(place)
                .step_by(inputs.len());
            let (low, high) = bytes.fold((255, 0), |(low, high), byte| {
                (u8::min(low, *byte), u8::max(high, *byte))
            });
            let last = if input.minimum < input.maximum {
                255
            } else {
                0
            };
            assert_eq!((low, high), (0, last), "{input:?}");
        }
    }
    match data.train.target_spread() {
        Ok(None) => assert!(data.train.class_count() >= 2),
        Ok(Some(spread)) => {
            assert!(spread.mean.is_finite());
            assert!(spread.deviation.is_finite() && spread.deviation > 0.0);
            let targets = data.train.targets().expect("what the spread is of");
            let mut values = targets.values.iter();
            assert!(values.all(|value| spread.normalised(*value).is_finite()));
        }
        Err(DatasetError::ConstantTarget { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

fn agree(left: &Dataset, right: &Dataset) {
    assert_eq!(left.samples(), right.samples());
    assert_eq!(left.labels(), right.labels());
    assert_eq!(left.targets(), right.targets());
    assert_eq!(left.schema(), right.schema());
    assert_eq!(left.groups(), right.groups());
}
