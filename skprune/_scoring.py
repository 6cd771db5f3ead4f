"""Runs of the scoring net: several with joblib, from a store where they are in it."""

import os
from contextlib import suppress
from functools import partial, reduce
from operator import add
from typing import Any

import numpy as np
import torch
from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed
from tqdm import tqdm

from skprune._cache import Unstorable, digest, recalled
from skprune._training import Training, pack, train, turn_of, unpack
from skprune._warnings import warn


def score_runs(net, X, y, *, record, seeds, store=None, n_jobs=None, progress=False):
    """Train the net once for every seed and return the recorded scores.

    Parameters
    ----------
    net : NeuralNetClassifier
        It is cloned and not changed.
    X : array-like of shape (n_samples, ...), or another container of rows
    y : ndarray of shape (n_samples,), int64
        Class numbers from 0.
    record : {"batch", "epoch"}
    seeds : array-like of shape (n_runs,), int
    store : Store, default=None
        Where runs are stored and looked up. If None, all are trained.
    n_jobs : int, default=None
        Number of runs to train in parallel with joblib.
    progress : bool, default=False
        Whether to show progress bars for runs and epochs.

    Returns
    -------
    scores : ForgettingScores
        The sum of the runs.
    net : TrainedNet
        The net of the last run.
    n_epochs : int
        Number of epochs of the last run.
    recall : callable
        Called as ``recall(inputs, function)``, it returns ``function()``, which is stored beside the runs. The result must
        depend on nothing but the runs and `inputs`.
    """
    _warn_of_same_weights(net, len(seeds))
    training = Training(net, X, y, record)
    key, problem = _find_key(store, training)
    runs: list[Any] = [None if key is None else store.get(f"{key}-{seed}") for seed in seeds]
    missing = [number for number, run in enumerate(runs) if run is None]
    n_jobs = n_jobs if len(missing) > 1 else None
    # Progress bars of parallel runs would overwrite each other.
    epochs_bar = progress and effective_n_jobs(n_jobs) == 1
    jobs = [delayed(_run)(store, key, os.getpid(), training, seeds[number], epochs_bar) for number in missing]
    trained = _parallel(n_jobs, progress)(jobs)
    bar = tqdm(
        trained, desc="Scoring nets", total=len(jobs), unit="run", disable=not progress or len(seeds) == 1 or not jobs
    )
    for number, run in zip(missing, bar, strict=True):
        runs[number] = run
    problem = next((run.problem for run in runs if run.problem), problem)
    _warn_of_problem(problem)
    scores = reduce(add, [run.scores for run in runs])
    recall = partial(_recall, store, None if problem else key, [int(seed) for seed in seeds])
    if runs[-1].net is not None:
        training = training._replace(X=None)  # which would stay in memory
    net = TrainedNet(runs[-1], training, seeds[-1], store, f"{key}-{seeds[-1]}")
    return scores, net, runs[-1].n_epochs, recall


def _recall(store, key, seeds, inputs, function):
    name = None if key is None else digest((seeds, inputs))
    return recalled(store, name and f"{key}-{name}", function)


def _find_key(store, training):
    """Return the key of runs without their seed, or None, and what prevents them from being stored."""
    if store is None:
        return None, None
    with turn_of(training.net):  # so that no training changes what the code uses
        try:
            return store.key(training.inputs), None
        except Unstorable as error:
            return None, str(error)


def _run(store, key, process, training, seed, epochs_bar):
    """Return a run, trained or from the store."""
    is_here = os.getpid() == process
    with turn_of(training.net):
        if not is_here:  # its code may be another one
            key, problem = _find_key(store, training)
        if key is None:
            run = train(training, seed, epochs_bar=epochs_bar)
            run = run if is_here else run._replace(problem=problem or run.problem)
        else:
            with store.locked(f"{key}-{seed}"):
                run = store.get(f"{key}-{seed}")  # another process or thread may have trained it by now
                if run is None:
                    run = _put(store, key, training, seed, train(training, seed, epochs_bar=epochs_bar))
    return run if is_here or run.net is None else run._replace(net=pack(run.net))


def _put(store, key, training, seed, run):
    """Store a run, and return it with what has prevented that."""
    try:
        if run.problem is None:
            store.check_inputs(key, training.inputs)
            store.put(f"{key}-{seed}", run._replace(net=None))
            store.put(f"{key}-{seed}-net", pack(run.net), is_large=True)
    except Unstorable as error:
        return run._replace(problem=str(error))
    return run


class TrainedNet:
    """The net of a run. It is read or trained again when somebody asks for it, unless this process has trained it."""

    def __init__(self, run, training, seed, store, name):
        self.run = run
        self.training = training
        self.seed = seed
        self.store = store
        self.name = name

    def get(self):
        """Return the net."""
        if self.run.net is None or isinstance(self.run.net, bytes):
            net = unpack(self._find())
            self.run = self.run._replace(net=self._train() if net is None else net)
        return self.run.net

    def _find(self):
        """Return the pickled net, or None."""
        return self.run.net if self.run.net is not None or self.store is None else self.store.get(f"{self.name}-net")

    def _train(self):
        if self.training.X is None:
            raise AttributeError(
                "estimator_ was not kept, and a selector that was copied or loaded from a file has no rows to train "
                "it on. Call fit again, or read estimator_ before the selector is copied or stored."
            )
        run = train(self.training, self.seed)
        if not np.array_equal(run.scores.margins, self.run.scores.margins, equal_nan=True):
            warn(
                "estimator_ was not kept, so it was trained again. The training does not repeat bit for bit, so "
                "the scores of the selector are those of another net. With memory=joblib.Memory(None), a fit keeps its own net."
            )
        return run.net

    def __getstate__(self):
        # Rows may be many, and private.
        training = self.training._replace(X=None)
        return {**vars(self), "run": self.run._replace(net=self._find()), "training": training, "store": None}


def _warn_of_same_weights(net, n_runs):
    if n_runs > 1 and isinstance(net.module, torch.nn.Module) and not net.get_params_for("module"):
        warn(
            f"The module of the scoring net is an instance, {type(net.module).__name__}. All {n_runs} runs start from its "
            "weights, so they differ less than independent runs do. Unless the weights are pretrained, pass the class, with "
            "its parameters as module__ parameters of the net, or a function that makes the module."
        )


def _warn_of_problem(problem):
    if problem:
        warn(
            f"The training of the scoring net is not stored, because {problem}. A search trains it again for each candidate. The "
            "user guide says under 'Stored runs' what can be stored. With memory=joblib.Memory(None), nothing is stored, without "
            "a warning."
        )


def _parallel(n_jobs, progress):
    if progress:
        with suppress(ValueError):  # some backends return results only when all are finished
            return Parallel(n_jobs=n_jobs, return_as="generator")
    return Parallel(n_jobs=n_jobs)


def summarise(scores, seconds):
    """Return a one-line summary of the scores of runs that took `seconds`."""
    runs = "1 run" if scores.n_runs == 1 else f"{scores.n_runs} runs"
    return (
        f"{len(scores)} rows, {runs}, {scores.presentations.max()} epochs in all, {seconds:.1f} s: "
        f"training accuracy {scores.last_accuracy():.1%}, {(scores.events > 0).mean():.1%} ever forgotten, "
        f"{scores.never_learned.mean():.1%} never learned, {scores.suspects.mean():.1%} suspects"
    )
