"""The compiled workflow: which steps take an event, and what a step may return.

A `Plan` is made once for each workflow class and read at every event. It
refuses what cannot go anywhere, saying what would have been accepted. The
checks of the graph as a whole, and its picture, are in `graph`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from copy import copy
from typing import Any

from pydantic import BaseModel, ValidationError

from stepwell.calls import StepCall
from stepwell.errors import (
    WorkflowConfigurationError,
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
    StopEvent,
)
from stepwell.graph import accepts, find_problems, same_class
from stepwell.signature import StepSpec
from stepwell.store import DictState

__all__ = ["Plan", "Route"]


class Route:
    """Where events of one class go.

    Attributes:
        takers: The steps that accept the class.
        stops: Whether returning it ends the run.
        asks: Whether it asks somebody outside.
        answers: Whether it is somebody's answer.
    """

    __slots__ = ("answers", "asks", "stops", "takers")

    def __init__(self, kind: type[Event], takers: tuple[StepSpec, ...]) -> None:
        self.takers = takers
        self.stops = issubclass(kind, StopEvent)
        self.asks = issubclass(kind, InputRequiredEvent)
        self.answers = issubclass(kind, HumanResponseEvent)


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
        self._undecorated = undecorated
        self.name = name
        self.description = description
        # Copies, because a spec that subclasses share has a place in each plan.
        self.steps = tuple(copy(spec) for spec in steps)
        self.by_name = {spec.name: spec for spec in self.steps}
        for index, spec in enumerate(self.steps):
            spec.index = index
        self._routes: dict[type[Event], Route] = {}
        self._gatherers: dict[int, tuple[StepSpec, ...]] = {}
        self._catchers = _catchers(self.steps)
        self._sound: set[tuple[bool, frozenset[str]]] = set()
        self._allowed: dict[tuple[int, type[Event]], bool] = {}
        self.hears_people = any(
            issubclass(kind, HumanResponseEvent) for s in steps for kind in s.accepts
        )
        self.start_class = self._only_start_class()
        self.stop_classes = self._stop_classes()
        self.state_type = self._state_type()

    # -- routing -----------------------------------------------------------

    def route(self, kind: type[Event]) -> Route:
        """The route of an event class; worked out at its first sight."""
        found = self._routes.get(kind)
        if found is None:
            takers = tuple(s for s in self.steps if accepts(s, kind))
            found = self._routes[kind] = Route(kind, takers)
        return found

    def catcher(self, spec: StepSpec) -> StepSpec | None:
        """The `@catch_error` step that is called when this one fails for good."""
        return self._catchers.get(spec.index)

    def gatherers(self, spec: StepSpec) -> tuple[StepSpec, ...]:
        """The steps that take as a list what becomes of a list this step returns.

        Worked out from the signatures: where the list's events lead, through how
        many lists opened on the way and closed again by others.
        """
        found = self._gatherers.get(spec.index)
        if found is None:
            found = self._gatherers[spec.index] = tuple(self._gathering(spec))
        return found

    def _gathering(self, spec: StepSpec) -> list[StepSpec]:
        found: dict[StepSpec, None] = {}
        edge = [(kind, 1) for kind in spec.listed or spec.bare]
        seen: set[tuple[type[Event], int]] = set()
        while edge:
            kind, depth = edge.pop()
            if (kind, depth) in seen or depth > len(self.steps):
                continue
            seen.add((kind, depth))
            for taker in self.route(kind).takers:
                inside = depth
                if taker.collect is not None:
                    inside -= 1
                    if not inside:
                        found[taker] = None
                        continue
                for maker in (taker, self.catcher(taker)):
                    if maker is not None:
                        edge += [(k, inside) for k in maker.bare]
                        edge += [(k, inside + 1) for k in maker.listed]
        return sorted(found, key=lambda taker: taker.index)

    def may_return(self, spec: StepSpec, kind: type[Event]) -> bool:
        """Whether a step's annotation allows it to return this class."""
        key = (spec.index, kind)
        found = self._allowed.get(key)
        if found is None:
            found = self._allowed[key] = any(issubclass(kind, r) for r in spec.returns)
        return found

    def check_step(
        self, step: str, source: str | None, event: str | None = None
    ) -> StepSpec:
        """The step of this name.

        Raises:
            WorkflowStepDoesNotExistError: There is none; the message names what is.
        """
        spec = self.by_name.get(step)
        if spec is None:
            raise WorkflowStepDoesNotExistError(
                f"{self.name} has no step {step!r}; it has: "
                f"{', '.join(self.by_name)}.{did_you_mean(step, self.by_name)}",
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
            raise WorkflowRuntimeError(
                f"send_event takes an Event, not {type(event).__name__}.",
                hint="Define `class MyEvent(Event)` with the value as a field.",
                workflow=self.name,
                step=source,
            )
        kind = type(event)
        route = self.route(kind)
        where: Any = {"workflow": self.name, "step": source, "event": kind.__name__}
        if step is not None:
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
        accepted = {k.__name__: k for spec in self.steps for k in spec.accepts}
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
        self, call: StepCall, values: Sequence[Any]
    ) -> WorkflowRuntimeError | None:
        """The error of a call that returned what its step may not; None if it may."""
        spec = call.spec
        for value in values:
            where: Any = {
                "workflow": self.name,
                "step": spec.name,
                "event": call.event_name,
                "attempt": call.attempt,
            }
            if not isinstance(value, Event):
                return WorkflowRuntimeError(
                    f"step `{spec.name}` of {self.name} returned "
                    f"{_shown(value)} instead of an Event instance.",
                    hint=_return_hint(value, spec),
                    **where,
                )
            kind = type(value)
            if not self.may_return(spec, kind):
                return WorkflowRuntimeError(
                    f"step `{spec.name}` of {self.name} returned {kind.__name__}, "
                    f"but its annotation says {_annotated(spec)}.",
                    hint=f"Add {kind.__name__} to the return annotation, or return "
                    "what it says.",
                    **where,
                )
            route = self.route(kind)
            if not (route.takers or route.stops or route.asks or kind in spec.returns):
                return WorkflowRuntimeError(
                    f"step `{spec.name}` returned an event that goes nowhere: "
                    + self.nobody_takes(kind),
                    **where,
                )
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
                raise WorkflowRuntimeError(
                    f"the arguments of {self.name}.run() do not make a "
                    f"{kind.__name__}: {wrong}.",
                    hint=f"It takes: {', '.join(kind.model_fields) or 'any fields'}.",
                    workflow=self.name,
                    event=kind.__name__,
                ) from None
        if not isinstance(given, StartEvent):
            raise ValueError(
                f"start_event must be a StartEvent, not {type(given).__name__}"
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

    def _only_start_class(self) -> type[StartEvent]:
        found = dict.fromkeys(
            kind
            for s in self.steps
            for kind in s.accepts
            if issubclass(kind, StartEvent)
        )
        if not found:
            raise WorkflowConfigurationError(
                f"{self.name} has no step that accepts a StartEvent, so no run could "
                "begin.",
                hint=self._forgotten()
                or "Let the first step take it: "
                "async def begin(self, ev: StartEvent) -> …",
                workflow=self.name,
            )
        if len(_families(found)) > 1:
            raise WorkflowConfigurationError(
                f"{self.name} accepts several classes of start event: {_names(found)}.",
                hint="A workflow starts from one class; use one with all the fields.",
                workflow=self.name,
            )
        newest: type[StartEvent] = next(iter(found)).newest
        return newest

    def _forgotten(self) -> str:
        if not self._undecorated:
            return ""
        names = ", ".join(f"`{name}`" for name in self._undecorated)
        return f"Not decorated with @step: {names}. Put @step right above each step."

    def _stop_classes(self) -> tuple[type[StopEvent], ...]:
        found = dict.fromkeys(
            kind
            for s in self.steps
            for kind in s.returns
            if issubclass(kind, StopEvent)
        )
        if not found:
            raise WorkflowConfigurationError(
                f"{self.name} has no step that returns a StopEvent, so no run could "
                "end.",
                hint=self._forgotten()
                or "Let the last step return it: `-> StopEvent` and "
                "`return StopEvent(result=…)`.",
                workflow=self.name,
            )
        if len(_families(found)) > 1:
            raise WorkflowConfigurationError(
                f"{self.name} returns several classes of stop event: {_names(found)}.",
                hint="A workflow ends with one class; use one with all the fields.",
                workflow=self.name,
            )
        return tuple(found)

    def _state_type(self) -> type[BaseModel]:
        chosen: type[BaseModel] | None = None
        for spec in self.steps:
            kind = spec.state_type
            if kind is None or chosen is kind:
                continue
            again = chosen is not None and _place(kind) == _place(chosen)
            if chosen is None or again or issubclass(kind, chosen):
                chosen = kind
            elif not issubclass(chosen, kind):
                raise WorkflowConfigurationError(
                    f"{self.name}: steps name unrelated state classes, "
                    f"{chosen.__name__} and {kind.__name__}.",
                    hint="All steps share one state: derive one class from the other.",
                    workflow=self.name,
                    step=spec.name,
                )
        return chosen or DictState

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
                hint="Mend the annotations, or run anyway with "
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


def _families(kinds: Iterable[type[Event]]) -> list[type[Event]]:
    """One of the classes for each that its cell defined several times."""
    kept: list[type[Event]] = []
    for kind in kinds:
        if not any(same_class(kind, other) for other in kept):
            kept.append(kind)
    return kept


def _place(kind: type) -> tuple[str, str]:
    return kind.__module__, kind.__qualname__


def _names(kinds: Iterable[type]) -> str:
    return ", ".join(kind.__name__ for kind in kinds)


def _shown(value: object) -> str:
    text = repr(value)
    kind = type(value).__name__
    return f"{kind} {text}" if len(text) <= 40 else kind


def _annotated(spec: StepSpec) -> str:
    return " | ".join(kind.__name__ for kind in spec.returns) or "None"


def _return_hint(value: object, spec: StepSpec) -> str:
    if inspect.iscoroutine(value):
        value.close()
        return "An `await` is missing: write `return await …`."
    if isinstance(value, tuple | set) and any(isinstance(v, Event) for v in value):
        return "Several events go into a list: return [A(…), B(…)]."
    if isinstance(value, list):
        return "A returned list holds events, not lists: flatten it."
    if isinstance(value, type) and issubclass(value, Event):
        return f"That is the class itself; return an instance: {value.__name__}(…)."
    stops = [kind.__name__ for kind in spec.returns if issubclass(kind, StopEvent)]
    if stops:
        return f"To finish with this value: return {stops[0]}(result=…)."
    return f"Put the value into a field of {_annotated(spec)} and return that."
