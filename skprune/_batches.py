"""Torch datasets that return whole batches of arrays, tensors and sparse matrices."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np
import torch
from scipy import sparse
from skorch.dataset import Dataset

from skprune._encoding import dtype_of, is_number
from skprune._rows import columns_of, count_rows, is_table, take_rows


class BatchDataset(Dataset):
    """Rows of `X` and `y`, indexed once per batch and cast to the dtype of the net.

    Parameters
    ----------
    X : array-like, DataFrame, sparse matrix, tensor, list of tensors, or dict of them
        A batch of a sparse matrix becomes dense, and a batch of a DataFrame becomes a matrix.
    y : ndarray of shape (n_rows,), int64
    dtype : torch.dtype
        Dtype to which floating-point features are cast.
    cast_integers : bool
        Whether integer features are cast, too. Those in a dict never are.
    """

    def __init__(self, X, y, *, dtype, cast_integers):
        self.X = _batchable(X)
        self.y = y
        self.dtype = dtype
        self.cast_integers = cast_integers

    def __len__(self):
        return count_rows(self.X)

    def __getitem__(self, row):
        rows = _all_of(row, len(self))
        X, y = self.take_batch(np.atleast_1d(rows))
        if np.ndim(rows):  # if the sampler makes batches
            return X, y
        return {key: values[0] for key, values in X.items()} if isinstance(X, dict) else X[0], y[0]

    def take_batch(self, rows):
        """Return the features and labels of some rows.

        Parameters
        ----------
        rows : ndarray of shape (n_batch,), int

        Returns
        -------
        X : torch.Tensor of shape (n_batch, ...), or dict of them
        y : torch.Tensor of shape (n_batch,), int64
        """
        y = torch.from_numpy(self.y[rows])
        if isinstance(self.X, dict):
            X = {key: self._tensor(take_rows(values, rows), cast_integers=False) for key, values in self.X.items()}
            return X, y
        return self._tensor(take_rows(self.X, rows), self.cast_integers), y

    def _tensor(self, X, cast_integers):
        if sparse.issparse(X):
            X = X.toarray()
        if not isinstance(X, torch.Tensor):
            X = torch.from_numpy(X.astype(X.dtype.newbyteorder("="), copy=False))
        if X.is_floating_point() or cast_integers:
            return X.to(self.dtype)
        return X


class TableDataset(Dataset):
    """Rows of a `datasets.Dataset` and their labels, read from its Arrow table a batch at a time.

    Parameters
    ----------
    X : datasets.Dataset
        Its numbers become tensors unless it already has a format.
    y : ndarray of shape (n_rows,), int64
    dtype : torch.dtype
        Dtype to which floating-point columns are cast.
    """

    def __init__(self, X, y, *, dtype):
        self.X = X if X.format["type"] else X.with_format("torch")
        self.y = y
        self.dtype = dtype

    def __len__(self):
        return len(self.X)

    def __getitem__(self, row):
        rows = _all_of(row, len(self))
        return self.take_batch(np.asarray(rows)) if np.ndim(rows) else self.__getitems__([row])[0]

    def __getitems__(self, rows):
        columns = self._read(self.X, rows)
        samples = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
        return list(zip(samples, self.y[rows], strict=True))

    def take_batch(self, rows):
        """Return a batch as :class:`BatchDataset` does, with `X` as a dict of tensors."""
        table = self.X
        if table.format["type"] not in ("torch", "custom"):  # custom is a transform by the user
            table = table.with_format("torch", columns=table.format["columns"])
        columns = self._read(table, rows.tolist())
        for name, values in columns.items():
            if not isinstance(values, torch.Tensor):
                raise ValueError(
                    f"The scoring net computes with tensors, but the rows of column {name!r} of X can't be converted: they "
                    "differ in length or are not numeric. Pad them, drop the column with X.select_columns([...]), or pass "
                    "iterator_train__collate_fn and iterator_valid__collate_fn to the net, which make batches of the rows."
                )
        return columns, torch.from_numpy(self.y[rows])

    def _read(self, table, rows):
        return {
            name: values.to(self.dtype) if isinstance(values, torch.Tensor) and values.is_floating_point() else values
            for name, values in table[rows].items()
        }


def _all_of(row, n_rows):
    """Return the row numbers of a slice, and anything else as it is."""
    return np.arange(n_rows)[row] if isinstance(row, slice) else row


class SampleDataset(Dataset):
    """Objects, such as texts, and their labels. A collate_fn makes batches of them.

    A row of a dict is a dict.
    """

    def __init__(self, X, y):
        self.X = X
        self.y = y

    def __len__(self):
        return count_rows(self.X)

    def __getitem__(self, row):
        if isinstance(self.X, Mapping):
            return {key: values[row] for key, values in self.X.items()}, self.y[row]
        return self.X[row], self.y[row]


class LabelledDataset(SampleDataset):
    """Samples of a torch Dataset with other labels. A sample is features, or a pair of features and a label."""

    def __getitem__(self, row):
        X, *others = sample if isinstance(sample := self.X[row], (tuple, list)) else (sample,)
        if len(others) > 1:
            raise ValueError(
                f"A sample of the {type(self.X).__name__} passed as X has {len(sample)} parts; expected features, or a pair "
                "of features and a label. If the module takes several inputs, return them as a dict."
            )
        return X, self.y[row]


def make_batches(net, X, y=None):
    """Return a dataset for an initialized net, cast to the dtype of its parameters.

    Integer features are cast, too, unless the module has an embedding layer. Samples that are not numeric, such as texts, are
    left to the collate_fn of the net.
    """
    if y is None:  # to predict; skorch gives a placeholder too
        y = np.zeros(count_rows(X), dtype=np.int64)
    if isinstance(X, list) and isinstance(X[0], torch.Tensor) and len({row.shape for row in X}) == 1:
        X = torch.stack(X)
    if len(getattr(X, "shape", ())) == 1 and hasattr(X, "to_numpy"):  # a Series
        X = X.to_numpy()
    if _is_samples(X):
        return SampleDataset(X, y)
    module = net.module_
    dtypes = (parameter.dtype for parameter in module.parameters() if parameter.is_floating_point())
    has_embedding = any(isinstance(part, (torch.nn.Embedding, torch.nn.EmbeddingBag)) for part in module.modules())
    dtype = next(dtypes, torch.get_default_dtype())
    if is_table(X):
        return TableDataset(X, y, dtype=dtype)
    return BatchDataset(X, y, dtype=dtype, cast_integers=not has_embedding)


def _is_samples(X):
    """Return whether `X` is a sequence of single objects, such as texts, or a dict whose rows differ in length."""
    if isinstance(X, Mapping):
        return any(_is_ragged(values) for values in X.values())
    first = X[0] if isinstance(X, Sequence) or (isinstance(X, np.ndarray) and X.ndim == 1) else None
    return isinstance(first, (str, bytes, Mapping, torch.Tensor))


def _is_ragged(values):
    is_sequence = isinstance(values, Sequence) and not isinstance(values, (str, bytes))
    return is_sequence and isinstance(values[0], (list, tuple)) and len(set(map(len, values))) > 1


def _batchable(X):
    """Return `X` in a form in which many rows can be indexed at once, copied only if necessary."""
    if sparse.issparse(X):  # before mappings, since a dok matrix is one
        X = X.tocsr()
    elif isinstance(X, Mapping):
        return {key: _batchable(values) for key, values in X.items()}
    elif isinstance(X, torch.Tensor):
        X = X.detach()
    else:
        check_columns(X)
        X = np.asarray(X)
        if X.dtype.kind == "O":  # such as DataFrames with nullable columns
            with suppress(TypeError, ValueError):
                X = X.astype(np.float64)
    is_numeric = not X.is_complex() if isinstance(X, torch.Tensor) else X.dtype.kind in "biuf"
    if not is_numeric:
        raise ValueError(f"The scoring net computes with real numbers, got features with dtype {X.dtype}. {_ENCODE}")
    return X


def check_columns(X):
    """Raise a ValueError if `X` is a table with columns that are not numeric."""
    refused = {name: dtype_of(column) for name, column in columns_of(X) or [] if not is_number(column)}
    if refused:
        raise ValueError(
            f"The scoring net computes with numbers, but some columns of X are not numeric: {refused}. {_ENCODE}"
        )


_ENCODE = (
    "Encode them with ForgettingSelector(encoder=...), in an earlier step, or set the dataset parameter of the net."
)
