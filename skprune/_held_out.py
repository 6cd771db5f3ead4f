"""A test on held-out rows: how many of the least trusted rows are better left out."""

from typing import Any, NamedTuple

import numpy as np

from skprune._features import N_COMPONENTS, Features, as_numbers, some_rows
from skprune._test_models import GrowingForest, GrowingNeighbors, GrowingRidge, is_right
from skprune._views import Views, compare

# Views are fitted to at most this many rows and numbers, and not at all if these are too few rows of X.
_MAX_ROWS, _MAX_NUMBERS, _MIN_ROWS = 20_000, 2**24, 1000
# With fewer rows, held-out rows say nothing.
_FEWEST_ROWS = 40
# The test uses at most this many rows, and the largest classes.
_MAX_TEST_ROWS, _MAX_TEST_CLASSES = 3000, 200
_N_FOLDS = 3
# The folds are drawn so often, at least for this many rows. With fewer rows it is four times.
_REPEATS = ((1500, 1), (500, 2))
_MOST_REPEATS = 4
# Trees of a fold, whose forest serves for the views and for the test.
_N_FOLD_TREES = 25
# Shares of the least trusted rows that are left out.
SHARES = np.array(
    [0, 0.01, 0.02, 0.035, *np.arange(0.05, 0.3, 0.025).round(3), *np.arange(0.3, 0.61, 0.05).round(2)],
    dtype=np.float64,
)
# Shares at which margins of given labels and of other labels are compared.
_QUANTILES = np.arange(0.3, 0.91, 0.05)
# Fewer wrong labels than this share, or this number, can't be told from rows that are hard.
_LEAST_SHARE, _LEAST_NUMBER = 0.02, 5
# Leaving rows out does harm if it lowers the accuracy by so many standard errors.
_HARM = 2.0
# A model that is less accurate by this much has its weight divided by e. Where classes overlap, nearest neighbors and leaves
# gain by every row that contradicts its surroundings, be its label right or wrong.
_FADING = 0.04
# The views must predict labels better than the sizes of the classes do, by so many standard errors.
_SKILL = 3.0
# How far the accuracy of the views may lie below that of a net that sees more than they do.
_MAX_SHORTFALL = 0.15
# Rows are predicted in chunks of so many numbers.
_CHUNK = 2**21


class HeldOut(NamedTuple):
    """What models say that have not seen the rows.

    Parameters
    ----------
    margins : ndarray of shape (n_rows,), float32
        Probability of the label minus the largest of another class, by models that have not seen the label. nan where
        there are none.
    likely : ndarray of shape (n_rows,), int32
        The class that is favored: the label, if the trust in it is not negative, otherwise the most probable other class.
    label_noise : float
        Estimated share of wrong labels, nan if it can't be known.
    reason : str
        Why it can't be known, a clause without a stop at its end.
    curve : ndarray of shape (3, n_shares), float64
        Shares that were left out, the accuracy on held-out rows, and the standard error of its difference to the first.
        Nothing if there was no test.
    attainable : float
        The best accuracy of a model on held-out rows.
    net_weight : float
        Weight of the margins of the net in trust, in [0, 1]. The others have the rest.
    rows : ndarray of shape (n_kept,), int64
        The rows of the test, ascending.
    components : ndarray of shape (n_kept, n_components), float32
        Their features.
    fold_trust : ndarray of shape (n_splits, n_kept), float32
        The trust in them by models that have seen no label of the rows of a fold, for which it is nan.
    """

    margins: np.ndarray
    likely: np.ndarray
    label_noise: float
    reason: str
    curve: np.ndarray
    attainable: float
    net_weight: float
    rows: np.ndarray
    components: np.ndarray
    fold_trust: np.ndarray

    @property
    def is_tested(self):
        """Whether anything was tested on held-out rows."""
        return len(self.rows) > 0

    def trust(self, net_margins):
        """Return how much the net and the views speak for the labels, of shape (n_rows,), in [-1, 1]."""
        return _mean(net_margins, self.margins, self.net_weight)

    def suspects(self, net_margins, y):
        """Return the least trusted rows, as many as the estimated number of wrong labels, as a mask."""
        mask = np.zeros(len(y), dtype=bool)
        if np.isnan(self.label_noise):
            return mask
        if not self.is_tested:
            return _contradicted(net_margins, y)
        order = np.argsort(self.trust(net_margins), kind="stable")
        mask[order[: round(self.label_noise * len(mask))]] = True
        return mask

    def describe(self):
        """Return in words what the test says."""
        n_rows = len(self.margins)
        if np.isnan(self.label_noise):
            return f"no row is a suspect, because {self.reason}"
        n_suspects = round(self.label_noise * n_rows)
        if not self.is_tested:
            return f"{n_suspects} of {n_rows} rows are suspects by the net alone, because {self.reason}"
        if not n_suspects:
            return f"held-out rows are predicted best with all {n_rows} rows"
        shares, scores, _ = self.curve
        after = scores[np.abs(shares - self.label_noise).argmin()]
        return (
            f"{n_suspects} of {n_rows} rows ({n_suspects / n_rows:.1%}) are suspects: without such rows, {after:.1%} of the "
            f"held-out rows are predicted rightly, and {scores[0]:.1%} with them"
        )


