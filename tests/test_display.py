import copy

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import make_net
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from skprune import (
    ForgettingDisplay,
    ForgettingSelector,
    HeldOutCurveDisplay,
    PruningCurveDisplay,
    make_pipeline,
    pruning_curve,
)

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture
def pipe():
    return make_pipeline(ForgettingSelector(make_net(), random_state=0), LogisticRegression())


@pytest.fixture
def curve():
    rng = np.random.default_rng(0)
    return dict(
        strategies=["most_forgotten", "random"],
        shares=np.array([0.5, 0.1]),
        scores=rng.random((2, 2, 3)),
        full_scores=rng.random(3),
    )


@pytest.fixture(scope="module")
def selector(data):
    return ForgettingSelector(make_net(), random_state=0).fit(*data)


@pytest.fixture(scope="module")
def noisy():
    """A selector of 300 rows in two clear classes, a fifth with the label of the other."""
    rng = np.random.default_rng(0)
    right = np.arange(300) % 2
    X = rng.normal(size=(300, 2)) + 6 * right[:, None]
    wrong = rng.random(300) < 0.2
    return ForgettingSelector(random_state=0).fit(X, np.where(wrong, 1 - right, right))


def test_what_the_curve_draws(curve):
    display = PruningCurveDisplay(**curve).plot()
    assert display.figure_ is display.ax_.figure
    for line, area, scores in zip(display.lines_, display.fill_between_, curve["scores"], strict=True):
        # Shares ascend, in whatever order they were given.
        np.testing.assert_array_equal(line.get_xdata(), [0.1, 0.5])
        np.testing.assert_allclose(line.get_ydata(), scores.mean(1)[::-1])
        ends = area.get_paths()[0].get_extents().intervaly
        np.testing.assert_allclose(
            ends, [(scores.mean(1) - scores.std(1)).min(), (scores.mean(1) + scores.std(1)).max()]
        )
    assert display.full_line_.get_ydata()[0] == curve["full_scores"].mean()
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["most forgotten", "random", "all rows"]
    assert display.ax_.get_xlabel() == "Share of training rows kept"
    assert display.ax_.get_ylabel() == "Score"
    display.figure_.canvas.draw()
    assert "20%" in [label.get_text() for label in display.ax_.get_xticklabels()]


def test_the_fewest_rows_are_marked(curve):
    place = {"strategy": "random", "k": 12, "share": 0.1, "score": 0.42}
    display = PruningCurveDisplay(**curve, fewest_rows=place).plot()
    assert display.fewest_rows_mark_.get_xydata().tolist() == [[0.1, 0.42]]
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()][-1] == "fewest rows: 10%"
    display = PruningCurveDisplay(**curve).plot()
    assert display.fewest_rows_mark_ is None
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()][-1] == "all rows"


def test_each_strategy_has_one_colour_whatever_is_beside_it(curve):
    def colours(*names):
        scores = np.full((len(names), 2, 3), 0.5)
        lines = PruningCurveDisplay(**(curve | {"strategies": names, "scores": scores})).plot().lines_
        return {name: line.get_color() for name, line in zip(names, lines, strict=True)}

    everything = colours("most_forgotten", "least_forgotten", "mine", "coverage", "random", "yours")
    assert len(set(everything.values())) == 6
    for names in (["random"], ["coverage", "random"], ["random", "mine", "most_forgotten", "yours", "least_forgotten"]):
        assert colours(*names).items() <= everything.items()


def test_scores_that_are_missing_leave_a_gap(curve):
    curve["scores"][0, 1, 2] = np.nan
    display = PruningCurveDisplay(**curve).plot()
    np.testing.assert_array_equal(np.isnan(display.lines_[0].get_ydata()), [True, False])
    display.figure_.canvas.draw()


def test_how_the_curve_is_drawn_can_be_changed(curve):
    figure, ax = plt.subplots()
    display = PruningCurveDisplay(**curve, score_name="Recall")
    assert display.plot(ax=ax, line_kw={"linewidth": 5}, fill_between_kw={"alpha": 0.4}) is display
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert ax.get_ylabel() == "Recall"
    assert display.lines_[1].get_linewidth() == 5
    assert display.fill_between_[1].get_alpha() == 0.4
    assert display.plot(score_name="Precision").ax_.get_ylabel() == "Precision"


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({}, "Score"),
        ({"scoring": "neg_log_loss"}, "Negative log loss"),
        ({"scoring": "balanced_accuracy"}, "Balanced accuracy"),
        ({"scoring": "accuracy", "score_name": "Right", "within": 1}, "Right"),
        (
            {
                "cv": GroupKFold(2),
                "groups": np.arange(36) // 6,
                "params": {"logisticregression__sample_weight": np.arange(36)},
            },
            "Score",
        ),
    ],
)
def test_curve_from_estimator(pipe, data, params, name):
    data = [part[:36] for part in data]
    _, ax = plt.subplots()
    params = {"cv": 2, **params}
    display = PruningCurveDisplay.from_estimator(pipe, *data, k=[0.5], strategies=["random"], ax=ax, **params)
    assert display.ax_ is ax
    assert ax.get_ylabel() == name
    params.pop("score_name", None)
    curve = pruning_curve(pipe, *data, k=[0.5], strategies=["random"], **params)
    np.testing.assert_array_equal(display.scores, curve.scores)
    assert display.fewest_rows == curve.fewest_rows


