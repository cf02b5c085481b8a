//! The report of one run.

use maud::{Markup, html};
use zfl_lab::archive::Standing;
use zfl_lab::firmware::FirmwareSource;
use zfl_lab::kind::Kind;
use zfl_machine::{Board, Mcu};

use crate::chart::{
    Axis, Category, Grid, HorizontalBar, HorizontalBars, Intensities, Line, LineChart, Reference,
    Stack, StackedBars,
};
use crate::collect::{MemoryPeaks, OUTCOMES, OutcomeCounts, PartTimes, Round, Run};
use crate::curves::{Cost, Quality, curve, has};
use crate::number::{Clock, Unit, grouped, significant};
use crate::page::{Page, Table, key_figures};

/// Bars of a chart over rounds.
const BARS_MAX: usize = 100;
/// Columns of the picture of a partition.
const CLIENTS_MAX: usize = 200;

const WIDE: f64 = 1000.0;
const HALF: f64 = 488.0;
const THIRD: f64 = 318.0;

/// The page of a run.
pub(crate) fn page(run: &Run) -> Page {
    let mut page = Page::new(&run.name, lead(run));
    let content = what_was_run(run);
    page.section("run", "What was run", content);
    let content = learning(run, &mut page);
    page.section("learning", "Learning", content);
    let content = traffic(run, &mut page);
    page.section("traffic", "Traffic", content);
    let content = time(run, &mut page);
    page.section("time", "Time and energy", content);
    let content = clients(run, &mut page);
    page.section("clients", "Clients", content);
    let content = memory(run, &mut page);
    page.section("memory", "Memory", content);
    let content = partition(run, &mut page);
    page.section("partition", "Partition", content);
    let content = faults(run);
    page.section("faults", "Faults and incidents", content);
    page.section(
        "configuration",
        "Configuration and versions",
        configuration(run),
    );
    page
}

/// How the run stands, in a sentence.
pub(crate) fn standing(run: &Run) -> String {
    let rounds = run.rounds.len();
    let planned = run.settings.get("rounds").map_or("?", String::as_str);
    match &run.standing {
        Standing::Completed => format!("completed {rounds} rounds"),
        Standing::Running => format!("is being played: {rounds} of {planned} rounds so far"),
        Standing::Ended(why) => format!("ended after {rounds} of {planned} rounds: {why}"),
        Standing::CutOff => {
            format!("was cut off after {rounds} of {planned} rounds, before it could say why")
        }
    }
}

/// What a run came to: name, value, remark.
pub(crate) fn key_values(run: &Run) -> Vec<(&'static str, String, String)> {
    let mut values = Vec::new();
    let quality = Quality::of(run);
    let points = curve(run, quality, Cost::Rounds);
    if let Some((round, value)) = points.last() {
        let first = points.first().filter(|(round, _)| *round == 0.0);
        let before =
            first.map(|(_, first)| format!("{} before training; ", quality.unit().show(*first)));
        values.push((
            quality.name(),
            quality.unit().show(*value),
            format!("{}this after round {round}", before.unwrap_or_default()),
        ));
    }
    let failed = run.rounds.iter().filter(|round| is_failed(round)).count();
    values.push((
        "rounds",
        grouped(run.rounds.len() as f64),
        match failed {
            0 => "all with a quorum".to_owned(),
            failed => format!("{failed} without a quorum"),
        },
    ));
    let asked: u32 = run.outcomes.iter().sum();
    let ok = run.outcomes.first().copied().unwrap_or(0);
    values.push((
        "updates in the model",
        grouped(f64::from(ok)),
        format!("of {} asked for", grouped(f64::from(asked))),
    ));
    let sum = |bytes: fn(&Round) -> u64| {
        let rounds = run.rounds.iter();
        rounds.fold(0.0, |sum, round| sum + bytes(round) as f64)
    };
    let (down, up) = (sum(|round| round.bytes_down), sum(|round| round.bytes_up));
    values.push((
        "messages",
        Unit::Bytes.show(down + up),
        format!(
            "{} down, {} up",
            Unit::Bytes.show(down),
            Unit::Bytes.show(up)
        ),
    ));
    if has(run, Cost::DeviceTime) {
        let seconds: f64 = run.parts.values().map(|parts| parts.device_max).sum();
        values.push((
            "device time",
            Unit::Seconds.show(seconds),
            "device clock, slowest client of each round".to_owned(),
        ));
    }
    if has(run, Cost::Energy) {
        let energy: f64 = run.parts.values().filter_map(|parts| parts.energy_mj).sum();
        values.push((
            "energy",
            Unit::Millijoules.show(energy),
            "all clients, by profile".to_owned(),
        ));
    }
    let host: f64 = run.rounds.iter().map(|round| round.host_seconds).sum();
    values.push((
        "host time",
        Unit::Seconds.show(host),
        "host clock, rounds alone".to_owned(),
    ));
    values
}

fn is_failed(round: &Round) -> bool {
    round.outcome.as_deref() == Some("failed")
}

