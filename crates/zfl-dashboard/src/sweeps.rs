//! What is shown of a sweep.

use std::path::Path;

use serde::{Serialize, Serializer};
use zfl_lab::archive::{ArchiveError, Standing, SweepArchive, SweepOverview, SweepRow};
use zfl_lab::sweep::{ObjectiveInfo, Summary};

use crate::runs::newest;

/// Points of the front that are told: the best in the first objective.
const FRONT_MAX: usize = 2_000;
/// Files that change as a sweep goes on.
const FILES: [&str; 4] = ["sweep.toml", "trials.csv", "front.csv", "summary.json"];

/// A sweep in the list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Listed {
    /// Its folder below the one that is served; `.`: that one.
    pub(crate) id: String,
    /// When something was written last, in seconds since 1970.
    pub(crate) changed: u64,
    /// `None`: it cannot be read.
    pub(crate) overview: Option<SweepOverview>,
    /// Why not.
    pub(crate) fault: String,
}

impl Listed {
    pub(crate) fn new(archive: &SweepArchive, id: String) -> Self {
        let (overview, fault) = match archive.overview() {
            Ok(overview) => (Some(overview), String::new()),
            Err(error) => (None, error.to_string()),
        };
        Self {
            id,
            changed: 0,
            overview,
            fault,
        }
    }
}

/// When a sweep's files were written last, in nanoseconds since 1970.
pub(crate) fn changed(folder: &Path) -> u64 {
    newest(folder, &FILES)
}

/// What tells one state of a sweep's files from another: when they were written, and how
/// long they are.
pub(crate) fn state(folder: &Path) -> String {
    let of = |name: &str| {
        let length = std::fs::metadata(folder.join(name)).map_or(0, |metadata| metadata.len());
        format!("{:x}.{length:x}", newest(folder, &[name]))
    };
    FILES.map(of).join("-")
}

/// A parameter, and what is tried of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Searched {
    key: String,
    /// As the file says it.
    values: String,
    /// In which case alone; empty: always.
    when: String,
}

/// A trial, or a point of the front: number, status, rounds, parameters, objectives,
/// intervals where there are any, processor time, folder, detail. Without names: there may be
/// ten thousand, and a page must not stop while it takes them in.
#[derive(Debug)]
struct Row(SweepRow);

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(row) = self;
        let has_intervals = row.intervals.iter().any(Option::is_some);
        let intervals = has_intervals.then_some(&row.intervals);
        let told = (
            row.trial,
            &row.status,
            row.rounds,
            &row.parameters,
            &row.objectives,
            intervals,
            row.cpu_seconds,
            &row.folder,
            &row.detail,
        );
        told.serialize(serializer)
    }
}

/// All that is shown of a sweep.
#[derive(Debug, Serialize)]
pub(crate) struct Sweep {
    /// Other than before where there is anything new.
    pub(crate) version: String,
    name: String,
    standing: &'static str,
    /// Why it ended early.
    reason: String,
    searched: Vec<Searched>,
    summary: Option<Summary>,
    parameters: Vec<String>,
    objectives: Vec<ObjectiveInfo>,
    trials: Vec<Row>,
    front: Vec<Row>,
    /// The front has more points than are told.
    is_front_cut: bool,
    /// `sweep.toml`.
    text: String,
}

/// The version of a sweep as it stands.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn version(archive: &SweepArchive) -> Result<String, ArchiveError> {
    let standing = archive.standing()?.name().replace(' ', "-");
    Ok(format!("{}-{standing}", state(archive.path())))
}

/// The sweep in a folder.
///
/// # Errors
/// When a file of it is damaged.
pub(crate) fn read(archive: &SweepArchive) -> Result<Sweep, ArchiveError> {
    // Whatever is written from here on makes another version.
    let version = version(archive)?;
    let standing = archive.standing()?;
    let summary = archive.summary()?;
    let mut tables = archive.tables(summary.as_ref())?;
    let is_front_cut = tables.front.len() > FRONT_MAX;
    tables.front.truncate(FRONT_MAX);
    let text = archive.sweep_text()?;
    Ok(Sweep {
        version,
        name: archive.name(summary.as_ref()),
        standing: standing.name(),
        reason: match standing {
            Standing::Ended(reason) => reason,
            _ => String::new(),
        },
        searched: searched(&text),
        summary,
        parameters: tables.parameters,
        objectives: tables.objectives,
        trials: tables.trials.into_iter().map(Row).collect(),
        front: tables.front.into_iter().map(Row).collect(),
        is_front_cut,
        text,
    })
}

/// What is tried, by `sweep.toml`. What is not understood is left out: the page has the
/// file, too.
fn searched(text: &str) -> Vec<Searched> {
    let sweep: toml::Table = text.parse().unwrap_or_default();
    let space = sweep.get("space").and_then(toml::Value::as_table);
    let words = |values: &toml::Value| {
        let values = values.as_array().map(Vec::as_slice).unwrap_or_default();
        let words = values.iter().map(|value| match value {
            toml::Value::String(text) => text.clone(),
            value => value.to_string(),
        });
        words.collect::<Vec<_>>()
    };
    let searched = |(key, values): (&String, &toml::Value)| {
        let get = |name: &str| values.get(name).map(words);
        let ends = |values: Vec<String>| values.join(" to ");
        let values_text = get("list")
            .map(|values| values.join(", "))
            .or_else(|| get("range").map(ends))
            .or_else(|| Some(format!("{}, logarithmic", get("log-range").map(ends)?)))?;
        let when = values.get("when").and_then(toml::Value::as_table);
        let when = when.into_iter().flatten();
        let when = when.map(|(key, values)| format!("{key} is {}", words(values).join(" or ")));
        Some(Searched {
            key: key.clone(),
            values: values_text,
            when: when.collect::<Vec<_>>().join(", "),
        })
    };
    space.into_iter().flatten().filter_map(searched).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_searched_is_said_in_words() {
        let text = "[space]\n\
            \"a.b\" = { list = [1, 2] }\n\
            \"c\" = { log-range = [0.01, 1.0] }\n\
            \"d\" = { range = [1, 9], when = { \"a.b\" = [1, 2] } }\n\
            \"e\" = { list = [\"f32\"] }\n\
            \"of another version\" = 7\n";
        let found: Vec<[String; 3]> = searched(text)
            .into_iter()
            .map(|one| [one.key, one.values, one.when])
            .collect();
        assert_eq!(
            found,
            [
                ["a.b", "1, 2", ""],
                ["c", "0.01 to 1.0, logarithmic", ""],
                ["d", "1 to 9", "a.b is 1 or 2"],
                ["e", "f32", ""],
            ]
        );
        assert_eq!(searched("[space"), []);
    }
}
