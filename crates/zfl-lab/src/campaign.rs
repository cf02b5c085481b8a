//! A campaign of faults: experiments in which everything goes wrong at random,
//! and the audit of what their runs have recorded.
//!
//! An experiment is a function of its number and of the fidelity. It names all
//! kinds of faults, with probabilities, times and shapes that differ from one
//! number to the next. `crates/zfl-lab/examples/campaign.rs` runs them, and so
//! does a test, with fewer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use zfl_seed::{Purpose, Stream};

use crate::experiment::{FaultKind, Fidelity, PoisonKind};

/// Writes experiment `number` of a campaign, and the trace that it may name,
/// into a folder; where the experiment is.
///
/// # Errors
/// When they cannot be written.
pub fn write(number: u64, fidelity: Fidelity, folder: &Path) -> io::Result<PathBuf> {
    let (experiment, trace) = experiment(number, fidelity);
    std::fs::create_dir_all(folder)?;
    if let Some(trace) = trace {
        std::fs::write(folder.join("trace.csv"), trace)?;
    }
    let path = folder.join("experiment.toml");
    std::fs::write(&path, experiment)?;
    Ok(path)
}

/// The experiment, and its trace if it names one.
fn experiment(number: u64, fidelity: Fidelity) -> (String, Option<String>) {
    let is_native = fidelity == Fidelity::Native;
    let mut stream = Stream::new(number, Purpose::FaultCampaign, 0);
    let (clients, rounds) = match is_native {
        true => (3 + stream.below(10), 3 + stream.below(6)),
        false => (2 + stream.below(4), 2 + stream.below(3)),
    };
    let per_round = 2 + stream.below(clients - 1);
    let seed = stream.next_u32();
    // In thousandths, so that the text says exactly what is meant.
    let thousandths =
        |stream: &mut Stream, from: u32, to: u32| f64::from(from + stream.below(to - from)) / 1e3;
    let mut faults = String::new();
    for kind in FaultKind::DRAWN {
        // The first kinds hide the others, and those that end clients for good
        // leave nobody for the rest.
        let most = match kind {
            FaultKind::Crash | FaultKind::Hang => 60,
            _ => 110,
        };
        let probability = thousandths(&mut stream, 20, most);
        let _ = writeln!(faults, "{} = {probability:?}", kind.name());
    }
    let trace = match stream.below(3) {
        0 => {
            let (on, off) = (1 + stream.below(5), 1 + stream.below(2));
            let _ = writeln!(faults, "availability-on-rounds = {on}");
            let _ = writeln!(faults, "availability-off-rounds = {off}");
            None
        }
        1 => {
            let mut trace = "client,from,to\n".to_owned();
            for client in (0..clients).filter(|client| client % 2 == 0) {
                let from = 1 + stream.below(2);
                let _ = writeln!(trace, "{client},{from},{}", from + stream.below(rounds));
            }
            let _ = writeln!(faults, "availability-trace = \"trace.csv\"");
            Some(trace)
        }
        _ => None,
    };
    let poison = [PoisonKind::SignFlip, PoisonKind::Scale, PoisonKind::Random];
    let poison = poison
        .get(stream.below(3) as usize)
        .copied()
        .unwrap_or_default();
    let (round_s, times) = match is_native {
        true => (1, [50, 1500]),
        false => (12, [500, 15_000]),
    };
    for key in ["late-s", "brown-out-s", "reboot-after-s"] {
        let time = thousandths(&mut stream, times[0], times[1]);
        let _ = writeln!(faults, "{key} = {time:?}");
    }
    let factor = 1.0 + thousandths(&mut stream, 0, 4000);
    let keeps_data = stream.below(2) == 0;
    let over_selection = f64::from(stream.below(2)) * 0.3;
    let (rest_rounds, staleness_rounds) = (stream.below(3), stream.below(3));
    let fidelity = fidelity.name();
    let text = format!(
        r#"# Experiment {number} of a campaign of faults.
name = "campaign"
seed = {seed}
rounds = {rounds}

[data.digits]

[partition.iid]
samples-per-client = 20

[model.mlp]
hidden = [8]

[training]
epochs = 2
batch-size = 10
learning-rate = 0.05

[coordinator]
clients-per-round = {per_round}
quorum = 1
over-selection = {over_selection:?}
on-failed-round = "continue"
failed-rounds-max = 1000
rest-rounds = {rest_rounds}
staleness-rounds-max = {staleness_rounds}

[deadlines]
round-s = {round_s}

[faults.everything]
{faults}slow-down-factor = {factor:?}
poison-kind = "{}"
poison-factor = 2
reboot-keeps-data = {keeps_data}

[[fleet]]
fidelity = "{fidelity}"
count = {clients}
faults = "everything"
"#,
        poison.name()
    );
    (text, trace)
}

