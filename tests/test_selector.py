import math
import multiprocessing
import pickle
import random

import datasets
import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from conftest import MLP, in_new_process, make_net
from PIL import Image
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_digits, make_classification
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.validation import has_fit_parameter
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import EarlyStopping
from skorch.helper import SliceDict

from skprune import ForgettingRecorder, ForgettingScores, ForgettingSelector, Pipeline, PruningWarning, select_rows


@pytest.fixture
def selector(net):
    return ForgettingSelector(net, k=0.3, random_state=0)


def test_the_net_may_be_left_out(data):
    X, y = data
    selector = ForgettingSelector(k=0.5, random_state=0).fit(X, y)
    # Of labels of which a fifth is redrawn the net learns most, and disagrees with some.
    assert 0.1 < (selector.margins_ < 0).mean() < 0.4
    assert selector.transform(X).shape == (60, 6)
    assert isinstance(selector.estimator_, NeuralNetClassifier)


def test_scores_are_those_of_the_recorder(scripted):
    X, y, net, events, margins = scripted
    selector = ForgettingSelector(net, random_state=0).fit(X, y)
    np.testing.assert_array_equal(selector.forgetting_scores_, events)
    np.testing.assert_allclose(selector.margins_, margins, atol=1e-6)
    learned = X[:, :6].any(1)
    np.testing.assert_array_equal(selector.never_learned_, ~learned)
    np.testing.assert_array_equal(selector.first_learned_, np.where(learned, X[:, :6].argmax(1) + 1.0, np.nan))
    assert selector.n_epochs_ == 6
    assert selector.classes_.tolist() == [0, 1, 2]
    assert selector.forgetting_scores_.dtype == np.int64


@pytest.mark.parametrize("never_learned", ["drop", "count", "max"])
def test_never_learned_in_the_scores(scripted, never_learned):
    X, y, net, events, _ = scripted
    X = X.copy()
    X[:3, :6] = 0
    never = ~X[:, :6].any(1)
    selector = ForgettingSelector(net, never_learned=never_learned, random_state=0).fit(X, y)
    expected = np.where(never, 6 if never_learned == "max" else 0, events)
    np.testing.assert_array_equal(selector.forgetting_scores_, expected)


def test_runs_are_summed(scripted, data):
    X, y, net, events, margins = scripted
    selector = ForgettingSelector(net, n_runs=3, random_state=0).fit(X, y)
    np.testing.assert_array_equal(selector.forgetting_scores_, 3 * events)
    np.testing.assert_allclose(selector.margins_, margins, atol=1e-6)
    # Runs differ by their seeds.
    one = ForgettingSelector(make_net(), random_state=0).fit(*data)
    three = clone(one).set_params(n_runs=3).fit(*data)
    assert not np.array_equal(three.forgetting_scores_, 3 * one.forgetting_scores_)


def test_selection_parameters_are_read_when_rows_are_selected(selector, data):
    X, y = data
    selector.fit(X, y)
    trained = selector.estimator_
    for k in (1, 7, 0.5, 1.0):
        for strategy in ("coverage", "most_forgotten", "least_forgotten", "random"):
            for balance in (False, True):
                selector.set_params(k=k, strategy=strategy, balance=balance)
                n_keep = k if isinstance(k, int) else int(k * 120)
                rows = selector.get_support(indices=True)
                assert len(rows) == n_keep
                np.testing.assert_array_equal(selector.transform(X), X[rows])
                np.testing.assert_array_equal(np.flatnonzero(selector.get_support()), rows)
    assert selector.estimator_ is trained


def test_all_ways_to_select_agree(selector, data):
    X, y = data
    for strategy in ("coverage", "most_forgotten", "random"):
        selector.set_params(strategy=strategy, tie_break="random")
        X_kept, y_kept = selector.fit_resample(X, y)
        rows = selector.get_support(indices=True)
        np.testing.assert_array_equal(X_kept, X[rows])
        np.testing.assert_array_equal(y_kept, y[rows])
        np.testing.assert_array_equal(selector.transform(X), X_kept)
        np.testing.assert_array_equal(selector.transform(X), X_kept)
        np.testing.assert_array_equal(selector.fit_transform(X, y), X_kept)


def test_selection_is_that_of_select_rows(selector, data):
    X, y = data
    selector.fit(X, y)
    for k, strategy in (("auto", "coverage"), (0.3, "most_forgotten"), (30, "random")):
        selector.set_params(k=k, strategy=strategy)
        expected = select_rows(selector._scores, k, y=y, strategy=strategy, random_state=selector._selection_seed)
        np.testing.assert_array_equal(selector.get_support(indices=True), expected)


@pytest.mark.parametrize("record", ["batch", "epoch"])
@pytest.mark.parametrize("estimator", [make_net(module__dropout=0.3, iterator_train__shuffle=True), None])
def test_a_seeded_fit_repeats_and_leaves_global_generators_alone(data, record, estimator):
    X, y = data

    def fit():
        how = {"strategy": "most_forgotten", "tie_break": "random", "random_state": 3}
        selector = ForgettingSelector(estimator, k=0.5, record=record, n_runs=2, **how)
        return selector.fit(X, y)

    def states():
        return [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]

    before = states()
    first = fit()
    assert states() == before
    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    second = fit()
    np.testing.assert_array_equal(first.forgetting_scores_, second.forgetting_scores_)
    np.testing.assert_array_equal(first.margins_, second.margins_)
    np.testing.assert_array_equal(first.get_support(), second.get_support())
    other = clone(first).set_params(random_state=4).fit(X, y)
    assert not np.array_equal(first.margins_, other.margins_)


def test_without_a_random_state_trainings_differ(selector, data):
    selector.set_params(random_state=None)
    first, second = (selector.fit(*data).margins_ for _ in range(2))
    assert not np.array_equal(first, second)
    # The first fits of clones use the seed of the last fit, so that a search compares candidates on the same scores.
    for copy in (clone(selector), clone(selector)):
        np.testing.assert_array_equal(copy.fit(*data).margins_, second)
        assert not np.array_equal(copy.fit(*data).margins_, second)


def test_the_estimator_is_not_changed(selector, net, data):
    before = net.get_params(deep=False)
    selector.fit(*data)
    assert not net.initialized_
    assert net.get_params(deep=False) == before
    assert not any(isinstance(callback, ForgettingRecorder) for _, callback in selector.estimator_.callbacks_)
    assert selector.estimator_.dataset is net.dataset
    assert selector.estimator_.predict(data[0].astype(np.float32)).shape == (120,)


class Double(MLP):
    def __init__(self):
        super().__init__()
        self.double()  # computes in float64


X_INT = np.random.default_rng(0).integers(0, 2, (120, 6))


