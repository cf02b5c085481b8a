//! The whole network with simulated devices: real sockets, real time, and a
//! deadline on every wait.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Guest, HostServer, PATIENCE, connect_to, get_from, pattern_bytes, put_to};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use smoltcp::socket::tcp::State;
use zfl_net::address::{AddressPlan, COORDINATOR_PORT, DEVICE_PORT, MacAddress};
use zfl_net::counters::{DropReason, PortCounters};
use zfl_net::link::{LinkRate, Probability};
use zfl_net::network::{Network, NetworkOptions};
use zfl_net::switch::PortOptions;

const SEED: u64 = 42;
const MEGABYTE: usize = 1_000_000;

struct Setup {
    plan: AddressPlan,
    network: Network,
    ends: Vec<Option<OwnedFd>>,
}

impl Setup {
    fn start(
        devices: usize,
        coordinator: SocketAddr,
        adjust: impl FnOnce(&mut NetworkOptions),
    ) -> Self {
        let plan = AddressPlan::for_fleet(devices).unwrap();
        let mut options = NetworkOptions::new(plan, SEED, coordinator);
        adjust(&mut options);
        let (network, ends) = Network::start(options).unwrap();
        Self {
            plan,
            network,
            ends: ends.into_iter().map(Some).collect(),
        }
    }

    fn guest(&mut self, index: usize) -> Guest {
        Guest::new(self.ends[index].take().unwrap(), &self.plan, SEED, index)
    }

    fn endpoint(&self, index: usize) -> SocketAddr {
        self.network.endpoint(index).unwrap()
    }

    /// Waits until a port's counters are as wanted.
    #[track_caller]
    fn await_counters(&self, index: usize, wanted: impl Fn(&PortCounters) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let counters = self.network.counters(index).unwrap();
            if wanted(&counters) {
                return;
            }
            assert!(Instant::now() < deadline, "gave up at {counters:?}");
            std::thread::yield_now();
        }
    }
}

/// A port of the host where nobody listens.
fn refusing_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

/// Runs a guest's server in a thread until the test drops the handle.
fn with_server<R>(guest: Guest, test: impl FnOnce() -> R) -> R {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| serve_until(guest, &done));
        // Also when the test panics, or the scope would wait for ever.
        let _stop = OnDrop(|| done.store(true, Ordering::Relaxed));
        test()
    })
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn serve_until(mut guest: Guest, done: &AtomicBool) -> Guest {
    let mut next = guest.listen(DEVICE_PORT);
    loop {
        let handle = next;
        let asked = guest.run("a connection or the end", |guest| {
            if done.load(Ordering::Relaxed) {
                return Some(false);
            }
            guest.tcp(handle).is_active().then_some(true)
        });
        if !asked {
            return guest;
        }
        // There is always one that listens, or the next client is refused.
        next = guest.listen(DEVICE_PORT);
        guest.serve(handle);
        guest.sockets.remove(handle);
    }
}

#[test]
fn a_device_downloads_and_uploads() {
    let server = HostServer::start();
    let mut setup = Setup::start(1, server.address, |_| {});
    let gateway = setup.plan.gateway();
    let mut guest = setup.guest(0);
    let received = guest.get(gateway, COORDINATOR_PORT, MEGABYTE);
    assert!(received == Some(pattern_bytes(MEGABYTE)));
    let answer = guest.put(gateway, COORDINATOR_PORT, MEGABYTE);
    assert_eq!(answer.as_deref(), Some(&b"ok 1000000\n"[..]));

    setup.await_counters(0, |counters| counters.connections.from_device == 2);
    let counters = setup.network.counters(0).unwrap();
    assert_eq!(counters.drops.total(), 0);
    assert_eq!(counters.connections.failed, 0);
    // Both transfers and their headers; a retransmission or two may be there
    // when the machine is busy.
    for bytes in [counters.from_device.bytes, counters.to_device.bytes] {
        assert!((1_040_000..1_300_000).contains(&bytes), "{counters:?}");
    }
    // What was sent again counts once: bodies, requests and the answer.
    let new_bytes =
        [counters.tcp_from_device, counters.tcp_from_switch].map(|tcp| tcp.new_payload_bytes);
    assert_eq!(new_bytes, [1_000_024, 1_000_011]);
    let round_trips = setup.network.take_round_trips(0);
    for timed in [round_trips.from_device, round_trips.from_switch] {
        assert!(timed.count > 10, "{timed:?}");
        assert!(timed.min_ns <= timed.sum_ns / timed.count, "{timed:?}");
        assert!(timed.max_ns >= timed.sum_ns / timed.count, "{timed:?}");
    }
    assert_eq!(setup.network.take_round_trips(0).from_switch.count, 0);
}

