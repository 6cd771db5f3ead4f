"""The Trainer that records forgetting events from the batches that it trains on."""

import base64
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather, pad_across_processes
from torch.utils.data import DataLoader
from transformers import Trainer

from skprune._scores import ForgettingScores
from skprune.huggingface._outcomes import labels_of, outcomes_of
from skprune.huggingface._recording import Recording
from skprune.huggingface._rows import number_rows, split_rows

# Outcomes wait until there are those of this many updates, so that updates share the cost of counting.
_WAITING = 64


class ForgettingTrainerMixin(Trainer):
    """Record the forgetting events of every training row from the predictions that a `Trainer` trains on.

    Put it before the Trainer that it extends: ``class MyTrainer(ForgettingTrainerMixin, Trainer)``. It compares what
    the model predicts for a batch, in training mode and before the update, with the labels, as in [1]_ and as
    :class:`~skprune.ForgettingRecorder` does with ``record="batch"`` for a skorch net. It adds no forward pass. The
    training is the same, bit for bit, as without it, unless a dataset or a collator draws from a random generator of
    its own.

    A row counts once per epoch. If it comes more often, the first time counts. If an epoch leaves a row out, as with
    ``dataloader_drop_last=True``, the row is not presented in that epoch. In token classification a row is predicted
    correctly if all of its labeled tokens are, and its margin is the mean over these tokens. Tokens and rows with the
    label -100 are left out; a row without any label is never presented. If there are several processes, each records
    the rows that it trains on, and all end with the same scores.

    Attributes
    ----------
    forgetting_scores_ : ForgettingScores
        What has been recorded since the training began. It is saved in checkpoints, and training resumes from it.

    Raises
    ------
    ValueError
        When training begins: if the model is no classifier (a regression, multi-label or causal language model head),
        the batches have no labels, the data collator changes the order of rows, or a checkpoint holds the scores of
        another number of rows. While training: if the model is not called, its logits do not fit the labels or are nan
        or infinite, or labels are not classes of the model.
    TypeError
        When training begins: if the training dataset has no length or is not indexed, or ``get_train_dataloader``
        returns no torch DataLoader.

    Warns
    -----
    PruningWarning
        If training resumes from a checkpoint that holds no scores, or ends with rows that were presented never or only once.
        Nothing is known of the former: a selection keeps the same share of them as of all rows, drawn at random.

    See Also
    --------
    ForgettingTrainerCallback : Predicts all rows in evaluation mode at the end of each epoch, in a forward pass of its own.
    skprune.ForgettingSelector : Prunes by the scores: ``fit(X, y, forgetting_scores=trainer.forgetting_scores_)``.

    Notes
    -----
    The logits are those of the first call of the model with gradients in a training step. Your own ``compute_loss`` may
    do anything with outputs and labels, but it has to call the model that it is given, with the rows of the batch in
    their order. A batch holds row numbers under the name "skprune_rows" until ``training_step`` takes them out. If a
    class before the mixin defines ``get_train_dataloader`` or ``training_step``, that method has to call the one of
    ``super()``. The scores make the ``trainer_state.json`` of a checkpoint larger, in proportion to the rows.

    Before training, up to 8 rows are read and collated twice, to check their labels and their order. Global random
    generators are put back afterwards. If a dataset or a collator draws from a generator of its own, that generator
    advances, and training draws other numbers than without the mixin.

    On several GPUs, start one process for each, by ``torchrun`` or ``accelerate launch``. ``DataParallel``, which a
    Trainer uses otherwise, is not tested. If a Trainer with ``dispatch_batches=True`` resumes within an epoch in several
    processes, it shuffles the rest of the epoch in another way, with the mixin or without it.

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
    >>> from skprune.huggingface import ForgettingTrainerMixin
    >>> class MyTrainer(ForgettingTrainerMixin, Trainer):
    ...     pass
    >>> dataset = Dataset.from_dict({"input_ids": [[1, 2], [3, 4], [1, 4], [3, 2]], "labels": [0, 1, 0, 1]})
    >>> config = BertConfig(
    ...     vocab_size=5, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     arguments = TrainingArguments(
    ...         folder, num_train_epochs=2, report_to="none", disable_tqdm=True, save_strategy="no",
    ...         logging_strategy="no", dataloader_pin_memory=False, use_cpu=True,
    ...     )
    ...     trainer = MyTrainer(BertForSequenceClassification(config), arguments, train_dataset=dataset)
    ...     _ = trainer.train()
    {...}
    >>> trainer.forgetting_scores_
    ForgettingScores(n_rows=4, n_runs=1)
    >>> trainer.forgetting_scores_.presentations
    array([2, 2, 2, 2])
    >>> kept = dataset.select(select_rows(trainer.forgetting_scores_, k=0.5))
    >>> len(kept)
    2
    """

    @property
    def forgetting_scores_(self) -> ForgettingScores:
        return self._recording().scores_

    def get_train_dataloader(self) -> DataLoader:
        loader = super().get_train_dataloader()
        if not self.is_in_train:  # someone wants to look at the batches as they are
            return loader
        self._recording()
        return number_rows(loader)

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        rows, inputs = split_rows(inputs)
        if rows is None:
            raise ValueError(
                f"A batch has no row numbers, so nothing can be recorded: {type(self).__name__} makes its training batches "
                "without ForgettingTrainerMixin.get_train_dataloader. Call super().get_train_dataloader(), or put that "
                "class behind the mixin: class MyTrainer(ForgettingTrainerMixin, MyOtherTrainer)."
            )
        with self._recording().listening(model, rows, labels_of(self.args, inputs)):
            return super().training_step(model, inputs, *args, **kwargs)

    def _recording(self):
        """Return the callback that keeps the scores, of which transformers makes a new one when it resumes."""
        found = [callback for callback in self.callback_handler.callbacks if isinstance(callback, BatchRecording)]
        if not found:
            found = [BatchRecording()]
            self.add_callback(found[0])
        return found[0]


