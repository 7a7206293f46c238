"""Time that does not have to pass: a clock for an event loop of its own.

Nothing here knows workflows; it serves any coroutine.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["VirtualClock"]

T = TypeVar("T")


class VirtualClock:
    """An event loop's clock that jumps to the next timer instead of waiting.

    Sleeps, timeouts and retry delays end at once and in their right order, and
    `now` says how much time would have passed. Sockets work as usual. While a
    thread works and nothing else is left to do, the clock jumps all the same, so
    give workflows with plain `def` steps a `timeout` of None.

    Example:
        >>> clock = VirtualClock()
        >>> clock.run(asyncio.sleep(3600, "an hour later"))
        'an hour later'
        >>> clock.now
        3600.0
    """

    def __init__(self) -> None:
        self.now = 0.0

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end on a new loop with this clock."""
        with asyncio.Runner(loop_factory=lambda: _VirtualLoop(self)) as runner:
            return runner.run(main)


class _JumpingSelector(selectors.DefaultSelector):
    """Looks for ready sockets; where it would wait for them, moves the clock."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready and timeout > 0:
            self._clock.now += timeout
        return ready


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(_JumpingSelector(clock))
        self._clock = clock

    def time(self) -> float:
        return self._clock.now
