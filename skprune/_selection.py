"""From scores to row numbers."""

import math
import numbers
import warnings
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from skprune._guard import PruningWarning, warn_of_harm
from skprune._scores import ForgettingScores, ScoresLike, as_scores

Strategy = str | Callable[[ForgettingScores, int, np.random.Generator], ArrayLike]
NEVER_LEARNED = ("drop", "count", "max")
TIE_BREAKS = ("margin", "random")


def select_rows(
    scores: ScoresLike,
    k: float,
    *,
    y: ArrayLike | None = None,
    strategy: Strategy = "coverage",
    never_learned: str = "drop",
    tie_break: str = "margin",
    balance: bool = False,
    random_state: int | np.random.RandomState | None = None,
) -> NDArray[np.int64]:
    """Select the rows to keep by their forgetting scores.

    Parameters
    ----------
    scores : ForgettingScores or array-like of shape (n_rows,)
        Scores of the rows. In an array, larger numbers mean that a row is forgotten more often. Ties are then broken at
        random, because an array has no margins.
    k : float in (0, 1] or int >= 1
        How much to keep. If float, the share of rows, rounded up by the decimal digits of `k`: 0.55 of 100 rows are 55.
        If int, the number of rows.
    y : array-like of shape (n_rows,), default=None
        Class labels. Required if `balance` is True. If given, there is also a warning if the net that made the scores
        is no better than always predicting the largest class, and if a class almost disappears.
    strategy : {"coverage", "most_forgotten", "least_forgotten", "random"} or callable, default="coverage"
        Which rows are kept first. ``"coverage"`` keeps rows of every difficulty, after [2]_, and drops suspects first.
        The number of hard rows depends on the ratings that a :class:`ForgettingSelector` has computed on held-out rows.
        If there are none, as for an array or the scores of a `Trainer`, a fixed rule is used. `never_learned` and
        `tie_break` have no effect on it.
        ``"most_forgotten"`` and ``"least_forgotten"`` rank rows by their counts, and ``"random"`` draws them. A callable
        is called as ``strategy(scores, n_keep, rng)`` with a :class:`ForgettingScores`, an int and a
        `numpy.random.Generator`. It must return `n_keep` different row numbers.
    never_learned : {"drop", "count", "max"}, default="drop"
        How to rank rows that were never predicted correctly: after all learned rows (`"drop"`), by their number of
        events, which is 0 (`"count"`), or as if forgotten at every presentation (`"max"`), as in [1]_.
    tie_break : {"margin", "random"}, default="margin"
        How to rank rows with equal counts: by mean margin, with the smallest first if the most forgotten rows are
        kept and the largest first if the least forgotten are, or by a draw. Rows that are equal in both are drawn at
        random.
    balance : bool, default=False
        Whether to keep the same share of every class. The total is still exact: rows that are left after rounding
        down go to the classes with the largest remainders.
    random_state : int, RandomState instance or None, default=None
        Seed for random draws.

    Returns
    -------
    rows : ndarray of shape (n_keep,), int64
        Row numbers in ascending order.

    Raises
    ------
    ValueError
        If a parameter is out of its range, `y` is missing or has another length, a callable does not return `n_keep`
        different row numbers, or ``"coverage"`` gets the margins of some rows only.

    Warns
    -----
    PruningWarning
        If `k` is larger than the number of rows, so that all are kept. If the scores carry no information, because they
        are all equal or the net that made them learned nothing. If that net is much worse on its own training rows than
        simple models are on held-out rows. If a large share of the kept rows are suspects, and a larger share than among
        all rows. If a class of `y` with three or more rows keeps at most one. There is no warning about scores with
        ``strategy="random"`` or if all rows are kept, because the scores then have no effect.

    See Also
    --------
    ForgettingSelector : Computes the scores and calls this function.

    References
    ----------
    .. [1] M. Toneva et al., "An Empirical Study of Example Forgetting during Deep Neural Network
       Learning", ICLR 2019. https://arxiv.org/abs/1812.05159
    .. [2] H. Zheng et al., "Coverage-centric Coreset Selection for High Pruning Rates", ICLR 2023.
       https://arxiv.org/abs/2210.15809

    Examples
    --------
    >>> from skprune import select_rows
    >>> select_rows([0, 3, 1, 2], k=2, strategy="most_forgotten")
    array([1, 3])
    >>> select_rows([0, 3, 1, 2], k=0.25, strategy="least_forgotten")
    array([0])
    """
    check_selection(k, strategy, never_learned, tie_break, balance)
    scores = as_scores(scores)
    if y is not None and np.shape(y) != (len(scores),):
        raise ValueError(f"y must have one label per row, {len(scores)} in total; got shape {np.shape(y)}.")
    n_keep = count_kept(k, len(scores))
    rng = np.random.default_rng(check_random_state(random_state).randint(2**32, dtype=np.uint32))
    choose: Any = strategy
    if not callable(strategy):
        choose = partial(_STRATEGIES[strategy], never_learned=never_learned, tie_break=tie_break)
    if balance:
        kept = np.sort(np.concatenate(list(_choose_by_class(choose, scores, n_keep, y, rng, strategy))))
    else:
        kept = np.sort(_checked(choose(scores, n_keep, rng), n_keep, len(scores), strategy))
    warn_of_harm(scores, kept, y, strategy, tie_break, balance, stacklevel=2)
    return kept


