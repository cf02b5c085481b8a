//! The report of a sweep: docs/sweeps.md has the files that it reads.

use std::collections::BTreeSet;
use std::path::Path;

use maud::{Markup, html};
use zfl_lab::archive::{Standing, SweepArchive, SweepRow, SweepTables};
use zfl_lab::sweep::{ConfirmedRun, ObjectiveInfo, Summary};

use crate::ReportError;
use crate::chart::{
    Axis, Coordinate, Dot, HorizontalBar, HorizontalBars, ParallelCoordinates, Polyline, Scatter,
};
use crate::number::{Clock, Unit, compact, grouped, significant};
use crate::page::{Page, Table, key_figures};

/// Trials that are drawn.
const DRAWN_MAX: usize = 1_500;
/// Trials in a table.
const LISTED_MAX: usize = 200;

/// Whether a folder is a sweep's.
pub(crate) fn is_sweep(folder: &Path) -> bool {
    SweepArchive::open(folder).is_ok()
}

/// What trials are compared by.
#[derive(Clone, Debug, PartialEq)]
struct Objective {
    name: String,
    unit: Unit,
    is_maximised: bool,
}

impl Objective {
    fn new(info: &ObjectiveInfo) -> Self {
        let unit = match info.unit.as_str() {
            "bytes" => Unit::Bytes,
            "rounds" => Unit::Count("rounds"),
            "s of device time" => Unit::Seconds,
            "mJ" => Unit::Millijoules,
            // A loss is in nats only where classes are learnt.
            "nat" => Unit::Named("nats".to_owned()),
            _ if info.name.starts_with("accuracy") => Unit::Share,
            _ => Unit::Plain,
        };
        Self {
            name: info.name.clone(),
            unit,
            is_maximised: info.is_maximised,
        }
    }

    fn title(&self) -> String {
        match self.name.as_str() {
            "bytes" => "messages, both directions".to_owned(),
            "rounds_used" => "rounds".to_owned(),
            name => {
                let name = name.replace("device_seconds", "device_time");
                name.replace("energy_mj", "energy").replace('_', " ")
            }
        }
    }

    fn axis(&self) -> Axis {
        match self.unit {
            Unit::Seconds => Axis::time(self.title(), Clock::Device),
            _ => Axis::new(self.title(), self.unit.clone()),
        }
    }
}

/// Its first objective.
fn first_of(trial: &SweepRow) -> Option<f64> {
    trial.objectives.first().copied().flatten()
}

/// All that a report shows of a sweep.
struct Sweep {
    name: String,
    /// How it stands, in words.
    standing: String,
    summary: Summary,
    parameters: Vec<String>,
    objectives: Vec<Objective>,
    /// The best by the first objective first; those without a value last.
    trials: Vec<SweepRow>,
    front: Vec<SweepRow>,
    sweep_text: String,
    best_text: String,
}

/// The page of the sweep in a folder.
///
/// # Errors
/// When a file of it cannot be read, or is damaged.
pub(crate) fn page(folder: &Path) -> Result<Page, ReportError> {
    let sweep = Sweep::read(folder)?;
    let mut page = Page::new(&sweep.name, sweep.lead());
    page.section("best", "The best", sweep.best());
    let content = sweep.fronts(&mut page);
    page.section("front", "Pareto front", content);
    let content = sweep.parallel(&mut page);
    page.section("trials", "All trials", content);
    let content = sweep.importance(&mut page);
    page.section("importance", "Which parameter mattered", content);
    page.section(
        "confirmed",
        "Confirmed on emulated devices",
        sweep.confirmed(),
    );
    page.section("configuration", "Configuration", sweep.configuration());
    Ok(page)
}

impl Sweep {
    fn read(folder: &Path) -> Result<Self, ReportError> {
        let archive = SweepArchive::open(folder)?;
        let summary = archive.summary()?;
        let tables = archive.tables(summary.as_ref())?;
        let standing = match archive.standing()? {
            Standing::Ended(reason) => reason,
            standing => standing.name().to_owned(),
        };
        let mut trials = tables.trials.clone();
        trials.sort_by(|one, other| tables.merit(0, other).total_cmp(&tables.merit(0, one)));
        let SweepTables {
            parameters,
            objectives,
            front,
            ..
        } = tables;
        Ok(Self {
            name: archive.name(summary.as_ref()),
            standing,
            summary: summary.unwrap_or_default(),
            parameters,
            objectives: objectives.iter().map(Objective::new).collect(),
            trials,
            front,
            sweep_text: archive.sweep_text()?,
            best_text: archive.best_text()?,
        })
    }

