//! HTTP both ways: requests to the coordinator, and the server for its own.
//!
//! Bodies are streamed in pieces of [`CHUNK_BYTES`]; none is ever held whole
//! outside the client's arena. A connection carries one exchange.

pub(crate) mod request;
pub(crate) mod server;

/// Size of the pieces in which bodies move, in bytes.
const CHUNK_BYTES: usize = 1024;
/// Room for the head of a request or response, in bytes.
const HEAD_BYTES_MAX: usize = 1024;
