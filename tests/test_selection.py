import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_scores import record

from skprune import ForgettingScores, PruningWarning, select_rows
from skprune._strategies import RULES, UNTESTED_RULE, Rule, count_kept, keep_rows

STRATEGIES = ["most_forgotten", "least_forgotten", "random", "coverage"]
ks = st.one_of(st.floats(0, 1, exclude_min=True), st.integers(1, 40))


def random_scores(n_rows, seed, n_presentations=6):
    """Scores with many ties of counts, some rows never learned, and distinct margins."""
    rng = np.random.default_rng(seed)
    history = rng.random((n_presentations, n_rows)) < rng.choice([0, 0.5, 0.9], n_rows)
    return record(history, rng.uniform(-1, 1, history.shape))


def n_kept(k, n_rows):
    return min(k, n_rows) if isinstance(k, int) else math.ceil(Fraction(str(k)) * n_rows * (1 - Fraction(1, 10**12)))


def oracle(scores, n_keep, strategy, never_learned):
    """Sort rows by a tuple; margins are distinct."""
    sign = -1 if strategy == "most_forgotten" else 1

    def key(row):
        learned = not scores.never_learned[row]
        count = scores.presentations[row] if never_learned == "max" and not learned else scores.events[row]
        return (never_learned == "drop" and not learned, sign * count, -sign * scores.margins[row])

    return sorted(sorted(range(len(scores)), key=key)[:n_keep])


@given(
    st.integers(1, 40),
    st.integers(0, 500),
    ks,
    st.sampled_from(STRATEGIES[:2]),
    st.sampled_from(["drop", "count", "max"]),
)
@pytest.mark.filterwarnings("ignore::skprune.PruningWarning")
def test_ranking(n_rows, seed, k, strategy, never_learned):
    scores = random_scores(n_rows, seed)
    rows = select_rows(scores, k, strategy=strategy, never_learned=never_learned)
    assert rows.tolist() == oracle(scores, n_kept(k, n_rows), strategy, never_learned)
    assert rows.dtype == np.int64


@given(st.integers(1, 40), st.integers(0, 500), ks, st.sampled_from(STRATEGIES), st.booleans())
@pytest.mark.filterwarnings("ignore::skprune.PruningWarning")
def test_exactly_k_rows(n_rows, seed, k, strategy, balance):
    y = np.random.default_rng(seed).integers(0, 3, n_rows)
    rows = select_rows(random_scores(n_rows, seed), k, y=y, strategy=strategy, balance=balance, random_state=0)
    assert len(rows) == len(set(rows)) == n_kept(k, n_rows)
    assert (np.diff(rows) > 0).all()


@given(
    st.integers(2, 40),
    st.integers(0, 500),
    st.sampled_from(STRATEGIES[:3]),
    st.sampled_from(["margin", "random"]),
    st.data(),
)
def test_a_smaller_k_keeps_a_part(n_rows, seed, strategy, tie_break, data):
    smaller, larger = sorted(data.draw(st.lists(st.integers(1, n_rows), min_size=2, max_size=2)))
    scores = random_scores(n_rows, seed)
    params = dict(strategy=strategy, tie_break=tie_break, random_state=seed)
    assert set(select_rows(scores, smaller, **params)) <= set(select_rows(scores, larger, **params))


@given(st.integers(1, 40), st.integers(0, 500), st.floats(0.1, 1), st.sampled_from(STRATEGIES[:2]))
def test_permuted_rows_are_selected_permuted(n_rows, seed, k, strategy):
    scores = random_scores(n_rows, seed)
    order = np.random.default_rng(seed).permutation(n_rows)
    kept = select_rows(scores, k, strategy=strategy)
    kept_of_permuted = select_rows(scores.take(order), k, strategy=strategy)
    assert set(order[kept_of_permuted]) == set(kept)


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60),
    st.floats(0, 1, exclude_min=True),
    st.sampled_from(STRATEGIES),
)
@pytest.mark.filterwarnings("ignore::skprune.PruningWarning")  # a share of a small class may be one row
def test_class_shares(y, k, strategy):
    y = np.array(y)
    kept = select_rows(np.zeros(len(y)), k, y=y, strategy=strategy, balance=True, min_per_class=0, random_state=0)
    n_keep = n_kept(k, len(y))
    assert len(kept) == n_keep
    for label in set(y.tolist()):
        # Largest remainders give each class its share, rounded down or up.
        share = n_keep * np.mean(y == label)
        assert math.floor(share + 1e-9) <= np.sum(y[kept] == label) <= math.ceil(share - 1e-9)


