//! A fixed-memory neural-network trainer.
#![cfg_attr(not(test), no_std)]
