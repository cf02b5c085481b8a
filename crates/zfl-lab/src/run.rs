//! One execution of an experiment: wires data, coordinator, fleet and records.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use zfl_data::table::{self, TableFormat, TestPart};
use zfl_data::{Dataset, LoadError, LoadOptions, Partition, PartitionError, SearchPath};
use zfl_machine::console::{ConsoleEvent, DeviceEvent};
use zfl_machine::fleet::FleetError;
use zfl_machine::launch::find_program;
use zfl_machine::mcu::Cycles;
use zfl_machine::usage::Usage;
use zfl_machine::{Board, FleetProgress, LauncherProgram, Mcu};
use zfl_net::bridge::Bridge;
use zfl_net::switch::PortOptions;
use zfl_net::{AddressPlan, CaptureOptions, CaptureReport};
use zfl_nn::Task;
use zfl_proto::Token;
use zfl_server::{
    AdaptiveDeadline, Carry, ClientRecord, Coordinator, CoordinatorError, Deadlines, Event,
    LateRecord, LocalPart, Options, Outcome, Plan, Policy, Rest, Resume, RoundRecord, Secrets,
    Staleness, checkpoint,
};
pub use zfl_server::{Fit, Quality};

use crate::capture::{CaptureRequest, CaptureRequestError};
use crate::cpu::CpuTime;
use crate::data::{PartitionedShares, saturate, test_set};
use crate::experiment::{
    self, Data, Experiment, Fidelity, FleetGroup, OnMisfit, TableData, TestRows,
};
use crate::faults::book::{self, FaultBook};
use crate::faults::{FaultPlan, FaultsError, Injected, Injector, device};
use crate::firmware::FirmwareSource;
use crate::host::{self, FleetHost, FleetNetwork, FleetPlan, HostError, Meter};
use crate::kind::{Effort, Estimate, Kind, KindError, Part, cycles_of};
use crate::learnt::{self, Book, LearntError};
use crate::native::{KEPT_BYTES_MAX, NativeClients};
use crate::records::{COMPLETED, ClientRow, DeviceRow, RecordError, RoundRow, RunFolder};
use crate::size::{SampleSize, arena_size};
pub use crate::state::ResumeError;
use crate::state::State;
use crate::task::{self, TaskError};
use crate::traffic::{FleetRow, ReportRow, Reports, Seen, TrafficRow, Wire};

/// So many failures of devices are in the summary; all are among the events.
const FAILURES_MAX: usize = 100;

/// Events of devices that may wait to be recorded.
const DEVICE_EVENTS_MAX: usize = 8192;

/// What a run needs besides its experiment.
pub struct Context {
    /// The run's folder; it must not exist, or be empty, unless the run in it
    /// is resumed.
    pub folder: PathBuf,
    /// Goes on with the run in the folder, which is one of this experiment.
    pub is_resumed: bool,
    /// Where data sets are looked for.
    pub search_path: SearchPath,
    /// How many clients there are; `None`: as many as the experiment's fleet
    /// has devices.
    pub clients: Option<u32>,
    /// Where the coordinator listens; `None`: where the experiment says.
    pub listen: Option<SocketAddr>,
    /// The fleet that is started with the run; `None`: others bring devices.
    pub fleet: Option<FleetContext>,
    /// Threads that play native clients and evaluate the model. The results
    /// do not depend on their number.
    pub threads: usize,
    /// The run is a part of something larger, such as a trial of a sweep.
    pub trial: Option<TrialContext>,
}

/// What a run needs that is a trial.
pub struct TrialContext {
    /// The run pauses after this round, as if it had been interrupted then.
    pub rounds_until: u32,
    /// Its data, where they are already there.
    pub data: Option<zfl_data::TrainTest>,
    /// Is given the processor time of the threads that the run starts for native
    /// clients, when they end.
    pub cpu_time: CpuTime,
}

/// What a fleet needs.
pub struct FleetContext {
    /// Where firmware images come from.
    pub firmware: FirmwareSource,
    /// How this program starts machines.
    pub launcher: LauncherProgram,
    /// Whose frames are captured.
    pub capture: Option<CaptureRequest>,
    /// The device that is held for a debugger before its first instruction.
    pub debugged: Option<u32>,
}

/// What is going on, for a display.
#[derive(Clone, Debug)]
pub enum Progress {
    /// The coordinator listens.
    Listening {
        /// Where.
        address: SocketAddr,
        /// The secret of fleet hosts.
        fleet_key: Token,
        /// The run's folder.
        folder: PathBuf,
    },
    /// The run begins; nobody can join it.
    Began {
        /// The run's folder.
        folder: PathBuf,
    },
    /// Devices start.
    Fleet(FleetProgress),
    /// Clients have their data.
    Provisioned {
        /// How many.
        count: u32,
        /// Of how many.
        of: u32,
    },
    /// The run goes on after this round.
    Resumed {
        /// The last round that is over.
        round: u32,
        /// How well the model does on the test set after it.
        quality: Quality,
    },
    /// The model before training.
    Initial {
        /// How well it does on the test set.
        quality: Quality,
    },
    /// A round begins.
    RoundStarted {
        /// Which.
        round: u32,
        /// With how many clients.
        clients: usize,
    },
    /// A client's part in the round is decided.
    ClientFinished {
        /// Whether its update is in the mean.
        ok: bool,
    },
    /// A round is over.
    RoundCompleted {
        /// Its record.
        record: RoundRecord,
    },
    /// Something that whoever started the run wants to know.
    Notice(String),
    /// Something went wrong, and the run goes on.
    Warning(String),
}

