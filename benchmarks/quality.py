"""Accuracy on the rows that skprune keeps against all rows and random rows: ``python -m benchmarks.quality``.

Every data set is scored by the built-in net with clean training labels, and with 10, 20 and 40% of them redrawn among the
other classes. CIFAR-10N has the labels that people gave. Test labels are the true ones. Two questions are asked:

- Does `ForgettingSelector()`, which leaves out the suspects, do harm? Its rows are compared with all rows, and with those
  that cleanlab's filter leaves, which gets the probabilities of a forest in a cross-validation of five folds.
- Does ``"coverage"`` with a fixed `k` beat as many random rows, with clean labels and with 20% redrawn? Random rows are drawn
  three times.

How skprune selects was chosen on the first group of data sets, or after a look at it. The second group only reports. Both have
deterministic tables, overlapping classes, rare classes and many columns; the first one has pictures and embeddings as well. With
every seed, training rows are drawn, labels redrawn and nets started anew.

Final classifiers are trained with scikit-learn's default settings: logistic regression, a support vector machine, and
histogram gradient boosting, which is left out on pictures and texts. On TF-IDF there is logistic regression alone. Features
of tables are standardized; those of pictures and embeddings are centered and divided by one number for all; TF-IDF stays
as it is.

Runs and accuracies are kept in the folder of ``--output``, and a benchmark that was stopped goes on where it was.
``cells.csv`` there has every accuracy.

Needs cleanlab: ``pip install cleanlab``.
"""

import argparse
import shlex
import sys
import warnings
from functools import cache, lru_cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import pandas as pd
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmarks.data import PEOPLE, RARE, TABLES, UNSEEN, add_data_option, draw_rows, load, redraw_labels
from benchmarks.report import add_docs_option, publish, table
from skprune import ForgettingSelector, PruningWarning

try:
    from cleanlab.filter import find_label_issues
except ImportError:
    sys.exit("This benchmark compares with cleanlab, which is not installed: pip install cleanlab")

_MADE, _MADE_WIDER = ([name for name in RARE if name.endswith("columns") == wider] for wider in (False, True))
CHOSEN_ON = (
    "digits",
    "mnist",
    "page-blocks",
    "nursery",
    "segment",
    "phoneme",
    "fashion-mnist",
    "letter",
    "satimage",
    "splice",
)
CHOSEN_ON += ("adult", "imdb", *PEOPLE, *_MADE)
REPORTED_ON = (*UNSEEN, "reuters", *_MADE_WIDER)
NO_BOOSTING = ("digits", "mnist", "fashion-mnist", "imdb", "reuters", *PEOPLE)
N_ROWS, QUICK_ROWS, MAX_TEST_ROWS = 3000, 500, 3000
NOISE, NOISE_OF_FIXED_K = (0.0, 0.1, 0.2, 0.4), (0.0, 0.2)
SHARES, N_RANDOM, N_FOLDS = (0.7, 0.5, 0.3, 0.1), 3, 5
CLASSIFIERS = {
    "logistic regression": lambda seed: LogisticRegression(),
    "SVC": lambda seed: SVC(),
    "boosting": lambda seed: HistGradientBoostingClassifier(random_state=seed),
}
ALL, AUTO, JUDGED, FILTER = "all rows", "auto", "judged", "cleanlab"
COVERAGE, RANDOM = "coverage", "random"
# What is compared with all rows, as the tables name it.
AGAINST_ALL = {AUTO: "skprune", JUDGED: "with `judge`", FILTER: "cleanlab's filter"}
CELL = ["data", "noise", "classifier", "k"]
# A class is rare if it has a smaller share of the training rows.
RARE_SHARE = 0.05
TOLERANCE = 0.5


class Problem(NamedTuple):
    """A data set with its seed and the share of redrawn labels."""

    data: str
    noise: float
    seed: int
    n_rows: int
    folder: Path | None


