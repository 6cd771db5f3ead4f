"""A table of the rows whose labels are probably wrong."""

import numpy as np

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
        return pd.concat([issues.set_axis(kept.index), kept], axis=1)
    if hasattr(kept, "to_pandas"):
        kept = kept.to_pandas()
    elif is_table(kept):
        kept = kept.with_format(None)[:]
    elif isinstance(kept, (list, tuple)) or np.ndim(kept) == 1:
        kept = {"x": list(kept)}
    elif hasattr(kept, "toarray"):
        kept = kept.toarray()
    elif np.ndim(kept) > 2:
        kept = {"x": list(np.asarray(kept))}
    others = pd.DataFrame(kept)
    return pd.concat([issues, others.rename(columns=str).add_prefix("x") if is_numbered(others) else others], axis=1)


def is_numbered(table):
    """Return whether the columns of a table have no names, but numbers from 0."""
    return list(table.columns) == list(range(table.shape[1]))