/// Why a run ended without all its rounds.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The data cannot be had.
    #[error(transparent)]
    Data(#[from] LoadError),
    /// The data cannot be shared out.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// More clients are asked for than there are.
    #[error(transparent)]
    Participation(#[from] experiment::ParticipationError),
    /// There is no such model on these data.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The rounds cannot be played.
    #[error(transparent)]
    Coordinator(#[from] CoordinatorError),
    /// The fleet cannot be started.
    #[error(transparent)]
    Host(#[from] HostError),
    /// No threads for the native clients.
    #[error(
        "failed to start {threads} threads for native clients: {source}; ask for fewer with --threads"
    )]
    Threads {
        /// How many.
        threads: usize,
        /// Why not.
        source: std::io::Error,
    },
    /// A board or microcontroller is not known.
    #[error(transparent)]
    Kind(#[from] KindError),
    /// Nothing can be captured as it was asked for.
    #[error(transparent)]
    Capture(#[from] CaptureRequestError),
    /// What was learnt of instructions cannot be read.
    #[error(transparent)]
    Learnt(#[from] LearntError),
    /// What is to go wrong cannot.
    #[error(transparent)]
    Faults(#[from] FaultsError),
    /// A device that must take part has too little memory.
    #[error(
        "client {client} {reason}; `on-misfit = \"skip\"` in its [[fleet]] table leaves it out, \
         `zfl size` says what takes how much"
    )]
    Misfit {
        /// Which.
        client: u32,
        /// What is too small, and by how much.
        reason: String,
    },
    /// Too few devices have the memory that it takes.
    #[error(
        "{fitting} of {clients} clients have the memory, the quorum is {quorum}; client {first} \
         {reason}; `zfl size` says what takes how much"
    )]
    TooFewFit {
        /// Clients that can take part.
        fitting: u32,
        /// Clients of the fleet.
        clients: u32,
        /// Updates that are needed.
        quorum: u32,
        /// The first that cannot.
        first: u32,
        /// Why.
        reason: String,
    },
    /// The run in the folder cannot go on.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// The model that it would go on with cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::LoadError),
    /// The run's folder cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It was asked to end.
    #[error("interrupted in round {round} of {rounds}; what was recorded is in {}", folder.display())]
    Interrupted {
        /// The last round that began.
        round: u32,
        /// Of how many.
        rounds: u32,
        /// The run's folder.
        folder: PathBuf,
    },
    /// A task of the run ended before its time.
    #[error("the run was cut off: {0}")]
    CutOff(#[from] tokio::task::JoinError),
}

impl RunError {
    /// Whether the run in the folder can be resumed, as it began and what ended
    /// it may be over: an interruption, a full disk, a round without a quorum.
    pub const fn can_go_on(&self) -> bool {
        match self {
            Self::Interrupted { .. } => true,
            Self::Record(error) => !matches!(error, RecordError::NotEmpty { .. }),
            Self::Coordinator(error) => matches!(
                error,
                CoordinatorError::Quorum { .. }
                    | CoordinatorError::TooFewClients { .. }
                    | CoordinatorError::TooManyFailed { .. }
            ),
            _ => false,
        }
    }
}

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
    fn new(progress: &FleetProgress, misfit: usize) -> Self {
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

/// Runs an experiment to its end, or until `interrupted` is there.
///
/// # Errors
/// When it cannot be started, too few clients are left, or it is interrupted.
/// What was recorded until then is in the folder, `summary.json` included.
pub async fn run(
    experiment: &Experiment,
    context: Context,
    progress: mpsc::UnboundedSender<Progress>,
    interrupted: impl Future<Output = ()>,
) -> Result<Summary, RunError> {
    // Everything that can be wrong with the experiment is found before
    // anything is started.
    let groups = match &context.fleet {
        Some(fleet) => groups(experiment, &fleet.firmware)?,
        None => Vec::new(),
    };
    let mut resumed = match context.is_resumed {
        true => Some(Resumed::open(&context)?),
        false => {
            RunFolder::check_free(&context.folder)?;
            None
        }
    };
    let elsewhere = resumed.as_ref().and_then(Resumed::clients_elsewhere);
    let clients = context
        .clients
        .or(elsewhere.filter(|_| experiment.fleet.is_empty()));
    let client_count = clients.unwrap_or(experiment.fleet_size());
    // Clients from elsewhere go wrong by themselves.
    let faults = match clients {
        Some(_) => FaultPlan::default(),
        None => FaultPlan::new(experiment)?,
    };
    let (injector, injected) = Injector::new(faults);
    let native = match clients {
        Some(_) => Vec::new(),
        None => experiment.native_clients(),
    };
    let native_count = native.iter().map(|range| range.end - range.start).sum();
    let remote_count = client_count.saturating_sub(native_count);
    if let Some(tokens) = elsewhere.filter(|tokens| *tokens != remote_count) {
        return Err(ResumeError::Damaged {
            path: context.folder,
            reason: format!("tokens of {tokens} clients for {remote_count}"),
        }
        .into());
    }
    let Prepared {
        coordinator,
        mut events,
        misfits,
        parts,
        shares,
    } = prepare(
        experiment,
        client_count,
        native,
        &groups,
        &context,
        resumed.as_mut(),
        &injector,
    )?;
    let rounds_until = context.trial.as_ref().map(|trial| trial.rounds_until);
    let (devices, ports) = devices(groups, &misfits);
    if !devices.is_empty() {
        host::check_room(devices.len())?;
    }
    let capture = context.fleet.as_ref();
    let capture = capture.and_then(|fleet| fleet.capture.clone());
    if let Some(capture) = &capture {
        capture.check(devices.len())?;
        if experiment.network == experiment::Network::Bridge {
            return Err(CaptureRequestError::Bridge.into());
        }
    }
    let debugged = context.fleet.as_ref().and_then(|fleet| fleet.debugged);
    if let Some(device) = debugged {
        host::debugger_socket(device, devices.len(), &context.folder)?;
    }
    let loopback = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), experiment.coordinator.port);
    let mut address = context.listen.unwrap_or(loopback);
    let mut network = FleetNetwork::Switch;
    if experiment.network == experiment::Network::Bridge && !devices.is_empty() {
        // The coordinator's address exists only once the bridge does.
        let plan = AddressPlan::for_fleet(devices.len()).map_err(HostError::from)?;
        let bridge = Bridge::set_up(plan, experiment.seed).map_err(HostError::from)?;
        address = SocketAddr::V4(bridge.coordinator());
        network = FleetNetwork::Bridge(bridge);
    }
    let listener = match remote_count {
        0 => None,
        _ => Some(Coordinator::listen(address).await?),
    };
    // Only now: a folder that is left behind would be in the way of the same
    // command once what was wrong is mended.
    let opened = match resumed {
        Some(Resumed { folder, state, .. }) => (folder, state),
        None => {
            let folder = RunFolder::create(&context.folder, &experiment.to_toml())?;
            (folder, None)
        }
    };
    opened.0.partition(&shares)?;
    drop(shares);
    let mut recorder = Recorder::new(
        experiment,
        parts,
        (
            client_count,
            remote_count.saturating_sub(saturate(misfits.len())),
        ),
        &coordinator,
        opened,
        progress,
        (injector.clone(), FaultBook::new(injected)),
    );
    if let Some(until) = rounds_until {
        recorder.rounds_until = until;
        recorder.folder.keep_last_checkpoints_only();
    }
    let readings = recorder.readings.clone();
    coordinator.on_round_over(move |round| readings.read(round));
    if context.is_resumed {
        recorder.resumed()?;
        if recorder.is_over() {
            // It was cut off before it could say so.
            return recorder.finish(&Ok(())).await;
        }
    }
    for misfit in &misfits {
        coordinator.client_lost(misfit.client, &misfit.reason);
        recorder.warn(misfit.client, misfit.reason.clone());
    }
    recorder.summary.misfits = misfits;
    for (group, part) in experiment.fleet.iter().zip(&recorder.parts) {
        if let Some(mcu) = &part.mcu
            && group.fidelity == Fidelity::Native
            && part.learnt.is_none()
        {
            recorder.show(Progress::Warning(format!(
                "native clients of {} have no device time: `zfl calibrate FILE --emulate` counts \
                 their instructions on an emulated device",
                mcu.name
            )));
        }
    }
    for group in &experiment.fleet {
        if group.fidelity == Fidelity::Native && group.link != zfl_machine::link::DEFAULT_NAME {
            recorder.show(Progress::Warning(format!(
                "link {} changes nothing for {} native clients: they send no frames",
                group.link, group.count
            )));
        }
    }
    let server = match listener {
        Some(listener) => {
            address = listener.local_addr().unwrap_or(address);
            recorder.listening(address, &coordinator, context.fleet.is_none())?;
            Some(AbortOnDrop(tokio::spawn(coordinator.serve(listener))))
        }
        None => {
            recorder.began();
            None
        }
    };

    let waiting = FleetProgress {
        waiting: devices.len(),
        ..FleetProgress::default()
    };
    let (fleet_progress, mut fleet_states) = watch::channel(waiting);
    let (device_events, device_event) = broadcast::channel(DEVICE_EVENTS_MAX);
    recorder.device_events = device_event;
    let (losses, mut lost) = mpsc::unbounded_channel();
    let (capture_ended, mut capture_end) = mpsc::unbounded_channel();
    let capture = capture.map(|capture| CaptureOptions {
        files: capture.files(recorder.folder.path(), devices.len()),
        bytes_max: capture.bytes_max,
        ended: Box::new(move |error| {
            // A run that has ended need not know.
            let _ = capture_ended.send(error.to_string());
        }),
    });
    let (notices, mut notice) = mpsc::unbounded_channel();
    let (hangs, mut hung) = mpsc::unbounded_channel();
    recorder.hangs = Some(hangs);
    let fleet = context.fleet.filter(|_| !devices.is_empty());
    let mut starting = fleet.map(|fleet| {
        let plan = FleetPlan {
            devices,
            ports,
            seed: experiment.seed,
            coordinator: address,
            fleet_key: coordinator.fleet_key(),
            network,
            capture,
            firmware: fleet.firmware,
            launcher: fleet.launcher,
            folder: recorder.folder.path().to_owned(),
            counting: experiment.time.counting,
            boot_deadline: experiment.deadlines.boot,
            ready_deadline: experiment.deadlines.ready,
            first_round: recorder.round.saturating_add(1),
            faults: (!injector.plan().is_empty()).then(|| injector.clone()),
            began: recorder.folder.began(),
            debugged: fleet.debugged,
            notices,
        };
        let (progress, losses) = (fleet_progress.clone(), losses.clone());
        let device_events = device_events.clone();
        AbortOnDrop(tokio::spawn(async move {
            FleetHost::start(plan, &progress, &device_events, &losses).await
        }))
    });
    // Round 1 begins when every device is ready or has ended, so that none
    // trains against others that boot, and all are counted from its start.
    let (gathered, gathering) = oneshot::channel::<()>();
    let mut gathered = starting.is_some().then_some(gathered);
    let mut play = AbortOnDrop(tokio::spawn({
        let coordinator = coordinator.clone();
        async move {
            // Without devices, or when they cannot be had, the sender is gone.
            let gathered = async { gathering.await.unwrap_or_default() };
            coordinator.run_after(gathered).await
        }
    }));
    let mut interrupted = pin!(interrupted);
    let ended = loop {
        tokio::select! {
            Some(event) = events.recv() => recorder.take(event).await?,
            Ok(event) = recorder.device_events.recv() => recorder.device_event(&event)?,
            Some((client, reason)) = lost.recv() => recorder.failed(client, reason),
            Some(reason) = capture_end.recv() => recorder.capture_ended(&reason)?,
            Some(text) = notice.recv() => recorder.show(Progress::Notice(text)),
            Some((client, reason)) = hung.recv() => recorder.hung(client, reason)?,
            Ok(()) = fleet_states.changed() => {
                let states = *fleet_states.borrow_and_update();
                recorder.show(Progress::Fleet(states));
            }
            started = join(&mut starting), if starting.is_some() => {
                starting = None;
                match started {
                    Ok(Ok(host)) => {
                        recorder.take_device_events()?;
                        recorder.hosting(host).await?;
                        gathered = None;
                    }
                    Ok(Err(error)) => break Err(error.into()),
                    Err(error) => break Err(error.into()),
                }
            }
            played = &mut play.0 => break match played {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(error.into()),
                Err(error) => Err(error.into()),
            },
            () = &mut interrupted => break Err(recorder.interrupted()),
        }
    };
    // Before any of them is stopped.
    recorder.devices_are(*fleet_progress.borrow());
    drop((play, starting, gathered));
    while let Ok(event) = events.try_recv() {
        recorder.take(event).await?;
    }
    recorder.take_device_events()?;
    while let Ok(reason) = capture_end.try_recv() {
        recorder.capture_ended(&reason)?;
    }
    if !matches!(ended, Err(RunError::Interrupted { .. }))
        && let Some(host) = &mut recorder.host
    {
        host.settle().await;
    }
    while let Ok((client, reason)) = hung.try_recv() {
        recorder.hung(client, reason)?;
    }
    while let Ok((client, reason)) = lost.try_recv() {
        recorder.failed(client, reason);
    }
    let summary = recorder.finish(&ended).await;
    drop(server);
    // Why the run ended matters more than why its end could not be recorded.
    ended?;
    summary
}

/// A task that ends with whoever waits for it.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn join<T>(task: &mut Option<AbortOnDrop<T>>) -> Result<T, tokio::task::JoinError> {
    match task {
        Some(task) => (&mut task.0).await,
        None => std::future::pending().await,
    }
}

