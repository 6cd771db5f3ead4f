import re
import tempfile
from typing import ClassVar

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn.pipeline
from conftest import make_net
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401  allows the next import
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.feature_selection import SelectFromModel
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, KFold, cross_validate
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import FeatureUnion, make_union
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr
from test_scoring import CountTrainings, n_trainings

from skprune import ForgettingScores, ForgettingSelector, Pipeline, _held_out, make_pipeline


class Remember(ClassifierMixin, BaseEstimator):
    """A classifier that remembers what it was fitted with, and accepts any fit parameter."""

    def fit(self, X, y, sample_weight=None, groups=None, **params):
        self.X_, self.y_, self.sample_weight_, self.groups_, self.params_ = X, y, sample_weight, groups, params
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


class Odd(BaseEstimator):
    """Select every other row, as imbalanced-learn's samplers do, and refuse to do it while predicting."""

    n_fits = 0

    def fit_resample(self, X, y):
        type(self).n_fits += 1
        self.sample_indices_ = np.arange(1, len(y), 2)
        return X[1::2], y[1::2]


@pytest.fixture(autouse=True)
def _no_held_out_models(monkeypatch):
    """Leave out the models that have not seen a row, which take most of the time of a fit and are no part of a Pipeline."""
    monkeypatch.setattr(_held_out, "_FEWEST_ROWS", 1000)


@pytest.fixture
def pipe():
    return Pipeline(
        [
            ("scale", StandardScaler()),
            ("prune", ForgettingSelector(make_net(), k=0.4, random_state=0)),
            ("clf", LogisticRegression()),
        ]
    )


def test_it_is_what_the_steps_do_by_hand(pipe, data):
    X, y = data
    weights = np.random.default_rng(0).random(120)
    pipe.fit(X, y, clf__sample_weight=weights)
    scaler = StandardScaler().fit(X)
    selector = clone(pipe["prune"]).fit(scaler.transform(X), y)
    rows = selector.get_support(indices=True)
    classifier = LogisticRegression().fit(scaler.transform(X)[rows], y[rows], sample_weight=weights[rows])
    np.testing.assert_allclose(pipe["clf"].coef_, classifier.coef_)
    # Nothing is selected while predicting.
    scaled = scaler.transform(X)
    np.testing.assert_array_equal(pipe.predict(X), classifier.predict(scaled))
    np.testing.assert_array_equal(pipe.predict_proba(X[:7]), classifier.predict_proba(scaled[:7]))
    np.testing.assert_array_equal(pipe.predict_log_proba(X[:7]), classifier.predict_log_proba(scaled[:7]))
    np.testing.assert_array_equal(pipe.decision_function(X[:7]), classifier.decision_function(scaled[:7]))
    assert pipe.score(X[:50], y[:50]) == classifier.score(scaled[:50], y[:50])
    weighted = classifier.score(scaled, y, sample_weight=weights)
    assert pipe.score(X, y, sample_weight=weights) == weighted
    assert pipe.n_features_in_ == 6
    assert pipe.classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize("make", [np.asarray, list, tuple, pd.Series, lambda values: np.asarray(values)[:, None]])
def test_every_row_wise_parameter_is_cut(data, make):
    X, y = data
    pipe = make_pipeline(StandardScaler(), Odd(), Remember())
    numbers = make(np.arange(120))
    pipe.fit(X, y, remember__sample_weight=numbers, remember__groups=numbers, remember__note="x" * 120, remember__n=120)
    last = pipe["remember"]
    assert np.asarray(last.sample_weight_).ravel().tolist() == list(range(1, 120, 2))
    assert type(last.groups_) is type(numbers)
    assert np.asarray(last.groups_).ravel().tolist() == list(range(1, 120, 2))
    assert last.params_ == {"note": "x" * 120, "n": 120}
    np.testing.assert_array_equal(last.y_, y[1::2])


def test_parameters_in_front_are_whole(data):
    X, y = data
    pipe = make_pipeline(StandardScaler(), Odd(), Remember())
    pipe.fit(X, y, standardscaler__sample_weight=np.arange(120))
    np.testing.assert_allclose(pipe[0].mean_, np.average(X, axis=0, weights=np.arange(120)))


def test_several_selecting_steps(data):
    X, y = data
    pipe = Pipeline([("a", Odd()), ("scale", StandardScaler()), ("b", Odd()), ("clf", Remember())])
    pipe.fit(X, y, clf__sample_weight=np.arange(120))
    np.testing.assert_array_equal(pipe["clf"].sample_weight_, np.arange(3, 120, 4))
    np.testing.assert_array_equal(pipe["clf"].y_, y[3::4])
    np.testing.assert_allclose(pipe["scale"].mean_, X[1::2].mean(0))
    assert len(pipe.predict(X)) == 120


class Metadata(Remember):
    pass


@pytest.mark.parametrize("alias", [True, "weights"])
def test_metadata_routing(data, alias):
    X, y = data
    with config_context(enable_metadata_routing=True):
        clf = Remember().set_fit_request(sample_weight=alias, groups=False)
        scale = StandardScaler().set_fit_request(sample_weight=False)
        selector = ForgettingSelector(k=30, strategy="most_forgotten").set_fit_request(forgetting_scores="scores")
        pipe = Pipeline([("scale", scale), ("prune", selector), ("clf", clf)])
        weights = {"sample_weight" if alias is True else alias: np.arange(120)}
        scores = np.roll(np.arange(120), 5)
        pipe.fit(X, y, scores=scores, **weights)
        rows = np.flatnonzero(scores >= 90)
        np.testing.assert_array_equal(pipe["clf"].sample_weight_, np.arange(120)[rows])
        np.testing.assert_array_equal(pipe["clf"].y_, y[rows])
        with pytest.raises(TypeError, match="unexpected argument"):
            pipe.fit(X, y, other=np.arange(120))


class Validated(Remember):
    def fit(self, X, y, X_val=None, y_val=None, sample_weight=None):
        self.X_val_, self.y_val_ = X_val, y_val
        return super().fit(X, y, sample_weight=sample_weight)


