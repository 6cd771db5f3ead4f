import json
import os
import subprocess
import sys
import threading
import time
import warnings
from contextlib import contextmanager, nullcontext

import joblib
import nbformat
import numpy as np
import pytest
import torch
from conftest import MLP, in_new_process, make_net
from nbclient import NotebookClient
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from test_digest import CHANGES, NET, SAME, SETUP, UNKNOWN, write_modules
from test_scoring import CountTrainings, n_trainings
from torch.utils.data import default_collate

from skprune import ForgettingSelector, Pipeline, PruningWarning
from skprune._memory import Folder, Recent, find_store, recall, recent

# Cells of a notebook, and, one below the other, a script.
START = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from skprune import ForgettingSelector
from test_scoring import CountTrainings
folder = os.environ["FOLDER"]
X, y = np.random.default_rng(0).normal(size=(12, 6)), np.arange(12) % 3
results = {}

def count(case):
    before = len(os.listdir(os.path.join(folder, "trainings")))
    results.setdefault(case, [])
    seed = 2 + list(results).index(case)  # of each case its own, since nets of two cases may be the same
    net = make()
    net.set_params(max_epochs=1, batch_size=12, criterion=torch.nn.CrossEntropyLoss, train_split=None,
                   callbacks=[CountTrainings(os.path.join(folder, "trainings"))])
    ForgettingSelector(net, memory=os.path.join(folder, "memory"), random_state=seed).fit(X, y)
    results[case].append(len(os.listdir(os.path.join(folder, "trainings"))) - before)
"""
# A callback that writes into a list of the notebook, after an entry of a net with this callback was read.
LIVE = """
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
log = []

class Log(Callback):
    def __init__(self, is_on):
        self.is_on = is_on

    def on_train_begin(self, net, **kwargs):
        if self.is_on:
            log.append(1)

class Live(torch.nn.Linear):
    def forward(self, X):
        return super().forward(X)

def fit(seed, is_on):
    net = NeuralNetClassifier(Live, module__in_features=6, module__out_features=3, criterion=torch.nn.CrossEntropyLoss,
                              max_epochs=1, verbose=0, callbacks=[Log(is_on), CountTrainings(os.path.join(folder, "live"))])
    return ForgettingSelector(net, memory=os.path.join(folder, "memory"), random_state=seed).fit(X, y)

methods = Log.on_train_begin, Live.forward
fit(0, False)
recalled = fit(0, False)
is_rebuilt = recalled.estimator_.predict(X.astype("float32")).shape == (12,)
results["recalled"] = len(os.listdir(os.path.join(folder, "live"))), is_rebuilt
fit(1, True)
results["live"] = len(log), methods == (Log.on_train_begin, Live.forward), type(recalled.estimator_.module_) is Live
fit(1, True)
log.clear()
fit(1, True)
results["not stored"] = len(log)
"""
END = 'with open(os.path.join(folder, sys.argv[1] if sys.argv[1:2] == ["again"] else "results"), "w") as file:\n'
END += "    json.dump(results, file)\n"


def make_cells():
    cells = [START, LIVE]
    for case, (definitions, before, after) in {**CHANGES, **SAME, **UNKNOWN}.items():
        for change in (before, before, after):
            cells.append(SETUP + definitions + NET + change)
            cells.append(
                f"count({case!r})\ntorch.set_default_dtype(torch.float32)\n"
                "torch.use_deterministic_algorithms(False)\ntorch.set_float32_matmul_precision('highest')\n"
            )
    return [*cells, END]


def expected_of(case):
    return [1, 1, 1] if case in UNKNOWN else [1, 0, 0] if case in SAME else [1, 0, 1]


@pytest.fixture
def place(tmp_path, monkeypatch):
    for name in ("trainings", "live"):
        (tmp_path / name).mkdir()
    write_modules(tmp_path)
    monkeypatch.setenv("FOLDER", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    return tmp_path


def check_results(place):
    results = json.loads((place / "results").read_text())
    assert results.pop("recalled") == [1, True]
    assert results.pop("live") == [1, True, True]
    assert results.pop("not stored") == 1
    assert results == {case: expected_of(case) for case in (*CHANGES, *SAME, *UNKNOWN)}


def test_nets_of_a_script(place):
    script = place / "script.py"
    script.write_text("\n".join(make_cells()))
    for arguments, seed in (([], "1"), (["again"], "2")):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, script, *arguments], check=True, env=environment, cwd=place)
    check_results(place)
    again = json.loads((place / "again").read_text())
    assert all(again[case] == ([1] * 3 if case in UNKNOWN else [0] * 3) for case in (*CHANGES, *SAME, *UNKNOWN))


@pytest.mark.filterwarnings("default")  # of the libraries that run the kernel
def test_nets_of_a_notebook(place):
    cells = [nbformat.v4.new_code_cell(cell) for cell in make_cells()]
    NotebookClient(nbformat.v4.new_notebook(cells=cells), timeout=200, kernel_name="python3").execute(cwd=str(place))
    check_results(place)


class ReadFeatures(Callback):
    """Tell the module how many features there are, as skorch's documentation does."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        net.set_params(module__n_features=X.shape[1])


