"""Identify the rows of a net's batches by the order in which its iterator draws them."""

from collections import deque
from typing import Any

import numpy as np
import skorch.dataset
import torch
from torch.utils.data import DataLoader, Dataset, Subset, default_collate, default_convert


def whole_dataset(dataset, passed=None):
    """Return the dataset that a `Subset`, possibly nested, is taken from, but stop at the dataset `passed`."""
    is_part = type(dataset) is Subset and dataset is not passed
    return whole_dataset(dataset.dataset, passed) if is_part else dataset


def row_numbers_of(dataset, passed=None):
    """Return the row numbers of a dataset: for a `Subset` those in its whole dataset, otherwise from 0."""
    if type(dataset) is not Subset or dataset is passed:
        return np.arange(len(dataset))
    return row_numbers_of(dataset.dataset, passed)[dataset.indices]


def makes_batches(dataset):
    """Return whether a dataset has a ``__getitems__`` of the user's, which may return samples in another order."""
    own = getattr(type(whole_dataset(dataset)), "__getitems__", None)
    return own is not None and str(getattr(own, "__module__", "")).partition(".")[0] not in (
        "datasets",
        "skprune",
        "torch",
    )


class DrawnRows:
    """Queue of the rows that an iterator has drawn from a map-style dataset and whose batches have not come yet.

    If the user's code makes the batches, the targets of each batch are compared with those of its rows. Within batches, targets
    must have both risen and fallen by the end of an epoch, so that a change of order would have been detected.
    """

    def __init__(self, dataset, y=None, passed=None):
        if not hasattr(dataset, "__len__"):
            raise TypeError(
                f"Rows can only be numbered in a dataset with a length, and {type(dataset).__name__} has none. "
                "Use a map-style torch Dataset."
            )
        self.row_numbers = row_numbers_of(dataset, passed)
        self.takes_tensors = type(dataset).__getitem__ is not skorch.dataset.Dataset.__getitem__
        own_y = getattr(whole_dataset(dataset, passed), "y", None)
        self.y = y if own_y is None else own_y
        self.batches_as_drawn = False
        self.by = "iterator"
        self.drawn: deque = deque()
        self.n_compared = 0
        self.rise = self.fall = False

    def draw(self, positions):
        """Record one or several positions that an iterator draws from the dataset, and return them."""
        some = positions[0] if isinstance(positions, list) and positions else positions
        if isinstance(some, torch.Tensor) and not self.takes_tensors:
            raise TypeError(
                "The sampler, batch_sampler or iterator of the net gives row numbers as tensors. skorch's Dataset can't look up "
                "rows by tensors. Let it give ints, as in iter(rows.tolist())."
            )
        if some is not positions and (isinstance(some, slice) or np.ndim(some)):
            raise ValueError(
                f"The sampler of the net gives several rows at once, as {type(some).__name__}, and the iterator makes batches of "
                "these. Set iterator_train__batch_size=None to use them as batches, or let the sampler give single row numbers."
            )
        key = list(positions) if isinstance(positions, tuple) else positions
        self.drawn.append(np.atleast_1d(self.row_numbers[key]))
        return positions

    def take(self, y_true):
        """Return the row numbers of the next batch, whose targets are `y_true`, as a tensor."""
        rows = self.drawn.popleft() if self.drawn else self.row_numbers[:0]
        while len(rows) < len(y_true) and self.drawn:
            rows = np.concatenate([rows, self.drawn.popleft()])
        if len(rows) < len(y_true):
            raise ValueError(
                f"The net's {self.by} made a batch of {len(y_true)} rows, but drew only {len(rows)} from its dataset, so the "
                "rows can't be matched. It probably has rows of its own, or repeats rows. It must index the dataset that it is "
                "given, dataset[i], once per row. Alternatively, use a torch DataLoader with a sampler."
            )
        if len(rows) > len(y_true):
            self.drawn.appendleft(rows[len(y_true) :])
        rows = torch.from_numpy(rows[: len(y_true)])
        if not self.batches_as_drawn:
            self._compare(rows, y_true.cpu())
        return rows

    def _compare(self, rows, y_true):
        if self.y is None:
            raise ValueError(
                f"The net's {self.by} may change the order of rows. Only the targets can show this, but the targets of the "
                "dataset are unknown. Pass them to fit together with the dataset, net.fit(dataset, y)."
            )
        self.y = self.y.cpu() if isinstance(self.y, torch.Tensor) else torch.tensor(np.asarray(self.y))
        expected = self.y[rows]
        if expected.shape != y_true.shape or not (expected == y_true).all():
            raise ValueError(
                f"The targets of a batch are not those of the {len(rows)} rows drawn for it: the net's {self.by} changes "
                f"targets, or the order of rows, or leaves rows out. The first targets are {y_true[:5].tolist()}, expected "
                f"{expected[:5].tolist()}. Do this in a sampler or in the dataset's __getitem__, or use record='epoch' with an "
                "iterator_valid that keeps the order."
            )
        if len(rows) == 1:  # its row can't be exchanged within the batch, but with that of the previous batch
            self.last, expected = expected, torch.cat([getattr(self, "last", expected), expected])
        steps = expected.double().diff()
        self.rise |= bool((steps > 0).any())
        self.fall |= bool((steps < 0).any())
        self.n_compared += len(rows)

    def end(self):
        """Raise a ValueError at the end of an epoch if it is uncertain that its batches were matched to their rows."""
        if self.drawn:
            raise ValueError(
                f"The net's {self.by} drew {sum(map(len, self.drawn))} more rows than its batches have, so the rows can't be "
                "matched. Choose rows by a sampler, such as RandomSampler(dataset, num_samples=...)."
            )
        if self.n_compared > 1 and not (self.rise and self.fall):
            raise ValueError(
                f"The net's {self.by} may change the order of rows, which can't be detected because the targets within each "
                "batch are sorted. Shuffle the rows, with iterator_train__shuffle=True, or pass them in another order."
            )


