"""Results kept in a joblib.Memory, found again by what their input holds."""

import pickle
import zlib
from contextlib import nullcontext
from pathlib import Path
from types import CodeType, FunctionType

import cloudpickle
import torch
from filelock import FileLock
from joblib.hashing import NumpyHasher


def is_off(memory):
    """Tell whether an object with the joblib.Memory interface stores nothing."""
    return getattr(memory, "location", "elsewhere") is None


def recall(memory, inputs, function, *args):
    """Return ``function(*args)``, stored under `inputs`; what another process computes just now is waited for.

    Unlike joblib's own hash, tensors count by their numbers, and classes and functions of a script, a notebook or
    another function by their code, so that these are found again in another process and not after a change.

    Parameters
    ----------
    memory : object with the joblib.Memory interface
    inputs : object
        All that the result depends on.
    function : callable
    *args : objects

    Returns
    -------
    result : object
        A copy of what `function` returned.
    """
    key = _Hasher("md5", coerce_mmap=True).hash((function, inputs))
    stored = memory.cache(_call, ignore=["function", "args"])
    with _locked(memory, key):
        entry = stored(key, function, args)
        if not _is_sound(entry):  # damaged on its way to the disk or there
            stored.call_and_shelve(key, function, args).clear()
            entry = stored(key, function, args)
        return cloudpickle.loads(entry["pickled"])


def _call(key, function, args):
    result = function(*args)
    try:
        pickled = cloudpickle.dumps(result)  # plain pickle knows no function of a script in a worker
        return {"pickled": pickled, "checksum": zlib.crc32(pickled)}
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise ValueError(
            f"The result cannot be stored in memory: {error}. Define classes at the top level of a file, script or "
            "notebook, not inside a function, or leave memory out."
        ) from error


def _is_sound(entry):
    try:
        return zlib.crc32(entry["pickled"]) == entry["checksum"]
    except (TypeError, KeyError):
        return False


def _locked(memory, key):
    if getattr(memory, "backend", None) != "local":
        return nullcontext()
    folder = Path(memory.location) / "joblib" / "skprune-locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{key}.lock")


class _Hasher(NumpyHasher):
    def save(self, obj):
        if isinstance(obj, torch.Tensor):
            numbers = obj.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            obj = (type(obj), str(obj.dtype), tuple(obj.shape), obj.requires_grad, numbers)
        elif isinstance(obj, (type, FunctionType)) and (obj.__module__ == "__main__" or "<" in obj.__qualname__):
            obj = _describe(obj)
        super().save(obj)


def _describe(obj):
    """Return the code of a class or function that cannot be imported."""
    name = (obj.__module__, obj.__qualname__)
    if isinstance(obj, FunctionType):
        closure = [_enclosed(cell) for cell in obj.__closure__ or ()]
        return name, _code(obj.__code__), obj.__defaults__, obj.__kwdefaults__, closure
    members = sorted((member, _member(value)) for member, value in vars(obj).items() if _member(value) is not None)
    return name, obj.__bases__, members


def _member(value):
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    if isinstance(value, property):
        value = value.fget
    if isinstance(value, FunctionType):
        return repr(_describe(value)[0]), _code(value.__code__), repr(value.__defaults__), repr(value.__kwdefaults__)
    return repr(value) if isinstance(value, (bool, int, float, str, tuple)) else None


def _enclosed(cell):
    try:
        value = cell.cell_contents
    except ValueError:  # empty yet
        return None
    if isinstance(value, type):  # a method that calls super() encloses its own class
        return value.__module__, value.__qualname__
    return _code(value.__code__) if isinstance(value, FunctionType) else value


def _code(code):
    constants = tuple(_code(constant) if isinstance(constant, CodeType) else constant for constant in code.co_consts)
    return code.co_code, code.co_names, code.co_varnames, constants
