import os
import random
import runpy
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import datasets
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from conftest import make_net
from datasets import Dataset
from skorch import NeuralNetClassifier
from skorch.hf import AccelerateMixin, HuggingfacePretrainedTokenizer
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset as TorchIterable
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertLMHeadModel,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from skprune import ForgettingSelector, Pipeline, PruningWarning, select_rows
from skprune._batches import TableDataset
from skprune.huggingface import ForgettingTrainerCallback


class AcceleratedNet(AccelerateMixin, NeuralNetClassifier):
    """As skorch's user guide defines it."""


WORDS = [
    "a",
    "fine",
    "warm",
    "bright",
    "film",
    "dull",
    "slow",
    "loud",
    "plot",
    "the",
    "and",
    "of",
    "it",
    "was",
    "with",
    "cast",
]
TINY = {
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 16,
}


@pytest.fixture(autouse=True)
def _own_accelerator():
    """Let no test inherit the mixed precision of another: accelerate keeps it for the whole process."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def make_tokenizer():
    vocab = {"[PAD]": 0, "[UNK]": 1} | {word: number for number, word in enumerate(WORDS, start=2)}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")


def make_reviews(n_rows=30):
    """Texts of 1 to 9 words, with labels that are half chance, so that there is much to forget."""
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(1, 9))) for _ in range(n_rows)]
    return Dataset.from_dict({"text": texts, "label": [rng.randint(0, 1) for _ in texts]})


def tokenize(reviews):
    return reviews.map(lambda batch: make_tokenizer()(batch["text"]), batched=True)


def make_model(kind=BertForSequenceClassification, **params):
    torch.manual_seed(0)
    return kind(BertConfig(**(TINY | params)))


def make_trainer(
    folder, dataset, callbacks=(), model=None, collate=None, eval_dataset=None, trainer_class=Trainer, **arguments
):
    defaults = dict(
        num_train_epochs=4,
        per_device_train_batch_size=10,
        per_device_eval_batch_size=7,
        learning_rate=0.05,
        lr_scheduler_type="constant",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        use_cpu=True,
        seed=3,
    )
    return trainer_class(
        model or make_model(),
        TrainingArguments(str(folder), **(defaults | arguments)),
        train_dataset=dataset,
        eval_dataset=eval_dataset,
        data_collator=collate or DataCollatorWithPadding(make_tokenizer()),
        callbacks=list(callbacks),
    )


class ByHand(TrainerCallback):
    """Predict one row after the other, without padding, and write down whether each was right."""

    def __init__(self, dataset):
        self.dataset = dataset
        self.correct = []
        self.margins = []

    def on_epoch_end(self, args, state, control, model=None, **kwargs):
        model.eval()
        with torch.no_grad():
            logits = torch.cat([model(input_ids=torch.tensor([row["input_ids"]])).logits for row in self.dataset])
        model.train()
        chance = logits.float().softmax(1).numpy()
        labels = np.array(self.dataset["label"])
        true = chance[np.arange(len(labels)), labels]
        self.correct.append(chance.argmax(1) == labels)
        self.margins.append(true - (1 - true))

    def check(self, scores, tolerance=1e-5):
        history = np.array(self.correct).T
        events = [sum(before and not after for before, after in pairwise(row)) for row in history.tolist()]
        first = [row.index(True) + 1 if any(row) else np.nan for row in history.tolist()]
        assert sum(events) > 3
        np.testing.assert_array_equal(scores.events, events)
        np.testing.assert_array_equal(scores.first_learned, first)
        np.testing.assert_array_equal(scores.presentations, len(self.correct))
        np.testing.assert_allclose(scores.margins, np.mean(self.margins, 0), atol=tolerance)


class Rows(TorchDataset):
    """A dataset of torch."""

    def __init__(self, dataset):
        self.rows = list(dataset)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, row):
        return self.rows[row]


class Drawing:
    """A collator that draws a token from every global generator, as one that augments does."""

    def __init__(self, place=0):
        self.place = place
        self.pad = DataCollatorWithPadding(make_tokenizer())

    def __call__(self, rows):
        batch = self.pad(rows)
        batch["input_ids"][0, self.place] = 2 + int(5 * (random.random() + np.random.random() + torch.rand(1).item()))
        return batch


class Outputs(torch.nn.Module):
    """A plain module that returns a tuple, loss first."""

    def __init__(self):
        super().__init__()
        self.bert = make_model()

    def forward(self, input_ids, attention_mask=None, labels=None):
        output = self.bert(input_ids=input_ids, attention_mask=attention_mask, labels=labels)
        return (output.loss, output.logits) if labels is not None else output


class Logits(torch.nn.Module):
    """A plain module that takes no labels, as for a loss of the Trainer's own."""

    def __init__(self, wrap=lambda logits: logits, n_outputs=2):
        super().__init__()
        self.bert = make_model(num_labels=n_outputs)
        self.wrap = wrap

    def forward(self, input_ids, attention_mask=None):
        return self.wrap(self.bert(input_ids=input_ids, attention_mask=attention_mask).logits)


