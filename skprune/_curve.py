"""How much can be dropped."""

import numbers
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import sklearn.pipeline
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV, check_cv
from sklearn.utils import Bunch

from skprune._pipeline import Pipeline, make_pipeline
from skprune._selection import Strategy, check_selection
from skprune._selector import ForgettingSelector
from skprune._strategies import count_kept

K = (0.1, 0.3, 0.5, 0.7, 0.9)
STRATEGIES = ("most_forgotten", "coverage", "random")


@dataclass(frozen=True)
class fewest_rows:
    """Choose the candidate of a search that keeps the fewest rows and is nearly as good as the best.

    Pass it to a search as `refit`, as in ``GridSearchCV(pipe, {"prune__k": [0.5, 0.3, 0.1]}, refit=fewest_rows())``.
    The search must vary the `k` of one selector, which is named ``k``, or whose name ends in ``__k``. If other steps have a
    parameter of that name, the selector's is the one whose values are shares or ``"auto"``. Among the candidates whose
    mean score is close enough to the best, the one with the smallest `k` is refitted. If several have that `k`, it is
    the one with the best mean score.

    Parameters
    ----------
    within : float or "1se", default=0.01
        How far the mean score may be below the best one. Either a number >= 0, in the unit of the score, or ``"1se"``
        for one standard error of the best mean score over the folds, as in [1]_.
    scoring : str, default="score"
        Name of the score to use if the search computes several.

    See Also
    --------
    pruning_curve : Cross-validates several `k` and strategies, and applies the same rule.
    sklearn.model_selection.GridSearchCV : Accepts it as `refit`.

    Notes
    -----
    Candidates without a finite mean score, such as those that failed in a fold, are ignored. A `k` of 1.0 keeps more
    than any other, followed by ``"auto"``, which keeps all rows but the suspects. Other shares and numbers of rows (0.3
    and 500) can't be compared, because `cv_results_` does not contain the number of rows. Use only one kind in a search.

    As with any callable as `refit`, scikit-learn sets `best_index_`, `best_params_` and `best_estimator_`, but no
    `best_score_`. Use ``search.cv_results_["mean_test_score"][search.best_index_]`` instead. If the search computes
    several scores, use ``search.best_estimator_.score`` instead of ``search.score``.

    :class:`~sklearn.model_selection.HalvingGridSearchCV` ignores a callable `refit` and takes the best score. Call
    ``fewest_rows()(search.cv_results_)`` afterwards: it compares the candidates of the last iteration.

    References
    ----------
    .. [1] L. Breiman et al., "Classification and Regression Trees", 1984, section 3.4.3.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skprune import ForgettingSelector, Pipeline, fewest_rows
    >>> X, y = load_iris(return_X_y=True)
    >>> prune = ForgettingSelector(strategy="random", random_state=0)
    >>> pipe = Pipeline([("prune", prune), ("clf", LogisticRegression(max_iter=1000))])
    >>> search = GridSearchCV(pipe, {"prune__k": [1.0, 0.4]}, refit=fewest_rows(within=0.05), cv=2).fit(X, y)
    >>> search.best_params_
    {'prune__k': 0.4}
    """

    within: float | str = 0.01
    scoring: str = "score"

    def __post_init__(self):
        valid = self.within >= 0 if isinstance(self.within, numbers.Real) else self.within in ("1se",)
        if not valid or isinstance(self.within, bool):
            raise ValueError(f"within must be a number >= 0, or '1se' for one standard error; got {self.within!r}.")

    def __call__(self, cv_results: Mapping[str, Any]) -> int:
        """Return the index of the chosen candidate.

        Parameters
        ----------
        cv_results : dict
            `cv_results_` of a search.

        Returns
        -------
        index : int

        Raises
        ------
        ValueError
            If the results contain no score with that name, or no finite one; if they do not contain exactly one `k` for
            every candidate; or if they mix shares and numbers of rows.
        """
        mean = self._mean_scores(cv_results)
        candidates = np.flatnonzero(np.isfinite(mean))
        if len(candidates) == 0:
            raise ValueError("No candidate has a finite mean score. Set error_score='raise' in the search to see why.")
        best = candidates[mean[candidates].argmax()]
        allowed = self._standard_error(cv_results, best) if self.within == "1se" else self.within
        gap = mean[best] - mean[candidates]
        sizes = _sizes([cv_results["params"][index] for index in candidates])
        # A tolerance for rounding errors: 0.95 is within 0.01 of 0.96.
        close = gap <= allowed + 1e-12 * max(1, abs(mean[best]))
        return int(min(zip(sizes[close], gap[close], candidates[close], strict=True))[-1])

    def _mean_scores(self, cv_results):
        name = f"mean_test_{self.scoring}"
        if name not in cv_results:
            found = [key.removeprefix("mean_test_") for key in cv_results if key.startswith("mean_test_")]
            raise ValueError(
                f"scoring={self.scoring!r} is not among the scores of the search: {', '.join(map(repr, found)) or 'none'}. "
                f"Name one of them, as in fewest_rows(scoring={(found or ['accuracy'])[0]!r})."
            )
        mean = np.array(cv_results[name], dtype=np.float64)
        if "iter" in cv_results:  # of a halving search, whose earlier iterations used fewer resources
            mean[np.array(cv_results["iter"]) < max(cv_results["iter"])] = np.nan
        return mean

    def _standard_error(self, cv_results, index):
        pattern = re.compile(rf"split\d+_test_{re.escape(self.scoring)}")
        scores = [values[index] for key, values in cv_results.items() if pattern.fullmatch(key)]
        if len(scores) < 2:
            raise ValueError(f"within='1se' needs at least two folds; the search has {len(scores)}. Give a number.")
        return np.std(scores, ddof=1) / np.sqrt(len(scores))


