"""Rows stay matched, or an error says why not, whatever the user's own code does between dataset and net."""

import pickle
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import skorch.dataset
import torch
from conftest import MLP, Clock, Scripted, make_net
from sklearn.base import clone
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, Checkpoint, EpochScoring
from torch.utils.data import (
    DataLoader,
    Dataset,
    StackDataset,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

from skprune import ForgettingRecorder, ForgettingSelector


class BackToFront(Scripted):
    def forward(self, X):
        return super().forward(X.flip(-1))


class Changed(DataLoader):
    """A loader whose batches are made of those of its base by `change`."""

    def __iter__(self):
        for X, y in super().__iter__():
            yield from self.change(X, y)


class OnDevice(Changed):
    def change(self, X, y):
        yield X.to("cpu", torch.float64).float(), y.to("cpu")


class ReadsSamples(DataLoader):
    """Takes rows from its batch_sampler, and samples from its dataset."""

    def __iter__(self):
        yield from (default_collate([self.dataset[row] for row in rows]) for rows in self.batch_sampler)


class Prefetching:
    """No DataLoader, but around one, and a batch ahead of it."""

    def __init__(self, dataset, batch_size):
        self.loader = DataLoader(dataset, batch_size, shuffle=True)

    def __iter__(self):
        batches = iter(self.loader)
        ahead = next(batches)
        for batch in batches:
            yield ahead
            ahead = batch
        yield ahead


class ByHand:
    """Blocks of rows, drawn by the dataset, in an order of its own."""

    def __init__(self, dataset, batch_size):
        self.dataset = dataset

    def __iter__(self):
        yield from (default_collate([self.dataset[i] for i in rows.tolist()]) for rows in torch.randperm(50).split(8))


class OwnIterator(NeuralNetClassifier):
    def get_iterator(self, dataset, training=False):
        if not training:
            return super().get_iterator(dataset)
        weights = torch.linspace(0.1, 3, len(dataset))
        return DataLoader(dataset, 5, sampler=WeightedRandomSampler(weights, 70))


def by_label(samples):
    return default_collate(sorted(samples, key=lambda sample: int(sample[1])))


def without_first(samples):
    return default_collate(samples[1:])


def repeated(samples):
    return default_collate(samples + samples)


def halved(samples):
    X, y = default_collate(samples)
    return X, y // 2


def flipped_features(samples):
    X, y = default_collate(samples)
    return X.flip(-1), y


class Counting:
    """A collate_fn that writes down what it gets."""

    seen: ClassVar = []

    def __call__(self, samples):
        assert type(samples) is list
        assert all(type(sample) is tuple and len(sample) == 2 for sample in samples)
        self.seen.append(len(samples))
        return default_collate(samples)


def slices(dataset, batch_size):
    return DataLoader(dataset, None, sampler=[list(range(i, i + 10)) for i in range(0, 50, 10)], collate_fn=list)


class Pairs(Dataset):
    """A dataset without labels in an attribute."""

    def __init__(self, X, y):
        self.pairs = list(zip(torch.from_numpy(X), y.tolist(), strict=True))

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, row):
        return self.pairs[row]


class InBatches(Pairs):
    """Gives whole batches alone."""

    def __getitem__(self, row):
        raise NotImplementedError

    def take_batch(self, rows):
        return default_collate([self.pairs[row] for row in rows])


class Ascending(Dataset):
    """Reads the rows of a batch in ascending order, as files may need it."""

    def __getitems__(self, rows):
        return [self[row] for row in sorted(rows)]


class AscendingPairs(Ascending, Pairs):
    pass


class AscendingRows(Ascending, skorch.dataset.Dataset):
    pass


class Sorted(skorch.dataset.Dataset):
    """Has the rows in the order of their labels."""

    def __init__(self, X, y):
        order = np.argsort(y, kind="stable")
        super().__init__(X[order], y[order])


class Reversed(skorch.dataset.Dataset):
    def __init__(self, X, y):
        super().__init__(X, 2 - y)


