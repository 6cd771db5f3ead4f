"""Identity and store of results: a digest of all that a result depends on, and files of results by digest."""

import hashlib
import os
import pickle
import random
import shutil
import sys
import sysconfig
import tempfile
import threading
import uuid
import weakref
import zlib
from contextlib import contextmanager, nullcontext, suppress
from functools import cache, lru_cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType, SimpleNamespace
from typing import TypeVar

import cloudpickle
import numpy as np
import torch
from filelock import FileLock
from scipy import sparse
from sklearn.utils import check_random_state
from skorch import NeuralNet

from skprune._warnings import warn

# Equal values of these types are one object or several, as it happens.
_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})
_VALUES = _PLAIN | {bytearray, list, tuple, dict}
_VERSIONS = (__package__, "torch", "skorch", "numpy", "sklearn")
# What Python and torch.compile add to classes and modules.
_ADDED = {"__dict__", "__weakref__", "__slotnames__", "__firstlineno__", "__static_attributes__", "_abc_impl"}
_ADDED |= {"__builtins__", "__cached__", "__file__", "__loader__", "__path__", "__spec__", "__warningregistry__"}
_ADDED |= {"__annotations_cache__", "___needs_generation_tag_patch"}
# Each training seeds the global generators, and locks hold nothing.
_LOCKS = type(threading.Lock()), type(threading.RLock())
_STATELESS = {id(vars(random)["random"].__self__), id(check_random_state(None))}
# Large results are kept in the folder of a search until it has this size.
_MAX_BYTES = 2**28


class Unstorable(Exception):
    """A result can't be identified or stored. The message says why."""


def identify(obj):
    """Return a digest of the data in an object, and one of the code that it uses. They are the same in every process.

    Code of an installed package is identified by its name and the version of the package. Other code, from scripts,
    notebooks and local modules, is identified by its content. Raise Unstorable if a part can't be identified.
    """
    try:
        hasher = _Hasher()
        hasher.dump((sys.version, list(map(_version, _VERSIONS)), _torch_settings(), obj))
        data = hasher.digest()
        for code in hasher.code:  # grows, because code uses other code
            hasher.dump(_contents(code))
        return data, hasher.digest()
    except Exception as error:  # objects that do not support pickle may raise anything
        raise Unstorable(f"it can't be identified: {error}") from error


def digest(obj):
    """Return the digests of an object as one str, or None if it can't be identified."""
    with suppress(Unstorable):
        return "-".join(identify(obj))
    return None


def _torch_settings():
    autocast = [(torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)) for device in ("cpu", "cuda")]
    modes = (torch.is_inference_mode_enabled(), torch.are_deterministic_algorithms_enabled())
    precision = (torch.get_default_dtype(), torch.get_float32_matmul_precision())
    return autocast, modes, precision, torch.get_default_device()


