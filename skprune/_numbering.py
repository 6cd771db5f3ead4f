"""Batches of a user's iterator with the numbers of their rows."""

from functools import partial

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Subset, default_collate


def whole_dataset(dataset):
    """Return the dataset that a `Subset` of it, or a `Subset` of that, is taken from."""
    return whole_dataset(dataset.dataset) if type(dataset) is Subset else dataset


def row_numbers_of(dataset):
    """Return the row numbers of a `Subset` in its whole, None for a whole dataset."""
    if type(dataset) is not Subset:
        return None
    outer = row_numbers_of(dataset.dataset)
    return np.asarray(dataset.indices) if outer is None else outer[dataset.indices]


class NumberedTraining:
    """Stands in for a net's ``iterator_train`` and tells the recorder the rows of each batch."""

    def __init__(self, iterator, recorder, prepare):
        self.iterator = iterator
        self.recorder = recorder
        self.prepare = prepare

    def __call__(self, dataset, **kwargs):
        return _TrainingBatches(NumberedLoader(self.iterator, dataset, kwargs, self.prepare), self.recorder)


class _TrainingBatches:
    def __init__(self, loader, recorder):
        self.loader = loader
        self.recorder = recorder

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        self.recorder.rows_ = None
        for rows, batch in self.loader:
            self.recorder.rows_ = rows
            yield batch
        if self.recorder.rows_ is None:
            raise ValueError(
                "The net's iterator_train made no batch at all. With drop_last=True there must be at least batch_size rows: "
                "choose a smaller batch_size, or leave drop_last out."
            )


class NumberedLoader:
    """Iterate over the batches of a user's iterator as pairs of row numbers and batch.

    The row numbers of a DataLoader travel with its samples, through any sampler, worker and collate_fn. Another
    iterator, of which nothing is known, gets them as targets, and the targets are put back behind it.
    """

    def __init__(self, iterator, dataset, kwargs, prepare):
        if not hasattr(dataset, "__len__"):
            raise TypeError(
                f"Rows can be numbered in a dataset that has a length and is indexed; {type(dataset).__name__} has none. "
                "Use a map-style torch Dataset."
            )
        numbered = _NumberedDataset(dataset)
        self.loader = iterator(numbered, **kwargs)
        self.targets = None
        if isinstance(self.loader, DataLoader):
            numbered.whole_batches = self.loader.collate_fn is default_collate and hasattr(
                whole_dataset(dataset), "take_batch"
            )
            self.loader.collate_fn = partial(_collate_numbered, self.loader.collate_fn)
        else:
            self.targets = torch.as_tensor(_targets(whole_dataset(dataset)))
            self.loader = iterator(_TargetsAreRows(dataset), **kwargs)
        self.loader = prepare(self.loader)

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        if self.targets is None:
            yield from self.loader
            return
        for X, rows in self.loader:
            rows = torch.as_tensor(rows)
            if rows.ndim != 1 or not ((rows >= 0) & (rows < len(self.targets))).all() or (rows != rows.long()).any():
                raise ValueError(
                    "The net's iterator changes the targets of its dataset, so that its batches can't be matched to rows. "
                    "Use a torch DataLoader, or leave the targets as the dataset gives them."
                )
            yield rows.long(), (X, self.targets[rows.long()])


class _NumberedDataset(Dataset):
    """Pair every sample of a dataset with its row number."""

    whole_batches = False

    def __init__(self, dataset):
        self.dataset = dataset
        self.row_numbers = row_numbers_of(dataset)

    def __getattr__(self, name):  # samplers and iterators may look at what the dataset has
        if name.startswith("__") or name == "dataset":
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, position):
        return self._number(position), self.dataset[position]

    def __getitems__(self, positions):
        rows = self._number(np.asarray(positions))
        whole = whole_dataset(self.dataset)
        if self.whole_batches:
            return torch.from_numpy(rows), whole.take_batch(rows)
        if hasattr(whole, "__getitems__"):
            return list(zip(rows, whole.__getitems__(rows.tolist()), strict=True))
        return [(row, whole[row]) for row in rows.tolist()]

    def _number(self, position):
        return position if self.row_numbers is None else self.row_numbers[position]


class _TargetsAreRows(_NumberedDataset):
    """Give row numbers in the place of targets."""

    @property
    def y(self):
        return self._number(np.arange(len(self)))

    def __getitem__(self, position):
        X, _ = self.dataset[position]
        return X, self._number(position)

    def __getitems__(self, positions):
        return [self[position] for position in positions]


def _collate_numbered(collate, samples):
    if isinstance(samples, tuple):  # a batch that the dataset made, or one sample where batching is off
        rows, batch = samples
        return torch.as_tensor(rows), batch if torch.is_tensor(rows) else collate(batch)
    rows, samples = zip(*samples, strict=True)
    rows, batch = torch.tensor(rows), collate(list(samples))
    if collate is default_collate:
        return rows, batch
    return rows[_order(collate, samples, batch)], batch


def _order(collate, samples, batch):
    """Return which of the samples became which row of the batch, for a collate_fn that may sort them."""
    try:
        _, order = collate([(X, position) for position, (X, _) in enumerate(samples)])
        order = torch.as_tensor(order)
    except Exception:  # it may do with targets what it likes, and then must keep the order
        order = None
    in_order = torch.arange(len(samples))
    if order is not None and order.shape == in_order.shape and torch.equal(order.sort().values, in_order):
        return order
    targets = [y for _, y in samples]
    if not torch.equal(torch.as_tensor(batch[1]), torch.as_tensor(targets)):
        raise ValueError(
            "The collate_fn changes targets or their order, so that its batches can't be matched to rows. "
            "Let it return X and y with one entry a sample, in the order of the samples."
        )
    return in_order


def _targets(dataset):
    targets = getattr(dataset, "y", None)
    if targets is None:
        raise TypeError(
            "A net's iterator that is no torch DataLoader needs a dataset with the targets in its attribute y; "
            f"{type(dataset).__name__} has none. Use a torch DataLoader."
        )
    return targets
