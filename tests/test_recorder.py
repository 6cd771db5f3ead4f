import gc
import weakref
from functools import partial

import numpy as np
import pytest
import torch
from conftest import MLP, Clock, Scripted, make_net
from sklearn.base import clone
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.dataset import Dataset, ValidSplit
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    WeightedRandomSampler,
    default_collate,
)

from skprune import ForgettingRecorder, _recorder


class Backwards(DataLoader):
    def __init__(self, dataset, batch_size):
        super().__init__(dataset, batch_size=batch_size, sampler=range(len(dataset) - 1, -1, -1))


def shuffled_loader(dataset, batch_size):
    return DataLoader(dataset, batch_size=batch_size, sampler=RandomSampler(dataset))


def label_collate(samples):
    X, y = default_collate(samples)
    return X, torch.eye(3)[y].argmax(1)  # fails where y is no label


class OwnDataset(Dataset):
    def __getitem__(self, i):
        X, y = super().__getitem__(i)
        return torch.as_tensor(X).clone(), int(y)


class ManyItems(OwnDataset):
    def __getitems__(self, rows):
        return [self[row] for row in rows]


def uneven_sampler(dataset, batch_size):
    weights = torch.linspace(0.1, 3, len(dataset.y))  # it may look at the targets
    return DataLoader(dataset, batch_size, sampler=WeightedRandomSampler(weights, 2 * len(dataset)))


ITERATORS = {
    "in order": {},
    "shuffled": {"iterator_train__shuffle": True},
    "last batch dropped": {"iterator_train__shuffle": True, "iterator_train__drop_last": True},
    "last rows never trained on": {"iterator_train__drop_last": True},
    "workers": {"iterator_train__shuffle": True, "iterator_train__num_workers": 2},
    "workers that overtake": {
        "iterator_train__shuffle": True,
        "iterator_train__num_workers": 2,
        "iterator_train__in_order": False,
        "iterator_train__persistent_workers": True,
    },
    "loader subclass": {"iterator_train": Backwards},
    "function": {"iterator_train": shuffled_loader},
    "sampler with replacement": {"iterator_train": uneven_sampler},
    "batch sampler": {
        "iterator_train__batch_sampler": BatchSampler(SequentialSampler(range(50)), 7, drop_last=False),
        "iterator_train__batch_size": 1,
    },
    "batches by the sampler": {
        "iterator_train__sampler": BatchSampler(RandomSampler(range(50)), 7, drop_last=False),
        "iterator_train__batch_size": None,
    },
    "one batch": {"batch_size": -1},
    "collate_fn that needs labels": {"iterator_train__collate_fn": label_collate, "iterator_train__shuffle": True},
    "dataset": {"dataset": OwnDataset, "iterator_train__shuffle": True},
    "dataset of many items": {"dataset": ManyItems, "iterator_train__shuffle": True},
}


@pytest.mark.parametrize("record", ["batch", "epoch"])
@pytest.mark.parametrize("iterator", ITERATORS)
def test_rows_stay_matched(scripted, iterator, record):
    X, y, net, events, margins = scripted
    recorder = ForgettingRecorder(record)
    net = clone(net).set_params(callbacks=[Clock(), recorder], train_split=None, **ITERATORS[iterator])
    net.fit(X, y.astype(np.int64))
    np.testing.assert_array_equal(recorder.scores_.events, events)
    np.testing.assert_allclose(recorder.scores_.margins, margins, atol=1e-6)
    np.testing.assert_array_equal(recorder.scores_.presentations, 6)
    assert recorder.n_epochs_ == 6


class CastsTargets(NeuralNetClassifier):
    def get_loss(self, y_pred, y_true, *args, **kwargs):
        return super().get_loss(y_pred, y_true.long(), *args, **kwargs)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8])
def test_targets_of_other_types(scripted, dtype):
    X, y, net, events, _ = scripted
    recorder = ForgettingRecorder()
    params = dict(callbacks=[Clock(), recorder], train_split=None, verbose=0)
    net = CastsTargets(Scripted, criterion=torch.nn.CrossEntropyLoss, max_epochs=6, lr=0.0, **params)
    net.fit(X, y.astype(dtype))
    np.testing.assert_array_equal(recorder.scores_.events, events)


