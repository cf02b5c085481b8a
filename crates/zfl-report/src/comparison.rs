//! The report of several runs.

use std::collections::BTreeSet;

use maud::{Markup, html};

use crate::chart::{Axis, Line, LineChart};
use crate::collect::{Round, Run};
use crate::curves::{Cost, Quality, curve, has};
use crate::number::{Clock, Unit, significant};
use crate::page::{Page, Table};
use crate::run::{configuration, key_values, standing};

/// Settings that differ between any two runs and say nothing.
const IGNORED: [&str; 1] = ["name"];
const HALF: f64 = 488.0;

/// The page of runs beside each other; there is at least one.
pub(crate) fn page(runs: &[Run]) -> Page {
    let differing = differing(runs);
    let labels = labels(runs, &differing);
    let lead = html! {
        p class="lead" {
            (runs.len()) " runs, which differ in "
            @match differing.as_slice() {
                [] => "no setting",
                [key] => code { (key) },
                keys => { (keys.len()) " settings" },
            }
            "."
        }
    };
    let mut page = Page::new("Comparison of runs", vec![lead]);
    page.section("runs", "Runs", table_of_runs(runs, &labels));
    page.section(
        "differences",
        "Differences of configuration",
        differences(runs, &labels, &differing),
    );
    let content = learning(runs, &labels, &mut page);
    page.section("learning", "Learning", content);
    let content = costs(runs, &labels, &mut page);
    page.section("costs", "Cost by round", content);
    let content = html! {
        @for (run, label) in runs.iter().zip(&labels) {
            details { summary { (label) } (configuration(run)) }
        }
    };
    page.section("configuration", "Configuration and versions", content);
    page
}

/// Settings that not all runs have alike.
fn differing(runs: &[Run]) -> Vec<String> {
    let keys: BTreeSet<&String> = runs.iter().flat_map(|run| run.settings.keys()).collect();
    keys.into_iter()
        .filter(|key| !IGNORED.contains(&key.as_str()))
        .filter(|key| {
            let values: BTreeSet<_> = runs.iter().map(|run| run.settings.get(*key)).collect();
            values.len() > 1
        })
        .cloned()
        .collect()
}

/// What runs are called: by the one setting in which they differ, where it tells them
/// apart; else by their folders, with as much of the path as it takes.
fn labels(runs: &[Run], differing: &[String]) -> Vec<String> {
    let are_distinct =
        |labels: &[String]| labels.iter().collect::<BTreeSet<_>>().len() == labels.len();
    if let [key] = differing {
        let name = key.rsplit('.').next().unwrap_or(key);
        let labels: Vec<String> = runs
            .iter()
            .map(|run| {
                let value = run.text_setting(key);
                format!("{name} {}", value.unwrap_or_else(|| "–".to_owned()))
            })
            .collect();
        if are_distinct(&labels) {
            return labels;
        }
    }
    for parts in 1..8 {
        let labels: Vec<String> = runs
            .iter()
            .map(|run| {
                let names: Vec<_> = run
                    .path
                    .components()
                    .map(|part| part.as_os_str().to_string_lossy())
                    .collect();
                let from = names.len().saturating_sub(parts);
                names.get(from..).unwrap_or_default().join("/")
            })
            .collect();
        if are_distinct(&labels) {
            return labels;
        }
    }
    (1..=runs.len())
        .map(|number| format!("run {number}"))
        .collect()
}

fn table_of_runs(runs: &[Run], labels: &[String]) -> Markup {
    let mut table = Table::new(
        "What the runs came to; device time is that of each round’s slowest client, host time that of rounds",
        &["run", "folder", "standing"],
    );
    // Not all runs have all values: a column for each name that any has.
    let values: Vec<_> = runs.iter().map(key_values).collect();
    let mut names: Vec<&str> = Vec::new();
    for (name, ..) in values.iter().flatten() {
        if !names.contains(name) {
            names.push(name);
        }
    }
    table
        .head
        .extend(names.iter().map(|name| (*name).to_owned()));
    for ((run, label), values) in runs.iter().zip(labels).zip(&values) {
        let mut row = vec![label.clone(), run.path.display().to_string(), standing(run)];
        row.extend(names.iter().map(|name| {
            let found = values.iter().find(|(other, ..)| other == name);
            found.map_or_else(|| "–".to_owned(), |(_, value, _)| value.clone())
        }));
        table.rows.push(row);
    }
    table.words()
}

fn differences(runs: &[Run], labels: &[String], differing: &[String]) -> Markup {
    if differing.is_empty() {
        return html! { p { "None: the runs have the same settings." } };
    }
    let mut table = Table::new("Settings that are not the same in all runs", &["setting"]);
    table.head.extend(labels.iter().cloned());
    for key in differing {
        let mut row = vec![key.clone()];
        row.extend(runs.iter().map(|run| {
            run.settings
                .get(key)
                .cloned()
                .unwrap_or_else(|| "–".to_owned())
        }));
        table.rows.push(row);
    }
    table.words()
}

