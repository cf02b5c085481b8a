//! Captures, as Debian's tshark reads them, held against the switch's counters.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, Mode, mkfifoat};
use zfl_net::address::{AddressPlan, COORDINATOR_PORT};
use zfl_net::capture::{Capture, CaptureFile, CaptureOptions, CaptureReport};
use zfl_net::counters::{DropReason, PortCounters};
use zfl_net::{Network, NetworkOptions};

use crate::common::{Guest, HostServer, PATIENCE, pattern_bytes};

const SEED: u64 = 7;

/// A frame as tshark sees it.
#[derive(Debug)]
struct Seen {
    interface: String,
    is_inbound: bool,
    bytes: u64,
    /// Seconds and nanoseconds since 1970.
    time: String,
    comment: String,
    is_retransmission: bool,
    /// Of IP and TCP; `1` is good.
    checksums: [String; 2],
}

fn tshark(path: &Path) -> Vec<Seen> {
    let fields = [
        "frame.interface_name",
        "frame.packet_flags_direction",
        "frame.len",
        "frame.time_epoch",
        "frame.comment",
        "tcp.analysis.retransmission",
        "tcp.analysis.out_of_order",
        "ip.checksum.status",
        "tcp.checksum.status",
    ];
    let output = Command::new("tshark")
        .args(["-n", "-T", "fields", "-E", "separator=|"])
        .args([
            "-o",
            "ip.check_checksum:TRUE",
            "-o",
            "tcp.check_checksum:TRUE",
        ])
        .args(fields.iter().flat_map(|field| ["-e", *field]))
        .arg("-r")
        .arg(path)
        .output()
        .expect("tshark, which `scripts/setup test` installs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let seen = text.lines().map(|line| {
        let column: Vec<&str> = line.split('|').collect();
        assert_eq!(column.len(), fields.len(), "{line}");
        let direction: u32 = match column[1].strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).unwrap(),
            None => column[1].parse().unwrap(),
        };
        assert!(direction == 1 || direction == 2, "{line}");
        Seen {
            interface: column[0].to_owned(),
            is_inbound: direction == 1,
            bytes: column[2].parse().unwrap(),
            time: column[3].to_owned(),
            comment: column[4].to_owned(),
            // Out of order, as tshark calls those that come soon, is nothing
            // else where frames are taken from their sender.
            is_retransmission: !column[5].is_empty() || !column[6].is_empty(),
            checksums: [column[7].to_owned(), column[8].to_owned()],
        }
    });
    seen.collect()
}

/// A capture of these devices in one file, and what it says when it ends early.
fn options(path: &Path, devices: usize, bytes_max: u64) -> (CaptureOptions, Receiver<String>) {
    let (sender, ended) = channel();
    let names = (0..devices).map(|device| (device, format!("device-{device:03}")));
    let options = CaptureOptions {
        files: vec![CaptureFile {
            path: path.to_owned(),
            devices: names.collect(),
        }],
        bytes_max,
        ended: Box::new(move |error| sender.send(error.to_string()).unwrap()),
    };
    (options, ended)
}

/// Two devices download and upload; the counters of both, and the capture's.
fn transfers(
    capture: CaptureOptions,
    coordinator: SocketAddr,
    change: impl FnOnce(&mut NetworkOptions),
) -> (Vec<PortCounters>, CaptureReport) {
    const BYTES: usize = 20_000;
    let plan = AddressPlan::for_fleet(2).unwrap();
    let (capture, tap) = Capture::start(capture).unwrap();
    let mut options = NetworkOptions::new(plan, SEED, coordinator);
    options.tap = Some(tap);
    change(&mut options);
    let (network, ends) = Network::start(options).unwrap();
    // The devices' ends stay open, or frames that come late find nobody.
    let guests: Vec<Guest> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..)
            .zip(ends)
            .map(|(index, end)| {
                scope.spawn(move || {
                    let mut guest = Guest::new(end, &plan, SEED, index);
                    let received = guest.get(plan.gateway(), COORDINATOR_PORT, BYTES);
                    assert!(received == Some(pattern_bytes(BYTES)));
                    let answer = guest.put(plan.gateway(), COORDINATOR_PORT, BYTES);
                    assert_eq!(answer.as_deref(), Some(&b"ok 20000\n"[..]));
                    guest
                })
            })
            .collect();
        started
            .into_iter()
            .map(|guest| guest.join().unwrap())
            .collect()
    });
    let counters = network.shutdown().unwrap();
    drop(guests);
    (counters, capture.finish())
}

/// A quarter of what a burst of the gateway's takes: the rest is dropped, and
/// sent again.
fn with_short_queues(options: &mut NetworkOptions) {
    options.port.downlink.queue_bytes_max = 4 * 1514;
    options.port.downlink.link.burst_bytes = 0;
}

fn nanoseconds(time: &str) -> u128 {
    let (seconds, fraction) = time.split_once('.').unwrap();
    assert_eq!(fraction.len(), 9, "{time}");
    format!("{seconds}{fraction}").parse().unwrap()
}