TRAININGS = {
    "plain": {},
    "by length": {"train_sampling_strategy": "group_by_length"},
    "last batch dropped": {"per_device_train_batch_size": 8, "dataloader_drop_last": True},
    "accumulated": {"gradient_accumulation_steps": 2},
    "smoothed": {"label_smoothing_factor": 0.1},
    "workers": {"dataloader_num_workers": 1, "num_train_epochs": 2},
}


@pytest.mark.parametrize("training", TRAININGS)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # of workers, by fork
def test_scores_are_those_counted_by_hand(tmp_path, training):
    dataset = tokenize(make_reviews())
    by_hand, callback = ByHand(dataset), ForgettingTrainerCallback()
    make_trainer(tmp_path, dataset, [by_hand, callback], **({"num_train_epochs": 6} | TRAININGS[training])).train()
    by_hand.check(callback.scores_)


def test_a_torch_dataset_and_a_module_of_tuples(tmp_path):
    dataset = tokenize(make_reviews())
    by_hand, callback = ByHand(dataset), ForgettingTrainerCallback()
    make_trainer(tmp_path, Rows(dataset), [by_hand, callback], model=Outputs(), num_train_epochs=6).train()
    by_hand.check(callback.scores_)


UNWRAPPED = {
    "bare": (lambda logits: logits, lambda output: output),
    "tuple": (lambda logits: (logits,), lambda output: output[0]),
    "dict": (lambda logits: {"logits": logits}, lambda output: output["logits"]),
}


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("kind", UNWRAPPED)
def test_models_that_take_no_labels(tmp_path, kind, bf16):
    wrap, unwrap = UNWRAPPED[kind]
    dataset = tokenize(make_reviews())
    expected, callback = ForgettingTrainerCallback(), ForgettingTrainerCallback()
    make_trainer(tmp_path, dataset, [expected], bf16=bf16).train()
    trainer = make_trainer(tmp_path, dataset, [callback], Logits(wrap), bf16=bf16)
    trainer.compute_loss_func = lambda output, labels, **_: torch.nn.functional.cross_entropy(unwrap(output), labels)
    trainer.train()
    np.testing.assert_array_equal(callback.scores_.events, expected.scores_.events)
    np.testing.assert_allclose(callback.scores_.margins, expected.scores_.margins, atol=1e-5)


def test_a_head_with_one_output(tmp_path):
    trainer = make_trainer(tmp_path, tokenize(make_reviews(12)), [ForgettingTrainerCallback()], Logits(n_outputs=1))
    trainer.compute_loss_func = lambda output, labels, **_: torch.nn.functional.binary_cross_entropy_with_logits(
        output[:, 0], labels.float()
    )
    with pytest.raises(ValueError, match=r"logits of shape \(7, 1\) from Logits.*a head with one output"):
        trainer.train()


def test_mixed_precision(tmp_path):
    dataset = tokenize(make_reviews())
    by_hand, callback, model, seen = ByHand(dataset), ForgettingTrainerCallback(), make_model(), set()

    def look(module, inputs, output):
        if not model.training:
            seen.add(output.dtype)

    model.bert.encoder.layer[0].output.dense.register_forward_hook(look)
    make_trainer(tmp_path, dataset, [callback, by_hand], model=model, bf16=True, num_train_epochs=6).train()
    assert seen == {torch.bfloat16}
    np.testing.assert_allclose(callback.scores_.margins, np.mean(by_hand.margins, 0), atol=0.02)


class Spy(TrainerCallback):
    """Write down every call of a callback."""

    def __init__(self):
        self.calls = []

    def __getattribute__(self, name):
        if name.startswith("on_"):
            self.calls.append(name)
        return super().__getattribute__(name)


