"""One thread for computations that are too small for several."""

import threading
from contextlib import contextmanager, nullcontext

import torch
from threadpoolctl import threadpool_limits

_lock = threading.Lock()
_n_inside, _n_threads = 0, 1


@contextmanager
def one_thread():
    """Set torch and the linear algebra of numpy to one thread, and restore their numbers of threads afterwards.

    With small matrices, threads wait for each other most of the time, and much longer if other programs use the cores.

    Python threads that begin meanwhile start with one thread of torch as well. The number before the first of several
    simultaneous computations is therefore restored by all of them. Linear algebra has one number for all Python threads,
    which the first computation sets and restores.
    """
    global _n_inside, _n_threads
    with _lock:
        is_first = _n_inside == 0
        if is_first:
            _n_threads = torch.get_num_threads()
        _n_inside += 1
        torch.set_num_threads(1)
    try:
        with threadpool_limits(1, "blas") if is_first else nullcontext():
            yield
    finally:
        with _lock:
            _n_inside -= 1
            torch.set_num_threads(_n_threads)
