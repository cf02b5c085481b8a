//! The table `model`.

use insta::assert_snapshot;

use super::*;

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
