//! The folder of a run.
//!
//! | file | what |
//! |---|---|
//! | `experiment.toml` | the experiment, every default written |
//! | `data.json` | what samples are: shape, ranges of the inputs, names of the classes |
//! | `partition.csv` | a row a client: the samples that it holds, by class |
//! | `rounds.csv` | a row a round |
//! | `clients.csv` | a row a round and client |
//! | `devices.csv` | a row a device: until it was ready |
//! | `events.jsonl` | what happened, an object a line, with host time |
//! | `summary.json` | the end of it |
//! | `report.html` | all of it to look at: `zfl-report` writes it |
//! | `console/` | every byte of every device |
//! | `checkpoints/` | the global model after each round, safetensors |
//! | `firmware/` | the images that ran |
//! | `state.json`, `state.synced.json` | what it takes to go on ([`crate::state`]) |
//! | `rounds.parquet`, `clients.parquet`, `events.out.tfevents.zfl` | the records for others ([`crate::export`]) |
//! | `interrupted.jsonl` | events of rounds that were cut off and played again |
//! | `attempt-N/` | what devices printed before the run was resumed for the Nth time |
//!
//! docs/records.md has the columns. The rows of a round are written and flushed when they are known: what happened before a run
//! was ended is there whatever ended it.

use std::fs::{File, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use zfl_nn::Model;
use zfl_proto::Token;
use zfl_server::Secrets;
use zfl_server::checkpoint::{self, CheckpointError};

use crate::archive::{
    Client, ClientRow, DeviceRow, FleetRow, ReportRow, Round, RoundRow, Row, TrafficRow,
};
use crate::capture;
use crate::data::PartitionedShares;
use crate::run::RunError;
use crate::state::{self, Extent, ResumeError, State, StateKeeper};

pub(crate) const ROUNDS: &str = Round::FILE;
const CLIENTS: &str = Client::FILE;
const DEVICES: &str = "devices.csv";
pub(crate) const EVENTS: &str = "events.jsonl";
const CONSOLE: &str = "console";
/// The outcome of a run with all its rounds.
pub(crate) const COMPLETED: &str = "completed";
pub(crate) const EXPERIMENT: &str = "experiment.toml";
const INTERRUPTED: &str = "interrupted.jsonl";
pub(crate) const SUMMARY: &str = "summary.json";
/// How many samples of each class a client holds.
pub(crate) const PARTITION: &str = "partition.csv";
const DATA: &str = "data.json";
const TOKENS: &str = "tokens.csv";

/// Why a run's folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It exists and is not empty.
    #[error("folder {} exists and is not empty; name another with --out", path.display())]
    NotEmpty {
        /// Which.
        path: PathBuf,
    },
    /// Something in it cannot be written.
    #[error("failed to write {}: {source}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A row cannot be written.
    #[error("failed to write {}: {source}", path.display())]
    Row {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: csv::Error,
    },
    /// A checkpoint cannot be written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// A record that only grows, and knows its length and checksum.
struct Record {
    file: File,
    bytes: u64,
    hasher: crc32fast::Hasher,
}

impl Record {
    /// A record that holds nothing yet.
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: File::create(path)?,
            bytes: 0,
            hasher: crc32fast::Hasher::new(),
        })
    }

    /// The record as it was; `rest` is given what was written since.
    fn reopen(path: &Path, extent: Extent, rest: &mut dyn Write) -> io::Result<Self> {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        file.seek(SeekFrom::Start(extent.bytes))?;
        io::copy(&mut file, rest)?;
        file.set_len(extent.bytes)?;
        file.seek(SeekFrom::Start(extent.bytes))?;
        Ok(Self {
            file,
            bytes: extent.bytes,
            hasher: crc32fast::Hasher::new_with_initial_len(extent.crc32, extent.bytes),
        })
    }

    fn extent(&self) -> Extent {
        Extent {
            bytes: self.bytes,
            crc32: self.hasher.clone().finalize(),
        }
    }
}

