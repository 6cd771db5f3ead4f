"""scikit-learn's own tests of Pipeline, run on ours."""

import pytest
import sklearn.tests.test_pipeline as theirs

from skprune import Pipeline, make_pipeline

theirs.Pipeline = Pipeline
theirs.make_pipeline = make_pipeline

from sklearn.tests.test_pipeline import *  # noqa: E402, F403  the names must be replaced before

# Their tests are written for their own warning filters.
pytestmark = pytest.mark.filterwarnings("default")


def test_the_tests_use_our_pipeline():
    assert theirs.Pipeline is Pipeline
    assert theirs.make_pipeline is make_pipeline
