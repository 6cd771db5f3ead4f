import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings

import joblib
import numpy as np
import pytest
import torch
from conftest import MLP, make_net
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, Checkpoint, EarlyStopping, EpochScoring, EpochTimer, LRScheduler
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import predefined_split
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import Subset

from skprune import ForgettingRecorder, ForgettingSelector, Pipeline, PruningWarning, _held_out


@pytest.fixture
def data(data):
    """Too few rows for models that have not seen them, which take most of the time of a fit."""
    return data[0][:36], data[1][:36]


class Presented(Callback):
    """Write down how many rows each epoch trained on."""

    n_rows = ()

    def on_train_begin(self, net, **kwargs):
        type(self).n_rows = ()

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        type(self).n_rows += ((len(dataset_train), None if dataset_valid is None else len(dataset_valid)),)


class CountTrainings(Callback):
    """Leave one file for every training that begins, named by its process and the number of threads of torch."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_begin(self, net, **kwargs):
        name = f"{os.getpid()}-{torch.get_num_threads()}-{time.perf_counter_ns()}"
        with open(os.path.join(self.folder, name), "w"):
            pass


def n_trainings(folder):
    return len(os.listdir(folder))


def hold_out_half(dataset, y=None):
    half = np.arange(len(dataset) // 2)
    return Subset(dataset, half), Subset(dataset, half)


@pytest.mark.parametrize("train_split", [ValidSplit(5, stratified=True), ValidSplit(0.5), hold_out_half, None, False])
def test_no_row_is_held_out(data, train_split):
    # The default of skorch holds out a fifth.
    net = make_net(callbacks=[Presented()], max_epochs=2, train_split=train_split)
    selector = ForgettingSelector(net).fit(*data)
    assert Presented.n_rows == ((36, None),) * 2
    np.testing.assert_array_equal(selector._scores.presentations, 2)


def test_a_predefined_validation_set_stays(data):
    X, y = data
    valid = Dataset(X[:30].astype(np.float32), y[:30])
    net = make_net(
        callbacks=[Presented(), EarlyStopping("valid_loss", patience=1, threshold=10, threshold_mode="abs")],
        train_split=predefined_split(valid),
    )
    selector = ForgettingSelector(net).fit(X, y)
    assert Presented.n_rows == ((36, 30),) * 2
    assert selector.n_epochs_ == 2


FILES = ("f_params", "f_optimizer", "f_criterion", "f_history")
NEEDY = {
    "early stopping": EarlyStopping(patience=4),
    "learning rate": LRScheduler(ReduceLROnPlateau, monitor="valid_loss"),
    "checkpoint": Checkpoint("valid_acc_best", **dict.fromkeys(FILES)),
    "function": Checkpoint(lambda net: net.history[-1, "valid_loss"] < 1, **dict.fromkeys(FILES)),
    "class": EarlyStopping,
}


@pytest.mark.parametrize("needy", NEEDY)
def test_rows_are_held_out_for_a_callback_that_monitors_them(data, needy):
    net = make_net(callbacks=[Presented(), NEEDY[needy]], iterator_train__shuffle=True)
    selector = ForgettingSelector(net, random_state=0).fit(*data)
    assert Presented.n_rows == ((28, 8),) * 4
    np.testing.assert_array_equal(selector._scores.presentations, 4)


def test_a_score_on_held_out_rows_under_a_name_of_its_own(data):
    score = EpochScoring("balanced_accuracy", lower_is_better=False)
    stop = EarlyStopping("balanced_accuracy", lower_is_better=False, patience=1, threshold=10, threshold_mode="abs")
    selector = ForgettingSelector(make_net(callbacks=[Presented(), score, stop])).fit(*data)
    assert Presented.n_rows == ((28, 8),) * selector.n_epochs_ == ((28, 8),) * 2


class Alternates:
    """Hold out every second row of each class."""

    def __call__(self, dataset, y=None):
        held_out = np.concatenate([np.flatnonzero(y == label)[::2] for label in np.unique(y)])
        return Subset(dataset, np.setdiff1d(np.arange(len(y)), held_out)), Subset(dataset, held_out)


@pytest.mark.parametrize("train_split", [ValidSplit(5, stratified=True), ValidSplit(0.3), Alternates(), hold_out_half])
def test_held_out_rows_are_predicted_under_their_own_numbers(data, train_split):
    """Seen by the net that is left, whose weights don't change in one epoch."""
    X, y = data
    params = {"lr": 0.0, "max_epochs": 1, "callbacks": [EarlyStopping()], "train_split": train_split}
    selector = ForgettingSelector(make_net(**params), random_state=0).fit(X, y)
    probabilities = selector.estimator_.predict_proba(X.astype(np.float32))
    own = probabilities[np.arange(36), y]
    probabilities[np.arange(36), y] = -1
    np.testing.assert_allclose(selector.margins_, own - probabilities.max(1), atol=1e-6)


