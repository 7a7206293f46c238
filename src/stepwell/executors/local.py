"""Calls performed in this process: on the event loop, or in a thread.

`async def` bodies are awaited in place, plain `def` bodies run in the loop's
default thread pool with the caller's context variables.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, cast

from stepwell.calls import StepCall

__all__ = ["LocalExecutor"]


class LocalExecutor:
    """Performs calls on the loop that runs the workflow."""

    def perform(
        self, call: StepCall, instance: object | None, arguments: Mapping[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        """The coroutine of the body. A thread cannot be stopped, only left behind."""
        spec = call.spec
        head = (instance,) if spec.bound else ()
        if spec.is_async:
            body = spec.function(*head, **arguments)
            return cast("Coroutine[Any, Any, Any]", body)
        return _in_thread(partial(spec.function, *head, **arguments))


async def _in_thread(body: Callable[[], Any]) -> Any:
    result = await asyncio.to_thread(_guarded, body)
    # A plain function around an async one gives its coroutine.
    return await result if inspect.isawaitable(result) else result


def _guarded(body: Callable[[], Any]) -> Any:
    try:
        return body()
    except StopIteration as error:
        # It would be lost on its way through the future (Python 3.11).
        raise RuntimeError("step raised StopIteration") from error
