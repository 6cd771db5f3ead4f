"""Whether transform tells the rows of fit from others."""

import copy
import pickle

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from conftest import make_net
from scipy import sparse
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.pipeline import make_pipeline as plain_pipeline
from sklearn.preprocessing import StandardScaler

from skprune import ForgettingSelector, make_pipeline
from skprune._fitted_rows import FittedRows
from skprune._rows import take_rows

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 6))
COUNTS = RNG.poisson(0.05, (240, 400)).astype(float)
Y = np.arange(240) % 3
ORDER = RNG.permutation(240)
TEXTS = [" ".join(RNG.choice(["good", "bad", "film", "plot", "cast"], 6)) for _ in range(240)]


def fitted(rows, **params):
    selector = ForgettingSelector(make_net(), k=30, strategy="most_forgotten", random_state=0)
    return selector.fit(rows, Y, forgetting_scores=np.arange(240), **params)


def kept_by(selector, rows):
    return take_rows(rows, selector.get_support(indices=True))


CONTAINERS = {
    "array": X,
    "float32": X.astype(np.float32),
    "one column": X[:, :1],
    "binary": (X > 1).astype(int),
    "one hot": np.eye(12)[RNG.integers(0, 12, 240)],
    "tensor": torch.from_numpy(X),
    "lists": X.tolist(),
    "pictures": X.reshape(240, 1, 2, 3),
    "pandas": pd.DataFrame(X, columns=list("abcdef")),
    "polars": pl.DataFrame(X, schema=list("abcdef")),
    "table with words": pd.DataFrame({"text": TEXTS, "number": X[:, 0]}),
    "csr": sparse.csr_array(COUNTS),
    "coo": sparse.coo_matrix(COUNTS),
    "texts": TEXTS,
    "array of texts": np.array(TEXTS),
    "tokens": [text.split()[: 2 + row % 3] for row, text in enumerate(TEXTS)],
    "dict": {"ids": X, "texts": TEXTS},
    "tensors": [torch.from_numpy(row) for row in X],
}


@pytest.mark.parametrize("rows", CONTAINERS.values(), ids=CONTAINERS)
def test_other_rows_of_the_same_number_are_refused(rows):
    selector = fitted(rows)
    assert len(np.atleast_1d(selector.get_support(indices=True))) == 30
    selector.transform(rows)
    bootstrap = np.sort(np.random.default_rng(1).integers(0, 240, 240))
    for order in (ORDER, ORDER[::-1].copy(), np.roll(np.arange(240), 1), bootstrap):
        message = (
            r"others: \d+ of 100 rows .* differ.*skprune.Pipeline.*without_selection.*X\[selector.get_support\(\)\]"
        )
        with pytest.raises(ValueError, match=message):
            selector.transform(take_rows(rows, order))


def test_rows_of_a_dataset():
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"text": TEXTS, "ids": [[number, 1] for number in range(240)]})
    selector = fitted(rows)
    assert selector.transform(rows)["text"] == kept_by(selector, TEXTS)
    with pytest.raises(ValueError, match="but they are others"):
        selector.transform(rows.select(ORDER))


@pytest.mark.parametrize(
    ("seen", "given"),
    [
        (X, X.astype(np.float32)),
        (X.astype(np.float16), X),
        (X, torch.from_numpy(X).to(torch.bfloat16)),
        (X.astype(np.float32), pd.DataFrame(X, columns=list("abcdef"))),
        (X, X.tolist()),
        (sparse.csr_array(COUNTS), sparse.csc_matrix(COUNTS, dtype=np.float32)),
        (TEXTS, np.array(TEXTS, dtype=object)),
    ],
)
@pytest.mark.filterwarnings("ignore:X has feature names")
def test_the_same_rows_in_another_container(seen, given):
    selector = fitted(seen)
    assert len(np.asarray(kept_by(selector, np.arange(240)))) == 30
    kept = selector.transform(given)
    assert (kept.shape[0] if hasattr(kept, "shape") else len(kept)) == 30


@pytest.mark.parametrize(
    ("seen", "given"),
    [
        (X, X[:, :5]),
        (X, TEXTS),
        (TEXTS, X),
        (X, X.reshape(240, 1, 2, 3)),
        (COUNTS, sparse.csr_array(COUNTS[ORDER])),
        (X, pd.DataFrame({"text": TEXTS, "number": X[:, 0]})),
        (pd.DataFrame({"text": TEXTS, "number": X[:, 0]}), X[:, :2]),
        ({"ids": X}, X),
        (PCA(2).fit_transform(X), X),
    ],
)
def test_another_representation_is_taken_as_it_is(seen, given):
    selector = fitted(seen)
    kept = selector.transform(given)
    expected = kept_by(selector, given)
    if sparse.issparse(kept):
        kept, expected = kept.toarray(), expected.toarray()
    np.testing.assert_array_equal(np.asarray(kept), np.asarray(expected))


@pytest.mark.parametrize("missing_in", ["fit", "transform", "both"])
def test_missing_values_are_not_compared(missing_in):
    with_gaps = X.copy()
    with_gaps[RNG.random(X.shape) < 0.3] = np.nan
    words = pd.DataFrame({"text": TEXTS, "number": X[:, 0]})
    words_with_gaps = words.mask(RNG.random(words.shape) < 0.3)
    for whole, gaps in ((X, with_gaps), (words, words_with_gaps)):
        seen, given = {"fit": (gaps, whole), "transform": (whole, gaps), "both": (gaps, gaps)}[missing_in]
        selector = fitted(seen)
        assert len(selector.transform(given)) == 30
        with pytest.raises(ValueError, match="but they are others"):
            selector.transform(take_rows(given, ORDER))


