//! Mini-batch gradient descent in bounded pieces.

use core::marker::PhantomData;

use zfl_seed::{Purpose, Stream};

use crate::arithmetic::{Noise, Optimiser, Outcome, StepMemory, Target};
use crate::error::{InputError, check_labels, check_len};
use crate::kernel::{
    Bytes, GROUP_SAMPLES, GROUP_WIDTH, Sparse, Values, subtract_products, subtract_rows,
};
use crate::layer::{self, Turned};
use crate::model::{Kind, Model};
use crate::plan::{IS_ROOMY, LANES, LayerPlan, Parts, Plan};
use crate::sparse::NonZero;
use crate::{ValueTable, Weight, dispatch};

/// Most samples that one client can train on: the batch order holds 16-bit
/// indices, which matters on a device with 64 KB.
pub const SAMPLES_MAX: usize = 65_535;

/// How to train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyperparameters {
    /// Passes over the samples.
    pub epochs: u32,
    /// Samples between two steps, at least 1; more than there are means all
    /// of them. The last batch of an epoch may be smaller.
    pub batch_size: usize,
    /// η, at least 0: a plain step subtracts η × mean gradient.
    pub learning_rate: f32,
    /// m, 0 to below 1: v ← m v + g, then w ← w − η v (Polyak's heavy ball, as
    /// Sutskever et al., *On the importance of initialization and momentum in
    /// deep learning*, ICML 2013, describe it). v begins at 0.
    pub momentum: f32,
    /// w ← w − η (g + m v) instead: Nesterov's variant, ibid.
    pub nesterov: bool,
    /// λ, at least 0: λ w is added to the gradient after clipping.
    pub weight_decay: f32,
    /// Gradients of a larger Euclidean norm, over all layers that train, are
    /// scaled to it (Pascanu et al., *On the difficulty of training recurrent
    /// neural networks*, ICML 2013, algorithm 1). 0: they are not.
    pub clip_norm: f32,
    /// µ, at least 0: µ (w − w₀) is added to the gradient, w₀ being the model
    /// that the training began with (Li et al., *Federated Optimization in
    /// Heterogeneous Networks*, MLSys 2020, eq. 2).
    pub proximal: f32,
    /// How weights are rounded to fixed point.
    pub rounding: Rounding,
}

/// How weights are rounded to fixed point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Rounding {
    /// To the nearest.
    #[default]
    Nearest = 0,
    /// Up with the probability of the part that is cut off (Gupta et al.,
    /// *Deep Learning with Limited Numerical Precision*, ICML 2015, section
    /// 3.1), from the client's stream.
    Stochastic = 1,
}

impl Hyperparameters {
    /// Plain gradient descent.
    pub const fn sgd(epochs: u32, batch_size: usize, learning_rate: f32) -> Self {
        Self {
            epochs,
            batch_size,
            learning_rate,
            momentum: 0.0,
            nesterov: false,
            weight_decay: 0.0,
            clip_norm: 0.0,
            proximal: 0.0,
            rounding: Rounding::Nearest,
        }
    }

    const fn optimiser(&self) -> Optimiser {
        Optimiser {
            learning_rate: self.learning_rate,
            momentum: self.momentum,
            nesterov: self.nesterov,
            weight_decay: self.weight_decay,
            clip_norm: self.clip_norm,
            proximal: self.proximal,
        }
    }

    /// Checks every number.
    fn check<W: Weight>(&self) -> Result<(), InputError> {
        let fail = |what, value, allowed| {
            Err(InputError::Hyperparameter {
                what,
                value,
                allowed,
            })
        };
        let is_share = |value: f32| value.is_finite() && value >= 0.0;
        if self.batch_size == 0 {
            return fail("batch size", 0.0, "at least 1");
        }
        if !is_share(self.learning_rate) {
            return fail("learning rate", self.learning_rate, "finite and at least 0");
        }
        if !(is_share(self.momentum) && self.momentum < 1.0) {
            return fail("momentum", self.momentum, "at least 0 and below 1");
        }
        for (what, value) in [
            ("weight decay", self.weight_decay),
            ("clip norm", self.clip_norm),
            ("proximal", self.proximal),
        ] {
            if !is_share(value) {
                return fail(what, value, "finite and at least 0");
            }
        }
        if !W::HAS_OPTIMISER && !self.optimiser().is_plain() {
            return fail(
                "momentum, weight decay, clip norm or proximal",
                1.0,
                "0 in fixed point",
            );
        }
        Ok(())
    }
}

/// What the outputs of the model are compared with.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// A class for each sample.
    Labels(&'a [u8]),
    /// As many values for each sample as the model has outputs.
    Values(&'a [f32]),
}

impl<'a> Targets<'a> {
    #[inline(always)]
    pub(crate) fn of(&self, sample: usize, outputs: usize) -> Target<'a> {
        match self {
            Self::Labels(labels) => Target::Class(usize::from(labels[sample])),
            Self::Values(values) => Target::Values(&values[sample * outputs..][..outputs]),
        }
    }

    /// Checks that there is one for each sample, and each is possible: a label
    /// below `outputs`, a value that is a finite number.
    ///
    /// # Errors
    /// Names the first sample of which that is not so.
    pub fn check(&self, sample_count: usize, outputs: usize) -> Result<(), InputError> {
        match self {
            Self::Labels(labels) => {
                check_len("labels", labels.len(), sample_count)?;
                check_labels(labels, outputs)
            }
            Self::Values(values) => {
                check_len("targets", values.len(), sample_count * outputs)?;
                match values.iter().position(|value| !value.is_finite()) {
                    None => Ok(()),
                    Some(index) => Err(InputError::Target {
                        sample: index / outputs.max(1),
                    }),
                }
            }
        }
    }

    fn check_len(&self, sample_count: usize, outputs: usize) -> Result<(), InputError> {
        match self {
            Self::Labels(labels) => check_len("labels", labels.len(), sample_count),
            Self::Values(values) => check_len("targets", values.len(), sample_count * outputs),
        }
    }
}