WORK = {
    "features flipped": {
        "iterator_train__collate_fn": flipped_features,
        "iterator_valid__collate_fn": flipped_features,
        "module": BackToFront,
    },
    "net with its own iterator": {},
    "batch_size=1 and a collate_fn": {"iterator_train__collate_fn": Counting(), "batch_size": 1},
    "collate_fn": {"iterator_train__collate_fn": Counting(), "iterator_train__drop_last": True},
    "both with a collate_fn": {
        "iterator_train__collate_fn": Counting(),
        "iterator_valid__collate_fn": Counting(),
        "iterator_train__drop_last": True,
    },
    "sampler of batches": {"iterator_train": slices},
    "sampler of slices": {
        "iterator_train__batch_size": None,
        "iterator_train__sampler": [slice(0, 7), slice(30, 50), slice(7, 30)],
    },
}


@pytest.mark.parametrize("record", ["batch", "epoch"])
@pytest.mark.parametrize("fit", ["recorder", "selector"])
@pytest.mark.parametrize("case", WORK)
def test_rows_stay_matched(scripted, case, fit, record):
    X, y, net, events, margins = scripted
    if case == "net with its own iterator":
        net = OwnIterator(Scripted, criterion=torch.nn.CrossEntropyLoss, lr=0.0, max_epochs=6, batch_size=8, verbose=0)
    net = clone(net).set_params(callbacks=[Clock()], train_split=None, **WORK[case])
    if fit == "selector":
        scores = ForgettingSelector(net, record=record).fit(X, y)._scores
    else:
        recorder = ForgettingRecorder(record)
        net.set_params(callbacks=[Clock(), recorder]).fit(X, y)
        scores = recorder.scores_
        assert "get_iterator" not in vars(net)
    np.testing.assert_array_equal(scores.events, events)
    np.testing.assert_allclose(scores.margins, margins, atol=1e-6)
    np.testing.assert_array_equal(scores.presentations, 6)


REFUSED = {
    "collate_fn by label": ({"iterator_train__collate_fn": by_label}, r"other targets than y says.*collate_fn"),
    "collate_fn that changes targets": ({"iterator_train__collate_fn": halved}, "other targets than y says"),
    "collate_fn that drops rows": (
        {"iterator_train__collate_fn": without_first},
        "a batch of 7 rows, but 8 rows were drawn for it",
    ),
    "collate_fn that repeats rows": (
        {"iterator_train__collate_fn": repeated},
        "a batch of 16 rows, but 8 rows were drawn for it",
    ),
    "collate_fn of an evaluation": (
        {"iterator_valid__collate_fn": by_label, "iterator_train__drop_last": True, "batch_size": 30},
        "other targets than y says",
    ),
    "dataset that sorts": ({"dataset": Sorted}, r"other targets than y says.*Its dataset is a Sorted.*let a sampler"),
    "dataset that sorts, predicted": ({"dataset": Sorted, "record": "epoch"}, "other targets than y says"),
    "dataset that sorts for a split": (
        {"dataset": Sorted, "train_split": lambda dataset, y=None: (Subset(dataset, range(50)), None)},
        "other targets than y says",
    ),
    "dataset that changes labels": ({"dataset": Reversed}, "other targets than y says.*classes as numbers from 0"),
    "batches of slices": (
        {"iterator_train__sampler": [slice(0, 50)]},
        "several rows at once, as slice.*batch_size=None",
    ),
    "batches of batches": (
        {"iterator_train__sampler": [list(range(50))]},
        "several rows at once, as list.*batch_size=None",
    ),
    "one batch at most": ({"iterator_train__drop_last": True, "batch_size": 51}, r"makes no batches.*drop_last"),
}


@pytest.mark.parametrize("fit", ["recorder", "selector"])
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_matched_is_refused(scripted, case, fit):
    X, y, net, _, _ = scripted
    params, message = REFUSED[case]
    params = {"train_split": None} | params
    record = params.pop("record", "batch")
    net.set_params(**params)
    model = ForgettingSelector(net, record=record)
    if fit == "recorder":
        model = net.set_params(callbacks=[Clock(), ForgettingRecorder(record)])
    with pytest.raises(ValueError, match=message):
        model.fit(X, y)


