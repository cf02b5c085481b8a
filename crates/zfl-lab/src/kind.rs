//! Kinds of devices: boards, and the microcontrollers that they stand for.

use std::ops::Range;

use zfl_machine::catalogue::CatalogueError;
use zfl_machine::mcu::Cycles;
use zfl_machine::{Board, Mcu};

use crate::experiment::{Arithmetic, Experiment, FleetGroup, NATIVE_BOARD};
use crate::firmware::{FirmwareError, FirmwareSource};
use crate::learnt::Learnt;
use crate::size::{ImageSize, image_size};

/// A board, or a microcontroller that it stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Kind {
    /// What is emulated.
    pub board: Board,
    /// What it stands for, if for anything.
    pub mcu: Option<Mcu>,
    /// What a device of this kind has.
    pub limits: Limits,
    /// What the firmware takes of it; `None` where its image is not built.
    pub image: Option<ImageSize>,
}

/// The memory of a device, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For data, model and workspace.
    pub arena_bytes: u64,
    /// Stack and statics; where RAM is limited the arena as well.
    pub ram_bytes: u64,
    /// Code and constants.
    pub flash_bytes: u64,
}

/// Why a kind of device cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KindError {
    /// No such board or microcontroller.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// No firmware for the board, or none that can be read.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// The image of a board is damaged.
    #[error("firmware of board {board}: {source}")]
    Image {
        /// The board.
        board: String,
        /// What is wrong.
        source: object::Error,
    },
}

impl Kind {
    /// The kind of a group's devices; `None` of native clients.
    ///
    /// # Errors
    /// As [`Kind::find`].
    pub fn of(group: &FleetGroup, firmware: &FirmwareSource) -> Result<Option<Self>, KindError> {
        if group.board == NATIVE_BOARD {
            return Ok(None);
        }
        let mcu = group.mcu.as_deref().map(Mcu::find).transpose()?;
        Self::find(Board::find(&group.board)?, mcu, group.ram_bytes, firmware).map(Some)
    }

