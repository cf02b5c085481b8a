//! `zfl list`: the runs and sweeps in a folder.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::console::style;
use serde::Serialize;
use zfl_lab::archive::{
    self, Archive, ArchiveError, Overview, SweepArchive, SweepOverview, Totals,
};
use zfl_lab::sweep::{ObjectiveInfo, Winner};

use super::sweep::cell;
use super::{Done, Failure, aligned, or_dash, say_json_line};
use crate::arguments::ListArguments;
use crate::display::{amount, duration};

/// Where runs are when nobody says otherwise.
const RUNS: &str = "runs";

/// `zfl list`
pub(crate) fn list(arguments: &ListArguments) -> Done {
    let folder = arguments
        .folder
        .clone()
        .unwrap_or_else(|| PathBuf::from(RUNS));
    if arguments.folder.is_none() && !folder.exists() {
        return Err(Failure::Usage(
            "there is no folder `runs` here; name the folder that holds runs".to_owned(),
        ));
    }
    // The trials of a sweep are wanted where somebody says so, or names it.
    let opens_sweeps = arguments.trials || SweepArchive::open(&folder).is_ok();
    let found = archive::look(&folder, opens_sweeps).map_err(|error| Failure::run(&error))?;
    let count = found.sweeps.len() + found.runs.len();
    if count == 0 {
        return Err(Failure::Run(format!(
            "no run in {} nor in folders below it",
            folder.display()
        )));
    }
    let sweeps = readable(
        found.sweeps.iter().map(SweepArchive::overview),
        arguments.json,
    )?;
    let runs = readable(found.runs.iter().map(Archive::overview), arguments.json)?;
    let unreadable = count - sweeps.len() - runs.len();
    if !arguments.json {
        let tables = [
            (!sweeps.is_empty()).then(|| aligned(&sweep_rows(&sweeps), |column| column < 2)),
            (!runs.is_empty()).then(|| aligned(&rows(&runs), |column| column < 2)),
        ];
        let tables: Vec<String> = tables.into_iter().flatten().collect();
        if !tables.is_empty() {
            say!("{}", tables.join("\n\n"));
        }
    }
    match unreadable {
        0 => Ok(()),
        unreadable => Err(Failure::Run(format!(
            "{unreadable} of {count} runs cannot be read"
        ))),
    }
}

/// Those that can be read, as lines of JSON at once where they `are_json`. Of the others
/// it is said why not.
fn readable<T: Serialize>(
    overviews: impl Iterator<Item = Result<T, ArchiveError>>,
    are_json: bool,
) -> Result<Vec<T>, Failure> {
    let mut readable = Vec::new();
    for overview in overviews {
        match overview {
            Ok(overview) => {
                if are_json {
                    say_json_line(&overview)?;
                }
                readable.push(overview);
            }
            Err(error) => complain!("warning: {error}"),
        }
    }
    Ok(readable)
}

/// A header, and a row for each sweep.
fn sweep_rows(overviews: &[SweepOverview]) -> Vec<Vec<String>> {
    let header = ["sweep", "state", "trials", "best", "host time", "begun"];
    let row = |overview: &SweepOverview| {
        let SweepOverview { trials, best, .. } = overview;
        vec![
            overview.folder.display().to_string(),
            standing(overview.standing),
            match trials.planned {
                0 => format!("{}/{}", trials.over(), trials.all),
                planned => format!("{}/{planned}", trials.over()),
            },
            or_dash(best.as_ref(), |best| best_of(&overview.objectives, best)),
            or_dash(overview.host_seconds, duration),
            or_dash(overview.began_unix_seconds.and_then(ago), |ago| ago),
        ]
    };
    std::iter::once(header.map(str::to_owned).to_vec())
        .chain(overviews.iter().map(row))
        .collect()
}

/// What the best trial came to: a value of each objective.
fn best_of(objectives: &[ObjectiveInfo], best: &Winner) -> String {
    let value = |ObjectiveInfo { name, .. }: &ObjectiveInfo| {
        let value = best.objectives.get(name).copied().flatten();
        format!("{name} {}", or_dash(value, cell))
    };
    let values: Vec<String> = objectives.iter().map(value).collect();
    format!("{} (trial {})", values.join(", "), best.trial)
}

