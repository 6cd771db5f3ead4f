"""Row numbers that travel through a DataLoader together with the samples."""

from copy import copy

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, default_collate, default_convert


def whole_dataset(dataset, subset=None):
    """Return the dataset that a `Subset`, possibly nested, is taken from, but stop at `subset`, which fit got."""
    is_part = type(dataset) is Subset and dataset is not subset
    return whole_dataset(dataset.dataset, subset) if is_part else dataset


def row_numbers_of(dataset, subset=None):
    """Return the row numbers of a dataset: for a `Subset` those in its whole dataset, otherwise from 0."""
    if not hasattr(dataset, "__len__") or isinstance(dataset, IterableDataset):
        raise TypeError(
            f"Rows can only be numbered in a dataset with a length and an index, which {type(dataset).__name__} lacks. "
            "Use a map-style torch Dataset."
        )
    if type(dataset) is not Subset or dataset is subset:
        return np.arange(len(dataset))
    return row_numbers_of(dataset.dataset, subset)[dataset.indices]


class NumberedDataset(Dataset):
    """Samples of a dataset with their row numbers, or whole batches if `take_batch` returns these for row numbers."""

    def __init__(self, dataset, row_numbers, take_batch=None):
        self.dataset = dataset
        self.row_numbers = row_numbers
        self.take_batch = take_batch

    def __getattr__(self, name):  # loaders look at what a dataset has, such as set_epoch
        if name.startswith("__") or name == "dataset":
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, position):  # several positions if a sampler gives these
        return self.row_numbers[position], self.dataset[position]

    def __getitems__(self, positions):
        numbers = np.asarray(positions)
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
            raise ValueError(
                f"The sampler gives several rows at once, as {type(positions[0]).__name__}, and the DataLoader makes batches of "
                "these. Set iterator_train__batch_size=None to use them as batches, or let the sampler give single row numbers."
            )
        rows = self.row_numbers[numbers]
        if self.take_batch is not None:
            return rows, self.take_batch(rows)
        take_all = getattr(self.dataset, "__getitems__", None)
        # One of the user's own may return samples in another order.
        own = getattr(type(whole_dataset(self.dataset)), "__getitems__", take_all)
        if take_all and own and str(own.__module__).partition(".")[0] in ("datasets", "torch", "skprune"):
            return rows, take_all(positions)
        return rows, [self.dataset[position] for position in positions]


class NumberedCollate:
    """Return a pair of row numbers and the batch that `collate` makes, or takes as it is if that is None."""

    def __init__(self, collate):
        self.collate = collate

    def __call__(self, numbered):
        rows, samples = numbered
        return torch.as_tensor(rows), samples if self.collate is None else self.collate(samples)


def number_loader(loader, dataset, collate):
    """Return a copy of a DataLoader, or of accelerate's wrapper of one, with another dataset and `collate_fn`.

    accelerate treats the row numbers like the rest of a batch, and splits them over processes, for example. The loader
    itself stays as it is, since its owner may use it again.
    """
    inner = inner_loader(loader)
    numbered = copy(inner)
    # DataLoader refuses another dataset, whose rows its sampler would not know. These are the same rows.
    object.__setattr__(numbered, "dataset", dataset)
    numbered.collate_fn = collate
    if inner is loader:
        return numbered
    prepared = copy(loader)
    prepared.base_dataloader = numbered
    return prepared


def inner_loader(loader):
    """Return the DataLoader in accelerate's wrapper of one, which has no public name for it, and others as they are."""
    return getattr(loader, "base_dataloader", loader)


def can_number(iterator):
    """Return whether an iterator is a DataLoader, or accelerate's wrapper of one, that iterates as torch's does."""
    loader = inner_loader(iterator)
    return isinstance(loader, DataLoader) and type(loader).__iter__ is DataLoader.__iter__


class NumberedBatches:
    """The batches of a DataLoader, whose row numbers are put into the queue `rows` as they come, a tensor each.

    Rows of `subset`, a Subset that fit got, are numbered from 0. Without known targets, a `collate_fn` of the user's is refused.
    """

    def __init__(self, loader, dataset, rows, *, subset=None, has_targets=True):
        if not can_number(loader):
            raise TypeError(
                f"Rows can only be numbered in the batches of a torch DataLoader, and the net's iterator is a "
                f"{type(loader).__name__}, which makes batches in its own way. Let it return a DataLoader: choose rows by a "
                "sampler or batch_sampler, and change batches in a collate_fn. If this is the iterator_train, record='epoch' "
                "works as well, because it predicts all rows with iterator_valid."
            )
        collate = inner_loader(loader).collate_fn
        is_own = collate not in (default_collate, default_convert)
        if is_own and not has_targets:
            raise ValueError(
                f"The collate_fn {getattr(collate, '__qualname__', type(collate).__name__)} may change the order of rows. Only "
                "the targets can show this, but the targets of the dataset are unknown. Pass class numbers to fit together "
                "with the dataset, net.fit(dataset, y)."
            )
        # Datasets that make whole batches are faster. A collate_fn of the user's gets samples.
        is_whole = not is_own and inner_loader(loader).batch_sampler is not None
        take_batch = getattr(whole_dataset(dataset, subset), "take_batch", None) if is_whole else None
        numbered = NumberedDataset(dataset, row_numbers_of(dataset, subset), take_batch)
        self.loader = number_loader(loader, numbered, NumberedCollate(None if take_batch else collate))
        self.rows = rows

    def __getattr__(self, name):  # a net may look at what a DataLoader has, such as its sampler
        if name.startswith("__") or name == "loader":
            raise AttributeError(name)
        return getattr(self.loader, name)

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        for rows, batch in self.loader:
            self.rows.append(rows)
            yield batch