@pytest.mark.parametrize("record", ["batch", "epoch"])
def test_rows_held_out(scripted, record):
    X, y, net, events, _ = scripted
    recorder = ForgettingRecorder(record)
    net.set_params(callbacks=[Clock(), recorder], train_split=ValidSplit(5), iterator_train__shuffle=True)
    net.fit(X, y)
    shown = (np.arange(50) >= 10) | (record == "epoch")  # an unshuffled split of five holds out the first fifth
    np.testing.assert_array_equal(recorder.scores_.presentations, np.where(shown, 6, 0))
    np.testing.assert_array_equal(recorder.scores_.events, np.where(shown, events, 0))


def test_batch_mode_is_the_prediction_before_each_update(data):
    """An independent loop over the same batches."""
    X, y = data[0].astype(np.float32), data[1]
    recorder = ForgettingRecorder()
    net = make_net(callbacks=[recorder], train_split=None)
    torch.manual_seed(0)
    net.fit(X, y)

    torch.manual_seed(0)
    module = MLP()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3)
    outcomes, margins = np.zeros((4, 120), dtype=bool), np.zeros((4, 120))
    for epoch in range(4):
        for start in range(0, 120, 16):
            rows = np.arange(start, min(start + 16, 120))
            logits = module(torch.from_numpy(X[rows]))
            loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for row, p in zip(rows, logits.softmax(1).detach().numpy(), strict=True):
                outcomes[epoch, row] = p.argmax() == y[row]
                margins[epoch, row] = p[y[row]] - np.delete(p, y[row]).max()
    np.testing.assert_array_equal(recorder.scores_.events, (outcomes[:-1] & ~outcomes[1:]).sum(0))
    np.testing.assert_allclose(recorder.scores_.margins, margins.mean(0), atol=1e-5)
    assert recorder.scores_.events.sum() > 0


def test_epoch_mode_is_in_evaluation_mode(data):
    """Dropout at 0.9 blurs the predictions of training, not those at the end of an epoch."""
    X, y = data[0].astype(np.float32), data[1]
    recorder = ForgettingRecorder("epoch")
    net = make_net(callbacks=[recorder], module__dropout=0.9, train_split=None, max_epochs=1, lr=0.01)
    net.fit(X, y)
    p = net.predict_proba(X)
    margins = p[np.arange(120), y] - np.where(np.eye(3, dtype=bool)[y], -1, p).max(1)
    np.testing.assert_allclose(recorder.scores_.margins, margins, atol=1e-6)
    np.testing.assert_array_equal(~recorder.scores_.never_learned, net.predict(X) == y)


class CountRecorded(Callback):
    """Write down how many presentations the scores have after each batch of the last epoch."""

    def on_epoch_begin(self, net, **kwargs):
        self.n_recorded_ = []

    def on_batch_end(self, net, training=None, **kwargs):
        recorder = next(callback for _, callback in net.callbacks_ if isinstance(callback, ForgettingRecorder))
        self.n_recorded_.append(recorder.scores_.presentations.sum())


@pytest.mark.parametrize(
    ("n_numbers", "n_recorded"), [(72, [0, 0, 0, 24, 24, 24, 48]), (1, [0, 8, 16, 24, 32, 40, 48])]
)
def test_predictions_are_collected_before_they_are_counted(scripted, monkeypatch, n_numbers, n_recorded):
    """Of three classes, 72 numbers are three batches of 8 rows."""
    X, y, net, events, _ = scripted
    monkeypatch.setattr(_recorder, "_BUFFERED_NUMBERS", n_numbers)
    recorder, counted = ForgettingRecorder(), CountRecorded()
    net.set_params(callbacks=[Clock(), recorder, counted], train_split=None).fit(X, y)
    np.testing.assert_array_equal(np.array(counted.n_recorded_) - 5 * 50, n_recorded)
    np.testing.assert_array_equal(recorder.scores_.events, events)


class SizesOfEvaluation(Scripted):
    def forward(self, X):
        self.sizes = [] if self.training else [*self.sizes, len(X)]
        return super().forward(X)


