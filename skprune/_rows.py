"""Length and row indexing of every container that scikit-learn users hold their data in."""

import copy
from collections.abc import Callable, Mapping
from operator import itemgetter

import numpy as np
import torch
from scipy import sparse
from torch.utils.data import Dataset, Subset


def count_rows(X):
    """Return the number of rows of `X`.

    Parameters
    ----------
    X : array-like, sparse matrix, tensor, DataFrame, list, mapping of them, datasets.Dataset or torch Dataset
        The values of a mapping have one entry a row each.

    Returns
    -------
    n_rows : int

    Raises
    ------
    ValueError
        If the values of a mapping differ in length.
    TypeError
        If `X` has no length.
    """
    if isinstance(X, Mapping) and not sparse.issparse(X):
        lengths = {key: count_rows(values) for key, values in X.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"A dict of arrays needs one entry a row in every value, got the lengths {lengths}.")
        return next(iter(lengths.values()))
    shape = getattr(X, "shape", None)
    if isinstance(shape, tuple):
        if not shape:
            raise TypeError(f"Expected rows, got a scalar of type {type(X).__name__}.")
        return int(shape[0])
    if not hasattr(X, "__len__") and hasattr(X, "__array__"):
        return count_rows(np.asarray(X))
    if not hasattr(X, "__len__"):
        raise TypeError(
            f"Expected a container with one entry a row, got {type(X).__name__}, which has no length. Rows are looked up by "
            "their number: load a stream, such as a datasets.IterableDataset, as a whole, or give rows as a list or array."
        )
    return len(X)


def take_rows(X, rows):
    """Return the given rows of `X`, in the given order and in the container that `X` is.

    Parameters
    ----------
    X : as for :func:`count_rows`
    rows : ndarray of shape (n_kept,), int
        Row numbers; a row may be asked for more than once.

    Returns
    -------
    X_kept : same type as `X`
        A pandas object keeps its index, a sparse matrix its format. Of a torch Dataset it is a `Subset`.
    """
    if sparse.issparse(X):  # before mappings, since a dok matrix is one
        return X.tocsr()[rows].asformat(X.format)
    if isinstance(X, Dataset):
        return Subset(X, rows.tolist())
    if isinstance(X, Mapping) and not hasattr(
        X, "shape"
    ):  # a mapping with a shape, such as a SliceDict, is cut as a whole
        kept = {key: take_rows(values, rows) for key, values in X.items()}
        make: Callable = type(X)
        try:
            return make(kept)
        except TypeError:  # a mapping that is made in another way
            X = copy.copy(X)
            X.update(kept)
            return X
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    if isinstance(X, torch.Tensor):
        return X[torch.as_tensor(rows, device=X.device)]
    if is_table(X):
        return X.select(rows)
    if isinstance(X, (list, tuple)):
        return type(X)(_pick(X, rows))
    if isinstance(X, range):
        return list(_pick(X, rows))
    if hasattr(X, "__array__") and not hasattr(X, "__getitem__"):
        X = np.asarray(X)
    return X[rows]


def is_table(X):
    """Tell whether `X` is a `datasets.Dataset`, without importing that library."""
    return hasattr(X, "with_format") and hasattr(X, "column_names")


def _pick(sequence, rows):
    if len(rows) < 2:  # itemgetter returns a bare item for one row, and refuses none
        return [sequence[row] for row in rows]
    return itemgetter(*rows)(sequence)


def has_entry_per_row(values, n_rows):
    """Tell whether `values` is a row-wise companion of data with `n_rows` rows.

    A string, a mapping and a scalar never are.
    """
    if values is None or isinstance(values, (str, bytes, Mapping)):
        return False
    try:
        return count_rows(values) == n_rows
    except TypeError:
        return False
