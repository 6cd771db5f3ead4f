"""Show on the digits of scikit-learn what skprune gains and what it costs: ``python -m benchmarks.demo``."""

import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from benchmarks.data import redraw_labels
from benchmarks.report import table
from skprune import ForgettingSelector, Pipeline

NOISE, PICTURE = 0.2, Path("suspects.png")
CLASSIFIERS = {
    "KNeighborsClassifier(1)": KNeighborsClassifier(1),
    "LogisticRegression()": LogisticRegression(max_iter=5000),  # as many as it needs without a warning
    "HistGradientBoostingClassifier()": HistGradientBoostingClassifier(max_iter=50, random_state=0),
    "SVC()": SVC(),
}
C = (0.1, 0.3, 1, 3, 10, 30, 100)


def main():
    X, X_test, y_true, y_test = train_test_split(*load_digits(return_X_y=True), test_size=0.2, random_state=0)
    y = redraw_labels(y_true, NOISE, 0)
    ForgettingSelector().fit(X[:200], y_true[:200])  # loads what the first training loads
    selector, seconds = timed(ForgettingSelector(random_state=0).fit, X, y)
    print(f"One fit. {len(y):,} digits for training, {NOISE:.0%} of them with a wrong label. Test accuracy:\n")
    print(*fits(X, y, X_test, y_test, selector), sep="\n")
    print(
        f"\nThe selector took {seconds:.1f} s. It estimates that {selector.label_noise_:.1%} of the labels are wrong.\n"
    )

    X_more, y_more = shifted(X, y_true)
    print(
        f"One search of SVC over {len(C)} values of C, {len(y_more):,} digits, {NOISE:.0%} of them with a wrong label:\n"
    )
    print(*search(X_more, redraw_labels(y_more, NOISE, 0), *shifted(X_test, y_test)), sep="\n")
    if find_spec("matplotlib") and find_spec("pandas"):
        from benchmarks.suspects_picture import draw

        issues = selector.label_issues()
        draw(X, issues.iloc[np.linspace(0, len(issues) - 1, 20).astype(int)]).savefig(PICTURE, dpi=120)
        print(f"\nTwenty suspects with their given and their likely labels: {PICTURE.resolve()}")


def fits(X, y, X_test, y_test, selector):
    """Return the lines of a table: test accuracy with all rows, without the suspects, and with rows chosen in other ways."""
    kept = selector.get_support()
    choices = {"all rows": slice(None), 'k="auto"': kept, "as many random rows": shuffled(kept)}
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
    """Return the lines of a table: seconds and test accuracy of a search on all rows, without suspects, on random rows."""
    pipe = Pipeline([("prune", ForgettingSelector(random_state=0)), ("clf", SVC())])
    pruned = timed(GridSearchCV(pipe, {"clf__C": C}, cv=3).fit, X, y)
    kept = pruned[0].best_estimator_["prune"].get_support()
    plain = GridSearchCV(SVC(), {"C": C}, cv=3)
    searches = {
        "all rows": timed(clone(plain).fit, X, y),
        'k="auto", scoring included': pruned,
        "as many random rows": timed(clone(plain).fit, X[shuffled(kept)], y[shuffled(kept)]),
    }
    lines = [
        (name, f"{seconds:.1f}", f"{found.score(X_test, y_test):.1%}") for name, (found, seconds) in searches.items()
    ]
    return table(("searched on", "seconds", "test accuracy"), lines)


def shifted(X, y):
    """Return digits and copies of them that are shifted to the left and to the right."""
    images = X.reshape(-1, 8, 8)
    copies = [np.roll(images, pixels, axis=2).reshape(X.shape) for pixels in (0, -1, 1)]
    return np.concatenate(copies), np.tile(y, len(copies))


def shuffled(kept):
    return np.random.default_rng(0).permutation(kept)


def timed(function, *args):
    """Return what a function returns, and the seconds that it took."""
    start = time.perf_counter()
    return function(*args), time.perf_counter() - start


if __name__ == "__main__":
    with threadpool_limits(1):  # on data this small, threads cost more than they give
        main()
