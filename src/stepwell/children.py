"""A workflow that a step runs inside its own run: `await ctx.run(child, …)`.

What the child publishes shows on the parent's stream, what is sent to the parent
reaches the child, and while the child waits for somebody the parent's step
counts as waiting. The run itself is any other run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from stepwell.calls import StepCall
from stepwell.events import (
    Event,
    StepStateChanged,
    StopEvent,
    UnhandledEvent,
    WorkflowIdleEvent,
)

__all__ = ["Child", "Parent", "follow"]


class Child(Protocol):
    """The handler of a child's run."""

    def stream_events(self, *, expose_internal: bool = False) -> AsyncIterator[Event]:
        """Its events."""
        ...

    async def stop_event_result(self) -> StopEvent:
        """Its stop event."""
        ...

    async def cancel_run(self, *, timeout: float = 5.0, reason: str = "") -> None:
        """Stop it."""
        ...


class Parent(Protocol):
    """The run that a child belongs to."""

    def show(self, event: Event) -> None:
        """Put an event on the stream; no step gets it."""
        ...

    def suspend(self, call: StepCall) -> int:
        """Count a call as waiting; gives the number to end that with."""
        ...

    def unsuspend(self, call: StepCall, wait_id: int) -> None:
        """Count a call as running again."""
        ...


async def follow(child: Child, parent: Parent, call: StepCall) -> StopEvent:
    """Show a child's events on its parent's stream until it ends.

    Returns:
        The child's stop event; it is not shown, since it would end the stream.

    Raises:
        BaseException: What ended the child. When the step is cancelled, the child is.
    """
    waiting: int | None = None
    try:
        async for event in child.stream_events(expose_internal=True):
            if waiting is not None:
                parent.unsuspend(call, waiting)
                waiting = None
            if isinstance(event, WorkflowIdleEvent):
                waiting = parent.suspend(call)
            elif not isinstance(event, StepStateChanged | UnhandledEvent | StopEvent):
                parent.show(event)
        return await child.stop_event_result()
    except BaseException:
        if waiting is not None:
            parent.unsuspend(call, waiting)
        await child.cancel_run(reason="the step that ran it was stopped")
        raise
