"""Which rule selects the rows that light models learn most from, tested on held-out rows."""

import warnings

import numpy as np
from sklearn.tree import ExtraTreeClassifier

from skprune._features import both_spaces
from skprune._light_models import GrowingRidge, is_right
from skprune._strategies import RULES, keep_rows
from skprune._threads import one_thread

# Penalties of the ridge regressions on components and on Fourier features.
_PENALTIES = 0.03, 0.003
_N_TREES = 8
# The best rule must lead random rows by so many standard errors.
_LEAD = 2.0
# Classes are weighed equally if one has less than this share of its fair part.
_RARE = 0.2
# Rules are compared on so many of the splits.
_N_SPLITS = 3


@one_thread()
def best_rule(held_out, share, balance, min_per_class):
    """Return the rule whose rows light models learn most from.

    Parameters
    ----------
    held_out : HeldOut
        With the results of a test.
    share : float
        Share of the rows to keep.
    balance, min_per_class : as for :func:`skprune.select_rows`

    Returns
    -------
    rule : Rule
        The best one, or that of random rows if the best one does not lead it by more than two standard errors.
    """
    y = held_out.sample.y
    spaces = both_spaces(held_out.sample.components, np.random.RandomState(0))
    right, n_tests = np.zeros((len(RULES), len(y))), np.zeros(len(y))
    for trust in held_out.test.fold_trust[:_N_SPLITS]:
        tested = np.flatnonzero(np.isnan(trust))
        for rule, row in zip(RULES, right, strict=True):
            kept = rows_of_rule(rule, held_out, trust, share, balance, min_per_class)
            row[tested] += _rate(spaces, y, kept, tested)
        n_tests[tested] += 1
    lead = _weights(y) * (right - right[-1]) / np.maximum(n_tests, 1)
    return RULES[_leader(lead)]


def _leader(lead):
    """Return the rule whose lead over the last one is the largest, or the last one if the lead is not large enough."""
    best = int(lead.mean(1).argmax())
    return best if lead[best].mean() > _LEAD * lead[best].std() / np.sqrt(lead.shape[1]) else len(lead) - 1


def rows_of_rule(rule, held_out, trust, share, balance, min_per_class):
    """Return the rows of the test that a rule keeps, of those whose trust is known."""
    trained = np.flatnonzero(~np.isnan(trust))
    trust = trust[trained]
    choose = rule.chooser(trust, round(np.nan_to_num(held_out.label_noise) * len(trust)))
    n_keep = max(round(share * len(trust)), 1)
    by_class = balance or min_per_class
    codes = np.unique(held_out.sample.y[trained], return_inverse=True)[1] if by_class else None
    return trained[keep_rows(choose, trust, n_keep, codes, balance, min_per_class, np.random.default_rng(0))]


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
    for space, penalty in zip(spaces, _PENALTIES, strict=True):
        ridge = GrowingRidge(space, y, n_classes, penalty)
        ridge.add(kept)
        right += is_right(ridge.predict(tested), y[tested])
    predicted = np.zeros((len(tested), n_classes))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes is greater than 50%", UserWarning)
        for seed in range(_N_TREES):  # without the overhead of a forest, which matters if there are few rows
            tree = ExtraTreeClassifier(random_state=seed).fit(spaces[0][kept], y[kept], check_input=False)
            predicted[:, tree.classes_] += tree.predict_proba(spaces[0][tested], check_input=False)
    return (right + is_right(predicted, y[tested])) / 3
