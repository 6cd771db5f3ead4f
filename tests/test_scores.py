import io
import pickle
import zipfile
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from skprune import ForgettingScores, ForgettingSelector, select_rows
from skprune._scores import as_scores


def record(history, margins=None, batch_size=3, seed=0):
    """Present a (n_presentations, n_rows) history of 0 and 1 in shuffled batches."""
    n_rows = history.shape[1]
    margins = np.zeros(history.shape) if margins is None else margins
    scores = ForgettingScores(n_rows)
    rng = np.random.default_rng(seed)
    for correct, margin in zip(history, margins, strict=True):
        order = rng.permutation(n_rows)
        for start in range(0, n_rows, batch_size):
            rows = order[start : start + batch_size]
            scores.update(rows, correct[rows], margin[rows])
    return scores


def count_events(outcomes):
    return sum(before and not after for before, after in pairwise(outcomes))


histories = st.tuples(st.integers(1, 8), st.integers(1, 7)).flatmap(lambda shape: arrays(bool, shape))


@given(histories, st.integers(1, 8), st.integers(0, 100))
def test_counts_of_any_history(history, batch_size, seed):
    margins = np.random.default_rng(seed).uniform(-1, 1, history.shape)
    scores = record(history, margins, batch_size, seed)
    for row in range(history.shape[1]):
        outcomes = history[:, row].tolist()
        assert scores.events[row] == count_events(outcomes)
        assert scores.never_learned[row] == (not any(outcomes))
        first = outcomes.index(True) + 1 if any(outcomes) else np.nan
        np.testing.assert_equal(scores.first_learned[row], float(first))
    np.testing.assert_array_equal(scores.presentations, len(history))
    np.testing.assert_allclose(scores.margins, margins.mean(0), atol=1e-6)


def test_hand_computed():
    scores = record(np.array([[1, 0, 0, 1], [0, 1, 0, 1], [1, 1, 0, 1], [0, 0, 0, 1]], dtype=bool))
    assert scores.events.tolist() == [2, 1, 0, 0]
    assert scores.first_learned.tolist()[:2] == [1.0, 2.0]
    assert np.isnan(scores.first_learned[2])
    assert scores.never_learned.tolist() == [False, False, True, False]
    assert (scores.events.dtype, scores.presentations.dtype) == (np.int64, np.int64)
    assert (scores.margins.dtype, scores.first_learned.dtype) == (np.float64, np.float64)
    assert scores.never_learned.dtype == bool


def test_rows_without_presentations():
    scores = ForgettingScores(2)
    scores.update([1], [True], [0.5])
    assert scores.presentations.tolist() == [0, 1]
    np.testing.assert_equal(scores.margins, [np.nan, 0.5])
    assert scores.never_learned.tolist() == [True, False]


def test_a_run_takes_20_bytes_a_row():
    scores = record(np.ones((50, 1000), dtype=bool), batch_size=100)
    assert 20_000 <= len(pickle.dumps(scores)) < 22_000
    assert 48_000 <= len(pickle.dumps(scores + scores)) < 50_000


ARRAYS = ("events", "margins", "first_learned", "never_learned", "presentations", "suspects", "trust")


@pytest.mark.parametrize("n_runs", [1, 2])
@pytest.mark.parametrize("name", ARRAYS)
def test_writing_into_an_array_changes_no_scores(name, n_runs):
    scores = scores_of([0.9, -0.9, 0.6])
    scores = (scores if n_runs == 1 else scores + scores).with_held_out(*HELD_OUT)
    expected = getattr(scores, name).copy()
    getattr(scores, name)[:] = 1 - expected
    np.testing.assert_array_equal(getattr(scores, name), expected)


@pytest.mark.parametrize("n_runs", [1, 2])
@pytest.mark.parametrize(
    "name", ["forgetting_scores_", "margins_", "first_learned_", "never_learned_", "suspects_", "support"]
)
def test_writing_into_an_array_changes_no_selection(name, n_runs):
    rng = np.random.default_rng(0)
    runs = [record(rng.random((5, 60)) < 0.6, rng.uniform(-1, 1, (5, 60))) for _ in range(n_runs)]
    selector = ForgettingSelector(k=0.5, random_state=0)
    selector.fit(rng.normal(size=(60, 2)), np.arange(60) % 2, forgetting_scores=sum(runs[1:], start=runs[0]))
    expected = selector.get_support(indices=True).copy()
    array = selector.get_support() if name == "support" else getattr(selector, name)
    if array.flags.writeable:
        array[:] = np.logical_not(array) if array.dtype == bool else array[::-1].copy()
    np.testing.assert_array_equal(selector.set_params(k=0.4).set_params(k=0.5).get_support(indices=True), expected)


