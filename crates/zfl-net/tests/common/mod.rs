//! A simulated device: smoltcp on the device's end of a port, and a host
//! program that speaks a small protocol with it.
//!
//! The protocol, over TCP: the client sends `<verb> <bytes>\n`. After `GET` the
//! server answers with that many bytes of [`pattern`] and closes. After `PUT`
//! the client sends that many bytes and ends its stream; then the server
//! answers `ok <bytes>\n`, or `bad`, and closes.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test binary uses its part of this module"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::time::Timespec;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{self, State};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};
use zfl_net::address::{AddressPlan, MacAddress};

/// No wait in a test takes longer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The byte at a position of every transfer: not periodic in the sizes of
/// buffers and segments.
pub fn pattern(position: usize) -> u8 {
    (position.wrapping_mul(31) ^ (position >> 8) ^ (position >> 15)) as u8
}

pub fn pattern_bytes(length: usize) -> Vec<u8> {
    (0..length).map(pattern).collect()
}

struct Phy {
    socket: OwnedFd,
    unsent: VecDeque<Vec<u8>>,
}

struct Receipt(Vec<u8>);

impl RxToken for Receipt {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, use_frame: F) -> R {
        use_frame(&self.0)
    }
}

struct Shipment<'p>(&'p mut Phy);

impl TxToken for Shipment<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, bytes: usize, fill: F) -> R {
        let mut frame = vec![0; bytes];
        let result = fill(&mut frame);
        self.0.unsent.push_back(frame);
        self.0.flush();
        result
    }
}

impl Phy {
    fn flush(&mut self) {
        while let Some(frame) = self.unsent.front() {
            match send(&self.socket, frame, SendFlags::NOSIGNAL) {
                Err(Errno::AGAIN) => break,
                // Sent, or the network is gone: nobody to tell.
                _ => self.unsent.pop_front(),
            };
        }
    }
}

