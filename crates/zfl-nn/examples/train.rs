//! Trains a small convolutional network on the 8×8 digits, and says what it
//! takes:
//!
//! ```sh
//! cargo run --release --package zfl-nn --example train        # f32
//! cargo run --release --package zfl-nn --example train i8     # or i32, i16
//! ```
#![expect(clippy::print_stdout, reason = "an example reports")]

use std::error::Error;

use zfl_data::digits;
use zfl_nn::{
    Activation, Draw, Hyperparameters, Initialisation, Layer, Loss, Memory, Model, Progress,
    Rounding, Shape, Targets, Training, ValueTable, Weight,
};
use zfl_seed::{Purpose, Stream};

const SEED: u64 = 1;
const EPOCHS: u32 = 10;
const BATCH_SIZE: usize = 10;
const LEARNING_RATE: f32 = 0.1;
/// Samples processed together: the least memory, as on a device.
const BLOCK: usize = 1;
/// Work of one call: the caller is back after so many samples.
const UNITS: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        None | Some("f32") => train::<f32>(),
        Some("i32") => train::<i32>(),
        Some("i16") => train::<i16>(),
        Some("i8") => train::<i8>(),
        Some(other) => Err(format!("`{other}`, expected f32, i32, i16 or i8").into()),
    }
}

fn train<W: Weight>() -> Result<(), Box<dyn Error>> {
    let data = digits::load(SEED, digits::TEST_FRACTION_DEFAULT)?;
    let sample_count = data.train.sample_count();
    let model = Model::new(
        Shape::image(8, 8, 1),
        &[
            Layer::Conv2d {
                filters: 8,
                kernel: 3,
                stride: 1,
                padding: 1,
                activation: Activation::Relu,
            },
            Layer::MaxPool { size: 2 },
            Layer::Flatten,
            Layer::Dense {
                outputs: digits::CLASS_COUNT,
                activation: Activation::Identity,
            },
        ],
        Loss::CrossEntropy,
    )?;
    // One epoch a training, so that each can be evaluated. A round of
    // federated learning would have several.
    let how = Hyperparameters {
        rounding: Rounding::Stochastic,
        ..Hyperparameters::sgd(1, BATCH_SIZE, LEARNING_RATE)
    };

    let workspace_len = model.workspace_len::<W>(sample_count, &how, BLOCK);
    let value_bytes = size_of::<W::Value>();
    for (what, bytes) in [
        ("parameters", model.parameter_count() * size_of::<W>()),
        ("activations", workspace_len.activations * value_bytes),
        ("gradients", workspace_len.gradients * value_bytes),
        ("optimiser", workspace_len.optimiser * value_bytes),
        ("order", sample_count * size_of::<u16>()),
        ("samples", data.train.samples().len()),
        ("labels", data.train.labels().len()),
        ("value table", size_of::<ValueTable<W>>()),
    ] {
        println!("{what:<12} {bytes:>7} bytes");
    }

    // Drawn in f32 whatever the arithmetic.
    let mut drawn = vec![0.0; model.parameter_count()];
    let mut stream = Stream::new(SEED, Purpose::InitialWeights, 0);
    model.initialise(&mut drawn, Initialisation::Auto, &mut stream)?;
    let mut parameters: Vec<W> = drawn.into_iter().map(W::from_f32).collect();

    let mut workspace = vec![W::Value::default(); workspace_len.total()];
    let mut order = vec![0; sample_count];
    let mut scratch = vec![W::Value::default(); model.evaluation_len()];
    let table = ValueTable::new(data.train.value_scale());

    println!("\nepoch  training loss  test loss  test accuracy");
    for epoch in 1..=EPOCHS {
        let draw = Draw {
            seed: SEED,
            client: 0,
            round: epoch,
        };
        let mut training = Training::new(model, how, sample_count, BLOCK, draw)?;
        let mut memory = Memory {
            parameters: &mut parameters,
            workspace: &mut workspace,
            order: &mut order,
            samples: data.train.samples(),
            targets: Targets::Labels(data.train.labels()),
            table: &table,
            non_zero: None,
        };
        while training.advance(&mut memory, UNITS)? == Progress::Working {}
        let test = model.evaluate(
            &parameters,
            data.test.samples(),
            Targets::Labels(data.test.labels()),
            &table,
            &mut scratch,
        )?;
        println!(
            "{epoch:>5}  {:>13.4}  {:>9.4}  {:>13.4}",
            training.last_epoch().loss(),
            test.loss(),
            test.accuracy()
        );
    }
    Ok(())
}
