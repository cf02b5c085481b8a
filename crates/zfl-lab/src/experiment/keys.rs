//! Every key of an experiment file and what it may be.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zfl_machine::nearest;

use super::error::Fault;

pub(super) const CLIENTS_PER_ROUND: &str = "coordinator.clients-per-round";
pub(super) const QUORUM: &str = "coordinator.quorum";

/// In a path, what the file itself names.
pub(super) const NAME: &str = "NAME";

/// A key: its path (`*` is the number of a table in a list, `NAME` what the file
/// calls something) and what is allowed, as help says it.
pub(super) struct Key {
    pub(super) path: &'static str,
    pub(super) allowed: &'static str,
    /// A table, or a list of tables.
    pub(super) is_table: bool,
}

const fn key(path: &'static str, allowed: &'static str) -> Key {
    Key {
        path,
        allowed,
        is_table: false,
    }
}

const fn table(path: &'static str, allowed: &'static str) -> Key {
    Key {
        path,
        allowed,
        is_table: true,
    }
}

const INITIALISATION: &str = "\"auto\", \"he\", \"glorot\" or \"zeros\"";
const CHECKPOINT: &str = "the path of a checkpoint, a safetensors file, in quotes";
const FROZEN: &str = "a list of names of layers, such as [\"conv0\", \"conv1\"]; the first of those that have weights, and not all";
const ACTIVATION: &str = "\"relu\", \"leaky-relu\", \"tanh\" or \"sigmoid\"";
const PROBABILITY: &str = "a number from 0 to 1";
const FAULT_TIME: &str = "seconds from 0.001 to 86400";
const RATE: &str = "kilobits a second from 0 to 10000000; 0 is without limit";
const TEST_SHARE: &str = "a number between 0 and 1, both excluded";
const TABLE: &str = "a table with file, and label or target, and if need be test-file or test-share, features or ignore, group, shape, range and ranges";
const CSV_FILE: &str = "the path of a CSV file, plain or gzip, in quotes";
const PARQUET_FILE: &str = "the path of a Parquet file, in quotes";
const LABEL: &str = "the name of the column that says the class, in quotes";
const TARGET: &str =
    "the name of the column that holds the number to learn, in quotes, in place of label";
const COLUMNS: &str = "a list of names of columns, such as [\"temperature\", \"humidity\"]";
const GROUP: &str =
    "the name of the column that says to which machine, person or place a row belongs, in quotes";
const SHAPE: &str =
    "height and width of an image, and if need be channels, from 1 to 4096 each, such as [28, 28]";
const RANGE: &str = "the smallest and the largest value, such as [-40, 85]";
const RANGES: &str = "a table of ranges by name of column, such as { temperature = [-40, 85] }";
const ARRAY: &str = "the name of an array in the file, in quotes";
const ARRAY_TARGET: &str =
    "the name of the array that holds the numbers to learn, in quotes, in place of labels";
const ARRAY_TEST_LABELS: &str = "the name of the array that holds the labels of test-samples, in quotes, where labels names those to learn";
const ARRAY_TEST_TARGET: &str = "the name of the array that holds the numbers of test-samples, in quotes, where target names those to learn";
const FACTOR: &str = "a number above 0, at most 1";

/// [`zfl_data::partition::ALPHA_RANGE`].
const ALPHA: &str = "a number from 0.001 to 1000000";
const SAMPLES_MIN: &str = "a whole number from 1 to 65535";

