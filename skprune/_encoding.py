"""Tables as people have them, turned into numbers for the scoring net and the held-out models."""

import datetime
import decimal
import numbers
from collections import Counter
from collections.abc import Mapping

import numpy as np
import skorch.dataset
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils import check_array

from skprune._checks import checkable, is_matrix
from skprune._rows import columns_of, is_numeric

# Columns with fewer different words get a column for each word, and others 30 columns made of the letters of their words.
_N_WORDS = 100
# What skrub encodes. Other objects would become the words by which they are printed.
_ENCODABLE = (
    *(str, numbers.Real, decimal.Decimal, np.integer, np.floating, np.bool_, np.datetime64),
    *(datetime.date, datetime.time, datetime.timedelta),
)


def check_encoder(encoder):
    """Raise a ValueError if the parameter `encoder` is not "auto", a transformer or None."""
    is_auto = isinstance(encoder, str) and encoder == "auto"
    if not (is_auto or encoder is None or (hasattr(encoder, "fit_transform") and not isinstance(encoder, type))):
        raise ValueError(
            'encoder must be "auto", None, or a transformer with fit_transform, such as a ColumnTransformer or a '
            f"TableVectorizer of skrub; got {encoder!r}."
        )


def encode(encoder, X, y, net):
    """Return `X` as the scoring net and the held-out models get it, and the encoder that was fitted to `X`.

    Parameters
    ----------
    encoder : "auto", transformer or None
    X : container of rows
    y : ndarray of shape (n_rows,)
        Labels, for encoders that use them.
    net : NeuralNetClassifier or None
        The scoring net, or None for the built-in one. With ``"auto"``, a net of the user gets encoded tables only if they
        have columns that are not numeric. It gets everything as it is if its dataset is not that of skorch.

    Returns
    -------
    X_encoded : same type as `X` if nothing was encoded, otherwise what the encoder returns
    encoder : transformer or None
        A fitted clone. None if nothing was encoded.
    """
    is_auto = isinstance(encoder, str)
    if is_auto:
        encoder = _choose_encoder(X, net)
    if encoder is None:
        return X, None
    X = checkable(X) if is_auto else X
    encoder = clone(encoder)
    # Arrays, whatever output the user has chosen for transformers. Columns without values have no mean.
    with config_context(transform_output="default"), np.errstate(invalid="ignore"):
        return encoder.fit_transform(X, y), encoder


def _choose_encoder(X, net):
    """Return the transformer that ``encoder="auto"`` stands for, or None if the net can take `X` as it is."""
    if not is_matrix(X) or (isinstance(X, Mapping) and not sparse.issparse(X)):
        return None
    if isinstance(X, list) and not is_numeric(X):  # its rows may be the words of texts
        return None
    if net is not None and (net.dataset is not skorch.dataset.Dataset or net.get_params_for("dataset")):
        return None
    if _has_words(X, categories=net is None):
        return _make_table_encoder()
    if net is None and _has_missing(X):
        return SimpleImputer(add_indicator=True, keep_empty_features=True)
    return None


def _has_words(X, categories):
    """Return whether a table or matrix has values that are no numbers, or, if asked for, categories."""
    columns = columns_of(X)
    if columns is not None:
        return any(not is_number(column) or (categories and _is_category(column)) for _, column in columns)
    kind = X.dtype.kind if isinstance(X, np.ndarray) else ""
    return kind in tuple("USTMm") or (kind == "O" and not is_number(X))


def is_number(column):
    """Return whether the values of a column, or of an array of objects, are real numbers, or strings of digits."""
    kind = getattr(getattr(column, "dtype", None), "kind", None)
    if kind is None:  # columns of polars and pyarrow
        some = np.asarray(column[:1])
        kind = some.dtype.kind if some.ndim == 1 else "V"
    if kind in "OUST":
        values = np.asarray(column)
        if values.size > 0 and np.ndim(values.flat[0]) > 0:  # lists of one number would convert as well
            return False
        try:
            values.astype(np.float64)
        except (TypeError, ValueError):
            return False
    return kind not in "mMcV"


