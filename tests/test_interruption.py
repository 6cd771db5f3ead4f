"""Trainings that are cut short and caches that are damaged: an error or the right scores, and the next fit works."""

import multiprocessing
import os
import pickle
import resource
import signal
import tempfile
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from conftest import MLP, in_new_process, make_net
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from skorch.callbacks import Callback
from test_scoring import CountTrainings, n_trainings

from skprune import ForgettingSelector, Pipeline, PruningWarning


class Trouble(Callback):
    """Make trouble once, in an epoch of one training: the first that finds all files but its own in the folder taken.

    `run` counts trainings in whatever process, from 1; later ones are left alone.
    """

    def __init__(self, make, folder, run=1, epoch=2):
        self.make = make
        self.folder = folder
        self.run = run
        self.epoch = epoch

    def on_train_begin(self, net, **kwargs):
        for number in range(1, 100):
            try:
                with open(os.path.join(self.folder, str(number)), "x"):
                    break
            except FileExistsError:
                continue
        self.number_ = number

    def on_batch_end(self, net, training=None, **kwargs):
        if training and self.number_ == self.run and len(net.history) == self.epoch:
            self.number_ = None  # a second Ctrl-C would hit what cleans up after the first
            self.make()


def fail():
    raise RuntimeError("trouble")


def interrupt():
    raise KeyboardInterrupt


class Signal:
    """Send a signal to this process, or to another."""

    def __init__(self, number, process=None):
        self.number = number
        self.process = process

    def __call__(self):
        os.kill(self.process or os.getpid(), self.number)
        time.sleep(0.2)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "trainings").mkdir()
    return tmp_path / "trainings"