fn lead(run: &Run) -> Vec<Markup> {
    // A coordinator alone has clients that no fleet names.
    let clients = match &run.summary {
        Some(summary) => summary.clients,
        None => (0..)
            .map_while(|group| run.settings.get(&format!("fleet.{group}.count")))
            .filter_map(|count| count.parse::<u32>().ok())
            .fold(0, u32::saturating_add),
    };
    let mut lead = vec![html! {
        p class="lead" {
            "This run " (standing(run)) ". "
            (grouped(f64::from(clients))) " clients "
            @if run.standing == Standing::Running { "learn " } @else { "learned " }
            (run.chosen("data").unwrap_or_default())
            @if let Some(summary) = &run.summary {
                " with a model of " (grouped(f64::from(summary.parameters))) " parameters"
            }
            "."
        }
    }];
    if !run.cut_off.is_empty() {
        lead.push(html! {
            p class="warning" {
                "The last row of " (run.cut_off.join(", ")) " was cut off in mid-write and is left out."
            }
        });
    }
    lead.push(key_figures(&key_values(run)));
    lead
}

/// A chosen table of the experiment in a line: `digits (test-share 0.2)`.
fn chosen(run: &Run, table: &str) -> String {
    let Some(name) = run.chosen(table) else {
        return "–".to_owned();
    };
    let prefix = format!("{table}.{name}.");
    let details: Vec<String> = run
        .settings
        .iter()
        .filter_map(|(key, value)| Some(format!("{} {value}", key.strip_prefix(&prefix)?)))
        .collect();
    match details.is_empty() {
        true => name,
        false => format!("{name} ({})", details.join(", ")),
    }
}

fn what_was_run(run: &Run) -> Markup {
    let setting = |key: &str| run.text_setting(key).unwrap_or_else(|| "–".to_owned());
    let training = [
        "epochs",
        "batch-size",
        "learning-rate",
        "momentum",
        "arithmetic",
    ]
    .into_iter()
    .filter_map(|key| {
        let value = run.text_setting(&format!("training.{key}"))?;
        Some(format!("{} {value}", key.replace('-', " ")))
    })
    .collect::<Vec<_>>()
    .join(", ");
    let mut table = Table::new("All settings are at the end", &["", ""]);
    let mut row = |name: &str, value: String| table.rows.push(vec![name.to_owned(), value]);
    row("data", chosen(run, "data"));
    row("partition", chosen(run, "partition"));
    row("model", chosen(run, "model"));
    row("training", training);
    row("strategy", chosen(run, "strategy"));
    row(
        "rounds",
        format!(
            "{}, with {} clients each",
            setting("rounds"),
            setting("coordinator.clients-per-round")
        ),
    );
    for group in 0.. {
        let of = |key: &str| run.text_setting(&format!("fleet.{group}.{key}"));
        let Some(count) = of("count") else { break };
        let what = of("mcu")
            .or_else(|| of("board"))
            .unwrap_or_else(|| "no board".to_owned());
        let mut text = format!("{count} × {what}");
        let is_native = of("fidelity").as_deref() == Some("native");
        for key in ["fidelity", "link", "faults"] {
            // A native client has no link.
            if let Some(value) = of(key).filter(|_| key != "link" || !is_native) {
                text.push_str(&format!(", {key} {value}"));
            }
        }
        row(if group == 0 { "fleet" } else { "" }, text);
    }
    row("seed", setting("seed"));
    row("folder", run.path.display().to_string());
    table.words()
}

fn learning(run: &Run, page: &mut Page) -> Markup {
    if run.rounds.is_empty() {
        return html! { p { "No round was completed." } };
    }
    let quality = Quality::of(run);
    let target = run
        .settings
        .get("coordinator.target-accuracy")
        .and_then(|target| target.parse().ok())
        .filter(|_| quality == Quality::Accuracy);
    let chart = |quality: Quality, cost: Cost, width: f64| {
        LineChart {
            title: format!("{} by {}", quality.title(), cost.title()),
            width,
            height: if width < HALF { 240.0 } else { 290.0 },
            x: cost.axis(),
            y: quality.axis(run),
            lines: vec![Line::new("", quality.colour(), curve(run, quality, cost))],
            references: target
                .filter(|_| quality == Quality::Accuracy)
                .map(|level| Reference {
                    name: format!("target {level}"),
                    level,
                })
                .into_iter()
                .collect(),
            shows_last: true,
        }
        .draw()
    };
    let by_round = page.figure(
        &format!("{} and loss by round", quality.title()),
        &html! {
            "Of the global model on the test set after each round, which the host evaluates; round 0 is before training. "
            @if run.rounds.iter().any(is_failed) {
                "After a round without a quorum the model is the one before. "
            }
        },
        &[chart(quality, Cost::Rounds, HALF), chart(Quality::Loss, Cost::Rounds, HALF)],
        &[rounds_table(run, quality)],
    );
    let costs: Vec<Cost> = [Cost::Bytes, Cost::DeviceTime, Cost::Energy]
        .into_iter()
        .filter(|cost| has(run, *cost))
        .collect();
    let width = if costs.len() == 3 { THIRD } else { HALF };
    let charts: Vec<Markup> = [quality, Quality::Loss]
        .into_iter()
        .flat_map(|quality| costs.iter().map(move |cost| (quality, *cost)))
        .map(|(quality, cost)| chart(quality, cost, width))
        .collect();
    let missing: Vec<&str> = [Cost::DeviceTime, Cost::Energy]
        .into_iter()
        .filter(|cost| !costs.contains(cost))
        .map(Cost::title)
        .collect();
    let by_cost = page.panels_figure(
        costs.len(),
        "The same by what it cost",
        &html! {
            "Costs are added up over rounds. Bytes are those of message bodies, both directions. "
            @if costs.contains(&Cost::DeviceTime) {
                "Device time is that of each round's slowest client, on the device clock, without the link. "
            }
            @if costs.contains(&Cost::Energy) { "Energy is that of all clients together. " }
            @if !missing.is_empty() {
                "There is no " (missing.join(" and no ")) ": no client stands for a microcontroller whose profile would say it. "
            }
            (basis(run))
        },
        &charts,
        &[],
    );
    html! { (by_round) (by_cost) }
}

