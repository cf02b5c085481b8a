//! Who takes part, and the round that is open.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use zfl_proto::Token;
use zfl_proto::message::Metrics;

use crate::Outcome;
use crate::strategy::Update;

/// What the coordinator knows of a client.
pub(crate) struct Client {
    pub(crate) token: Token,
    pub(crate) board: String,
    /// Where it can be called; a client without one asks for its task.
    pub(crate) endpoint: Option<String>,
    /// A fleet host has claimed it, or it has asked for something itself.
    pub(crate) joined: bool,
    /// It has its labels, hence all its data.
    pub(crate) provisioned: bool,
    /// Why it is gone for good.
    pub(crate) lost: Option<String>,
}

/// A client's part in the open round.
pub(crate) struct Slot {
    pub(crate) started: Option<Instant>,
    pub(crate) bytes_down: u64,
    /// Why the last attempt to start it failed.
    pub(crate) trouble: Option<String>,
    pub(crate) decision: Option<Decision>,
}

/// How the round ended for a client.
pub(crate) struct Decision {
    pub(crate) outcome: Outcome,
    pub(crate) detail: String,
    pub(crate) host_seconds: f64,
    pub(crate) bytes_up: u64,
    pub(crate) metrics: Metrics,
    pub(crate) update: Option<Update>,
}

impl Slot {
    pub(crate) fn is_ok(&self) -> bool {
        self.decision
            .as_ref()
            .is_some_and(|decision| decision.outcome == Outcome::Ok)
    }

    /// Decides a failure, unless the client's part is decided already.
    pub(crate) fn fail(&mut self, outcome: Outcome, detail: String) -> bool {
        if self.decision.is_some() {
            return false;
        }
        self.decision = Some(Decision {
            outcome,
            detail,
            host_seconds: self.seconds(),
            bytes_up: 0,
            metrics: Metrics::default(),
            update: None,
        });
        true
    }

    /// Host time since the client was started, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.started
            .map_or(0.0, |started| started.elapsed().as_secs_f64())
    }
}

/// The round that is open for updates.
pub(crate) struct OpenRound {
    pub(crate) index: u32,
    pub(crate) global: Arc<Vec<f32>>,
    pub(crate) payload: Arc<Vec<u8>>,
    pub(crate) payload_crc32: u32,
    pub(crate) slots: BTreeMap<u32, Slot>,
}

/// All that changes while the coordinator runs.
pub(crate) struct State {
    pub(crate) clients: Vec<Client>,
    pub(crate) round: Option<OpenRound>,
    /// The last round that was opened.
    pub(crate) last_round: u32,
}

impl State {
    /// Whose token this is. Every token is compared, each in constant time.
    pub(crate) fn client_of(&self, token: &Token) -> Option<u32> {
        let mut found = None;
        for (id, client) in (0..).zip(&self.clients) {
            if client.token == *token {
                found = Some(id);
            }
        }
        found
    }

    pub(crate) fn client(&self, id: u32) -> Option<&Client> {
        self.clients.get(usize::try_from(id).ok()?)
    }

    pub(crate) fn client_mut(&mut self, id: u32) -> Option<&mut Client> {
        self.clients.get_mut(usize::try_from(id).ok()?)
    }

    /// The client's part in the open round, if that is `round`.
    pub(crate) fn slot_mut(&mut self, round: u32, id: u32) -> Option<&mut Slot> {
        self.round
            .as_mut()
            .filter(|open| open.index == round)?
            .slots
            .get_mut(&id)
    }
}
