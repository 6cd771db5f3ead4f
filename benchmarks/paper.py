"""The figures of the paper on forgetting for MNIST and permuted MNIST: ``python -m benchmarks.paper``.

M. Toneva et al., ICLR 2019, https://arxiv.org/abs/1812.05159: a net of two convolutions trained by SGD in batches of 64
with learning rate 0.01, momentum 0.5 and no dropout, for 200 epochs. Forgetting is counted while training, and a row
that a run never learned counts as forgotten in each of its epochs. The counts of 5 runs are summed, and those of a
second group of as many are compared with them. A net is trained anew on the 40 % of the rows forgotten most often, with
ties broken at random, and on 40 % drawn at random.

That is 10 trainings on all rows and 10 on 40 % of them for each of both data sets; a few epochs, or fewer seeds, show
the pattern. Finished trainings are kept in the folder of ``--output``, and a run that was stopped goes on after them.
"""

import argparse
from functools import lru_cache
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import torch
from scipy.stats import pearsonr, sem, spearmanr
from skorch import NeuralNetClassifier
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmarks.data import add_data_option, draw_rows, load
from benchmarks.nets import CNN
from benchmarks.report import add_docs_option, publish, table
from skprune import ForgettingSelector, select_rows

NEVER_FORGOTTEN = {"MNIST": 0.917, "permuted MNIST": 0.753}
KEPT = 0.4
PIXEL_MEAN, PIXEL_SCALE = 0.1307, 0.3081


class Setting(NamedTuple):
    """What all trainings on a data set have in common."""

    data: str
    epochs: int
    n_rows: int
    device: str
    folder: Path | None


def main():
    args = parse()
    columns = [measure(Setting(name, args.epochs, args.rows, args.device, args.data), args) for name in NEVER_FORGOTTEN]
    publish(describe(columns, args), args.docs, "paper")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    add_docs_option(parser)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5, help="runs whose counts are summed; twice as many are trained")
    parser.add_argument("--rows", type=int, default=60000, help="training rows, of 60,000")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at the same time, of one thread each")
    parser.add_argument("--output", type=Path, default=Path(".skprune-cache", "paper"), metavar="DIR")
    return parser.parse_args()


def measure(setting, args):
    """Return the figures of a data set by their names."""
    seeds = range(args.seeds)
    counts, accuracies = zip(*train(setting, args, "scoring", count, product(range(2 * args.seeds))), strict=True)
    counts = np.array(counts)
    first, second = counts[: args.seeds].sum(0), counts[args.seeds :].sum(0)
    by_forgetting = select_rows(first, KEPT, random_state=0)
    at_random = [select_rows(first, KEPT, strategy="random", random_state=seed) for seed in seeds]
    pairs = list(combinations(counts, 2))
    return {
        "never forgotten, counts summed": f"{np.mean(first == 0):.1%}",
        "never forgotten, single runs": f"{np.mean(counts == 0):.1%}",
        "test accuracy, all rows": percent(accuracies),
        "60% removed by forgetting": percent(
            train(setting, args, "kept", retrain, ((by_forgetting, s) for s in seeds))
        ),
        "60% removed at random": percent(train(setting, args, "random", retrain, zip(at_random, seeds, strict=True))),
        "Pearson correlation between runs": f"{np.mean([pearsonr(*pair)[0] for pair in pairs]):.3f}",
        "Pearson correlation between groups": f"{pearsonr(first, second)[0]:.3f}",
        "rank correlation between runs": f"{np.mean([spearmanr(*pair)[0] for pair in pairs]):.3f}",
        "rank correlation between groups": f"{spearmanr(first, second)[0]:.3f}",
    }


def train(setting, args, title, function, inputs):
    """Return the results of a function that trains, one for each of the inputs."""
    inputs = list(inputs)
    results = joblib.Parallel(args.jobs, return_as="generator")(
        joblib.delayed(on_one_thread)(function, setting, *one, args.output) for one in inputs
    )
    return list(tqdm(results, f"{setting.data}, {title}", total=len(inputs), unit="training", smoothing=0))


def on_one_thread(function, *args):
    with threadpool_limits(1):
        return function(*args)


def count(setting, seed, output):
    """Return how often each row was forgotten in one training, and the test accuracy."""
    X, y, X_test, y_test = pictures(setting)
    selector = ForgettingSelector(make_net(setting), never_learned="max", memory=output, random_state=seed).fit(X, y)
    return selector.forgetting_scores_, selector.estimator_.score(X_test, y_test)


def retrain(setting, rows, seed, output):
    """Return the test accuracy of a training on some of the rows."""
    return joblib.Memory(output, verbose=0).cache(accuracy)(setting, rows, seed)


def accuracy(setting, rows, seed):
    X, y, X_test, y_test = pictures(setting)
    torch.manual_seed(seed)
    return make_net(setting).fit(X[rows], y[rows]).score(X_test, y_test)


def make_net(setting):
    return NeuralNetClassifier(
        CNN,
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.5,
        lr=0.01,
        batch_size=64,
        max_epochs=setting.epochs,
        iterator_train__shuffle=True,
        train_split=None,
        device=setting.device,
        verbose=0,
    )


@lru_cache(1)
def pictures(setting):
    """Return X_train, y_train, X_test and y_test, with the same pixels exchanged in all pictures if permuted."""
    X, y, X_test, y_test = load("mnist", setting.folder)
    X, y = draw_rows(X, y, setting.n_rows, seed=0)
    pixels = np.random.default_rng(0).permutation(X.shape[1]) if setting.data == "permuted MNIST" else slice(None)
    X, X_test = ((part[:, pixels] - PIXEL_MEAN) / PIXEL_SCALE for part in (X, X_test))
    return X.astype(np.float32), y, X_test.astype(np.float32), y_test


def percent(shares):
    error = f" ± {100 * sem(shares):.2f}" if len(shares) > 1 else ""
    return f"{100 * np.mean(shares):.2f}{error}"


def describe(columns, args):
    """Yield the lines of the report."""
    options = f" --epochs {args.epochs} --seeds {args.seeds}" + f" --rows {args.rows}" * (args.rows < 60000)
    yield "## The paper's figures\n"
    yield f"`python -m benchmarks.paper{options}`: {args.rows:,} training rows, epochs: **{args.epochs}**, runs in a"
    yield f"group, whose counts are summed: {args.seeds}. In the paper they are 60,000, 200 and 5. Accuracies in percent with the"
    yield "standard error of the trainings; rows are removed by the counts of the first group, or at random anew each time.\n"
    paper = ("in the paper", *(f"{share:.1%} never forgotten" for share in NEVER_FORGOTTEN.values()))
    yield from table(("", *NEVER_FORGOTTEN), [paper, *((name, *(c[name] for c in columns)) for name in columns[0])])


if __name__ == "__main__":
    from benchmarks.paper import main  # worker processes find functions by the name of their module

    main()
