"""Fine-tuning on kept rows after one epoch on all: ``python -m benchmarks.finetuning --data DIR``.

A small transformer with random weights learns the classes of texts. Three ways are compared, with right labels and with a share
of labels redrawn: all epochs on all rows; one epoch on all rows, recorded by ``ForgettingTrainer``, and the others on the kept
rows, with the same weights, optimizer settings and number of epochs; and the same with as many random rows. Seconds are those
of all epochs and of the selection, on one thread. A pretrained model can be given with ``--model``.
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, load_dataset
from sklearn.feature_extraction.text import CountVectorizer
from tqdm import tqdm
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging

from benchmarks.data import redraw_labels
from benchmarks.report import add_docs_option, publish, table
from skprune import PruningWarning, select_rows
from skprune.huggingface import ForgettingTrainer

SHARES_OF_WRONG = (0, 0.2)
# The value of k, or None for all rows, and the strategy.
CANDIDATES = {
    "all rows": (None, None),
    "kept rows, k='auto'": ("auto", "coverage"),
    "random rows, as many": ("auto", "random"),
    "kept rows, k=0.5": (0.5, "coverage"),
    "random rows, k=0.5": (0.5, "random"),
}


def main():
    options = parse_arguments()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    # One epoch counts no events, which is meant here.
    warnings.filterwarnings("ignore", ".* rows were presented only once", PruningWarning)
    train, test = read(options)
    results = []
    for share in tqdm(SHARES_OF_WRONG, unit="share of wrong labels"):
        for seed in range(options.seeds):
            labels = redraw_labels(np.array(train["labels"]), share, seed)
            noisy = train.remove_columns("labels").add_column("labels", labels)
            results += [(share, *result) for result in compare(options, noisy, test, seed)]
    publish(list(describe(options, results)), options.docs, "finetuning")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder with <name>-train.jsonl and <name>-test.jsonl"
    )
    parser.add_argument("--texts", default="reuters", help="name of the files, reuters or imdb")
    parser.add_argument(
        "--model", help="name or folder of a pretrained encoder, instead of a small one with random weights"
    )
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--test-rows", type=int, default=1000)
    parser.add_argument("--max-length", type=int, default=32, help="tokens of a text that are read")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seeds", type=int, default=1)
    add_docs_option(parser)
    return parser.parse_args()


def read(options):
    """Return training and test rows as token numbers and labels, of the classes of at least 1% of the training rows."""
    files = {part: str(options.data / f"{options.texts}-{part}.jsonl") for part in ("train", "test")}
    parts = load_dataset("json", data_files=files)
    names, sizes = np.unique(parts["train"]["label"], return_counts=True)
    names = names[sizes >= 0.01 * sizes.sum()]
    rng = np.random.default_rng(0)
    drawn = []
    for part, n_rows in (("train", options.rows), ("test", options.test_rows)):
        rows = rng.permutation(np.flatnonzero(np.isin(parts[part]["label"], names)))[:n_rows]
        drawn.append(parts[part].select(rows))
    tokens = tokenize([part["text"][:] for part in drawn], options)
    return [
        Dataset.from_dict({**columns, "labels": np.searchsorted(names, part["label"][:])})
        for part, columns in zip(drawn, tokens, strict=True)
    ]


def tokenize(parts, options):
    """Return the token numbers of training and test texts: those of the pretrained model, or the most frequent words."""
    if options.model:
        tokenizer = AutoTokenizer.from_pretrained(options.model)
        how = {"truncation": True, "max_length": options.max_length, "padding": "max_length"}
        return [dict(tokenizer(texts, **how)) for texts in parts]
    vectorizer = CountVectorizer(max_features=4998).fit(parts[0])
    analyze, numbers = vectorizer.build_analyzer(), vectorizer.vocabulary_
    columns = []
    for texts in parts:
        ids = [
            [2 + numbers[word] for word in analyze(text) if word in numbers][: options.max_length] or [1]
            for text in texts
        ]
        mask = [[1] * len(row) + [0] * (options.max_length - len(row)) for row in ids]
        ids = [row + [0] * (options.max_length - len(row)) for row in ids]
        columns.append({"input_ids": ids, "attention_mask": mask})
    return columns


def compare(options, train, test, seed):
    """Yield name, accuracy on the test rows, seconds and number of kept rows of every candidate."""
    n_auto = None
    for name, (k, strategy) in CANDIDATES.items():
        set_seed(seed)
        model = make_model(options, max(train["labels"]) + 1)
        start = time.process_time()
        if k is None:
            fine_tune(Trainer, model, train, options, options.epochs, seed)
            n_kept = len(train)
        else:
            scores = fine_tune(ForgettingTrainer, model, train, options, 1, seed).forgetting_scores_
            how = {"y": train["labels"][:], "random_state": seed}
            kept = select_rows(scores, n_auto if k == "auto" and strategy == "random" else k, strategy=strategy, **how)
            n_kept = n_auto = len(kept)
            fine_tune(Trainer, model, train.select(kept), options, options.epochs - 1, seed)
        seconds = time.process_time() - start
        predicted = make_trainer(Trainer, model, train, options, 1, seed).predict(test).predictions.argmax(1)
        yield name, np.mean(predicted == test["labels"][:]), seconds, n_kept


def make_model(options, n_classes):
    if options.model:
        return AutoModelForSequenceClassification.from_pretrained(options.model, num_labels=n_classes)
    shape = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 128}
    return BertForSequenceClassification(
        BertConfig(vocab_size=5000, max_position_embeddings=options.max_length, num_labels=n_classes, **shape)
    )


def fine_tune(trainer_class, *how):
    trainer = make_trainer(trainer_class, *how)
    trainer.train()
    return trainer


def make_trainer(trainer_class, model, train, options, n_epochs, seed):
    arguments = TrainingArguments(
        tempfile.gettempdir(),  # nothing is saved
        num_train_epochs=n_epochs,
        per_device_train_batch_size=16,
        per_device_eval_batch_size=128,
        learning_rate=options.lr,
        lr_scheduler_type="constant",
        use_cpu=True,
        dataloader_pin_memory=False,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=seed,
    )
    trainer = trainer_class(model, arguments, train_dataset=train)
    trainer.remove_callback(PrinterCallback)
    return trainer


def describe(options, results):
    """Yield the lines of the report."""
    model = Path(options.model).name if options.model else "a BERT of 1 layer and 64 units with random weights"
    yield "## Fine-tuning on kept rows\n"
    given = {name: value for name, value in vars(options).items() if name not in ("data", "docs", "model")}
    arguments = [f"--{name.replace('_', '-')} {value}" for name, value in given.items()]
    yield f"`python -m benchmarks.finetuning {' '.join(arguments)}`: {model}."
    yield "The first of the epochs is on all rows, the others on the kept ones. Accuracy on test rows, in percent, and seconds of"
    yield "the processor, means over the seeds, with the standard deviation of the accuracy.\n"
    lines = []
    for share in SHARES_OF_WRONG:
        for name in CANDIDATES:
            accuracy, seconds, n_kept = np.array([r[2:] for r in results if r[:2] == (share, name)]).T
            spread = f"{100 * accuracy.mean():.1f} ± {100 * accuracy.std():.1f}"
            lines.append((f"{share:.0%}", name, f"{n_kept.mean():.0f}", spread, f"{seconds.mean():.1f}"))
    yield from table(("wrong labels", "epochs 2 and later", "rows", "accuracy", "seconds"), lines)


if __name__ == "__main__":
    main()
