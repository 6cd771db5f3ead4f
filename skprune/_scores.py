"""What is known of each row after training: forgetting events, margins, first learned."""

import copy
import os
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, BinaryIO, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from skprune._tally import Tally

# The arrays of a sum of runs.
COLUMNS = ("events", "presentations", "margin_total", "runs_shown", "first_learned_total", "runs_learned", "runs_right")


class ForgettingScores:
    """Forgetting events, mean margins and first learned epochs of the rows of a training set.

    A new object describes one run, that is, one training of a net. :meth:`update` records its predictions batch by
    batch. The sum of two objects describes the runs of both. One run takes 20 bytes per row, whatever the number of
    epochs, and a sum of runs takes 48. Trust and suspects take 5 more. Arrays are copies, so that changing them does not
    change the scores.

    Parameters
    ----------
    n_rows : int
        Number of rows of the training set.
    device : str or torch.device, default="cpu"
        Device of the state, to which batches are moved. ``"mps"`` lacks the required dtypes and gives way to the CPU.

    Attributes
    ----------
    n_rows : int
        Number of rows.
    n_runs : int
        Number of runs.
    events : ndarray of shape (n_rows,), int64
        How often a row was predicted correctly at one presentation and wrongly at the next, as in [1]_. Summed over runs.
    margins : ndarray of shape (n_rows,), float64
        Probability of the true class minus the largest probability of another class, averaged over the presentations
        of a run and then over runs, in [-1, 1]; nan for a row that was not presented.
    first_learned : ndarray of shape (n_rows,), float64
        Presentation at which a row was first predicted correctly, counted from 1 and averaged over the runs in which it
        was; nan if it never was. This is the epoch, unless an epoch left the row out, as one of a `Trainer` may do.
    never_learned : ndarray of shape (n_rows,), bool
        Whether a row was not predicted correctly at any presentation of any run.
    presentations : ndarray of shape (n_rows,), int64
        Number of recorded predictions of a row. Summed over runs.
    trust : ndarray of shape (n_rows,), float64
        Trust in the label of a row, in [-1, 1]. See Notes.
    suspects : ndarray of shape (n_rows,), bool
        Whether the label of a row is probably wrong. See Notes.
    attainable : float
        Accuracy that simple models reach on rows that they have not seen, nan if unknown.

    See Also
    --------
    ForgettingRecorder : Records these scores while a skorch net trains.
    select_rows : Selects the rows to keep by these scores.

    Notes
    -----
    The scores that a :class:`ForgettingSelector` gives to a `strategy` know what models say that have not seen the row. Trust is
    then the weighted mean of the margins of the net and of these models, and suspects are the least trusted rows, as many as a
    test on held-out rows has found. The user guide describes both.

    Other scores, and sums, know the net alone. Trust is then the margin. A row is a suspect if its margin is below
    ``-mean margin``: the net disagrees with the label as strongly as it agrees with the label of the average row. If the mean is
    not above 0, the net knows too little, and no row is a suspect. Rows that were not presented are no suspects and do not count
    in the mean.

    References
    ----------
    .. [1] M. Toneva et al., "An Empirical Study of Example Forgetting during Deep Neural Network
       Learning", ICLR 2019. https://arxiv.org/abs/1812.05159

    Examples
    --------
    >>> import numpy as np
    >>> from skprune import ForgettingScores
    >>> scores = ForgettingScores(3)
    >>> rows = np.arange(3)
    >>> for correct in ([1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 1, 0]):
    ...     scores.update(rows, np.array(correct, dtype=bool), margin=np.zeros(3))
    >>> scores.events
    array([2, 0, 0])
    >>> scores.first_learned
    array([ 1.,  2., nan])
    >>> scores.never_learned
    array([False, False,  True])
    """

    def __init__(self, n_rows: int, *, device: str | torch.device = "cpu") -> None:
        self.n_rows = n_rows
        self.n_runs = 1
        device = torch.device(device)
        self._tally: Any = Tally(n_rows, "cpu" if device.type == "mps" else device)
        # Set instead of the tally if the object describes several runs, or scores made elsewhere. Never changed.
        self._columns: dict[str, NDArray[Any]] = {}
        # What models say that have not seen the rows; there once a selector has asked them.
        self._trust: NDArray[np.float32] | None = None
        self._suspects: NDArray[np.bool_] | None = None
        self.attainable = np.nan

    def update(self, rows: ArrayLike, correct: ArrayLike, margin: ArrayLike) -> None:
        """Record one batch of presentations.

        Parameters
        ----------
        rows : array-like of shape (n_batch,), int
            Row numbers, each at most once per batch.
        correct : array-like of shape (n_batch,), bool
            Whether each row was predicted correctly.
        margin : array-like of shape (n_batch,), float
            Probability of the true class minus the largest probability of another class.

        Raises
        ------
        ValueError
            If the three arguments differ in length; if a row number is not an int, is repeated or does not exist; or if
            the object describes several runs. The scores are then unchanged.
        """
        if self._tally is None:
            raise ValueError(
                "These scores are a sum of runs or were made from an array, so they can't record more presentations. "
                "Record another run in a new ForgettingScores and add it."
            )
        self._tally.update(rows, correct, margin)

    @property
    def events(self) -> NDArray[np.int64]:
        return self._sums()["events"].copy()

    @property
    def presentations(self) -> NDArray[np.int64]:
        return self._sums()["presentations"].copy()

    @property
    def margins(self) -> NDArray[np.float64]:
        sums = self._sums()
        count = sums["runs_shown"]
        return np.divide(sums["margin_total"], count, out=np.full(len(self), np.nan), where=count > 0)

    @property
    def first_learned(self) -> NDArray[np.float64]:
        sums = self._sums()
        total, count = sums["first_learned_total"], sums["runs_learned"]
        return np.divide(total, count, out=np.full(len(self), np.nan), where=count > 0)

    @property
    def never_learned(self) -> NDArray[np.bool_]:
        return self._sums()["runs_learned"] == 0

    @property
    def trust(self) -> NDArray[np.float64]:
        return self.margins if self._trust is None else self._trust.astype(np.float64)

    @property
    def suspects(self) -> NDArray[np.bool_]:
        if self._suspects is not None:
            return self._suspects.copy()
        margins = self.margins
        known = margins[~np.isnan(margins)]
        mean = known.mean() if len(known) else 0.0
        return margins < -mean if mean > 0 else np.zeros(len(self), dtype=bool)

    def with_held_out(self, trust: NDArray[Any], suspects: NDArray[np.bool_], attainable: float) -> "ForgettingScores":
        """Return the same scores with what models say that have not seen the rows.

        Parameters
        ----------
        trust : ndarray of shape (n_rows,), float
            Trust in the labels.
        suspects : ndarray of shape (n_rows,), bool
            Which labels are probably wrong.
        attainable : float
            Accuracy of the models.

        Returns
        -------
        scores : ForgettingScores
            The new scores, which share the counts of these.
        """
        scores = copy.copy(self)
        scores._trust, scores._suspects, scores.attainable = trust.astype(np.float32), suspects, attainable
        return scores

    def last_accuracy(self) -> float:
        """Return the share of rows that were predicted correctly at their last presentation, averaged over runs.

        Returns
        -------
        accuracy : float
            Only rows that were presented in every run count. nan if unknown, as for scores made elsewhere.
        """
        sums = self._sums()
        right = sums["runs_right"][sums["runs_shown"] == self.n_runs]
        return float(right.mean() / self.n_runs) if len(right) else np.nan

    def take(self, rows: Sequence[int] | NDArray[Any]) -> "ForgettingScores":
        """Return the scores of some rows, renumbered in the given order.

        Parameters
        ----------
        rows : array-like of shape (n_taken,), int or bool
            Row numbers, or a mask.

        Returns
        -------
        scores : ForgettingScores
            These can't record more presentations.
        """
        taken = self._of_sums({name: column[rows] for name, column in self._sums().items()}, self.n_runs)
        if self._trust is not None and self._suspects is not None:
            taken = taken.with_held_out(self._trust[rows], self._suspects[rows], self.attainable)
        return taken

    def cpu(self) -> Self:
        """Move the scores to the CPU and return them."""
        if self._tally is not None:
            self._tally.cpu()
        return self

    def __add__(self, other: "ForgettingScores") -> "ForgettingScores":
        if not isinstance(other, ForgettingScores):
            return NotImplemented
        if self.n_rows != other.n_rows:
            raise ValueError(
                f"Only scores of the same rows can be added, got scores of {self.n_rows} and of {other.n_rows} rows."
            )
        sums = {name: values + other._sums()[name] for name, values in self._sums().items()}
        return self._of_sums(sums, self.n_runs + other.n_runs)

    def __len__(self) -> int:
        return self.n_rows

    def __repr__(self) -> str:
        return f"ForgettingScores(n_rows={self.n_rows}, n_runs={self.n_runs})"

    def save(self, file: str | os.PathLike[str] | BinaryIO) -> None:
        """Write the scores to a compressed ``.npz`` archive that can be read without pickle.

        Parameters
        ----------
        file : str, path-like or binary stream
            No extension is added to the name.
        """
        arrays: dict[str, Any] = {"n_runs": self.n_runs, **(self._columns or self._tally.arrays())}
        if self._trust is not None:
            arrays |= {"trust": self._trust, "suspects": self._suspects, "attainable": self.attainable}
        with nullcontext(file) if hasattr(file, "write") else open(file, "wb") as stream:
            np.savez_compressed(stream, **arrays)

    @classmethod
    def load(cls, file: str | os.PathLike[str] | BinaryIO) -> Self:
        """Read scores that were written by :meth:`save`.

        Parameters
        ----------
        file : str, path-like or binary stream
            What :meth:`save` has written.

        Returns
        -------
        scores : ForgettingScores
            The scores of a single run can record more presentations.

        Raises
        ------
        ValueError
            If the file contains anything else. Nothing is unpickled.
        """
        with nullcontext(file) if hasattr(file, "read") else open(file, "rb") as stream:
            try:
                archive = np.load(stream, allow_pickle=False)
                if archive.zip.testzip() is not None:  # numpy does not see damage that makes an array shorter
                    raise ValueError("a checksum is wrong")
                return cls._of_arrays(dict(archive))
            except Exception as error:  # numpy, zipfile and its decompressors raise many kinds
                raise ValueError(
                    f"{file} holds no forgetting scores: {error}. Expected a file written by ForgettingScores.save. "
                    "The file may be damaged, or written by another program."
                ) from error

    @classmethod
    def _of_arrays(cls, arrays):
        held_out = [arrays.pop(name) for name in ("trust", "suspects", "attainable") if name in arrays]
        if set(arrays) not in ({"n_runs", *Tally.parts}, {"n_runs", *COLUMNS}):
            raise ValueError(f"it has the arrays {sorted(arrays)}")
        n_runs, shapes = int(arrays.pop("n_runs")), {array.shape for array in arrays.values()}
        dtypes = {str(array.dtype) for array in arrays.values()}
        if n_runs < 1 or list(map(len, shapes)) != [1] or not dtypes <= {"int32", "int64", "float32", "float64"}:
            raise ValueError(f"it has {n_runs} runs, and arrays of shapes {shapes} and dtypes {dtypes}")
        scores = cls._of_sums(arrays, n_runs)
        if set(arrays) == set(Tally.parts):
            scores = cls(len(scores))
            for name, array in arrays.items():
                getattr(scores._tally, name).copy_(torch.from_numpy(array))
        if held_out:
            forms = [(part.dtype.name, part.shape) for part in held_out]
            if forms != [("float32", (len(scores),)), ("bool", (len(scores),)), ("float64", ())]:
                raise ValueError(f"its held-out results have the dtypes and shapes {forms}")
            scores = scores.with_held_out(*held_out[:2], float(held_out[2]))
        return scores

    @classmethod
    def _of_sums(cls, columns, n_runs):
        scores = cls(0)
        scores.n_rows, scores.n_runs = len(next(iter(columns.values()))), n_runs
        scores._tally, scores._columns = None, columns
        return scores

    def _sums(self):
        """Return the arrays named :data:`COLUMNS`, which can be added to those of other runs."""
        return self._columns or self._tally.sums()


