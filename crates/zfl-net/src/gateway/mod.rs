//! The coordinator's address on the virtual network, and the way to it and back.
//!
//! The gateway is a TCP/IP host of its own for every device: one *station*
//! each, all with the gateway's addresses. A station speaks with its device
//! only, so that it needs no neighbour cache, a look at its sockets is a look
//! at a handful, and no device can disturb another.
//!
//! Two ways lead through it, and no others:
//!
//! * a device connects to `<gateway>:8080`: spliced to the coordinator's socket
//!   on the host;
//! * a host program connects to the device's *endpoint*, a loopback listener:
//!   spliced to port 80 of the device.

#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod lone;
mod phy;
mod splice;

use core::time::Duration;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use smoltcp::iface::{Config, Interface, PollResult, SocketSet};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer};
use smoltcp::time::Instant;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, HardwareAddress, IpCidr, IpListenEndpoint,
    IpProtocol, Ipv4Packet, TcpPacket,
};

use self::phy::Phy;
use self::splice::{Deadlines, Host, Splice, Verdict, reset};
use crate::address::{AddressPlan, COORDINATOR_PORT, DEVICE_PORT, MacAddress};
use crate::counters::ConnectionCounters;
use crate::frame::{Frame, Header, TYPE_ARP, TYPE_IPV4};
use crate::poller::{Poller, Token};
use crate::switch::PortOptions;
use crate::time::NetworkTime;

/// The ports from which the gateway connects to devices (RFC 6335).
const EPHEMERAL_PORTS: core::ops::RangeInclusive<u16> = 49_152..=65_535;

/// How long to wait after the host could not accept a connection, for want of
/// descriptors for example.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How long a device is trusted to know the gateway's address without being
/// told again. (smoltcp forgets after 60 s.)
const ANNOUNCEMENT_LIFETIME: Duration = Duration::from_secs(30);

/// The least time until a station is looked at again without an event. Its
/// stack asks for "now" in the rare cases that it could do more at once.
const POLL_DELAY_MIN: Duration = Duration::from_millis(1);

/// The bounds of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayOptions {
    /// Connections that a device may have at a time, both ways together. More
    /// from the device are reset; more from the host wait.
    pub connections_per_device_max: usize,
    /// Bytes that a connection holds each way. At most 65,535 are of use.
    pub buffer_bytes: usize,
    /// How long the other side may take to answer a connection.
    pub connect_timeout: Duration,
    /// How long a connection may stand still before it is reset.
    pub idle_timeout: Duration,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            connections_per_device_max: 16,
            buffer_bytes: 32 * 1024,
            connect_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(120),
        }
    }
}

impl GatewayOptions {
    const fn deadlines(&self) -> Deadlines {
        Deadlines {
            connect: self.connect_timeout,
            idle: self.idle_timeout,
        }
    }
}

/// How a station's stack sees the time.
///
/// smoltcp retransmits after a second at the earliest, as RFC 6298 advises, and
/// cannot be told otherwise. A device's window of a few segments is too small
/// for the three duplicate acknowledgements that would tell of a loss sooner, so
/// that each loss would cost that second: 940 KB over 10 % loss took more than
/// two minutes. The host that the gateway stands for has 200 ms (Linux's
/// `TCP_RTO_MIN`): a stack whose clock runs five times as fast has too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StackClock {
    speed: u32,
}

impl StackClock {
    const LOSSY: Self = Self { speed: 5 };
    const USUAL: Self = Self { speed: 1 };
    /// What the least time before a retransmission comes to on a lossy link.
    const PATIENCE: Duration = Duration::from_millis(200);

    /// The clock for a link. Where nothing is lost there is no need for haste,
    /// and a device that a busy host holds up would be sent segments twice; and
    /// a round trip that is longer asks for patience by itself.
    pub(crate) fn of(port: &PortOptions) -> Self {
        let lanes = [&port.uplink.link, &port.downlink.link];
        let round_trip: Duration = lanes.iter().map(|link| link.delay + link.jitter).sum();
        match lanes.iter().any(|link| link.loses()) && round_trip < Self::PATIENCE {
            true => Self::LOSSY,
            false => Self::USUAL,
        }
    }

    fn instant(self, time: NetworkTime) -> Instant {
        let micros = (time.as_nanos() / 1_000).saturating_mul(u64::from(self.speed));
        Instant::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }

