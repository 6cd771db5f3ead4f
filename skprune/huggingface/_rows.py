"""Row numbers that travel through a DataLoader with the batches, past the collator."""

from collections.abc import MutableMapping
from copy import copy

import torch
from torch.utils.data import DataLoader, Dataset

from skprune._numbering import makes_batches
from skprune.huggingface._outcomes import count_rows

# Under this name the numbers are in a batch, between its collator and the training step.
_ROWS = "skprune_rows"


def number_rows(loader):
    """Return a copy of a loader that puts the row numbers into its batches.

    The loader itself stays as it is, since its owner may use it for evaluation or for another Trainer.

    Parameters
    ----------
    loader : DataLoader
        A loader that accelerate has prepared is accepted, too: accelerate treats the numbers like the rest of a batch
        and splits them over processes, for example.

    Returns
    -------
    numbered : DataLoader
    """
    plain = getattr(loader, "base_dataloader", loader)
    if not isinstance(plain, DataLoader):
        raise TypeError(
            f"get_train_dataloader has returned a {type(loader).__name__}; expected a torch DataLoader, in which rows can be "
            "numbered. Use ForgettingTrainerCallback, which predicts all rows itself, or let it return a DataLoader."
        )
    n_rows = count_rows(plain.dataset)
    numbered = copy(plain)
    # DataLoader refuses another dataset, whose rows its sampler would not know. These are the same rows.
    object.__setattr__(numbered, "dataset", _NumberedDataset(plain.dataset))
    numbered.collate_fn = _NumberedCollator(plain.collate_fn, n_rows)
    if plain is loader:
        return numbered
    prepared = copy(loader)
    prepared.base_dataloader = numbered
    return prepared


def split_rows(batch):
    """Return the row numbers of a batch, None if it has none, and the batch without them."""
    if not isinstance(batch, MutableMapping) or _ROWS not in batch:
        return None, batch
    batch = copy(batch)  # the caller may pass the same batch again
    return batch.pop(_ROWS), batch


def dataset_and_collator(loader):
    """Return the dataset and the collator of a loader, as they are without row numbers."""
    dataset, collate = loader.dataset, loader.collate_fn
    return (dataset.dataset, collate.collate) if isinstance(dataset, _NumberedDataset) else (dataset, collate)


class _NumberedDataset(Dataset):
    """Pair every sample of a dataset with its row number."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __getattr__(self, name):  # loaders look at what a dataset has, such as set_epoch
        if name.startswith("__") or name == "dataset":
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, row):
        return row, self.dataset[row]

    def __getitems__(self, rows):
        # A __getitems__ of the user's may return samples in another order, which does not matter in training.
        if getattr(self.dataset, "__getitems__", None) and not makes_batches(self.dataset):
            return list(zip(rows, self.dataset.__getitems__(rows), strict=True))
        return [self[row] for row in rows]


class _NumberedCollator:
    def __init__(self, collate, n_rows):
        self.collate = collate
        self.n_rows = n_rows

    def __call__(self, samples):
        rows, samples = zip(*samples, strict=True)
        numbers = torch.tensor(rows)
        if numbers.min() < 0 or numbers.max() >= self.n_rows:
            raise ValueError(
                f"The sampler has drawn rows {numbers.min()} to {numbers.max()}; expected row numbers from 0 to "
                f"{self.n_rows - 1}, since train_dataset has {self.n_rows} rows. Let the sampler draw such numbers."
            )
        batch = self.collate(list(samples))
        if isinstance(batch, MutableMapping):  # other types have been refused before
            batch[_ROWS] = numbers
        return batch
