"""The calls of a run performed by few tasks: a runner awaits one step after another.

A task for each call, as in `tasks`, costs several times what a short step does. A
runner is a real asyncio task too, and takes the next call when a step has ended;
only when a step really suspends do further runners start, so that all calls that
are to run, run. Each call has context variables of its own, all the same: a runner
whose variables a step has changed, or whose task was cancelled, is not used again.

So that other tasks of the event loop get their turn beside steps that never
suspend, the runners of a loop share a slice of each of its passes, and give way
when their part of it is used up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary

from stepwell.bodies import Bodies, has_surroundings
from stepwell.calls import StepCall
from stepwell.context import Context, current_call
from stepwell.executors import Executor, LocalExecutor
from stepwell.tasks import Ended

__all__ = ["Relay"]

# Seconds of a pass of the event loop that the runners on it may take together.
_SLICE = 0.001
_MOST_AT_ONCE = 64


class _Pass:
    """One pass of an event loop after the other, as far as runners take part in it."""

    __slots__ = ("began", "number", "share", "turns")

    def __init__(self) -> None:
        self.number = 0
        self.turns = 0
        self.began = 0.0
        self.share = _SLICE

    def take_turn(self, loop: asyncio.AbstractEventLoop, now: float) -> float:
        """Begin the turn of a runner; gives the time at which it is to give way."""
        if not self.turns:
            self.began = now
            loop.call_soon(self._end)
        self.turns += 1
        # A fair share, so that the first runners of a pass leave something to others.
        return min(now + self.share, self.began + _SLICE)

    def _end(self) -> None:
        self.share = _SLICE / self.turns
        self.number += 1
        self.turns = 0


_passes: WeakKeyDictionary[asyncio.AbstractEventLoop, _Pass] = WeakKeyDictionary()


def _pass_of(loop: asyncio.AbstractEventLoop) -> _Pass:
    found = _passes.get(loop)
    if found is None:
        found = _passes[loop] = _Pass()
    return found


class _Runner:
    """A task that awaits steps, and the call it is at; None between two."""

    __slots__ = ("call", "place", "relay", "task")

    task: asyncio.Task[Any]

    def __init__(self, relay: Relay, place: int) -> None:
        self.relay = relay
        self.place = place
        self.call: StepCall | None = None

    def retire(self, task: asyncio.Task[None]) -> None:
        """Its task has ended, or was cancelled before it began."""
        runners = self.relay._runners
        last = runners.pop()
        if last is not self:
            runners[self.place] = last
            last.place = self.place
        if not task.cancelled():
            task.exception()  # reported as the call's
        self.relay.kick()


_Outcome = tuple[StepCall, Any, BaseException | None]


class Relay:
    """Performs the calls of one run; the arguments are those of `Tasks`."""

    __slots__ = (
        "_bodies",
        "_burst",
        "_clock",
        "_ctx",
        "_ended",
        "_executor",
        "_giving_way",
        "_instance",
        "_loop",
        "_pumping",
        "_ready",
        "_runners",
        "_variables",
        "start",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ctx: Context[Any],
        instance: object,
        executor: Executor,
        bodies: Bodies,
        clock: Callable[[], float],
        ended: Ended,
    ) -> None:
        self._loop = loop
        self._ctx: Context[Any] | None = ctx
        self._instance: object = instance
        self._executor = executor
        self._bodies = bodies
        self._clock = clock
        self._ended: Ended | None = ended
        # Every call starts from the context variables of whoever started the run.
        self._variables = copy_context()
        # Calls to begin, and ends of calls to report, in the order they came about.
        self._ready: deque[StepCall | _Outcome] = deque()
        # Begins a call when a runner gets to it: after those begun before.
        self.start = self._ready.append
        self._runners: list[_Runner] = []
        self._burst = 1
        self._pumping = False
        # How many runners have given way to others of the loop.
        self._giving_way = 0

    def __len__(self) -> int:
        """How many calls have begun and are not reported to have ended."""
        at_work = [runner for runner in self._runners if runner.call is not None]
        return len(at_work) + sum(isinstance(item, tuple) for item in self._ready)

    def clear(self) -> None:
        """Forget the calls that were to begin."""
        self._ready.clear()

    def kick(self) -> None:
        """See to it that somebody begins the calls that were started."""
        if not self._ready or self._pumping:
            return
        if self._runners:
            # Whoever is at work goes on with them, unless all are suspended.
            self._pumping = True
            self._loop.call_soon(self._pump, context=self._variables)
        else:
            self._spawn()

    def _spawn(self) -> None:
        runner = _Runner(self, len(self._runners))
        self._runners.append(runner)
        task = self._loop.create_task(self._run(runner), context=self._variables.copy())
        # Not in a `finally` of the runner: a task that is cancelled before its first
        # step never enters its body.
        task.add_done_callback(runner.retire, context=self._variables)

    def _pump(self) -> None:
        """Start runners for calls that are still ready: those at work suspended."""
        self._pumping = False
        self._report_first()
        if not self._ready or self._giving_way:
            self._burst = 1
            return
        for _ in range(min(self._burst, len(self._ready))):
            self._spawn()
        self._burst = min(2 * self._burst, _MOST_AT_ONCE)

    async def _run(self, runner: _Runner) -> None:
        task = asyncio.current_task()
        assert task is not None
        runner.task = task
        # Emptied in place when the run ends, never replaced.
        ready, ctx, instance = self._ready, self._ctx, self._instance
        clock, ended = self._clock, self._ended
        assert ctx is not None and ended is not None
        direct = type(self._executor) is LocalExecutor
        give_way_at, in_pass, named_after = 0.0, -1, None
        this: _Pass | None = None
        while ready:
            call = ready.popleft()
            if ready and not self._pumping:
                # Gets its turn only if the step suspends.
                self._pumping = True
                self._loop.call_soon(self._pump, context=self._variables)
            if isinstance(call, tuple):
                ended(call[0], call[1], call[2], clock())
                continue
            spec = call.spec
            current_call.set((ctx, call))
            before = copy_context()
            runner.call, call.task = call, task
            if spec is not named_after:
                task.set_name(spec.name)
                named_after = spec
            value: Any = None
            error: BaseException | None = None
            try:
                form = spec.form
                if form == "event" and direct:
                    if spec.bound:
                        value = await spec.function(instance, call.event)
                    else:
                        value = await spec.function(call.event)
                elif form == "context, event" and direct and spec.bound:
                    face = ctx.for_call(call)
                    value = await spec.function(instance, face, call.event)
                else:
                    value = await self._perform(call)
            except BaseException as raised:
                error = raised
            if runner.call is None:
                return  # nobody waits for it any longer
            runner.call = call.task = None
            if error is not None and isinstance(error, KeyboardInterrupt | SystemExit):
                self._report(call, None, error)
                raise error
            if ready:
                ready.append((call, value, error))
            else:
                ended(call, value, error, clock())
            # Its traceback holds this frame, which would hold it.
            error = value = None
            if task.cancelling() or copy_context() != before:
                return
            # With nothing left to do it ends here: a run leaves no task behind.
            if ready and (now := perf_counter()) > give_way_at:
                this = this or _pass_of(self._loop)
                if in_pass == this.number:
                    await self._give_way()
                    now = perf_counter()
                give_way_at = this.take_turn(self._loop, now)
                in_pass = this.number

    async def _give_way(self) -> None:
        # No step suspended, so nobody else is to go on in the meantime.
        self._giving_way += 1
        try:
            await asyncio.sleep(0)
        finally:
            self._giving_way -= 1

    def _perform(self, call: StepCall) -> Any:
        """The coroutine of a call."""
        spec = call.spec
        if spec.form is None:
            spec.work_out_form()
        arguments = call.arguments()
        if spec.context_parameter is not None:
            assert self._ctx is not None
            arguments[spec.context_parameter] = self._ctx.for_call(call)
        performer = self._bodies if has_surroundings(spec) else self._executor
        return performer.perform(
            call, self._instance if spec.bound else None, arguments
        )

    def _report(self, call: StepCall, value: Any, error: BaseException | None) -> None:
        assert self._ended is not None
        self._ended(call, value, error, self._clock())

    def catch_up(self) -> None:
        """Report all ends of calls that have come about."""
        # Brought to the front, for what they lead to comes behind what is there.
        self._ready.extendleft(reversed(self._take_out_ends()))
        self._report_first()

    def _take_out_ends(self) -> list[_Outcome]:
        ready = tuple(self._ready)
        self._ready.clear()
        self._ready.extend(item for item in ready if not isinstance(item, tuple))
        return [item for item in ready if isinstance(item, tuple)]

    def _report_first(self) -> None:
        """Report ends of calls until a call comes that is to begin."""
        ready = self._ready
        while ready and isinstance(first := ready[0], tuple):
            ready.popleft()
            self._report(*first)

    def stop(self, call: StepCall) -> None:
        """Cancel a call; its end is reported as any other."""
        if call.task is not None:
            call.task.cancel()
        elif call in self._ready:
            self._ready.remove(call)
            self._report(call, None, asyncio.CancelledError())

    def stop_all(self) -> None:
        """Cancel all calls; those that have not begun never will."""
        outcomes = self._take_out_ends()
        self._ready.clear()
        self._ready.extend(outcomes)
        for runner in self._runners:
            if runner.call is not None:
                runner.task.cancel()
        self._report_first()

    def abandon(self) -> list[str]:
        """Wait for no call any longer; gives the names of the steps still running."""
        at_work = [runner for runner in self._runners if runner.call is not None]
        names = [runner.call.spec.name for runner in at_work if runner.call]
        for runner in at_work:
            runner.call = None
        return names

    def let_go(self) -> None:
        """Hold no longer what the run was made of: it is over."""
        self._ended = self._ctx = self._instance = None