def dtype_of(column):
    """Return the name of the type of a column of pandas, polars or pyarrow."""
    return str(getattr(column, "dtype", None) or column.type)


def _is_category(column):
    return dtype_of(column).startswith(("category", "dictionary"))


def _has_missing(X):
    """Return whether numbers contain nan, without a copy of an array."""
    X = check_array(checkable(X), accept_sparse=True, ensure_all_finite=False)
    values = X.data if sparse.issparse(X) else X
    if values.dtype.kind == "O":  # from polars and pyarrow
        values = values.astype(np.float64)
    return values.dtype.kind == "f" and values.size > 0 and bool(np.isnan(values.min()))


def _make_table_encoder():
    try:
        from skrub import StringEncoder, TableVectorizer
    except ImportError as error:
        raise ImportError(
            "X has columns that are not numeric, which the library skrub encodes for the scoring net. Install it with "
            'pip install "skprune[tables]", or pass a transformer of your own, ForgettingSelector(encoder=...).'
        ) from error
    words = TableVectorizer(cardinality_threshold=_N_WORDS, high_cardinality=StringEncoder(random_state=0))
    # Centered in float64, since float32 would lose the digits of large numbers that differ little.
    centered = (StandardScaler(with_std=False), make_column_selector(dtype_include="number"))
    return make_pipeline(
        FunctionTransformer(to_frame),
        make_column_transformer(centered, remainder=words),
        FunctionTransformer(_to_float32),
        SimpleImputer(add_indicator=True, keep_empty_features=True),
    )


def to_frame(X):
    """Return a table or an array as a pandas DataFrame of floats, dates, categories and objects, without its index."""
    import pandas as pd

    columns = columns_of(X) or [(number, X[:, number]) for number in range(X.shape[1])]
    repeated = [name for name, count in Counter(str(name) for name, _ in columns).items() if count > 1]
    if repeated:
        raise ValueError(f"Column names of X must be unique to be encoded, but these are repeated: {repeated}.")
    return pd.DataFrame({str(name): _to_series(name, column, pd) for name, column in columns})


def _to_series(name, column, pd):
    """Return a column as a pandas Series; raise if it can't be encoded."""
    if isinstance(getattr(column, "dtype", None), pd.ArrowDtype):
        column = column.array.__arrow_array__()
    if hasattr(column, "iloc"):
        column = column.reset_index(drop=True)
    elif hasattr(column, "chunks"):  # of pyarrow
        column = column.to_pandas(date_as_object=False)
    else:
        if getattr(column.dtype, "time_zone", None):  # of polars, whose arrays have the time in UTC
            column = column.dt.replace_time_zone(None)
        values = np.asarray(column)
        column = pd.Series(values if values.ndim == 1 else list(values))
    column = column.infer_objects()
    dtype = column.cat.categories.dtype if isinstance(column.dtype, pd.CategoricalDtype) else column.dtype
    types = set(map(type, column.dropna())) if dtype.kind == "O" and dtype.type is np.object_ else {dtype.type}
    refused = sorted(kind.__name__ for kind in types if not issubclass(kind, _ENCODABLE))
    if refused:
        raise TypeError(
            f"Column {name!r} of X can't be encoded, because it has values of type {', '.join(refused)}. Columns may contain "
            "numbers, words, categories, dates and times. Leave the column out and pass the whole table to transform, or "
            "pass a transformer that takes the column, ForgettingSelector(encoder=...)."
        )
    if pd.api.types.is_timedelta64_dtype(column.dtype):
        column = column.dt.total_seconds()
    if not _is_category(column) and is_number(column):
        column = pd.Series(column.to_numpy(dtype=np.float64, na_value=np.nan))
        if np.isinf(column).any():
            raise ValueError(
                f"Input X contains infinity, in column {name!r}. Replace it by a number or a missing value."
            )
    return column


def _to_float32(X):
    with np.errstate(over="ignore"):  # the imputer refuses what is too large
        return np.asarray(X).astype(np.float32)
