"""The machine: facts in, commands out. It decides; it does nothing itself.

No await, no clock, no random number, no input or output: what it needs of
these rides in the facts, so folding the recorded facts again gives the same
state. The state is changed in place. `run` carries the commands out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from stepwell.attempts import add_note, step_failed
from stepwell.calls import NO_RECOVERIES, Branch, StepCall, brought_together
from stepwell.commands import (
    CallEnded,
    Command,
    Publish,
    Quiet,
    Reply,
    Resume,
)
from stepwell.diagnosis import (
    cancelled,
    check_expected,
    diagnose,
    time_is_up,
)
from stepwell.errors import WorkflowStalledError
from stepwell.events import (
    Event,
    WorkflowCancelledEvent,
    WorkflowIdleEvent,
    WorkflowTimedOutEvent,
)
from stepwell.joins import Join
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
from stepwell.plan import Plan
from stepwell.routing import Routing
from stepwell.signature import StepSpec
from stepwell.state import Snapshot
from stepwell.waits import Wait, class_names

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
        if self.over:
            return []
        out = self._out = []
        _RULES[type(fact)](self, fact)
        idle = not self.calls and not self._delayed and not self.over
        if idle and type(fact) is not Settled:
            if self._questions.open or self._waits.open:
                # At once: who reads the question may block the loop, as by input().
                self._stop_clock(fact.at)
            out.append(Quiet())
        return out

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

    def takes(self, event: Event) -> bool:
        """Whether a step accepts an event, waits for it, or has asked for it."""
        route = self.plan.route(type(event))
        asked = route.answers and self._questions.open > 0
        return bool(route.takers) or asked or self.awaits(event)

    def is_stopping(self, call: StepCall) -> bool:
        """Whether a call was told to stop, and has not come to its end."""
        return call.call_id in self._stopping

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
        self.wall = fact.wall
        self.status = "running"
        self.left = None
        if fact.event is not None:
            self._start_clock(fact.at)
            return self._route(fact.at, fact.event, None, None, None)
        todo, lists = self._take_up(fact.at, fact.left)
        self._start_clock(fact.at)
        for call, delay in todo:
            if delay is None:
                self._admit(fact.at, call)
            else:
                self._delay(fact.at + delay, call)
        for fanout in lists:
            self._leave(fact.at, Branch(fanout, 0))

    def _on_sent(self, fact: EventSent) -> None:
        if fact.call_id in self._stopping:
            return
        self._resume(fact.at)
        source = self._call(fact.call_id) if fact.call_id else None
        if fact.call_id is None and not self.plan.route(type(fact.event)).answers:
            # Whatever comes from outside while a question is open may answer it.
            self._questions.answer()
        branch = source.branch if source else None
        self._route(fact.at, fact.event, fact.step, source, branch)

    def _on_returned(self, fact: CallReturned) -> None:
        call = self._finished(fact.at, fact.call_id)
        if call.call_id in self._stopping:
            return self._stopped(fact.at, call)
        value = fact.value
        kind = type(value)
        if (call.spec.index, kind, False) in self.plan.passed:
            self._out.append(CallEnded(call, "done", (kind,)))
            self._route(fact.at, value, None, call, call.branch, returned=True)
            return self._depart(fact.at, call)
        listed = isinstance(value, list)
        events = [e for e in value if e is not None] if listed else [value]
        if value is None:
            events.clear()
        wrong = self.plan.wrong_return(call, events, listed=listed)
        if wrong:
            return self._fail(fact.at, call, wrong)
        if not events:
            self._last_silent = (call.spec.name, call.event_name)
        self._out.append(CallEnded(call, "done", tuple(map(type, events))))
        if listed:
            self._fan_out(fact.at, call, events)
        else:
            for event in events:
                self._route(fact.at, event, None, call, call.branch, returned=True)
        if not self.over:
            self._depart(fact.at, call)

    def _on_failed(self, fact: CallFailed) -> None:
        call = self._finished(fact.at, fact.call_id)
        if call.call_id in self._stopping:
            return self._stopped(fact.at, call)
        call.last_error, call.last_failed = fact.error, fact.at
        if fact.retry_in is None:
            return self._give_up(fact.at, call, fact.error)
        self._out.append(CallEnded(call, "retrying", error=fact.error))
        call.begins_again = True
        self._waits.begin_again(call)
        self._delay(fact.at + fact.retry_in, call)
        self._release(fact.at, call)

    def _on_cancelled(self, fact: CallCancelled) -> None:
        call = self._finished(fact.at, fact.call_id)
        if call.call_id in self._stopping:
            return self._stopped(fact.at, call)
        self._out.append(CallEnded(call, "cancelled"))
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
        if self._waits.again:
            self._waits.again.pop(call_id, None)
        return self.calls.pop(call_id)

    def _on_collected(self, fact: EventsCollected) -> None:
        call = self._call(fact.call_id)
        stopping = fact.call_id in self._stopping
        if call is None or stopping or not fact.expected:
            return self._out.append(Reply([] if not fact.expected else None))
        if call.begins_again:
            # What an earlier attempt took, this one gets again.
            for buffer_id, expected, events in call.taken:
                if buffer_id == fact.buffer_id and expected == fact.expected:
                    return self._out.append(Reply(list(events)))
        join = self._join(call.spec, fact.buffer_id, fact.expected)
        place = call.branch.place if call.branch else None
        join.add(fact.event, place, again=call.begins_again)
        join.recoveries = brought_together(join.recoveries, call.recoveries)
        if join.missing:
            return self._out.append(Reply(None))
        got = [event for _, event in join.take()]
        call.taken = (*call.taken, (fact.buffer_id, join.expected, tuple(got)))
        call.recoveries = brought_together(call.recoveries, join.recoveries)
        if not any(join.have.values()):
            join.recoveries = NO_RECOVERIES
        self._out.append(Reply(got))

    def _on_wait(self, fact: WaitBegan) -> None:
        call = self._call(fact.call_id)
        if call is None:
            return self._out.append(Resume(fact.wait_id, None))
        wait = Wait(fact.wait_id, call, fact.kind, fact.requirements)
        answer = self._waits.take_unread(wait) if self._waits.again else None
        if answer is None:
            answer = self._waits.take_early(wait)
            if answer is not None:
                call.answers = (*call.answers, answer)
        if answer is not None:
            return self._out.append(Resume(fact.wait_id, answer))
        self._waits.add(wait)
        if fact.asking is not None:
            wait.asks = self.plan.route(type(fact.asking)).asks
            if wait.asks:
                self._questions.ask()
            self._out.append(Publish(fact.asking))
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
                self._questions.answer()
            if self._waits.remove(wait):
                self._occupy(fact.at, wait.call)
        elif fact.call_id in self._resuming:
            call = self._resuming.pop(fact.call_id)[0]
            self._queues[call.spec.index].remove(call)
            self._occupy(fact.at, call)

    def _on_timer(self, fact: TimerFired) -> None:
        delayed = self._delayed.pop(fact.timer, None)
        if delayed is not None:
            call = delayed[0]
            call.attempt += 1
            self._queues[call.spec.index].appendleft(call)
            return self._fill(fact.at, call.spec)
        wait = self._waits.timed_by(fact.timer)
        if wait is not None:
            if wait.asks:
                self._questions.answer()
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
        asked = bool(self._questions.open or self._waits.open) or (
            self._questions.ever and self._joins_people()
        )
        unprompted = self.plan.hears_people and not self._questions.ever
        if not asked and self._root.gathered:
            # What came in no list is handed over when nothing more can come.
            return self._hand_out(fact.at, self._root)
        if asked or unprompted or self.wait_when_stalled:
            if asked:
                self._stop_clock(fact.at)
            if self.status != "waiting":
                self.status = "waiting"
                self._out.append(Publish(WorkflowIdleEvent(), internal=True))
            return
        joins = [join for joins in self._joins.values() for join in joins]
        report = diagnose(
            self.plan,
            joins=[*joins, *self._root.joins.values()],
            ran=self._ran,
            last_events=[
                (kind.__name__, tuple(s.name for s in to), came.name if came else None)
                for kind, to, came in self._recent
            ],
            ended_silent=self._last_silent,
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

    def _depart(self, at: float, call: StepCall) -> None:
        """Let a call that has come to its end go: its worker, its part in a list."""
        self._release(at, call)
        if call.branch is not None:
            self._bring_up(call.branch, call.recoveries)
            self._leave(at, call.branch)

    def _stopped(self, at: float, call: StepCall) -> None:
        """A call that was told to stop has come to its end, however it did."""
        self._stopping.discard(call.call_id)
        self._out.append(CallEnded(call, "cancelled"))
        self._depart(at, call)

    def _delay(self, due: float, call: StepCall) -> None:
        self._delayed[self._wake(due)] = (call, due)

    def _join(
        self, spec: StepSpec, buffer_id: str, expected: Sequence[type[Event]]
    ) -> Join:
        # Different `expected` lists of one step are different joins.
        joins = self._joins.setdefault((spec.index, buffer_id), [])
        for join in joins:
            if join.expected == expected:
                return join
        check_expected(self.plan, spec, expected)
        joins.append(Join(spec, buffer_id, expected))
        return joins[-1]

    def _joins_people(self) -> bool:
        """Whether a begun join still lacks an answer of a person."""
        joins = [join for joins in self._joins.values() for join in joins]
        joins += self._root.joins.values()
        return any(self.plan.route(k).answers for join in joins for k in join.lacking)

    def _give_up(self, at: float, call: StepCall, error: BaseException) -> None:
        """A call failed for good: it is for its `@catch_error` step, or the end."""
        catcher = self.plan.catcher(call.spec)
        if catcher is None or not isinstance(error, Exception):
            return self._fail(at, call, error)
        both = f"{call.spec.name}/{catcher.name}"
        helped = max(call.recoveries.get(key, 0) for key in (catcher.name, both))
        if helped >= catcher.max_recoveries:
            add_note(
                error,
                f"@catch_error `{catcher.name}` was not called again: on the way here "
                f"it has helped as often as its max_recoveries={helped} allows",
            )
            return self._fail(at, call, error)
        self._out.append(CallEnded(call, "failed", error=error))
        event = step_failed(call, error, at, self.wall)
        recoveries = {**call.recoveries, catcher.name: helped + 1, both: helped + 1}
        self._offer(at, catcher, event, call.call_id, call.branch, recoveries)
        self._depart(at, call)


_RULES: dict[type[Fact], Callable[[Machine, Any], None]] = {
    RunStarted: Machine._on_started,
    EventSent: Machine._on_sent,
    CallReturned: Machine._on_returned,
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
