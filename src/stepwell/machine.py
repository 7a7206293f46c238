"""The machine: facts in, commands out. It decides; it does nothing itself.

No await, no clock, no random number, no input or output: what it needs of
these rides in the facts, so folding the recorded facts again gives the same
state. The state is changed in place. `cycle` carries the commands out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from stepwell.calls import (
    NO_RECOVERIES,
    NOTHING,
    Branch,
    StepCall,
    brought_together,
)
from stepwell.commands import Command, Publish, Quiet, Reply, Resume
from stepwell.diagnosis import (
    cancelled,
    diagnose,
    last_events,
    time_is_up,
)
from stepwell.errors import WorkflowStalledError
from stepwell.events import (
    Event,
    WorkflowCancelledEvent,
    WorkflowIdleEvent,
    WorkflowTimedOutEvent,
)
from stepwell.hints import about_stop
from stepwell.journals.base import (
    CallCancelled,
    CallFailed,
    CallReturned,
    CancelAsked,
    EventsCollected,
    EventSent,
    Fact,
    RunStarted,
    Settled,
    StepCancelled,
    TimerFired,
    WaitBegan,
    WaitDropped,
)
from stepwell.left import Snapshot
from stepwell.plan import Plan, Route
from stepwell.routing import Routing
from stepwell.waits import Wait

__all__ = ["Machine"]


class Machine(Routing):
    """Decides for one run.

    Args:
        plan: The compiled workflow.
        timeout: Seconds the run may take while it is not waiting for a person;
            None for no limit.
        wait_when_stalled: Whether a run that went quiet waits for events from
            outside instead of failing.
    """

    __slots__ = ("wait_when_stalled",)

    def __init__(
        self,
        plan: Plan,
        *,
        timeout: float | None = None,
        wait_when_stalled: bool = False,
    ) -> None:
        super().__init__(plan, timeout)
        self.wait_when_stalled = wait_when_stalled

    def apply(self, fact: Fact) -> list[Command]:
        """Take in what happened and say what to do about it, in order."""
        if isinstance(fact, CallReturned):
            return self.returned(fact.at, fact.call_id, fact.value)
        if self.over:
            return []
        _RULES[type(fact)](self, fact)
        if not self.calls and type(fact) is not Settled:
            self._rest(fact.at)
        return self._handed_out()

    # The shorter way, for whoever keeps no journal: no object for each of the facts
    # that come by thousands, and none for the commonest command. The rules are those
    # of `apply`.

    def start_by(self, start: Callable[[StepCall], object]) -> None:
        """From now on hand calls that begin to `start`, not out among the commands."""
        self._start = start

    def started(self, at: float, event: Event, wall: float) -> list[Command]:
        """As `apply` for a `RunStarted` with an event."""
        self._begin_with(at, event, wall)
        if not self.calls:
            self._rest(at)
        return self._handed_out()

    def returned(self, at: float, call_id: int, value: Any) -> list[Command]:
        """As `apply` for a `CallReturned`."""
        # What is usual is written out in here: it happens for every call.
        if self.over:
            return []
        call = self.calls.pop(call_id, None) or self._finished(at, call_id)
        if self._waits.any:
            self._waits.forget(call_id)
        route = call.spec.passed[0].get(type(value))
        if call.stopping:
            self._stopped(at, call)
        elif value is None:
            self.record.write_done(call, at)
            self._last_silent = call
            self._depart(at, call)
        elif route is None or (route.stops and about_stop(value)):
            self._take_unusual(at, call, value)
        elif route.stops:
            self.record.write_done(call, at, route.outputs)
            self._end(at, value, None, "done")
        else:
            self.record.write_done(call, at, route.outputs)
            self._route(at, value, route, call, call.branch)
            self._depart(at, call)
        if not self.calls:
            self._rest(at)
        out = self._out
        if out:
            self._out = []
        return out

    def sent(
        self, at: float, event: Event, route: Route, call: StepCall
    ) -> list[Command]:
        """As `apply` for an `EventSent` by a call that runs, for no certain step."""
        if self.over or call.stopping:
            return []
        if self._clock_since is None or self.status == "waiting":
            self._resume(at)
        self._route(at, event, route, call, call.branch)
        return self._handed_out()

    def _handed_out(self) -> list[Command]:
        out = self._out
        if out:
            self._out = []
        return out

    def _rest(self, at: float) -> None:
        """No call runs: unless one is to be tried again, it is to be seen why."""
        if self._delayed or self.over:
            return
        if self._waits.questions or self._waits.open:
            # At once: who reads the question may block the loop, as by input().
            self._stop_clock(at)
        self._out.append(Quiet())

    def queue(self, event: Event | None, left: Snapshot | None) -> None:
        """Note that the run waits for its turn, and what it will begin with."""
        if left is None:
            begun = Machine(self.plan)
            begun.apply(RunStarted(0.0, event))
            left = begun.snapshot(0.0)
        self.status = "queued"
        self.left = left

    # -- rules, one for each kind of fact ------------------------------------

    def _on_started(self, fact: RunStarted) -> None:
        if fact.event is not None:
            return self._begin_with(fact.at, fact.event, fact.wall)
        self.wall = fact.wall
        self.status = "running"
        self.left = None
        todo, lists = self._take_up(fact.at, fact.left)
        self._start_clock(fact.at)
        # Who reads the new run's stream has not seen them.
        self._out += [Publish(question.event) for question in self.questions]
        for call, delay in todo:
            if delay is None:
                self._admit(fact.at, call)
            else:
                self._delay(fact.at + delay, call)
        for fanout in lists:
            self._leave(fact.at, Branch(fanout, 0))

    def _begin_with(self, at: float, event: Event, wall: float) -> None:
        self.wall = wall
        self.status = "running"
        self.left = None
        self._start_clock(at)
        self._route(at, event, self.plan.route(type(event)), None, None)

    def _on_sent(self, fact: EventSent) -> None:
        self._take_event(fact.at, fact.event, fact.call_id, fact.step)

    def _take_event(
        self, at: float, event: Event, call_id: int | None, step: str | None
    ) -> None:
        kind = type(event)
        route = self.plan.routes.get(kind) or self.plan.route(kind)
        source = branch = None
        if call_id is not None:
            source = self.calls.get(call_id) or self._call(call_id)
            if source is not None:
                if source.stopping:
                    return
                branch = source.branch
        elif not route.answers:
            # Whatever comes from outside while a question is open may answer it.
            self._answered_by(event, step)
        if self._clock_since is None or self.status == "waiting":
            self._resume(at)
        self._route(at, event, route, source, branch, step)

    def _take_unusual(self, at: float, call: StepCall, value: Any) -> None:
        """What a call returned if not a single event of a class that it did before."""
        # A stop event may be wrong in its value.
        listed = isinstance(value, list)
        events = [e for e in value if e is not None] if listed else [value]
        wrong = self.plan.wrong_return(call, events, listed=listed)
        if wrong:
            return self._fail(at, call, wrong)
        if not events:
            self._last_silent = call
        outputs = tuple([type(event).__name__ for event in events])
        self.record.write_ended(call, at, "done", outputs)
        if listed:
            self._fan_out(at, call, events)
        elif events:
            route = self.plan.route(type(value))
            if route.stops:
                self._end(at, value, None, "done")
            else:
                self._route(at, value, route, call, call.branch)
        self._depart(at, call)

    def _on_failed(self, fact: CallFailed) -> None:
        call = self._finished(fact.at, fact.call_id)
        if call.stopping:
            return self._stopped(fact.at, call)
        if fact.retry_in is None:
            past = call.own_past()
            past.last_error, past.last_failed = fact.error, fact.at
            return self._give_up(fact.at, call, fact.error)
        self.record.write_ended(call, fact.at, "retrying", error=fact.error)
        following = call.again(fact.error, fact.at)
        self._own_waits().begin_again(following)
        self._delay(fact.at + fact.retry_in, following)
        self._release(fact.at, call)

    def _on_cancelled(self, fact: CallCancelled) -> None:
        call = self._finished(fact.at, fact.call_id)
        if call.stopping:
            return self._stopped(fact.at, call)
        self.record.write_ended(call, fact.at, "cancelled")
        self.calls[call.call_id] = call  # it is among what is left to do
        error = cancelled(self.plan, f"step `{call.spec.name}` cancelled itself")
        self._end(fact.at, WorkflowCancelledEvent(), error, "cancelled")

    def _finished(self, at: float, call_id: int) -> StepCall:
        """Take a call out of the running ones."""
        if call_id not in self.calls:
            # A task that the step left behind still waits in its name.
            waits = [wait.wait_id for wait in self._waits.of_call(call_id)]
            for wait_id in waits or [0]:
                self._on_wait_dropped(WaitDropped(at, call_id, wait_id))
                self._out.append(Resume(wait_id, None))
        if self._waits.any:
            self._waits.forget(call_id)
        return self.calls.pop(call_id)

    def _on_collected(self, fact: EventsCollected) -> None:
        call = self._call(fact.call_id)
        got: list[Event] | None = None if fact.expected else []
        if call is not None:
            got = self.collected(call, fact.event, fact.expected, fact.buffer_id)
        self._out.append(Reply(got))

    def collected(
        self,
        call: StepCall,
        event: Event,
        expected: Sequence[type[Event]],
        buffer_id: str,
    ) -> list[Event] | None:
        """As `apply` for an `EventsCollected`; gives what its `Reply` holds."""
        if not expected:
            return []
        if self.over or call.stopping:
            return None
        past = call.past
        if past.begins_again:
            # What an earlier attempt took, this one gets again.
            for taken_from, classes, events in past.taken:
                if taken_from == buffer_id and classes == expected:
                    return list(events)
        joins = self._joins.get((call.spec.index, buffer_id))
        join = joins[0] if joins else None
        # The same list again, as it nearly always is: not to be read through.
        if join is None or not join.is_of(expected):
            join = self._join(call.spec, buffer_id, expected)
        branch = call.branch
        place = branch.place if branch is not None else None
        join.add(event, place, again=past.begins_again)
        if call.recoveries:
            join.recoveries = brought_together(join.recoveries, call.recoveries)
        if join.missing:
            return None
        got = [event for _, event in join.take()]
        past = call.own_past()
        past.taken = (*past.taken, (buffer_id, join.expected, tuple(got)))
        call.recoveries = brought_together(call.recoveries, join.recoveries)
        if not any(join.have.values()):
            join.recoveries = NO_RECOVERIES
        return got

    def _on_wait(self, fact: WaitBegan) -> None:
        call = self._call(fact.call_id)
        if call is None:
            return self._out.append(Resume(fact.wait_id, None))
        wait = Wait(fact.wait_id, call, fact.kind, fact.requirements, fact.timeout)
        answer = self._waits.take_unread(wait) if self._waits.again else None
        if answer is None:
            answer = self._waits.take_early(wait)
            if answer is not None:
                past = call.own_past()
                past.answers = (*past.answers, answer)
        if answer is not None:
            return self._out.append(Resume(fact.wait_id, answer))
        self._own_waits().add(wait)
        if fact.asking is not None:
            wait.asks = self.plan.route(type(fact.asking)).asks
            if wait.asks:
                self._ask(fact.at, fact.asking, call, wait)
            else:
                self._out.append(Publish(fact.asking, call_id=call.call_id))
        if fact.timeout is not None:
            wait.timer = self._wake(fact.at + fact.timeout)
        if fact.call_id in self.calls:
            # A call that only waits leaves its worker to others.
            del self.calls[fact.call_id]
            self._release(fact.at, call)

    def _on_wait_dropped(self, fact: WaitDropped) -> None:
        wait = self._waits.open.get(fact.wait_id)
        if wait is not None:
            if wait.asks:
                self._waits.answer(None, wait)
            if self._waits.remove(wait):
                self._occupy(fact.at, wait.call)
        elif fact.call_id in self._resuming:
            call = self._resuming.pop(fact.call_id)[0]
            call.workers.remove(call)
            self._occupy(fact.at, call)

    def _on_timer(self, fact: TimerFired) -> None:
        delayed = self._delayed.pop(fact.timer, None)
        if delayed is not None:
            call = delayed[0]
            call.workers.enqueue(call, first=True)
            self._fill(fact.at, call.workers)
            if call.started is None and not self.over:
                self.record.write_queued(call, fact.at)
            return
        wait = self._waits.timed_by(fact.timer)
        if wait is not None:
            if wait.asks:
                self._waits.answer(None, wait)
            return self._wake_call(fact.at, wait, None)
        if fact.timer != self._clock_timer:
            return
        active = self.running_steps
        stop = WorkflowTimedOutEvent(timeout=self.timeout, active_steps=active)
        since = fact.at if self._clock_since is None else self._clock_since
        late = fact.at - since + self._clock_used - (self.timeout or 0.0)
        error = time_is_up(self.plan, self.timeout, active, late)
        self._end(fact.at, stop, error, "timed out")

    def _on_cancel_asked(self, fact: CancelAsked) -> None:
        error = cancelled(self.plan, fact.reason)
        self._end(fact.at, WorkflowCancelledEvent(), error, "cancelled")

    def _on_step_cancelled(self, fact: StepCancelled) -> None:
        spec = self.plan.by_name[fact.step]
        self._stop_calls(
            fact.at, lambda call: call.spec is spec and call.call_id != fact.call_id
        )

    def _on_settled(self, fact: Settled) -> None:
        if self.calls or self._delayed:
            return
        asked = bool(self._waits.questions or self._waits.open) or (
            self._waits.asked and self._joins_people()
        )
        unprompted = self.plan.hears_people and not self._waits.asked
        whole = self._whole()
        if not asked and whole.gathered:
            # What came in no list is handed over when nothing more can come.
            return self._hand_out(fact.at, whole)
        if asked or unprompted or self.wait_when_stalled:
            if asked:
                self._stop_clock(fact.at)
            if self.status != "waiting":
                self.status = "waiting"
                self._out.append(Publish(WorkflowIdleEvent(), internal=True))
            return
        joins = [join for joins in self._joins.values() for join in joins]
        silent = self._last_silent
        report = diagnose(
            self.plan,
            joins=[*joins, *whole.joins.values()],
            ran=self._ran(),
            last_events=last_events(self.plan, self._recent or (), self.record),
            ended_silent=(silent.spec.name, silent.event_name) if silent else None,
        )
        error = WorkflowStalledError(report)
        stop = WorkflowTimedOutEvent(timeout=self.timeout)
        self._end(fact.at, stop, error, "stalled")

    # -- parts of the rules ----------------------------------------------------

    def _call(self, call_id: int) -> StepCall | None:
        """A call that runs or is suspended; None where it is over."""
        if call_id in self._resuming:
            return self._resuming[call_id][0]
        waits = () if call_id in self.calls else self._waits.of_call(call_id)
        return waits[0].call if waits else self.calls.get(call_id)

    def _delay(self, due: float, call: StepCall) -> None:
        if self._delayed is NOTHING:
            self._delayed = {}
        self._delayed[self._wake(due)] = (call, due)


_RULES: dict[type[Fact], Callable[[Machine, Any], None]] = {
    RunStarted: Machine._on_started,
    EventSent: Machine._on_sent,
    CallFailed: Machine._on_failed,
    CallCancelled: Machine._on_cancelled,
    EventsCollected: Machine._on_collected,
    WaitBegan: Machine._on_wait,
    WaitDropped: Machine._on_wait_dropped,
    TimerFired: Machine._on_timer,
    CancelAsked: Machine._on_cancel_asked,
    Settled: Machine._on_settled,
    StepCancelled: Machine._on_step_cancelled,
}
