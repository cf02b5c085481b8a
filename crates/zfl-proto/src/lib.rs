//! Messages between coordinator and client, and the console grammar.
//!
//! Everything that both sides of the wire must agree on stands here, once:
//! the binary [`message`] headers, the [`console`] lines of a device, the
//! [`Token`] of a client, the names of the HTTP interface ([`http`]), the
//! [record](ShareRecord) by which a device knows its share again, and the
//! [note](image) by which a firmware image is known.
//! Nothing allocates, every size has a bound, and decoding never panics: a
//! [`message::DecodeError`] or [`console::CommandError`] says where the bytes
//! went wrong.
//!
//! The human-readable JSON forms of the same messages belong to the
//! coordinator and are not here: a device never parses JSON.
#![cfg_attr(not(test), no_std)]

pub mod console;
pub mod http;
pub mod image;
pub mod message;
mod record;
mod token;

pub use record::ShareRecord;
pub use token::{Token, TokenError};

use core::fmt;

/// Who a client is: its number in the run, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which round of the run, from 1. Round 0 is the state before training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoundIndex(pub u32);

impl fmt::Display for RoundIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