class _Hasher(cloudpickle.Pickler):
    """Hash what cloudpickle would store, with tensors and arrays by their values, and own code by its content."""

    def __init__(self):
        self.hash = hashlib.blake2b(digest_size=16)
        stream = SimpleNamespace(write=lambda part: self.hash.update(part))
        super().__init__(stream, protocol=5, buffer_callback=lambda buffer: self.hash.update(buffer.raw()))
        self.fast = True  # no memo, because equal strings are one object or several
        self.seen = {}  # numbers by id, with the objects, so that no other one gets the id
        self.code = []

    def digest(self):
        """Return the digest of what was dumped since the last call."""
        digest, self.hash = self.hash.hexdigest(), hashlib.blake2b(digest_size=16)
        return digest

    def persistent_id(self, obj):
        """Return what stands for an object, or None for what cloudpickle makes of it."""
        if type(obj) in _VALUES or isinstance(obj, (np.dtype, np.generic)):
            return None
        if type(obj) in (set, frozenset):  # in an order that does not depend on the hashes of str
            return type(obj).__name__, sorted(
                repr(item) if type(item) in _PLAIN else "-".join(identify(item)) for item in obj
            )
        n_seen = len(self.seen)
        number = self.seen.setdefault(id(obj), (n_seen, obj))[0]
        return number if number < n_seen else self._describe(obj)

    def _describe(self, obj):
        if isinstance(obj, (type, FunctionType, ModuleType)):
            return self._name(obj)
        if isinstance(obj, torch.Tensor):
            return self._describe_tensor(obj)
        if type(obj) in (np.ndarray, np.memmap) and not obj.dtype.hasobject:
            order = "F" if obj.flags.fnc else "C"
            return obj.dtype, obj.shape, order, pickle.PickleBuffer(obj.ravel(order).view(np.uint8))
        if isinstance(obj, NeuralNet):
            return type(obj), net_params(obj), _net_state(obj)
        if isinstance(obj, CodeType):  # without the numbers of lines
            names = (obj.co_names, obj.co_varnames, obj.co_freevars, obj.co_cellvars)
            counts = (obj.co_argcount, obj.co_posonlyargcount, obj.co_kwonlyargcount, obj.co_flags)
            return obj.co_code, obj.co_exceptiontable, names, counts, obj.co_consts
        if isinstance(obj, type(lru_cache(len))):
            return "cached", obj.__wrapped__
        if isinstance(obj, TypeVar):
            return "TypeVar", obj.__name__
        if isinstance(obj, (Lineage, *_LOCKS)) or id(obj) in _STATELESS:
            return type(obj).__name__
        if sparse.issparse(obj):  # without what it remembers of its entries once somebody asks
            return type(obj), {name: value for name, value in vars(obj).items() if not name.startswith("_has_")}
        return None

    def _describe_tensor(self, tensor):
        layout = (str(tensor.dtype), tuple(tensor.shape), tensor.stride())
        attributes = {name: value for name, value in vars(tensor).items() if not name.startswith("_dynamo")}
        values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        return type(tensor), layout, tensor.requires_grad, attributes, pickle.PickleBuffer(values)

    def _name(self, obj):
        """Return the name of code. That is enough if it is installed; otherwise its content is written later."""
        name = "" if isinstance(obj, ModuleType) else obj.__qualname__
        homes = sorted({str(_home(obj)), str(getattr(obj, "__module__", None) or _home(obj))})
        if all(map(_is_installed, homes)) and "<" not in name:  # of a lambda or a function in another one
            return homes, name, list(map(_version, homes))
        self.code.append(obj)
        return type(obj).__name__, name


def _contents(code):
    """Return everything that a class, a function or a module that is not installed uses."""
    if isinstance(code, (type, ModuleType)):
        # By name, because some classes get theirs from a set, in an order that varies.
        members = sorted((name, value) for name, value in vars(code).items() if name not in _ADDED)
        return (type(code), code.__bases__, members) if isinstance(code, type) else members
    cells = []
    for cell in code.__closure__ or ():
        with suppress(ValueError):  # empty yet
            cells.append(cell.cell_contents)
    used = {} if _is_installed(str(_home(code))) else _used(code.__code__, code.__globals__)
    return code.__code__, code.__defaults__, code.__kwdefaults__, vars(code), cells, used


def _used(code, namespace):
    """Return the globals and the local modules that code and its nested code name."""
    used = {name: namespace[name] for name in code.co_names if name in namespace}
    package = namespace.get("__package__")
    modules = [sys.modules.get(name) or sys.modules.get(f"{package}.{name}") for name in code.co_names]
    used |= {module.__name__: module for module in modules if module and not _is_installed(module.__name__)}
    for constant in code.co_consts:
        used |= _used(constant, namespace) if isinstance(constant, CodeType) else {}
    return used


def _home(code):
    """Return the name of the module that defines code; a decorator may have set another `__module__`."""
    if isinstance(code, ModuleType):
        return code.__name__
    return code.__globals__.get("__name__") if isinstance(code, FunctionType) else code.__module__


