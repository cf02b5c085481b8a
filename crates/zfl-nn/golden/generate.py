"""Golden cases of training: small models trained in numpy, in double precision.

    python3 generate.py           writes the files NAME.txt beside this one
    python3 generate.py --check   checks this implementation's gradients against
                                  central differences, and the order of the
                                  samples against pinned numbers

It shares nothing with the trainer: whole batches at a time, float64, a sum over
the positions of a kernel instead of one over pixels. Needs numpy and nothing else.

Form of a file. Lines `key: values`, values separated by one space; lines that
begin with # and empty lines mean nothing; keys come in this order:

    input: HEIGHT WIDTH CHANNELS       flat inputs: 1 1 COUNT
    layer: conv FILTERS KERNEL STRIDE PADDING ACTIVATION
    layer: max-pool SIZE               a line for each layer, in order
    layer: average-pool SIZE
    layer: flatten
    layer: dense OUTPUTS ACTIVATION    identity relu leaky-relu tanh sigmoid
    loss: cross-entropy | mean-squared-error
    frozen: COUNT                      of the layers that have weights, the first
    epochs: COUNT
    batch-size: COUNT
    learning-rate: NUMBER              this and the next numbers are f32
    momentum: NUMBER
    nesterov: 0 | 1
    weight-decay: NUMBER
    clip-norm: NUMBER                  0: no clipping
    proximal: NUMBER
    value-scale: NUMBER                an input is byte x value-scale
    seed: NUMBER                       the order of the samples is that of zfl's
    client: NUMBER                     stream BatchOrder of this seed, client and
    round: NUMBER                      round, so that the trainer draws it itself
    samples: COUNT
    bytes: ...                         samples x inputs, one sample after the other
    labels: ...                        one a sample; or
    targets: ...                       samples x outputs, f32
    initial: ...                       parameters, f32: layer by layer, weights
                                       [inputs][outputs] or
                                       [ky][kx][channel][filter], then biases
    order: ...                         a line for each epoch: batches are cut from
                                       it, the last one may be smaller
    epoch-losses: ...                  for each epoch the mean over its samples of
                                       the loss in their batch, before its step
    final: ...                         parameters after training
    final-loss: NUMBER                 mean loss of all samples with them
    final-correct: COUNT               samples whose largest output is their label's
                                       (only with labels)

Images are height, width, channels, channels last. Pooling windows do not
overlap and what does not fill a window is left out. The loss of a sample is
-ln softmax(outputs)[label], or half the sum over the outputs of the squared
error, labels as one-hot targets; that of a batch is the mean over its samples.
A step, g being the gradient of a batch's loss with respect to the layers that
train, w0 what the training began with and v at first 0:

    g += proximal (w - w0);  g *= min(1, clip-norm / |g|);  g += weight-decay w
    v = momentum v + g;  w -= learning-rate (nesterov: g + momentum v, else: v)
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

# ---- layers: forward(inputs) -> outputs; backward(signal) -> signal of the inputs

ACTIVATIONS = {
    # name: (function of the sum, derivative as a function of sum and output)
    "identity": (lambda z: z, lambda z, a: np.ones_like(z)),
    "relu": (lambda z: np.where(z > 0, z, 0), lambda z, a: (z > 0).astype(float)),
    "leaky-relu": (lambda z: np.where(z > 0, z, LEAK * z), lambda z, a: np.where(z > 0, 1, LEAK)),
    "tanh": (np.tanh, lambda z, a: 1 - a * a),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z, a: a * (1 - a)),
}
LEAK = float(np.float32(0.01))


class Dense:
    def __init__(self, shape, outputs, activation):
        height, width, channels = shape
        self.text = f"dense {outputs} {activation}"
        self.output_shape = (1, 1, outputs)
        self.weight_shape = (height * width * channels, outputs)
        self.outputs = outputs
        self.function, self.derivative = ACTIVATIONS[activation]

    def forward(self, inputs):
        self.inputs = inputs.reshape(len(inputs), -1)
        self.sums = self.inputs @ self.weights + self.biases
        self.activations = self.function(self.sums)
        return self.activations.reshape(len(inputs), *self.output_shape)

    def backward(self, signal):
        signal = signal.reshape(len(signal), -1) * self.derivative(self.sums, self.activations)
        self.by_weights = self.inputs.T @ signal
        self.by_biases = signal.sum(axis=0)
        return signal @ self.weights.T


class Conv:
    def __init__(self, shape, filters, kernel, stride, padding, activation):
        height, width, channels = shape
        self.text = f"conv {filters} {kernel} {stride} {padding} {activation}"
        self.rows = (height + 2 * padding - kernel) // stride + 1
        self.columns = (width + 2 * padding - kernel) // stride + 1
        self.output_shape = (self.rows, self.columns, filters)
        self.weight_shape = (kernel, kernel, channels, filters)
        self.outputs = filters
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.function, self.derivative = ACTIVATIONS[activation]

    def under(self, padded, ky, kx):
        """What lies under one position of the kernel, for every output: a view."""
        rows = slice(ky, ky + self.stride * (self.rows - 1) + 1, self.stride)
        columns = slice(kx, kx + self.stride * (self.columns - 1) + 1, self.stride)
        return padded[:, rows, columns, :]

    def positions(self):
        return ((ky, kx) for ky in range(self.kernel) for kx in range(self.kernel))

    def forward(self, inputs):
        border = (self.padding, self.padding)
        self.padded = np.pad(inputs, ((0, 0), border, border, (0, 0)))
        self.sums = sum(self.under(self.padded, ky, kx) @ self.weights[ky, kx]
                        for ky, kx in self.positions()) + self.biases
        self.activations = self.function(self.sums)
        return self.activations

    def backward(self, signal):
        signal = signal.reshape(self.sums.shape) * self.derivative(self.sums, self.activations)
        self.by_weights = np.zeros_like(self.weights)
        self.by_biases = signal.sum(axis=(0, 1, 2))
        by_padded = np.zeros_like(self.padded)
        for ky, kx in self.positions():
            self.by_weights[ky, kx] = np.tensordot(
                self.under(self.padded, ky, kx), signal, axes=((0, 1, 2), (0, 1, 2)))
            self.under(by_padded, ky, kx)[...] += signal @ self.weights[ky, kx].T
        end = (None if self.padding == 0 else -self.padding)
        return by_padded[:, self.padding : end, self.padding : end, :]


class Pool:
    """Windows as an axis of their own: [samples, rows, columns, window, channels]."""

    weight_shape = None

    def __init__(self, shape, size):
        height, width, channels = shape
        self.output_shape = (height // size, width // size, channels)
        self.text = f"{self.name} {size}"
        self.size = size

    def forward(self, inputs):
        rows, columns, channels = self.output_shape
        self.input_shape = inputs.shape
        cut = inputs[:, : rows * self.size, : columns * self.size, :]
        cut = cut.reshape(len(inputs), rows, self.size, columns, self.size, channels)
        self.windows = cut.transpose(0, 1, 3, 2, 4, 5).reshape(
            len(inputs), rows, columns, self.size * self.size, channels)
        return self.pool()

    def backward(self, signal):
        rows, columns, channels = self.output_shape
        count = self.input_shape[0]
        shares = self.shares() * signal.reshape(count, rows, columns, 1, channels)
        shares = shares.reshape(count, rows, columns, self.size, self.size, channels)
        result = np.zeros(self.input_shape)
        result[:, : rows * self.size, : columns * self.size, :] = shares.transpose(
            0, 1, 3, 2, 4, 5).reshape(count, rows * self.size, columns * self.size, channels)
        return result


class MaxPool(Pool):
    name = "max-pool"

    def pool(self):
        return self.windows.max(axis=3)

    def shares(self):
        """1 for the first of the largest, row by row, else 0."""
        chosen = self.windows.argmax(axis=3)
        return (np.arange(self.size * self.size)[:, None] == chosen[:, :, :, None, :]).astype(float)


class AveragePool(Pool):
    name = "average-pool"

    def pool(self):
        return self.windows.mean(axis=3)

    def shares(self):
        return np.full_like(self.windows, 1 / (self.size * self.size))


class Flatten:
    text = "flatten"
    weight_shape = None

    def __init__(self, shape):
        height, width, channels = shape
        self.output_shape = (1, 1, height * width * channels)

    def forward(self, inputs):
        self.input_shape = inputs.shape
        return inputs.reshape(len(inputs), *self.output_shape)

    def backward(self, signal):
        return signal.reshape(self.input_shape)


# ---- losses: (loss of each sample, derivative of it with respect to the outputs)


def cross_entropy(outputs, targets):
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    logarithms = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -(targets * logarithms).sum(axis=1), np.exp(logarithms) - targets


def mean_squared_error(outputs, targets):
    return ((outputs - targets) ** 2).sum(axis=1) / 2, outputs - targets


LOSSES = {"cross-entropy": cross_entropy, "mean-squared-error": mean_squared_error}


# ---- the order of the samples, as `zfl_seed::Stream` draws it


class Stream:
    """ChaCha with 8 rounds (RFC 8439's quarter round; 64-bit counter and stream)."""

    BATCH_ORDER = 4

    def __init__(self, seed, purpose, identity, round_index):
        self.key = [seed & 0xFFFFFFFF, seed >> 32, round_index, 0, 0, 0, 0, 0]
        self.stream = [identity, purpose]
        self.counter = 0
        self.words = []

    def block(self):
        state = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *self.key,
                 self.counter & 0xFFFFFFFF, self.counter >> 32, *self.stream]
        self.counter += 1
        x = list(state)

        def rotate(value, bits):
            return (value << bits | value >> (32 - bits)) & 0xFFFFFFFF

        def quarter(a, b, c, d):
            for first, second, third, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                x[first] = (x[first] + x[second]) & 0xFFFFFFFF
                x[third] = rotate(x[third] ^ x[first], bits)

        for _ in range(4):
            for column in range(4):
                quarter(column, 4 + column, 8 + column, 12 + column)
            for column in range(4):
                quarter(column, 4 + (column + 1) % 4, 8 + (column + 2) % 4, 12 + (column + 3) % 4)
        self.words = [(a + b) & 0xFFFFFFFF for a, b in zip(x, state)]

    def below(self, bound):
        """Lemire's method: no bias."""
        while True:
            if not self.words:
                self.block()
            product = self.words.pop(0) * bound
            if product & 0xFFFFFFFF >= (2**32 - bound) % bound:
                return product >> 32

    def shuffle(self, items):
        for last in range(len(items) - 1, 0, -1):
            chosen = self.below(last + 1)
            items[last], items[chosen] = items[chosen], items[last]


