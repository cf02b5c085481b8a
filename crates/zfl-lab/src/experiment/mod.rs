//! The experiment file: what is run, with which data, on which devices.
//!
//! An experiment is TOML (docs/experiment-file.md is the reference). Its text,
//! with the `--set` of the command line laid over it, is read into a raw serde
//! type that knows where each value stands, and that is checked into an
//! [`Experiment`]. Only the second travels: whoever holds one need not ask
//! again whether its numbers are possible.
//!
//! Not known here: whether a data set exists, whether it has enough samples
//! for the fleet, whether a model fits a board. Those come out when the run is
//! set up.

pub(crate) mod error;
mod faults;
pub(crate) mod keys;
mod link;
mod model;
pub(crate) mod overrides;
mod raw;
#[cfg(test)]
mod tests;
mod training;
mod write;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::de::{DeTable, Deserializer};
use zfl_data::Scheme;
use zfl_data::table::arrays::Arrays;
use zfl_data::table::{Columns, Learns};
use zfl_machine::Mcu;

pub use error::ExperimentError;
pub use faults::{
    Availability, FAULT_FACTOR_MAX, FAULT_TIME_MAX, FaultKind, FaultModel, PoisonKind,
};
pub use link::{BurstLoss, Link, OUTAGES_MAX, Outage, OutageCycle};
pub use model::{
    Activation, CnnLayer, HIDDEN_LAYERS_MAX, Initialisation, KERNEL_MAX, LAYERS_MAX, Model,
    ModelKind, POOL_MAX, WIDTH_MAX,
};
pub use training::{Arithmetic, Loss, Rounding, Schedule, Training, WeightBits};

use error::{Fault, Sources};

/// Longest experiment file, in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most devices of a fleet that are emulated.
pub const EMULATED_DEVICES_MAX: u32 = 10_000;
/// Most clients, emulated, native and from elsewhere together.
pub const CLIENTS_MAX: u32 = 1_000_000;
/// Most rounds.
pub const ROUNDS_MAX: u32 = 1_000_000;
/// Most epochs of a round.
pub const EPOCHS_MAX: u32 = 10_000;
/// Most samples of a batch: no client holds more.
pub const BATCH_SIZE_MAX: u32 = 65_535;
/// Most samples of a client.
pub const SHARE_SAMPLES_MAX: u32 = 65_535;
/// Most noise on inputs.
pub const FEATURE_NOISE_MAX: f64 = 10.0;
/// Most rounds after which a late update is used: the coordinator keeps the
/// models of so many.
pub const STALENESS_ROUNDS_MAX: u32 = 100;
/// The part of a data set that is kept for testing where nothing is said.
const TEST_SHARE_DEFAULT: f64 = 0.2;
/// Longest name of an experiment, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest deadline.
pub const DEADLINE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Shortest deadline.
pub const DEADLINE_MIN: Duration = Duration::from_millis(1);

/// A checked experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// What the run is called: `[a-z0-9-]`, 1 to [`NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// Every random choice comes from it. Below 2⁶³, as TOML's integers are.
    pub seed: u64,
    /// How many rounds; at least 1.
    pub rounds: u32,
    /// How many devices have their part in a round at a time, at most
    /// [`CLIENTS_MAX`]; 0 is one for each processor where the run emulates
    /// them, and all otherwise.
    pub parallel: u32,
    /// How frames get from device to coordinator.
    pub network: Network,
    /// What is learned.
    pub data: Data,
    /// Which client holds which sample. Samples and shards of a client are at most
    /// [`SHARE_SAMPLES_MAX`].
    pub partition: Scheme,
    /// Standard deviation of the noise on the inputs of the last client, in
    /// ranges of their values, 0 to [`FEATURE_NOISE_MAX`]; the others have less
    /// ([`zfl_data::noise`]).
    pub feature_noise_sigma: f64,
    /// What is trained.
    pub model: Model,
    /// How a client trains.
    pub training: Training,
    /// How the coordinator aggregates.
    pub strategy: Strategy,
    /// Who takes part in a round.
    pub coordinator: Coordinator,
    /// How long anything may take.
    pub deadlines: Deadlines,
    /// What the devices' clocks follow.
    pub time: Time,
    /// The experiment's own links, by name.
    pub links: BTreeMap<String, Link>,
    /// What goes wrong on purpose, by name; entries of the fleet choose.
    pub faults: BTreeMap<String, FaultModel>,
    /// The devices, in the order of the file; together at most
    /// [`CLIENTS_MAX`], and [`EMULATED_DEVICES_MAX`] emulated. Empty where clients come from elsewhere.
    pub fleet: Vec<FleetGroup>,
}

