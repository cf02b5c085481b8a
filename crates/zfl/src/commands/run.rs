//! `zfl run` and `zfl serve`.

use std::ffi::OsString;
use std::future::Future;
use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use zfl_lab::experiment::{Experiment, Fidelity, Network};
use zfl_lab::run::{Context, FleetContext, RunError};
use zfl_machine::Board;
use zfl_net::bridge;

use super::dashboard::RunDashboard;
use super::export::LiveEvents;
use super::{Done, Failure, export, firmware, launcher, next_folder, report, runtime, search_path};
use crate::arguments::{self, ExperimentArguments, PlayArguments, RunArguments, ServeArguments};
use crate::display::{Display, Manner};

/// `zfl run`
pub(crate) fn run(arguments: &RunArguments) -> Done {
    let play_arguments = &arguments.play;
    let mut experiment = read_played(play_arguments, &[])?;
    if let Some(fidelity) = arguments.fidelity {
        experiment.set_fidelity(match fidelity {
            arguments::Fidelity::Emulated => Fidelity::Emulated,
            arguments::Fidelity::Native => Fidelity::Native,
        });
    }
    let has_devices = experiment.device_boards().next().is_some();
    if experiment.network == Network::Bridge && has_devices && !bridge::is_inside() {
        // The same command again, in a namespace; comes back only to fail.
        let again: Vec<OsString> = std::env::args_os().skip(1).collect();
        return Err(Failure::run(&bridge::reexec(again)));
    }
    let context = Context {
        folder: folder(play_arguments, &experiment),
        is_resumed: play_arguments.resume.is_some(),
        search_path: search_path(&play_arguments.data),
        clients: None,
        listen: None,
        fleet: Some(FleetContext {
            firmware: firmware(arguments.firmware_dir.as_deref()),
            launcher: launcher()?,
            capture: arguments.capture.request(),
            debugged: arguments.gdb,
        }),
        threads: arguments.threads.count(),
        trial: None,
    };
    play(&experiment, context, &arguments.play)
}

/// `zfl serve`
pub(crate) fn serve(arguments: &ServeArguments) -> Done {
    let mut sets = Vec::new();
    let mut set = |key: &str, value: Option<u32>| {
        sets.extend(value.map(|value| format!("{key}={value}")));
    };
    set("rounds", arguments.rounds);
    set("coordinator.clients-per-round", arguments.clients_per_round);
    set("training.epochs", arguments.epochs);
    set("training.batch-size", arguments.batch_size);
    if arguments.clients.is_some() {
        // The fleet is somebody else's; so is what depends on its size.
        sets.push("fleet=[]".to_owned());
    }
    let experiment = read_played(&arguments.play, &sets)?;
    let context = Context {
        folder: folder(&arguments.play, &experiment),
        is_resumed: arguments.play.resume.is_some(),
        search_path: search_path(&arguments.play.data),
        clients: arguments.clients,
        listen: Some(arguments.listen),
        fleet: None,
        threads: arguments.threads.count(),
        trial: None,
    };
    play(&experiment, context, &arguments.play)
}

/// Reads the experiment that is played, with changes and more; that of a run
/// that is resumed is in its folder.
fn read_played(arguments: &PlayArguments, more: &[String]) -> Result<Experiment, Failure> {
    match (&arguments.resume, &arguments.file) {
        (Some(folder), _) => {
            let file = folder.join("experiment.toml");
            // Not a complaint about a file that nobody has named.
            match file.is_file() {
                true => read_file(&file, &[]),
                false => Err(Failure::Usage(format!(
                    "{} is not the folder of a run: it has no experiment.toml",
                    folder.display()
                ))),
            }
        }
        (None, Some(file)) => read_file(file, &[arguments.sets.as_slice(), more].concat()),
        (None, None) => Err(Failure::Usage("name an experiment file".to_owned())),
    }
}

