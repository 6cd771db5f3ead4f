"""Training of the scoring net: a single run, and several with joblib and memory."""

import os
import random
import re
import threading
import uuid
import warnings
from contextlib import contextmanager, nullcontext, suppress
from functools import partial, reduce
from operator import add
from typing import NamedTuple

import numpy as np
import skorch.dataset
import torch
from joblib import effective_n_jobs
from sklearn.base import clone
from sklearn.utils.parallel import Parallel, delayed
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping
from tqdm import tqdm

from skprune._batches import LabelledDataset, make_batches
from skprune._consult import consult
from skprune._default_net import is_default
from skprune._digest import digest, net_params, net_state
from skprune._guard import PruningWarning
from skprune._memory import find_store, recent
from skprune._recorder import ForgettingRecorder
from skprune._run import load_run, read_run, write_run
from skprune._scores import ForgettingScores
from skprune._scores_file import UNREADABLE

# If predictions and targets differ in shape, these broadcast them, with a warning at most.
_REGRESSION = (
    torch.nn.MSELoss,
    torch.nn.L1Loss,
    torch.nn.SmoothL1Loss,
    torch.nn.HuberLoss,
    torch.nn.PoissonNLLLoss,
    torch.nn.GaussianNLLLoss,
)

# Numbers of processes are repeated on other machines, and this number in forks.
_IMPORT = uuid.uuid4()


def score_runs(net, X, y, *, record, seeds, recalls=True, n_jobs=None, memory=None, progress=False):
    """Train the net once for every seed and return the recorded scores.

    Parameters
    ----------
    net : NeuralNetClassifier
        It is cloned and not changed.
    X : array-like of shape (n_samples, ...), or another container of rows
    y : ndarray of shape (n_samples,), int64
        Class numbers from 0.
    record : {"batch", "epoch"}
    seeds : array-like of shape (n_runs,), int
    recalls : bool, default=True
        Whether to store runs, and not to train stored ones again.
    n_jobs : int, default=None
        Number of runs to train in parallel with joblib.
    memory : joblib.Memory, str or path-like, default=None
        Where runs are stored. If None, the last runs of this process are kept.
    progress : bool, default=False
        Whether to show progress bars for runs and epochs.

    Returns
    -------
    scores : ForgettingScores
        The sum of the runs.
    net : NeuralNetClassifier
        The trained net of the last run.
    n_epochs : int
        Number of epochs of the last run.
    """
    _warn_of_same_weights(net, len(seeds))
    store = find_store(memory) if recalls else None
    key = _key(net, X, y, record) if store is not None or effective_n_jobs(n_jobs) > 1 else None
    runs = [_find(store, key, seed) for seed in seeds]
    missing = [number for number, run in enumerate(runs) if run is None]
    n_jobs = n_jobs if len(missing) > 1 else None
    # Progress bars of parallel runs would overwrite each other.
    epochs_bar = progress and effective_n_jobs(n_jobs) == 1
    place = _place()
    jobs = [delayed(_run)(store, key, place, net, X, y, record, seeds[number], epochs_bar) for number in missing]
    trained = _parallel(n_jobs, progress)(jobs)
    bar = tqdm(trained, desc="Scoring nets", total=len(jobs), unit="run", disable=not progress or len(seeds) == 1)
    for number, run in zip(missing, bar, strict=True):
        runs[number] = run
        if store is recent and run is not None and run.is_stored:  # in the process of a worker
            store.put(f"{key}-{seeds[number]}", run.entry)
    refused = [number for number, run in enumerate(runs) if run is None]
    for number in refused:
        runs[number] = _run(store, key, _place(), net, X, y, record, seeds[number], progress)
    _warn_of_other_nets(len(refused), len(seeds), key)
    last = runs[-1].net
    if last is None:
        last = _rebuild(runs[-1].entry, net, X, y, record, seeds[-1])
    if last is None:
        _, _, last, _ = _train(net, X, y, record, seeds[-1], epochs_bar)
    return reduce(add, [run.scores for run in runs]), last, runs[-1].n_epochs