@pytest.mark.parametrize("n_val", [30, 120])
@pytest.mark.parametrize("wrap", [lambda X: X, lambda X: (X, X)])
def test_transform_input(data, n_val, wrap):
    X, y = data
    with config_context(enable_metadata_routing=True):
        clf = Validated().set_fit_request(X_val=True, y_val=True, sample_weight=True)
        scale = StandardScaler().set_fit_request(sample_weight=False)
        steps = [("scale", scale), ("prune", ForgettingSelector(k=0.5)), ("pca", PCA(2)), ("clf", clf)]
        pipe = Pipeline(steps, transform_input=["X_val"])
        pipe.fit(X, y, X_val=wrap(X[:n_val]), sample_weight=np.arange(120))
        scaled = pipe["scale"].transform(X[:n_val])
        X_val = pipe["clf"].X_val_
        for part in X_val if isinstance(X_val, tuple) else (X_val,):
            np.testing.assert_allclose(part, pipe["pca"].transform(scaled))
        assert len(pipe["clf"].sample_weight_) == len(pipe["clf"].y_) == 60


@pytest.mark.parametrize("name", ["sample_weight", "other__sample_weight"])
def test_parameters_of_no_step(pipe, data, name):
    with pytest.raises(ValueError, match=f"does not accept the {name} parameter.*clf__sample_weight"):
        pipe.fit(*data, **{name: np.ones(120)})


def test_names_that_are_not_unique(data):
    with pytest.raises(ValueError, match="not unique"):
        Pipeline([("a", Odd()), ("a", Remember())]).fit(*data)


def test_a_selecting_step_last(data):
    X, y = data
    pipe = make_pipeline(StandardScaler(), ForgettingSelector(k=0.25, random_state=0))
    X_kept, y_kept = pipe.fit_resample(X, y)
    rows = pipe[-1].get_support(indices=True)
    scaled = StandardScaler().fit_transform(X)
    np.testing.assert_allclose(X_kept, scaled[rows])
    np.testing.assert_array_equal(y_kept, y[rows])
    np.testing.assert_array_equal(pipe.sample_indices_, rows)
    np.testing.assert_allclose(pipe.transform(X), scaled[rows])
    np.testing.assert_allclose(pipe.fit(X, y).transform(X), scaled[rows])
    np.testing.assert_allclose(pipe.fit_transform(X, y), scaled[rows])
    assert not hasattr(pipe, "predict")
    with pytest.raises(ValueError, match="X has 100 rows"):
        pipe.transform(X[:100])


def test_selecting_steps_last_and_in_between(data):
    X, y = data
    pipe = Pipeline([("odd", Odd()), ("scale", StandardScaler()), ("prune", ForgettingSelector(k=10, random_state=0))])
    X_kept, y_kept = pipe.fit_resample(X, y)
    rows = pipe.sample_indices_
    np.testing.assert_array_equal(rows, 1 + 2 * pipe["prune"].get_support(indices=True))
    np.testing.assert_array_equal(y_kept, y[rows])
    np.testing.assert_allclose(pipe.fit_transform(X, y), X_kept)
    # A step that can't tell whether these are the rows that it was fitted with.
    with pytest.raises(AttributeError, match="no attribute 'transform'") as raised:
        pipe.transform(X)
    assert re.search(r"'odd' has no transform.*fit_resample.*without_selection\(\)", str(raised.value.__cause__))
    assert not hasattr(make_pipeline(StandardScaler(), pipe), "transform")


def test_without_a_selecting_step_last_there_is_no_fit_resample(pipe):
    assert not hasattr(pipe, "fit_resample")
    assert not hasattr(pipe, "sample_indices_")


def test_nested_pipelines(data):
    X, y = data
    inner = make_pipeline(StandardScaler(), ForgettingSelector(k=0.25, random_state=0))
    outer = make_pipeline(inner, Remember()).fit(X, y, remember__sample_weight=np.arange(120))
    rows = outer[0].sample_indices_
    np.testing.assert_array_equal(outer[-1].sample_weight_, rows)
    assert len(outer.predict(X)) == 120
    flat = make_pipeline(StandardScaler(), ForgettingSelector(k=0.25, random_state=0), LogisticRegression())
    nested = make_pipeline(clone(inner), LogisticRegression())
    shifted = 100 * X + 1000
    np.testing.assert_allclose(
        nested.fit(shifted, y).predict_proba(shifted), flat.fit(shifted, y).predict_proba(shifted), rtol=1e-6
    )
    # As the final step of a plain Pipeline, which would pass y on uncut.
    plain = sklearn.pipeline.make_pipeline(StandardScaler(), make_pipeline(ForgettingSelector(k=0.25), Remember()))
    assert len(plain.fit(X, y).predict(X)) == 120
    assert len(plain[-1][-1].y_) == 30


def test_a_plain_pipeline_says_what_is_wrong(data):
    plain = sklearn.pipeline.make_pipeline(ForgettingSelector(k=0.25), LogisticRegression())
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        plain.fit(*data)


@pytest.mark.parametrize("skipped", ["passthrough", None])
def test_skipped_steps(data, skipped):
    X, y = data
    pipe = Pipeline([("a", skipped), ("odd", Odd()), ("b", skipped), ("clf", Remember())]).fit(X, y)
    np.testing.assert_array_equal(pipe["clf"].X_, X[1::2])
    pipe.set_params(odd=skipped).fit(X, y)
    np.testing.assert_array_equal(pipe["clf"].X_, X)
    pipe = Pipeline([("odd", Odd()), ("b", skipped)])
    np.testing.assert_array_equal(pipe.fit_transform(X, y), X[1::2])
    np.testing.assert_array_equal(pipe.transform(X), X)


def test_other_methods(data):
    X, y = data
    pipe = make_pipeline(Odd(), StandardScaler(), PCA(2))
    assert pipe.fit_transform(X, y).shape == (60, 2)
    transformed = pipe.transform(X)
    assert transformed.shape == (120, 2)
    assert pipe.inverse_transform(transformed).shape == (120, 6)
    assert pipe.get_feature_names_out().tolist() == ["pca0", "pca1"]
    assert pipe.score_samples(X).shape == (120,)
    assert make_pipeline(Odd(), LocalOutlierFactor(5)).fit_predict(X, y).shape == (60,)


class CountedOdd(BaseEstimator):
    """Select every other row, and leave a file for each fit; a count in the class would make it another class."""

    def __init__(self, folder):
        self.folder = folder

    def fit_resample(self, X, y):
        tempfile.mkstemp(dir=self.folder)
        self.sample_indices_ = np.arange(1, len(y), 2)
        return X[1::2], y[1::2]


