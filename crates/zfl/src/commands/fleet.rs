//! `zfl fleet`

use std::net::{SocketAddr, ToSocketAddrs};

use tokio::sync::{broadcast, mpsc, watch};
use zfl_lab::experiment::{Counting, Link};
use zfl_lab::firmware::FirmwareSource;
use zfl_lab::host::{FleetHost, FleetNetwork, FleetPlan, HostError, make_folders};
use zfl_lab::kind::{Kind, KindError};
use zfl_machine::{Board, FleetProgress, LinkProfile, Mcu, board};

use super::run::interruption;
use super::{Done, Failure, firmware, launcher, next_folder, runtime};
use crate::arguments::FleetArguments;

/// Console events that may wait; nobody reads them here.
const EVENTS_MAX: usize = 64;

/// Why a fleet was stopped.
enum Ended {
    CoordinatorGone,
    Interrupted,
}

/// `zfl fleet`
pub(crate) fn fleet(arguments: &FleetArguments) -> Done {
    let firmware = firmware(arguments.firmware_dir.as_deref());
    let kind = kind(arguments, &firmware).map_err(|error| Failure::run(&error))?;
    let link = LinkProfile::named(&arguments.link)
        .map_err(|error| Failure::Usage(format!("--link: {error}")))?;
    let port = Link::from(&link).port_options();
    let count = usize::try_from(arguments.count).unwrap_or(usize::MAX);
    let folder = arguments
        .out
        .clone()
        .unwrap_or_else(|| next_folder("fleet"));
    make_folders(&folder)
        .map_err(|error| Failure::Run(format!("failed to make {}: {error}", folder.display())))?;
    let (notices, mut notice) = mpsc::unbounded_channel();
    let plan = FleetPlan {
        devices: vec![kind; count],
        ports: vec![port; count],
        seed: arguments.seed,
        coordinator: address(&arguments.coordinator)?,
        fleet_key: arguments.key,
        network: FleetNetwork::Switch,
        capture: None,
        firmware,
        launcher: launcher()?,
        folder: folder.clone(),
        counting: Counting::default(),
        boot_deadline: std::time::Duration::from_secs(60),
        ready_deadline: std::time::Duration::from_secs(120),
        began: std::time::Instant::now(),
        debugged: None,
        notices,
    };
    let hosted: Result<Ended, HostError> = runtime()?.block_on(async {
        let (progress, _) = watch::channel(FleetProgress::default());
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let (losses, mut lost) = mpsc::unbounded_channel();
        let coordinator = plan.coordinator;
        let mut interrupted = std::pin::pin!(interruption());
        let host = tokio::select! {
            host = FleetHost::start(plan, &progress, &events, &losses) => host?,
            () = &mut interrupted => return Ok(Ended::Interrupted),
        };
        say!(
            "{count} devices take part at http://{coordinator}; logs in {}",
            folder.display()
        );
        let why = loop {
            tokio::select! {
                Some((client, reason)) = lost.recv() => {
                    complain!("warning: client {client}: {reason}");
                }
                Some(text) = notice.recv() => say!("{text}"),
                () = host.coordinator_gone() => break Ended::CoordinatorGone,
                () = &mut interrupted => break Ended::Interrupted,
            }
        };
        host.stop().await?;
        Ok(why)
    });
    match hosted.map_err(|error| Failure::run(&error))? {
        Ended::CoordinatorGone => {
            say!("stopped: the coordinator has ended");
            Ok(())
        }
        Ended::Interrupted => Err(Failure::Interrupted(format!(
            "interrupted; logs are in {}",
            folder.display()
        ))),
    }
}

/// What the devices are.
fn kind(arguments: &FleetArguments, firmware: &FirmwareSource) -> Result<Kind, KindError> {
    let mcu = arguments.mcu.as_deref().map(Mcu::find).transpose()?;
    let of_mcu = mcu.as_ref().map(|mcu| mcu.board.as_str());
    let board = of_mcu.or(arguments.board.as_deref());
    let board = Board::find(board.unwrap_or(board::DEFAULT_NAME))?;
    Kind::find(board, mcu, None, firmware)
}

/// The address in a URL `http://host:port`.
fn address(url: &str) -> Result<SocketAddr, Failure> {
    let wrong = |why: &str| {
        Failure::Usage(format!(
            "--coordinator `{url}`: {why}; expected http://HOST:PORT"
        ))
    };
    let host = url
        .strip_prefix("http://")
        .ok_or_else(|| wrong("does not begin with http://"))?
        .trim_end_matches('/');
    host.to_socket_addrs()
        .map_err(|error| wrong(&error.to_string()))?
        .next()
        .ok_or_else(|| wrong("no such host"))
}
