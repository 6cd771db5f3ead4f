"""Tables with words, dates and missing values: the net gets numbers, and the kept rows are those of the user."""

import datetime
import decimal
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from conftest import make_net
from pandas.testing import assert_frame_equal
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline as plain_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, TargetEncoder
from sklearn.utils import get_tags
from skorch.dataset import Dataset

from skprune import ForgettingSelector, Pipeline

N_ROWS = 40
Y = np.arange(N_ROWS) % 2
NUMBERS = np.arange(N_ROWS) // 2 + 10.0 * Y
DAY = datetime.datetime(2024, 2, 28, 13, 30)
VALUES = {
    "int": [int(value) for value in NUMBERS],
    "float": list(NUMBERS / 7),
    "bool": [bool(value) for value in Y],
    "words": [("ash", "beech", "cedar")[row % 3] for row in range(N_ROWS)],
    "many words": [f"tree {row}" for row in range(N_ROWS)],
    "category": [("low", "high")[label] for label in Y],
    "date": [DAY.date() + datetime.timedelta(value) for value in NUMBERS],
    "datetime": [DAY + datetime.timedelta(value, row) for row, value in enumerate(NUMBERS)],
    "with zone": [DAY.replace(tzinfo=datetime.UTC) + datetime.timedelta(value) for value in NUMBERS],
    "duration": [datetime.timedelta(value) for value in NUMBERS],
    "time": [datetime.time(row % 24) for row in range(N_ROWS)],
    "decimal": [decimal.Decimal(value) for value in NUMBERS.astype(int).tolist()],
}


def values_of(kind, missing):
    return [None if missing and row % 5 == 3 else value for row, value in enumerate(VALUES[kind])]


