"""When to warn, and at which line."""

import inspect
import re
import warnings
from typing import Any

import numpy as np

from skprune.exceptions import PruningWarning

# There is a warning if the share of suspects among the kept rows is larger than this, and larger than this many times
# their share of all rows. The report of `python -m benchmarks.quality` says what these values warn about.
_MAX_SUSPECTS, _MAX_GROWTH = 0.2, 1.2
# How far the accuracy of the scoring net on its own training rows may lie below that of simple models on held-out rows.
_MAX_SHORTFALL = 0.1
# How many classes a message names.
_MAX_NAMES = 10
# A warning names the first line outside of these modules, which is the user's.
_LIBRARIES = {"skprune", "sklearn", "imblearn", "joblib", "skorch", "transformers", "contextlib", "functools"}

_shown: set[tuple[str, type, str, int]] = set()


def warn(message, category=PruningWarning):
    """Warn at the line of the user's code that called one of these libraries, once for each text.

    A search fits many clones, which give the same warning. Python would show it for each, because scikit-learn changes the
    filters in between, and Python then forgets what it has shown. Filters that the user has set for such warnings are obeyed.
    """
    frame: Any = inspect.currentframe()
    stacklevel = 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _LIBRARIES:
        frame, stacklevel = frame.f_back, stacklevel + 1
    is_filtered = any(
        issubclass(category, filtered) and (pattern is None or re.match(pattern, message))
        for _, pattern, filtered, *_ in warnings.filters
    )
    key = (message, category, frame.f_code.co_filename, frame.f_lineno)
    if is_filtered or key not in _shown:
        _shown.add(key)
        warnings.warn(message, category, stacklevel=stacklevel)


def warn_of_harm(scores, kept, classes, codes, strategy, tie_break, balance):
    """Warn if the scores say little, if many of the kept rows are suspects, or if a class is lost.

    `codes` has the position of the label of each row in the list `classes`, if labels are known. The strategy ``"random"``
    ignores the scores, and what a callable reads is unknown.
    """
    if len(kept) == len(scores):
        return
    messages = [] if codes is None else [_lost_classes(classes, codes, kept, balance)]
    if strategy != "random":
        no_information = None
        if not callable(strategy):
            no_information = _no_information(scores, codes, strategy == "coverage" or tie_break == "margin")
        messages.append(no_information or _weak_net(scores) or _many_suspects(scores.suspects, kept))
    for message in filter(None, messages):
        warn(message)


def _lost_classes(classes, codes, kept, balance):
    sizes = np.bincount(codes, minlength=len(classes))
    left = np.bincount(codes[kept], minlength=len(classes))
    # If there are fewer rows than classes, no strategy can keep a row of each.
    is_lost = left == 0 if len(kept) < len(classes) else (left < 2) & (sizes > 2)
    if not is_lost.any():
        return None
    lost = np.flatnonzero(is_lost)
    names = ", ".join(repr(classes[code]) for code in lost[:_MAX_NAMES]) + ", ..." * (len(lost) > _MAX_NAMES)
    if len(kept) < len(classes):
        return f"{len(lost)} of {len(classes)} classes vanish, because only {len(kept)} rows are kept: {names}. Use a larger k."
    remedy = "" if balance else "balance=True, which keeps the same share of every class, or "
    return (
        f"{len(lost)} of {len(classes)} classes would have at most one row left among the {len(kept)} rows kept, so a classifier "
        f"can't learn them: {names}. Use {remedy}a larger k."
    )


def _weak_net(scores):
    accuracy = scores.last_accuracy()
    if not scores.attainable > accuracy + _MAX_SHORTFALL:
        return None
    return (
        f"The scoring net was right on {accuracy:.0%} of its own training rows, but simple models are right on "
        f"{scores.attainable:.0%} of held-out rows. The scores of the net say little about the rows. Train it longer, scale the "
        "features, or pass a net that fits the data better."
    )


def _no_information(scores, codes, reads_margins):
    remedy = (
        "Rows selected by them are no better than random rows. Train the scoring net longer, with more max_epochs, "
        "another lr or scaled features, or use strategy='random'."
    )
    read = [scores.events, scores.never_learned] + [scores.margins] * reads_margins
    if all(_is_constant(values) for values in read):
        margins = "" if reads_margins else ", except for the margins, which tie_break='random' ignores"
        return f"The scores carry no information: they are equal for all {len(scores)} rows{margins}. {remedy}"
    accuracy = scores.last_accuracy()
    if codes is None or np.isnan(accuracy):
        return None
    sizes = np.bincount(codes[scores.presentations > 0])
    largest = sizes.max() / sizes.sum()
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