    /// The time at which the stack's clock shows at least this. Its resolution
    /// is a microsecond.
    fn network_time(self, instant: Instant) -> NetworkTime {
        let micros = u64::try_from(instant.total_micros()).unwrap_or(0);
        NetworkTime::from_micros(micros.div_ceil(u64::from(self.speed)))
    }
}

/// What all stations share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GatewaySetup {
    pub(crate) plan: AddressPlan,
    pub(crate) mac: MacAddress,
    pub(crate) coordinator: SocketAddr,
    pub(crate) seed: u64,
    pub(crate) options: GatewayOptions,
}

/// The gateway as one device sees it.
pub(crate) struct Station {
    setup: GatewaySetup,
    clock: StackClock,
    port: u32,
    device: Ipv4Addr,
    listener: TcpListener,
    /// The listener may have a connection to accept.
    accept_ready: bool,
    accept_retry_at: Option<NetworkTime>,
    next_serial: u32,
    next_gateway_port: u16,
    /// `None` while no device is attached.
    stack: Option<Stack>,
    wake_at: Option<NetworkTime>,
    pub(crate) ignored: u64,
    pub(crate) connections: ConnectionCounters,
}

/// A TCP/IP stack and its connections.
struct Stack {
    interface: Interface,
    sockets: SocketSet<'static>,
    phy: Phy,
    splices: Vec<Splice>,
    /// When the device was last told the gateway's address.
    announced_at: Option<NetworkTime>,
}

impl Station {
    /// A station without a device. The listener is watched from now on.
    pub(crate) fn new(
        setup: GatewaySetup,
        clock: StackClock,
        port: u32,
        device: Ipv4Addr,
        listener: TcpListener,
        poller: &Poller,
    ) -> Result<Self, Errno> {
        poller.add(&listener, Token::Listener { port })?;
        Ok(Self {
            setup,
            clock,
            port,
            device,
            listener,
            accept_ready: false,
            accept_retry_at: None,
            next_serial: 0,
            next_gateway_port: *EPHEMERAL_PORTS.start(),
            stack: None,
            wake_at: None,
            ignored: 0,
            connections: ConnectionCounters::default(),
        })
    }

    /// Begins anew with a device that has just been attached.
    pub(crate) fn attach(&mut self, device: MacAddress, now: NetworkTime) {
        self.detach();
        let mut phy = Phy {
            received: VecDeque::new(),
            sent: Vec::new(),
            device,
            gateway: self.setup.mac,
        };
        // Any number does: it only chooses the first sequence numbers.
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = self.setup.seed ^ u64::from(self.port) << 32 ^ now.as_nanos();
        let mut interface = Interface::new(config, &mut phy, self.clock.instant(now));
        let address = IpCidr::new(
            self.setup.plan.gateway().into(),
            self.setup.plan.prefix_length(),
        );
        interface.update_ip_addrs(|addresses| {
            // It has room for two and is empty.
            let _ = addresses.push(address);
        });
        self.stack = Some(Stack {
            interface,
            sockets: SocketSet::new(Vec::new()),
            phy,
            splices: Vec::new(),
            announced_at: None,
        });
    }

    /// Forgets the device. The host's side of its connections is reset, and so
    /// is every new one.
    pub(crate) fn detach(&mut self) {
        if let Some(stack) = self.stack.take() {
            self.connections.failed += stack
                .splices
                .iter()
                .filter(|splice| !splice.is_over())
                .count() as u64;
            for splice in stack.splices {
                splice.hang_up(false);
            }
        }
        self.wake_at = None;
    }

    /// When [`Self::service`] is to be called without another reason.
    pub(crate) const fn wake_at(&self) -> Option<NetworkTime> {
        self.wake_at
    }

    /// The listener has become ready.
    pub(crate) const fn listener_ready(&mut self) {
        self.accept_ready = true;
    }

    /// A host's connection has become ready.
    pub(crate) fn splice_ready(&mut self, serial: u32, readable: bool, writable: bool) {
        let splices = self.stack.as_mut().map(|stack| &mut stack.splices);
        if let Some(splice) = splices
            .into_iter()
            .flatten()
            .find(|splice| splice.serial == serial)
        {
            splice.host_readable |= readable;
            splice.host_writable |= writable;
        }
    }

