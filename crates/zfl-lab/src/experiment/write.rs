//! An experiment as the file in which nothing is left to a default.

use std::fmt::{self, Display, Write};
use std::path::Path;
use std::time::Duration;

use zfl_data::table::Learns;
use zfl_data::{Scheme, ShareSizes};

use super::{
    Arithmetic, Availability, CnnLayer, Data, Experiment, FaultKind, FaultModel, LateUpdates, Link,
    Model, ModelKind, NpzData, OnFailedRound, Schedule, Strategy, TableData, TestRows, Training,
};

/// A line of a table.
struct Line<'a>(&'static str, &'a dyn Display);

impl Display for Line<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{} = {}", self.0, self.1)
    }
}

/// Text in quotes.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A path in quotes. Those of an experiment come from TOML, so they are text.
fn path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// The shortest decimal that reads back, through double precision, as `value`.
fn single(value: f32) -> String {
    let short = toml::Value::from(value.to_string().parse::<f64>().unwrap_or_default());
    #[expect(clippy::cast_possible_truncation, reason = "what reading does")]
    let reads_back = short.as_float().map(|read| read as f32) == Some(value);
    match reads_back {
        true => short.to_string(),
        false => toml::Value::from(f64::from(value)).to_string(),
    }
}

fn seconds(duration: Duration) -> String {
    match duration.subsec_nanos() {
        0 => duration.as_secs().to_string(),
        _ => toml::Value::from(duration.as_secs_f64()).to_string(),
    }
}

