//! What a model is made of and where its parameters lie.

use core::fmt;

use zfl_seed::Stream;

use crate::error::{InputError, ShapeError, check_len};

/// Most layers a model can have.
pub const LAYERS_MAX: usize = 16;
/// Largest kernel, stride, padding or pooling window.
pub const KERNEL_MAX: usize = 255;

/// Most rows and most pixels of a row of an image.
const SIDE_MAX: usize = 65_535;
/// Most parameters: their bytes fit the length of a message.
const PARAMETERS_MAX: usize = (u32::MAX / 4) as usize;

/// The shape of a sample or of a layer's outputs.
///
/// Values lie row by row, the channels of a pixel side by side (HWC), so that
/// flattening an image costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Rows of an image; 1 where there is no image.
    pub height: usize,
    /// Pixels of a row; 1 where there is no image.
    pub width: usize,
    /// Values of a pixel.
    pub channels: usize,
}

impl Shape {
    /// `count` values that are no image.
    pub const fn flat(count: usize) -> Self {
        Self {
            height: 1,
            width: 1,
            channels: count,
        }
    }

    /// An image.
    pub const fn image(height: usize, width: usize, channels: usize) -> Self {
        Self {
            height,
            width,
            channels,
        }
    }

    /// Number of values.
    pub const fn len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Whether there are no values.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn checked_len(&self) -> Option<usize> {
        self.height
            .checked_mul(self.width)?
            .checked_mul(self.channels)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.height == 1 && self.width == 1 {
            write!(f, "{}", self.channels)
        } else {
            write!(f, "{}x{}x{}", self.height, self.width, self.channels)
        }
    }
}

/// What follows the weighted sums of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Activation {
    /// Nothing: the sum itself.
    Identity = 0,
    /// max(0, x).
    Relu = 1,
    /// x where x > 0, else x ∕ 100.
    LeakyRelu = 2,
    /// tanh x.
    Tanh = 3,
    /// 1 ∕ (1 + e⁻ˣ).
    Sigmoid = 4,
}

impl Activation {
    pub(crate) const ALL: [Self; 5] = [
        Self::Identity,
        Self::Relu,
        Self::LeakyRelu,
        Self::Tanh,
        Self::Sigmoid,
    ];
}

/// A layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Fully connected. Its input must be flat.
    Dense {
        /// Width.
        outputs: usize,
        /// What follows the weighted sums.
        activation: Activation,
    },
    /// Cross-correlation of an image with square kernels.
    ///
    /// Outputs a row: `(width + 2 × padding − kernel) ∕ stride + 1`, rounded
    /// down.
    Conv2d {
        /// Channels of the output.
        filters: usize,
        /// Side of the kernel, 1 to [`KERNEL_MAX`].
        kernel: usize,
        /// Pixels from one position of the kernel to the next.
        stride: usize,
        /// Zeros around the image; less than the kernel.
        padding: usize,
        /// What follows the weighted sums.
        activation: Activation,
    },
    /// The largest value of each `size` × `size` window of a channel. Windows
    /// do not overlap; rows and columns that fill none are dropped. Of equal
    /// values the first counts.
    MaxPool {
        /// Side of the window.
        size: usize,
    },
    /// The mean of each `size` × `size` window of a channel, as
    /// [`Layer::MaxPool`] otherwise.
    AveragePool {
        /// Side of the window.
        size: usize,
    },
    /// An image as a flat row of values. Costs nothing.
    Flatten,
}

/// What the last layer's outputs are compared with, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Loss {
    /// Softmax and cross-entropy, −ln pₗ of the label l, in nats.
    CrossEntropy = 0,
    /// ½ Σⱼ (yⱼ − tⱼ)² over the outputs; the target of a label is 1 at its
    /// class and 0 elsewhere.
    SquaredError = 1,
}

/// How weights begin. Biases begin at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initialisation {
    /// [`Initialisation::He`] before ReLU and leaky ReLU,
    /// [`Initialisation::Glorot`] elsewhere.
    Auto,
    /// Uniform in ±√(6 ∕ inputs) (He et al., *Delving Deep into Rectifiers*,
    /// ICCV 2015, eq. 10).
    He,
    /// Uniform in ±√(6 ∕ (inputs + outputs)) (Glorot and Bengio,
    /// *Understanding the difficulty of training deep feedforward neural
    /// networks*, AISTATS 2010, eq. 16).
    Glorot,
    /// 0. A model with hidden layers learns nothing from there.
    Zeros,
}

/// The kinds of layers that compute something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Dense,
    Conv {
        kernel: usize,
        stride: usize,
        padding: usize,
    },
    MaxPool {
        size: usize,
    },
    AveragePool {
        size: usize,
    },
}