class Remembers(MLP):
    """Predict by what is no weight."""

    def forward(self, X):
        self.n_calls = getattr(self, "n_calls", 0) + self.training
        return super().forward(X) * self.n_calls


class Freeze(Callback):
    def on_train_begin(self, net, **kwargs):
        net.module_.layers[0].requires_grad_(False)


class Weighted(torch.nn.CrossEntropyLoss):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, y_pred, y_true):
        return super().forward(y_pred * self.scale, y_true)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of torch.compile
@pytest.mark.parametrize(
    ("params", "is_recalled"),
    [
        ({}, True),
        ({"module": MLP()}, True),
        ({"module__n_features": 5, "callbacks": [ReadFeatures]}, True),
        ({"callbacks": [Freeze]}, True),
        ({"compile": True, "compile__backend": "eager"}, True),
        ({"criterion": Weighted}, True),
        ({"module": Remembers}, False),
    ],
    ids=["class", "instance", "features", "frozen", "compiled", "criterion", "state that is no weight"],
)
def test_a_recalled_net_is_the_trained_one(data, tmp_path, params, is_recalled):
    (tmp_path / "trainings").mkdir()
    X, y = data
    net = make_net(**{"module__dropout": 0.2} | params if "module" not in params else params)
    net.set_params(callbacks=[*(net.callbacks or []), CountTrainings(str(tmp_path / "trainings"))])
    selector = ForgettingSelector(net, memory=tmp_path / "memory", random_state=0)
    trained = clone(selector).fit(X, y)
    np.random.seed(1)
    state = np.random.get_state()[1].copy(), torch.get_rng_state()
    recalled = clone(selector).fit(X, y)
    assert n_trainings(tmp_path / "trainings") == (1 if is_recalled else 2)
    np.testing.assert_array_equal(np.random.get_state()[1], state[0])
    assert torch.equal(torch.get_rng_state(), state[1])
    first, second = trained.estimator_, recalled.estimator_
    np.testing.assert_array_equal(first.predict_proba(X.astype("f")), second.predict_proba(X.astype("f")))
    assert first.history[:, "train_loss"] == second.history[:, "train_loss"]
    assert first.classes_.tolist() == second.classes_.tolist() == [0, 1, 2]
    for part in ("module_", "criterion_"):
        for one, other in zip(getattr(first, part).parameters(), getattr(second, part).parameters(), strict=True):
            assert torch.equal(one, other)
            assert one.requires_grad == other.requires_grad
    assert recalled.n_epochs_ == 4


class Notes(Callback):
    def __init__(self, make):
        self.make = make

    def on_epoch_end(self, net, **kwargs):
        net.history.record("notes", self.make())


