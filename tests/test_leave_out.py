import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier
from test_held_out import clusters, mislabel, unknown

from skprune._held_out import hold_out
from skprune._leave_out import SHARES, HeldOutTest, mean_margin
from skprune._light_models import GrowingForest, GrowingNeighbors, GrowingRidge, is_right


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.1, 0.1),  # it costs less than 1.25 standard errors
        (0.08, 0.08),  # the nearest one that was tested is 0.1
        (0.2, 0.1),  # 0.2 costs more
        (0.3, 0.3),  # it gains
        (0.5, 0.3),  # more than was tested costs as much as 0.4
    ],
)
def test_the_harmless_share_by_hand(share, expected):
    curve = np.array([[0, 0.1, 0.2, 0.3, 0.4], [0.9, 0.888, 0.887, 0.91, 0.8], [0, 0.01, 0.01, 0.01, 0.01]])
    assert HeldOutTest(curve, None).harmless_share(share) == expected


def test_nothing_may_be_harmless():
    curve = np.array([[0, 0.1, 0.2], [0.9, 0.8, 0.7], [0, 0.01, 0.01]])
    assert HeldOutTest(curve, None).harmless_share(0.2) == 0


def test_the_curve_rises_where_wrong_labels_are_left_out():
    X, y_true = load_digits(return_X_y=True)
    y, is_wrong = mislabel(y_true, len(y_true) // 5)
    held_out = hold_out(X, y, unknown(y)).with_test()
    shares, scores, errors = held_out.test.curve
    assert shares.tolist() == SHARES.tolist()
    assert (errors[0], np.min(errors) >= 0) == (0, True)
    gain = scores - scores[0]
    best = shares[gain.argmax()]
    assert 0.1 <= best <= 0.4
    assert gain.max() > 3 * errors[gain.argmax()]
    assert gain[-1] < gain.max()
    # Every row is tested once a draw, and trust comes from the others.
    trust = held_out.test.fold_trust
    assert trust.shape == (3, 1797)
    assert np.isnan(trust).sum(0).tolist() == [1] * 1797
    wrong = is_wrong[held_out.sample.rows]
    assert np.nanmean(trust[:, wrong]) < 0 < np.nanmean(trust[:, ~wrong])


@pytest.mark.parametrize(("n_rows", "n_splits"), [(299, 3), (300, 6), (1499, 6), (1500, 3)])
def test_folds_are_drawn_twice_for_some_numbers_of_rows(n_rows, n_splits):
    X, y = clusters(n_rows, n_features=3)
    assert len(hold_out(X, y, unknown(y)).with_test().test.fold_trust) == n_splits


def test_mean_margin_by_hand():
    net, views = np.array([0.4, -0.2]), np.array([0.0, 0.8])
    np.testing.assert_allclose(mean_margin(net, views, 0.25), [0.1, 0.55])
    np.testing.assert_array_equal(mean_margin(unknown(net), views, 0.0), views)
    np.testing.assert_array_equal(mean_margin(net, unknown(net), 1.0), net)


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 60)
    return (rng.normal(size=(60, 4)) + 2 * np.eye(3, 4)[y]).astype(np.float32), y


def test_a_growing_ridge_is_a_ridge(rows):
    Z, y = rows
    ridge = GrowingRidge(Z, y, 3, 0.1)
    for some in (np.arange(10), np.arange(10, 40)):
        ridge.add(some)
        seen = np.arange(some[-1] + 1)
        alpha = 0.1 * np.square(Z[seen] - Z[seen].mean(0)).sum() / 4
        expected = Ridge(alpha).fit(Z[seen], np.eye(3)[y[seen]]).predict(Z[40:])
        np.testing.assert_allclose(ridge.predict(np.arange(40, 60)), expected, atol=1e-5)


def test_growing_neighbors_are_the_nearest_ones(rows):
    Z, y = rows
    trained, tested = np.arange(40), np.arange(40, 60)
    neighbors = GrowingNeighbors(Z, y, 3, trained, tested)
    for some in (np.arange(20), np.arange(20, 40)):
        neighbors.add(some)
        seen = np.arange(some[-1] + 1)
        votes = 5 * KNeighborsClassifier(5).fit(Z[seen], y[seen]).predict_proba(Z[tested])
        np.testing.assert_allclose(neighbors.predict(tested).round(), votes)


def test_a_growing_forest_counts_in_leaves():
    leaves = np.array([[1, 1], [1, 2], [2, 2], [2, 1]])
    forest = GrowingForest(leaves, np.array([0, 0, 1, 1]), 2)
    forest.add(np.array([0, 2]))
    np.testing.assert_allclose(forest.predict(np.array([1, 3])), [[1, 1], [1, 1]])
    forest.add(np.array([1]))
    # Leaf 1 of the first tree has two rows of class 0, and leaf 2 of the second tree has one of each.
    np.testing.assert_allclose(forest.predict(np.array([1])), [[1.5, 0.5]])


def test_a_tie_is_not_right():
    assert is_right(np.array([[0.5, 0.5], [0.6, 0.4]]), np.array([0, 0])).tolist() == [False, True]
