"""An executor that follows a script: a test decides what steps return or raise.

Retries, timeouts, joins and routing stay real, because the engine is not touched.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from stepwell.calls import StepCall
from stepwell.errors import did_you_mean
from stepwell.events import Event
from stepwell.executors import Executor, LocalExecutor
from stepwell.testing.script import Script, ScriptError, is_error
from stepwell.workflow import Workflow

__all__ = ["Held", "PerformedCall", "ScriptedExecutor"]


@dataclass(frozen=True, slots=True)
class PerformedCall:
    """One attempt at one call of a step, as an executor was given it.

    Attributes:
        step: Name of the step.
        event: The event that started it; a list for a step that takes a list, a
            tuple for one that takes several events.
        attempt: Which attempt this was, from 1.
    """

    step: str
    event: Any
    attempt: int


class Held:
    """An answer of a script that a call waits for until the test gives it.

    So a test can look at a run while a step works, without sleeping. Everything is
    done on the event loop of the run.

    Example:
        >>> from stepwell import StartEvent, StopEvent, Workflow, step
        >>> class Flow(Workflow):
        ...     @step
        ...     async def work(self, ev: StartEvent) -> StopEvent: ...
        >>> async def main():
        ...     held = Held()
        ...     handler = Flow(executor=ScriptedExecutor({"work": held})).run()
        ...     await held.started()
        ...     held.release(StopEvent(result=f"was {handler.status}"))
        ...     return await handler
        >>> asyncio.run(main())
        'was running'
    """

    def __init__(self) -> None:
        self._started = asyncio.Event()
        self._released = asyncio.Event()
        self._answer: object = None

    async def started(self, *, timeout: float | None = 10.0) -> None:
        """Wait until a call is held, or was.

        Args:
            timeout: Seconds to wait at most, of the loop's clock; None for no limit.

        Raises:
            ScriptError: Time was up: the run may have failed before that call.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._started.wait()
        except TimeoutError:
            raise ScriptError(
                f"no call was held within {timeout:g} seconds.",
                hint="Await the handler to see what became of the run.",
            ) from None

    def release(self, answer: object = None) -> None:
        """Give the answer, to calls that wait and to those that come later.

        Args:
            answer: What any item of a script may be: events, an exception, a function.

        Raises:
            ScriptError: It was given before.
        """
        if self._released.is_set():
            raise ScriptError(
                "this Held was released already.", hint="Make one for each call."
            )
        self._answer = answer
        self._released.set()

    async def _wait_for_answer(self) -> object:
        self._started.set()
        await self._released.wait()
        return self._answer


class ScriptedExecutor:
    """Performs calls as a script says; steps that it does not name run really.

    A list is taken one item a call, retries included; anything else answers every
    call of its step. An item is what the step returns (an event, a list of events,
    None), an exception to raise, a function of the event that gives what is returned
    (plain or async), or a `Held`. Plain `def` steps are answered on the event loop.
    What surrounds a step stays real: retries, resources, time limit, cache.

    `calls` lists every `PerformedCall`, scripted or not, in order.

    Args:
        script: Answers by the name of the step.
        otherwise: Performs the other steps; a `LocalExecutor` by default.

    Raises:
        ScriptError: An item is a class. Raised in the step that was called: its
            script has run out, or the workflow lacks a step that the script names.

    Example:
        >>> from stepwell import ConstantDelayRetryPolicy, StartEvent, StopEvent
        >>> from stepwell import Workflow, step
        >>> class Flow(Workflow):
        ...     @step(retry_policy=ConstantDelayRetryPolicy(delay=0))
        ...     async def search(self, ev: StartEvent) -> StopEvent: ...
        >>> executor = ScriptedExecutor(
        ...     {"search": [ValueError("down"), StopEvent(result="found")]}
        ... )
        >>> Flow(executor=executor).run_sync()
        'found'
        >>> [(call.step, call.attempt) for call in executor.calls]
        [('search', 1), ('search', 2)]
    """

    def __init__(
        self, script: Mapping[str, object], *, otherwise: Executor | None = None
    ) -> None:
        self.calls: list[PerformedCall] = []
        self._scripts = {
            name: Script(answers, f"step `{name}`") for name, answers in script.items()
        }
        self._otherwise: Executor = LocalExecutor() if otherwise is None else otherwise

    def perform(
        self, call: StepCall, instance: object | None, arguments: Mapping[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        """The coroutine that answers as scripted, or that of the other executor."""
        name = call.spec.name
        self.calls.append(PerformedCall(name, call.event, call.attempt))
        if isinstance(instance, Workflow):
            self._check_names(instance)
        if name not in self._scripts:
            return self._otherwise.perform(call, instance, arguments)
        return _answered(self._scripts[name].answer(call.event_name), call.event)

    def _check_names(self, workflow: Workflow) -> None:
        steps = [spec.name for spec in workflow.compile().steps]
        for name in self._scripts:
            if name not in steps:
                # A misspelt step would run really: with a network, with a bill.
                raise ScriptError(
                    f"the script names the step `{name}`, which "
                    f"{workflow.workflow_name} does not have."
                    f"{did_you_mean(name, steps)}",
                    hint=f"Its steps: {', '.join(steps)}.",
                    workflow=workflow.workflow_name,
                    step=name,
                )


async def _answered(item: object, event: object) -> object:
    if isinstance(item, Held):
        return await _answered(await item._wait_for_answer(), event)
    if is_error(item):
        raise item
    if callable(item) and not isinstance(item, Event):
        result = item(event)
        return await result if inspect.isawaitable(result) else result
    return item
