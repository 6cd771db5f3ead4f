"""Ridge regressions on held-out rows: margins of the rows, and ratings of the rules that select them."""

from collections.abc import Mapping
from contextlib import suppress
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from sklearn import config_context
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.kernel_approximation import RBFSampler
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from skprune._checks import checkable
from skprune._rows import is_table, take_rows
from skprune._scores import HeldOut
from skprune._selection import RULES, SHARES, apply_rule, count_kept

# Ridge regressions are fitted to at most this many rows and numbers, and not at all if these are too few rows of X.
_MAX_ROWS, _MAX_NUMBERS, _MIN_ROWS = 20_000, 2**24, 1000
# With fewer rows, the parts of a split say nothing.
_FEWEST_ROWS = 30
# Means, deviations and principal components are computed on at most this many rows and numbers.
_MAX_FITTED, _MAX_FITTED_NUMBERS = 5000, 2**23
# Features are transformed in chunks of so many numbers, and rows are predicted in chunks of so many rows.
_CHUNK, _CHUNK_ROWS = 2**18, 2000
# How far the accuracy of the regressions may lie below that of a net that sees more than they do.
_MAX_SHORTFALL = 0.15
_N_COMPONENTS, _N_FOURIER = 100, 300
# Standardized features are clipped here, because a feature that is almost always 0 is huge where it is not.
_LIMIT = 5.0
# Differences of larger numbers overflow in float32.
_LARGEST = 1e38
# Penalties as multiples of the mean eigenvalue of the Gram matrix: those to choose from for margins, those for rating.
_PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0)
_LINEAR_PENALTY, _FOURIER_PENALTY = 0.03, 0.003
# Rules are rated on two splits of the rows, or on one if there are this many rows.
_ROWS_OF_ONE_SPLIT = 10_000
# The accuracy of nearest neighbors on so many rows tells what is attainable.
_N_NEIGHBORS, _N_ASKED = 5, 1000


@config_context(transform_output="default")  # arrays, whatever output the user has chosen for transformers
def reduce_sparse(X):
    """Return the coordinates of sparse rows along their leading singular vectors.

    Parameters
    ----------
    X : sparse matrix of shape (n_rows, n_features)

    Returns
    -------
    X_reduced : ndarray of shape (n_rows, n_components)
        At most 100 components, which differ in scale, as float32. If `X` has no more columns, these are returned as they are.
    """
    X = X.tocsr()
    if X.shape[1] <= _N_COMPONENTS:
        return X.toarray()
    # A power of two changes no digit, and keeps the squares of large and small numbers within float32.
    exponent = np.frexp(abs(X).max())[1]
    svd = TruncatedSVD(min(_N_COMPONENTS, X.shape[0]), random_state=0)
    with np.errstate(all="ignore"):  # shares of variance, which are not read, are 0 / 0 where all rows are the same
        return np.ldexp(svd.fit_transform((X * np.ldexp(1.0, -exponent)).astype(np.float32)), exponent)


