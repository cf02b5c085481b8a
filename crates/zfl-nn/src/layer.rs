//! What a layer does with one sample: forward, backward, gradient.

use crate::kernel::{
    GROUP_SAMPLES, GROUP_WIDTH, Inputs, Listed, Pixels, Sparse, Values, add_products, dot,
    list_non_zero, weighted_sums, weighted_sums_grouped,
};
use crate::model::{Activation, Kind, Placed};
use crate::{Weight, dispatch};

/// The settings of a convolution.
#[derive(Clone, Copy)]
struct Conv {
    kernel: usize,
    stride: usize,
    padding: usize,
}

/// The rows (or columns) of a kernel that lie inside the image: the first, the
/// end, and the first one's row in the image.
#[inline(always)]
fn inside(conv: Conv, position: usize, length: usize) -> (usize, usize, usize) {
    let start = position * conv.stride;
    let first = conv.padding.saturating_sub(start);
    let end = conv
        .kernel
        .min((length + conv.padding).saturating_sub(start));
    (
        first,
        end.max(first),
        (start + first).saturating_sub(conv.padding),
    )
}

/// The parts of an image under a kernel, each with its row of the weights.
#[inline(always)]
fn under<W: Weight, I: Pixels<W>>(
    layer: &Placed,
    conv: Conv,
    inputs: I,
    y: usize,
    x: usize,
) -> impl Iterator<Item = (I, usize)> + Clone {
    let (channels, width) = (layer.input.channels, layer.input.width);
    let (first_y, end_y, image_y) = inside(conv, y, layer.input.height);
    let (first_x, end_x, image_x) = inside(conv, x, width);
    let len = (end_x - first_x) * channels;
    (first_y..end_y).map(move |kernel_y| {
        let from = ((image_y + kernel_y - first_y) * width + image_x) * channels;
        let row = (kernel_y * conv.kernel + first_x) * channels;
        (inputs.part(from, len), row)
    })
}

/// The outputs of a layer for one sample, from its inputs in a form that any
/// layer can take.
pub(crate) fn forward<W: Weight, I: Pixels<W>>(
    layer: &Placed,
    inputs: I,
    parameters: &[W],
    outputs: &mut [W::Value],
) {
    // Each kind is compiled by itself: all of them in one would leave too few
    // registers to the loops.
    match layer.kind {
        Kind::Dense => dispatch::<W, _>(
            #[inline(always)]
            || forward_dense(layer, inputs, parameters, outputs),
        ),
        Kind::Conv {
            kernel,
            stride,
            padding,
        } => {
            let conv = Conv {
                kernel,
                stride,
                padding,
            };
            dispatch::<W, _>(
                #[inline(always)]
                || forward_conv(layer, conv, inputs, parameters, outputs),
            );
        }
        Kind::MaxPool { size } => dispatch::<W, _>(
            #[inline(always)]
            || {
                windows(
                    layer,
                    size,
                    #[inline(always)]
                    |window, output| {
                        if let Some(slot) = outputs.get_mut(output) {
                            *slot = inputs.value(first_largest::<W, I>(inputs, window));
                        }
                    },
                );
            },
        ),
        Kind::AveragePool { size } => {
            let share = share::<W>(size);
            windows(layer, size, |window, output| {
                let mut total = W::ZERO;
                for index in window {
                    total = W::add(total, W::multiply(inputs.value(index), share));
                }
                if let Some(slot) = outputs.get_mut(output) {
                    *slot = total;
                }
            });
        }
    }
}

#[inline(always)]
fn forward_conv<W: Weight, I: Pixels<W>>(
    layer: &Placed,
    conv: Conv,
    inputs: I,
    parameters: &[W],
    outputs: &mut [W::Value],
) {
    let (weights, bias) = layer.split(parameters);
    let mut pixels = outputs.chunks_exact_mut(layer.width());
    for y in 0..layer.output.height {
        for x in 0..layer.output.width {
            let Some(sums) = pixels.next() else {
                return;
            };
            let parts = under(layer, conv, inputs, y, x);
            weighted_sums(parts, weights, bias, sums);
            activate::<W>(layer.activation, sums);
        }
    }
}