    /// Takes a frame of the device; [`Self::service`] deals with it.
    pub(crate) fn receive(&mut self, frame: Frame, now: NetworkTime) {
        let Some((header, payload)) = Header::split(&frame) else {
            return;
        };
        let understood = match header.kind {
            TYPE_ARP => self.answer_arp(payload, now),
            TYPE_IPV4 => self.is_for_us(payload).map(|connects_from| {
                if let Some(device_port) = connects_from {
                    self.expect_connection(device_port, now);
                }
                if let Some(stack) = &mut self.stack {
                    stack.phy.received.push_back(frame);
                }
            }),
            _ => None,
        };
        if understood.is_none() {
            self.ignored += 1;
        }
    }

    /// Answers who has the gateway's address, to the device alone.
    fn answer_arp(&mut self, payload: &[u8], now: NetworkTime) -> Option<()> {
        let packet = ArpPacket::new_checked(payload).ok()?;
        let ArpRepr::EthernetIpv4 {
            operation,
            source_protocol_addr,
            target_protocol_addr,
            ..
        } = ArpRepr::parse(&packet).ok()?
        else {
            return None;
        };
        let gateway = self.setup.plan.gateway();
        if source_protocol_addr != self.device || target_protocol_addr != gateway {
            return None;
        }
        match operation {
            ArpOperation::Request => self.send_arp(ArpOperation::Reply, now),
            // To what was asked before a connection: nothing new.
            ArpOperation::Reply => Some(()),
            ArpOperation::Unknown(_) => None,
        }
    }

