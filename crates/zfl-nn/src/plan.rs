//! What lies where in a training's workspace.

use core::ops::Deref;

use crate::Weight;
use crate::arithmetic::Optimiser;
use crate::model::{Kind, LAYERS_MAX, Model, Placed};

/// Samples that are processed together where memory is plenty: error signals
/// are then computed for so many samples at once, one in each vector lane.
pub(crate) const LANES: usize = 16;
/// Whether there is room for code that only saves time: for blocks of samples,
/// and for samples whose zeros are known. Not on bare metal, where flash is
/// small and clients use neither; samples then go one by one, all values of
/// each, with the same results.
pub(crate) const IS_ROOMY: bool = !cfg!(target_os = "none");

/// A layer and where its working values lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerPlan<'a> {
    pub(crate) layer: &'a Placed,
    place: &'a Place,
}

/// Where a layer's working values lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// It trains: it needs error signals.
    pub(crate) trains: bool,
    /// It keeps the batch's error signals instead of a gradient.
    pub(crate) keeps: bool,
    /// Its gradient, where it does not keep: from the gradients' start.
    pub(crate) gradient: usize,
    /// Its outputs, from the activations' start.
    pub(crate) outputs: usize,
    /// Its outputs are kept for the whole batch, as the layer after it keeps.
    pub(crate) outputs_of_batch: bool,
    /// Its error signals. The same place as `outputs` where they may overwrite
    /// them, else before it.
    pub(crate) signals: usize,
    /// Its signals are kept for the whole batch.
    pub(crate) signals_of_batch: bool,
}

impl Place {
    const NONE: Self = Self {
        trains: false,
        keeps: false,
        gradient: 0,
        outputs: 0,
        outputs_of_batch: false,
        signals: 0,
        signals_of_batch: false,
    };
}

impl Deref for LayerPlan<'_> {
    type Target = Place;

    #[inline(always)]
    fn deref(&self) -> &Place {
        self.place
    }
}

impl LayerPlan<'_> {
    /// Where the outputs of a sample begin.
    #[inline(always)]
    pub(crate) fn outputs_at(&self, in_batch: usize, in_block: usize) -> usize {
        let row = if self.outputs_of_batch {
            in_batch
        } else {
            in_block
        };
        self.outputs + row * self.layer.output.len()
    }

    /// Where the signals of a sample begin.
    #[inline(always)]
    pub(crate) fn signals_at(&self, in_batch: usize, in_block: usize) -> usize {
        let row = if self.signals_of_batch {
            in_batch
        } else {
            in_block
        };
        self.signals + row * self.layer.output.len()
    }

    pub(crate) fn is_in_place(&self) -> bool {
        self.signals == self.outputs
    }
}

/// The layout of the workspace: a function of model, batch, optimiser and
/// block alone. Which layers keep does not depend on the block, so the bits do
/// not either.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) model: Model,
    /// Of each layer of the model.
    places: [Place; LAYERS_MAX],
    /// Samples of a block.
    pub(crate) block: usize,
    pub(crate) gradients_len: usize,
    pub(crate) velocity_len: usize,
    pub(crate) anchor_len: usize,
    /// Signals with the samples side by side; 0 for blocks of one.
    pub(crate) lanes_len: usize,
    pub(crate) activations_len: usize,
}

impl Plan {
    pub(crate) fn new<W: Weight>(
        model: &Model,
        batch_size: usize,
        optimiser: &Optimiser,
        block: usize,
    ) -> Self {
        // More than the lanes would gain nothing.
        let block = block.clamp(1, batch_size.clamp(1, LANES));
        let by_sample = W::STEPS_BY_SAMPLE && optimiser.is_plain();
        let first_trained = model.first_trained();
        let placed = model.placed();
        let keeps = |index: usize| {
            let Some(layer) = placed.get(index) else {
                return false;
            };
            let per_sample = match index {
                0 => layer.output.len(),
                _ => layer.output.len() + layer.input.len(),
            };
            by_sample
                && index >= first_trained
                && layer.kind == Kind::Dense
                && batch_size.saturating_mul(per_sample) < layer.parameter_count()
        };
        let mut places = [Place::NONE; LAYERS_MAX];
        // Saturates rather than wraps: a workspace of usize::MAX values is
        // refused by every caller.
        let mut gradients_len = 0usize;
        let mut next = 0usize;
        let mut take = |rows: usize, len: usize| {
            let offset = next;
            next = next.saturating_add(rows.saturating_mul(len));
            offset
        };
        let mut lanes_len = 0;
        for (index, (slot, layer)) in places.iter_mut().zip(placed).enumerate() {
            let (keeps_here, keeps_after) = (keeps(index), keeps(index + 1));
            let trains = index >= first_trained;
            let rows = |of_batch: bool| if of_batch { batch_size } else { block };
            let len = layer.output.len();
            let is_in_place = !trains || !keeps_after;
            let signals = take(if is_in_place { 0 } else { rows(keeps_here) }, len);
            let outputs_of_batch = keeps_after || (is_in_place && keeps_here);
            let outputs = take(rows(outputs_of_batch), len);
            let gradient = gradients_len;
            if trains && !keeps_here {
                gradients_len = gradients_len.saturating_add(layer.parameter_count());
            }
            if IS_ROOMY && W::IS_VECTOR && block > 1 && index > first_trained && layer.width() > 0 {
                lanes_len = lanes_len.max(len.saturating_mul(LANES));
            }
            *slot = Place {
                trains,
                keeps: keeps_here,
                gradient,
                outputs,
                outputs_of_batch,
                signals: if is_in_place { outputs } else { signals },
                signals_of_batch: keeps_here,
            };
        }
        let trained = model.parameter_count() - model.frozen_parameter_count();
        let where_used = |used: bool| if used { trained } else { 0 };
        Self {
            model: *model,
            places,
            block,
            gradients_len,
            velocity_len: where_used(optimiser.momentum != 0.0),
            anchor_len: where_used(optimiser.proximal != 0.0),
            lanes_len,
            activations_len: next,
        }
    }

    pub(crate) fn workspace_len(&self) -> usize {
        self.activations_len
            .saturating_add(self.gradients_len)
            .saturating_add(self.velocity_len)
            .saturating_add(self.anchor_len)
            .saturating_add(self.lanes_len)
    }

    #[inline(always)]
    pub(crate) fn layers(&self) -> impl DoubleEndedIterator<Item = LayerPlan<'_>> + Clone {
        let placed = self.model.placed();
        let places = &self.places[..placed.len()];
        placed
            .iter()
            .zip(places)
            .map(|(layer, place)| LayerPlan { layer, place })
    }

    /// Cuts the workspace into its parts.
    #[inline(always)]
    pub(crate) fn cut<'a, V>(&self, workspace: &'a mut [V]) -> Parts<'a, V> {
        let (gradients, rest) = workspace.split_at_mut(self.gradients_len);
        let (velocity, rest) = rest.split_at_mut(self.velocity_len);
        let (anchor, rest) = rest.split_at_mut(self.anchor_len);
        let (lanes, activations) = rest.split_at_mut(self.lanes_len);
        Parts {
            gradients,
            velocity,
            anchor,
            lanes,
            activations,
        }
    }
}

/// The workspace, cut up.
pub(crate) struct Parts<'a, V> {
    pub(crate) gradients: &'a mut [V],
    pub(crate) velocity: &'a mut [V],
    pub(crate) anchor: &'a mut [V],
    pub(crate) lanes: &'a mut [V],
    pub(crate) activations: &'a mut [V],
}
