//! The inner loops over one weight matrix.
//!
//! All work on a weight matrix `[inputs][outputs]`, row by row. Each loop runs
//! over a tile of outputs whose sums stay in registers, and inside it over the
//! inputs in ascending order: the sum of every output is taken in that one
//! order whatever the tile. Inputs that are 0 are passed over.

use crate::arithmetic::Noise;
use crate::sparse::Entry;
use crate::{ValueTable, Weight};

/// Bytes tested for zero at once.
const GROUP: usize = size_of::<usize>();

/// Outputs of a layer whose rows are passed over whole, with fewer instructions
/// a row: a tile of processors with an FPU.
const WHOLE_ROW: usize = 16;

/// Whether activations of 0 are multiplied like others: where many are
/// multiplied at once, a branch that cannot be foreseen costs more.
const VISITS_ZEROS: bool = cfg!(feature = "std");

/// The inputs of a layer: what is multiplied with the rows of its weights.
pub(crate) trait Inputs<W: Weight>: Copy {
    /// Calls `visit` with each input and its row, from `column` on. Inputs that
    /// are 0 may be passed over.
    ///
    /// `rows` holds as many rows of `stride` as there are inputs.
    fn rows<R, const T: usize>(
        self,
        rows: &[R],
        stride: usize,
        column: usize,
        visit: impl FnMut(W::Value, &[R; T]),
    );

