//! Training on a Cortex-M with `zfl-nn` alone: no network, no operating system,
//! no heap.
//!
//! Fifty digits of 8×8 pixels, a model of 64-16-10, twice: in `f32` and in
//! 16-bit fixed point. The same code runs on the host and must print the same
//! lines, the hashes of the parameters included: `tests/qemu.rs` compares them.
#![cfg_attr(target_os = "none", no_std)]

mod digits;

use core::fmt;

use zfl_nn::{
    Activation, Draw, Hyperparameters, Initialisation, InputError, Loss, Memory, Model, Progress,
    Rounding, ShapeError, Targets, Training, ValueTable, Weight,
};
use zfl_seed::{Purpose, Stream};

use digits::{LABELS, SAMPLES};

/// Pixels of a digit.
const INPUT_COUNT: usize = 64;
/// Digits that are trained on; the rest are for the evaluation.
const TRAINING_COUNT: usize = 50;
const WIDTHS: [usize; 2] = [16, 10];

// What the statics need. `run` says what it should be where this is wrong.
const PARAMETER_COUNT: usize = 64 * 16 + 16 + 16 * 10 + 10;
/// Of the larger of the two trainings: 16-bit weights have gradients of all
/// layers.
const WORKSPACE_LEN: usize = PARAMETER_COUNT + 16 + 10;
const SCRATCH_LEN: usize = 32;

/// Digits between two steps.
const BATCH_SIZE: usize = 10;
const EPOCHS: u32 = 20;
const SEED: u64 = 1;
/// Digits per call: then a watchdog could be fed.
const UNITS: usize = 16;

/// The memory of a training: weights of `W`, working values of `V`.
pub struct Statics<W, V> {
    parameters: [W; PARAMETER_COUNT],
    workspace: [V; WORKSPACE_LEN],
    scratch: [V; SCRATCH_LEN],
    order: [u16; TRAINING_COUNT],
}

impl<W: Copy, V: Copy> Statics<W, V> {
    /// Filled with zeros.
    pub const fn new(weight: W, value: V) -> Self {
        Self {
            parameters: [weight; PARAMETER_COUNT],
            workspace: [value; WORKSPACE_LEN],
            scratch: [value; SCRATCH_LEN],
            order: [0; TRAINING_COUNT],
        }
    }
}

/// Why there is no result.
#[derive(Debug)]
pub enum Error {
    /// The layers are none.
    Shape(ShapeError),
    /// Memory, data or hyperparameters do not fit.
    Input(InputError),
    /// Nothing could be written.
    Output,
}

impl From<ShapeError> for Error {
    fn from(error: ShapeError) -> Self {
        Self::Shape(error)
    }
}

impl From<InputError> for Error {
    fn from(error: InputError) -> Self {
        Self::Input(error)
    }
}

impl From<fmt::Error> for Error {
    fn from(_: fmt::Error) -> Self {
        Self::Output
    }
}

/// Trains in both arithmetics and writes a line about each.
///
/// # Errors
/// When `out` cannot be written to. What else fails is written.
pub fn run(
    out: &mut impl fmt::Write,
    float: &mut Statics<f32, f32>,
    fixed: &mut Statics<i16, i32>,
) -> fmt::Result {
    let float = train(float).and_then(|result| Ok(writeln!(out, "f32  {result}")?));
    let fixed = train(fixed).and_then(|result| Ok(writeln!(out, "i16  {result}")?));
    for result in [float, fixed] {
        match result {
            Ok(()) => {}
            Err(Error::Shape(error)) => writeln!(out, "failed: {error}")?,
            Err(Error::Input(error)) => writeln!(out, "failed: {error}")?,
            Err(Error::Output) => return Err(fmt::Error),
        }
    }
    Ok(())
}

/// What [`run`] writes.
///
/// # Errors
/// None: a `String` can be written to.
#[cfg(not(target_os = "none"))]
pub fn report() -> Result<String, fmt::Error> {
    let mut text = String::new();
    run(&mut text, &mut Statics::new(0.0, 0.0), &mut Statics::new(0, 0))?;
    Ok(text)
}

/// What came of a training.
struct Outcome {
    loss_first: f64,
    loss_last: f64,
    correct_count: usize,
    test_count: usize,
    /// FNV-1a (64 bits) of the parameters as little-endian bytes of `f32`.
    hash: u64,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "loss {:.6} -> {:.6}  correct {}/{}  parameters {:016x}",
            self.loss_first, self.loss_last, self.correct_count, self.test_count, self.hash
        )
    }
}

fn train<W: Weight>(memory: &mut Statics<W, W::Value>) -> Result<Outcome, Error> {
    let model = Model::mlp(INPUT_COUNT, &WIDTHS, Activation::Relu, Loss::CrossEntropy)?;
    let how = Hyperparameters {
        rounding: Rounding::Stochastic,
        ..Hyperparameters::sgd(EPOCHS, BATCH_SIZE, 0.1)
    };
    let table = ValueTable::new(1.0 / 16.0);

    // Drawn in f32, whatever the arithmetic.
    let mut drawn = [0.0; PARAMETER_COUNT];
    let mut stream = Stream::new(SEED, Purpose::InitialWeights, 0);
    model.initialise(&mut drawn, Initialisation::Auto, &mut stream)?;
    for (parameter, value) in memory.parameters.iter_mut().zip(drawn) {
        *parameter = W::from_f32(value);
    }

    let draw = Draw {
        seed: SEED,
        client: 0,
        round: 1,
    };
    let mut training = Training::<W>::new(model, how, TRAINING_COUNT, 1, draw)?;
    let (samples, test_samples) = SAMPLES.split_at(TRAINING_COUNT * INPUT_COUNT);
    let (labels, test_labels) = LABELS.split_at(TRAINING_COUNT);
    let workspace_len = model.workspace_len::<W>(TRAINING_COUNT, &how, 1).total();
    let available = memory.workspace.len();
    let Some(workspace) = memory.workspace.get_mut(..workspace_len) else {
        return Err(Error::Input(InputError::Length {
            what: "workspace",
            len: available,
            needed: workspace_len,
        }));
    };
    let mut lent = Memory {
        parameters: &mut memory.parameters,
        workspace,
        order: &mut memory.order,
        samples,
        targets: Targets::Labels(labels),
        table: &table,
        non_zero: None,
    };
    while training.advance(&mut lent, UNITS)? == Progress::Working {}

    let evaluation = model.evaluate(
        &memory.parameters,
        test_samples,
        Targets::Labels(test_labels),
        &table,
        &mut memory.scratch,
    )?;
    Ok(Outcome {
        loss_first: training.first_epoch().loss(),
        loss_last: training.last_epoch().loss(),
        correct_count: evaluation.correct_count,
        test_count: evaluation.sample_count,
        hash: hash(&memory.parameters),
    })
}

fn hash<W: Weight>(parameters: &[W]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for parameter in parameters {
        for byte in parameter.to_f32().to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}