/// In the order of the reference.
pub(super) const KEYS: &[Key] = &[
    key(
        "name",
        "1 to 64 of the characters a-z, 0-9 and -, in quotes",
    ),
    key("seed", "a whole number from 0 to 9223372036854775807"),
    key("rounds", "a whole number from 1 to 1000000"),
    key("parallel", "a whole number from 0 to 1000000"),
    key("network", "\"switch\" or \"bridge\""),
    table(
        "data",
        "exactly one of the tables data.digits, data.mnist, data.idx, data.csv, data.parquet, data.npz",
    ),
    table("data.digits", "a table with the key test-share"),
    key("data.digits.test-share", TEST_SHARE),
    table("data.mnist", "a table with the key folder"),
    key("data.mnist.folder", "the path of a folder, in quotes"),
    table(
        "data.idx",
        "a table with train-images, train-labels, test-images, test-labels, and if need be value-scale and classes",
    ),
    key(
        "data.idx.train-images",
        "the path of an IDX file, plain or gzip, in quotes",
    ),
    key(
        "data.idx.train-labels",
        "the path of an IDX file, plain or gzip, in quotes",
    ),
    key(
        "data.idx.test-images",
        "the path of an IDX file, plain or gzip, in quotes",
    ),
    key(
        "data.idx.test-labels",
        "the path of an IDX file, plain or gzip, in quotes",
    ),
    key(
        "data.idx.value-scale",
        "a number above 0 that single precision can hold",
    ),
    key("data.idx.classes", "a whole number from 2 to 256"),
    table("data.csv", TABLE),
    key("data.csv.file", CSV_FILE),
    key("data.csv.test-file", CSV_FILE),
    key("data.csv.test-share", TEST_SHARE),
    key("data.csv.label", LABEL),
    key("data.csv.target", TARGET),
    key("data.csv.features", COLUMNS),
    key("data.csv.ignore", COLUMNS),
    key("data.csv.group", GROUP),
    key("data.csv.shape", SHAPE),
    key("data.csv.range", RANGE),
    table("data.csv.ranges", RANGES),
    key("data.csv.ranges.NAME", RANGE),
    table("data.parquet", TABLE),
    key("data.parquet.file", PARQUET_FILE),
    key("data.parquet.test-file", PARQUET_FILE),
    key("data.parquet.test-share", TEST_SHARE),
    key("data.parquet.label", LABEL),
    key("data.parquet.target", TARGET),
    key("data.parquet.features", COLUMNS),
    key("data.parquet.ignore", COLUMNS),
    key("data.parquet.group", GROUP),
    key("data.parquet.shape", SHAPE),
    key("data.parquet.range", RANGE),
    table("data.parquet.ranges", RANGES),
    key("data.parquet.ranges.NAME", RANGE),
    table(
        "data.npz",
        "a table with file, samples, and labels or target, and if need be groups, test-samples and test-labels or test-target, test-share and range",
    ),
    key("data.npz.file", "the path of an .npz file, in quotes"),
    key("data.npz.samples", ARRAY),
    key("data.npz.labels", ARRAY),
    key("data.npz.target", ARRAY_TARGET),
    key("data.npz.groups", ARRAY),
    key("data.npz.test-samples", ARRAY),
    key("data.npz.test-labels", ARRAY_TEST_LABELS),
    key("data.npz.test-target", ARRAY_TEST_TARGET),
    key("data.npz.test-share", TEST_SHARE),
    key("data.npz.range", RANGE),
    table(
        "partition",
        "exactly one of the tables partition.iid, partition.shards, partition.dirichlet, partition.label-limited, partition.quantity-skew, partition.natural",
    ),
    table("partition.iid", "a table with the key samples-per-client"),
    key(
        "partition.iid.samples-per-client",
        "a whole number from 1 to 65535",
    ),
    table("partition.shards", "a table with the key per-client"),
    key(
        "partition.shards.per-client",
        "a whole number from 1 to 65535",
    ),
    table("partition.dirichlet", "a table with alpha and samples-min"),
    key("partition.dirichlet.alpha", ALPHA),
    key("partition.dirichlet.samples-min", SAMPLES_MIN),
    table("partition.label-limited", "a table with the key classes"),
    key(
        "partition.label-limited.classes",
        "a whole number from 1 to 256",
    ),
    table(
        "partition.quantity-skew",
        "exactly one of the tables partition.quantity-skew.power-law, partition.quantity-skew.dirichlet",
    ),
    table(
        "partition.quantity-skew.power-law",
        "a table with exponent and samples-min",
    ),
    key(
        "partition.quantity-skew.power-law.exponent",
        "a number from 0 to 10",
    ),
    key("partition.quantity-skew.power-law.samples-min", SAMPLES_MIN),
    table(
        "partition.quantity-skew.dirichlet",
        "a table with alpha and samples-min",
    ),
    key("partition.quantity-skew.dirichlet.alpha", ALPHA),
    key("partition.quantity-skew.dirichlet.samples-min", SAMPLES_MIN),
    table("partition.natural", "a table without keys"),
    table("feature-noise", "a table with the key sigma"),
    key("feature-noise.sigma", "a number from 0 to 10"),
    table(
        "model",
        "exactly one of the tables model.softmax-regression, model.mlp, model.cnn",
    ),
    table(
        "model.softmax-regression",
        "a table with initialisation, initial-weights and frozen",
    ),
    key("model.softmax-regression.initialisation", INITIALISATION),
    key("model.softmax-regression.initial-weights", CHECKPOINT),
    key("model.softmax-regression.frozen", FROZEN),
    table(
        "model.mlp",
        "a table with hidden, activation, initialisation, initial-weights and frozen",
    ),
    key(
        "model.mlp.hidden",
        "a list of at most 15 widths, whole numbers from 1 to 65535, such as [16] or []",
    ),
    key("model.mlp.activation", ACTIVATION),
    key("model.mlp.initialisation", INITIALISATION),
    key("model.mlp.initial-weights", CHECKPOINT),
    key("model.mlp.frozen", FROZEN),
    table(
        "model.cnn",
        "a table with layers, and if need be initialisation, initial-weights and frozen",
    ),
    table(
        "model.cnn.layers",
        "a list of layers, such as [{ conv = { filters = 8, kernel = 3 } }, { max-pool = { size = 2 } }]",
    ),
    table(
        "model.cnn.layers.*",
        "exactly one of the tables conv, max-pool, average-pool, flatten, dense",
    ),
    table(
        "model.cnn.layers.*.conv",
        "a table with filters and kernel, and if need be stride, padding and activation",
    ),
    key(
        "model.cnn.layers.*.conv.filters",
        "a whole number from 1 to 65535",
    ),
    key(
        "model.cnn.layers.*.conv.kernel",
        "a whole number from 1 to 255",
    ),
    key(
        "model.cnn.layers.*.conv.stride",
        "a whole number from 1 to 255",
    ),
    key(
        "model.cnn.layers.*.conv.padding",
        "a whole number from 0, less than kernel",
    ),
    key("model.cnn.layers.*.conv.activation", ACTIVATION),
    table("model.cnn.layers.*.max-pool", "a table with the key size"),
    key(
        "model.cnn.layers.*.max-pool.size",
        "a whole number from 2 to 255",
    ),
    table(
        "model.cnn.layers.*.average-pool",
        "a table with the key size",
    ),
    key(
        "model.cnn.layers.*.average-pool.size",
        "a whole number from 2 to 255",
    ),
    table("model.cnn.layers.*.flatten", "a table without keys"),
    table(
        "model.cnn.layers.*.dense",
        "a table with outputs, and if need be activation",
    ),
    key(
        "model.cnn.layers.*.dense.outputs",
        "a whole number from 1 to 65535",
    ),
    key("model.cnn.layers.*.dense.activation", ACTIVATION),
    key("model.cnn.initialisation", INITIALISATION),
    key("model.cnn.initial-weights", CHECKPOINT),
    key("model.cnn.frozen", FROZEN),
    table(
        "training",
        "a table with epochs, batch-size, learning-rate, loss, momentum, nesterov, weight-decay, clip-norm, proximal, arithmetic, weight-bits, rounding and schedule",
    ),
    key("training.epochs", "a whole number from 1 to 10000"),
    key("training.batch-size", "a whole number from 1 to 65535"),
    key(
        "training.learning-rate",
        "a number above 0 that single precision can hold",
    ),
    key(
        "training.loss",
        "\"cross-entropy\" or \"mean-squared-error\"",
    ),
    key("training.momentum", "a number from 0, below 1"),
    key(
        "training.nesterov",
        "true or false; true only with training.momentum above 0",
    ),
    key(
        "training.weight-decay",
        "a number from 0 that single precision can hold",
    ),
    key(
        "training.clip-norm",
        "a number above 0 that single precision can hold",
    ),
    key(
        "training.proximal",
        "a number from 0 that single precision can hold",
    ),
    key("training.arithmetic", "\"f32\" or \"fixed\""),
    key(
        "training.weight-bits",
        "32, 16 or 8; only with training.arithmetic = \"fixed\"",
    ),
    key(
        "training.rounding",
        "\"nearest\" or \"stochastic\"; only with training.arithmetic = \"fixed\"",
    ),
    table(
        "training.schedule",
        "exactly one of the tables step, exponential, cosine, warm-up",
    ),
    table("training.schedule.step", "a table with every and factor"),
    key(
        "training.schedule.step.every",
        "a whole number of rounds from 1 to 1000000",
    ),
    key("training.schedule.step.factor", FACTOR),
    table(
        "training.schedule.exponential",
        "a table with the key factor",
    ),
    key("training.schedule.exponential.factor", FACTOR),
    table("training.schedule.cosine", "a table with the key minimum"),
    key(
        "training.schedule.cosine.minimum",
        "a number from 0 to training.learning-rate",
    ),
    table("training.schedule.warm-up", "a table with the key rounds"),
    key(
        "training.schedule.warm-up.rounds",
        "a whole number of rounds from 1 to 1000000",
    ),
    table("strategy", "exactly one table: strategy.fed-avg"),
    table("strategy.fed-avg", "a table without keys"),
    table(
        "coordinator",
        "a table with clients-per-round, over-selection, quorum, on-failed-round, failed-rounds-max, rest-rounds, rest-rounds-max, staleness-rounds-max, staleness-exponent, target-accuracy and port",
    ),
    key(
        CLIENTS_PER_ROUND,
        "a whole number from 1 to the size of the fleet",
    ),
    key("coordinator.over-selection", "a number from 0 to 10"),
    key(
        QUORUM,
        "a whole number from 1 to coordinator.clients-per-round",
    ),
    key("coordinator.on-failed-round", "\"end\" or \"continue\""),
    key(
        "coordinator.failed-rounds-max",
        "a whole number from 1 to 1000000; only with coordinator.on-failed-round = \"continue\"",
    ),
    key(
        "coordinator.rest-rounds",
        "a whole number from 0 to 1000000; 0 rests nobody",
    ),
    key(
        "coordinator.rest-rounds-max",
        "a whole number from coordinator.rest-rounds to 1000000",
    ),
    key(
        "coordinator.staleness-rounds-max",
        "a whole number from 0 to 100; 0 drops late updates",
    ),
    key(
        "coordinator.staleness-exponent",
        "a number from 0 to 100; only with coordinator.staleness-rounds-max above 0",
    ),
    key("coordinator.target-accuracy", "a number above 0, at most 1"),
    key(
        "coordinator.port",
        "a whole number from 0 to 65535; 0 is any free port",
    ),
    table(
        "deadlines",
        "a table with boot-s, ready-s, round-s, round-quantile and round-factor",
    ),
    key("deadlines.boot-s", "seconds from 0.001 to 604800"),
    key("deadlines.ready-s", "seconds from 0.001 to 604800"),
    key("deadlines.round-s", "seconds from 0.001 to 604800"),
    key("deadlines.round-quantile", "a number above 0, at most 1"),
    key(
        "deadlines.round-factor",
        "a number from 1 to 1000; only with deadlines.round-quantile",
    ),
    table("time", "a table with the key counting"),
    key("time.counting", "\"instructions\" or \"off\""),
    table("link", "a table of links, [link.NAME]"),
    table(
        "link.NAME",
        "a table with based-on, rate-up-kbps, rate-down-kbps, overhead-bytes, burst-bytes, delay-ms, jitter-ms, reorder, loss, burst-loss, duplicate, corrupt, queue-bytes, mtu-bytes, outages and outage-cycle",
    ),
    key(
        "link.NAME.based-on",
        "the name of a link, in quotes: of another table, or one that `zfl links` lists",
    ),
    key("link.NAME.rate-up-kbps", RATE),
    key("link.NAME.rate-down-kbps", RATE),
    key("link.NAME.overhead-bytes", "a whole number from 0 to 65535"),
    key(
        "link.NAME.burst-bytes",
        "a whole number from 0 to 1000000000",
    ),
    key("link.NAME.delay-ms", "milliseconds from 0 to 60000"),
    key("link.NAME.jitter-ms", "milliseconds from 0 to delay-ms"),
    key("link.NAME.reorder", "true or false"),
    key("link.NAME.loss", PROBABILITY),
    table(
        "link.NAME.burst-loss",
        "a table with begin and end, and if need be loss",
    ),
    key("link.NAME.burst-loss.begin", PROBABILITY),
    key("link.NAME.burst-loss.end", PROBABILITY),
    key("link.NAME.burst-loss.loss", PROBABILITY),
    key("link.NAME.duplicate", PROBABILITY),
    key("link.NAME.corrupt", PROBABILITY),
    key(
        "link.NAME.queue-bytes",
        "a whole number from 1 to 1000000000",
    ),
    key("link.NAME.mtu-bytes", "a whole number from 128 to 1500"),
    table(
        "link.NAME.outages",
        "a list of at most 1000 outages, such as [{ from-s = 60, for-s = 5 }]",
    ),
    table("link.NAME.outages.*", "a table with from-s and for-s"),
    key("link.NAME.outages.*.from-s", "seconds from 0 to 31536000"),
    key("link.NAME.outages.*.for-s", "seconds from 0 to 31536000"),
    table("link.NAME.outage-cycle", "a table with every-s and for-s"),
    key(
        "link.NAME.outage-cycle.every-s",
        "seconds from 0.001 to 31536000",
    ),
    key(
        "link.NAME.outage-cycle.for-s",
        "seconds from 0, less than every-s",
    ),
    table(
        "faults",
        "tables [faults.NAME]; entries of the fleet choose one by its name",
    ),
    table(
        "faults.NAME",
        "a table with drop-out-before, drop-out-during, drop-out-after, availability-trace or availability-on-rounds and availability-off-rounds, crash, hang, reboot, slow-down, brown-out, poison, nan, truncate, duplicate, late, and their own keys",
    ),
    key("faults.NAME.drop-out-before", PROBABILITY),
    key("faults.NAME.drop-out-during", PROBABILITY),
    key("faults.NAME.drop-out-after", PROBABILITY),
    key(
        "faults.NAME.availability-trace",
        "the path of a CSV file with the columns client,from,to, in quotes",
    ),
    key(
        "faults.NAME.availability-on-rounds",
        "a whole number of rounds from 1 to 1000000",
    ),
    key(
        "faults.NAME.availability-off-rounds",
        "a whole number of rounds from 1 to 1000000",
    ),
    key("faults.NAME.crash", PROBABILITY),
    key("faults.NAME.hang", PROBABILITY),
    key("faults.NAME.reboot", PROBABILITY),
    key("faults.NAME.reboot-after-s", FAULT_TIME),
    key(
        "faults.NAME.reboot-keeps-data",
        "true or false; not true for devices of a board without memory.kept",
    ),
    key("faults.NAME.slow-down", PROBABILITY),
    key("faults.NAME.slow-down-factor", "a number from 1 to 1000000"),
    key("faults.NAME.brown-out", PROBABILITY),
    key("faults.NAME.brown-out-s", FAULT_TIME),
    key("faults.NAME.poison", PROBABILITY),
    key(
        "faults.NAME.poison-kind",
        "\"sign-flip\", \"scale\" or \"random\"",
    ),
    key(
        "faults.NAME.poison-factor",
        "a number from 0.001 to 1000000",
    ),
    key(
        "faults.NAME.nan",
        "a probability from 0 to 1; not with training.arithmetic = \"fixed\"",
    ),
    key("faults.NAME.truncate", PROBABILITY),
    key("faults.NAME.duplicate", PROBABILITY),
    key("faults.NAME.late", PROBABILITY),
    key("faults.NAME.late-s", FAULT_TIME),
    table(
        "fleet",
        "a list of tables, [[fleet]], each with board or mcu, fidelity, count, ram-bytes, on-misfit, samples-max, link and faults",
    ),
    table(
        "fleet.*",
        "a table with board or mcu, fidelity, count, ram-bytes, on-misfit, samples-max, link and faults",
    ),
    key(
        "fleet.*.board",
        "the name of a board (`zfl boards` lists them) or the path of a board file, in quotes",
    ),
    key(
        "fleet.*.mcu",
        "the name of a microcontroller (`zfl boards` lists them) or the path of a profile, in quotes",
    ),
    key("fleet.*.fidelity", "\"emulated\" or \"native\""),
    key(
        "fleet.*.count",
        "a whole number from 1; at most 10000 emulated devices and 1000000 clients in all",
    ),
    key(
        "fleet.*.ram-bytes",
        "RAM of an emulated device in all: a whole number from 1 to 4294967295",
    ),
    key("fleet.*.on-misfit", "\"skip\" or \"fail\""),
    key("fleet.*.samples-max", "a whole number from 1 to 65535"),
    key(
        "fleet.*.link",
        "the name of a link, in quotes: of a table [link.NAME], or one that `zfl links` lists",
    ),
    key(
        "fleet.*.faults",
        "the name of a table [faults.NAME] of the file, in quotes",
    ),
];