@pytest.mark.parametrize("fit", ["recorder", "selector"])
@pytest.mark.parametrize("iterator", [OnDevice, ReadsSamples, Prefetching, ByHand])
def test_iterators_that_are_no_plain_loaders(scripted, iterator, fit):
    """Their batches can't carry numbers. A pass of its own needs none."""
    X, y, net, events, _ = scripted
    net.set_params(train_split=None, iterator_train=iterator)
    for record in ("batch", "epoch"):
        recorder = ForgettingRecorder(record)
        model = ForgettingSelector(clone(net), record=record)
        if fit == "recorder":
            model = clone(net).set_params(callbacks=[Clock(), recorder])
        if record == "batch":
            with pytest.raises(TypeError, match=rf"is a {iterator.__name__}.*sampler.*collate_fn.*record='epoch'"):
                model.fit(X, y)
        else:
            model.fit(X, y)
            scores = recorder.scores_ if fit == "recorder" else model._scores
            np.testing.assert_array_equal(scores.events, events)


class SortsInFit(NeuralNetClassifier):
    def fit(self, X, y):
        order = np.argsort(y, kind="stable")
        return super().fit(X[order], y[order])


@pytest.mark.parametrize("record", ["batch", "epoch"])
def test_a_fit_that_sorts_is_refused(scripted, record):
    X, y, net, _, _ = scripted
    net = SortsInFit(**{**net.get_params(deep=False), "train_split": None})
    with pytest.raises(ValueError, match=r"fit of SortsInFit trains on rows in another order"):
        ForgettingSelector(net, record=record).fit(X, y)


class SkipsBatches(NeuralNetClassifier):
    def run_single_epoch(self, iterator, *args, **kwargs):
        batches = [] if iterator is None else [batch for number, batch in enumerate(iterator) if number != 6]
        super().run_single_epoch(batches, *args, **kwargs)


class AddsBatches(NeuralNetClassifier):
    def run_single_epoch(self, iterator, *args, **kwargs):
        super().run_single_epoch([] if iterator is None else 2 * list(iterator), *args, **kwargs)


@pytest.mark.parametrize(
    ("kind", "message"),
    [(SkipsBatches, r"run_single_epoch has taken 1 batches"), (AddsBatches, "batch of 8 rows, but 0 rows were drawn")],
)
def test_batches_that_a_net_leaves_out_or_repeats(scripted, kind, message):
    X, y, net, _, _ = scripted
    net = kind(**{**net.get_params(deep=False), "train_split": None, "callbacks": [Clock(), ForgettingRecorder()]})
    with pytest.raises(ValueError, match=message):
        net.fit(X, y)


class InTensors:
    """A sampler of all rows that gives row numbers, or batches of them, as tensors."""

    def __init__(self, *shape):
        self.shape = shape

    def __iter__(self):
        return iter(torch.arange(50).reshape(self.shape))

    def __len__(self):
        return self.shape[0]


TENSORS = {
    "sampler": {"iterator_train__sampler": InTensors(50)},
    "batch_sampler": {"iterator_train__batch_sampler": InTensors(10, 5), "iterator_train__batch_size": 1},
    "sampler of batches": {"iterator_train__sampler": InTensors(10, 5), "iterator_train__batch_size": None},
}


@pytest.mark.parametrize("case", TENSORS)
def test_row_numbers_as_tensors(scripted, case):
    """They work where they do in skorch without a recorder: with any dataset but skorch's own."""
    X, y, net, events, _ = scripted
    recorder = ForgettingRecorder()
    net.set_params(train_split=None, callbacks=[Clock(), recorder], **TENSORS[case])
    net.fit(TensorDataset(torch.from_numpy(X), torch.from_numpy(y)), y=None)
    np.testing.assert_array_equal(recorder.scores_.events, events)
    with pytest.raises(AttributeError):
        clone(net).set_params(callbacks=[]).fit(X, y)
    with pytest.raises(AttributeError):  # as without a recorder
        clone(net).fit(X, y)
    np.testing.assert_array_equal(ForgettingSelector(net).fit(X, y)._scores.events, events)


