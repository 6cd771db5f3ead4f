"""Trainings of the scoring net: one run, and many of them through joblib and memory."""

import os
import random
import re
import sys
import threading
from contextlib import contextmanager, suppress
from functools import partial, reduce
from operator import add

import cloudpickle
import numpy as np
import skorch.dataset
import torch
from joblib import effective_n_jobs
from sklearn.base import clone
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_memory
from skorch.callbacks import Callback, EarlyStopping
from tqdm import tqdm

from skprune._batches import LabelledDataset, make_batches
from skprune._memory import is_off, recall
from skprune._recorder import ForgettingRecorder

# The generators that nets draw from are one for the whole process: seeded trainings take turns.
_training = threading.RLock()

# Of predictions and targets that are no pair by row they make a mean over all pairs, and a warning at most.
_REGRESSION = (
    torch.nn.MSELoss,
    torch.nn.L1Loss,
    torch.nn.SmoothL1Loss,
    torch.nn.HuberLoss,
    torch.nn.PoissonNLLLoss,
    torch.nn.GaussianNLLLoss,
)


def score_runs(net, X, y, *, record, seeds, any_seed=False, n_jobs=None, memory=None, progress=False):
    """Train the net once for every seed and return what was recorded.

    Parameters
    ----------
    net : NeuralNetClassifier
        Cloned, never changed.
    X : array-like of shape (n_samples, ...), or another container of rows
    y : ndarray of shape (n_samples,), int64
        Class numbers from 0.
    record : {"batch", "epoch"}
    seeds : array-like of shape (n_runs,), int
    any_seed : bool, default=False
        Whether a stored run with another seed serves as well.
    n_jobs : int, default=None
        Runs at the same time, through joblib.
    memory : object with the joblib.Memory interface, str or path-like, default=None
        Finished runs are stored there and not trained again.
    progress : bool, default=False
        Show bars for runs and epochs.

    Returns
    -------
    scores : ForgettingScores
        The sum of the runs.
    net : NeuralNetClassifier
        The trained net of the last run.
    n_epochs : int
        Number of epochs of the last run.
    """
    memory = check_memory(os.fspath(memory) if isinstance(memory, os.PathLike) else memory)
    n_jobs = n_jobs if len(seeds) > 1 else None
    # Bars of runs that go on at the same time would overwrite each other.
    epochs_bar = progress and effective_n_jobs(n_jobs) == 1
    if is_off(memory):
        jobs = [delayed(_train)(net, X, y, record, seed, epochs_bar) for seed in seeds]
    else:
        names = [("any seed", run) if any_seed else seed for run, seed in enumerate(seeds)]
        jobs = [
            delayed(_recall)(memory, name, net, X, y, record, seed, epochs_bar)
            for name, seed in zip(names, seeds, strict=True)
        ]
    runs = _parallel(n_jobs, progress)(jobs)
    runs = tqdm(runs, desc="Scoring nets", total=len(jobs), unit="run", disable=not progress or len(jobs) == 1)
    scores, nets, n_epochs = zip(*runs, strict=True)
    return reduce(add, scores), nets[-1].net, n_epochs[-1]


def _parallel(n_jobs, progress):
    if progress:
        with suppress(ValueError):  # some backends give results only when all are there
            return Parallel(n_jobs=n_jobs, return_as="generator")
    return Parallel(n_jobs=n_jobs)


def _recall(memory, name, net, X, y, record, seed, epochs_bar):
    inputs = (type(net), _params(net), X, y, record, name)
    return recall(memory, inputs, _train, net, X, y, record, seed, epochs_bar)


def _params(net):
    params = net.get_params(deep=False)
    accelerator = params.get("accelerator")  # of skorch's AccelerateMixin; it changes as it is used
    if accelerator is not None:  # each process stores its own result, since none can wait for another
        params["accelerator"] = (accelerator.process_index, accelerator.num_processes, accelerator.mixed_precision)
    return params


def _train(net, X, y, record, seed, epochs_bar):
    """Train a clone of the net; return its scores, the trained clone and the number of epochs."""
    bar = tqdm(desc="Scoring net", total=net.max_epochs, unit="epoch", leave=False, disable=not epochs_bar)
    recorder, complete = ForgettingRecorder(record), _CompleteEpochs(bar)
    with _seeded(seed), bar:
        net = _prepare(net, recorder, complete)
        _fit(net, X, y)
    if len(recorder.scores_) != len(y):
        raise ValueError(
            f"{type(net).__name__}.fit trained on {len(recorder.scores_)} of {len(y)} rows; every row must be presented."
        )
    if complete.n_epochs_ < complete.max_epochs_ and not _stopped_early(net):
        # skorch ends a training at Ctrl-C and says nothing.
        raise KeyboardInterrupt("The training of the scoring net was interrupted.")
    _tidy(net)
    return recorder.scores_.cpu(), _Portable(net), recorder.n_epochs_