def test_memory(data, tmp_path):
    X, y = data
    (tmp_path / "fits").mkdir()
    steps = [("scale", StandardScaler()), ("odd", CountedOdd(str(tmp_path / "fits"))), ("clf", Remember())]
    pipe = Pipeline(steps, memory=str(tmp_path / "memory"))
    for _ in range(2):
        pipe.fit(X, y, clf__sample_weight=np.arange(120))
        np.testing.assert_array_equal(pipe["clf"].sample_weight_, np.arange(1, 120, 2))
    assert len(list((tmp_path / "fits").iterdir())) == 1
    # The transformer in front is stored too.
    assert len(list(tmp_path.rglob("output.pkl"))) == 2


def test_memory_of_a_strategy_that_is_a_lambda(data, tmp_path, folder):
    net = make_net(callbacks=[CountTrainings(str(folder))])
    for _ in range(2):
        selector = ForgettingSelector(net, k=12, strategy=lambda scores, n_keep, rng: np.arange(n_keep), random_state=0)
        pipe = Pipeline([("prune", selector), ("clf", Remember())], memory=str(tmp_path / "memory")).fit(*data)
        np.testing.assert_array_equal(pipe["clf"].X_, data[0][:12])
    assert n_trainings(folder) == 1
    pipe.set_params(prune__strategy=lambda scores, n_keep, rng: np.arange(20, 20 + n_keep)).fit(*data)
    np.testing.assert_array_equal(pipe["clf"].X_, data[0][20:32])


def test_verbose(data, capsys):
    Pipeline([("scale", StandardScaler()), ("odd", Odd()), ("clf", Remember())], verbose=True).fit(*data)
    assert "Processing clf" in capsys.readouterr().out


def test_imbalanced_learn(data):
    # Imported late: imbalanced-learn adds a method to scikit-learn's list, by which scikit-learn's own tests are made.
    from imblearn.over_sampling import SMOTE, RandomOverSampler
    from imblearn.under_sampling import RandomUnderSampler

    X, y = data
    few = np.r_[np.flatnonzero(y == 0)[:10], np.flatnonzero(y == 1)]
    X, y, weights = X[few], y[few], np.arange(120)[few]
    under = make_pipeline(StandardScaler(), RandomUnderSampler(random_state=0), ForgettingSelector(k=0.5), Remember())
    under.fit(X, y, remember__sample_weight=weights)
    assert len(under[-1].y_) == 10
    lookup = dict(zip(weights, y, strict=True))
    assert [lookup[weight] for weight in under[-1].sample_weight_] == under[-1].y_.tolist()
    with config_context(enable_metadata_routing=True):
        clf = Remember().set_fit_request(sample_weight=True, groups=False)
        routed = make_pipeline(RandomUnderSampler(random_state=0), clf).fit(X, y, sample_weight=weights)
        assert [lookup[weight] for weight in routed[-1].sample_weight_] == routed[-1].y_.tolist()
    over = make_pipeline(RandomOverSampler(random_state=0), Remember()).fit(X, y, remember__sample_weight=weights)
    assert [lookup[weight] for weight in over[-1].sample_weight_] == over[-1].y_.tolist()
    smote = make_pipeline(SMOTE(random_state=0, k_neighbors=3), ForgettingSelector(k=0.5, balance=True), Remember())
    smote.fit(X, y)
    assert np.ptp(np.bincount(smote[-1].y_)) <= 1
    assert len(smote.predict(X)) == len(X)
    with pytest.raises(ValueError, match=r"'smote' makes new rows.*remember__sample_weight can't be cut"):
        smote.fit(X, y, remember__sample_weight=weights)


def test_given_scores_in_cross_validation(data):
    X, y = data
    pipe = make_pipeline(ForgettingSelector(k=0.5), LogisticRegression())
    search = GridSearchCV(pipe, {"forgettingselector__k": [0.2, 0.9]}, cv=3)
    scores = np.arange(120)
    search.fit(X, y, forgettingselector__forgetting_scores=scores)
    assert search.best_estimator_[0].forgetting_scores_.tolist() == scores.tolist()


def test_grid_search(pipe, data):  # in workers by test_scoring.py
    search = GridSearchCV(pipe, {"prune__k": [0.9, 0.5, 40], "prune__estimator__lr": [0.1]}, cv=3)
    search.fit(*data)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.score(*data) > 0.5


def test_cross_validate(pipe, data):
    results = cross_validate(pipe, *data, cv=3, return_train_score=True, return_estimator=True)
    assert np.isfinite(results["train_score"]).all()
    assert len(results["estimator"][0]["prune"].margins_) == 80


def test_other_meta_estimators(pipe, data):
    X, y = data
    halving = HalvingGridSearchCV(pipe, {"prune__k": [0.9, 0.5]}, cv=2, factor=2, random_state=0).fit(X, y)
    assert halving.predict(X).shape == (120,)
    assert CalibratedClassifierCV(pipe, cv=3).fit(X, y).predict_proba(X).shape == (120, 3)
    voting = VotingClassifier([("pruned", pipe), ("all", LogisticRegression())], voting="soft").fit(X, y)
    assert voting.predict(X).shape == (120,)


def test_html(pipe, data):
    for estimator in (pipe, clone(pipe).fit(*data)):
        html = estimator_html_repr(estimator)
        assert "ForgettingSelector" in html
        assert "LogisticRegression" in html


def test_pickle(pipe, data, tmp_path):
    X, y = data
    joblib.dump(pipe.fit(X, y), tmp_path / "pipe.joblib")
    np.testing.assert_array_equal(joblib.load(tmp_path / "pipe.joblib").predict_proba(X), pipe.predict_proba(X))


def test_texts(data):
    texts = np.array(["good film", "bad film", "good plot", "bad plot"] * 30)
    y = np.tile([1, 0], 60)
    pipe = make_pipeline(CountVectorizer(), ForgettingSelector(k=0.5, random_state=0), LogisticRegression())
    assert pipe.fit(texts, y).score(texts, y) == 1


def test_set_output(data):
    X = pd.DataFrame(data[0], columns=list("abcdef"), index=np.arange(1000, 1120))
    pipe = make_pipeline(StandardScaler(), ForgettingSelector(k=0.1, random_state=0)).set_output(transform="pandas")
    kept = pipe.fit_transform(X, data[1])
    assert kept.columns.tolist() == list("abcdef")
    np.testing.assert_array_equal(kept.index, 1000 + pipe.sample_indices_)


def test_a_slice_is_a_pipeline_of_ours(pipe):
    assert type(pipe[:2]) is Pipeline
    assert type(make_pipeline(StandardScaler())) is Pipeline
    assert isinstance(pipe, sklearn.pipeline.Pipeline)