def _sizes(params):
    """Return how much each candidate keeps: a share or a number of rows, infinity for all rows."""
    searched = {name: [candidate.get(name) for candidate in params] for candidate in params for name in candidate}
    names = sorted(name for name in searched if name.rpartition("__")[2] == "k")
    if len(names) > 1:  # of other steps, such as SelectKBest, whose k is a number of columns
        names = [name for name in names if any(size == "auto" or _is_share(size) for size in searched[name])] or names
    if len(names) != 1:
        raise ValueError(
            "The search must vary one parameter named 'k' or '<step>__k', the number or share of rows to keep. It varies "
            f"{', '.join(sorted(searched))}; {', '.join(names) or 'none'} {'have' if len(names) > 1 else 'has'} such a name. "
            "If other steps have a k, give the selector's as shares."
        )
    (name,) = names
    for candidate in params:
        if name not in candidate:
            raise ValueError(
                f"The candidate {candidate} doesn't set {name}, so its number of rows is unknown. Set it in every grid of "
                f"the list; {name!r}: [1.0] keeps all rows."
            )
    shares = [size for size in searched[name] if _is_share(size) and size < 1]
    n_rows = [size for size in searched[name] if isinstance(size, numbers.Integral)]
    if n_rows and shares:
        raise ValueError(
            f"{name} is a number of rows in some candidates ({n_rows[0]}) and a share in others ({shares[0]}), which can't "
            "be compared without the number of training rows. Search over ints or over floats; 1.0 can be combined with both."
        )
    most = np.finfo(np.float64).max  # less than infinity
    return np.array(
        [most if size == "auto" else np.inf if _is_share(size) and size == 1 else size for size in searched[name]]
    )


def _is_share(size):
    return isinstance(size, numbers.Real) and not isinstance(size, numbers.Integral)