/// How frames get from device to coordinator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// The Ethernet switch in zfl; needs no rights.
    #[default]
    Switch,
    /// A Linux bridge with taps in a network namespace.
    Bridge,
}

impl Network {
    const ALL: &'static [Self] = &[Self::Switch, Self::Bridge];

    /// As the file spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Switch => "switch",
            Self::Bridge => "bridge",
        }
    }
}

/// What is learned.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// The embedded 8×8 digits.
    Digits {
        /// The part kept for testing, between 0 and 1, both excluded.
        test_share: f64,
    },
    /// MNIST, from a folder.
    Mnist {
        /// Where; else the search path of data sets.
        folder: Option<PathBuf>,
    },
    /// Any set in IDX files.
    Idx(IdxData),
    /// A table as text.
    Csv(TableData),
    /// A table in Apache Parquet.
    Parquet(TableData),
    /// Arrays of NumPy.
    Npz(NpzData),
}

impl Data {
    /// Whether a value is learnt (regression), and not a class.
    pub fn has_target_values(&self) -> bool {
        match self {
            Self::Csv(table) | Self::Parquet(table) => table.columns.learns == Learns::Values,
            Self::Npz(npz) => npz.arrays.learns == Learns::Values,
            Self::Digits { .. } | Self::Mnist { .. } | Self::Idx(_) => false,
        }
    }
}

/// A data set in a table: a sample a row.
#[derive(Clone, Debug, PartialEq)]
pub struct TableData {
    /// Rows to train on, and to test on where there is no other file.
    pub file: PathBuf,
    /// Where rows to test on come from.
    pub test: TestRows,
    /// Which column is what.
    pub columns: Columns,
}

/// Where rows to test on come from.
#[derive(Clone, Debug, PartialEq)]
pub enum TestRows {
    /// A part of all, between 0 and 1, both excluded.
    Share(f64),
    /// A file of their own.
    File(PathBuf),
}

/// A data set in the arrays of an archive.
#[derive(Clone, Debug, PartialEq)]
pub struct NpzData {
    /// The archive.
    pub file: PathBuf,
    /// Which array is what.
    pub arrays: Arrays,
    /// The part kept for testing where no arrays are for that, between 0 and
    /// 1, both excluded.
    pub test_share: f64,
}

/// A data set in four IDX files, plain or gzip.
#[derive(Clone, Debug, PartialEq)]
pub struct IdxData {
    /// Samples to train on.
    pub train_images: PathBuf,
    /// Their labels.
    pub train_labels: PathBuf,
    /// Samples to test on.
    pub test_images: PathBuf,
    /// Their labels.
    pub test_labels: PathBuf,
    /// What one unit of a sample's byte means; finite, above 0.
    pub value_scale: f32,
    /// How many classes, 2 to 256; else one more than the largest label.
    pub classes: Option<u16>,
}

/// How the coordinator aggregates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The mean of the clients' models weighted by their sample counts
    /// (McMahan et al., *Communication-Efficient Learning of Deep Networks from
    /// Decentralized Data*, AISTATS 2017, algorithm 1).
    FedAvg,
}

impl Strategy {
    /// As the file spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FedAvg => "fed-avg",
        }
    }
}

/// Who takes part in a round, and where the coordinator listens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coordinator {
    /// Clients of a round. Always there where the experiment has a fleet, and
    /// then at most its size.
    pub clients_per_round: Option<u32>,
    /// Clients that a round selects beyond those, as a part of them; 0 to 10.
    pub over_selection: f64,
    /// How many of them must have answered when the deadline passes. Always
    /// there where the experiment has a fleet; at most `clients_per_round`.
    pub quorum: Option<u32>,
    /// What follows a round without a quorum.
    pub on_failed_round: OnFailedRound,
    /// Rounds for which a client that failed is left out.
    pub rest_rounds: u32,
    /// At most so many, when it fails again; at least `rest_rounds`.
    pub rest_rounds_max: u32,
    /// What becomes of late updates.
    pub late_updates: LateUpdates,
    /// The accuracy on the test set, above 0 and at most 1, that ends the run.
    pub target_accuracy: Option<f64>,
    /// Loopback port; 0 is any free one.
    pub port: u16,
}

/// What follows a round without a quorum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailedRound {
    /// The run ends.
    #[default]
    End,
    /// The run goes on with the model that it has.
    Continue {
        /// Unless so many rounds in a row have failed before; at least 1.
        failed_rounds_max: u32,
    },
}

