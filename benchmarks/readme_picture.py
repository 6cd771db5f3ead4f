"""Draw the pruning curve of the digits that README and documentation show: ``python -m benchmarks.readme_picture``."""

from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC

from skprune import ForgettingSelector, PruningCurveDisplay, make_pipeline

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "pruning_curve.png"
TICKS = (0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
SHARES = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def main():
    X, y = load_digits(return_X_y=True)
    pipe = make_pipeline(ForgettingSelector(random_state=0), SVC())
    cv = StratifiedKFold(10, shuffle=True, random_state=0)
    _, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
    display = PruningCurveDisplay.from_estimator(pipe, X, y, k=SHARES, cv=cv, scoring="accuracy", ax=ax)
    # This scale is finer near 100%, so that both collapses and small differences show.
    ax.set_yscale("logit")
    ax.set_yticks(TICKS, [f"{tick:.0%}" for tick in TICKS])
    ax.minorticks_off()
    ax.set_title("Handwritten digits, support vector machine, 10 folds", fontsize=10)
    display.figure_.savefig(PICTURE, dpi=160, metadata={"Software": None})
    for strategy, scores in zip(display.strategies, display.scores.mean(-1), strict=True):
        print(f"{strategy:>15}", *(f"{score:.1%}" for score in scores))
    print(f"{'fewest rows':>15} {display.fewest_rows.strategy}, {display.fewest_rows.share:.0%}")
    print(f"{'all rows':>15} {display.full_scores.mean():.1%}\n{PICTURE}")


if __name__ == "__main__":
    main()
