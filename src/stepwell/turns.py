"""Who may run when only so many runs of a workflow may go on at once.

For `Workflow(num_concurrent_runs=…)`. What is in a run is not its business.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from stepwell.run import Run

__all__ = ["Turns"]

_Waiting = tuple[Run, Callable[[], None]]


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
    run.loop.call_soon_threadsafe(begin)