/// Most inputs of a layer that those which are 0 are sorted out of.
const LISTED_MAX: usize = 4096;

/// The outputs of a dense layer after another for one sample.
#[inline(always)]
pub(crate) fn forward_dense_values<W: Weight>(
    layer: &Placed,
    values: &[W::Value],
    parameters: &[W],
    outputs: &mut [W::Value],
) {
    if cfg!(feature = "std") && layer.width() >= 32 && values.len() <= LISTED_MAX {
        let mut indices = [0; LISTED_MAX];
        let indices = list_non_zero::<W>(values, &mut indices[..values.len()]);
        forward_dense(layer, Listed { indices, values }, parameters, outputs);
    } else {
        forward_dense(layer, Values(values), parameters, outputs);
    }
}

/// The outputs of a dense layer of [`GROUP_WIDTH`] for a group of samples.
#[inline(always)]
pub(crate) fn forward_dense_grouped<W: Weight>(
    layer: &Placed,
    inputs: [Sparse<'_, W>; GROUP_SAMPLES],
    parameters: &[W],
) -> [[W::Value; GROUP_WIDTH]; GROUP_SAMPLES] {
    let (weights, bias) = layer.split(parameters);
    let mut sums = weighted_sums_grouped(inputs, weights, bias);
    for sums in &mut sums {
        activate::<W>(layer.activation, sums);
    }
    sums
}

/// The outputs of a dense layer for one sample.
#[inline(always)]
pub(crate) fn forward_dense<W: Weight>(
    layer: &Placed,
    inputs: impl Inputs<W>,
    parameters: &[W],
    outputs: &mut [W::Value],
) {
    let (weights, bias) = layer.split(parameters);
    weighted_sums(core::iter::once((inputs, 0)), weights, bias, outputs);
    activate::<W>(layer.activation, outputs);
}

#[inline(always)]
fn activate<W: Weight>(activation: Activation, values: &mut [W::Value]) {
    // The choice is made once, not for every value.
    match activation {
        Activation::Identity => {}
        Activation::Relu => {
            for value in values {
                *value = W::activate(Activation::Relu, *value);
            }
        }
        activation => {
            for value in values {
                *value = W::activate(activation, *value);
            }
        }
    }
}

/// Turns sums behind an activation into signals before it: `values` are what the
/// activation gave.
#[inline(always)]
fn differentiate<W: Weight>(activation: Activation, sums: &[W::Value], values: &mut [W::Value]) {
    match activation {
        Activation::Relu => {
            for (value, sum) in values.iter_mut().zip(sums) {
                *value = W::differentiate(Activation::Relu, *value, *sum);
            }
        }
        activation => {
            for (value, sum) in values.iter_mut().zip(sums) {
                // As everywhere: +0 where nothing is let through, never −0.
                let is_cut_off = W::differentiate(activation, *value, W::ONE) == W::ZERO;
                *value = if is_cut_off {
                    W::ZERO
                } else {
                    W::differentiate(activation, *value, *sum)
                };
            }
        }
    }
}

/// Most inputs of such a layer.
pub(crate) const TURNED_INPUTS_MAX: usize = 64;

/// The weights of a small dense layer, at most `N`, as `[outputs][inputs]`, so that a sample's
/// signals before it are sums over rows, side by side.
pub(crate) struct Turned<W, const N: usize> {
    weights: [W; N],
}

impl<W: Weight, const N: usize> Turned<W, N> {
    /// Whether a layer has room in it.
    #[inline(always)]
    pub(crate) fn suits(layer: &Placed) -> bool {
        layer.kind == Kind::Dense
            && layer.weight_count() <= N
            && layer.input.len() <= TURNED_INPUTS_MAX
    }

    #[inline(always)]
    pub(crate) fn new(layer: &Placed, parameters: &[W]) -> Self {
        let mut turned = Self {
            weights: [W::default(); N],
        };
        let (weights, _) = layer.split(parameters);
        let inputs = layer.input.len();
        for (input, row) in weights.chunks_exact(layer.width()).enumerate() {
            for (output, weight) in row.iter().enumerate() {
                turned.weights[output * inputs + input] = *weight;
            }
        }
        turned
    }

    /// Turns the outputs of the layer before into its signals, given those
    /// behind this one: the sums of [`backward`], in their order.
    #[inline(always)]
    pub(crate) fn backward(
        &self,
        layer: &Placed,
        before: &Placed,
        signals: &[W::Value],
        values: &mut [W::Value],
    ) {
        let inputs = layer.input.len();
        let none = [W::default(); TURNED_INPUTS_MAX];
        let mut sums = [W::ZERO; TURNED_INPUTS_MAX];
        weighted_sums(
            core::iter::once((Values(signals), 0)),
            &self.weights[..layer.weight_count()],
            &none[..inputs],
            &mut sums[..inputs],
        );
        differentiate::<W>(before.activation, &sums[..inputs], values);
    }
}

/// One over the pixels of a window.
#[expect(clippy::cast_precision_loss, reason = "windows are small")]
fn share<W: Weight>(size: usize) -> W::Value {
    W::value_of_f32(1.0 / (size * size) as f32)
}

/// Calls `visit` with the inputs of each window and the output it gives.
#[inline(always)]
fn windows(layer: &Placed, size: usize, mut visit: impl FnMut(Window, usize)) {
    let mut output = 0;
    for y in 0..layer.output.height {
        for x in 0..layer.output.width {
            for channel in 0..layer.input.channels {
                let window = Window {
                    start: (y * size * layer.input.width + x * size) * layer.input.channels
                        + channel,
                    size,
                    row: layer.input.width * layer.input.channels,
                    pixel: layer.input.channels,
                    next: 0,
                };
                visit(window, output);
                output += 1;
            }
        }
    }
}

/// The inputs of a window, row by row.
#[derive(Clone, Copy)]
struct Window {
    start: usize,
    size: usize,
    row: usize,
    pixel: usize,
    next: usize,
}

impl Iterator for Window {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.next == self.size * self.size {
            return None;
        }
        let (y, x) = (self.next / self.size, self.next % self.size);
        self.next += 1;
        Some(self.start + y * self.row + x * self.pixel)
    }
}

