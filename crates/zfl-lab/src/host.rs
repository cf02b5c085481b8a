//! The fleet host: devices, their network, and their place at a coordinator.
//!
//! It meets the coordinator over HTTP only, so that the two can run in one
//! process, in two, or on two machines.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;
use zfl_machine::board::InstructionCounting;
use zfl_machine::console::DeviceEvent;
use zfl_machine::fleet::FleetError;
use zfl_machine::limits::{self, RoomError};
use zfl_machine::machine::{Consoles, Deadlines, MachineReport, MachineState};
use zfl_machine::usage::Usage;
use zfl_machine::{
    Fleet, FleetMember, FleetProgress, FleetSettings, Launcher, LauncherProgram, MachineError,
    MachineSpec, Nic, Ram,
};
use zfl_net::address::AddressPlanError;
use zfl_net::bridge::{Bridge, BridgeError};
use zfl_net::capture::CaptureFile;
use zfl_net::network::Tap;
use zfl_net::switch::PortOptions;
use zfl_net::{
    AddressPlan, Capture, CaptureError, CaptureOptions, CaptureReport, MacAddress, Network,
    NetworkError, NetworkOptions,
};
use zfl_proto::Token;
use zfl_proto::console::RunOptions;
use zfl_server::{FleetAnswer, FleetDevice, FleetRequest};

use crate::attach::ConsoleSocket;
use crate::crashes::{self, CrashFiles, Failure};
use crate::director::Director;
use crate::experiment::Counting;
use crate::faults::Injector;
use crate::firmware::{FirmwareError, FirmwareSource};
use crate::kind::Kind;
use crate::traffic::{self, Frames, Seen};

/// A call to the coordinator takes no longer.
const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// Calls to the coordinator at a time.
const CALLS_MAX: usize = 16;

/// So long the coordinator is told that devices were stopped.
const TELL_DEADLINE: Duration = Duration::from_secs(2);

/// Devices that may start at once where links are what takes the time.
const STARTING_BEHIND_LINKS_MAX: usize = 64;

/// So long devices that were late may take to show that they do not hang.
const SETTLE_DEADLINE: Duration = Duration::from_secs(25);

/// How often it is looked whether a device waits for its debugger.
const DEBUGGER_PERIOD: Duration = Duration::from_millis(20);

/// The address of a Unix socket has no more bytes.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// How often a fleet host looks whether its coordinator is still there.
const STATUS_PERIOD: Duration = Duration::from_secs(1);

/// An instruction takes 2 to this of nanoseconds by the clocks of devices: more
/// than two ticks of them, so that the device knows its instructions exactly.
const INSTRUCTION_SHIFT: u8 = 7;

/// What a fleet host is to start.
pub struct FleetPlan {
    /// What each device is.
    pub devices: Vec<Kind>,
    /// What lies between each and the switch; the usual port where there is
    /// none. A bridge has no such thing.
    pub ports: Vec<PortOptions>,
    /// The seed of the MAC addresses and of what links leave to chance.
    pub seed: u64,
    /// The coordinator's address on this host.
    pub coordinator: SocketAddr,
    /// The secret that lets it bring devices.
    pub fleet_key: Token,
    /// How the devices are connected.
    pub network: FleetNetwork,
    /// What is captured of it, where it is a switch.
    pub capture: Option<CaptureOptions>,
    /// Where firmware images come from.
    pub firmware: FirmwareSource,
    /// How this program starts machines.
    pub launcher: LauncherProgram,
    /// Where console logs and images go.
    pub folder: PathBuf,
    /// Whether their instructions are counted.
    pub counting: Counting,
    /// From the start of a device to its prompt.
    pub boot_deadline: Duration,
    /// From the `run` command until a device has its data.
    pub ready_deadline: Duration,
    /// The first round that will be played.
    pub first_round: u32,
    /// Makes devices go wrong, if any are to.
    pub faults: Option<Injector>,
    /// When the run began, for crash files.
    pub began: Instant,
    /// The device that waits for a debugger before its first instruction.
    pub debugged: Option<u32>,
    /// What people are told besides: how to reach that device, say.
    pub notices: mpsc::UnboundedSender<String>,
}

