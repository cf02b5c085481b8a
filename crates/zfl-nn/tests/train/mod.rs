//! A training from beginning to end.

#[cfg(feature = "std")]
use zfl_nn::NonZeroBuffer;
use zfl_nn::{
    Draw, Evaluation, Hyperparameters, InputError, Memory, Model, Progress, Targets, Training,
    ValueTable, Weight,
};

/// What a training is about.
pub(crate) struct Case<'a> {
    pub(crate) model: Model,
    pub(crate) hyperparameters: Hyperparameters,
    pub(crate) draw: Draw,
    pub(crate) samples: &'a [u8],
    pub(crate) targets: Targets<'a>,
    pub(crate) scale: f32,
}

/// How to go about it; should change nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) block: usize,
    pub(crate) units: usize,
    /// Look for what is not zero before (only with the feature `std`).
    pub(crate) sparse: bool,
}

/// What came of it.
#[derive(Debug, PartialEq)]
pub(crate) struct Trained<W> {
    pub(crate) parameters: Vec<W>,
    pub(crate) order: Vec<u16>,
    pub(crate) first_epoch: Evaluation,
    pub(crate) last_epoch: Evaluation,
}

impl Case<'_> {
    /// Trains from `parameters`, in a workspace full of `dirt`.
    pub(crate) fn train<W: Weight>(
        &self,
        parameters: &[W],
        way: Way,
        dirt: W::Value,
    ) -> Result<Trained<W>, InputError> {
        let sample_count = self.samples.len() / self.model.input_count();
        let workspace_len =
            self.model
                .workspace_len::<W>(sample_count, &self.hyperparameters, way.block);
        let mut training = Training::<W>::new(
            self.model,
            self.hyperparameters,
            sample_count,
            way.block,
            self.draw,
        )?;
        let mut parameters = parameters.to_vec();
        let mut workspace = vec![dirt; workspace_len.total()];
        let mut order = vec![u16::MAX; sample_count];
        let table = ValueTable::new(self.scale);
        #[cfg(feature = "std")]
        let mut non_zero = NonZeroBuffer::default();
        #[cfg(feature = "std")]
        non_zero.find(self.samples, self.model.input_count())?;
        loop {
            let mut memory = Memory {
                parameters: &mut parameters,
                workspace: &mut workspace,
                order: &mut order,
                samples: self.samples,
                targets: self.targets,
                table: &table,
                #[cfg(feature = "std")]
                non_zero: way.sparse.then(|| non_zero.view()),
                #[cfg(not(feature = "std"))]
                non_zero: None.filter(|_| way.sparse),
            };
            if training.advance(&mut memory, way.units)? == Progress::Done {
                break;
            }
        }
        Ok(Trained {
            parameters,
            order,
            first_epoch: *training.first_epoch(),
            last_epoch: *training.last_epoch(),
        })
    }
}