/// Which input of a window is the first of the largest.
#[inline(always)]
fn first_largest<W: Weight, I: Pixels<W>>(inputs: I, window: Window) -> usize {
    let mut found = window.start;
    let mut most = inputs.value(found);
    for index in window {
        let value = inputs.value(index);
        if value > most {
            found = index;
            most = value;
        }
    }
    found
}

/// Error signals before a layer, from those behind it. `below` holds what the
/// layer before gave (and this one was given); it gets that layer's signals,
/// behind its weighted sums.
///
/// Where signals and outputs of the layer before are not the same memory,
/// `outputs` holds the outputs.
#[inline(always)]
pub(crate) fn backward<W: Weight>(
    layer: &Placed,
    before: &Placed,
    parameters: &[W],
    signals: &[W::Value],
    outputs: Option<&[W::Value]>,
    below: &mut [W::Value],
) {
    match layer.kind {
        Kind::Dense => {
            let (weights, _) = layer.split(parameters);
            for (index, (signal, row)) in below
                .iter_mut()
                .zip(weights.chunks_exact(layer.width()))
                .enumerate()
            {
                let output = outputs.map_or(*signal, |outputs| outputs[index]);
                *signal = if is_cut_off::<W>(before, output) {
                    W::ZERO
                } else {
                    let sum = W::end(dot(W::nothing(), row, signals));
                    W::differentiate(before.activation, output, sum)
                };
            }
        }
        Kind::Conv {
            kernel,
            stride,
            padding,
        } => {
            let conv = Conv {
                kernel,
                stride,
                padding,
            };
            backward_conv(layer, conv, before, parameters, signals, outputs, below);
        }
        Kind::MaxPool { size } => {
            if let Some(outputs) = outputs {
                below.copy_from_slice(outputs);
            }
            let read = |below: &[W::Value], window: Window| {
                let largest = first_largest::<W, _>(Values(below), window);
                (largest, below[largest])
            };
            windows(layer, size, |window, output| {
                let (largest, value) = read(below, window);
                let signal = W::differentiate(before.activation, value, signals[output]);
                for index in window {
                    below[index] = if index == largest { signal } else { W::ZERO };
                }
            });
            clear_dropped::<W>(layer, size, below);
        }
        Kind::AveragePool { size } => {
            if let Some(outputs) = outputs {
                below.copy_from_slice(outputs);
            }
            let share = share::<W>(size);
            windows(layer, size, |window, output| {
                let signal = W::multiply(signals[output], share);
                for index in window {
                    below[index] = W::differentiate(before.activation, below[index], signal);
                }
            });
            clear_dropped::<W>(layer, size, below);
        }
    }
}

