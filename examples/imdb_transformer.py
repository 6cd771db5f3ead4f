"""
Keep the reviews that a transformer forgets
===========================================

A transformer is fine-tuned on movie reviews, a callback counts how often each review is forgotten, the counts
become a column of the dataset, and the most forgotten tenth is kept. Fine-tuned anew on these rows, on a tenth that
covers hard and easy ones, and on a random tenth, the same transformer shows what the rows are worth. A tenth is
little: many of the most forgotten rows have doubtful labels, and so few of them can mislead more than they teach.

On the command line::

    python imdb_transformer.py --rows 2000

Without options this fine-tunes DistilBERT on all 25,000 reviews, for which a GPU is advisable. ``--model`` takes a
folder as well as a name, ``--train`` and ``--test`` take JSON lines with a "text" and a "label" each in the place of
the IMDB reviews.
"""

import argparse
import tempfile
import time
from collections import Counter

import numpy as np
import torch
from datasets import load_dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)

from skprune import select_rows
from skprune.huggingface import ForgettingTrainerCallback


def parse_arguments():
    parser = argparse.ArgumentParser(description="Fine-tune, count forgetting events, keep the most forgotten reviews.")
    parser.add_argument("--model", default="distilbert-base-uncased", help="name or folder of a pretrained encoder")
    parser.add_argument("--train", help="JSON lines to train on, instead of stanfordnlp/imdb")
    parser.add_argument("--test", help="JSON lines to test on, instead of stanfordnlp/imdb")
    parser.add_argument("--rows", type=int, help="train on this many reviews, drawn at random; default: all")
    parser.add_argument("--test-rows", type=int, default=1000, help="test on this many, drawn at random")
    parser.add_argument("--keep", type=float, default=0.1, help="share of the reviews to keep")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument(
        "--kept-epochs", type=int, default=10, help="epochs of training on the kept rows, which are fewer"
    )
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--max-length", type=int, default=128, help="tokens of a review that are read")
    parser.add_argument("--bf16", action="store_true", help="train in mixed precision, faster where supported")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if bool(options.train) != bool(options.test):
        parser.error("--train and --test go together")
    return options


def load_reviews(options):
    """Return training and test reviews, rows drawn at random since the files are sorted by class."""
    if options.train:
        reviews = load_dataset("json", data_files={"train": options.train, "test": options.test})
    else:
        reviews = load_dataset("stanfordnlp/imdb")
    draw = {"train": options.rows, "test": options.test_rows}
    shuffled = {name: reviews[name].shuffle(seed=options.seed) for name in draw}
    return [rows.select(range(min(draw[name] or len(rows), len(rows)))) for name, rows in shuffled.items()]


def train(options, tokenizer, train_reviews, test_reviews, n_epochs, callbacks=()):
    """Fine-tune the pretrained model and return its accuracy on the test reviews and the seconds it took."""
    set_seed(options.seed)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=n_epochs,
            per_device_train_batch_size=options.batch_size,
            per_device_eval_batch_size=4 * options.batch_size,
            learning_rate=options.lr,
            bf16=options.bf16,
            use_cpu=not torch.cuda.is_available(),
            train_sampling_strategy="group_by_length",
            save_strategy="no",
            logging_strategy="epoch",
            report_to="none",
            seed=options.seed,
        )
        trainer = Trainer(
            AutoModelForSequenceClassification.from_pretrained(options.model, num_labels=2),
            arguments,
            train_dataset=train_reviews,
            eval_dataset=test_reviews,
            data_collator=DataCollatorWithPadding(tokenizer),
            compute_metrics=lambda prediction: {
                "accuracy": (prediction.predictions.argmax(1) == prediction.label_ids).mean()
            },
            callbacks=list(callbacks),
        )
        trainer.train()
        seconds = time.perf_counter() - start
        return trainer.evaluate()["eval_accuracy"], seconds


def print_scores(reviews, scores):
    """Print how many reviews were forgotten how often, and the two that the model understands least and best."""
    print(
        f"\n{scores.events.sum()} forgetting events in {len(scores)} reviews; {scores.never_learned.sum()} were never learned"
    )
    print("\nevents   reviews   never learned   mean margin")
    for n_events in np.unique(scores.events):
        rows = scores.events == n_events
        print(f"{n_events:6}{rows.sum():10}{scores.never_learned[rows].sum():16}{scores.margins[rows].mean():14.2f}")
    order = np.argsort(scores.margins)
    for title, rows in (("Least understood", order[:2]), ("Best understood", order[-2:])):
        print(f"\n{title}")
        for row in rows.tolist():
            review = reviews[row]
            print(f"  margin {scores.margins[row]:5.2f}, label {review['label']}: {review['text'][:80]!r}...")


def main():
    options = parse_arguments()
    train_reviews, test_reviews = load_reviews(options)
    tokenizer = AutoTokenizer.from_pretrained(options.model)

    def tokenize(batch):
        return tokenizer(batch["text"], truncation=True, max_length=options.max_length)

    train_tokens, test_tokens = (reviews.map(tokenize, batched=True) for reviews in (train_reviews, test_reviews))

    callback = ForgettingTrainerCallback()
    accuracy, seconds = train(options, tokenizer, train_tokens, test_tokens, options.epochs, [callback])
    scores = callback.scores_
    scored = train_reviews.add_column("forgetting_score", scores.events)
    print_scores(scored, scores)

    results = [("all", len(scored), options.epochs, accuracy, seconds)]
    for strategy in ("most_forgotten", "coverage", "random"):
        kept = select_rows(scores, options.keep, strategy=strategy, random_state=options.seed)
        by_class = Counter(scored.select(kept)["label"])
        print(f"\n{strategy}: {len(kept)} rows kept, by class", dict(sorted(by_class.items())))
        accuracy, seconds = train(options, tokenizer, train_tokens.select(kept), test_tokens, options.kept_epochs)
        results.append((strategy, len(kept), options.kept_epochs, accuracy, seconds))

    print("\nrows             number   epochs   test accuracy   seconds")
    for strategy, n_rows, n_epochs, accuracy, seconds in results:
        print(f"{strategy:15}{n_rows:8}{n_epochs:9}{accuracy:16.3f}{seconds:10.0f}")


if __name__ == "__main__":
    main()
