//! What devices, the switch and tshark count is the same.

use std::path::Path;
use std::process::Command;

use crate::support::{Place, Records, Row, finish};

fn number(row: &Row, column: &str) -> u64 {
    let text = &row[column];
    text.parse()
        .unwrap_or_else(|_| panic!("{column} is `{text}` in {row:?}"))
}

/// What a device counts and the switch as well.
const BOTH: [&str; 7] = [
    "bytes_in",
    "bytes_out",
    "frames_in",
    "frames_out",
    "segments_in",
    "segments_out",
    "retransmissions",
];

/// A device reads its counters, and then opens the connection by which it tells
/// them: the switch's are those of that moment. Frames between the two are
/// counted by one side alone: where the end of a connection comes late, on a
/// machine with much else to do, a handful. All others must agree to the byte.
#[test]
fn devices_and_switch_count_the_same() {
    const IN_FLIGHT_FRAMES_MAX: u64 = 4;
    let place = Place::new();
    let records = place.completed_run("run", &["training.epochs=10", "rounds=4"]);
    let rows = records.clients();
    assert_eq!(rows.len(), 16);
    let mut exact = 0;
    for row in &rows {
        let pair = |name: &str| {
            let [device, switch] = ["device", "observed"].map(|who| format!("{who}_{name}"));
            (number(row, &device), number(row, &switch))
        };
        exact += u32::from(BOTH.iter().all(|name| pair(name).0 == pair(name).1));
        for way in ["in", "out"] {
            let (device, switch) = pair(&format!("frames_{way}"));
            assert!(device.abs_diff(switch) <= IN_FLIGHT_FRAMES_MAX, "{row:?}");
            assert!(device > 10, "{row:?}");
        }
        assert!(number(row, "drops_nic") <= IN_FLIGHT_FRAMES_MAX, "{row:?}");
        let rtt = |name: &str| {
            row[&format!("host_rtt_down_ms_{name}")]
                .parse::<f64>()
                .unwrap()
        };
        assert!(rtt("min") > 0.0 && rtt("min") <= rtt("mean") && rtt("mean") <= rtt("max"));
        assert!(number(row, "host_rtt_down_count") > 0);
    }
    assert!(exact >= 12, "{exact} of 16 rows are exact");
    // The bytes of the messages, and their HTTP. Not by rounds: where the host is
    // busy, the first frames of one may be counted into the one before.
    for (goodput, message) in [
        ("goodput_bytes_down", "bytes_down"),
        ("goodput_bytes_up", "bytes_up"),
    ] {
        let sum = |column: &str| rows.iter().map(|row| number(row, column)).sum::<u64>();
        let head = (sum(goodput) - sum(message)) / 16;
        assert!(
            (100..2000).contains(&head),
            "{head} bytes of HTTP {goodput}"
        );
    }

    // All took part in all rounds: the fleet is their sum.
    for (round, fleet) in (1..).zip(records.rounds()) {
        for (of_fleet, of_client) in [
            ("nic_bytes_in", "nic_bytes_in"),
            ("nic_bytes_out", "nic_bytes_out"),
            ("nic_frames_in", "nic_frames_in"),
            ("nic_frames_out", "nic_frames_out"),
            ("segments_down", "switch_segments_out"),
            ("segments_up", "nic_segments_out"),
            ("retransmissions_down", "retransmissions_down"),
            ("retransmissions_up", "retransmissions_up"),
        ] {
            let of_round = rows.iter().filter(|row| number(row, "round") == round);
            let sum: u64 = of_round.map(|row| number(row, of_client)).sum();
            assert_eq!(number(&fleet, of_fleet), sum, "{of_fleet}");
        }
        assert_eq!(number(&fleet, "drops"), 0);
    }

    // The training data belong to no round.
    let devices = records.table("devices.csv");
    assert_eq!(devices.len(), 4);
    for (index, row) in (0..).zip(&devices) {
        assert_eq!(
            [number(row, "device"), number(row, "after_round")],
            [index, 0]
        );
        assert_eq!(row["board"], "mps2-an386");
        // 360 samples of 64 bytes, and their labels.
        assert!(number(row, "goodput_bytes_down") > 359 * 65, "{row:?}");
        let seconds = |column: &str| row[column].parse::<f64>().unwrap();
        assert!(seconds("boot_host_seconds") < seconds("ready_host_seconds"));
        let client = number(row, "client");
        let first = rows.iter().find(|row| number(row, "client") == client);
        assert!(number(first.unwrap(), "nic_bytes_in") < number(row, "nic_bytes_in"));
    }
}

