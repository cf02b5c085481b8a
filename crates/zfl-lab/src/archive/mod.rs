//! The folder of a run, read: whole, cut off, or still being written.
//!
//! [`Archive::open`] one, or [`find`] all below a folder. Every table is read by
//! the names of its columns ([`Rows`], a row at a time), so that the runs of other
//! versions of zfl are read too. A last row that is not all there is left out and
//! said ([`Rows::is_cut_off`]); whatever else is wrong is an error with its place.
//!
//! Nothing here writes, and reading a run that goes on does not disturb it.

mod compare;
mod rows;
mod sweep;
mod table;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use compare::{Difference, Overview, differences};
pub use rows::{Client, Round};
pub(crate) use rows::{ClientRow, DeviceRow, FleetRow, ReportRow, RoundRow, TrafficRow};
pub use sweep::{SweepArchive, SweepOverview, SweepRow, SweepTables};
pub use table::{Cell, CellKind, Column, Row, Rows, Table};

use crate::experiment::error::shorten;
use crate::records::{COMPLETED, EVENTS, EXPERIMENT, PARTITION, ROUNDS, SUMMARY};
use crate::run::Summary;
use crate::table_row;
pub(crate) use table::{Records, shortened};

/// Longest file that is read whole, in bytes.
const WHOLE_FILE_BYTES_MAX: u64 = 64 << 20;
/// Longest line of `events.jsonl`, in bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Longest reason of an error, in bytes.
const REASON_BYTES_MAX: usize = 1000;
/// Folders in folders that are looked through for runs.
const DEPTH_MAX: usize = 8;

/// Why a run's folder cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// There is no run.
    #[error("{} is not the folder of a run: it has no {missing}", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// The file that every run has.
        missing: &'static str,
    },
    /// There is no sweep.
    #[error("{} is not the folder of a sweep: it has no {missing}", path.display())]
    NoSweep {
        /// The folder.
        path: PathBuf,
        /// The file that every sweep has.
        missing: &'static str,
    },
    /// A file or folder cannot be read.
    #[error("failed to read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What stands there makes no sense.
    #[error("{}, line {line}: {reason}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line in which it begins, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// The same of a file that is read whole.
    #[error("{}: {reason}", path.display())]
    Whole {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// How a run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Somebody plays it.
    Running,
    /// It has all its rounds.
    Completed,
    /// It ended before, for this reason.
    Ended(String),
    /// It was cut off before it could say why: it was killed, or the power failed.
    CutOff,
}

impl Standing {
    /// In a word.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => COMPLETED,
            Self::Ended(_) => "ended early",
            Self::CutOff => "cut off",
        }
    }
}

/// An event of a run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Event {
    /// Host time since the run began.
    pub host_seconds: f64,
    /// What happened: `round-completed`, `client-lost`…
    pub event: String,
    /// What belongs to it.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

/// How many samples of each class a client holds: a row of `partition.csv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The client's number.
    pub client: u32,
    /// Samples that it holds.
    pub samples: u64,
    /// Those of each class, in the order of [`Shares::classes`]; empty where the
    /// target is no class.
    pub by_class: Vec<u64>,
}

/// What a round, or a run, cost the devices, by the profiles of their parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct DeviceCost {
    /// Device time in seconds. Devices work at the same time, so that a round takes
    /// as long as the longest part in it; a run is the sum of its rounds.
    pub device_seconds: Option<f64>,
    /// Energy of all devices together, in millijoules.
    pub energy_mj: Option<f64>,
}

impl DeviceCost {
    /// Takes in another part of the same round.
    pub fn add_part(&mut self, device_seconds: Option<f64>, energy_mj: Option<f64>) {
        self.device_seconds = match (self.device_seconds, device_seconds) {
            (Some(longest), Some(seconds)) => Some(longest.max(seconds)),
            (one, other) => one.or(other),
        };
        self.energy_mj = sum(self.energy_mj, energy_mj);
    }
}

