import random

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn import config_context
from test_scores import record

from skprune import _consult
from skprune._consult import _PENALTIES, _accuracy, _best_ridge, consult, margin_of, reduce_sparse
from skprune._selection import RULES, SHARES


def fit_ridge(F, y, alpha):
    """Return a function that predicts, by the normal equations in float64."""
    F, targets = F.astype(np.float64), np.eye(3)[y]
    mean, target_mean = F.mean(0), targets.mean(0)
    centred = F - mean
    weights = np.linalg.solve(centred.T @ centred + alpha * np.eye(F.shape[1]), centred.T @ (targets - target_mean))
    return lambda rows: (rows - mean) @ weights + target_mean


def mean_eigenvalue(F):
    return np.square(F.astype(np.float64) - F.mean(0)).sum() / F.shape[1]


@pytest.mark.parametrize("n_features", [8, 130])  # more features than rows have leverages of nearly 1
@pytest.mark.parametrize("signal", [0.0, 1.0])
def test_left_out_predictions_are_those_of_refits(signal, n_features):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 40)
    F = (rng.normal(size=(40, n_features)) + signal * np.eye(3, n_features)[y]).astype(np.float32)
    refits = {}
    for penalty in _PENALTIES:
        alpha = penalty * mean_eigenvalue(F)
        left_out = [fit_ridge(np.delete(F, i, 0), np.delete(y, i), alpha)(F[i]) for i in range(40)]
        refits[np.square(left_out - np.eye(3)[y]).mean()] = alpha, left_out
    alpha, expected = refits[min(refits)]
    ridge, left_out = _best_ridge(F, y, 3)
    np.testing.assert_allclose(left_out, expected, atol=1e-3)
    np.testing.assert_allclose(ridge.predict(F), fit_ridge(F, y, alpha)(F), atol=1e-4)


@pytest.mark.parametrize("n_features", [12, 60])  # fewer than the rows that are kept, and more
def test_rated_accuracy_is_that_of_a_fit(n_features):
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 300)
    F = (rng.normal(size=(300, n_features)) + 0.8 * np.eye(3, n_features)[y]).astype(np.float32)
    kept, tested = np.split(rng.permutation(300)[:280], [40])
    for penalty in (0.03, 3.0):
        predicted = fit_ridge(F[kept], y[kept], penalty * mean_eigenvalue(F[kept]))(F[tested]).argmax(1)
        assert _accuracy(F, y, kept, tested, 3, penalty) == np.mean(predicted == y[tested])


def test_margin_by_hand():
    predicted = np.array([[0.7, 0.2, 0.1], [0.5, 0.1, 0.4], [-0.1, 1.2, -0.1], [0.3, 0.3, 0.4]])
    before = predicted.copy()
    np.testing.assert_allclose(margin_of(predicted, np.array([0, 2, 1, 0])), [0.5, -0.1, 1.3, -0.1])
    np.testing.assert_array_equal(predicted, before)


@pytest.fixture
def rows(monkeypatch):
    """Scores, X of small ints and y of three classes, of which the last row is labeled wrongly."""
    monkeypatch.setattr(_consult, "_N_FOURIER", 20)  # inverses of 300 times 300 numbers would take most of the time
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    X = rng.integers(0, 3, (90, 6)) + 4 * np.eye(3, 6, dtype=int)[y]
    y[-1] = 0
    margins = rng.uniform(0, 1, (1, 90))
    return record(margins > 0.1, margins), X, y


def parts(scores):
    held_out = scores._held_out
    return held_out.margins, held_out.ratings, held_out.attainable, held_out.net_weight


def assert_same(scores, expected):
    for part, other in zip(parts(scores), parts(expected), strict=True):
        np.testing.assert_array_equal(part, other)


def as_memmap(X, path):
    mapped = np.memmap(path / "X", np.float32, "w+", shape=X.shape)
    mapped[:] = X
    return mapped