impl Device for Phy {
    type RxToken<'a> = Receipt;
    type TxToken<'a> = Shipment<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Receipt, Shipment<'_>)> {
        let mut frame = vec![0; 2048];
        let (bytes, _) = recv(&self.socket, &mut frame[..], RecvFlags::empty()).ok()?;
        frame.truncate(bytes);
        Some((Receipt(frame), Shipment(self)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Shipment<'_>> {
        Some(Shipment(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

/// A device with a TCP/IP stack.
pub struct Guest {
    phy: Phy,
    interface: Interface,
    pub sockets: SocketSet<'static>,
    epoch: Instant,
    next_port: u16,
}

impl Guest {
    pub fn new(socket: OwnedFd, plan: &AddressPlan, seed: u64, index: usize) -> Self {
        let mac = MacAddress::for_device(seed, index).unwrap();
        Self::with_mac(socket, plan, mac, index)
    }

    pub fn with_mac(socket: OwnedFd, plan: &AddressPlan, mac: MacAddress, index: usize) -> Self {
        let mut phy = Phy {
            socket,
            unsent: VecDeque::new(),
        };
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac.0)));
        config.random_seed = index as u64;
        let mut interface = Interface::new(config, &mut phy, smoltcp::time::Instant::ZERO);
        let address = IpCidr::new(plan.device(index).unwrap().into(), plan.prefix_length());
        interface.update_ip_addrs(|addresses| addresses.push(address).unwrap());
        Self {
            phy,
            interface,
            sockets: SocketSet::new(Vec::new()),
            epoch: Instant::now(),
            next_port: 50_000,
        }
    }

    /// Puts bytes on the wire that no stack would.
    pub fn send_raw(&mut self, frame: &[u8]) {
        self.phy.unsent.push_back(frame.to_vec());
        self.phy.flush();
    }

    pub fn into_socket(self) -> OwnedFd {
        self.phy.socket
    }

    /// A socket with the receive window of the firmware.
    fn socket(&mut self) -> SocketHandle {
        let receive = tcp::SocketBuffer::new(vec![0; 8 * 1024]);
        let transmit = tcp::SocketBuffer::new(vec![0; 8 * 1024]);
        let mut socket = tcp::Socket::new(receive, transmit);
        socket.set_nagle_enabled(false);
        self.sockets.add(socket)
    }

    pub fn connect(&mut self, address: Ipv4Addr, port: u16) -> SocketHandle {
        let handle = self.socket();
        let local_port = self.next_port;
        self.next_port += 1;
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket
            .connect(self.interface.context(), (address, port), local_port)
            .unwrap();
        handle
    }

    pub fn listen(&mut self, port: u16) -> SocketHandle {
        let handle = self.socket();
        self.tcp(handle).listen(port).unwrap();
        handle
    }

    pub fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Lets the stack run until `step` has a result. Panics when that takes too
    /// long.
    #[track_caller]
    pub fn run<R>(&mut self, what: &str, mut step: impl FnMut(&mut Self) -> Option<R>) -> R {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.turn();
            if let Some(result) = step(self) {
                self.turn();
                return result;
            }
            self.turn();
            assert!(Instant::now() < deadline, "gave up waiting for: {what}");
            self.wait();
        }
    }

    fn time(&self) -> smoltcp::time::Instant {
        smoltcp::time::Instant::from_micros(self.epoch.elapsed().as_micros() as i64)
    }

    fn turn(&mut self) {
        let now = self.time();
        self.phy.flush();
        self.interface.poll(now, &mut self.phy, &mut self.sockets);
    }

    /// Waits for a frame, for the stack's timer, or a little: a step may watch
    /// something outside.
    fn wait(&mut self) {
        let now = self.time();
        let delay = self
            .interface
            .poll_delay(now, &self.sockets)
            .map_or(20_000, |delay| delay.total_micros().clamp(100, 20_000));
        let mut events = PollFlags::IN;
        if !self.phy.unsent.is_empty() {
            events |= PollFlags::OUT;
        }
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: delay as i64 * 1000,
        };
        let mut descriptors = [PollFd::new(&self.phy.socket, events)];
        let _ = poll(&mut descriptors, Some(&timeout));
    }

    /// Sends all of `bytes`.
    pub fn send_all(&mut self, handle: SocketHandle, bytes: &[u8]) {
        let mut sent = 0;
        self.run("room to send", |guest| {
            let socket = guest.tcp(handle);
            match socket.state() {
                State::SynSent | State::SynReceived | State::Listen => return None,
                State::Established | State::CloseWait => {}
                state => panic!("the connection is {state} after {sent} bytes"),
            }
            sent += socket.send_slice(&bytes[sent..]).unwrap();
            (sent == bytes.len()).then_some(())
        });
    }

    /// Receives until the peer ends its stream; `None` when it was reset.
    pub fn receive_all(&mut self, handle: SocketHandle) -> Option<Vec<u8>> {
        let mut received = Vec::new();
        self.run("the end of the stream", |guest| {
            let socket = guest.tcp(handle);
            if matches!(socket.state(), State::SynSent | State::SynReceived) {
                return None;
            }
            while socket.can_recv() {
                socket
                    .recv(|bytes| {
                        received.extend_from_slice(bytes);
                        (bytes.len(), ())
                    })
                    .unwrap();
            }
            if socket.may_recv() {
                return None;
            }
            match socket.recv(|_| (0, ())) {
                Err(tcp::RecvError::Finished) => Some(Some(std::mem::take(&mut received))),
                _ => Some(None),
            }
        })
    }

    /// Ends the stream to the peer and lets the connection finish.
    pub fn close(&mut self, handle: SocketHandle) {
        self.tcp(handle).close();
        self.run("the connection to close", |guest| {
            matches!(
                guest.tcp(handle).state(),
                State::Closed | State::TimeWait | State::FinWait2
            )
            .then_some(())
        });
    }

    /// Plays the client of the small protocol: downloads.
    pub fn get(&mut self, address: Ipv4Addr, port: u16, bytes: usize) -> Option<Vec<u8>> {
        let handle = self.connect(address, port);
        self.send_all(handle, format!("GET {bytes}\n").as_bytes());
        let received = self.receive_all(handle);
        self.close(handle);
        self.sockets.remove(handle);
        received
    }

    /// Plays the client of the small protocol: uploads; the server's answer.
    pub fn put(&mut self, address: Ipv4Addr, port: u16, bytes: usize) -> Option<Vec<u8>> {
        let handle = self.connect(address, port);
        self.send_all(handle, format!("PUT {bytes}\n").as_bytes());
        self.send_all(handle, &pattern_bytes(bytes));
        // Half-close: the answer comes after the end of our stream.
        self.tcp(handle).close();
        let received = self.receive_all(handle);
        self.close(handle);
        self.sockets.remove(handle);
        received
    }

    /// Plays the server of the small protocol, for one connection.
    pub fn serve(&mut self, handle: SocketHandle) {
        let mut received = Vec::new();
        let (verb, bytes, head) = self.run("a request", |guest| {
            let socket = guest.tcp(handle);
            if socket.can_recv() {
                socket
                    .recv(|bytes| {
                        received.extend_from_slice(bytes);
                        (bytes.len(), ())
                    })
                    .unwrap();
            }
            parse_request(&received)
        });
        if verb == "GET" {
            self.send_all(handle, &pattern_bytes(bytes));
        } else {
            let body = [
                received.split_off(head),
                self.receive_all(handle).expect("no reset"),
            ]
            .concat();
            self.send_all(handle, verdict(&body, bytes).as_bytes());
        }
        self.close(handle);
    }
}

