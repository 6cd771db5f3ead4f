"""Wrong labels, found by the selector, cleanlab, AUM and nearest neighbors: ``python -m benchmarks.mislabelled``.

Of every data set a share of the labels is redrawn among the other classes, or swapped for the most similar class. The
labels of CIFAR-10N were given by people, and tables with a rare class have right labels alone. The method was chosen on the
first group of data sets, or after a look at it; the second group only reports.

cleanlab gets the probabilities that the same net predicts in a cross-validation of five folds, and those of a forest for
the rows that its trees have not seen; both filters have their default settings. AUM ranks rows by the margin of the logits of
the same net, averaged over its epochs, and gives no number of wrong labels. Nearest neighbors vote without the row itself.
All on one thread.

Results are kept in the folder of ``--output``, and a run that was stopped goes on where it was. A change of the library
needs another folder.

Needs cleanlab: ``pip install cleanlab``.
"""

import argparse
import shlex
import sys
import time
import warnings
from itertools import product
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmarks.data import (
    PEOPLE,
    RARE,
    UNSEEN,
    add_data_option,
    draw_rows,
    load,
    redraw_labels,
    swap_labels,
    true_labels,
)
from benchmarks.report import add_docs_option, publish, table
from skprune import ForgettingSelector, PruningWarning

try:
    from cleanlab.filter import find_label_issues
except ImportError:
    sys.exit("This benchmark compares with cleanlab, which is not installed: pip install cleanlab")

_MADE, _MADE_WIDER = ([name for name in RARE if name.endswith("columns") == wider] for wider in (False, True))
CHOSEN_ON = ("nursery", "segment", "phoneme", "page-blocks", "mnist", "digits", "letter", "satimage", "splice", "adult")
CHOSEN_ON += ("fashion-mnist", "imdb", *PEOPLE, *_MADE)
REPORTED_ON = (*UNSEEN, *_MADE_WIDER)
N_ROWS = 3000
NOISE = (("redrawn", 0.0), ("redrawn", 0.1), ("redrawn", 0.2), ("redrawn", 0.4), ("swapped", 0.2))
N_FOLDS, N_TREES, N_NEIGHBORS = 5, 50, 10
OURS, AUM = "skprune", "AUM"
COLUMNS = (
    "AUROC",
    "average precision",
    "precision at the true number",
    "share found",
    "precision",
    "recall",
    "F1",
    "seconds",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--output", type=Path, default=Path(".skprune-cache", "mislabelled"), metavar="DIR")
    parser.add_argument("--seeds", type=int, default=1, help="number of draws of rows and labels (default: 1)")
    parser.add_argument("--only", nargs="+", choices=CHOSEN_ON + REPORTED_ON, metavar="NAME", help="data sets")
    add_docs_option(parser)
    args = parser.parse_args()
    measure = joblib.Memory(args.output, verbose=0).cache(compare, ignore=["folder"])
    results = []
    with threadpool_limits(1):
        names = [name for name in args.only or CHOSEN_ON + REPORTED_ON if name not in PEOPLE or args.data]
        for name, seed in tqdm(list(product(names, range(args.seeds))), unit="data set"):
            for kind, share in noises(name):
                results += [[name, kind, share, *line] for line in measure(name, kind, share, seed, args.data)]
    publish(describe(results, args), args.docs, "mislabelled")


def noises(name):
    """Return the kinds and shares of wrong labels of a data set."""
    if name in PEOPLE:
        return [("by people", None)]
    return NOISE[:1] if name in RARE else NOISE


def labelled(name, kind, share, seed, folder):
    """Return rows, labels of which some are wrong, and the true labels."""
    X, y, *_ = load(name, folder, seed)
    if name in PEOPLE:
        return draw_rows(X, y, N_ROWS, seed, true_labels(name, folder))
    X, y = draw_rows(X, y, N_ROWS, seed)
    change = swap_labels if kind == "swapped" else lambda X, y, share, seed: redraw_labels(y, share, seed)
    return X, change(X, y, share, seed) if share else y, y


def compare(name, kind, share, seed, folder):
    """Return for each way to find wrong labels its name, and the numbers of :data:`COLUMNS`."""
    X, y, y_true = labelled(name, kind, share, seed, folder)
    lines, is_wrong = [], y != y_true

    def add(method, start, doubt, found):
        lines.append((method, np.mean(is_wrong), *rate(doubt, found, is_wrong), time.perf_counter() - start))

    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PruningWarning)
        selector = ForgettingSelector(random_state=seed).fit(X, y)
    add(OURS, start, -selector.trust_, selector.suspects_)

    start = time.perf_counter()
    torch.manual_seed(seed)
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)

    def add_cleanlab(method, start, p):
        add(method, start, -p[np.arange(len(y)), y], find_label_issues(y, p, n_jobs=1))

    predicted = cross_val_predict(clone(selector.estimator_), X, y, cv=folds, method="predict_proba")
    add_cleanlab("cleanlab, same net", start, predicted)

    start = time.perf_counter()
    forest = RandomForestClassifier(
        N_TREES, min_samples_leaf=3, max_samples=0.5, oob_score=True, random_state=seed
    ).fit(X, y)
    add_cleanlab("cleanlab, forest", start, np.nan_to_num(forest.oob_decision_function_))

    start = time.perf_counter()
    margins = [logit_margins(selector.estimator_, X, y, epochs) for epochs in range(1, selector.n_epochs_ + 1)]
    add(AUM, start, -np.mean(margins, axis=0), None)

    start = time.perf_counter()
    Z = StandardScaler().fit_transform(X)
    neighbors = NearestNeighbors(n_neighbors=N_NEIGHBORS).fit(Z).kneighbors(return_distance=False)
    agree = np.mean(y[neighbors] == y[:, None], axis=1)
    add("nearest neighbors", start, -agree, agree < 0.5)
    return lines


