//! What happens in a round, as records and events.

use std::sync::Arc;

use serde::Serialize;
use zfl_proto::message::Metrics;

use crate::{Carry, Quality, RefusalKind};

/// How a round ended for one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Its update is in the mean.
    Ok,
    /// No update by the round's deadline.
    Late,
    /// The fleet host said that its device is gone, or it began anew after it
    /// was started.
    Crashed,
    /// It could not be started, or its update was refused.
    Rejected,
    /// It could not be started: it did not fetch its data, or calls failed
    /// up to the deadline.
    Unreachable,
    /// Others were faster: the round had the updates that it needs.
    Surplus,
}

impl Outcome {
    /// The word for it in the records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Late => "late",
            Self::Crashed => "crashed",
            Self::Rejected => "rejected",
            Self::Unreachable => "unreachable",
            Self::Surplus => "surplus",
        }
    }
}

/// One client in one round.
#[derive(Clone, Debug)]
pub struct ClientRecord {
    /// The client's number.
    pub client: u32,
    /// Its board; empty when it did not come with a fleet.
    pub board: String,
    /// It was played in this process.
    pub is_local: bool,
    /// How the round ended for it.
    pub outcome: Outcome,
    /// Why, where the outcome is not ok.
    pub detail: String,
    /// Samples it trained on.
    pub sample_count: u32,
    /// Host time from its start to its update, in seconds.
    pub host_seconds: f64,
    /// Bytes of the start message's body.
    pub bytes_down: u64,
    /// Bytes of the update's body.
    pub bytes_up: u64,
    /// What it measured; zeros where there is no update.
    pub metrics: Metrics,
}

/// One round.
#[derive(Clone, Debug)]
pub struct RoundRecord {
    /// Which, from 1.
    pub round: u32,
    /// How well the new global model does on the test set.
    pub quality: Quality,
    /// Host time from the first start message to the new model's evaluation,
    /// in seconds.
    pub host_seconds: f64,
    /// SHA-256 of the new global model.
    pub model_sha256: String,
    /// The clients that were selected, in ascending order.
    pub clients: Vec<ClientRecord>,
    /// The updates of earlier rounds that are in the mean.
    pub late: Vec<LateRecord>,
}

/// An update that was used after its round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LateRecord {
    /// Whose.
    pub client: u32,
    /// The round that it was trained for.
    pub round: u32,
    /// What its samples were multiplied with.
    pub weight: f64,
}

impl RoundRecord {
    /// Clients whose updates are in the mean.
    pub fn ok_count(&self) -> usize {
        self.clients
            .iter()
            .filter(|client| client.outcome == Outcome::Ok)
            .count()
    }

    /// Clients whose updates were needed and are not in the mean.
    pub fn failed_count(&self) -> usize {
        let is_failed = |outcome| !matches!(outcome, Outcome::Ok | Outcome::Surplus);
        let failed = self
            .clients
            .iter()
            .filter(|client| is_failed(client.outcome));
        failed.count()
    }

    /// Bytes of message bodies from the coordinator to the clients.
    pub fn bytes_down(&self) -> u64 {
        self.clients.iter().map(|client| client.bytes_down).sum()
    }

    /// Bytes of message bodies from the clients to the coordinator.
    pub fn bytes_up(&self) -> u64 {
        self.clients.iter().map(|client| client.bytes_up).sum()
    }
}

/// What happens, as it happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// The model before training.
    Initial {
        /// How well it does on the test set.
        quality: Quality,
        /// SHA-256 of the model.
        model_sha256: String,
    },
    /// A client has its share of the data. Not told of those that are played
    /// in this process.
    ClientProvisioned {
        /// Which.
        client: u32,
    },
    /// A round begins.
    RoundStarted {
        /// Which.
        round: u32,
        /// The clients that take part.
        clients: Vec<u32>,
    },
    /// A client's part in the round is decided.
    ClientFinished {
        /// Which round.
        round: u32,
        /// Which client.
        client: u32,
        /// How.
        outcome: Outcome,
        /// Why, where it is not ok.
        detail: String,
    },
    /// A request was refused.
    Refused {
        /// Whose; `None` without a valid token.
        client: Option<u32>,
        /// Of which kind. Of each kind the first
        /// [`REFUSALS_TOLD_MAX`](crate::REFUSALS_TOLD_MAX) are told.
        kind: RefusalKind,
        /// What was asked.
        request: String,
        /// Why not.
        reason: String,
    },
    /// An update came after its round, and waits for the end of the next.
    LateUpdate {
        /// Whose.
        client: u32,
        /// The round that it was trained for.
        round: u32,
    },
    /// A fleet host says that a client is gone.
    ClientLost {
        /// Which.
        client: u32,
        /// Why.
        reason: String,
    },
    /// A client that was lost, or that has begun anew, has its data again.
    ClientBack {
        /// Which.
        client: u32,
    },
    /// A round is over without enough updates; the model stays as it was.
    RoundFailed {
        /// Its record, with the model that stays.
        record: RoundRecord,
        /// Why.
        reason: String,
        /// The global model that stays.
        parameters: Arc<Vec<f32>>,
        /// What the next round takes over besides; `None` where the run ends.
        carry: Option<Carry>,
    },
    /// A round is over; `parameters` are the new global model.
    RoundCompleted {
        /// Its record.
        record: RoundRecord,
        /// The new global model.
        parameters: Arc<Vec<f32>>,
        /// What the next round takes over besides.
        carry: Carry,
    },
}
