"""One table of what tells two nets apart, looked at by itself here, and in a script and a notebook by test_memory.py."""

import builtins
import functools
import importlib
import pickle
import sys
from collections import OrderedDict
from contextlib import contextmanager
from types import MethodType

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from conftest import MLP, in_new_process, make_net

from skprune._cache import digest

# A net whose forward calls activate(self, X).
NET = """
class Own(torch.nn.Module):
    def __init__(self, layers=None):
        super().__init__()
        self.linear = torch.nn.Linear(6, 3)

    def forward(self, X):
        return activate(self, self.linear(X))

    def scale(self, X):
        return X

def make():
    return net_of(Own)
"""
PLAIN = "\ndef activate(self, X):\n    return X\n"
# What is defined, what is done then, and what is done instead that makes another net.
CHANGES = {
    "class attribute that is a list": (
        "\ndef activate(self, X):\n    return X * self.slopes[0]\n",
        "Own.slopes = [0.1]",
        "Own.slopes = [0.2]",
    ),
    "global constant": ("\ndef activate(self, X):\n    return X * SLOPE\n", "SLOPE = 0.1", "SLOPE = 0.2"),
    "global of a lambda": (
        "\ndef activate(self, X):\n    return (lambda: X * SLOPE)()\n",
        "SLOPE = 0.1",
        "SLOPE = 0.2",
    ),
    "helper function": (
        "\ndef activate(self, X):\n    return helper(X)\n",
        "def helper(X):\n    return X * 0.1",
        "def helper(X):\n    return X * 0.2",
    ),
    "helper class": (
        "\ndef activate(self, X):\n    return Helper().of(X)\n",
        "class Helper:\n    def of(self, X):\n        return X * 0.1",
        "class Helper:\n    def of(self, X):\n        return X * 0.2",
    ),
    "decorated forward": (
        PLAIN,
        "Own.forward = checked(lambda self, X: self.linear(X) * 0.1)",
        "Own.forward = checked(lambda self, X: self.linear(X) * 0.2)",
    ),
    "forward decorated by torch": (
        PLAIN,
        "Own.scale = torch.enable_grad()(lambda self, X: X * 0.1)",
        "Own.scale = torch.enable_grad()(lambda self, X: X * 0.2)",
    ),
    "static method": (PLAIN, "Own.scale = staticmethod(lambda X: 1)", "Own.scale = staticmethod(lambda X: 2)"),
    "class method": (PLAIN, "Own.scale = classmethod(lambda c, X: 1)", "Own.scale = classmethod(lambda c, X: 2)"),
    "property": (PLAIN, "Own.scale = property(lambda self: 1)", "Own.scale = property(lambda self: 2)"),
    "setter": (PLAIN, "Own.scale = property(None, lambda s, v: 1)", "Own.scale = property(None, lambda s, v: 2)"),
    "default": (PLAIN, "def scale(X, by=1): pass\nOwn.scale = scale", "def scale(X, by=2): pass\nOwn.scale = scale"),
    "default by name": (
        PLAIN,
        "def scale(X, *, by=1): pass\nOwn.scale = scale",
        "def scale(X, *, by=2): pass\nOwn.scale = scale",
    ),
    "attribute of a method": (PLAIN, "Own.scale.by = 1", "Own.scale.by = 2"),
    "closure of a method": (PLAIN, "Own.scale = scaled(0.1)", "Own.scale = scaled(0.2)"),
    "closure of a collate_fn": (
        PLAIN,
        "def make(): return net_of(Own, iterator_train__collate_fn=collated(0.1))",
        "def make(): return net_of(Own, iterator_train__collate_fn=collated(0.2))",
    ),
    "function that is a bound method": (
        PLAIN,
        "def make(): return net_of(Own, iterator_train__collate_fn=MethodType(collated(0.1), 1))",
        "def make(): return net_of(Own, iterator_train__collate_fn=MethodType(collated(0.2), 1))",
    ),
    "base": (
        PLAIN,
        "class Base(torch.nn.Module): by = 1\nclass Own(Base, Own): pass",
        "class Base(torch.nn.Module): by = 2\nclass Own(Base, Own): pass",
    ),
    "method of a local module, replaced": (
        "\nimport shapes\ndef activate(self, X):\n    return shapes.bend(X)\n",
        "shapes.bend = lambda X: X * 0.1",
        "shapes.bend = lambda X: X * 0.2",
    ),
    "method of an installed class, replaced": (
        "\nclass Net(NeuralNetClassifier): pass\ndef activate(self, X):\n    return X\n",
        "NeuralNetClassifier.scale = lambda self: 1",
        "NeuralNetClassifier.scale = lambda self: 2",
    ),
    "function of an installed module, replaced": (
        "\ndef activate(self, X):\n    return skorch.utils.scale(X)\n",
        "skorch.utils.scale = lambda X: X * 0.1",
        "skorch.utils.scale = lambda X: X * 0.2",
    ),
    "method of an installed class that is found in its module, replaced": (
        "\ndef activate(self, X):\n    return skorch.NeuralNetClassifier.scale(X)\n",
        "NeuralNetClassifier.scale = lambda X: X * 0.1",
        "NeuralNetClassifier.scale = lambda X: X * 0.2",
    ),
    "order of layers": (
        PLAIN,
        "def make(): return net_of(Own, module__layers={'a': 1, 'b': 2})",
        "def make(): return net_of(Own, module__layers={'b': 2, 'a': 1})",
    ),
    "set": (
        "\ndef activate(self, X):\n    return X * len(CHOSEN)\n",
        "CHOSEN = {'aa', 'bb', 'cc'}",
        "CHOSEN = {'aa', 'bb'}",
    ),
    "function in a set": (
        "\ndef activate(self, X):\n    return X * len(CHOSEN)\n",
        "CHOSEN = {checked(lambda: 1)}",
        "CHOSEN = {checked(lambda: 2)}",
    ),
    "builtin, replaced": (
        "\nimport builtins\ndef activate(self, X):\n    return X * slope()\n",
        "builtins.slope = lambda: 1",
        "builtins.slope = lambda: 2",
    ),
    "local module in a local module": (
        "\nimport shapes\ndef activate(self, X):\n    other = shapes\n    return other.more.bend(X)\n",
        "shapes.more.SLOPE = 1",
        "shapes.more.SLOPE = 2",
    ),
    "state of a net that is used": (
        "\ndef activate(self, X):\n    return X * TEACHER.shift_\n",
        "TEACHER = net_of(Own)\nTEACHER.shift_ = 1",
        "TEACHER = net_of(Own)\nTEACHER.shift_ = 2",
    ),
    "default of a dataclass": (
        "\ndef activate(self, X):\n    return X * Config().slope\n",
        "@dataclass\nclass Config:\n    slope: float = 0.1",
        "@dataclass\nclass Config:\n    slope: float = 0.2",
    ),
    "setting of an installed module": (
        "\ndef activate(self, X):\n    return X * skorch.utils.scale\n",
        "skorch.utils.scale = 0.1",
        "skorch.utils.scale = 0.2",
    ),
    "default dtype": (PLAIN, "torch.set_default_dtype(torch.float32)", "torch.set_default_dtype(torch.float64)"),
    "deterministic algorithms": (
        PLAIN,
        "torch.use_deterministic_algorithms(False)",
        "torch.use_deterministic_algorithms(True)",
    ),
    "precision of products": (
        PLAIN,
        "torch.set_float32_matmul_precision('highest')",
        "torch.set_float32_matmul_precision('high')",
    ),
    "version of skprune": (PLAIN, "skprune.__version__ = '1'", "skprune.__version__ = '2'"),
    "version of skorch": (PLAIN, "skorch.__version__ = '1'", "skorch.__version__ = '2'"),
    "version of torch": (PLAIN, "torch.__version__ = '2.9.1'", "torch.__version__ = '2.9.2'"),
}
# What makes no other net.
SAME = {
    "verbose": (PLAIN, "def make(): return net_of(Own, verbose=0)", "def make(): return net_of(Own, verbose=1)"),
    "place in the file": (PLAIN, "", NET.replace("\n\n", "\n\n\n    # with a comment\n")),
    "order of a set": (
        "\ndef activate(self, X):\n    return X * len(CHOSEN)\n",
        "CHOSEN = set(['aa', 'bb', 'cc', 1.5])",
        "CHOSEN = set([1.5, 'cc', 'bb', 'aa'])",
    ),
    "strings made anew": (PLAIN, "Own.name = ['aa', 'aa']", "Own.name = ['aa', ''.join(['a', 'a'])]"),
    "use of a class": (PLAIN, "", "copy.copy(Own())"),
    "global that is not used": (PLAIN, "OTHER = 1", "OTHER = 2"),
    "method called eval": (PLAIN, *["Own.scale = lambda self, X: self.eval()"] * 2),
    "state of the global generators": (
        "\nimport random\nfrom numpy.random import normal\ndef activate(self, X):\n    return X * random.random() * normal()\n",
        "",
        "random.random(), normal()",
    ),
    "methods that are made from a set": (
        "\nimport scipy.sparse\ndef activate(self, X):\n    return scipy.sparse.csr_array and X\n",
        *["Own.T = TypeVar('T')"] * 2,
    ),
    "use of an optimizer": (
        "\ndef activate(self, X):\n    return torch.optim.AdamW and X\n",
        "",
        "torch.optim.AdamW(Own().parameters())",
    ),
    "use of a function that is decorated": (
        "\ndef activate(self, X):\n    return torch.utils.checkpoint.checkpoint(torch.relu, X, use_reentrant=False)\n",
        "",
        "Own()(torch.ones(1, 6))",
    ),
    "lock": (PLAIN, "Own.lock = threading.Lock()", "Own.lock = threading.Lock()"),
}
# What can't be told to be the same.
UNKNOWN = {
    "ufunc of an own function": (
        "\ndef activate(self, X):\n    return X * float(SCALE(1))\n",
        "SCALE = numpy.frompyfunc(lambda x: x, 1, 1)",
        "SCALE = numpy.frompyfunc(lambda x: 2 * x, 1, 1)",
    ),
    "static method with a state": (
        "\nclass Static(staticmethod): pass\n" + PLAIN,
        *["Own.scale = Static(len)\nvars(Own)['scale'].by = 1"] * 2,
    ),
    "generator": (PLAIN, "Own.slopes = (x for x in [1])", "Own.slopes = (x for x in [1])"),
    "cached function": (
        "\ndef activate(self, X):\n    return X * cached()\n",
        "cached = functools.cache(lambda: 1)",
        "cached = functools.cache(lambda: 1)",
    ),
    "names looked up": (PLAIN, *["Own.scale = lambda self, X: globals()['SLOPE']"] * 2),
    "code in a string": (PLAIN, *["class Later:\n    def of(X):\n        return exec('1')\nOwn.later = Later"] * 2),
    "module found by its name": (
        PLAIN,
        *["import importlib\nOwn.scale = lambda self, X: importlib.import_module('shapes')"] * 2,
    ),
    "module found by another name of a function": (
        PLAIN,
        *["from importlib import import_module as load\nOwn.scale = lambda self, X: load('shapes')"] * 2,
    ),
    "module found in sys, imported in the function": (
        PLAIN,
        *["def scale(X):\n    import sys\n    return sys.modules['shapes']\nOwn.scale = scale"] * 2,
    ),
    "module found in sys, in a library": (
        PLAIN,
        *["import os\nOwn.scale = lambda self, X: os.sys.modules['shapes']"] * 2,
    ),
    "module found in sys, in a local module": (
        PLAIN,
        *["import shapes\nOwn.scale = lambda self, X: shapes.sys.modules['shapes']"] * 2,
    ),
    "function found by pydoc": (
        PLAIN,
        *["import pydoc\nOwn.scale = lambda self, X: pydoc.locate('shapes.bend')(X)"] * 2,
    ),
    "code by another name of eval": (PLAIN, *["run = eval\nOwn.scale = lambda self, X: run('X')"] * 2),
    "eval as an attribute": (PLAIN, *["Own.scale = eval"] * 2),
    "code in a pickle": (PLAIN, *["import pickle\nOwn.scale = lambda self, X: pickle.loads(b'')"] * 2),
    "classes found as subclasses": (PLAIN, *["Own.scale = lambda self, X: Own.__subclasses__()"] * 2),
    "setting by another name of getenv": (
        PLAIN,
        *["from os import getenv as setting\nOwn.scale = lambda self, X: setting('SLOPE')"] * 2,
    ),
    "module found in sys": (PLAIN, *["import sys\nOwn.scale = lambda self, X: sys.modules['shapes']"] * 2),
    "code by builtins": (PLAIN, *["import builtins\nOwn.scale = lambda self, X: builtins.eval('X')"] * 2),
    "globals of a function": (PLAIN, *["Own.scale = lambda self, X: self.scale.__func__.__globals__"] * 2),
    "environment": (PLAIN, *["import os\nOwn.scale = lambda self, X: os.environ['SLOPE']"] * 2),
    "import in a function": (PLAIN, *["import shapes\ndef scale(X):\n    import shapes\nOwn.scale = scale"] * 2),
    "function in a set that is unknown": (
        "\ndef activate(self, X):\n    return X * len(CHOSEN)\n",
        *["CHOSEN = {(lambda: eval('1'))}"] * 2,
    ),
}
SETUP = """
import copy, functools, numpy, threading
from dataclasses import dataclass
from typing import TypeVar
from types import MethodType
import skorch, torch, skprune
from skorch import NeuralNetClassifier

def net_of(module, **params):
    return NeuralNetClassifier(module, **params)

def checked(function):
    @functools.wraps(function)
    def call(*args):
        return function(*args)
    return call

def scaled(by):
    return lambda self, X: X * by

def collated(by):
    return lambda *samples: by and torch.utils.data.default_collate(samples[-1])
"""


