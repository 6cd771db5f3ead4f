"""Prune the digits of scikit-learn and print what it gains and costs: ``python -m benchmarks.demo``."""

import math
import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from benchmarks.data import redraw_labels
from benchmarks.report import table
from skprune import ForgettingSelector

SHARES = (0.7, 0.5, 0.3, 0.1)
STRATEGIES = ("coverage", "most_forgotten", "random")
NOISE = (0.0, 0.2)
SEEDS = range(3)


def main():
    X, y = load_digits(return_X_y=True)
    print(
        f"Digits: {len(y)} pictures of 8 x 8, a fifth for testing. Test accuracy of histogram gradient boosting on all training"
    )
    print(
        "rows and on those that are kept, and seconds of a fit on one thread, with coverage those of scoring included: means of"
    )
    print(f"{len(SEEDS)} splits and seeds.")
    ForgettingSelector().fit(X[:200], y[:200])  # loads what the first training loads
    for noise in NOISE:
        print(f"\n{'A fifth of the training labels are wrong' if noise else 'Clean labels'}:\n")
        results = np.mean([measure(X, y, noise, seed) for seed in SEEDS], axis=0)
        print("\n".join(describe(results, len(y) - math.ceil(0.2 * len(y)))), flush=True)


def measure(X, y, noise, seed):
    """Return accuracy and seconds of a fit on all rows, and for each share and strategy."""
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=seed)
    y_train = redraw_labels(y_train, noise, seed)
    start = time.perf_counter()
    selector = ForgettingSelector(random_state=seed).fit(X_train, y_train)
    scoring = time.perf_counter() - start
    results = [fit_and_score(X_train, y_train, X_test, y_test)]
    for k in SHARES:
        for strategy in STRATEGIES:
            rows = selector.set_params(k=k, strategy=strategy).get_support()
            accuracy, seconds = fit_and_score(X_train[rows], y_train[rows], X_test, y_test)
            results.append((accuracy, seconds + scoring * (strategy != "random")))
    return results


def fit_and_score(X, y, X_test, y_test):
    start = time.perf_counter()
    classifier = HistGradientBoostingClassifier(max_iter=50, random_state=0).fit(X, y)
    seconds = time.perf_counter() - start
    return classifier.score(X_test, y_test), seconds


def describe(results, n_train):
    """Yield the lines of the table."""
    (everything, seconds_of_all), *pruned = results
    lines = []
    for k, outcomes in zip(SHARES, np.split(np.array(pruned), len(SHARES)), strict=True):
        accuracies = [f"{accuracy:.1%}" for accuracy in outcomes[:, 0]]
        times = f"{outcomes[0, 1]:.2f}", f"{seconds_of_all:.2f}"
        lines.append((k, math.ceil(k * n_train), *accuracies, f"{everything:.1%}", *times))
    names = [strategy.replace("_", " ") for strategy in STRATEGIES]
    yield from table(("k", "rows kept", *names, "all rows", "seconds, pruned", "seconds, all rows"), lines)


if __name__ == "__main__":
    with threadpool_limits(1):  # on data this small, threads cost more than they give
        main()
