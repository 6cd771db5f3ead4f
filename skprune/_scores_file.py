"""Scores as an ``.npz`` archive, which is read without pickle and whose arrays are checked."""

import math
import os
import zipfile
import zlib
from contextlib import nullcontext

import numpy as np

from skprune._state import COLUMNS, HeldOut

# The errors that zipfile, its decompressors and numpy raise for a damaged file.
UNREADABLE = (
    *(ValueError, KeyError, TypeError, AttributeError, EOFError, NotImplementedError, RuntimeError, OverflowError),
    *(zipfile.BadZipFile, zlib.error),
)
# Scores of many rows do not compress better than this.
_MAX_RATIO, _MAX_BYTES = 200, 2**30


def read_arrays(file):
    """Read the arrays of an ``.npz`` archive, each only after its size was checked."""
    arrays = {}
    with _opened(file, "rb") as stream, zipfile.ZipFile(stream) as archive:
        n_bytes = stream.seek(0, os.SEEK_END)
        unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > max(_MAX_BYTES, _MAX_RATIO * n_bytes):
            raise ValueError(f"its {n_bytes} bytes would unpack to {unpacked}")
        for member in archive.infolist():
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{member.filename!r} is compressed by a method that numpy does not use")
            with archive.open(member) as packed:
                _check_header(packed, member)
                packed.seek(0)
                arrays[member.filename.removesuffix(".npy")] = np.lib.format.read_array(packed, allow_pickle=False)
    return arrays


def _check_header(file, member):
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError(f"{member.filename!r} is not an array in the format of numpy.savez")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if file.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
        raise ValueError(
            f"{member.filename!r} does not have the {math.prod(shape) * dtype.itemsize} bytes of its shape {shape}"
        )


def write_arrays(file, arrays):
    """Write arrays by name, compressed, to a path or a binary stream."""
    with _opened(file, "wb") as stream:
        np.savez_compressed(stream, **arrays)


def _opened(file, mode):
    return nullcontext(file) if hasattr(file, "read") else open(file, mode)


def pop_n_runs(arrays):
    """Remove the number of runs from the arrays of scores and return it; raise a ValueError if the arrays are not scores."""
    if set(arrays) not in ({"n_runs", "state"}, {"n_runs", *COLUMNS}):
        raise ValueError(f"it has the arrays {sorted(arrays)}")
    n_runs = int(arrays.pop("n_runs"))
    if n_runs < 1:
        raise ValueError(f"it has {n_runs} runs")
    if set(arrays) == {"state"}:
        state = arrays["state"]
        if state.shape[1:] != (4,) or state.dtype != np.int32:
            raise ValueError(f"'state' has shape {state.shape} and dtype {state.dtype}")
        return n_runs
    if len({array.shape for array in arrays.values()}) != 1 or arrays["events"].ndim != 1:
        raise ValueError(f"its arrays have shapes {[array.shape for array in arrays.values()]}")
    if any(array.dtype.kind not in "iuf" for array in arrays.values()):
        raise ValueError(f"its arrays have dtypes {[str(array.dtype) for array in arrays.values()]}")
    return n_runs


def pop_held_out(arrays):
    """Remove the results of models on held-out rows from the arrays of scores, and return them, or None if there are none."""
    names = [f"held_out_{name}" for name in HeldOut._fields]
    if not any(name in arrays for name in names):
        return None
    margins, ratings, *numbers = (arrays.pop(name) for name in names)
    expected = margins.dtype == np.float32 and ratings.dtype == np.float64 and ratings.ndim == 2
    if not expected or any(number.shape != () or number.dtype.kind != "f" for number in numbers):
        raise ValueError("its held-out arrays have other shapes or dtypes than expected")
    if not all(np.isfinite(array).all() for array in (margins, ratings, *numbers)) or min(numbers) < 0:
        raise ValueError("its held-out arrays have values that are nan, infinite or negative")
    return HeldOut(margins, ratings, *map(float, numbers))
