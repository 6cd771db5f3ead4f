"""
A support vector machine on 10,000 images, a fifth with wrong labels
====================================================================

The time that a support vector machine needs grows faster than the number of rows, and wrong labels make it slower still, since
it stores most of them. The script fits one with default settings on all rows of a part of MNIST, without the suspects, on three
tenths that ``ForgettingSelector(k=0.3)`` keeps, and on as many random rows. Then it searches over ``C`` and ``gamma`` on the same
rows. The last fit of a search gets all rows, without the suspects if there is a selector. Times include the training of the
scoring net.

Without the suspects, the fit and the search take two fifths of the time, and lose 0.3 and 0.2 points of accuracy. A search on
the three tenths takes less than a quarter of the time, with the same result. A search on random rows takes a little longer,
since its last fit gets all rows, and loses nothing. A single fit on three tenths loses more: 1.4 points, or 2.4 if these are
random.

On the command line::

    python mnist_svc.py

This downloads MNIST from OpenML. ``--data`` takes a file to use instead: an ``.npz`` with ``X_train``, ``y_train``, ``X_test``
and ``y_test``.

Recorded output
---------------

One thread of a machine with two CPU cores; seconds of processor time::

    OMP_NUM_THREADS=1 python mnist_svc.py --data mnist.npz --picture mnist_svc.png

.. literalinclude:: /recorded/mnist_svc.txt
   :language: text

.. image:: /images/mnist_svc.png
   :alt: Test accuracy over seconds, for a fit and a search, on all rows, without suspects, on pruned rows and on random ones
"""

# sphinx_gallery_thumbnail_path = "images/mnist_svc.png"

import argparse
import time

import numpy as np
from sklearn.datasets import fetch_openml
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.svm import SVC

from skprune import ForgettingSelector, make_pipeline

GRID = {"C": [1, 10], "gamma": ["scale", 0.02]}
STYLES = {"all rows": ("black", "s"), "without suspects": ("#0072B2", "D")}
STYLES |= {"pruned": ("#D55E00", "o"), "random rows": ("#009E73", "^")}


def main():
    args = parse()
    X, y, X_test, y_test = load(args.data, args.rows)
    rng = np.random.default_rng(0)
    y = np.where(rng.random(len(y)) < args.noise, (y + rng.integers(1, 10, len(y))) % 10, y)
    print(
        f"{len(y):,} images for training, {args.noise:.0%} of them with wrong labels, and {len(y_test):,} for testing"
    )
    everything, some = np.arange(len(y)), rng.choice(len(y), round(args.k * len(y)), replace=False)
    choices = {
        "all rows": (everything, 1.0),
        "without suspects": (everything, "auto"),
        "pruned": (everything, args.k),
        "random rows": (some, 1.0),
    }
    outcomes = {}
    for task in (fit, search):
        for name, (rows, k) in choices.items():
            start = time.process_time()
            accuracy = task(X, y, rows, k).score(X_test, y_test)
            seconds = time.process_time() - start
            outcomes[task.__name__, name] = accuracy, seconds
            print(f"{task.__name__}, {name}: accuracy {accuracy:.2%}, {seconds:.0f} s", flush=True)
    if args.picture:
        draw(outcomes, args.picture)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", metavar="FILE")
    parser.add_argument("--rows", type=int, default=10000)
    parser.add_argument("--noise", type=float, default=0.2, help="share of labels to make wrong (default: 0.2)")
    parser.add_argument("--k", type=float, default=0.3, help="share of the rows that is kept (default: 0.3)")
    parser.add_argument("--picture", metavar="FILE")
    return parser.parse_args()


def load(file, n_rows):
    """Return training and test rows with pixels from 0 to 1."""
    if file:
        with np.load(file) as arrays:
            parts = [arrays[name] for name in ("X_train", "X_test", "y_train", "y_test")]
    else:
        X, y = fetch_openml("mnist_784", version=1, as_frame=False, return_X_y=True)
        parts = train_test_split(X, y.astype(int), test_size=10000, random_state=0)
    X, X_test, y, y_test = parts
    X, _, y, _ = train_test_split(X, y, train_size=n_rows, stratify=y, random_state=0)
    X_test, _, y_test, _ = train_test_split(X_test, y_test, train_size=5000, stratify=y_test, random_state=0)
    return X.reshape(len(X), -1) / 255, y, X_test.reshape(len(X_test), -1) / 255, y_test


def pruned(k):
    """Return the classifier behind a selector, or alone if all rows are kept."""
    return SVC() if k == 1 else make_pipeline(ForgettingSelector(k=k, random_state=0), SVC())


def fit(X, y, rows, k):
    return pruned(k).fit(X[rows], y[rows])


def search(X, y, rows, k):
    """Search on some rows, and fit the best settings to all rows, without suspects if the search is pruned."""
    model = pruned(k)
    prefix = "" if k == 1 else "svc__"
    found = GridSearchCV(model, {prefix + name: values for name, values in GRID.items()}, cv=3, refit=False)
    model.set_params(**found.fit(X[rows], y[rows]).best_params_)
    return model.fit(X, y) if k == 1 else model.set_params(forgettingselector__k="auto").fit(X, y)


def draw(outcomes, file):
    """Draw accuracy over seconds."""
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(1, 2, figsize=(8, 3.5), sharey=True, layout="constrained")
    for ax, task, title in zip(axes, ("fit", "search"), ("one fit", "a search over four candidates"), strict=True):
        for name, (color, marker) in STYLES.items():
            accuracy, seconds = outcomes[task, name]
            ax.plot(seconds, 100 * accuracy, marker, color=color, markersize=9, label=name)
        ax.set(title=title, xlabel="seconds, scoring included", xlim=(0, None))
        ax.grid(alpha=0.3)
        ax.legend()
    axes[0].set_ylabel("test accuracy in %")
    plt.savefig(file, dpi=160)


if __name__ == "__main__":
    main()
