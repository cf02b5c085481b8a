//! `zfl sweep`

use tokio::sync::watch;
use zfl_lab::sweep::{
    self, Confirmed, Context, Figure, Progress, Status, Summary, Sweep, SweepError, Trial,
};
use zfl_machine::Board;

use super::run::interruption;
use super::{Done, Failure, firmware, launcher, next_folder, report, runtime, search_path};
use crate::arguments::SweepArguments;
use crate::display::Manner;

/// Rows of the best trials that are shown.
const BEST_MAX: usize = 5;
/// Rows of the front that are shown; `front.csv` has all.
const FRONT_MAX: usize = 12;

/// `zfl sweep`
pub(crate) fn sweep(arguments: &SweepArguments) -> Done {
    let names: Vec<&str> = Board::names().collect();
    let mut sweep = match (&arguments.resume, &arguments.file) {
        (Some(folder), _) => Sweep::from_folder_of(folder, &names)
            .map_err(|error| Failure::Usage(error.to_string()))??,
        (None, Some(file)) => Sweep::from_file(file, &names)?,
        (None, None) => return Err(Failure::Usage("name a sweep file".to_owned())),
    };
    if arguments.no_early_stopping {
        sweep.early_stopping = None;
    }
    sweep.confirm = arguments.confirm.unwrap_or(sweep.confirm);
    let folder = arguments.resume.as_ref().or(arguments.out.as_ref());
    let context = Context {
        folder: folder.cloned().unwrap_or_else(|| next_folder(&sweep.name)),
        is_resumed: arguments.resume.is_some(),
        search_path: search_path(&arguments.data),
        firmware: firmware(arguments.firmware_dir.as_deref()),
        launcher: launcher()?,
        workers: match arguments.workers {
            Some(workers) => usize::try_from(workers).unwrap_or(1),
            None => std::thread::available_parallelism().map_or(1, Into::into),
        },
    };
    let runtime = runtime()?;
    let (stop, stopped) = watch::channel(false);
    let interrupted = {
        let _inside = runtime.enter();
        interruption()
    };
    runtime.spawn(async move {
        interrupted.await;
        // A sweep that has ended need not know.
        let _ = stop.send(true);
    });
    let mut trials = Vec::new();
    let swept = sweep::run(
        &sweep,
        &context,
        |progress| show(&sweep, &context, progress, &mut trials),
        stopped,
    );
    let summary = swept.map_err(|error| {
        let can_go_on = error.can_go_on();
        let mut failure = match error {
            SweepError::Interrupted { .. } => Failure::Interrupted(error.to_string()),
            error => Failure::run(&error),
        };
        if can_go_on {
            let folder = context.folder.display();
            failure.add(&format!("go on with: zfl sweep --resume {folder}"));
        }
        failure
    })?;
    print_summary(&sweep, &context, &summary, &trials);
    if let Some(path) = report::at_the_end(&context.folder, Manner::Full) {
        Manner::Full.report(&path);
    }
    let confirmed = &summary.confirmed;
    let is_confirmed = |one: &&Confirmed| one.is_identical == Some(true);
    match confirmed.len() - confirmed.iter().filter(is_confirmed).count() {
        0 => Ok(()),
        count => Err(Failure::Run(format!(
            "{count} of {} trials are not confirmed on emulated devices",
            confirmed.len()
        ))),
    }
}

/// Shows what is going on, and keeps the latest of each trial.
fn show(sweep: &Sweep, context: &Context, progress: Progress, trials: &mut Vec<Trial>) {
    match progress {
        Progress::Began {
            trials,
            jobs_before,
        } => {
            let stopping = match &sweep.early_stopping {
                Some(asha) => format!(
                    "stopped early at rounds {}",
                    joined(&asha.rungs(sweep.rounds))
                ),
                None => "none stopped early".to_owned(),
            };
            say!(
                "{}: {} of {trials} trials of {} rounds, {stopping}, {} at a time",
                sweep.name,
                sweep.search.name(),
                sweep.rounds,
                context.workers
            );
            if jobs_before > 0 {
                say!("going on after {jobs_before} jobs");
            }
            say!("folder: {}", context.folder.display());
        }
        Progress::Job {
            trial,
            begun,
            trials: all,
            is_past,
        } => {
            if !is_past {
                say!("{}", line(sweep, &trial, begun, all));
            }
            trials.retain(|other| other.number != trial.number);
            trials.push(*trial);
        }
        Progress::Counting { trial, boards } => say!(
            "counting the instructions of trial {trial} on an emulated {}",
            boards.join(", ")
        ),
        Progress::Confirming { trial, rounds } => {
            say!("confirming trial {trial}: {rounds} rounds on emulated devices");
        }
    }
}

fn joined(numbers: &[u32]) -> String {
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    numbers.join(", ")
}

/// A line for a trial that has come to a rung.
fn line(sweep: &Sweep, trial: &Trial, begun: usize, all: usize) -> String {
    let outcome = match trial.status {
        Status::Failed => format!("failed: {}", trial.detail),
        _ => figures(sweep, &trial.figures),
    };
    format!(
        "[{begun}/{all}] trial {:<4} round {:>4}/{}  {outcome}  {}",
        trial.number,
        trial.rounds,
        sweep.rounds,
        parameters(sweep, trial)
    )
}

