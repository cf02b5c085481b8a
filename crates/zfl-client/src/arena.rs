//! What lies where in a client's memory.

use zfl_nn::{Format, Targets, Task, WorkspaceLen};

/// Regions begin at multiples of this, in bytes.
const ALIGNMENT_BYTES: usize = 8;
/// The same where more than one sample is processed at once: what vector
/// instructions load does not straddle two lines of the cache then.
const VECTOR_ALIGNMENT_BYTES: usize = 64;

/// How much memory a client needs, as byte offsets into its arena.
///
/// A pure function of the share's size, the model and the batch size, so that
/// it can be asked before a device exists. `usize::MAX` stands for more than
/// can be addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Bytes of samples, from offset 0.
    pub samples_bytes: usize,
    /// Bytes of labels, or of the values in their place.
    pub labels_bytes: usize,
    /// Bytes of the batch order.
    pub order_bytes: usize,
    /// Bytes of the model.
    pub parameters_bytes: usize,
    /// Bytes of gradients, activations and error signals.
    pub workspace_bytes: usize,
    /// Samples processed at once.
    block: usize,
    /// Whether there are values in place of labels.
    has_values: bool,
}

impl Needs {
    /// What a share with labels needs before there is a model, on a device.
    pub fn of_share(sample_count: usize, input_count: usize) -> Self {
        Self {
            samples_bytes: sample_count.saturating_mul(input_count),
            labels_bytes: sample_count,
            order_bytes: sample_count.saturating_mul(size_of::<u16>()),
            parameters_bytes: 0,
            workspace_bytes: 0,
            block: 1,
            has_values: false,
        }
    }

    /// The same where each sample has `count` values to learn in place of a
    /// label.
    #[must_use]
    pub fn with_values(self, count: usize) -> Self {
        let bytes = count.saturating_mul(size_of::<f32>());
        Self {
            labels_bytes: self.sample_count().saturating_mul(bytes),
            has_values: true,
            ..self
        }
    }

    /// Samples in the share.
    pub(crate) fn sample_count(&self) -> usize {
        self.order_bytes / size_of::<u16>()
    }

    /// The same when `block` samples are processed at once: 1 on devices.
    #[must_use]
    pub fn with_block(self, block: usize) -> Self {
        Self { block, ..self }
    }

    /// What training the task on the share needs as well.
    #[must_use]
    pub fn with_task(self, task: &Task) -> Self {
        Self {
            parameters_bytes: task.parameter_bytes(),
            workspace_bytes: self
                .workspace(task)
                .total()
                .saturating_mul(size_of::<u32>()),
            ..self
        }
    }

    /// What the workspace consists of, in values of 4 bytes.
    pub fn workspace(&self, task: &Task) -> WorkspaceLen {
        let (model, how, block) = (&task.model, &task.hyperparameters, self.block);
        let samples = self.sample_count();
        match task.format {
            Format::F32 => model.workspace_len::<f32>(samples, how, block),
            Format::Fixed32 => model.workspace_len::<i32>(samples, how, block),
            Format::Fixed16 => model.workspace_len::<i16>(samples, how, block),
            Format::Fixed8 => model.workspace_len::<i8>(samples, how, block),
        }
    }

    /// The end of each region, in the order in which they lie.
    pub(crate) fn ends(&self) -> [usize; 5] {
        let alignment_bytes = if self.block > 1 {
            VECTOR_ALIGNMENT_BYTES
        } else {
            ALIGNMENT_BYTES
        };
        let mut end = 0usize;
        [
            self.samples_bytes,
            self.labels_bytes,
            self.order_bytes,
            self.parameters_bytes,
            self.workspace_bytes,
        ]
        .map(|bytes| {
            end = end
                .saturating_add(bytes)
                .checked_next_multiple_of(alignment_bytes)
                .unwrap_or(usize::MAX);
            end
        })
    }

    /// Bytes of arena that it takes in all.
    pub fn total_bytes(&self) -> usize {
        let [.., end] = self.ends();
        end
    }

