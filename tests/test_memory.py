import threading

import joblib
import pytest

from skprune._memory import recall

calls = []


def compute(result):
    calls.append(result)
    return result


def class_of(slope=1, unit="m", base=object, default=2, doubled=True):
    """Return a class that only its code tells from another."""

    def scale(value):
        return value * slope

    class Line(base):
        name = unit

        def __init__(self, offset=default):
            super().__init__()
            self.offset = offset

        def at(self, x):
            return scale(x) + self.offset

        @staticmethod
        def double(x):
            return 2 * x if doubled else x

        @property
        def twice(self):
            return [self.double(x) for x in (1, 2)]

    if not doubled:
        Line.double = classmethod(lambda cls, x: x)
    return Line


def function_of(slope=1, default=2, other=None):
    def at(x, offset=default):
        return [slope * y + offset for y in x] if other is None else other(x)

    return at


CHANGES = {
    "class attribute": (class_of, {"unit": "km"}),
    "default of a method": (class_of, {"default": 3}),
    "base": (class_of, {"base": dict}),
    "method": (class_of, {"doubled": False}),
    "closure": (function_of, {"slope": 2}),
    "default": (function_of, {"default": 3}),
    "function enclosed": (function_of, {"other": lambda x: x}),
    "class enclosed": (function_of, {"other": int}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_cannot_be_imported_counts_by_its_code(tmp_path, change):
    make, changed = CHANGES[change]
    memory = joblib.Memory(tmp_path, verbose=0)
    calls.clear()
    for _ in range(2):  # made anew, of the same code
        assert recall(memory, {"of": make()}, compute, "first") == "first"
    assert recall(memory, {"of": make(**changed)}, compute, "changed") == "changed"
    assert calls == ["first", "changed"]


def test_a_result_that_cannot_be_stored(tmp_path):
    with pytest.raises(ValueError, match=r"cannot be stored in memory: .*lock.*top level of a file"):
        recall(joblib.Memory(tmp_path, verbose=0), "lock", compute, threading.Lock())
