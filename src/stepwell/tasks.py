"""The calls of a run as asyncio tasks: a task for each, with variables of its own.

The plain way, against which the faster one in `relay` is tested. That a call is to
begin or to stop is decided in `machine`; what its end means, too.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from stepwell.bodies import Bodies, has_surroundings
from stepwell.calls import StepCall
from stepwell.context import Context, current_call
from stepwell.executors import Executor

__all__ = ["Employer", "Tasks"]


class Employer(Protocol):
    """The run whose calls are performed."""

    @property
    def clock(self) -> Callable[[], float]:
        """Tells the time, in seconds."""
        ...

    @property
    def bodies(self) -> Bodies:
        """Performs the calls of steps that ask for more than their event."""
        ...

    def on_ended(
        self, call: StepCall, value: Any, error: BaseException | None, now: float
    ) -> None:
        """Take note that a call has ended.

        Args:
            call: Which one.
            value: What it returned.
            error: What it raised: a `CancelledError` where it was cancelled.
            now: The time.
        """
        ...


class Tasks:
    """Performs the calls of one run.

    Args:
        run: The run.
        loop: The event loop that runs here.
        ctx: Given to the steps that take a context.
        instance: The workflow, given to steps as `self`.
        executor: Performs the bodies of steps.
    """

    def __init__(
        self,
        run: Employer,
        loop: asyncio.AbstractEventLoop,
        ctx: Context[Any],
        instance: object,
        executor: Executor,
    ) -> None:
        self._run = run
        self._loop = loop
        self._ctx = ctx
        self._instance = instance
        self._executor = executor
        # Every call starts from the context variables of whoever started the run.
        self._variables = contextvars.copy_context()
        self._tasks: dict[asyncio.Future[Any], StepCall] = {}

    def __len__(self) -> int:
        """How many calls run."""
        return len(self._tasks)

    def start(self, call: StepCall) -> None:
        """Begin a call."""
        spec = call.spec
        arguments = call.arguments()
        if spec.context_parameter is not None:
            arguments[spec.context_parameter] = self._ctx.for_call(call)
        variables = self._variables.copy()
        variables.run(current_call.set, (self._ctx, call))
        performer = self._run.bodies if has_surroundings(spec) else self._executor
        try:
            instance = self._instance if spec.bound else None
            body = performer.perform(call, instance, arguments)
            task: asyncio.Future[Any] = self._loop.create_task(
                body, name=spec.name, context=variables
            )
        except Exception as error:
            task = self._loop.create_future()
            task.set_exception(error)
        self._tasks[task] = call
        # In a callback and not in a `finally` of the body: a task cancelled before
        # its first step never enters its body.
        task.add_done_callback(self._on_done, context=self._variables)

    def kick(self) -> None:
        """Nothing: a task begins by itself."""

    def _on_done(self, task: asyncio.Future[Any]) -> None:
        call = self._tasks.pop(task)
        if task.cancelled():
            self._report(call, None, asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self._report(call, None, error)
        else:
            self._report(call, task.result(), None)

    def _report(self, call: StepCall, value: Any, error: BaseException | None) -> None:
        self._run.on_ended(call, value, error, self._run.clock())

    def catch_up(self) -> None:
        """Nothing: ends are reported as they come about."""

    def stop(self, call: StepCall) -> None:
        """Cancel a call; its end is reported as any other."""
        for task, running in tuple(self._tasks.items()):
            if running is call:
                task.cancel()

    def stop_all(self, calls: Sequence[StepCall]) -> None:
        """Cancel these calls, which are all."""
        for task in tuple(self._tasks):
            task.cancel()

    def abandon(self, calls: Sequence[StepCall]) -> list[str]:
        """Wait for no call any longer; gives the names of the steps still running."""
        names = [call.spec.name for call in self._tasks.values()]
        for task in self._tasks:
            task.remove_done_callback(self._on_done)
        self._tasks.clear()
        return names

    def let_go(self) -> None:
        """Nothing: what it holds goes with the run."""
