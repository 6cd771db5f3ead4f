"""What a search over `k` costs: ``python -m benchmarks.search``.

Times GridSearchCV of a Pipeline on MNIST over one value of `k` and over ten, with and without `memory`, five folds.
"""

import argparse
import tempfile
import time

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmarks.data import add_data_option, load
from skprune import ForgettingSelector, make_pipeline

SHARES = np.linspace(0.1, 1, 10).round(1).tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=15000)
    parser.add_argument("--repeats", type=int, default=3, help="turns of every search")
    add_data_option(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    X, y, _, _ = load("mnist", arguments.data)
    X, y = X[: arguments.rows], y[: arguments.rows]
    searches = {
        "one k, no memory": ([0.5], False),
        "ten k, no memory": (SHARES, False),
        "ten k, memory": (SHARES, True),
    }
    seconds = {name: [] for name in searches}
    with threadpool_limits(1):
        for name in tqdm(list(searches) * arguments.repeats, unit="search"):
            seconds[name].append(_search(X, y, *searches[name]))
    print(f"\nGridSearchCV over `k`, five folds of {len(X):,} rows; median of {arguments.repeats} turns\n")
    print("| search | seconds | multiple of one k |\n|---|---|---|")
    one = np.array(seconds["one k, no memory"])
    for name, values in seconds.items():
        print(f"| {name} | {np.median(values):.1f} | {np.median(values / one):.2f} |")


def _search(X, y, shares, with_memory):
    """Return the seconds of one search; the final classifier is a quick one, so that the trainings count."""
    with tempfile.TemporaryDirectory() as folder:
        selector = ForgettingSelector(random_state=0, memory=folder if with_memory else None)
        search = GridSearchCV(
            make_pipeline(selector, LogisticRegression(max_iter=5, tol=1)),
            {"forgettingselector__k": shares},
            cv=5,
            refit=False,
            error_score="raise",
        )
        start = time.perf_counter()
        search.fit(X, y)
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
