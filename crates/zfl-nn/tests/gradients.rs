//! Gradients against finite differences of a plain implementation of the loss.
//!
//! A step of plain gradient descent with a rate of 1 moves each parameter by
//! its mean gradient over the batch.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod models;
mod train;

use models::models;
use proptest::prelude::*;
use train::{Case, Way};
use zfl_nn::{
    Activation, BLOCK_FAST, Draw, Hyperparameters, Initialisation, Layer, Loss, Model, Targets,
};
use zfl_seed::{Purpose, Stream};

/// Whose order of samples it is.
const DRAW: Draw = Draw {
    seed: 5,
    client: 3,
    round: 2,
};
const SCALE: f32 = 1.0 / 255.0;
/// How far a parameter is moved to see what it does to the loss.
const NUDGE: f64 = 1e-6;
/// Parameters of a model that are looked at.
const PROBES: usize = 60;

/// The loss of one sample, in double precision: one value after another, from
/// the formulae.
fn reference_loss(model: &Model, parameters: &[f64], sample: &[u8], target: &[f64]) -> f64 {
    let mut values: Vec<f64> = sample
        .iter()
        .map(|byte| f64::from(f32::from(*byte) * SCALE))
        .collect();
    let input = model.input();
    let (mut height, mut width, mut channels) = (input.height, input.width, input.channels);
    let mut rest = parameters;
    for layer in model.layers() {
        match layer {
            Layer::Flatten => (height, width, channels) = (1, 1, values.len()),
            Layer::Dense {
                outputs,
                activation,
            } => {
                let (weights, behind) = rest.split_at(values.len() * outputs);
                let (bias, behind) = behind.split_at(outputs);
                rest = behind;
                let sum = |output: usize| {
                    let product = |input: usize| values[input] * weights[input * outputs + output];
                    bias[output] + (0..values.len()).map(product).sum::<f64>()
                };
                values = (0..outputs).map(|o| activate(activation, sum(o))).collect();
                channels = outputs;
            }
            Layer::Conv2d {
                filters,
                kernel,
                stride,
                padding,
                activation,
            } => {
                let (weights, behind) = rest.split_at(kernel * kernel * channels * filters);
                let (bias, behind) = behind.split_at(filters);
                rest = behind;
                let rows = (height + 2 * padding - kernel) / stride + 1;
                let columns = (width + 2 * padding - kernel) / stride + 1;
                let pixel = |row: usize, column: usize, channel: usize| {
                    let inside = (padding..padding + height).contains(&row)
                        && (padding..padding + width).contains(&column);
                    if inside {
                        values[((row - padding) * width + column - padding) * channels + channel]
                    } else {
                        0.0
                    }
                };
                let mut outputs = Vec::new();
                for row in 0..rows {
                    for column in 0..columns {
                        for filter in 0..filters {
                            let mut sum = bias[filter];
                            for y in 0..kernel {
                                for x in 0..kernel {
                                    for channel in 0..channels {
                                        let weight = (y * kernel + x) * channels + channel;
                                        sum +=
                                            pixel(row * stride + y, column * stride + x, channel)
                                                * weights[weight * filters + filter];
                                    }
                                }
                            }
                            outputs.push(activate(activation, sum));
                        }
                    }
                }
                values = outputs;
                (height, width, channels) = (rows, columns, filters);
            }
            Layer::MaxPool { size } | Layer::AveragePool { size } => {
                let mut outputs = Vec::new();
                for row in 0..height / size {
                    for column in 0..width / size {
                        for channel in 0..channels {
                            let window = (0..size * size).map(|at| {
                                let (y, x) = (row * size + at / size, column * size + at % size);
                                values[(y * width + x) * channels + channel]
                            });
                            outputs.push(match layer {
                                Layer::MaxPool { .. } => window.fold(f64::MIN, f64::max),
                                _ => {
                                    window.sum::<f64>()
                                        / f64::from(u32::try_from(size * size).unwrap())
                                }
                            });
                        }
                    }
                }
                values = outputs;
                (height, width) = (height / size, width / size);
            }
        }
    }
    assert!(rest.is_empty());
    match model.loss() {
        Loss::CrossEntropy => {
            let of_class: f64 = values.iter().zip(target).map(|(v, t)| v * t).sum();
            values.iter().map(|value| value.exp()).sum::<f64>().ln() - of_class
        }
        Loss::SquaredError => {
            let square = |(value, target): (&f64, &f64)| (value - target).powi(2);
            values.iter().zip(target).map(square).sum::<f64>() / 2.0
        }
    }
}

