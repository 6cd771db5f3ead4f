"""Scores that begin with a training, are kept in its checkpoints and go on when it is resumed."""

import base64
import io
import random
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import NotFittedError
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from skprune._scores import ForgettingScores
from skprune._warnings import warn
from skprune.huggingface._outcomes import check_head, check_labels, count_rows
from skprune.huggingface._rows import dataset_and_collator


class Recording(TrainerCallback, ExportableState):
    """The scores of a training, of which subclasses say when rows are presented.

    A subclass names in `kept` the attributes that belong in a checkpoint, in `recorder` the class that users know, and says
    in `nothing_recorded` why there may be no scores, in `causes` why rows may not be presented, and in `remedy` what to do.
    """

    kept: tuple[str, ...]
    recorder: str
    nothing_recorded: str
    causes: str
    remedy: str

    def __init__(self) -> None:
        self._begin(None)

    def _begin(self, n_rows):
        self._scores: ForgettingScores | None = None if n_rows is None else ForgettingScores(n_rows)

    @property
    def scores_(self) -> ForgettingScores:
        if self._scores is None:
            raise NotFittedError(self.nothing_recorded)
        return self._scores

    @property
    def packed_scores(self) -> str | None:
        """The scores as text, None before training; what a checkpoint keeps."""
        if self._scores is None:
            return None
        stream = io.BytesIO()
        self.scores_.save(stream)
        return base64.b64encode(stream.getvalue()).decode("ascii")

    @packed_scores.setter
    def packed_scores(self, packed: str | None) -> None:
        self._scores = None if packed is None else ForgettingScores.load(io.BytesIO(base64.b64decode(packed)))

    def state(self) -> dict[str, Any]:
        """Return what transformers stores in a checkpoint and sets on a new callback."""
        return {"args": {}, "attributes": {name: getattr(self, name) for name in self.kept}}

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, train_dataloader: Any = None, **kwargs: Any
    ) -> None:
        n_rows = count_rows(train_dataloader.dataset)
        check_head(model)
        dataset, collate = dataset_and_collator(train_dataloader)
        with generators_kept():
            check_labels(args, dataset, collate, model)
        self._begin(n_rows)
        if state.global_step > 0:
            self._resume(state, n_rows)

    def _resume(self, state, n_rows):
        """Go on with the scores of a checkpoint, which transformers puts into the Trainer's state."""
        stored = state.stateful_callbacks.get(type(self).__name__)
        if stored is None:
            warn(
                "The checkpoint that training resumes from holds no forgetting scores, because it was saved by a Trainer "
                f"without {self.recorder}. Recording starts at epoch {state.epoch:.3g}; the epochs before are unknown."
            )
            # Where the next checkpoint puts the state of each of the Trainer's callbacks, it expects an entry to be.
            state.stateful_callbacks[type(self).__name__] = self.state()
            return
        if isinstance(stored, list):  # of several callbacks of this class, or of several checkpoints of theirs
            stored = stored[-1]
        for name, value in stored["attributes"].items():
            setattr(self, name, value)
        if len(self.scores_) != n_rows:
            raise ValueError(
                f"The checkpoint holds forgetting scores of {len(self.scores_)} rows, but train_dataset has {n_rows}. Resume "
                "with the dataset that was trained on, or start a new training."
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        presentations = self.scores_.presentations
        n_rows, n_never, n_once = len(presentations), np.sum(presentations == 0), np.sum(presentations == 1)
        if n_never:
            warn(
                f"{n_never} of {n_rows} rows were never presented in training, which ended at epoch {state.epoch:.3g}, so "
                "nothing is known of them. A selection keeps the same share of them as of all rows, drawn at random. Probable "
                f"causes: {self.causes}, or rows without a label. {self.remedy}"
            )
        if n_once:
            warn(
                f"{n_once} of {n_rows} rows were presented only once in training, which ended at epoch {state.epoch:.3g}, so no "
                "forgetting event of theirs can have been counted: that takes two presentations, and usually three epochs or "
                "more. Their margins are known, so k='auto' and strategy='coverage' can use them. strategy='most_forgotten' and "
                "'least_forgotten' can't."
            )

    def _add(self, rows, outcomes):
        """Record a presentation of some rows, each given once, but for those without a label."""
        labelled, correct, margin = outcomes.T
        if np.isinf(margin).any():
            raise ValueError(
                f"Labels are not class numbers of the model for {np.isinf(margin).sum()} of {len(rows)} rows: expected numbers "
                "from 0 to the number of the model's classes less one, or -100 where there is no label. Probable causes: "
                "num_labels is too small, classes are counted from 1, or another number than -100 stands for no label."
            )
        if not np.isfinite(margin).all():
            raise ValueError(
                f"The model's logits are nan or infinite for {np.sum(~np.isfinite(margin))} of {len(rows)} rows, so its "
                "predictions mean nothing: training has diverged. Usual causes: a learning rate that is too high, or "
                "fp16=True where bf16=True is needed."
            )
        labelled = labelled > 0
        self.scores_.update(rows[labelled], correct[labelled] > 0, margin[labelled])


@contextmanager
def generators_kept():
    """Leave the global random state as it was, whatever collators and datasets draw."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
