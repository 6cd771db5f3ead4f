"""Fit on arrays larger than the memory that the process is granted: ``python -m benchmarks.scale``.

Two tables are printed. The first is of fits on a memory-mapped float32 array, each in a process of its own, whose private
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

import skprune._selector
from skprune import ForgettingScores, ForgettingSelector, select_rows

N_FEATURES = 1024
MB = 10**6
ALLOWED_SHARE, ALLOWED_BYTES = 0.1, 200 * MB
EPOCHS = 2
PRESENTATIONS, BATCH = 3, 4096
SCORED_ROWS = (1_250_000, 2_500_000, 5_000_000, 10_000_000)
CHUNK = 2**12


def main():
    arguments = parse_arguments()
    if arguments.measure:
        print(*MEASUREMENTS[arguments.measure](*arguments.of))
        return
    print(f"| net | X, MB | rows | granted, MB | peak, MB | peak / X | allowed | seconds | rows / s, {EPOCHS} epochs |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=arguments.dir) as folder:
        for net in ("built-in", "linear"):
            for size in arguments.megabytes:
                print_fit(net, make_array(Path(folder), size))
    print("\n| rows scored | peak, MB | bytes a row | seconds to record | presentations / s | seconds to select half |")
    print("|---|---|---|---|---|---|")
    for n_rows in arguments.rows:
        peak, recording, selecting = measured("scores", n_rows)
        print(
            f"| {n_rows:,} | {peak / MB:.0f} | {peak / n_rows:.0f} | {recording:.1f} | "
            f"{PRESENTATIONS * n_rows / recording:,.0f} | {selecting:.1f} |",
            flush=True,
        )


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=int, nargs="+", default=(256, 512, 1024, 2048), help="sizes of X")
    parser.add_argument("--rows", type=int, nargs="+", default=SCORED_ROWS, help="numbers of rows for the scores alone")
    parser.add_argument(
        "--dir", type=Path, help="where X is written, once a size; the default is that of temporary files"
    )
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


def print_fit(net, file):
    n_bytes, n_rows, granted, peak, seconds = measured("fit", net, file)
    allowed = ALLOWED_SHARE * n_bytes + ALLOWED_BYTES
    print(
        f"| {net} | {n_bytes / MB:.0f} | {n_rows:,.0f} | {granted / MB:.0f} | {peak / MB:.0f} | {peak / n_bytes:.1%} | "
        f"{'yes' if peak < allowed else 'NO'} | {seconds:.1f} | {EPOCHS * n_rows / seconds:,.0f} |",
        flush=True,
    )


def measured(what, *arguments):
    """Return the numbers that a measurement in a process of its own prints."""
    command = [sys.executable, "-m", "benchmarks.scale", "--measure", what, *map(str, arguments)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [float(number) for number in printed.split()]


def measure_fit(net, file):
    make_net = skprune._selector.make_default_net
    skprune._selector.make_default_net = lambda X, n_classes: make_net(X, n_classes).set_params(max_epochs=EPOCHS)
    linear = NeuralNetClassifier(
        torch.nn.Linear,
        module__in_features=N_FEATURES,
        module__out_features=2,
        criterion=torch.nn.CrossEntropyLoss,
        max_epochs=EPOCHS,
        batch_size=256,
        lr=0.01,
    )
    warm_up()
    X = np.load(file, mmap_mode="r")
    y = np.arange(len(X)) % 2
    granted = int(read_status("VmData") + ALLOWED_SHARE * X.nbytes + ALLOWED_BYTES)
    resource.setrlimit(resource.RLIMIT_DATA, (granted, granted))
    selector = ForgettingSelector(linear if net == "linear" else None, random_state=0)
    with PeakMemory() as peak:
        start = time.perf_counter()
        selector.fit(X, y)
        seconds = time.perf_counter() - start
    assert len(selector.get_support(indices=True)) == -(-len(X) // 2)
    return X.nbytes, len(X), granted, peak.n_bytes, seconds


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
