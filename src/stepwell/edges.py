"""What a workflow begins with, ends with and keeps: one class of each.

Read from the steps when a workflow is compiled, in `plan`. The checks of the graph
in between are in `graph`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import BaseModel

from stepwell.errors import WorkflowConfigurationError
from stepwell.events import Event, StartEvent, StopEvent
from stepwell.graph import same_class
from stepwell.signature import StepSpec
from stepwell.store import DictState

__all__ = ["start_class", "state_class", "stop_classes"]


def start_class(
    workflow: str, steps: Sequence[StepSpec], advice: str
) -> type[StartEvent]:
    """The one class of event that starts a run, as it was last defined.

    Args:
        workflow: Name of the workflow, for messages.
        steps: Its steps.
        advice: What to do if there is none; may be empty.

    Raises:
        WorkflowConfigurationError: No step accepts one, or there are several.
    """
    found = [k for s in steps for k in s.accepts if issubclass(k, StartEvent)]
    if not found:
        if not steps:
            raise WorkflowConfigurationError(
                f"{workflow} has no steps.",
                hint=advice
                or "Write methods in it, each with @step right above: "
                "async def begin(self, ev: StartEvent) -> StopEvent",
                workflow=workflow,
            )
        raise WorkflowConfigurationError(
            f"{workflow} has no step that accepts a StartEvent, so no run could begin.",
            hint=advice
            or "Let the first step take it: "
            f"async def {steps[0].name}(self, ev: StartEvent) -> …",
            workflow=workflow,
        )
    several = _families(found)
    if len(several) > 1:
        raise WorkflowConfigurationError(
            f"{workflow} accepts several classes of start event: {_names(several)}.",
            hint="A workflow starts from one class; use one with all the fields.",
            workflow=workflow,
        )
    newest: type[StartEvent] = found[0].newest
    return newest


def stop_classes(
    workflow: str, steps: Sequence[StepSpec], advice: str
) -> tuple[type[StopEvent], ...]:
    """The class of event that ends a run, with its other definitions.

    Args:
        workflow: Name of the workflow, for messages.
        steps: Its steps.
        advice: What to do if there is none; may be empty.

    Raises:
        WorkflowConfigurationError: No step returns one, or there are several.
    """
    found = dict.fromkeys(
        k for s in steps for k in s.returns if issubclass(k, StopEvent)
    )
    if not found:
        raise WorkflowConfigurationError(
            f"{workflow} has no step that returns a StopEvent, so no run could end.",
            hint=advice
            or "Let the last step return it: `-> StopEvent`, or `-> Other | StopEvent` "
            "with a bar, and `return StopEvent(result=…)`.",
            workflow=workflow,
        )
    several = _families(found)
    if len(several) > 1:
        raise WorkflowConfigurationError(
            f"{workflow} returns several classes of stop event: {_names(several)}.",
            hint="A workflow ends with one class; use one with all the fields.",
            workflow=workflow,
        )
    return tuple(found)


def state_class(workflow: str, steps: Sequence[StepSpec]) -> type[BaseModel]:
    """The class of the state that all steps share.

    Raises:
        WorkflowConfigurationError: Steps name classes that do not fit each other, or
            no state can be made, because a field has no default.
    """
    chosen: type[BaseModel] | None = None
    by = ""
    for spec in steps:
        kind = spec.state_type
        if kind is None or chosen is kind:
            continue
        again = chosen is not None and _place(kind) == _place(chosen)
        if chosen is None or again or issubclass(kind, chosen):
            chosen, by = kind, spec.name
        elif not issubclass(chosen, kind):
            raise WorkflowConfigurationError(
                f"{workflow}: steps `{by}` and `{spec.name}` name unrelated state "
                f"classes, {chosen.__name__} and {kind.__name__}.",
                hint="All steps share one state: derive one class from the other.",
                workflow=workflow,
                step=spec.name,
            )
    if chosen is None:
        return DictState
    lacking = [name for name, f in chosen.model_fields.items() if f.is_required()]
    if lacking:
        raise WorkflowConfigurationError(
            f"{chosen.__name__} cannot be the state of {workflow}, which "
            f"step `{by}` asks for: no default for {', '.join(lacking)}.",
            hint=f"Give every field of {chosen.__name__} a default.",
            workflow=workflow,
            step=by,
        )
    return chosen


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
