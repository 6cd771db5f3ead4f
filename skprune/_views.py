"""Predictions for rows by models that have not seen their labels: leave-one-out ridge regressions and a forest."""

from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import nnls
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

# With more classes, a forest takes too long.
_MAX_FOREST_CLASSES = 150
# Trees, and the most rows that each of them gets. A leaf has a few rows, so that one wrong label does not fill it.
N_TREES, _MAX_TREE_ROWS, _ROWS_A_LEAF = 30, 2500, 3
# With more columns, trees with random thresholds are as good, and take a third of the time.
_MAX_SORTED_COLUMNS = 30
# Penalties of the ridge regressions, as multiples of the mean eigenvalue of the Gram matrix.
_PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0)
# So many numbers are predicted at once. Penalties and weights are chosen on as many.
_CHUNK = 2**22


class Ridge:
    """Ridge regression of one-hot labels whose penalty has the least leave-one-out error."""

    def __init__(self, F, y, n_classes):
        self.y, self.mean = y, F.mean(0)
        self.target_mean = (np.bincount(y, minlength=n_classes) / len(y)).astype(np.float32)
        F = F - self.mean
        values, vectors = np.linalg.eigh((F.T @ F).astype(np.float64))
        vectors = vectors.astype(np.float32)
        self._rotated = F @ vectors
        sums = (one_hot(y, n_classes).T @ self._rotated).T
        asked, best = rows_asked(len(y), n_classes), np.inf
        for penalty in _PENALTIES:
            inverse = 1 / (values.clip(0) + max(penalty * values.mean(), 1e-9))
            # As float64, since the leverage of few rows with many features is nearly 1.
            leverage = np.square(self._rotated, dtype=np.float64) @ inverse + 1 / len(F)
            fit = inverse.astype(np.float32)[:, None] * sums, (1 - leverage).clip(1e-6).astype(np.float32)
            error = np.square(self._residuals(fit, asked)).mean()
            if error < best:
                best, self._fit, self.penalty = error, fit, penalty
        self.weights = vectors @ self._fit[0]

    def left_out(self, rows):
        """Return the predictions for some of the fitted rows, each by a regression on all others."""
        return self._targets(rows) + self.target_mean - self._residuals(self._fit, rows)

    def predict(self, F):
        return (F - self.mean) @ self.weights + self.target_mean

    def _targets(self, rows):
        return one_hot(self.y[rows], len(self.target_mean)).toarray() - self.target_mean

    def _residuals(self, fit, rows):
        weights, left = fit
        return (self._targets(rows) - self._rotated[rows] @ weights) / left[rows, None]


