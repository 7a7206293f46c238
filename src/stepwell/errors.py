"""Every error the engine raises, in one tree.

Errors of the RAG parts live in `stepwell.rag.errors`; errors of the notebook
in `stepwell.notebook`. A user's own exception never appears here: it leaves a
run as itself, with a note saying which step, event and attempt it came from.

    StepwellError
    ├── WorkflowValidationError        a step or the graph is wrong as written
    │   ├── WorkflowConfigurationError the class as a whole cannot start or stop
    │   └── WorkflowArgumentError      an argument that nothing takes (TypeError)
    ├── WorkflowRuntimeError           a step or a caller did something undefined
    │   ├── NoRunningLoopError         run() was called where no event loop runs
    │   └── WorkflowStepDoesNotExistError  send_event(step=…) named no such step
    ├── WorkflowTimeoutError           the run's time is up (also TimeoutError)
    │   └── WorkflowStalledError       nothing can ever happen again
    ├── StepTimeoutError               one attempt at a step took too long (same)
    ├── WorkflowCancelledByUser        the run was cancelled from outside
    ├── ContextStateError              a context was used at the wrong moment
    ├── ContextSerdeError              a context could not be saved or restored
    │   └── ValueSerdeError            one value of it (in serializers; ValueError)
    ├── JournalUnavailable             a fact could not be recorded
    └── MissingExtraError              an optional package is absent (ImportError)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "ContextSerdeError",
    "ContextStateError",
    "JoinReport",
    "JournalUnavailable",
    "MissingExtraError",
    "NoRunningLoopError",
    "StallReport",
    "StepTimeoutError",
    "StepwellError",
    "WorkflowArgumentError",
    "WorkflowCancelledByUser",
    "WorkflowConfigurationError",
    "WorkflowRuntimeError",
    "WorkflowStalledError",
    "WorkflowStepDoesNotExistError",
    "WorkflowTimeoutError",
    "WorkflowValidationError",
    "did_you_mean",
]


class StepwellError(Exception):
    """Root of everything stepwell raises on its own behalf.

    Args:
        message: What happened, in one sentence.
        hint: What to do next; shown on a line of its own.
        workflow: Name of the workflow it happened in.
        step: Name of the step.
        event: Class name of the event.
        attempt: Which attempt at the step, counted from 1.
    """

    def __init__(
        self,
        message: str = "",
        *,
        hint: str | None = None,
        workflow: str | None = None,
        step: str | None = None,
        event: str | None = None,
        attempt: int | None = None,
    ) -> None:
        super().__init__(f"{message}\n{hint}" if hint else message)
        self.message = message
        self.hint = hint
        self.workflow = workflow
        self.step = step
        self.event = event
        self.attempt = attempt


class WorkflowValidationError(StepwellError):
    """A step's signature or the graph of steps is wrong as written."""


class WorkflowConfigurationError(WorkflowValidationError):
    """A workflow class as a whole cannot start or cannot stop."""


class WorkflowArgumentError(WorkflowValidationError, TypeError):
    """A class, a decorator or a method was given an argument that it does not take."""


class WorkflowRuntimeError(StepwellError, RuntimeError):
    """A step, or the code around a run, did something that has no meaning."""


class NoRunningLoopError(WorkflowRuntimeError):
    """`Workflow.run` was called where no event loop is running."""


class WorkflowStepDoesNotExistError(WorkflowRuntimeError):
    """An event was addressed to a step that the workflow does not have."""


class WorkflowTimeoutError(StepwellError, TimeoutError):
    """A run took longer than its workflow's `timeout` allows."""


class StepTimeoutError(StepwellError, TimeoutError):
    """One attempt at a step took longer than its `@step(timeout=…)` allows."""


class WorkflowCancelledByUser(StepwellError):
    """The run was cancelled: by its handler, an interrupt, or its awaiting task."""


class ContextStateError(StepwellError):
    """A context method was called before, during or after a run at the wrong time."""


class ContextSerdeError(StepwellError):
    """A context could not be turned into data, or data into a context."""


class JournalUnavailable(StepwellError):
    """The journal refused or lost an append, so the run stopped where it was."""


class MissingExtraError(StepwellError, ImportError):
    """A feature needs an optional package that is not installed.

    Args:
        package: The missing package.
        extra: The extra of stepwell that brings it.
        feature: What was asked for.
    """

    def __init__(self, package: str, *, extra: str, feature: str) -> None:
        super().__init__(
            f"{feature} needs the package {package!r}, which is not installed.",
            hint=f'Install it with: pip install "stepwell[{extra}]"',
        )
        self.package = package
        self.extra = extra