/// The memory and the data of a training, lent for the length of a call.
pub struct Memory<'a, W: Weight> {
    /// The model, changed in place: [`Model::parameter_count`] values.
    pub parameters: &'a mut [W],
    /// [`Model::workspace_len`] values; what they are does not matter, but they
    /// must be left alone until the training is done.
    pub workspace: &'a mut [W::Value],
    /// One index for each sample, left alone as well.
    pub order: &'a mut [u16],
    /// The samples, one after another.
    pub samples: &'a [u8],
    /// What the outputs should be.
    pub targets: Targets<'a>,
    /// What the bytes of the samples stand for.
    pub table: &'a ValueTable<W>,
    /// Where the samples are not 0, if that was found out before. It saves
    /// time and changes nothing else.
    pub non_zero: Option<NonZero<'a>>,
}

/// Whether a training goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Call again.
    Working,
    /// The parameters are the result.
    Done,
}

/// How well a model does on samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Samples looked at.
    pub sample_count: usize,
    /// Samples whose largest output is that of their label.
    pub correct_count: usize,
    /// Sum over the samples of the loss.
    pub loss_sum: f64,
}

impl Evaluation {
    /// Takes in one sample.
    #[inline(always)]
    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.sample_count += 1;
        self.correct_count += usize::from(outcome.correct);
        self.loss_sum += f64::from(outcome.loss);
    }

    /// Adds the figures of other samples.
    pub fn merge(&mut self, other: &Self) {
        self.sample_count += other.sample_count;
        self.correct_count += other.correct_count;
        self.loss_sum += other.loss_sum;
    }

    /// Mean loss (of cross-entropy: in nats); 0 of no samples.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn loss(&self) -> f64 {
        if self.sample_count == 0 {
            return 0.0;
        }
        self.loss_sum / self.sample_count as f64
    }

    /// Share of samples classified rightly; 0 of no samples.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub fn accuracy(&self) -> f64 {
        if self.sample_count == 0 {
            return 0.0;
        }
        self.correct_count as f64 / self.sample_count as f64
    }
}

/// How much memory a training takes beside data and parameters, in values of
/// 4 bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkspaceLen {
    /// Gradients.
    pub gradients: usize,
    /// Outputs and error signals of the layers, and those that are kept for a
    /// batch in place of a gradient.
    pub activations: usize,
    /// What the optimiser remembers: velocity, the model at the beginning.
    pub optimiser: usize,
    /// Room to work faster; 0 for blocks of one.
    pub lanes: usize,
}

impl WorkspaceLen {
    /// All of it.
    pub fn total(&self) -> usize {
        self.gradients
            .saturating_add(self.activations)
            .saturating_add(self.optimiser)
            .saturating_add(self.lanes)
    }
}

impl Model {
    /// Values of workspace that training needs on `sample_count` samples, when
    /// `block` samples are processed together: 1 takes the least memory,
    /// [`BLOCK_FAST`], which is the most, the least time. The results are
    /// equal.
    pub fn workspace_len<W: Weight>(
        &self,
        sample_count: usize,
        hyperparameters: &Hyperparameters,
        block: usize,
    ) -> WorkspaceLen {
        let plan = Plan::new::<W>(
            self,
            effective_batch(sample_count, hyperparameters.batch_size),
            &hyperparameters.optimiser(),
            block,
        );
        WorkspaceLen {
            gradients: plan.gradients_len,
            activations: plan.activations_len,
            optimiser: plan.velocity_len.saturating_add(plan.anchor_len),
            lanes: plan.lanes_len,
        }
    }
}

/// Samples to process together where memory is plenty.
pub const BLOCK_FAST: usize = LANES;

fn effective_batch(sample_count: usize, batch_size: usize) -> usize {
    batch_size.clamp(1, sample_count.max(1))
}

/// What the next unit of work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Forward and backward pass of a block of the batch.
    Pass { in_batch: usize },
    /// The step of the layers that sum gradients.
    Step,
    /// Step of the layers that keep signals, for a block of the batch.
    Apply { in_batch: usize },
    /// All epochs are over.
    Done,
}

/// Which data a training is about, for its random choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Seed of the run.
    pub seed: u64,
    /// The client.
    pub client: u32,
    /// The round.
    pub round: u32,
}

