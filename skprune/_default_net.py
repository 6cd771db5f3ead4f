"""The scoring net that is used when none is given."""

from contextlib import nullcontext

import numpy as np
import torch
from sklearn.base import clone
from skorch import NeuralNetClassifier
from torch.nn.functional import cross_entropy, one_hot
from torch.nn.utils import parameters_to_vector

from skprune._recorder import outcome_of
from skprune._scores import ForgettingScores
from skprune._threads import one_thread

# Units of the hidden layer for up to so many rows, and for more rows. Fewer units then halve the time and score as well.
_HIDDEN, _MANY_ROWS, _HIDDEN_OF_MANY = 256, 10_000, 128
# About a hundred updates per epoch, enough for small data and with little overhead for large data.
_UPDATES, _MIN_BATCH, _MAX_BATCH = 100, 8, 1024
# Large data need fewer epochs: ten for up to 5,000 rows, four for 80,000 rows and more.
_MAX_EPOCHS, _MIN_EPOCHS, _ROWS_OF_MAX_EPOCHS = 10, 4, 5000
# The learning rate for batches of up to 64 rows. Larger batches take larger steps.
_LR, _LR_BATCH = 3e-3, 64
# Adam with the settings of its paper.
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8
# Mean and scale are computed in chunks of so many numbers, rows are standardized in blocks of so many, and weights are
# updated in pieces of so many, which fit into the cache.
_CHUNK, _BLOCK, _PIECE = 2**16, 2**18, 2**16
# A feature that is almost always 0, such as a pixel at the border, is huge elsewhere after standardization.
_LIMIT = 10.0
# Matrix products of fewer multiplications take longer on several threads than on one.
_FEW_MULTIPLICATIONS = 2**24


class StandardizedMLP(torch.nn.Module):
    """Multilayer perceptron with one hidden layer, on standardized features."""

    def __init__(self, mean, scale, n_classes, n_hidden, seed):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape, n_inputs):  # from the range that torch.nn.Linear draws from, which takes no generator
            weights = torch.empty(shape, dtype=torch.float32, device="cpu")
            return torch.nn.Parameter(weights.uniform_(-(n_inputs**-0.5), n_inputs**-0.5, generator=generator))

        self.hidden_weight = draw(len(mean), n_hidden, n_inputs=len(mean))
        self.hidden_bias = draw(n_hidden, n_inputs=len(mean))
        self.output_weight = draw(n_hidden, n_classes, n_inputs=n_hidden)
        self.output_bias = draw(n_classes, n_inputs=n_hidden)

    def forward(self, X):
        """Return logits for features of any numeric dtype."""
        X = X.float() if X.is_floating_point() and X.itemsize <= 4 else X.double()
        Z = (X - self.mean.to(X.dtype)) / self.scale.to(X.dtype)
        hidden = torch.addmm(self.hidden_bias, Z.clamp(-_LIMIT, _LIMIT).float(), self.hidden_weight)
        return torch.addmm(self.output_bias, hidden.relu(), self.output_weight)


