//! Memory as a number before the run: what an experiment takes on each board.
//!
//! The client's part comes from [`zfl_client::Needs`], the very function by
//! which a client lays out its arena, so that it is what the device will
//! report as its high-water mark, to the byte. The firmware's part comes from
//! the image. Time is not looked at, and nothing is started.

use std::collections::BTreeSet;
use std::ops::Range;

use object::read::elf::{FileHeader, SectionHeader};
use object::{Endianness, elf};
use serde::Serialize;
use zfl_client::Needs;
use zfl_data::{Dataset, LoadError, Partition, PartitionError, SearchPath};
use zfl_machine::board::Memory;
use zfl_nn::{Format, SAMPLES_MAX, Task};
use zfl_proto::message::{Encoding, StartHeader, UpdateHeader};
use zfl_proto::{ClientId, RoundIndex};

use crate::data::saturate;
use crate::experiment::{Experiment, Fidelity, ParticipationError};
use crate::firmware::FirmwareSource;
use crate::kind::{Kind, KindError};
use crate::run;
use crate::task::{self, TaskError};

/// Bytes of each value of a workspace.
const VALUE_BYTES: usize = 4;

/// Why it cannot be said what an experiment takes.
#[derive(Debug, thiserror::Error)]
pub enum SizeError {
    /// The data cannot be had.
    #[error(transparent)]
    Data(#[from] LoadError),
    /// The data cannot be shared out.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// A share that no client takes.
    #[error("client {client} would hold {samples} samples, at most {SAMPLES_MAX} are possible")]
    TooManySamples {
        /// The client.
        client: u32,
        /// Its samples.
        samples: usize,
    },
    /// There is nobody, or more clients are asked for than there are.
    #[error(transparent)]
    Participation(#[from] ParticipationError),
    /// There is no such model on these data.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// A board or a microcontroller is not known, or an image is damaged.
    #[error(transparent)]
    Kind(#[from] KindError),
}

/// What an experiment takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// The experiment's name.
    pub name: String,
    /// Clients of the fleet.
    pub clients: u32,
    /// Weights and biases of the model.
    pub parameters: usize,
    /// Those that train.
    pub parameters_trained: usize,
    /// What a parameter is: `f32`, or fixed point of 32, 16 or 8 bits.
    pub format: &'static str,
    /// Each board of the fleet, in the order of the experiment; native clients
    /// together as one.
    pub boards: Vec<BoardSize>,
    /// What travels in a round.
    pub round: RoundSize,
    /// Whether all boards have enough.
    pub fits: bool,
}

/// What it takes on one board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BoardSize {
    /// The name of the microcontroller, else of the board; or `native`.
    pub board: String,
    /// `emulated` or `native`.
    pub fidelity: &'static str,
    /// Clients of the fleet on such boards.
    pub clients: u32,
    /// Samples in the share that needs most.
    pub samples: usize,
    /// The client's memory, with that share.
    pub arena: ArenaSize,
    /// Stack and statics; `None` for native clients.
    pub ram: Option<RamSize>,
    /// Code and constants; `None` for native clients.
    pub flash: Option<FlashSize>,
    /// Whether the board has enough of all that is known.
    pub fits: bool,
}

/// A client's memory, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ArenaSize {
    /// Samples of the share.
    pub samples_bytes: usize,
    /// Labels of the share, or values in their place.
    pub labels_bytes: usize,
    /// The order in which samples are taken.
    pub batch_order_bytes: usize,
    /// Weights and biases.
    pub weights_bytes: usize,
    /// Gradients of the layers that sum them.
    pub gradients_bytes: usize,
    /// Outputs and error signals, those kept for a batch included.
    pub activations_bytes: usize,
    /// Velocity, and the model that the round began with.
    pub optimiser_bytes: usize,
    /// Between the regions.
    pub alignment_bytes: usize,
    /// All of it: what a device reports as `arena_peak_bytes`.
    pub needed_bytes: usize,
    /// What the board has; `None`: no limit.
    pub available_bytes: Option<usize>,
}

