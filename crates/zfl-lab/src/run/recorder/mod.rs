//! Writes what happens in a run, and shows it.
//!
//! - `events` takes in what the coordinator tells, `fleet` what becomes of devices.
//! - `rows` writes the rounds, `faults` holds them against what went wrong on purpose.

mod events;
mod faults;
mod fleet;
mod rows;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::json;
use tokio::sync::{broadcast, mpsc};
use zfl_machine::console::DeviceEvent;
use zfl_machine::link;
use zfl_machine::mcu::Cycles;
use zfl_machine::usage::Usage;
use zfl_server::{Carry, Coordinator};

use self::fleet::Started;
use super::prepare::Participants;
use super::traffic::Readings;
use super::{EmulatorUsage, Misfit, Progress, RunError, Summary};
use crate::data::saturate;
use crate::experiment::{Experiment, Fidelity, FleetGroup};
use crate::faults::book::FaultBook;
use crate::faults::{Injected, Injector};
use crate::host::FleetHost;
use crate::kind::{Part, cycles_of};
use crate::records::{COMPLETED, RecordError, RunFolder};
use crate::state::State;
use crate::traffic::{Reports, Seen};

/// Writes what happens and shows it.
pub(super) struct Recorder {
    pub(super) folder: RunFolder,
    progress: mpsc::UnboundedSender<Progress>,
    model: zfl_nn::Model,
    host: Option<FleetHost>,
    /// Is told of devices that were late and turn out to hang.
    hangs: mpsc::UnboundedSender<(u32, String)>,
    summary: Summary,
    /// Clients that are not played in this process.
    remote: u32,
    rounds: u32,
    /// The run pauses after this round.
    rounds_until: u32,
    target_accuracy: Option<f64>,
    /// Whether what is learnt is a class.
    has_classes: bool,
    pub(super) round: u32,
    provisioned: u32,
    /// What the clients of each entry of the fleet cost.
    parts: Vec<Part>,
    /// Whose instructions are counted.
    cycles: Cycles,
    epochs: u32,
    /// When each device said that it runs, and that it has its data.
    started: BTreeMap<u32, Started>,
    /// What was seen of each client's device when the round began.
    seen: BTreeMap<u32, Seen>,
    /// And when each round since was over.
    readings: Readings,
    /// Faults of rounds whose beginning has not been heard of yet.
    faults_ahead: Vec<(Injected, bool)>,
    /// What clients' devices told last.
    reports: BTreeMap<u32, Reports>,
    /// Processor time of all emulators when the round began.
    cpu_seconds: f64,
    cpu_seconds_rounds: f64,
    /// What emulators used before the run was resumed.
    used_before: EmulatorUsage,
    /// What goes wrong on purpose.
    pub(super) injector: Injector,
    /// What of it took effect.
    faults: FaultBook,
    /// What the devices say.
    pub(super) device_events: broadcast::Receiver<DeviceEvent>,
    /// What was refused before the run was resumed.
    refused_before: BTreeMap<String, u64>,
    pub(super) coordinator: Coordinator,
}

impl Recorder {
    pub(super) fn new(
        experiment: &Experiment,
        participants: Participants,
        coordinator: &Coordinator,
        (folder, state): (RunFolder, Option<State>),
        progress: mpsc::UnboundedSender<Progress>,
        device_events: broadcast::Receiver<DeviceEvent>,
        hangs: mpsc::UnboundedSender<(u32, String)>,
    ) -> Self {
        let Participants {
            clients,
            remote,
            parts,
            injector,
            faults,
        } = participants;
        let model = *coordinator.model();
        let parameters = saturate(model.parameter_count());
        let round = state.as_ref().map_or(0, |state| state.round);
        let summary = state.map(|state| state.summary).unwrap_or_default();
        let refused_before = summary.refused.clone();
        let used_before = summary.emulators.clone().unwrap_or_default();
        Self {
            injector,
            faults,
            device_events,
            summary: Summary {
                name: experiment.name.clone(),
                folder: folder.path().to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                seed: experiment.seed,
                clients,
                parameters,
                ..summary
            },
            folder,
            progress,
            model,
            host: None,
            hangs,
            remote,
            rounds: experiment.rounds,
            rounds_until: experiment.rounds,
            target_accuracy: experiment.coordinator.target_accuracy,
            has_classes: !experiment.data.has_target_values(),
            round,
            provisioned: 0,
            parts,
            epochs: experiment.training.epochs,
            cycles: cycles_of(experiment),
            started: BTreeMap::new(),
            seen: BTreeMap::new(),
            readings: Readings::default(),
            faults_ahead: Vec::new(),
            reports: BTreeMap::new(),
            cpu_seconds: 0.0,
            cpu_seconds_rounds: used_before.cpu_seconds_rounds,
            used_before,
            refused_before,
            coordinator: coordinator.clone(),
        }
    }

    /// The run pauses after this round.
    pub(super) fn pause_after(&mut self, round: u32) {
        self.rounds_until = round;
        self.folder.keep_last_checkpoints_only();
    }

    /// What is read when a round is over.
    pub(super) fn readings(&self) -> Readings {
        self.readings.clone()
    }