impl OnFailedRound {
    /// As the file spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Continue { .. } => "continue",
        }
    }
}

/// What becomes of late updates.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum LateUpdates {
    /// They are refused.
    #[default]
    Drop,
    /// They are used in the mean of a later round.
    Use {
        /// Up to so many rounds later, 1 to [`STALENESS_ROUNDS_MAX`].
        rounds_max: u32,
        /// With the weight (1 + rounds)^−exponent; 0 to 100.
        exponent: f64,
    },
}

/// How many clients a round has and needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Participation {
    /// Clients of a round; at least 1, at most all.
    pub clients_per_round: u32,
    /// Answers a round needs; at least 1, at most `clients_per_round`.
    pub quorum: u32,
}

/// An experiment asks for more clients than there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParticipationError {
    /// Nobody to train.
    #[error("no clients: give their number, at least 1")]
    NoClients,
    /// A key that is too large for this many clients.
    #[error("{key} is {value}, but a round has {available} clients at most: 1 to {available}")]
    TooMany {
        /// The key of the file.
        key: &'static str,
        /// What it says.
        value: u32,
        /// The largest possible value.
        available: u32,
    },
}

impl Default for Coordinator {
    fn default() -> Self {
        Self {
            clients_per_round: None,
            over_selection: 0.0,
            quorum: None,
            on_failed_round: OnFailedRound::End,
            rest_rounds: 0,
            rest_rounds_max: 0,
            late_updates: LateUpdates::Drop,
            target_accuracy: None,
            port: 0,
        }
    }
}

impl Coordinator {
    /// Takes the defaults from the number of clients there are: all of them in
    /// each round, and all of a round needed.
    ///
    /// # Errors
    /// If there are none, or fewer than the experiment asks for.
    pub fn participation(&self, client_count: u32) -> Result<Participation, ParticipationError> {
        if client_count == 0 {
            return Err(ParticipationError::NoClients);
        }
        let at_most = |key, value: Option<u32>, available| match value {
            Some(value) if value > available => Err(ParticipationError::TooMany {
                key,
                value,
                available,
            }),
            Some(value) => Ok(value.max(1)),
            None => Ok(available),
        };
        let clients_per_round = at_most(
            keys::CLIENTS_PER_ROUND,
            self.clients_per_round,
            client_count,
        )?;
        Ok(Participation {
            clients_per_round,
            quorum: at_most(keys::QUORUM, self.quorum, clients_per_round)?,
        })
    }

    /// The same where only `fitting` of the clients can take part: a round
    /// selects no more, and a quorum of all is one of all that it selects.
    #[must_use]
    pub fn among(participation: Participation, fitting: u32) -> Participation {
        let clients_per_round = participation.clients_per_round.min(fitting);
        let is_all = participation.quorum == participation.clients_per_round;
        Participation {
            clients_per_round,
            quorum: match is_all {
                true => clients_per_round.max(1),
                false => participation.quorum,
            },
        }
    }
}

/// How long anything may take; each from [`DEADLINE_MIN`] to [`DEADLINE_MAX`],
/// in host time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deadlines {
    /// From launch to the device's prompt.
    pub boot: Duration,
    /// From the prompt until the device has its data.
    pub ready: Duration,
    /// From the start of a client's part in a round until its answer is no
    /// longer waited for.
    pub round: Duration,
    /// A shorter one from what the parts of past rounds took.
    pub round_past: Option<PastDeadline>,
}

/// A deadline from past rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PastDeadline {
    /// Which quantile of the times, above 0, at most 1.
    pub quantile: f64,
    /// Times this, 1 to 1000.
    pub factor: f64,
}

/// What the clocks of emulated devices follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Whether instructions are counted.
    pub counting: Counting,
}

/// Whether instructions are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counting {
    /// They are, and the devices' clocks follow them.
    #[default]
    Instructions,
    /// They are not; the devices' clocks are the host's.
    Off,
}

impl Counting {
    const ALL: &'static [Self] = &[Self::Instructions, Self::Off];

    /// As the file spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Off => "off",
        }
    }
}

/// How much of a device there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fidelity {
    /// The firmware in an emulator, frames on a virtual Ethernet.
    #[default]
    Emulated,
    /// The same client compiled for the host, the same encoded messages, no
    /// machine.
    Native,
}

impl Fidelity {
    const ALL: &'static [Self] = &[Self::Emulated, Self::Native];

    /// As the file spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Emulated => "emulated",
            Self::Native => "native",
        }
    }
}

/// The board of a group that names none.
const BOARD_DEFAULT: &str = "mps2-an386";
/// What native clients have in place of a board.
pub const NATIVE_BOARD: &str = "native";

