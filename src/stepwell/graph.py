"""Steps and events as nodes and edges: what makes a graph sound.

Nothing here runs or routes: `plan` routes by the same signatures. The graph as
data to draw is in `representation`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stepwell.errors import did_you_mean
from stepwell.events import (
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
)
from stepwell.signature import StepSpec

__all__ = ["accepts", "find_problems", "same_class"]


def find_problems(
    steps: Sequence[StepSpec],
    *,
    outside: bool = False,
    skip: frozenset[str] = frozenset(),
) -> list[str]:
    """What is wrong with the graph, one sentence a problem.

    Args:
        steps: The steps of the workflow.
        outside: Whether events may come from outside the steps, so that an
            event which no step returns is no problem.
        skip: Names of the checks to pass over.
    """
    made = _by_class((spec, spec.returns) for spec in steps)
    taken = _by_class((spec, spec.accepts) for spec in steps)
    found: list[str] = []
    for kind, specs in taken.items():
        if issubclass(kind, StopEvent):
            found.append(
                f"step `{specs[0].name}` accepts {kind.__name__}, which ends the "
                "run before any step could take it."
            )
        elif not (
            outside
            or issubclass(kind, StartEvent | HumanResponseEvent | StepFailedEvent)
            or any(_matches(specs, kind, m) for m in made)
        ):
            found.append(
                f"step `{specs[0].name}` waits for {kind.__name__}, but no step "
                f"returns it.{did_you_mean(kind.__name__, _only_names(made))} "
                "An event sent with ctx.send_event must stand in the sender's "
                "return annotation too."
            )
    for kind, specs in made.items():
        exempt = issubclass(kind, StopEvent | InputRequiredEvent)
        passed = "terminal_event" in skip or all(
            "terminal_event" in spec.skip_graph_checks for spec in specs
        )
        if not (exempt or passed or kind is Event or _takers(steps, kind)):
            found.append(
                f"step `{specs[0].name}` returns {kind.__name__}, but no step "
                f"accepts it.{did_you_mean(kind.__name__, _only_names(taken))}"
            )
    found += _catcher_problems(steps)
    if outside or "reachability" in skip:
        return found
    return found + _unreachable(steps)


def accepts(spec: StepSpec, kind: type[Event]) -> bool:
    """Whether events of class `kind` that are sent start the step."""
    if spec.catches_errors:
        return False  # called for a failure, never for an event somebody sent
    if spec.accept_event_subclasses:
        return any(issubclass(kind, wanted) for wanted in spec.accepts)
    return any(same_class(kind, wanted) for wanted in spec.accepts)


def same_class(kind: type[Event], wanted: type[Event]) -> bool:
    """The same class, or another definition of it from the same cell."""
    return kind is wanted or (
        issubclass(kind, wanted)
        and issubclass(wanted, kind)
        and kind.__qualname__ == wanted.__qualname__
    )


def _takers(steps: Sequence[StepSpec], kind: type[Event]) -> list[StepSpec]:
    return [spec for spec in steps if accepts(spec, kind)]


def _unreachable(steps: Sequence[StepSpec]) -> list[str]:
    reached: set[StepSpec] = set()
    edge = [
        s
        for s in steps
        if s.catches_errors
        or any(issubclass(k, StartEvent | HumanResponseEvent) for k in s.accepts)
    ]
    while edge:
        spec = edge.pop()
        if spec not in reached:
            reached.add(spec)
            edge += [t for kind in spec.returns for t in _takers(steps, kind)]
            if Event in spec.returns:  # any event at all
                edge += steps
    if not any(issubclass(k, StopEvent) for s in reached for k in s.returns):
        stopping = [s.name for s in steps if any(map(_is_stop, s.returns))]
        return [
            f"the step that ends the run, `{stopping[0]}`, cannot be reached from "
            "the start event."
        ]
    made = {kind for s in steps for kind in s.returns}
    return [
        f"step `{spec.name}` can never start: the steps that return "
        f"{' or '.join(_only_names(spec.accepts))} cannot be reached from the start "
        "event either."
        for spec in steps
        if spec not in reached
        and "reachability" not in spec.skip_graph_checks
        # What nobody returns at all is a problem of its own, named above.
        and all(any(_matches([spec], k, m) for m in made) for k in spec.accepts)
    ]


def _catcher_problems(steps: Sequence[StepSpec]) -> list[str]:
    catchers = [spec for spec in steps if spec.catches_errors]
    names = {spec.name for spec in steps}
    found: list[str] = []
    wild = [f"`{spec.name}`" for spec in catchers if spec.for_steps is None]
    if len(wild) > 1:
        found.append(
            f"{' and '.join(wild)} are both @catch_error for all steps that no other "
            "one names; let all but one say for_steps=[…]."
        )
    owners: dict[str, str] = {}
    for spec in catchers:
        for name in spec.for_steps or ():
            if name not in names:
                found.append(
                    f"@catch_error `{spec.name}` names step {name!r}, which is not "
                    f"there.{did_you_mean(name, names)}"
                )
            elif any(other.name == name for other in catchers):
                found.append(
                    f"@catch_error `{spec.name}` names `{name}`, which is a "
                    "@catch_error itself; what it raises ends the run."
                )
            elif owners.setdefault(name, spec.name) != spec.name:
                found.append(
                    f"step `{name}` is named by two @catch_error steps, "
                    f"`{owners[name]}` and `{spec.name}`."
                )
    return found


def _matches(specs: Iterable[StepSpec], kind: type[Event], made: type[Event]) -> bool:
    by_subclass = any(s.accept_event_subclasses for s in specs)
    return (
        made is Event
        or same_class(made, kind)
        or (by_subclass and issubclass(made, kind))
    )


def _by_class(
    pairs: Iterable[tuple[StepSpec, tuple[type[Event], ...]]],
) -> dict[type[Event], list[StepSpec]]:
    found: dict[type[Event], list[StepSpec]] = {}
    for spec, kinds in pairs:
        for kind in kinds:
            found.setdefault(kind, []).append(spec)
    return found


def _only_names(kinds: Iterable[type]) -> list[str]:
    return [kind.__name__ for kind in kinds]


def _is_stop(kind: type[Event]) -> bool:
    return issubclass(kind, StopEvent)
