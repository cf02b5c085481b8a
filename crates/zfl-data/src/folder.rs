//! Finding and loading IDX data sets in folders.
//!
//! A set `NAME` is four files in one folder. Looked for, in this order, in the
//! folder the user names, in that of `ZFL_DATA_DIR`, and in the cache folder;
//! in the first two as `DIR/NAME/` and as `DIR/` itself. Each file may be
//! spelled `train-images-idx3-ubyte` or `train-images.idx3-ubyte`, with or
//! without `.gz`; the test part `t10k-…` or `test-…`. A user's own set may also
//! be given as four paths ([`load_files`]).

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::dataset::{
    CLASS_COUNT_MAX, Dataset, DatasetError, DatasetParts, TrainTest, label_out_of_range,
};
use crate::digits;
use crate::idx::{self, Content, IdxArray, IdxError, Limits};
use crate::table::TableError;

/// The environment variable that names a folder of data sets.
pub const DATA_DIR_VARIABLE: &str = "ZFL_DATA_DIR";

/// The name of the MNIST data set.
pub const MNIST: &str = "mnist";

/// 255 stands for 1: what IDX images mean where nothing else is said.
pub const VALUE_SCALE_DEFAULT: f32 = 1.0 / 255.0;

/// A data set that could not be found or loaded.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A name that would lead out of the folder.
    #[error(
        "data set name `{name}` is not a plain folder name; name one like `mnist`, or give the four files"
    )]
    Name {
        /// The name given.
        name: String,
    },
    /// The folder the user named is none.
    #[error("data folder {} does not exist or is not a folder", path.display())]
    NoDataDir {
        /// The folder given.
        path: PathBuf,
    },
    /// In none of the places.
    #[error(
        "data set `{name}` not found; looked in {}; {}",
        List(looked_in),
        Remedy(name)
    )]
    NotFound {
        /// The data set.
        name: String,
        /// Every folder looked in, in order.
        looked_in: Vec<PathBuf>,
    },
    /// Some of the four files are there, others are not.
    #[error(
        "data set `{name}` in {} is incomplete: no {} (plain or .gz)",
        folder.display(),
        missing.join(", no ")
    )]
    Incomplete {
        /// The data set.
        name: String,
        /// Where the others lie.
        folder: PathBuf,
        /// The canonical names of those that do not.
        missing: Vec<String>,
    },
    /// A file that is not sound IDX.
    #[error(transparent)]
    Idx(#[from] IdxError),
    /// Images and labels do not pair up.
    #[error(
        "{images_file} holds {image_count} images, but {labels_file} holds {label_count} labels"
    )]
    CountMismatch {
        /// The file of the images.
        images_file: String,
        /// How many it holds.
        image_count: u32,
        /// The file of the labels.
        labels_file: String,
        /// How many it holds.
        label_count: u32,
    },
    /// A label that is no class.
    #[error(
        "{file}: label {label} at byte {offset} is out of range (0 to {})",
        class_count - 1
    )]
    LabelOutOfRange {
        /// The file of the labels.
        file: String,
        /// Where in the unpacked content.
        offset: u64,
        /// The label.
        label: u8,
        /// How many classes there are.
        class_count: usize,
    },
    /// Training and test part differ in the shape of a sample.
    #[error("{train_file} has samples of shape {train_shape:?}, but {test_file} of {test_shape:?}")]
    ShapeMismatch {
        /// The file of the training images.
        train_file: String,
        /// Their shape.
        train_shape: Vec<usize>,
        /// The file of the test images.
        test_file: String,
        /// Their shape.
        test_shape: Vec<usize>,
    },
    /// A table or an array that cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Sound files that do not make a data set.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
}

struct List<'a>(&'a [PathBuf]);

impl fmt::Display for List<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("no folder (none is configured)");
        }
        for (position, path) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(formatter, "{separator}{}", path.display())?;
        }
        Ok(())
    }
}

struct Remedy<'a>(&'a str);

impl fmt::Display for Remedy<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == MNIST {
            formatter.write_str(
                "download it with `zfl data fetch mnist`, or name its folder with --data-dir or ZFL_DATA_DIR",
            )
        } else {
            formatter.write_str(
                "put train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (plain or .gz) into one of these, or name their folder with --data-dir or ZFL_DATA_DIR",
            )
        }
    }
}

