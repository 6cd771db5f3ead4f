"""The net that is used when none is given: seeds, threads, precision."""

import pickle
import random
import threading
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification
from sklearn.metrics import roc_auc_score
from skorch import NeuralNetClassifier
from torch.nn.functional import cross_entropy

from skprune import ForgettingSelector
from skprune._default_net import make_default_net, train_default


@pytest.fixture(scope="module")
def noisy():
    """1,000 rows of 8 features, 3 classes, and which fifth of the labels is wrong."""
    X, y = make_classification(1000, 8, n_informative=6, n_classes=3, class_sep=1.5, flip_y=0, random_state=0)
    is_wrong = np.random.default_rng(0).random(1000) < 0.2
    return X, np.where(is_wrong, (y + 1) % 3, y), is_wrong


def scores_of(selector):
    return selector.forgetting_scores_, selector.margins_, selector.first_learned_


def assert_same_scores(first, second):
    for a, b in zip(scores_of(first), scores_of(second), strict=True):
        np.testing.assert_array_equal(a, b)


@contextmanager
def thread_that_draws():
    """Draw from the global generators of torch, numpy and Python, and seed them, again and again."""
    ends = threading.Event()

    def draw():
        while not ends.is_set():
            torch.nn.functional.dropout(torch.ones(10))
            np.random.rand()
            random.random()
            torch.manual_seed(1)
            np.random.seed(1)

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()


@pytest.mark.parametrize("record", ["batch", "epoch"])
def test_no_other_thread_disturbs_a_seed(data, record):
    expected = ForgettingSelector(record=record, random_state=0).fit(*data)
    with thread_that_draws():
        selector = ForgettingSelector(record=record, random_state=0).fit(*data)
    assert_same_scores(selector, expected)
    for name, weights in expected.estimator_.module_.state_dict().items():
        assert torch.equal(selector.estimator_.module_.state_dict()[name], weights)


def test_global_random_states_are_not_used(data, monkeypatch):
    net = make_default_net(data[0], 3)
    drawn = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    # Not restored afterwards either, which would rewind what other threads draw meanwhile.
    for module, names in {torch: ["set_rng_state", "manual_seed"], np.random: ["set_state", "seed"]}.items():
        for name in names:
            monkeypatch.setattr(module, name, None)
    train_default(net, *data, record="batch", seed=0, after_epoch=lambda: None)
    assert torch.equal(torch.get_rng_state(), drawn[0])
    assert np.random.get_state()[1].tolist() == drawn[1]
    assert random.getstate() == drawn[2]


def test_seeds_differ(data):
    first, same, other = (ForgettingSelector(random_state=seed).fit(*data) for seed in (0, 0, 1))
    assert_same_scores(first, same)
    assert not np.array_equal(first.margins_, other.margins_)


def test_the_training_net_survives_clone_and_pickle(data):
    X, y = data
    selector = ForgettingSelector(random_state=0).fit(X, y)
    net = selector.estimator_
    assert isinstance(net, NeuralNetClassifier)
    restored = pickle.loads(pickle.dumps(selector)).estimator_
    np.testing.assert_array_equal(restored.predict_proba(X), net.predict_proba(X))
    # The same training by skorch's own interface.
    again = clone(net).fit(X, y)
    np.testing.assert_array_equal(again.predict_proba(X), net.predict_proba(X))
    assert again.history[:, "train_loss"] == net.history[:, "train_loss"]
    assert net.history[-1, "train_loss"] < net.history[0, "train_loss"]


@pytest.fixture
def two_threads():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(n_threads)


class Stop(Exception):
    pass


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, Stop])
def test_one_thread_while_training(data, two_threads, error):
    X, y = data
    seen = []

    def look():
        seen.append(torch.get_num_threads())
        if error:
            raise error

    net = make_default_net(X, 3)
    if error:
        with pytest.raises(error):
            train_default(net, X, y, record="batch", seed=0, after_epoch=look)
    else:
        train_default(net, X, y, record="batch", seed=0, after_epoch=look)
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2


def test_all_threads_for_large_batches(two_threads):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(9_000, 800)).astype(np.float32), np.arange(9_000) % 2
    seen = []
    net = make_default_net(X, 2).set_params(max_epochs=1)
    train_default(net, X, y, record="batch", seed=0, after_epoch=lambda: seen.append(torch.get_num_threads()))
    assert seen == [2]


def test_number_of_threads_after_simultaneous_trainings(data, two_threads):
    """The second training begins in a thread of its own while torch is set to one thread, and ends last."""
    X, y = data
    net = make_default_net(X, 3)
    begun, ended = threading.Event(), threading.Event()
    numbers = []

    def second():
        def wait():
            begun.set()
            ended.wait(30)

        train_default(net, X, y, record="batch", seed=0, after_epoch=wait)
        numbers.append(torch.get_num_threads())

    thread = threading.Thread(target=second)

    def start():
        if not begun.is_set():
            thread.start()
            begun.wait(30)

    train_default(net, X, y, record="batch", seed=1, after_epoch=start)
    numbers.append(torch.get_num_threads())
    ended.set()
    thread.join()
    threading.Thread(target=lambda: numbers.append(torch.get_num_threads())).start()
    while len(numbers) < 3:
        pass
    assert numbers == [2, 2, 2]


def recall_of_wrong(X, y, is_wrong):
    selector = ForgettingSelector(random_state=0).fit(X, y)
    return roc_auc_score(is_wrong, -selector.margins_), selector