    fn lead(&self) -> Vec<Markup> {
        let count = |status: &str| {
            self.trials
                .iter()
                .filter(|trial| trial.status == status)
                .count()
        };
        let mut figures = Vec::new();
        if let (Some(objective), Some(best)) = (self.objectives.first(), self.trials.first())
            && let Some(value) = first_of(best)
        {
            figures.push((
                "best, by the first objective",
                objective.unit.show(value),
                format!("{}, trial {}", objective.title(), best.trial),
            ));
        }
        figures.push((
            "trials",
            grouped(self.trials.len() as f64),
            format!(
                "{} completed, {} stopped early, {} failed",
                count("completed"),
                count("stopped"),
                count("failed")
            ),
        ));
        figures.push((
            "on the front",
            grouped(self.front.len() as f64),
            "points of trial and round".to_owned(),
        ));
        let cpu = self.trials.iter().filter_map(|trial| trial.cpu_seconds);
        figures.push((
            "processor time",
            Unit::Seconds.show(cpu.sum()),
            "host clock, all trials".to_owned(),
        ));
        if self.summary.workers > 0 {
            figures.push((
                "wall time",
                Unit::Seconds.show(self.summary.host_seconds),
                format!("host clock, {} workers", self.summary.workers),
            ));
        }
        vec![
            html! {
                p class="lead" {
                    "A sweep over " (self.parameters.len()) " parameters"
                    @if !self.summary.search.is_empty() { " by " (self.summary.search) " search" }
                    @if self.summary.early_stopping.is_some() { " with early stopping (ASHA)" }
                    "; it is " (self.standing) "."
                }
            },
            key_figures(&figures),
        ]
    }

    /// A value of an objective, with its interval.
    fn cell(&self, trial: &SweepRow, index: usize) -> String {
        let (Some(objective), Some(Some(value))) =
            (self.objectives.get(index), trial.objectives.get(index))
        else {
            return "–".to_owned();
        };
        let value = objective.unit.show(*value);
        match trial.intervals.get(index).copied().flatten() {
            Some((low, high)) => format!(
                "{value} [{}, {}]",
                objective.unit.show(low),
                objective.unit.show(high)
            ),
            None => value,
        }
    }