/// Whether `path` is that of the pattern, whose `*` is any number and whose
/// `NAME` any name.
pub(super) fn same(pattern: &str, path: &[String]) -> bool {
    let mut segments = path.iter();
    pattern.split('.').all(|part| {
        segments.next().is_some_and(|segment| match part {
            "*" => is_number(segment),
            NAME => true,
            part => segment == part,
        })
    }) && segments.next().is_none()
}

fn is_number(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit())
}

/// What is allowed at `path`, or in the closest table above it.
pub(super) fn help(path: &[String]) -> Option<String> {
    (0..=path.len())
        .rev()
        .filter_map(|len| path.get(..len))
        .find_map(|path| KEYS.iter().find(|key| same(key.path, path)))
        .map(|key| format!("`{}`: {}", key.path, key.allowed))
}

/// The names of the keys directly below `path`.
fn names_below(path: &[String]) -> impl Iterator<Item = &'static str> {
    KEYS.iter()
        .filter_map(move |key| match key.path.rsplit_once('.') {
            Some((parent, name)) => same(parent, path).then_some(name),
            None => path.is_empty().then_some(key.path),
        })
}

/// A value or a key with where it is found.
struct Node<'t> {
    path: Vec<String>,
    key_span: Option<Range<usize>>,
    value: &'t Spanned<DeValue<'t>>,
}