/// Checks that this host has room for so many devices, and raises the limit on
/// open files as far as it may.
///
/// # Errors
/// What there is too little of, with the command that gives more.
pub fn check_room(devices: usize) -> Result<(), HostError> {
    let descriptors = FleetSettings::default().descriptors_needed(devices);
    Ok(limits::ensure_room(devices, descriptors)?)
}

/// How devices are connected to the coordinator.
pub enum FleetNetwork {
    /// By the switch in user space.
    Switch,
    /// By a Linux bridge and taps, in a network namespace of the run.
    Bridge(Bridge),
}

/// Why a fleet could not be started.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Too many devices for the addresses, or none.
    #[error(transparent)]
    Addresses(#[from] AddressPlanError),
    /// No image for a board.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// Too many devices for what this host allows or has.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// No virtual network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// No capture.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// No bridge.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    /// There is no such device to debug.
    #[error("--gdb {device}: there is no such device, the run emulates {count}, counted from 0")]
    NoSuchDevice {
        /// Which.
        device: u32,
        /// How many there are.
        count: usize,
    },
    /// A debugger could not reach it.
    #[error(
        "--gdb: the path of the debugger's socket has {bytes} bytes, the system allows \
         {SOCKET_PATH_BYTES_MAX}: name a folder with a shorter path with --out ({})",
        path.display()
    )]
    SocketPath {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// A socket of an earlier run is in the way.
    #[error("failed to remove {}: {source}", path.display())]
    DebuggerSocket {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The launcher's thread cannot be had.
    #[error("failed to start the launcher of machines: {0}")]
    Launcher(std::io::Error),
    /// There is no memory that outlives a device.
    #[error("failed to get memory that outlives a device: {0}")]
    Ram(std::io::Error),
    /// The devices could not be started.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The devices could not be stopped.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The coordinator does not answer.
    #[error("failed to reach the coordinator at {coordinator}: {source}")]
    Coordinator {
        /// Where it should be.
        coordinator: SocketAddr,
        /// Why not.
        source: reqwest::Error,
    },
    /// The coordinator does not take the fleet.
    #[error("the coordinator at {coordinator} refuses the fleet ({status}): {reason}")]
    Refused {
        /// Where it is.
        coordinator: SocketAddr,
        /// The HTTP status.
        status: u16,
        /// What it says.
        reason: String,
    },
    /// The coordinator gave a token that is none.
    #[error("the coordinator at {coordinator} gave client {client} a token that is none")]
    BadToken {
        /// Where it is.
        coordinator: SocketAddr,
        /// Whose.
        client: u32,
    },
}

/// The virtual network of either kind.
pub(crate) enum Wire {
    Switch(Network),
    Bridge(Bridge),
}

impl Wire {
    /// A device's end, to boot it again. `None` when the network has failed,
    /// which its own end tells.
    pub(crate) fn attach(&self, device: usize) -> Option<Nic> {
        match self {
            Self::Switch(network) => network.attach(device).ok().map(Nic::Socket),
            Self::Bridge(bridge) => bridge.tap(device).map(|interface| Nic::Tap { interface }),
        }
    }

    /// Nobody is there any more. A tap knows by itself.
    pub(crate) fn detach(&self, device: usize) {
        if let Self::Switch(network) = self {
            // Fails with the whole network only.
            let _ = network.detach(device);
        }
    }

    /// Takes a device's link down or up.
    pub(crate) fn set_link(&self, device: usize, is_up: bool) {
        if let Self::Switch(network) = self {
            // Fails with the whole network only.
            let _ = network.set_link(device, is_up);
        }
    }
}

/// Tells the traffic of a fleet's devices.
pub struct Meter {
    /// Gone with the fleet.
    wire: Weak<Wire>,
    clients: Vec<u32>,
}

impl Meter {
    /// What was seen of each client's device since the network began, and the
    /// round-trip times since this was last called; nothing once the network
    /// has ended.
    pub fn read(&self) -> BTreeMap<u32, Seen> {
        let wire = self.wire.upgrade();
        let seen: Vec<Seen> = match wire.as_deref() {
            None => Vec::new(),
            Some(Wire::Switch(network)) => (0..self.clients.len())
                .map(|device| {
                    let counters = network.counters(device).unwrap_or_default();
                    Seen {
                        frames: Frames::new(counters.to_device, counters.from_device),
                        wire: Some(traffic::Wire {
                            counters,
                            round_trips: network.take_round_trips(device),
                        }),
                    }
                })
                .collect(),
            // Counters that cannot be read count nothing: the run goes on.
            Some(Wire::Bridge(bridge)) => bridge
                .counters()
                .unwrap_or_default()
                .iter()
                .map(|tap| Seen {
                    frames: Frames::new(tap.to_device, tap.from_device),
                    wire: None,
                })
                .collect(),
        };
        self.clients.iter().copied().zip(seen).collect()
    }
}

/// A running fleet.
pub struct FleetHost {
    fleet: Arc<Fleet>,
    wire: Arc<Wire>,
    capture: Option<Capture>,
    clients: Vec<u32>,
    /// Of each device.
    boards: Vec<String>,
    http: reqwest::Client,
    coordinator: SocketAddr,
    /// Tells the coordinator of devices that have ended; ends with the host, or
    /// when the last of them has.
    teller: JoinSet<()>,
    /// The round that is open, for whoever makes devices go wrong.
    rounds: watch::Sender<u32>,
    /// Makes devices go wrong.
    director: JoinSet<()>,
    crash_files: Arc<CrashFiles>,
    /// Halted by a debugger it may be silent for as long as it likes.
    debugged: Option<u32>,
    /// Those whose consoles were asked for an answer.
    suspected: BTreeSet<u32>,
    suspicions: JoinSet<()>,
    /// Where people come to the consoles; gone with the host.
    _consoles: Option<ConsoleSocket>,
}

impl FleetHost {
    /// Starts the network, joins the coordinator, boots the devices and tells
    /// each to run. Returns when each is ready or has ended.
    ///
    /// # Errors
    /// What fails for every device. A device that fails alone is told to the
    /// coordinator and to `losses`.
    pub async fn start(
        mut plan: FleetPlan,
        progress: &watch::Sender<FleetProgress>,
        events: &broadcast::Sender<DeviceEvent>,
        losses: &mpsc::UnboundedSender<(u32, String)>,
    ) -> Result<Self, HostError> {
        let mut settings = FleetSettings::default();
        if plan
            .ports
            .iter()
            .any(|port| *port != PortOptions::default())
        {
            // They wait for their links then, and not for processors.
            settings.starting_max = settings.starting_max.max(STARTING_BEHIND_LINKS_MAX);
        }
        let count = plan.devices.len();
        let addresses = AddressPlan::for_fleet(count)?;
        check_room(count)?;
        let debugger = debugger(&plan)?;
        let images = place_images(&plan)?;
        let network = std::mem::replace(&mut plan.network, FleetNetwork::Switch);
        let ports = std::mem::take(&mut plan.ports);
        let (capture, tap) = match plan.capture.take() {
            Some(options) => {
                let (capture, tap) = start_capture(options)?;
                (Some(capture), Some(tap))
            }
            None => (None, None),
        };
        let (wire, nics) = connect(network, addresses, ports, tap, &plan)?;
        let http = http_client(plan.coordinator)?;
        let members = join(&http, &plan, &wire).await?;
        let launcher = Launcher::start(plan.launcher.clone()).map_err(HostError::Launcher)?;
        let boards = plan.devices.iter().map(|kind| kind.board.name.clone());
        let boards = boards.collect();
        let crash_files = Arc::new(CrashFiles {
            folder: plan.folder.clone(),
            seed: plan.seed,
            began: plan.began,
            devices: plan
                .devices
                .iter()
                .zip(&images)
                .map(|(kind, image)| crashes::device(kind, image))
                .collect(),
        });
        let consoles = Consoles::new(u32::try_from(count).unwrap_or(u32::MAX));
        let socket = ConsoleSocket::listen(&plan.folder, consoles.clone());
        let socket = socket.map_err(|error| {
            // As on a file system without sockets: the run needs none.
            let folder = plan.folder.display();
            let notice = format!("`zfl console` cannot reach the devices in {folder}: {error}");
            let _ = plan.notices.send(notice);
        });
        // Ends with this, once it has told.
        let mut introducer = JoinSet::new();
        if let Some((device, path)) = &debugger
            && let Some(image) = usize::try_from(*device)
                .ok()
                .and_then(|index| images.get(index))
        {
            introducer.spawn(introduce(
                *device,
                path.clone(),
                image.clone(),
                plan.notices.clone(),
            ));
        }
        let machines: Result<Vec<FleetMember>, HostError> = (0u32..)
            .zip(&plan.devices)
            .zip(nics)
            .zip(images)
            .zip(&members)
            .map(|((((device, kind), nic), firmware), (client, token))| {
                let mut member = member(&plan, addresses, device, kind, nic, firmware, *token);
                let faults = plan.faults.as_ref();
                if faults.is_some_and(|faults| faults.plan().keeps_data(*client))
                    && let Some(region) = kind.board.memory.kept
                {
                    member.machine.ram = Some(Ram::new(region).map_err(HostError::Ram)?);
                }
                member.machine.consoles = Some(consoles.clone());
                if let Some((_, socket)) = debugger.as_ref().filter(|(held, _)| *held == device) {
                    member.machine.deadlines = member.machine.deadlines.for_debugger();
                    member.machine.debugger = Some(socket.clone());
                }
                Ok(member)
            })
            .collect();
        let machines = machines?;
        let clients: Vec<u32> = members.iter().map(|(id, _)| *id).collect();
        let (ends, ended) = mpsc::unbounded_channel();
        let mut teller = JoinSet::new();
        teller.spawn(tell_losses(
            ended,
            Teller {
                clients: clients.clone(),
                http: http.clone(),
                coordinator: plan.coordinator,
                fleet_key: plan.fleet_key,
                losses: losses.clone(),
                crash_files: Arc::clone(&crash_files),
            },
        ));
        let fleet = Fleet::boot(&launcher, machines, settings, events, progress, &ends).await?;
        let (fleet, wire) = (Arc::new(fleet), Arc::new(wire));
        let rounds = watch::Sender::new(plan.first_round);
        let mut director = JoinSet::new();
        if let Some(injector) = plan.faults {
            let (fleet, wire) = (Arc::clone(&fleet), Arc::clone(&wire));
            let mut devices = Director::new(injector, clients.clone(), fleet, wire);
            // Before the first round begins.
            devices.tell_all(plan.first_round).await;
            director.spawn(devices.direct(events.subscribe(), rounds.subscribe()));
        }
        Ok(Self {
            fleet,
            wire,
            rounds,
            director,
            capture,
            clients,
            boards,
            http,
            coordinator: plan.coordinator,
            teller,
            crash_files,
            debugged: plan.debugged,
            suspected: BTreeSet::new(),
            suspicions: JoinSet::new(),
            _consoles: socket.ok(),
        })
    }

    /// A client has not done its part of a round in time, as `reason` says. If
    /// its device does not answer at its console either, it hangs: then it gets
    /// a crash file, and `hangs` is told. Once for each client.
    pub fn suspect(
        &mut self,
        client: u32,
        reason: &str,
        hangs: &mpsc::UnboundedSender<(u32, String)>,
    ) {
        let place = self.clients.iter().position(|known| *known == client);
        let machine = place.and_then(|place| self.fleet.machine(place));
        let Some(machine) = machine.filter(|machine| !machine.state().is_final()) else {
            return;
        };
        if self.debugged == Some(machine.device()) {
            return;
        }
        if !self.suspected.insert(client) {
            return;
        }
        let (device, silence) = (machine.device(), machine.silence());
        let crash_files = Arc::clone(&self.crash_files);
        let (reason, hangs) = (reason.to_owned(), hangs.clone());
        self.suspicions.spawn(async move {
            let Some(moments) = silence.await else {
                return;
            };
            let written = tokio::task::spawn_blocking(move || {
                let failure = Failure::Silence {
                    reason: &reason,
                    moments: &moments,
                };
                crash_files.write(device, &failure)
            });
            if let Ok(told) = written.await {
                // The run may be over.
                let _ = hangs.send((client, told));
            }
        });
    }

    /// Waits until it is known of each device that was late whether it hangs.
    pub async fn settle(&mut self) {
        let all = async { while self.suspicions.join_next().await.is_some() {} };
        // Who does not know by then never will.
        let _ = tokio::time::timeout(SETTLE_DEADLINE, all).await;
    }

    /// The clients' numbers, in the order of the devices.
    pub fn clients(&self) -> &[u32] {
        &self.clients
    }

    /// Says that a round begins.
    pub(crate) fn round_began(&self, round: u32) {
        self.rounds.send_replace(round);
    }

    /// The client and the board of each device, in order.
    pub fn devices(&self) -> impl Iterator<Item = (u32, &str)> {
        let boards = self.boards.iter().map(String::as_str);
        self.clients.iter().copied().zip(boards)
    }

    /// What tells the traffic of the devices, from any thread.
    pub fn meter(&self) -> Meter {
        Meter {
            wire: Arc::downgrade(&self.wire),
            clients: self.clients.clone(),
        }
    }

    /// Ends when the coordinator has ended: it does not answer three times in
    /// a row.
    pub async fn coordinator_gone(&self) {
        let mut silent = 0;
        while silent < 3 {
            tokio::time::sleep(STATUS_PERIOD).await;
            let url = format!("http://{}/status", self.coordinator);
            silent = match self.http.get(url).send().await {
                Ok(_) => 0,
                Err(_) => silent + 1,
            };
        }
    }

    /// What each emulator uses; samples the memory of those whose clients
    /// `is_sampled` chooses.
    pub async fn usage(&self, is_sampled: impl Fn(u32) -> bool) -> Vec<Usage> {
        let client = |place: usize| self.clients.get(place).copied();
        let is_sampled = |place| client(place).is_some_and(&is_sampled);
        self.fleet.usage(is_sampled).await
    }

    /// Stops all devices and their network.
    ///
    /// # Errors
    /// When the event loop shuts down meanwhile.
    pub async fn stop(mut self) -> Result<Stopped, HostError> {
        // Nothing is to be booted again now.
        self.director.shutdown().await;
        let machines = self.fleet.stop().await?;
        // And with it the last who could tell of an end.
        drop(self.fleet);
        // Whoever ends now would cut them off, and leave the coordinator to
        // wait for its deadlines. One that is gone itself refuses them at once.
        let _ = tokio::time::timeout(TELL_DEADLINE, self.teller.join_all()).await;
        // Nobody else has it since the director is gone.
        if let Some(Wire::Switch(network)) = Arc::into_inner(self.wire) {
            network.shutdown()?;
        }
        let capture = match self.capture {
            // It may have much to write.
            Some(capture) => tokio::task::spawn_blocking(|| capture.finish()).await.ok(),
            None => None,
        };
        Ok(Stopped { machines, capture })
    }
}

/// What a fleet leaves behind.
pub struct Stopped {
    /// What each machine used.
    pub machines: Vec<MachineReport>,
    /// What was captured; `None` where nothing was to be.
    pub capture: Option<CaptureReport>,
}

/// Where a debugger comes to a device of so many, for which a run in `folder` is
/// to hold it.
///
/// # Errors
/// When there is no such device, or the path of the socket is too long.
pub fn debugger_socket(device: u32, count: usize, folder: &Path) -> Result<PathBuf, HostError> {
    if usize::try_from(device).is_ok_and(|device| device >= count) {
        return Err(HostError::NoSuchDevice { device, count });
    }
    let path = folder.join(format!("gdb-{device:03}.sock"));
    let bytes = path.as_os_str().len();
    if bytes > SOCKET_PATH_BYTES_MAX {
        return Err(HostError::SocketPath { path, bytes });
    }
    Ok(path)
}

/// The device that is held for a debugger, and where that comes to it.
fn debugger(plan: &FleetPlan) -> Result<Option<(u32, PathBuf)>, HostError> {
    let Some(device) = plan.debugged else {
        return Ok(None);
    };
    let path = debugger_socket(device, plan.devices.len(), &plan.folder)?;
    // Of a run that was resumed.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(HostError::DebuggerSocket {
                path,
                source: error,
            })
        }
        _ => Ok(Some((device, path))),
    }
}

