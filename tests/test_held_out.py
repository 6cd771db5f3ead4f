import random
import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn import config_context
from sklearn.datasets import load_digits

from skprune._held_out import _share_of_wrong, hold_out
from skprune._leave_out import SHARES


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


@pytest.mark.parametrize("share", [0, 0.1, 0.2, 0.4])
def test_as_many_wrong_labels_are_found_as_there_are(share):
    X, y_true = load_digits(return_X_y=True)
    y, is_wrong = mislabel(y_true, int(share * len(y_true)))
    held_out = hold_out(X, y, unknown(y))
    assert abs(held_out.label_noise - share) < 0.03
    assert held_out.reason == ""
    told = f"{round(held_out.label_noise * len(y))} of 1797 rows (" if share else "no labels of 1797 seem to be wrong"
    assert held_out.describe().startswith(told)
    found = held_out.suspects(unknown(y), y)
    assert found.sum() == round(held_out.label_noise * len(y))
    assert share == 0 or np.mean(is_wrong[found]) > 0.95
    assert np.mean(held_out.likely == y_true) > 0.9
    assert (held_out.test is None) == (share == 0)  # the test runs where it decides something


@pytest.mark.parametrize("n_classes", [2, 3, 10])
@pytest.mark.parametrize("share", [0.05, 0.2, 0.4])
def test_the_share_of_wrong_labels_by_hand(n_classes, share):
    """Right labels have high margins and wrong ones low ones; a redrawn label is right if it was wrong, and hits the class."""
    n_rows = 9000
    n_wrong = round(share * n_rows)
    margins = np.r_[np.linspace(-1, -0.5, n_wrong), np.linspace(0.5, 1, n_rows - n_wrong)]
    n_right = n_wrong // (n_classes - 1)
    redrawn = np.r_[np.linspace(-1, -0.5, n_rows - n_right), np.linspace(0.5, 1, n_right)]
    assert _share_of_wrong(margins, redrawn, n_classes) == pytest.approx(share, abs=0.002)


def test_hard_rows_with_right_labels_are_not_counted():
    # As many low margins as above, but the lowest of them are higher than those of other labels.
    margins = np.r_[np.linspace(-0.6, -0.4, 200), np.linspace(0.5, 1, 800)]
    redrawn = np.r_[np.linspace(-1, -0.7, 800), np.linspace(-0.6, 0.6, 200)]
    assert _share_of_wrong(margins, redrawn, 3) == 0


def test_overlapping_classes_are_not_counted():
    # The margins of many right labels are low, but none is as low as the lowest fifth of those of other labels.
    margins = np.r_[np.linspace(-0.55, -0.4, 200), np.linspace(0.5, 1, 800)]
    assert _share_of_wrong(margins, np.linspace(-1, 1, 1000), 3) == 0


def test_few_low_margins_are_raised_to_their_upper_limit():
    # Below the lowest limit lie 50 of the other labels, and 3 of the given ones: 3 + 2 * 3.75**0.5 + 1.75 = 8.62.
    margins = np.r_[np.full(3, -1.0), np.full(600, -0.89), np.full(397, 1.0)]
    assert _share_of_wrong(margins, np.linspace(-1, 1, 1000), 10**6) == pytest.approx(8.62 / 50, rel=1e-3)


@pytest.mark.parametrize(
    ("n_wrong", "n_rows", "is_told"), [(19, 1000, False), (21, 1000, True), (4, 100, False), (6, 100, True)]
)
def test_few_wrong_labels_can_not_be_told_from_hard_rows(n_wrong, n_rows, is_told):
    margins = np.where(np.arange(n_rows) < n_wrong, -1.0, 1.0)
    redrawn = np.full(n_rows, -1.0)
    assert (_share_of_wrong(margins, redrawn, 10**6) > 0) == is_told


