"""From scores to row numbers."""

import numbers
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_classifier
from sklearn.metrics import check_scoring
from sklearn.utils import check_random_state
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier

from skprune._scores import ForgettingScores, ScoresLike, as_scores
from skprune._strategies import STRATEGIES, UNTESTED_RULE, count_kept, keep_rows, keep_trusted, make_choice
from skprune._warnings import warn, warn_of_harm

Strategy = str | Callable[[ForgettingScores, int, np.random.Generator], ArrayLike]
NEVER_LEARNED = ("drop", "count", "max")
TIE_BREAKS = ("margin", "random")


def select_rows(
    scores: ScoresLike,
    k: float | str,
    *,
    y: ArrayLike | None = None,
    strategy: Strategy = "coverage",
    never_learned: str = "drop",
    tie_break: str = "margin",
    balance: bool = False,
    min_per_class: int = 5,
    random_state: int | np.random.RandomState | None = None,
) -> NDArray[np.int64]:
    """Select the rows to keep by their forgetting scores.

    Parameters
    ----------
    scores : ForgettingScores or array-like of shape (n_rows,)
        Scores of the rows. In an array, larger numbers mean that a row is forgotten more often. Ties are then broken at
        random, because an array has no margins.
    k : "auto", float in (0, 1] or int >= 1
        How much to keep. If "auto", all rows but the suspects, whatever the strategy. If float, the share of rows, rounded up by
        the decimal digits of `k`: 0.55 of 100 rows are 55. If int, the number of rows.
    y : array-like of shape (n_rows,), default=None
        Class labels. Required if `balance` is True, and used by `min_per_class`. If given, there is also a warning if the net
        that made the scores is no better than always predicting the largest class, and if a class almost disappears.
    strategy : {"coverage", "most_forgotten", "least_forgotten", "random"} or callable, default="coverage"
        Which rows are kept first. ``"coverage"`` keeps rows of every difficulty, after [2]_, and drops suspects first.
        A :class:`ForgettingSelector` chooses the number of hard rows by a test on held-out rows; this function uses a fixed
        rule. `never_learned` and `tie_break` have no effect on it.
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
        down go to the classes with the largest remainders. It has no effect on ``k="auto"``.
    min_per_class : int, default=5
        Number of rows that are kept of every class in `y`, or all rows of a smaller class. Other classes give up their worst
        rows, so that the total is still exact. If the total is too small, the minimum is lower. 0 sets no minimum. It has no
        effect on ``"random"`` and callables.
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
        different row numbers.

    Warns
    -----
    PruningWarning
        If `k` is larger than the number of rows, so that all are kept. If the scores carry no information, because they
        are all equal or the net that made them learned nothing. If that net is much worse on its own training rows than
        simple models are on held-out rows. If a large share of the kept rows are suspects, and a larger share than among
        all rows. If a class of `y` with three or more rows keeps at most one, or the total is too
        small to keep a row of every class. There is no warning about scores with
        ``strategy="random"`` or if all rows are kept, because the scores then have no effect.

    See Also
    --------
    ForgettingSelector : Computes the scores and calls this function.

    Notes
    -----
    Rows that were never presented, as a sampler with replacement leaves them out, are unknown. They are no suspects. If `k` is a
    number, the same share of them is kept as of all rows, drawn at random. A callable gets them with the other rows.

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
    check_selection(k, strategy, never_learned, tie_break, balance, min_per_class)
    scores = as_scores(scores)
    classes = codes = None
    if y is not None:
        if np.shape(y) != (len(scores),):
            raise ValueError(f"y must have one label per row, {len(scores)} in total; got shape {np.shape(y)}.")
        classes, codes = _encoded(np.asarray(y))
    how = {"strategy": strategy, "never_learned": never_learned, "tie_break": tie_break, "balance": balance}
    return select(scores, k, classes, codes, random_state, min_per_class=min_per_class, **how)


def select(
    scores,
    k,
    classes,
    codes,
    random_state,
    *,
    strategy,
    never_learned,
    tie_break,
    balance,
    min_per_class,
    rule=UNTESTED_RULE,
):
    """Return the rows that checked parameters of :func:`select_rows` keep, ascending, and warn of harm.

    `codes` has the position of the label of each row in the list `classes`, and `rule` is that of ``"coverage"``.
    """
    if balance and codes is None:
        raise ValueError("balance=True keeps the same share of every class, and needs the labels y; got y=None.")
    if k == "auto":
        kept = keep_trusted(scores, codes, min_per_class)
        warn_of_harm(scores, kept, classes, codes, "random", tie_break, balance)  # of lost classes alone
        return kept
    if isinstance(k, numbers.Integral) and int(k) > len(scores):
        warn(
            f"k={k} is greater than n_samples={len(scores)}: all rows are kept. Use a float, such as k=0.5, to keep a share."
        )
    n_keep = count_kept(k, len(scores))
    choose = _checked(strategy) if callable(strategy) else make_choice(strategy, scores, never_learned, tie_break, rule)
    if callable(strategy) or strategy == "random":
        min_per_class = 0
    by_class = codes is not None and len(scores) > 0 and (balance or min_per_class > 0)
    rng = np.random.default_rng(check_random_state(random_state).randint(2**32, dtype=np.uint32))
    kept = np.sort(keep_rows(choose, scores, n_keep, codes if by_class else None, balance, min_per_class, rng))
    warn_of_harm(scores, kept, classes, codes, strategy, tie_break, balance)
    return kept


def check_scores(scores, n_rows):
    """Return scores as :class:`ForgettingScores`; raise a ValueError if there is not one for each row."""
    scores = as_scores(scores)
    if len(scores) != n_rows:
        raise ValueError(
            f"forgetting_scores has {len(scores)} entries for {n_rows} rows. Cross-validation splits an array along with X, "
            "but not a ForgettingScores: pass its events, or fit on the rows that were scored."
        )
    return scores


def _encoded(y):
    """Return the classes of y as a list, and the position of each label in it."""
    if y.dtype.kind != "O":
        values, codes = np.unique(y, return_inverse=True)
        return values.tolist(), codes
    labels = y.tolist()
    classes = list(dict.fromkeys(labels))  # which may not be sortable
    lookup = {label: code for code, label in enumerate(classes)}
    return classes, np.fromiter(map(lookup.__getitem__, labels), dtype=np.int64, count=len(labels))


def check_selection(k, strategy, never_learned, tie_break, balance, min_per_class):
    """Raise a ValueError if one of the parameters that select rows is out of its range."""
    is_number = isinstance(k, numbers.Integral) and not isinstance(k, bool) and int(k) >= 1
    is_share = isinstance(k, numbers.Real) and not isinstance(k, numbers.Integral) and 0 < float(k) <= 1
    if not (is_share or is_number or (isinstance(k, str) and k == "auto")):
        raise ValueError(
            "k must be 'auto', all but the suspects, a float in (0, 1], the share of rows to keep (1.0 keeps all), or an int "
            f">= 1, the number of rows to keep; got {k!r}."
        )
    if not callable(strategy):
        check_choice("strategy", strategy, STRATEGIES, " or a callable")
    check_choice("never_learned", never_learned, NEVER_LEARNED)
    check_choice("tie_break", tie_break, TIE_BREAKS)
    check_choice("balance", bool(balance) if isinstance(balance, np.bool_) else balance, (True, False))
    if isinstance(min_per_class, bool) or not isinstance(min_per_class, numbers.Integral) or min_per_class < 0:
        raise ValueError(f"min_per_class must be an int >= 0; got {min_per_class!r}.")


def check_training(estimator, record, n_runs, judge, judge_scoring):
    """Raise if one of the parameters of the training and the test is out of its range."""
    if judge is not None and not is_classifier(judge):
        raise TypeError(f"judge must be a classifier, or None for the models of the selector; got {judge!r}.")
    if judge is not None:
        check_scoring(judge, scoring=judge_scoring)
    elif judge_scoring is not None:
        raise ValueError(
            f"judge_scoring={judge_scoring!r} is what a judge maximizes, but judge is None. Pass a classifier, such as the one "
            "behind the selector, as judge, or leave judge_scoring out."
        )
    check_choice("record", record, ("batch", "epoch"))
    if isinstance(n_runs, bool) or not isinstance(n_runs, numbers.Integral) or n_runs < 1:
        raise ValueError(f"n_runs must be an int >= 1; got {n_runs!r}.")
    if estimator is not None and not isinstance(estimator, (NeuralNetClassifier, NeuralNetBinaryClassifier)):
        raise TypeError(
            "estimator must be a skorch NeuralNetClassifier or NeuralNetBinaryClassifier, which train in epochs, or None for the "
            f"built-in net; got {estimator!r}. To train another classifier on the kept rows, make it the step after the selector."
        )


def check_choice(name, value, choices, otherwise=""):
    """Raise a ValueError if `value` is not one of `choices`."""
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}{otherwise}; got {value!r}.")


def _checked(strategy):
    """Return a callable strategy that raises if it does not return row numbers as it must."""

    def choose(scores, n_keep, rng):
        rows = np.asarray(strategy(scores, n_keep, rng))
        is_numbers = rows.ndim == 1 and (rows.dtype.kind in "iu" or len(rows) == 0)
        if not (is_numbers and len(np.unique(rows[(rows >= 0) & (rows < len(scores))])) == len(rows) == n_keep):
            raise ValueError(
                f"The strategy {strategy!r} must return {n_keep} different row numbers from 0 to {len(scores) - 1}, got an array "
                f"of shape {rows.shape} and dtype {rows.dtype}: {rows}. If it returns a mask, apply np.flatnonzero."
            )
        return rows.astype(np.int64)

    return choose