/// A layer and where its parameters lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) kind: Kind,
    pub(crate) input: Shape,
    pub(crate) output: Shape,
    pub(crate) activation: Activation,
    /// Of the first weight among all parameters.
    pub(crate) offset: usize,
}

impl Placed {
    const NONE: Self = Self {
        kind: Kind::Dense,
        input: Shape::flat(0),
        output: Shape::flat(0),
        activation: Activation::Identity,
        offset: 0,
    };

    /// Inputs of one weighted sum: the rows of the weight matrix.
    pub(crate) const fn fan_in(&self) -> usize {
        match self.kind {
            Kind::Dense => self.input.len(),
            // At most 255² × channels, which 32 bits may not hold: `Model::new`
            // refuses it.
            Kind::Conv { kernel, .. } => (kernel * kernel).saturating_mul(self.input.channels),
            Kind::MaxPool { .. } | Kind::AveragePool { .. } => 0,
        }
    }

    /// Sums over one set of inputs: the columns of the weight matrix.
    pub(crate) const fn width(&self) -> usize {
        match self.kind {
            Kind::Dense | Kind::Conv { .. } => self.output.channels,
            Kind::MaxPool { .. } | Kind::AveragePool { .. } => 0,
        }
    }

    pub(crate) const fn weight_count(&self) -> usize {
        self.fan_in() * self.width()
    }

    pub(crate) const fn parameter_count(&self) -> usize {
        self.weight_count() + self.width()
    }

    /// Weights and biases of this layer.
    #[inline(always)]
    pub(crate) fn split<'a, W>(&self, parameters: &'a [W]) -> (&'a [W], &'a [W]) {
        parameters[self.offset..][..self.parameter_count()].split_at(self.weight_count())
    }

    /// Weights and biases of this layer, to change.
    #[inline(always)]
    pub(crate) fn split_mut<'a, W>(&self, parameters: &'a mut [W]) -> (&'a mut [W], &'a mut [W]) {
        parameters[self.offset..][..self.parameter_count()].split_at_mut(self.weight_count())
    }
}

/// A neural network: layers one after another and a loss.
///
/// Parameters are one slice: layer by layer the weights, then the biases. The
/// weights of a dense layer are `[inputs][outputs]`, those of a convolution
/// `[kernel row][kernel column][input channel][filter]`.
///
/// ```
/// use zfl_nn::{Activation, Layer, Loss, Model, Shape};
///
/// let model = Model::new(
///     Shape::image(28, 28, 1),
///     &[
///         Layer::Conv2d { filters: 8, kernel: 5, stride: 2, padding: 2, activation: Activation::Relu },
///         Layer::MaxPool { size: 2 },
///         Layer::Flatten,
///         Layer::Dense { outputs: 10, activation: Activation::Identity },
///     ],
///     Loss::CrossEntropy,
/// )?;
/// assert_eq!(model.parameter_count(), 5 * 5 * 8 + 8 + 7 * 7 * 8 * 10 + 10);
/// # Ok::<(), zfl_nn::ShapeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    layers: [Placed; LAYERS_MAX],
    layer_count: usize,
    input: Shape,
    loss: Loss,
    /// Layers at the beginning that do not train.
    frozen_count: usize,
    /// Where a flatten layer stood: before this layer.
    flatten_before: Option<usize>,
}

impl Model {
    /// A model of samples of shape `input` and these layers.
    ///
    /// # Errors
    /// When there is no layer with outputs, there are too many, shapes do not
    /// chain, or the parameters cannot be addressed.
    pub fn new(input: Shape, layers: &[Layer], loss: Loss) -> Result<Self, ShapeError> {
        if layers.len() > LAYERS_MAX {
            return Err(ShapeError::TooManyLayers {
                layer_count: layers.len(),
            });
        }
        if input.height > SIDE_MAX || input.width > SIDE_MAX {
            return Err(ShapeError::TooLarge);
        }
        match input.checked_len() {
            None => return Err(ShapeError::TooLarge),
            Some(0) => return Err(ShapeError::NoInputs),
            Some(_) => {}
        }
        let mut model = Self {
            layers: [Placed::NONE; LAYERS_MAX],
            layer_count: 0,
            input,
            loss,
            frozen_count: 0,
            flatten_before: None,
        };
        let mut shape = input;
        let mut offset = 0usize;
        for (index, layer) in layers.iter().enumerate() {
            if *layer == Layer::Flatten {
                if model.flatten_before.is_some() {
                    return Err(ShapeError::FlattenTwice { layer: index });
                }
                shape = Shape::flat(shape.len());
                model.flatten_before = Some(model.layer_count);
                continue;
            }
            let placed = place(index, layer, shape, offset)?;
            offset = placed
                .fan_in()
                .checked_mul(placed.width())
                .and_then(|weights| weights.checked_add(placed.width()))
                .and_then(|count| count.checked_add(offset))
                .filter(|count| *count <= PARAMETERS_MAX)
                .ok_or(ShapeError::TooLarge)?;
            shape = placed.output;
            if let Some(slot) = model.layers.get_mut(model.layer_count) {
                *slot = placed;
                model.layer_count += 1;
            }
        }
        match model.placed().last() {
            None => Err(ShapeError::NoLayers),
            Some(last) if last.width() == 0 || last.output.len() != last.width() => {
                Err(ShapeError::LastLayer)
            }
            Some(last) if last.activation != Activation::Identity => {
                Err(ShapeError::LastActivation)
            }
            Some(_) => Ok(model),
        }
    }

