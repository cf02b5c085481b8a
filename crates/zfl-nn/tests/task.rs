//! Tasks as bytes, and bad input.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod models;

use models::models;
use proptest::prelude::*;
use zfl_nn::{
    Activation, Draw, Format, Hyperparameters, InputError, LAYERS_MAX, Layer, Loss, Memory, Model,
    Rounding, Shape, ShapeError, Targets, Task, TaskError, Training, ValueTable,
};

fn tasks() -> impl Strategy<Value = Task> {
    let numbers = (1u32.., 1u32.., 0.0f32..1e9, 0.0f32..1.0);
    let more = (0.0f32..1.0, 0.0f32..10.0, 0.0f32..10.0, any::<[bool; 2]>());
    let format = prop::sample::select(&Format::ALL[..]);
    (models(300), numbers, more, format).prop_map(|(model, numbers, more, format)| {
        let (epochs, batch_size, learning_rate, momentum) = numbers;
        let (weight_decay, clip_norm, proximal, [nesterov, is_stochastic]) = more;
        Task {
            model,
            hyperparameters: Hyperparameters {
                epochs,
                batch_size: usize::try_from(batch_size).unwrap(),
                learning_rate,
                momentum,
                nesterov,
                weight_decay,
                clip_norm,
                proximal,
                rounding: if is_stochastic {
                    Rounding::Stochastic
                } else {
                    Rounding::Nearest
                },
            },
            format,
        }
    })
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_task_survives_its_bytes(task in tasks(), rest: Vec<u8>) {
        let bytes = task.encode();
        prop_assert!(bytes.as_slice().len() <= Task::BYTES_MAX);
        prop_assert_eq!(Task::decode(bytes.as_slice()), Ok(task));
        // What follows is ignored, what is missing is named.
        let more = [bytes.as_slice(), &rest].concat();
        prop_assert_eq!(Task::decode(&more), Ok(task));
        let (_, short) = bytes.as_slice().split_last().unwrap();
        let is_truncated = matches!(
            Task::decode(short),
            Err(TaskError::Truncated { needed, present })
                if needed == short.len() + 1 && present == short.len()
        );
        prop_assert!(is_truncated);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Task::decode(&bytes);
    }

    #[test]
    fn no_changed_bytes_panic(
        task in tasks(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = task.encode().as_slice().to_vec();
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if let Ok(task) = Task::decode(&bytes) {
            // Whatever it says, its memory can be reckoned and it comes back.
            let _ = task.model.workspace_len::<f32>(100, &task.hyperparameters, 16).total();
            let _ = (task.parameter_bytes(), task.trained_bytes());
            let again = Task::decode(task.encode().as_slice()).unwrap();
            prop_assert_eq!(again.model, task.model);
        }
    }
}

/// Two dense layers after a convolution and a pool.
fn example() -> Task {
    let layers = [
        Layer::Conv2d {
            filters: 4,
            kernel: 3,
            stride: 1,
            padding: 1,
            activation: Activation::Relu,
        },
        Layer::MaxPool { size: 2 },
        Layer::Flatten,
        dense(10),
    ];
    let model = Model::new(Shape::image(8, 8, 1), &layers, Loss::CrossEntropy).unwrap();
    Task {
        model,
        hyperparameters: Hyperparameters::sgd(2, 16, 0.1),
        format: Format::F32,
    }
}

const fn dense(outputs: usize) -> Layer {
    Layer::Dense {
        outputs,
        activation: Activation::Identity,
    }
}

#[test]
fn an_impossible_field_is_named_with_its_offset() {
    let infinite = f32::INFINITY.to_le_bytes();
    for (at, bytes, name, offset) in [
        (0, &[4][..], "format", 0),
        (1, &[2], "rounding", 1),
        (2, &[2], "momentum kind", 2),
        (3, &[2], "loss", 3),
        (4, &[0; 4], "epochs", 4),
        (8, &[0; 4], "batch size", 8),
        (12, &infinite, "learning rate", 12),
        (12, &[0, 0, 0xc0, 0x7f], "learning rate", 12),
        (12, &[0, 0, 0x80, 0xbf], "learning rate", 12),
        (40, &[17], "layer count", 40),
        (44, &[0], "layer kind", 44),
        (44, &[6], "layer kind", 44),
        (45, &[5], "activation", 45),
        (56, &[9], "layer kind", 56),
        (81, &[255], "activation", 81),
    ] {
        let mut task = example().encode().as_slice().to_vec();
        task[at..][..bytes.len()].copy_from_slice(bytes);
        let error = Task::decode(&task).unwrap_err();
        assert_eq!(error, TaskError::Field { name, offset });
        let text = format!("byte {offset} of the task: impossible value of {name}");
        assert_eq!(error.to_string(), text);
    }
    let mut frozen = example().encode().as_slice().to_vec();
    frozen[41] = 2;
    let error = TaskError::Shape(ShapeError::AllFrozen);
    assert_eq!(Task::decode(&frozen), Err(error));
    let error = Task::decode(&[0; 9]).unwrap_err();
    assert_eq!(error.to_string(), "task of 9 bytes, 44 needed");
}

#[test]
fn a_flatten_layer_at_the_end_survives() {
    let conv = Layer::Conv2d {
        filters: 3,
        kernel: 4,
        stride: 1,
        padding: 0,
        activation: Activation::Identity,
    };
    let mut task = example();
    for layers in [&[conv][..], &[conv, Layer::Flatten]] {
        task.model = Model::new(Shape::image(4, 4, 2), layers, Loss::CrossEntropy).unwrap();
        assert!(task.model.layers().eq(layers.iter().copied()));
        assert_eq!(Task::decode(task.encode().as_slice()), Ok(task));
    }
}

#[test]
fn a_batch_of_more_than_32_bits_is_of_all_samples() {
    let mut task = example();
    task.hyperparameters.batch_size = usize::MAX;
    let decoded = Task::decode(task.encode().as_slice()).unwrap();
    assert_eq!(decoded.hyperparameters.batch_size, 0xffff_ffff);
}

#[track_caller]
fn check_shape(input: Shape, layers: &[Layer], text: &str) {
    let error = Model::new(input, layers, Loss::CrossEntropy).unwrap_err();
    assert_eq!(error.to_string(), text);
}

#[test]
fn layers_that_do_not_chain_are_named() {
    let image = Shape::image(4, 6, 3);
    let flat = Shape::flat(8);
    let conv = |filters, kernel, stride, padding| Layer::Conv2d {
        filters,
        kernel,
        stride,
        padding,
        activation: Activation::Relu,
    };
    let flatten = Layer::Flatten;
    check_shape(flat, &[], "a model needs at least one layer");
    check_shape(flat, &[flatten], "a model needs at least one layer");
    check_shape(
        flat,
        &[dense(2); LAYERS_MAX + 1],
        "17 layers, at most 16 are supported",
    );
    check_shape(Shape::flat(0), &[dense(2)], "the model has no inputs");
    check_shape(
        Shape::image(3, 0, 1),
        &[flatten, dense(2)],
        "the model has no inputs",
    );
    check_shape(flat, &[dense(3), dense(0)], "layer 1 has no outputs");
    check_shape(image, &[conv(0, 3, 1, 0)], "layer 0 has no outputs");
    check_shape(
        image,
        &[conv(5, 3, 1, 0), dense(2)],
        "layer 1 is dense, but its input is an image of 2x4x5: put a flatten layer before it",
    );
    check_shape(
        image,
        &[flatten, flatten, dense(2)],
        "layer 1 flattens what is flat already",
    );
    check_shape(
        image,
        &[conv(2, 5, 1, 0), flatten, dense(2)],
        "layer 0 has a window of 5x5, larger than its input of 4x6x3",
    );
    check_shape(
        image,
        &[conv(2, 3, 1, 0), Layer::AveragePool { size: 3 }],
        "layer 1 has a window of 3x3, larger than its input of 2x4x2",
    );
    let settings = [
        (conv(2, 0, 1, 0), "kernel 0, must be 1 to 255"),
        (conv(2, 256, 1, 0), "kernel 256, must be 1 to 255"),
        (conv(2, 2, 0, 0), "stride 0, must be 1 to 255"),
        (conv(2, 2, 1, 2), "padding 2, must be 0 to 1"),
        (Layer::MaxPool { size: 0 }, "size 0, must be 1 to 255"),
        (
            Layer::AveragePool { size: 256 },
            "size 256, must be 1 to 255",
        ),
    ];
    for (layer, text) in settings {
        let layers = [layer, flatten, dense(2)];
        check_shape(image, &layers, &format!("layer 0: {text}"));
    }
    let last = "the last layer must be a dense one";
    check_shape(image, &[Layer::MaxPool { size: 2 }], last);
    check_shape(image, &[conv(2, 3, 1, 1)], last);
    let relu = Layer::Dense {
        outputs: 2,
        activation: Activation::Relu,
    };
    check_shape(
        flat,
        &[relu],
        "the last layer must have no activation: the loss takes its sums",
    );
    let large = "the model has more parameters than can be addressed";
    check_shape(flat, &[dense(1 << 20), dense(1 << 20)], large);
    check_shape(flat, &[dense(usize::MAX)], large);
    check_shape(Shape::image(1 << 16, 1, 1), &[flatten, dense(2)], large);
    check_shape(Shape::image(65_535, 65_535, usize::MAX), &[dense(2)], large);
    check_shape(Shape::image(1, 1, usize::MAX), &[conv(1, 3, 1, 2)], large);
    let model = Model::new(flat, &[dense(3), dense(2)], Loss::CrossEntropy).unwrap();
    let error = model.freeze(2).unwrap_err();
    assert_eq!(
        error.to_string(),
        "every layer is frozen, nothing is left to train"
    );
}

const DRAW: Draw = Draw {
    seed: 1,
    client: 0,
    round: 1,
};

/// What the trainer says of hyperparameters.
fn refusal(change: impl Fn(&mut Hyperparameters)) -> String {
    let mut hyperparameters = Hyperparameters::sgd(1, 4, 0.1);
    change(&mut hyperparameters);
    let model = example().model;
    match Training::<f32>::new(model, hyperparameters, 10, 1, DRAW) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn hyperparameters_out_of_bounds_are_named() {
    let least = "batch size 0 must be at least 1";
    assert_eq!(refusal(|how| how.batch_size = 0), least);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.5] {
        let text = |name| format!("{name} {bad} must be finite and at least 0");
        assert_eq!(
            refusal(|how| how.learning_rate = bad),
            text("learning rate")
        );
        assert_eq!(refusal(|how| how.weight_decay = bad), text("weight decay"));
        assert_eq!(refusal(|how| how.clip_norm = bad), text("clip norm"));
        assert_eq!(refusal(|how| how.proximal = bad), text("proximal"));
        let text = format!("momentum {bad} must be at least 0 and below 1");
        assert_eq!(refusal(|how| how.momentum = bad), text);
    }
    let text = "momentum 1 must be at least 0 and below 1";
    assert_eq!(refusal(|how| how.momentum = 1.0), text);
    assert_eq!(refusal(|how| how.learning_rate = 0.0), "accepted");
}

#[test]
fn fixed_point_knows_plain_steps_only() {
    let mut how = Hyperparameters::sgd(1, 4, 0.1);
    let model = example().model;
    assert!(Training::<i16>::new(model, how, 10, 1, DRAW).is_ok());
    how.momentum = 0.9;
    let error = Training::<i16>::new(model, how, 10, 1, DRAW).err().unwrap();
    assert!(
        matches!(error, InputError::Hyperparameter { .. }),
        "{error}"
    );
}

#[test]
fn impossible_numbers_of_samples_are_refused() {
    for (count, text) in [
        (0, "samples: 0 values given, 1 needed"),
        (65_536, "samples: 65536 values given, 65535 needed"),
    ] {
        let how = Hyperparameters::sgd(1, 4, 0.1);
        let training = Training::<f32>::new(example().model, how, count, 1, DRAW);
        assert_eq!(training.err().unwrap().to_string(), text);
    }
}

/// Trains 3 samples of 4 values and 2 outputs with these targets, by
/// `change`d lengths of parameters, workspace, order and samples.
fn trains(targets: Targets<'_>, change: [isize; 4]) -> Result<(), String> {
    let model = Model::mlp(4, &[2], Activation::Relu, Loss::SquaredError).unwrap();
    let how = Hyperparameters::sgd(1, 2, 0.1);
    let workspace_len = model.workspace_len::<f32>(3, &how, 1).total();
    let [parameters, workspace, order, samples] = [(0, 10), (1, workspace_len), (2, 3), (3, 12)]
        .map(|(index, len)| len.checked_add_signed(change[index]).unwrap());
    let before = vec![0.5; parameters];
    let mut parameters = before.clone();
    let mut training = Training::new(model, how, 3, 1, DRAW).unwrap();
    let (mut workspace, mut order) = (vec![f32::NAN; workspace], vec![0; order]);
    let (samples, table) = (vec![100; samples], ValueTable::new(0.01));
    let mut memory = Memory {
        parameters: &mut parameters,
        workspace: &mut workspace,
        order: &mut order,
        samples: &samples,
        targets,
        table: &table,
        non_zero: None,
    };
    let result = training.advance(&mut memory, usize::MAX);
    if result.is_err() {
        assert_eq!(parameters, before, "changed in spite of an error");
    }
    result.map(|_| ()).map_err(|error| error.to_string())
}

#[test]
fn targets_and_memory_that_do_not_fit_are_named() {
    let labels = Targets::Labels(&[0, 1, 0]);
    let none = [0; 4];
    assert_eq!(trains(labels, none), Ok(()));
    assert_eq!(trains(Targets::Values(&[0.5; 6]), none), Ok(()));
    fn refusal(targets: Targets<'_>, change: [isize; 4]) -> String {
        trains(targets, change).unwrap_err()
    }
    assert_eq!(
        refusal(Targets::Labels(&[0, 1, 2]), none),
        "sample 2 has label 2, the model has 2 classes"
    );
    assert_eq!(
        refusal(Targets::Labels(&[0, 1]), none),
        "labels: 2 values given, 3 needed"
    );
    for bad in [f32::NAN, f32::INFINITY] {
        assert_eq!(
            refusal(Targets::Values(&[0.0, 0.0, 0.0, bad, 0.0, 0.0]), none),
            "the target of sample 1 is not a finite number"
        );
    }
    assert_eq!(
        refusal(Targets::Values(&[0.0; 3]), none),
        "targets: 3 values given, 6 needed"
    );
    for (index, name) in ["parameters", "workspace", "order", "samples"]
        .iter()
        .enumerate()
    {
        for by in [-1, 1] {
            let mut change = none;
            change[index] = by;
            let text = refusal(labels, change);
            assert!(text.starts_with(&format!("{name}: ")), "{text}");
        }
    }
}