@pytest.mark.parametrize(
    "X",
    [
        X_INT.astype(np.float64),
        X_INT.astype(np.float16),
        X_INT.astype(">f4"),
        X_INT,
        X_INT.astype(np.uint8),
        X_INT.astype(bool),
        X_INT.tolist(),
        np.asfortranarray(X_INT),
        pd.DataFrame(X_INT, columns=list("abcdef")),
        pd.DataFrame(X_INT.astype(float)),
        pl.DataFrame(X_INT, schema=list("abcdef")),
        sparse.csr_matrix(X_INT),
        sparse.coo_array(X_INT.astype(float)),
        sparse.dok_array(X_INT.astype(float)),
        pd.DataFrame(X_INT).astype("Float64"),
        X_INT.astype(object),
        torch.from_numpy(X_INT),
        torch.from_numpy(X_INT.astype(float)).requires_grad_(),
        {"X": X_INT.astype(float)},
    ],
    ids=lambda X: f"{type(X).__name__}-{getattr(X, 'dtype', '')}",
)
@pytest.mark.parametrize("module", [MLP, Double])
@pytest.mark.parametrize("record", ["batch", "epoch"])
def test_features_of_every_kind(X, module, record):
    y = np.random.default_rng(1).integers(0, 3, 120)
    expected = ForgettingSelector(make_net(module), record=record, random_state=0).fit(X_INT.astype(np.float64), y)
    selector = ForgettingSelector(make_net(module), record=record, random_state=0).fit(X, y)
    np.testing.assert_array_equal(selector.forgetting_scores_, expected.forgetting_scores_)
    kept = selector.transform(X)
    assert type(kept) is type(X)


def test_features_are_cast_in_the_workers_of_a_loader(data):
    X, y = data
    selector = ForgettingSelector(make_net(iterator_train__num_workers=1), random_state=0).fit(X, y)
    expected = ForgettingSelector(make_net(), random_state=0).fit(X, y)
    np.testing.assert_array_equal(selector.forgetting_scores_, expected.forgetting_scores_)


class Lookup(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.EmbeddingBag(5, 3)

    def forward(self, X):
        return self.embedding(X)


class TwoInputs(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(5, 3)
        self.linear = torch.nn.Linear(6, 3)

    def forward(self, ids, features):
        return self.embedding(ids).sum(1) + self.linear(features)


def test_integers_stay_where_they_are_looked_up():
    y = np.random.default_rng(1).integers(0, 3, 120)
    for X in (X_INT, torch.from_numpy(X_INT), pd.DataFrame(X_INT)):
        ForgettingSelector(make_net(Lookup)).fit(X, y)
    X = {"ids": X_INT, "features": X_INT.astype(float)}
    kept = ForgettingSelector(make_net(TwoInputs), k=0.1).fit(X, y).transform(X)
    assert kept["ids"].shape == kept["features"].shape == (12, 6)


def encode(samples):
    texts, y = zip(*samples, strict=True)
    return torch.tensor([[float(text.count(letter)) for letter in "abcdef"] for text in texts]), torch.tensor(y)


def test_texts_through_a_collate_fn():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcdef"), 8)) for _ in range(120)]
    y = [text.count("a") > 1 for text in texts]
    net = make_net(iterator_train__collate_fn=encode, iterator_valid__collate_fn=encode, lr=0.1)
    for record in ("batch", "epoch"):
        selector = ForgettingSelector(net, k=5, balance=True, record=record, random_state=0).fit(texts, y)
        kept = selector.transform(texts)
        assert kept == [texts[row] for row in selector.get_support(indices=True)]
    for series in (pd.Series(texts, index=range(7, 127)), pl.Series(texts)):
        assert (
            list(ForgettingSelector(net, k=5, balance=True, record="epoch", random_state=0).fit_transform(series, y))
            == kept
        )
    # Fit on texts, transform something else, and the other way round.
    assert selector.transform(np.eye(120)).shape == (5, 120)
    selector = ForgettingSelector(k=5, balance=True).fit(X_INT, y)
    assert len(selector.transform(texts)) == 5


@pytest.mark.parametrize("shape", [(120, 6, 1), (120, 1, 2, 3)])
def test_images(shape):
    class Flat(MLP):
        def forward(self, X):
            return super().forward(X.flatten(1))

    selector = ForgettingSelector(make_net(Flat), k=0.5).fit(X_INT.reshape(shape), np.arange(120) % 3)
    assert selector.transform(X_INT.reshape(shape)).shape == (60, *shape[1:])
    assert not hasattr(selector, "n_features_in_")


@pytest.mark.parametrize(
    "labels",
    [
        np.array([0, 1, 2], dtype=np.int32),
        np.array(["a", "b", "c"]),
        np.array(["a", "b", "c"], dtype=object),
        np.array([1, 2, 5]),
        np.array([-1.0, 0.0, 1.0]),
        np.array([3, 7, 250], dtype=np.uint8),
        np.array([3, 7, 250], dtype=object),
    ],
)
def test_labels_of_every_kind(data, labels):
    X, y = data
    expected = ForgettingSelector(make_net(), random_state=0).fit(X, y)
    for y_named in (
        labels[y],
        labels[y].tolist(),
        pd.Series(labels[y], index=range(5, 125)),
        torch_or_array(labels[y]),
    ):
        selector = ForgettingSelector(make_net(), random_state=0)
        _, y_kept = selector.fit_resample(X, y_named)
        np.testing.assert_array_equal(selector.classes_, labels)
        np.testing.assert_array_equal(selector.margins_, expected.margins_)
        assert type(y_kept) is type(y_named)
        assert set(np.asarray(y_kept).tolist()) <= set(labels.tolist())


def torch_or_array(y):
    return torch.from_numpy(y) if y.dtype.kind in "iuf" else y


def test_two_classes_of_bool(data):
    X, y = data
    selector = ForgettingSelector(make_net(module__n_classes=2), random_state=0).fit(X, y == 0)
    assert selector.classes_.tolist() == [False, True]


def test_given_scores(data):
    X, y = data
    events = np.arange(120) % 7
    selector = ForgettingSelector(k=17, strategy="most_forgotten", random_state=0).fit(X, y, forgetting_scores=events)
    np.testing.assert_array_equal(selector.forgetting_scores_, events)
    assert (events[selector.get_support()] == 6).all()
    assert not hasattr(selector, "estimator_")
    assert not hasattr(selector, "n_epochs_")
    trained = ForgettingSelector(make_net(), k=40, random_state=0).fit(X, y)
    given = ForgettingSelector(k=40, random_state=0).fit(X, y, forgetting_scores=trained._scores)
    np.testing.assert_array_equal(given.get_support(), trained.get_support())
    X_kept, _ = given.fit_resample(X, y, forgetting_scores=trained._scores)
    np.testing.assert_array_equal(X_kept, trained.transform(X))
    # A fit with given scores leaves nothing of a training before.
    trained.fit(X, y, forgetting_scores=events)
    assert not hasattr(trained, "estimator_")


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint64, np.float32, bool])
def test_given_scores_of_every_dtype(data, dtype):
    events = (np.arange(120) % 2).astype(dtype)
    selector = ForgettingSelector(k=60, strategy="most_forgotten", random_state=0)
    selector.fit(*data, forgetting_scores=events)
    assert events[selector.get_support()].all()
    # What happens to them later is of no concern.
    events[:] = 0
    assert selector.forgetting_scores_.sum() == 60