def _fit(net, X, y):
    """Fit the net; tell of what its module and criterion get and must give, if they fail."""
    n_classes = y.max() + 1
    X = LabelledDataset(X, y) if isinstance(X, torch.utils.data.Dataset) else X  # skorch takes the labels of a Dataset
    try:
        net.fit(X, y)
    except IndexError as error:
        if not re.match(r"Target \d+ is out of bounds", str(error)):
            raise
        raise ValueError(
            f"{error} The module {type(net.module_).__name__} makes fewer outputs a row than y has classes, {n_classes}: make it "
            "as many."
        ) from error
    except (TypeError, RuntimeError) as error:
        error.add_note(
            f"Raised while the scoring net trained. Its module gets a batch of X and returns a tensor of shape (n_batch, "
            f"{n_classes}), not a tuple or dict; its criterion gets this and class numbers of shape (n_batch,)."
        )
        raise


class _Portable:
    """A trained net on its way between processes.

    skorch pickles modules by the names of their classes, and those of a script or notebook have none in a worker.
    """

    def __init__(self, net):
        self.net = net

    def __reduce__(self):
        modules = [value for value in vars(self.net).values() if isinstance(value, torch.nn.Module)]
        types = {type(part) for module in modules for part in module.modules()}
        classes = [one for one in types if one.__module__ == "__main__" and "<" not in one.__qualname__]
        _make_known(classes)
        return _unpack, (cloudpickle.dumps(classes), cloudpickle.dumps(self.net))


def _unpack(classes, net):
    _make_known(cloudpickle.loads(classes))
    return _Portable(cloudpickle.loads(net))


def _make_known(classes):
    main = sys.modules["__main__"]
    for one in classes:
        if not hasattr(main, one.__name__):
            setattr(main, one.__name__, one)


@contextmanager
def _seeded(seed):
    """Seed the generators that a net may draw from, and leave them as they were."""
    with _training, torch.random.fork_rng(range(torch.cuda.device_count())):
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
    """Count the epochs that ended, when it is the last of the callbacks, and move a bar with them."""

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
        raise ValueError(f"The scoring net needs max_epochs of at least 1, got {net.max_epochs!r}.")
    if net.criterion in _REGRESSION or type(net.criterion) in _REGRESSION:
        raise ValueError(
            f"criterion={net.criterion!r} is for regression, and the labels of the scoring net are class numbers. Use "
            "criterion=torch.nn.CrossEntropyLoss."
        )
    callbacks = net.callbacks
    if callbacks == "disable":
        for name, _ in net.get_default_callbacks():
            setattr(net, f"callbacks__{name}", None)
        callbacks = None
    callbacks = [entry for entry in callbacks or [] if not _is_a(entry, ForgettingRecorder)]
    # The recorder comes first, since a callback that stops the training leaves those behind it out.
    net.callbacks = [("skprune_recorder", recorder), *callbacks, ("skprune_complete", complete)]
    net.set_params(train_split=_without_split(net.train_split), warm_start=False, verbose=0)
    if net.train_split is None:
        net.callbacks.insert(1, ("skprune_monitors", _CheckMonitors()))
    if net.dataset is skorch.dataset.Dataset and not net.get_params_for("dataset"):
        net.dataset = partial(make_batches, net)
    return net


def _tidy(net):
    """Take out of a trained net what recording put into it."""
    ours = (ForgettingRecorder, _CheckMonitors, _CompleteEpochs)
    net.callbacks = [entry for entry in net.callbacks if not _is_a(entry, ours)]
    net.callbacks_ = [(name, callback) for name, callback in net.callbacks_ if not isinstance(callback, ours)]
    if isinstance(net.dataset, partial) and net.dataset.func is make_batches:
        net.dataset = skorch.dataset.Dataset


def _without_split(train_split):
    """Return a `train_split` that holds no row out; a validation set of its own stays."""
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
    """Tell whether an entry of a net's callbacks, an instance, a class or a pair of name and one, is of a kind."""
    callback = entry[1] if isinstance(entry, tuple) else entry
    return isinstance(callback, kind) or (isinstance(callback, type) and issubclass(callback, kind))


class _CheckMonitors(Callback):
    """Say that there is no validation set to a callback that looks at one."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        for _, callback in net.callbacks_:
            monitor = getattr(callback, "monitor", None)
            if isinstance(monitor, str) and monitor.startswith("valid"):
                raise ValueError(
                    f"The callback {type(callback).__name__} monitors {monitor!r}, but the scoring net trains on every row, "
                    f"so that there is no validation set. Monitor {monitor.replace('valid', 'train', 1)!r} instead, or give "
                    "the net a validation set of its own with train_split=skorch.helper.predefined_split(...)."
                )


def _stopped_early(net):
    return any(
        isinstance(callback, EarlyStopping) and callback.misses_ >= callback.patience for _, callback in net.callbacks_
    )
