"""W2 in numpy: federated averaging of the 2NN of McMahan et al. 2017
(784-200-200-10) on MNIST, 100 clients with equal IID shares, 10 of them a
round, 1 epoch, batches of 10, learning rate 0.1, until the test accuracy is
0.97. Dense, one process.

usage: w2.py DATA_FOLDER [--check]
"""

import sys

import numpy as np

import mnist

CLIENTS, SELECTED, ROUNDS_MAX, EPOCHS, BATCH, LEARNING_RATE = 100, 10, 1000, 1, 10, 0.1
TARGET = 0.97
WIDTHS = [784, 200, 200, 10]


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
    for round_number in range(1, ROUNDS_MAX + 1):
        selected = generator.choice(CLIENTS, SELECTED, replace=False)
        parameters = mnist.mean_of([
            mnist.train(parameters, *data[client], generator, EPOCHS, BATCH, LEARNING_RATE)
            for client in selected
        ])
        accuracy = mnist.accuracy_of(parameters, test_images, test_labels)
        if accuracy >= TARGET:
            break
    mnist.report("W2", accuracy, round_number, load_cpu_seconds)


main()
