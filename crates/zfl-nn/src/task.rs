//! A training task as bytes: the same for messages and files.

use core::fmt;

use crate::error::ShapeError;
use crate::model::{Activation, Kind, LAYERS_MAX, Layer, Loss, Model, Shape};
use crate::training::{Hyperparameters, Rounding};

/// Bytes of a task without its layers.
const FIXED_BYTES: usize = 44;
/// Bytes of a layer.
const LAYER_BYTES: usize = 12;

/// What parameters are stored and sent as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Format {
    /// IEEE 754 single precision.
    #[default]
    F32 = 0,
    /// `i32`, 24 bits behind the point.
    Fixed32 = 1,
    /// `i16`, 12 bits behind the point.
    Fixed16 = 2,
    /// `i8`, 6 bits behind the point.
    Fixed8 = 3,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::F32, Self::Fixed32, Self::Fixed16, Self::Fixed8];

    /// Bytes of one parameter.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 | Self::Fixed32 => 4,
            Self::Fixed16 => 2,
            Self::Fixed8 => 1,
        }
    }
}

/// A model, how to train it, and in which arithmetic.
///
/// As bytes, all numbers little-endian:
///
/// | offset | size | |
/// |---|---|---|
/// | 0 | 1 | format of the parameters: 0 `f32`, 1 `i32`, 2 `i16`, 3 `i8` |
/// | 1 | 1 | rounding: 0 nearest, 1 stochastic |
/// | 2 | 1 | 1: Nesterov momentum |
/// | 3 | 1 | loss: 0 cross-entropy, 1 squared error |
/// | 4 | 4 | epochs |
/// | 8 | 4 | batch size |
/// | 12 | 4 each | learning rate, momentum, weight decay, clip norm, proximal, `f32` |
/// | 32 | 2 | height of a sample |
/// | 34 | 2 | width of a sample |
/// | 36 | 4 | channels of a sample |
/// | 40 | 1 | layers |
/// | 41 | 1 | how many of those with weights, from the first, are frozen |
/// | 42 | 2 | 0 |
/// | 44 | 12 each | layer |
///
/// and a layer:
///
/// | offset | size | |
/// |---|---|---|
/// | 0 | 1 | 1 dense, 2 convolution, 3 max pooling, 4 average pooling, 5 flatten |
/// | 1 | 1 | activation: 0 none, 1 ReLU, 2 leaky ReLU, 3 tanh, 4 sigmoid |
/// | 2 | 1 | side of the kernel or window |
/// | 3 | 1 | stride |
/// | 4 | 1 | padding |
/// | 5 | 3 | 0 |
/// | 8 | 4 | outputs or filters |
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Task {
    /// What is trained.
    pub model: Model,
    /// How.
    pub hyperparameters: Hyperparameters,
    /// In which numbers.
    pub format: Format,
}

