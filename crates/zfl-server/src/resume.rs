//! What a run needs to go on after one of its rounds.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zfl_proto::Token;

/// What the coordinator carries from round to round besides the round's number
/// and the global model. A run that is resumed is given it back, and goes on
/// as if it had never stopped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Carry {}

/// Where a run goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Resume {
    /// The last round that is over; 0: none.
    pub round: u32,
    /// The global model after it; `None` where no round has changed that
    /// before round 1.
    pub parameters: Option<Arc<Vec<f32>>>,
    /// What was carried over from it.
    pub carry: Carry,
    /// What the clients know already; `None` draws new tokens.
    pub secrets: Option<Secrets>,
}

/// Secrets of a run whose clients come from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets {
    /// Lets a fleet host bring devices.
    pub fleet_key: Token,
    /// The token of each client that is not played in this process, in the
    /// order of their numbers.
    pub clients: Vec<Token>,
}