class JoinReport:
    """What one unfinished set of events has and still lacks.

    A set for `ctx.collect_events`, or for the event parameters of a step.

    Attributes:
        step: The step that waits for the set.
        have: Number of events so far, by class name.
        need: Number of events waited for, by class name.
        producers: For each class still lacking, the steps that can return it and
            how often each of them has run.
        takes: Classes of event that the step takes.
        deaf: Those of the classes still lacking that it does not take.
    """

    def __init__(self, step: str, have: dict[str, int], need: dict[str, int]) -> None:
        self.step = step
        self.have = have
        self.need = need
        self.producers: dict[str, dict[str, int]] = {}
        self.takes: tuple[str, ...] = ()
        self.deaf: tuple[str, ...] = ()

    @property
    def lacks(self) -> dict[str, int]:
        """How many events of each class are still missing."""
        short = {name: n - self.have.get(name, 0) for name, n in self.need.items()}
        return {name: n for name, n in short.items() if n > 0}


class StallReport:
    """Why a run cannot go on, as plain data.

    Attributes:
        workflow: Name of the workflow.
        joins: The joins that wait for events.
        last_events: `(event class, steps it was offered to, step it came from)`,
            oldest first.
        ended_silent: `(step, event class)` of the last call that returned None.
        promised: The classes that the annotation of that step names.
        never_ran: The steps that got no event, and the classes they accept.
    """

    def __init__(
        self,
        workflow: str,
        *,
        joins: Sequence[JoinReport] = (),
        last_events: Sequence[tuple[str, tuple[str, ...], str | None]] = (),
        ended_silent: tuple[str, str] | None = None,
        promised: Sequence[str] = (),
        never_ran: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.workflow = workflow
        self.joins = list(joins)
        self.last_events = list(last_events)
        self.ended_silent = ended_silent
        self.promised = tuple(promised)
        self.never_ran = dict(never_ran or {})


class WorkflowStalledError(WorkflowTimeoutError):
    """Nothing is running, queued or delayed, and nobody outside is waited for.

    Raised as soon as the run goes quiet rather than at its timeout. The parts of
    the diagnosis are in `report`.
    """

    def __init__(self, report: StallReport) -> None:
        facts = [*_join_lines(report.joins)]
        if not report.joins:
            facts += _silence_lines(report)
        facts += _event_lines(report)
        super().__init__(
            f"{report.workflow} stalled: nothing is running and nothing more can "
            "arrive, but no StopEvent was returned.\n" + "\n".join(facts),
            hint=_stall_hint(report),
            workflow=report.workflow,
            step=report.joins[0].step if report.joins else None,
        )
        self.report = report


def _join_lines(joins: Sequence[JoinReport]) -> Iterable[str]:
    for join in joins:
        have = ", ".join(
            f"{join.have.get(name, 0)} of {n} {name}" for name, n in join.need.items()
        )
        yield f"  `{join.step}` has {have} and waits for the rest."
        for name, steps in join.producers.items():
            for step, runs in steps.items():
                times = "once" if runs == 1 else f"{runs} times"
                yield f"  `{step}`, which returns {name}, ran {times}."


def _silence_lines(report: StallReport) -> Iterable[str]:
    if report.ended_silent:
        step, event = report.ended_silent
        yield f"  The last step to finish was `{step}` on {event}; it returned None."
    for step, events in report.never_ran.items():
        yield f"  `{step}` never ran: no {' or '.join(events)} was sent."


def _event_lines(report: StallReport) -> Iterable[str]:
    if report.last_events:
        yield "  Last events:"
    for event, takers, source in report.last_events:
        came = f" from `{source}`" if source else ""
        went = ", ".join(f"`{t}`" for t in takers) if takers else "no step takes it"
        yield f"    {event}{came} -> {went}"


def _stall_hint(report: StallReport) -> str:
    outside = (
        "Events that come from outside the steps, or from tasks that a step left "
        'behind, need Workflow(on_stall="wait").'
    )
    for join in report.joins:
        if join.deaf:
            every = " | ".join((*join.takes, *join.deaf))
            return (
                f"`{join.step}` collects {' and '.join(join.deaf)} and does not take "
                f"it: annotate its event parameter `{every}`."
            )
        for name, steps in join.producers.items():
            for step in steps:
                return (
                    "num_workers limits how many calls of a step run at once; it does "
                    "not multiply events.\n"
                    f"For more {name} events, make `{step}` return a list of them, or "
                    f"call ctx.send_event({name}(…)) in it once for each.\n{outside}"
                )
        lacks = " and ".join(join.lacks)
        return (
            f"Send the missing {lacks}, or ask for fewer in `{join.step}`.\n{outside}"
        )
    if report.ended_silent and report.promised:
        step, promised = report.ended_silent[0], " | ".join(report.promised)
        return (
            f"Is a `return` missing in `{step}`? Its annotation names {promised}.\n"
            f"{outside}"
        )
    return f"Return an event that a step takes, or a StopEvent to finish.\n{outside}"


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """A short ' Did you mean X?' for a misspelt name, or an empty string."""
    import difflib  # late: only errors need it, and it is slow to load

    close = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return f" Did you mean {close[0]}?" if close else ""