fn write_experiment(experiment: &Experiment, out: &mut String) -> fmt::Result {
    write!(out, "{}", Line("name", &quoted(&experiment.name)))?;
    write!(out, "{}", Line("seed", &experiment.seed))?;
    write!(out, "{}", Line("rounds", &experiment.rounds))?;
    write!(out, "{}", Line("parallel", &experiment.parallel))?;
    write!(
        out,
        "{}",
        Line("network", &quoted(experiment.network.name()))
    )?;

    match &experiment.data {
        Data::Digits { test_share } => {
            writeln!(out, "\n[data.digits]")?;
            let test_share = toml::Value::from(*test_share);
            write!(out, "{}", Line("test-share", &test_share))?;
        }
        Data::Mnist { folder } => {
            writeln!(out, "\n[data.mnist]")?;
            if let Some(folder) = folder {
                write!(out, "{}", Line("folder", &path(folder)))?;
            }
        }
        Data::Idx(idx) => {
            writeln!(out, "\n[data.idx]")?;
            write!(out, "{}", Line("train-images", &path(&idx.train_images)))?;
            write!(out, "{}", Line("train-labels", &path(&idx.train_labels)))?;
            write!(out, "{}", Line("test-images", &path(&idx.test_images)))?;
            write!(out, "{}", Line("test-labels", &path(&idx.test_labels)))?;
            write!(out, "{}", Line("value-scale", &single(idx.value_scale)))?;
            if let Some(classes) = idx.classes {
                write!(out, "{}", Line("classes", &classes))?;
            }
        }
        Data::Csv(table) => write_table("csv", table, out)?,
        Data::Parquet(table) => write_table("parquet", table, out)?,
        Data::Npz(npz) => write_npz(npz, out)?,
    }

    let (name, keys) = partition_keys(experiment.partition);
    writeln!(out, "\n[partition.{name}]")?;
    for (key, value) in keys {
        write!(out, "{}", Line(key, &value))?;
    }

    writeln!(out, "\n[feature-noise]")?;
    let sigma = toml::Value::from(experiment.feature_noise_sigma);
    write!(out, "{}", Line("sigma", &sigma))?;

    write_model(&experiment.model, out)?;
    write_training(&experiment.training, out)?;

    match experiment.strategy {
        Strategy::FedAvg => writeln!(out, "\n[strategy.fed-avg]")?,
    }

    let coordinator = &experiment.coordinator;
    writeln!(out, "\n[coordinator]")?;
    if let Some(clients_per_round) = coordinator.clients_per_round {
        write!(out, "{}", Line("clients-per-round", &clients_per_round))?;
    }
    let over_selection = toml::Value::from(coordinator.over_selection);
    write!(out, "{}", Line("over-selection", &over_selection))?;
    if let Some(quorum) = coordinator.quorum {
        write!(out, "{}", Line("quorum", &quorum))?;
    }
    let on_failed_round = quoted(coordinator.on_failed_round.name());
    write!(out, "{}", Line("on-failed-round", &on_failed_round))?;
    if let OnFailedRound::Continue { failed_rounds_max } = coordinator.on_failed_round {
        write!(out, "{}", Line("failed-rounds-max", &failed_rounds_max))?;
    }
    write!(out, "{}", Line("rest-rounds", &coordinator.rest_rounds))?;
    let rest_rounds_max = &coordinator.rest_rounds_max;
    write!(out, "{}", Line("rest-rounds-max", rest_rounds_max))?;
    match coordinator.late_updates {
        LateUpdates::Drop => write!(out, "{}", Line("staleness-rounds-max", &0))?,
        LateUpdates::Use {
            rounds_max,
            exponent,
        } => {
            let exponent = toml::Value::from(exponent);
            write!(out, "{}", Line("staleness-rounds-max", &rounds_max))?;
            write!(out, "{}", Line("staleness-exponent", &exponent))?;
        }
    }
    if let Some(target_accuracy) = coordinator.target_accuracy {
        let target_accuracy = toml::Value::from(target_accuracy);
        write!(out, "{}", Line("target-accuracy", &target_accuracy))?;
    }
    write!(out, "{}", Line("port", &coordinator.port))?;

    let deadlines = &experiment.deadlines;
    writeln!(out, "\n[deadlines]")?;
    write!(out, "{}", Line("boot-s", &seconds(deadlines.boot)))?;
    write!(out, "{}", Line("ready-s", &seconds(deadlines.ready)))?;
    write!(out, "{}", Line("round-s", &seconds(deadlines.round)))?;
    if let Some(past) = deadlines.round_past {
        let (quantile, factor) = (past.quantile.into(), past.factor.into());
        let (quantile, factor): (toml::Value, toml::Value) = (quantile, factor);
        write!(out, "{}", Line("round-quantile", &quantile))?;
        write!(out, "{}", Line("round-factor", &factor))?;
    }

    writeln!(out, "\n[time]")?;
    let counting = quoted(experiment.time.counting.name());
    write!(out, "{}", Line("counting", &counting))?;

    for (name, link) in &experiment.links {
        write_link(name, link, out)?;
    }
    for (name, model) in &experiment.faults {
        write_faults(name, model, out)?;
    }

    for group in &experiment.fleet {
        writeln!(out, "\n[[fleet]]")?;
        write!(out, "{}", Line("board", &quoted(&group.board)))?;
        if let Some(mcu) = &group.mcu {
            write!(out, "{}", Line("mcu", &quoted(mcu)))?;
        }
        write!(out, "{}", Line("fidelity", &quoted(group.fidelity.name())))?;
        write!(out, "{}", Line("count", &group.count))?;
        if let Some(bytes) = group.ram_bytes {
            write!(out, "{}", Line("ram-bytes", &bytes))?;
        }
        write!(
            out,
            "{}",
            Line("on-misfit", &quoted(group.on_misfit.name()))
        )?;
        if let Some(count) = group.samples_max {
            write!(out, "{}", Line("samples-max", &count))?;
        }
        write!(out, "{}", Line("link", &quoted(&group.link)))?;
        if let Some(name) = &group.faults {
            write!(out, "{}", Line("faults", &quoted(name)))?;
        }
    }
    Ok(())
}

fn names(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    format!("[{}]", names.join(", "))
}

fn range((minimum, maximum): (f64, f64)) -> String {
    let number = toml::Value::from;
    format!("[{}, {}]", number(minimum), number(maximum))
}

