//! Samples with labels: a data set, views of it, and its split into training
//! and test part.
//!
//! A [`Dataset`] is immutable and shared: a clone costs a reference count. All
//! samples lie in one array, `[sample][input]`, as the bytes they were stored
//! as; an input's value is its byte times [`Dataset::value_scale`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use zfl_seed::{Purpose, Stream};

/// Labels are bytes, so there are no more classes than this.
pub const CLASS_COUNT_MAX: usize = 256;

/// What a [`Dataset`] is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct DatasetParts {
    /// What people call it: `mnist`.
    pub name: String,
    /// Where it came from: a folder, a file, or `embedded`.
    pub origin: String,
    /// The shape of one sample: `[28, 28]`. Its product is the input count.
    pub sample_shape: Vec<usize>,
    /// All samples, one after the other.
    pub samples: Vec<u8>,
    /// One label per sample, below `class_count`.
    pub labels: Vec<u8>,
    /// How many classes there are, 1 to [`CLASS_COUNT_MAX`].
    pub class_count: usize,
    /// What one unit of a sample's byte means: 1/255 where 255 stands for 1.
    pub value_scale: f32,
    /// What inputs and classes are called, where the data say so.
    pub schema: Arc<Schema>,
    /// Who each sample belongs to by nature, where that is known.
    pub groups: Option<Groups>,
}

/// What the inputs and the classes of a data set are called, and what an
/// input's bytes stand for. Empty for images and numbered classes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schema {
    /// Empty, or one for each input of a sample.
    pub inputs: Vec<Input>,
    /// Empty, or one for each class.
    pub class_names: Vec<String>,
}

/// An input whose values were mapped onto bytes: 0 is `minimum`, 255 is
/// `maximum`, and the steps between are equal.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Name of the column, or place in the array: `2` or `0,2`.
    pub name: String,
    /// In the unit of the column.
    pub minimum: f64,
    /// At least `minimum`; equal where the column is constant.
    pub maximum: f64,
}

impl Input {
    /// The byte of `value`: the nearest of the 256 steps, and the first or the
    /// last beyond the range. 0 for all of a constant column.
    pub fn byte(&self, value: f64) -> u8 {
        let span = self.maximum - self.minimum;
        let part = if span > 0.0 {
            (value - self.minimum) / span
        } else {
            0.0
        };
        (part * 255.0).round().clamp(0.0, 255.0) as u8
    }

    /// What one step is, in the unit of the column.
    pub fn resolution(&self) -> f64 {
        (self.maximum - self.minimum) / 255.0
    }
}

/// Who samples belong to by nature: the machine that measured them, the person
/// who wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// What people call the groups. There may be one that no sample belongs to.
    pub names: Vec<String>,
    /// One group per sample, as an index of `names`.
    pub members: Vec<u32>,
}

impl Groups {
    /// Groups from the name that stands at each sample. They are in the order
    /// of their names: whole numbers by value and before other names, so that
    /// 10 comes after 9.
    pub fn from_names<N: AsRef<str>>(names: &[N]) -> Self {
        let key = |name: &'_ str| (name.parse::<u64>().unwrap_or(u64::MAX), name.to_owned());
        let mut numbers: BTreeMap<(u64, String), u32> =
            names.iter().map(|name| (key(name.as_ref()), 0)).collect();
        for (number, group) in (0..).zip(numbers.values_mut()) {
            *group = number;
        }
        Self {
            members: names
                .iter()
                .filter_map(|name| numbers.get(&key(name.as_ref())).copied())
                .collect(),
            names: numbers.into_keys().map(|(_, name)| name).collect(),
        }
    }
}

/// What is learnt in place of classes: a number for each sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Targets {
    /// What people call it: `temperature`.
    pub name: String,
    /// One finite number per sample, in whatever unit it has.
    pub values: Vec<f32>,
}

/// The mean of numbers and how far they lie from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The arithmetic mean.
    pub mean: f64,
    /// The root of the mean of the squared distances from it.
    pub deviation: f64,
}

impl Spread {
    /// A number in units of the deviation, from the mean.
    pub fn normalised(&self, value: f32) -> f32 {
        ((f64::from(value) - self.mean) / self.deviation) as f32
    }
}