    fn is_resumed(&self) -> bool {
        !self.summary.resumed_after.is_empty()
    }

    /// The run goes on.
    pub(super) fn resumed(&mut self) -> Result<(), RecordError> {
        let (round, quality) = (self.round, self.summary.quality());
        self.summary.resumed_after.push(round);
        self.folder
            .event("resumed", &json!({ "after_round": round }))?;
        self.show(Progress::Resumed { round, quality });
        Ok(())
    }

    /// Writes down what it takes to go on after the round.
    fn keep(&mut self, carry: Carry) -> Result<(), RecordError> {
        self.count_refusals();
        let state = State::new(self.round, self.summary.clone(), carry);
        let is_last = self.is_over() || self.round >= self.rounds_until;
        self.folder.keep(state, is_last)
    }

    /// All that was refused since the run began.
    fn count_refusals(&mut self) {
        let mut refused = self.refused_before.clone();
        for (kind, count) in self.coordinator.refusals() {
            *refused.entry(kind.to_owned()).or_default() += count;
        }
        self.summary.refused = refused;
    }

    /// No round follows.
    pub(super) fn is_over(&self) -> bool {
        self.round >= self.rounds || self.summary.target_accuracy_round.is_some()
    }

    pub(super) fn show(&self, progress: Progress) {
        // A display that is gone misses nothing that is not recorded.
        let _ = self.progress.send(progress);
    }

    /// The run begins, and nobody can join it.
    pub(super) fn began(&mut self) {
        self.all_ready();
        let folder = self.folder.path().to_owned();
        self.show(Progress::Began { folder });
    }

    /// All clients have their data, for the first time.
    fn all_ready(&mut self) {
        let now = self.folder.host_seconds();
        self.summary.ready_host_seconds.get_or_insert(now);
    }

    /// The run can be joined. `with_secrets`: others bring the clients, and
    /// need to know their tokens.
    pub(super) fn listening(
        &mut self,
        address: SocketAddr,
        with_secrets: bool,
    ) -> Result<(), RecordError> {
        if with_secrets && !self.is_resumed() {
            let tokens = self.coordinator.tokens();
            self.folder.tokens(self.coordinator.fleet_key(), &tokens)?;
        }
        self.folder
            .event("listening", &json!({ "address": address.to_string() }))?;
        self.show(Progress::Listening {
            address,
            fleet_key: self.coordinator.fleet_key(),
            folder: self.folder.path().to_owned(),
        });
        Ok(())
    }

    /// Clients whose devices have too little memory.
    pub(super) fn leave_out(&mut self, misfits: Vec<Misfit>) {
        for misfit in &misfits {
            self.coordinator.client_lost(misfit.client, &misfit.reason);
            self.warn(misfit.client, misfit.reason.clone());
        }
        self.summary.misfits = misfits;
    }

    /// Says what of an experiment means nothing to its native clients.
    pub(super) fn warn_of_native(&self, experiment: &Experiment) {
        let is_native = |group: &FleetGroup| group.fidelity == Fidelity::Native;
        for (group, part) in experiment.fleet.iter().zip(&self.parts) {
            if let Some(mcu) = &part.mcu
                && is_native(group)
                && part.learnt.is_none()
            {
                self.show(Progress::Warning(format!(
                    "native clients of {} have no device time: `zfl calibrate FILE --emulate` \
                     counts their instructions on an emulated device",
                    mcu.name
                )));
            }
        }
        for group in &experiment.fleet {
            if is_native(group) && group.link != link::DEFAULT_NAME {
                self.show(Progress::Warning(format!(
                    "link {} changes nothing for {} native clients: they send no frames",
                    group.link, group.count
                )));
            }
        }
    }

    fn warn(&self, client: u32, reason: String) {
        self.show(Progress::Warning(format!("client {client}: {reason}")));
    }

    pub(super) fn interrupted(&self) -> RunError {
        RunError::Interrupted {
            round: self.round,
            rounds: self.rounds,
            folder: self.folder.path().to_owned(),
        }
    }

    /// Stops the fleet and writes the summary.
    pub(super) async fn finish(
        mut self,
        ended: &Result<(), RunError>,
    ) -> Result<Summary, RunError> {
        if let Some(host) = self.host.take() {
            let stopped = host.stop().await?;
            if let Some(report) = stopped.capture {
                self.captured(&report)?;
            }
            let machines = stopped.machines.iter();
            let usage: Vec<Usage> = machines.map(|report| report.usage).collect();
            self.summary.emulators = Some(self.emulators(&usage));
        }
        // Of a round that no event followed.
        self.take_faults()?;
        self.count_refusals();
        self.summary.host_seconds = self.folder.host_seconds();
        self.summary.outcome = match ended {
            Ok(()) if !self.is_over() && self.rounds_until < self.rounds => {
                format!("paused after round {} of {}", self.round, self.rounds)
            }
            Ok(()) => COMPLETED.to_owned(),
            Err(error) => error.to_string(),
        };
        self.folder
            .event("ended", &json!({ "outcome": self.summary.outcome }))?;
        self.folder.summary(&self.summary)?;
        Ok(self.summary)
    }
}