impl Write for Record {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        self.bytes += u64::try_from(count).unwrap_or(u64::MAX);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The file of events of rounds that were cut off; it is there once it holds
/// one.
struct Interrupted {
    path: PathBuf,
    file: Option<File>,
}

impl Interrupted {
    fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }
}

impl Write for Interrupted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::options().append(true).create(true).open(&self.path)?,
        };
        self.file.insert(file).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The open folder of a run.
pub(crate) struct RunFolder {
    path: PathBuf,
    began: Instant,
    /// Host time of the run before it was resumed.
    seconds_before: f64,
    rounds: csv::Writer<Record>,
    clients: csv::Writer<Record>,
    devices: csv::Writer<Record>,
    events: Record,
    /// The round whose checkpoint is the global model, and what that holds.
    model: Option<(u32, Extent)>,
    /// Checkpoints that go once no state needs them; `None`: all are kept.
    outdated: Option<Vec<u32>>,
    keeper: StateKeeper,
    /// Held as long as the run goes on.
    _lock: File,
}

impl RunFolder {
    /// Checks that nothing is in the place of the folder.
    pub(crate) fn check_free(path: &Path) -> Result<(), RecordError> {
        let taken = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        match taken {
            true => Err(RecordError::NotEmpty {
                path: path.to_owned(),
            }),
            false => Ok(()),
        }
    }

    /// Makes the folder with its sub-folders and writes the experiment.
    pub(crate) fn create(path: &Path, experiment_toml: &str) -> Result<Self, RecordError> {
        Self::check_free(path)?;
        make_folders(path)?;
        let experiment = path.join(EXPERIMENT);
        std::fs::write(&experiment, experiment_toml).map_err(write_error(&experiment))?;
        let open = |name: &str| {
            let path = path.join(name);
            Record::create(&path).map_err(write_error(&path))
        };
        let lock = File::open(&experiment).map_err(write_error(&experiment))?;
        // It is new: nobody else can hold it for long.
        let _ = lock_for_writing(&lock);
        Ok(Self {
            path: path.to_owned(),
            began: Instant::now(),
            seconds_before: 0.0,
            rounds: csv::Writer::from_writer(open(ROUNDS)?),
            clients: csv::Writer::from_writer(open(CLIENTS)?),
            devices: csv::Writer::from_writer(open(DEVICES)?),
            events: open(EVENTS)?,
            model: None,
            outdated: None,
            keeper: StateKeeper::new(),
            _lock: lock,
        })
    }