class Forest:
    """Forest whose trees predict the rows that they have not seen."""

    def __init__(self, Z, y, n_classes, seed, n_trees):
        make = RandomForestClassifier if Z.shape[1] <= _MAX_SORTED_COLUMNS else ExtraTreesClassifier
        self.n_classes = n_classes
        self.trees = make(
            n_trees,
            min_samples_leaf=_ROWS_A_LEAF,
            bootstrap=True,
            max_samples=max(min(len(y) // 2, _MAX_TREE_ROWS), 1),
            random_state=seed,
            n_jobs=1,
        ).fit(Z, y)
        total, count = np.zeros((len(y), len(self.trees.classes_)), np.float32), np.zeros(len(y), np.float32)
        for tree, drawn in zip(self.trees.estimators_, self.trees.estimators_samples_, strict=True):
            unseen = np.ones(len(y), bool)
            unseen[drawn] = False
            unseen = np.flatnonzero(unseen)
            total[unseen] += tree.predict_proba(Z[unseen])
            count[unseen] += 1
        self._left_out = total / np.maximum(count, 1)[:, None]

    def left_out(self, rows):
        return self._of_all_classes(self._left_out[rows])

    def predict(self, Z):
        return self._of_all_classes(self.trees.predict_proba(Z))

    def _of_all_classes(self, predicted):
        if predicted.shape[1] == self.n_classes:
            return predicted
        widened = np.zeros((len(predicted), self.n_classes), np.float32)
        widened[:, self.trees.classes_] = predicted
        return widened


class Views:
    """Ridge regressions on components and on Fourier features and a forest, mixed to predict the labels best.

    Parameters
    ----------
    spaces : tuple of two ndarrays of shape (n_rows, ...), float32
        Components and Fourier features.
    y : ndarray of shape (n_rows,), int64
        Class numbers from 0.
    n_classes : int
    seed, n_trees : int
        Of the forest. There is none if there are many classes.
    """

    def __init__(self, spaces, y, n_classes, seed, n_trees=N_TREES):
        self.n_classes = n_classes
        self.ridges = [Ridge(space, y, n_classes) for space in spaces]
        self.models: list[tuple[int, Any]] = list(enumerate(self.ridges))
        self.forest = Forest(spaces[0], y, n_classes, seed, n_trees) if n_classes <= _MAX_FOREST_CLASSES else None
        if self.forest is not None:
            self.models.append((0, self.forest))
        asked = rows_asked(len(y), n_classes * len(self.models))
        predictions = [_normalized(model.left_out(asked)) for _, model in self.models]
        self.weights = mixing_weights(predictions, y[asked])

    def left_out(self, rows):
        """Return probabilities of shape (n_asked, n_classes) for some of the fitted rows, by models without their labels."""
        return self._mixed(lambda space, model: model.left_out(rows))

    def predict(self, spaces):
        """Return probabilities of shape (n_rows, n_classes) for other rows."""
        return self._mixed(lambda space, model: model.predict(spaces[space]))

    def _mixed(self, ask):
        parts = zip(self.weights, self.models, strict=True)
        return sum(np.float32(weight) * _normalized(ask(*model)) for weight, model in parts if weight > 0)


def mixing_weights(predictions, y):
    """Return the weights of non-negative least squares of the one-hot labels on several predictions, divided by their sum.

    They are all equal if no prediction is of use.
    """
    n_views, rows = len(predictions), np.arange(len(y))
    gram = np.array([[np.vdot(a, b) for b in predictions] for a in predictions], dtype=np.float64)
    products = np.array([predicted[rows, y].sum() for predicted in predictions], dtype=np.float64)
    # The Cholesky factor gives the same least squares with as many rows as views.
    factor = np.linalg.cholesky(gram + max(1e-6 * np.trace(gram), 1e-9) * np.eye(n_views))
    weights, _ = nnls(factor.T, np.linalg.solve(factor, products))
    return weights / weights.sum() if weights.sum() > 0 else np.full(n_views, 1 / n_views)


def one_hot(y, n_classes):
    """Return the indicators of the classes as a sparse array of shape (n_rows, n_classes), float32."""
    shape = len(y), n_classes
    return sparse.csr_array((np.ones(len(y), np.float32), y, np.arange(len(y) + 1)), shape=shape)


def compare(predicted, y):
    """Return the margins of the labels in predictions of shape (n_rows, n_classes), and the most probable other classes."""
    rows = np.arange(len(y))
    others = predicted.copy()
    others[rows, y] = -np.inf
    other = others.argmax(1)
    return predicted[rows, y] - predicted[rows, other], other


def rows_asked(n_rows, n_columns):
    """Return a slice of evenly spaced rows, so that their predictions are not too many numbers."""
    return slice(None, None, -(-n_rows * n_columns // _CHUNK))


def _normalized(predicted):
    """Return predictions as probabilities: at least 0, with the sum 1."""
    predicted = predicted.clip(0, 1)
    total = predicted.sum(1, keepdims=True)
    return np.where(total > 0, predicted / np.maximum(total, 1e-9), 1 / predicted.shape[1]).astype(
        np.float32, copy=False
    )
