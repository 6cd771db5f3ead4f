import os
import pickle

import numpy as np
import pytest
import scipy.stats
import sklearn
import sklearn.pipeline
from conftest import make_net
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - what HalvingGridSearchCV needs
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
    cross_val_score,
    cross_validate,
)
from sklearn.preprocessing import StandardScaler
from test_scoring import CountTrainings, n_trainings

from skprune import ForgettingSelector, Pipeline, PruningWarning, fewest_rows, make_pipeline, pruning_curve


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


@pytest.fixture
def data(data):
    """Too few rows for models that have not seen them, which take most of the time of a fit."""
    return data[0][:36], data[1][:36]


class GivenScores(ForgettingSelector):
    """Trains no net: rows are forgotten as often as their number says."""

    def fit(self, X, y=None, forgetting_scores=None):
        return super().fit(X, y, forgetting_scores=np.zeros(len(y)))


@pytest.fixture
def quick_curve():
    return Pipeline([("prune", GivenScores(random_state=0)), ("clf", LogisticRegression())])


def reverse(scores, n_keep, rng):
    return np.arange(n_keep)


@pytest.mark.usefixtures("shared_runs")
def test_curve_is_what_cross_validation_gives(pipe, data):
    X, y = data
    k, strategies = [0.5, 18], ["most_forgotten", "random", reverse]
    curve = pruning_curve(pipe, X, y, k=k, strategies=strategies, cv=3, scoring="neg_log_loss")
    assert curve.strategies == ["most_forgotten", "random", "reverse"]
    np.testing.assert_allclose(curve.shares, [0.5, 0.75])
    for strategy, rows in zip(strategies, curve.scores, strict=True):
        for size, scores in zip(k, rows, strict=True):
            single = clone(pipe).set_params(prune__k=size, prune__strategy=strategy)
            np.testing.assert_array_equal(scores, cross_val_score(single, X, y, cv=3, scoring="neg_log_loss"))
    full = cross_val_score(make_pipeline(StandardScaler(), LogisticRegression()), X, y, cv=3, scoring="neg_log_loss")
    np.testing.assert_allclose(curve.full_scores, full)


@pytest.mark.usefixtures("shared_runs")
@pytest.mark.parametrize(
    ("random_state", "n_jobs"),
    [(None, None), pytest.param(None, 2, marks=pytest.mark.slow), (0, None), (np.random.RandomState(0), None)],
)
def test_one_training_a_fold(pipe, data, folder, n_jobs, random_state):
    pipe.set_params(prune__random_state=random_state)
    before = repr(pipe)
    pruning_curve(pipe, *data, k=[0.5, 0.8], strategies=["random"], cv=KFold(2, shuffle=True), n_jobs=n_jobs)
    assert n_trainings(folder) == 2
    assert repr(pipe) == before
    assert not hasattr(pipe["clf"], "coef_")


def test_groups_stay_together(quick_curve, data):
    X, y = data
    groups = np.repeat(np.arange(9), 4)
    found = pruning_curve(quick_curve, X, y, k=[0.5], strategies=["random"], cv=GroupKFold(3), groups=groups)
    splits = list(GroupKFold(3).split(X, y, groups))
    expected = pruning_curve(quick_curve, X, y, k=[0.5], strategies=["random"], cv=splits)
    np.testing.assert_array_equal(found.scores, expected.scores)
    routed = pruning_curve(
        quick_curve, X, y, k=[0.5], strategies=["random"], cv=GroupKFold(3), params={"groups": groups}
    )
    np.testing.assert_array_equal(routed.scores, expected.scores)
    with pytest.raises(ValueError, match="'groups' parameter should not be None"):
        pruning_curve(quick_curve, X, y, cv=GroupKFold(3))


@pytest.mark.parametrize("routing", [False, True])
def test_parameters_of_fit_are_cut_and_handed_on(data, routing):
    X, y = data
    # Rows without weight are as good as absent, so that a classifier of the two other classes is left.
    weight = (y != 2).astype(float)
    scores = []
    with sklearn.config_context(enable_metadata_routing=routing):
        last, scoring = LogisticRegression(), get_scorer("accuracy")
        if routing:
            last.set_fit_request(sample_weight="weight")
            scoring.set_score_request(sample_weight="weight")
        pipe = Pipeline([("prune", GivenScores(random_state=0)), ("clf", last)])
        params = {"weight" if routing else "clf__sample_weight": weight}
        curve = pruning_curve(pipe, X, y, k=[0.5], strategies=["random"], cv=KFold(2), scoring=scoring, params=params)
        for train, test in KFold(2).split(X):
            kept = train[
                ForgettingSelector(k=0.5, strategy="random", random_state=0).fit(X[train], y[train]).get_support()
            ]
            fitted = LogisticRegression().fit(X[kept], y[kept], weight[kept])
            scores.append(fitted.score(X[test], y[test], weight[test] if routing else None))
    np.testing.assert_array_equal(curve.scores[0, 0], scores)