/// The devices of one entry of the fleet.
struct Group {
    clients: Range<u32>,
    kind: Kind,
    on_misfit: OnMisfit,
    port: PortOptions,
}

/// The emulated part of the fleet, whose boards have their emulators and their
/// firmware.
fn groups(experiment: &Experiment, firmware: &FirmwareSource) -> Result<Vec<Group>, RunError> {
    let mut end = 0;
    let mut groups = Vec::new();
    for group in &experiment.fleet {
        let clients = end..end + group.count;
        end = clients.end;
        if group.fidelity == Fidelity::Native {
            continue;
        }
        let board = Board::find(&group.board).map_err(KindError::from)?;
        find_program(&board.qemu.binary)
            .map_err(|error| HostError::from(FleetError::from(error)))?;
        firmware.fit_image(&board).map_err(HostError::from)?;
        if let Some(kind) = Kind::of(group, firmware)? {
            groups.push(Group {
                clients,
                kind,
                on_misfit: group.on_misfit,
                // It was found when the experiment was read.
                port: experiment
                    .link(group)
                    .map(|link| link.port_options())
                    .unwrap_or_default(),
            });
        }
    }
    Ok(groups)
}

/// What is booted: kind and port of each device that can take part.
fn devices(groups: Vec<Group>, misfits: &[Misfit]) -> (Vec<Kind>, Vec<PortOptions>) {
    let misfits: BTreeSet<u32> = misfits.iter().map(|misfit| misfit.client).collect();
    let of_group = |group: Group| {
        let clients = group.clients.filter(|client| !misfits.contains(client));
        std::iter::repeat_n((group.kind, group.port), clients.count())
    };
    groups.into_iter().flat_map(of_group).unzip()
}

/// A run that goes on.
struct Resumed {
    folder: RunFolder,
    /// `None`: no round was over.
    state: Option<State>,
    /// Of a run whose clients others bring.
    secrets: Option<Secrets>,
}

impl Resumed {
    fn open(context: &Context) -> Result<Self, RunError> {
        let secrets = RunFolder::read_tokens(&context.folder)?;
        // With devices of its own it would wait for those of others, or the
        // other way round.
        if secrets.is_some() == context.fleet.is_some() {
            return Err(ResumeError::OtherCommand {
                path: context.folder.clone(),
                command: match secrets {
                    Some(_) => "serve",
                    None => "run",
                },
            }
            .into());
        }
        let (folder, state) = RunFolder::resume(&context.folder)?;
        Ok(Self {
            folder,
            state,
            secrets,
        })
    }

    /// How many clients others bring.
    fn clients_elsewhere(&self) -> Option<u32> {
        let secrets = self.secrets.as_ref()?;
        u32::try_from(secrets.clients.len()).ok()
    }