# ---- training


@dataclass
class Case:
    name: str
    about: str
    input: tuple
    layers: list
    loss: str
    samples: int
    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float = 0
    nesterov: bool = False
    weight_decay: float = 0
    clip_norm: float = 0
    proximal: float = 0
    frozen: int = 0
    regression: bool = False
    seed: int = 1
    client: int = 0
    round: int = 1
    built: list = field(default_factory=list)

    def __post_init__(self):
        # The numbers that the trainer gets: of single precision.
        for name in ("learning_rate", "momentum", "weight_decay", "clip_norm", "proximal"):
            setattr(self, name, float(np.float32(getattr(self, name))))
        shape = self.input
        for kind, *settings in self.layers:
            self.built.append(kind(shape, *settings))
            shape = self.built[-1].output_shape
        self.output_count = shape[2]
        self.weighted = [layer for layer in self.built if layer.weight_shape]

        generator = np.random.default_rng(sum(self.name.encode()))
        inputs = int(np.prod(self.input))
        self.bytes = generator.integers(0, 256, (self.samples, inputs))
        # About half of the inputs are 0, as in images.
        self.bytes[generator.random(self.bytes.shape) < 0.5] = 0
        self.value_scale = float(np.float32(1 / 255))
        self.inputs = (self.bytes * self.value_scale).reshape(self.samples, *self.input)
        if self.regression:
            values = generator.uniform(-1, 1, (self.samples, self.output_count))
            self.targets = values.astype(np.float32).astype(float)
        else:
            self.labels = generator.integers(0, self.output_count, self.samples)
            self.targets = np.eye(self.output_count)[self.labels]
        for layer in self.weighted:
            bound = np.sqrt(3 / np.prod(layer.weight_shape[:-1]))
            weights = generator.uniform(-bound, bound, layer.weight_shape)
            biases = generator.uniform(-0.1, 0.1, layer.outputs)
            layer.weights = weights.astype(np.float32).astype(float)
            layer.biases = biases.astype(np.float32).astype(float)

    def parameters(self):
        return np.concatenate([np.concatenate([layer.weights.ravel(), layer.biases])
                               for layer in self.weighted])

    def set_parameters(self, values):
        at = 0
        for layer in self.weighted:
            count = layer.weights.size
            layer.weights = values[at : at + count].reshape(layer.weight_shape)
            layer.biases = values[at + count : at + count + layer.outputs]
            at += count + layer.outputs

    def outputs(self, samples):
        values = self.inputs[samples]
        for layer in self.built:
            values = layer.forward(values)
        return values.reshape(len(samples), -1)

    def losses(self, samples):
        return LOSSES[self.loss](self.outputs(samples), self.targets[samples])[0]

    def gradient(self, samples):
        """Losses of the samples and gradient of their mean, of all parameters."""
        losses, signal = LOSSES[self.loss](self.outputs(samples), self.targets[samples])
        signal = signal / len(samples)
        for layer in reversed(self.built):
            signal = layer.backward(signal)
        return losses, np.concatenate([np.concatenate([layer.by_weights.ravel(), layer.by_biases])
                                       for layer in self.weighted])

    def train(self):
        first = sum(layer.weights.size + layer.outputs for layer in self.weighted[: self.frozen])
        weights = self.parameters()
        begin = weights.copy()
        velocity = np.zeros_like(weights[first:])
        stream = Stream(self.seed, Stream.BATCH_ORDER, self.client, self.round)
        order = list(range(self.samples))
        orders, epoch_losses = [], []
        for _ in range(self.epochs):
            stream.shuffle(order)
            orders.append(list(order))
            seen = []
            for start in range(0, self.samples, self.batch_size):
                losses, gradient = self.gradient(order[start : start + self.batch_size])
                seen.extend(losses)
                trains = weights[first:]
                step = gradient[first:] + self.proximal * (trains - begin[first:])
                norm = np.sqrt((step**2).sum())
                if self.clip_norm > 0 and norm > self.clip_norm:
                    step = step * (self.clip_norm / norm)
                    self.clipped = True
                step = step + self.weight_decay * trains
                velocity = self.momentum * velocity + step
                along = step + self.momentum * velocity if self.nesterov else velocity
                weights = np.concatenate([weights[:first], trains - self.learning_rate * along])
                self.set_parameters(weights)
            epoch_losses.append(np.mean(seen))
        return orders, epoch_losses

    def write(self, folder):
        initial = self.parameters()
        orders, epoch_losses = self.train()
        if self.clip_norm > 0 and not getattr(self, "clipped", False):
            sys.exit(f"{self.name}: the clip norm is never reached")

        def single(values):
            return " ".join(str(np.float32(value)) for value in np.ravel(values))

        def double(values):
            return " ".join(f"{value:.10g}" for value in np.ravel(values))

        def whole(values):
            return " ".join(str(int(value)) for value in np.ravel(values))

        lines = [f"# {self.about}", "# Written by generate.py, which says what each line is.",
                 f"input: {whole(self.input)}"]
        lines += [f"layer: {layer.text}" for layer in self.built]
        lines += [
            f"loss: {self.loss}",
            f"frozen: {self.frozen}",
            f"epochs: {self.epochs}",
            f"batch-size: {self.batch_size}",
            f"learning-rate: {single(self.learning_rate)}",
            f"momentum: {single(self.momentum)}",
            f"nesterov: {int(self.nesterov)}",
            f"weight-decay: {single(self.weight_decay)}",
            f"clip-norm: {single(self.clip_norm)}",
            f"proximal: {single(self.proximal)}",
            f"value-scale: {single(self.value_scale)}",
            f"seed: {self.seed}",
            f"client: {self.client}",
            f"round: {self.round}",
            f"samples: {self.samples}",
            f"bytes: {whole(self.bytes)}",
            f"targets: {single(self.targets)}" if self.regression
            else f"labels: {whole(self.labels)}",
            f"initial: {single(initial)}",
        ]
        lines += [f"order: {whole(order)}" for order in orders]
        everything = list(range(self.samples))
        lines += [
            f"epoch-losses: {double(epoch_losses)}",
            f"final: {double(self.parameters())}",
            f"final-loss: {double(self.losses(everything).mean())}",
        ]
        if not self.regression:
            correct = self.outputs(everything).argmax(axis=1) == self.labels
            lines.append(f"final-correct: {correct.sum()}")
        path = folder / f"{self.name}.txt"
        path.write_text("\n".join(lines) + "\n")
        print(f"{path.name}: {path.stat().st_size} bytes, {len(initial)} parameters, "
              f"loss {epoch_losses[0]:.4f} -> {self.losses(everything).mean():.4f}")


