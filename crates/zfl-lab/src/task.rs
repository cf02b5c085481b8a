//! The training task of an experiment, once its data are known.

use std::path::PathBuf;
use std::sync::Arc;

use zfl_data::Dataset;
use zfl_nn::{Format, Hyperparameters, LAYERS_MAX, Layer, Loss, Model, Shape, ShapeError, Task};
use zfl_server::checkpoint::{self, LoadError};
use zfl_server::{Initial, Schedule};

use crate::experiment::{self, Activation, Arithmetic, CnnLayer, Experiment, ModelKind};

/// Why an experiment has no task.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The layers make no model on this data.
    #[error("model.{kind} on samples of {input}: {source}")]
    Shape {
        /// The model's table in the file.
        kind: &'static str,
        /// The shape of a sample.
        input: Shape,
        /// Why.
        source: ShapeError,
    },
    /// More layers than a model can have.
    #[error(
        "model.{kind} has {count} layers with the output layer, at most {LAYERS_MAX} are supported"
    )]
    TooManyLayers {
        /// The model's table in the file.
        kind: &'static str,
        /// How many.
        count: usize,
    },
    /// The initial weights cannot be had.
    #[error("model.{kind}.initial-weights: {source}")]
    Initial {
        /// The model's table in the file.
        kind: &'static str,
        /// Why.
        source: LoadError,
    },
}

/// What all clients of an experiment are told to do.
///
/// # Errors
/// When the layers do not suit the data.
pub fn task(experiment: &Experiment, train: &Dataset) -> Result<Task, TaskError> {
    let kind = experiment.model.kind.name();
    let input = sample_shape(train.sample_shape(), train.input_count());
    let layers = layers(&experiment.model.kind, train.output_count());
    if layers.len() > LAYERS_MAX {
        return Err(TaskError::TooManyLayers {
            kind,
            count: layers.len(),
        });
    }
    let loss = match experiment.training.loss {
        experiment::Loss::CrossEntropy => Loss::CrossEntropy,
        experiment::Loss::MeanSquaredError => Loss::SquaredError,
    };
    let frozen = experiment.model.frozen.len();
    let model = Model::new(input, &layers, loss)
        .and_then(|model| model.freeze(frozen))
        .map_err(|source| TaskError::Shape {
            kind,
            input,
            source,
        })?;
    let training = &experiment.training;
    let (format, rounding) = match training.arithmetic {
        Arithmetic::F32 => (Format::F32, zfl_nn::Rounding::Nearest),
        Arithmetic::Fixed {
            weight_bits,
            rounding,
        } => (
            match weight_bits {
                experiment::WeightBits::ThirtyTwo => Format::Fixed32,
                experiment::WeightBits::Sixteen => Format::Fixed16,
                experiment::WeightBits::Eight => Format::Fixed8,
            },
            match rounding {
                experiment::Rounding::Nearest => zfl_nn::Rounding::Nearest,
                experiment::Rounding::Stochastic => zfl_nn::Rounding::Stochastic,
            },
        ),
    };
    Ok(Task {
        model,
        hyperparameters: Hyperparameters {
            epochs: training.epochs,
            batch_size: usize::try_from(training.batch_size).unwrap_or(usize::MAX),
            learning_rate: training.learning_rate,
            momentum: training.momentum,
            nesterov: training.nesterov,
            weight_decay: training.weight_decay,
            clip_norm: training.clip_norm.unwrap_or(0.0),
            proximal: training.proximal,
            rounding,
        },
        format,
    })
}

/// The model before round 1.
///
/// # Errors
/// When the file of initial weights cannot be read, or is of another model.
pub(crate) fn initial(experiment: &Experiment, task: &Task) -> Result<Initial, TaskError> {
    let kind = experiment.model.kind.name();
    match &experiment.model.initial_weights {
        Some(path) => {
            let path: &PathBuf = path;
            let parameters = checkpoint::load(path, &task.model)
                .map_err(|source| TaskError::Initial { kind, source })?;
            Ok(Initial::Given(Arc::new(parameters)))
        }
        None => Ok(Initial::Drawn(match experiment.model.initialisation {
            experiment::Initialisation::Auto => zfl_nn::Initialisation::Auto,
            experiment::Initialisation::He => zfl_nn::Initialisation::He,
            experiment::Initialisation::Glorot => zfl_nn::Initialisation::Glorot,
            experiment::Initialisation::Zeros => zfl_nn::Initialisation::Zeros,
        })),
    }
}

/// How the learning rate changes.
pub(crate) fn schedule(experiment: &Experiment) -> Schedule {
    match experiment.training.schedule {
        experiment::Schedule::Constant => Schedule::Constant,
        experiment::Schedule::Step { every, factor } => Schedule::Step {
            every,
            factor: f64::from(factor),
        },
        experiment::Schedule::Exponential { factor } => Schedule::Exponential {
            factor: f64::from(factor),
        },
        experiment::Schedule::Cosine { minimum } => Schedule::Cosine {
            minimum: f64::from(minimum),
            rounds: experiment.rounds,
        },
        experiment::Schedule::WarmUp { rounds } => Schedule::WarmUp { rounds },
    }
}

/// Height, width and channels of a sample, as far as it has them.
fn sample_shape(shape: &[usize], inputs: usize) -> Shape {
    match *shape {
        [height, width] => Shape::image(height, width, 1),
        [height, width, channels] => Shape::image(height, width, channels),
        _ => Shape::flat(inputs),
    }
}

/// The layers of a model, the output layer included.
fn layers(kind: &ModelKind, classes: usize) -> Vec<Layer> {
    let dense = |outputs, activation| Layer::Dense {
        outputs,
        activation,
    };
    let mut layers = match kind {
        ModelKind::SoftmaxRegression => vec![Layer::Flatten],
        ModelKind::Mlp { hidden, activation } => {
            let hidden = hidden
                .iter()
                .map(|width| dense(usize::from(*width), of(*activation)));
            std::iter::once(Layer::Flatten).chain(hidden).collect()
        }
        ModelKind::Cnn { layers } => {
            let layer = |layer: &CnnLayer| match *layer {
                CnnLayer::Conv {
                    filters,
                    kernel,
                    stride,
                    padding,
                    activation,
                } => Layer::Conv2d {
                    filters: filters.into(),
                    kernel: kernel.into(),
                    stride: stride.into(),
                    padding: padding.into(),
                    activation: of(activation),
                },
                CnnLayer::MaxPool { size } => Layer::MaxPool { size: size.into() },
                CnnLayer::AveragePool { size } => Layer::AveragePool { size: size.into() },
                CnnLayer::Flatten => Layer::Flatten,
                CnnLayer::Dense {
                    outputs,
                    activation,
                } => dense(outputs.into(), of(activation)),
            };
            let mut layers: Vec<Layer> = layers.iter().map(layer).collect();
            if !layers.contains(&Layer::Flatten) {
                layers.push(Layer::Flatten);
            }
            layers
        }
    };
    layers.push(dense(classes, zfl_nn::Activation::Identity));
    layers
}

const fn of(activation: Activation) -> zfl_nn::Activation {
    match activation {
        Activation::Relu => zfl_nn::Activation::Relu,
        Activation::LeakyRelu => zfl_nn::Activation::LeakyRelu,
        Activation::Tanh => zfl_nn::Activation::Tanh,
        Activation::Sigmoid => zfl_nn::Activation::Sigmoid,
    }
}
