//! `--resume`: a run that was cut off goes on as if it had not been.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use crate::runs::SMALL_HASH;
use crate::support::{Place, Records, Row, Running, check_none_left, finish};

/// Columns of host time, which no two runs share, and of host processors.
const OF_THE_HOST: [&str; 2] = ["host_seconds", "qemu_cpu_seconds"];

fn native(place: &Place, out: &str, sets: &[&str]) -> Command {
    let mut command = place.run(out, sets);
    command.args(["--fidelity", "native"]);
    command
}

fn resume(place: &Place, folder: &Path) -> Command {
    let mut command = place.zfl(["run", "--resume"]);
    command.arg(folder);
    command
}

fn without_host_time(mut rows: Vec<Row>) -> Vec<Row> {
    for row in &mut rows {
        row.retain(|column, _| !OF_THE_HOST.contains(&column.as_str()));
    }
    rows
}

/// Checks that a run's records are those of one that was never cut off.
#[track_caller]
fn check_whole(records: &Records, reference: &Records) {
    assert!(records.checkpoints() == reference.checkpoints());
    assert_eq!(
        without_host_time(records.rounds()),
        without_host_time(reference.rounds())
    );
    assert_eq!(
        without_host_time(records.clients()),
        without_host_time(reference.clients())
    );
    // Of each round once what happens in it.
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for event in records.events() {
        if event["event"] != "resumed" {
            let name = format!("{} {} {}", event["event"], event["round"], event["client"]);
            *counts.entry(name).or_default() += 1;
        }
    }
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let (summary, reference) = (records.summary(), reference.summary());
    for key in [
        "outcome",
        "rounds",
        "updates_ok",
        "updates_failed",
        "initial_accuracy",
        "accuracy",
        "loss",
        "model_sha256",
        "bytes_down",
        "bytes_up",
    ] {
        assert_eq!(summary[key], reference[key], "{key}");
    }
}

/// How often the test below kills; each time it resumes.
const KILLS: usize = 50;

#[test]
fn killed_at_random_moments() {
    const ROUNDS: &str = "rounds=60";
    let place = Place::new();
    finish(native(&place, "whole", &[ROUNDS])).succeeded();
    let whole = Records::new(&place.path("whole"));

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut seed = now.as_nanos() as u64 | 1;
    println!("seed {seed}");
    let (mut kills, mut attempt) = (0, 0);
    while kills < KILLS {
        attempt += 1;
        let out = format!("out-{attempt}");
        let folder = place.path(&out);
        let mut running = Running::start(native(&place, &out, &[ROUNDS]));
        // Before that there is no run; the folder comes first.
        running.wait_for_line("records in ");
        loop {
            // xorshift64: Marsaglia, *Xorshift RNGs*, 2003.
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let moment = Duration::from_micros(seed % 300_000);
            if kills == KILLS || running.ends_within(moment) {
                running.finish().succeeded();
                break;
            }
            running.signal(Signal::KILL);
            kills += 1;
            running.finish();
            let ended = std::fs::read_to_string(folder.join("summary.json"));
            if ended.is_ok_and(|summary| summary.contains("\"outcome\": \"completed\"")) {
                // It had just ended, and cannot be resumed.
                break;
            }
            running = Running::start(resume(&place, &folder));
        }
        check_whole(&Records::new(&folder), &whole);
    }
    println!("{kills} kills in {attempt} runs");
}

#[test]
fn who_was_lost_stays_lost() {
    let place = Place::new();
    let sets = [
        "rounds=200",
        "fleet.0.count=12",
        "fleet.0.faults=bad",
        "faults.bad.crash=0.003",
        "faults.bad.drop-out-during=0.2",
        "coordinator.quorum=1",
        "coordinator.on-failed-round=continue",
    ];
    finish(native(&place, "whole", &sets)).succeeded();
    let whole = Records::new(&place.path("whole"));
    let is_crashed = |row: &Row| row["outcome"] == "crashed";
    assert!(whole.clients().iter().any(is_crashed));
    let folder = place.path("out");
    let mut running = Running::start(native(&place, "out", &sets));
    for round in ["round  10/", "round  20/", "round  30/"] {
        running.wait_for_line(round);
        running.signal(Signal::KILL);
        running.finish();
        running = Running::start(resume(&place, &folder));
    }
    running.finish().succeeded();
    check_whole(&Records::new(&folder), &whole);
}

#[test]
fn a_fleet_is_resumed() {
    let place = Place::new();
    let whole = place.completed_run("whole", &["rounds=6"]);
    let folder = place.path("out");
    let mut command = place.run("out", &["rounds=6"]);
    command.args(["--capture", "1"]);
    let mut running = Running::start(command);
    running.wait_for_line("round   2/");
    running.signal(Signal::INT);
    let said = running.finish().failed(130);
    let hint = format!("go on with: zfl run --resume {}", folder.display());
    assert!(said.contains(&hint), "{said}");

    let mut running = Running::start(resume(&place, &folder));
    running.wait_for_line("round   4/");
    running.signal(Signal::KILL);
    running.finish();
    check_none_left(&folder);

    let said = finish(resume(&place, &folder)).succeeded();
    assert!(said.contains("goes on after round "), "{said}");
    check_none_left(&folder);
    let records = Records::new(&folder);
    assert!(records.checkpoints() == whole.checkpoints());
    let columns = ["round", "accuracy", "loss", "bytes_up", "model_sha256"];
    for column in columns {
        assert_eq!(records.round_column(column), whole.round_column(column));
    }
    assert_eq!(records.clients().len(), 24);
    let after = records.summary()["resumed_after"].clone();
    let resumed = records.events_named("resumed");
    let events: Vec<_> = resumed.iter().map(|event| &event["after_round"]).collect();
    assert_eq!(after, serde_json::json!(events));
    assert_eq!(events.len(), 2);
    // Nothing that a device has printed is lost, nor what was captured.
    assert!(
        folder
            .join("attempt-1/captures/device-001.pcapng")
            .is_file()
    );
    for attempt in ["attempt-1", "attempt-2", "."] {
        let log = records.text(&format!("{attempt}/console/device-000.log"));
        assert!(log.contains("@zfl ready client=0"), "{attempt}: {log}");
    }
}

