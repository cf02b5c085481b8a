//! Boards and emulated machines.
