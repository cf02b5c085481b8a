//! A neural-network trainer for microcontrollers: fixed memory, no allocator,
//! the same bits on every processor.
//!
//! A [`Model`] is up to 16 layers: dense, convolution, pooling. A [`Training`]
//! changes its parameters in place by mini-batch gradient descent, a bounded
//! piece of work at a time, in memory that the caller owns and whose size is
//! known before. Samples are bytes, as sensors give them. There is no heap, no
//! I/O, no `unsafe` and, but for a slip of this crate, no panic: what can be
//! wrong is a [`ShapeError`] or an [`InputError`].
//!
//! Left out: recurrent layers, batch normalisation, a graph of layers instead
//! of a chain, and batches that differ in shape.
//!
//! # First example
//!
//! Sixteen light sensors in a row; is the light on the left or on the right?
//! Everything below is `core` only.
//!
//! ```
//! use zfl_nn::{
//!     Activation, Draw, Hyperparameters, Initialisation, InputError, Loss, Memory, Model,
//!     Progress, Targets, Training, ValueTable,
//! };
//! use zfl_seed::{Purpose, Stream};
//!
//! const INPUTS: usize = 16;
//! const SAMPLES: usize = 8;
//! // Numbers before the run: what these must be, the asserts below say.
//! const PARAMETERS: usize = 16 * 8 + 8 + 8 * 2 + 2;
//! const WORKSPACE: usize = 52;
//! const SCRATCH: usize = 16;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // 16 inputs, 8 neurons, 2 classes.
//! let model = Model::mlp(INPUTS, &[8, 2], Activation::Relu, Loss::CrossEntropy)?;
//! // 20 epochs of batches of 4 at a learning rate of 0.1.
//! let how = Hyperparameters::sgd(20, 4, 0.1);
//! assert_eq!(PARAMETERS, model.parameter_count());
//! assert_eq!(WORKSPACE, model.workspace_len::<f32>(SAMPLES, &how, 1).total());
//! assert_eq!(SCRATCH, model.evaluation_len());
//!
//! // On a device these are statics.
//! let mut parameters = [0.0_f32; PARAMETERS];
//! let mut workspace = [0.0_f32; WORKSPACE];
//! let mut order = [0_u16; SAMPLES];
//! let mut scratch = [0.0_f32; SCRATCH];
//! let mut samples = [0_u8; SAMPLES * INPUTS];
//! let mut labels = [0_u8; SAMPLES];
//! for (index, sample) in samples.chunks_exact_mut(INPUTS).enumerate() {
//!     sample[index * 2] = 200;
//!     labels[index] = u8::from(index >= SAMPLES / 2);
//! }
//! // A byte b stands for b / 255.
//! let table = ValueTable::new(1.0 / 255.0);
//!
//! // All that is random follows from the seed.
//! let mut stream = Stream::new(1, Purpose::InitialWeights, 0);
//! model.initialise(&mut parameters, Initialisation::Auto, &mut stream)?;
//!
//! let draw = Draw { seed: 1, client: 0, round: 1 };
//! let mut training = Training::new(model, how, SAMPLES, 1, draw)?;
//! loop {
//!     let mut memory = Memory {
//!         parameters: &mut parameters,
//!         workspace: &mut workspace,
//!         order: &mut order,
//!         samples: &samples,
//!         targets: Targets::Labels(&labels),
//!         table: &table,
//!         non_zero: None,
//!     };
//!     // 4 units of work, a sample forward and backward each: then the caller
//!     // can feed a watchdog, poll the network, or sleep.
//!     if training.advance(&mut memory, 4)? == Progress::Done {
//!         break;
//!     }
//! }
//! assert!(training.last_epoch().loss() < training.first_epoch().loss());
//!
//! let targets = Targets::Labels(&labels);
//! let evaluation = model.evaluate(&parameters, &samples, targets, &table, &mut scratch)?;
//! assert_eq!(evaluation.correct_count, SAMPLES);
//! # Ok(())
//! # }
//! ```
//!
//! The folder `firmware/examples/bare-metal` holds a whole program for a
//! Cortex-M, `examples/train.rs` one for the host.
//!
//! # Memory
//!
//! | what | values | bytes each |
//! |---|---|---|
//! | parameters | [`Model::parameter_count`] | 4; fixed point 4, 2 or 1 |
//! | workspace | [`Model::workspace_len`] | 4 |
//! | order of the samples | one a sample | 2 |
//! | samples | inputs × samples | 1 |
//! | labels | one a sample | 1 |
//! | [`ValueTable`] | 256 | 4 |
//! | [`Training`] | one | [`size_of`] it, below 3 KB on a Cortex-M |
//!
//! The workspace is what a training costs beside model and data
//! ([`WorkspaceLen`]):
//!
//! - **Activations.** The outputs of every layer of a sample. Going backward, a
//!   layer's error signals overwrite its outputs *in place*, unless the layer
//!   after it needs those outputs still.
//! - **Gradients.** A layer *sums* its gradient over the batch, which costs its
//!   parameters once more; or it *keeps* the batch's error signals (and its
//!   inputs) and subtracts the products at the end of the batch. A dense layer
//!   keeps where `batch × (inputs + outputs)` is less than its parameters (the
//!   first layer needs `batch × outputs` only: its inputs are the samples). So a
//!   small batch trains a wide layer without a second copy of it. Convolutions
//!   sum. All layers sum where there is momentum, weight decay, clipping or a
//!   proximal term, and with weights of 16 or 8 bits.
//! - **Optimiser.** Momentum remembers a velocity, the proximal term the model
//!   at the beginning: one value each for every parameter that trains.
//! - **Lanes.** Room to work faster; nothing for blocks of 1.
//!
//! `block` is how many samples of a batch go forward and backward together: 1
//! takes the least memory and belongs on a device, [`BLOCK_FAST`] the least time
//! and belongs on a host. It does not change what a layer keeps, nor a bit of
//! the result.
//!
//! Layers that are frozen ([`Model::freeze`]) have neither gradients nor
//! signals.
//!
//! # Fixed point
//!
//! `Training<i32>`, `<i16>` and `<i8>` train in integers:
//!
//! - Weights are Q8.24, Q4.12 and Q2.6: ranges ±128, ±8 and ±2.
//! - Activations, signals and gradients are `i32` with 24 bits
//!   behind the point; sums of products are `i64`, rounded once, and saturate.
//! - exp, ln, tanh and sigmoid go by way of `f32`, once for each output, class
//!   or sample: never in an inner loop.
//! - A step can be smaller than the last bit of a weight, and would be lost.
//!   [`Rounding::Stochastic`] rounds up with the probability of what is cut off,
//!   so that it counts on average; 16 and 8 bits need it.
//! - Descent is plain: momentum, weight decay, clipping and the proximal term
//!   are refused.
//! - A model is initialised in `f32` and converted: [`Weight::from_f32`].
//!
//! Whether it is worth it is a question of the processor: see
//! `docs/benchmarks.md`.
//!
//! # Equal bits everywhere
//!
//! Parameters, losses and accuracies come out with the same bits on a Cortex-M3
//! without an FPU, a Cortex-M4F, a Cortex-M7 and an x86-64 host; whatever the
//! block, the units of work of a call, the vector instructions, and whether
//! zeros are passed over. Sums run in one order, vector lanes over outputs or
//! samples and never over a sum, and no function is an operating system's.
//! `docs/reproducibility.md` has the reasons, and what would break it.
//!
//! # Features
//!
//! - `std`, off by default: vector instructions (SSE, AVX2, AVX-512) are chosen
//!   at run time, by `pulp`, and there is `NonZeroBuffer`, which allocates. For
//!   hosts. It changes no bits.
#![cfg_attr(not(any(test, feature = "std")), no_std)]

