"""A picture of the test that tells how many labels are wrong."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skprune._display import axes_of
from skprune._selector import ForgettingSelector


class HeldOutCurveDisplay:
    """Score on held-out rows against the share of the least trusted rows that are left out.

    The curve rises as long as most of the rows that are left out have wrong labels. Use :meth:`from_selector` to create a
    display. All parameters are stored as attributes.

    Parameters
    ----------
    shares : array-like of shape (n_shares,), float
        Shares of the rows that are left out, the least trusted first. The first one is 0.
    scores : array-like of shape (n_shares,), float
        Mean scores on held-out rows.
    errors : array-like of shape (n_shares,), float
        Standard errors of the differences from the first score.
    label_noise : float, default=nan
        The share to mark, which is the estimated share of wrong labels. If nan, no share is marked.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curve.
    figure_ : matplotlib Figure
        Figure of the axes.
    line_ : matplotlib Line2D
        Differences from the score of all rows.
    fill_between_ : matplotlib PolyCollection
        Area of one standard error on either side.
    mark_ : matplotlib Line2D or None
        The estimated share of wrong labels.

    See Also
    --------
    ForgettingSelector : Its `held_out_curve_` and `label_noise_` are drawn.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_iris
    >>> from skprune import ForgettingSelector, HeldOutCurveDisplay
    >>> selector = ForgettingSelector(random_state=0).fit(*load_iris(return_X_y=True))
    >>> display = HeldOutCurveDisplay.from_selector(selector)
    >>> display.ax_.get_xlabel()
    'Share of rows left out'
    >>> plt.close(display.figure_)
    """

    def __init__(
        self, *, shares: ArrayLike, scores: ArrayLike, errors: ArrayLike, label_noise: float = float("nan")
    ) -> None:
        self.shares = shares
        self.scores = scores
        self.errors = errors
        self.label_noise = label_noise

    @classmethod
    def from_selector(cls, selector: ForgettingSelector, *, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the curve of a fitted selector.

        Parameters
        ----------
        selector : ForgettingSelector
            A fitted selector.
        ax, **kwargs : see :meth:`plot`
            Passed to that method.

        Returns
        -------
        display : HeldOutCurveDisplay
            With the curve drawn.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If `selector` is not fitted.
        ValueError
            If nothing could be tested on held-out rows, so that there is no curve.
        ImportError
            If `ax` is None and matplotlib is not installed.
        """
        check_is_fitted(selector)
        curve = selector.held_out_curve_
        if len(curve.shares) == 0:
            raise ValueError(
                "The selector has tested nothing on held-out rows, so there is no curve: X has no numbers, too few rows, or fit "
                "got scores without margins. Fit it on a matrix of features, such as embeddings."
            )
        display = cls(shares=curve.shares, scores=curve.scores, errors=curve.errors, label_noise=selector.label_noise_)
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. If None, a new figure is created.
        **kwargs : dict
            Keyword arguments of :meth:`matplotlib.axes.Axes.plot` for the line.

        Returns
        -------
        display : HeldOutCurveDisplay

        Raises
        ------
        ImportError
            If `ax` is None and matplotlib is not installed.
        """
        self.ax_, self.figure_ = axes_of(ax)
        shares, scores, errors = (np.asarray(part, dtype=float) for part in (self.shares, self.scores, self.errors))
        points = 100 * (scores - scores[0])
        (self.line_,) = self.ax_.plot(shares, points, **({"color": "C0", "marker": "o", "markersize": 4} | kwargs))
        self.fill_between_ = self.ax_.fill_between(
            shares, points - 100 * errors, points + 100 * errors, color=self.line_.get_color(), alpha=0.2, linewidth=0
        )
        self.ax_.axhline(0, color="black", linewidth=0.8)
        self.mark_ = None
        if np.isfinite(self.label_noise):
            label = f"estimated share of wrong labels: {self.label_noise:.0%}"
            self.mark_ = self.ax_.axvline(self.label_noise, color="C3", linestyle="--", label=label)
            self.ax_.legend()
        self.ax_.set(xlabel="Share of rows left out", ylabel="Points on held-out rows, against all rows")
        return self
