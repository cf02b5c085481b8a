//! `zfl compare`: what differs between runs, and what came of it.

use serde_json::json;
use zfl_lab::archive::{self, Overview};

use super::list::{named, standing};
use super::{Done, Failure, aligned, or_dash, say_json_line};
use crate::arguments::CompareArguments;
use crate::display::{amount, duration};

/// Digits of a hash that are shown.
const HASH_DIGITS: usize = 12;

/// `zfl compare`
pub(crate) fn compare(arguments: &CompareArguments) -> Done {
    let archives = named(&arguments.folders)?;
    if archives.len() < 2 {
        return Err(Failure::Usage(
            "name two runs or more, or a folder that holds as many".to_owned(),
        ));
    }
    let failed = |error| Failure::run(&error);
    let mut overviews = Vec::new();
    let mut settings = Vec::new();
    for archive in &archives {
        overviews.push(archive.overview().map_err(failed)?);
        settings.push(archive.settings().map_err(failed)?);
    }
    let differences = archive::differences(&settings);
    if arguments.json {
        return say_json_line(&json!({ "runs": overviews, "differences": differences }));
    }

    let mut rows = vec![row("", &overviews, |run| run.folder.display().to_string())];
    for difference in differences {
        let values = difference.values.into_iter();
        let mut cells = vec![difference.key];
        cells.extend(values.map(|value| or_dash(value, |value| value)));
        rows.push(cells);
    }
    if rows.len() == 1 {
        let same = vec!["same experiment".to_owned(); overviews.len()];
        rows.push([vec![String::new()], same].concat());
    }
    rows.push(Vec::new());
    rows.extend(results(&overviews));
    say!("{}", aligned(&rows, |column| column == 0));
    Ok(())
}

/// A name, and a cell for each run.
fn row(name: &str, runs: &[Overview], cell: impl Fn(&Overview) -> String) -> Vec<String> {
    let cells = runs.iter().map(cell);
    std::iter::once(name.to_owned()).chain(cells).collect()
}

/// What the runs came to.
fn results(runs: &[Overview]) -> Vec<Vec<String>> {
    let row = |name, cell: fn(&Overview) -> String| row(name, runs, cell);
    let mut rows = vec![
        row("state", |run| standing(run.standing)),
        row("rounds", |run| match run.totals.rounds_failed {
            0 => run.totals.rounds.to_string(),
            failed => format!("{} ({failed} failed)", run.totals.rounds),
        }),
        row("accuracy", |run| {
            or_dash(run.totals.accuracy, |accuracy| format!("{accuracy:.4}"))
        }),
        row("best accuracy", |run| {
            let best = run.totals.accuracy_best.zip(run.totals.accuracy_best_round);
            or_dash(best, |(accuracy, round)| {
                format!("{accuracy:.4} in round {round}")
            })
        }),
        row("rmse", |run| {
            or_dash(run.totals.rmse, |rmse| format!("{rmse:.4}"))
        }),
        row("best rmse", |run| {
            let best = run.totals.rmse_best.zip(run.totals.rmse_best_round);
            or_dash(best, |(rmse, round)| format!("{rmse:.4} in round {round}"))
        }),
        row("loss", |run| {
            or_dash(run.totals.loss, |loss| format!("{loss:.4}"))
        }),
        row("updates", |run| {
            format!("{}/{}", run.totals.updates_ok, run.totals.updates_selected)
        }),
        row("messages down", |run| amount(run.totals.bytes_down)),
        row("messages up", |run| amount(run.totals.bytes_up)),
        row("retransmissions", |run| {
            or_dash(run.totals.retransmissions, |count| count.to_string())
        }),
        row("frames dropped", |run| {
            or_dash(run.totals.drops, |count| count.to_string())
        }),
        row("device time", |run| {
            or_dash(run.totals.cost.device_seconds, duration)
        }),
        row("energy", |run| {
            or_dash(run.totals.cost.energy_mj, |energy| match energy < 1e3 {
                true => format!("{energy:.1} mJ"),
                false => format!("{:.2} J", energy / 1e3),
            })
        }),
        row("host time", |run| duration(run.totals.host_seconds)),
        row("model", |run| {
            let hash = &run.totals.model_sha256;
            hash.get(..HASH_DIGITS).unwrap_or("–").to_owned()
        }),
    ];
    // What nobody has a figure of is no line.
    rows.retain(|cells| cells.iter().skip(1).any(|cell| cell != "–"));
    rows
}
