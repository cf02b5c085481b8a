//! One client-round on one device: what a platform takes for an experiment.
//!
//! The device is the experiment's first client alone: the same samples, as many as
//! client 0 holds, the same order, the same initial weights, one round. So every
//! platform that computes alike ends with the same model, and what differs is what
//! it costs.

use std::path::PathBuf;

use serde::Deserialize;
use tokio::sync::mpsc;
use zfl_data::{Scheme, SearchPath};
use zfl_machine::LauncherProgram;
use zfl_nn::Task;

use crate::data::saturate;
use crate::experiment::{Coordinator, Experiment, Fidelity, FleetGroup, Network};
use crate::firmware::FirmwareSource;
use crate::run::{self, Context, FleetContext, RunError};
use crate::size::SampleSize;
use crate::task;

/// What probes have in common.
#[derive(Clone)]
pub struct ProbeContext {
    /// Where data sets are looked for.
    pub search_path: SearchPath,
    /// Where firmware images come from.
    pub firmware: FirmwareSource,
    /// How this program starts machines.
    pub launcher: LauncherProgram,
}

/// What a device did and took in its round, as `clients.csv` has it.
#[derive(Clone, Debug, Deserialize)]
pub struct Probed {
    /// `ok`, or what went wrong.
    pub outcome: String,
    /// Why.
    pub detail: String,
    /// Samples of its share.
    pub samples: u32,
    /// Instructions in training, exactly.
    pub instructions_training: Option<u64>,
    /// Instructions beside it: network and system.
    pub instructions_other: Option<u64>,
    /// Device time on the microcontroller, by its profile.
    pub device_seconds: Option<f64>,
    /// Energy on it.
    pub energy_mj: Option<f64>,
    /// Body of the start message, in bytes.
    pub bytes_down: u64,
    /// Body of the update, in bytes.
    pub bytes_up: u64,
    /// High-water mark of the stack.
    pub stack_peak_bytes: u32,
    /// High-water mark of the arena.
    pub arena_peak_bytes: u32,
    /// Of the firmware's image.
    pub flash_bytes: Option<u64>,
    /// SHA-256 of the model after the round.
    #[serde(skip)]
    pub model_sha256: String,
}

/// Why there is no result of a probe.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It could not be run, or the device failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Its records cannot be read.
    #[error("failed to read {}: {source}", path.display())]
    Records {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: csv::Error,
    },
    /// Its records have no row.
    #[error("{} has no row", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
}

/// The experiment for client 0 alone on a device of `group`, one round.
fn alone(experiment: &Experiment, samples: u32, group: FleetGroup) -> Experiment {
    Experiment {
        rounds: 1,
        network: Network::Switch,
        partition: Scheme::IidSubset {
            samples_per_client: samples,
        },
        // The noise of the first of all clients.
        feature_noise_sigma: experiment.feature_noise_sigma
            / f64::from(experiment.fleet_size().max(1)),
        coordinator: Coordinator::default(),
        fleet: vec![FleetGroup {
            count: 1,
            fidelity: Fidelity::Emulated,
            ..group
        }],
        ..experiment.clone()
    }
}

/// What client 0 of an experiment trains.
pub(crate) struct First {
    /// Samples that it holds.
    pub(crate) samples: u32,
    /// What each consists of.
    pub(crate) sample: SampleSize,
    pub(crate) task: Task,
}

impl First {
    /// Loads and shares out the data.
    pub(crate) fn of(experiment: &Experiment, search: &SearchPath) -> Result<Self, RunError> {
        let data = run::load(experiment, search)?;
        let clients = experiment.fleet_size().max(1);
        let partition = run::partition(experiment, &data.train, clients)?;
        Ok(Self {
            samples: saturate(partition.client(0).unwrap_or_default().len()),
            sample: SampleSize::of(&data.train),
            task: task::task(experiment, &data.train)?,
        })
    }
}

/// Lets one device of `group` do a client-round; `folder` becomes a run's folder.
///
/// # Errors
/// When it cannot be run, does not fit, or fails.
pub async fn probe(
    experiment: Experiment,
    samples: u32,
    group: FleetGroup,
    folder: PathBuf,
    context: ProbeContext,
    interrupted: impl Future<Output = ()>,
) -> Result<Probed, ProbeError> {
    let experiment = alone(&experiment, samples, group);
    let context = Context {
        is_resumed: false,
        folder: folder.clone(),
        search_path: context.search_path,
        clients: None,
        listen: None,
        fleet: Some(FleetContext {
            firmware: context.firmware,
            launcher: context.launcher,
            capture: None,
            debugged: None,
        }),
        threads: 1,
        trial: None,
    };
    // What there is to show is in the records.
    let (progress, _) = mpsc::unbounded_channel();
    let summary = run::run(&experiment, context, progress, interrupted).await?;
    let path = folder.join("clients.csv");
    let row = csv::Reader::from_path(&path).and_then(|reader| {
        let row = reader.into_deserialize::<Probed>().next();
        row.transpose()
    });
    match row {
        Err(source) => Err(ProbeError::Records { path, source }),
        Ok(None) => Err(ProbeError::Empty { path }),
        Ok(Some(probed)) => Ok(Probed {
            model_sha256: summary.model_sha256,
            ..probed
        }),
    }
}

/// A device of a microcontroller, or of its board with all the board's memory.
pub(crate) fn group(board: &str, mcu: Option<&str>) -> FleetGroup {
    FleetGroup {
        board: board.to_owned(),
        mcu: mcu.map(str::to_owned),
        fidelity: Fidelity::Emulated,
        count: 1,
        ram_bytes: None,
        on_misfit: crate::experiment::OnMisfit::Fail,
        samples_max: None,
        link: zfl_machine::link::DEFAULT_NAME.to_owned(),
        faults: None,
    }
}