class HeldOut(Callback):
    """Write down which rows each epoch holds out."""

    rows = ()

    def on_epoch_end(self, net, dataset_valid=None, **kwargs):
        type(self).rows += (tuple(dataset_valid.indices),)


def test_each_run_holds_out_rows_of_its_own_and_repeats(data):
    HeldOut.rows = ()
    net = make_net(callbacks=[HeldOut(), EarlyStopping()], max_epochs=1)
    fits = [ForgettingSelector(net, n_runs=2, random_state=0).fit(*data) for _ in range(2)]
    first, second, *again = HeldOut.rows
    assert first != second
    assert again == [first, second]
    np.testing.assert_array_equal(fits[0].margins_, fits[1].margins_)


def test_predictions_of_trained_and_held_out_rows_are_made_alike(data):
    """In batches, those of trained rows would be made with dropout."""
    X, y = data
    net = make_net(module__dropout=0.9, callbacks=[EarlyStopping()], max_epochs=1, lr=0.0)
    selector = ForgettingSelector(net, random_state=0).fit(X, y)
    right = selector.estimator_.predict(X.astype(np.float32)) == y
    np.testing.assert_array_equal(selector.never_learned_, ~right)


def test_a_search_with_a_held_out_share(data):
    net = make_net(callbacks=[EarlyStopping(patience=2)])
    pipe = Pipeline([("prune", ForgettingSelector(net, random_state=0)), ("bayes", GaussianNB())])
    names = np.array(["a", "b", "c"])
    search = GridSearchCV(pipe, {"prune__k": [0.5, 0.8]}, cv=3, error_score="raise").fit(data[0], names[data[1]])
    assert search.best_estimator_["prune"].margins_.shape == (36,)
    assert isinstance(search.best_estimator_["prune"].estimator_.train_split, ValidSplit)


class Swaps(Alternates):
    """Make a training set of rows that have changed places."""

    def __call__(self, dataset, y=None):
        train, valid = super().__call__(dataset, y)
        return Subset(Dataset(dataset.X[::-1].copy(), dataset.y[::-1].copy()), train.indices), valid


def test_a_split_of_rows_that_have_changed_places(data):
    X, y = data
    net = make_net(callbacks=[EarlyStopping()], train_split=Swaps())
    with pytest.raises(ValueError, match="rows came with other targets than y says"):
        ForgettingSelector(net).fit(X.astype(np.float32), y)


class HoldsOutByItself(NeuralNetClassifier):
    def get_split_datasets(self, X, y=None, **fit_params):
        return hold_out_half(self.get_dataset(X, y))


def test_a_net_that_holds_out_rows_by_itself(data):
    net = HoldsOutByItself(MLP, criterion=torch.nn.CrossEntropyLoss, verbose=0)
    with pytest.raises(ValueError, match=r"HoldsOutByItself\.fit trained on 18 of 36 rows"):
        ForgettingSelector(net).fit(*data)


def test_a_monitor_without_a_split(data):
    error = r"EarlyStopping monitors 'valid_loss'.*train_split=None.*ValidSplit\(5, stratified=True\).*'train_loss'"
    with pytest.raises(ValueError, match=error):
        ForgettingSelector(make_net(callbacks=[("stop", EarlyStopping())], train_split=None)).fit(*data)


@pytest.mark.parametrize("record", ["batch", "epoch"])
def test_early_stopping(data, record):
    stop = EarlyStopping("train_loss", patience=2, threshold=10, threshold_mode="abs")
    selector = ForgettingSelector(make_net(callbacks=[stop]), record=record).fit(*data)
    # The first epoch sets the mark, two more miss it.
    assert selector.n_epochs_ == 3
    np.testing.assert_array_equal(selector._scores.presentations, 3)


@pytest.mark.parametrize("callbacks", ["disable", None, [("score", EpochScoring("accuracy", on_train=True))]])
def test_callbacks_of_every_form(data, callbacks):
    X, y = data
    net = make_net(callbacks=callbacks)
    selector = ForgettingSelector(net, random_state=0).fit(X, y)
    expected = ForgettingSelector(make_net(), random_state=0).fit(X, y)
    np.testing.assert_array_equal(selector.margins_, expected.margins_)