@pytest.mark.parametrize(
    "arguments", [{}, {"train_sampling_strategy": "group_by_length", "eval_strategy": "epoch", "bf16": True}]
)
def test_the_training_is_the_same(tmp_path, arguments):
    dataset = tokenize(make_reviews())
    losses, weights, calls = [], [], []
    for callbacks in ([], [ForgettingTrainerCallback()]):
        spy, model = Spy(), make_model(hidden_dropout_prob=0.3)
        model.bert.embeddings.requires_grad_(False)
        trainer = make_trainer(
            tmp_path, dataset, [*callbacks, spy], model, Drawing(), eval_dataset=dataset, **arguments
        )
        trainer.train()
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
        weights.append(torch.cat([parameter.flatten() for parameter in model.parameters()]))
        calls.append(spy.calls)
        assert all(parameter.grad is None for parameter in model.parameters())
    assert len(losses[0]) == 12
    assert losses[0] == losses[1]
    assert torch.equal(*weights)
    assert calls[0] == calls[1]


@pytest.mark.filterwarnings("ignore:8 of 8 rows were presented only once")
def test_modes_are_put_back(tmp_path):
    class Modes(TrainerCallback):
        def __init__(self, *modes):
            self.modes = modes

        def on_epoch_end(self, args, state, control, model=None, **kwargs):
            if self.modes:  # before the pass
                model.train()
                model.bert.embeddings.eval()
            else:
                self.modes = (model.training, model.bert.embeddings.training, model.classifier.training)
                assert torch.is_grad_enabled()

    class After(Modes):
        pass

    after = After()
    callbacks = [Modes(True), ForgettingTrainerCallback(), after]
    make_trainer(tmp_path, tokenize(make_reviews(8)), callbacks, num_train_epochs=1).train()
    assert after.modes == (True, False, True)


def assert_same_scores(one, other):
    np.testing.assert_array_equal(one.events, other.events)
    np.testing.assert_array_equal(one.presentations, other.presentations)
    np.testing.assert_array_equal(one.margins, other.margins)


def test_checkpoints_go_on_with_the_scores(tmp_path):
    # Three steps an epoch: step 4 is inside the second, step 6 its last, saved before the epoch ends.
    dataset = tokenize(make_reviews())
    saving = {"save_strategy": "steps", "save_steps": 2}
    whole = ForgettingTrainerCallback()
    make_trainer(tmp_path, dataset, [whole], **saving).train()
    assert whole.scores_.events.sum() > 0
    for step in (4, 6):
        resumed = ForgettingTrainerCallback()
        trainer = make_trainer(tmp_path / "resumed", dataset, [resumed], **saving)
        trainer.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
        assert_same_scores(resumed.scores_, whole.scores_)


def test_checkpoints_of_epochs(tmp_path):
    dataset = tokenize(make_reviews())
    whole, old, resumed = (ForgettingTrainerCallback() for _ in range(3))
    make_trainer(tmp_path, dataset, [whole], save_strategy="epoch").train()
    trainer = make_trainer(tmp_path, dataset, [old], restore_callback_states_from_checkpoint=True)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    # transformers puts a new callback in the place of ours
    assert_same_scores(trainer.pop_callback(ForgettingTrainerCallback).scores_, whole.scores_)
    assert not hasattr(old, "scores_")
    with pytest.raises(ValueError, match=r"pop_callback\(ForgettingTrainerCallback\)"):
        _ = old.scores_

    make_trainer(tmp_path / "none", dataset, save_strategy="epoch", num_train_epochs=1).train()
    trainer = make_trainer(tmp_path, dataset, [resumed])
    with pytest.warns(PruningWarning, match="holds no forgetting scores"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "none/checkpoint-3"))
    assert set(resumed.scores_.presentations) == {4}

    trainer = make_trainer(tmp_path, tokenize(make_reviews(29)), [ForgettingTrainerCallback()])
    with pytest.raises(ValueError, match="scores of 30 rows, but train_dataset has 29"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))


