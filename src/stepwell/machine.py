"""The machine: facts in, commands out. It decides; it does nothing itself.

No await, no clock, no random number, no input or output: what it needs of
these rides in the facts, so folding the recorded facts again gives the same
state. The state is changed in place. `run` carries the commands out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from stepwell.commands import (
    CallEnded,
    CallQueued,
    Command,
    DropTimer,
    Ended,
    Publish,
    Quiet,
    Reply,
    Resume,
    StartCall,
    WakeAt,
)
from stepwell.diagnosis import cancelled, check_expected, diagnose, time_is_up
from stepwell.errors import WorkflowStalledError
from stepwell.events import (
    Event,
    StopEvent,
    UnhandledEvent,
    WorkflowCancelledEvent,
    WorkflowFailedEvent,
    WorkflowIdleEvent,
    WorkflowTimedOutEvent,
)
from stepwell.joins import Join, Wait
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
    TimerFired,
    WaitBegan,
    WaitDropped,
)
from stepwell.plan import Plan
from stepwell.steps import Branch, StepCall, StepSpec

__all__ = ["Machine"]

_RECENT = 5
# Answers kept for a step that has not begun to wait for them.
_EARLY = 1_000


class Machine:
    """The state of one run.

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
        self.plan = plan
        self.timeout = timeout
        self.wait_when_stalled = wait_when_stalled
        self.status = "running"
        self.over = False
        # Calls that run, and calls that wait for their retry delay.
        self.calls: dict[int, StepCall] = {}
        self._delayed: dict[int, StepCall] = {}
        n = len(plan.steps)
        self._busy = [0] * n
        self._ran = [0] * n
        self._free: list[list[int]] = [[] for _ in range(n)]
        self._queues: list[deque[StepCall]] = [deque() for _ in range(n)]
        self._joins: dict[tuple[int, str], list[Join]] = {}
        # Calls suspended until an event comes, and events that came too early.
        self._waits: dict[int, Wait] = {}
        self._suspended: dict[int, int] = {}
        self._resuming: dict[int, tuple[StepCall, Resume]] = {}
        self._early: deque[Event] = deque(maxlen=_EARLY)
        self._next_call = 1
        self._next_timer = 1
        self._clock_timer = 0
        self._clock_since: float | None = None
        self._clock_used = 0.0
        # Questions without an answer yet, and whether there ever was one.
        self._open_questions = 0
        self._asked = False
        self._recent: deque[tuple[str, tuple[str, ...], str | None]] = deque(
            maxlen=_RECENT
        )
        self._last_silent: tuple[str, str] | None = None
        self._out: list[Command] = []

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

    @property
    def running_steps(self) -> list[str]:
        """Names of the steps that have calls running, in the order declared."""
        return [s.name for s in self.plan.steps if self._busy[s.index]]

    def awaits(self, event: Event) -> bool:
        """Whether a call is suspended until an event like this one comes."""
        return any(wait.fits(event) for wait in tuple(self._waits.values()))

    # -- rules, one for each kind of fact ------------------------------------

    def _on_started(self, fact: RunStarted) -> None:
        self._start_clock(fact.at)
        self._route(fact.at, fact.event, None, None, None)

    def _on_sent(self, fact: EventSent) -> None:
        self._resume(fact.at)
        source = self.calls.get(fact.call_id) if fact.call_id else None
        if fact.call_id is None and not self.plan.route(type(fact.event)).answers:
            # Whatever comes from outside while a question is open may answer it.
            self._close_question()
        self._route(
            fact.at, fact.event, fact.step, source, source.branch if source else None
        )

    def _on_returned(self, fact: CallReturned) -> None:
        call = self._finished(fact.at, fact.call_id)
        listed = isinstance(fact.value, list)
        values = fact.value if listed else (fact.value,)
        events = [event for event in values if event is not None]
        wrong = self.plan.wrong_return(call, events)
        if wrong:
            return self._fail(fact.at, call, wrong)
        if not events:
            self._last_silent = (call.spec.name, call.event_name)
        self._out.append(CallEnded(call, "done", tuple(map(type, events))))
        for index, event in enumerate(events):
            branch = Branch(call.call_id, index, call.branch) if listed else call.branch
            self._route(fact.at, event, None, call, branch, returned=True)
            if self.over:
                return
        self._release(fact.at, call)

    def _on_failed(self, fact: CallFailed) -> None:
        call = self._finished(fact.at, fact.call_id)
        if fact.retry_in is None:
            return self._fail(fact.at, call, fact.error)
        self._out.append(CallEnded(call, "retrying", error=fact.error))
        timer = self._wake(fact.at + fact.retry_in)
        self._delayed[timer] = call
        self._release(fact.at, call)

    def _on_cancelled(self, fact: CallCancelled) -> None:
        call = self._finished(fact.at, fact.call_id)
        self._out.append(CallEnded(call, "cancelled"))
        error = cancelled(self.plan, f"step `{call.spec.name}` cancelled itself")
        self._end(WorkflowCancelledEvent(), error, "cancelled")

    def _finished(self, at: float, call_id: int) -> StepCall:
        """Take a call out of the running ones."""
        if call_id not in self.calls:
            # A task that the step left behind still waits in its name.
            waits = [w for w in self._waits.values() if w.call.call_id == call_id]
            for wait_id in [wait.wait_id for wait in waits] or [0]:
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
            others = (w.call for w in self._waits.values())
            call = next((c for c in others if c.call_id == fact.call_id), None)
        if call is None:
            return self._out.append(Resume(fact.wait_id, None))
        wait = Wait(fact.wait_id, call, fact.kind, fact.requirements)
        early = next((event for event in self._early if wait.fits(event)), None)
        if early is not None:
            self._early.remove(early)
            return self._out.append(Resume(fact.wait_id, early))
        self._waits[fact.wait_id] = wait
        if fact.asking is not None:
            wait.asks = self.plan.route(type(fact.asking)).asks
            if wait.asks:
                self._open_question()
            self._out.append(Publish(fact.asking))
        if fact.timeout is not None:
            wait.timer = self._wake(fact.at + fact.timeout)
        self._suspended[fact.call_id] = self._suspended.get(fact.call_id, 0) + 1
        if fact.call_id in self.calls:
            # A call that only waits leaves its worker to others.
            del self.calls[fact.call_id]
            self._release(fact.at, call)

    def _on_wait_dropped(self, fact: WaitDropped) -> None:
        wait = self._waits.pop(fact.wait_id, None)
        if wait is not None:
            if wait.asks:
                self._close_question()
            if not self._is_suspended_without(wait):
                self._occupy(fact.at, wait.call)
        elif fact.call_id in self._resuming:
            call = self._resuming.pop(fact.call_id)[0]
            self._queues[call.spec.index].remove(call)
            self._occupy(fact.at, call)

    def _on_timer(self, fact: TimerFired) -> None:
        call = self._delayed.pop(fact.timer, None)
        if call is not None:
            call.attempt += 1
            self._queues[call.spec.index].appendleft(call)
            return self._fill(fact.at, call.spec)
        wait = next((w for w in self._waits.values() if w.timer == fact.timer), None)
        if wait is not None:
            if wait.asks:
                self._close_question()
            return self._wake_call(fact.at, wait, None)
        if fact.timer != self._clock_timer:
            return
        active = self.running_steps
        stop = WorkflowTimedOutEvent(timeout=self.timeout, active_steps=active)
        self._end(stop, time_is_up(self.plan, self.timeout, active), "timed out")

    def _on_cancel_asked(self, fact: CancelAsked) -> None:
        error = cancelled(self.plan, fact.reason)
        self._end(WorkflowCancelledEvent(), error, "cancelled")

    def _on_settled(self, fact: Settled) -> None:
        if self.calls or self._delayed:
            return
        asked = bool(self._open_questions or self._waits) or (
            self._asked and self._joins_people()
        )
        unprompted = self.plan.hears_people and not self._asked
        if asked or unprompted or self.wait_when_stalled:
            if asked:
                self._stop_clock(fact.at)
            if self.status != "waiting":
                self.status = "waiting"
                self._out.append(Publish(WorkflowIdleEvent(), internal=True))
            return
        report = diagnose(
            self.plan,
            joins=[join for joins in self._joins.values() for join in joins],
            ran=self._ran,
            last_events=self._recent,
            ended_silent=self._last_silent,
        )
        error = WorkflowStalledError(report)
        self._end(WorkflowTimedOutEvent(timeout=self.timeout), error, "stalled")

    # -- routing -------------------------------------------------------------

    def _route(
        self,
        at: float,
        event: Event,
        step: str | None,
        source: StepCall | None,
        branch: Branch | None,
        *,
        returned: bool = False,
    ) -> None:
        route = self.plan.route(type(event))
        if route.stops and returned:
            assert isinstance(event, StopEvent)
            return self._end(event, None, "done")
        if route.asks:
            self._open_question()
            self._out.append(Publish(event))
        if route.answers:
            self._close_question()
        takers = route.takers
        waited: Wait | None = None
        if self._waits and step is None:
            waited = next((w for w in self._waits.values() if w.fits(event)), None)
        if step is not None:
            takers = (self.plan.by_name[step],)
        elif waited is not None:
            # The step that waits gets the event by its wait alone.
            if waited.asks and not route.answers and source is not None:
                self._close_question()
            takers = tuple(s for s in takers if s is not waited.call.spec)
            self._wake_call(at, waited, event)
        elif not takers and route.answers:
            self._early.append(event)
        elif not takers and not route.asks:
            self._unhandled(event)
        name = type(event).__name__
        self._recent.append(
            (name, tuple(s.name for s in takers), source.spec.name if source else None)
        )
        cause = source.call_id if source else None
        for spec in takers:
            call = StepCall(self._next_call, spec, event, cause, branch)
            self._next_call += 1
            if self._busy[spec.index] < spec.num_workers:
                self._begin(at, call)
            else:
                self._queues[spec.index].append(call)
                self._out.append(CallQueued(call))

    def _wake_call(self, at: float, wait: Wait, event: Event | None) -> None:
        """Let a call go on with the event it waited for; None says time is up."""
        del self._waits[wait.wait_id]
        if wait.timer:
            self._out.append(DropTimer(wait.timer))
        call, resume = wait.call, Resume(wait.wait_id, event)
        if self._is_suspended_without(wait):
            self._out.append(resume)
        elif self._busy[call.spec.index] < call.spec.num_workers:
            self._occupy(at, call)
            self._out.append(resume)
        else:
            self._resuming[call.call_id] = (call, resume)
            self._queues[call.spec.index].appendleft(call)

    def _is_suspended_without(self, wait: Wait) -> bool:
        """Count one wait of a call as over; says whether it has others."""
        call_id = wait.call.call_id
        self._suspended[call_id] -= 1
        if self._suspended[call_id]:
            return True
        del self._suspended[call_id]
        return False

    def _occupy(self, at: float, call: StepCall) -> None:
        """Give a call a worker and count it among the running ones."""
        self._resume(at)
        index = call.spec.index
        free = self._free[index]
        call.worker = free.pop() if free else self._busy[index]
        self._busy[index] += 1
        self.calls[call.call_id] = call

    def _unhandled(self, event: Event) -> None:
        kind = type(event)
        self._out.append(
            Publish(
                UnhandledEvent(
                    event_type=kind.__name__,
                    qualified_name=f"{kind.__module__}.{kind.__qualname__}",
                    idle=not self.calls,
                ),
                internal=True,
            )
        )

    def _begin(self, at: float, call: StepCall) -> None:
        self._occupy(at, call)
        if call.call_id in self._resuming:
            return self._out.append(self._resuming.pop(call.call_id)[1])
        if call.attempt == 1:
            call.first_started = at
            self._ran[call.spec.index] += 1
        self._out.append(StartCall(call))

    def _release(self, at: float, call: StepCall) -> None:
        index = call.spec.index
        self._busy[index] -= 1
        self._free[index].append(call.worker)
        if self._queues[index]:
            self._fill(at, call.spec)

    def _fill(self, at: float, spec: StepSpec) -> None:
        queue = self._queues[spec.index]
        while queue and self._busy[spec.index] < spec.num_workers:
            self._begin(at, queue.popleft())

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
        joins = (join for joins in self._joins.values() for join in joins)
        return any(self.plan.route(k).answers for join in joins for k in join.lacking)

    def _open_question(self) -> None:
        self._asked = True
        self._open_questions += 1

    def _close_question(self) -> None:
        # More answers than questions are no credit for the next question.
        self._open_questions = max(0, self._open_questions - 1)

    # -- the end ---------------------------------------------------------------

    def _fail(self, at: float, call: StepCall, error: BaseException) -> None:
        self._out.append(CallEnded(call, "failed", error=error))
        stop = WorkflowFailedEvent(
            step_name=call.spec.name,
            exception=error,
            attempts=call.attempt,
            elapsed_seconds=at - call.first_started,
        )
        self._end(stop, error, "failed")

    def _end(self, stop: StopEvent, error: BaseException | None, status: str) -> None:
        self.over = True
        self.status = status
        for queue in self._queues:
            queue.clear()
        self._delayed.clear()
        self._joins.clear()
        self._waits.clear()
        self._early.clear()
        self._out.append(Ended(stop, error, status))

    # -- the clock -------------------------------------------------------------

    def _wake(self, at: float) -> int:
        timer = self._next_timer
        self._next_timer += 1
        self._out.append(WakeAt(at, timer))
        return timer

    def _start_clock(self, at: float) -> None:
        if self.timeout is not None:
            self._clock_since = at
            self._clock_timer = self._wake(at + self.timeout - self._clock_used)

    def _stop_clock(self, at: float) -> None:
        if self._clock_since is not None:
            self._clock_used += at - self._clock_since
            self._clock_since = None
            self._out.append(DropTimer(self._clock_timer))
            self._clock_timer = 0

    def _resume(self, at: float) -> None:
        if self.status == "waiting":
            self.status = "running"
            if self._clock_since is None:
                self._start_clock(at)


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
}
