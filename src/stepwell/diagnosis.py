"""Why a run cannot go on, worked out from what it has done.

That it cannot go on is decided in `machine`; the words for a stall are in
`errors`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stepwell.calls import StepCall
from stepwell.errors import (
    JoinReport,
    StallReport,
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
)
from stepwell.events import Event
from stepwell.graph import accepts
from stepwell.joins import Join
from stepwell.plan import Plan
from stepwell.rows import CallRecord
from stepwell.signature import StepSpec

__all__ = [
    "RECENT",
    "Routed",
    "cancelled",
    "check_awaited",
    "check_expected",
    "diagnose",
    "last_events",
    "time_is_up",
    "too_many_visits",
]


# Of how many of the last events a stalled run tells.
RECENT = 5
# An event that was not just handed to one step: the number of the next call then, its
# class, the steps that took it, and the one that sent it.
Routed = tuple[int, type[Event], tuple[StepSpec, ...], StepSpec | None]
# A loop that comes this many seconds late to a timer was kept from it.
_BLOCKED = 1.0


def diagnose(
    plan: Plan,
    *,
    joins: Iterable[Join],
    ran: Sequence[int],
    last_events: Iterable[tuple[str, tuple[str, ...], str | None]],
    ended_silent: tuple[str, str] | None,
) -> StallReport:
    """The report of a stalled run.

    Args:
        plan: The workflow.
        joins: The joins of the run; those that have no event are left out.
        ran: How often each step has run, by its index.
        last_events: The last events routed, oldest first: class, takers, source.
        ended_silent: Step and event class of the last call that returned None.
    """
    return StallReport(
        plan.name,
        joins=[_join_report(plan, join, ran) for join in joins if join.lacking],
        last_events=list(last_events),
        ended_silent=ended_silent,
        promised=_promised(plan, ended_silent),
        never_ran={
            spec.name: tuple(kind.__name__ for kind in spec.accepts)
            for spec in plan.steps
            if not ran[spec.index]
        },
    )


def last_events(
    plan: Plan, routed: Iterable[Routed], record: Iterable[CallRecord]
) -> list[tuple[str, tuple[str, ...], str | None]]:
    """The last events routed, as `diagnose` takes them.

    Args:
        plan: The workflow.
        routed: Those that were not just handed to one step.
        record: The calls of the run, of which one says where each other event went.
    """
    found: list[tuple[int, str, tuple[str, ...], str | None]] = [
        (before, kind.__name__, tuple(s.name for s in to), came.name if came else None)
        for before, kind, to, came in routed
    ]
    calls = {call.call_id: call for call in record}
    only = {kind.__name__ for kind, route in plan.routes.items() if route.only}
    for call in calls.values():
        if call.input in only:
            cause = calls.get(call.caused_by or 0)
            sender = cause.step if cause else None
            found.append((call.call_id, call.input, (call.step,), sender))
    found.sort(key=lambda event: event[0])
    return [(name, to, came) for _, name, to, came in found[-RECENT:]]


def _join_report(plan: Plan, join: Join, ran: Sequence[int]) -> JoinReport:
    report = JoinReport(
        join.step.name,
        {kind.__name__: len(held) for kind, held in join.have.items()},
        {kind.__name__: count for kind, count in join.need.items()},
    )
    for kind in join.lacking:
        makers = _makers(plan.steps, kind)
        report.producers[kind.__name__] = {s.name: ran[s.index] for s in makers}
    report.takes = tuple(kind.__name__ for kind in join.step.accepts)
    report.deaf = tuple(k.__name__ for k in join.lacking if not accepts(join.step, k))
    return report


def _promised(plan: Plan, ended_silent: tuple[str, str] | None) -> list[str]:
    spec = plan.by_name.get(ended_silent[0]) if ended_silent else None
    return [kind.__name__ for kind in spec.returns] if spec else []


def _makers(steps: Sequence[StepSpec], kind: type[Event]) -> list[StepSpec]:
    return [spec for spec in steps if kind in spec.returns]


def time_is_up(
    plan: Plan, timeout: float | None, active: Sequence[str], late: float = 0.0
) -> WorkflowTimeoutError:
    """The error of a run that took too long, naming the steps still running.

    Args:
        plan: The workflow.
        timeout: Seconds it was allowed.
        active: Names of the steps that run.
        late: Seconds between the moment when time was up and the one when the event
            loop came round to it.
    """
    steps = f"still running: {', '.join(active)}" if active else "no step running"
    hint = "Allow more with Workflow(timeout=…); None is no limit."
    if late >= _BLOCKED:
        hint = (
            f"The event loop was blocked for {late:.0f} seconds: an `async` step "
            "worked on without an `await`. Write such a step as plain `def`, which "
            f"runs in a thread, or use `await asyncio.to_thread(…)`.\n{hint}"
        )
    return WorkflowTimeoutError(
        f"{plan.name} did not finish within {timeout:g} seconds ({steps}).",
        hint=hint,
        workflow=plan.name,
        step=active[0] if active else None,
    )


def cancelled(plan: Plan, reason: str) -> WorkflowCancelledByUser:
    """The error of a run that was stopped."""
    return WorkflowCancelledByUser(
        f"{plan.name} was cancelled: {reason}.", workflow=plan.name
    )


def too_many_visits(plan: Plan, call: StepCall) -> WorkflowRuntimeError:
    """The error of a step that went round more often than it may."""
    spec = call.spec
    return WorkflowRuntimeError(
        f"step `{spec.name}` of {plan.name} was to start for the "
        f"{(spec.max_visits or 0) + 1}th time in one run, and max_visits is "
        f"{spec.max_visits}.",
        hint="Give the loop a way out: a counter in the event or the state, and a "
        "StopEvent; or raise max_visits.",
        workflow=plan.name,
        step=spec.name,
        event=call.event_name,
    )


def check_expected(plan: Plan, spec: StepSpec, expected: Iterable[object]) -> None:
    """Refuse a list for `ctx.collect_events` that holds no event classes.

    Raises:
        WorkflowRuntimeError: Naming what stands there instead.
    """
    for kind in expected:
        if not (isinstance(kind, type) and issubclass(kind, Event)):
            raise WorkflowRuntimeError(
                f"ctx.collect_events in step `{spec.name}` got {kind!r} where event "
                "classes are expected.",
                hint="Write ctx.collect_events(ev, …) with the classes in a list: "
                "[A, B], or [A] * 3.",
                workflow=plan.name,
                step=spec.name,
            )


def check_awaited(spec: StepSpec, kind: object, asking: object) -> None:
    """Refuse what `ctx.wait_for_event` cannot wait for, or cannot ask with.

    Raises:
        WorkflowRuntimeError: Naming what was given instead.
    """
    if not (isinstance(kind, type) and issubclass(kind, Event)):
        name = type(kind).__name__ if isinstance(kind, Event) else "HumanResponseEvent"
        raise WorkflowRuntimeError(
            f"ctx.wait_for_event in step `{spec.name}` got {kind!r} where an event "
            "class is expected.",
            hint=f"Write `answer = await ctx.wait_for_event({name})`.",
            step=spec.name,
        )
    if asking is not None and not isinstance(asking, Event):
        shown = asking.__name__ if isinstance(asking, type) else "InputRequiredEvent"
        raise WorkflowRuntimeError(
            f"ctx.wait_for_event in step `{spec.name}` got {asking!r} to ask with, "
            "which is no event.",
            hint=f"Write `await ctx.wait_for_event({kind.__name__}, {shown}(…))`.",
            step=spec.name,
        )
