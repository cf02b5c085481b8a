//! A gateway for one device without a network around it, for fuzzing: what
//! [`super`] keeps to itself, under a clock that the caller owns. Both ends on
//! the host are here as well.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use super::{GatewayOptions, GatewaySetup, StackClock, Station};
use crate::address::{AddressPlan, MacAddress};
use crate::counters::ConnectionCounters;
use crate::frame::Frame;
use crate::poller::{Events, Poller, Token};
use crate::switch::PortOptions;
use crate::time::NetworkTime;

/// Connections of the device that the coordinator's end keeps.
const STREAMS_MAX: usize = 8;

/// A gateway for one device.
pub struct LoneGateway {
    setup: GatewaySetup,
    station: Station,
    poller: Poller,
    events: Events,
    coordinator: TcpListener,
    endpoint: SocketAddr,
    /// The host's ends of connections.
    streams: Vec<TcpStream>,
}

impl LoneGateway {
    /// A gateway with a device whose address is `device`, behind such a port, at
    /// time 0.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(
        options: GatewayOptions,
        device: MacAddress,
        port: &PortOptions,
    ) -> Result<Self, Error> {
        let listen = || {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            Ok::<_, Error>(listener)
        };
        let (coordinator, listener) = (listen()?, listen()?);
        let endpoint = listener.local_addr()?;
        let plan = AddressPlan::for_fleet(1).map_err(Error::other)?;
        let setup = GatewaySetup {
            plan,
            mac: MacAddress::for_gateway(1),
            coordinator: coordinator.local_addr()?,
            seed: 1,
            options,
        };
        let poller = Poller::new()?;
        let address = plan.device(0).ok_or(ErrorKind::AddrNotAvailable)?;
        let mut station = Station::new(setup, StackClock::of(port), 0, address, listener, &poller)?;
        station.attach(device, NetworkTime::ZERO);
        Ok(Self {
            setup,
            station,
            poller,
            events: Events::new(),
            coordinator,
            endpoint,
            streams: Vec::new(),
        })
    }

    /// Who has which address; the device is number 0.
    pub fn plan(&self) -> &AddressPlan {
        &self.setup.plan
    }

    /// The gateway's own address.
    pub fn mac(&self) -> MacAddress {
        self.setup.mac
    }

    /// Takes a frame of the device.
    pub fn receive(&mut self, frame: Frame, now: NetworkTime) {
        self.station.receive(frame, now);
    }

    /// Does all that can be done by `now`; the frames for the device.
    ///
    /// # Errors
    /// What the system says.
    pub fn service(&mut self, now: NetworkTime) -> Result<Vec<Frame>, Error> {
        for readiness in self.poller.wait(&mut self.events, false)? {
            match readiness.token {
                Token::Listener { .. } => self.station.listener_ready(),
                Token::Splice { serial, .. } => {
                    self.station
                        .splice_ready(serial, readiness.readable, readiness.writable);
                }
                Token::Wake | Token::Port { .. } => {}
            }
        }
        let mut sent = Vec::new();
        self.station.service(now, &self.poller, &mut sent);
        while let Ok((stream, _)) = self.coordinator.accept() {
            self.keep(stream)?;
        }
        Ok(sent)
    }

    /// When [`Self::service`] is to be called without another reason.
    pub fn wake_at(&self) -> Option<NetworkTime> {
        self.station.wake_at()
    }

    /// A program of the host connects to the device.
    ///
    /// # Errors
    /// What the system says.
    pub fn connect(&mut self) -> Result<(), Error> {
        let stream = TcpStream::connect(self.endpoint)?;
        self.keep(stream)
    }

    /// The host's ends send bytes, and give back what they have received.
    pub fn exchange(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut received = Vec::new();
        self.streams.retain_mut(|stream| {
            let read = stream.read_to_end(&mut received);
            // At the end of its stream it may still speak, and hang up.
            let is_open = match read {
                Ok(_) => true,
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            };
            is_open && (bytes.is_empty() || stream.write_all(bytes).is_ok())
        });
        received
    }

    /// The host's ends have no more to say.
    pub fn finish(&mut self) {
        self.streams
            .retain(|stream| stream.shutdown(Shutdown::Write).is_ok());
    }

    /// The host's ends hang up.
    pub fn hang_up(&mut self) {
        self.streams.clear();
    }

    /// Connections there are.
    pub fn connections(&self) -> usize {
        let stack = self.station.stack.as_ref();
        stack.map_or(0, |stack| stack.splices.len())
    }

    /// Frames that were ignored, and what became of connections.
    pub fn counters(&self) -> (u64, ConnectionCounters) {
        (self.station.ignored, self.station.connections)
    }

    /// Keeps the host's end of a connection, so that its port is free at once
    /// when it ends: thousands are made in a second.
    fn keep(&mut self, stream: TcpStream) -> Result<(), Error> {
        stream.set_nonblocking(true)?;
        set_socket_linger(&stream, Some(Duration::ZERO))?;
        if self.streams.len() < STREAMS_MAX {
            self.streams.push(stream);
        }
        Ok(())
    }
}