fn write_table(name: &str, table: &TableData, out: &mut String) -> fmt::Result {
    let columns = &table.columns;
    writeln!(out, "\n[data.{name}]")?;
    write!(out, "{}", Line("file", &path(&table.file)))?;
    match &table.test {
        TestRows::File(file) => write!(out, "{}", Line("test-file", &path(file)))?,
        TestRows::Share(share) => {
            let share = toml::Value::from(*share);
            write!(out, "{}", Line("test-share", &share))?;
        }
    }
    let key = match columns.learns {
        Learns::Classes => "label",
        Learns::Values => "target",
    };
    write!(out, "{}", Line(key, &quoted(&columns.label)))?;
    if !columns.features.is_empty() {
        write!(out, "{}", Line("features", &names(&columns.features)))?;
    }
    if !columns.ignore.is_empty() {
        write!(out, "{}", Line("ignore", &names(&columns.ignore)))?;
    }
    if let Some(group) = &columns.group {
        write!(out, "{}", Line("group", &quoted(group)))?;
    }
    if !columns.shape.is_empty() {
        let sizes: Vec<String> = columns.shape.iter().map(usize::to_string).collect();
        write!(out, "{}", Line("shape", &format!("[{}]", sizes.join(", "))))?;
    }
    if let Some(all) = columns.ranges.all {
        write!(out, "{}", Line("range", &range(all)))?;
    }
    if !columns.ranges.columns.is_empty() {
        writeln!(out, "\n[data.{name}.ranges]")?;
        // As a table: a name may be any text, and a key is quoted otherwise.
        let ranges = columns.ranges.columns.iter();
        let ranges: toml::Table = ranges
            .map(|(column, (low, high))| (column.clone(), vec![*low, *high].into()))
            .collect();
        write!(out, "{ranges}")?;
    }
    Ok(())
}

fn write_npz(npz: &NpzData, out: &mut String) -> fmt::Result {
    let arrays = &npz.arrays;
    writeln!(out, "\n[data.npz]")?;
    write!(out, "{}", Line("file", &path(&npz.file)))?;
    write!(out, "{}", Line("samples", &quoted(&arrays.samples)))?;
    let (key, test_key) = match arrays.learns {
        Learns::Classes => ("labels", "test-labels"),
        Learns::Values => ("target", "test-target"),
    };
    write!(out, "{}", Line(key, &quoted(&arrays.labels)))?;
    if let Some(groups) = &arrays.groups {
        write!(out, "{}", Line("groups", &quoted(groups)))?;
    }
    match &arrays.test {
        Some((samples, labels)) => {
            write!(out, "{}", Line("test-samples", &quoted(samples)))?;
            write!(out, "{}", Line(test_key, &quoted(labels)))?;
        }
        None => {
            let share = toml::Value::from(npz.test_share);
            write!(out, "{}", Line("test-share", &share))?;
        }
    }
    match arrays.range {
        Some(all) => write!(out, "{}", Line("range", &range(all))),
        None => Ok(()),
    }
}

/// The table of a partition, and its keys with their values.
pub(super) fn partition_keys(
    partition: Scheme,
) -> (&'static str, Vec<(&'static str, toml::Value)>) {
    let whole = |number: u32| toml::Value::from(number);
    match partition {
        Scheme::Iid => ("iid", Vec::new()),
        Scheme::IidSubset { samples_per_client } => {
            let count = ("samples-per-client", whole(samples_per_client));
            ("iid", vec![count])
        }
        Scheme::Shards { per_client } => ("shards", vec![("per-client", whole(per_client))]),
        Scheme::Dirichlet { alpha, samples_min } => (
            "dirichlet",
            vec![("alpha", alpha.into()), ("samples-min", whole(samples_min))],
        ),
        Scheme::LabelLimited { classes } => ("label-limited", vec![("classes", whole(classes))]),
        Scheme::QuantitySkew { sizes, samples_min } => {
            let (name, law) = match sizes {
                ShareSizes::PowerLaw { exponent } => {
                    ("quantity-skew.power-law", ("exponent", exponent.into()))
                }
                ShareSizes::Dirichlet { alpha } => {
                    ("quantity-skew.dirichlet", ("alpha", alpha.into()))
                }
            };
            (name, vec![law, ("samples-min", whole(samples_min))])
        }
        Scheme::Natural => ("natural", Vec::new()),
    }
}

