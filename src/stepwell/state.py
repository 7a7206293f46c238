"""The state of one run, and taking it down as plain data to go on from later.

What happens to the state is decided in `machine`. What was taken down is a
`Snapshot`; its form on paper is in `snapshots`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stepwell.calls import Branch, Fanout, StepCall
from stepwell.commands import Resume
from stepwell.events import Event
from stepwell.joins import Join
from stepwell.plan import Plan
from stepwell.waits import Questions, Waits

__all__ = ["CallLeft", "FanoutLeft", "JoinLeft", "Place", "RunState", "Snapshot"]

_RECENT = 5
# A list by the number of the call that returned it, and a place in it.
Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class CallLeft:
    """A call that had not come to its end; `delay` in seconds, for one to be retried.

    `running` says that it had begun and begins again: what it did is done twice.
    """

    step: str
    event: Any
    attempt: int = 1
    call_id: int = 0
    caused_by: int | None = None
    place: Place | None = None
    recoveries: Mapping[str, int] = field(default_factory=dict)
    taken: tuple[tuple[str, list[type[Event]], tuple[Event, ...]], ...] = ()
    delay: float | None = None
    spent: float = 0.0
    last_error: BaseException | None = None
    running: bool = False


@dataclass(frozen=True, slots=True)
class FanoutLeft:
    """A list on whose items work was going on; steps are named."""

    number: int
    step: str | None
    place: Place | None = None
    gathered: Mapping[str, list[tuple[int, Event]]] = field(default_factory=dict)
    served: tuple[str, ...] = ()
    recoveries: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JoinLeft:
    """A set of events that was not whole; `at` says where, for event parameters."""

    step: str
    buffer_id: str
    expected: list[type[Event]]
    have: list[tuple[Place | None, Event]]
    at: Place | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a run had left to do; `elapsed` is what its clock had used, in seconds."""

    calls: list[CallLeft] = field(default_factory=list)
    fanouts: list[FanoutLeft] = field(default_factory=list)
    joins: list[JoinLeft] = field(default_factory=list)
    early: list[Event] = field(default_factory=list)
    open_questions: int = 0
    asked: bool = False
    visits: Mapping[str, int] = field(default_factory=dict)
    elapsed: float = 0.0
    next_call: int = 1
    is_running: bool = True