    /// A table of trials.
    fn list<'a>(
        &self,
        caption: &str,
        rounds: &str,
        trials: impl Iterator<Item = &'a SweepRow>,
    ) -> Table {
        let mut table = Table::new(caption, &["trial", rounds]);
        table.head.extend(self.short_names());
        table
            .head
            .extend(self.objectives.iter().map(Objective::title));
        table.head.push("status".to_owned());
        for trial in trials.take(LISTED_MAX) {
            let mut row = vec![trial.trial.to_string(), trial.rounds.to_string()];
            row.extend(trial.parameters.iter().map(|value| match value.as_str() {
                "" => "–".to_owned(),
                value => value.to_owned(),
            }));
            row.extend((0..self.objectives.len()).map(|index| self.cell(trial, index)));
            row.push(trial.status.clone());
            table.rows.push(row);
        }
        // Points of the front have no status.
        if table
            .rows
            .iter()
            .all(|row| row.last().is_some_and(String::is_empty))
        {
            table.head.pop();
            for row in &mut table.rows {
                row.pop();
            }
        }
        table
    }

    fn best(&self) -> Markup {
        let with_values = || self.trials.iter().filter(|trial| first_of(trial).is_some());
        if with_values().next().is_none() {
            return html! { p { "No trial has a value of the first objective." } };
        }
        let has_intervals = with_values().any(|trial| trial.intervals.iter().any(Option::is_some));
        let best = self.list(
            "The best ten by the first objective",
            "rounds",
            with_values().take(10),
        );
        html! {
            (best.open())
            @if has_intervals { p class="soft" { "In brackets: the 95\u{a0}% confidence interval of the mean over repeats, by Student’s t." } }
        }
    }

    /// Parameters by the last words of their keys, where those are distinct.
    fn short_names(&self) -> Vec<String> {
        let last = |name: &String| name.rsplit('.').next().unwrap_or(name).to_owned();
        let short: Vec<String> = self.parameters.iter().map(last).collect();
        let distinct: BTreeSet<&String> = short.iter().collect();
        match distinct.len() == short.len() {
            true => short,
            false => self.parameters.clone(),
        }
    }

    fn describe(&self, trial: &SweepRow) -> String {
        let parameters: Vec<String> = self
            .parameters
            .iter()
            .zip(&trial.parameters)
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        format!(
            "trial {}, {} rounds: {}",
            trial.trial,
            trial.rounds,
            parameters.join(", ")
        )
    }

    fn fronts(&self, page: &mut Page) -> Markup {
        let Some(first) = self.objectives.first() else {
            return html! { p { "The sweep has no objective." } };
        };
        if self.objectives.len() < 2 {
            return html! { p { "There is one objective, so that the front is its best trial." } };
        }
        let step = self.trials.len().div_ceil(DRAWN_MAX).max(1);
        let others = self.objectives.iter().enumerate().skip(1);
        let charts: Vec<Markup> = others
            .map(|(index, second)| {
                let dot = |trial: &SweepRow, is_front: bool| {
                    Some(Dot {
                        x: trial.objectives.get(index).copied().flatten()?,
                        y: first_of(trial)?,
                        text: self.describe(trial),
                        is_front,
                        label: String::new(),
                    })
                };
                let trials = self.trials.iter().step_by(step);
                let mut dots: Vec<Dot> = trials
                    .filter_map(|trial| dot(trial, false))
                    .chain(self.front.iter().filter_map(|trial| dot(trial, true)))
                    .collect();
                label_ends(&mut dots, &self.front);
                let (low, high) = dots
                    .iter()
                    .fold((f64::INFINITY, 0.0f64), |(low, high), dot| {
                        (low.min(dot.x), high.max(dot.x))
                    });
                let is_wide = low > 0.0 && high / low > 30.0;
                Scatter {
                    title: format!("{} against {}", first.title(), second.title()),
                    width: if self.objectives.len() == 2 {
                        1000.0
                    } else {
                        488.0
                    },
                    height: if self.objectives.len() == 2 {
                        440.0
                    } else {
                        340.0
                    },
                    x: if is_wide {
                        second.axis().logarithmic()
                    } else {
                        second.axis()
                    },
                    y: first.axis(),
                    dots,
                    draws_front: self.objectives.len() == 2 && !second.is_maximised,
                }
                .draw()
            })
            .collect();
        page.figure(
            "Pareto front",
            &html! {
                "Each faint point is a trial at its end, each strong one a trial after a round that nothing beats in all objectives at once: to stop early is free, so every round of every trial is a candidate. "
                @if step > 1 { "Of the trials that are not on the front, every " (step) "th is drawn. " }
            },
            &charts,
            &[self.list("Points of the front", "round", self.front.iter())],
        )
    }

    fn parallel(&self, page: &mut Page) -> Markup {
        let with_values: Vec<&SweepRow> = self
            .trials
            .iter()
            .filter(|trial| first_of(trial).is_some())
            .collect();
        let failed: Vec<&SweepRow> = self
            .trials
            .iter()
            .filter(|trial| !trial.detail.is_empty())
            .collect();
        let mut scales: Vec<Places> = self
            .short_names()
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let values = with_values
                    .iter()
                    .map(|trial| trial.parameters.get(index).cloned().unwrap_or_default());
                Places::of(name, values.collect())
            })
            .collect();
        for (index, objective) in self.objectives.iter().enumerate() {
            let values = with_values
                .iter()
                .map(|trial| trial.objectives.get(index).copied().flatten());
            scales.push(Places::of_objective(objective, values.collect()));
        }
        let count = with_values.len();
        let step = count.div_ceil(DRAWN_MAX).max(1);
        let mut lines: Vec<Polyline> = with_values
            .iter()
            .enumerate()
            .step_by(step)
            .map(|(rank, trial)| Polyline {
                places: scales
                    .iter()
                    .map(|scale| scale.places.get(rank).copied().unwrap_or(f64::NAN))
                    .collect(),
                merit: 1.0 - rank as f64 / count.max(1) as f64,
                text: self.describe(trial),
            })
            .collect();
        // The best are drawn over the others.
        lines.reverse();
        let mut broken = Table::new("Trials that failed", &["trial", "status", "why"]);
        broken.rows = failed
            .iter()
            .take(LISTED_MAX)
            .map(|trial| {
                vec![
                    trial.trial.to_string(),
                    trial.status.clone(),
                    trial.detail.clone(),
                ]
            })
            .collect();
        html! {
            @if count > 0 {
                @let chart = ParallelCoordinates {
                    title: "Trials over parameters and objectives".to_owned(),
                    width: 1000.0,
                    height: 380.0,
                    coordinates: scales.iter().map(|scale| scale.coordinate.clone()).collect(),
                    lines,
                };
                (page.figure(
                    "Trials in parallel coordinates",
                    &html! {
                        "A line is a trial. Orange is the best tenth by the first objective, blue the next three tenths, grey the others; a value that a trial does not have parts its line. "
                        @if step > 1 { "Every " (step) "th trial is drawn. " }
                    },
                    &[chart.draw()],
                    &[self.list("Trials, the best first", "rounds", self.trials.iter())],
                ))
            } @else {
                p { "No trial has come to a value yet." }
            }
            @if !broken.rows.is_empty() { (broken.words()) }
        }
    }

    fn importance(&self, page: &mut Page) -> Markup {
        let importance = &self.summary.importance;
        let bars: Vec<HorizontalBar> = importance
            .parameters
            .iter()
            .map(|of| HorizontalBar {
                name: of.parameter.clone(),
                share: of.share,
                text: format!("{}\u{a0}%", significant(of.share * 100.0, 2)),
                class: "device".to_owned(),
            })
            .collect();
        if importance.trials == 0 {
            return html! { p { "It is not known: no trial has come to a value yet." } };
        }
        let chart = HorizontalBars {
            title: "Importance of parameters".to_owned(),
            width: 760.0,
            whole: "variance of the first objective explained".to_owned(),
            bars,
        };
        page.figure(
            "Which parameter mattered",
            &html! {
                "The part of the first objective’s variance over trials that the means of a parameter’s values explain: its main effect. What parameters do together is in no bar, so that they add up to less than 100\u{a0}%. "
                (importance.trials) " trials, all after " (importance.rounds) " rounds."
            },
            &[chart.draw()],
            &[],
        )
    }

    fn confirmed(&self) -> Markup {
        let confirmed = &self.summary.confirmed;
        let learns_number = confirmed.iter().any(|of| of.native.rmse.is_some());
        let (quality, unit) = match learns_number {
            true => ("rmse", Unit::Plain),
            false => ("accuracy", Unit::Share),
        };
        let of_model = |run: &ConfirmedRun| match learns_number {
            true => run.rmse,
            false => run.accuracy,
        };
        let mut table = Table::new(
            "Searched natively, run again on emulated devices",
            &[
                "trial",
                "rounds",
                &format!("{quality}, native"),
                &format!("{quality}, emulated"),
                "models",
                "message bodies",
                "on the wire",
                "device time, emulated (device clock)",
                "device time, native (device clock)",
                "outcome",
            ],
        );
        for of in confirmed {
            let show = |unit: &Unit, value: Option<f64>| {
                value.map_or_else(|| "–".to_owned(), |value| unit.show(value))
            };
            let (native, emulated) = (&of.native, &of.emulated);
            table.rows.push(vec![
                of.trial.to_string(),
                of.rounds.to_string(),
                show(&unit, of_model(native)),
                show(&unit, of_model(emulated)),
                of.models().to_owned(),
                show(&Unit::Bytes, Some(emulated.bytes as f64)),
                show(&Unit::Bytes, emulated.wire_bytes.map(|bytes| bytes as f64)),
                show(&Unit::Seconds, emulated.device_seconds),
                show(&Unit::Seconds, native.device_seconds),
                of.outcome.clone(),
            ]);
        }
        match table.rows.is_empty() {
            true => {
                html! { p { "No trial was run again: the sweep has " code { "confirm = 0" } ", or has not come to it." } }
            }
            false => table.open(),
        }
    }

    fn configuration(&self) -> Markup {
        html! {
            @if !self.best_text.is_empty() {
                h3 { "The best trial’s experiment, ready for " code { "zfl run" } }
                pre tabindex="0" aria-label="best.toml" { (self.best_text) }
            }
            h3 { "The sweep" }
            pre tabindex="0" aria-label="sweep.toml" { (self.sweep_text) }
            @if !self.summary.version.is_empty() { p { "zfl " (self.summary.version) } }
        }
    }
}

