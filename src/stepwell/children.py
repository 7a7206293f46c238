"""Workflows that steps run inside their own run: `await ctx.run(child, …)`.

What a child publishes shows on its parent's stream, what is sent to the parent
reaches the child, and while all children of a call wait for somebody, the call
counts as waiting. The child's run itself is any other run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from stepwell.calls import StepCall
from stepwell.events import Event, StopEvent
from stepwell.questions import Question

__all__ = ["Child", "Children", "Parent"]


class Child(Protocol):
    """The handler of a child's run."""

    @property
    def status(self) -> str:
        """Where it stands: "waiting" while it waits for somebody."""
        ...

    @property
    def questions(self) -> list[Question]:
        """What it has asked people."""
        ...

    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` called whenever its status may be another."""
        ...

    def takes(self, event: Event) -> bool:
        """Whether it accepts an event, or waits for it."""
        ...

    def send_event(self, event: Event) -> object:
        """Send it an event."""
        ...

    def stream_events(self) -> AsyncIterator[Event]:
        """Its events."""
        ...

    async def stop_event_result(self) -> StopEvent:
        """Its stop event."""
        ...

    async def cancel_run(self, *, timeout: float = 5.0, reason: str = "") -> None:
        """Stop it."""
        ...


class Parent(Protocol):
    """The run that children belong to."""

    @property
    def outcome(self) -> asyncio.Future[StopEvent]:
        """Done when the run is over."""
        ...

    def show(self, event: Event, call: StepCall) -> None:
        """Put an event on the stream for a call; no step gets it."""
        ...

    def suspend(self, call: StepCall) -> int:
        """Count a call as waiting; gives the number to end that with."""
        ...

    def unsuspend(self, call: StepCall, wait_id: int) -> None:
        """Count a call as running again."""
        ...


class Children:
    """The workflows that the steps of one run are running.

    Args:
        parent: That run.
    """

    def __init__(self, parent: Parent) -> None:
        self._parent = parent
        self._families: dict[int, _Family] = {}

    async def follow(self, child: Child, call: StepCall) -> StopEvent:
        """Show a child's events on the parent's stream until it ends.

        Args:
            child: A run that has begun.
            call: The call that began it.

        Returns:
            The child's stop event; it is not shown, since it would end the stream.

        Raises:
            BaseException: What ended the child. When the call is cancelled, so is
                the child.
        """
        family = self._families.setdefault(call.call_id, _Family(self._parent, call))
        family.children.append(child)
        child.watch(family.look)
        family.look()
        # For a task that the step left behind: nobody else would end it.
        task, outcome = asyncio.current_task(), self._parent.outcome

        def end(_: object) -> None:
            if task is not None:
                task.cancel()

        outcome.add_done_callback(end)
        try:
            async for event in child.stream_events():
                if not isinstance(event, StopEvent):
                    self._parent.show(event, call)
            return await child.stop_event_result()
        except BaseException:
            await child.cancel_run(reason="the step that ran it was stopped")
            raise
        finally:
            outcome.remove_done_callback(end)
            family.children.remove(child)
            family.look()
            if not family.children:
                self._families.pop(call.call_id, None)

    @property
    def questions(self) -> list[Question]:
        """What the children have asked people."""
        families = tuple(self._families.values())
        return [q for f in families for child in f.children for q in child.questions]

    def taking(self, event: Event) -> list[Child]:
        """The children that accept an event, or wait for it."""
        if not self._families:
            return []
        families = tuple(self._families.values())
        return [child for f in families for child in f.children if child.takes(event)]


class _Family:
    """The children of one call."""

    def __init__(self, parent: Parent, call: StepCall) -> None:
        self.children: list[Child] = []
        self._parent = parent
        self._call = call
        self._wait: int | None = None

    def look(self) -> None:
        """Count the call as waiting if all its children are."""
        waits = bool(self.children)
        for child in self.children:
            waits = waits and child.status == "waiting"
        if waits and self._wait is None:
            self._wait = self._parent.suspend(self._call)
        elif not waits and self._wait is not None:
            wait, self._wait = self._wait, None
            self._parent.unsuspend(self._call, wait)