    /// Sends an ARP packet to the device, from which it learns the gateway's
    /// address.
    fn send_arp(&mut self, operation: ArpOperation, now: NetworkTime) -> Option<()> {
        let stack = self.stack.as_mut()?;
        let packet = ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: EthernetAddress(self.setup.mac.0),
            source_protocol_addr: self.setup.plan.gateway(),
            target_hardware_addr: EthernetAddress(stack.phy.device.0),
            target_protocol_addr: self.device,
        };
        let header = stack.phy.header(TYPE_ARP);
        let (frame, ()) = header.build(packet.buffer_len(), |payload| {
            packet.emit(&mut ArpPacket::new_unchecked(payload));
        });
        stack.phy.sent.push(frame);
        stack.announced_at = Some(now);
        Some(())
    }

    /// Asks for the device's address before a connection to it, as a host on a
    /// real network does. The answer is known; but a device that is asked
    /// learns who asks, and need not ask in turn before its first answer, which
    /// some stacks lose over it.
    fn announce(&mut self, now: NetworkTime) {
        let announced_at = self.stack.as_ref().and_then(|stack| stack.announced_at);
        if announced_at.is_none_or(|at| now.since(at) >= ANNOUNCEMENT_LIFETIME) {
            self.send_arp(ArpOperation::Request, now);
        }
    }

    /// Whether a packet is TCP from the device to the gateway, and then from
    /// which port it asks for a connection to the coordinator, if it does.
    fn is_for_us(&self, payload: &[u8]) -> Option<Option<u16>> {
        let packet = Ipv4Packet::new_checked(payload).ok()?;
        let is_ours = packet.version() == 4
            && packet.next_header() == IpProtocol::Tcp
            && packet.src_addr() == self.device
            && packet.dst_addr() == self.setup.plan.gateway()
            && !packet.more_frags()
            && packet.frag_offset() == 0;
        if !is_ours {
            return None;
        }
        let segment = TcpPacket::new_checked(packet.payload()).ok()?;
        let connects = segment.syn()
            && !segment.ack()
            && !segment.rst()
            && segment.dst_port() == COORDINATOR_PORT
            && segment.src_port() != 0;
        Some(connects.then(|| segment.src_port()))
    }

    /// Makes a socket that will take the device's connection: a connection has
    /// one from its first segment on, and none listens in vain.
    fn expect_connection(&mut self, device_port: u16, now: NetworkTime) {
        let Some(stack) = &mut self.stack else {
            return;
        };
        let existing = stack.splices.iter().position(|splice| {
            splice.device_port == device_port && splice.gateway_port == COORDINATOR_PORT
        });
        match existing {
            Some(index) if stack.splices.get(index).is_some_and(Splice::is_over) => {
                stack.remove(index, true);
            }
            // Sent again, or from a life before: the stack knows the answer.
            Some(_) => return,
            None => {}
        }
        if !stack.make_room(self.setup.options.connections_per_device_max) {
            self.connections.failed += 1;
            return;
        }
        let mut socket = new_socket(&self.setup.options);
        let endpoint = IpListenEndpoint {
            addr: Some(self.setup.plan.gateway().into()),
            port: COORDINATOR_PORT,
        };
        if socket.listen(endpoint).is_ok() {
            let handle = stack.sockets.add(socket);
            self.connections.from_device += 1;
            stack.splices.push(Splice::new(
                next(&mut self.next_serial),
                handle,
                device_port,
                COORDINATOR_PORT,
                Host::Waiting,
                now,
            ));
        }
    }

    /// Does all that can be done by now; the frames for the device are put
    /// into `sent`.
    pub(crate) fn service(&mut self, now: NetworkTime, poller: &Poller, sent: &mut Vec<Frame>) {
        self.accept(now, poller);
        let Some(stack) = &mut self.stack else {
            return;
        };
        let deadlines = self.setup.options.deadlines();
        let at = self.clock.instant(now);
        stack.interface.poll(at, &mut stack.phy, &mut stack.sockets);

        let mut ended = Vec::new();
        for (index, splice) in stack.splices.iter_mut().enumerate() {
            let socket = stack.sockets.get_mut::<Socket<'_>>(splice.handle);
            let mut verdict = splice.pump(socket, now, deadlines);
            if verdict == Verdict::Connect {
                let token = Token::Splice {
                    port: self.port,
                    serial: splice.serial,
                };
                verdict = match open_host(self.setup.coordinator, poller, token) {
                    Ok(stream) => {
                        splice.host_writable = false;
                        splice.host = Host::Connecting(stream);
                        Verdict::Keep
                    }
                    Err(_) => Verdict::Failed,
                };
            }
            if verdict == Verdict::Failed {
                socket.abort();
                self.connections.failed += 1;
            }
            if verdict != Verdict::Keep {
                ended.push((index, verdict == Verdict::Finished));
            }
        }
        // What was moved leaves at once, resets included; then the sockets of
        // those that ended can go.
        while stack
            .interface
            .poll_egress(at, &mut stack.phy, &mut stack.sockets)
            == PollResult::SocketStateChanged
        {}
        for &(index, finished) in ended.iter().rev() {
            stack.remove(index, finished);
        }
        sent.append(&mut stack.phy.sent);

        let stack_at = stack
            .interface
            .poll_at(at, &stack.sockets)
            .map(|at| self.clock.network_time(at).max(now + POLL_DELAY_MIN));
        let deadline = stack.splices.iter().map(|splice| {
            let state = stack.sockets.get::<Socket<'_>>(splice.handle).state();
            splice.deadline(state, deadlines)
        });
        let room_again = self.accept_ready
            && self.accept_retry_at.is_none()
            && stack.splices.len() < self.setup.options.connections_per_device_max;
        self.wake_at = deadline
            .chain(stack_at)
            .chain(self.accept_retry_at)
            .chain(room_again.then_some(now))
            .min();
    }

    /// Accepts the host's connections, as many as there is room for.
    fn accept(&mut self, now: NetworkTime, poller: &Poller) {
        if self.accept_retry_at.is_some_and(|at| now < at) {
            return;
        }
        self.accept_retry_at = None;
        while self.accept_ready {
            if let Some(stack) = &mut self.stack
                && !stack.make_room(self.setup.options.connections_per_device_max)
            {
                return;
            }
            match self.listener.accept() {
                Ok((stream, _)) => self.splice_to_device(stream, now, poller),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => self.accept_ready = false,
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => {
                        self.accept_retry_at = Some(now + ACCEPT_RETRY);
                        self.wake_at = self.accept_retry_at;
                        return;
                    }
                },
            }
        }
    }

    /// Connects to the device for a host's connection; resets that when there
    /// is none.
    fn splice_to_device(&mut self, stream: TcpStream, now: NetworkTime, poller: &Poller) {
        self.connections.to_device += 1;
        self.announce(now);
        let Some(stack) = &mut self.stack else {
            self.connections.failed += 1;
            reset(stream);
            return;
        };
        let serial = next(&mut self.next_serial);
        let gateway_port = stack.free_port(&mut self.next_gateway_port);
        let token = Token::Splice {
            port: self.port,
            serial,
        };
        let mut socket = new_socket(&self.setup.options);
        let connected = socket
            .connect(
                stack.interface.context(),
                (self.device, DEVICE_PORT),
                (self.setup.plan.gateway(), gateway_port),
            )
            .is_ok();
        let watched = stream.set_nonblocking(true).is_ok()
            && stream.set_nodelay(true).is_ok()
            && poller.add(&stream, token).is_ok();
        if !connected || !watched {
            self.connections.failed += 1;
            reset(stream);
            return;
        }
        let handle = stack.sockets.add(socket);
        stack.splices.push(Splice::new(
            serial,
            handle,
            DEVICE_PORT,
            gateway_port,
            Host::Open(stream),
            now,
        ));
    }
}

