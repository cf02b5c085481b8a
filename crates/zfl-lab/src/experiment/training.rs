//! How a client trains: the table `[training]`.

use toml::Spanned;

use super::error::Fault;
use super::raw::{Context, Number, Whole};
use super::{BATCH_SIZE_MAX, EPOCHS_MAX, ROUNDS_MAX};

/// How a client trains in one round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Training {
    /// Passes over the client's samples, 1 to [`EPOCHS_MAX`].
    pub epochs: u32,
    /// Samples between two steps, 1 to [`BATCH_SIZE_MAX`].
    pub batch_size: u32,
    /// Step size; finite, above 0. What [`Training::schedule`] begins with.
    pub learning_rate: f32,
    /// What is made small.
    pub loss: Loss,
    /// How much of the velocity stays from step to step; from 0, below 1.
    pub momentum: f32,
    /// Whether the gradient is taken ahead, where the momentum leads
    /// (Sutskever et al., *On the importance of initialization and momentum in
    /// deep learning*, ICML 2013, equations 3 and 4); only with momentum.
    pub nesterov: bool,
    /// How much of a weight is added to its gradient; finite, at least 0.
    pub weight_decay: f32,
    /// Longest gradient of a batch, in the Euclidean norm over all layers
    /// (Pascanu et al., *On the difficulty of training recurrent neural
    /// networks*, ICML 2013, algorithm 1); finite, above 0.
    pub clip_norm: Option<f32>,
    /// µ of the proximal term (Li et al., *Federated Optimization in
    /// Heterogeneous Networks*, MLSys 2020, equation 2); finite, at least 0.
    pub proximal: f32,
    /// With which numbers.
    pub arithmetic: Arithmetic,
    /// How the step size changes from round to round.
    pub schedule: Schedule,
}

/// What training makes small: the mean over the samples of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loss {
    /// −ln of the label's softmax, in nats.
    #[default]
    CrossEntropy,
    /// Half the sum over the outputs of their squared distances from 1 for the
    /// label's class and from 0 for the others; or from the value to learn,
    /// which is normalised.
    MeanSquaredError,
}

impl Loss {
    const ALL: &'static [Self] = &[Self::CrossEntropy, Self::MeanSquaredError];

    /// As the file spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CrossEntropy => "cross-entropy",
            Self::MeanSquaredError => "mean-squared-error",
        }
    }
}

/// With which numbers a client trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// Floating point in single precision.
    F32,
    /// Fixed point: plain gradient descent, without momentum, weight decay,
    /// clipping and proximal term.
    Fixed {
        /// How wide a weight is, in memory and in messages.
        weight_bits: WeightBits,
        /// How a weight's change is rounded.
        rounding: Rounding,
    },
}

impl Arithmetic {
    /// As the file spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Fixed { .. } => "fixed",
        }
    }
}

/// How wide a weight in fixed point is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightBits {
    /// 8 bits.
    Eight,
    /// 16 bits.
    Sixteen,
    /// 32 bits.
    #[default]
    ThirtyTwo,
}

impl WeightBits {
    /// As the file spells it.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Eight => 8,
            Self::Sixteen => 16,
            Self::ThirtyTwo => 32,
        }
    }

    /// What such weights are rounded with if nothing is said.
    const fn rounding(self) -> Rounding {
        match self {
            // Most steps are smaller than half a unit and would be lost.
            Self::Eight | Self::Sixteen => Rounding::Stochastic,
            Self::ThirtyTwo => Rounding::Nearest,
        }
    }
}

/// How a number is rounded to fixed point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest.
    #[default]
    Nearest,
    /// Up with the probability of the part that is cut off (Gupta et al.,
    /// *Deep Learning with Limited Numerical Precision*, ICML 2015, section
    /// 3.1).
    Stochastic,
}

impl Rounding {
    const ALL: &'static [Self] = &[Self::Nearest, Self::Stochastic];

    /// As the file spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Stochastic => "stochastic",
        }
    }
}

/// How the step size changes from round to round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// Not at all.
    Constant,
    /// Multiplied every so many rounds.
    Step {
        /// After how many, 1 to [`ROUNDS_MAX`].
        every: u32,
        /// By what; above 0, at most 1.
        factor: f32,
    },
    /// Multiplied after each round.
    Exponential {
        /// By what; above 0, at most 1.
        factor: f32,
    },
    /// Half a cosine from the learning rate in the first round to `minimum`
    /// in the last.
    Cosine {
        /// From 0 to the learning rate.
        minimum: f32,
    },
    /// Grows in equal steps to the learning rate.
    WarmUp {
        /// The round that reaches it, 1 to [`ROUNDS_MAX`].
        rounds: u32,
    },
}

