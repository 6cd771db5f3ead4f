"""Tell whether rows are those that a selector was fitted with."""

import zlib
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import torch
from scipy import sparse

from skprune._checks import checkable
from skprune._rows import count_rows, is_arrow, is_table, take_rows

# As many rows, and columns of each of them, are remembered. The columns are those that differ most among these rows.
_MAX_ROWS, _MAX_COLUMNS = 100, 64
# Two rows are different if the root mean square of their differences is larger than this many mean absolute deviations of the
# columns. It is about 1.8 for different rows. The fit_transform and transform of a step may differ a little.
_TOLERANCE = 0.1


class FittedRows:
    """Some values of the rows that a selector was fitted with.

    Parameters
    ----------
    X : as for :func:`skprune._rows.count_rows`

    Notes
    -----
    Two containers hold the same representation of rows if both are sparse, numeric or neither, and rows have the same shape or
    the same keys. A torch Dataset, which may change its samples at random, and objects of unknown types are never compared.
    """

    def __init__(self, X):
        self.n_rows = count_rows(X)
        self.rows = np.unique(np.linspace(0, self.n_rows - 1, _MAX_ROWS).astype(np.int64))
        self.representation, values = _as_matrix(_sample(X, self.rows))
        self.columns = _most_varied(values)
        self.values = _columns_of(values, self.columns)

    def check(self, X):
        """Raise a ValueError if `X` is known to contain other rows; return whether values were compared."""
        n_rows = count_rows(X)
        if n_rows != self.n_rows:
            raise ValueError(
                f"X has {n_rows} rows, but ForgettingSelector was fitted with {self.n_rows}. transform expects the rows passed "
                "to fit, in the same order, and returns those that are kept. To drop rows while fitting but not while "
                "predicting, make the selector a step of skprune.Pipeline; pipe.without_selection()[:-1].transform(X) then "
                "returns what its last step gets. Reshape your data with X.reshape(1, -1) if X is a single row."
            )
        representation, values = _as_matrix(_sample(X, self.rows))
        if representation != self.representation or 0 in values.shape:
            return False
        n_different = self._count_different(values)
        if n_different:
            raise ValueError(
                f"X has as many rows as ForgettingSelector was fitted with, but they are others: {n_different} of "
                f"{len(self.rows)} rows that were compared differ. transform expects the rows passed to fit, in the same order. "
                "New, shuffled or resampled rows have no scores. Fit a selector on them, or make it a step of skprune.Pipeline, "
                "where pipe.without_selection()[:-1].transform(X) returns all rows as its last step gets them. If X has the same "
                "rows with other values, such as scaled ones, use X[selector.get_support()]."
            )
        return True

    def _count_different(self, values):
        values = _columns_of(values, self.columns)
        known = np.isfinite(values) & np.isfinite(self.values)
        seen, given = np.where(known, self.values, 0), np.where(known, values, 0)
        n_known = np.maximum(known.sum(0), 1)
        with np.errstate(over="ignore"):
            deviation = np.where(known, np.abs(seen - seen.sum(0) / n_known), 0).sum(0) / n_known
            squares = np.square((given - seen) / np.where(deviation > 0, deviation, 1))
            is_different = squares.sum(1) > _TOLERANCE**2 * np.maximum(known.sum(1), 1)
        return is_different.sum()


def check_same_labels(y, classes, codes):
    """Raise a ValueError if the labels differ from those that were fitted, given as classes and positions in them."""
    if not (np.isin(y, classes).all() and np.array_equal(np.searchsorted(classes, y), codes)):
        raise ValueError(
            "y differs from the labels that ForgettingSelector was fitted with. A fitted selector keeps the rows that it has "
            "selected by their labels. Pass the same rows in the same order. To fit another y, do it outside of this Pipeline, "
            "with the rows of X and y that selector.get_support() names."
        )


