import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
from conftest import MLP, make_net
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from test_scores import record

from skprune import ForgettingScores, ForgettingSelector, PruningWarning, make_pipeline, select_rows

SUSPECTS = "rows kept are suspects"
NO_INFORMATION = "The scores carry no information"


def quiet(*args, **kwargs):
    """Select and fail if there is any warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return select_rows(*args, **kwargs)


@pytest.fixture
def noisy():
    """100 rows: 60 learned at once, 40 suspects, which are forgotten once. The mean margin is 0.3."""
    history = np.ones((4, 100), dtype=bool)
    history[[0, 2, 3], 60:] = False
    margins = np.where(np.arange(100) < 60, 0.9, -0.6) + np.linspace(0, 0.01, 100)
    return record(history, np.tile(margins, (4, 1)))


def test_suspects_that_are_kept_are_told_of(noisy):
    message = r"100% of the 20 rows kept are suspects.* among all rows there are 40%.*strategy='coverage'.*GridSearchCV"
    with pytest.warns(PruningWarning, match=message) as caught:
        select_rows(noisy, 0.2, strategy="most_forgotten")
    assert caught[0].filename == __file__


@pytest.mark.parametrize("params", [{"strategy": "coverage"}, {"strategy": "least_forgotten"}, {"strategy": "random"}])
def test_strategies_that_keep_few_suspects_are_quiet(noisy, params):
    quiet(noisy, 0.2, random_state=0, **params)


def test_no_more_suspects_than_there_must_be_are_quiet(noisy):
    kept = quiet(noisy, 0.99, strategy="coverage")
    assert np.mean(noisy.margins[kept] < 0) > 0.3
    quiet(noisy, 1.0)


@pytest.mark.parametrize(
    ("n_suspects", "n_kept_suspects", "warned"), [(30, 20, False), (30, 21, True), (500, 60, False), (500, 61, True)]
)
def test_thresholds(n_suspects, n_kept_suspects, warned):
    """Of 1000 rows, of which the first are suspects, 100 are kept."""
    margins = np.where(np.arange(1000) < n_suspects, -0.9, 0.9) + np.linspace(0, 0.01, 1000)
    scores = record((margins > 0)[None], margins[None])
    rows = np.r_[:n_kept_suspects, 900 + n_kept_suspects : 1000]
    if warned:
        with pytest.warns(PruningWarning, match=f"{n_kept_suspects}% of the 100 {SUSPECTS}"):
            select_rows(scores, 0.1, strategy=lambda scores, n_keep, rng: rows)
    else:
        quiet(scores, 0.1, strategy=lambda scores, n_keep, rng: rows)


def test_a_callable_is_warned_of(noisy):
    with pytest.warns(PruningWarning, match=SUSPECTS):
        select_rows(noisy, 0.3, strategy=lambda scores, n_keep, rng: np.argsort(scores.margins)[:n_keep])


@pytest.mark.parametrize("same", [np.zeros(20), np.full(20, 3.5)])
def test_equal_scores_carry_no_information(same):
    with pytest.warns(PruningWarning, match=f"{NO_INFORMATION}: they are equal for all 20 rows"):
        select_rows(same, 0.5)
    quiet(same, 0.5, strategy="random")
    quiet(np.append(same, 7), 0.5)


def test_equal_events_are_told_apart_by_margins():
    scores = record(np.ones((3, 20), dtype=bool), np.tile(np.linspace(0.5, 1, 20), (3, 1)))
    quiet(scores, 0.5)
    with pytest.warns(PruningWarning, match="except for the margins, which tie_break='random' ignores"):
        select_rows(scores, 0.5, strategy="most_forgotten", tie_break="random")
    quiet(scores, 0.5, tie_break="random", strategy="coverage")
    with pytest.warns(PruningWarning, match=NO_INFORMATION):
        select_rows(record(np.ones((3, 20), dtype=bool), np.full((3, 20), 0.5)), 0.5)


@pytest.mark.parametrize("labels", [("a", "b"), (1, 0), (-1, 1), (7, 900)])
@pytest.mark.parametrize(("n_right", "warned"), [(12, True), (13, False)])
def test_a_net_that_beats_the_largest_class_carries_information(n_right, warned, labels):
    y = np.repeat(labels, [12, 8])
    history = np.ones((3, 20), dtype=bool)
    history[-1, n_right:] = False
    scores = record(history, np.random.default_rng(0).uniform(0.1, 1, history.shape))
    quiet(scores, 0.5)
    if warned:
        with pytest.warns(PruningWarning, match=r"right on 60\.0% .* largest class is right on 60\.0%"):
            select_rows(scores, 0.5, y=y)
    else:
        quiet(scores, 0.5, y=y)


def test_rows_that_were_not_presented_are_not_wrong():
    y = np.repeat(["a", "b"], 10)
    scores = ForgettingScores(20)
    shown = np.arange(4, 20)  # 6 of a, 10 of b
    for n_right in (16, 11):
        scores.update(shown, np.arange(16) < n_right, np.linspace(0.1, 1, 16))
    assert scores.last_accuracy() == 11 / 16
    quiet(scores, 0.5, y=y, strategy="most_forgotten")
    scores.update(shown, np.arange(16) < 10, np.linspace(0.1, 1, 16))
    with pytest.warns(PruningWarning, match=r"right on 62\.5% .* largest class is right on 62\.5%"):
        select_rows(scores, 0.5, y=y, strategy="most_forgotten")


def test_labels_that_have_no_order_are_counted():
    scores = record(np.ones((2, 4), dtype=bool), np.tile([0.1, 0.2, 0.3, 0.4], (2, 1)))
    quiet(scores, 3, y=np.array(["a", None, "b", "a"], dtype=object))


def test_of_a_callable_it_is_not_known_what_it_reads():
    quiet(np.zeros(20), 0.5, strategy=lambda scores, n_keep, rng: np.arange(n_keep))


def test_the_accuracy_of_runs_is_that_of_their_last_presentations():
    right = [np.array([[0, 0, 0, 1], [1, 1, 1, 0]], dtype=bool), np.array([[1, 1, 1, 1], [1, 0, 0, 0]], dtype=bool)]
    scores = [record(history) for history in right]
    assert [run.last_accuracy() for run in scores] == [0.75, 0.25]
    assert (scores[0] + scores[1]).last_accuracy() == 0.5
    assert np.isnan(
        (scores[0] + ForgettingSelector().fit(np.eye(4), [0, 1, 0, 1], [1, 2, 3, 4])._scores).last_accuracy()
    )


def test_a_net_that_never_learned(data):
    X, y = data
    selector = ForgettingSelector(make_net(MLP, lr=0.0), k=0.5, random_state=0)
    with pytest.warns(PruningWarning, match=f"{NO_INFORMATION}: the scoring net was right on"):
        selector.fit(X, y)


def test_clean_digits_are_quiet():
    X, y = load_digits(return_X_y=True)
    selector = ForgettingSelector(random_state=0).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for strategy in ("most_forgotten", "coverage"):
            selector.set_params(k=0.5, strategy=strategy).get_support()


def test_the_accuracy_is_saved(tmp_path, noisy):
    (noisy + noisy).save(tmp_path / "scores.npz")
    assert ForgettingScores.load(tmp_path / "scores.npz").last_accuracy() == 0.6


def keep(rows):
    """Return a strategy that keeps these rows."""
    return lambda scores, n_keep, rng: np.array(rows)


@pytest.mark.parametrize(("n_kept", "lost"), [(0, True), (1, True), (2, False), (3, False)])
def test_a_lost_class_is_told_of(n_kept, lost):
    y = np.repeat(["a", "b", "c"], [20, 3, 2])  # none of c is kept: a class of two rows has none to lose
    scores = record(np.ones((1, 25), dtype=bool), np.linspace(0.1, 1, 25)[None])
    rows = [*range(10 - n_kept), *range(20, 20 + n_kept)]
    if not lost:
        quiet(scores, 10, y=y, strategy=keep(rows))
        return
    message = "1 of 3 classes would have at most one row left among the 10 rows kept.*balance=True.* or a larger k"
    with pytest.warns(PruningWarning, match=message) as caught:
        select_rows(scores, 10, y=y, strategy=keep(rows))
    assert caught[0].filename == __file__
    quiet(scores, 10, strategy=keep(rows))  # classes are unknown without y
    quiet(scores, 0.8, y=y, strategy="random", balance=True, random_state=0)


def test_a_class_that_is_lost_by_chance_is_told_of():
    y = np.repeat([0, 1], [97, 3])
    with pytest.warns(PruningWarning, match="1 of 2 classes would have at most one row left among the 2 rows kept"):
        select_rows(np.arange(100), 2, y=y, strategy="random", random_state=0)


@pytest.mark.parametrize(("attainable", "weak"), [(0.69, False), (0.71, True), (np.nan, False)])
def test_a_net_that_simple_models_beat(noisy, attainable, weak):
    assert noisy.last_accuracy() == 0.6
    scores = noisy.with_held_out(np.linspace(0.1, 0.2, 100), np.zeros(100, dtype=bool), attainable)
    for params in ({}, {"strategy": keep(range(20))}):
        if weak:
            message = r"net was right on 60% of its own training rows, but simple models are right on 71% of"
            with pytest.warns(PruningWarning, match=message):
                select_rows(scores, 0.2, **params)
        else:
            quiet(scores, 0.2, **params)
    quiet(scores, 0.2, strategy="random")
    quiet(scores, 1.0)


def test_suspects_are_those_of_the_test_on_held_out_rows(noisy):
    # Models that have not seen the rows agree with the labels that the net disagrees with.
    agreeing = noisy.with_held_out(np.full(100, 0.4), np.zeros(100, dtype=bool), 0.5)
    quiet(agreeing, 0.2, strategy=keep(range(60, 80)))
    with pytest.warns(PruningWarning, match=f"100% of the 20 {SUSPECTS}"):
        select_rows(noisy, 0.2, strategy=keep(range(60, 80)))


SEARCH = """
import numpy as np
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from skprune import ForgettingSelector, Pipeline