/// Every link of the port has what can go wrong; the other device has none of it.
#[test]
fn a_bad_link_costs_time_and_no_byte() {
    const BYTES: usize = 12_000;
    let server = HostServer::start();
    let mut setup = Setup::start(2, server.address, |options| {
        let mut bad = PortOptions::default();
        for link in [&mut bad.uplink.link, &mut bad.downlink.link] {
            link.loss = Probability::new(0.03);
            link.duplicate = Probability::new(0.3);
            link.corrupt = Probability::new(0.05);
            link.delay = Duration::from_millis(2);
            link.jitter = Duration::from_millis(1);
            link.reorder = true;
            link.mtu_bytes = 576;
        }
        options.ports = vec![bad];
    });
    let gateway = setup.plan.gateway();
    for device in 0..2 {
        let mut guest = setup.guest(device);
        let received = guest.get(gateway, COORDINATOR_PORT, BYTES);
        assert!(received == Some(pattern_bytes(BYTES)));
        let answer = guest.put(gateway, COORDINATOR_PORT, BYTES);
        assert_eq!(answer.as_deref(), Some(&b"ok 12000\n"[..]));
    }
    let counters = setup.network.counters(0).unwrap();
    assert!(counters.drops.get(DropReason::Lost) > 0);
    assert_eq!(counters.drops.get(DropReason::TooLarge), 0);
    for link in [counters.uplink, counters.downlink] {
        assert!(
            link.duplicated > 0 && link.corrupted > 0 && link.clamped > 0,
            "{link:?}"
        );
        assert!(link.busy > Duration::from_millis(10), "{link:?}");
    }
    let other = setup.network.counters(1).unwrap();
    assert_eq!(other.drops.total(), 0);
    assert_eq!(other.downlink.duplicated + other.downlink.corrupted, 0);
}

#[test]
fn the_host_reaches_a_device_at_its_endpoint() {
    let mut setup = Setup::start(3, refusing_address(), |_| {});
    let guest = setup.guest(2);
    with_server(guest, || {
        let endpoint = setup.endpoint(2);
        assert!(get_from(endpoint, MEGABYTE).unwrap() == pattern_bytes(MEGABYTE));
        assert_eq!(put_to(endpoint, MEGABYTE).unwrap(), b"ok 1000000\n");
        assert_eq!(get_from(endpoint, 0).unwrap(), b"");
    });
    setup.await_counters(2, |counters| counters.connections.to_device == 3);
}

#[test]
fn fifty_devices_at_once() {
    let server = HostServer::start();
    let mut setup = Setup::start(50, server.address, |_| {});
    let guests: Vec<_> = (0..50).map(|index| setup.guest(index)).collect();
    let gateway = setup.plan.gateway();
    let expected = pattern_bytes(200_000);
    std::thread::scope(|scope| {
        for mut guest in guests {
            let expected = &expected;
            scope.spawn(move || {
                let received = guest.get(gateway, COORDINATOR_PORT, expected.len());
                assert!(received.as_ref() == Some(expected));
                let answer = guest.put(gateway, COORDINATOR_PORT, 50_000);
                assert_eq!(answer.as_deref(), Some(&b"ok 50000\n"[..]));
            });
        }
    });
}

#[test]
fn a_large_fleet_has_other_addresses() {
    let server = HostServer::start();
    let mut setup = Setup::start(300, server.address, |_| {});
    let mut guest = setup.guest(299);
    let gateway = setup.plan.gateway();
    let received = guest.get(gateway, COORDINATOR_PORT, 1000);
    assert!(received == Some(pattern_bytes(1000)));
    with_server(guest, || {
        assert_eq!(
            get_from(setup.endpoint(299), 10).unwrap(),
            pattern_bytes(10)
        );
    });
}

#[test]
fn a_refusing_coordinator_resets_the_device() {
    let mut setup = Setup::start(1, refusing_address(), |_| {});
    let mut guest = setup.guest(0);
    let handle = guest.connect(setup.plan.gateway(), COORDINATOR_PORT);
    assert_eq!(guest.receive_all(handle), None);
    setup.await_counters(0, |counters| counters.connections.failed == 1);
}