class OwnTransformer(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X


def test_failure_behind_the_selection_leaves_an_error(data):
    class Fails(Remember):
        def fit(self, X, y):
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        make_pipeline(OwnTransformer(), Odd(), Fails()).fit(*data)


class WriteDown:
    """A callback of scikit-learn that notes the name of every task it hears of."""

    max_propagation_depth = None

    def __init__(self):
        self.begun, self.ended, self.n_teardowns = [], [], 0

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(context.task_name)

    def on_fit_task_end(self, estimator, context):
        self.ended.append(context.task_name)

    def teardown(self, estimator, context):
        self.n_teardowns += 1


@pytest.mark.filterwarnings("ignore:The estimator .* does not support callbacks:UserWarning")  # LogisticRegression
@pytest.mark.parametrize("memory", [False, True])
def test_callbacks_of_scikit_learn(data, tmp_path, memory):
    pytest.importorskip("sklearn.callback")
    callback = WriteDown()
    pipe = make_pipeline(StandardScaler(), Odd(), PCA(2), Odd(), Remember(), memory=str(tmp_path) if memory else None)
    pipe.set_callbacks(callback).fit(*data)
    assert len(callback.begun) == len(callback.ended)
    assert callback.begun.count("select-rows-odd-1") == callback.begun.count("select-rows-odd-2") == 1
    assert {"fit-transform-pca", "fit-final-estimator"} <= set(callback.begun)
    assert callback.n_teardowns == 1
    # A fit leaves nothing of them in the steps.
    assert all(not hasattr(step, "_parent_callback_ctx") for _, step in pipe.steps)


@pytest.mark.filterwarnings("ignore:The estimator .* does not support callbacks:UserWarning")  # LogisticRegression
def test_callbacks_where_the_last_step_selects(data):
    pytest.importorskip("sklearn.callback")
    callback = WriteDown()
    make_pipeline(StandardScaler(), Odd()).set_callbacks(callback).fit_resample(*data)
    assert callback.begun[-1] == "select-rows-odd"
    assert callback.n_teardowns == 1


def test_callbacks_end_with_a_fit_that_fails(data):
    pytest.importorskip("sklearn.callback")
    callback = WriteDown()
    callback.max_propagation_depth = 0
    with pytest.raises(ValueError, match="The 'C' parameter"):
        make_pipeline(Odd(), LogisticRegression(C="much")).set_callbacks(callback).fit(*data)
    assert callback.n_teardowns == 1


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_progress_bar_of_scikit_learn(pipe, data, capsys, n_jobs):
    pytest.importorskip("rich")
    callback = pytest.importorskip("sklearn.callback")
    search = GridSearchCV(pipe, {"prune__k": [0.5, 0.9]}, cv=2, n_jobs=n_jobs)
    search.set_callbacks(callback.ProgressBar()).fit(*data)
    printed = capsys.readouterr().out
    assert printed.count("Pipeline - fit") == 5
    assert printed.count("100%") == 7  # the search and its loop as well
    pipe.set_callbacks(callback.ProgressBar()).fit(*data)
    assert capsys.readouterr().out.count("100%") == 3


def test_a_sampler_last(data):
    from imblearn.over_sampling import SMOTE
    from imblearn.under_sampling import RandomUnderSampler

    X, y = data
    scaled = StandardScaler().fit_transform(X)
    pipe = make_pipeline(StandardScaler(), RandomUnderSampler(random_state=0))
    X_kept, y_kept = pipe.fit_resample(X, y)
    np.testing.assert_array_equal(y_kept, y[pipe.sample_indices_])
    np.testing.assert_allclose(X_kept, scaled[pipe.sample_indices_])
    np.testing.assert_allclose(clone(pipe).fit_transform(X, y), X_kept)
    smote = make_pipeline(StandardScaler(), SMOTE(random_state=0, sampling_strategy={0: 60}))
    for last in (pipe, smote, make_pipeline(StandardScaler(), pipe)):
        last.fit(X, y)
        assert not hasattr(last, "transform")
        assert not hasattr(FrozenEstimator(last), "transform")
        with pytest.raises(TypeError, match="intermediate steps should be transformers"):
            sklearn.pipeline.make_pipeline(last, LogisticRegression()).fit(X, y)
        np.testing.assert_allclose(last.without_selection().transform(X[:7]), scaled[:7])
    assert not hasattr(smote, "sample_indices_")


@pytest.mark.parametrize("nested", [False, True])
def test_metadata_for_a_selecting_step_last(data, nested):
    X, y = data
    with config_context(enable_metadata_routing=True):
        selector = ForgettingSelector(k=30, strategy="most_forgotten").set_fit_request(forgetting_scores=True)
        pipe = make_pipeline(StandardScaler(), selector)
        scores = np.roll(np.arange(120), 5)
        rows = np.flatnonzero(scores >= 90)
        if nested:
            y_kept = make_pipeline(pipe, Remember()).fit(X, y, forgetting_scores=scores)[-1].y_
        else:
            _, y_kept = pipe.fit_resample(X, y, forgetting_scores=scores)
            assert pipe.fit(X, y, forgetting_scores=scores).transform(X).shape == (30, 6)
            assert pipe.fit_transform(X, y, forgetting_scores=scores).shape == (30, 6)
        np.testing.assert_array_equal(y_kept, y[rows])


@pytest.mark.parametrize("name", ["a__b", "steps", "memory"])
def test_bad_names_are_told_before_anything_is_fitted(data, name):
    Odd.n_fits = 0
    with pytest.raises(ValueError, match=f"Estimator names .*'{name}'"):
        Pipeline([(name, Odd()), ("clf", Remember())]).fit(*data)
    with pytest.raises(TypeError, match="All intermediate steps should be transformers"):
        Pipeline([("odd", Odd()), ("clf", Remember()), ("more", Remember())]).fit(*data)
    assert Odd.n_fits == 0


def test_transform_takes_no_parameters_where_the_last_step_selects(data):
    pipe = make_pipeline(StandardScaler(), ForgettingSelector(k=0.5, random_state=0)).fit(*data)
    with pytest.raises(ValueError, match="takes only X, got weight"):
        pipe.transform(data[0], weight=1)


def test_memory_of_a_net_with_a_module_that_is_an_instance(data, tmp_path):
    from conftest import MLP

    X, y = data
    pipe = make_pipeline(ForgettingSelector(make_net(MLP()), random_state=0), Remember(), memory=str(tmp_path))
    first = clone(pipe).fit(X, y)[0].margins_
    np.testing.assert_array_equal(clone(pipe).fit(X, y)[0].margins_, first)
    assert len(list(tmp_path.rglob("output.pkl"))) == 1


class Embed(BaseEstimator):
    """Place rows on a line, all at once, as manifold learners do that can't place new ones."""

    def fit(self, X, y=None):
        return self

    def fit_transform(self, X, y=None):
        return X[:, :1]


def test_a_last_step_that_only_fits_and_transforms_at_once(data):
    X, y = data
    kept = make_pipeline(Odd(), Embed()).fit_transform(X, y)
    np.testing.assert_array_equal(kept, X[1::2, :1])
    assert not hasattr(make_pipeline(Odd(), Remember()), "fit_transform")


def test_an_empty_pipeline_selects_nothing():
    assert not hasattr(Pipeline([]), "fit_resample")


X_NEW, Y_NEW = np.full((120, 6), 7.0), np.full(120, 7)
# Names and values of validation data as estimators of several libraries take them, all with as many rows as X.
VALIDATION = [
    {"X_val": X_NEW, "y_val": Y_NEW},
    {"eval_X": X_NEW, "eval_y": Y_NEW},
    {"X_valid": X_NEW.tolist(), "y_valid": Y_NEW.tolist()},
    {"X_test": pd.DataFrame(X_NEW), "y_test": pd.Series(Y_NEW)},
    {"eval_set": [(X_NEW, Y_NEW)], "eval_sample_weight": [Y_NEW]},
    {"eval_set": (X_NEW, Y_NEW), "sample_weight_eval_set": Y_NEW},
    {"validation_data": (X_NEW, Y_NEW, Y_NEW)},
    {"X_val": {"a": X_NEW}, "y_val": Y_NEW, "val_sample_weight": Y_NEW, "eval_group": Y_NEW},
]


@pytest.mark.parametrize("params", VALIDATION, ids=lambda params: "-".join(params))
@pytest.mark.parametrize("routed", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_validation_data_are_never_cut(data, params, routed, nested):
    X, y = data

    class Asks(Remember):
        __metadata_request__fit = dict.fromkeys([*params, "sample_weight"], True) | {"groups": False}

    steps = [make_pipeline(Odd(), Asks())] if nested else [Odd(), Asks()]
    prefix = "" if routed else "pipeline__asks__" if nested else "asks__"
    with config_context(enable_metadata_routing=routed):
        pipe = make_pipeline(OwnTransformer(), *steps)
        passed = {prefix + name: values for name, values in params.items()}
        pipe.fit(X, y, **passed, **{prefix + "sample_weight": np.arange(120)})
    last = pipe[-1][-1] if nested else pipe[-1]
    assert last.params_.keys() == params.keys()
    assert all(last.params_[name] is values for name, values in params.items())
    np.testing.assert_array_equal(last.sample_weight_, np.arange(1, 120, 2))


@pytest.mark.parametrize(
    "params",
    [
        {"Xv": X_NEW, "yv": Y_NEW},
        {"yv": Y_NEW, "Xv": X_NEW[:, :2]},
        {"Xv": pd.DataFrame(X_NEW)},
        {"Xv": sparse.csr_array(X_NEW)},
        {"X_val": X_NEW, "labels": Y_NEW},
    ],
)
def test_what_may_be_validation_data_is_refused(data, params):
    Odd.n_fits = 0
    with pytest.raises(
        ValueError, match=r"remember__(Xv|yv|labels) has one entry for each of the 120 rows.*set_fit_request"
    ):
        make_pipeline(Odd(), Remember()).fit(*data, **{"remember__" + name: value for name, value in params.items()})
    assert Odd.n_fits == 0


def test_texts_that_may_be_validation_data_are_refused():
    texts, y = ["good film", "bad film"] * 10, [1, 0] * 10
    pipe = make_pipeline(CountVectorizer(), ForgettingSelector(k=0.5, random_state=0), Remember())
    with pytest.raises(ValueError, match=r"remember__texts has one entry .* looks like X"):
        pipe.fit(texts, y, remember__texts=texts)
    pipe.fit(texts, y, remember__cost=np.arange(20))
    np.testing.assert_array_equal(pipe[-1].params_["cost"], pipe[1].get_support(indices=True))


def test_parameters_of_any_name_are_cut_where_no_validation_data_are_passed(data):
    pipe = make_pipeline(Odd(), Remember())
    costs = np.arange(480).reshape(120, 2, 2)
    pipe.fit(*data, remember__costs=costs, remember__by_output={"a": Y_NEW, "b": Y_NEW}, remember__of_class={0: 1})
    np.testing.assert_array_equal(pipe[-1].params_["costs"], costs[1::2])
    assert [len(part) for part in pipe[-1].params_["by_output"].values()] == [60, 60]
    assert pipe[-1].params_["of_class"] == {0: 1}


def test_an_alias_tells_what_is_cut(data):
    X, y = data

    class Asks(Remember):
        __metadata_request__fit: ClassVar = {
            "Xv": "X_val",
            "yv": "y_val",
            "sensitive": "groups",
            "sample_weight": False,
        }

    with config_context(enable_metadata_routing=True):
        last = make_pipeline(Odd(), Asks().set_fit_request(groups=False)).fit(X, y, X_val=X_NEW, y_val=Y_NEW, groups=X)[
            -1
        ]
    assert last.params_["Xv"] is X_NEW
    assert last.params_["yv"] is Y_NEW
    np.testing.assert_array_equal(last.params_["sensitive"], X[1::2])


def test_half_of_a_validation_set_in_transform_input(data):
    class Asks(Remember):
        __metadata_request__fit: ClassVar = {"Xv": True, "yv": True, "groups": False, "sample_weight": False}

    with config_context(enable_metadata_routing=True):
        pipe = Pipeline([("odd", Odd()), ("scale", StandardScaler()), ("clf", Asks())], transform_input=["Xv"])
        pipe["scale"].set_fit_request(sample_weight=False)
        with pytest.raises(ValueError, match=r"yv has one entry .* comes with Xv"):
            pipe.fit(*data, Xv=X_NEW, yv=Y_NEW)


def test_set_fit_resample_request(data):
    from imblearn.base import BaseSampler  # late, as above

    class Costs(BaseSampler):
        _sampling_type = "bypass"

        def fit_resample(self, X, y, costs=None):
            self.costs_, self.sample_indices_ = costs, np.arange(0, len(y), 3)
            return X[::3], y[::3]

        def _fit_resample(self, X, y):
            raise NotImplementedError

    X, y = data
    with config_context(enable_metadata_routing=True):
        clf = Remember().set_fit_request(sample_weight="costs", groups=False)
        sampler = Costs().set_fit_resample_request(costs=True)
        for pipe in (
            make_pipeline(sampler, clf),
            make_pipeline(make_pipeline(sampler), clf),
            make_pipeline(Odd(), sampler, clf),
        ):
            pipe.fit(X, y, costs=np.arange(120))
        np.testing.assert_array_equal(pipe[1].costs_, np.arange(1, 120, 2))
        np.testing.assert_array_equal(pipe[-1].sample_weight_, np.arange(1, 120, 6))
        make_pipeline(sampler, Remember()).fit(X, y, costs=Y_NEW)
        assert sampler.costs_ is Y_NEW
        with pytest.raises(TypeError, match="unexpected argument"):
            make_pipeline(Costs(), StandardScaler()).fit(X, y, costs=Y_NEW)


def test_nothing_is_done_behind_the_last_selecting_step(data):
    X, y = data
    for skipped in ("passthrough", None):
        pipe = make_pipeline(StandardScaler(), Odd(), skipped, skipped)
        X_kept, y_kept = pipe.fit_resample(X, y)
        np.testing.assert_array_equal(X_kept, StandardScaler().fit_transform(X)[1::2])
        np.testing.assert_array_equal(y_kept, y[1::2])
        np.testing.assert_array_equal(pipe.sample_indices_, np.arange(1, 120, 2))
        outer = make_pipeline(pipe, Remember()).fit(X, y)
        np.testing.assert_array_equal(outer[-1].y_, y[1::2])
    assert not hasattr(make_pipeline(Odd(), StandardScaler(), "passthrough"), "fit_resample")


@pytest.mark.parametrize("front", [[], [Odd()]])
def test_a_pipeline_that_selects_in_front_of_its_last_step_is_refused_in_the_middle(data, front):
    inner = Pipeline([("rare", Odd()), ("scale", StandardScaler())])
    with pytest.raises(
        TypeError, match=r"step 'pipeline' is a Pipeline that selects.*outer Pipeline instead: rare, scale"
    ):
        make_pipeline(*front, inner, Remember()).fit(*data)
    assert len(make_pipeline(*front, inner).fit_transform(*data)) == 60 // (1 + len(front))


class Rows(BaseEstimator):
    """Select rows by their numbers, which it may not tell."""

    def __init__(self, rows, tells=True):
        self.rows = rows
        self.tells = tells

    def fit_resample(self, X, y):
        if self.tells:
            self.sample_indices_ = self.rows
        return X[self.rows], y[self.rows]


REVERSED = np.arange(120)[::-1]


@pytest.mark.parametrize(
    "steps",
    [
        [Rows(REVERSED), StandardScaler()],
        [Rows(np.r_[:60, :60]), StandardScaler()],
        [Rows(np.arange(120), tells=False), StandardScaler()],
        [Rows(np.arange(60)), Rows(np.r_[:60, :60]), StandardScaler()],
        [Rows(REVERSED), "passthrough"],
        [StandardScaler(), make_pipeline(Rows(REVERSED), StandardScaler())],
        [Rows(np.arange(60)), make_pipeline(Rows(np.r_[:60, :60]), StandardScaler())],
    ],
)
def test_rows_that_others_would_take_for_those_of_X(data, steps):
    # They get no y from fit_transform, and can't find out that theirs is another one.
    X, y = data
    selecting = make_pipeline(*steps)
    others = [
        selecting,
        sklearn.pipeline.make_pipeline(selecting, LogisticRegression()),
        make_union(selecting, StandardScaler()),
        sklearn.pipeline.make_pipeline(ColumnTransformer([("selecting", selecting, [0, 1])]), LogisticRegression()),
    ]
    for other in others:
        fit = other.fit_transform if hasattr(other, "fit_transform") else other.fit
        with pytest.raises(ValueError, match=r"as many rows as X has, 120, but a sampler.*a skprune.Pipeline"):
            fit(X, y)
    assert selecting.fit(X, y).transform(X).shape == (120, 6)


@pytest.mark.parametrize(
    ("steps", "n_kept"),
    [
        ([Rows(np.arange(120)), StandardScaler()], 120),
        ([ForgettingSelector(k=1.0, strategy="random"), StandardScaler()], 120),
        ([Rows(REVERSED[:60]), StandardScaler()], 60),
        ([Rows(np.arange(60)), Rows(np.arange(60)[::-1]), StandardScaler()], 60),
        ([Rows(np.arange(60), tells=False), "passthrough"], 60),
    ],
)
def test_rows_that_nobody_takes_for_others(data, steps, n_kept):
    X, y = data
    selecting = make_pipeline(*steps)
    assert selecting.fit_transform(X, y).shape == (n_kept, 6)
    plain = sklearn.pipeline.make_pipeline(selecting, LogisticRegression())
    if n_kept == 120:
        expected = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y).predict_proba(X)
        np.testing.assert_allclose(plain.fit(X, y).predict_proba(X), expected, rtol=1e-6)
    else:
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            plain.fit(X, y)


def test_a_plain_pipeline_that_selects_is_refused_in_the_middle(data):
    inner = sklearn.pipeline.make_pipeline(StandardScaler(), ForgettingSelector(k=0.5))
    with pytest.raises(TypeError, match="step 'pipeline' is a Pipeline that selects rows, but has no fit_resample"):
        make_pipeline(inner, LogisticRegression()).fit(*data)


DROPPING = [
    Odd(),
    ForgettingSelector(k=0.5, strategy="random"),
    make_pipeline(Odd(), StandardScaler()),
    sklearn.pipeline.make_pipeline(StandardScaler(), Odd()),
    make_union(make_pipeline(Odd(), StandardScaler())),
    FrozenEstimator(Odd()),
]


@pytest.mark.parametrize("part", DROPPING, ids=lambda part: type(part).__name__)
def test_parts_that_drop_rows_are_not_joined(data, part):
    for union in (
        FeatureUnion([("whole", StandardScaler()), ("half", part), ("none", "drop")]),
        ColumnTransformer([("whole", "passthrough", [0]), ("half", part, [1, 2])]),
    ):
        message = r"step 'union' joins columns of its parts.*part 'half' drops rows.*in front of 'union'"
        for steps in ([("union", union), ("clf", Remember())], [("odd", Odd()), ("union", union), ("clf", Remember())]):
            with pytest.raises(TypeError, match=message):
                Pipeline(steps).fit(*data)
        with pytest.raises(TypeError, match=message):
            Pipeline([("scale", StandardScaler()), ("union", union)]).fit_transform(*data)
        inner = sklearn.pipeline.Pipeline([("scale", StandardScaler()), ("union", union)])
        with pytest.raises(TypeError, match=message):
            Pipeline([("inner", inner), ("clf", Remember())]).fit(*data)
    rest = ColumnTransformer([("whole", "passthrough", [0])], remainder=part)
    last = sklearn.pipeline.Pipeline([("union", rest), ("clf", Remember())])
    for steps in (last.steps, [("scale", StandardScaler()), ("last", last)]):
        with pytest.raises(TypeError, match="its part 'remainder' drops rows"):
            Pipeline(steps).fit(*data)


def test_a_last_step_may_fit_its_parts_on_fewer_rows(data):
    X, y = data
    halved = make_pipeline(Odd(), StandardScaler())
    pipe = make_pipeline(StandardScaler(), make_union(halved, PCA(1))).fit(X, y)
    assert pipe.transform(X).shape == (120, 7)


def test_a_search_within_a_union_may_drop_rows_of_its_own(data):
    """Meta-estimators that drop rows for themselves alone return all rows."""
    chosen = SelectFromModel(
        make_pipeline(Odd(), LogisticRegression()), importance_getter="named_steps.logisticregression.coef_"
    )
    pipe = make_pipeline(make_union(chosen, PCA(1)), LogisticRegression()).fit(*data)
    assert pipe.predict(data[0]).shape == (120,)


@pytest.mark.parametrize("codes", [lambda y: np.stack([y > 0, y > 1], axis=1), lambda y: np.stack([y, -y], axis=1)])
def test_several_labels_a_row(data, codes):
    """What the error for such y recommends."""
    X, y = data
    Y = codes(y).astype(int)
    pipe = make_pipeline(ForgettingSelector(make_net(), k=0.5, random_state=0), LogisticRegression())
    with pytest.raises(ValueError, match=r"got 2 columns.*MultiOutputClassifier\(pipe\)"):
        pipe.fit(X, Y)
    fitted = MultiOutputClassifier(pipe).fit(X, Y)
    for column, single in enumerate(fitted.estimators_):
        assert single[0].get_support().sum() == 60
        np.testing.assert_array_equal(fitted.predict(X)[:, column], clone(pipe).fit(X, Y[:, column]).predict(X))


def test_kept_rows_without_y(data):
    """What the guide says of FeatureUnion, ColumnTransformer and steps that need no y."""
    X, y = data
    half = [
        make_pipeline(ForgettingSelector(k=0.5, strategy=name), StandardScaler()) for name in ("random", "coverage")
    ]
    for joined in (
        make_union(half[0], StandardScaler()),
        ColumnTransformer([("a", half[0], [0]), ("b", PCA(1), [1, 2])]),
    ):
        with pytest.raises(ValueError, match="must match exactly"):
            joined.fit_transform(X, y)
    assert make_union(*half).fit_transform(X, y).shape == (60, 12)
    tables = make_union(half[0], StandardScaler()).set_output(transform="pandas").fit_transform(X, y)
    assert tables.isna().any(axis=1).sum() == 60
    joined = make_pipeline(
        ForgettingSelector(k=0.5, strategy="random"), make_union(StandardScaler(), PCA(1)), Remember()
    )
    np.testing.assert_array_equal(joined.fit(X, y)[-1].y_, y[joined[0].get_support()])
    clusters = sklearn.pipeline.make_pipeline(half[0], KMeans(3, random_state=0)).fit(X, y)
    assert len(clusters[-1].labels_) == 60
    assert len(clusters.predict(X)) == 120


def test_a_frozen_selector_keeps_what_it_selected(data, tmp_path):
    X, y = data
    selector = ForgettingSelector(k=10, strategy="most_forgotten")
    whole = make_pipeline(StandardScaler(), clone(selector)).fit(
        X, y, forgettingselector__forgetting_scores=np.arange(120)
    )
    selector.fit(X, y, forgetting_scores=np.arange(120))
    for frozen, seen in ((selector, X), (whole, StandardScaler().fit_transform(X))):
        for memory in (None, str(tmp_path)):
            pipe = make_pipeline(FrozenEstimator(frozen), Remember(), memory=memory)
            pipe.fit(X, y, remember__sample_weight=np.arange(120))
            np.testing.assert_array_equal(pipe[-1].sample_weight_, np.arange(110, 120))
            np.testing.assert_array_equal(pipe[-1].y_, y[110:])
            np.testing.assert_allclose(pipe[-1].X_, seen[110:])
            np.testing.assert_allclose(pipe.without_selection()[:-1].transform(X[:7]), seen[:7])
        with pytest.raises(ValueError, match="X has 100 rows"):
            pipe.fit(X[:100], y[:100])
    with pytest.raises(ValueError, match="can't check whether X contains the rows"):
        make_pipeline(FrozenEstimator(make_pipeline(Odd()).fit(X, y)), Remember()).fit(X, y)
    odd = Odd()
    odd.fit_resample(X, y)
    with pytest.raises(ValueError, match="can't check whether X contains the rows"):
        make_pipeline(FrozenEstimator(odd), Remember()).fit(X, y)


def test_forgetting_scores_behind_another_selecting_step(data):
    X, y = data
    scores = ForgettingScores(120)
    scores.update(np.arange(120), np.ones(120), np.linspace(0, 1, 120))
    for given in (scores, scores + scores):
        pipe = make_pipeline(Odd(), ForgettingSelector(k=10), Remember())
        pipe.fit(X, y, forgettingselector__forgetting_scores=given)
        np.testing.assert_allclose(pipe[1].margins_, np.linspace(0, 1, 120)[1::2], atol=1e-6)


def test_what_the_last_step_sees_of_new_rows(pipe, data):
    X, y = data
    pipe.fit(X, y)
    X_test = X[:7] + 1
    with pytest.raises(ValueError, match=r"X has 7 rows.*pipe.without_selection\(\)\[:-1\].transform\(X\)"):
        pipe[:-1].transform(X_test)
    seen = pipe["scale"].transform(X_test)
    np.testing.assert_array_equal(pipe[:-1].without_selection().transform(X_test), seen)
    plain = pipe.without_selection()
    np.testing.assert_array_equal(plain[:-1].transform(X_test), seen)
    np.testing.assert_array_equal(plain.predict_proba(X_test), pipe.predict_proba(X_test))
    assert type(plain) is sklearn.pipeline.Pipeline
    assert plain["prune"] == "passthrough"
    assert plain["clf"] is pipe["clf"]
    # Pipelines in the Pipeline select nothing either.
    nested = make_pipeline(StandardScaler(), make_pipeline(Odd(), LogisticRegression())).fit(X, y).without_selection()
    assert type(nested[-1]) is sklearn.pipeline.Pipeline
    assert nested[-1][0] == "passthrough"


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"memory": 3}, ValueError, "The 'memory' parameter of Pipeline must be"),
        ({"verbose": "much"}, ValueError, "The 'verbose' parameter of Pipeline must be"),
        ({"transform_input": ["X_val"]}, ValueError, "can only be set if metadata routing is enabled"),
    ],
)
def test_bad_parameters_are_told_before_anything_is_fitted(data, params, error, message):
    Odd.n_fits = 0
    with pytest.raises(error, match=message):
        Pipeline([("odd", Odd()), ("clf", Remember())], **params).fit(*data)
    assert Odd.n_fits == 0


