//! The virtual network at work: a thread that moves real bytes through the
//! switch and the gateway.
//!
//! Each device has a pair of connected datagram sockets, one frame to a
//! datagram: the emulator gets one end (`-netdev dgram,local.type=fd`), the
//! network keeps the other. One thread serves all ports, the gateway's TCP/IP
//! stacks and the host's sockets; it sleeps in epoll when nothing happens.
//!
//! It is a thread of its own and no task of an async runtime, because it must
//! neither wait for nor hold up whatever else the runtime does, and because a
//! single owner of all state needs no locks.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::address::{AddressPlan, MacAddress};
use crate::counters::PortCounters;
use crate::frame::{FRAME_BYTES_MAX, Frame};
use crate::gateway::{GatewayOptions, GatewaySetup, StackClock, Station};
use crate::poller::{Events, Poller, Token, Waker};
use crate::switch::{AttachError, FrameTap, PortOptions, PortRoundTrips, Switch, SwitchOptions};
use crate::time::NetworkTime;

/// Frames read from a port before the others have their turn.
const FRAMES_PER_TURN_MAX: usize = 64;

/// The least time from one look at the clock to the next. Frames that are due
/// in between leave together, a little late, in place of a wake-up for each.
const TICK: Duration = Duration::from_micros(200);

/// Descriptors that the rest of the process may need.
const SPARE_DESCRIPTORS: u64 = 64;

/// What a network is made of.
pub struct NetworkOptions {
    /// The addresses; also says how many devices there are.
    pub plan: AddressPlan,
    /// The run's seed, from which the MAC addresses come.
    pub seed: u64,
    /// The coordinator's socket on the host.
    pub coordinator: SocketAddr,
    /// Whether devices may send frames to each other.
    pub peer_traffic: bool,
    /// Queues and links of the ports.
    pub port: PortOptions,
    /// Those of each device, in order; further devices have `port`.
    pub ports: Vec<PortOptions>,
    /// The gateway's bounds.
    pub gateway: GatewayOptions,
    /// Is shown the frames of some devices; must be quick.
    pub tap: Option<Tap>,
}

impl NetworkOptions {
    /// The usual network for a fleet and its coordinator.
    pub fn new(plan: AddressPlan, seed: u64, coordinator: SocketAddr) -> Self {
        Self {
            plan,
            seed,
            coordinator,
            peer_traffic: false,
            port: PortOptions::default(),
            ports: Vec::new(),
            gateway: GatewayOptions::default(),
            tap: None,
        }
    }
}

/// What is shown to whom.
pub struct Tap {
    /// The devices whose frames are shown.
    pub devices: Vec<usize>,
    /// Is shown them.
    pub show: FrameTap,
}

/// The network could not be started or has failed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The operating system refused something.
    #[error("the virtual network failed to {operation}: {source}")]
    System {
        /// What was attempted.
        operation: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The process may not open as many descriptors as the fleet needs.
    #[error(
        "a network of {devices} devices needs {needed} file descriptors and the limit is {limit} \
         (raise it with `ulimit -n {needed}`, or use fewer devices)"
    )]
    TooFewDescriptors {
        /// Devices of the fleet.
        devices: usize,
        /// Descriptors needed.
        needed: u64,
        /// The process's hard limit.
        limit: u64,
    },
    /// There is no such device.
    #[error("no device {device}: the network has {devices}")]
    NoSuchDevice {
        /// The device asked for.
        device: usize,
        /// How many there are.
        devices: usize,
    },
    /// The switch refused a device.
    #[error("failed to attach a device")]
    Attach(#[from] AttachError),
    /// The network's thread has ended before its time: an error of ours.
    #[error("the virtual network has stopped unexpectedly")]
    Stopped,
}

/// Names what failed.
fn failed_to<E: Into<std::io::Error>>(operation: &'static str) -> impl Fn(E) -> NetworkError {
    move |error| NetworkError::System {
        operation,
        source: error.into(),
    }
}

enum Command {
    Attach { device: usize, socket: OwnedFd },
    Detach { device: usize },
    Stop,
}

/// What other threads may read of a port.
#[derive(Default)]
struct Shared {
    counters: PortCounters,
    /// Since they were last taken.
    round_trips: PortRoundTrips,
}

type SharedCounters = Arc<[Mutex<Shared>]>;

/// A running virtual network. It stops when it is dropped.
pub struct Network {
    endpoints: Vec<SocketAddr>,
    counters: SharedCounters,
    commands: Sender<Command>,
    waker: Waker,
    thread: Option<JoinHandle<Result<(), NetworkError>>>,
}

