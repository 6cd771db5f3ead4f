"""Fit on arrays larger than the memory that the process is granted: ``python -m benchmarks.scale``.

The first table is of fits on a memory-mapped float32 array, each in a process of its own, whose private
memory is limited to what it has after its imports, 10 % of X and 200 MB (RLIMIT_DATA counts private memory and leaves out
pages of files that are only read, which the system takes back when it likes). The second is of the scores alone: presentations
are recorded and rows selected, of up to 10 million.

What is printed as peak is the largest private memory in use (RssAnon in /proc, looked at every few milliseconds) less that
before X was opened. Runs on Linux only.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from skorch import NeuralNetClassifier
from tqdm import tqdm

from benchmarks.report import add_docs_option, publish, table
from skprune import ForgettingScores, ForgettingSelector, select_rows

N_FEATURES = 1024
MB = 10**6
ALLOWED_SHARE, ALLOWED_BYTES = 0.1, 200 * MB
PRESENTATIONS, BATCH = 3, 4096
SCORED_ROWS = (1_250_000, 2_500_000, 5_000_000, 10_000_000)
CHUNK = 2**12


def main():
    arguments = parse_arguments()
    if arguments.measure:
        torch.set_num_threads(1)
        print(*MEASUREMENTS[arguments.measure](*arguments.of))
        return
    with tempfile.TemporaryDirectory(dir=arguments.dir) as folder:
        arrays = [(net, size) for size in arguments.megabytes for net in ("built-in", "linear")]
        fits = [fit(net, make_array(Path(folder), size)) for net, size in tqdm(arrays, unit="fit")]
    scores = [score(n_rows) for n_rows in tqdm(arguments.rows, unit="number of rows")]
    publish(list(describe(fits, scores)), arguments.docs, "scale")


def describe(fits, scores):
    """Yield the lines of the report."""
    yield "## Arrays larger than memory\n"
    yield f"`python -m benchmarks.scale`: fits on a memory-mapped array of {N_FEATURES} float32 features, in a process that is"
    yield "granted 10 % of X and 200 MB for data of its own; peak is the largest private memory in use. One thread.\n"
    head = (
        "net",
        "X, MB",
        "rows",
        "granted, MB",
        "peak, MB",
        "peak / X",
        "seconds",
        "thousand rows a second and epoch",
    )
    yield from table(head, sorted(fits, key=lambda line: line[0]))
    yield ""
    head = (
        "rows scored",
        "peak, MB",
        "bytes a row",
        "seconds to record",
        "million rows a second",
        "seconds to select half",
    )
    yield from table(head, scores)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=int, nargs="+", default=(256, 512, 1024, 2048), help="sizes of X")
    parser.add_argument("--rows", type=int, nargs="+", default=SCORED_ROWS, help="numbers of rows for the scores alone")
    parser.add_argument(
        "--dir", type=Path, help="where X is written, once a size; the default is that of temporary files"
    )
    add_docs_option(parser)
    parser.add_argument("--measure", choices=MEASUREMENTS, help=argparse.SUPPRESS)
    parser.add_argument("of", nargs="*", help=argparse.SUPPRESS)
    return parser.parse_args()


def make_array(folder, megabytes):
    """Write two noisy classes, a chunk at a time, over the array that was there before."""
    file, rng = folder / "X.npy", np.random.default_rng(0)
    X = np.lib.format.open_memmap(file, "w+", np.float32, (megabytes * MB // (4 * N_FEATURES), N_FEATURES))
    for start in range(0, len(X), CHUNK):
        chunk = X[start : start + CHUNK]
        rng.standard_normal(dtype=np.float32, out=chunk)
        chunk += 0.05 * (np.arange(start, start + len(chunk)) % 2)[:, None]
    return file


def fit(net, file):
    """Return a line of the table of fits."""
    n_bytes, n_rows, granted, peak, n_epochs, seconds = measured("fit", net, file)
    sizes = (
        f"{n_bytes / MB:.0f}",
        f"{n_rows:,.0f}",
        f"{granted / MB:.0f}",
        f"{peak / MB:.0f}",
        f"{peak / n_bytes:.1%}",
    )
    return net, *sizes, f"{seconds:.1f}", f"{n_epochs * n_rows / seconds / 1000:.0f}"


def score(n_rows):
    """Return a line of the table of scores."""
    peak, recording, selecting = measured("scores", n_rows)
    rate = PRESENTATIONS * n_rows / recording / 1e6
    return (
        f"{n_rows:,}",
        f"{peak / MB:.0f}",
        f"{peak / n_rows:.0f}",
        f"{recording:.1f}",
        f"{rate:.1f}",
        f"{selecting:.1f}",
    )


def measured(what, *arguments):
    """Return the numbers that a measurement in a process of its own prints."""
    command = [sys.executable, "-m", "benchmarks.scale", "--measure", what, *map(str, arguments)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [float(number) for number in printed.split()]


def measure_fit(net, file):
    linear = NeuralNetClassifier(
        torch.nn.Linear,
        module__in_features=N_FEATURES,
        module__out_features=2,
        criterion=torch.nn.CrossEntropyLoss,
        max_epochs=2,
        batch_size=256,
        lr=0.01,
        verbose=0,
    )
    warm_up()
    X = np.load(file, mmap_mode="r")
    y = np.arange(len(X)) % 2
    before = read_status("VmData")
    granted = int(before + ALLOWED_SHARE * X.nbytes + ALLOWED_BYTES)
    resource.setrlimit(resource.RLIMIT_DATA, (granted, granted))
    selector = ForgettingSelector(linear if net == "linear" else None, k=0.5, random_state=0)
    with PeakMemory() as peak:
        start = time.perf_counter()
        selector.fit(X, y)
        seconds = time.perf_counter() - start
    assert len(selector.get_support(indices=True)) == -(-len(X) // 2)
    return X.nbytes, len(X), granted - before, peak.n_bytes, selector.n_epochs_, seconds


def measure_scores(n_rows):
    n_rows, rng = int(n_rows), np.random.default_rng(0)
    warm_up()
    with PeakMemory() as peak:
        scores = ForgettingScores(n_rows)
        recording = 0.0
        for _ in range(PRESENTATIONS):
            order = rng.permutation(n_rows)
            for begin in range(0, n_rows, BATCH):
                rows = order[begin : begin + BATCH]
                correct, margin = rng.random(len(rows)) < 0.7, rng.random(len(rows))
                start = time.perf_counter()
                scores.update(rows, correct, margin)
                recording += time.perf_counter() - start
            del order
        start = time.perf_counter()
        select_rows(scores, k=0.5, random_state=0)
        selecting = time.perf_counter() - start
    return peak.n_bytes, recording, selecting


MEASUREMENTS = {"fit": measure_fit, "scores": measure_scores}


def warm_up():
    """Have the libraries load what they load at their first use."""
    rng = np.random.default_rng(0)
    ForgettingSelector(random_state=0).fit(rng.normal(size=(64, N_FEATURES)).astype(np.float32), np.arange(64) % 2)


class PeakMemory:
    """Look at the private memory of this process again and again; `n_bytes` is its largest growth."""

    def __enter__(self):
        self._before = self._largest = read_status("RssAnon")
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def __exit__(self, *error):
        self._done.set()
        self._watcher.join()
        self.n_bytes = self._largest - self._before

    def _watch(self):
        while not self._done.wait(0.005):
            self._largest = max(self._largest, read_status("RssAnon"))


def read_status(name):
    """Return a line of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
