//! The report of a sweep: docs/sweeps.md has the files that it reads.

use std::collections::BTreeSet;
use std::path::Path;

use maud::{Markup, html};
use serde_json::Value;

use crate::ReportError;
use crate::chart::{
    Axis, Coordinate, Dot, HorizontalBar, HorizontalBars, ParallelCoordinates, Polyline, Scatter,
};
use crate::number::{Clock, Unit, compact, grouped, significant};
use crate::page::{Page, Table, key_figures};

/// A row a trial: what makes a folder a sweep's.
const TRIALS: &str = "trials.csv";
/// Trials that are read, and those that are drawn.
const TRIALS_MAX: usize = 100_000;
const DRAWN_MAX: usize = 1_500;
/// Trials in a table.
const LISTED_MAX: usize = 200;
/// Longest file that is read whole, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Whether a folder is a sweep's.
pub(crate) fn is_sweep(folder: &Path) -> bool {
    folder.join(TRIALS).is_file()
}

/// What trials are compared by.
#[derive(Clone, Debug, PartialEq)]
struct Objective {
    name: String,
    unit: Unit,
    is_maximised: bool,
}

impl Objective {
    /// What the name alone says; a summary may know better.
    fn named(name: &str) -> Self {
        let unit = match name {
            name if name.starts_with("accuracy") => Unit::Share,
            name if name.starts_with("loss") => Unit::Named("nats".to_owned()),
            name if name.starts_with("bytes") => Unit::Bytes,
            name if name.starts_with("rounds") => Unit::Count("rounds"),
            name if name.starts_with("device_seconds") => Unit::Seconds,
            name if name.starts_with("energy_mj") => Unit::Millijoules,
            _ => Unit::Plain,
        };
        Self {
            name: name.to_owned(),
            unit,
            is_maximised: name.starts_with("accuracy"),
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

    /// The better of two values is the greater of these.
    fn merit(&self, value: f64) -> f64 {
        if self.is_maximised { value } else { -value }
    }
}

/// A trial, or a point of the front.
#[derive(Clone, Debug, Default)]
struct Trial {
    number: String,
    status: String,
    rounds: String,
    parameters: Vec<String>,
    /// `None`: it has none, such as a target that was not reached.
    objectives: Vec<Option<f64>>,
    intervals: Vec<Option<(f64, f64)>>,
    cpu_seconds: Option<f64>,
    detail: String,
}

impl Trial {
    fn first(&self) -> Option<f64> {
        self.objectives.first().copied().flatten()
    }
}

/// All that a report shows of a sweep.
struct Sweep {
    name: String,
    summary: Value,
    parameters: Vec<String>,
    objectives: Vec<Objective>,
    /// The best by the first objective first; those without a value last.
    trials: Vec<Trial>,
    front: Vec<Trial>,
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

fn text(path: &Path) -> Result<String, ReportError> {
    use std::io::Read;

    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(text),
        Err(source) => Err(ReportError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Rows of a table by the names of their columns; one that is cut off is left out.
fn table(path: &Path) -> Result<(Vec<String>, Vec<Vec<String>>), ReportError> {
    let text = text(path)?;
    let whole = text
        .rfind('\n')
        .map_or("", |end| text.get(..=end).unwrap_or_default());
    let mut reader = csv::Reader::from_reader(whole.as_bytes());
    let damaged = |source| ReportError::Table {
        path: path.to_owned(),
        source,
    };
    let head = reader.headers().map_err(damaged)?;
    let head = head.iter().map(str::to_owned).collect();
    let mut rows = Vec::new();
    for row in reader.records().take(TRIALS_MAX) {
        rows.push(row.map_err(damaged)?.iter().map(str::to_owned).collect());
    }
    Ok((head, rows))
}

impl Sweep {
    fn read(folder: &Path) -> Result<Self, ReportError> {
        let (head, rows) = table(&folder.join(TRIALS))?;
        let path = folder.join("summary.json");
        // While the sweep goes on there is none.
        let summary = match text(&path)?.as_str() {
            "" => Value::Null,
            text => {
                serde_json::from_str(text).map_err(|source| ReportError::Json { path, source })?
            }
        };
        // Objectives have three columns, and parameters one.
        let has = |name: &str| head.iter().any(|other| other == name);
        let is_of_objective = |name: &str| {
            ["_low", "_high"]
                .iter()
                .any(|end| name.strip_suffix(end).is_some_and(has))
                || has(&format!("{name}_low"))
        };
        const FIXED: [&str; 8] = [
            "trial",
            "status",
            "rung",
            "rounds",
            "cpu_seconds",
            "host_seconds",
            "folder",
            "detail",
        ];
        let parameters: Vec<String> = head
            .iter()
            .filter(|name| !FIXED.contains(&name.as_str()) && !is_of_objective(name))
            .cloned()
            .collect();
        let objectives: Vec<Objective> = head
            .iter()
            .filter(|name| has(&format!("{name}_low")))
            .map(|name| {
                let mut objective = Objective::named(name);
                let known = summary["objectives"].as_array().into_iter().flatten();
                for known in known.filter(|known| known["name"].as_str() == Some(name)) {
                    if let Some(known) = known["is_maximised"].as_bool() {
                        objective.is_maximised = known;
                    }
                    // A loss is in nats only where classes are learnt.
                    if known["unit"].as_str() == Some("") && name.starts_with("loss") {
                        objective.unit = Unit::Plain;
                    }
                }
                objective
            })
            .collect();
        let trial = |head: &[String], row: &Vec<String>| {
            let cell = |name: &str| {
                let place = head.iter().position(|other| other == name)?;
                row.get(place).filter(|cell| !cell.is_empty()).cloned()
            };
            let number = |name: &str| {
                cell(name)?
                    .parse::<f64>()
                    .ok()
                    .filter(|number| number.is_finite())
            };
            Trial {
                number: cell("trial").unwrap_or_default(),
                status: cell("status").unwrap_or_default(),
                rounds: cell("rounds").or_else(|| cell("round")).unwrap_or_default(),
                parameters: parameters
                    .iter()
                    .map(|name| cell(name).unwrap_or_default())
                    .collect(),
                objectives: objectives
                    .iter()
                    .map(|objective| number(&objective.name))
                    .collect(),
                intervals: objectives
                    .iter()
                    .map(|Objective { name, .. }| {
                        number(&format!("{name}_low")).zip(number(&format!("{name}_high")))
                    })
                    .collect(),
                cpu_seconds: number("cpu_seconds"),
                detail: cell("detail").unwrap_or_default(),
            }
        };
        let mut trials: Vec<Trial> = rows.iter().map(|row| trial(&head, row)).collect();
        let merit = |trial: &Trial| {
            let objective = objectives.first();
            objective
                .zip(trial.first())
                .map_or(f64::NEG_INFINITY, |(objective, value)| {
                    objective.merit(value)
                })
        };
        trials.sort_by(|one, other| merit(other).total_cmp(&merit(one)));
        let (front_head, front_rows) = table(&folder.join("front.csv"))?;
        let front = front_rows
            .iter()
            .map(|row| trial(&front_head, row))
            .collect();
        let folder_name = folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let name = summary["name"].as_str().map(str::to_owned);
        Ok(Self {
            name: name.or(folder_name).unwrap_or_else(|| "sweep".to_owned()),
            summary,
            parameters,
            objectives,
            trials,
            front,
            sweep_text: text(&folder.join("sweep.toml"))?,
            best_text: text(&folder.join("best.toml"))?,
        })
    }

    fn lead(&self) -> Vec<Markup> {
        let count = |status: &str| {
            self.trials
                .iter()
                .filter(|trial| trial.status == status)
                .count()
        };
        let number = |key: &str| self.summary[key].as_f64();
        let outcome = match self.summary["outcome"].as_str() {
            Some(outcome) => outcome.to_owned(),
            None => "not over".to_owned(),
        };
        let mut figures = Vec::new();
        if let (Some(objective), Some(best)) = (self.objectives.first(), self.trials.first())
            && let Some(value) = best.first()
        {
            figures.push((
                "best, by the first objective",
                objective.unit.show(value),
                format!("{}, trial {}", objective.title(), best.number),
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
        let cpu = number("cpu_seconds").unwrap_or_else(|| {
            self.trials
                .iter()
                .filter_map(|trial| trial.cpu_seconds)
                .sum()
        });
        figures.push((
            "processor time",
            Unit::Seconds.show(cpu),
            "host clock, all trials".to_owned(),
        ));
        if let Some(seconds) = number("host_seconds") {
            let workers = self.summary["workers"].as_u64();
            let workers = workers.map(|workers| format!(", {workers} workers"));
            figures.push((
                "wall time",
                Unit::Seconds.show(seconds),
                format!("host clock{}", workers.unwrap_or_default()),
            ));
        }
        vec![
            html! {
                p class="lead" {
                    "A sweep over " (self.parameters.len()) " parameters"
                    @if let Some(search) = self.summary["search"].as_str() { " by " (search) " search" }
                    @if !self.summary["early_stopping"].is_null() { " with early stopping (ASHA)" }
                    "; it is " (outcome) "."
                }
            },
            key_figures(&figures),
        ]
    }

    /// A value of an objective, with its interval.
    fn cell(&self, trial: &Trial, index: usize) -> String {
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
        trials: impl Iterator<Item = &'a Trial>,
    ) -> Table {
        let mut table = Table::new(caption, &["trial", rounds]);
        table.head.extend(self.short_names());
        table
            .head
            .extend(self.objectives.iter().map(Objective::title));
        table.head.push("status".to_owned());
        for trial in trials.take(LISTED_MAX) {
            let mut row = vec![trial.number.clone(), trial.rounds.clone()];
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
        let with_values = || self.trials.iter().filter(|trial| trial.first().is_some());
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

    fn describe(&self, trial: &Trial) -> String {
        let parameters: Vec<String> = self
            .parameters
            .iter()
            .zip(&trial.parameters)
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        format!(
            "trial {}, {} rounds: {}",
            trial.number,
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
                let dot = |trial: &Trial, is_front: bool| {
                    Some(Dot {
                        x: trial.objectives.get(index).copied().flatten()?,
                        y: trial.first()?,
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
        let with_values: Vec<&Trial> = self
            .trials
            .iter()
            .filter(|trial| trial.first().is_some())
            .collect();
        let failed: Vec<&Trial> = self
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
                    trial.number.clone(),
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
        let importance = &self.summary["importance"];
        let bars: Vec<HorizontalBar> = importance["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|of| {
                let share = of["share"].as_f64()?;
                Some(HorizontalBar {
                    name: of["parameter"].as_str()?.to_owned(),
                    share,
                    text: format!("{}\u{a0}%", significant(share * 100.0, 2)),
                    class: "device".to_owned(),
                })
            })
            .collect();
        if bars.is_empty() {
            return html! { p { "It is not known: the sweep is not over, or had too few trials." } };
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
                @if let (Some(trials), Some(rounds)) = (importance["trials"].as_u64(), importance["rounds"].as_u64()) {
                    (trials) " trials, all after " (rounds) " rounds."
                }
            },
            &[chart.draw()],
            &[],
        )
    }

    fn confirmed(&self) -> Markup {
        let confirmed = self.summary["confirmed"].as_array().into_iter().flatten();
        let (quality, unit) = match confirmed.clone().any(|of| of["native"]["rmse"].is_number()) {
            true => ("rmse", Unit::Plain),
            false => ("accuracy", Unit::Share),
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
                "device time (device clock)",
                "outcome",
            ],
        );
        for of in confirmed {
            let show = |unit: Unit, value: &Value| {
                value
                    .as_f64()
                    .map_or_else(|| "–".to_owned(), |value| unit.show(value))
            };
            let (native, emulated) = (&of["native"], &of["emulated"]);
            table.rows.push(vec![
                of["trial"].to_string(),
                of["rounds"].to_string(),
                show(unit.clone(), &native[quality]),
                show(unit.clone(), &emulated[quality]),
                match of["is_identical"].as_bool() {
                    Some(true) => "identical".to_owned(),
                    Some(false) => "differ".to_owned(),
                    None => "–".to_owned(),
                },
                show(Unit::Bytes, &emulated["bytes"]),
                show(Unit::Bytes, &emulated["wire_bytes"]),
                show(Unit::Seconds, &emulated["device_seconds"]),
                of["outcome"].as_str().unwrap_or("–").to_owned(),
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
            @if let Some(version) = self.summary["version"].as_str() { p { "zfl " (version) } }
        }
    }
}

/// Names the first and the last point of the front by their trials.
fn label_ends(dots: &mut [Dot], front: &[Trial]) {
    let mut on_front: Vec<&mut Dot> = dots.iter_mut().filter(|dot| dot.is_front).collect();
    // Both are in one order.
    for (dot, trial) in on_front.iter_mut().zip(front) {
        dot.label = format!("trial {}", trial.number);
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