fn write_link(name: &str, link: &Link, out: &mut String) -> fmt::Result {
    let number = toml::Value::from;
    writeln!(out, "\n[link.{name}]")?;
    let rate_up = number(link.rate_up_kbps);
    write!(out, "{}", Line("rate-up-kbps", &rate_up))?;
    let rate_down = number(link.rate_down_kbps);
    write!(out, "{}", Line("rate-down-kbps", &rate_down))?;
    write!(out, "{}", Line("overhead-bytes", &link.overhead_bytes))?;
    write!(out, "{}", Line("burst-bytes", &link.burst_bytes))?;
    write!(out, "{}", Line("delay-ms", &number(link.delay_ms)))?;
    write!(out, "{}", Line("jitter-ms", &number(link.jitter_ms)))?;
    write!(out, "{}", Line("reorder", &link.reorder))?;
    write!(out, "{}", Line("loss", &number(link.loss)))?;
    write!(out, "{}", Line("duplicate", &number(link.duplicate)))?;
    write!(out, "{}", Line("corrupt", &number(link.corrupt)))?;
    write!(out, "{}", Line("queue-bytes", &link.queue_bytes))?;
    write!(out, "{}", Line("mtu-bytes", &link.mtu_bytes))?;
    let outages: Vec<String> = link
        .outages
        .iter()
        .map(|outage| {
            let (from, lasts) = (seconds(outage.from), seconds(outage.lasts));
            format!("{{ from-s = {from}, for-s = {lasts} }}")
        })
        .collect();
    let outages = format!("[{}]", outages.join(", "));
    write!(out, "{}", Line("outages", &outages))?;
    if let Some(bursts) = link.burst_loss {
        writeln!(out, "\n[link.{name}.burst-loss]")?;
        write!(out, "{}", Line("begin", &number(bursts.begin)))?;
        write!(out, "{}", Line("end", &number(bursts.end)))?;
        write!(out, "{}", Line("loss", &number(bursts.loss)))?;
    }
    if let Some(cycle) = link.outage_cycle {
        writeln!(out, "\n[link.{name}.outage-cycle]")?;
        write!(out, "{}", Line("every-s", &seconds(cycle.every)))?;
        write!(out, "{}", Line("for-s", &seconds(cycle.lasts)))?;
    }
    Ok(())
}

fn write_faults(name: &str, model: &FaultModel, out: &mut String) -> fmt::Result {
    writeln!(out, "\n[faults.{name}]")?;
    match &model.availability {
        Availability::Always => {}
        Availability::Trace(trace) => {
            write!(out, "{}", Line("availability-trace", &path(trace)))?;
        }
        Availability::DutyCycle { on, off } => {
            write!(out, "{}", Line("availability-on-rounds", on))?;
            write!(out, "{}", Line("availability-off-rounds", off))?;
        }
    }
    for (kind, probability) in FaultKind::DRAWN.iter().zip(model.probabilities) {
        let probability = toml::Value::from(probability);
        write!(out, "{}", Line(kind.name(), &probability))?;
    }
    let (reboot, brown_out) = (seconds(model.reboot_after), seconds(model.brown_out));
    write!(out, "{}", Line("reboot-after-s", &reboot))?;
    write!(
        out,
        "{}",
        Line("reboot-keeps-data", &model.reboot_keeps_data)
    )?;
    let factor = single(model.slow_down_factor);
    write!(out, "{}", Line("slow-down-factor", &factor))?;
    write!(out, "{}", Line("brown-out-s", &brown_out))?;
    let kind = quoted(model.poison_kind.name());
    write!(out, "{}", Line("poison-kind", &kind))?;
    let factor = single(model.poison_factor);
    write!(out, "{}", Line("poison-factor", &factor))?;
    write!(out, "{}", Line("late-s", &seconds(model.late)))
}