/// Stack and statics of a device, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RamSize {
    /// Reserved for the stack.
    pub stack_bytes: u64,
    /// Network buffers and all other statics of the image (`.data`, `.bss`);
    /// `None`: the image is not built.
    pub statics_bytes: Option<u64>,
    /// The sum of what is known.
    pub needed_bytes: u64,
    /// What the board has.
    pub available_bytes: u64,
}

/// The image in a device's flash, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FlashSize {
    /// Code, constants and initial values; `None`: the image is not built.
    pub needed_bytes: Option<u64>,
    /// What the board has.
    pub available_bytes: u64,
}

/// What travels in a round: bytes of messages with their headers, without
/// HTTP and what is below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoundSize {
    /// Clients that are selected.
    pub clients: u32,
    /// The global model to a client.
    pub start_bytes: usize,
    /// The same to a client that holds the frozen layers from an earlier round.
    pub start_again_bytes: usize,
    /// The model from a client.
    pub update_bytes: usize,
    /// All start messages, where each brings the whole model.
    pub down_bytes: usize,
    /// All updates.
    pub up_bytes: usize,
}

/// Where a board has too little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// `arena`, `RAM` or `flash`.
    pub memory: &'static str,
    /// How many bytes are too many.
    pub bytes: u64,
}

impl BoardSize {
    /// All memories that are too small.
    pub fn excesses(&self) -> impl Iterator<Item = Excess> + use<> {
        let arena = self.arena.available_bytes.map(|available| {
            let bytes = self.arena.needed_bytes.saturating_sub(available);
            ("arena", u64::try_from(bytes).unwrap_or(u64::MAX))
        });
        let ram = self.ram.as_ref().map(|ram| {
            let bytes = ram.needed_bytes.saturating_sub(ram.available_bytes);
            ("RAM", bytes)
        });
        let flash = self.flash.as_ref().map(|flash| {
            let needed = flash.needed_bytes.unwrap_or(0);
            ("flash", needed.saturating_sub(flash.available_bytes))
        });
        [arena, ram, flash]
            .into_iter()
            .flatten()
            .filter(|(_, bytes)| *bytes > 0)
            .map(|(memory, bytes)| Excess { memory, bytes })
    }

    /// Whether the firmware's part is known; native clients have none.
    pub fn is_complete(&self) -> bool {
        let has_statics = |ram: &RamSize| ram.statics_bytes.is_some();
        self.ram.as_ref().is_none_or(has_statics)
    }
}

/// What an experiment takes on the boards of its fleet.
///
/// # Errors
/// When the experiment cannot be run anywhere, or its data are not there, or an
/// image is damaged. One that is missing is no error.
pub fn sizes(
    experiment: &Experiment,
    search_path: &SearchPath,
    firmware: &FirmwareSource,
) -> Result<Sizes, SizeError> {
    let client_count = experiment.fleet_size();
    let participation = experiment.coordinator.participation(client_count)?;
    let data = run::load(experiment, search_path)?;
    let partition = run::partition(experiment, &data.train, client_count)?;
    let task = task::task(experiment, &data.train)?;
    let sample = SampleSize::of(&data.train);
    let boards: Vec<BoardSize> = members(experiment, firmware)?
        .into_iter()
        .map(|member| member.size(&task, sample, &partition))
        .collect::<Result<_, _>>()?;
    Ok(Sizes {
        name: experiment.name.clone(),
        clients: client_count,
        parameters: task.model.parameter_count(),
        parameters_trained: task.model.parameter_count() - task.model.frozen_parameter_count(),
        format: match task.format {
            Format::F32 => "f32",
            Format::Fixed32 => "32-bit fixed point",
            Format::Fixed16 => "16-bit fixed point",
            Format::Fixed8 => "8-bit fixed point",
        },
        fits: boards.iter().all(|board| board.fits),
        boards,
        round: round_size(
            &task,
            run::policy(experiment).selected_count(participation.clients_per_round, client_count),
        ),
    })
}

