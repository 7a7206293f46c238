"""Running a workflow in a test, and what is left of the run to assert on.

Awaiting one run to its end is all it does; to answer questions of a run or to
cancel it, use the handler that `Workflow.run` gives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from stepwell.context import Context
from stepwell.errors import (
    WorkflowRuntimeError,
    WorkflowStepDoesNotExistError,
    did_you_mean,
)
from stepwell.events import Event, StartEvent
from stepwell.record import RunRecord
from stepwell.rows import CallRecord
from stepwell.workflow import Workflow

__all__ = ["WorkflowTestResult", "WorkflowTestRunner"]


@dataclass(frozen=True, slots=True)
class WorkflowTestResult:
    """What one run left behind.

    Attributes:
        collected: The events of the stream, in order, but for the excluded.
        event_types: How many of each class were collected.
        result: What awaiting the run gave; None where it raised.
        ctx: The run's context, with its store.
        record: The calls of steps: when, and caused by what.
        error: What ended the run; None for a run with a result.
        steps: Names of the workflow's steps.
    """

    collected: list[Event]
    event_types: dict[type[Event], int]
    result: Any
    ctx: Context[Any] = field(repr=False)
    record: RunRecord = field(repr=False)
    error: BaseException | None = None
    steps: tuple[str, ...] = field(default=(), repr=False)

    def calls(self, step: str) -> list[CallRecord]:
        """The attempts at one step, oldest first, with `input` and `outputs`.

        A record keeps the last 3,000 calls of a run.

        Raises:
            WorkflowStepDoesNotExistError: The workflow has no such step.
        """
        if step not in self.steps:
            raise WorkflowStepDoesNotExistError(
                f"there is no step `{step}`.{did_you_mean(step, self.steps)}",
                hint=f"The steps: {', '.join(self.steps)}.",
                step=step,
            )
        return [call for call in self.record if call.step == step]


class WorkflowTestRunner:
    """Runs a workflow to its end and collects what it publishes on the way.

    Args:
        workflow: The workflow; every run is a new one of it.

    Example:
        >>> from stepwell import StartEvent, StopEvent, step
        >>> class Greeting(Workflow):
        ...     @step
        ...     async def greet(self, ev: StartEvent) -> StopEvent:
        ...         return StopEvent(result=f"Hello, {ev.name}!")
        >>> import asyncio
        >>> test = asyncio.run(WorkflowTestRunner(Greeting()).run(name="Ada"))
        >>> test.result
        'Hello, Ada!'
        >>> [call.outputs for call in test.calls("greet")]
        [('StopEvent',)]
    """

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self._last: WorkflowTestResult | None = None

    @property
    def last(self) -> WorkflowTestResult:
        """The run that ended last, also where it raised: then `error` says what.

        Raises:
            WorkflowRuntimeError: No run has ended yet.
        """
        if self._last is None:
            raise WorkflowRuntimeError(
                f"no run of {self._workflow.workflow_name} has ended in this runner.",
                hint="Await runner.run(…) before.",
                workflow=self._workflow.workflow_name,
            )
        return self._last

    async def run(
        self,
        start_event: StartEvent | None = None,
        ctx: Context[Any] | None = None,
        *,
        expose_internal: bool = True,
        exclude_events: Collection[type[Event]] | None = None,
        **fields: Any,
    ) -> WorkflowTestResult:
        """Run the workflow once. Cancelling this cancels the run.

        It waits for the end, so a workflow that asks a person needs its handler.

        Args:
            start_event: The start event; made from `fields` if not given.
            ctx: A context to go on with.
            expose_internal: Collect internal events as well.
            exclude_events: Classes not to collect; subclasses are others.
            **fields: Fields of the start event.

        Raises:
            Exception: What ended the run, as awaiting it raises; what was collected
                until then is in `last`.
        """
        workflow = self._workflow
        handler = workflow.run(start_event=start_event, ctx=ctx, **fields)
        excluded = set(exclude_events or ())
        collected: list[Event] = []
        result: Any = None
        try:
            async for event in handler.stream_events(expose_internal=expose_internal):
                if type(event) not in excluded:
                    collected.append(event)
            result = await handler
        finally:
            await handler.cancel_run(reason="its test runner was cancelled")
            test = self._last = WorkflowTestResult(
                collected=collected,
                event_types=dict(Counter(type(event) for event in collected)),
                result=result,
                ctx=handler.ctx,
                record=handler.record,
                error=handler.error,
                steps=tuple(spec.name for spec in workflow.compile().steps),
            )
        return test
