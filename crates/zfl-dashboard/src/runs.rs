//! The runs and sweeps below a folder.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use zfl_lab::archive::{self, Archive, SweepArchive};

use crate::sweeps;

/// So many runs are listed: those that changed last.
const RUNS_MAX: usize = 5_000;

/// A run in the list.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Listed {
    /// Its folder below the one that is served; `.`: that one.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) standing: &'static str,
    /// Rounds that are over, and that were planned.
    pub(crate) rounds: u32,
    pub(crate) rounds_planned: u64,
    pub(crate) accuracy: Option<f64>,
    /// In place of it where a number is learnt, in its unit.
    pub(crate) rmse: Option<f64>,
    pub(crate) loss: Option<f64>,
    pub(crate) bytes_down: u64,
    pub(crate) bytes_up: u64,
    pub(crate) retransmissions: Option<u64>,
    pub(crate) host_seconds: f64,
    pub(crate) clients: u64,
    pub(crate) seed: Option<i64>,
    /// When something was written last, in seconds since 1970.
    pub(crate) changed: u64,
    /// What cannot be read.
    pub(crate) fault: String,
}

/// What was read of runs, as long as their files are the same.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    read: HashMap<PathBuf, (u64, Listed)>,
    sweeps: HashMap<PathBuf, (String, sweeps::Listed)>,
}

impl Runs {
    /// The runs and the sweeps below a folder, those that changed last first. A folder
    /// that is not there has none; trials of a sweep are not among the runs.
    pub(crate) fn list(&mut self, root: &Path) -> (Vec<Listed>, Vec<sweeps::Listed>) {
        let found = archive::look(root, false).unwrap_or_default();
        (self.runs(root, found.runs), self.sweeps(root, found.sweeps))
    }

    fn sweeps(&mut self, root: &Path, found: Vec<SweepArchive>) -> Vec<sweeps::Listed> {
        let mut read = HashMap::new();
        let mut listed = Vec::new();
        for archive in found.into_iter().take(RUNS_MAX) {
            let state = sweeps::state(archive.path());
            let before = self.sweeps.remove(archive.path());
            let mut sweep = match before {
                Some((then, sweep)) if then == state => sweep,
                _ => sweeps::Listed::new(&archive, id_of(root, archive.path())),
            };
            // Somebody may have been killed without a word.
            if let Some(overview) = &mut sweep.overview
                && let Ok(standing) = archive.standing()
            {
                overview.standing = standing.name();
            }
            sweep.changed = sweeps::changed(archive.path()) / 1_000_000_000;
            read.insert(archive.path().to_owned(), (state, sweep.clone()));
            listed.push(sweep);
        }
        self.sweeps = read;
        listed
    }

    fn runs(&mut self, root: &Path, found: Vec<Archive>) -> Vec<Listed> {
        let mut found: Vec<(u64, Archive)> = found
            .into_iter()
            .map(|archive| (changed(archive.path()), archive))
            .collect();
        found.sort_by(|(one, _), (other, _)| other.cmp(one));
        found.truncate(RUNS_MAX);
        let mut read = HashMap::new();
        let mut runs = Vec::new();
        for (changed, archive) in found {
            let before = self.read.remove(archive.path());
            let mut listed = match before {
                Some((since, listed)) if since == changed => listed,
                _ => {
                    let id = id_of(root, archive.path());
                    listed(&archive, id)
                }
            };
            // Somebody may have been killed without a word.
            if let Ok(standing) = archive.standing() {
                listed.standing = standing.name();
            }
            listed.changed = changed / 1_000_000_000;
            read.insert(archive.path().to_owned(), (changed, listed.clone()));
            runs.push(listed);
        }
        self.read = read;
        runs
    }
}

/// When a run's records were written last, in nanoseconds since 1970.
fn changed(folder: &Path) -> u64 {
    newest(folder, &["experiment.toml", "rounds.csv", "summary.json"])
}

/// When one of some files was written last, in nanoseconds since 1970.
pub(crate) fn newest(folder: &Path, files: &[&str]) -> u64 {
    let of = |name: &&str| {
        let modified = std::fs::metadata(folder.join(name)).ok()?.modified().ok()?;
        let since = modified.duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(since.as_nanos()).ok()
    };
    files.iter().filter_map(of).max().unwrap_or_default()
}

/// The folder below `root`, as its path is written.
fn id_of(root: &Path, folder: &Path) -> String {
    match folder.strip_prefix(root) {
        Ok(path) if path != Path::new("") => path.to_string_lossy().into_owned(),
        _ => ".".to_owned(),
    }
}

fn listed(archive: &Archive, id: String) -> Listed {
    let mut faults = Vec::new();
    let mut listed = Listed {
        id,
        ..Listed::default()
    };
    match archive.experiment() {
        Ok(experiment) => {
            let name = experiment.get("name").and_then(toml::Value::as_str);
            listed.name = name.unwrap_or_default().to_owned();
            listed.seed = experiment.get("seed").and_then(toml::Value::as_integer);
            let rounds = experiment.get("rounds").and_then(toml::Value::as_integer);
            listed.rounds_planned = rounds
                .and_then(|rounds| u64::try_from(rounds).ok())
                .unwrap_or_default();
            let fleet = experiment.get("fleet").and_then(toml::Value::as_array);
            listed.clients = fleet
                .into_iter()
                .flatten()
                .filter_map(|group| group.get("count")?.as_integer())
                .filter_map(|count| u64::try_from(count).ok())
                .sum();
        }
        Err(error) => faults.push(error.to_string()),
    }
    match rounds(archive) {
        Ok(totals) => {
            listed.rounds = totals.rounds;
            listed.accuracy = totals.accuracy;
            listed.rmse = totals.rmse;
            listed.loss = totals.loss;
            listed.bytes_down = totals.bytes_down;
            listed.bytes_up = totals.bytes_up;
            listed.retransmissions = totals.retransmissions;
            listed.host_seconds = totals.host_seconds;
        }
        Err(error) => faults.push(error.to_string()),
    }
    listed.fault = faults.join("; ");
    listed
}

