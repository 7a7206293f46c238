"""Where events go: to which steps, which workers, and into which lists and sets.

The middle of a run's logic: above it `machine` says what each fact means, below
it `state` holds what is known. As there, no await, no clock, no I/O: what is to
be done is put into `_out`, for `run` to carry out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from stepwell.calls import Branch, Fanout, StepCall
from stepwell.commands import (
    CallEnded,
    CallQueued,
    Command,
    DropTimer,
    Ended,
    Publish,
    Resume,
    StartCall,
    StopCall,
    WakeAt,
)
from stepwell.diagnosis import too_many_visits
from stepwell.events import Event, StopEvent, UnhandledEvent, WorkflowFailedEvent
from stepwell.joins import Join
from stepwell.plan import Plan
from stepwell.signature import StepSpec
from stepwell.state import RunState
from stepwell.waits import Wait

__all__ = ["Routing"]

_NONE: Mapping[str, int] = {}


class Routing(RunState):
    """Routes events and begins calls."""

    def __init__(self, plan: Plan, timeout: float | None) -> None:
        super().__init__(plan, timeout)
        self._out: list[Command] = []

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
            return self._end(at, event, None, "done")
        if route.asks:
            self._questions.ask()
            self._out.append(Publish(event))
        if route.answers:
            self._questions.answer()
        takers = route.takers
        waited: Wait | None = None
        if self._waits.open and step is None:
            waited = self._waits.fitting(event)
        if step is not None:
            takers = (self.plan.by_name[step],)
        elif waited is not None:
            # The step that waits gets the event by its wait alone.
            if waited.asks and not route.answers and source is not None:
                self._questions.answer()
            takers = tuple(s for s in takers if s is not waited.call.spec)
            self._wake_call(at, waited, event)
        elif not takers and route.answers:
            self._waits.early.append(event)
        elif not takers and not route.asks:
            self._unhandled(event)
        came = source.spec.name if source else None
        self._recent.append((type(event).__name__, tuple(s.name for s in takers), came))
        cause = source.call_id if source else None
        recoveries = source.recoveries if source else _NONE
        for spec in takers:
            if spec.joins:
                self._meet(at, spec, event, cause, branch, recoveries)
            else:
                self._offer(at, spec, event, cause, branch, recoveries)

    def _offer(
        self,
        at: float,
        spec: StepSpec,
        event: Any,
        cause: int | None,
        branch: Branch | None,
        recoveries: Mapping[str, int],
    ) -> None:
        call = StepCall(self._next_call, spec, event, cause, branch, recoveries)
        self._next_call += 1
        if branch is not None:
            branch.fanout.alive += 1
        self._admit(at, call)

    def _admit(self, at: float, call: StepCall) -> None:
        """Begin a call, or have it wait for a worker."""
        index = call.spec.index
        if self._busy[index] < call.spec.num_workers:
            self._begin(at, call)
        else:
            self._queues[index].append(call)
            self._out.append(CallQueued(call))

    def _wake_call(self, at: float, wait: Wait, event: Event | None) -> None:
        """Let a call go on with the event it waited for; None says time is up."""
        if wait.timer:
            self._out.append(DropTimer(wait.timer))
        call, resume = wait.call, Resume(wait.wait_id, event)
        if not self._waits.remove(wait):
            self._out.append(resume)
        elif self._busy[call.spec.index] < call.spec.num_workers:
            self._occupy(at, call)
            self._out.append(resume)
        else:
            self._resuming[call.call_id] = (call, resume)
            self._queues[call.spec.index].appendleft(call)

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
        if self._resuming and call.call_id in self._resuming:
            return self._out.append(self._resuming.pop(call.call_id)[1])
        spec = call.spec
        if call.attempt == 1:
            call.first_started = at
            self._ran[spec.index] += 1
            if spec.max_visits is not None and self._ran[spec.index] > spec.max_visits:
                return self._fail(at, call, too_many_visits(self.plan, call))
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

    # -- lists and sets of events ----------------------------------------------

    def _fan_out(self, at: float, call: StepCall, events: list[Event]) -> None:
        """Route the events of a returned list, each on a branch of its own."""
        parent = call.branch
        fanout = Fanout(call.call_id, call.spec, parent, call.recoveries)
        fanout.alive = 1  # the list itself, until all its events are routed
        if parent is not None:
            parent.fanout.alive += 1
        for index, event in enumerate(events):
            branch = Branch(fanout, index)
            self._route(at, event, None, call, branch, returned=True)
            if self.over:
                return
        self._leave(at, Branch(fanout, 0))

    def _leave(self, at: float, branch: Branch | None) -> None:
        """One call or inner list less on this branch; the last one ends its list."""
        while branch is not None and not self.over:
            fanout = branch.fanout
            fanout.alive -= 1
            if fanout.alive:
                return
            assert fanout.spec is not None
            self._hand_out(at, fanout, self.plan.gatherers(fanout.spec))
            for held, index in sorted(fanout.holding, key=lambda pair: pair[0].index):
                join = self._meetings.pop((held, index), None)
                for event in join.rest() if join else ():
                    # Now that the list is worked through, across its items.
                    self._meet(
                        at,
                        self.plan.steps[index],
                        event,
                        fanout.number,
                        fanout.parent,
                        fanout.recoveries,
                    )
            branch = fanout.parent

    def _hand_out(self, at: float, fanout: Fanout, takers: Iterable[StepSpec]) -> None:
        """Give what was gathered in a list to the steps that take it whole."""
        for spec in takers:
            if spec.index in fanout.served or (
                fanout is self._root and spec.index not in fanout.gathered
            ):
                continue
            self._give_list(at, fanout, spec)
            if self.over:
                return

    def _give_list(self, at: float, fanout: Fanout, spec: StepSpec) -> None:
        events = fanout.hand_out(spec)
        cause = fanout.number or None
        self._offer(at, spec, events, cause, fanout.parent, fanout.recoveries)

    def _meet(
        self,
        at: float,
        spec: StepSpec,
        event: Event,
        cause: int | None,
        branch: Branch | None,
        recoveries: Mapping[str, int],
    ) -> None:
        """Keep an event for a step that takes several, until they are together."""
        if spec.collect is not None:
            fanout, place = self._gathered_in(spec, branch)
            if fanout.gather(spec, place, event):
                self._give_list(at, fanout, spec)
                if spec.collect.cancel_rest and fanout.number:
                    self._stop_calls(
                        at, lambda call: _stands_in(call, fanout) and not self.over
                    )
            return
        # The items of a list meet each other at once; what is made of them meets
        # what is made of the same item, and the rest when the list has ended.
        if branch is not None and branch.fanout.number == cause:
            branch = branch.fanout.parent
        join = self._meetings.get((branch, spec.index))
        if join is None:
            join = Join(spec, "", spec.accepts)
            self._meetings[branch, spec.index] = join
            if branch is not None:
                branch.fanout.holding.append((branch, spec.index))
        join.add(event, branch, again=False)
        if not join.missing:
            events = tuple(join.take())
            if not any(join.have.values()):
                del self._meetings[branch, spec.index]
            self._offer(at, spec, events, cause, branch, recoveries)

    def _gathered_in(self, spec: StepSpec, branch: Branch | None) -> tuple[Fanout, int]:
        """The innermost list whose events this step takes, and the place in it."""
        while branch is not None:
            made_by = branch.fanout.spec
            if made_by is not None and spec in self.plan.gatherers(made_by):
                return branch.fanout, branch.index
            branch = branch.fanout.parent
        return self._root, 0

    def _stop_calls(self, at: float, concerned: Callable[[StepCall], bool]) -> None:
        """Stop calls wherever they are: queued, delayed, waiting or running."""
        for queue in self._queues:
            for call in [c for c in queue if concerned(c)]:
                if call.call_id not in self._resuming:
                    queue.remove(call)
                    self._drop(at, call)
        for timer, (call, _) in tuple(self._delayed.items()):
            if concerned(call):
                del self._delayed[timer]
                self._out.append(DropTimer(timer))
                self._drop(at, call)
        begun = [*self.calls.values(), *(w.call for w in self._waits.open.values())]
        begun += [call for call, _ in self._resuming.values()]
        for call in begun:
            if concerned(call) and call.call_id not in self._stopping:
                self._stopping.add(call.call_id)
                self._out.append(StopCall(call))

    def _drop(self, at: float, call: StepCall) -> None:
        """Let a call go that holds no worker."""
        self._out.append(CallEnded(call, "cancelled"))
        self._leave(at, call.branch)

    # -- the end ---------------------------------------------------------------

    def _fail(self, at: float, call: StepCall, error: BaseException) -> None:
        self._out.append(CallEnded(call, "failed", error=error))
        stop = WorkflowFailedEvent(
            step_name=call.spec.name,
            exception=error,
            attempts=call.attempt,
            elapsed_seconds=at - call.first_started,
        )
        self.calls[call.call_id] = call  # it is among what is left to do
        self._end(at, stop, error, "failed")

    def _end(
        self, at: float, stop: StopEvent, error: BaseException | None, status: str
    ) -> None:
        if error is not None:
            # Only a run that somebody stopped is one to go on with.
            resumable = status == "cancelled"
            self.left = replace(self.snapshot(at), is_running=resumable)
        self.over = True
        self.status = status
        self.calls.clear()
        for queue in self._queues:
            queue.clear()
        self._delayed.clear()
        self._joins.clear()
        self._meetings.clear()
        self._waits.clear()
        self._root = Fanout(0, None, None)
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


def _stands_in(call: StepCall, fanout: Fanout) -> bool:
    return call.branch is not None and call.branch.is_within(fanout)