    /// Where the coordinator goes on.
    fn resume(&mut self, model: &zfl_nn::Model) -> Result<Resume, RunError> {
        let state = self.state.as_mut();
        let model_round = state.as_ref().map_or(0, |state| state.model_round);
        let parameters = match model_round {
            0 => None,
            round => Some(checkpoint::load(&self.folder.checkpoint_path(round), model)?.into()),
        };
        Ok(Resume {
            round: state.as_ref().map_or(0, |state| state.round),
            parameters,
            carry: state
                .map(|state| std::mem::take(&mut state.carry))
                .unwrap_or_default(),
            secrets: self.secrets.take(),
        })
    }
}

/// What a run begins with.
struct Prepared {
    coordinator: Coordinator,
    events: mpsc::UnboundedReceiver<Event>,
    misfits: Vec<Misfit>,
    parts: Vec<Part>,
    shares: PartitionedShares,
}

/// Loads and shares out the data, finds who can take part, builds the
/// coordinator.
fn prepare(
    experiment: &Experiment,
    client_count: u32,
    native: Vec<Range<u32>>,
    groups: &[Group],
    context: &Context,
    resumed: Option<&mut Resumed>,
    injector: &Injector,
) -> Result<Prepared, RunError> {
    let trial = context.trial.as_ref();
    let data = match trial.and_then(|trial| trial.data.clone()) {
        Some(data) => data,
        None => load(experiment, &context.search_path)?,
    };
    let participation = experiment.coordinator.participation(client_count)?;
    let partition = partition(experiment, &data.train, client_count)?;
    let task = task::task(experiment, &data.train)?;
    let misfits = misfits(groups, &task, &partition, SampleSize::of(&data.train))?;
    let fitting = client_count.saturating_sub(saturate(misfits.len()));
    let participation = experiment::Coordinator::among(participation, fitting);
    if let Some(first) = misfits.first().filter(|_| participation.quorum > fitting) {
        return Err(RunError::TooFewFit {
            fitting,
            clients: client_count,
            quorum: participation.quorum,
            first: first.client,
            reason: first.reason.clone(),
        });
    }
    let parts = parts(experiment, &task, context)?;
    let resume = match resumed {
        Some(resumed) => Some(resumed.resume(&task.model)?),
        None => None,
    };
    let options = Options {
        plan: Plan {
            seed: experiment.seed,
            task,
            initial: task::initial(experiment, &task)?,
            rounds: trial.map_or(experiment.rounds, |trial| {
                experiment.rounds.min(trial.rounds_until)
            }),
            client_count,
            clients_per_round: participation.clients_per_round,
            quorum: participation.quorum,
            policy: policy(experiment),
            schedule: task::schedule(experiment),
            target_accuracy: experiment.coordinator.target_accuracy,
            resume,
        },
        deadlines: Deadlines {
            ready: experiment.deadlines.boot + experiment.deadlines.ready,
            round: experiment.deadlines.round,
        },
        parallel: parallel(experiment, groups),
        threads: context.threads,
    };
    let test = test_set(&data);
    let train = match experiment.feature_noise_sigma {
        0.0 => data.train,
        sigma => zfl_data::noise::add(&data.train, &partition, sigma, experiment.seed)
            .map_err(LoadError::from)?,
    };
    let shares = PartitionedShares::new(train, partition);
    let local = match native.is_empty() {
        true => None,
        false => Some(LocalPart {
            numbers: native,
            clients: Box::new(native_clients(shares.clone(), context, injector)?),
        }),
    };
    let (coordinator, events) = Coordinator::with_local(options, shares.clone(), test, local)?;
    Ok(Prepared {
        coordinator,
        events,
        misfits,
        parts,
        shares,
    })
}

/// What is done about clients that are slow, late, or fail.
pub(crate) fn policy(experiment: &Experiment) -> Policy {
    let coordinator = &experiment.coordinator;
    Policy {
        over_selection: coordinator.over_selection,
        deadline: experiment
            .deadlines
            .round_past
            .map(|past| AdaptiveDeadline {
                quantile: past.quantile,
                factor: past.factor,
            }),
        staleness: match coordinator.late_updates {
            experiment::LateUpdates::Drop => Staleness::default(),
            experiment::LateUpdates::Use {
                rounds_max,
                exponent,
            } => Staleness {
                rounds_max,
                exponent,
            },
        },
        rest: Rest {
            rounds: coordinator.rest_rounds,
            rounds_max: coordinator.rest_rounds_max,
        },
        failed_rounds_max: match coordinator.on_failed_round {
            experiment::OnFailedRound::End => 0,
            experiment::OnFailedRound::Continue { failed_rounds_max } => failed_rounds_max,
        },
    }
}

/// How many clients are called at a time: those that are emulated here share
/// the processors of this host.
fn parallel(experiment: &Experiment, groups: &[Group]) -> Option<NonZeroU32> {
    let given = NonZeroU32::new(experiment.parallel);
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let default = match groups {
        [] => None,
        _ => NonZeroU32::new(saturate(processors())),
    };
    given.or(default)
}

/// The devices that have too little memory.
fn misfits(
    groups: &[Group],
    task: &Task,
    partition: &Partition,
    sample: SampleSize,
) -> Result<Vec<Misfit>, RunError> {
    let mut misfits = Vec::new();
    for group in groups {
        // By the size of the share: there are few.
        let mut known: BTreeMap<usize, Option<String>> = BTreeMap::new();
        for client in group.clients.clone() {
            let index = usize::try_from(client).unwrap_or(usize::MAX);
            let samples = partition.client(index).unwrap_or_default().len();
            let reason = known.entry(samples).or_insert_with(|| {
                let needed = arena_size(task, samples, sample).needed_bytes;
                group.kind.misfit(u64::try_from(needed).unwrap_or(u64::MAX))
            });
            let Some(reason) = reason.clone() else {
                continue;
            };
            match group.on_misfit {
                OnMisfit::Skip => misfits.push(Misfit { client, reason }),
                OnMisfit::Fail => return Err(RunError::Misfit { client, reason }),
            }
        }
    }
    Ok(misfits)
}

/// What the clients of each entry of the fleet would cost.
fn parts(experiment: &Experiment, task: &Task, context: &Context) -> Result<Vec<Part>, RunError> {
    let Some(fleet) = &context.fleet else {
        return Ok(Vec::new());
    };
    let is_learnt = |group: &FleetGroup| group.mcu.is_some() && group.fidelity == Fidelity::Native;
    // Nobody else cares what state it is in.
    let book = match experiment.fleet.iter().any(is_learnt) {
        true => Book::open(&context.search_path)?,
        false => Book::default(),
    };
    let mut end = 0;
    let mut parts = Vec::new();
    for group in &experiment.fleet {
        let clients = end..end + group.count;
        end = clients.end;
        let mcu = group.mcu.as_deref().map(Mcu::find).transpose();
        let mcu = mcu.map_err(KindError::from)?;
        let learnt = mcu.as_ref().filter(|_| is_learnt(group));
        let learnt = learnt.and_then(|mcu| {
            let image = fleet.firmware.image(&mcu.board).ok()?;
            book.get(&learnt::key(
                &mcu.board,
                &image,
                &data_name(experiment),
                task,
            ))
        });
        let kind = Kind::of(group, &fleet.firmware)?;
        parts.push(Part {
            clients,
            mcu,
            flash_bytes: kind.and_then(|kind| Some(kind.image?.flash_bytes)),
            learnt,
        });
    }
    Ok(parts)
}

