"""Warnings of what is kept that will probably do harm."""

import warnings
from collections import Counter

import numpy as np

# More suspects among what is kept than this, and than this many times their share of all rows, are warned of. Set by
# `python -m benchmarks.quality`, whose report tells what was warned of and how it went.
_MAX_SUSPECTS, _MAX_GROWTH = 0.2, 1.2


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


def warn_of_harm(scores, kept, y, strategy, tie_break, stacklevel):
    """Warn if the scores tell rows not apart, or if what they chose is in large part suspect.

    Parameters
    ----------
    scores : ForgettingScores
    kept : ndarray of shape (n_keep,), int64
    y : array-like of shape (n_rows,), or None
    strategy : str or callable
        With ``"random"``, which does not look at scores, nothing can be wrong with them; of a callable it is not
        known what it looks at.
    tie_break : str
    stacklevel : int
        As of `warnings.warn`, for a direct caller.
    """
    if strategy == "random" or len(kept) == len(scores):
        return
    message = _many_suspects(scores.margins, kept)
    if not callable(strategy):
        message = _no_information(scores, y, strategy == "coverage" or tie_break == "margin") or message
    if message:
        warnings.warn(message, PruningWarning, stacklevel=stacklevel + 1)


def _no_information(scores, y, reads_margins):
    remedy = (
        "Rows that are chosen by them are as good as drawn at random. Let the scoring net learn more, by more max_epochs, "
        "another lr or scaled features, or use strategy='random'."
    )
    read = [scores.events, scores.never_learned] + [scores.margins] * reads_margins
    if all(_is_constant(values) for values in read):
        margins = "" if reads_margins else ", but for margins, which tie_break='random' leaves unread"
        return f"The scores carry no information: they are the same for all {len(scores)} rows{margins}. {remedy}"
    accuracy = scores.last_accuracy()
    if y is None or np.isnan(accuracy):
        return None
    sizes = _class_sizes(np.asarray(y)[scores.presentations > 0])
    largest = max(sizes) / sum(sizes)
    if accuracy <= largest < 1:
        return (
            f"The scores carry no information: the net that made them was right on {accuracy:.1%} of the rows when it saw them "
            f"last, and who always names the largest class is right on {largest:.1%}. {remedy}"
        )
    return None


def _class_sizes(y):
    if y.dtype.kind in "iu" and y.min() >= 0 and y.max() < len(y):
        return np.bincount(y)  # much faster
    return Counter(y.tolist()).values()


def _many_suspects(margins, kept):
    share, overall = np.mean(margins[kept] < 0), np.mean(margins < 0)
    if share <= max(_MAX_SUSPECTS, _MAX_GROWTH * overall):
        return None
    return (
        f"{share:.0%} of the {len(kept)} rows kept are suspects, on which the scoring net disagreed with the label on average "
        f"(mean margin below 0), as it did on {overall:.0%} of all rows. They usually have wrong labels or lie where classes "
        "overlap, and a classifier trained on many of them usually does worse than on random rows. Use strategy='coverage', "
        "which keeps suspects last, or search over strategy and k with GridSearchCV."
    )


def _is_constant(values):
    """Tell whether all are equal, or all unknown."""
    return bool(np.isnan(values).all()) or values.min() == values.max()