fn activate(activation: Activation, sum: f64) -> f64 {
    match activation {
        Activation::Identity => sum,
        Activation::Relu => sum.max(0.0),
        Activation::LeakyRelu if sum < 0.0 => sum * f64::from(0.01f32),
        Activation::LeakyRelu => sum,
        Activation::Tanh => sum.tanh(),
        Activation::Sigmoid => 1.0 / (1.0 + (-sum).exp()),
    }
}

/// Random data of a model, its parameters, and what to train it on.
struct Problem {
    model: Model,
    parameters: Vec<f32>,
    samples: Vec<u8>,
    labels: Vec<u8>,
    values: Option<Vec<f32>>,
}

impl Problem {
    fn new(model: Model, sample_count: usize, seed: u64) -> Self {
        let mut stream = Stream::new(seed, Purpose::Partition, 0);
        let mut parameters = vec![0.0; model.parameter_count()];
        let mut weights = Stream::new(seed, Purpose::InitialWeights, 0);
        model
            .initialise(&mut parameters, Initialisation::Glorot, &mut weights)
            .unwrap();
        for tensor in model.tensors() {
            let bias = tensor.offset + tensor.weight_count;
            for bias in &mut parameters[bias..][..tensor.bias_count] {
                *bias = weights.unit_f32() - 0.5;
            }
        }
        // Runs of zeros, which the trainer passes over.
        let samples = (0..sample_count * model.input_count()).map(|_| {
            let byte = u8::try_from(stream.below(256)).unwrap();
            if stream.below(3) == 0 { 0 } else { byte }
        });
        let samples = samples.collect();
        let outputs = u32::try_from(model.output_count()).unwrap();
        let labels = (0..sample_count).map(|_| u8::try_from(stream.below(outputs)).unwrap());
        let labels = labels.collect();
        let is_regression = model.loss() == Loss::SquaredError && stream.below(2) == 0;
        let values = is_regression.then(|| {
            let count = sample_count * model.output_count();
            (0..count).map(|_| stream.unit_f32() * 4.0 - 2.0).collect()
        });
        Self {
            model,
            parameters,
            samples,
            labels,
            values,
        }
    }

    fn sample_count(&self) -> usize {
        self.labels.len()
    }

    fn targets(&self) -> Targets<'_> {
        match &self.values {
            Some(values) => Targets::Values(values),
            None => Targets::Labels(&self.labels),
        }
    }

    fn reference_loss(&self, parameters: &[f64]) -> f64 {
        let outputs = self.model.output_count();
        let mut sum = 0.0;
        for (index, sample) in self.samples.chunks(self.model.input_count()).enumerate() {
            let label = usize::from(self.labels[index]);
            let target: Vec<f64> = (0..outputs)
                .map(|output| match &self.values {
                    Some(values) => f64::from(values[index * outputs + output]),
                    None => f64::from(u8::from(output == label)),
                })
                .collect();
            sum += reference_loss(&self.model, parameters, sample, &target);
        }
        sum / f64::from(u32::try_from(self.sample_count()).unwrap())
    }

    fn case(&self, batch_size: usize, learning_rate: f32) -> Case<'_> {
        Case {
            model: self.model,
            hyperparameters: Hyperparameters::sgd(1, batch_size, learning_rate),
            draw: DRAW,
            samples: &self.samples,
            targets: self.targets(),
            scale: SCALE,
        }
    }

    /// The samples of this order alone.
    fn pick(&self, order: &[u16]) -> Self {
        fn rows<T: Clone>(values: &[T], len: usize, order: &[u16]) -> Vec<T> {
            let row = |index: &u16| values[usize::from(*index) * len..][..len].to_vec();
            order.iter().flat_map(row).collect()
        }
        Self {
            model: self.model,
            parameters: self.parameters.clone(),
            samples: rows(&self.samples, self.model.input_count(), order),
            labels: rows(&self.labels, 1, order),
            values: self
                .values
                .as_ref()
                .map(|values| rows(values, self.model.output_count(), order)),
        }
    }
}

fn way(block: usize) -> Way {
    Way {
        block,
        units: usize::MAX,
        sparse: block > 1,
    }
}