@pytest.mark.parametrize(
    ("params", "sizes"),
    [
        ({"batch_size": 2}, [16, 16, 16, 2]),
        ({"batch_size": 2, "iterator_valid__drop_last": True}, [16, 16, 16, 2]),
        ({"batch_size": 8}, [50]),
        ({"batch_size": -1}, [50]),
        ({"iterator_valid__batch_size": 20}, [20, 20, 10]),
        ({"iterator_valid__batch_size": -1}, [50]),
    ],
)
def test_batches_of_an_evaluation(scripted, params, sizes):
    X, y, net, _, _ = scripted
    net.set_params(module=SizesOfEvaluation, callbacks=[Clock(), ForgettingRecorder("epoch")], train_split=None)
    net.set_params(**params).fit(X, y)
    assert net.module_.sizes == sizes


class HalfPrecision(MLP):
    def forward(self, X):
        return super().forward(X).bfloat16()


@pytest.mark.parametrize("record", ["batch", "epoch"])
def test_margins_of_half_precision(data, record):
    X, y = data[0].astype(np.float32), data[1]
    recorder = ForgettingRecorder(record)
    net = make_net(HalfPrecision, train_split=None, lr=0.0, callbacks=[recorder]).fit(X, y)
    p = net.forward(X).float().softmax(1).numpy()
    margins = p[np.arange(120), y] - np.where(np.eye(3, dtype=bool)[y], -1, p).max(1)
    np.testing.assert_allclose(recorder.scores_.margins, margins, atol=1e-6)


class Softmax(MLP):
    def forward(self, X):
        return super().forward(X).softmax(1)


class Tuple(MLP):
    def forward(self, X):
        logits = super().forward(X)
        return logits, logits.sum()


class TupleCriterion(torch.nn.CrossEntropyLoss):
    def forward(self, y_pred, y_true):
        return super().forward(y_pred[0], y_true)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # of torch.compile
@pytest.mark.parametrize("record", ["batch", "epoch"])
@pytest.mark.parametrize(
    "params",
    [
        {"module": Softmax, "criterion": torch.nn.NLLLoss},
        {"module": Tuple, "criterion": TupleCriterion},
        {"predict_nonlinearity": partial(torch.softmax, dim=1)},
        {"criterion": torch.nn.CrossEntropyLoss()},
        {"criterion": partial(torch.nn.CrossEntropyLoss, label_smoothing=0.0)},
        {"module": Softmax, "criterion": torch.nn.NLLLoss, "predict_nonlinearity": None},
        {"compile": True, "compile__backend": "eager"},
    ],
)
def test_margins_agree_whatever_the_module_returns(data, record, params):
    X, y = data[0].astype(np.float32), data[1]
    scores = []
    for net in (make_net(train_split=None, lr=0.01), make_net(train_split=None, lr=0.01, **params)):
        recorder = ForgettingRecorder(record)
        torch.manual_seed(0)
        net.set_params(callbacks=[recorder]).fit(X, y)
        scores.append(recorder.scores_)
    np.testing.assert_allclose(scores[0].margins, scores[1].margins, atol=1e-5)
    assert np.ptp(scores[0].margins) > 0.1


@pytest.mark.parametrize(
    "params",
    [{"criterion": torch.nn.NLLLoss}, {"lr": 1e30}],
    ids=["NLLLoss on logits", "learning rate"],
)
def test_a_loss_that_is_not_finite(data, params):
    net = make_net(**({"train_split": None, "callbacks": [ForgettingRecorder()]} | params))
    with pytest.raises(ValueError, match=r"loss became (nan|inf) in epoch \d.*NLLLoss.*logits.*learning rate.*lr="):
        net.fit(data[0].astype(np.float32), data[1])


NO_PROBABILITIES = {
    "logits": lambda logits: logits,
    "too large in one row": lambda logits: logits.softmax(1) + (torch.arange(len(logits)) == 5).unsqueeze(1),
    "too small in one row": lambda logits: logits.softmax(1) * (torch.arange(len(logits)) != 5).unsqueeze(1),
    "negative in one row": lambda logits: (
        (torch.arange(len(logits)) == 5).unsqueeze(1) * torch.tensor([1, -1, 0]) + 1 / 3
    ),
    "nan": lambda logits: logits * torch.nan,
}


@pytest.mark.parametrize("nonlinearity", NO_PROBABILITIES)
def test_predictions_that_are_no_probabilities(data, nonlinearity):
    net = make_net(
        train_split=None, callbacks=[ForgettingRecorder()], predict_nonlinearity=NO_PROBABILITIES[nonlinearity]
    )
    with pytest.raises(ValueError, match=r"not class probabilities.*predict_nonlinearity"):
        net.fit(data[0].astype(np.float32), data[1])