/// Says how to reach the device that is held for a debugger, once it waits.
async fn introduce(
    device: u32,
    socket: PathBuf,
    image: PathBuf,
    notices: mpsc::UnboundedSender<String>,
) {
    // Its turn to start may come late, and its emulator makes the socket.
    while !socket.exists() {
        tokio::time::sleep(DEBUGGER_PERIOD).await;
    }
    let command = format!(
        "gdb-multiarch {} -ex 'target remote {}'",
        image.display(),
        socket.display()
    );
    let notice = format!("device {device} waits for a debugger: {command}");
    // Who does not listen does not debug.
    let _ = notices.send(notice);
}

fn http_client(coordinator: SocketAddr) -> Result<reqwest::Client, HostError> {
    reqwest::Client::builder()
        .no_proxy()
        // The coordinator closes those that are idle, perhaps just when one is
        // used again.
        .pool_max_idle_per_host(0)
        .timeout(CALL_DEADLINE)
        .build()
        .map_err(|source| HostError::Coordinator {
            coordinator,
            source,
        })
}

/// An image for each device; each board's is written once.
fn place_images(plan: &FleetPlan) -> Result<Vec<PathBuf>, HostError> {
    let folder = plan.folder.join("firmware");
    let mut placed: Vec<(&str, PathBuf)> = Vec::new();
    let mut images = Vec::new();
    for Kind { board, .. } in &plan.devices {
        let known = placed.iter().find(|(name, _)| *name == board.name);
        let image = match known {
            Some((_, image)) => image.clone(),
            None => {
                let image = plan.firmware.place(board, &folder)?;
                placed.push((&board.name, image.clone()));
                image
            }
        };
        images.push(image);
    }
    Ok(images)
}