def test_a_plain_pipeline_deeper_inside(data):
    plain = sklearn.pipeline.make_pipeline(ForgettingSelector(), StandardScaler())
    with pytest.raises(TypeError, match=r"Only skprune\.Pipeline can drop rows"):
        pruning_curve(make_pipeline(plain, LogisticRegression()), *data)


def test_memory_of_the_selector_is_used(pipe, data, folder, tmp_path):
    pipe.set_params(prune__memory=str(tmp_path / "memory"))
    for _ in range(2):
        pruning_curve(pipe, *data, k=[0.5], strategies=["random"], cv=2)
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
    curve = pruning_curve(inside, *data, k=[0.5], strategies=["random"], cv=2)
    assert curve.scores.shape == (1, 1, 2)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (dict(k=0.5), r"k must be a list .*; got 0.5"),
        (dict(k=[]), "k must be a list with at least one"),
        (dict(k=[0.5, 1.5]), r"k must be .auto., .* a float in .*got 1.5"),
        (dict(k=[0.5, "auto"]), "k of a curve must be shares or numbers of rows"),
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


def test_verbose_prints_as_a_search_does(quick_curve, data, capsys):
    pruning_curve(quick_curve, *data, k=[0.3], strategies=["random"], cv=2)
    assert capsys.readouterr() == ("", "")
    pruning_curve(quick_curve, *data, k=[0.3], strategies=["random"], cv=2, verbose=1)
    assert "2 candidates, totalling 4 fits" in capsys.readouterr().out


def fails(scores, n_keep, rng):
    raise RuntimeError("no rows today")


def test_a_candidate_that_fails_in_every_fold_leaves_the_others(quick_curve, data):
    with (
        pytest.warns(FitFailedWarning, match=r"(?s)6 fits failed out of a total of 15.*RuntimeError: no rows today"),
        pytest.warns(UserWarning, match="test scores are non-finite"),
    ):
        curve = pruning_curve(quick_curve, *data, k=[0.3, 0.6], strategies=["random", fails], cv=3)
    assert np.isnan(curve.scores[1]).all()
    assert np.isfinite(curve.scores[0]).all()
    np.testing.assert_array_equal(curve.full_scores, cross_val_score(LogisticRegression(), *data, cv=3))
    assert curve.fewest_rows.strategy != "fails"


def test_a_candidate_that_fails_in_one_fold(quick_curve, data):
    X, y = data
    of_one_class, other = np.flatnonzero(y == 0)[:5], np.arange(18, 36)
    cv = [(of_one_class, other), (np.arange(18), other)]
    with (
        pytest.warns(FitFailedWarning, match="2 fits failed out of a total of 4"),
        pytest.warns(UserWarning, match="test scores are non-finite"),
    ):
        curve = pruning_curve(quick_curve, X, y, k=[0.5], strategies=["random"], cv=cv)
    np.testing.assert_array_equal(np.isnan(curve.full_scores), [True, False])
    assert curve.fewest_rows is None


def test_all_fits_fail(quick_curve, data):
    quick_curve.set_params(clf__C=-1)
    with pytest.raises(ValueError, match=r"(?s)All the 4 fits failed.*'C' parameter"):
        pruning_curve(quick_curve, *data, k=[0.5], strategies=["random"], cv=2)


def test_warnings_name_the_line_of_the_user(quick_curve, data):
    with pytest.warns(PruningWarning) as caught:
        pruning_curve(quick_curve, *data, k=[0.7, 20, 25], strategies=["random", reverse], cv=2)
    assert {str(warning.message).partition(":")[0] for warning in caught} == {
        "k=20 is greater than n_samples=18",
        "k=25 is greater than n_samples=18",
    }
    assert {warning.filename for warning in caught} == {__file__}


def test_other_warnings_are_given_as_they_are(quick_curve, data):
    quick_curve.set_params(clf__max_iter=1)
    with pytest.warns(ConvergenceWarning) as caught:
        pruning_curve(quick_curve, *data, k=[0.7], strategies=["random"], cv=2)
    assert {warning.category for warning in caught} == {ConvergenceWarning}


