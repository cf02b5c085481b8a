//! Boards and emulated machines.
//!
//! A [`Board`] is a kind of hardware as data. A [`Machine`] is one QEMU
//! process that emulates it: started by the [`Launcher`], watched by a
//! supervisor task that keeps its console, and told apart as booting, ready,
//! crashed, hung or exited. A [`Fleet`] is many of them. [`doctor`] says what
//! this host lacks to run one. An [`Mcu`] is a microcontroller that one can buy:
//! what its time and its energy are, which the emulator does not know. A
//! [`LinkProfile`] is a kind of link: figures for `zfl-net`, with their sources.
//!
//! What a device learns, and what its frames carry, is not known here: a
//! machine takes one descriptor for its network and hands out the lines of its
//! console.
//!
//! **No process outlives its owner.** A machine ends when its [`Machine`]
//! handle is dropped, when the last [`Launcher`] goes, and when this process
//! ends in whatever way: the kernel then kills it (see [`launch`]).

pub mod board;
pub mod catalogue;
pub mod console;
pub mod crash;
pub mod doctor;
pub mod fleet;
pub mod image;
pub mod launch;
pub mod limits;
pub mod link;
mod mac;
pub mod machine;
pub mod mcu;
mod nearest;
mod ram;
pub mod usage;

pub use board::Board;
pub use fleet::{Fleet, FleetMember, FleetProgress, FleetSettings};
pub use launch::{Launcher, LauncherProgram, exec_machine};
pub use link::LinkProfile;
pub use mac::MacAddress;
pub use machine::{Machine, MachineError, MachineReport, MachineSpec, MachineState, Nic};
pub use mcu::Mcu;
pub use nearest::nearest;
pub use ram::Ram;