class _Run(NamedTuple):
    """A run, with its net if this process trained it, and otherwise with the entry that the net can be rebuilt from."""

    scores: ForgettingScores
    n_epochs: int
    net: NeuralNet | None = None
    entry: bytes | None = None
    is_stored: bool = False


def _key(net, X, y, record):
    return digest(("run", type(net), net_params(net), X, y, record))


def _warn_of_same_weights(net, n_runs):
    if n_runs > 1 and isinstance(net.module, torch.nn.Module) and not net.get_params_for("module"):
        warnings.warn(
            f"The module of the scoring net is an instance, {type(net.module).__name__}. All {n_runs} runs start from its "
            "weights, so they differ less than independent runs do. Unless the weights are pretrained, pass the class, with "
            "its parameters as module__ parameters of the net, or a function that makes the module.",
            PruningWarning,
            stacklevel=4,
        )


def _warn_of_other_nets(n_refused, n_runs, key):
    if n_refused:
        cause = "The net can't be identified" if key is None else "Workers have other code, data or settings of torch"
        warnings.warn(
            f"{n_refused} of {n_runs} runs were trained one after the other in this process, because a worker might have trained "
            f"another net. {cause}. The user guide says under 'Stored runs' how nets are identified. With n_jobs=None, runs are "
            "trained in this way without a warning.",
            PruningWarning,
            stacklevel=4,
        )


def _parallel(n_jobs, progress):
    if progress:
        with suppress(ValueError):  # some backends return results only when all are finished
            return Parallel(n_jobs=n_jobs, return_as="generator")
    return Parallel(n_jobs=n_jobs)


def _find(store, key, seed):
    """Return a stored run, or None if there is no readable entry."""
    if store is None or key is None:
        return None
    entry = store.get(f"{key}-{seed}")
    if entry is None:
        return None
    with suppress(*UNREADABLE):
        scores, n_epochs, _ = read_run(entry)
        return _Run(scores, n_epochs, entry=entry)
    return None


def _place():
    """Return the process, the thread, and a digest of torch's settings, some of which hold for one thread alone."""
    return _process(), threading.get_ident(), digest(())


def _process():
    """Return what identifies this process also among forks of it and processes of other machines."""
    return _IMPORT, os.getpid()


def _run(store, key, place, net, X, y, record, seed, epochs_bar):
    """Return a run, or None if this is another process or thread and may not train the same net."""
    process, thread, settings = place
    is_here = _process() == process
    if not is_here and (key is None or _key(net, X, y, record) != key):
        return None
    if is_here and threading.get_ident() != thread and (settings is None or digest(()) != settings):
        return None
    stores = store is not None and key is not None
    with store.locked(f"{key}-{seed}") if stores else nullcontext():
        found = _find(store, key, seed)  # another process or thread may have trained it by now
        if found is not None:
            return found
        scores, n_epochs, trained, params = _train(net, X, y, record, seed, epochs_bar)
        entry = None
        if stores or not is_here:
            entry = _checked(write_run(scores, n_epochs, trained, params), trained, net, X, y, record, seed)
        # The training may have changed what it depends on, such as a random generator of the user.
        stores = stores and entry is not None and _key(net, X, y, record) == key
        if stores:
            store.put(f"{key}-{seed}", entry)
    return _Run(scores, n_epochs, trained, None) if is_here else _Run(scores, n_epochs, None, entry, stores)


def _checked(entry, trained, net, X, y, record, seed):
    """Return `entry` if the trained net can be rebuilt from it, otherwise None."""
    rebuilt = _rebuild(entry, net, X, y, record, seed)
    expected = digest(_whole(trained))
    return entry if rebuilt is not None and expected is not None and digest(_whole(rebuilt)) == expected else None


def _whole(net):
    params = {name: value for name, value in net_params(net).items() if not name.startswith("callbacks")}
    return params, net_state(net)


