"""The scoring net that is used when none is given."""

import numpy as np
import torch
from skorch import NeuralNetClassifier

# Units of the hidden layer for up to so many rows, and for more rows. Fewer units then halve the time and score as well.
_HIDDEN, _MANY_ROWS, _HIDDEN_OF_MANY = 256, 10_000, 128
# Without dropout, a net on a few hundred features memorizes wrong labels, and disagrees with none of them.
_DROPOUT = 0.5
# About a hundred updates per epoch, enough for small data and with little overhead for large data.
_UPDATES, _MIN_BATCH, _MAX_BATCH = 100, 8, 1024
# Large data need fewer epochs: ten for up to 5,000 rows, five for 50,000 rows and more.
_MAX_EPOCHS, _MIN_EPOCHS, _ROWS_OF_MAX_EPOCHS = 10, 5, 5000
# The learning rate for batches of up to 64 rows. Larger batches take larger steps.
_LR, _LR_BATCH = 3e-3, 64
# Mean and scale are computed in chunks of so many numbers, so that X is never copied as a whole.
_CHUNK = 2**16
# A feature that is almost always 0, such as a pixel at the border, is huge elsewhere after standardization.
_LIMIT = 10.0


class StandardisedMLP(torch.nn.Module):
    """Multilayer perceptron with one hidden layer and dropout, on standardized features.

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
    """Return a multilayer perceptron for two-dimensional `X`, which is standardized by its means and deviations.

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
        optimizer__fused=True,  # one pass over the weights per step, which matters if X has many columns
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
    """Return whether a net was made by :func:`make_default_net`, or is a clone of such a net."""
    return net.module is StandardisedMLP


def _moments(X):
    """Return the mean of every feature and its standard deviation, or 1 if the feature is constant, as float32."""
    shift = _dense(X[:1])[0]  # differences from any row keep the squares small
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
            f"{len(too_large)} features of X have values too large for float32, which the built-in scoring net computes with; "
            f"the first are {too_large[:5].tolist()}. Scale them in an earlier step, such as QuantileTransformer, or fix what "
            "made them so large."
        )
    return mean, np.where(scale > 1e-6 * np.abs(mean), scale, np.float32(1))


def _dense(X):
    return np.asarray(X).astype(np.float64)
