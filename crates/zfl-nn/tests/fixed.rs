//! Fixed point learns, and stays within its range.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod models;
mod train;

use models::models;
use proptest::prelude::*;
use train::{Case, Way};
use zfl_nn::{
    Activation, Draw, Hyperparameters, Initialisation, InputError, Layer, Loss, Model, Rounding,
    Shape, Targets, ValueTable, Weight,
};
use zfl_seed::{Purpose, Stream};

const DRAW: Draw = Draw {
    seed: 5,
    client: 3,
    round: 2,
};
const WAY: Way = Way {
    block: 1,
    units: usize::MAX,
    sparse: false,
};
const SIDE: usize = 8;
const CLASSES: usize = 4;

/// Images of a bar: upright or lying, in the first or the second half, under
/// noise.
fn bars(count: usize, seed: u64) -> (Vec<u8>, Vec<u8>) {
    let mut stream = Stream::new(seed, Purpose::Partition, 0);
    let (mut samples, mut labels) = (Vec::new(), Vec::new());
    for index in 0..count {
        let class = index % CLASSES;
        let half = u32::try_from(SIDE / 2).unwrap();
        let at = usize::try_from(stream.below(half)).unwrap() + class / 2 * SIDE / 2;
        for pixel in 0..SIDE * SIDE {
            let along = if class.is_multiple_of(2) {
                pixel / SIDE
            } else {
                pixel % SIDE
            };
            let noise = u8::try_from(stream.below(90)).unwrap();
            samples.push(if along == at { 160 + noise } else { noise });
        }
        labels.push(u8::try_from(class).unwrap());
    }
    (samples, labels)
}

/// Accuracy on other samples after training.
fn accuracy<W: Weight>(model: Model, rounding: Rounding) -> f64 {
    let (samples, labels) = bars(200, 1);
    let mut hyperparameters = Hyperparameters::sgd(12, 5, 0.1);
    hyperparameters.rounding = rounding;
    let mut initial = vec![0.0; model.parameter_count()];
    let mut stream = Stream::new(1, Purpose::InitialWeights, 0);
    model
        .initialise(&mut initial, Initialisation::Auto, &mut stream)
        .unwrap();
    let initial: Vec<W> = initial.iter().map(|weight| W::from_f32(*weight)).collect();
    let case = Case {
        model,
        hyperparameters,
        draw: DRAW,
        samples: &samples,
        targets: Targets::Labels(&labels),
        scale: 1.0 / 255.0,
    };
    let trained = case.train(&initial, WAY, W::Value::default()).unwrap();
    let (samples, labels) = bars(400, 2);
    let mut scratch = vec![W::Value::default(); model.evaluation_len()];
    let evaluation = model.evaluate(
        &trained.parameters,
        &samples,
        Targets::Labels(&labels),
        &ValueTable::new(1.0 / 255.0),
        &mut scratch,
    );
    evaluation.unwrap().accuracy()
}

fn check_learning(model: Model) {
    let float = accuracy::<f32>(model, Rounding::Nearest);
    assert!(float > 0.95, "f32: {float}");
    for (name, found, loss) in [
        ("i32", accuracy::<i32>(model, Rounding::Nearest), 0.01),
        ("i32", accuracy::<i32>(model, Rounding::Stochastic), 0.01),
        ("i16", accuracy::<i16>(model, Rounding::Stochastic), 0.02),
        ("i8", accuracy::<i8>(model, Rounding::Stochastic), 0.15),
    ] {
        assert!(found >= float - loss, "{name}: {found}, f32: {float}");
    }
}

#[test]
fn a_perceptron_learns_as_well_as_in_floating_point() {
    let widths = [24, CLASSES];
    let model = Model::mlp(SIDE * SIDE, &widths, Activation::Relu, Loss::CrossEntropy);
    check_learning(model.unwrap());
}

#[test]
fn a_convolution_learns_as_well_as_in_floating_point() {
    let layers = [
        Layer::Conv2d {
            filters: 6,
            kernel: 3,
            stride: 1,
            padding: 1,
            activation: Activation::Relu,
        },
        Layer::MaxPool { size: 2 },
        Layer::Flatten,
        Layer::Dense {
            outputs: CLASSES,
            activation: Activation::Identity,
        },
    ];
    let shape = Shape::image(SIDE, SIDE, 1);
    check_learning(Model::new(shape, &layers, Loss::CrossEntropy).unwrap());
}

/// Weights as `f32` keep their value, and what is out of range the last one.
#[test]
fn numbers_saturate() {
    fn check<W: Weight>(step: f32, range: f32) {
        for value in [0.0, step, -step, 0.5, -1.25, -range] {
            assert_eq!(W::from_f32(value).to_f32().to_bits(), value.to_bits());
        }
        for value in [range, 1e30, f32::INFINITY] {
            assert!(W::from_f32(value).to_f32() <= range);
            assert!(W::from_f32(value).to_f32() >= range - step);
            assert_eq!(W::from_f32(-value).to_f32().to_bits(), (-range).to_bits());
        }
    }
    let power = |bits: i32| 2.0f32.powi(bits);
    check::<i32>(power(-24), 128.0);
    check::<i16>(power(-12), 8.0);
    check::<i8>(power(-6), 2.0);
}