/// All clients of a fleet on one kind of device.
struct Member {
    /// `None`: native.
    kind: Option<Kind>,
    clients: Vec<Range<u32>>,
}

/// The fleet by kinds. Clients are numbered through its groups.
fn members(experiment: &Experiment, firmware: &FirmwareSource) -> Result<Vec<Member>, KindError> {
    let mut members: Vec<Member> = Vec::new();
    let mut end = 0;
    for group in &experiment.fleet {
        let kind = Kind::of(group, firmware)?;
        let clients = end..end + group.count;
        end = clients.end;
        match members.iter_mut().find(|member| member.kind == kind) {
            Some(member) => member.clients.push(clients),
            None => members.push(Member {
                kind,
                clients: vec![clients],
            }),
        }
    }
    Ok(members)
}

impl Member {
    fn size(
        &self,
        task: &Task,
        sample: SampleSize,
        partition: &Partition,
    ) -> Result<BoardSize, SizeError> {
        let mut sample_counts = BTreeSet::new();
        for client in self.clients.iter().cloned().flatten() {
            let share = partition.client(client as usize).unwrap_or_default();
            if share.len() > SAMPLES_MAX {
                return Err(SizeError::TooManySamples {
                    client,
                    samples: share.len(),
                });
            }
            sample_counts.insert(share.len());
        }
        // The largest share as a rule; but which layers sum gradients depends
        // on the batch, and so on the share.
        let (samples, arena) = sample_counts
            .into_iter()
            .map(|samples| (samples, arena_size(task, samples, sample)))
            .max_by_key(|(samples, arena)| (arena.needed_bytes, *samples))
            .unwrap_or_else(|| (0, arena_size(task, 0, sample)));
        let mut size = BoardSize {
            board: self.kind.as_ref().map_or_else(
                || Fidelity::Native.name().to_owned(),
                |kind| kind.name().to_owned(),
            ),
            fidelity: match self.kind {
                Some(_) => Fidelity::Emulated.name(),
                None => Fidelity::Native.name(),
            },
            clients: self
                .clients
                .iter()
                .map(|range| range.end - range.start)
                .sum(),
            samples,
            arena,
            ram: None,
            flash: None,
            fits: false,
        };
        if let Some(kind) = &self.kind {
            add_kind(&mut size, kind);
        }
        size.fits = size.excesses().next().is_none();
        Ok(size)
    }
}

/// What one sample of a share consists of.
#[derive(Clone, Copy)]
pub(crate) struct SampleSize {
    inputs: usize,
    /// A value to learn in place of a label.
    has_value: bool,
}

impl SampleSize {
    pub(crate) fn of(train: &Dataset) -> Self {
        Self {
            inputs: train.input_count(),
            has_value: train.targets().is_some(),
        }
    }
}

/// What a client needs, part by part.
pub(crate) fn arena_size(task: &Task, samples: usize, sample: SampleSize) -> ArenaSize {
    let mut needs = Needs::of_share(samples, sample.inputs);
    if sample.has_value {
        needs = needs.with_values(1);
    }
    let needs = needs.with_task(task);
    let workspace = needs.workspace(task);
    let bytes = |values: usize| values.saturating_mul(VALUE_BYTES);
    let mut size = ArenaSize {
        samples_bytes: needs.samples_bytes,
        labels_bytes: needs.labels_bytes,
        batch_order_bytes: needs.order_bytes,
        weights_bytes: needs.parameters_bytes,
        gradients_bytes: bytes(workspace.gradients),
        // Blocks of one have no lanes.
        activations_bytes: bytes(workspace.activations.saturating_add(workspace.lanes)),
        optimiser_bytes: bytes(workspace.optimiser),
        alignment_bytes: 0,
        needed_bytes: needs.total_bytes(),
        available_bytes: None,
    };
    let parts = [
        size.samples_bytes,
        size.labels_bytes,
        size.batch_order_bytes,
        size.weights_bytes,
        size.gradients_bytes,
        size.activations_bytes,
        size.optimiser_bytes,
    ];
    let sum = parts.into_iter().fold(0, usize::saturating_add);
    size.alignment_bytes = size.needed_bytes.saturating_sub(sum);
    size
}

