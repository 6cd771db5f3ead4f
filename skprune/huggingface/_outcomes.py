"""What a batch and a model's output say of its rows, and which tasks and data say nothing."""

from collections.abc import Mapping
from copy import copy

import numpy as np
import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from skprune._recorder import _outcome

# The label that transformers' losses leave out, and its collators pad labels with.
_NO_LABEL = -100
# More rows would show no more of what a collator does with their order.
_CHECKED_ROWS = 8


def outcomes_of(output, labels, n_rows, model):
    """Return whether each row of a batch has a label and is predicted correctly, and its margin, as three columns.

    Parameters
    ----------
    output : Mapping, tuple or torch.Tensor
        What the model returned for the batch.
    labels : torch.Tensor of shape (n_rows, ...), int
    n_rows : int
    model : torch.nn.Module
        For the message of the error.

    Returns
    -------
    outcomes : torch.Tensor of shape (n_rows, 3), float32
    """
    logits = _logits_of(output)
    if (
        not isinstance(logits, torch.Tensor)
        or logits.shape[:-1] != labels.shape
        or logits.shape[-1] < 2
        or len(labels) != n_rows
    ):
        raise ValueError(
            f"Forgetting events need class logits with one entry a label, for {n_rows} rows here; got labels of shape "
            f"{tuple(labels.shape)} and logits of shape {tuple(getattr(logits, 'shape', ()))} from {type(model).__name__}. "
            "Probable causes: a model for another task than classification, a head with one output, a data collator that "
            "packs rows together, or a compute_loss that gives the model other rows than those of the batch."
        )
    logits, labels = logits.detach().float(), labels.to(logits.device)
    labelled = labels != _NO_LABEL
    n_classes = logits.shape[-1]
    correct, margin = _outcome(logits.softmax(-1).reshape(-1, n_classes), labels.where(labelled, 0).reshape(-1))
    # One column a token, or a single one where each row has one label.
    labelled, correct, margin = (column.reshape(n_rows, -1) for column in (labelled, correct, margin))
    n_labels = labelled.sum(1)
    mean_margin = margin.where(labelled, 0).sum(1) / n_labels.clamp(min=1)
    return torch.stack([n_labels > 0, (correct | ~labelled).all(1), mean_margin], 1)


def _logits_of(output):
    if isinstance(output, Mapping):
        return output.get("logits")
    if isinstance(output, torch.Tensor):
        return output
    # Models that return tuples begin with the loss where there are labels: one number, or one for each device.
    return next((part for part in output if isinstance(part, torch.Tensor) and part.ndim > 1), None)


def label_name(args):
    """Return the name of the labels in a batch, the first one if there are more."""
    return (args.label_names or ["labels"])[0]


def labels_of(args, batch):
    """Return the labels of a batch, or say what is wrong with them."""
    names = args.label_names or ["labels"]
    labels = batch.get(names[0]) if isinstance(batch, Mapping) and len(names) == 1 else None
    if labels is None:
        found = list(batch) if isinstance(batch, Mapping) else type(batch).__name__
        raise ValueError(
            f"Forgetting events need one label a row in every batch, under the name {' and '.join(map(repr, names))}; got a "
            f"batch with {found}. Probable causes: train_dataset has no column 'label' or 'labels', another name than "
            "TrainingArguments(label_names=...) says, or a task that has no classes."
        )
    if labels.is_floating_point():
        raise ValueError(
            f"Forgetting events need class numbers as labels, got labels of dtype {labels.dtype} and shape "
            f"{tuple(labels.shape)}, as regression and multi-label classification have. Cast them to int64 if they are classes."
        )
    return labels


def count_rows(dataset):
    """Return the number of rows of a training dataset, or say why its rows have no numbers."""
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
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
            "neither right nor wrong, so that nothing can be forgotten. Use a classifier, from_pretrained(..., num_labels=2) "
            "or more, with labels in bins if need be."
        )
    if type(model).__name__ in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values():
        raise ValueError(
            f"{type(model).__name__} predicts the next token of texts, not a class of rows. Use a model for sequence or token "
            "classification, such as AutoModelForSequenceClassification."
        )


def check_labels(args, dataset, collate):
    """Look at the labels of a few rows, and at what the collator does with their order, before hours of training."""
    rows = np.unique(np.linspace(0, len(dataset) - 1, _CHECKED_ROWS, dtype=int)).tolist()
    # Copies, since a collator may take labels out of the samples that a dataset holds.
    labels = labels_of(args, collate([copy(dataset[row]) for row in rows]))
    reverse = labels_of(args, collate([copy(dataset[row]) for row in reversed(rows)])).flip(0)
    # Padded to the same width, since the samples are the same.
    if labels.shape != reverse.shape or not torch.equal(labels, reverse):
        raise ValueError(
            f"The data collator, a {type(collate).__name__}, puts rows into another order than it gets them in, or changes their "
            "labels at random, so that its batches can't be matched to rows. Let it keep rows and labels in order; "
            'TrainingArguments(train_sampling_strategy="group_by_length") makes batches of rows of similar length.'
        )