/// Whether an activation lets no signal through, as ReLU below 0: the sum
/// behind it need not be taken.
#[inline(always)]
fn is_cut_off<W: Weight>(before: &Placed, output: W::Value) -> bool {
    W::differentiate(before.activation, output, W::ONE) == W::ZERO
}

/// Where the samples of a block have their values of the layer before.
pub(crate) struct Below {
    /// Of the first sample's signals.
    pub(crate) signals: usize,
    /// Of the first sample's outputs.
    pub(crate) outputs: usize,
    /// From one sample's signals to the next.
    pub(crate) signals_stride: usize,
    /// From one sample's outputs to the next.
    pub(crate) outputs_stride: usize,
}

impl Below {
    /// Turns the sums behind `R` outputs of each sample into signals before
    /// them.
    #[inline(always)]
    fn put<W: Weight, const R: usize, const L: usize>(
        &self,
        before: &Placed,
        values: &mut [W::Value],
        index: usize,
        count: usize,
        sums: [[W::Sum; L]; R],
    ) {
        for sample in 0..count.min(L) {
            let outputs = self.outputs + sample * self.outputs_stride + index;
            let signals = self.signals + sample * self.signals_stride + index;
            let mut ended = [W::ZERO; R];
            for (ended, sums) in ended.iter_mut().zip(&sums) {
                *ended = W::end(sums[sample]);
            }
            let mut row = [W::ZERO; R];
            row.copy_from_slice(&values[outputs..][..R]);
            differentiate::<W>(before.activation, &ended, &mut row);
            values[signals..][..R].copy_from_slice(&row);
        }
    }
}

