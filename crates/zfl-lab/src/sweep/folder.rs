//! The folder of a sweep: docs/sweeps.md has its files and their columns.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::objective::{Budget, Candidate, Objective, Target};
use super::space::{Parameter, Values};
use super::trial::{Done, Figure, Trial};
use super::{Search, Sweep};

pub(crate) const SWEEP: &str = "sweep.toml";
const BASE: &str = "base.toml";
pub(crate) const TRIALS: &str = "trials.csv";
pub(crate) const FRONT: &str = "front.csv";
pub(crate) const BEST: &str = "best.toml";
const JOBS: &str = "jobs.jsonl";
pub(crate) const SUMMARY: &str = "summary.json";
/// The outcome of a sweep that came to its end.
pub(crate) const COMPLETED: &str = "completed";
/// That of one that has not.
pub(crate) const RUNNING: &str = "running";

/// Why the folder of a sweep cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It exists and is not empty.
    #[error(
        "folder {} exists and is not empty; name another with --out, or go on with the sweep in \
         it: zfl sweep --resume {}", path.display(), path.display()
    )]
    NotEmpty {
        /// Which.
        path: PathBuf,
    },
    /// It is not one.
    #[error("{} is not the folder of a sweep: {source}", path.display())]
    NoSweep {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another zfl writes there.
    #[error("the sweep in {} still goes on: another zfl writes there", path.display())]
    Busy {
        /// Which.
        path: PathBuf,
    },
    /// Nothing is left to do.
    #[error("the sweep in {} is complete: there is nothing to resume", path.display())]
    Complete {
        /// Which.
        path: PathBuf,
    },
    /// What was carried out cannot be read.
    #[error("failed to read {}, line {line}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Something in it cannot be written.
    #[error("failed to write {}: {source}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn write_error(path: &Path) -> impl FnOnce(io::Error) -> FolderError + '_ {
    move |source| FolderError::Write {
        path: path.to_owned(),
        source,
    }
}

/// How many trials have become what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrialCounts {
    /// All that were begun.
    pub all: usize,
    /// All that there will be, at most; 0: sweeps of versions that did not write it.
    pub planned: usize,
    /// With all their rounds.
    pub completed: usize,
    /// Stopped early.
    pub stopped: usize,
    /// Whose run failed.
    pub failed: usize,
    /// Whose values together are no experiment.
    pub impossible: usize,
}

impl TrialCounts {
    /// Those that go no further.
    pub const fn over(&self) -> usize {
        self.completed + self.stopped + self.failed + self.impossible
    }
}

/// An objective.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObjectiveInfo {
    /// Its column.
    pub name: String,
    /// Its unit; empty where it has none.
    pub unit: String,
    /// Whether more is better.
    pub is_maximised: bool,
}

/// How trials were stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EarlyStopping {
    /// Rounds of every trial.
    pub rounds_min: u32,
    /// One of so many goes on.
    pub reduction_factor: u32,
    /// Virtual workers.
    pub width: u32,
    /// Rounds of the rungs.
    pub rungs: Vec<u32>,
}

/// The best trial.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Winner {
    /// Its number.
    pub trial: u32,
    /// Rounds that it has.
    pub rounds: u32,
    /// Its values, as tables have them.
    pub parameters: BTreeMap<String, String>,
    /// What came of it.
    pub objectives: BTreeMap<String, Option<f64>>,
}

/// The share of a parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Its key.
    pub parameter: String,
    /// Of the variance of [`Importance::objective`], 0 to 1.
    pub share: f64,
}

/// Which parameter mattered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Importance {
    /// By which objective trials are compared.
    pub objective: String,
    /// After how many rounds trials are compared.
    pub rounds: u32,
    /// How many are.
    pub trials: usize,
    /// The largest share first.
    pub parameters: Vec<Share>,
}