/// Compares the gradients of some parameters, and says of how many.
fn check_gradients(problem: &Problem, block: usize) -> Result<usize, TestCaseError> {
    let case = problem.case(usize::MAX, 1.0);
    let trained = case
        .train(&problem.parameters, way(block), f32::NAN)
        .unwrap();
    let exact: Vec<f64> = problem.parameters.iter().map(|p| f64::from(*p)).collect();
    let loss = problem.reference_loss(&exact);
    prop_assert!(
        (trained.last_epoch.loss() - loss).abs() <= 1e-5 * loss.max(1.0),
        "loss {}, expected {loss}",
        trained.last_epoch.loss()
    );
    let frozen = problem.model.frozen_parameter_count();
    prop_assert_eq!(&trained.parameters[..frozen], &problem.parameters[..frozen]);
    let trains = exact.len() - frozen;
    let stride = trains.div_ceil(PROBES);
    let mut compared = 0;
    for index in (frozen..exact.len()).rev().step_by(stride) {
        let slope = |nudge: f64| {
            let mut nudged = exact.clone();
            nudged[index] += nudge;
            (problem.reference_loss(&nudged) - loss) / nudge
        };
        let (left, right) = (slope(-NUDGE), slope(NUDGE));
        let expected = f64::midpoint(left, right);
        if (left - right).abs() > 1e-4 * expected.abs().max(1.0) {
            // A kink: ReLU at 0, or a tie in a window.
            continue;
        }
        let moved = exact[index] - f64::from(trained.parameters[index]);
        prop_assert!(
            (moved - expected).abs() <= 1e-4 * expected.abs().max(1.0),
            "parameter {} of {}: gradient {}, expected {}",
            index,
            exact.len(),
            moved,
            expected
        );
        compared += 1;
    }
    Ok(compared)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn gradients_agree_with_finite_differences(
        model in models(40),
        sample_count in 1usize..=6,
        seed: u64,
    ) {
        let problem = Problem::new(model, sample_count, seed);
        for block in [1, BLOCK_FAST] {
            check_gradients(&problem, block)?;
        }
    }

    /// An epoch of several batches is a step for each batch.
    #[test]
    fn batches_follow_one_another(
        model in models(40),
        sample_count in 2usize..=20,
        batch_size in 1usize..=8,
        block in prop::sample::select(&[1, 3, BLOCK_FAST][..]),
        seed: u64,
    ) {
        const RATE: f32 = 0.01;
        let problem = Problem::new(model, sample_count, seed);
        let whole = problem.case(batch_size, RATE);
        let whole = whole.train(&problem.parameters, way(block), f32::NAN);
        prop_assume!(whole.is_ok());
        let whole = whole.unwrap();
        let Draw { seed, client, round } = DRAW;
        let mut order: Vec<u16> = (0..u16::try_from(sample_count).unwrap()).collect();
        Stream::for_round(seed, Purpose::BatchOrder, client, round).shuffle(&mut order);
        prop_assert_eq!(&whole.order, &order);
        let mut parameters = problem.parameters.clone();
        let mut correct_count = 0;
        for batch in order.chunks(batch_size) {
            let batch = problem.pick(batch);
            let step = batch.case(usize::MAX, RATE);
            let step = step.train(&parameters, way(1), f32::NAN).unwrap();
            parameters = step.parameters;
            correct_count += step.last_epoch.correct_count;
        }
        prop_assert_eq!(whole.last_epoch.sample_count, sample_count);
        prop_assert!(whole.last_epoch.correct_count.abs_diff(correct_count) <= 1);
        // The order within a batch differs, and with it the last bits.
        for (found, expected) in whole.parameters.iter().zip(&parameters) {
            prop_assert!((found - expected).abs() <= 1e-4, "{found}, expected {expected}");
        }
    }
}

/// Skipping kinks must not mean that nothing is compared.
#[test]
fn most_parameters_are_compared() {
    let relu = Activation::Relu;
    let layers = [
        Layer::Conv2d {
            filters: 3,
            kernel: 3,
            stride: 1,
            padding: 1,
            activation: relu,
        },
        Layer::MaxPool { size: 2 },
        Layer::Flatten,
        Layer::Dense {
            outputs: 40,
            activation: relu,
        },
        Layer::Dense {
            outputs: 4,
            activation: Activation::Identity,
        },
    ];
    let shape = zfl_nn::Shape::image(6, 5, 2);
    let model = Model::new(shape, &layers, Loss::CrossEntropy).unwrap();
    let problem = Problem::new(model, 6, 1);
    let compared = check_gradients(&problem, 1).unwrap();
    assert!(compared >= PROBES / 2, "{compared} of {PROBES}");
}
