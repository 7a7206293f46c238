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
from stepwell.joins import Join
from stepwell.plan import Plan
from stepwell.signature import StepSpec

__all__ = [
    "cancelled",
    "check_expected",
    "diagnose",
    "time_is_up",
    "too_many_visits",
]


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
        never_ran={
            spec.name: tuple(kind.__name__ for kind in spec.accepts)
            for spec in plan.steps
            if not ran[spec.index]
        },
    )


def _join_report(plan: Plan, join: Join, ran: Sequence[int]) -> JoinReport:
    report = JoinReport(
        join.step.name,
        {kind.__name__: len(held) for kind, held in join.have.items()},
        {kind.__name__: count for kind, count in join.need.items()},
    )
    for kind in join.lacking:
        makers = _makers(plan.steps, kind)
        report.producers[kind.__name__] = {s.name: ran[s.index] for s in makers}
    return report


def _makers(steps: Sequence[StepSpec], kind: type[Event]) -> list[StepSpec]:
    return [spec for spec in steps if kind in spec.returns]


def time_is_up(
    plan: Plan, timeout: float | None, active: Sequence[str]
) -> WorkflowTimeoutError:
    """The error of a run that took too long, naming the steps still running."""
    steps = f"still running: {', '.join(active)}" if active else "no step running"
    return WorkflowTimeoutError(
        f"{plan.name} did not finish within {timeout:g} seconds ({steps}).",
        hint="Allow more with Workflow(timeout=…); None is no limit.",
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
                hint="Pass the classes in a list: [A, B], or [A] * 3.",
                workflow=plan.name,
                step=spec.name,
            )