/// What device times rest on.
fn basis(run: &Run) -> Markup {
    html! {
        @if !run.bases.is_empty() {
            "Device time and energy rest on " (run.bases.iter().cloned().collect::<Vec<_>>().join("; ")) ". "
        }
        @if run.has_own_clock {
            "Where a client stands for no microcontroller, its device time is that of training by its emulated board’s own clock"
            @if run.text_setting("time.counting").as_deref() != Some("instructions") {
                ", which follows the host’s, as instructions were not counted"
            }
            ". "
        }
    }
}

fn rounds_table(run: &Run, quality: Quality) -> Table {
    let mut table = Table::new(
        "Rounds; costs of each round alone",
        &[
            "round",
            quality.name(),
            "loss (nats)",
            "updates",
            "bytes down",
            "bytes up",
            "device time (s, device clock)",
            "energy (mJ)",
            "host time (s, host clock)",
        ],
    );
    for round in &run.rounds {
        let parts = run.parts.get(&round.round);
        let optional = |value: Option<f64>| {
            value.map_or_else(|| "–".to_owned(), |value| significant(value, 4))
        };
        table.rows.push(vec![
            round.round.to_string(),
            optional(quality.value(round)),
            significant(round.loss, 4),
            format!("{}/{}", round.clients_ok, round.clients_selected),
            round.bytes_down.to_string(),
            round.bytes_up.to_string(),
            optional(
                parts
                    .map(|parts| parts.device_max)
                    .filter(|seconds| *seconds > 0.0),
            ),
            optional(parts.and_then(|parts| parts.energy_mj)),
            significant(round.host_seconds, 4),
        ]);
    }
    table
}

/// Rounds taken together so that there are few bars: from and to (of the axis), and
/// the mean of each value over the rounds of a bar.
struct Bins {
    spans: Vec<(f64, f64)>,
    size: usize,
}

impl Bins {
    fn of(rounds: &[Round]) -> Self {
        let size = rounds.len().div_ceil(BARS_MAX).max(1);
        let spans = rounds
            .chunks(size)
            .filter_map(|rounds| {
                let (first, last) = (rounds.first()?, rounds.last()?);
                Some((f64::from(first.round) - 0.5, f64::from(last.round) + 0.5))
            })
            .collect();
        Self { spans, size }
    }

    fn means(&self, rounds: &[Round], value: impl Fn(&Round) -> f64) -> Vec<f64> {
        let mean =
            |rounds: &[Round]| rounds.iter().map(&value).sum::<f64>() / rounds.len().max(1) as f64;
        rounds.chunks(self.size).map(mean).collect()
    }

    /// For a caption.
    fn remark(&self) -> String {
        match self.size {
            1 => String::new(),
            size => format!("Each bar is the mean of {size} rounds. "),
        }
    }
}

fn stack(name: &str, class: &str, values: Vec<f64>) -> Stack {
    Stack {
        name: name.to_owned(),
        class: class.to_owned(),
        values,
    }
}

