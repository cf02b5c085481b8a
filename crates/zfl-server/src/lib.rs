//! The coordinator: rounds, strategies, checkpoints, HTTP interface.
//!
//! A [`Coordinator`] owns the global model and a list of clients. It knows
//! nothing of emulators: whatever holds a client's token and speaks the HTTP
//! endpoints takes part, be it an emulated device, a board on the desk or a
//! person with `curl`.
//!
//! - [`Coordinator::serve`] is the HTTP interface (`docs/http.md`), for peers
//!   that nobody trusts (`docs/security.md`).
//! - [`Coordinator::run`] plays the rounds and tells what happens as
//!   [`Event`]s.
//!
//! A client with an *endpoint* is called (`GET /ready`, `POST /start`); one
//! without asks for its task itself (`GET /start?id=`). A *local* client is
//! played in this process by a [`LocalClients`]: the same messages, without
//! HTTP.
//!
//! **Invariant**: what the global model becomes depends on the updates and
//! their clients' numbers alone, never on the order in which they arrive.

mod call;
pub mod checkpoint;
mod coordinator;
mod evaluation;
mod http;
mod json;
mod local;
mod payload;
mod policy;
mod refusals;
mod registry;
mod resume;
mod round;
mod schedule;
mod selection;
mod serve;
#[cfg(test)]
mod simulation;
pub mod strategy;
mod targets;
mod update;

pub use coordinator::{
    Coordinator, CoordinatorError, Deadlines, Initial, LocalPart, Options, Plan, Shares, TestSet,
};
pub use json::{FleetAnswer, FleetDevice, FleetMember, FleetRequest};
pub use local::{BOARD_NATIVE, LocalCall, LocalClients, LocalRound, LocalUpdate};
pub use policy::{
    ADAPTIVE_DEADLINE_MIN, AdaptiveDeadline, DURATIONS_MAX, DURATIONS_MIN, Policy, Rest, Staleness,
};
pub use refusals::{REFUSALS_TOLD_MAX, RefusalKind};
pub use resume::{Carry, LateUpdate, Resting, Resume, Secrets};
pub use round::{ClientRecord, Event, LateRecord, Outcome, RoundRecord};
pub use schedule::Schedule;
pub use serve::{
    CONNECTIONS_OF_FLEET_MAX, CONNECTIONS_PER_CLIENT_MAX, HEAD_BYTES_MAX, HEAD_DEADLINE,
    STRANGERS_MAX, UNREAD_DEADLINE,
};
pub use targets::{Fit, Quality, Targets};
