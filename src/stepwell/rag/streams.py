"""An asynchronous stream that may be awaited first or iterated at once.

Both ``async for piece in llm.astream_complete(p)`` and ``async for piece in
await llm.astream_complete(p)`` are found in people's code; this serves both.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class ResponseStream(Generic[T]):
    """Pieces of an answer as they come. One reader; reading begins the call.

    Leaving the loop early keeps the connection until the stream is closed: use
    ``async with stream:``, or call `aclose`.
    """

    def __init__(self, pieces: AsyncGenerator[T, None]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[T]:
        return self._pieces

    def __await__(self) -> Generator[None, None, ResponseStream[T]]:
        # No yield is ever reached: it makes this a generator, as `await` needs.
        yield from ()
        return self

    async def __aenter__(self) -> ResponseStream[T]:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop the answer and free its connection."""
        await self._pieces.aclose()
