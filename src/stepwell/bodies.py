"""What surrounds the body of a step: its resources, its time limit, its kept result.

Most steps have none of these, and `run` performs them directly. What a kept
result is filed under is worked out here too.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

from stepwell.calls import StepCall
from stepwell.errors import StepTimeoutError
from stepwell.events import Event
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

    def __init__(
        self, executor: Executor, resources: ResourceManager, workflow: str
    ) -> None:
        self._executor = executor
        self._resources = resources
        self._workflow = workflow
        self._limits: dict[int, asyncio.Timeout] = {}

    async def perform(
        self, call: StepCall, instance: object, arguments: Mapping[str, Any]
    ) -> Any:
        """What the step's function returns, or what an earlier equal call did.

        Raises:
            StepTimeoutError: It took longer than the step's `timeout`.
        """
        spec = call.spec
        key = None
        if spec.cache is not None:
            key = _key(call)
            if key in spec.cache:
                return _copied(spec.cache[key])
        try:
            async with asyncio.timeout(spec.timeout) as limit:
                self._limits[call.call_id] = limit
                given = await self._resources.resolve(spec.resources)
                value = await self._executor.perform(
                    call, instance, {**arguments, **given}
                )
        except TimeoutError as error:
            if not limit.expired():
                raise  # one of the step's own
            raise StepTimeoutError(
                f"step `{spec.name}` of {self._workflow} took longer than the "
                f"{spec.timeout:g} seconds of its timeout.",
                hint="Allow more with @step(timeout=…), or have it tried again with "
                "@step(retry_policy=…).",
                workflow=self._workflow,
                step=spec.name,
                event=call.event_name,
                attempt=call.attempt,
            ) from error
        finally:
            self._limits.pop(call.call_id, None)
        if key is not None and spec.cache is not None:
            spec.cache[key] = _copied(value)
        return value

    def stop_clock(self, call: StepCall) -> float | None:
        """Let a call's time limit rest; gives the seconds it has left, if any."""
        limit = self._limits.get(call.call_id)
        due = limit.when() if limit is not None else None
        if limit is None or due is None:
            return None
        limit.reschedule(None)
        return due - asyncio.get_running_loop().time()

    def start_clock(self, call: StepCall, seconds: float | None) -> None:
        """Let a call's time limit go on with what it had left."""
        limit = self._limits.get(call.call_id)
        if limit is not None and seconds is not None:
            limit.reschedule(asyncio.get_running_loop().time() + seconds)


def _key(call: StepCall) -> str:
    """What a result is kept under: the step, its code, and its event."""
    function = call.spec.function
    code = getattr(function, "__code__", None)
    event = call.event
    parts = event if isinstance(event, list | tuple) else [event]
    told = [f"{function.__module__}.{function.__qualname__}", *_code_of(code)]
    for part in parts:
        told.append(f"{type(part).__module__}.{type(part).__qualname__}")
        told.append(repr(sorted(part.items(), key=lambda pair: pair[0])))
    return hashlib.sha256("\0".join(told).encode()).hexdigest()


def _code_of(code: Any) -> list[str]:
    """A function's code as text that changes when the code does."""
    if code is None:
        return []
    # Functions written inside it are among its constants, and show an address.
    inner = [c for c in code.co_consts if hasattr(c, "co_code")]
    plain = [repr(c) for c in code.co_consts if not hasattr(c, "co_code")]
    told = [code.co_code.hex(), repr(code.co_names), *plain]
    return told + [line for each in inner for line in _code_of(each)]


def _copied(value: Any) -> Any:
    """Events to hand out again: changing one must not change what is kept."""
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value.model_copy(deep=True) if isinstance(value, Event) else value
