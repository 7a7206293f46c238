"""What surrounds the body of a step: its resources, its time limit, its kept result.

Most steps have none of these, and `relay` performs them directly. What a kept
result is filed under is worked out in `cache`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from stepwell.cache import copied, key_of
from stepwell.calls import StepCall
from stepwell.errors import StepTimeoutError
from stepwell.executors import Executor
from stepwell.resources import ResourceManager
from stepwell.signature import StepSpec

__all__ = ["Bodies", "has_surroundings"]


def has_surroundings(spec: StepSpec) -> bool:
    """Whether a step is to be performed by `Bodies`."""
    return bool(spec.resources) or spec.timeout is not None or spec.cache is not None


class Bodies:
    """Performs calls with all that their steps ask for besides the event.

    Args:
        executor: Performs the bodies themselves.
        resources: Makes what is injected.
        workflow: Name of the workflow, for messages.
    """

    __slots__ = ("_clocks", "_executor", "_resources", "_workflow")

    def __init__(
        self, executor: Executor, resources: ResourceManager, workflow: str
    ) -> None:
        self._executor = executor
        self._resources = resources
        self._workflow = workflow
        self._clocks: dict[int, _Clock] = {}

    async def perform(
        self, call: StepCall, instance: object, arguments: Mapping[str, Any]
    ) -> Any:
        """What the step's function returns, or what an earlier equal call did.

        Raises:
            StepTimeoutError: It took longer than the step's `timeout`.
        """
        kept = call.spec.cache
        if kept is None:
            return await self._within_limit(call, instance, arguments)
        key = key_of(call)
        if key in kept:
            return copied(kept[key])
        value = await self._within_limit(call, instance, arguments)
        try:
            kept[key] = copied(value)
        except Exception as error:
            error.add_note(f"while keeping the result of step `{call.spec.name}`")
            raise
        return value

    async def _within_limit(
        self, call: StepCall, instance: object, arguments: Mapping[str, Any]
    ) -> Any:
        try:
            async with asyncio.timeout(call.spec.timeout) as limit:
                self._clocks[call.call_id] = _Clock(limit)
                try:
                    given = await self._resources.resolve(call.spec.resources)
                    return await self._executor.perform(
                        call, instance, {**arguments, **given}
                    )
                finally:
                    # Tasks that the attempt left behind may go on waiting.
                    del self._clocks[call.call_id]
        except TimeoutError as error:
            if not limit.expired():
                raise  # one of the step's own
            raise self._too_slow(call) from error

    def _too_slow(self, call: StepCall) -> StepTimeoutError:
        spec = call.spec
        left = "" if spec.is_async else " Its thread cannot be stopped and goes on."
        return StepTimeoutError(
            f"step `{spec.name}` of {self._workflow} took longer than the "
            f"{spec.timeout:g} seconds of its timeout, on {call.event_name}, attempt "
            f"{call.attempt}.{left}",
            hint="Allow more with @step(timeout=…), or have it tried again with "
            "@step(retry_policy=…).",
            workflow=self._workflow,
            step=spec.name,
            event=call.event_name,
            attempt=call.attempt,
        )

    def stop_clock(self, call: StepCall) -> None:
        """Let a call's time limit rest: it waits for something."""
        clock = self._clocks.get(call.call_id)
        if clock is not None:
            clock.stop()

    def start_clock(self, call: StepCall) -> None:
        """Let a call's time limit go on with what it had left: a wait has ended."""
        clock = self._clocks.get(call.call_id)
        if clock is not None:
            clock.go_on()


class _Clock:
    """The time limit of one attempt: it rests while the attempt only waits.

    Waits of one attempt may overlap; it goes on when the last one has ended.
    """

    def __init__(self, limit: asyncio.Timeout) -> None:
        self._limit = limit
        self._waits = 0
        self._left: float | None = None

    def stop(self) -> None:
        self._waits += 1
        due = self._limit.when()
        if due is not None and not self._limit.expired():
            self._left = due - asyncio.get_running_loop().time()
            self._limit.reschedule(None)

    def go_on(self) -> None:
        self._waits -= 1
        if self._waits == 0 and self._left is not None:
            self._limit.reschedule(asyncio.get_running_loop().time() + self._left)
            self._left = None