impl Targets {
    /// Their mean and deviation, summed in the order of the samples.
    pub fn spread(&self) -> Spread {
        let count = self.values.len().max(1) as f64;
        let mean = self.values.iter().copied().map(f64::from).sum::<f64>() / count;
        let square = |value: &f32| (f64::from(*value) - mean).powi(2);
        let squares: f64 = self.values.iter().map(square).sum();
        Spread {
            mean,
            deviation: (squares / count).sqrt(),
        }
    }

    /// The smallest and the largest.
    pub fn range(&self) -> (f32, f32) {
        let range = (f32::INFINITY, f32::NEG_INFINITY);
        let values = self.values.iter();
        values.fold(range, |(low, high), value| {
            (low.min(*value), high.max(*value))
        })
    }

    /// For each value, the tenth of all values that it is in, from 0: how many
    /// tenths of them are smaller. Equal values are in the same.
    fn tenths(&self) -> Vec<u8> {
        let mut sorted = self.values.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        let tenth = |value: &f32| {
            let smaller = sorted.partition_point(|other| other < value);
            u8::try_from(smaller * TENTHS / sorted.len().max(1)).unwrap_or(u8::MAX)
        };
        self.values.iter().map(tenth).collect()
    }
}

/// Parts that values are put into where something asks for classes.
const TENTHS: usize = 10;

/// Parts that do not make a data set.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// Nothing to learn from.
    #[error("data set `{name}` has no samples")]
    Empty {
        /// The data set.
        name: String,
    },
    /// A sample without inputs, or too large to count.
    #[error("data set `{name}`: sample shape {shape:?} holds no inputs or too many")]
    SampleShape {
        /// The data set.
        name: String,
        /// The shape given.
        shape: Vec<usize>,
    },
    /// Samples and labels do not pair up.
    #[error(
        "data set `{name}`: {value_count} values are not {label_count} samples of {input_count} inputs, one per label"
    )]
    CountMismatch {
        /// The data set.
        name: String,
        /// Bytes of all samples.
        value_count: usize,
        /// How many labels there are.
        label_count: usize,
        /// Inputs of one sample.
        input_count: usize,
    },
    /// More samples than an index can name.
    #[error("data set `{name}`: {sample_count} samples are more than {}", u32::MAX)]
    TooManySamples {
        /// The data set.
        name: String,
        /// How many there are.
        sample_count: usize,
    },
    /// No classes, or more than labels can name.
    #[error("data set `{name}`: {class_count} classes, allowed are 1 to {CLASS_COUNT_MAX}")]
    ClassCount {
        /// The data set.
        name: String,
        /// The count given.
        class_count: usize,
    },
    /// A label that is no class.
    #[error(
        "data set `{name}`: label {label} of sample {sample} is out of range (0 to {})",
        class_count - 1
    )]
    LabelOutOfRange {
        /// The data set.
        name: String,
        /// Index of the sample.
        sample: usize,
        /// Its label.
        label: u8,
        /// How many classes there are.
        class_count: usize,
    },
    /// Samples and groups do not pair up.
    #[error("data set `{name}`: {member_count} groups of samples for {sample_count} samples")]
    GroupCount {
        /// The data set.
        name: String,
        /// How many samples have a group.
        member_count: usize,
        /// How many samples there are.
        sample_count: usize,
    },
    /// A sample of a group that does not exist.
    #[error(
        "data set `{name}`: sample {sample} belongs to group {group}, but there are {group_count}"
    )]
    NoSuchGroup {
        /// The data set.
        name: String,
        /// Index of the sample.
        sample: usize,
        /// Its group.
        group: u32,
        /// How many groups there are.
        group_count: usize,
    },
    /// Samples and target values do not pair up.
    #[error("data set `{name}`: {value_count} values of `{target}` for {sample_count} samples")]
    TargetCount {
        /// The data set.
        name: String,
        /// What is to be learnt.
        target: String,
        /// How many values there are.
        value_count: usize,
        /// How many samples there are.
        sample_count: usize,
    },
    /// A target value that is no number.
    #[error("data set `{name}`: `{target}` of sample {sample} is {value}, not a finite number")]
    TargetValue {
        /// The data set.
        name: String,
        /// What is to be learnt.
        target: String,
        /// Index of the sample.
        sample: usize,
        /// The value.
        value: f32,
    },
    /// Nothing to learn.
    #[error("data set `{name}`: `{target}` is {value} in every sample, there is nothing to learn")]
    ConstantTarget {
        /// The data set.
        name: String,
        /// What is to be learnt.
        target: String,
        /// The one value.
        value: f32,
    },
    /// A scale that is not a positive number.
    #[error("data set `{name}`: value scale {value_scale} is not a positive number")]
    ValueScale {
        /// The data set.
        name: String,
        /// The scale given.
        value_scale: f32,
    },
    /// Names that do not fit what they name.
    #[error(
        "data set `{name}`: {input_names} names for {input_count} inputs and {class_names} names for {class_count} classes"
    )]
    Schema {
        /// The data set.
        name: String,
        /// How many inputs are named.
        input_names: usize,
        /// How many there are.
        input_count: usize,
        /// How many classes are named.
        class_names: usize,
        /// How many there are.
        class_count: usize,
    },
    /// An index beyond the samples.
    #[error("data set `{name}`: no sample {index}, there are {sample_count}")]
    NoSuchSample {
        /// The data set.
        name: String,
        /// The index given.
        index: u32,
        /// How many samples there are.
        sample_count: usize,
    },
    /// A split that leaves one part empty.
    #[error(
        "data set `{name}`: a test fraction of {test_fraction} of {sample_count} samples leaves the training or the test part empty; it must lie between 0 and 1"
    )]
    TestFraction {
        /// The data set.
        name: String,
        /// The fraction given.
        test_fraction: f64,
        /// How many samples there are.
        sample_count: usize,
    },
}