def test_given_scores_of_another_length(data):
    with pytest.raises(ValueError, match="100 entries for 120 rows"):
        ForgettingSelector().fit(*data, forgetting_scores=np.zeros(100))
    with pytest.raises(ValueError, match="100 entries for 120 rows"):
        ForgettingSelector().fit(*data, forgetting_scores=ForgettingScores(100))


@pytest.mark.parametrize("k", [True, 0, -3, 0.0, 1.1, np.nan])
def test_a_bad_k_is_told_before_training(net, data, k):
    selector = ForgettingSelector(net.set_params(lr=np.nan), k=k)
    with pytest.raises(ValueError, match=r"k must be 'auto'.* a float in \(0, 1\]"):
        selector.fit(*data)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"strategy": "hardest"}, "strategy must be one of"),
        ({"record": "step"}, "record must be one of 'batch', 'epoch'; got 'step'"),
        ({"n_runs": 0}, "n_runs must be an int >= 1; got 0"),
        ({"n_runs": True}, "n_runs must be an int >= 1; got True"),
        ({"n_runs": 2.0}, "n_runs must be an int >= 1; got 2.0"),
    ],
)
def test_bad_parameters(net, data, params, message):
    with pytest.raises(ValueError, match=message):
        ForgettingSelector(net, **params).fit(*data)


@pytest.mark.parametrize("estimator", [LogisticRegression(), "net", NeuralNetRegressor(MLP), NeuralNetClassifier])
def test_other_estimators(data, estimator):
    with pytest.raises(TypeError, match="must be a skorch NeuralNetClassifier"):
        ForgettingSelector(estimator).fit(*data)


class WithSigmoid(MLP):
    def forward(self, X):
        return torch.sigmoid(super().forward(X))


@pytest.mark.parametrize("record", ["batch", "epoch"])
@pytest.mark.parametrize("callbacks", [None, [EarlyStopping(patience=9)]])
@pytest.mark.parametrize("criterion", [torch.nn.BCEWithLogitsLoss, torch.nn.BCELoss])
def test_a_net_with_one_output(data, record, callbacks, criterion):
    """One epoch without training, so that the net that is left has made the predictions."""
    X, y = data[0][data[1] < 2], np.array(["no", "yes"])[data[1][data[1] < 2]]
    module = WithSigmoid if criterion is torch.nn.BCELoss else MLP
    params = {"criterion": criterion, "lr": 0.0, "max_epochs": 1, "callbacks": callbacks, "verbose": 0}
    net = NeuralNetBinaryClassifier(module, module__n_classes=1, **params)
    selector = ForgettingSelector(net, k=0.5, record=record, random_state=0).fit(X, y)
    of_yes = selector.estimator_.predict_proba(X.astype(np.float32))[:, 1]
    margins = np.where(y == "yes", 2 * of_yes - 1, 1 - 2 * of_yes)
    np.testing.assert_allclose(selector.margins_, margins, atol=1e-6)
    np.testing.assert_array_equal(selector.never_learned_, margins <= 0)
    assert selector.set_params(k=7).transform(X).shape == (7, 6)


def test_a_net_with_one_output_for_three_classes(data):
    with pytest.raises(ValueError, match=r"is for two classes, but y has 3.*NeuralNetClassifier with 3 outputs"):
        ForgettingSelector(NeuralNetBinaryClassifier(MLP)).fit(*data)


@pytest.mark.parametrize("criterion", [torch.nn.BCELoss, torch.nn.BCEWithLogitsLoss()])
def test_a_criterion_for_one_output(data, criterion):
    with pytest.raises(ValueError, match="Use 3 outputs and CrossEntropyLoss, or, for two classes, NeuralNetBinary"):
        ForgettingSelector(make_net(criterion=criterion)).fit(*data)


def test_k_of_more_rows_than_there_are(selector, data):
    with pytest.warns(PruningWarning, match="k=500 is greater than n_samples=120"):
        selector.set_params(k=500).fit(*data)
    assert len(selector.transform(data[0])) == 120


@pytest.mark.parametrize("estimator", [make_net(), None])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X, None), "requires y to be passed, but the target y is None"),
        (lambda X, y: (X, y + 0.5), "Unknown label type: continuous"),
        (lambda X, y: (X, np.zeros(120, dtype=int)), "one class"),
        (lambda X, y: (X, y[:-1]), r"inconsistent numbers of samples: \[120, 119\]"),
        (lambda X, y: (X, np.eye(3)[y]), "one label per row, got 3 columns"),
    ],
)
def test_bad_labels(data, estimator, change, message):
    with pytest.raises(ValueError, match=message):
        ForgettingSelector(estimator).fit(*change(*data))


def test_a_column_of_labels(selector, data):
    with pytest.warns(DataConversionWarning, match="column-vector"):
        selector.fit(data[0], data[1][:, None])


def test_the_built_in_net_wants_finite_features(data):
    X = data[0].copy()
    X[3, 2] = np.inf
    with pytest.raises(ValueError, match="Input X contains"):
        ForgettingSelector().fit(X, data[1])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((20, 8, 8)), r"rows of shape \(8, 8\).*net that takes such rows.*X.reshape\(len\(X\), -1\)"),
        (torch.zeros(20, 1, 8, 8), r"rows of shape \(1, 8, 8\)"),
        ([np.zeros((8, 8))] * 20, r"rows of shape \(8, 8\)"),
        (["a text"] * 20, "rows of type str.*net that takes such rows.*vectorizer"),
        (np.array(["a text"] * 20, dtype=object), "rows of type str"),
        (pd.Series(["a text"] * 20), "rows of type str"),
        ([{"words": 3}] * 20, "rows of type dict"),
        ([["a", "text"]] * 20, "values of type str"),
    ],
    ids=["images", "tensor", "list of images", "list of texts", "array of texts", "series", "dicts", "words"],
)
def test_the_built_in_net_takes_no_images_or_texts(X, message):
    with pytest.raises(ValueError, match=message):
        ForgettingSelector().fit(X, np.arange(20) % 2)