@pytest.mark.parametrize("within", [0, 0.05, 10, "1se"])
def test_the_place_of_the_fewest_rows(quick_curve, data, within):
    k = [0.5, 10, 0.2]
    curve = pruning_curve(quick_curve, *data, k=k, strategies=["random", reverse], cv=3, within=within)
    candidates = [(1.0, None, 1.0, curve.full_scores)]
    for strategy, rows in zip(curve.strategies, curve.scores, strict=True):
        candidates += [(share, strategy, *rest) for share, *rest in zip(curve.shares, k, rows, strict=True)]
    best = max(candidates, key=lambda candidate: candidate[3].mean())[3]
    limit = best.mean() - (scipy.stats.sem(best) if within == "1se" else within)
    close = [candidate for candidate in candidates if candidate[3].mean() >= limit - 1e-9]
    share, strategy, size, scores = min(close, key=lambda candidate: (candidate[0], -candidate[3].mean()))
    assert curve.fewest_rows == dict(strategy=strategy, k=size, share=share, score=scores.mean())


def test_scores_that_are_ints(quick_curve, data):
    curve = pruning_curve(
        quick_curve, *data, k=[0.5], strategies=["random"], cv=2, scoring=lambda estimator, X, y: len(y)
    )
    assert curve.scores.dtype == curve.full_scores.dtype == np.float64
    np.testing.assert_array_equal(curve.full_scores, 18)


def test_one_standard_error_of_one_fold(quick_curve, data):
    cv = [(np.arange(18), np.arange(18, 36))]
    with pytest.raises(ValueError, match="needs at least two folds"):
        pruning_curve(quick_curve, *data, cv=cv, within="1se")
    with pytest.raises(ValueError, match="within must be"):
        pruning_curve(quick_curve, *data, within=-1)
    with pytest.raises(ValueError, match=r"'scoring' parameter .* Got 'precise'"):
        pruning_curve(quick_curve, *data, scoring="precise")


def results(means, params, folds=None, scoring="score", **more):
    """Return what fewest_rows reads of cv_results_."""
    splits = {f"split{number}_test_{scoring}": np.array(fold) for number, fold in enumerate(folds or [])}
    return {"params": params, f"mean_test_{scoring}": np.array(means), **splits, **more}


def of_k(*sizes):
    return [{"prune__k": size} for size in sizes]


@pytest.mark.parametrize(
    ("means", "params", "within", "chosen"),
    [
        ([0.97, 0.96, 0.95], of_k(0.9, 0.5, 0.1), 0.01, 1),
        ([0.97, 0.96, 0.95], of_k(0.9, 0.5, 0.1), 0, 0),
        ([0.97, 0.96, 0.95], of_k(0.9, 0.5, 0.1), 0.02, 2),
        ([0.95, 0.96, 0.97], of_k(500, 20, 100), 0.01, 1),
        # 1 is one row, 1.0 is all of them.
        ([0.9, 0.9, 0.9], of_k(2, 1, 1.0), 0.01, 1),
        ([0.9, 0.9, 0.9], of_k(1.0, 3000, 5000), 0.01, 1),
        ([0.9, 0.9], of_k(np.float64(0.7), np.float32(0.2)), 0.01, 1),
        ([0.9, 0.9], of_k(np.int64(7), np.int32(2)), 0.01, 1),
        # Failed candidates are passed over, whatever they kept.
        ([np.nan, 0.9, -np.inf], of_k(0.1, 0.5, 0.2), 1, 1),
        # Among equal k the best score wins, then the first.
        ([0.90, 0.905, 0.91], [{"k": 0.3, "C": 1}, {"k": 0.3, "C": 2}, {"k": 0.9, "C": 1}], 0.01, 1),
        ([0.9, 0.9], [{"k": 0.3, "C": 1}, {"k": 0.3, "C": 2}], 0.01, 0),
        # "auto" keeps nearly all rows.
        ([0.9, 0.9, 0.9], of_k(1.0, "auto", 0.9), 0.01, 2),
        ([0.9, 0.9], of_k(1.0, "auto"), 0.01, 1),
        ([0.9, 0.9, 0.9], of_k("auto", 5000, 1.0), 0.01, 1),
        # The k of another step is a number of columns.
        ([0.9, 0.9, 0.9], [{"a__k": 9, "b__k": 0.2}, {"a__k": 1, "b__k": 0.5}, {"a__k": 5, "b__k": "auto"}], 0.01, 0),
        ([0.9, 0.9], [{"a__k": "all", "b__k": "auto"}, {"a__k": 5, "b__k": 1.0}], 0.01, 0),
        # Neither is named k.
        ([0.9, 0.9], [{"a__k": 0.3, "n_k": 1, "kk": 3}, {"a__k": 0.2, "n_k": 2, "kk": 1}], 0.01, 1),
    ],
)
def test_the_fewest_rows_within(means, params, within, chosen):
    index = fewest_rows(within)(results(means, params))
    assert index == chosen
    assert isinstance(index, int)


