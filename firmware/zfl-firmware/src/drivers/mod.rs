//! Registers, memory and processor: the only code with `unsafe`.
//!
//! Each module has a safe face. What they trust is the board file: that the
//! addresses in [`Board`](crate::Board) are those of the devices it names.
#![expect(unsafe_code, reason = "this is where the hardware is touched")]

pub(crate) mod cpu;
pub(crate) mod executor;
pub(crate) mod interrupt;
pub(crate) mod lan9118;
pub(crate) mod memory;
mod registers;
pub(crate) mod timer;
pub(crate) mod uart;
