//! The `zfl` program from outside: whole runs in QEMU, and what it says when
//! something is wrong.
//!
//! The tests need `qemu-system-arm` and a `zfl` that carries the firmware
//! images (`make firmware` before the build). Where one is missing they fail
//! with what zfl itself says about it, which names the command that mends it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod archives;
mod campaign;
mod debugging;
mod endings;
mod exports;
mod faults;
mod guide;
mod links;
mod native;
mod partitions;
mod platforms;
mod refusals;
mod regression;
mod reports;
mod resumes;
mod runs;
mod sizes;
mod support;
mod sweeps;
mod terminal;
mod texts;
mod traffic;