/// What came of one of the two runs of a trial that is confirmed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfirmedRun {
    /// After the last round.
    pub accuracy: Option<f64>,
    /// In place of it where a number is learnt.
    pub rmse: Option<f64>,
    /// SHA-256 of the model after the last round.
    pub model_sha256: String,
    /// Bodies of start messages and updates.
    pub bytes: u64,
    /// Bytes of frames at the devices' NICs, both ways.
    pub wire_bytes: Option<u64>,
    /// Device time of all rounds.
    pub device_seconds: Option<f64>,
}

/// A trial that was run again, emulated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Confirmed {
    /// Its number.
    pub trial: u32,
    /// Rounds of both runs that are compared.
    pub rounds: u32,
    /// The emulated run, from the sweep's folder.
    pub folder: PathBuf,
    /// `completed`, or why not.
    pub outcome: String,
    /// Whether the models after each of the rounds are the same to the bit; `None` where
    /// the emulated run did not come so far to tell.
    pub is_identical: Option<bool>,
    /// In this process.
    pub native: ConfirmedRun,
    /// On emulated devices.
    pub emulated: ConfirmedRun,
}

impl Confirmed {
    /// What is to be said of its models.
    pub const fn models(&self) -> &'static str {
        match self.is_identical {
            Some(true) => "identical",
            Some(false) => "differ",
            None => "–",
        }
    }
}

/// How a sweep stood when its tables were written last, and at its end: `summary.json`.
/// Times are host time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// `sweep`.
    pub kind: String,
    /// The sweep's name.
    pub name: String,
    /// `running`, `completed`, or why not.
    pub outcome: String,
    /// Its folder.
    pub folder: PathBuf,
    /// zfl's version.
    pub version: String,
    /// Of the search.
    pub seed: u64,
    /// `grid`, `random` or `tpe`.
    pub search: String,
    /// `None`: no trial was stopped.
    pub early_stopping: Option<EarlyStopping>,
    /// Runs of each trial.
    pub repeats: u32,
    /// Rounds of a trial that is not stopped.
    pub rounds: u32,
    /// The keys, in the order of the columns.
    pub parameters: Vec<String>,
    /// In the order of the columns.
    pub objectives: Vec<ObjectiveInfo>,
    /// How many trials have become what.
    pub trials: TrialCounts,
    /// The best.
    pub best: Option<Winner>,
    /// Rows of `front.csv`.
    pub front_points: usize,
    /// Which parameter mattered.
    pub importance: Importance,
    /// The best, run again.
    pub confirmed: Vec<Confirmed>,
    /// Processor time of all trials.
    pub cpu_seconds: f64,
    /// Processor time of this process.
    pub process_cpu_seconds: f64,
    /// Wall time, without the time between a cut and a resumption.
    pub host_seconds: f64,
    /// Trials that ran at a time, at most.
    pub workers: usize,
}

/// A line of `jobs.jsonl`.
#[derive(Serialize, Deserialize)]
struct JobLine {
    trial: u32,
    rounds_until: u32,
    /// Why it failed.
    failure: Option<String>,
    cpu_seconds: f64,
    host_seconds: f64,
}

/// A job that was carried out before.
#[derive(Clone, Debug)]
pub(super) struct PastJob {
    pub(super) failure: Option<String>,
    pub(super) cpu_time: Duration,
    pub(super) host_time: Duration,
}

/// By trial and last round.
pub(super) type PastJobs = BTreeMap<(u32, u32), PastJob>;

/// The open folder of a sweep.
pub(super) struct SweepFolder {
    path: PathBuf,
    jobs: File,
    /// Held as long as the sweep goes on.
    _lock: File,
}

impl SweepFolder {
    /// Makes the folder and writes what is to be done.
    pub(super) fn create(path: &Path, sweep: &Sweep) -> Result<Self, FolderError> {
        let taken = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        if taken {
            return Err(FolderError::NotEmpty {
                path: path.to_owned(),
            });
        }
        let trials = path.join("trials");
        std::fs::create_dir_all(&trials).map_err(write_error(&trials))?;
        for (name, text) in [(BASE, &sweep.base.text), (SWEEP, &to_toml(sweep))] {
            let file = path.join(name);
            std::fs::write(&file, text).map_err(write_error(&file))?;
        }
        let lock = lock(path)?;
        let jobs = path.join(JOBS);
        let jobs = File::create(&jobs).map_err(write_error(&jobs))?;
        Ok(Self {
            path: path.to_owned(),
            jobs,
            _lock: lock,
        })
    }

