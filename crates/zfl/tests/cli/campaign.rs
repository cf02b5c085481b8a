//! A few runs of the campaign of faults; `make campaign` runs them all.

use std::collections::BTreeSet;

use zfl_lab::campaign;
use zfl_lab::experiment::{FaultKind, Fidelity};

use crate::support::{Place, Records, finish};

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
