//! What is done before anything is started, so that whatever is wrong with an
//! experiment is found first.

use std::num::NonZeroU32;
use std::ops::Range;

use tokio::sync::mpsc;
use zfl_data::LoadError;
use zfl_net::switch::PortOptions;
use zfl_nn::Task;
use zfl_server::{
    AdaptiveDeadline, Coordinator, Deadlines, Event, LocalPart, Options, Plan, Policy, Rest,
    Resume, Staleness,
};

use super::data::{load, partition};
use super::fleet::{Group, devices, groups, misfits, parts};
use super::resumed::Resumed;
use super::{Context, Misfit, RunError};
use crate::capture::CaptureRequestError;
use crate::data::{PartitionedShares, saturate, test_set};
use crate::experiment::{self, Experiment, LateUpdates, Network, OnFailedRound, Participation};
use crate::faults::book::FaultBook;
use crate::faults::{FaultPlan, Injector};
use crate::host;
use crate::kind::{Kind, Part};
use crate::native::{KEPT_BYTES_MAX, NativeClients};
use crate::records::RunFolder;
use crate::size::SampleSize;
use crate::state::ResumeError;
use crate::task;

/// What a run begins with.
pub(super) struct Prepared {
    pub(super) coordinator: Coordinator,
    pub(super) events: mpsc::UnboundedReceiver<Event>,
    /// The run that goes on.
    pub(super) resumed: Option<Resumed>,
    pub(super) shares: PartitionedShares,
    pub(super) participants: Participants,
    /// Whether there are clients that are not played in this process, with the
    /// memory or without.
    pub(super) has_remote: bool,
    pub(super) misfits: Vec<Misfit>,
    /// What is booted: kind and port of each device.
    pub(super) devices: Vec<Kind>,
    pub(super) ports: Vec<PortOptions>,
}

/// Who takes part, and what is recorded of them.
pub(super) struct Participants {
    /// All clients of the run.
    pub(super) clients: u32,
    /// Those that have the memory and are not played in this process.
    pub(super) remote: u32,
    /// What the clients of each entry of the fleet cost.
    pub(super) parts: Vec<Part>,
    /// What goes wrong with them on purpose.
    pub(super) injector: Injector,
    /// What of it took effect.
    pub(super) faults: FaultBook,
}

/// Loads and shares out the data, finds who can take part, builds the
/// coordinator.
pub(super) fn prepare(experiment: &Experiment, context: &Context) -> Result<Prepared, RunError> {
    let groups = match &context.fleet {
        Some(fleet) => groups(experiment, &fleet.firmware)?,
        None => Vec::new(),
    };
    let mut resumed = match context.is_resumed {
        true => Some(Resumed::open(context)?),
        false => {
            RunFolder::check_free(&context.folder)?;
            None
        }
    };
    let clients = Clients::new(experiment, context, resumed.as_ref())?;
    let (injector, injected) = Injector::new(clients.faults);
    let trial = context.trial.as_ref();
    let data = match trial.and_then(|trial| trial.data.clone()) {
        Some(data) => data,
        None => load(experiment, &context.search_path)?,
    };
    let participation = experiment.coordinator.participation(clients.count)?;
    let partition = partition(experiment, &data.train, clients.count)?;
    let task = task::task(experiment, &data.train)?;
    let misfits = misfits(&groups, &task, &partition, SampleSize::of(&data.train))?;
    let participation = among_fitting(participation, clients.count, &misfits)?;
    let parts = parts(experiment, &task, context)?;
    let resume = match &mut resumed {
        Some(resumed) => Some(resumed.resume(&task.model)?),
        None => None,
    };
    let options = Options {
        plan: plan(
            experiment,
            context,
            task,
            (clients.count, participation),
            resume,
        )?,
        deadlines: Deadlines {
            ready: experiment.deadlines.boot + experiment.deadlines.ready,
            round: experiment.deadlines.round,
        },
        parallel: parallel(experiment, &groups),
        threads: context.threads,
    };
    let test = test_set(&data);
    let train = match experiment.feature_noise_sigma {
        0.0 => data.train,
        sigma => zfl_data::noise::add(&data.train, &partition, sigma, experiment.seed)
            .map_err(LoadError::from)?,
    };
    let shares = PartitionedShares::new(train, partition);
    let local = match clients.native.is_empty() {
        true => None,
        false => Some(LocalPart {
            numbers: clients.native,
            clients: Box::new(native_clients(shares.clone(), context, &injector)?),
        }),
    };
    let (coordinator, events) = Coordinator::with_local(options, shares.clone(), test, local)?;
    let (devices, ports) = devices(groups, &misfits);
    check_fleet(experiment, context, devices.len())?;
    Ok(Prepared {
        coordinator,
        events,
        resumed,
        shares,
        participants: Participants {
            clients: clients.count,
            remote: clients.remote.saturating_sub(saturate(misfits.len())),
            parts,
            injector,
            faults: FaultBook::new(injected),
        },
        has_remote: clients.remote > 0,
        misfits,
        devices,
        ports,
    })
}

