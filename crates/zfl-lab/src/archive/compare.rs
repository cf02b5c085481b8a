//! Several runs beside each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use super::{Archive, ArchiveError, Totals, began_unix_seconds};
use crate::records::EXPERIMENT;

/// A run at a glance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overview {
    /// `run`.
    pub kind: &'static str,
    /// Its folder.
    pub folder: PathBuf,
    /// The experiment's name.
    pub name: String,
    /// When it began, in seconds since 1970 by the host's clock; `None` where the
    /// file system does not know.
    pub began_unix_seconds: Option<u64>,
    /// `running`, `completed`, `ended early`, `cut off`.
    pub standing: &'static str,
    /// Why it ended early.
    pub reason: Option<String>,
    /// Rounds of the experiment.
    pub rounds_planned: Option<u64>,
    /// Clients of the run; `None` where it has not come to an end and the clients
    /// are not those of the experiment's fleet.
    pub clients: Option<u64>,
    /// The seed.
    pub seed: Option<u64>,
    /// What it came to.
    #[serde(flatten)]
    pub totals: Totals,
}

impl Archive {
    /// The run at a glance.
    ///
    /// # Errors
    /// When a file of it is damaged.
    pub fn overview(&self) -> Result<Overview, ArchiveError> {
        let experiment = self.experiment()?;
        let standing = self.standing()?;
        let number = |key: &str| u64::try_from(experiment.get(key)?.as_integer()?).ok();
        let name = experiment.get("name").and_then(toml::Value::as_str);
        let clients = match self.summary()? {
            Some(summary) => Some(u64::from(summary.clients)),
            None => fleet_size(&experiment),
        };
        Ok(Overview {
            kind: "run",
            folder: self.path.clone(),
            name: name.unwrap_or_default().to_owned(),
            began_unix_seconds: began_unix_seconds(&self.path.join(EXPERIMENT)),
            standing: standing.name(),
            reason: match standing {
                super::Standing::Ended(reason) => Some(reason),
                _ => None,
            },
            rounds_planned: number("rounds"),
            clients,
            seed: number("seed"),
            totals: self.totals()?,
        })
    }
}

/// Devices of the experiment's fleet.
fn fleet_size(experiment: &toml::Table) -> Option<u64> {
    let groups = experiment.get("fleet")?.as_array()?;
    let count = |group: &toml::Value| u64::try_from(group.get("count")?.as_integer()?).ok();
    let counts: Option<Vec<u64>> = groups.iter().map(count).collect();
    Some(counts?.into_iter().fold(0, u64::saturating_add))
}

/// A key that has not the same value in all of some experiments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The key, as in [`Archive::settings`].
    pub key: String,
    /// What it is in each, in their order; `None` where there is no such key.
    pub values: Vec<Option<String>>,
}

/// In which keys experiments differ, given the [settings](Archive::settings) of
/// each; in the order of the keys.
pub fn differences(settings: &[BTreeMap<String, String>]) -> Vec<Difference> {
    let keys: BTreeSet<&String> = settings.iter().flat_map(BTreeMap::keys).collect();
    let of_key = |key: &String| Difference {
        key: key.clone(),
        values: settings.iter().map(|one| one.get(key).cloned()).collect(),
    };
    let differs = |difference: &Difference| {
        let mut values = difference.values.iter();
        let first = values.next();
        values.any(|value| Some(value) != first)
    };
    keys.into_iter().map(of_key).filter(differs).collect()
}
