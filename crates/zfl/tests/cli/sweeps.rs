//! `zfl sweep`: what it finds, and what it survives.

use std::fs;
use std::path::Path;
use std::process::Command;

use insta::assert_snapshot;
use rustix::process::Signal;

use crate::support::{Place, Records, Row, Running, SMALL, check_none_left, finish};

/// Twenty-four trials of the small experiment.
const SWEEP: &str = r#"
experiment = "experiment.toml"
[space]
training.epochs = [1, 2]
training.batch-size = [10, 40]
training.learning-rate = { log-range = [0.05, 0.5], points = 3 }
coordinator.clients-per-round = [2, 4]
[early-stopping.asha]
reduction-factor = 2
"#;

fn sweep(place: &Place, out: &str, more: &[&str]) -> Command {
    let mut command = place.zfl(["sweep", "sweep.toml", "--workers", "1"]);
    command.arg("--out").arg(place.path(out)).args(more);
    command
}

fn resume(place: &Place, folder: &Path) -> Command {
    let mut command = place.zfl(["sweep", "--workers", "2", "--resume"]);
    command.arg(folder);
    command
}

/// The rows of a table, without what depends on the host.
fn rows(folder: &Path, table: &str) -> Vec<Row> {
    let mut rows = Records::new(folder).table(table);
    for row in &mut rows {
        row.retain(|column, _| !["cpu_seconds", "host_seconds"].contains(&column.as_str()));
    }
    rows
}

#[test]
fn killed_a_sweep_goes_on() {
    let place = Place::new();
    place.write("sweep.toml", SWEEP);
    // Long enough to be killed four times, and then interrupted.
    place.write(
        "experiment.toml",
        SMALL.replace("rounds = 3", "rounds = 30"),
    );
    let said = finish(sweep(&place, "whole", &[])).succeeded();
    assert!(said.contains("\nThe best:\n"), "{said}");
    assert!(said.contains("\nWhat mattered: "), "{said}");
    let folder = place.path("out");
    let mut running = Running::start(sweep(&place, "out", &[]));
    for _ in 0..3 {
        // What was carried out before is not told again.
        running.wait_for_line("] trial ");
        running.signal(Signal::KILL);
        running.finish();
        running = Running::start(resume(&place, &folder));
    }
    running.wait_for_line("going on after ");
    running.wait_for_line("] trial ");
    // Nobody else can go on with it meanwhile, or begin another there.
    let said = finish(resume(&place, &folder)).failed(1);
    assert!(said.contains("another zfl writes there"), "{said}");
    let said = finish(sweep(&place, "out", &[])).failed(1);
    assert!(said.contains("exists and is not empty"), "{said}");
    running.signal(Signal::INT);
    let said = running.finish().failed(130);
    assert!(said.contains("go on with: zfl sweep --resume "), "{said}");
    finish(resume(&place, &folder)).succeeded();
    for table in ["trials.csv", "front.csv"] {
        assert_eq!(
            rows(&folder, table),
            rows(&place.path("whole"), table),
            "{table}"
        );
    }
    let said = finish(resume(&place, &folder)).failed(1);
    assert!(said.contains("there is nothing to resume"), "{said}");
}

#[test]
fn the_best_is_confirmed_on_devices() {
    let place = Place::new();
    let two = "experiment = \"experiment.toml\"\n[space]\ntraining.epochs = [1, 2]\n";
    place.write("sweep.toml", two);
    let folder = place.path("out");
    // What it needs in the end is looked for in the beginning.
    place.write("firmware/mps2-an386.elf", "");
    let arguments = ["--confirm", "1", "--firmware-dir", "firmware"];
    let said = finish(sweep(&place, "out", &arguments)).failed(1);
    assert!(said.contains("mps2-an386.elf"), "{said}");
    assert!(!folder.exists());
    finish(sweep(&place, "out", &["--no-early-stopping"])).succeeded();
    // Later, of a sweep that is complete.
    let mut confirm = resume(&place, &folder);
    confirm.args(["--confirm", "1"]);
    let said = finish(confirm).succeeded();
    assert!(said.contains("identical"), "{said}");
    check_none_left(&folder);
    let summary = Records::new(&folder).summary();
    let confirmed = &summary["confirmed"][0];
    assert_eq!(confirmed["outcome"], "completed", "{confirmed}");
    assert_eq!(confirmed["is_identical"], true, "{confirmed}");
    assert_eq!(confirmed["rounds"], 3);
    let [native, emulated] = ["native", "emulated"].map(|run| &confirmed[run]);
    for key in ["accuracy", "model_sha256", "bytes"] {
        assert_eq!(native[key], emulated[key], "{key}");
    }
    assert!(native["wire_bytes"].is_null());
    // These devices stand for no part, and an instruction of theirs takes no known time.
    assert!(emulated["device_seconds"].is_null(), "{confirmed}");
    assert!(emulated["wire_bytes"].as_u64() > emulated["bytes"].as_u64());
    // One that failed is tried again; one that differs is no success.
    let mut failed = summary.clone();
    failed["confirmed"][0]["outcome"] = "no devices".into();
    fs::write(folder.join("summary.json"), failed.to_string()).unwrap();
    let run = folder.join(confirmed["folder"].as_str().unwrap());
    let hash = native["model_sha256"].as_str().unwrap();
    let other = Records::new(&run)
        .text("rounds.csv")
        .replace(hash, &"0".repeat(64));
    fs::write(run.join("rounds.csv"), other).unwrap();
    let mut confirm = resume(&place, &folder);
    confirm.args(["--confirm", "1"]);
    let said = finish(confirm).failed(1);
    assert!(said.contains("1 of 1 trials are not confirmed"), "{said}");
    assert_eq!(
        Records::new(&folder).summary()["confirmed"][0]["is_identical"],
        false
    );
    // What is written as the best is that run.
    let mut best = place.zfl(["run", "--fidelity", "native"]);
    best.arg(folder.join("best.toml"));
    best.arg("--out").arg(place.path("best"));
    finish(best).succeeded();
    let hash = Records::new(&place.path("best")).final_hash();
    assert_eq!(native["model_sha256"], hash.as_str());
}

