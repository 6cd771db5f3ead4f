"""The callback that records forgetting events while a transformers `Trainer` trains."""

import base64
import inspect
import io
import random
import warnings
from collections.abc import Mapping
from contextlib import contextmanager

import numpy as np
import torch
from sklearn.exceptions import NotFittedError
from torch.utils.data import DataLoader

from skprune._guard import PruningWarning
from skprune._recorder import _outcome
from skprune._scores import ForgettingScores

try:
    from accelerate.utils import gather, send_to_device
    from transformers import TrainerCallback
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    from transformers.trainer_callback import ExportableState
except ImportError as error:
    raise ImportError(
        f'skprune.huggingface needs transformers and accelerate ({error}). Install them with pip install "skprune[hf]".'
    ) from error

# The label that transformers' losses leave out, and its collators pad labels with.
_NO_LABEL = -100


class ForgettingTrainerCallback(TrainerCallback, ExportableState):
    """Record the forgetting events of every training row while a transformers `Trainer` trains.

    At the end of each epoch all rows are predicted in evaluation mode and in their order, whatever the order of
    training, with the Trainer's own data collator, evaluation batch size and mixed precision. The training stays
    as it is without the callback: global random generators are put back (one of a dataset's own may advance), no
    other callback is called. With more than one process each predicts its share of the rows, and all end with the
    same scores.

    In token classification a row is predicted correctly if all of its labelled tokens are, and its margin is
    their mean. Tokens and rows with the label -100 are left out; a row without any label is never presented.
    An epoch that is broken off, by ``max_steps`` or another callback, is not recorded.

    Attributes
    ----------
    scores_ : ForgettingScores
        What has been recorded since the training began. The Trainer's checkpoints hold it, and
        ``trainer.train(resume_from_checkpoint=...)`` goes on with it.

    Raises
    ------
    ValueError
        While training: if the model is no classifier (a regression, multi-label or causal language model head),
        the batches have no labels, or a checkpoint holds the scores of another number of rows.
    TypeError
        When training begins: if the training dataset has no length or is not indexed.

    Warns
    -----
    PruningWarning
        If training ends without a whole epoch, or resumes from a checkpoint that holds no scores.

    See Also
    --------
    skprune.ForgettingSelector : Prunes by the scores: ``fit(X, y, forgetting_scores=callback.scores_)``.
    skprune.ForgettingRecorder : The same for a skorch net.

    Notes
    -----
    The pass costs a forward pass over all rows an epoch. Scores add to the ``trainer_state.json`` of a checkpoint,
    in proportion to the rows. With ``TrainingArguments(restore_callback_states_from_checkpoint=True)`` transformers
    replaces the callback by a new one when it resumes; ``trainer.pop_callback(ForgettingTrainerCallback)`` returns it.

    References
    ----------
    .. [1] M. Toneva et al., "An Empirical Study of Example Forgetting during Deep Neural Network
       Learning", ICLR 2019. https://arxiv.org/abs/1812.05159

    Examples
    --------
    >>> import tempfile
    >>> from datasets import Dataset
    >>> from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
    >>> from skprune import select_rows
    >>> from skprune.huggingface import ForgettingTrainerCallback
    >>> dataset = Dataset.from_dict({"input_ids": [[1, 2], [3, 4], [1, 4], [3, 2]], "labels": [0, 1, 0, 1]})
    >>> config = BertConfig(
    ...     vocab_size=5, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    ... )
    >>> callback = ForgettingTrainerCallback()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     arguments = TrainingArguments(
    ...         folder, num_train_epochs=2, report_to="none", disable_tqdm=True, save_strategy="no",
    ...         logging_strategy="no", dataloader_pin_memory=False, use_cpu=True,
    ...     )
    ...     trainer = Trainer(
    ...         BertForSequenceClassification(config), arguments, train_dataset=dataset, callbacks=[callback]
    ...     )
    ...     _ = trainer.train()
    {...}
    >>> callback.scores_
    ForgettingScores(n_rows=4, n_runs=1)
    >>> callback.scores_.presentations
    array([2, 2, 2, 2])
    >>> kept = dataset.select(select_rows(callback.scores_, k=0.5))
    >>> len(kept)
    2
    """

    def __init__(self):
        self._scores = None
        self.recorded_epoch = 0

    @property
    def scores_(self):
        if self._scores is None:
            raise NotFittedError(
                f"This {type(self).__name__} has recorded nothing: give it to a Trainer, Trainer(..., callbacks=[callback]), and "
                "call trainer.train(). If training was resumed with restore_callback_states_from_checkpoint=True, transformers "
                f"has put a new callback in its place: take trainer.pop_callback({type(self).__name__})."
            )
        return self._scores

    @property
    def packed_scores(self):
        """The scores as text, None before training; what a checkpoint keeps."""
        if self._scores is None:
            return None
        stream = io.BytesIO()
        self._scores.save(stream)
        return base64.b64encode(stream.getvalue()).decode("ascii")

    @packed_scores.setter
    def packed_scores(self, packed):
        self._scores = None if packed is None else ForgettingScores.load(io.BytesIO(base64.b64decode(packed)))

    def state(self):
        """Return what transformers stores in a checkpoint and sets on a new callback."""
        return {"args": {}, "attributes": {"packed_scores": self.packed_scores, "recorded_epoch": self.recorded_epoch}}

    def on_train_begin(self, args, state, control, model=None, train_dataloader=None, **kwargs):
        n_rows = _count_rows(train_dataloader)
        _check_head(model)
        _check_labels(args, train_dataloader)
        self._scores = ForgettingScores(n_rows)
        self.recorded_epoch = 0
        if state.global_step > 0:
            self._resume(state, n_rows)
        # A checkpoint of an epoch's last step is saved before the epoch ends, and so before it is recorded.
        if _is_whole(state.epoch) and self.recorded_epoch < state.epoch:
            self._record(args, state, model, train_dataloader)

    def on_epoch_end(self, args, state, control, model=None, train_dataloader=None, **kwargs):
        if _is_whole(state.epoch):
            self._record(args, state, model, train_dataloader)

    def on_train_end(self, args, state, control, **kwargs):
        if not self.scores_.presentations.any():
            warnings.warn(
                f"Training ended at epoch {state.epoch:.3g}: no epoch was whole, so that nothing was recorded and all rows count "
                "as never learned. Train longer, usually for three epochs or more, without a max_steps below an epoch.",
                PruningWarning,
                stacklevel=2,
            )

    def _resume(self, state, n_rows):
        """Go on with the scores of a checkpoint, which transformers puts into the Trainer's state."""
        stored = state.stateful_callbacks.get(type(self).__name__)
        if stored is None:
            warnings.warn(
                "The checkpoint that training resumes from holds no forgetting scores, because it was saved by a Trainer "
                f"without {type(self).__name__}. Recording starts at epoch {state.epoch:.3g}; the epochs before are unknown.",
                PruningWarning,
                stacklevel=2,
            )
            # Where the next checkpoint puts the state of each of the Trainer's callbacks, it expects an entry to be.
            state.stateful_callbacks[type(self).__name__] = self.state()
            return
        if isinstance(stored, list):  # of several callbacks of this class, or of several checkpoints of theirs
            stored = stored[-1]
        self.packed_scores = stored["attributes"]["packed_scores"]
        self.recorded_epoch = stored["attributes"].get("recorded_epoch", 0)
        if len(self.scores_) != n_rows:
            raise ValueError(
                f"The checkpoint holds forgetting scores of {len(self.scores_)} rows, but train_dataset has {n_rows}. Resume "
                "with the dataset that was trained on, or start a new training."
            )

    def _record(self, args, state, model, train_dataloader):
        """Predict every row once and record the outcomes."""
        n_rows = len(train_dataloader.dataset)
        # As many rows for each process, so that all call the model equally often; those past the end are dropped.
        n_share = -(-n_rows // args.world_size)
        rows = (torch.arange(n_share) + args.process_index * n_share) % n_rows
        with _evaluation(model), _generators_kept():
            outcomes = [
                _predict(args, model, batch, len(numbers))
                for numbers, batch in _batches(args, train_dataloader, rows.split(args.per_device_eval_batch_size))
            ]
        labelled, correct, margin = gather(torch.cat(outcomes))[:n_rows].cpu().unbind(1)
        rows = labelled.nonzero().squeeze(1)
        self.scores_.update(rows, correct[rows].bool(), margin[rows])
        self.recorded_epoch = int(state.epoch)


def _is_whole(epoch):
    return epoch == int(epoch) and epoch > 0


def _batches(args, train_dataloader, rows):
    """Yield row numbers and collated batches, made as the Trainer makes those of training."""
    loader = DataLoader(
        train_dataloader.dataset,
        batch_sampler=[numbers.tolist() for numbers in rows],
        collate_fn=train_dataloader.collate_fn,
        num_workers=args.dataloader_num_workers,
    )
    yield from zip(rows, loader, strict=True)


def _predict(args, model, batch, n_rows):
    """Return whether each row of a batch has a label and is predicted correctly, and its margin, as three columns."""
    batch = send_to_device(batch, args.device)
    labels = _labels(args, batch)
    name = _label_names(args)[0]
    takes_labels = _takes(model.forward, name)
    output = model(**{key: values for key, values in batch.items() if takes_labels or key != name})
    if isinstance(output, Mapping):
        logits = output.get("logits")
    elif isinstance(output, torch.Tensor):
        logits = output
    else:
        # Models that return tuples begin with the loss where there are labels, as the Trainer expects.
        logits = output[1 if takes_labels else 0]
    if (
        not isinstance(logits, torch.Tensor)
        or logits.shape[:-1] != labels.shape
        or logits.shape[-1] < 2
        or len(labels) != n_rows
    ):
        raise ValueError(
            f"Forgetting events need class logits with one entry a label, for {n_rows} rows here; got labels of shape "
            f"{tuple(labels.shape)} and logits of shape {tuple(getattr(logits, 'shape', ()))} from {type(model).__name__}. "
            "Probable causes: a model for another task than classification, a head with one output, or a data collator that "
            "packs rows together."
        )
    labelled = labels != _NO_LABEL
    n_classes = logits.shape[-1]
    correct, margin = _outcome(logits.float().softmax(-1).reshape(-1, n_classes), labels.where(labelled, 0).reshape(-1))
    # One column a token, or a single one where each row has one label.
    labelled, correct, margin = (column.reshape(n_rows, -1) for column in (labelled, correct, margin))
    n_labels = labelled.sum(1)
    mean_margin = margin.where(labelled, 0).sum(1) / n_labels.clamp(min=1)
    return torch.stack([n_labels > 0, (correct | ~labelled).all(1), mean_margin], 1)


def _takes(function, name):
    """Tell whether a function has a parameter of this name, or takes any."""
    parameters = inspect.signature(function).parameters
    return name in parameters or any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())


def _label_names(args):
    return args.label_names or ["labels"]


def _labels(args, batch):
    """Return the labels of a batch, or say what is wrong with them."""
    names = _label_names(args)
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


def _count_rows(train_dataloader):
    dataset = train_dataloader.dataset
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise TypeError(
            f"Forgetting events are counted for rows that have numbers, but train_dataset, a {type(dataset).__name__}, has no "
            "length or no index. Load it without streaming, or make a datasets.Dataset of it with Dataset.from_generator."
        )
    return len(dataset)


def _check_head(model):
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


def _check_labels(args, train_dataloader):
    """Look at the first row before hours of training."""
    with _generators_kept():
        _, batch = next(_batches(args, train_dataloader, [torch.tensor([0])]))
    _labels(args, batch)


@contextmanager
def _evaluation(model):
    """Switch to evaluation mode without gradients, and each part of the model back to the mode it had."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in training.items():
            module.training = mode


@contextmanager
def _generators_kept():
    """Leave the global random state as it was, whatever collators and datasets draw."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