/// What tells the data of experiments apart.
pub(crate) fn data_name(experiment: &Experiment) -> String {
    match &experiment.data {
        Data::Digits { .. } => "digits".to_owned(),
        Data::Mnist { .. } => "mnist".to_owned(),
        Data::Idx(idx) => idx.train_images.display().to_string(),
        Data::Csv(table) | Data::Parquet(table) => table.file.display().to_string(),
        Data::Npz(npz) => npz.file.display().to_string(),
    }
}

/// Which of so many clients holds which sample of `train`.
///
/// # Errors
/// When the experiment's partition cannot be made of it.
pub fn partition(
    experiment: &Experiment,
    train: &Dataset,
    client_count: u32,
) -> Result<Partition, PartitionError> {
    let clients = usize::try_from(client_count).unwrap_or(usize::MAX);
    let scheme = experiment.partition.scheme();
    let dealt = scheme.partition(train, clients, experiment.seed)?;
    if experiment
        .fleet
        .iter()
        .all(|group| group.samples_max.is_none())
    {
        return Ok(dealt);
    }
    Ok(dealt.truncated(|client| {
        let most = experiment.samples_max(saturate(client))?;
        usize::try_from(most).ok()
    }))
}

fn native_clients(
    shares: PartitionedShares,
    context: &Context,
    injector: &Injector,
) -> Result<NativeClients, RunError> {
    let threads = context.threads;
    let trial = context.trial.as_ref();
    let cpu_time = trial.map(|trial| trial.cpu_time.clone());
    NativeClients::start(shares, threads, KEPT_BYTES_MAX, injector.clone(), cpu_time)
        .map_err(|source| RunError::Threads { threads, source })
}

/// The training and the test set of an experiment.
///
/// # Errors
/// When they cannot be found or are damaged.
pub fn load(
    experiment: &Experiment,
    search_path: &SearchPath,
) -> Result<zfl_data::TrainTest, LoadError> {
    let data = match &experiment.data {
        Data::Digits { test_share } => zfl_data::digits::load(experiment.seed, *test_share),
        Data::Mnist { folder } => {
            let mut options = LoadOptions::new(search_path.clone(), experiment.seed);
            if let Some(folder) = folder {
                options.search_path.data_dir = Some(folder.clone());
            }
            zfl_data::load("mnist", &options)
        }
        Data::Idx(idx) => zfl_data::folder::load_files(
            &experiment.name,
            &zfl_data::folder::IdxFiles {
                train_images: idx.train_images.clone(),
                train_labels: idx.train_labels.clone(),
                test_images: idx.test_images.clone(),
                test_labels: idx.test_labels.clone(),
            },
            zfl_data::folder::Meaning {
                class_count: idx.classes.map(usize::from),
                value_scale: idx.value_scale,
            },
            zfl_data::idx::Limits::default(),
        ),
        Data::Csv(table) => load_table(experiment, TableFormat::Csv, table),
        Data::Parquet(table) => load_table(experiment, TableFormat::Parquet, table),
        Data::Npz(npz) => table::arrays::load(
            &experiment.name,
            &npz.file,
            &npz.arrays,
            (npz.test_share, experiment.seed),
            table::Limits::default(),
        ),
    }?;
    // What is the same in every sample cannot be normalised.
    data.train.target_spread()?;
    Ok(data)
}

fn load_table(
    experiment: &Experiment,
    format: TableFormat,
    data: &TableData,
) -> Result<zfl_data::TrainTest, LoadError> {
    let test = match &data.test {
        TestRows::File(file) => TestPart::File(file.clone()),
        TestRows::Share(fraction) => TestPart::Share {
            fraction: *fraction,
            seed: experiment.seed,
        },
    };
    table::load(
        &experiment.name,
        format,
        &data.file,
        &data.columns,
        &test,
        table::Limits::default(),
    )
}

/// Host time since the run began at which a device said something.
#[derive(Clone, Copy, Default)]
struct Started {
    /// That its firmware runs.
    boot: Option<f64>,
    /// That it has its data.
    ready: Option<f64>,
}

/// What passed between the network and each client's device in a round.
struct RoundTraffic(BTreeMap<u32, (TrafficRow, Option<Wire>)>);

impl RoundTraffic {
    /// What has passed from `seen` to `now`, from which the next round then
    /// counts, and not from when its beginning is heard of: that may be after
    /// its first frames.
    fn take(now: BTreeMap<u32, Seen>, seen: &mut BTreeMap<u32, Seen>) -> Self {
        let devices = now.iter().map(|(client, now)| {
            let before = seen.get(client).copied().unwrap_or_default();
            (*client, (TrafficRow::between(&before, now), now.wire))
        });
        let traffic = Self(devices.collect());
        *seen = now;
        traffic
    }

    fn row(&self, client: u32) -> TrafficRow {
        self.0.get(&client).map(|(row, _)| *row).unwrap_or_default()
    }

    fn wire(&self, client: u32) -> Option<&Wire> {
        self.0.get(&client)?.1.as_ref()
    }

    fn sums(&self) -> FleetRow {
        FleetRow::of(self.0.values().map(|(row, _)| *row))
    }
}

/// What the meters of a fleet showed when each round was over: read by the
/// coordinator's thread, before the first frame of the next round.
#[derive(Clone, Default)]
struct Readings(Arc<Mutex<ReadingsOf>>);

#[derive(Default)]
struct ReadingsOf {
    meter: Option<Meter>,
    /// By round.
    read: BTreeMap<u32, BTreeMap<u32, Seen>>,
}

impl Readings {
    fn of(&self) -> MutexGuard<'_, ReadingsOf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is a fleet.
    fn begin(&self, meter: Meter) {
        self.of().meter = Some(meter);
    }

    /// A round is over.
    fn read(&self, round: u32) {
        let mut readings = self.of();
        if let Some(now) = readings.meter.as_ref().map(Meter::read) {
            readings.read.insert(round, now);
        }
    }

    /// What was read when the round was over; forgets it.
    fn take(&self, round: u32) -> Option<BTreeMap<u32, Seen>> {
        self.of().read.remove(&round)
    }
}

/// Writes what happens and shows it.
struct Recorder {
    folder: RunFolder,
    progress: mpsc::UnboundedSender<Progress>,
    model: zfl_nn::Model,
    host: Option<FleetHost>,
    /// Is told of devices that were late and turn out to hang.
    hangs: Option<mpsc::UnboundedSender<(u32, String)>>,
    summary: Summary,
    /// Clients that are not played in this process.
    remote: u32,
    rounds: u32,
    /// The run pauses after this round.
    rounds_until: u32,
    target_accuracy: Option<f64>,
    /// Whether what is learnt is a class.
    has_classes: bool,
    round: u32,
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
    injector: Injector,
    /// What of it took effect.
    faults: FaultBook,
    /// What the devices say.
    device_events: broadcast::Receiver<DeviceEvent>,
    /// What was refused before the run was resumed.
    refused_before: BTreeMap<String, u64>,
    coordinator: Coordinator,
}