def _rebuild(entry, net, X, y, record, seed):
    """Return a clone of the net with the weights and history of a run, or None if they do not fit."""
    if entry is None:
        return None
    try:
        with _seeded(seed):  # as it was initialized for the training
            _, _, run = read_run(entry)
            net = _prepare(net, ForgettingRecorder(record), _CompleteEpochs(None))
            net.set_params(**run["params"]).initialize()
            net.check_data(X, y)
            load_run(run, net)
            _tidy(net)
            return net
    except Exception:  # the user's module, callbacks and net may raise anything
        return None


def _train(net, X, y, record, seed, epochs_bar):
    """Train a clone of the net; return its scores, the number of epochs, the clone and the parameters that changed."""
    bar = tqdm(desc="Scoring net", total=net.max_epochs, unit="epoch", leave=False, disable=not epochs_bar)
    recorder, complete = ForgettingRecorder(record), _CompleteEpochs(bar)
    with _seeded(seed), bar:
        net = _prepare(net, recorder, complete)
        before = net.get_params(deep=False)
        _fit(net, X, y)
    if len(recorder.scores_) != len(y):
        raise ValueError(
            f"{type(net).__name__}.fit trained on {len(recorder.scores_)} of {len(y)} rows, but every row must be presented."
        )
    if complete.n_epochs_ < complete.max_epochs_ and not _stopped_early(net):
        # skorch ends a training at Ctrl-C without an error.
        raise KeyboardInterrupt("The training of the scoring net was interrupted.")
    after = net.get_params(deep=False)
    # For example the number of features, which a callback may set from X.
    changed = {name: value for name, value in after.items() if name not in before or before[name] is not value}
    params = {name: value for name, value in changed.items() if isinstance(value, (bool, int, float, str))}
    _tidy(net)
    return consult(recorder.scores_.cpu(), X, y, same_features=is_default(net)), recorder.n_epochs_, net, params


def _fit(net, X, y):
    """Fit the net. If it fails, say what its module and criterion get and must return."""
    n_classes = y.max() + 1
    X = LabelledDataset(X, y) if isinstance(X, torch.utils.data.Dataset) else X  # skorch uses the labels of a Dataset
    try:
        net.fit(X, y)
    except IndexError as error:
        if not re.match(r"Target \d+ is out of bounds", str(error)):
            raise
        raise ValueError(
            f"{error} The module {type(net.module_).__name__} has fewer outputs than y has classes. It needs {n_classes}."
        ) from error
    except (TypeError, RuntimeError) as error:
        error.add_note(
            f"Raised while the scoring net was trained. Its module gets a batch of X and must return a tensor of shape (n_batch, "
            f"{n_classes}), not a tuple or dict. Its criterion gets this tensor and class numbers of shape (n_batch,)."
        )
        raise


@contextmanager
def _seeded(seed):
    """Seed the global random generators that a net may use, and restore them afterwards.

    Seeded trainings take turns. They use the lock of `recent`, so that no two threads wait for each other.
    """
    with recent.lock, torch.random.fork_rng(range(torch.cuda.device_count())):
        python_state, numpy_state = random.getstate(), np.random.get_state()
        random.seed(int(seed))
        np.random.seed(seed)
        torch.manual_seed(int(seed))
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


class _CompleteEpochs(Callback):
    """Count the finished epochs and update a progress bar. This must be the last callback."""

    def __init__(self, bar):
        self.bar = bar

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.n_epochs_ = 0
        self.max_epochs_ = net.max_epochs  # skorch reads it once as well

    def on_epoch_end(self, net, **kwargs):
        self.n_epochs_ += 1
        self.bar.update()


