"""One thread for computations that are too small for several."""

import threading
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

_lock = threading.Lock()
_n_inside, _n_threads = 0, 1


@contextmanager
def one_thread():
    """Set torch and the linear algebra of numpy to one thread, and restore their numbers of threads afterwards.

    With small matrices, threads wait for each other most of the time, and much longer if other programs use the cores.

    Python threads that begin meanwhile start with one thread of torch as well. The number before the first of several
    simultaneous computations is therefore restored by all of them. threadpoolctl does the same for linear algebra.
    """
    global _n_inside, _n_threads
    with _lock:
        if _n_inside == 0:
            _n_threads = torch.get_num_threads()
        _n_inside += 1
        torch.set_num_threads(1)
    try:
        with threadpool_limits(1, "blas"):
            yield
    finally:
        with _lock:
            _n_inside -= 1
            torch.set_num_threads(_n_threads)