class Interrupt(Callback):
    def __init__(self, when, epoch, how):
        self.when = when
        self.epoch = epoch
        self.how = how

    def _maybe(self, net, when):
        if when == self.when and len(net.history) == self.epoch:
            if self.how == "raise":
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)

    def on_batch_end(self, net, **kwargs):
        self._maybe(net, "batch")

    def on_epoch_end(self, net, **kwargs):
        self._maybe(net, "epoch")


@pytest.fixture
def _interruptible():
    """Ctrl-C raises, also in a process that was started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
@pytest.mark.parametrize("how", ["raise", "signal"])
@pytest.mark.parametrize("epoch", [1, 3, 4])
@pytest.mark.parametrize("when", ["batch", "epoch"])
def test_ctrl_c(data, when, epoch, how):
    X, y = data
    selector = ForgettingSelector(make_net(), k=0.5, random_state=0).fit(X, y)
    selector.set_params(estimator__callbacks=[Interrupt(when, epoch, how)])
    with pytest.raises(KeyboardInterrupt):
        selector.fit(X, y)
    with pytest.raises(NotFittedError):
        selector.transform(X)
    selector.set_params(estimator__callbacks=None).fit(X, y)
    assert selector.transform(X).shape == (18, 6)


class Broken(MLP):
    def forward(self, X):
        if self.training and torch.is_grad_enabled() and getattr(self, "calls", 0) > 6:
            raise RuntimeError("broken in epoch 3")
        self.calls = getattr(self, "calls", 0) + 1
        return super().forward(X)


def test_an_exception_in_the_module(data):
    selector = ForgettingSelector(make_net(Broken))
    with pytest.raises(RuntimeError, match="broken in epoch 3"):
        selector.fit(*data)
    assert not hasattr(selector, "margins_")


PARAMETERS = [
    {"prune__k": ["auto", 0.9, 9]},
    {"prune__strategy": ["most_forgotten", "random"]},
    {"prune__balance": [False, True], "prune__min_per_class": [0, 2]},
    {"prune__never_learned": ["drop", "max"], "prune__tie_break": ["margin", "random"]},
]


@pytest.mark.parametrize("n_jobs", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_a_search_trains_once_a_fold(data, folder, tmp_path, n_jobs):
    net = make_net(callbacks=[CountTrainings(str(folder))])
    selector = ForgettingSelector(net, k=0.8, memory=str(tmp_path / "memory"), random_state=0)
    pipe = Pipeline([("prune", selector), ("clf", GaussianNB())])
    GridSearchCV(pipe, PARAMETERS, cv=2, n_jobs=n_jobs).fit(*data)
    assert n_trainings(folder) == 2 + 1


@pytest.mark.parametrize("make", [str, lambda path: path, lambda path: joblib.Memory(path, verbose=0)])
def test_memory_gives_what_training_gives(data, folder, tmp_path, make):
    X, y = data
    net = make_net(callbacks=[CountTrainings(str(folder))])
    selector = ForgettingSelector(net, random_state=0, memory=make(tmp_path / "memory"))
    trained = clone(selector).fit(X, y)
    recalled = clone(selector).set_params(k=0.1, strategy="random").fit(X, y)
    assert n_trainings(folder) == 1
    np.testing.assert_array_equal(trained.margins_, recalled.margins_)
    np.testing.assert_array_equal(
        recalled.estimator_.predict(X.astype("float32")), trained.estimator_.predict(X.astype("float32"))
    )
    assert recalled.n_epochs_ == 4


class Pretrained(MLP):
    def __init__(self):
        super().__init__()
        self.register_buffer("scaled", torch.ones(2, dtype=torch.bfloat16))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "convert"),
    [
        (None, np.asarray),
        (make_net(Pretrained()), torch.from_numpy),
        (make_net(Pretrained()), lambda X: {"X": torch.from_numpy(X)}),
    ],
    ids=["built-in", "tensors in module and X", "dict of tensors"],
)
def test_memory_knows_tensors_by_what_they_hold(data, tmp_path, estimator, convert):
    def n_runs():
        return sum(file.stat().st_size > 0 for file in location.rglob("*-net.pkl"))

    X, y = data
    location = tmp_path / "memory"
    # Another process sees the same numbers elsewhere in its memory.
    selector = ForgettingSelector(estimator, random_state=0, memory=location)
    trained = joblib.Parallel(2)(joblib.delayed(clone(selector).fit)(convert(X), y) for _ in range(2))
    recalled = clone(selector).fit(convert(X.copy()), y)
    assert n_runs() == 1
    np.testing.assert_array_equal(recalled.margins_, trained[0].margins_)
    changed = X.copy()
    changed[0, 0] += 1
    clone(selector).fit(convert(changed), y)
    assert n_runs() == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda selector, X, y: (selector.set_params(random_state=1), X, y),
        lambda selector, X, y: (selector.set_params(record="epoch"), X, y),
        lambda selector, X, y: (selector.set_params(estimator__lr=0.1), X, y),
        lambda selector, X, y: (selector.set_params(estimator__module__dropout=0.1), X, y),
        lambda selector, X, y: (selector, X + 1e-9, y),
        lambda selector, X, y: (selector, X, np.roll(y, 1)),
        lambda selector, X, y: (selector, X[::-1], y[::-1]),
    ],
    ids=["seed", "record", "net", "module", "X", "y", "order"],
)
def test_memory_trains_anew_for_another(data, folder, tmp_path, change):
    net = make_net(callbacks=[CountTrainings(str(folder))])
    selector = ForgettingSelector(net, random_state=0, memory=tmp_path / "memory").fit(*data)
    selector, X, y = change(selector, *data)
    selector.fit(X, y)
    assert n_trainings(folder) == 2


def test_runs_are_stored_one_by_one(data, folder, tmp_path):
    net = make_net(callbacks=[CountTrainings(str(folder))])
    selector = ForgettingSelector(net, n_runs=3, random_state=0, memory=tmp_path / "memory").fit(*data)
    assert n_trainings(folder) == 3
    selector.set_params(n_runs=5).fit(*data)
    assert n_trainings(folder) == 5
    assert selector._scores.n_runs == 5


@pytest.mark.parametrize("backend", [pytest.param("loky", marks=pytest.mark.slow), "threading"])
def test_runs_side_by_side_give_what_they_give_alone(data, backend):
    X, y = data
    alone = ForgettingSelector(make_net(module__dropout=0.2), n_runs=3, random_state=0).fit(X, y)
    with joblib.parallel_config(backend=backend):
        together = clone(alone).set_params(n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(alone.forgetting_scores_, together.forgetting_scores_)
    np.testing.assert_allclose(alone.margins_, together.margins_)


@pytest.mark.slow
def test_runs_on_a_dask_cluster_give_what_they_give_alone(data, folder, tmp_path):
    from dask import distributed

    X, y = data
    net = make_net(module__dropout=0.2, callbacks=[CountTrainings(str(folder))])
    alone = ForgettingSelector(net, n_runs=4, random_state=0).fit(X, y)
    together = clone(alone).set_params(n_jobs=2, memory=tmp_path / "memory")
    with (
        distributed.LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        together.fit(X, y)
        elsewhere = [name for name in os.listdir(folder) if not name.startswith(f"{os.getpid()}-")]
        assert len(elsewhere) == 4
        clone(together).fit(X, y)
    assert n_trainings(folder) == 8
    np.testing.assert_array_equal(alone.forgetting_scores_, together.forgetting_scores_)
    np.testing.assert_array_equal(alone.margins_, together.margins_)


@pytest.mark.slow
def test_workers_share_the_cores(folder):
    """It is joblib that limits the threads of its workers; nothing of ours may undo that."""
    script = f"""