FORMS = {
    "float64": lambda X, path: X.astype(np.float64),
    "int": lambda X, path: X,
    "uint8": lambda X, path: X.astype(np.uint8),
    "object": lambda X, path: X.astype(object),
    "pandas": lambda X, path: pd.DataFrame(X, index=range(7, 97)),
    "pandas that may be missing": lambda X, path: pd.DataFrame(X).astype("Float64"),
    "polars": lambda X, path: pl.DataFrame(X),
    "tensor": lambda X, path: torch.from_numpy(X).float().requires_grad_(),
    "float8": lambda X, path: torch.from_numpy(X).to(torch.float8_e4m3fn),
    "bfloat16": lambda X, path: torch.from_numpy(X).bfloat16(),
    "csr": lambda X, path: sparse.csr_array(X),
    "dok": lambda X, path: sparse.dok_array(X),
    "list": lambda X, path: X.tolist(),
    "memmap": as_memmap,
    "pictures": lambda X, path: X.reshape(90, 1, 2, 3),
}


@pytest.mark.parametrize("form", FORMS)
def test_containers_of_the_same_numbers(rows, tmp_path, form):
    scores, X, y = rows
    expected = consult(scores, X.astype(np.float32), y)
    assert not np.isnan(expected.held_out_margins).any()
    made = FORMS[form](X, tmp_path)
    assert_same(consult(scores, made, y), expected)
    np.testing.assert_array_equal(np.asarray(FORMS["int"](X, tmp_path)), X)  # X was not standardized in place


def test_float32_is_not_standardised_in_place(rows):
    scores, X, y = rows
    X = X.astype(np.float32)
    before = X.copy()
    consult(scores, X, y)
    np.testing.assert_array_equal(X, before)


class Samples(torch.utils.data.Dataset):
    def __init__(self, X):
        self.X = X

    def __len__(self):
        return len(self.X)

    def __getitem__(self, row):
        return self.X[row]


def with_nan(X):
    X = X.astype(float)
    X[3, 2] = np.nan
    return X


@pytest.mark.parametrize(
    "make",
    [
        lambda X: ["a text"] * 90,
        lambda X: np.array(["a text"] * 90, dtype=object),
        lambda X: pd.DataFrame({"body": ["a text"] * 90}),
        lambda X: {"X": X},
        lambda X: Samples(X),
        lambda X: X[:, 0],
        lambda X: [list(range(1 + row % 3)) for row in range(90)],
        lambda X: list(torch.from_numpy(X)),
        with_nan,
        lambda X: np.where(np.isnan(with_nan(X)), np.inf, X),
        lambda X: sparse.csr_array(np.tile(with_nan(X), 22)),
        lambda X: sparse.dok_array(np.tile(np.where(np.isnan(with_nan(X)), 1e300, X), 22)),
        lambda X: np.where(X > 3, 3e38, -3e38).astype(np.float32),  # differences overflow
    ],
)
def test_what_is_no_array_of_finite_numbers_changes_nothing(rows, make):
    scores, X, y = rows
    assert consult(scores, make(X), y) is scores


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
def test_rows_that_are_all_the_same_say_nothing(rows, make):
    scores, _, y = rows
    margins = consult(scores, make(np.zeros((90, 130))), y, same_features=True).held_out_margins
    assert margins.max() <= 1e-6


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**100])
def test_large_and_small_sparse_numbers(rows, scale):
    scores, X, y = rows
    wide = sparse.csr_array(np.tile(X, 22))
    expected = consult(scores, wide, y).held_out_margins
    np.testing.assert_allclose(consult(scores, scale * wide, y).held_out_margins, expected, atol=0.01)


def test_a_table_changes_nothing(rows):
    datasets = pytest.importorskip("datasets")  # an optional library
    scores, X, y = rows
    assert consult(scores, datasets.Dataset.from_dict({"X": X.tolist()}), y) is scores


def test_scores_without_margins_stay_as_they_are(rows):
    _, X, y = rows
    scores = record(np.ones((1, 90), dtype=bool))
    scores._state[5] = 0  # never presented
    assert consult(scores, X, y) is scores