def cases():
    """New ones each time: training changes them."""
    return [
        Case("softmax-regression", "Softmax regression, plain SGD; the last batch is smaller.",
             (1, 1, 9), [(Dense, 4, "identity")], "cross-entropy",
             samples=11, epochs=4, batch_size=4, learning_rate=0.5),
        Case("mlp-momentum", "Two hidden layers of ReLU, momentum.",
             (1, 1, 12), [(Dense, 10, "relu"), (Dense, 8, "relu"), (Dense, 3, "identity")],
             "cross-entropy", samples=20, epochs=5, batch_size=5, learning_rate=0.05,
             momentum=0.9, client=7, round=3),
        Case("regression-nesterov", "Regression of two values: tanh, sigmoid, squared error, Nesterov.",
             (1, 1, 8), [(Dense, 7, "tanh"), (Dense, 6, "sigmoid"), (Dense, 2, "identity")],
             "mean-squared-error", samples=16, epochs=6, batch_size=6, learning_rate=0.1,
             momentum=0.8, nesterov=True, regression=True, seed=42),
        Case("one-hot-squared-error", "Classification with squared error.",
             (1, 1, 10), [(Dense, 6, "leaky-relu"), (Dense, 3, "identity")],
             "mean-squared-error", samples=15, epochs=5, batch_size=4, learning_rate=0.4),
        Case("decay-clip", "Leaky ReLU, weight decay and a clip norm that is often reached.",
             (1, 1, 12), [(Dense, 9, "leaky-relu"), (Dense, 4, "identity")], "cross-entropy",
             samples=14, epochs=6, batch_size=5, learning_rate=0.3,
             weight_decay=0.05, clip_norm=0.4, seed=9223372036854775807),
        Case("proximal", "The proximal term of FedProx, batches larger than the data.",
             (1, 1, 12), [(Dense, 8, "sigmoid"), (Dense, 3, "identity")], "cross-entropy",
             samples=10, epochs=12, batch_size=64, learning_rate=0.8, proximal=0.5, client=99999),
        Case("conv", "One convolution without padding, three channels.",
             (6, 5, 3), [(Conv, 4, 3, 1, 0, "relu"), (Flatten,), (Dense, 3, "identity")],
             "cross-entropy", samples=8, epochs=4, batch_size=3, learning_rate=0.1),
        Case("conv-stride-max-pool",
             "Stride 2 and padding 2, an odd image of which the pool leaves a row and a column out.",
             (9, 9, 2), [(Conv, 4, 5, 2, 2, "leaky-relu"), (MaxPool, 2), (Flatten,),
                         (Dense, 4, "identity")],
             "cross-entropy", samples=8, epochs=4, batch_size=4, learning_rate=0.1, momentum=0.5),
        Case("conv-average-pool", "Two convolutions, average pool, squared error, tanh.",
             (8, 8, 1), [(Conv, 3, 3, 1, 1, "tanh"), (AveragePool, 2), (Conv, 4, 2, 1, 1, "tanh"),
                         (Flatten,), (Dense, 5, "tanh"), (Dense, 2, "identity")],
             "mean-squared-error", samples=10, epochs=4, batch_size=5, learning_rate=0.1,
             regression=True),
        Case("frozen-everything",
             "The first convolution frozen, the rest with every term of the optimiser.",
             (8, 8, 1), [(Conv, 4, 3, 1, 1, "relu"), (MaxPool, 2), (Conv, 4, 3, 1, 0, "relu"),
                         (Flatten,), (Dense, 6, "relu"), (Dense, 3, "identity")],
             "cross-entropy", samples=12, epochs=4, batch_size=4, learning_rate=0.1, momentum=0.9,
             nesterov=True, weight_decay=0.01, clip_norm=1.0, proximal=0.1, frozen=1, round=1000),
    ]


def check():
    stream = Stream(1, 1, 0, 0)
    drawn = [stream.below(1000) for _ in range(4)]
    items = list(range(8))
    stream.shuffle(items)
    # As pinned by the tests of zfl-seed.
    if drawn != [170, 481, 425, 757] or items != [3, 4, 6, 1, 5, 0, 2, 7]:
        sys.exit(f"the stream is not zfl's: {drawn}, {items}")
    for case in cases():
        samples = list(range(case.samples))
        weights = case.parameters()
        gradient = case.gradient(samples)[1]
        worst = 0.0
        for index in range(len(weights)):
            ends = []
            for sign in (1, -1):
                nudged = weights.copy()
                nudged[index] += sign * 1e-6
                case.set_parameters(nudged)
                ends.append(case.losses(samples).mean())
            expected = (ends[0] - ends[1]) / 2e-6
            worst = max(worst, abs(gradient[index] - expected) / max(abs(expected), 1e-3))
        print(f"{case.name}: largest relative error of a gradient {worst:.1e}")
        if worst > 1e-5:
            sys.exit("the gradients are wrong")


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        check()
    elif sys.argv[1:]:
        sys.exit("usage: generate.py [--check]")
    else:
        for each in cases():
            each.write(Path(__file__).parent)
