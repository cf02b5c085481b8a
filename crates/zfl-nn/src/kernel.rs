//! The inner loops.
//!
//! All work on a weight matrix `[inputs][outputs]`, row by row. Each loop runs
//! over a tile of up to 16 outputs whose accumulators stay in registers, and
//! inside it over the inputs in ascending order: the sum of every output is
//! taken in that one order whatever the tile.

use crate::ValueTable;

/// Bytes tested for zero at once.
const GROUP: usize = size_of::<usize>();

/// The inputs of a layer: what is multiplied with the rows of its weights.
pub(crate) trait Inputs: Copy {
    /// Calls `visit` with each non-zero input and its row.
    ///
    /// `weights` holds as many rows of `stride` as there are inputs.
    fn rows(self, weights: &[f32], stride: usize, visit: impl FnMut(f32, &[f32]));

    /// As [`Inputs::rows`], to change the rows.
    fn rows_mut(self, weights: &mut [f32], stride: usize, visit: impl FnMut(f32, &mut [f32]));
}

/// Inputs of the first layer: bytes through a table.
#[derive(Clone, Copy)]
pub(crate) struct Bytes<'a> {
    pub(crate) values: &'a [u8],
    pub(crate) table: &'a ValueTable,
}

/// Inputs of later layers: the activations before.
#[derive(Clone, Copy)]
pub(crate) struct Floats<'a>(pub(crate) &'a [f32]);

#[inline(always)]
fn is_zero(group: &[u8]) -> bool {
    // A whole word is read at once; thumbv7-m and x86 allow it unaligned.
    let mut word = [0; GROUP];
    word.copy_from_slice(group);
    usize::from_ne_bytes(word) == 0
}

impl Inputs for Bytes<'_> {
    #[inline(always)]
    fn rows(self, weights: &[f32], stride: usize, mut visit: impl FnMut(f32, &[f32])) {
        let groups = self.values.chunks_exact(GROUP);
        let rest = groups.remainder();
        let blocks = weights.chunks_exact(GROUP * stride);
        let rest_rows = blocks.remainder();
        for (group, block) in groups.zip(blocks) {
            if is_zero(group) {
                continue;
            }
            for (byte, row) in group.iter().zip(block.chunks_exact(stride)) {
                if *byte != 0 {
                    visit(self.table.value(*byte), row);
                }
            }
        }
        for (byte, row) in rest.iter().zip(rest_rows.chunks_exact(stride)) {
            if *byte != 0 {
                visit(self.table.value(*byte), row);
            }
        }
    }

    #[inline(always)]
    fn rows_mut(self, weights: &mut [f32], stride: usize, mut visit: impl FnMut(f32, &mut [f32])) {
        let whole = self.values.len() / GROUP * GROUP;
        let (head, tail) = self.values.split_at(whole);
        let (head_rows, tail_rows) = weights.split_at_mut(whole * stride);
        for (group, block) in head
            .chunks_exact(GROUP)
            .zip(head_rows.chunks_exact_mut(GROUP * stride))
        {
            if is_zero(group) {
                continue;
            }
            for (byte, row) in group.iter().zip(block.chunks_exact_mut(stride)) {
                if *byte != 0 {
                    visit(self.table.value(*byte), row);
                }
            }
        }
        for (byte, row) in tail.iter().zip(tail_rows.chunks_exact_mut(stride)) {
            if *byte != 0 {
                visit(self.table.value(*byte), row);
            }
        }
    }
}

impl Inputs for Floats<'_> {
    #[inline(always)]
    fn rows(self, weights: &[f32], stride: usize, mut visit: impl FnMut(f32, &[f32])) {
        for (value, row) in self.0.iter().zip(weights.chunks_exact(stride)) {
            if *value != 0.0 {
                visit(*value, row);
            }
        }
    }

    #[inline(always)]
    fn rows_mut(self, weights: &mut [f32], stride: usize, mut visit: impl FnMut(f32, &mut [f32])) {
        for (value, row) in self.0.iter().zip(weights.chunks_exact_mut(stride)) {
            if *value != 0.0 {
                visit(*value, row);
            }
        }
    }
}

/// Work on one tile of outputs, `[column, column + T)`.
trait Tile {
    fn run<const T: usize>(&mut self, column: usize);
}