/// One training in progress.
///
/// It holds no reference to the memory it works on, so that it can lie beside
/// it; every [`Training::advance`] must be given the same memory again.
pub struct Training<W: Weight> {
    plan: Plan,
    hyperparameters: Hyperparameters,
    sample_count: usize,
    batch_size: usize,
    order_stream: Stream,
    noise: Noise,
    epoch: u32,
    batch_start: usize,
    phase: Phase,
    has_begun: bool,
    has_diverged: bool,
    first_epoch: Evaluation,
    last_epoch: Evaluation,
    weight: PhantomData<fn() -> W>,
}

impl<W: Weight> Training<W> {
    /// Begins a training on `sample_count` samples (1 to [`SAMPLES_MAX`]).
    /// The order of the samples comes from the stream that `draw` names.
    ///
    /// # Errors
    /// When there are no samples or too many, or a hyperparameter is out of
    /// bounds.
    pub fn new(
        model: Model,
        hyperparameters: Hyperparameters,
        sample_count: usize,
        block: usize,
        draw: Draw,
    ) -> Result<Self, InputError> {
        hyperparameters.check::<W>()?;
        if !(1..=SAMPLES_MAX).contains(&sample_count) {
            return Err(InputError::Length {
                what: "samples",
                len: sample_count,
                needed: sample_count.clamp(1, SAMPLES_MAX),
            });
        }
        let batch_size = effective_batch(sample_count, hyperparameters.batch_size);
        let optimiser = hyperparameters.optimiser();
        let Draw {
            seed,
            client,
            round,
        } = draw;
        Ok(Self {
            plan: Plan::new::<W>(&model, batch_size, &optimiser, block),
            hyperparameters,
            sample_count,
            batch_size,
            order_stream: Stream::for_round(seed, Purpose::BatchOrder, client, round),
            noise: match hyperparameters.rounding {
                Rounding::Nearest => Noise::NEAREST,
                Rounding::Stochastic => {
                    let mut stream = Stream::for_round(seed, Purpose::Rounding, client, round);
                    Noise::stochastic(stream.below(u32::MAX))
                }
            },
            epoch: 0,
            batch_start: 0,
            phase: if hyperparameters.epochs == 0 {
                Phase::Done
            } else {
                Phase::Pass { in_batch: 0 }
            },
            has_begun: false,
            has_diverged: false,
            first_epoch: Evaluation::default(),
            last_epoch: Evaluation::default(),
            weight: PhantomData,
        })
    }

    /// What is trained.
    pub fn model(&self) -> &Model {
        &self.plan.model
    }

    /// Loss and accuracy as the first epoch met the samples.
    pub fn first_epoch(&self) -> &Evaluation {
        &self.first_epoch
    }

    /// Loss and accuracy as the last epoch (so far) met the samples.
    pub fn last_epoch(&self) -> &Evaluation {
        &self.last_epoch
    }

    /// Does at most `units` units of work: a unit is the forward and backward
    /// pass of a block of samples, or the step for one, or the step of all
    /// summed gradients.
    ///
    /// # Errors
    /// When a slice of `memory` has the wrong length or a target is
    /// impossible, before anything was changed; when the training diverges.
    pub fn advance(
        &mut self,
        memory: &mut Memory<'_, W>,
        units: usize,
    ) -> Result<Progress, InputError> {
        self.check(memory)?;
        if !self.has_begun {
            self.begin(memory)?;
        }
        W::run(self, memory, units);
        // The last step is followed by no loss that would show it.
        if self.phase == Phase::Done && W::HAS_OPTIMISER {
            let is_finite = |parameter: &W| parameter.as_f32().is_finite();
            self.has_diverged |= !memory.parameters.iter().all(is_finite);
        }
        if self.has_diverged {
            self.phase = Phase::Done;
            let last = self.hyperparameters.epochs.saturating_sub(1);
            return Err(InputError::Diverged {
                epoch: self.epoch.min(last),
            });
        }
        Ok(match self.phase {
            Phase::Done => Progress::Done,
            _ => Progress::Working,
        })
    }

    fn check(&self, memory: &Memory<'_, W>) -> Result<(), InputError> {
        let outputs = self.plan.model.output_count();
        let parameters = self.plan.model.parameter_count();
        let samples = self.sample_count * self.plan.model.input_count();
        let workspace = self.plan.workspace_len();
        check_len("parameters", memory.parameters.len(), parameters)?;
        check_len("workspace", memory.workspace.len(), workspace)?;
        check_len("order", memory.order.len(), self.sample_count)?;
        check_len("samples", memory.samples.len(), samples)?;
        memory.targets.check_len(self.sample_count, outputs)
    }

    fn begin(&mut self, memory: &mut Memory<'_, W>) -> Result<(), InputError> {
        let outputs = self.plan.model.output_count();
        memory.targets.check(self.sample_count, outputs)?;
        for (index, slot) in (0..=u16::MAX).zip(memory.order.iter_mut()) {
            *slot = index;
        }
        let frozen = self.plan.model.frozen_parameter_count();
        let parts = self.plan.cut(memory.workspace);
        parts.velocity.fill(W::ZERO);
        for (anchor, weight) in parts.anchor.iter_mut().zip(&memory.parameters[frozen..]) {
            *anchor = weight.value_of();
        }
        self.has_begun = true;
        Ok(())
    }

    /// Samples in the current batch.
    #[inline(always)]
    fn batch_len(&self) -> usize {
        self.batch_size.min(self.sample_count - self.batch_start)
    }

