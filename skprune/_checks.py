"""What is wrong with X and y, before any net sees them."""

from collections.abc import Mapping

import numpy as np
import torch
from scipy import sparse
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d
from torch.utils.data import Dataset

from skprune._rows import count_rows, is_table, take_rows


def check_labels(y, name):
    """Return labels as a one-dimensional array; raise if they are not class labels.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
    name : str
        Name of the estimator, for the message.

    Returns
    -------
    y : ndarray of shape (n_rows,)
    """
    if y is None:
        raise ValueError(
            f"{name} requires y to be passed, but the target y is None. "
            "Whether a row is forgotten depends on its label."
        )
    _refuse_masked(y, "y")
    _refuse_several(y)
    is_list = isinstance(y, (list, tuple))
    # numpy would turn all labels of a list into strings if one is a string.
    y = column_or_1d(np.array(y, dtype=object) if is_list else checkable(y), warn=True)
    if len(y) == 0:
        raise ValueError("Found array with 0 sample(s) while a minimum of 2 is required.")
    if y.dtype.kind == "O":
        labels = _of_one_type(y.tolist())
        y = labels if is_list or labels.dtype.kind in "biuf" else y
    if y.dtype.kind in "mM" and np.isnat(y).any():
        raise ValueError(
            f"Input y contains NaT, in {np.isnat(y).sum()} of {len(y)} rows. Leave these rows out of X and y."
        )
    if y.dtype.kind == "f":
        assert_all_finite(y, input_name="y")
    check_classification_targets(y)
    return y


def refuse_params(params, name):
    """Raise a TypeError for parameters that `fit` does not have, and say where weights belong."""
    if "sample_weight" in params:
        raise TypeError(
            f"{name}.fit got sample_weight, but it judges rows by their labels and uses no weights. They belong to the "
            "classifier behind it: pipe.fit(X, y, clf__sample_weight=weights) if this is its name in a skprune.Pipeline, which "
            "cuts the weights along with the rows. With metadata routing, call clf.set_fit_request(sample_weight=True)."
        )
    for param in params:
        raise TypeError(f"{name}.fit() got an unexpected keyword argument {param!r}")


def check_lengths(X, y):
    """Raise if rows of X can't be indexed, or X and y differ in length."""
    _refuse_masked(X, "X")
    if isinstance(X, torch.Tensor) and X.layout is not torch.strided:
        raise TypeError(
            f"X is a tensor with layout {X.layout}, whose rows can't be indexed. Use X.to_dense() or a scipy sparse matrix."
        )
    if count_rows(X) != len(y):
        raise ValueError(f"Found input variables with inconsistent numbers of samples: {[count_rows(X), len(y)]}")
    if is_matrix(X) and 0 in getattr(X, "shape", ()):
        raise ValueError(f"Found array with 0 feature(s) (shape={X.shape}) while a minimum of 1 is required.")


def check_is_matrix(X):
    """Raise if X is no matrix of numbers, which the built-in net takes, but another container, images or texts."""
    if is_table(X) or isinstance(X, Dataset) or (isinstance(X, Mapping) and not sparse.issparse(X)):
        raise TypeError(_not_a_matrix(f"a {type(X).__name__}", "embeddings"))
    if sparse.issparse(X) or hasattr(X, "columns"):
        return
    row = checkable(take_rows(X, np.array([0])))
    try:
        row = np.asarray(row)
    except ValueError:  # its parts differ in shape, which scikit-learn's check explains
        return
    if row.ndim > 2:
        raise ValueError(_not_a_matrix(f"rows of shape {row.shape[1:]}", "X.reshape(len(X), -1) or embeddings"))
    if row.dtype.kind in "USV" or (row.ndim == 1 and np.asarray(row.tolist()).dtype.kind not in "biufc"):
        what, kind = "rows" if row.ndim == 1 else "values", type(row.ravel().tolist()[0]).__name__
        raise ValueError(_not_a_matrix(f"{what} of type {kind}", "the output of a vectorizer or embeddings"))


