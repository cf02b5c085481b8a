//! Registers, memory and processor: the only code with `unsafe`.
//!
//! Each module has a safe face. What they trust is the board file: that the
//! addresses in [`Board`](crate::Board) are those of the devices it names.
//!
//! | what | one of |
//! |---|---|
//! | processor (`cpu`, `interrupt`) | `arm` (Armv7-M, Armv8-M), `riscv` (32 bits, machine mode) |
//! | NIC (`nic`) | `lan9118`, `stellaris_ethernet`, `virtio_net` |
//! | UART behind `uart` | `cmsdk_uart`, `pl011`, `ns16550` |
//! | counter and alarm behind `timer` | `cmsdk_timer`, `stellaris_timer`, `clint` |
//!
//! The processor follows from the target; the devices from a feature, one for
//! each family of boards, so that an image has no driver that it cannot use.
#![expect(unsafe_code, reason = "this is where the hardware is touched")]

#[cfg(target_arch = "arm")]
mod arm;
#[cfg(feature = "virt")]
mod clint;
#[cfg(feature = "mps2")]
mod cmsdk_timer;
#[cfg(feature = "mps2")]
mod cmsdk_uart;
pub(crate) mod executor;
#[cfg(feature = "mps2")]
pub(crate) mod lan9118;
pub(crate) mod memory;
#[cfg(feature = "virt")]
mod ns16550;
#[cfg(feature = "stellaris")]
mod pl011;
mod registers;
#[cfg(target_arch = "riscv32")]
mod riscv;
#[cfg(feature = "stellaris")]
mod stellaris_clock;
#[cfg(feature = "stellaris")]
pub(crate) mod stellaris_ethernet;
#[cfg(feature = "stellaris")]
mod stellaris_timer;
pub(crate) mod timer;
pub(crate) mod uart;
#[cfg(feature = "virt")]
pub(crate) mod virtio_net;

#[cfg(target_arch = "arm")]
use arm as arch;
#[cfg(target_arch = "riscv32")]
use riscv as arch;

pub(crate) use arch::cpu;
use arch::interrupt;

#[cfg(feature = "mps2")]
pub(crate) use lan9118 as nic;
#[cfg(feature = "stellaris")]
pub(crate) use stellaris_ethernet as nic;
#[cfg(feature = "virt")]
pub(crate) use virtio_net as nic;

/// What has to be done before any device is used.
pub(crate) fn init(board: &crate::Board) {
    cpu::init(board);
    interrupt::init(board);
    #[cfg(feature = "stellaris")]
    stellaris_clock::init();
}
