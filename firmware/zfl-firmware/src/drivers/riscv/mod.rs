//! RISC-V with 32 bits, in machine mode, with a PLIC.

pub(crate) mod cpu;
pub(super) mod interrupt;
