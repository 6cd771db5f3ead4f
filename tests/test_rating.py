import numpy as np
import pytest
from test_held_out import clusters, mislabel, unknown

from skprune._held_out import hold_out
from skprune._rating import _leader, _weights, best_rule, rows_of_rule
from skprune._strategies import RULES, Rule


@pytest.fixture(scope="module")
def noisy():
    X, y = clusters(600)
    y, is_wrong = mislabel(y, 180)
    return hold_out(X, y, unknown(y)), is_wrong


def test_a_rule_that_leaves_wrong_labels_out_is_chosen(noisy):
    held_out, _ = noisy
    assert best_rule(held_out, 0.1, False, 5).threshold is not None


def test_random_rows_are_kept_where_nothing_can_be_known():
    X, y = clusters(600)
    held_out = hold_out(X, y, unknown(y)).with_test()  # all rules are right on every row
    assert best_rule(held_out, 0.5, False, 5) == RULES[-1] == Rule(None, 1)


def test_a_rule_that_keeps_the_same_rows_does_not_lead(noisy):
    held_out, _ = noisy
    assert best_rule(held_out, 1.0, False, 5) == RULES[-1]


@pytest.mark.parametrize(("n_more", "leader"), [(3, 1), (4, 0)])
def test_a_rule_leads_by_two_standard_errors(n_more, leader):
    """Of 100 rows, 4 that only this rule has right are a mean of 0.04 and a standard error of 0.0196; 3 are 0.03 and 0.0171."""
    assert _leader(np.vstack([np.arange(100) < n_more, np.zeros(100)])) == leader


def test_rows_of_rules(noisy):
    held_out, is_wrong = noisy
    is_wrong = is_wrong[held_out.sample.rows]
    trust = held_out.test.fold_trust[0]
    trained = np.flatnonzero(~np.isnan(trust))
    kept = rows_of_rule(Rule("suspects", 1), held_out, trust, 0.5, False, 0)
    assert len(kept) == len(set(kept)) == 200
    assert set(kept) <= set(trained)
    assert np.mean(is_wrong[kept]) < 0.05
    assert 0.2 < np.mean(is_wrong[rows_of_rule(Rule(None, 1), held_out, trust, 0.5, False, 0)]) < 0.4
    assert len(rows_of_rule(Rule(None, 1), held_out, trust, 1e-6, False, 0)) == 1


@pytest.mark.parametrize("rule", RULES)
def test_rows_of_rules_keep_the_minimum_of_a_class_and_balance(noisy, rule):
    held_out, _ = noisy
    y = held_out.sample.y
    trust = held_out.test.fold_trust[0].copy()
    trust[y == 2] -= 2  # a class of suspects
    kept = rows_of_rule(rule, held_out, trust, 0.2, False, 7)
    assert np.bincount(y[kept], minlength=3).min() >= 7
    balanced = np.bincount(y[rows_of_rule(rule, held_out, trust, 0.2, True, 0)])
    sizes = np.bincount(y[~np.isnan(trust)])
    np.testing.assert_allclose(balanced, 80 * sizes / 400, atol=1)


def test_rare_classes_weigh_as_much_as_others():
    assert _weights(np.repeat([0, 1], [30, 10])).tolist() == [1] * 40
    weights = _weights(np.repeat([0, 1], [95, 5]))
    np.testing.assert_allclose(weights, np.repeat([100 / 190, 10], [95, 5]))