def test_before_fit(selector, data):
    for call in (lambda: selector.transform(data[0]), selector.get_support):
        with pytest.raises(NotFittedError):
            call()
    assert not hasattr(selector, "forgetting_scores_")
    assert not hasattr(selector, "margins_")


def test_transform_of_other_rows(selector, data):
    X, y = data
    selector.fit(X, y)
    with pytest.raises(
        ValueError, match=r"X has 119 rows, but ForgettingSelector was fitted with 120.*skprune\.Pipeline"
    ):
        selector.transform(X[:-1])
    np.testing.assert_array_equal(selector.transform(X[:, :5]), X[selector.get_support(), :5])


def test_names_of_features(selector, data):
    frame = pd.DataFrame(data[0], columns=list("abcdef"), index=np.arange(1000, 1120))
    selector.fit(frame, data[1])
    assert selector.feature_names_in_.tolist() == list("abcdef")
    assert selector.n_features_in_ == 6
    assert selector.get_feature_names_out().tolist() == list("abcdef")
    kept = selector.transform(frame)
    np.testing.assert_array_equal(kept.index, 1000 + selector.get_support(indices=True))
    with pytest.raises(ValueError, match="feature names should match"):
        selector.transform(frame.rename(columns={"a": "z"}))
    # Another fit, to something without features, takes back what the first said of them.
    images = data[0].reshape(120, 6, 1)
    selector.set_params(estimator__module=Flattened).fit(images, data[1])
    assert not hasattr(selector, "n_features_in_")
    assert not hasattr(selector, "feature_names_in_")


class Flattened(MLP):
    def forward(self, X):
        return super().forward(X.flatten(1))


def test_set_output(selector, data):
    X, y = data
    frame = pd.DataFrame(X, columns=list("abcdef"), index=np.arange(1000, 1120))
    selector.set_output(transform="pandas")
    kept = selector.fit(frame, y).transform(frame)
    rows = selector.get_support(indices=True)
    pd.testing.assert_frame_equal(kept, frame.iloc[rows])
    kept = selector.fit(X, y).transform(X)
    assert kept.columns.tolist() == [f"x{i}" for i in range(6)]
    np.testing.assert_array_equal(kept, X[rows])
    with config_context(transform_output="polars"):
        polars = pl.DataFrame(X, schema=list("abcdef"))
        kept = clone(selector).set_output(transform="polars").fit(polars, y).transform(polars)
        assert kept.equals(polars[rows])
        kept = ForgettingSelector(make_net(), k=0.3, random_state=0).fit_transform(X, y)
        assert isinstance(kept, pl.DataFrame)
        assert kept.columns == [f"x{i}" for i in range(6)]
        np.testing.assert_array_equal(kept.to_numpy(), X[rows])


@pytest.mark.parametrize("transform_output", ["pandas", "polars"])
def test_set_output_leaves_pictures_and_texts_alone(data, transform_output):
    X, y = data
    with config_context(transform_output=transform_output):
        selector = ForgettingSelector(make_net(Flattened), k=30)
        assert selector.fit_transform(X.reshape(120, 6, 1), y).shape == (30, 6, 1)
        kept = ForgettingSelector(make_net(), k=30).fit_transform({"X": X}, y)
        assert kept["X"].shape == (30, 6)


def test_clone_pickle_and_joblib(selector, data, tmp_path):
    X, y = data
    selector.fit(X, y)
    joblib.dump(selector, tmp_path / "selector.joblib")
    for copy in (pickle.loads(pickle.dumps(selector)), joblib.load(tmp_path / "selector.joblib")):
        np.testing.assert_array_equal(copy.transform(X), selector.transform(X))
        np.testing.assert_array_equal(copy.margins_, selector.margins_)
        copy.estimator_.predict(X.astype(np.float32))
    copy = clone(selector)
    assert copy.get_params().keys() == selector.get_params().keys()
    with pytest.raises(NotFittedError):
        copy.transform(X)


def use_elsewhere(method, estimator, X, y):
    """Use and fit a selector in a process that is started by a method."""
    selector = ForgettingSelector(estimator, k=0.3, tie_break="random", random_state=0).fit(X, y)
    with multiprocessing.get_context(method).Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(selector.get_support), selector.get_support())
        np.testing.assert_array_equal(pool.apply(selector.transform, [X]), selector.transform(X))
        np.testing.assert_array_equal(pool.apply(getattr, [selector, "margins_"]), selector.margins_)
        elsewhere = pool.apply(clone(selector).fit, [X, y])
    np.testing.assert_array_equal(elsewhere.margins_, selector.margins_)
    elsewhere.estimator_.predict(X.astype(np.float32))


@pytest.mark.parametrize("estimator", [make_net(), None], ids=["own", "built-in"])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_another_process(data, method, estimator):
    in_new_process(use_elsewhere, method, estimator, *data)


def test_parameters_of_the_net(selector, data):
    selector.set_params(estimator__lr=0.05, estimator__module__dropout=0.1, estimator__max_epochs=2)
    selector.fit(*data)
    assert selector.n_epochs_ == 2
    assert selector.estimator_.lr == 0.05


def test_net_that_is_already_fitted(net, data):
    X, y = data
    fresh = ForgettingSelector(make_net(), random_state=0).fit(X, y)
    net.set_params(warm_start=True).fit(X.astype(np.float32), y)
    weights = {name: tensor.clone() for name, tensor in net.module_.state_dict().items()}
    selector = ForgettingSelector(net, random_state=0).fit(X, y)
    np.testing.assert_array_equal(selector.margins_, fresh.margins_)
    assert all(torch.equal(weights[name], tensor) for name, tensor in net.module_.state_dict().items())


def test_the_net_prints_what_it_prints_without_the_selector(net, data, capsys):
    ForgettingSelector(net.set_params(verbose=1), random_state=0).fit(*data)
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 6  # two lines of names and one an epoch
    assert "train_loss" in table[0]


def test_silence_and_a_line_of_summary(net, data, capsys):
    ForgettingSelector(net, random_state=0).fit(*data)
    assert capsys.readouterr().out == ""
    selector = ForgettingSelector(net, random_state=0, verbose=1).fit(*data)
    line = capsys.readouterr().out
    assert line.startswith("[ForgettingSelector] 120 rows, 1 run, 4 epochs in all, ")
    assert f"{(selector.forgetting_scores_ > 0).mean():.1%} ever forgotten" in line
    assert f"{selector.suspects_.mean():.1%} suspects" in line
    assert line.count("\n") == 1