/// The four files of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdxFiles {
    /// Images of the training part.
    pub train_images: PathBuf,
    /// Labels of the training part.
    pub train_labels: PathBuf,
    /// Images of the test part.
    pub test_images: PathBuf,
    /// Labels of the test part.
    pub test_labels: PathBuf,
}

/// Where data sets are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPath {
    /// The folder the user named (`--data-dir`); must exist.
    pub data_dir: Option<PathBuf>,
    /// The folder of [`DATA_DIR_VARIABLE`].
    pub environment_dir: Option<PathBuf>,
    /// The folder that holds one folder per fetched data set.
    pub cache_dir: Option<PathBuf>,
}

impl SearchPath {
    /// The search path of this process: `data_dir` as given, the rest from
    /// `ZFL_DATA_DIR`, `XDG_CACHE_HOME` and `HOME`.
    pub fn from_environment(data_dir: Option<PathBuf>) -> Self {
        Self::from_variables(data_dir, |name| std::env::var_os(name))
    }

    /// As [`from_environment`](Self::from_environment), with the variables
    /// looked up by `variable`.
    pub fn from_variables(
        data_dir: Option<PathBuf>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Self {
        let folder = |name| {
            variable(name)
                .map(PathBuf::from)
                .filter(|path| !path.as_os_str().is_empty())
        };
        // The XDG Base Directory Specification has relative paths ignored.
        let cache_home = folder("XDG_CACHE_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| folder("HOME").map(|home| home.join(".cache")));
        Self {
            data_dir,
            environment_dir: folder(DATA_DIR_VARIABLE),
            cache_dir: cache_home.map(|path| path.join("zfl")),
        }
    }

    /// Every folder in which the data set `name` may lie, in order.
    pub fn folders(&self, name: &str) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        for folder in [&self.data_dir, &self.environment_dir]
            .into_iter()
            .flatten()
        {
            folders.push(folder.join(name));
            folders.push(folder.clone());
        }
        folders.extend(self.cache_folder(name));
        folders
    }

    /// The folder into which the data set `name` is fetched.
    pub fn cache_folder(&self, name: &str) -> Option<PathBuf> {
        self.cache_dir.as_ref().map(|cache| cache.join(name))
    }

    /// The files of the data set `name`, from the first folder that has any.
    ///
    /// # Errors
    /// [`LoadError::NotFound`] lists where it looked and says what to do;
    /// [`LoadError::Incomplete`] if that folder lacks some of them.
    pub fn find(&self, name: &str) -> Result<IdxFiles, LoadError> {
        if !is_plain_name(name) {
            return Err(LoadError::Name {
                name: name.to_owned(),
            });
        }
        if let Some(path) = self.data_dir.as_ref().filter(|path| !path.is_dir()) {
            return Err(LoadError::NoDataDir { path: path.clone() });
        }
        let looked_in = self.folders(name);
        for folder in &looked_in {
            if let Some(files) = find_in(folder, name)? {
                return Ok(files);
            }
        }
        Err(LoadError::NotFound {
            name: name.to_owned(),
            looked_in,
        })
    }
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

/// One of the four files: the ways its name may begin, and how it may go on.
struct Role {
    starts: &'static [&'static str],
    ends: &'static [&'static str],
}

const IMAGES_ENDS: &[&str] = &["idx3-ubyte", "idx2-ubyte", "idx4-ubyte"];
const LABELS_ENDS: &[&str] = &["idx1-ubyte"];

const ROLES: [Role; 4] = [
    Role {
        starts: &["train-images"],
        ends: IMAGES_ENDS,
    },
    Role {
        starts: &["train-labels"],
        ends: LABELS_ENDS,
    },
    Role {
        starts: &["t10k-images", "test-images"],
        ends: IMAGES_ENDS,
    },
    Role {
        starts: &["t10k-labels", "test-labels"],
        ends: LABELS_ENDS,
    },
];