def _choose_by_class(choose, scores, n_keep, y, rng, strategy):
    for rows, n_class in _class_shares(y, n_keep, len(scores)):
        chosen = choose(scores.take(rows), n_class, rng)
        yield rows[_checked(chosen, n_class, len(rows), strategy)]


def forgetting_counts(scores, never_learned):
    """Return the events of `scores`; if `"max"`, never-learned rows count as forgotten at every presentation."""
    if never_learned != "max":
        return scores.events
    return np.where(scores.never_learned, scores.presentations, scores.events)


def count_kept(k, n_rows):
    """Return how many of `n_rows` rows `k` keeps; warn if `k` is larger than `n_rows`."""
    if not isinstance(k, numbers.Integral):
        return math.ceil(Fraction(str(k)) * n_rows)  # of the decimal digits, because 0.55 is a little more in binary
    if k > n_rows:
        warnings.warn(
            f"k={k} is greater than n_samples={n_rows}: all rows are kept. Use a float, such as k=0.5, to keep a share.",
            PruningWarning,
            stacklevel=3,
        )
    return min(int(k), n_rows)


def check_selection(k, strategy, never_learned, tie_break, balance):
    """Raise a ValueError if one of the parameters that select rows is out of its range."""
    forms = "a float in (0, 1], the share of rows to keep (1.0 keeps all), or an int >= 1, the number of rows to keep"
    is_number = isinstance(k, numbers.Integral) and not isinstance(k, bool) and int(k) >= 1
    is_share = isinstance(k, numbers.Real) and not isinstance(k, numbers.Integral) and 0 < float(k) <= 1
    if not (is_share or is_number):
        raise ValueError(f"k must be {forms}; got {k!r}.")
    if not callable(strategy):
        check_choice("strategy", strategy, tuple(_STRATEGIES), " or a callable")
    check_choice("never_learned", never_learned, NEVER_LEARNED)
    check_choice("tie_break", tie_break, TIE_BREAKS)
    check_choice("balance", bool(balance) if isinstance(balance, np.bool_) else balance, (True, False))


def check_choice(name, value, choices, otherwise=""):
    """Raise a ValueError if `value` is not one of `choices`."""
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}{otherwise}; got {value!r}.")


def _most_forgotten(scores, n_keep, rng, never_learned, tie_break):
    return _by_count(scores, n_keep, rng, never_learned, tie_break, sign=-1)


def _least_forgotten(scores, n_keep, rng, never_learned, tie_break):
    return _by_count(scores, n_keep, rng, never_learned, tie_break, sign=1)