/// What a run came to, from its tables: also where it was cut off.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Rounds that are in the table, failed ones included.
    pub rounds: u32,
    /// Rounds without a quorum.
    pub rounds_failed: u32,
    /// Accuracy after the last round.
    pub accuracy: Option<f64>,
    /// The best accuracy.
    pub accuracy_best: Option<f64>,
    /// The first round that had it.
    pub accuracy_best_round: Option<u32>,
    /// Loss after the last round.
    pub loss: Option<f64>,
    /// Where a number is learnt, in its unit: the root of the mean squared error after
    /// the last round.
    pub rmse: Option<f64>,
    /// The least of it.
    pub rmse_best: Option<f64>,
    /// The first round that had it.
    pub rmse_best_round: Option<u32>,
    /// Bodies of start messages.
    pub bytes_down: u64,
    /// Bodies of updates.
    pub bytes_up: u64,
    /// Updates in the means of all rounds.
    pub updates_ok: u64,
    /// Updates that were asked for.
    pub updates_selected: u64,
    /// Segments sent again, both ways; `None` where no switch has counted.
    pub retransmissions: Option<u64>,
    /// Frames that links, queues and switch have dropped.
    pub drops: Option<u64>,
    /// Host time of all rounds.
    pub host_seconds: f64,
    /// SHA-256 of the last global model.
    pub model_sha256: String,
    /// What the rounds cost the devices.
    #[serde(flatten)]
    pub cost: DeviceCost,
}

/// The folder of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Archive {
    path: PathBuf,
}

impl Archive {
    /// The run in a folder.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        match missing(path) {
            Some(missing) => Err(ArchiveError::NoRun {
                path: path.to_owned(),
                missing,
            }),
            None => Ok(Self {
                path: path.to_owned(),
            }),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How the run stands.
    ///
    /// # Errors
    /// When the folder cannot be read, or its summary is none.
    pub fn standing(&self) -> Result<Standing, ArchiveError> {
        let path = self.path.join(EXPERIMENT);
        let lock = File::open(&path).map_err(|source| ArchiveError::Read { path, source })?;
        // Whoever plays it holds the lock; it is let go at once.
        if let Err(TryLockError::WouldBlock) = lock.try_lock_shared() {
            return Ok(Standing::Running);
        }
        drop(lock);
        Ok(match self.summary()? {
            None => Standing::CutOff,
            Some(summary) if summary.outcome == COMPLETED => Standing::Completed,
            Some(summary) => Standing::Ended(summary.outcome),
        })
    }

    /// The end of the run; `None` where it has not come to one. One that goes on,
    /// or was cut off, after it was resumed has the summary of what was before.
    ///
    /// # Errors
    /// When `summary.json` is none.
    pub fn summary(&self) -> Result<Option<Summary>, ArchiveError> {
        let Some(text) = self.text(SUMMARY)? else {
            return Ok(None);
        };
        let summary: Summary = serde_json::from_str(&text)
            .map_err(|error| self.whole_error(SUMMARY, error.to_string()))?;
        match summary.outcome.is_empty() {
            true => Err(self.whole_error(SUMMARY, "it has no outcome".to_owned())),
            false => Ok(Some(summary)),
        }
    }

    /// The text of the experiment, with every default written.
    ///
    /// # Errors
    /// When `experiment.toml` cannot be read.
    pub fn experiment_text(&self) -> Result<String, ArchiveError> {
        Ok(self.text(EXPERIMENT)?.unwrap_or_default())
    }

    /// The experiment as it was written, in which other versions of zfl may have
    /// other keys; [`crate::experiment::Experiment::from_file`] reads this version's.
    ///
    /// # Errors
    /// When `experiment.toml` is no TOML.
    pub fn experiment(&self) -> Result<toml::Table, ArchiveError> {
        let text = self.experiment_text()?;
        text.parse().map_err(|error: toml::de::Error| {
            let start = error.span().unwrap_or_default().start;
            let before = text.get(..start).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            self.whole_error(EXPERIMENT, format!("line {line}: {}", error.message()))
        })
    }