def test_recording_that_begins_late(tmp_path):
    dataset = tokenize(make_reviews())
    make_trainer(tmp_path / "none", dataset, save_strategy="epoch", num_train_epochs=2).train()
    # One callback or two of them, as a checkpoint that knows neither is resumed from.
    for n_callbacks in (1, 2):
        late = [ForgettingTrainerCallback() for _ in range(n_callbacks)]
        trainer = make_trainer(tmp_path / "late", dataset, late, save_strategy="epoch")
        with pytest.warns(PruningWarning, match="Recording starts at epoch 2"):
            trainer.train(resume_from_checkpoint=str(tmp_path / "none/checkpoint-6"))
        resumed = ForgettingTrainerCallback()
        trainer = make_trainer(tmp_path / "again", dataset, [resumed])
        trainer.train(resume_from_checkpoint=str(tmp_path / "late/checkpoint-9"))
        assert set(resumed.scores_.presentations) == {3}  # after epochs 2, 3 and 4
        for callback in late:
            assert_same_scores(resumed.scores_, callback.scores_)


def test_checkpoints_of_two_callbacks(tmp_path):
    dataset = tokenize(make_reviews())
    two, resumed = [ForgettingTrainerCallback(), ForgettingTrainerCallback()], ForgettingTrainerCallback()
    make_trainer(tmp_path, dataset, two, save_strategy="epoch").train()
    trainer = make_trainer(tmp_path / "resumed", dataset, [resumed])
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    assert_same_scores(resumed.scores_, two[0].scores_)


def test_a_second_training_begins_anew(tmp_path):
    callback = ForgettingTrainerCallback()
    trainer = make_trainer(tmp_path, tokenize(make_reviews()), [callback], num_train_epochs=2)
    trainer.train()
    trainer.train()
    assert set(callback.scores_.presentations) == {2}
    again = ForgettingTrainerCallback.from_state(callback.state())
    assert_same_scores(again.scores_, callback.scores_)


def test_only_whole_epochs_are_recorded(tmp_path):
    dataset = tokenize(make_reviews())
    callback = ForgettingTrainerCallback()
    make_trainer(tmp_path, dataset, [callback], max_steps=7).train()
    assert set(callback.scores_.presentations) == {2}
    with pytest.warns(PruningWarning, match=r"30 of 30 rows were never presented.*epoch 0.667.*a max_steps below"):
        make_trainer(tmp_path, dataset, [callback], max_steps=2).train()
    with pytest.warns(PruningWarning, match=r"30 of 30 rows were presented only once.*epoch 1.67"):
        make_trainer(tmp_path, dataset, [callback], max_steps=5).train()


def test_scores_prune(tmp_path):
    reviews = make_reviews()
    callback = ForgettingTrainerCallback()
    make_trainer(tmp_path, tokenize(reviews), [callback], num_train_epochs=6).train()
    kept = select_rows(callback.scores_, k=0.1, strategy="most_forgotten")
    selector = ForgettingSelector(k=0.1, strategy="most_forgotten").fit(
        reviews, reviews["label"], forgetting_scores=callback.scores_
    )
    hard = selector.transform(reviews)
    assert isinstance(hard, Dataset)
    assert hard["text"][:] == [reviews[int(row)]["text"] for row in kept]
    assert hard.data.nbytes == reviews.data.nbytes  # the same table, and row numbers
    scored = reviews.add_column("forgetting_score", selector.forgetting_scores_)
    assert scored["forgetting_score"][:] == callback.scores_.events.tolist()
    hard, labels = selector.fit_resample(reviews, reviews["label"], forgetting_scores=callback.scores_)
    assert list(labels) == hard["label"][:]
    with pytest.raises(ValueError, match="forgetting_scores has 30 entries for 29 rows"):
        selector.fit(reviews.select(range(29)), reviews["label"][:29], forgetting_scores=callback.scores_)


