"""One attempt at running a step (`StepCall`), and what it stands in: workers, lists.

A step that returns a list opens a `Fanout`; what its items cause is counted
until it has come to an end. What a step is, is in `steps`; the decisions are
taken by `machine`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from stepwell.events import Event
from stepwell.joins import Join, Place
from stepwell.signature import StepSpec

__all__ = [
    "NOTHING",
    "NO_PAST",
    "NO_RECOVERIES",
    "WHOLE",
    "Branch",
    "Fanout",
    "Past",
    "StepCall",
    "Workers",
    "brought_together",
]

# How often `@catch_error` steps have helped on the way to some point: by the name of
# the helping step, along one way; and by "failed step/helping step", which ways that
# come together in a list or a set keep, so that no loop through them goes on for ever.
NO_RECOVERIES: Mapping[str, int] = {}
# Stands for an empty dictionary until there is something to put into one: a run has
# many that most runs never need. Nobody writes into this one.
NOTHING: dict[Any, Any] = {}
# Where events of a list meet: across all its items; else at an item, from 1.
WHOLE = 0


class Fanout:
    """A list of events that a step returned, with all the work it causes.

    Attributes:
        number: The call that returned the list; 0 for the run as a whole, to which
            belongs what stands in no list.
        spec: The step of that call.
        parent: Where that call itself stood.
        recoveries: As in `StepCall`.
        alive: How many calls and inner lists are not yet at their end.
        gathered: Events for steps that take lists, by the step's index: place in
            the list, and event.
        served: Indexes of the steps that have got theirs.
        cut: Whether the rest of the list is given up, so that nothing more starts.
        joins: Events that wait for a step's other parameters, by where they meet
            (at an item, from 1, or `WHOLE`) and the step's index.
    """

    __slots__ = (
        "alive",
        "cut",
        "gathered",
        "joins",
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
        recoveries: Mapping[str, int] = NO_RECOVERIES,
    ) -> None:
        self.number = number
        self.spec = spec
        self.parent = parent
        self.recoveries = recoveries
        self.alive = 0
        self.gathered: dict[int, list[tuple[int, Event]]] = NOTHING
        self.served: tuple[int, ...] = ()
        self.cut = False
        self.joins: dict[tuple[int, int], Join] = NOTHING

    def gather(self, spec: StepSpec, index: int, event: Event) -> bool:
        """Keep an event for a step; True says that its list is whole."""
        if self.served and spec.index in self.served:
            return False
        held = self.gathered.get(spec.index)
        if held is None:
            if self.gathered is NOTHING:
                self.gathered = {}
            held = self.gathered[spec.index] = []
        held.append((index, event))
        return spec.collect is not None and len(held) == spec.collect.take

    def keep(self, join: Join, where: int) -> Join:
        """Keep a set of events that is not whole."""
        if self.joins is NOTHING:
            self.joins = {}
        self.joins[where, join.step.index] = join
        return join

    def serve(self, spec: StepSpec) -> None:
        """Note that a step has got its list; that of the run as a whole never ends."""
        assert spec.collect is not None
        if self.number:
            self.served = (*self.served, spec.index)
            self.cut = self.cut or spec.collect.cancel_rest

    def hand_out(self, spec: StepSpec) -> list[Event]:
        """What was gathered for a step: in the list's order, or as it came."""
        self.serve(spec)
        held = self.gathered.pop(spec.index, [])
        if spec.collect is not None and spec.collect.take is None:
            held.sort(key=lambda pair: pair[0])
        return [event for _, event in held]


class Branch:
    """Where an event stands: in which returned list, and at which place from 0."""

    __slots__ = ("fanout", "index")

    def __init__(self, fanout: Fanout, index: int) -> None:
        self.fanout = fanout
        self.index = index

    @property
    def place(self) -> Place:
        """The same as plain data."""
        return (self.fanout.number, self.index)

    def outward(self) -> Iterator[Branch]:
        """This place, and those of the lists around it."""
        branch: Branch | None = self
        while branch is not None:
            yield branch
            branch = branch.fanout.parent

    def is_within(self, fanout: Fanout) -> bool:
        """Whether it stands in that list, or in a list inside it."""
        return any(branch.fanout is fanout for branch in self.outward())

    def is_cut(self) -> bool:
        """Whether a list that it stands in is given up."""
        branch: Branch | None = self
        while branch is not None:
            if branch.fanout.cut:
                return True
            branch = branch.fanout.parent
        return False


class Workers:
    """The workers of one step in one run, and the calls that wait for one of them.

    Attributes:
        spec: The step.
        busy: How many are at work.
        free: Numbers of those who are not, among the numbers given out so far;
            none while nobody is at work.
        queue: Calls that wait, in order; None while there never was one.
        ran: How often the step has begun; attempts after the first do not count.
        employer: Who has them perform calls, where that is no business of the machine.
    """

    __slots__ = ("busy", "employer", "free", "queue", "ran", "spec")

    def __init__(self, spec: StepSpec, employer: Any = None) -> None:
        self.spec = spec
        self.employer = employer
        self.busy = 0
        self.free: list[int] | None = None
        self.queue: deque[StepCall] | None = None
        self.ran = 0

    def enqueue(self, call: StepCall, *, first: bool = False) -> None:
        """Let a call wait, behind all others or before them."""
        if self.queue is None:
            self.queue = deque()
        if first:
            self.queue.appendleft(call)
        else:
            self.queue.append(call)

    def remove(self, call: StepCall) -> None:
        """Let a call wait no longer."""
        assert self.queue is not None
        self.queue.remove(call)


