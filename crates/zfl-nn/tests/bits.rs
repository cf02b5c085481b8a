//! The bits of a training depend on its task, data and stream, and on nothing
//! about how it is carried out.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod models;
mod train;

use models::models;
use proptest::prelude::*;
use train::{Case, Trained, Way};
use zfl_nn::{
    Activation, BLOCK_FAST, Draw, Hyperparameters, Initialisation, InputError, Layer, Loss, Model,
    Rounding, Shape, Targets, Weight,
};
use zfl_seed::{Purpose, Stream};

/// Data of a model, its parameters, and what to train it with.
struct Problem {
    model: Model,
    hyperparameters: Hyperparameters,
    parameters: Vec<f32>,
    samples: Vec<u8>,
    labels: Vec<u8>,
    values: Option<Vec<f32>>,
}

impl Problem {
    fn new(model: Model, hyperparameters: Hyperparameters, count: usize, seed: u64) -> Self {
        let mut weights = Stream::new(seed, Purpose::InitialWeights, 0);
        let mut parameters = vec![0.0; model.parameter_count()];
        model
            .initialise(&mut parameters, Initialisation::Auto, &mut weights)
            .unwrap();
        let mut stream = Stream::new(seed, Purpose::Partition, 0);
        let mut byte = || {
            let byte = u8::try_from(stream.below(256)).unwrap();
            if stream.below(2) == 0 { 0 } else { byte }
        };
        let samples = (0..count * model.input_count()).map(|_| byte()).collect();
        let outputs = u32::try_from(model.output_count()).unwrap();
        let labels = (0..count).map(|_| u8::try_from(stream.below(outputs)).unwrap());
        let labels = labels.collect();
        let is_regression = model.loss() == Loss::SquaredError && stream.below(2) == 0;
        let values = is_regression.then(|| {
            let count = count * model.output_count();
            (0..count).map(|_| stream.unit_f32() * 2.0 - 1.0).collect()
        });
        Self {
            model,
            hyperparameters,
            parameters,
            samples,
            labels,
            values,
        }
    }

    fn train<W: Weight>(&self, way: Way, dirt: W::Value) -> Result<Trained<W>, InputError> {
        let parameters: Vec<W> = self.parameters.iter().map(|p| W::from_f32(*p)).collect();
        let case = Case {
            model: self.model,
            hyperparameters: self.hyperparameters,
            draw: Draw {
                seed: 5,
                client: 3,
                round: 2,
            },
            samples: &self.samples,
            targets: match &self.values {
                Some(values) => Targets::Values(values),
                None => Targets::Labels(&self.labels),
            },
            scale: 1.0 / 255.0,
        };
        case.train(&parameters, way, dirt)
    }

    /// Trains in every way, and compares with the plainest.
    fn check<W: Weight>(
        &self,
        block: usize,
        units: usize,
        dirt: W::Value,
    ) -> Result<(), TestCaseError> {
        let plain = Way {
            block: 1,
            units: usize::MAX,
            sparse: false,
        };
        let expected = self.train::<W>(plain, dirt);
        for (block, sparse, units) in [
            (1, false, 1),
            (1, true, units),
            (BLOCK_FAST, false, usize::MAX),
            (BLOCK_FAST, true, 1),
            (block, false, units),
        ] {
            let way = Way {
                block,
                units,
                sparse,
            };
            match (&expected, self.train::<W>(way, W::Value::default())) {
                (Ok(expected), Ok(found)) => {
                    let bits = |trained: &Trained<W>| hash(&trained.parameters);
                    prop_assert_eq!(bits(&found), bits(expected), "{:?}", way);
                    prop_assert!(found.parameters == expected.parameters, "{way:?}");
                    prop_assert_eq!(found.last_epoch, expected.last_epoch, "{:?}", way);
                    prop_assert_eq!(found.first_epoch, expected.first_epoch, "{:?}", way);
                }
                (Err(expected), Err(found)) => prop_assert_eq!(found, *expected, "{:?}", way),
                (expected, found) => prop_assert!(false, "{way:?}: {found:?}, not {expected:?}"),
            }
        }
        Ok(())
    }
}