def test_a_collate_fn_runs_once_a_batch(scripted):
    X, y, net, _, _ = scripted
    Counting.seen = []
    net.set_params(train_split=None, iterator_train__collate_fn=Counting(), callbacks=[Clock(), ForgettingRecorder()])
    net.fit(X, y)
    assert Counting.seen == 6 * [8, 8, 8, 8, 8, 8, 2]


def test_targets_that_are_nowhere(scripted):
    X, y, net, events, _ = scripted
    recorder = ForgettingRecorder()
    net.set_params(train_split=None, callbacks=[Clock(), recorder]).fit(Pairs(X, y), None)
    np.testing.assert_array_equal(recorder.scores_.events, events)
    recorder = ForgettingRecorder()
    net = clone(net).set_params(callbacks=[Clock(), recorder], iterator_train__collate_fn=Counting())
    with pytest.raises(ValueError, match=r"targets of the dataset are unknown.*net.fit\(dataset, y\)"):
        net.fit(Pairs(X, y), None)
    for labels in (y, pd.Series(y, range(50, 100)), torch.from_numpy(y)):
        net.fit(Pairs(X, y), labels)
        np.testing.assert_array_equal(recorder.scores_.events, events)


def test_a_dataset_that_makes_batches(scripted):
    X, y, net, events, _ = scripted
    recorder = ForgettingRecorder()
    net.set_params(train_split=None, callbacks=[Clock(), recorder], iterator_train__shuffle=True)
    net.fit(StackDataset(torch.from_numpy(X), torch.from_numpy(y)), None)  # of torch itself
    np.testing.assert_array_equal(recorder.scores_.events, events)
    # Samples are read one by one, because its own batches may have another order.
    for dataset in (AscendingPairs(X, y), Subset(AscendingPairs(X, y), range(50))):
        recorder = ForgettingRecorder()
        clone(net).set_params(callbacks=[Clock(), recorder]).fit(dataset, None)
        np.testing.assert_array_equal(recorder.scores_.events, events)
    np.testing.assert_array_equal(ForgettingSelector(net).fit(AscendingPairs(X, y), y)._scores.events, events)


@pytest.mark.parametrize("record", ["batch", "epoch"])
def test_whole_batches_are_taken_from_a_dataset_that_has_them(scripted, record):
    X, y, net, events, _ = scripted
    recorder, dataset = ForgettingRecorder(record), InBatches(X, y)
    net.set_params(train_split=None, callbacks=[Clock(), recorder], iterator_train__shuffle=True)
    net.fit(dataset, None)
    np.testing.assert_array_equal(recorder.scores_.events, events)


class Shuffles(Callback):
    """Change the order of each batch in place, or its targets."""

    def __init__(self, targets):
        self.targets = targets

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        if training:
            X, y = batch
            order = torch.randperm(len(y))
            y[:] = torch.randint(3, y.shape) if self.targets else y[order]
            X[:] = X if self.targets else X[order]


@pytest.mark.parametrize("targets", [False, True])
def test_targets_that_change_during_the_training(scripted, targets):
    X, y, net, _, _ = scripted
    net.set_params(callbacks=[Clock(), Shuffles(targets)])
    with pytest.raises(ValueError, match=r"other targets than y says.*give each row the same target each time"):
        ForgettingSelector(net).fit(X, y)


@pytest.mark.parametrize("record", ["batch", "epoch"])
def test_partial_fit_with_another_dataset(scripted, record):
    X, y, net, events, _ = scripted
    recorder = ForgettingRecorder(record)
    net.set_params(callbacks=[Clock(), recorder], train_split=None, max_epochs=3).partial_fit(Pairs(X, y), None)
    for other in (Pairs(X[::-1].copy(), y[::-1]), Pairs(X, 2 - y)):
        with pytest.raises(
            ValueError,
            match=r"(?s)or than before.*partial_fit got another dataset than before, call net.initialize\(\)",
        ):
            clone_of(net).partial_fit(other, None)
    net.partial_fit(Pairs(X, y), None)
    np.testing.assert_array_equal(recorder.scores_.events, events)


