"""The Trainer that records from the batches that it trains on, against what the plain Trainer computes in the same batches."""

import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from test_huggingface import (
    Drawing,
    Logits,
    Outputs,
    Rows,
    Stream,
    TorchIterable,
    _own_accelerator,  # noqa: F401  a fixture, used by every test here
    assert_same_scores,
    make_model,
    make_reviews,
    make_tokenizer,
    make_trainer,
    tokenize,
)
from torch.nn.functional import cross_entropy
from torch.utils.data import WeightedRandomSampler
from transformers import (
    BertForTokenClassification,
    BertLMHeadModel,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    set_seed,
)

from skprune import ForgettingSelector, PruningWarning, select_rows
from skprune.huggingface import ForgettingTrainer, ForgettingTrainerCallback, ForgettingTrainerMixin

# The oldest release that is supported knows no other name, and PEFT uses it.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.* is deprecated:FutureWarning")


def make_numbered(n_rows=30):
    """Rows whose first two tokens tell their number, in two digits of base 16, so that a test can read it."""
    rng = random.Random(0)
    ids = [[2 + row // 16, 2 + row % 16, *rng.choices(range(2, 18), k=rng.randint(1, 7))] for row in range(n_rows)]
    tokens = {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]}
    return Dataset.from_dict({**tokens, "label": [rng.randint(0, 1) for _ in ids], "unused": ["text"] * n_rows})


def read_rows(input_ids):
    return (16 * (input_ids[:, 0] - 2) + input_ids[:, 1] - 2).tolist()


class Oracle(TrainerCallback):
    """Write down, in Python and row by row, whether a model is right in the training steps of a plain Trainer."""

    def __init__(self, dataset, model):
        self.model = model
        self.labels = dataset["label"]
        self.correct = [[] for _ in self.labels]
        self.margins = [[] for _ in self.labels]
        self.left_out = 0
        self.seen = set()
        self.step = []
        model.register_forward_hook(self.look, with_kwargs=True)

    def look(self, module, inputs, kwargs, output):
        if not torch.is_grad_enabled():
            return
        if isinstance(output, dict):
            output = output["logits"]
        if isinstance(output, tuple):
            output = output[-1]
        for row, logits in zip(read_rows(kwargs["input_ids"]), output.detach().float(), strict=True):
            chance = logits.softmax(0)[self.labels[row]].item()
            self.step.append((row, chance > 0.5, 2 * chance - 1))

    def gather(self):
        """Return what happened in an update; a subclass asks other processes as well."""
        return self.step

    def on_step_end(self, args, state, control, **kwargs):
        for row, correct, margin in self.gather():
            if row not in self.seen:
                self.correct[row].append(correct)
                self.margins[row].append(margin)
                self.seen.add(row)
        self.step = []

    def on_epoch_end(self, args, state, control, **kwargs):
        self.left_out += len(self.labels) - len(self.seen)
        self.seen.clear()

    def check(self, scores):
        events = [sum(before and not after for before, after in pairwise(row)) for row in self.correct]
        first = [row.index(True) + 1 if any(row) else np.nan for row in self.correct]
        assert sum(events) > 3
        np.testing.assert_array_equal(scores.events, events)
        np.testing.assert_array_equal(scores.first_learned, first)
        np.testing.assert_array_equal(scores.presentations, [len(row) for row in self.correct])
        np.testing.assert_allclose(scores.margins, [np.mean(row) if row else np.nan for row in self.margins], atol=1e-5)


def make_pair(folder, dataset, trainer_classes, make=make_model, collate=None, **arguments):
    """Return a plain trainer and one that records, with models that start alike, and an oracle that watches the first."""
    trainers = []
    for number, trainer_class in enumerate(trainer_classes):
        torch.manual_seed(0)
        model = make()
        callbacks = [] if number else [Oracle(dataset, model)]
        trainers.append(
            make_trainer(
                folder,
                dataset,
                callbacks,
                model,
                collate,
                trainer_class=trainer_class,
                **({"num_train_epochs": 4} | arguments),
            )
        )
    return trainers


def losses_of(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def train_both(trainers):
    """Train a plain trainer and one that records, and compare all that a user can see."""
    weights, states = [], []
    for trainer in trainers:
        set_seed(3)
        trainer.train()
        weights.append(torch.cat([parameter.flatten() for parameter in trainer.model.parameters()]))
        states.append((torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()))
    plain, recorded = trainers
    assert len(losses_of(plain)) > 3
    assert losses_of(plain) == losses_of(recorded)
    assert torch.equal(*weights)
    assert states[0] == states[1]
    return recorded.forgetting_scores_


class OwnLoss(Trainer):
    """Takes the labels out of the batch and calls the model itself."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = cross_entropy(outputs.logits, labels, weight=torch.tensor([1.0, 1.1]))
        return (loss, outputs) if return_outputs else loss


class TwiceLoss(Trainer):
    """Predicts a batch twice, with different dropout; before, without gradients, as for a target."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        with torch.no_grad():
            target = model(**inputs).logits
        first, second = model(**inputs), model(**inputs)
        return first.loss + (first.logits - second.logits).square().mean() + (first.logits - target).square().mean()


class OwnSampler(Trainer):
    """Draws rows with replacement, by their labels."""

    def _get_train_sampler(self, train_dataset=None):
        weights = [1.0 + label / 10 for label in self.train_dataset["label"]]
        return WeightedRandomSampler(weights, len(weights), generator=torch.Generator().manual_seed(0))


class OwnLoader(Trainer):
    """Makes a plain DataLoader."""

    def get_train_dataloader(self):
        dataset = self.train_dataset.remove_columns("unused")
        return torch.utils.data.DataLoader(dataset, batch_size=7, shuffle=True, collate_fn=self.data_collator)


class TwiceStep(Trainer):
    """Goes through a batch twice, as optimizers that look for flat minima do."""

    def training_step(self, model, inputs, *args, **kwargs):
        return super().training_step(model, inputs, *args, **kwargs) + super().training_step(
            model, inputs, *args, **kwargs
        )


class FromTheEnd(Trainer):
    """Counts rows from the end, as Python's lists do."""

    def _get_train_sampler(self, train_dataset=None):
        return range(-len(self.train_dataset), 0)


class PoppingCollator:
    """Takes labels out of the samples, and looks that nothing else is in them."""

    def __call__(self, samples):
        assert all(set(sample) <= {"input_ids", "attention_mask", "label"} for sample in samples)
        labels = torch.tensor([sample.pop("label") for sample in samples])
        return {**make_tokenizer().pad(samples, return_tensors="pt"), "labels": labels}


LORA = LoraConfig("SEQ_CLS", r=2, lora_alpha=64, target_modules=["query", "value"])


def make_lora():
    return get_peft_model(make_model(hidden_dropout_prob=0.1), LORA)


OPTIONS = {
    "dropout": {"make": lambda: make_model(hidden_dropout_prob=0.3)},
    "own compute_loss": {"trainer": OwnLoss},
    "model called more than once": {"trainer": TwiceLoss, "make": lambda: make_model(hidden_dropout_prob=0.2)},
    "own collator": {"collate": PoppingCollator()},
    "collator that draws": {"collate": Drawing(2)},
    "own sampler": {"trainer": OwnSampler, "num_train_epochs": 7},
    "own loader": {"trainer": OwnLoader},
    "rows from the end": {"trainer": FromTheEnd},
    "by length": {"train_sampling_strategy": "group_by_length"},
    "workers": {"dataloader_num_workers": 2, "num_train_epochs": 3, "dataloader_persistent_workers": True},
    "accumulated": {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4},
    "smoothed": {"label_smoothing_factor": 0.1},
    "bf16": {"bf16": True},
    "last batch dropped": {"per_device_train_batch_size": 8, "dataloader_drop_last": True},
    "checkpointed gradients": {"gradient_checkpointing": True},
    "checkpointed gradients, reentrant": {
        "gradient_checkpointing": True,
        "gradient_checkpointing_kwargs": {"use_reentrant": True},
    },
    "LoRA": {"make": make_lora, "learning_rate": 0.3},
    "tuples": {"make": Outputs},
    "tuples by config": {"make": lambda: make_model(return_dict=False)},
    "columns kept": {"remove_unused_columns": False, "drop": ["unused"]},
    "dispatched": {"accelerator_config": {"dispatch_batches": True}},
    "split": {"accelerator_config": {"split_batches": True}},
    "torch dataset": {"wrap": Rows, "drop": ["unused"]},
    "subset": {"wrap": lambda dataset: torch.utils.data.Subset(dataset, range(len(dataset)))},
    "evaluated": {"eval_strategy": "steps", "eval_steps": 2, "evaluate": True},
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # of workers, by fork
@pytest.mark.filterwarnings("ignore:.* rows were (never|presented):skprune.PruningWarning")
def test_training_is_the_same_and_scores_are_those_counted_by_hand(tmp_path, option):
    arguments = dict(OPTIONS[option])
    plain = arguments.pop("trainer", Trainer)
    wrap, columns = arguments.pop("wrap", lambda dataset: dataset), arguments.pop("drop", [])
    dataset = make_numbered().remove_columns(columns)
    if arguments.pop("evaluate", False):
        arguments["eval_dataset"] = dataset
    recording = type("MyTrainer", (ForgettingTrainerMixin, plain), {})
    if "compute_loss" in vars(plain):  # as of a user's own class, before the mixin
        recording = type("MyTrainer", (ForgettingTrainerMixin, Trainer), {"compute_loss": plain.compute_loss})
    trainers = make_pair(tmp_path, dataset, [plain, recording], **arguments)
    for trainer in trainers:
        trainer.train_dataset = wrap(dataset)
    oracle = next(callback for callback in trainers[0].callback_handler.callbacks if isinstance(callback, Oracle))
    scores = train_both(trainers)
    oracle.check(scores)
    if option in ("last batch dropped", "own sampler"):
        assert oracle.left_out > 0
        assert scores.presentations.sum() == 30 * arguments.get("num_train_epochs", 4) - oracle.left_out
    else:
        assert oracle.left_out == 0


def test_compiled(tmp_path):
    # What is compiled can't be watched from outside; the backend "eager" computes what the model does without it.
    dataset = make_numbered()
    oracle = Oracle(dataset, make_model())
    set_seed(3)
    make_trainer(tmp_path, dataset, [oracle], oracle.model, num_train_epochs=4).train()
    compiled = {"torch_compile": True, "torch_compile_backend": "eager", "num_train_epochs": 4}
    oracle.check(
        train_both(
            [make_trainer(tmp_path, dataset, trainer_class=kind, **compiled) for kind in (Trainer, ForgettingTrainer)]
        )
    )


@pytest.mark.parametrize("wrap", [lambda logits: logits, lambda logits: (logits,)], ids=["bare", "tuple"])
def test_models_that_take_no_labels(tmp_path, wrap):
    dataset = make_numbered()
    trainers = make_pair(tmp_path, dataset, [Trainer, ForgettingTrainer], lambda: Logits(wrap))
    for trainer in trainers:
        trainer.compute_loss_func = lambda output, labels, **_: cross_entropy(
            output if torch.is_tensor(output) else next(iter(output.values() if isinstance(output, dict) else output)),
            labels,
        )
    (oracle,) = (callback for callback in trainers[0].callback_handler.callbacks if isinstance(callback, Oracle))
    oracle.check(train_both(trainers))


def test_with_the_callback(tmp_path):
    # Both record, neither disturbs the other.
    dataset = tokenize(make_reviews())
    alone, both = ForgettingTrainerCallback(), ForgettingTrainerCallback()
    make_trainer(tmp_path, dataset, [alone]).train()
    single = make_trainer(tmp_path, dataset, trainer_class=ForgettingTrainer)
    single.train()
    trainer = make_trainer(tmp_path, dataset, [both], trainer_class=ForgettingTrainer)
    trainer.train()
    assert_same_scores(both.scores_, alone.scores_)
    assert_same_scores(trainer.forgetting_scores_, single.forgetting_scores_)
    assert (both.scores_.events != trainer.forgetting_scores_.events).any()


def test_batches_are_as_they_are_without_training(tmp_path):
    trainer = make_trainer(tmp_path, make_numbered(), trainer_class=ForgettingTrainer)
    batch = next(iter(trainer.get_train_dataloader()))
    assert set(batch) == {"input_ids", "attention_mask", "labels"}
    assert not hasattr(trainer, "forgetting_scores_")
    with pytest.raises(AttributeError, match=r"call trainer\.train\(\)"):
        _ = trainer.forgetting_scores_


def test_checkpoints_go_on_with_the_scores(tmp_path):
    # Three updates of two batches an epoch: 4 is inside the second, 6 its last, saved before the epoch ends.
    dataset = make_numbered()
    saving = {"save_strategy": "steps", "save_steps": 2, "per_device_train_batch_size": 5, "num_train_epochs": 3}
    saving |= {"gradient_accumulation_steps": 2, "trainer_class": ForgettingTrainer}
    whole = make_trainer(tmp_path, dataset, **saving)
    whole.train()
    assert whole.forgetting_scores_.events.sum() > 3
    for step, restore in ((4, False), (4, True), (6, False)):
        resumed = make_trainer(tmp_path / "resumed", dataset, restore_callback_states_from_checkpoint=restore, **saving)
        resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
        assert_same_scores(resumed.forgetting_scores_, whole.forgetting_scores_)
        np.testing.assert_array_equal(resumed.forgetting_scores_.first_learned, whole.forgetting_scores_.first_learned)
    # Of a checkpoint of a training that was resumed itself.
    again = make_trainer(tmp_path / "again", dataset, **saving)
    again.train(resume_from_checkpoint=str(tmp_path / "resumed" / "checkpoint-8"))
    assert_same_scores(again.forgetting_scores_, whole.forgetting_scores_)


def test_recording_that_begins_late(tmp_path):
    dataset = make_numbered()
    make_trainer(tmp_path, dataset, save_strategy="epoch", num_train_epochs=2).train()
    late = make_trainer(tmp_path / "late", dataset, save_strategy="epoch", trainer_class=ForgettingTrainer)
    with pytest.warns(PruningWarning, match="without ForgettingTrainerMixin. Recording starts at epoch 2"):
        late.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    assert set(late.forgetting_scores_.presentations) == {2}
    shorter = make_trainer(tmp_path / "late", make_numbered(29), trainer_class=ForgettingTrainer)
    with pytest.raises(ValueError, match="scores of 30 rows, but train_dataset has 29"):
        shorter.train(resume_from_checkpoint=str(tmp_path / "late" / "checkpoint-9"))


def test_a_second_training_begins_anew(tmp_path):
    trainer = make_trainer(tmp_path, make_numbered(), num_train_epochs=2, trainer_class=ForgettingTrainer)
    trainer.train()
    trainer.train()
    assert set(trainer.forgetting_scores_.presentations) == {2}


def test_an_epoch_that_is_broken_off(tmp_path):
    class Stop(TrainerCallback):
        """Stop the first epoch behind the first of two batches of an update."""

        stopped = False

        def on_substep_end(self, args, state, control, **kwargs):
            if state.global_step == 1 and not self.stopped:
                control.should_epoch_stop = self.stopped = True

    dataset = make_numbered()
    arguments = {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 5, "num_train_epochs": 2}
    trainer = make_trainer(tmp_path, dataset, [Stop()], trainer_class=ForgettingTrainer, **arguments)
    with pytest.warns(PruningWarning, match=r"15 of 30 rows were presented only once.*epoch 2"):
        trainer.train()
    presented = trainer.forgetting_scores_.presentations
    assert (presented == 2).sum() == 15
    assert (presented == 1).sum() == 15

    trainer = make_trainer(tmp_path, dataset, max_steps=2, trainer_class=ForgettingTrainer)
    with pytest.warns(PruningWarning, match="presented") as warned:
        trainer.train()
    never, once = sorted(str(warning.message) for warning in warned)
    assert never.startswith("10 of 30 rows were never presented in training, which ended at epoch 0.667")
    assert once.startswith("20 of 30 rows were presented only once")
    assert trainer.forgetting_scores_.presentations.sum() == 20


def test_rows_that_a_sampler_leaves_out(tmp_path):
    class Weighted(ForgettingTrainerMixin, OwnSampler):
        pass

    dataset = make_numbered()
    trainer = make_trainer(tmp_path, dataset, num_train_epochs=2, trainer_class=Weighted)
    with pytest.warns(PruningWarning, match="presented") as warned:
        trainer.train()
    scores = trainer.forgetting_scores_
    n_never, n_once = np.sum(scores.presentations == 0), np.sum(scores.presentations == 1)
    assert n_never > 0 < n_once
    never, once = (next(str(w.message) for w in warned if part in str(w.message)) for part in ("never", "only once"))
    assert never.startswith(f"{n_never} of 30 rows were never presented")
    assert "a sampler that draws with replacement" in never
    assert once.startswith(f"{n_once} of 30 rows were presented only once")
    for strategy in ("coverage", "most_forgotten"):
        kept = select_rows(scores, 0.5, y=dataset["label"], strategy=strategy, random_state=0)
        assert len(set(kept)) == 15
    selector = ForgettingSelector().fit(dataset, dataset["label"], forgetting_scores=scores)
    assert not selector.suspects_[scores.presentations == 0].any()


def test_scores_prune(tmp_path):
    reviews = make_reviews()
    trainer = make_trainer(tmp_path, tokenize(reviews), num_train_epochs=6, trainer_class=ForgettingTrainer)
    trainer.train()
    scores = trainer.forgetting_scores_
    selector = ForgettingSelector(k=0.1, strategy="most_forgotten")
    selector.fit(reviews, reviews["label"], forgetting_scores=scores)
    kept = select_rows(scores, k=0.1, strategy="most_forgotten")
    assert selector.transform(reviews)["text"][:] == [reviews[int(row)]["text"] for row in kept]


def test_padding_of_labels(tmp_path):
    # The net says 1 to all: right in the first row, wrong in the second, right where the third has a label.
    dataset = Dataset.from_dict(
        {"input_ids": [[2], [2, 3, 2], [2, 3], [3, 3]], "labels": [[1], [1, 0, 1], [1, -100], [-100, -100]]}
    )
    model = make_model(BertForTokenClassification, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    torch.nn.init.constant_(model.classifier.bias[1:], 2.0)
    collate = DataCollatorForTokenClassification(make_tokenizer())
    arguments = {"num_train_epochs": 2, "learning_rate": 0.0, "trainer_class": ForgettingTrainer}
    callback = ForgettingTrainerCallback()
    trainer = make_trainer(tmp_path, dataset, [callback], model, collate, **arguments)
    with pytest.warns(PruningWarning, match=r"1 of 4 rows were never presented.*rows without a label"):
        trainer.train()
    scores = trainer.forgetting_scores_
    np.testing.assert_array_equal(scores.presentations, [2, 2, 2, 0])
    np.testing.assert_array_equal(scores.never_learned, [False, True, False, True])
    # Nothing was learned and nothing dropped out, so that the pass of the callback predicts the same.
    np.testing.assert_allclose(scores.margins, callback.scores_.margins, atol=1e-6)


class CastLabels(DataCollatorWithPadding):
    """Stores labels in another type."""

    def __init__(self, cast):
        super().__init__(make_tokenizer())
        self.cast = cast

    def __call__(self, samples):
        batch = super().__call__(samples)
        batch["labels"] = self.cast(batch["labels"])
        return batch


class Features(Outputs):
    """Returns features between the loss and the logits."""

    def forward(self, input_ids, attention_mask=None, labels=None):
        output = self.bert(input_ids=input_ids, attention_mask=attention_mask, labels=labels, output_hidden_states=True)
        return output.loss, output.hidden_states[-1][:, 0], output.logits


class CastBack(Trainer):
    """Needs no labels of a certain type, and none at all for rows with the label -1."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = torch.as_tensor(inputs.pop("labels")).long()
        return cross_entropy(model(**inputs).logits, labels, ignore_index=-1)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int16, torch.int32], ids=str)
def test_labels_of_other_types(tmp_path, dtype):
    collate = CastLabels(lambda labels: labels.to(dtype))
    recording = type("MyTrainer", (ForgettingTrainerMixin, CastBack), {})
    plain, recorded = make_pair(tmp_path, make_numbered(), [CastBack, recording], collate=collate)
    (oracle,) = (callback for callback in plain.callback_handler.callbacks if isinstance(callback, Oracle))
    oracle.check(train_both([plain, recorded]))


def test_a_user_s_step_that_trains_on_a_batch_twice(tmp_path):
    dataset = make_numbered()
    first = type("First", (TwiceStep, ForgettingTrainerMixin, Trainer), {})
    plain, recorded = make_pair(tmp_path, dataset, [TwiceStep, first])
    (oracle,) = (callback for callback in plain.callback_handler.callbacks if isinstance(callback, Oracle))
    oracle.check(train_both([plain, recorded]))


def test_a_dataset_that_reads_in_ascending_order(tmp_path):
    class Ascending(Rows):
        def __getitems__(self, rows):
            return [self[row] for row in sorted(rows)]

    dataset = make_numbered().remove_columns("unused")
    oracle = Oracle(dataset, make_model())
    arguments = {"trainer_class": ForgettingTrainer, "num_train_epochs": 4}
    trainer = make_trainer(tmp_path, Ascending(dataset), [oracle], oracle.model, **arguments)
    trainer.train()
    oracle.check(trainer.forgetting_scores_)


def test_samples_of_the_dataset_stay_as_they_are(tmp_path):
    class Extending(DataCollatorWithPadding):
        """Writes into the lists that the dataset holds."""

        def __call__(self, samples):
            for sample in samples:
                sample["input_ids"][-1] = 2 + (sample["input_ids"][-1] + 1) % 16
            return super().__call__(samples)

    losses = []
    for kind in (Trainer, ForgettingTrainer):
        rows = Rows(make_numbered().remove_columns("unused"))
        trainer = make_trainer(tmp_path, rows, collate=Extending(make_tokenizer()), trainer_class=kind)
        trainer.train()
        losses.append(losses_of(trainer))
    assert losses[0] == losses[1]


class Sorting(DataCollatorWithPadding):
    """Puts the longest row first."""

    def __call__(self, samples):
        return super().__call__(sorted(samples, key=lambda sample: -len(sample["input_ids"])))


class NotCalled(Trainer):
    """Goes around the model."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        return self.model.classifier(self.model.bert(inputs["input_ids"])[1]).mean()


class OwnRows(Trainer):
    """Predicts other rows than those of the batch."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        return model(**{name: values[:5] for name, values in inputs.items()}).loss


class Diverging(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        with torch.no_grad():
            self.model.classifier.bias.fill_(torch.nan)
        return model(**inputs).loss


WRONG = {
    "no label column": (
        lambda d: {"dataset": d.remove_columns("label")},
        ValueError,
        "one label per row.*column 'label'",
    ),
    "streamed": (lambda d: {"dataset": d.to_iterable_dataset(), "max_steps": 3}, TypeError, "IterableDataset, has no"),
    "no length": (lambda d: {"dataset": Stream(), "max_steps": 3}, TypeError, "Stream, has no length.*streaming"),
    "streamed, length known": (
        lambda d: {
            "dataset": type("Lines", (TorchIterable,), {"__len__": lambda _: 12, "__iter__": lambda _: iter(d)})()
        },
        TypeError,
        "Lines, has no length or no index.*streaming",
    ),
    "regression": (
        lambda d: {"dataset": d, "model": make_model(num_labels=1)},
        ValueError,
        r"regression head \(num_lab",
    ),
    "LoRA of regression": (
        lambda d: {
            "dataset": d,
            "model": get_peft_model(make_model(num_labels=1), LORA),
        },
        ValueError,
        "BertForSequenceClassification has a regression head",
    ),
    "next token": (
        lambda d: {"dataset": d, "model": make_model(BertLMHeadModel, is_decoder=True)},
        ValueError,
        "next token",
    ),
    "next token, a class of the user's own": (
        lambda d: {"dataset": d, "model": make_model(type("MyModel", (BertLMHeadModel,), {}), is_decoder=True)},
        ValueError,
        "MyModel predicts the next token",
    ),
    "a tuple with features": (
        lambda d: {"dataset": d, "model": Features()},
        ValueError,
        r"Features returns a tuple with 2 tensors .* \(10, 8\), \(10, 2\)",
    ),
    "labels in a list": (
        lambda d: {"dataset": d, "plain": CastBack, "collate": CastLabels(torch.Tensor.tolist)},
        ValueError,
        "labels in a tensor, got a list under 'labels'",
    ),
    "order of rows with equal labels": (
        lambda d: {
            "dataset": d.remove_columns("label").add_column("label", [0] * len(d)),
            "collate": Sorting(make_tokenizer()),
        },
        ValueError,
        "Sorting.*another order",
    ),
    "labels of no class": (
        lambda d: {"dataset": d, "plain": CastBack, "collate": CastLabels(lambda labels: labels.clone().fill_(-1))},
        ValueError,
        "not class numbers of the model for 12 of 12 rows.*or -100",
    ),
    "order": (lambda d: {"dataset": d, "collate": Sorting(make_tokenizer())}, ValueError, "Sorting.*another order"),
    "model not called": (lambda d: {"dataset": d, "plain": NotCalled}, ValueError, "has not called the model"),
    "other rows": (lambda d: {"dataset": d, "plain": OwnRows}, ValueError, r"for 10 rows here.*shape \(5, 2\) from"),
    "diverged": (lambda d: {"dataset": d, "plain": Diverging}, ValueError, "nan or infinite for 12 of 12 rows"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_recorded(tmp_path, case):
    make, error, message = WRONG[case]
    arguments = make(tokenize(make_reviews(12)))
    recording = type("MyTrainer", (ForgettingTrainerMixin, arguments.pop("plain", Trainer)), {})
    trainer = make_trainer(tmp_path, trainer_class=recording, **arguments)
    with pytest.raises(error, match=message):
        trainer.train()
    # These two show only when outcomes are counted.
    assert trainer.state.global_step == 0 or case in ("diverged", "labels of no class")


def test_loaders_without_row_numbers(tmp_path):
    class Late(ForgettingTrainerMixin, Trainer):
        """Its own loader is before the mixin, and does not ask for that of the mixin."""

        def get_train_dataloader(self):
            return Trainer.get_train_dataloader(self)

    class Lists(Trainer):
        def get_train_dataloader(self):
            return list(super().get_train_dataloader())

    with pytest.raises(ValueError, match=r"no row numbers.*Late makes.*behind the mixin"):
        make_trainer(tmp_path, make_numbered(), trainer_class=Late).train()
    listed = type("Listed", (ForgettingTrainerMixin, Lists), {})
    with pytest.raises(TypeError, match="returned a list; expected a torch DataLoader"):
        make_trainer(tmp_path, make_numbered(), trainer_class=listed).train()
    with pytest.raises(TypeError, match=r"MRO|method resolution order"):
        type("Wrong", (Trainer, ForgettingTrainerMixin), {})


def test_a_loader_that_is_kept(tmp_path):
    class Keeping(Trainer):
        kept = None

        def get_train_dataloader(self):
            self.kept = self.kept or super().get_train_dataloader()
            return self.kept

    trainer = make_trainer(
        tmp_path, make_numbered(), num_train_epochs=2, trainer_class=type("Kept", (ForgettingTrainerMixin, Keeping), {})
    )
    trainer.train()
    trainer.train()
    assert set(trainer.forgetting_scores_.presentations) == {2}


def test_a_loader_of_the_users_stays_as_it_is(tmp_path):
    dataset = make_numbered().remove_columns("unused")
    loader = torch.utils.data.DataLoader(dataset, 10, collate_fn=DataCollatorWithPadding(make_tokenizer()))

    class Given(Trainer):
        def get_train_dataloader(self):
            return loader

    trainer = make_trainer(tmp_path, dataset, trainer_class=type("Recording", (ForgettingTrainerMixin, Given), {}))
    trainer.train()
    assert set(trainer.forgetting_scores_.presentations) == {4}
    assert set(next(iter(loader))) == {"input_ids", "attention_mask", "labels"}
    assert loader.dataset is dataset