    /// Opens the folder of a sweep that was cut off, or that is complete but for
    /// confirming so many trials, with what was carried out.
    pub(super) fn resume(path: &Path, confirm: u32) -> Result<(Self, PastJobs), FolderError> {
        let lock = lock(path)?;
        if is_complete(path, confirm) {
            return Err(FolderError::Complete {
                path: path.to_owned(),
            });
        }
        let file = path.join(JOBS);
        let text = match std::fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => {
                return Err(FolderError::NoSweep {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        // A line without its end was cut off, and its job is carried out again.
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |last| last + 1);
        let mut past = PastJobs::new();
        let lines = text
            .get(..whole)
            .unwrap_or_default()
            .split(|byte| *byte == b'\n');
        for (line, text) in lines.enumerate().filter(|(_, text)| !text.is_empty()) {
            let damaged = |reason: String| FolderError::Damaged {
                path: file.clone(),
                line: line + 1,
                reason,
            };
            let job: JobLine =
                serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))?;
            let time = |seconds: f64| {
                Duration::try_from_secs_f64(seconds).map_err(|error| damaged(error.to_string()))
            };
            past.insert(
                (job.trial, job.rounds_until),
                PastJob {
                    failure: job.failure,
                    cpu_time: time(job.cpu_seconds)?,
                    host_time: time(job.host_seconds)?,
                },
            );
        }
        let jobs = File::options()
            .append(true)
            .create(true)
            .open(&file)
            .and_then(|jobs| {
                jobs.set_len(u64::try_from(whole).unwrap_or(u64::MAX))?;
                Ok(jobs)
            })
            .map_err(write_error(&file))?;
        let folder = Self {
            path: path.to_owned(),
            jobs,
            _lock: lock,
        };
        Ok((folder, past))
    }

    /// Where the sweep of a folder is written, and its experiment.
    pub(super) fn texts(path: &Path) -> Result<(PathBuf, String), FolderError> {
        let base =
            std::fs::read_to_string(path.join(BASE)).map_err(|source| FolderError::NoSweep {
                path: path.to_owned(),
                source,
            })?;
        Ok((path.join(SWEEP), base))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes down that a job was carried out.
    pub(super) fn job(
        &mut self,
        trial: u32,
        rounds_until: u32,
        done: &Done,
    ) -> Result<(), FolderError> {
        let line = JobLine {
            trial,
            rounds_until,
            failure: done.rounds.as_ref().err().cloned(),
            cpu_seconds: done.cpu_time.as_secs_f64(),
            host_seconds: done.host_time.as_secs_f64(),
        };
        let path = self.path.join(JOBS);
        serde_json::to_vec(&line)
            .map_err(io::Error::from)
            .and_then(|mut line| {
                line.push(b'\n');
                // In one call, so that a line is whole or the last.
                self.jobs.write_all(&line)
            })
            .map_err(write_error(&path))
    }

    /// Writes the table of trials. `folder` is where each is.
    pub(super) fn trials<'t>(
        &self,
        sweep: &Sweep,
        trials: impl Iterator<Item = &'t Trial>,
        folder: impl Fn(&Trial) -> PathBuf,
    ) -> Result<(), FolderError> {
        let mut head: Vec<String> = ["trial", "status", "rung", "rounds"]
            .map(str::to_owned)
            .to_vec();
        head.extend(
            sweep
                .parameters
                .iter()
                .map(|parameter| parameter.key.clone()),
        );
        for objective in &sweep.objectives {
            let name = objective.name();
            head.extend([name.clone(), format!("{name}_low"), format!("{name}_high")]);
        }
        head.extend(["cpu_seconds", "host_seconds", "folder", "detail"].map(str::to_owned));
        let row = |trial: &Trial| {
            let mut row = vec![
                trial.number.to_string(),
                trial.status.name().to_owned(),
                trial.rung.to_string(),
                trial.rounds.to_string(),
            ];
            row.extend(trial.choice.cells());
            for figure in &trial.figures {
                row.extend(cells(*figure));
            }
            row.extend([
                seconds(trial.cpu_time),
                seconds(trial.host_time),
                folder(trial).display().to_string(),
                trial.detail.clone(),
            ]);
            row
        };
        self.table(TRIALS, head, trials.map(row))
    }

