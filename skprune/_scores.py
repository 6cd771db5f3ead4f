"""What is known of each row after training: forgetting events, margins, first learned."""

import copy
import os
from collections.abc import Sequence
from contextlib import nullcontext
from operator import mul
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from skprune._tally import Tally

# The arrays of a sum of runs.
COLUMNS = ("events", "presentations", "margin_total", "first_learned_total", "runs_learned", "runs_right")


class HeldOut(NamedTuple):
    """Results of models on held-out rows, averaged over runs.

    Parameters
    ----------
    margins : ndarray of shape (n_rows,), float32
        Predicted indicator of the true class minus the largest of another class, in [-1, 1].
    ratings : ndarray of shape (n_shares, n_rules), float64
        Held-out accuracy with the rows that each rule keeps, for each share.
    attainable : float
        Accuracy of nearest neighbors, or of the regressions if that is higher.
    net_weight : float
        Weight of the net's margins relative to these, in [0, 1].
    """

    margins: np.ndarray
    ratings: np.ndarray
    attainable: float
    net_weight: float

    @classmethod
    def load(cls, arrays, n_rows):
        """Return the results that arrays by name hold; raise a ValueError if they have another form."""
        forms = [(name, array.dtype.name, array.ndim) for name, array in arrays.items()]
        expected = zip(cls._fields, ("float32", *3 * ["float64"]), (1, 2, 0, 0), strict=True)
        if (
            forms != list(expected)
            or len(arrays["margins"]) != n_rows
            or not all(np.isfinite(array).all() for array in arrays.values())
        ):
            raise ValueError("its held-out results are missing, of another form than expected, or nan or infinite")
        return cls._make(array if array.ndim else float(array) for array in arrays.values())


