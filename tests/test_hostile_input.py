"""Odd data and odd nets: each gives a clear error, or the scores of the same rows in a plain array."""

import math
from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from conftest import MLP, make_net
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.exceptions import NotFittedError
from skorch.callbacks import EarlyStopping
from torch.utils.data import DataLoader

from skprune import ForgettingSelector

N_ROWS, K = 40, 0.3
rng = np.random.default_rng(0)
Y = np.arange(N_ROWS) % 3
X = np.round(rng.normal(size=(N_ROWS, 4)) + 0.5 * Y[:, None], 2)
NAMES = np.array(["ash", "beech", "cedar"])
FRAME = pd.DataFrame(X, columns=list("abcd"), index=range(100, 100 + N_ROWS))

SAME = "the scores of the plain array"
ANY = "some scores"


def changed(array, where, value, dtype=None):
    array = np.array(array, dtype=dtype)
    array[where] = value
    return array


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def wide_indices(matrix):
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)
    return matrix


def mapped(array, folder):
    file = folder / "X.npy"
    np.save(file, array)
    return np.load(file, mmap_mode="r")


def own_net(module=MLP, **params):
    return make_net(module, **{"module__n_features": 4, "max_epochs": 2, **params})


@cache
def plain(estimator):
    net = None if estimator == "built-in" else own_net()
    return ForgettingSelector(net, k=K, random_state=0).fit(X, Y)


def check(net, X_hostile, y, expected):
    selector = ForgettingSelector(net, k=K, random_state=0)
    if not isinstance(expected, str):
        error, message = expected
        with pytest.raises(error, match=message):
            selector.fit(X_hostile, y)
        with pytest.raises(NotFittedError):
            selector.get_support()
        return
    X_kept, y_kept = selector.fit_resample(X_hostile, y)
    rows = selector.get_support(indices=True)
    n_rows = len(selector.margins_)
    assert len(rows) == math.ceil(K * n_rows)
    assert np.isfinite(selector.margins_).all()
    assert type(X_kept) is type(X_hostile)
    assert type(y_kept) is type(y)
    if expected == SAME:
        expected = plain("built-in" if net is None else "own")
        np.testing.assert_array_equal(selector.margins_, expected.margins_)
        np.testing.assert_array_equal(selector.forgetting_scores_, expected.forgetting_scores_)
        np.testing.assert_array_equal(rows, expected.get_support(indices=True))
        np.testing.assert_array_equal(as_array(X_kept), X[rows])


def as_array(kept):
    if sparse.issparse(kept):
        return kept.toarray()
    return kept.detach().double().numpy() if isinstance(kept, torch.Tensor) else np.asarray(kept, dtype=float)


NO_ROWS = (ValueError, r"0 sample\(s\)")
NO_COLUMNS = (ValueError, r"0 feature\(s\) \(shape=\(40, 0\)\)")
NO_ROW_NUMBERS = (TypeError, "Expected a container with one entry per row")
NOT_FINITE = (ValueError, "Input X contains (NaN|infinity)")
LOSS = (ValueError, "loss became nan.*look for nan or very large values in X")
MASKED = (ValueError, r"is a masked array with masked entries.*filled")
NO_NUMBERS = (ValueError, r"computes with.*numbers.*Encode them with ForgettingSelector\(encoder=")
COLUMN_T = (TypeError, r"Column 't' of X can't be encoded.*encoder=")
MORE_COLUMNS = (RuntimeError, r"(?s)mat1 and mat2.*gets a batch of X")  # than the net has inputs
RECORDS = (ValueError, "computes with real numbers")
COMPLEX = (ValueError, "Complex data not supported")
TOO_LARGE = (ValueError, r"too large for float32.*Scale them in an earlier step")
NO_LAYOUT = (TypeError, r"layout torch.sparse_coo.*to_dense\(\)")

