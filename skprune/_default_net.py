"""The scoring net that is used when none is given."""

import numpy as np
import torch
from scipy import sparse
from skorch import NeuralNetClassifier

_HIDDEN = 256
_MAX_EPOCHS = 10
_LR = 3e-3
# Without it a net on a few hundred features learns wrong labels by heart, and disagrees with none of them.
_DROPOUT = 0.5
# Small data get small batches, so that every epoch has about a hundred updates to learn from.
_UPDATES, _MIN_BATCH, _MAX_BATCH = 100, 8, 64
# Rows at a time in which mean and scale are computed, so that X is never copied as a whole.
_CHUNK = 4096
# A feature that is almost always 0, as pixels at the border are, is huge where it is not once it is standardised.
_LIMIT = 10.0


class StandardisedMLP(torch.nn.Module):
    """One hidden layer, with dropout, on standardised features.

    Parameters
    ----------
    mean, scale : torch.Tensor of shape (n_features,), float32
    n_classes : int
    """

    def __init__(self, mean, scale, n_classes):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(len(mean), _HIDDEN),
            torch.nn.ReLU(),
            torch.nn.Dropout(_DROPOUT),
            torch.nn.Linear(_HIDDEN, n_classes),
        )

    def forward(self, X):
        return self.layers(((X - self.mean) / self.scale).clamp(-_LIMIT, _LIMIT))


def make_default_net(X, n_classes):
    """Return a multilayer perceptron for two-dimensional `X`, standardised by its means and deviations.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n_samples, n_features)
    n_classes : int

    Returns
    -------
    net : NeuralNetClassifier
        Not initialized.
    """
    mean, scale = _moments(X)
    return NeuralNetClassifier(
        StandardisedMLP,
        module__mean=torch.from_numpy(mean.astype(np.float32)),
        module__scale=torch.from_numpy(scale.astype(np.float32)),
        module__n_classes=n_classes,
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=_LR,
        max_epochs=_MAX_EPOCHS,
        batch_size=int(np.clip(X.shape[0] // _UPDATES, _MIN_BATCH, _MAX_BATCH)),
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )


def _moments(X):
    """Return mean and standard deviation of every feature, 1 where it is constant."""
    shift = _dense(X[:1])[0]  # differences to any row keep the squares small
    total = np.zeros(X.shape[1])
    squares = np.zeros(X.shape[1])
    for start in range(0, X.shape[0], _CHUNK):
        chunk = _dense(X[start : start + _CHUNK]) - shift
        total += chunk.sum(0)
        squares += np.square(chunk).sum(0)
    mean = total / X.shape[0]
    scale = np.sqrt(np.maximum(squares / X.shape[0] - mean**2, 0))
    return mean + shift, np.where(scale > 1e-6 * np.abs(mean + shift), scale, 1.0)


def _dense(X):
    return (X.toarray() if sparse.issparse(X) else np.asarray(X)).astype(np.float64)
