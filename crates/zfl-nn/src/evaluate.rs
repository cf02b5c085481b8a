//! How well a model does.

use crate::error::{InputError, check_len};
use crate::kernel::{Bytes, Sparse, Values};
use crate::layer;
use crate::model::Kind;
use crate::plan::IS_ROOMY;
use crate::sparse::{self, Entry};
use crate::training::{Evaluation, Targets};
use crate::{Model, ValueTable, Weight, dispatch};

impl Model {
    /// Values of scratch memory that [`Model::evaluate`] needs.
    pub fn evaluation_len(&self) -> usize {
        let most = self.placed().iter().map(|layer| layer.output.len()).max();
        most.unwrap_or(0) * 2
    }

    /// Loss and accuracy of the model on samples that lie one after another in
    /// `samples`.
    ///
    /// # Errors
    /// When a slice has the wrong length (`scratch`: at least
    /// [`Model::evaluation_len`]) or a target is impossible.
    pub fn evaluate<W: Weight>(
        &self,
        parameters: &[W],
        samples: &[u8],
        targets: Targets<'_>,
        table: &ValueTable<W>,
        scratch: &mut [W::Value],
    ) -> Result<Evaluation, InputError> {
        let inputs = self.input_count();
        check_len("parameters", parameters.len(), self.parameter_count())?;
        let count = samples.len() / inputs;
        check_len("samples", samples.len(), count * inputs)?;
        targets.check(count, self.output_count())?;
        let scratch_len = scratch.len();
        let Some(scratch) = scratch.get_mut(..self.evaluation_len()) else {
            return Err(InputError::Length {
                what: "scratch",
                len: scratch_len,
                needed: self.evaluation_len(),
            });
        };
        Ok(W::evaluate(
            self, parameters, samples, targets, table, scratch,
        ))
    }
}

/// Most inputs of a sample of which those that are not 0 are listed.
const LISTED_MAX: usize = if IS_ROOMY { 4096 } else { 0 };

/// Evaluates samples that were checked. Compiled once for each kind of weight,
/// in [`crate::arithmetic::Arithmetic::evaluate`].
#[inline(always)]
pub(crate) fn run<W: Weight>(
    model: &Model,
    parameters: &[W],
    samples: &[u8],
    targets: Targets<'_>,
    table: &ValueTable<W>,
    scratch: &mut [W::Value],
) -> Evaluation {
    let inputs = model.input_count();
    let mut evaluation = Evaluation::default();
    let (mut from, mut to) = scratch.split_at_mut(scratch.len() / 2);
    let lists = IS_ROOMY && W::IS_VECTOR && inputs <= LISTED_MAX;
    let mut entries = [Entry::default(); LISTED_MAX];
    for (sample, values) in samples.chunks_exact(inputs).enumerate() {
        let mut len = 0;
        for (index, layer) in model.placed().iter().enumerate() {
            let outputs = &mut to[..layer.output.len()];
            if index == 0 && lists && layer.kind == Kind::Dense {
                dispatch::<W, _>(
                    #[inline(always)]
                    || {
                        let count = sparse::list(values, &mut entries);
                        let entries = &entries[..count];
                        let inputs = Sparse { entries, table };
                        layer::forward_dense(layer, inputs, parameters, outputs);
                    },
                );
            } else if index == 0 {
                layer::forward(layer, Bytes { values, table }, parameters, outputs);
            } else if IS_ROOMY && layer.kind == Kind::Dense {
                let values = &from[..len];
                dispatch::<W, _>(
                    #[inline(always)]
                    || layer::forward_dense_values(layer, values, parameters, outputs),
                );
            } else {
                layer::forward(layer, Values(&from[..len]), parameters, outputs);
            }
            len = layer.output.len();
            core::mem::swap(&mut from, &mut to);
        }
        let target = targets.of(sample, model.output_count());
        let outputs = &mut from[..len];
        evaluation.add(dispatch::<W, _>(
            #[inline(always)]
            || W::compare(model.loss(), outputs, target, 1),
        ));
    }
    evaluation
}