impl Stack {
    /// Whether there is room for another connection, if need be in place of
    /// one that is over.
    fn make_room(&mut self, connections_max: usize) -> bool {
        if self.splices.len() >= connections_max
            && let Some(index) = self.splices.iter().position(Splice::is_over)
        {
            self.remove(index, true);
        }
        self.splices.len() < connections_max
    }

    fn remove(&mut self, index: usize, finished: bool) {
        let splice = self.splices.remove(index);
        self.sockets.remove(splice.handle);
        splice.hang_up(finished);
    }

    /// The next port of the gateway that no connection uses.
    fn free_port(&self, next_port: &mut u16) -> u16 {
        loop {
            let port = *next_port;
            *next_port = port.checked_add(1).unwrap_or(*EPHEMERAL_PORTS.start());
            // There are fewer connections than ports.
            if !self
                .splices
                .iter()
                .any(|splice| splice.gateway_port == port)
            {
                return port;
            }
        }
    }
}

/// A socket for the device's side of a connection.
fn new_socket(options: &GatewayOptions) -> Socket<'static> {
    let buffer = || SocketBuffer::new(vec![0; options.buffer_bytes]);
    let mut socket = Socket::new(buffer(), buffer());
    // Devices have windows of two or three segments and delay their
    // acknowledgements by 10 ms: to wait for one before a small segment made a
    // download ten times as long. Acknowledgements from here wait for nothing
    // either; there is one for all the segments that came together.
    socket.set_nagle_enabled(false);
    socket.set_ack_delay(None);
    // Nor has it a congestion window, whatever else in a build asks smoltcp
    // for one: a device's window is a few segments, less than any link's queue.
    socket.set_congestion_control(CongestionControl::None);
    socket
}

/// Begins to connect to the coordinator.
fn open_host(address: SocketAddr, poller: &Poller, token: Token) -> Result<TcpStream, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let stream = TcpStream::from(socket_with(family, SocketType::STREAM, flags, None)?);
    match connect(&stream, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error),
    }
    rustix::net::sockopt::set_tcp_nodelay(&stream, true)?;
    poller.add(&stream, token)?;
    Ok(stream)
}

/// A serial number; they repeat after four thousand million.
const fn next(serial: &mut u32) -> u32 {
    *serial = serial.wrapping_add(1);
    *serial
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Probability;

    #[test]
    fn only_a_lossy_and_near_link_is_in_a_hurry() {
        let usual = PortOptions::default();
        assert_eq!(StackClock::of(&usual), StackClock::USUAL);
        let mut slow = usual.clone();
        slow.downlink.link.delay = Duration::from_millis(30);
        slow.uplink.link.duplicate = Probability::ALWAYS;
        assert_eq!(StackClock::of(&slow), StackClock::USUAL);
        let mut lossy = slow;
        lossy.uplink.link.loss = Probability::new(0.1);
        assert_eq!(StackClock::of(&lossy), StackClock::LOSSY);
        let mut far = lossy;
        far.uplink.link.delay = Duration::from_millis(170);
        assert_eq!(StackClock::of(&far), StackClock::USUAL);
    }

    #[test]
    fn the_time_that_a_stack_waits_for_has_come_when_it_is_asked_again() {
        for clock in [StackClock::USUAL, StackClock::LOSSY] {
            for micros in 0..50 {
                let wanted = Instant::from_micros(micros);
                let woken = clock.network_time(wanted);
                assert!(clock.instant(woken) >= wanted);
            }
            let second = NetworkTime::from_millis(1_000);
            let shown = clock.instant(second).total_millis();
            assert_eq!(shown, 1_000 * i64::from(clock.speed));
        }
    }
}