/// Opens the files of a capture, in folders that are made for them.
fn start_capture(options: CaptureOptions) -> Result<(Capture, Tap), CaptureError> {
    for CaptureFile { path, .. } in &options.files {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| CaptureError::Write {
                path: folder.to_owned(),
                source,
            })?;
        }
    }
    Capture::start(options)
}

/// The network, and each device's end of it.
fn connect(
    network: FleetNetwork,
    addresses: AddressPlan,
    ports: Vec<PortOptions>,
    tap: Option<Tap>,
    plan: &FleetPlan,
) -> Result<(Wire, Vec<Nic>), HostError> {
    match network {
        FleetNetwork::Switch => {
            let options = NetworkOptions {
                ports,
                tap,
                ..NetworkOptions::new(addresses, plan.seed, plan.coordinator)
            };
            let (network, ends) = Network::start(options)?;
            let nics = ends.into_iter().map(Nic::Socket).collect();
            Ok((Wire::Switch(network), nics))
        }
        FleetNetwork::Bridge(bridge) => {
            let nics = (0..addresses.devices())
                .map_while(|device| bridge.tap(device))
                .map(|interface| Nic::Tap { interface })
                .collect();
            Ok((Wire::Bridge(bridge), nics))
        }
    }
}

/// Where the coordinator reaches a device.
fn endpoint(wire: &Wire, device: usize) -> Option<SocketAddr> {
    match wire {
        Wire::Switch(network) => network.endpoint(device),
        Wire::Bridge(bridge) => bridge.endpoint(device),
    }
}

