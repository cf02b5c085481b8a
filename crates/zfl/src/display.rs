//! Live progress, and the table at the end.
//!
//! On a terminal two bars; elsewhere a line a round. With `--quiet` warnings alone,
//! with `--json` an object a line (docs/terminal.md).

use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use zfl_lab::experiment::Experiment;
use zfl_lab::run::{Progress, Quality, Summary};

use crate::arguments::OutputArguments;

/// So many failures of devices are shown at the end.
const FAILURES_SHOWN_MAX: usize = 5;

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// For people, as it goes on.
    Full,
    /// Warnings alone, and the folder at the end.
    Quiet,
    /// For programs.
    Json,
}

impl From<&OutputArguments> for Manner {
    fn from(arguments: &OutputArguments) -> Self {
        match (arguments.quiet, arguments.json) {
            (_, true) => Self::Json,
            (true, false) => Self::Quiet,
            (false, false) => Self::Full,
        }
    }
}

impl Manner {
    /// Shows something that is neither progress nor result.
    pub(crate) fn warn(self, text: &str) {
        match self {
            Self::Json => say!("{}", json!({ "event": "warning", "text": text })),
            _ => complain!("warning: {text}"),
        }
    }

    /// Shows the end of a run.
    pub(crate) fn end(self, summary: &Summary) {
        match self {
            Self::Full => print_summary(summary),
            Self::Quiet => say!("{}", summary.folder.display()),
            Self::Json => say!("{}", json!({ "event": "ended", "summary": summary })),
        }
    }

    /// Shows where the report of a run is; scripts know.
    pub(crate) fn report(self, path: &Path) {
        if self == Self::Full {
            say!("{:<10} {}", "report", path.display());
        }
    }

    /// Shows that a run has failed, where an error on standard error is not enough.
    pub(crate) fn fail(self, folder: &Path, reason: &str) {
        if self == Self::Json {
            say!(
                "{}",
                json!({ "event": "failed", "folder": folder, "reason": reason })
            );
        }
    }
}

/// Shows the progress of a run.
pub(crate) struct Display {
    manner: Manner,
    bars: Option<Bars>,
    rounds: u32,
    is_serving: bool,
    pace: Pace,
}

struct Bars {
    all: MultiProgress,
    run: ProgressBar,
    round: ProgressBar,
}

/// How far a run is, and how fast.
#[derive(Default)]
struct Pace {
    /// The first round that is played here, and when it began.
    first: Option<(u32, Instant)>,
    /// Bodies of messages, both ways.
    bytes: u64,
}

impl Pace {
    fn take(&mut self, progress: &Progress) {
        match progress {
            Progress::RoundStarted { round, .. } if self.first.is_none() => {
                self.first = Some((*round, Instant::now()));
            }
            Progress::RoundCompleted { record } => {
                self.bytes += record.bytes_down() + record.bytes_up();
            }
            _ => {}
        }
    }

    /// Host seconds that the rounds after this one will take, at the mean of those
    /// that were played here.
    fn seconds_left(&self, round: u32, rounds: u32) -> Option<f64> {
        let (first, began) = self.first?;
        let played = round.checked_sub(first)?.checked_add(1)?;
        let a_round = began.elapsed().as_secs_f64() / f64::from(played);
        Some(a_round * f64::from(rounds.checked_sub(round)?))
    }

    /// The same in words; nothing after the last round.
    fn left(&self, round: u32, rounds: u32) -> String {
        match self.seconds_left(round, rounds) {
            Some(seconds) if round < rounds => format!("  {} left", duration(seconds)),
            _ => String::new(),
        }
    }
}

impl Display {
    pub(crate) fn new(
        manner: Manner,
        experiment: &Experiment,
        clients: u32,
        is_serving: bool,
    ) -> Self {
        let Experiment {
            name, rounds, seed, ..
        } = experiment;
        match manner {
            Manner::Full => say!("{name}: {clients} clients, {rounds} rounds, seed {seed}"),
            Manner::Quiet => {}
            Manner::Json => say!(
                "{}",
                json!({
                    "event": "experiment",
                    "name": name,
                    "clients": clients,
                    "rounds": rounds,
                    "seed": seed,
                })
            ),
        }
        let has_bars = manner == Manner::Full && std::io::stderr().is_terminal();
        Self {
            manner,
            bars: has_bars.then(|| Bars::new(experiment.rounds)),
            rounds: experiment.rounds,
            is_serving,
            pace: Pace::default(),
        }
    }

