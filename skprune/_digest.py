"""A digest that is equal for two objects only if they contain the same data and run the same code."""

import builtins
import dis
import hashlib
import importlib.util
import pickle
import random
import sys
import sysconfig
import threading
from contextlib import suppress
from functools import cache, reduce
from importlib import metadata
from pathlib import Path
from types import BuiltinMethodType, CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import TypeVar

import numpy as np
import torch
from joblib.hashing import Hasher, NumpyHasher
from sklearn.utils import check_random_state
from skorch import NeuralNet

# Its own code, which may change with no new version while it is worked on.
_OURS = tuple(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})
_LOCKS = (type(threading.Lock()), type(threading.RLock()))
# Members that Python, copying and pickling make, and the numbers of lines.
_MADE = {"__dict__", "__weakref__", "__slotnames__", "__firstlineno__", "__static_attributes__", "_abc_impl"}
_MADE |= {"___needs_generation_tag_patch"}  # by torch.compile
_OF_MODULES = {"__builtins__", "__cached__", "__doc__", "__file__", "__loader__", "__path__", "__spec__"}
_OF_MODULES |= {"__warningregistry__"}
# Global generators, by id. Each training seeds them, so their state does not matter.
_SEEDED = {id(vars(random)["random"].__self__): "random", id(check_random_state(None)): "numpy.random"}
# What finds code or settings by a name that is known only when it runs: modules, functions and attributes.
_MODULES = {
    "builtins",
    "code",
    "ctypes",
    "gc",
    "importlib",
    "inspect",
    "marshal",
    "pkgutil",
    "pydoc",
    "runpy",
    "sys",
    "zipimport",
}
_FUNCTIONS = {"builtins.__import__", "builtins.eval", "builtins.exec", "builtins.globals", "os.getenv", "_pickle.loads"}
_ATTRIBUTES = {"__builtins__", "__globals__", "__subclasses__", "environ", "environb", "f_builtins", "f_globals"}


def digest(obj):
    """Return a digest of an object, or None if not everything that it does can be identified.

    Code of an installed distribution is identified by its name, version and files. Other code, from scripts, notebooks, local
    modules and functions, is identified by its content: bytecode, defaults, closures, members, bases, and all globals that it
    uses.

    Parameters
    ----------
    obj : object

    Returns
    -------
    digest : str or None
        The same in every process.
    """
    try:
        return _digest(obj)
    except Exception:  # objects that do not support pickle may raise anything
        return None


def _digest(obj):
    hasher = _Hasher("md5", coerce_mmap=True)
    hasher.dump((_OURS, sys.version, _versions(), _settings(), obj))
    for code in hasher.code:  # grows, because code uses other code
        hasher.dump(_contents(code))
    return hasher.hash(None)


def _versions():
    return [str(sys.modules[name].__version__) for name in (__package__, "torch", "skorch", "numpy", "sklearn")]


def _settings():
    """Return the settings of torch that change every computation."""
    autocast = [(torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)) for device in ("cpu", "cuda")]
    modes = (torch.is_inference_mode_enabled(), torch.are_deterministic_algorithms_enabled())
    precision = (torch.get_default_dtype(), torch.get_float32_matmul_precision())
    return autocast, modes, precision, torch.get_default_device(), _hooks()


def _hooks():
    """Return the hooks of all modules and optimizers. torch has no public way to ask for them."""
    places = [vars(sys.modules[name]) for name in ("torch.nn.modules.module", "torch.optim.optimizer")]
    names = [(place, name) for place in places for name in place if name.startswith("_global")]
    return [
        (name, list(place[name].values())) for place, name in names if isinstance(place[name], dict) and place[name]
    ]


