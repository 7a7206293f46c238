"""What a run has left to do, as plain data to go on from later.

Taken down, and taken up again, in `state`; its form on paper is in `snapshots`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from stepwell.errors import ContextStateError
from stepwell.events import Event, StepFailedEvent
from stepwell.graph import accepts, same_class
from stepwell.joins import Place
from stepwell.plan import Plan
from stepwell.questions import Question
from stepwell.signature import StepSpec

__all__ = ["CallLeft", "FanoutLeft", "JoinLeft", "Place", "Snapshot"]

_NOTHING: Mapping[str, Any] = {}


class CallLeft(NamedTuple):
    """A call that had not come to its end.

    Attributes:
        running: Whether it had begun and begins again: what it did is done twice.
        attempt: Which attempt is to come, or was going on.
        delay: Seconds until then, for one that is to be tried again.
        spent: Seconds since its first attempt began.
        last_failed: When the attempt before failed, in epoch seconds.
        answers: What it got by waiting, for the next time it waits for that.
        awaited: Names of the classes it was waiting for.
    """

    step: str
    event: Any
    attempt: int = 1
    call_id: int = 0
    caused_by: int | None = None
    place: Place | None = None
    recoveries: Mapping[str, int] = _NOTHING
    taken: tuple[tuple[str, list[type[Event]], tuple[Event, ...]], ...] = ()
    delay: float | None = None
    spent: float = 0.0
    last_error: BaseException | None = None
    last_failed: float | None = None
    answers: tuple[Event, ...] = ()
    awaited: tuple[str, ...] = ()
    running: bool = False


class FanoutLeft(NamedTuple):
    """A list on whose items work was going on; steps are named."""

    number: int
    step: str | None
    place: Place | None = None
    gathered: Mapping[str, list[tuple[int, Event]]] = _NOTHING
    served: tuple[str, ...] = ()
    recoveries: Mapping[str, int] = _NOTHING


class JoinLeft(NamedTuple):
    """A set of events that was not whole.

    `at` says in which list they meet, and at which item of it, from 1 (or `WHOLE`);
    None for `ctx.collect_events`, and for event parameters outside all lists.
    """

    step: str
    buffer_id: str
    expected: list[type[Event]]
    have: list[tuple[Place | None, Event]]
    at: Place | None = None
    recoveries: Mapping[str, int] = _NOTHING


class Snapshot(NamedTuple):
    """What a run had left to do; `elapsed` is what its clock had used, in seconds."""

    calls: Sequence[CallLeft] = ()
    fanouts: Sequence[FanoutLeft] = ()
    joins: Sequence[JoinLeft] = ()
    early: Sequence[Event] = ()
    open_questions: int = 0
    asking: Sequence[Question] = ()
    asked: bool = False
    visits: Mapping[str, int] = _NOTHING
    elapsed: float = 0.0
    next_call: int = 1
    is_running: bool = True

    @property
    def may_go_on(self) -> bool:
        """Whether a run could go on from here, by itself or once it is sent something.

        One that was stopped could; of the others, one that has work left.
        """
        gathered = any(fanout.gathered for fanout in self.fanouts)
        work = bool(self.calls or self.open_questions or gathered)
        return self.is_running or work

    def check(self, plan: Plan) -> None:
        """Refuse a workflow that cannot go on from here.

        Raises:
            ContextStateError: A step is gone, or does not take its event any more.
        """
        strange = self.steps - plan.by_name.keys()
        if strange:
            raise ContextStateError(
                f"this context was saved in a run that has work for "
                f"{', '.join(sorted(strange))}, and {plan.name} has no such step.",
                hint="Restore it for the workflow that is to use it.",
                workflow=plan.name,
            )
        given = [(call.step, call.event) for call in self.calls]
        for fanout in self.fanouts:
            for step, held in fanout.gathered.items():
                given.append((step, [event for _, event in held]))
        for step, event in given:
            if not _takes(plan.by_name[step], event):
                parts = event if isinstance(event, list | tuple) else [event]
                _refuse(plan, step, [type(part) for part in parts])
        for join in self.joins:
            spec = plan.by_name[join.step]
            if not join.buffer_id and not (
                spec.joins
                and spec.collect is None
                and len(spec.accepts) == len(join.expected)
                and all(map(same_class, join.expected, spec.accepts))
            ):
                _refuse(plan, join.step, join.expected)

    def to_go_on(self) -> Snapshot:
        """The same for a run that somebody goes on with by hand.

        What had failed, or was at work, is tried as if for the first time, and the
        clock begins anew.
        """
        visits = dict(self.visits)
        calls = []
        for call in self.calls:
            if call.running:
                visits[call.step] = visits.get(call.step, 0) - (call.attempt > 1)
                call = call._replace(
                    attempt=1, spent=0.0, last_error=None, last_failed=None
                )
            taken = tuple((b, _newest(kinds), e) for b, kinds, e in call.taken)
            calls.append(call._replace(taken=taken))
        # A cell that was run again may have defined events anew, and collects those.
        joins = [join._replace(expected=_newest(join.expected)) for join in self.joins]
        return self._replace(
            calls=calls,
            joins=joins,
            asking=[question.asked_again() for question in self.asking],
            visits=visits,
            elapsed=0.0,
            is_running=True,
        )

    @property
    def steps(self) -> set[str]:
        """Names of the steps that have something left to do."""
        lists = {fanout.step for fanout in self.fanouts if fanout.step}
        gathering = {step for fanout in self.fanouts for step in fanout.gathered}
        calls = {call.step for call in self.calls}
        return calls | lists | gathering | {join.step for join in self.joins}


def _newest(kinds: Sequence[type[Event]]) -> list[type[Event]]:
    return [kind.newest for kind in kinds]


def _takes(spec: StepSpec, event: Any) -> bool:
    """Whether a step takes what one of its name was given: an event, a list, a set."""
    parts = event if isinstance(event, list | tuple) else [event]
    if isinstance(event, list):
        fits = spec.collect is not None
    elif isinstance(event, tuple):
        fits = spec.collect is None and spec.joins and len(parts) == len(spec.accepts)
    else:
        fits = not spec.joins
    kinds = [type(part) for part in parts]
    return fits and all(
        accepts(spec, k) or (spec.catches_errors and issubclass(k, StepFailedEvent))
        for k in kinds
    )


def _refuse(plan: Plan, step: str, kinds: Sequence[type[Event]]) -> NoReturn:
    names = ", ".join(dict.fromkeys(kind.__name__ for kind in kinds)) or "nothing"
    raise ContextStateError(
        f"step `{step}` of {plan.name} was to begin again on {names}, which it no "
        "longer takes in that way.",
        hint="Let it take that as it did before, or start a new run.",
        workflow=plan.name,
        step=step,
        event=names,
    )