impl fmt::Debug for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Network")
            .field("devices", &self.endpoints.len())
            .finish_non_exhaustive()
    }
}

impl Network {
    /// Starts the network with every device attached.
    ///
    /// Returns the devices' ends, in order: non-blocking `AF_UNIX` datagram
    /// sockets, closed on exec, that carry an Ethernet frame a datagram.
    ///
    /// # Errors
    /// When descriptors, sockets or the thread cannot be had.
    pub fn start(options: NetworkOptions) -> Result<(Self, Vec<OwnedFd>), NetworkError> {
        let devices = options.plan.devices();
        reserve_descriptors(devices)?;
        let poller = Poller::new().map_err(failed_to("create its poller"))?;
        let waker = poller.waker().map_err(failed_to("create its waker"))?;
        let setup = GatewaySetup {
            plan: options.plan,
            mac: MacAddress::for_gateway(options.seed),
            coordinator: options.coordinator,
            seed: options.seed,
            options: options.gateway,
        };
        let mut clocks = vec![StackClock::of(&options.port); devices];
        let switch_options = SwitchOptions {
            gateway: setup.mac,
            seed: options.seed,
            peer_traffic: options.peer_traffic,
            port: options.port,
        };
        let mut switch = Switch::new(switch_options, devices);
        if let Some(tap) = options.tap {
            switch.set_tap(tap.devices, tap.show);
        }
        for ((port, options), clock) in options.ports.into_iter().enumerate().zip(&mut clocks) {
            *clock = StackClock::of(&options);
            switch.set_port(port, options);
        }
        let (commands, received) = channel();
        let counters: SharedCounters = (0..devices).map(|_| Mutex::default()).collect();
        let mut driver = Driver {
            poller,
            switch,
            ports: Vec::with_capacity(devices),
            agenda: Agenda::new(devices),
            epoch: Instant::now(),
            commands: received,
            counters: Arc::clone(&counters),
            again: Vec::new(),
        };
        let mut endpoints = Vec::with_capacity(devices);
        let mut ends = Vec::with_capacity(devices);
        for ((index, port), clock) in (0..).zip(0..devices).zip(clocks) {
            let no_such_device = NetworkError::NoSuchDevice {
                device: port,
                devices,
            };
            let (Some(address), Some(mac)) = (
                options.plan.device(port),
                MacAddress::for_device(options.seed, port),
            ) else {
                return Err(no_such_device);
            };
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
                .map_err(failed_to("listen on the loopback"))?;
            endpoints.push(
                listener
                    .local_addr()
                    .map_err(failed_to("read a listener's address"))?,
            );
            let station = Station::new(setup, clock, index, address, listener, &driver.poller)
                .map_err(failed_to("watch a listener"))?;
            driver.ports.push(Port {
                station,
                mac,
                socket: None,
                serial: 0,
                readable: false,
                writable: false,
            });
            let (network_end, device_end) = cable()?;
            driver.attach(port, network_end, NetworkTime::ZERO)?;
            ends.push(device_end);
        }
        let thread = std::thread::Builder::new()
            .name("zfl-net".into())
            .spawn(move || driver.run())
            .map_err(failed_to("start its thread"))?;
        let network = Self {
            endpoints,
            counters,
            commands,
            waker,
            thread: Some(thread),
        };
        Ok((network, ends))
    }

    /// How many devices the network has room for.
    pub fn devices(&self) -> usize {
        self.endpoints.len()
    }

    /// Where host programs reach port 80 of a device: on the loopback.
    pub fn endpoint(&self, device: usize) -> Option<SocketAddr> {
        self.endpoints.get(device).copied()
    }

    /// What a device's port has seen until now. Cheap: call it at any time.
    pub fn counters(&self, device: usize) -> Option<PortCounters> {
        let shared = self.counters.get(device)?;
        let shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        Some(shared.counters)
    }

