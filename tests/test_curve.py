import os

import joblib
import numpy as np
import pytest
import sklearn.pipeline
from conftest import make_net
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, cross_val_score
from sklearn.preprocessing import StandardScaler
from test_scoring import CountTrainings, n_trainings

from skprune import ForgettingSelector, Pipeline, make_pipeline, pruning_curve


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "trainings").mkdir()
    return tmp_path / "trainings"


@pytest.fixture
def pipe(folder):
    net = make_net(callbacks=[CountTrainings(str(folder))])
    return Pipeline(
        [
            ("scale", StandardScaler()),
            ("prune", ForgettingSelector(net, k=0.4, random_state=0)),
            ("clf", LogisticRegression()),
        ]
    )


def reverse(scores, n_keep, rng):
    return np.arange(n_keep)


def test_curve_is_what_cross_validation_gives(pipe, data):
    X, y = data
    k, strategies = [0.3, 20], ["most_forgotten", "random", reverse]
    curve = pruning_curve(pipe, X, y, k=k, strategies=strategies, cv=3, scoring="neg_log_loss")
    assert curve.strategies == ["most_forgotten", "random", "reverse"]
    np.testing.assert_allclose(curve.shares, [0.3, 0.25])
    for strategy, rows in zip(strategies, curve.scores, strict=True):
        for size, scores in zip(k, rows, strict=True):
            single = clone(pipe).set_params(prune__k=size, prune__strategy=strategy)
            np.testing.assert_array_equal(scores, cross_val_score(single, X, y, cv=3, scoring="neg_log_loss"))
    full = cross_val_score(make_pipeline(StandardScaler(), LogisticRegression()), X, y, cv=3, scoring="neg_log_loss")
    np.testing.assert_allclose(curve.full_scores, full)


@pytest.mark.parametrize("random_state", [None, 0, np.random.RandomState(0)], ids=["none", "int", "instance"])
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_one_training_a_fold(pipe, data, folder, n_jobs, random_state):
    pipe.set_params(prune__random_state=random_state)
    before = repr(pipe)
    pruning_curve(pipe, *data, k=[0.3, 0.6], cv=KFold(3, shuffle=True), n_jobs=n_jobs)
    assert n_trainings(folder) == 3
    assert repr(pipe) == before
    assert not hasattr(pipe["clf"], "coef_")


def test_a_memory_that_stores_nothing_is_replaced(pipe, data, folder):
    pipe.set_params(prune__memory=joblib.Memory(None))
    pruning_curve(pipe, *data, k=[0.3, 0.6], strategies=["random"], cv=2)
    assert n_trainings(folder) == 2


def test_a_plain_pipeline_deeper_inside(data):
    plain = sklearn.pipeline.make_pipeline(ForgettingSelector(), StandardScaler())
    with pytest.raises(TypeError, match=r"Only skprune\.Pipeline leaves rows out"):
        pruning_curve(make_pipeline(plain, LogisticRegression()), *data)


def test_memory_of_the_selector_is_used(pipe, data, folder, tmp_path):
    pipe.set_params(prune__memory=str(tmp_path / "memory"))
    for _ in range(2):
        pruning_curve(pipe, *data, k=[0.3], strategies=["random"], cv=2)
    assert n_trainings(folder) == 2
    assert os.listdir(tmp_path / "memory")


@pytest.mark.parametrize(
    "estimator",
    [LogisticRegression(), sklearn.pipeline.make_pipeline(StandardScaler(), LogisticRegression())],
    ids=["classifier", "pipeline"],
)
def test_other_estimators_get_a_selector(data, estimator):
    curve = pruning_curve(estimator, *data, k=[0.3], strategies=["coverage"], cv=2)
    np.testing.assert_array_equal(curve.full_scores, cross_val_score(estimator, *data, cv=2))
    assert not np.array_equal(curve.scores[0, 0], curve.full_scores)


def test_a_selector_deep_inside(pipe, data):
    inside = sklearn.pipeline.make_pipeline(StandardScaler(with_std=False), pipe)
    curve = pruning_curve(inside, *data, k=[0.3], strategies=["random"], cv=2)
    assert curve.scores.shape == (1, 1, 2)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (dict(k=0.5), r"k must be a list .*; got 0.5"),
        (dict(k=[]), "k must be a list of at least one"),
        (dict(k=[0.5, 1.5]), "k must be a float in"),
        (dict(strategies="random"), "strategies must be a list"),
        (dict(strategies=reverse), "strategies must be a list"),
        (dict(strategies=["hardest"]), "strategy must be one of"),
    ],
)
def test_parameters_out_of_range(pipe, data, folder, params, message):
    with pytest.raises(ValueError, match=message):
        pruning_curve(pipe, *data, **params)
    assert n_trainings(folder) == 0


def test_estimators_that_cannot_prune(pipe, data):
    with pytest.raises(TypeError, match="A selector alone has no score"):
        pruning_curve(pipe["prune"], *data)
    with pytest.raises(TypeError, match=r"got sklearn.pipeline.Pipeline with"):
        pruning_curve(sklearn.pipeline.make_pipeline(pipe["prune"], LogisticRegression()), *data)
    several = Pipeline([("first", pipe["prune"]), ("second", pipe["prune"]), ("clf", LogisticRegression())])
    with pytest.raises(ValueError, match=r"several: first, second"):
        pruning_curve(several, *data)
    with pytest.raises(TypeError, match="Cannot clone"):
        pruning_curve("svm", *data)


def test_a_bar_by_verbose(pipe, data, capsys):
    pruning_curve(pipe, *data, k=[0.3], strategies=["random"], cv=2)
    assert capsys.readouterr() == ("", "")
    pruning_curve(pipe, *data, k=[0.3], strategies=["random"], cv=2, verbose=1)
    assert "2/2" in capsys.readouterr().err