/// Sets what the board has, and what its firmware takes of it.
fn add_kind(size: &mut BoardSize, kind: &Kind) {
    let image = kind.image;
    let stack_bytes = u64::from(kind.board.memory.stack_bytes);
    size.arena.available_bytes = usize::try_from(kind.limits.arena_bytes).ok();
    size.ram = Some(RamSize {
        stack_bytes,
        statics_bytes: image.map(|image| image.ram_bytes),
        needed_bytes: stack_bytes + image.map_or(0, |image| image.ram_bytes),
        available_bytes: kind.limits.ram_bytes,
    });
    size.flash = Some(FlashSize {
        needed_bytes: image.map(|image| image.flash_bytes),
        available_bytes: kind.limits.flash_bytes,
    });
}

/// What a firmware image takes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageSize {
    /// Code, constants, and the initial values of statics.
    pub flash_bytes: u64,
    /// Statics.
    pub ram_bytes: u64,
}

/// Adds up the sections of an image: those that may be written are in RAM, all
/// that have contents are in flash. The stack, which riscv-rt has a section
/// for, is not of the statics.
pub(crate) fn image_size(bytes: &[u8], memory: &Memory) -> Result<ImageSize, object::Error> {
    let is_stack = |address: u32| {
        let offset = address.checked_sub(memory.ram.base);
        offset.is_some_and(|offset| offset < memory.stack_bytes)
    };
    let header = elf::FileHeader32::<Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let mut size = ImageSize::default();
    for section in header.section_headers(endian, bytes)? {
        let flags = section.sh_flags(endian);
        let len = u64::from(section.sh_size(endian));
        if flags & elf::SHF_ALLOC == 0 {
            continue;
        }
        if flags & elf::SHF_WRITE != 0 && !is_stack(section.sh_addr(endian)) {
            size.ram_bytes += len;
        }
        if section.sh_type(endian) != elf::SHT_NOBITS {
            size.flash_bytes += len;
        }
    }
    Ok(size)
}

