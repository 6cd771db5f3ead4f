"""Accuracy on what each strategy keeps against as many random rows: ``python -m benchmarks.quality``.

Every data set is scored by the built-in net with clean training labels, with a fifth of them redrawn among the
other classes, and with a fifth of them changed to the most similar class; test labels are the true ones. The way that
``coverage`` selects was chosen on the first group of data sets, and on other tables; the second group only reports. With
every seed, training rows are drawn, labels redrawn and nets started anew. Random rows are drawn five times. Features of
tables are standardised; those of pictures and embeddings are centred and divided by one number for all, so that pixels
keep their proportions; TF-IDF stays as it is.

Final classifiers are trained on what is kept: a net with one hidden layer of 128 units, which has the same number of
updates whatever is kept, that of ten epochs over all rows or 500, so that few rows are not also a short training;
50 iterations of histogram gradient boosting where there are at most 100 columns; elsewhere logistic regression with at
most 100 iterations, regularised on arrays (C=0.01) since it overfits all of these data otherwise; and a support vector
machine (C=10) on the digits and satimage. On TF-IDF there is logistic regression (C=10) alone.

Scored runs and accuracies are kept in the folder of ``--output``, and a run that was stopped goes on where it was.
They are found again by the parameters of the nets and the rows kept, so that a change of a strategy needs no other
folder; a change of the data, or of the code that prepares them, trains or records, does. ``cells.csv`` there has every
accuracy, with the share of suspects among the rows kept and whether skprune warned.
"""

import argparse
import math
import warnings
from functools import cache, lru_cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import pandas as pd
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmarks.data import TABLES, add_data_option, draw_rows, load, redraw_labels, swap_labels
from benchmarks.report import add_docs_option, publish, table
from skprune import ForgettingSelector, PruningWarning, select_rows

CHOSEN_ON = ("digits", "mnist", "page-blocks", "nursery", "imdb")
REPORTED_ON = ("fashion-mnist", "satimage", "segment", "splice", "reuters")
ROWS = dict.fromkeys(CHOSEN_ON + REPORTED_ON, 3000) | {"reuters": None}
QUICK_ROWS = 500
MAX_TEST_ROWS = 5000
CLEAN, REDRAWN, SWAPPED = NOISE = ("clean", "redrawn", "swapped")
NOISE_SHARE = 0.2
N_RANDOM = 5
SHARES = (0.7, 0.5, 0.3, 0.1)
RANKINGS = {
    "most_forgotten": {"strategy": "most_forgotten"},
    "least_forgotten": {"strategy": "least_forgotten"},
    "coverage": {"strategy": "coverage"},
    **{f"random {draw}": {"strategy": "random", "draw": draw} for draw in range(N_RANDOM)},
}
COMPARED = ["coverage", "most_forgotten", "least_forgotten"]
# As in the displays of skprune.
STYLES = {"coverage": ("#0072B2", "D"), "most_forgotten": ("#D55E00", "o"), "least_forgotten": ("#999999", "s")}
NET, LINEAR, BOOSTING, SVM = "net", "logistic regression", "gradient boosting", "SVC"
CELL = ["data", "noise", "classifier", "k"]
# No data set may lose more than this many points to random rows beyond twice the standard error.
TOLERANCE = 0.5


class Problem(NamedTuple):
    """A data set with its seed and noise."""

    data: str
    noise: str
    seed: int
    n_rows: int | None
    folder: Path | None


def main():
    args = parse()
    cells = list(plan(args))
    run = joblib.Parallel(args.jobs, return_as="generator")
    results = run(joblib.delayed(measure)(*cell, args.output) for cell in cells)
    results = pd.DataFrame(tqdm(results, total=len(cells), unit="cell", smoothing=0))
    results.to_csv(args.output / "cells.csv", index=False)

    if args.docs:
        draw(differences(results), args.docs / "images" / "quality.png")
    publish(describe(results, args), args.docs, "quality")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_true", help="train on all rows, which takes hours")
    size.add_argument("--quick", action="store_true", help="small subsets, two shares and two seeds")
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="NAME", help=f"data sets, of {', '.join(ROWS)}")
    parser.add_argument("--seeds", type=int, default=3, help="number of draws of rows, labels and nets (default: 3)")
    parser.add_argument("--jobs", type=int, default=1, help="processes at the same time, of one thread each")
    parser.add_argument("--output", type=Path, default=Path(".skprune-cache", "quality"), metavar="DIR")
    add_docs_option(parser)
    args = parser.parse_args()
    args.only = args.only or (["page-blocks", "segment"] if args.quick else list(ROWS))
    args.seeds, args.shares = (range(2), (0.5, 0.1)) if args.quick else (range(args.seeds), SHARES)
    return args