    /// Devices of `board` that stand for `mcu`, with no more than `ram_bytes` of RAM.
    ///
    /// # Errors
    /// When the image of the board is damaged. One that is missing is no error.
    pub fn find(
        board: Board,
        mcu: Option<Mcu>,
        ram_bytes: Option<u32>,
        firmware: &FirmwareSource,
    ) -> Result<Self, KindError> {
        let image = match firmware.image(&board.name) {
            Ok(bytes) => {
                Some(
                    image_size(&bytes, &board.memory).map_err(|source| KindError::Image {
                        board: board.name.clone(),
                        source,
                    })?,
                )
            }
            Err(FirmwareError::Missing { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let limits = Limits::of(&board, mcu.as_ref(), ram_bytes, image);
        Ok(Self {
            board,
            mcu,
            limits,
            image,
        })
    }

    /// Of the microcontroller, else of the board.
    pub fn name(&self) -> &str {
        self.mcu.as_ref().map_or(&self.board.name, |mcu| &mcu.name)
    }

    /// How much of its arena a device of this kind may use; `None`: all.
    pub fn arena_limit_bytes(&self) -> Option<u32> {
        let arena_bytes = u32::try_from(self.limits.arena_bytes).unwrap_or(u32::MAX);
        (arena_bytes < self.board.memory.arena.size_bytes).then_some(arena_bytes)
    }

    /// What the firmware needs beside the arena: stack and statics.
    fn firmware_ram_bytes(board: &Board, image: Option<ImageSize>) -> u64 {
        u64::from(board.memory.stack_bytes) + image.map_or(0, |image| image.ram_bytes)
    }

    /// Why a client that needs so much arena does not fit a device of this
    /// kind; `None` if it does.
    pub fn misfit(&self, arena_bytes: u64) -> Option<String> {
        let firmware_ram_bytes = Self::firmware_ram_bytes(&self.board, self.image);
        let limits = &self.limits;
        let (what, needed_bytes, available_bytes) = [
            (
                "flash, for the firmware",
                self.image.map_or(0, |image| image.flash_bytes),
                limits.flash_bytes,
            ),
            (
                "RAM, for the firmware alone",
                firmware_ram_bytes,
                limits.ram_bytes,
            ),
            (
                "RAM, for data, model and workspace",
                arena_bytes,
                limits.arena_bytes,
            ),
        ]
        .into_iter()
        .find(|(_, needed, available)| needed > available)?;
        Some(format!(
            "does not fit {}: needs {needed_bytes} bytes of {available_bytes} of {what}: {} too many",
            self.name(),
            needed_bytes - available_bytes
        ))
    }
}

impl Limits {
    fn of(
        board: &Board,
        mcu: Option<&Mcu>,
        ram_bytes: Option<u32>,
        image: Option<ImageSize>,
    ) -> Self {
        let memory = &board.memory;
        let arena_bytes = u64::from(memory.arena.size_bytes);
        let of_mcu = mcu.map(|mcu| whole(mcu.ram_bytes.value));
        let limit = match (of_mcu, ram_bytes.map(u64::from)) {
            (Some(of_mcu), Some(given)) => Some(of_mcu.min(given)),
            (of_mcu, given) => of_mcu.or(given),
        };
        Self {
            // The board that stands for it has no more.
            arena_bytes: match limit {
                None => arena_bytes,
                Some(limit) => limit
                    .saturating_sub(Kind::firmware_ram_bytes(board, image))
                    .min(arena_bytes),
            },
            ram_bytes: limit.unwrap_or(memory.ram.size_bytes.into()),
            flash_bytes: match mcu {
                None => memory.flash.size_bytes.into(),
                Some(mcu) => whole(mcu.flash_bytes.value),
            },
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a size that a profile was checked for"
)]
fn whole(bytes: f64) -> u64 {
    bytes as u64
}

/// Whose cycles an experiment's training takes.
pub(crate) fn cycles_of(experiment: &Experiment) -> Cycles {
    match experiment.training.arithmetic {
        Arithmetic::F32 => Cycles::F32,
        Arithmetic::Fixed { .. } => Cycles::Fixed,
    }
}

/// What the clients of a group cost a microcontroller.
pub(crate) struct Part {
    /// Their numbers.
    pub(crate) clients: Range<u32>,
    /// What they stand for.
    pub(crate) mcu: Option<Mcu>,
    /// Of the firmware's image; `None` where there is none.
    pub(crate) flash_bytes: Option<u64>,
    /// What a device of the same board has counted in the same workload, for
    /// clients that no machine executes.
    pub(crate) learnt: Option<Learnt>,
}

/// A client-round on a microcontroller, by its profile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    /// Device time: instructions × cycles per instruction ÷ clock.
    pub(crate) device_seconds: f64,
    /// Of the processor in that time and of the link for the bytes.
    pub(crate) energy_joules: f64,
    /// What it rests on: the instructions, and the cycles that each takes.
    pub(crate) basis: &'static str,
}

/// What a client did in a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// What its device counted; 0 where nothing did.
    pub(crate) instructions: u64,
    /// Samples of its share.
    pub(crate) samples: u32,
    /// Passes over them.
    pub(crate) epochs: u32,
    /// Bytes to the coordinator: frames, of native clients message bodies.
    pub(crate) bytes_sent: u64,
    /// Bytes from the coordinator.
    pub(crate) bytes_received: u64,
}

impl Part {
    /// What a round takes on the microcontroller, where that is known.
    pub(crate) fn estimate(&self, effort: &Effort, cycles: Cycles) -> Option<Estimate> {
        let mcu = self.mcu.as_ref()?;
        let is_counted = effort.instructions > 0;
        let instructions = match self.learnt {
            _ if is_counted => effort.instructions,
            learnt => learnt?.instructions(effort.samples, effort.epochs),
        };
        let device_seconds = mcu.device_seconds(instructions, cycles);
        let (sent, received) = (effort.bytes_sent, effort.bytes_received);
        Some(Estimate {
            device_seconds,
            energy_joules: mcu.energy_joules(device_seconds, 0.0, sent, received),
            basis: match (is_counted, mcu.cycles(cycles).is_verified) {
                (true, true) => "counted instructions × verified cycles",
                (true, false) => "counted instructions × estimated cycles",
                (false, true) => "learnt instructions × verified cycles",
                (false, false) => "learnt instructions × estimated cycles",
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(learnt: Option<Learnt>) -> Part {
        Part {
            clients: 0..1,
            mcu: Some(Mcu::named("nrf52840").unwrap()),
            flash_bytes: None,
            learnt,
        }
    }

    #[test]
    fn an_estimate_says_what_it_rests_on() {
        let effort = |instructions| Effort {
            instructions,
            samples: 100,
            epochs: 5,
            bytes_sent: 0,
            bytes_received: 0,
        };
        let learnt = Learnt {
            training_per_sample: 1000.0,
            other: 500_000.0,
        };
        let of = |part: &Part, counted| part.estimate(&effort(counted), Cycles::F32);
        assert_eq!(of(&part(None), 0), None);
        let counted = of(&part(Some(learnt)), 1_000_000).unwrap();
        assert_eq!(counted.basis, "counted instructions × estimated cycles");
        let same = of(&part(Some(learnt)), 0).unwrap();
        assert_eq!(same.basis, "learnt instructions × estimated cycles");
        assert_eq!(same.device_seconds, counted.device_seconds);
        let mut measured = part(None);
        if let Some(mcu) = &mut measured.mcu {
            mcu.cycles_per_instruction.f32.is_verified = true;
            mcu.cycles_per_instruction.f32.value *= 2.0;
        }
        let measured = of(&measured, 1_000_000).unwrap();
        assert_eq!(measured.basis, "counted instructions × verified cycles");
        assert_eq!(measured.device_seconds, counted.device_seconds * 2.0);
        assert!(measured.energy_joules > counted.energy_joules);
    }

    #[test]
    fn a_part_has_no_more_than_its_memory() {
        let firmware = FirmwareSource::default();
        let find = |mcu: Option<&str>, ram_bytes| {
            let mcu = mcu.map(|name| Mcu::named(name).unwrap());
            let board = Board::named("mps2-an386").unwrap();
            Kind::find(board, mcu, ram_bytes, &firmware).unwrap()
        };
        let whole = find(None, None);
        assert_eq!(whole.arena_limit_bytes(), None);
        assert_eq!(whole.misfit(1 << 20), None);
        let stack_bytes = u64::from(whole.board.memory.stack_bytes);
        let part = find(Some("nrf52840"), None);
        assert_eq!(part.limits.arena_bytes, 262_144 - stack_bytes);
        assert_eq!(part.name(), "nrf52840");
        assert_eq!(part.misfit(1000), None);
        assert_eq!(
            part.misfit(300_000).unwrap(),
            format!(
                "does not fit nrf52840: needs 300000 bytes of {} of RAM, for data, model and \
                 workspace: {} too many",
                262_144 - stack_bytes,
                300_000 - (262_144 - stack_bytes)
            )
        );
        let less = find(Some("nrf52840"), Some(40_000));
        assert_eq!(less.limits.arena_bytes, 40_000 - stack_bytes);
        let none = find(None, Some(100)).misfit(0).unwrap();
        assert!(
            none.contains("of 100 of RAM, for the firmware alone"),
            "{none}"
        );
    }
}