/// Devices of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetGroup {
    /// Name of a board of the catalogue, or path of a board file;
    /// [`NATIVE_BOARD`] for native clients, whatever the file says.
    pub board: String,
    /// The microcontroller that the devices stand for: a name of the catalogue,
    /// or the path of a profile.
    pub mcu: Option<String>,
    /// Emulated or native.
    pub fidelity: Fidelity,
    /// How many; at least 1.
    pub count: u32,
    /// RAM of an emulated device in all, where it is less than its board or
    /// microcontroller has.
    pub ram_bytes: Option<u32>,
    /// What happens where the model does not fit an emulated device.
    pub on_misfit: OnMisfit,
    /// Samples that a client holds at most, whatever its share.
    pub samples_max: Option<u32>,
    /// The link of each: one of [`Experiment::links`], or of the catalogue.
    /// Native clients have none, whatever it says.
    pub link: String,
    /// What goes wrong on purpose: a name of [`Experiment::faults`].
    pub faults: Option<String>,
}

/// What happens where a model does not fit an emulated device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMisfit {
    /// The device takes no part, and the records say why.
    #[default]
    Skip,
    /// The run ends before it begins.
    Fail,
}

impl OnMisfit {
    const ALL: &'static [Self] = &[Self::Skip, Self::Fail];

    /// As the file spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Fail => "fail",
        }
    }
}

impl Experiment {
    /// Reads and checks the experiment file at `path`, with each of `sets`
    /// (`KEY=VALUE`, the value of `--set`) laid over it in turn.
    ///
    /// Relative paths in the file count from its folder, those in `sets` from
    /// the working directory; they come out absolute. `known_boards` are the
    /// names of the catalogue.
    ///
    /// # Errors
    /// [`ExperimentError`] if it cannot be read, or says something wrong.
    pub fn from_file(
        path: &Path,
        sets: &[String],
        known_boards: &[&str],
    ) -> Result<Self, ExperimentError> {
        Self::parse_at(&read_text(path)?, path, sets, known_boards)
    }

    /// Checks the experiment in `text` as if it were the file at `path`.
    ///
    /// # Errors
    /// As those of [`Experiment::from_file`].
    pub(crate) fn parse_at(
        text: &str,
        path: &Path,
        sets: &[String],
        known_boards: &[&str],
    ) -> Result<Self, ExperimentError> {
        let name = path.display().to_string();
        let folders = absolute_folders(path).map_err(|error| no_folder(&name, &error))?;
        parse(text, &name, sets, known_boards, Some(&folders))
    }

    /// Checks the experiment in `text`, as [`Experiment::from_file`] does;
    /// errors call it `file_name`, and its stem is the default name. Relative
    /// paths stay as they are.
    ///
    /// # Errors
    /// [`ExperimentError`] if it says something wrong.
    pub fn parse(
        text: &str,
        file_name: &str,
        sets: &[String],
        known_boards: &[&str],
    ) -> Result<Self, ExperimentError> {
        parse(text, file_name, sets, known_boards, None)
    }

    /// The experiment as a file in which nothing is left to a default.
    ///
    /// Reading it gives an equal experiment.
    pub fn to_toml(&self) -> String {
        write::to_toml(self)
    }

    /// The name of the partition's table, and each key with its value:
    /// `dirichlet, alpha = 0.3`.
    pub fn partition_text(&self) -> String {
        let (name, keys) = write::partition_keys(self.partition);
        let keys = keys.iter().map(|(key, value)| format!(", {key} = {value}"));
        std::iter::once(name.to_owned()).chain(keys).collect()
    }

    /// How many devices the fleet has.
    pub fn fleet_size(&self) -> u32 {
        self.fleet.iter().map(|group| group.count).sum()
    }

    /// The board of each emulated device, in the order of their ids.
    pub fn device_boards(&self) -> impl Iterator<Item = &str> {
        self.fleet
            .iter()
            .filter(|group| group.fidelity == Fidelity::Emulated)
            .flat_map(|group| std::iter::repeat_n(group.board.as_str(), group.count as usize))
    }

    /// What lies between the devices of a group and the coordinator.
    pub fn link(&self, group: &FleetGroup) -> Option<Link> {
        link::find(&group.link, &self.links)
    }

    /// The most samples that a client may hold, where its entry says so.
    pub fn samples_max(&self, client: u32) -> Option<u32> {
        let mut end = 0;
        let group = self.fleet.iter().find(|group| {
            end += group.count;
            client < end
        });
        group?.samples_max
    }