impl Role {
    /// Every spelling, the canonical one first; plain before gzip, as it loads faster.
    fn names(&self) -> impl Iterator<Item = String> {
        self.starts.iter().flat_map(move |start| {
            self.ends.iter().flat_map(move |end| {
                ["-", "."].into_iter().flat_map(move |separator| {
                    ["", ".gz"]
                        .into_iter()
                        .map(move |packing| format!("{start}{separator}{end}{packing}"))
                })
            })
        })
    }
}

/// The four files in `folder`; `None` if it holds none of them.
fn find_in(folder: &Path, name: &str) -> Result<Option<IdxFiles>, LoadError> {
    let found = ROLES.each_ref().map(|role| {
        role.names()
            .map(|file| folder.join(file))
            .find(|path| path.is_file())
    });
    match found {
        [
            Some(train_images),
            Some(train_labels),
            Some(test_images),
            Some(test_labels),
        ] => Ok(Some(IdxFiles {
            train_images,
            train_labels,
            test_images,
            test_labels,
        })),
        [None, None, None, None] => Ok(None),
        some => Err(LoadError::Incomplete {
            name: name.to_owned(),
            folder: folder.to_owned(),
            missing: ROLES
                .iter()
                .zip(some)
                .filter(|(_, path)| path.is_none())
                .filter_map(|(role, _)| role.names().next())
                .collect(),
        }),
    }
}

/// How [`load`] goes about it.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadOptions {
    /// Where files are looked for.
    pub search_path: SearchPath,
    /// Splits a set that comes in one part (the digits).
    pub seed: u64,
    /// The share of such a set kept for testing, between 0 and 1.
    pub test_fraction: f64,
    /// Bounds of each file.
    pub limits: Limits,
}

impl LoadOptions {
    /// The usual bounds and test fraction.
    pub fn new(search_path: SearchPath, seed: u64) -> Self {
        Self {
            search_path,
            seed,
            test_fraction: digits::TEST_FRACTION_DEFAULT,
            limits: Limits::default(),
        }
    }
}

/// Loads a data set by its name: `digits` is the embedded one, any other is
/// four IDX files found by [`SearchPath::find`].
///
/// MNIST has 10 classes; of others the largest label tells. 255 stands for 1.
///
/// # Errors
/// [`LoadError`]: not found, damaged, or not a data set.
pub fn load(name: &str, options: &LoadOptions) -> Result<TrainTest, LoadError> {
    if name == digits::NAME {
        return digits::load(options.seed, options.test_fraction);
    }
    let files = options.search_path.find(name)?;
    let meaning = Meaning {
        class_count: (name == MNIST).then_some(10),
        value_scale: VALUE_SCALE_DEFAULT,
    };
    load_files(name, &files, meaning, options.limits)
}

/// What the files of a data set do not say of themselves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Meaning {
    /// How many classes there are; where `None`, one more than the largest
    /// label of either part.
    pub class_count: Option<usize>,
    /// What one unit of a sample's byte means.
    pub value_scale: f32,
}

impl Default for Meaning {
    fn default() -> Self {
        Self {
            class_count: None,
            value_scale: VALUE_SCALE_DEFAULT,
        }
    }
}

/// Loads a data set from four files.
///
/// # Errors
/// [`LoadError`]: a damaged file, or parts that do not fit one another.
pub fn load_files(
    name: &str,
    files: &IdxFiles,
    meaning: Meaning,
    limits: Limits,
) -> Result<TrainTest, LoadError> {
    // Labels first: they are small, and their faults then cost no time.
    let train_labels = idx::read_path(&files.train_labels, Content::Labels, limits)?;
    let test_labels = idx::read_path(&files.test_labels, Content::Labels, limits)?;
    let class_count = meaning.class_count.unwrap_or_else(|| {
        let labels = train_labels.values().iter().chain(test_labels.values());
        labels.max().map_or(1, |label| usize::from(*label) + 1)
    });
    let part = |images_path: &Path, labels_path: &Path, labels: IdxArray| {
        let images = idx::read_path(images_path, Content::Images, limits)?;
        let folder = images_path.parent().unwrap_or(Path::new("."));
        join(
            Joined {
                name,
                origin: &folder.display().to_string(),
                images_file: &images_path.display().to_string(),
                labels_file: &labels_path.display().to_string(),
                class_count,
                value_scale: meaning.value_scale,
            },
            images,
            labels,
        )
    };
    let train = part(&files.train_images, &files.train_labels, train_labels)?;
    let test = part(&files.test_images, &files.test_labels, test_labels)?;
    if train.sample_shape() != test.sample_shape() {
        return Err(LoadError::ShapeMismatch {
            train_file: files.train_images.display().to_string(),
            train_shape: train.sample_shape().to_vec(),
            test_file: files.test_images.display().to_string(),
            test_shape: test.sample_shape().to_vec(),
        });
    }
    Ok(TrainTest { train, test })
}