    /// Writes the front.
    pub(super) fn front(
        &self,
        sweep: &Sweep,
        front: &[Candidate],
        cells: impl Fn(u32) -> Vec<String>,
    ) -> Result<(), FolderError> {
        let mut head = vec!["trial".to_owned(), "round".to_owned()];
        head.extend(
            sweep
                .parameters
                .iter()
                .map(|parameter| parameter.key.clone()),
        );
        head.extend(sweep.objectives.iter().map(Objective::name));
        let row = |candidate: &Candidate| {
            let mut row = vec![candidate.trial.to_string(), candidate.round.to_string()];
            row.extend(cells(candidate.trial));
            row.extend(candidate.values.iter().map(f64::to_string));
            row
        };
        self.table(FRONT, head, front.iter().map(row))
    }

    fn table(
        &self,
        name: &str,
        head: Vec<String>,
        rows: impl Iterator<Item = Vec<String>>,
    ) -> Result<(), FolderError> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let path = self.path.join(name);
        let written = std::iter::once(head)
            .chain(rows)
            .try_for_each(|row| writer.write_record(row));
        written.map_err(|error| write_error(&path)(error.into()))?;
        let text = writer
            .into_inner()
            .map_err(|error| write_error(&path)(error.into_error()))?;
        self.replace(name, &text)
    }

    pub(super) fn best(&self, experiment_toml: &str) -> Result<(), FolderError> {
        self.replace(BEST, experiment_toml.as_bytes())
    }

    pub(super) fn summary(&self, summary: &Summary) -> Result<(), FolderError> {
        let text = serde_json::to_string_pretty(summary)
            .map_err(|error| write_error(&self.path.join(SUMMARY))(error.into()))?;
        self.replace(SUMMARY, (text + "\n").as_bytes())
    }

    /// The summary of what was before a resumption.
    pub(super) fn past_summary(&self) -> Option<Summary> {
        let text = std::fs::read(self.path.join(SUMMARY)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Puts a file in the place of the one before, whole or not at all.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        let (path, partial) = (
            self.path.join(name),
            self.path.join(format!("{name}.partial")),
        );
        std::fs::write(&partial, bytes)
            .and_then(|()| std::fs::rename(&partial, &path))
            .map_err(write_error(&path))
    }
}

fn lock(path: &Path) -> Result<File, FolderError> {
    let file = path.join(SWEEP);
    let lock = File::open(&file).map_err(|source| FolderError::NoSweep {
        path: path.to_owned(),
        source,
    })?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(FolderError::Busy {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(write_error(&file)(source)),
    }
}

/// Whether a sweep has come to its end, with so many trials confirmed.
fn is_complete(folder: &Path, confirm: u32) -> bool {
    let confirm = usize::try_from(confirm).unwrap_or(usize::MAX);
    let summary = std::fs::read(folder.join(SUMMARY)).unwrap_or_default();
    serde_json::from_slice(&summary).is_ok_and(|ended: Summary| {
        let enough = confirm.min(ended.trials.all);
        let has_run = |one: &&Confirmed| one.outcome == COMPLETED;
        let confirmed = ended.confirmed.iter().filter(has_run).count();
        ended.outcome == COMPLETED && confirmed >= enough
    })
}

fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}

