//! How fast the virtual network is and what it costs: simulated devices
//! download from the host through switch and gateway, all at once.
//!
//! ```text
//! cargo run --release -p zfl-net --example throughput -- [DEVICES] [BYTES] [MBIT_PER_S]
//! ```
//!
//! Prints the wall time and the CPU time of the network's thread, as Linux
//! accounts it. `MBIT_PER_S` 0 stands for ports without pacing.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for people, which may give up"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use common::{Guest, HostServer};
use zfl_net::address::COORDINATOR_PORT;
use zfl_net::link::LinkRate;
use zfl_net::{AddressPlan, DropReason, Network, NetworkOptions};

const SEED: u64 = 1;

/// What Linux counts CPU time in; the same on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

fn main() {
    let argument = |index, default| {
        let text = std::env::args().nth(index);
        text.map_or(default, |text| text.parse().unwrap())
    };
    let devices = argument(1, 50);
    let bytes = argument(2, 940_000);
    let megabits = argument(3, 100);

    let server = HostServer::start();
    let plan = AddressPlan::for_fleet(devices).unwrap();
    let mut options = NetworkOptions::new(plan, SEED, server.address);
    options.port.downlink.link.rate = match u32::try_from(megabits).unwrap() {
        0 => LinkRate::UNLIMITED,
        megabits => LinkRate::megabits_per_second(megabits),
    };
    let (network, ends) = Network::start(options).unwrap();

    let (cpu_before, start) = (network_cpu(), Instant::now());
    std::thread::scope(|scope| {
        for (index, end) in ends.into_iter().enumerate() {
            scope.spawn(move || {
                let mut guest = Guest::new(end, &plan, SEED, index);
                let received = guest.get(plan.gateway(), COORDINATOR_PORT, bytes).unwrap();
                assert_eq!(received.len(), bytes);
            });
        }
    });
    let (wall, cpu) = (start.elapsed(), network_cpu().saturating_sub(cpu_before));

    let counters = (0..devices).filter_map(|index| network.counters(index));
    let (mut frames, mut drops) = (0, DropReason::ALL.map(|reason| (reason, 0)));
    for counters in counters {
        frames += counters.to_device.frames + counters.from_device.frames;
        for (reason, count) in &mut drops {
            *count += counters.drops.get(*reason);
        }
    }
    let megabytes = (devices * bytes) as f64 / 1e6;
    println!("{devices} devices, {bytes} bytes each, port rate {megabits} Mbit/s");
    println!("wall time              {:8.3} s", wall.as_secs_f64());
    println!(
        "throughput             {:8.1} MB/s",
        megabytes / wall.as_secs_f64()
    );
    println!("network thread CPU     {:8.3} s", cpu.as_secs_f64());
    println!(
        "network CPU per MB     {:8.3} ms",
        cpu.as_secs_f64() * 1e3 / megabytes
    );
    println!("frames both ways       {frames:8}");
    for (reason, count) in drops.into_iter().filter(|(_, count)| *count > 0) {
        println!("dropped: {reason:<13} {count:8}");
    }
    println!(
        "network CPU per frame  {:8.2} us",
        cpu.as_secs_f64() * 1e6 / frames as f64
    );
}

/// CPU time of the network's thread until now.
fn network_cpu() -> Duration {
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
        let Some((name, fields)) = stat.rsplit_once(')') else {
            continue;
        };
        if name.ends_with("(zfl-net") {
            let ticks = |index| -> f64 {
                let field = fields.split_whitespace().nth(index).unwrap();
                field.parse().unwrap()
            };
            // utime and stime are fields 14 and 15 of the line, proc(5).
            return Duration::from_secs_f64((ticks(11) + ticks(12)) / TICKS_PER_SECOND);
        }
    }
    Duration::ZERO
}
