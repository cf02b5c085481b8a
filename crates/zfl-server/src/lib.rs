//! The coordinator: rounds, strategies, checkpoints, HTTP interface.
