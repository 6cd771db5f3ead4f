"""A table of the rows whose labels are probably wrong."""

import numpy as np

from skprune._checks import is_matrix
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
        A DataFrame or a matrix; its columns and index are added.

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
    kept = take_rows(X, rows)
    if hasattr(kept, "iloc"):
        kept = kept.to_frame() if kept.ndim == 1 else kept
        return pd.concat([issues.set_axis(kept.index), _renamed(kept, issues)], axis=1)
    if hasattr(kept, "to_pandas"):
        kept = kept.to_pandas()
    elif is_table(kept):
        kept = kept.with_format(None)[:]
    elif is_matrix(kept) and isinstance(kept, (list, tuple)):
        kept = np.asarray(kept)
    elif isinstance(kept, (list, tuple)) or np.ndim(kept) == 1:
        kept = {"x": list(kept)}
    elif hasattr(kept, "toarray"):
        kept = kept.toarray()
    elif np.ndim(kept) > 2:
        kept = {"x": list(np.asarray(kept))}
    others = pd.DataFrame(kept)
    others = others.rename(columns=str).add_prefix("x") if is_numbered(others) else others
    return pd.concat([issues, _renamed(others, issues)], axis=1)


def _renamed(table, issues):
    """Return a table whose columns have other names than those of `issues`."""
    return table.rename(columns={name: f"{name}_of_X" for name in issues.columns})


def is_numbered(table):
    """Return whether the columns of a table have no names, but numbers from 0."""
    return list(table.columns) == list(range(table.shape[1]))
