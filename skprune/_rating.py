"""Which rule selects the rows that light models learn most from, tested on held-out rows."""

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import check_scoring

from skprune._features import fit_fourier, fourier_features
from skprune._rows import take_rows
from skprune._test_models import FOURIER_PENALTY, LINEAR_PENALTY, GrowingRidge, is_right
from skprune._views import margin_of

_N_TREES = 15
# A rule must lead by so many standard errors.
_LEAD = 1.0
# Classes are weighed equally if one has less than this share of its fair part.
_RARE = 0.2
# A judge is fitted at most 18 times, to at most this many rows.
_JUDGE_FOLDS, _JUDGE_ROWS = 3, 2000
_JUDGE_SHARES = (0.0, 0.05, 0.1, 0.2, 0.35)


def best_rule(held_out, y, share, rules, seed=0):
    """Return the number of the rule whose rows light models learn most from.

    Parameters
    ----------
    held_out : HeldOut
    y : ndarray of shape (n_rows,), int64
        Class numbers of all rows, not only of those of the test.
    share : float
        Share of the rows to keep.
    rules : list of callable
        Called as ``rule(trust, y, n_keep, rng)`` with the trust in some rows, their class numbers and a
        `numpy.random.Generator`; returns `n_keep` numbers of these rows. The last one keeps random rows, and any other is
        only chosen if it leads it by more than a standard error.
    seed : int, default=0

    Returns
    -------
    best : int
        The last one if there was no test.
    """
    if len(held_out.rows) == 0:
        return len(rules) - 1
    y = np.unique(y[held_out.rows], return_inverse=True)[1]
    Z, rng = held_out.components, np.random.RandomState(seed)
    spaces = Z, fourier_features(fit_fourier(Z, rng), Z)
    right = np.zeros((len(rules), len(y)))
    n_tests = np.zeros(len(y))
    for trust in held_out.fold_trust[:_JUDGE_FOLDS]:
        trained, tested = np.flatnonzero(~np.isnan(trust)), np.flatnonzero(np.isnan(trust))
        n_keep = max(round(share * len(trained)), 1)
        for rule, row in zip(rules, right, strict=True):
            kept = trained[rule(trust[trained], y[trained], n_keep, np.random.default_rng(seed))]
            row[tested] += _rate(spaces, y, kept, tested)
        n_tests[tested] += 1
    lead = _weights(y) * (right - right[-1]) / np.maximum(n_tests, 1)
    best = int(lead.mean(1).argmax())
    return best if lead[best].mean() > _LEAD * lead[best].std() / np.sqrt(len(y)) else len(rules) - 1


def _weights(y):
    """Return weights of rows: equal, or, with rare classes, such that all classes weigh the same."""
    sizes = np.bincount(y)
    if sizes.min() >= _RARE * sizes.mean():
        return np.ones(len(y))
    return len(y) / (len(sizes) * sizes[y])


def _rate(spaces, y, kept, tested):
    """Return for every tested row the share of three models that predict it rightly after training on `kept`."""
    n_classes = int(y.max()) + 1
    right = np.zeros(len(tested))
    for space, penalty in zip(spaces, (LINEAR_PENALTY, FOURIER_PENALTY), strict=True):
        ridge = GrowingRidge(space, y, n_classes, penalty)
        ridge.add(kept)
        right += is_right(ridge.predict(tested), y[tested])
    trees = ExtraTreesClassifier(_N_TREES, random_state=0, n_jobs=1).fit(spaces[0][kept], y[kept])
    predicted = np.zeros((len(tested), n_classes))
    predicted[:, trees.classes_] = trees.predict_proba(spaces[0][tested])
    return (right + (margin_of(predicted, y[tested]) > 0)) / 3


def ask_judge(judge, judge_scoring, X, y, held_out, seed=0):
    """Return the share of the least trusted rows that a classifier is better without, and the curve of its scores.

    Parameters
    ----------
    judge : classifier
        Clones of it are fitted.
    judge_scoring : str, callable or None
        As in scikit-learn; None for the score of the judge.
    X : container with n_rows rows
        As the judge takes it.
    y : ndarray of shape (n_rows,)
        Labels, as the judge takes them.
    held_out : HeldOut
        Its trust in the rows outside of a fold has seen none of the fold.
    seed : int, default=0

    Returns
    -------
    share : float
        0 if no share leads by more than a standard error, and nan if there was no test.
    curve : ndarray of shape (3, n_shares), float64
        As in :class:`HeldOut`.
    """
    if len(held_out.rows) == 0:
        return np.nan, np.zeros((3, 0))
    scorer = check_scoring(judge, scoring=judge_scoring)
    shares = np.unique([*_JUDGE_SHARES, np.nan_to_num(held_out.label_noise)])
    rng = np.random.RandomState(seed)
    scores = np.array(
        [_judge_fold(judge, scorer, X, y, held_out.rows, t, shares, rng) for t in held_out.fold_trust[:3]]
    )
    gains = scores - scores[:, :1]
    errors = gains.std(0, ddof=1) / np.sqrt(len(gains))
    best = int(gains.mean(0).argmax())
    share = float(shares[best]) if gains[:, best].mean() > _LEAD * errors[best] else 0.0
    return share, np.stack([shares, scores.mean(0), errors])


def _judge_fold(judge, scorer, X, y, rows, trust, shares, rng):
    trained, tested = np.flatnonzero(~np.isnan(trust)), rows[np.isnan(trust)]
    if len(trained) > _JUDGE_ROWS:
        trained = rng.choice(trained, _JUDGE_ROWS, replace=False)
    order = rows[trained[np.argsort(-trust[trained], kind="stable")]]
    X_tested, y_tested, scores = take_rows(X, tested), y[tested], []
    for share in shares:
        kept = np.sort(order[: len(order) - round(share * len(order))])
        scores.append(scorer(clone(judge).fit(take_rows(X, kept), y[kept]), X_tested, y_tested))
    return scores
