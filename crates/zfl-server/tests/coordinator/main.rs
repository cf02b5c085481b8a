//! The coordinator against clients on loopback sockets.
//!
//! | module | one line |
//! |---|---|
//! | `problem` | a small data set that can be learnt, and the run without HTTP |
//! | `harness` | serves a coordinator, plays clients, waits for events |
//! | `learning` | whole runs, in pull and called mode |
//! | `refusals` | requests that must change nothing |
//! | `connections` | those that are silent, slow, or too many |
//! | `failures` | clients that fail, each in its way |
//! | `fleet` | the requests of a fleet host |
//! | `kept` | clients that still have their share |
//! | `local` | clients that are played in this process |
//! | `patience` | what is done about clients that are slow, late, fail and come back |
//! | `by_hand` | the `curl` session of `docs/http.md`, as it stands there |
#![expect(clippy::unwrap_used, reason = "a test may")]
#![expect(clippy::panic, reason = "a test may")]

mod by_hand;
mod connections;
mod failures;
mod fleet;
mod harness;
mod kept;
mod learning;
mod local;
mod patience;
mod problem;
mod refusals;
