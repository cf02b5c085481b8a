//! `zfl list`: the runs in a folder.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::console::style;
use zfl_lab::archive::{self, Archive, Overview, Totals};

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
    let archives = archive::find(&folder).map_err(|error| Failure::run(&error))?;
    if archives.is_empty() {
        return Err(Failure::Run(format!(
            "no run in {} nor in folders below it",
            folder.display()
        )));
    }
    let mut overviews = Vec::new();
    let mut unreadable = 0;
    for archive in &archives {
        match archive.overview() {
            Ok(overview) if arguments.json => say_json_line(&overview)?,
            Ok(overview) => overviews.push(overview),
            Err(error) => {
                unreadable += 1;
                complain!("warning: {error}");
            }
        }
    }
    if !overviews.is_empty() {
        say!("{}", aligned(&rows(&overviews), |column| column < 2));
    }
    match unreadable {
        0 => Ok(()),
        count => Err(Failure::Run(format!(
            "{count} of {} runs cannot be read",
            archives.len()
        ))),
    }
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