def test_the_summary_has_the_accuracy_of_the_last_epoch(scripted, capsys):
    X, y, net, _, _ = scripted
    ForgettingSelector(net, n_runs=2, random_state=0, verbose=1).fit(X, y)
    assert f"training accuracy {X[:, 5].mean():.1%}, " in capsys.readouterr().out


def test_bars_of_runs_and_epochs(net, data, capfd):
    ForgettingSelector(net, n_runs=2, random_state=0, verbose=1).fit(*data)
    assert capfd.readouterr().err == ""
    ForgettingSelector(net, random_state=0, verbose=2).fit(*data)
    bars = capfd.readouterr().err
    assert "0/4" in bars
    assert "run" not in bars
    ForgettingSelector(net, n_runs=2, random_state=0, verbose=2).fit(*data)
    bars = capfd.readouterr().err
    assert "0/4" in bars
    assert "2/2" in bars
    # Side by side, only whole runs are shown.
    ForgettingSelector(net, n_runs=2, n_jobs=2, random_state=0, verbose=2).fit(*data)
    bars = capfd.readouterr().err
    assert "epoch" not in bars
    assert "2/2" in bars


def test_no_bar_if_nothing_is_trained(net, data, capfd, tmp_path):
    selector = ForgettingSelector(net, n_runs=2, random_state=0, verbose=2, memory=tmp_path).fit(*data)
    assert "2/2" in capfd.readouterr().err
    selector.fit(*data)
    assert capfd.readouterr().err == ""


WEIGHTS_REFUSED = r"fit got sample_weight, but it judges rows by their labels.*clf__sample_weight=weights"


def test_weights_are_refused(data):
    X, y = data
    weights = np.ones(len(y))
    selector = ForgettingSelector(k=0.5)
    pipe = Pipeline([("prune", selector), ("clf", LogisticRegression())])
    for refuse in (
        lambda: selector.fit(X, y, sample_weight=weights),
        lambda: selector.fit_transform(X, y, sample_weight=weights),
        lambda: selector.fit_resample(X, y, sample_weight=weights),
        lambda: pipe.fit(X, y, prune__sample_weight=weights),
    ):
        with pytest.raises(TypeError, match=WEIGHTS_REFUSED):
            refuse()
    with pytest.raises(TypeError, match=r"ForgettingSelector\.fit\(\) got an unexpected keyword argument 'weights'"):
        selector.fit(X, y, weights=weights)
    assert not has_fit_parameter(selector, "sample_weight")
    with config_context(enable_metadata_routing=True):
        with pytest.raises(TypeError, match=r"Unexpected args: \{'sample_weight'\}"):
            selector.set_fit_request(sample_weight=True)
        clf = LogisticRegression().set_fit_request(sample_weight=True)
        pipe = Pipeline([("prune", selector), ("clf", clf)]).fit(X, y, sample_weight=weights)
        assert pipe["prune"].get_support().sum() == 60


def test_the_built_in_net_does_not_learn_wrong_labels_by_heart():
    X, y_true = make_classification(
        2000, 100, n_informative=30, n_redundant=0, n_clusters_per_class=1, class_sep=1.5, flip_y=0, random_state=0
    )
    is_wrong = np.random.default_rng(0).random(2000) < 0.2
    suspect = ForgettingSelector(random_state=0).fit(X, np.where(is_wrong, 1 - y_true, y_true)).margins_ < 0
    assert suspect[is_wrong].mean() > 0.5
    assert suspect[~is_wrong].mean() < 0.05


TEXTS = ["good film", "bad film"] * 4
PAIRS = [0, 1, 2, 3] * 2
# With different numbers of columns, so that no names are compared.
OTHER_FORMS = [
    *(pd.DataFrame({"body": TEXTS, "id": range(8)}), pl.DataFrame({"body": TEXTS})),
    np.array(TEXTS)[:, None].repeat(3, 1),
]


@pytest.mark.parametrize(
    "other", [*OTHER_FORMS, pd.DataFrame({"length": range(8), "words": 2}), np.ones((8, 3))], ids=type
)
@pytest.mark.parametrize(
    "fitted", [TEXTS, *OTHER_FORMS, pd.DataFrame(dict.fromkeys("abcd", TEXTS), dtype="string")], ids=type
)
def test_fit_on_texts_and_transform_other_columns(fitted, other):
    selector = ForgettingSelector(k=2, strategy="most_forgotten", min_per_class=0).fit(
        fitted, PAIRS, forgetting_scores=[0, 1, 0, 0, 0, 0, 9, 0]
    )
    rows = selector.get_support(indices=True)
    np.testing.assert_array_equal(np.asarray(selector.transform(other)), np.asarray(other)[rows])


@pytest.mark.parametrize("other", OTHER_FORMS, ids=type)
@pytest.mark.parametrize(
    "fitted", [np.ones((8, 5)), sparse.eye_array(8, format="csr"), torch.ones((8, 5)), np.ones((8, 5)).tolist()]
)
def test_fit_on_embeddings_and_transform_the_texts(fitted, other):
    selector = ForgettingSelector(k=2, strategy="most_forgotten", min_per_class=0, random_state=0)
    selector.fit(fitted, PAIRS, forgetting_scores=np.arange(8))
    np.testing.assert_array_equal(np.asarray(selector.transform(other)), np.asarray(other)[6:])
    # Numbers in other columns are another representation as well.
    for numbers in (np.ones((8, 4)), pd.DataFrame(np.ones((8, 4))), torch.ones((8, 4))):
        assert selector.transform(numbers).shape == (2, 4)


def test_tensors_under_array_api_dispatch(data, monkeypatch):
    X, y = (torch.tensor(part) for part in data)
    X[3, 1] = torch.nan
    expected = ForgettingSelector(k=30, random_state=0).fit(X, y)
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    with config_context(array_api_dispatch=True):
        selector = ForgettingSelector(k=30, random_state=0)
        X_kept, y_kept = selector.fit_resample(X, y)
    np.testing.assert_array_equal(selector.margins_, expected.margins_)
    rows = torch.from_numpy(selector.get_support(indices=True))
    assert torch.equal(y_kept, y[rows])
    torch.testing.assert_close(X_kept, X[rows], rtol=0, atol=0, equal_nan=True)


class Labelled(torch.utils.data.Dataset):
    def __init__(self, X, make):
        self.X = torch.as_tensor(X)
        self.make = make

    def __len__(self):
        return len(self.X)

    def __getitem__(self, row):
        return self.make(self.X[row])


SAMPLES = {
    "features": lambda x: x,
    "a pair with another label": lambda x: (x, 0),
    "a dict": lambda x: {"X": x},
}


