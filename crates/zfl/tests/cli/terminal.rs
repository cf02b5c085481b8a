//! How a run is shown: to people, to programs, on a terminal.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

use crate::support::{DEADLINE, Place, Records, Running, finish};

/// A native run of [`crate::support::SMALL`].
fn native(place: &Place, out: &str, arguments: &[&str]) -> Command {
    let mut command = place.run(out, &[]);
    command.args(["--fidelity", "native"]).args(arguments);
    command
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn programs_read_a_run_line_by_line() {
    let place = Place::new();
    let ended = finish(native(&place, "out", &["--json"]));
    assert_eq!(ended.stderr, "");
    let lines = lines(&ended.succeeded());
    let names: Vec<&str> = lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    let round = ["round-started", "round-completed"];
    let begin = ["experiment", "began", "initial-model"];
    assert_eq!(
        names,
        [&begin[..], &round, &round, &round, &["ended"]].concat()
    );
    assert_eq!(lines[0]["rounds"], 3);
    let records = Records::new(&place.path("out"));
    for (line, row) in lines[4..].iter().step_by(2).zip(records.rounds()) {
        for column in ["accuracy", "loss", "bytes_up", "host_seconds"] {
            let told = line[column].as_f64().unwrap();
            assert_eq!(told, row[column].parse::<f64>().unwrap(), "{column}");
        }
        assert_eq!(line["model_sha256"], row["model_sha256"]);
    }
    assert_eq!(lines[8]["host_seconds_left"], 0.0);
    assert_eq!(lines[9]["summary"], records.summary());
}

#[test]
fn programs_hear_why_a_run_failed() {
    let place = Place::new();
    let data = "data={idx={train-images='a',train-labels='b',test-images='c',test-labels='d'}}";
    let ended = finish(native(&place, "out", &["--json", "--set", data]));
    let last = lines(&ended.stdout).pop().unwrap();
    let said = ended.failed(1);
    assert_eq!(last["event"], "failed");
    let reason = last["reason"].as_str().unwrap();
    assert!(said.contains(reason), "{reason} / {said}");
}

#[test]
fn quiet_is_the_folder_alone() {
    let place = Place::new();
    let ended = finish(native(&place, "out", &["--quiet"]));
    assert_eq!(ended.stderr, "");
    let folder = place.path("out").display().to_string();
    assert_eq!(ended.succeeded(), format!("{folder}\n"));
    let both = finish(native(&place, "other", &["--quiet", "--json"])).failed(2);
    assert!(both.contains("cannot be used with"), "{both}");
}

/// What a run says on a terminal.
fn on_a_terminal(mut command: Command) -> String {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = openpt(flags).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let side = || -> OwnedFd { rustix::fs::open(&*name, flags, Mode::empty()).unwrap() };
    command
        .env("TERM", "xterm-256color")
        .stdout(Stdio::from(side()))
        .stderr(Stdio::from(side()));
    let running = Running::start_mute(command);
    let (sender, said) = mpsc::channel();
    std::thread::spawn(move || {
        let mut shown = Vec::new();
        // Ends with an error when the last that has the terminal open is gone.
        let _ = File::from(terminal).read_to_end(&mut shown);
        // The test may have given up.
        let _ = sender.send(shown);
    });
    assert!(running.ends_within(DEADLINE));
    // The command holds its side of the terminal until then.
    drop(running);
    String::from_utf8(said.recv_timeout(DEADLINE).unwrap()).unwrap()
}

#[test]
fn colours_are_only_where_they_are_wanted() {
    const GREEN: &str = "\x1b[32m";
    let place = Place::new();
    let shown = on_a_terminal(native(&place, "plain", &[]));
    assert!(shown.contains("rounds  "), "{shown:?}");
    assert!(shown.contains("accuracy 0."), "{shown:?}");
    assert!(!shown.contains(GREEN), "{shown:?}");

    let mut command = native(&place, "coloured", &[]);
    command.env_remove("NO_COLOR");
    let shown = on_a_terminal(command);
    assert!(shown.contains(GREEN), "{shown:?}");

    let mut command = place.zfl(["list", "plain"]);
    assert!(!on_a_terminal(command).contains(GREEN));
    command = place.zfl(["list", "plain"]);
    command.env_remove("NO_COLOR");
    assert!(on_a_terminal(command).contains(GREEN));
    // Nobody wants them in a file.
    command = place.zfl(["list", "plain"]);
    command.env_remove("NO_COLOR");
    let listed = finish(command).succeeded();
    assert!(listed.contains("completed") && !listed.contains('\x1b'));
}
