"""The state of one run, and taking it down as plain data to go on from later.

What happens to the state is decided in `machine`. What was taken down is in `left`.
"""

from __future__ import annotations

from typing import Any

from stepwell.calls import NOTHING, WHOLE, Branch, Fanout, StepCall, Workers
from stepwell.commands import Resume
from stepwell.diagnosis import Routed
from stepwell.events import Event
from stepwell.joins import Join, Place
from stepwell.left import CallLeft, FanoutLeft, JoinLeft, Snapshot
from stepwell.plan import Plan
from stepwell.questions import Question
from stepwell.record import RunRecord
from stepwell.signature import StepSpec
from stepwell.waits import NO_WAITS, Waits, class_names

__all__ = ["RunState"]


class RunState:
    """All that is known about one run."""

    __slots__ = (
        "_clock_since",
        "_clock_timer",
        "_clock_used",
        "_delayed",
        "_joins",
        "_last_silent",
        "_next_call",
        "_next_timer",
        "_recent",
        "_resuming",
        "_root",
        "_waits",
        "_workers",
        "calls",
        "employer",
        "left",
        "over",
        "plan",
        "record",
        "status",
        "timeout",
        "wall",
    )

    def __init__(self, plan: Plan, timeout: float | None) -> None:
        self.plan = plan
        self.timeout = timeout
        self.record = RunRecord()
        self.record.live = self
        self.status = "running"
        self.over = False
        # Who performs the calls; handed on to the workers of each step.
        self.employer: Any = None
        # What was left when a run ended without a result.
        self.left: Snapshot | None = None
        # The time of day at second 0 of the run, in epoch seconds.
        self.wall = 0.0
        # Calls that run, and those that wait for their retry delay, until when.
        self.calls: dict[int, StepCall] = {}
        self._delayed: dict[int, tuple[StepCall, float]] = NOTHING
        # By the step's index; made when the step is first needed.
        self._workers: list[Workers | None] = [None] * len(plan.steps)
        # What `collect_events` keeps, and what else waits for others in no list.
        self._joins: dict[tuple[int, str], list[Join]] = NOTHING
        # The run as a whole, as a list, where something waits for others in no list.
        self._root: Fanout | None = None
        self._waits = NO_WAITS
        self._resuming: dict[int, tuple[StepCall, Resume]] = NOTHING
        self._next_call = 1
        self._next_timer = 1
        self._clock_timer = 0
        self._clock_since: float | None = None
        self._clock_used = 0.0
        # The last events that were not just handed to one step: the number of the next
        # call then, class, takers, and the step that sent it. Cut from time to time.
        self._recent: list[Routed] | None = None
        # The last call that returned None.
        self._last_silent: StepCall | None = None

    def _own_waits(self) -> Waits:
        """What is waited for, to be added to."""
        if self._waits is NO_WAITS:
            self._waits = Waits()
        return self._waits

    def _whole(self) -> Fanout:
        """The run as a whole, as a list: for what waits for others in no list."""
        if self._root is None:
            self._root = Fanout(0, None, None)
        return self._root

    def _workers_of(self, spec: StepSpec) -> Workers:
        """The workers of a step."""
        found = self._workers[spec.index]
        if found is None:
            found = self._workers[spec.index] = Workers(spec, self.employer)
        return found

    def _keep_join(self, join: Join) -> None:
        """Keep what a step collects."""
        if self._joins is NOTHING:
            self._joins = {}
        self._joins.setdefault((join.step.index, join.buffer_id), []).append(join)

    def _queued(self) -> list[StepCall]:
        """The calls that wait for a worker."""
        there = [w.queue for w in self._workers if w is not None and w.queue]
        return [call for queue in there for call in queue]

    def _ran(self) -> list[int]:
        """How often each step has begun, by its index."""
        return [0 if w is None else w.ran for w in self._workers]

    @property
    def running_steps(self) -> list[str]:
        """Names of the steps that have calls running, in the order declared."""
        return [w.spec.name for w in self._workers if w is not None and w.busy]

    def awaits(self, event: Event) -> bool:
        """Whether a call waits for an event like this one, or will when it resumes."""
        waits = self._waits
        if waits.fitting(event) is not None:
            return True
        if self.status == "queued" and self.left is not None:
            names = class_names(type(event))
            calls = self.left.calls
            return any(name in call.awaited for call in calls for name in names)
        return bool(waits.again) and bool(waits.awaited_again(event))

    @property
    def questions(self) -> tuple[Question, ...]:
        """What people were asked and have not answered."""
        return self._waits.asking

    def takes(self, event: Event) -> bool:
        """Whether a step accepts an event, waits for it, or has asked for it."""
        route = self.plan.route(type(event))
        asked = route.answers and self._waits.questions > 0
        return bool(route.takers) or asked or self.awaits(event)

    def snapshot(self, at: float) -> Snapshot:
        """What is left to do at `at` seconds of the run."""
        if self.left is not None:
            return self.left
        if self.over:
            return Snapshot(is_running=False, next_call=self._next_call)
        used = self._clock_used
        if self._clock_since is not None:
            used += at - self._clock_since
        begun = self._begun()
        ran = self._ran()
        visits = {s.name: ran[s.index] for s in self.plan.steps}
        for call in begun:
            visits[call.spec.name] -= call.attempt == 1  # it will be counted again
        joins = [join for joins in self._joins.values() for join in joins]
        fanouts = self._open_fanouts()
        return Snapshot(
            calls=self._calls_left(at, begun),
            fanouts=[self._fanout_left(fanout) for fanout in fanouts],
            joins=[_join_left(join, None) for join in joins if any(join.have.values())]
            + [
                _join_left(join, (fanout.number, where) if fanout.number else None)
                for fanout in fanouts
                for (where, _), join in fanout.joins.items()
            ],
            early=list(self._waits.early),
            # A call that waits begins again, and asks again.
            open_questions=self._waits.questions
            - sum(wait.asks for wait in self._waits.open.values()),
            asking=[q for q in self._waits.asking if not q.wait_id],
            asked=self._waits.asked,
            visits=visits,
            elapsed=used,
            next_call=self._next_call,
        )

    def live_calls(self) -> list[StepCall]:
        """The calls that have not ended: that run, wait for events, or for workers."""
        live = list(self.calls.values())
        if self._waits.any or self._resuming:
            live += [wait.call for wait in self._waits.open.values()]
            live += [call for call, _ in self._resuming.values()]
            live = list(dict.fromkeys(live))
        for workers in self._workers:
            if workers is not None and workers.queue:
                waiting = workers.queue
                live += [c for c in waiting if c.call_id not in self._resuming]
        return live

    def _begun(self) -> list[StepCall]:
        """The calls that run or wait for events, but those that are being stopped."""
        return [
            c for c in self.live_calls() if c.started is not None and not c.stopping
        ]

    def _calls_left(self, at: float, begun: list[StepCall]) -> list[CallLeft]:
        awaited = self._waits.awaited_by_call()

        def left(call: StepCall, running: bool, delay: float | None = None) -> CallLeft:
            names = tuple(awaited.get(call.call_id, ()))
            return _call_left(call, at, self.wall, names, running, delay)

        found = [left(call, True) for call in begun]
        for call in self._queued():
            if call.call_id not in self._resuming:
                # One that begins again, and has not yet, stays one that does.
                found.append(left(call, call.past.begins_again))
        for call, due in self._delayed.values():
            found.append(left(call, False, max(0.0, due - at)))
        return sorted(found, key=lambda call: call.call_id)

    def _open_fanouts(self) -> list[Fanout]:
        """The lists that work goes on in, outer ones first, and the run as a whole."""
        branches = [call.branch for call in self.calls.values()]
        branches += [wait.call.branch for wait in self._waits.open.values()]
        branches += [call.branch for call in self._queued()]
        branches += [call.branch for call, _ in self._delayed.values()]
        found: dict[Fanout, None] = {}
        for branch in branches:
            for outer in branch.outward() if branch else ():
                found[outer.fanout] = None
        return [self._whole(), *sorted(found, key=lambda fanout: fanout.number)]

    def _fanout_left(self, fanout: Fanout) -> FanoutLeft:
        steps = self.plan.steps
        return FanoutLeft(
            fanout.number,
            fanout.spec.name if fanout.spec else None,
            fanout.parent.place if fanout.parent else None,
            {steps[i].name: list(held) for i, held in fanout.gathered.items()},
            tuple(steps[i].name for i in sorted(fanout.served)),
            dict(fanout.recoveries),
        )

    def _take_up(
        self, at: float, left: Snapshot
    ) -> tuple[list[tuple[StepCall, float | None]], list[Fanout]]:
        """Go on from a snapshot.

        Returns:
            The calls to start, with their delays; and the open lists, each of which
            counts as one piece of work that is to be taken off when those are counted.
        """
        by_name = self.plan.by_name
        lists: list[Fanout] = []
        fanouts = {0: self._whole()}
        branches: dict[Place, Branch] = {}

        def branch_at(place: Place | None) -> Branch | None:
            if place is None:
                return None
            if place not in branches:
                branches[place] = Branch(fanouts[place[0]], place[1])
            return branches[place]

        for data in left.fanouts:
            spec = by_name[data.step] if data.step else None
            parent = branch_at(data.place)
            fanout = Fanout(data.number, spec, parent, data.recoveries)
            for name, held in data.gathered.items():
                for index, event in held:
                    fanout.gather(by_name[name], index, event)
            for name in data.served:
                if name in by_name and by_name[name].collect is not None:
                    fanout.serve(by_name[name])
            fanouts[data.number] = fanout
            if spec is not None:
                fanout.alive = 1
                lists.append(fanout)
            if parent is not None:
                parent.fanout.alive += 1
        self._root = fanouts[0]
        for joined in left.joins:
            step = by_name[joined.step]
            join = Join(step, joined.buffer_id, joined.expected)
            join.recoveries = joined.recoveries
            for place, event in joined.have:
                join.add(event, place)
            if joined.buffer_id:
                self._keep_join(join)
            else:
                number, where = joined.at or (0, WHOLE)
                fanouts[number].keep(join, where)
        waits = self._own_waits()
        for event in left.early:
            waits.keep(event)
        waits.asked = left.asked
        waits.questions = left.open_questions
        waits.asking = tuple(left.asking)
        for step in self.plan.steps:
            self._workers_of(step).ran = left.visits.get(step.name, 0)
        self._clock_used = left.elapsed
        self._next_call = left.next_call
        todo: list[tuple[StepCall, float | None]] = []
        for given in left.calls:
            branch = branch_at(given.place)
            call = StepCall(
                given.call_id,
                self._workers_of(by_name[given.step]),
                given.event,
                given.caused_by,
                branch,
                given.recoveries,
            )
            call.attempt = given.attempt
            call.first_started = at - given.spent
            past = call.own_past()
            past.taken = given.taken
            past.answers = given.answers
            past.last_error = given.last_error
            past.last_failed = (given.last_failed or 0.0) - self.wall
            past.begins_again = given.running or given.attempt > 1
            waits.begin_again(call, given.awaited)
            if branch is not None:
                branch.fanout.alive += 1
            todo.append((call, given.delay))
        return todo, lists


def _call_left(
    call: StepCall,
    at: float,
    wall: float,
    awaited: tuple[str, ...],
    running: bool,
    delay: float | None,
) -> CallLeft:
    begun = running or delay is not None
    past = call.past
    return CallLeft(
        step=call.spec.name,
        event=call.event,
        attempt=call.attempt,
        call_id=call.call_id,
        caused_by=call.caused_by,
        place=call.branch.place if call.branch else None,
        recoveries=dict(call.recoveries),
        taken=past.taken,
        delay=delay,
        spent=at - call.first_started if begun else 0.0,
        last_error=past.last_error,
        last_failed=wall + past.last_failed if past.last_error else None,
        answers=past.answers,
        awaited=awaited,
        running=running,
    )


def _join_left(join: Join, at: Place | None) -> JoinLeft:
    return JoinLeft(
        join.step.name, join.buffer_id, join.expected, join.rest(), at, join.recoveries
    )
