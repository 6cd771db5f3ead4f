"""Time what is done with the scores of many rows, on one thread: ``python -m benchmarks.scores``.

How many rows a second ``ForgettingScores.update`` takes, and the seconds to select rows by every strategy.
"""

import argparse
from functools import partial
from timeit import repeat

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks.report import add_docs_option, publish, table
from skprune import ForgettingScores, select_rows

BATCH_SIZE = 4096
STRATEGIES = ("most_forgotten", "least_forgotten", "coverage", "random")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    add_docs_option(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        publish(list(_report(arguments.rows, arguments.repeats)), arguments.docs, "scores")


def _report(n_rows, n_repeats):
    """Yield the lines of the report."""
    yield "## Scores of many rows\n"
    yield f"`python -m benchmarks.scores`: {n_rows:,} rows, presented in batches of {BATCH_SIZE:,}, and 30 % of them selected;"
    yield f"ten classes, one thread, median of {n_repeats} measurements.\n"
    scores, rates = _update(n_rows, n_repeats)
    yield from table(("order of the rows", "million rows a second"), rates)
    yield ""
    yield from table(("`select_rows`, seconds", "`balance=False`", "`balance=True`"), _select(scores, n_repeats))


def _update(n_rows, n_epochs):
    rates = []
    rng = np.random.default_rng(0)
    correct = torch.from_numpy(rng.random(n_rows) < np.linspace(0.1, 1, n_rows)).split(BATCH_SIZE)
    margin = torch.from_numpy(rng.uniform(-0.5, 1, n_rows).astype(np.float32)).split(BATCH_SIZE)
    for name, order in (("ascending", np.arange(n_rows)), ("random", rng.permutation(n_rows))):
        batches = list(zip(torch.from_numpy(order).split(BATCH_SIZE), correct, margin, strict=True))
        scores = ForgettingScores(n_rows)
        seconds = repeat(partial(_present, scores, batches), number=1, repeat=n_epochs + 1)
        # The first epoch is left out: the system hands out memory as it is touched.
        rates.append((name, f"{n_rows / np.median(seconds[1:]) / 1e6:.1f}"))
    return scores, rates


def _present(scores, batches):
    for batch in batches:
        scores.update(*batch)


def _select(scores, n_repeats):
    y = np.random.default_rng(1).integers(0, 10, len(scores))
    lines = []
    for strategy in STRATEGIES:
        cells = []
        for balance in (False, True):
            select = partial(select_rows, scores, 0.3, y=y, strategy=strategy, balance=balance, random_state=0)
            seconds = repeat(select, number=1, repeat=n_repeats)
            cells.append(f"{np.median(seconds):.2f}")
        lines.append((strategy, *cells))
    return lines


if __name__ == "__main__":
    main()