    /// Does `units` units of work. Compiled once for each kind of weight, in
    /// [`crate::arithmetic::Arithmetic::run`].
    #[inline(always)]
    pub(crate) fn run(&mut self, memory: &mut Memory<'_, W>, units: usize) {
        for _ in 0..units {
            if self.phase == Phase::Done || self.has_diverged {
                break;
            }
            self.unit(memory);
        }
    }

    #[inline(always)]
    fn unit(&mut self, memory: &mut Memory<'_, W>) {
        match self.phase {
            Phase::Pass { in_batch } => self.pass(memory, in_batch),
            Phase::Step => self.step(memory),
            Phase::Apply { in_batch } => self.apply(memory, in_batch),
            Phase::Done => {}
        }
    }

    /// What comes after the samples of a batch were passed.
    fn after_pass(&self) -> Phase {
        if self.plan.layers().any(|plan| plan.trains && !plan.keeps) {
            Phase::Step
        } else {
            Phase::Apply { in_batch: 0 }
        }
    }

    #[inline(always)]
    fn pass(&mut self, memory: &mut Memory<'_, W>, in_batch: usize) {
        if in_batch == 0 {
            if self.batch_start == 0 {
                self.order_stream.shuffle(memory.order);
                self.last_epoch = Evaluation::default();
            }
            self.plan.cut(memory.workspace).gradients.fill(W::ZERO);
        }
        let batch_len = self.batch_len();
        let block_len = self.plan.block.min(batch_len - in_batch);
        let first = self.batch_start + in_batch;
        let mut parts = self.plan.cut(memory.workspace);
        let data = Data {
            order: &memory.order[first..][..block_len],
            samples: memory.samples,
            input_count: self.plan.model.input_count(),
            table: memory.table,
            non_zero: memory.non_zero,
        };
        forward(
            &self.plan,
            memory.parameters,
            parts.activations,
            &data,
            in_batch,
        );
        let (has_diverged, evaluation) = (&mut self.has_diverged, &mut self.last_epoch);
        let (plan, targets) = (&self.plan, memory.targets);
        // The layer after the last keeps nothing: the signals are in place.
        if let Some(last) = plan.layers().next_back() {
            let width = last.layer.output.len();
            let outputs = &mut parts.activations[last.signals_at(in_batch, 0)..];
            let outputs = &mut outputs[..block_len * width];
            dispatch::<W, _>(
                #[inline(always)]
                || {
                    W::compare_block(
                        plan.model.loss(),
                        outputs,
                        width,
                        |in_block| targets.of(data.sample(in_block), width),
                        batch_len,
                        |outcome| {
                            *has_diverged |= !outcome.loss.is_finite();
                            evaluation.add(outcome);
                        },
                    );
                },
            );
        }
        backward(&self.plan, memory.parameters, &mut parts, &data, in_batch);
        self.phase = if in_batch + block_len < batch_len {
            Phase::Pass {
                in_batch: in_batch + block_len,
            }
        } else {
            self.after_pass()
        };
    }

    #[inline(always)]
    fn step(&mut self, memory: &mut Memory<'_, W>) {
        let batch_len = self.batch_len();
        let optimiser = self.hyperparameters.optimiser();
        let parts = self.plan.cut(memory.workspace);
        if optimiser.is_plain() {
            let rate = W::rate(optimiser.learning_rate, batch_len);
            for plan in self.plan.layers().filter(|plan| plan.trains && !plan.keeps) {
                let count = plan.layer.parameter_count();
                let step = StepMemory {
                    parameters: &mut memory.parameters[plan.layer.offset..][..count],
                    gradient: &mut parts.gradients[plan.gradient..][..count],
                    velocity: &mut [],
                    anchor: &[],
                };
                W::step(step, rate, &mut self.noise);
            }
        } else {
            // All layers sum then, and their gradients lie as their parameters do.
            let frozen = self.plan.model.frozen_parameter_count();
            let mut step = StepMemory {
                parameters: &mut memory.parameters[frozen..],
                gradient: parts.gradients,
                velocity: parts.velocity,
                anchor: parts.anchor,
            };
            let squares = W::prepare(&mut step, &optimiser, batch_len);
            W::optimise(&mut step, &optimiser, clip(&optimiser, squares));
        }
        self.phase = if self.plan.layers().any(|plan| plan.keeps) {
            Phase::Apply { in_batch: 0 }
        } else {
            self.next_batch(batch_len)
        };
    }

