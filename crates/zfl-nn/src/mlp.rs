//! The architecture of a multi-layer perceptron.

use core::fmt;

use zfl_seed::Stream;

use crate::ValueTable;
use crate::kernel::{Bytes, Floats, Inputs, weighted_sums};

/// Most layers a model can have.
pub const LAYERS_MAX: usize = 8;

/// What follows the weighted sums of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing. The last layer's sums are the logits.
    Identity,
    /// max(0, sum).
    Relu,
}

/// A dense layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Width.
    pub output_count: usize,
    /// What follows the weighted sums.
    pub activation: Activation,
}

/// Why layers do not make a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShapeError {
    /// No layer at all.
    NoLayers,
    /// More than [`LAYERS_MAX`].
    TooManyLayers {
        /// How many.
        layer_count: usize,
    },
    /// A width of 0; layer 0 is the input.
    ZeroWidth {
        /// Which.
        layer: usize,
    },
    /// More parameters than can be addressed.
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
            Self::ZeroWidth { layer: 0 } => f.write_str("the model has no inputs"),
            Self::ZeroWidth { layer } => write!(f, "layer {layer} has no outputs"),
            Self::TooLarge => f.write_str("the model has more parameters than can be addressed"),
        }
    }
}

impl core::error::Error for ShapeError {}

/// A layer and where its parameters lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) input_count: usize,
    pub(crate) output_count: usize,
    pub(crate) activation: Activation,
    /// Of the first weight among all parameters.
    pub(crate) offset: usize,
}

impl Placed {
    const NONE: Self = Self {
        input_count: 0,
        output_count: 0,
        activation: Activation::Identity,
        offset: 0,
    };

    pub(crate) const fn weight_count(&self) -> usize {
        self.input_count * self.output_count
    }

    pub(crate) const fn parameter_count(&self) -> usize {
        self.weight_count() + self.output_count
    }

    /// Weights and biases of this layer.
    pub(crate) fn split<'a>(&self, parameters: &'a [f32]) -> (&'a [f32], &'a [f32]) {
        parameters[self.offset..][..self.parameter_count()].split_at(self.weight_count())
    }

    /// Weights and biases of this layer, to change.
    pub(crate) fn split_mut<'a>(
        &self,
        parameters: &'a mut [f32],
    ) -> (&'a mut [f32], &'a mut [f32]) {
        parameters[self.offset..][..self.parameter_count()].split_at_mut(self.weight_count())
    }

    /// What the layer makes of its inputs.
    #[inline(always)]
    pub(crate) fn forward(&self, inputs: impl Inputs, parameters: &[f32], outputs: &mut [f32]) {
        let (weights, bias) = self.split(parameters);
        weighted_sums(inputs, weights, bias, outputs);
        if self.activation == Activation::Relu {
            for output in outputs {
                // Not `max`: a NaN must stay one.
                if *output < 0.0 {
                    *output = 0.0;
                }
            }
        }
    }
}

/// A multi-layer perceptron: dense layers one after another, softmax with
/// cross-entropy on the last.
///
/// Parameters are one slice of `f32`: layer by layer the weights,
/// `[inputs][outputs]` row by row, then the biases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mlp {
    layers: [Placed; LAYERS_MAX],
    layer_count: usize,
}

/// How well a model does on labelled samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Samples looked at.
    pub sample_count: usize,
    /// Samples whose largest logit is that of their label.
    pub correct_count: usize,
    /// Sum over the samples of the cross-entropy, in nats.
    pub loss_sum: f64,
}

impl Evaluation {
    /// Takes in one sample.
    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.sample_count += 1;
        self.correct_count += usize::from(outcome.correct);
        self.loss_sum += f64::from(outcome.loss);
    }

    /// Adds the figures of other samples.
    pub fn merge(&mut self, other: &Self) {
        self.sample_count += other.sample_count;
        self.correct_count += other.correct_count;
        self.loss_sum += other.loss_sum;
    }

    /// Mean cross-entropy in nats; 0 of no samples.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn loss(&self) -> f64 {
        if self.sample_count == 0 {
            return 0.0;
        }
        self.loss_sum / self.sample_count as f64
    }

    /// Share of samples classified rightly; 0 of no samples.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn accuracy(&self) -> f64 {
        if self.sample_count == 0 {
            return 0.0;
        }
        self.correct_count as f64 / self.sample_count as f64
    }
}

/// What came of one sample.
#[derive(Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) loss: f32,
    pub(crate) correct: bool,
}

/// Turns logits into the error signal `softmax(logits) − one_hot(label)` and
/// tells the loss. The logits must not be empty and the label must be one of
/// them.
pub(crate) fn softmax_cross_entropy(logits: &mut [f32], label: usize) -> Outcome {
    let mut largest = f32::NEG_INFINITY;
    let mut predicted = 0;
    for (class, logit) in logits.iter().enumerate() {
        if *logit > largest {
            largest = *logit;
            predicted = class;
        }
    }
    let label_logit = logits[label] - largest;
    let mut total = 0.0;
    for logit in logits.iter_mut() {
        *logit = libm::expf(*logit - largest);
        total += *logit;
    }
    for value in logits.iter_mut() {
        *value /= total;
    }
    logits[label] -= 1.0;
    Outcome {
        loss: libm::logf(total) - label_logit,
        correct: predicted == label,
    }
}

