"""Features of rows for the models that look at them again: numbers of about the same size, and not too many."""

from collections.abc import Mapping

import numpy as np
import torch
from scipy import sparse
from sklearn import config_context
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.kernel_approximation import RBFSampler
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.preprocessing import StandardScaler

from skprune._checks import checkable
from skprune._rows import is_table, take_rows

N_COMPONENTS, _N_FOURIER = 100, 300
# There are as many Fourier features as rows, within limits.
_FEWEST_FOURIER = 30
# Means, deviations and principal components are computed on at most this many rows and numbers.
_MAX_FITTED, _MAX_FITTED_NUMBERS = 5000, 2**22
# Features are transformed in blocks of so many numbers, so that X is never copied as a whole.
_BLOCK = 2**18
# Standardized features are clipped here, because a feature that is almost always 0 is huge where it is not.
_LIMIT = 5.0
# Squares of larger numbers overflow.
_LARGEST = np.float64(1e150)


@config_context(transform_output="default")  # arrays, whatever output the user has chosen for transformers
def reduce_sparse(X):
    """Return the coordinates of sparse rows along at most 100 singular vectors, or all columns if they are no more."""
    X = X.tocsr()
    if X.shape[1] <= N_COMPONENTS:
        return X.toarray()
    # A power of two changes no digit, and keeps the squares of large and small numbers within float32.
    exponent = np.frexp(abs(X).max())[1]
    svd = TruncatedSVD(min(N_COMPONENTS, X.shape[0]), random_state=0)
    with np.errstate(all="ignore"):  # shares of variance, which are not read, are 0 / 0 where all rows are the same
        return np.ldexp(svd.fit_transform((X * np.ldexp(1.0, -exponent)).astype(np.float32)), exponent)


def as_numbers(X):
    """Return `X` as a container of numbers that has a shape, or None if it can't be, has nan or inf, or has no columns."""
    if sparse.issparse(X):
        X = X.tocsr()
        return reduce_sparse(X) if 0 not in X.shape and _is_usable(X.data) else None
    if is_table(X) or isinstance(X, (Mapping, torch.utils.data.Dataset)):
        return None
    if isinstance(X, torch.Tensor):
        X = checkable(X)
    elif hasattr(X, "to_numpy"):
        X = X.to_numpy()
    try:
        if isinstance(X, (list, tuple)) and not isinstance(X[0], torch.Tensor):
            X = np.asarray(X)
        if isinstance(X, np.ndarray) and X.dtype.kind == "O":  # such as DataFrames with nullable columns
            X = X.astype(np.float64)
    except (TypeError, ValueError):  # words, or rows that differ in length
        return None
    is_numeric = getattr(getattr(X, "dtype", None), "kind", "O") in "biuf" and len(X.shape) > 1 and 0 not in X.shape
    return X if is_numeric and all(map(_is_usable, _blocks(X, np.arange(len(X))))) else None


def some_rows(rows, n_rows, rng):
    """Return `n_rows` of the rows, drawn at random and sorted, or all if there are no more."""
    return rows if len(rows) <= n_rows else np.sort(rng.choice(rows, n_rows, replace=False))


class Features:
    """Principal components of standardized features, and random Fourier features of these.

    They are fitted to some of `rows`. `X` is what :func:`as_numbers` returns.
    """

    @config_context(transform_output="default")
    def __init__(self, X, rows, rng):
        n_columns = int(np.prod(X.shape[1:]))
        fitted = some_rows(rows, max(min(_MAX_FITTED, _MAX_FITTED_NUMBERS // n_columns), 2), rng)
        X = np.concatenate(list(_blocks(X, fitted)))
        self.scaler = StandardScaler().fit(X)
        self.pca = None
        Z = self._standardize(X)
        if n_columns > N_COMPONENTS:
            self.pca = PCA(min(N_COMPONENTS, len(Z)), svd_solver="randomized", random_state=rng)
            with np.errstate(all="ignore"):  # as in reduce_sparse
                self.pca.fit(Z)
            Z = self.pca.transform(Z)
        self.fourier = _fit_fourier(Z, rng)

    @config_context(transform_output="default")
    def transform(self, X, rows):
        """Return the components and the Fourier features of some rows of `X`, as float32."""
        Z = np.concatenate([self._components(block) for block in _blocks(X, rows)])
        return Z, self.fourier.transform(Z).astype(np.float32, copy=False)

    def _components(self, X):
        X = self._standardize(X)
        return X if self.pca is None else self.pca.transform(X).astype(np.float32, copy=False)

    def _standardize(self, X):
        # In float64, because float32 has too few digits for a feature with a large mean, such as a time stamp.
        return np.clip(self.scaler.transform(X), -_LIMIT, _LIMIT).astype(np.float32)


@config_context(transform_output="default")
def both_spaces(Z, rng):
    """Return components and their Fourier features, as float32."""
    return Z, _fit_fourier(Z, rng).transform(Z).astype(np.float32, copy=False)


def _fit_fourier(Z, rng):
    """Return a sampler of Fourier features whose width is the median distance between rows of `Z`."""
    some = Z[rng.permutation(len(Z))[:500]]
    distances = euclidean_distances(some, squared=True)
    width = np.median(distances[distances > 0]) if distances.any() else 1.0
    n_features = int(np.clip(len(Z), _FEWEST_FOURIER, _N_FOURIER))
    return RBFSampler(gamma=1 / (2 * width), n_components=n_features, random_state=rng).fit(Z[:1])


def _is_usable(numbers):
    """Tell whether all of `numbers` are finite, and their squares are too."""
    return bool((np.abs(numbers) < _LARGEST).all())


def _blocks(X, rows):
    """Yield rows of `X` as float64 in small blocks."""
    n_block = max(_BLOCK // int(np.prod(X.shape[1:])), 1)
    for start in range(0, len(rows), n_block):
        block = np.asarray(take_rows(X, rows[start : start + n_block]))
        yield block.reshape(len(block), -1).astype(np.float64)
