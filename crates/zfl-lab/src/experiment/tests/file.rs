//! What the file as a whole must be, and how it is said what it is not.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use insta::assert_snapshot;

use super::*;

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