    #[inline(always)]
    fn apply(&mut self, memory: &mut Memory<'_, W>, in_batch: usize) {
        let batch_len = self.batch_len();
        let block_len = self.plan.block.min(batch_len - in_batch);
        let rate = W::rate(self.hyperparameters.learning_rate, batch_len);
        let first = self.batch_start + in_batch;
        let parts = self.plan.cut(memory.workspace);
        let data = Data {
            order: &memory.order[first..][..block_len],
            samples: memory.samples,
            input_count: self.plan.model.input_count(),
            table: memory.table,
            non_zero: memory.non_zero,
        };
        // Sample by sample: the noise is drawn in the order of the updates,
        // which must not depend on the block. Without noise a layer can take
        // the whole block at once.
        let noise = &mut self.noise;
        let chunk = if W::IS_NOISELESS { block_len.max(1) } else { 1 };
        for start in (0..block_len).step_by(chunk) {
            let mut before = None;
            for plan in self.plan.layers() {
                let takes_block = IS_ROOMY && W::IS_VECTOR && W::IS_NOISELESS && block_len > 1;
                let parameters = &mut *memory.parameters;
                let activations = &mut *parts.activations;
                if !plan.keeps {
                } else if takes_block && plan.layer.width() >= 32 {
                    dispatch::<W, _>(
                        #[inline(always)]
                        || {
                            let before = before.as_ref();
                            apply_block(
                                &plan,
                                before,
                                parameters,
                                activations,
                                &data,
                                in_batch,
                                rate,
                            );
                        },
                    );
                } else {
                    dispatch::<W, _>(
                        #[inline(always)]
                        || {
                            for in_block in start..start + chunk {
                                apply_sample(
                                    &plan,
                                    before.as_ref(),
                                    parameters,
                                    activations,
                                    &data,
                                    (in_batch + in_block, in_block),
                                    rate,
                                    noise,
                                );
                            }
                        },
                    );
                }
                before = Some(plan);
            }
        }
        self.phase = if in_batch + block_len < batch_len {
            Phase::Apply {
                in_batch: in_batch + block_len,
            }
        } else {
            self.next_batch(batch_len)
        };
    }

    fn next_batch(&mut self, batch_len: usize) -> Phase {
        self.batch_start += batch_len;
        if self.batch_start == self.sample_count {
            if self.epoch == 0 {
                self.first_epoch = self.last_epoch;
            }
            self.batch_start = 0;
            self.epoch += 1;
            if self.epoch == self.hyperparameters.epochs {
                return Phase::Done;
            }
        }
        Phase::Pass { in_batch: 0 }
    }
}

/// What gradients whose squares sum up to `squares` are multiplied with.
#[expect(clippy::cast_possible_truncation, reason = "a factor")]
fn clip(optimiser: &Optimiser, squares: f64) -> f32 {
    let norm = libm::sqrt(squares) as f32;
    if optimiser.clip_norm > 0.0 && norm > optimiser.clip_norm {
        optimiser.clip_norm / norm
    } else {
        1.0
    }
}

/// The samples of a block.
struct Data<'a, W: Weight> {
    order: &'a [u16],
    samples: &'a [u8],
    input_count: usize,
    table: &'a ValueTable<W>,
    non_zero: Option<NonZero<'a>>,
}

impl<'a, W: Weight> Data<'a, W> {
    #[inline(always)]
    fn sample(&self, in_block: usize) -> usize {
        usize::from(self.order[in_block])
    }

    #[inline(always)]
    fn bytes(&self, in_block: usize) -> Bytes<'a, W> {
        let from = self.sample(in_block) * self.input_count;
        Bytes {
            values: &self.samples[from..][..self.input_count],
            table: self.table,
        }
    }

    /// What is known of zeros; nothing, for the compiler to see, where there is
    /// no room to make use of it.
    #[inline(always)]
    fn zeros(&self) -> Option<NonZero<'a>> {
        self.non_zero.filter(|_| IS_ROOMY && W::IS_VECTOR)
    }

    #[inline(always)]
    fn sparse(&self, in_block: usize) -> Option<Sparse<'a, W>> {
        Some(Sparse {
            entries: self.zeros()?.sample(self.sample(in_block))?,
            table: self.table,
        })
    }
}

/// The outputs of all layers for the samples of a block.
fn forward<W: Weight>(
    plan: &Plan,
    parameters: &[W],
    activations: &mut [W::Value],
    data: &Data<'_, W>,
    in_batch: usize,
) {
    let mut before: Option<LayerPlan<'_>> = None;
    for here in plan.layers() {
        match before {
            None => forward_first(&here, parameters, activations, data, in_batch),
            Some(before) => {
                let block_len = data.order.len();
                forward_next(&here, &before, parameters, activations, in_batch, block_len);
            }
        }
        before = Some(here);
    }
}

/// The outputs of the first layer.
fn forward_first<W: Weight>(
    here: &LayerPlan<'_>,
    parameters: &[W],
    activations: &mut [W::Value],
    data: &Data<'_, W>,
    in_batch: usize,
) {
    let layer = here.layer;
    let len = layer.output.len();
    let knows_zeros = data.zeros().is_some() && layer.kind == Kind::Dense;
    if knows_zeros && layer.width() == GROUP_WIDTH && data.order.len() >= GROUP_SAMPLES {
        dispatch::<W, _>(
            #[inline(always)]
            || forward_first_grouped(here, parameters, activations, data, in_batch),
        );
    } else if knows_zeros {
        dispatch::<W, _>(
            #[inline(always)]
            || {
                for in_block in 0..data.order.len() {
                    let at = here.outputs_at(in_batch + in_block, in_block);
                    if let Some(inputs) = data.sparse(in_block) {
                        let outputs = &mut activations[at..][..len];
                        layer::forward_dense(layer, inputs, parameters, outputs);
                    }
                }
            },
        );
    } else {
        for in_block in 0..data.order.len() {
            let at = here.outputs_at(in_batch + in_block, in_block);
            let outputs = &mut activations[at..][..len];
            layer::forward(layer, data.bytes(in_block), parameters, outputs);
        }
    }
}

