"""The nets of the benchmarks: logits of a multilayer perceptron, and of the convolutional net that [1]_ trains on MNIST.

References
----------
.. [1] M. Toneva et al., "An Empirical Study of Example Forgetting during Deep Neural Network Learning", ICLR 2019.
   https://arxiv.org/abs/1812.05159
"""

import torch
from torch import nn


class MLP(nn.Sequential):
    """784 pixels, 128 hidden units, 10 classes."""

    def __init__(self):
        super().__init__(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))


class CNN(nn.Sequential):
    """Two convolutions of 5 x 5, each with pooling, and a hidden layer of 50 units, without dropout."""

    def __init__(self):
        super().__init__(
            nn.Unflatten(1, (1, 28, 28)),
            *(nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Conv2d(10, 20, 5), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(320, 50), nn.ReLU(), nn.Linear(50, 10)),
        )


def sgd(net):
    """Return the optimizer of the paper for a module."""
    return torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.5)
