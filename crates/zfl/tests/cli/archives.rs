//! What is done with runs that are over: `zfl list`, `zfl compare`.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::{Place, Records, finish};

/// A native run of [`crate::support::SMALL`].
fn native(place: &Place, out: &str, sets: &[&str]) -> Command {
    let mut command = place.run(out, sets);
    command.args(["--fidelity", "native", "--threads", "1"]);
    command
}

/// What `zfl` says with these arguments.
#[track_caller]
fn said(place: &Place, arguments: &[&str]) -> String {
    finish(place.zfl(arguments.iter().copied())).succeeded()
}

/// The words of the line that begins with this one.
#[track_caller]
fn words<'a>(text: &'a str, first: &str) -> Vec<&'a str> {
    let line = text.lines().find(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(first)
    });
    line.unwrap_or_else(|| panic!("no line `{first}`:\n{text}"))
        .split_whitespace()
        .collect()
}

#[test]
fn runs_are_listed_and_compared() {
    let place = Place::new();
    finish(native(&place, "runs/a", &[])).succeeded();
    finish(native(&place, "runs/b", &["training.epochs=2"])).succeeded();
    // Cut off: the last row is not all there, and nothing follows it.
    finish(native(&place, "runs/c", &["rounds=4"])).succeeded();
    fs::remove_file(place.path("runs/c/summary.json")).unwrap();
    let rounds = Records::new(&place.path("runs/c")).text("rounds.csv");
    let (whole, _) = rounds.trim_end().rsplit_once(',').unwrap();
    fs::write(place.path("runs/c/rounds.csv"), whole).unwrap();

    let listed = said(&place, &["list"]);
    let accuracy = |run: &str| {
        let records = Records::new(&place.path(run));
        let column = records.round_column("accuracy");
        format!("{:.4}", column.last().unwrap().parse::<f64>().unwrap())
    };
    assert_eq!(
        words(&listed, "runs/a")[1..4],
        ["completed", "3/3", &accuracy("runs/a")]
    );
    assert_eq!(words(&listed, "runs/c")[1..4], ["cut", "off", "3/4"]);
    assert_eq!(words(&listed, "runs/c")[6], "4", "clients of the fleet");

    let json = said(&place, &["list", "runs", "--json"]);
    let runs: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(runs.len(), 3);
    assert_eq!(runs[1]["folder"], "runs/b");
    assert_eq!(runs[1]["updates_ok"], 12);
    assert_eq!(runs[1]["device_seconds"], Value::Null);

    let compared = said(&place, &["compare", "runs/a", "runs/b"]);
    assert_eq!(
        words(&compared, "training.epochs"),
        ["training.epochs", "1", "2"]
    );
    assert_eq!(
        words(&compared, "accuracy"),
        ["accuracy", &accuracy("runs/a"), &accuracy("runs/b")]
    );
    // Nobody has a figure of it.
    assert!(!compared.contains("device time"), "{compared}");
    let json: Value = serde_json::from_str(&said(&place, &["compare", "runs", "--json"])).unwrap();
    let keys: Vec<&str> = json["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|difference| difference["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["rounds", "training.epochs"]);
    assert_eq!(json["runs"][2]["standing"], "cut off");
}

#[test]
fn what_is_no_run_is_said() {
    let place = Place::new();
    let failed = |arguments: &[&str], code| {
        let ended = finish(place.zfl(arguments.iter().copied()));
        ended.failed(code)
    };
    assert!(failed(&["list"], 2).contains("there is no folder `runs` here"));
    assert!(failed(&["list", "."], 1).contains("no run in ."));
    assert!(failed(&["compare", "nowhere", "."], 2).contains("failed to read nowhere"));

    finish(native(&place, "runs/a", &[])).succeeded();
    assert!(failed(&["compare", "runs/a"], 2).contains("name two runs or more"));
    let rounds = Records::new(&place.path("runs/a")).text("rounds.csv");
    let damaged = rounds.replacen("\n2,", "\ntwo,", 1);
    fs::write(place.path("runs/a/rounds.csv"), damaged).unwrap();
    let said = failed(&["list"], 1);
    assert!(
        said.contains("runs/a/rounds.csv, line 3: column `round` is `two`"),
        "{said}"
    );
    assert!(said.contains("1 of 1 runs cannot be read"), "{said}");
}

/// A sweep as docs/sweeps.md describes it, with two trials.
fn sweep(place: &Place, out: &str) {
    place.write(
        "sweep.toml",
        "experiment = \"experiment.toml\"\n[space]\ntraining.epochs = [1, 2]\n",
    );
    let mut command = place.zfl(["sweep", "sweep.toml", "--workers", "1", "--out"]);
    command.arg(place.path(out));
    finish(command).succeeded();
}

#[test]
fn a_sweep_is_listed_as_one() {
    let place = Place::new();
    finish(native(&place, "runs/a", &[])).succeeded();
    sweep(&place, "runs/s");
    let records = Records::new(&place.path("runs/s"));
    let summary = records.summary();
    let trial = summary["best"]["trial"].to_string();

    let listed = said(&place, &["list"]);
    assert_eq!(words(&listed, "runs/s")[1..3], ["completed", "2/2"]);
    assert!(listed.contains(&format!("(trial {trial})")), "{listed}");
    assert_eq!(words(&listed, "runs/a")[1], "completed");
    assert!(!listed.contains("runs/s/trials"), "{listed}");
    // With its trials: by a flag, or where it is named.
    for arguments in [
        &["list", "--trials"][..],
        &["list", "runs/s"],
        &["list", "runs/s/trials"],
    ] {
        let listed = said(&place, arguments);
        assert_eq!(
            words(&listed, "runs/s/trials/0001")[1..3],
            ["completed", "3/3"]
        );
        assert_eq!(
            words(&listed, "runs/s/trials/0002")[1..3],
            ["completed", "3/3"]
        );
    }

    let json = |arguments: &[&str]| -> Vec<Value> {
        said(&place, arguments)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let lines = json(&["list", "--json"]);
    assert_eq!(lines.len(), 2);
    let [one, run] = [&lines[0], &lines[1]];
    assert_eq!(
        (&one["kind"], &run["kind"]),
        (&"sweep".into(), &"run".into())
    );
    assert_eq!(one["folder"], "runs/s");
    assert_eq!(one["standing"], "completed");
    assert_eq!(one["trials"]["planned"], 2);
    for key in ["trials", "objectives", "best"] {
        assert_eq!(one[key], summary[key], "{key}");
    }
    assert_eq!(json(&["list", "--json", "--trials"]).len(), 4);

    // Cut off, and in the middle of a row.
    fs::remove_file(place.path("runs/s/summary.json")).unwrap();
    let trials = records.text("trials.csv");
    let (whole, _) = trials.trim_end().rsplit_once(',').unwrap();
    fs::write(place.path("runs/s/trials.csv"), whole).unwrap();
    let listed = said(&place, &["list"]);
    assert_eq!(words(&listed, "runs/s")[1..4], ["cut", "off", "1/1"]);
    fs::write(
        place.path("runs/s/trials.csv"),
        trials.replace("\n2,", "\ntwo,"),
    )
    .unwrap();
    let ended = finish(place.zfl(["list"])).failed(1);
    assert!(ended.contains("column `trial` is `two`"), "{ended}");
    assert!(ended.contains("1 of 2 runs cannot be read"), "{ended}");
}