def test_largest_remainders_by_hand():
    y = np.repeat(["a", "b", "c"], [50, 31, 19])  # shares of 13: 6.5, 4.03, 2.47
    kept = select_rows(np.zeros(100), 13, y=y, balance=True, min_per_class=0, random_state=0)
    assert [np.sum(y[kept] == label) for label in "abc"] == [7, 4, 2]


def test_balance_within_classes():
    scores = np.array([5, 4, 3, 2, 1, 0])
    y = np.array([0, 0, 0, 1, 1, 1])
    with pytest.warns(PruningWarning, match="2 of 2 classes would have at most one row left"):
        assert select_rows(scores, 2, y=y, strategy="most_forgotten", balance=True).tolist() == [0, 3]
    with pytest.warns(PruningWarning, match="1 of 2 classes would have at most one row left"):
        assert select_rows(scores, 2, y=y, strategy="most_forgotten", min_per_class=0).tolist() == [0, 1]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("balance", [False, True])
def test_equal_rows_are_equally_likely(strategy, balance):
    y = np.repeat([0, 1], 10)  # sorted by label
    times_kept = np.zeros(20)
    equal = record(np.ones((2, 20), dtype=bool), np.full((2, 20), 0.5))
    for seed in range(400):
        times_kept[select_rows(equal, 0.5, y=y, strategy=strategy, balance=balance, random_state=seed)] += 1
    # Each is kept 200 times of 400 on average, with a standard deviation of 10.
    assert times_kept.min() > 150
    assert times_kept.max() < 250


def test_ties_by_draw():
    history = np.ones((2, 30), dtype=bool)
    margins = np.tile(np.linspace(-1, 1, 30), (2, 1))
    scores = record(history, margins)
    assert select_rows(scores, 10, strategy="most_forgotten").tolist() == list(range(10))
    assert select_rows(scores, 10, strategy="least_forgotten").tolist() == list(range(20, 30))
    params = dict(strategy="most_forgotten", tie_break="random")
    draws = {tuple(select_rows(scores, 10, **params, random_state=seed)) for seed in range(5)}
    assert len(draws) == 5
    again = select_rows(scores, 10, **params, random_state=3)
    assert tuple(again) == tuple(select_rows(scores, 10, **params, random_state=3))


@pytest.mark.parametrize(
    ("never_learned", "strategy", "expected"),
    [
        ("drop", "most_forgotten", [1, 3]),
        ("count", "most_forgotten", [1, 2]),
        ("max", "most_forgotten", [1, 2]),
        ("drop", "least_forgotten", [0, 3]),
        ("count", "least_forgotten", [0, 3]),
        ("max", "least_forgotten", [0, 3]),
    ],
)
def test_never_learned(never_learned, strategy, expected):
    # Rows: learned at once, forgotten once, never learned, learned late with a middling margin.
    history = np.array([[1, 1, 0, 0], [1, 0, 0, 1]], dtype=bool)
    scores = record(history, np.tile([0.9, 0.0, -0.9, 0.1], (2, 1)))
    assert select_rows(scores, 2, strategy=strategy, never_learned=never_learned).tolist() == expected


@pytest.mark.parametrize("k", [True, False, 0, -1, 0.0, -0.5, 1.5, np.nan, np.inf, "0.5", "all", None, np.True_])
def test_bad_k(k):
    with pytest.raises(ValueError, match=r"k must be 'auto'.* a float in \(0, 1\].*int >= 1.*got") as error:
        select_rows([1, 2, 3], k)
    assert repr(k) in str(error.value)


@pytest.mark.parametrize(("k", "n"), [(1, 1), (1.0, 10), (np.int64(3), 3), (np.float32(0.5), 5), (0.01, 1), (0.11, 2)])
def test_numbers_and_shares(k, n):
    assert len(select_rows(np.arange(10), k)) == n


def test_more_rows_than_there_are():
    with pytest.warns(PruningWarning, match="k=11 is greater than n_samples=10") as caught:
        assert select_rows(np.arange(10), 11).tolist() == list(range(10))
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "params", [{"strategy": "best"}, {"never_learned": None}, {"tie_break": True}, {"balance": "yes"}, {"balance": 1}]
)
def test_bad_choices(params):
    (name,) = params
    with pytest.raises(ValueError, match=f"{name} must be one of .*got {params[name]!r}"):
        select_rows([1, 2, 3], 0.5, y=[0, 0, 1], **params)