/// Samples with labels, shared and immutable.
#[derive(Clone)]
pub struct Dataset(Arc<Checked>);

#[derive(Clone)]
struct Checked {
    parts: DatasetParts,
    input_count: usize,
    targets: Option<Targets>,
}

impl Dataset {
    /// Checks `parts` and makes them a data set.
    ///
    /// # Errors
    /// [`DatasetError`]: empty, misshapen, or a label out of range.
    pub fn new(parts: DatasetParts) -> Result<Self, DatasetError> {
        let name = || parts.name.clone();
        let input_count =
            input_count(&parts.sample_shape).ok_or_else(|| DatasetError::SampleShape {
                name: name(),
                shape: parts.sample_shape.clone(),
            })?;
        let sample_count = parts.labels.len();
        if sample_count.checked_mul(input_count) != Some(parts.samples.len()) {
            return Err(DatasetError::CountMismatch {
                name: name(),
                value_count: parts.samples.len(),
                label_count: sample_count,
                input_count,
            });
        }
        if sample_count == 0 {
            return Err(DatasetError::Empty { name: name() });
        }
        if u32::try_from(sample_count).is_err() {
            return Err(DatasetError::TooManySamples {
                name: name(),
                sample_count,
            });
        }
        if !(1..=CLASS_COUNT_MAX).contains(&parts.class_count) {
            return Err(DatasetError::ClassCount {
                name: name(),
                class_count: parts.class_count,
            });
        }
        if let Some((sample, label)) = label_out_of_range(&parts.labels, parts.class_count) {
            return Err(DatasetError::LabelOutOfRange {
                name: name(),
                sample,
                label,
                class_count: parts.class_count,
            });
        }
        if !(parts.value_scale.is_finite() && parts.value_scale > 0.0) {
            return Err(DatasetError::ValueScale {
                name: name(),
                value_scale: parts.value_scale,
            });
        }
        let fits = |names: usize, count: usize| names == 0 || names == count;
        let (input_names, class_names) =
            (parts.schema.inputs.len(), parts.schema.class_names.len());
        if !(fits(input_names, input_count) && fits(class_names, parts.class_count)) {
            return Err(DatasetError::Schema {
                name: name(),
                input_names,
                input_count,
                class_names,
                class_count: parts.class_count,
            });
        }
        if let Some(groups) = &parts.groups {
            check_groups(&parts.name, groups, sample_count)?;
        }
        Ok(Self(Arc::new(Checked {
            parts,
            input_count,
            targets: None,
        })))
    }

