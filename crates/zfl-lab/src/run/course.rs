//! The course of a run, from the start of its fleet to what is heard last.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinHandle};
use zfl_machine::FleetProgress;
use zfl_machine::console::DeviceEvent;
use zfl_net::CaptureOptions;
use zfl_net::switch::PortOptions;
use zfl_server::{Coordinator, CoordinatorError, Event};

use super::recorder::Recorder;
use super::{FleetContext, Progress, RunError};
use crate::experiment::Experiment;
use crate::host::{FleetHost, FleetNetwork, FleetPlan, HostError};
use crate::kind::Kind;
use crate::records::RecordError;

/// Events of devices that may wait to be recorded.
const DEVICE_EVENTS_MAX: usize = 8192;

/// A client, and what is the matter with its device.
type Failure = (u32, String);

/// Where a fleet tells its run what happens.
pub(super) struct Told {
    progress: watch::Sender<FleetProgress>,
    pub(super) device_events: broadcast::Sender<DeviceEvent>,
    losses: mpsc::UnboundedSender<Failure>,
    pub(super) hangs: mpsc::UnboundedSender<Failure>,
    capture_ended: mpsc::UnboundedSender<String>,
    notices: mpsc::UnboundedSender<String>,
}

/// Where the run hears it, besides what devices say, which the recorder hears.
pub(super) struct Heard {
    progress: watch::Receiver<FleetProgress>,
    losses: mpsc::UnboundedReceiver<Failure>,
    hangs: mpsc::UnboundedReceiver<Failure>,
    capture_ended: mpsc::UnboundedReceiver<String>,
    notices: mpsc::UnboundedReceiver<String>,
}

/// Both ends, for so many devices.
pub(super) fn channels(devices: usize) -> (Told, Heard) {
    let waiting = FleetProgress {
        waiting: devices,
        ..FleetProgress::default()
    };
    let progress = watch::channel(waiting);
    let losses = mpsc::unbounded_channel();
    let hangs = mpsc::unbounded_channel();
    let capture_ended = mpsc::unbounded_channel();
    let notices = mpsc::unbounded_channel();
    let told = Told {
        progress: progress.0,
        device_events: broadcast::Sender::new(DEVICE_EVENTS_MAX),
        losses: losses.0,
        hangs: hangs.0,
        capture_ended: capture_ended.0,
        notices: notices.0,
    };
    let heard = Heard {
        progress: progress.1,
        losses: losses.1,
        hangs: hangs.1,
        capture_ended: capture_ended.1,
        notices: notices.1,
    };
    (told, heard)
}

/// The fleet of a run, whose coordinator is at an address of a network.
pub(super) fn fleet_plan(
    experiment: &Experiment,
    fleet: FleetContext,
    (devices, ports): (Vec<Kind>, Vec<PortOptions>),
    (coordinator, network): (SocketAddr, FleetNetwork),
    recorder: &Recorder,
    told: &Told,
) -> FleetPlan {
    let folder = recorder.folder.path().to_owned();
    let capture = fleet.capture.map(|capture| {
        let ended = told.capture_ended.clone();
        CaptureOptions {
            files: capture.files(&folder, devices.len()),
            bytes_max: capture.bytes_max,
            ended: Box::new(move |error| {
                // A run that has ended need not know.
                let _ = ended.send(error.to_string());
            }),
        }
    });
    FleetPlan {
        devices,
        ports,
        seed: experiment.seed,
        coordinator,
        fleet_key: recorder.coordinator.fleet_key(),
        network,
        capture,
        firmware: fleet.firmware,
        launcher: fleet.launcher,
        folder,
        counting: experiment.time.counting,
        boot_deadline: experiment.deadlines.boot,
        ready_deadline: experiment.deadlines.ready,
        first_round: recorder.round.saturating_add(1),
        faults: (!recorder.injector.plan().is_empty()).then(|| recorder.injector.clone()),
        began: recorder.folder.began(),
        debugged: fleet.debugged,
        notices: told.notices.clone(),
    }
}

/// A run that is played.
pub(super) struct Course {
    // Ends first: when `gathered` is gone, it would begin.
    play: AbortOnDrop<Result<Arc<Vec<f32>>, CoordinatorError>>,
    /// The fleet, until all its devices are ready or have ended.
    starting: Option<AbortOnDrop<Result<FleetHost, HostError>>>,
    /// Round 1 begins when it is gone.
    gathered: Option<oneshot::Sender<()>>,
    events: mpsc::UnboundedReceiver<Event>,
    heard: Heard,
    pub(super) recorder: Recorder,
}