impl Recorder {
    fn new(
        experiment: &Experiment,
        parts: Vec<Part>,
        (clients, remote): (u32, u32),
        coordinator: &Coordinator,
        (folder, state): (RunFolder, Option<State>),
        progress: mpsc::UnboundedSender<Progress>,
        (injector, faults): (Injector, FaultBook),
    ) -> Self {
        let model = *coordinator.model();
        let parameters = saturate(model.parameter_count());
        let round = state.as_ref().map_or(0, |state| state.round);
        let summary = state.map(|state| state.summary).unwrap_or_default();
        let refused_before = summary.refused.clone();
        let used_before = summary.emulators.clone().unwrap_or_default();
        Self {
            injector,
            faults,
            device_events: broadcast::channel(1).1,
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
            hangs: None,
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

    fn is_resumed(&self) -> bool {
        !self.summary.resumed_after.is_empty()
    }

    /// The run goes on.
    fn resumed(&mut self) -> Result<(), RecordError> {
        let (round, summary) = (self.round, &self.summary);
        let quality = Quality {
            accuracy: summary.accuracy,
            fit: summary.rmse.map(|rmse| Fit {
                rmse,
                r_squared: summary.r_squared,
            }),
            loss: summary.loss,
        };
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
    fn is_over(&self) -> bool {
        self.round >= self.rounds || self.summary.target_accuracy_round.is_some()
    }

    fn show(&self, progress: Progress) {
        // A display that is gone misses nothing that is not recorded.
        let _ = self.progress.send(progress);
    }

    /// The run begins, and nobody can join it.
    fn began(&mut self) {
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
    fn listening(
        &mut self,
        address: SocketAddr,
        coordinator: &Coordinator,
        with_secrets: bool,
    ) -> Result<(), RecordError> {
        if with_secrets && !self.is_resumed() {
            let tokens = coordinator.tokens();
            self.folder.tokens(coordinator.fleet_key(), &tokens)?;
        }
        self.folder
            .event("listening", &json!({ "address": address.to_string() }))?;
        self.show(Progress::Listening {
            address,
            fleet_key: coordinator.fleet_key(),
            folder: self.folder.path().to_owned(),
        });
        Ok(())
    }

    /// Every device is ready or has ended, and no round has begun: from here on
    /// frames and processor time belong to the first.
    async fn hosting(&mut self, host: FleetHost) -> Result<(), RecordError> {
        let meter = host.meter();
        let traffic = RoundTraffic::take(meter.read(), &mut self.seen);
        self.readings.begin(meter);
        let rows = (0u32..)
            .zip(host.devices())
            .map(|(device, (client, board))| {
                let started = self.started.get(&device).copied().unwrap_or_default();
                let row = DeviceRow {
                    after_round: self.round,
                    device,
                    client,
                    board,
                    boot_host_seconds: started.boot,
                    ready_host_seconds: started.ready,
                };
                (row, traffic.row(client))
            });
        self.folder.devices(rows)?;
        self.cpu_seconds = cpu_seconds(&host.usage(|_| false).await);
        self.host = Some(host);
        Ok(())
    }

    /// No more frames are captured; the run goes on.
    fn capture_ended(&mut self, reason: &str) -> Result<(), RecordError> {
        self.show(Progress::Warning(format!(
            "{reason}: no more frames are captured"
        )));
        self.folder
            .event("capture-ended", &json!({ "reason": reason }))
    }

    /// All frames that were captured are in their files.
    fn captured(&mut self, report: &CaptureReport) -> Result<(), RecordError> {
        let CaptureReport {
            frames,
            left_out_frames,
            bytes,
        } = report;
        if *left_out_frames > 0 {
            self.show(Progress::Warning(format!(
                "{left_out_frames} frames are not in the capture, which could not keep up"
            )));
        }
        self.folder.event(
            "captured",
            &json!({ "frames": frames, "left_out_frames": left_out_frames, "bytes": bytes }),
        )
    }

    fn warn(&mut self, client: u32, reason: String) {
        self.show(Progress::Warning(format!("client {client}: {reason}")));
    }

    /// A device that was late hangs.
    fn hung(&mut self, client: u32, reason: String) -> Result<(), RecordError> {
        self.folder.event(
            "device-hung",
            &json!({ "client": client, "reason": reason }),
        )?;
        self.failed(client, reason);
        Ok(())
    }

    /// A device crashed, hung or ended otherwise.
    fn failed(&mut self, client: u32, reason: String) {
        if self.summary.failures.len() < FAILURES_MAX {
            let reason = reason.clone();
            self.summary.failures.push(DeviceFailure { client, reason });
        }
        self.warn(client, reason);
    }

    fn interrupted(&self) -> RunError {
        RunError::Interrupted {
            round: self.round,
            rounds: self.rounds,
            folder: self.folder.path().to_owned(),
        }
    }

    /// Takes in what the coordinator tells.
    async fn take(&mut self, event: Event) -> Result<(), RecordError> {
        // What it may have come of, first.
        self.take_faults()?;
        match event {
            Event::Initial {
                quality,
                model_sha256,
            } => {
                self.summary.set_quality(&quality);
                self.summary.initial_accuracy = self.summary.accuracy;
                self.summary.initial_rmse = self.summary.rmse;
                let mut event = quality_fields(&quality);
                event.insert("model_sha256".to_owned(), model_sha256.as_str().into());
                self.folder.event("initial-model", &event)?;
                self.summary.model_sha256 = model_sha256;
                self.show(Progress::Initial { quality });
            }
            Event::ClientProvisioned { client } => {
                self.provisioned += 1;
                if self.provisioned == self.remote {
                    self.all_ready();
                }
                self.folder
                    .event("client-provisioned", &json!({ "client": client }))?;
                self.show(Progress::Provisioned {
                    count: self.provisioned,
                    of: self.remote,
                });
            }
            Event::RoundStarted { round, clients } => {
                self.round = round;
                if let Some(host) = &self.host {
                    host.round_began(round);
                }
                self.folder.event(
                    "round-started",
                    &json!({ "round": round, "clients": clients }),
                )?;
                self.show(Progress::RoundStarted {
                    round,
                    clients: clients.len(),
                });
            }
            Event::ClientFinished {
                round,
                client,
                outcome,
                detail,
            } => {
                self.folder.event(
                    "client-finished",
                    &json!({ "round": round, "client": client, "outcome": outcome, "detail": detail }),
                )?;
                let ok = outcome == Outcome::Ok;
                self.show(Progress::ClientFinished { ok });
                if matches!(outcome, Outcome::Late | Outcome::Unreachable)
                    && let (Some(host), Some(hangs)) = (&mut self.host, &self.hangs)
                {
                    host.suspect(client, &detail, hangs);
                }
                if !ok && outcome != Outcome::Surplus {
                    let outcome = outcome.name();
                    self.show(Progress::Warning(format!(
                        "round {round}: client {client} is {outcome}: {detail}"
                    )));
                }
            }
            Event::Refused {
                client,
                kind,
                request,
                reason,
            } => {
                self.folder.event(
                    "request-refused",
                    &json!({ "client": client, "kind": kind, "request": request, "reason": reason }),
                )?;
            }
            Event::LateUpdate { client, round } => {
                self.folder
                    .event("late-update", &json!({ "client": client, "round": round }))?;
            }
            Event::ClientBack { client } => {
                self.folder
                    .event("client-back", &json!({ "client": client }))?;
            }
            Event::ClientLost { client, reason } => {
                self.folder.event(
                    "client-lost",
                    &json!({ "client": client, "reason": reason }),
                )?;
            }
            Event::RoundFailed {
                record,
                reason,
                carry,
                ..
            } => {
                self.round_failed(record, &reason, carry.is_some()).await?;
                // A run that ends here is resumed with this round.
                if let Some(carry) = carry {
                    self.keep(carry)?;
                }
            }
            Event::RoundCompleted {
                record,
                parameters,
                carry,
            } => {
                self.round_completed(record, &parameters).await?;
                self.keep(carry)?;
            }
        }
        Ok(())
    }

    /// Takes in what the devices have said.
    fn take_device_events(&mut self) -> Result<(), RecordError> {
        while let Ok(event) = self.device_events.try_recv() {
            self.device_event(&event)?;
        }
        Ok(())
    }

    /// A device has said that it goes wrong.
    fn device_injected(&self, device: u32, round: u32, word: &str) {
        let client = self.host.as_ref().and_then(|host| {
            let device = usize::try_from(device).ok()?;
            host.clients().get(device).copied()
        });
        let fault = client.and_then(|client| {
            let fault = device::announced(self.injector.plan(), client, round, word)?;
            Some((client, fault.kind()))
        });
        if let Some((client, kind)) = fault {
            self.injector.tell(round, client, kind);
        }
    }

    /// Takes in what has gone wrong on purpose.
    fn take_faults(&mut self) -> Result<(), RecordError> {
        let mut told = std::mem::take(&mut self.faults_ahead);
        told.extend(std::iter::from_fn(|| self.faults.next()));
        for (injected, is_over) in told {
            let Injected {
                round,
                client,
                kind,
            } = injected;
            // The coordinator may be a round ahead of its events; what is
            // written down before a round is over must not be of the next,
            // which a resumed run plays again.
            if round > self.round {
                self.faults_ahead.push((injected, is_over));
                continue;
            }
            self.summary.faults_injected += 1;
            self.folder.event(
                "fault-injected",
                &json!({
                    "round": round,
                    "client": client,
                    "kind": kind.name(),
                    "round_is_over": is_over,
                }),
            )?;
        }
        Ok(())
    }

    /// An outcome that cannot have come of a fault, or the lack of one.
    fn unaccounted(
        &mut self,
        Injected {
            round,
            client,
            kind,
        }: Injected,
        outcome: &str,
    ) -> Result<(), RecordError> {
        let kind = kind.name();
        self.summary.faults_unaccounted += 1;
        self.folder.event(
            "fault-unaccounted",
            &json!({ "round": round, "client": client, "kind": kind, "outcome": outcome }),
        )?;
        self.show(Progress::Warning(format!(
            "round {round}: client {client} is {outcome} although `{kind}` was injected, which is \
             a fault of zfl"
        )));
        Ok(())
    }

    async fn round_completed(
        &mut self,
        record: RoundRecord,
        parameters: &[f32],
    ) -> Result<(), RecordError> {
        // First: it counts frames, and those of the next round are on their way.
        self.write_round(&record, "completed").await?;
        self.folder
            .checkpoint(record.round, &self.model, parameters)?;
        let summary = &mut self.summary;
        summary.rounds += 1;
        summary.set_quality(&record.quality);
        if let (Some(target), Some(accuracy)) = (self.target_accuracy, record.quality.accuracy)
            && accuracy >= target
        {
            summary.target_accuracy_round = Some(record.round);
        }
        summary.model_sha256.clone_from(&record.model_sha256);
        summary.updates_ok += u64::from(saturate(record.ok_count()));
        summary.updates_failed += u64::from(saturate(record.failed_count()));
        summary.updates_late += u64::from(saturate(record.late.len()));
        for LateRecord {
            client,
            round,
            weight,
        } in &record.late
        {
            self.folder.event(
                "late-update-used",
                &json!({ "round": record.round, "client": client, "of_round": round, "weight": weight }),
            )?;
        }
        let mut event = quality_fields(&record.quality);
        event.insert("round".to_owned(), record.round.into());
        self.folder.event("round-completed", &event)?;
        self.show(Progress::RoundCompleted { record });
        Ok(())
    }

    /// The round has no new model, and none of its updates counts.
    async fn round_failed(
        &mut self,
        record: RoundRecord,
        reason: &str,
        goes_on: bool,
    ) -> Result<(), RecordError> {
        self.round = record.round;
        self.write_round(&record, "failed").await?;
        let summary = &mut self.summary;
        summary.rounds_failed += 1;
        summary.updates_failed += u64::from(saturate(record.clients.len()));
        self.folder.event(
            "round-failed",
            &json!({ "round": record.round, "reason": reason, "goes_on": goes_on }),
        )?;
        if goes_on {
            self.show(Progress::Warning(format!("{reason}; the run goes on")));
        }
        Ok(())
    }

    /// Writes the rows of a round.
    async fn write_round(
        &mut self,
        record: &RoundRecord,
        outcome: &'static str,
    ) -> Result<(), RecordError> {
        let (mut qemu_cpu_seconds, mut traffic) = (None, None);
        if let Some(host) = &self.host {
            let now = self.readings.take(record.round);
            let now = now.unwrap_or_else(|| host.meter().read());
            traffic = Some(RoundTraffic::take(now, &mut self.seen));
            // The memory of those alone that took part: that of a thousand
            // takes seconds to sample.
            let took_part: BTreeSet<u32> =
                record.clients.iter().map(|client| client.client).collect();
            let now = cpu_seconds(&host.usage(|client| took_part.contains(&client)).await);
            qemu_cpu_seconds = Some(now - self.cpu_seconds);
            self.cpu_seconds_rounds += now - self.cpu_seconds;
            self.cpu_seconds = now;
            // All of the round: a sample comes after what was said before.
            self.take_device_events()?;
            self.summary.emulators = Some(EmulatorUsage {
                cpu_seconds: self.used_before.cpu_seconds + now,
                cpu_seconds_rounds: self.cpu_seconds_rounds,
                ..self.used_before.clone()
            });
        }
        let row = RoundRow {
            round: record.round,
            accuracy: record.quality.accuracy,
            loss: record.quality.loss,
            rmse: record.quality.fit.map(|fit| fit.rmse),
            r_squared: record.quality.fit.and_then(|fit| fit.r_squared),
            clients_selected: record.clients.len(),
            clients_ok: record.ok_count(),
            faults: self.faults.count(record.round),
            outcome,
            late_updates: record.late.len(),
            bytes_down: record.bytes_down(),
            bytes_up: record.bytes_up(),
            host_seconds: record.host_seconds,
            qemu_cpu_seconds,
            model_sha256: &record.model_sha256,
        };
        let fleet = traffic.as_ref().map(RoundTraffic::sums).unwrap_or_default();
        self.folder.round(&row, &fleet)?;
        self.write_clients(record.round, &record.clients, traffic.as_ref())?;
        let summary = &mut self.summary;
        summary.rounds_host_seconds += record.host_seconds;
        summary.bytes_down += record.bytes_down();
        summary.bytes_up += record.bytes_up();
        let largest = record.clients.iter().map(|client| client.bytes_up).max();
        summary.update_bytes = summary.update_bytes.max(largest.unwrap_or(0));
        Ok(())
    }

    /// Writes the clients' rows of a round. `traffic` where the network is a
    /// local one.
    fn write_clients(
        &mut self,
        round: u32,
        clients: &[ClientRecord],
        traffic: Option<&RoundTraffic>,
    ) -> Result<(), RecordError> {
        let mut faults = Vec::new();
        for client in clients {
            let kinds = self.faults.close(round, client.client);
            for kind in book::unfit(&kinds, client.outcome) {
                let injected = Injected {
                    round,
                    client: client.client,
                    kind,
                };
                self.unaccounted(injected, client.outcome.name())?;
            }
            faults.push(kinds);
        }
        for injected in self.faults.end(round) {
            self.unaccounted(injected, "in no row of clients.csv")?;
        }
        let mut rows = Vec::new();
        for (client, faults) in clients.iter().zip(&faults) {
            let (passed, told) = client_traffic(&mut self.reports, client, traffic);
            let of_client = |part: &&Part| part.clients.contains(&client.client);
            let part = self.parts.iter().find(of_client);
            let device = &client.metrics.device;
            let effort = Effort {
                instructions: device
                    .training_instructions
                    .saturating_add(device.other_instructions),
                samples: client.sample_count,
                epochs: self.epochs,
                bytes_sent: passed.bytes_out().max(client.bytes_up),
                bytes_received: passed.bytes_in().max(client.bytes_down),
            };
            let estimate = part.and_then(|part| part.estimate(&effort, self.cycles));
            let row = ClientRow {
                faults: book::names(faults),
                ..client_row(round, client, part, estimate, self.has_classes)
            };
            rows.push((row, passed, told));
        }
        self.folder.clients(rows)
    }

    fn device_event(&mut self, event: &DeviceEvent) -> Result<(), RecordError> {
        let at = self.folder.host_seconds_at(event.host_time);
        let started = self.started.entry(event.device).or_default();
        match &event.event {
            ConsoleEvent::Boot { .. } => started.boot = Some(at),
            ConsoleEvent::Ready { .. } => started.ready = Some(at),
            _ => {}
        }
        let (name, text) = match &event.event {
            ConsoleEvent::Boot {
                board,
                version,
                arena_bytes,
            } => (
                "device-boot",
                format!("board {board}, firmware {version}, arena {arena_bytes} bytes"),
            ),
            ConsoleEvent::Ready { sample_count, .. } => {
                ("device-ready", format!("{sample_count} samples"))
            }
            ConsoleEvent::Failed(text) => {
                let device = event.device;
                self.show(Progress::Warning(format!("device {device}: {text}")));
                ("device-failed", text.clone())
            }
            ConsoleEvent::Injected { round, kind } => {
                self.device_injected(event.device, round.0, kind);
                return self.take_faults();
            }
            ConsoleEvent::Panic(text) => ("device-panic", text.clone()),
            ConsoleEvent::Fault(text) => ("device-fault", text.clone()),
            // The coordinator tells these itself.
            _ => return Ok(()),
        };
        self.folder
            .event(name, &json!({ "device": event.device, "text": text }))
    }

    /// What has become of the devices.
    fn devices_are(&mut self, progress: FleetProgress) {
        let counts = DeviceCounts::new(&progress, self.summary.misfits.len());
        self.summary.devices = (counts.fleet > 0).then_some(counts);
    }

    /// Stops the fleet and writes the summary.
    async fn finish(mut self, ended: &Result<(), RunError>) -> Result<Summary, RunError> {
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

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    fn emulators(&self, usage: &[Usage]) -> EmulatorUsage {
        let pss: Vec<u64> = usage.iter().map(|usage| usage.pss_bytes_max).collect();
        let updates = self.summary.updates_ok.max(1) as f64;
        EmulatorUsage {
            cpu_seconds: self.used_before.cpu_seconds + cpu_seconds(usage),
            cpu_seconds_rounds: self.cpu_seconds_rounds,
            cpu_seconds_per_update: self.cpu_seconds_rounds / updates,
            pss_bytes_mean: pss.iter().sum::<u64>() / u64::from(saturate(pss.len()).max(1)),
            pss_bytes_max: pss.iter().max().copied().unwrap_or(0),
            pss_bytes_sum: pss.iter().sum(),
        }
    }
}

/// What passed between a client's device and the network in a round, and
/// what the device itself says.
fn client_traffic(
    reports: &mut BTreeMap<u32, Reports>,
    client: &ClientRecord,
    traffic: Option<&RoundTraffic>,
) -> (TrafficRow, ReportRow) {
    if client.is_local {
        // It has no network.
        return Default::default();
    }
    let device = &client.metrics.device;
    let has_told = client.outcome == Outcome::Ok;
    let reports = reports.entry(client.client).or_default();
    let passed = match traffic {
        Some(traffic) => traffic.row(client.client),
        None if has_told => TrafficRow::of_frames(&reports.frames(device)),
        None => TrafficRow::default(),
    };
    let wire = traffic.and_then(|traffic| traffic.wire(client.client));
    let told = match has_told {
        true => reports.add(device, wire),
        false => ReportRow::default(),
    };
    (passed, told)
}

fn cpu_seconds(usage: &[Usage]) -> f64 {
    usage.iter().map(Usage::cpu_seconds).sum()
}

impl Summary {
    fn set_quality(&mut self, quality: &Quality) {
        self.accuracy = quality.accuracy;
        self.rmse = quality.fit.map(|fit| fit.rmse);
        self.r_squared = quality.fit.and_then(|fit| fit.r_squared);
        self.loss = quality.loss;
    }
}

/// How well a model does, for an event: what has no meaning is left out.
fn quality_fields(quality: &Quality) -> serde_json::Map<String, serde_json::Value> {
    let fields = [
        ("accuracy", quality.accuracy),
        ("loss", Some(quality.loss)),
        ("rmse", quality.fit.map(|fit| fit.rmse)),
        ("r_squared", quality.fit.and_then(|fit| fit.r_squared)),
    ];
    let fields = fields.into_iter();
    fields
        .filter_map(|(name, value)| Some((name.to_owned(), value?.into())))
        .collect()
}

/// What was counted; `None` where nothing was.
fn counted(instructions: u64) -> Option<u64> {
    (instructions > 0).then_some(instructions)
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a training")]
fn client_row<'c>(
    round: u32,
    client: &'c ClientRecord,
    part: Option<&'c Part>,
    estimate: Option<Estimate>,
    has_classes: bool,
) -> ClientRow<'c> {
    let metrics = &client.metrics;
    ClientRow {
        round,
        client: client.client,
        board: &client.board,
        outcome: client.outcome.name(),
        samples: client.sample_count,
        train_loss: metrics.loss_last_epoch,
        train_accuracy: has_classes.then_some(metrics.accuracy_last_epoch),
        host_seconds: client.host_seconds,
        device_clock_seconds: metrics.device.training_us as f64 / 1e6,
        instructions_training: counted(metrics.device.training_instructions),
        instructions_other: counted(metrics.device.other_instructions),
        mcu: part.and_then(|part| Some(part.mcu.as_ref()?.name.as_str())),
        device_seconds: estimate.map(|estimate| estimate.device_seconds),
        energy_mj: estimate.map(|estimate| estimate.energy_joules * 1e3),
        device_basis: estimate.map(|estimate| estimate.basis),
        bytes_down: client.bytes_down,
        bytes_up: client.bytes_up,
        stack_peak_bytes: metrics.device.stack_peak_bytes,
        arena_peak_bytes: metrics.device.arena_peak_bytes,
        flash_bytes: part.and_then(|part| part.flash_bytes),
        faults: String::new(),
        detail: &client.detail,
    }
}
