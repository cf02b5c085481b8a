//! A training in whichever arithmetic the task asks for.

use bytemuck::Pod;
use zfl_nn::{
    Draw, Evaluation, Format, InputError, Memory, NonZero, Progress, Task, Training, ValueTable,
    Weight,
};

use crate::arena::Regions;

/// A training and what the bytes of its samples stand for.
pub(crate) struct In<W: Weight> {
    training: Training<W>,
    table: ValueTable<W>,
}

impl<W: Weight<Value: Pod> + Pod> In<W> {
    fn new(
        task: &Task,
        sample_count: usize,
        block: usize,
        draw: Draw,
        value_scale: f32,
    ) -> Result<Self, InputError> {
        Ok(Self {
            training: Training::new(task.model, task.hyperparameters, sample_count, block, draw)?,
            table: ValueTable::new(value_scale),
        })
    }

    fn advance(
        &mut self,
        regions: Regions<'_>,
        non_zero: Option<NonZero<'_>>,
        units: usize,
    ) -> Result<Progress, InputError> {
        let mut memory = Memory {
            parameters: cast(regions.parameters)?,
            workspace: cast(regions.workspace)?,
            order: regions.order,
            samples: regions.samples,
            targets: regions.targets,
            table: &self.table,
            non_zero,
        };
        self.training.advance(&mut memory, units)
    }
}

/// Bytes of the arena as numbers; regions are aligned for all of them.
fn cast<T: Pod>(bytes: &mut [u8]) -> Result<&mut [T], InputError> {
    let len = bytes.len();
    bytemuck::try_cast_slice_mut(bytes).map_err(|_| InputError::Length {
        what: "arena",
        len,
        needed: len.next_multiple_of(size_of::<T>()),
    })
}

/// A training in whichever arithmetic the task asks for.
pub(crate) enum Trainer {
    F32(In<f32>),
    Fixed32(In<i32>),
    Fixed16(In<i16>),
    Fixed8(In<i8>),
}

impl From<In<f32>> for Trainer {
    fn from(training: In<f32>) -> Self {
        Self::F32(training)
    }
}

impl From<In<i32>> for Trainer {
    fn from(training: In<i32>) -> Self {
        Self::Fixed32(training)
    }
}

impl From<In<i16>> for Trainer {
    fn from(training: In<i16>) -> Self {
        Self::Fixed16(training)
    }
}

impl From<In<i8>> for Trainer {
    fn from(training: In<i8>) -> Self {
        Self::Fixed8(training)
    }
}

impl Trainer {
    /// Puts a new training into `slot`.
    ///
    /// In place, and each format by itself: a device's stack then holds one
    /// training while it is built, and not a copy for each step on its way.
    pub(crate) fn start(
        slot: &mut Option<Self>,
        task: &Task,
        sample_count: usize,
        block: usize,
        draw: Draw,
        value_scale: f32,
    ) -> Result<(), InputError> {
        let start = match task.format {
            Format::F32 => Self::start_as::<f32>,
            Format::Fixed32 => Self::start_as::<i32>,
            Format::Fixed16 => Self::start_as::<i16>,
            Format::Fixed8 => Self::start_as::<i8>,
        };
        start(slot, task, sample_count, block, draw, value_scale)
    }

    #[inline(never)]
    fn start_as<W: Weight<Value: Pod> + Pod>(
        slot: &mut Option<Self>,
        task: &Task,
        sample_count: usize,
        block: usize,
        draw: Draw,
        value_scale: f32,
    ) -> Result<(), InputError>
    where
        In<W>: Into<Self>,
    {
        let built = In::<W>::new(task, sample_count, block, draw, value_scale)?;
        *slot = Some(built.into());
        Ok(())
    }

    /// See [`Training::advance`].
    pub(crate) fn advance(
        &mut self,
        regions: Regions<'_>,
        non_zero: Option<NonZero<'_>>,
        units: usize,
    ) -> Result<Progress, InputError> {
        match self {
            Self::F32(training) => training.advance(regions, non_zero, units),
            Self::Fixed32(training) => training.advance(regions, non_zero, units),
            Self::Fixed16(training) => training.advance(regions, non_zero, units),
            Self::Fixed8(training) => training.advance(regions, non_zero, units),
        }
    }

    /// Whether it is of this model in this arithmetic.
    pub(crate) fn suits(&self, task: &Task) -> bool {
        let (format, model) = match self {
            Self::F32(of_f32) => (Format::F32, of_f32.training.model()),
            Self::Fixed32(fixed) => (Format::Fixed32, fixed.training.model()),
            Self::Fixed16(fixed) => (Format::Fixed16, fixed.training.model()),
            Self::Fixed8(fixed) => (Format::Fixed8, fixed.training.model()),
        };
        format == task.format && *model == task.model
    }

    /// How the first and the last epoch met the samples.
    pub(crate) fn epochs(&self) -> (&Evaluation, &Evaluation) {
        fn of<W: Weight>(training: &Training<W>) -> (&Evaluation, &Evaluation) {
            (training.first_epoch(), training.last_epoch())
        }
        match self {
            Self::F32(of_f32) => of(&of_f32.training),
            Self::Fixed32(fixed) => of(&fixed.training),
            Self::Fixed16(fixed) => of(&fixed.training),
            Self::Fixed8(fixed) => of(&fixed.training),
        }
    }
}
