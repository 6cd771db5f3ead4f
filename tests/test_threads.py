import threading

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification
from threadpoolctl import threadpool_info, threadpool_limits

from skprune import ForgettingSelector, _held_out, _leave_out, _rating
from skprune._threads import one_thread


@pytest.fixture(autouse=True)
def two_threads():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    with threadpool_limits(2, "blas"):
        assert n_threads_of_blas() == {2}
        yield
    torch.set_num_threads(n_threads)


def n_threads_of_blas():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def numbers():
    return torch.get_num_threads(), n_threads_of_blas()


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_the_numbers_come_back(error):
    @one_thread()
    def compute():
        assert numbers() == (1, {1})
        with one_thread():
            assert numbers() == (1, {1})
        assert n_threads_of_blas() == {1}
        raise error

    with pytest.raises(error):
        compute()
    assert numbers() == (2, {2})


def test_computations_that_overlap():
    """The second begins while the first runs, and ends last."""
    begun, ended = threading.Event(), threading.Event()

    def second():
        with one_thread():
            begun.set()
            ended.wait()

    thread = threading.Thread(target=second)
    with one_thread():
        thread.start()
        begun.wait()
    ended.set()
    thread.join()
    assert numbers() == (2, {2})


@pytest.mark.parametrize(
    ("module", "function"), [(_held_out, "Features"), (_leave_out, "both_spaces"), (_rating, "both_spaces")]
)
def test_models_are_tested_on_one_thread(monkeypatch, module, function):
    seen, original = [], getattr(module, function)

    def look(*args):
        seen.append(numbers())
        return original(*args)

    monkeypatch.setattr(module, function, look)
    X, y = make_classification(300, random_state=0)
    ForgettingSelector(k=0.5, random_state=0).fit(X, np.where(np.arange(300) % 5, y, 1 - y))
    assert seen
    assert all(each == (1, {1}) for each in seen)
    assert numbers() == (2, {2})