def main():
    args = parse()
    cells = list(plan(args))
    run = joblib.Parallel(args.jobs, return_as="generator")
    results = run(joblib.delayed(measure)(*cell, args.output) for cell in cells)
    results = pd.DataFrame(tqdm(results, total=len(cells), unit="cell", smoothing=0))
    results.to_csv(args.output / "cells.csv", index=False)
    publish(describe(results, args), args.docs, "quality")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    names = CHOSEN_ON + REPORTED_ON
    parser.add_argument("--quick", action="store_true", help="500 rows of four tables, and two shares")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"data sets, of {', '.join(names)}")
    parser.add_argument("--seeds", type=int, default=2, help="number of draws of rows, labels and nets (default: 2)")
    parser.add_argument("--jobs", type=int, default=1, help="processes at the same time, of one thread each")
    parser.add_argument("--output", type=Path, default=Path(".skprune-cache", "quality"), metavar="DIR")
    add_docs_option(parser)
    args = parser.parse_args()
    args.only = args.only or (["page-blocks", "segment", "car", "yeast"] if args.quick else list(names))
    args.shares = (0.5, 0.1) if args.quick else SHARES
    return args


def plan(args):
    """Yield problem, name of a classifier, share and ranking of every cell, those of a problem side by side."""
    for name, seed in product(args.only, range(args.seeds)):
        for noise in noises(name):
            problem = Problem(name, noise, seed, QUICK_ROWS if args.quick else N_ROWS, args.data)
            choices = [("all", ALL), *(("auto", name) for name in AGAINST_ALL)]
            if noise in NOISE_OF_FIXED_K and name not in RARE and name not in PEOPLE:
                draws = [COVERAGE, *(f"{RANDOM} {draw}" for draw in range(N_RANDOM))]
                choices += list(product(args.shares, draws))
            yield from ((problem, clf, *choice) for choice, clf in product(choices, classifiers(name)))


def noises(data):
    """Return the shares of labels to redraw: none where people made errors, and where the rare class would vanish."""
    return (0.0,) if data in PEOPLE or data in RARE else NOISE


def classifiers(data):
    """Return the names of the classifiers of a data set."""
    if data == "reuters":
        return ["logistic regression"]
    return [name for name in CLASSIFIERS if name != "boosting" or data not in NO_BOOSTING]


def measure(problem, classifier, k, ranking, output):
    """Return the scores of a classifier on what a ranking keeps of a problem, with what describes the cell."""
    with threadpool_limits(1):
        rows = choose(problem, classifier, k, ranking, output)
        memory = joblib.Memory(output, verbose=0)
        accuracy, balanced = memory.cache(score)(classifier, problem, rows)
    _, y, *_ = arrays(problem._replace(noise=0.0))
    cell = {"data": problem.data, "noise": problem.noise, "seed": problem.seed, "classifier": classifier}
    cell |= {"k": k, "ranking": ranking, "accuracy": accuracy, "balanced": balanced, "kept": len(rows) / len(y)}
    return cell | {"rare": np.bincount(y).min() < RARE_SHARE * len(y)}


@lru_cache(2)
def arrays(problem):
    """Return X_train, y_train, X_test and y_test of a problem."""
    has_test_rows = problem.data in ("mnist", "fashion-mnist", "imdb", "reuters", *PEOPLE)
    X, y, X_test, y_test = load_once(problem.data, problem.folder, 0 if has_test_rows else problem.seed)
    if problem.data == "reuters":
        return X, redraw_labels(y, problem.noise, problem.seed), X_test, y_test
    X_test, y_test = draw_rows(X_test, y_test, MAX_TEST_ROWS, seed=0)
    X, y = draw_rows(X, y, problem.n_rows, problem.seed)
    mean, scale = X.mean(0), X.std(0)
    scale = np.where(scale > 0, scale, 1) if problem.data in TABLES or problem.data == "adult" else scale.mean()
    return (X - mean) / scale, redraw_labels(y, problem.noise, problem.seed), (X_test - mean) / scale, y_test


