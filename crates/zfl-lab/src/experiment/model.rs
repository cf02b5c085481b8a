//! What is trained: the tables `[model.…]`.

use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;

use super::error::Fault;
use super::raw::{Context, RawEmpty, Whole};

/// Most layers of a model, those that zfl appends among them.
pub const LAYERS_MAX: usize = 16;
/// Most layers of a perceptron between inputs and outputs.
pub const HIDDEN_LAYERS_MAX: usize = LAYERS_MAX - 1;
/// Widest layer: values of a dense one, filters of a convolution.
pub const WIDTH_MAX: u16 = u16::MAX;
/// Largest side of a convolution's kernel, and its largest stride.
pub const KERNEL_MAX: u8 = u8::MAX;
/// Largest side of a pooling window; the smallest is 2.
pub const POOL_MAX: u8 = u8::MAX;

/// What is trained, and from which weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its layers.
    pub kind: ModelKind,
    /// The weights before the first round.
    pub initialisation: Initialisation,
    /// A checkpoint to start from instead.
    pub initial_weights: Option<PathBuf>,
    /// The layers that keep their weights: the first of
    /// [`Model::weighted_layers`], in that order, and never all of them.
    pub frozen: Vec<String>,
}

/// The layers of a model. The input has the shape of the data's samples; the
/// last layer, a dense one as wide as the data has classes, is not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelKind {
    /// The output layer alone.
    SoftmaxRegression,
    /// A multi-layer perceptron.
    Mlp {
        /// Widths of the layers between, at most [`HIDDEN_LAYERS_MAX`], none
        /// of them 0.
        hidden: Vec<u16>,
        /// What follows each of them.
        activation: Activation,
    },
    /// A convolutional network.
    Cnn {
        /// At least one: convolutions and pooling, then at most one
        /// [`CnnLayer::Flatten`], then dense layers.
        layers: Vec<CnnLayer>,
    },
}

/// A layer of a convolutional network. All windows are square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CnnLayer {
    /// A convolution over height and width.
    Conv {
        /// Channels of its output, 1 to [`WIDTH_MAX`].
        filters: u16,
        /// Side of its window in pixels, 1 to [`KERNEL_MAX`].
        kernel: u8,
        /// Pixels from window to window, 1 to [`KERNEL_MAX`].
        stride: u8,
        /// Rows and columns of zeros on each side; below `kernel`.
        padding: u8,
        /// What follows.
        activation: Activation,
    },
    /// The largest value of each window; windows do not overlap.
    MaxPool {
        /// Side of the window in pixels, 2 to [`POOL_MAX`].
        size: u8,
    },
    /// The mean of each window; windows do not overlap.
    AveragePool {
        /// Side of the window in pixels, 2 to [`POOL_MAX`].
        size: u8,
    },
    /// From height, width and channels to one row of values.
    Flatten,
    /// Every output from every input.
    Dense {
        /// Its width, 1 to [`WIDTH_MAX`].
        outputs: u16,
        /// What follows.
        activation: Activation,
    },
}

/// The function of a layer's values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0).
    #[default]
    Relu,
    /// x above 0, x/100 below.
    LeakyRelu,
    /// The hyperbolic tangent.
    Tanh,
    /// The logistic function.
    Sigmoid,
}

impl Activation {
    const ALL: &'static [Self] = &[Self::Relu, Self::LeakyRelu, Self::Tanh, Self::Sigmoid];

    /// As the file spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::LeakyRelu => "leaky-relu",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
        }
    }
}

/// How weights are drawn before the first round; biases begin at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Initialisation {
    /// He before ReLU and leaky ReLU, Glorot elsewhere.
    #[default]
    Auto,
    /// He et al., *Delving Deep into Rectifiers*, ICCV 2015, equation 10.
    He,
    /// Glorot and Bengio, *Understanding the difficulty of training deep
    /// feedforward neural networks*, AISTATS 2010, equation 16.
    Glorot,
    /// All 0.
    Zeros,
}

impl Initialisation {
    const ALL: &'static [Self] = &[Self::Auto, Self::He, Self::Glorot, Self::Zeros];

    /// As the file spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::He => "he",
            Self::Glorot => "glorot",
            Self::Zeros => "zeros",
        }
    }
}

impl CnnLayer {
    /// As the file spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Conv { .. } => "conv",
            Self::MaxPool { .. } => "max-pool",
            Self::AveragePool { .. } => "average-pool",
            Self::Flatten => "flatten",
            Self::Dense { .. } => "dense",
        }
    }
}

impl ModelKind {
    /// As the file spells its table.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SoftmaxRegression => "softmax-regression",
            Self::Mlp { .. } => "mlp",
            Self::Cnn { .. } => "cnn",
        }
    }
}

