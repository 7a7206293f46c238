"""Calls performed in this process: on the event loop, or in a thread.

`async def` bodies are awaited in place, plain `def` bodies run in the loop's
default thread pool with the caller's context variables.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, cast

from stepwell.steps import StepCall

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
        return asyncio.to_thread(spec.function, *head, **arguments)
