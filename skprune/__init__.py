"""Prune training sets by what a neural net forgets while it learns them."""

from skprune._curve import fewest_rows, pruning_curve
from skprune._display import ForgettingDisplay, PruningCurveDisplay
from skprune._held_out_display import HeldOutCurveDisplay
from skprune._pipeline import Pipeline, make_pipeline
from skprune._recorder import ForgettingRecorder
from skprune._scores import ForgettingScores
from skprune._selection import select_rows
from skprune._selector import ForgettingSelector
from skprune.exceptions import PruningWarning

__version__ = "0.1.0"

__all__ = [
    "ForgettingDisplay",
    "ForgettingRecorder",
    "ForgettingScores",
    "ForgettingSelector",
    "HeldOutCurveDisplay",
    "Pipeline",
    "PruningCurveDisplay",
    "PruningWarning",
    "fewest_rows",
    "make_pipeline",
    "pruning_curve",
    "select_rows",
]