/// A step beyond the end of the range ends there, and does not come out at the
/// other one.
#[test]
fn weights_do_not_wrap() {
    fn check<W: Weight>(batch_size: usize) {
        // One input, one output that is always too small: the weight grows.
        let model = Model::mlp(1, &[1], Activation::Relu, Loss::SquaredError).unwrap();
        let case = Case {
            model,
            hyperparameters: Hyperparameters::sgd(300, batch_size, 100.0),
            draw: DRAW,
            samples: &[1, 1, 1],
            targets: Targets::Values(&[127.0; 3]),
            scale: 1.0 / 255.0,
        };
        let end = W::from_f32(f32::INFINITY);
        let before = [end, W::from_f32(0.0)];
        let trained = case.train(&before, WAY, W::Value::default());
        let Ok(trained) = trained else {
            return;
        };
        assert!(trained.parameters[0].to_f32() > 0.0, "{trained:?}");
    }
    for batch_size in [1, 3] {
        check::<i32>(batch_size);
        check::<i16>(batch_size);
        check::<i8>(batch_size);
    }
}

fn extreme() -> impl Strategy<Value = f32> {
    let ends = [
        0.0,
        1.0,
        -1.0,
        127.9,
        -128.0,
        1e9,
        -1e9,
        1e30,
        -1e30,
        f32::MAX,
        f32::MIN,
    ];
    prop_oneof![
        prop::sample::select(ends.to_vec()),
        -200.0f32..200.0,
        -1.0f32..1.0,
    ]
}

/// Data, weights and rates near the ends of what numbers can be.
#[derive(Clone, Debug)]
struct Extremes {
    model: Model,
    rate: f32,
    epochs: u32,
    batch_size: usize,
    weights: Vec<f32>,
    values: Vec<f32>,
    bytes: Vec<u8>,
    scale: f32,
    block: usize,
}

fn extremes() -> impl Strategy<Value = Extremes> {
    let numbers = (extreme(), 1u32..4, 1usize..8, 1usize..8, extreme());
    let lists = (
        prop::collection::vec(extreme(), 1..20),
        prop::collection::vec(extreme(), 1..20),
        prop::collection::vec(any::<u8>(), 1..20),
    );
    let block = prop::sample::select(&[1, 16][..]);
    (models(24), numbers, lists, block).prop_map(|(model, numbers, lists, block)| {
        let (rate, epochs, batch_size, count, scale) = numbers;
        let (weights, values, bytes) = lists;
        fn repeat<T: Copy>(list: Vec<T>, len: usize) -> Vec<T> {
            list.into_iter().cycle().take(len).collect()
        }
        Extremes {
            model,
            rate: rate.abs(),
            epochs,
            batch_size,
            weights: repeat(weights, model.parameter_count()),
            values: repeat(values, count * model.output_count()),
            bytes: repeat(bytes, count * model.input_count()),
            scale,
            block,
        }
    })
}

impl Extremes {
    /// Trains, on values or labels; only divergence may stop it.
    fn check<W: Weight>(&self, rounding: Rounding) -> Result<(), TestCaseError> {
        let weights: Vec<W> = self.weights.iter().map(|w| W::from_f32(*w)).collect();
        let labels = vec![0; self.values.len() / self.model.output_count()];
        let mut hyperparameters = Hyperparameters::sgd(self.epochs, self.batch_size, self.rate);
        hyperparameters.rounding = rounding;
        for targets in [Targets::Values(&self.values), Targets::Labels(&labels)] {
            let case = Case {
                model: self.model,
                hyperparameters,
                draw: DRAW,
                samples: &self.bytes,
                targets,
                scale: self.scale,
            };
            let way = Way {
                block: self.block,
                ..WAY
            };
            match case.train(&weights, way, W::Value::default()) {
                Ok(trained) => {
                    let is_finite = |weight: &W| weight.to_f32().is_finite();
                    prop_assert!(trained.parameters.iter().all(is_finite));
                    prop_assert!(trained.last_epoch.loss().is_finite());
                }
                Err(InputError::Diverged { epoch }) => prop_assert!(epoch < self.epochs),
                Err(error) => prop_assert!(false, "{error}"),
            }
        }
        Ok(())
    }
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    /// With the overflow checks of a debug build.
    #[test]
    fn extremes_end_well_or_diverge(extremes in extremes()) {
        extremes.check::<f32>(Rounding::Nearest)?;
        for rounding in [Rounding::Nearest, Rounding::Stochastic] {
            extremes.check::<i32>(rounding)?;
            extremes.check::<i16>(rounding)?;
            extremes.check::<i8>(rounding)?;
        }
    }
}
