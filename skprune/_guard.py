"""Warnings about kept rows that will probably do harm."""

import warnings
from collections import Counter

import numpy as np

# There is a warning if the share of suspects among the kept rows is larger than this, and larger than this many times
# their share of all rows. The report of `python -m benchmarks.quality` says what these values warn about.
_MAX_SUSPECTS, _MAX_GROWTH = 0.2, 1.2
# How far the accuracy of the scoring net on its own training rows may lie below that of simple models on held-out rows.
_MAX_SHORTFALL = 0.1


class PruningWarning(UserWarning):
    """Warning that the kept rows will probably do harm, or are not what was meant.

    See Also
    --------
    select_rows : Its documentation lists the reasons that concern the selection of rows.

    Notes
    -----
    Other reasons are that all of several runs start from the same weights, that runs were trained in this process because
    a worker of `n_jobs` might have trained another net, that a finished run could not be stored in `memory`, and that the
    training of a transformers `Trainer` ended before an epoch was completed or resumed from a checkpoint without scores.

    Examples
    --------
    >>> import warnings
    >>> from skprune import PruningWarning, select_rows
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", PruningWarning)
    ...     select_rows([2, 0, 1], k=10)
    array([0, 1, 2])
    """


def warn_of_harm(scores, kept, y, strategy, tie_break, balance, stacklevel):
    """Warn if the scores say little, if many of the kept rows are suspects, or if a class is lost.

    Parameters
    ----------
    scores : ForgettingScores
    kept : ndarray of shape (n_keep,), int64
    y : array-like of shape (n_rows,), or None
    strategy : str or callable
        With ``"random"``, which ignores the scores, there is no warning about them. What a callable reads is unknown.
    tie_break : str
    balance : bool
    stacklevel : int
        As in `warnings.warn`, counted from the caller of this function.
    """
    if len(kept) == len(scores):
        return
    messages = [_lost_classes(y, kept, balance)]
    if strategy != "random":
        no_information = None
        if not callable(strategy):
            no_information = _no_information(scores, y, strategy == "coverage" or tie_break == "margin")
        messages.append(no_information or _weak_net(scores) or _many_suspects(scores.suspects, kept))
    for message in filter(None, messages):
        warnings.warn(message, PruningWarning, stacklevel=stacklevel + 1)


def _lost_classes(y, kept, balance):
    if y is None:
        return None
    y = np.asarray(y)
    sizes, left = _count(y), _count(y[kept])
    n_lost = sum(size > 2 and left.get(label, 0) < 2 for label, size in sizes.items())
    if n_lost == 0:
        return None
    remedy = "" if balance else "balance=True, which keeps the same share of every class, or "
    return (
        f"{n_lost} of {len(sizes)} classes would have at most one row left among the {len(kept)} rows kept, so a classifier "
        f"can't learn them. Use {remedy}a larger k."
    )


def _count(y):
    """Return the number of rows of each class that is in `y`."""
    if y.dtype.kind in "iu" and y.min() >= 0 and y.max() < len(y):  # class numbers, which need no sorting
        return {label: size for label, size in enumerate(np.bincount(y).tolist()) if size}
    if y.dtype.kind == "O":  # labels may not be sortable
        return Counter(y.tolist())
    return dict(zip(*(part.tolist() for part in np.unique(y, return_counts=True)), strict=True))


def _weak_net(scores):
    accuracy = scores.last_accuracy()
    if not scores.attainable > accuracy + _MAX_SHORTFALL:
        return None
    return (
        f"The scoring net was right on {accuracy:.0%} of its own training rows, but simple models are right on "
        f"{scores.attainable:.0%} of held-out rows. The scores of the net say little about the rows. Train it longer, scale the "
        "features, or pass a net that fits the data better."
    )


def _no_information(scores, y, reads_margins):
    remedy = (
        "Rows selected by them are no better than random rows. Train the scoring net longer, with more max_epochs, "
        "another lr or scaled features, or use strategy='random'."
    )
    read = [scores.events, scores.never_learned] + [scores.margins] * reads_margins
    if all(_is_constant(values) for values in read):
        margins = "" if reads_margins else ", except for the margins, which tie_break='random' ignores"
        return f"The scores carry no information: they are equal for all {len(scores)} rows{margins}. {remedy}"
    accuracy = scores.last_accuracy()
    if y is None or np.isnan(accuracy):
        return None
    sizes = _count(np.asarray(y)[scores.presentations > 0]).values()
    largest = max(sizes) / sum(sizes)
    if accuracy <= largest < 1:
        return (
            f"The scores carry no information: the scoring net was right on {accuracy:.1%} of the rows at their last "
            f"presentation, and a classifier that always predicts the largest class is right on {largest:.1%}. {remedy}"
        )
    return None


def _many_suspects(suspects, kept):
    share, overall = np.mean(suspects[kept]), np.mean(suspects)
    if share <= max(_MAX_SUSPECTS, _MAX_GROWTH * overall):
        return None
    return (
        f"{share:.0%} of the {len(kept)} rows kept are suspects, whose labels are probably wrong; among all rows there are "
        f"{overall:.0%}. A classifier trained on many suspects is usually worse than one trained on random rows. Use "
        "strategy='coverage', which drops suspects first, or search over strategy and k with GridSearchCV."
    )


def _is_constant(values):
    """Return whether all values are equal, or all are unknown."""
    return bool(np.isnan(values).all()) or values.min() == values.max()