/// What the records of a run say of its faults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// How many faults took effect, of each kind.
    pub injected: BTreeMap<&'static str, usize>,
    /// How the run ended, as its summary says.
    pub outcome: String,
}

/// Why records cannot be those of a sound run.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file is not there, or not what it should be.
    #[error("failed to read {}: {reason}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A fault without an outcome that fits, or an outcome without a cause.
    #[error("{0}")]
    Unaccounted(String),
}

#[derive(Deserialize)]
struct Row {
    round: u32,
    client: u32,
    outcome: String,
    faults: String,
    detail: String,
}

#[derive(Deserialize)]
struct EventLine {
    event: String,
    #[serde(default)]
    round: u32,
    #[serde(default)]
    client: Option<u32>,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    round_is_over: bool,
}

#[derive(Deserialize)]
struct SummaryFile {
    outcome: String,
    faults_injected: usize,
    faults_unaccounted: usize,
}

/// Holds the records of a run against each other: each fault has a row with an
/// outcome that fits, each row that names a fault has its event, and a client
/// that is not ok has a reason.
///
/// # Errors
/// The first that does not fit.
pub fn audit(folder: &Path) -> Result<Audit, AuditError> {
    let rows = rows(&folder.join("clients.csv"))?;
    let events = events(&folder.join("events.jsonl"))?;
    let summary: SummaryFile = {
        let path = folder.join("summary.json");
        let text = read(&path)?;
        serde_json::from_str(&text).map_err(|error| unreadable(&path, &error))?
    };
    let unaccounted = |text: String| Err(AuditError::Unaccounted(text));

    let mut injected: BTreeMap<(u32, u32), BTreeSet<FaultKind>> = BTreeMap::new();
    // Of clients that went wrong when their round was over.
    let mut after: BTreeSet<(u32, u32)> = BTreeSet::new();
    let mut counts = BTreeMap::new();
    for event in events
        .iter()
        .filter(|event| event.event == "fault-injected")
    {
        let kind = FaultKind::all().find(|kind| kind.name() == event.kind);
        let (Some(kind), Some(client)) = (kind, event.client) else {
            return unaccounted(format!("an event names no fault: `{}`", event.kind));
        };
        *counts.entry(kind.name()).or_default() += 1;
        if event.round_is_over {
            after.insert((event.round, client));
            continue;
        }
        let part = injected.entry((event.round, client)).or_default();
        if !part.insert(kind) {
            return unaccounted(format!(
                "round {}: client {client}: `{}` was injected twice",
                event.round, event.kind
            ));
        }
    }
    if summary.faults_injected != counts.values().sum::<usize>() || summary.faults_unaccounted != 0
    {
        return unaccounted(format!(
            "the summary has {} faults, {} of them not accounted for; there are {} events",
            summary.faults_injected,
            summary.faults_unaccounted,
            counts.values().sum::<usize>()
        ));
    }

    let is_poisoned = |round: u32| {
        let before = injected.range(..(round, 0));
        before
            .flat_map(|(_, kinds)| kinds)
            .any(|kind| *kind == FaultKind::Poison)
    };
    let mut open = injected.clone();
    let all_after = after.clone();
    for row in &rows {
        let kinds = open.remove(&(row.round, row.client)).unwrap_or_default();
        let place = format!(
            "round {}: client {} is {}",
            row.round, row.client, row.outcome
        );
        let named: BTreeSet<&str> = row
            .faults
            .split('+')
            .filter(|name| !name.is_empty())
            .collect();
        if named != kinds.iter().map(|kind| kind.name()).collect() {
            return unaccounted(format!(
                "{place}: clients.csv names the faults `{}`, the events {kinds:?}",
                row.faults
            ));
        }
        let fits = |kind: &FaultKind| {
            let mut outcomes = kind.outcomes().iter();
            outcomes.any(|outcome| outcome.name() == row.outcome)
        };
        if let Some(unfit) = kinds.iter().find(|kind| !fits(kind)) {
            return unaccounted(format!("{place} although `{}` was injected", unfit.name()));
        }
        if after.remove(&(row.round, row.client)) && row.outcome == "ok" {
            return unaccounted(format!("{place}, and went wrong when its round was over"));
        }
        let has_earlier = || {
            let mut parts = injected.keys().chain(&all_after);
            parts.any(|(round, client)| *client == row.client && *round < row.round)
        };
        let is_sound = row.outcome == "ok" || row.outcome == "surplus" || !kinds.is_empty();
        if !is_sound && !has_earlier() && !is_poisoned(row.round) {
            return unaccounted(format!("{place}, and nothing was injected: {}", row.detail));
        }
    }
    if let Some((round, client)) = open.keys().chain(&after).next() {
        return unaccounted(format!(
            "round {round}: client {client} went wrong and has no row in clients.csv"
        ));
    }
    Ok(Audit {
        injected: counts,
        outcome: summary.outcome,
    })
}