class _Hasher(NumpyHasher):
    """Hasher like joblib's that identifies code by its content, tensors by their values, and dicts also by their order."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.code = []
        self.numbers = {}
        self.storages = {}

    def save(self, obj):
        if isinstance(obj, MethodType):
            obj = (MethodType, obj.__func__, obj.__self__)
        elif isinstance(obj, BuiltinMethodType):
            _check(f"{obj.__module__}.{obj.__qualname__}")
            owner = "builtins" if obj.__self__ is builtins else obj.__self__
            obj = (BuiltinMethodType, obj.__module__, obj.__qualname__, owner)
        elif id(obj) in _SEEDED:
            obj = (type(obj), _SEEDED[id(obj)])
        elif type(obj) in (np.ndarray, np.memmap):  # with the strides of a copy, as in another process
            order = "F" if obj.flags.fnc else "C"
            obj = obj.ravel(order).reshape(obj.shape, order=order)
        super().save(obj)

    def memoize(self, obj):
        if type(obj) is not tuple:  # equal constants of code are one object or several, as it was compiled or read
            super().memoize(obj)

    def _batch_setitems(self, items, *args):
        super(Hasher, self)._batch_setitems(items, *args)  # joblib would sort them

    def save_reduce(self, func, args, state=None, *others, obj=None):
        if isinstance(state, dict) and _home(obj).startswith("pandas."):
            state = {name: value for name, value in state.items() if name != "_cache"}  # which using an array fills
        elif getattr(func, "__name__", None) == "_restore_array":
            args = _without_counts(*args)
        super().save_reduce(func, args, state, *others, obj=obj)

    def reducer_override(self, obj):
        if type(obj) in _PLAIN or type(obj) in (tuple, dict):
            return NotImplemented
        if isinstance(obj, (type, FunctionType, ModuleType)):
            return getattr(obj, "__qualname__", obj.__name__)
        state = self._state(obj)
        return NotImplemented if state is None else (object, (), (type(obj), state))

    def _state(self, obj):
        """Return the state of an object whose type needs more than pickle stores, and None for any other."""
        if type(obj) is list:
            return repr(obj) if _PLAIN.issuperset(map(type, obj)) else None
        if type(obj) in (set, frozenset):
            return sorted(map(repr if _PLAIN.issuperset(map(type, obj)) else _digest, obj))
        if isinstance(obj, torch.Tensor):
            storage = self.storages.setdefault(obj.untyped_storage().data_ptr(), len(self.storages))
            layout = (str(obj.dtype), *obj.shape, obj.stride(), obj.storage_offset(), storage)
            attributes = {name: value for name, value in vars(obj).items() if not name.startswith("_dynamo")}
            return (layout, obj.requires_grad, attributes, as_bytes(obj))
        if isinstance(obj, NeuralNet):
            return (net_params(obj), net_state(obj))
        if isinstance(obj, CodeType):
            names = (obj.co_names, obj.co_varnames, obj.co_freevars, obj.co_cellvars)
            counts = (obj.co_argcount, obj.co_posonlyargcount, obj.co_kwonlyargcount, obj.co_flags)
            return (obj.co_code, obj.co_exceptiontable, names, counts, obj.co_consts)
        if type(obj) is property:
            return (obj.fget, obj.fset, obj.fdel)
        if type(obj) in (staticmethod, classmethod):
            return (obj.__func__,)
        if isinstance(obj, pickle.PickleBuffer):
            return bytes(obj)
        if type(obj) is MappingProxyType:  # of dataclasses
            return dict(obj)
        if type(obj) is TypeVar:
            return repr(obj)
        return () if isinstance(obj, _LOCKS) else None

    def save_global(self, obj, name=None):
        """Write the name of installed code. For other code, write a number; its content is written separately."""
        module = obj.__name__ if isinstance(obj, ModuleType) else _home(obj)
        _check(module if isinstance(obj, ModuleType) else f"{module}.{name}")
        homes = (module, getattr(obj, "__module__", module))  # two if it is decorated
        versions = tuple(map(_version, homes))
        if all(versions) and any(_is_named(obj, home, name) for home in homes):
            self.save((homes, name, versions, _replaced(obj)))
            self.memoize(obj)
        elif isinstance(obj, (type, FunctionType, ModuleType)):
            if id(obj) not in self.numbers:
                self.numbers[id(obj)] = len(self.code)
                self.code.append(obj)
            self.save((type(obj).__name__, self.numbers[id(obj)]))
        else:
            raise pickle.PicklingError(f"{obj!r} is known by its name alone")


def _without_counts(data):
    """Return the parts of an array of pyarrow without the number of nulls, which pyarrow counts when it is asked for it."""
    kind, length, _, offset, buffers, children, *others = data
    return (kind, length, offset, buffers, list(map(_without_counts, children)), *others)


def as_bytes(tensor):
    """Return the numbers of a tensor, of whatever dtype and device, as an ndarray of bytes."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


