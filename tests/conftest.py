import os

# Before numpy and torch read it: several test processes with several threads each would fight.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import settings
from sklearn.datasets import make_classification
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback

from skprune import _selector

settings.register_profile("skprune", deadline=None)  # the machine may be busy
settings.load_profile("skprune")


@pytest.fixture(autouse=True)
def _seed():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_shared_runs(monkeypatch, request):
    """Train for every fit, but in tests of what clones share; else a second fit would only repeat the first."""
    if "shared_runs" not in request.fixturenames:
        monkeypatch.setattr(_selector, "Lineage", lambda: None)


@pytest.fixture
def shared_runs():
    """Clones of a selector share their runs, as they do for users."""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "trainings").mkdir()
    return tmp_path / "trainings"


class MLP(torch.nn.Module):
    """Logits of a small net; at module level, so that it pickles."""

    def __init__(self, n_features=6, n_classes=3, dropout=0.0):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(n_features, 16), torch.nn.ReLU(), torch.nn.Dropout(dropout), torch.nn.Linear(16, n_classes)
        )

    def forward(self, X):
        return self.layers(X)


def make_net(module=MLP, **params):
    defaults = dict(criterion=torch.nn.CrossEntropyLoss, lr=0.3, max_epochs=4, batch_size=16, verbose=0)
    return NeuralNetClassifier(module, **(defaults | params))


def in_new_process(function, *args):
    """Return ``function(*args)``, called in a new process. A fork of this one, which has threads, might wait for ever."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        return executor.submit(function, *args).result()


@pytest.fixture
def net():
    return make_net()


@pytest.fixture(scope="session")
def data():
    """120 float64 rows of 6 features, 3 classes, a fifth of the labels redrawn."""
    return make_classification(
        120, n_features=6, n_informative=4, n_redundant=0, n_classes=3, flip_y=0.2, random_state=0
    )


class Scripted(torch.nn.Module):
    """Predict each row right or wrong in each epoch as the row itself says.

    A row of X is its outcomes, one an epoch, and its label.
    """

    def __init__(self, n_classes=3):
        super().__init__()
        self.n_classes = n_classes
        self.sharpness = torch.nn.Parameter(torch.tensor(2.0))
        self.epoch = 0

    def forward(self, X):
        predicted = (X[:, -1] + 1 - X[:, self.epoch]).long() % self.n_classes
        return self.sharpness * torch.nn.functional.one_hot(predicted, self.n_classes)


class Clock(Callback):
    def on_epoch_begin(self, net, **kwargs):
        net.module_.epoch = len(net.history) - 1


@pytest.fixture
def scripted():
    """X, y, a net that predicts as X says, and the events and margins that must come of it."""
    n_rows, n_epochs = 50, 6
    rng = np.random.default_rng(0)
    history = rng.random((n_rows, n_epochs)) < 0.6
    y = rng.integers(0, 3, n_rows)
    X = np.column_stack([history, y]).astype(np.float32)
    events = [sum(a and not b for a, b in pairwise(row)) for row in history.tolist()]
    net = make_net(Scripted, lr=0.0, max_epochs=n_epochs, batch_size=8, callbacks=[Clock()])
    sure, unsure = np.exp(2) / (np.exp(2) + 2), 1 / (np.exp(2) + 2)
    margins = np.where(history, sure - unsure, unsure - sure).mean(1)
    return X, y, net, np.array(events), margins