fn traffic(run: &Run, page: &mut Page) -> Markup {
    if run.rounds.is_empty() {
        return html! { p { "Nothing was exchanged in a round." } };
    }
    let bins = Bins::of(&run.rounds);
    let has_wire = run
        .rounds
        .iter()
        .any(|round| round.nic_bytes_in.is_some_and(|bytes| bytes > 0));
    let number = |value: Option<u64>| value.unwrap_or(0) as f64;
    let bytes = |title: &str, down: &dyn Fn(&Round) -> f64, up: &dyn Fn(&Round) -> f64| {
        StackedBars {
            title: title.to_owned(),
            width: HALF,
            height: 260.0,
            x: Axis::new("round", Unit::Plain),
            y: Axis::new(format!("{title} a round"), Unit::Bytes),
            spans: bins.spans.clone(),
            stacks: vec![
                stack("down", "link-down", bins.means(&run.rounds, down)),
                stack("up", "link-up", bins.means(&run.rounds, up)),
            ],
        }
        .draw()
    };
    let messages = bytes(
        "message bodies",
        &|round| round.bytes_down as f64,
        &|round| round.bytes_up as f64,
    );
    let mut charts = vec![messages];
    let sum = |value: &dyn Fn(&Round) -> f64| run.rounds.iter().map(value).sum::<f64>();
    let mut table = Table::new(
        "Traffic by round; segments sent again and frames dropped of all devices",
        &["round", "bodies down (B)", "bodies up (B)"],
    );
    if has_wire {
        charts.push(bytes(
            "frames at the devices",
            &|round| number(round.nic_bytes_in),
            &|round| number(round.nic_bytes_out),
        ));
        table.head.extend(
            [
                "frames down (B)",
                "frames up (B)",
                "sent again down",
                "sent again up",
                "dropped",
            ]
            .map(str::to_owned),
        );
    }
    for round in &run.rounds {
        let mut row = vec![
            round.round.to_string(),
            round.bytes_down.to_string(),
            round.bytes_up.to_string(),
        ];
        if has_wire {
            row.extend(
                [
                    round.nic_bytes_in,
                    round.nic_bytes_out,
                    round.retransmissions_down,
                    round.retransmissions_up,
                    round.drops,
                ]
                .map(|value| value.map_or_else(|| "–".to_owned(), |value| value.to_string())),
            );
        }
        table.rows.push(row);
    }
    let segments = sum(&|round| number(round.segments_down) + number(round.segments_up));
    let again = sum(&|round| number(round.retransmissions_down) + number(round.retransmissions_up));
    let drops = sum(&|round| number(round.drops));
    let has_loss = again > 0.0 || drops > 0.0;
    let bodies = page.figure(
        "Bytes by round",
        &html! {
            "Message bodies as the coordinator counts them"
            @if has_wire {
                ", and whole frames at the devices’ network interfaces, headers, acknowledgements and frames sent again included"
            } @else if run.readiness.devices == 0 {
                "; native clients have no network"
            }
            ". Down is towards the device. " (bins.remark())
        },
        &charts,
        &[table],
    );
    let lossy = has_loss.then(|| {
        let chart = |title: &str, y: Axis, stacks: Vec<Stack>| {
            StackedBars {
                title: title.to_owned(),
                width: HALF,
                height: 240.0,
                x: Axis::new("round", Unit::Plain),
                y,
                spans: bins.spans.clone(),
                stacks,
            }
            .draw()
        };
        let mut charts = Vec::new();
        if again > 0.0 {
            charts.push(chart(
                "Retransmissions",
                Axis::new("sent again a round", Unit::Count("segments")),
                vec![
                    stack("down", "link-down", bins.means(&run.rounds, |round| number(round.retransmissions_down))),
                    stack("up", "link-up", bins.means(&run.rounds, |round| number(round.retransmissions_up))),
                ],
            ));
        }
        if drops > 0.0 {
            charts.push(chart(
                "Dropped frames",
                Axis::new("dropped a round", Unit::Count("frames")),
                vec![stack("", "s1", bins.means(&run.rounds, |round| number(round.drops)))],
            ));
        }
        page.figure(
            "Retransmissions and drops by round",
            &html! {
                "TCP segments that were sent again, and frames that links, queues and the switch dropped. " (bins.remark())
            },
            &charts,
            &[],
        )
    });
    html! {
        (bodies)
        @if let Some(lossy) = lossy { (lossy) }
        @if segments > 0.0 {
            p {
                (grouped(again)) " of " (grouped(segments)) " TCP segments were sent again ("
                (significant(again / segments * 100.0, 2)) "\u{a0}%), and " (grouped(drops)) @if drops == 1.0 { " frame was dropped." } @else { " frames were dropped." }
            }
        }
        @if run.readiness.nic_bytes_in > 0 {
            p {
                "Before round 1, " (Unit::Bytes.show(run.readiness.nic_bytes_in as f64))
                " of frames went to " (run.readiness.devices) " devices, most of it their training data."
            }
        }
    }
}

