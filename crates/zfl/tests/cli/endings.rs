//! However `zfl` ends, no emulator outlives it by more than 2 s, and what was
//! recorded is whole.

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Place, Records, Running, check_none_left, emulators, finish};

/// More rounds than any test waits for.
const ENDLESS: &[&str] = &["rounds=1000000"];

/// A run that is in its third round or later.
fn in_a_round(place: &Place, sets: &[&str]) -> Running {
    let mut running = Running::start(place.run("out", &[ENDLESS, sets].concat()));
    running.wait_for_line("round   2/");
    assert_eq!(emulators(&place.path("out")).len(), 4);
    running
}

/// Checks that the rows belong together; the number of rounds.
fn check_whole(records: &Records) -> usize {
    let rounds = records.round_column("round");
    let expected: Vec<String> = (1..=rounds.len()).map(|round| round.to_string()).collect();
    assert_eq!(rounds, expected);
    // Reads each line.
    assert!(!records.events().is_empty());
    rounds.len()
}

#[test]
fn killed_in_a_round() {
    let place = Place::new();
    let running = in_a_round(&place, &[]);
    running.signal(Signal::KILL);
    check_none_left(&place.path("out"));
    assert_eq!(running.finish().status.code(), None);
    assert!(check_whole(&Records::new(&place.path("out"))) >= 2);
}

#[test]
fn interrupted_in_a_round() {
    for signal in [Signal::INT, Signal::TERM] {
        let place = Place::new();
        let running = in_a_round(&place, &[]);
        running.signal(signal);
        let said = running.finish().failed(130);
        check_none_left(&place.path("out"));
        assert!(said.contains("interrupted in round "), "{said}");

        let records = Records::new(&place.path("out"));
        let rounds = check_whole(&records);
        assert_eq!(records.clients().len(), rounds * 4);
        assert_eq!(records.checkpoints().len(), rounds);
        let summary = records.summary();
        assert_eq!(summary["rounds"], rounds);
        assert_eq!(summary["model_sha256"], records.final_hash());
        let outcome = summary["outcome"].as_str().unwrap();
        assert!(outcome.starts_with("interrupted in round "), "{outcome}");
        assert_eq!(records.events().last().unwrap()["event"], "ended");
    }
}

#[test]
fn interrupted_while_devices_boot() {
    let place = Place::new();
    let mut running = Running::start(place.run("out", &[]));
    running.wait_for_line("records in ");
    running.signal(Signal::INT);
    running.finish().failed(130);
    check_none_left(&place.path("out"));
    let records = Records::new(&place.path("out"));
    assert_eq!(records.summary()["rounds"], 0);
    assert_eq!(records.events().last().unwrap()["event"], "ended");
}

#[test]
fn a_fleet_host_is_killed() {
    let place = Place::new();
    let [mut server, fleet] =
        place.halves(&["--rounds", "1000000", "--set", "deadlines.round-s=2"]);
    server.wait_for_line("round   2/");
    assert_eq!(emulators(&place.path("fleet")).len(), 4);
    fleet.signal(Signal::KILL);
    check_none_left(&place.path("fleet"));
    // Nobody tells the coordinator: its deadline does.
    let said = server.finish().failed(1);
    assert!(
        said.contains("of 4 clients sent an update, the quorum is 4"),
        "{said}"
    );
    let records = Records::new(&place.path("server"));
    check_whole(&records);
    assert!(
        records
            .clients()
            .iter()
            .rev()
            .take(4)
            .any(|row| row["outcome"] != "ok"),
        "{:?}",
        records.clients().last()
    );
}

#[test]
fn an_emulator_is_killed_in_a_round() {
    let place = Place::new();
    let running = in_a_round(&place, &[]);
    let folder = place.path("out");
    let (process, _) = emulators(&folder)
        .into_iter()
        .find(|(_, command_line)| command_line.contains(":00:00:02 "))
        .unwrap();
    kill_process(Pid::from_raw(process).unwrap(), Signal::KILL).unwrap();
    // All four are the quorum.
    let said = running.finish().failed(1);
    check_none_left(&folder);
    let log = folder.join("console/device-002.log");
    let reason = format!("device 2: emulator was killed (log: {})", log.display());
    assert!(said.contains(&reason), "{said}");
    assert!(said.contains("error: round "), "{said}");

    let records = Records::new(&folder);
    let rounds = check_whole(&records);
    let clients = records.clients();
    // Between two rounds there is no row to say it in.
    if records.round_column("outcome").last().unwrap() == "failed" {
        let row = &clients[(rounds - 1) * 4 + 2];
        assert_eq!((&*row["client"], &*row["outcome"]), ("2", "crashed"));
        assert!(row["detail"].contains("emulator was killed"), "{row:?}");
    }
    let lost = records.events_named("client-lost");
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0]["client"], 2);
    let outcome = &records.summary()["outcome"];
    assert!(
        outcome.as_str().unwrap().contains("the quorum is 4"),
        "{outcome}"
    );
}

#[test]
fn a_bridge_goes_with_its_run() {
    let place = Place::new();
    let sets = [ENDLESS, &["network=bridge"]].concat();
    let trial = finish(place.run("trial", &["network=bridge", "rounds=1"]));
    if !trial.status.success() {
        // Whether that is as it should be is another test's matter.
        return println!("skipped: {}", trial.stderr);
    }
    let mut running = Running::start(place.run("out", &sets));
    running.wait_for_line("round   2/");
    assert_eq!(emulators(&place.path("out")).len(), 4);
    running.signal(Signal::KILL);
    check_none_left(&place.path("out"));
    assert_eq!(running.finish().status.code(), None);
}

#[test]
fn a_fleet_host_is_interrupted() {
    let place = Place::new();
    let [mut server, fleet] = place.halves(&["--rounds", "1000000"]);
    server.wait_for_line("round   2/");
    fleet.signal(Signal::INT);
    let said = fleet.finish().failed(130);
    assert!(said.contains("interrupted"), "{said}");
    check_none_left(&place.path("fleet"));
    // The coordinator is told, and need not wait for its deadline.
    let said = server.finish().failed(1);
    assert!(said.contains(": stopped, emulator "), "{said}");
    let lost = Records::new(&place.path("server")).events_named("client-lost");
    assert!(!lost.is_empty());
}

#[test]
fn nobody_reads_what_zfl_prints() {
    let place = Place::new();
    let mut command = place.run("out", &[]);
    // A pipe without a reader.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    assert_eq!(Running::start_mute(command).finish().status.code(), Some(0));
    let records = Records::new(&place.path("out"));
    assert_eq!(check_whole(&records), 3);
    assert_eq!(records.summary()["outcome"], "completed");
    check_none_left(&records.folder);
}
