//! A few runs of the campaign of faults; `make campaign` runs them all.

use std::collections::BTreeSet;

use zfl_lab::campaign;
use zfl_lab::experiment::{FaultKind, Fidelity};

use crate::support::{Place, Records, Row, check_none_left, finish};

/// Experiments of this many numbers, which between them have every kind.
const RUNS: u64 = 12;

#[test]
fn native_runs_survive_whatever_goes_wrong() {
    let place = Place::new();
    let mut kinds = BTreeSet::new();
    for number in 1..=RUNS {
        let folder = place.path(&format!("run-{number}"));
        let experiment = campaign::write(number, Fidelity::Native, &folder).unwrap();
        let mut command = place.zfl(["run"]);
        let out = folder.join("out");
        command.arg(&experiment).arg("--out").arg(&out);
        // Not killed, no panic, within its time.
        let finished = finish(command);
        let said = &finished.stderr;
        assert!(
            matches!(finished.status.code(), Some(0 | 1)),
            "{number}: {said}"
        );
        assert!(!said.contains("panicked"), "{number}: {said}");
        let audit = campaign::audit(&out);
        let audit = audit.unwrap_or_else(|error| panic!("{number}: {error}"));
        let is_completed = audit.outcome == "completed";
        assert_eq!(finished.status.success(), is_completed, "{number}: {said}");
        kinds.extend(audit.injected.into_keys());
    }
    let all: BTreeSet<&str> = FaultKind::all().map(|kind| kind.name()).collect();
    assert_eq!(kinds, all);
}

/// Faults are a matter of the seed: so is a run with them, where nothing is
/// late.
#[test]
fn a_run_with_faults_can_be_repeated() {
    let place = Place::new();
    let faults = "drop-out-before=0.05,crash=0.02,hang=0.02,reboot=0.05,drop-out-during=0.05,\
                  drop-out-after=0.05,nan=0.05,poison=0.1,truncate=0.05,duplicate=0.05,\
                  availability-on-rounds=9,availability-off-rounds=1";
    let faults = format!("faults.bad={{{faults}}}");
    let sets = [
        "rounds=8",
        faults.as_str(),
        "coordinator.quorum=1",
        r#"fleet=[{count=20,fidelity="native",faults="bad"}]"#,
    ];
    let runs = ["one", "other"].map(|out| {
        let mut command = place.run(out, &sets);
        command.args(["--threads", if out == "one" { "1" } else { "3" }]);
        finish(command).succeeded();
        Records::new(&place.path(out))
    });
    let [one, other] = runs.each_ref();
    assert!(one.checkpoints() == other.checkpoints());
    for column in ["outcome", "faults", "detail", "bytes_down", "bytes_up"] {
        let [one, other] = [one, other].map(|records| {
            let rows = records.clients();
            rows.iter()
                .map(|row| row[column].clone())
                .collect::<Vec<_>>()
        });
        assert_eq!(one, other, "{column}");
    }
    let injected = one.events_named("fault-injected").len();
    assert!(injected > 20, "{injected}");
    assert_eq!(one.summary()["faults_injected"], injected);
    assert_eq!(one.summary()["faults_unaccounted"], 0);
    let counts = one.round_column("faults");
    let sum: usize = counts
        .iter()
        .map(|count| count.parse::<usize>().unwrap())
        .sum();
    assert_eq!(sum, injected);
}

/// A fleet in which every client has its own kind of fault, in every round.
fn one_of_each() -> String {
    let mut text = r#"
name = "each"
seed = 1
rounds = 2
parallel = 20

[partition.iid]
samples-per-client = 20

[model.mlp]
hidden = [8]

[training]
epochs = 3
batch-size = 5
learning-rate = 0.1

[coordinator]
quorum = 1

[deadlines]
round-s = 15
"#
    .to_owned();
    for kind in FaultKind::DRAWN.map(FaultKind::name) {
        text.push_str(&format!(
            "[faults.{kind}]\n{kind} = 1\nreboot-after-s = 0.2\nbrown-out-s = 1\nlate-s = 0.5\n\
             slow-down-factor = 3\n[[fleet]]\nfaults = \"{kind}\"\n"
        ));
    }
    text + "[[fleet]]\n"
}

/// Devices and native clients follow one plan, and the updates that count are
/// equal to the bit.
#[test]
fn devices_go_wrong_as_native_clients_do() {
    let place = Place::new();
    place.write("experiment.toml", one_of_each());
    let emulated = place.completed_run("emulated", &[]);
    check_none_left(&place.path("emulated"));
    let mut command = place.run("native", &[]);
    command.args(["--fidelity", "native"]);
    finish(command).succeeded();
    let native = Records::new(&place.path("native"));
    assert!(native.checkpoints() == emulated.checkpoints());
    for (folder, records) in [("native", &native), ("emulated", &emulated)] {
        let audit = campaign::audit(&place.path(folder));
        let audit = audit.unwrap_or_else(|error| panic!("{folder}: {error}"));
        for kind in FaultKind::DRAWN {
            let count = match kind {
                // They end for good.
                FaultKind::Crash | FaultKind::Hang => 1,
                _ => 2,
            };
            assert_eq!(
                audit.injected[kind.name()],
                count,
                "{folder}: {}",
                kind.name()
            );
        }
        let outcome = |round: &str, place: usize| {
            let rows = records.clients();
            let of = |row: &&Row| row["round"] == round && row["client"] == place.to_string();
            rows.iter().find(of).map(|row| row["outcome"].clone())
        };
        for (place, kind) in FaultKind::DRAWN.iter().enumerate() {
            let first = outcome("1", place).unwrap();
            let second = outcome("2", place);
            match kind {
                FaultKind::Crash => assert_eq!((first.as_str(), second), ("crashed", None)),
                // It says nothing any more: until the deadline of its part, or
                // until that of the call.
                FaultKind::Hang => {
                    assert_eq!(first, "late");
                    assert!(["late", "unreachable"].contains(&second.unwrap().as_str()));
                }
                // It was back, and has done it again.
                _ => assert_eq!(Some(first), second, "{folder}: {}", kind.name()),
            }
        }
        assert_eq!(outcome("2", FaultKind::DRAWN.len()).unwrap(), "ok");
    }
    // What a device does more slowly its clock shows, and the instructions of
    // its training do not.
    let rows = emulated.clients();
    let device_seconds = |faults: &str| {
        let row = rows.iter().find(|row| row["faults"] == faults).unwrap();
        let number = |column: &str| row[column].parse::<f64>().unwrap();
        (
            number("device_clock_seconds"),
            number("instructions_training"),
        )
    };
    let ((slow, of_slow), (usual, of_usual)) =
        (device_seconds("slow-down"), device_seconds("late"));
    assert!((2.0..6.0).contains(&(slow / usual)), "{slow} s, {usual} s");
    assert!(
        (0.9..1.1).contains(&(of_slow / of_usual)),
        "{of_slow}, {of_usual}"
    );
    // Once more.
    let log = emulated.text("console/device-003-1.log");
    assert!(log.contains("@zfl injected round=2 kind=hold"), "{log}");
}