@pytest.mark.parametrize("record", ["batch", "epoch"])
@pytest.mark.parametrize("make", SAMPLES.values(), ids=SAMPLES)
def test_a_torch_dataset_takes_the_labels_of_y(scripted, make, record):
    X, y, net, events, margins = scripted
    selector = ForgettingSelector(net, record=record, k=0.3)
    kept, y_kept = selector.fit_resample(Labelled(X, make), y)
    np.testing.assert_array_equal(selector._scores.events, events)
    np.testing.assert_allclose(selector.margins_, margins, atol=1e-6)
    rows = selector.get_support(indices=True)
    assert type(kept) is torch.utils.data.Subset
    assert list(kept.indices) == rows.tolist()
    np.testing.assert_array_equal(y_kept, y[rows])


def test_a_torch_dataset_that_cannot_be_used(scripted):
    X, y, net, _, _ = scripted
    with pytest.raises(ValueError, match=r"sample of the Labelled .* has 3 parts"):
        ForgettingSelector(net).fit(Labelled(X, lambda x: (x, x, 0)), y)
    with pytest.raises(TypeError, match=r"built-in scoring net takes a matrix.*got a Labelled"):
        ForgettingSelector().fit(Labelled(X, lambda x: x), y)


def test_a_list_of_tensors_is_cast_as_an_array_of_them(data):
    X = (10 * data[0]).astype(np.uint8)
    expected = ForgettingSelector(make_net(lr=0.01), random_state=0).fit(X, data[1])
    selector = clone(expected).set_params(k=60).fit([torch.from_numpy(row) for row in X], data[1])
    np.testing.assert_array_equal(selector.margins_, expected.margins_)
    assert [row.dtype for row in selector.transform([torch.from_numpy(row) for row in X])] == 60 * [torch.uint8]


def test_slice_dict(data):
    X, y = SliceDict(X=data[0].astype(np.float32)), data[1]
    expected = ForgettingSelector(make_net(), k=0.5, strategy="most_forgotten", random_state=0).fit(X["X"], y)
    selector = clone(expected)
    kept, _ = selector.fit_resample(X, y)
    np.testing.assert_array_equal(selector.margins_, expected.margins_)
    assert type(kept) is SliceDict
    np.testing.assert_array_equal(kept["X"], expected.transform(X["X"]))
    pipe = Pipeline([("prune", selector), ("net", make_net(train_split=None))])
    search = GridSearchCV(pipe, {"prune__k": [0.2, 0.5]}, cv=2, error_score="raise").fit(X, y)
    assert len(search.predict(X)) == 120


def redrawn(y, share, n_classes):
    """Return labels of which a share is changed to another class, and which these are."""
    rng = np.random.default_rng(0)
    is_wrong = rng.random(len(y)) < share
    return np.where(is_wrong, (y + rng.integers(1, n_classes, len(y))) % n_classes, y), is_wrong


def test_suspects_of_digits_are_the_redrawn_labels():
    X, y = load_digits(return_X_y=True)
    y_noisy, is_wrong = redrawn(y, 0.2, 10)
    suspects = ForgettingSelector(random_state=0).fit(X, y_noisy).suspects_
    assert is_wrong[suspects].mean() > 0.9
    assert suspects[is_wrong].mean() > 0.9


def test_suspects_of_few_rows_with_many_columns():
    X, y = make_classification(
        500, 300, n_informative=20, n_redundant=0, n_clusters_per_class=1, class_sep=3, flip_y=0, random_state=0
    )
    y_noisy, is_wrong = redrawn(y, 0.15, 2)
    selector = ForgettingSelector(random_state=0).fit(X, y_noisy)
    # The net learns the labels by heart.
    assert not (selector.margins_ < 0)[is_wrong].any()
    assert selector.suspects_[is_wrong].mean() > 0.35
    assert is_wrong[selector.suspects_].mean() > 0.9


def test_sparse_rows_of_many_columns_make_a_small_selector():
    X = sparse.random_array((300, 5000), density=0.01, random_state=0, format="csr")
    y = (X[:, :2500].sum(1) > X[:, 2500:].sum(1)).astype(int)
    first, second = (ForgettingSelector(k=0.5, random_state=0).fit(X, y) for _ in range(2))
    assert len(pickle.dumps(first)) < 3e6
    assert len(first.held_out_curve_.scores) > 10  # models have predicted the rows
    np.testing.assert_array_equal(first.get_support(), second.get_support())
    assert first.transform(X).shape == (150, 5000)


# What k="auto" keeps.


@pytest.fixture(scope="module")
def noisy_digits():
    """A selector of digits of which a fifth has another label, their features and labels, and which labels are wrong."""
    X, y = load_digits(return_X_y=True)
    y_noisy, is_wrong = redrawn(y, 0.2, 10)
    return ForgettingSelector(random_state=0).fit(X, y_noisy), X, y_noisy, y, is_wrong


def test_all_rows_but_the_suspects_are_kept(noisy_digits):
    selector, _, _, y, is_wrong = noisy_digits
    np.testing.assert_array_equal(selector.get_support(), ~selector.suspects_)
    assert is_wrong[selector.suspects_].mean() > 0.9
    assert selector.suspects_[is_wrong].mean() > 0.95
    assert abs(selector.label_noise_ - is_wrong.mean()) < 0.03
    assert selector.suspects_.sum() == round(selector.label_noise_ * len(y))
    assert (selector.likely_labels_ == y).mean() > 0.95
    curve = selector.held_out_curve_
    assert curve.shares[0] == 0
    assert curve.scores.shape == curve.errors.shape == curve.shares.shape
    # Whatever the strategy.
    selector = pickle.loads(pickle.dumps(selector)).set_params(strategy="random")
    np.testing.assert_array_equal(selector.get_support(), ~selector.suspects_)
    # A part of the rows has none of the suspects.
    assert not selector.suspects_[selector.set_params(k=0.5, strategy="coverage").get_support()].any()


def test_all_rows_of_clean_data_are_kept():
    X, y = load_digits(return_X_y=True)
    selector = ForgettingSelector(random_state=0).fit(X, y)
    assert selector.get_support().all()
    assert selector.label_noise_ == 0
    assert not selector.suspects_.any()
    np.testing.assert_array_equal(selector.transform(X), X)


@pytest.mark.parametrize("n_least", [0, 3, 5])
def test_every_class_keeps_rows(n_least):
    rows = np.arange(120)
    scores = ForgettingScores(120).with_held_out(np.linspace(-1, 1, 120), rows < 12, 1.0)
    kept = select_rows(scores, "auto", y=np.where(rows < 8, 2, rows % 2), min_per_class=n_least)
    assert kept.tolist() == [*range(8 - n_least, 8), *range(12, 120)]