/// Names the first and the last point of the front by their trials.
fn label_ends(dots: &mut [Dot], front: &[SweepRow]) {
    let mut on_front: Vec<&mut Dot> = dots.iter_mut().filter(|dot| dot.is_front).collect();
    // Both are in one order.
    for (dot, trial) in on_front.iter_mut().zip(front) {
        dot.label = format!("trial {}", trial.trial);
    }
    on_front.sort_by(|one, other| one.x.total_cmp(&other.x));
    let last = on_front.len().saturating_sub(1);
    for (index, dot) in on_front.into_iter().enumerate() {
        if index != 0 && index != last {
            dot.label.clear();
        }
    }
}

/// Where the values of all trials lie on an axis.
struct Places {
    coordinate: Coordinate,
    places: Vec<f64>,
}

impl Places {
    /// Of values as TOML writes them: numbers on a scale, words in their order.
    fn of(name: &str, values: Vec<String>) -> Self {
        let numbers: Vec<Option<f64>> = values.iter().map(|value| value.parse().ok()).collect();
        let are_numbers = values
            .iter()
            .zip(&numbers)
            .all(|(value, number)| value.is_empty() || number.is_some());
        if are_numbers {
            return Self::of_numbers(name, &Unit::Plain, &numbers);
        }
        let distinct: BTreeSet<&String> = values.iter().filter(|value| !value.is_empty()).collect();
        let place = |index: usize| match distinct.len() {
            0 | 1 => 0.5,
            count => index as f64 / (count - 1) as f64,
        };
        let ticks = distinct
            .iter()
            .enumerate()
            .map(|(index, value)| (place(index), (*value).clone()));
        let places = values.iter().map(|value| {
            distinct
                .iter()
                .position(|other| *other == value)
                .map_or(f64::NAN, place)
        });
        Self {
            coordinate: Coordinate {
                name: name.to_owned(),
                ticks: ticks.take(16).collect(),
            },
            places: places.collect(),
        }
    }