    /// Opens the folder of a run that was cut off, as it was when its last round
    /// was over, and that state: `None` where no round was.
    ///
    /// Rows of a round that was cut off go, as it is played again; its events
    /// move to `interrupted.jsonl`, and what devices printed to a folder
    /// `attempt-N`.
    ///
    /// # Errors
    /// When there is no run, or one that is complete, goes on, or is damaged;
    /// when something cannot be written.
    pub(crate) fn resume(path: &Path) -> Result<(Self, Option<State>), RunError> {
        let experiment = path.join(EXPERIMENT);
        let lock = File::open(&experiment).map_err(|source| ResumeError::NoRun {
            path: path.to_owned(),
            source,
        })?;
        match lock_for_writing(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ResumeError::Busy {
                    path: path.to_owned(),
                }
                .into());
            }
            Err(TryLockError::Error(source)) => return Err(write_error(&experiment)(source).into()),
        }
        if is_complete(path) {
            return Err(ResumeError::Complete {
                path: path.to_owned(),
            }
            .into());
        }
        let state = state::latest(path)?;
        make_folders(path)?;
        set_aside(path)?;
        let open = |name: &str, rest: &mut dyn Write| {
            let extent = state
                .as_ref()
                .and_then(|state| state.records.get(name).copied());
            let path = path.join(name);
            Record::reopen(&path, extent.unwrap_or_default(), rest).map_err(write_error(&path))
        };
        // Only the first row has a header before it.
        let table = |record: Record| {
            csv::WriterBuilder::new()
                .has_headers(record.bytes == 0)
                .from_writer(record)
        };
        let mut interrupted = Interrupted::new(path.join(INTERRUPTED));
        let folder = Self {
            path: path.to_owned(),
            began: Instant::now(),
            seconds_before: state.as_ref().map_or(0.0, |state| state.host_seconds),
            rounds: table(open(ROUNDS, &mut io::sink())?),
            clients: table(open(CLIENTS, &mut io::sink())?),
            devices: table(open(DEVICES, &mut io::sink())?),
            events: open(EVENTS, &mut interrupted)?,
            model: state.as_ref().and_then(|state| {
                let name = checkpoint_name(state.model_round);
                let extent = state.records.get(&name)?;
                Some((state.model_round, *extent))
            }),
            outdated: None,
            keeper: StateKeeper::new(),
            _lock: lock,
        };
        Ok((folder, state))
    }

    /// Writes down what it takes to go on from here; `is_last`: nothing follows.
    pub(crate) fn keep(&mut self, mut state: State, is_last: bool) -> Result<(), RecordError> {
        state.host_seconds = self.host_seconds();
        let mut files = Vec::new();
        for (name, extent) in [
            (ROUNDS, self.rounds.get_ref().extent()),
            (CLIENTS, self.clients.get_ref().extent()),
            (DEVICES, self.devices.get_ref().extent()),
            (EVENTS, self.events.extent()),
        ] {
            files.push(self.path.join(name));
            state.records.insert(name.to_owned(), extent);
        }
        if let Some((round, extent)) = self.model {
            state.model_round = round;
            state.records.insert(checkpoint_name(round), extent);
            files.push(self.checkpoint_path(round));
        }
        let is_synced = self.keeper.write(&self.path, &state, &files, is_last)?;
        if is_synced {
            self.remove_outdated()?;
        }
        Ok(())
    }

    /// From here on checkpoints are removed that no state needs.
    pub(crate) fn keep_last_checkpoints_only(&mut self) {
        self.outdated = Some(self.model.iter().map(|(round, _)| *round).collect());
    }

    /// Both states are of the last checkpoint.
    fn remove_outdated(&mut self) -> Result<(), RecordError> {
        let last = self.model.map(|(round, _)| round);
        let rounds = self.outdated.as_mut().map(std::mem::take);
        for round in rounds.unwrap_or_default() {
            if Some(round) != last {
                let path = self.checkpoint_path(round);
                std::fs::remove_file(&path).map_err(write_error(&path))?;
            }
        }
        if let Some(outdated) = &mut self.outdated {
            outdated.extend(last);
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// When the run began, or went on.
    pub(crate) const fn began(&self) -> Instant {
        self.began
    }

    /// Host time since the run began, without the time that it did not run.
    pub(crate) fn host_seconds(&self) -> f64 {
        self.seconds_before + self.began.elapsed().as_secs_f64()
    }

    /// The same of a moment.
    pub(crate) fn host_seconds_at(&self, moment: Instant) -> f64 {
        self.seconds_before + moment.duration_since(self.began).as_secs_f64()
    }

    pub(crate) fn round(
        &mut self,
        row: &RoundRow<'_>,
        fleet: &FleetRow,
    ) -> Result<(), RecordError> {
        append(&mut self.rounds, [(row, fleet)], || self.path.join(ROUNDS))
    }

    /// Writes the rows of a round.
    pub(crate) fn clients<'a>(
        &mut self,
        rows: impl IntoIterator<Item = (ClientRow<'a>, TrafficRow, ReportRow)>,
    ) -> Result<(), RecordError> {
        append(&mut self.clients, rows, || self.path.join(CLIENTS))
    }

    /// Writes the rows of a fleet that is ready.
    pub(crate) fn devices<'a>(
        &mut self,
        rows: impl IntoIterator<Item = (DeviceRow<'a>, TrafficRow)>,
    ) -> Result<(), RecordError> {
        append(&mut self.devices, rows, || self.path.join(DEVICES))
    }

    /// Writes what the data are and who holds what. A run that goes on writes the
    /// same again: it may have been cut off before it was all there.
    pub(crate) fn partition(&self, shares: &PartitionedShares) -> Result<(), RecordError> {
        self.json(DATA, &shares.data_set())?;
        let path = self.path.join(PARTITION);
        let file = File::create(&path).map_err(write_error(&path))?;
        shares
            .write_csv(file)
            .map_err(|source| RecordError::Row { path, source })
    }

    /// Writes the clients' secrets, readable by the owner alone.
    pub(crate) fn tokens(
        &self,
        fleet_key: Token,
        tokens: &[(u32, Token)],
    ) -> Result<(), RecordError> {
        let path = self.path.join(TOKENS);
        let mut text = format!("client,token\nfleet,{fleet_key}\n");
        for (client, token) in tokens {
            text.push_str(&format!("{client},{token}\n"));
        }
        File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|source| RecordError::Write { path, source })
    }

    /// The secrets of a run whose clients others bring; `None` where it has
    /// none.
    ///
    /// # Errors
    /// Which line of `tokens.csv` is none of its.
    pub(crate) fn read_tokens(folder: &Path) -> Result<Option<Secrets>, ResumeError> {
        let damaged = |reason| ResumeError::Damaged {
            path: folder.to_owned(),
            reason,
        };
        let text = match std::fs::read_to_string(folder.join(TOKENS)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(damaged(format!("{TOKENS}: {error}"))),
        };
        let mut tokens = Vec::new();
        for (number, line) in (1..).zip(text.lines()).skip(1) {
            // The fleet key, then a token for each client.
            let expected = match tokens.len() {
                0 => "fleet".to_owned(),
                count => (count - 1).to_string(),
            };
            let token = line
                .strip_prefix(&*expected)
                .and_then(|rest| rest.strip_prefix(',')?.parse().ok());
            match token {
                Some(token) => tokens.push(token),
                None => {
                    return Err(damaged(format!(
                        "{TOKENS}, line {number}: expected `{expected},` and 32 hexadecimal digits"
                    )));
                }
            }
        }
        match tokens.split_first() {
            Some((fleet_key, clients)) => Ok(Some(Secrets {
                fleet_key: *fleet_key,
                clients: clients.to_vec(),
            })),
            None => Err(damaged(format!("{TOKENS} holds no token"))),
        }
    }

    /// Writes an event: `fields` and the host time since the run began.
    pub(crate) fn event(
        &mut self,
        event: &str,
        fields: &impl Serialize,
    ) -> Result<(), RecordError> {
        #[derive(Serialize)]
        struct Line<'a, F> {
            host_seconds: f64,
            event: &'a str,
            #[serde(flatten)]
            fields: &'a F,
        }
        let line = Line {
            host_seconds: self.host_seconds(),
            event,
            fields,
        };
        // In one call: the file has no buffer, so that nothing is lost.
        let written = serde_json::to_vec(&line)
            .map_err(io::Error::from)
            .and_then(|mut line| {
                line.push(b'\n');
                self.events.write_all(&line)
            });
        written.map_err(|source| RecordError::Write {
            path: self.path.join(EVENTS),
            source,
        })
    }

    pub(crate) fn checkpoint_path(&self, round: u32) -> PathBuf {
        self.path.join(checkpoint_name(round))
    }

    /// Writes the global model after a round.
    pub(crate) fn checkpoint(
        &mut self,
        round: u32,
        model: &Model,
        parameters: &[f32],
    ) -> Result<(), RecordError> {
        let file = checkpoint::save(&self.checkpoint_path(round), model, parameters, round)?;
        self.model = Some((round, Extent::of(&file)));
        if let Some(outdated) = &mut self.outdated {
            outdated.push(round);
        }
        Ok(())
    }

    pub(crate) fn summary(&self, summary: &impl Serialize) -> Result<(), RecordError> {
        self.json(SUMMARY, summary)
    }

    fn json(&self, name: &str, value: &impl Serialize) -> Result<(), RecordError> {
        let path = self.path.join(name);
        let written = serde_json::to_string_pretty(value)
            .map_err(io::Error::from)
            .and_then(|text| std::fs::write(&path, text + "\n"));
        written.map_err(|source| RecordError::Write { path, source })
    }
}

