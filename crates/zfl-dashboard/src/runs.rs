//! The runs below a folder.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use zfl_lab::archive::{self, Archive};

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
}

impl Runs {
    /// The runs below a folder, the last first. A folder that is not there has none.
    pub(crate) fn list(&mut self, root: &Path) -> Vec<Listed> {
        let mut found: Vec<(u64, Archive)> = archive::find(root)
            .unwrap_or_default()
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
    let of = |name: &str| {
        let modified = std::fs::metadata(folder.join(name)).ok()?.modified().ok()?;
        let since = modified.duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(since.as_nanos()).ok()
    };
    let files = ["experiment.toml", "rounds.csv", "summary.json"];
    files.into_iter().filter_map(of).max().unwrap_or_default()
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

/// The run of this id: a folder below `root`, or that itself; `None` where there is
/// none, or the path leaves it.
pub(crate) fn resolve(root: &Path, id: &str) -> Option<Archive> {
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
    if !folder.starts_with(&root) {
        return None;
    }
    Archive::open(&folder).ok()
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
        run(&root.join("sweep/trials/001"), "");
        run(&folder.path().join("outside"), "");
        std::os::unix::fs::symlink(folder.path().join("outside"), root.join("link")).unwrap();
        let mut runs = Runs::default();
        let mut ids: Vec<String> = runs.list(&root).into_iter().map(|run| run.id).collect();
        ids.sort();
        assert_eq!(ids, ["a", "sweep/trials/001"]);
        assert!(resolve(&root, "sweep/trials/001").is_some());
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
        assert_eq!(runs.list(&folder.path().join("none")), []);
        let alone = runs.list(&root.join("a"));
        assert_eq!(alone[0].id, ".");
        assert_eq!((alone[0].name.as_str(), alone[0].seed), ("small", Some(7)));
        assert_eq!((alone[0].clients, alone[0].rounds_planned), (4, 3));
        assert_eq!(alone[0].standing, "cut off");
    }
}
