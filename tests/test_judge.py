from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from test_held_out import clusters, mislabel, unknown

from skprune._held_out import hold_out
from skprune._judge import Judge
from skprune._strategies import RULES, Rule

TRUSTED = Rule("suspects", 1)


class Counting(KNeighborsClassifier):
    """Counts the fits of all clones, and the rows of each."""

    fits: ClassVar[list[int]] = []

    def fit(self, X, y):
        self.fits.append(len(X))
        return super().fit(X, y)


class Contrary(KNeighborsClassifier):
    """Is always wrong where its neighbors are right."""

    def score(self, X, y):
        return 1 - super().score(X, y)


def judge_of(estimator, X, y, held_out, scoring=None):
    return Judge(estimator, scoring, X[held_out.sample.rows], y[held_out.sample.rows])


@pytest.fixture(scope="module")
def noisy():
    X, y = clusters(600)
    y, _ = mislabel(y, 180)
    return X, np.array(["a", "b", "c"])[y], hold_out(X, y, unknown(y))


@pytest.mark.parametrize("scoring", [None, "balanced_accuracy"])
def test_a_judge_finds_that_wrong_labels_hurt_it(noisy, scoring):
    share, (shares, scores, errors) = judge_of(Counting(1), *noisy, scoring).find_share(noisy[2])
    assert 0.2 <= share <= 0.4
    assert shares[0] == errors[0] == 0
    assert noisy[2].label_noise in shares
    assert scores[shares == share] > scores[0]


def test_a_judge_that_gains_nothing_leaves_nothing_out(noisy):
    X, y = clusters(600)
    held_out = hold_out(X, y, unknown(y)).with_test()
    assert judge_of(Counting(1), X, y, held_out).find_share(held_out)[0] == 0
    assert judge_of(Contrary(1), *noisy).find_share(noisy[2])[0] == 0


def test_fits_are_few_and_small():
    X, y = clusters(3300, n_features=3)
    y, _ = mislabel(y, 660)
    held_out = hold_out(X, y, unknown(y))
    judge = judge_of(Counting(1), X, y, held_out)
    Counting.fits.clear()
    judge.find_share(held_out)
    assert len(Counting.fits) == 12
    assert max(Counting.fits) == 2000
    Counting.fits.clear()
    judge.check_rule(TRUSTED, held_out, 0.3, False, 5)
    assert Counting.fits == [600] * 6


def test_a_judge_has_the_last_word_on_the_rule(noisy):
    how = {"share": 0.2, "balance": False, "min_per_class": 5}
    assert judge_of(Counting(1), *noisy).check_rule(TRUSTED, noisy[2], **how) == TRUSTED
    assert judge_of(Contrary(1), *noisy).check_rule(TRUSTED, noisy[2], **how) == RULES[-1]


def test_rows_of_one_class_tell_nothing(noisy):
    X, y, held_out = noisy
    judge = judge_of(LogisticRegression(), X, y, held_out)
    assert judge.check_rule(TRUSTED, held_out, share=1e-6, balance=False, min_per_class=5) == RULES[-1]
    # All rows of the second class are among the least trusted third.
    sample = held_out.sample
    trust = np.where(np.isnan(held_out.test.fold_trust), np.nan, np.where(sample.rows % 4 == 0, -1, 1))
    only = Judge(LogisticRegression(), None, judge.X, (sample.rows % 4 == 0).astype(int))
    share, (_, scores, _) = only.find_share(held_out._replace(test=held_out.test._replace(fold_trust=trust)))
    assert share < 0.35
    assert np.isnan(scores[-1])
    assert not np.isnan(scores[0])


def test_a_judge_gets_the_rows_in_their_own_container(noisy):
    class Frames(KNeighborsClassifier):
        def fit(self, X, y):
            assert isinstance(X, pd.DataFrame)
            return super().fit(X, y)

    X, y, held_out = noisy
    frame = pd.DataFrame(X, columns=list("abcdef")).iloc[held_out.sample.rows]
    share, _ = Judge(Frames(1), None, frame, y[held_out.sample.rows]).find_share(held_out)
    assert share > 0.2