/// What the link loses is known to the switch and the capture, and to nobody
/// else: all three, and the devices, still count the same.
#[test]
fn over_a_lossy_link_all_count_the_same() {
    let place = Place::new();
    let lossy = ["fleet.0.link=lossy", "link.lossy.loss=0.1", "rounds=2"];
    let mut command = place.run("run", &lossy);
    command.args(["--capture", "all"]);
    finish(command).succeeded();
    let records = Records::new(&place.path("run"));
    let rounds = records.clients();
    let exact = rounds.iter().filter(|row| {
        let agrees =
            |name: &&str| row[&format!("device_{name}")] == row[&format!("observed_{name}")];
        BOTH.iter().all(agrees)
    });
    let exact = exact.count();
    assert!(
        exact * 2 > rounds.len(),
        "{exact} of {} rows are exact",
        rounds.len()
    );

    let mut rows = records.table("devices.csv");
    rows.extend(rounds);
    let counted = |column: &str| rows.iter().map(|row| number(row, column)).sum::<u64>();
    let fields = [
        "frame.packet_flags_direction",
        "frame.comment",
        "tcp.analysis.retransmission",
        "tcp.analysis.out_of_order",
    ];
    let seen = tshark(&records.folder.join("captures/all.pcapng"), &fields);
    for (direction, way, sent, came_out) in [
        ("0x00000001", "down", "switch_frames_out", "nic_frames_in"),
        ("0x00000002", "up", "nic_frames_out", "switch_frames_in"),
    ] {
        let of_direction = || seen.iter().filter(|frame| frame[0] == direction);
        let lost = counted(&format!("drops_link_{way}"));
        assert!(lost > 5, "{lost} lost {way}");
        assert_eq!(counted(sent) - lost, counted(came_out), "{way}");
        // Connections end after the last round, and what is lost then is sent
        // again; nobody counts that into a round.
        let more = |of_capture: usize, counted: u64| {
            let more = (of_capture as u64).checked_sub(counted);
            assert!(
                more.is_some_and(|more| more <= 16),
                "{way}: {of_capture}, {counted}"
            );
        };
        more(of_direction().count(), counted(sent));
        let is_lost = |frame: &&Vec<String>| frame[1] == "dropped: link_lost";
        more(of_direction().filter(is_lost).count(), lost);
        let is_sent_again = |frame: &&Vec<String>| !frame[2].is_empty() || !frame[3].is_empty();
        let retransmissions = counted(&format!("retransmissions_{way}"));
        assert!(retransmissions > 5, "{retransmissions} {way}");
        more(
            of_direction().filter(is_sent_again).count(),
            retransmissions,
        );
    }
}

#[test]
fn who_has_no_switch_has_empty_columns() {
    let place = Place::new();
    let mut command = place.run("native", &["rounds=1"]);
    command.args(["--fidelity", "native"]);
    finish(command).succeeded();
    let records = Records::new(&place.path("native"));
    for row in records.clients() {
        assert_eq!(row["nic_frames_in"], "0");
        for column in [
            "nic_segments_in",
            "retransmissions_up",
            "device_frames_in",
            "drops_nic",
        ] {
            assert_eq!(row[column], "", "{column}");
        }
    }
    assert_eq!(records.rounds()[0]["segments_up"], "");
    assert_eq!(records.table("devices.csv").len(), 0);
}