load_once = cache(load)


def choose(problem, classifier, k, ranking, output):
    """Return the rows that are kept of a problem."""
    n_rows = len(arrays(problem)[1])
    if ranking == ALL:
        return np.arange(n_rows)
    if ranking == FILTER:
        return np.flatnonzero(~joblib.Memory(output, verbose=0).cache(filter_issues)(problem))
    if ranking.startswith(RANDOM):
        rng = np.random.default_rng((problem.seed, int(ranking.split()[1])))
        return np.sort(rng.choice(n_rows, round(k * n_rows), replace=False))
    selector = fit_selector(problem, classifier if ranking == JUDGED else None, output)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PruningWarning)
        return selector.set_params(k=k).get_support(indices=True)


@lru_cache(2)
def fit_selector(problem, judge, output):
    X, y, *_ = arrays(problem)
    judge = CLASSIFIERS[judge](problem.seed) if judge else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", (PruningWarning, ConvergenceWarning))
        return ForgettingSelector(judge=judge, random_state=problem.seed, memory=output).fit(X, y)


def filter_issues(problem):
    """Return which labels cleanlab takes for wrong by the probabilities of a forest."""
    X, y, *_ = arrays(problem)
    y = np.unique(y, return_inverse=True)[1]
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=problem.seed)
    forest = RandomForestClassifier(random_state=problem.seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class in y", UserWarning)
        probabilities = cross_val_predict(forest, X, y, cv=folds, method="predict_proba")
    return find_label_issues(y, probabilities, n_jobs=1)


def score(classifier, problem, rows):
    """Return accuracy and balanced accuracy on test rows of a classifier trained on some of the rows."""
    X, y, X_test, y_test = arrays(problem)
    final = CLASSIFIERS[classifier](problem.seed) if len(np.unique(y[rows])) > 1 else DummyClassifier()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of iterations is a default setting
        predicted = final.fit(X[rows], y[rows]).predict(X_test)
    return accuracy_score(y_test, predicted), balanced_accuracy_score(y_test, predicted)


def against_all_rows(results, metric="accuracy"):
    """Return the points by which each way is better than all rows in every fit."""
    scores = results[results["k"].isin(["all", "auto"])].set_index([*CELL[:3], "seed", "ranking"])[metric]
    scores = scores.unstack(sort=False)
    return 100 * scores[list(AGAINST_ALL)].sub(scores[ALL], axis=0)


def against_random_rows(results):
    """Return the points by which coverage is better than the mean of random rows in every fit."""
    fixed = results[~results["k"].isin(["all", "auto"])]
    if fixed.empty:
        return pd.Series(dtype=float)
    scores = fixed.set_index([*CELL, "seed", "ranking"])["accuracy"].unstack(sort=False)
    draws = [name for name in scores if name.startswith(RANDOM)]
    return 100 * (scores[COVERAGE] - scores[draws].mean(axis=1))


def describe(results, args):
    """Yield the lines of the report."""
    yield "## Kept rows against all rows and random rows\n"
    n_rows = QUICK_ROWS if args.quick else N_ROWS
    only = "" if set(args.only) >= {*CHOSEN_ON, *REPORTED_ON} else f" --only {shlex.join(args.only)}"
    yield f"`python -m benchmarks.quality{' --quick' * args.quick} --seeds {args.seeds}{only}`: points of test accuracy."
    yield f"{n_rows:,} training rows, of Reuters all, and at most {MAX_TEST_ROWS:,} test rows. Logistic regression, SVC and"
    yield "boosting have scikit-learn's default settings. A fit is one of them on one data set, with one share of wrong labels"
    yield f"and one of {args.seeds} draws of rows. Labels are made wrong by redrawing them among the other classes.\n"
    for title, names in (("chosen on", CHOSEN_ON), ("not chosen on", REPORTED_ON)):
        part = results[results["data"].isin(names)]
        if len(part):
            yield f"### The {part['data'].nunique()} data sets that the constants of skprune were {title}\n"
            yield from describe_group(part)


def describe_group(results):
    """Yield the lines of the report on some of the data sets."""
    points, balanced = against_all_rows(results), against_all_rows(results, "balanced")
    is_rare = results.groupby([*CELL[:3], "seed"], sort=False)["rare"].any()
    people = points.index.get_level_values("data").isin(list(PEOPLE))
    noise = points.index.get_level_values("noise")
    groups = {f"{share:.0%} wrong" if share else "right": (noise == share) & ~people for share in NOISE}
    groups["labels that people gave"] = people
    yield '`ForgettingSelector()`, which is `k="auto"`, against all rows. A `judge` is the classifier that is fitted at the end.'
    yield f"The mean gain is followed by the share of fits that lose more than {TOLERANCE} points, and by the largest loss:\n"
    parts = {name: points[group] for name, group in groups.items()}
    parts["right, data with a rare class: balanced accuracy"] = balanced[is_rare & (noise == 0)]
    lines = [
        (name, len(part), *(summary(part[way]) for way in AGAINST_ALL)) for name, part in parts.items() if len(part)
    ]
    yield from table(("training labels", "fits", *AGAINST_ALL.values()), lines)
    fixed = against_random_rows(results)
    if len(fixed):
        noise = fixed.index.get_level_values("noise")
        yield '\n`strategy="coverage"` with a fixed `k` against random rows, in the same way:\n'
        parts = {f"{share:.0%} wrong" if share else "right": fixed[noise == share] for share in NOISE_OF_FIXED_K}
        lines = [(name, len(part), summary(part)) for name, part in parts.items()]
        yield from table(("training labels", "fits", "skprune"), lines)
    yield from describe_cells(results, points, balanced, fixed)


def summary(points):
    """Return the mean gain of fits, the share of them that lose, and the largest loss."""
    return f"{points.mean():+.1f} ({np.mean(points < -TOLERANCE):.0%}, {points.min():+.1f})"


def describe_cells(results, points, balanced, fixed):
    """Yield the lines of the tables with every cell, means of the draws of rows."""
    points, balanced = (part.groupby(level=CELL[:3], sort=False).mean() for part in (points, balanced))
    full = 100 * results[results["ranking"] == ALL].groupby(CELL[:3], sort=False)[["accuracy", "balanced"]].mean()
    kept = results[results["ranking"] == AUTO].groupby(CELL[:3], sort=False)["kept"].mean()
    yield '\nMeans of the draws with `k="auto"`, with the points of balanced accuracy in brackets:\n'
    lines = []
    for cell in points.index:
        data, noise, classifier = cell
        methods = [f"{points.at[cell, name]:+.1f} ({balanced.at[cell, name]:+.1f})" for name in AGAINST_ALL]
        all_rows = f"{full.at[cell, 'accuracy']:.1f} ({full.at[cell, 'balanced']:.1f})"
        lines.append((data, f"{noise:.0%}", classifier, all_rows, f"{kept[cell]:.0%}", *methods))
    yield from table(
        ("data", "wrong labels", "classifier", "all rows", "kept by skprune", *AGAINST_ALL.values()), lines
    )
    yield ""
    if len(fixed):
        fixed = fixed.groupby(level=CELL, sort=False).mean()
        yield 'Means of the draws with `strategy="coverage"` against random rows:\n'
        shares = list(dict.fromkeys(fixed.index.get_level_values("k")))
        wide = fixed.unstack("k", sort=False)
        lines = [
            (data, f"{noise:.0%}", classifier, *(f"{wide.at[(data, noise, classifier), k]:+.1f}" for k in shares))
            for data, noise, classifier in wide.index
        ]
        yield from table(("data", "wrong labels", "classifier", *(f"k={k}" for k in shares)), lines)
        yield ""


if __name__ == "__main__":
    from benchmarks.quality import main  # worker processes find functions by the name of their module

    main()
