//! One TCP connection of a device, joined to one of the host.
//!
//! Bytes go straight from the one's buffer to the other: there is no buffer in
//! between, so that a slow side holds up the fast one through its window. Each
//! direction ends by itself (half-close): the end of the host's stream becomes
//! a FIN to the device, and the other way round. Whatever ends otherwise ends
//! both sides with a reset.

use core::time::Duration;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use rustix::net::sockopt::set_socket_linger;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{self, RecvError, State};

use crate::time::NetworkTime;

/// How long a closed connection is kept to acknowledge the device's last
/// segment again. RFC 9293 asks for two maximum segment lifetimes; on this
/// network a segment lives for milliseconds.
const TIME_WAIT: Duration = Duration::from_secs(1);

/// The deadlines of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadlines {
    pub(crate) connect: Duration,
    pub(crate) idle: Duration,
}

/// The host's side of a connection.
#[derive(Debug)]
pub(crate) enum Host {
    /// The device's connection is not established yet.
    Waiting,
    /// The connection to the coordinator is under way.
    Connecting(TcpStream),
    /// Connected.
    Open(TcpStream),
    /// Both directions have ended; the device's side waits for late segments.
    Gone,
}

/// What is to become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on.
    Keep,
    /// It has ended as both sides wished.
    Finished,
    /// It was refused, reset or timed out.
    Failed,
    /// The host's side is to be connected now.
    Connect,
}

/// A device's connection and the host's.
#[derive(Debug)]
pub(crate) struct Splice {
    /// Names the connection in the poller.
    pub(crate) serial: u32,
    /// The device's connection.
    pub(crate) handle: SocketHandle,
    /// The port at the device's end.
    pub(crate) device_port: u16,
    /// The port at the gateway's end.
    pub(crate) gateway_port: u16,
    pub(crate) host: Host,
    pub(crate) host_readable: bool,
    pub(crate) host_writable: bool,
    /// The host's stream has ended and the device was told.
    host_finished: bool,
    /// The device's stream has ended and the host was told.
    device_finished: bool,
    /// When something last moved.
    moved_at: NetworkTime,
    /// Bytes that the device had not acknowledged then.
    send_queue: usize,
}

impl Splice {
    /// A connection whose device side is about to be established.
    pub(crate) const fn new(
        serial: u32,
        handle: SocketHandle,
        device_port: u16,
        gateway_port: u16,
        host: Host,
        now: NetworkTime,
    ) -> Self {
        Self {
            serial,
            handle,
            device_port,
            gateway_port,
            host,
            host_readable: true,
            host_writable: true,
            host_finished: false,
            device_finished: false,
            moved_at: now,
            send_queue: 0,
        }
    }