def draw_globally(scores, n_keep, rng):
    """A strategy that ignores the generator that it is given."""
    return np.random.choice(len(scores), n_keep, replace=False)


def test_a_strategy_that_draws_is_asked_once(data):
    X, y = data
    calls = []

    def counted(scores, n_keep, rng):
        calls.append(n_keep)
        return draw_globally(scores, n_keep, rng)

    numbers = np.arange(120)
    X = np.column_stack([X, numbers])
    pipe = make_pipeline(ForgettingSelector(k=60, strategy=counted), Remember())
    pipe.fit(X, y, forgettingselector__forgetting_scores=numbers, remember__sample_weight=numbers)
    assert calls == [60]
    rows = pipe[-1].sample_weight_
    np.testing.assert_array_equal(pipe[-1].X_[:, -1], rows)
    np.testing.assert_array_equal(pipe[-1].y_, y[rows])
    np.testing.assert_array_equal(pipe[0].get_support(indices=True), rows)
    assert calls == [60]


@pytest.mark.parametrize("nested", [False, True])
def test_a_frozen_selector_that_draws_keeps_the_same_rows_of_y(data, nested):
    X, y = data
    numbers = np.arange(120)
    X = np.column_stack([X, numbers])
    selector = ForgettingSelector(k=60, strategy=draw_globally).fit(X, y, forgetting_scores=numbers)
    pipe = make_pipeline(FrozenEstimator(make_pipeline(selector) if nested else selector), Remember())
    for k in (60, 30):
        selector.set_params(k=k)
        pipe.fit(X, y, remember__sample_weight=numbers)
        rows = pipe[-1].sample_weight_
        assert len(rows) == k
        np.testing.assert_array_equal(pipe[-1].X_[:, -1], rows)
        np.testing.assert_array_equal(pipe[-1].y_, y[rows])