    fn of_objective(objective: &Objective, values: Vec<Option<f64>>) -> Self {
        Self::of_numbers(&objective.title(), &objective.unit, &values)
    }

    fn of_numbers(name: &str, unit: &Unit, values: &[Option<f64>]) -> Self {
        let numbers = || values.iter().flatten().copied();
        let show = |value: f64| match unit {
            Unit::Plain => compact(value, 4),
            unit => unit.show(value),
        };
        let (low, high) = numbers()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        let is_wide = low > 0.0 && high / low > 20.0;
        let place = |value: f64| match (is_wide, high > low) {
            (_, false) => 0.5,
            (true, _) => (value / low).ln() / (high / low).ln(),
            (false, _) => (value - low) / (high - low),
        };
        let mut distinct: Vec<f64> = numbers().collect();
        distinct.sort_by(f64::total_cmp);
        distinct.dedup();
        // All values where there are few, else the ends and what is between them.
        let ticks: Vec<(f64, String)> = match distinct.as_slice() {
            [] => Vec::new(),
            few if few.len() <= 6 => few
                .iter()
                .map(|value| (place(*value), show(*value)))
                .collect(),
            _ => [0.0, 0.5, 1.0]
                .into_iter()
                .map(|at| {
                    let value = match is_wide {
                        true => low * (high / low).powf(at),
                        false => low + (high - low) * at,
                    };
                    (at, show(value))
                })
                .collect(),
        };
        Self {
            coordinate: Coordinate {
                name: name.to_owned(),
                ticks,
            },
            places: values
                .iter()
                .map(|value| value.map_or(f64::NAN, place))
                .collect(),
        }
    }
}
