"""One object per event loop, closed when its loop ends: PerLoop.

An asynchronous HTTP client keeps sockets that belong to the loop they were made
on; used from a second `asyncio.run` it fails with "Event loop is closed". So
each loop gets its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """Makes and keeps one object for each running event loop.

    Args:
        make: Makes the object; called on the loop it is for.
        close: Closes it; awaited when that loop shuts down its generators, as
            `asyncio.run` and Jupyter do at their end.
    """

    def __init__(
        self, make: Callable[[], T], close: Callable[[T], Awaitable[Any]]
    ) -> None:
        self._make = make
        self._close = close
        self._lock = threading.Lock()
        # By id: the objects refer to their loop, so weak keys would never die.
        self._kept: dict[
            int, tuple[asyncio.AbstractEventLoop, T, AsyncGenerator[None, None]]
        ] = {}

    async def get(self) -> T:
        """Return the object of the running loop, made now if it is the first time."""
        loop = asyncio.get_running_loop()
        with self._lock:
            for key, (other, _, _) in list(self._kept.items()):
                if other.is_closed():
                    del self._kept[key]
            if (kept := self._kept.get(id(loop))) is not None:
                return kept[1]
            made = self._make()
            keeper = self._keep(made)
            self._kept[id(loop)] = (loop, made, keeper)
        # Once started, the loop knows the generator and closes it at its end.
        await anext(keeper)
        return made

    async def _keep(self, made: T) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            # A loop closed without that leaves this to garbage collection, where
            # nothing can be awaited any more.
            with suppress(Exception):
                await self._close(made)