@cache
def _is_installed(name):
    """Return whether a module is of the standard library or of an installed package."""
    top = name.partition(".")[0]
    module = sys.modules.get(name) or sys.modules.get(top)
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    if top in (__package__, "__main__") or file is None:
        return top == __package__ or top in sys.stdlib_module_names
    is_installed = {"site-packages", "dist-packages"} & {*Path(file).parts}
    if not is_installed and Path(file).suffix not in (".py", ".pyc", ""):
        raise pickle.PicklingError(f"the compiled module {name} is not installed")
    return bool(is_installed) or Path(file).is_relative_to(sysconfig.get_path("stdlib"))


def _version(module):
    return str(getattr(sys.modules.get(module.partition(".")[0]), "__version__", ""))


def net_params(net):
    """Return the parameters of a net that its training depends on."""
    params = {name: value for name, value in sorted(net.get_params(deep=False).items()) if name != "verbose"}
    accelerator = params.get("accelerator")  # of skorch's AccelerateMixin, which changes during use
    if accelerator is not None:  # each process stores its own result, because none can wait for another
        names = ("process_index", "num_processes", "mixed_precision", "gradient_accumulation_steps", "distributed_type")
        params["accelerator"] = (type(accelerator), [str(getattr(accelerator, name)) for name in names])
    return params


def _net_state(net):
    """Return everything in a net that its predictions may depend on, except for its parameters."""
    others = {"history_", "virtual_params_", "accelerator", *net.get_params(deep=False)}
    return sorted(
        (name, value)
        for name, value in vars(net).items()
        if name not in others and not name.startswith("callbacks") and not isinstance(value, torch.optim.Optimizer)
    )


class Lineage:
    """What a selector shares with its clones: a temporary folder for results.

    The process that made it removes the folder with the last selector, or when it ends.
    """

    def __init__(self):
        self.folder = None
        with suppress(OSError):
            self.folder = tempfile.mkdtemp(prefix="skprune-")
            weakref.finalize(self, _remove, self.folder, os.getpid())
            _lineages[self.folder] = self

    def __reduce__(self):
        return _join, (self.folder,)


_lineages: weakref.WeakValueDictionary[str, Lineage] = weakref.WeakValueDictionary()


def _join(folder):
    """Return a lineage that was pickled, or a new one if its folder does not exist any more."""
    if folder in _lineages or not os.path.isdir(folder or ""):
        return _lineages.get(folder) or Lineage()
    lineage = Lineage.__new__(Lineage)  # in a worker of the process that made it
    lineage.folder = folder
    return lineage


def _remove(folder, process):
    if os.getpid() == process:  # and not a fork of it
        shutil.rmtree(folder, ignore_errors=True)


