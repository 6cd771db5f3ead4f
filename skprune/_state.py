"""The parts of scores: the state of a run, four numbers per row, and the results of models on held-out rows."""

from typing import NamedTuple

import numpy as np
import torch

# Columns of the state of a run. The size of `learned` is the presentation of first success, its sign the last outcome;
# the last column holds the bits of a float32, the mean margin so far.
_EVENTS, PRESENTATIONS, _LEARNED, _MARGIN = range(4)
# What can be added to that of another run.
COLUMNS = ("events", "presentations", "margin_total", "first_learned_total", "runs_learned", "runs_right")


def present(state, rows, correct, margin):
    """Change the state of a run by one presentation of some rows.

    Parameters
    ----------
    state : torch.Tensor of shape (n_rows, 4), int32
    rows : torch.Tensor of shape (n_batch,), int64
        Must not be repeated.
    correct : torch.Tensor of shape (n_batch,), bool
    margin : torch.Tensor of shape (n_batch,), float32
    """
    # Each row is one number of 16 bytes, because indexing rows of a matrix takes torch three times as long.
    numbers = state.view(torch.complex128).squeeze(1)
    known = numbers.gather(0, rows).unsqueeze(1).view(torch.int32)
    events, presentations, learned, _ = known.unbind(1)
    mean = known.view(torch.float32)[:, _MARGIN]
    events = events + ((learned > 0) & ~correct)
    presentations = presentations + 1
    size = learned.abs()
    learned = torch.where(correct, torch.where(size > 0, size, presentations), -size)
    mean = mean + (margin - mean) / presentations
    values = torch.stack([events, presentations, learned, mean.view(torch.int32)], 1)
    numbers.scatter_(0, rows, values.view(torch.complex128).squeeze(1))


def check_rows(rows, places):
    """Return the row numbers of a batch as int64; raise a ValueError if they are not different rows that exist.

    Parameters
    ----------
    rows : torch.Tensor of shape (n_batch,)
        Not empty.
    places : torch.Tensor of shape (n_rows,), int32
        Buffer, which is overwritten.
    """
    if rows.dtype == torch.bool or rows.is_floating_point():
        raise ValueError(
            f"rows must be row numbers with an int dtype, got {rows.dtype}. To use a mask, pass np.flatnonzero(mask)."
        )
    rows = rows.long()
    lowest, highest = (int(bound) for bound in rows.aminmax())
    if lowest < 0 or highest >= len(places):
        stranger = lowest if lowest < 0 else highest
        raise ValueError(f"Row {stranger} does not exist: rows are numbered from 0 to {len(places) - 1}.")

    # If a row is repeated, only one of its positions is read back. Sorting would take longer.
    numbers = torch.arange(len(rows), dtype=torch.int32, device=rows.device)
    repeated = places.scatter_(0, rows, numbers).gather(0, rows) != numbers
    if repeated.any():
        raise ValueError(
            f"Row {int(rows[repeated][0])} is given twice in one batch, so the order of its presentations is unknown. Call "
            "update once for each of them."
        )
    return rows


def column_of(state, name):
    """Return one of :data:`COLUMNS`, an ndarray of shape (n_rows,)."""
    state = state.cpu().numpy()
    if name in ("margin_total", "runs_right"):
        known = state.view(np.float32)[:, _MARGIN] if name == "margin_total" else state[:, _LEARNED] > 0
        return np.where(state[:, PRESENTATIONS] > 0, known, np.float64(np.nan))
    if name in ("events", "presentations"):
        return state[:, _EVENTS if name == "events" else PRESENTATIONS].astype(np.int64)
    learned = state[:, _LEARNED].astype(np.int64)
    return np.abs(learned) if name == "first_learned_total" else (learned != 0).astype(np.int64)


class HeldOut(NamedTuple):
    """Results of models on held-out rows, summed over runs.

    Parameters
    ----------
    margins : ndarray of shape (n_rows,), float32
        Predicted indicator of the true class minus the largest of another class, in [-1, 1] for one run.
    ratings : ndarray of shape (n_shares, n_rules), float64
        Held-out accuracy with the rows that each rule keeps, for each share.
    attainable : float
        Accuracy of nearest neighbors, or of the regressions if that is higher.
    net_weight : float
        Weight of the net's margins relative to these, in [0, 1] for one run.
    """

    margins: np.ndarray
    ratings: np.ndarray
    attainable: float
    net_weight: float
