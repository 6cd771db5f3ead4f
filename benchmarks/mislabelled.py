"""Planted wrong labels, found by the scoring net and by cleanlab: ``python -m benchmarks.mislabelled``.

Of every data set a share of the labels is redrawn among the other classes. One fit of the selector gives suspects and
never-learned rows. cleanlab gets the probabilities that the same net
predicts in a cross-validation of five folds, so five trainings on four fifths of the rows. All on one thread.

Results are kept in the folder of ``--output``, and a run that was stopped goes on where it was. A change of the library
needs another folder.

Needs cleanlab: ``pip install cleanlab``.
"""

import argparse
import sys
import time
from itertools import product
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmarks.data import add_data_option, draw_rows, load, redraw_labels
from benchmarks.report import add_docs_option, publish, table
from skprune import ForgettingSelector

try:
    from cleanlab.filter import find_label_issues
except ImportError:
    sys.exit("This benchmark compares with cleanlab, which is not installed: pip install cleanlab")

ROWS = {"digits": 1437, "mnist": 5000, "imdb": 5000, "page-blocks": 3800, "splice": 2200, "made": 500}
NOISE = (0.1, 0.2)
SEEDS = range(3)
N_FOLDS = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--output", type=Path, default=Path(".skprune-cache", "mislabelled"), metavar="DIR")
    add_docs_option(parser)
    args = parser.parse_args()
    measure = joblib.Memory(args.output, verbose=0).cache(compare)
    results = []
    with threadpool_limits(1):
        compare(
            *draw_rows(*load("digits")[:2], 100, seed=0), noise=0.1, seed=0
        )  # the first training loads parts of torch
        for name, noise, seed in tqdm(list(product(ROWS, NOISE, SEEDS)), unit="data set"):
            X, y = make(seed) if name == "made" else draw_rows(*load(name, args.data)[:2], ROWS[name], seed)
            results += [[f"{name}, {ROWS[name]:,} rows", noise, *line] for line in measure(X, y, noise, seed)]
    publish(describe(results), args.docs, "mislabelled")


def make(seed):
    """Return 500 rows with 300 columns, of which 30 tell three classes apart."""
    X, y = make_classification(
        500, 300, n_informative=30, n_redundant=60, n_classes=3, class_sep=3, flip_y=0, random_state=seed
    )
    return X.astype(np.float32), y


def compare(X, y_true, noise, seed):
    """Return for each way to find wrong labels its name, the numbers of rows, found, rightly found and wrong, and seconds."""
    y = redraw_labels(y_true, noise, seed)
    found = {}
    start = time.perf_counter()
    selector = ForgettingSelector(random_state=seed).fit(X, y)
    seconds = time.perf_counter() - start
    found["`suspects_`"] = selector.suspects_, seconds
    found["`never_learned_`"] = selector.never_learned_, seconds

    start = time.perf_counter()
    torch.manual_seed(seed)
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    probabilities = cross_val_predict(clone(selector.estimator_), X, y, cv=folds, method="predict_proba")
    issues = find_label_issues(y, probabilities, n_jobs=1)
    found[f"cleanlab, {N_FOLDS} folds"] = issues, time.perf_counter() - start
    is_wrong = y != y_true
    return [
        (method, len(y), mask.sum(), (mask & is_wrong).sum(), is_wrong.sum(), seconds)
        for method, (mask, seconds) in found.items()
    ]


def describe(results):
    """Yield the lines of the report."""
    yield "## Wrong labels\n"
    yield "`python -m benchmarks.mislabelled`: a share of the labels is redrawn among the other classes, and found again by"
    yield "the built-in net, trained once, and by cleanlab's `find_label_issues` with the probabilities of the same net in"
    yield f"a cross-validation. Rows of {len(SEEDS)} seeds together; seconds on one thread, the mean.\n"
    head = ("data", "wrong", "found by", "rows found", "precision", "recall", "F1", "seconds")
    lines = []
    for (name, noise, method), numbers in pd.DataFrame(results).groupby([0, 1, 2], sort=False).sum().iterrows():
        n_rows, n_found, n_hits, n_wrong, seconds = numbers
        precision = f"{n_hits / n_found:.1%}" if n_found else "-"
        shares = (
            f"{n_found / n_rows:.1%}",
            precision,
            f"{n_hits / n_wrong:.1%}",
            f"{2 * n_hits / (n_found + n_wrong):.2f}",
        )
        lines.append((name, f"{noise:.0%}", method, *shares, f"{seconds / len(SEEDS):.1f}"))
    yield from table(head, lines)


if __name__ == "__main__":
    main()