@pytest.mark.parametrize(
    ("make", "is_stored"),
    [
        (lambda: {"a": [1, None, "b"]}, True),
        (lambda: np.float32(0.1), True),
        (lambda: np.bool_(True), True),
        (lambda: (1, 2), False),
        (lambda: {1: 2}, False),
        (lambda: float("nan"), True),
        (lambda: np.arange(2), False),
        (lambda: np.arange(1), False),
        (lambda: torch.ones(()), False),
    ],
)
def test_a_recalled_net_has_the_history_of_the_trained_one(data, tmp_path, make, is_stored):
    fit = ForgettingSelector(make_net(callbacks=[Notes(make)]), memory=tmp_path, random_state=0).fit
    first, second = (fit(*data).estimator_.history[:, "notes"] for _ in range(2))
    assert len(list(tmp_path.rglob("*.run"))) == is_stored
    np.testing.assert_array_equal(first, second)


def test_a_run_from_a_worker_has_its_net(data):
    X, y = data
    for module in (MLP, Remembers):
        selectors = [ForgettingSelector(make_net(module), n_runs=2, n_jobs=n, random_state=0).fit(X, y) for n in (1, 2)]
        nets = [selector.estimator_ for selector in selectors]
        np.testing.assert_array_equal(*[net.predict_proba(X.astype("f")) for net in nets])
        assert nets[0].history[:, "train_loss"] == nets[1].history[:, "train_loss"]


@contextmanager
def other_method():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MLP, "forward", lambda self, X: self.layers(X) * 3)
        yield


@contextmanager
def hook_of_all_modules():
    with torch.nn.modules.module.register_module_forward_hook(lambda module, args, output: output * 1.1):
        yield


def by_name(batch):
    return globals()["default_collate"](batch)


@pytest.mark.parametrize(
    ("change", "net", "cause"),
    [
        (other_method, make_net(), "Workers have other code"),
        (hook_of_all_modules, make_net(), "Workers have other code"),
        (nullcontext, make_net(iterator_train__collate_fn=by_name), "The net can't be identified"),
    ],
)
def test_workers_that_may_train_another_net(data, tmp_path, change, net, cause):
    selector = ForgettingSelector(net, n_runs=2, random_state=0)
    with change():
        alone = clone(selector).fit(*data)
        together = clone(selector).set_params(n_jobs=2)
        with pytest.warns(PruningWarning, match=f"^2 of 2 runs were trained one after the other.*{cause}"):
            together.fit(*data)
        with joblib.parallel_config("threading"):
            np.testing.assert_array_equal(alone.margins_, clone(together).fit(*data).margins_)
    np.testing.assert_array_equal(alone.margins_, together.margins_)
    assert alone.estimator_.history[:, "train_loss"] == together.estimator_.history[:, "train_loss"]


def test_threads_that_have_other_settings(data):
    selector = ForgettingSelector(make_net(), n_runs=2, random_state=0)
    with torch.autocast("cpu"), joblib.parallel_config("threading"):
        alone = clone(selector).fit(*data)
        with pytest.warns(PruningWarning, match="settings of torch"):
            together = clone(selector).set_params(n_jobs=2).fit(*data)
    np.testing.assert_array_equal(alone.margins_, together.margins_)


generator = np.random.default_rng(0)


def with_noise(batch):
    X, y = default_collate(batch)
    return X + torch.from_numpy(generator.normal(size=X.shape)).float(), y


class Shifts(Callback):
    def on_train_begin(self, net, X=None, **kwargs):
        X[0] += 0.1


@pytest.mark.filterwarnings(
    "ignore:.*Workers have other code"
)  # if the same worker trains twice, its state has changed
@pytest.mark.parametrize("params", [{"iterator_train__collate_fn": with_noise}, {"callbacks": [Shifts]}])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_training_that_changes_what_it_depends_on_is_not_stored(data, tmp_path, recent_runs, params, n_jobs):
    X, y = data[0].astype(np.float32), data[1]
    for memory in (None, tmp_path):
        selector = ForgettingSelector(make_net(**params), n_runs=2, n_jobs=n_jobs, memory=memory, random_state=0)
        assert not np.array_equal(selector.fit(X, y).margins_, clone(selector).fit(X, y).margins_) or n_jobs == 2
    assert not recent_runs.entries
    assert not list(tmp_path.rglob("*.run"))