/// Why bytes are no task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskError {
    /// The bytes end too early.
    Truncated {
        /// Bytes that are needed.
        needed: usize,
        /// Bytes that there are.
        present: usize,
    },
    /// A field has a value that is not allowed.
    Field {
        /// The field's name.
        name: &'static str,
        /// Where, in bytes from the beginning of the task.
        offset: usize,
    },
    /// The layers make no model.
    Shape(ShapeError),
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { needed, present } => {
                write!(f, "task of {present} bytes, {needed} needed")
            }
            Self::Field { name, offset } => {
                write!(f, "byte {offset} of the task: impossible value of {name}")
            }
            Self::Shape(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for TaskError {}

impl From<ShapeError> for TaskError {
    fn from(error: ShapeError) -> Self {
        Self::Shape(error)
    }
}

/// A task as bytes.
#[derive(Clone, Copy, Debug)]
pub struct TaskBytes {
    bytes: [u8; Task::BYTES_MAX],
    len: usize,
}

impl TaskBytes {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn put(&mut self, bytes: &[u8]) {
        if let Some(slot) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            slot.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }
}

/// All that is encoded was checked to fit.
#[expect(clippy::cast_possible_truncation, reason = "checked by `Model::new`")]
fn byte(value: usize) -> u8 {
    value as u8
}

#[expect(clippy::cast_possible_truncation, reason = "checked by `Model::new`")]
fn word(value: usize) -> [u8; 4] {
    (value as u32).to_le_bytes()
}

impl Task {
    /// Bytes of the largest task.
    pub const BYTES_MAX: usize = FIXED_BYTES + LAYERS_MAX * LAYER_BYTES;

    /// Bytes of all parameters.
    pub fn parameter_bytes(&self) -> usize {
        self.model
            .parameter_count()
            .saturating_mul(self.format.bytes())
    }

    /// Bytes of the parameters that train, the last of all: those of an
    /// update.
    pub fn trained_bytes(&self) -> usize {
        let frozen = self.model.frozen_parameter_count();
        (self.model.parameter_count() - frozen).saturating_mul(self.format.bytes())
    }

    /// The task as bytes.
    pub fn encode(&self) -> TaskBytes {
        let mut out = TaskBytes {
            bytes: [0; Self::BYTES_MAX],
            len: 0,
        };
        let how = &self.hyperparameters;
        out.put(&[
            self.format as u8,
            how.rounding as u8,
            u8::from(how.nesterov),
            self.model.loss() as u8,
        ]);
        out.put(&how.epochs.to_le_bytes());
        // More samples than there are means all of them, as does this.
        out.put(&word(how.batch_size.min(u32::MAX as usize)));
        for value in [
            how.learning_rate,
            how.momentum,
            how.weight_decay,
            how.clip_norm,
            how.proximal,
        ] {
            out.put(&value.to_le_bytes());
        }
        let input = self.model.input();
        for side in [input.height, input.width] {
            let [low, high, ..] = word(side);
            out.put(&[low, high]);
        }
        out.put(&word(input.channels));
        out.put(&[
            byte(self.model.layers().count()),
            byte(self.model.frozen_layer_count()),
            0,
            0,
        ]);
        for layer in self.model.layers() {
            let (kind, activation, size, stride, padding, outputs) = match layer {
                Layer::Dense {
                    outputs,
                    activation,
                } => (1, activation, 0, 0, 0, outputs),
                Layer::Conv2d {
                    filters,
                    kernel,
                    stride,
                    padding,
                    activation,
                } => (2, activation, kernel, stride, padding, filters),
                Layer::MaxPool { size } => (3, Activation::Identity, size, 0, 0, 0),
                Layer::AveragePool { size } => (4, Activation::Identity, size, 0, 0, 0),
                Layer::Flatten => (5, Activation::Identity, 0, 0, 0, 0),
            };
            out.put(&[
                kind,
                activation as u8,
                byte(size),
                byte(stride),
                byte(padding),
            ]);
            out.put(&[0; 3]);
            out.put(&word(outputs));
        }
        out
    }

    /// Reads a task; what follows it is ignored.
    ///
    /// # Errors
    /// When the bytes are none. Hyperparameters other than 0 epochs and a
    /// batch of 0 are checked by [`crate::Training::new`].
    pub fn decode(bytes: &[u8]) -> Result<Self, TaskError> {
        let truncated = |needed| TaskError::Truncated {
            needed,
            present: bytes.len(),
        };
        let field = |name, offset| TaskError::Field { name, offset };
        let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else {
            return Err(truncated(FIXED_BYTES));
        };
        let u32_at = |at: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&fixed[at..at + 4]);
            u32::from_le_bytes(word)
        };
        let f32_at = |at| f32::from_bits(u32_at(at));
        let u16_at = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
        let format = Format::ALL
            .into_iter()
            .find(|format| *format as u8 == fixed[0])
            .ok_or(field("format", 0))?;
        let rounding = match fixed[1] {
            0 => Rounding::Nearest,
            1 => Rounding::Stochastic,
            _ => return Err(field("rounding", 1)),
        };
        let nesterov = match fixed[2] {
            0 => false,
            1 => true,
            _ => return Err(field("momentum kind", 2)),
        };
        let loss = match fixed[3] {
            0 => Loss::CrossEntropy,
            1 => Loss::SquaredError,
            _ => return Err(field("loss", 3)),
        };
        let hyperparameters = Hyperparameters {
            epochs: u32_at(4),
            batch_size: u32_at(8) as usize,
            learning_rate: f32_at(12),
            momentum: f32_at(16),
            nesterov,
            weight_decay: f32_at(20),
            clip_norm: f32_at(24),
            proximal: f32_at(28),
            rounding,
        };
        if hyperparameters.epochs == 0 {
            return Err(field("epochs", 4));
        }
        if hyperparameters.batch_size == 0 {
            return Err(field("batch size", 8));
        }
        if !(hyperparameters.learning_rate.is_finite() && hyperparameters.learning_rate >= 0.0) {
            return Err(field("learning rate", 12));
        }
        let input = Shape::image(
            usize::from(u16_at(32)),
            usize::from(u16_at(34)),
            u32_at(36) as usize,
        );
        let layer_count = usize::from(fixed[40]);
        let mut layers = [Layer::Flatten; LAYERS_MAX];
        let Some(layers) = layers.get_mut(..layer_count) else {
            return Err(field("layer count", 40));
        };
        let needed = FIXED_BYTES + layer_count * LAYER_BYTES;
        let Some(records) = bytes.get(FIXED_BYTES..needed) else {
            return Err(truncated(needed));
        };
        for (index, (layer, record)) in layers
            .iter_mut()
            .zip(records.chunks_exact(LAYER_BYTES))
            .enumerate()
        {
            let at = FIXED_BYTES + index * LAYER_BYTES;
            *layer = decode_layer(record, at)?;
        }
        let model = Model::new(input, layers, loss)?.freeze(usize::from(fixed[41]))?;
        Ok(Self {
            model,
            hyperparameters,
            format,
        })
    }
}