/// A header, and a row for each run.
fn rows(overviews: &[Overview]) -> Vec<Vec<String>> {
    let learns_numbers = |overview: &Overview| overview.totals.rmse_best.is_some();
    let header = |qualities: &[&str]| {
        let rest = ["clients", "down", "up", "device time", "host time", "begun"];
        let cells = [&["run", "state", "rounds"], qualities, &rest].concat();
        cells.into_iter().map(str::to_owned).collect()
    };
    let fixed = |value: Option<f64>| or_dash(value, |value| format!("{value:.4}"));
    let accuracies =
        |Totals {
             accuracy,
             accuracy_best,
             ..
         }: &Totals| { vec![fixed(*accuracy), fixed(*accuracy_best)] };
    let errors =
        |Totals {
             rmse,
             rmse_best,
             loss,
             ..
         }: &Totals| { vec![fixed(*rmse), fixed(*rmse_best), fixed(*loss)] };
    let with = |names: &[&str], qualities: &dyn Fn(&Totals) -> Vec<String>| {
        let rows = overviews.iter();
        let rows = rows.map(|overview| row(overview, qualities(&overview.totals)));
        std::iter::once(header(names)).chain(rows).collect()
    };
    // Nobody wants columns of dashes.
    match overviews.iter().filter(|run| learns_numbers(run)).count() {
        0 => with(&["accuracy", "best"], &accuracies),
        count if count == overviews.len() => with(&["rmse", "best", "loss"], &errors),
        _ => with(&["accuracy", "best", "rmse", "best", "loss"], &|totals| {
            [accuracies(totals), errors(totals)].concat()
        }),
    }
}

/// A run, with what says how good its model is.
fn row(overview: &Overview, qualities: Vec<String>) -> Vec<String> {
    let totals = &overview.totals;
    let cost = &totals.cost;
    let first = vec![
        overview.folder.display().to_string(),
        standing(overview.standing),
        match overview.rounds_planned {
            Some(planned) => format!("{}/{planned}", totals.rounds),
            None => totals.rounds.to_string(),
        },
    ];
    let last = vec![
        or_dash(overview.clients, |clients| clients.to_string()),
        amount(totals.bytes_down),
        amount(totals.bytes_up),
        or_dash(cost.device_seconds, duration),
        duration(totals.host_seconds),
        or_dash(overview.began_unix_seconds.and_then(ago), |ago| ago),
    ];
    [first, qualities, last].concat()
}

/// A standing in its colour, where colours are.
pub(super) fn standing(name: &str) -> String {
    let styled = style(name);
    let styled = match name {
        "completed" => styled.green(),
        "running" => styled.cyan(),
        "cut off" => styled.yellow(),
        _ => styled.red(),
    };
    styled.to_string()
}

/// How long a moment is ago, in the largest unit that fits.
fn ago(unix_seconds: u64) -> Option<String> {
    let moment = UNIX_EPOCH.checked_add(Duration::from_secs(unix_seconds))?;
    let seconds = SystemTime::now().duration_since(moment).ok()?.as_secs();
    let (count, unit) = match seconds {
        0..60 => (seconds, "s"),
        60..3600 => (seconds / 60, "min"),
        3600..86_400 => (seconds / 3600, "h"),
        _ => (seconds / 86_400, "d"),
    };
    Some(format!("{count} {unit} ago"))
}

/// The runs that some paths name, in their order: the folder of a run, or one that
/// holds several.
pub(super) fn named(paths: &[PathBuf]) -> Result<Vec<Archive>, Failure> {
    let mut archives = Vec::new();
    for path in paths {
        let found = archive::find(path).map_err(|error| Failure::Usage(error.to_string()))?;
        if found.is_empty() {
            return Err(Failure::Usage(format!(
                "no run in {} nor in folders below it",
                path.display()
            )));
        }
        archives.extend(found);
    }
    Ok(archives)
}