    /// A data set of values to learn (regression). The labels and the class
    /// count of `parts` do not matter: where something asks for classes, as
    /// partitions by label do, they are the tenths of the values, 0 to 9, in
    /// ascending order.
    ///
    /// # Errors
    /// [`DatasetError`]: as [`Dataset::new`]; not one finite value per sample.
    pub fn with_targets(mut parts: DatasetParts, targets: Targets) -> Result<Self, DatasetError> {
        let mut values = targets.values.iter().copied().enumerate();
        if let Some((sample, value)) = values.find(|(_, value)| !value.is_finite()) {
            return Err(DatasetError::TargetValue {
                name: parts.name,
                target: targets.name,
                sample,
                value,
            });
        }
        let value_count = targets.values.len();
        let sample_count =
            input_count(&parts.sample_shape).map(|inputs| parts.samples.len() / inputs);
        if let Some(sample_count) = sample_count.filter(|count| *count != value_count) {
            return Err(DatasetError::TargetCount {
                name: parts.name,
                target: targets.name,
                value_count,
                sample_count,
            });
        }
        parts.labels = targets.tenths();
        parts.class_count = TENTHS;
        let Self(checked) = Self::new(parts)?;
        let Checked {
            parts, input_count, ..
        } = Arc::unwrap_or_clone(checked);
        Ok(Self(Arc::new(Checked {
            parts,
            input_count,
            targets: Some(targets),
        })))
    }

    /// The values to learn in place of labels, where it has such.
    pub fn targets(&self) -> Option<&Targets> {
        self.0.targets.as_ref()
    }

    /// What the target values are normalised by; `None` where there are labels.
    ///
    /// # Errors
    /// [`DatasetError::ConstantTarget`].
    pub fn target_spread(&self) -> Result<Option<Spread>, DatasetError> {
        let Some(targets) = self.targets() else {
            return Ok(None);
        };
        let first = targets.values.first().copied().unwrap_or_default();
        if targets.values.iter().all(|value| *value == first) {
            return Err(DatasetError::ConstantTarget {
                name: self.name().to_owned(),
                target: targets.name.clone(),
                value: first,
            });
        }
        Ok(Some(targets.spread()))
    }

    /// Outputs that a model of it has: one for each class, or one for the value.
    pub fn output_count(&self) -> usize {
        match self.targets() {
            Some(_) => 1,
            None => self.class_count(),
        }
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.0.parts.name
    }

    /// Where it came from.
    pub fn origin(&self) -> &str {
        &self.0.parts.origin
    }

    /// How many samples there are, at least 1.
    pub fn sample_count(&self) -> usize {
        self.0.parts.labels.len()
    }

    /// The shape of one sample.
    pub fn sample_shape(&self) -> &[usize] {
        &self.0.parts.sample_shape
    }

    /// Inputs (bytes) of one sample.
    pub fn input_count(&self) -> usize {
        self.0.input_count
    }

    /// How many classes there are; every label is below. Of values to learn,
    /// see [`Dataset::with_targets`].
    pub fn class_count(&self) -> usize {
        self.0.parts.class_count
    }

    /// What one unit of a sample's byte means.
    pub fn value_scale(&self) -> f32 {
        self.0.parts.value_scale
    }

    /// What inputs and classes are called, where the data say so.
    pub fn schema(&self) -> &Schema {
        &self.0.parts.schema
    }

    /// Who its samples belong to by nature, where that is known.
    pub fn groups(&self) -> Option<&Groups> {
        self.0.parts.groups.as_ref()
    }

    /// All samples, `[sample][input]`.
    pub fn samples(&self) -> &[u8] {
        &self.0.parts.samples
    }

    /// All labels.
    pub fn labels(&self) -> &[u8] {
        &self.0.parts.labels
    }

    /// The same with other samples, as many and of the same shape.
    pub(crate) fn with_samples(&self, samples: Vec<u8>) -> Result<Self, DatasetError> {
        let Checked { parts, targets, .. } = &*self.0;
        let parts = DatasetParts {
            name: parts.name.clone(),
            origin: parts.origin.clone(),
            sample_shape: parts.sample_shape.clone(),
            samples,
            labels: parts.labels.clone(),
            class_count: parts.class_count,
            value_scale: parts.value_scale,
            groups: parts.groups.clone(),
            schema: Arc::clone(&parts.schema),
        };
        match targets {
            None => Self::new(parts),
            Some(targets) => Self::with_targets(parts, targets.clone()),
        }
    }

    /// The inputs of one sample; `None` beyond the last.
    pub fn sample(&self, index: usize) -> Option<&[u8]> {
        let start = index.checked_mul(self.0.input_count)?;
        self.samples()
            .get(start..start.checked_add(self.0.input_count)?)
    }

    /// The label of one sample; `None` beyond the last.
    pub fn label(&self, index: usize) -> Option<u8> {
        self.labels().get(index).copied()
    }