class Past:
    """What a call has got besides its event, and how the attempt before it ended.

    Attributes:
        taken: The sets it got from joins: buffer, expected classes, events.
        answers: The events it got by waiting for them.
        begins_again: Whether it had begun in an earlier run, or is tried again.
        last_error: What the attempt before this one raised.
        last_failed: When it did, in seconds of the run.
    """

    __slots__ = ("answers", "begins_again", "last_error", "last_failed", "taken")

    def __init__(self) -> None:
        self.taken: tuple[tuple[str, list[type[Event]], tuple[Event, ...]], ...] = ()
        self.answers: tuple[Event, ...] = ()
        self.begins_again = False
        self.last_error: BaseException | None = None
        self.last_failed = 0.0


# Of most calls, which have none. Not to be changed.
NO_PAST = Past()


class StepCall:
    """One attempt at running a step: made when offered, run when a worker is free.

    What is to be known of it after its end is in the run's record.

    Attributes:
        call_id: Number of the call within its run, from 1; all attempts share it.
        spec: The step.
        workers: The step's workers in this run.
        event: The event that started it; a list for a step that takes a list, a
            tuple for one that takes several events.
        worker: Number of the worker, from 0; -1 while the call is queued.
        attempt: Which attempt it is, from 1.
        caused_by: The call that sent the event, None where it came from outside.
        branch: Where the event stands in a returned list, if in any.
        past: What else it has got, and what came before; `NO_PAST` where nothing did.
        recoveries: How often `@catch_error` steps have helped on the way here.
        stopping: Whether it was told to stop, and has not come to its end.
        task: The asyncio task that performs it, while one does.
        status: new, queued, running, or over.
        offered: When it was queued, in seconds of the run; None if it never was.
        started: When it began, in seconds of the run; None before.
        first_started: When the first attempt began, in seconds of the run.
        queued_as, begun_as: What number these have among all that the record tells.
    """

    __slots__ = (
        "attempt",
        "begun_as",
        "branch",
        "call_id",
        "caused_by",
        "event",
        "first_started",
        "offered",
        "past",
        "queued_as",
        "recoveries",
        "spec",
        "started",
        "status",
        "stopping",
        "task",
        "worker",
        "workers",
    )
    # Set when it begins.
    first_started: float

    def __init__(
        self,
        call_id: int,
        workers: Workers,
        event: Any,
        caused_by: int | None = None,
        branch: Branch | None = None,
        recoveries: Mapping[str, int] = NO_RECOVERIES,
    ) -> None:
        self.call_id = call_id
        self.spec = workers.spec
        self.workers = workers
        self.event = event
        self.worker = -1
        self.attempt = 1
        self.caused_by = caused_by
        self.branch = branch
        self.past = NO_PAST
        self.recoveries = recoveries
        self.stopping = False
        self.task: asyncio.Task[Any] | None = None
        self.status = "new"
        self.offered: float | None = None
        self.started: float | None = None
        self.queued_as = self.begun_as = 0

    def own_past(self) -> Past:
        """Its past, to be added to."""
        if self.past is NO_PAST:
            self.past = Past()
        return self.past

    def again(self, error: BaseException, failed: float) -> StepCall:
        """The next attempt, after this one raised `error` at `failed` seconds."""
        following = StepCall(
            self.call_id,
            self.workers,
            self.event,
            self.caused_by,
            self.branch,
            self.recoveries,
        )
        following.attempt = self.attempt + 1
        following.first_started = self.first_started
        past = following.past = self.own_past()
        past.begins_again = True
        past.last_error, past.last_failed = error, failed
        return following

    @property
    def event_name(self) -> str:
        """Class name of the event; of several, as in `list[A]` or `A + B`."""
        event = self.event
        if not self.spec.joins:
            return type(event).__name__
        if isinstance(event, list):
            kinds = [kind.__name__ for kind in self.spec.accepts]
            return f"list[{' | '.join(kinds)}]"
        return " + ".join(type(item).__name__ for item in event)

    def arguments(self) -> dict[str, Any]:
        """The event or events, by the name of the parameter."""
        names, event = self.spec.event_parameters, self.event
        if not self.spec.joins:
            return {names[0]: event}
        if self.spec.collect is not None:
            # A list of its own for each attempt, which may change it.
            return {names[0]: list(event)}
        return dict(zip(names, event, strict=True))


def brought_together(
    kept: Mapping[str, int], more: Mapping[str, int]
) -> Mapping[str, int]:
    """The recoveries of a way onto which another one leads."""
    if not more:
        return kept
    told = {k: n for k, n in more.items() if "/" in k and n > kept.get(k, 0)}
    return {**kept, **told}
