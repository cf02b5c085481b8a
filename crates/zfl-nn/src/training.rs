//! Mini-batch gradient descent in bounded pieces.

use zfl_seed::{Purpose, Stream};

use crate::ValueTable;
use crate::kernel::{Bytes, Floats, Inputs, dot, rank_one};
use crate::mlp::{
    Activation, Evaluation, InputError, LAYERS_MAX, Mlp, Placed, check_labels, check_len,
    softmax_cross_entropy,
};

/// Most samples that one client can train on: the batch order holds 16-bit
/// indices, which matters on a device with 64 KB.
pub const SAMPLES_MAX: usize = 65_535;

/// How to train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyperparameters {
    /// Passes over the samples.
    pub epochs: u32,
    /// Samples between two steps; more than there are means all of them. The
    /// last batch of an epoch may be smaller. 0 counts as 1.
    pub batch_size: usize,
    /// Step size: each step subtracts `learning_rate × mean gradient`.
    pub learning_rate: f32,
}

/// The memory and the data of a training, lent for the length of a call.
pub struct Memory<'a> {
    /// The model, changed in place: [`Mlp::parameter_count`] values.
    pub parameters: &'a mut [f32],
    /// [`Mlp::workspace_len`] values; what they are does not matter, but they
    /// must be left alone until the training is done.
    pub workspace: &'a mut [f32],
    /// One index for each sample, left alone as well.
    pub order: &'a mut [u16],
    /// The samples, one after another.
    pub samples: &'a [u8],
    /// Their labels.
    pub labels: &'a [u8],
    /// What the bytes of the samples stand for.
    pub table: &'a ValueTable,
}

/// Whether a training goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Call again.
    Working,
    /// The parameters are the result.
    Done,
}

/// Where a layer's working values lie in the workspace.
#[derive(Clone, Copy, Debug)]
struct LayerPlan {
    layer: Placed,
    /// The layer keeps the batch's error signals instead of a gradient.
    keeps: bool,
    /// Its gradient, where it does not keep.
    gradient: usize,
    /// Its error signals: of the batch, or of one sample.
    signals: usize,
    /// Its outputs: of the batch where the layer after it keeps, or of one
    /// sample.
    outputs: usize,
}

/// The layout of the workspace: a function of model and batch alone.
#[derive(Clone, Copy, Debug)]
struct Plan {
    layers: [Option<LayerPlan>; LAYERS_MAX],
    workspace_len: usize,
}

impl Plan {
    fn new(model: &Mlp, batch_size: usize) -> Self {
        let mut layers = [None; LAYERS_MAX];
        let mut next = 0usize;
        // Saturates rather than wraps: a workspace of usize::MAX values is
        // refused by every caller.
        let mut take = |len: usize| {
            let offset = next;
            next = next.saturating_add(len);
            offset
        };
        let keeps = |index: usize, layer: &Placed| {
            let per_sample = match index {
                0 => layer.output_count,
                _ => layer.output_count + layer.input_count,
            };
            batch_size.saturating_mul(per_sample) < layer.parameter_count()
        };
        let placed = model.placed();
        for (index, layer) in placed.iter().enumerate() {
            let keeps_here = keeps(index, layer);
            let keeps_after = placed
                .get(index + 1)
                .is_some_and(|after| keeps(index + 1, after));
            let rows = |kept: bool| if kept { batch_size } else { 1 };
            layers[index] = Some(LayerPlan {
                layer: *layer,
                keeps: keeps_here,
                gradient: take(if keeps_here {
                    0
                } else {
                    layer.parameter_count()
                }),
                signals: take(rows(keeps_here).saturating_mul(layer.output_count)),
                outputs: take(rows(keeps_after).saturating_mul(layer.output_count)),
            });
        }
        Self {
            layers,
            workspace_len: next,
        }
    }

    fn layers(&self) -> impl DoubleEndedIterator<Item = &LayerPlan> + Clone {
        self.layers.iter().flatten()
    }
}

impl Mlp {
    /// Values of workspace that training needs on `sample_count` samples in
    /// batches of `batch_size`.
    pub fn workspace_len(&self, sample_count: usize, batch_size: usize) -> usize {
        Plan::new(self, effective_batch(sample_count, batch_size)).workspace_len
    }
}

