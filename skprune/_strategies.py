"""Which rows to keep: strategies, the rules and strata of "coverage", and how many rows of each class."""

import math
import numbers
from fractions import Fraction
from functools import partial
from typing import NamedTuple

import numpy as np

STRATEGIES = ("coverage", "most_forgotten", "least_forgotten", "random")


def forgetting_counts(scores, never_learned):
    """Return the events of `scores`; if `"max"`, never-learned rows count as forgotten at every presentation."""
    if never_learned != "max":
        return scores.events
    return np.where(scores.never_learned, scores.presentations, scores.events)


def count_kept(k, n_rows):
    """Return how many of `n_rows` rows `k` keeps."""
    if isinstance(k, numbers.Integral):
        return min(int(k), n_rows)
    exact = Fraction(str(k)) * n_rows  # of the decimal digits, because 0.55 is a little more in binary
    nearest = round(exact)
    # A share that was computed, such as 0.1 + 0.2, is off by some rounding errors.
    return nearest if math.isclose(exact, nearest, rel_tol=1e-12) else math.ceil(exact)


def keep_rows(choose, scores, n_keep, codes, balance, min_per_class, rng):
    """Return the numbers of the rows to keep, in no particular order.

    Parameters
    ----------
    choose : callable
        Called as ``choose(scores, n_keep, rng)``, it returns the row numbers that a strategy keeps. Without `balance`, it is
        called with all rows, and then with some rows of each class that needs more or fewer. With `balance`, it is called with
        the rows of each class.
    scores : ForgettingScores, or ndarray of trust
    codes : ndarray of shape (n_rows,), int64, or None
        Class numbers from 0. If None, classes are ignored.
    n_keep, balance, min_per_class, rng : int, bool, int, numpy.random.Generator
    """
    if codes is None:
        return choose(scores, n_keep, rng)
    sizes = np.bincount(codes)
    if balance:
        kept, wanted = np.empty(0, dtype=np.int64), _round_to_total(n_keep * sizes / len(codes), n_keep)
    else:
        kept = choose(scores, n_keep, rng)
        wanted = np.bincount(codes[kept], minlength=len(sizes))
    return _fill_quotas(choose, scores, kept, codes, class_quotas(sizes, wanted, n_keep, min_per_class), rng)


def class_quotas(sizes, wanted, n_keep, min_per_class):
    """Return how many rows of each class to keep, `n_keep` in total.

    Without a minimum, they would be as many as `wanted`. Classes below the minimum get it, or all their rows, and the others
    give up rows in proportion to what they have above it. If `n_keep` is too small for the minimum, all classes have the same
    smaller one, and the rows that are left go to the classes that would keep most.
    """
    minimum = min(min_per_class, sizes.max())
    while np.minimum(sizes, minimum).sum() > n_keep:
        minimum -= 1
    floors = np.minimum(sizes, minimum)
    n_left = n_keep - floors.sum()
    if minimum < min(min_per_class, sizes.max()):
        larger = np.flatnonzero(sizes > minimum)
        order = np.lexsort((-sizes[larger], -wanted[larger]))
        floors[larger[order[:n_left]]] += 1
        return floors
    surplus = np.maximum(wanted - floors, 0)
    return floors + _round_to_total(surplus * n_left / max(surplus.sum(), 1), n_left)


def _fill_quotas(choose, scores, kept, codes, quotas, rng):
    """Return `kept` with the quota of each class: with the best of its other rows, or without the worst of the kept ones."""
    changes = quotas - np.bincount(codes[kept], minlength=len(quotas))
    if not changes.any():
        return kept
    is_kept = np.zeros(len(codes), dtype=bool)
    is_kept[kept] = True
    order = np.argsort(codes.astype(np.min_scalar_type(len(quotas))), kind="stable")  # small dtypes are sorted faster
    by_class = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    for code in np.flatnonzero(changes):
        rows = by_class[code]
        if changes[code] > 0:
            others = rows[~is_kept[rows]]
            is_kept[others[choose(scores.take(others), int(changes[code]), rng)]] = True
        else:
            rows = rows[is_kept[rows]]
            is_kept[rows] = False
            is_kept[rows[choose(scores.take(rows), int(quotas[code]), rng)]] = True
    return np.flatnonzero(is_kept)


def make_choice(strategy, scores, never_learned, tie_break, rule):
    """Return the function `choose` of :func:`keep_rows` for one of :data:`STRATEGIES` and the scores of all rows."""
    if strategy == "coverage":
        return _coverage(scores, rule)
    if strategy == "random":
        return lambda scores, n_keep, rng: _smallest(n_keep, [rng.random(len(scores))], np.arange(len(scores)))
    sign = -1 if strategy == "most_forgotten" else 1
    by_count = partial(_by_count, never_learned=never_learned, tie_break=tie_break, sign=sign)
    return _with_unknown(by_count, lambda scores: scores.presentations == 0, scores)