    /// A perceptron: dense layers of these widths with `activation` between,
    /// the last of them the outputs. One width alone is softmax regression.
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn mlp(
        inputs: usize,
        widths: &[usize],
        activation: Activation,
        loss: Loss,
    ) -> Result<Self, ShapeError> {
        let mut layers = [Layer::Flatten; LAYERS_MAX];
        let Some(slots) = layers.get_mut(..widths.len()) else {
            return Err(ShapeError::TooManyLayers {
                layer_count: widths.len(),
            });
        };
        for (index, (slot, outputs)) in slots.iter_mut().zip(widths).enumerate() {
            *slot = Layer::Dense {
                outputs: *outputs,
                activation: if index + 1 == widths.len() {
                    Activation::Identity
                } else {
                    activation
                },
            };
        }
        Self::new(Shape::flat(inputs), slots, loss)
    }

    /// The same model with its first `count` layers that have weights frozen:
    /// they do not train, and what lies before the first of the others needs
    /// neither gradients nor error signals.
    ///
    /// # Errors
    /// When no layer would be left to train.
    pub fn freeze(mut self, count: usize) -> Result<Self, ShapeError> {
        let mut weighted = 0;
        for (index, layer) in self.placed().iter().enumerate() {
            if layer.parameter_count() == 0 {
                continue;
            }
            if weighted == count {
                self.frozen_count = if count == 0 { 0 } else { index };
                return Ok(self);
            }
            weighted += 1;
        }
        Err(ShapeError::AllFrozen)
    }

    pub(crate) fn placed(&self) -> &[Placed] {
        &self.layers[..self.layer_count]
    }

    /// The first layer that trains.
    pub(crate) fn first_trained(&self) -> usize {
        self.frozen_count
    }

    pub(crate) fn flatten_before(&self) -> Option<usize> {
        self.flatten_before
    }

    /// The shape of a sample.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// Values of a sample.
    pub fn input_count(&self) -> usize {
        self.input.len()
    }

    /// Outputs: the width of the last layer, the classes of a classifier.
    pub fn output_count(&self) -> usize {
        self.placed().last().map_or(0, Placed::width)
    }

    /// What the outputs are compared with, and how.
    pub fn loss(&self) -> Loss {
        self.loss
    }

    /// Weights and biases of all layers.
    pub fn parameter_count(&self) -> usize {
        self.placed().iter().map(Placed::parameter_count).sum()
    }

    /// Weights and biases of the frozen layers, which are the first.
    pub fn frozen_parameter_count(&self) -> usize {
        self.placed()
            .iter()
            .take(self.frozen_count)
            .map(Placed::parameter_count)
            .sum()
    }

    /// Layers with weights that are frozen.
    pub fn frozen_layer_count(&self) -> usize {
        self.tensors()
            .filter(|tensor| tensor.offset < self.frozen_parameter_count())
            .count()
    }

    /// The layers that have parameters, in their order.
    pub fn tensors(&self) -> impl Iterator<Item = LayerTensors> {
        let (mut dense, mut conv) = (0, 0);
        self.placed().iter().filter_map(move |layer| {
            let (name, index, shape, rank) = match layer.kind {
                Kind::Dense => {
                    dense += 1;
                    let shape = [layer.input.len(), layer.width(), 0, 0];
                    ("dense", dense - 1, shape, 2)
                }
                Kind::Conv { kernel, .. } => {
                    conv += 1;
                    let shape = [kernel, kernel, layer.input.channels, layer.width()];
                    ("conv", conv - 1, shape, 4)
                }
                Kind::MaxPool { .. } | Kind::AveragePool { .. } => return None,
            };
            Some(LayerTensors {
                name,
                index,
                shape,
                rank,
                offset: layer.offset,
                weight_count: layer.weight_count(),
                bias_count: layer.width(),
            })
        })
    }

