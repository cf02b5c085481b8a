//! The folder of a sweep, read: whole, cut off, or still being written.

use std::collections::BTreeMap;
use std::fs::TryLockError;
use std::path::{Path, PathBuf};

use csv::StringRecord;
use serde::Serialize;

use super::table::Records;
use super::{ArchiveError, Standing, began_unix_seconds, open_file, shortened, text, whole_error};
use crate::sweep::{BEST, COMPLETED, FRONT, Measure, SWEEP, Status, TRIALS};
use crate::sweep::{ObjectiveInfo, RUNNING, SUMMARY, Summary, TrialCounts, Winner};

/// Rows of a table that are read: a sweep has at most
/// [`TRIALS_MAX`](crate::sweep::TRIALS_MAX) trials, but its front may be longer.
const ROWS_MAX: usize = 100_000;
/// What three columns of an objective end in.
const ENDS: [&str; 2] = ["_low", "_high"];
/// Columns that are no parameter's and no objective's.
const FIXED: [&str; 9] = [
    "trial",
    "status",
    "rung",
    "rounds",
    "round",
    "cpu_seconds",
    "host_seconds",
    "folder",
    "detail",
];

/// The folder of a sweep.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SweepArchive {
    path: PathBuf,
}

/// A row of `trials.csv`, or of `front.csv`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SweepRow {
    /// The trial's number.
    pub trial: u32,
    /// How it stands; empty on the front.
    pub status: String,
    /// The highest rung that it came to, from 0.
    pub rung: u32,
    /// Rounds that it has; on the front, the round.
    pub rounds: u32,
    /// Values in the order of [`SweepTables::parameters`]; empty where one is not set.
    pub parameters: Vec<String>,
    /// In the order of [`SweepTables::objectives`]; `None`: it has none, such as a target
    /// that was not reached.
    pub objectives: Vec<Option<f64>>,
    /// The confidence interval of each, where there are several repeats.
    pub intervals: Vec<Option<(f64, f64)>>,
    /// Processor time, in host seconds.
    pub cpu_seconds: Option<f64>,
    /// Of its (first) run, from the sweep's folder.
    pub folder: String,
    /// Why it failed.
    pub detail: String,
}

/// What a sweep has found so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SweepTables {
    /// The keys, in the order of the columns.
    pub parameters: Vec<String>,
    /// In the order of the columns.
    pub objectives: Vec<ObjectiveInfo>,
    /// In the order of their numbers.
    pub trials: Vec<SweepRow>,
    /// The best in the first objective first.
    pub front: Vec<SweepRow>,
}

impl SweepTables {
    /// The better of two values of an objective is the greater of these.
    pub fn merit(&self, objective: usize, row: &SweepRow) -> f64 {
        let value = row.objectives.get(objective).copied().flatten();
        match (self.objectives.get(objective), value) {
            (Some(objective), Some(value)) if objective.is_maximised => value,
            (Some(_), Some(value)) => -value,
            _ => f64::NEG_INFINITY,
        }
    }

    /// The best trial by the first objective; of equals the first.
    pub fn best(&self) -> Option<&SweepRow> {
        let mut best: Option<&SweepRow> = None;
        for trial in &self.trials {
            let merit = self.merit(0, trial);
            if merit > best.map_or(f64::NEG_INFINITY, |best| self.merit(0, best)) {
                best = Some(trial);
            }
        }
        best
    }

    /// How many trials have become what, of so many that are planned.
    pub fn counts(&self, planned: usize) -> TrialCounts {
        let count = |status: Status| {
            let trials = self.trials.iter();
            trials.filter(|trial| trial.status == status.name()).count()
        };
        TrialCounts {
            all: self.trials.len(),
            planned,
            completed: count(Status::Completed),
            stopped: count(Status::Stopped),
            failed: count(Status::Failed),
            impossible: count(Status::Impossible),
        }
    }
}

/// A sweep at a glance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SweepOverview {
    /// `sweep`.
    pub kind: &'static str,
    /// Its folder.
    pub folder: PathBuf,
    /// Its name; that of the folder where it says none.
    pub name: String,
    /// When it began, in seconds since 1970 by the host's clock; `None` where the
    /// file system does not know.
    pub began_unix_seconds: Option<u64>,
    /// `running`, `completed`, `ended early`, `cut off`.
    pub standing: &'static str,
    /// Why it ended early.
    pub reason: Option<String>,
    /// How many trials have become what.
    pub trials: TrialCounts,
    /// In the order of the columns.
    pub objectives: Vec<ObjectiveInfo>,
    /// The best trial so far by the first objective.
    pub best: Option<Winner>,
    /// Processor time of all trials, in host seconds.
    pub cpu_seconds: f64,
    /// Wall time without cuts; `None` where nobody has written it down.
    pub host_seconds: Option<f64>,
}

