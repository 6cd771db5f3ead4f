"""Every public signature has types, and typed code that uses them runs. Whether they are right is checked by mypy."""

import ast
import inspect
from importlib import resources
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import typed_example
from sklearn.datasets import load_iris

import skprune
from skprune import huggingface

PUBLIC = [getattr(module, name) for module in (skprune, huggingface) for name in module.__all__]


def signatures(obj):
    """Yield the functions that a public object consists of, as they are written in its source."""
    file = Path(inspect.getsourcefile(obj))
    (node,) = [part for part in ast.parse(file.read_text()).body if getattr(part, "name", None) == obj.__name__]
    parts = node.body if isinstance(node, ast.ClassDef) else [node]
    for part in parts:
        if isinstance(part, ast.FunctionDef) and (part.name == "__init__" or not part.name.startswith("_")):
            yield part


def missing(function):
    """Return the parameters without a type, and whether the return value has none."""
    arguments = function.args
    listed = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return [one.arg for one in listed if one and one.arg not in ("self", "cls") and one.annotation is None] + (
        ["return"] if function.returns is None else []
    )


@pytest.mark.parametrize("obj", PUBLIC, ids=lambda obj: obj.__name__)
def test_every_public_signature_has_types(obj):
    assert {function.name: missing(function) for function in signatures(obj) if missing(function)} == {}


def test_a_signature_without_types_is_found():
    (function,) = ast.parse("def f(self, a, b: int, *c, d, e: int = 0, **g): pass").body
    assert missing(function) == ["a", "d", "c", "g", "return"]
    assert len(list(signatures(skprune.ForgettingSelector))) >= 10


def test_the_typed_example(tmp_path):
    plt.switch_backend("Agg")
    X, y = load_iris(return_X_y=True)
    assert typed_example.use_scores(tmp_path).tolist() == [0, 1]
    assert typed_example.use_selector(X, y).shape == (75, 4)
    assert typed_example.use_pipeline(X, y).sample_indices_.shape == (3,)
    plt.close(typed_example.use_others().figure_)


def test_type_checkers_look_at_the_package():
    assert resources.files(skprune).joinpath("py.typed").is_file()