#[test]
fn mistakes_in_a_sweep() {
    let place = Place::new();
    let said = |from: &str, to: &str| {
        place.write("sweep.toml", SWEEP.replacen(from, to, 1).trim_start());
        let said = finish(sweep(&place, "out", &[])).failed(2);
        assert!(!place.path("out").exists());
        let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
        lines.join("\n")
    };
    assert_snapshot!(said("training.epochs", "training.epoch"), @r#"
     x sweep.toml:3:10: unknown key `epoch` in `training`
      ,-[sweep.toml:3:10]
    2 | [space]
    3 | training.epoch = [1, 2]
      :          ^^^^^
    4 | training.batch-size = [10, 40]
      `----
     help: did you mean `epochs`? allowed in `training`: epochs, batch-size, learning-rate, loss, momentum, nesterov, weight-decay, clip-norm, proximal, arithmetic, weight-bits, rounding, schedule
    "#);
    assert_snapshot!(said(", points = 3", ""), @r#"
     x sweep.toml:5:40: `training.learning-rate`: a grid needs values, not a range without
      ,-[sweep.toml:5:40]
    4 | training.batch-size = [10, 40]
    5 | training.learning-rate = { log-range = [0.05, 0.5] }
      :                                        ^^^^^^^^^^^
    6 | coordinator.clients-per-round = [2, 4]
      `----
     help: add `points = N`, or `step` to a range; or search with [search.random] or [search.tpe]
    "#);
    let said = finish(place.zfl(["sweep", "nowhere.toml"])).failed(2);
    assert!(said.contains("nowhere.toml: failed to read it"), "{said}");
    let said = finish(place.zfl(["sweep", "--resume", "nowhere"])).failed(2);
    assert!(
        said.contains("nowhere is not the folder of a sweep"),
        "{said}"
    );
}

#[test]
fn what_device_time_needs_is_counted() {
    let place = Place::new();
    place.write(
        "sweep.toml",
        "experiment = \"experiment.toml\"\nconfirm = 1\n\
         [space]\ntraining.batch-size = [10, 40]\n\
         [[objectives]]\ndevice-seconds = { to-accuracy = 0.3 }\n\
         [[objectives]]\nenergy-mj = {}\n",
    );
    let said = finish(sweep(&place, "out", &[])).failed(2);
    assert!(
        said.contains("needs a microcontroller in every [[fleet]]"),
        "{said}"
    );
    assert!(!place.path("out").exists());

    let part = SMALL.replace("board = \"mps2-an386\"", "mcu = \"stm32f405\"");
    place.write("experiment.toml", part);
    let said = finish(sweep(&place, "out", &[])).succeeded();
    let count = |said: &str| said.matches("counting the instructions of trial ").count();
    assert_eq!(count(&said), 2, "{said}");
    let folder = place.path("out");
    check_none_left(&folder);
    for trial in rows(&folder, "trials.csv") {
        for column in ["device_seconds_to_accuracy_0.3", "energy_mj"] {
            assert!(trial[column].parse::<f64>().unwrap() > 0.0, "{trial:?}");
        }
    }
    // As good as its confirmation, but for what the pixels of the clients are.
    let confirmed = &Records::new(&folder).summary()["confirmed"][0];
    let seconds = |run: &str| confirmed[run]["device_seconds"].as_f64().unwrap();
    let ratio = seconds("native") / seconds("emulated");
    assert!((0.9..1.1).contains(&ratio), "{ratio}");
    // Once and for all.
    let said = finish(sweep(&place, "again", &[])).succeeded();
    assert_eq!(count(&said), 0, "{said}");
    assert_eq!(
        rows(&folder, "trials.csv"),
        rows(&place.path("again"), "trials.csv")
    );
}

#[test]
fn a_sweep_without_its_data_leaves_nothing_behind() {
    let place = Place::new();
    place.write("sweep.toml", SWEEP);
    let csv = "[data.csv]\nfile = \"nowhere.csv\"\nlabel = \"kind\"";
    place.write("experiment.toml", SMALL.replace("[data.digits]", csv));
    let said = finish(sweep(&place, "out", &[])).failed(1);
    assert!(said.contains("nowhere.csv"), "{said}");
    assert!(!place.path("out").exists());
}
