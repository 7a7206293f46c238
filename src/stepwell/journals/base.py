"""What a journal is, and the facts it keeps.

A fact is something that happened to a run; the same objects are the signals
that drive the machine, so folding a journal's facts through a fresh machine
gives the state the run had. Facts carry every clock reading and delay, so the
fold needs neither a clock nor a random number. Decisions made from facts live
in `machine`; carrying them out, in `run`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from stepwell.events import Event

__all__ = [
    "CallCancelled",
    "CallFailed",
    "CallReturned",
    "CancelAsked",
    "EventSent",
    "EventsCollected",
    "Fact",
    "Journal",
    "RunStarted",
    "Settled",
    "TimerFired",
    "WaitBegan",
    "WaitDropped",
]


@dataclass(slots=True)
class Fact:
    """Something that happened at `at` seconds after the run began."""

    at: float


@dataclass(slots=True)
class RunStarted(Fact):
    """The run was given its start event."""

    event: Event


@dataclass(slots=True)
class EventSent(Fact):
    """An event was sent by a call, or from outside where `call_id` is None."""

    event: Event
    call_id: int | None = None
    step: str | None = None


@dataclass(slots=True)
class CallReturned(Fact):
    """The body of a call came to its end and gave `value`."""

    call_id: int
    value: Any


@dataclass(slots=True)
class CallFailed(Fact):
    """The body of a call raised; `retry_in` is in seconds, None means give up."""

    call_id: int
    error: BaseException
    retry_in: float | None = None


@dataclass(slots=True)
class CallCancelled(Fact):
    """The body of a call was stopped before its end."""

    call_id: int


@dataclass(slots=True)
class EventsCollected(Fact):
    """A call asked to join its event with others of the `expected` classes."""

    call_id: int
    event: Event
    expected: Sequence[type[Event]]
    buffer_id: str


@dataclass(slots=True)
class WaitBegan(Fact):
    """A call waits for an event of class `kind` whose fields are as required.

    `asking` is shown on the stream first; `timeout` is in seconds, None is for
    ever.
    """

    call_id: int
    wait_id: int
    kind: type[Event]
    requirements: Mapping[str, Any]
    asking: Event | None = None
    timeout: float | None = None


@dataclass(slots=True)
class WaitDropped(Fact):
    """A call no longer waits, for a reason of its own."""

    call_id: int
    wait_id: int


@dataclass(slots=True)
class TimerFired(Fact):
    """The time that the machine asked to be woken at has come."""

    timer: int


@dataclass(slots=True)
class CancelAsked(Fact):
    """Somebody outside asked the run to stop."""

    reason: str


@dataclass(slots=True)
class Settled(Fact):
    """The event loop went round once after the machine had gone quiet."""


class Journal(Protocol):
    """Keeps the facts of runs, in order, so that a run outlives its process.

    Every adapter passes the contract suite in `tests/contracts`.
    """

    async def append(self, run_id: str, facts: Sequence[Fact]) -> int:
        """Keep `facts`, all or none, after those already kept for the run.

        Returns:
            How many facts the run has now.

        Raises:
            JournalUnavailable: The facts could not be kept; the run then stops.
        """
        ...

    def read(self, run_id: str, *, after: int = 0) -> AsyncIterator[Fact]:
        """The facts of a run in order, leaving out the first `after`."""
        ...
