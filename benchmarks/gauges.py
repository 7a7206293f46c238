"""What measures: processor time, memory, and whether the answer is right."""

import gc
import math
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from time import perf_counter, process_time
from types import SimpleNamespace

__all__ = ["WrongAnswer", "check", "least", "memory", "once"]

# Whether a job is done once only, for a quick look; set before the first job.
once = False


class WrongAnswer(Exception):
    """An engine did something else than it was asked to."""


def check(got: object, expected: object) -> None:
    if got != expected:
        shown = str(got)[:200]
        raise WrongAnswer(f"the answer is {shown}, not {str(expected)[:200]}")


async def least(
    act: Callable[[], Awaitable[object]],
    expected: object,
    clock: Callable[[], float] = process_time,
) -> float:
    """Seconds of the fastest of several goes, within half a second or the first.

    By default of processor time, of all threads; others' load is not in it, but what
    they take from caches is, and so the shortest jobs need the most goes.
    """
    found = math.inf
    until = perf_counter() + (0 if once else 0.5)
    while found == math.inf or perf_counter() < until:
        gc.collect()
        began = clock()
        got = await act()
        found = min(found, clock() - began)
        check(got, expected)
    return found


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