/// As [`backward`] for `count` samples at once, one in each lane: the same
/// sums in the same order. `lanes` holds the signals behind the layer, those
/// of all samples side by side. `false`: the layer is not of a kind for it.
#[inline(always)]
pub(crate) fn backward_lanes<W: Weight, const L: usize>(
    layer: &Placed,
    before: &Placed,
    parameters: &[W],
    lanes: &[W::Value],
    values: &mut [W::Value],
    below: &Below,
    count: usize,
) -> bool {
    let (weights, _) = layer.split(parameters);
    let width = layer.width();
    match layer.kind {
        Kind::Dense => {
            let lanes = lanes.get(..width * L).unwrap_or_default();
            let mut index = 0;
            while layer.input.len() - index >= 4 {
                let sums = dots::<W, 4, L>(
                    [[W::nothing(); L]; 4],
                    &weights[index * width..][..4 * width],
                    width,
                    lanes,
                );
                below.put::<W, 4, L>(before, values, index, count, sums);
                index += 4;
            }
            while index < layer.input.len() {
                let row = &weights[index * width..][..width];
                let sums = dots::<W, 1, L>([[W::nothing(); L]], row, width, lanes);
                below.put::<W, 1, L>(before, values, index, count, sums);
                index += 1;
            }
            true
        }
        Kind::Conv {
            kernel,
            stride,
            padding,
        } => {
            let conv = Conv {
                kernel,
                stride,
                padding,
            };
            let channels = layer.input.channels;
            for pixel in 0..layer.input.height * layer.input.width {
                let at = (pixel / layer.input.width, pixel % layer.input.width);
                let mut channel = 0;
                while channels - channel >= 4 {
                    let sums = pixel_dots::<W, 4, L>(layer, conv, weights, lanes, at, channel);
                    let index = pixel * channels + channel;
                    below.put::<W, 4, L>(before, values, index, count, sums);
                    channel += 4;
                }
                while channel < channels {
                    let sums = pixel_dots::<W, 1, L>(layer, conv, weights, lanes, at, channel);
                    let index = pixel * channels + channel;
                    below.put::<W, 1, L>(before, values, index, count, sums);
                    channel += 1;
                }
            }
            true
        }
        Kind::MaxPool { .. } | Kind::AveragePool { .. } => false,
    }
}

/// The sums for `R` channels of one pixel.
#[inline(always)]
fn pixel_dots<W: Weight, const R: usize, const L: usize>(
    layer: &Placed,
    conv: Conv,
    weights: &[W],
    lanes: &[W::Value],
    (y, x): (usize, usize),
    channel: usize,
) -> [[W::Sum; L]; R] {
    let filters = layer.width();
    let mut sums = [[W::nothing(); L]; R];
    for (kernel_y, at_y) in covering(conv, y, layer.output.height) {
        for (kernel_x, at_x) in covering(conv, x, layer.output.width) {
            let row = (kernel_y * conv.kernel + kernel_x) * layer.input.channels + channel;
            let from = (at_y * layer.output.width + at_x) * filters;
            sums = dots::<W, R, L>(
                sums,
                &weights[row * filters..][..R * filters],
                filters,
                &lanes[from * L..][..filters * L],
            );
        }
    }
    sums
}

/// [`dot`] for `R` rows of weights and `L` samples.
#[inline(always)]
fn dots<W: Weight, const R: usize, const L: usize>(
    mut sums: [[W::Sum; L]; R],
    rows: &[W],
    width: usize,
    lanes: &[W::Value],
) -> [[W::Sum; L]; R] {
    let mut row: [&[W]; R] = [&[]; R];
    for (row, weights) in row.iter_mut().zip(rows.chunks_exact(width)) {
        *row = weights;
    }
    let (lanes, _) = lanes.as_chunks::<L>();
    for (column, signals) in lanes.iter().enumerate().take(width) {
        for (sums, row) in sums.iter_mut().zip(row) {
            let weight = row[column];
            for (sum, signal) in sums.iter_mut().zip(signals) {
                *sum = W::accumulate(*sum, *signal, weight);
            }
        }
    }
    sums
}

/// No signal for the pixels that are in no window.
#[inline(always)]
fn clear_dropped<W: Weight>(layer: &Placed, size: usize, below: &mut [W::Value]) {
    let (height, width) = (layer.output.height * size, layer.output.width * size);
    if (height, width) == (layer.input.height, layer.input.width) {
        return;
    }
    for (index, pixel) in below.chunks_exact_mut(layer.input.channels).enumerate() {
        let (y, x) = (index / layer.input.width, index % layer.input.width);
        if y >= height || x >= width {
            pixel.fill(W::ZERO);
        }
    }
}

