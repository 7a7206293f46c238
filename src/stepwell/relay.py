"""The calls of a run performed by few tasks: a runner awaits one step after another.

A task for each call, as in `tasks`, costs several times what a short step does. A
runner is a real asyncio task too, and takes the next call when a step has ended;
only when a step really suspends do further runners start, so that all calls that
are to run, run. Each call has context variables of its own, all the same: a runner
whose variables a step has changed, or whose task was cancelled, is not used again.

So that other tasks of the event loop get their turn beside steps that never
suspend, all runners of a loop share a slice of time, and give way when it is used
up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import copy_context
from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary

from stepwell.bodies import Bodies, has_surroundings
from stepwell.calls import StepCall
from stepwell.context import Context, current_call
from stepwell.executors import Executor
from stepwell.tasks import Ended

__all__ = ["Relay"]

# Seconds until runners give way to the rest of the event loop.
_SLICE = 0.001
_MOST_AT_ONCE = 64


class _Slice:
    __slots__ = ("began",)

    def __init__(self) -> None:
        self.began = 0.0


_slices: WeakKeyDictionary[asyncio.AbstractEventLoop, _Slice] = WeakKeyDictionary()


_Outcome = tuple[StepCall, Any, BaseException | None]


class Relay:
    """Performs the calls of one run; the arguments are those of `Tasks`."""

    __slots__ = (
        "_bodies",
        "_burst",
        "_ctx",
        "_ended",
        "_executor",
        "_instance",
        "_loop",
        "_pumping",
        "_ready",
        "_reporting",
        "_runners",
        "_running",
        "_slice",
        "_variables",
    )

    def __init__(
        self,
        ctx: Context[Any],
        instance: object,
        executor: Executor,
        bodies: Bodies,
        ended: Ended,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._ctx = ctx
        self._instance = instance
        self._executor = executor
        self._bodies = bodies
        self._ended = ended
        # Every call starts from the context variables of whoever started the run.
        self._variables = copy_context()
        # Calls to begin, and ends of calls to report, in the order they came about.
        self._ready: deque[StepCall | _Outcome] = deque()
        # With the task each runs in, None when its end is still to be reported.
        self._running: dict[StepCall, asyncio.Task[Any] | None] = {}
        self._runners = 0
        self._burst = 1
        self._pumping = False
        self._reporting = False
        found = _slices.get(self._loop)
        if found is None:
            found = _slices[self._loop] = _Slice()
        self._slice = found

    def __len__(self) -> int:
        """How many calls run."""
        return len(self._running)

    def start(self, call: StepCall) -> None:
        """Begin a call, when a runner gets to it: after those begun before."""
        self._ready.append(call)
        if self._reporting or self._pumping:
            return  # whoever is at it goes on with this one
        if self._runners:
            # From inside a step, or from outside: the runners may all be suspended.
            self._pumping = True
            self._loop.call_soon(self._pump, context=self._variables)
        else:
            self._spawn()

    def _spawn(self) -> None:
        self._runners += 1
        task = self._loop.create_task(self._run(), context=self._variables.copy())
        # Not in a `finally` of the runner: a task that is cancelled before its first
        # step never enters its body.
        task.add_done_callback(self._retire, context=self._variables)

    def _pump(self) -> None:
        """Start runners for calls that are still ready: those at work suspended."""
        self._pumping = False
        if not self._ready:
            self._burst = 1
            return
        for _ in range(min(self._burst, len(self._ready))):
            self._spawn()
        self._burst = min(2 * self._burst, _MOST_AT_ONCE)

    def _retire(self, task: asyncio.Task[None]) -> None:
        self._runners -= 1
        if self._ready and not self._pumping:
            self._spawn()
        if not task.cancelled():
            task.exception()  # reported as the call's

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        # Emptied in place when the run ends, never replaced.
        ready, running, ctx = self._ready, self._running, self._ctx
        while ready:
            item = ready.popleft()
            if ready and not self._pumping:
                # Gets its turn only if the step suspends.
                self._pumping = True
                self._loop.call_soon(self._pump, context=self._variables)
            if isinstance(item, tuple):
                self._report(*item)
                continue
            call, spec = item, item.spec
            arguments = call.arguments()
            if spec.context_parameter is not None:
                arguments[spec.context_parameter] = ctx.for_call(call)
            current_call.set((ctx, call))
            before = copy_context()
            running[call] = task
            task.set_name(spec.name)
            value: Any = None
            error: BaseException | None = None
            try:
                performer = self._bodies if has_surroundings(spec) else self._executor
                instance = self._instance if spec.bound else None
                value = await performer.perform(call, instance, arguments)
            except BaseException as raised:
                error = raised
            if call not in running:
                return  # nobody waits for it any longer
            running[call] = None
            fatal = isinstance(error, KeyboardInterrupt | SystemExit)
            if fatal or not ready:
                self._report(call, value, error)
            else:
                ready.append((call, value, error))
            if fatal and error is not None:
                raise error
            # Its traceback holds this frame, which would hold it.
            error = value = None
            if task.cancelling() or copy_context() != before:
                return
            # With nothing left to do it ends here: a run leaves no task behind.
            if ready and perf_counter() - self._slice.began > _SLICE:
                await asyncio.sleep(0)
                self._slice.began = perf_counter()

    def _report(self, call: StepCall, value: Any, error: BaseException | None) -> None:
        del self._running[call]
        self._reporting = True
        try:
            self._ended(call, value, error)
        finally:
            self._reporting = False

    def stop(self, call: StepCall) -> None:
        """Cancel a call; its end is reported as any other."""
        task = self._running.get(call)
        if task is not None:
            task.cancel()
        elif call in self._ready:
            self._ready.remove(call)
            self._ended(call, None, asyncio.CancelledError())

    def stop_all(self) -> None:
        """Cancel all calls; those that have not begun never will."""
        outcomes = [item for item in self._ready if isinstance(item, tuple)]
        self._ready.clear()
        for task in tuple(self._running.values()):
            if task is not None:
                task.cancel()
        for outcome in outcomes:
            self._report(*outcome)

    def abandon(self) -> list[str]:
        """Wait for no call any longer; gives the names of the steps still running."""
        names = [call.spec.name for call in self._running]
        self._running.clear()
        return names