@pytest.fixture(autouse=True)
def _interruptible():
    """Ctrl-C raises, also in a process that was started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def fails_then_works(selector, data, error, match=None):
    """Fit in trouble, then again; what is fitted then is as if there had been none."""
    X, y = data
    expected = clone(selector).set_params(estimator__callbacks=None, memory=None, n_jobs=None).fit(X, y)
    with pytest.raises(error, match=match):
        selector.fit(X, y)
    with pytest.raises(NotFittedError):
        selector.get_support()
    assert not hasattr(selector, "margins_")
    selector.fit(X, y)
    np.testing.assert_array_equal(selector.margins_, expected.margins_)
    np.testing.assert_array_equal(selector.get_support(), expected.get_support())


TROUBLES = [(interrupt, KeyboardInterrupt), (Signal(signal.SIGINT), KeyboardInterrupt), (fail, RuntimeError)]


@pytest.mark.parametrize(("make", "error"), TROUBLES, ids=["KeyboardInterrupt", "Ctrl-C", "exception"])
@pytest.mark.parametrize("record", ["batch", "epoch"])
@pytest.mark.parametrize("run", [1, 2, 3])
def test_any_run(data, folder, make, error, record, run):
    net = make_net(callbacks=[Trouble(make, folder, run, epoch=run)])
    fails_then_works(ForgettingSelector(net, n_runs=3, record=record, random_state=0), data, error)


@pytest.mark.parametrize(("make", "error"), TROUBLES, ids=["KeyboardInterrupt", "Ctrl-C", "exception"])
def test_whole_runs_are_kept_in_memory(data, folder, tmp_path, make, error):
    net = make_net(callbacks=[Trouble(make, folder, run=3)])
    selector = ForgettingSelector(net, n_runs=3, memory=tmp_path / "memory", random_state=0)
    fails_then_works(selector, data, error)
    assert n_trainings(folder) == 3 + 1


def test_an_exception_side_by_side(data, folder, tmp_path):
    net = make_net(callbacks=[Trouble(fail, folder, run=2)])
    with joblib.parallel_config(backend="threading"):
        selector = ForgettingSelector(net, n_runs=3, n_jobs=2, memory=tmp_path / "memory", random_state=0)
        fails_then_works(selector, data, RuntimeError, "trouble")


def test_ctrl_c_side_by_side(data, folder):
    # The process that waits for the others is told.
    net = make_net(callbacks=[Trouble(Signal(signal.SIGINT, os.getpid()), folder)])
    fails_then_works(ForgettingSelector(net, n_runs=2, n_jobs=2, random_state=0), data, KeyboardInterrupt)


@pytest.mark.filterwarnings("ignore:A worker stopped while some jobs were given")  # joblib tells of the death
def test_a_worker_that_is_killed(data, folder, tmp_path):
    net = make_net(callbacks=[Trouble(Signal(signal.SIGKILL), folder)])
    selector = ForgettingSelector(net, n_runs=2, n_jobs=2, memory=tmp_path / "memory", random_state=0)
    fails_then_works(selector, data, RuntimeError, "SIGKILL")


class BreaksInEpoch3(MLP):
    broken = True

    def forward(self, X):
        self.n_batches = getattr(self, "n_batches", 0) + self.training
        if self.broken and self.n_batches > 2 * 8:
            raise ZeroDivisionError("broken in epoch 3")
        return super().forward(X)


@pytest.mark.parametrize("memory", [False, True])
def test_a_module_that_breaks(data, tmp_path, monkeypatch, memory):
    X, y = data
    memory = tmp_path / "memory" if memory else None
    selector = ForgettingSelector(make_net(BreaksInEpoch3), memory=memory, random_state=0)
    pipe = Pipeline([("prune", selector), ("clf", LogisticRegression())])
    with pytest.raises(ZeroDivisionError, match="broken in epoch 3"):
        pipe.fit(X, y)
    with pytest.raises(NotFittedError):
        pipe.predict(X)
    monkeypatch.setattr(BreaksInEpoch3, "broken", False)
    expected = ForgettingSelector(make_net(), random_state=0).fit(X, y)
    np.testing.assert_array_equal(pipe.fit(X, y)["prune"].margins_, expected.margins_)


def fit_with_memory(memory, **params):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 6)), np.arange(60) % 3
    return ForgettingSelector(make_net(**params), memory=memory, random_state=0).fit(X, y)


def fill_the_disk(memory):
    # No file may become larger than this, so that writing ends as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        margins = fit_with_memory(memory).margins_.tolist()
    return margins, [str(warning.message) for warning in caught]


def test_a_full_disk(tmp_path):
    margins, warned = in_new_process(fill_the_disk, tmp_path)
    assert any("because it can't be written to" in message for message in warned)
    assert not list(tmp_path.rglob("*.pkl"))
    assert margins == fit_with_memory(None).margins_.tolist()
    assert margins == fit_with_memory(tmp_path).margins_.tolist()
    assert len(list(tmp_path.rglob("*-net.pkl"))) == 1


def fit_as_nobody(memory):
    fit_with_memory(None)  # loads everything, which nobody may not be allowed to read
    if os.getuid() == 0:  # who may write everywhere
        os.setgroups([])
        os.setuid(65534)
    try:
        return fit_with_memory(memory).margins_.tolist()
    except PermissionError as error:
        return str(error)


@pytest.mark.parametrize("filled", [False, True])
def test_a_read_only_folder(tmp_path, filled):
    memory = tmp_path / "memory"
    memory.mkdir()
    expected = fit_with_memory(memory if filled else None).margins_.tolist()
    for path in [memory, *memory.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    for parent in memory.parents:
        if Path(tempfile.gettempdir()) in parent.parents:  # of pytest, and for its user alone
            parent.chmod(parent.stat().st_mode | 0o055)
    result = in_new_process(fit_as_nobody, memory)
    assert result == expected or str(memory) in result
    for path in [memory, *memory.rglob("*")]:
        path.chmod(0o755)
    assert fit_with_memory(memory).margins_.tolist() == fit_with_memory(None).margins_.tolist()


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "memory").write_text("no folder")
    with pytest.warns(PruningWarning, match="not stored, because it can't be written to .*memory"):
        fit_with_memory(tmp_path / "memory")


def flip(position):
    """Change one bit."""

    def change(content):
        changed = bytearray(content)
        changed[position if position < 0 else position * len(content) // 100] ^= 1
        return bytes(changed)

    return change


DAMAGES = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "garbage": lambda content: b"garbage" * 100,
    "a pickle": lambda content: pickle.dumps(["another"]),
    **{f"bit at {percent} %": flip(percent) for percent in range(0, 100, 9)},
    **{f"bit in byte {position}": flip(position) for position in range(-24, 0)},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry(tmp_path, damage):
    expected = fit_with_memory(tmp_path)
    files = list(tmp_path.rglob("*.pkl"))
    assert len(files) == 3  # of the run, its net and what models say that have not seen the rows
    for file in files:
        file.write_bytes(DAMAGES[damage](file.read_bytes()))
    recalled = fit_with_memory(tmp_path)
    np.testing.assert_array_equal(recalled.margins_, expected.margins_)
    np.testing.assert_array_equal(recalled.forgetting_scores_, expected.forgetting_scores_)
    weights, expected_weights = (fit.estimator_.module_.state_dict() for fit in (recalled, expected))
    assert all(torch.equal(weights[name], expected_weights[name]) for name in expected_weights)


def test_two_processes_fill_one_cache(folder, tmp_path):
    callbacks = [CountTrainings(str(folder))]
    fits = joblib.Parallel(2)(
        joblib.delayed(fit_with_memory)(tmp_path / "memory", callbacks=callbacks) for _ in range(4)
    )
    assert n_trainings(folder) == 1
    for fit in fits:
        np.testing.assert_array_equal(fit.margins_, fit_with_memory(None).margins_)


def test_a_process_killed_while_it_fills_the_cache(folder, tmp_path):
    killed = [Trouble(Signal(signal.SIGKILL), folder)]
    process = multiprocessing.get_context("spawn").Process(
        target=fit_with_memory, args=(tmp_path / "memory",), kwargs={"callbacks": killed}
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    selector = fit_with_memory(tmp_path / "memory", callbacks=killed)
    np.testing.assert_array_equal(selector.margins_, fit_with_memory(None).margins_)
    assert n_trainings(folder) == 2
