//! What is accepted, and what is said of what is not.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use insta::assert_snapshot;
use proptest::prelude::*;
use proptest::strategy::Strategy;

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
    network = "switch"

    [data.digits]
    test-share = 0.2

    [partition.iid]

    [model.mlp]
    hidden = [16]

    [training]
    epochs = 5
    batch-size = 16
    learning-rate = 0.1

    [strategy.fed-avg]

    [coordinator]
    port = 0

    [deadlines]
    boot-s = 60
    ready-s = 120
    round-s = 300
    "#);
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
    help: did you mean `rounds`? allowed at the top: name, seed, rounds, network, data, partition, model, training, strategy, coordinator, deadlines, fleet
    ");
    assert_snapshot!(refused("[training]\nbatch_size = 3\n"), @r"
    trial.toml:2:1: unknown key `batch_size` in `training`
    | batch_size = 3
    | ^^^^^^^^^^
    help: did you mean `batch-size`? allowed in `training`: epochs, batch-size, learning-rate
    ");
    assert_snapshot!(refused("epochs = 3\n"), @r"
    trial.toml:1:1: unknown key `epochs` at the top
    | epochs = 3
    | ^^^^^^
    help: did you mean `training.epochs`? allowed at the top: name, seed, rounds, network, data, partition, model, training, strategy, coordinator, deadlines, fleet
    ");
    assert_snapshot!(refused("[training]\nmomentum = 0.9\n"), @r"
    trial.toml:2:1: unknown key `momentum` in `training`
    | momentum = 0.9
    | ^^^^^^^^
    help: allowed in `training`: epochs, batch-size, learning-rate
    ");
    assert_snapshot!(refused("[data.cifar]\n"), @r"
    trial.toml:1:7: unknown key `cifar` in `data`
    | [data.cifar]
    |       ^^^^^
    help: allowed in `data`: digits, mnist, idx
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
    help: did you mean `board`? allowed in `fleet.1`: board, count
    "#);
    assert_snapshot!(refused("[zzz.training]\nepochs = 1\n"), @r"
    trial.toml:1:2: unknown key `zzz` at the top
    | [zzz.training]
    |  ^^^
    help: allowed at the top: name, seed, rounds, network, data, partition, model, training, strategy, coordinator, deadlines, fleet
    ");
    assert_snapshot!(refused("\"\" = 1\n"), @r#"
    trial.toml:1:1: unknown key `` at the top
    | "" = 1
    | ^^
    help: allowed at the top: name, seed, rounds, network, data, partition, model, training, strategy, coordinator, deadlines, fleet
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
    help: `training`: a table with epochs, batch-size and learning-rate
    ");
    assert_snapshot!(refused("data = \"mnist\"\n"), @r#"
    trial.toml:1:8: `data`: invalid type: string "mnist", expected a table
    | data = "mnist"
    |        ^^^^^^^
    help: `data`: exactly one of the tables data.digits, data.mnist, data.idx
    "#);
    assert_snapshot!(refused("[fleet]\nboard = \"mps2-an386\"\n"), @r"
    trial.toml:1:1: `fleet`: invalid type: table, expected a list
    | [fleet]
    | ^^^^^^^
    help: `fleet`: a list of tables, [[fleet]], each with board and count
    ");
    assert_snapshot!(refused("[model.mlp]\nhidden = 16\n"), @r"
    trial.toml:2:10: `model.mlp.hidden`: invalid type: integer `16`, expected a list
    | hidden = 16
    |          ^^
    help: `model.mlp.hidden`: a list of at most 7 widths, whole numbers from 1 to 65535, such as [16] or []
    ");
    assert_snapshot!(refused("[model.mlp]\nhidden = [16, \"8\"]\n"), @r#"
    trial.toml:2:15: `model.mlp.hidden.1`: invalid type: string "8", expected a whole number
    | hidden = [16, "8"]
    |               ^^^
    help: `model.mlp.hidden`: a list of at most 7 widths, whole numbers from 1 to 65535, such as [16] or []
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
    help: `model.mlp.hidden`: a list of at most 7 widths, whole numbers from 1 to 65535, such as [16] or []
    ");
    assert_snapshot!(refused("[model.mlp]\nhidden = [1, 2, 3, 4, 5, 6, 7, 8]\n"), @r"
    trial.toml:2:32: `model.mlp.hidden` has 8 widths
    | hidden = [1, 2, 3, 4, 5, 6, 7, 8]
    |                                ^
    help: `model.mlp.hidden`: a list of at most 7 widths, whole numbers from 1 to 65535, such as [16] or []
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
    help: `fleet.*.count`: a whole number from 1; at most 10000 devices in all
    ");
    assert_snapshot!(refused("[[fleet]]\ncount = 9999\n[[fleet]]\ncount = 2\n"), @r"
    trial.toml:4:9: 10001 devices up to here
    | count = 2
    |         ^
    help: `fleet.*.count`: a whole number from 1; at most 10000 devices in all
    ");
}

#[test]
fn variants() {
    assert_snapshot!(refused("[data.mnist]\n\n[data.digits]\n"), @r"
    trial.toml:3:1: `data.digits` beside `data.mnist`
    | [data.digits]
    | ^^^^^^^^^^^^^
    help: `data`: exactly one of the tables data.digits, data.mnist, data.idx
    ");
    assert_snapshot!(refused("[data]\n"), @r"
    trial.toml:1:1: `data` says nothing
    | [data]
    | ^^^^^^
    help: `data`: exactly one of the tables data.digits, data.mnist, data.idx
    ");
    assert_snapshot!(refused("model = {}\n"), @r"
    trial.toml:1:9: `model` says nothing
    | model = {}
    |         ^^
    help: `model`: exactly one table: model.mlp
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
    network = "switch"

    [data.digits]
    test-share = 0.3

    [partition.iid]

    [model.mlp]
    hidden = [8, 4]

    [training]
    epochs = 1
    batch-size = 16
    learning-rate = 0.5

    [strategy.fed-avg]

    [coordinator]
    clients-per-round = 6
    quorum = 6
    port = 0

    [deadlines]
    boot-s = 60
    ready-s = 120
    round-s = 300

    [[fleet]]
    board = "mps2-an386"
    count = 5

    [[fleet]]
    board = "mps2-an500"
    count = 1
    "#);
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
    help: did you mean `epochs`? allowed in `training`: epochs, batch-size, learning-rate
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
    help: `model.mlp.hidden`: a list of at most 7 widths, whole numbers from 1 to 65535, such as [16] or []
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
    help: `data`: exactly one of the tables data.digits, data.mnist, data.idx
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
    help: `data`: exactly one of the tables data.digits, data.mnist, data.idx
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
    assert_eq!(mnist.coordinator.clients_per_round, Some(50));
    assert_eq!(mnist.coordinator.quorum, Some(50));
    assert_eq!(mnist.data, Data::Mnist { folder: None });
}

const REFERENCE: &str = include_str!("../../../../docs/experiment-file.md");

#[test]
fn the_examples_of_the_reference_are_experiments() {
    let blocks: Vec<&str> = REFERENCE
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert_eq!(blocks.len(), 4);
    for block in blocks {
        experiment(block, &[]);
    }
    let sets: Vec<&str> = REFERENCE
        .lines()
        .filter(|line| line.starts_with("zfl run "))
        .flat_map(|line| line.split(" --set ").skip(1))
        .collect();
    assert_eq!(sets.len(), 7);
    let text = include_str!("../../../../examples/digits.toml");
    for set in sets {
        experiment(text, &[set]);
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
    let written = experiment("[[fleet]]", &[]).to_toml();
    let written: toml::Table = written.parse().unwrap();
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
            assert_eq!(default, "clients-per-round");
            continue;
        };
        let mut value = None;
        for segment in path.split('.') {
            value = match (segment, value) {
                (name, None) => written.get(name),
                ("*", Some(list)) => list.get(0),
                (name, Some(table)) => table.get(name),
            };
        }
        assert_eq!(value, Some(&default), "{path}");
        checked += 1;
    }
    assert_eq!(checked, 14);
}

/// Every key is read: a file that has them all is accepted, and each is in the
/// list of keys, which refuses those that are not.
#[test]
fn the_list_of_keys_is_that_of_the_types() {
    let idx = "[data.idx]\ntrain-images = \"a\"\ntrain-labels = \"a\"\ntest-images = \"a\"\ntest-labels = \"a\"\nclasses = 3\n";
    let mut found = Vec::new();
    let target = "[coordinator]\ntarget-accuracy = 0.5\n";
    for text in [FLEET, idx, "[data.mnist]\nfolder = \"a\"\n", target] {
        let written = experiment(text, &[]).to_toml();
        collect(
            "",
            &toml::Value::Table(written.parse().unwrap()),
            &mut found,
        );
    }
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
    ]
}

fn any_deadline() -> impl Strategy<Value = Duration> {
    (1_000_000..=604_800_000_000_000u64).prop_map(Duration::from_nanos)
}

fn any_coordinator(fleet_size: u32) -> impl Strategy<Value = Coordinator> {
    let most = if fleet_size == 0 {
        FLEET_SIZE_MAX
    } else {
        fleet_size
    };
    (
        1..=most,
        any::<prop::sample::Index>(),
        any::<[bool; 2]>(),
        prop::option::of(0.001..=1.0),
        any::<u16>(),
    )
        .prop_map(move |(clients, quorum, given, target_accuracy, port)| {
            let quorum = quorum.index(clients as usize) as u32 + 1;
            Coordinator {
                clients_per_round: (fleet_size > 0 || given[0]).then_some(clients),
                quorum: (fleet_size > 0 || given[1]).then_some(quorum),
                target_accuracy,
                port,
            }
        })
}

fn any_experiment() -> impl Strategy<Value = Experiment> {
    let group =
        (prop::sample::select(BOARDS.to_vec()), 1..=500u32).prop_map(|(board, count)| FleetGroup {
            board: board.to_owned(),
            count,
        });
    let fleet = prop::collection::vec(group, 0..6).prop_flat_map(|fleet| {
        let size = fleet.iter().map(|group| group.count).sum();
        (Just(fleet), any_coordinator(size))
    });
    (
        ("[a-z0-9-]{1,64}", 0..=i64::MAX as u64, 1..=ROUNDS_MAX),
        prop::bool::ANY,
        any_data(),
        prop::collection::vec(1..=u16::MAX, 0..=HIDDEN_LAYERS_MAX),
        (1..=EPOCHS_MAX, 1..=BATCH_SIZE_MAX, any_f32()),
        [any_deadline(), any_deadline(), any_deadline()],
        fleet,
    )
        .prop_map(
            |((name, seed, rounds), bridge, data, hidden, training, deadlines, fleet)| {
                let [boot, ready, round] = deadlines;
                Experiment {
                    name,
                    seed,
                    rounds,
                    network: if bridge {
                        Network::Bridge
                    } else {
                        Network::Switch
                    },
                    data,
                    partition: Partition::Iid,
                    model: Model::Mlp { hidden },
                    training: Training {
                        epochs: training.0,
                        batch_size: training.1,
                        learning_rate: training.2.abs(),
                    },
                    strategy: super::Strategy::FedAvg,
                    coordinator: fleet.1,
                    deadlines: Deadlines { boot, ready, round },
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
        text in "([a-z\\[\\]{}=.\"'0-9é \n-]|training|fleet|data|\n\\[){0,40}",
        sets in prop::collection::vec("(fleet|data|model|training|\\.|0|1|=|mlp|hidden|\\{\\}|\\[|\\]|é|\"| ){0,8}", 0..4),
    ) {
        if let Err(error) = Experiment::parse(&text, "x.toml", &sets, &BOARDS) {
            let span = error.span();
            prop_assert!(error.text().unwrap().get(span).is_some());
            shown(&error);
        }
    }
}