/// Takes the lock of whoever plays the run. Readers hold it for a moment, to see
/// whether somebody does.
fn lock_for_writing(file: &File) -> Result<(), TryLockError> {
    const ATTEMPTS: u32 = 20;
    const PAUSE: Duration = Duration::from_millis(5);
    for _ in 1..ATTEMPTS {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
    file.try_lock()
}

/// Where the model after a round is in the folder.
fn checkpoint_name(round: u32) -> String {
    format!("checkpoints/round-{round:04}.safetensors")
}

fn write_error(path: &Path) -> impl Fn(io::Error) -> RecordError {
    move |source| RecordError::Write {
        path: path.to_owned(),
        source,
    }
}

fn make_folders(path: &Path) -> Result<(), RecordError> {
    for folder in [CONSOLE, "checkpoints", "firmware"] {
        let folder = path.join(folder);
        std::fs::create_dir_all(&folder).map_err(write_error(&folder))?;
    }
    Ok(())
}

/// Whether a run has all its rounds.
fn is_complete(folder: &Path) -> bool {
    #[derive(Deserialize)]
    struct Ended {
        outcome: String,
    }
    let summary = std::fs::read(folder.join(SUMMARY)).unwrap_or_default();
    serde_json::from_slice(&summary).is_ok_and(|ended: Ended| ended.outcome == COMPLETED)
}

/// Puts what devices printed, and what was captured of them, where those that
/// start again do not write.
fn set_aside(folder: &Path) -> Result<(), RecordError> {
    let is_used = |name: &&str| {
        std::fs::read_dir(folder.join(name)).is_ok_and(|mut entries| entries.next().is_some())
    };
    let used: Vec<&str> = [CONSOLE, capture::FOLDER]
        .into_iter()
        .filter(is_used)
        .collect();
    if used.is_empty() {
        return Ok(());
    }
    let attempt = (1u32..)
        .map(|number| folder.join(format!("attempt-{number}")))
        .find(|attempt| !attempt.exists())
        .unwrap_or_else(|| folder.join("attempt"));
    std::fs::create_dir(&attempt).map_err(write_error(&attempt))?;
    for name in used {
        let from = folder.join(name);
        std::fs::rename(&from, attempt.join(name))
            .and_then(|()| std::fs::create_dir(&from))
            .map_err(write_error(&from))?;
    }
    Ok(())
}

fn append(
    writer: &mut csv::Writer<Record>,
    rows: impl IntoIterator<Item = impl Serialize>,
    path: impl Fn() -> PathBuf,
) -> Result<(), RecordError> {
    for row in rows {
        writer.serialize(row).map_err(|source| RecordError::Row {
            path: path(),
            source,
        })?;
    }
    writer.flush().map_err(|source| RecordError::Write {
        path: path(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("../../../docs/records.md");

    /// The columns that the document lists under a heading.
    fn documented(file: &str) -> Vec<&'static str> {
        let heading = format!("\n## {file}\n");
        let (_, section) = DOCUMENT.split_once(&heading).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let column = |line: &'static str| line.strip_prefix("| `")?.split('`').next();
        section.lines().filter_map(column).collect()
    }

    #[test]
    fn every_column_is_documented() {
        fn names<R: Row>() -> Vec<&'static str> {
            R::COLUMNS.iter().map(|column| column.name).collect()
        }
        assert_eq!(names::<Round>(), documented("rounds.csv"));
        let all = documented("clients.csv");
        assert_eq!(names::<Client>(), all);
        let device = DeviceRow {
            after_round: 0,
            device: 0,
            client: 0,
            board: "",
            boot_host_seconds: None,
            ready_host_seconds: None,
        };
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.serialize((device, TrafficRow::default())).unwrap();
        let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        let columns: Vec<&str> = text.lines().next().unwrap().split(',').collect();
        let place = |name| all.iter().position(|column| *column == name).unwrap();
        let of_traffic = &all[place("nic_bytes_in")..=place("link_airtime_seconds_up")];
        assert_eq!(columns, [&documented("devices.csv"), of_traffic].concat());
    }
}