def _not_a_matrix(given, example):
    return (
        f"The built-in scoring net takes a matrix of numbers, got {given}. Pass a net that takes such rows, "
        "ForgettingSelector(net), a transformer that makes numbers of them, ForgettingSelector(encoder=...), scores computed "
        "elsewhere, fit(..., forgetting_scores=...), or an array with numbers for each row, such as "
        f"{example}."
    )


def checkable(X):
    """Return a tensor as an array, a sparse matrix in a form that scikit-learn's checks accept, and anything else unchanged.

    The checks leave a tensor as it is if scikit-learn's array API dispatch is on.
    """
    if sparse.issparse(X):
        return X.tocsr()
    if not isinstance(X, torch.Tensor):
        return X
    X = X.detach().cpu()
    return (X.float() if X.is_floating_point() and X.itemsize < 4 else X).numpy()  # numpy has no bfloat16


def _refuse_masked(data, name):
    parts = data.values() if isinstance(data, Mapping) and not sparse.issparse(data) else [data]
    if any(isinstance(part, np.ma.MaskedArray) and np.ma.is_masked(part) for part in parts):
        raise ValueError(
            f"{name} is a masked array with masked entries, which the scoring net can't use. Fill them in, with "
            f"{name}.filled(...) or an imputer on {name}.filled(np.nan), or leave their rows out."
        )


def _refuse_several(y):
    """Raise if rows have several labels, or one label in several columns."""
    try:
        columns = y.toarray() if sparse.issparse(y) else np.asarray(checkable(y))
    except ValueError:  # lists that differ in length
        columns = np.array(y, dtype=object)
    if columns.ndim == 2 and columns.shape[1] > 1:
        given = f"{columns.shape[1]} columns"
        y_2d = "y.toarray()" if sparse.issparse(y) else "np.asarray(y)" if isinstance(y, (list, tuple)) else "y"
        if columns.dtype.kind == "f" and (columns % 1 != 0).any():
            raise ValueError(
                f"y must have one label per row, got {given} of numbers. skprune is for classification alone."
            )
        if columns.dtype.kind not in "biuf" and isinstance(y, (list, tuple)):  # as many words in each row
            y_2d = "MultiLabelBinarizer().fit_transform(y)"
        if columns.dtype.kind in "biuf" and ((columns != 0).sum(1) == 1).all() and (columns.sum(1) == 1).all():
            raise ValueError(
                f"y must have one label per row, got {given}. Each row has a single 1: pass np.argmax({y_2d}, axis=1)."
            )
    elif columns.dtype.kind == "O" and any(isinstance(label, (list, tuple, set, np.ndarray)) for label in columns.flat):
        given, y_2d = "several labels in a row", "MultiLabelBinarizer().fit_transform(y)"
    else:
        return
    raise ValueError(
        f"y must have one label per row, got {given}. To prune for each column of labels, use MultiOutputClassifier(pipe)"
        f".fit(X, {y_2d}), where pipe is a skprune.Pipeline of a selector and a classifier."
    )


def _of_one_type(labels):
    """Return a list of labels as an array; raise for numbers or None among strings."""
    types = {"str" if isinstance(label, str) else type(label).__name__ for label in labels}
    array = np.asarray(labels)
    if len(types) > 1 and array.dtype.kind not in "biuf":
        raise ValueError(
            f"The labels in y have mixed types: {', '.join(sorted(types))}. Leave rows without a label out of X and y, and "
            "convert the others to one type, for example with astype(str)."
        )
    return array


def is_matrix(X):
    """Return whether `X` is two-dimensional. A list of lists of numbers is, too."""
    if isinstance(X, list):
        return len(X) > 0 and isinstance(X[0], (list, tuple, np.ndarray)) and np.ndim(X[0]) == 1
    # A datasets.Dataset has columns of any kind; they are no features, and others may stand for the same rows.
    return len(getattr(X, "shape", ())) == 2 and not is_table(X)