@pytest.mark.parametrize(("best", "worse"), [(0.96, 0.95), (0.97, 0.96), (0.29, 0.28), (1.0, 0.99)])
def test_rounding_of_means_excludes_none(best, worse):
    assert fewest_rows(0.01)(results([best, worse], of_k(0.5, 0.1))) == 1
    assert fewest_rows(0.01)(results([best, worse - 1e-6], of_k(0.5, 0.1))) == 0


def test_one_standard_error():
    # The best candidate scores 0.9, 1.0 and 0.8: its standard deviation is 0.1, its standard error 0.0577.
    folds = [[0.9, 0.85, 0.84], [1.0, 0.85, 0.84], [0.8, 0.85, 0.84]]
    for means, chosen in (([0.9, 0.85, 0.84], 1), ([0.9, 0.85, 0.843], 2)):
        assert fewest_rows("1se")(results(means, of_k(0.9, 0.5, 0.1), folds)) == chosen
    # The folds of another metric, and of training rows, are not counted.
    more = {"split0_test_score_of_another": np.zeros(3), "split0_train_score": np.zeros(3)}
    assert fewest_rows("1se")(results([0.9, 0.85, 0.84], of_k(0.9, 0.5, 0.1), folds, **more)) == 1
    with pytest.raises(ValueError, match=r"needs at least two folds; the search has 1\."):
        fewest_rows("1se")(results([0.9, 0.85], of_k(0.9, 0.5), folds[:1]))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ([{"clf__C": 1}, {"clf__C": 2}], r"It varies clf__C; none has such a name"),
        ([{"a__k": 1, "b__k": 5, "C": 1}] * 2, r"It varies C, a__k, b__k; a__k, b__k have such a name"),
        ([{"k": 0.3}, {"C": 1}], r"candidate \{'C': 1\} doesn't set k.*'k': \[1\.0\] keeps all rows"),
        (of_k(0.3, 20), r"prune__k is a number of rows in some candidates \(20\) and a share in others \(0\.3\)"),
    ],
)
def test_searches_whose_rows_cannot_be_compared(params, message):
    with pytest.raises(ValueError, match=message):
        fewest_rows()(results([0.9, 0.9], params))


def test_scores_that_are_not_there():
    with pytest.raises(ValueError, match="No candidate has a finite mean score"):
        fewest_rows()(results([np.nan, np.nan], of_k(0.3, 0.1)))
    with pytest.raises(ValueError, match=r"'score' is not among the scores of the search: 'recall'.*scoring='recall'"):
        fewest_rows()(results([0.9, 0.9], of_k(0.3, 0.1), scoring="recall"))


@pytest.mark.parametrize("within", [-0.1, "2se", None, np.nan, True])
def test_within_out_of_range(within):
    with pytest.raises(ValueError, match=r"within must be a number >= 0, or '1se'"):
        fewest_rows(within)


@pytest.fixture
def quick():
    return Pipeline([("prune", ForgettingSelector(strategy="random", random_state=0)), ("clf", LogisticRegression())])


def fitted(search, data):
    """Return the search, fitted with scores from elsewhere, so that it trains no net."""
    return search.fit(*data, prune__forgetting_scores=np.arange(len(data[1])))


@pytest.mark.parametrize("k", [[1.0, 0.8, 0.2], [24, 20, 4, 1.0]], ids=["shares", "numbers"])
@pytest.mark.parametrize("within", [0.1, "1se"])
def test_a_search_refits_the_fewest_rows(quick, data, k, within):
    search = fitted(GridSearchCV(quick, {"prune__k": k, "clf__C": [0.1, 1]}, refit=fewest_rows(within), cv=4), data)
    table = search.cv_results_
    mean = table["mean_test_score"]
    folds = np.array([table[f"split{number}_test_score"][mean.argmax()] for number in range(4)])
    limit = mean.max() - (scipy.stats.sem(folds) if within == "1se" else within)
    sizes = [27 if params["prune__k"] == 1.0 else params["prune__k"] for params in table["params"]]
    smallest = min(size for size, score in zip(sizes, mean, strict=True) if score >= limit)
    assert sizes[search.best_index_] == smallest < max(sizes)
    assert search.best_estimator_["prune"].k == search.best_params_["prune__k"]