def plan(args):
    """Yield problem, name of a classifier, share and ranking of every cell, those of a problem side by side."""
    for seed, name, noise in product(args.seeds, args.only, NOISE):
        if noise == SWAPPED and name == "imdb":
            continue  # there are two classes, so that it is the same as redrawn
        n_rows = None if args.full else QUICK_ROWS if args.quick else ROWS[name]
        problem = Problem(name, noise, seed, n_rows, args.data)
        choices = [(1.0, "all rows"), *product(args.shares, RANKINGS)]
        yield from (
            (problem, *cell) for cell in ((clf, *choice) for clf, choice in product(classifiers(name), choices))
        )


def classifiers(data):
    """Return the names of the classifiers of a data set."""
    if data == "reuters":
        return [LINEAR]
    few_columns = data not in ("mnist", "fashion-mnist", "imdb", "splice")
    return [BOOSTING if few_columns else LINEAR, NET, *([SVM] if data in ("digits", "satimage") else [])]


def measure(problem, classifier, k, ranking, output):
    """Return the test accuracy of a classifier on what a ranking keeps of a problem, with what describes the cell."""
    with threadpool_limits(1):
        n_all = len(arrays(problem)[1])
        kept = {"rows": np.arange(n_all)} if ranking == "all rows" else choose(problem, k, output, **RANKINGS[ranking])
        rows = kept.pop("rows")
        final = make_classifier(classifier, problem.data, len(rows), n_all, problem.seed)
        accuracy = joblib.Memory(output, verbose=0).cache(score)(final, problem, rows)
    cell = {"data": problem.data, "noise": problem.noise, "seed": problem.seed, "classifier": classifier}
    return cell | {"k": k, "ranking": ranking, "accuracy": accuracy} | kept


@lru_cache(1)
def arrays(problem):
    """Return X_train, y_train, X_test and y_test of a problem."""
    has_test_rows = problem.data in ("mnist", "fashion-mnist", "imdb", "reuters")
    X, y, X_test, y_test = load_once(problem.data, problem.folder, 0 if has_test_rows else problem.seed)
    X_test, y_test = draw_rows(X_test, y_test, MAX_TEST_ROWS, seed=0)
    X, y = draw_rows(X, y, problem.n_rows, problem.seed)
    noisy = {
        CLEAN: lambda: y,
        REDRAWN: lambda: redraw_labels(y, NOISE_SHARE, problem.seed),
        SWAPPED: lambda: swap_labels(X, y, NOISE_SHARE, problem.seed),
    }[problem.noise]()
    if problem.data == "reuters":
        return X, noisy, X_test, y_test
    mean, scale = X.mean(0), X.std(0)
    scale = np.where(scale > 0, scale, 1) if problem.data in TABLES else scale.mean()
    return (X - mean) / scale, noisy, (X_test - mean) / scale, y_test


load_once = cache(load)


def choose(problem, k, output, *, strategy, draw=0):
    """Return the rows that are kept of a problem, the share of suspects among them, and whether skprune warned."""
    selector = fit_selector(problem, output)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PruningWarning)
        if strategy == "random":
            rows = select_rows(selector.forgetting_scores_, k, strategy=strategy, random_state=10 * problem.seed + draw)
        else:
            rows = selector.set_params(k=k, strategy=strategy).get_support(indices=True)
    warned = any(issubclass(warning.category, PruningWarning) for warning in caught)
    return {"rows": rows, "suspects": np.mean(selector.suspects_[rows]), "warned": warned}