/// The positions of a kernel that cover a row (or column) of the image, as the
/// row of the kernel and the position, in ascending order of the former.
#[inline(always)]
fn covering(
    conv: Conv,
    image: usize,
    positions: usize,
) -> impl Iterator<Item = (usize, usize)> + Clone {
    (0..conv.kernel).filter_map(move |kernel| {
        let start = (image + conv.padding).checked_sub(kernel)?;
        let position = start / conv.stride;
        (start % conv.stride == 0 && position < positions).then_some((kernel, position))
    })
}

#[inline(always)]
fn backward_conv<W: Weight>(
    layer: &Placed,
    conv: Conv,
    before: &Placed,
    parameters: &[W],
    signals: &[W::Value],
    outputs: Option<&[W::Value]>,
    below: &mut [W::Value],
) {
    let (weights, _) = layer.split(parameters);
    let (channels, filters) = (layer.input.channels, layer.width());
    for (pixel, values) in below.chunks_exact_mut(channels).enumerate() {
        let (y, x) = (pixel / layer.input.width, pixel % layer.input.width);
        for (channel, signal) in values.iter_mut().enumerate() {
            let output = outputs.map_or(*signal, |outputs| outputs[pixel * channels + channel]);
            if is_cut_off::<W>(before, output) {
                *signal = W::ZERO;
                continue;
            }
            let mut sum = W::nothing();
            for (kernel_y, at_y) in covering(conv, y, layer.output.height) {
                for (kernel_x, at_x) in covering(conv, x, layer.output.width) {
                    let row = (kernel_y * conv.kernel + kernel_x) * channels + channel;
                    let from = (at_y * layer.output.width + at_x) * filters;
                    sum = dot(
                        sum,
                        &weights[row * filters..][..filters],
                        &signals[from..][..filters],
                    );
                }
            }
            *signal = W::differentiate(before.activation, output, W::end(sum));
        }
    }
}

/// Adds one sample's part to a layer's gradient.
pub(crate) fn add_gradient<W: Weight, I: Pixels<W>>(
    layer: &Placed,
    inputs: I,
    signals: &[W::Value],
    gradient: &mut [W::Value],
) {
    let Kind::Conv {
        kernel,
        stride,
        padding,
    } = layer.kind
    else {
        return dispatch::<W, _>(
            #[inline(always)]
            || add_gradient_dense(layer, inputs, signals, gradient),
        );
    };
    let conv = Conv {
        kernel,
        stride,
        padding,
    };
    dispatch::<W, _>(
        #[inline(always)]
        || add_gradient_conv(layer, conv, inputs, signals, gradient),
    );
}

#[inline(always)]
fn add_gradient_conv<W: Weight, I: Pixels<W>>(
    layer: &Placed,
    conv: Conv,
    inputs: I,
    signals: &[W::Value],
    gradient: &mut [W::Value],
) {
    let width = layer.width();
    let (weights, bias) = gradient.split_at_mut(layer.weight_count());
    let mut pixels = signals.chunks_exact(width);
    for y in 0..layer.output.height {
        for x in 0..layer.output.width {
            let Some(signal) = pixels.next() else {
                return;
            };
            if signal.iter().all(|signal| W::is_zero(*signal)) {
                continue;
            }
            for (part, row) in under(layer, conv, inputs, y, x) {
                add_products::<W>(part, signal, &mut weights[row * width..]);
            }
            add_bias::<W>(bias, signal);
        }
    }
}

/// Adds one sample's part to a dense layer's gradient.
#[inline(always)]
pub(crate) fn add_gradient_dense<W: Weight>(
    layer: &Placed,
    inputs: impl Inputs<W>,
    signals: &[W::Value],
    gradient: &mut [W::Value],
) {
    let (weights, bias) = gradient.split_at_mut(layer.weight_count());
    add_products::<W>(inputs, signals, weights);
    add_bias::<W>(bias, signals);
}

#[inline(always)]
fn add_bias<W: Weight>(bias: &mut [W::Value], signal: &[W::Value]) {
    for (slope, signal) in bias.iter_mut().zip(signal) {
        *slope = W::add(*slope, *signal);
    }
}