X, y = make_classification(120, random_state=0)
scores = np.arange(120)
pipe = Pipeline([("prune", ForgettingSelector(k=90, random_state=0)), ("clf", LogisticRegression())])
search = GridSearchCV(pipe, {"prune__strategy": ["random", "most_forgotten"]}, cv=3)
search.fit(X, y, prune__forgetting_scores=scores)  # warns
pipe.set_params(prune__k=130).fit(X, y, prune__forgetting_scores=scores)  # warns
pipe[0].transform(X)
pipe[0].set_params(k=140).transform(X)  # warns
"""


def test_a_warning_comes_once_and_names_the_line_of_the_user(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SEARCH)
    printed = subprocess.run([sys.executable, str(script)], check=True, capture_output=True, text=True).stderr
    lines = [number for number, line in enumerate(SEARCH.splitlines(), start=1) if "# warns" in line]
    found = re.findall(r"(\S+):(\d+): PruningWarning: (k=\d+)", printed)
    assert found == [(str(script), str(line), k) for line, k in zip(lines, ("k=90", "k=130", "k=140"), strict=True)]
    assert printed.count("Warning:") == 3


@pytest.mark.parametrize("strategy", ["most_forgotten", lambda scores, n_keep, rng: np.arange(n_keep)])
def test_a_fit_warns_once(data, strategy):
    X, y = data
    selector = ForgettingSelector(k=130, strategy=strategy, random_state=0)
    pipe = make_pipeline(selector, LogisticRegression())
    with pytest.warns(PruningWarning) as caught:
        pipe.fit(X, y, forgettingselector__forgetting_scores=np.arange(120))
    selector.transform(X)
    selector.get_support()
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_classes_are_named_as_in_y(data):
    X, y = data
    selector = ForgettingSelector(k=0.1, strategy=keep(np.flatnonzero(y != 2)[:12]))
    with pytest.warns(PruningWarning, match="1 of 3 classes would have at most one row left .*: 'third'"):
        selector.fit(X, np.array(["first", "second", "third"])[y], forgetting_scores=np.arange(120))
