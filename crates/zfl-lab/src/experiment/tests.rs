//! What is accepted, and what is said of what is not.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use insta::assert_snapshot;
use proptest::prelude::*;
use proptest::strategy::Strategy;

use zfl_data::table::{Learns, Ranges};

use super::*;

const BOARDS: [&str; 3] = ["mps2-an385", "mps2-an386", "mps2-an500"];

const FLEET: &str = "[[fleet]]\nboard = \"mps2-an386\"\ncount = 10\n";

fn parse_with(text: &str, sets: &[&str]) -> Result<Experiment, ExperimentError> {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    Experiment::parse(text, "trial.toml", &sets, &BOARDS)
}

fn experiment(text: &str, sets: &[&str]) -> Experiment {
    parse_with(text, sets).unwrap_or_else(|error| panic!("{}", shown(&error)))
}

/// A link with every key.
const EVERY_LINK_KEY: &str = "[link.x]\nbased-on = \"wifi\"\nrate-up-kbps = 62.5\n\
    rate-down-kbps = 100\noverhead-bytes = 4\nburst-bytes = 3000\ndelay-ms = 15.5\n\
    jitter-ms = 15\nreorder = true\nloss = 0.01\nduplicate = 0.02\ncorrupt = 0.03\n\
    queue-bytes = 10000\nmtu-bytes = 1280\noutages = [{ from-s = 60, for-s = 1.5 }]\n\
    burst-loss = { begin = 0.1, end = 0.2, loss = 0.9 }\n\
    outage-cycle = { every-s = 60, for-s = 5 }\n";

/// The message, the line it points at, and the help.
fn shown(error: &ExperimentError) -> String {
    let mut shown = error.to_string();
    if let Some(text) = error.text() {
        let span = error.span();
        let line_start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let line = text[line_start..].lines().next().unwrap_or_default();
        let line_end = line_start + line.len();
        let marked = text[span.start..span.end.min(line_end).max(span.start)]
            .chars()
            .count();
        let indent = text[line_start..span.start].chars().count();
        let mark = "^".repeat(marked.max(1));
        let _ = write!(shown, "\n| {line}\n| {:indent$}{mark}", "");
    }
    if let Some(help) = error.help() {
        let _ = write!(shown, "\nhelp: {help}");
    }
    shown
}

fn refused(text: &str) -> String {
    set_refused(text, &[])
}

fn set_refused(text: &str, sets: &[&str]) -> String {
    match parse_with(text, sets) {
        Ok(experiment) => panic!("accepted: {experiment:?}"),
        Err(error) => shown(&error),
    }
}

