//! Cortex-M: Armv7-M and Armv8-M.

pub(crate) mod cpu;
pub(super) mod interrupt;