    /// The round-trip times of a device since they were last taken.
    pub fn take_round_trips(&self, device: usize) -> PortRoundTrips {
        let Some(shared) = self.counters.get(device) else {
            return PortRoundTrips::default();
        };
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut shared.round_trips)
    }

    /// Attaches a device anew, after it has died or to boot it again: what was
    /// attached before is detached. Returns the device's end.
    ///
    /// # Errors
    /// When there is no such device, no socket to be had, or the network has
    /// stopped.
    pub fn attach(&self, device: usize) -> Result<OwnedFd, NetworkError> {
        self.check(device)?;
        let (socket, device_end) = cable()?;
        self.command(Command::Attach { device, socket })?;
        Ok(device_end)
    }

    /// Detaches a device: its connections are reset, and so are those that host
    /// programs open to its endpoint, until it is attached again.
    ///
    /// An emulator that ends closes its end, but the network notices only when
    /// it next sends a frame there. Call this when a device has died.
    ///
    /// # Errors
    /// When there is no such device, or the network has stopped.
    pub fn detach(&self, device: usize) -> Result<(), NetworkError> {
        self.check(device)?;
        self.command(Command::Detach { device })
    }

    /// Stops the network: all connections are closed, the devices' ends go
    /// silent. Takes no longer than the thread's turn. Returns what each
    /// device's port has seen.
    ///
    /// # Errors
    /// When the network had failed before.
    pub fn shutdown(mut self) -> Result<Vec<PortCounters>, NetworkError> {
        self.stop()?;
        Ok((0..self.devices())
            .filter_map(|device| self.counters(device))
            .collect())
    }

    fn check(&self, device: usize) -> Result<(), NetworkError> {
        let devices = self.devices();
        if device < devices {
            Ok(())
        } else {
            Err(NetworkError::NoSuchDevice { device, devices })
        }
    }

    fn command(&self, command: Command) -> Result<(), NetworkError> {
        self.commands
            .send(command)
            .map_err(|_| NetworkError::Stopped)?;
        self.waker.wake();
        Ok(())
    }

    fn stop(&mut self) -> Result<(), NetworkError> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        // When the thread has ended by itself, its result says why.
        let _ = self.command(Command::Stop);
        thread.join().unwrap_or(Err(NetworkError::Stopped))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.stop();
    }
}

/// A pair of connected sockets: the network's end and the device's.
///
/// Their buffers stay as the system makes them. What waits in the kernel is
/// beyond the switch's pacing, so that it should be little.
fn cable() -> Result<(OwnedFd, OwnedFd), NetworkError> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    socketpair(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
        .map_err(failed_to("create a socket pair"))
}

/// Raises the soft limit on descriptors to what the fleet needs: both ends of
/// its cables, its listeners, and a connection or two each.
fn reserve_descriptors(devices: usize) -> Result<(), NetworkError> {
    let needed = SPARE_DESCRIPTORS + 5 * devices as u64;
    let limits = getrlimit(Resource::Nofile);
    if limits.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(limit) = limits.maximum
        && limit < needed
    {
        return Err(NetworkError::TooFewDescriptors {
            devices,
            needed,
            limit,
        });
    }
    // All that may be had: connections come on top.
    let raised = Rlimit {
        current: limits.maximum.or(Some(needed)),
        maximum: limits.maximum,
    };
    setrlimit(Resource::Nofile, raised).map_err(failed_to("raise the limit on file descriptors"))
}

/// When each port is to be looked at next.
struct Agenda {
    times: Vec<Option<NetworkTime>>,
    order: BTreeSet<(NetworkTime, usize)>,
}

impl Agenda {
    fn new(ports: usize) -> Self {
        Self {
            times: vec![None; ports],
            order: BTreeSet::new(),
        }
    }

    fn set(&mut self, port: usize, at: Option<NetworkTime>) {
        let Some(time) = self.times.get_mut(port) else {
            return;
        };
        if *time == at {
            return;
        }
        if let Some(before) = time.take() {
            self.order.remove(&(before, port));
        }
        if let Some(at) = at {
            self.order.insert((at, port));
            *time = Some(at);
        }
    }

    fn first(&self) -> Option<NetworkTime> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes a port that is due.
    fn take_due(&mut self, now: NetworkTime) -> Option<usize> {
        let &(at, port) = self.order.first()?;
        if now < at {
            return None;
        }
        self.set(port, None);
        Some(port)
    }
}

struct Port {
    station: Station,
    mac: MacAddress,
    /// `None` while no device is attached.
    socket: Option<OwnedFd>,
    /// Tells the events of this socket from those of one before.
    serial: u32,
    readable: bool,
    writable: bool,
}

/// The owner of all state, in the network's thread.
struct Driver {
    poller: Poller,
    switch: Switch,
    ports: Vec<Port>,
    agenda: Agenda,
    epoch: Instant,
    commands: Receiver<Command>,
    counters: SharedCounters,
    /// Ports with more frames to read than one turn allowed.
    again: Vec<usize>,
}

