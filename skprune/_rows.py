"""Length and row indexing of the containers in which scikit-learn users keep their data."""

import copy
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch.utils.data import Dataset, Subset


def count_rows(X):
    """Return the number of rows of `X`.

    Parameters
    ----------
    X : array-like, sparse matrix, tensor, DataFrame, pyarrow Table, list, mapping of them, datasets.Dataset or torch Dataset
        Each value of a mapping has one entry per row.

    Returns
    -------
    n_rows : int

    Raises
    ------
    ValueError
        If the values of a mapping differ in length.
    TypeError
        If `X` has no length, or is a `datasets.DatasetDict`.
    """
    if isinstance(X, Mapping) and not sparse.issparse(X):
        _refuse_splits(X)
        lengths = {key: count_rows(values) for key, values in X.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"All values of a dict of arrays must have the same length, got the lengths {lengths}.")
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
            f"Expected a container with one entry per row, got {type(X).__name__}, which has no length. Rows are indexed by "
            "their number, so load a stream, such as a datasets.IterableDataset, completely, or pass a list or an array."
        )
    return len(X)


def _refuse_splits(X):
    """Raise a TypeError if a mapping contains datasets, as a `datasets.DatasetDict` does."""
    splits = [key for key, values in X.items() if is_table(values) or isinstance(values, Dataset)]
    if splits:
        raise TypeError(
            f"Expected the rows of one dataset, got a {type(X).__name__} with the splits {', '.join(map(repr, splits))}. Pass "
            f"the split that you train on, X[{splits[0]!r}]; the others stay as they are."
        )


def take_rows(X, rows):
    """Return the given rows of `X`, in the given order and in the same type of container.

    Parameters
    ----------
    X : as for :func:`count_rows`
    rows : ndarray of shape (n_kept,), int
        Row numbers, which may be repeated.

    Returns
    -------
    X_kept : same type as `X`
        A pandas object keeps its index, and a sparse matrix its format. For a torch Dataset, this is a `Subset`.
    """
    if sparse.issparse(X):  # before mappings, since a dok matrix is one
        return X.tocsr()[rows].asformat(X.format)
    if isinstance(X, Dataset):
        return Subset(X, rows.tolist())
    if isinstance(X, Mapping) and not hasattr(X, "shape"):  # one with a shape, such as a SliceDict, is cut as a whole
        kept: Any = copy.copy(X)  # however such a mapping is made
        kept.update({key: take_rows(values, rows) for key, values in X.items()})
        return kept
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    if isinstance(X, torch.Tensor):
        return X[torch.as_tensor(rows, device=X.device)]
    if is_table(X):
        return X.select(rows)
    if hasattr(X, "to_pylist"):  # a table or an array of pyarrow
        return X.take(rows)
    if isinstance(X, (list, tuple, range)):
        # itemgetter returns a bare item for one row, and raises for none.
        taken = itemgetter(*rows)(X) if len(rows) > 1 else [X[row] for row in rows]
        return list(taken) if isinstance(X, range) else type(X)(taken)
    if hasattr(X, "__array__") and not hasattr(X, "__getitem__"):
        X = np.asarray(X)
    return X[rows] if hasattr(X, "__getitem__") else X.take(rows)  # a ForgettingScores has take alone


def columns_of(X):
    """Return names and columns of a table by position, since names may be repeated, or None if `X` is no table."""
    if hasattr(X, "iloc") and hasattr(X, "columns"):
        return [(name, X.iloc[:, number]) for number, name in enumerate(X.columns)]
    if hasattr(X, "get_columns"):  # of polars
        return [(column.name, column) for column in X.get_columns()]
    if is_arrow(X):
        return list(zip(X.column_names, X.columns, strict=True))
    return None


def is_arrow(X):
    """Return whether `X` is a table of pyarrow, without importing that library."""
    return hasattr(X, "schema") and hasattr(X, "take") and hasattr(X, "column_names") and not is_table(X)


def is_table(X):
    """Return whether `X` is a `datasets.Dataset`, without importing that library."""
    return hasattr(X, "with_format") and hasattr(X, "column_names")


def is_numeric(X):
    """Return whether the first row of `X` is numeric, unlike a text."""
    row = take_rows(X, np.array([0]))
    if is_arrow(row):
        return all(np.asarray(column).dtype.kind in "biufc" for column in row.columns)
    return isinstance(row, torch.Tensor) or (row if sparse.issparse(row) else np.asarray(row)).dtype.kind in "biufc"


def has_entry_per_row(values, n_rows):
    """Return whether `values`, or each part of a mapping, is a container with `n_rows` entries, and not a string."""
    if isinstance(values, Mapping) and not sparse.issparse(values):
        return len(values) > 0 and all(has_entry_per_row(part, n_rows) for part in values.values())
    try:
        return not isinstance(values, (str, bytes)) and count_rows(values) == n_rows
    except TypeError:
        return False


# Words in the names of fit parameters that tell what they contain.
OF_VALIDATION = ("val", "valid", "validation", "eval", "evaluation", "test", "dev", "holdout")
OF_ROWS = ("weight", "weights", "group", "groups", "scores")


def row_wise(params, X, never_cut):
    """Return the names of the fit parameters to cut with `X`, as in the Notes of Pipeline, except those in `never_cut`."""
    if not params:
        return []
    n_rows = count_rows(X)
    words = {name: set(name.rpartition("__")[2].lower().split("_")) for name in params}
    sized = [name for name, values in params.items() if has_entry_per_row(values, n_rows)]
    of_validation = [name for name in sized if name in never_cut or words[name].intersection(OF_VALIDATION)]
    cut = [name for name in sized if name not in of_validation]
    for name in cut:
        if not words[name].intersection(OF_ROWS) and (of_validation or _has_rows_like(params[name], X)):
            raise ValueError(
                f"{name} has one entry for each of the {n_rows} rows of X, but may be validation data: it "
                + (f"comes with {', '.join(of_validation)} of as many rows" if of_validation else "looks like X")
                + f". Its name decides: with one of the words {', '.join(OF_VALIDATION)} it is never cut, otherwise with one of "
                f"{', '.join(OF_ROWS)} it is cut. Use set_fit_request of metadata routing to give it another name, or select "
                "rows with fit_resample and fit the later steps on these."
            )
    return cut


def _has_rows_like(values, X):
    """Return whether an entry of `values` could be a row of `X`: both have as many dimensions, and both or neither are text."""
    first, row = take_rows(values, np.array([0])), take_rows(X, np.array([0]))
    return _ndim(first) == _ndim(row) and (_ndim(row) > 1 or is_numeric(first) == is_numeric(row))


def _ndim(data):
    return len(data.shape) if hasattr(data, "shape") else np.ndim(data)
