"""The contract of scikit-learn's estimators, and the rules of the house."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import skprune
from skprune import ForgettingSelector

ROWS = "transform returns the kept ones of the fitted rows, this check expects as many rows out as in"
OTHER_ROWS = "transform takes the fitted rows in their order, this check gives it others"
OTHER_FORMS = (
    "transform takes the fitted rows in any representation: of another width, or with missing values that were imputed"
)
EXPECTED_FAILURES = {
    "check_n_features_in_after_fitting": OTHER_FORMS,
    "check_estimators_nan_inf": OTHER_FORMS,
    "check_transformer_general": ROWS,
    "check_transformer_data_not_an_array": ROWS,
    "check_methods_sample_order_invariance": OTHER_ROWS,
    "check_methods_subset_invariance": OTHER_ROWS,
    "check_fit_idempotent": OTHER_ROWS,
}


@parametrize_with_checks([ForgettingSelector()], expected_failed_checks=lambda estimator: EXPECTED_FAILURES)
@pytest.mark.filterwarnings("default")  # the checks warn of what they do not check
def test_check_estimator(estimator, check):
    check(estimator)


def test_public_names():
    assert sorted(skprune.__all__) == skprune.__all__
    for name in skprune.__all__:
        assert getattr(skprune, name).__doc__


def test_importing_is_light():
    code = "import sys, skprune; print([name for name in ('transformers', 'datasets', 'matplotlib') if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "[]"


def test_no_private_name_of_another_library_is_imported():
    for path in Path(skprune.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names = [
                alias.name for alias in getattr(node, "names", []) if isinstance(node, (ast.Import, ast.ImportFrom))
            ]
            if modules and modules[0].startswith("skprune"):
                continue
            for name in modules + names:
                assert not any(part.startswith("_") for part in name.split(".") if part != "__future__"), (
                    path.name,
                    name,
                )


# For callbacks, scikit-learn documents the first method for estimators of others, private by its name or not. Named tuples have
# the second one under such a name only so that no field clashes with it.
PRIVATE_NAMES_OF_OTHERS = {"_init_callback_context", "_replace"}


def test_private_names_of_other_libraries():
    used, ours = set(), set()
    for path in Path(skprune.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__"):
                (used if isinstance(node.ctx, ast.Load) else ours).add(node.attr)
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                ours.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                ours.add(node.id)
    assert used - ours == PRIVATE_NAMES_OF_OTHERS
