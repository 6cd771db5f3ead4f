"""What recording costs: ``python -m benchmarks.speed``.

Seconds an epoch of training on MNIST with forgetting events recorded, as a multiple of a hand-written torch loop that
records correctness and margins with tensor operations. One table for three nets, one for the net that is used when none
is given, one for runs side by side. Everything that a call does counts, preparation included; candidates take turns,
and the ratio is the median over `--repeats` turns. The row of transformers needs ``skprune[hf]`` and is left out without.
"""

import argparse
import tempfile
import time
from collections import namedtuple
from functools import partial
from importlib.util import find_spec

import joblib
import numpy as np
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from threadpoolctl import threadpool_limits
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset
from tqdm import tqdm

from benchmarks.data import add_data_option, load
from benchmarks.nets import CNN, MLP, sgd
from benchmarks.report import add_docs_option, publish, table
from skprune import ForgettingSelector
from skprune._default_net import make_default_net
from skprune._held_out import hold_out

Problem = namedtuple("Problem", "name module batch_size n_epochs X y device")
KEEP_NONE = joblib.Memory(None)  # every fit trains


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--repeats", type=int, default=5, help="turns of every candidate")
    parser.add_argument("--rows", type=int, default=60000)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    add_data_option(parser)
    add_docs_option(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    X, y, _, _ = load("mnist", arguments.data)
    with threadpool_limits(arguments.threads):
        publish(list(_report(X[: arguments.rows], y[: arguments.rows], arguments)), arguments.docs, "speed")


def _report(X, y, arguments):
    """Yield the lines of the report."""
    yield "## What recording costs\n"
    options = f"--device {arguments.device} --repeats {arguments.repeats}"
    yield f"`python -m benchmarks.speed {options}`: seconds per epoch of {len(X):,} rows of MNIST on"
    yield f"{arguments.device}, threads of torch: {arguments.threads}, as a multiple of the first row; median of"
    yield f"{arguments.repeats} turns, least and most in brackets. The rows of skprune are whole fits of `ForgettingSelector`."
    yield "They contain the light models that find wrong labels, which are trained once per fit, however many epochs there are,"
    yield "and which have a row of their own."
    for name in arguments.tables:
        yield ""
        yield from TABLES[name](X, y, arguments)


def compare_nets(X, y, arguments):
    problems = [
        Problem("MLP 784-128-10, batch 64", MLP, 64, 3, X, y, arguments.device),
        Problem("MLP 784-128-10, batch 256", MLP, 256, 3, X, y, arguments.device),
        Problem("CNN of the paper, batch 64", CNN, 64, 1, X, y, arguments.device),
    ]
    columns = [_take_turns(_candidates(problem), problem, arguments.repeats) for problem in problems]
    names = list(dict.fromkeys(name for column in columns for name in column))
    lines = [(name, *(column.get(name, "") for column in columns)) for name in names]
    yield from table(("", *(problem.name for problem in problems)), lines)


def compare_default_net(X, y, arguments):
    net = make_default_net(X, 10)
    problem = Problem("built-in net", None, net.batch_size, net.max_epochs, X, y, arguments.device)
    candidates = {"the same net in a raw loop": _raw_default, "ForgettingSelector()": _default}
    column = _take_turns(candidates, problem, arguments.repeats)
    head = f"the net that is used when none is given, {net.max_epochs} epochs, light models included"
    yield from table((head, f"batch {net.batch_size}"), column.items())


def compare_jobs(X, y, arguments):
    problem = Problem("four runs", MLP, 64, 5, X, y, arguments.device)
    column = _take_turns({"n_jobs=1": _one_job, "n_jobs=2": _two_jobs}, problem, arguments.repeats)
    yield from table(("four runs of five epochs, workers started before", "MLP 784-128-10, batch 64"), column.items())


TABLES = {"nets": compare_nets, "default": compare_default_net, "jobs": compare_jobs}


def _take_turns(candidates, problem, n_repeats):
    """Return for every candidate a cell of a table: its seconds over those of the first one, turn by turn."""
    for candidate in candidates.values():  # not counted: what is loaded or tuned at first use
        candidate(problem._replace(X=problem.X[:2000], y=problem.y[:2000]))
    seconds = {name: [] for name in candidates}
    for _ in tqdm(range(n_repeats), desc=problem.name, unit="turn"):
        for name, candidate in candidates.items():
            seconds[name].append(_seconds(candidate, problem) / problem.n_epochs)
    first = np.array(next(iter(seconds.values())))
    cells = {}
    for name, values in seconds.items():
        ratios = values / first
        cells[name] = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
    cells[next(iter(cells))] = f"1.00 ({np.median(first):.2f} s)"
    return cells


def _seconds(function, problem):
    start = time.perf_counter()
    function(problem)
    if torch.device(problem.device).type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _candidates(problem):
    candidates = {
        "raw loop with recording": _raw,
        "skprune, record='batch'": partial(_select, record="batch"),
        "skprune, record='epoch'": partial(_select, record="epoch"),
        "of these, the light models": _ask_models,
        "raw loop, and a pass over all rows in large batches": partial(_raw, evaluate=True),
        "raw loop, counts without margins": partial(_raw, margins=False),
        "skorch, nothing recorded": _skorch,
        "skorch and a prediction pass every epoch": _skorch_and_pass,
    }
    if problem.batch_size == 64 and problem.module is MLP and find_spec("transformers"):
        candidates["transformers' Trainer and a prediction pass every epoch"] = _trainer
    if problem.module is CNN:
        candidates["loop over rows in Python, as the paper's script"] = _python_loop
    return candidates


def _raw(problem, module=None, optimizer=sgd, evaluate=False, margins=True):
    """Train and record events and margins with tensor operations; the floor that the others are compared with."""
    device, n_rows = problem.device, len(problem.X)
    X, y = torch.from_numpy(problem.X), torch.from_numpy(problem.y)
    module = (module or problem.module()).to(device)
    optimizer = optimizer(module)
    events = torch.zeros(n_rows, dtype=torch.int32, device=device)
    was_correct = torch.zeros(n_rows, dtype=torch.bool, device=device)
    margin_sum = torch.zeros(n_rows, device=device)
    for _ in range(problem.n_epochs):
        for rows in torch.randperm(n_rows).split(problem.batch_size):
            X_batch, y_batch = X[rows].to(device), y[rows].to(device)
            logits = module(X_batch)
            optimizer.zero_grad()
            cross_entropy(logits, y_batch).backward()
            optimizer.step()
            rows = rows.to(device)
            correct = logits.argmax(1) == y_batch
            events[rows] += was_correct[rows] & ~correct
            was_correct[rows] = correct
            if margins:
                margin_sum[rows] += _margin(logits.detach(), y_batch)
        if evaluate:
            with torch.inference_mode():
                large = 8 * problem.batch_size
                for X_batch, y_batch in zip(X.split(large), y.split(large), strict=True):
                    logits, y_batch = module(X_batch.to(device)), y_batch.to(device)
                    _ = logits.argmax(1) == y_batch, _margin(logits, y_batch)
    return events.cpu(), margin_sum.cpu()


def _margin(logits, y):
    probabilities, y = logits.softmax(1), y.unsqueeze(1)
    return (probabilities.gather(1, y) - probabilities.scatter(1, y, -1).amax(1, keepdim=True)).squeeze(1)


def _net(problem, **params):
    return NeuralNetClassifier(
        problem.module,
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        lr=0.01,
        optimizer__momentum=0.5,
        batch_size=problem.batch_size,
        max_epochs=problem.n_epochs,
        iterator_train__shuffle=True,
        train_split=None,
        device=problem.device,
        verbose=0,
        **params,
    )


def _skorch(problem):
    _net(problem).fit(problem.X, problem.y)


class _PredictAll(Callback):
    """Predict the training set after every epoch and count."""

    def __init__(self, X, y):
        self.X_all = X
        self.y_all = y

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.events_ = np.zeros(len(self.y_all), dtype=int)
        self.was_correct_ = np.zeros(len(self.y_all), dtype=bool)

    def on_epoch_end(self, net, **kwargs):
        correct = net.predict(self.X_all) == self.y_all
        self.events_ += self.was_correct_ & ~correct
        self.was_correct_ = correct


def _skorch_and_pass(problem):
    _net(problem, callbacks=[_PredictAll(problem.X, problem.y)]).fit(problem.X, problem.y)


def _select(problem, record, **params):
    selector = ForgettingSelector(_net(problem), record=record, memory=KEEP_NONE, random_state=0, **params)
    selector.fit(problem.X, problem.y)


def _ask_models(problem):
    """Train nothing but the light models that a fit of the selector adds to the training of the net."""
    margins = np.random.default_rng(0).uniform(-1, 1, len(problem.X))
    hold_out(problem.X, problem.y, margins, same_features=True)


def _one_job(problem):
    _select(problem, "batch", n_runs=4)


def _two_jobs(problem):
    _select(problem, "batch", n_runs=4, n_jobs=2)


def _default(problem):
    """Fit what a user gets who names no net; elsewhere than on the CPU the same net has to be given."""
    net = None if problem.device == "cpu" else make_default_net(problem.X, 10).set_params(device=problem.device)
    ForgettingSelector(net, memory=KEEP_NONE, random_state=0).fit(problem.X, problem.y)


def _raw_default(problem):
    net = make_default_net(problem.X, 10)  # for its numbers
    scale, mean = torch.std_mean(torch.from_numpy(problem.X), 0, correction=0)
    module = torch.nn.Sequential(
        _Standardize(mean, scale.where(scale > 0, 1)),
        torch.nn.Linear(len(mean), net.module__n_hidden),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(net.module__n_hidden, 10),
    )
    adam = partial(torch.optim.Adam, lr=net.lr, fused=True)
    problem = problem._replace(batch_size=net.batch_size, n_epochs=net.max_epochs)
    _raw(problem, module, lambda module: adam(module.parameters()))


class _Standardize(torch.nn.Module):
    def __init__(self, mean, scale):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, X):
        return ((X - self.mean) / self.scale).clamp(-10, 10)


