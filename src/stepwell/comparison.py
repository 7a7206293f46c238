"""Runs side by side, as figures: what each step of each run did, and for how long.

Plain data, taken when the comparison is made. How a notebook shows it is in
`notebook`; one run's own story, in `record`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from stepwell.errors import WorkflowArgumentError
from stepwell.handler import WorkflowHandler
from stepwell.record import RunRecord
from stepwell.rows import CallRecord

__all__ = ["ComparedRun", "Comparison", "StepFigures", "compare", "ratio"]

_LONGEST_OUTCOME = 300


def compare(
    first: WorkflowHandler | RunRecord,
    second: WorkflowHandler | RunRecord,
    *more: WorkflowHandler | RunRecord,
) -> Comparison:
    """Put runs side by side: how they ended, and what each step did in each of them.

    Args:
        first: A run, or its record. The others are measured against it.
        second: Another run, over or not, of the same workflow or of another one.
        more: Further runs.

    Returns:
        The runs as they stand now. As a cell's last value it is shown as tables and
        timelines; `to_rows()` gives its figures.

    Raises:
        WorkflowArgumentError: Something given is neither a handler nor a record.
    """
    runs = (first, second, *more)
    return Comparison(tuple(_taken(number, run) for number, run in enumerate(runs, 1)))


@dataclass(frozen=True, slots=True)
class StepFigures:
    """What one step did in one run.

    Attributes:
        calls: Calls that began; attempts at one count once.
        retries: Attempts that failed and were tried again.
        failed: Calls that failed for good.
        seconds: Time of all its attempts together.
        counts: What they counted with `ctx.count`, summed up.
    """

    calls: int = 0
    retries: int = 0
    failed: int = 0
    seconds: float = 0.0
    counts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One run as it stood when it was compared.

    Attributes:
        number: Its place in the comparison, from 1.
        name: Name of its workflow; "run" where only the record was given.
        status: As `handler.status`; empty where only the record was given.
        elapsed: Seconds since it began, until its end.
        outcome: Its result or error in short; empty while there is none.
        failed: Whether the outcome is an error.
        calls: The calls of its record.
        workflow: The workflow, where it is known.
    """

    number: int
    name: str
    status: str
    elapsed: float
    outcome: str
    failed: bool
    calls: tuple[CallRecord, ...]
    workflow: Any = None

    @property
    def steps(self) -> dict[str, StepFigures]:
        """Figures by step, in the order in which the steps first were called."""
        by_step: dict[str, list[CallRecord]] = {}
        for call in self.calls:
            by_step.setdefault(call.step, []).append(call)
        return {step: _figures(calls) for step, calls in by_step.items()}

    @property
    def total(self) -> StepFigures:
        """Figures of all steps together."""
        return _figures(self.calls)


@dataclass(frozen=True, slots=True, repr=False)
class Comparison:
    """Runs side by side; made by `compare`.

    Attributes:
        runs: The runs, in the order in which they were given.
    """

    runs: tuple[ComparedRun, ...]

    @property
    def steps(self) -> list[str]:
        """Names of the steps of all runs, in the order in which they were called."""
        return list(dict.fromkeys(step for run in self.runs for step in run.steps))

    def to_rows(self) -> list[dict[str, Any]]:
        """A dictionary for each step in each run: ready for a table.

        `ratio` is the time of the step, divided by its time in the first run: below 1
        it was quicker. `difference` is the same in seconds. Both are None where
        one of the two runs did not call it.
        """
        rows = []
        per_run = [(run, run.steps) for run in self.runs]
        for step in self.steps:
            base = per_run[0][1].get(step)
            for run, figures in per_run:
                here = figures.get(step)
                rows.append(
                    {
                        "step": step,
                        "run": run.number,
                        "workflow": run.name,
                        **_plain(here or StepFigures()),
                        "ratio": ratio(here, base),
                        "difference": here.seconds - base.seconds
                        if here and base
                        else None,
                    }
                )
        return rows

    def __repr__(self) -> str:
        """A table for people: a line for each step, a column for each run."""
        heads = [f"{r.number} {r.name} {r.status}".rstrip() for r in self.runs]
        per_run = [run.steps for run in self.runs]
        lines = [["", *heads], ["elapsed", *(f"{r.elapsed:.3f} s" for r in self.runs)]]
        for step in self.steps:
            base = per_run[0].get(step)
            cells = [_cell(figures.get(step), base) for figures in per_run]
            lines.append([step, cells[0].split(" (")[0], *cells[1:]])
        widths = [max(len(line[i]) for line in lines) for i in range(len(heads) + 1)]
        return "\n".join(
            "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )


def ratio(here: StepFigures | None, base: StepFigures | None) -> float | None:
    """How a step's time compares with its time in another run; None where it cannot."""
    if here is None or base is None or not base.seconds:
        return None
    return here.seconds / base.seconds


def _taken(number: int, run: WorkflowHandler | RunRecord) -> ComparedRun:
    if isinstance(run, RunRecord):
        calls = tuple(run)
        times = [t for call in calls for t in (call.started, call.ended) if t]
        return ComparedRun(number, "run", "", max(times, default=0.0), "", False, calls)
    if not isinstance(run, WorkflowHandler):
        raise WorkflowArgumentError(
            f"compare() was given a {type(run).__name__} as run {number}.",
            hint="Give it handlers, `handler = workflow.run(…)`, or their records.",
        )
    error = run.error
    outcome = _shown(run, error)
    workflow = run.workflow
    return ComparedRun(
        number,
        str(workflow.workflow_name),
        run.status,
        run.elapsed,
        outcome if len(outcome) <= _LONGEST_OUTCOME else outcome[:299] + "…",
        error is not None,
        tuple(run.record),
        workflow,
    )


def _shown(run: WorkflowHandler, error: BaseException | None) -> str:
    """How a run ended, in short; anything of the user's may fail to say what it is."""
    try:
        if error is not None:
            return f"{type(error).__name__}: {error}".split("\n", 1)[0]
        stop = run.get_stop_event()
        return "" if stop is None else repr(run.result())
    except Exception as problem:
        return f"(cannot be shown: {type(problem).__name__})"


def _figures(calls: Iterable[CallRecord]) -> StepFigures:
    begun, retries, failed, seconds = set(), 0, 0, 0.0
    counts: dict[str, float] = {}
    for call in calls:
        if call.started is not None:
            begun.add(call.call_id)
        retries += call.status == "retrying"
        failed += call.status == "failed"
        seconds += call.duration or 0.0
        for name, amount in call.counts.items():
            counts[name] = counts.get(name, 0.0) + amount
    return StepFigures(len(begun), retries, failed, seconds, counts)


def _plain(figures: StepFigures) -> dict[str, Any]:
    return {
        "calls": figures.calls,
        "retries": figures.retries,
        "failed": figures.failed,
        "seconds": figures.seconds,
        "counts": dict(figures.counts),
    }


def _cell(here: StepFigures | None, base: StepFigures | None) -> str:
    if here is None:
        return "-"
    factor = ratio(here, base)
    against = "" if factor is None else f" ({factor:.2f}×)"
    return f"{here.calls} in {here.seconds:.3f} s{against}"