    /// How many samples each class has, `[class_count]`.
    pub fn label_counts(&self) -> Vec<u32> {
        count_labels(self.labels().iter().copied(), self.class_count())
    }

    /// The smallest and the largest byte of all samples.
    pub fn value_range(&self) -> (u8, u8) {
        self.samples()
            .iter()
            .fold((u8::MAX, u8::MIN), |(low, high), value| {
                (low.min(*value), high.max(*value))
            })
    }

    /// The samples of `indices`, in that order; an index may occur twice.
    ///
    /// # Errors
    /// [`DatasetError::NoSuchSample`] for an index beyond the last sample.
    pub fn view(&self, indices: impl Into<Arc<[u32]>>) -> Result<View, DatasetError> {
        let indices = indices.into();
        match indices
            .iter()
            .find(|index| **index as usize >= self.sample_count())
        {
            None => Ok(View {
                dataset: self.clone(),
                indices,
            }),
            Some(index) => Err(DatasetError::NoSuchSample {
                name: self.name().to_owned(),
                index: *index,
                sample_count: self.sample_count(),
            }),
        }
    }

    /// Splits into training and test part: samples are shuffled with the
    /// stream [`Purpose::TestSplit`] of `seed`, and the first
    /// `test_fraction` of them (rounded to the nearest count) is the test
    /// part. Both parts are copies, so that each is one contiguous array.
    ///
    /// # Errors
    /// [`DatasetError::TestFraction`] if either part would be empty.
    pub fn split_test(&self, seed: u64, test_fraction: f64) -> Result<TrainTest, DatasetError> {
        let sample_count = self.sample_count();
        let split = test_split(seed, test_fraction, sample_count);
        let (test, train) = split.ok_or_else(|| DatasetError::TestFraction {
            name: self.name().to_owned(),
            test_fraction,
            sample_count,
        })?;
        Ok(TrainTest {
            train: self.view(train)?.to_dataset()?,
            test: self.view(test)?.to_dataset()?,
        })
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Dataset")
            .field("name", &self.name())
            .field("sample_count", &self.sample_count())
            .field("sample_shape", &self.sample_shape())
            .field("class_count", &self.class_count())
            .finish_non_exhaustive()
    }
}

/// A data set in two parts of the same sample shape and classes.
#[derive(Clone, Debug)]
pub struct TrainTest {
    /// What the clients share among them.
    pub train: Dataset,
    /// What the coordinator evaluates on.
    pub test: Dataset,
}

/// Some samples of a data set, in an order of their own.
#[derive(Clone)]
pub struct View {
    dataset: Dataset,
    /// Each below the data set's sample count.
    indices: Arc<[u32]>,
}

impl View {
    /// The data set looked at.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Indices into the data set.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// How many samples are in view; may be 0.
    pub fn sample_count(&self) -> usize {
        self.indices.len()
    }

    /// Inputs and label of the sample at `position` of the view.
    pub fn get(&self, position: usize) -> Option<(&[u8], u8)> {
        let index = *self.indices.get(position)? as usize;
        Some((self.dataset.sample(index)?, self.dataset.label(index)?))
    }

    /// Inputs and label of each sample in view.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u8)> {
        (0..self.indices.len()).filter_map(|position| self.get(position))
    }

    /// The samples in view as one array, `[sample][input]`.
    pub fn to_samples(&self) -> Vec<u8> {
        // A view may repeat samples, but rarely holds more than the whole.
        let whole = self.dataset.samples().len();
        let needed = self
            .sample_count()
            .saturating_mul(self.dataset.input_count());
        let mut samples = Vec::with_capacity(needed.min(whole));
        for (sample, _) in self.iter() {
            samples.extend_from_slice(sample);
        }
        samples
    }

    /// The labels in view.
    pub fn to_labels(&self) -> Vec<u8> {
        self.iter().map(|(_, label)| label).collect()
    }

    /// How many samples in view each class has, `[class_count]`.
    pub fn label_counts(&self) -> Vec<u32> {
        count_labels(
            self.iter().map(|(_, label)| label),
            self.dataset.class_count(),
        )
    }

    /// Who the samples in view belong to; the numbers of the groups stay.
    fn to_groups(&self) -> Option<Groups> {
        let groups = self.dataset.groups()?;
        let member = |index: &u32| groups.members.get(*index as usize).copied();
        Some(Groups {
            names: groups.names.clone(),
            members: self.indices.iter().filter_map(member).collect(),
        })
    }

    /// A data set of its own: a copy of what is in view.
    ///
    /// # Errors
    /// [`DatasetError::Empty`] if nothing is in view.
    pub fn to_dataset(&self) -> Result<Dataset, DatasetError> {
        let Checked { parts, targets, .. } = &*self.dataset.0;
        let parts = DatasetParts {
            name: parts.name.clone(),
            origin: parts.origin.clone(),
            sample_shape: parts.sample_shape.clone(),
            samples: self.to_samples(),
            labels: self.to_labels(),
            class_count: parts.class_count,
            value_scale: parts.value_scale,
            schema: Arc::clone(&parts.schema),
            groups: self.to_groups(),
        };
        let Some(Targets { name, values }) = targets else {
            return Dataset::new(parts);
        };
        let value = |index: &u32| values.get(*index as usize).copied();
        Dataset::with_targets(
            parts,
            Targets {
                name: name.clone(),
                values: self.indices.iter().filter_map(value).collect(),
            },
        )
    }
}

