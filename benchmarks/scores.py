"""Time what is done with the scores of many rows, on one thread: ``python -m benchmarks.scores``.

Prints how many rows a second ``ForgettingScores.update`` takes in batches of 4,096, and the seconds that it takes to
select rows by every strategy; medians of `--repeats` measurements.
"""

import argparse
import time

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from skprune import ForgettingScores, select_rows

BATCH_SIZE = 4096
STRATEGIES = ("most_forgotten", "least_forgotten", "coverage", "random")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        scores = _update(arguments.rows, arguments.repeats)
        _select(scores, arguments.repeats)


def _update(n_rows, n_epochs):
    print(f"`ForgettingScores.update`, {n_rows:,} rows in batches of {BATCH_SIZE:,}; rows a second, the median epoch\n")
    print("| order of the rows | million rows a second |\n|---|---|")
    rng = np.random.default_rng(0)
    correct = torch.from_numpy(rng.random(n_rows) < np.linspace(0.1, 1, n_rows)).split(BATCH_SIZE)
    margin = torch.from_numpy(rng.uniform(-0.5, 1, n_rows).astype(np.float32)).split(BATCH_SIZE)
    for name, order in (("ascending", np.arange(n_rows)), ("random", rng.permutation(n_rows))):
        batches = list(zip(torch.from_numpy(order).split(BATCH_SIZE), correct, margin, strict=True))
        scores = ForgettingScores(n_rows)
        seconds = [
            _seconds(lambda scores=scores, batches=batches: _present(scores, batches)) for _ in range(n_epochs + 1)
        ]
        # The first epoch is left out: the system hands out memory as it is touched.
        print(f"| {name} | {n_rows / np.median(seconds[1:]) / 1e6:.1f} |", flush=True)
    return scores


def _present(scores, batches):
    for batch in batches:
        scores.update(*batch)


def _select(scores, n_repeats):
    y = np.random.default_rng(1).integers(0, 10, len(scores))
    print(f"\n`select_rows` of {len(scores):,} scores, ten classes, k=0.3; median seconds\n")
    print("| strategy | balance=False | balance=True |\n|---|---|---|")
    for strategy in STRATEGIES:
        cells = []
        for balance in (False, True):
            seconds = [
                _seconds(lambda: select_rows(scores, 0.3, y=y, strategy=strategy, balance=balance, random_state=0))  # noqa: B023
                for _ in range(n_repeats)
            ]
            cells.append(f"{np.median(seconds):.2f}")
        print(f"| {strategy} | {' | '.join(cells)} |", flush=True)


def _seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