def test_sample_indices_are_those_of_the_fit(data):
    X, y = data
    pipe = make_pipeline(StandardScaler(), ForgettingSelector(k=10, strategy="most_forgotten", random_state=0))
    X_kept, _ = pipe.fit_resample(X, y)
    rows = pipe.sample_indices_.copy()
    pipe.set_params(forgettingselector__k=5)
    np.testing.assert_array_equal(pipe.sample_indices_, rows)
    assert len(X_kept) == len(rows) == 10
    assert len(pipe.transform(X)) == 5
    np.testing.assert_array_equal(pipe[1:].sample_indices_, pipe[1].get_support(indices=True))
    assert len(pipe.fit(X, y).sample_indices_) == 5
    assert not hasattr(clone(pipe), "sample_indices_")


def test_a_frozen_selector_refuses_other_rows(data):
    X, y = data
    order = np.random.default_rng(0).permutation(120)
    selector = ForgettingSelector(k=30).fit(X, y, forgetting_scores=np.arange(120))
    whole = make_pipeline(StandardScaler(), clone(selector)).fit(
        X, y, forgettingselector__forgetting_scores=np.arange(120)
    )
    for frozen in (selector, whole):
        pipe = make_pipeline(FrozenEstimator(frozen), Remember()).fit(X, y)
        with pytest.raises(ValueError, match=r"others: \d+ of 100 rows .* differ.*skprune.Pipeline"):
            pipe.fit(X[order], y[order])
        with pytest.raises(ValueError, match="y differs from the labels"):
            pipe.fit(X, y[order])
        with pytest.raises(ValueError, match="y differs from the labels"):
            pipe.fit(X, np.array(["a", "b", "c"])[y])
        bagging = BaggingClassifier(pipe, n_estimators=2, random_state=0)
        with pytest.raises(ValueError, match="but they are others"):
            bagging.fit(X, y)