impl Driver {
    fn run(mut self) -> Result<(), NetworkError> {
        let mut now = self.now();
        let mut turn = Turn::new(self.ports.len());
        let mut timer_at = None;
        loop {
            // A tick has not passed yet: the timer ends the wait in any case.
            let wake_at = self.agenda.first().map(|at| at.max(now + TICK));
            if let Some(at) = wake_at.filter(|_| timer_at != wake_at) {
                self.poller
                    .wake_after(at.since(self.now()))
                    .map_err(failed_to("set its timer"))?;
            }
            timer_at = wake_at;
            self.take_events(&mut turn)?;
            now = self.now();
            if timer_at.is_some_and(|at| at <= now) {
                timer_at = None;
            }
            if !self.obey(&mut turn, now)? {
                return Ok(());
            }
            while let Some(port) = self.agenda.take_due(now) {
                turn.ports.mark(port);
            }
            for index in 0..turn.ports.marked.len() {
                let Some(&port) = turn.ports.marked.get(index) else {
                    break;
                };
                self.read_frames(port, &mut turn.buffer, now);
                self.switch.poll(port, now);
                // Before the gateway passes them on: whoever has a message
                // finds the frames counted that it came in.
                self.publish(port);
            }
            while let Some((port, frame)) = self.switch.take_for_gateway() {
                if let Some(slot) = self.ports.get_mut(port) {
                    slot.station.receive(frame, now);
                }
            }
            for &port in &turn.ports.marked {
                if let Some(slot) = self.ports.get_mut(port) {
                    slot.station.service(now, &self.poller, &mut turn.sent);
                }
                for frame in turn.sent.drain(..) {
                    self.switch.receive_from_gateway(frame, now);
                }
            }
            // Frames from one device to another touch ports that had no event.
            while let Some(port) = self.switch.take_touched() {
                turn.ports.mark(port);
            }
            for &port in &turn.ports.marked {
                self.write_frames(port, now);
            }
            // Writing may have found devices gone.
            while let Some(port) = self.switch.take_touched() {
                turn.ports.mark(port);
            }
            while let Some(port) = turn.ports.unmark() {
                self.plan_next(port);
                self.publish(port);
            }
        }
    }

    fn now(&self) -> NetworkTime {
        NetworkTime::from_duration(self.epoch.elapsed())
    }

    /// Waits for something to do and marks the ports it is about.
    fn take_events(&mut self, turn: &mut Turn) -> Result<(), NetworkError> {
        let block = self.again.is_empty();
        for port in self.again.drain(..) {
            turn.ports.mark(port);
        }
        let events = self
            .poller
            .wait(&mut turn.events, block)
            .map_err(failed_to("wait"))?;
        for event in events {
            let port = match event.token {
                Token::Wake => continue,
                Token::Port { port, .. }
                | Token::Listener { port }
                | Token::Splice { port, .. } => port as usize,
            };
            let Some(slot) = self.ports.get_mut(port) else {
                continue;
            };
            match event.token {
                Token::Port { serial, .. } if serial == slot.serial => {
                    slot.readable |= event.readable;
                    slot.writable |= event.writable;
                }
                Token::Listener { .. } => slot.station.listener_ready(),
                Token::Splice { serial, .. } => {
                    slot.station
                        .splice_ready(serial, event.readable, event.writable);
                }
                _ => continue,
            }
            turn.ports.mark(port);
        }
        Ok(())
    }