/// Claims the devices' places at the coordinator.
async fn join(
    http: &reqwest::Client,
    plan: &FleetPlan,
    wire: &Wire,
) -> Result<Vec<(u32, Token)>, HostError> {
    let coordinator = plan.coordinator;
    let failed = |source| HostError::Coordinator {
        coordinator,
        source,
    };
    let devices = plan
        .devices
        .iter()
        .enumerate()
        .map(|(device, kind)| FleetDevice {
            board: kind.board.name.clone(),
            endpoint: endpoint(wire, device)
                .map(|endpoint| endpoint.to_string())
                .unwrap_or_default(),
        })
        .collect();
    let body = serde_json::to_vec(&FleetRequest { devices }).unwrap_or_default();
    let response = http
        .post(format!("http://{coordinator}/fleet"))
        .bearer_auth(plan.fleet_key)
        .header("content-type", zfl_proto::http::MEDIA_TYPE_JSON)
        .body(body)
        .send()
        .await
        .map_err(failed)?;
    let status = response.status();
    let answer = response.bytes().await.map_err(failed)?;
    let refused = |reason: String| HostError::Refused {
        coordinator,
        status: status.as_u16(),
        reason,
    };
    if !status.is_success() {
        return Err(refused(String::from_utf8_lossy(&answer).into_owned()));
    }
    let answer: FleetAnswer =
        serde_json::from_slice(&answer).map_err(|error| refused(error.to_string()))?;
    answer
        .clients
        .into_iter()
        .map(|member| {
            let token = member.token.parse().map_err(|_| HostError::BadToken {
                coordinator,
                client: member.id,
            })?;
            Ok((member.id, token))
        })
        .collect()
}