def pruning_curve(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    k: Sequence[float] | NDArray[Any] = K,
    strategies: Sequence[Strategy] = STRATEGIES,
    cv: Any = None,
    scoring: str | Callable[..., float] | None = None,
    within: float | str = 0.01,
    groups: Any = None,
    params: Mapping[str, Any] | None = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> Bunch:
    """Cross-validate a pruning Pipeline for several `k` and strategies, and with all rows.

    [1]_ uses this curve to show that forgotten rows matter most. Only training rows are pruned; test rows never are. The
    scoring net is trained once for every fold, whatever the number of `k` and strategies.

    Parameters
    ----------
    estimator : estimator
        A :class:`Pipeline` with a :class:`ForgettingSelector` in it, or any estimator that holds just one of them.
        Any other estimator is preceded by a `ForgettingSelector()`. It is cloned and never changed.
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
        As in :func:`sklearn.model_selection.cross_val_score`. The same folds are used for all `k` and strategies.
    scoring : str or callable, default=None
        As in :func:`sklearn.model_selection.cross_val_score`; None takes the `score` of `estimator`.
    within : float or "1se", default=0.01
        How far the mean score of `fewest_rows` may be below the best one, as in :class:`fewest_rows`.
    groups : array-like of shape (n_samples,), default=None
        Groups of the rows, which splitters such as :class:`~sklearn.model_selection.GroupKFold` need. They are used
        for the split alone.
    params : dict, default=None
        Parameters for the `fit` of the estimator and for the scorer, as in
        :func:`sklearn.model_selection.cross_validate`. Those with an entry for each row are cut like `X`. If `estimator`
        has no selector, they are for the Pipeline that is made, as in ``{"svc__sample_weight": sample_weight}``.
    n_jobs : int, default=None
        Number of fits that run in parallel with joblib.
    verbose : int, default=0
        How much to print, as in :class:`sklearn.model_selection.GridSearchCV`.

    Returns
    -------
    curve : :class:`~sklearn.utils.Bunch`
        ``PruningCurveDisplay(**curve).plot()`` draws it.

        strategies : list of str, of length n_strategies
            Names.
        shares : ndarray of shape (n_k,), float64
            Shares of the training rows kept.
        scores : ndarray of shape (n_strategies, n_k, n_folds), float64
            Scores on test rows; nan where a fit failed.
        full_scores : ndarray of shape (n_folds,), float64
            Scores on test rows where all training rows are kept.
        fewest_rows : :class:`~sklearn.utils.Bunch` or None
            The candidate with the fewest rows among those whose mean score is close enough to the best: its `strategy`,
            `k`, `share` and mean `score`. Keeping all rows is a candidate, too, with `strategy` None and `k` 1.0. None if no
            mean score is finite.

    Raises
    ------
    ValueError
        If a parameter is out of its range, `estimator` contains several selectors, or all fits failed.
    TypeError
        If `estimator` is only a selector, or a Pipeline of another library with a selector in it.

    Warns
    -----
    FitFailedWarning
        If fits failed. It says how many, and why.
    PruningWarning
        If a selection will probably do harm.

    See Also
    --------
    PruningCurveDisplay : Draws the curve.
    fewest_rows : Applies the rule of `within` to a search.
    sklearn.model_selection.validation_curve : The same over any parameter of any estimator.

    Notes
    -----
    The scoring net is trained once for every fold if clones of the selector can share its runs. The steps before the
    selector must therefore give the same result for the same rows each time: set the `random_state` of random ones. If
    they are slow, set the `memory` of the Pipeline.

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
    >>> curve = pruning_curve(pipe, X, y, k=[0.3, 0.6], strategies=["most_forgotten", "random"], cv=3)
    >>> curve.scores.shape
    (2, 2, 3)
    >>> curve.full_scores.shape
    (3,)
    """
    _check_candidates(k, strategies)
    params = {} if params is None else dict(params)
    groups = params.pop("groups", groups)  # as metadata routing passes them
    choose = fewest_rows(within)
    estimator, name = _with_selector(estimator)
    check_scoring(estimator, scoring)
    splits = list(check_cv(cv, y, classifier=is_classifier(estimator)).split(X, y, groups))
    if within == "1se" and len(splits) < 2:
        raise ValueError("within='1se' needs at least two folds; cv gives 1. Give a number.")
    # With all rows, no strategy has anything to decide, and the default one would need a test to see that.
    grids = [
        {f"{name}__k": [1.0], f"{name}__strategy": ["random"]},
        {f"{name}__k": list(k), f"{name}__strategy": list(strategies)},
    ]
    search = GridSearchCV(
        estimator, grids, cv=splits, scoring=scoring, n_jobs=n_jobs, verbose=verbose, refit=False, error_score=np.nan
    )
    results = search.fit(X, y, **params).cv_results_
    scores = np.array([results[f"split{fold}_test_score"] for fold in range(len(splits))], dtype=np.float64).T
    n_train = [len(train) for train, _ in splits]
    shares = np.array([np.mean([count_kept(min(size, n_rows), n_rows) / n_rows for n_rows in n_train]) for size in k])
    # Shares instead of k, which may be shares and numbers of rows.
    kept = [1.0, *np.repeat(shares, len(strategies))]
    return Bunch(
        strategies=[_name_of(strategy) for strategy in strategies],
        shares=shares,
        scores=scores[1:].reshape(len(k), len(strategies), len(splits)).swapaxes(0, 1),
        full_scores=scores[0],
        fewest_rows=_place_of(results, kept, choose, name),
    )


def _place_of(results, kept, choose, name):
    """Return the candidate that `choose` takes by the shares `kept`, or None if no mean score is finite."""
    if not np.isfinite(results["mean_test_score"]).any():
        return None
    index = choose({**results, "params": [{"k": share} for share in kept]})
    chosen = results["params"][index]
    strategy = _name_of(chosen[f"{name}__strategy"]) if index else None
    score = float(results["mean_test_score"][index])
    return Bunch(strategy=strategy, k=chosen[f"{name}__k"], share=float(kept[index]), score=score)


def _name_of(strategy):
    """Return the name of a strategy, which may be a callable."""
    return strategy if isinstance(strategy, str) else getattr(strategy, "__name__", repr(strategy))


def _check_candidates(k, strategies):
    for name, values, example in (("k", k, "k=[0.1, 0.5]"), ("strategies", strategies, 'strategies=["coverage"]')):
        if isinstance(values, str) or callable(values) or np.ndim(values) != 1 or len(values) == 0:
            raise ValueError(f"{name} must be a list with at least one value, such as {example}; got {values!r}.")
    if "auto" in list(k):
        raise ValueError("k of a curve must be shares or numbers of rows; 'auto' keeps a share that only a fit tells.")
    for size, strategy in product(k, strategies):
        check_selection(size, strategy, "drop", "margin", False, 0)


def _with_selector(estimator):
    """Return a clone of `estimator`, behind a selector if it holds none, and the name of the selector in it."""
    if isinstance(estimator, ForgettingSelector):
        raise TypeError(
            "A selector alone has no score. Put a classifier after it, as in "
            f"make_pipeline({estimator!r}, LogisticRegression())."
        )
    estimator = clone(estimator)
    names = [name for name, value in estimator.get_params().items() if isinstance(value, ForgettingSelector)]
    if not names:
        return make_pipeline(ForgettingSelector(), estimator), ForgettingSelector.__name__.lower()
    if len(names) > 1:
        raise ValueError(f"estimator must hold a single ForgettingSelector; got several: {', '.join(names)}.")
    holder = estimator.get_params().get(names[0].rpartition("__")[0], estimator)
    if isinstance(holder, sklearn.pipeline.Pipeline) and not isinstance(holder, Pipeline):
        raise TypeError(
            f"Only skprune.Pipeline can drop rows while fitting; got {type(holder).__module__}.{type(holder).__name__} "
            "with a ForgettingSelector. Import Pipeline or make_pipeline from skprune."
        )
    return estimator, names[0]