ScoresLike = ForgettingScores | ArrayLike


def as_scores(scores: ScoresLike) -> ForgettingScores:
    """Return `scores`, which may be an array with larger numbers for harder rows, as :class:`ForgettingScores`.

    The margins and first learned epochs of an array are unknown. Raise a ValueError if an array is not one-dimensional, is
    not numeric, or has nan or inf.
    """
    if isinstance(scores, ForgettingScores):
        return scores
    events = np.array(scores)  # a copy, because the scores are stored
    if events.ndim != 1 or events.dtype.kind not in "biuf":
        raise ValueError(
            "Forgetting scores must be a ForgettingScores or a one-dimensional array with one number per row, got "
            f"{type(scores).__name__} of shape {events.shape} and dtype {events.dtype}."
        )
    if not np.isfinite(events).all():
        raise ValueError(
            f"Forgetting scores must be finite, got {np.sum(~np.isfinite(events))} nan or inf. "
            "Replace them by numbers, or leave these rows out of X and y."
        )
    events = events.astype(np.float64 if events.dtype.kind == "f" else np.int64)
    unknown = np.full(len(events), np.nan)
    none = np.zeros(len(events), dtype=np.int64)
    columns = dict(zip(COLUMNS, (events, none, none, none, unknown, none + 1, none), strict=True))
    return ForgettingScores._of_sums(columns, n_runs=1)