def test_new_rows_of_the_same_number_are_refused(pipe, data):
    X, y = data
    pipe.fit(X, y)
    with pytest.raises(ValueError, match=r"without_selection\(\)\[:-1\].transform\(X\)"):
        pipe[:-1].transform(X[::-1])
    assert pipe[:-1].transform(X).shape == (48, 6)


# scikit-learn warns so of folds without a class, with or without a selector.
@pytest.mark.filterwarnings("ignore:Scoring failed|Only one class is present:UserWarning")
@pytest.mark.parametrize(
    "cv", [KFold(3), KFold(3, shuffle=True, random_state=0)], ids=["a class missing", "all classes"]
)
def test_folds_without_a_class_are_those_of_the_classifier_alone(cv):
    X, y = load_iris(return_X_y=True)
    clf = LogisticRegression(max_iter=1000)
    scoring = ["accuracy", "neg_log_loss", "roc_auc_ovr"]
    plain = cross_validate(clf, X, y, cv=cv, scoring=scoring, return_estimator=True)
    for k in ("auto", 0.5):
        pruned = make_pipeline(ForgettingSelector(k=k, random_state=0), clf)
        found = cross_validate(pruned, X, y, cv=cv, scoring=scoring, return_estimator=True)
        for theirs, ours in zip(plain["estimator"], found["estimator"], strict=True):
            assert ours.classes_.tolist() == theirs.classes_.tolist()
            assert ours.predict_proba(X).shape == (150, len(theirs.classes_))
        for name in scoring:
            np.testing.assert_array_equal(np.isnan(found[f"test_{name}"]), np.isnan(plain[f"test_{name}"]))
