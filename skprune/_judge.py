"""A classifier of the user's that tests on held-out rows in place of the light models."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.metrics import check_scoring

from skprune._rating import rows_of_rule
from skprune._rows import take_rows
from skprune._strategies import RULES

# A judge is fitted at most 18 times, to at most this many rows.
_N_SPLITS, _MAX_ROWS = 3, 2000
_SHARES = (0.0, 0.05, 0.1, 0.2, 0.35)
# A share must lead by so many standard errors.
_LEAD = 1.0


class Judge(NamedTuple):
    """A classifier with the rows of the test on held-out rows.

    Parameters
    ----------
    estimator : classifier
        Clones of it are fitted.
    scoring : str, callable or None
        As in scikit-learn; None for the score of the estimator.
    X : container with n_kept rows
        The rows of the test, as the estimator takes them.
    y : ndarray of shape (n_kept,)
        Their labels.
    """

    estimator: Any
    scoring: Any
    X: Any
    y: np.ndarray

    def find_share(self, held_out):
        """Return the share of the least trusted rows that the classifier is better without, and the curve of its scores.

        Parameters
        ----------
        held_out : HeldOut
            With the results of a test.

        Returns
        -------
        share : float
            0 if no share leads by more than a standard error.
        curve : ndarray of shape (3, n_shares), float64
            As in :class:`~skprune._held_out_test.Test`.
        """
        shares = np.unique([*_SHARES, np.nan_to_num(held_out.label_noise)])
        scores = np.array([self._scores_without(trust, shares) for trust in held_out.test.fold_trust[:_N_SPLITS]])
        gains = scores - scores[:, :1]
        errors = gains.std(0, ddof=1) / np.sqrt(len(gains))
        best = int(gains.mean(0).argmax())
        share = float(shares[best]) if gains[:, best].mean() > _LEAD * errors[best] else 0.0
        return share, np.stack([shares, scores.mean(0), errors])

    def check_rule(self, rule, held_out, share, balance, min_per_class):
        """Return a rule, or that of random rows if the classifier is better with these."""
        gain = 0.0
        for trust in held_out.test.fold_trust[:_N_SPLITS]:
            trained = _some(np.flatnonzero(~np.isnan(trust)))
            by_rule, random = (
                trained[
                    rows_of_rule(
                        each, held_out, trust[trained], held_out.sample.y[trained], share, balance, min_per_class
                    )
                ]
                for each in (rule, RULES[-1])
            )
            gain += self._score(by_rule, trust) - self._score(random, trust)
        return rule if gain >= 0 else RULES[-1]

    def _scores_without(self, trust, shares):
        trained = _some(np.flatnonzero(~np.isnan(trust)))
        order = trained[np.argsort(-trust[trained], kind="stable")]
        return [self._score(order[: len(order) - round(share * len(order))], trust) for share in shares]

    def _score(self, kept, trust):
        kept, tested = np.sort(kept), np.flatnonzero(np.isnan(trust))
        fitted = clone(self.estimator).fit(take_rows(self.X, kept), self.y[kept])
        scorer = check_scoring(fitted, scoring=self.scoring)
        return scorer(fitted, take_rows(self.X, tested), self.y[tested])


def _some(rows):
    return rows if len(rows) <= _MAX_ROWS else np.random.default_rng(0).choice(rows, _MAX_ROWS, replace=False)