    /// The numbers of the clients that are played natively: disjoint ranges
    /// in ascending order.
    pub fn native_clients(&self) -> Vec<Range<u32>> {
        let mut end = 0;
        let mut ranges = Vec::new();
        for group in &self.fleet {
            let start = end;
            end += group.count;
            if group.fidelity == Fidelity::Native {
                ranges.push(start..end);
            }
        }
        ranges
    }

    /// Plays all clients of the fleet with this fidelity, whatever the file
    /// says. Native ones become devices of their microcontroller's board, or of
    /// the default one, where devices are asked for.
    pub fn set_fidelity(&mut self, fidelity: Fidelity) {
        for group in &mut self.fleet {
            if group.fidelity != fidelity {
                group.fidelity = fidelity;
                // It was found when the experiment was read.
                let mcu = group.mcu.as_deref().and_then(|mcu| Mcu::find(mcu).ok());
                group.board = match (fidelity, mcu) {
                    (Fidelity::Native, _) => NATIVE_BOARD.to_owned(),
                    (Fidelity::Emulated, Some(mcu)) => mcu.board,
                    (Fidelity::Emulated, None) => BOARD_DEFAULT.to_owned(),
                };
            }
        }
    }
}

/// What relative paths count from.
struct Folders {
    file: PathBuf,
    working: PathBuf,
}

fn absolute_folders(path: &Path) -> std::io::Result<Folders> {
    let working = std::env::current_dir()?;
    Ok(Folders {
        file: working.join(path.parent().unwrap_or(Path::new(""))),
        working,
    })
}

fn parse(
    text: &str,
    file_name: &str,
    sets: &[String],
    known_boards: &[&str],
    folders: Option<&Folders>,
) -> Result<Experiment, ExperimentError> {
    let sources = Sources::new(file_name, text, sets);
    if text.len() as u64 > FILE_BYTES_MAX {
        let (message, help) = too_long(text.len() as u64);
        return Err(ExperimentError::without_text(
            file_name,
            message,
            Some(help),
        ));
    }
    let checked = || -> Result<Experiment, Fault> {
        let mut tree = DeTable::parse(text).map_err(Fault::syntax)?;
        for (index, set) in sets.iter().enumerate() {
            overrides::apply(tree.get_mut(), set, sources.set_offset(index))?;
        }
        keys::check_known(tree.get_ref())?;
        let raw = raw::RawExperiment::deserialize(Deserializer::from(tree.clone()))
            .map_err(|error| Fault::shape(&error, tree.get_ref()))?;
        raw.check(&raw::Context {
            sources: &sources,
            known_boards,
            folders,
        })
    };
    checked().map_err(|fault| sources.error(fault))
}

fn no_folder(name: &str, error: &std::io::Error) -> ExperimentError {
    ExperimentError::without_text(
        name,
        format!("failed to find the working directory: {error}"),
        Some("change to a folder that exists".into()),
    )
}

/// The text of an experiment file, or of another of its kind.
///
/// # Errors
/// When it cannot be read, is too long, or no text.
pub(crate) fn read_text(path: &Path) -> Result<String, ExperimentError> {
    let name = path.display().to_string();
    let bytes = read_bounded(path)
        .map_err(|(message, help)| ExperimentError::without_text(&name, message, Some(help)))?;
    String::from_utf8(bytes).map_err(|error| {
        let start = error.utf8_error().valid_up_to();
        // What is before `start` is unchanged, so the position holds.
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        let fault = Fault {
            span: start..start,
            message: "the file is not UTF-8 text".into(),
            help: Some("save it as UTF-8; TOML allows nothing else".into()),
        };
        Sources::new(&name, &text, &[]).error(fault)
    })
}

fn too_long(bytes: u64) -> (String, String) {
    (
        format!("the file is {bytes} bytes long"),
        format!("an experiment file has at most {FILE_BYTES_MAX} bytes; is it the right file?"),
    )
}

/// The whole file, unless it is too long or none. Message and help otherwise.
fn read_bounded(path: &Path) -> Result<Vec<u8>, (String, String)> {
    let failed = |error: std::io::Error| {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "give the path of an experiment file, such as examples/digits.toml"
            }
            _ => "check that it is a file and that you may read it",
        };
        (format!("failed to read it: {error}"), help.to_owned())
    };
    // Opening a pipe would wait for its writer.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err((
            "not a file".into(),
            "give the path of an experiment file, such as examples/digits.toml".into(),
        ));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(too_long(metadata.len()));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        // It has grown since it was asked for its length.
        return Err(too_long(bytes.len() as u64));
    }
    Ok(bytes)
}