    /// The experiment's keys and values: `training.epochs`, `fleet.0.count`; values
    /// as TOML writes them.
    ///
    /// # Errors
    /// As [`Self::experiment`].
    pub fn settings(&self) -> Result<BTreeMap<String, String>, ArchiveError> {
        let mut settings = BTreeMap::new();
        flatten("", &toml::Value::Table(self.experiment()?), &mut settings);
        Ok(settings)
    }

    /// The rows of a table, or those columns of it that `R` has. A table that is not
    /// there has none.
    ///
    /// # Errors
    /// When the file cannot be read, or lacks a column.
    pub fn rows<R: Row>(&self) -> Result<Rows<R>, ArchiveError> {
        Rows::open(&self.path)
    }

    /// `rounds.csv`.
    ///
    /// # Errors
    /// Which cell is none of its column.
    pub fn rounds(&self) -> Result<Table<Round>, ArchiveError> {
        self.rows()?.collect_table()
    }

    /// `clients.csv`, of which there may be millions of rows.
    ///
    /// # Errors
    /// When the file cannot be read, or lacks a column.
    pub fn clients(&self) -> Result<Rows<Client>, ArchiveError> {
        self.rows()
    }

    /// `events.jsonl`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn events(&self) -> Result<Events, ArchiveError> {
        let path = self.path.join(EVENTS);
        let reader = match open_file(&path) {
            Ok(file) => Some(BufReader::new(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(ArchiveError::Read { path, source }),
        };
        Ok(Events {
            path,
            reader,
            line: 0,
            is_cut_off: false,
        })
    }

    /// `partition.csv`: who holds what. Runs of versions that wrote none have no rows.
    ///
    /// # Errors
    /// When the file cannot be read, or its header is another.
    pub fn partition(&self) -> Result<Shares, ArchiveError> {
        let records = Records::open(self.path.join(PARTITION))?;
        let mut columns = records.header.iter();
        let first = (columns.next(), columns.next());
        if !records.header.is_empty() && first != (Some("client"), Some("samples")) {
            let reason = "the header does not begin with `client,samples`".to_owned();
            return Err(records.row_error(1, reason));
        }
        Ok(Shares {
            classes: columns.map(str::to_owned).collect(),
            records,
        })
    }

    /// Whether there may be a figure of what rounds cost the devices: without a
    /// microcontroller there is none, and `clients.csv` may be long.
    ///
    /// # Errors
    /// When `experiment.toml` cannot be read.
    pub fn may_have_costs(&self) -> Result<bool, ArchiveError> {
        Ok(self.experiment_text()?.contains("mcu"))
    }

    /// What each round cost the devices, by its number. Rounds of which no client
    /// has a figure are not there.
    ///
    /// # Errors
    /// Which cell of `clients.csv` is none of its column.
    pub fn costs(&self) -> Result<BTreeMap<u32, DeviceCost>, ArchiveError> {
        table_row! {
            struct Part in "clients.csv" {
                round: u32,
                device_seconds: Option<f64>,
                energy_mj: Option<f64>,
            }
        }
        let mut costs: BTreeMap<u32, DeviceCost> = BTreeMap::new();
        if !self.may_have_costs()? {
            return Ok(costs);
        }
        for part in self.rows::<Part>()? {
            let part = part?;
            if part.device_seconds.is_none() && part.energy_mj.is_none() {
                continue;
            }
            let cost = costs.entry(part.round).or_default();
            cost.add_part(part.device_seconds, part.energy_mj);
        }
        Ok(costs)
    }

    /// What the run came to.
    ///
    /// # Errors
    /// Which cell of `rounds.csv` or `clients.csv` is none of its column.
    pub fn totals(&self) -> Result<Totals, ArchiveError> {
        let mut totals = Totals::default();
        for round in self.rows::<Round>()? {
            let round = round?;
            totals.rounds = totals.rounds.saturating_add(1);
            let is_failed = u32::from(round.outcome != COMPLETED);
            totals.rounds_failed = totals.rounds_failed.saturating_add(is_failed);
            totals.accuracy = round.accuracy;
            totals.loss = Some(round.loss);
            totals.rmse = round.rmse;
            if let Some(rmse) = round.rmse.filter(|rmse| rmse.is_finite())
                && totals.rmse_best.is_none_or(|best| rmse < best)
            {
                totals.rmse_best = Some(rmse);
                totals.rmse_best_round = Some(round.round);
            }
            if let Some(accuracy) = round.accuracy.filter(|accuracy| accuracy.is_finite())
                && totals.accuracy_best.is_none_or(|best| accuracy > best)
            {
                totals.accuracy_best = Some(accuracy);
                totals.accuracy_best_round = Some(round.round);
            }
            // Whatever a damaged table holds, a sum of it is no reason to end.
            let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
            add(&mut totals.bytes_down, round.bytes_down);
            add(&mut totals.bytes_up, round.bytes_up);
            add(&mut totals.updates_ok, round.clients_ok.into());
            add(&mut totals.updates_selected, round.clients_selected.into());
            let again = [round.retransmissions_down, round.retransmissions_up];
            for more in again.into_iter().flatten() {
                add(totals.retransmissions.get_or_insert(0), more);
            }
            if let Some(more) = round.drops {
                add(totals.drops.get_or_insert(0), more);
            }
            totals.host_seconds += round.host_seconds;
            totals.model_sha256 = round.model_sha256;
        }
        for cost in self.costs()?.into_values() {
            let all = &mut totals.cost;
            all.device_seconds = sum(all.device_seconds, cost.device_seconds);
            all.energy_mj = sum(all.energy_mj, cost.energy_mj);
        }
        Ok(totals)
    }

    fn text(&self, name: &str) -> Result<Option<String>, ArchiveError> {
        text(&self.path, name)
    }

    fn whole_error(&self, name: &str, reason: String) -> ArchiveError {
        whole_error(&self.path, name, reason)
    }
}

/// A file that is read whole; `None` where it is not there.
fn text(folder: &Path, name: &str) -> Result<Option<String>, ArchiveError> {
    let path = folder.join(name);
    let mut text = String::new();
    let read =
        open_file(&path).and_then(|file| file.take(WHOLE_FILE_BYTES_MAX).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ArchiveError::Read { path, source }),
    }
}