def write_modules(folder):
    (folder / "shapes.py").write_text("import sys\nimport more\ndef bend(X):\n    return X\n")
    (folder / "more.py").write_text("SLOPE = 1\ndef bend(X):\n    return X * SLOPE\n")


@pytest.fixture
def namespace(tmp_path, monkeypatch):
    """What a cell of a notebook sees, its local module included; changes of libraries are undone."""
    import skorch

    import skprune

    write_modules(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for library in (skprune, skorch, torch):
        monkeypatch.setattr(library, "__version__", str(library.__version__))
    monkeypatch.setattr(skorch.NeuralNetClassifier, "scale", None, raising=False)
    monkeypatch.setattr(skorch.utils, "scale", None, raising=False)
    monkeypatch.setattr(builtins, "slope", None, raising=False)
    yield {"__name__": "__main__"}
    torch.set_default_dtype(torch.float32)
    torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision("highest")
    for name in ("shapes", "more"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("case", [*CHANGES, *SAME, *UNKNOWN])
def test_the_table(namespace, case):
    definitions, before, after = {**CHANGES, **SAME, **UNKNOWN}[case]
    found = []
    for change in (before, before, after):
        exec(SETUP + definitions + NET + change, namespace)
        found.append(digest(namespace["make"]()))
    first, again, changed = found
    if case in UNKNOWN:
        assert found == [None] * 3
    else:
        assert None not in found
        assert first == again
        assert (first == changed) == (case in SAME)


class Uses(torch.nn.Module):
    """A module that calls a function of an installed module, and one of an installed class."""

    def forward(self, X):
        return torch.nn.functional.relu(torch.nn.Linear.forward(self, X))


@contextmanager
def hook():
    handle = torch.nn.modules.module.register_module_forward_hook(lambda module, args, output: output * 0)
    yield
    handle.remove()


def identity(X):
    return X


@contextmanager
def replaced(owner, name, value):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, value)
        yield


@pytest.mark.parametrize(
    "change",
    [
        functools.partial(torch.autocast, "cpu"),
        functools.partial(torch.autocast, "cpu", torch.float16),
        torch.inference_mode,
        hook,
        functools.partial(torch.device, "meta"),
        functools.partial(replaced, torch.nn.Linear, "forward", identity),
        functools.partial(replaced, torch.nn.Module, "eval", staticmethod(identity)),
        functools.partial(replaced, torch.nn.Module, "eval", property(identity)),
        functools.partial(replaced, torch.nn.functional, "relu", torch.nn.functional.elu),
    ],
)
def test_what_changes_a_computation_from_outside(change):
    torch.nn.modules.module.register_module_full_backward_hook(lambda module, *gradients: None).remove()
    before = digest(Uses)
    with change():
        changed = digest(Uses)
    assert digest(Uses) == before is not None
    assert changed != before  # None means that it is trained each time


class Named(set):
    def __init__(self, items, name):
        super().__init__(items)
        self.name = name


def shared(apart):
    first = torch.zeros(4)
    return [first[:2], torch.zeros(4)[:2] if apart else first[:2]]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([1, 2], [1, 3]),
        ([1], [True]),
        ([1], [1.0]),
        ([], ()),
        ("1", 1),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)),
        (Named({1}, "a"), Named({1}, "b")),
        ({1}, frozenset({1})),
        (np.zeros(3), np.zeros(3, np.float32)),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (torch.zeros(3), torch.zeros(3, dtype=torch.float64)),
        (torch.zeros(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16)),
        (torch.zeros(2, 3), torch.zeros(3, 2)),
        (torch.zeros(3), torch.nn.Parameter(torch.zeros(3))),
        (torch.zeros(3), torch.zeros(3, requires_grad=True)),
        (shared(False), shared(True)),
        ([torch.zeros(1)] * 2, [torch.zeros(1), torch.zeros(1)]),
        (torch.float32, torch.float64),
        (np.add, np.multiply),
        (functools.partial(max, 1), functools.partial(max, 2)),
        ("a".upper, "b".upper),
        (torch.relu, torch.tanh),
        (torch.nn.Linear, torch.nn.Bilinear),
        (make_net(), make_net(lr=0.2)),
        (make_net(MLP()), make_net(MLP())),
        (make_net().initialize(), make_net().initialize()),
    ],
)
def test_what_differs(first, second):
    assert digest(first) is not None
    assert digest(first) == digest(first)
    assert digest(second) not in (None, digest(first))


