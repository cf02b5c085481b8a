//! Buffers and sockets: as many as the board has memory for.
//!
//! The feature `small-memory` leaves more of 64 KiB to the client.

use crate::net::SEGMENT_BYTES;

const SMALL: bool = cfg!(feature = "small-memory");

const fn choose(large: usize, small: usize) -> usize {
    if SMALL { small } else { large }
}

/// Requests of the coordinator that can be served at the same time. One more
/// than a coordinator needs, because a socket that closes is not listening.
pub(crate) const SERVER_SOCKETS: usize = choose(3, 2);
/// Receive window of a server socket.
pub(crate) const SERVER_WINDOW_BYTES: usize = SEGMENT_BYTES;
/// Receive window of the one socket for requests to the coordinator.
pub(crate) const CLIENT_WINDOW_BYTES: usize = choose(3 * SEGMENT_BYTES, SEGMENT_BYTES);
/// Unacknowledged bytes that a server socket can have under way.
pub(crate) const SERVER_SEND_BYTES: usize = choose(1024, 256);
/// The same for requests: an update is 50 KB, so more is faster.
pub(crate) const CLIENT_SEND_BYTES: usize = choose(8192, SEGMENT_BYTES);
/// The longest head of a request or response.
pub(crate) const HEAD_BYTES_MAX: usize = choose(1024, 512);
/// What is moved between socket and client at a time.
pub(crate) const CHUNK_BYTES: usize = choose(1024, 512);
/// Bytes that wait for the console's line.
pub(crate) const CONSOLE_BYTES: usize = choose(1024, 256);
/// Whether the device looks for its share after a reboot. Boards with little
/// memory have none that outlives one, and no flash for what knows it again.
pub(crate) const KEEPS_SHARE: bool = !SMALL;
