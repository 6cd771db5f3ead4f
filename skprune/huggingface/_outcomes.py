"""What a batch and a model's output say of its rows, and which tasks and data say nothing."""

from collections.abc import Mapping
from copy import deepcopy

import numpy as np
import torch
from torch.utils.data import IterableDataset
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from skprune._recorder import outcome_of

# The label that transformers' losses leave out, and its collators pad labels with.
_NO_LABEL = -100
# More rows would show no more of what a collator does with their order.
_CHECKED_ROWS = 8


def outcomes_of(output, labels, n_rows, model):
    """Return whether each row of a batch has a label and is predicted correctly, and its margin, as three columns.

    The margin is infinite if a label is not a class of the model.
    """
    logits = _logits_of(output, labels, model)
    if (
        not isinstance(logits, torch.Tensor)
        or logits.shape[:-1] != labels.shape
        or logits.shape[-1] < 2
        or len(labels) != n_rows
    ):
        raise ValueError(
            f"Forgetting events need class logits with one entry per label, for {n_rows} rows here; got labels of shape "
            f"{tuple(labels.shape)} and logits of shape {tuple(getattr(logits, 'shape', ()))} from {type(model).__name__}. "
            "Probable causes: a model for another task than classification, a head with one output, a data collator that "
            "packs rows together, or a compute_loss that gives the model other rows than those of the batch."
        )
    logits, labels = logits.detach().float(), labels.to(logits.device, torch.int64)
    labelled = labels != _NO_LABEL
    n_classes = logits.shape[-1]
    known = (labels >= 0) & (labels < n_classes)
    correct, margin = outcome_of(logits.softmax(-1).reshape(-1, n_classes), labels.where(known, 0).reshape(-1))
    # Labels of no class are reported where outcomes are counted: to look here, a GPU would have to be waited for.
    margin = margin.where((known | ~labelled).reshape(-1), torch.inf)
    # One column a token, or a single one where each row has one label.
    labelled, correct, margin = (column.reshape(n_rows, -1) for column in (labelled, correct, margin))
    n_labels = labelled.sum(1)
    mean_margin = margin.where(labelled, 0).sum(1) / n_labels.clamp(min=1)
    return torch.stack([n_labels > 0, (correct | ~labelled).all(1), mean_margin], 1)


def _logits_of(output, labels, model):
    if isinstance(output, Mapping):
        return output.get("logits")
    if isinstance(output, torch.Tensor):
        return output
    # Models that return tuples begin with the loss where there are labels: one number, or one for each device.
    parts = [part for part in output if isinstance(part, torch.Tensor) and part.ndim > 1]
    fitting = [tuple(part.shape) for part in parts if part.shape[:-1] == labels.shape]
    if len(fitting) > 1:
        raise ValueError(
            f"{type(model).__name__} returns a tuple with {len(fitting)} tensors that may be the logits, of shapes "
            f"{', '.join(map(str, fitting))}. Let it return a dict with the key 'logits', or only the loss and the logits."
        )
    return next(iter(parts), None)


def labels_of(args, batch):
    """Return the labels of a batch, or say what is wrong with them."""
    names = args.label_names or ["labels"]
    labels = batch.get(names[0]) if isinstance(batch, Mapping) and len(names) == 1 else None
    if labels is None:
        found = list(batch) if isinstance(batch, Mapping) else type(batch).__name__
        raise ValueError(
            f"Forgetting events need one label per row in every batch, under the name {' and '.join(map(repr, names))}; got a "
            f"batch with {found}. Probable causes: train_dataset has no column 'label' or 'labels', another name than "
            "TrainingArguments(label_names=...) says, or a task that has no classes."
        )
    if not isinstance(labels, torch.Tensor):
        raise ValueError(
            f"Forgetting events need labels in a tensor, got a {type(labels).__name__} under {names[0]!r}. Let the data collator "
            "return a tensor of class numbers, torch.tensor(labels)."
        )
    if labels.is_floating_point():
        raise ValueError(
            f"Forgetting events need class numbers as labels, got labels of dtype {labels.dtype} and shape "
            f"{tuple(labels.shape)}, as regression and multi-label classification have. Cast them to int64 if they are classes."
        )
    return labels


def count_rows(dataset):
    """Return the number of rows of a training dataset, or say why its rows have no numbers."""
    # torch's IterableDataset inherits a __getitem__ that only raises an error, and may have a length.
    indexed = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    if not indexed or isinstance(dataset, IterableDataset):
        raise TypeError(
            f"Forgetting events are counted for rows that have numbers, but train_dataset, a {type(dataset).__name__}, has no "
            "length or no index. Load it without streaming, or make a datasets.Dataset of it with Dataset.from_generator."
        )
    return len(dataset)


def check_head(model):
    """Raise a ValueError if a model predicts anything else than one class a label."""
    if hasattr(model, "get_base_model"):  # of PEFT
        model = model.get_base_model()
    config = getattr(model, "config", None)
    n_labels, problem = getattr(config, "num_labels", None), getattr(config, "problem_type", None)
    if n_labels == 1 or problem == "regression":
        raise ValueError(
            f"{type(model).__name__} has a regression head (num_labels={n_labels}, problem_type={problem!r}): a number is "
            "neither right nor wrong, so nothing can be forgotten. Use a classifier, from_pretrained(..., num_labels=2) "
            "or more, with labels in bins if necessary."
        )
    # Also a class of the user's own that inherits from one of these.
    if {kind.__name__ for kind in type(model).__mro__} & set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()):
        raise ValueError(
            f"{type(model).__name__} predicts the next token of texts, not a class of rows. Use a model for sequence or token "
            "classification, such as AutoModelForSequenceClassification."
        )


def check_labels(args, dataset, collate, model):
    """Look at the labels of a few rows, and at what the collator does with their order, before hours of training."""
    rows = np.unique(np.linspace(0, len(dataset) - 1, _CHECKED_ROWS, dtype=int)).tolist()
    # Copies, since a collator may change the samples that a dataset holds.
    batch = collate([deepcopy(dataset[row]) for row in rows])
    reverse = collate([deepcopy(dataset[row]) for row in reversed(rows)])
    labels, reverse_labels = labels_of(args, batch), labels_of(args, reverse).flip(0)
    # Labels may be all alike in these rows; the inputs tell rows apart.
    name = getattr(model, "main_input_name", "input_ids")
    # Padded to the same width, since the samples are the same.
    if (
        labels.shape != reverse_labels.shape
        or not torch.equal(labels, reverse_labels)
        or _is_misplaced(batch.get(name), reverse.get(name))
    ):
        raise ValueError(
            f"The data collator, a {type(collate).__name__}, puts rows into another order than it gets them in, or changes their "
            "labels at random, so its batches can't be matched to rows. Let it keep rows and labels in order; "
            'TrainingArguments(train_sampling_strategy="group_by_length") makes batches of rows of similar length.'
        )


def _is_misplaced(inputs, reverse):
    """Tell whether a row of a batch is at a wrong place in the batch of the same rows in reverse order.

    A row that a collator changes at random is at no place, and so not at a wrong one.
    """
    if not isinstance(inputs, torch.Tensor) or not isinstance(reverse, torch.Tensor) or inputs.shape != reverse.shape:
        return False
    inputs, reverse = inputs.flatten(1), reverse.flip(0).flatten(1)
    same = (inputs[:, None] == reverse).all(-1)
    return bool((same.any(1) & ~same.diagonal()).any())
