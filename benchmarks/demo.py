"""Show on the digits of scikit-learn what pruning gains and costs: ``python -m benchmarks.demo``."""

import time
from importlib.util import find_spec

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from benchmarks.data import redraw_labels
from benchmarks.report import table
from skprune import ForgettingSelector, Pipeline

NOISE, SHARE = 0.2, 0.4
CLASSIFIERS = {
    "nearest neighbor": KNeighborsClassifier(1),
    "logistic regression": LogisticRegression(max_iter=5000),
    "boosting": HistGradientBoostingClassifier(max_iter=50, random_state=0),
    "SVC": SVC(),
}
# A Gaussian process takes time that grows with the cube of the rows.
N_SEARCHED, LENGTHS = 800, (10, 20, 40)


def main():
    X, X_test, y_true, y_test = train_test_split(*load_digits(return_X_y=True), test_size=0.2, random_state=0)
    y = redraw_labels(y_true, NOISE, 0)
    ForgettingSelector().fit(X[:200], y_true[:200])  # loads what the first training loads
    start = time.perf_counter()
    selector = ForgettingSelector(random_state=0).fit(X, y)
    seconds = time.perf_counter() - start
    print(f"{len(y)} digits for training, {NOISE:.0%} of the labels are wrong. Test accuracy with default settings:\n")
    print("\n".join(clean(X, y, X_test, y_test, selector)))
    print(
        f"\nScoring took {seconds:.1f} s on one thread. It estimates that {selector.label_noise_:.1%} of the labels are wrong."
    )
    print(f"\nA search of a Gaussian process over {len(LENGTHS)} kernels, {N_SEARCHED} digits with right labels:\n")
    print("\n".join(search(X[:N_SEARCHED], y_true[:N_SEARCHED], X_test, y_test)))
    if find_spec("matplotlib") and find_spec("pandas"):
        from benchmarks.suspects_picture import draw

        issues = selector.label_issues()
        draw(X, issues.iloc[np.linspace(0, len(issues) - 1, 20).astype(int)]).savefig("suspects.png", dpi=120)
        print("\nTwenty suspects with their given and their likely labels: suspects.png")


def clean(X, y, X_test, y_test, selector):
    """Return the lines of a table: accuracy with all rows, without the suspects, and with rows chosen in other ways."""
    kept = selector.get_support()
    random = np.random.default_rng(0).permutation(kept)
    choices = {"all rows": slice(None), 'k="auto"': kept, f"{kept.sum()} random rows": random}
    if find_spec("cleanlab"):
        from cleanlab.filter import find_label_issues

        probabilities = cross_val_predict(RandomForestClassifier(random_state=0), X, y, method="predict_proba")
        choices["cleanlab's filter"] = ~find_label_issues(y, probabilities)
    lines = [
        (name, *(f"{clf.fit(X[rows], y[rows]).score(X_test, y_test):.1%}" for rows in choices.values()))
        for name, clf in CLASSIFIERS.items()
    ]
    return table(("classifier", *choices), lines)


def search(X, y, X_test, y_test):
    """Return the lines of a table: accuracy and seconds of a search on all rows, on pruned ones and on random ones."""
    pipe = Pipeline([("prune", ForgettingSelector(random_state=0)), ("clf", GaussianProcessClassifier(optimizer=None))])
    lines = []
    ways = (("all rows", 1.0, "random"), ("pruned rows", SHARE, "coverage"), ("random rows", SHARE, "random"))
    for name, k, strategy in ways:
        steps = {"prune__k": k, "prune__strategy": strategy} if k < 1 else {"prune": "passthrough"}
        start = time.perf_counter()
        found = GridSearchCV(pipe.set_params(**steps), {"clf__kernel": [RBF(length) for length in LENGTHS]}, cv=3)
        accuracy = found.fit(X, y).score(X_test, y_test)
        lines.append((name, f"{k:.0%}", f"{accuracy:.1%}", f"{time.perf_counter() - start:.1f}"))
        pipe.set_params(prune=ForgettingSelector(random_state=0))
    return table(("trained on", "k", "accuracy", "seconds"), lines)


if __name__ == "__main__":
    with threadpool_limits(1):  # on data this small, threads cost more than they give
        main()