/// What tshark says of each frame in a capture.
fn tshark(path: &Path, fields: &[&str]) -> Vec<Vec<String>> {
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
        .unwrap_or_else(|error| panic!("tshark (`scripts/setup test` installs it): {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    let columns = |line: &str| line.split('|').map(str::to_owned).collect();
    text.lines().map(columns).collect()
}

#[test]
fn a_capture_holds_what_was_counted() {
    let place = Place::new();
    let mut command = place.run("run", &[]);
    command.args(["--capture", "3,1"]);
    finish(command).succeeded();
    let records = Records::new(&place.path("run"));
    let captured = &records.events_named("captured")[0];
    assert_eq!(captured["left_out_frames"], 0);
    let mut frames = 0;
    for device in [1, 3] {
        let name = format!("device-{device:03}");
        let path = records.folder.join(format!("captures/{name}.pcapng"));
        let fields = [
            "frame.interface_name",
            "frame.packet_flags_direction",
            "ip.checksum.status",
            "tcp.checksum.status",
            "tcp.analysis.retransmission",
            "http.request.uri",
        ];
        let seen = tshark(&path, &fields);
        frames += seen.len() as u64;
        for frame in &seen {
            assert_eq!(frame[0], name);
            // Of ARP there is none.
            assert!(["1", ""].contains(&frame[2].as_str()), "{frame:?}");
            assert_eq!(frame[2], frame[3]);
        }
        let requests = |uri: &str| {
            seen.iter()
                .filter(|frame| frame[5].starts_with(uri))
                .count()
        };
        assert_eq!(requests("/training-data?id="), 1);
        assert_eq!(requests("/results?id="), 3);

        // Until it was ready, and in the rounds, for that is all there was, but
        // for the end of its last connection.
        let mut rows = records.table("devices.csv");
        rows.extend(records.clients());
        rows.retain(|row| number(row, "client") == device);
        assert_eq!(rows.len(), 4);
        let counted = |column: &str| rows.iter().map(|row| number(row, column)).sum::<u64>();
        for (direction, frames, retransmissions) in [
            ("0x00000001", "switch_frames_out", "retransmissions_down"),
            ("0x00000002", "nic_frames_out", "retransmissions_up"),
        ] {
            let of_direction = || seen.iter().filter(|frame| frame[1] == direction);
            let last = (of_direction().count() as u64).checked_sub(counted(frames));
            assert!(last.is_some_and(|last| last <= 8), "{last:?} more frames");
            let sent_again = of_direction().filter(|frame| !frame[4].is_empty()).count();
            assert_eq!(sent_again as u64, counted(retransmissions), "{direction}");
        }
    }
    assert_eq!(captured["frames"], frames);
}

#[test]
fn a_capture_of_all_ends_at_its_limit_and_the_run_goes_on() {
    let place = Place::new();
    let mut command = place.run("run", &["model.mlp.hidden=[200]"]);
    command.args(["--capture", "all", "--capture-max-mb", "1"]);
    let said = finish(command);
    let warning = "warning: the capture has reached its limit of 1000000 bytes: no more frames are \
                   captured";
    assert!(said.stderr.contains(warning), "{}", said.stderr);
    said.succeeded();
    let records = Records::new(&place.path("run"));
    assert_eq!(records.events_named("capture-ended").len(), 1);
    assert_eq!(records.summary()["rounds"], 3);
    let captured = &records.events_named("captured")[0];
    let seen = tshark(
        &records.folder.join("captures/all.pcapng"),
        &["frame.interface_name"],
    );
    assert_eq!(captured["frames"], seen.len());
    for device in 0..4 {
        let name = format!("device-{device:03}");
        assert!(seen.iter().any(|frame| frame[0] == name), "{name}");
    }
}

#[test]
fn what_cannot_be_captured_is_said_before_anything_starts() {
    let place = Place::new();
    let said = |arguments: &[&str]| {
        let mut command = place.run("out", &[]);
        command.args(arguments);
        finish(command).failed(2)
    };
    insta::assert_snapshot!(said(&["--capture", "0,4"]), @"error: device 4 cannot be captured: the fleet has 4, numbered from 0 (a device has the number of its console's file)");
    insta::assert_snapshot!(said(&["--capture", "first"]), @r"
    error: invalid value 'first' for '--capture <DEVICES>': expected `all`, or numbers of devices such as 0 or 0,3,7

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(said(&["--capture", "all", "--fidelity", "native"]), @"error: there is nothing to capture: no client of this run is emulated");
    insta::assert_snapshot!(said(&["--capture-max-mb", "5"]), @r"
    error: the following required arguments were not provided:
      --capture <DEVICES>

    Usage: zfl run --capture <DEVICES> --out <DIR> --capture-max-mb <MB> <FILE>

    For more information, try '--help'.
    ");
    assert!(!place.path("out").exists());
}