    /// Shows what comes until there is no more.
    pub(crate) async fn follow(&mut self, mut progress: mpsc::UnboundedReceiver<Progress>) {
        while let Some(progress) = progress.recv().await {
            self.pace.take(&progress);
            match (self.manner, &self.bars, &progress) {
                (Manner::Json, _, _) => self.print_json(&progress),
                (Manner::Quiet, _, Progress::Warning(text)) => self.manner.warn(text),
                (Manner::Quiet, _, _) => {}
                (Manner::Full, Some(bars), _) => self.show_bars(bars, &progress),
                (Manner::Full, None, _) => self.print(&progress),
            }
        }
    }

    /// Takes the bars away.
    pub(crate) fn end(&mut self) {
        if let Some(bars) = self.bars.take() {
            bars.round.finish_and_clear();
            bars.run.finish_and_clear();
        }
    }

    fn show_bars(&self, bars: &Bars, progress: &Progress) {
        match progress {
            Progress::Listening { .. } => bars.print(&self.listening(progress)),
            Progress::Began { folder } => bars.print(&records_in(folder)),
            Progress::Fleet(fleet) => bars.round.set_message(format!(
                "devices: {} booting, {} running, {} ready{}",
                fleet.waiting + fleet.booting + fleet.prompt,
                fleet.running,
                fleet.ready,
                match fleet.ended() {
                    0 => String::new(),
                    ended => format!(", {ended} ended"),
                }
            )),
            Progress::Provisioned { count, of } => {
                bars.round.set_length(u64::from(*of));
                bars.round.set_position(u64::from(*count));
            }
            Progress::Resumed { round, quality } => {
                bars.run.set_position(u64::from(*round));
                bars.run.set_message(score(quality));
            }
            Progress::Initial { quality } => bars.run.set_message(score(quality)),
            Progress::RoundStarted { round, clients } => {
                bars.round.set_length(*clients as u64);
                bars.round.set_position(0);
                bars.round.set_message(format!("updates of round {round}"));
            }
            Progress::ClientFinished { .. } => bars.round.inc(1),
            Progress::RoundCompleted { record } => {
                bars.run.set_position(u64::from(record.round));
                bars.run.set_message(format!(
                    "{}  loss {:.4}  {}{}",
                    score(&record.quality),
                    record.quality.loss,
                    amount(self.pace.bytes),
                    self.pace.left(record.round, self.rounds)
                ));
            }
            Progress::Notice(text) => bars.print(text),
            Progress::Warning(text) => bars.print(&format!("warning: {text}")),
        }
    }

    fn print(&self, progress: &Progress) {
        match progress {
            Progress::Listening { .. } => say!("{}", self.listening(progress)),
            Progress::Began { folder } => say!("{}", records_in(folder)),
            Progress::Resumed { round, .. } => say!("goes on after round {round}"),
            Progress::Provisioned { count, of } if count == of => {
                say!("all {of} clients have their data");
            }
            Progress::RoundCompleted { record } => say!(
                "round {:>3}/{}  {}  loss {:.4}  updates {}/{}  {}  {:.2} s{}",
                record.round,
                self.rounds,
                score(&record.quality),
                record.quality.loss,
                record.ok_count(),
                record.clients.len(),
                amount(self.pace.bytes),
                record.host_seconds,
                self.pace.left(record.round, self.rounds)
            ),
            Progress::Notice(text) => say!("{text}"),
            Progress::Warning(text) => self.manner.warn(text),
            _ => {}
        }
    }