def _python_loop(problem):
    """Keep lists of what happened to every row, one row after the other."""
    module = problem.module().to(problem.device)
    optimizer = sgd(module)
    history = {}
    for _ in range(problem.n_epochs):
        for rows in np.array_split(np.random.permutation(len(problem.X)), -(-len(problem.X) // problem.batch_size)):
            X = torch.stack([torch.from_numpy(problem.X[row]) for row in rows]).to(problem.device)
            y = torch.tensor([problem.y[row] for row in rows]).to(problem.device)
            logits = module(X)
            losses = cross_entropy(logits, y, reduction="none")
            correct = logits.argmax(1) == y
            for place, row in enumerate(rows):
                ordered = logits.detach()[place].sort().values
                other = ordered[-2] if correct[place] else ordered[-1]
                outcome = (losses[place].item(), correct[place].item(), (logits[place, y[place]] - other).item())
                history.setdefault(row, []).append(outcome)
            optimizer.zero_grad()
            losses.mean().backward()
            optimizer.step()


class _Samples(Dataset):
    """Rows as transformers' Trainer takes them."""

    def __init__(self, X, y):
        self.X = X
        self.y = y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, row):
        return {"X": self.X[row], "labels": self.y[row]}


class _WithLoss(torch.nn.Module):
    """A module that computes its loss itself, as those of transformers do."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, X, labels):
        logits = self.module(X)
        return {"loss": cross_entropy(logits, labels), "logits": logits}


def _trainer(problem):
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
    from transformers.utils import logging

    class PredictAll(TrainerCallback):
        def __init__(self):
            self.history = {}

        def on_epoch_end(self, args, state, control, **kwargs):
            predicted = trainer.predict(trainer.train_dataset)
            for row, (scores, label) in enumerate(zip(predicted.predictions, predicted.label_ids, strict=True)):
                self.history.setdefault(row, []).append(scores.argmax() == label)

    logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder,
            per_device_train_batch_size=problem.batch_size,
            per_device_eval_batch_size=problem.batch_size,
            num_train_epochs=problem.n_epochs,
            use_cpu=problem.device == "cpu",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        module = _WithLoss(problem.module())
        samples = _Samples(torch.from_numpy(problem.X), torch.from_numpy(problem.y))
        optimizers = (sgd(module), None)
        trainer = Trainer(module, settings, train_dataset=samples, optimizers=optimizers, callbacks=[PredictAll()])
        trainer.remove_callback(PrinterCallback)
        trainer.train()


if __name__ == "__main__":
    main()