def test_balance_needs_labels():
    with pytest.raises(ValueError, match="needs the labels y"):
        select_rows([1, 2, 3], 0.5, balance=True)
    with pytest.raises(ValueError, match="one label per row, 3 in total"):
        select_rows([1, 2, 3], 0.5, y=[0, 1], balance=True)


def test_callable_strategy():
    def hardest(scores, n_keep, rng):
        assert isinstance(scores, ForgettingScores)
        assert isinstance(rng, np.random.Generator)
        return np.argsort(scores.margins)[:n_keep]

    scores = random_scores(20, seed=0)
    assert select_rows(scores, 5, strategy=hardest).tolist() == sorted(np.argsort(scores.margins)[:5])
    y = np.repeat([0, 1], 10)
    kept = select_rows(scores, 4, y=y, strategy=hardest, balance=True)
    assert kept.tolist() == sorted([*np.argsort(scores.margins[:10])[:2], *(10 + np.argsort(scores.margins[10:])[:2])])


@pytest.mark.parametrize(
    "returned", [[0], [0, 0, 1], [0, 1, 9], [-1, 0, 1], np.array([True, False, True]), [0.0, 1.0, 2.0], [[0, 1, 2]]]
)
def test_callable_that_returns_something_else(returned):
    with pytest.raises(ValueError, match="must return"):
        select_rows([1, 2, 3, 4], 3, strategy=lambda scores, n_keep, rng: returned)


def test_many_rows_are_selected_like_few():
    events = np.random.default_rng(0).poisson(0.3, 100_000)
    kept = select_rows(events, 0.1, strategy="most_forgotten", random_state=0)
    assert len(kept) == 10_000
    assert events[kept].min() >= np.delete(events, kept).max()


def scores_of(margins):
    margins = np.asarray(margins, dtype=float)
    return record(margins[None] > 0, margins[None])


@given(
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=200),
    st.floats(0, 1, exclude_min=True),
    st.integers(0, 100),
)
def test_coverage_keeps_suspects_last(margins, k, seed):
    margins = np.array(margins)
    kept = select_rows(scores_of(margins), k, strategy="coverage", random_state=seed)
    suspect = margins < min(0, -margins.mean() / 2)
    n_keep, n_trusted = n_kept(k, len(margins)), np.sum(~suspect)
    assert len(kept) == len(set(kept)) == n_keep
    n_suspects = np.sum(suspect[kept])
    assert n_suspects == max(0, n_keep - n_trusted)
    # Of the suspects, those come first that are the least suspect.
    least = np.sort(margins[suspect])[::-1][:n_suspects]
    np.testing.assert_array_equal(np.sort(margins[kept])[:n_suspects], least[::-1])


def test_coverage_of_every_stratum():
    # 1000 easy rows, 100 middling ones, 10 hard ones, 500 suspects.
    margins = np.repeat([0.95, 0.5, 0.05, -0.5], [1000, 100, 10, 500])
    kept = margins[select_rows(scores_of(margins), 200, strategy="coverage", random_state=0)]
    counts = [np.sum(kept == margin) for margin in (0.95, 0.5, 0.05, -0.5)]
    # 1000^0.75 : 100^0.75 : 10^0.75 = 177.8 : 31.6 : 5.6 of 200
    assert counts == [165, 30, 5, 0]


def test_coverage_has_50_strata():
    # Of rows spread evenly over [0, 1], as many are kept in every fiftieth of the range.
    margins = np.linspace(0, 1, 5000)
    kept = margins[select_rows(scores_of(margins), 2500, strategy="coverage", random_state=0)]
    assert np.histogram(kept, np.linspace(0, 1, 51))[0].tolist() == [50] * 50
    # A stratum that is small keeps a larger share than one that is large: here the last one of 50 has half the rows.
    margins = np.concatenate([np.linspace(0, 0.98, 4900, endpoint=False), np.linspace(0.9801, 1, 4900)])
    kept = margins[select_rows(scores_of(margins), 1000, strategy="coverage", random_state=0)]
    weights = np.array([100**0.75] * 49 + [4900**0.75])
    assert np.sum(kept >= 0.98) == pytest.approx(1000 * weights[-1] / weights.sum(), abs=1)


def test_coverage_gives_what_a_stratum_lacks_to_the_others():
    margins = np.repeat([0.95, 0.5, 0.05], [100, 100, 4])
    kept = margins[select_rows(scores_of(margins), 184, strategy="coverage", random_state=0)]
    assert [np.sum(kept == margin) for margin in (0.95, 0.5, 0.05)] == [90, 90, 4]


