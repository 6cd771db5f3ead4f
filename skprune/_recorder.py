"""The skorch callback that ties a net's predictions to row numbers."""

from collections import deque
from collections.abc import Mapping
from functools import partial
from operator import length_hint
from typing import Any, Self

import joblib
import numpy as np
import torch
from skorch.callbacks import Callback
from torch.utils.data import Dataset, Subset

from skprune._checks import checkable
from skprune._numbering import NumberedBatches, can_number, row_numbers_of, whole_dataset
from skprune._rows import count_rows, is_table, take_rows
from skprune._scores import ForgettingScores
from skprune._selection import check_choice

# Predictions are collected until there are this many numbers, so that small batches share the cost of counting.
_BUFFERED_NUMBERS = 2**16
# No gradients are kept in an evaluation pass, so that its batches may be larger than those of training.
_EVALUATION_BATCHES = 8
# Number of rows of X that are compared in place of all rows.
_COMPARED_ROWS = 64
# Target of a row that is not known yet.
_UNKNOWN = -1


class ForgettingRecorder(Callback):
    """Record the forgetting events of every training row while a skorch net trains.

    :class:`ForgettingSelector` uses this callback. You can also add it to the callbacks of a net that you train yourself.
    Rows are numbered as in the data passed to ``net.fit``.

    Parameters
    ----------
    record : {"batch", "epoch"}, default="batch"
        ``"batch"`` records the predictions that training makes anyway, before each update, as in [1]_. If the iterator
        leaves a row out of an epoch, the row is predicted at the end of the epoch. If a row comes more than once, the
        first time counts. Rows that ``train_split`` holds out are never presented. ``"epoch"`` predicts all rows, also those held
        out, in evaluation mode at the end of each epoch.

    Attributes
    ----------
    scores_ : ForgettingScores
        The scores recorded since the net was initialized, including epochs of ``partial_fit``. Their state is on the
        device of the net.
    n_epochs_ : int
        Number of recorded epochs.

    Raises
    ------
    ValueError
        During the training, if `record` is unknown; if a loss is nan or infinite; if the predictions are not class
        probabilities; if an iterator makes no batches or leaves out rows; if a batch has not as many rows as were drawn
        for it; if rows come with other targets than those in `y`, or than before; if ``train_split`` returns other rows
        than those of the dataset; or if ``partial_fit`` gets other rows than before.
    TypeError
        During the training, if the dataset has no length, or an iterator is not a DataLoader.

    See Also
    --------
    ForgettingSelector : Trains the net and selects rows by the recorded scores.

    References
    ----------
    .. [1] M. Toneva et al., "An Empirical Study of Example Forgetting during Deep Neural Network
       Learning", ICLR 2019. https://arxiv.org/abs/1812.05159

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import make_classification
    >>> from skorch import NeuralNetClassifier
    >>> from skprune import ForgettingRecorder
    >>> X, y = make_classification(100, random_state=0)
    >>> recorder = ForgettingRecorder()
    >>> net = NeuralNetClassifier(
    ...     torch.nn.Linear(20, 2), criterion=torch.nn.CrossEntropyLoss, max_epochs=3, train_split=None,
    ...     callbacks=[recorder], verbose=0,
    ... )
    >>> _ = net.fit(X.astype("float32"), y)
    >>> recorder.scores_
    ForgettingScores(n_rows=100, n_runs=1)
    >>> recorder.scores_.presentations.max()
    np.int64(3)
    """

    def __init__(self, record: str = "batch") -> None:
        self.record = record

    # skorch takes every attribute for a parameter whose name does not end with an underscore.

    def initialize(self) -> Self:
        """Delete all recorded scores."""
        for name in ("scores_", "targets_", "fingerprint_"):
            self.__dict__.pop(name, None)
        self.n_epochs_ = 0
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        check_choice("record", self.record, ("batch", "epoch"))
        self.on_train_end(net)  # clears what is left of a training that ended with an exception
        self.subset_ = X if isinstance(X, Subset) else None  # its rows are numbered as in itself
        fingerprint = _fingerprint(X, y)
        before = getattr(self, "fingerprint_", fingerprint)
        if before != fingerprint:
            raise ValueError(
                f"partial_fit or warm_start continues the training on {fingerprint[0]} rows, but the scores belong to "
                f"{before[0]} other rows, on which the net was trained before. Pass the same X and y in the same order, or call "
                "net.initialize() to start again."
            )
        self.fingerprint_ = fingerprint
        self.y_ = _class_numbers(y, fingerprint[0])
        # skorch calls it once, before the first epoch. It is then restored, so that copies of the net do not contain it.
        net.get_iterator = partial(self._get_iterator, net, net.get_iterator, vars(net).get("get_iterator"))

    def _get_iterator(self, net, get_iterator, before, dataset, training=False):
        """Replace ``net.get_iterator``."""
        if not training:
            return get_iterator(dataset, training=False)
        _restore(net, before)
        iterator = get_iterator(dataset, training=True)
        if length_hint(iterator, 1) == 0:
            raise ValueError(
                "The net's iterator_train makes no batches. With drop_last=True there must be at least batch_size rows. "
                "Use a smaller batch_size, or remove drop_last."
            )
        # Also with "epoch", because whole batches are taken from datasets that have them.
        if self.record == "batch" or can_number(iterator):
            return self._number(iterator, dataset, self.drawn_)
        return iterator

    def _number(self, iterator, dataset, drawn):
        return NumberedBatches(iterator, dataset, drawn, subset=self.subset_, has_targets=self.y_ is not None)

    def on_epoch_begin(self, net: Any, dataset_train: Any = None, **kwargs: Any) -> None:
        device = _device(net)
        if not hasattr(self, "scores_"):
            n_rows = self.fingerprint_[0]
            _check_length_of(whole_dataset(dataset_train, self.subset_), self.subset_, n_rows, net)
            self.scores_ = ForgettingScores(n_rows, device=device)
            targets = torch.full((n_rows,), _UNKNOWN) if self.y_ is None else self.y_
            self.targets_ = targets.to(device, copy=True)
        self.error_ = torch.zeros((), device=device)
        self.n_changed_ = torch.zeros((), dtype=torch.int64, device=device)
        self.drawn_.clear()

    def on_batch_begin(self, net: Any, batch: Any = None, training: Any = None, **kwargs: Any) -> None:
        if training:
            self.rows_ = self.drawn_.popleft() if self.drawn_ else torch.empty(0)
            if self.record == "batch":
                _check_length(self.rows_, batch[1])

    def on_batch_end(
        self, net: Any, batch: Any = None, training: Any = None, y_pred: Any = None, **kwargs: Any
    ) -> None:
        if training and self.record == "batch":
            rows, y_true, y_pred = self.rows_, torch.as_tensor(batch[1]), _first(y_pred)
            if hasattr(net, "accelerator"):  # each process has trained on its own part of the batch
                rows, y_true, y_pred = net.accelerator.gather((rows.to(y_pred.device), y_true, y_pred.detach()))
            self._add(net, rows, y_true, y_pred)

    def on_epoch_end(self, net: Any, dataset_train: Any = None, **kwargs: Any) -> None:
        self._flush(net)
        _check_loss(net)
        if self.record == "batch" and self.drawn_:
            raise ValueError(
                f"{type(net).__name__}.run_single_epoch has taken {len(self.drawn_)} batches from the DataLoader that it has not "
                "presented, so it is uncertain to which rows the others belong. Let it present each batch that it takes."
            )
        # With "batch", these are the rows that the iterator left out. With "epoch", these are all rows, also those held out.
        dataset = whole_dataset(dataset_train, self.subset_) if self.record == "epoch" else dataset_train
        left = self._left(dataset)
        if len(left):
            self._evaluate(net, dataset, left)
            left = self._left(dataset)
        if len(left):
            raise ValueError(
                f"{len(left)} rows were not presented in epoch {len(net.history)}, the first of them are {left[:5].tolist()}. "
                f"The net's iterator_valid, {net.iterator_valid!r}, leaves rows out. It must iterate over its whole dataset."
            )
        _check_probabilities(net, self.error_.item())
        _check_targets(whole_dataset(dataset_train, self.subset_), self.n_changed_.item())
        self.n_epochs_ += 1

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        replaced = vars(net).get("get_iterator")
        if isinstance(replaced, partial) and replaced.func == self._get_iterator:
            _restore(net, replaced.args[2])
        for name in ("rows_", "y_", "subset_"):
            setattr(self, name, None)
        self.drawn_: deque[torch.Tensor] = deque()  # row numbers of batches that were drawn and not presented yet
        self.buffer_: list[torch.Tensor] = []
        self.buffered_ = 0

    def check_targets(self, net: Any, y: Any) -> None:
        """Raise a ValueError if the net has trained on rows in another order than that of `y`, which its `fit` got."""
        if not np.array_equal(self.targets_.cpu().numpy(), y):
            raise ValueError(
                f"The fit of {type(net).__name__} trains on rows in another order than it gets them, or on other targets, so "
                "that scores would belong to other rows. Let it pass X and y on as they are, and let a sampler shuffle them."
            )

    def _left(self, dataset):
        """Return the rows of `dataset` that were not presented in this epoch."""
        rows = row_numbers_of(dataset, self.subset_)
        shown = self.scores_._tally.presentations[slice(None) if len(rows) == len(self.scores_) else rows]
        return rows[torch.nonzero(shown <= self.n_epochs_).squeeze(1).cpu().numpy()]

    def _evaluate(self, net, dataset_train, rows):
        dataset = Subset(whole_dataset(dataset_train, self.subset_), rows.tolist())
        drawn: deque[torch.Tensor] = deque()
        for batch in self._number(_evaluation_of(net, len(rows))(dataset), dataset, drawn):
            batch_rows, y_true = drawn.popleft(), torch.as_tensor(batch[1])
            _check_length(batch_rows, y_true)
            y_pred = _first(net.evaluation_step(batch, training=False))
            if hasattr(net, "accelerator"):  # its evaluation_step does the same with predictions
                batch_rows, y_true = net.accelerator.gather_for_metrics((batch_rows.to(y_pred.device), y_true))
            self._add(net, batch_rows, y_true, y_pred)
        self._flush(net)

    def _add(self, net, rows, y_true, y_pred):
        batch = (rows, y_true, y_pred.detach())
        if self.buffer_ and self.buffered_ + len(rows) > len(self.buffer_[0]):
            self._flush(net)
        if not self.buffer_:
            # Batches are copied into buffers, because small tensors that outlive their batch block its memory.
            size = max(_BUFFERED_NUMBERS // max(y_pred[:1].numel(), 1), len(rows))
            self.buffer_ = [part.new_empty((size, *part.shape[1:])) for part in batch]
        for kept, part in zip(self.buffer_, batch, strict=True):
            kept[self.buffered_ : self.buffered_ + len(rows)] = part
        self.buffered_ += len(rows)

    def _flush(self, net):
        if not self.buffered_:
            return
        rows, y_true, y_pred = (kept[: self.buffered_] for kept in self.buffer_)
        self.buffer_, self.buffered_ = [], 0
        rows, y_true = rows.to(y_pred.device), y_true.to(y_pred.device, torch.int64)
        known = self.targets_[rows]
        self.n_changed_ += ((known != y_true) & (known != _UNKNOWN)).sum()
        self.targets_[rows] = y_true

        # A sampler with replacement presents a row more than once per epoch. The first time counts.
        ordered, order = rows.sort(stable=True)
        first = torch.ones_like(ordered, dtype=torch.bool)
        first[1:] = ordered[1:] != ordered[:-1]
        chosen = order[first & (self.scores_._tally.presentations[ordered] <= self.n_epochs_)]

        probabilities = _probabilities(net, y_pred[chosen].float())
        _check_shape(net, y_pred, probabilities)
        if len(chosen):
            error = torch.maximum((probabilities.sum(1) - 1).abs().max(), -probabilities.min())
            self.error_ = torch.maximum(self.error_, error)
        self.scores_.update(rows[chosen], *outcome_of(probabilities, y_true[chosen]))


def _restore(net, get_iterator):
    if get_iterator is None:
        vars(net).pop("get_iterator", None)
    else:
        net.get_iterator = get_iterator


def _fingerprint(X, y):
    """Return the number of rows and a hash of the labels and of some of the rows."""
    if isinstance(X, Dataset) or is_table(X):  # what they give may be random
        return length_hint(X), joblib.hash(np.asarray(checkable(y)))
    if isinstance(X, (list, tuple)) and y is not None and len(X) != len(y):
        X = dict(enumerate(X))  # skorch takes the inputs of a module as a list, too
    some = np.linspace(0, count_rows(X) - 1, _COMPARED_ROWS).astype(int)
    return count_rows(X), joblib.hash((np.asarray(checkable(y)), _as_arrays(take_rows(X, some))))


def _class_numbers(y, n_rows):
    """Return class numbers as a tensor, or None if `y` holds anything else."""
    y = np.asarray(checkable(y))
    is_usable = y.shape == (n_rows,) and y.dtype.kind in "biuf"
    return torch.from_numpy(y.astype(np.int64)) if is_usable else None


def _as_arrays(rows):
    """Return rows with arrays in place of tensors, whose hash depends on more than their numbers."""
    if isinstance(rows, (torch.Tensor, np.ma.MaskedArray)):  # joblib can't hash the second one
        return np.asarray(checkable(rows))
    if isinstance(rows, Mapping) and not hasattr(rows, "shape"):
        return {key: _as_arrays(values) for key, values in rows.items()}
    return [_as_arrays(row) for row in rows] if isinstance(rows, (list, tuple)) else rows


def _evaluation_of(net, n_rows):
    """Return a function that makes iterators for evaluation like those of the net, but with large batches."""
    params = net.get_params_for("iterator_valid")
    batch_size = params.get("batch_size", net.batch_size * _EVALUATION_BATCHES)
    view = object.__new__(type(net))  # the net itself, except for the attributes set below
    vars(view).update(vars(net))
    if batch_size is not None:
        # In skorch, a negative size means all rows in one batch. The size must not exceed the share of a process, because
        # accelerate fills up the batches of all processes.
        share = -(-n_rows // (net.accelerator.num_processes if hasattr(net, "accelerator") else 1))
        view.iterator_valid__batch_size = share if batch_size < 0 else min(batch_size, share)
    if "drop_last" in params:
        view.iterator_valid__drop_last = False
    return partial(view.get_iterator, training=False)


def _device(net):
    return net.accelerator.device if hasattr(net, "accelerator") else net.device or "cpu"


def _first(y_pred):
    """Return the predictions of a module that may return a tuple."""
    return y_pred[0] if isinstance(y_pred, tuple) else y_pred


def _probabilities(net, y_pred):
    """Apply the nonlinearity of the net's ``predict_proba``."""
    nonlinearity = net.predict_nonlinearity
    if nonlinearity == "auto":
        # A compiled criterion contains the original one.
        criteria = list(net.criterion_.modules()) if net.compile else [net.criterion_]
        takes_logits = any(isinstance(criterion, torch.nn.CrossEntropyLoss) for criterion in criteria)
        nonlinearity = partial(torch.softmax, dim=-1) if takes_logits else None
        if y_pred.ndim == 1 and any(isinstance(criterion, torch.nn.BCEWithLogitsLoss) for criterion in criteria):
            nonlinearity = _of_logits
        elif y_pred.ndim == 1 and any(isinstance(criterion, torch.nn.BCELoss) for criterion in criteria):
            nonlinearity = _of_two_classes
    return y_pred if nonlinearity is None else nonlinearity(y_pred)


def _of_logits(logits):
    return torch.stack([torch.sigmoid(-logits), torch.sigmoid(logits)], dim=1)


def _of_two_classes(probabilities):
    return torch.stack([1 - probabilities, probabilities], dim=1)


def outcome_of(probabilities, y_true):
    """Return whether each row is predicted correctly, as by ``predict``, and its margin."""
    true = y_true.unsqueeze(1)
    others = probabilities.scatter(1, true, -torch.inf)
    margin = probabilities.gather(1, true).squeeze(1) - others.amax(1)
    return probabilities.argmax(1) == y_true, margin


def _check_length_of(dataset, subset, n_rows, net):
    if len(dataset) != n_rows or (isinstance(dataset, Subset) and dataset is not subset):
        raise ValueError(
            f"The net trains on a {type(dataset).__name__} of {len(dataset)} rows, but fit got {n_rows} rows, so their "
            f"numbers are unknown. The net has train_split={net.train_split!r} and dataset={net.dataset!r}. A train_split must "
            "return the dataset itself or a torch.utils.data.Subset of it. A dataset that makes other rows must be passed as X."
        )


def _check_length(rows, y_true):
    if rows.shape != y_true.shape[:1]:
        raise ValueError(
            f"The net trains on a batch of {len(y_true)} rows, but {len(rows)} rows were drawn for it from the dataset, so they "
            "can't be matched. A collate_fn must return all rows that it gets, in their order, and run_single_epoch of the net "
            "must take each batch from the DataLoader. Choose rows by a sampler, such as RandomSampler(dataset, num_samples=...)."
        )


def _check_targets(dataset, n_changed):
    if n_changed:
        raise ValueError(
            f"{n_changed} rows came with other targets than y says, or than before, so the net has other rows under these "
            f"numbers. Its dataset is a {type(dataset).__name__}. Probable causes: a dataset or a collate_fn that changes the "
            "order of rows or their targets, or a callback that changes batches. Pass X and y in the order that you want, with "
            "classes as numbers from 0, let a sampler shuffle, and give each row the same target each time. If partial_fit got "
            "another dataset than before, call net.initialize() to start again."
        )


def _check_shape(net, y_pred, probabilities):
    if probabilities.ndim != 2 or probabilities.shape[1] < 2:
        raise ValueError(
            f"The net's predictions have shape {tuple(y_pred.shape)} for {len(y_pred)} rows; expected one number per row and "
            f"class, with at least two classes. The module {type(net.module_).__name__} may be for regression. For two classes, "
            "use two outputs and CrossEntropyLoss, or NeuralNetBinaryClassifier with one output and BCEWithLogitsLoss."
        )


def _check_probabilities(net, error):
    if not error < 0.01:
        raise ValueError(
            f"The net's predictions are not class probabilities, so margins would be meaningless: a sum differs from 1, or a "
            f"number is negative, by {error:.3g}. The net has criterion={net.criterion!r} and "
            f"predict_nonlinearity={net.predict_nonlinearity!r}. If its module returns logits, use "
            "criterion=torch.nn.CrossEntropyLoss, or set predict_nonlinearity to a function that turns them into probabilities."
        )


def _check_loss(net):
    losses = np.asarray(net.history[-1, "batches", :, "train_loss"])
    if not np.isfinite(losses).all():
        raise ValueError(
            f"The training loss became {losses[~np.isfinite(losses)][0]} in epoch {len(net.history)} of the scoring net, so its "
            "predictions are meaningless. Common causes are criterion=NLLLoss, the default, with a module that returns "
            "logits (use criterion=torch.nn.CrossEntropyLoss, or end the module with a softmax), and a learning rate that is "
            f"too high (lr={net.lr}). Otherwise, look for nan or very large values in X."
        )