def clone_of(net):
    return pickle.loads(pickle.dumps(net))


class Part(Subset):
    pass


@pytest.mark.parametrize(
    "train_split",
    [
        lambda dataset, y=None: (Part(dataset, range(30)), None),
        lambda dataset, y=None: (Part(dataset, range(49, -1, -1)), None),
        lambda dataset, y=None: (Subset(Part(dataset, range(49, -1, -1)), range(50)), None),
        lambda dataset, y=None: (Pairs(dataset.X[:30], dataset.y[:30]), None),
    ],
)
def test_a_train_split_that_returns_other_rows(scripted, train_split):
    X, y, net, _, _ = scripted
    net.set_params(callbacks=[Clock(), ForgettingRecorder()], train_split=train_split)
    with pytest.raises(
        ValueError, match=r"fit got 50 rows, so their numbers are unknown.*must return the dataset itself"
    ):
        net.fit(X, y)


@pytest.mark.parametrize("train_split", [None, lambda dataset, y=None: (Subset(dataset, range(30)), None)])
@pytest.mark.parametrize("record", ["batch", "epoch"])
def test_rows_of_a_subset_are_numbered_as_it_has_them(scripted, record, train_split):
    X, y, net, events, _ = scripted
    recorder, chosen = ForgettingRecorder(record), np.arange(49, 9, -1)
    net.set_params(train_split=train_split, callbacks=[Clock(), recorder])
    net.fit(Subset(Pairs(X, y), chosen.tolist()), None)
    assert len(recorder.scores_) == 40
    n_shown = 30 if train_split is not None and record == "batch" else 40  # held out
    np.testing.assert_array_equal(recorder.scores_.presentations, 6 * (np.arange(40) < n_shown))
    np.testing.assert_array_equal(recorder.scores_.events[:n_shown], events[chosen][:n_shown])


def as_tensors(X):
    return {"X": torch.from_numpy(X)}


class FirstOfTwo(Scripted):
    """Gets two inputs in a list."""

    def forward(self, X):
        return super().forward(X[0] if isinstance(X, list) else X)


@pytest.mark.parametrize(
    "convert",
    [np.asarray, torch.from_numpy, as_tensors, lambda X: [X, X], lambda X: (X,)],
    ids=["array", "tensor", "dict", "list of inputs", "tuple of inputs"],
)
def test_partial_fit_with_other_rows(scripted, convert):
    X, y, net, events, _ = scripted
    net.set_params(module=FirstOfTwo)
    recorder = ForgettingRecorder()
    net.set_params(callbacks=[Clock(), recorder], train_split=None, max_epochs=3)
    net.partial_fit(convert(X), y)
    for other_X, other_y in ((X[:40], y[:40]), (X[::-1].copy(), y), (X, np.roll(y, 1))):
        with pytest.raises(
            ValueError, match=rf"on {len(other_y)} rows, but the scores belong to 50 other rows.*initialize"
        ):
            net.partial_fit(convert(other_X), other_y)
    net.partial_fit(convert(X.copy()), y.copy())
    np.testing.assert_array_equal(recorder.scores_.events, events)
    net.set_params(warm_start=True)
    with pytest.raises(ValueError, match="warm_start"):
        net.fit(convert(X[:40]), y[:40])
    net.initialize().partial_fit(convert(X[:40]), y[:40])
    assert len(recorder.scores_) == 40


class Predict(Callback):
    def __init__(self, X):
        self.X = X

    def on_train_begin(self, net, **kwargs):
        self.check(net)

    def on_batch_end(self, net, training=None, **kwargs):
        if training:
            self.check(net)

    def on_epoch_end(self, net, **kwargs):
        self.check(net)

    def check(self, net):
        predicted = net.predict(self.X)
        net.module_.eval()
        with torch.no_grad():
            np.testing.assert_array_equal(predicted, net.module_(torch.from_numpy(self.X)).argmax(1).numpy())