def test_margins_of_many_presentations_lose_no_precision():
    scores = ForgettingScores(1)
    margins = np.random.default_rng(0).uniform(0.9, 1, 20000)
    for margin in margins:
        scores.update([0], [True], [margin])
    np.testing.assert_allclose(scores.margins, margins.mean(), atol=1e-6)


@given(st.lists(st.integers(0, 50), min_size=2, max_size=4), st.integers(1, 5), st.integers(0, 1000))
def test_merging_runs(epochs, n_rows, seed):
    rng = np.random.default_rng(seed)
    runs = [rng.random((n + 1, n_rows)) < 0.4 for n in epochs]
    margins = [rng.uniform(-1, 1, run.shape) for run in runs]
    scores = [record(run, margin) for run, margin in zip(runs, margins, strict=True)]
    merged = sum(scores[1:], start=scores[0])
    assert merged.n_runs == len(runs)
    np.testing.assert_array_equal(
        merged.events, [sum(count_events(run[:, row].tolist()) for run in runs) for row in range(n_rows)]
    )
    np.testing.assert_array_equal(merged.presentations, sum(len(run) for run in runs))
    np.testing.assert_allclose(merged.margins, np.mean([margin.mean(0) for margin in margins], axis=0), atol=1e-6)
    for row in range(n_rows):
        firsts = [run[:, row].tolist().index(True) + 1 for run in runs if run[:, row].any()]
        assert merged.never_learned[row] == (not firsts)
        np.testing.assert_allclose(merged.first_learned[row], np.mean(firsts) if firsts else np.nan)


def test_merging_is_associative():
    rng = np.random.default_rng(0)
    a, b, c = (record(rng.random((5, 6)) < 0.5, rng.uniform(-1, 1, (5, 6))) for _ in range(3))
    left, right = (a + b) + c, a + (b + c)
    for name in ("events", "margins", "first_learned", "never_learned", "presentations"):
        np.testing.assert_allclose(getattr(left, name), getattr(right, name))


def test_merging_other_rows_is_an_error():
    with pytest.raises(ValueError, match="scores of 2 and of 3 rows"):
        ForgettingScores(2) + ForgettingScores(3)
    with pytest.raises(TypeError):
        ForgettingScores(2) + 1


def test_merged_scores_take_no_presentations():
    merged = ForgettingScores(2) + ForgettingScores(2)
    with pytest.raises(ValueError, match="sum of runs"):
        merged.update([0], [True], [0.0])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0, 0], "Row 0 is given twice"),
        ([0, 3], "Row 3 does not exist"),
        ([-1, 0], "Row -1 does not exist"),
        ([0.7, 1.9], r"must be row numbers with an int dtype, got torch.float32"),
        ([True, False], r"got torch.bool. To use a mask, pass np.flatnonzero"),
    ],
)
def test_a_refused_batch_changes_nothing(rows, message):
    history = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 1]], dtype=bool)
    scores, expected = record(history), record(history)
    with pytest.raises(ValueError, match=message):
        scores.update(rows, [True, False], [0.9, -0.9])
    for name in ("events", "margins", "first_learned", "never_learned", "presentations"):
        np.testing.assert_array_equal(getattr(scores, name), getattr(expected, name))
    assert scores.last_accuracy() == expected.last_accuracy()


def test_lengths_that_differ():
    with pytest.raises(ValueError, match=r"shapes \(2,\), \(1,\) and \(2,\)"):
        ForgettingScores(3).update([0, 1], [True], [0.0, 0.0])


def test_an_empty_batch_changes_nothing():
    scores = ForgettingScores(3)
    scores.update([], [], [])
    assert scores.presentations.sum() == 0


@given(histories)
def test_save_and_load(tmp_path_factory, history):
    path = tmp_path_factory.mktemp("scores") / "scores"
    half = len(history) // 2
    scores = record(history[:half])
    scores.save(path)
    loaded = ForgettingScores.load(path)
    # What was loaded goes on as if nothing had happened.
    for correct in history[half:]:
        loaded.update(np.arange(len(correct)), correct, np.zeros(len(correct)))
    expected = record(history)
    for name in ("events", "margins", "first_learned", "never_learned", "presentations"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(expected, name))


def test_save_and_load_merged(tmp_path):
    merged = record(np.eye(4, dtype=bool)) + record(np.eye(4, dtype=bool)[::-1])
    merged.save(tmp_path / "merged.npz")
    loaded = ForgettingScores.load(tmp_path / "merged.npz")
    assert (loaded.n_rows, loaded.n_runs) == (4, 2)
    np.testing.assert_array_equal(loaded.events, merged.events)
    np.testing.assert_array_equal(loaded.first_learned, merged.first_learned)


class Evil:
    unpickled = False

    def __reduce__(self):
        return setattr, (Evil, "unpickled", True)


