"""What is wrong with X and y, before any net sees them."""

from collections.abc import Mapping

import numpy as np
import torch
from scipy import sparse
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d
from torch.utils.data import Dataset

from skprune._rows import count_rows, is_table


def check_labels(y, name):
    """Return labels as an array of one dimension; refuse those that are no class labels.

    Parameters
    ----------
    y : array-like of shape (n_rows,)
    name : str
        Of the estimator, for the message.

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
    is_list = isinstance(y, (list, tuple))
    # Of a list numpy would make strings of all where some are.
    y = column_or_1d(np.array(y, dtype=object) if is_list else checkable(y), warn=True)
    if len(y) == 0:
        raise ValueError("Found array with 0 sample(s) while a minimum of 2 is required.")
    if y.dtype.kind == "O":
        labels = _of_one_type(y.tolist())
        y = labels if is_list or labels.dtype.kind in "biuf" else y
    if y.dtype.kind in "mM" and np.isnat(y).any():
        raise ValueError(f"Input y contains NaT, in {np.isnat(y).sum()} of {len(y)} rows. Leave these out of X and y.")
    if y.dtype.kind == "f":
        assert_all_finite(y, input_name="y")
    check_classification_targets(y)
    return y


def check_is_matrix(X):
    """Raise a TypeError if X is a container that the built-in net can't read."""
    if is_table(X) or isinstance(X, Dataset) or (isinstance(X, Mapping) and not sparse.issparse(X)):
        raise TypeError(
            f"The built-in scoring net takes a matrix of numbers, got a {type(X).__name__}. Give a net for its columns, "
            "ForgettingSelector(net), scores computed elsewhere, fit(..., forgetting_scores=...), or an array of numbers "
            "that stand for the rows, such as embeddings."
        )


def check_rows(X, y):
    """Raise if rows of X can't be looked up, or are not as many as labels."""
    _refuse_masked(X, "X")
    if isinstance(X, torch.Tensor) and X.layout is not torch.strided:
        raise TypeError(
            f"X is a tensor of the layout {X.layout}, which has no rows to be looked up. Use X.to_dense() or a scipy sparse "
            "matrix."
        )
    if count_rows(X) != len(y):
        raise ValueError(f"Found input variables with inconsistent numbers of samples: {[count_rows(X), len(y)]}")
    if is_matrix(X) and 0 in getattr(X, "shape", ()):
        raise ValueError(f"Found array with 0 feature(s) (shape={X.shape}) while a minimum of 1 is required.")


def checkable(X):
    """Return a tensor or sparse matrix in a form that scikit-learn's checks take; anything else as it is."""
    if sparse.issparse(X):
        return X.tocsr()
    if not isinstance(X, torch.Tensor):
        return X
    X = X.detach().cpu()
    return X.float() if X.is_floating_point() and X.itemsize < 4 else X  # numpy has no bfloat16


def _refuse_masked(data, name):
    parts = data.values() if isinstance(data, Mapping) and not sparse.issparse(data) else [data]
    if any(isinstance(part, np.ma.MaskedArray) and np.ma.is_masked(part) for part in parts):
        raise ValueError(
            f"{name} is a masked array with masked entries, of which the scoring net knows nothing. Fill them in, with "
            f"{name}.filled(...) or an imputer on {name}.filled(np.nan), or leave their rows out."
        )


def _of_one_type(labels):
    """Return a list of labels as an array; refuse lists of labels, and numbers or None among strings."""
    types = {"str" if isinstance(label, str) else type(label).__name__ for label in labels}
    if types & {"list", "tuple", "set", "ndarray"}:
        raise ValueError(
            f"y needs one label a row, got a {' and a '.join(sorted(types))}: several labels a row have no margin."
        )
    array = np.asarray(labels)
    if len(types) > 1 and array.dtype.kind not in "biuf":
        raise ValueError(
            f"The labels in y are of mixed types: {', '.join(sorted(types))}. Leave rows without a label out of X and y, and "
            "make the others of one type, as with astype(str)."
        )
    return array


def is_matrix(X):
    """Tell whether `X` is two-dimensional, as a list of lists of numbers is."""
    if isinstance(X, list):
        return len(X) > 0 and isinstance(X[0], (list, tuple, np.ndarray)) and np.ndim(X[0]) == 1
    # A datasets.Dataset has columns of any kind; they are no features, and others may stand for the same rows.
    return len(getattr(X, "shape", ())) == 2 and not is_table(X)
