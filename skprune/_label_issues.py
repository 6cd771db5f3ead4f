"""A table of the rows whose labels are probably wrong."""

from collections.abc import Mapping

import numpy as np
from scipy import sparse
from torch.utils.data import Dataset

from skprune._checks import checkable, is_matrix
from skprune._rows import is_table, take_rows


def make_table(rows, labels, likely_labels, trust, X=None):
    """Return a DataFrame of suspects, the least trusted first.

    Parameters
    ----------
    rows : ndarray of shape (n_suspects,), int64
        Row numbers.
    labels, likely_labels : ndarray of shape (n_rows,)
    trust : ndarray of shape (n_rows,), float64
    X : container with n_rows rows, default=None
        Its columns and its index are added.

    Returns
    -------
    issues : pandas.DataFrame
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("label_issues returns a DataFrame and requires pandas: pip install pandas.") from error
    rows = rows[np.argsort(trust[rows], kind="stable")]
    columns = {"row": rows, "label": labels[rows], "likely_label": likely_labels[rows], "trust": trust[rows]}
    issues = pd.DataFrame(columns)
    if X is None:
        return issues
    kept = pd.DataFrame(_kept_columns(X, rows))
    if hasattr(X, "iloc"):
        issues = issues.set_axis(kept.index)
    elif is_numbered(kept):
        kept = kept.rename(columns=str).add_prefix("x")
    return pd.concat([issues, _renamed(kept, issues)], axis=1)


def _kept_columns(X, rows):
    """Return some rows of `X` in a form of which pandas makes columns."""
    if isinstance(X, Dataset):
        raise TypeError(
            f"label_issues can't make columns of a {type(X).__name__}, whose samples may be pictures. Pass something that names "
            "its rows, such as a list of file names, or nothing: the column 'row' then has the row numbers."
        )
    if isinstance(X, Mapping) and not sparse.issparse(X):
        return {name: checkable(take_rows(values, rows)) for name, values in X.items() if _is_column(values)}
    kept = checkable(take_rows(X, rows))
    if hasattr(kept, "iloc"):
        return kept.to_frame() if kept.ndim == 1 else kept
    if is_table(kept):  # which has to_pandas as well, but leaves pictures encoded there
        return kept.with_format(None)[:]
    if hasattr(kept, "to_pandas"):
        return kept.to_pandas()
    if hasattr(kept, "toarray"):
        return kept.toarray()
    if isinstance(kept, np.ndarray) and kept.ndim == 2:
        return kept
    is_even = isinstance(kept, list) and is_matrix(kept) and len(set(map(len, kept))) == 1
    return np.asarray(kept) if is_even else {"x": list(kept)}


def _is_column(values):
    """Return whether the entries of a part of a mapping are no arrays or lists."""
    if isinstance(values, (list, tuple)):
        return np.ndim(values[0]) == 0
    return not isinstance(values, Mapping) and len(np.shape(values)) == 1


def _renamed(table, issues):
    """Return a table whose columns have other names than those of `issues`."""
    return table.rename(columns={name: f"{name}_of_X" for name in issues.columns})


def is_numbered(table):
    """Return whether the columns of a table have no names, but numbers from 0."""
    return list(table.columns) == list(range(table.shape[1]))
