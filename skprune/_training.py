"""One training of the scoring net: prepare it, train it on every row, and pickle it."""

import numbers
import os
import pickle
import random
import re
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import clone
from sklearn.model_selection import KFold, StratifiedKFold
from skorch import NeuralNetBinaryClassifier
from skorch.callbacks import Callback, EarlyStopping
from skorch.dataset import Dataset, ValidSplit
from tqdm import tqdm

from skprune._batches import LabelledDataset, make_batches
from skprune._cache import net_params
from skprune._default_net import is_default, train_default
from skprune._recorder import ForgettingRecorder
from skprune._scores import ForgettingScores

# If predictions and targets differ in shape, these broadcast them, with a warning at most.
_REGRESSION = tuple(
    getattr(torch.nn, f"{name}Loss") for name in ("MSE", "L1", "SmoothL1", "Huber", "PoissonNLL", "GaussianNLL")
)
# Users expect one output to be enough for two classes.
_ONE_OUTPUT = torch.nn.BCELoss, torch.nn.BCEWithLogitsLoss


class Training(NamedTuple):
    """A net, which is cloned and not changed, the rows that it is trained on, with class numbers from 0, and `record`."""

    net: Any
    X: Any
    y: np.ndarray
    record: str

    @property
    def inputs(self):
        """Everything that the result depends on, except for the seed."""
        return "run", type(self.net), net_params(self.net), *self[1:]


class Run(NamedTuple):
    """The result of a training, with its net or a pickle of it, and what prevents it from being stored, if anything does."""

    scores: ForgettingScores
    n_epochs: int
    net: Any = None
    problem: str | None = None


def train(training, seed, *, epochs_bar=False):
    """Train a clone of the net and return the run."""
    net, X, y, record = training
    bar = tqdm(desc="Scoring net", total=net.max_epochs, unit="epoch", leave=False, disable=not epochs_bar)
    if is_default(net):
        with bar:
            scores, net = train_default(net, X, y, record=record, seed=seed, after_epoch=bar.update)
        return Run(scores, net.max_epochs, net)
    recorder, generator, complete = ForgettingRecorder(record), _CheckGenerator(), _CompleteEpochs(bar)
    with _seeded(seed), bar:
        net = _prepare(net, y.max() + 1, recorder, generator, complete)
        _fit(net, X, y)
    has_stopped = any(isinstance(part, EarlyStopping) and part.misses_ >= part.patience for _, part in net.callbacks_)
    if complete.n_epochs_ < complete.max_epochs_ and not has_stopped:
        # skorch ends a training at Ctrl-C without an error.
        raise KeyboardInterrupt("The training of the scoring net was interrupted.")
    n_presented = np.count_nonzero(recorder.scores_.presentations)
    if n_presented != len(y):
        raise ValueError(
            f"{type(net).__name__}.fit trained on {n_presented} of {len(y)} rows, but every row must be presented."
        )
    recorder.check_targets(net, y)
    _tidy(net)
    problem = None
    if generator.is_disturbed_:
        problem = "another thread drew from the random generator of torch, which all threads share, so that it does not repeat"
    return Run(recorder.scores_.cpu(), recorder.n_epochs_, net, problem)


def pack(net):
    """Return a pickle of a trained net, or None if there is none that other processes can read."""
    try:
        # Not by cloudpickle, which would replace the methods of classes of a script or notebook when it reads them.
        return pickle.dumps(net)
    except Exception:  # pickle may raise anything
        return None


def unpack(content):
    """Return the net of a pickle, or None if it can't be read."""
    with suppress(Exception):
        return None if content is None else pickle.loads(content)
    return None


def _fit(net, X, y):
    """Fit the net. If it fails, say what its module and criterion get and must return."""
    n_classes = n_outputs = y.max() + 1
    if isinstance(net, NeuralNetBinaryClassifier):
        n_outputs, y = 1, y.astype(np.float32)  # as its criterion takes them
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
            f"{n_outputs}), not a tuple or dict. Its criterion gets this tensor and class numbers of shape (n_batch,)."
        )
        raise


# Trainings take turns, because they share the global generators.
turns = threading.RLock()


def _restart():
    global turns
    turns = threading.RLock()  # the thread that held the lock does not exist in a fork


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_restart)


def turn_of(net):
    """Return a context in which one thread at a time trains a net, unless the net uses no global generator."""
    return nullcontext() if is_default(net) else turns


@contextmanager
def _seeded(seed):
    """Seed the global random generators that a net may use, and restore them afterwards."""
    with turns, torch.random.fork_rng(range(torch.cuda.device_count())):
        python_state, numpy_state = random.getstate(), np.random.get_state()
        random.seed(int(seed))
        np.random.seed(seed)
        torch.manual_seed(int(seed))
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