fn time(run: &Run, page: &mut Page) -> Markup {
    let bins = Bins::of(&run.rounds);
    let parts = |round: &Round| run.parts.get(&round.round);
    let mean = |round: &Round, value: &dyn Fn(&PartTimes) -> f64| {
        parts(round).map_or(0.0, |parts| {
            value(&parts.sum) / f64::from(parts.count.max(1))
        })
    };
    let has_times = has(run, Cost::DeviceTime);
    let has_link = run
        .parts
        .values()
        .any(|parts| parts.sum.down + parts.sum.up > 0.0);
    let clock = if has_link {
        Clock::DeviceAndLink
    } else {
        Clock::Device
    };
    let timeline = has_times.then(|| {
        let down = bins.means(&run.rounds, |round| mean(round, &|sum| sum.down));
        let device = bins.means(&run.rounds, |round| mean(round, &|sum| sum.device));
        let up = bins.means(&run.rounds, |round| mean(round, &|sum| sum.up));
        let wait = bins.means(&run.rounds, |round| {
            parts(round).map_or(0.0, |parts| parts.total_max)
                - mean(round, &|sum| sum.down + sum.device + sum.up)
        });
        let mut table = Table::new(
            "Mean part of the clients of a round",
            &[
                "rounds",
                "down (s, link clock)",
                "device (s, device clock)",
                "up (s, link clock)",
                "wait (s, device + link clock)",
            ],
        );
        for (index, (from, to)) in bins.spans.iter().enumerate() {
            let cell = |values: &[f64]| {
                significant(values.get(index).copied().unwrap_or(f64::NAN), 4)
            };
            let (from, to) = (from + 0.5, to - 0.5);
            let name = if from == to { format!("{from}") } else { format!("{from}–{to}") };
            table.rows.push(vec![name, cell(&down), cell(&device), cell(&up), cell(&wait)]);
        }
        let mut stacks = vec![
            stack("down (link clock)", "link-down", down),
            stack("device (device clock)", "device", device),
            stack("up (link clock)", "link-up", up),
            stack("wait for the slowest", "wait", wait),
        ];
        if !has_link {
            stacks.retain(|stack| stack.class == "device" || stack.class == "wait");
        }
        let chart = StackedBars {
            title: "Round timeline".to_owned(),
            width: WIDE,
            height: 300.0,
            x: Axis::new("round", Unit::Plain),
            y: Axis::time("length of a round", clock),
            spans: bins.spans.clone(),
            stacks,
        }
        .draw();
        page.figure(
            "Round timeline: what a client spends a round on",
            &html! {
                "The height is the round’s slowest client; the pieces are the mean over its clients whose updates arrived. "
                @if has_link {
                    "Down and up are the link model’s time in each direction, in which acknowledgements are included, so that the two overlap a little and the sum is an upper bound. "
                }
                "Host time is in none of it. " (bins.remark()) (basis(run))
            },
            &[chart],
            &[table],
        )
    });
    let mut charts = Vec::new();
    if let Some((round, times)) = &run.last_round {
        let mut times = times.clone();
        times.sort_by(|one, other| one.total().total_cmp(&other.total()));
        let longest = times.last().map_or(0.0, PartTimes::total);
        let of = |value: &dyn Fn(&PartTimes) -> f64| times.iter().map(value).collect::<Vec<_>>();
        let mut stacks = vec![
            stack("down", "link-down", of(&|times| times.down)),
            stack("device", "device", of(&|times| times.device)),
            stack("up", "link-up", of(&|times| times.up)),
            stack("wait", "wait", of(&|times| longest - times.total())),
        ];
        if !has_link {
            stacks.retain(|stack| stack.class == "device" || stack.class == "wait");
        }
        // The last bar waits for nobody, and has no name for it.
        let spans = (0..times.len())
            .map(|index| (index as f64 + 0.5, index as f64 + 1.5))
            .collect();
        charts.push(
            StackedBars {
                title: format!("Clients of round {round}"),
                width: HALF,
                height: 270.0,
                x: Axis::new(
                    format!("clients of round {round}, quickest first"),
                    Unit::Plain,
                ),
                y: Axis::time("part of a client", clock),
                spans,
                stacks,
            }
            .draw(),
        );
    }
    let host = LineChart {
        title: "Host time by round".to_owned(),
        width: HALF,
        height: 270.0,
        x: Axis::new("round", Unit::Plain),
        y: Axis::time("length of a round", Clock::Host).with_zero(),
        lines: vec![Line::new(
            "",
            4,
            run.rounds
                .iter()
                .map(|round| (f64::from(round.round), round.host_seconds))
                .collect(),
        )],
        references: Vec::new(),
        shows_last: true,
    };
    let has_rounds = !run.rounds.is_empty();
    if has_rounds {
        charts.push(host.draw());
    }
    let beside = has_rounds.then(|| {
        page.figure(
            match run.last_round {
                Some(_) => "The clients of one round, and what rounds took on the host",
                None => "What rounds took on the host",
            },
            &html! {
                @if let Some((round, times)) = &run.last_round {
                    "Left: " (times.len()) " clients of round " (round) ". Right: wall time of"
                } @else {
                    "Wall time of"
                }
                " the machine that ran zfl, from the first start message to the evaluation; it says nothing about devices."
            },
            &charts,
            &[],
        )
    });
    html! {
        @match timeline {
            Some(timeline) => (timeline),
            None => p {
                "No device time is known: the clients were native, and stand for no microcontroller whose instructions were counted ("
                code { "zfl calibrate FILE --emulate" } ")."
            },
        }
        @if let Some(beside) = beside { (beside) }
        @if let Some(seconds) = run.readiness.ready_host_seconds_max {
            p {
                (run.readiness.devices) " devices were ready after " (Unit::Seconds.show(seconds)) " of host time"
                @if let Some(boot) = run.readiness.boot_host_seconds_max {
                    "; the last one began to run after " (Unit::Seconds.show(boot))
                }
                "."
            }
        }
    }
}