class Raise(Callback):
    def __init__(self, when):
        self.when = when

    def on_train_begin(self, net, **kwargs):
        net.max_epochs += self.when == "train"

    def on_epoch_begin(self, net, **kwargs):
        net.max_epochs += self.when == "epoch"


class KeepsWhole(Callback):
    """Copy the net in every way while it trains."""

    def on_batch_end(self, net, **kwargs):
        for copy in (pickle.loads(pickle.dumps(net)), clone(net)):
            assert "get_iterator" not in vars(copy)
            assert copy.iterator_train is DataLoader


CALLBACKS = {
    "predict": lambda X, folder: Predict(X),
    "EpochScoring": lambda X, folder: EpochScoring("accuracy", on_train=True, use_caching=False, lower_is_better=False),
    "max_epochs raised": lambda X, folder: Raise("epoch"),
    "max_epochs raised at the beginning": lambda X, folder: Raise("train"),
    "copies": lambda X, folder: KeepsWhole(),
    "Checkpoint": lambda X, folder: Checkpoint(None, dirname=str(folder), f_pickle="net.pkl"),
}


@pytest.mark.parametrize("record", ["batch", "epoch"])
@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks_that_use_the_net(scripted, tmp_path, name, record):
    X, y, net, events, _ = scripted
    net.set_params(callbacks=[Clock(), CALLBACKS[name](X, tmp_path)], max_epochs=5 if "beginning" in name else 6)
    net.set_params(iterator_train__shuffle=True)
    selector = ForgettingSelector(net, record=record).fit(X, y)
    np.testing.assert_array_equal(selector._scores.events, events)
    assert selector.n_epochs_ == 6
    if name == "Checkpoint":
        restored = pickle.loads((tmp_path / "net.pkl").read_bytes())
        np.testing.assert_array_equal(restored.predict(X), selector.estimator_.predict(X))


def test_accuracy_by_a_callback_is_that_of_the_net(data):
    X, y = data
    scoring = EpochScoring("accuracy", on_train=True, use_caching=False, lower_is_better=False, name="accuracy")
    net = make_net(MLP, callbacks=[scoring])
    selector = ForgettingSelector(net, random_state=0).fit(X, y)
    right = selector.estimator_.predict(X.astype(np.float32)) == y
    assert selector.estimator_.history[-1, "accuracy"] == right.mean()


@pytest.mark.parametrize("positions", [[2, 0], np.array([2, 0]), torch.tensor([2, 0]), [2, -3], slice(0, 3, 2)])
def test_positions_in_any_form(scripted, positions):
    """The sampler makes the batches; the other rows are left to the end of the epoch."""
    X, y, net, events, _ = scripted
    X, y, events = X[:3], np.array([0, 1, 2]), events[:3]
    X[:, -1] = y
    recorder = ForgettingRecorder()
    net.set_params(train_split=None, callbacks=[Clock(), recorder])
    net.set_params(iterator_train__batch_size=None, iterator_train__sampler=[positions])
    net.fit(TensorDataset(torch.from_numpy(X), torch.from_numpy(y)), y)
    np.testing.assert_array_equal(recorder.scores_.events, events)


@pytest.mark.parametrize("train_split", [None, False])
def test_no_train_split(scripted, train_split):
    X, y, net, events, _ = scripted
    recorder = ForgettingRecorder()
    net.set_params(train_split=train_split, callbacks=[Clock(), recorder]).fit(X, y)
    np.testing.assert_array_equal(recorder.scores_.events, events)
    assert recorder.scores_.presentations.tolist() == [6] * 50


def test_a_loader_is_left_as_it_was(scripted):
    X, y, net, _, _ = scripted
    loaders = []

    def make(dataset, batch_size):
        loaders.append(DataLoader(dataset, batch_size))
        return loaders[0]

    net.set_params(train_split=None, callbacks=[Clock(), ForgettingRecorder()], iterator_train=make).fit(X, y)
    batch, targets = next(iter(loaders[0]))
    np.testing.assert_array_equal(batch, X[:8])
    np.testing.assert_array_equal(targets, y[:8])
