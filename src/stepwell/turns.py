"""Who may run when only so many runs of a workflow may go on at once; their names.

For `Workflow(num_concurrent_runs=…)` and `run(run_id=…)`. What is in a run is not its
business.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections import deque
from collections.abc import Callable
from weakref import WeakValueDictionary

from stepwell.errors import WorkflowRuntimeError
from stepwell.run import Run

__all__ = ["Turns", "keep_name", "name_for"]

_Waiting = tuple[Run, Callable[[], None]]
_numbers = itertools.count(1)
# Tells the runs of one process from those of others, in a journal that all write to.
_process = ""


def _name_process() -> None:
    global _process
    _process = os.urandom(6).hex()


_name_process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_name_process)
_named: WeakValueDictionary[str, Run] = WeakValueDictionary()


def name_for(run_id: str | None, workflow: str) -> str:
    """The name of a new run: the one given, else one made up.

    Raises:
        WorkflowRuntimeError: A run of that name is going on.
    """
    if run_id is None:
        return f"{workflow}-{next(_numbers)}-{_process}"
    other = _named.get(run_id)
    if other is not None and not other.is_over:
        raise WorkflowRuntimeError(
            f"a run named {run_id!r} is going on already.",
            hint="Give the new one another run_id, or none.",
            workflow=workflow,
        )
    return run_id


def keep_name(run: Run) -> None:
    """Keep others from taking the name of a run while it goes on."""
    _named[run.run_id] = run


class Turns:
    """Lets runs begin in the order in which they came; safe over threads and loops.

    Args:
        limit: How many may go on at once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._going: set[Run] = set()
        self._waiting: deque[_Waiting] = deque()
        self._lock = threading.Lock()

    def take(self, run: Run, begin: Callable[[], None]) -> bool:
        """Call `begin` now or when it is the run's turn; says whether now."""
        run.outcome.add_done_callback(lambda _: self._leave(run))
        with self._lock:
            self._waiting.append((run, begin))
            called = self._call_up()
        now = False
        for each, its_begin in called:
            if each is run:
                now = True
                begin()
            else:
                _soon(each, its_begin)
        return now

    def _leave(self, run: Run) -> None:
        with self._lock:
            if run in self._going:
                self._going.remove(run)
            else:  # cancelled while it was waiting
                kept = (waiting for waiting in self._waiting if waiting[0] is not run)
                self._waiting = deque(kept)
            called = self._call_up()
        for following, begin in called:
            _soon(following, begin)

    def _call_up(self) -> list[_Waiting]:
        """Those whose turn has come; the caller holds the lock."""
        # What ran on a loop that was closed will never say that it is over.
        self._going = {run for run in self._going if not run.loop.is_closed()}
        called: list[_Waiting] = []
        while self._waiting and len(self._going) < self._limit:
            run, begin = self._waiting.popleft()
            if not run.is_over and not run.loop.is_closed():
                self._going.add(run)
                called.append((run, begin))
        return called


def _soon(run: Run, begin: Callable[[], None]) -> None:
    """Have a run begin on its own loop, which may be another thread's."""
    with contextlib.suppress(RuntimeError):  # the loop was closed just now
        run.loop.call_soon_threadsafe(begin)