def test_labels_that_say_nothing_of_the_rows():
    X = load_digits().data[:600]
    y = np.random.default_rng(0).integers(0, 3, 600)
    with pytest.warns(PruningWarning, match="All rows are kept, because the labels can't be predicted from X"):
        selector = ForgettingSelector(random_state=0).fit(X, y)
    assert np.isnan(selector.label_noise_)
    assert selector.get_support().all()
    assert not selector.suspects_.any()


def test_too_few_rows_to_know_anything(data):
    X, y = data[0][:30], data[1][:30]
    selector = ForgettingSelector(random_state=0)
    with pytest.warns(
        PruningWarning, match=r"All rows are kept, because 30 rows are too few.*Give the number or share"
    ):
        selector.fit(X, y)
    assert np.isnan(selector.label_noise_)
    assert selector.transform(X).shape == (30, 6)
    assert len(selector.held_out_curve_.scores) == len(selector.label_issues(X, y)) == 0
    np.testing.assert_array_equal(selector.likely_labels_, y)
    assert selector.set_params(k=0.5).transform(X).shape == (15, 6)  # without the warning


def test_given_scores_and_features_that_tell_wrong_labels(noisy_digits):
    _, X, y_noisy, _, is_wrong = noisy_digits
    given = ForgettingSelector(random_state=0).fit(X, y_noisy, forgetting_scores=np.zeros(len(X)))
    assert is_wrong[given.suspects_].mean() > 0.9
    assert given.suspects_[is_wrong].mean() > 0.8
    assert np.isnan(given.margins_).all()


def test_results_do_not_change_if_rows_are_read_only(noisy_digits):
    selector, X, y_noisy, *_ = noisy_digits
    X, y_noisy = X.copy(), y_noisy.copy()
    X.flags.writeable = y_noisy.flags.writeable = False
    same = clone(selector).fit(X, y_noisy)
    np.testing.assert_array_equal(same.get_support(), selector.get_support())
    np.testing.assert_array_equal(same.likely_labels_, selector.likely_labels_)