/// The clients of a run, whether they fit or not.
struct Clients {
    count: u32,
    /// Those that are played in this process.
    native: Vec<Range<u32>>,
    /// How many are not.
    remote: u32,
    faults: FaultPlan,
}

impl Clients {
    fn new(
        experiment: &Experiment,
        context: &Context,
        resumed: Option<&Resumed>,
    ) -> Result<Self, RunError> {
        let elsewhere = resumed.and_then(Resumed::clients_elsewhere);
        let given = context
            .clients
            .or(elsewhere.filter(|_| experiment.fleet.is_empty()));
        let count = given.unwrap_or(experiment.fleet_size());
        // Clients from elsewhere go wrong by themselves.
        let (faults, native) = match given {
            Some(_) => (FaultPlan::default(), Vec::new()),
            None => (FaultPlan::new(experiment)?, experiment.native_clients()),
        };
        let native_count = native.iter().map(|range| range.end - range.start).sum();
        let remote = count.saturating_sub(native_count);
        if let Some(tokens) = elsewhere.filter(|tokens| *tokens != remote) {
            return Err(ResumeError::Damaged {
                path: context.folder.clone(),
                reason: format!("tokens of {tokens} clients for {remote}"),
            }
            .into());
        }
        Ok(Self {
            count,
            native,
            remote,
            faults,
        })
    }
}

/// How many of the clients that have the memory take part in a round.
fn among_fitting(
    participation: Participation,
    clients: u32,
    misfits: &[Misfit],
) -> Result<Participation, RunError> {
    let fitting = clients.saturating_sub(saturate(misfits.len()));
    let participation = experiment::Coordinator::among(participation, fitting);
    match misfits.first() {
        Some(first) if participation.quorum > fitting => Err(RunError::TooFewFit {
            fitting,
            clients,
            quorum: participation.quorum,
            first: first.client,
            reason: first.reason.clone(),
        }),
        _ => Ok(participation),
    }
}

/// What the coordinator plays.
fn plan(
    experiment: &Experiment,
    context: &Context,
    task: Task,
    (client_count, participation): (u32, Participation),
    resume: Option<Resume>,
) -> Result<Plan, RunError> {
    let trial = context.trial.as_ref();
    Ok(Plan {
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
    })
}

/// Whether so many devices can be started, and observed as it was asked for.
fn check_fleet(experiment: &Experiment, context: &Context, devices: usize) -> Result<(), RunError> {
    if devices > 0 {
        host::check_room(devices)?;
    }
    let fleet = context.fleet.as_ref();
    if let Some(capture) = fleet.and_then(|fleet| fleet.capture.as_ref()) {
        capture.check(devices)?;
        if experiment.network == Network::Bridge {
            return Err(CaptureRequestError::Bridge.into());
        }
    }
    if let Some(device) = fleet.and_then(|fleet| fleet.debugged) {
        host::debugger_socket(device, devices, &context.folder)?;
    }
    Ok(())
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
            LateUpdates::Drop => Staleness::default(),
            LateUpdates::Use {
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
            OnFailedRound::End => 0,
            OnFailedRound::Continue { failed_rounds_max } => failed_rounds_max,
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
