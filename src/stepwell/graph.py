"""Steps and events as nodes and edges: what makes a graph sound, where lists lead.

Nothing here runs or routes: `plan` routes by the same signatures. The graph as
data to draw is in `representation`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

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

__all__ = [
    "accepts",
    "find_gatherers",
    "find_problems",
    "fits",
    "same_class",
    "two_of",
]


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
                "run before any step could take it. Let it take an event of your own "
                f"and return the {kind.__name__} itself."
            )
        elif (
            kind is Event
            and Event not in made
            and not outside
            and not any(spec.accept_event_subclasses for spec in specs)
        ):
            found.append(
                f"step `{specs[0].name}` takes Event, and steps start for the exact "
                "class only. Name the classes, as in `ev: A | B` or `list[A | B]`, or "
                "write @step(accept_event_subclasses=True)."
            )
        elif issubclass(kind, StepFailedEvent):
            found += [
                f"step `{spec.name}` takes {kind.__name__}, which a @catch_error step "
                "alone is given: write @catch_error above it in place of @step."
                for spec in specs
                if not spec.catches_errors
            ]
        elif not (
            outside
            or issubclass(kind, StartEvent | HumanResponseEvent)
            or any(_matches(specs, kind, m) for m in made)
        ):
            found.append(
                f"step `{specs[0].name}` waits for {kind.__name__}, but no step "
                "returns it."
                + (
                    _likely(kind, made)
                    or " One that a step sends with ctx.send_event must stand in its "
                    "return annotation too; one from outside derives from "
                    "HumanResponseEvent."
                )
            )
    for kind, specs in made.items():
        if issubclass(kind, StepFailedEvent):
            found.append(
                f"step `{specs[0].name}` returns {kind.__name__}, which the run alone "
                "makes: raise an exception, and the @catch_error step is called."
            )
            continue
        exempt = issubclass(kind, StopEvent | InputRequiredEvent)
        passed = "terminal_event" in skip or all(
            "terminal_event" in spec.skip_graph_checks for spec in specs
        )
        if not (exempt or passed or kind is Event or _takers(steps, kind)):
            found.append(
                f"step `{specs[0].name}` returns {kind.__name__}, but no step "
                "accepts it."
                + (
                    _likely(kind, taken)
                    or f" Annotate the event parameter of a step with {kind.__name__}."
                )
            )
    found += _catcher_problems(steps)
    if found or outside or "reachability" in skip:
        return found  # what cannot be reached mostly follows from what is wrong
    return _unreachable(steps)


def accepts(spec: StepSpec, kind: type[Event]) -> bool:
    """Whether events of class `kind` that are sent start the step."""
    return any(fits(spec, kind, wanted) for wanted in spec.accepts)


def fits(spec: StepSpec, kind: type[Event], wanted: type[Event]) -> bool:
    """Whether an event of class `kind` does where a step's parameter says `wanted`."""
    if spec.catches_errors:
        return False  # called for a failure, never for an event somebody sent
    if spec.accept_event_subclasses:
        return issubclass(kind, wanted)
    return same_class(kind, wanted)


def find_gatherers(
    steps: Sequence[StepSpec],
    source: StepSpec,
    catcher: Callable[[StepSpec], StepSpec | None],
) -> list[StepSpec]:
    """The steps that take as a list what becomes of a list that `source` returns.

    Worked out from the signatures: where the list's events lead, through how many
    lists opened on the way and closed again by others.

    Args:
        steps: The steps of the workflow.
        source: The step that returns the list.
        catcher: Gives the step that is called when another one fails.
    """
    found: set[StepSpec] = set()
    # The classes that come up, and in how many lists: this one, and those inside it.
    met = {(kind, 1) for kind in source.listed}
    known = 0
    while len(met) > known:
        known = len(met)
        for taker in steps:
            for depth in _depths(taker, met):
                if not depth:
                    found.add(taker)
                    continue
                for maker in (taker, catcher(taker)):
                    if maker is not None:
                        met |= {(kind, depth) for kind in maker.bare}
                    if maker is not None and depth < len(steps):
                        met |= {(kind, depth + 1) for kind in maker.listed}
    return [spec for spec in steps if spec in found]


def _depths(taker: StepSpec, met: set[tuple[type[Event], int]]) -> set[int]:
    """In how many lists a step may run, where these classes come up in so many."""
    depths = [
        {depth for kind, depth in met if fits(taker, kind, wanted)}
        for wanted in taker.accepts
    ]
    found: set[int] = set().union(*depths)
    if taker.collect is not None:
        return {depth - 1 for depth in found}
    if taker.joins:
        # All parameters have to come; events from lists further in wait for them.
        found = {d for d in found if all(max(have, default=0) >= d for have in depths)}
    return found


def same_class(kind: type[Event], wanted: type[Event]) -> bool:
    """The same class, or another definition of it from the same cell."""
    return kind is wanted or (
        issubclass(kind, wanted)
        and issubclass(wanted, kind)
        and kind.__qualname__ == wanted.__qualname__
    )


def two_of(kind: type, other: type) -> str:
    """Say that two classes only share their name, and what to do about it."""
    places = (
        f"{kind.__module__}.{kind.__qualname__}",
        (f"{other.__module__}.{other.__qualname__}"),
    )
    where = f", {places[0]} and {places[1]}" if places[0] != places[1] else ""
    return (
        f"There are two classes named {kind.__name__}{where}: define it once and "
        "import it."
    )


def _likely(kind: type[Event], others: Iterable[type[Event]]) -> str:
    """A guess at what was meant by a class that fits nowhere, or an empty string."""
    others = list(others)
    for other in others:
        if other.__name__ == kind.__name__:
            return f" {two_of(kind, other)}"
    return did_you_mean(kind.__name__, _only_names(others))


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
    stopping = [s for s in steps if any(map(_is_stop, s.returns))]
    checked = [s for s in stopping if "reachability" not in s.skip_graph_checks]
    if checked and reached.isdisjoint(stopping):
        return [
            f"the step that ends the run, `{checked[0].name}`, cannot be reached from "
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
