"""Where events go: to which steps, which workers, and into which lists and sets.

The middle of a run's logic: above it `machine` says what each fact means, below
it `state` holds what is known. As there, no await, no clock, no I/O: what is to
be done is put into `_out`, for `run` to carry out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stepwell.calls import (
    NO_RECOVERIES,
    WHOLE,
    Branch,
    Fanout,
    StepCall,
    brought_together,
)
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
        kind = type(event)
        route = self.plan.routes.get(kind) or self.plan.route(kind)
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
        elif self._waits.again and (specs := self._waits.awaited_again(event)):
            takers = tuple(s for s in takers if s not in specs)
            self._waits.early.append(event)
        elif not takers and route.answers:
            self._waits.early.append(event)
        elif not takers and not route.asks:
            self._unhandled(event)
        self._recent.append((kind, takers, source.spec if source else None))
        cause = source.call_id if source else None
        recoveries = source.recoveries if source else NO_RECOVERIES
        for spec in takers:
            if spec.collect is not None:
                self._gather(at, spec, event, branch, recoveries)
            elif spec.joins:
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
        if branch is not None:
            if branch.is_cut():
                return
            branch.fanout.alive += 1
        call = StepCall(self._next_call, spec, event, cause, branch, recoveries)
        self._next_call += 1
        if self._busy[spec.index] < spec.num_workers and not self.over:
            self._begin(at, call)
        else:
            self._admit(at, call)

    def _admit(self, at: float, call: StepCall) -> None:
        """Begin a call, or have it wait for a worker."""
        if self.over:
            return  # a call before it went round too often
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
        if event is not None:
            call.answers = (*call.answers, event)
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
        if self.status == "waiting":
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
        if self._resuming and call.call_id in self._resuming:
            self._occupy(at, call)
            return self._out.append(self._resuming.pop(call.call_id)[1])
        spec = call.spec
        # As in `_occupy`, written out: this happens for every call.
        if self.status == "waiting":
            self._resume(at)
        free = self._free[spec.index]
        call.worker = free.pop() if free else self._busy[spec.index]
        self._busy[spec.index] += 1
        self.calls[call.call_id] = call
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
            fanout, branch = branch.fanout, branch.fanout.parent
            fanout.alive -= 1
            if not fanout.alive:
                self._regroup(at, fanout, outside=False)
            if fanout.alive:
                return
            self._regroup(at, fanout, outside=True)
            self._hand_out(at, fanout)
            if branch is not None:
                self._bring_up(branch, fanout.recoveries)

    def _bring_up(self, branch: Branch, recoveries: Mapping[str, int]) -> None:
        """Note in a list how often its items were helped."""
        fanout = branch.fanout
        fanout.recoveries = brought_together(fanout.recoveries, recoveries)

    def _hand_out(self, at: float, fanout: Fanout) -> None:
        """Give what was gathered in a list to the steps that take it whole."""
        due = self.plan.gatherers(fanout.spec) if fanout.spec else ()
        for spec in self.plan.steps:
            wanted = spec in due and spec.index not in fanout.served
            if (wanted or spec.index in fanout.gathered) and not self.over:
                self._give_list(at, fanout, spec)

    def _give_list(self, at: float, fanout: Fanout, spec: StepSpec) -> None:
        events = fanout.hand_out(spec)
        cause = fanout.number or None
        self._offer(at, spec, events, cause, fanout.parent, fanout.recoveries)

    def _gather(
        self,
        at: float,
        spec: StepSpec,
        event: Event,
        branch: Branch | None,
        recoveries: Mapping[str, int],
    ) -> None:
        """Keep an event for a step that takes a list."""
        home = self._gathered_in(spec, branch)
        self._bring_up(home, recoveries)
        if home.fanout.gather(spec, home.index, event):
            self._give_list(at, home.fanout, spec)
            if home.fanout.cut:
                self._stop_calls(at, lambda call: _stands_in(call, home.fanout))

    def _gathered_in(self, spec: StepSpec, branch: Branch | None) -> Branch:
        """The place of an event in the innermost list of which a step takes such."""
        if branch is None:
            return Branch(self._root, 0)
        for outer in branch.outward():
            made_by = outer.fanout.spec
            if made_by is not None and spec in self.plan.gatherers(made_by):
                return outer
        return branch  # sent by a step whose annotation does not say so

    def _meet(
        self,
        at: float,
        spec: StepSpec,
        event: Event,
        cause: int | None,
        branch: Branch | None,
        recoveries: Mapping[str, int],
    ) -> None:
        """Keep an event for a step with several parameters, until all have come."""
        fanout, where = self._root, WHOLE
        if branch is not None:
            fanout = branch.fanout
            # Items of a list meet each other at once. What is made of them meets
            # what is made of the same item, until the list has ended.
            where = WHOLE if fanout.number == cause else branch.index + 1
        join = fanout.joins.get((where, spec.index))
        if join is None:
            join = fanout.joins[where, spec.index] = Join(spec, "", spec.accepts)
        join.add(event, branch.place if branch else None)
        join.recoveries = brought_together(join.recoveries, recoveries)
        if join.missing:
            return
        recoveries, taken = join.recoveries, join.take()
        if not any(join.have.values()):
            del fanout.joins[where, spec.index]
        if branch is not None:
            first = min(place[1] for place, _ in taken if place is not None)
            branch = Branch(fanout, first)
        events = tuple(event for _, event in taken)
        self._offer(at, spec, events, cause, branch, recoveries)

    def _regroup(self, at: float, fanout: Fanout, *, outside: bool) -> None:
        """Let what has met nothing yet meet across a list's items, or outside it."""
        kept, fanout.joins = fanout.joins, {}
        if fanout.cut:
            return
        for key in sorted(kept):
            join, cause = kept[key], fanout.number
            for place, event in join.rest():
                assert place is not None
                branch = fanout.parent if outside else Branch(fanout, place[1])
                self._meet(at, join.step, event, cause, branch, join.recoveries)

    def _stop_calls(self, at: float, concerned: Callable[[StepCall], bool]) -> None:
        """Stop calls wherever they are: queued, delayed, waiting or running."""
        idle: list[StepCall] = []
        for queue in self._queues:
            resuming = self._resuming
            gone = [c for c in queue if c.call_id not in resuming and concerned(c)]
            for call in gone:
                queue.remove(call)
            idle += gone
        for timer, (call, _) in tuple(self._delayed.items()):
            if concerned(call):
                del self._delayed[timer]
                self._out.append(DropTimer(timer))
                idle.append(call)
        begun = [*self.calls.values(), *(w.call for w in self._waits.open.values())]
        begun += [call for call, _ in self._resuming.values()]
        for call in begun:
            if concerned(call) and call.call_id not in self._stopping:
                self._stopping.add(call.call_id)
                self._out.append(StopCall(call))
        # Last, for a list that ends by it may start new calls, and those go on.
        for call in idle:
            if not self.over:
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
            # Only a run that had begun and that somebody stopped is one to go on with.
            left = self.snapshot(at)
            resumable = left.is_running and status == "cancelled"
            self.left = left._replace(is_running=resumable)
        self.over = True
        self.status = status
        self.calls.clear()
        for queue in self._queues:
            queue.clear()
        self._delayed.clear()
        self._joins.clear()
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
        self._clock_since = at
        if self.timeout is not None:
            self._clock_timer = self._wake(at + self.timeout - self._clock_used)

    def _stop_clock(self, at: float) -> None:
        if self._clock_since is not None:
            self._clock_used += at - self._clock_since
            self._clock_since = None
            if self._clock_timer:
                self._out.append(DropTimer(self._clock_timer))
                self._clock_timer = 0

    def _resume(self, at: float) -> None:
        if self.status == "waiting":
            self.status = "running"
        if self._clock_since is None:
            self._start_clock(at)


def _stands_in(call: StepCall, fanout: Fanout) -> bool:
    return call.branch is not None and call.branch.is_within(fanout)
