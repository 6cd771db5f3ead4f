"""The callback that predicts all rows at the end of each epoch of a transformers `Trainer`."""

import inspect
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather, send_to_device
from torch.utils.data import DataLoader

from skprune.huggingface._outcomes import labels_of, outcomes_of
from skprune.huggingface._recording import Recording, generators_kept
from skprune.huggingface._rows import dataset_and_collator


class ForgettingTrainerCallback(Recording):
    """Record the forgetting events of every training row while a transformers `Trainer` trains.

    At the end of each epoch the model predicts all rows in evaluation mode and in the order of the dataset, with the
    Trainer's own data collator, evaluation batch size and mixed precision. Forgetting events are those of [1]_ in these
    predictions. The training stays as it is without the callback, unless a dataset or a collator draws from a random
    generator of its own, because it may advance. Global random generators are put back, and no other callback is
    called. If there are several processes, each predicts its share of the rows, and all end with the same scores.

    In token classification a row is predicted correctly if all of its labeled tokens are, and its margin is the mean
    over these tokens. Tokens and rows with the label -100 are left out; a row without any label is never presented.
    If ``max_steps`` or another callback stops an epoch early, that epoch is not recorded.

    Attributes
    ----------
    scores_ : ForgettingScores
        What has been recorded since the training began. It is saved in checkpoints, and training resumes from it.

    Raises
    ------
    ValueError
        While training: if the model is no classifier (a regression, multi-label or causal language model head), the
        batches have no labels, labels are not classes of the model, logits are nan or infinite, the data collator
        changes the order of rows, or a checkpoint holds the scores of another number of rows.
    TypeError
        When training begins: if the training dataset has no length or is not indexed.

    Warns
    -----
    PruningWarning
        If training resumes from a checkpoint that holds no scores, or ends with rows that were presented never or only once.

    See Also
    --------
    skprune.ForgettingSelector : Prunes by the scores: ``fit(X, y, forgetting_scores=callback.scores_)``.
    skprune.ForgettingRecorder : The same for a skorch net.

    Notes
    -----
    Recording costs a forward pass over all rows per epoch. The scores make the ``trainer_state.json`` of a checkpoint
    larger, in proportion to the rows. With ``TrainingArguments(restore_callback_states_from_checkpoint=True)`` transformers
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

    kept = ("packed_scores", "recorded_epoch")
    recorder = "ForgettingTrainerCallback"
    nothing_recorded = (
        "This callback has recorded nothing: pass it to a Trainer, Trainer(..., callbacks=[callback]), and call "
        "trainer.train(). If training was resumed with restore_callback_states_from_checkpoint=True, transformers has put a "
        "new callback in its place: take trainer.pop_callback(ForgettingTrainerCallback)."
    )

    causes = "a max_steps below an epoch"
    remedy = "Train for three epochs or more."

    def _begin(self, n_rows):
        super()._begin(n_rows)
        self.recorded_epoch = 0

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, train_dataloader: Any = None, **kwargs: Any
    ) -> None:
        super().on_train_begin(args, state, control, model=model, train_dataloader=train_dataloader, **kwargs)
        # A checkpoint of an epoch's last step is saved before the epoch ends, and so before it is recorded.
        if _is_whole(state.epoch) and self.recorded_epoch < state.epoch:
            self._record(args, state, model, train_dataloader)

    def on_epoch_end(
        self, args: Any, state: Any, control: Any, model: Any = None, train_dataloader: Any = None, **kwargs: Any
    ) -> None:
        if _is_whole(state.epoch):
            self._record(args, state, model, train_dataloader)

    def _record(self, args, state, model, train_dataloader):
        """Predict every row once and record the outcomes."""
        n_rows = len(train_dataloader.dataset)
        # As many rows for each process, so that all call the model equally often; those past the end are dropped.
        n_share = -(-n_rows // args.world_size)
        rows = (torch.arange(n_share) + args.process_index * n_share) % n_rows
        with _evaluation(model), generators_kept():
            batches = rows.split(args.per_device_eval_batch_size)
            loader = _loader(args, train_dataloader, batches)
            outcomes = [_predict(args, model, *pair) for pair in zip(batches, loader, strict=True)]
        self._add(np.arange(n_rows), gather(torch.cat(outcomes))[:n_rows].cpu().numpy())
        self.recorded_epoch = int(state.epoch)


def _is_whole(epoch):
    return epoch == int(epoch) and epoch > 0


def _loader(args, train_dataloader, batches):
    """Return a loader of some rows, whose batches are made as the Trainer makes those of training."""
    dataset, collate = dataset_and_collator(train_dataloader)
    batch_sampler = [rows.tolist() for rows in batches]
    return DataLoader(dataset, batch_sampler=batch_sampler, collate_fn=collate, num_workers=args.dataloader_num_workers)


def _predict(args, model, rows, batch):
    """Return the outcomes of some rows."""
    batch = send_to_device(batch, args.device)
    labels = labels_of(args, batch)
    parameters = inspect.signature(model.forward).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    # Some models take no labels.
    inputs = {key: values for key, values in batch.items() if takes_any or key in parameters or values is not labels}
    return outcomes_of(model(**inputs), labels, len(rows), model)


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
