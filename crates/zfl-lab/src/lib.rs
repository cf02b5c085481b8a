//! Experiment file to run: wires fleet, network, coordinator and data.
//!
//! - [`experiment`] is the file, read and checked.
//! - [`run`](mod@run) executes it: loads and shares out the data, starts the
//!   coordinator and the fleet, and writes the run's folder.
//! - [`host`] is the fleet's half: devices, their network and their place at a
//!   coordinator, in this process or another.
//! - [`attach`] is the way to a running device's console; `crashes` writes what is known
//!   of one that failed.
//! - [`kind`] is what the devices are: boards, and microcontrollers that they stand for.
//! - [`campaign`] is experiments in which everything goes wrong, and the audit of their runs.
//! - [`faults`] is what goes wrong on purpose, for devices and native clients alike.
//! - `native` plays clients in this process, without a fleet.
//! - [`size`] says what it takes on each board, without running it.
//! - [`probe`] lets one device do one client-round; [`platforms`] compares boards and
//!   microcontrollers by it, [`calibrate`] learns from it.
//! - [`archive`] reads the folders of runs, [`export`] writes their records for others.
//! - [`firmware`] is where images come from.

pub mod archive;
pub mod attach;
pub mod calibrate;
pub mod campaign;
pub mod capture;
mod cpu;
mod crashes;
mod data;
mod director;
pub mod experiment;
pub mod export;
pub mod faults;
pub mod firmware;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
pub mod host;
pub mod kind;
mod later;
mod learnt;
mod native;
pub mod platforms;
pub mod probe;
mod records;
pub mod run;
pub mod size;
mod state;
pub mod sweep;
pub mod task;
pub mod traffic;

pub use cpu::CpuTime;
pub use records::RecordError;