class _CheckGenerator(Callback):
    """Find out whether other threads use the global generator of torch during the training."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.is_disturbed_ = False
        self.seed_ = torch.initial_seed()

    def on_batch_end(self, net, training=False, **kwargs):
        if not training or self.is_disturbed_ or threading.active_count() == 1:
            return
        before = torch.get_rng_state()
        time.sleep(0)  # lets another thread run
        is_unchanged = torch.equal(before, torch.get_rng_state()) and torch.initial_seed() == self.seed_
        self.is_disturbed_ = not is_unchanged


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


def _prepare(net, n_classes, recorder, generator, complete):
    """Return a clone of the net that trains on every row and records."""
    net = clone(net)
    if net.max_epochs < 1:
        raise ValueError(f"max_epochs of the scoring net must be at least 1, got {net.max_epochs!r}.")
    if net.criterion in _REGRESSION or type(net.criterion) in _REGRESSION:
        raise ValueError(
            f"criterion={net.criterion!r} is for regression, but the scoring net is trained on class labels. Use "
            "criterion=torch.nn.CrossEntropyLoss."
        )
    is_binary = isinstance(net, NeuralNetBinaryClassifier)
    if n_classes > 2 and is_binary:
        raise ValueError(
            f"{type(net).__name__} is for two classes, but y has {n_classes}. Use NeuralNetClassifier with {n_classes} outputs "
            "and criterion=torch.nn.CrossEntropyLoss."
        )
    if not is_binary and (net.criterion in _ONE_OUTPUT or type(net.criterion) in _ONE_OUTPUT):
        raise ValueError(
            f"criterion={net.criterion!r} is for one output, but {type(net).__name__} needs one for each class. Use {n_classes} "
            "outputs and CrossEntropyLoss, or, for two classes, NeuralNetBinaryClassifier."
        )
    callbacks = net.callbacks
    if callbacks == "disable":
        for name, _ in net.get_default_callbacks():
            setattr(net, f"callbacks__{name}", None)
        callbacks = None
    callbacks = [entry for entry in callbacks or [] if not _is_a(entry, ForgettingRecorder)]
    # The recorder comes first, because a callback that stops the training skips those after it.
    net.callbacks = [
        ("skprune_recorder", recorder),
        ("skprune_generator", generator),
        *callbacks,
        ("skprune_complete", complete),
    ]
    net.set_params(train_split=_Split(net, recorder), warm_start=False)
    if net.dataset is Dataset and not net.get_params_for("dataset"):
        net.dataset = partial(make_batches, net)
    return net


def _tidy(net):
    """Remove everything from a trained net that was added for the recording."""
    ours = (ForgettingRecorder, _CheckGenerator, _CompleteEpochs)
    net.callbacks = [entry for entry in net.callbacks if not _is_a(entry, ours)]
    net.callbacks_ = [(name, callback) for name, callback in net.callbacks_ if not isinstance(callback, ours)]
    net.train_split = net.train_split.train_split
    if isinstance(net.dataset, partial) and net.dataset.func is make_batches:
        net.dataset = Dataset
    for part in vars(net).values():
        if isinstance(part, torch.nn.Module):
            part.eval()  # whatever it was recorded by


class _Split:
    """The `train_split` of a net, but rows are only held out if a callback needs results on them."""

    def __init__(self, net, recorder):
        self.net = net
        self.recorder = recorder
        self.train_split = net.train_split

    def __repr__(self):
        return repr(self.train_split)

    def __call__(self, dataset, y=None, **kwargs):
        needy = _who_needs_validation(self.net)
        if not self.train_split:
            _check_monitors(needy, self.train_split)
            return dataset, None
        if type(self.train_split) is ValidSplit and not needy:
            return dataset, None
        train, valid = _shuffled(self.train_split)(dataset, y, **kwargs)
        if train is dataset:  # a validation set of its own
            return dataset, valid
        if not needy:
            return dataset, None
        # All rows are predicted in the same way. In batches, with dropout, the others would be forgotten more often.
        self.recorder.record = "epoch"
        return train, valid


def _shuffled(train_split):
    """Return a split that draws the rows. With a number of folds, skorch holds out the first fold, the same in every run."""
    if type(train_split) is not ValidSplit or not isinstance(train_split.cv, numbers.Integral):
        return train_split
    kind = StratifiedKFold if train_split.stratified else KFold
    return ValidSplit(kind(train_split.cv, shuffle=True), stratified=train_split.stratified)


def _who_needs_validation(net):
    """Return the callbacks that monitor results on held-out rows, or may do so because they call a function."""
    scorers = (callback for _, callback in net.callbacks_ if getattr(callback, "on_train", None) is False)
    names = {getattr(callback, "name_", getattr(callback, "name", None)) for callback in scorers}

    def needs(monitor):
        return callable(monitor) or (isinstance(monitor, str) and monitor.removesuffix("_best") in names)

    return [callback for _, callback in net.callbacks_ if needs(getattr(callback, "monitor", None))]


def _check_monitors(needy, train_split):
    for callback in needy:
        if isinstance(callback.monitor, str):
            raise ValueError(
                f"The callback {type(callback).__name__} monitors {callback.monitor!r}, but the scoring net has "
                f"train_split={train_split!r}, so no rows are held out. Set train_split=skorch.dataset.ValidSplit(5, "
                "stratified=True), or let it monitor 'train_loss'."
            )


def _is_a(entry, kind):
    """Return whether an entry of a net's callbacks, which may be an instance, a class or a named one, is of a kind."""
    callback = entry[1] if isinstance(entry, tuple) else entry
    return isinstance(callback, kind) or (isinstance(callback, type) and issubclass(callback, kind))
