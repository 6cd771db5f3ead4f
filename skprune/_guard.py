"""Warnings of what is kept that will probably do harm."""

import warnings

import numpy as np

# Placeholder threshold, to be replaced by measurement.
_MAX_SUSPECTS = 0.3


class PruningWarning(UserWarning):
    """What is kept is probably not what was meant, or will do harm.

    See Also
    --------
    select_rows : Says when it warns.

    Examples
    --------
    >>> import warnings
    >>> from skprune import PruningWarning, select_rows
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", PruningWarning)
    ...     select_rows([2, 0, 1], k=10)
    array([0, 1, 2])
    """


def warn_of_harm(scores, kept, y, strategy, stacklevel):
    """Warn if the scores tell rows not apart, or if what they chose is in large part suspect.

    Parameters
    ----------
    scores : ForgettingScores
    kept : ndarray of shape (n_keep,), int64
    y : array-like of shape (n_rows,), or None
    strategy : str or callable
        With ``"random"``, which does not look at scores, nothing can be wrong with them.
    stacklevel : int
        As of `warnings.warn`, for a direct caller.
    """
    if strategy == "random" or len(kept) == len(scores):
        return
    message = _no_information(scores, y) or _many_suspects(scores.margins, kept)
    if message:
        warnings.warn(message, PruningWarning, stacklevel=stacklevel + 1)


def _no_information(scores, y):
    remedy = (
        "Rows that are chosen by them are as good as drawn at random. Let the scoring net learn more, by more max_epochs, "
        "another lr or scaled features, or use strategy='random'."
    )
    if _is_constant(scores.events) and _is_constant(scores.margins):
        return f"The scores carry no information: they are the same for all {len(scores)} rows. {remedy}"
    if y is None:
        return None
    accuracy, largest = scores.last_accuracy(), np.unique(y, return_counts=True)[1].max() / len(scores)
    if accuracy <= largest < 1:  # false for an unknown accuracy, which is nan
        return (
            f"The scores carry no information: the net that made them was right on {accuracy:.1%} of the rows when it saw them "
            f"last, and who always names the largest class is right on {largest:.1%}. {remedy}"
        )
    return None


def _many_suspects(margins, kept):
    share, overall = np.mean(margins[kept] < 0), np.mean(margins < 0)
    if share <= max(_MAX_SUSPECTS, overall):
        return None
    return (
        f"{share:.0%} of the {len(kept)} rows kept are suspects, on which the scoring net disagreed with the label on average "
        f"(mean margin below 0), as it did on {overall:.0%} of all rows. They usually have wrong labels or lie where classes "
        "overlap, and a classifier trained on many of them usually does worse than on random rows. Use strategy='coverage', "
        "which keeps suspects last, or search over strategy and k with GridSearchCV."
    )


def _is_constant(values):
    """Tell whether all are equal, or all unknown."""
    return bool(np.isnan(values).all()) or np.ptp(values) == 0