fn clients(run: &Run, page: &mut Page) -> Markup {
    let grid = &run.grid;
    if grid.rows.is_empty() {
        return html! { p { "No client was selected." } };
    }
    let is_exact = grid.clients_per_row == 1 && grid.rounds_per_column == 1;
    let categories = |names: &[(&str, &str)]| {
        names
            .iter()
            .map(|(name, class)| Category {
                name: (*name).to_owned(),
                class: (*class).to_owned(),
            })
            .collect::<Vec<_>>()
    };
    let (categories, rows): (Vec<Category>, Vec<Vec<Option<usize>>>) = if is_exact {
        let found: Vec<usize> = (0..OUTCOMES.len())
            .filter(|index| run.outcomes.get(*index).is_some_and(|count| *count > 0))
            .collect();
        let names: Vec<(&str, &str)> = found
            .iter()
            .filter_map(|index| OUTCOMES.get(*index))
            .map(|name| (*name, *name))
            .collect();
        let category = |counts: &OutcomeCounts| {
            let outcome = counts.iter().position(|count| *count > 0)?;
            found.iter().position(|index| *index == outcome)
        };
        let rows = grid
            .rows
            .iter()
            .map(|row| row.iter().map(category).collect());
        (categories(&names), rows.collect())
    } else {
        let category = |counts: &OutcomeCounts| {
            let all: u32 = counts.iter().sum();
            // The first two are no failures.
            let bad: u32 = counts.iter().skip(2).sum();
            match (all, bad) {
                (0, _) => None,
                (_, 0) => Some(0),
                (all, bad) if bad * 10 <= all => Some(1),
                (all, bad) if bad * 2 <= all => Some(2),
                _ => Some(3),
            }
        };
        let rows = grid
            .rows
            .iter()
            .map(|row| row.iter().map(category).collect());
        let names = [
            ("all ok", "ok"),
            ("up to a tenth failed", "few"),
            ("up to half failed", "late"),
            ("more failed", "unreachable"),
        ];
        (categories(&names), rows.collect())
    };
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let words: Vec<String> = OUTCOMES
        .iter()
        .zip(run.outcomes)
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{} {name}", grouped(f64::from(count))))
        .collect();
    let chart = Grid {
        title: "Outcomes by client and round".to_owned(),
        description: format!("Parts of clients: {}.", words.join(", ")),
        width: WIDE,
        x: Axis::new("round", Unit::Plain),
        x_range: (
            0.5,
            0.5 + columns as f64 * f64::from(grid.rounds_per_column),
        ),
        y: Axis::new("client", Unit::Count("client")),
        y_range: (
            -0.5,
            rows.len() as f64 * f64::from(grid.clients_per_row) - 0.5,
        ),
        categories,
        rows,
    }
    .draw();
    let mut table = Table::new("How the parts of clients ended", &["outcome", "parts"]);
    for (name, count) in OUTCOMES.iter().zip(run.outcomes) {
        table.rows.push(vec![(*name).to_owned(), count.to_string()]);
    }
    let figure = page.figure(
        "Outcome of each client in each round",
        &html! {
            (words.join(", ")) ". An empty place is a client that was not selected. "
            @if !is_exact {
                "A cell takes together " (grid.clients_per_row) " clients and " (grid.rounds_per_column) " rounds. "
            }
            @if run.outcomes.get(1).is_some_and(|count| *count > 0) { "Surplus: others were faster. " }
        },
        &[chart],
        &[table],
    );
    let mut failed = Table::new(
        &format!(
            "Parts that failed: {} of {}",
            run.failed_parts.len(),
            grouped(run.failed_part_count as f64)
        ),
        &["round", "client", "outcome", "why"],
    );
    for part in &run.failed_parts {
        failed.rows.push(vec![
            part.round.to_string(),
            part.client.to_string(),
            part.outcome.clone(),
            part.detail.clone(),
        ]);
    }
    html! {
        (figure)
        @if !failed.rows.is_empty() { h3 { "Parts that failed" } (failed.words()) }
    }
}

/// A bar of a use of memory against its limit.
fn memory_bar(name: String, used: u64, limit: Option<u64>) -> HorizontalBar {
    let show = |bytes: u64| Unit::MemoryBytes.show(bytes as f64);
    let (share, text) = match limit.filter(|limit| *limit > 0) {
        Some(limit) => {
            let share = used as f64 / limit as f64;
            let percent = significant(share * 100.0, 2);
            (
                share,
                format!("{} of {} ({percent}\u{a0}%)", show(used), show(limit)),
            )
        }
        None => (0.0, format!("{}, no limit known", show(used))),
    };
    HorizontalBar {
        name,
        share,
        text,
        class: if share > 1.0 { "over" } else { "device" }.to_owned(),
    }
}