def net_params(net):
    """Return the parameters of a net that its training depends on."""
    params = {name: value for name, value in sorted(net.get_params(deep=False).items()) if name != "verbose"}
    accelerator = params.get("accelerator")  # of skorch's AccelerateMixin, which changes during use
    if accelerator is not None:  # each process stores its own result, because none can wait for another
        names = ("process_index", "num_processes", "mixed_precision", "gradient_accumulation_steps", "distributed_type")
        params["accelerator"] = (type(accelerator), [str(getattr(accelerator, name)) for name in names])
    return params


def net_state(net):
    """Return everything in a net that its predictions may depend on, except for its parameters."""
    others = {"history_", "virtual_params_", "accelerator", "_wrapped_with_accelerator", *net.get_params(deep=False)}
    kept = {name: value for name, value in vars(net).items() if not isinstance(value, torch.optim.Optimizer)}
    return sorted(
        (name, getattr(value, "_orig_mod", value))  # not what torch.compile knows of it
        for name, value in kept.items()
        if name not in others and not name.startswith("callbacks")
    )


def net_modules(net):
    """Return the modules of an initialized net by name, its criterion included."""
    return {name: value for name, value in vars(net).items() if isinstance(value, torch.nn.Module)}


def _home(obj):
    """Return the name of the module that defines a function or class; a decorator may have set another one."""
    if isinstance(obj, FunctionType):
        return obj.__globals__.get("__name__")
    return getattr(obj, "__module__", None) or type(obj).__module__


def _is_named(obj, module, name):
    """Return whether the module of an object has the object under its name, or the object is not Python code."""
    if isinstance(obj, ModuleType) or (isinstance(obj, type) and not obj.__flags__ & _HEAP_TYPE):
        return True
    try:
        return reduce(getattr, name.split("."), sys.modules[module]) is obj
    except (AttributeError, KeyError):
        return False


_HEAP_TYPE = 1 << 9  # of types that are made by a class statement, or as one makes them


def _is_finder(obj):
    return isinstance(obj, ModuleType) and obj.__name__.partition(".")[0] in _MODULES


def _check(name):
    """Raise an error if a module, function or class finds code or settings by a name that is known only when it runs."""
    if name in _FUNCTIONS or (name.partition(".")[0] in _MODULES and not name.startswith("builtins.")):
        raise pickle.PicklingError(f"{name} finds code or settings by a name")


def _replaced(obj):
    """Return the methods of an installed class and its bases that were replaced by functions that are not installed."""
    members = [(name, value) for base in getattr(obj, "__mro__", ()) for name, value in sorted(vars(base).items())]
    members = [(name, getattr(value, "__func__", getattr(value, "fget", value))) for name, value in members]
    return tuple((name, value) for name, value in members if type(value) is FunctionType and not _version(_home(value)))


def _contents(code):
    """Return everything that a class, a function or a module that is not installed uses."""
    if isinstance(code, ModuleType):
        members = {name: value for name, value in vars(code).items() if name not in _OF_MODULES}
        # What finds code or settings is refused where functions use it, because many modules import sys.
        return (code.__name__, sorted((name, value) for name, value in members.items() if not _is_finder(value)))
    if isinstance(code, type):
        # By name, because some classes get theirs from a set, in an order that varies.
        own = sorted((name, value) for name, value in vars(code).items() if name not in _MADE)
        return (code.__module__, type(code), code.__bases__, own)
    values = [code.__defaults__, code.__kwdefaults__, vars(code), getattr(code, "__annotations__", None)]
    closure = [_enclosed(cell) for cell in code.__closure__ or ()]
    used = [] if _version(_home(code)) else _used(code.__code__, code.__globals__)
    return (_home(code), code.__qualname__, code.__code__, values, closure, used)