@pytest.mark.parametrize("step", [PCA(4, svd_solver="randomized", random_state=0), TruncatedSVD(30, random_state=0)])
def test_steps_whose_fit_transform_and_transform_differ_a_little(step):
    rows = np.hstack([COUNTS, X])
    pipe = make_pipeline(step, ForgettingSelector(make_net(), k=30))
    pipe.fit(rows, Y, forgettingselector__forgetting_scores=np.arange(240))
    assert len(pipe.transform(rows)) == 30


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300, 0.0])
def test_a_column_without_information(value):
    rows = np.column_stack([X, np.full(240, value)])
    selector = fitted(rows)
    assert len(selector.transform(rows)) == 30
    with pytest.raises(ValueError, match="but they are others"):
        selector.transform(rows[ORDER])


def test_scaled_rows_of_the_same_width_are_told_apart():
    selector = fitted(StandardScaler().fit_transform(10 * X + 100))
    with pytest.raises(ValueError, match=r"use X\[selector.get_support\(\)\]"):
        selector.transform(10 * X + 100)


DATES = pd.date_range("2020", periods=60)


@pytest.mark.parametrize(
    "column",
    [
        DATES,
        DATES.tz_localize("Europe/Berlin"),
        DATES.date,
        DATES - DATES[0],
        DATES.where(np.arange(60) % 3 > 0),
        [f"{number}" for number in range(60)],
        np.arange(60.0),
    ],
    ids=["dates", "with a time zone", "days", "durations", "missing", "words", "numbers"],
)
@pytest.mark.parametrize("more", [{}, {"word": "x"}], ids=["alone", "with a word"])
def test_other_orders_of_a_table_whatever_its_library_is(column, more):
    frame = pd.DataFrame({"column": column, **more})
    tables = [frame, pl.from_pandas(frame), pa.Table.from_pandas(frame)]
    for fitted_to in tables:
        rows = FittedRows(fitted_to)
        for table in tables:
            assert rows.check(table)
            with pytest.raises(ValueError, match="but they are others"):
                rows.check(take_rows(table, np.arange(60)[::-1]))


def test_few_values_are_remembered():
    rows = np.zeros((1000, 5000), dtype=np.float32)
    selector = ForgettingSelector().fit(rows, np.arange(1000) % 2, forgetting_scores=np.arange(1000) % 7)
    assert len(pickle.dumps(selector)) < 800_000  # most of it are components of the rows, for tests on held-out rows


def test_a_torch_dataset_may_change_its_samples():
    class Augmented(torch.utils.data.Dataset):
        def __len__(self):
            return 240

        def __getitem__(self, row):
            return torch.rand(6)

    assert len(fitted(Augmented()).transform(Augmented())) == 30


def test_copies_keep_the_selection(tmp_path):
    selector = ForgettingSelector(k=30, strategy=draw, random_state=0).fit(X, Y, forgetting_scores=np.arange(240))
    rows = selector.get_support(indices=True)
    joblib.dump(selector, tmp_path / "selector.joblib")
    copies = [pickle.loads(pickle.dumps(selector)), copy.deepcopy(selector), joblib.load(tmp_path / "selector.joblib")]
    for same in copies:
        np.testing.assert_array_equal(same.get_support(indices=True), rows)
        np.testing.assert_array_equal(same.transform(X), X[rows])
        with pytest.raises(ValueError, match="but they are others"):
            same.transform(X[ORDER])
        assert same.set_params(k=40).get_support().sum() == 40
    selector.get_support(indices=True)[:] = 0
    np.testing.assert_array_equal(selector.get_support(indices=True), rows)


def draw(scores, n_keep, rng):
    return np.random.choice(len(scores), n_keep, replace=False)


def test_a_changed_parameter_selects_once_more():
    calls = []

    def first(scores, n_keep, rng):
        calls.append(n_keep)
        return np.arange(n_keep)

    selector = ForgettingSelector(k=10, strategy=first).fit(X, Y, forgetting_scores=np.arange(240))
    for _ in range(2):
        selector.transform(X)
        selector.get_support()
    assert calls == [10]
    selector.set_params(k=1)
    assert calls == [10]
    assert selector.get_support(indices=True).tolist() == [0]
    assert len(selector.set_params(k=1.0).transform(X)) == 240  # equal to 1, but a share
    assert len(selector.transform(X)) == 240
    assert calls == [10, 1, 240]
    with pytest.raises(ValueError, match="k must be"):
        selector.set_params(k=True).transform(X)
    selector.set_params(k=10, strategy="most_forgotten", min_per_class=0)
    assert selector.get_support(indices=True).tolist() == list(range(230, 240))


def test_a_failing_strategy_leaves_nothing_fitted():
    selector = ForgettingSelector(k=10, strategy=draw).fit(X, Y, forgetting_scores=np.arange(240))
    selector.set_params(strategy=lambda scores, n_keep, rng: [0])
    with pytest.raises(ValueError, match="must return 10 different row numbers"):
        selector.fit(X, Y, forgetting_scores=np.arange(240))
    assert not hasattr(selector, "forgetting_scores_")


def test_a_plain_pipeline_checks_rows_as_well():
    plain = plain_pipeline(StandardScaler(), fitted(StandardScaler().fit_transform(X)))
    plain[0].fit(X)
    assert plain.transform(X).shape == (30, 6)
    with pytest.raises(ValueError, match="but they are others"):
        plain.transform(X[ORDER])