impl Course {
    /// Starts the fleet, and the coordinator's rounds.
    pub(super) fn start(
        recorder: Recorder,
        coordinator: Coordinator,
        events: mpsc::UnboundedReceiver<Event>,
        plan: Option<FleetPlan>,
        told: Told,
        heard: Heard,
    ) -> Self {
        let starting = plan.map(|plan| {
            AbortOnDrop::spawn(async move {
                FleetHost::start(plan, &told.progress, &told.device_events, &told.losses).await
            })
        });
        // Round 1 begins when every device is ready or has ended, so that none
        // trains against others that boot, and all are counted from its start.
        let (gathered, gathering) = oneshot::channel::<()>();
        let gathered = starting.is_some().then_some(gathered);
        let play = AbortOnDrop::spawn(async move {
            // Without devices, or when they cannot be had, the sender is gone.
            let gathered = async { gathering.await.unwrap_or_default() };
            coordinator.run_after(gathered).await
        });
        Self {
            play,
            starting,
            gathered,
            events,
            heard,
            recorder,
        }
    }

    /// Records what happens until the run ends, and says how it did. Fails when
    /// something cannot be recorded.
    pub(super) async fn follow(
        &mut self,
        mut interrupted: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Result<(), RunError>, RecordError> {
        let (recorder, heard) = (&mut self.recorder, &mut self.heard);
        loop {
            tokio::select! {
                Some(event) = self.events.recv() => recorder.take(event).await?,
                Ok(event) = recorder.device_events.recv() => recorder.device_event(&event)?,
                Some((client, reason)) = heard.losses.recv() => recorder.failed(client, reason),
                Some(reason) = heard.capture_ended.recv() => recorder.capture_ended(&reason)?,
                Some(text) = heard.notices.recv() => recorder.show(Progress::Notice(text)),
                Some((client, reason)) = heard.hangs.recv() => recorder.hung(client, reason)?,
                Ok(()) = heard.progress.changed() => {
                    let states = *heard.progress.borrow_and_update();
                    recorder.show(Progress::Fleet(states));
                }
                started = join(&mut self.starting), if self.starting.is_some() => {
                    self.starting = None;
                    match started {
                        Ok(Ok(host)) => {
                            recorder.take_device_events()?;
                            recorder.hosting(host).await?;
                            self.gathered = None;
                        }
                        Ok(Err(error)) => return Ok(Err(error.into())),
                        Err(error) => return Ok(Err(error.into())),
                    }
                }
                played = &mut self.play.0 => return Ok(match played {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) => Err(error.into()),
                    Err(error) => Err(error.into()),
                }),
                () = interrupted.as_mut() => return Ok(Err(recorder.interrupted())),
            }
        }
    }

    /// Ends what is still on its way, and records what was said before.
    pub(super) async fn settle(&mut self, ended: &Result<(), RunError>) -> Result<(), RecordError> {
        let (recorder, heard) = (&mut self.recorder, &mut self.heard);
        // Before any of them is stopped.
        recorder.devices_are(*heard.progress.borrow());
        // First: when `gathered` is gone, it would begin.
        self.play.0.abort();
        self.starting = None;
        self.gathered = None;
        while let Ok(event) = self.events.try_recv() {
            recorder.take(event).await?;
        }
        recorder.take_device_events()?;
        while let Ok(reason) = heard.capture_ended.try_recv() {
            recorder.capture_ended(&reason)?;
        }
        if !matches!(ended, Err(RunError::Interrupted { .. })) {
            recorder.settle().await;
        }
        while let Ok((client, reason)) = heard.hangs.try_recv() {
            recorder.hung(client, reason)?;
        }
        while let Ok((client, reason)) = heard.losses.try_recv() {
            recorder.failed(client, reason);
        }
        Ok(())
    }
}

/// A task that ends with whoever waits for it.
pub(super) struct AbortOnDrop<T>(JoinHandle<T>);

impl<T: Send + 'static> AbortOnDrop<T> {
    pub(super) fn spawn(task: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn join<T>(task: &mut Option<AbortOnDrop<T>>) -> Result<T, JoinError> {
    match task {
        Some(task) => (&mut task.0).await,
        None => std::future::pending().await,
    }
}