/// Cuts `width` outputs into tiles.
#[inline(always)]
fn tiles(width: usize, mut tile: impl Tile) {
    let mut column = 0;
    while width - column >= 16 {
        tile.run::<16>(column);
        column += 16;
    }
    if width - column >= 8 {
        tile.run::<8>(column);
        column += 8;
    }
    if width - column >= 4 {
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

/// `sums[j] = bias[j] + Σᵢ inputs[i] × weights[i][j]`.
#[inline(always)]
pub(crate) fn weighted_sums(inputs: impl Inputs, weights: &[f32], bias: &[f32], sums: &mut [f32]) {
    struct Forward<'a, I> {
        inputs: I,
        weights: &'a [f32],
        bias: &'a [f32],
        sums: &'a mut [f32],
    }
    impl<I: Inputs> Tile for Forward<'_, I> {
        #[inline(always)]
        fn run<const T: usize>(&mut self, column: usize) {
            let stride = self.bias.len();
            let Some(mut totals) = first::<T>(self.bias, column).copied() else {
                return;
            };
            self.inputs.rows(self.weights, stride, |value, row| {
                if let Some(row) = first::<T>(row, column) {
                    for (total, weight) in totals.iter_mut().zip(row) {
                        *total += value * weight;
                    }
                }
            });
            if let Some(sums) = first_mut::<T>(self.sums, column) {
                *sums = totals;
            }
        }
    }
    let width = sums.len();
    tiles(
        width,
        Forward {
            inputs,
            weights,
            bias,
            sums,
        },
    );
}

/// `matrix[i][j] += sign × inputs[i] × signal[j]`, the rank-one update that
/// both the gradient (sum) and the step (difference) consist of.
#[inline(always)]
pub(crate) fn rank_one<const SUBTRACT: bool>(
    inputs: impl Inputs,
    signal: &[f32],
    matrix: &mut [f32],
) {
    struct Update<'a, I, const SUBTRACT: bool> {
        inputs: I,
        signal: &'a [f32],
        matrix: &'a mut [f32],
    }
    impl<I: Inputs, const SUBTRACT: bool> Tile for Update<'_, I, SUBTRACT> {
        #[inline(always)]
        fn run<const T: usize>(&mut self, column: usize) {
            let stride = self.signal.len();
            let Some(signal) = first::<T>(self.signal, column).copied() else {
                return;
            };
            self.inputs.rows_mut(self.matrix, stride, |value, row| {
                if let Some(row) = first_mut::<T>(row, column) {
                    for (weight, signal) in row.iter_mut().zip(&signal) {
                        let product = value * signal;
                        *weight = if SUBTRACT {
                            *weight - product
                        } else {
                            *weight + product
                        };
                    }
                }
            });
        }
    }
    tiles(
        signal.len(),
        Update::<_, SUBTRACT> {
            inputs,
            signal,
            matrix,
        },
    );
}

/// `Σⱼ row[j] × signal[j]`, in ascending order of j.
#[inline(always)]
pub(crate) fn dot(row: &[f32], signal: &[f32]) -> f32 {
    let mut total = 0.0;
    for (weight, signal) in row.iter().zip(signal) {
        total += weight * signal;
    }
    total
}

#[inline(always)]
fn first<const T: usize>(values: &[f32], column: usize) -> Option<&[f32; T]> {
    values.get(column..)?.first_chunk()
}

#[inline(always)]
fn first_mut<const T: usize>(values: &mut [f32], column: usize) -> Option<&mut [f32; T]> {
    values.get_mut(column..)?.first_chunk_mut()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Small integers, so that sums in any order are exact and a plain loop
    /// can be the reference.
    fn matrix(inputs: usize, outputs: usize) -> Vec<f32> {
        (0..inputs * outputs)
            .map(|i| (i * 7 % 13) as f32 - 6.0)
            .collect()
    }

    proptest! {
        #[test]
        fn tiles_cover_every_output(
            values in prop::collection::vec(prop_oneof![3 => Just(0u8), 2 => 1u8..9], 1..40),
            outputs in 1usize..40,
        ) {
            let table = ValueTable::new(1.0);
            let weights = matrix(values.len(), outputs);
            let bias: Vec<f32> = (0..outputs).map(|j| j as f32).collect();
            let floats: Vec<f32> = values.iter().map(|v| f32::from(*v)).collect();
            let expected: Vec<f32> = (0..outputs)
                .map(|j| {
                    bias[j]
                        + (0..values.len())
                            .map(|i| floats[i] * weights[i * outputs + j])
                            .sum::<f32>()
                })
                .collect();
            let mut sums = vec![f32::NAN; outputs];
            let bytes = Bytes { values: &values, table: &table };
            weighted_sums(bytes, &weights, &bias, &mut sums);
            prop_assert_eq!(&sums, &expected);
            weighted_sums(Floats(&floats), &weights, &bias, &mut sums);
            prop_assert_eq!(&sums, &expected);

            let expected: Vec<f32> = (0..weights.len())
                .map(|k| weights[k] - floats[k / outputs] * bias[k % outputs])
                .collect();
            let mut updated = weights.clone();
            rank_one::<true>(bytes, &bias, &mut updated);
            prop_assert_eq!(&updated, &expected);
            rank_one::<false>(Floats(&floats), &bias, &mut updated);
            prop_assert_eq!(&updated, &weights);
        }
    }
}
