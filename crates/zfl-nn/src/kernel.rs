//! The inner loops over one weight matrix.
//!
//! All work on a weight matrix `[inputs][outputs]`, row by row. Each loop runs
//! over a tile of outputs whose sums stay in registers, and inside it over the
//! inputs in ascending order: the sum of every output is taken in that one
//! order whatever the tile. Inputs that are 0 are passed over.

use crate::arithmetic::Noise;
use crate::{ValueTable, Weight};

/// Bytes tested for zero at once.
const GROUP: usize = size_of::<usize>();

/// The inputs of a layer: what is multiplied with the rows of its weights.
pub(crate) trait Inputs<W: Weight>: Copy {
    /// Calls `visit` with each non-zero input and its row, from `column` on.
    ///
    /// `rows` holds as many rows of `stride` as there are inputs.
    fn rows<R, const T: usize>(
        self,
        rows: &[R],
        stride: usize,
        column: usize,
        visit: impl FnMut(W::Factor, &[R; T]),
    );

    /// As [`Inputs::rows`], to change the rows.
    fn rows_mut<R, const T: usize>(
        self,
        rows: &mut [R],
        stride: usize,
        column: usize,
        visit: impl FnMut(W::Factor, &mut [R; T]),
    );
}

/// Inputs that a part can be taken of.
pub(crate) trait Pixels<W: Weight>: Inputs<W> {
    fn part(self, start: usize, len: usize) -> Self;
    fn value(self, index: usize) -> W::Value;
}

/// Inputs of the first layer: bytes through a table.
pub(crate) struct Bytes<'a, W: Weight> {
    pub(crate) values: &'a [u8],
    pub(crate) table: &'a ValueTable<W>,
}

impl<W: Weight> Clone for Bytes<'_, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W: Weight> Copy for Bytes<'_, W> {}

/// Inputs of later layers: the activations before.
pub(crate) struct Values<'a, W: Weight>(pub(crate) &'a [W::Value]);

impl<W: Weight> Clone for Values<'_, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W: Weight> Copy for Values<'_, W> {}

/// Inputs of the first layer as a list of those that are not 0.
pub(crate) struct Sparse<'a, W: Weight> {
    pub(crate) indices: &'a [u16],
    pub(crate) values: &'a [u8],
    pub(crate) table: &'a ValueTable<W>,
}

impl<W: Weight> Clone for Sparse<'_, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W: Weight> Copy for Sparse<'_, W> {}

#[inline(always)]
fn is_zero(group: &[u8]) -> bool {
    // A whole word is read at once; thumbv7-m and x86 allow it unaligned.
    let mut word = [0; GROUP];
    word.copy_from_slice(group);
    usize::from_ne_bytes(word) == 0
}

impl<W: Weight> Inputs<W> for Bytes<'_, W> {
    #[inline(always)]
    fn rows<R, const T: usize>(
        self,
        rows: &[R],
        stride: usize,
        column: usize,
        mut visit: impl FnMut(W::Factor, &[R; T]),
    ) {
        let whole = self.values.len() / GROUP * GROUP;
        let (head, tail) = self.values.split_at(whole);
        let (head_rows, tail_rows) = rows.split_at(whole * stride);
        for (group, block) in head
            .chunks_exact(GROUP)
            .zip(head_rows.chunks_exact(GROUP * stride))
        {
            if is_zero(group) {
                continue;
            }
            for (byte, row) in group.iter().zip(block.chunks_exact(stride)) {
                if *byte != 0
                    && let Some(row) = first(row, column)
                {
                    visit(W::factor(self.table.value(*byte)), row);
                }
            }
        }
        for (byte, row) in tail.iter().zip(tail_rows.chunks_exact(stride)) {
            if *byte != 0
                && let Some(row) = first(row, column)
            {
                visit(W::factor(self.table.value(*byte)), row);
            }
        }
    }

    #[inline(always)]
    fn rows_mut<R, const T: usize>(
        self,
        rows: &mut [R],
        stride: usize,
        column: usize,
        mut visit: impl FnMut(W::Factor, &mut [R; T]),
    ) {
        let whole = self.values.len() / GROUP * GROUP;
        let (head, tail) = self.values.split_at(whole);
        let (head_rows, tail_rows) = rows.split_at_mut(whole * stride);
        for (group, block) in head
            .chunks_exact(GROUP)
            .zip(head_rows.chunks_exact_mut(GROUP * stride))
        {
            if is_zero(group) {
                continue;
            }
            for (byte, row) in group.iter().zip(block.chunks_exact_mut(stride)) {
                if *byte != 0
                    && let Some(row) = first_mut(row, column)
                {
                    visit(W::factor(self.table.value(*byte)), row);
                }
            }
        }
        for (byte, row) in tail.iter().zip(tail_rows.chunks_exact_mut(stride)) {
            if *byte != 0
                && let Some(row) = first_mut(row, column)
            {
                visit(W::factor(self.table.value(*byte)), row);
            }
        }
    }
}

