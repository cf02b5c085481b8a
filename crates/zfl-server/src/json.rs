//! The forms of the messages for people (and for the fleet host).

use serde::{Deserialize, Serialize};
use zfl_proto::message::{Activation, StartHeader};

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

/// Answer to `GET /start`: a round to train for.
#[derive(Serialize)]
pub(crate) struct Start<'a> {
    id: u32,
    round: u32,
    seed: u64,
    epochs: u32,
    batch_size: u32,
    learning_rate: f32,
    inputs: u32,
    layers: Vec<LayerForm>,
    parameters: &'a [f32],
}

#[derive(Serialize)]
struct LayerForm {
    kind: &'static str,
    outputs: u32,
    activation: &'static str,
}

impl<'a> Start<'a> {
    pub(crate) fn new(header: &StartHeader, parameters: &'a [f32]) -> Self {
        Self {
            id: header.client.0,
            round: header.round.0,
            seed: header.seed,
            epochs: header.epochs,
            batch_size: header.batch_size,
            learning_rate: header.learning_rate,
            inputs: header.architecture.input_count(),
            layers: header
                .architecture
                .layers()
                .iter()
                .map(|layer| LayerForm {
                    kind: "dense",
                    outputs: layer.output_count,
                    activation: match layer.activation {
                        Activation::Identity => "identity",
                        Activation::Relu => "relu",
                    },
                })
                .collect(),
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
