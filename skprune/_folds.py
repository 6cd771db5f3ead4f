"""Fits of several candidates on folds, whose failures and warnings are reported once."""

import re
import threading
import traceback
import warnings
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import cross_val_score

from skprune._warnings import warn
from skprune.exceptions import PruningWarning


class Fold(NamedTuple):
    """What became of a fit: its score, the PruningWarnings that it gave, and its traceback if it failed."""

    score: float
    warned: list[str]
    failure: str | None


def score_fold(estimator, X, y, split, scoring):
    """Fit on one fold and score; never fail."""
    # Threads share their filters of warnings, which must hence be changed by the main one alone.
    collect = threading.current_thread() is threading.main_thread()
    score, failure = np.nan, None
    with warnings.catch_warnings(record=True) if collect else nullcontext([]) as caught:
        if collect:
            warnings.simplefilter("always", PruningWarning)
        try:
            (score,) = cross_val_score(estimator, X, y, cv=[split], scoring=scoring, error_score="raise")
        except Exception:
            failure = traceback.format_exc()
    warned = []
    for warning in caught:
        if issubclass(warning.category, PruningWarning):
            warned.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return Fold(score, warned, failure)


def warn_once(candidates, outcomes):
    """Sum up the failures and warnings of all fits; raise a ValueError if all failed."""
    n_fits = len(outcomes) * len(outcomes[0])
    where, failures = _gather(candidates, [[fold.failure for fold in folds] for folds in outcomes])
    if len(failures) == n_fits:
        raise ValueError(f"All {n_fits} fits failed. The first one:\n{failures[0]}")
    if failures:
        message = (
            f"{len(failures)} of {n_fits} fits failed, and their scores are nan: {where}. The first:\n{failures[0]}"
        )
        warn(message, FitFailedWarning)
    where, warned = _gather(candidates, [[fold.warned for fold in folds] for folds in outcomes])
    if warned:
        # One message of each kind: they differ in their numbers.
        kinds = {re.sub(r"\d+", "", message): message for messages in warned for message in messages}
        message = f"{len(warned)} of {n_fits} fits gave warnings: {where}. For example: {' '.join(kinds.values())}"
        warn(message)


def _gather(candidates, happened):
    """Return which candidates something happened to, in how many folds, and all that happened."""
    where = []
    for candidate, folds in zip(candidates, happened, strict=True):
        if any(folds):
            name = f"{name_of(candidate['strategy'])}, k={candidate['k']}" if "strategy" in candidate else "all rows"
            where.append(f"{name} ({sum(map(bool, folds))} of {len(folds)} folds)")
    return "; ".join(where), [what for folds in happened for what in folds if what]


def name_of(strategy):
    """Return the name of a strategy, which may be a callable."""
    return strategy if isinstance(strategy, str) else getattr(strategy, "__name__", repr(strategy))