class Outputs(torch.nn.Module):
    """As many outputs in any shape as there are features in X."""

    def __init__(self, *shape):
        super().__init__()
        self.shape = shape
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, X):
        return (self.scale * X[:, : np.prod(self.shape, dtype=int)]).reshape(-1, *self.shape)


@pytest.mark.parametrize("shape", [(), (1,), (2, 1)])
def test_predictions_of_another_shape(data, shape):
    net = make_net(Outputs(*shape), train_split=None, callbacks=[ForgettingRecorder()], batch_size=120)
    net.set_params(criterion=lambda: lambda y_pred, y_true: y_pred.mean())
    with pytest.raises(ValueError, match=r"predictions have shape \(120.* for 120 rows.*at least two classes.*Outputs"):
        net.fit(data[0].astype(np.float32), data[1])


def test_partial_fit_goes_on_and_fit_begins_anew(scripted):
    X, y, net, events, _ = scripted
    recorder = ForgettingRecorder()
    net.set_params(callbacks=[Clock(), recorder], train_split=None, max_epochs=3)
    net.partial_fit(X, y)
    net.partial_fit(X, y)
    np.testing.assert_array_equal(recorder.scores_.events, events)
    net.fit(X, y)
    assert recorder.n_epochs_ == 3
    np.testing.assert_array_equal(recorder.scores_.presentations, 3)
    assert recorder.initialize() is recorder
    assert not hasattr(recorder, "scores_")


def test_the_net_is_left_as_it_was(scripted):
    X, y, net, _, _ = scripted
    recorder = ForgettingRecorder()
    net.set_params(callbacks=[Clock(), recorder], train_split=None)
    net.fit(X, y)
    assert net.iterator_train is DataLoader
    assert clone(recorder).get_params() == {"record": "batch"}


def test_the_recorder_keeps_no_data(scripted):
    X, y, net, _, _ = scripted
    recorder, labels = ForgettingRecorder(), y.copy()
    dataset = Subset(Dataset(X, y), range(50))
    net.set_params(callbacks=[Clock(), recorder], train_split=None).fit(dataset, labels)
    kept = [weakref.ref(dataset), weakref.ref(labels)]
    del dataset, labels
    gc.collect()
    assert all(reference() is None for reference in kept)


def test_an_interruption_before_the_first_epoch(scripted):
    def interrupt(dataset, y=None):
        raise KeyboardInterrupt

    X, y, net, events, _ = scripted
    recorder = ForgettingRecorder()
    net.set_params(callbacks=[Clock(), recorder], train_split=interrupt)
    net.fit(X, y)  # skorch ends at Ctrl-C without an error
    assert "get_iterator" not in vars(net)
    net.set_params(train_split=None).fit(X, y)
    np.testing.assert_array_equal(recorder.scores_.events, events)


def test_after_a_training_that_failed(scripted):
    X, y, net, events, _ = scripted
    recorder = ForgettingRecorder()
    net.set_params(callbacks=[Clock(), recorder], train_split=None)
    with pytest.raises(IndexError):
        net.fit(X[:, :4], y)
    net.fit(X, y)
    np.testing.assert_array_equal(recorder.scores_.events, events)


def mixing_collate(samples):
    X, y = default_collate(samples)
    return X, torch.eye(3)[y.flip(0)].argmax(1)


def test_a_collate_fn_whose_rows_are_unknown(scripted):
    X, y, net, _, _ = scripted
    net.set_params(callbacks=[Clock(), ForgettingRecorder()], train_split=None)
    net.set_params(iterator_train__collate_fn=mixing_collate)
    with pytest.raises(ValueError, match=r"other targets than y says.*collate_fn"):
        net.fit(X, y)


def test_a_dataset_without_rows():
    class Stream(IterableDataset):
        def __iter__(self):
            yield from zip(torch.eye(3), range(3), strict=True)

    net = make_net(Scripted, callbacks=[ForgettingRecorder()], train_split=None)
    with pytest.raises(TypeError, match="map-style"):
        net.fit(Stream(), None)


def test_bad_record(data):
    net = make_net(callbacks=[ForgettingRecorder("always")])
    with pytest.raises(ValueError, match="record must be one of 'batch', 'epoch'; got 'always'"):
        net.fit(data[0].astype(np.float32), data[1])