def logit_margins(net, X, y, epochs):
    """Return the margins of the logits of a net that is trained from the start for some epochs."""
    net = clone(net).set_params(max_epochs=epochs, predict_nonlinearity=None).fit(X, y)
    logits, rows = net.predict_proba(X), np.arange(len(y))
    true = logits[rows, y]
    logits[rows, y] = -np.inf
    return true - logits.max(1)


def rate(doubt, found, is_wrong):
    """Return all numbers of :data:`COLUMNS` but the seconds; nan where they are not defined."""
    n_wrong = is_wrong.sum()
    ranked = [np.nan] * 3
    if n_wrong:
        first = np.argsort(-doubt, kind="stable")[:n_wrong]
        ranked = [roc_auc_score(is_wrong, doubt), average_precision_score(is_wrong, doubt), np.mean(is_wrong[first])]
    if found is None:
        return *ranked, *[np.nan] * 4
    hits = (found & is_wrong).sum()
    precision = hits / found.sum() if found.any() else np.nan
    recall, f1 = (hits / n_wrong, 2 * hits / (found.sum() + n_wrong)) if n_wrong else (np.nan, np.nan)
    return *ranked, np.mean(found), precision, recall, f1


def describe(results, args):
    """Yield the lines of the report."""
    results = pd.DataFrame(results, columns=["data", "labels", "share", "found by", "wrong", *COLUMNS])
    yield "## Wrong labels\n"
    only = f" --only {shlex.join(args.only)}" if args.only else ""
    yield f"`python -m benchmarks.mislabelled{only}`: labels are redrawn among the other classes, swapped for the most similar"
    yield "class, or as people gave them, and the wrong ones are found again. Shares of all rows; seconds on one thread.\n"
    for title, names in (("chosen on", CHOSEN_ON), ("not chosen on", REPORTED_ON)):
        part = results[results["data"].isin(names)]
        if len(part):
            means = part.groupby(["data", "labels", "share", "found by"], sort=False, dropna=False).mean().reset_index()
            yield f"### The {part['data'].nunique()} data sets that skprune was {title}\n"
            yield from summarize(means)
            yield "\nEvery data set:\n"
            head = ["data", "labels", "wrong", "found by", *COLUMNS]
            yield from table(head, means[head].map(_text).to_numpy())
            yield ""


def summarize(means):
    """Yield how far the share that is found is from the true one, and how often skprune is at least as good as others."""
    cells = means.set_index(["data", "labels", "share", "found by"]).unstack("found by", sort=False)
    others = [name for name in cells["F1"].columns if name.startswith("cleanlab")]
    lines = []
    for (labels, share), part in cells.groupby(level=["labels", "share"], sort=False, dropna=False):
        gap = (part["share found"] - part["wrong"]).abs()
        name = labels if np.isnan(share) else f"{share:.0%} {labels}" if share else "right"
        f1 = part["F1"][OURS] - part["F1"][others].max(axis=1)
        rivals = part["AUROC"][[*others, AUM]].max(axis=1)
        wins = ["-", "-", "-"]
        if f1.notna().any():
            wins = f"{f1.mean():+.2f}", f"{np.mean(f1 > 0):.0%}", f"{np.mean(part['AUROC'][OURS] >= rivals):.0%}"
        lines.append((name, len(part), f"{gap[OURS].mean():.3f}", f"{gap[others].mean().min():.3f}", *wins))
    head = ("labels", "data sets", "distance of the share found", "cleanlab's", "F1 above cleanlab's better variant")
    yield from table((*head, "F1 above it in", "AUROC at least that of cleanlab and AUM in"), lines)


def _text(value):
    if isinstance(value, str):
        return value
    return "-" if np.isnan(value) else f"{value:.3f}"


if __name__ == "__main__":
    main()