/// What [`join`] needs to know besides the arrays.
pub(crate) struct Joined<'a> {
    pub(crate) name: &'a str,
    pub(crate) origin: &'a str,
    pub(crate) images_file: &'a str,
    pub(crate) labels_file: &'a str,
    pub(crate) class_count: usize,
    pub(crate) value_scale: f32,
}

/// Makes images and labels a data set; errors name file and byte.
pub(crate) fn join(
    joined: Joined<'_>,
    images: IdxArray,
    labels: IdxArray,
) -> Result<Dataset, LoadError> {
    if images.sample_count() != labels.sample_count() {
        return Err(LoadError::CountMismatch {
            images_file: joined.images_file.to_owned(),
            image_count: images.sample_count(),
            labels_file: joined.labels_file.to_owned(),
            label_count: labels.sample_count(),
        });
    }
    // A class count that is none itself is left to `Dataset::new`.
    if (1..=CLASS_COUNT_MAX).contains(&joined.class_count)
        && let Some((index, label)) = label_out_of_range(labels.values(), joined.class_count)
    {
        return Err(LoadError::LabelOutOfRange {
            file: joined.labels_file.to_owned(),
            offset: labels.header_bytes() + index as u64,
            label,
            class_count: joined.class_count,
        });
    }
    let sample_shape = images.shape().iter().skip(1);
    Ok(Dataset::new(DatasetParts {
        name: joined.name.to_owned(),
        origin: joined.origin.to_owned(),
        sample_shape: sample_shape.map(|size| *size as usize).collect(),
        samples: images.into_values(),
        labels: labels.into_values(),
        class_count: joined.class_count,
        value_scale: joined.value_scale,
        schema: Default::default(),
        groups: None,
    })?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::idx::Packing;
    use crate::testing::mnist_data_dir;

    const CANONICAL: [&str; 4] = [
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ];

    fn images(shape: &[u32]) -> IdxArray {
        let count = shape.iter().product::<u32>() as usize;
        IdxArray::new(shape.to_vec(), (0..count).map(|i| i as u8).collect()).unwrap()
    }

    fn labels(labels: &[u8]) -> IdxArray {
        IdxArray::new(vec![labels.len() as u32], labels.to_vec()).unwrap()
    }

    fn write(folder: &Path, name: &str, array: &IdxArray) {
        fs::create_dir_all(folder).unwrap();
        let packing = if name.ends_with(".gz") {
            Packing::Gzip
        } else {
            Packing::Plain
        };
        idx::write_path(array, packing, &folder.join(name)).unwrap();
    }

    /// Three training samples of 2×2 and two test samples.
    fn write_set(folder: &Path, names: [&str; 4]) {
        write(folder, names[0], &images(&[3, 2, 2]));
        write(folder, names[1], &labels(&[0, 1, 2]));
        write(folder, names[2], &images(&[2, 2, 2]));
        write(folder, names[3], &labels(&[2, 4]));
    }

    fn options(data_dir: &Path) -> LoadOptions {
        let search_path = SearchPath {
            data_dir: Some(data_dir.to_owned()),
            ..SearchPath::default()
        };
        LoadOptions::new(search_path, 1)
    }

    fn load_error(folder: &TempDir) -> String {
        let error = load("own", &options(folder.path())).unwrap_err();
        // Folders differ from run to run.
        error
            .to_string()
            .replace(&folder.path().display().to_string(), "DIR")
    }

    #[test]
    fn every_spelling_is_found() {
        for names in [
            CANONICAL,
            [
                "train-images-idx3-ubyte.gz",
                "train-labels-idx1-ubyte.gz",
                "t10k-images-idx3-ubyte.gz",
                "t10k-labels-idx1-ubyte.gz",
            ],
            [
                "train-images.idx3-ubyte",
                "train-labels.idx1-ubyte.gz",
                "t10k-images.idx3-ubyte.gz",
                "t10k-labels.idx1-ubyte",
            ],
            [
                "train-images-idx3-ubyte",
                "train-labels-idx1-ubyte",
                "test-images-idx3-ubyte",
                "test-labels.idx1-ubyte",
            ],
        ] {
            for below in ["own", ""] {
                let folder = tempfile::tempdir().unwrap();
                write_set(&folder.path().join(below), names);
                let TrainTest { train, test } = load("own", &options(folder.path())).unwrap();
                assert_eq!((train.sample_count(), test.sample_count()), (3, 2));
                assert_eq!(train.sample_shape(), [2, 2]);
                // The largest label of either part tells.
                assert_eq!((train.class_count(), test.class_count()), (5, 5));
                assert_eq!(train.value_scale(), 1.0 / 255.0);
                assert_eq!(train.name(), "own");
                assert_eq!(
                    Path::new(train.origin()),
                    folder.path().join(below).components().as_path()
                );
            }
        }
    }

    #[test]
    fn folders_are_searched_in_order() {
        let [first, second, third] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let search_path = SearchPath {
            data_dir: Some(first.path().into()),
            environment_dir: Some(second.path().into()),
            cache_dir: Some(third.path().into()),
        };
        let found = || {
            let files = search_path.find("own").unwrap();
            files.train_images.parent().unwrap().to_owned()
        };
        // From the last place to the first: each addition takes precedence.
        for place in [
            third.path().join("own"),
            second.path().to_owned(),
            second.path().join("own"),
            first.path().to_owned(),
            first.path().join("own"),
        ] {
            write_set(&place, CANONICAL);
            assert_eq!(found(), place);
        }
    }

    #[test]
    fn a_set_found_nowhere_says_where_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let search_path = SearchPath {
            data_dir: Some(folder.path().into()),
            environment_dir: Some("/nonexistent/env".into()),
            cache_dir: Some("/nonexistent/cache/zfl".into()),
        };
        let message = |name| {
            search_path
                .find(name)
                .unwrap_err()
                .to_string()
                .replace(&folder.path().display().to_string(), "DIR")
        };
        assert_eq!(
            message("mnist"),
            "data set `mnist` not found; looked in DIR/mnist, DIR, /nonexistent/env/mnist, \
             /nonexistent/env, /nonexistent/cache/zfl/mnist; download it with `zfl data fetch \
             mnist`, or name its folder with --data-dir or ZFL_DATA_DIR"
        );
        assert!(message("own").contains("put train-images-idx3-ubyte, "));
        assert!(!message("own").contains("fetch"));
    }

    #[test]
    fn a_data_dir_that_does_not_exist_is_an_error() {
        let error = load("mnist", &options(Path::new("/nonexistent/data"))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "data folder /nonexistent/data does not exist or is not a folder"
        );
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        for name in ["", ".", "..", "../mnist", "/etc", "a/b", ".hidden"] {
            assert!(
                matches!(
                    SearchPath::default().find(name),
                    Err(LoadError::Name { .. })
                ),
                "{name}"
            );
        }
    }

    #[test]
    fn the_variables_of_the_environment_are_followed() {
        let check = |variables: &[(&str, &str)], environment: Option<&str>, cache: Option<&str>| {
            let path = SearchPath::from_variables(None, |name| {
                let found = variables.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| value.into())
            });
            assert_eq!(path.environment_dir, environment.map(PathBuf::from));
            assert_eq!(path.cache_folder("mnist"), cache.map(PathBuf::from));
        };
        check(&[], None, None);
        check(&[("HOME", "/h")], None, Some("/h/.cache/zfl/mnist"));
        check(
            &[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")],
            None,
            Some("/c/zfl/mnist"),
        );
        for ignored in ["", "relative"] {
            check(
                &[("HOME", "/h"), ("XDG_CACHE_HOME", ignored)],
                None,
                Some("/h/.cache/zfl/mnist"),
            );
        }
        check(&[("ZFL_DATA_DIR", "/d")], Some("/d"), None);
        check(&[("ZFL_DATA_DIR", "")], None, None);
    }

    #[test]
    fn an_incomplete_set_names_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        write_set(&folder.path().join("own"), CANONICAL);
        fs::remove_file(folder.path().join("own").join(CANONICAL[1])).unwrap();
        fs::remove_file(folder.path().join("own").join(CANONICAL[2])).unwrap();
        assert_eq!(
            load_error(&folder),
            "data set `own` in DIR/own is incomplete: no train-labels-idx1-ubyte, no t10k-images-idx3-ubyte (plain or .gz)"
        );
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let check = |name: &str, array: IdxArray, message: &str| {
            let folder = tempfile::tempdir().unwrap();
            write_set(folder.path(), CANONICAL);
            write(folder.path(), name, &array);
            assert_eq!(load_error(&folder), message);
        };
        check(
            CANONICAL[1],
            labels(&[0, 1]),
            "DIR/train-images-idx3-ubyte holds 3 images, but DIR/train-labels-idx1-ubyte holds 2 labels",
        );
        check(
            CANONICAL[2],
            images(&[2, 2, 3]),
            "DIR/train-images-idx3-ubyte has samples of shape [2, 2], but DIR/t10k-images-idx3-ubyte of [2, 3]",
        );
        check(
            CANONICAL[2],
            images(&[2, 0, 3]),
            "data set `own`: sample shape [0, 3] holds no inputs or too many",
        );
        check(
            CANONICAL[3],
            images(&[2, 2]),
            "DIR/t10k-labels-idx1-ubyte: bad magic 00 00 08 02 at byte 0: labels need 00 00 08 01",
        );
    }

    #[test]
    fn a_label_out_of_range_is_found_at_its_byte() {
        let folder = tempfile::tempdir().unwrap();
        write_set(folder.path(), CANONICAL);
        let files = options(folder.path()).search_path.find("own").unwrap();
        let meaning = Meaning {
            class_count: Some(3),
            value_scale: 0.5,
        };
        let error = load_files("own", &files, meaning, Limits::default()).unwrap_err();
        assert_eq!(
            error,
            LoadError::LabelOutOfRange {
                file: files.test_labels.display().to_string(),
                offset: 9,
                label: 4,
                class_count: 3
            }
        );
        assert!(
            error
                .to_string()
                .ends_with(": label 4 at byte 9 is out of range (0 to 2)")
        );
    }

    /// MNIST has 10 classes whatever its labels say.
    #[test]
    fn a_mnist_with_an_eleventh_class_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        write_set(folder.path(), CANONICAL);
        write(folder.path(), CANONICAL[1], &labels(&[0, 10, 2]));
        assert!(matches!(
            load(MNIST, &options(folder.path())),
            Err(LoadError::LabelOutOfRange {
                label: 10,
                offset: 9,
                ..
            })
        ));
    }

    #[test]
    fn the_digits_need_no_folder() {
        let options = LoadOptions::new(SearchPath::default(), 3);
        let digits = load("digits", &options).unwrap();
        assert_eq!(
            digits.train.sample_count() + digits.test.sample_count(),
            1797
        );
    }

    #[test]
    fn mnist_is_what_is_said_of_it() {
        let Some(folder) = mnist_data_dir() else {
            return;
        };
        let TrainTest { train, test } = load(MNIST, &options(&folder)).unwrap();
        assert_eq!(
            (train.sample_count(), test.sample_count()),
            (60_000, 10_000)
        );
        for part in [&train, &test] {
            assert_eq!(part.sample_shape(), [28, 28]);
            assert_eq!(part.class_count(), 10);
            assert_eq!(part.value_range(), (0, 255));
        }
        assert_eq!(train.labels()[..5], [5, 0, 4, 1, 9]);
        assert_eq!(
            train.label_counts(),
            [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        );
        assert_eq!(
            test.label_counts(),
            [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
        );
    }
}
