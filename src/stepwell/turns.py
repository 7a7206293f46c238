"""Who may run when only so many runs of a workflow may go on at once.

For `Workflow(num_concurrent_runs=…)`. What is in a run is not its business.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from stepwell.run import Run

__all__ = ["Turns"]


class Turns:
    """Lets runs begin in the order in which they came; safe over threads and loops.

    Args:
        limit: How many may go on at once.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._going: set[Run] = set()
        self._waiting: deque[tuple[Run, Callable[[], None]]] = deque()
        self._lock = threading.Lock()

    def take(self, run: Run, begin: Callable[[], None]) -> bool:
        """Call `begin` now or when it is the run's turn; says whether now."""
        run.outcome.add_done_callback(lambda _: self._leave(run))
        with self._lock:
            # What ran on a loop that was closed will never say that it is over.
            self._going = {r for r in self._going if not r.loop.is_closed()}
            now = len(self._going) < self._limit
            if now:
                self._going.add(run)
            else:
                self._waiting.append((run, begin))
        if now:
            begin()
        return now

    def _leave(self, run: Run) -> None:
        with self._lock:
            self._going.discard(run)
            while self._waiting and len(self._going) < self._limit:
                following, begin = self._waiting.popleft()
                if following.is_over or following.loop.is_closed():
                    continue
                self._going.add(following)
                following.loop.call_soon_threadsafe(begin)