@config_context(transform_output="default")
def consult(scores, X, y, *, same_features=False):
    """Return `scores` with held-out margins and ratings from ridge regressions on `X`.

    Parameters
    ----------
    scores : ForgettingScores
        Every row must have a margin.
    X : array-like of shape (n_rows, ...), or another container
    y : ndarray of shape (n_rows,), int64
        Class numbers from 0.
    same_features : bool, default=False
        Whether the scoring net gets `X` as the regressions do. If it is much more accurate even so, it has memorized
        labels. Any other net may simply be better, and the regressions are then not used.

    Returns
    -------
    scores : ForgettingScores
        Unchanged if `X` is not an array of finite numbers below 1e38, or the regressions are not accurate enough.
    """
    X = _as_numbers(X)
    if X is None or 0 in X.shape or len(y) < _FEWEST_ROWS or np.isnan(scores.margins).any():
        return scores
    rng = np.random.RandomState(0)
    n_columns = int(np.prod(X.shape[1:]))
    rows = _some(np.arange(len(y)), min(_MAX_ROWS, _MAX_NUMBERS // n_columns), rng)
    if len(rows) < min(len(y), _MIN_ROWS) or not all(map(_is_usable, _blocks(X, np.arange(len(y))))):
        return scores
    n_classes = int(y.max()) + 1
    features = _Features(_floats(X, _some(rows, min(_MAX_FITTED, _MAX_FITTED_NUMBERS // n_columns), rng)), rng)
    spaces = features.transform(X, rows)
    margins, accuracy = _margins(features, spaces, rows, X, y, n_classes)
    if not same_features and accuracy < scores.last_accuracy() - _MAX_SHORTFALL:
        return scores
    weight, mean = 1.0, scores.margins.mean()
    if same_features and mean > 0:
        weight = float(np.clip(margins.mean() / mean, 0, 1))
    attainable = max(accuracy, _neighbors_accuracy(spaces[0], y[rows], rng))
    held_out = HeldOut(margins, np.zeros((len(SHARES), len(RULES))), attainable, weight)
    ratings = _rate(scores.take(rows), held_out, spaces, y[rows], n_classes, rng)
    return scores.with_held_out(held_out._replace(ratings=ratings))


def _as_numbers(X):
    """Return `X` as a numeric container with a shape, or None if it can't be converted."""
    if sparse.issparse(X):
        X = X.tocsr()
        return reduce_sparse(X) if _is_usable(X.data) else None
    if is_table(X) or isinstance(X, (Mapping, torch.utils.data.Dataset)):
        return None
    if isinstance(X, torch.Tensor):
        X = checkable(X).numpy()
    if hasattr(X, "to_numpy"):
        X = X.to_numpy()
    if isinstance(X, (list, tuple)):
        if isinstance(X[0], torch.Tensor):
            return None
        try:
            X = np.asarray(X)
        except ValueError:  # rows that differ in length
            return None
    if isinstance(X, np.ndarray) and X.dtype.kind == "O":  # such as DataFrames with nullable columns
        with suppress(TypeError, ValueError):
            X = X.astype(np.float64)
    kind = getattr(getattr(X, "dtype", None), "kind", "O")
    return X if kind in "biuf" and len(X.shape) > 1 else None


def _is_usable(numbers):
    """Tell whether float32 holds all of `numbers` and their differences; not so nan."""
    return bool((np.abs(numbers) < _LARGEST).all())


def _some(rows, n_rows, rng):
    """Return `n_rows` of the rows, drawn at random and sorted, or all if there are no more."""
    return rows if len(rows) <= n_rows else np.sort(rng.choice(rows, n_rows, replace=False))


def _floats(X, rows):
    with np.errstate(over="ignore", invalid="ignore"):  # overflow gives inf, which is checked for
        # The rows taken are copies, which may be changed in place.
        return np.asarray(take_rows(X, rows)).reshape(len(rows), -1).astype(np.float32, copy=False)


def _blocks(X, rows):
    """Yield rows of `X` as floats in small blocks, so that `X` is never copied as a whole."""
    n_block = max(_CHUNK // int(np.prod(X.shape[1:])), 1)
    for start in range(0, len(rows), n_block):
        yield _floats(X, rows[start : start + n_block])


class _Features:
    """Principal components of standardized features, and random Fourier features of these.

    Parameters
    ----------
    X : ndarray of shape (n_fitted, n_features), float32
        Changed in place.
    rng : numpy.random.RandomState
    """

    def __init__(self, X, rng):
        self.scaler = StandardScaler(copy=False).fit(X)
        self.pca = None
        Z = self._standardised(X)
        if Z.shape[1] > _N_COMPONENTS:
            self.pca = PCA(min(_N_COMPONENTS, len(Z)), svd_solver="randomized", random_state=rng)
            with np.errstate(all="ignore"):  # as in reduce_sparse
                self.pca.fit(Z)
            Z = self.pca.transform(Z)
        some = Z[rng.permutation(len(Z))[:500]]
        distances = euclidean_distances(some, squared=True)
        width = np.median(distances[distances > 0]) if distances.any() else 1.0
        self.fourier = RBFSampler(gamma=1 / (2 * width), n_components=_N_FOURIER, random_state=rng).fit(Z[:1])

    def transform(self, X, rows):
        """Return the features of some rows of `X` in both spaces, as float32."""
        components = [self._components(block) for block in _blocks(X, rows)]
        Z = np.concatenate(components)
        return [Z, self.fourier.transform(Z).astype(np.float32, copy=False)]

    def _components(self, X):
        X = self._standardised(X)
        return X if self.pca is None else self.pca.transform(X)

    def _standardised(self, X):
        X = self.scaler.transform(X)
        return np.clip(X, -_LIMIT, _LIMIT, out=X)


def _margins(features, spaces, rows, X, y, n_classes):
    """Return the margin of every row, averaged over the regressions in both spaces, and the better accuracy on `rows`."""
    margins = np.zeros(len(y), dtype=np.float32)
    fits = [_best_ridge(space, y[rows], n_classes) for space in spaces]
    margins[rows] = np.mean([margin_of(left_out, y[rows]) for _, left_out in fits], axis=0)
    accuracy = max(np.mean(left_out.argmax(1) == y[rows]) for _, left_out in fits)
    others = np.setdiff1d(np.arange(len(y)), rows, assume_unique=True)
    for start in range(0, len(others), _CHUNK_ROWS):
        chunk = others[start : start + _CHUNK_ROWS]
        predicted = [ridge.predict(space) for (ridge, _), space in zip(fits, features.transform(X, chunk), strict=True)]
        margins[chunk] = np.mean([margin_of(prediction, y[chunk]) for prediction in predicted], axis=0)
    return margins.clip(-1, 1), float(accuracy)


class _Ridge(NamedTuple):
    mean: np.ndarray
    target_mean: np.ndarray
    weights: np.ndarray

    def predict(self, F):
        return (F - self.mean) @ self.weights + self.target_mean


def _centred(F, y, n_classes):
    targets = np.eye(n_classes, dtype=np.float32)[y]
    mean, target_mean = F.mean(0), targets.mean(0)
    return F - mean, targets - target_mean, mean, target_mean


def _best_ridge(F, y, n_classes):
    """Return the ridge regression whose penalty has the least leave-one-out error, and its leave-one-out predictions."""
    F, targets, mean, target_mean = _centred(F, y, n_classes)
    values, vectors = np.linalg.eigh((F.T @ F).astype(np.float64))
    rotated = F @ vectors.astype(np.float32)
    products, best = rotated.T @ targets, (np.inf, _Ridge(mean, target_mean, mean), targets)
    for penalty in _PENALTIES:
        inverse = 1 / (values.clip(0) + max(penalty * values.mean(), 1e-9))
        # As float64, since the leverage of few rows with many features is nearly 1.
        leverage = np.square(rotated, dtype=np.float64) @ inverse + 1 / len(F)
        inverse, left = inverse.astype(np.float32), (1 - leverage).clip(1e-6).astype(np.float32)
        residuals = (targets - rotated @ (inverse[:, None] * products)) / left[:, None]
        error = np.square(residuals).mean()
        if error < best[0]:
            weights = vectors.astype(np.float32) @ (inverse[:, None] * products)
            best = error, _Ridge(mean, target_mean, weights), targets + target_mean - residuals
    return best[1:]


def _rate(scores, held_out, spaces, y, n_classes, rng):
    """Return the accuracy of regressions on the rows that each rule keeps, for each share, measured on held-out rows.

    Rows are split, and trust is computed again on the part that rows are selected from. Otherwise, rows that contradict
    the test rows would have less trust and be dropped, which favors rules that drop many rows.
    """
    ratings = np.zeros((len(SHARES), len(RULES)))
    n_splits = 1 if len(y) >= _ROWS_OF_ONE_SPLIT else 2
    for _ in range(n_splits):
        order = rng.permutation(len(y))
        tested, rows = np.split(order, [len(y) // 3])
        left_out = [_best_ridge(space[rows], y[rows], n_classes)[1] for space in spaces]
        margins = np.mean([margin_of(predicted, y[rows]) for predicted in left_out], axis=0).clip(-1, 1)
        part = scores.take(rows).with_held_out(held_out._replace(margins=margins.astype(np.float32)))
        for (i, share), (j, rule) in product(enumerate(SHARES), enumerate(RULES)):
            kept = rows[apply_rule(rule, part, count_kept(share, len(rows)), np.random.default_rng(0))]
            for space, penalty in zip(spaces, (_LINEAR_PENALTY, _FOURIER_PENALTY), strict=True):
                ratings[i, j] += _accuracy(space, y, kept, tested, n_classes, penalty)
    return ratings / (n_splits * len(spaces))


def _accuracy(F, y, kept, tested, n_classes, penalty):
    """Return the accuracy on the rows `tested` of a ridge regression on the rows `kept`."""
    centred, targets, mean, target_mean = _centred(F[kept], y[kept], n_classes)
    is_wide = len(centred) < centred.shape[1]  # then the Gram matrix of the rows is the smaller one
    gram = (centred @ centred.T if is_wide else centred.T @ centred).astype(np.float64)
    gram[np.diag_indices_from(gram)] += max(penalty * np.trace(gram) / centred.shape[1], 1e-9)
    weights = np.linalg.solve(gram, targets if is_wide else centred.T @ targets).astype(np.float32)
    if is_wide:
        weights = centred.T @ weights
    predicted = _Ridge(mean, target_mean, weights).predict(F[tested])
    return np.mean(predicted.argmax(1) == y[tested])


def margin_of(predicted, y):
    """Return the prediction for the true class minus the largest other one; `predicted` has shape (n_rows, n_classes)."""
    rows = np.arange(len(y))
    true = predicted[rows, y]
    others = predicted.copy()
    others[rows, y] = -np.inf
    return true - others.max(1)


def _neighbors_accuracy(Z, y, rng):
    """Return the accuracy of nearest neighbors on some rows, which are left out of the training rows."""
    asked, others = np.split(rng.permutation(len(y)), [min(_N_ASKED, len(y) // 2)])
    neighbors = KNeighborsClassifier(_N_NEIGHBORS, weights="distance").fit(Z[others], y[others])
    return float(neighbors.score(Z[asked], y[asked]))