    /// Carries out what was asked; `false` when the network is to stop.
    fn obey(&mut self, turn: &mut Turn, now: NetworkTime) -> Result<bool, NetworkError> {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Attach { device, socket }) => {
                    self.attach(device, socket, now)?;
                    turn.ports.mark(device);
                }
                Ok(Command::Detach { device }) => {
                    self.detach(device);
                    turn.ports.mark(device);
                }
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return Ok(false),
                Err(TryRecvError::Empty) => return Ok(true),
            }
        }
    }

    fn attach(
        &mut self,
        port: usize,
        socket: OwnedFd,
        now: NetworkTime,
    ) -> Result<(), NetworkError> {
        self.detach(port);
        let devices = self.ports.len();
        let (Some(slot), Ok(number)) = (self.ports.get_mut(port), u32::try_from(port)) else {
            return Err(NetworkError::NoSuchDevice {
                device: port,
                devices,
            });
        };
        self.switch.attach(port, Some(slot.mac))?;
        slot.serial = slot.serial.wrapping_add(1);
        let token = Token::Port {
            port: number,
            serial: slot.serial,
        };
        self.poller
            .add(&socket, token)
            .map_err(failed_to("watch a device's socket"))?;
        slot.station.attach(slot.mac, now);
        slot.socket = Some(socket);
        slot.writable = true;
        Ok(())
    }

    fn detach(&mut self, port: usize) {
        if let Some(slot) = self.ports.get_mut(port) {
            slot.socket = None;
            slot.readable = false;
            slot.writable = false;
            slot.station.detach();
        }
        self.switch.detach(port);
    }

    /// Takes what a device has sent, as much as is fair to the others.
    fn read_frames(&mut self, port: usize, buffer: &mut [u8], now: NetworkTime) {
        let Some(slot) = self.ports.get_mut(port) else {
            return;
        };
        for _ in 0..FRAMES_PER_TURN_MAX {
            let Some(socket) = slot.socket.as_ref().filter(|_| slot.readable) else {
                return;
            };
            match read_frame(socket, buffer) {
                Ok(Read::Frame(frame)) => self.switch.receive(port, frame, now),
                Ok(Read::Oversize(bytes)) => self.switch.receive_oversize(port, bytes),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => slot.readable = false,
                // The device's end is gone.
                Err(_) => return self.detach(port),
            }
        }
        if slot.readable {
            self.again.push(port);
        }
    }

    /// Gives a device what may leave by now.
    fn write_frames(&mut self, port: usize, now: NetworkTime) {
        let Some(slot) = self.ports.get_mut(port) else {
            return;
        };
        while let Some(socket) = slot.socket.as_ref().filter(|_| slot.writable)
            && let Some(frame) = self.switch.front(port, now)
        {
            match send(socket, frame, SendFlags::NOSIGNAL) {
                Ok(_) => {
                    self.switch.pop(port, now);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => slot.writable = false,
                // The system is out of memory for the moment; the frame is
                // lost as it would be in a switch.
                Err(Errno::NOBUFS | Errno::NOMEM) => self.switch.discard(port, now),
                Err(_) => return self.detach(port),
            }
        }
    }

    fn plan_next(&mut self, port: usize) {
        let Some(slot) = self.ports.get(port) else {
            return;
        };
        // A frame that waits for room in the kernel's queue is announced by an
        // event, not by the clock.
        let frames = self.switch.downlink_at(port).filter(|_| slot.writable);
        let times = [frames, self.switch.uplink_at(port), slot.station.wake_at()];
        let at = times.into_iter().flatten().min();
        self.agenda.set(port, at);
    }

    fn publish(&mut self, port: usize) {
        let round_trips = self.switch.take_round_trips(port);
        let (Some(slot), Some(switched), Some(shared)) = (
            self.ports.get(port),
            self.switch.counters(port),
            self.counters.get(port),
        ) else {
            return;
        };
        let snapshot = PortCounters {
            gateway_ignored: slot.station.ignored,
            connections: slot.station.connections,
            ..switched
        };
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.counters = snapshot;
        shared.round_trips.merge(&round_trips);
    }
}

enum Read {
    Frame(Frame),
    Oversize(usize),
}

fn read_frame(socket: impl AsFd, buffer: &mut [u8]) -> Result<Read, Errno> {
    // With TRUNC the answer is the datagram's length, read or not.
    let (read, bytes) = recv(socket, &mut *buffer, RecvFlags::TRUNC)?;
    Ok(match buffer.get(..read) {
        Some(frame) if bytes == read => Read::Frame(frame.to_vec()),
        _ => Read::Oversize(bytes),
    })
}

/// What the driver keeps from turn to turn to save allocations.
struct Turn {
    events: Events,
    ports: Marks,
    sent: Vec<Frame>,
    /// Room for one byte more than the largest frame, to know what is larger.
    buffer: [u8; FRAME_BYTES_MAX + 1],
}

impl Turn {
    fn new(ports: usize) -> Self {
        Self {
            events: Events::new(),
            ports: Marks {
                marked: Vec::new(),
                is_marked: vec![false; ports],
            },
            sent: Vec::new(),
            buffer: [0; FRAME_BYTES_MAX + 1],
        }
    }
}

/// The ports that a turn is about, each once.
struct Marks {
    marked: Vec<usize>,
    is_marked: Vec<bool>,
}

impl Marks {
    fn mark(&mut self, port: usize) {
        if let Some(is_marked) = self.is_marked.get_mut(port)
            && !*is_marked
        {
            *is_marked = true;
            self.marked.push(port);
        }
    }

    fn unmark(&mut self) -> Option<usize> {
        let port = self.marked.pop()?;
        if let Some(is_marked) = self.is_marked.get_mut(port) {
            *is_marked = false;
        }
        Some(port)
    }
}