def test_what_the_regressions_say_by_hand(rows):
    scores, X, y = rows
    consulted = consult(scores, X, y)
    margins = consulted.held_out_margins
    assert margins[:-1].min() > 0 > margins[-1]
    assert np.abs(margins).max() <= 1
    assert consulted.ratings.shape == (len(SHARES), len(RULES))
    # Of most rows all but the one that is labeled wrongly is predicted, of few rows less.
    assert 0.9 < consulted.ratings[-1].min() <= consulted.ratings[-1].max() <= 1
    assert consulted.ratings[0].max() < consulted.ratings[-1].min()
    assert 89 / 90 - 1e-6 <= consulted.attainable <= 1
    np.testing.assert_array_equal(consulted.margins, scores.margins)


def test_the_weight_of_the_net(rows):
    scores, X, y = rows
    assert consult(scores, X, y)._held_out.net_weight == 1
    same = consult(scores, X, y, same_features=True)
    ratio = same.held_out_margins.mean() / scores.margins.mean()
    assert same._held_out.net_weight == pytest.approx(min(ratio, 1), rel=1e-6)
    sure = record(np.ones((1, 90), dtype=bool), np.full((1, 90), 0.99))
    same = consult(sure, X, y, same_features=True)
    expected = same.held_out_margins.mean() / 0.99
    assert 0.1 < expected < 1
    assert same._held_out.net_weight == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("same_features", [False, True])
def test_a_net_that_is_much_better_is_not_doubted_unless_it_sees_the_same(rows, same_features):
    _, X, _ = rows
    y = np.random.default_rng(5).integers(0, 3, 90)  # X knows nothing of it
    sure = record(np.ones((1, 90), dtype=bool), np.full((1, 90), 0.9))
    assert (consult(sure, X, y, same_features=same_features) is sure) == (not same_features)


@pytest.mark.parametrize("chunk", [2**22, 7 * 6, 1])
def test_more_rows_than_are_regressed(rows, monkeypatch, chunk):
    scores, X, y = rows
    # Data of more than 20,000 rows would take long.
    monkeypatch.setattr(_consult, "_MAX_ROWS", 60)
    monkeypatch.setattr(_consult, "_CHUNK", chunk)
    assert consult(scores, X, y) is scores  # of a larger X at least 1,000 rows are asked for
    monkeypatch.setattr(_consult, "_MIN_ROWS", 60)
    margins = consult(scores, X, y).held_out_margins
    assert margins[:-1].min() > 0 > margins[-1]
    monkeypatch.setattr(_consult, "_CHUNK", 2**22)
    np.testing.assert_allclose(margins, consult(scores, X, y).held_out_margins, atol=1e-5)


def test_the_same_twice_and_no_global_generator_is_touched(rows):
    scores, X, y = rows
    wide = np.tile(X, 22)  # of more than 100 columns the principal components are taken
    first = consult(scores, wide, y)
    np.random.seed(1), random.seed(1), torch.manual_seed(1)
    before = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]
    second = consult(scores, wide, y)
    assert [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()] == before
    assert_same(first, second)


@pytest.mark.parametrize("transform_output", ["pandas", "polars"])
def test_the_output_that_is_wanted_of_transformers_does_not_matter(rows, transform_output):
    scores, X, y = rows
    wide = sparse.csr_array(np.tile(X, 22))  # of more than 100 columns the singular vectors are taken
    expected = [consult(scores, X, y), consult(scores, wide, y)]
    with config_context(transform_output=transform_output):
        assert_same(consult(scores, X, y), expected[0])
        assert type(reduce_sparse(wide)) is np.ndarray
        assert_same(consult(scores, wide, y), expected[1])


def test_sparse_rows_are_reduced_to_their_singular_vectors():
    few = sparse.random_array((30, 100), density=0.3, random_state=0, format="coo")
    np.testing.assert_array_equal(reduce_sparse(few), few.toarray())
    many = sparse.random_array((30, 101), density=0.3, random_state=0, format="coo")
    reduced = reduce_sparse(many)
    assert reduced.shape == (30, 30)
    # All singular vectors of 30 rows keep their inner products.
    np.testing.assert_allclose(reduced @ reduced.T, (many @ many.T).toarray(), atol=1e-4)
