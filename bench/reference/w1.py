"""W1 in numpy: federated averaging of 784-16-10 on MNIST, 50 clients with
equal IID shares, all of them in each of 20 rounds, 5 epochs, batches of 600,
learning rate 0.1. Dense, one process.

usage: w1.py DATA_FOLDER [--check]
"""

import sys

import numpy as np

import mnist

CLIENTS, ROUNDS, EPOCHS, BATCH, LEARNING_RATE = 50, 20, 5, 600, 0.1
WIDTHS = [784, 16, 10]


def main():
    folder = sys.argv[1]
    images, labels = mnist.read_mnist(folder, "train")
    test_images, test_labels = mnist.read_mnist(folder, "t10k")
    if "--check" in sys.argv:
        mnist.check(WIDTHS, images, labels)
    generator = np.random.default_rng(1)
    shares = np.split(generator.permutation(len(labels)), CLIENTS)
    data = [(images[share], labels[share]) for share in shares]
    del images
    load_cpu_seconds = mnist.cpu_seconds()
    parameters = mnist.initial_parameters(generator, WIDTHS)
    for _ in range(ROUNDS):
        parameters = mnist.mean_of([
            mnist.train(parameters, *share, generator, EPOCHS, BATCH, LEARNING_RATE)
            for share in data
        ])
        accuracy = mnist.accuracy_of(parameters, test_images, test_labels)
    mnist.report("W1", accuracy, ROUNDS, load_cpu_seconds)


main()