/// Reads the experiment, with changes and more.
pub(super) fn read(
    arguments: &ExperimentArguments,
    more: &[String],
) -> Result<Experiment, Failure> {
    read_file(&arguments.file, &[arguments.sets.as_slice(), more].concat())
}

/// Reads an experiment, with changes.
pub(super) fn read_file(file: &Path, sets: &[String]) -> Result<Experiment, Failure> {
    let names: Vec<&str> = Board::names().collect();
    Ok(Experiment::from_file(file, sets, &names)?)
}

/// Reads an experiment that is no file; errors call it `name`.
pub(super) fn read_text(text: &str, name: &str) -> Result<Experiment, Failure> {
    let names: Vec<&str> = Board::names().collect();
    Ok(Experiment::parse(text, name, &[], &names)?)
}

fn folder(arguments: &PlayArguments, experiment: &Experiment) -> std::path::PathBuf {
    match arguments.resume.as_ref().or(arguments.out.as_ref()) {
        Some(folder) => folder.clone(),
        None => next_folder(&experiment.name),
    }
}

fn play(experiment: &Experiment, context: Context, arguments: &PlayArguments) -> Done {
    let output = &arguments.output;
    let manner = Manner::from(output);
    let (is_serving, path) = (context.fleet.is_none(), context.folder.clone());
    let runtime = runtime()?;
    let dashboard = match arguments.dashboard {
        Some(address) => Some(
            runtime
                .block_on(RunDashboard::start(address, &path))
                .map_err(|error| Failure::run(&error))?,
        ),
        None => None,
    };
    let (played, events) = runtime.block_on(async {
        let (progress, mut receiver) = mpsc::unbounded_channel();
        let mut events = None;
        if output.tensorboard {
            let (live, shown) = LiveEvents::start(path.clone(), receiver);
            (events, receiver) = (Some(live), shown);
        }
        let clients = context.clients.unwrap_or(experiment.fleet_size());
        let mut display = Display::new(manner, experiment, clients, is_serving);
        let shown = tokio::spawn(async move {
            display.follow(receiver).await;
            display
        });
        let played = zfl_lab::run::run(experiment, context, progress, interruption()).await;
        if let Ok(mut display) = shown.await {
            display.end();
        }
        if let Some(dashboard) = dashboard {
            dashboard.end().await;
        }
        let events = match events {
            Some(events) => events.end().await,
            None => None,
        };
        (played, events)
    });
    // A folder in which this run did not begin may be another's.
    let mut report = None;
    if played.as_ref().err().is_none_or(RunError::can_go_on) {
        export::at_the_end(&path, output.tensorboard, events, manner);
        report = report::at_the_end(&path, manner);
    }
    let summary = played.map_err(|error| {
        manner.fail(&path, &error.to_string());
        let (can_go_on, mut failure) = (error.can_go_on(), Failure::from(error));
        if can_go_on {
            let command = if is_serving { "serve" } else { "run" };
            failure.add(&format!(
                "go on with: zfl {command} --resume {}",
                path.display()
            ));
        }
        failure
    })?;
    manner.end(&summary);
    if let Some(report) = report {
        manner.report(&report);
    }
    Ok(())
}

/// Ends with the first Ctrl-C, SIGTERM or SIGHUP.
pub(super) fn interruption() -> impl Future<Output = ()> {
    let streams = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ]
    .map(|kind| signal(kind).ok());
    async move {
        let [mut interrupt, mut terminate, mut hangup] = streams;
        tokio::select! {
            () = wait(&mut interrupt) => {}
            () = wait(&mut terminate) => {}
            () = wait(&mut hangup) => {}
        }
    }
}

/// A signal that cannot be listened for ends zfl the system's way.
async fn wait(stream: &mut Option<tokio::signal::unix::Signal>) {
    match stream {
        Some(stream) => {
            stream.recv().await;
        }
        None => std::future::pending().await,
    }
}
