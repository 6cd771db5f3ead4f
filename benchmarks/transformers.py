"""What recording costs a transformers `Trainer`: ``python -m benchmarks.transformers --model DIR --data DIR``.

Seconds an epoch of fine-tuning a classifier of articles or reviews: plain, with the mixin, with the callback, and, if its
package dprune can be imported, with dPrune's callback. Candidates take turns, and the ratio is the median over `--repeats`
turns. On a CPU, seconds are those of the processor, so that other programs that are running count as little as may be.
"""

import argparse
import json
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import transformers
from datasets import Dataset
from tqdm import tqdm
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Trainer
from transformers.utils import logging

from benchmarks.report import add_docs_option, publish, table
from skprune.huggingface import ForgettingTrainer, ForgettingTrainerCallback

FILES = ("reuters-train.jsonl", "imdb-train.jsonl")


def main():
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    file = next((options.data / name for name in FILES if (options.data / name).exists()), None)
    if file is None:
        raise SystemExit(f"{options.data} has neither {' nor '.join(FILES)}, JSON lines with a text and a label each.")
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    rows = read(file, options.rows, tokenizer, options.max_length)
    seconds = take_turns(options, rows, DataCollatorWithPadding(tokenizer))
    publish(list(describe(options, file, rows, seconds)), options.docs, "transformers")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="name or folder of a pretrained encoder")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help=f"folder with {' or '.join(FILES)}")
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--max-length", type=int, default=128, help="tokens of a row that are read")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5, help="turns of every candidate")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    add_docs_option(parser)
    return parser.parse_args()


def read(file, n_rows, tokenizer, max_length):
    """Return tokenized rows, drawn at random since files may be sorted by class."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines = [lines[i] for i in np.random.default_rng(0).permutation(len(lines))[:n_rows]]
    tokens = tokenizer([line["text"] for line in lines], truncation=True, max_length=max_length)
    _, labels = np.unique([line["label"] for line in lines], return_inverse=True)
    return Dataset.from_dict({**tokens, "labels": labels})


def train_plain(make):
    make(Trainer).train()


def train_with_mixin(make):
    make(ForgettingTrainer).train()


def train_with_callback(make):
    make(Trainer, ForgettingTrainerCallback()).train()


def train_with_dprune(make):
    from dprune.callbacks import ForgettingCallback

    callback = ForgettingCallback()
    callback.trainer = make(Trainer, callback)
    callback.trainer.train()


CANDIDATES = {
    "Trainer, nothing recorded": train_plain,
    "skprune, ForgettingTrainerMixin": train_with_mixin,
    "skprune, ForgettingTrainerCallback": train_with_callback,
    "dPrune, ForgettingCallback": train_with_dprune,
}


def take_turns(options, rows, collate):
    """Return for every candidate its seconds an epoch, turn by turn."""
    candidates = dict(CANDIDATES)
    if find_spec("dprune") is None:
        del candidates["dPrune, ForgettingCallback"]
    for train in candidates.values():  # not counted: what is loaded at first use
        measure(train, options, rows.select(range(min(len(rows), 2 * options.batch_size))), collate)
    seconds = {name: [] for name in candidates}
    for _ in tqdm(range(options.repeats), unit="turn"):
        for name, train in candidates.items():
            seconds[name].append(measure(train, options, rows, collate))
    return seconds


def measure(train, options, rows, collate):
    """Return the seconds that an epoch takes, all that happens between them included."""
    n_labels = max(2, max(rows["labels"]) + 1)
    model = AutoModelForSequenceClassification.from_pretrained(options.model, num_labels=n_labels)
    cuda = torch.cuda.is_available()
    clock = time.perf_counter if cuda else time.process_time

    def make(trainer_class, *callbacks):
        arguments = transformers.TrainingArguments(
            tempfile.gettempdir(),  # nothing is saved
            num_train_epochs=options.epochs,
            per_device_train_batch_size=options.batch_size,
            per_device_eval_batch_size=options.batch_size,
            use_cpu=not cuda,
            dataloader_pin_memory=cuda,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = trainer_class(model, arguments, train_dataset=rows, data_collator=collate, callbacks=list(callbacks))
        trainer.remove_callback(transformers.PrinterCallback)
        return trainer

    start = clock()
    train(make)
    if cuda:
        torch.cuda.synchronize()
    return (clock() - start) / options.epochs


def describe(options, file, rows, seconds):
    """Yield the lines of the report."""
    device = (
        torch.cuda.get_device_name() if torch.cuda.is_available() else f"a CPU, threads of torch: {options.threads}"
    )
    yield "## What recording costs a Trainer\n"
    command = f"python -m benchmarks.transformers --rows {options.rows} --max-length {options.max_length}"
    yield f"`{command}`: seconds an epoch of {len(rows)} rows of {file.stem}, of at most"
    yield f"{options.max_length} tokens, with the model {Path(options.model).name}, {options.epochs} epochs, batches of"
    yield f"{options.batch_size}, on {device}; median of {options.repeats} turns, and of their ratios, least and most"
    yield "in brackets. On a CPU these are seconds of the processor.\n"
    plain = np.array(next(iter(seconds.values())))
    lines = []
    for name, values in seconds.items():
        ratios = values / plain
        lines.append(
            (name, f"{np.median(values):.2f}", f"{np.median(ratios):.3f} ({ratios.min():.3f} to {ratios.max():.3f})")
        )
    yield from table(("", "seconds an epoch", "ratio"), lines)


if __name__ == "__main__":
    main()