/// What travels in a round with so many clients.
fn round_size(task: &Task, clients: u32) -> RoundSize {
    let header = StartHeader {
        client: ClientId(0),
        round: RoundIndex(1),
        seed: 0,
        task: task.encode().as_slice(),
        encoding: Encoding::F32,
        payload_bytes: saturate(task.parameter_bytes()),
        payload_crc32: 0,
    }
    .encode();
    let header_bytes = header.as_slice().len();
    let start_bytes = header_bytes.saturating_add(task.parameter_bytes());
    let update_bytes = UpdateHeader::HEADER_BYTES.saturating_add(task.trained_bytes());
    let of_all = |bytes: usize| bytes.saturating_mul(clients as usize);
    RoundSize {
        clients,
        start_bytes,
        start_again_bytes: header_bytes.saturating_add(task.trained_bytes()),
        update_bytes,
        down_bytes: of_all(start_bytes),
        up_bytes: of_all(update_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firmware::FirmwareImage;

    /// An image with sections of these (type, flags, bytes), and no contents.
    fn image(sections: &[(u32, u32, u32)]) -> Vec<u8> {
        let mut bytes = Vec::from(*b"\x7fELF\x01\x01\x01");
        bytes.resize(16, 0);
        // Executable, Arm, version 1; headers of programs: none.
        for half in [2, 40, 1, 0, 0, 0, 0, 0] {
            bytes.extend(u16::to_le_bytes(half));
        }
        let count = u16::try_from(sections.len() + 1).unwrap();
        bytes.extend(u32::to_le_bytes(52));
        bytes.extend([0; 4]);
        for half in [52, 0, 0, 40, count, 0] {
            bytes.extend(u16::to_le_bytes(half));
        }
        assert_eq!(bytes.len(), 52);
        bytes.extend([0; 40]);
        for (kind, flags, len) in sections {
            for word in [0, *kind, *flags, 0, 0, *len, 0, 0, 4, 0] {
                bytes.extend(word.to_le_bytes());
            }
        }
        bytes
    }

    const SECTIONS: [(u32, u32, u32); 5] = [
        // .text, .rodata, .data, .bss, and one that is not loaded.
        (elf::SHT_PROGBITS, elf::SHF_ALLOC | elf::SHF_EXECINSTR, 1000),
        (elf::SHT_PROGBITS, elf::SHF_ALLOC, 200),
        (elf::SHT_PROGBITS, elf::SHF_ALLOC | elf::SHF_WRITE, 30),
        (elf::SHT_NOBITS, elf::SHF_ALLOC | elf::SHF_WRITE, 4),
        (elf::SHT_PROGBITS, 0, 9999),
    ];

    fn memory() -> Memory {
        zfl_machine::Board::named("mps2-an386").unwrap().memory
    }

    fn firmware(sections: &[(u32, u32, u32)]) -> FirmwareSource {
        let image = FirmwareImage {
            board: "mps2-an386",
            elf: image(sections).leak(),
        };
        FirmwareSource {
            folder: None,
            carried: vec![image].leak(),
        }
    }

    fn experiment(more: &str, fleet: &str) -> Experiment {
        let text = format!(
            "seed = 1\nrounds = 1\n[data.digits]\n[partition.iid]\n[model.mlp]\nhidden = [16]\n\
             [training]\nepochs = 1\nbatch-size = 10\nlearning-rate = 0.2\n{more}\n\
             [strategy.fed-avg]\n{fleet}"
        );
        Experiment::parse(&text, "t.toml", &[], &["mps2-an385", "mps2-an386"]).unwrap()
    }

    const THREE: &str = "[[fleet]]\nboard = \"mps2-an386\"\ncount = 3\n";

    fn check(experiment: &Experiment, firmware: &FirmwareSource) -> Sizes {
        sizes(experiment, &SearchPath::default(), firmware).unwrap()
    }

    #[test]
    fn sections_are_added_up() {
        let size = image_size(&image(&SECTIONS), &memory()).unwrap();
        let expected = ImageSize {
            flash_bytes: 1230,
            ram_bytes: 34,
        };
        assert_eq!(size, expected);
        assert!(image_size(b"\x7fELF", &memory()).is_err());
        assert!(image_size(&image(&SECTIONS)[..100], &memory()).is_err());
    }

    #[test]
    fn parts_add_up_to_what_a_client_needs() {
        let sizes = check(&experiment("", THREE), &firmware(&SECTIONS));
        assert_eq!(sizes.parameters, 64 * 16 + 16 + 16 * 10 + 10);
        let [board] = &sizes.boards[..] else {
            panic!("{sizes:?}")
        };
        // 1438 samples for three; the batch keeps the first layer's signals.
        assert_eq!((board.clients, board.samples), (3, 480));
        let arena = &board.arena;
        assert_eq!(arena.samples_bytes, 480 * 64);
        assert_eq!(arena.labels_bytes, 480);
        assert_eq!(arena.batch_order_bytes, 960);
        assert_eq!(arena.weights_bytes, 1210 * 4);
        assert_eq!(arena.optimiser_bytes, 0);
        assert_eq!(
            arena.needed_bytes,
            arena.samples_bytes
                + arena.labels_bytes
                + arena.batch_order_bytes
                + arena.weights_bytes
                + arena.gradients_bytes
                + arena.activations_bytes
                + arena.alignment_bytes
        );
        assert!(arena.alignment_bytes < 5 * 8);
        assert_eq!(arena.available_bytes, Some((16 << 20) - 128));
        let ram = board.ram.as_ref().unwrap();
        assert_eq!((ram.stack_bytes, ram.statics_bytes), (24_576, Some(34)));
        assert_eq!(board.flash.as_ref().unwrap().needed_bytes, Some(1230));
        assert!(board.fits && sizes.fits && board.is_complete());
        // The headers are 32 bytes and the task, and 112.
        assert!(sizes.round.start_bytes > 4840 + 32);
        assert_eq!(sizes.round.start_bytes, sizes.round.start_again_bytes);
        assert_eq!(sizes.round.update_bytes, 4840 + 112);
        assert_eq!(sizes.round.up_bytes, 3 * sizes.round.update_bytes);
    }

    #[test]
    fn an_optimiser_takes_memory() {
        let sizes = check(
            &experiment("momentum = 0.9\nproximal = 0.1", THREE),
            &firmware(&SECTIONS),
        );
        let arena = &sizes.boards[0].arena;
        assert_eq!(arena.optimiser_bytes, 2 * 1210 * 4);
        assert_eq!(arena.gradients_bytes, 1210 * 4);
    }

    #[test]
    fn boards_are_one_each_in_their_order() {
        let fleet = "[[fleet]]\ncount = 2\nfidelity = \"native\"\n\
                     [[fleet]]\nboard = \"mps2-an386\"\ncount = 1\n\
                     [[fleet]]\nboard = \"mps2-an385\"\ncount = 4\n\
                     [[fleet]]\nboard = \"mps2-an386\"\ncount = 2\n";
        let sizes = check(&experiment("", fleet), &firmware(&SECTIONS));
        let found: Vec<(&str, &str, u32, usize)> = sizes
            .boards
            .iter()
            .map(|size| (&*size.board, size.fidelity, size.clients, size.samples))
            .collect();
        // 1438 = 9 × 159 + 7: the first seven clients hold one more.
        assert_eq!(
            found,
            [
                ("native", "native", 2, 160),
                ("mps2-an386", "emulated", 3, 160),
                ("mps2-an385", "emulated", 4, 160),
            ]
        );
        let [native, an386, an385] = &sizes.boards[..] else {
            panic!("{sizes:?}")
        };
        assert_eq!((&native.ram, &native.flash), (&None, &None));
        assert_eq!(native.arena.needed_bytes, an386.arena.needed_bytes);
        assert!(native.is_complete() && an386.is_complete());
        // There is no image of it.
        assert!(!an385.is_complete() && an385.fits);
        assert_eq!(an385.ram.as_ref().unwrap().needed_bytes, 24_576);
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let mut sections = SECTIONS;
        sections[0].2 = 4 << 20;
        sections[3].2 = 4 << 20;
        let sizes = check(&experiment("", THREE), &firmware(&sections));
        let excesses: Vec<Excess> = sizes.boards[0].excesses().collect();
        assert_eq!(
            excesses,
            [
                Excess {
                    memory: "RAM",
                    bytes: 24_576 + 30
                },
                Excess {
                    memory: "flash",
                    bytes: 230
                },
            ]
        );
        assert!(!sizes.fits);
        let wide = experiment("", THREE).to_toml().replace("[16]", "[60000]");
        let wide = Experiment::parse(&wide, "t.toml", &[], &["mps2-an386"]).unwrap();
        let sizes = check(&wide, &firmware(&SECTIONS));
        let board = &sizes.boards[0];
        let excesses: Vec<Excess> = board.excesses().collect();
        let bytes = u64::try_from(board.arena.needed_bytes - ((16 << 20) - 128)).unwrap();
        let memory = "arena";
        assert_eq!(excesses, [Excess { memory, bytes }]);
    }
}
