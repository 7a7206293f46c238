"""Why a run that went quiet cannot go on, worked out from what it has done.

That it cannot go on is decided in `machine`; the words are in `errors`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stepwell.errors import JoinReport, StallReport
from stepwell.events import Event
from stepwell.joins import Join
from stepwell.plan import Plan
from stepwell.steps import StepSpec

__all__ = ["diagnose"]


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
        joins=[
            _join_report(plan, join, ran) for join in joins if any(join.have.values())
        ],
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
    for kind, count in join.need.items():
        if len(join.have[kind]) < count:
            makers = _makers(plan.steps, kind)
            report.producers[kind.__name__] = {s.name: ran[s.index] for s in makers}
    return report


def _makers(steps: Sequence[StepSpec], kind: type[Event]) -> list[StepSpec]:
    return [spec for spec in steps if kind in spec.returns]