mod arithmetic;
mod error;
mod evaluate;
mod float;
mod kernel;
mod layer;
mod math;
mod model;
mod plan;
mod soft;
mod sparse;
mod task;
mod training;

pub use error::{InputError, ShapeError};
pub use model::{
    Activation, Initialisation, KERNEL_MAX, LAYERS_MAX, Layer, LayerTensors, Loss, Model, Shape,
};
pub use sparse::NonZero;
#[cfg(feature = "std")]
pub use sparse::NonZeroBuffer;
pub use task::{Format, Task, TaskBytes, TaskError};
pub use training::{
    BLOCK_FAST, Draw, Evaluation, Hyperparameters, Memory, Progress, Rounding, SAMPLES_MAX,
    Targets, Training, WorkspaceLen,
};

use arithmetic::Arithmetic;
#[cfg(feature = "std")]
use error::check_len;

/// A kind of number that a model can be made of: `f32`, or a fixed-point
/// number, `i32`, `i16` or `i8`.
///
/// Fixed-point weights have 24, 12 and 6 bits behind the point (ranges ±128,
/// ±8 and ±2). Activations, error signals and gradients of all three are `i32`
/// with 24 bits behind the point, sums are `i64`.
///
/// `W::Value`, of which workspace and scratch memory consist, is `f32` where the
/// weights are, and `i32` of all three kinds of fixed-point weights: 4 bytes
/// always.
///
/// ```
/// use zfl_nn::Weight;
///
/// assert_eq!(i8::from_f32(0.5), 32);
/// assert_eq!(i8::from_f32(100.0), i8::MAX);
/// assert_eq!(i8::MAX.to_f32(), 1.984_375);
/// ```
///
/// The trait cannot be implemented elsewhere: what it consists of is private.
pub trait Weight: Arithmetic {
    /// The nearest number, ties to even; what is out of range becomes the last
    /// in range, NaN 0. An `f32` stays as it is.
    fn from_f32(value: f32) -> Self {
        Self::of_f32(value)
    }

    /// The number it stands for; of an `i32` the nearest `f32` to it.
    fn to_f32(self) -> f32 {
        self.as_f32()
    }
}

impl Weight for f32 {}
impl Weight for i32 {}
impl Weight for i16 {}
impl Weight for i8 {}

/// What number each value of an input byte stands for: `b × scale`.
///
/// A table because a look-up is cheaper than a conversion and a
/// multiplication where floating point is done in software. 0 always stands
/// for 0, which lets the trainer pass over zero inputs. It takes 1 KB.
#[derive(Clone, Debug)]
pub struct ValueTable<W: Weight>([W::Value; 256]);

impl<W: Weight> ValueTable<W> {
    /// The table of `scale`, e.g. 1/255 for images. With a scale that is not
    /// finite, training diverges.
    pub fn new(scale: f32) -> Self {
        let mut table = [W::ZERO; 256];
        for (byte, value) in (0u8..=255).zip(&mut table) {
            *value = W::value_of_f32(f32::from(byte) * scale);
        }
        Self(table)
    }

    #[inline(always)]
    fn value(&self, byte: u8) -> W::Value {
        self.0[usize::from(byte)]
    }
}

/// Runs `work` with the vector instructions that the processor has. All that
/// it calls must be inlined to profit; the bits are the same whatever it has.
#[inline(always)]
#[cfg_attr(
    not(feature = "std"),
    expect(
        clippy::extra_unused_type_parameters,
        reason = "devices have no choice of instructions"
    )
)]
fn dispatch<W: Weight, R>(work: impl FnOnce() -> R) -> R {
    #[cfg(feature = "std")]
    if W::IS_VECTOR {
        return pulp::Arch::new().dispatch(work);
    }
    work()
}
