//! The federated-learning client as a state machine without I/O.
#![cfg_attr(not(test), no_std)]
