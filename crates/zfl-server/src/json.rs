//! The forms of the messages for people (and for the fleet host).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zfl_nn::{Activation, Layer, Loss, Task};

/// Answer to `GET /id`.
#[derive(Serialize)]
pub(crate) struct Assignment {
    pub(crate) id: u32,
    pub(crate) samples: u32,
}

/// Answer to `GET /training-data`.
#[derive(Serialize)]
pub(crate) struct Samples<'a> {
    pub(crate) id: u32,
    pub(crate) samples: u32,
    pub(crate) inputs: u32,
    pub(crate) value_scale: f32,
    pub(crate) data: Vec<&'a [u8]>,
}

/// Answer to `GET /training-labels`.
#[derive(Serialize)]
pub(crate) struct Labels<'a> {
    pub(crate) id: u32,
    pub(crate) samples: u32,
    pub(crate) classes: u32,
    pub(crate) labels: &'a [u8],
}

/// The same where values are learnt.
#[derive(Serialize)]
pub(crate) struct Values<'a> {
    pub(crate) id: u32,
    pub(crate) samples: u32,
    pub(crate) values: &'a [f32],
}

/// Answer to `GET /start`: a round to train for.
#[derive(Serialize)]
pub(crate) struct Start<'a> {
    id: u32,
    round: u32,
    seed: u64,
    epochs: u32,
    batch_size: usize,
    learning_rate: f32,
    momentum: f32,
    nesterov: bool,
    weight_decay: f32,
    clip_norm: f32,
    proximal: f32,
    loss: &'static str,
    inputs: [usize; 3],
    layers: Vec<LayerForm>,
    /// How many parameters, from the first, do not train.
    frozen_parameters: usize,
    parameters: &'a [f32],
}

/// A layer. What a kind does not have is 0.
#[derive(Default, Serialize)]
struct LayerForm {
    kind: &'static str,
    outputs: usize,
    size: usize,
    stride: usize,
    padding: usize,
    activation: &'static str,
}

impl LayerForm {
    fn new(layer: &Layer) -> Self {
        match *layer {
            Layer::Dense {
                outputs,
                activation,
            } => Self {
                kind: "dense",
                outputs,
                activation: activation_name(activation),
                ..Self::default()
            },
            Layer::Conv2d {
                filters,
                kernel,
                stride,
                padding,
                activation,
            } => Self {
                kind: "conv",
                outputs: filters,
                size: kernel,
                stride,
                padding,
                activation: activation_name(activation),
            },
            Layer::MaxPool { size } => Self {
                kind: "max-pool",
                size,
                ..Self::default()
            },
            Layer::AveragePool { size } => Self {
                kind: "average-pool",
                size,
                ..Self::default()
            },
            Layer::Flatten => Self {
                kind: "flatten",
                ..Self::default()
            },
        }
    }
}

const fn activation_name(activation: Activation) -> &'static str {
    match activation {
        Activation::Identity => "identity",
        Activation::Relu => "relu",
        Activation::LeakyRelu => "leaky-relu",
        Activation::Tanh => "tanh",
        Activation::Sigmoid => "sigmoid",
    }
}

impl<'a> Start<'a> {
    pub(crate) fn new(id: u32, round: u32, seed: u64, task: &Task, parameters: &'a [f32]) -> Self {
        let (model, how) = (&task.model, &task.hyperparameters);
        let input = model.input();
        Self {
            id,
            round,
            seed,
            epochs: how.epochs,
            batch_size: how.batch_size,
            learning_rate: how.learning_rate,
            momentum: how.momentum,
            nesterov: how.nesterov,
            weight_decay: how.weight_decay,
            clip_norm: how.clip_norm,
            proximal: how.proximal,
            loss: match model.loss() {
                Loss::CrossEntropy => "cross-entropy",
                Loss::SquaredError => "mean-squared-error",
            },
            inputs: [input.height, input.width, input.channels],
            layers: model.layers().map(|layer| LayerForm::new(&layer)).collect(),
            frozen_parameters: model.frozen_parameter_count(),
            parameters,
        }
    }
}

/// Body of `POST /results`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Update {
    pub(crate) round: u32,
    pub(crate) samples: u32,
    pub(crate) parameters: Vec<f32>,
    /// Mean loss over the share in the last epoch, if known.
    #[serde(default)]
    pub(crate) train_loss: f32,
}

/// Answer to `POST /results`.
#[derive(Serialize)]
pub(crate) struct Accepted {
    pub(crate) outcome: &'static str,
    pub(crate) round: u32,
}

/// Answer to whatever is refused.
#[derive(Serialize)]
pub(crate) struct Refused {
    pub(crate) error: String,
}

/// Answer to `GET /status`.
#[derive(Serialize)]
pub(crate) struct Status {
    pub(crate) round: u32,
    pub(crate) rounds: u32,
    pub(crate) clients: usize,
    pub(crate) clients_joined: usize,
    pub(crate) clients_ready: usize,
    pub(crate) clients_lost: usize,
    /// By kind.
    pub(crate) refused: BTreeMap<&'static str, u64>,
}

/// Body of `POST /fleet`: a fleet host brings devices.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetRequest {
    /// The devices, in the order in which they are given numbers.
    pub devices: Vec<FleetDevice>,
}

/// A device that a fleet host brings.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetDevice {
    /// Its board, for the records.
    pub board: String,
    /// Where it serves `/ready` and `/start`, as `host:port`.
    pub endpoint: String,
}

/// Answer to `POST /fleet`.
#[derive(Debug, Serialize, Deserialize)]
pub struct FleetAnswer {
    /// Who the devices are, in the order of the request.
    pub clients: Vec<FleetMember>,
}

/// Who a device is.
#[derive(Debug, Serialize, Deserialize)]
pub struct FleetMember {
    /// The client's number.
    pub id: u32,
    /// The client's secret.
    pub token: String,
}