# X, then what comes of the built-in net and of one's own.
FEATURES = [
    pytest.param(X[:0], NO_ROWS, NO_ROWS, id="no rows"),
    pytest.param([], NO_ROWS, NO_ROWS, id="no rows in a list"),
    pytest.param(FRAME[:0], NO_ROWS, NO_ROWS, id="no rows in a DataFrame"),
    pytest.param(sparse.csr_array(X[:0]), NO_ROWS, NO_ROWS, id="no rows in a sparse array"),
    pytest.param(torch.zeros(0, 4), NO_ROWS, NO_ROWS, id="no rows in a tensor"),
    pytest.param({}, NO_ROWS, NO_ROWS, id="no arrays in a dict"),
    pytest.param(X[:, :0], NO_COLUMNS, NO_COLUMNS, id="no columns"),
    pytest.param(FRAME[[]], NO_COLUMNS, NO_COLUMNS, id="no columns in a DataFrame"),
    pytest.param(X[:1], (ValueError, "one class"), (ValueError, "one class"), id="one row"),
    pytest.param(X[:2], ANY, ANY, id="two rows"),
    pytest.param(X[:5], ANY, ANY, id="fewer rows than a batch"),
    pytest.param(FRAME.to_records(), (ValueError, "matrix of numbers, got rows of type tuple"), RECORDS, id="records"),
    pytest.param(X[:, 0], (ValueError, "Reshape your data"), (RuntimeError, "mat1 and mat2"), id="one dimension"),
    pytest.param(None, NO_ROW_NUMBERS, NO_ROW_NUMBERS, id="nothing"),
    pytest.param((row for row in X), NO_ROW_NUMBERS, NO_ROW_NUMBERS, id="a generator"),
    pytest.param(np.float64(1), (TypeError, "scalar"), (TypeError, "scalar"), id="a scalar"),
    pytest.param({"X": X}, (TypeError, "matrix of numbers, got a dict"), ANY, id="a dict"),
    pytest.param({"X": X, "Z": X[:5]}, (ValueError, "lengths"), (ValueError, "lengths"), id="a dict of two lengths"),
    pytest.param(np.ones_like(X), ANY, ANY, id="all rows identical"),
    pytest.param(changed(X, (slice(None), 0), 1e6), ANY, ANY, id="a constant feature"),
    pytest.param(changed(X, (3, 2), np.inf), NOT_FINITE, LOSS, id="inf"),
    pytest.param(changed(X, (3, 2), -np.inf), NOT_FINITE, LOSS, id="-inf"),
    pytest.param(changed(X, (3, 2), np.nan), ANY, LOSS, id="nan"),
    pytest.param(changed(X, (3, 2), None, object), ANY, LOSS, id="None"),
    pytest.param(sparse.csr_array(changed(X, (3, 2), np.nan)), ANY, LOSS, id="nan in a sparse array"),
    pytest.param(FRAME.astype("Float64").mask(FRAME > 2), ANY, NO_NUMBERS, id="pandas.NA"),
    pytest.param(pl.DataFrame(X).with_columns(t=None), ANY, LOSS, id="null of polars"),
    pytest.param(np.ma.masked_greater(X, 2), MASKED, MASKED, id="masked"),
    pytest.param({"X": np.ma.masked_greater(X, 2)}, MASKED, MASKED, id="masked in a dict"),
    pytest.param(np.ma.masked_array(X, mask=False), SAME, SAME, id="masked nowhere"),
    pytest.param(X * 1e300, TOO_LARGE, LOSS, id="huge"),
    pytest.param(changed(X, (3, 2), 1e200), TOO_LARGE, LOSS, id="one huge value"),
    pytest.param(X * 1e30, ANY, LOSS, id="huge in float32"),
    pytest.param(X * 1e-60, ANY, ANY, id="denormal in float32"),
    pytest.param(X * 1e-310, ANY, ANY, id="denormal"),
    pytest.param(X.astype(object), SAME, SAME, id="objects"),
    pytest.param(X.astype(str).astype(object), SAME, SAME, id="numbers as strings in objects"),
    pytest.param(X.astype(str), ANY, ANY, id="numbers as strings"),
    pytest.param(X > 0, ANY, ANY, id="bool"),
    pytest.param(X.astype(complex), COMPLEX, NO_NUMBERS, id="complex"),
    pytest.param(sparse.csr_array(X.astype(complex)), COMPLEX, NO_NUMBERS, id="complex sparse array"),
    pytest.param(torch.from_numpy(X).cfloat(), COMPLEX, NO_NUMBERS, id="complex tensor"),
    pytest.param(FRAME.assign(t=1j), COLUMN_T, COLUMN_T, id="complex column"),
    pytest.param(X.astype("datetime64[s]"), ANY, MORE_COLUMNS, id="datetimes"),
    pytest.param(FRAME.assign(t=pd.Timestamp("2020-01-01")), ANY, MORE_COLUMNS, id="datetime column"),
    pytest.param(FRAME.assign(t=pd.Timestamp("2020-01-01", tz="UTC")), ANY, MORE_COLUMNS, id="with a time zone"),
    pytest.param(FRAME.assign(t=pd.Timedelta("1s")), ANY, ANY, id="duration column"),
    pytest.param(
        pl.DataFrame(X).with_columns(t=pl.datetime(2020, 1, 1)), ANY, MORE_COLUMNS, id="datetime column of polars"
    ),
    pytest.param(FRAME.assign(t="oak"), ANY, ANY, id="string column"),
    pytest.param(FRAME.assign(t=["oak", None] * 20), ANY, ANY, id="string column with gaps"),
    pytest.param(pl.DataFrame(X).with_columns(t=pl.lit("oak")), ANY, ANY, id="string column of polars"),
    pytest.param(FRAME.assign(t=pd.Categorical(NAMES[Y])), ANY, MORE_COLUMNS, id="categories of strings"),
    pytest.param(FRAME.assign(d=pd.Categorical(FRAME["d"])), ANY, SAME, id="categories of numbers"),
    pytest.param(FRAME, SAME, SAME, id="a DataFrame"),
    pytest.param(FRAME.astype("Float64"), SAME, SAME, id="nullable columns"),
    pytest.param(FRAME.astype(object), SAME, SAME, id="object columns"),
    pytest.param(pl.DataFrame(X), SAME, SAME, id="a polars DataFrame"),
    pytest.param(FRAME.rename(columns={"a": 0}), (TypeError, "string names"), (TypeError, "string names"), id="names"),
    pytest.param(np.repeat(X, 2, axis=1)[:, ::2], SAME, SAME, id="not contiguous"),
    pytest.param(X[::-1].copy()[::-1], SAME, SAME, id="negative strides"),
    pytest.param(read_only(X), SAME, SAME, id="read-only"),
    pytest.param(np.asfortranarray(X), SAME, SAME, id="Fortran order"),
    pytest.param(X.astype(">f8"), SAME, SAME, id="another byte order"),
    pytest.param(torch.from_numpy(X).requires_grad_(), SAME, SAME, id="a tensor that requires grad"),
    pytest.param(torch.from_numpy(X).requires_grad_() * 1, SAME, SAME, id="a tensor inside a graph"),
    pytest.param(torch.from_numpy(X).bfloat16(), ANY, ANY, id="bfloat16"),
    pytest.param(torch.from_numpy(X).to_sparse(), NO_LAYOUT, NO_LAYOUT, id="a sparse tensor"),
    *(
        pytest.param(make(X).asformat(form), SAME, SAME, id=f"{make.__name__} as {form}")
        for make in (sparse.csr_array, sparse.csr_matrix)
        for form in ("csr", "csc", "coo", "lil", "dok", "bsr", "dia")
    ),
    pytest.param(wide_indices(sparse.csr_array(X)), SAME, SAME, id="int64 indices"),
    pytest.param(wide_indices(sparse.csc_matrix(X)), SAME, SAME, id="int64 indices of columns"),
]