impl SweepArchive {
    /// The sweep in a folder.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        match path.join(TRIALS).is_file() {
            true => Ok(Self {
                path: path.to_owned(),
            }),
            false => Err(ArchiveError::NoSweep {
                path: path.to_owned(),
                missing: TRIALS,
            }),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How the sweep stands.
    ///
    /// # Errors
    /// When the folder cannot be read, or its summary is none.
    pub fn standing(&self) -> Result<Standing, ArchiveError> {
        // Whoever plays it holds the lock; it is let go at once.
        if let Ok(lock) = open_file(&self.path.join(SWEEP))
            && let Err(TryLockError::WouldBlock) = lock.try_lock_shared()
        {
            return Ok(Standing::Running);
        }
        Ok(match self.summary()? {
            None => Standing::CutOff,
            Some(summary) => match summary.outcome.as_str() {
                COMPLETED => Standing::Completed,
                RUNNING => Standing::CutOff,
                outcome => Standing::Ended(outcome.to_owned()),
            },
        })
    }

    /// How it stood when its tables were written last; `None`: sweeps of versions that
    /// wrote it at the end alone, and that have not come to it.
    ///
    /// # Errors
    /// When `summary.json` is none.
    pub fn summary(&self) -> Result<Option<Summary>, ArchiveError> {
        let Some(text) = text(&self.path, SUMMARY)? else {
            return Ok(None);
        };
        let summary: Summary = serde_json::from_str(&text)
            .map_err(|error| whole_error(&self.path, SUMMARY, error.to_string()))?;
        match summary.outcome.is_empty() {
            true => Err(whole_error(
                &self.path,
                SUMMARY,
                "it has no outcome".to_owned(),
            )),
            false => Ok(Some(summary)),
        }
    }

    /// `sweep.toml`; empty where there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn sweep_text(&self) -> Result<String, ArchiveError> {
        Ok(text(&self.path, SWEEP)?.unwrap_or_default())
    }

    /// `best.toml`; empty where the sweep has not come to it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn best_text(&self) -> Result<String, ArchiveError> {
        Ok(text(&self.path, BEST)?.unwrap_or_default())
    }

    /// Its tables; `summary` knows the objectives best. A last row that is not all there
    /// is left out.
    ///
    /// # Errors
    /// Which cell is none of its column.
    pub fn tables(&self, summary: Option<&Summary>) -> Result<SweepTables, ArchiveError> {
        let mut trials = Records::open(self.path.join(TRIALS))?;
        let header = &trials.header;
        let has = |name: &str| header.iter().any(|other| other == name);
        // Objectives have three columns, and parameters one.
        let is_objective = |name: &str| ENDS.iter().all(|end| has(&format!("{name}{end}")));
        let is_of_objective = |name: &str| {
            let mut ends = ENDS.iter().filter_map(|end| name.strip_suffix(end));
            is_objective(name) || ends.any(is_objective)
        };
        let known = summary.map_or(&[][..], |summary| &summary.objectives);
        let objective = |name: &str| {
            let known = known.iter().find(|objective| objective.name == name);
            known.cloned().unwrap_or_else(|| named(name))
        };
        let mut tables = SweepTables {
            parameters: header
                .iter()
                .filter(|name| !FIXED.contains(name) && !is_of_objective(name))
                .map(str::to_owned)
                .collect(),
            objectives: header
                .iter()
                .filter(|name| is_objective(name))
                .map(objective)
                .collect(),
            ..SweepTables::default()
        };
        tables.trials = rows(&mut trials, &tables)?;
        let mut front = Records::open(self.path.join(FRONT))?;
        tables.front = rows(&mut front, &tables)?;
        Ok(tables)
    }

    /// The sweep at a glance.
    ///
    /// # Errors
    /// When a file of it is damaged.
    pub fn overview(&self) -> Result<SweepOverview, ArchiveError> {
        let standing = self.standing()?;
        let summary = self.summary()?;
        let tables = self.tables(summary.as_ref())?;
        let names = || tables.objectives.iter().map(|objective| &objective.name);
        let best = tables.best().map(|best| Winner {
            trial: best.trial,
            rounds: best.rounds,
            parameters: tables
                .parameters
                .iter()
                .zip(&best.parameters)
                .filter(|(_, value)| !value.is_empty())
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            objectives: names()
                .zip(&best.objectives)
                .map(|(name, value)| (name.clone(), *value))
                .collect::<BTreeMap<_, _>>(),
        });
        let cpu_seconds = tables.trials.iter().filter_map(|trial| trial.cpu_seconds);
        Ok(SweepOverview {
            kind: "sweep",
            folder: self.path.clone(),
            name: self.name(summary.as_ref()),
            began_unix_seconds: began_unix_seconds(&self.path.join(SWEEP)),
            standing: standing.name(),
            trials: tables.counts(summary.as_ref().map_or(0, |summary| summary.trials.planned)),
            reason: match standing {
                Standing::Ended(reason) => Some(reason),
                _ => None,
            },
            best,
            cpu_seconds: cpu_seconds.sum(),
            host_seconds: summary.map(|summary| summary.host_seconds),
            objectives: tables.objectives,
        })
    }

    /// What it is called: by its summary, or as its folder.
    pub fn name(&self, summary: Option<&Summary>) -> String {
        let folder = || Some(self.path.file_name()?.to_string_lossy().into_owned());
        summary
            .map(|summary| summary.name.clone())
            .filter(|name| !name.is_empty())
            .or_else(folder)
            .unwrap_or_else(|| "sweep".to_owned())
    }
}

