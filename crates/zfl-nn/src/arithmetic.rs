//! The arithmetic of training, for each kind of number.
//!
//! Layers are written once, over [`Arithmetic`]; what differs between floating
//! and fixed point is here and nowhere else.

use crate::evaluate;
use crate::float;
use crate::math;
use crate::model::{Activation, Loss, Model};
use crate::plan::{IS_ROOMY, LANES};
use crate::training::{Evaluation, Memory, Targets, Training};
use crate::{ValueTable, Weight};

/// What one sample's outputs are compared with.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A class.
    Class(usize),
    /// A value for each output.
    Values(&'a [f32]),
}

impl Target<'_> {
    fn value(&self, output: usize) -> f32 {
        match self {
            Self::Class(class) if *class == output => 1.0,
            Self::Class(_) => 0.0,
            Self::Values(values) => values.get(output).copied().unwrap_or(0.0),
        }
    }

    fn class(&self) -> Option<usize> {
        match self {
            Self::Class(class) => Some(*class),
            Self::Values(_) => None,
        }
    }
}

/// What came of one sample.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    pub loss: f32,
    pub correct: bool,
}

/// The fraction that is added before a number is cut: random bits, or one half
/// to round to the nearest.
///
/// A linear congruential generator whose upper bits decide (multiplier and
/// increment of *Numerical Recipes*, 2nd ed., section 7.1). Times 1 plus 0 it
/// stays at one half.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    state: u32,
    multiplier: u32,
    increment: u32,
}

impl Noise {
    pub const NEAREST: Self = Self {
        state: 1 << 31,
        multiplier: 1,
        increment: 0,
    };

    pub const fn stochastic(seed: u32) -> Self {
        Self {
            state: seed,
            multiplier: 1_664_525,
            increment: 1_013_904_223,
        }
    }

    #[inline(always)]
    fn next(&mut self) -> u32 {
        self.state = self
            .state
            .wrapping_mul(self.multiplier)
            .wrapping_add(self.increment);
        self.state
    }
}

/// How gradients become steps.
#[derive(Clone, Copy, Debug)]
pub struct Optimiser {
    pub learning_rate: f32,
    pub momentum: f32,
    pub nesterov: bool,
    pub weight_decay: f32,
    /// 0 where there is none.
    pub clip_norm: f32,
    pub proximal: f32,
}

impl Optimiser {
    /// Nothing but `w ← w − η g`.
    pub fn is_plain(&self) -> bool {
        self.momentum == 0.0
            && self.weight_decay == 0.0
            && self.clip_norm == 0.0
            && self.proximal == 0.0
    }
}

/// Parameters of a layer and what goes with them.
pub struct StepMemory<'a, W: Arithmetic> {
    pub parameters: &'a mut [W],
    /// Sum over the batch.
    pub gradient: &'a mut [W::Value],
    /// Of the momentum; empty where there is none.
    pub velocity: &'a mut [W::Value],
    /// What the proximal term pulls towards; empty where there is none.
    pub anchor: &'a [W::Value],
}