@pytest.mark.parametrize(("X_hostile", "built_in", "own"), FEATURES)
def test_features(X_hostile, built_in, own):
    shape = getattr(X_hostile, "shape", ())
    n_rows = shape[0] if shape else 0 if isinstance(X_hostile, (list, dict)) and not X_hostile else N_ROWS
    check(None, X_hostile, Y[:n_rows], built_in)
    check(own_net(module__n_features=shape[1] if len(shape) == 2 else 4), X_hostile, Y[:n_rows], own)


@pytest.mark.parametrize("net", [None, own_net()], ids=["built-in", "own"])
def test_a_memory_mapped_array(tmp_path, net):
    selector = ForgettingSelector(net, k=K, random_state=0).fit(mapped(X, tmp_path), Y)
    np.testing.assert_array_equal(selector.margins_, plain("own" if net else "built-in").margins_)


@pytest.mark.parametrize("net", [None, own_net()], ids=["built-in", "own"])
def test_names_that_come_twice(net):
    frame = FRAME.set_axis(list("aabb"), axis=1)
    try:
        check(net, frame, Y, SAME)
    except ValueError as error:  # of scikit-learn from 1.9 on
        if "unique column names" not in str(error):
            raise
    with pytest.raises(ValueError, match=r"unique column names|columns of X are not numeric: {'a': "):
        ForgettingSelector(net).fit(frame.assign(a="oak"), Y)


