"""What a journal is, and the facts it keeps.

A fact is something that happened to a run; the same objects are the signals
that drive the machine, so folding a journal's facts through a fresh machine
gives the state the run had. Facts carry every clock reading and delay, so the
fold needs neither a clock nor a random number. Decisions made from facts live
in `machine`; carrying them out, in `run`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
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
    "StepCancelled",
    "TimerFired",
    "WaitBegan",
    "WaitDropped",
]


class Fact:
    """Something that happened at `at` seconds after the run began.

    Facts are plain objects with slots, equal when all they hold is equal.
    """

    __slots__ = ("at",)

    def __init__(self, at: float) -> None:
        self.at = at

    def _held(self) -> tuple[Any, ...]:
        names = ("at", *type(self).__slots__) if type(self) is not Fact else ("at",)
        return tuple(getattr(self, name) for name in names)

    def __eq__(self, other: object) -> bool:
        """Whether the other is the same kind of fact and holds the same."""
        return type(other) is type(self) and self._held() == other._held()

    __hash__ = None  # type: ignore[assignment]  # facts hold events, which have none

    def __repr__(self) -> str:
        """The class and what it holds."""
        return f"{type(self).__name__}{self._held()!r}"


class RunStarted(Fact):
    """The run was given its start event; `wall` is the time of day, in epoch seconds.

    `left` is what an earlier run left undone, given in the place of an event.
    """

    __slots__ = ("event", "left", "wall")

    def __init__(
        self, at: float, event: Event | None, wall: float = 0.0, left: Any = None
    ) -> None:
        self.at = at
        self.event = event
        self.wall = wall
        self.left = left


class EventSent(Fact):
    """An event was sent by a call, or from outside where `call_id` is None."""

    __slots__ = ("call_id", "event", "step")

    def __init__(
        self,
        at: float,
        event: Event,
        call_id: int | None = None,
        step: str | None = None,
    ) -> None:
        self.at = at
        self.event = event
        self.call_id = call_id
        self.step = step


class CallReturned(Fact):
    """The body of a call came to its end and gave `value`."""

    __slots__ = ("call_id", "value")

    def __init__(self, at: float, call_id: int, value: Any) -> None:
        self.at = at
        self.call_id = call_id
        self.value = value


class CallFailed(Fact):
    """The body of a call raised; `retry_in` is in seconds, None means give up."""

    __slots__ = ("call_id", "error", "retry_in")

    def __init__(
        self,
        at: float,
        call_id: int,
        error: BaseException,
        retry_in: float | None = None,
    ) -> None:
        self.at = at
        self.call_id = call_id
        self.error = error
        self.retry_in = retry_in


class CallCancelled(Fact):
    """The body of a call was stopped before its end."""

    __slots__ = ("call_id",)

    def __init__(self, at: float, call_id: int) -> None:
        self.at = at
        self.call_id = call_id


class EventsCollected(Fact):
    """A call asked to join its event with others of the `expected` classes."""

    __slots__ = ("buffer_id", "call_id", "event", "expected")

    def __init__(
        self,
        at: float,
        call_id: int,
        event: Event,
        expected: Sequence[type[Event]],
        buffer_id: str,
    ) -> None:
        self.at = at
        self.call_id = call_id
        self.event = event
        self.expected = expected
        self.buffer_id = buffer_id


class WaitBegan(Fact):
    """A call waits for an event of class `kind` whose fields are as required.

    `asking` is shown on the stream first; `timeout` is in seconds, None is for
    ever.
    """

    __slots__ = ("asking", "call_id", "kind", "requirements", "timeout", "wait_id")

    def __init__(
        self,
        at: float,
        call_id: int,
        wait_id: int,
        kind: type[Event],
        requirements: Mapping[str, Any],
        asking: Event | None = None,
        timeout: float | None = None,
    ) -> None:
        self.at = at
        self.call_id = call_id
        self.wait_id = wait_id
        self.kind = kind
        self.requirements = requirements
        self.asking = asking
        self.timeout = timeout


class WaitDropped(Fact):
    """A call no longer waits, for a reason of its own."""

    __slots__ = ("call_id", "wait_id")

    def __init__(self, at: float, call_id: int, wait_id: int) -> None:
        self.at = at
        self.call_id = call_id
        self.wait_id = wait_id


class StepCancelled(Fact):
    """A call asked to stop all other calls of a step."""

    __slots__ = ("call_id", "step")

    def __init__(self, at: float, call_id: int | None, step: str) -> None:
        self.at = at
        self.call_id = call_id
        self.step = step


class TimerFired(Fact):
    """The time that the machine asked to be woken at has come."""

    __slots__ = ("timer",)

    def __init__(self, at: float, timer: int) -> None:
        self.at = at
        self.timer = timer


class CancelAsked(Fact):
    """Somebody outside asked the run to stop."""

    __slots__ = ("reason",)

    def __init__(self, at: float, reason: str) -> None:
        self.at = at
        self.reason = reason


class Settled(Fact):
    """The event loop went round once after the machine had gone quiet."""

    __slots__ = ()


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