impl Model {
    /// The layers that have weights, first to last, the output layer
    /// included: `conv0`, `conv1`, …, `dense0`, …, numbered for each kind.
    pub fn weighted_layers(&self) -> Vec<String> {
        weighted_layers(&self.kind)
    }
}

fn weighted_layers(kind: &ModelKind) -> Vec<String> {
    let (conv_count, dense_count) = match kind {
        ModelKind::SoftmaxRegression => (0, 0),
        ModelKind::Mlp { hidden, .. } => (0, hidden.len()),
        ModelKind::Cnn { layers } => {
            let count = |name| layers.iter().filter(|layer| layer.name() == name).count();
            (count("conv"), count("dense"))
        }
    };
    // Dense layers come after all convolutions.
    let conv = (0..conv_count).map(|index| format!("conv{index}"));
    let dense = (0..=dense_count).map(|index| format!("dense{index}"));
    conv.chain(dense).collect()
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
pub(super) struct RawModel {
    softmax_regression: Option<Spanned<RawSoftmaxRegression>>,
    mlp: Option<Spanned<RawMlp>>,
    cnn: Option<Spanned<RawCnn>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawSoftmaxRegression {
    initialisation: Option<Spanned<String>>,
    initial_weights: Option<Spanned<String>>,
    frozen: Option<Spanned<Vec<Spanned<String>>>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawMlp {
    hidden: Option<Spanned<Vec<Spanned<Whole>>>>,
    activation: Option<Spanned<String>>,
    initialisation: Option<Spanned<String>>,
    initial_weights: Option<Spanned<String>>,
    frozen: Option<Spanned<Vec<Spanned<String>>>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawCnn {
    layers: Spanned<Vec<Spanned<RawLayer>>>,
    initialisation: Option<Spanned<String>>,
    initial_weights: Option<Spanned<String>>,
    frozen: Option<Spanned<Vec<Spanned<String>>>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawLayer {
    conv: Option<Spanned<RawConv>>,
    max_pool: Option<Spanned<RawPool>>,
    average_pool: Option<Spanned<RawPool>>,
    flatten: Option<Spanned<RawEmpty>>,
    dense: Option<Spanned<RawDense>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawConv {
    filters: Spanned<Whole>,
    kernel: Spanned<Whole>,
    stride: Option<Spanned<Whole>>,
    padding: Option<Spanned<Whole>>,
    activation: Option<Spanned<String>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawPool {
    size: Spanned<Whole>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawDense {
    outputs: Spanned<Whole>,
    activation: Option<Spanned<String>>,
}

/// What every model table has.
struct Start {
    initialisation: Option<Spanned<String>>,
    initial_weights: Option<Spanned<String>>,
    frozen: Option<Spanned<Vec<Spanned<String>>>>,
}

impl Start {
    fn check(self, kind: ModelKind, context: &Context<'_>) -> Result<Model, Fault> {
        let path = |key: &str| format!("model.{}.{key}", kind.name());
        let initialisation = check_initialisation(
            &path("initialisation"),
            self.initialisation.as_ref(),
            context,
        )?;
        let initial_weights = match &self.initial_weights {
            None => None,
            Some(file) => Some(context.path(&path("initial-weights"), file)?),
        };
        let frozen = match self.frozen {
            None => Vec::new(),
            Some(names) => check_frozen(
                &path("frozen"),
                names.get_ref(),
                weighted_layers(&kind),
                context,
            )?,
        };
        Ok(Model {
            kind,
            initialisation,
            initial_weights,
            frozen,
        })
    }
}

fn check_initialisation(
    path: &str,
    word: Option<&Spanned<String>>,
    context: &Context<'_>,
) -> Result<Initialisation, Fault> {
    context.word(path, word, Initialisation::ALL, Initialisation::name)
}

fn check_activation(
    path: &str,
    word: Option<&Spanned<String>>,
    context: &Context<'_>,
) -> Result<Activation, Fault> {
    context.word(path, word, Activation::ALL, Activation::name)
}

/// The frozen layers in the order of the model.
fn check_frozen(
    path: &str,
    frozen: &[Spanned<String>],
    layers: Vec<String>,
    context: &Context<'_>,
) -> Result<Vec<String>, Fault> {
    let Some(last) = frozen.last() else {
        return Ok(Vec::new());
    };
    let fault = |span: Range<usize>, message: String, layers: &[String]| Fault {
        span,
        message,
        help: Some(match layers {
            [only] => format!(
                "`{path}`: the model has no layer with weights but {only}, and that must train"
            ),
            layers => format!(
                "`{path}`: the first of the layers that have weights, which are {}; the last of them cannot be frozen",
                layers.join(", ")
            ),
        }),
    };
    for (index, name) in frozen.iter().enumerate() {
        let quoted = context.sources.quote(&name.span());
        let before = frozen.iter().take(index);
        if !layers.contains(name.get_ref()) {
            let message = format!("`{path}`: the model has no layer {quoted} with weights");
            return Err(fault(name.span(), message, &layers));
        }
        if before
            .map(Spanned::get_ref)
            .any(|other| other == name.get_ref())
        {
            return Err(fault(
                name.span(),
                format!("`{path}`: {quoted} twice"),
                &layers,
            ));
        }
    }
    if frozen.len() == layers.len() {
        let message = format!("`{path}` leaves no layer to train");
        return Err(fault(last.span(), message, &layers));
    }
    // Each is a layer and none is there twice: so they are the first layers,
    // unless one of them lies further back.
    let (first, rest) = layers.split_at(frozen.len());
    if let Some(name) = frozen.iter().find(|name| rest.contains(name.get_ref())) {
        let is_frozen = |layer: &&String| !frozen.iter().any(|name| name.get_ref() == *layer);
        let before = first.iter().find(is_frozen).map_or("", String::as_str);
        let message = format!(
            "`{path}`: {} without \"{before}\", which comes before it",
            context.sources.quote(&name.span())
        );
        return Err(fault(name.span(), message, &layers));
    }
    Ok(first.to_vec())
}

pub(super) fn check_model(
    model: Option<Spanned<RawModel>>,
    context: &Context<'_>,
) -> Result<Model, Fault> {
    enum Raw {
        SoftmaxRegression(RawSoftmaxRegression),
        Mlp(RawMlp),
        Cnn(RawCnn),
    }
    let Some(model) = model else {
        return Ok(Model {
            kind: ModelKind::Mlp {
                hidden: vec![16],
                activation: Activation::default(),
            },
            initialisation: Initialisation::default(),
            initial_weights: None,
            frozen: Vec::new(),
        });
    };
    let span = model.span();
    let RawModel {
        softmax_regression,
        mlp,
        cnn,
    } = model.into_inner();
    let mut variants = Vec::new();
    if let Some(table) = softmax_regression {
        let raw = Raw::SoftmaxRegression;
        variants.push(("softmax-regression", table.span(), raw(table.into_inner())));
    }
    if let Some(table) = mlp {
        variants.push(("mlp", table.span(), Raw::Mlp(table.into_inner())));
    }
    if let Some(table) = cnn {
        variants.push(("cnn", table.span(), Raw::Cnn(table.into_inner())));
    }
    match context.one_of("model", span, variants)? {
        Raw::SoftmaxRegression(raw) => {
            let start = Start {
                initialisation: raw.initialisation,
                initial_weights: raw.initial_weights,
                frozen: raw.frozen,
            };
            start.check(ModelKind::SoftmaxRegression, context)
        }
        Raw::Mlp(raw) => {
            let path = "model.mlp.activation";
            let kind = ModelKind::Mlp {
                hidden: check_hidden(raw.hidden, context)?,
                activation: check_activation(path, raw.activation.as_ref(), context)?,
            };
            let start = Start {
                initialisation: raw.initialisation,
                initial_weights: raw.initial_weights,
                frozen: raw.frozen,
            };
            start.check(kind, context)
        }
        Raw::Cnn(raw) => {
            let layers = check_layers(raw.layers, context)?;
            let start = Start {
                initialisation: raw.initialisation,
                initial_weights: raw.initial_weights,
                frozen: raw.frozen,
            };
            start.check(ModelKind::Cnn { layers }, context)
        }
    }
}

fn check_hidden(
    hidden: Option<Spanned<Vec<Spanned<Whole>>>>,
    context: &Context<'_>,
) -> Result<Vec<u16>, Fault> {
    let Some(hidden) = hidden else {
        return Ok(vec![16]);
    };
    let path = "model.mlp.hidden";
    if let Some(surplus) = hidden.get_ref().get(HIDDEN_LAYERS_MAX) {
        let count = hidden.get_ref().len();
        let message = format!("`{path}` has {count} widths");
        return Err(context.fault(path, surplus.span(), message));
    }
    let widths = hidden.get_ref().iter().enumerate();
    widths
        .map(|(index, width)| {
            let path = format!("{path}.{index}");
            context.whole(&path, Some(width), 1..=WIDTH_MAX.into(), 1)
        })
        .collect()
}

fn check_layers(
    layers: Spanned<Vec<Spanned<RawLayer>>>,
    context: &Context<'_>,
) -> Result<Vec<CnnLayer>, Fault> {
    let path = "model.cnn.layers";
    let span = layers.span();
    let layers = layers.into_inner();
    if layers.is_empty() {
        return Err(context.fault(path, span, format!("`{path}` has no layer")));
    }
    let mut checked = Vec::new();
    // Where the list says flatten.
    let mut flat_at = None;
    for (index, layer) in layers.into_iter().enumerate() {
        let path = format!("{path}.{index}");
        let span = layer.span();
        let layer = check_layer(&path, layer, context)?;
        let name = layer.name();
        let out_of_place = |why: String| {
            Fault {
            span: span.clone(),
            message: format!("`{path}`: {name} {why}"),
            help: Some(
                "the order is conv, max-pool and average-pool layers, then one flatten, then dense layers; zfl appends the output layer"
                    .into(),
            ),
        }
        };
        match (layer, flat_at) {
            (CnnLayer::Flatten, None) => flat_at = Some(index),
            (CnnLayer::Flatten, Some(at)) => {
                return Err(out_of_place(format!("again, after that of layer {at}")));
            }
            (CnnLayer::Dense { .. }, None) => {
                return Err(out_of_place("without a flatten before it".into()));
            }
            (CnnLayer::Dense { .. }, Some(_)) => {}
            (_, None) => {}
            (_, Some(at)) => {
                let why = format!("after the flatten of layer {at}, which leaves no image");
                return Err(out_of_place(why));
            }
        }
        checked.push(layer);
        let appended = if flat_at.is_some() { 1 } else { 2 };
        if checked.len() + appended > LAYERS_MAX {
            return Err(Fault {
                span,
                message: format!("`{path}` is one layer too many"),
                help: Some(format!(
                    "a model has at most {LAYERS_MAX} layers; the output layer, and a flatten where the list has none, count among them"
                )),
            });
        }
    }
    Ok(checked)
}

fn check_layer(
    path: &str,
    layer: Spanned<RawLayer>,
    context: &Context<'_>,
) -> Result<CnnLayer, Fault> {
    enum Raw {
        Conv(RawConv),
        MaxPool(RawPool),
        AveragePool(RawPool),
        Flatten,
        Dense(RawDense),
    }
    let span = layer.span();
    let RawLayer {
        conv,
        max_pool,
        average_pool,
        flatten,
        dense,
    } = layer.into_inner();
    let mut variants = Vec::new();
    if let Some(table) = conv {
        variants.push(("conv", table.span(), Raw::Conv(table.into_inner())));
    }
    if let Some(table) = max_pool {
        variants.push(("max-pool", table.span(), Raw::MaxPool(table.into_inner())));
    }
    if let Some(table) = average_pool {
        let raw = Raw::AveragePool;
        variants.push(("average-pool", table.span(), raw(table.into_inner())));
    }
    if let Some(table) = flatten {
        variants.push(("flatten", table.span(), Raw::Flatten));
    }
    if let Some(table) = dense {
        variants.push(("dense", table.span(), Raw::Dense(table.into_inner())));
    }
    let size = |name: &str, pool: &RawPool| {
        let path = format!("{path}.{name}.size");
        context.whole(&path, Some(&pool.size), 2..=POOL_MAX.into(), 2)
    };
    match context.one_of(path, span, variants)? {
        Raw::Conv(conv) => check_conv(&format!("{path}.conv"), &conv, context),
        Raw::MaxPool(pool) => Ok(CnnLayer::MaxPool {
            size: size("max-pool", &pool)?,
        }),
        Raw::AveragePool(pool) => Ok(CnnLayer::AveragePool {
            size: size("average-pool", &pool)?,
        }),
        Raw::Flatten => Ok(CnnLayer::Flatten),
        Raw::Dense(dense) => Ok(CnnLayer::Dense {
            outputs: context.whole(
                &format!("{path}.dense.outputs"),
                Some(&dense.outputs),
                1..=WIDTH_MAX.into(),
                1,
            )?,
            activation: check_activation(
                &format!("{path}.dense.activation"),
                dense.activation.as_ref(),
                context,
            )?,
        }),
    }
}

fn check_conv(path: &str, conv: &RawConv, context: &Context<'_>) -> Result<CnnLayer, Fault> {
    let path = |key: &str| format!("{path}.{key}");
    let sides = 1..=u32::from(KERNEL_MAX);
    let kernel = context.whole(&path("kernel"), Some(&conv.kernel), sides.clone(), 1)?;
    // More would only add windows that see nothing but zeros.
    let padding_most = u32::from(kernel) - 1;
    Ok(CnnLayer::Conv {
        filters: context.whole(
            &path("filters"),
            Some(&conv.filters),
            1..=WIDTH_MAX.into(),
            1,
        )?,
        kernel,
        stride: context.whole(&path("stride"), conv.stride.as_ref(), sides, 1)?,
        padding: context.whole(&path("padding"), conv.padding.as_ref(), 0..=padding_most, 0)?,
        activation: check_activation(&path("activation"), conv.activation.as_ref(), context)?,
    })
}
