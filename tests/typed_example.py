"""How typed code uses skprune: `make lint` checks it by mypy, and a test runs it."""

from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

from skprune import (
    ForgettingRecorder,
    ForgettingScores,
    ForgettingSelector,
    Pipeline,
    PruningCurveDisplay,
    PruningWarning,
    fewest_rows,
    make_pipeline,
    select_rows,
)


def keep_first(scores: ForgettingScores, n_keep: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.arange(n_keep)


def use_scores(folder: Path) -> NDArray[np.int64]:
    scores = ForgettingScores(4, device="cpu")
    scores.update(np.arange(4), [True, True, False, True], margin=[0.5, 0.1, -0.2, 0.3])
    scores.update([0, 1, 2, 3], np.array([True, False, False, True]), margin=np.zeros(4))
    assert_type(scores.events, NDArray[np.int64])
    assert_type(scores.margins, NDArray[np.float64])
    assert_type(scores.suspects, NDArray[np.bool_])
    assert_type(scores + scores, ForgettingScores)
    assert_type(len(scores), int)
    scores.save(folder / "scores.npz")
    assert_type(ForgettingScores.load(folder / "scores.npz"), ForgettingScores)
    rows = select_rows(scores, 0.5, strategy=keep_first)
    assert_type(rows, NDArray[np.int64])
    assert_type(select_rows([0, 2, 1], 2, y=[0, 1, 0], balance=True, random_state=0), NDArray[np.int64])
    return rows


def use_selector(X: NDArray[np.float64], y: NDArray[np.int64]) -> Any:
    selector = ForgettingSelector(k=0.5, strategy="coverage", n_runs=1, random_state=0).fit(X, y)
    assert_type(selector, ForgettingSelector)
    assert_type(selector.forgetting_scores_, NDArray[np.int64])
    assert_type(selector.margins_, NDArray[np.float64])
    assert_type(selector.suspects_, NDArray[np.bool_])
    assert_type(selector.label_noise_, float)
    assert_type(selector.get_support(indices=True), NDArray[Any])
    X_kept, y_kept = selector.fit_resample(X, y, forgetting_scores=selector.forgetting_scores_)
    assert len(X_kept) == len(y_kept)
    return selector.transform(X)


def use_pipeline(X: NDArray[np.float64], y: NDArray[np.int64]) -> Pipeline:
    pipe = make_pipeline(ForgettingSelector(k=3, random_state=0), verbose=False)
    assert_type(pipe, Pipeline)
    assert_type(pipe.fit(X, y), Pipeline)
    assert_type(pipe.sample_indices_, NDArray[Any])
    return pipe


def use_others() -> PruningCurveDisplay:
    assert_type(ForgettingRecorder(record="epoch").initialize(), ForgettingRecorder)
    results = {"params": [{"k": 1.0}, {"k": 0.5}], "mean_test_score": [0.9, 0.9]}
    assert_type(fewest_rows(within=0.02)(results), int)
    warning: type[UserWarning] = PruningWarning
    assert issubclass(warning, UserWarning)
    display = PruningCurveDisplay(
        strategies=["random"], shares=[0.5], scores=np.ones((1, 1, 2)), full_scores=[1.0, 1.0]
    )
    assert_type(display.plot(), PruningCurveDisplay)
    return display


def refused_by_mypy() -> None:
    """Not called. mypy warns of comments that ignore nothing, so that it fails once it accepts one of these lines."""
    select_rows([0, 1], [1])  # type: ignore[arg-type]  # k is a number or "auto"
    ForgettingSelector(strategy=1)  # type: ignore[arg-type]  # a strategy is a name or a function
    ForgettingSelector(share=0.5)  # type: ignore[call-arg]  # there is no such parameter
    ForgettingScores(4).evens  # type: ignore[attr-defined]  # noqa: B018  a misspelt attribute, not used