def follow(make_iterator, dataset, rows=None):
    """Return the iterator that `make_iterator` makes from a dataset. If `rows` is given, record the drawn positions in it.

    A DataLoader without a collate_fn gets whole batches if the dataset provides them.
    """
    iterator = make_iterator(dataset)
    loader = getattr(iterator, "base_dataloader", iterator)  # accelerate stores the DataLoader that it wraps here
    if not isinstance(loader, DataLoader):
        if rows is None:
            return iterator
        rows.by = f"iterator {type(iterator).__name__}"
        return make_iterator(_Watched(dataset, rows))
    is_plain, collate = type(loader).__iter__ is DataLoader.__iter__, loader.collate_fn
    # A DataLoader does not allow to set these attributes, because it has made other attributes from them.
    if (
        collate is default_collate
        and loader.batch_sampler is not None
        and hasattr(whole_dataset(dataset), "take_batch")
    ):
        object.__setattr__(loader, "dataset", _WholeBatches(dataset, row_numbers_of(dataset)))
        loader.collate_fn = _as_it_is
    if rows is not None:
        by_dataset = makes_batches(dataset)
        by_default = collate in (default_collate, default_convert)
        rows.batches_as_drawn = is_plain and not by_dataset and by_default
        name = getattr(collate, "__qualname__", type(collate).__name__)
        rows.by = f"collate_fn {name}" if is_plain else f"iterator {type(loader).__name__}"
        if by_dataset:
            whole = f"dataset {type(whole_dataset(dataset)).__name__}"
            rows.by = whole if is_plain and by_default else f"{rows.by} or {whole}"
        kind = "sampler" if loader.batch_sampler is None else "batch_sampler"
        object.__setattr__(loader, kind, _Drawing(getattr(loader, kind), rows))
        loader.in_order = True  # otherwise batches of several workers may overtake each other
    return iterator


def _as_it_is(batch):
    return batch


class _Instead:
    """Replacement of an object that forwards other attributes to it."""

    def __init__(self, instead_of, rows=None):
        self.instead_of = instead_of
        self.rows = rows

    def __getattr__(self, name):
        if name.startswith("__") or name == "instead_of":
            raise AttributeError(name)
        return getattr(self.instead_of, name)

    def __len__(self):
        return len(self.instead_of)


class _Drawing(_Instead):
    """A sampler whose draws are recorded."""

    def __iter__(self):
        return map(self.rows.draw, self.instead_of)


class _WholeBatches(_Instead, Dataset):
    """A dataset that returns samples as one batch."""

    def __getitem__(self, position):
        return self.instead_of[position]

    def __getitems__(self, positions):
        return whole_dataset(self.instead_of).take_batch(self.rows[positions])


class _Watched(_Instead, Dataset):
    """A dataset that records which samples, or which of its labels in `y`, are taken."""

    def __getitem__(self, position):
        return self.instead_of[self.rows.draw(position)]

    @property
    def y(self):
        labels = np.asarray(self.instead_of.y).view(_WatchedLabels)
        labels.rows = self.rows
        return labels


class _WatchedLabels(np.ndarray):
    rows: Any

    def __array_finalize__(self, other):
        self.rows = getattr(other, "rows", None)

    def __getitem__(self, key):
        return np.asarray(self)[self.rows.draw(key)]
