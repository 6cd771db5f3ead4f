"""What leaving out the least trusted rows does to the prediction of others: a test on held-out rows."""

from typing import Any, NamedTuple

import numpy as np

from skprune._features import both_spaces
from skprune._light_models import GrowingForest, GrowingNeighbors, GrowingRidge, is_right
from skprune._threads import one_thread
from skprune._views import Views, compare

_N_FOLDS = 3
# Folds are drawn twice for so many rows. Fewer rows tell little either way, and more rows suffice once.
_ROWS_OF_TWO_DRAWS = range(300, 1500)
# Trees of a fold, whose forest serves for the views and for the test.
_N_FOLD_TREES = 16
# Shares of the least trusted rows that are left out.
SHARES = np.array(
    [0, 0.01, 0.02, 0.035, *np.arange(0.05, 0.3, 0.025).round(3), *np.arange(0.3, 0.61, 0.05).round(2)],
    dtype=np.float64,
)
# A model that is less accurate by this much has its weight divided by e. Where classes overlap, nearest neighbors and leaves
# gain by every row that contradicts its surroundings, be its label right or wrong.
_FADING = 0.04
# Leaving rows out does harm if it lowers the accuracy by so many standard errors.
_HARM = 1.25


class Sample(NamedTuple):
    """The rows of a test.

    Parameters
    ----------
    rows : ndarray of shape (n_kept,), int64
        Row numbers, ascending.
    components : ndarray of shape (n_kept, n_components), float32
        Their features.
    y : ndarray of shape (n_kept,), int64
        Class numbers from 0.
    net_margins : ndarray of shape (n_kept,), float
    net_weight : float
        Weight of the margins of the net in trust, in [0, 1].
    """

    rows: np.ndarray
    components: np.ndarray
    y: np.ndarray
    net_margins: np.ndarray
    net_weight: float


class HeldOutTest(NamedTuple):
    """The results of a test.

    Parameters
    ----------
    curve : ndarray of shape (3, n_shares), float64
        Shares that were left out, the score on held-out rows, and the standard error of its difference to the first.
    fold_trust : ndarray of shape (n_splits, n_kept), float32
        Trust in the rows outside of every fold, by views that have seen no label of the fold, for whose rows it is nan.
        Otherwise, rows that contradict the rows of the fold would have less trust, which favors leaving out many.
    """

    curve: np.ndarray
    fold_trust: np.ndarray

    def harmless_share(self, share):
        """Return a share if leaving so many rows out does no harm, and otherwise the largest smaller one that does none."""
        shares, scores, errors = self.curve
        is_harmless = scores - scores[0] >= -_HARM * errors
        nearest = int(np.abs(shares - share).argmin())
        return share if is_harmless[nearest] else float(shares[np.flatnonzero(is_harmless[:nearest])[-1]])


@one_thread()
def run_test(sample):
    """Leave out more and more of the least trusted rows, and predict the rows of every fold with light models."""
    n_rows, rng = len(sample.y), np.random.RandomState(0)
    spaces = both_spaces(sample.components, rng)
    n_draws = 1 + (n_rows in _ROWS_OF_TWO_DRAWS)
    right: Any = 0
    fold_trust = []
    for _ in range(n_draws):
        folds = rng.permutation(n_rows) % _N_FOLDS
        parts = []
        for fold in range(_N_FOLDS):
            tested, trained = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
            part, trust = _test_fold(spaces, sample, trained, tested, fold)
            parts.append(part)
            fold_trust.append(trust)
        in_order = np.argsort(np.argsort(folds, kind="stable"))
        right = right + np.concatenate(parts, axis=2)[:, :, in_order] / n_draws
    right = _weighted(right)
    errors = (right - right[0]).std(1) / np.sqrt(n_rows)
    return HeldOutTest(np.stack([SHARES, right.mean(1), errors]), np.stack(fold_trust))


def _test_fold(spaces, sample, trained, tested, seed):
    """Return which rows each model predicts rightly at each share, and the trust in the others."""
    y, n_classes = sample.y, int(sample.y.max()) + 1
    views = Views([space[trained] for space in spaces], y[trained], n_classes, seed, _N_FOLD_TREES)
    margins, _ = compare(views.left_out(slice(None)), y[trained])
    trust = np.full(len(y), np.nan, np.float32)
    trust[trained] = mean_margin(sample.net_margins[trained], margins, sample.net_weight)
    models: list[Any] = [
        GrowingRidge(F, y, n_classes, ridge.penalty) for F, ridge in zip(spaces, views.ridges, strict=True)
    ]
    models.append(GrowingNeighbors(spaces[0], y, n_classes, trained, tested))
    if views.forest is not None:
        models.append(GrowingForest(views.forest.trees.apply(spaces[0]), y, n_classes))
    most_trusted_first = trained[np.argsort(-trust[trained], kind="stable")]
    return _predict_rightly(models, most_trusted_first, tested, y), trust


def mean_margin(net_margins, margins, net_weight):
    """Return the weighted mean of the margins of the net and of the views, and those of the views for rows that have no other."""
    if net_weight == 0:
        return margins
    # Without views, all of their margins are nan.
    mean = net_margins if net_weight == 1 else net_weight * net_margins + (1 - net_weight) * margins
    return np.where(np.isnan(net_margins), margins, mean)


def _predict_rightly(models, most_trusted_first, tested, y):
    """Tell which rows each model predicts rightly at each share; shape (n_models, n_shares, n_tested)."""
    right = np.zeros((len(models), len(SHARES), len(tested)), np.float32)
    start = 0
    for i in reversed(range(len(SHARES))):
        end = len(most_trusted_first) - round(SHARES[i] * len(most_trusted_first))
        for model, row in zip(models, right, strict=True):
            model.add(most_trusted_first[start:end])
            row[i] = is_right(model.predict(tested), y[tested])
        start = end
    return right


def _weighted(right):
    """Return the mean over models, of which those that are accurate on all rows weigh most."""
    accuracy = right[:, 0].mean(1)
    weights = np.exp((accuracy - accuracy.max()) / _FADING)
    return np.tensordot(weights / weights.sum(), right, axes=1)
