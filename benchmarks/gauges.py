"""What measures: processor time, memory, and whether the answer is right."""

import gc
import tracemalloc
from contextlib import contextmanager
from time import process_time
from types import SimpleNamespace

__all__ = ["WrongAnswer", "check", "cpu_time", "memory"]


class WrongAnswer(Exception):
    """An engine did something else than it was asked to."""


def check(got: object, expected: object) -> None:
    if got != expected:
        shown = str(got)[:200]
        raise WrongAnswer(f"the answer is {shown}, not {str(expected)[:200]}")


@contextmanager
def cpu_time():
    """Seconds of processor time, of all threads; others' load is not in it."""
    spent = SimpleNamespace(seconds=0.0)
    gc.collect()
    began = process_time()
    yield spent
    spent.seconds = process_time() - began


@contextmanager
def memory():
    """Bytes that Python objects take up: `held` after the block, and the `peak` in it.

    Tracing makes everything slower, so nothing is timed beside it.
    """
    bytes_ = SimpleNamespace(held=0, peak=0)
    gc.collect()
    tracemalloc.start(1)
    before = tracemalloc.get_traced_memory()[0]
    yield bytes_
    bytes_.peak = tracemalloc.get_traced_memory()[1] - before
    gc.collect()
    bytes_.held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