fn whole_error(folder: &Path, name: &str, reason: String) -> ArchiveError {
    ArchiveError::Whole {
        path: folder.join(name),
        reason: plain(&reason),
    }
}

/// When a file was written, in seconds since 1970.
fn began_unix_seconds(path: &Path) -> Option<u64> {
    let written = std::fs::metadata(path).ok()?.modified().ok()?;
    Some(written.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// A reason on one line, without what would steer a terminal: it quotes a file
/// that may be damaged.
pub(crate) fn plain(reason: &str) -> String {
    shorten(reason, REASON_BYTES_MAX)
}

/// The sum of those that are there.
fn sum(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one + other),
        (one, other) => one.or(other),
    }
}

/// The file that a folder lacks to be a run's.
fn missing(path: &Path) -> Option<&'static str> {
    [EXPERIMENT, ROUNDS]
        .into_iter()
        .find(|name| !path.join(name).is_file())
}

/// Opens a file for reading: no pipe, at which one would wait.
fn open_file(path: &Path) -> io::Result<File> {
    match std::fs::metadata(path)?.is_file() {
        true => File::open(path),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

fn flatten(prefix: &str, value: &toml::Value, settings: &mut BTreeMap<String, String>) {
    let key = |name: &dyn std::fmt::Display| match prefix {
        "" => name.to_string(),
        _ => format!("{prefix}.{name}"),
    };
    match value {
        toml::Value::Table(table) if !table.is_empty() => {
            for (name, value) in table {
                flatten(&key(name), value, settings);
            }
        }
        toml::Value::Array(values) if values.iter().any(toml::Value::is_table) => {
            for (place, value) in values.iter().enumerate() {
                flatten(&key(&place), value, settings);
            }
        }
        value => {
            settings.insert(prefix.to_owned(), value.to_string());
        }
    }
}

/// Events of a run, one at a time.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
    reader: Option<BufReader<File>>,
    line: u64,
    is_cut_off: bool,
}

impl Events {
    /// Whether the file ends within a line; known once the events are over.
    pub const fn is_cut_off(&self) -> bool {
        self.is_cut_off
    }

    fn row_error(&self, reason: String) -> ArchiveError {
        ArchiveError::Row {
            path: self.path.clone(),
            line: self.line,
            reason: plain(&reason),
        }
    }
}

impl Iterator for Events {
    type Item = Result<Event, ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_mut()?;
        let mut text = Vec::new();
        self.line += 1;
        let read = reader.take(LINE_BYTES_MAX).read_until(b'\n', &mut text);
        if let Err(source) = read {
            self.reader = None;
            let path = self.path.clone();
            return Some(Err(ArchiveError::Read { path, source }));
        }
        if text.is_empty() {
            self.reader = None;
            return None;
        }
        if !text.ends_with(b"\n") {
            self.reader = None;
            if u64::try_from(text.len()).is_ok_and(|bytes| bytes < LINE_BYTES_MAX) {
                self.is_cut_off = true;
                return None;
            }
            let reason = format!("it is longer than {LINE_BYTES_MAX} bytes");
            return Some(Err(self.row_error(reason)));
        }
        Some(
            serde_json::from_slice(&text)
                .map_err(|error| self.row_error(format!("not an event: {error}"))),
        )
    }
}

