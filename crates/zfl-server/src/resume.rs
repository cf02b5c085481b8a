//! What a run needs to go on after one of its rounds.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

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
    /// The global model after it.
    pub parameters: Arc<Vec<f32>>,
    /// What was carried over from it.
    pub carry: Carry,
}