def test_layouts_of_arrays_that_copies_do_not_keep():
    X = np.arange(12.0).reshape(3, 4)
    for part in (X[:, ::2], X[::-1], X[:, :2], X[:, 0][:, None], X[0][None], X.T, X.T[::2], np.array(1.0)):
        assert digest(part) == digest(pickle.loads(pickle.dumps(part))) is not None
    assert len({digest(part) for part in (X, X.T, X.copy("F"), X[::-1], X[:, ::-1])}) == 5


def test_what_is_counted_or_kept_when_it_is_used():
    table = pa.table({"a": [[1, 2], [3]], "b": ["x", "y"]}).cast(
        pa.schema({"a": pa.list_(pa.int32()), "b": pa.string()})
    )
    frame = pd.DataFrame({"a": [1, 2]}, dtype="Int64")
    for data in (table, frame):
        before = digest(data)
        assert digest(pickle.loads(pickle.dumps(data))) == before is not None
        _ = frame.to_numpy(), [column.null_count for column in table.columns]
        assert digest(data) == before


def digests_around_first_uses():
    from transformers import BertConfig, BertForSequenceClassification

    def look():
        return [
            digest(one) for one in (BertForSequenceClassification, torch.nn.Linear, torch.optim.SGD, torch.optim.AdamW)
        ]

    before = look()
    small = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4}
    BertForSequenceClassification(BertConfig(vocab_size=4, **small))
    torch.compile(torch.nn.Linear(1, 1), backend="eager")(torch.ones(1, 1))
    return before, look()