    /// Cuts the arena into its regions; `None` when it is too small.
    pub(crate) fn cut<'a>(&self, arena: &'a mut [u8]) -> Option<Regions<'a>> {
        let mut rest = arena;
        let mut start = 0;
        let mut take = |end: usize, bytes: usize| {
            let (region, tail) = core::mem::take(&mut rest).split_at_mut_checked(end - start)?;
            start = end;
            rest = tail;
            region.get_mut(..bytes)
        };
        let [samples, labels, order, parameters, workspace] = self.ends();
        Some(Regions {
            samples: take(samples, self.samples_bytes)?,
            targets: {
                let labels: &[u8] = take(labels, self.labels_bytes)?;
                if self.has_values {
                    Targets::Values(bytemuck::try_cast_slice(labels).ok()?)
                } else {
                    Targets::Labels(labels)
                }
            },
            order: bytemuck::try_cast_slice_mut(take(order, self.order_bytes)?).ok()?,
            parameters: take(parameters, self.parameters_bytes)?,
            workspace: take(workspace, self.workspace_bytes)?,
        })
    }
}

/// The arena, cut up.
pub(crate) struct Regions<'a> {
    pub(crate) samples: &'a mut [u8],
    pub(crate) targets: Targets<'a>,
    pub(crate) order: &'a mut [u16],
    pub(crate) parameters: &'a mut [u8],
    pub(crate) workspace: &'a mut [u8],
}

#[cfg(test)]
mod tests {
    use super::*;
    use zfl_nn::{Activation, Hyperparameters, Loss, Model};

    fn task(format: Format) -> Task {
        Task {
            model: Model::mlp(784, &[16, 10], Activation::Relu, Loss::CrossEntropy).unwrap(),
            hyperparameters: Hyperparameters::sgd(5, 600, 0.1),
            format,
        }
    }

    #[test]
    fn regions_lie_one_after_another() {
        let task = task(Format::Fixed16);
        let needs = Needs::of_share(101, 784).with_task(&task);
        let total = needs.total_bytes();
        let mut arena = vec![0u64; total / 8];
        let regions = needs.cut(bytemuck::cast_slice_mut(&mut arena)).unwrap();
        assert_eq!(regions.samples.len(), 101 * 784);
        assert!(matches!(regions.targets, Targets::Labels(labels) if labels.len() == 101));
        assert_eq!(regions.order.len(), 101);
        assert_eq!(regions.parameters.len(), 12_730 * 2);
        assert_eq!(regions.workspace.len(), needs.workspace(&task).total() * 4);
        let mut small = vec![0u64; total / 8 - 1];
        assert!(needs.cut(bytemuck::cast_slice_mut(&mut small)).is_none());
    }

    #[test]
    fn numbers_lie_where_vectors_load_them_at_once() {
        let needs = Needs::of_share(101, 783).with_block(16);
        let needs = needs.with_task(&task(Format::F32));
        for end in needs.ends() {
            assert_eq!(end % 64, 0);
        }
    }

    #[test]
    fn needs_saturate() {
        let needs = Needs::of_share(usize::MAX, 784);
        assert_eq!(needs.total_bytes(), usize::MAX);
        assert!(needs.cut(&mut [0; 64]).is_none());
    }

    #[test]
    fn values_take_four_bytes_and_train_on_as_many_samples() {
        let labels = Needs::of_share(101, 8);
        let values = labels.with_values(2);
        assert_eq!(values.labels_bytes, 101 * 2 * 4);
        let mut arena = vec![0u64; values.total_bytes() / 8];
        let regions = values.cut(bytemuck::cast_slice_mut(&mut arena)).unwrap();
        assert!(matches!(regions.targets, Targets::Values(values) if values.len() == 202));
        let task = task(Format::F32);
        assert_eq!(values.workspace(&task), labels.workspace(&task));
        assert_eq!(labels.with_values(usize::MAX).total_bytes(), usize::MAX);
    }
}
