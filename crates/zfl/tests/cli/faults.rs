//! Devices that fail while the others go on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Place, Records, Row, check_none_left, finish};

/// Boots, takes the `run` line, and panics.
const PANICS: &str = r"
    say '@zfl boot board=mps2-an386 version=0.1.0 arena=16777088'
    printf 'zfl> '
    read -r line <&3
    say $line
    printf 'zfl> '
    say '' '@zfl panic at src/client.rs:7: out of luck' 'r0 00000000 r1 00000001' 'backtrace 0x100'
    exit 0
";

/// Prints nothing, until it is killed.
const SILENT: &str = "read -r line <&3";

/// Boots, takes the `run` line, and is never ready.
const NEVER_READY: &str = r"
    say '@zfl boot board=mps2-an386 version=0.1.0 arena=16777088'
    printf 'zfl> '
    read -r line <&3
    say $line
    printf 'zfl> '
    read -r line <&3
";

/// Where a program is.
fn find(program: &str) -> PathBuf {
    std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|folder| folder.join(program))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{program} not found: apt-get install {program}"))
}

/// `zfl run` with an emulator that behaves otherwise for some devices. The
/// console is its descriptor 1; lines come from there as well.
fn run_with_faults(place: &Place, faults: &[(u8, &str)], sets: &[&str]) -> Command {
    let mut script =
        String::from("#!/bin/sh\nexec 3<&1\nsay() { printf '%s\\r\\n' \"$@\"; }\ncase \"$*\" in\n");
    for (device, behaviour) in faults {
        script.push_str(&format!(
            "*macaddr=*:00:00:{device:02x}*)\n{behaviour}\nexit 0 ;;\n"
        ));
    }
    let emulator = find("qemu-system-arm");
    script.push_str(&format!("esac\nexec {} \"$@\" 3<&-\n", emulator.display()));
    let program = place.write("bin/qemu-system-arm", script);
    make_executable(&program);
    let path = std::env::join_paths(
        [place.path("bin")]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let mut command = place.run("out", sets);
    command.env("PATH", path.unwrap());
    command
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The one row of a client that is not ok.
#[track_caller]
fn check_row(records: &Records, client: &str, outcome: &str, detail: &str) {
    let rows = records.clients();
    let rows: Vec<_> = rows.iter().filter(|row| row["client"] == client).collect();
    assert_eq!(
        rows.len(),
        1,
        "it takes part in the first round only: {rows:?}"
    );
    assert_eq!(rows[0]["outcome"], outcome, "{rows:?}");
    assert!(rows[0]["detail"].contains(detail), "{rows:?}");
}

#[test]
fn a_run_goes_on_without_a_device_that_panics() {
    let place = Place::new();
    let sets = ["coordinator.quorum=3"];
    let finished = finish(run_with_faults(&place, &[(2, PANICS)], &sets));
    let said = finished.stderr.clone();
    let shown = finished.succeeded();
    check_none_left(&place.path("out"));
    assert!(shown.contains("updates 3/4"), "{shown}");
    assert!(shown.contains("updates 3/3"), "{shown}");
    // Device, source line, cause and crash file.
    let warning = said
        .lines()
        .find(|line| line.starts_with("warning: client 2: device 2: "))
        .unwrap_or_else(|| panic!("{said}"));
    assert!(
        warning.contains("panic at src/client.rs:7: out of luck (crash file: "),
        "{warning}"
    );
    assert!(warning.ends_with("crashes/device-002-1.txt)"), "{warning}");

    let records = Records::new(&place.path("out"));
    assert_eq!(records.round_column("clients_ok"), ["3", "3", "3"]);
    assert_eq!(records.round_column("clients_selected"), ["4", "3", "3"]);
    check_row(
        &records,
        "2",
        "crashed",
        "device 2: panic at src/client.rs:7: out of luck (crash file: ",
    );
    let panics = records.events_named("device-panic");
    assert_eq!(panics.len(), 1);
    assert_eq!(panics[0]["device"], 2);
    assert_eq!(panics[0]["text"], "at src/client.rs:7: out of luck");
    let lost = records.events_named("client-lost");
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0]["client"], 2);
    let log = records.text("console/device-002.log");
    assert!(log.contains("backtrace 0x100"), "{log}");
    let file = records.text("crashes/device-002-1.txt");
    assert!(
        file.starts_with("device 2: panic at src/client.rs:7: out of luck\n"),
        "{file}"
    );
    assert!(
        file.contains("it was    booted, and had no task\n"),
        "{file}"
    );
    assert!(file.contains("console/device-002.log\n"), "{file}");
    assert_eq!(records.summary()["updates_failed"], 1);
    check_devices(&records, 4, &[("ready", 3), ("crashed", 1)]);
}

