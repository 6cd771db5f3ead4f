"""Storage of finished runs, in a folder or in this process. Entries are bytes, and their keys are digests."""

import os
import threading
import warnings
import zlib
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from sklearn.utils.validation import check_memory

from skprune._digest import digest
from skprune.exceptions import PruningWarning


def is_off(memory):
    """Return whether an object with the joblib.Memory interface stores nothing."""
    return getattr(memory, "location", "elsewhere") is None


def recall(memory, inputs, function, *args):
    """Return ``function(*args)``, which joblib stores under a digest of `inputs`.

    Parameters
    ----------
    memory : object with the joblib.Memory interface
    inputs : object
        Everything that the result depends on. If it has no digest, the function is called each time.
    function : callable
    *args : objects

    Returns
    -------
    result : object
    """
    key = digest(inputs)
    if key is None:
        return function(*args)
    stored = memory.cache(_call, ignore=["function", "args"])
    if getattr(memory, "backend", None) != "local":
        return stored(key, function, args)
    with Folder(memory.location).locked(key):
        return stored(key, function, args)


def _call(key, function, args):
    return function(*args)


def find_store(memory):
    """Return the store of a `memory`: this process for None, the folder of a joblib.Memory or path, None if it is off."""
    if memory is None:
        return recent
    memory = check_memory(os.fspath(memory) if isinstance(memory, os.PathLike) else memory)
    if is_off(memory):
        return None
    if getattr(memory, "backend", None) != "local":
        raise ValueError(
            f"Runs are stored in files, so memory must be a folder or a joblib.Memory with a folder, got {memory!r}."
        )
    return Folder(memory.location)


class Folder:
    """Entries in the folder of a joblib.Memory. ``Memory.clear`` removes them as well."""

    def __init__(self, location):
        self.path = Path(location) / "joblib" / "skprune-runs"

    @contextmanager
    def locked(self, key):
        """Wait until no other process makes the entry of this key."""
        self.path.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path / f"{key}.lock"):
            yield

    def get(self, key):
        """Return an entry, or None if it does not exist or is damaged."""
        try:
            content = (self.path / f"{key}.run").read_bytes()
        except FileNotFoundError:
            return None
        return content[4:] if content[:4] == _checksum(content[4:]) else None

    def put(self, key, entry):
        """Store an entry, or warn if the disk is full. Other processes never see an incomplete entry."""
        part = self.path / f"{key}.part"
        try:
            part.write_bytes(_checksum(entry) + entry)
            part.replace(self.path / f"{key}.run")
        except OSError as error:
            part.unlink(missing_ok=True)
            message = f"Unable to store a finished run in {self.path}, so it will be trained again: {error}."
            warnings.warn(message, PruningWarning, stacklevel=2)


def _checksum(entry):
    return zlib.crc32(entry).to_bytes(4, "little")


class Recent:
    """The last entries of this process, up to a total size of some megabytes."""

    max_bytes = 2**24

    def __init__(self):
        self.entries = {}
        self.restart()

    def restart(self):
        self.lock = threading.RLock()

    def __reduce__(self):
        return "recent"  # unpickled as the store of the other process

    @contextmanager
    def locked(self, key):
        """Wait for other threads. There is one lock for all keys, because trainings take turns."""
        with self.lock:
            yield

    def get(self, key):
        with self.lock:
            if key in self.entries:
                self.entries[key] = self.entries.pop(key)  # the one used last goes to the end
            return self.entries.get(key)

    def put(self, key, entry):
        with self.lock:
            if len(entry) <= self.max_bytes:
                self.entries[key] = entry
            while sum(map(len, self.entries.values())) > self.max_bytes:
                del self.entries[next(iter(self.entries))]


recent = Recent()
if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=recent.restart)  # the thread that held the lock does not exist in the child