@pytest.mark.parametrize("seed", range(3))
def test_classes_that_overlap_have_few_suspects(seed):
    """One in five rows lies on the side of the other class, with the right label."""
    rng = np.random.default_rng(seed)
    y = np.arange(1000) % 2
    X = rng.normal(size=(1000, 3)) + 1.68 * y[:, None] * np.eye(3)[0]
    held_out = hold_out(X, y, unknown(y))
    assert np.mean(held_out.margins < 0) == pytest.approx(0.2, abs=0.03)
    assert held_out.label_noise < 0.1


@pytest.mark.parametrize("n_rare", [10, 60])
def test_a_rare_class_whose_labels_are_right_keeps_its_rows(n_rare):
    rng = np.random.default_rng(0)
    y = (np.arange(600) < n_rare).astype(np.int64)
    X = rng.normal(size=(600, 5)) + 2.5 * y[:, None] * np.eye(5)[0]  # many of the rare rows lie among the others
    held_out = hold_out(X, y, unknown(y))
    assert not held_out.label_noise > 0
    assert not held_out.suspects(unknown(y), y).any()


def test_a_rare_class_that_is_predicted_well_is_told_of():
    X, y = clusters(600, n_classes=2)
    y = (np.arange(600) < 12).astype(np.int64)  # no model is much more often right than the largest class
    X = X + 10 * y[:, None]
    held_out = hold_out(X, y, unknown(y))
    assert held_out.label_noise == 0
    assert held_out.reason == ""


def test_labels_that_nothing_predicts():
    X, _ = clusters(300)
    y = np.random.default_rng(1).integers(0, 3, 300)
    held_out = hold_out(X, y, unknown(y))
    assert np.isnan(held_out.label_noise)
    assert "can't be predicted" in held_out.reason
    assert "no row is a suspect, because the labels can't" in held_out.describe()
    assert not held_out.suspects(unknown(y), y).any()


def test_too_few_rows_say_nothing():
    X, y = clusters(40)
    assert hold_out(X, y, unknown(y)).sample is not None
    X, y = clusters(39)
    held_out = hold_out(X, y, unknown(y))
    assert np.isnan(held_out.label_noise)
    assert "39 rows are too few" in held_out.reason
    assert np.isnan(held_out.margins).all()
    assert held_out.with_test().test is None
    np.testing.assert_array_equal(held_out.likely, y)
    net_margins = np.linspace(-1, 1, 39)
    np.testing.assert_array_equal(held_out.trust(net_margins), net_margins)
    assert not held_out.suspects(net_margins, y).any()


def test_margins_and_likely_classes():
    X, y_true = clusters()
    y, is_wrong = mislabel(y_true, 10)
    held_out = hold_out(X, y, unknown(y))
    assert held_out.margins.dtype == np.float32
    assert np.abs(held_out.margins).max() <= 1
    assert held_out.margins[is_wrong].max() < 0 < held_out.margins[~is_wrong].min()
    np.testing.assert_array_equal(held_out.likely, y_true)
    assert held_out.attainable == np.mean(~is_wrong)


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


@pytest.mark.parametrize("views", [True, False], ids=["views", "net alone"])
def test_rows_that_the_net_was_never_shown(views):
    X, y = clusters()
    y, is_wrong = mislabel(y, 20)
    margins = np.where(is_wrong, -0.9, 0.9)
    hidden = np.arange(0, 150, 5)
    margins[hidden] = np.nan
    held_out = hold_out(X if views else ["text"] * 150, y, margins)
    trust, found = held_out.trust(margins), held_out.suspects(margins, y)
    shown = np.setdiff1d(np.arange(150), hidden)
    np.testing.assert_array_equal(trust[shown] < 0, is_wrong[shown])
    if views:
        assert held_out.net_weight == 0.5
        np.testing.assert_array_equal(trust[hidden], held_out.margins[hidden])
        np.testing.assert_array_equal(trust[hidden] < 0, is_wrong[hidden])
        assert found.sum() >= 18
        assert not found[~is_wrong].any()
    else:
        np.testing.assert_array_equal(found[shown], is_wrong[shown])
        assert np.isnan(trust[hidden]).all()
        assert not found[hidden].any()


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