impl fmt::Debug for View {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("View")
            .field("dataset", &self.dataset)
            .field("sample_count", &self.sample_count())
            .finish_non_exhaustive()
    }
}

/// Inputs of a sample; `None` if it has none or too many to count.
fn input_count(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1usize, |product, size| product.checked_mul(*size))
        .filter(|count| *count > 0 && !shape.is_empty())
}

/// The indices of the test and of the training part, as
/// [`Dataset::split_test`] has them; `None` if either is empty.
pub(crate) fn test_split(
    seed: u64,
    test_fraction: f64,
    sample_count: usize,
) -> Option<(Vec<u32>, Vec<u32>)> {
    let test_count = if (0.0..=1.0).contains(&test_fraction) {
        (sample_count as f64 * test_fraction).round() as usize
    } else {
        0
    };
    let mut order = indices(sample_count);
    Stream::new(seed, Purpose::TestSplit, 0).shuffle(&mut order);
    let (test, train) = order.split_at_checked(test_count)?;
    (!test.is_empty() && !train.is_empty()).then(|| (test.to_vec(), train.to_vec()))
}

/// The indices of `sample_count` samples, in order.
pub(crate) fn indices(sample_count: usize) -> Vec<u32> {
    // Never more than a `u32` can name: `Dataset::new` sees to it.
    (0..u32::try_from(sample_count).unwrap_or(u32::MAX)).collect()
}

/// One group that exists for each sample.
fn check_groups(name: &str, groups: &Groups, sample_count: usize) -> Result<(), DatasetError> {
    if groups.members.len() != sample_count {
        return Err(DatasetError::GroupCount {
            name: name.to_owned(),
            member_count: groups.members.len(),
            sample_count,
        });
    }
    let group_count = groups.names.len();
    let mut members = groups.members.iter().copied().enumerate();
    match members.find(|(_, group)| *group as usize >= group_count) {
        None => Ok(()),
        Some((sample, group)) => Err(DatasetError::NoSuchGroup {
            name: name.to_owned(),
            sample,
            group,
            group_count,
        }),
    }
}

/// The first label that is no class, with its position.
pub(crate) fn label_out_of_range(labels: &[u8], class_count: usize) -> Option<(usize, u8)> {
    labels
        .iter()
        .copied()
        .enumerate()
        .find(|(_, label)| usize::from(*label) >= class_count)
}