def _with_unknown(choose, is_unknown, scores):
    """Return `choose`, but for unknown rows, of which the same share is kept as of all rows, drawn at random.

    If nothing is known of any row of `scores`, as for an array, `choose` is returned as it is.
    """
    unknown = is_unknown(scores)
    if unknown.all() or not unknown.any():
        return choose

    def choose_with_unknown(scores, n_keep, rng):
        unknown = is_unknown(scores)
        known, others = np.flatnonzero(~unknown), np.flatnonzero(unknown)
        n_known = round(n_keep * len(known) / max(len(scores), 1))
        kept = known[choose(scores.take(known), n_known, rng)]
        return np.concatenate([kept, rng.choice(others, n_keep - n_known, replace=False)])

    return choose_with_unknown


def _by_count(scores, n_keep, rng, never_learned, tie_break, sign):
    keys = [scores.never_learned] if never_learned == "drop" else []
    keys.append(sign * forgetting_counts(scores, never_learned))
    if tie_break == "margin":
        keys.append(-sign * np.nan_to_num(scores.margins))
    return _smallest(n_keep, [*keys, rng.random(len(scores))], np.arange(len(scores)))


def _coverage(scores, rule):
    trust = scores.trust
    unknown = np.isnan(trust)
    if unknown.all():  # only counts are known, as for an array
        choose = Rule(None, rule.exponent).chooser(trust, 0)
        return lambda scores, n_keep, rng: choose(-scores.events.astype(np.float64), n_keep, rng)
    spread = rule.chooser(trust[~unknown], scores.suspects.sum())

    def choose_by_trust(scores, n_keep, rng):
        return spread(scores.trust, n_keep, rng)

    return _with_unknown(choose_by_trust, lambda scores: np.isnan(scores.trust), scores)


class Rule(NamedTuple):
    """A way to distribute the kept rows over suspects and strata of difficulty.

    Parameters
    ----------
    threshold : "suspects", float or None
        Which rows are dropped first: the suspects, or rows whose trust is below ``-threshold`` times the mean trust, or none.
    exponent : float
        Each stratum of trust gets a budget proportional to this power of its size. The lower it is, the more hard rows are
        kept. With 1 the shares are those of random rows.
    """

    threshold: str | float | None
    exponent: float

    def chooser(self, trust, n_suspects):
        """Return a function ``choose(trust, n_keep, rng)`` of some rows; `trust` here is that of all of them."""
        threshold = -np.inf
        if self.threshold == "suspects":
            threshold = np.partition(trust, n_suspects)[n_suspects] if n_suspects else -np.inf
        elif isinstance(self.threshold, (int, float)):
            threshold = min(0.0, -self.threshold * trust.mean())
        return lambda trust, n_keep, rng: _spread(trust, threshold, self.exponent, n_keep, rng)


# The rules of "coverage" that are compared on held-out rows. The last one keeps random rows.
RULES = Rule("suspects", 0.75), Rule("suspects", 0.5), Rule(0.5, 0.75), Rule(0, 0.75), Rule(None, 1)
# This one is used if nothing was tested.
UNTESTED_RULE = Rule(0.5, 0.75)


def keep_trusted(scores, codes, min_per_class):
    """Return the rows that are no suspects, and the most trusted ones of classes that would have fewer than a minimum."""
    is_kept = ~scores.suspects
    if codes is None:
        return np.flatnonzero(is_kept)
    trust = scores.trust
    n_kept = np.bincount(codes[is_kept], minlength=len(np.bincount(codes)))
    for code in np.flatnonzero(n_kept < min_per_class):
        rows = np.flatnonzero(codes == code)
        is_kept[rows[np.argsort(-trust[rows], kind="stable")[:min_per_class]]] = True
    return np.flatnonzero(is_kept)


# Strata as in coverage-centric selection, of equal width in trust.
_MAX_STRATA = 50
_ROWS_A_STRATUM = 10


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
    weights = sizes.astype(float) ** exponent
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


def _smallest(n_keep, keys, rows):
    """Return the `n_keep` of `rows` that come first by `keys`; a key only matters if those before it tie."""
    if n_keep == 0 or n_keep == len(rows) or not keys:
        return rows[:n_keep]
    key = keys[0][rows]
    border = np.partition(key, n_keep - 1)[n_keep - 1]
    sure, tied = rows[key < border], rows[key == border]
    return np.concatenate([sure, _smallest(n_keep - len(sure), keys[1:], tied)])