class Words(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(6, 2)

    def forward(self, X):
        return self.linear(X)


def test_suspects_of_texts_by_the_net_alone():
    rng = np.random.default_rng(0)
    y_true = np.arange(200) % 2
    texts = ["".join(rng.choice(list("abcdef" if label else "abc"), 12)) for label in y_true]
    y, is_wrong = redrawn(y_true, 0.1, 2)
    net = make_net(Words, iterator_train__collate_fn=encode, iterator_valid__collate_fn=encode, lr=0.1, max_epochs=20)
    selector = ForgettingSelector(net, random_state=0).fit(texts, y)
    means = np.array([selector.margins_[y == label].mean() for label in (0, 1)])
    np.testing.assert_array_equal(selector.suspects_, selector.margins_ < -means[y])
    assert selector.suspects_[is_wrong].mean() > 0.7
    assert selector.label_noise_ == selector.suspects_.mean()
    assert selector.transform(texts) == [text for text, drop in zip(texts, selector.suspects_, strict=True) if not drop]
    assert len(selector.held_out_curve_.shares) == 0
    issues = selector.label_issues(texts)
    assert issues["x"].tolist() == [texts[row] for row in issues["row"]]


# The table of suspects.


def test_a_table_of_suspects(noisy_digits):
    selector, X, y_noisy, *_ = noisy_digits
    issues = selector.label_issues()
    assert issues.columns.tolist() == ["row", "label", "likely_label", "trust"]
    assert sorted(issues["row"]) == np.flatnonzero(selector.suspects_).tolist()
    assert issues["trust"].is_monotonic_increasing
    np.testing.assert_array_equal(issues["label"], y_noisy[issues["row"]])
    np.testing.assert_array_equal(issues["likely_label"], selector.likely_labels_[issues["row"]])
    # With columns of X.
    with_pixels = selector.label_issues(X)
    pd.testing.assert_frame_equal(with_pixels.iloc[:, :4], issues)
    np.testing.assert_array_equal(with_pixels.iloc[:, 4:], X[issues["row"]])
    frame = pd.DataFrame({"name": [f"digit {row}" for row in range(len(X))]}, index=range(1000, 1000 + len(X)))
    with_names = selector.label_issues(frame)
    assert with_names.index.tolist() == [1000 + row for row in issues["row"]]
    assert with_names["name"].tolist() == [f"digit {row}" for row in issues["row"]]


def pictures(X):
    return [Image.fromarray(row.reshape(8, 8).astype(np.uint8)) for row in X]


COLUMNS = {
    "dict": (
        lambda X: {"picture": X.reshape(-1, 8, 8), "file": list(map(str, range(len(X)))), "pair": X[:, :2]},
        "file",
    ),
    "SliceDict": (lambda X: SliceDict(picture=X, file=np.arange(len(X)).astype(str)), "file"),
    "tensor": (lambda X: torch.arange(len(X)), "x"),
    "pictures": (lambda X: X.reshape(-1, 8, 8), "x"),
    "bfloat16": (lambda X: torch.from_numpy(X[:, :1]).bfloat16(), "x0"),
    "lists that differ in length": (lambda X: [[row] * (1 + row % 2) for row in range(len(X))], "x"),
    "datasets": (lambda X: datasets.Dataset.from_dict({"picture": pictures(X)}), "picture"),
}


@pytest.mark.parametrize("container", COLUMNS)
def test_columns_of_other_containers_in_the_table(noisy_digits, container):
    selector, X, *_ = noisy_digits
    make, column = COLUMNS[container]
    others = make(X)
    issues = selector.label_issues(others)
    assert issues.columns.tolist() == ["row", "label", "likely_label", "trust", column]
    source = others[column] if column in ("file", "picture") else others
    for row, entry in zip(issues["row"][:3], issues[column][:3], strict=True):
        assert np.ravel(entry).tolist() == np.ravel(source[row] if column != "x0" else source[row].float()).tolist()


def test_a_torch_dataset_has_no_columns(noisy_digits):
    selector, X, *_ = noisy_digits
    with pytest.raises(TypeError, match=r"columns of a TensorDataset.*list of file names"):
        selector.label_issues(torch.utils.data.TensorDataset(torch.from_numpy(X)))


def test_names_of_classes_in_the_table(noisy_digits):
    selector, _, y_noisy, *_ = noisy_digits
    names = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
    issues = selector.label_issues(y=names[y_noisy].tolist())
    assert issues["label"].tolist() == names[y_noisy[issues["row"]]].tolist()
    assert issues["likely_label"].tolist() == names[selector.likely_labels_[issues["row"]]].tolist()


def test_a_table_of_other_rows_is_refused(noisy_digits):
    selector, X, y_noisy, y, _ = noisy_digits
    for X_other, y_other in ((X[:-1], None), (X[::-1], None), (None, y_noisy[:-1]), (None, y_noisy[::-1]), (None, y)):
        with pytest.raises(ValueError, match="ForgettingSelector was fitted with"):
            selector.label_issues(X_other, y_other)
    with pytest.raises(NotFittedError):
        clone(selector).label_issues()


def test_likely_labels_are_of_the_type_of_the_labels():
    X, y = load_digits(n_class=3, return_X_y=True)
    y, _ = redrawn(y, 0.1, 3)
    names = np.array(["ash", "beech", "cedar"])
    for labels in (names, names.astype(object), np.array([False, True])):
        y_named = labels[np.minimum(y, len(labels) - 1)]
        selector = ForgettingSelector(random_state=0).fit(X, y_named)
        assert selector.likely_labels_.dtype == y_named.dtype
        assert set(selector.likely_labels_) <= set(labels)
        suspects = selector.suspects_
        assert suspects.any()
        assert (selector.likely_labels_ != y_named)[suspects].mean() > 0.9


# A classifier that tests on held-out rows.


class CountingClassifier(GaussianNB):
    """A tiny classifier that counts its fits in a file, since a counter in memory would be a part of its code."""

    def __init__(self, file):
        super().__init__()
        self.file = file

    def fit(self, X, y):
        with open(self.file, "a") as stream:
            stream.write(".")
        return super().fit(X, y)


@pytest.fixture
def judged(tmp_path):
    """A selector of digits with wrong labels and a judge, its rows and labels, and a function that counts fits of the judge."""
    X, y = load_digits(n_class=5, return_X_y=True)
    y, _ = redrawn(y, 0.2, 5)
    file = tmp_path / "fits"
    selector = ForgettingSelector(judge=CountingClassifier(file), random_state=0)
    return selector, X, y, lambda: file.stat().st_size


def test_a_judge_says_how_many_rows_to_leave_out(judged):
    selector, X, y, count_fits = judged
    selector.fit(X, y)
    assert 0 < count_fits() <= 20
    curve = selector.held_out_curve_
    assert selector.label_noise_ in curve.shares
    assert selector.suspects_.sum() == round(selector.label_noise_ * len(y))
    np.testing.assert_array_equal(selector.get_support(), ~selector.suspects_)


def test_the_scoring_of_a_judge(judged):
    selector, X, y, _ = judged
    balanced = selector.set_params(judge_scoring="balanced_accuracy").fit(X, y)
    assert balanced.suspects_.any()
    # To which no number of rows is better than another one.
    indifferent = clone(selector).set_params(judge_scoring=lambda estimator, X, y: 1.0).fit(X, y)
    assert indifferent.label_noise_ == 0
    assert indifferent.get_support().all()
    with pytest.raises(ValueError, match="scoring"):
        clone(selector).set_params(judge_scoring="accurate").fit(X, y)
    with pytest.raises(ValueError, match=r"judge_scoring='accuracy' is what a judge maximizes, but judge is None"):
        ForgettingSelector(judge_scoring="accuracy").fit(X, y)
    with pytest.raises(TypeError, match="judge must be a classifier"):
        clone(selector).set_params(judge=StandardScaler()).fit(X, y)


@pytest.mark.usefixtures("shared_runs")
def test_a_search_asks_the_judge_once_a_fold(judged):
    selector, X, y, count_fits = judged
    pipe = Pipeline([("prune", selector), ("clf", GaussianNB())])
    GridSearchCV(pipe, {"prune__min_per_class": [0, 5, 10]}, cv=2, refit=False, error_score="raise").fit(X, y)
    assert count_fits() <= 2 * 20


def test_a_judge_compares_the_chosen_rule_with_random_rows(judged):
    selector, X, y, count_fits = judged
    selector.set_params(k=0.3).fit(X, y)
    n_fits = count_fits()
    assert n_fits <= 20
    assert selector.get_support().sum() == math.ceil(0.3 * len(y))
    selector.set_params(k=0.2).get_support()
    assert count_fits() <= n_fits + 6


@pytest.mark.usefixtures("shared_runs")
def test_a_judge_is_asked_again_about_other_features(judged):
    selector, X, y, _ = judged
    # Of features that the net and the models do not get.
    selector.set_params(encoder=FunctionTransformer(lambda X: X[:, :64]))
    with_label = np.hstack([X, y[:, None]])
    scores = [clone(selector).fit(features, y).held_out_curve_.scores[0] for features in (X, with_label)]
    assert scores[0] < 0.9
    assert scores[1] > 0.99


def test_one_line_says_what_the_test_on_held_out_rows_has_found(noisy_digits, capsys):
    selector, X, y_noisy, *_ = noisy_digits
    selector = clone(selector).set_params(verbose=1).fit(X, y_noisy)
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert f"{selector.suspects_.sum()} of 1797 rows ({selector.suspects_.mean():.1%}) are suspects" in line


@pytest.mark.parametrize(
    "name", ["margins_", "trust_", "suspects_", "never_learned_", "first_learned_", "likely_labels_"]
)
def test_what_a_fit_has_found_is_read_only(name):
    selector = ForgettingSelector(random_state=0).fit(*make_classification(100, random_state=0))
    with pytest.raises(ValueError, match="read-only"):
        getattr(selector, name)[:] = 0


def test_a_judge_of_labels_that_nothing_predicts():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 8)), rng.integers(0, 2, 200)
    with pytest.warns(PruningWarning, match="All rows are kept, because the labels can't be predicted"):
        selector = ForgettingSelector(judge=LogisticRegression(), random_state=0).fit(X, y)
    assert np.isnan(selector.label_noise_)


def test_a_scorer_that_needs_all_classes_and_a_rare_one():
    X, y = make_classification(300, 8, n_informative=6, random_state=0)
    y[:2] = 2
    selector = ForgettingSelector(judge=LogisticRegression(), judge_scoring="neg_log_loss", random_state=0)
    assert selector.fit(X, y).label_noise_ == 0


def test_columns_with_the_names_of_the_table_of_suspects():
    X, y_true = load_digits(return_X_y=True)
    y = np.where(np.arange(len(y_true)) % 5 == 0, (y_true + 1) % 10, y_true)
    table = pd.DataFrame(X[:, 20:23], columns=["label", "row", "other"])
    issues = ForgettingSelector(random_state=0).fit(X, y).label_issues(table)
    assert issues.columns.tolist() == ["row", "label", "likely_label", "trust", "label_of_X", "row_of_X", "other"]
    np.testing.assert_array_equal(issues["label_of_X"], table["label"][issues["row"]])