/// Everything in the tree, parents first. TOML bounds how deep it is.
fn nodes<'t>(tree: &'t DeTable<'t>) -> Vec<Node<'t>> {
    let mut nodes: Vec<Node<'t>> = Vec::new();
    let below = |path: &[String], name: &str| {
        let mut path = path.to_vec();
        path.push(name.to_owned());
        path
    };
    for (key, value) in tree {
        nodes.push(Node {
            path: below(&[], key.get_ref()),
            key_span: Some(key.span()),
            value,
        });
    }
    let mut index = 0;
    while let Some(node) = nodes.get(index) {
        let mut children = Vec::new();
        match node.value.get_ref() {
            DeValue::Table(table) => {
                for (key, value) in table {
                    children.push(Node {
                        path: below(&node.path, key.get_ref()),
                        key_span: Some(key.span()),
                        value,
                    });
                }
            }
            DeValue::Array(array) => {
                for (position, value) in array.iter().enumerate() {
                    children.push(Node {
                        path: below(&node.path, &position.to_string()),
                        key_span: None,
                        value,
                    });
                }
            }
            _ => {}
        }
        nodes.append(&mut children);
        index += 1;
    }
    nodes
}

/// The path of what stands at `span`: the deepest, where several do.
pub(super) fn path_at(tree: &DeTable<'_>, span: &Range<usize>) -> Option<Vec<String>> {
    nodes(tree)
        .into_iter()
        .filter(|node| node.value.span() == *span || node.key_span.as_ref() == Some(span))
        .max_by_key(|node| node.path.len())
        .map(|node| node.path)
}