# As scikit-learn's own estimators warn, and score the labels all the same.
COLUMN_VECTOR = pytest.mark.filterwarnings("ignore:A column-vector y was passed")


NO_LABELS = (ValueError, "y should be a 1d array")
MIXED = (ValueError, r"labels in y have mixed types: \w+, \w+\..*astype\(str\)")
SEVERAL = (ValueError, r"several labels in a row.*MultiOutputClassifier\(pipe\)\.fit\(X, MultiLabelBinarizer\(\)")
COLUMNS = r"one label per row, got {} columns.*MultiOutputClassifier\(pipe\)\.fit\(X, {}\), where"
ONE_HOT = r"one label per row, got 3 columns.*np\.argmax\({}, axis=1\)"
INDICATOR = np.stack([Y > 0, Y > 1], axis=1).astype(int)
NUMBERS = (ValueError, r"got 2 columns of numbers\. skprune is for classification alone")
WORDS = (ValueError, COLUMNS.format(2, r"MultiLabelBinarizer\(\)\.fit_transform\(y\)"))
LENGTHS = (ValueError, "inconsistent numbers of samples")

LABELS = [
    pytest.param(Y[:, None], SAME, id="a column", marks=COLUMN_VECTOR),
    pytest.param(pd.DataFrame(Y), SAME, id="a frame", marks=COLUMN_VECTOR),
    pytest.param(pd.Categorical(NAMES[Y]), SAME, id="categorical"),
    pytest.param(pd.Series(pd.Categorical(NAMES[Y], categories=[*NAMES, "oak"])), SAME, id="an empty category"),
    pytest.param(pd.Series(Y, dtype="Int64"), SAME, id="nullable"),
    pytest.param(pl.Series(NAMES[Y]), SAME, id="of polars"),
    pytest.param(pa.array(NAMES[Y]), SAME, id="of pyarrow"),
    pytest.param(torch.from_numpy(Y), SAME, id="a tensor"),
    pytest.param(torch.from_numpy(Y.astype(float)).requires_grad_(), SAME, id="a tensor that requires grad"),
    pytest.param(read_only(Y), SAME, id="read-only"),
    pytest.param(np.repeat(Y, 2)[::2], SAME, id="not contiguous"),
    pytest.param(NAMES[Y].tolist(), SAME, id="a list"),
    pytest.param(pd.Series(pd.to_datetime(["2020", "2021", "2022"])[Y]), SAME, id="dates"),
    pytest.param(Y > 0, ANY, id="bool"),
    pytest.param(np.where(Y > 0, 1.0, np.where(np.arange(N_ROWS) % 2, -0.0, 0.0)), ANY, id="-0.0 and 0.0"),
    pytest.param(changed(np.ones(N_ROWS, int), 7, 0), ANY, id="a class of one row"),
    pytest.param(NAMES.astype("S")[Y], (TypeError, "bytes is not supported"), id="bytes"),
    pytest.param([int(label) or "ash" for label in Y], MIXED, id="int and str in a list"),
    pytest.param(np.array([int(label) or "ash" for label in Y], dtype=object), MIXED, id="int and str in an array"),
    pytest.param([NAMES[label] if label else None for label in Y], MIXED, id="None"),
    pytest.param(np.array([NAMES[label] if label else np.nan for label in Y], dtype=object), MIXED, id="nan and str"),
    pytest.param(pd.Series([NAMES[label] if label else pd.NA for label in Y], dtype="string"), MIXED, id="pandas.NA"),
    pytest.param(pl.Series([NAMES[label] if label else None for label in Y]), MIXED, id="null of polars"),
    pytest.param(changed(Y, 3, np.nan, float), (ValueError, "Input y contains NaN"), id="nan"),
    pytest.param(changed(Y, 3, np.nan, float).tolist(), (ValueError, "Input y contains NaN"), id="nan in a list"),
    pytest.param(changed(Y, 3, np.inf, float), (ValueError, "Input y contains infinity"), id="inf"),
    pytest.param(pd.Series(Y, dtype="Int64").mask(Y == 2), (ValueError, "Input y contains NaN"), id="NA of nullable"),
    pytest.param(
        pd.Series(pd.to_datetime(["2020", "2021", None])[Y]),
        (ValueError, "Input y contains NaT, in 13 of 40"),
        id="NaT",
    ),
    pytest.param(np.stack([Y + 0.5, Y], axis=1), NUMBERS, id="two columns of numbers"),
    pytest.param(NAMES[np.stack([Y, (Y + 1) % 3], axis=1)].tolist(), WORDS, id="two words a row"),
    pytest.param(np.ma.masked_equal(Y, 2), MASKED, id="masked"),
    pytest.param(Y + 0.5, (ValueError, "Unknown label type: continuous"), id="continuous"),
    pytest.param(
        np.zeros(N_ROWS), (ValueError, r"at least two classes, got one class: 0\.0\. .*StratifiedKFold"), id="one class"
    ),
    pytest.param(np.eye(3)[Y], (ValueError, ONE_HOT.format("y")), id="one-hot"),
    pytest.param(np.eye(3)[Y] > 0, (ValueError, ONE_HOT.format("y")), id="one-hot, bool"),
    pytest.param(torch.eye(3)[Y], (ValueError, ONE_HOT.format("y")), id="one-hot, a tensor"),
    pytest.param(pd.DataFrame(np.eye(3)[Y]), (ValueError, ONE_HOT.format("y")), id="one-hot, a frame"),
    pytest.param(np.eye(3)[Y].tolist(), (ValueError, ONE_HOT.format(r"np.asarray\(y\)")), id="one-hot, lists"),
    pytest.param(sparse.csr_array(np.eye(3)[Y]), (ValueError, ONE_HOT.format(r"y.toarray\(\)")), id="one-hot, sparse"),
    pytest.param(INDICATOR, (ValueError, COLUMNS.format(2, "y")), id="multilabel"),
    pytest.param(np.stack([Y, Y], axis=1), (ValueError, COLUMNS.format(2, "y")), id="several targets"),
    pytest.param(np.stack([Y, -Y, 1 - Y], axis=1), (ValueError, COLUMNS.format(3, "y")), id="targets of sum 1"),
    pytest.param(NAMES[np.stack([Y, Y], axis=1)], (ValueError, COLUMNS.format(2, "y")), id="targets of names"),
    pytest.param(
        sparse.csr_matrix(INDICATOR), (ValueError, COLUMNS.format(2, r"y.toarray\(\)")), id="multilabel, sparse"
    ),
    pytest.param([[0], [1, 2]] * 20, SEVERAL, id="lists of labels"),
    pytest.param([("ash",), ("beech", "cedar")] * 20, SEVERAL, id="tuples of labels"),
    pytest.param([{"ash"}, {"beech", "cedar"}] * 20, SEVERAL, id="sets of labels"),
    pytest.param(pd.Series([[0], [1, 2]] * 20), SEVERAL, id="a series of lists"),
    pytest.param({"y": Y}, NO_LABELS, id="a dict"),
    pytest.param("ash", NO_LABELS, id="a string"),
    pytest.param(None, (ValueError, "requires y to be passed, but the target y is None"), id="nothing"),
    pytest.param(Y[:-1], LENGTHS, id="one too few"),
    pytest.param(np.append(Y, 0), LENGTHS, id="one too many"),
]