def test_coverage_is_seeded_and_drawn():
    scores = scores_of(np.linspace(0, 1, 200))
    draws = [tuple(select_rows(scores, 50, strategy="coverage", random_state=seed)) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


BY_SCORES = ["coverage", "most_forgotten", "least_forgotten"]


def partly_unknown():
    """60 rows with random scores and, scattered among them, 40 that were never presented."""
    rng = np.random.default_rng(0)
    shown, scores = np.sort(rng.choice(100, 60, replace=False)), ForgettingScores(100)
    for _ in range(4):
        scores.update(shown, rng.random(60) < 0.7, rng.uniform(-0.3, 1, 60))
    return scores, shown


@pytest.mark.parametrize("k", [0.1, 0.35, 0.9])
@pytest.mark.parametrize("strategy", BY_SCORES)
def test_rows_that_were_never_presented_are_drawn_in_their_share(strategy, k):
    scores, shown = partly_unknown()
    kept = select_rows(scores, k, strategy=strategy, random_state=0)
    assert len(kept) == 100 * k
    of_known = np.intersect1d(kept, shown)
    assert len(of_known) == 60 * k
    if strategy != "coverage":
        expected = select_rows(scores.take(shown), k, strategy=strategy)
        np.testing.assert_array_equal(of_known, shown[expected])
    unknown = [set(select_rows(scores, k, strategy=strategy, random_state=seed)) - set(shown) for seed in range(60)]
    drawn = np.bincount([row for rows in unknown for row in rows], minlength=100)[np.setdiff1d(np.arange(100), shown)]
    # Each of them is as likely as the others: within four standard errors.
    assert np.abs(drawn / 60 - k).max() < 4 * np.sqrt(k * (1 - k) / 60)


@pytest.mark.parametrize("balance", [False, True])
@pytest.mark.parametrize("strategy", BY_SCORES)
def test_classes_some_of_whose_rows_were_never_presented(strategy, balance):
    scores, shown = partly_unknown()
    y = np.where(np.isin(np.arange(100), shown), "shown", "hidden")
    y[shown[:3]], y[[0, 1]] = "hidden", "other"
    rows = select_rows(scores, 0.3, y=y, strategy=strategy, balance=balance, random_state=0)
    assert len(set(rows)) == 30
    assert np.isin(np.flatnonzero(y == "other"), rows).all() or balance


def test_auto_keeps_rows_that_were_never_presented():
    scores = ForgettingScores(4)
    scores.update([0, 1, 2], [True, True, False], [0.9, 0.6, -0.45])
    assert select_rows(scores, "auto").tolist() == [0, 1, 3]


def test_an_array_is_spread_over_its_counts():
    events = np.repeat([0, 5, 9], [1000, 100, 10])
    kept = events[select_rows(events, 200, random_state=0)]
    # 1000^0.75 : 100^0.75 : 10^0.75 = 177.8 : 31.6 : 5.6 of 200, the rows that are forgotten most among them
    assert [np.sum(kept == count) for count in (0, 5, 9)] == [165, 30, 5]


# Mean 0.328: the last 8 rows are below all thresholds, those before them below half the mean, and those below 0.
TRUST = np.repeat([0.9, 0.2, -0.1, -0.25, -0.7], [32, 16, 8, 8, 8])


@pytest.mark.parametrize(
    ("threshold", "exponent", "expected", "lowest"),
    [
        # Of 20 rows there are two strata, which meet in the middle of the trusted range.
        (0, 1, 13, 0.2),  # 32 : 16
        (0, 0, 10, 0.2),
        (0, 0.5, 12, 0.2),  # 5.66 : 4
        (0.5, 1, 11, -0.1),  # 32 : 24
        (0.5, 0, 10, -0.1),
        (1, 1, 10, -0.25),  # 32 : 32
        ("suspects", 1, 10, -0.25),  # eight of them
        (None, 1, 13, -0.7),  # 48 : 24
        (None, 0, 10, -0.7),
    ],
)
def test_rules_by_hand(threshold, exponent, expected, lowest):
    choose = Rule(threshold, exponent).chooser(TRUST, n_suspects=8)
    seen = set()
    for seed in range(20):
        rows = choose(TRUST, 20, np.random.default_rng(seed))
        assert len(rows) == len(set(rows)) == 20
        assert np.sum(TRUST[rows] > (0.9 + lowest) / 2) == expected
        seen |= set(TRUST[rows])
    assert seen == {trust for trust in TRUST if trust >= lowest}


@pytest.mark.parametrize("rule", [*RULES, UNTESTED_RULE])
@pytest.mark.parametrize("n_suspects", [0, 8, 24])
def test_rules_keep_suspects_last(rule, n_suspects):
    choose = rule.chooser(TRUST, n_suspects)
    if rule.threshold == "suspects":
        is_suspect = np.arange(len(TRUST)) >= len(TRUST) - n_suspects
    else:
        is_suspect = (-np.inf if rule.threshold is None else -rule.threshold * TRUST.mean()) > TRUST
    for n_keep in range(len(TRUST) + 1):
        rows = choose(TRUST, n_keep, np.random.default_rng(0))
        assert len(rows) == len(set(rows)) == n_keep
        assert np.sum(is_suspect[rows]) == max(0, n_keep - np.sum(~is_suspect))


def test_the_threshold_of_a_rule_is_that_of_all_rows():
    # Those of a class that is hard as a whole are no suspects only because they are its lowest.
    choose = Rule("suspects", 1).chooser(TRUST, n_suspects=8)
    hard = TRUST[40:]
    kept = hard[choose(hard, 24, np.random.default_rng(0))]
    assert kept.min() == -0.25


def test_a_rule_keeps_the_minimum_of_a_class():
    codes = (TRUST < -0.5).astype(int)
    choose = Rule("suspects", 1).chooser(TRUST, n_suspects=8)
    kept = keep_rows(choose, TRUST, 20, codes, False, 5, np.random.default_rng(0))
    assert np.bincount(codes[kept]).tolist() == [15, 5]


def test_select_rows_has_a_fixed_rule():
    assert Rule(0.5, 0.75) == UNTESTED_RULE
    kept = TRUST[select_rows(scores_of(TRUST), 20, random_state=0)]
    assert kept.min() == -0.1  # below half of the mean are suspects
    assert np.sum(kept == 0.9) == 11  # 32^0.75 : 24^0.75 = 13.5 : 10.8


def told(trust, suspects):
    return scores_of(trust).with_held_out(np.array(trust), np.array(suspects), 0.9)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_auto_keeps_all_rows_but_suspects(strategy):
    suspects = np.arange(72) % 9 == 0
    kept = select_rows(told(TRUST, suspects), "auto", strategy=strategy, min_per_class=0)
    assert kept.tolist() == np.flatnonzero(~suspects).tolist()
    assert select_rows(told(TRUST, suspects & False), "auto").tolist() == list(range(72))
    assert select_rows(np.arange(5), "auto").tolist() == list(range(5))
    assert len(select_rows([], "auto", y=[])) == 0


def test_auto_keeps_the_most_trusted_rows_of_every_class():
    y = np.array(["a"] * 40 + ["b"] * 12 + ["c"] * 2)
    trust = np.r_[np.linspace(0.1, 1, 40), np.linspace(-1, -0.1, 12), -0.5, -0.6]
    scores = told(trust, trust < -0.15)  # one of b is none
    kept = select_rows(scores, "auto", y=y)
    assert kept.tolist() == [*range(40), *range(47, 52), 52, 53]
    assert select_rows(scores, "auto", y=y, min_per_class=2).tolist() == [*range(40), 50, 51, 52, 53]
    assert select_rows(scores, "auto", y=y, min_per_class=0).tolist() == [*range(40), 51]
    assert select_rows(scores, "auto").tolist() == [*range(40), 51]


@pytest.mark.parametrize("make", [float, np.float64, np.float32, np.float16, Fraction])
def test_shares_are_rounded_up_as_by_hand(make):
    assert [len(select_rows(np.arange(100), make(k))) for k in ("0.55", "0.07", "0.14", "0.28", "0.571")] == [
        55,
        7,
        14,
        28,
        58,
    ]
    assert len(select_rows(np.arange(1000), make("0.001"))) == 1
    for hundredths in range(1, 101):
        k = Fraction(hundredths, 100)
        for n_rows in (1, 7, 60, 100, 175, 1000):
            assert count_kept(make(str(k.numerator / k.denominator)), n_rows) == -(-hundredths * n_rows // 100)


def test_a_third_is_exact_as_a_fraction():
    assert count_kept(Fraction(1, 3), 300) == 100
    assert count_kept(1 / 3, 300) == 100
    assert count_kept(np.float32(1 / 3), 300) == 101


@pytest.mark.parametrize("n_rows", [10, 1000, 10**6])
def test_rounding_errors_of_shares_keep_no_row_more(n_rows):
    for tenths, k in enumerate(np.linspace(0.1, 1, 10), start=1):
        assert count_kept(k, n_rows) == tenths * n_rows // 10
    assert count_kept(0.1 + 0.2, n_rows) == 3 * n_rows // 10
    assert count_kept(1e-14, n_rows) == 1


RARE = np.repeat(["common", "some", "rare", "single"], [80, 12, 3, 1])


@pytest.mark.parametrize("strategy", ["most_forgotten", "least_forgotten", "coverage"])
@pytest.mark.parametrize("balance", [False, True])
@pytest.mark.parametrize("k", [10, 14, 40, 90])
def test_rare_classes_stay(strategy, balance, k):
    scores = scores_of(np.linspace(1, -1, 96) if strategy == "least_forgotten" else np.linspace(-1, 1, 96))
    kept = select_rows(scores, k, y=RARE, strategy=strategy, balance=balance, random_state=0)
    counts = {label: int(np.sum(RARE[kept] == label)) for label in ("common", "some", "rare", "single")}
    assert sum(counts.values()) == k
    if k == 10:  # three of each class at most, and what is left
        assert counts == {"common": 3, "some": 3, "rare": 3, "single": 1}
    elif k == 14:
        assert counts == {"common": 5, "some": 5, "rare": 3, "single": 1}
    else:
        assert counts["rare"] == 3
        assert counts["single"] == 1
        assert counts["some"] >= 5


def test_rare_classes_take_their_best_rows_and_others_give_up_their_worst():
    events = np.array([9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    y = np.repeat([0, 1], [7, 3])
    params = dict(y=y, strategy="most_forgotten", random_state=0)
    assert select_rows(events, 6, min_per_class=0, **params).tolist() == [0, 1, 2, 3, 4, 5]
    assert select_rows(events, 6, min_per_class=1, **params).tolist() == [0, 1, 2, 3, 4, 7]
    assert select_rows(events, 6, min_per_class=2, **params).tolist() == [0, 1, 2, 3, 7, 8]
    assert select_rows(events, 6, **params).tolist() == [0, 1, 2, 7, 8, 9]
    for strategy in ("random", lambda scores, n_keep, rng: np.arange(n_keep)):
        kept = select_rows(events, 6, **(params | {"strategy": strategy}))
        assert kept.tolist() == select_rows(events, 6, min_per_class=0, **(params | {"strategy": strategy})).tolist()


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(0, 300), st.integers(0, 8), st.booleans())
@pytest.mark.filterwarnings("ignore::skprune.PruningWarning")
def test_a_minimum_of_rows_of_each_class(sizes, seed, minimum, balance):
    y = np.repeat(np.arange(len(sizes)), sizes)
    n_keep = 1 + seed % len(y)
    scores = random_scores(len(y), seed)
    params = dict(y=y, strategy="most_forgotten", balance=balance, random_state=0)
    kept = select_rows(scores, n_keep, min_per_class=minimum, **params)
    counts = np.bincount(y[kept], minlength=len(sizes))
    assert len(kept) == len(set(kept)) == n_keep
    levels = [level for level in range(minimum + 1) if np.minimum(sizes, level).sum() <= n_keep]
    assert (counts >= np.minimum(sizes, levels[-1])).all()
    if levels[-1] < minimum:  # as equal as can be
        assert (counts <= levels[-1] + 1).all()
    unbounded = select_rows(scores, n_keep, min_per_class=0, **params)
    if (np.bincount(y[unbounded], minlength=len(sizes)) >= np.minimum(sizes, minimum)).all():
        assert set(kept) == set(unbounded)


def test_classes_that_vanish_are_named():
    y = np.repeat([f"c{number:03}" for number in range(300)], 2)
    scores = scores_of(np.linspace(0.1, 1, 600))
    message = r"^120 of 300 classes vanish, because only 180 rows are kept: 'c\d\d\d', .*, \.\.\.\. Use a larger k"
    with pytest.warns(PruningWarning, match=message) as caught:
        kept = select_rows(scores, 0.3, y=y, random_state=0)
    assert len(set(y[kept])) == 180
    assert caught[0].filename == __file__


@pytest.mark.parametrize("min_per_class", [-1, 1.0, True, None])
def test_bad_min_per_class(min_per_class):
    with pytest.raises(ValueError, match="min_per_class must be an int >= 0; got"):
        select_rows([1, 2, 3], 2, min_per_class=min_per_class)
