//! What can be wrong with a model, its memory and its data.

use core::fmt;

use crate::{LAYERS_MAX, Shape};

/// Why layers do not make a model. Layers are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShapeError {
    /// No layer at all.
    NoLayers,
    /// More than [`LAYERS_MAX`].
    TooManyLayers {
        /// How many.
        layer_count: usize,
    },
    /// Samples without values.
    NoInputs,
    /// A layer of width 0.
    NoOutputs {
        /// Which.
        layer: usize,
    },
    /// A dense layer on an image.
    NotFlat {
        /// Which.
        layer: usize,
        /// What it is given.
        input: Shape,
    },
    /// A second flatten layer.
    FlattenTwice {
        /// Which.
        layer: usize,
    },
    /// A kernel or window larger than the image, padding included.
    Window {
        /// Of which layer.
        layer: usize,
        /// Its side.
        size: usize,
        /// What the layer is given.
        input: Shape,
    },
    /// A kernel, stride, padding or window out of bounds.
    Setting {
        /// Of which layer.
        layer: usize,
        /// Which setting.
        what: &'static str,
        /// Its value.
        value: usize,
        /// The least it can be.
        least: usize,
        /// The most it can be.
        most: usize,
    },
    /// The last layer gives no row of outputs.
    LastLayer,
    /// The last layer has an activation; the loss takes its sums.
    LastActivation,
    /// No layer is left to train.
    AllFrozen,
    /// More values than can be addressed.
    TooLarge,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLayers => f.write_str("a model needs at least one layer"),
            Self::TooManyLayers { layer_count } => {
                write!(
                    f,
                    "{layer_count} layers, at most {LAYERS_MAX} are supported"
                )
            }
            Self::NoInputs => f.write_str("the model has no inputs"),
            Self::NoOutputs { layer } => write!(f, "layer {layer} has no outputs"),
            Self::NotFlat { layer, input } => write!(
                f,
                "layer {layer} is dense, but its input is an image of {input}: put a flatten layer before it"
            ),
            Self::FlattenTwice { layer } => {
                write!(f, "layer {layer} flattens what is flat already")
            }
            Self::Window { layer, size, input } => write!(
                f,
                "layer {layer} has a window of {size}x{size}, larger than its input of {input}"
            ),
            Self::Setting {
                layer,
                what,
                value,
                least,
                most,
            } => write!(
                f,
                "layer {layer}: {what} {value}, must be {least} to {most}"
            ),
            Self::LastLayer => f.write_str("the last layer must be a dense one"),
            Self::LastActivation => {
                f.write_str("the last layer must have no activation: the loss takes its sums")
            }
            Self::AllFrozen => f.write_str("every layer is frozen, nothing is left to train"),
            Self::TooLarge => f.write_str("the model has more parameters than can be addressed"),
        }
    }
}

impl core::error::Error for ShapeError {}

/// Memory or data that does not fit the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InputError {
    /// A slice is not as long as it must be.
    Length {
        /// Which slice.
        what: &'static str,
        /// Its length.
        len: usize,
        /// The length that is needed.
        needed: usize,
    },
    /// A label is none of the classes.
    Label {
        /// Of which sample.
        sample: usize,
        /// The label.
        label: u8,
        /// Labels must be below this.
        class_count: usize,
    },
    /// A target value that is no finite number.
    Target {
        /// Of which sample.
        sample: usize,
    },
    /// A hyperparameter out of bounds.
    Hyperparameter {
        /// Which.
        what: &'static str,
        /// Its value.
        value: f32,
        /// What it may be.
        allowed: &'static str,
    },
    /// The loss or the weights left the range of numbers: the learning rate is
    /// too high, or the data are wrong.
    Diverged {
        /// In which epoch, from 0.
        epoch: u32,
    },
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { what, len, needed } => {
                write!(f, "{what}: {len} values given, {needed} needed")
            }
            Self::Label {
                sample,
                label,
                class_count,
            } => write!(
                f,
                "sample {sample} has label {label}, the model has {class_count} classes"
            ),
            Self::Target { sample } => {
                write!(f, "the target of sample {sample} is not a finite number")
            }
            Self::Hyperparameter {
                what,
                value,
                allowed,
            } => write!(f, "{what} {} must be {allowed}", Decimal(*value)),
            Self::Diverged { epoch } => write!(
                f,
                "training diverged in epoch {}: lower the learning rate",
                epoch + 1
            ),
        }
    }
}

impl core::error::Error for InputError {}

pub(crate) fn check_len(what: &'static str, len: usize, needed: usize) -> Result<(), InputError> {
    if len == needed {
        Ok(())
    } else {
        Err(InputError::Length { what, len, needed })
    }
}

/// Checks that labels are classes.
///
/// # Errors
/// Names the first label that is none of `class_count` classes.
pub(crate) fn check_labels(labels: &[u8], class_count: usize) -> Result<(), InputError> {
    match labels
        .iter()
        .position(|label| usize::from(*label) >= class_count)
    {
        None => Ok(()),
        Some(sample) => Err(InputError::Label {
            sample,
            label: labels[sample],
            class_count,
        }),
    }
}

/// A number for people: as they know it from elsewhere, but on a device with
/// six decimals at most, for to find the shortest form takes 10 KB of code.
struct Decimal(f32);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if cfg!(target_os = "none") {
            self.short(f)
        } else {
            self.0.fmt(f)
        }
    }
}

impl Decimal {
    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MILLIONTHS: u64 = 1_000_000;
        if self.0.is_nan() {
            return f.write_str("NaN");
        }
        // Saturates: of what is out of bounds, the size is enough.
        let millionths = (f64::from(self.0.abs()) * 1e6 + 0.5) as u64;
        let sign = if self.0 < 0.0 { "-" } else { "" };
        write!(f, "{sign}{}", millionths / MILLIONTHS)?;
        let (mut rest, mut digits) = (millionths % MILLIONTHS, 6);
        if rest == 0 {
            return Ok(());
        }
        while rest.is_multiple_of(10) {
            rest /= 10;
            digits -= 1;
        }
        write!(f, ".{rest:0digits$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_decimal_is_near() {
        struct Short(f32);
        impl fmt::Display for Short {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Decimal(self.0).short(f)
            }
        }
        for (value, expected) in [
            (0.0, "0"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (2.000_05, "2.00005"),
            (1e-9, "0"),
            (f32::NAN, "NaN"),
            (-f32::INFINITY, "-18446744073709.551615"),
        ] {
            assert_eq!(Short(value).to_string(), expected);
        }
    }
}
