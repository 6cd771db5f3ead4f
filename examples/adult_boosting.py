"""
A table with words and missing values
=====================================

Adult is a table of census records: six columns of numbers, eight columns of words, and missing values in three of these.
Histogram gradient boosting takes the table as it is. ``ForgettingSelector`` encodes it for its scoring net, and passes the
rows that it keeps on as they are, with their categories and missing values. The script compares boosting on all rows, on
half of them, and on as many random rows. Then it searches for the smallest share of rows that is good enough.

Boosting is so fast here that pruning saves no time, and random rows are as good or better. The search finds this out and keeps
all rows. The example shows that a table needs no preparation. The scoring net is
trained once for both strategies, so random rows take less time.

On the command line::

    python adult_boosting.py

This downloads Adult from OpenML. ``--data`` takes a folder with ``adult.csv`` to use instead.

Recorded output
---------------

One thread of a machine with two CPU cores; seconds of processor time::

    OMP_NUM_THREADS=1 python adult_boosting.py --data .

.. literalinclude:: /recorded/adult_boosting.txt
   :language: text
"""

import argparse
import time
from pathlib import Path

import pandas as pd
from sklearn.datasets import fetch_openml
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GridSearchCV, train_test_split

from skprune import ForgettingSelector, Pipeline, fewest_rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", metavar="FOLDER", help="folder with adult.csv")
    parser.add_argument("--k", type=float, default=0.5, help="share of the rows that is kept (default: 0.5)")
    args = parser.parse_args()
    X, X_test, y, y_test = train_test_split(*load(args.data), test_size=0.25, random_state=0)
    words = X.select_dtypes("category").columns
    print(f"{len(X):,} rows for training, {len(X_test):,} for testing")
    print(
        f"{len(words)} of {X.shape[1]} columns are categories, {X.isna().any(axis=1).mean():.1%} of the rows miss a value"
    )

    boosting = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0)
    report("all rows", boosting, X, y, X_test, y_test)
    for strategy in ("coverage", "random"):
        pipe = Pipeline([("prune", ForgettingSelector(k=args.k, strategy=strategy, random_state=0)), ("clf", boosting)])
        report(f"k={args.k}, {strategy}", pipe, X, y, X_test, y_test)
    kept = pipe["prune"].transform(X)
    print(f"kept rows: {type(kept).__name__}, the same columns and types: {kept.dtypes.equals(X.dtypes)}")

    pipe.set_params(prune__strategy="coverage")
    search = GridSearchCV(pipe, {"prune__k": [1.0, 0.7, 0.5, 0.3]}, cv=3, refit=fewest_rows(within=0.005))
    report("search", search, X, y, X_test, y_test)
    for k, score in zip(search.cv_results_["param_prune__k"], search.cv_results_["mean_test_score"], strict=True):
        print(f"  k={k}: mean accuracy {score:.2%}{' (chosen)' if k == search.best_params_['prune__k'] else ''}")


def load(folder):
    """Return the table, with words as categories, and the labels."""
    if folder is None:
        return fetch_openml("adult", version=2, as_frame=True, return_X_y=True)
    X = pd.read_csv(Path(folder) / "adult.csv", na_values="?", skipinitialspace=True)
    y = X.pop("income")
    words = X.columns.difference(X.select_dtypes("number").columns)
    return X.astype(dict.fromkeys(words, "category")), y


def report(name, model, X, y, X_test, y_test):
    start = time.process_time()
    model.fit(X, y)
    seconds = time.process_time() - start
    print(f"{name}: accuracy {model.score(X_test, y_test):.2%}, {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
