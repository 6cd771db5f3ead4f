import copy
import functools
import json
import os
import pickle
import subprocess
import sys
import threading
import time
import warnings
from collections import OrderedDict

import joblib
import nbformat
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import skorch
import torch
from conftest import MLP, make_net
from datasets import Dataset
from nbclient import NotebookClient
from sklearn.base import clone
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from skorch.callbacks import Callback
from test_scoring import CountTrainings, n_trainings
from torch.utils.data import default_collate

import skprune
from skprune import ForgettingSelector, Pipeline, PruningWarning, _cache, _training
from skprune._cache import Store, digest, find_store, recall

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
CHANGES |= {
    "cached function": (
        "\ndef activate(self, X):\n    return X * cached()\n",
        "cached = functools.cache(lambda: 1)",
        "cached = functools.cache(lambda: 2)",
    ),
    "local module that a function imports": (
        PLAIN,
        "import shapes\nshapes.SLOPE = 1\ndef scale(X):\n    import shapes\nOwn.scale = scale",
        "shapes.SLOPE = 2",
    ),
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
    "use of a cached function": (
        "\n@functools.cache\ndef cached():\n    return 1\n\ndef activate(self, X):\n    return X * cached()\n",
        "",
        "cached()",
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
    "generator": (PLAIN, "Own.slopes = (x for x in [1])", "Own.slopes = (x for x in [1])"),
}
CASES = {**CHANGES, **SAME, **UNKNOWN}
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
    write_modules(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for library in (skprune, skorch, torch):
        monkeypatch.setattr(library, "__version__", str(library.__version__))
    yield {"__name__": "__main__"}
    torch.set_default_dtype(torch.float32)
    torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision("highest")
    for name in ("shapes", "more"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("case", CASES)
def test_the_table(namespace, case):
    definitions, before, after = CASES[case]
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


@pytest.mark.parametrize(
    "change",
    [
        functools.partial(torch.autocast, "cpu"),
        functools.partial(torch.autocast, "cpu", torch.float16),
        torch.inference_mode,
        functools.partial(torch.device, "meta"),
    ],
)
def test_what_changes_a_computation_from_outside(change):
    before = digest(MLP)
    with change():
        changed = digest(MLP)
    assert digest(MLP) == before is not None
    assert changed != before  # None means that it is trained each time


class Named(set):
    def __init__(self, items, name):
        super().__init__(items)
        self.name = name


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


def test_data_that_are_used_between_two_fits(folder, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(36, 6)), columns=list("abcdef"))
    matrix = scipy.sparse.csr_array(np.where(frame > 0, frame, 0).astype(np.float32))
    table = Dataset.from_dict({"X": frame.to_numpy(np.float32), "label": np.arange(36) % 3}).with_format("numpy")
    by_hand = make_net(dataset=skorch.dataset.Dataset, iterator_train__collate_fn=collate_dicts)
    for number, (net, X) in enumerate([(None, frame), (None, matrix), (by_hand, table)]):
        net = clone(net or make_net()).set_params(callbacks=[CountTrainings(str(folder))])
        encoder = None if X is table else "auto"
        selector = ForgettingSelector(net, encoder=encoder, memory=tmp_path / "memory", random_state=0)
        for _ in range(3):
            clone(selector).fit(X, np.arange(36) % 3)
            _ = X.mean() if X is not table else (X["X"][:].mean(), X["label"][:], X.data.column("label").null_count)
            assert X is not matrix or X.has_canonical_format
        assert n_trainings(folder) == number + 1


class Compiled(MLP):
    pass


def test_what_libraries_add_to_classes_at_first_use():
    before = digest(Compiled)
    torch.compile(copy.copy(Compiled()), backend="eager")(torch.ones(1, 6))
    assert digest(Compiled) == before is not None


def test_large_sets():
    words = {str(number) for number in range(5000)}
    assert digest(words) == digest(set(sorted(words))) not in (None, digest(words - {"7"}))


def test_what_has_no_digest():
    def cyclic():
        return cyclic.values

    cyclic.values = []
    cyclic.values.append(cyclic.values)
    for unknown in ((x for x in []), {(x for x in [])}, torch.zeros(2, 2).to_sparse(), cyclic):
        assert digest(unknown) is None


def test_two_classes_that_use_each_other():
    def first():
        return second

    def second():
        return first

    assert digest([first, second]) == digest([first, second]) is not None


# Cells of a notebook, and, one below the other, a script.
START = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from skprune import ForgettingSelector
from test_scoring import CountTrainings
folder = os.environ["FOLDER"]
X, y = np.random.default_rng(0).normal(size=(12, 6)), np.arange(12) % 3
results = {}

def count(case):
    before = len(os.listdir(os.path.join(folder, "trainings")))
    results.setdefault(case, [])
    seed = 2 + list(results).index(case)  # of each case its own, since nets of two cases may be the same
    net = make()
    net.set_params(max_epochs=1, batch_size=12, criterion=torch.nn.CrossEntropyLoss, train_split=None,
                   callbacks=[CountTrainings(os.path.join(folder, "trainings"))])
    ForgettingSelector(net, memory=os.path.join(folder, "memory"), random_state=seed).fit(X, y)
    results[case].append(len(os.listdir(os.path.join(folder, "trainings"))) - before)
"""
# A callback that writes into a list of the notebook, after an entry of a net with this callback was read.
LIVE = """
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
log = []

class Log(Callback):
    def __init__(self, is_on):
        self.is_on = is_on

    def on_train_begin(self, net, **kwargs):
        if self.is_on:
            log.append(1)

class Live(torch.nn.Linear):
    def forward(self, X):
        return super().forward(X)

def fit(seed, is_on):
    net = NeuralNetClassifier(Live, module__in_features=6, module__out_features=3, criterion=torch.nn.CrossEntropyLoss,
                              max_epochs=1, verbose=0, callbacks=[Log(is_on), CountTrainings(os.path.join(folder, "live"))])
    return ForgettingSelector(net, memory=os.path.join(folder, "memory"), random_state=seed).fit(X, y)

methods = Log.on_train_begin, Live.forward
fit(0, False)
recalled = fit(0, False)
is_rebuilt = recalled.estimator_.predict(X.astype("float32")).shape == (12,)
results["recalled"] = len(os.listdir(os.path.join(folder, "live"))), is_rebuilt
fit(1, True)
results["live"] = len(log), methods == (Log.on_train_begin, Live.forward), type(recalled.estimator_.module_) is Live
fit(1, True)
log.clear()
fit(1, True)
results["not stored"] = len(log)
"""
END = 'with open(os.path.join(folder, sys.argv[1] if sys.argv[1:2] == ["again"] else "results"), "w") as file:\n'
END += "    json.dump(results, file)\n"


def make_cells(cases):
    cells = [START, LIVE]
    for case in cases:
        definitions, before, after = CASES[case]
        for change in (before, before, after):
            cells.append(SETUP + definitions + NET + change)
            cells.append(
                f"count({case!r})\ntorch.set_default_dtype(torch.float32)\n"
                "torch.use_deterministic_algorithms(False)\ntorch.set_float32_matmul_precision('highest')\n"
            )
    return [*cells, END]


def expected_of(case):
    return [1, 1, 1] if case in UNKNOWN else [1, 0, 0] if case in SAME else [1, 0, 1]


@pytest.fixture
def place(tmp_path, monkeypatch):
    for name in ("trainings", "live"):
        (tmp_path / name).mkdir()
    write_modules(tmp_path)
    monkeypatch.setenv("FOLDER", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    return tmp_path


def check_results(place, cases):
    results = json.loads((place / "results").read_text())
    assert results.pop("recalled") == [1, True]
    assert results.pop("live") == [1, True, True]
    assert results.pop("not stored") == 1
    assert results == {case: expected_of(case) for case in cases}


@pytest.mark.slow
def test_nets_of_a_script(place):
    script = place / "script.py"
    script.write_text("\n".join(make_cells(CASES)))
    for arguments, seed in (([], "1"), (["again"], "2")):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, script, *arguments], check=True, env=environment, cwd=place)
    check_results(place, CASES)
    again = json.loads((place / "again").read_text())
    assert all(again[case] == ([1] * 3 if case in UNKNOWN else [0] * 3) for case in CASES)


@pytest.mark.filterwarnings("default")  # of the libraries that run the kernel
def test_nets_of_a_notebook(place):
    cases = ["helper class", "global of a lambda", "decorated forward", "place in the file", "set", "generator"]
    cells = [nbformat.v4.new_code_cell(cell) for cell in make_cells(cases)]
    NotebookClient(nbformat.v4.new_notebook(cells=cells), timeout=200, kernel_name="python3").execute(cwd=str(place))
    check_results(place, cases)


@pytest.fixture
def data(data):
    """Too few rows for models that have not seen them, which take most of the time of a fit."""
    return data[0][:36], data[1][:36]


def collate_dicts(samples):
    """Return a batch of rows of a datasets.Dataset."""
    return torch.stack([torch.as_tensor(row["X"]) for row, _ in samples]), torch.tensor([int(y) for _, y in samples])


class ReadFeatures(Callback):
    """Tell the module how many features there are, as skorch's documentation does."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        net.set_params(module__n_features=X.shape[1])


class Remembers(MLP):
    """Predict by what is no weight."""

    def forward(self, X):
        self.n_calls = getattr(self, "n_calls", 0) + self.training
        return super().forward(X) * self.n_calls


class Freeze(Callback):
    def on_train_begin(self, net, **kwargs):
        net.module_.layers[0].requires_grad_(False)


class Weighted(torch.nn.CrossEntropyLoss):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, y_pred, y_true):
        return super().forward(y_pred * self.scale, y_true)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of torch.compile
@pytest.mark.parametrize(
    ("params", "is_recalled"),
    [
        ({}, True),
        ({"module": MLP()}, True),
        ({"module__n_features": 5, "callbacks": [ReadFeatures]}, True),
        ({"callbacks": [Freeze]}, True),
        ({"compile": True, "compile__backend": "eager"}, True),
        ({"criterion": Weighted}, True),
        ({"module": Remembers}, True),
    ],
    ids=["class", "instance", "features", "frozen", "compiled", "criterion", "state that is no weight"],
)
def test_a_recalled_net_is_the_trained_one(data, tmp_path, params, is_recalled):
    (tmp_path / "trainings").mkdir()
    X, y = data
    net = make_net(**{"module__dropout": 0.2} | params if "module" not in params else params)
    net.set_params(callbacks=[*(net.callbacks or []), CountTrainings(str(tmp_path / "trainings"))])
    selector = ForgettingSelector(net, memory=tmp_path / "memory", random_state=0)
    trained = clone(selector).fit(X, y)
    np.random.seed(1)
    state = np.random.get_state()[1].copy(), torch.get_rng_state()
    recalled = clone(selector).fit(X, y)
    assert n_trainings(tmp_path / "trainings") == (1 if is_recalled else 2)
    np.testing.assert_array_equal(np.random.get_state()[1], state[0])
    assert torch.equal(torch.get_rng_state(), state[1])
    first, second = trained.estimator_, recalled.estimator_
    np.testing.assert_array_equal(first.predict_proba(X.astype("f")), second.predict_proba(X.astype("f")))
    assert first.history[:, "train_loss"] == second.history[:, "train_loss"]
    assert first.classes_.tolist() == second.classes_.tolist() == [0, 1, 2]
    for part in ("module_", "criterion_"):
        for one, other in zip(getattr(first, part).parameters(), getattr(second, part).parameters(), strict=True):
            assert torch.equal(one, other)
            assert one.requires_grad == other.requires_grad
    assert recalled.n_epochs_ == 4


generator = np.random.default_rng(0)


def with_noise(batch):
    X, y = default_collate(batch)
    return X + torch.from_numpy(generator.normal(size=X.shape)).float(), y


class Shifts(Callback):
    def on_train_begin(self, net, X=None, **kwargs):
        X[0] += 0.1


@pytest.mark.parametrize("make", [lambda: {"iterator_train__collate_fn": with_noise}, lambda: {"callbacks": [Shifts]}])
def test_a_training_that_changes_what_it_depends_on_is_not_stored(data, tmp_path, make):
    X, y = data[0].astype(np.float32), data[1]
    selector = ForgettingSelector(make_net(**make()), n_runs=2, memory=tmp_path, random_state=0)
    with pytest.warns(
        PruningWarning, match="is not stored, because it changes its own rows|because it changes global var"
    ):
        first = selector.fit(X, y).margins_
    with pytest.warns(PruningWarning, match="is not stored"):
        assert not np.array_equal(first, clone(selector).fit(X, y).margins_)
    assert not list(tmp_path.rglob("*.pkl"))


class Unknown(MLP):
    slopes = (slope for slope in [1])


def test_a_net_that_cannot_be_identified_trains_with_one_warning(data, folder, tmp_path):
    net = make_net(Unknown, callbacks=[CountTrainings(str(folder))])
    selector = ForgettingSelector(net, n_runs=2, memory=tmp_path / "memory", random_state=0)
    for n_trained in (2, 4):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            selector.fit(*data)
        (message,) = [str(one.message) for one in caught if "not stored" in str(one.message)]
        assert "because it can't be identified: " in message
        assert "joblib.Memory(None)" in message
        assert n_trainings(folder) == n_trained


SHARES = [0.9, 0.8, 0.7, 0.6, 0.5, "auto"]


@functools.lru_cache
def slope_of(n):
    return 1 / n


class Cached(MLP):
    def forward(self, X):
        return super().forward(X) * slope_of(2)


log = []


class Log(Callback):
    def on_epoch_end(self, net, **kwargs):
        log.append(len(net.history))


def search(data, folder, n_jobs=None, cv=5, params=None, **net_params):
    """Return how often a search over six k trains."""
    before = n_trainings(folder)
    callbacks = [CountTrainings(str(folder)), *net_params.pop("callbacks", ())]
    net = make_net(callbacks=callbacks, max_epochs=1, **net_params)
    selector = ForgettingSelector(net, strategy="random", **(params or {}))
    pipe = Pipeline([("prune", selector), ("clf", GaussianNB())])
    GridSearchCV(pipe, {"prune__k": SHARES}, cv=cv, n_jobs=n_jobs, error_score="raise").fit(*data)
    return n_trainings(folder) - before


SEARCHES = {
    "nothing set": {},
    "seed": {"params": {"random_state": 0}},
    "generator": {"params": {"random_state": np.random.RandomState(0)}},
    "cached function": {"module": Cached},
    "callback that fills a list": {"callbacks": [Log()]},
}


@pytest.mark.usefixtures("shared_runs")
@pytest.mark.parametrize("case", SEARCHES)
def test_a_search_trains_once_a_fold(data, folder, case):
    assert search(data, folder, **SEARCHES[case]) == 6


@pytest.mark.slow
@pytest.mark.usefixtures("shared_runs")
@pytest.mark.parametrize("case", ["nothing set", "cached function", "callback that fills a list"])
def test_a_search_in_two_processes_trains_once_a_fold(data, folder, case):
    assert search(data, folder, n_jobs=2, **SEARCHES[case]) == 6


@pytest.mark.usefixtures("shared_runs")
def test_a_search_in_threads_trains_once_a_fold(data, folder):
    with joblib.parallel_config("threading"):
        assert search(data, folder, n_jobs=3, callbacks=[Log()]) == 6


@pytest.mark.usefixtures("shared_runs")
@pytest.mark.parametrize("n_bytes", [2**28, 0])
def test_weights_that_do_not_fit_cost_no_training(folder, monkeypatch, n_bytes):
    monkeypatch.setattr(_cache, "_MAX_BYTES", n_bytes)
    X = np.random.default_rng(0).normal(size=(36, 512)).astype(np.float32)
    y = np.arange(36) % 3
    assert search((X, y), folder, module__n_features=512) == 6
    selector = ForgettingSelector(make_net(module__n_features=512, callbacks=[CountTrainings(str(folder))]))
    first, second = (clone(selector).fit(X, y) for _ in range(2))
    assert n_trainings(folder) == 7
    np.testing.assert_array_equal(first.estimator_.predict_proba(X), second.estimator_.predict_proba(X))
    assert n_trainings(folder) == (7 if n_bytes else 8)  # asked for, it is trained again


@pytest.mark.usefixtures("shared_runs")
def test_a_net_that_was_not_kept_and_a_training_that_does_not_repeat(data, monkeypatch):
    monkeypatch.setattr(_cache, "_MAX_BYTES", 0)
    selector = ForgettingSelector(make_net(iterator_train__collate_fn=with_noise))
    first, second = (clone(selector).fit(*data) for _ in range(2))
    np.testing.assert_array_equal(first.margins_, second.margins_)
    with pytest.warns(
        PruningWarning, match="estimator_ was not kept, so it was trained again. The training does not repeat"
    ):
        assert second.estimator_.n_features_in_ == 6 if hasattr(second.estimator_, "n_features_in_") else True


@pytest.mark.usefixtures("shared_runs")
@pytest.mark.parametrize("n_bytes", [2**28, 0])
def test_a_selector_that_is_pickled_has_its_net_but_no_rows(data, monkeypatch, n_bytes):
    monkeypatch.setattr(_cache, "_MAX_BYTES", n_bytes)
    X = np.random.default_rng(0).normal(size=(36, 6)).astype(np.float32)
    y = np.arange(36) % 3
    selector = ForgettingSelector(make_net(max_epochs=1))
    trained, recalled = (clone(selector).fit(X, y) for _ in range(2))
    content = pickle.dumps(recalled)
    assert X[:20].tobytes() not in content
    del selector
    loaded = pickle.loads(content)
    np.testing.assert_array_equal(loaded.margins_, trained.margins_)
    if n_bytes:
        np.testing.assert_array_equal(loaded.estimator_.predict_proba(X), trained.estimator_.predict_proba(X))
    else:
        with pytest.raises(AttributeError, match="estimator_ was not kept, and a selector that was copied or loaded"):
            _ = loaded.estimator_
    assert not hasattr(ForgettingSelector().fit(X, y, forgetting_scores=y), "estimator_")


@pytest.mark.usefixtures("shared_runs")
def test_clones_get_the_seed_that_their_original_drew(data):
    original = ForgettingSelector(make_net(module__dropout=0.2), tie_break="random")
    first, second = clone(original), clone(clone(original))
    margins = first.fit(*data).margins_
    np.testing.assert_array_equal(second.fit(*data).margins_, margins)
    np.testing.assert_array_equal(second.get_support(), first.get_support())
    np.testing.assert_array_equal(original.fit(*data).margins_, margins)
    again = original.fit(*data).margins_  # draws anew
    assert not np.array_equal(again, margins)
    np.testing.assert_array_equal(clone(original).fit(*data).margins_, again)
    assert not np.array_equal(clone(original).set_params(random_state=0).fit(*data).margins_, again)
    assert not np.array_equal(ForgettingSelector(make_net(module__dropout=0.2)).fit(*data).margins_, margins)


@pytest.mark.usefixtures("shared_runs")
def test_members_of_an_ensemble_draw_their_own_seeds(data):
    bagging = BaggingClassifier(
        Pipeline([("prune", ForgettingSelector(make_net(), k=0.5)), ("clf", LogisticRegression())]),
        n_estimators=2,
        bootstrap=False,
    ).fit(*data)
    first, second = (pipe["prune"].margins_ for pipe in bagging.estimators_)
    assert not np.array_equal(first, second)


@pytest.mark.usefixtures("shared_runs")
def test_the_folder_of_a_search_goes_with_its_selectors(data):
    selector = ForgettingSelector(make_net(max_epochs=1))
    copy = clone(selector).fit(*data)
    place = copy._lineage.folder
    assert os.listdir(place)
    assert pickle.loads(pickle.dumps(copy))._lineage is copy._lineage
    del selector
    assert os.listdir(place)
    del copy
    assert not os.path.exists(place)


@pytest.mark.usefixtures("shared_runs")
def test_clones_of_a_selector_that_was_loaded_share_runs(data, folder):
    selector = ForgettingSelector(make_net(callbacks=[CountTrainings(str(folder))]))
    content = pickle.dumps(clone(selector))
    del selector  # as if another session loads it
    loaded = pickle.loads(content)
    for _ in range(2):
        clone(loaded).fit(*data)
    assert n_trainings(folder) == 1


def test_a_fit_without_clones_stores_nothing(data, tmp_path, monkeypatch, folder):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    net = make_net(callbacks=[CountTrainings(str(folder))])
    for _ in range(2):
        ForgettingSelector(net).fit(*data)
        ForgettingSelector(net, memory=tmp_path / "memory").fit(*data)
    assert n_trainings(folder) == 4
    assert os.listdir(tmp_path) == ["trainings"]


@pytest.mark.usefixtures("shared_runs")
def test_memory_that_is_off(data, folder):
    net = make_net(callbacks=[CountTrainings(str(folder))])
    selector = ForgettingSelector(net, memory=joblib.Memory(None), random_state=0)
    for _ in range(2):
        clone(selector).fit(*data)
    assert n_trainings(folder) == 2


def draw_until(stopped):
    while not stopped.is_set():
        torch.nn.functional.dropout(torch.ones(64))


@pytest.mark.usefixtures("shared_runs")
def test_a_thread_that_draws_during_the_training(data, folder):
    net = make_net(module__dropout=0.2, max_epochs=20, callbacks=[CountTrainings(str(folder))])
    selector = clone(ForgettingSelector(net, random_state=0))
    stopped = threading.Event()
    thread = threading.Thread(target=draw_until, args=[stopped])
    thread.start()
    try:
        with pytest.warns(PruningWarning, match="another thread drew from the random generator of torch"):
            selector.fit(*data)
    finally:
        stopped.set()
        thread.join()
    selector.fit(*data)
    assert n_trainings(folder) == 2
    selector.fit(*data)
    assert n_trainings(folder) == 2


def test_a_folder_that_cannot_be_written_to(data, tmp_path):
    (tmp_path / "file").write_text("")
    selector = ForgettingSelector(make_net(), memory=tmp_path / "file", random_state=0)
    with pytest.warns(PruningWarning, match="it can't be written to .*file"):
        selector.fit(*data)
    assert selector.margins_.shape == (36,)


def test_a_damaged_file_is_trained_again(data, tmp_path):
    fit = ForgettingSelector(make_net(), memory=tmp_path, random_state=0).fit
    margins = fit(*data).margins_
    files = list(tmp_path.rglob("*.pkl"))
    assert files
    for file in files:
        file.write_bytes(b"garbage")
    np.testing.assert_array_equal(fit(*data).margins_, margins)


def test_clearing_a_memory_clears_its_runs(data, tmp_path):
    memory = joblib.Memory(tmp_path, verbose=0)
    ForgettingSelector(make_net(), memory=memory, random_state=0).fit(*data)
    assert isinstance(find_store(memory, None), Store)
    memory.clear(warn=False)
    assert not list(tmp_path.rglob("*.pkl"))


def test_matrices_whose_flags_are_kept_when_they_are_asked_for():
    X = scipy.sparse.random(20, 5, density=0.5, format="csr", random_state=0)
    before = digest(X)
    assert X.has_canonical_format
    assert digest(X) == before is not None


class Wrapped:
    """What scikit-learn asks of a memory, and no more."""

    def __init__(self, folder):
        self.folder = folder

    def cache(self, function, **params):
        return joblib.Memory(self.folder, verbose=0).cache(function, **params)


@pytest.mark.parametrize("make_memory", [lambda folder: joblib.Memory(folder, verbose=0), Wrapped])
def test_results_of_any_function_are_recalled(tmp_path, make_memory):
    def double(value):
        calls.append(value)
        return 2 * value

    calls, unknown = [], (number for number in ())
    for value, inputs in ((1, "one"), (1, "one"), (2, "two")):
        assert recall(make_memory(tmp_path), inputs, double, value) == 2 * value
    for _ in range(2):
        with pytest.warns(PruningWarning, match="is not stored in memory, because it can't be identified: .*generator"):
            assert recall(make_memory(tmp_path), unknown, double, 3) == 6
    assert calls == [1, 2, 3, 3]


def test_results_that_only_cloudpickle_can_store_are_recalled(tmp_path):
    def make(by):
        calls.append(by)
        return lambda value: value * by

    calls = []
    for _ in range(2):
        assert recall(joblib.Memory(tmp_path, verbose=0), "lambda", make, 3)(2) == 6
    assert calls == [3]


def test_results_that_nothing_can_store_are_made_again(tmp_path):
    def make():
        calls.append(1)
        return threading.Lock()

    calls = []
    for _ in range(2):
        with pytest.warns(PruningWarning, match="is not stored in memory, because it can't be pickled"):
            assert not recall(joblib.Memory(tmp_path, verbose=0), "lock", make).locked()
    assert calls == [1, 1]


def test_results_are_made_by_one_thread(tmp_path):
    def slow():
        calls.append(1)
        time.sleep(0.3)

    calls = []
    memory = joblib.Memory(tmp_path, verbose=0)
    joblib.Parallel(3, "threading")(joblib.delayed(recall)(memory, "key", slow) for _ in range(3))
    assert len(calls) == 1


def test_memory_that_is_no_folder(data):
    class Elsewhere:
        def cache(self, function):
            return function

    with pytest.raises(ValueError, match=r"memory must be a folder or a joblib\.Memory"):
        ForgettingSelector(memory=Elsewhere(), random_state=0).fit(*data)


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_fork_while_a_thread_trains():
    locked, done = threading.Event(), threading.Event()

    def hold():
        with _training.turns:
            locked.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait()
    process = os.fork()
    if process == 0:
        os._exit(0 if _training.turns.acquire(timeout=10) else 1)
    done.set()
    thread.join()
    assert os.waitpid(process, 0)[1] == 0