class ForgettingScores:
    """Forgetting events, mean margins and first learned epochs of the rows of a training set.

    A new object describes one run, that is, one training of a net. :meth:`update` records its predictions batch by
    batch. The sum of two objects describes the runs of both. One run takes 20 bytes per row, whatever the number of
    epochs, and a sum of runs takes 48. Held-out margins take 4 more. Arrays are copies, so that changing them does not
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
    held_out_margins : ndarray of shape (n_rows,), float64
        Margins from models that have not seen the row: the mean over two ridge regressions, one linear and one on random
        Fourier features, clipped to [-1, 1]. Computed by :class:`ForgettingSelector` unless it uses a fixed rule, else nan.
    trust : ndarray of shape (n_rows,), float64
        Trust in the label of a row, in [-1, 1]. See Notes.
    mean_trust : float
        Mean of the known trust, nan if none is known. If these scores were taken from others, of all rows of those.
    suspects : ndarray of shape (n_rows,), bool
        Whether the label of a row is probably wrong. See Notes.
    ratings : ndarray of shape (n_shares, n_rules), float64, or None
        Held-out accuracy with the rows that each rule of ``"coverage"`` keeps, for several shares; None if unknown.
    attainable : float
        Accuracy that simple models reach on rows that they have not seen, nan if unknown.

    See Also
    --------
    ForgettingRecorder : Records these scores while a skorch net trains.
    select_rows : Selects the rows to keep by these scores.

    Notes
    -----
    The trust in a label is the mean of its margin and its held-out margin. The margin of the built-in net has the weight
    ``clip(mean held-out margin / mean margin, 0, 1)`` in this mean, so that a net that has memorized the labels has
    little influence. The weight is 1 if the mean margin is not above 0. If held-out margins are unknown, the trust is the
    margin. A row is a suspect if its trust is below ``-mean trust / 2``. The models then disagree with the label at least
    half as strongly as they agree with the label of the average row. If they do not agree with the average row, they
    know too little, and no row is a suspect. Rows whose trust is unknown are no suspects and do not count in the mean.

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
        # What models say that have not seen the rows, averaged over as many runs; there once a selector has asked them.
        self._held_out: HeldOut | None = None
        self._n_held_out = 0
        self._mean_trust: float | None = None  # of the rows that these were taken from

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
        return self._sums()["margin_total"] / self.n_runs

    @property
    def first_learned(self) -> NDArray[np.float64]:
        sums = self._sums()
        total, count = sums["first_learned_total"], sums["runs_learned"]
        return np.divide(total, count, out=np.full(len(self), np.nan), where=count > 0)

    @property
    def never_learned(self) -> NDArray[np.bool_]:
        return self._sums()["runs_learned"] == 0

    @property
    def held_out_margins(self) -> NDArray[np.float64]:
        if self._held_out is None:
            return np.full(len(self), np.nan)
        return self._held_out.margins.astype(np.float64)

    @property
    def trust(self) -> NDArray[np.float64]:
        if self._held_out is None:
            return self.margins
        weight = self._held_out.net_weight
        return (weight * self.margins + self.held_out_margins) / (weight + 1)

    @property
    def mean_trust(self) -> float:
        if self._mean_trust is not None:
            return self._mean_trust
        known = self.trust[~np.isnan(self.trust)]
        return float(known.mean()) if len(known) else np.nan

    @property
    def suspects(self) -> NDArray[np.bool_]:
        return self.trust < -self.mean_trust / 2 if self.mean_trust > 0 else np.zeros(len(self), dtype=bool)

    @property
    def ratings(self) -> NDArray[np.float64] | None:
        return None if self._held_out is None else self._held_out.ratings.copy()

    @property
    def attainable(self) -> float:
        return np.nan if self._held_out is None else float(self._held_out.attainable)

    def with_held_out(self, held_out: HeldOut) -> "ForgettingScores":
        """Return the same scores with what models say that have not seen the rows.

        Parameters
        ----------
        held_out : HeldOut
            They count for all runs of these scores.

        Returns
        -------
        scores : ForgettingScores
            Shares the state of these.
        """
        scores = copy.copy(self)
        scores._held_out, scores._n_held_out = held_out, self.n_runs
        scores._mean_trust = None
        return scores

    def last_accuracy(self) -> float:
        """Return the share of rows that were predicted correctly at their last presentation, averaged over runs.

        Returns
        -------
        accuracy : float
            Only rows that were presented in every run count. nan if unknown, as for scores made elsewhere.
        """
        right = self._sums()["runs_right"]
        right = right[~np.isnan(right)]
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
        taken._mean_trust = self.mean_trust
        if self._held_out is not None:
            taken._held_out = self._held_out._replace(margins=self._held_out.margins[rows])
            taken._n_held_out = self._n_held_out
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
        total = self._of_sums(sums, self.n_runs + other.n_runs)
        known = [scores for scores in (self, other) if scores._held_out is not None]
        if known:  # a run without held-out results does not count in their mean
            total._n_held_out = self._n_held_out + other._n_held_out
            weights = [scores._n_held_out / total._n_held_out for scores in known]
            parts = zip(*(scores._held_out for scores in known), strict=True)
            total._held_out = HeldOut._make(sum(map(mul, weights, part)) for part in parts)
        return total

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
        if self._held_out is not None:
            arrays |= {f"held_out_{name}": np.asarray(value) for name, value in self._held_out._asdict().items()}
            arrays["n_held_out"] = self._n_held_out
        if self._mean_trust is not None:
            arrays["mean_trust"] = self._mean_trust
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
        n_held_out, mean_trust = arrays.pop("n_held_out", None), arrays.pop("mean_trust", None)
        held_out = {name[9:]: arrays.pop(name) for name in list(arrays) if name.startswith("held_out_")}
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
            scores._held_out, scores._n_held_out = HeldOut.load(held_out, len(scores)), int(n_held_out)
        scores._mean_trust = None if mean_trust is None else float(mean_trust)
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
    columns = dict(zip(COLUMNS, (events, none, unknown, unknown, none + 1, unknown), strict=True))
    return ForgettingScores._of_sums(columns, n_runs=1)