class Trap:
    def __reduce__(self):
        return warnings.warn, ("executed",)


def test_reading_an_entry_executes_nothing(data, tmp_path):
    import io
    import zlib

    fit = ForgettingSelector(make_net(), memory=tmp_path, random_state=0).fit
    margins = fit(*data).margins_
    (file,) = tmp_path.rglob("*.run")
    stream = io.BytesIO()
    np.savez(stream, scores=np.array([Trap()]), run=np.array([Trap()]))
    forged = stream.getvalue()
    for content in (forged, b"PK garbage"):
        file.write_bytes(zlib.crc32(content).to_bytes(4, "little") + content)
        np.testing.assert_array_equal(fit(*data).margins_, margins)
    assert file.stat().st_size < 20_000


def test_without_a_seed_every_fit_trains(data, tmp_path):
    (tmp_path / "trainings").mkdir()
    net = make_net(callbacks=[CountTrainings(str(tmp_path / "trainings"))])
    for _ in range(2):
        ForgettingSelector(net, memory=tmp_path / "memory").fit(*data)
    assert n_trainings(tmp_path / "trainings") == 2
    assert not (tmp_path / "memory").exists()


def search(data, tmp_path, n_jobs=None, **params):
    """Return how often a search over eight k and three folds trains."""
    (tmp_path / "trainings").mkdir(exist_ok=True)
    before = n_trainings(tmp_path / "trainings")
    net = make_net(callbacks=[CountTrainings(str(tmp_path / "trainings"))], max_epochs=1)
    pipe = Pipeline([("prune", ForgettingSelector(net, **params)), ("clf", LogisticRegression())])
    shares = np.linspace(0.3, 1, 8)
    GridSearchCV(pipe, {"prune__k": shares}, cv=3, n_jobs=n_jobs, error_score="raise").fit(*data)
    return n_trainings(tmp_path / "trainings") - before


@pytest.mark.parametrize("random_state", [0, np.random.RandomState(0)])
def test_a_search_needs_no_settings(data, tmp_path, recent_runs, random_state):
    assert search(data, tmp_path, random_state=random_state) == 4


def test_a_search_that_keeps_nothing(data, tmp_path, recent_runs):
    assert search(data, tmp_path) == 25
    assert search(data, tmp_path, random_state=0, memory=joblib.Memory(None)) == 25
    assert not recent_runs.entries


def test_a_search_in_threads(data, tmp_path, recent_runs):
    with joblib.parallel_config("threading"):
        assert search(data, tmp_path, n_jobs=4, random_state=0) == 4


def test_runs_of_workers_are_kept(data, tmp_path, recent_runs):
    (tmp_path / "trainings").mkdir()
    net = make_net(callbacks=[CountTrainings(str(tmp_path / "trainings"))])
    selector = ForgettingSelector(net, n_runs=3, n_jobs=2, random_state=0).fit(*data)
    again = clone(selector).set_params(n_jobs=None).fit(*data)
    assert n_trainings(tmp_path / "trainings") == 3
    np.testing.assert_array_equal(selector.margins_, again.margins_)


def test_the_last_runs_are_kept_and_no_more():
    runs = Recent()
    runs.max_bytes = 10
    for key in "ab":
        runs.put(key, b"1234")
    assert runs.get("a") == b"1234"
    runs.put("c", b"123")  # b was used longest ago
    assert runs.entries == {"a": b"1234", "c": b"123"}
    runs.put("d", b"12345678901")  # larger than all may be
    assert list(runs.entries) == ["a", "c"]
    runs.put("c", b"123456")
    assert list(runs.entries) == ["a", "c"]
    assert runs.get("b") is None
    runs.put("e", b"1234567890")
    assert list(runs.entries) == ["e"]


