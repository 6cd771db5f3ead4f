"""Prune the digits of scikit-learn and print what it costs in accuracy: ``python -m benchmarks.demo``."""

import math
import tempfile
import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skprune import ForgettingSelector, Pipeline

SHARES = (0.7, 0.5, 0.3, 0.2, 0.1)
STRATEGIES = ("most_forgotten", "coverage", "random")
SEEDS = range(5)


def main():
    X, y = load_digits(return_X_y=True)
    with tempfile.TemporaryDirectory() as memory:
        print(f"Digits: {len(y)} pictures of 8 x 8, a fifth for testing; mean of {len(SEEDS)} splits and seeds.\n")
        print("| k | rows kept | most forgotten | coverage | random | everything | seconds |")
        print("|---|---|---|---|---|---|---|")
        n_train = len(train_test_split(X, y, test_size=0.2, stratify=y, random_state=0)[0])
        everything = np.mean([accuracy(X, y, seed, None) for seed in SEEDS])
        for k in SHARES:
            start = time.perf_counter()
            scores = {
                strategy: np.mean([accuracy(X, y, seed, selector(k, strategy, seed, memory)) for seed in SEEDS])
                for strategy in STRATEGIES
            }
            n_kept = math.ceil(k * n_train)
            accuracies = " | ".join(f"{scores[strategy]:.1%}" for strategy in STRATEGIES)
            print(
                f"| {k} | {n_kept} | {accuracies} | {everything:.1%} | {time.perf_counter() - start:.1f} |", flush=True
            )
    print(f"\nThe first row has trained the scoring net {len(SEEDS)} times; the others found its scores in memory.")


def selector(k, strategy, seed, memory):
    return ForgettingSelector(k=k, strategy=strategy, memory=memory, random_state=seed)


def accuracy(X, y, seed, selector):
    """Return the test accuracy of a logistic regression on what the selector keeps, or on everything."""
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=seed)
    steps = [
        ("scale", StandardScaler()),
        ("prune", selector or "passthrough"),
        ("clf", LogisticRegression(max_iter=1000)),
    ]
    return Pipeline(steps).fit(X_train, y_train).score(X_test, y_test)


if __name__ == "__main__":
    with threadpool_limits(1):  # on data this small, threads cost more than they give
        main()