def _prepare(net, recorder, complete):
    """Return a clone of the net that trains on every row and records."""
    net = clone(net)
    if net.max_epochs < 1:
        raise ValueError(f"max_epochs of the scoring net must be at least 1, got {net.max_epochs!r}.")
    if net.criterion in _REGRESSION or type(net.criterion) in _REGRESSION:
        raise ValueError(
            f"criterion={net.criterion!r} is for regression, but the scoring net is trained on class labels. Use "
            "criterion=torch.nn.CrossEntropyLoss."
        )
    callbacks = net.callbacks
    if callbacks == "disable":
        for name, _ in net.get_default_callbacks():
            setattr(net, f"callbacks__{name}", None)
        callbacks = None
    callbacks = [entry for entry in callbacks or [] if not _is_a(entry, ForgettingRecorder)]
    # The recorder comes first, because a callback that stops the training skips those after it.
    net.callbacks = [("skprune_recorder", recorder), *callbacks, ("skprune_complete", complete)]
    net.set_params(train_split=_without_split(net.train_split), warm_start=False, verbose=0)
    if net.train_split is None:
        net.callbacks.insert(1, ("skprune_monitors", _CheckMonitors()))
    if net.dataset is skorch.dataset.Dataset and not net.get_params_for("dataset"):
        net.dataset = partial(make_batches, net)
    return net


def _tidy(net):
    """Remove everything from a trained net that was added for the recording."""
    ours = (ForgettingRecorder, _CheckMonitors, _CompleteEpochs)
    net.callbacks = [entry for entry in net.callbacks if not _is_a(entry, ours)]
    net.callbacks_ = [(name, callback) for name, callback in net.callbacks_ if not isinstance(callback, ours)]
    if isinstance(net.dataset, partial) and net.dataset.func is make_batches:
        net.dataset = skorch.dataset.Dataset
    for part in vars(net).values():
        if isinstance(part, torch.nn.Module):
            part.eval()  # whatever it was recorded by


def _without_split(train_split):
    """Return a `train_split` that holds out no rows. A separate validation set stays."""
    if train_split is None or isinstance(train_split, skorch.dataset.ValidSplit):
        return None

    return _KeepRows(train_split)


class _KeepRows:
    """Use the validation set of a `train_split` only if it leaves the training set whole."""

    def __init__(self, train_split):
        self.train_split = train_split

    def __call__(self, dataset, y=None, **kwargs):
        train, valid = self.train_split(dataset, y, **kwargs)
        return (train, valid) if train is dataset else (dataset, None)


def _is_a(entry, kind):
    """Return whether an entry of a net's callbacks, which may be an instance, a class or a named one, is of a kind."""
    callback = entry[1] if isinstance(entry, tuple) else entry
    return isinstance(callback, kind) or (isinstance(callback, type) and issubclass(callback, kind))


class _CheckMonitors(Callback):
    """Raise an error if a callback monitors a validation set, because there is none."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        for _, callback in net.callbacks_:
            monitor = getattr(callback, "monitor", None)
            if isinstance(monitor, str) and monitor.startswith("valid"):
                raise ValueError(
                    f"The callback {type(callback).__name__} monitors {monitor!r}, but the scoring net is trained on every row, "
                    f"so there is no validation set. Monitor {monitor.replace('valid', 'train', 1)!r} instead, or pass a "
                    "separate validation set with train_split=skorch.helper.predefined_split(...)."
                )


def _stopped_early(net):
    return any(
        isinstance(callback, EarlyStopping) and callback.misses_ >= callback.patience for _, callback in net.callbacks_
    )


def summarise(scores, seconds):
    """Return a one-line summary of the scores of runs that took `seconds`."""
    runs = "1 run" if scores.n_runs == 1 else f"{scores.n_runs} runs"
    return (
        f"{len(scores)} rows, {runs}, {scores.presentations.max()} epochs in all, {seconds:.1f} s: "
        f"training accuracy {scores.last_accuracy():.1%}, {(scores.events > 0).mean():.1%} ever forgotten, "
        f"{scores.never_learned.mean():.1%} never learned, {scores.suspects.mean():.1%} suspects"
    )
