//! What it takes to go on with a run: written after each of its rounds.
//!
//! A state says which round is over, which checkpoint holds the model after it,
//! and up to which byte each record belongs to rounds that are over, with the
//! checksum of all bytes before. `state.json` follows every round; it is whole
//! after any end of the process. What the system had not yet put on the disk
//! when the power failed can be missing, so that every second `state.synced.json`
//! says the same of files that are on the disk. Whoever resumes takes the later
//! one whose files are all there and all whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use zfl_server::Carry;

use crate::records::RecordError;
use crate::run::Summary;

/// Raised when what a state says changes its meaning.
const VERSION: u32 = 1;
/// Follows every round.
const STATE: &str = "state.json";
/// Says the same of files that are on the disk.
const SYNCED: &str = "state.synced.json";
/// Files are put on the disk no more often: on many disks that takes longer
/// than a round of native clients.
const SYNC_PERIOD: Duration = Duration::from_secs(1);
/// No state is longer, in bytes: late updates in it are models.
const STATE_BYTES_MAX: u64 = 1 << 32;

/// How much of a record belongs to rounds that are over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Extent {
    /// Bytes from the beginning.
    pub(crate) bytes: u64,
    /// CRC-32 of them.
    pub(crate) crc32: u32,
}

impl Extent {
    /// Of something that holds these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self {
            bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            crc32: crc32fast::hash(bytes),
        }
    }
}

/// What is known after a round.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    version: u32,
    /// The last round that is over.
    pub(crate) round: u32,
    /// The round whose checkpoint is the global model; 0: no round has changed
    /// it yet.
    pub(crate) model_round: u32,
    /// Host time since the run began, without the time that it did not run.
    pub(crate) host_seconds: f64,
    /// By the names of the records.
    pub(crate) records: BTreeMap<String, Extent>,
    /// The summary so far.
    pub(crate) summary: Summary,
    /// What the coordinator carries over.
    pub(crate) carry: Carry,
}

impl State {
    /// The state after a round. [`crate::records::RunFolder::keep`] fills in
    /// what the folder knows.
    pub(crate) fn new(round: u32, summary: Summary, carry: Carry) -> Self {
        Self {
            version: VERSION,
            round,
            model_round: 0,
            host_seconds: 0.0,
            records: BTreeMap::new(),
            summary,
            carry,
        }
    }
}

/// Writes states.
pub(crate) struct StateKeeper {
    synced: Option<Instant>,
}

impl StateKeeper {
    pub(crate) const fn new() -> Self {
        Self { synced: None }
    }

    /// Writes a state, whose files are `files`; puts all on the disk when that
    /// was not done for a while, or where it `must`. Whether it was.
    pub(crate) fn write(
        &mut self,
        folder: &Path,
        state: &State,
        files: &[PathBuf],
        must: bool,
    ) -> Result<bool, RecordError> {
        let text = serde_json::to_vec(state).map_err(|error| write_error(folder, error.into()))?;
        replace(&folder.join(STATE), &text, false)?;
        if !must && self.synced.is_some_and(|at| at.elapsed() < SYNC_PERIOD) {
            return Ok(false);
        }
        let sync = |path: &PathBuf| {
            let synced = File::open(path).and_then(|file| file.sync_all());
            synced.map_err(|source| RecordError::Write {
                path: path.clone(),
                source,
            })
        };
        files.iter().try_for_each(sync)?;
        replace(&folder.join(SYNCED), &text, true)?;
        self.synced = Some(Instant::now());
        Ok(true)
    }
}

fn write_error(folder: &Path, source: io::Error) -> RecordError {
    RecordError::Write {
        path: folder.join(STATE),
        source,
    }
}

