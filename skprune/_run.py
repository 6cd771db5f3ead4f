"""A finished run as bytes: scores, weights and history. They are only numbers and text, so reading them executes nothing."""

import io
import json

import numpy as np
import torch
from skorch.history import History

from skprune._digest import as_bytes, net_modules
from skprune._scores import ForgettingScores


def write_run(scores, n_epochs, net, params):
    """Return the entry of a run, or None if an entry can't hold all of it.

    Parameters
    ----------
    scores : ForgettingScores
    n_epochs : int
    net : NeuralNetClassifier
        Trained.
    params : dict
        Parameters of the net that the training has changed.
    """
    run = {"n_epochs": n_epochs, "params": params, "weights": []}
    stream = io.BytesIO()
    scores.save(stream)
    arrays = {"scores": np.frombuffer(stream.getvalue(), np.uint8)}
    try:
        for part, module in net_modules(net).items():
            for name, value in module.state_dict(keep_vars=True).items():
                arrays[str(len(run["weights"]))] = as_bytes(value)
                run["weights"].append([part, name, str(value.dtype), value.shape, value.requires_grad])
        run["history"] = net.history.to_list()
        text = json.dumps(run, default=np.generic.item)
        if not _is_same(json.loads(text)["history"], run["history"]):  # JSON has no tuples and no numbers as keys
            return None
        arrays["run"] = np.frombuffer(text.encode(), np.uint8)
    except (TypeError, ValueError, AttributeError, RuntimeError):
        return None
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]  # mypy takes an array for allow_pickle
    return stream.getvalue()


def _is_same(read, value):
    value = value.item() if isinstance(value, np.generic) else value
    if type(read) is not type(value):
        return False
    if isinstance(read, dict):
        return read.keys() == value.keys() and all(_is_same(read[key], value[key]) for key in read)
    if isinstance(read, list):
        return len(read) == len(value) and all(map(_is_same, read, value))
    return read == value or (read != read and value != value)  # nan


def read_run(entry):
    """Return the scores of an entry, its number of epochs, and the rest for :func:`load_run`."""
    with np.load(io.BytesIO(entry), allow_pickle=False) as arrays:
        run = json.loads(arrays["run"].tobytes())
        run["arrays"] = {name: arrays[name] for name in arrays if name.isdigit()}
        scores = ForgettingScores.load(io.BytesIO(arrays["scores"].tobytes()))
    return scores, run["n_epochs"], run


def load_run(run, net):
    """Give an initialized net the weights and the history of a run."""
    if getattr(net, "unwrap_after_train", False):
        # skorch does this at the end of a training as well, but there processes wait for each other.
        net._unwrap_accelerator()
    states: dict = {part: {} for part in net_modules(net)}
    trains = {}
    for number, (part, name, dtype, shape, requires_grad) in enumerate(run["weights"]):
        tensor = torch.from_numpy(run["arrays"][str(number)]).view(getattr(torch, dtype.removeprefix("torch.")))
        states[part][name], trains[part, name] = tensor.reshape(shape), requires_grad
    for part, module in net_modules(net).items():
        module.load_state_dict(states[part])
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(trains[part, name])  # a callback may have frozen some
    net.history = History(run["history"])