def _by_count(scores, n_keep, rng, never_learned, tie_break, sign):
    keys = [scores.never_learned] if never_learned == "drop" else []
    keys.append(sign * forgetting_counts(scores, never_learned))
    if tie_break == "margin":
        keys.append(-sign * np.nan_to_num(scores.margins))
    return _smallest(n_keep, [*keys, rng.random(len(scores))], np.arange(len(scores)))


def _random(scores, n_keep, rng, never_learned, tie_break):
    return _smallest(n_keep, [rng.random(len(scores))], np.arange(len(scores)))


def _coverage(scores, n_keep, rng, never_learned, tie_break):
    unknown = np.isnan(scores.margins)
    if unknown.all():  # only counts are known, as for an array
        return _spread(-scores.events.astype(np.float64), -np.inf, RULES[0].exponent, n_keep, rng)
    if unknown.any():
        raise ValueError(
            f"strategy='coverage' needs the margin of every row, but {unknown.sum()} of {len(unknown)} rows have none, because "
            "they were never presented. Leave them out of X and y, or use strategy='most_forgotten'."
        )
    return apply_rule(_best_rule(scores.ratings, n_keep / max(len(scores), 1)), scores, n_keep, rng)


class Rule(NamedTuple):
    """A way to distribute the kept rows over suspects and strata of difficulty.

    Parameters
    ----------
    threshold : float or None
        A row is dropped first if its trust is below ``-threshold`` times the mean trust. If None, no row is.
    exponent : float
        Each stratum of trust gets a budget proportional to this power of its size. With 0 all strata get the same, so
        that more hard rows are kept. With 1 the shares are those of random rows.
    """

    threshold: float | None
    exponent: float


# The first rule is used if there are no ratings. The last one keeps random rows.
RULES = (Rule(0.5, 0.75), Rule(0, 0.75), Rule(0, 1), Rule(1, 0.75), Rule(1, 0.5), Rule(1, 0), Rule(None, 1))
SHARES = (0.03, 0.1, 0.2, 0.35, 0.6)
# Random rows are kept unless the rating of another rule is higher by more than this.
_LEAD = 0.002


def _best_rule(ratings, share):
    """Return the rule with the best rating at the share whose logarithm is nearest to that of `share`."""
    if ratings is None:
        return RULES[0]
    if ratings.shape != (len(SHARES), len(RULES)):
        raise ValueError(
            f"The scores rate {ratings.shape[1]} rules at {ratings.shape[0]} shares, but strategy='coverage' has {len(RULES)} "
            f"at {len(SHARES)}. They were probably saved by another version of skprune: compute them again."
        )
    row = ratings[np.argmin(np.abs(np.log(np.divide(SHARES, max(share, 1e-9)))))]
    return RULES[int(np.argmax(row[:-1]))] if row[:-1].max() > row[-1] + _LEAD else RULES[-1]


# Strata as in coverage-centric selection, of equal width in trust.
_MAX_STRATA = 50
_ROWS_A_STRATUM = 10


def apply_rule(rule, scores, n_keep, rng):
    """Return the numbers of the rows that a rule keeps.

    Parameters
    ----------
    rule : Rule
    scores : ForgettingScores
    n_keep : int
    rng : numpy.random.Generator

    Returns
    -------
    rows : ndarray of shape (n_keep,), int64
        In no particular order.
    """
    threshold = -np.inf if rule.threshold is None else min(0.0, -rule.threshold * scores.mean_trust)
    return _spread(scores.trust, threshold, rule.exponent, n_keep, rng)