@pytest.mark.parametrize(
    "move",
    [lambda X: X * 1000 + 1.7e9, lambda X: (X * 1e12).astype(np.int64) + 1_700_000_000_000_000_000, lambda X: X + 1e8],
    ids=["seconds", "nanoseconds, int64", "1e8"],
)
def test_offsets_lose_no_digits(noisy, move):
    X, y, is_wrong = noisy
    expected, selector = recall_of_wrong(X, y, is_wrong)
    quality, moved = recall_of_wrong(move(X), y, is_wrong)
    assert expected > 0.9
    assert quality > expected - 0.01
    np.testing.assert_allclose(moved.margins_, selector.margins_, atol=0.1)
    right = moved.estimator_.predict(move(X)) == y
    assert right.mean() > 0.7


@pytest.mark.parametrize(
    "dtype", [np.float64, np.float32, np.float16, np.int64, np.int32, np.uint8, np.longdouble, bool]
)
def test_features_of_any_dtype(dtype):
    X, y = load_iris(return_X_y=True)
    X = X.mean(0) < X if dtype is bool else X.astype(dtype)
    expected = ForgettingSelector(random_state=0).fit(X.astype(np.float64), y)
    selector = ForgettingSelector(random_state=0).fit(X, y)
    np.testing.assert_allclose(selector.margins_, expected.margins_, atol=1e-3)
    if dtype is not np.longdouble:  # torch has none
        probabilities = selector.estimator_.predict_proba(X)
        np.testing.assert_allclose(probabilities, expected.estimator_.predict_proba(X.astype(np.float64)), atol=1e-2)


def test_constant_features_count_nothing(data):
    X, _ = data
    constant = np.full((120, 2), [0.1, 1.7e9])
    constant[::2] = np.nextafter(constant[::2], np.inf)  # as rounding makes it
    net = make_default_net(np.hstack([X, constant]), 3)
    np.testing.assert_array_equal(net.module__scale[-2:], 1)
    assert (net.module__scale[:-2] != 1).all()


def test_the_updates_are_those_of_adam_and_the_presentations_come_before_them():
    """Two epochs of an independent loop with torch's gradients, its Adam and dropout of the same bits."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 5))
    y = (X[:, 0] + rng.normal(size=50) > 0).astype(np.int64)
    net = make_default_net(X, 2).set_params(max_epochs=2, lr=0.003)
    scores, trained = train_default(net, X, y, record="batch", seed=3, after_epoch=lambda: None)

    module = clone(net).set_params(module__seed=3).initialize().module_
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence([3, 1]).generate_state(1)[0]))
    adam = torch.optim.Adam(module.parameters(), lr=0.003)
    W, b, V, c = module.parameters()
    Z = torch.tensor((X - X.mean(0)) / X.std(0), dtype=torch.float32)
    n_steps, bits = 0, None
    correct, margins = np.zeros((2, 50), dtype=bool), np.zeros((2, 50))
    for epoch in range(2):
        for rows in torch.randperm(50, generator=generator).split(8):
            with torch.no_grad():
                probabilities = module(torch.tensor(X[rows])).softmax(1).numpy()
            true = probabilities[np.arange(len(rows)), y[rows]]
            correct[epoch, rows], margins[epoch, rows] = true > 0.5, 2 * true - 1
            hidden = torch.relu(Z[rows] @ W + b)
            if n_steps % 8 == 0:
                drawn = torch.empty(8 * 256 // 8, dtype=torch.int64).random_(-(2**63), None, generator=generator)
                bits = np.unpackbits(drawn.numpy().view(np.uint8)[:, None], axis=1, bitorder="little")
            kept = torch.from_numpy(bits[: len(rows) * 256, n_steps % 8]).reshape(len(rows), 256)
            n_steps += 1
            assert 0.4 < kept.float().mean() < 0.6
            adam.zero_grad()
            cross_entropy(2 * kept * hidden @ V + c, torch.from_numpy(y[rows.numpy()])).backward()
            adam.step()
    np.testing.assert_allclose(scores.margins, margins.mean(0), atol=1e-3)
    np.testing.assert_array_equal(scores.events, correct[0] & ~correct[1])
    np.testing.assert_array_equal(scores.presentations, 2)
    for weights, expected in zip(trained.module_.parameters(), (W, b, V, c), strict=True):
        torch.testing.assert_close(weights, expected, atol=1e-3, rtol=1e-2)


def test_presentations_at_the_end_of_each_epoch(data):
    X, y = data
    net = make_default_net(X, 3).set_params(max_epochs=1)
    scores, trained = train_default(net, X, y, record="epoch", seed=0, after_epoch=lambda: None)
    probabilities = trained.predict_proba(X)
    true = probabilities[np.arange(120), y].copy()
    probabilities[np.arange(120), y] = -1
    np.testing.assert_allclose(scores.margins, true - probabilities.max(1), atol=1e-6)


def test_blocks_do_not_change_the_scores(data, monkeypatch):
    """Features of more rows than fit into a block are standardized a block at a time."""
    expected = ForgettingSelector(random_state=0).fit(*data)
    monkeypatch.setattr("skprune._default_net._BLOCK", 1)
    monkeypatch.setattr("skprune._default_net._PIECE", 100)
    assert_same_scores(ForgettingSelector(random_state=0).fit(*data), expected)


def test_rows_that_are_not_copied(data, tmp_path):
    X, y = data
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    expected = ForgettingSelector(random_state=0).fit(X, y)
    assert_same_scores(ForgettingSelector(random_state=0).fit(mapped, y), expected)
    assert_same_scores(ForgettingSelector(random_state=0).fit(np.asfortranarray(X), y), expected)