import numpy as np
from conftest import make_net
from skprune import ForgettingSelector
from test_scoring import CountTrainings
net = make_net(callbacks=[CountTrainings({str(folder)!r})])
ForgettingSelector(net, n_runs=4, n_jobs=2).fit(np.random.rand(30, 6), np.arange(30) % 3)
"""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    # The tests' configuration would set a number of threads.
    script = f"import os, conftest; os.environ.pop('OMP_NUM_THREADS', None)\n{script}"
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    threads = [int(name.split("-")[1]) for name in os.listdir(folder)]
    assert len(threads) == 4
    assert max(threads) <= max(joblib.cpu_count() // 2, 1)


@pytest.mark.parametrize("memory", [False, True])
def test_two_threads_give_what_they_give_alone(data, tmp_path, memory):
    X, y = data
    memory = tmp_path / "memory" if memory else None
    nets = [make_net(module__dropout=0.2), make_net(module__dropout=0.2), None]
    selectors = [
        ForgettingSelector(net, n_runs=2, tie_break="random", memory=memory, random_state=seed)
        for seed, net in enumerate(nets)
    ]
    alone = [clone(selector).set_params(memory=None).fit(X, y) for selector in selectors]
    threads = [threading.Thread(target=selector.fit, args=(X, y)) for selector in selectors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for selector, expected in zip(selectors, alone, strict=True):
        np.testing.assert_array_equal(selector.margins_, expected.margins_)
        np.testing.assert_array_equal(selector.get_support(), expected.get_support())


@pytest.mark.parametrize(
    ("form", "estimator"),
    [("float32", None), ("float64", "own"), ("Fortran order", None), ("Fortran order", "own"), ("mapped", None)],
)
def test_X_is_never_copied_as_a_whole(tmp_path, monkeypatch, estimator, form):
    # What the models that have not seen a row hold has a fixed size, which is small beside a large X. Here X is small.
    for name, value in {"_MAX_ROWS": 128, "_MIN_ROWS": 128, "_CHUNK": 2**17}.items():
        monkeypatch.setattr(_held_out, name, value)
    X = np.random.default_rng(0).normal(size=(4096, 1024))
    X = X if form == "float64" else X.astype(np.float32, order="F" if form == "Fortran order" else "C")
    if form == "mapped":
        np.save(tmp_path / "X.npy", X)
        X = np.load(tmp_path / "X.npy", mmap_mode="r")
    net = None if estimator is None else make_net(module__n_features=1024, max_epochs=1)
    ForgettingSelector(net).fit(X[:99], np.arange(99) % 3)  # libraries import more at their first use
    tracemalloc.start()
    ForgettingSelector(net).fit(X, np.arange(4096) % 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.75 * X.nbytes


@pytest.mark.parametrize("record", ["batch", "epoch"])
def test_rows_that_both_iterators_drop_are_presented(data, record):
    net = make_net(iterator_train__drop_last=True, iterator_valid__drop_last=True)
    selector = ForgettingSelector(net, record=record).fit(*data)
    np.testing.assert_array_equal(selector._scores.presentations, 4)


def half_of_it(dataset, batch_size):
    return torch.utils.data.DataLoader(dataset, batch_size, sampler=range(len(dataset) // 2))


def test_rows_that_cannot_be_presented(data):
    with pytest.raises(ValueError, match=r"18 rows.*were not presented in epoch 1.*iterator_valid"):
        ForgettingSelector(make_net(iterator_valid=half_of_it), record="epoch").fit(*data)
    with pytest.raises(ValueError, match=r"makes no batches.*drop_last"):
        ForgettingSelector(make_net(iterator_train__drop_last=True, batch_size=200)).fit(*data)
    with pytest.raises(ValueError, match="max_epochs of the scoring net must be at least 1, got 0"):
        ForgettingSelector(make_net(max_epochs=0)).fit(*data)


class FirstThirty(NeuralNetClassifier):
    def fit(self, X, y, **fit_params):
        return super().fit(X[:30], y[:30], **fit_params)


def test_a_net_that_trains_on_a_part(data):
    net = FirstThirty(MLP, criterion=torch.nn.CrossEntropyLoss, verbose=0)
    with pytest.raises(ValueError, match=r"FirstThirty\.fit trained on 30 of 36 rows"):
        ForgettingSelector(net).fit(*data)


@pytest.mark.parametrize("callback", [ForgettingRecorder(), ForgettingRecorder, ("r", ForgettingRecorder())])
def test_a_recorder_of_the_net_itself_gives_way(data, callback):
    selector = ForgettingSelector(make_net(callbacks=[callback, ("forgetting", EpochTimer())])).fit(*data)
    np.testing.assert_array_equal(selector._scores.presentations, 4)


def test_monitors_are_those_that_the_net_has(data):
    callbacks = [Presented(), ("stop", EarlyStopping("valid_loss"))]
    net = make_net(callbacks=callbacks, callbacks__stop__monitor="train_loss")
    assert ForgettingSelector(net).fit(*data).n_epochs_ == 4
    assert Presented.n_rows == ((36, None),) * 4


def test_bars_where_results_come_all_at_once(data):
    selector = ForgettingSelector(make_net(), n_runs=2, n_jobs=2, verbose=2, random_state=0)
    with joblib.parallel_config(backend="multiprocessing"):
        assert selector.fit(*data)._scores.n_runs == 2


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