def to_pandas(columns):
    frame = pd.DataFrame(columns, index=np.arange(N_ROWS) // 3)  # labels that come three times
    for name in frame.columns.intersection(["category"]):
        frame[name] = frame[name].astype("category")
    return frame


def to_polars(columns):
    types = {"category": pl.Categorical, "decimal": pl.Decimal(10, 2)}
    return pl.DataFrame({name: pl.Series(values, dtype=types.get(name)) for name, values in columns.items()})


def to_arrow(columns):
    table = pa.table(columns)
    if "category" not in columns:
        return table
    column = table.column_names.index("category")
    return table.set_column(column, "category", table["category"].dictionary_encode())


def to_numpy(columns):
    array = np.empty((N_ROWS, len(columns)), dtype=object)
    for column, values in enumerate(columns.values()):
        array[:, column] = values
    return array


LIBRARIES = {
    "pandas": to_pandas,
    "pandas, nullable": lambda columns: to_pandas(columns).convert_dtypes(),
    "pandas on Arrow": lambda columns: to_arrow(columns).to_pandas(types_mapper=pd.ArrowDtype),
    "polars": to_polars,
    "pyarrow": to_arrow,
    "NumPy": to_numpy,
}


def assert_rows(kept, X, rows):
    """Compare kept rows with those of the library itself: values, order, dtypes and index."""
    assert type(kept) is type(X)
    if isinstance(X, pd.DataFrame):
        assert_frame_equal(kept, X.iloc[rows], check_exact=True)
    elif isinstance(X, pl.DataFrame):
        assert kept.schema == X.schema
        assert kept.equals(X[rows])
    elif isinstance(X, pa.Table):
        assert kept.schema == X.schema
        assert kept.equals(X.take(rows))
    else:
        assert kept.dtype == X.dtype
        np.testing.assert_array_equal(kept, X[rows])


class Keep(ClassifierMixin, BaseEstimator):
    """Remember the rows of fit, and predict the first class."""

    def fit(self, X, y, notes=None):
        self.X_, self.y_, self.notes_, self.classes_ = X, y, notes, np.unique(y)
        return self

    def predict(self, X):
        return np.full(X.shape[0], self.classes_[0])


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("missing", [False, True], ids=["whole", "missing"])
@pytest.mark.parametrize("kind", VALUES)
def test_every_kind_of_column(kind, missing, library):
    X = LIBRARIES[library]({kind: values_of(kind, missing), "number": list(NUMBERS)})
    # Given scores train no net, and 20 rows are too few for the held-out models, so this only encodes and selects.
    scores = np.arange(N_ROWS)[::-1] % 7
    selector = ForgettingSelector(k=15, strategy="most_forgotten", random_state=0).fit(X, Y, forgetting_scores=scores)
    assert_rows(selector.transform(X), X, selector.get_support(indices=True))
    numeric = kind in ("int", "float", "bool", "decimal") and not (kind == "decimal" and missing and "Arrow" in library)
    if numeric and not missing:
        assert selector.encoder_ is None
    else:
        encoded = selector.encoder_.transform(X)
        assert encoded.shape[0] == N_ROWS
        assert encoded.shape[1] >= 2
        assert np.isfinite(encoded).all()
        assert encoded.dtype == np.float32 or isinstance(selector.encoder_, SimpleImputer)


@pytest.mark.parametrize("missing", [False, True], ids=["whole", "missing"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_all_kinds_in_one_table(library, missing):
    X = LIBRARIES[library]({kind: values_of(kind, missing) for kind in VALUES})
    selector = ForgettingSelector(k=0.5, random_state=0)
    kept, y_kept = selector.fit_resample(X, Y)
    rows = selector.get_support(indices=True)
    assert_rows(kept, X, rows)
    np.testing.assert_array_equal(y_kept, Y[rows])
    assert selector.n_features_in_ == len(VALUES)
    if library != "NumPy":
        assert selector.feature_names_in_.tolist() == list(VALUES)
    # The bool and the category are the label.
    assert selector.margins_.mean() > 0.3

    pipe = Pipeline([("prune", selector), ("clf", Keep())]).fit(X, Y, clf__notes=np.arange(N_ROWS))
    assert_rows(pipe["clf"].X_, X, pipe["clf"].notes_)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_search(library):
    X = LIBRARIES[library]({kind: values_of(kind, True) for kind in ("words", "float", "category", "datetime")})
    pipe = Pipeline([("prune", ForgettingSelector(random_state=0)), ("clf", Keep())])
    search = GridSearchCV(pipe, {"prune__k": [0.5, 0.8]}, cv=2).fit(X, Y)
    best = search.best_estimator_
    rows = best["prune"].get_support(indices=True)
    assert_rows(best["clf"].X_, X, rows)
    np.testing.assert_array_equal(best["clf"].y_, Y[rows])


def test_words_become_columns_of_zeros_and_ones():
    X = pd.DataFrame({"tree": VALUES["words"], "number": NUMBERS})
    encoder = ForgettingSelector(random_state=0).fit(X, Y).encoder_
    one_hot = pd.get_dummies(X["tree"])[["ash", "beech", "cedar"]]
    np.testing.assert_array_equal(
        encoder.transform(X), np.column_stack([NUMBERS - NUMBERS.mean(), one_hot]).astype(np.float32)
    )


def test_missing_numbers_are_imputed_and_marked():
    X = np.column_stack([NUMBERS, np.arange(N_ROWS) % 3])
    X[::4, 0] = np.nan
    selector = ForgettingSelector(k=0.5, random_state=0).fit(X, Y)
    filled = np.column_stack([np.where(np.isnan(X[:, 0]), np.nanmean(X[:, 0]), X[:, 0]), X[:, 1], np.isnan(X[:, 0])])
    np.testing.assert_allclose(selector.encoder_.transform(X), filled)
    expected = ForgettingSelector(k=0.5, random_state=0).fit(filled, Y)
    np.testing.assert_allclose(selector.margins_, expected.margins_, atol=1e-6)
    np.testing.assert_array_equal(selector.transform(X), X[selector.get_support()])


def test_the_last_net_takes_encoded_rows():
    X = pd.DataFrame({"label": VALUES["category"], "number": NUMBERS}).astype({"label": "category"})
    selector = ForgettingSelector(random_state=0).fit(X, Y)
    predicted = selector.estimator_.predict(selector.encoder_.transform(X))
    assert (predicted == Y).mean() > 0.9


@pytest.mark.parametrize(
    "X",
    [
        np.column_stack([NUMBERS, Y]),
        np.column_stack([NUMBERS, Y]).astype(np.float32),
        sparse.csr_array(np.column_stack([NUMBERS, Y])),
        pd.DataFrame({"a": NUMBERS, "b": Y > 0}),
        pl.DataFrame({"a": NUMBERS, "b": Y > 0}),
        pa.table({"a": NUMBERS, "b": Y > 0}),
        torch.from_numpy(np.column_stack([NUMBERS, Y])),
    ],
    ids=["float64", "float32", "sparse", "pandas", "polars", "pyarrow", "tensor"],
)
def test_numbers_are_not_encoded(X):
    selector = ForgettingSelector(random_state=0).fit(X, Y)
    assert selector.encoder_ is None
    expected = ForgettingSelector(encoder=None, random_state=0).fit(np.column_stack([NUMBERS, Y]), Y)
    np.testing.assert_allclose(selector.margins_, expected.margins_, atol=1e-4)


def test_missing_numbers_of_a_sparse_matrix():
    X = np.column_stack([NUMBERS, Y])
    X[::4, 0] = np.nan
    selector = ForgettingSelector(random_state=0).fit(sparse.csr_array(X), Y)
    assert sparse.issparse(selector.encoder_.transform(sparse.csr_array(X)))
    assert selector.margins_.mean() > 0.3


def test_numbers_do_not_need_skrub():
    code = """if True:
        import sys
        import numpy as np, pandas as pd
        from skprune import ForgettingSelector
        X, y = pd.DataFrame({"a": pd.array([1, None] * 20), "b": np.arange(40.0)}), np.arange(40) // 20
        print(type(ForgettingSelector(random_state=0).fit(X, y).encoder_).__name__, "skrub" in sys.modules)
        sys.modules["skrub"] = None  # as if it were not installed
        try:
            ForgettingSelector().fit(X.assign(tree="ash"), y)
        except ImportError as error:
            print(error)
        """
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.startswith("SimpleImputer False\n")
    assert 'pip install "skprune[tables]"' in printed


def test_thousands_of_words_take_few_columns():
    n_rows = 3000
    X = pd.DataFrame({"word": [f"{'odd' if row % 2 else 'even'} {row}" for row in range(n_rows)]})
    selector = ForgettingSelector(random_state=0).fit(X, np.arange(n_rows) % 2)
    assert selector.encoder_.transform(X).shape == (n_rows, 30)
    assert selector.margins_.mean() > 0.8


def test_encoding_repeats():
    X = pd.DataFrame({"word": [f"{'odd' if row % 2 else 'even'} {row}" for row in range(200)]})
    y = np.arange(200) % 2
    first, second = (ForgettingSelector(random_state=0).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(first.margins_, second.margins_)
    np.testing.assert_array_equal(first.encoder_.transform(X), second.encoder_.transform(X))
    copy = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(copy.encoder_.transform(X), first.encoder_.transform(X))


def test_large_numbers_that_differ_little_keep_their_digits():
    X = pd.DataFrame({"time": 1.7e9 + NUMBERS, "word": VALUES["words"]})
    encoder = ForgettingSelector(random_state=0).fit(X, Y).encoder_
    np.testing.assert_allclose(np.diff(encoder.transform(X)[:, 0]), np.diff(NUMBERS))


def test_only_the_rows_of_fit_are_encoded():
    X = pd.DataFrame({"word": VALUES["words"], "number": NUMBERS})
    pipe = Pipeline([("prune", ForgettingSelector(k=10, random_state=0)), ("clf", DummyClassifier())])
    some = np.flatnonzero(X["word"] != "cedar")
    encoder = pipe.fit(X.iloc[some], Y[some])["prune"].encoder_
    names = encoder[1].get_feature_names_out()
    assert [name for name in names if "beech" in name]
    assert not [name for name in names if "cedar" in name]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ([[1, 2]] * N_ROWS, "list"),
        ([b"ash"] * N_ROWS, "bytes"),
        ([{"tree": 1}] * N_ROWS, "dict"),
        (np.full(N_ROWS, 1j), "complex"),
        (pd.interval_range(0, N_ROWS), "Interval"),
        (["ash", {"beech"}] * (N_ROWS // 2), "set"),
        (pd.Categorical([(row,) for row in range(N_ROWS)]), "tuple"),
    ],
    ids=["lists", "bytes", "dicts", "complex", "intervals", "sets", "categories"],
)
def test_a_column_that_cannot_be_encoded_is_named(column, kind):
    X = pd.DataFrame({"number": NUMBERS, "odd one": column})
    with pytest.raises(TypeError, match=rf"Column 'odd one' of X can't be encoded.*type {kind}.*encoder="):
        ForgettingSelector().fit(X, Y)


@pytest.mark.parametrize(
    ("column", "same"),
    [
        (pd.cut(NUMBERS, [0, 9, 30]), np.where(NUMBERS == 0, None, np.where(NUMBERS > 9, "large", "a small one"))),
        (pd.period_range("2024", periods=N_ROWS, freq="D"), pd.date_range("2024", periods=N_ROWS)),
    ],
    ids=["cut", "periods"],
)
def test_intervals_of_cut_are_words_and_periods_are_dates(column, same):
    X, X_same = pd.DataFrame({"column": column}), pd.DataFrame({"column": same})
    selector = ForgettingSelector(k=0.5, random_state=0).fit(X, Y)
    expected = ForgettingSelector(k=0.5, random_state=0).fit(X_same, Y)
    np.testing.assert_array_equal(selector.encoder_.transform(X), expected.encoder_.transform(X_same))
    assert_frame_equal(selector.transform(X), X[selector.get_support()])


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([[1]] * N_ROWS),
        pl.Series([{"a": 1}] * N_ROWS),
        pl.Series([[1, 2]] * N_ROWS, dtype=pl.Array(pl.Int64, 2)),
        pl.Series([b"ash"] * N_ROWS),
    ],
    ids=["lists", "structs", "arrays", "bytes"],
)
def test_nested_columns_are_named(column):
    frame = pl.DataFrame({"number": NUMBERS, "odd one": column})
    for X in (frame, frame.to_arrow()):
        with pytest.raises(TypeError, match="Column 'odd one' of X can't be encoded"):
            ForgettingSelector().fit(X, Y)


@pytest.mark.parametrize("words", [[], ["tree"]], ids=["numbers", "table"])
def test_infinite_numbers(words):
    X = pd.DataFrame({"number": NUMBERS, **{name: VALUES["words"] for name in words}})
    X.loc[3, "number"] = np.inf
    with pytest.raises(ValueError, match="Input X contains infinity"):
        ForgettingSelector().fit(X, Y)
    X["number"] = NUMBERS * 1e300
    with pytest.raises(ValueError, match=r"too large for (dtype\('float32'\)|float32)"):
        ForgettingSelector().fit(X, Y)


def test_repeated_names():
    X = pd.DataFrame({"a": VALUES["words"], "b": NUMBERS}).set_axis(["a", "a"], axis=1)
    # scikit-learn checks names itself from 1.9 on.
    with pytest.raises(ValueError, match=r"(?s)[Cc]olumn names.*unique|unique column names.*a"):
        ForgettingSelector().fit(X, Y)


def test_empty_and_constant_columns():
    X = pd.DataFrame({"word": VALUES["words"], "nothing": None, "nan": np.nan, "same": "ash", "zero": 0})
    X["no word"] = pd.Series([None] * N_ROWS, dtype="string")
    X["no day"] = pd.NaT
    X["no category"] = pd.Categorical([None] * N_ROWS)
    selector = ForgettingSelector(k=7, random_state=0).fit(X, Y)
    assert_rows(selector.transform(X), X, selector.get_support(indices=True))
    only = pd.DataFrame({"nan": [np.nan] * N_ROWS, "number": NUMBERS})
    assert ForgettingSelector(k=7, random_state=0).fit_transform(only, Y).shape == (7, 2)


def test_the_frame_is_not_changed():
    X = to_pandas({kind: values_of(kind, missing=True) for kind in VALUES})
    before = X.copy()
    ForgettingSelector(random_state=0).fit(X, Y)
    assert_frame_equal(X, before)


def test_another_representation_of_the_fitted_rows():
    X = np.column_stack([NUMBERS, Y])
    X[::4, 0] = np.nan
    filled = SimpleImputer().fit_transform(X)
    selector = ForgettingSelector(k=9, random_state=0).fit(filled, Y)
    np.testing.assert_array_equal(selector.transform(X), X[selector.get_support()])


def test_boosting_gets_its_categories():
    X = to_pandas({kind: values_of(kind, missing=True) for kind in ("category", "float")})
    pipe = Pipeline(
        [
            ("prune", ForgettingSelector(k=0.7, random_state=0)),
            ("clf", HistGradientBoostingClassifier(categorical_features="from_dtype", min_samples_leaf=2)),
        ]
    ).fit(X, Y)
    assert pipe["clf"].is_categorical_.tolist() == [True, False]
    assert pipe.score(X, Y) > 0.75


# A net of the user


def wide_net(n_features, **params):
    return make_net(module__n_features=n_features, module__n_classes=2, **params)


def test_a_net_gets_words_as_numbers():
    X = pd.DataFrame({"tree": VALUES["words"], "number": NUMBERS})
    selector = ForgettingSelector(wide_net(4), k=9, random_state=0).fit(X, Y)
    assert selector.encoder_ is not None
    assert_rows(selector.transform(X), X, selector.get_support(indices=True))
    with pytest.raises(ValueError, match=r"not numeric: {'tree'.*encoder="):
        ForgettingSelector(wide_net(4), encoder=None).fit(X, Y)


class NanToNum(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 2)

    def forward(self, X):
        return self.linear(torch.nan_to_num(X))


def test_a_net_gets_numbers_as_they_are():
    X = pd.DataFrame({"number": NUMBERS, "category": pd.Categorical(Y)})
    X.loc[::5, "number"] = np.nan
    assert ForgettingSelector(make_net(NanToNum, lr=0.01), random_state=0).fit(X, Y).encoder_ is None


class Words(Dataset):
    def transform(self, X, y):
        return torch.tensor([X["tree"] == "ash", X["number"]], dtype=torch.float32), torch.tensor(y)

    def __getitem__(self, row):
        return self.transform(self.X.iloc[row], self.y[row])


def test_a_net_with_a_dataset_of_its_own_gets_the_table():
    X = pd.DataFrame({"tree": VALUES["words"], "number": NUMBERS})
    selector = ForgettingSelector(wide_net(2, dataset=Words, lr=0.01), random_state=0).fit(X, Y)
    assert selector.encoder_ is None


# An encoder of the user


def test_a_transformer_as_encoder():
    X = pd.DataFrame({"tree": VALUES["words"], "number": NUMBERS})
    encoder = make_column_transformer((OneHotEncoder(), ["tree"]), remainder="passthrough")
    selector = ForgettingSelector(encoder=encoder, k=9, random_state=0).fit(X, Y)
    assert not hasattr(encoder, "transformers_")
    encoded = clone(encoder).fit_transform(X, Y)
    np.testing.assert_array_equal(selector.encoder_.transform(X), encoded)
    expected = ForgettingSelector(encoder=None, random_state=0).fit(encoded, Y)
    np.testing.assert_array_equal(selector.margins_, expected.margins_)
    assert_rows(selector.transform(X), X, selector.get_support(indices=True))


def test_an_encoder_gets_the_labels():
    X = np.array(VALUES["category"], dtype=object)[:, None]
    selector = ForgettingSelector(encoder=TargetEncoder(cv=2), random_state=0).fit(X, Y)
    assert selector.margins_.mean() > 0.3


def test_an_encoder_takes_texts():
    texts = [f"{('spring', 'autumn')[label]} comes" for label in Y]
    selector = ForgettingSelector(encoder=CountVectorizer(), k=9, random_state=0).fit(texts, Y)
    assert selector.transform(texts) == [texts[row] for row in selector.get_support(indices=True)]
    with pytest.raises(ValueError, match=r"rows of type str.*encoder="):
        ForgettingSelector().fit(texts, Y)


class Halve(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X[::2]


def test_an_encoder_that_loses_rows():
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[20, 40\]"):
        ForgettingSelector(encoder=Halve()).fit(NUMBERS[:, None], Y)


@pytest.mark.parametrize("encoder", ["one-hot", OneHotEncoder, DummyClassifier(), 3])
def test_what_is_no_encoder(encoder):
    with pytest.raises(ValueError, match=r"encoder must be \"auto\", None, or a transformer"):
        ForgettingSelector(encoder=encoder).fit(NUMBERS[:, None], Y)


def test_no_encoder():
    X = NUMBERS[:, None].copy()
    X[3] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        ForgettingSelector(encoder=None).fit(X, Y)


def test_output_that_is_set_to_pandas():
    X = np.column_stack([NUMBERS, Y])
    X[::4, 0] = np.nan
    encoder = plain_pipeline(SimpleImputer(), FunctionTransformer()).set_output(transform="pandas")
    selector = ForgettingSelector(encoder=encoder, random_state=0).fit(X, Y)
    assert selector.margins_.mean() > 0.3


def test_tags_say_what_is_taken():
    tags = get_tags(ForgettingSelector()).input_tags
    assert (tags.allow_nan, tags.string, tags.categorical, tags.sparse) == (True, True, True, True)
    tags = get_tags(ForgettingSelector(encoder=None)).input_tags
    assert (tags.allow_nan, tags.string, tags.categorical, tags.sparse) == (False, False, False, True)
    tags = get_tags(ForgettingSelector(make_net())).input_tags
    assert (tags.allow_nan, tags.string) == (False, True)
    assert get_tags(ForgettingSelector(encoder=SimpleImputer())).input_tags.allow_nan
    assert not get_tags(ForgettingSelector(encoder=CountVectorizer())).input_tags.two_d_array