#[test]
fn tshark_counts_what_the_switch_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.pcapng");
    let server = HostServer::start();
    let (capture, ended) = options(&path, 2, u64::MAX);
    let (counters, report) = transfers(capture, server.address, with_short_queues);
    assert!(ended.try_recv().is_err(), "the capture ended early");
    assert_eq!(report.left_out_frames, 0);
    assert_eq!(report.bytes, path.metadata().unwrap().len());

    let seen = tshark(&path);
    assert_eq!(report.frames, seen.len() as u64);
    for (device, counters) in counters.iter().enumerate() {
        let name = format!("device-{device:03}");
        let of_device: Vec<&Seen> = seen.iter().filter(|seen| seen.interface == name).collect();
        let traffic = |wanted: &dyn Fn(&Seen) -> bool| {
            let frames = of_device.iter().filter(|seen| wanted(seen));
            let bytes: u64 = frames.clone().map(|seen| seen.bytes).sum();
            (frames.count() as u64, bytes)
        };
        let is_dropped = |seen: &Seen| !seen.comment.is_empty();
        for (is_inbound, sent) in [(true, counters.from_switch), (false, counters.from_device)] {
            let shown = traffic(&|seen| seen.is_inbound == is_inbound);
            assert_eq!(shown, (sent.frames, sent.bytes));
        }
        let drops = counters.drops.get(DropReason::DownlinkQueueFull);
        assert!(drops > 0, "{counters:?}");
        let is_overflow = |seen: &Seen| seen.comment == "dropped: downlink_queue_full";
        assert_eq!(
            traffic(&|seen| seen.is_inbound && is_overflow(seen)).0,
            drops
        );
        assert_eq!(traffic(&is_dropped).0, drops);

        for (is_inbound, tcp) in [
            (true, counters.tcp_from_switch),
            (false, counters.tcp_from_device),
        ] {
            let sent_again =
                traffic(&|seen| seen.is_inbound == is_inbound && seen.is_retransmission);
            assert_eq!(sent_again.0, tcp.retransmissions);
        }
    }
    for frame in &seen {
        // ARP has none.
        let [ip, tcp] = &frame.checksums;
        let is_good = |status: &str| status == "1" || status.is_empty();
        assert!(is_good(ip) && is_good(tcp), "{frame:?}");
    }
    let times: Vec<u128> = seen.iter().map(|seen| nanoseconds(&seen.time)).collect();
    assert!(times.is_sorted());
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let age = now - Duration::from_nanos(u64::try_from(times[0]).unwrap());
    assert!(age < PATIENCE, "{age:?}");
    // Microseconds would do for none of them, with luck for one in a thousand.
    let below_us = times.iter().filter(|time| **time % 1000 != 0).count();
    assert!(below_us * 2 > times.len(), "{below_us} of {}", times.len());
    let with_checksums = seen.iter().filter(|seen| seen.checksums[1] == "1").count();
    let segments: u64 = counters
        .iter()
        .map(|counters| counters.tcp_from_switch.segments + counters.tcp_from_device.segments)
        .sum();
    assert_eq!(with_checksums as u64, segments);
}

#[test]
fn a_capture_ends_at_its_limit_and_the_network_goes_on() {
    const BYTES_MAX: u64 = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("device-000.pcapng");
    let server = HostServer::start();
    let (capture, ended) = options(&path, 1, BYTES_MAX);
    let (_, report) = transfers(capture, server.address, |_| {});
    let limit = "the capture has reached its limit of 20000 bytes";
    assert_eq!(ended.try_recv().as_deref(), Ok(limit));
    let bytes = path.metadata().unwrap().len();
    assert!((BYTES_MAX - 2_000..=BYTES_MAX).contains(&bytes), "{bytes}");
    let first = tshark(&path).len();
    assert_eq!(report.frames, first as u64);

    // What is there is kept, and counts.
    let (capture, ended) = options(&path, 1, 2 * BYTES_MAX);
    let (_, report) = transfers(capture, server.address, |_| {});
    assert!(ended.try_recv().is_ok());
    assert!(path.metadata().unwrap().len() <= 2 * BYTES_MAX);
    let both = tshark(&path);
    assert_eq!(both.len() as u64, first as u64 + report.frames);
    assert!(both.iter().all(|seen| seen.interface == "device-000"));
}

#[test]
fn what_cannot_be_written_ends_the_capture_alone() {
    // The kernel's disk that is always full.
    let (capture, _) = options(Path::new("/dev/full"), 1, u64::MAX);
    let refused = Capture::start(capture).err().unwrap().to_string();
    let reason = "failed to write the capture /dev/full: No space left on device (os error 28)";
    assert_eq!(refused, reason);

    // A file that fails later: a pipe whose reader goes away.
    let server = HostServer::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("device-000.pcapng");
    mkfifoat(CWD, &path, Mode::RWXU).unwrap();
    let reader = File::options().read(true).write(true).open(&path).unwrap();
    let (capture, ended) = options(&path, 1, u64::MAX);
    let (counters, report) = transfers(capture, server.address, |_| drop(reader));
    let why = ended.try_recv().unwrap();
    assert!(why.starts_with("failed to write the capture "), "{why}");
    assert!(why.ends_with("Broken pipe (os error 32)"), "{why}");
    // The devices have all their data; of the capture there is no more than a
    // buffer.
    assert!(counters[0].to_device.bytes > 20_000);
    assert!(report.bytes < 1_000, "{report:?}");
    assert_eq!(report.frames, 0);
}
