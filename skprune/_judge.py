"""A classifier of the user's that tests on held-out rows in place of the light models."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.metrics import check_scoring

from skprune._rating import rows_of_rule
from skprune._rows import take_rows
from skprune._strategies import RULES

# With the estimated share of wrong labels, the share needs at most 12 fits, and the rule 6. Each is to at most 2,000 rows,
# which is two thirds of those of the test.
_N_SPLITS = 3
_SHARES = (0.0, 0.1, 0.25)
# A share must lead by so many standard errors.
_LEAD = 2.0


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
            0 if no share leads by more than two standard errors.
        curve : ndarray of shape (3, n_shares), float64
            As in :class:`~skprune._leave_out.HeldOutTest`.
        """
        shares = np.unique([*_SHARES, np.nan_to_num(held_out.label_noise)])
        scores = np.array([self._scores_without(trust, shares) for trust in held_out.test.fold_trust[:_N_SPLITS]])
        gains = scores - scores[:, :1]
        errors = gains.std(0, ddof=1) / np.sqrt(len(gains))
        # A score is nan where rows of one class are left.
        best = int(np.nan_to_num(gains.mean(0), nan=-np.inf).argmax())
        share = float(shares[best]) if gains[:, best].mean() > _LEAD * errors[best] else 0.0
        return share, np.stack([shares, scores.mean(0), errors])

    def check_rule(self, rule, held_out, share, balance, min_per_class):
        """Return a rule, or that of random rows if the classifier is better with these or can't tell."""
        if rule == RULES[-1]:
            return rule
        gain = 0.0
        for trust in held_out.test.fold_trust[:_N_SPLITS]:
            by_rule, random = (
                self._score(rows_of_rule(each, held_out, trust, share, balance, min_per_class), trust)
                for each in (rule, RULES[-1])
            )
            gain += by_rule - random
        return rule if gain >= 0 else RULES[-1]

    def _scores_without(self, trust, shares):
        trained = np.flatnonzero(~np.isnan(trust))
        order = trained[np.argsort(-trust[trained], kind="stable")]
        return [self._score(order[: len(order) - round(share * len(order))], trust) for share in shares]

    def _score(self, kept, trust):
        """Return the score on the rows without trust after training on `kept`, nan if their classes forbid it."""
        kept, tested = np.sort(kept), np.flatnonzero(np.isnan(trust))
        known, asked = (set(self.y[rows].tolist()) for rows in (kept, tested))
        if len(known) < 2 or (self.scoring is not None and known != asked):
            return np.nan  # many scorers need the same classes on both sides
        fitted = clone(self.estimator).fit(take_rows(self.X, kept), self.y[kept])
        return check_scoring(fitted, scoring=self.scoring)(fitted, take_rows(self.X, tested), self.y[tested])
