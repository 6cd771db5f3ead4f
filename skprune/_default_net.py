"""The scoring net that is used when none is given."""

import numpy as np
import torch
from skorch import NeuralNetClassifier

# Units of the hidden layer up to so many rows, and of more rows, where fewer halve the time and score as well.
_HIDDEN, _MANY_ROWS, _HIDDEN_OF_MANY = 256, 10_000, 128
# Without it a net on a few hundred features learns wrong labels by heart, and disagrees with none of them.
_DROPOUT = 0.5
# About a hundred updates an epoch, so that small data have enough of them and large data are not all overhead.
_UPDATES, _MIN_BATCH, _MAX_BATCH = 100, 8, 1024
# Large data need fewer epochs: ten up to 5,000 rows, five from 50,000 rows on.
_MAX_EPOCHS, _MIN_EPOCHS, _ROWS_OF_MAX_EPOCHS = 10, 5, 5000
# For batches of up to 64 rows; larger batches take larger steps.
_LR, _LR_BATCH = 3e-3, 64
# Numbers at a time of which mean and scale are computed, so that X is never copied as a whole.
_CHUNK = 2**16
# A feature that is almost always 0, as pixels at the border are, is huge where it is not once it is standardised.
_LIMIT = 10.0


class StandardisedMLP(torch.nn.Module):
    """One hidden layer, with dropout, on standardised features.

    Parameters
    ----------
    mean, scale : torch.Tensor of shape (n_features,), float32
    n_classes, n_hidden : int
    """

    def __init__(self, mean, scale, n_classes, n_hidden):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(len(mean), n_hidden),
            torch.nn.ReLU(),
            torch.nn.Dropout(_DROPOUT),
            torch.nn.Linear(n_hidden, n_classes),
        )

    def forward(self, X):
        return self.layers(((X - self.mean) / self.scale).clamp(-_LIMIT, _LIMIT))


def make_default_net(X, n_classes):
    """Return a multilayer perceptron for two-dimensional `X`, standardised by its means and deviations.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    n_classes : int

    Returns
    -------
    net : NeuralNetClassifier
        Not initialized.
    """
    mean, scale = _moments(X)
    n_rows = X.shape[0]
    batch_size = int(np.clip(n_rows // _UPDATES, _MIN_BATCH, _MAX_BATCH))
    return NeuralNetClassifier(
        StandardisedMLP,
        module__mean=torch.from_numpy(mean),
        module__scale=torch.from_numpy(scale),
        module__n_classes=n_classes,
        module__n_hidden=_HIDDEN if n_rows <= _MANY_ROWS else _HIDDEN_OF_MANY,
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        optimizer__fused=True,  # one pass over the weights a step, which counts where X has many columns
        lr=_LR * max(batch_size / _LR_BATCH, 1) ** 0.25,
        max_epochs=int(
            np.clip(round(_MAX_EPOCHS - 5 * np.log10(n_rows / _ROWS_OF_MAX_EPOCHS)), _MIN_EPOCHS, _MAX_EPOCHS)
        ),
        batch_size=batch_size,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )


def is_default(net):
    """Tell whether a net is one that :func:`make_default_net` returned, or a clone of it."""
    return net.module is StandardisedMLP


def _moments(X):
    """Return mean and standard deviation of every feature, 1 where it is constant, as float32."""
    shift = _dense(X[:1])[0]  # differences to any row keep the squares small
    total = np.zeros(X.shape[1])
    squares = np.zeros(X.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):  # said below
        n_rows = max(_CHUNK // X.shape[1], 1)
        for start in range(0, X.shape[0], n_rows):
            chunk = _dense(X[start : start + n_rows]) - shift
            total += chunk.sum(0)
            squares += np.square(chunk).sum(0)
        mean = total / X.shape[0]
        scale = np.sqrt(np.maximum(squares / X.shape[0] - mean**2, 0))
        mean, scale = (mean + shift).astype(np.float32), scale.astype(np.float32)
    too_large = np.flatnonzero(~np.isfinite(mean) | ~np.isfinite(scale))
    if len(too_large):
        raise ValueError(
            f"X has values too large for float32, which the built-in scoring net computes with, in {len(too_large)} features, "
            f"{too_large[:5].tolist()} the first of them. Scale them in a step before, such as QuantileTransformer, or mend "
            "what made them so large."
        )
    return mean, np.where(scale > 1e-6 * np.abs(mean), scale, np.float32(1))


def _dense(X):
    return np.asarray(X).astype(np.float64)