fn write_model(model: &Model, out: &mut String) -> fmt::Result {
    writeln!(out, "\n[model.{}]", model.kind.name())?;
    match &model.kind {
        ModelKind::SoftmaxRegression => {}
        ModelKind::Mlp { hidden, activation } => {
            write!(out, "{}", Line("hidden", &format!("{hidden:?}")))?;
            write!(out, "{}", Line("activation", &quoted(activation.name())))?;
        }
        ModelKind::Cnn { layers } => {
            writeln!(out, "layers = [")?;
            for layer in layers {
                writeln!(out, "    {},", inline(*layer))?;
            }
            writeln!(out, "]")?;
        }
    }
    let initialisation = quoted(model.initialisation.name());
    write!(out, "{}", Line("initialisation", &initialisation))?;
    if let Some(file) = &model.initial_weights {
        write!(out, "{}", Line("initial-weights", &path(file)))?;
    }
    let frozen: Vec<String> = model.frozen.iter().map(|name| quoted(name)).collect();
    let frozen = format!("[{}]", frozen.join(", "));
    write!(out, "{}", Line("frozen", &frozen))
}

/// A layer as an inline table.
fn inline(layer: CnnLayer) -> String {
    let name = layer.name();
    match layer {
        CnnLayer::Conv {
            filters,
            kernel,
            stride,
            padding,
            activation,
        } => format!(
            "{{ {name} = {{ filters = {filters}, kernel = {kernel}, stride = {stride}, padding = {padding}, activation = {} }} }}",
            quoted(activation.name())
        ),
        CnnLayer::MaxPool { size } | CnnLayer::AveragePool { size } => {
            format!("{{ {name} = {{ size = {size} }} }}")
        }
        CnnLayer::Flatten => format!("{{ {name} = {{}} }}"),
        CnnLayer::Dense {
            outputs,
            activation,
        } => format!(
            "{{ {name} = {{ outputs = {outputs}, activation = {} }} }}",
            quoted(activation.name())
        ),
    }
}

fn write_training(training: &Training, out: &mut String) -> fmt::Result {
    writeln!(out, "\n[training]")?;
    write!(out, "{}", Line("epochs", &training.epochs))?;
    write!(out, "{}", Line("batch-size", &training.batch_size))?;
    let learning_rate = single(training.learning_rate);
    write!(out, "{}", Line("learning-rate", &learning_rate))?;
    write!(out, "{}", Line("loss", &quoted(training.loss.name())))?;
    write!(out, "{}", Line("momentum", &single(training.momentum)))?;
    write!(out, "{}", Line("nesterov", &training.nesterov))?;
    let weight_decay = single(training.weight_decay);
    write!(out, "{}", Line("weight-decay", &weight_decay))?;
    if let Some(clip_norm) = training.clip_norm {
        write!(out, "{}", Line("clip-norm", &single(clip_norm)))?;
    }
    write!(out, "{}", Line("proximal", &single(training.proximal)))?;
    let arithmetic = quoted(training.arithmetic.name());
    write!(out, "{}", Line("arithmetic", &arithmetic))?;
    if let Arithmetic::Fixed {
        weight_bits,
        rounding,
    } = training.arithmetic
    {
        write!(out, "{}", Line("weight-bits", &weight_bits.bits()))?;
        write!(out, "{}", Line("rounding", &quoted(rounding.name())))?;
    }
    if let Some(name) = training.schedule.name() {
        writeln!(out, "\n[training.schedule.{name}]")?;
    }
    match training.schedule {
        Schedule::Constant => Ok(()),
        Schedule::Step { every, factor } => {
            write!(out, "{}", Line("every", &every))?;
            write!(out, "{}", Line("factor", &single(factor)))
        }
        Schedule::Exponential { factor } => write!(out, "{}", Line("factor", &single(factor))),
        Schedule::Cosine { minimum } => write!(out, "{}", Line("minimum", &single(minimum))),
        Schedule::WarmUp { rounds } => write!(out, "{}", Line("rounds", &rounds)),
    }
}

pub(super) fn to_toml(experiment: &Experiment) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_experiment(experiment, &mut out);
    out
}