#[test]
fn a_coordinator_is_resumed_and_keeps_its_tokens() {
    let place = Place::new();
    let [mut server, fleet] = place.halves(&["--rounds", "6"]);
    server.wait_for_line("round   2/");
    server.signal(Signal::KILL);
    server.finish();
    // It notices that its coordinator has ended.
    fleet.finish().succeeded();
    let folder = place.path("server");
    let before = Records::new(&folder).text("tokens.csv");

    let said = finish(resume(&place, &folder)).failed(1);
    assert!(
        said.contains("resume it with `zfl serve --resume`"),
        "{said}"
    );
    let mut command = place.zfl(["serve", "--listen", "127.0.0.1:0", "--resume"]);
    command.arg(&folder);
    let mut server = Running::start(command);
    let join = server.wait_for_line("join with: zfl fleet");
    let (_, arguments) = join.split_once("zfl ").unwrap();
    let mut command = place.zfl(arguments.split(' '));
    command
        .args(["--count", "4", "--out"])
        .arg(place.path("again"));
    let fleet = Running::start(command);
    server.finish().succeeded();
    fleet.finish().succeeded();
    check_none_left(&place.path("again"));

    let records = Records::new(&folder);
    assert_eq!(records.text("tokens.csv"), before);
    assert_eq!(records.rounds().len(), 6);
    assert_eq!(records.clients().len(), 24);
    let whole = place.completed_run("whole", &["rounds=6"]);
    assert!(records.checkpoints() == whole.checkpoints());
}

#[test]
fn a_full_disk_ends_a_run_that_can_go_on() {
    let place = Place::new();
    finish(native(&place, "whole", &["rounds=40"])).succeeded();
    let disk = place.path("disk");
    std::fs::create_dir(&disk).unwrap();
    // A disk of its own, that only these commands see.
    let script = r#"
        set -eu
        mount -t tmpfs -o size=160k none disk
        status=0
        "$ZFL" run experiment.toml --fidelity native --set rounds=40 --out disk/out || status=$?
        echo "ended with $status"
        mount -o remount,size=16m disk
        "$ZFL" run --resume disk/out
        cp -r disk/out out
    "#;
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .current_dir(place.path("."))
        .env("ZFL", env!("CARGO_BIN_EXE_zfl"))
        .env_remove("ZFL_DATA_DIR");
    let ended = finish(command);
    if ended.stderr.starts_with("unshare: ") {
        return println!("skipped: {}", ended.stderr);
    }
    let said = &ended.stderr;
    assert!(ended.stdout.contains("ended with 1\n"), "{ended:?}");
    assert!(said.contains("failed to write"), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.contains("zfl run --resume disk/out"), "{said}");
    ended.succeeded();
    check_whole(
        &Records::new(&place.path("out")),
        &Records::new(&place.path("whole")),
    );
}

#[test]
fn what_cannot_be_resumed_says_why() {
    let place = Place::new();
    let out = place.path("out");
    let check = |folder: &Path, code, text: &str| {
        let said = finish(resume(&place, folder)).failed(code);
        assert!(said.contains(text), "{said}");
    };
    check(&place.path("nowhere"), 2, "is not the folder of a run");

    let mut running = Running::start(native(&place, "out", &["rounds=1000000"]));
    running.wait_for_line("round   3/");
    check(&out, 1, "still goes on");
    running.signal(Signal::KILL);
    running.finish();

    let rounds = std::fs::read(out.join("rounds.csv")).unwrap();
    std::fs::write(out.join("rounds.csv"), &rounds[..20]).unwrap();
    check(&out, 1, "rounds.csv after round ");
    // Nothing was changed, so that it can be mended.
    std::fs::write(out.join("rounds.csv"), &rounds).unwrap();
    let mut running = Running::start(resume(&place, &out));
    running.wait_for_line("goes on after round ");
    running.signal(Signal::KILL);
    running.finish();

    finish(native(&place, "done", &[])).succeeded();
    let done = Records::new(&place.path("done"));
    assert_eq!(done.final_hash(), *SMALL_HASH);
    check(&done.folder, 1, "is complete: there is nothing to resume");
}

#[test]
fn a_run_that_had_all_but_its_end_is_complete() {
    let place = Place::new();
    for sets in [&[][..], &["rounds=90", "coordinator.target-accuracy=0.5"]] {
        let out = format!("out-{}", sets.len());
        finish(native(&place, &out, sets)).succeeded();
        let records = Records::new(&place.path(&out));
        let before = records.summary();
        std::fs::remove_file(records.folder.join("summary.json")).unwrap();
        finish(resume(&place, &records.folder)).succeeded();
        let after = records.summary();
        for key in ["outcome", "rounds", "accuracy", "target_accuracy_round"] {
            assert_eq!(after[key], before[key], "{key}");
        }
    }
}