def test_load_never_unpickles(tmp_path):
    path = tmp_path / "evil.npz"
    ForgettingScores(1).save(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    for name in arrays:
        np.savez(path, **(arrays | {name: np.array([Evil()], dtype=object)}))
        with pytest.raises(ValueError, match=r"evil\.npz holds no forgetting scores"):
            ForgettingScores.load(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match=r"evil\.npz holds no forgetting scores"):
        ForgettingScores.load(path)
    assert not Evil.unpickled


@pytest.mark.parametrize("merged", [False, True])
def test_load_of_damaged_files(merged):
    scores = record(np.random.default_rng(0).random((5, 8)) < 0.5)
    file = io.BytesIO()
    (scores + scores if merged else scores).save(file)
    sound = file.getvalue()
    expected = ForgettingScores.load(io.BytesIO(sound))
    damaged = [sound[:length] for length in range(len(sound))]
    damaged += [sound[:i] + bytes([sound[i] ^ 1 << i % 8]) + sound[i + 1 :] for i in range(len(sound))]
    for content in damaged:
        try:
            loaded = ForgettingScores.load(io.BytesIO(content))
        except ValueError as error:
            assert "holds no forgetting scores" in str(error)  # noqa: PT017
            continue
        # Not all of an archive tells of its arrays: dates do not.
        for name in ("n_runs", "events", "margins", "first_learned", "presentations"):
            np.testing.assert_array_equal(getattr(loaded, name), getattr(expected, name))


def write_archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


def header(shape, dtype="<i4"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize("shape", [(10**12,), (10**30,), (-1,), (2,)])
def test_load_of_a_file_that_claims_more_than_it_holds(tmp_path, shape):
    path = tmp_path / "claims.npz"
    ForgettingScores(1).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
    write_archive(path, **members)
    assert len(ForgettingScores.load(path)) == 1
    write_archive(path, **(members | {"events": header(shape) + bytes(4)}))
    with pytest.raises(ValueError, match=r"claims\.npz holds no forgetting scores"):
        ForgettingScores.load(path)


def test_load_of_other_files(tmp_path):
    path = tmp_path / "other.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="holds no forgetting scores"):
        ForgettingScores.load(path)
    np.savez(path, n_runs=1, weights=np.zeros(3))
    with pytest.raises(ValueError, match=r"other\.npz holds no.*it has the arrays \['n_runs', 'weights'\]"):
        ForgettingScores.load(path)
    for merged in (False, True):
        scores = ForgettingScores(3) + ForgettingScores(3) if merged else ForgettingScores(3)
        scores.save(path)
        with np.load(path) as archive:
            arrays = dict(archive)
        for name, value, message in (
            ("n_runs", 0, "it has 0 runs"),
            ("events", np.zeros((3, 2), dtype=np.int32), "arrays of shapes"),
            ("events", np.zeros(4, dtype=np.int32), "arrays of shapes"),
            ("events", np.array(list("abc")), "dtypes .*<U1"),
            ("events", np.array(3), "arrays of shapes"),
        ):
            np.savez(path, **(arrays | {name: value}))
            with pytest.raises(ValueError, match=message):
                ForgettingScores.load(path)
    with pytest.raises(FileNotFoundError):
        ForgettingScores.load(tmp_path / "nowhere.npz")


def test_take():
    scores = record(np.array([[1, 0, 1], [0, 0, 1]], dtype=bool))
    taken = scores.take([2, 0])
    assert taken.events.tolist() == [0, 1]
    assert len(taken) == 2
    assert repr(taken) == "ForgettingScores(n_rows=2, n_runs=1)"


def test_scores_of_an_array():
    scores = as_scores([3, 0, 1])
    assert scores.events.tolist() == [3, 0, 1]
    assert not scores.never_learned.any()
    assert np.isnan(scores.margins).all()
    assert as_scores(scores) is scores
    assert as_scores([True, False]).events.tolist() == [1, 0]


@pytest.mark.parametrize("bad", [[[1, 2]], ["a"], [1.0, np.nan], [np.inf]])
def test_scores_of_a_bad_array(bad):
    with pytest.raises(ValueError, match="Forgetting scores must be"):
        as_scores(bad)


# Trust, suspects and attainable accuracy of three rows.
HELD_OUT = np.array([0.6, 0.2, -0.25]), np.array([False, False, True]), 0.5


def scores_of(margins):
    margins = np.array([margins])
    return record(margins > 0, margins)


def test_suspects_of_the_net_alone_by_hand():
    # Mean margin 0.3: suspects are below -0.3.
    scores = scores_of([0.9, 0.9, 0.8, 0.3, -0.29, -0.31, -0.2])
    assert scores.suspects.tolist() == [False] * 5 + [True, False]
    np.testing.assert_array_equal(scores.trust, scores.margins)
    assert np.isnan(scores.attainable)
    # Where the net disagrees with the average row, it knows too little to suspect any.
    assert scores_of([0.1, -0.001, -0.9]).suspects.tolist() == [False] * 3
    assert as_scores([1, 2, 3]).suspects.tolist() == [False] * 3
    assert ForgettingScores(0).suspects.tolist() == []


def test_suspects_while_some_rows_were_not_presented():
    scores = ForgettingScores(4)
    scores.update([0, 1, 2], [True, True, False], [0.9, 0.6, -0.45])
    # The mean of what is known is 0.35.
    assert scores.suspects.tolist() == [False, False, True, False]


def test_held_out_results_take_the_place_of_margins():
    scores = scores_of([0.9, -0.9, 0.6])
    assert scores.suspects.tolist() == [False, True, False]
    told = scores.with_held_out(*HELD_OUT)
    np.testing.assert_allclose(told.trust, HELD_OUT[0], atol=1e-6)
    assert told.trust.dtype == np.float64
    assert told.suspects.tolist() == [False, False, True]
    assert told.attainable == 0.5
    np.testing.assert_array_equal(told.margins, scores.margins)
    assert scores.suspects.tolist() == [False, True, False]


def test_taken_scores_keep_their_held_out_results():
    taken = scores_of([0.9, -0.9, 0.6]).with_held_out(*HELD_OUT).take([2, 0]).take([0])
    np.testing.assert_allclose(taken.trust, [-0.25], atol=1e-6)
    assert taken.suspects.tolist() == [True]
    assert taken.attainable == 0.5


def test_margins_of_a_sum_are_means_over_the_runs_that_presented_a_row():
    first, second = ForgettingScores(4), ForgettingScores(4)
    first.update([0, 1], [True, True], [0.5, 0.25])
    second.update([1, 2], [True, False], [0.75, -0.5])
    total = first + second
    np.testing.assert_array_equal(total.margins, [0.5, 0.5, -0.5, np.nan])
    np.testing.assert_array_equal((total + total).margins, total.margins)
    assert total.last_accuracy() == 1  # of row 1, which both presented


def test_a_sum_knows_the_nets_alone():
    told = scores_of([0.9, -0.9, 0.6]).with_held_out(*HELD_OUT)
    total = told + scores_of([0.5, -0.1, 0.2])
    np.testing.assert_allclose(total.trust, [0.7, -0.5, 0.4], atol=1e-6)
    assert total.suspects.tolist() == [False, True, False]
    assert np.isnan(total.attainable)


@pytest.mark.parametrize("n_runs", [1, 2])
def test_save_and_load_held_out_results(tmp_path, n_runs):
    scores = scores_of([0.9, -0.9, 0.6])
    scores = (scores if n_runs == 1 else scores + scores).with_held_out(*HELD_OUT)
    scores.save(tmp_path / "scores")
    loaded = ForgettingScores.load(tmp_path / "scores")
    for name in (*ARRAYS, "attainable", "n_runs"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(scores, name))


@pytest.mark.parametrize(
    "changed",
    [
        {"trust": np.zeros(2, dtype=np.float32)},
        {"trust": np.zeros((3, 1), dtype=np.float32)},
        {"trust": np.zeros(3)},
        {"trust": None},
        {"suspects": np.zeros(3)},
        {"suspects": np.zeros(4, dtype=bool)},
        {"suspects": None},
        {"attainable": np.zeros(1)},
        {"attainable": np.array("much")},
        {"attainable": None},
    ],
)
def test_load_of_damaged_held_out_results(tmp_path, changed):
    path = tmp_path / "held_out.npz"
    scores_of([0.9, -0.9, 0.6]).with_held_out(*HELD_OUT).save(path)
    with np.load(path) as archive:
        arrays = {name: value for name, value in (dict(archive) | changed).items() if value is not None}
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=r"held_out\.npz holds no forgetting scores: .*held"):
        ForgettingScores.load(path)


def test_a_selector_gives_its_held_out_results_to_a_strategy():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    X = rng.normal(size=(60, 3)) + 4 * y[:, None]
    y[:6] = 1 - y[:6]
    seen = []

    def least_trusted(scores, n_keep, rng):
        seen.append(scores)
        return np.argsort(scores.trust)[:n_keep]

    selector = ForgettingSelector(k=6, strategy=least_trusted, random_state=0)
    selector.fit(X, y, forgetting_scores=np.arange(60))
    assert selector.get_support(indices=True).tolist() == list(range(6))
    np.testing.assert_array_equal(seen[-1].suspects, selector.suspects_)
    assert seen[-1].attainable == pytest.approx(0.9, abs=0.02)
    again = select_rows(seen[-1], 6, strategy=least_trusted)
    np.testing.assert_array_equal(again, selector.get_support(indices=True))