/// The outputs of a narrow first layer, for samples whose zeros are known: for
/// several at once that have about as many inputs each.
#[inline(always)]
fn forward_first_grouped<W: Weight>(
    here: &LayerPlan<'_>,
    parameters: &[W],
    activations: &mut [W::Value],
    data: &Data<'_, W>,
    in_batch: usize,
) {
    let at = |in_block: usize| here.outputs_at(in_batch + in_block, in_block);
    let len_of = |in_block: usize| {
        data.sparse(in_block)
            .map_or(0, |inputs| inputs.entries.len())
    };
    // At most LANES, as blocks are.
    let count = data.order.len().min(LANES);
    let mut by_len = [u32::MAX; LANES];
    for (entry, in_block) in by_len.iter_mut().zip(0..count) {
        *entry = (len_of(in_block) * LANES + in_block) as u32;
    }
    sort(&mut by_len);
    let by_len = by_len.map(|entry| entry as usize % LANES);
    let (groups, rest) = by_len[..count].as_chunks::<GROUP_SAMPLES>();
    for samples in groups {
        let [Some(a), Some(b), Some(c), Some(d)] = samples.map(|sample| data.sparse(sample)) else {
            continue;
        };
        let sums = layer::forward_dense_grouped(here.layer, [a, b, c, d], parameters);
        for (sample, sums) in samples.iter().zip(&sums) {
            activations[at(*sample)..][..GROUP_WIDTH].copy_from_slice(sums);
        }
    }
    for sample in rest {
        if let Some(inputs) = data.sparse(*sample) {
            let outputs = &mut activations[at(*sample)..][..GROUP_WIDTH];
            layer::forward_dense(here.layer, inputs, parameters, outputs);
        }
    }
}

/// Sorts without branches, which nobody could foresee: Batcher's odd–even merge
/// sort (*Sorting networks and their applications*, 1968).
#[inline(always)]
fn sort(entries: &mut [u32; LANES]) {
    let mut sorted = 1;
    while sorted < LANES {
        let mut distance = sorted;
        while distance > 0 {
            let mut start = distance % sorted;
            while start + distance < LANES {
                for low in start..(start + distance).min(LANES - distance) {
                    let high = low + distance;
                    if low / (sorted * 2) == high / (sorted * 2) {
                        let (a, b) = (entries[low], entries[high]);
                        entries[low] = a.min(b);
                        entries[high] = a.max(b);
                    }
                }
                start += distance * 2;
            }
            distance /= 2;
        }
        sorted *= 2;
    }
}

/// The outputs of a layer after another.
fn forward_next<W: Weight>(
    here: &LayerPlan<'_>,
    before: &LayerPlan<'_>,
    parameters: &[W],
    activations: &mut [W::Value],
    in_batch: usize,
    block_len: usize,
) {
    // Outputs of a layer lie behind those of the layer before it.
    let (head, tail) = activations.split_at_mut(here.outputs);
    let (len, len_before) = (here.layer.output.len(), before.layer.output.len());
    let from = |in_block| before.outputs_at(in_batch + in_block, in_block);
    let to = |in_block| here.outputs_at(in_batch + in_block, in_block) - here.outputs;
    if here.layer.kind == Kind::Dense {
        dispatch::<W, _>(
            #[inline(always)]
            || {
                for in_block in 0..block_len {
                    let values = &head[from(in_block)..][..len_before];
                    let outputs = &mut tail[to(in_block)..][..len];
                    layer::forward_dense_values(here.layer, values, parameters, outputs);
                }
            },
        );
    } else {
        for in_block in 0..block_len {
            let values = Values(&head[from(in_block)..][..len_before]);
            let outputs = &mut tail[to(in_block)..][..len];
            layer::forward(here.layer, values, parameters, outputs);
        }
    }
}

/// Backward pass of a block: signals are left in the workspace, gradients of
/// the layers that do not keep are added up.
fn backward<W: Weight>(
    plan: &Plan,
    parameters: &[W],
    parts: &mut Parts<'_, W::Value>,
    data: &Data<'_, W>,
    in_batch: usize,
) {
    let block_len = data.order.len();
    let mut below = plan.layers().rev().skip(1);
    for here in plan.layers().rev() {
        let before = below.next();
        if !here.trains {
            return;
        }
        if !here.keeps && here.layer.parameter_count() > 0 {
            add_gradient(&here, before.as_ref(), parts, data, in_batch);
        }
        let Some(before) = before.filter(|before| before.trains) else {
            return;
        };
        let has_lanes = IS_ROOMY && W::IS_VECTOR && plan.block > 1;
        let at = (in_batch, block_len);
        let values = &mut *parts.activations;
        // Memory is cleared for each block, so there is no more than need be.
        if has_lanes && Turned::<W, 256>::suits(here.layer) {
            backward_turned::<W, 256>(&here, &before, parameters, values, at);
            continue;
        }
        if has_lanes && Turned::<W, 1024>::suits(here.layer) {
            backward_turned::<W, 1024>(&here, &before, parameters, values, at);
            continue;
        }
        let mut done = 0;
        while has_lanes && done < block_len {
            let at = (in_batch + done, done);
            let rest = block_len - done;
            let count = match rest {
                9.. => backward_block::<W, 16>(&here, &before, parameters, parts, at, rest),
                _ => backward_block::<W, 8>(&here, &before, parameters, parts, at, rest),
            };
            if count == 0 {
                break;
            }
            done += count;
        }
        for in_block in done..block_len {
            let at = (in_batch + in_block, in_block);
            backward_sample(&here, &before, parameters, parts.activations, at);
        }
    }
}