impl Mlp {
    /// A model of `input_count` inputs and these layers.
    ///
    /// # Errors
    /// When there is no layer, too many, one without outputs, or the
    /// parameters cannot be addressed.
    pub fn new(input_count: usize, layers: &[Layer]) -> Result<Self, ShapeError> {
        if layers.is_empty() {
            return Err(ShapeError::NoLayers);
        }
        if layers.len() > LAYERS_MAX {
            return Err(ShapeError::TooManyLayers {
                layer_count: layers.len(),
            });
        }
        if input_count == 0 {
            return Err(ShapeError::ZeroWidth { layer: 0 });
        }
        let mut model = Self {
            layers: [Placed::NONE; LAYERS_MAX],
            layer_count: layers.len(),
        };
        let mut width = input_count;
        let mut offset = 0usize;
        for (index, (slot, layer)) in model.layers.iter_mut().zip(layers).enumerate() {
            if layer.output_count == 0 {
                return Err(ShapeError::ZeroWidth { layer: index + 1 });
            }
            *slot = Placed {
                input_count: width,
                output_count: layer.output_count,
                activation: layer.activation,
                offset,
            };
            offset = width
                .checked_mul(layer.output_count)
                .and_then(|weights| weights.checked_add(layer.output_count))
                .and_then(|count| count.checked_add(offset))
                // The bytes of all parameters must be addressable as well.
                .filter(|count| count.checked_mul(8).is_some())
                .ok_or(ShapeError::TooLarge)?;
            width = layer.output_count;
        }
        Ok(model)
    }

    pub(crate) fn placed(&self) -> &[Placed] {
        &self.layers[..self.layer_count]
    }

    /// Inputs of a sample.
    pub fn input_count(&self) -> usize {
        self.layers[0].input_count
    }

    /// Logits: the width of the last layer.
    pub fn class_count(&self) -> usize {
        self.layers[self.layer_count - 1].output_count
    }

    /// Weights and biases of all layers.
    pub fn parameter_count(&self) -> usize {
        self.placed().iter().map(Placed::parameter_count).sum()
    }

    /// The shape of each layer: inputs and outputs.
    pub fn layer_shapes(&self) -> impl Iterator<Item = (usize, usize)> {
        self.placed()
            .iter()
            .map(|layer| (layer.input_count, layer.output_count))
    }

    /// Values of scratch memory that [`Mlp::evaluate`] needs.
    pub fn evaluation_len(&self) -> usize {
        self.placed().iter().map(|layer| layer.output_count).sum()
    }

    /// Sets all parameters: biases 0; weights uniform in ±√(6 ∕ inputs) before
    /// ReLU (He et al., *Delving Deep into Rectifiers*, ICCV 2015, eq. 10) and
    /// in ±√(6 ∕ (inputs + outputs)) elsewhere (Glorot and Bengio,
    /// *Understanding the difficulty of training deep feedforward neural
    /// networks*, AISTATS 2010, eq. 16).
    ///
    /// # Errors
    /// When `parameters` is not [`Mlp::parameter_count`] long.
    #[expect(clippy::cast_precision_loss, reason = "widths are far below 2^24")]
    pub fn initialise(
        &self,
        parameters: &mut [f32],
        stream: &mut Stream,
    ) -> Result<(), InputError> {
        check_len("parameters", parameters.len(), self.parameter_count())?;
        for layer in self.placed() {
            let fan = match layer.activation {
                Activation::Relu => layer.input_count,
                Activation::Identity => layer.input_count + layer.output_count,
            };
            let bound = libm::sqrtf(6.0 / fan as f32);
            let (weights, bias) = layer.split_mut(parameters);
            for weight in weights {
                *weight = (stream.unit_f32() * 2.0 - 1.0) * bound;
            }
            bias.fill(0.0);
        }
        Ok(())
    }

    /// Loss and accuracy of the model on `labels.len()` samples, which lie one
    /// after another in `samples`.
    ///
    /// # Errors
    /// When a slice has the wrong length (`scratch`: at least
    /// [`Mlp::evaluation_len`]) or a label is none of the classes.
    pub fn evaluate(
        &self,
        parameters: &[f32],
        samples: &[u8],
        labels: &[u8],
        table: &ValueTable,
        scratch: &mut [f32],
    ) -> Result<Evaluation, InputError> {
        check_len("parameters", parameters.len(), self.parameter_count())?;
        check_len("samples", samples.len(), labels.len() * self.input_count())?;
        check_labels(labels, self.class_count())?;
        let scratch_len = scratch.len();
        let Some(scratch) = scratch.get_mut(..self.evaluation_len()) else {
            return Err(InputError::Length {
                what: "scratch",
                len: scratch_len,
                needed: self.evaluation_len(),
            });
        };
        let mut evaluation = Evaluation::default();
        for (values, label) in samples.chunks_exact(self.input_count()).zip(labels) {
            let mut before: &mut [f32] = &mut [];
            let mut rest = &mut *scratch;
            for (index, layer) in self.placed().iter().enumerate() {
                let (outputs, tail) = rest.split_at_mut(layer.output_count);
                if index == 0 {
                    layer.forward(Bytes { values, table }, parameters, outputs);
                } else {
                    layer.forward(Floats(before), parameters, outputs);
                }
                before = outputs;
                rest = tail;
            }
            evaluation.add(softmax_cross_entropy(before, usize::from(*label)));
        }
        Ok(evaluation)
    }
}

/// Memory or data that does not fit the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
pub fn check_labels(labels: &[u8], class_count: usize) -> Result<(), InputError> {
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