/// What the clients of a board, or part, may have for data, model and scratch.
fn arena_limit(run: &Run, peaks: &MemoryPeaks, board: Board) -> Option<u64> {
    let firmware = FirmwareSource {
        folder: Some(run.path.join("firmware")),
        carried: &[],
    };
    let mcu = match &peaks.mcu {
        Some(mcu) => Some(Mcu::find(mcu).ok()?),
        None => None,
    };
    // Devices may have been given less than there is.
    let ram_bytes = (0..)
        .map(|group| format!("fleet.{group}"))
        .take_while(|group| run.settings.contains_key(&format!("{group}.count")))
        .filter(|group| {
            let of = |key: &str| run.text_setting(&format!("{group}.{key}"));
            of("mcu") == peaks.mcu
                && (peaks.mcu.is_some() || of("board").as_ref() == Some(&peaks.board))
        })
        .filter_map(|group| {
            run.settings
                .get(&format!("{group}.ram-bytes"))?
                .parse()
                .ok()
        })
        .min();
    let arena_bytes = board.memory.arena.size_bytes;
    let kind = Kind::find(board, mcu, ram_bytes, &firmware).ok()?;
    Some(u64::from(kind.arena_limit_bytes().unwrap_or(arena_bytes)))
}

fn memory(run: &Run, page: &mut Page) -> Markup {
    let mut bars = Vec::new();
    let mut table = Table::new(
        "Most memory that a client of each used, in bytes",
        &[
            "board or part",
            "clients",
            "stack",
            "its limit",
            "arena",
            "its limit",
            "flash",
            "its limit",
        ],
    );
    for peaks in run.memory.iter().filter(|peaks| peaks.board != "native") {
        let name = peaks.mcu.as_deref().unwrap_or(&peaks.board);
        let board = Board::find(&peaks.board).ok();
        let arena_limit = board
            .clone()
            .and_then(|board| arena_limit(run, peaks, board));
        let mcu = peaks.mcu.as_deref().and_then(|mcu| Mcu::find(mcu).ok());
        let stack_limit = board
            .as_ref()
            .map(|board| u64::from(board.memory.stack_bytes));
        let flash_limit = match &mcu {
            Some(mcu) => Some(mcu.flash_bytes.value as u64),
            None => board
                .as_ref()
                .map(|board| u64::from(board.memory.flash.size_bytes)),
        };
        let cell =
            |value: Option<u64>| value.map_or_else(|| "–".to_owned(), |value| value.to_string());
        bars.push(memory_bar(
            format!("{name}: arena"),
            peaks.arena_bytes,
            arena_limit,
        ));
        if peaks.stack_bytes > 0 {
            bars.push(memory_bar(
                format!("{name}: stack"),
                peaks.stack_bytes,
                stack_limit,
            ));
        }
        if let Some(flash) = peaks.flash_bytes {
            bars.push(memory_bar(format!("{name}: flash"), flash, flash_limit));
        }
        table.rows.push(vec![
            name.to_owned(),
            peaks.clients.len().to_string(),
            peaks.stack_bytes.to_string(),
            cell(stack_limit),
            peaks.arena_bytes.to_string(),
            cell(arena_limit),
            cell(peaks.flash_bytes),
            cell(flash_limit),
        ]);
    }
    let native = run.memory.iter().find(|peaks| peaks.board == "native");
    let misfits = run.summary.iter().flat_map(|summary| &summary.misfits);
    let mut unfit = Table::new(
        "Devices that take no part: their memory is too small",
        &["client", "why"],
    );
    unfit.rows = misfits
        .map(|misfit| vec![misfit.client.to_string(), misfit.reason.clone()])
        .collect();
    html! {
        @if !bars.is_empty() {
            @let chart = HorizontalBars {
                title: "Memory by board".to_owned(),
                width: WIDE,
                whole: "used of what there is".to_owned(),
                bars,
            };
            (page.figure(
                "Memory against its limits",
                &html! {
                    "High-water marks of the clients that used most. The arena holds a client’s data, model and scratch; its limit is what the firmware leaves. The stack’s is what is reserved for it, with a guard below. "
                },
                &[chart.draw()],
                &[table],
            ))
        }
        @if let Some(native) = native {
            p {
                "Native clients laid out at most " (Unit::MemoryBytes.show(native.arena_bytes as f64))
                " each, which is what a device would need for data, model and scratch; they have no limit."
            }
        }
        @if run.memory.is_empty() { p { "No client has reported its memory." } }
        @if !unfit.rows.is_empty() { (unfit.words()) }
    }
}

/// Whether a number is learnt, and not classes.
fn learns_number(run: &Run) -> bool {
    let mut keys = run.settings.keys();
    keys.any(|key| key.starts_with("data.") && key.ends_with(".target"))
}