fn effective_batch(sample_count: usize, batch_size: usize) -> usize {
    batch_size.clamp(1, sample_count.max(1))
}

/// What the next unit of work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Forward and backward pass of a sample of the batch.
    Pass { in_batch: usize },
    /// Step of the layers that keep signals, for a sample of the batch.
    Apply { in_batch: usize },
    /// All epochs are over.
    Done,
}

/// One training in progress.
///
/// It holds no reference to the memory it works on, so that it can lie beside
/// it; every [`Training::advance`] must be given the same memory again.
pub struct Training {
    model: Mlp,
    plan: Plan,
    hyperparameters: Hyperparameters,
    sample_count: usize,
    batch_size: usize,
    order_stream: Stream,
    epoch: u32,
    batch_start: usize,
    phase: Phase,
    first_epoch: Evaluation,
    last_epoch: Evaluation,
}

impl Training {
    /// Begins a training on `sample_count` samples (at most [`SAMPLES_MAX`]).
    /// The order of the samples comes from the stream of `client` in `round`.
    ///
    /// # Errors
    /// When there are no samples or too many.
    pub fn new(
        model: Mlp,
        hyperparameters: Hyperparameters,
        sample_count: usize,
        seed: u64,
        client: u32,
        round: u32,
    ) -> Result<Self, InputError> {
        if !(1..=SAMPLES_MAX).contains(&sample_count) {
            return Err(InputError::Length {
                what: "samples",
                len: sample_count,
                needed: sample_count.clamp(1, SAMPLES_MAX),
            });
        }
        let batch_size = effective_batch(sample_count, hyperparameters.batch_size);
        Ok(Self {
            model,
            plan: Plan::new(&model, batch_size),
            hyperparameters,
            sample_count,
            batch_size,
            order_stream: Stream::for_round(seed, Purpose::BatchOrder, client, round),
            epoch: 0,
            batch_start: 0,
            phase: if hyperparameters.epochs == 0 {
                Phase::Done
            } else {
                Phase::Pass { in_batch: 0 }
            },
            first_epoch: Evaluation::default(),
            last_epoch: Evaluation::default(),
        })
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
    /// pass of one sample, or the step for one sample, or the step of all
    /// summed gradients.
    ///
    /// # Errors
    /// When a slice of `memory` has the wrong length or a label is none of the
    /// classes; nothing was changed then.
    pub fn advance(
        &mut self,
        memory: &mut Memory<'_>,
        units: usize,
    ) -> Result<Progress, InputError> {
        let inputs = self.model.input_count();
        check_len(
            "parameters",
            memory.parameters.len(),
            self.model.parameter_count(),
        )?;
        check_len("workspace", memory.workspace.len(), self.plan.workspace_len)?;
        check_len("order", memory.order.len(), self.sample_count)?;
        check_len("labels", memory.labels.len(), self.sample_count)?;
        check_len("samples", memory.samples.len(), self.sample_count * inputs)?;
        if self.epoch == 0 && self.batch_start == 0 && self.phase == (Phase::Pass { in_batch: 0 }) {
            check_labels(memory.labels, self.model.class_count())?;
            for (index, slot) in (0..=u16::MAX).zip(memory.order.iter_mut()) {
                *slot = index;
            }
        }
        for _ in 0..units {
            match self.phase {
                Phase::Pass { in_batch } => self.pass(memory, in_batch),
                Phase::Apply { in_batch } => self.apply(memory, in_batch),
                Phase::Done => return Ok(Progress::Done),
            }
        }
        Ok(match self.phase {
            Phase::Done => Progress::Done,
            _ => Progress::Working,
        })
    }

    /// Samples in the current batch.
    fn batch_len(&self) -> usize {
        self.batch_size.min(self.sample_count - self.batch_start)
    }

    fn pass(&mut self, memory: &mut Memory<'_>, in_batch: usize) {
        if in_batch == 0 {
            if self.batch_start == 0 {
                self.order_stream.shuffle(memory.order);
                self.last_epoch = Evaluation::default();
            }
            for plan in self.plan.layers().filter(|plan| !plan.keeps) {
                memory.workspace[plan.gradient..][..plan.layer.parameter_count()].fill(0.0);
            }
        }
        let sample = usize::from(memory.order[self.batch_start + in_batch]);
        let values = self.values(memory.samples, sample);
        let bytes = Bytes {
            values,
            table: memory.table,
        };
        let outcome = pass_sample(
            &self.plan,
            memory.parameters,
            memory.workspace,
            bytes,
            usize::from(memory.labels[sample]),
            in_batch,
        );
        self.last_epoch.add(outcome);
        self.phase = if in_batch + 1 < self.batch_len() {
            Phase::Pass {
                in_batch: in_batch + 1,
            }
        } else {
            Phase::Apply { in_batch: 0 }
        };
    }

    fn values<'a>(&self, samples: &'a [u8], sample: usize) -> &'a [u8] {
        let inputs = self.model.input_count();
        &samples[sample * inputs..][..inputs]
    }

    #[expect(clippy::cast_precision_loss, reason = "a batch is far below 2^24")]
    fn apply(&mut self, memory: &mut Memory<'_>, in_batch: usize) {
        let batch_len = self.batch_len();
        let step = self.hyperparameters.learning_rate / batch_len as f32;
        if in_batch == 0 {
            for plan in self.plan.layers().filter(|plan| !plan.keeps) {
                let count = plan.layer.parameter_count();
                let gradient = &memory.workspace[plan.gradient..][..count];
                let parameters = &mut memory.parameters[plan.layer.offset..][..count];
                for (parameter, slope) in parameters.iter_mut().zip(gradient) {
                    *parameter -= step * slope;
                }
            }
        }
        let sample = usize::from(memory.order[self.batch_start + in_batch]);
        let values = self.values(memory.samples, sample);
        let mut before = None;
        let mut any_keeps = false;
        for plan in self.plan.layers() {
            if plan.keeps {
                any_keeps = true;
                let bytes = Bytes {
                    values,
                    table: memory.table,
                };
                apply_sample(
                    plan,
                    before,
                    memory.parameters,
                    memory.workspace,
                    bytes,
                    in_batch,
                    step,
                );
            }
            before = Some(plan);
        }
        self.phase = if any_keeps && in_batch + 1 < batch_len {
            Phase::Apply {
                in_batch: in_batch + 1,
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

/// Forward and backward pass of one sample: signals and outputs are left in
/// the workspace, gradients of the layers that do not keep are added up.
fn pass_sample(
    plan: &Plan,
    parameters: &[f32],
    workspace: &mut [f32],
    bytes: Bytes<'_>,
    label: usize,
    in_batch: usize,
) -> crate::mlp::Outcome {
    let mut before: Option<(&LayerPlan, usize)> = None;
    let mut after = plan.layers().skip(1);
    for here in plan.layers() {
        let kept_outputs = after.next().is_some_and(|after| after.keeps);
        let outputs = row(
            here.outputs,
            here.layer.output_count,
            kept_outputs,
            in_batch,
        );
        match before {
            None => {
                let to = &mut workspace[outputs..][..here.layer.output_count];
                here.layer.forward(bytes, parameters, to);
            }
            Some((_, from)) => {
                // Outputs of a layer lie behind those of the layer before it.
                let (head, tail) = workspace.split_at_mut(outputs);
                let inputs = Floats(&head[from..][..here.layer.input_count]);
                here.layer
                    .forward(inputs, parameters, &mut tail[..here.layer.output_count]);
            }
        }
        before = Some((here, outputs));
    }
    let mut outcome = crate::mlp::Outcome {
        loss: 0.0,
        correct: false,
    };
    // Backward, from the last layer: its signal is the loss's, every other
    // layer's comes from the layer after it.
    let mut after: Option<(&LayerPlan, usize)> = None;
    let mut below = plan.layers().rev().skip(1);
    for here in plan.layers().rev() {
        let width = here.layer.output_count;
        let signals = row(here.signals, width, here.keeps, in_batch);
        let kept_outputs = after.is_some_and(|(after, _)| after.keeps);
        let outputs = row(here.outputs, width, kept_outputs, in_batch);
        match after {
            None => {
                workspace.copy_within(outputs..outputs + width, signals);
                outcome = softmax_cross_entropy(&mut workspace[signals..][..width], label);
            }
            Some((after, after_signals)) => {
                let (weights, _) = after.layer.split(parameters);
                let after_width = after.layer.output_count;
                // Signals of this layer lie before those of the next.
                let (head, tail) = workspace.split_at_mut(after_signals);
                let from = &tail[..after_width];
                // This layer's signals lie before its outputs.
                let (signal_part, output_part) = head.split_at_mut(outputs);
                let to = &mut signal_part[signals..][..width];
                let active = &output_part[..width];
                for ((signal, weights), output) in to
                    .iter_mut()
                    .zip(weights.chunks_exact(after_width))
                    .zip(active)
                {
                    // The derivative of ReLU at 0 is taken as 0.
                    *signal = match here.layer.activation {
                        Activation::Relu if *output <= 0.0 => 0.0,
                        _ => dot(weights, from),
                    };
                }
            }
        }
        let below = below.next();
        if !here.keeps {
            let count = here.layer.parameter_count();
            let (head, tail) = workspace.split_at_mut(signals);
            let signal = &tail[..width];
            match below {
                None => {
                    let gradient = &mut head[here.gradient..][..count];
                    add_gradient(&here.layer, bytes, signal, gradient);
                }
                Some(below) => {
                    let from = row(below.outputs, here.layer.input_count, here.keeps, in_batch);
                    // Outputs of the layer below lie before this gradient.
                    let (inputs_part, gradient_part) = head.split_at_mut(here.gradient);
                    let inputs = Floats(&inputs_part[from..][..here.layer.input_count]);
                    add_gradient(&here.layer, inputs, signal, &mut gradient_part[..count]);
                }
            }
        }
        after = Some((here, signals));
    }
    outcome
}

/// Where a sample's row of `width` values lies.
fn row(offset: usize, width: usize, kept: bool, in_batch: usize) -> usize {
    if kept {
        offset + in_batch * width
    } else {
        offset
    }
}

#[inline(always)]
fn add_gradient(layer: &Placed, inputs: impl Inputs, signal: &[f32], gradient: &mut [f32]) {
    let (weights, bias) = gradient.split_at_mut(layer.weight_count());
    rank_one::<false>(inputs, signal, weights);
    for (slope, signal) in bias.iter_mut().zip(signal) {
        *slope += signal;
    }
}

/// The step of one layer that keeps signals, for one sample.
fn apply_sample(
    plan: &LayerPlan,
    before: Option<&LayerPlan>,
    parameters: &mut [f32],
    workspace: &mut [f32],
    bytes: Bytes<'_>,
    in_batch: usize,
    step: f32,
) {
    let layer = &plan.layer;
    let (weights, bias) = layer.split_mut(parameters);
    let signals = row(plan.signals, layer.output_count, true, in_batch);
    let (head, tail) = workspace.split_at_mut(signals);
    let signal = &mut tail[..layer.output_count];
    for (signal, bias) in signal.iter_mut().zip(bias) {
        *signal *= step;
        *bias -= *signal;
    }
    match before {
        None => rank_one::<true>(bytes, signal, weights),
        Some(before) => {
            let from = row(before.outputs, layer.input_count, true, in_batch);
            let inputs = Floats(&head[from..][..layer.input_count]);
            rank_one::<true>(inputs, signal, weights);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Layer;
    use proptest::prelude::*;

    fn model(widths: &[usize]) -> Mlp {
        let last = widths.len() - 2;
        let layers: Vec<Layer> = widths[1..]
            .iter()
            .enumerate()
            .map(|(index, output_count)| Layer {
                output_count: *output_count,
                activation: if index == last {
                    Activation::Identity
                } else {
                    Activation::Relu
                },
            })
            .collect();
        Mlp::new(widths[0], &layers).unwrap()
    }

    struct Data {
        samples: Vec<u8>,
        labels: Vec<u8>,
    }

    /// Random sparse samples with random labels.
    fn data(model: &Mlp, sample_count: usize, seed: u64) -> Data {
        let mut stream = Stream::new(seed, Purpose::Partition, 7);
        let samples = (0..sample_count * model.input_count())
            .map(|_| match stream.below(2) {
                0 => 0,
                _ => stream.below(17) as u8,
            })
            .collect();
        let labels = (0..sample_count)
            .map(|_| stream.below(model.class_count() as u32) as u8)
            .collect();
        Data { samples, labels }
    }

    fn initial(model: &Mlp, seed: u64) -> Vec<f32> {
        let mut parameters = vec![0.0; model.parameter_count()];
        let mut stream = Stream::new(seed, Purpose::InitialWeights, 0);
        model.initialise(&mut parameters, &mut stream).unwrap();
        // Biases as well, so that their gradients are told apart.
        for (index, parameter) in parameters.iter_mut().enumerate() {
            *parameter += 0.01 * ((index * 31 % 17) as f32 - 8.0);
        }
        parameters
    }

    fn train(
        model: &Mlp,
        parameters: &mut [f32],
        data: &Data,
        hyperparameters: Hyperparameters,
        units: usize,
    ) -> Training {
        let count = data.labels.len();
        let mut training = Training::new(*model, hyperparameters, count, 1, 2, 3).unwrap();
        // What the memory held before must not matter.
        let mut workspace = vec![f32::NAN; model.workspace_len(count, hyperparameters.batch_size)];
        let mut order = vec![9; count];
        let table = ValueTable::new(1.0 / 16.0);
        let mut memory = Memory {
            parameters,
            workspace: &mut workspace,
            order: &mut order,
            samples: &data.samples,
            labels: &data.labels,
            table: &table,
        };
        while training.advance(&mut memory, units).unwrap() == Progress::Working {}
        training
    }

    /// Mean cross-entropy in f64, written plainly.
    fn reference_loss(model: &Mlp, parameters: &[f64], data: &Data) -> f64 {
        let inputs = model.input_count();
        let mut total = 0.0;
        for (values, label) in data.samples.chunks_exact(inputs).zip(&data.labels) {
            let mut activations: Vec<f64> = values.iter().map(|v| f64::from(*v) / 16.0).collect();
            for layer in model.placed() {
                let weights = &parameters[layer.offset..];
                let bias = &weights[layer.weight_count()..];
                activations = (0..layer.output_count)
                    .map(|j| {
                        let sum = bias[j]
                            + activations
                                .iter()
                                .enumerate()
                                .map(|(i, a)| a * weights[i * layer.output_count + j])
                                .sum::<f64>();
                        match layer.activation {
                            Activation::Relu => sum.max(0.0),
                            Activation::Identity => sum,
                        }
                    })
                    .collect();
            }
            let total_exp: f64 = activations.iter().map(|a| a.exp()).sum();
            total += total_exp.ln() - activations[usize::from(*label)];
        }
        total / data.labels.len() as f64
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// One full-batch step with rate 1 moves each parameter by its
        /// gradient; central differences of the loss in f64 must agree.
        #[test]
        fn gradients_agree_with_finite_differences(
            inputs in 1usize..14,
            hidden in prop::collection::vec(1usize..9, 0..3),
            classes in 2usize..6,
            sample_count in 1usize..9,
            seed in 0u64..1000,
        ) {
            let mut widths = vec![inputs];
            widths.extend(hidden);
            widths.push(classes);
            let model = model(&widths);
            let data = data(&model, sample_count, seed);
            let before = initial(&model, seed);
            let mut after = before.clone();
            let hyperparameters = Hyperparameters {
                epochs: 1,
                batch_size: sample_count,
                learning_rate: 1.0,
            };
            let training = train(&model, &mut after, &data, hyperparameters, 1);
            let mut exact: Vec<f64> = before.iter().map(|p| f64::from(*p)).collect();
            let loss = reference_loss(&model, &exact, &data);
            prop_assert!((training.first_epoch().loss() - loss).abs() < 1e-4);
            for index in 0..exact.len() {
                let gradient = f64::from(before[index]) - f64::from(after[index]);
                let original = exact[index];
                let mut slope = |h: f64| {
                    exact[index] = original + h;
                    let up = reference_loss(&model, &exact, &data);
                    exact[index] = original - h;
                    let down = reference_loss(&model, &exact, &data);
                    exact[index] = original;
                    ((up - down) / (2.0 * h), (up - loss) / h, (loss - down) / h)
                };
                let (numeric, right, left) = slope(1e-5);
                // At a kink of ReLU the one-sided slopes differ and either is right.
                if (right - left).abs() < 1e-3 {
                    prop_assert!(
                        (gradient - numeric).abs() < 2e-4,
                        "parameter {index}: {gradient} for {numeric}"
                    );
                }
            }
        }

        /// However the work is cut up, and whatever the memory held.
        #[test]
        fn pieces_of_any_size_give_the_same_bits(
            units in 1usize..40,
            batch_size in 1usize..30,
            hidden in 1usize..20,
        ) {
            let model = model(&[20, hidden, 7, 4]);
            let data = data(&model, 25, 5);
            let hyperparameters = Hyperparameters { epochs: 3, batch_size, learning_rate: 0.2 };
            let mut whole = initial(&model, 1);
            let mut pieces = whole.clone();
            let a = train(&model, &mut whole, &data, hyperparameters, usize::MAX);
            let b = train(&model, &mut pieces, &data, hyperparameters, units);
            prop_assert_eq!(bits(&whole), bits(&pieces));
            prop_assert_eq!(a.last_epoch(), b.last_epoch());
            prop_assert_eq!(a.last_epoch().sample_count, 25);
        }
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    /// FNV-1a over the parameters' bits.
    fn hash(values: &[f32]) -> u64 {
        values
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            })
    }

    /// Pins the bits: a change here makes runs of an older version
    /// irreproducible and must be told in the CHANGELOG.
    #[test]
    fn the_bits_are_pinned() {
        let check = |widths: &[usize], batch_size: usize, expected: u64| {
            let model = model(widths);
            let data = data(&model, 50, 3);
            let mut parameters = initial(&model, 3);
            let hyperparameters = Hyperparameters {
                epochs: 4,
                batch_size,
                learning_rate: 0.1,
            };
            train(&model, &mut parameters, &data, hyperparameters, 10);
            let found = hash(&parameters);
            assert_eq!(found, expected, "{widths:?} {batch_size}: {found:#018x}");
        };
        check(&[64, 16, 10], 16, 0x6ee2_7766_423c_95c9);
        check(&[64, 16, 10], 50, 0x3dca_257e_9ef2_59e5);
        check(&[64, 33, 20, 10], 7, 0xbc65_ad09_6304_f9d7);
        check(&[64, 10], 1, 0x1f0a_a854_eba1_4ac2);
    }

    #[test]
    fn a_separable_problem_is_learnt() {
        let model = model(&[4, 8, 2]);
        let samples: Vec<u8> = (0..40u8)
            .flat_map(|i| {
                if i % 2 == 0 {
                    [16, 0, i % 5, 0]
                } else {
                    [0, 16, 0, i % 5]
                }
            })
            .collect();
        let data = Data {
            samples,
            labels: (0..40).map(|i| i % 2).collect(),
        };
        let mut parameters = initial(&model, 1);
        let hyperparameters = Hyperparameters {
            epochs: 60,
            batch_size: 4,
            learning_rate: 0.3,
        };
        let training = train(&model, &mut parameters, &data, hyperparameters, 7);
        assert!(training.last_epoch().loss() < 0.05);
        assert_eq!(training.last_epoch().correct_count, 40);
        let mut scratch = vec![0.0; model.evaluation_len()];
        let evaluation = model
            .evaluate(
                &parameters,
                &data.samples,
                &data.labels,
                &ValueTable::new(1.0 / 16.0),
                &mut scratch,
            )
            .unwrap();
        assert_eq!(evaluation.correct_count, 40);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let model = model(&[4, 2]);
        let hyperparameters = Hyperparameters {
            epochs: 1,
            batch_size: 2,
            learning_rate: 0.1,
        };
        let mut training = Training::new(model, hyperparameters, 2, 0, 0, 0).unwrap();
        let mut check = |label: u8, sample_bytes: usize, text: &str| {
            let error = training
                .advance(
                    &mut Memory {
                        parameters: &mut [0.0; 10],
                        workspace: &mut vec![0.0; model.workspace_len(2, 2)],
                        order: &mut [0; 2],
                        samples: &vec![0; sample_bytes],
                        labels: &[0, label],
                        table: &ValueTable::new(1.0),
                    },
                    1,
                )
                .unwrap_err();
            assert_eq!(error.to_string(), text);
        };
        check(2, 8, "sample 1 has label 2, the model has 2 classes");
        check(1, 7, "samples: 7 values given, 8 needed");
        let too_many = Training::new(model, hyperparameters, SAMPLES_MAX + 1, 0, 0, 0);
        assert_eq!(
            too_many.err().map(|error| error.to_string()).as_deref(),
            Some("samples: 65536 values given, 65535 needed")
        );
    }
}