/// FNV-1a with 64 bits over the bytes of the parameters as `f32`, which loses
/// the last bits of an `i32` that stands for more than 1.
fn hash<W: Weight>(parameters: &[W]) -> u64 {
    let bytes = parameters.iter().flat_map(|p| p.to_f32().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn sometimes(most: f32) -> impl Strategy<Value = f32> {
    prop_oneof![Just(0.0), 0.0..most]
}

fn optimisers() -> impl Strategy<Value = Hyperparameters> {
    let plain = (1u32..=3, 1usize..=20, 0.0f32..0.3);
    let more = (
        sometimes(0.9),
        any::<bool>(),
        sometimes(0.1),
        sometimes(1.0),
        sometimes(0.5),
    );
    (plain, more, any::<bool>()).prop_map(|(plain, more, is_plain)| {
        let (epochs, batch_size, learning_rate) = plain;
        let (momentum, nesterov, weight_decay, clip_norm, proximal) = more;
        let plain = Hyperparameters::sgd(epochs, batch_size, learning_rate);
        if is_plain {
            return plain;
        }
        Hyperparameters {
            momentum,
            nesterov,
            weight_decay,
            clip_norm,
            proximal,
            ..plain
        }
    })
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn every_way_gives_the_same_bits(
        model in models(80),
        hyperparameters in optimisers(),
        count in 1usize..=40,
        seed: u64,
        block in 2usize..=20,
        units in 1usize..=50,
    ) {
        let problem = Problem::new(model, hyperparameters, count, seed);
        problem.check::<f32>(block, units, f32::NAN)?;
    }

    #[test]
    fn every_way_gives_the_same_bits_in_fixed_point(
        model in models(80),
        plain in optimisers(),
        is_stochastic: bool,
        count in 1usize..=40,
        seed: u64,
        block in 2usize..=20,
        units in 1usize..=50,
    ) {
        let mut hyperparameters =
            Hyperparameters::sgd(plain.epochs, plain.batch_size, plain.learning_rate);
        if is_stochastic {
            hyperparameters.rounding = Rounding::Stochastic;
        }
        let problem = Problem::new(model, hyperparameters, count, seed);
        problem.check::<i32>(block, units, i32::MIN)?;
        problem.check::<i16>(block, units, i32::MIN)?;
        problem.check::<i8>(block, units, i32::MAX)?;
    }
}

fn perceptron() -> Model {
    Model::mlp(30, &[40, 20, 5], Activation::Relu, Loss::CrossEntropy).unwrap()
}

fn convolution(loss: Loss) -> Model {
    let layers = [
        Layer::Conv2d {
            filters: 6,
            kernel: 3,
            stride: 2,
            padding: 1,
            activation: Activation::Tanh,
        },
        Layer::MaxPool { size: 2 },
        Layer::Conv2d {
            filters: 5,
            kernel: 2,
            stride: 1,
            padding: 1,
            activation: Activation::LeakyRelu,
        },
        Layer::AveragePool { size: 2 },
        Layer::Flatten,
        Layer::Dense {
            outputs: 9,
            activation: Activation::Sigmoid,
        },
        Layer::Dense {
            outputs: 4,
            activation: Activation::Identity,
        },
    ];
    Model::new(Shape::image(11, 9, 2), &layers, loss).unwrap()
}

/// A change here makes runs of an older version irreproducible and must be
/// told in the CHANGELOG: another `exp` changes these bits, a faster loop must not.
#[test]
fn the_bits_are_pinned() {
    let plain = Hyperparameters::sgd(3, 6, 0.1);
    let stochastic = Hyperparameters {
        rounding: Rounding::Stochastic,
        ..plain
    };
    let full = Hyperparameters {
        momentum: 0.9,
        nesterov: true,
        weight_decay: 0.01,
        clip_norm: 1.0,
        proximal: 0.1,
        ..plain
    };
    let way = Way {
        block: BLOCK_FAST,
        units: 64,
        sparse: true,
    };
    let images = || convolution(Loss::CrossEntropy);
    let squared = || convolution(Loss::SquaredError);
    let mut found = Vec::new();
    for (name, model, hyperparameters) in [
        ("perceptron", perceptron(), plain),
        ("perceptron, every term", perceptron(), full),
        ("convolution", images(), plain),
        ("convolution, every term", images(), full),
        ("convolution, squared error", squared(), plain),
    ] {
        let trained = Problem::new(model, hyperparameters, 20, 7).train::<f32>(way, f32::NAN);
        found.push((name, "f32", hash(&trained.unwrap().parameters)));
    }
    for (name, model, hyperparameters) in [
        ("perceptron", perceptron(), plain),
        ("perceptron, stochastic", perceptron(), stochastic),
        ("convolution", images(), plain),
        ("convolution, stochastic", images(), stochastic),
        ("convolution, squared error", squared(), plain),
    ] {
        let problem = Problem::new(model, hyperparameters, 20, 7);
        let (wide, half, byte) = (
            problem.train::<i32>(way, 1).unwrap(),
            problem.train::<i16>(way, 1).unwrap(),
            problem.train::<i8>(way, 1).unwrap(),
        );
        found.push((name, "i32", hash(&wide.parameters)));
        found.push((name, "i16", hash(&half.parameters)));
        found.push((name, "i8", hash(&byte.parameters)));
    }
    let lines: Vec<String> = found
        .iter()
        .map(|(name, format, hash)| format!("{name}, {format}: {hash:016x}"))
        .collect();
    let lines = lines.join("\n");
    assert_eq!(
        lines,
        PINNED.trim(),
        "the bits have changed; they are now\n{lines}\n"
    );
}

const PINNED: &str = "
perceptron, f32: a1daafd5e3a42584
perceptron, every term, f32: b17545c6d3eb9461
convolution, f32: 18c39afb89535e89
convolution, every term, f32: 093e0d12121a3e26
convolution, squared error, f32: 591039776ad21265
perceptron, i32: 7cbb0fadb51f1df1
perceptron, i16: e64b46656afc03c2
perceptron, i8: 9671833645a770d8
perceptron, stochastic, i32: 3d73e144faa7babf
perceptron, stochastic, i16: e12ac3c336d6899a
perceptron, stochastic, i8: d7565117334a8f7e
convolution, i32: 5d76f2830b543ad4
convolution, i16: 55e516edc0c4d2ef
convolution, i8: ae32136a938b2b9a
convolution, stochastic, i32: 81e0bdc80f9741c6
convolution, stochastic, i16: 9b6210189a105c89
convolution, stochastic, i8: 8effd7c1399a8d84
convolution, squared error, i32: e1a295c10d39362d
convolution, squared error, i16: cdaf7cc7815ea459
convolution, squared error, i8: 66a1f141b2dc20e7
";