    /// Docs/terminal.md lists what is printed here.
    fn print_json(&self, progress: &Progress) {
        let line: Value = match progress {
            Progress::Listening {
                address,
                fleet_key,
                folder,
            } => json!({
                "event": "listening",
                "folder": folder,
                "address": address.to_string(),
                "fleet_key": fleet_key.to_string(),
            }),
            Progress::Began { folder } => json!({ "event": "began", "folder": folder }),
            Progress::Fleet(fleet) => json!({
                "event": "fleet",
                "booting": fleet.waiting + fleet.booting + fleet.prompt,
                "running": fleet.running,
                "ready": fleet.ready,
                "ended": fleet.ended(),
            }),
            Progress::Provisioned { count, of } => {
                json!({ "event": "provisioned", "clients": count, "of": of })
            }
            Progress::Resumed { round, quality } => json!({
                "event": "resumed",
                "after_round": round,
                "accuracy": quality.accuracy,
                "rmse": quality.fit.map(|fit| fit.rmse),
            }),
            Progress::Initial { quality } => json!({
                "event": "initial-model",
                "accuracy": quality.accuracy,
                "rmse": quality.fit.map(|fit| fit.rmse),
            }),
            Progress::RoundStarted { round, clients } => {
                json!({ "event": "round-started", "round": round, "clients": clients })
            }
            // Too many to be told one by one; events.jsonl has them.
            Progress::ClientFinished { .. } => return,
            Progress::RoundCompleted { record } => json!({
                "event": "round-completed",
                "round": record.round,
                "rounds": self.rounds,
                "accuracy": record.quality.accuracy,
                "rmse": record.quality.fit.map(|fit| fit.rmse),
                "r_squared": record.quality.fit.and_then(|fit| fit.r_squared),
                "loss": record.quality.loss,
                "clients_selected": record.clients.len(),
                "clients_ok": record.ok_count(),
                "bytes_down": record.bytes_down(),
                "bytes_up": record.bytes_up(),
                "host_seconds": record.host_seconds,
                "host_seconds_left": self.pace.seconds_left(record.round, self.rounds),
                "model_sha256": record.model_sha256,
            }),
            Progress::Notice(text) => json!({ "event": "notice", "text": text }),
            Progress::Warning(text) => return self.manner.warn(text),
        };
        say!("{line}");
    }

    fn listening(&self, progress: &Progress) -> String {
        let Progress::Listening {
            address,
            fleet_key,
            folder,
        } = progress
        else {
            return String::new();
        };
        if self.is_serving {
            format!(
                "listening on http://{address}, tokens in {}\njoin with: zfl fleet --coordinator \
                 http://{address} --key {fleet_key}",
                folder.join("tokens.csv").display()
            )
        } else {
            records_in(folder)
        }
    }
}

fn records_in(folder: &Path) -> String {
    format!("records in {}", folder.display())
}

impl Bars {
    fn new(rounds: u32) -> Self {
        let style = |template: &str| {
            ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("━━╌")
        };
        let all = MultiProgress::new();
        let run = all.add(ProgressBar::new(u64::from(rounds)));
        run.set_style(style(
            "rounds  {bar:32.green/dim} {pos:>4}/{len:<4} {elapsed_precise}  {msg}",
        ));
        let round = all.add(ProgressBar::new(0));
        round.set_style(style("clients {bar:32.cyan/dim} {pos:>4}/{len:<4} {msg}"));
        run.enable_steady_tick(Duration::from_millis(250));
        Self { all, run, round }
    }

    fn print(&self, text: &str) {
        // A terminal that is gone shows nothing; the records have it all.
        let _ = self.all.println(text);
    }
}

/// The figure that people look at first: of classes the accuracy, of values the
/// error in their unit.
fn score(quality: &Quality) -> String {
    match (quality.accuracy, quality.fit) {
        (Some(accuracy), _) => format!("accuracy {accuracy:.4}"),
        (None, Some(fit)) => format!("rmse {:.4}", fit.rmse),
        (None, None) => String::new(),
    }
}

