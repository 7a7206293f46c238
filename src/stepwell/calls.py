"""One run of a step (`StepCall`), and the lists of events that runs may stand in.

A step that returns a list opens a `Fanout`; what its items cause is counted
until it has come to an end. What a step is, is in `steps`; the decisions are
taken by `machine`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepwell.events import Event
from stepwell.signature import StepSpec

__all__ = ["Branch", "Fanout", "StepCall"]

_NO_RECOVERIES: Mapping[str, int] = {}


class Fanout:
    """A list of events that a step returned, with all the work it causes.

    Attributes:
        number: The call that returned the list; 0 for the run as a whole, to which
            belongs what stands in no list.
        spec: The step of that call.
        parent: Where that call itself stood.
        alive: How many calls and inner lists are not yet at their end.
        gathered: Events for steps that take lists, by the step's index: place in
            the list, and event.
        served: Indexes of the steps that have got theirs.
        holding: Branches on which events wait to be joined, with the step's index.
        recoveries: As in `StepCall`.
    """

    __slots__ = (
        "alive",
        "gathered",
        "holding",
        "number",
        "parent",
        "recoveries",
        "served",
        "spec",
    )

    def __init__(
        self,
        number: int,
        spec: StepSpec | None,
        parent: Branch | None,
        recoveries: Mapping[str, int] = _NO_RECOVERIES,
    ) -> None:
        self.number = number
        self.spec = spec
        self.parent = parent
        self.alive = 0
        self.gathered: dict[int, list[tuple[int, Event]]] = {}
        self.served: set[int] = set()
        self.holding: list[tuple[Branch, int]] = []
        self.recoveries = recoveries

    def gather(self, spec: StepSpec, place: int, event: Event) -> bool:
        """Keep an event for a step; True says that its list is whole."""
        if spec.index in self.served:
            return False
        held = self.gathered.setdefault(spec.index, [])
        held.append((place, event))
        return spec.collect is not None and len(held) == spec.collect.take

    def hand_out(self, spec: StepSpec) -> list[Event]:
        """What was gathered for a step: in the list's order, or as it came."""
        held = self.gathered.pop(spec.index, [])
        if self.number:
            self.served.add(spec.index)
        if spec.collect is not None and spec.collect.take is None:
            held.sort(key=lambda pair: pair[0])
        return [event for _, event in held]


class Branch:
    """Where an event stands: in which returned list, and at which place from 0."""

    __slots__ = ("fanout", "index")

    def __init__(self, fanout: Fanout, index: int) -> None:
        self.fanout = fanout
        self.index = index

    def is_within(self, fanout: Fanout) -> bool:
        """Whether it stands in that list, or in a list inside it."""
        branch: Branch | None = self
        while branch is not None:
            if branch.fanout is fanout:
                return True
            branch = branch.fanout.parent
        return False


class StepCall:
    """What one step was given: made when offered, run when a worker is free.

    Attributes:
        call_id: Number of the call within its run, from 1.
        spec: The step.
        event: The event that started it; a list for a step that takes a list, a
            tuple for one that takes several events.
        worker: Number of the worker, from 0; -1 while the call is queued.
        attempt: Which attempt runs, from 1.
        first_started: When the first attempt began, in seconds of the run.
        caused_by: The call that sent the event, None where it came from outside.
        branch: Where the event stands in a returned list, if in any.
        taken: The sets it got from joins: buffer, expected classes, events.
        recoveries: How often each `@catch_error` step has helped on the way here.
        last_error: What the attempt before this one raised.
        last_failed: When it did, in seconds of the run.
    """

    __slots__ = (
        "attempt",
        "branch",
        "call_id",
        "caused_by",
        "event",
        "first_started",
        "last_error",
        "last_failed",
        "recoveries",
        "spec",
        "taken",
        "worker",
    )

    def __init__(
        self,
        call_id: int,
        spec: StepSpec,
        event: Any,
        caused_by: int | None = None,
        branch: Branch | None = None,
        recoveries: Mapping[str, int] = _NO_RECOVERIES,
    ) -> None:
        self.call_id = call_id
        self.spec = spec
        self.event = event
        self.worker = -1
        self.attempt = 1
        self.first_started = 0.0
        self.caused_by = caused_by
        self.branch = branch
        self.taken: tuple[tuple[str, list[type[Event]], tuple[Event, ...]], ...] = ()
        self.recoveries = recoveries
        self.last_error: BaseException | None = None
        self.last_failed = 0.0

    @property
    def event_name(self) -> str:
        """Class name of the event; of several, as in `list[A]` or `A + B`."""
        event = self.event
        if isinstance(event, list):
            kinds = [kind.__name__ for kind in self.spec.accepts]
            return f"list[{' | '.join(kinds)}]"
        if isinstance(event, tuple):
            return " + ".join(type(item).__name__ for item in event)
        return type(event).__name__

    def arguments(self) -> dict[str, Any]:
        """The event or events, by the name of the parameter."""
        names = self.spec.event_parameters
        if len(names) == 1:
            return {names[0]: self.event}
        return dict(zip(names, self.event, strict=True))
