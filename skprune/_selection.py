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
    """Choose the rows to keep by their forgetting scores.

    Parameters
    ----------
    scores : ForgettingScores or array-like of shape (n_rows,)
        An array holds numbers that are larger for rows that are forgotten more often. Ties are broken at random, since
        an array has no margins.
    k : float in (0, 1] or int >= 1
        How much to keep: a float is a share, ``ceil(k * n_rows)`` rows, an int a number of rows.
    y : array-like of shape (n_rows,), default=None
        Class labels, needed if `balance`. Where they are given, scores of a net that is no better than always
        naming the largest class are found out.
    strategy : {"coverage", "most_forgotten", "least_forgotten", "random"} or callable, default="coverage"
        Which rows are kept first. ``"coverage"`` keeps rows of every difficulty, after [2]_, and suspects last. How many
        hard rows it keeps depends on what a selector has found with models that have not seen the rows; without that,
        as for an array, it keeps a fixed mixture. It reads neither `never_learned` nor `tie_break`.
        ``"most_forgotten"`` and ``"least_forgotten"`` rank by the counts, ``"random"`` draws. A callable ``(scores:
        ForgettingScores, n_keep: int, rng: numpy.random.Generator) -> row numbers`` returns `n_keep` different ones.
    never_learned : {"drop", "count", "max"}, default="drop"
        Where rows rank that were never predicted correctly: after every learned row (`"drop"`), by their
        events, which are none (`"count"`), or as forgotten at every presentation (`"max"`), as in [1]_.
    tie_break : {"margin", "random"}, default="margin"
        How rows with equal counts rank: by mean margin, the smallest first where the most forgotten are kept
        and the largest first where the least forgotten are, or by a draw. Rows that are equal in both are
        drawn from at random.
    balance : bool, default=False
        Keep the same share of every class. The total stays exact: what is left after rounding down goes to the
        classes with the largest remainders.
    random_state : int, RandomState instance or None, default=None
        Seed of the draws.

    Returns
    -------
    rows : ndarray of shape (n_keep,), int64
        Row numbers, ascending.

    Raises
    ------
    ValueError
        If a parameter is out of its range, `y` is missing or of another length, or a callable returns
        something else than `n_keep` different row numbers.

    Warns
    -----
    PruningWarning
        If `k` is larger than the number of rows, so that all are kept; if the scores carry no information, because they
        are all the same or the net that made them never learned anything; if that net is much worse than simple models
        on rows that they have not seen; if a large share of the rows kept are suspects, and a larger one than of all
        rows; if at most one row is kept of a class of `y` that has three or more. Scores are not warned of where they do
        not decide: with ``strategy="random"``, or if all rows are kept.

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
        raise ValueError(f"y must have one label a row, {len(scores)} here; got the shape {np.shape(y)}.")
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
    """Return the events of `scores`, with never-learned rows as forgotten at every presentation if `"max"`."""
    if never_learned != "max":
        return scores.events
    return np.where(scores.never_learned, scores.presentations, scores.events)


def count_kept(k, n_rows):
    """Return how many of `n_rows` rows `k` keeps; warn where that is more than there are."""
    if not isinstance(k, numbers.Integral):
        return math.ceil(Fraction(str(k)) * n_rows)  # of its decimal digits: 0.55 is a little more in binary
    if k > n_rows:
        warnings.warn(
            f"k={k} is greater than n_samples={n_rows}: all rows are kept. A float, such as k=0.5, keeps a share.",
            PruningWarning,
            stacklevel=3,
        )
    return min(int(k), n_rows)


def check_selection(k, strategy, never_learned, tie_break, balance):
    """Raise a ValueError if one of the parameters that select rows is out of its range."""
    forms = "a float in (0, 1], the share of the rows to keep (1.0 is all), or an int >= 1, their number (1 is one row)"
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
    if unknown.all():  # nothing but counts is known, as of an array
        return _spread(-scores.events.astype(np.float64), -np.inf, RULES[0].exponent, n_keep, rng)
    if unknown.any():
        raise ValueError(
            f"strategy='coverage' needs the margin of every row; {unknown.sum()} of {len(unknown)} have none. They were never "
            "presented. Leave them out of X and y, or use strategy='most_forgotten'."
        )
    return apply_rule(_best_rule(scores.ratings, n_keep / max(len(scores), 1)), scores, n_keep, rng)


class Rule(NamedTuple):
    """A way to spread the rows kept over suspects and difficulties.

    Parameters
    ----------
    threshold : float or None
        A row is kept last if its trust is below ``-threshold`` times the mean trust; with None no row is.
    exponent : float
        Of the other rows, each stratum of trust gets a budget that is this power of its size: 0 is the same for all,
        so that more hard rows are kept, 1 is as at random.
    """

    threshold: float | None
    exponent: float


# The first one is used where nothing is known of how they fare; random rows, the last one, need a lead less.
RULES = (Rule(0.5, 0.75), Rule(0, 0.75), Rule(0, 1), Rule(1, 0.75), Rule(1, 0.5), Rule(1, 0), Rule(None, 1))
SHARES = (0.03, 0.1, 0.2, 0.35, 0.6)
# Random rows are kept unless another rule is rated higher by more than this.
_LEAD = 0.002


def _best_rule(ratings, share):
    """Return the rule that is rated best at the share that is nearest to the one wanted, in its logarithm."""
    if ratings is None:
        return RULES[0]
    row = ratings[np.argmin(np.abs(np.log(np.divide(SHARES, max(share, 1e-9)))))]
    return RULES[int(np.argmax(row[:-1]))] if row[:-1].max() > row[-1] + _LEAD else RULES[-1]


# Strata as in coverage-centric selection, of equal width in trust.
_MAX_STRATA = 50
_ROWS_A_STRATUM = 10


def apply_rule(rule, scores, n_keep, rng):
    """Return the numbers of the `n_keep` rows that a rule keeps.

    Parameters
    ----------
    rule : Rule
    scores : ForgettingScores
    n_keep : int
    rng : numpy.random.Generator

    Returns
    -------
    rows : ndarray of shape (n_keep,), int64
        In no order.
    """
    threshold = -np.inf if rule.threshold is None else min(0.0, -rule.threshold * scores.mean_trust)
    return _spread(scores.trust, threshold, rule.exponent, n_keep, rng)


def _spread(trust, threshold, exponent, n_keep, rng):
    """Return `n_keep` rows from all strata of those whose trust reaches a threshold, and the others after these."""
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
    """Share `n_keep` rows among strata by a power of their sizes; what a stratum lacks goes to the others."""
    weights = np.where(sizes > 0, sizes.astype(float) ** exponent, 0)
    full = sizes == 0
    while True:
        left = n_keep - sizes[full].sum()
        budgets = np.where(full, sizes, left * weights / max(weights[~full].sum(), 1))
        if not (budgets > sizes).any():
            return _round_to_total(budgets, n_keep)
        full |= budgets >= sizes


def _round_to_total(shares, total):
    """Round shares down, and those with the largest remainders up, so that they sum to `total`."""
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
    """Return the `n_keep` of `rows` that come first by `keys`, looking at a key only where those before it tie."""
    if n_keep == 0 or n_keep == len(rows) or not keys:
        return rows[:n_keep]
    key = keys[0][rows]
    border = np.partition(key, n_keep - 1)[n_keep - 1]
    sure, tied = rows[key < border], rows[key == border]
    return np.concatenate([sure, _smallest(n_keep - len(sure), keys[1:], tied)])


def _class_shares(y, n_keep, n_rows):
    """Yield the rows of each class and how many of them to keep, by the method of largest remainders."""
    if y is None:
        raise ValueError("balance=True keeps the same share of every class and needs the labels y; got y=None.")
    classes = np.unique(y)
    codes = np.searchsorted(classes, y).astype(np.min_scalar_type(len(classes)))  # small ones are sorted much faster
    sizes = np.bincount(codes)
    shares = _round_to_total(n_keep * sizes / n_rows, n_keep)
    rows_by_class = np.split(np.argsort(codes, kind="stable"), np.cumsum(sizes)[:-1])
    yield from zip(rows_by_class, shares, strict=True)


def _checked(rows, n_keep, n_rows, strategy):
    """Return what a strategy chose, or say what is wrong with it; only a callable can be wrong."""
    if not callable(strategy):
        return rows
    rows = np.asarray(rows)
    is_numbers = rows.ndim == 1 and (rows.dtype.kind in "iu" or len(rows) == 0)
    if not (is_numbers and len(rows) == n_keep == len(np.unique(rows))):
        raise ValueError(
            f"The strategy {strategy!r} must return {n_keep} different row numbers, got an array of shape {rows.shape} "
            f"and dtype {rows.dtype} with {len(np.unique(rows))} different values. Of a mask take np.flatnonzero."
        )
    if n_keep and (rows.min() < 0 or rows.max() >= n_rows):
        raise ValueError(f"The strategy {strategy!r} must return row numbers from 0 to {n_rows - 1}, got {rows}.")
    return rows.astype(np.int64)