@pytest.fixture(scope="module")
def of_clusters():
    X, y = clusters()
    return hold_out(X, y, unknown(y))


def check_same(made, expected):
    """Compare all results; those of the test follow from the sample."""
    for part, other in zip((*made[:6], *made.sample), (*expected[:6], *expected.sample), strict=True):
        np.testing.assert_array_equal(part, other)


@pytest.mark.parametrize("form", FORMS)
def test_containers_of_the_same_numbers(tmp_path, form, of_clusters):
    X, y = clusters()
    before = X.copy()
    check_same(hold_out(FORMS[form](X, tmp_path), y, unknown(y)), of_clusters)
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
        lambda X: np.zeros((150, 2**17), dtype=np.uint8),  # too many columns
    ],
)
def test_without_numbers_the_net_alone_is_asked(make):
    X, y = clusters()
    held_out = hold_out(make(X), y, unknown(y))
    assert np.isnan(held_out.label_noise)
    assert "no array of finite numbers" in held_out.reason or "too many columns" in held_out.reason
    # Mean margins 0.8 of class 0, 0.4 of class 1 and -0.4 of class 2.
    net_margins = np.array([0.8, 0.4, -0.4])[y]
    net_margins[[0, 3, 1, 2]] = [-0.9, -0.7, -0.5, -0.9]
    held_out = hold_out(make(X), y, net_margins)
    assert np.flatnonzero(held_out.suspects(net_margins, y)).tolist() == [0, 1]
    assert held_out.label_noise == 2 / 150
    assert held_out.describe().startswith("2 of 150 rows are suspects by the net alone, because X ")


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
def test_rows_that_are_all_the_same_say_nothing(make):
    _, y = clusters()
    assert np.isnan(hold_out(make(np.zeros((150, 130))), y, unknown(y)).label_noise)


def test_rows_beyond_the_sample_are_predicted():
    X, y_true = clusters(21_000, n_features=3)
    y, is_wrong = mislabel(y_true, 2100)
    held_out = hold_out(X, y, unknown(y))
    assert len(held_out.sample.rows) == 3000
    assert np.mean((held_out.margins < 0) == is_wrong) > 0.99
    assert abs(held_out.label_noise - 0.1) < 0.03


def test_many_classes_take_little_memory():
    y = np.arange(20_000) % 2000
    X = np.random.default_rng(0).normal(size=(2000, 20))[y] + 0.1 * np.random.default_rng(1).normal(size=(20_000, 20))
    tracemalloc.start()
    held_out = hold_out(X, y, unknown(y)).with_test()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held_out.attainable > 0.8
    assert len(np.unique(held_out.sample.y)) == 200  # the test leaves the other classes out
    # Predictions of all classes for all rows would take 160 MB.
    assert peak < 150e6


def test_the_same_twice_and_no_global_generator_is_touched():
    X, y = clusters()
    wide = np.tile(X, 22)  # of more than 100 columns the principal components are taken
    first = hold_out(wide, y, unknown(y)).with_test()
    np.random.seed(1), random.seed(1), torch.manual_seed(1)
    before = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]
    with config_context(transform_output="pandas"):
        second = hold_out(wide, y, unknown(y)).with_test()
    assert [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()] == before
    check_same(second, first)
    for part, other in zip(second.test, first.test, strict=True):
        np.testing.assert_array_equal(part, other)
    assert first.test.curve[0].tolist() == SHARES.tolist()
    assert second.with_test() is second


def test_a_class_of_one_row_changes_nothing():
    X, y_true = clusters(400, n_classes=2)
    y, _ = mislabel(y_true, 80)
    expected = hold_out(X, y, unknown(y)).label_noise
    y[0] = 2
    assert abs(hold_out(X, y, unknown(y)).label_noise - expected) < 0.02