def test_a_metric_named_among_several(quick, data):
    scoring = {"loss": "neg_log_loss", "accuracy": "accuracy"}
    grid = {"prune__k": [1.0, 0.6, 0.3]}
    for name, within in (("accuracy", 0.02), ("accuracy", 1), ("loss", 0), ("loss", 0.1)):
        refit = fewest_rows(within, scoring=name)
        search = fitted(GridSearchCV(quick, grid, scoring=scoring, refit=refit, cv=3), data)
        mean = search.cv_results_[f"mean_test_{name}"]
        assert search.best_index_ == np.flatnonzero(mean >= mean.max() - within).max()
    with pytest.raises(ValueError, match=r"'score' is not among the scores of the search: 'loss', 'accuracy'"):
        fitted(GridSearchCV(quick, grid, scoring=scoring, refit=fewest_rows(), cv=3), data)


def test_lists_of_grids_and_random_searches(quick, data):
    grids = [{"prune__k": [1.0, 0.7]}, {"prune__k": [0.5], "prune__strategy": ["random", "least_forgotten"]}]
    search = fitted(GridSearchCV(quick, grids, refit=fewest_rows(1), cv=2), data)
    assert search.best_params_["prune__k"] == 0.5
    choices = {"prune__k": scipy.stats.randint(6, 16), "clf__C": [1, 10]}
    search = RandomizedSearchCV(quick, choices, n_iter=6, refit=fewest_rows(1), cv=2, random_state=0)
    assert fitted(search, data).best_params_["prune__k"] == min(search.cv_results_["param_prune__k"])


def test_a_candidate_that_fails_is_passed_over(quick, data):
    search = GridSearchCV(quick, {"prune__k": [0.5, 1, 0.7]}, refit=fewest_rows(1), cv=2)
    # One row has one class.
    failed = pytest.warns(FitFailedWarning, match="2 fits failed out of a total of 6")
    with failed, pytest.warns(UserWarning, match="test scores are non-finite"):
        assert fitted(search, data).best_params_ == {"prune__k": 0.5}


def test_a_search_over_columns_as_well(quick, data):
    pipe = Pipeline([("select", SelectKBest()), *quick.steps])
    grid = {"select__k": [6, 3], "prune__k": ["auto", 0.5], "clf__C": [1]}
    search = fitted(GridSearchCV(pipe, grid, refit=fewest_rows(1), cv=2), data)
    assert search.best_params_["prune__k"] == 0.5


def test_halving_searches(quick, data):
    search = HalvingGridSearchCV(
        quick, {"prune__k": [0.9, 0.5, 0.3]}, factor=2, cv=2, refit=fewest_rows(1), random_state=0
    )
    table = fitted(search, data).cv_results_
    last = np.flatnonzero(table["iter"] == max(table["iter"]))
    assert fewest_rows(1)(table) == min(last, key=lambda index: table["params"][index]["prune__k"])
    # scikit-learn ignores the callable; where it no longer does, the Notes of fewest_rows change.
    assert search.best_index_ == max(last, key=lambda index: table["mean_test_score"][index])


def test_copies_and_nested_searches(quick, data):
    rule = fewest_rows("1se", scoring="recall")
    assert repr(rule) == "fewest_rows(within='1se', scoring='recall')"
    assert pickle.loads(pickle.dumps(rule)) == clone(rule, safe=False) == rule != fewest_rows("1se")
    search = GridSearchCV(quick, {"prune__k": [0.9, 0.5]}, refit=fewest_rows(1), cv=2)
    assert "refit=fewest_rows(within=1, scoring='score')" in repr(search)
    params = {"prune__forgetting_scores": np.arange(36)}
    nested = cross_validate(search, *data, cv=3, params=params, return_estimator=True)
    assert [inner.best_params_["prune__k"] for inner in nested["estimator"]] == [0.5] * 3
    assert pickle.loads(pickle.dumps(nested["estimator"][0])).refit == fewest_rows(1)
