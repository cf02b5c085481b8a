//! How a run ended: `summary.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zfl_machine::FleetProgress;
use zfl_server::{Fit, Quality};

/// The end of a run, `summary.json`. All times are host time unless a name
/// says otherwise.
// Of another version of zfl some fields may be missing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// The experiment's name.
    pub name: String,
    /// `completed`, or why not.
    pub outcome: String,
    /// The run's folder.
    pub folder: PathBuf,
    /// zfl's version.
    pub version: String,
    /// The run's seed.
    pub seed: u64,
    /// Rounds that were completed.
    pub rounds: u32,
    /// Rounds without a quorum.
    pub rounds_failed: u32,
    /// After which rounds the run was resumed, in order.
    pub resumed_after: Vec<u32>,
    /// Clients of the run.
    pub clients: u32,
    /// Devices whose memory is too small: they take no part.
    pub misfits: Vec<Misfit>,
    /// Updates in the means of all rounds.
    pub updates_ok: u64,
    /// Updates that were needed and are in none.
    pub updates_failed: u64,
    /// Faults on purpose that took effect.
    pub faults_injected: u64,
    /// Those of them that the outcome of their part does not fit: a fault of
    /// zfl.
    pub faults_unaccounted: u64,
    /// Updates that came after their round and are in the mean of a later one.
    pub updates_late: u64,
    /// Requests and connections that the coordinator refused, by kind.
    pub refused: BTreeMap<String, u64>,
    /// Accuracy on the test set before training; `None` where values are learnt.
    pub initial_accuracy: Option<f64>,
    /// Accuracy on the test set after the last round; `None` where values are
    /// learnt.
    pub accuracy: Option<f64>,
    /// Where values are learnt: the root of the mean squared error on the test
    /// set before training, in their unit.
    pub initial_rmse: Option<f64>,
    /// The same after the last round.
    pub rmse: Option<f64>,
    /// And the coefficient of determination there: 1 is perfect, 0 no better
    /// than the mean.
    pub r_squared: Option<f64>,
    /// Mean loss on the test set after the last round: cross-entropy in nats, or
    /// half the squared error.
    #[serde(deserialize_with = "finite_or_nan")]
    pub loss: f64,
    /// The round that reached `coordinator.target-accuracy`, if one did.
    pub target_accuracy_round: Option<u32>,
    /// SHA-256 of the last global model.
    pub model_sha256: String,
    /// Weights and biases of the model.
    pub parameters: u32,
    /// Bytes of one update's body.
    pub update_bytes: u64,
    /// Bytes of all start messages' bodies.
    pub bytes_down: u64,
    /// Bytes of all updates' bodies.
    pub bytes_up: u64,
    /// From the start of the run to its end, without the time between a cut
    /// and its resumption.
    pub host_seconds: f64,
    /// From the start of the run until every client had its data.
    pub ready_host_seconds: Option<f64>,
    /// From the first start message to the last evaluation, all rounds.
    pub rounds_host_seconds: f64,
    /// What has become of the devices; `None` without a fleet.
    pub devices: Option<DeviceCounts>,
    /// Devices that crashed, hung or ended otherwise: the first hundred.
    pub failures: Vec<DeviceFailure>,
    /// What the emulators used; `None` without a fleet.
    pub emulators: Option<EmulatorUsage>,
}

impl Summary {
    /// How well the last global model does.
    pub(super) fn quality(&self) -> Quality {
        Quality {
            accuracy: self.accuracy,
            fit: self.rmse.map(|rmse| Fit {
                rmse,
                r_squared: self.r_squared,
            }),
            loss: self.loss,
        }
    }

    pub(super) fn set_quality(&mut self, quality: &Quality) {
        self.accuracy = quality.accuracy;
        self.rmse = quality.fit.map(|fit| fit.rmse);
        self.r_squared = quality.fit.and_then(|fit| fit.r_squared);
        self.loss = quality.loss;
    }
}

/// JSON has no number for a loss that is none.
fn finite_or_nan<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// What has become of the devices of a fleet when its run ended, before they
/// were stopped. Each device is counted once, besides in `fleet`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceCounts {
    /// All emulated devices of the experiment: the sum of those below.
    pub fleet: usize,
    /// Too little memory: they were not started.
    pub misfit: usize,
    /// Waited for their turn to start.
    pub waiting: usize,
    /// Started, and were not at their prompt yet.
    pub booting: usize,
    /// Booted, and had no data yet.
    pub booted: usize,
    /// Had their data, and took part or could have.
    pub ready: usize,
    /// Their firmware had panicked or faulted, or their processor locked up.
    pub crashed: usize,
    /// Had missed a deadline.
    pub hung: usize,
    /// Their emulator had ended.
    pub exited: usize,
}

impl DeviceCounts {
    pub(super) fn new(progress: &FleetProgress, misfit: usize) -> Self {
        Self {
            fleet: progress.count() + misfit,
            misfit,
            waiting: progress.waiting,
            booting: progress.booting,
            booted: progress.prompt + progress.running,
            ready: progress.ready,
            crashed: progress.crashed,
            hung: progress.hung,
            exited: progress.exited,
        }
    }
}

/// A device that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceFailure {
    /// Its client.
    pub client: u32,
    /// What happened and where, and the name of its crash file.
    pub reason: String,
}

/// A device that takes no part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misfit {
    /// Its client.
    pub client: u32,
    /// What is too small, and by how much.
    pub reason: String,
}

/// What the emulators of a fleet used, in host time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EmulatorUsage {
    /// Processor time of all, from boot to stop.
    pub cpu_seconds: f64,
    /// Processor time of all in the rounds, i.e. without boot and provisioning.
    pub cpu_seconds_rounds: f64,
    /// The latter for each update that is in a mean.
    pub cpu_seconds_per_update: f64,
    /// Mean over the devices of the most proportional set size of each.
    pub pss_bytes_mean: u64,
    /// The largest of them.
    pub pss_bytes_max: u64,
    /// The sum of them.
    pub pss_bytes_sum: u64,
}