/// Each device of the fleet is counted once.
#[track_caller]
fn check_devices(records: &Records, fleet: u64, counts: &[(&str, u64)]) {
    let summary = records.summary();
    let devices = summary["devices"].as_object().unwrap();
    let mut sum = 0;
    for (name, count) in devices.iter().filter(|(name, _)| *name != "fleet") {
        let known = counts.iter().find(|(known, _)| known == name);
        assert_eq!(count, known.map_or(0, |known| known.1), "{devices:?}");
        sum += count.as_u64().unwrap();
    }
    assert_eq!((&devices["fleet"], sum), (&fleet.into(), fleet));
}

/// A fleet that takes many waves to start, of which two devices train at a
/// time; some have too little memory, and some fail.
#[test]
fn each_of_sixty_devices_is_accounted_for() {
    let place = Place::new();
    let faults = [(7, PANICS), (11, SILENT)];
    let sets = [
        r#"fleet=[{count=57},{count=3,ram-bytes=16384,on-misfit="skip"}]"#,
        "partition.iid.samples-per-client=5",
        "coordinator.clients-per-round=20",
        "coordinator.quorum=10",
        "rounds=2",
        "parallel=2",
        "deadlines.boot-s=15",
    ];
    let finished = finish(run_with_faults(&place, &faults, &sets));
    finished.succeeded();
    check_none_left(&place.path("out"));
    let records = Records::new(&place.path("out"));
    check_devices(
        &records,
        60,
        &[("ready", 55), ("crashed", 1), ("hung", 1), ("misfit", 3)],
    );
    let updates = |name: &str| records.summary()[name].as_u64().unwrap();
    assert_eq!(updates("updates_ok") + updates("updates_failed"), 40);
    assert!(updates("updates_failed") <= 2);
    // No round began while devices booted.
    let names: Vec<String> = records
        .events()
        .iter()
        .map(|event| event["event"].as_str().unwrap().to_owned())
        .collect();
    let first_round = names.iter().position(|name| name == "round-started");
    let last_boot = names.iter().rposition(|name| name == "device-boot");
    assert!(last_boot < first_round, "{last_boot:?} {first_round:?}");
}