def test_padding_of_labels(tmp_path):
    # The net says 1 to all: right in the first row, wrong in the second, right where the third has a label.
    dataset = Dataset.from_dict(
        {"input_ids": [[2], [2, 3, 2], [2, 3], [3, 3]], "labels": [[1], [1, 0, 1], [1, -100], [-100, -100]]}
    )
    model = make_model(BertForTokenClassification, hidden_dropout_prob=0.0)
    torch.nn.init.constant_(model.classifier.bias[1:], 2.0)
    callback = ForgettingTrainerCallback()
    collate = DataCollatorForTokenClassification(make_tokenizer())
    trainer = make_trainer(tmp_path, dataset, [callback], model, collate, num_train_epochs=2, learning_rate=0.0)
    with pytest.warns(PruningWarning, match=r"1 of 4 rows were never presented.*rows without a label"):
        trainer.train()
    model.eval()
    margins = []
    for row in dataset.select(range(3)):
        with torch.no_grad():
            chance = model(input_ids=torch.tensor([row["input_ids"]])).logits[0].softmax(1).numpy()
        labelled = [(p, label) for p, label in zip(chance, row["labels"], strict=True) if label >= 0]
        margins.append(np.mean([p[label] - p[1 - label] for p, label in labelled]))
    scores = callback.scores_
    np.testing.assert_array_equal(scores.presentations, [2, 2, 2, 0])
    np.testing.assert_array_equal(scores.never_learned, [False, True, False, True])
    np.testing.assert_allclose(scores.margins, [*margins, np.nan], atol=1e-5)


class Stream(TorchIterable):
    def __iter__(self):
        yield from tokenize(make_reviews())


class LateTrouble(Drawing):
    """The labels of a batch for evaluation, of 7 rows, are missing."""

    def __call__(self, rows):
        batch = super().__call__(rows)
        if len(rows) == 7:
            del batch["labels"]
        return batch