/// Verb, number and length of a request's line.
fn parse_request(received: &[u8]) -> Option<(String, usize, usize)> {
    let end = received.iter().position(|&byte| byte == b'\n')?;
    let line = std::str::from_utf8(&received[..end]).unwrap();
    let (verb, bytes) = line.split_once(' ').unwrap();
    Some((verb.to_owned(), bytes.parse().unwrap(), end + 1))
}

fn verdict(body: &[u8], bytes: usize) -> String {
    if body == pattern_bytes(bytes) {
        format!("ok {bytes}\n")
    } else {
        "bad\n".to_owned()
    }
}

/// The server of the small protocol on the host.
pub struct HostServer {
    pub address: SocketAddr,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl HostServer {
    pub fn start() -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into())
    }

    pub fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        // The standard library's queue of 128 overflows when a large fleet
        // comes at once; a connection then takes a second longer.
        rustix::net::listen(&listener, 4096).unwrap();
        let address = listener.local_addr().unwrap();
        let stopped = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stopped);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_stopped.load(Ordering::Relaxed) {
                    break;
                }
                let stream = stream.unwrap();
                // An error is the client's to notice: some tests break
                // connections.
                std::thread::spawn(move || drop(serve_on_host(stream)));
            }
        });
        Self {
            address,
            stopped,
            thread: Some(thread),
        }
    }
}

impl Drop for HostServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if TcpStream::connect(self.address).is_ok()
            && let Some(thread) = self.thread.take()
        {
            thread.join().unwrap();
        }
    }
}

fn serve_on_host(mut stream: TcpStream) -> io::Result<()> {
    let mut received = Vec::new();
    let (verb, bytes, head) = loop {
        let mut byte = [0; 512];
        let count = stream.read(&mut byte)?;
        if count == 0 {
            return Ok(());
        }
        received.extend_from_slice(&byte[..count]);
        if let Some(request) = parse_request(&received) {
            break request;
        }
    };
    if verb == "GET" {
        stream.write_all(&pattern_bytes(bytes))?;
    } else {
        let mut body = received.split_off(head);
        stream.read_to_end(&mut body)?;
        stream.write_all(verdict(&body, bytes).as_bytes())?;
    }
    // A close with bytes unread would reset the connection: wait for the end.
    stream.shutdown(Shutdown::Write)?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}

/// A connection of a host program to a device's endpoint, with a deadline on
/// every read.
pub fn connect_to(endpoint: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&endpoint, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Plays the client of the small protocol on the host: downloads.
pub fn get_from(endpoint: SocketAddr, bytes: usize) -> io::Result<Vec<u8>> {
    let mut stream = connect_to(endpoint)?;
    stream.write_all(format!("GET {bytes}\n").as_bytes())?;
    let mut received = Vec::new();
    stream.read_to_end(&mut received)?;
    Ok(received)
}

/// Plays the client of the small protocol on the host: uploads.
pub fn put_to(endpoint: SocketAddr, bytes: usize) -> io::Result<Vec<u8>> {
    let mut stream = connect_to(endpoint)?;
    stream.write_all(format!("PUT {bytes}\n").as_bytes())?;
    stream.write_all(&pattern_bytes(bytes))?;
    stream.shutdown(Shutdown::Write)?;
    let mut received = Vec::new();
    stream.read_to_end(&mut received)?;
    Ok(received)
}