fn decode_layer(record: &[u8], at: usize) -> Result<Layer, TaskError> {
    let field = |name, offset: usize| TaskError::Field {
        name,
        offset: at + offset,
    };
    let [kind, activation, size, stride, padding, _, _, _, a, b, c, d] = *record else {
        return Err(field("layer", 0));
    };
    let activation = Activation::ALL
        .into_iter()
        .find(|known| *known as u8 == activation)
        .ok_or(field("activation", 1))?;
    let outputs = u32::from_le_bytes([a, b, c, d]) as usize;
    let (size, stride, padding) = (usize::from(size), usize::from(stride), usize::from(padding));
    Ok(match kind {
        1 => Layer::Dense {
            outputs,
            activation,
        },
        2 => Layer::Conv2d {
            filters: outputs,
            kernel: size,
            stride,
            padding,
            activation,
        },
        3 => Layer::MaxPool { size },
        4 => Layer::AveragePool { size },
        5 => Layer::Flatten,
        _ => return Err(field("layer kind", 0)),
    })
}

impl Model {
    /// The layers, as [`Model::new`] was given them.
    pub fn layers(&self) -> impl Iterator<Item = Layer> {
        let flatten_before = self.flatten_before();
        self.placed()
            .iter()
            .enumerate()
            .flat_map(move |(index, placed)| {
                let flatten = (flatten_before == Some(index)).then_some(Layer::Flatten);
                let activation = placed.activation;
                let layer = match placed.kind {
                    Kind::Dense => Layer::Dense {
                        outputs: placed.width(),
                        activation,
                    },
                    Kind::Conv {
                        kernel,
                        stride,
                        padding,
                    } => Layer::Conv2d {
                        filters: placed.width(),
                        kernel,
                        stride,
                        padding,
                        activation,
                    },
                    Kind::MaxPool { size } => Layer::MaxPool { size },
                    Kind::AveragePool { size } => Layer::AveragePool { size },
                };
                flatten.into_iter().chain(Some(layer))
            })
            .chain((flatten_before == Some(self.placed().len())).then_some(Layer::Flatten))
    }
}