@pytest.mark.parametrize(("y", "expected"), LABELS)
def test_labels(y, expected):
    check(None, X, y, expected)
    check(own_net(), X, y, expected)


def test_zeros_of_both_signs_are_one_class():
    y = np.where(Y > 0, 1.0, np.where(np.arange(N_ROWS) % 2, -0.0, 0.0))
    selector = ForgettingSelector(own_net(), random_state=0).fit(X, y)
    expected = ForgettingSelector(own_net(), random_state=0).fit(X, (Y > 0).astype(int))
    assert selector.classes_.tolist() == [0.0, 1.0]
    np.testing.assert_array_equal(selector.margins_, expected.margins_)


class PairOut(MLP):
    def forward(self, X):
        return super().forward(X), X


class FirstOfPair(torch.nn.CrossEntropyLoss):
    def forward(self, y_pred, y_true):
        return super().forward(y_pred[0], y_true)


class Flat(MLP):
    def forward(self, X):
        return super().forward(X)[:, 0]


class Anything(torch.nn.Module):
    def forward(self, y_pred, y_true):
        return y_pred.mean()


class Holes(MLP):
    def forward(self, X):
        logits = super().forward(X)
        return torch.where(X[:, :1] > 2, torch.nan, logits)


class WithoutHoles(torch.nn.CrossEntropyLoss):
    def forward(self, y_pred, y_true):
        return super().forward(torch.nan_to_num(y_pred), y_true)