/// Puts a file in the place of the one before, whole or not at all.
fn replace(path: &Path, bytes: &[u8], is_synced: bool) -> Result<(), RecordError> {
    let partial = path.with_extension("partial");
    let write = || {
        let mut file = File::create(&partial)?;
        file.write_all(bytes)?;
        if is_synced {
            file.sync_all()?;
        }
        std::fs::rename(&partial, path)?;
        match path.parent().filter(|_| is_synced) {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(|source| RecordError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// There is no run.
    #[error("{} is not the folder of a run: {source}", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It has ended.
    #[error("the run in {} is complete: there is nothing to resume", path.display())]
    Complete {
        /// The folder.
        path: PathBuf,
    },
    /// It was started otherwise.
    #[error("the run in {} is one of `zfl {command}`: resume it with `zfl {command} --resume`", path.display())]
    OtherCommand {
        /// The folder.
        path: PathBuf,
        /// The command that started it.
        command: &'static str,
    },
    /// It has not ended.
    #[error("the run in {} still goes on: another zfl writes there", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// Its state is that of another version of zfl, or damaged, and so is the
    /// one before.
    #[error("failed to resume the run in {}: {reason}", path.display())]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The latest state of a run whose files are whole; `None` where no round was
/// over.
///
/// # Errors
/// When there are states and none can be used.
pub(crate) fn latest(folder: &Path) -> Result<Option<State>, ResumeError> {
    let mut reasons = Vec::new();
    let mut found = Vec::new();
    for name in [STATE, SYNCED] {
        match read(folder, name) {
            Ok(Some(state)) => found.push(state),
            Ok(None) => {}
            Err(reason) => reasons.push(reason),
        }
    }
    // The later first; of equal ones either will do.
    found.sort_by_key(|state| std::cmp::Reverse(state.round));
    for state in found {
        match check(folder, &state) {
            Ok(()) => return Ok(Some(state)),
            Err(reason) => reasons.push(reason),
        }
    }
    match reasons.is_empty() {
        true => Ok(None),
        false => Err(ResumeError::Damaged {
            path: folder.to_owned(),
            reason: crate::archive::plain(&reasons.join("; ")),
        }),
    }
}

/// Reads a state; says what is wrong with it.
fn read(folder: &Path, name: &str) -> Result<Option<State>, String> {
    let mut text = Vec::new();
    let read = File::open(folder.join(name))
        .and_then(|file| file.take(STATE_BYTES_MAX).read_to_end(&mut text));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{name}: {error}")),
        Ok(_) => {}
    }
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    match serde_json::from_slice(&text) {
        Ok(Version { version: VERSION }) => {}
        Ok(Version { version }) => {
            return Err(format!(
                "{name} is of version {version}, this zfl reads {VERSION}"
            ));
        }
        Err(error) => return Err(format!("{name}: {error}")),
    }
    serde_json::from_slice(&text).map_err(|error| format!("{name}: {error}"))
}

/// Checks that the records hold what the state says.
fn check(folder: &Path, state: &State) -> Result<(), String> {
    for (name, extent) in &state.records {
        let damaged = |what: String| format!("{name} after round {}: {what}", state.round);
        let found = extent_of(&folder.join(name), extent.bytes)
            .map_err(|error| damaged(error.to_string()))?;
        if found.bytes < extent.bytes {
            return Err(damaged(format!(
                "{} of {} bytes are there",
                found.bytes, extent.bytes
            )));
        }
        if found != *extent {
            return Err(damaged(format!(
                "its first {} bytes have changed",
                extent.bytes
            )));
        }
    }
    Ok(())
}

/// The first `bytes` of a file.
fn extent_of(path: &Path, bytes: u64) -> io::Result<Extent> {
    let mut file = File::open(path)?.take(bytes);
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    let mut found = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
        found += u64::try_from(count).unwrap_or(u64::MAX);
    }
    Ok(Extent {
        bytes: found,
        crc32: hasher.finalize(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = "rounds.csv";

    fn state(round: u32, record: &[u8]) -> State {
        let mut state = State::new(round, Summary::default(), Carry::default());
        state.records.insert(RECORD.to_owned(), Extent::of(record));
        state
    }

    /// A folder with this record, a state, and a synced state.
    fn folder(record: &[u8], state: &State, synced: &State) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(RECORD), record).unwrap();
        let mut keeper = StateKeeper::new();
        keeper.write(folder.path(), synced, &[], true).unwrap();
        keeper.write(folder.path(), state, &[], false).unwrap();
        folder
    }

    /// The round that a run would be resumed after.
    #[track_caller]
    fn check(folder: &tempfile::TempDir, expected: Result<Option<u32>, &str>) {
        match (latest(folder.path()), expected) {
            (Ok(state), Ok(round)) => assert_eq!(state.map(|state| state.round), round),
            (Err(error), Err(text)) => {
                let error = error.to_string();
                assert!(error.contains(text), "{error}");
            }
            (found, expected) => panic!("{found:?} for {expected:?}"),
        }
    }

    #[test]
    fn the_latest_state_whose_records_are_whole_counts() {
        let (two, three) = (state(2, b"1\n2\n"), state(3, b"1\n2\n3\n"));
        // The rows of a fourth round, half written.
        check(&folder(b"1\n2\n3\n4", &three, &two), Ok(Some(3)));
        // Lost with the power: missing, or never more than zeros.
        check(&folder(b"1\n2\n", &three, &two), Ok(Some(2)));
        check(&folder(b"1\n2\n\0\0", &three, &two), Ok(Some(2)));
        check(
            &folder(b"1\n", &three, &two),
            Err("rounds.csv after round 3: 2 of 6 bytes are there; rounds.csv after round 2"),
        );
        check(&folder(b"1\n1\n3\n", &three, &two), Err("have changed"));
    }

    #[test]
    fn sums_come_back_to_the_bit() {
        // Of the last the model is finite, and the loss is not.
        for loss in [0.1 + 0.2, 1.0 / 3.0, 4.35e-13 * 7.0, f64::NAN] {
            let mut one = state(1, b"");
            one.summary.loss = loss;
            let folder = folder(b"", &one, &one);
            let found = latest(folder.path()).unwrap().unwrap().summary;
            assert_eq!(found.loss.is_nan(), loss.is_nan());
            assert!(loss.is_nan() || found.loss.to_bits() == loss.to_bits());
        }
    }

    #[test]
    fn a_state_that_is_none_gives_way() {
        let (two, three) = (state(2, b"1\n2\n"), state(3, b"1\n2\n3\n"));
        for damaged in ["", "{", "{}", "\0\0\0", "{\"version\":9}"] {
            let folder = folder(b"1\n2\n3\n", &three, &two);
            std::fs::write(folder.path().join(STATE), damaged).unwrap();
            check(&folder, Ok(Some(2)));
            std::fs::write(folder.path().join(SYNCED), damaged).unwrap();
            check(&folder, Err("state.json"));
        }
        // What is told of it is on one line, and steers no terminal.
        let folder = folder(b"", &two, &two);
        for name in [STATE, SYNCED] {
            let damaged = "{\"version\":1,\"round\u{7f}\u{9b}2J\":3}";
            std::fs::write(folder.path().join(name), damaged).unwrap();
        }
        let error = latest(folder.path()).unwrap_err().to_string();
        assert!(error.contains("unknown field `round"), "{error}");
        assert!(!error.contains(char::is_control), "{error:?}");
        check(&tempfile::tempdir().unwrap(), Ok(None));
    }
}