impl<W: Weight> Pixels<W> for Bytes<'_, W> {
    #[inline(always)]
    fn part(self, start: usize, len: usize) -> Self {
        Self {
            values: &self.values[start..][..len],
            table: self.table,
        }
    }

    #[inline(always)]
    fn value(self, index: usize) -> W::Value {
        self.table.value(self.values[index])
    }
}

impl<W: Weight> Inputs<W> for Values<'_, W> {
    #[inline(always)]
    fn rows<R, const T: usize>(
        self,
        rows: &[R],
        stride: usize,
        column: usize,
        mut visit: impl FnMut(W::Factor, &[R; T]),
    ) {
        for (value, row) in self.0.iter().zip(rows.chunks_exact(stride)) {
            if *value != W::ZERO
                && let Some(row) = first(row, column)
            {
                visit(W::factor(*value), row);
            }
        }
    }

    #[inline(always)]
    fn rows_mut<R, const T: usize>(
        self,
        rows: &mut [R],
        stride: usize,
        column: usize,
        mut visit: impl FnMut(W::Factor, &mut [R; T]),
    ) {
        for (value, row) in self.0.iter().zip(rows.chunks_exact_mut(stride)) {
            if *value != W::ZERO
                && let Some(row) = first_mut(row, column)
            {
                visit(W::factor(*value), row);
            }
        }
    }
}

impl<W: Weight> Pixels<W> for Values<'_, W> {
    #[inline(always)]
    fn part(self, start: usize, len: usize) -> Self {
        Self(&self.0[start..][..len])
    }

    #[inline(always)]
    fn value(self, index: usize) -> W::Value {
        self.0[index]
    }
}

impl<W: Weight> Inputs<W> for Sparse<'_, W> {
    #[inline(always)]
    fn rows<R, const T: usize>(
        self,
        rows: &[R],
        stride: usize,
        column: usize,
        mut visit: impl FnMut(W::Factor, &[R; T]),
    ) {
        for (index, byte) in self.indices.iter().zip(self.values) {
            if let Some(row) = first(rows, usize::from(*index) * stride + column) {
                visit(W::factor(self.table.value(*byte)), row);
            }
        }
    }

    #[inline(always)]
    fn rows_mut<R, const T: usize>(
        self,
        rows: &mut [R],
        stride: usize,
        column: usize,
        mut visit: impl FnMut(W::Factor, &mut [R; T]),
    ) {
        for (index, byte) in self.indices.iter().zip(self.values) {
            if let Some(row) = first_mut(rows, usize::from(*index) * stride + column) {
                visit(W::factor(self.table.value(*byte)), row);
            }
        }
    }
}

/// Work on one tile of outputs, `[column, column + T)`.
pub(crate) trait Tile {
    fn run<const T: usize>(&mut self, column: usize);
}

/// Cuts `width` outputs into tiles.
#[inline(always)]
pub(crate) fn tiles<W: Weight>(width: usize, tile: &mut impl Tile) {
    let mut column = 0;
    if W::TILE >= 64 {
        while width - column >= 64 {
            tile.run::<64>(column);
            column += 64;
        }
        if width - column >= 32 {
            tile.run::<32>(column);
            column += 32;
        }
    }
    if W::TILE >= 16 {
        while width - column >= 16 {
            tile.run::<16>(column);
            column += 16;
        }
        if width - column >= 8 {
            tile.run::<8>(column);
            column += 8;
        }
    }
    while width - column >= 4 {
        tile.run::<4>(column);
        column += 4;
    }
    if width - column >= 2 {
        tile.run::<2>(column);
        column += 2;
    }
    if width - column >= 1 {
        tile.run::<1>(column);
    }
}

/// `sums[j] = bias[j] + Σᵢ inputs[i] × weights[i][j]`, where the inputs come
/// in parts, each with its rows of the weights.
#[inline(always)]
pub(crate) fn weighted_sums<W: Weight, I: Inputs<W>>(
    parts: impl Iterator<Item = (I, usize)> + Clone,
    weights: &[W],
    bias: &[W],
    sums: &mut [W::Value],
) {
    struct Forward<'a, W: Weight, P> {
        parts: P,
        weights: &'a [W],
        bias: &'a [W],
        sums: &'a mut [W::Value],
    }
    impl<W: Weight, I: Inputs<W>, P: Iterator<Item = (I, usize)> + Clone> Tile for Forward<'_, W, P> {
        #[inline(always)]
        fn run<const T: usize>(&mut self, column: usize) {
            let stride = self.bias.len();
            let Some(bias) = first::<T, _>(self.bias, column) else {
                return;
            };
            let mut totals = bias.map(W::begin);
            for (inputs, row) in self.parts.clone() {
                let weights = self.weights.get(row * stride..).unwrap_or_default();
                inputs.rows::<_, T>(weights, stride, column, |factor, row| {
                    for (total, weight) in totals.iter_mut().zip(row) {
                        *total = W::accumulate(*total, factor, *weight);
                    }
                });
            }
            if let Some(sums) = first_mut::<T, _>(self.sums, column) {
                *sums = totals.map(W::end);
            }
        }
    }
    let width = sums.len();
    tiles::<W>(
        width,
        &mut Forward {
            parts,
            weights,
            bias,
            sums,
        },
    );
}