#[test]
fn a_run_fails_without_its_quorum() {
    let place = Place::new();
    let said = finish(run_with_faults(&place, &[(2, PANICS)], &[])).failed(1);
    check_none_left(&place.path("out"));
    let error = said.lines().rfind(|line| line.starts_with("error: "));
    let error = error.unwrap();
    let beginning = "error: round 1: 3 of 4 clients sent an update, the quorum is 4; client 2 is \
                     crashed: device 2: ";
    assert!(error.starts_with(beginning), "{said}");
    assert!(error.contains("out of luck"), "{said}");
    assert!(error.contains("crashes/device-002-1.txt)"), "{said}");
    let records = Records::new(&place.path("out"));
    check_row(&records, "2", "crashed", "out of luck");
    let outcomes: Vec<String> = records
        .clients()
        .iter()
        .map(|row| row["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["ok", "ok", "crashed", "ok"]);
    assert_eq!(
        records.summary()["outcome"],
        error.strip_prefix("error: ").unwrap()
    );
}

#[test]
fn a_failed_round_is_recorded_and_the_run_goes_on() {
    let place = Place::new();
    let sets = [
        "rounds=5",
        "coordinator.on-failed-round=continue",
        "coordinator.failed-rounds-max=2",
        // So long the run waits for the fourth to come back.
        "deadlines.round-s=4",
    ];
    let said = finish(run_with_faults(&place, &[(2, PANICS)], &sets)).failed(1);
    check_none_left(&place.path("out"));
    let error = said.lines().rfind(|line| line.starts_with("error: "));
    let error = error.unwrap();
    assert!(
        error.starts_with("error: round 3: 3 of 4 clients are left, the quorum is 4; client 2: "),
        "{said}"
    );
    let ending = "it is failed round 3 in a row, and coordinator.failed-rounds-max is 2";
    assert!(error.ends_with(ending), "{said}");

    let records = Records::new(&place.path("out"));
    assert_eq!(records.round_column("outcome"), ["failed"; 3]);
    assert_eq!(records.round_column("clients_selected"), ["4", "0", "0"]);
    assert_eq!(records.round_column("clients_ok"), ["3", "0", "0"]);
    let failed = records.events_named("round-failed");
    let goes_on: Vec<_> = failed.iter().map(|event| &event["goes_on"]).collect();
    assert_eq!(goes_on, [true, true, false]);
    // The model is that before round 1, and has no checkpoint.
    assert!(records.checkpoints().is_empty());
    let initial = &records.events_named("initial-model")[0]["model_sha256"];
    assert_eq!(records.final_hash(), initial.as_str().unwrap());
    let summary = records.summary();
    assert_eq!(summary["rounds"], 0);
    assert_eq!(summary["rounds_failed"], 3);
    assert_eq!(summary["updates_ok"], 0);
    assert_eq!(summary["updates_failed"], 4);
    assert!(summary["refused"].is_object());
}

#[test]
fn devices_that_never_answer_are_hung() {
    let place = Place::new();
    let faults = [(1, SILENT), (3, NEVER_READY)];
    let sets = [
        "coordinator.quorum=2",
        "deadlines.boot-s=4",
        "deadlines.ready-s=4",
    ];
    let finished = finish(run_with_faults(&place, &faults, &sets));
    let said = finished.stderr.clone();
    finished.succeeded();
    check_none_left(&place.path("out"));
    let records = Records::new(&place.path("out"));
    check_devices(&records, 4, &[("ready", 2), ("hung", 2)]);
    assert_eq!(records.round_column("clients_ok"), ["2", "2", "2"]);
    for (client, detail) in [
        ("1", "device 1: no console output within 4000 ms of boot"),
        (
            "3",
            "device 3: no `ready` event within 4000 ms of the `run` command",
        ),
    ] {
        check_row(&records, client, "crashed", detail);
        assert!(
            said.contains(&format!("warning: client {client}: {detail}")),
            "{said}"
        );
        let file = records.text(&format!("crashes/device-00{client}-1.txt"));
        assert!(file.starts_with(&format!("{detail}\n")), "{file}");
    }
}

#[test]
fn a_model_too_large_for_the_board_is_rejected() {
    let place = Place::new();
    // A coordinator that does not know what the devices are.
    let [server, fleet] = place.halves(&["--set", "model.mlp.hidden=[46000]"]);
    let said = server.finish().failed(1);
    let reason = "does not fit: needs ";
    assert!(
        said.contains(reason) && said.contains(" bytes of 16777088"),
        "{said}"
    );
    fleet.finish().succeeded();
    check_row(
        &Records::new(&place.path("server")),
        "0",
        "rejected",
        reason,
    );
    check_none_left(&place.path("fleet"));
}

/// One device of each board that can keep its data, and then one that does not;
/// each reboots now and then. The last client is late, so that they are back
/// before the next round begins.
fn rebooting() -> String {
    const KEEP: [&str; 7] = [
        "mps2-an385",
        "mps2-an386",
        "mps2-an500",
        "mps2-an505",
        "mps3-an547",
        "riscv-virt-rv32imac",
        "riscv-virt-rv32imafc",
    ];
    let mut text = r#"
name = "rebooting"
seed = 9
rounds = 4

[partition.iid]
samples-per-client = 150

[model.mlp]
hidden = [8]

[training]
epochs = 1
batch-size = 10
learning-rate = 0.1

[coordinator]
quorum = 1

[deadlines]
round-s = 60

[faults.keeps]
reboot = 0.5
reboot-after-s = 0.2
reboot-keeps-data = true

[faults.forgets]
reboot = 0.5
reboot-after-s = 0.2

[faults.late]
late = 1
late-s = 6
"#
    .to_owned();
    for board in KEEP {
        text.push_str(&format!(
            "[[fleet]]\nboard = \"{board}\"\nfaults = \"keeps\"\n"
        ));
    }
    text + "[[fleet]]\nfaults = \"forgets\"\n[[fleet]]\nfidelity = \"native\"\nfaults = \"late\"\n"
}

/// A device with memory that outlives it has its data after a reboot: it is not
/// sent them again, and trains on them as if it had been.
#[test]
fn a_device_that_keeps_its_data_is_not_sent_them_again() {
    let place = Place::new();
    place.write("experiment.toml", rebooting());
    let emulated = place.completed_run("emulated", &[]);
    check_none_left(&place.path("emulated"));
    let mut command = place.run("native", &[]);
    command.args(["--fidelity", "native"]);
    finish(command).succeeded();
    let native = Records::new(&place.path("native"));
    assert!(native.checkpoints() == emulated.checkpoints());
    for column in ["outcome", "faults"] {
        let [emulated, native] = [&emulated, &native].map(|records| {
            let rows = records.clients();
            let of_row = |row: &Row| {
                (
                    row["round"].clone(),
                    row["client"].clone(),
                    row[column].clone(),
                )
            };
            rows.iter().map(of_row).collect::<BTreeSet<_>>()
        });
        assert_eq!(emulated, native, "{column}");
    }
    assert_eq!(emulated.summary()["faults_unaccounted"], 0);

    // What the switch gave each device in a round in which it has rebooted: a
    // model, and its share where it was sent again.
    let parts = emulated.clients();
    let share_bytes = 150 * 65;
    for client in 0..8 {
        let of_client = |row: &&Row| row["client"] == client.to_string();
        let parts: Vec<&Row> = parts.iter().filter(of_client).collect();
        let came_back =
            |pair: &&[&Row]| pair[0]["faults"] == "reboot" && pair[1]["outcome"] == "ok";
        let received: Vec<u64> = parts
            .windows(2)
            .filter(came_back)
            .map(|pair| pair[0]["nic_bytes_in"].parse().unwrap())
            .collect();
        assert!(!received.is_empty(), "{client}: choose another seed");
        for bytes in received {
            let was_sent = bytes > share_bytes;
            assert_eq!(was_sent, client == 7, "{client}: {bytes} bytes");
        }
    }
}
