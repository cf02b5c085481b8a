//! A fixed-memory neural-network trainer.
//!
//! It trains multi-layer perceptrons (dense layers, ReLU, softmax with
//! cross-entropy) by mini-batch gradient descent, in memory that the caller
//! owns. It never allocates, does no I/O, and holds no `unsafe`.
//!
//! - [`Mlp`] is an architecture: it says how many parameters it has, how much
//!   memory training needs ([`Mlp::workspace_len`]), initialises and evaluates.
//! - [`Training`] is one training in progress. [`Training::advance`] does a
//!   bounded piece of it and returns, so that a device can serve its network
//!   in between without threads.
//! - Samples are bytes, read where they lie; a [`ValueTable`] says what number
//!   each byte stands for. Zero inputs cost nothing.
//!
//! # Equal bits everywhere
//!
//! The same inputs give the same bits on a Cortex-M3 with software
//! floating point, on an FPU and on a server. Three rules see to it: every sum
//! is taken in one order (over inputs in ascending order, over samples in the
//! order of the batch); tiles and vector lanes run over outputs, never over a
//! sum; transcendental functions come from `libm`, in software. Nothing is
//! contracted to a fused multiply–add.
//!
//! # Memory of a training
//!
//! A layer either *sums* its gradient (as large as its weights) or *keeps*
//! the error signals of the batch and applies them sample by sample when the
//! batch is complete, whichever is smaller; the choice depends on shape and
//! batch size alone, and so do the bits.
#![cfg_attr(not(test), no_std)]

mod kernel;
mod math;
mod mlp;
mod soft;
mod training;

pub use mlp::{
    Activation, Evaluation, InputError, LAYERS_MAX, Layer, Mlp, ShapeError, check_labels,
};
pub use training::{Hyperparameters, Memory, Progress, SAMPLES_MAX, Training};

/// What number each value of an input byte stands for: `b × scale`.
///
/// A table because a look-up is cheaper than a conversion and a
/// multiplication where floating point is done in software. 0 always stands
/// for 0, which lets the trainer pass over zero inputs.
#[derive(Clone, Debug)]
pub struct ValueTable([f32; 256]);

impl ValueTable {
    /// The table of `scale`, e.g. 1/255.
    pub fn new(scale: f32) -> Self {
        let mut table = [0.0; 256];
        for (byte, value) in (0u8..=255).zip(&mut table) {
            *value = f32::from(byte) * scale;
        }
        Self(table)
    }

    #[inline(always)]
    fn value(&self, byte: u8) -> f32 {
        self.0[usize::from(byte)]
    }
}