@pytest.mark.parametrize("use", [lambda runs: runs.get("key"), lambda runs: runs.put("key", b"entry")])
def test_the_last_runs_are_used_by_one_thread_at_a_time(use):
    runs = Recent()
    thread = threading.Thread(target=use, args=[runs])
    with runs.locked("another key"):
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
    thread.join()


def fork_while_a_thread_trains():
    """Return the status of a forked process, which is 0 if it could take the lock that the thread holds."""
    locked, done = threading.Event(), threading.Event()

    def hold():
        with recent.locked("key"):
            locked.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait()
    process = os.fork()
    if process == 0:
        os._exit(0 if recent.lock.acquire(timeout=10) else 1)
    done.set()
    thread.join()
    return os.waitpid(process, 0)[1]


def test_a_fork_while_a_thread_trains():
    assert in_new_process(fork_while_a_thread_trains) == 0


def test_memory_that_is_no_folder(data):
    class Elsewhere:
        def cache(self, function):
            return function

    with pytest.raises(ValueError, match=r"memory must be a folder or a joblib\.Memory"):
        ForgettingSelector(memory=Elsewhere(), random_state=0).fit(*data)


class Wrapped:
    """What scikit-learn asks of a memory, and no more."""

    def __init__(self, folder):
        self.folder = folder

    def cache(self, function, **params):
        return joblib.Memory(self.folder, verbose=0).cache(function, **params)


@pytest.mark.parametrize("make_memory", [lambda folder: joblib.Memory(folder, verbose=0), Wrapped])
def test_results_of_any_function_are_recalled(tmp_path, make_memory):
    def double(value):
        calls.append(value)
        return 2 * value

    calls, unknown = [], (number for number in ())
    for value, inputs in ((1, "one"), (1, "one"), (2, "two"), (3, unknown), (3, unknown)):
        assert recall(make_memory(tmp_path), inputs, double, value) == 2 * value
    assert calls == [1, 2, 3, 3]  # a generator has no digest


def test_results_are_made_by_one_thread(tmp_path):
    def slow():
        calls.append(1)
        time.sleep(0.3)

    calls = []
    memory = joblib.Memory(tmp_path, verbose=0)
    joblib.Parallel(3, "threading")(joblib.delayed(recall)(memory, "key", slow) for _ in range(3))
    assert len(calls) == 1


def test_a_folder_that_is_cleared_during_a_training(tmp_path):
    store = Folder(tmp_path)  # which does not exist any more
    with pytest.warns(
        PruningWarning, match=r"Unable to store a finished run in .*skprune-runs, so .* again: .*No such"
    ):
        store.put("key", b"entry")
    assert store.get("key") is None


def test_clearing_a_memory_clears_its_runs(data, tmp_path):
    memory = joblib.Memory(tmp_path, verbose=0)
    ForgettingSelector(make_net(), memory=memory, random_state=0).fit(*data)
    assert isinstance(find_store(memory), Folder)
    memory.clear(warn=False)
    assert not list(tmp_path.rglob("*.run"))


@pytest.mark.parametrize(
    ("n_runs", "params", "warns"),
    [
        (2, {"module": MLP()}, True),
        (1, {"module": MLP()}, False),
        (2, {}, False),
        (2, {"module": MLP(), "module__dropout": 0.1}, False),
    ],
)
def test_runs_that_start_from_the_same_weights(data, n_runs, params, warns):
    selector = ForgettingSelector(make_net(lr=0.0, max_epochs=1, **params), n_runs=n_runs, random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        selector.fit(*data)
    messages = [str(one.message) for one in caught if "is an instance, MLP. All 2 runs" in str(one.message)]
    assert len(messages) == warns
    assert all(one.category is PruningWarning for one in caught)
    # With a learning rate of 0 runs differ by their first weights alone.
    two = [ForgettingSelector(make_net(lr=0.0, max_epochs=1, **params), random_state=seed) for seed in (0, 1)]
    one, other = (selector.fit(*data).margins_ for selector in two)
    assert np.array_equal(one, other) == ("module" in params and "module__dropout" not in params)