impl Schedule {
    /// As the file spells its table; a constant one has none.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Constant => None,
            Self::Step { .. } => Some("step"),
            Self::Exponential { .. } => Some("exponential"),
            Self::Cosine { .. } => Some("cosine"),
            Self::WarmUp { .. } => Some("warm-up"),
        }
    }
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
pub(super) struct RawTraining {
    epochs: Option<Spanned<Whole>>,
    batch_size: Option<Spanned<Whole>>,
    learning_rate: Option<Spanned<Number>>,
    loss: Option<Spanned<String>>,
    momentum: Option<Spanned<Number>>,
    nesterov: Option<Spanned<bool>>,
    weight_decay: Option<Spanned<Number>>,
    clip_norm: Option<Spanned<Number>>,
    proximal: Option<Spanned<Number>>,
    arithmetic: Option<Spanned<String>>,
    weight_bits: Option<Spanned<Whole>>,
    rounding: Option<Spanned<String>>,
    schedule: Option<Spanned<RawSchedule>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawSchedule {
    step: Option<Spanned<RawStep>>,
    exponential: Option<Spanned<RawExponential>>,
    cosine: Option<Spanned<RawCosine>>,
    warm_up: Option<Spanned<RawWarmUp>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawStep {
    every: Spanned<Whole>,
    factor: Spanned<Number>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawExponential {
    factor: Spanned<Number>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawCosine {
    minimum: Option<Spanned<Number>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a table")]
struct RawWarmUp {
    rounds: Spanned<Whole>,
}

/// `has_target_values`: the data have numbers to learn in place of classes.
pub(super) fn check_training(
    raw: &RawTraining,
    has_target_values: bool,
    context: &Context<'_>,
) -> Result<Training, Fault> {
    let learning_rate =
        context.positive_f32("training.learning-rate", raw.learning_rate.as_ref(), 0.1)?;
    let at_least_0 = |path: &str, value: &Option<Spanned<Number>>| match value {
        None => Ok(0.0),
        Some(value) => context.f32(path, value, |number| number >= 0.0),
    };
    let momentum = match &raw.momentum {
        None => 0.0,
        Some(value) => {
            let range = 0.0..1.0;
            context.f32("training.momentum", value, |number| range.contains(&number))?
        }
    };
    let nesterov = raw.nesterov.as_ref().filter(|value| *value.get_ref());
    if let (Some(nesterov), true) = (nesterov, momentum == 0.0) {
        return Err(Fault {
            span: nesterov.span(),
            message: "`training.nesterov` without momentum".into(),
            help: Some("set `training.momentum`, such as 0.9, or leave nesterov out".into()),
        });
    }
    let clip_norm = match &raw.clip_norm {
        None => None,
        Some(value) => Some(context.f32("training.clip-norm", value, |number| number > 0.0)?),
    };
    let training = Training {
        epochs: context.whole("training.epochs", raw.epochs.as_ref(), 1..=EPOCHS_MAX, 5)?,
        batch_size: context.whole(
            "training.batch-size",
            raw.batch_size.as_ref(),
            1..=BATCH_SIZE_MAX,
            16,
        )?,
        learning_rate,
        loss: check_loss(raw, has_target_values, context)?,
        momentum,
        nesterov: nesterov.is_some(),
        weight_decay: at_least_0("training.weight-decay", &raw.weight_decay)?,
        clip_norm,
        proximal: at_least_0("training.proximal", &raw.proximal)?,
        arithmetic: check_arithmetic(raw, context)?,
        schedule: check_schedule(raw, learning_rate, context)?,
    };
    if training.arithmetic != Arithmetic::F32 {
        let surplus = [
            ("momentum", momentum, &raw.momentum),
            ("weight-decay", training.weight_decay, &raw.weight_decay),
            ("clip-norm", clip_norm.unwrap_or(0.0), &raw.clip_norm),
            ("proximal", training.proximal, &raw.proximal),
        ];
        for (key, value, raw) in surplus {
            if let Some(raw) = raw.as_ref().filter(|_| value != 0.0) {
                return Err(Fault {
                    span: raw.span(),
                    message: format!("`training.{key}` with fixed-point arithmetic"),
                    help: Some(format!(
                        "fixed-point training is plain gradient descent: leave `training.{key}` out, or set `training.arithmetic = \"f32\"`"
                    )),
                });
            }
        }
    }
    Ok(training)
}

fn check_loss(
    raw: &RawTraining,
    has_target_values: bool,
    context: &Context<'_>,
) -> Result<Loss, Fault> {
    let loss = context.word("training.loss", raw.loss.as_ref(), Loss::ALL, Loss::name)?;
    match &raw.loss {
        _ if !has_target_values || loss == Loss::MeanSquaredError => Ok(loss),
        None => Ok(Loss::MeanSquaredError),
        Some(word) => Err(Fault {
            span: word.span(),
            message: format!(
                "`training.loss` is {} where a number is learnt",
                loss.name()
            ),
            help: Some(
                "only classes have a cross-entropy: set `\"mean-squared-error\"`, or leave it out"
                    .into(),
            ),
        }),
    }
}

fn check_arithmetic(raw: &RawTraining, context: &Context<'_>) -> Result<Arithmetic, Fault> {
    let is_fixed = match &raw.arithmetic {
        None => false,
        Some(word) => match word.get_ref().as_str() {
            "f32" => false,
            "fixed" => true,
            _ => return Err(context.refuse("training.arithmetic", word.span())),
        },
    };
    let weight_bits = match &raw.weight_bits {
        None => WeightBits::default(),
        Some(value) => match context.whole("training.weight-bits", Some(value), 8..=32, 32)? {
            8 => WeightBits::Eight,
            16 => WeightBits::Sixteen,
            32 => WeightBits::ThirtyTwo,
            _ => return Err(context.refuse("training.weight-bits", value.span())),
        },
    };
    let rounding = match &raw.rounding {
        None => weight_bits.rounding(),
        word => {
            let path = "training.rounding";
            context.word(path, word.as_ref(), Rounding::ALL, Rounding::name)?
        }
    };
    if is_fixed {
        return Ok(Arithmetic::Fixed {
            weight_bits,
            rounding,
        });
    }
    let weight_bits = raw.weight_bits.as_ref().map(Spanned::span);
    let rounding = raw.rounding.as_ref().map(Spanned::span);
    let surplus = [("weight-bits", weight_bits), ("rounding", rounding)];
    match surplus
        .into_iter()
        .find_map(|(key, span)| Some((key, span?)))
    {
        None => Ok(Arithmetic::F32),
        Some((key, span)) => Err(Fault {
            span,
            message: format!("`training.{key}` without fixed-point arithmetic"),
            help: Some(format!(
                "set `training.arithmetic = \"fixed\"`, or leave {key} out"
            )),
        }),
    }
}

fn check_schedule(
    raw: &RawTraining,
    learning_rate: f32,
    context: &Context<'_>,
) -> Result<Schedule, Fault> {
    enum Raw<'a> {
        Step(&'a RawStep),
        Exponential(&'a RawExponential),
        Cosine(&'a RawCosine),
        WarmUp(&'a RawWarmUp),
    }
    let Some(table) = &raw.schedule else {
        return Ok(Schedule::Constant);
    };
    let schedule = table.get_ref();
    let mut variants = Vec::new();
    if let Some(table) = &schedule.step {
        variants.push(("step", table.span(), Raw::Step(table.get_ref())));
    }
    if let Some(table) = &schedule.exponential {
        let raw = Raw::Exponential(table.get_ref());
        variants.push(("exponential", table.span(), raw));
    }
    if let Some(table) = &schedule.cosine {
        variants.push(("cosine", table.span(), Raw::Cosine(table.get_ref())));
    }
    if let Some(table) = &schedule.warm_up {
        variants.push(("warm-up", table.span(), Raw::WarmUp(table.get_ref())));
    }
    let path = |rest: &str| format!("training.schedule.{rest}");
    let factor = |name: &str, value: &Spanned<Number>| {
        let path = path(&format!("{name}.factor"));
        context.f32(&path, value, |number| number > 0.0 && number <= 1.0)
    };
    let count = |name: &str, value: &Spanned<Whole>| {
        context.whole(&path(name), Some(value), 1..=ROUNDS_MAX, 1)
    };
    match context.one_of("training.schedule", table.span(), variants)? {
        Raw::Step(step) => Ok(Schedule::Step {
            every: count("step.every", &step.every)?,
            factor: factor("step", &step.factor)?,
        }),
        Raw::Exponential(exponential) => Ok(Schedule::Exponential {
            factor: factor("exponential", &exponential.factor)?,
        }),
        Raw::Cosine(RawCosine { minimum: None }) => Ok(Schedule::Cosine { minimum: 0.0 }),
        Raw::Cosine(RawCosine {
            minimum: Some(minimum),
        }) => {
            let is_allowed = |number| (0.0..=learning_rate).contains(&number);
            Ok(Schedule::Cosine {
                minimum: context.f32(&path("cosine.minimum"), minimum, is_allowed)?,
            })
        }
        Raw::WarmUp(warm_up) => Ok(Schedule::WarmUp {
            rounds: count("warm-up.rounds", &warm_up.rounds)?,
        }),
    }
}
