"""Where events go: to which steps, and into which lists and sets.

The middle of a run's logic: above it `machine` says what each fact means, below it
`staffing` has calls begin and `state` holds what is known. As there, no await, no
clock, no I/O: what is to be done is put into `_out`, for `cycle` to carry out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from stepwell.attempts import add_note, step_failed
from stepwell.calls import (
    NO_RECOVERIES,
    NOTHING,
    WHOLE,
    Branch,
    Fanout,
    StepCall,
    brought_together,
)
from stepwell.commands import (
    DropTimer,
    Publish,
    StopCall,
)
from stepwell.diagnosis import RECENT, check_expected
from stepwell.events import (
    Event,
    HumanResponseEvent,
    StopEvent,
    UnhandledEvent,
)
from stepwell.joins import Join
from stepwell.plan import Route
from stepwell.questions import Question, answer_class
from stepwell.signature import StepSpec
from stepwell.staffing import Staffing
from stepwell.waits import Wait

__all__ = ["Routing"]

# The last events are cut to those that are told of when there are so many.
_MANY_RECENT = 50


class Routing(Staffing):
    """Routes events."""

    __slots__ = ()

    def _route(
        self,
        at: float,
        event: Event,
        route: Route,
        source: StepCall | None,
        branch: Branch | None,
        step: str | None = None,
    ) -> None:
        """Hand an event, which does not end the run, to the steps that take it."""
        if source is not None:
            cause, recoveries = source.call_id, source.recoveries
        else:
            cause, recoveries = None, NO_RECOVERIES
        spec = route.only
        if spec is not None and step is None and not self._waits.any:
            return self._offer(at, spec, event, cause, branch, recoveries)
        takers = route.takers
        if not route.plain or step is not None or self._waits.any:
            takers = self._route_aside(at, event, route, source, step)
        # For the diagnosis of a stall; what is handed to one step is seen by its call.
        if self._recent is None:
            self._recent = []
        self._recent.append(
            (self._next_call, type(event), takers, source.spec if source else None)
        )
        if len(self._recent) > _MANY_RECENT:
            del self._recent[:-RECENT]
        for spec in takers:
            if not spec.joins:
                self._offer(at, spec, event, cause, branch, recoveries)
            elif spec.collect is not None:
                self._gather(at, spec, event, branch, recoveries)
            else:
                self._meet(at, spec, event, cause, branch, recoveries)

    def _route_aside(
        self,
        at: float,
        event: Event,
        route: Route,
        source: StepCall | None,
        step: str | None,
    ) -> tuple[StepSpec, ...]:
        """What an event does besides starting steps; gives the steps it starts.

        It asks or answers somebody, ends a wait, goes to one step alone, or nowhere.
        """
        if route.asks:
            self._ask(at, event, source)
        if route.answers:
            self._answered_by(event, step)
        if step is not None:
            return (self.plan.by_name[step],)
        takers = route.takers
        waited = self._waits.fitting(event) if self._waits.open else None
        if waited is not None:
            # The step that waits gets the event by its wait alone.
            if waited.asks and not route.answers and source is not None:
                self._waits.answer(event, waited)
            takers = tuple(s for s in takers if s is not waited.call.spec)
            self._wake_call(at, waited, event)
        elif self._waits.again and (specs := self._waits.awaited_again(event)):
            takers = tuple(s for s in takers if s not in specs)
            self._own_waits().keep(event)
        elif not takers and route.answers:
            self._own_waits().keep(event)
        elif not takers and not route.asks:
            self._unhandled(event)
        return takers

    def _ask(
        self, at: float, event: Event, source: StepCall | None, wait: Wait | None = None
    ) -> None:
        """Show a question, and keep it until it is answered."""
        kind = wait.kind if wait else answer_class(type(event), self.plan.heard)
        call_id = source.call_id if source else 0
        question = Question(
            event,
            kind,
            step=source.spec.name if source else "",
            call_id=call_id,
            workflow=self.plan.name,
            asked_at=at,
            requirements=wait.requirements if wait else None,
            timeout=wait.timeout if wait else None,
            wait_id=wait.wait_id if wait else 0,
        )
        self._own_waits().ask(question)
        self._out.append(Publish(event, call_id=call_id))

    def _answered_by(self, event: Event, step: str | None) -> None:
        """Note what question an event answers, or may answer."""
        waits = self._waits
        if waits.questions:
            # What goes to one step does not end a wait. What answers people give is
            # known where steps take it; else it may be anything.
            wait = waits.fitting(event) if step is None else None
            known = isinstance(event, HumanResponseEvent) or not self.plan.hears_people
            waits.answer(event, wait, loosely=known or wait is not None)

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

    # -- the end of calls ------------------------------------------------------

    def _depart(self, at: float, call: StepCall) -> None:
        """Let a call that has come to its end go: its worker, its part in a list."""
        if not self.over:
            self._release(at, call)
            branch = call.branch
            if branch is not None:
                self._bring_up(branch, call.recoveries)
                self._leave(at, branch)

    def _stopped(self, at: float, call: StepCall) -> None:
        """A call that was told to stop has come to its end, however it did."""
        call.stopping = False
        self.record.write_ended(call, at, "cancelled")
        self._depart(at, call)

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
        self.record.write_ended(call, at, "failed", error=error)
        event = step_failed(call, error, at, self.wall)
        recoveries = {**call.recoveries, catcher.name: helped + 1, both: helped + 1}
        self._offer(at, catcher, event, call.call_id, call.branch, recoveries)
        self._depart(at, call)

    # -- lists and sets of events ----------------------------------------------

    def _fan_out(self, at: float, call: StepCall, events: list[Event]) -> None:
        """Route the events of a returned list, each on a branch of its own."""
        parent = call.branch
        fanout = Fanout(call.call_id, call.spec, parent, call.recoveries)
        fanout.alive = 1  # the list itself, until all its events are routed
        if parent is not None:
            parent.fanout.alive += 1
        routes = self.plan.routes
        for index, event in enumerate(events):
            kind = type(event)
            route = routes.get(kind) or self.plan.route(kind)
            if route.stops:
                assert isinstance(event, StopEvent)
                return self._end(at, event, None, "done")
            self._route(at, event, route, call, Branch(fanout, index))
            if self.over:
                return self._lose_track() if index + 1 < len(events) else None
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
        if recoveries:
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
            return Branch(self._whole(), 0)
        outer: Branch | None = branch
        while outer is not None:
            made_by = outer.fanout.spec
            if made_by is not None and spec in self.plan.gatherers(made_by):
                return outer
            outer = outer.fanout.parent
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
        fanout, where = self._whole() if branch is None else branch.fanout, WHOLE
        if branch is not None:
            # Items of a list meet each other at once. What is made of them meets
            # what is made of the same item, until the list has ended.
            where = WHOLE if fanout.number == cause else branch.index + 1
        join = fanout.joins.get((where, spec.index))
        if join is None:
            join = fanout.keep(Join(spec, "", spec.accepts), where)
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
        kept, fanout.joins = fanout.joins, NOTHING
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
        for call in self._queued():
            if call.call_id not in self._resuming and concerned(call):
                call.workers.remove(call)
                idle.append(call)
        for timer, (call, _) in tuple(self._delayed.items()):
            if concerned(call):
                del self._delayed[timer]
                self._out.append(DropTimer(timer))
                idle.append(call)
        begun = [*self.calls.values(), *(w.call for w in self._waits.open.values())]
        begun += [call for call, _ in self._resuming.values()]
        for call in begun:
            if concerned(call) and not call.stopping:
                call.stopping = True
                self._out.append(StopCall(call))
        # Last, for a list that ends by it may start new calls, and those go on.
        for call in idle:
            if not self.over:
                self.record.write_ended(call, at, "cancelled")
                self._leave(at, call.branch)

    def _join(
        self, spec: StepSpec, buffer_id: str, expected: Sequence[type[Event]]
    ) -> Join:
        joins = self._joins.get((spec.index, buffer_id), ())
        for join in joins:
            if join.is_of(expected):
                return join
        # Different `expected` lists of one step are different joins.
        for join in joins:
            if join.expected == expected:
                join.given = expected
                return join
        check_expected(self.plan, spec, expected)
        made = Join(spec, buffer_id, expected)
        self._keep_join(made)
        return made

    def _joins_people(self) -> bool:
        """Whether a begun join still lacks an answer of a person."""
        joins = [join for joins in self._joins.values() for join in joins]
        joins += self._whole().joins.values()
        return any(self.plan.route(k).answers for join in joins for k in join.lacking)


def _stands_in(call: StepCall, fanout: Fanout) -> bool:
    return call.branch is not None and call.branch.is_within(fanout)