/// Who holds what, a client at a time.
#[derive(Debug)]
pub struct Shares {
    classes: Vec<String>,
    records: Records,
}

impl Shares {
    /// The columns of classes: `class_0`…, or what the data set calls them.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Whether the file ends within a row; known once the rows are over.
    pub const fn is_cut_off(&self) -> bool {
        self.records.is_cut_off()
    }
}

impl Iterator for Shares {
    type Item = Result<Share, ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (record, line) = match self.records.next()? {
            Ok(record) => record,
            Err(error) => return Some(Err(error)),
        };
        let numbers: Result<Vec<u64>, &str> = record
            .iter()
            .map(|cell| cell.parse().map_err(|_| cell))
            .collect();
        let share = numbers.map(|numbers| {
            let mut numbers = numbers.into_iter();
            let client = numbers.next().and_then(|client| u32::try_from(client).ok());
            let samples = numbers.next();
            (client, samples, numbers.collect())
        });
        match share {
            Ok((Some(client), Some(samples), by_class)) => Some(Ok(Share {
                client,
                samples,
                by_class,
            })),
            Ok(_) => Some(Err(self
                .records
                .row_error(line, "no such client".to_owned()))),
            Err(cell) => {
                let reason = format!("`{}` is not a count", shortened(cell));
                Some(Err(self.records.row_error(line, reason)))
            }
        }
    }
}

/// What a folder holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Runs, in the order of their paths.
    pub runs: Vec<Archive>,
    /// Sweeps, likewise.
    pub sweeps: Vec<SweepArchive>,
}

/// The runs in a folder and in the folders below it, in the order of their paths, those
/// of sweeps included; where the folder is itself a run's, that alone. Links are not
/// followed.
///
/// # Errors
/// When the folder cannot be read. What cannot be read below it is left out.
pub fn find(folder: &Path) -> Result<Vec<Archive>, ArchiveError> {
    Ok(look(folder, true)?.runs)
}

/// As [`find`], with the sweeps. What is in a sweep's folder is only there if it
/// `opens_sweeps`.
///
/// # Errors
/// As [`find`].
pub fn look(folder: &Path, opens_sweeps: bool) -> Result<Found, ArchiveError> {
    let mut found = Found::default();
    let mut waiting = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = waiting.pop() {
        if let Ok(archive) = Archive::open(&folder) {
            found.runs.push(archive);
            continue;
        }
        if let Ok(sweep) = SweepArchive::open(&folder) {
            found.sweeps.push(sweep);
            if !opens_sweeps {
                continue;
            }
        }
        if depth > DEPTH_MAX {
            continue;
        }
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(source) if depth == 0 => {
                return Err(ArchiveError::Read {
                    path: folder,
                    source,
                });
            }
            Err(_) => continue,
        };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push((entry.path(), depth + 1));
            }
        }
    }
    found.runs.sort();
    found.sweeps.sort();
    Ok(found)
}