/// What the name of an objective says by itself.
fn named(name: &str) -> ObjectiveInfo {
    let is_of = |measure: &Measure| name.starts_with(&measure.key().replace('-', "_"));
    let measure = Measure::ALL.into_iter().find(is_of);
    ObjectiveInfo {
        name: name.to_owned(),
        unit: measure.map_or("", Measure::unit).to_owned(),
        is_maximised: measure.is_some_and(Measure::is_maximised),
    }
}

fn rows(records: &mut Records, tables: &SweepTables) -> Result<Vec<SweepRow>, ArchiveError> {
    let header = records.header.clone();
    let place = |name: &str| header.iter().position(|other| other == name);
    let fixed = FIXED.map(place);
    let parameters: Vec<Option<usize>> = tables.parameters.iter().map(|key| place(key)).collect();
    let objectives: Vec<[Option<usize>; 3]> = tables
        .objectives
        .iter()
        .map(|ObjectiveInfo { name, .. }| {
            ["", ENDS[0], ENDS[1]].map(|end| place(&format!("{name}{end}")))
        })
        .collect();
    let mut rows = Vec::new();
    while rows.len() < ROWS_MAX
        && let Some(next) = records.next()
    {
        let (record, line) = next?;
        let row = row(record, &header, fixed, &parameters, &objectives);
        rows.push(row.map_err(|reason| records.row_error(line, reason))?);
    }
    Ok(rows)
}