fn unreadable(path: &Path, reason: &impl ToString) -> AuditError {
    AuditError::Read {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

fn read(path: &Path) -> Result<String, AuditError> {
    std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))
}

fn rows(path: &Path) -> Result<Vec<Row>, AuditError> {
    let mut reader = csv::Reader::from_path(path).map_err(|error| unreadable(path, &error))?;
    let rows = reader.deserialize().collect::<Result<_, _>>();
    rows.map_err(|error| unreadable(path, &error))
}

fn events(path: &Path) -> Result<Vec<EventLine>, AuditError> {
    let text = read(path)?;
    let events = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>();
    events.map_err(|error| unreadable(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Experiment;

    #[test]
    fn every_number_is_an_experiment() {
        for fidelity in [Fidelity::Native, Fidelity::Emulated] {
            for number in 0..50 {
                let folder = tempfile::tempdir().unwrap();
                let path = write(number, fidelity, folder.path()).unwrap();
                let boards = ["mps2-an386"];
                let experiment = Experiment::from_file(&path, &[], &boards).unwrap();
                crate::faults::FaultPlan::new(&experiment).unwrap();
            }
        }
        assert_ne!(
            experiment(1, Fidelity::Native),
            experiment(2, Fidelity::Native)
        );
    }

    /// The audit of a run with one fault and three rows, after a change.
    fn audited(file: &str, from: &str, to: &str) -> Result<Audit, String> {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            (
                "clients.csv",
                "round,client,outcome,faults,detail\n1,0,rejected,nan,not finite\n1,1,ok,,\n\
                 2,0,unreachable,,gone\n",
            ),
            (
                "events.jsonl",
                "{\"event\":\"fault-injected\",\"round\":1,\"client\":0,\"kind\":\"nan\"}\n\
                 {\"event\":\"request-refused\",\"kind\":\"malformed\",\"client\":null}\n",
            ),
            (
                "summary.json",
                "{\"outcome\":\"completed\",\"faults_injected\":1,\"faults_unaccounted\":0}",
            ),
        ];
        for (name, text) in files {
            let text = match name == file {
                true => text.replacen(from, to, 1),
                false => text.to_owned(),
            };
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        audit(folder.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_audit_finds_what_does_not_fit() {
        let sound = audited("", "", "").unwrap();
        assert_eq!(sound.injected, BTreeMap::from([("nan", 1)]));
        assert_eq!(sound.outcome, "completed");
        let check = |file: &str, from: &str, to: &str, expected: &str| {
            let found = audited(file, from, to).unwrap_err();
            assert!(found.contains(expected), "{found}");
        };
        check(
            "clients.csv",
            "rejected",
            "ok",
            "round 1: client 0 is ok although `nan` was injected",
        );
        check(
            "clients.csv",
            ",nan,",
            ",,",
            "clients.csv names the faults ``",
        );
        check(
            "clients.csv",
            "1,0,rejected,nan,not finite\n",
            "",
            "has no row",
        );
        check(
            "clients.csv",
            "1,1,ok",
            "1,1,late",
            "round 1: client 1 is late, and nothing was injected",
        );
        check(
            "events.jsonl",
            "nan",
            "nun",
            "an event names no fault: `nun`",
        );
        check(
            "events.jsonl",
            "fault-injected",
            "other",
            "there are 0 events",
        );
        check("summary.json", ":0", ":1", "1 of them not accounted for");
        check("summary.json", "{", "[", "failed to read");
    }
}
