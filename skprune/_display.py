"""Pictures of how much can be dropped, and of what was forgotten."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skprune._curve import STRATEGIES, K, pruning_curve
from skprune._selection import Strategy, check_choice
from skprune._selector import ForgettingSelector

# Color and marker of each strategy, the same in all figures, told apart by color-blind readers and in gray.
_STYLES = {
    "coverage": ("#0072B2", "D"),
    "most_forgotten": ("#D55E00", "o"),
    "least_forgotten": ("#999999", "s"),
    "random": ("#009E73", "^"),
}
_OTHER_STYLES = (("#CC79A7", "v"), ("#E69F00", "P"), ("#56B4E9", "X"))
_MAX_BARS = 60


class PruningCurveDisplay:
    """Pruning curve: scores against the share of training rows kept, with a line for each strategy.

    Use :meth:`from_estimator` to create one, or draw the result of :func:`pruning_curve` with
    ``PruningCurveDisplay(**curve).plot()``. All parameters are stored as attributes.

    Parameters
    ----------
    strategies : list of str, of length n_strategies
        Names for the legend.
    shares : ndarray of shape (n_k,), float64
        Shares of the training rows kept.
    scores : ndarray of shape (n_strategies, n_k, n_folds), float64
        Scores on test rows.
    full_scores : ndarray of shape (n_folds,), float64
        Scores on test rows where all training rows are kept.
    fewest_rows : :class:`~sklearn.utils.Bunch`, default=None
        The point to mark, with its `share` and `score`. If None, no point is marked.
    score_name : str, default=None
        Label of the y-axis. If None, "Score" is used.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curve.
    figure_ : matplotlib Figure
        Figure of the axes.
    lines_ : list of matplotlib Line2D
        Mean scores, one line for each strategy.
    fill_between_ : list of matplotlib PolyCollection
        Areas that show one standard deviation over the folds on either side, one for each strategy.
    full_line_ : matplotlib Line2D
        The mean score with all rows.
    fewest_rows_mark_ : matplotlib Line2D or None
        The mark of the candidate with the fewest rows among those whose mean score is close to the best.

    See Also
    --------
    pruning_curve : Computes the scores.
    sklearn.model_selection.ValidationCurveDisplay : The same over any parameter of any estimator.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skprune import ForgettingSelector, PruningCurveDisplay, make_pipeline
    >>> X, y = load_iris(return_X_y=True)
    >>> pipe = make_pipeline(ForgettingSelector(random_state=0), LogisticRegression(max_iter=1000))
    >>> display = PruningCurveDisplay.from_estimator(pipe, X, y, k=[0.3, 0.6], strategies=["random"], cv=2)
    >>> display.ax_.get_xlabel()
    'Share of training rows kept'
    >>> plt.close(display.figure_)
    """

    def __init__(
        self,
        *,
        strategies: Sequence[str],
        shares: ArrayLike,
        scores: ArrayLike,
        full_scores: ArrayLike,
        fewest_rows: Mapping[str, Any] | None = None,
        score_name: str | None = None,
    ) -> None:
        self.strategies = strategies
        self.shares = shares
        self.scores = scores
        self.full_scores = full_scores
        self.fewest_rows = fewest_rows
        self.score_name = score_name

    @classmethod
    def from_estimator(
        cls,
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
        ax: Any = None,
        score_name: str | None = None,
        line_kw: dict[str, Any] | None = None,
        fill_between_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Cross-validate a Pipeline with a selector and draw its pruning curve.

        Parameters
        ----------
        estimator, X, y, k, strategies, cv, scoring, within, groups, params, n_jobs, verbose : see :func:`pruning_curve`
            Passed to that function.
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        score_name : str, default=None
            Label of the y-axis. If None, it is made from `scoring`.
        line_kw, fill_between_kw : dict, default=None
            Passed to :meth:`plot`.

        Returns
        -------
        display : PruningCurveDisplay
            With the curve drawn.

        Raises
        ------
        ValueError, TypeError
            As in :func:`pruning_curve`.
        ImportError
            If matplotlib is not installed. Nothing is trained then.
        """
        _import_pyplot()  # says what is missing before anything is trained
        search = {"k": k, "strategies": strategies, "cv": cv, "scoring": scoring, "within": within}
        fits = {"groups": groups, "params": params, "n_jobs": n_jobs, "verbose": verbose}
        curve = pruning_curve(estimator, X, y, **search, **fits)
        if score_name is None and isinstance(scoring, str):
            score_name = scoring.replace("neg_", "negative ").replace("_", " ").capitalize()
        display = cls(**curve, score_name=score_name)
        return display.plot(ax=ax, line_kw=line_kw, fill_between_kw=fill_between_kw)

    def plot(
        self,
        ax: Any = None,
        *,
        score_name: str | None = None,
        line_kw: dict[str, Any] | None = None,
        fill_between_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        score_name : str, default=None
            Label of the y-axis. If None, that of the display is used.
        line_kw : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.plot` for the mean scores.
        fill_between_kw : dict, default=None
            Keyword arguments of :meth:`matplotlib.axes.Axes.fill_between` for the standard deviations.

        Returns
        -------
        display : PruningCurveDisplay
            This object.

        Raises
        ------
        ValueError
            If `scores` does not have one entry for each of the `strategies`.
        ImportError
            If `ax` is None and matplotlib is not installed.
        """
        self.ax_, self.figure_ = axes_of(ax)
        order = np.argsort(self.shares)
        shares = np.asarray(self.shares)[order]
        self.lines_, self.fill_between_ = [], []
        others = cycle(_OTHER_STYLES)
        for strategy, scores in zip(self.strategies, np.asarray(self.scores), strict=True):
            color, marker = _STYLES[strategy] if strategy in _STYLES else next(others)
            mean, spread = scores[order].mean(1), scores[order].std(1)
            style = {"label": strategy.replace("_", " "), "color": color, "marker": marker, "markersize": 5}
            (line,) = self.ax_.plot(shares, mean, **(style | (line_kw or {})))
            style = {"color": line.get_color(), "alpha": 0.15, "linewidth": 0} | (fill_between_kw or {})
            self.lines_.append(line)
            self.fill_between_.append(self.ax_.fill_between(shares, mean - spread, mean + spread, **style))
        self.full_line_ = self.ax_.axhline(
            np.asarray(self.full_scores).mean(), color="black", linestyle="--", linewidth=1, label="all rows"
        )
        self.fewest_rows_mark_ = None
        if self.fewest_rows is not None:
            label = f"fewest rows: {self.fewest_rows['share']:.0%}"
            ring = {"marker": "o", "markersize": 13, "fillstyle": "none", "markeredgewidth": 1.5, "linestyle": "none"}
            place = [self.fewest_rows["share"]], [self.fewest_rows["score"]]
            (self.fewest_rows_mark_,) = self.ax_.plot(*place, color="black", label=label, **ring)
        self.ax_.xaxis.set_major_formatter("{x:.0%}")
        self.ax_.set(xlabel="Share of training rows kept", ylabel=score_name or self.score_name or "Score")
        self.ax_.legend()
        return self


class ForgettingDisplay:
    """Plot of forgetting events: a histogram, or a map of the rows.

    The histogram is that of [1]_, and the map is similar to that of [2]_. Use :meth:`from_selector` to create a display. All
    parameters are stored as attributes.

    Parameters
    ----------
    forgetting_scores : ndarray of shape (n_rows,), int or float
        Number of forgetting events of each row.
    margins : ndarray of shape (n_rows,), float64, default=None
        Mean margins. Required for the map.
    never_learned : ndarray of shape (n_rows,), bool, default=None
        Whether each row was never predicted correctly. If None, there are no such rows.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the picture.
    figure_ : matplotlib Figure
        Figure of the axes.
    bars_ : matplotlib BarContainer
        Number of learned rows by forgetting events. Only defined for ``kind="hist"``.
    never_learned_bar_ : matplotlib BarContainer
        Number of never-learned rows. Only defined for ``kind="hist"``.
    points_ : matplotlib PathCollection
        Learned rows. Only defined for ``kind="map"``.
    never_learned_points_ : matplotlib PathCollection
        Never-learned rows. Only defined for ``kind="map"``.

    See Also
    --------
    ForgettingSelector : Computes the scores.
    PruningCurveDisplay : Shows how many rows can be dropped.

    References
    ----------
    .. [1] M. Toneva et al., "An Empirical Study of Example Forgetting during Deep Neural Network
       Learning", ICLR 2019. https://arxiv.org/abs/1812.05159
    .. [2] S. Swayamdipta et al., "Dataset Cartography: Mapping and Diagnosing Datasets with Training
       Dynamics", EMNLP 2020. https://arxiv.org/abs/2009.10795

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from skprune import ForgettingDisplay, ForgettingSelector
    >>> selector = ForgettingSelector(random_state=0).fit(*load_iris(return_X_y=True))
    >>> display = ForgettingDisplay.from_selector(selector, kind="map")
    >>> display.ax_.get_ylabel()
    'Mean margin'
    >>> plt.close(display.figure_)
    """

    def __init__(
        self, *, forgetting_scores: ArrayLike, margins: ArrayLike | None = None, never_learned: ArrayLike | None = None
    ) -> None:
        self.forgetting_scores = forgetting_scores
        self.margins = margins
        self.never_learned = never_learned

    @classmethod
    def from_selector(cls, selector: ForgettingSelector, *, kind: str = "hist", ax: Any = None, **kwargs: Any) -> Self:
        """Plot the scores of a fitted selector.

        Parameters
        ----------
        selector : ForgettingSelector
            A fitted selector.
        kind, ax, **kwargs : see :meth:`plot`
            Passed to that method.

        Returns
        -------
        display : ForgettingDisplay
            With the picture drawn.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If `selector` is not fitted.
        ValueError
            If `kind` is unknown, or if a map is requested and a margin is missing, as for scores passed as an array.
        ImportError
            If `ax` is None and matplotlib is not installed.
        """
        display = cls(
            forgetting_scores=selector.forgetting_scores_,
            margins=selector.margins_,
            never_learned=selector.never_learned_,
        )
        return display.plot(ax=ax, kind=kind, **kwargs)

    def plot(self, ax: Any = None, *, kind: str = "hist", **kwargs: Any) -> Self:
        """Plot the distribution of forgetting events, or a map of the rows.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        kind : {"hist", "map"}, default="hist"
            ``"hist"`` draws the number of rows for each number of events, on a logarithmic scale. ``"map"`` draws a
            point for each row, with its mean margin against its events. Points are shifted horizontally by up to 0.3
            events to reduce overlap.
        **kwargs : dict
            Keyword arguments of :meth:`matplotlib.axes.Axes.bar` (`"hist"`) or
            :meth:`matplotlib.axes.Axes.scatter` (`"map"`) for the learned rows.

        Returns
        -------
        display : ForgettingDisplay

        Raises
        ------
        ValueError
            If `kind` is unknown, or if a map is requested and a margin is missing.
        ImportError
            If `ax` is None and matplotlib is not installed.
        """
        check_choice("kind", kind, ("hist", "map"))
        if kind == "map" and (self.margins is None or np.isnan(self.margins).any()):
            raise ValueError(
                "kind='map' needs the mean margin of every row. Scores passed as an array and rows that were never presented "
                "have none. Use a ForgettingScores in which all rows were presented, or kind='hist'."
            )
        counts = np.asarray(self.forgetting_scores)
        never = np.zeros(len(counts), dtype=bool) if self.never_learned is None else np.asarray(self.never_learned)
        self.ax_, self.figure_ = axes_of(ax)
        draw = self._plot_hist if kind == "hist" else self._plot_map
        draw(counts, never, kwargs)
        return self

    def _plot_hist(self, counts, never, kwargs):
        edges = _bin_edges(counts[~never])
        heights, _ = np.histogram(counts[~never], edges)
        width = edges[1] - edges[0]
        style = {"width": 0.8 * width, "color": "C0", "label": "learned"} | kwargs
        self.bars_ = self.ax_.bar((edges[:-1] + edges[1:]) / 2, heights, **style)
        highest = max(1, heights.max(), never.sum())
        self.ax_.set(xlabel="Forgetting events", ylabel="Rows", ylim=(0.5, 2 * highest), yscale="log")

        # Never-learned rows have no place among the counts, but a mark of their own behind them.
        apart = edges[-1] + width
        style = {"width": 0.8 * width, "color": "C3", "hatch": "//", "edgecolor": "white", "label": "never learned"}
        self.never_learned_bar_ = self.ax_.bar([apart] if never.any() else [], never.sum(), **style)
        if counts.dtype.kind != "f":
            self.ax_.xaxis.get_major_locator().set_params(integer=True)
        if never.any():
            ticks = [tick for tick in self.ax_.get_xticks() if edges[0] <= tick <= edges[-1]]
            self.ax_.set_xticks([*ticks, apart], [*(f"{tick:g}" for tick in ticks), "never\nlearned"])

    def _plot_map(self, counts, never, kwargs):
        # No seed that labels may have been drawn with, or the points would show a pattern that is none.
        x = counts + np.random.default_rng(20190506).uniform(-0.3, 0.3, len(counts))
        y = np.asarray(self.margins)
        # Points go into paper as one picture, however many there are.
        style = {"s": 8, "alpha": 0.5, "linewidth": 0, "rasterized": True}
        self.points_ = self.ax_.scatter(x[~never], y[~never], **(style | {"color": "C0", "label": "learned"} | kwargs))
        label = "never learned" if never.any() else None
        self.never_learned_points_ = self.ax_.scatter(x[never], y[never], **style, color="C3", label=label)
        self.ax_.axhline(0, color="black", linestyle="--", linewidth=1, label="below: net disagrees with label")
        self.ax_.xaxis.get_major_locator().set_params(integer=True)
        self.ax_.set(xlabel="Forgetting events", ylabel="Mean margin", ylim=(-1.05, 1.05))
        self.ax_.legend(loc="upper right")  # where few rows are: often forgotten, yet predicted surely


def _bin_edges(scores):
    """Return bins of one count each, or of several where there are too many to see; of any width for other scores."""
    if len(scores) and scores.dtype.kind == "f":
        edges = np.histogram_bin_edges(scores, "auto")
        return edges if len(edges) <= _MAX_BARS + 1 else np.linspace(edges[0], edges[-1], _MAX_BARS + 1)
    first, last = int(scores.min(initial=0)), int(scores.max(initial=0))
    width = -(-(last - first + 1) // _MAX_BARS)
    return np.arange(first, last + 1 + width, width) - 0.5


def axes_of(ax):
    """Return axes, new ones where `ax` is None, and their figure."""
    if ax is None:
        _, ax = _import_pyplot().subplots(layout="constrained")
    return ax, ax.figure


def _import_pyplot():
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Displays require matplotlib, which is not installed: pip install 'skprune[plot]'."
        ) from error
    return plt
