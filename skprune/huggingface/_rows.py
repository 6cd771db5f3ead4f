"""Row numbers that travel through a DataLoader with the batches, past the collator."""

from collections.abc import MutableMapping

import torch
from torch.utils.data import DataLoader, Dataset

from skprune.huggingface._outcomes import count_rows

# Under this name the numbers are in a batch, between its collator and the training step.
_ROWS = "skprune_rows"


def number_rows(loader):
    """Have a loader put the row numbers into its batches.

    Parameters
    ----------
    loader : DataLoader
        Also one that accelerate has prepared: what it does with the rest of a batch, such as to split it over
        processes, it does with the numbers as well.
    """
    plain = getattr(loader, "base_dataloader", loader)
    if not isinstance(plain, DataLoader):
        raise TypeError(
            f"get_train_dataloader has returned a {type(loader).__name__}; expected a torch DataLoader, in which rows can be "
            "numbered. Use ForgettingTrainerCallback, which predicts all rows itself, or let it return a DataLoader."
        )
    count_rows(plain.dataset)
    if isinstance(plain.dataset, _NumberedDataset):  # of a loader that is kept from one training to the next
        return
    # DataLoader refuses another dataset, whose rows its sampler would not know. These are the same rows.
    object.__setattr__(plain, "dataset", _NumberedDataset(plain.dataset))
    plain.collate_fn = _NumberedCollator(plain.collate_fn)


def take_rows(batch):
    """Return the row numbers of a batch, and leave it without them; None if there are none."""
    return batch.pop(_ROWS, None) if isinstance(batch, MutableMapping) else None


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
        if getattr(self.dataset, "__getitems__", None):  # as torch asks for it
            return list(zip(rows, self.dataset.__getitems__(rows), strict=True))
        return [self[row] for row in rows]


class _NumberedCollator:
    def __init__(self, collate):
        self.collate = collate

    def __call__(self, samples):
        rows, samples = zip(*samples, strict=True)
        batch = self.collate(list(samples))
        if isinstance(batch, MutableMapping):  # what else there is has been refused before
            batch[_ROWS] = torch.tensor(rows)
        return batch