def without_last(dataset, batch_size):
    return DataLoader(dataset, batch_size, sampler=range(len(dataset) - 1))


fitted_net = own_net(train_split=None).fit(X.astype(np.float32), Y)
TOO_FEW = (ValueError, r"Target [12] is out of bounds.*fewer outputs than y has classes. It needs 3")
NO_PAIR = (TypeError, r"(?s)must be Tensor, not tuple.*tensor of shape \(n_batch, 3\), not a tuple")
NO_CLASSES = (ValueError, r"shape \((\d+,|\d+, 1)\).*one number per row and class")
REGRESSION = (ValueError, r"criterion=.*Loss.* is for regression.*CrossEntropyLoss")
NO_PROBABILITIES = (ValueError, "predictions are not class probabilities")

NETS = [
    pytest.param(own_net(module__n_classes=2), TOO_FEW, id="too few outputs"),
    pytest.param(own_net(module__n_classes=1), TOO_FEW, id="one output"),
    pytest.param(own_net(module__n_classes=5), ANY, id="too many outputs"),
    pytest.param(own_net(Flat, criterion=Anything), NO_CLASSES, id="a number a row"),
    pytest.param(own_net(module__n_classes=1, criterion=Anything), NO_CLASSES, id="a column"),
    pytest.param(own_net(PairOut), NO_PAIR, id="a tuple"),
    pytest.param(own_net(PairOut, criterion=FirstOfPair), SAME, id="a tuple that the criterion takes"),
    pytest.param(
        own_net(module__n_features=7), (RuntimeError, r"(?s)mat1 and mat2.*gets a batch of X"), id="other features"
    ),
    pytest.param(own_net(criterion=torch.nn.MSELoss), REGRESSION, id="squares"),
    pytest.param(own_net(criterion=torch.nn.L1Loss()), REGRESSION, id="an instance"),
    pytest.param(own_net(Flat, criterion=torch.nn.HuberLoss), REGRESSION, id="a regressor"),
    pytest.param(
        own_net(criterion=torch.nn.BCEWithLogitsLoss), (ValueError, "outputs and Cross"), id="several labels a row"
    ),
    pytest.param(
        own_net(criterion=torch.nn.NLLLoss), (ValueError, "module that returns logits"), id="logits as chances"
    ),
    pytest.param(own_net(Holes, criterion=WithoutHoles), NO_PROBABILITIES, id="nan of some rows"),
    pytest.param(own_net(lr=1e30), (ValueError, r"learning rate that is too high \(lr=1e\+30\)"), id="huge steps"),
    pytest.param(own_net(batch_size=-1), ANY, id="all rows in a batch"),
    pytest.param(own_net(batch_size=0), (ValueError, "batch_size"), id="no rows in a batch"),
    pytest.param(
        own_net(max_epochs=0), (ValueError, "max_epochs of the scoring net must be at least 1, got 0"), id="no epochs"
    ),
    pytest.param(own_net(max_epochs=9, callbacks=[EarlyStopping("train_loss", patience=1)]), ANY, id="early stopping"),
    pytest.param(own_net(iterator_train__drop_last=True), ANY, id="an iterator that drops rows"),
    pytest.param(own_net(iterator_train=without_last), ANY, id="an iterator that leaves a row out"),
    pytest.param(own_net(iterator_valid=without_last, iterator_train=without_last), (ValueError, "1 rows"), id="both"),
    pytest.param(fitted_net, SAME, id="already fitted"),
    pytest.param(own_net(warm_start=True), SAME, id="warm_start"),
    pytest.param(own_net(train_split=None, verbose=1), SAME, id="talkative"),
]