def _enclosed(cell):
    try:
        return (cell.cell_contents,)
    except ValueError:  # empty yet
        return ()


def _used(code, namespace):
    """Return the globals and builtins that code and its nested code use, and the members of modules that they use."""
    used: list = []
    instructions = [one for one in dis.get_instructions(code) if one.opname != "EXTENDED_ARG"]
    for position, one in enumerate(instructions):
        if one.opname == "IMPORT_NAME":
            if instructions[position - 2].argval or not _version(one.argval):
                raise pickle.PicklingError(f"{code.co_name} imports {one.argval}, which is not installed")
            _check(one.argval)
        if one.argval in _ATTRIBUTES:
            raise pickle.PicklingError(f"{code.co_name} finds code or settings by a name, with {one.argval}")
        if one.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
            values = _follow(one.argval, namespace, instructions[position + 1 :])
            used += [(one.argval, value) for value in values]
    for constant in code.co_consts:
        used += _used(constant, namespace) if isinstance(constant, CodeType) else []
    return used


def _follow(name, namespace, instructions):
    """Return the value of a global or builtin and, if it is a module, what the next instructions take from it."""
    if name not in namespace and not hasattr(builtins, name):
        return []
    values = [namespace.get(name, getattr(builtins, name, None))]
    for one in instructions:
        if one.opname not in ("LOAD_ATTR", "LOAD_METHOD") or not isinstance(values[-1], ModuleType):
            break
        values.append(getattr(values[-1], one.argval, None))
    return [value for value in values if not _is_ufunc(value)]


def _is_ufunc(value):
    """Return whether a value is a function of NumPy or SciPy that pickle may not find by its name."""
    if not isinstance(value, np.ufunc):
        return False
    return any(getattr(sys.modules.get(name), value.__name__, None) is value for name in ("numpy", "scipy.special"))


@cache
def _version(name):
    """Return the name, version and content of a module's distribution, or None if the module's own content counts."""
    top = str(name).partition(".")[0]
    if top == __package__ or top in sys.builtin_module_names:
        return top
    file = _file(name) or _file(top)
    if file is None:
        return None
    if top in sys.stdlib_module_names:
        return top if file.is_relative_to(sysconfig.get_path("stdlib")) else None
    for distribution in _distributions(top):
        folder = Path(str(distribution.locate_file(""))).resolve()
        files, content = _record(distribution.name)
        if file.is_relative_to(folder) and f"\n{file.relative_to(folder).as_posix()}," in files:
            return f"{distribution.name} {distribution.version} {content}"
    if file.suffix != ".py":
        raise pickle.PicklingError(f"the compiled module {name} is not installed")
    return None


def _file(name):
    module = sys.modules.get(name)
    if module is None and "." not in name:
        spec = importlib.util.find_spec(name)
        return Path(spec.origin).resolve() if spec and spec.has_location and spec.origin else None
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file else None


def _distributions(top):
    """Yield the distributions that may contain a module, that of the same name first, because a search of all is slow."""
    with suppress(metadata.PackageNotFoundError):
        yield metadata.distribution(top)
    for name in _packages().get(top, ()):
        yield metadata.distribution(name)


_packages = cache(metadata.packages_distributions)


@cache
def _record(name):
    """Return the RECORD of the files of a distribution and their hashes, and its own hash, the same wherever it is installed."""
    lines = (metadata.distribution(name).read_text("RECORD") or "").splitlines()
    lines = [line for line in lines if ",sha256=" in line and not line.startswith("..") and ".dist-info/" not in line]
    files = "\n" + "\n".join(sorted(lines))
    return files, hashlib.md5(files.encode(), usedforsecurity=False).hexdigest()
