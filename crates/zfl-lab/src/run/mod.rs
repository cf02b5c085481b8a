//! One execution of an experiment: wires data, coordinator, fleet and records.
//!
//! - `prepare` is all that is done before anything is started; `data` and `fleet`
//!   are its halves, `resumed` is what a run goes on from.
//! - `course` plays it, `recorder` writes down what happens, with `traffic` at hand.
//! - `progress` is what a display is told, `summary` and `error` are how it ends.

mod course;
mod data;
mod error;
mod fleet;
mod prepare;
mod progress;
mod recorder;
mod resumed;
mod summary;
mod traffic;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::pin;

use tokio::sync::mpsc;
use zfl_data::SearchPath;
use zfl_machine::LauncherProgram;
use zfl_net::AddressPlan;
use zfl_net::bridge::Bridge;
use zfl_server::Coordinator;
pub use zfl_server::{Fit, Quality};

use self::course::{AbortOnDrop, Course, channels, fleet_plan};
pub(crate) use self::data::data_name;
pub use self::data::{load, partition};
pub use self::error::RunError;
pub(crate) use self::fleet::check_devices;
pub(crate) use self::prepare::policy;
use self::prepare::{Prepared, prepare};
pub use self::progress::Progress;
use self::recorder::Recorder;
use self::resumed::Resumed;
pub use self::summary::{DeviceCounts, DeviceFailure, EmulatorUsage, Misfit, Summary};
use crate::capture::CaptureRequest;
use crate::cpu::CpuTime;
use crate::experiment::{self, Experiment};
use crate::firmware::FirmwareSource;
use crate::host::{FleetNetwork, HostError};
use crate::records::{RecordError, RunFolder};
pub use crate::state::ResumeError;
use crate::state::State;

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
    let Prepared {
        coordinator,
        events,
        resumed,
        shares,
        participants,
        has_remote,
        misfits,
        devices,
        ports,
    } = prepare(experiment, &context)?;
    let (mut address, network) = meeting_place(experiment, context.listen, devices.len())?;
    let listener = match has_remote {
        false => None,
        true => Some(Coordinator::listen(address).await?),
    };
    // Only now: a folder that is left behind would be in the way of the same
    // command once what was wrong is mended.
    let opened = open(resumed, &context.folder, experiment)?;
    opened.0.partition(&shares)?;
    drop(shares);
    let (told, heard) = channels(devices.len());
    let mut recorder = Recorder::new(
        experiment,
        participants,
        &coordinator,
        opened,
        progress,
        told.device_events.subscribe(),
        told.hangs.clone(),
    );
    if let Some(trial) = &context.trial {
        recorder.pause_after(trial.rounds_until);
    }
    let readings = recorder.readings();
    coordinator.on_round_over(move |round| readings.read(round));
    if context.is_resumed {
        recorder.resumed()?;
        if recorder.is_over() {
            // It was cut off before it could say so.
            return recorder.finish(&Ok(())).await;
        }
    }
    recorder.leave_out(misfits);
    recorder.warn_of_native(experiment);
    let server = match listener {
        Some(listener) => {
            address = listener.local_addr().unwrap_or(address);
            recorder.listening(address, context.fleet.is_none())?;
            Some(AbortOnDrop::spawn(coordinator.serve(listener)))
        }
        None => {
            recorder.began();
            None
        }
    };
    let fleet = context.fleet.filter(|_| !devices.is_empty());
    let place = (address, network);
    let plan =
        fleet.map(|fleet| fleet_plan(experiment, fleet, (devices, ports), place, &recorder, &told));
    let mut course = Course::start(recorder, coordinator, events, plan, told, heard);
    let ended = course.follow(pin!(interrupted)).await?;
    course.settle(&ended).await?;
    let summary = course.recorder.finish(&ended).await;
    drop(server);
    // Why the run ended matters more than why its end could not be recorded.
    ended?;
    summary
}

/// The folder of the run, and what the run goes on from.
fn open(
    resumed: Option<Resumed>,
    folder: &Path,
    experiment: &Experiment,
) -> Result<(RunFolder, Option<State>), RecordError> {
    match resumed {
        Some(Resumed { folder, state, .. }) => Ok((folder, state)),
        None => Ok((RunFolder::create(folder, &experiment.to_toml())?, None)),
    }
}

/// Where coordinator and devices meet.
fn meeting_place(
    experiment: &Experiment,
    listen: Option<SocketAddr>,
    devices: usize,
) -> Result<(SocketAddr, FleetNetwork), HostError> {
    if experiment.network == experiment::Network::Bridge && devices > 0 {
        // The coordinator's address exists only once the bridge does.
        let plan = AddressPlan::for_fleet(devices)?;
        let bridge = Bridge::set_up(plan, experiment.seed)?;
        let address = SocketAddr::V4(bridge.coordinator());
        return Ok((address, FleetNetwork::Bridge(bridge)));
    }
    let loopback = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), experiment.coordinator.port);
    Ok((listen.unwrap_or(loopback), FleetNetwork::Switch))
}
