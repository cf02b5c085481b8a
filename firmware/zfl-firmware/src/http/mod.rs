//! HTTP both ways: requests to the coordinator, and the server for its own.
//!
//! Bodies are streamed in pieces of [`CHUNK_BYTES`](crate::sizes::CHUNK_BYTES); none is ever held whole
//! outside the client's arena. A connection carries one exchange.

pub(crate) mod request;
pub(crate) mod server;
