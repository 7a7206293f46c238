"""The machine: facts in, commands out. It decides; it does nothing itself.

No await, no clock, no random number, no input or output: what it needs of
these rides in the facts, so folding the recorded facts again gives the same
state. The state is changed in place. `run` carries the commands out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stepwell.attempts import step_failed
from stepwell.calls import StepCall
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
from stepwell.waits import Wait

__all__ = ["Machine"]

_NONE: Mapping[str, int] = {}


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
            out.append(Quiet())
        return out

    def awaits(self, event: Event) -> bool:
        """Whether a call is suspended until an event like this one comes."""
        return self._waits.fitting(event) is not None

    # -- rules, one for each kind of fact ------------------------------------

    def _on_started(self, fact: RunStarted) -> None:
        self.wall = fact.wall
        self.status = "running"
        if fact.event is not None:
            self._start_clock(fact.at)
            return self._route(fact.at, fact.event, None, None, None)
        todo = self._take_up(fact.left)
        self._start_clock(fact.at)
        for call, delay in todo:
            if delay is None:
                self._admit(fact.at, call)
            else:
                self._delay(fact.at + delay, call)

    def _on_sent(self, fact: EventSent) -> None:
        self._resume(fact.at)
        source = self.calls.get(fact.call_id) if fact.call_id else None
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
        listed = type(value) is list or isinstance(value, list)
        events = [e for e in value if e is not None] if listed else [value]
        if value is None:
            events.clear()
        wrong = self.plan.wrong_return(call, events)
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
        self._delay(fact.at + fact.retry_in, call)
        self._release(fact.at, call)

    def _on_cancelled(self, fact: CallCancelled) -> None:
        call = self._finished(fact.at, fact.call_id)
        if call.call_id in self._stopping:
            return self._stopped(fact.at, call)
        self._out.append(CallEnded(call, "cancelled"))
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
        return self.calls.pop(call_id)

    def _on_collected(self, fact: EventsCollected) -> None:
        call = self.calls.get(fact.call_id)
        if call is None or not fact.expected:
            return self._out.append(Reply([] if not fact.expected else None))
        if call.attempt > 1:
            # What an earlier attempt took, this one gets again.
            for buffer_id, expected, events in call.taken:
                if buffer_id == fact.buffer_id and expected == fact.expected:
                    return self._out.append(Reply(list(events)))
        join = self._join(call.spec, fact.buffer_id, fact.expected)
        join.add(fact.event, call.branch, again=call.attempt > 1)
        if join.missing:
            return self._out.append(Reply(None))
        got = join.take()
        call.taken = (*call.taken, (fact.buffer_id, join.expected, tuple(got)))
        self._out.append(Reply(got))

    def _on_wait(self, fact: WaitBegan) -> None:
        call = self.calls.get(fact.call_id)
        if call is None:
            # Suspended by another wait already, or over.
            others = self._waits.of_call(fact.call_id)
            call = others[0].call if others else None
        if call is None:
            return self._out.append(Resume(fact.wait_id, None))
        wait = Wait(fact.wait_id, call, fact.kind, fact.requirements)
        early = self._waits.take_early(wait)
        if early is not None:
            return self._out.append(Resume(fact.wait_id, early))
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
        error = time_is_up(self.plan, self.timeout, active)
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
            return self._hand_out(fact.at, self._root, self.plan.steps)
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
            joins=[*joins, *self._meetings.values()],
            ran=self._ran,
            last_events=self._recent,
            ended_silent=self._last_silent,
        )
        error = WorkflowStalledError(report)
        stop = WorkflowTimedOutEvent(timeout=self.timeout)
        self._end(fact.at, stop, error, "stalled")

    # -- parts of the rules ----------------------------------------------------

    def _depart(self, at: float, call: StepCall) -> None:
        """Let a call that has come to its end go: its worker, its part in a list."""
        self._release(at, call)
        if call.branch is not None:
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
        joins += self._meetings.values()
        return any(self.plan.route(k).answers for join in joins for k in join.lacking)

    def _give_up(self, at: float, call: StepCall, error: BaseException) -> None:
        """A call failed for good: it is for its `@catch_error` step, or the end."""
        catcher = self.plan.catcher(call.spec)
        helped = call.recoveries.get(catcher.name, 0) if catcher else 0
        if (
            catcher is None
            or helped >= catcher.max_recoveries
            or not isinstance(error, Exception)
        ):
            return self._fail(at, call, error)
        self._out.append(CallEnded(call, "failed", error=error))
        event = step_failed(call, error, at, self.wall)
        recoveries = {**call.recoveries, catcher.name: helped + 1}
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