@lru_cache(2)
def fit_selector(problem, output):
    X, y, *_ = arrays(problem)
    return ForgettingSelector(memory=output, random_state=problem.seed).fit(X, y)


def make_classifier(name, data, n_rows, n_all, seed):
    """Return a classifier to be trained on `n_rows` of `n_all` rows."""
    if name == LINEAR:
        return LogisticRegression(C=10 if data == "reuters" else 0.01, max_iter=100)
    if name == SVM:
        return SVC(C=10)
    if name == BOOSTING:
        return HistGradientBoostingClassifier(max_iter=50, early_stopping=False, random_state=seed)
    batch_size = min(64, n_rows)
    n_updates = max(500, 10 * n_all / 64)
    epochs = math.ceil(n_updates * batch_size / n_rows)
    # A patience of all epochs: the training is never stopped early.
    return MLPClassifier(128, batch_size=batch_size, max_iter=epochs, n_iter_no_change=epochs, tol=0, random_state=seed)


def score(classifier, problem, rows):
    """Return the test accuracy of a classifier trained on some of the rows."""
    X, y, X_test, y_test = arrays(problem)
    if len(np.unique(y[rows])) == 1:
        classifier = DummyClassifier()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of iterations is part of the set-up
        return classifier.fit(X[rows], y[rows]).score(X_test, y_test)


def differences(results):
    """Return a table of the points by which each ranking is better than the mean of random rows of the same seed."""
    accuracies = results.set_index([*CELL, "seed", "ranking"])["accuracy"].unstack(sort=False).drop(1.0, level="k")
    draws = [name for name in accuracies if name.startswith("random")]
    return 100 * accuracies[COMPARED].sub(accuracies[draws].mean(axis=1), axis=0)


def describe(results, args):
    """Yield the lines of the report."""
    yield "## Every strategy against random rows\n"
    options = f"{' --full' * args.full}{' --quick' * args.quick} --seeds {len(args.seeds)}"
    yield f"`python -m benchmarks.quality{options}`: test accuracy in percent"
    yield "with all rows and with random ones, and the points by which each strategy is better than random rows of the"
    yield f"same number, {N_RANDOM} draws of them; mean and standard error of {len(args.seeds)} seeds. A fifth of the training"
    yield "labels are redrawn, or swapped for the most similar class, or all are clean. In bold: worse than random rows by"
    yield f"more than {TOLERANCE} points beyond twice the standard error. With every seed other rows are drawn for training,"
    yield "other labels change, and nets start anew.\n"
    limit = "all" if args.full else f"at most {QUICK_ROWS if args.quick else ROWS['mnist']}"
    yield f"Training rows: {limit}, of Reuters all; at most {MAX_TEST_ROWS} test rows.\n"
    if args.docs:
        yield "![Points better than random over the share kept](../images/quality.png)\n"
        yield "The picture shows means of the final classifiers; beyond 5 points its scale is logarithmic.\n"
    for title, names in (("that coverage was chosen on", CHOSEN_ON), ("that coverage was not chosen on", REPORTED_ON)):
        part = results[results["data"].isin(names)]
        if len(part):
            yield f"### The {part['data'].nunique()} data sets {title}\n"
            yield from describe_group(part)
    yield from describe_warnings(results)


def describe_group(results):
    """Yield the lines of the report on some of the data sets."""
    mean, error = (getattr(differences(results).groupby(level=CELL, sort=False), name)() for name in ("mean", "sem"))
    worse = mean + 2 * error < -TOLERANCE
    yield from summarise(mean, worse, results)
    yield ""
    accuracies = (
        100
        * results.assign(ranking=results["ranking"].str.replace(r" \d", "", regex=True))
        .groupby(["ranking", *CELL])["accuracy"]
        .mean()
    )
    lines = []
    for cell in mean.index:
        data, noise, classifier, k = cell
        averages = [accuracies["all rows", data, noise, classifier, 1.0], accuracies["random", *cell]]
        points = [f"{mean.at[cell, name]:+.1f} ± {error.at[cell, name]:.1f}" for name in COMPARED]
        points = [f"**{text}**" if worse.at[cell, name] else text for text, name in zip(points, COMPARED, strict=True)]
        lines.append((data, noise, classifier, k, *(f"{average:.1f}" for average in averages), *points))
    heads = (name.replace("_", " ") for name in COMPARED)  # narrower, since they wrap
    yield from table(("data", "noise", "classifier", "k", "all rows", "random", *heads), lines)
    yield ""


