//! `--set` on the command line.

use std::path::PathBuf;

use insta::assert_snapshot;

use super::*;

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