    /// Whether the connection only waits for late segments.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.host, Host::Gone)
    }

    /// When the connection ends unless something moves.
    pub(crate) fn deadline(&self, device: State, deadlines: Deadlines) -> NetworkTime {
        let patience = match (&self.host, device) {
            (Host::Gone, _) => TIME_WAIT,
            (Host::Open(_), State::SynSent) | (Host::Waiting | Host::Connecting(_), _) => {
                deadlines.connect
            }
            (Host::Open(_), _) => deadlines.idle,
        };
        self.moved_at + patience
    }

    /// Moves what can be moved.
    pub(crate) fn pump(
        &mut self,
        device: &mut tcp::Socket<'static>,
        now: NetworkTime,
        deadlines: Deadlines,
    ) -> Verdict {
        let verdict = self.advance(device, now);
        if device.send_queue() != self.send_queue {
            self.send_queue = device.send_queue();
            self.moved_at = now;
        }
        if verdict == Verdict::Keep && self.deadline(device.state(), deadlines) <= now {
            return if self.is_over() {
                Verdict::Finished
            } else {
                Verdict::Failed
            };
        }
        verdict
    }

    fn advance(&mut self, device: &mut tcp::Socket<'static>, now: NetworkTime) -> Verdict {
        match &self.host {
            Host::Waiting => match device.state() {
                State::SynReceived => Verdict::Keep,
                // The segment that asked for it was refused by the stack.
                State::Listen | State::Closed => Verdict::Failed,
                _ => Verdict::Connect,
            },
            Host::Connecting(stream) => {
                if device.state() == State::Closed {
                    return Verdict::Failed;
                }
                if !self.host_writable {
                    return Verdict::Keep;
                }
                match (stream.take_error(), stream.peer_addr()) {
                    (Ok(None), Ok(_)) => self.open(device, now),
                    (Ok(None), Err(error)) if error.kind() == ErrorKind::NotConnected => {
                        self.host_writable = false;
                        Verdict::Keep
                    }
                    _ => Verdict::Failed,
                }
            }
            Host::Open(_) => self.exchange(device, now),
            Host::Gone if device.state() == State::Closed => Verdict::Finished,
            Host::Gone => Verdict::Keep,
        }
    }

    fn open(&mut self, device: &mut tcp::Socket<'static>, now: NetworkTime) -> Verdict {
        self.moved_at = now;
        if let Host::Connecting(stream) = core::mem::replace(&mut self.host, Host::Gone) {
            self.host = Host::Open(stream);
        }
        self.exchange(device, now)
    }

    fn exchange(&mut self, device: &mut tcp::Socket<'static>, now: NetworkTime) -> Verdict {
        let Host::Open(stream) = &self.host else {
            return Verdict::Failed;
        };
        if matches!(device.state(), State::SynSent | State::SynReceived) {
            return Verdict::Keep;
        }
        let mut stream = stream;

        while !self.device_finished {
            if device.can_recv() {
                if !self.host_writable {
                    break;
                }
                match device.recv(|bytes| take(stream.write(bytes))) {
                    Ok(Ok(_)) => self.moved_at = now,
                    Ok(Err(ErrorKind::Interrupted)) => {}
                    Ok(Err(ErrorKind::WouldBlock)) => self.host_writable = false,
                    Ok(Err(_)) | Err(_) => return Verdict::Failed,
                }
            } else if device.may_recv() {
                break;
            } else {
                match device.recv(|_| (0, ())) {
                    Err(RecvError::Finished) => {}
                    // Without a FIN before it: the device has reset it.
                    Ok(()) | Err(RecvError::InvalidState) => return Verdict::Failed,
                }
                // It fails when the host has reset the connection; reading
                // tells that better.
                let _ = stream.shutdown(Shutdown::Write);
                self.device_finished = true;
                self.moved_at = now;
            }
        }

        while !self.host_finished && self.host_readable && device.can_send() {
            let mut room = 0;
            match device.send(|bytes| {
                room = bytes.len();
                take(stream.read(bytes))
            }) {
                Ok(Ok(0)) if room > 0 => {
                    device.close();
                    self.host_finished = true;
                    self.moved_at = now;
                }
                Ok(Ok(_)) => self.moved_at = now,
                Ok(Err(ErrorKind::Interrupted)) => {}
                Ok(Err(ErrorKind::WouldBlock)) => self.host_readable = false,
                Ok(Err(_)) | Err(_) => return Verdict::Failed,
            }
        }

        let closed = matches!(device.state(), State::Closed | State::TimeWait);
        match (self.device_finished && self.host_finished, device.state()) {
            (true, State::Closed) => Verdict::Finished,
            (true, State::TimeWait) => {
                self.moved_at = now;
                self.host = Host::Gone;
                Verdict::Keep
            }
            // Reset by the device after its own FIN, or given up by the stack.
            (false, _) if closed && self.device_finished => Verdict::Failed,
            _ => Verdict::Keep,
        }
    }

    /// Ends the host's side: with a reset unless it `finished`.
    pub(crate) fn hang_up(self, finished: bool) {
        if let Host::Open(stream) | Host::Connecting(stream) = self.host
            && !finished
        {
            reset(stream);
        }
    }
}

/// Closes a connection with a reset, so that its peer sees a failure and no
/// orderly end.
pub(crate) fn reset(stream: TcpStream) {
    // Without it the connection would only end in a politer way.
    let _ = set_socket_linger(&stream, Some(Duration::ZERO));
    drop(stream);
}

/// What the buffers of the device's socket want to know of a transfer.
fn take(result: std::io::Result<usize>) -> (usize, Result<usize, ErrorKind>) {
    match result {
        Ok(bytes) => (bytes, Ok(bytes)),
        Err(error) => (0, Err(error.kind())),
    }
}
