"""How much can be dropped."""

import tempfile
from itertools import product

import numpy as np
import sklearn.pipeline
from sklearn.base import clone, is_classifier
from sklearn.model_selection import check_cv, cross_val_score
from sklearn.utils import Bunch
from tqdm import tqdm

from skprune._memory import is_off
from skprune._pipeline import Pipeline, make_pipeline
from skprune._selection import check_selection, count_kept
from skprune._selector import ForgettingSelector

K = (0.1, 0.3, 0.5, 0.7, 0.9)
STRATEGIES = ("most_forgotten", "coverage", "random")


def pruning_curve(estimator, X, y, *, k=K, strategies=STRATEGIES, cv=None, scoring=None, n_jobs=None, verbose=0):
    """Cross-validate a pruning Pipeline for several `k` and strategies, and with all rows.

    The curve by which [1]_ shows that forgotten rows are those that matter.
    Only training rows are pruned; test rows never are. The scoring net is trained once for every fold, whatever
    the number of `k` and strategies.

    Parameters
    ----------
    estimator : estimator
        A :class:`Pipeline` with a :class:`ForgettingSelector` in it, or any estimator that holds just one of them.
        Any other estimator is put behind ``ForgettingSelector()``. It is cloned and never changed.
    X : array-like with n_samples rows
        Whatever `estimator` takes and scikit-learn's cross-validation cuts.
    y : array-like of shape (n_samples,)
        Class labels.
    k : array-like of shape (n_k,), default=(0.1, 0.3, 0.5, 0.7, 0.9)
        Shares of the training rows to keep, as floats in (0, 1], or their numbers, as ints.
    strategies : list of {"most_forgotten", "least_forgotten", "coverage", "random"} or callables, \
            default=("most_forgotten", "coverage", "random")
        Which rows are kept, as in :class:`ForgettingSelector`.
    cv : int, cross-validation generator or iterable, default=None
        As in :func:`sklearn.model_selection.cross_val_score`. The same folds serve all `k` and strategies. Of a
        splitter by groups pass its splits, as in ``cv=list(GroupKFold().split(X, y, groups))``.
    scoring : str or callable, default=None
        As in :func:`sklearn.model_selection.cross_val_score`; None takes the `score` of `estimator`.
    n_jobs : int, default=None
        Folds that are fitted at the same time, through joblib.
    verbose : int, default=0
        1 shows a bar.

    Returns
    -------
    curve : :class:`~sklearn.utils.Bunch`
        ``PruningCurveDisplay(**curve).plot()`` draws it.

        strategies : list of str, of length n_strategies
            Names.
        shares : ndarray of shape (n_k,), float64
            Shares of the training rows kept.
        scores : ndarray of shape (n_strategies, n_k, n_folds), float64
            Scores on test rows.
        full_scores : ndarray of shape (n_folds,), float64
            Scores on test rows where all training rows are kept.

    Raises
    ------
    ValueError
        If a `k` or a strategy is out of its range, or `estimator` holds several selectors.
    TypeError
        If `estimator` is a selector alone, or a Pipeline of another library with a selector in it.

    See Also
    --------
    PruningCurveDisplay : Draws the curve.
    sklearn.model_selection.validation_curve : The same over any parameter of any estimator.

    Notes
    -----
    Trained scoring nets are found again by the data that they were trained on, in the `memory` of the selector or
    a temporary folder. Steps in front of the selector must hence make the same of the same rows each time: give
    random ones a `random_state`, and the Pipeline a `memory` if they are slow.

    References
    ----------
    .. [1] M. Toneva et al., "An Empirical Study of Example Forgetting during Deep Neural Network
       Learning", ICLR 2019. https://arxiv.org/abs/1812.05159

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skprune import ForgettingSelector, make_pipeline, pruning_curve
    >>> X, y = load_iris(return_X_y=True)
    >>> pipe = make_pipeline(ForgettingSelector(random_state=0), LogisticRegression(max_iter=1000))
    >>> curve = pruning_curve(pipe, X, y, k=[0.3, 0.6], strategies=["coverage", "random"], cv=3)
    >>> curve.shares
    array([0.3, 0.6])
    >>> curve.scores.shape
    (2, 2, 3)
    """
    _check_candidates(k, strategies)
    estimator, name = _with_selector(estimator)
    splits = list(check_cv(cv, y, classifier=is_classifier(estimator)).split(X, y))
    candidates = [{"k": 1.0}, *({"strategy": strategy, "k": size} for strategy, size in product(strategies, k))]
    with tempfile.TemporaryDirectory() as folder:
        memory = estimator.get_params()[name].memory
        if memory is None or is_off(memory):
            estimator.set_params(**{f"{name}__memory": folder})
        scores = []
        for candidate in tqdm(candidates, desc="Pruning curve", unit="candidate", disable=not verbose):
            pruning = clone(estimator).set_params(**{f"{name}__{param}": value for param, value in candidate.items()})
            scores.append(cross_val_score(pruning, X, y, cv=splits, scoring=scoring, n_jobs=n_jobs))
    return Bunch(
        strategies=[_name(strategy) for strategy in strategies],
        shares=np.array([np.mean([count_kept(size, len(train)) / len(train) for train, _ in splits]) for size in k]),
        scores=np.reshape(scores[1:], (len(strategies), len(k), len(splits))),
        full_scores=scores[0],
    )


def _check_candidates(k, strategies):
    for name, values, example in (("k", k, "k=[0.1, 0.5]"), ("strategies", strategies, 'strategies=["coverage"]')):
        if isinstance(values, str) or callable(values) or np.ndim(values) != 1 or len(values) == 0:
            raise ValueError(f"{name} must be a list of at least one to try, such as {example}; got {values!r}.")
    for size, strategy in product(k, strategies):
        check_selection(size, strategy, "drop", "margin", False)


def _with_selector(estimator):
    """Return a clone of `estimator`, behind a selector if it holds none, and the name of the selector in it."""
    if isinstance(estimator, ForgettingSelector):
        raise TypeError(
            "A selector alone has no score: put a classifier behind it, as in "
            f"make_pipeline({estimator!r}, LogisticRegression())."
        )
    estimator = clone(estimator)
    names = [name for name, value in estimator.get_params().items() if isinstance(value, ForgettingSelector)]
    if not names:
        return make_pipeline(ForgettingSelector(), estimator), ForgettingSelector.__name__.lower()
    if len(names) > 1:
        raise ValueError(
            f"estimator must hold one ForgettingSelector, whose k is varied; got several: {', '.join(names)}."
        )
    holder = estimator.get_params().get(names[0].rpartition("__")[0], estimator)
    if isinstance(holder, sklearn.pipeline.Pipeline) and not isinstance(holder, Pipeline):
        raise TypeError(
            f"Only skprune.Pipeline leaves rows out while fitting; got {type(holder).__module__}.{type(holder).__name__} "
            "with a ForgettingSelector. Import Pipeline or make_pipeline from skprune."
        )
    return estimator, names[0]


def _name(strategy):
    return strategy if isinstance(strategy, str) else getattr(strategy, "__name__", repr(strategy))
