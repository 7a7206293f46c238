"""The compiled workflow: which steps take an event, and what a step may return.

A `Plan` is made once for each workflow class and read at every event. It
refuses what cannot go anywhere, saying what would have been accepted. The
checks of the graph as a whole, and its picture, are in `graph`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from typing import Any

from pydantic import ValidationError

from stepwell.calls import StepCall
from stepwell.edges import start_class, state_class, stop_classes
from stepwell.errors import (
    WorkflowRuntimeError,
    WorkflowStepDoesNotExistError,
    WorkflowValidationError,
    did_you_mean,
)
from stepwell.events import (
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
)
from stepwell.graph import accepts, find_gatherers, find_problems, two_of
from stepwell.hints import about_sent, about_stop, about_value
from stepwell.signature import StepSpec

__all__ = ["Plan", "Route"]


class Route:
    """Where events of one class go.

    Attributes:
        takers: The steps that accept the class.
        stops: Whether returning it ends the run.
        asks: Whether it asks somebody outside.
        answers: Whether it is somebody's answer.
        plain: Whether it only starts steps.
        only: The one step that it starts, where it does no more than that.
        outputs: The name of the class, as all that a call has returned.
    """

    __slots__ = ("answers", "asks", "only", "outputs", "plain", "stops", "takers")

    def __init__(self, kind: type[Event], takers: tuple[StepSpec, ...]) -> None:
        self.takers = takers
        self.stops = issubclass(kind, StopEvent)
        self.asks = issubclass(kind, InputRequiredEvent)
        self.answers = issubclass(kind, HumanResponseEvent)
        aside = self.stops or self.asks or self.answers
        self.plain = bool(takers) and not aside
        alone = self.plain and len(takers) == 1 and not takers[0].joins
        self.only = takers[0] if alone else None
        self.outputs = (kind.__name__,)


class Plan:
    """The steps of one workflow class, compiled for routing.

    Args:
        name: Name of the workflow, for messages.
        steps: The specs; copied, and numbered by `index`.
        undecorated: Methods that look like steps and are none, for messages.
        description: The docstring of the class.

    Raises:
        WorkflowConfigurationError: No step can start or stop a run, or more than
            one class of start event is accepted.
    """

    def __init__(
        self,
        name: str,
        steps: Sequence[StepSpec],
        description: str | None = None,
        *,
        undecorated: Sequence[str] = (),
    ) -> None:
        names = ", ".join(f"`{forgotten}`" for forgotten in undecorated)
        self._advice = names and (
            f"Not decorated with @step: {names}. Put @step right above each step."
        )
        self.name = name
        self.description = description
        # Copies, because a spec that subclasses share has a place in each plan.
        self.steps = tuple(copy(spec) for spec in steps)
        self.by_name = {spec.name: spec for spec in self.steps}
        for index, spec in enumerate(self.steps):
            spec.index = index
            spec.passed = ({}, {})
        self.routes: dict[type[Event], Route] = {}
        self._gatherers: dict[int, tuple[StepSpec, ...]] = {}
        self._catchers = _catchers(self.steps)
        self._sound: set[tuple[bool, frozenset[str]]] = set()
        self._allowed: dict[tuple[int, type[Event], bool], bool] = {}
        # The classes of answers from people that steps take.
        self.heard = [
            kind
            for kind in dict.fromkeys(k for s in steps for k in s.accepts)
            if issubclass(kind, HumanResponseEvent)
        ]
        self.hears_people = bool(self.heard)
        self.start_class = start_class(name, self.steps, self._advice)
        self.stop_classes = stop_classes(name, self.steps, self._advice)
        self.state_type = state_class(name, self.steps)

    # -- routing -----------------------------------------------------------

    def route(self, kind: type[Event]) -> Route:
        """The route of an event class; worked out at its first sight."""
        found = self.routes.get(kind)
        if found is None:
            takers = tuple(s for s in self.steps if accepts(s, kind))
            found = self.routes[kind] = Route(kind, takers)
        return found

    def catcher(self, spec: StepSpec) -> StepSpec | None:
        """The `@catch_error` step that is called when this one fails for good."""
        return self._catchers.get(spec.index)

    def gatherers(self, spec: StepSpec) -> tuple[StepSpec, ...]:
        """The steps that take as a list what becomes of a list this step returns."""
        found = self._gatherers.get(spec.index)
        if found is None:
            found = tuple(find_gatherers(self.steps, spec, self.catcher))
            self._gatherers[spec.index] = found
        return found

    def may_return(self, spec: StepSpec, kind: type[Event], *, listed: bool) -> bool:
        """Whether a step's annotation allows it to return this class, alone or not."""
        key = (spec.index, kind, listed)
        found = self._allowed.get(key)
        if found is None:
            anyhow = listed or Event in spec.returns
            allowed = spec.returns if anyhow else spec.bare
            found = self._allowed[key] = any(issubclass(kind, r) for r in allowed)
        return found

    def check_step(
        self, step: str, source: str | None, event: str | None = None
    ) -> StepSpec:
        """The step of this name.

        Raises:
            WorkflowStepDoesNotExistError: There is none; the message names what is.
        """
        spec = self.by_name.get(step) if isinstance(step, str) else None
        if spec is None:
            raise WorkflowStepDoesNotExistError(
                f"{self.name} has no step {step!r}."
                f"{did_you_mean(str(step), self.by_name)}",
                hint=f"It has: {', '.join(self.by_name)}.",
                workflow=self.name,
                step=source,
                event=event,
            )
        return spec

    def check_sent(
        self,
        event: object,
        step: str | None,
        source: str | None,
        *,
        awaited: bool = False,
    ) -> None:
        """Refuse an event that cannot go anywhere.

        Args:
            event: What is being sent.
            step: The step it is addressed to, if to one alone.
            source: The step that sends it, None from outside.
            awaited: Whether a call waits for it.

        Raises:
            WorkflowRuntimeError: It is no event, ends runs only when returned, or
                no step accepts its class.
            WorkflowStepDoesNotExistError: There is no step of that name.
        """
        if not isinstance(event, Event):
            shown, advice = about_sent(event)
            raise WorkflowRuntimeError(
                f"send_event takes an Event, not {shown}.",
                hint=advice,
                workflow=self.name,
                step=source,
            )
        kind = type(event)
        route = self.route(kind)
        where: Any = {"workflow": self.name, "step": source, "event": kind.__name__}
        if step is not None and not issubclass(kind, StepFailedEvent):
            spec = self.check_step(step, source, kind.__name__)
            if spec not in route.takers:
                raise WorkflowRuntimeError(
                    f"step `{step}` does not accept {kind.__name__}; it accepts "
                    f"{_names(spec.accepts)}.",
                    **where,
                )
        elif route.stops or not (
            route.takers or route.asks or route.answers or awaited
        ):
            raise WorkflowRuntimeError(self.nobody_takes(kind), **where)

    def nobody_takes(self, kind: type[Event]) -> str:
        """Say that no step accepts a class, and what would have been accepted."""
        if issubclass(kind, StopEvent):
            return (
                f"{kind.__name__} ends a run only when a step returns it; "
                "send_event does not stop the run.\n"
                f"Write `return {kind.__name__}(…)` in the step."
            )
        if issubclass(kind, StepFailedEvent):
            return (
                f"a {kind.__name__} is made by the run when a step fails for good; "
                "nobody else can send one.\nRaise an exception in the step, and its "
                "@catch_error step is called."
            )
        taking = [spec for spec in self.steps if not spec.catches_errors]
        accepted = {k.__name__: k for spec in taking for k in spec.accepts}
        namesake = _namesake(kind, accepted.values())
        if namesake:
            return f"no step of {self.name} accepts this {kind.__name__}.\n" + two_of(
                kind, namesake
            )
        for base in kind.__mro__[1:]:
            if base.__name__ in accepted and accepted[base.__name__] is base:
                return (
                    f"no step of {self.name} accepts {kind.__name__}. `"
                    f"{self.route(base).takers[0].name}` accepts its base class "
                    f"{base.__name__}, but routing goes by the exact class.\n"
                    "Write @step(accept_event_subclasses=True) there, or name "
                    f"{kind.__name__} in its annotation."
                )
        return (
            f"no step of {self.name} accepts {kind.__name__}; accepted are: "
            f"{', '.join(accepted)}.{did_you_mean(kind.__name__, accepted)}\n"
            f"Annotate the event parameter of a step with {kind.__name__}."
        )

    def wrong_return(
        self, call: StepCall, values: Sequence[Any], *, listed: bool
    ) -> WorkflowRuntimeError | None:
        """The error of a call that returned what its step may not; None if it may."""
        spec = call.spec
        passed = spec.passed[listed]
        for value in values:
            known = passed.get(type(value))
            if known and not (known.stops and about_stop(value)):
                continue
            where: Any = {
                "workflow": self.name,
                "step": spec.name,
                "event": call.event_name,
                "attempt": call.attempt,
            }
            leaves_open = spec.listed or Event in spec.returns
            if listed and not leaves_open and isinstance(value, Event):
                return WorkflowRuntimeError(
                    f"step `{spec.name}` of {self.name} returned a list, but its "
                    f"annotation says {_annotated(spec)}.",
                    hint=f"Write `-> list[{type(value).__name__}]`, or return a single "
                    "one.",
                    **where,
                )
            if not isinstance(value, Event):
                shown, advice = about_value(value, spec.returns)
                return WorkflowRuntimeError(
                    f"step `{spec.name}` of {self.name} returned {shown} instead of an "
                    "Event instance.",
                    hint=advice,
                    **where,
                )
            kind = type(value)
            if not self.may_return(spec, kind, listed=listed):
                wanted = f"list[{kind.__name__}]" if listed else kind.__name__
                namesake = _namesake(kind, spec.returns)
                return WorkflowRuntimeError(
                    f"step `{spec.name}` of {self.name} returned {kind.__name__}, "
                    f"but its annotation says {_annotated(spec)}.",
                    hint=two_of(kind, namesake)
                    if namesake
                    else f"Write `-> {_annotated(spec)} | {wanted}`, or return what it "
                    "says.",
                    **where,
                )
            route = self.route(kind)
            wrong = about_stop(value) if isinstance(value, StopEvent) else None
            if wrong is not None:
                return WorkflowRuntimeError(
                    f"step `{spec.name}` of {self.name} returned a {kind.__name__} "
                    f"{wrong[0]}.",
                    hint=wrong[1],
                    **where,
                )
            if not (route.takers or route.stops or route.asks or kind in spec.returns):
                return WorkflowRuntimeError(
                    f"step `{spec.name}` returned an event that goes nowhere: "
                    + self.nobody_takes(kind),
                    **where,
                )
            passed[kind] = route
        return None

    def start_event(
        self, given: StartEvent | None, fields: dict[str, Any]
    ) -> StartEvent:
        """The start event of a run: the one given, or one made of fields.

        Raises:
            WorkflowRuntimeError: The fields make none, or it starts other workflows.
            ValueError: It is no start event.
        """
        kind = self.start_class
        if given is None:
            try:
                return kind(**fields)
            except ValidationError as error:
                wrong = "; ".join(
                    f"{'.'.join(map(str, e['loc']))}: {e['msg']}"
                    for e in error.errors()
                )
                known = kind.model_fields
                odd = next((name for name in fields if name not in known), None)
                guess = odd and f" {odd} is none of them.{did_you_mean(odd, known)}"
                raise WorkflowRuntimeError(
                    f"the arguments of {self.name}.run() do not make its "
                    f"{kind.__name__}: {wrong}.",
                    hint=f"It takes: {', '.join(known) or 'any fields'}."
                    + (guess or ""),
                    workflow=self.name,
                    event=kind.__name__,
                ) from None
        if not isinstance(given, StartEvent):
            raise ValueError(
                f"start_event must be a StartEvent, not {about_sent(given)[0]}.\n"
                f"Pass start_event={kind.__name__}(…)."
            )
        if not self.route(type(given)).takers:
            raise WorkflowRuntimeError(
                f"{self.name} starts from {kind.__name__}, not from "
                f"{type(given).__name__}.",
                hint=f"Pass start_event={kind.__name__}(…).",
                workflow=self.name,
                event=type(given).__name__,
            )
        return given

    # -- checks ------------------------------------------------------------

    def check(
        self, *, outside: bool = False, skip: frozenset[str] = frozenset()
    ) -> None:
        """Refuse a graph with problems.

        Args:
            outside: Whether events may come from outside the steps.
            skip: Names of the checks to pass over.

        Raises:
            WorkflowValidationError: Naming all of them.
        """
        if (outside, skip) in self._sound:
            return
        found = find_problems(self.steps, outside=outside, skip=skip)
        if not found:
            self._sound.add((outside, skip))
        else:
            lines = "\n".join(f"  - {problem}" for problem in found)
            raise WorkflowValidationError(
                f"{self.name} cannot run as written:\n{lines}",
                hint=self._advice
                or "Mend the annotations, or run anyway with "
                "Workflow(disable_validation=True).",
                workflow=self.name,
            )


def _catchers(steps: Sequence[StepSpec]) -> dict[int, StepSpec]:
    """The step that is called for each failing one, by the latter's index."""
    found: dict[int, StepSpec] = {}
    # Those that name steps first; what is left goes to the one that names none.
    for catcher in sorted(
        (s for s in steps if s.catches_errors), key=lambda s: s.for_steps is None
    ):
        for spec in steps:
            covered = catcher.for_steps is None or spec.name in catcher.for_steps
            if covered and not spec.catches_errors:
                found.setdefault(spec.index, catcher)
    return found


def _namesake(kind: type[Event], others: Iterable[type[Event]]) -> type[Event] | None:
    """Another class of the same name."""
    same = (other for other in others if other.__name__ == kind.__name__)
    return next((other for other in same if not issubclass(kind, other)), None)


def _names(kinds: Iterable[type]) -> str:
    return ", ".join(kind.__name__ for kind in kinds)


def _annotated(spec: StepSpec) -> str:
    alone = [kind.__name__ for kind in spec.bare]
    in_lists = " | ".join(kind.__name__ for kind in spec.listed)
    return " | ".join([*alone, f"list[{in_lists}]"] if in_lists else alone) or "None"