pub(crate) fn count_labels(labels: impl Iterator<Item = u8>, class_count: usize) -> Vec<u32> {
    let mut counts = vec![0u32; class_count];
    for label in labels {
        if let Some(count) = counts.get_mut(usize::from(label)) {
            *count += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::small_dataset;

    fn parts() -> DatasetParts {
        DatasetParts {
            name: "small".into(),
            origin: "test".into(),
            sample_shape: vec![1, 2],
            samples: vec![0, 1, 10, 11, 20, 21],
            labels: vec![2, 0, 1],
            class_count: 3,
            value_scale: 0.5,
            schema: Default::default(),
            groups: None,
        }
    }

    fn check(change: impl FnOnce(&mut DatasetParts), message: &str) {
        let mut parts = parts();
        change(&mut parts);
        assert_eq!(Dataset::new(parts).unwrap_err().to_string(), message);
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        check(
            |parts| {
                parts.samples.clear();
                parts.labels.clear();
            },
            "data set `small` has no samples",
        );
        for shape in [vec![], vec![0, 2], vec![usize::MAX, 2]] {
            let message =
                format!("data set `small`: sample shape {shape:?} holds no inputs or too many");
            check(|parts| parts.sample_shape = shape, &message);
        }
        check(
            |parts| parts.labels.push(0),
            "data set `small`: 6 values are not 4 samples of 2 inputs, one per label",
        );
        check(
            |parts| parts.class_count = 2,
            "data set `small`: label 2 of sample 0 is out of range (0 to 1)",
        );
        check(
            |parts| parts.class_count = 0,
            "data set `small`: 0 classes, allowed are 1 to 256",
        );
        check(
            |parts| parts.class_count = 257,
            "data set `small`: 257 classes, allowed are 1 to 256",
        );
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let message = format!("data set `small`: value scale {scale} is not a positive number");
            check(|parts| parts.value_scale = scale, &message);
        }
    }

    #[test]
    fn groups_that_do_not_fit_are_refused() {
        let groups = |members: &[u32]| {
            Some(Groups {
                names: vec!["a".into(), "b".into()],
                members: members.to_vec(),
            })
        };
        check(
            |parts| parts.groups = groups(&[0, 1]),
            "data set `small`: 2 groups of samples for 3 samples",
        );
        check(
            |parts| parts.groups = groups(&[0, 2, 1]),
            "data set `small`: sample 1 belongs to group 2, but there are 2",
        );
    }

    #[test]
    fn groups_are_in_the_order_of_their_names() {
        let groups = Groups::from_names(&["10", "b", "9", "10", "", "a"]);
        assert_eq!(groups.names, ["9", "10", "", "a", "b"]);
        assert_eq!(groups.members, [1, 4, 0, 1, 2, 3]);
        let none: [&str; 0] = [];
        assert_eq!(Groups::from_names(&none).names.len(), 0);
    }

    /// Views and the split into parts keep who a sample belongs to.
    #[test]
    fn a_copy_keeps_the_groups() {
        let mut parts = parts();
        parts.groups = Some(Groups::from_names(&["x", "y", "z"]));
        let dataset = Dataset::new(parts).unwrap();
        let copy = dataset.view(vec![2, 0]).unwrap().to_dataset().unwrap();
        let groups = copy.groups().unwrap();
        assert_eq!(groups.members, [2, 0]);
        assert_eq!(groups.names, ["x", "y", "z"]);
        let TrainTest { train, test } = dataset.split_test(1, 0.34).unwrap();
        for part in [train, test] {
            let groups = part.groups().unwrap();
            for (sample, group) in groups.members.iter().enumerate() {
                let first_input = part.sample(sample).unwrap()[0];
                assert_eq!(u32::from(first_input), group * 10);
            }
        }
    }

    #[test]
    fn samples_are_found_by_index() {
        let dataset = Dataset::new(parts()).unwrap();
        assert_eq!(dataset.input_count(), 2);
        assert_eq!(dataset.sample(1), Some(&[10, 11][..]));
        assert_eq!(dataset.label(1), Some(0));
        assert_eq!(dataset.sample(3), None);
        assert_eq!(dataset.sample(usize::MAX), None);
        assert_eq!(dataset.label(3), None);
        assert_eq!(dataset.label_counts(), [1, 1, 1]);
        assert_eq!(dataset.value_range(), (0, 21));
    }

    #[test]
    fn a_clone_shares_its_samples() {
        let dataset = Dataset::new(parts()).unwrap();
        let clone = dataset.clone();
        assert!(std::ptr::eq(
            dataset.samples().as_ptr(),
            clone.samples().as_ptr()
        ));
    }

    #[test]
    fn a_view_keeps_its_order() {
        let view = Dataset::new(parts()).unwrap().view(vec![2, 0, 2]).unwrap();
        assert_eq!(view.to_samples(), [20, 21, 0, 1, 20, 21]);
        assert_eq!(view.to_labels(), [1, 2, 1]);
        assert_eq!(view.label_counts(), [0, 2, 1]);
        assert_eq!(view.get(1), Some((&[0, 1][..], 2)));
        assert_eq!(view.get(3), None);
        let copy = view.to_dataset().unwrap();
        assert_eq!(copy.samples(), view.to_samples());
        assert_eq!(copy.class_count(), 3);
    }

    #[test]
    fn a_view_beyond_the_samples_is_refused() {
        assert_eq!(
            Dataset::new(parts())
                .unwrap()
                .view(vec![0, 3])
                .unwrap_err()
                .to_string(),
            "data set `small`: no sample 3, there are 3"
        );
    }

    #[test]
    fn a_split_that_leaves_a_part_empty_is_refused() {
        let dataset = small_dataset(10);
        for fraction in [0.0, 0.01, 0.99, 1.0, -0.5, 1.5, f64::NAN, f64::INFINITY] {
            assert!(
                matches!(
                    dataset.split_test(1, fraction),
                    Err(DatasetError::TestFraction { .. })
                ),
                "{fraction}"
            );
        }
    }

    #[test]
    fn a_split_follows_its_seed() {
        let dataset = small_dataset(100);
        let test = |seed| {
            dataset
                .split_test(seed, 0.2)
                .unwrap()
                .test
                .samples()
                .to_vec()
        };
        assert_eq!(test(1), test(1));
        assert_ne!(test(1), test(2));
    }

    fn with_values(values: &[f32]) -> Result<Dataset, DatasetError> {
        let targets = Targets {
            name: "height".into(),
            values: values.to_vec(),
        };
        Dataset::with_targets(parts(), targets)
    }

    #[test]
    fn values_to_learn_stay_with_their_samples() {
        let dataset = with_values(&[4.0, -2.0, 1.0]).unwrap();
        assert_eq!((dataset.output_count(), dataset.class_count()), (1, 10));
        assert_eq!(dataset.labels(), [6, 0, 3]);
        let Some(spread) = dataset.target_spread().unwrap() else {
            panic!("no spread");
        };
        assert_eq!((spread.mean, spread.deviation), (1.0, 6f64.sqrt()));
        assert_eq!(spread.normalised(1.0), 0.0);
        let split = dataset.split_test(1, 0.34).unwrap();
        for part in [split.train, split.test] {
            for (sample, value) in part
                .samples()
                .chunks(2)
                .zip(&part.targets().unwrap().values)
            {
                let index = usize::from(sample[0] / 10);
                assert_eq!(*value, [4.0, -2.0, 1.0][index]);
            }
        }
        let others = dataset.with_samples(vec![7; 6]).unwrap();
        assert_eq!(others.targets(), dataset.targets());
        let labels = Dataset::new(parts()).unwrap();
        assert_eq!(labels.target_spread(), Ok(None));
        assert_eq!(labels.output_count(), 3);
    }

    #[test]
    fn values_that_cannot_be_learnt_are_named() {
        let error = |values: &[f32]| with_values(values).unwrap_err().to_string();
        assert_eq!(
            error(&[1.0, f32::NAN, 2.0]),
            "data set `small`: `height` of sample 1 is NaN, not a finite number"
        );
        assert_eq!(
            error(&[1.0, 2.0]),
            "data set `small`: 2 values of `height` for 3 samples"
        );
        let constant = with_values(&[1.5; 3]).unwrap();
        assert_eq!(
            constant.target_spread().unwrap_err().to_string(),
            "data set `small`: `height` is 1.5 in every sample, there is nothing to learn"
        );
        // Equal values share a class, and none is left to the chance of sorting.
        assert_eq!(constant.labels(), [0; 3]);
    }

    proptest! {
        #[test]
        fn a_split_holds_each_sample_once(
            sample_count in 2usize..300,
            seed: u64,
            test_fraction in 0.3f64..0.7,
        ) {
            let dataset = small_dataset(sample_count);
            let TrainTest { train, test } = dataset.split_test(seed, test_fraction).unwrap();
            let wanted = (sample_count as f64 * test_fraction).round() as usize;
            prop_assert_eq!(test.sample_count(), wanted);
            // Each sample of `small_dataset` is its own index, so a sorted
            // whole is the original, pairing with labels included.
            let mut all: Vec<(Vec<u8>, u8)> = [train, test]
                .iter()
                .flat_map(|part| {
                    (0..part.sample_count())
                        .map(|i| (part.sample(i).unwrap().to_vec(), part.label(i).unwrap()))
                        .collect::<Vec<_>>()
                })
                .collect();
            all.sort();
            let original: Vec<(Vec<u8>, u8)> = (0..sample_count)
                .map(|i| (dataset.sample(i).unwrap().to_vec(), dataset.label(i).unwrap()))
                .collect();
            prop_assert_eq!(all, original);
        }
    }
}
