"""Draw the pruning curves of the digits that README and documentation show: ``python -m benchmarks.readme_picture``.

Needs imbalanced-learn, whose FunctionSampler makes labels wrong while a Pipeline is fitted, and not while it is scored.
"""

from pathlib import Path

import matplotlib.pyplot as plt
from imblearn import FunctionSampler
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC

from benchmarks.data import redraw_labels
from skprune import ForgettingSelector, PruningCurveDisplay, make_pipeline

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "pruning_curve.png"
TICKS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
SHARES = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
NOISE = {"clean labels": 0.0, "a fifth of the training labels wrong": 0.2}


def main():
    X, y = load_digits(return_X_y=True)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
    for (title, noise), ax in zip(NOISE.items(), axes, strict=True):
        sampler = FunctionSampler(func=redraw, kw_args={"noise": noise})
        pipe = make_pipeline(sampler, ForgettingSelector(random_state=0), SVC())
        cv = StratifiedKFold(10, shuffle=True, random_state=0)
        display = PruningCurveDisplay.from_estimator(pipe, X, y, k=SHARES, cv=cv, scoring="accuracy", ax=ax)
        # This scale is finer near 100%, so that both collapses and small differences show.
        ax.set_yscale("logit")
        ax.set_ylim(0.5, 0.995)
        ax.set_yticks(TICKS, [f"{tick:.0%}" for tick in TICKS])
        ax.minorticks_off()
        ax.set_title(title, fontsize=10)
        print(f"{title}:")
        for strategy, scores in zip(display.strategies, display.scores.mean(-1), strict=True):
            print(f"{strategy:>15}", *(f"{score:.1%}" for score in scores))
        print(f"{'fewest rows':>15} {display.fewest_rows.strategy}, {display.fewest_rows.share:.0%}")
        print(f"{'all rows':>15} {display.full_scores.mean():.1%}")
    axes[1].set_ylabel("")
    figure.savefig(PICTURE, dpi=160, metadata={"Software": None})
    print(PICTURE)


def redraw(X, y, noise):
    return X, redraw_labels(y, noise, seed=1)


if __name__ == "__main__":
    main()