/// The operations of training on weights of type `Self`.
pub trait Arithmetic:
    Copy + Default + PartialEq + core::fmt::Debug + Send + Sync + 'static
{
    /// An activation, an error signal or a gradient.
    type Value: Copy + Default + PartialEq + PartialOrd + core::fmt::Debug + Send + Sync + 'static;
    /// A sum of products.
    type Sum: Copy;
    /// The sums of a tile of outputs.
    type Sums<const T: usize>;
    /// A tile of signals that are multiplied with one input after another.
    type Signals<const T: usize>;
    /// The learning rate over the size of the batch.
    type Rate: Copy + core::fmt::Debug;

    /// Bits behind the point of a weight; 0 of `f32`.
    const FRACTION_BITS: u32;
    /// Most outputs whose sums are taken together.
    const TILE: usize;
    /// Whether a step can be taken sample by sample, without a gradient.
    const STEPS_BY_SAMPLE: bool;
    /// Whether vector instructions are worth compiling everything for each kind
    /// of processor.
    const IS_VECTOR: bool;
    /// Whether the order of the steps does not matter to the rounding.
    const IS_NOISELESS: bool;
    /// Whether the optimiser knows more than plain steps.
    const HAS_OPTIMISER: bool;
    const ZERO: Self::Value;
    const ONE: Self::Value;

    fn of_f32(value: f32) -> Self;
    fn as_f32(self) -> f32;
    fn value_of_f32(value: f32) -> Self::Value;
    fn value_as_f32(value: Self::Value) -> f32;
    fn value_of(self) -> Self::Value;

    /// Sums that begin with biases.
    fn begin<const T: usize>(biases: &[Self; T]) -> Self::Sums<T>;
    /// Adds `value × row`.
    fn add_row<const T: usize>(sums: &mut Self::Sums<T>, value: Self::Value, row: &[Self; T]);
    fn end_all<const T: usize>(sums: &Self::Sums<T>) -> [Self::Value; T];
    /// A sum that begins with nothing.
    fn nothing() -> Self::Sum;
    fn accumulate(sum: Self::Sum, value: Self::Value, weight: Self) -> Self::Sum;
    fn end(sum: Self::Sum) -> Self::Value;
    fn signals<const T: usize>(signals: &[Self::Value; T]) -> Self::Signals<T>;
    /// `gradient += value × signals`
    fn add_signals<const T: usize>(
        signals: &Self::Signals<T>,
        value: Self::Value,
        gradient: &mut [Self::Value; T],
    );
    /// `weights −= value × signals`, where the signals are those of
    /// [`Arithmetic::step_signal`].
    fn subtract_signals<const T: usize>(
        signals: &Self::Signals<T>,
        value: Self::Value,
        weights: &mut [Self; T],
        noise: &mut Noise,
    );
    fn add(a: Self::Value, b: Self::Value) -> Self::Value;
    fn multiply(a: Self::Value, b: Self::Value) -> Self::Value;

    /// Whether products with it can be left out. −0 is not one: what makes it
    /// of a weight of −0 would differ.
    fn is_zero(value: Self::Value) -> bool;
    /// Outputs as far from zero as numbers go, or none at all.
    fn is_out_of_range(value: Self::Value) -> bool;
    fn activate(activation: Activation, value: Self::Value) -> Self::Value;
    /// The signal before an activation, from the one behind it and what the
    /// activation gave. The derivative of ReLU at 0 is taken as 0.
    fn differentiate(
        activation: Activation,
        output: Self::Value,
        signal: Self::Value,
    ) -> Self::Value;

    fn rate(learning_rate: f32, batch_len: usize) -> Self::Rate;
    /// A signal times the rate, for [`Arithmetic::subtract_signals`].
    fn step_signal(signal: Self::Value, rate: Self::Rate) -> Self::Value;
    /// Subtracts the gradient times the rate.
    fn step(memory: StepMemory<'_, Self>, rate: Self::Rate, noise: &mut Noise);
    /// Turns sums of gradients into what the optimiser steps along, but for
    /// the momentum; gives the sum of its squares.
    fn prepare(memory: &mut StepMemory<'_, Self>, optimiser: &Optimiser, batch_len: usize) -> f64;
    /// The step of an optimiser that is not plain, along what
    /// [`Arithmetic::prepare`] made, times `share`.
    fn optimise(memory: &mut StepMemory<'_, Self>, optimiser: &Optimiser, share: f32);

    /// [`Training::run`] and [`evaluate::run`]: here, so that the loops are
    /// compiled once and not in every crate that trains.
    fn run(training: &mut Training<Self>, memory: &mut Memory<'_, Self>, units: usize)
    where
        Self: Weight;
    fn evaluate(
        model: &Model,
        parameters: &[Self],
        samples: &[u8],
        targets: Targets<'_>,
        table: &ValueTable<Self>,
        scratch: &mut [Self::Value],
    ) -> Evaluation
    where
        Self: Weight;

    /// Turns outputs into error signals.
    fn compare(
        loss: Loss,
        outputs: &mut [Self::Value],
        target: Target<'_>,
        batch_len: usize,
    ) -> Outcome;

    /// [`Arithmetic::compare`], with a loss of NaN where an output is out of
    /// range.
    #[inline(always)]
    fn compare_checked(
        loss: Loss,
        outputs: &mut [Self::Value],
        target: Target<'_>,
        batch_len: usize,
    ) -> Outcome {
        let is_out_of_range = outputs.iter().any(|output| Self::is_out_of_range(*output));
        let mut outcome = Self::compare(loss, outputs, target, batch_len);
        if is_out_of_range {
            outcome.loss = f32::NAN;
        }
        outcome
    }

    /// [`Arithmetic::compare_checked`] for samples whose outputs lie one after
    /// another, `width` each; `put` is given what came of each in turn.
    #[inline(always)]
    fn compare_block<'t>(
        loss: Loss,
        outputs: &mut [Self::Value],
        width: usize,
        target: impl Fn(usize) -> Target<'t>,
        batch_len: usize,
        mut put: impl FnMut(Outcome),
    ) {
        for (sample, outputs) in outputs.chunks_exact_mut(width).enumerate() {
            put(Self::compare_checked(
                loss,
                outputs,
                target(sample),
                batch_len,
            ));
        }
    }
}

/// What is not generic: the loops for one kind of weight.
macro_rules! compiled {
    () => {
        fn run(training: &mut Training<Self>, memory: &mut Memory<'_, Self>, units: usize) {
            training.run(memory, units);
        }

        fn evaluate(
            model: &Model,
            parameters: &[Self],
            samples: &[u8],
            targets: Targets<'_>,
            table: &ValueTable<Self>,
            scratch: &mut [Self::Value],
        ) -> Evaluation {
            evaluate::run(model, parameters, samples, targets, table, scratch)
        }
    };
}

/// The index of the first of the largest values, and that value.
#[inline(always)]
fn largest<V: Copy + PartialOrd>(values: &[V], none: V) -> (usize, V) {
    let mut found = 0;
    let mut most = values.first().copied().unwrap_or(none);
    for (index, value) in values.iter().enumerate() {
        // Selected rather than branched to: nobody can foresee it.
        let is_more = *value > most;
        found = if is_more { index } else { found };
        most = if is_more { *value } else { most };
    }
    (found, most)
}

/// Values that are mapped together.
const MAPPED: usize = 8;

/// Maps all values, the last ones in a vector that is not full.
#[inline(always)]
fn map(values: &mut [f32], map: impl Fn(f32) -> f32) {
    if !cfg!(feature = "std") {
        for value in values {
            *value = map(*value);
        }
        return;
    }
    let (chunks, rest) = values.as_chunks_mut::<MAPPED>();
    for chunk in chunks {
        for value in chunk {
            *value = map(*value);
        }
    }
    if rest.is_empty() {
        return;
    }
    let mut last = [0.0; MAPPED];
    for (value, from) in last.iter_mut().zip(rest.iter()) {
        *value = *from;
    }
    for value in &mut last {
        *value = map(*value);
    }
    for (value, mapped) in rest.iter_mut().zip(last) {
        *value = mapped;
    }
}

/// Most classes that samples are compared side by side with.
const CLASSES_ABREAST: usize = 16;

/// [`Arithmetic::compare_block`] by cross-entropy for a whole block, a sample in
/// each lane: the same operations in the same order as for one.
#[inline(always)]
fn compare_abreast<'t>(
    outputs: &mut [f32],
    width: usize,
    target: impl Fn(usize) -> Target<'t>,
    mut put: impl FnMut(Outcome),
) {
    let mut lanes = [[0.0f32; LANES]; CLASSES_ABREAST];
    let Some(lanes) = lanes.get_mut(..width) else {
        return;
    };
    for (sample, outputs) in outputs.chunks_exact(width).enumerate().take(LANES) {
        for (lanes, output) in lanes.iter_mut().zip(outputs) {
            lanes[sample] = *output;
        }
    }
    let mut most = lanes.first().copied().unwrap_or_default();
    let mut found = [0u32; LANES];
    let mut is_out_of_range = [false; LANES];
    for (class, outputs) in (0u32..).zip(lanes.iter()) {
        for lane in 0..LANES {
            let is_more = outputs[lane] > most[lane];
            found[lane] = if is_more { class } else { found[lane] };
            most[lane] = if is_more { outputs[lane] } else { most[lane] };
            is_out_of_range[lane] |= !outputs[lane].is_finite();
        }
    }
    let mut total = [0.0; LANES];
    let mut exponents = [[0.0; LANES]; CLASSES_ABREAST];
    for (outputs, exponents) in lanes.iter_mut().zip(&mut exponents) {
        for lane in 0..LANES {
            exponents[lane] = outputs[lane] - most[lane];
            outputs[lane] = math::exp(exponents[lane]);
            total[lane] += outputs[lane];
        }
    }
    for outputs in lanes.iter_mut() {
        for lane in 0..LANES {
            outputs[lane] /= total[lane];
        }
    }
    for (sample, outputs) in outputs.chunks_exact_mut(width).enumerate().take(LANES) {
        for (lanes, output) in lanes.iter().zip(outputs.iter_mut()) {
            *output = lanes[sample];
        }
        let class = target(sample).class().unwrap_or(0);
        if let Some(output) = outputs.get_mut(class) {
            *output -= 1.0;
        }
        let of_class = exponents.get(class).map_or(0.0, |lanes| lanes[sample]);
        let loss = math::ln(total[sample]) - of_class;
        put(Outcome {
            loss: if is_out_of_range[sample] {
                f32::NAN
            } else {
                loss
            },
            correct: found[sample] as usize == class,
        });
    }
}

impl Arithmetic for f32 {
    compiled!();

    type Value = f32;
    type Sum = f32;
    type Sums<const T: usize> = float::Sums<T>;
    type Signals<const T: usize> = float::Signals<T>;
    type Rate = f32;

    const FRACTION_BITS: u32 = 0;
    const TILE: usize = if cfg!(feature = "std") { 64 } else { 16 };
    const STEPS_BY_SAMPLE: bool = true;
    const IS_VECTOR: bool = true;
    const IS_NOISELESS: bool = true;
    const HAS_OPTIMISER: bool = true;
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;

    #[inline(always)]
    fn of_f32(value: f32) -> f32 {
        value
    }

    #[inline(always)]
    fn as_f32(self) -> f32 {
        self
    }

    #[inline(always)]
    fn value_of_f32(value: f32) -> f32 {
        value
    }

    #[inline(always)]
    fn value_as_f32(value: f32) -> f32 {
        value
    }

    #[inline(always)]
    fn value_of(self) -> f32 {
        self
    }

    #[inline(always)]
    fn begin<const T: usize>(biases: &[f32; T]) -> float::Sums<T> {
        // Makes +0 of −0: a sum that is not −0 at its beginning never is, so
        // adding 0 × w or leaving it out gives the same bits.
        let mut totals = [0.0; T];
        for (total, bias) in totals.iter_mut().zip(biases) {
            *total += bias;
        }
        float::Sums::new(&totals)
    }

    #[inline(always)]
    fn add_row<const T: usize>(sums: &mut float::Sums<T>, value: f32, row: &[f32; T]) {
        sums.add_scaled(value, row);
    }

    #[inline(always)]
    fn end_all<const T: usize>(sums: &float::Sums<T>) -> [f32; T] {
        sums.totals()
    }

    #[inline(always)]
    fn nothing() -> f32 {
        0.0
    }

    #[inline(always)]
    fn accumulate(sum: f32, value: f32, weight: f32) -> f32 {
        float::multiply_add(sum, value, weight)
    }

    #[inline(always)]
    fn end(sum: f32) -> f32 {
        sum
    }

    #[inline(always)]
    fn signals<const T: usize>(signals: &[f32; T]) -> float::Signals<T> {
        float::Signals::new(signals)
    }

    #[inline(always)]
    fn add_signals<const T: usize>(
        signals: &float::Signals<T>,
        value: f32,
        gradient: &mut [f32; T],
    ) {
        signals.add_scaled_to(value, gradient);
    }

    #[inline(always)]
    fn subtract_signals<const T: usize>(
        signals: &float::Signals<T>,
        value: f32,
        weights: &mut [f32; T],
        _noise: &mut Noise,
    ) {
        signals.subtract_scaled_from(value, weights);
    }

    #[inline(always)]
    fn add(a: f32, b: f32) -> f32 {
        a + b
    }

    #[inline(always)]
    fn multiply(a: f32, b: f32) -> f32 {
        a * b
    }

    #[inline(always)]
    fn is_zero(value: f32) -> bool {
        // Of the bits: a comparison of floats may be a call.
        value.to_bits() == 0
    }

    #[inline(always)]
    fn is_out_of_range(value: f32) -> bool {
        !value.is_finite()
    }

    #[inline(always)]
    fn activate(activation: Activation, value: f32) -> f32 {
        match activation {
            Activation::Identity => value,
            // Not `max`: a NaN must stay one.
            Activation::Relu if value < 0.0 => 0.0,
            Activation::LeakyRelu if value < 0.0 => value * LEAK,
            Activation::Relu | Activation::LeakyRelu => value,
            Activation::Tanh => math::tanh(value),
            Activation::Sigmoid => math::sigmoid(value),
        }
    }

    #[inline(always)]
    fn differentiate(activation: Activation, output: f32, signal: f32) -> f32 {
        match activation {
            Activation::Relu if output <= 0.0 => 0.0,
            Activation::LeakyRelu if output <= 0.0 => signal * LEAK,
            Activation::Identity | Activation::Relu | Activation::LeakyRelu => signal,
            Activation::Tanh => signal * (1.0 - output * output),
            Activation::Sigmoid => signal * (output * (1.0 - output)),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a batch is far below 2^24")]
    fn rate(learning_rate: f32, batch_len: usize) -> f32 {
        learning_rate / batch_len as f32
    }

    #[inline(always)]
    fn step_signal(signal: f32, rate: f32) -> f32 {
        signal * rate
    }

    #[inline(always)]
    fn step(memory: StepMemory<'_, f32>, rate: f32, _noise: &mut Noise) {
        for (parameter, slope) in memory.parameters.iter_mut().zip(memory.gradient.iter()) {
            *parameter -= rate * slope;
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a batch is far below 2^24")]
    fn prepare(memory: &mut StepMemory<'_, f32>, optimiser: &Optimiser, batch_len: usize) -> f64 {
        let share = 1.0 / batch_len as f32;
        let mut squares = 0.0;
        for (index, slope) in memory.gradient.iter_mut().enumerate() {
            let mut mean = *slope * share;
            if let (Some(parameter), Some(anchor)) =
                (memory.parameters.get(index), memory.anchor.get(index))
            {
                mean += optimiser.proximal * (parameter - anchor);
            }
            *slope = mean;
            squares += f64::from(mean) * f64::from(mean);
        }
        squares
    }

    fn optimise(memory: &mut StepMemory<'_, f32>, optimiser: &Optimiser, share: f32) {
        for (index, (parameter, slope)) in memory
            .parameters
            .iter_mut()
            .zip(memory.gradient.iter())
            .enumerate()
        {
            let mut along = slope * share + optimiser.weight_decay * *parameter;
            if let Some(velocity) = memory.velocity.get_mut(index) {
                *velocity = optimiser.momentum * *velocity + along;
                along = if optimiser.nesterov {
                    along + optimiser.momentum * *velocity
                } else {
                    *velocity
                };
            }
            *parameter -= optimiser.learning_rate * along;
        }
    }

    #[inline(always)]
    fn compare_block<'t>(
        loss: Loss,
        outputs: &mut [f32],
        width: usize,
        target: impl Fn(usize) -> Target<'t>,
        batch_len: usize,
        mut put: impl FnMut(Outcome),
    ) {
        let is_abreast = IS_ROOMY
            && loss == Loss::CrossEntropy
            && width <= CLASSES_ABREAST
            && outputs.len() > width
            && target(0).class().is_some();
        if is_abreast {
            return compare_abreast(outputs, width, target, put);
        }
        for (sample, outputs) in outputs.chunks_exact_mut(width).enumerate() {
            put(f32::compare_checked(
                loss,
                outputs,
                target(sample),
                batch_len,
            ));
        }
    }

    #[inline(always)]
    fn compare(loss: Loss, outputs: &mut [f32], target: Target<'_>, _batch_len: usize) -> Outcome {
        let (predicted, most) = largest(outputs, 0.0);
        let correct = target.class() == Some(predicted);
        match (loss, target) {
            (Loss::CrossEntropy, Target::Class(class)) => {
                let of_class = outputs.get(class).copied().unwrap_or(0.0) - most;
                map(outputs, |output| math::exp(output - most));
                let mut total = 0.0;
                for output in outputs.iter() {
                    total += *output;
                }
                map(outputs, |output| output / total);
                if let Some(output) = outputs.get_mut(class) {
                    *output -= 1.0;
                }
                Outcome {
                    loss: math::ln(total) - of_class,
                    correct,
                }
            }
            (Loss::SquaredError, _) | (Loss::CrossEntropy, Target::Values(_)) => {
                let mut squares = 0.0;
                for (index, output) in outputs.iter_mut().enumerate() {
                    *output -= target.value(index);
                    squares += *output * *output;
                }
                Outcome {
                    loss: 0.5 * squares,
                    correct,
                }
            }
        }
    }
}

/// Slope of leaky ReLU below 0.
const LEAK: f32 = 0.01;

/// Bits behind the point of activations, signals and gradients.
const VALUE_BITS: u32 = 24;
const FIXED_ONE: i32 = 1 << VALUE_BITS;

#[expect(clippy::cast_precision_loss, reason = "24 bits are what an f32 holds")]
fn fixed_to_f32(value: i32) -> f32 {
    value as f32 * (1.0 / FIXED_ONE as f32)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the cast saturates"
)]
fn fixed_from_f32(value: f32) -> i32 {
    libm::rintf(value * FIXED_ONE as f32) as i32
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "clamped")]
fn saturate(value: i64) -> i32 {
    value.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

/// The product of two values.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the upper bits are signs")]
fn fixed_product(a: i32, b: i32) -> i32 {
    ((i64::from(a) * i64::from(b)) >> VALUE_BITS) as i32
}

macro_rules! fixed_point {
    ($weight:ty, $fraction_bits:literal) => {
        impl Arithmetic for $weight {
            compiled!();

            type Value = i32;
            type Sum = i64;
            type Sums<const T: usize> = [i64; T];
            type Signals<const T: usize> = [i32; T];
            type Rate = i64;

            const FRACTION_BITS: u32 = $fraction_bits;
            // Sums are two registers each. The same everywhere, as the noise
            // is drawn in the order of the tiles.
            const TILE: usize = 4;
            const STEPS_BY_SAMPLE: bool = $fraction_bits == VALUE_BITS;
            const IS_VECTOR: bool = false;
            const IS_NOISELESS: bool = false;
            const HAS_OPTIMISER: bool = false;
            const ZERO: i32 = 0;
            const ONE: i32 = FIXED_ONE;

            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                reason = "the cast saturates"
            )]
            fn of_f32(value: f32) -> Self {
                libm::rintf(value * (1u32 << Self::FRACTION_BITS) as f32) as Self
            }

            #[expect(clippy::cast_precision_loss, reason = "at most 25 bits matter")]
            #[allow(clippy::cast_lossless, reason = "not lossless for every type")]
            fn as_f32(self) -> f32 {
                self as f32 * (1.0 / (1u32 << Self::FRACTION_BITS) as f32)
            }

            fn value_of_f32(value: f32) -> i32 {
                fixed_from_f32(value)
            }

            fn value_as_f32(value: i32) -> f32 {
                fixed_to_f32(value)
            }

            #[inline(always)]
            fn value_of(self) -> i32 {
                i32::from(self) << (VALUE_BITS - Self::FRACTION_BITS)
            }

            #[inline(always)]
            fn begin<const T: usize>(biases: &[Self; T]) -> [i64; T] {
                biases.map(|bias| (i64::from(bias) << VALUE_BITS) + Self::nothing())
            }

            #[inline(always)]
            fn add_row<const T: usize>(sums: &mut [i64; T], value: i32, row: &[Self; T]) {
                for (sum, weight) in sums.iter_mut().zip(row) {
                    *sum = Self::accumulate(*sum, value, *weight);
                }
            }

            #[inline(always)]
            fn end_all<const T: usize>(sums: &[i64; T]) -> [i32; T] {
                sums.map(Self::end)
            }

            #[inline(always)]
            fn signals<const T: usize>(signals: &[i32; T]) -> [i32; T] {
                *signals
            }

            #[inline(always)]
            fn add_signals<const T: usize>(
                signals: &[i32; T],
                value: i32,
                gradient: &mut [i32; T],
            ) {
                for (slope, signal) in gradient.iter_mut().zip(signals) {
                    *slope = slope.saturating_add(fixed_product(value, *signal));
                }
            }

            #[inline(always)]
            #[allow(clippy::cast_possible_truncation, reason = "STEPS_BY_SAMPLE: 32 bits")]
            #[allow(clippy::cast_lossless, reason = "not lossless for every type")]
            fn subtract_signals<const T: usize>(
                signals: &[i32; T],
                value: i32,
                weights: &mut [Self; T],
                noise: &mut Noise,
            ) {
                for (weight, signal) in weights.iter_mut().zip(signals) {
                    // What leaves the range becomes the last in range, as in
                    // `step`.
                    let exact = ((i64::from(*weight) << 32) + i64::from(noise.next()))
                        .saturating_sub(i64::from(value) * i64::from(*signal));
                    *weight = (exact >> 32) as Self;
                }
            }

            #[inline(always)]
            fn nothing() -> i64 {
                // One half of the last bit that `end` keeps.
                1 << (Self::FRACTION_BITS - 1)
            }

            #[inline(always)]
            fn accumulate(sum: i64, value: i32, weight: Self) -> i64 {
                // Wraps only where values and weights are at the ends of their
                // ranges, which no sum of a training that converges is near.
                sum.wrapping_add(i64::from(value) * i64::from(weight))
            }

            #[inline(always)]
            fn end(sum: i64) -> i32 {
                saturate(sum >> Self::FRACTION_BITS)
            }

            #[inline(always)]
            fn add(a: i32, b: i32) -> i32 {
                a.saturating_add(b)
            }

            #[inline(always)]
            fn multiply(a: i32, b: i32) -> i32 {
                fixed_product(a, b)
            }

            #[inline(always)]
            fn is_zero(value: i32) -> bool {
                value == 0
            }

            #[inline(always)]
            fn is_out_of_range(value: i32) -> bool {
                value == i32::MAX || value == i32::MIN
            }

            #[inline(always)]
            fn activate(activation: Activation, value: i32) -> i32 {
                match activation {
                    Activation::Identity => value,
                    Activation::Relu => value.max(0),
                    Activation::LeakyRelu if value < 0 => fixed_product(value, FIXED_LEAK),
                    Activation::LeakyRelu => value,
                    Activation::Tanh => fixed_from_f32(math::tanh(fixed_to_f32(value))),
                    Activation::Sigmoid => fixed_from_f32(math::sigmoid(fixed_to_f32(value))),
                }
            }

            #[inline(always)]
            fn differentiate(activation: Activation, output: i32, signal: i32) -> i32 {
                match activation {
                    Activation::Relu if output <= 0 => 0,
                    Activation::LeakyRelu if output <= 0 => fixed_product(signal, FIXED_LEAK),
                    Activation::Identity | Activation::Relu | Activation::LeakyRelu => signal,
                    Activation::Tanh => {
                        fixed_product(signal, FIXED_ONE - fixed_product(output, output))
                    }
                    Activation::Sigmoid => {
                        fixed_product(signal, fixed_product(output, FIXED_ONE - output))
                    }
                }
            }

            /// The signals are divided by the size of the batch already.
            fn rate(learning_rate: f32, _batch_len: usize) -> i64 {
                i64::from(fixed_from_f32(learning_rate))
            }

            /// With 32 bits behind the point.
            #[inline(always)]
            fn step_signal(signal: i32, rate: i64) -> i32 {
                saturate((i64::from(signal) * rate) >> (2 * VALUE_BITS - 32))
            }

            #[inline(always)]
            fn step(memory: StepMemory<'_, Self>, rate: i64, noise: &mut Noise) {
                const SHIFT: u32 = 2 * VALUE_BITS - $fraction_bits;
                for (parameter, slope) in memory.parameters.iter_mut().zip(memory.gradient.iter()) {
                    let fraction = if SHIFT >= 32 {
                        i64::from(noise.next()) << (SHIFT - 32)
                    } else {
                        i64::from(noise.next() >> (32 - SHIFT))
                    };
                    let exact =
                        (i64::from(*parameter) << SHIFT) + fraction - i64::from(*slope) * rate;
                    let least = i64::from(<$weight>::MIN);
                    let most = i64::from(<$weight>::MAX);
                    #[expect(clippy::cast_possible_truncation, reason = "clamped")]
                    #[allow(clippy::unnecessary_cast, reason = "not for every type")]
                    let rounded = (exact >> SHIFT).clamp(least, most) as $weight;
                    *parameter = rounded;
                }
            }

            fn prepare(
                _memory: &mut StepMemory<'_, Self>,
                _: &Optimiser,
                _batch_len: usize,
            ) -> f64 {
                0.0
            }

            fn optimise(_memory: &mut StepMemory<'_, Self>, _: &Optimiser, _share: f32) {}

            fn compare(
                loss: Loss,
                outputs: &mut [i32],
                target: Target<'_>,
                batch_len: usize,
            ) -> Outcome {
                let (predicted, most) = largest(outputs, 0);
                let correct = target.class() == Some(predicted);
                let per_batch = (1i64 << 32) / batch_len.max(1) as i64;
                let share = |value: i64| ((value * per_batch) >> 32) as i32;
                match (loss, target) {
                    (Loss::CrossEntropy, Target::Class(class)) => {
                        let of_class = outputs.get(class).copied().unwrap_or(0);
                        let of_class = fixed_to_f32(of_class.saturating_sub(most));
                        let mut total = 0i64;
                        for output in outputs.iter_mut() {
                            *output = fixed_from_f32(math::exp(fixed_to_f32(
                                output.saturating_sub(most),
                            )));
                            total += i64::from(*output);
                        }
                        // The largest alone counts 1, so the reciprocal is at most 1.
                        let reciprocal = (1i64 << (2 * VALUE_BITS)) / total.max(1);
                        for (index, output) in outputs.iter_mut().enumerate() {
                            let mut error = (i64::from(*output) * reciprocal) >> VALUE_BITS;
                            if index == class {
                                error -= i64::from(FIXED_ONE);
                            }
                            *output = share(error);
                        }
                        #[expect(clippy::cast_precision_loss, reason = "a loss, for people")]
                        let total = total as f32 * (1.0 / FIXED_ONE as f32);
                        Outcome {
                            loss: math::ln(total) - of_class,
                            correct,
                        }
                    }
                    (Loss::SquaredError, _) | (Loss::CrossEntropy, Target::Values(_)) => {
                        let mut squares = 0.0;
                        for (index, output) in outputs.iter_mut().enumerate() {
                            let error = output.saturating_sub(fixed_from_f32(target.value(index)));
                            let float = fixed_to_f32(error);
                            squares += float * float;
                            *output = share(i64::from(error));
                        }
                        Outcome {
                            loss: 0.5 * squares,
                            correct,
                        }
                    }
                }
            }
        }
    };
}

const FIXED_LEAK: i32 = 167_772;

fixed_point!(i32, 24);
fixed_point!(i16, 12);
fixed_point!(i8, 6);
