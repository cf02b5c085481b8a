//! A fixed-memory neural-network trainer.
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

pub use error::{InputError, ShapeError, check_labels};
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
/// The trait cannot be implemented elsewhere: what it consists of is private.
pub trait Weight: Arithmetic {
    /// The nearest number; what is out of range becomes the last in range.
    fn from_f32(value: f32) -> Self {
        Self::of_f32(value)
    }

    /// The number it stands for.
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
/// for 0, which lets the trainer pass over zero inputs.
#[derive(Clone, Debug)]
pub struct ValueTable<W: Weight>([W::Value; 256]);

impl<W: Weight> ValueTable<W> {
    /// The table of `scale`, e.g. 1/255.
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
fn dispatch<W: Weight, R>(work: impl FnOnce() -> R) -> R {
    #[cfg(feature = "std")]
    if W::IS_VECTOR {
        return pulp::Arch::new().dispatch(work);
    }
    work()
}