def summarise(mean, worse, results):
    """Yield the lines of the table with one line for each ranking."""
    clean = mean.index.get_level_values("noise") == CLEAN
    redrawn = mean.index.get_level_values("noise") == REDRAWN
    best = mean.max(axis=1).clip(lower=0)
    warned = results.groupby("ranking")["warned"].mean()
    lines = []
    for name in COMPARED:
        averages = [f"{mean.loc[part, name].mean():+.1f}" for part in (clean, redrawn, ~clean & ~redrawn)]
        data, noise, classifier, k = mean[name].idxmin()
        worst = f"{mean[name].min():+.1f}: {data}, {noise}, {classifier}, k={k}"
        below = " and ".join(f"{np.mean(mean.loc[part, name] < -TOLERANCE):.0%}" for part in (clean, ~clean))
        bold = f"{worse[name].sum()} of {len(mean)}"
        gap = f"{(best - mean[name]).mean():.1f}"
        lines.append((name, *averages, worst, below, bold, gap, f"{warned[name]:.0%}"))
    head = (
        "",
        *NOISE,
        "worst cell",
        f"below -{TOLERANCE}, clean and noisy",
        "in bold",
        "mean distance to the best",
        "warned",
    )
    yield from table(head, lines)


def describe_warnings(results):
    """Yield lines on what became of the selections that skprune warned of, and of the others."""
    points = differences(results).stack()
    warned = results.set_index([*CELL, "seed", "ranking"])["warned"].reindex(points.index).astype(bool)
    for name, chosen in (("skprune warned of", points[warned]), ("It did not of the other", points[~warned])):
        below = f"more than a point worse in {np.mean(chosen < -1):.0%}, better in {np.mean(chosen > 0):.0%}"
        yield f"{name} {len(chosen)} of {len(points)} selections: {chosen.mean():+.1f} points on average, {below}."


def draw(points, file):
    """Draw the points better than random over k, averaged over classifiers, for each data set and noise."""
    import matplotlib.pyplot as plt

    points = points.groupby(level=["data", "noise", "k", "seed"], sort=False).mean()
    names, noises = (points.index.unique(level) for level in ("data", "noise"))
    shape, size = (len(names), len(noises)), (8, 1.6 * len(names) + 0.8)
    figure, axes = plt.subplots(*shape, figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained")
    for (row, name), (column, noise) in product(enumerate(names), enumerate(noises)):
        ax = axes[row, column]
        if (name, noise) not in points.index.droplevel(["k", "seed"]):
            ax.set_axis_off()
            continue
        draw_panel(ax, points.xs((name, noise), level=("data", "noise")).groupby(level="k"))
        ax.set_title(f"{name}, {noise}", fontsize=10)
    figure.supxlabel("share of the rows kept", fontsize=10)
    figure.supylabel("points better than random rows", fontsize=10)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    file.parent.mkdir(exist_ok=True)
    figure.savefig(file, dpi=160, metadata={"Software": None})


def draw_panel(ax, points):
    """Draw a line for each ranking, on a scale on which small gains and large losses can be read."""
    mean, error = points.mean(), points.sem()
    ax.axhline(0, color="black", linewidth=0.8)
    for number, name in enumerate(COMPARED):
        colour, marker = STYLES[name]
        shift = 0.008 * (number - len(COMPARED) // 2)
        ax.errorbar(mean.index + shift, mean[name], error[name], label=name, color=colour, marker=marker, markersize=4)
    ax.set_yscale("symlog", linthresh=5)
    ticks = (-80, -20, -5, 0, 5, 20)
    ax.set_yticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks])
    ax.set_xticks(mean.index)
    ax.grid(alpha=0.3)


if __name__ == "__main__":
    from benchmarks.quality import main  # worker processes find functions by the name of their module

    main()