/// Mean and interval.
fn cells(figure: Option<Figure>) -> [String; 3] {
    let text = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let interval = figure.and_then(|figure| figure.interval);
    [
        text(figure.map(|figure| figure.mean)),
        text(interval.map(|(low, _)| low)),
        text(interval.map(|(_, high)| high)),
    ]
}

/// The sweep as a file in which nothing is left to a default.
pub(super) fn to_toml(sweep: &Sweep) -> String {
    let mut out = String::new();
    // Writing to a text cannot fail.
    let _ = write_sweep(sweep, &mut out);
    out
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list(values: &[toml::Value]) -> String {
    toml::Value::Array(values.to_vec()).to_string()
}

fn write_sweep(sweep: &Sweep, out: &mut String) -> std::fmt::Result {
    let path = std::path::absolute(&sweep.base.path).unwrap_or_else(|_| sweep.base.path.clone());
    writeln!(out, "name = {}", quoted(&sweep.name))?;
    writeln!(
        out,
        "# As it was: base.toml. Its relative paths count from here."
    )?;
    writeln!(out, "experiment = {}", quoted(&path.to_string_lossy()))?;
    writeln!(out, "seed = {}", sweep.seed)?;
    writeln!(out, "repeats = {}", sweep.repeats)?;
    writeln!(out, "width = {}", sweep.width)?;
    writeln!(out, "confirm = {}", sweep.confirm)?;
    if let Some(rounds) = sweep.confirm_rounds {
        writeln!(out, "confirm-rounds = {rounds}")?;
    }
    let objectives: Vec<String> = sweep.objectives.iter().map(objective).collect();
    writeln!(out, "objectives = [{}]", objectives.join(", "))?;
    writeln!(out, "\n[space]")?;
    for parameter in &sweep.parameters {
        write_parameter(parameter, &sweep.parameters, out)?;
    }
    writeln!(out, "\n[search.{}]", sweep.search.name())?;
    match &sweep.search {
        Search::Grid => {}
        Search::Random { trials } => writeln!(out, "trials = {trials}")?,
        Search::Tpe {
            trials,
            random_trials,
        } => {
            writeln!(out, "trials = {trials}\nrandom-trials = {random_trials}")?;
        }
    }
    if let Some(asha) = &sweep.early_stopping {
        writeln!(out, "\n[early-stopping.asha]")?;
        writeln!(out, "rounds-min = {}", asha.rounds_min)?;
        writeln!(out, "reduction-factor = {}", asha.reduction_factor)?;
    }
    Ok(())
}

fn objective(objective: &Objective) -> String {
    let number = |value: f64| toml::Value::from(value).to_string();
    let inside = match objective {
        Objective::Quality {
            within: Some(Budget { cost, most }),
            ..
        } => format!("{{ within-{} = {} }}", cost.key(), number(*most)),
        Objective::Cost {
            target: Some(Target { measure, value }),
            ..
        } => format!("{{ to-{} = {} }}", measure.key(), number(*value)),
        _ => "{}".to_owned(),
    };
    format!("{{ {} = {inside} }}", objective.measure().key())
}

fn write_parameter(parameter: &Parameter, all: &[Parameter], out: &mut String) -> std::fmt::Result {
    let mut inside = match &parameter.values {
        Values::List(values) => format!("list = {}", list(values)),
        Values::Range { is_log, .. } => {
            let name = if *is_log { "log-range" } else { "range" };
            format!("{name} = {}", list(&parameter.values.examples()))
        }
    };
    let conditions: Vec<String> = parameter
        .when
        .iter()
        .filter_map(|condition| {
            let other = all.get(condition.parameter)?;
            Some(format!(
                "{} = {}",
                quoted(&other.key),
                list(&condition.values)
            ))
        })
        .collect();
    if !conditions.is_empty() {
        let _ = write!(inside, ", when = {{ {} }}", conditions.join(", "));
    }
    writeln!(out, "{} = {{ {inside} }}", quoted(&parameter.key))
}
