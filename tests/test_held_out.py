import random
from typing import ClassVar

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn import config_context
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from skprune._held_out import SHARES, hold_out
from skprune._rating import ask_judge, best_rule


def clusters(n_rows=150, n_features=6, n_classes=3, seed=0):
    """Return rows of small whole numbers in classes that lie far apart."""
    rng = np.random.default_rng(seed)
    y = np.arange(n_rows) % n_classes
    return rng.integers(0, 3, (n_rows, n_features)) + 4 * np.eye(n_classes, n_features, dtype=int)[y], y


def mislabel(y, n_wrong, seed=0):
    rng = np.random.default_rng(seed)
    wrong = rng.choice(len(y), n_wrong, replace=False)
    y = y.copy()
    y[wrong] = (y[wrong] + rng.integers(1, y.max() + 1, n_wrong)) % (y.max() + 1)
    return y, np.isin(np.arange(len(y)), wrong)


def unknown(y):
    return np.full(len(y), np.nan)


def least(trust, share):
    return np.isin(np.arange(len(trust)), np.argsort(trust)[: round(share * len(trust))])


@pytest.mark.parametrize("share", [0, 0.1, 0.2, 0.4])
def test_as_many_wrong_labels_are_found_as_there_are(share):
    X, y_true = load_digits(return_X_y=True)
    y, is_wrong = mislabel(y_true, int(share * len(y_true)))
    held_out = hold_out(X, y, unknown(y))
    assert abs(held_out.label_noise - share) < 0.06
    assert held_out.reason == ""
    found = least(held_out.trust(unknown(y)), held_out.label_noise)
    assert share == 0 or np.mean(is_wrong[found]) > 0.85
    assert np.mean(held_out.likely == y_true) > 0.9
    assert held_out.curve[0].tolist() == SHARES.tolist()
    assert held_out.curve[2, 0] == 0


@pytest.mark.parametrize("n_rare", [10, 60])
def test_a_rare_class_whose_labels_are_right_keeps_its_rows(n_rare):
    rng = np.random.default_rng(0)
    y = (np.arange(600) < n_rare).astype(np.int64)
    X = rng.normal(size=(600, 5)) + 2.5 * y[:, None] * np.eye(5)[0]  # many of the rare rows lie among the others
    held_out = hold_out(X, y, unknown(y))
    assert not held_out.label_noise > 0


def test_labels_that_nothing_predicts():
    X, _ = clusters(300)
    y = np.random.default_rng(1).integers(0, 3, 300)
    held_out = hold_out(X, y, unknown(y))
    assert np.isnan(held_out.label_noise)
    assert "can't be predicted" in held_out.reason


def test_too_few_rows_say_nothing():
    X, y = clusters(39)
    held_out = hold_out(X, y, unknown(y))
    assert np.isnan(held_out.label_noise)
    assert "39 rows are too few" in held_out.reason
    assert np.isnan(held_out.margins).all()
    np.testing.assert_array_equal(held_out.likely, y)
    net_margins = np.linspace(-1, 1, 39)
    np.testing.assert_array_equal(held_out.trust(net_margins), net_margins)


def test_margins_and_likely_classes():
    X, y_true = clusters()
    y, is_wrong = mislabel(y_true, 10)
    held_out = hold_out(X, y, unknown(y))
    assert held_out.margins.dtype == np.float32
    assert np.abs(held_out.margins).max() <= 1
    assert held_out.margins[is_wrong].max() < 0 < held_out.margins[~is_wrong].min()
    np.testing.assert_array_equal(held_out.likely, y_true)
    assert 0.8 < held_out.attainable <= 1


def test_the_weight_of_the_net():
    X, y = clusters()
    y, is_wrong = mislabel(y, 20)
    agrees = np.where(is_wrong, -0.5, 0.5)
    by_heart = np.full(150, 0.9)
    assert hold_out(X, y, unknown(y)).net_weight == 0
    assert hold_out(X, y, agrees).net_weight == 0.5
    held_out = hold_out(X, y, agrees, same_features=True)
    assert held_out.net_weight == 0.5
    np.testing.assert_allclose(held_out.trust(agrees), (agrees + held_out.margins) / 2, atol=1e-6)
    assert hold_out(X, y, by_heart, same_features=True).net_weight == 0
    assert hold_out(X, y, by_heart).net_weight == 0.5  # it may see more than X has
    noise = np.random.default_rng(0).normal(size=(150, 6))
    assert hold_out(noise, y, agrees).net_weight == 1


def test_a_time_stamp_keeps_its_digits():
    X, y_true = clusters()
    y, _ = mislabel(y_true, 20)
    expected = hold_out(X, y, unknown(y))
    shifted = hold_out(X * 1000.0 + 1.7e9, y, unknown(y))
    np.testing.assert_allclose(shifted.margins, expected.margins, atol=1e-3)
    assert shifted.label_noise == expected.label_noise


def as_memmap(X, path):
    mapped = np.memmap(path / "X", np.float32, "w+", shape=X.shape)
    mapped[:] = X
    return mapped