def test_what_libraries_add_to_classes_at_first_use():
    before, after = in_new_process(digests_around_first_uses)
    assert before == after
    assert None not in before


def test_large_sets():
    words = {str(number) for number in range(5000)}
    assert digest(words) == digest(set(sorted(words))) not in (None, digest(words - {"7"}))


def test_what_has_no_digest():
    for unknown in (
        (x for x in []),
        sys.stdout,
        {max, sys.stdout},
        MethodType(len, sys.stdout),
        torch.zeros(2, 2).to_sparse(),
    ):
        assert digest(unknown) is None


def test_two_classes_that_use_each_other():
    def first():
        return second

    def second():
        return first

    assert digest([first, second]) == digest([first, second]) is not None


RECORD = "pruned_nets/__init__.py,sha256={},9\n../../bin/pruned,sha256=c,9\npruned_nets-1.dist-info/RECORD,,\n"


@pytest.mark.parametrize(
    ("version", "record", "is_same"),
    [
        ("1", RECORD.format("a"), True),
        ("1", RECORD.format("a").replace("sha256=c", "sha256=d"), True),
        ("1", RECORD.format("b"), False),
        ("2", RECORD.format("a"), False),
    ],
    ids=["same", "other script", "installed again", "version"],
)
def test_code_that_is_installed_counts_by_its_version_and_files(tmp_path, monkeypatch, version, record, is_same):
    def install(version, record):
        for cached in (skprune._digest._version, skprune._digest._record):
            cached.cache_clear()
        (folder / "RECORD").write_text(record)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: pruned_nets\nVersion: {version}\n")

    (tmp_path / "pruned_nets").mkdir()
    (tmp_path / "pruned_nets" / "__init__.py").write_text("class Net: pass\n")
    (folder := tmp_path / "pruned_nets-1.dist-info").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    install("1", RECORD.format("a"))
    monkeypatch.delitem(sys.modules, "pruned_nets", raising=False)
    net = importlib.import_module("pruned_nets").Net
    before = digest(net)
    monkeypatch.setattr(net, "layers", 3, raising=False)
    assert digest(net) == before  # not by its content
    install(version, record)
    assert (digest(net) == before) is is_same
