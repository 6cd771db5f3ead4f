"""Draw suspects of MNIST with their given and their likely labels, for the README: ``python -m benchmarks.suspects_picture``."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.data import add_data_option, draw_rows, load, redraw_labels
from skprune import ForgettingSelector

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "suspects.png"
N_ROWS, NOISE, N_SHOWN = 5000, 0.1, 20


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_option(parser)
    X, y, _, _ = load("mnist", parser.parse_args().data)
    X, y = draw_rows(X, y, N_ROWS, 0)
    given = redraw_labels(y, NOISE, 0)
    selector = ForgettingSelector(random_state=0).fit(X, given)
    issues = selector.label_issues()
    is_wrong = given != y
    print(f"{is_wrong.mean():.1%} of the labels are wrong, label_noise_ is {selector.label_noise_:.1%}")
    print(f"{is_wrong[issues['row']].mean():.1%} of the {len(issues)} suspects have a wrong label")
    print(f"{(issues['likely_label'] == y[issues['row']]).mean():.1%} of their likely labels are the true ones")
    # Evenly from the least to the most trusted of them.
    draw(X, issues.iloc[np.linspace(0, len(issues) - 1, N_SHOWN).astype(int)]).savefig(
        PICTURE, dpi=120, metadata={"Software": None}
    )
    print(PICTURE)


def draw(X, issues, n_columns=10):
    """Return a figure of suspects: pictures as rows of X, with the given and the likely label above them."""
    n_lines, size = -(-len(issues) // n_columns), round(X.shape[1] ** 0.5)
    figure, axes = plt.subplots(n_lines, n_columns, figsize=(n_columns, 1.5 * n_lines), layout="constrained")
    for ax, issue in zip(axes.flat, issues.itertuples(), strict=True):
        ax.imshow(X[issue.row].reshape(size, size), cmap="gray_r")
        ax.set_title(f"given {issue.label}\nlikely {issue.likely_label}", fontsize=9)
        ax.axis("off")
    return figure


if __name__ == "__main__":
    main()
