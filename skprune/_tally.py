"""The counts of one run while it is recorded: four tensors and one update."""

import numpy as np
import torch


class Tally:
    """Forgetting events, presentations, first success and mean margin of every row of a training set.

    Parameters
    ----------
    n_rows : int
    device : torch.device

    Attributes
    ----------
    events : torch.Tensor of shape (n_rows,), int32
    presentations : torch.Tensor of shape (n_rows,), int32
    learned : torch.Tensor of shape (n_rows,), int32
        The presentation of first success, counted from 1, and 0 before. It is negative if the last prediction was wrong.
    margin : torch.Tensor of shape (n_rows,), float32
        Mean over the presentations so far.
    """

    parts = ("events", "presentations", "learned", "margin")

    def __init__(self, n_rows, device):
        self.events, self.presentations, self.learned = (
            torch.zeros(n_rows, dtype=torch.int32, device=device) for _ in range(3)
        )
        self.margin = torch.zeros(n_rows, device=device)
        self._positions = None  # a buffer, of the rows of a batch in it

    def update(self, rows, correct, margin):
        """Record one batch, as described in :meth:`ForgettingScores.update`."""
        device = self.events.device
        rows = torch.as_tensor(rows, device=device)
        correct = torch.as_tensor(correct, dtype=torch.bool, device=device)
        margin = torch.as_tensor(margin, dtype=torch.float32, device=device)
        if not (rows.ndim == 1 and rows.shape == correct.shape == margin.shape):
            raise ValueError(
                "rows, correct and margin must have one entry per presentation each, got the shapes "
                f"{tuple(rows.shape)}, {tuple(correct.shape)} and {tuple(margin.shape)}."
            )
        if len(rows) == 0:
            return
        rows = self._row_numbers(rows)
        presentations, learned, mean = (
            part.gather(0, rows) for part in (self.presentations, self.learned, self.margin)
        )
        presentations = presentations + 1
        first = learned.abs()
        self.events.scatter_add_(0, rows, ((learned > 0) & ~correct).int())
        self.presentations.scatter_(0, rows, presentations)
        self.learned.scatter_(0, rows, torch.where(correct, torch.where(first > 0, first, presentations), -first))
        self.margin.scatter_(0, rows, mean + (margin - mean) / presentations)

    def _row_numbers(self, rows):
        """Return the row numbers of a batch as int64; raise a ValueError if they are not different rows that exist."""
        if rows.dtype == torch.bool or rows.is_floating_point():
            raise ValueError(
                f"rows must be row numbers with an int dtype, got {rows.dtype}. To use a mask, pass np.flatnonzero(mask)."
            )
        rows, n_rows = rows.long(), len(self.events)
        lowest, highest = (int(bound) for bound in rows.aminmax())
        if lowest < 0 or highest >= n_rows:
            missing = lowest if lowest < 0 else highest
            raise ValueError(f"Row {missing} does not exist: rows are numbered from 0 to {n_rows - 1}.")

        # If a row is repeated, only one of its positions is read back. Sorting would take longer.
        if self._positions is None:
            self._positions = torch.empty_like(self.events)
        positions = torch.arange(len(rows), dtype=torch.int32, device=rows.device)
        repeated = self._positions.scatter_(0, rows, positions).gather(0, rows) != positions
        if repeated.any():
            raise ValueError(
                f"Row {int(rows[repeated][0])} is given twice in one batch, so the order of its presentations is unknown. Call "
                "update once for each of them."
            )
        return rows

    def cpu(self):
        """Move the tensors to the CPU."""
        for name in self.parts:
            setattr(self, name, getattr(self, name).cpu())
        self._positions = None

    def arrays(self):
        """Return the four tensors by name, as arrays that share their memory if they are on the CPU."""
        return {name: getattr(self, name).cpu().numpy() for name in self.parts}

    def sums(self):
        """Return new arrays of shape (n_rows,) that can be added to those of another run."""
        events, presentations, learned, margin = self.arrays().values()
        shown = presentations > 0
        return {
            "events": events.astype(np.int64),
            "presentations": presentations.astype(np.int64),
            "margin_total": np.where(shown, margin, np.float64(0)),
            "runs_shown": shown.astype(np.int32),
            "first_learned_total": np.abs(learned.astype(np.int64)),
            "runs_learned": (learned != 0).astype(np.int64),
            "runs_right": (learned > 0).astype(np.int32),
        }