/// A row, by the places of its columns.
fn row(
    record: &StringRecord,
    header: &StringRecord,
    fixed: [Option<usize>; FIXED.len()],
    parameters: &[Option<usize>],
    objectives: &[[Option<usize>; 3]],
) -> Result<SweepRow, String> {
    let text = |place: Option<usize>| place.and_then(|place| record.get(place)).unwrap_or("");
    let wrong = |place: Option<usize>, is_what: &str| {
        let name = place.and_then(|place| header.get(place)).unwrap_or("");
        format!(
            "column `{name}` is `{}`, which is {is_what}",
            shortened(text(place))
        )
    };
    let count = |place: Option<usize>| match text(place) {
        "" => Ok(0),
        text => text.parse::<u32>().map_err(|_| wrong(place, "not a count")),
    };
    let number = |place: Option<usize>| match text(place) {
        "" => Ok(None),
        text => match text.parse::<f64>() {
            Ok(number) => Ok(Some(number).filter(|number| number.is_finite())),
            Err(_) => Err(wrong(place, "no number")),
        },
    };
    let [
        trial,
        status,
        rung,
        rounds,
        round,
        cpu_seconds,
        _,
        folder,
        detail,
    ] = fixed;
    let mut row = SweepRow {
        trial: count(trial)?,
        status: text(status).to_owned(),
        rung: count(rung)?,
        rounds: count(rounds.or(round))?,
        parameters: parameters
            .iter()
            .map(|place| text(*place).to_owned())
            .collect(),
        cpu_seconds: number(cpu_seconds)?,
        folder: text(folder).to_owned(),
        detail: text(detail).to_owned(),
        ..SweepRow::default()
    };
    for [value, low, high] in objectives {
        row.objectives.push(number(*value)?);
        row.intervals.push(number(*low)?.zip(number(*high)?));
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::super::{Found, look};
    use super::*;

    const HEAD: &str = "trial,status,rung,rounds,training.epochs,accuracy,accuracy_low,\
        accuracy_high,bytes_to_accuracy_0.9,bytes_to_accuracy_0.9_low,\
        bytes_to_accuracy_0.9_high,cpu_seconds,host_seconds,folder,detail\n";
    const ROWS: [&str; 3] = [
        "1,completed,1,4,1,0.5,0.25,0.75,400,,,2,2,trials/0001,\n",
        "2,failed,0,0,2,,,,,,,0.5,0.5,trials/0002,\"of it, too\"\n",
        "3,running,0,1,2,0.75,,,,,,1,1,trials/0003,\n",
    ];

    fn sweep(files: &[(&str, &str)]) -> (tempfile::TempDir, SweepArchive) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let archive = SweepArchive::open(folder.path()).unwrap();
        (folder, archive)
    }

    #[test]
    fn a_sweep_that_was_cut_off_has_what_is_there() {
        let text = format!("{HEAD}{}", ROWS.concat());
        for bytes in 0..=text.len() {
            let cut = text.get(..bytes).unwrap();
            let (_folder, archive) = sweep(&[(TRIALS, cut)]);
            let tables = archive.tables(None).unwrap();
            let whole = (1..=ROWS.len())
                .take_while(|count| HEAD.len() + ROWS[..*count].concat().len() <= bytes)
                .count();
            assert_eq!(tables.trials.len(), whole, "{cut:?}");
            assert_eq!(archive.standing().unwrap(), Standing::CutOff);
        }
        let (_folder, archive) = sweep(&[(TRIALS, &text)]);
        let tables = archive.tables(None).unwrap();
        assert_eq!(tables.parameters, ["training.epochs"]);
        let objectives: Vec<(&str, &str, bool)> = tables
            .objectives
            .iter()
            .map(|one| (one.name.as_str(), one.unit.as_str(), one.is_maximised))
            .collect();
        assert_eq!(
            objectives,
            [
                ("accuracy", "", true),
                ("bytes_to_accuracy_0.9", "bytes", false)
            ]
        );
        assert_eq!(tables.trials[0].intervals, [Some((0.25, 0.75)), None]);
        assert_eq!(tables.trials[0].objectives, [Some(0.5), Some(400.0)]);
        assert_eq!(tables.trials[1].detail, "of it, too");
        assert_eq!(tables.best().unwrap().trial, 3);
        // The front has one column of each.
        let front = "trial,round,training.epochs,accuracy,bytes_to_accuracy_0.9\n1,4,1,0.5,400\n";
        let (_folder, archive) = sweep(&[(TRIALS, &text), (FRONT, front)]);
        let front = archive.tables(None).unwrap().front;
        assert_eq!((front[0].trial, front[0].rounds), (1, 4));
        assert_eq!(front[0].objectives, [Some(0.5), Some(400.0)]);
        let overview = archive.overview().unwrap();
        assert_eq!((overview.trials.all, overview.trials.over()), (3, 2));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let check = |name: &str, text: &str, expected: &str| {
            let (_folder, archive) = sweep(&[(TRIALS, HEAD), (name, text)]);
            let error = archive.overview().unwrap_err().to_string();
            assert!(error.ends_with(expected), "{error}");
        };
        check(
            TRIALS,
            &format!("{HEAD}{}{}", ROWS[1], ROWS[0].replace("0.5,", "half,")),
            "trials.csv, line 3: column `accuracy` is `half`, which is no number",
        );
        check(
            TRIALS,
            &format!("{HEAD}{}", ROWS[0].replacen('1', "one", 1)),
            "trials.csv, line 2: column `trial` is `one`, which is not a count",
        );
        check(
            SUMMARY,
            "{\"outcome\": \"comp",
            "EOF while parsing a string at line 1 column 17",
        );
        check(SUMMARY, "{}", "summary.json: it has no outcome");
        let folder = tempfile::tempdir().unwrap();
        let error = SweepArchive::open(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("is not the folder of a sweep: it has no trials.csv"));
    }

    #[test]
    fn how_a_sweep_stands() {
        for (summary, expected) in [
            (r#"{"outcome": "completed"}"#, Standing::Completed),
            (r#"{"outcome": "running"}"#, Standing::CutOff),
            (r#"{"outcome": "full"}"#, Standing::Ended("full".to_owned())),
        ] {
            let (folder, archive) = sweep(&[(TRIALS, ""), (SWEEP, ""), (SUMMARY, summary)]);
            assert_eq!(archive.standing().unwrap(), expected);
            let lock = File::open(folder.path().join(SWEEP)).unwrap();
            lock.lock().unwrap();
            assert_eq!(archive.standing().unwrap(), Standing::Running);
        }
    }

    #[test]
    fn trials_are_looked_for_where_they_are_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        for run in ["one", "sweep/trials/0001", "sweep/confirmed/0001"] {
            write(&format!("{run}/experiment.toml"));
            write(&format!("{run}/rounds.csv"));
        }
        write("sweep/trials.csv");
        let counts = |below: &str, opens_sweeps: bool| {
            let Found { runs, sweeps } = look(&folder.path().join(below), opens_sweeps).unwrap();
            (runs.len(), sweeps.len())
        };
        assert_eq!(counts("", false), (1, 1));
        assert_eq!(counts("", true), (3, 1));
        assert_eq!(counts("sweep", false), (0, 1));
        assert_eq!(counts("sweep", true), (2, 1));
        assert_eq!(counts("sweep/trials", false), (1, 0));
        assert!(look(&folder.path().join("nowhere"), true).is_err());
    }
}
