from collections import OrderedDict, defaultdict

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from scipy import sparse
from sklearn.utils import Bunch

from skprune._rows import count_rows, has_entry_per_row, take_rows

ROWS = np.array([1, 3])
X = np.arange(12).reshape(4, 3)


@pytest.mark.parametrize("array", [X[:, 0], X, X[:, :, None, None], np.asfortranarray(X), X[::-1]])
def test_ndarray(array):
    assert count_rows(array) == 4
    np.testing.assert_array_equal(take_rows(array, ROWS), array[[1, 3]])


def test_memmap(tmp_path):
    np.save(tmp_path / "X.npy", X)
    kept = take_rows(np.load(tmp_path / "X.npy", mmap_mode="r"), ROWS)
    np.testing.assert_array_equal(kept, X[ROWS])


def test_pandas():
    frame = pd.DataFrame(X, columns=list("abc"), index=list("wxyz"))
    pd.testing.assert_frame_equal(take_rows(frame, ROWS), frame.loc[["x", "z"]])
    pd.testing.assert_series_equal(take_rows(frame["a"], ROWS), frame["a"].loc[["x", "z"]])
    assert count_rows(frame) == count_rows(frame["a"]) == 4


def test_polars():
    frame = pl.DataFrame(X, schema=list("abc"))
    assert take_rows(frame, ROWS).equals(pl.DataFrame(X[ROWS], schema=list("abc")))
    assert take_rows(frame["a"], ROWS).to_list() == [3, 9]
    assert count_rows(frame) == count_rows(frame["a"]) == 4


@pytest.mark.parametrize(
    "column", [pa.array(X[:, 0]), pa.chunked_array([X[:3, 0], X[3:, 0]]), pa.table({"a": X[:, 0]})["a"]]
)
def test_arrow_column(column):
    assert take_rows(column, ROWS).to_pylist() == [3, 9]
    assert count_rows(column) == 4


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csr_matrix])
@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"])
def test_sparse(container, form):
    matrix = container(X).asformat(form)
    kept = take_rows(matrix, ROWS)
    assert kept.format == form
    assert type(kept) is type(matrix)
    np.testing.assert_array_equal(kept.toarray(), X[ROWS])
    assert count_rows(matrix) == 4


def test_tensor():
    assert torch.equal(take_rows(torch.from_numpy(X), ROWS), torch.from_numpy(X[ROWS]))
    assert count_rows(torch.from_numpy(X)) == 4


@pytest.mark.parametrize(("rows", "kept"), [([1, 3], ["b", "d"]), ([2], ["c"]), ([], [])])
def test_list(rows, kept):
    assert take_rows(list("abcd"), np.array(rows, dtype=int)) == kept
    assert take_rows(tuple("abcd"), np.array(rows, dtype=int)) == tuple(kept)
    assert take_rows(range(4), np.array(rows, dtype=int)) == rows


def test_mapping():
    kept = take_rows({"ids": X, "texts": list("abcd")}, ROWS)
    np.testing.assert_array_equal(kept["ids"], X[ROWS])
    assert kept["texts"] == ["b", "d"]
    assert count_rows({"ids": X, "texts": list("abcd")}) == 4
    for mapping in (Bunch(ids=X), defaultdict(list, ids=X), OrderedDict(ids=X)):
        kept = take_rows(mapping, ROWS)
        assert type(kept) is type(mapping)
        np.testing.assert_array_equal(kept["ids"], X[ROWS])
        np.testing.assert_array_equal(mapping["ids"], X)
    with pytest.raises(ValueError, match="'a': 4, 'b': 3"):
        count_rows({"a": X, "b": X[:3]})


def test_array_interface():
    class Series:
        def __array__(self, dtype=None, copy=None):
            return X

    assert count_rows(Series()) == 4
    np.testing.assert_array_equal(take_rows(Series(), ROWS), X[ROWS])


@pytest.mark.parametrize("scalar", [1.0, np.float64(1), None, np.array(3)])
def test_no_rows(scalar):
    with pytest.raises(TypeError):
        count_rows(scalar)


def test_entry_per_row():
    assert has_entry_per_row(np.ones(4), 4)
    assert has_entry_per_row([1, 2, 3, 4], 4)
    assert has_entry_per_row(pd.Series([1, 2, 3, 4]), 4)
    assert not has_entry_per_row([1, 2, 3], 4)
    assert not has_entry_per_row("abcd", 4)
    assert not has_entry_per_row({0: 1, 1: 1, 2: 1, 3: 1}, 4)
    assert has_entry_per_row({"a": np.ones(4), "b": [1, 2, 3, 4]}, 4)
    assert not has_entry_per_row({"a": np.ones(4), "b": 1}, 4)
    assert not has_entry_per_row({}, 4)
    assert not has_entry_per_row(4, 4)
    assert not has_entry_per_row(None, 4)