def hold_out(X, y, net_margins, *, same_features=False, seed=0):
    """Ask models about rows that they have not seen, and estimate how many labels are wrong.

    Wrong labels contradict the models as strongly as other labels of the same rows do. The share of labels that do so is the
    estimate, after [1]_. It is checked by a test: if light models predict held-out rows worse without so many of the least
    trusted rows, then these are only hard, and fewer are suspects.

    Parameters
    ----------
    X : array-like of shape (n_rows, ...), or another container
    y : ndarray of shape (n_rows,), int64
        Class numbers from 0.
    net_margins : ndarray of shape (n_rows,), float
        Mean margins of the scoring net, nan where they are not known.
    same_features : bool, default=False
        Whether the scoring net gets `X` as the models do. If it contradicts far fewer labels even so, it has memorized
        them, and has less weight in trust. A net that may see more than `X` does and contradicts far fewer labels has all
        the weight.
    seed : int, default=0

    Returns
    -------
    held_out : HeldOut

    References
    ----------
    .. [1] C. Scott, G. Blanchard and G. Handy, "Classification with Asymmetric Label Noise: Consistency and Maximal
       Denoising", COLT 2013.
    """
    if len(y) < _FEWEST_ROWS:
        return _unknown(y, f"{len(y)} rows are too few for a test on held-out rows, which needs {_FEWEST_ROWS}")
    numbers = as_numbers(X)
    if numbers is None:
        return _by_net_alone(
            y, net_margins, "X is no array of finite numbers, so that no model can be tested on its rows"
        )
    rng = np.random.RandomState(seed)
    rows = some_rows(np.arange(len(y)), min(_MAX_ROWS, _MAX_NUMBERS // int(np.prod(numbers.shape[1:]))), rng)
    if len(rows) < min(len(y), _MIN_ROWS):
        return _by_net_alone(y, net_margins, "X has too many columns for a test on held-out rows")
    features = Features(numbers, rows, rng)
    spaces = features.transform(numbers, rows)
    n_classes = int(y.max()) + 1
    views = Views(spaces, y[rows], n_classes, seed)
    margins, other, probability, redrawn = _ask(views, features, spaces, rows, numbers, y, n_classes, rng)
    accuracy = float(np.mean(margins[rows] > 0))
    weight = _weight_of_net(margins, net_margins, same_features)
    trust = _mean(net_margins, margins, weight)
    likely = np.where(trust < 0, other, y).astype(np.int32)
    asked = _tested_rows(y[rows], rng)
    tested, spaces = rows[asked], [space[asked] for space in spaces]
    right, fold_trust = _test(spaces, y[tested], net_margins[tested], weight, rng)
    mean_right = _weighted(right)
    noise = _harmless_share(_share_of_wrong(margins[rows], redrawn, n_classes), mean_right)
    reason = ""
    if not _is_predictable(margins[rows], probability, y[rows]):
        noise, reason = np.nan, "the labels can't be predicted from X better than by the sizes of the classes"
    attainable = max(accuracy, float(right[:, 0].mean(1).max()))
    kept = tested, spaces[0], fold_trust
    return HeldOut(margins, likely, noise, reason, _curve(mean_right), attainable, weight, *kept)


def _is_predictable(margins, probability, y):
    """Tell whether the views predict the labels clearly better than the sizes of the classes do, on all rows or by class."""
    sizes = np.bincount(y)
    gains = (margins > 0) - sizes.max() / len(y), (probability - sizes[y] / len(y)) / sizes[y]
    return any(gain.sum() > _SKILL * np.sqrt(np.square(gain).sum()) for gain in gains)


def _unknown(y, reason, label_noise=np.nan):
    nothing = np.zeros((0, 0), np.float32)
    margins = np.full(len(y), np.nan, np.float32)
    rows = np.zeros(0, np.int64)
    return HeldOut(
        margins, y.astype(np.int32), label_noise, reason, np.zeros((3, 0)), np.nan, 1.0, rows, nothing, nothing
    )


def _by_net_alone(y, net_margins, reason):
    return _unknown(y, reason, np.nan if np.isnan(net_margins).any() else float(_contradicted(net_margins, y).mean()))


def _contradicted(net_margins, y):
    """Tell which labels the net contradicts as strongly as it agrees with the average label of the class."""
    sizes = np.bincount(y)
    means = np.bincount(y, net_margins) / np.maximum(sizes, 1)
    return (net_margins < -means[y]) & (means[y] > 0)


def _ask(views, features, spaces, rows, numbers, y, n_classes, rng):
    """Return of every row the margin and the most probable other class, and of `rows` the label's probability and the margin of
    another label, drawn at random."""
    margins, other = np.empty(len(y), np.float32), np.empty(len(y), np.int32)
    probability, redrawn = np.empty(len(rows), np.float32), np.empty(len(rows), np.float32)
    drawn = (y[rows] + rng.randint(1, n_classes, len(rows))) % n_classes
    n_chunk = max(_CHUNK // max(n_classes, 4 * N_COMPONENTS), 1)
    for start in range(0, len(rows), n_chunk):
        some = slice(start, start + n_chunk)
        part, predicted = rows[some], views.left_out(some)
        margins[part], other[part] = compare(predicted, y[part])
        redrawn[some], _ = compare(predicted, drawn[some])
        probability[some] = predicted[np.arange(len(part)), y[part]]
    others = np.setdiff1d(np.arange(len(y)), rows, assume_unique=True)
    for start in range(0, len(others), n_chunk):
        part = others[start : start + n_chunk]
        margins[part], other[part] = compare(views.predict(features.transform(numbers, part)), y[part])
    return margins, other, probability, redrawn


def _weight_of_net(margins, net_margins, same_features):
    if np.isnan(net_margins).any():
        return 0.0
    contradicted, by_net = np.mean(margins < 0), np.mean(net_margins < 0)
    if not same_features:
        return 1.0 if by_net < contradicted - _MAX_SHORTFALL else 0.5
    weight = min(2 * by_net / contradicted, 1) if contradicted else 1
    return float(weight / (1 + weight))


def _mean(net_margins, margins, weight):
    if weight in (0.0, 1.0):  # the other ones may be nan
        return net_margins if weight else margins
    return weight * net_margins + (1 - weight) * margins


def _tested_rows(y, rng):
    sizes = np.bincount(y)
    rows = np.flatnonzero(np.isin(y, np.argsort(-sizes, kind="stable")[:_MAX_TEST_CLASSES]))
    return some_rows(rows, _MAX_TEST_ROWS, rng)


def _test(spaces, y, net_margins, weight, rng):
    """Leave out more and more of the least trusted rows, and predict the rows of every fold.

    Returns
    -------
    right : ndarray of shape (n_models, n_shares, n_rows)
        How often each row is predicted rightly, averaged over repeats.
    fold_trust : ndarray of shape (n_splits, n_rows), float32
        Trust in the rows outside of every fold, by views of these rows alone. Otherwise, rows that contradict the rows of
        the fold would have less trust, which favors leaving out many.
    """
    y = np.unique(y, return_inverse=True)[1]
    n_classes, n_repeats = int(y.max()) + 1, next((n for limit, n in _REPEATS if len(y) >= limit), _MOST_REPEATS)
    right: Any = 0
    fold_trust = []
    for _ in range(n_repeats):
        folds = rng.permutation(len(y)) % _N_FOLDS
        parts = []
        for fold in range(_N_FOLDS):
            tested, trained = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
            views = Views([space[trained] for space in spaces], y[trained], n_classes, fold, _N_FOLD_TREES)
            margins, _ = compare(views.left_out(slice(None)), y[trained])
            trust = np.full(len(y), np.nan, np.float32)
            trust[trained] = _mean(net_margins[trained], margins, weight)
            models = _models(spaces, y, n_classes, views, trained, tested)
            parts.append(
                (tested, _predict_rightly(models, trained[np.argsort(-trust[trained], kind="stable")], tested, y))
            )
            fold_trust.append(trust)
        order = np.argsort(np.concatenate([tested for tested, _ in parts]))
        right = right + np.concatenate([part for _, part in parts], axis=2)[:, :, order] / n_repeats
    return right, np.stack(fold_trust)


def _models(spaces, y, n_classes, views, trained, tested):
    models = [
        GrowingRidge(spaces[0], y, n_classes, views.ridges[0].penalty),
        GrowingRidge(spaces[1], y, n_classes, views.ridges[1].penalty),
        GrowingNeighbors(spaces[0], y, n_classes, trained, tested),
    ]
    return (
        models if views.forest is None else [*models, GrowingForest(views.forest.trees.apply(spaces[0]), y, n_classes)]
    )


def _predict_rightly(models, most_trusted_first, tested, y):
    """Tell which rows are predicted rightly by each model at each share; shape (n_models, n_shares, n_tested)."""
    right = np.zeros((len(models), len(SHARES), len(tested)), np.float32)
    start = 0
    for i in reversed(range(len(SHARES))):
        end = len(most_trusted_first) - round(SHARES[i] * len(most_trusted_first))
        for model, row in zip(models, right, strict=True):
            model.add(most_trusted_first[start:end])
            row[i] = is_right(model.predict(tested), y[tested])
        start = end
    return right


def _share_of_wrong(margins, redrawn, n_classes):
    """Return the estimated share of wrong labels by the margins of the labels, and of other labels of the same rows.

    Low margins are those of wrong labels alone. Their share of the given labels is the share of wrong ones. Of the other labels,
    nearly all are wrong, except for those of rows whose given label is wrong: one in ``n_classes - 1`` of them is right.
    """
    limits = np.quantile(redrawn, _QUANTILES)
    shares = (margins <= limits[:, None]).mean(1) / (redrawn <= limits[:, None]).mean(1)
    share = shares.min() / (1 + shares.min() / (n_classes - 1))
    return share if share >= max(_LEAST_SHARE, _LEAST_NUMBER / len(margins)) else 0.0


def _harmless_share(share, right):
    """Return a share if leaving so many rows out does no harm, and otherwise the largest smaller one that does none.

    Parameters
    ----------
    share : float
    right : ndarray of shape (n_shares, n_rows)
        How well each row is predicted, in [0, 1].
    """
    gains = right - right[0]
    is_harmless = gains.mean(1) >= -_HARM * gains.std(1) / np.sqrt(gains.shape[1])
    nearest = int(np.abs(SHARES - share).argmin())
    return share if is_harmless[nearest] else float(SHARES[np.flatnonzero(is_harmless[:nearest])[-1]])


def _weighted(right):
    """Return the mean over models, of which those that are accurate on all rows weigh most."""
    accuracy = right[:, 0].mean(1)
    weights = np.exp((accuracy - accuracy.max()) / _FADING)
    return np.tensordot(weights / weights.sum(), right, axes=1)


def _curve(right):
    return np.stack([SHARES, right.mean(1), [_error(gain) for gain in right - right[0]]])


def _error(values):
    return values.std() / np.sqrt(len(values))