/// What the rounds came to. Not [`Archive::totals`]: that reads all of `clients.csv`.
fn rounds(archive: &Archive) -> Result<archive::Totals, archive::ArchiveError> {
    let mut totals = archive::Totals::default();
    for round in archive.rows::<archive::Round>()? {
        let round = round?;
        totals.rounds += 1;
        totals.accuracy = round.accuracy;
        totals.rmse = round.rmse;
        totals.loss = Some(round.loss);
        totals.bytes_down += round.bytes_down;
        totals.bytes_up += round.bytes_up;
        let again = [round.retransmissions_down, round.retransmissions_up];
        for more in again.into_iter().flatten() {
            *totals.retransmissions.get_or_insert(0) += more;
        }
        totals.host_seconds += round.host_seconds;
    }
    Ok(totals)
}

/// The run of this id; `None` where there is none.
pub(crate) fn resolve(root: &Path, id: &str) -> Option<Archive> {
    Archive::open(&folder_of(root, id)?).ok()
}

/// The sweep of this id; `None` where there is none.
pub(crate) fn resolve_sweep(root: &Path, id: &str) -> Option<SweepArchive> {
    SweepArchive::open(&folder_of(root, id)?).ok()
}

/// The folder of this id: one below `root`, or that itself; `None` where there is none,
/// or the path leaves it.
fn folder_of(root: &Path, id: &str) -> Option<PathBuf> {
    let relative = Path::new(id);
    let is_below = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !is_below {
        return None;
    }
    let root = root.canonicalize().ok()?;
    // A link may lead elsewhere.
    let folder = root.join(relative).canonicalize().ok()?;
    folder.starts_with(&root).then_some(folder)
}

/// The keys of experiments and their values: `training.epochs`.
pub(crate) type Settings = BTreeMap<String, String>;

/// Seconds since 1970.
pub(crate) fn now_seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(folder: &Path, rounds: &str) {
        std::fs::create_dir_all(folder).unwrap();
        let experiment = "name = \"small\"\nseed = 7\nrounds = 3\n[[fleet]]\ncount = 4\n";
        std::fs::write(folder.join("experiment.toml"), experiment).unwrap();
        std::fs::write(folder.join("rounds.csv"), rounds).unwrap();
    }

    #[test]
    fn runs_are_listed_and_found_by_their_ids() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("runs");
        run(&root.join("a"), "");
        run(&root.join("below/it/001"), "");
        run(&root.join("sweep/trials/0001"), "");
        std::fs::write(root.join("sweep/trials.csv"), "trial,status\n1,running\n").unwrap();
        run(&folder.path().join("outside"), "");
        std::os::unix::fs::symlink(folder.path().join("outside"), root.join("link")).unwrap();
        let mut runs = Runs::default();
        let (listed, sweeps) = runs.list(&root);
        let mut ids: Vec<String> = listed.into_iter().map(|run| run.id).collect();
        ids.sort();
        assert_eq!(ids, ["a", "below/it/001"]);
        assert!(resolve(&root, "below/it/001").is_some());
        // A sweep is one, and its trials are there for whoever asks.
        assert_eq!(sweeps.len(), 1);
        assert_eq!(sweeps[0].id, "sweep");
        let overview = sweeps[0].overview.as_ref().unwrap();
        assert_eq!((overview.standing, overview.trials.all), ("cut off", 1));
        assert!(resolve(&root, "sweep/trials/0001").is_some());
        assert!(resolve_sweep(&root, "sweep").is_some());
        assert!(resolve_sweep(&root.join("sweep"), ".").is_some());
        for id in ["a", "sweep/trials", "../runs/sweep", "/", "none"] {
            assert!(resolve_sweep(&root, id).is_none(), "{id}");
        }
        assert!(resolve(&root.join("a"), ".").is_some());
        let outside = folder.path().join("outside");
        for id in [
            "",
            "sweep",
            "../outside",
            "a/../../outside",
            "link",
            "none",
            "a/rounds.csv",
        ] {
            assert!(resolve(&root, id).is_none(), "{id}");
        }
        assert!(resolve(&root, outside.to_str().unwrap()).is_none());
        assert_eq!(
            runs.list(&folder.path().join("none")),
            (Vec::new(), Vec::new())
        );
        let (alone, _) = runs.list(&root.join("a"));
        assert_eq!(alone[0].id, ".");
        assert_eq!((alone[0].name.as_str(), alone[0].seed), ("small", Some(7)));
        assert_eq!((alone[0].clients, alone[0].rounds_planned), (4, 3));
        assert_eq!(alone[0].standing, "cut off");
    }
}