def names_of_classes(y, codes):
    """Return the label in `y` of each class; raise a ValueError if rows of one class have several."""
    y = np.asarray(y)
    names = y[np.unique(codes, return_index=True)[1]] if y.shape == codes.shape else None
    if names is None or not np.array_equal(names[codes], y):
        raise ValueError(
            f"y must have one label for each of the {len(codes)} rows that ForgettingSelector was fitted with, and the same one "
            f"for all rows of a class; got shape {y.shape} and others. Pass the labels of fit, or a name for each of them."
        )
    return names


def _sample(X, rows):
    if isinstance(X, torch.utils.data.Dataset):
        return None
    if is_table(X):  # as it is stored, so that no picture is decoded and nothing is transformed
        return take_rows(X.with_format("arrow"), rows)[:].to_pydict()
    return take_rows(X, rows)


def _as_matrix(sample):
    """Return what tells representations apart, and the sample as a matrix of numbers, sparse or not."""
    if sample is None or (sparse.issparse(sample) and sample.dtype.kind not in "biuf"):
        return None, np.empty((0, 0))
    if sparse.issparse(sample):
        return ("sparse", sample.shape[1:]), sample.tocsc().astype(np.float64)
    if isinstance(sample, Mapping):
        parts = {key: _as_matrix(values) for key, values in sample.items()}
        matrices = [values.toarray() if sparse.issparse(values) else values for _, values in parts.values()]
        return tuple((key, kind) for key, (kind, _) in parts.items()), np.hstack(matrices)
    array = _as_array(sample)
    shape = ("numbers" if array.dtype.kind in "biuf" else "objects", array.shape[1:])
    return shape, _as_floats(array.reshape(len(array), -1))


def _as_array(sample):
    if isinstance(sample, torch.Tensor):
        return checkable(sample)
    if is_arrow(sample):  # whose columns may have no type in common
        columns = [np.asarray(column) for column in sample.columns]
        if any(column.dtype.kind not in "biuf" for column in columns):
            columns = [
                (_as_floats(column) if column.dtype.kind in "mM" else column).astype(object) for column in columns
            ]
        return np.stack(columns, axis=1)
    try:
        return np.asarray(sample)
    except (ValueError, RuntimeError):  # rows that differ in length, or tensors that numpy can't take
        array = np.empty(len(sample), dtype=object)
        array[:] = sample
        return array


def _as_floats(array):
    """Return numbers that stand for the entries of an array, as float64; seconds for dates and durations."""
    if array.dtype.kind in "mM":
        seconds = array.astype(f"{array.dtype.kind}8[us]").astype(np.int64) / 1e6
        return np.where(np.isnat(array), np.nan, seconds)
    return array.astype(np.float64) if array.dtype.kind in "biuf" else np.vectorize(_number_of, [float])(array)


def _number_of(entry):
    """Return a number that stands for an entry, or nan if it is missing or of an unknown type."""
    if isinstance(entry, (str, bytes, list, tuple, dict, time)):
        return float(zlib.crc32(entry if isinstance(entry, bytes) else repr(entry).encode()))
    try:
        if isinstance(entry, date) and not isinstance(entry, datetime):
            entry = datetime(entry.year, entry.month, entry.day)
        if isinstance(entry, datetime):  # without a time zone as in UTC, so that no local time matters
            return (entry if entry.tzinfo else entry.replace(tzinfo=UTC)).timestamp()
        if isinstance(entry, timedelta):
            return entry.total_seconds()
        return float(entry)
    except (TypeError, ValueError):
        return np.nan


def _most_varied(values):
    """Return the columns in which most rows differ from the first one."""
    is_sparse = sparse.issparse(values)
    n_different = np.diff(values.indptr) if is_sparse else ((values != values[:1]) & ~np.isnan(values)).sum(0)
    return np.sort(np.argsort(-n_different, kind="stable")[:_MAX_COLUMNS])


def _columns_of(values, columns):
    return values[:, columns].toarray() if sparse.issparse(values) else values[:, columns]