fn member(
    plan: &FleetPlan,
    addresses: AddressPlan,
    device: u32,
    kind: &Kind,
    nic: Nic,
    firmware: PathBuf,
    token: Token,
) -> FleetMember {
    let index = usize::try_from(device).unwrap_or(usize::MAX);
    let mac = MacAddress::for_device(plan.seed, index).unwrap_or(MacAddress::BROADCAST);
    let run = addresses.device(index).map(|address| RunOptions {
        address,
        prefix_bits: addresses.prefix_length(),
        coordinator: addresses.coordinator(),
        token,
        instruction_ns: match plan.counting {
            Counting::Instructions => Some(1 << INSTRUCTION_SHIFT),
            Counting::Off => None,
        },
        arena_bytes: kind.arena_limit_bytes(),
    });
    FleetMember {
        machine: MachineSpec {
            device,
            restarts: 0,
            board: kind.board.clone(),
            firmware,
            mac: zfl_machine::MacAddress(mac.0),
            console_folder: plan.folder.join("console"),
            deadlines: Deadlines {
                first_output: plan.boot_deadline,
                prompt: plan.boot_deadline,
                ready: plan.ready_deadline,
                ..Deadlines::default()
            },
            instruction_counting: match plan.counting {
                Counting::Instructions => InstructionCounting::On {
                    shift: INSTRUCTION_SHIFT,
                },
                Counting::Off => InstructionCounting::Off,
            },
            consoles: None,
            debugger: None,
            ram: None,
        },
        nic,
        run,
    }
}