fn parameters(sweep: &Sweep, trial: &Trial) -> String {
    let cells = trial.choice.cells();
    let set = sweep.parameters.iter().zip(cells);
    let set: Vec<String> = set
        .filter(|(_, value)| !value.is_empty())
        .map(|(parameter, value)| {
            let name = parameter.key.rsplit('.').next().unwrap_or_default();
            format!("{name}={value}")
        })
        .collect();
    set.join(" ")
}

fn figures(sweep: &Sweep, figures: &[Option<Figure>]) -> String {
    let figures: Vec<String> = sweep
        .objectives
        .iter()
        .zip(figures)
        .map(|(objective, figure)| {
            let value = match figure {
                Some(figure) => cell(figure.mean),
                None => "–".to_owned(),
            };
            let interval = match figure.and_then(|figure| figure.interval) {
                Some((low, high)) => format!(" ({}…{})", cell(low), cell(high)),
                None => String::new(),
            };
            format!("{} {value}{interval}", objective.name())
        })
        .collect();
    figures.join("  ")
}

/// A number as a person reads it.
pub(super) fn cell(value: f64) -> String {
    match value.abs() {
        size if size >= 1e9 => format!("{:.2} G", value / 1e9),
        size if size >= 1e6 => format!("{:.2} M", value / 1e6),
        size if size >= 1e4 => format!("{:.1} k", value / 1e3),
        _ if value.fract() == 0.0 => format!("{value}"),
        _ => format!("{value:.4}"),
    }
}

/// The best, the front, what mattered.
fn print_summary(sweep: &Sweep, context: &Context, summary: &Summary, trials: &[Trial]) {
    let counts = &summary.trials;
    say!(
        "\n{} trials: {} with all rounds, {} stopped early, {} failed, {} impossible; {:.1} s of \
         processor time, {:.1} s of host time",
        counts.all,
        counts.completed,
        counts.stopped,
        counts.failed,
        counts.impossible,
        summary.cpu_seconds,
        summary.host_seconds
    );
    let mut best: Vec<&Trial> = trials.iter().filter(|trial| trial.counts()).collect();
    best.sort_by(|one, other| one.compare(other));
    say!("\nThe best:");
    for trial in best.iter().take(BEST_MAX) {
        say!(
            "  trial {:<4} round {:>4}  {}  {}",
            trial.number,
            trial.rounds,
            figures(sweep, &trial.figures),
            parameters(sweep, trial)
        );
    }
    say!(
        "\nPareto front of {} points (front.csv):",
        summary.front_points
    );
    let front = context.folder.join("front.csv");
    let shown = std::fs::read_to_string(&front).unwrap_or_default();
    print_front(sweep, &shown);
    let importance = &summary.importance;
    say!(
        "\nWhat mattered: share of the variance of {} after {} rounds of {} trials",
        importance.objective,
        importance.rounds,
        importance.trials
    );
    for share in &importance.parameters {
        say!("  {:>5.1} %  {}", share.share * 100.0, share.parameter);
    }
    if !summary.confirmed.is_empty() {
        print_confirmed(summary);
    }
    say!(
        "\nThe best as an experiment: {}",
        context.folder.join("best.toml").display()
    );
}

/// Rows of the front, spread over all of it.
fn print_front(sweep: &Sweep, text: &str) {
    // A trial, a round, the parameters; then the objectives, which are rounded here as above.
    let first_objective = 2 + sweep.parameters.len();
    let readable = |(column, text): (usize, &str)| match text.parse() {
        Ok(value) if column >= first_objective => cell(value),
        _ => text.to_owned(),
    };
    let rows: Vec<Vec<String>> = text
        .lines()
        .map(|line| line.split(',').enumerate().map(readable).collect())
        .collect();
    let Some((head, rows)) = rows.split_first() else {
        return;
    };
    let last = rows.len().saturating_sub(1);
    let shown: Vec<&Vec<String>> = match rows.len() > FRONT_MAX {
        true => (0..FRONT_MAX)
            .filter_map(|index| rows.get(index * last / (FRONT_MAX - 1)))
            .collect(),
        false => rows.iter().collect(),
    };
    let width = |column: usize| {
        let cells = std::iter::once(head).chain(shown.iter().copied());
        let widths = cells.map(|row| row.get(column).map_or(0, |cell| cell.chars().count()));
        widths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    for row in std::iter::once(head).chain(shown.iter().copied()) {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:>width$}"))
            .collect();
        say!("  {}", cells.join("  "));
    }
}

fn print_confirmed(summary: &Summary) {
    say!("\nConfirmed on emulated devices:");
    say!(
        "  {:>5}  {:>6}  {:>9}  {:>9}  {:<9}  {:>12}  {:>12}  {:>10}  {:>10}",
        "trial",
        "rounds",
        "native",
        "emulated",
        "models",
        "bytes",
        "on the wire",
        "device s",
        "(native)"
    );
    let number =
        |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
    for one in &summary.confirmed {
        say!(
            "  {:>5}  {:>6}  {:>9}  {:>9}  {:<9}  {:>12}  {:>12}  {:>10}  {:>10}",
            one.trial,
            one.rounds,
            number(one.native.accuracy.or(one.native.rmse)),
            number(one.emulated.accuracy.or(one.emulated.rmse)),
            one.models(),
            one.emulated.bytes,
            one.emulated
                .wire_bytes
                .map_or_else(|| "–".to_owned(), |bytes| bytes.to_string()),
            number(one.emulated.device_seconds),
            number(one.native.device_seconds)
        );
        if one.outcome != "completed" {
            say!("         {}", one.outcome);
        }
    }
}
