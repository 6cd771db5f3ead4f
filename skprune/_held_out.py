"""What models say about rows that they have not seen: whose labels are probably wrong, and how many are."""

from typing import NamedTuple

import numpy as np

from skprune._features import N_COMPONENTS, Features, as_numbers, some_rows
from skprune._leave_out import HeldOutTest, Sample, mean_margin, run_test
from skprune._threads import one_thread
from skprune._views import Views, compare

# Views are fitted to at most this many rows and numbers, and not at all if these are too few rows of X.
_MAX_ROWS, _MAX_NUMBERS, _MIN_ROWS = 20_000, 2**24, 1000
# With fewer rows, held-out rows say nothing.
_FEWEST_ROWS = 40
# The test uses at most this many rows, and the largest classes.
_MAX_TEST_ROWS, _MAX_TEST_CLASSES = 3000, 200
# Shares at which margins of given labels and of other labels are compared.
_QUANTILES = np.arange(5, 91, 5) / 100
# Below the lower ones lie few margins, so that chance matters there.
_FEW_MARGINS = 0.3
# Labels are redrawn among classes of at least so many rows.
_COMMON = 10
# Fewer wrong labels than this share, or this number, can't be told from rows that are hard.
_LEAST_SHARE, _LEAST_NUMBER = 0.02, 5
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
    attainable : float
        Accuracy of the models.
    net_weight : float
        Weight of the margins of the net in trust, in [0, 1]. The others have the rest.
    sample : Sample or None
        The rows for a test, if there can be one.
    test : HeldOutTest or None
        Its results, once it was run.
    """

    margins: np.ndarray
    likely: np.ndarray
    label_noise: float
    reason: str
    attainable: float
    net_weight: float
    sample: Sample | None = None
    test: HeldOutTest | None = None

    def with_test(self, recall=lambda name, function: function()):
        """Return the same with the results of a test, which is run if it was not yet."""
        if self.test is not None or self.sample is None:
            return self
        return self._replace(test=recall("test", lambda: run_test(self.sample)))

    def trust(self, net_margins):
        """Return how much the net and the views speak for the labels, of shape (n_rows,), in [-1, 1]."""
        return mean_margin(net_margins, self.margins, self.net_weight)

    def suspects(self, net_margins, y):
        """Return the least trusted rows, as many as the estimated number of wrong labels, as a mask."""
        mask = np.zeros(len(y), dtype=bool)
        if np.isnan(self.label_noise):
            return mask
        if self.sample is None:
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
        if self.sample is None:
            return f"{n_suspects} of {n_rows} rows are suspects by the net alone, because {self.reason}"
        if not n_suspects:
            return f"no labels of {n_rows} seem to be wrong"
        shares, scores, _ = self.with_test().test.curve
        after = scores[np.abs(shares - self.label_noise).argmin()]
        return (
            f"{n_suspects} of {n_rows} rows ({n_suspects / n_rows:.1%}) are suspects: the score on held-out rows is {after:.3f} "
            f"without such rows, and {scores[0]:.3f} with them"
        )


@one_thread()
def hold_out(X, y, net_margins, *, same_features=False):
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
        Mean margins of the scoring net, nan where they are not known. Rows without one are judged by the models alone.
    same_features : bool, default=False
        Whether the scoring net gets `X` as the models do. If it contradicts far fewer labels even so, it has memorized
        them, and has less weight in trust. A net that may see more than `X` does and contradicts far fewer labels has all
        the weight.

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
        reason = "X is no array of finite numbers, so that no model can be tested on its rows"
        return _by_net_alone(y, net_margins, reason)
    rng = np.random.RandomState(0)
    rows = some_rows(np.arange(len(y)), min(_MAX_ROWS, _MAX_NUMBERS // int(np.prod(numbers.shape[1:]))), rng)
    if len(rows) < min(len(y), _MIN_ROWS):
        return _by_net_alone(y, net_margins, "X has too many columns for a test on held-out rows")
    features = Features(numbers, rows, rng)
    spaces = features.transform(numbers, rows)
    views = Views(spaces, y[rows], int(y.max()) + 1, seed=0)
    margins, other, probability, redrawn = _ask(views, features, rows, numbers, y, rng)
    weight = _weight_of_net(margins, net_margins, same_features)
    likely = np.where(mean_margin(net_margins, margins, weight) < 0, other, y).astype(np.int32)
    sample = _draw_sample(rows, spaces[0], y[rows], net_margins, weight, rng)
    noise = _share_of_wrong(margins[rows], redrawn, len(_common_classes(y[rows])))
    held_out = HeldOut(margins, likely, noise, "", float(np.mean(margins[rows] > 0)), weight, sample)
    if not _is_predictable(margins[rows], probability, y[rows]):
        reason = "the labels can't be predicted from X better than by the sizes of the classes"
        return held_out._replace(label_noise=np.nan, reason=reason)
    if noise == 0:
        return held_out
    held_out = held_out.with_test()
    noise = held_out.test.harmless_share(noise)
    return held_out._replace(label_noise=noise if noise >= _LEAST_SHARE else 0.0)


def _unknown(y, reason, label_noise=np.nan):
    return HeldOut(np.full(len(y), np.nan, np.float32), y.astype(np.int32), label_noise, reason, np.nan, 1.0)


def _by_net_alone(y, net_margins, reason):
    return _unknown(y, reason, np.nan if np.isnan(net_margins).all() else float(_contradicted(net_margins, y).mean()))


def _contradicted(net_margins, y):
    """Tell which labels the net contradicts as strongly as it agrees with the average label of the class.

    It contradicts none of those whose margins are unknown.
    """
    known = ~np.isnan(net_margins)
    means = np.bincount(y, np.where(known, net_margins, 0)) / np.maximum(np.bincount(y, known), 1)
    return known & (net_margins < -means[y]) & (means[y] > 0)


def _ask(views, features, rows, numbers, y, rng):
    """Ask views that were fitted to `rows` about all rows.

    Return the margin and the most probable other class of every row, and of `rows` the probability of the label and the margin
    of another label, drawn at random.
    """
    margins, other = np.empty(len(y), np.float32), np.empty(len(y), np.int32)
    probability, redrawn = np.empty(len(rows), np.float32), np.empty(len(rows), np.float32)
    drawn = _redraw(y[rows], _common_classes(y[rows]), rng)
    n_chunk = max(_CHUNK // max(views.n_classes, 4 * N_COMPONENTS), 1)
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


def _common_classes(y):
    """Return the classes that are not rare. The margins of a class of a few rows are low whatever the row."""
    common = np.flatnonzero(np.bincount(y) >= _COMMON)
    return common if len(common) > 1 else np.unique(y)


def _redraw(y, classes, rng):
    """Return another class for each label, drawn from some classes."""
    steps = rng.randint(1, len(classes), len(y))
    places = np.searchsorted(classes, y) % len(classes)
    is_common = classes[places] == y
    return classes[np.where(is_common, places + steps, steps) % len(classes)]


def _weight_of_net(margins, net_margins, same_features):
    known = ~np.isnan(net_margins)
    if not known.any():
        return 0.0
    contradicted, by_net = np.mean(margins[known] < 0), np.mean(net_margins[known] < 0)
    if not same_features:
        return 1.0 if by_net < contradicted - _MAX_SHORTFALL else 0.5
    weight = min(2 * by_net / contradicted, 1) if contradicted else 1
    return float(weight / (1 + weight))


def _draw_sample(rows, components, y, net_margins, net_weight, rng):
    largest = np.argsort(-np.bincount(y), kind="stable")[:_MAX_TEST_CLASSES]
    kept = some_rows(np.flatnonzero(np.isin(y, largest)), _MAX_TEST_ROWS, rng)
    y = np.unique(y[kept], return_inverse=True)[1]
    return Sample(rows[kept], components[kept], y, net_margins[rows[kept]], net_weight)


def _share_of_wrong(margins, redrawn, n_classes):
    """Return the estimated share of wrong labels by the margins of the labels, and of other labels of the same rows.

    If low margins were those of wrong labels alone, their share of the given labels would be the share of wrong ones. Right
    labels have some as well, which raises all ratios but that of the lowest margins, so the smallest ratio is taken. Where
    margins are few, their number is raised to its upper limit at two standard errors, after [1]_.

    Of the other labels, nearly all are wrong, except for those of rows whose given label is wrong: one in ``n_classes - 1`` of
    them is right.

    .. [1] N. Gehrels, "Confidence Limits for Small Numbers of Events in Astrophysical Data", ApJ 303 (1986).
    """
    limits = np.quantile(redrawn, _QUANTILES)
    n_low = (margins <= limits[:, None]).sum(1)
    error = np.where(_QUANTILES < _FEW_MARGINS, 2 * np.sqrt(n_low + 0.75) + 1.75, 0)
    ratio = np.min((n_low + error) / (redrawn <= limits[:, None]).sum(1))
    share = ratio / (1 + ratio / (n_classes - 1))
    return share if share >= max(_LEAST_SHARE, _LEAST_NUMBER / len(margins)) else 0.0


def _is_predictable(margins, probability, y):
    """Tell whether the views predict the labels clearly better than the sizes of the classes do, on all rows or by class."""
    sizes = np.bincount(y)
    gains = (margins > 0) - sizes.max() / len(y), (probability - sizes[y] / len(y)) / sizes[y]
    return any(gain.sum() > _SKILL * np.sqrt(np.square(gain).sum()) for gain in gains)