#[test]
fn an_empty_file_is_all_defaults() {
    assert_snapshot!(experiment("", &[]).to_toml(), @r#"
    name = "trial"
    seed = 1
    rounds = 20
    parallel = 0
    network = "switch"

    [data.digits]
    test-share = 0.2

    [partition.iid]

    [feature-noise]
    sigma = 0.0

    [model.mlp]
    hidden = [16]
    activation = "relu"
    initialisation = "auto"
    frozen = []

    [training]
    epochs = 5
    batch-size = 16
    learning-rate = 0.1
    loss = "cross-entropy"
    momentum = 0.0
    nesterov = false
    weight-decay = 0.0
    proximal = 0.0
    arithmetic = "f32"

    [strategy.fed-avg]

    [coordinator]
    over-selection = 0.0
    on-failed-round = "end"
    rest-rounds = 0
    rest-rounds-max = 0
    staleness-rounds-max = 0
    port = 0

    [deadlines]
    boot-s = 60
    ready-s = 120
    round-s = 300

    [time]
    counting = "instructions"
    "#);
}

#[test]
fn what_is_done_about_failures_has_its_defaults() {
    let text = format!(
        "{FLEET}[coordinator]\non-failed-round = \"continue\"\nrest-rounds = 2\nstaleness-rounds-max = 3\n[deadlines]\nround-quantile = 0.9\n"
    );
    let patient = experiment(&text, &[]);
    assert_eq!(
        patient.coordinator,
        Coordinator {
            clients_per_round: Some(10),
            quorum: Some(10),
            on_failed_round: OnFailedRound::Continue {
                failed_rounds_max: 3
            },
            rest_rounds: 2,
            rest_rounds_max: 16,
            late_updates: LateUpdates::Use {
                rounds_max: 3,
                exponent: 0.5,
            },
            ..Coordinator::default()
        }
    );
    assert_eq!(
        patient.deadlines.round_past,
        Some(PastDeadline {
            quantile: 0.9,
            factor: 2.0,
        })
    );
    let check = |sets: &[&str], said: &str| {
        let refused = set_refused(FLEET, sets);
        assert!(refused.contains(said), "{refused}");
    };
    check(
        &["coordinator.over-selection=-0.1"],
        "a number from 0 to 10",
    );
    check(
        &["coordinator.on-failed-round=\"retry\""],
        "\"end\" or \"continue\"",
    );
    check(
        &["coordinator.failed-rounds-max=2"],
        "only with coordinator.on-failed-round = \"continue\"",
    );
    check(
        &["coordinator.rest-rounds=9", "coordinator.rest-rounds-max=8"],
        "a whole number from coordinator.rest-rounds to 1000000",
    );
    check(
        &["coordinator.staleness-exponent=1"],
        "only with coordinator.staleness-rounds-max above 0",
    );
    check(
        &["coordinator.staleness-rounds-max=101"],
        "a whole number from 0 to 100; 0 drops late updates",
    );
    check(
        &["deadlines.round-quantile=0"],
        "a number above 0, at most 1",
    );
    check(
        &["deadlines.round-factor=3"],
        "only with deadlines.round-quantile",
    );
}

#[test]
fn the_fleet_sets_the_defaults_of_the_coordinator() {
    let two = experiment(&format!("{FLEET}[[fleet]]\nboard = \"mps2-an385\"\n"), &[]);
    assert_eq!(two.fleet_size(), 11);
    assert_eq!(two.coordinator.clients_per_round, Some(11));
    assert_eq!(two.coordinator.quorum, Some(11));
    let boards: Vec<&str> = two.device_boards().collect();
    assert_eq!(boards.len(), 11);
    assert_eq!(boards[9..], ["mps2-an386", "mps2-an385"]);

    let some = experiment(FLEET, &["coordinator.clients-per-round=4"]);
    assert_eq!(some.coordinator.clients_per_round, Some(4));
    assert_eq!(some.coordinator.quorum, Some(4));
}

#[test]
fn participation_without_a_fleet_comes_from_the_clients() {
    let coordinator = experiment("", &["coordinator.clients-per-round=4"]).coordinator;
    let four = Participation {
        clients_per_round: 4,
        quorum: 4,
    };
    assert_eq!(coordinator.participation(10), Ok(four));
    assert_snapshot!(coordinator.participation(3).unwrap_err(), @"coordinator.clients-per-round is 4, but a round has 3 clients at most: 1 to 3");
    assert_snapshot!(coordinator.participation(0).unwrap_err(), @"no clients: give their number, at least 1");
    let all = experiment("", &[]).coordinator.participation(7);
    assert_eq!(
        all.map(|all| (all.clients_per_round, all.quorum)),
        Ok((7, 7))
    );
}

#[test]
fn integers_are_numbers_too() {
    let experiment = experiment("training.learning-rate = 1\ndeadlines.round-s = 0.5", &[]);
    assert_eq!(experiment.training.learning_rate, 1.0);
    assert_eq!(experiment.deadlines.round, Duration::from_millis(500));
}

#[test]
fn the_name_is_that_of_the_file() {
    let named = |file: &str| Experiment::parse("", file, &[], &BOARDS).unwrap().name;
    assert_eq!(named("some/folder/My Digits.v2.toml"), "my-digits-v2");
    assert_eq!(named("/"), "experiment");
    assert_eq!(named("数字.toml"), "experiment");
    assert_eq!(named(&"x".repeat(200)), "x".repeat(64));
}

#[test]
fn unknown_keys() {
    assert_snapshot!(refused("seed = 1\nround = 3\n"), @r"
    trial.toml:2:1: unknown key `round` at the top
    | round = 3
    | ^^^^^
    help: did you mean `rounds`? allowed at the top: name, seed, rounds, parallel, network, data, partition, feature-noise, model, training, strategy, coordinator, deadlines, time, link, faults, fleet
    ");
    assert_snapshot!(refused("[training]\nbatch_size = 3\n"), @r"
    trial.toml:2:1: unknown key `batch_size` in `training`
    | batch_size = 3
    | ^^^^^^^^^^
    help: did you mean `batch-size`? allowed in `training`: epochs, batch-size, learning-rate, loss, momentum, nesterov, weight-decay, clip-norm, proximal, arithmetic, weight-bits, rounding, schedule
    ");
    assert_snapshot!(refused("epochs = 3\n"), @r"
    trial.toml:1:1: unknown key `epochs` at the top
    | epochs = 3
    | ^^^^^^
    help: did you mean `training.epochs`? allowed at the top: name, seed, rounds, parallel, network, data, partition, feature-noise, model, training, strategy, coordinator, deadlines, time, link, faults, fleet
    ");
    assert_snapshot!(refused("[training]\noptimiser = \"adam\"\n"), @r#"
    trial.toml:2:1: unknown key `optimiser` in `training`
    | optimiser = "adam"
    | ^^^^^^^^^
    help: allowed in `training`: epochs, batch-size, learning-rate, loss, momentum, nesterov, weight-decay, clip-norm, proximal, arithmetic, weight-bits, rounding, schedule
    "#);
    assert_snapshot!(refused("[data.cifar]\n"), @r"
    trial.toml:1:7: unknown key `cifar` in `data`
    | [data.cifar]
    |       ^^^^^
    help: allowed in `data`: digits, mnist, idx, csv, parquet, npz
    ");
    assert_snapshot!(refused("[strategy.fed-avg]\nmu = 1\n"), @r"
    trial.toml:2:1: unknown key `mu` in `strategy.fed-avg`
    | mu = 1
    | ^^
    help: it has no keys
    ");
    assert_snapshot!(refused("[[fleet]]\ncount = 1\n[[fleet]]\nbord = \"x\"\n"), @r#"
    trial.toml:4:1: unknown key `bord` in `fleet.1`
    | bord = "x"
    | ^^^^
    help: did you mean `board`? allowed in `fleet.1`: board, mcu, fidelity, count, ram-bytes, on-misfit, samples-max, link, faults
    "#);
    assert_snapshot!(refused("[zzz.training]\nepochs = 1\n"), @r"
    trial.toml:1:2: unknown key `zzz` at the top
    | [zzz.training]
    |  ^^^
    help: allowed at the top: name, seed, rounds, parallel, network, data, partition, feature-noise, model, training, strategy, coordinator, deadlines, time, link, faults, fleet
    ");
    assert_snapshot!(refused("\"\" = 1\n"), @r#"
    trial.toml:1:1: unknown key `` at the top
    | "" = 1
    | ^^
    help: allowed at the top: name, seed, rounds, parallel, network, data, partition, feature-noise, model, training, strategy, coordinator, deadlines, time, link, faults, fleet
    "#);
}

#[test]
fn wrong_types() {
    assert_snapshot!(refused("[training]\nepochs = \"five\"\n"), @r#"
    trial.toml:2:10: `training.epochs`: invalid type: string "five", expected a whole number
    | epochs = "five"
    |          ^^^^^^
    help: `training.epochs`: a whole number from 1 to 10000
    "#);
    assert_snapshot!(refused("rounds = 2.5\n"), @r"
    trial.toml:1:10: `rounds`: invalid type: floating point `2.5`, expected a whole number
    | rounds = 2.5
    |          ^^^
    help: `rounds`: a whole number from 1 to 1000000
    ");
    assert_snapshot!(refused("name = 7\n"), @r"
    trial.toml:1:8: `name`: invalid type: integer `7`, expected a string
    | name = 7
    |        ^
    help: `name`: 1 to 64 of the characters a-z, 0-9 and -, in quotes
    ");
    assert_snapshot!(refused("training = 3\n"), @r"
    trial.toml:1:12: `training`: invalid type: integer `3`, expected a table
    | training = 3
    |            ^
    help: `training`: a table with epochs, batch-size, learning-rate, loss, momentum, nesterov, weight-decay, clip-norm, proximal, arithmetic, weight-bits, rounding and schedule
    ");
    assert_snapshot!(refused("data = \"mnist\"\n"), @r#"
    trial.toml:1:8: `data`: invalid type: string "mnist", expected a table
    | data = "mnist"
    |        ^^^^^^^
    help: `data`: exactly one of the tables data.digits, data.mnist, data.idx, data.csv, data.parquet, data.npz
    "#);
    assert_snapshot!(refused("[fleet]\nboard = \"mps2-an386\"\n"), @r"
    trial.toml:1:1: `fleet`: invalid type: table, expected a list
    | [fleet]
    | ^^^^^^^
    help: `fleet`: a list of tables, [[fleet]], each with board or mcu, fidelity, count, ram-bytes, on-misfit, samples-max, link and faults
    ");
    assert_snapshot!(refused("[model.mlp]\nhidden = 16\n"), @r"
    trial.toml:2:10: `model.mlp.hidden`: invalid type: integer `16`, expected a list
    | hidden = 16
    |          ^^
    help: `model.mlp.hidden`: a list of at most 15 widths, whole numbers from 1 to 65535, such as [16] or []
    ");
    assert_snapshot!(refused("[model.mlp]\nhidden = [16, \"8\"]\n"), @r#"
    trial.toml:2:15: `model.mlp.hidden.1`: invalid type: string "8", expected a whole number
    | hidden = [16, "8"]
    |               ^^^
    help: `model.mlp.hidden`: a list of at most 15 widths, whole numbers from 1 to 65535, such as [16] or []
    "#);
    assert_snapshot!(refused("[training]\nlearning-rate = true\n"), @r"
    trial.toml:2:17: `training.learning-rate`: invalid type: boolean `true`, expected a number
    | learning-rate = true
    |                 ^^^^
    help: `training.learning-rate`: a number above 0 that single precision can hold
    ");
    assert_snapshot!(refused("[training.epochs]\nx = 1\n"), @r"
    trial.toml:1:1: `training.epochs`: invalid type: table, expected a whole number
    | [training.epochs]
    | ^^^^^^^^^^^^^^^^^
    help: `training.epochs`: a whole number from 1 to 10000
    ");
    assert_snapshot!(refused("fleet = [{ board = 386 }]\n"), @r"
    trial.toml:1:20: `fleet.0.board`: invalid type: integer `386`, expected a string
    | fleet = [{ board = 386 }]
    |                    ^^^
    help: `fleet.*.board`: the name of a board (`zfl boards` lists them) or the path of a board file, in quotes
    ");
}

#[test]
fn impossible_values() {
    assert_snapshot!(refused("[training]\nepochs = 0\n"), @r"
    trial.toml:2:10: `training.epochs` is 0
    | epochs = 0
    |          ^
    help: `training.epochs`: a whole number from 1 to 10000
    ");
    assert_snapshot!(refused("[training]\nlearning-rate = -0.1\n"), @r"
    trial.toml:2:17: `training.learning-rate` is -0.1
    | learning-rate = -0.1
    |                 ^^^^
    help: `training.learning-rate`: a number above 0 that single precision can hold
    ");
    assert_snapshot!(refused("[training]\nlearning-rate = nan\n"), @r"
    trial.toml:2:17: `training.learning-rate` is nan
    | learning-rate = nan
    |                 ^^^
    help: `training.learning-rate`: a number above 0 that single precision can hold
    ");
    assert_snapshot!(refused("[training]\nlearning-rate = 1e-60\n"), @r"
    trial.toml:2:17: `training.learning-rate` is 1e-60
    | learning-rate = 1e-60
    |                 ^^^^^
    help: `training.learning-rate`: a number above 0 that single precision can hold
    ");
    assert_snapshot!(refused("[training]\nlearning-rate = 1e999\n"), @r"
    trial.toml:2:17: `training.learning-rate`: floating-point number overflowed
    | learning-rate = 1e999
    |                 ^^^^^
    help: `training.learning-rate`: a number above 0 that single precision can hold
    ");
    assert_snapshot!(refused("[training]\nbatch-size = 65_536\n"), @r"
    trial.toml:2:14: `training.batch-size` is 65_536
    | batch-size = 65_536
    |              ^^^^^^
    help: `training.batch-size`: a whole number from 1 to 65535
    ");
    assert_snapshot!(refused("rounds = 0\n"), @r"
    trial.toml:1:10: `rounds` is 0
    | rounds = 0
    |          ^
    help: `rounds`: a whole number from 1 to 1000000
    ");
    assert_snapshot!(refused("seed = -1\n"), @r"
    trial.toml:1:8: `seed` is -1
    | seed = -1
    |        ^^
    help: `seed`: a whole number from 0 to 9223372036854775807
    ");
    assert_snapshot!(refused("seed = 9223372036854775808\n"), @r"
    trial.toml:1:8: `seed` is 9223372036854775808
    | seed = 9223372036854775808
    |        ^^^^^^^^^^^^^^^^^^^
    help: `seed`: a whole number from 0 to 9223372036854775807
    ");
    assert_snapshot!(refused(&format!("seed = {}\n", "9".repeat(50))), @r"
    trial.toml:1:8: `seed`: integer number overflowed
    | seed = 99999999999999999999999999999999999999999999999999
    |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    help: `seed`: a whole number from 0 to 9223372036854775807
    ");
    assert_snapshot!(refused("name = \"Digits 2\"\n"), @r#"
    trial.toml:1:8: `name` is "Digits 2"
    | name = "Digits 2"
    |        ^^^^^^^^^^
    help: `name`: 1 to 64 of the characters a-z, 0-9 and -, in quotes
    "#);
    assert_snapshot!(refused("network = \"swich\"\n"), @r#"
    trial.toml:1:11: `network` is "swich"
    | network = "swich"
    |           ^^^^^^^
    help: `network`: "switch" or "bridge"
    "#);
    assert_snapshot!(refused("[data.digits]\ntest-share = 1\n"), @r"
    trial.toml:2:14: `data.digits.test-share` is 1
    | test-share = 1
    |              ^
    help: `data.digits.test-share`: a number between 0 and 1, both excluded
    ");
    assert_snapshot!(refused("[model.mlp]\nhidden = [16, 0]\n"), @r"
    trial.toml:2:15: `model.mlp.hidden.1` is 0
    | hidden = [16, 0]
    |               ^
    help: `model.mlp.hidden`: a list of at most 15 widths, whole numbers from 1 to 65535, such as [16] or []
    ");
    assert_snapshot!(refused("[model.mlp]\nhidden = [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7]\n"), @r"
    trial.toml:2:56: `model.mlp.hidden` has 16 widths
    | hidden = [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7]
    |                                                        ^
    help: `model.mlp.hidden`: a list of at most 15 widths, whole numbers from 1 to 65535, such as [16] or []
    ");
    assert_snapshot!(refused("[coordinator]\nport = 65536\n"), @r"
    trial.toml:2:8: `coordinator.port` is 65536
    | port = 65536
    |        ^^^^^
    help: `coordinator.port`: a whole number from 0 to 65535; 0 is any free port
    ");
    assert_snapshot!(refused("[deadlines]\nround-s = inf\n"), @r"
    trial.toml:2:11: `deadlines.round-s` is inf
    | round-s = inf
    |           ^^^
    help: `deadlines.round-s`: seconds from 0.001 to 604800
    ");
    assert_snapshot!(refused("[data.mnist]\nfolder = \"\"\n"), @r#"
    trial.toml:2:10: `data.mnist.folder` is ""
    | folder = ""
    |          ^^
    help: `data.mnist.folder`: the path of a folder, in quotes
    "#);
}

#[test]
fn clients_that_are_not_there() {
    assert_snapshot!(
        refused(&format!("[coordinator]\nclients-per-round = 11\n{FLEET}")),
        @r"
    trial.toml:2:21: `coordinator.clients-per-round` is 11
    | clients-per-round = 11
    |                     ^^
    help: `coordinator.clients-per-round`: a whole number from 1 to 10, the size of the fleet
    "
    );
    assert_snapshot!(
        refused(&format!("[coordinator]\nclients-per-round = 5\nquorum = 6\n{FLEET}")),
        @r"
    trial.toml:3:10: `coordinator.quorum` is 6
    | quorum = 6
    |          ^
    help: `coordinator.quorum`: a whole number from 1 to 5, coordinator.clients-per-round
    "
    );
    assert_snapshot!(refused(&format!("[coordinator]\nquorum = 11\n{FLEET}")), @r"
    trial.toml:2:10: `coordinator.quorum` is 11
    | quorum = 11
    |          ^^
    help: `coordinator.quorum`: a whole number from 1 to 10, the size of the fleet
    ");
    assert_snapshot!(refused("[coordinator]\ntarget-accuracy = 97\n"), @r"
    trial.toml:2:19: `coordinator.target-accuracy` is 97
    | target-accuracy = 97
    |                   ^^
    help: `coordinator.target-accuracy`: a number above 0, at most 1
    ");
    assert_snapshot!(refused("[coordinator]\ntarget-accuracy = 0.0\n"), @r"
    trial.toml:2:19: `coordinator.target-accuracy` is 0.0
    | target-accuracy = 0.0
    |                   ^^^
    help: `coordinator.target-accuracy`: a number above 0, at most 1
    ");
    let coordinator = |sets| experiment(FLEET, sets).coordinator;
    assert_eq!(coordinator(&[]).target_accuracy, None);
    let sets = &["coordinator.target-accuracy=0.97"];
    assert_eq!(coordinator(sets).target_accuracy, Some(0.97));
    assert_snapshot!(refused(&format!("[coordinator]\nquorum = 0\n{FLEET}")), @r"
    trial.toml:2:10: `coordinator.quorum` is 0
    | quorum = 0
    |          ^
    help: `coordinator.quorum`: a whole number from 1 to 10, the size of the fleet
    ");
}

#[test]
fn all_models_are_read() {
    let model = |text: &str| experiment(text, &[]).model;
    let default = model("");
    assert_eq!(default, model("[model.mlp]\n"));
    assert_eq!(default.weighted_layers(), ["dense0", "dense1"]);

    let softmax = model("[model.softmax-regression]\ninitialisation = \"zeros\"\n");
    assert_eq!(softmax.kind, ModelKind::SoftmaxRegression);
    assert_eq!(softmax.initialisation, Initialisation::Zeros);
    assert_eq!(softmax.weighted_layers(), ["dense0"]);

    let text = r#"
[model.cnn]
layers = [
    { conv = { filters = 8, kernel = 5, stride = 2, padding = 2, activation = "tanh" } },
    { max-pool = { size = 2 } },
    { conv = { filters = 16, kernel = 3 } },
    { average-pool = { size = 3 } },
    { flatten = {} },
    { dense = { outputs = 32, activation = "sigmoid" } },
]
initialisation = "glorot"
initial-weights = "start.safetensors"
frozen = ["conv1", "conv0"]
"#;
    let cnn = model(text);
    let layers = vec![
        CnnLayer::Conv {
            filters: 8,
            kernel: 5,
            stride: 2,
            padding: 2,
            activation: Activation::Tanh,
        },
        CnnLayer::MaxPool { size: 2 },
        CnnLayer::Conv {
            filters: 16,
            kernel: 3,
            stride: 1,
            padding: 0,
            activation: Activation::Relu,
        },
        CnnLayer::AveragePool { size: 3 },
        CnnLayer::Flatten,
        CnnLayer::Dense {
            outputs: 32,
            activation: Activation::Sigmoid,
        },
    ];
    assert_eq!(
        cnn.weighted_layers(),
        ["conv0", "conv1", "dense0", "dense1"]
    );
    assert_eq!(
        cnn,
        Model {
            kind: ModelKind::Cnn { layers },
            initialisation: Initialisation::Glorot,
            initial_weights: Some("start.safetensors".into()),
            frozen: vec!["conv0".into(), "conv1".into()],
        }
    );

    // The longest ones.
    let conv = "{ conv = { filters = 1, kernel = 1 } }, ";
    model(&format!("[model.cnn]\nlayers = [{}]", conv.repeat(14)));
    model(&format!(
        "[model.cnn]\nlayers = [{} {{ flatten = {{}} }}]",
        conv.repeat(14)
    ));
    model(&format!("[model.mlp]\nhidden = {:?}", [1; 15]));
}

const LAYERS: &str = "[model.cnn]\nlayers = ";

#[test]
fn layers_that_do_not_chain() {
    let layers = |layers: &str| refused(&format!("{LAYERS}[\n{layers}\n]\n"));
    assert_snapshot!(refused("[model.cnn]\n"), @r"
    trial.toml:1:1: `model.cnn`: missing key `layers`
    | [model.cnn]
    | ^^^^^^^^^^^
    help: `model.cnn`: a table with layers, and if need be initialisation, initial-weights and frozen
    ");
    assert_snapshot!(layers(""), @r"
    trial.toml:2:10: `model.cnn.layers` has no layer
    | layers = [
    |          ^
    help: `model.cnn.layers`: a list of layers, such as [{ conv = { filters = 8, kernel = 3 } }, { max-pool = { size = 2 } }]
    ");
    assert_snapshot!(layers("{}"), @r"
    trial.toml:3:1: `model.cnn.layers.0` says nothing
    | {}
    | ^^
    help: `model.cnn.layers.*`: exactly one of the tables conv, max-pool, average-pool, flatten, dense
    ");
    assert_snapshot!(layers("{ flatten = {}, dense = { outputs = 3 } }"), @r"
    trial.toml:3:25: `model.cnn.layers.0.dense` beside `model.cnn.layers.0.flatten`
    | { flatten = {}, dense = { outputs = 3 } }
    |                         ^^^^^^^^^^^^^^^
    help: `model.cnn.layers.*`: exactly one of the tables conv, max-pool, average-pool, flatten, dense
    ");
    assert_snapshot!(layers("{ convolution = {} }"), @r"
    trial.toml:3:3: unknown key `convolution` in `model.cnn.layers.0`
    | { convolution = {} }
    |   ^^^^^^^^^^^
    help: allowed in `model.cnn.layers.0`: conv, max-pool, average-pool, flatten, dense
    ");
    assert_snapshot!(layers("{ conv = { filters = 3 } }"), @r"
    trial.toml:3:10: `model.cnn.layers.0.conv`: missing key `kernel`
    | { conv = { filters = 3 } }
    |          ^^^^^^^^^^^^^^^
    help: `model.cnn.layers.*.conv`: a table with filters and kernel, and if need be stride, padding and activation
    ");
    assert_snapshot!(layers("{ conv = { filters = 3, kernel = 3, size = 3 } }"), @r"
    trial.toml:3:37: unknown key `size` in `model.cnn.layers.0.conv`
    | { conv = { filters = 3, kernel = 3, size = 3 } }
    |                                     ^^^^
    help: allowed in `model.cnn.layers.0.conv`: filters, kernel, stride, padding, activation
    ");
    assert_snapshot!(layers(
        "{ conv = { filters = 3, kernel = 3 } },\n{ dense = { outputs = 3 } }"
    ), @r"
    trial.toml:4:1: `model.cnn.layers.1`: dense without a flatten before it
    | { dense = { outputs = 3 } }
    | ^^^^^^^^^^^^^^^^^^^^^^^^^^^
    help: the order is conv, max-pool and average-pool layers, then one flatten, then dense layers; zfl appends the output layer
    ");
    assert_snapshot!(layers("{ flatten = {} },\n{ flatten = {} }"), @r"
    trial.toml:4:1: `model.cnn.layers.1`: flatten again, after that of layer 0
    | { flatten = {} }
    | ^^^^^^^^^^^^^^^^
    help: the order is conv, max-pool and average-pool layers, then one flatten, then dense layers; zfl appends the output layer
    ");
    assert_snapshot!(layers(
        "{ flatten = {} },\n{ conv = { filters = 3, kernel = 3 } }"
    ), @r"
    trial.toml:4:1: `model.cnn.layers.1`: conv after the flatten of layer 0, which leaves no image
    | { conv = { filters = 3, kernel = 3 } }
    | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    help: the order is conv, max-pool and average-pool layers, then one flatten, then dense layers; zfl appends the output layer
    ");
    assert_snapshot!(layers(
        "{ flatten = {} },\n{ dense = { outputs = 3 } },\n{ max-pool = { size = 2 } }"
    ), @r"
    trial.toml:5:1: `model.cnn.layers.2`: max-pool after the flatten of layer 0, which leaves no image
    | { max-pool = { size = 2 } }
    | ^^^^^^^^^^^^^^^^^^^^^^^^^^^
    help: the order is conv, max-pool and average-pool layers, then one flatten, then dense layers; zfl appends the output layer
    ");
    assert_snapshot!(layers("{ conv = { filters = 0, kernel = 3 } }"), @r"
    trial.toml:3:22: `model.cnn.layers.0.conv.filters` is 0
    | { conv = { filters = 0, kernel = 3 } }
    |                      ^
    help: `model.cnn.layers.*.conv.filters`: a whole number from 1 to 65535
    ");
    assert_snapshot!(layers("{ conv = { filters = 3, kernel = 256 } }"), @r"
    trial.toml:3:34: `model.cnn.layers.0.conv.kernel` is 256
    | { conv = { filters = 3, kernel = 256 } }
    |                                  ^^^
    help: `model.cnn.layers.*.conv.kernel`: a whole number from 1 to 255
    ");
    assert_snapshot!(layers("{ conv = { filters = 3, kernel = 3, stride = 0 } }"), @r"
    trial.toml:3:46: `model.cnn.layers.0.conv.stride` is 0
    | { conv = { filters = 3, kernel = 3, stride = 0 } }
    |                                              ^
    help: `model.cnn.layers.*.conv.stride`: a whole number from 1 to 255
    ");
    assert_snapshot!(layers(
        "{ conv = { filters = 3, kernel = 3, padding = 3 } }"
    ), @r"
    trial.toml:3:47: `model.cnn.layers.0.conv.padding` is 3
    | { conv = { filters = 3, kernel = 3, padding = 3 } }
    |                                               ^
    help: `model.cnn.layers.*.conv.padding`: a whole number from 0, less than kernel
    ");
    assert_snapshot!(layers(
        "{ conv = { filters = 3, kernel = 3, activation = \"rleu\" } }"
    ), @r#"
    trial.toml:3:50: `model.cnn.layers.0.conv.activation` is "rleu"
    | { conv = { filters = 3, kernel = 3, activation = "rleu" } }
    |                                                  ^^^^^^
    help: `model.cnn.layers.*.conv.activation`: "relu", "leaky-relu", "tanh" or "sigmoid"
    "#);
    assert_snapshot!(layers("{ max-pool = { size = 1 } }"), @r"
    trial.toml:3:23: `model.cnn.layers.0.max-pool.size` is 1
    | { max-pool = { size = 1 } }
    |                       ^
    help: `model.cnn.layers.*.max-pool.size`: a whole number from 2 to 255
    ");
    assert_snapshot!(layers("{ average-pool = { size = 2.5 } }"), @r"
    trial.toml:3:27: `model.cnn.layers.0.average-pool.size`: invalid type: floating point `2.5`, expected a whole number
    | { average-pool = { size = 2.5 } }
    |                           ^^^
    help: `model.cnn.layers.*.average-pool.size`: a whole number from 2 to 255
    ");
    assert_snapshot!(layers("{ flatten = { size = 3 } }"), @r"
    trial.toml:3:15: unknown key `size` in `model.cnn.layers.0.flatten`
    | { flatten = { size = 3 } }
    |               ^^^^
    help: it has no keys
    ");
    assert_snapshot!(layers("{ flatten = {} }, { dense = { outputs = 65536 } }"), @r"
    trial.toml:3:41: `model.cnn.layers.1.dense.outputs` is 65536
    | { flatten = {} }, { dense = { outputs = 65536 } }
    |                                         ^^^^^
    help: `model.cnn.layers.*.dense.outputs`: a whole number from 1 to 65535
    ");
    assert_snapshot!(refused(
        "[model.cnn.layers]\nconv = { filters = 3, kernel = 3 }\n"
    ), @r"
    trial.toml:1:1: `model.cnn.layers`: invalid type: table, expected a list
    | [model.cnn.layers]
    | ^^^^^^^^^^^^^^^^^^
    help: `model.cnn.layers`: a list of layers, such as [{ conv = { filters = 8, kernel = 3 } }, { max-pool = { size = 2 } }]
    ");
    let conv = "{ conv = { filters = 1, kernel = 1 } },\n";
    assert_snapshot!(layers(&conv.repeat(15)), @r"
    trial.toml:17:1: `model.cnn.layers.14` is one layer too many
    | { conv = { filters = 1, kernel = 1 } },
    | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    help: a model has at most 16 layers; the output layer, and a flatten where the list has none, count among them
    ");
}

#[test]
fn models_that_cannot_be() {
    assert_snapshot!(refused(
        "[model.mlp]\n[model.cnn]\nlayers = [{ flatten = {} }]\n"
    ), @r"
    trial.toml:2:1: `model.cnn` beside `model.mlp`
    | [model.cnn]
    | ^^^^^^^^^^^
    help: `model`: exactly one of the tables model.softmax-regression, model.mlp, model.cnn
    ");
    assert_snapshot!(refused("[model.softmax-regression]\nhidden = [3]\n"), @r"
    trial.toml:2:1: unknown key `hidden` in `model.softmax-regression`
    | hidden = [3]
    | ^^^^^^
    help: did you mean `model.mlp.hidden`? allowed in `model.softmax-regression`: initialisation, initial-weights, frozen
    ");
    assert_snapshot!(refused("[model]\nfrozen = [\"dense0\"]\n"), @r#"
    trial.toml:2:1: unknown key `frozen` in `model`
    | frozen = ["dense0"]
    | ^^^^^^
    help: allowed in `model`: softmax-regression, mlp, cnn
    "#);
    assert_snapshot!(refused("[model.mlp]\nactivation = \"gelu\"\n"), @r#"
    trial.toml:2:14: `model.mlp.activation` is "gelu"
    | activation = "gelu"
    |              ^^^^^^
    help: `model.mlp.activation`: "relu", "leaky-relu", "tanh" or "sigmoid"
    "#);
    assert_snapshot!(refused("[model.mlp]\ninitialisation = \"xavier\"\n"), @r#"
    trial.toml:2:18: `model.mlp.initialisation` is "xavier"
    | initialisation = "xavier"
    |                  ^^^^^^^^
    help: `model.mlp.initialisation`: "auto", "he", "glorot" or "zeros"
    "#);
    assert_snapshot!(refused("[model.mlp]\ninitial-weights = \"\"\n"), @r#"
    trial.toml:2:19: `model.mlp.initial-weights` is ""
    | initial-weights = ""
    |                   ^^
    help: `model.mlp.initial-weights`: the path of a checkpoint, a safetensors file, in quotes
    "#);
    assert_snapshot!(refused("[model.mlp]\nfrozen = \"dense0\"\n"), @r#"
    trial.toml:2:10: `model.mlp.frozen`: invalid type: string "dense0", expected a list
    | frozen = "dense0"
    |          ^^^^^^^^
    help: `model.mlp.frozen`: a list of names of layers, such as ["conv0", "conv1"]; the first of those that have weights, and not all
    "#);
}

#[test]
fn layers_that_cannot_be_frozen() {
    let frozen = |frozen: &str| {
        refused(&format!(
            "{LAYERS}[{{ conv = {{ filters = 3, kernel = 3 }} }}, {{ flatten = {{}} }}, {{ dense = {{ outputs = 3 }} }}]\nfrozen = {frozen}\n"
        ))
    };
    assert_snapshot!(frozen("[\"conv1\"]"), @r#"
    trial.toml:3:11: `model.cnn.frozen`: the model has no layer "conv1" with weights
    | frozen = ["conv1"]
    |           ^^^^^^^
    help: `model.cnn.frozen`: the first of the layers that have weights, which are conv0, dense0, dense1; the last of them cannot be frozen
    "#);
    assert_snapshot!(frozen("[\"flatten0\"]"), @r#"
    trial.toml:3:11: `model.cnn.frozen`: the model has no layer "flatten0" with weights
    | frozen = ["flatten0"]
    |           ^^^^^^^^^^
    help: `model.cnn.frozen`: the first of the layers that have weights, which are conv0, dense0, dense1; the last of them cannot be frozen
    "#);
    assert_snapshot!(frozen("[\"dense0\"]"), @r#"
    trial.toml:3:11: `model.cnn.frozen`: "dense0" without "conv0", which comes before it
    | frozen = ["dense0"]
    |           ^^^^^^^^
    help: `model.cnn.frozen`: the first of the layers that have weights, which are conv0, dense0, dense1; the last of them cannot be frozen
    "#);
    assert_snapshot!(frozen("[\"conv0\", \"dense1\"]"), @r#"
    trial.toml:3:20: `model.cnn.frozen`: "dense1" without "dense0", which comes before it
    | frozen = ["conv0", "dense1"]
    |                    ^^^^^^^^
    help: `model.cnn.frozen`: the first of the layers that have weights, which are conv0, dense0, dense1; the last of them cannot be frozen
    "#);
    assert_snapshot!(frozen("[\"conv0\", \"conv0\"]"), @r#"
    trial.toml:3:20: `model.cnn.frozen`: "conv0" twice
    | frozen = ["conv0", "conv0"]
    |                    ^^^^^^^
    help: `model.cnn.frozen`: the first of the layers that have weights, which are conv0, dense0, dense1; the last of them cannot be frozen
    "#);
    assert_snapshot!(frozen("[\"dense1\", \"dense0\", \"conv0\"]"), @r#"
    trial.toml:3:31: `model.cnn.frozen` leaves no layer to train
    | frozen = ["dense1", "dense0", "conv0"]
    |                               ^^^^^^^
    help: `model.cnn.frozen`: the first of the layers that have weights, which are conv0, dense0, dense1; the last of them cannot be frozen
    "#);
    assert_snapshot!(refused(
        "[model.softmax-regression]\nfrozen = [\"dense0\"]\n"
    ), @r#"
    trial.toml:2:11: `model.softmax-regression.frozen` leaves no layer to train
    | frozen = ["dense0"]
    |           ^^^^^^^^
    help: `model.softmax-regression.frozen`: the model has no layer with weights but dense0, and that must train
    "#);
}

#[test]
fn training_that_cannot_be() {
    let training = |lines: &str| refused(&format!("[training]\n{lines}\n"));
    assert_snapshot!(training("batch-size = 0"), @r"
    trial.toml:2:14: `training.batch-size` is 0
    | batch-size = 0
    |              ^
    help: `training.batch-size`: a whole number from 1 to 65535
    ");
    assert_snapshot!(training("loss = \"hinge\""), @r#"
    trial.toml:2:8: `training.loss` is "hinge"
    | loss = "hinge"
    |        ^^^^^^^
    help: `training.loss`: "cross-entropy" or "mean-squared-error"
    "#);
    assert_snapshot!(training("momentum = 1"), @r"
    trial.toml:2:12: `training.momentum` is 1
    | momentum = 1
    |            ^
    help: `training.momentum`: a number from 0, below 1
    ");
    assert_snapshot!(training("momentum = 0.99999999999"), @r"
    trial.toml:2:12: `training.momentum` is 0.99999999999
    | momentum = 0.99999999999
    |            ^^^^^^^^^^^^^
    help: `training.momentum`: a number from 0, below 1
    ");
    assert_snapshot!(training("momentum = -0.5"), @r"
    trial.toml:2:12: `training.momentum` is -0.5
    | momentum = -0.5
    |            ^^^^
    help: `training.momentum`: a number from 0, below 1
    ");
    assert_snapshot!(training("nesterov = true"), @r"
    trial.toml:2:12: `training.nesterov` without momentum
    | nesterov = true
    |            ^^^^
    help: set `training.momentum`, such as 0.9, or leave nesterov out
    ");
    assert_snapshot!(training("nesterov = 1"), @r"
    trial.toml:2:12: `training.nesterov`: invalid type: integer `1`, expected a boolean
    | nesterov = 1
    |            ^
    help: `training.nesterov`: true or false; true only with training.momentum above 0
    ");
    assert_snapshot!(training("weight-decay = -1e-4"), @r"
    trial.toml:2:16: `training.weight-decay` is -1e-4
    | weight-decay = -1e-4
    |                ^^^^^
    help: `training.weight-decay`: a number from 0 that single precision can hold
    ");
    assert_snapshot!(training("clip-norm = 0"), @r"
    trial.toml:2:13: `training.clip-norm` is 0
    | clip-norm = 0
    |             ^
    help: `training.clip-norm`: a number above 0 that single precision can hold
    ");
    assert_snapshot!(training("proximal = 1e39"), @r"
    trial.toml:2:12: `training.proximal` is 1e39
    | proximal = 1e39
    |            ^^^^
    help: `training.proximal`: a number from 0 that single precision can hold
    ");
    assert_snapshot!(training("momentun = 0.9"), @r"
    trial.toml:2:1: unknown key `momentun` in `training`
    | momentun = 0.9
    | ^^^^^^^^
    help: did you mean `momentum`? allowed in `training`: epochs, batch-size, learning-rate, loss, momentum, nesterov, weight-decay, clip-norm, proximal, arithmetic, weight-bits, rounding, schedule
    ");
    assert_snapshot!(training("arithmetic = \"float\""), @r#"
    trial.toml:2:14: `training.arithmetic` is "float"
    | arithmetic = "float"
    |              ^^^^^^^
    help: `training.arithmetic`: "f32" or "fixed"
    "#);
    assert_snapshot!(training("arithmetic = \"fixed\"\nweight-bits = 12"), @r#"
    trial.toml:3:15: `training.weight-bits` is 12
    | weight-bits = 12
    |               ^^
    help: `training.weight-bits`: 32, 16 or 8; only with training.arithmetic = "fixed"
    "#);
    assert_snapshot!(training("arithmetic = \"fixed\"\nrounding = \"up\""), @r#"
    trial.toml:3:12: `training.rounding` is "up"
    | rounding = "up"
    |            ^^^^
    help: `training.rounding`: "nearest" or "stochastic"; only with training.arithmetic = "fixed"
    "#);
    assert_snapshot!(training("weight-bits = 8"), @r#"
    trial.toml:2:15: `training.weight-bits` without fixed-point arithmetic
    | weight-bits = 8
    |               ^
    help: set `training.arithmetic = "fixed"`, or leave weight-bits out
    "#);
    assert_snapshot!(training("arithmetic = \"f32\"\nrounding = \"nearest\""), @r#"
    trial.toml:3:12: `training.rounding` without fixed-point arithmetic
    | rounding = "nearest"
    |            ^^^^^^^^^
    help: set `training.arithmetic = "fixed"`, or leave rounding out
    "#);
    assert_snapshot!(training("arithmetic = \"fixed\"\nmomentum = 0.9"), @r#"
    trial.toml:3:12: `training.momentum` with fixed-point arithmetic
    | momentum = 0.9
    |            ^^^
    help: fixed-point training is plain gradient descent: leave `training.momentum` out, or set `training.arithmetic = "f32"`
    "#);
    assert_snapshot!(training("arithmetic = \"fixed\"\nweight-decay = 1e-4"), @r#"
    trial.toml:3:16: `training.weight-decay` with fixed-point arithmetic
    | weight-decay = 1e-4
    |                ^^^^
    help: fixed-point training is plain gradient descent: leave `training.weight-decay` out, or set `training.arithmetic = "f32"`
    "#);
    assert_snapshot!(training("arithmetic = \"fixed\"\nclip-norm = 5"), @r#"
    trial.toml:3:13: `training.clip-norm` with fixed-point arithmetic
    | clip-norm = 5
    |             ^
    help: fixed-point training is plain gradient descent: leave `training.clip-norm` out, or set `training.arithmetic = "f32"`
    "#);
    assert_snapshot!(training("arithmetic = \"fixed\"\nproximal = 0.1"), @r#"
    trial.toml:3:12: `training.proximal` with fixed-point arithmetic
    | proximal = 0.1
    |            ^^^
    help: fixed-point training is plain gradient descent: leave `training.proximal` out, or set `training.arithmetic = "f32"`
    "#);
}

#[test]
fn arithmetic_has_its_defaults() {
    let arithmetic = |lines: &str| {
        experiment(&format!("[training]\n{lines}\n"), &[])
            .training
            .arithmetic
    };
    let fixed = |weight_bits, rounding| Arithmetic::Fixed {
        weight_bits,
        rounding,
    };
    assert_eq!(arithmetic(""), Arithmetic::F32);
    let text = "arithmetic = \"fixed\"\nmomentum = 0\nproximal = 0.0\nnesterov = false";
    assert_eq!(
        arithmetic(text),
        fixed(WeightBits::ThirtyTwo, Rounding::Nearest)
    );
    let text = "arithmetic = \"fixed\"\nweight-bits = 16";
    assert_eq!(
        arithmetic(text),
        fixed(WeightBits::Sixteen, Rounding::Stochastic)
    );
    let text = "arithmetic = \"fixed\"\nweight-bits = 8";
    assert_eq!(
        arithmetic(text),
        fixed(WeightBits::Eight, Rounding::Stochastic)
    );
    let text = "arithmetic = \"fixed\"\nweight-bits = 8\nrounding = \"nearest\"";
    assert_eq!(
        arithmetic(text),
        fixed(WeightBits::Eight, Rounding::Nearest)
    );
}

#[test]
fn schedules_that_cannot_be() {
    let schedule = |text: &str| refused(&format!("[training.schedule{text}\n"));
    assert_snapshot!(schedule("]"), @r"
    trial.toml:1:1: `training.schedule` says nothing
    | [training.schedule]
    | ^^^^^^^^^^^^^^^^^^^
    help: `training.schedule`: exactly one of the tables step, exponential, cosine, warm-up
    ");
    assert_snapshot!(schedule(".step]\nevery = 10"), @r"
    trial.toml:1:1: `training.schedule.step`: missing key `factor`
    | [training.schedule.step]
    | ^^^^^^^^^^^^^^^^^^^^^^^^
    help: `training.schedule.step`: a table with every and factor
    ");
    assert_snapshot!(schedule(".step]\nevery = 0\nfactor = 0.5"), @r"
    trial.toml:2:9: `training.schedule.step.every` is 0
    | every = 0
    |         ^
    help: `training.schedule.step.every`: a whole number of rounds from 1 to 1000000
    ");
    assert_snapshot!(schedule(".step]\nevery = 1\nfactor = 1.5"), @r"
    trial.toml:3:10: `training.schedule.step.factor` is 1.5
    | factor = 1.5
    |          ^^^
    help: `training.schedule.step.factor`: a number above 0, at most 1
    ");
    assert_snapshot!(schedule(".exponential]\nfactor = 0"), @r"
    trial.toml:2:10: `training.schedule.exponential.factor` is 0
    | factor = 0
    |          ^
    help: `training.schedule.exponential.factor`: a number above 0, at most 1
    ");
    assert_snapshot!(schedule(".cosine]\nminimum = 0.2"), @r"
    trial.toml:2:11: `training.schedule.cosine.minimum` is 0.2
    | minimum = 0.2
    |           ^^^
    help: `training.schedule.cosine.minimum`: a number from 0 to training.learning-rate
    ");
    assert_snapshot!(schedule(".warm-up]\nrounds = 1_000_001"), @r"
    trial.toml:2:10: `training.schedule.warm-up.rounds` is 1_000_001
    | rounds = 1_000_001
    |          ^^^^^^^^^
    help: `training.schedule.warm-up.rounds`: a whole number of rounds from 1 to 1000000
    ");
    assert_snapshot!(schedule(".warmup]\nrounds = 5"), @r"
    trial.toml:1:20: unknown key `warmup` in `training.schedule`
    | [training.schedule.warmup]
    |                    ^^^^^^
    help: did you mean `warm-up`? allowed in `training.schedule`: step, exponential, cosine, warm-up
    ");
    assert_snapshot!(schedule(
        ".cosine]\n[training.schedule.warm-up]\nrounds = 5"
    ), @r"
    trial.toml:2:1: `training.schedule.warm-up` beside `training.schedule.cosine`
    | [training.schedule.warm-up]
    | ^^^^^^^^^^^^^^^^^^^^^^^^^^^
    help: `training.schedule`: exactly one of the tables step, exponential, cosine, warm-up
    ");
    assert_snapshot!(refused("[training]\nschedule = \"cosine\"\n"), @r#"
    trial.toml:2:12: `training.schedule`: invalid type: string "cosine", expected a table
    | schedule = "cosine"
    |            ^^^^^^^^
    help: `training.schedule`: exactly one of the tables step, exponential, cosine, warm-up
    "#);
}

#[test]
fn shares_can_be_bounded() {
    let partition = |text: &str| experiment(text, &[]).partition;
    let iid = |samples_per_client| Partition::Iid { samples_per_client };
    assert_eq!(partition("[partition.iid]\n"), iid(None));
    let text = "[partition.iid]\nsamples-per-client = 150\n";
    assert_eq!(partition(text), iid(Some(150)));
    assert_snapshot!(refused("[partition.iid]\nsamples-per-client = 0\n"), @r"
    trial.toml:2:22: `partition.iid.samples-per-client` is 0
    | samples-per-client = 0
    |                      ^
    help: `partition.iid.samples-per-client`: a whole number from 1 to 65535
    ");
}

#[test]
fn shards_are_dealt_to_clients() {
    let partition = |text: &str| experiment(text, &[]).partition;
    let shards = |per_client| Partition::Shards { per_client };
    assert_eq!(partition("[partition.shards]\n"), shards(2));
    let text = "[partition.shards]\nper-client = 5\n";
    assert_eq!(partition(text), shards(5));
    assert_snapshot!(refused("[partition.shards]\nper-client = 0\n"), @r"
    trial.toml:2:14: `partition.shards.per-client` is 0
    | per-client = 0
    |              ^
    help: `partition.shards.per-client`: a whole number from 1 to 65535
    ");
    assert_snapshot!(refused("[partition.shards]\n\n[partition.iid]\n"), @r"
    trial.toml:3:1: `partition.iid` beside `partition.shards`
    | [partition.iid]
    | ^^^^^^^^^^^^^^^
    help: `partition`: exactly one of the tables partition.iid, partition.shards, partition.dirichlet, partition.label-limited, partition.quantity-skew, partition.natural
    ");
}

#[test]
fn labels_can_be_dealt_in_parts_of_a_dirichlet_distribution() {
    let partition = |text: &str| experiment(text, &[]).partition;
    let dirichlet = |alpha, samples_min| Partition::Dirichlet { alpha, samples_min };
    assert_eq!(partition("[partition.dirichlet]\n"), dirichlet(0.5, 1));
    let text = "[partition.dirichlet]\nalpha = 1\nsamples-min = 10\n";
    assert_eq!(partition(text), dirichlet(1.0, 10));
    assert_snapshot!(refused("[partition.dirichlet]\nalpha = 0\n"), @r"
    trial.toml:2:9: `partition.dirichlet.alpha` is 0
    | alpha = 0
    |         ^
    help: `partition.dirichlet.alpha`: a number from 0.001 to 1000000
    ");
    assert_snapshot!(refused("[partition.dirichlet]\nsamples-min = 0\n"), @r"
    trial.toml:2:15: `partition.dirichlet.samples-min` is 0
    | samples-min = 0
    |               ^
    help: `partition.dirichlet.samples-min`: a whole number from 1 to 65535
    ");
}

#[test]
fn clients_can_be_limited_to_a_few_classes() {
    let partition = |text: &str| experiment(text, &[]).partition;
    let limited = |classes| Partition::LabelLimited { classes };
    assert_eq!(partition("[partition.label-limited]\n"), limited(2));
    let text = "[partition.label-limited]\nclasses = 256\n";
    assert_eq!(partition(text), limited(256));
    assert_snapshot!(refused("[partition.label-limited]\nclasses = 257\n"), @r"
    trial.toml:2:11: `partition.label-limited.classes` is 257
    | classes = 257
    |           ^^^
    help: `partition.label-limited.classes`: a whole number from 1 to 256
    ");
}

#[test]
fn shares_can_differ_in_size() {
    let partition = |text: &str, sets: &[&str]| experiment(text, sets).partition;
    let skew = |sizes, samples_min| Partition::QuantitySkew { sizes, samples_min };
    let zipf = "[partition.quantity-skew.power-law]\n";
    let exponent = |exponent| ShareSizes::PowerLaw { exponent };
    assert_eq!(partition(zipf, &[]), skew(exponent(1.0), 1));
    let text = format!("{zipf}exponent = 2.5\nsamples-min = 4\n");
    assert_eq!(partition(&text, &[]), skew(exponent(2.5), 4));
    // One replaces the other.
    let set = "partition.quantity-skew.dirichlet.alpha=3";
    let alpha = ShareSizes::Dirichlet { alpha: 3.0 };
    assert_eq!(partition(&text, &[set]), skew(alpha, 1));
    assert_snapshot!(refused(&format!("{zipf}exponent = 11\n")), @r"
    trial.toml:2:12: `partition.quantity-skew.power-law.exponent` is 11
    | exponent = 11
    |            ^^
    help: `partition.quantity-skew.power-law.exponent`: a number from 0 to 10
    ");
    assert_snapshot!(refused("[partition.quantity-skew]\n"), @r"
    trial.toml:1:1: `partition.quantity-skew` says nothing
    | [partition.quantity-skew]
    | ^^^^^^^^^^^^^^^^^^^^^^^^^
    help: `partition.quantity-skew`: exactly one of the tables partition.quantity-skew.power-law, partition.quantity-skew.dirichlet
    ");
}

#[test]
fn inputs_can_have_noise() {
    let sigma = |text: &str| experiment(text, &[]).feature_noise_sigma;
    assert_eq!(sigma("[feature-noise]\n"), 0.0);
    assert_eq!(sigma("[feature-noise]\nsigma = 0.1\n"), 0.1);
    assert_snapshot!(refused("[feature-noise]\nsigma = -0.1\n"), @r"
    trial.toml:2:9: `feature-noise.sigma` is -0.1
    | sigma = -0.1
    |         ^^^^
    help: `feature-noise.sigma`: a number from 0 to 10
    ");
}

#[test]
fn groups_can_be_dealt_whole() {
    let partition = |text: &str| experiment(text, &[]).partition;
    assert_eq!(partition("[partition.natural]\n"), Partition::Natural);
    let set = experiment("", &["partition.natural={}"]);
    assert_eq!(set.partition, Partition::Natural);
}

#[test]
fn fleets_of_native_clients() {
    let text = "[[fleet]]\nfidelity = \"native\"\ncount = 900_000\n[[fleet]]\nboard = \"native\"\nfidelity = \"native\"\n[[fleet]]\nboard = \"mps2-an385\"\ncount = 10_000\n";
    let mut mixed = experiment(text, &[]);
    assert_eq!(mixed.fleet_size(), 910_001);
    let boards = |experiment: &Experiment| -> Vec<String> {
        let boards = experiment.fleet.iter();
        boards.map(|group| group.board.clone()).collect()
    };
    assert_eq!(boards(&mixed), ["native", "native", "mps2-an385"]);
    mixed.set_fidelity(Fidelity::Native);
    assert_eq!(boards(&mixed), ["native"; 3]);
    assert!(
        mixed
            .fleet
            .iter()
            .all(|group| group.fidelity == Fidelity::Native)
    );
    // A board says nothing of a native client, but it must be one.
    let set = experiment(FLEET, &["fleet.0.fidelity=native"]);
    assert_eq!(boards(&set), ["native"]);
    assert_eq!(parse_with(&mixed.to_toml(), &[]).unwrap(), mixed);

    assert_snapshot!(refused("[[fleet]]\nfidelity = \"real\"\n"), @r#"
    trial.toml:2:12: `fleet.0.fidelity` is "real"
    | fidelity = "real"
    |            ^^^^^^
    help: `fleet.*.fidelity`: "emulated" or "native"
    "#);
    assert_snapshot!(refused("[[fleet]]\nboard = \"native\"\n"), @r#"
    trial.toml:2:9: "native" is no board to emulate
    | board = "native"
    |         ^^^^^^^^
    help: for clients without a machine set `fidelity = "native"`
    "#);
    assert_snapshot!(refused(
        "[[fleet]]\nboard = \"mps2-an368\"\nfidelity = \"native\"\n"
    ), @r#"
    trial.toml:2:9: no board "mps2-an368"
    | board = "mps2-an368"
    |         ^^^^^^^^^^^^
    help: did you mean `mps2-an386`? known boards: mps2-an385, mps2-an386, mps2-an500; or the path of a board file
    "#);
    assert_snapshot!(refused("[[fleet]]\ncount = 10_001\n"), @r"
    trial.toml:2:9: 10001 emulated devices up to here
    | count = 10_001
    |         ^^^^^^
    help: `fleet.*.count`: a whole number from 1; at most 10000 emulated devices and 1000000 clients in all
    ");
    assert_snapshot!(refused(
        "[[fleet]]\ncount = 1_000_001\nfidelity = \"native\"\n"
    ), @r"
    trial.toml:2:9: `fleet.0.count` is 1_000_001
    | count = 1_000_001
    |         ^^^^^^^^^
    help: `fleet.*.count`: a whole number from 1; at most 10000 emulated devices and 1000000 clients in all
    ");
    assert_snapshot!(refused(
        "[[fleet]]\ncount = 1_000_000\nfidelity = \"native\"\n[[fleet]]\n"
    ), @r"
    trial.toml:4:1: 1000001 devices up to here
    | [[fleet]]
    | ^^^^^^^^^
    help: `fleet.*.count`: a whole number from 1; at most 10000 emulated devices and 1000000 clients in all
    ");
}

#[test]
fn fleets() {
    assert_snapshot!(refused("[[fleet]]\nboard = \"mps2-an368\"\n"), @r#"
    trial.toml:2:9: no board "mps2-an368"
    | board = "mps2-an368"
    |         ^^^^^^^^^^^^
    help: did you mean `mps2-an386`? known boards: mps2-an385, mps2-an386, mps2-an500; or the path of a board file
    "#);
    assert_snapshot!(refused("[[fleet]]\nboard = \"stm32\"\n"), @r#"
    trial.toml:2:9: no board "stm32"
    | board = "stm32"
    |         ^^^^^^^
    help: known boards: mps2-an385, mps2-an386, mps2-an500; or the path of a board file
    "#);
    assert_snapshot!(refused("[[fleet]]\ncount = 0\n"), @r"
    trial.toml:2:9: `fleet.0.count` is 0
    | count = 0
    |         ^
    help: `fleet.*.count`: a whole number from 1; at most 10000 emulated devices and 1000000 clients in all
    ");
    assert_snapshot!(refused("[[fleet]]\ncount = 9999\n[[fleet]]\ncount = 2\n"), @r"
    trial.toml:4:9: 10001 emulated devices up to here
    | count = 2
    |         ^
    help: `fleet.*.count`: a whole number from 1; at most 10000 emulated devices and 1000000 clients in all
    ");
}

#[test]
fn variants() {
    assert_snapshot!(refused("[data.mnist]\n\n[data.digits]\n"), @r"
    trial.toml:3:1: `data.digits` beside `data.mnist`
    | [data.digits]
    | ^^^^^^^^^^^^^
    help: `data`: exactly one of the tables data.digits, data.mnist, data.idx, data.csv, data.parquet, data.npz
    ");
    assert_snapshot!(refused("[data]\n"), @r"
    trial.toml:1:1: `data` says nothing
    | [data]
    | ^^^^^^
    help: `data`: exactly one of the tables data.digits, data.mnist, data.idx, data.csv, data.parquet, data.npz
    ");
    assert_snapshot!(refused("model = {}\n"), @r"
    trial.toml:1:9: `model` says nothing
    | model = {}
    |         ^^
    help: `model`: exactly one of the tables model.softmax-regression, model.mlp, model.cnn
    ");
    assert_snapshot!(refused("[data.idx]\ntrain-images = \"a\"\n"), @r"
    trial.toml:1:1: `data.idx`: missing key `train-labels`
    | [data.idx]
    | ^^^^^^^^^^
    help: `data.idx`: a table with train-images, train-labels, test-images, test-labels, and if need be value-scale and classes
    ");
}

#[test]
fn text_that_is_not_toml() {
    assert_snapshot!(refused("[training\nepochs = 1\n"), @r"
    trial.toml:1:10: unclosed table, expected `]`
    | [training
    |          ^
    help: TOML: `key = value` lines under `[table]` headers, text in quotes
    ");
    assert_snapshot!(refused("rounds =\n"), @r"
    trial.toml:1:9: string values must be quoted, expected literal string
    | rounds =
    |         ^
    help: TOML: `key = value` lines under `[table]` headers, text in quotes
    ");
    assert_snapshot!(refused("rounds = 1\nrounds = 2\n"), @r"
    trial.toml:2:1: duplicate key
    | rounds = 2
    | ^^^^^^
    help: TOML: `key = value` lines under `[table]` headers, text in quotes
    ");
    assert_snapshot!(refused("größe = \"ü\" x\n"), @r#"
    trial.toml:1:13: unexpected key or value, expected newline, `#`
    | größe = "ü" x
    |             ^
    help: TOML: `key = value` lines under `[table]` headers, text in quotes
    "#);
}

#[test]
fn sets_change_the_file() {
    let text = format!("# kept\n[data.digits]\ntest-share = 0.5\n{FLEET}");
    let changed = experiment(
        &text,
        &[
            "seed=0x10",
            "name = other",
            "training.epochs=1",
            "training.learning-rate=0.5",
            "fleet.0.count=5",
            "fleet.1.board=mps2-an500",
            "model.mlp.hidden=[8, 4]",
            "data.digits.test-share=0.3",
        ],
    );
    assert_snapshot!(changed.to_toml(), @r#"
    name = "other"
    seed = 16
    rounds = 20
    parallel = 0
    network = "switch"

    [data.digits]
    test-share = 0.3

    [partition.iid]

    [feature-noise]
    sigma = 0.0

    [model.mlp]
    hidden = [8, 4]
    activation = "relu"
    initialisation = "auto"
    frozen = []

    [training]
    epochs = 1
    batch-size = 16
    learning-rate = 0.5
    loss = "cross-entropy"
    momentum = 0.0
    nesterov = false
    weight-decay = 0.0
    proximal = 0.0
    arithmetic = "f32"

    [strategy.fed-avg]

    [coordinator]
    clients-per-round = 6
    over-selection = 0.0
    quorum = 6
    on-failed-round = "end"
    rest-rounds = 0
    rest-rounds-max = 0
    staleness-rounds-max = 0
    port = 0

    [deadlines]
    boot-s = 60
    ready-s = 120
    round-s = 300

    [time]
    counting = "instructions"

    [[fleet]]
    board = "mps2-an386"
    fidelity = "emulated"
    count = 5
    on-misfit = "skip"
    link = "ethernet"

    [[fleet]]
    board = "mps2-an500"
    fidelity = "emulated"
    count = 1
    on-misfit = "skip"
    link = "ethernet"
    "#);
}

#[test]
fn sets_change_layers_and_schedules() {
    let text = r#"
[model.cnn]
layers = [{ conv = { filters = 8, kernel = 5 } }, { max-pool = { size = 2 } }]

[training.schedule.step]
every = 10
factor = 0.5
"#;
    let layers = |sets: &[&str]| match experiment(text, sets).model.kind {
        ModelKind::Cnn { layers } => layers,
        other => panic!("{other:?}"),
    };
    let pool = |layers: &[CnnLayer]| layers[1];
    assert_eq!(
        pool(&layers(&["model.cnn.layers.1.max-pool.size=3"])),
        CnnLayer::MaxPool { size: 3 }
    );
    assert_eq!(
        pool(&layers(&["model.cnn.layers.1.average-pool.size=3"])),
        CnnLayer::AveragePool { size: 3 }
    );
    assert_eq!(
        pool(&layers(&["model.cnn.layers.1={average-pool={size=4}}"])),
        CnnLayer::AveragePool { size: 4 }
    );
    assert_eq!(
        layers(&[
            "model.cnn.layers.2.flatten={}",
            "model.cnn.layers.3.dense.outputs=9"
        ])[2..],
        [
            CnnLayer::Flatten,
            CnnLayer::Dense {
                outputs: 9,
                activation: Activation::Relu
            }
        ]
    );
    // A list that is not there yet.
    let set = "model.cnn.layers.0.max-pool.size=2";
    assert_eq!(
        experiment("", &[set]).model.kind,
        ModelKind::Cnn {
            layers: vec![CnnLayer::MaxPool { size: 2 }]
        }
    );
    assert_eq!(
        experiment(text, &["model.mlp.hidden=[32]"]).model.kind,
        ModelKind::Mlp {
            hidden: vec![32],
            activation: Activation::Relu
        }
    );

    let training = |sets: &[&str]| experiment(text, sets).training;
    assert_eq!(
        training(&["training.schedule.step.every=2"]).schedule,
        Schedule::Step {
            every: 2,
            factor: 0.5
        }
    );
    assert_eq!(
        training(&["training.schedule.cosine.minimum=0.01"]).schedule,
        Schedule::Cosine { minimum: 0.01 }
    );
    let sets = ["training.momentum=0.9", "training.nesterov=true"];
    assert_eq!(training(&sets).momentum, 0.9);
    assert!(training(&sets).nesterov);
    let sets = ["training.arithmetic=fixed", "training.weight-bits=16"];
    assert_eq!(
        training(&sets).arithmetic,
        Arithmetic::Fixed {
            weight_bits: WeightBits::Sixteen,
            rounding: Rounding::Stochastic
        }
    );
    assert_snapshot!(set_refused(text, &["model.cnn.layers.3.flatten={}"]), @r"
    --set model.cnn.layers.3.flatten={}: `model.cnn.layers` has no entry `3`
    | model.cnn.layers.3.flatten={}
    |                  ^
    help: its entries are model.cnn.layers.0 to model.cnn.layers.2, the last of which would be a new one
    ");
    assert_snapshot!(set_refused(text, &["model.cnn.layers.0.conv.kernel=0"]), @r"
    --set model.cnn.layers.0.conv.kernel=0: `model.cnn.layers.0.conv.kernel` is 0
    | model.cnn.layers.0.conv.kernel=0
    |                                ^
    help: `model.cnn.layers.*.conv.kernel`: a whole number from 1 to 255
    ");
    assert_snapshot!(set_refused(text, &["model.cnn.layers.1.dense.outputs=3"]), @r"
    trial.toml:3:51: `model.cnn.layers.1`: dense without a flatten before it
    | layers = [{ conv = { filters = 8, kernel = 5 } }, { max-pool = { size = 2 } }]
    |                                                   ^^^^^^^^^^^^^^^^^^^^^^^^^^^
    help: the order is conv, max-pool and average-pool layers, then one flatten, then dense layers; zfl appends the output layer
    ");
}

#[test]
fn a_set_replaces_the_other_variant() {
    let text = "[data.digits]\ntest-share = 0.5\n";
    let folder = |experiment: Experiment| match experiment.data {
        Data::Mnist { folder } => folder,
        other => panic!("{other:?}"),
    };
    assert_eq!(folder(experiment(text, &["data.mnist={}"])), None);
    let changed = experiment(text, &["data.mnist.folder=some/place"]);
    assert_eq!(folder(changed), Some(PathBuf::from("some/place")));
    let back = experiment(text, &["data.mnist={}", "data.digits.test-share=0.1"]);
    assert_eq!(back.data, Data::Digits { test_share: 0.1 });
}

#[test]
fn the_last_set_counts() {
    assert_eq!(experiment("", &["seed=2", "seed=3"]).seed, 3);
}

#[test]
fn sets_at_fault_are_named() {
    assert_snapshot!(set_refused(FLEET, &["seed=3", "training.epochs=0"]), @r"
    --set training.epochs=0: `training.epochs` is 0
    | training.epochs=0
    |                 ^
    help: `training.epochs`: a whole number from 1 to 10000
    ");
    assert_snapshot!(set_refused(FLEET, &["training.epoch=1"]), @r"
    --set training.epoch=1: unknown key `epoch` in `training`
    | training.epoch=1
    |          ^^^^^
    help: did you mean `epochs`? allowed in `training`: epochs, batch-size, learning-rate, loss, momentum, nesterov, weight-decay, clip-norm, proximal, arithmetic, weight-bits, rounding, schedule
    ");
    assert_snapshot!(set_refused(FLEET, &["training.epochs=many"]), @r#"
    --set training.epochs=many: `training.epochs`: invalid type: string "many", expected a whole number
    | training.epochs=many
    |                 ^^^^
    help: `training.epochs`: a whole number from 1 to 10000
    "#);
    assert_snapshot!(set_refused(FLEET, &["fleet.0.board=mps2-an387"]), @r"
    --set fleet.0.board=mps2-an387: no board mps2-an387
    | fleet.0.board=mps2-an387
    |               ^^^^^^^^^^
    help: did you mean `mps2-an385`? known boards: mps2-an385, mps2-an386, mps2-an500; or the path of a board file
    ");
    assert_snapshot!(set_refused(FLEET, &["fleet.2.count=5"]), @r"
    --set fleet.2.count=5: `fleet` has no entry `2`
    | fleet.2.count=5
    |       ^
    help: its entries are fleet.0 to fleet.1, the last of which would be a new one
    ");
    assert_snapshot!(set_refused(FLEET, &["fleet.one.count=5"]), @r"
    --set fleet.one.count=5: `fleet` has no entry `one`
    | fleet.one.count=5
    |       ^^^
    help: its entries are fleet.0 to fleet.1, the last of which would be a new one
    ");
    assert_snapshot!(set_refused(FLEET, &["seed"]), @r"
    --set seed: no `=`
    | seed
    | ^^^^
    help: give KEY=VALUE, such as training.epochs=1
    ");
    assert_snapshot!(set_refused(FLEET, &["=3"]), @r"
    --set =3: `` is not a key
    | =3
    | ^
    help: give KEY=VALUE, such as training.epochs=1
    ");
    assert_snapshot!(set_refused(FLEET, &["a..b=3"]), @r"
    --set a..b=3: `a..b` is not a key
    | a..b=3
    |   ^
    help: give KEY=VALUE, such as training.epochs=1
    ");
    assert_snapshot!(set_refused(FLEET, &["a.a.a.a.a.a.a.a.a=3"]), @r"
    --set a.a.a.a.a.a.a.a.a=3: `a.a.a.a.a.a.a.a.a` is not a key
    | a.a.a.a.a.a.a.a.a=3
    |                 ^
    help: give KEY=VALUE, such as training.epochs=1
    ");
    assert_snapshot!(set_refused(FLEET, &["model.mlp.hidden=[1, 2"]), @r"
    --set model.mlp.hidden=[1, 2: unclosed array, expected `]`
    | model.mlp.hidden=[1, 2
    |                       ^
    help: give a TOML value or a word without quotes
    ");
    assert_snapshot!(set_refused(FLEET, &["model.mlp.hidden=[1, 0]"]), @r"
    --set model.mlp.hidden=[1, 0]: `model.mlp.hidden.1` is 0
    | model.mlp.hidden=[1, 0]
    |                      ^
    help: `model.mlp.hidden`: a list of at most 15 widths, whole numbers from 1 to 65535, such as [16] or []
    ");
    assert_snapshot!(set_refused("seed = 3\n", &["seed.x=1"]), @r"
    --set seed.x=1: `seed` is a value, not a table
    | seed.x=1
    | ^^^^
    help: `seed`: a whole number from 0 to 9223372036854775807
    ");
    assert_snapshot!(set_refused(FLEET, &["data=mnist"]), @r#"
    --set data=mnist: `data`: invalid type: string "mnist", expected a table
    | data=mnist
    |      ^^^^^
    help: `data`: exactly one of the tables data.digits, data.mnist, data.idx, data.csv, data.parquet, data.npz
    "#);
    assert_snapshot!(set_refused(FLEET, &["coordinator.quorum=11"]), @r"
    --set coordinator.quorum=11: `coordinator.quorum` is 11
    | coordinator.quorum=11
    |                    ^^
    help: `coordinator.quorum`: a whole number from 1 to 10, the size of the fleet
    ");
    assert_snapshot!(set_refused(FLEET, &["data={digits={},mnist={}}"]), @r"
    --set data={digits={},mnist={}}: `data.mnist` beside `data.digits`
    | data={digits={},mnist={}}
    |                       ^^
    help: `data`: exactly one of the tables data.digits, data.mnist, data.idx, data.csv, data.parquet, data.npz
    ");
}

#[test]
fn a_set_does_not_hide_a_fault_of_the_file() {
    let text = "[training]\nepochs = 1\nbatch-size = 0\n";
    assert_snapshot!(set_refused(text, &["training.epochs=2"]), @r"
    trial.toml:3:14: `training.batch-size` is 0
    | batch-size = 0
    |              ^
    help: `training.batch-size`: a whole number from 1 to 65535
    ");
    // But mends what it replaces.
    assert_eq!(
        experiment(text, &["training.batch-size=2"])
            .training
            .batch_size,
        2
    );
}

#[test]
fn a_long_or_loud_value_is_shortened() {
    let error = parse_with("", &[&format!("name=\u{1b}[31m{}", "x".repeat(5000))]).unwrap_err();
    let shown = error.to_string();
    assert!(shown.len() < 600, "{} bytes", shown.len());
    assert!(!shown.contains('\u{1b}'));
    let error = parse_with(&format!("rounds = \"{}\"", "x".repeat(5000)), &[]).unwrap_err();
    assert!(error.to_string().len() < 600);
}

/// What [`Experiment::from_file`] says of `path`, which is called `FILE`.
fn file_refused(path: &Path) -> String {
    let error = Experiment::from_file(path, &[], &BOARDS).unwrap_err();
    shown(&error).replace(&path.display().to_string(), "FILE")
}

#[test]
fn files_that_are_no_experiment() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    assert_snapshot!(file_refused(&path("missing.toml")), @r"
    FILE: failed to read it: No such file or directory (os error 2)
    help: give the path of an experiment file, such as examples/digits.toml
    ");
    assert_snapshot!(file_refused(folder.path()), @r"
    FILE: not a file
    help: give the path of an experiment file, such as examples/digits.toml
    ");

    std::fs::write(path("latin.toml"), b"seed = 1\nname = \"caf\xe9\"\n").unwrap();
    assert_snapshot!(file_refused(&path("latin.toml")), @r#"
    FILE:2:12: the file is not UTF-8 text
    | name = "caf�"
    |            ^
    help: save it as UTF-8; TOML allows nothing else
    "#);

    File::create(path("huge.toml"))
        .and_then(|file| file.set_len(300 << 20))
        .unwrap();
    assert_snapshot!(file_refused(&path("huge.toml")), @r"
    FILE: the file is 314572800 bytes long
    help: an experiment file has at most 1048576 bytes; is it the right file?
    ");
}

#[test]
fn paths_count_from_the_file_and_those_of_a_set_from_here() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("experiment.toml");
    let text = "[data.idx]\ntrain-images = \"a\"\ntrain-labels = \"/b\"\ntest-images = \"c/d\"\ntest-labels = \"e\"\n[[fleet]]\nboard = \"./board.toml\"\n";
    std::fs::write(&file, text).unwrap();
    let sets = ["data.idx.test-labels=f".to_owned()];
    let experiment = Experiment::from_file(&file, &sets, &BOARDS).unwrap();
    let Data::Idx(idx) = &experiment.data else {
        panic!("{:?}", experiment.data);
    };
    assert_eq!(idx.train_images, folder.path().join("a"));
    assert_eq!(idx.train_labels, Path::new("/b"));
    assert_eq!(idx.test_images, folder.path().join("c/d"));
    assert_eq!(idx.test_labels, std::env::current_dir().unwrap().join("f"));
    let board = folder.path().join("./board.toml");
    assert_eq!(experiment.fleet[0].board, board.display().to_string());

    // The record of the run means the same from anywhere.
    assert_eq!(parse_with(&experiment.to_toml(), &[]).unwrap(), experiment);
}

#[test]
fn it_renders_as_a_diagnostic() {
    use miette::Diagnostic;
    let error = parse_with("[training]\nepochs = 0\n", &[]).unwrap_err();
    assert_eq!(error.line_column(), Some((2, 10)));
    let label = error.labels().and_then(|mut labels| labels.next()).unwrap();
    let source = error.source_code().unwrap();
    let contents = source.read_span(label.inner(), 0, 0).unwrap();
    assert_eq!(contents.data(), b"0");
    assert_eq!(contents.name(), Some("trial.toml"));
    assert_eq!((contents.line(), contents.column()), (1, 9));
    assert!(
        Diagnostic::help(&error)
            .unwrap()
            .to_string()
            .contains("1 to 10000")
    );
}

#[test]
fn the_examples_are_experiments() {
    let example = |name: &str, text: &str| {
        Experiment::parse(text, name, &[], &BOARDS).unwrap_or_else(|error| panic!("{error}"))
    };
    let digits = example(
        "digits.toml",
        include_str!("../../../../examples/digits.toml"),
    );
    assert_eq!(digits.fleet_size(), 10);
    assert_eq!(digits.rounds, 20);
    let mnist = example(
        "mnist.toml",
        include_str!("../../../../examples/mnist.toml"),
    );
    let faults = example(
        "faults.toml",
        include_str!("../../../../examples/faults.toml"),
    );
    assert!(faults.fleet.iter().all(|group| group.faults.is_some()));
    let sensors = example(
        "sensors.toml",
        include_str!("../../../../examples/sensors/sensors.toml"),
    );
    assert!(matches!(sensors.data, Data::Csv(_)));
    assert_eq!(mnist.coordinator.clients_per_round, Some(50));
    assert_eq!(mnist.coordinator.quorum, Some(50));
    assert_eq!(mnist.data, Data::Mnist { folder: None });
    // The same over lossy links, and with the time that this takes.
    let lossy = example(
        "mnist-lossy.toml",
        include_str!("../../../../examples/mnist-lossy.toml"),
    );
    let [group] = &lossy.fleet[..] else {
        panic!("{:?}", lossy.fleet);
    };
    assert_eq!(lossy.link(group).unwrap().loss, 0.1);
    let mut repaired = lossy.clone();
    repaired.name = mnist.name.clone();
    repaired.parallel = mnist.parallel;
    repaired.deadlines = mnist.deadlines;
    repaired.links = mnist.links.clone();
    repaired.fleet = mnist.fleet.clone();
    assert_eq!(repaired, mnist);
    let cnn = example(
        "cnn-mnist.toml",
        include_str!("../../../../examples/cnn-mnist.toml"),
    );
    assert_eq!(cnn.model.weighted_layers(), ["conv0", "conv1", "dense0"]);
}

#[test]
fn the_experiments_of_the_fedavg_paper_are_experiments() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/fedavg-paper");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let paper = Experiment::parse(&text, name, &[], &BOARDS)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(format!("{}.toml", paper.name), name);
        assert_eq!(paper.fleet_size(), 100);
        assert_eq!(paper.coordinator.clients_per_round, Some(10));
        assert!(paper.coordinator.target_accuracy.is_some());
        let is_iid = matches!(paper.partition, Partition::Iid { .. });
        assert_eq!(is_iid, name.contains("-iid"), "{name}");
        names.push(name.to_owned());
    }
    assert_eq!(names.len(), 5, "{names:?}");
}

/// The link of the fleet of a file.
fn link(text: &str, sets: &[&str]) -> Link {
    let experiment = experiment(text, sets);
    experiment.link(&experiment.fleet[0]).unwrap()
}

#[test]
fn links() {
    let of_fleet = |name: &str| format!("[[fleet]]\nlink = \"{name}\"\n");
    let ethernet = Link::built_in("ethernet").unwrap();
    let wifi = Link::built_in("wifi").unwrap();
    assert_eq!(link("[[fleet]]\n", &[]), ethernet);
    assert_eq!(link(&of_fleet("wifi"), &[]), wifi);

    // A table begins with Ethernet, a built-in link or another table, whichever
    // is written first.
    let text = "[[fleet]]\nlink = \"b\"\n[link.b]\nbased-on = \"a\"\nloss = 0.2\n\
        [link.a]\nbased-on = \"wifi\"\nloss = 0.1\ndelay-ms = 40\n";
    let expected = Link {
        loss: 0.2,
        delay_ms: 40.0,
        ..wifi
    };
    assert_eq!(link(text, &[]), expected);

    // A `--set` makes a link of its own, or changes one.
    let lossy = Link {
        loss: 0.1,
        ..ethernet
    };
    let sets = ["fleet.0.link=lossy", "link.lossy.loss=0.1"];
    assert_eq!(link("[[fleet]]\n", &sets), lossy);
    let sets = ["link.b.outages.0={from-s=1,for-s=2}", "link.a.delay-ms=50"];
    let expected = Link {
        delay_ms: 50.0,
        outages: vec![Outage {
            from: Duration::from_secs(1),
            lasts: Duration::from_secs(2),
        }],
        ..expected
    };
    assert_eq!(link(text, &sets), expected);

    let bursts = "[link.a.burst-loss]\nbegin = 0.01\nend = 0.25\n";
    let text = format!("{bursts}[link.b]\nbased-on = \"a\"\nburst-loss = {{ end = 0.5 }}\n");
    let expected = BurstLoss {
        begin: 0.01,
        end: 0.5,
        loss: 1.0,
    };
    assert_eq!(experiment(&text, &[]).links["b"].burst_loss, Some(expected));
}

#[test]
fn impossible_links() {
    assert_snapshot!(refused("[[fleet]]\nlink = \"wiffi\"\n[link.own]\n"), @r#"
    trial.toml:2:8: no link "wiffi"
    | link = "wiffi"
    |        ^^^^^^^
    help: did you mean `wifi`? known links: own, ethernet, wifi, satellite, ble, lte-m, ieee802154, nb-iot; or a table [link.NAME]
    "#);
    assert_snapshot!(refused("[link.wifi]\nloss = 0.1\n"), @r#"
    trial.toml:1:1: `wifi` is the name of a built-in link
    | [link.wifi]
    | ^^^^^^^^^^^
    help: give yours another name, and `based-on = "wifi"` to begin with its figures
    "#);
    assert_snapshot!(refused("[link.My_Link]\n"), @r"
    trial.toml:1:1: `My_Link` is not a name for a link
    | [link.My_Link]
    | ^^^^^^^^^^^^^^
    help: 1 to 64 of the characters a-z, 0-9 and -
    ");
    assert_snapshot!(refused("[link.a]\nbased-on = \"b\"\n[link.b]\nbased-on = \"a\"\n"), @r#"
    trial.toml:4:12: links are based on each other: a, b
    | based-on = "a"
    |            ^^^
    help: one of them must be based on a built-in link, or on none
    "#);
    assert_snapshot!(refused("[link.a]\nbased-on = \"none\"\n"), @r#"
    trial.toml:2:12: no link "none"
    | based-on = "none"
    |            ^^^^^^
    help: known links: a, ethernet, wifi, satellite, ble, lte-m, ieee802154, nb-iot; or a table [link.NAME]
    "#);
    assert_snapshot!(refused("[link.a]\nloss = 1.5\n"), @r"
    trial.toml:2:8: `link.a.loss` is 1.5
    | loss = 1.5
    |        ^^^
    help: `link.NAME.loss`: a number from 0 to 1
    ");
    assert_snapshot!(refused("[link.a]\nloss = nan\n"), @r"
    trial.toml:2:8: `link.a.loss` is nan
    | loss = nan
    |        ^^^
    help: `link.NAME.loss`: a number from 0 to 1
    ");
    assert_snapshot!(refused("[link.a]\nlos = 0.5\n"), @r"
    trial.toml:2:1: unknown key `los` in `link.a`
    | los = 0.5
    | ^^^
    help: did you mean `loss`? allowed in `link.a`: based-on, rate-up-kbps, rate-down-kbps, overhead-bytes, burst-bytes, delay-ms, jitter-ms, reorder, loss, burst-loss, duplicate, corrupt, queue-bytes, mtu-bytes, outages, outage-cycle
    ");
    assert_snapshot!(refused("[link.a]\ndelay-ms = 10\njitter-ms = 11\n"), @r"
    trial.toml:3:13: jitter of 11 ms with a delay of 10 ms
    | jitter-ms = 11
    |             ^^
    help: `link.a.jitter-ms`: the delay is uniform in delay-ms ± jitter-ms, so that jitter-ms is at most delay-ms
    ");
    assert_snapshot!(refused("[link.a]\nbased-on = \"ble\"\ndelay-ms = 10\n"), @r"
    trial.toml:3:12: jitter of 15 ms with a delay of 10 ms
    | delay-ms = 10
    |            ^^
    help: `link.a.delay-ms`: the delay is uniform in delay-ms ± jitter-ms, so that jitter-ms is at most delay-ms
    ");
    assert_snapshot!(refused("[link.a.burst-loss]\nbegin = 0.5\n"), @r"
    trial.toml:1:1: `link.a.burst-loss`: missing key `end`
    | [link.a.burst-loss]
    | ^^^^^^^^^^^^^^^^^^^
    help: `link.NAME.burst-loss`: a table with begin and end, and if need be loss
    ");
    assert_snapshot!(refused("[link.a]\nmtu-bytes = 100\n"), @r"
    trial.toml:2:13: `link.a.mtu-bytes` is 100
    | mtu-bytes = 100
    |             ^^^
    help: `link.NAME.mtu-bytes`: a whole number from 128 to 1500
    ");
    assert_snapshot!(refused("[link.a]\noutages = [{ from-s = 1, for-s = -2 }]\n"), @r"
    trial.toml:2:34: `link.a.outages.0.for-s` is -2
    | outages = [{ from-s = 1, for-s = -2 }]
    |                                  ^^
    help: `link.NAME.outages.*.for-s`: seconds from 0 to 31536000
    ");
    assert_snapshot!(refused("[link.a]\noutage-cycle = { every-s = 5, for-s = 5 }\n"), @r"
    trial.toml:2:16: outages of 5 s every 5 s
    | outage-cycle = { every-s = 5, for-s = 5 }
    |                ^^^^^^^^^^^^^^^^^^^^^^^^^^
    help: `link.a.outage-cycle.for-s`: seconds from 0, less than every-s
    ");
    assert_snapshot!(set_refused("", &["link.a.loss=2"]), @r"
    --set link.a.loss=2: `link.a.loss` is 2
    | link.a.loss=2
    |             ^
    help: `link.NAME.loss`: a number from 0 to 1
    ");
    assert_snapshot!(refused("network = \"bridge\"\n[[fleet]]\nlink = \"wifi\"\n"), @r#"
    trial.toml:3:8: `fleet.0.link` is "wifi", but `network` is "bridge"
    | link = "wifi"
    |        ^^^^^^
    help: a bridge passes frames as the kernel does and has no links: use `network = "switch"`, or leave the link out
    "#);
}

const REFERENCE: &str = include_str!("../../../../docs/experiment-file.md");

#[test]
fn the_examples_of_the_reference_are_experiments() {
    let blocks: Vec<&str> = REFERENCE
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert_eq!(blocks.len(), 9);
    for block in blocks {
        experiment(block, &[]);
    }
    let commands: Vec<Vec<&str>> = REFERENCE
        .lines()
        .filter(|line| line.starts_with("zfl run "))
        .map(|line| line.split(" --set ").skip(1).collect())
        .collect();
    assert_eq!(commands.len(), 8);
    let text = include_str!("../../../../examples/digits.toml");
    for sets in commands {
        assert!(!sets.is_empty());
        experiment(text, &sets);
    }
}

/// The last cells of each row of the reference's tables by key.
fn reference_rows() -> BTreeMap<&'static str, Vec<&'static str>> {
    REFERENCE
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split_once("` | "))
        .map(|(key, rest)| (key, rest.split(" | ").collect()))
        .collect()
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    let documented: Vec<&str> = reference_rows().into_keys().collect();
    let mut known: Vec<&str> = keys::KEYS
        .iter()
        .filter(|key| !key.is_table)
        .map(|key| key.path)
        .collect();
    known.sort_unstable();
    assert_eq!(documented, known);
}

#[test]
fn the_reference_tells_the_defaults() {
    let cnn = "[model.cnn]\nlayers = [{ conv = { filters = 3, kernel = 3 } }, { flatten = {} }, { dense = { outputs = 3 } }]\n[training.schedule.cosine]\n";
    let fixed = "[training]\narithmetic = \"fixed\"\n";
    let shards = "[partition.shards]";
    let dirichlet = "[partition.dirichlet]";
    let link = "[link.x.burst-loss]\nbegin = 0\nend = 1\n";
    let patient = "[coordinator]\non-failed-round = \"continue\"\nstaleness-rounds-max = 1\n[deadlines]\nround-quantile = 0.9\n";
    let texts = [
        "[[fleet]]",
        "[model.softmax-regression]",
        cnn,
        fixed,
        shards,
        dirichlet,
        "[partition.label-limited]",
        "[partition.quantity-skew.power-law]",
        "[partition.quantity-skew.dirichlet]",
        link,
        "[faults.some]",
        patient,
        "[data.csv]\nfile = \"a\"\nlabel = \"b\"",
        "[data.parquet]\nfile = \"a\"\nlabel = \"b\"",
        "[data.npz]\nfile = \"a\"\nsamples = \"b\"\nlabels = \"c\"",
    ];
    let written = texts.map(|text| {
        let written: toml::Table = experiment(text, &[]).to_toml().parse().unwrap();
        toml::Value::Table(written)
    });
    let mut checked = 0;
    for (path, cells) in reference_rows() {
        let Some(default) = cells[1]
            .strip_prefix('`')
            .and_then(|cell| cell.strip_suffix('`'))
        else {
            continue;
        };
        // A word there is the key it follows.
        let Ok(default) = default.parse::<toml::Value>() else {
            assert!(
                ["clients-per-round", "range"].contains(&default),
                "{path}: {default}"
            );
            continue;
        };
        let path_segments: Vec<&str> = path.split('.').collect();
        let value = written.iter().find_map(|value| find(value, &path_segments));
        assert_eq!(value, Some(&default), "{path}");
        checked += 1;
    }
    assert_eq!(checked, 90);
}

#[test]
fn tables_are_checked() {
    let csv = "[data.csv]\nfile = \"a.csv\"\nlabel = \"b\"\n";
    let Data::Csv(table) = experiment(csv, &["data.csv.ranges.x=[-1,2]"]).data else {
        panic!("no table");
    };
    assert_eq!(table.test, TestRows::Share(0.2));
    assert_eq!(table.columns.ranges.columns["x"], (-1.0, 2.0));

    assert_snapshot!(refused("[data.csv]\nfile = \"a.csv\"\n"), @r"
    trial.toml:1:1: `data.csv`: missing key `label`, or `target`
    | [data.csv]
    | ^^^^^^^^^^
    help: `data.csv`: a table with file, and label or target, and if need be test-file or test-share, features or ignore, group, range and ranges
    ");
    assert_snapshot!(refused(&format!("{csv}lable = 1\n")), @r"
    trial.toml:4:1: unknown key `lable` in `data.csv`
    | lable = 1
    | ^^^^^
    help: did you mean `label`? allowed in `data.csv`: file, test-file, test-share, label, target, features, ignore, group, range, ranges
    ");
    assert_snapshot!(refused(&format!("{csv}test-file = \"c\"\ntest-share = 0.1\n")), @r"
    trial.toml:5:14: `data.csv.test-share` beside `data.csv.test-file`
    | test-share = 0.1
    |              ^^^
    help: `data.csv.test-share`: a number between 0 and 1, both excluded
    ");
    assert_snapshot!(refused(&format!("{csv}features = [\"c\"]\nignore = [\"d\"]\n")), @r#"
    trial.toml:5:10: `data.csv.ignore` beside `data.csv.features`
    | ignore = ["d"]
    |          ^^^^^
    help: `data.csv.ignore`: a list of names of columns, such as ["temperature", "humidity"]
    "#);
    assert_snapshot!(refused(&format!("{csv}features = []\n")), @r#"
    trial.toml:4:12: `data.csv.features` is []
    | features = []
    |            ^^
    help: `data.csv.features`: a list of names of columns, such as ["temperature", "humidity"]
    "#);
    assert_snapshot!(refused(&format!("{csv}range = [1, 1]\n")), @r"
    trial.toml:4:9: `data.csv.range` is [1, 1]
    | range = [1, 1]
    |         ^^^^^^
    help: `data.csv.range`: the smallest and the largest value, such as [-40, 85]
    ");
    assert_snapshot!(refused(&format!("{csv}ranges = {{ x = [1] }}\n")), @r"
    trial.toml:4:16: `data.csv.ranges.x` is [1]
    | ranges = { x = [1] }
    |                ^^^
    help: `data.csv.ranges.NAME`: the smallest and the largest value, such as [-40, 85]
    ");
    let npz = "[data.npz]\nfile = \"a.npz\"\nsamples = \"x\"\nlabels = \"y\"\n";
    assert_snapshot!(refused(&format!("{npz}test-samples = \"z\"\n")), @r#"
    trial.toml:5:16: `data.npz.test-samples` without `data.npz.test-labels`
    | test-samples = "z"
    |                ^^^
    help: `data.npz.test-samples`: the name of an array in the file, in quotes
    "#);
}

#[test]
fn numbers_to_learn_are_checked() {
    const TARGET: &str = "[data.csv]\nfile = \"a.csv\"\ntarget = \"b\"\n";
    let learns = experiment(TARGET, &[]);
    assert!(learns.data.has_target_values());
    assert_eq!(learns.training.loss, Loss::MeanSquaredError);
    let classes = experiment("[data.csv]\nfile = \"a.csv\"\nlabel = \"b\"\n", &[]);
    assert!(!classes.data.has_target_values());
    assert_eq!(classes.training.loss, Loss::CrossEntropy);

    assert_snapshot!(refused(&format!("{TARGET}label = \"c\"\n")), @r#"
    trial.toml:3:10: `data.csv.target` beside `data.csv.label`
    | target = "b"
    |          ^^^
    help: `data.csv.target`: the name of the column that holds the number to learn, in quotes, in place of label
    "#);
    assert_snapshot!(refused(&format!("{TARGET}[training]\nloss = \"cross-entropy\"\n")), @r#"
    trial.toml:5:8: `training.loss` is cross-entropy where a number is learnt
    | loss = "cross-entropy"
    |        ^^^^^^^^^^^^^^^
    help: only classes have a cross-entropy: set `"mean-squared-error"`, or leave it out
    "#);
    assert_snapshot!(refused(&format!("{TARGET}[coordinator]\ntarget-accuracy = 0.5\n")), @r"
    trial.toml:5:19: `coordinator.target-accuracy` where a number is learnt
    | target-accuracy = 0.5
    |                   ^^^
    help: only classes have an accuracy: leave it out
    ");
}

#[test]
fn faults_are_checked() {
    const FAULTS: &str = "[faults.flaky]\ncrash = 0.1\nreboot = 0.1\nreboot-keeps-data = true\n";
    let native = "[[fleet]]\nfidelity = \"native\"\nfaults = \"flaky\"\n";
    let flaky = experiment(&format!("{FAULTS}{native}"), &[]);
    let model = &flaky.faults["flaky"];
    assert_eq!(model.probability(FaultKind::Crash), 0.1);
    assert_eq!(model.probability(FaultKind::Hang), 0.0);
    assert_eq!(flaky.fleet[0].faults.as_deref(), Some("flaky"));

    assert_snapshot!(refused("[faults.a]\ncrash = 1.5\n"), @r"
    trial.toml:2:9: `faults.a.crash` is 1.5
    | crash = 1.5
    |         ^^^
    help: `faults.NAME.crash`: a number from 0 to 1
    ");
    assert_snapshot!(refused("[faults.a]\ncrush = 1\n"), @r"
    trial.toml:2:1: unknown key `crush` in `faults.a`
    | crush = 1
    | ^^^^^
    help: did you mean `crash`? allowed in `faults.a`: drop-out-before, drop-out-during, drop-out-after, availability-trace, availability-on-rounds, availability-off-rounds, crash, hang, reboot, reboot-after-s, reboot-keeps-data, slow-down, slow-down-factor, brown-out, brown-out-s, poison, poison-kind, poison-factor, nan, truncate, duplicate, late, late-s
    ");
    assert_snapshot!(refused("[faults.Flaky]\n"), @r"
    trial.toml:1:1: `Flaky` is no name for faults
    | [faults.Flaky]
    | ^^^^^^^^^^^^^^
    help: a name is 1 to 64 of the characters a-z, 0-9 and -
    ");
    assert_snapshot!(refused("[faults.a]\nlate-s = 0\n"), @r"
    trial.toml:2:10: `faults.a.late-s` is 0
    | late-s = 0
    |          ^
    help: `faults.NAME.late-s`: seconds from 0.001 to 86400
    ");
    assert_snapshot!(refused("[faults.a]\nslow-down-factor = 0.5\n"), @r"
    trial.toml:2:20: `faults.a.slow-down-factor` is 0.5
    | slow-down-factor = 0.5
    |                    ^^^
    help: `faults.NAME.slow-down-factor`: a number from 1 to 1000000
    ");
    assert_snapshot!(refused("[faults.a]\npoison-kind = \"arsenic\"\n"), @r#"
    trial.toml:2:15: `faults.a.poison-kind` is "arsenic"
    | poison-kind = "arsenic"
    |               ^^^^^^^^^
    help: `faults.NAME.poison-kind`: "sign-flip", "scale" or "random"
    "#);
    assert_snapshot!(refused("[faults.a]\navailability-on-rounds = 3\n"), @r"
    trial.toml:2:26: `faults.a.availability-on-rounds` without `faults.a.availability-off-rounds`
    | availability-on-rounds = 3
    |                          ^
    help: `faults.NAME.availability-on-rounds`: a whole number of rounds from 1 to 1000000
    ");
    assert_snapshot!(refused("[faults.a]\navailability-trace = \"a\"\navailability-off-rounds = 3\n"), @r#"
    trial.toml:2:22: `faults.a.availability-trace` beside a duty cycle
    | availability-trace = "a"
    |                      ^^^
    help: `faults.NAME.availability-trace`: the path of a CSV file with the columns client,from,to, in quotes
    "#);
    assert_snapshot!(refused("[[fleet]]\nfaults = \"flaky\"\n"), @r#"
    trial.toml:2:10: no faults "flaky"
    | faults = "flaky"
    |          ^^^^^^^
    help: define them in a table [faults.NAME]
    "#);
    assert_snapshot!(refused(&format!("{FAULTS}[[fleet]]\nfaults = \"flakey\"\n")), @r#"
    trial.toml:6:10: no faults "flakey"
    | faults = "flakey"
    |          ^^^^^^^^
    help: the file has: flaky
    "#);
    assert_snapshot!(refused(&format!("{FAULTS}[[fleet]]\nfaults = \"flaky\"\n")), @r#"
    trial.toml:6:10: `fleet.0.faults`: an emulated device loses its data when it reboots
    | faults = "flaky"
    |          ^^^^^^^
    help: its samples are in RAM, and nothing else holds them: leave `reboot-keeps-data` out, or make the clients native
    "#);
    assert_snapshot!(set_refused("[faults.a]\nnan = 0.1\n[[fleet]]\nfaults = \"a\"\n", &["training.arithmetic=fixed"]), @r#"
    trial.toml:4:10: `fleet.0.faults`: fixed point has no NaN
    | faults = "a"
    |          ^^^
    help: leave `nan` out, or train with training.arithmetic = "f32"
    "#);
}

/// What stands at a path; of a list, or of what the file names, the first entry
/// that has it.
fn find<'v>(value: &'v toml::Value, path: &[&str]) -> Option<&'v toml::Value> {
    match path.split_first() {
        None => Some(value),
        Some((&"NAME", rest)) => value
            .as_table()?
            .values()
            .find_map(|entry| find(entry, rest)),
        Some((&"*", rest)) => value.as_array()?.iter().find_map(|entry| find(entry, rest)),
        Some((name, rest)) => find(value.get(name)?, rest),
    }
}

/// Every key is read: a file that has them all is accepted, and each is in the
/// list of keys, which refuses those that are not.
#[test]
fn the_list_of_keys_is_that_of_the_types() {
    let idx = "[data.idx]\ntrain-images = \"a\"\ntrain-labels = \"a\"\ntest-images = \"a\"\ntest-labels = \"a\"\nclasses = 3\n";
    let mut found = Vec::new();
    let target = "[coordinator]\ntarget-accuracy = 0.5\non-failed-round = \"continue\"\nstaleness-rounds-max = 1\n[deadlines]\nround-quantile = 0.9\n";
    let every_layer = "[model.cnn]\nlayers = [{ conv = { filters = 3, kernel = 3 } }, { max-pool = { size = 2 } }, { average-pool = { size = 2 } }, { flatten = {} }, { dense = { outputs = 3 } }]\ninitial-weights = \"a\"\n";
    let texts = [
        FLEET,
        target,
        idx,
        "[data.mnist]\nfolder = \"a\"\n",
        "[data.csv]\nfile = \"a\"\nlabel = \"b\"\nfeatures = [\"c\"]\ngroup = \"d\"\nrange = [0, 1]\nranges = { c = [2, 3] }\n",
        "[data.csv]\nfile = \"a\"\nlabel = \"b\"\nignore = [\"c\"]\ntest-file = \"d\"\n",
        "[data.parquet]\nfile = \"a\"\nlabel = \"b\"\nfeatures = [\"c\"]\ngroup = \"d\"\nrange = [0, 1]\nranges = { c = [2, 3] }\n",
        "[data.parquet]\nfile = \"a\"\nlabel = \"b\"\nignore = [\"c\"]\ntest-file = \"d\"\n",
        "[data.csv]\nfile = \"a\"\ntarget = \"b\"\n",
        "[data.parquet]\nfile = \"a\"\ntarget = \"b\"\n",
        "[data.npz]\nfile = \"a\"\nsamples = \"b\"\nlabels = \"c\"\ngroups = \"d\"\nrange = [0, 1]\n",
        "[data.npz]\nfile = \"a\"\nsamples = \"b\"\nlabels = \"c\"\ntest-samples = \"d\"\ntest-labels = \"e\"\n",
        "[partition.iid]\nsamples-per-client = 3\n",
        "[partition.shards]\n",
        "[partition.dirichlet]\n",
        "[partition.label-limited]\n",
        "[partition.quantity-skew.power-law]\n",
        "[partition.quantity-skew.dirichlet]\n",
        "[partition.natural]\n",
        "[model.softmax-regression]\ninitial-weights = \"a\"\n",
        "[model.mlp]\ninitial-weights = \"a\"\n",
        every_layer,
        "[training]\narithmetic = \"fixed\"\n",
        "[training]\nclip-norm = 1\n",
        "[training.schedule.step]\nevery = 1\nfactor = 1\n",
        "[training.schedule.exponential]\nfactor = 1\n",
        "[training.schedule.cosine]\n",
        "[training.schedule.warm-up]\nrounds = 1\n",
        "[[fleet]]\nmcu = \"nrf52840\"\nram-bytes = 100000\nsamples-max = 5\n",
        EVERY_LINK_KEY,
        "[faults.some]\navailability-trace = \"a\"\n[[fleet]]\nfaults = \"some\"\n",
        "[faults.some]\navailability-on-rounds = 1\navailability-off-rounds = 1\n",
    ];
    for text in texts {
        let written = experiment(text, &[]).to_toml();
        collect(
            "",
            &toml::Value::Table(written.parse().unwrap()),
            &mut found,
        );
    }
    let mut found: Vec<String> = found
        .into_iter()
        .map(|path| path.replacen("link.x", "link.NAME", 1))
        .collect();
    // What a link is based on is written out.
    found.push("link.NAME.based-on".to_owned());
    found.sort_unstable();
    found.dedup();
    let mut known: Vec<&str> = keys::KEYS.iter().map(|key| key.path).collect();
    known.sort_unstable();
    assert_eq!(found, known);
}

fn collect(path: &str, value: &toml::Value, found: &mut Vec<String>) {
    if !path.is_empty() {
        found.push(path.to_owned());
    }
    let below = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                // Names of the file's own.
                let is_named = path == "faults" || path.ends_with(".ranges");
                let name = if is_named { keys::NAME } else { name };
                collect(&below(name), value, found);
            }
        }
        toml::Value::Array(array) => {
            for value in array.iter().filter(|value| value.is_table()) {
                collect(&below("*"), value, found);
            }
        }
        _ => {}
    }
}

fn any_path() -> impl Strategy<Value = PathBuf> {
    "[^\\x00]{1,20}".prop_map(PathBuf::from)
}

fn any_f32() -> impl Strategy<Value = f32> {
    prop::num::f32::POSITIVE | prop::num::f32::SUBNORMAL
}

fn any_data() -> impl Strategy<Value = Data> {
    let inside = |share: &f64| *share > 0.0 && *share < 1.0;
    prop_oneof![
        (0.0..1.0f64)
            .prop_filter("inside", inside)
            .prop_map(|test_share| Data::Digits { test_share }),
        prop::option::of(any_path()).prop_map(|folder| Data::Mnist { folder }),
        (
            [any_path(), any_path(), any_path(), any_path()],
            any_f32(),
            prop::option::of(2..=256u16)
        )
            .prop_map(
                |([train_images, train_labels, test_images, test_labels], value_scale, classes)| {
                    Data::Idx(IdxData {
                        train_images,
                        train_labels,
                        test_images,
                        test_labels,
                        value_scale: value_scale.abs(),
                        classes,
                    })
                }
            ),
        any_table().prop_map(Data::Csv),
        any_table().prop_map(Data::Parquet),
        any_npz().prop_map(Data::Npz),
    ]
}

fn any_share() -> impl Strategy<Value = f64> {
    (0.0..1.0f64).prop_filter("inside", |share| *share > 0.0)
}

fn any_range() -> impl Strategy<Value = (f64, f64)> {
    (-1e300..1e300f64, -1e300..1e300f64)
        .prop_filter("a range", |(low, high)| low < high)
        .prop_map(|(low, high)| (low + 0.0, high + 0.0))
}

fn any_table() -> impl Strategy<Value = TableData> {
    let name = || any::<String>().prop_filter("a name", |name| !name.is_empty());
    let names = || prop::collection::vec(name(), 1..4);
    let test = prop_oneof![
        any_share().prop_map(TestRows::Share),
        any_path().prop_map(TestRows::File),
    ];
    let inputs = prop_oneof![
        Just((Vec::new(), Vec::new())),
        names().prop_map(|features| (features, Vec::new())),
        names().prop_map(|ignore| (Vec::new(), ignore)),
    ];
    let ranges = (
        prop::option::of(any_range()),
        prop::collection::btree_map(any::<String>(), any_range(), 0..3),
    );
    (
        any_path(),
        test,
        (name(), any::<bool>(), inputs, prop::option::of(name())),
        ranges,
    )
        .prop_map(
            |(file, test, (label, is_class, (features, ignore), group), (all, columns))| {
                TableData {
                    file,
                    test,
                    columns: Columns {
                        label,
                        learns: match is_class {
                            true => Learns::Classes,
                            false => Learns::Values,
                        },
                        features,
                        ignore,
                        group,
                        ranges: Ranges { all, columns },
                    },
                }
            },
        )
}

fn any_npz() -> impl Strategy<Value = NpzData> {
    let name = || any::<String>().prop_filter("a name", |name| !name.is_empty());
    let test = prop_oneof![
        any_share().prop_map(|share| (None, share)),
        (name(), name()).prop_map(|both| (Some(both), 0.2)),
    ];
    let range = prop::option::of(any_range());
    (
        any_path(),
        [name(), name()],
        prop::option::of(name()),
        test,
        range,
    )
        .prop_map(
            |(file, [samples, labels], groups, (test, test_share), range)| NpzData {
                file,
                arrays: Arrays {
                    samples,
                    labels,
                    groups,
                    test,
                    range,
                },
                test_share,
            },
        )
}

fn any_deadline() -> impl Strategy<Value = Duration> {
    (1_000_000..=604_800_000_000_000u64).prop_map(Duration::from_nanos)
}

fn any_coordinator(fleet_size: u32) -> impl Strategy<Value = Coordinator> {
    let most = if fleet_size == 0 {
        CLIENTS_MAX
    } else {
        fleet_size
    };
    (
        1..=most,
        any::<prop::sample::Index>(),
        any::<[bool; 2]>(),
        prop::option::of(0.001..=1.0),
        any::<u16>(),
        (0.0..=10.0, 0..=ROUNDS_MAX, 0..=ROUNDS_MAX),
        (0..=STALENESS_ROUNDS_MAX, 0.0..=100.0),
    )
        .prop_map(
            move |(clients, quorum, given, target_accuracy, port, failing, late)| {
                let quorum = quorum.index(clients as usize) as u32 + 1;
                let (over_selection, failed_rounds_max, rest_rounds) = failing;
                let (rounds_max, exponent) = late;
                Coordinator {
                    clients_per_round: (fleet_size > 0 || given[0]).then_some(clients),
                    over_selection,
                    quorum: (fleet_size > 0 || given[1]).then_some(quorum),
                    on_failed_round: match failed_rounds_max {
                        0 => OnFailedRound::End,
                        _ => OnFailedRound::Continue { failed_rounds_max },
                    },
                    rest_rounds,
                    rest_rounds_max: rest_rounds.max(failed_rounds_max),
                    late_updates: match rounds_max {
                        0 => LateUpdates::Drop,
                        _ => LateUpdates::Use {
                            rounds_max,
                            exponent,
                        },
                    },
                    target_accuracy,
                    port,
                }
            },
        )
}

fn any_activation() -> impl Strategy<Value = Activation> {
    prop::sample::select(vec![
        Activation::Relu,
        Activation::LeakyRelu,
        Activation::Tanh,
        Activation::Sigmoid,
    ])
}

fn any_layers() -> impl Strategy<Value = Vec<CnnLayer>> {
    let conv = (
        1..=WIDTH_MAX,
        1..=KERNEL_MAX,
        1..=KERNEL_MAX,
        any::<prop::sample::Index>(),
        any_activation(),
    )
        .prop_map(
            |(filters, kernel, stride, padding, activation)| CnnLayer::Conv {
                filters,
                kernel,
                stride,
                padding: padding.index(kernel.into()) as u8,
                activation,
            },
        );
    let image = prop_oneof![
        conv,
        (2..=POOL_MAX).prop_map(|size| CnnLayer::MaxPool { size }),
        (2..=POOL_MAX).prop_map(|size| CnnLayer::AveragePool { size }),
    ];
    let dense =
        (1..=WIDTH_MAX, any_activation()).prop_map(|(outputs, activation)| CnnLayer::Dense {
            outputs,
            activation,
        });
    (
        prop::collection::vec(image, 1..=9),
        prop::option::of(prop::collection::vec(dense, 0..=5)),
    )
        .prop_map(|(mut layers, dense)| {
            if let Some(dense) = dense {
                layers.push(CnnLayer::Flatten);
                layers.extend(dense);
            }
            layers
        })
}

fn any_model() -> impl Strategy<Value = Model> {
    let hidden = prop::collection::vec(1..=WIDTH_MAX, 0..=HIDDEN_LAYERS_MAX);
    let kind = prop_oneof![
        Just(ModelKind::SoftmaxRegression),
        (hidden, any_activation())
            .prop_map(|(hidden, activation)| ModelKind::Mlp { hidden, activation }),
        any_layers().prop_map(|layers| ModelKind::Cnn { layers }),
    ];
    let initialisation = prop::sample::select(vec![
        Initialisation::Auto,
        Initialisation::He,
        Initialisation::Glorot,
        Initialisation::Zeros,
    ]);
    (
        kind,
        initialisation,
        prop::option::of(any_path()),
        any::<prop::sample::Index>(),
    )
        .prop_map(|(kind, initialisation, initial_weights, frozen)| {
            let mut model = Model {
                kind,
                initialisation,
                initial_weights,
                frozen: Vec::new(),
            };
            let names = model.weighted_layers();
            model.frozen = names[..frozen.index(names.len())].to_vec();
            model
        })
}

/// In steps of 1/65536, so that all are numbers of single precision.
fn any_factor() -> impl Strategy<Value = f32> {
    (1..=65_536u32).prop_map(|part| part as f32 / 65_536.0)
}

fn any_arithmetic() -> impl Strategy<Value = Arithmetic> {
    let bits = [
        WeightBits::Eight,
        WeightBits::Sixteen,
        WeightBits::ThirtyTwo,
    ];
    let roundings = [Rounding::Nearest, Rounding::Stochastic];
    prop_oneof![
        Just(Arithmetic::F32),
        (
            prop::sample::select(bits.to_vec()),
            prop::sample::select(roundings.to_vec())
        )
            .prop_map(|(weight_bits, rounding)| Arithmetic::Fixed {
                weight_bits,
                rounding
            }),
    ]
}

fn any_training() -> impl Strategy<Value = Training> {
    let schedule = prop_oneof![
        Just(Schedule::Constant),
        (1..=ROUNDS_MAX, any_factor()).prop_map(|(every, factor)| Schedule::Step { every, factor }),
        any_factor().prop_map(|factor| Schedule::Exponential { factor }),
        // To be scaled by the learning rate.
        any_factor().prop_map(|minimum| Schedule::Cosine { minimum }),
        (1..=ROUNDS_MAX).prop_map(|rounds| Schedule::WarmUp { rounds }),
    ];
    (
        (1..=EPOCHS_MAX, 1..=BATCH_SIZE_MAX, any_f32()),
        any::<[bool; 2]>(),
        (
            0.0..1.0f32,
            any_f32(),
            prop::option::of(any_f32()),
            any_f32(),
        ),
        any_arithmetic(),
        schedule,
    )
        .prop_map(
            |((epochs, batch_size, rate), [mse, nesterov], options, arithmetic, schedule)| {
                let plain = arithmetic != Arithmetic::F32;
                let (momentum, weight_decay, clip_norm, proximal) = match plain {
                    true => (0.0, 0.0, None, 0.0),
                    false => options,
                };
                let learning_rate = rate.abs();
                Training {
                    epochs,
                    batch_size,
                    learning_rate,
                    loss: if mse {
                        Loss::MeanSquaredError
                    } else {
                        Loss::CrossEntropy
                    },
                    momentum,
                    nesterov: nesterov && momentum > 0.0,
                    weight_decay: weight_decay.abs(),
                    clip_norm: clip_norm.map(f32::abs),
                    proximal: proximal.abs(),
                    arithmetic,
                    schedule: match schedule {
                        Schedule::Cosine { minimum } => Schedule::Cosine {
                            minimum: minimum * learning_rate,
                        },
                        other => other,
                    },
                }
            },
        )
}

fn any_link() -> impl Strategy<Value = Link> {
    let probability = || prop_oneof![Just(0.0), Just(1.0), 0.0..1.0];
    let seconds = || (0..3_000_000_000u64).prop_map(Duration::from_micros);
    (
        (0.0..=1e7, 0.0..=1e7, 0..=65_535u32, 0..=1_000_000_000u32),
        (0.0..=60_000.0, 0.0..=1.0, any::<bool>()),
        (probability(), probability(), probability()),
        prop::option::of((probability(), probability(), probability())),
        (1..=1_000_000_000u32, 128..=1_500u16),
        prop::collection::vec((seconds(), seconds()), 0..3),
        prop::option::of((seconds(), 0.0..1.0)),
    )
        .prop_map(
            |(rates, delays, chances, bursts, sizes, outages, cycle)| Link {
                rate_up_kbps: rates.0,
                rate_down_kbps: rates.1,
                overhead_bytes: rates.2,
                burst_bytes: rates.3,
                delay_ms: delays.0,
                jitter_ms: delays.0 * delays.1,
                reorder: delays.2,
                loss: chances.0,
                burst_loss: bursts.map(|(begin, end, loss)| BurstLoss { begin, end, loss }),
                duplicate: chances.1,
                corrupt: chances.2,
                queue_bytes: sizes.0,
                mtu_bytes: sizes.1,
                outages: outages
                    .into_iter()
                    .map(|(from, lasts)| Outage { from, lasts })
                    .collect(),
                outage_cycle: cycle.map(|(every, share): (Duration, f64)| {
                    let every = every + Duration::from_millis(1);
                    // Whole microseconds, as decimals of a file have them.
                    let lasts = Duration::from_micros(every.mul_f64(share).as_micros() as u64);
                    OutageCycle { every, lasts }
                }),
            },
        )
}

fn any_experiment() -> impl Strategy<Value = Experiment> {
    let group = (
        prop::sample::select(BOARDS.to_vec()),
        any::<bool>(),
        1..=500u32,
    )
        .prop_map(|(board, native, count)| FleetGroup {
            board: if native { NATIVE_BOARD } else { board }.to_owned(),
            mcu: (board == "mps2-an386" && count % 2 == 0).then(|| "nrf52840".to_owned()),
            fidelity: if native {
                Fidelity::Native
            } else {
                Fidelity::Emulated
            },
            count,
            ram_bytes: (count % 3 == 0).then_some(count * 1000),
            on_misfit: if count % 5 == 0 {
                OnMisfit::Fail
            } else {
                OnMisfit::Skip
            },
            samples_max: (count % 7 == 0).then_some(count),
            link: "ethernet".to_owned(),
            // None that fixed point or a device cannot have.
            faults: (count % 11 == 0).then(|| "harmless".to_owned()),
        });
    let fleet = prop::collection::vec(group, 0..6).prop_flat_map(|fleet| {
        let size = fleet.iter().map(|group| group.count).sum();
        (Just(fleet), any_coordinator(size))
    });
    let links = prop::collection::btree_map("own-[a-z0-9-]{0,60}", any_link(), 0..3);
    (
        ("[a-z0-9-]{1,64}", 0..=i64::MAX as u64, 1..=ROUNDS_MAX),
        prop::bool::ANY,
        any_data(),
        prop::option::of(1..=SHARE_SAMPLES_MAX),
        any_model(),
        any_training(),
        [any_deadline(), any_deadline(), any_deadline()],
        (fleet, links),
    )
        .prop_map(
            |(
                (name, seed, rounds),
                bridge,
                data,
                samples_per_client,
                model,
                mut training,
                deadlines,
                (mut fleet, links),
            )| {
                if data.has_target_values() {
                    training.loss = Loss::MeanSquaredError;
                    fleet.1.target_accuracy = None;
                }
                if let (false, Some(name)) = (bridge, links.keys().next()) {
                    for (group, own) in fleet.0.iter_mut().zip([true, false].into_iter().cycle()) {
                        group.link = if own { name.as_str() } else { "wifi" }.to_owned();
                    }
                }
                let [boot, ready, round] = deadlines;
                Experiment {
                    name,
                    seed,
                    rounds,
                    parallel: rounds % 5,
                    network: if bridge {
                        Network::Bridge
                    } else {
                        Network::Switch
                    },
                    data,
                    partition: match rounds % 7 {
                        0 => Partition::Iid { samples_per_client },
                        1 => Partition::Natural,
                        2 => Partition::Dirichlet {
                            alpha: f64::from(rounds) / 7.0,
                            samples_min: samples_per_client.unwrap_or(1),
                        },
                        3 => Partition::LabelLimited {
                            classes: rounds % 256 + 1,
                        },
                        4 => Partition::QuantitySkew {
                            sizes: ShareSizes::Dirichlet {
                                alpha: f64::from(rounds) / 7.0,
                            },
                            samples_min: samples_per_client.unwrap_or(1),
                        },
                        5 => Partition::QuantitySkew {
                            sizes: ShareSizes::PowerLaw {
                                exponent: f64::from(rounds % 71) / 7.0,
                            },
                            samples_min: samples_per_client.unwrap_or(1),
                        },
                        _ => Partition::Shards {
                            per_client: samples_per_client.unwrap_or(2),
                        },
                    },
                    feature_noise_sigma: f64::from(rounds % 11),
                    model,
                    training,
                    strategy: super::Strategy::FedAvg,
                    coordinator: fleet.1,
                    deadlines: Deadlines {
                        boot,
                        ready,
                        round,
                        round_past: (rounds % 7 > 0).then(|| PastDeadline {
                            quantile: f64::from(rounds % 7) / 6.0,
                            factor: f64::from(rounds % 1000 + 1),
                        }),
                    },
                    time: Time {
                        counting: match rounds % 3 {
                            0 => Counting::Off,
                            _ => Counting::Instructions,
                        },
                    },
                    links,
                    faults: BTreeMap::from([
                        (
                            "harmless".to_owned(),
                            FaultModel {
                                probabilities: [0.0; FaultKind::DRAWN.len()],
                                availability: Availability::Always,
                                reboot_after: boot.min(FAULT_TIME_MAX),
                                reboot_keeps_data: bridge,
                                slow_down_factor: 2.5,
                                brown_out: ready.min(FAULT_TIME_MAX),
                                poison_kind: PoisonKind::Random,
                                poison_factor: 0.1,
                                late: round.min(FAULT_TIME_MAX),
                            },
                        ),
                        (
                            "other".to_owned(),
                            FaultModel {
                                probabilities: std::array::from_fn(|kind| kind as f64 * 0.07),
                                availability: match rounds % 2 {
                                    0 => Availability::Trace("/trace.csv".into()),
                                    _ => Availability::DutyCycle { on: rounds, off: 1 },
                                },
                                reboot_after: boot.min(FAULT_TIME_MAX),
                                reboot_keeps_data: !bridge,
                                slow_down_factor: 1.0,
                                brown_out: ready.min(FAULT_TIME_MAX),
                                poison_kind: PoisonKind::Scale,
                                poison_factor: 1e6,
                                late: round.min(FAULT_TIME_MAX),
                            },
                        ),
                    ]),
                    fleet: fleet.0,
                }
            },
        )
}

proptest! {
    #[test]
    fn what_is_written_reads_back(experiment in any_experiment()) {
        let text = experiment.to_toml();
        let read = Experiment::parse(&text, "other.toml", &[], &BOARDS);
        prop_assert_eq!(read.map_err(|error| shown(&error)), Ok(experiment));
    }

    /// Whatever is given is accepted or refused with a place that exists.
    #[test]
    fn no_text_and_no_set_is_too_strange(
        text in "([a-z\\[\\]{}=.\"'0-9é \n-]|training|fleet|data|model|cnn|layers|schedule|link|outages|based-on|\n\\[){0,40}",
        sets in prop::collection::vec("(fleet|data|model|training|link|outages|burst-loss|\\.|0|1|=|mlp|hidden|cnn|layers|conv|flatten|schedule|step|\\{\\}|\\[|\\]|é|\"| ){0,8}", 0..4),
    ) {
        if let Err(error) = Experiment::parse(&text, "x.toml", &sets, &BOARDS) {
            let span = error.span();
            prop_assert!(error.text().unwrap().get(span).is_some());
            shown(&error);
        }
    }
}