@pytest.mark.parametrize(("net", "expected"), NETS)
def test_nets(net, expected):
    check(net, X, Y, expected)


CONTAINERS = {
    "array": np.asarray,
    "fortran": np.asfortranarray,
    "read-only": read_only,
    "list": lambda X: X.tolist(),
    "pandas": lambda X: pd.DataFrame(X, index=range(7, 7 + len(X))).rename(columns=str),
    "polars": pl.DataFrame,
    "csr": sparse.csr_array,
    "coo": sparse.coo_matrix,
    "dok": sparse.dok_array,
    "tensor": torch.from_numpy,
}
LABEL_TYPES = {
    "int": np.asarray,
    "float": lambda y: y.astype(float),
    "str": lambda y: NAMES[y],
    "objects": lambda y: NAMES[y].astype(object),
    "list": lambda y: NAMES[y].tolist(),
    "series": lambda y: pd.Series(NAMES[y]),
    "categorical": lambda y: pd.Categorical(NAMES[y]),
}


@settings(max_examples=40)
@given(data=st.data())
def test_any_container_dtype_and_parameters(data):
    draw = data.draw
    n_rows, n_features, n_classes = draw(st.integers(2, 20)), draw(st.integers(1, 4)), draw(st.integers(2, 3))
    numbers = np.random.default_rng(draw(st.integers(0, 9)))
    features = numbers.integers(0, 2, (n_rows, n_features))  # of every dtype the same
    codes = np.concatenate([np.arange(n_classes), numbers.integers(0, n_classes, n_rows)])[:n_rows]
    dtype = draw(st.sampled_from(["f8", "f4", "i8", "u1", "i2", "?"]))
    hostile = CONTAINERS[draw(st.sampled_from(sorted(CONTAINERS)))](features.astype(dtype))
    y = LABEL_TYPES[draw(st.sampled_from(sorted(LABEL_TYPES)))](codes)
    k = draw(st.one_of(st.floats(0.01, 1.0), st.integers(1, n_rows)))
    params = {
        "k": k,
        "strategy": draw(st.sampled_from(["most_forgotten", "least_forgotten", "coverage", "random"])),
        "never_learned": draw(st.sampled_from(["drop", "count", "max"])),
        "tie_break": draw(st.sampled_from(["margin", "random"])),
        "balance": draw(st.booleans()),
        "record": draw(st.sampled_from(["batch", "epoch"])),
        "n_runs": draw(st.integers(1, 2)),
        "random_state": draw(st.integers(0, 3)),
    }
    net = (
        None
        if draw(st.integers(0, 4)) == 0
        else own_net(module__n_features=n_features, batch_size=draw(st.sampled_from([1, 3, 64])))
    )
    selector = ForgettingSelector(net, **params)
    kept, y_kept = selector.fit_resample(hostile, y)
    rows = selector.get_support(indices=True)
    assert len(rows) == len(y_kept) == (k if isinstance(k, int) else math.ceil(k * n_rows))
    assert (np.diff(rows) > 0).all()
    assert type(kept) is type(hostile)
    np.testing.assert_array_equal(as_array(kept), features[rows])
    np.testing.assert_array_equal(as_array(selector.transform(hostile)), features[rows])
    expected = ForgettingSelector(net, **params).fit(features.astype(float), codes)
    np.testing.assert_array_equal(selector.margins_, expected.margins_)
    np.testing.assert_array_equal(rows, expected.get_support(indices=True))