/// `gradient[i][j] += inputs[i] × signal[j]`.
#[inline(always)]
pub(crate) fn add_products<W: Weight>(
    inputs: impl Inputs<W>,
    signal: &[W::Value],
    gradient: &mut [W::Value],
) {
    struct Update<'a, W: Weight, I> {
        inputs: I,
        signal: &'a [W::Value],
        gradient: &'a mut [W::Value],
    }
    impl<W: Weight, I: Inputs<W>> Tile for Update<'_, W, I> {
        #[inline(always)]
        fn run<const T: usize>(&mut self, column: usize) {
            let stride = self.signal.len();
            let Some(signal) = first::<T, _>(self.signal, column).copied() else {
                return;
            };
            self.inputs
                .rows_mut::<_, T>(self.gradient, stride, column, |factor, row| {
                    for (slope, signal) in row.iter_mut().zip(&signal) {
                        *slope = W::add_product(*slope, factor, *signal);
                    }
                });
        }
    }
    tiles::<W>(
        signal.len(),
        &mut Update::<W, _> {
            inputs,
            signal,
            gradient,
        },
    );
}

/// `weights[i][j] -= inputs[i] × step_signal[j]`.
#[inline(always)]
pub(crate) fn subtract_products<W: Weight>(
    inputs: impl Inputs<W>,
    step_signal: &[W::Value],
    weights: &mut [W],
    noise: &mut Noise,
) {
    struct Update<'a, W: Weight, I> {
        inputs: I,
        signal: &'a [W::Value],
        weights: &'a mut [W],
        noise: &'a mut Noise,
    }
    impl<W: Weight, I: Inputs<W>> Tile for Update<'_, W, I> {
        #[inline(always)]
        fn run<const T: usize>(&mut self, column: usize) {
            let stride = self.signal.len();
            let Some(signal) = first::<T, _>(self.signal, column).copied() else {
                return;
            };
            let noise = &mut *self.noise;
            self.inputs
                .rows_mut::<_, T>(self.weights, stride, column, |factor, row| {
                    for (weight, signal) in row.iter_mut().zip(&signal) {
                        *weight = weight.subtract_product(factor, *signal, noise);
                    }
                });
        }
    }
    tiles::<W>(
        step_signal.len(),
        &mut Update {
            inputs,
            signal: step_signal,
            weights,
            noise,
        },
    );
}

/// `row[j] -= Σₛ input[s] × signals[s][j]`, one after another, of the samples s
/// in `active`.
#[inline(always)]
pub(crate) fn subtract_rows<W: Weight>(
    active: &[(W::Value, usize)],
    signals: &[W::Value],
    row: &mut [W],
) {
    struct Update<'a, W: Weight> {
        active: &'a [(W::Value, usize)],
        signals: &'a [W::Value],
        row: &'a mut [W],
    }
    impl<W: Weight> Tile for Update<'_, W> {
        #[inline(always)]
        fn run<const T: usize>(&mut self, column: usize) {
            let width = self.row.len();
            let Some(row) = first_mut::<T, _>(self.row, column) else {
                return;
            };
            let mut weights = *row;
            let mut noise = Noise::NEAREST;
            for (value, sample) in self.active {
                let factor = W::factor(*value);
                if let Some(signal) = first::<T, _>(self.signals, sample * width + column) {
                    for (weight, signal) in weights.iter_mut().zip(signal) {
                        *weight = weight.subtract_product(factor, *signal, &mut noise);
                    }
                }
            }
            *row = weights;
        }
    }
    tiles::<W>(
        row.len(),
        &mut Update {
            active,
            signals,
            row,
        },
    );
}

/// `total + Σⱼ row[j] × signal[j]`, in ascending order of j.
#[inline(always)]
pub(crate) fn dot<W: Weight>(total: W::Sum, row: &[W], signal: &[W::Value]) -> W::Sum {
    let mut total = total;
    for (weight, signal) in row.iter().zip(signal) {
        total = W::accumulate(total, W::factor(*signal), *weight);
    }
    total
}

#[inline(always)]
fn first<const T: usize, R>(values: &[R], column: usize) -> Option<&[R; T]> {
    values.get(column..)?.first_chunk()
}

#[inline(always)]
fn first_mut<const T: usize, R>(values: &mut [R], column: usize) -> Option<&mut [R; T]> {
    values.get_mut(column..)?.first_chunk_mut()
}