/// Adds a block's part to the gradient of a layer.
fn add_gradient<W: Weight>(
    here: &LayerPlan<'_>,
    before: Option<&LayerPlan<'_>>,
    parts: &mut Parts<'_, W::Value>,
    data: &Data<'_, W>,
    in_batch: usize,
) {
    let layer = here.layer;
    let gradient = &mut parts.gradients[here.gradient..][..layer.parameter_count()];
    let values = &*parts.activations;
    let len = layer.output.len();
    let samples = 0..data.order.len();
    let signals = |in_block| &values[here.signals_at(in_batch + in_block, in_block)..][..len];
    match before {
        None if data.zeros().is_some() && layer.kind == Kind::Dense => dispatch::<W, _>(
            #[inline(always)]
            || {
                for in_block in samples {
                    if let Some(inputs) = data.sparse(in_block) {
                        layer::add_gradient_dense(layer, inputs, signals(in_block), gradient);
                    }
                }
            },
        ),
        None => {
            for in_block in samples {
                let inputs = data.bytes(in_block);
                layer::add_gradient(layer, inputs, signals(in_block), gradient);
            }
        }
        Some(before) => {
            let from = |in_block| before.outputs_at(in_batch + in_block, in_block);
            let inputs = |in_block| Values::<W>(&values[from(in_block)..][..layer.input.len()]);
            if layer.kind == Kind::Dense {
                dispatch::<W, _>(
                    #[inline(always)]
                    || {
                        for in_block in samples {
                            let (inputs, signals) = (inputs(in_block), signals(in_block));
                            layer::add_gradient_dense(layer, inputs, signals, gradient);
                        }
                    },
                );
            } else {
                for in_block in samples {
                    layer::add_gradient(layer, inputs(in_block), signals(in_block), gradient);
                }
            }
        }
    }
}

/// The signals of the layer before a small dense layer, for `count` samples.
fn backward_turned<W: Weight, const N: usize>(
    here: &LayerPlan<'_>,
    before: &LayerPlan<'_>,
    parameters: &[W],
    activations: &mut [W::Value],
    (in_batch, count): (usize, usize),
) {
    dispatch::<W, _>(
        #[inline(always)]
        || {
            let turned = Turned::<W, N>::new(here.layer, parameters);
            let (len, len_before) = (here.layer.output.len(), before.layer.output.len());
            // Signals of a layer lie behind all of the layer before it.
            let (head, tail) = activations.split_at_mut(here.signals);
            for in_block in 0..count {
                let sample = in_batch + in_block;
                let signals = &tail[here.signals_at(sample, in_block) - here.signals..][..len];
                let outputs = before.outputs_at(sample, in_block);
                let to = before.signals_at(sample, in_block);
                if to != outputs {
                    head.copy_within(outputs..outputs + len_before, to);
                }
                let values = &mut head[to..][..len_before];
                turned.backward(here.layer, before.layer, signals, values);
            }
        },
    );
}

/// The signals of the layer before, for up to `L` of `rest` samples; how many,
/// 0 where the layer is not of a kind for it.
fn backward_block<W: Weight, const L: usize>(
    here: &LayerPlan<'_>,
    before: &LayerPlan<'_>,
    parameters: &[W],
    parts: &mut Parts<'_, W::Value>,
    (in_batch, in_block): (usize, usize),
    rest: usize,
) -> usize {
    if here.layer.width() == 0 {
        return 0;
    }
    let count = rest.min(L);
    let len = here.layer.output.len();
    let lanes = &mut parts.lanes[..len * L];
    if count < L {
        lanes.fill(W::ZERO);
    }
    for sample in 0..count {
        let from = here.signals_at(in_batch + sample, in_block + sample);
        let signals = &parts.activations[from..][..len];
        for (lanes, signal) in lanes.chunks_exact_mut(L).zip(signals) {
            lanes[sample] = *signal;
        }
    }
    let stride = before.layer.output.len();
    let below = layer::Below {
        signals: before.signals_at(in_batch, in_block),
        outputs: before.outputs_at(in_batch, in_block),
        signals_stride: stride,
        outputs_stride: stride,
    };
    let values = &mut *parts.activations;
    dispatch::<W, _>(
        #[inline(always)]
        || {
            layer::backward_lanes::<W, L>(
                here.layer,
                before.layer,
                parameters,
                lanes,
                values,
                &below,
                count,
            )
        },
    );
    count
}