WRONG = {
    "no label column": (
        lambda d: {"dataset": d.remove_columns("label")},
        ValueError,
        "one label per row.*'labels'.*column 'label'",
    ),
    "label names": (lambda d: {"dataset": d, "label_names": ["label_2"]}, ValueError, "'label_2'.*label_names"),
    "labels missing in a batch": (lambda d: {"dataset": d, "collate": LateTrouble()}, ValueError, "every batch"),
    "no length": (lambda d: {"dataset": Stream(), "max_steps": 3}, TypeError, "Stream, has no length.*streaming"),
    "streamed": (
        lambda d: {"dataset": d.to_iterable_dataset(), "max_steps": 3},
        TypeError,
        "IterableDataset, has no length",
    ),
    "regression": (
        lambda d: {"dataset": d, "model": make_model(num_labels=1)},
        ValueError,
        r"regression head \(num_labels=1",
    ),
    "several labels": (
        lambda d: {
            "dataset": d.remove_columns("label").add_column("labels", [[0.0, 1.0]] * len(d)),
            "model": make_model(problem_type="multi_label_classification"),
        },
        ValueError,
        "class numbers.*float32",
    ),
    "next token": (
        lambda d: {"dataset": d, "model": make_model(BertLMHeadModel, is_decoder=True)},
        ValueError,
        "next token",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_recorded(tmp_path, case):
    make, error, message = WRONG[case]
    arguments = make(tokenize(make_reviews(12)))
    trainer = make_trainer(tmp_path, callbacks=[ForgettingTrainerCallback()], **arguments)
    with pytest.raises(error, match=message):
        trainer.train()


def test_logits_of_another_task(tmp_path):
    class Pooled(BertForSequenceClassification):
        def forward(self, input_ids, attention_mask=None, labels=None):
            output = super().forward(input_ids, attention_mask, labels=labels)
            output.logits = output.logits.mean(1)
            return output

    trainer = make_trainer(
        tmp_path, tokenize(make_reviews(12)), [ForgettingTrainerCallback()], model=make_model(Pooled)
    )
    with pytest.raises(ValueError, match=r"for 7 rows here; got labels of shape \(7,\) and logits of shape \(7,\)"):
        trainer.train()


def test_without_the_extra():
    code = "import sys, skprune; sys.modules['transformers'] = None; import skprune.huggingface"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr
    assert "ImportError: skprune.huggingface needs transformers" in printed
    assert 'pip install "skprune[hf]"' in printed


class Encoder(torch.nn.Module):
    """What a skorch net needs of a transformer: logits."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.bert = make_model(hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)

    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        return self.bert(input_ids=input_ids, attention_mask=attention_mask).logits


class PadBatch:
    """Pad a batch to its longest row; remember, across the copies that nets make, how many tokens wide it was."""

    widths: ClassVar[set] = set()

    def __init__(self):
        self.pad = DataCollatorWithPadding(make_tokenizer())

    def __call__(self, samples):
        rows, labels = zip(*samples, strict=True)
        batch = self.pad([{"input_ids": row["input_ids"]} for row in rows])
        self.widths.add(batch["input_ids"].shape[1])
        return dict(batch), torch.tensor(labels)


def tokenize_batch(samples):
    texts, labels = zip(*samples, strict=True)
    return dict(make_tokenizer()(list(texts), padding=True, return_tensors="pt")), torch.tensor(labels)


def make_encoder(**params):
    defaults = dict(lr=0.05, max_epochs=8, batch_size=6, optimizer=torch.optim.Adam, iterator_train__shuffle=True)
    return make_net(Encoder, **(defaults | params))


def with_collate(collate):
    return make_encoder(iterator_train__collate_fn=collate, iterator_valid__collate_fn=collate)


def padded(reviews):
    """Tokens as arrays, the plainest container there is."""
    tokens = make_tokenizer()(reviews["text"][:], padding=True, return_tensors="np")
    return {name: tokens[name] for name in ("input_ids", "attention_mask")}


CONTAINERS = {
    "BatchEncoding": lambda reviews: (
        make_encoder(),
        HuggingfacePretrainedTokenizer(make_tokenizer(), max_length=9).fit_transform(reviews["text"]),
    ),
    "Dataset": lambda reviews: (make_encoder(), Dataset.from_dict(padded(reviews))),
    "Dataset with its format": lambda reviews: (
        make_encoder(),
        Dataset.from_dict(padded(reviews))
        .add_column("text", reviews["text"][:])
        .with_format("numpy", columns=["input_ids", "attention_mask"]),
    ),
    "Dataset, padded by batch": lambda reviews: (with_collate(PadBatch()), tokenize(reviews)),
    "ragged BatchEncoding, padded by batch": lambda reviews: (
        with_collate(PadBatch()),
        HuggingfacePretrainedTokenizer(make_tokenizer(), return_tensors=None).fit_transform(reviews["text"]),
    ),
    "ragged columns, padded by batch": lambda reviews: (
        with_collate(PadBatch()),
        {name: tokenize(reviews)[name] for name in ("input_ids", "attention_mask")},
    ),
    "texts, tokenized by batch": lambda reviews: (with_collate(tokenize_batch), reviews["text"]),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers_of_tokens(container):
    reviews = make_reviews()
    expected = ForgettingSelector(make_encoder(), random_state=0).fit(padded(reviews), reviews["label"])
    assert expected.forgetting_scores_.sum() > 3
    net, X = CONTAINERS[container](reviews)
    for record in ("batch", "epoch"):
        expected.set_params(record=record).fit(padded(reviews), reviews["label"])
        selector = ForgettingSelector(net, k=0.1, record=record, random_state=0).fit(X, reviews["label"])
        np.testing.assert_array_equal(selector.forgetting_scores_, expected.forgetting_scores_)
        np.testing.assert_allclose(selector.margins_, expected.margins_, atol=1e-4)
        assert selector.transform(reviews)["text"][:] == [
            reviews[int(row)]["text"] for row in selector.get_support(indices=True)
        ]


def test_batches_are_padded_by_the_collate_fn():
    PadBatch.widths.clear()
    reviews = make_reviews()
    ForgettingSelector(with_collate(PadBatch()), random_state=0).fit(tokenize(reviews), reviews["label"])
    assert len(PadBatch.widths) > 2


def test_a_dataset_is_read_by_batches():
    read = []

    def look(batch):
        read.append(len(batch["input_ids"]))
        return {name: torch.tensor(values) for name, values in batch.items()}

    reviews = make_reviews()
    dataset = Dataset.from_dict(padded(reviews)).with_transform(look)
    ForgettingSelector(make_encoder(max_epochs=1), random_state=0).fit(dataset, reviews["label"])
    assert max(read) == 6
    assert sum(read) == 30


def test_a_format_of_the_users_own_is_kept():
    table = Dataset.from_dict(padded(make_reviews())).with_format("torch", dtype=torch.int32)
    batch, _ = TableDataset(table, np.zeros(30, int), dtype=torch.float32).take_batch(np.arange(3))
    assert batch["input_ids"].dtype == torch.int32


@pytest.mark.parametrize("rows", [slice(1, 7, 2), [1, 3, 5]])
def test_a_sampler_that_makes_batches(rows):
    X = padded(make_reviews())
    batch, labels = TableDataset(Dataset.from_dict(X), np.arange(30), dtype=torch.float32)[rows]
    np.testing.assert_array_equal(batch["input_ids"], X["input_ids"][1:7:2])
    np.testing.assert_array_equal(labels, [1, 3, 5])


def test_splits_are_not_rows():
    reviews = make_reviews(40)
    splits = datasets.DatasetDict(train=reviews, test=reviews)
    selector = ForgettingSelector().fit(reviews, reviews["label"], forgetting_scores=np.arange(40))
    for use in (
        lambda: selector.transform(splits),
        lambda: selector.label_issues(splits),
        lambda: ForgettingSelector().fit(splits, reviews["label"]),
        lambda: selector.transform({"train": Rows(reviews)}),
        lambda: selector.transform(datasets.IterableDatasetDict(train=reviews.to_iterable_dataset())),
    ):
        with pytest.raises(TypeError, match=r"(?i)a \w*dict with the splits 'train'.*X\['train'\]"):
            use()
    assert len(selector.transform(splits["train"])) == 40


def test_the_kept_rows_of_a_dataset():
    # As the guide says: datasets takes True and False in a mask for the row numbers 1 and 0.
    reviews = make_reviews(40)
    selector = ForgettingSelector(k=9).fit(reviews, reviews["label"], forgetting_scores=np.arange(40))
    kept = selector.transform(reviews)["text"][:]
    assert reviews.select(selector.get_support(indices=True))["text"][:] == kept
    assert reviews.select(selector.get_support())["text"][:] != kept


def test_runs_on_a_dataset_are_stored(tmp_path):
    reviews = make_reviews()
    fit = ForgettingSelector(make_encoder(max_epochs=2), memory=tmp_path, random_state=0).fit
    events = fit(Dataset.from_dict(padded(reviews)), reviews["label"]).forgetting_scores_
    stored = set(tmp_path.rglob("*-net.pkl"))
    np.testing.assert_array_equal(fit(Dataset.from_dict(padded(reviews)), reviews["label"]).forgetting_scores_, events)
    assert set(tmp_path.rglob("*-net.pkl")) == stored
    assert len(stored) == 1


def test_texts_in_a_pipeline():
    reviews = make_reviews()
    texts, labels = reviews["text"][:], np.array(reviews["label"])
    pipeline = Pipeline(
        [
            ("tokenize", HuggingfacePretrainedTokenizer(make_tokenizer(), max_length=9)),
            ("prune", ForgettingSelector(make_encoder(), k=0.5, random_state=0)),
            ("classify", make_encoder(train_split=None)),
        ]
    ).fit(texts, labels)
    prune = pipeline["prune"]
    expected = ForgettingSelector(make_encoder(), random_state=0).fit(padded(reviews), labels)
    np.testing.assert_array_equal(prune.forgetting_scores_, expected.forgetting_scores_)
    assert pipeline.predict(texts).shape == (30,)
    assert len(prune.transform(reviews)) == 15


def test_tables_that_cannot_be_fitted():
    reviews = make_reviews()
    tokens, labels = tokenize(reviews), reviews["label"]
    with pytest.raises(ValueError, match=r"column 'text' of X can't be converted.*select_columns"):
        ForgettingSelector(make_encoder()).fit(tokens, labels)
    with pytest.raises(
        ValueError, match=r"column 'input_ids' of X can't be converted: they differ in length.*collate_fn"
    ):
        ForgettingSelector(make_encoder()).fit(tokens.select_columns(["input_ids"]), labels)
    with pytest.raises(TypeError, match=r"IterableDataset, which has no length.*load a stream"):
        ForgettingSelector(make_encoder()).fit(tokens.to_iterable_dataset(), labels)
    with pytest.raises(TypeError, match=r"matrix of numbers, got a Dataset.*forgetting_scores"):
        ForgettingSelector().fit(tokens, labels)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ForgettingSelector(make_encoder()).fit(tokens, labels[:29])
    selector = ForgettingSelector().fit(tokens, labels, forgetting_scores=np.arange(30))
    with pytest.raises(ValueError, match="X has 29 rows, but ForgettingSelector was fitted with 30"):
        selector.transform(reviews.select(range(29)))


@pytest.mark.parametrize("record", ["batch", "epoch"])
def test_accelerate_in_one_process(tmp_path, record):
    reviews = make_reviews()
    net = AcceleratedNet(
        Encoder,
        accelerator=Accelerator(cpu=True),
        criterion=torch.nn.CrossEntropyLoss,
        verbose=0,
        lr=0.05,
        max_epochs=8,
        batch_size=6,
        optimizer=torch.optim.Adam,
        iterator_train__shuffle=False,
    )
    expected = ForgettingSelector(make_encoder(iterator_train__shuffle=False), record=record, random_state=0)
    expected.fit(padded(reviews), reviews["label"])
    selector = ForgettingSelector(net, record=record, memory=tmp_path, random_state=0)
    for _ in range(2):
        selector.fit(padded(reviews), reviews["label"])
        np.testing.assert_array_equal(selector.forgetting_scores_, expected.forgetting_scores_)
        np.testing.assert_allclose(selector.margins_, expected.margins_, atol=1e-5)
        assert len(list(tmp_path.rglob("*-net.pkl"))) == 1  # the second fit recalls it
        chances = expected.estimator_.predict_proba(padded(reviews))
        np.testing.assert_allclose(selector.estimator_.predict_proba(padded(reviews)), chances, atol=1e-5)


def test_two_processes(tmp_path):
    # Each process has checked the Trainer's scores against its own count, row by row, of the same weights.
    script = Path(__file__).with_name("two_processes.py")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    finished = subprocess.run(
        [*launch, str(script), str(tmp_path)],
        env=os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    one, other = (np.load(tmp_path / f"{rank}.npz") for rank in (0, 1))
    assert one["n_processes"] == 2
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    # 29 rows: the processes have 15 each, one of them twice.
    np.testing.assert_array_equal(one["trainer_presentations"], [6] * 29)
    assert one["trainer_rows"] == 6 * 15
    # Of 29 rows in 4 updates of up to 8, some come twice in an epoch, so that both processes have as many.
    for name in ("shared", "dispatched"):
        assert one[f"{name}_updates"] == 4
        assert (one[f"{name}_presentations"] == 5).all()
        for column in ("events", "margins"):
            whole, *resumed = one[f"{name}_{column}"]
            for other_run in resumed:
                np.testing.assert_array_equal(other_run, whole)
    assert one["epoch_rows"] == 8 * 15
    assert one["batch_rows"] == 0
    assert one["recalled_rows"] == 0
    np.testing.assert_array_equal(one["stored_events"], one["epoch_events"])
    np.testing.assert_array_equal(one["recalled_events"], one["epoch_events"])
    for name in ("epoch", "batch"):
        np.testing.assert_array_equal(one[f"{name}_presentations"], [8] * 29)
    history = one["epoch_history"].T.tolist()
    np.testing.assert_array_equal(
        one["epoch_events"], [sum(before and not after for before, after in pairwise(row)) for row in history]
    )
    # Two batches of 4 make the updates of one of 8.
    reviews = make_reviews(32)
    net = make_encoder(batch_size=8, iterator_train__shuffle=False)
    expected = ForgettingSelector(net, random_state=0).fit(padded(reviews), reviews["label"])
    np.testing.assert_array_equal(one["ordered_events"], expected.forgetting_scores_)
    np.testing.assert_allclose(one["ordered_margins"], expected.margins_, atol=1e-4)
    assert all(one[f"{name}_events"].sum() > 3 for name in ("trainer", "epoch", "batch", "ordered"))


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    model = tmp_path / "model"
    make_model().save_pretrained(model)
    make_tokenizer().save_pretrained(model)
    make_reviews().to_json(tmp_path / "reviews.jsonl")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    files = ["--train", str(tmp_path / "reviews.jsonl"), "--test", str(tmp_path / "reviews.jsonl")]
    options = ["--rows", "20", "--test-rows", "10", "--lr", "0.05", "--kept-epochs", "1", "--max-length", "9"]
    monkeypatch.setattr(sys, "argv", ["imdb_transformer.py", "--model", str(model), *files, *options])
    runpy.run_path(str(Path(__file__).parents[1] / "examples" / "imdb_transformer.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "forgetting events in 20 reviews" in printed
    assert "coverage: 2 rows kept, by class" in printed
    assert len(printed.split("test accuracy")[1].strip().splitlines()) == 5


def test_the_example_needs_both_files(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["imdb_transformer.py", "--train", "reviews.jsonl"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(Path(__file__).parents[1] / "examples" / "imdb_transformer.py"), run_name="__main__")
    assert "--train and --test go together" in capsys.readouterr().err