/// What it takes to tell of a device that has ended.
#[derive(Clone)]
struct Teller {
    clients: Vec<u32>,
    http: reqwest::Client,
    coordinator: SocketAddr,
    fleet_key: Token,
    losses: mpsc::UnboundedSender<(u32, String)>,
    crash_files: Arc<CrashFiles>,
}

/// What a device's end was, in words; of a failure with its crash file.
async fn why(state: MachineState, files: Arc<CrashFiles>) -> String {
    let said = state.error().map(|error| error.to_string());
    let written = tokio::task::spawn_blocking(move || match &state {
        MachineState::Crashed(crash) => Some(files.write(crash.device, &Failure::Crash(crash))),
        MachineState::Hung(hang) => Some(files.write(hang.device, &Failure::Hang(hang))),
        _ => None,
    });
    let written = written.await.ok().flatten();
    written.or(said).unwrap_or_default()
}

/// Tells the coordinator of each device that ends, until all have.
async fn tell_losses(mut ended: mpsc::UnboundedReceiver<(usize, MachineState)>, teller: Teller) {
    let teller = Arc::new(teller);
    let mut calls = JoinSet::new();
    while let Some((device, state)) = ended.recv().await {
        let Some(client) = teller.clients.get(device).copied() else {
            continue;
        };
        while calls.len() >= CALLS_MAX {
            calls.join_next().await;
        }
        let teller = Arc::clone(&teller);
        calls.spawn(async move {
            let Teller { coordinator, .. } = *teller;
            let reason = why(state, Arc::clone(&teller.crash_files)).await;
            let _ = teller.losses.send((client, reason.clone()));
            // A coordinator that is gone need not know.
            let _ = teller
                .http
                .post(format!("http://{coordinator}/lost?id={client}"))
                .bearer_auth(teller.fleet_key)
                .body(reason)
                .send()
                .await;
        });
    }
    calls.join_all().await;
}

/// A folder for a fleet host's logs.
///
/// # Errors
/// When it cannot be made.
pub fn make_folders(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder.join("console"))?;
    std::fs::create_dir_all(folder.join("firmware"))
}