class RunState:
    """All that is known about one run."""

    def __init__(self, plan: Plan, timeout: float | None) -> None:
        self.plan = plan
        self.timeout = timeout
        self.status = "running"
        self.over = False
        # What was left when a run ended without a result.
        self.left: Snapshot | None = None
        # The time of day at second 0 of the run, in epoch seconds.
        self.wall = 0.0
        # Calls that run, that wait for their retry delay, that are to be stopped.
        self.calls: dict[int, StepCall] = {}
        self._delayed: dict[int, tuple[StepCall, float]] = {}
        self._stopping: set[int] = set()
        n = len(plan.steps)
        self._busy = [0] * n
        self._ran = [0] * n
        self._free: list[list[int]] = [[] for _ in range(n)]
        self._queues: list[deque[StepCall]] = [deque() for _ in range(n)]
        # What `collect_events` keeps; what waits for a step's other parameters, by
        # where it stands; and events for list parameters that stand in no list.
        self._joins: dict[tuple[int, str], list[Join]] = {}
        self._meetings: dict[tuple[Branch | None, int], Join] = {}
        self._root = Fanout(0, None, None)
        self._waits = Waits()
        self._resuming: dict[int, tuple[StepCall, Resume]] = {}
        self._questions = Questions()
        self._next_call = 1
        self._next_timer = 1
        self._clock_timer = 0
        self._clock_since: float | None = None
        self._clock_used = 0.0
        self._recent: deque[tuple[str, tuple[str, ...], str | None]] = deque(
            maxlen=_RECENT
        )
        self._last_silent: tuple[str, str] | None = None

    @property
    def running_steps(self) -> list[str]:
        """Names of the steps that have calls running, in the order declared."""
        return [s.name for s in self.plan.steps if self._busy[s.index]]

    def snapshot(self, at: float) -> Snapshot:
        """What is left to do at `at` seconds of the run."""
        if self.left is not None:
            return self.left
        if self.over:
            return Snapshot(is_running=False, next_call=self._next_call)
        running = [*self.calls.values(), *(w.call for w in self._waits.open.values())]
        running += [call for call, _ in self._resuming.values()]
        queued = [call for queue in self._queues for call in queue]
        left = {call.call_id: _call_left(call, at, queued=True) for call in queued}
        left |= {call.call_id: _call_left(call, at) for call in running}
        left |= {
            call.call_id: _call_left(call, at, queued=True, delay=max(0.0, due - at))
            for call, due in self._delayed.values()
        }
        joins = [join for joins in self._joins.values() for join in joins]
        used = self._clock_used
        if self._clock_since is not None:
            used += at - self._clock_since
        return Snapshot(
            calls=[left[call_id] for call_id in sorted(left)],
            fanouts=[self._fanout_left(f) for f in self._open_fanouts()],
            joins=[_join_left(join, None) for join in joins if any(join.have.values())]
            + [_join_left(join, b) for (b, _), join in self._meetings.items()],
            early=list(self._waits.early),
            # A call that waits begins again, and asks again.
            open_questions=self._questions.open
            - sum(wait.asks for wait in self._waits.open.values()),
            asked=self._questions.ever,
            visits={s.name: self._ran[s.index] for s in self.plan.steps},
            elapsed=used,
            next_call=self._next_call,
        )

    def _open_fanouts(self) -> list[Fanout]:
        """The lists that work goes on in, outer ones first, and the run as a whole."""
        branches = [call.branch for call in self.calls.values()]
        branches += [wait.call.branch for wait in self._waits.open.values()]
        branches += [call.branch for queue in self._queues for call in queue]
        branches += [call.branch for call, _ in self._delayed.values()]
        found: dict[Fanout, None] = {}
        for branch in branches:
            while branch is not None:
                found[branch.fanout] = None
                branch = branch.fanout.parent
        return [self._root, *sorted(found, key=lambda fanout: fanout.number)]

    def _fanout_left(self, fanout: Fanout) -> FanoutLeft:
        steps = self.plan.steps
        return FanoutLeft(
            fanout.number,
            fanout.spec.name if fanout.spec else None,
            _place(fanout.parent),
            {steps[i].name: list(held) for i, held in fanout.gathered.items()},
            tuple(steps[i].name for i in sorted(fanout.served)),
            dict(fanout.recoveries),
        )

    def _take_up(self, left: Snapshot) -> list[tuple[StepCall, float | None]]:
        """Go on from a snapshot; gives the calls to start, with their delays."""
        by_name = self.plan.by_name
        fanouts: dict[int, Fanout] = {}
        branches: dict[Place, Branch] = {}

        def branch_at(place: Place | None) -> Branch | None:
            if place is None:
                return None
            if place not in branches:
                # A list that has come to an end still tells the order of its events.
                fanout = fanouts.get(place[0]) or Fanout(place[0], None, None)
                branches[place] = Branch(fanout, place[1])
            return branches[place]

        for data in left.fanouts:
            spec = by_name[data.step] if data.step else None
            parent = branch_at(data.place)
            fanout = Fanout(data.number, spec, parent, data.recoveries)
            for name, held in data.gathered.items():
                fanout.gathered[by_name[name].index] = list(held)
            fanout.served = {by_name[name].index for name in data.served}
            fanouts[data.number] = fanout
            if parent is not None:
                parent.fanout.alive += 1
        self._root = fanouts.get(0, self._root)
        for joined in left.joins:
            step = by_name[joined.step]
            join = Join(step, joined.buffer_id, joined.expected)
            for place, event in joined.have:
                join.add(event, branch_at(place), again=False)
            if joined.buffer_id:
                self._joins.setdefault((step.index, joined.buffer_id), []).append(join)
            else:
                at = branch_at(joined.at)
                self._meetings[at, step.index] = join
                if at is not None:
                    at.fanout.holding.append((at, step.index))
        self._waits.early.extend(left.early)
        self._questions.ever = left.asked
        self._questions.open = left.open_questions
        for name, count in left.visits.items():
            self._ran[by_name[name].index] = count
        self._clock_used = left.elapsed
        self._next_call = left.next_call
        todo: list[tuple[StepCall, float | None]] = []
        for given in left.calls:
            branch = branch_at(given.place)
            call = StepCall(
                given.call_id,
                by_name[given.step],
                given.event,
                given.caused_by,
                branch,
                given.recoveries,
            )
            call.attempt = given.attempt
            call.taken = given.taken
            call.last_error = given.last_error
            call.first_started = -given.spent
            if branch is not None:
                branch.fanout.alive += 1
            if given.running and given.attempt == 1:
                self._ran[call.spec.index] -= 1  # it will be counted again
            todo.append((call, given.delay))
        return todo


def _call_left(
    call: StepCall, at: float, *, queued: bool = False, delay: float | None = None
) -> CallLeft:
    begun = not queued or call.attempt > 1 or delay is not None
    return CallLeft(
        step=call.spec.name,
        event=call.event,
        attempt=call.attempt,
        call_id=call.call_id,
        caused_by=call.caused_by,
        place=_place(call.branch),
        recoveries=dict(call.recoveries),
        taken=call.taken,
        delay=delay,
        spent=at - call.first_started if begun else 0.0,
        last_error=call.last_error,
        running=not queued,
    )


def _join_left(join: Join, at: Branch | None) -> JoinLeft:
    return JoinLeft(
        join.step.name,
        join.buffer_id,
        join.expected,
        [(_place(b), event) for held in join.have.values() for b, event in held],
        _place(at),
    )


def _place(branch: Branch | None) -> Place | None:
    return None if branch is None else (branch.fanout.number, branch.index)