/// The signals of the layer before, for one sample.
fn backward_sample<W: Weight>(
    here: &LayerPlan<'_>,
    before: &LayerPlan<'_>,
    parameters: &[W],
    activations: &mut [W::Value],
    (in_batch, in_block): (usize, usize),
) {
    let len = before.layer.output.len();
    let from = here.signals_at(in_batch, in_block);
    // Signals of a layer lie behind all of the layer before it.
    let (head, tail) = activations.split_at_mut(from);
    let signals = &tail[..here.layer.output.len()];
    let to = before.signals_at(in_batch, in_block);
    if before.is_in_place() {
        let below = &mut head[to..][..len];
        layer::backward(here.layer, before.layer, parameters, signals, None, below);
    } else {
        // A layer's own signals lie before its outputs.
        let (signal_part, output_part) = head.split_at_mut(before.outputs);
        let outputs = before.outputs_at(in_batch, in_block) - before.outputs;
        layer::backward(
            here.layer,
            before.layer,
            parameters,
            signals,
            Some(&output_part[outputs..][..len]),
            &mut signal_part[to..][..len],
        );
    }
}

/// The step of one layer that keeps signals, for a block: row by row of the
/// weights, and for each weight sample by sample, as [`apply_sample`] does.
#[inline(always)]
fn apply_block<W: Weight>(
    plan: &LayerPlan<'_>,
    before: Option<&LayerPlan<'_>>,
    parameters: &mut [W],
    activations: &mut [W::Value],
    data: &Data<'_, W>,
    in_batch: usize,
    rate: W::Rate,
) {
    let layer = plan.layer;
    let width = layer.width();
    let block_len = data.order.len();
    let (weights, bias) = layer.split_mut(parameters);
    let mut noise = Noise::NEAREST;
    let (head, tail) = activations.split_at_mut(plan.signals_at(in_batch, 0));
    let signals = &mut tail[..block_len * width];
    for signal in signals.chunks_exact_mut(width) {
        for (signal, bias) in signal.iter_mut().zip(bias.iter_mut()) {
            *signal = W::step_signal(*signal, rate);
            let mut one = [*bias];
            W::subtract_signals(&W::signals(&[*signal]), W::ONE, &mut one, &mut noise);
            [*bias] = one;
        }
    }
    let inputs = before.map(|before| {
        let from = before.outputs_at(in_batch, 0);
        &head[from..][..block_len * layer.input.len()]
    });
    // For some rows at a time: the inputs that are not 0, and where the signals
    // of their samples begin.
    let mut active = [[(W::ZERO, 0usize); LANES]; APPLIED_ROWS];
    let mut taken = [0usize; LANES];
    for (chunk, rows) in weights.chunks_mut(width * APPLIED_ROWS).enumerate() {
        let first = chunk * APPLIED_ROWS;
        let end = first + rows.len() / width;
        let mut counts = [0usize; APPLIED_ROWS];
        for (in_block, taken) in (0..block_len).zip(&mut taken) {
            let mut note = |row: usize, value: W::Value| {
                if let (Some(active), Some(count)) = (active.get_mut(row), counts.get_mut(row)) {
                    if let Some(slot) = active.get_mut(*count) {
                        *slot = (value, in_block * width);
                    }
                    *count += usize::from(!W::is_zero(value));
                }
            };
            match (inputs, data.sparse(in_block)) {
                (Some(inputs), _) => {
                    let inputs = &inputs[in_block * layer.input.len()..][first..end];
                    for (row, value) in inputs.iter().enumerate() {
                        note(row, *value);
                    }
                }
                (None, Some(Sparse { entries, table })) => {
                    while let Some(entry) = entries.get(*taken)
                        && entry.index() < end
                    {
                        note(entry.index() - first, table.value(entry.byte()));
                        *taken += 1;
                    }
                }
                (None, None) => {
                    let from = data.sample(in_block) * data.input_count;
                    for (row, byte) in data.samples[from..][first..end].iter().enumerate() {
                        note(row, data.table.value(*byte));
                    }
                }
            }
        }
        let active = active.iter().zip(counts);
        for (row, (active, count)) in rows.chunks_exact_mut(width).zip(active) {
            subtract_rows(active.get(..count).unwrap_or_default(), signals, row);
        }
    }
}

/// Rows of weights whose inputs are noted together.
const APPLIED_ROWS: usize = 32;

/// The step of one layer that keeps signals, for one sample.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "one caller")]
fn apply_sample<W: Weight>(
    plan: &LayerPlan<'_>,
    before: Option<&LayerPlan<'_>>,
    parameters: &mut [W],
    activations: &mut [W::Value],
    data: &Data<'_, W>,
    (in_batch, in_block): (usize, usize),
    rate: W::Rate,
    noise: &mut Noise,
) {
    let layer = plan.layer;
    let (weights, bias) = layer.split_mut(parameters);
    let (head, tail) = activations.split_at_mut(plan.signals_at(in_batch, in_block));
    let signal = &mut tail[..layer.width()];
    for (signal, bias) in signal.iter_mut().zip(bias) {
        *signal = W::step_signal(*signal, rate);
        let mut one = [*bias];
        W::subtract_signals(&W::signals(&[*signal]), W::ONE, &mut one, noise);
        [*bias] = one;
    }
    match before {
        None => match data.sparse(in_block) {
            Some(inputs) => subtract_products(inputs, signal, weights, noise),
            None => subtract_products(data.bytes(in_block), signal, weights, noise),
        },
        Some(before) => {
            let from = before.outputs_at(in_batch, in_block);
            let inputs = Values::<W>(&head[from..][..layer.input.len()]);
            subtract_products(inputs, signal, weights, noise);
        }
    }
}
