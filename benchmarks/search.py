"""What a search over `k` costs: ``python -m benchmarks.search``.

Times GridSearchCV of a Pipeline on MNIST over one value of `k` and over ten, five folds: with a `memory`, with a
`random_state` alone, with nothing set, and with two jobs.
"""

import argparse
import tempfile
import time

import joblib
import numpy as np
import torch
from joblib.externals.loky import get_reusable_executor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmarks.data import add_data_option, load
from benchmarks.report import add_docs_option, publish, table
from skprune import ForgettingSelector, make_pipeline

SHARES = np.linspace(0.1, 1, 10).round(1).tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--repeats", type=int, default=3, help="turns of every search")
    add_data_option(parser)
    add_docs_option(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    X, y, _, _ = load("mnist", arguments.data)
    X, y = X[: arguments.rows], y[: arguments.rows]
    searches = {
        "one k": ([0.5], 0, False, None),
        "ten k, no random_state": (SHARES, None, False, None),
        "ten k": (SHARES, 0, False, None),
        "ten k, two jobs": (SHARES, 0, False, 2),
        "ten k, memory": (SHARES, 0, True, None),
        "ten k, memory, two jobs": (SHARES, 0, True, 2),
    }
    seconds = {name: [] for name in searches}
    with threadpool_limits(1):
        # The slow one, which nobody needs precisely, once.
        slow = "ten k, no random_state"
        for name in tqdm([name for name in searches if name != slow] * arguments.repeats + [slow], unit="search"):
            seconds[name].append(_search(X, y, *searches[name]))
    publish(list(_report(seconds, len(X), arguments.repeats)), arguments.docs, "search")


def _report(seconds, n_rows, n_repeats):
    """Yield the lines of the report."""
    yield "## What a search over `k` costs\n"
    yield "`python -m benchmarks.search`: GridSearchCV of the selector and a quick classifier over one value of `k` and over ten,"
    yield f"five folds of {n_rows:,} rows of MNIST, one thread; median of {n_repeats} turns, without random_state of one.\n"
    one = np.median(seconds["one k"])
    lines = [(name, f"{np.median(values):.1f}", f"{np.median(values) / one:.2f}") for name, values in seconds.items()]
    yield from table(("search", "seconds", "multiple of one k"), lines)


def _search(X, y, shares, random_state, with_memory, n_jobs):
    """Return the seconds of one search; the final classifier is a quick one, so that the trainings count."""
    with tempfile.TemporaryDirectory() as folder:
        # Starting workers and loading the library in them doesn't count.
        get_reusable_executor().shutdown()
        joblib.Parallel(n_jobs)(joblib.delayed(ForgettingSelector().fit)(X[:100], y[:100]) for _ in range(2))
        selector = ForgettingSelector(random_state=random_state, memory=folder if with_memory else None)
        search = GridSearchCV(
            make_pipeline(selector, LogisticRegression(max_iter=5, tol=1)),
            {"forgettingselector__k": shares},
            cv=5,
            n_jobs=n_jobs,
            refit=False,
            error_score="raise",
        )
        start = time.perf_counter()
        search.fit(X, y)
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
