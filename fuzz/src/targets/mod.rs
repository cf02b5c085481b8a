//! What is fuzzed, a module each.

pub(crate) mod board;
pub(crate) mod checkpoint;
pub(crate) mod client;
pub(crate) mod console;
pub(crate) mod experiment;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod idx;
pub(crate) mod image;
pub(crate) mod message;
pub(crate) mod meter;
pub(crate) mod switch;
pub(crate) mod task;
