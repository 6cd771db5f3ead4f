"""Row numbers that travel with the batches of a Trainer, past the collator."""

from collections.abc import MutableMapping
from copy import copy

import numpy as np
from torch.utils.data import DataLoader

from skprune._numbering import NumberedCollate, NumberedDataset, inner_loader, number_loader
from skprune.huggingface._outcomes import count_rows

# Under this name the numbers are in a batch, between its collator and the training step.
_ROWS = "skprune_rows"


def number_rows(loader):
    """Return a copy of a loader, which accelerate may have prepared, that puts the row numbers into its batches."""
    inner = inner_loader(loader)
    if not isinstance(inner, DataLoader):
        raise TypeError(
            f"get_train_dataloader has returned a {type(loader).__name__}; expected a torch DataLoader, in which rows can be "
            "numbered. Use ForgettingTrainerCallback, which predicts all rows itself, or let it return a DataLoader."
        )
    dataset = NumberedDataset(inner.dataset, np.arange(count_rows(inner.dataset)))
    return number_loader(loader, dataset, _NumberedCollate(inner.collate_fn))


def split_rows(batch):
    """Return the row numbers of a batch, None if it has none, and the batch without them."""
    if not isinstance(batch, MutableMapping) or _ROWS not in batch:
        return None, batch
    batch = copy(batch)  # the caller may pass the same batch again
    return batch.pop(_ROWS), batch


def dataset_and_collator(loader):
    """Return the dataset and the collator of a loader, as they are without row numbers."""
    dataset, collate = loader.dataset, loader.collate_fn
    return (dataset.dataset, collate.collate) if isinstance(dataset, NumberedDataset) else (dataset, collate)


class _NumberedCollate(NumberedCollate):
    """Put row numbers into the batch that a collator makes."""

    def __call__(self, numbered):
        rows, batch = super().__call__(numbered)
        if isinstance(batch, MutableMapping):  # other types have been refused before
            batch[_ROWS] = rows
        return batch