def test_distribution_of_events(selector):
    display = ForgettingDisplay.from_selector(selector)
    learned = selector.forgetting_scores_[~selector.never_learned_]
    assert selector.never_learned_.any()
    assert [bar.get_height() for bar in display.bars_] == np.bincount(learned).tolist()
    middles = [bar.get_x() + bar.get_width() / 2 for bar in display.bars_]
    np.testing.assert_allclose(middles, np.arange(learned.max() + 1), atol=1e-9)
    (apart,) = display.never_learned_bar_
    assert apart.get_height() == selector.never_learned_.sum()
    assert apart.get_x() > learned.max() + 1
    assert display.ax_.get_xticklabels()[-1].get_text() == "never\nlearned"
    assert display.ax_.get_yscale() == "log"


@pytest.mark.parametrize(
    ("scores", "n_bars"),
    [
        (np.arange(60), 60),
        (np.arange(61), 31),
        (np.zeros(5, dtype=int), 1),
        (np.array([], dtype=int), 1),
        (np.linspace(-3, 3, 64), 7),
    ],
    ids=["one a count", "two a count", "zeros", "none", "floats"],
)
def test_bins(scores, n_bars):
    display = ForgettingDisplay(forgetting_scores=scores).plot()
    assert len(display.bars_) == n_bars
    assert sum(bar.get_height() for bar in display.bars_) == len(scores)
    assert len(display.never_learned_bar_) == 0


def test_negative_scores_are_all_drawn():
    display = ForgettingDisplay(forgetting_scores=-np.arange(150)).plot()
    assert sum(bar.get_height() for bar in display.bars_) == 150


def test_counts_of_never_learned_rows_make_no_bars(selector):
    # They are as high as there are presentations.
    display = ForgettingDisplay.from_selector(copy.copy(selector).set_params(never_learned="max"))
    assert len(display.bars_) == 1 + selector.forgetting_scores_[~selector.never_learned_].max()


def test_no_row_was_learned():
    never = np.ones(3, dtype=bool)
    display = ForgettingDisplay(forgetting_scores=np.zeros(3, dtype=int), never_learned=never).plot()
    assert display.never_learned_bar_[0].get_height() == 3


def test_map(selector):
    display = ForgettingDisplay.from_selector(selector, kind="map", s=30)
    never = selector.never_learned_
    for points, rows in ((display.points_, ~never), (display.never_learned_points_, never)):
        x, y = points.get_offsets().T
        np.testing.assert_array_equal(np.round(x), selector.forgetting_scores_[rows])
        np.testing.assert_allclose(y, selector.margins_[rows])
    assert display.points_.get_sizes().tolist() == [30]
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["learned", "never learned", "below: net disagrees with label"]


def test_map_without_never_learned_rows_does_not_speak_of_them():
    display = ForgettingDisplay(forgetting_scores=np.arange(3), margins=np.ones(3)).plot(kind="map")
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["learned", "below: net disagrees with label"]


def test_forgetting_display_on_given_axes(selector):
    figure, axes = plt.subplots(1, 2)
    for ax, kind in zip(axes, ("hist", "map"), strict=True):
        display = ForgettingDisplay.from_selector(selector, kind=kind, ax=ax)
        assert display.ax_ is ax
        assert display.figure_ is figure


def test_errors_of_forgetting_display(data):
    selector = ForgettingSelector()
    with pytest.raises(NotFittedError):
        ForgettingDisplay.from_selector(selector)
    selector.fit(*data, forgetting_scores=np.arange(120))
    with pytest.raises(ValueError, match="kind must be one of 'hist', 'map'; got 'pie'"):
        ForgettingDisplay.from_selector(selector, kind="pie")
    with pytest.raises(ValueError, match="mean margin of every row"):
        ForgettingDisplay.from_selector(selector, kind="map")
    assert not plt.get_fignums()
    ForgettingDisplay.from_selector(selector)


def test_curve_of_held_out_rows():
    curve = {"shares": [0, 0.1, 0.2], "scores": [0.8, 0.85, 0.84], "errors": [0, 0.01, 0.02]}
    display = HeldOutCurveDisplay(**curve, label_noise=0.1).plot(color="C5")
    assert display.figure_ is display.ax_.figure
    np.testing.assert_array_equal(display.line_.get_xdata(), [0, 0.1, 0.2])
    np.testing.assert_allclose(display.line_.get_ydata(), [0, 5, 4])  # points above the first one
    assert display.line_.get_color() == "C5"
    np.testing.assert_allclose(display.fill_between_.get_paths()[0].get_extents().intervaly, [0, 6])
    assert display.mark_.get_xdata() == [0.1, 0.1]
    (text,) = display.ax_.get_legend().get_texts()
    assert text.get_text() == "estimated share of wrong labels: 10%"
    display = HeldOutCurveDisplay(**curve).plot()
    assert display.mark_ is display.ax_.get_legend() is None


def test_held_out_curve_of_a_selector(noisy):
    _, ax = plt.subplots()
    display = HeldOutCurveDisplay.from_selector(noisy, ax=ax, linewidth=3)
    assert display.ax_ is ax
    assert display.line_.get_linewidth() == 3
    curve = noisy.held_out_curve_
    for name in ("shares", "scores", "errors"):
        np.testing.assert_array_equal(getattr(display, name), curve[name])
    assert display.mark_.get_xdata()[0] == noisy.label_noise_ == pytest.approx(0.2, abs=0.05)
    # The rows with wrong labels are left out first, and the others are easily told apart.
    x, points = display.line_.get_data()
    assert points[np.abs(x - noisy.label_noise_).argmin()] > 0


def test_selectors_without_a_held_out_curve(data):
    with pytest.raises(NotFittedError):
        HeldOutCurveDisplay.from_selector(ForgettingSelector())
    few = ForgettingSelector(random_state=0).fit(data[0][:30], data[1][:30])
    with pytest.raises(ValueError, match=r"nothing on held-out rows, so there is no curve: .* too few rows"):
        HeldOutCurveDisplay.from_selector(few)
    assert not plt.get_fignums()