    /// As [`Inputs::rows`], to change the rows. `SKIP`: those of zero inputs
    /// must not be visited, otherwise they may.
    fn rows_mut<R, const T: usize, const SKIP: bool>(
        self,
        rows: &mut [R],
        stride: usize,
        column: usize,
        visit: impl FnMut(W::Value, &mut [R; T]),
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
    pub(crate) entries: &'a [Entry],
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
        mut visit: impl FnMut(W::Value, &[R; T]),
    ) {
        if T == WHOLE_ROW && stride == T {
            let (groups, last) = self.values.as_chunks::<GROUP>();
            let (rows, _) = rows.as_chunks::<T>();
            let (blocks, last_rows) = rows.as_chunks::<GROUP>();
            for (group, block) in groups.iter().zip(blocks) {
                if is_zero(group) {
                    continue;
                }
                for (byte, row) in group.iter().zip(block) {
                    if *byte != 0 {
                        visit(self.table.value(*byte), row);
                    }
                }
            }
            for (byte, row) in last.iter().zip(last_rows) {
                if *byte != 0 {
                    visit(self.table.value(*byte), row);
                }
            }
            return;
        }
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
                    visit(self.table.value(*byte), row);
                }
            }
        }
        for (byte, row) in tail.iter().zip(tail_rows.chunks_exact(stride)) {
            if *byte != 0
                && let Some(row) = first(row, column)
            {
                visit(self.table.value(*byte), row);
            }
        }
    }

    #[inline(always)]
    fn rows_mut<R, const T: usize, const SKIP: bool>(
        self,
        rows: &mut [R],
        stride: usize,
        column: usize,
        mut visit: impl FnMut(W::Value, &mut [R; T]),
    ) {
        if T == WHOLE_ROW && stride == T {
            let (groups, last) = self.values.as_chunks::<GROUP>();
            let (rows, _) = rows.as_chunks_mut::<T>();
            let (blocks, last_rows) = rows.as_chunks_mut::<GROUP>();
            for (group, block) in groups.iter().zip(blocks) {
                if is_zero(group) {
                    continue;
                }
                for (byte, row) in group.iter().zip(block) {
                    if *byte != 0 {
                        visit(self.table.value(*byte), row);
                    }
                }
            }
            for (byte, row) in last.iter().zip(last_rows) {
                if *byte != 0 {
                    visit(self.table.value(*byte), row);
                }
            }
            return;
        }
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
                    visit(self.table.value(*byte), row);
                }
            }
        }
        for (byte, row) in tail.iter().zip(tail_rows.chunks_exact_mut(stride)) {
            if *byte != 0
                && let Some(row) = first_mut(row, column)
            {
                visit(self.table.value(*byte), row);
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
        mut visit: impl FnMut(W::Value, &[R; T]),
    ) {
        for (value, row) in self.0.iter().zip(rows.chunks_exact(stride)) {
            if (VISITS_ZEROS || !W::is_zero(*value))
                && let Some(row) = first(row, column)
            {
                visit(*value, row);
            }
        }
    }

    #[inline(always)]
    fn rows_mut<R, const T: usize, const SKIP: bool>(
        self,
        rows: &mut [R],
        stride: usize,
        column: usize,
        mut visit: impl FnMut(W::Value, &mut [R; T]),
    ) {
        for (value, row) in self.0.iter().zip(rows.chunks_exact_mut(stride)) {
            if ((VISITS_ZEROS && !SKIP) || !W::is_zero(*value))
                && let Some(row) = first_mut(row, column)
            {
                visit(*value, row);
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
        mut visit: impl FnMut(W::Value, &[R; T]),
    ) {
        for entry in self.entries {
            let Some(row) = first(rows, entry.index() * stride + column) else {
                return;
            };
            visit(self.table.value(entry.byte()), row);
        }
    }

    #[inline(always)]
    fn rows_mut<R, const T: usize, const SKIP: bool>(
        self,
        rows: &mut [R],
        stride: usize,
        column: usize,
        mut visit: impl FnMut(W::Value, &mut [R; T]),
    ) {
        if stride == T {
            // One tile is a whole row.
            let (rows, _) = rows.as_chunks_mut::<T>();
            for entry in self.entries {
                let Some(row) = rows.get_mut(entry.index()) else {
                    return;
                };
                visit(self.table.value(entry.byte()), row);
            }
            return;
        }
        for entry in self.entries {
            let Some(row) = first_mut(rows, entry.index() * stride + column) else {
                return;
            };
            visit(self.table.value(entry.byte()), row);
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
    // Sizes that nobody asks for are not compiled: each is a copy of every loop.
    let mut column = 0;
    if W::TILE >= 64 {
        while width - column >= 64 {
            tile.run::<64>(column);
            column += 64;
        }
    }
    // Ten classes are common.
    if W::TILE >= 64 && width - column == 10 {
        return tile.run::<10>(column);
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
    if W::TILE <= 16 {
        while width - column >= 4 {
            tile.run::<4>(column);
            column += 4;
        }
        if width - column >= 2 {
            tile.run::<2>(column);
            column += 2;
        }
    }
    while width - column >= 1 {
        tile.run::<1>(column);
        column += 1;
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
            let mut totals = W::begin(bias);
            for (inputs, row) in self.parts.clone() {
                let weights = self.weights.get(row * stride..).unwrap_or_default();
                inputs.rows::<_, T>(weights, stride, column, |value, row| {
                    W::add_row(&mut totals, value, row);
                });
            }
            if let Some(sums) = first_mut::<T, _>(self.sums, column) {
                *sums = W::end_all(&totals);
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

/// Samples whose sums over the first layer are taken side by side, so that the
/// processor need not wait for one addition after another.
pub(crate) const GROUP_SAMPLES: usize = 4;
/// Outputs of a layer for which that is done.
pub(crate) const GROUP_WIDTH: usize = 16;

/// As [`weighted_sums`] for several samples, where the layer has [`GROUP_WIDTH`]
/// outputs. It is fast where they have about as many inputs each.
#[inline(always)]
pub(crate) fn weighted_sums_grouped<W: Weight>(
    [a, b, c, d]: [Sparse<'_, W>; GROUP_SAMPLES],
    weights: &[W],
    bias: &[W],
) -> [[W::Value; GROUP_WIDTH]; GROUP_SAMPLES] {
    let Some(bias) = bias.first_chunk::<GROUP_WIDTH>() else {
        return [[W::ZERO; GROUP_WIDTH]; GROUP_SAMPLES];
    };
    let (rows, _) = weights.as_chunks::<GROUP_WIDTH>();
    // Four times the same: an array of sums would not stay in registers.
    let (mut sums_a, mut sums_b) = (W::begin(bias), W::begin(bias));
    let (mut sums_c, mut sums_d) = (W::begin(bias), W::begin(bias));
    let table = a.table;
    let lists = [a.entries, b.entries, c.entries, d.entries];
    let shared = lists.map(<[Entry]>::len).into_iter().min().unwrap_or(0);
    let [a, b, c, d] = lists.map(|list| list.split_at(shared));
    let ((head_a, tail_a), (head_b, tail_b)) = (a, b);
    let ((head_c, tail_c), (head_d, tail_d)) = (c, d);
    let heads = head_a.iter().zip(head_b);
    for ((in_a, in_b), (in_c, in_d)) in heads.zip(head_c.iter().zip(head_d)) {
        // Out of the loop where a row is not there: it never happens, and
        // leaves the loop without turns.
        let Some(()) = add_one(rows, table, &mut sums_a, *in_a) else {
            break;
        };
        let Some(()) = add_one(rows, table, &mut sums_b, *in_b) else {
            break;
        };
        let Some(()) = add_one(rows, table, &mut sums_c, *in_c) else {
            break;
        };
        let Some(()) = add_one(rows, table, &mut sums_d, *in_d) else {
            break;
        };
    }
    add_all(rows, table, &mut sums_a, tail_a);
    add_all(rows, table, &mut sums_b, tail_b);
    add_all(rows, table, &mut sums_c, tail_c);
    add_all(rows, table, &mut sums_d, tail_d);
    [
        W::end_all(&sums_a),
        W::end_all(&sums_b),
        W::end_all(&sums_c),
        W::end_all(&sums_d),
    ]
}

/// Adds one input's row to sums, if it is there.
#[inline(always)]
fn add_one<W: Weight>(
    rows: &[[W; GROUP_WIDTH]],
    table: &ValueTable<W>,
    sums: &mut W::Sums<GROUP_WIDTH>,
    entry: Entry,
) -> Option<()> {
    W::add_row(sums, table.value(entry.byte()), rows.get(entry.index())?);
    Some(())
}

#[inline(always)]
fn add_all<W: Weight>(
    rows: &[[W; GROUP_WIDTH]],
    table: &ValueTable<W>,
    sums: &mut W::Sums<GROUP_WIDTH>,
    inputs: &[Entry],
) {
    for input in inputs {
        if add_one(rows, table, sums, *input).is_none() {
            return;
        }
    }
}

/// The inputs that are not 0, found beforehand.
pub(crate) struct Listed<'a, W: Weight> {
    pub(crate) indices: &'a [u16],
    pub(crate) values: &'a [W::Value],
}

impl<W: Weight> Clone for Listed<'_, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W: Weight> Copy for Listed<'_, W> {}

impl<W: Weight> Inputs<W> for Listed<'_, W> {
    #[inline(always)]
    fn rows<R, const T: usize>(
        self,
        rows: &[R],
        stride: usize,
        column: usize,
        mut visit: impl FnMut(W::Value, &[R; T]),
    ) {
        for index in self.indices {
            let index = usize::from(*index);
            if let (Some(value), Some(row)) =
                (self.values.get(index), first(rows, index * stride + column))
            {
                visit(*value, row);
            }
        }
    }

    #[inline(always)]
    fn rows_mut<R, const T: usize, const SKIP: bool>(
        self,
        rows: &mut [R],
        stride: usize,
        column: usize,
        mut visit: impl FnMut(W::Value, &mut [R; T]),
    ) {
        for index in self.indices {
            let index = usize::from(*index);
            if let (Some(value), Some(row)) = (
                self.values.get(index),
                first_mut(rows, index * stride + column),
            ) {
                visit(*value, row);
            }
        }
    }
}

/// Writes the indices of what is not 0 into `indices`, without branches.
#[inline(always)]
pub(crate) fn list_non_zero<'l, W: Weight>(
    values: &[W::Value],
    indices: &'l mut [u16],
) -> &'l [u16] {
    let mut count = 0;
    for (index, value) in (0..=u16::MAX).zip(values) {
        if let Some(slot) = indices.get_mut(count) {
            *slot = index;
        }
        count += usize::from(!W::is_zero(*value));
    }
    indices.get(..count).unwrap_or_default()
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
            let Some(signal) = first::<T, _>(self.signal, column).map(W::signals) else {
                return;
            };
            self.inputs
                .rows_mut::<_, T, false>(self.gradient, stride, column, |value, row| {
                    W::add_signals(&signal, value, row);
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
            let Some(signal) = first::<T, _>(self.signal, column).map(W::signals) else {
                return;
            };
            let noise = &mut *self.noise;
            self.inputs
                .rows_mut::<_, T, true>(self.weights, stride, column, |value, row| {
                    W::subtract_signals(&signal, value, row, noise);
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
/// in `active`: their inputs and where their signals begin.
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
            let Some(row) = first_mut::<T, _>(self.row, column) else {
                return;
            };
            let mut weights = *row;
            let mut noise = Noise::NEAREST;
            for (value, from) in self.active {
                let Some(signal) = first::<T, _>(self.signals, from + column) else {
                    break;
                };
                W::subtract_signals(&W::signals(signal), *value, &mut weights, &mut noise);
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
        total = W::accumulate(total, *signal, *weight);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts how often each output is in a tile.
    struct Count(Vec<u32>);

    impl Tile for Count {
        fn run<const T: usize>(&mut self, column: usize) {
            for count in &mut self.0[column..][..T] {
                *count += 1;
            }
        }
    }

    #[test]
    fn tiles_cover_every_output_once() {
        for width in 0..300 {
            let (mut float, mut fixed) = (Count(vec![0; width]), Count(vec![0; width]));
            tiles::<f32>(width, &mut float);
            tiles::<i16>(width, &mut fixed);
            assert_eq!(float.0, vec![1; width]);
            assert_eq!(fixed.0, vec![1; width]);
        }
    }

    /// Every kind of input visits the same rows with the same factors.
    #[test]
    fn every_form_of_the_inputs_visits_the_same_rows() {
        let table = ValueTable::<f32>::new(0.5);
        for len in 0..40usize {
            let bytes: Vec<u8> = (0..=u8::MAX)
                .take(len)
                .map(|index| {
                    if index % 5 < 2 || index > 20 {
                        0
                    } else {
                        index
                    }
                })
                .collect();
            let values: Vec<f32> = bytes.iter().map(|byte| table.value(*byte)).collect();
            let entries: Vec<Entry> = (0..)
                .zip(&bytes)
                .filter(|(_, byte)| **byte != 0)
                .map(|(index, byte)| Entry::new(index, *byte))
                .collect();
            let rows: Vec<usize> = (0..len * 3).collect();
            let dense = Bytes {
                values: &bytes,
                table: &table,
            };
            let sparse = Sparse {
                entries: &entries,
                table: &table,
            };
            let expected: Vec<(f32, [usize; 2])> = values
                .iter()
                .enumerate()
                .filter(|(_, value)| **value != 0.0)
                .map(|(index, value)| (*value, [index * 3 + 1, index * 3 + 2]))
                .collect();
            assert_eq!(visited(dense, &rows), expected);
            assert_eq!(visited(Values(&values), &rows), expected);
            assert_eq!(visited(sparse, &rows), expected);
        }
    }

    /// What is visited of the columns 1 and 2 of rows of 3, to read and to
    /// change.
    fn visited(inputs: impl Inputs<f32>, rows: &[usize]) -> Vec<(f32, [usize; 2])> {
        let mut read = Vec::new();
        inputs.rows::<_, 2>(rows, 3, 1, |factor, row| read.push((factor, *row)));
        let mut changed = Vec::new();
        inputs.rows_mut::<_, 2, true>(&mut rows.to_vec(), 3, 1, |factor, row| {
            changed.push((factor, *row));
        });
        // Zeros may be visited where nothing is changed.
        read.retain(|(factor, _)| *factor != 0.0);
        assert_eq!(read, changed);
        read
    }

    /// Row by row or sample by sample: each weight sees the samples in order.
    #[test]
    fn steps_of_a_block_are_those_of_its_samples() {
        for width in [1, 2, 7, 32, 101] {
            let mut next = 1u16;
            let mut random = || {
                next = next.wrapping_mul(25_173).wrapping_add(13_849);
                f32::from(next >> 4) / 4096.0 - 0.5
            };
            let (inputs, samples) = (5, 3);
            let weights: Vec<f32> = (0..inputs * width).map(|_| random()).collect();
            let signals: Vec<f32> = (0..samples * width).map(|_| random()).collect();
            let values: Vec<f32> = (0..samples * inputs).map(|_| random().max(0.0)).collect();
            let mut expected = weights.clone();
            for sample in 0..samples {
                let inputs = Values::<f32>(&values[sample * inputs..][..inputs]);
                let signal = &signals[sample * width..][..width];
                subtract_products(inputs, signal, &mut expected, &mut { Noise::NEAREST });
            }
            let mut found = weights.clone();
            for (index, row) in found.chunks_mut(width).enumerate() {
                let active: Vec<(f32, usize)> = (0..samples)
                    .map(|sample| (values[sample * inputs + index], sample * width))
                    .filter(|(value, _)| *value != 0.0)
                    .collect();
                subtract_rows(&active, &signals, row);
            }
            assert_ne!(found, weights);
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&found), bits(&expected), "width {width}");
        }
    }
}
