//! The bridge in a network namespace, where the machine allows one.
//!
//! The outer test runs this test binary again inside a namespace of its own,
//! with the way a program is to do it; the inner test is the ignored one.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use common::{Guest, HostServer, get_from, pattern_bytes};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use smoltcp::socket::tcp::State;
use zfl_net::AddressPlan;
use zfl_net::address::DEVICE_PORT;
use zfl_net::bridge::{Bridge, BridgeError, is_inside, reexec_command};

const SEED: u64 = 5;
const DEVICES: usize = 3;

#[test]
fn a_fleet_on_a_bridge() {
    let arguments = ["--ignored", "--exact", "inside", "--nocapture"];
    let mut command = match reexec_command(arguments) {
        Ok(command) => command,
        Err(error) => return println!("skipped: {error}"),
    };
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success());
    assert!(said.contains("1 passed"), "the inner test has not run");
}

#[test]
#[ignore = "runs in the namespace that `a_fleet_on_a_bridge` makes"]
fn inside() {
    if !is_inside() {
        return println!("skipped: not in a namespace of its own");
    }
    let plan = AddressPlan::for_fleet(DEVICES).unwrap();
    let bridge = match Bridge::set_up(plan, SEED) {
        Ok(bridge) => bridge,
        Err(
            error @ (BridgeError::MissingProgram { .. }
            | BridgeError::TunMissing
            | BridgeError::TunForbidden { .. }),
        ) => return println!("skipped: {error}"),
        Err(error) => panic!("{error}"),
    };
    assert_eq!(bridge.tap(DEVICES - 1).as_deref(), Some("zfltap2"));
    assert_eq!(bridge.tap(DEVICES), None);
    assert_eq!(bridge.endpoint(1).unwrap().to_string(), "192.0.2.11:80");
    assert_eq!(bridge.counters().unwrap().len(), DEVICES);

    // A second bridge of the same name is refused, with the command.
    let error = Bridge::set_up(plan, SEED).unwrap_err().to_string();
    assert!(
        error.starts_with("`ip` failed at `link add name zfl0"),
        "{error}"
    );

    // The gateway's address is there for the coordinator.
    let server = HostServer::start_at(bridge.coordinator().into());

    let Some((_cable, end)) = cable(&bridge, 0) else {
        return println!("skipped the traffic: qemu-system-arm is not installed");
    };
    let mut guest = Guest::new(end, &plan, SEED, 0);
    let (gateway, port) = (plan.gateway(), server.address.port());
    let received = guest.get(gateway, port, 100_000);
    assert!(received == Some(pattern_bytes(100_000)));

    let handle = guest.listen(DEVICE_PORT);
    let endpoint = bridge.endpoint(0).unwrap();
    std::thread::scope(|scope| {
        let host = scope.spawn(|| get_from(endpoint, 50_000));
        guest.serve(handle);
        assert!(host.join().unwrap().unwrap() == pattern_bytes(50_000));
    });

    let counters = bridge.counters().unwrap();
    assert!(
        (100_000..200_000).contains(&counters[0].to_device.bytes),
        "{counters:?}"
    );
    assert!(
        (50_000..150_000).contains(&counters[0].from_device.bytes),
        "{counters:?}"
    );
    assert_eq!(counters[2].from_device.frames, 0);

    // Another device is out of reach, the gateway is not.
    let (_other_cable, other_end) = cable(&bridge, 1).unwrap();
    let mut other = Guest::new(other_end, &plan, SEED, 1);
    assert!(other.get(gateway, port, 10).is_some());
    let neighbour = guest.connect(plan.device(1).unwrap(), DEVICE_PORT);
    assert!(guest.get(gateway, port, 10).is_some());
    assert!(other.get(gateway, port, 10).is_some());
    assert_eq!(guest.tcp(neighbour).state(), State::SynSent);
}

/// Ends its QEMU.
struct Cable(Child);

impl Drop for Cable {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Joins a tap and one end of a socket pair with a QEMU that emulates nothing
/// else; the other end is a simulated device's. (To open a tap takes an `ioctl`
/// without a safe face.) `None` without QEMU.
fn cable(bridge: &Bridge, device: usize) -> Option<(Cable, OwnedFd)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (end, other) = socketpair(AddressFamily::UNIX, SocketType::DGRAM, flags, None).unwrap();
    let tap = bridge.tap(device).unwrap();
    let child = Command::new("qemu-system-arm")
        .args(["-M", "none", "-display", "none", "-nodefaults"])
        .args([
            "-netdev",
            &format!("tap,id=tap,ifname={tap},script=no,downscript=no"),
        ])
        .args(["-netdev", "dgram,id=guest,local.type=fd,local.str=0"])
        .args(["-netdev", "hubport,id=left,hubid=0,netdev=tap"])
        .args(["-netdev", "hubport,id=right,hubid=0,netdev=guest"])
        .stdin(Stdio::from(other))
        .stdout(Stdio::null())
        .spawn()
        .ok()?;
    Some((Cable(child), end))
}
