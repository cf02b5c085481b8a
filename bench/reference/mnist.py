"""What both numpy programs share: MNIST as arrays, and what the process has used."""

import gzip
import json
import resource
import sys
from pathlib import Path

import numpy as np


def read_idx(folder, name, header_bytes):
    path = Path(folder) / name
    if path.exists():
        data = path.read_bytes()
    else:
        data = gzip.decompress(path.with_name(name + ".gz").read_bytes())
    return np.frombuffer(data, np.uint8, offset=header_bytes)


def read_mnist(folder, part):
    """Images as float32 [count, 784] between 0 and 1, and labels [count]."""
    images = read_idx(folder, f"{part}-images-idx3-ubyte", 16).reshape(-1, 784)
    labels = read_idx(folder, f"{part}-labels-idx1-ubyte", 8).astype(np.intp)
    return images.astype(np.float32) / np.float32(255), labels


def initial_parameters(generator, widths):
    """He initialisation: a list of (weights [inputs, outputs], biases)."""
    return [
        (
            generator.normal(0, np.sqrt(2 / inputs), (inputs, outputs)).astype(np.float32),
            np.zeros(outputs, np.float32),
        )
        for inputs, outputs in zip(widths, widths[1:])
    ]


def forward(parameters, images):
    """The activations of every layer: the images first, the logits last."""
    activations = [images]
    for number, (weights, biases) in enumerate(parameters):
        outputs = activations[-1] @ weights + biases
        is_last = number + 1 == len(parameters)
        activations.append(outputs if is_last else np.maximum(outputs, 0))
    return activations


def gradients(parameters, images, labels):
    """Gradients of the mean cross-entropy of a batch, as the parameters are."""
    activations = forward(parameters, images)
    logits = activations[-1]
    signal = np.exp(logits - logits.max(axis=1, keepdims=True))
    signal /= signal.sum(axis=1, keepdims=True)
    signal[np.arange(len(labels)), labels] -= 1
    signal /= np.float32(len(labels))
    result = []
    for number in reversed(range(len(parameters))):
        result.append((activations[number].T @ signal, signal.sum(axis=0)))
        if number > 0:
            signal = (signal @ parameters[number][0].T) * (activations[number] > 0)
    return result[::-1]


def train(parameters, images, labels, generator, epochs, batch, learning_rate):
    """What a client makes of the parameters; they themselves stay as they are."""
    parameters = [(weights.copy(), biases.copy()) for weights, biases in parameters]
    for _ in range(epochs):
        order = generator.permutation(len(labels))
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            steps = gradients(parameters, images[chosen], labels[chosen])
            for (weights, biases), (by_weight, by_bias) in zip(parameters, steps):
                weights -= np.float32(learning_rate) * by_weight
                biases -= np.float32(learning_rate) * by_bias
    return parameters


def mean_of(updates):
    """The plain mean: all shares are of one size."""
    return [tuple(sum(tensors) / np.float32(len(updates)) for tensors in zip(*layers))
            for layers in zip(*updates)]


def accuracy_of(parameters, images, labels):
    return float((forward(parameters, images)[-1].argmax(axis=1) == labels).mean())


def check(widths, images, labels):
    """Gradients against central differences, in double precision."""
    generator = np.random.default_rng(1)
    parameters = [tuple(tensor.astype(np.float64) for tensor in layer)
                  for layer in initial_parameters(generator, widths)]
    images, labels = images[:10].astype(np.float64), labels[:10]

    def loss():
        logits = forward(parameters, images)[-1]
        logits = logits - logits.max(axis=1, keepdims=True)
        picked = logits[np.arange(len(labels)), labels]
        return (np.log(np.exp(logits).sum(axis=1)) - picked).mean()

    worst = 0.0
    for layer, steps in zip(parameters, gradients(parameters, images, labels)):
        for tensor, step in zip(layer, steps):
            for index in generator.choice(tensor.size, min(tensor.size, 200), replace=False):
                value = tensor.flat[index]
                tensor.flat[index] = value + 1e-6
                above = loss()
                tensor.flat[index] = value - 1e-6
                below = loss()
                tensor.flat[index] = value
                expected = (above - below) / 2e-6
                worst = max(worst, abs(step.flat[index] - expected) / max(abs(expected), 1e-2))
    print(f"largest relative error of a gradient: {worst:.1e}")
    sys.exit(0 if worst < 1e-3 else 1)


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def report(workload, accuracy, rounds, load_cpu_seconds):
    print(json.dumps({
        "workload": workload,
        "accuracy": round(accuracy, 4),
        "rounds": rounds,
        "cpu_seconds": round(cpu_seconds(), 3),
        "load_cpu_seconds": round(load_cpu_seconds, 3),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }))
