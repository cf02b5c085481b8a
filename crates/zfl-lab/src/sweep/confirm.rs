//! The best trials again, on emulated devices: the same models, and what it costs there.

use std::path::Path;

use tokio::sync::mpsc;

use super::SweepError;
use super::folder::{COMPLETED, Confirmed, ConfirmedRun};
use super::run::Progress;
use super::trial::{Trial, Workshop, clear, last_round};
use crate::CpuTime;
use crate::archive::{Archive, ArchiveError, Round};
use crate::experiment::{Experiment, Fidelity};
use crate::run::{self, RunError, TrialContext};

/// Confirms as many of the best as the sweep asks for. One that cannot be run is an
/// outcome.
pub(super) fn all(
    best: &[&Trial],
    workshop: &Workshop<'_>,
    progress: &mut impl FnMut(Progress),
) -> Result<Vec<Confirmed>, SweepError> {
    let count = usize::try_from(workshop.sweep.confirm).unwrap_or(usize::MAX);
    let mut confirmed = Vec::new();
    for trial in best.iter().take(count) {
        let rounds = match workshop.sweep.confirm_rounds {
            Some(rounds) => rounds.min(trial.rounds),
            None => trial.rounds,
        };
        progress(Progress::Confirming {
            trial: trial.number,
            rounds,
        });
        confirmed.push(one(trial, rounds, workshop)?);
    }
    Ok(confirmed)
}

fn one(trial: &Trial, rounds: u32, workshop: &Workshop<'_>) -> Result<Confirmed, SweepError> {
    let name = Path::new("confirmed").join(format!("{:04}", trial.number));
    let folder = workshop.folder.join(&name);
    let outcome = match workshop.experiment(&trial.choice, 0) {
        Ok(experiment) => play(&emulated(experiment), &folder, rounds, workshop)?,
        Err(error) => error.to_string(),
    };
    let native = workshop.folder.join(workshop.run_folder(trial.number, 0));
    let native_rows = rows(&native, rounds)?;
    let emulated_rows = match folder.join("rounds.csv").is_file() {
        true => rows(&folder, rounds)?,
        false => Vec::new(),
    };
    let models = |rows: &[Round]| -> Vec<String> {
        rows.iter().map(|row| row.model_sha256.clone()).collect()
    };
    let is_identical = are_identical(&models(&native_rows), &models(&emulated_rows));
    Ok(Confirmed {
        trial: trial.number,
        rounds,
        folder: name,
        outcome,
        is_identical,
        native: compared(&native, &native_rows)?,
        emulated: compared(&folder, &emulated_rows)?,
    })
}

/// The experiment on devices: those that its file has, else all its clients.
pub(super) fn emulated(mut experiment: Experiment) -> Experiment {
    if experiment.device_boards().next().is_none() {
        experiment.set_fidelity(Fidelity::Emulated);
    }
    experiment
}

/// Whether models after the same rounds are the same; `None` where those that are there
/// are, and some are missing.
fn are_identical(native: &[String], emulated: &[String]) -> Option<bool> {
    let differ = native.iter().zip(emulated).any(|(one, other)| one != other);
    let all_there = !native.is_empty() && native.len() == emulated.len();
    (differ || all_there).then_some(!differ)
}

/// Plays the emulated run, from where it stands; what came of it.
fn play(
    experiment: &Experiment,
    folder: &Path,
    rounds: u32,
    workshop: &Workshop<'_>,
) -> Result<String, SweepError> {
    let last = last_round(folder)?;
    if last >= rounds {
        return Ok(COMPLETED.to_owned());
    }
    let is_resumed = last > 0;
    if !is_resumed && folder.exists() {
        clear(folder)?;
    }
    let context = run::Context {
        folder: folder.to_owned(),
        is_resumed,
        search_path: workshop.search_path.clone(),
        clients: None,
        listen: None,
        fleet: Some(workshop.fleet()),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        trial: Some(TrialContext {
            rounds_until: rounds,
            data: Some(workshop.data(experiment)?),
            cpu_time: CpuTime::default(),
        }),
    };
    let runtime = tokio::runtime::Runtime::new().map_err(SweepError::Runtime)?;
    let (progress, receiver) = mpsc::unbounded_channel();
    drop(receiver);
    match runtime.block_on(run::run(experiment, context, progress, workshop.stopped())) {
        Ok(_) => Ok(COMPLETED.to_owned()),
        Err(RunError::Interrupted { .. }) => Err(SweepError::Interrupted {
            folder: workshop.folder.to_owned(),
        }),
        Err(RunError::Record(error)) => Err(RunError::Record(error).into()),
        Err(error) => Ok(error.to_string()),
    }
}

fn rows(folder: &Path, until: u32) -> Result<Vec<Round>, ArchiveError> {
    let rows = Archive::open(folder)?.rounds()?.rows;
    Ok(rows.into_iter().filter(|row| row.round <= until).collect())
}

/// What is compared of a run in a folder, which has these rounds.
fn compared(folder: &Path, rows: &[Round]) -> Result<ConfirmedRun, ArchiveError> {
    let sum = |bytes: fn(&Round) -> Option<u64>| rows.iter().map(bytes).sum::<Option<u64>>();
    let device_seconds = match rows.last() {
        Some(last) => {
            let costs = Archive::open(folder)?.costs()?;
            let seconds = costs
                .range(..=last.round)
                .map(|(_, cost)| cost.device_seconds);
            // Of no round is no time: the sum of nothing would be 0 s.
            seconds.sum::<Option<f64>>().filter(|_| !costs.is_empty())
        }
        None => None,
    };
    Ok(ConfirmedRun {
        accuracy: rows.last().and_then(|row| row.accuracy),
        rmse: rows.last().and_then(|row| row.rmse),
        model_sha256: rows
            .last()
            .map(|row| row.model_sha256.clone())
            .unwrap_or_default(),
        bytes: rows.iter().map(|row| row.bytes_down + row.bytes_up).sum(),
        wire_bytes: sum(|row| Some(row.nic_bytes_in? + row.nic_bytes_out?)),
        device_seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_models_that_are_there_differ() {
        let hashes = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        let native = hashes("a b c");
        for (emulated, expected) in [
            (native.clone(), Some(true)),
            (hashes("a b"), None),
            (Vec::new(), None),
            (hashes("a x"), Some(false)),
            (hashes("a b x"), Some(false)),
        ] {
            assert_eq!(are_identical(&native, &emulated), expected, "{emulated:?}");
        }
        assert_eq!(are_identical(&[], &[]), None);
    }
}
