//! An experiment as the file in which nothing is left to a default.

use std::fmt::{self, Display, Write};
use std::path::Path;
use std::time::Duration;

use super::{Data, Experiment, Model, Partition, Strategy};

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
    }

    match experiment.partition {
        Partition::Iid => writeln!(out, "\n[partition.iid]")?,
    }

    match &experiment.model {
        Model::Mlp { hidden } => {
            writeln!(out, "\n[model.mlp]")?;
            write!(out, "{}", Line("hidden", &format!("{hidden:?}")))?;
        }
    }

    let training = &experiment.training;
    writeln!(out, "\n[training]")?;
    write!(out, "{}", Line("epochs", &training.epochs))?;
    write!(out, "{}", Line("batch-size", &training.batch_size))?;
    write!(
        out,
        "{}",
        Line("learning-rate", &single(training.learning_rate))
    )?;

    match experiment.strategy {
        Strategy::FedAvg => writeln!(out, "\n[strategy.fed-avg]")?,
    }

    let coordinator = &experiment.coordinator;
    writeln!(out, "\n[coordinator]")?;
    if let Some(clients_per_round) = coordinator.clients_per_round {
        write!(out, "{}", Line("clients-per-round", &clients_per_round))?;
    }
    if let Some(quorum) = coordinator.quorum {
        write!(out, "{}", Line("quorum", &quorum))?;
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

    for group in &experiment.fleet {
        writeln!(out, "\n[[fleet]]")?;
        write!(out, "{}", Line("board", &quoted(&group.board)))?;
        write!(out, "{}", Line("count", &group.count))?;
    }
    Ok(())
}

pub(super) fn to_toml(experiment: &Experiment) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_experiment(experiment, &mut out);
    out
}
