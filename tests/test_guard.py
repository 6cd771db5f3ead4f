import warnings

import numpy as np
import pytest
from conftest import MLP, make_net
from sklearn.datasets import load_digits
from test_scores import record

from skprune import ForgettingScores, ForgettingSelector, PruningWarning, select_rows

SUSPECTS = "rows kept are suspects"
NO_INFORMATION = "The scores carry no information"


def quiet(*args, **kwargs):
    """Select and fail if there is any warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return select_rows(*args, **kwargs)


@pytest.fixture
def noisy():
    """100 rows: 60 learned at once, 40 suspects that are forgotten once."""
    history = np.ones((4, 100), dtype=bool)
    history[[0, 2, 3], 60:] = False
    margins = np.where(np.arange(100) < 60, 0.9, -0.3) + np.linspace(0, 0.01, 100)
    return record(history, np.tile(margins, (4, 1)))


def test_suspects_that_are_kept_are_told_of(noisy):
    message = r"100% of the 20 rows kept are suspects.* as it did on 40% of all rows.*strategy='coverage'.*GridSearchCV"
    with pytest.warns(PruningWarning, match=message) as caught:
        select_rows(noisy, 0.2)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("params", [{"strategy": "coverage"}, {"strategy": "least_forgotten"}, {"strategy": "random"}])
def test_strategies_that_keep_few_suspects_are_quiet(noisy, params):
    quiet(noisy, 0.2, random_state=0, **params)


def test_no_more_suspects_than_there_must_be_are_quiet(noisy):
    kept = quiet(noisy, 0.99, strategy="coverage")
    assert np.mean(noisy.margins[kept] < 0) > 0.3
    quiet(noisy, 1.0)


def test_a_callable_is_warned_of(noisy):
    with pytest.warns(PruningWarning, match=SUSPECTS):
        select_rows(noisy, 0.3, strategy=lambda scores, n_keep, rng: np.argsort(scores.margins)[:n_keep])


@pytest.mark.parametrize("same", [np.zeros(20), np.full(20, 3.5)])
def test_equal_scores_carry_no_information(same):
    with pytest.warns(PruningWarning, match=f"{NO_INFORMATION}: they are the same for all 20 rows"):
        select_rows(same, 0.5)
    quiet(same, 0.5, strategy="random")
    quiet(np.append(same, 7), 0.5)


def test_equal_events_are_told_apart_by_margins():
    quiet(record(np.ones((3, 20), dtype=bool), np.tile(np.linspace(0.5, 1, 20), (3, 1))), 0.5)
    with pytest.warns(PruningWarning, match=NO_INFORMATION):
        select_rows(record(np.ones((3, 20), dtype=bool), np.full((3, 20), 0.5)), 0.5)


@pytest.mark.parametrize(("n_right", "warned"), [(12, True), (13, False)])
def test_a_net_that_beats_the_largest_class_carries_information(n_right, warned):
    y = np.repeat(["a", "b"], [12, 8])
    history = np.ones((3, 20), dtype=bool)
    history[-1, n_right:] = False
    scores = record(history, np.random.default_rng(0).uniform(0.1, 1, history.shape))
    quiet(scores, 0.5)
    if warned:
        with pytest.warns(PruningWarning, match=r"right on 60\.0% .* largest class is right on 60\.0%"):
            select_rows(scores, 0.5, y=y)
    else:
        quiet(scores, 0.5, y=y)


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
    selector = ForgettingSelector(make_net(MLP, lr=0.0), k=0.5, random_state=0).fit(X, y)
    with pytest.warns(PruningWarning, match=f"{NO_INFORMATION}: the net that made them was right on"):
        selector.transform(X)


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