FORMS = {
    "float64": lambda X, path: X.astype(np.float64),
    "float32": lambda X, path: X.astype(np.float32),
    "uint8": lambda X, path: X.astype(np.uint8),
    "object": lambda X, path: X.astype(object),
    "pandas": lambda X, path: pd.DataFrame(X, index=range(7, 157)),
    "pandas that may be missing": lambda X, path: pd.DataFrame(X).astype("Float64"),
    "polars": lambda X, path: pl.DataFrame(X),
    "tensor": lambda X, path: torch.from_numpy(X).float().requires_grad_(),
    "float8": lambda X, path: torch.from_numpy(X).to(torch.float8_e4m3fn),
    "csr": lambda X, path: sparse.csr_array(X),
    "dok": lambda X, path: sparse.dok_array(X),
    "list": lambda X, path: X.tolist(),
    "memmap": as_memmap,
    "pictures": lambda X, path: X.reshape(150, 1, 2, 3),
}


@pytest.mark.parametrize("form", FORMS)
def test_containers_of_the_same_numbers(tmp_path, form):
    X, y = clusters()
    before = X.copy()
    expected = hold_out(X, y, unknown(y))
    made = hold_out(FORMS[form](X, tmp_path), y, unknown(y))
    for part, other in zip(made, expected, strict=True):
        np.testing.assert_array_equal(part, other)
    np.testing.assert_array_equal(X, before)


def with_nan(X):
    X = X.astype(float)
    X[3, 2] = np.nan
    return X


@pytest.mark.parametrize(
    "make",
    [
        lambda X: ["a text"] * 150,
        lambda X: pd.DataFrame({"body": ["a text"] * 150}),
        lambda X: {"X": X},
        lambda X: X[:, 0],
        lambda X: X[:, :0],
        lambda X: [list(range(1 + row % 3)) for row in range(150)],
        lambda X: list(torch.from_numpy(X)),
        with_nan,
        lambda X: np.where(np.isnan(with_nan(X)), np.inf, X),
        lambda X: sparse.csr_array(np.tile(with_nan(X), 22)),
        lambda X: np.where(X > 3, 1e300, -1e300),
    ],
)
def test_what_is_no_array_of_finite_numbers_says_nothing(make):
    X, y = clusters()
    held_out = hold_out(make(X), y, unknown(y))
    assert np.isnan(held_out.label_noise)
    assert "no array of finite numbers" in held_out.reason


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
def test_rows_that_are_all_the_same_say_nothing(make):
    _, y = clusters()
    assert np.isnan(hold_out(make(np.zeros((150, 130))), y, unknown(y)).label_noise)


@pytest.mark.slow
def test_rows_beyond_the_sample_are_predicted():
    X, y_true = clusters(21_000, n_features=3)
    y, is_wrong = mislabel(y_true, 2100)
    held_out = hold_out(X, y, unknown(y))
    assert len(held_out.rows) == 3000
    assert np.mean((held_out.margins < 0) == is_wrong) > 0.99
    assert abs(held_out.label_noise - 0.1) < 0.03


def test_the_same_twice_and_no_global_generator_is_touched():
    X, y = clusters()
    wide = np.tile(X, 22)  # of more than 100 columns the principal components are taken
    first = hold_out(wide, y, unknown(y))
    np.random.seed(1), random.seed(1), torch.manual_seed(1)
    before = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]
    with config_context(transform_output="pandas"):
        second = hold_out(wide, y, unknown(y))
    assert [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()] == before
    for part, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(part, other)


def keep_most_trusted(trust, y, n_keep, rng):
    return np.argsort(-trust)[:n_keep]


def keep_least_trusted(trust, y, n_keep, rng):
    return np.argsort(trust)[:n_keep]


def keep_random(trust, y, n_keep, rng):
    return rng.permutation(len(trust))[:n_keep]


def test_the_rule_that_teaches_most_is_chosen():
    X, y = clusters(600)
    y, _ = mislabel(y, 180)
    held_out = hold_out(X, y, unknown(y))
    assert best_rule(held_out, y, 0.1, [keep_least_trusted, keep_most_trusted, keep_random]) == 1
    assert best_rule(held_out, y, 0.1, [keep_least_trusted, keep_random]) == 1
    assert best_rule(held_out, y, 0.1, [keep_random, keep_random]) == 1  # no lead
    assert best_rule(hold_out(None, y, unknown(y)), y, 0.1, [keep_most_trusted, keep_random]) == 1


class Counting(KNeighborsClassifier):
    """Counts the fits of all clones, and the rows of each."""

    fits: ClassVar[list[int]] = []

    def fit(self, X, y):
        self.fits.append(len(X))
        return super().fit(X, y)


@pytest.mark.parametrize("scoring", [None, "balanced_accuracy"])
def test_a_judge_finds_that_wrong_labels_hurt_it(scoring):
    X, y = clusters(600)
    labels = np.array(["a", "b", "c"])
    noisy, _ = mislabel(y, 180)
    held_out = hold_out(X, noisy, unknown(y))
    Counting.fits.clear()
    share, curve = ask_judge(Counting(1), scoring, X, labels[noisy], held_out)
    assert 0.2 <= share <= 0.4
    assert curve.shape == (3, len(Counting.fits) // 3)
    assert len(Counting.fits) <= 20
    assert max(Counting.fits) <= 2000
    assert ask_judge(Counting(1), scoring, X, labels[y], hold_out(X, y, unknown(y)))[0] == 0
