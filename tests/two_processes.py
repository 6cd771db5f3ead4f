"""Run by test_huggingface.py in each of two processes: record with the Trainer and with skorch's AccelerateMixin."""

import sys
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from skorch.callbacks import Callback
from test_huggingface import (
    AcceleratedNet,
    ByHand,
    Encoder,
    make_model,
    make_reviews,
    make_tokenizer,
    make_trainer,
    padded,
    tokenize,
)
from test_huggingface_trainer import Oracle, make_numbered
from transformers import DataCollatorWithPadding

from skprune import ForgettingSelector
from skprune.huggingface import ForgettingTrainer, ForgettingTrainerCallback

# To resume in several processes on CPUs, transformers before 5.18 loads tensors to "cpu:0". torch does not know that
# location.
torch.serialization.register_package(
    100, lambda storage: None, lambda storage, location: storage if location == "cpu:0" else None
)

FOLDER = Path(sys.argv[-1])


def counted():
    """Return the file with one byte for each row that this process predicts in evaluation mode.

    A variable would not do. All that the classes below use is a part of the key of stored runs, and must not change.
    """
    return FOLDER / f"predicted-{torch.distributed.get_rank()}"


class AcceleratorOfCPUs(Accelerator):
    """Leave modules without parameters, such as a criterion, alone, as accelerate itself does on GPUs."""

    def prepare_model(self, model, **kwargs):
        return super().prepare_model(model, **kwargs) if any(True for _ in model.parameters()) else model


class CountRows:
    """Count the rows that a model predicts in evaluation mode."""

    def __init__(self, model):
        self.n_rows = 0
        model.register_forward_hook(self.count, with_kwargs=True)

    def count(self, model, args, kwargs, output):
        if not model.training:
            self.n_rows += len(kwargs["input_ids"])


class ByHandInNet(Callback):
    """Predict all rows at the end of each epoch, in this process alone and outside of skorch."""

    def __init__(self, tokens, labels):
        self.tokens = tokens
        self.labels = labels

    def on_epoch_end(self, net, **kwargs):
        module = net.accelerator.unwrap_model(net.module_)
        module.eval()
        with torch.no_grad():
            logits = Encoder.forward(module, **{name: torch.from_numpy(values) for name, values in self.tokens.items()})
        net.history.record("right", (logits.argmax(1).numpy() == self.labels).tolist())


class OracleOfAll(Oracle):
    """Put together what the processes have written down, in their order."""

    def gather(self):
        parts = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(parts, self.step)
        return [outcome for part in parts for outcome in part]


class CountedEncoder(Encoder):
    def forward(self, input_ids, attention_mask=None):
        if not self.training:
            with open(counted(), "a") as file:
                file.write("." * len(input_ids))
        return super().forward(input_ids, attention_mask)


def record_with_trainer(folder, reviews):
    dataset = tokenize(reviews)
    model, callback = make_model(), ForgettingTrainerCallback()
    # The rows that the pass predicts, and by hand, in that order: all of them, one by one, in either process.
    by_hand, counted = ByHand(dataset), CountRows(model)
    make_trainer(folder, dataset, [callback, by_hand], model, num_train_epochs=6).train()
    by_hand.check(callback.scores_)
    return callback.scores_, counted.n_rows - 6 * len(reviews)


def record_batches(folder, collate, checkpoints, **arguments):
    """Record with the Trainer from 29 rows, in four updates an epoch, and again from checkpoints; count by a plain Trainer."""
    dataset = make_numbered(29)
    oracle = OracleOfAll(dataset, make_model())
    arguments |= {"per_device_train_batch_size": 4, "num_train_epochs": 5, "save_strategy": "steps", "save_steps": 2}
    make_trainer(folder / "plain", dataset, [oracle], oracle.model, collate, **arguments).train()
    trainers = []
    for checkpoint in (None, *(folder / f"checkpoint-{step}" for step in checkpoints)):
        trainer = make_trainer(folder, dataset, collate=collate, trainer_class=ForgettingTrainer, **arguments)
        trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
        trainers.append(trainer)
    oracle.check(trainers[0].forgetting_scores_)
    return [trainer.forgetting_scores_ for trainer in trainers], len(trainers[0].callback_handler.train_dataloader)


def record_with_skorch(reviews, record, shuffle=True, memory=None):
    tokens, labels = padded(reviews), np.array(reviews["label"])
    counted().write_text("")
    net = AcceleratedNet(
        CountedEncoder,
        accelerator=AcceleratorOfCPUs(cpu=True),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.05,
        max_epochs=8,
        batch_size=4,
        iterator_train__shuffle=shuffle,
        verbose=0,
        callbacks=[ByHandInNet(tokens, labels)],
    )
    selector = ForgettingSelector(net, record=record, memory=memory, random_state=0).fit(tokens, labels)
    return selector, np.array(selector.estimator_.history[:, "right"]), counted().stat().st_size


def main(folder):
    torch.set_num_threads(1)
    reviews = make_reviews(29)  # an odd number, which two processes can't halve
    results = {}
    scores, n_rows = record_with_trainer(folder / "trainer", reviews)
    results |= {"trainer_events": scores.events, "trainer_margins": scores.margins, "trainer_rows": n_rows}
    results["trainer_presentations"] = scores.presentations
    # accelerate dispatches batches of one width only
    collate = DataCollatorWithPadding(make_tokenizer(), padding="max_length", max_length=9)
    # Within an epoch and at its end. Where batches are dispatched, no Trainer goes on as if it had not stopped.
    for name, config, checkpoints in (("shared", {}, (6, 8)), ("dispatched", {"dispatch_batches": True}, ())):
        scores, n_updates = record_batches(folder / name, collate, checkpoints, accelerator_config=config)
        for column in ("events", "margins", "presentations"):
            results[f"{name}_{column}"] = np.stack([getattr(run, column) for run in scores])
        results[f"{name}_updates"] = n_updates
    recordings = {
        "epoch": (reviews, "epoch"),
        "stored": (reviews, "epoch", True, folder / "memory"),
        "recalled": (reviews, "epoch", True, folder / "memory"),
        "batch": (reviews, "batch"),
        "ordered": (make_reviews(32), "batch", False),
    }
    for name, arguments in recordings.items():
        selector, history, n_rows = record_with_skorch(*arguments)
        results |= {
            f"{name}_events": selector.forgetting_scores_,
            f"{name}_margins": selector.margins_,
            f"{name}_presentations": selector._scores.presentations,
            f"{name}_history": history,
            f"{name}_rows": n_rows,
        }
    results["n_processes"] = torch.distributed.get_world_size()
    np.savez(folder / f"{torch.distributed.get_rank()}.npz", **results)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(FOLDER)
