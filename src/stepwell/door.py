"""What a context needs of the run and the workflow behind it, as protocols.

`run` and `workflow` fulfil them, above this floor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pydantic import BaseModel

from stepwell.calls import StepCall
from stepwell.events import Event, StopEvent
from stepwell.left import Snapshot
from stepwell.plan import Plan
from stepwell.questions import Answers
from stepwell.record import RunRecord
from stepwell.serializers import BaseSerializer

__all__ = ["Door", "Owner"]


class Door(Protocol):
    """What a context needs of a run."""

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        ...

    @property
    def run_id(self) -> str:
        """Names the run."""
        ...

    @property
    def begun_in(self) -> tuple[Any, StepCall] | None:
        """Context and call of the step that began the run, while it goes on."""
        ...

    @property
    def answers(self) -> Answers | None:
        """What was prepared to answer to its questions, and its children's."""
        ...

    @property
    def running_steps(self) -> list[str]:
        """Names of the steps that have calls running."""
        ...

    def send(self, event: Event, step: str | None, call: StepCall | None) -> None:
        """Route an event."""
        ...

    def publish(self, event: Event, call: StepCall | None) -> None:
        """Show an event on the stream."""
        ...

    def collect(
        self,
        call: StepCall,
        event: Event,
        expected: Sequence[type[Event]],
        buffer_id: str,
    ) -> list[Event] | None:
        """Join events."""
        ...

    def tell(self, event: Event) -> None:
        """Put an internal event on the stream."""
        ...

    @property
    def record(self) -> RunRecord:
        """What happened so far."""
        ...

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        ...

    @property
    def wall(self) -> float:
        """The time of day at that moment, in epoch seconds."""
        ...

    @property
    def outcome(self) -> asyncio.Future[StopEvent]:
        """The stop event, once there is one."""
        ...

    def snapshot(self) -> Snapshot:
        """What is left to do."""
        ...

    def cancel_step(self, step: str, call: StepCall | None) -> None:
        """Stop all other calls of a step."""
        ...

    async def run_child(self, handler: Any, call: StepCall) -> StopEvent:
        """Follow a workflow that a step started, to its end."""
        ...

    async def wait(
        self,
        call: StepCall,
        kind: type[Event],
        asking: Event | None,
        requirements: Mapping[str, Any],
        timeout: float | None,
    ) -> Event | None:
        """Suspend a call until an event comes."""
        ...


class Owner(Protocol):
    """What a context needs of its workflow."""

    @property
    def state_type(self) -> type[BaseModel]:
        """The class of its state."""
        ...

    @property
    def serializer(self) -> BaseSerializer | None:
        """What turns events and state into text, None for JSON."""
        ...

    def compile(self) -> Plan:
        """Its plan."""
        ...