class Store:
    """Results in the files of a folder. They are pickles, so the folder must be trusted.

    Training may change global variables that the code uses, such as a list that a callback fills. For the clones of one
    selector, the code after a training counts as the code before.
    """

    def __init__(self, folder, lineage=None, max_bytes=None):
        self.folder = Path(folder)
        self.same_code = Path(lineage.folder) if lineage is not None and lineage.folder else None
        self.max_bytes = max_bytes

    def key(self, inputs):
        """Return the key of a result that depends on `inputs`, or raise Unstorable."""
        data, code = identify(inputs)
        with suppress(OSError):
            if self.same_code is not None:
                code = (self.same_code / f"{code}.before").read_text()
        return f"{data}-{code}"

    def check_inputs(self, key, inputs):
        """Raise Unstorable if making a result has changed what it depends on."""
        data, code = identify(inputs)
        if not key.startswith(data):
            raise Unstorable("it changes its own rows, labels or parameters, such as a random generator in them")
        if f"{data}-{code}" != key:
            if self.same_code is None:
                raise Unstorable("it changes global variables or class attributes that its code uses")
            with suppress(OSError):
                _write(self.same_code / f"{code}.before", key.partition("-")[2].encode())

    @contextmanager
    def locked(self, key):
        """Wait until no other process or thread makes the result of this key."""
        lock = FileLock(self.folder / f"{key}.lock")
        with suppress(OSError, NotImplementedError):  # if the folder can't be written to, `put` says so
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def get(self, key):
        """Return a result, or None if it does not exist or can't be read."""
        with suppress(Exception):  # a damaged pickle may raise anything
            content = (self.folder / f"{key}.pkl").read_bytes()
            return pickle.loads(content[4:]) if _checksum(content[4:]) == content[:4] else None
        return None

    def put(self, key, result, is_large=False):
        """Store a result, or raise Unstorable. Large results that do not fit are left out."""
        try:
            content = pickle.dumps(result, protocol=5)
            used = sum(file.stat().st_size for file in self.folder.glob("*.pkl")) if is_large else 0
            if self.max_bytes is None or used + len(content) * is_large <= self.max_bytes:
                _write(self.folder / f"{key}.pkl", _checksum(content) + content)
        except Exception as error:  # pickle may raise anything
            raise Unstorable(f"it can't be written to {self.folder}: {error}") from error


def _checksum(content):
    return zlib.crc32(content).to_bytes(4, "little")


def _write(file, content):
    """Write a file as a whole, so that other processes never see a part of it."""
    part = file.with_suffix(f".{uuid.uuid4().hex}")
    try:
        part.write_bytes(content)
        part.replace(file)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def find_store(memory, lineage):
    """Return the store for a `memory`, or else for a lineage, or None if there is neither."""
    if memory is None:
        return Store(lineage.folder, lineage, _MAX_BYTES) if lineage is not None and lineage.folder else None
    if is_off(memory):
        return None
    if not isinstance(memory, (str, os.PathLike)) and getattr(memory, "backend", None) != "local":
        raise ValueError(
            f"Runs are stored in files, so memory must be a folder or a joblib.Memory with a folder, got {memory!r}."
        )
    return Store(_folder_in(getattr(memory, "location", memory)), lineage)


def is_off(memory):
    """Return whether an object with the joblib.Memory interface stores nothing."""
    return getattr(memory, "location", "elsewhere") is None


def _folder_in(location):
    return Path(location) / "joblib" / "skprune"  # Memory.clear clears it as well


def recalled(store, key, function):
    """Return ``function()``, or what it returned before under this key. Without store or key, nothing is stored."""
    if store is None or key is None:
        return function()
    with store.locked(key):
        result = store.get(key)
        if result is None:
            result = function()
            with suppress(Unstorable):
                store.put(key, result)
        return result


def recall(memory, inputs, function, *args):
    """Return ``function(*args)``, which joblib stores under the digest of `inputs`.

    It is not stored if the inputs can't be identified, or the result can't be pickled.
    """
    try:
        key = "-".join(identify(inputs))
    except Unstorable as error:
        warn(f"The result of a step is not stored in memory, because {error}.")
        return function(*args)
    made: list = []
    stored = memory.cache(_pickled, ignore=["function", "args", "made"])
    is_folder = getattr(memory, "backend", None) == "local"
    with Store(_folder_in(memory.location)).locked(key) if is_folder else nullcontext():
        content = stored(key, function, args, made)
    if content is None:
        warn("The result of a step is not stored in memory, because it can't be pickled.")
    if made:
        return made[0]
    return function(*args) if content is None else pickle.loads(content)


def _pickled(key, function, args, made):
    """Return a pickle of the result that is added to `made`, or None if there can be none. joblib can't pickle lambdas."""
    made.append(function(*args))
    for pickler in (pickle, cloudpickle):
        with suppress(Exception):  # pickle may raise anything
            return pickler.dumps(made[0], protocol=5)
    return None
