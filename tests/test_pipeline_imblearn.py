"""imbalanced-learn's own tests of Pipeline, run on ours."""

import pytest
import sklearn.tests.test_pipeline  # before imbalanced-learn adds to the list by which these tests are made
from packaging.version import Version

import imblearn.tests.test_pipeline as theirs  # isort: skip

from skprune import Pipeline, make_pipeline

theirs.Pipeline = Pipeline
theirs.make_pipeline = make_pipeline

from imblearn.tests.test_pipeline import *  # noqa: E402, F403  the names must be replaced before

# Their tests are written for their own warning filters.
pytestmark = pytest.mark.filterwarnings("default")


def _differs(test, reason, condition=True):
    return pytest.mark.xfail(condition, reason=reason, raises=pytest.fail.Exception)(test)


# What they test, and we do otherwise.
test_pipeline_with_step_that_implements_both_sample_and_transform = _differs(
    theirs.test_pipeline_with_step_that_implements_both_sample_and_transform,
    "they refuse a step with both transform and fit_resample, which ForgettingSelector has",
)
test_pipeline_warns_not_fitted = _differs(
    theirs.test_pipeline_warns_not_fitted,
    "they warn where a Pipeline is not fitted, for one more release; ours raises, as scikit-learn's does from 1.8 on",
    Version(sklearn.__version__) >= Version("1.8"),
)


def test_the_tests_use_our_pipeline():
    assert theirs.Pipeline is Pipeline
    assert theirs.make_pipeline is make_pipeline
