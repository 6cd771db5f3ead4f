import numpy as np
import pytest
from scipy.optimize import minimize

from skprune._views import _PENALTIES, Forest, Ridge, Views, compare, mixing_weights


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
        refits[np.square(left_out - np.eye(3)[y]).mean()] = penalty, left_out
    penalty, expected = refits[min(refits)]
    ridge = Ridge(F, y, 3)
    assert ridge.penalty == penalty
    np.testing.assert_allclose(ridge.left_out(slice(None)), expected, atol=1e-3)
    np.testing.assert_allclose(ridge.left_out(np.array([7, 3])), np.array(expected)[[7, 3]], atol=1e-3)
    np.testing.assert_allclose(ridge.predict(F), fit_ridge(F, y, penalty * mean_eigenvalue(F))(F), atol=1e-4)


def clusters(n_rows, n_features, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n_rows) % n_classes
    Z = rng.normal(size=(n_rows, n_features)) + 4 * np.eye(n_classes, n_features)[y]
    return Z.astype(np.float32), y


@pytest.mark.parametrize("n_features", [5, 40])  # sorted thresholds and random ones
def test_trees_predict_the_rows_that_they_have_not_seen(n_features):
    Z, y = clusters(60, n_features)
    forest = Forest(Z, y, 4, seed=0, n_trees=15)  # no row has the last class
    expected = np.zeros((60, 4))
    for row in range(60):
        trees = [
            tree
            for tree, drawn in zip(forest.trees.estimators_, forest.trees.estimators_samples_, strict=True)
            if row not in drawn
        ]
        expected[row, :3] = np.mean([tree.predict_proba(Z[row : row + 1])[0] for tree in trees], axis=0)
    np.testing.assert_allclose(forest.left_out(slice(None)), expected, atol=1e-6)
    np.testing.assert_allclose(forest.predict(Z)[:, :3], forest.trees.predict_proba(Z))
    assert not forest.predict(Z)[:, 3].any()


def test_weights_are_the_best_non_negative_ones():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 50)
    predictions = [rng.dirichlet(np.ones(3), 50) + share * np.eye(3)[y] for share in (0.5, 0.2, 0)]
    stacked = np.stack([predicted.ravel() for predicted in predictions], axis=1)
    best = minimize(
        lambda w: np.square(stacked @ w - np.eye(3)[y].ravel()).sum(), np.ones(3), bounds=[(0, None)] * 3, tol=1e-12
    ).x
    np.testing.assert_allclose(mixing_weights(predictions, y), best / best.sum(), atol=1e-3)
    assert mixing_weights([np.zeros((2, 2)), np.zeros((2, 2))], np.array([0, 1])).tolist() == [0.5, 0.5]


def test_margin_and_other_class_by_hand():
    predicted = np.array([[0.7, 0.2, 0.1], [0.5, 0.1, 0.4], [-0.1, 1.2, -0.1], [0.3, 0.3, 0.4]])
    before = predicted.copy()
    margins, other = compare(predicted, np.array([0, 2, 1, 0]))
    np.testing.assert_allclose(margins, [0.5, -0.1, 1.3, -0.1])
    assert other.tolist() == [1, 0, 0, 2]
    np.testing.assert_array_equal(predicted, before)


def test_a_label_says_nothing_about_its_own_row():
    Z, y = clusters(90, 5)
    views = Views([Z, np.cos(Z)], y, 3, seed=0, n_trees=20)
    assert np.mean(views.left_out(slice(None)).argmax(1) == y) > 0.9
    noise = np.random.default_rng(0).integers(0, 3, 90)
    predicted = Views([Z, np.cos(Z)], noise, 3, seed=0, n_trees=20).left_out(slice(None))
    assert np.mean(predicted.argmax(1) == noise) < 0.5


def test_probabilities_of_fitted_and_other_rows():
    Z, y = clusters(120, 5)
    views = Views([Z[:90], np.cos(Z[:90])], y[:90], 3, seed=0, n_trees=20)
    for predicted in (views.left_out(np.arange(90)), views.predict([Z[90:], np.cos(Z[90:])])):
        np.testing.assert_allclose(predicted.sum(1), 1, atol=1e-5)
        assert predicted.min() >= 0
    assert np.mean(views.predict([Z[90:], np.cos(Z[90:])]).argmax(1) == y[90:]) > 0.9


def test_many_classes_need_no_forest():
    Z, y = clusters(600, 5, n_classes=200)
    views = Views([Z, np.cos(Z)], y, 200, seed=0)
    assert views.forest is None
    assert views.left_out(slice(None)).shape == (600, 200)