fn chart(title: String, x: Axis, y: Axis, lines: Vec<Line>) -> Markup {
    LineChart {
        title,
        width: HALF,
        height: 320.0,
        x,
        y,
        lines,
        references: Vec::new(),
        shows_last: true,
    }
    .draw()
}

fn learning(runs: &[Run], labels: &[String], page: &mut Page) -> Markup {
    let quality = runs.first().map_or(Quality::Accuracy, Quality::of);
    let lines = |quality: Quality, cost: Cost| -> Vec<Line> {
        runs.iter()
            .zip(labels)
            .enumerate()
            .filter(|(_, (run, _))| has(run, cost))
            .map(|(index, (run, label))| Line::new(label, index, curve(run, quality, cost)))
            .collect()
    };
    let Some(first) = runs.first() else {
        return html! {};
    };
    let mut charts = Vec::new();
    for cost in [Cost::Rounds, Cost::Bytes, Cost::DeviceTime, Cost::Energy] {
        let lines = lines(quality, cost);
        if !lines.is_empty() {
            let title = format!("{} by {}", quality.title(), cost.title());
            charts.push(chart(title, cost.axis(), quality.axis(first), lines));
        }
    }
    if quality != Quality::Loss {
        let title = "Loss by round".to_owned();
        let axis = Quality::Loss.axis(first);
        charts.push(chart(
            title,
            Cost::Rounds.axis(),
            axis,
            lines(Quality::Loss, Cost::Rounds),
        ));
    }
    page.panels_figure(
        2,
        &format!("{} and loss of each run", quality.title()),
        &html! {
            "Of the global model on the test set. Costs are added up over rounds: bytes of message bodies in both directions, device time of each round’s slowest client, energy of all clients. A run without a cost is not in its chart."
        },
        &charts,
        &[
            by_round(runs, labels, quality.title(), &|round| quality.value(round)),
            by_round(runs, labels, "Loss", &|round| Some(round.loss)),
        ],
    )
}

/// A value of each round of each run.
fn by_round(
    runs: &[Run],
    labels: &[String],
    name: &str,
    value: &dyn Fn(&Round) -> Option<f64>,
) -> Table {
    let mut table = Table::new(&format!("{name} by round"), &["round"]);
    table.head.extend(labels.iter().cloned());
    let rounds: BTreeSet<u32> = runs
        .iter()
        .flat_map(|run| run.rounds.iter().map(|round| round.round))
        .collect();
    let mut columns: Vec<_> = runs
        .iter()
        .map(|run| run.rounds.iter().peekable())
        .collect();
    for number in rounds {
        let mut row = vec![number.to_string()];
        row.extend(columns.iter_mut().map(|rounds| {
            let round = rounds.next_if(|round| round.round == number);
            let value = round.and_then(value);
            value.map_or_else(|| "–".to_owned(), |value| significant(value, 4))
        }));
        table.rows.push(row);
    }
    table
}

fn costs(runs: &[Run], labels: &[String], page: &mut Page) -> Markup {
    let lines = |value: &dyn Fn(&Run, usize) -> Option<f64>| -> Vec<Line> {
        let of = |run: &Run| {
            let rounds = run.rounds.iter().enumerate();
            let points = rounds
                .filter_map(|(index, round)| Some((f64::from(round.round), value(run, index)?)));
            points.collect::<Vec<_>>()
        };
        runs.iter()
            .zip(labels)
            .enumerate()
            .map(|(index, (run, label))| Line::new(label, index, of(run)))
            .filter(|line| !line.points.is_empty())
            .collect()
    };
    let round = || Axis::new("round", Unit::Plain);
    let mut charts = Vec::new();
    let bytes = lines(&|run, index| {
        let round = run.rounds.get(index)?;
        Some(round.bytes_down as f64 + round.bytes_up as f64)
    });
    let y = Axis::new("message bodies a round", Unit::Bytes).with_zero();
    charts.push(chart("Bytes by round".to_owned(), round(), y, bytes));
    let device = lines(&|run, index| {
        let parts = run.parts.get(&run.rounds.get(index)?.round)?;
        Some(parts.total_max).filter(|seconds| *seconds > 0.0)
    });
    if !device.is_empty() {
        let y = Axis::time("length of a round", Clock::DeviceAndLink).with_zero();
        charts.push(chart("Length of rounds".to_owned(), round(), y, device));
    }
    let host = lines(&|run, index| Some(run.rounds.get(index)?.host_seconds));
    let y = Axis::time("length of a round", Clock::Host).with_zero();
    charts.push(chart("Host time by round".to_owned(), round(), y, host));
    page.panels_figure(
        2,
        "What each round cost",
        &html! {
            "The length of a round on the device and link clocks is that of its slowest client. Host time is that of the machine that ran zfl, and says nothing about devices."
        },
        &charts,
        &[
            by_round(runs, labels, "Bytes of messages", &|round| {
                Some(round.bytes_down as f64 + round.bytes_up as f64)
            }),
            by_round(runs, labels, "Host time (s, host clock)", &|round| Some(round.host_seconds)),
        ],
    )
}