class DefaultNet(NeuralNetClassifier):
    """Classifier that trains a :class:`StandardizedMLP` in a loop of its own, and records what it forgets.

    With batches this small, skorch's loop spends most of its time outside of the matrix products. All random numbers come
    from generators that are seeded with `module__seed`, so that other threads can't disturb the training.
    """

    def initialize_optimizer(self, triggered_directly=None):
        """Make none. The loop has its own, because the first optimizer of torch in a process takes a second to import."""
        self.optimizer_ = None
        return self

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train on all rows, as skorch does. `y` must contain class numbers from 0."""
        self.record_fit(X, y, epochs=epochs)
        return self

    def record_fit(self, X, y, *, record="batch", epochs=None, after_epoch=lambda: None):
        """Train the initialized net on all rows, and return their scores.

        With ``record="batch"`` each row is presented before the update that uses it, with "epoch" all rows at the end of each
        epoch. Rows are predicted without dropout in both cases. `epochs` is `max_epochs` by default.
        """
        self.check_data(X, y)
        loop = _Loop(self, np.asarray(X), np.asarray(y))
        is_small = self.batch_size * loop.weights[0].numel() < _FEW_MULTIPLICATIONS
        with one_thread() if is_small else nullcontext(), torch.no_grad():
            for _ in range(self.max_epochs if epochs is None else epochs):
                loss = loop.run_epoch(record)
                self.history.new_epoch()
                self.history.record("epoch", len(self.history))
                self.history.record("train_loss", loss)
                after_epoch()
            for parameter, weights in zip(self.module_.parameters(), loop.weights, strict=True):
                parameter.copy_(weights)
        return loop.scores


class _Loop:
    """Training of the module of a net by Adam, with dropout and gradients written out."""

    def __init__(self, net, X, y):
        device = net.device or "cpu"
        self.X = X
        self.y = torch.as_tensor(y, dtype=torch.int64).to(device)
        self.mean, self.scale = (part.cpu().numpy() for part in net.module_.buffers())
        self.batch_size, self.lr, self.n_steps = net.batch_size, net.lr, 0
        self.scores = ForgettingScores(len(y), device=device)
        # The module has drawn its weights from the stream of the seed itself.
        seed = int(np.random.SeedSequence([net.module__seed, 1]).generate_state(1)[0])
        self.generator = torch.Generator(device).manual_seed(seed)

        shapes = [parameter.shape for parameter in net.module_.parameters()]
        flat = parameters_to_vector(net.module_.parameters()).detach()  # a copy
        gradient, moment, square = (torch.zeros_like(flat) for _ in range(3))
        self.weights, self.gradients = (
            [part.view(shape) for part, shape in zip(all_.split([s.numel() for s in shapes]), shapes, strict=True)]
            for all_ in (flat, gradient)
        )
        self.pieces = list(zip(*(all_.split(_PIECE) for all_ in (flat, gradient, moment, square)), strict=True))
        width = max(max(shape) for shape in shapes)
        self.block_size = max(_BLOCK // (width * self.batch_size), 1) * self.batch_size

    def run_epoch(self, record):
        """Train on every row once, and return the mean loss."""
        loss, n_rows, device = 0.0, len(self.y), self.y.device
        n_classes = len(self.weights[3])
        for rows in torch.randperm(n_rows, generator=self.generator, device=device).split(self.block_size):
            Z, y = self._standardized(rows), self.y[rows]
            logits = torch.empty(len(rows), n_classes, dtype=torch.float32, device=device)
            blocks = Z, one_hot(y, n_classes).float(), logits
            for batch in zip(*(block.split(self.batch_size) for block in blocks), strict=True):
                self._step(*batch)
            loss += float(cross_entropy(logits, y, reduction="sum"))
            if record == "batch":
                self.scores.update(rows, *outcome_of(logits.softmax(1), y))
        if record == "epoch":
            for rows in torch.arange(n_rows, device=device).split(self.block_size):
                W, b, V, c = self.weights
                logits = torch.addmm(c, torch.addmm(b, self._standardized(rows), W).relu_(), V)
                self.scores.update(rows, *outcome_of(logits.softmax(1), self.y[rows]))
        return loss / n_rows

    def _standardized(self, rows):
        rows = rows.cpu().numpy()
        # Torch needs 15 times the time for this if there are few features. In Fortran order, `take` would copy all rows.
        X = np.asarray(self.X.take(rows, axis=0) if self.X.flags.c_contiguous else self.X[rows])
        # In float64, because digits would be lost before the mean is subtracted, and so that equal numbers of any dtype agree.
        Z = X.astype(np.float64)
        with np.errstate(over="ignore"):  # clipped below
            Z -= self.mean
            Z /= self.scale
        Z = np.clip(Z, -_LIMIT, _LIMIT, out=Z).astype(np.float32)
        return torch.from_numpy(Z).to(self.y.device)

    def _step(self, Z, targets, logits):
        """Set `logits` to those of a batch, without dropout, and update the weights."""
        W, b, V, c = self.weights
        dW, db, dV, dc = self.gradients
        hidden = torch.addmm(b, Z, W).relu_()
        torch.addmm(c, hidden, V, out=logits)
        # Without dropout of half of the units, a net on a few hundred features memorizes wrong labels. What is left is doubled.
        hidden.mul_(self._draw_bits(hidden.numel()).view_as(hidden))
        error = torch.addmm(c, hidden, V, alpha=2).softmax(1).sub_(targets).div_(len(Z))
        torch.sum(error, 0, out=dc)
        torch.mm(hidden.T, error.mul_(2), out=dV)
        error = torch.mm(error, V.T).mul_(hidden.sign_())
        torch.sum(error, 0, out=db)
        torch.mm(Z.T, error, out=dW)
        self._update()

    def _draw_bits(self, n_bits):
        """Return random zeros and ones, as int8. Random numbers last for eight batches, which use one bit of each byte."""
        shift = self.n_steps % 8
        if shift == 0:
            n_full = self.batch_size * len(self.weights[1])
            numbers = torch.empty(-(-n_full // 8), dtype=torch.int64, device=self.y.device)
            self.random_bytes = numbers.random_(-(2**63), None, generator=self.generator).view(torch.int8)
        return (self.random_bytes[:n_bits] >> shift).bitwise_and_(1)

    def _update(self):
        self.n_steps += 1
        lr = self.lr * (1 - _BETA_2**self.n_steps) ** 0.5 / (1 - _BETA_1**self.n_steps)
        for weights, gradient, moment, square in self.pieces:
            moment.lerp_(gradient, 1 - _BETA_1)
            square.mul_(_BETA_2).addcmul_(gradient, gradient, value=1 - _BETA_2)
            weights.addcdiv_(moment, square.sqrt().add_(_EPSILON), value=-lr)


def make_default_net(X, n_classes):
    """Return a multilayer perceptron for an array `X` of two dimensions, which is standardized by its means and deviations."""
    mean, scale = _moments(X)
    n_rows = len(X)
    batch_size = int(np.clip(n_rows // _UPDATES, _MIN_BATCH, _MAX_BATCH))
    max_epochs = round(_MAX_EPOCHS - 5 * np.log10(n_rows / _ROWS_OF_MAX_EPOCHS))
    return DefaultNet(
        StandardizedMLP,
        module__mean=torch.from_numpy(mean),
        module__scale=torch.from_numpy(scale),
        module__n_classes=n_classes,
        module__n_hidden=_HIDDEN if n_rows <= _MANY_ROWS else _HIDDEN_OF_MANY,
        module__seed=0,
        criterion=torch.nn.CrossEntropyLoss,
        lr=_LR * max(batch_size / _LR_BATCH, 1) ** 0.25,
        max_epochs=int(np.clip(max_epochs, _MIN_EPOCHS, _MAX_EPOCHS)),
        batch_size=batch_size,
        train_split=None,
        callbacks="disable",
        verbose=0,
    )


def is_default(net):
    """Return whether a net was made by :func:`make_default_net`, or is a clone of such a net."""
    return isinstance(net, DefaultNet)


def train_default(net, X, y, *, record, seed, after_epoch):
    """Train a clone of a default net, without any use of global random states, and return the scores and the clone."""
    net = clone(net).set_params(module__seed=int(seed)).initialize()
    scores = net.record_fit(X, y, record=record, after_epoch=after_epoch)
    for part in (net.module_, net.criterion_):
        part.eval()
    return scores, net


def _moments(X):
    """Return the mean of every feature and its standard deviation, or 1 if the feature is constant, as float64."""
    shift = X[0].astype(np.float64)  # differences from any row keep the squares small
    total, squares = np.zeros((2, X.shape[1]))
    with np.errstate(over="ignore", invalid="ignore"):  # said below
        n_rows = max(_CHUNK // X.shape[1], 1)
        for start in range(0, len(X), n_rows):
            chunk = X[start : start + n_rows].astype(np.float64) - shift
            total += chunk.sum(0)
            squares += np.square(chunk).sum(0)
        mean = total / len(X)
        scale = np.sqrt(np.maximum(squares / len(X) - mean**2, 0))
        mean += shift
        too_large = np.flatnonzero(~np.isfinite(mean.astype(np.float32)) | ~np.isfinite(scale.astype(np.float32)))
    if len(too_large):
        raise ValueError(
            f"{len(too_large)} features of X have values too large for float32, which the built-in scoring net computes with; "
            f"the first are {too_large[:5].tolist()}. Scale them in an earlier step, such as QuantileTransformer, or fix what "
            "made them so large."
        )
    epsilon = np.finfo(X.dtype if X.dtype.kind == "f" else np.float64).eps
    return mean, np.where(scale > 10 * epsilon * np.abs(mean), scale, 1.0)