class ForgettingTrainer(ForgettingTrainerMixin, Trainer):
    """transformers' `Trainer` with :class:`ForgettingTrainerMixin`: it records forgetting events while it trains.

    Parameters are those of `transformers.Trainer`, attributes and errors those of the mixin.

    See Also
    --------
    ForgettingTrainerMixin : The same for a Trainer of your own.

    Examples
    --------
    >>> import tempfile
    >>> from datasets import Dataset
    >>> from transformers import BertConfig, BertForSequenceClassification, TrainingArguments
    >>> from skprune.huggingface import ForgettingTrainer
    >>> dataset = Dataset.from_dict({"input_ids": [[1, 2], [3, 4]], "labels": [0, 1]})
    >>> config = BertConfig(
    ...     vocab_size=5, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     arguments = TrainingArguments(
    ...         folder, num_train_epochs=2, report_to="none", disable_tqdm=True, save_strategy="no",
    ...         logging_strategy="no", dataloader_pin_memory=False, use_cpu=True,
    ...     )
    ...     trainer = ForgettingTrainer(BertForSequenceClassification(config), arguments, train_dataset=dataset)
    ...     _ = trainer.train()
    {...}
    >>> trainer.forgetting_scores_.presentations
    array([2, 2])
    """


class BatchRecording(Recording):
    """The scores of a training whose steps tell what the model predicted in them."""

    kept = ("packed_scores", "packed_presented")
    recorder = "ForgettingTrainerMixin"
    nothing_recorded = "This Trainer has recorded nothing yet: call trainer.train()."
    causes = "a sampler that draws with replacement, dataloader_drop_last=True, a max_steps below an epoch"
    remedy = "Train longer, or use ForgettingTrainerCallback, which predicts all rows in each epoch."

    def _begin(self, n_rows):
        super()._begin(n_rows)
        self._presented = np.zeros(n_rows or 0, dtype=bool)  # in this epoch
        self._step = []  # outcomes of the batches of an update
        self._waiting = []  # outcomes of updates, of all processes
        self._goes_on = False

    @property
    def scores_(self):
        scores = super().scores_
        self._count()
        return scores

    @property
    def packed_presented(self):
        """Which rows were presented in this epoch, as text."""
        return base64.b64encode(np.packbits(self._presented).tobytes()).decode("ascii")

    @packed_presented.setter
    def packed_presented(self, packed):
        bits = np.frombuffer(base64.b64decode(packed), dtype=np.uint8)
        self._presented = np.unpackbits(bits, count=0 if self._scores is None else len(self._scores)).astype(bool)

    @contextmanager
    def listening(self, model, rows, labels):
        """Keep what the model predicts for these rows while it is trained on them."""
        outcomes: list[torch.Tensor] = []

        def listen(module, inputs, output):
            # The first time, since the forward pass may be computed again for the gradients.
            if torch.is_grad_enabled() and not outcomes:
                outcomes.append(outcomes_of(output, labels, len(rows), model))

        # On the outermost module, outside of what is compiled, and where outputs of several devices are together.
        handle = model.register_forward_hook(listen)
        try:
            yield
        finally:
            handle.remove()
        if not outcomes:
            raise ValueError(
                "The training step has not called the model, so there is no prediction to record. Let compute_loss call the "
                "model that it is given, model(**inputs), rather than a part of it or self.model."
            )
        self._step.append((rows.to(outcomes[0].device), outcomes[0]))

    def on_train_begin(self, args, state, control, model=None, train_dataloader=None, **kwargs):
        super().on_train_begin(args, state, control, model=model, train_dataloader=train_dataloader, **kwargs)
        self._goes_on = state.epoch != int(state.epoch)

    def on_epoch_begin(self, args, state, control, **kwargs):
        if not self._goes_on:  # else from a checkpoint, with the rows that were left in this epoch
            self._presented[:] = False
        self._goes_on = False

    def on_step_end(self, args, state, control, **kwargs):
        # Here all processes are at the same place, and next may be a checkpoint, which only one of them writes.
        self._gather()
        if len(self._waiting) >= _WAITING:
            self._count()

    def on_epoch_end(self, args, state, control, **kwargs):
        self._gather()  # of an epoch that is stopped between updates
        self._count()

    def _gather(self):
        """Bring the outcomes of an update's batches together, from all processes."""
        if self._step:
            rows, outcomes = (torch.cat(parts) for parts in zip(*self._step, strict=True))
            self._step.clear()
            # Processes may have batches of different sizes; -1 is no row.
            self._waiting.append(gather(pad_across_processes((rows, outcomes), pad_index=-1)))

    def _count(self):
        """Record what waits, for each row the first outcome of this epoch."""
        if not self._waiting:
            return
        rows, outcomes = (torch.cat(parts).cpu().numpy() for parts in zip(*self._waiting, strict=True))
        self._waiting.clear()
        rows, first = np.unique(rows, return_index=True)
        new = (rows >= 0) & ~self._presented[rows]
        self._add(rows[new], outcomes[first[new]])
        self._presented[rows[new]] = True