/// Prints the end of a run.
fn print_summary(summary: &Summary) {
    let before = |first: Option<f64>| {
        first.map_or_else(String::new, |first| {
            format!(" (before training {first:.4})")
        })
    };
    let mut rows = Vec::new();
    if let Some(accuracy) = summary.accuracy {
        let before = before(summary.initial_accuracy);
        let reached = summary
            .target_accuracy_round
            .map(|round| format!("; target reached in round {round}"))
            .unwrap_or_default();
        rows.push(("accuracy", format!("{accuracy:.4}{before}{reached}")));
    }
    if let Some(rmse) = summary.rmse {
        let before = before(summary.initial_rmse);
        rows.push(("rmse", format!("{rmse:.4}{before}")));
    }
    if let Some(r_squared) = summary.r_squared {
        rows.push(("R²", format!("{r_squared:.4}")));
    }
    rows.extend([
        ("loss", format!("{:.4}", summary.loss)),
        (
            "updates",
            format!(
                "{} in {} rounds, {} failed",
                summary.updates_ok, summary.rounds, summary.updates_failed
            ),
        ),
        (
            "model",
            format!(
                "{} parameters, update {} bytes, SHA-256 {}…",
                summary.parameters,
                summary.update_bytes,
                summary.model_sha256.get(..16).unwrap_or_default()
            ),
        ),
        (
            "messages",
            format!(
                "{} down, {} up",
                megabytes(summary.bytes_down),
                megabytes(summary.bytes_up)
            ),
        ),
        (
            "host time",
            format!(
                "{:.1} s, of which {:.1} s in rounds{}",
                summary.host_seconds,
                summary.rounds_host_seconds,
                summary
                    .ready_host_seconds
                    .map(|seconds| format!("; all ready after {seconds:.1} s"))
                    .unwrap_or_default()
            ),
        ),
    ]);
    if let Some(emulators) = &summary.emulators {
        rows.push((
            "emulators",
            format!(
                "{:.1} CPU s, {:.3} CPU s per update; memory (PSS) {} a device",
                emulators.cpu_seconds,
                emulators.cpu_seconds_per_update,
                megabytes(emulators.pss_bytes_mean)
            ),
        ));
    }
    for failure in summary.failures.iter().take(FAILURES_SHOWN_MAX) {
        rows.push(("failed", failure.reason.clone()));
    }
    if summary.failures.len() > FAILURES_SHOWN_MAX {
        let more = summary.failures.len() - FAILURES_SHOWN_MAX;
        rows.push(("failed", format!("and {more} devices more: summary.json")));
    }
    rows.push(("records", summary.folder.display().to_string()));
    say!();
    for (name, value) in rows {
        say!("{name:<10} {value}");
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Bytes in the unit that fits.
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub(crate) fn amount(bytes: u64) -> String {
    let number = bytes as f64;
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{:.1} kB", number / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", number / 1e6),
        _ => format!("{:.1} GB", number / 1e9),
    }
}

/// Seconds in the units that people use.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds.round()).map_or(0, |whole| whole.as_secs());
    match whole {
        0..10 => format!("{seconds:.2} s"),
        10..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_that_of_the_rounds_before() {
        let mut pace = Pace::default();
        assert_eq!(pace.left(1, 20), "");
        // Resumed after round 4: two rounds in 20 s.
        let began = Instant::now().checked_sub(Duration::from_secs(20)).unwrap();
        pace.first = Some((5, began));
        let left = pace.seconds_left(6, 9).unwrap();
        assert!((30.0..40.0).contains(&left), "{left}");
        assert_eq!(pace.left(9, 9), "");
    }

    #[test]
    fn amounts_have_the_unit_that_fits() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1500, "1.5 kB"),
            (2_000_000, "2.0 MB"),
            (3_210_000_000, "3.2 GB"),
        ] {
            assert_eq!(amount(bytes), text);
        }
    }

    #[test]
    fn times_have_the_units_that_fit() {
        for (seconds, text) in [
            (0.0, "0.00 s"),
            (1.234, "1.23 s"),
            (59.4, "59.4 s"),
            (59.6, "1 min 00 s"),
            (3599.6, "1 h 00 min"),
            (90_061.0, "25 h 01 min"),
            (f64::NAN, "NaN s"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