    /// Sets all parameters.
    ///
    /// # Errors
    /// When `parameters` is not [`Model::parameter_count`] long.
    #[expect(clippy::cast_precision_loss, reason = "widths are far below 2^24")]
    pub fn initialise(
        &self,
        parameters: &mut [f32],
        initialisation: Initialisation,
        stream: &mut Stream,
    ) -> Result<(), InputError> {
        check_len("parameters", parameters.len(), self.parameter_count())?;
        for layer in self.placed() {
            let (inputs, outputs) = match layer.kind {
                Kind::Conv { kernel, .. } => (layer.fan_in(), kernel * kernel * layer.width()),
                _ => (layer.fan_in(), layer.width()),
            };
            let is_he = match initialisation {
                Initialisation::He => true,
                Initialisation::Glorot | Initialisation::Zeros => false,
                Initialisation::Auto => {
                    matches!(layer.activation, Activation::Relu | Activation::LeakyRelu)
                }
            };
            let fan = if is_he { inputs } else { inputs + outputs };
            let bound = libm::sqrtf(6.0 / fan.max(1) as f32);
            let (weights, bias) = layer.split_mut(parameters);
            for weight in weights {
                *weight = if initialisation == Initialisation::Zeros {
                    0.0
                } else {
                    (stream.unit_f32() * 2.0 - 1.0) * bound
                };
            }
            bias.fill(0.0);
        }
        Ok(())
    }
}

/// Places one layer after `input`.
fn place(index: usize, layer: &Layer, input: Shape, offset: usize) -> Result<Placed, ShapeError> {
    let windows = |length: usize, size: usize, stride: usize| {
        length
            .checked_sub(size)
            .map(|rest| rest / stride + 1)
            .ok_or(ShapeError::Window {
                layer: index,
                size,
                input,
            })
    };
    let check = |what, value: usize, least: usize, most: usize| {
        if (least..=most).contains(&value) {
            Ok(())
        } else {
            Err(ShapeError::Setting {
                layer: index,
                what,
                value,
                least,
                most,
            })
        }
    };
    let (kind, output, activation) = match *layer {
        Layer::Dense {
            outputs,
            activation,
        } => {
            if input.height != 1 || input.width != 1 {
                return Err(ShapeError::NotFlat {
                    layer: index,
                    input,
                });
            }
            if outputs == 0 {
                return Err(ShapeError::NoOutputs { layer: index });
            }
            (Kind::Dense, Shape::flat(outputs), activation)
        }
        Layer::Conv2d {
            filters,
            kernel,
            stride,
            padding,
            activation,
        } => {
            if filters == 0 {
                return Err(ShapeError::NoOutputs { layer: index });
            }
            check("kernel", kernel, 1, KERNEL_MAX)?;
            check("stride", stride, 1, KERNEL_MAX)?;
            check("padding", padding, 0, kernel - 1)?;
            let side = |length: usize| {
                let padded = length
                    .checked_add(2 * padding)
                    .ok_or(ShapeError::TooLarge)?;
                windows(padded, kernel, stride)
            };
            let output = Shape::image(side(input.height)?, side(input.width)?, filters);
            let kind = Kind::Conv {
                kernel,
                stride,
                padding,
            };
            (kind, output, activation)
        }
        Layer::MaxPool { size } | Layer::AveragePool { size } => {
            check("size", size, 1, KERNEL_MAX)?;
            let output = Shape::image(
                windows(input.height, size, size)?,
                windows(input.width, size, size)?,
                input.channels,
            );
            let kind = match layer {
                Layer::MaxPool { .. } => Kind::MaxPool { size },
                _ => Kind::AveragePool { size },
            };
            (kind, output, Activation::Identity)
        }
        // Takes no place.
        Layer::Flatten => (Kind::Dense, input, Activation::Identity),
    };
    output.checked_len().ok_or(ShapeError::TooLarge)?;
    Ok(Placed {
        kind,
        input,
        output,
        activation,
        offset,
    })
}

/// The parameters of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerTensors {
    /// `dense` or `conv`; with `index`, the layer's name: `conv0`, `dense1`.
    pub name: &'static str,
    /// Which of its kind.
    pub index: usize,
    shape: [usize; 4],
    rank: usize,
    /// Of the first weight among all parameters.
    pub offset: usize,
    /// Number of weights; the biases follow them.
    pub weight_count: usize,
    /// Number of biases.
    pub bias_count: usize,
}

impl LayerTensors {
    /// The shape of the weights.
    pub fn weight_shape(&self) -> &[usize] {
        &self.shape[..self.rank]
    }
}

impl fmt::Display for LayerTensors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, self.index)
    }
}