#[test]
fn a_refusing_device_resets_the_host() {
    let mut setup = Setup::start(1, refusing_address(), |_| {});
    // Without a listener its stack refuses.
    let mut guest = setup.guest(0);
    let endpoint = setup.endpoint(0);
    std::thread::scope(|scope| {
        let host = scope.spawn(|| get_from(endpoint, 10));
        guest.run("the refusal", |_| host.is_finished().then_some(()));
        let error = host.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_silent_device_is_given_up() {
    let setup = Setup::start(1, refusing_address(), |options| {
        options.gateway.connect_timeout = Duration::from_millis(50);
    });
    let error = get_from(setup.endpoint(0), 10).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn an_idle_connection_is_reset_at_both_ends() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut setup = Setup::start(1, listener.local_addr().unwrap(), |options| {
        options.gateway.idle_timeout = Duration::from_millis(50);
    });
    let mut guest = setup.guest(0);
    let handle = guest.connect(setup.plan.gateway(), COORDINATOR_PORT);
    assert_eq!(guest.receive_all(handle), None);
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let error = stream.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn nothing_but_the_coordinator_is_reachable() {
    let server = HostServer::start();
    let mut setup = Setup::start(2, server.address, |_| {});
    let mut guest = setup.guest(0);
    // Another port of the gateway is refused at once.
    for port in [80, 22, server.address.port()] {
        let handle = guest.connect(setup.plan.gateway(), port);
        assert_eq!(guest.receive_all(handle), None);
    }
    // Nobody says where another device is, and a frame that knows gets dropped.
    let neighbour = guest.connect(setup.plan.device(1).unwrap(), DEVICE_PORT);
    let mut frame = vec![0; 60];
    frame[..6].copy_from_slice(&MacAddress::for_device(SEED, 1).unwrap().0);
    frame[6..12].copy_from_slice(&MacAddress::for_device(SEED, 0).unwrap().0);
    guest.send_raw(&frame);
    setup.await_counters(0, |counters| counters.drops.get(DropReason::Isolated) == 1);
    assert_eq!(guest.tcp(neighbour).state(), State::SynSent);
    assert_eq!(setup.network.counters(1), Some(PortCounters::default()));
}

#[test]
fn devices_may_be_permitted_to_talk() {
    let mut setup = Setup::start(2, refusing_address(), |options| {
        options.peer_traffic = true;
    });
    let server = setup.guest(1);
    let mut client = setup.guest(0);
    let address = setup.plan.device(1).unwrap();
    with_server(server, || {
        let received = client.get(address, DEVICE_PORT, 100_000);
        assert!(received == Some(pattern_bytes(100_000)));
    });
}

#[test]
fn a_device_with_a_stolen_address_gets_nowhere() {
    let server = HostServer::start();
    let mut setup = Setup::start(2, server.address, |_| {});
    let end = setup.ends[0].take().unwrap();
    let stolen = MacAddress::for_device(SEED, 1).unwrap();
    let mut thief = Guest::with_mac(end, &setup.plan, stolen, 1);
    thief.connect(setup.plan.gateway(), COORDINATOR_PORT);
    thief.run("the drop to be counted", |_| {
        let counters = setup.network.counters(0).unwrap();
        (counters.drops.get(DropReason::Spoofed) > 0).then_some(())
    });
    assert_eq!(
        setup.network.counters(0).unwrap().connections.from_device,
        0
    );
    // With its own MAC address and another's IP address it gets no further.
    let mut liar = Guest::with_mac(
        setup.network.attach(0).unwrap(),
        &setup.plan,
        MacAddress::for_device(SEED, 0).unwrap(),
        1,
    );
    liar.connect(setup.plan.gateway(), COORDINATOR_PORT);
    liar.run("the frame to be ignored", |_| {
        (setup.network.counters(0).unwrap().gateway_ignored > 0).then_some(())
    });
    assert_eq!(
        setup.network.counters(0).unwrap().connections.from_device,
        0
    );
}

#[test]
fn a_device_that_vanishes_ends_its_connections_and_no_others() {
    let server = HostServer::start();
    let mut setup = Setup::start(2, server.address, |_| {});
    let gateway = setup.plan.gateway();
    let mut victim = setup.guest(0);
    let mut other = setup.guest(1);
    let endpoint = setup.endpoint(0);
    std::thread::scope(|scope| {
        let transfer = scope.spawn(move || other.get(gateway, COORDINATOR_PORT, MEGABYTE));
        let host = scope.spawn(|| get_from(endpoint, MEGABYTE));
        let handle = victim.listen(DEVICE_PORT);
        victim.run("the request", |guest| {
            guest.tcp(handle).can_recv().then_some(())
        });
        victim.send_all(handle, &pattern_bytes(10_000));
        // As when QEMU is killed: the descriptor is closed, nothing is said.
        drop(victim.into_socket());
        setup.network.detach(0).unwrap();
        let error = host.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(transfer.join().unwrap() == Some(pattern_bytes(MEGABYTE)));
    });
    // Now there is nobody at the endpoint.
    assert!(get_from(endpoint, 1).is_err());

    let end = setup.network.attach(0).unwrap();
    let mut reborn = Guest::new(end, &setup.plan, SEED, 0);
    let received = reborn.get(gateway, COORDINATOR_PORT, 1000);
    assert!(received == Some(pattern_bytes(1000)));
    with_server(reborn, || {
        assert_eq!(get_from(endpoint, 10).unwrap(), pattern_bytes(10));
    });
}

#[test]
fn a_closed_end_is_noticed_when_something_is_sent_there() {
    let mut setup = Setup::start(1, refusing_address(), |_| {});
    drop(setup.ends[0].take());
    let error = get_from(setup.endpoint(0), 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn garbage_harms_nobody() {
    let server = HostServer::start();
    let mut setup = Setup::start(2, server.address, |_| {});
    let gateway = setup.plan.gateway();
    let mut guest = setup.guest(0);
    let mut random = zfl_seed::Stream::new(1, zfl_seed::Purpose::BatchOrder, 0);
    let own = MacAddress::for_device(SEED, 0).unwrap();
    let to = [
        MacAddress::for_gateway(SEED),
        MacAddress::BROADCAST,
        MacAddress::for_device(SEED, 1).unwrap(),
    ];
    let mut sent = 0;
    for round in 0..3000usize {
        let bytes = [0, 1, 13, 14, 15, 33, 34, 60, 1514, 1515, 4000][random.below(11) as usize];
        let mut frame: Vec<u8> = (0..bytes).map(|_| random.below(256) as u8).collect();
        // Most have a good header, so that they reach the parsers.
        if round % 4 != 0 && bytes >= 14 {
            frame[..6].copy_from_slice(&to[random.below(3) as usize].0);
            frame[6..12].copy_from_slice(&own.0);
            frame[12..14].copy_from_slice([&[8, 0], &[8, 6]][random.below(2) as usize]);
        }
        if round % 4 == 3 && bytes > 40 {
            // TCP from the right address to the right one, else random.
            frame[14..16].copy_from_slice(&[0x45, 0]);
            let total = (bytes - 14) as u16;
            frame[16..18].copy_from_slice(&total.to_be_bytes());
            frame[20..22].copy_from_slice(&[0, 0]);
            frame[23] = 6;
            frame[26..30].copy_from_slice(&setup.plan.device(0).unwrap().octets());
            frame[30..34].copy_from_slice(&gateway.octets());
            frame[36..38].copy_from_slice(&COORDINATOR_PORT.to_be_bytes());
        }
        guest.send_raw(&frame);
        sent += 1;
    }
    guest.run("the garbage to be counted", |_| {
        let counters = setup.network.counters(0).unwrap();
        (counters.from_device.frames >= sent).then_some(())
    });
    let counters = setup.network.counters(0).unwrap();
    for reason in [
        DropReason::Short,
        DropReason::Oversize,
        DropReason::Spoofed,
        DropReason::Isolated,
    ] {
        assert!(counters.drops.get(reason) > 0, "no frame was {reason}");
    }
    assert!(counters.gateway_ignored > 0);
    // A random header can hold on to connections; a boot gets rid of them.
    let end = setup.network.attach(0).unwrap();
    let mut guest = Guest::new(end, &setup.plan, SEED, 0);
    let received = guest.get(gateway, COORDINATOR_PORT, 1000);
    assert!(received == Some(pattern_bytes(1000)));
}

#[test]
fn a_device_that_does_not_read_loses_frames_and_nothing_else() {
    let mut setup = Setup::start(2, refusing_address(), |options| {
        options.peer_traffic = true;
        options.port.downlink.flight = None;
        options.port.downlink.link.rate = LinkRate::UNLIMITED;
    });
    let deaf = setup.ends[1].take().unwrap();
    let mut sender = setup.guest(0);
    let mut frame = vec![0; 1514];
    frame[..6].copy_from_slice(&MacAddress::for_device(SEED, 1).unwrap().0);
    frame[6..12].copy_from_slice(&MacAddress::for_device(SEED, 0).unwrap().0);
    // More than the queues of the switch and of the kernel hold.
    let sent = 2000;
    for _ in 0..sent {
        sender.send_raw(&frame);
    }
    let dropped = |counters: &PortCounters| counters.drops.get(DropReason::DownlinkQueueFull);
    sender.run("the frames to be counted", |_| {
        let counters = setup.network.counters(0).unwrap();
        (counters.from_device.frames == sent).then_some(())
    });
    let before = setup.network.counters(1).unwrap();
    assert!(dropped(&before) > 0, "{before:?}");
    assert!(
        before.to_device.frames + dropped(&before) < sent,
        "{before:?}"
    );
    // Once it reads, it gets all that was queued.
    let deadline = Instant::now() + PATIENCE;
    let mut received = 0;
    while received + dropped(&before) < sent {
        match recv(&deaf, &mut [0; 2048], RecvFlags::empty()) {
            Ok(_) => received += 1,
            Err(Errno::AGAIN) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
        assert!(Instant::now() < deadline, "gave up after {received} frames");
    }
    let after = setup.network.counters(1).unwrap();
    assert_eq!(dropped(&after), dropped(&before));
    assert_eq!(
        recv(&deaf, &mut [0; 2048], RecvFlags::empty()),
        Err(Errno::AGAIN)
    );
}

#[test]
fn connections_beyond_the_bound_wait_for_room() {
    let mut setup = Setup::start(1, refusing_address(), |options| {
        options.gateway.connections_per_device_max = 2;
    });
    let endpoint = setup.endpoint(0);
    let mut guest = setup.guest(0);
    let first = guest.listen(DEVICE_PORT);
    let second = guest.listen(DEVICE_PORT);
    let mut streams: Vec<TcpStream> = (0..2).map(|_| connect_to(endpoint).unwrap()).collect();
    guest.run("two connections", |guest| {
        let established = [first, second].map(|handle| guest.tcp(handle).state());
        (established == [State::Established; 2]).then_some(())
    });
    // The system's queue takes the third; the device does not see it.
    let third = guest.listen(DEVICE_PORT);
    let mut waiting = connect_to(endpoint).unwrap();
    waiting.write_all(b"GET 3\n").unwrap();
    setup.await_counters(0, |counters| counters.connections.to_device == 2);
    assert_eq!(guest.tcp(third).state(), State::Listen);
    // One ends, with a reset for speed: the third gets its place.
    rustix::net::sockopt::set_socket_linger(&streams[0], Some(Duration::ZERO)).unwrap();
    streams.remove(0);
    guest.serve(third);
    let mut received = Vec::new();
    waiting.read_to_end(&mut received).unwrap();
    assert_eq!(received, pattern_bytes(3));
}

#[test]
fn a_connection_can_follow_on_another_with_the_same_ports() {
    let server = HostServer::start();
    let mut setup = Setup::start(1, server.address, |_| {});
    let gateway = setup.plan.gateway();
    let mut guest = setup.guest(0);
    assert!(guest.get(gateway, COORDINATOR_PORT, 10).is_some());
    // The same local port, as after a quick reboot or a wrap of the counter.
    let mut again = Guest::new(guest.into_socket(), &setup.plan, SEED, 0);
    let received = again.get(gateway, COORDINATOR_PORT, 1000);
    assert!(received == Some(pattern_bytes(1000)));
}

#[test]
fn shutting_down_closes_every_end() {
    let server = HostServer::start();
    let mut setup = Setup::start(2, server.address, |_| {});
    let mut guest = setup.guest(0);
    let handle = guest.connect(setup.plan.gateway(), COORDINATOR_PORT);
    guest.run("the connection", |guest| {
        guest.tcp(handle).may_send().then_some(())
    });
    let endpoint = setup.endpoint(0);
    setup.network.shutdown().unwrap();
    let refused = send(guest.into_socket(), b"anybody?", SendFlags::NOSIGNAL);
    assert_eq!(refused, Err(Errno::CONNREFUSED));
    assert!(TcpStream::connect(endpoint).is_err());
}

#[test]
fn an_unknown_device_is_an_error() {
    let setup = Setup::start(2, refusing_address(), |_| {});
    let error = setup.network.attach(2).unwrap_err().to_string();
    assert_eq!(error, "no device 2: the network has 2");
    assert!(setup.network.detach(7).is_err());
    assert_eq!(setup.network.endpoint(2), None);
    assert_eq!(setup.network.counters(2), None);
}