fn partition(run: &Run, page: &mut Page) -> Markup {
    let holdings = &run.holdings;
    if holdings.shares.is_empty() {
        return html! {
            p { "The samples were dealt out by " (chosen(run, "partition")) "; this run has no partition.csv, in which zfl writes who holds what." }
        };
    }
    let size = holdings.shares.len().div_ceil(CLIENTS_MAX).max(1);
    let rows: Vec<Vec<f64>> = (0..holdings.classes.len())
        .map(|class| {
            let held = |share: &zfl_lab::archive::Share| {
                share.by_class.get(class).map_or(0.0, |count| *count as f64)
            };
            let chunks = holdings.shares.chunks(size);
            chunks
                .map(|shares| shares.iter().map(held).sum::<f64>())
                .collect()
        })
        .collect();
    let samples = || holdings.shares.iter().map(|share| share.samples);
    let (least, most) = (samples().min().unwrap_or(0), samples().max().unwrap_or(0));
    // Numbers are dealt out by the tenths of their values.
    let (one, many) = match learns_number(run) {
        true => ("tenth", "tenths of the values"),
        false => ("class", "classes"),
    };
    let classes_held =
        |share: &zfl_lab::archive::Share| share.by_class.iter().filter(|count| **count > 0).count();
    let classes_mean = holdings.shares.iter().map(classes_held).sum::<usize>() as f64
        / holdings.shares.len() as f64;
    let title = format!("Samples by client and {one}");
    let mut table = Table::new(&title, &["client", "samples"]);
    table.head.extend(holdings.classes.iter().cloned());
    for share in &holdings.shares {
        let mut row = vec![share.client.to_string(), share.samples.to_string()];
        row.extend(share.by_class.iter().map(u64::to_string));
        table.rows.push(row);
    }
    let caption = html! {
        "Dealt out by " (chosen(run, "partition")) ". " (grouped(holdings.shares.len() as f64)) " clients hold "
        (grouped(least as f64)) " to " (grouped(most as f64)) " samples each"
        @if !rows.is_empty() { ", of " (significant(classes_mean, 2)) " " (many) " in the mean" }
        ". "
        @if !rows.is_empty() && learns_number(run) {
            "Tenth 0 has the lowest values of the training part, tenth 9 the highest. "
        }
        @if size > 1 { "A column takes together " (size) " clients. " }
    };
    if rows.is_empty() {
        return html! { p { (caption) } (table.open()) };
    }
    let short = |name: &String| name.strip_prefix("class_").unwrap_or(name).to_owned();
    let chart = Intensities {
        title,
        description: format!(
            "{} clients and {} {many}; {least} to {most} samples a client.",
            holdings.shares.len(),
            holdings.classes.len()
        ),
        width: WIDE,
        x: Axis::new("client", Unit::Count("client")),
        x_range: (-0.5, holdings.shares.len() as f64 - 0.5),
        names: holdings.classes.iter().map(short).collect(),
        rows_name: one.to_owned(),
        rows,
        unit: Unit::Count("samples"),
    };
    page.figure(
        &format!("Who holds what: samples by client and {one}"),
        &caption,
        &[chart.draw()],
        &[table],
    )
}

fn faults(run: &Run) -> Markup {
    let mut table = Table::new(
        "Parts with a fault on purpose, by how they ended; a part may have several",
        &["fault"],
    );
    table.head.extend(OUTCOMES.map(str::to_owned));
    for (kind, counts) in &run.faults {
        let mut row = vec![kind.clone()];
        row.extend(counts.map(|count| count.to_string()));
        table.rows.push(row);
    }
    let mut incidents = Table::new("Incidents, from events.jsonl", &["event", "times"]);
    for (name, count) in &run.incidents {
        incidents.rows.push(vec![name.clone(), count.to_string()]);
    }
    let mut devices = Table::new("Devices that failed", &["client", "why"]);
    let mut refused = Table::new("Requests that the coordinator refused", &["kind", "times"]);
    let mut unaccounted = 0;
    if let Some(summary) = &run.summary {
        for failure in &summary.failures {
            devices
                .rows
                .push(vec![failure.client.to_string(), failure.reason.clone()]);
        }
        for (kind, count) in summary.refused.iter().filter(|(_, count)| **count > 0) {
            refused.rows.push(vec![kind.clone(), count.to_string()]);
        }
        unaccounted = summary.faults_unaccounted;
    }
    let tables = [&table, &incidents, &refused];
    html! {
        @if tables.iter().all(|table| table.rows.is_empty()) && devices.rows.is_empty() {
            p { "None: no fault was made on purpose, no device failed, and no request was refused." }
        }
        @if unaccounted > 0 {
            p class="warning" { (unaccounted) " faults do not fit the outcome of their part, which is a fault of zfl." }
        }
        @for table in tables {
            @if !table.rows.is_empty() { (table.open()) }
        }
        @if !devices.rows.is_empty() { (devices.words()) }
    }
}

/// Configuration and versions, also of one run among several.
pub(crate) fn configuration(run: &Run) -> Markup {
    let mut table = Table::new("Versions and hashes", &["", ""]);
    let mut row = |name: &str, value: String| table.rows.push(vec![name.to_owned(), value]);
    if let Some(summary) = &run.summary {
        row("zfl", summary.version.clone());
        row("model SHA-256", summary.model_sha256.clone());
    }
    for (name, bytes, hash) in &run.images {
        row(name, format!("{bytes} bytes, SHA-256 {hash}"));
    }
    html! {
        @if !table.rows.is_empty() { (table.words()) }
        p { "The experiment with every default, as " code { "experiment.toml" } " has it; " code { "zfl run" } " plays it again." }
        pre tabindex="0" aria-label="experiment.toml" { (run.experiment_text) }
    }
}
