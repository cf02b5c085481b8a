//! The federated-learning client as a state machine without I/O.
//!
//! It owns one block of memory, the *arena*, and is fed bytes; it never opens
//! a connection, waits or allocates. Whoever carries it (firmware, or a host
//! process in native fidelity) does what [`Client::next_request`] says, streams
//! what arrives into [`Client::receive_buffer`], calls [`Client::train`] for a
//! bounded piece of work at a time, and sends what [`Client::update`] gives.
//!
//! ```text
//!            id             samples, labels          start           trained
//! Unassigned ──► Assigned ─────────────────► Ready ─────────► Training ────► Reporting
//!                                              ▲                                 │
//!                                              └──────────── results sent ───────┘
//! ```
//!
//! # Memory
//!
//! The arena holds the client's share, the model (once: the global model is
//! received in place, trained in place and sent from there) and the trainer's
//! workspace. [`Needs`] says beforehand how much that is.
#![cfg_attr(not(test), no_std)]

mod arena;
mod client;

pub use arena::Needs;
pub use client::{Client, Parked, Request, State};
pub use refusal::Refusal;
pub use tamper::Tamper;

mod refusal;
mod tamper;
mod trainer;

#[cfg(target_endian = "big")]
compile_error!("messages are little-endian and received in place");