def _spread(trust, threshold, exponent, n_keep, rng):
    """Return `n_keep` rows: from all strata of the rows whose trust reaches a threshold, and only then the others."""
    trusted, others = np.flatnonzero(trust >= threshold), np.flatnonzero(trust < threshold)
    if n_keep >= len(trusted):
        draw = rng.random(len(trust))
        return np.concatenate([trusted, _smallest(n_keep - len(trusted), [-trust, draw], others)])
    n_strata = min(_MAX_STRATA, max(1, n_keep // _ROWS_A_STRATUM))
    edges = np.linspace(trust[trusted].min(), trust[trusted].max(), n_strata + 1)
    shuffled = rng.permutation(trusted)
    strata = np.searchsorted(edges[1:-1], trust[shuffled], side="right").astype(np.uint8)
    sizes = np.bincount(strata, minlength=n_strata)
    by_stratum = np.split(shuffled[np.argsort(strata, kind="stable")], np.cumsum(sizes)[:-1])
    budgets = _budgets(sizes, n_keep, exponent)
    return np.concatenate([rows[:budget] for rows, budget in zip(by_stratum, budgets, strict=True)])


def _budgets(sizes, n_keep, exponent):
    """Divide `n_keep` rows among strata by a power of their sizes; what a small stratum lacks goes to the others."""
    weights = np.where(sizes > 0, sizes.astype(float) ** exponent, 0)
    full = sizes == 0
    while True:
        left = n_keep - sizes[full].sum()
        budgets = np.where(full, sizes, left * weights / max(weights[~full].sum(), 1))
        if not (budgets > sizes).any():
            return _round_to_total(budgets, n_keep)
        full |= budgets >= sizes


def _round_to_total(shares, total):
    """Round shares down, except those with the largest remainders, so that they sum to `total`."""
    rounded = np.floor(shares).astype(np.int64)
    largest = np.argsort(rounded - shares, kind="stable")
    rounded[largest[: total - rounded.sum()]] += 1
    return rounded


_STRATEGIES = {
    "most_forgotten": _most_forgotten,
    "least_forgotten": _least_forgotten,
    "coverage": _coverage,
    "random": _random,
}


def _smallest(n_keep, keys, rows):
    """Return the `n_keep` of `rows` that come first by `keys`; a key only matters if those before it tie."""
    if n_keep == 0 or n_keep == len(rows) or not keys:
        return rows[:n_keep]
    key = keys[0][rows]
    border = np.partition(key, n_keep - 1)[n_keep - 1]
    sure, tied = rows[key < border], rows[key == border]
    return np.concatenate([sure, _smallest(n_keep - len(sure), keys[1:], tied)])


def _class_shares(y, n_keep, n_rows):
    """Yield the rows of each class and how many of them to keep, by the largest remainder method."""
    if y is None:
        raise ValueError("balance=True keeps the same share of every class, and needs the labels y; got y=None.")
    classes = np.unique(y)
    codes = np.searchsorted(classes, y).astype(np.min_scalar_type(len(classes)))  # small dtypes are sorted much faster
    sizes = np.bincount(codes)
    shares = _round_to_total(n_keep * sizes / n_rows, n_keep)
    rows_by_class = np.split(np.argsort(codes, kind="stable"), np.cumsum(sizes)[:-1])
    yield from zip(rows_by_class, shares, strict=True)


def _checked(rows, n_keep, n_rows, strategy):
    """Return the rows that a strategy chose; raise if a callable returned something else."""
    if not callable(strategy):
        return rows
    rows = np.asarray(rows)
    is_numbers = rows.ndim == 1 and (rows.dtype.kind in "iu" or len(rows) == 0)
    if not (is_numbers and len(rows) == n_keep == len(np.unique(rows))):
        raise ValueError(
            f"The strategy {strategy!r} must return {n_keep} different row numbers, got an array of shape {rows.shape} "
            f"and dtype {rows.dtype} with {len(np.unique(rows))} different values. If it returns a mask, apply np.flatnonzero."
        )
    if n_keep and (rows.min() < 0 or rows.max() >= n_rows):
        raise ValueError(f"The strategy {strategy!r} must return row numbers from 0 to {n_rows - 1}, got {rows}.")
    return rows.astype(np.int64)