/// Refuses a key that is none. The first one of the text, whatever its depth.
pub(crate) fn check_known(tree: &DeTable<'_>) -> Result<(), Fault> {
    let unknown = nodes(tree)
        .into_iter()
        .filter_map(|node| {
            let span = node.key_span?;
            let (name, parent) = node.path.split_last()?;
            // Of a table that is itself unknown only the table is reported,
            // and a table where a value or a list belongs is a matter of types.
            let is_open = parent.is_empty()
                || KEYS
                    .iter()
                    .any(|key| key.is_table && same(key.path, parent))
                    && names_below(parent).all(|name| name != "*" && name != NAME);
            let is_known = names_below(parent).any(|known| known == name);
            (is_open && !is_known).then(|| (span, name.clone(), parent.to_vec()))
        })
        .min_by_key(|(span, ..)| span.start);
    let Some((span, name, parent)) = unknown else {
        return Ok(());
    };
    let allowed: Vec<&str> = names_below(&parent).collect();
    let place = match parent.as_slice() {
        [] => "at the top".to_owned(),
        parent => format!("in `{}`", parent.join(".")),
    };
    let guess = match nearest(&name, allowed.iter().copied()) {
        Some(guess) => format!("did you mean `{guess}`? "),
        // The right word in the wrong place.
        None => match elsewhere(&name) {
            Some(path) => format!("did you mean `{path}`? "),
            None => String::new(),
        },
    };
    let list = match allowed.is_empty() {
        true => "it has no keys".to_owned(),
        false => format!("allowed {place}: {}", allowed.join(", ")),
    };
    Err(Fault {
        span,
        message: format!("unknown key `{name}` {place}"),
        help: Some(format!("{guess}{list}")),
    })
}

/// The one key with this last name, in another table.
fn elsewhere(name: &str) -> Option<&'static str> {
    let mut found = KEYS
        .iter()
        .filter(|key| key.path.rsplit('.').next() == Some(name));
    match (found.next(), found.next()) {
        (Some(key), None) => Some(key.path),
        _ => None,
    }
}
