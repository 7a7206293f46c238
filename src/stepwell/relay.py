"""The calls of runs performed by few tasks: a runner awaits one step after another.

A task for each call, as in `tasks`, costs several times what a short step does. A
runner is a real asyncio task too, and takes the next call when a step has ended, of
whichever run; only when a step really suspends do further runners start, so that all
calls that are to run, run. Each call has context variables of its own, all the same:
runs that were started with other variables have other runners, and a runner whose
variables a step has changed, or whose task was cancelled, is not used again.

A step that keeps `asyncio.current_task()` keeps a runner, which may be at another call,
of another run even, when that step has ended: cancelling it then cancels that one.

So that other tasks of the event loop get their turn beside steps that never
suspend, the runners of a loop share a slice of each of its passes, and give way
when their part of it is used up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Generator, Sequence
from contextvars import Context, copy_context
from operator import is_
from time import perf_counter
from types import coroutine
from typing import Any
from weakref import WeakKeyDictionary, ref

from stepwell.bodies import has_surroundings
from stepwell.calls import StepCall
from stepwell.context import current_call
from stepwell.executors import Executor, LocalExecutor
from stepwell.signature import StepSpec
from stepwell.tasks import Employer

__all__ = ["Relay"]

# Seconds of a pass of the event loop that the runners on it may take together; and
# seconds that one may take without being counted among them.
_SLICE = 0.001
_UNNOTICED = 0.00002
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


_Outcome = tuple[StepCall, Any, BaseException | None]


@coroutine
def _next_pass() -> Generator[None, None, None]:
    """As `asyncio.sleep(0)`, in one layer."""
    yield


class _Crew:
    """Runners, and the calls they perform: of all runs with the same variables.

    Attributes:
        variables: Context variables; every call starts from a copy of them.
        ready: Calls to begin, and ends of calls to report, in the order in which
            they came about.
        start: Adds to these.
    """

    __slots__ = (
        "__weakref__",
        "_begun",
        "_burst",
        "_giving_way",
        "_pumping",
        "_runners",
        "loop",
        "ready",
        "start",
        "variables",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, variables: Context) -> None:
        self.loop = loop
        self.variables = variables
        self.ready: deque[StepCall | _Outcome] = deque()
        self.start = self.ready.append
        self._runners = 0
        # Whether the last runner has begun.
        self._begun = False
        self._burst = 1
        self._pumping = False
        # How many runners have given way to others of the loop.
        self._giving_way = 0

    def kick(self) -> None:
        """See to it that somebody begins the calls that are ready."""
        if not self.ready or self._pumping:
            return
        if self._runners:
            # Whoever is at work goes on with them, unless all are suspended.
            self._pumping = True
            self.loop.call_soon(self._pump, context=self.variables.copy())
        else:
            self._spawn()

    def _spawn(self) -> None:
        self._runners += 1
        self._begun = False
        task = self.loop.create_task(self._run(), context=self.variables.copy())
        # Until its body has begun, which a task that is cancelled before never does;
        # one of an eager task factory has by now.
        if not self._begun:
            task.add_done_callback(self._retire, context=self.variables)

    def _pump(self) -> None:
        """Start runners for calls that are still ready: those at work suspended."""
        self._pumping = False
        ready = self.ready
        while ready and isinstance(end := ready[0], tuple):
            ready.popleft()
            _report(*end)
        if not ready or self._giving_way:
            self._burst = 1
            return
        for _ in range(min(self._burst, len(ready))):
            self._spawn()
        self._burst = min(2 * self._burst, _MOST_AT_ONCE)

    def _retire(self, _: object = None) -> None:
        """A runner's task ends, or was cancelled before it began."""
        self._runners -= 1
        if not self.loop.is_closed():
            self.kick()

    async def _run(self) -> None:
        self._begun = True
        # Any, for at the end they are all let go of.
        task: Any = asyncio.current_task()
        call: Any
        relay: Any
        spec: Any
        before: Any
        now: Any
        task.remove_done_callback(self._retire)
        ready = self.ready
        named_after: StepSpec | None = None
        # Short runs are over before they need to take part in sharing the loop.
        give_way_at, in_pass = perf_counter() + _UNNOTICED, -1
        this: _Pass | None = None
        try:
            while ready:
                call = ready.popleft()
                if ready and not self._pumping:
                    # Gets its turn only if the step suspends.
                    self._pumping = True
                    self.loop.call_soon(self._pump, context=self.variables.copy())
                if isinstance(call, tuple):
                    _report(*call)
                    continue
                spec = call.spec
                relay = call.workers.employer
                if relay.over:
                    continue
                current_call.set((relay.ctx, call))
                before = copy_context()
                call.task = task
                relay.at_work += 1
                if spec is not named_after:
                    task.set_name(spec.name)
                    named_after = spec
                value: Any = None
                error: BaseException | None = None
                try:
                    form = spec.form
                    if form == "event" and relay.direct:
                        if spec.bound:
                            value = await spec.function(relay.instance, call.event)
                        else:
                            value = await spec.function(call.event)
                    elif form == "context, event" and relay.direct and spec.bound:
                        face = relay.ctx.for_call(call)
                        value = await spec.function(relay.instance, face, call.event)
                    else:
                        value = await relay.perform(call)
                except BaseException as raised:
                    error = raised
                if call.task is not task:
                    return  # nobody waits for it any longer
                call.task = None
                if error is not None and _is_fatal(error, relay.run):
                    _report(call, None, error)
                    task.add_done_callback(asyncio.Task.exception)  # it is reported
                    raise error
                if ready:
                    ready.append((call, value, error))
                else:
                    relay.at_work -= 1
                    run = relay.run
                    if run is not None:
                        run.on_ended(call, value, error, run.clock())
                # Its traceback holds this frame, which would hold it.
                error = value = None
                now = copy_context()
                # A single one is `current_call`, which steps do not set.
                if task.cancelling() or (len(now) > 1 and _differs(now, before)):
                    return
                # With nothing left to do it ends here: a run leaves no task behind.
                if ready and (time := perf_counter()) > give_way_at:
                    this = this or _pass_of(self.loop)
                    if in_pass == this.number:
                        # No step is suspended, so nobody else is to go on meanwhile.
                        self._giving_way += 1
                        try:
                            await _next_pass()
                        finally:
                            self._giving_way -= 1
                        time = perf_counter()
                    give_way_at = this.take_turn(self.loop, time)
                    in_pass = this.number
        finally:
            # The traceback of what a step raised holds this frame, which would hold
            # the run, which holds what was raised.
            call = relay = run = face = spec = before = now = task = None
            named_after = value = error = None
            self._retire()


def _is_fatal(error: BaseException, run: Any) -> bool:
    """Whether what a step raised is to go on through the event loop, as asyncio has it.

    Not through that of a viewer, such as a notebook's kernel, which it would end.
    """
    if not isinstance(error, (KeyboardInterrupt, SystemExit)):
        return False
    return getattr(run, "viewer", None) is None


# The last crew, whose loop and variables the next run most likely shares.
_last: ref[_Crew] | None = None


def _differs(now: Context, before: Context) -> bool:
    """Whether context variables hold other objects than before, equal or not."""
    if len(now) != len(before):
        return True
    return not all(map(is_, now.values(), map(before.get, now)))


def _crew_of(loop: asyncio.AbstractEventLoop) -> _Crew:
    """The crew for a run that is started here: the last one, if it has the variables.

    It lives as long as there is a run that needs it.
    """
    global _last
    crew = _last() if _last is not None else None
    now = copy_context()
    if crew is None or crew.loop is not loop or _differs(now, crew.variables):
        crew = _Crew(loop, now)
        _last = ref(crew)
    return crew


def _report(call: StepCall, value: Any, error: BaseException | None) -> None:
    """Tell the run of a call that it has ended."""
    relay: Relay = call.workers.employer
    relay.at_work -= 1
    run = relay.run
    if run is not None:
        if error is not None:
            # Its retry policy may ask for it; another call may have been here since.
            current_call.set((relay.ctx, call))
        run.on_ended(call, value, error, run.clock())


class Relay:
    """Performs the calls of one run; the arguments are those of `Tasks`.

    Attributes:
        at_work: How many calls have begun and are not reported to have ended.
        over: Whether no more calls are to begin.
        start: Begins a call, when a runner gets to it: after those begun before.
    """

    __slots__ = (
        "_crew",
        "_executor",
        "at_work",
        "ctx",
        "direct",
        "instance",
        "over",
        "run",
        "start",
    )

    def __init__(
        self,
        run: Employer,
        loop: asyncio.AbstractEventLoop,
        ctx: Any,
        instance: object,
        executor: Executor,
    ) -> None:
        self._crew = crew = _crew_of(loop)
        self.start = crew.start
        self.run: Any = run
        self.ctx = ctx
        self.instance: object = instance
        self._executor = executor
        self.direct = type(executor) is LocalExecutor
        self.at_work = 0
        self.over = False

    def __len__(self) -> int:
        """How many calls have begun and are not reported to have ended."""
        return self.at_work

    def kick(self) -> None:
        """See to it that somebody begins the calls that were started."""
        self._crew.kick()

    def perform(self, call: StepCall) -> Coroutine[Any, Any, Any]:
        """The coroutine of a call."""
        spec = call.spec
        if spec.form is None:
            spec.work_out_form()
        arguments = call.arguments()
        if spec.context_parameter is not None:
            arguments[spec.context_parameter] = self.ctx.for_call(call)
        performer = self.run.bodies if has_surroundings(spec) else self._executor
        instance = self.instance if spec.bound else None
        return performer.perform(call, instance, arguments)

    def catch_up(self) -> None:
        """Report all ends of calls that have come about."""
        if self.at_work:
            self._report_ends(drop_calls=False)
            self.kick()

    def _report_ends(self, *, drop_calls: bool) -> None:
        """Report ends of calls, before what else is ready; forget what was to begin."""
        ready = self._crew.ready
        others: list[StepCall | _Outcome] = []
        ends: list[_Outcome] = []
        for item in ready:
            call = item[0] if isinstance(item, tuple) else item
            if call.workers.employer is not self:
                others.append(item)
            elif isinstance(item, tuple):
                ends.append(item)
            elif not drop_calls:
                others.append(item)
        ready.clear()
        ready.extend(others)
        for end in ends:
            _report(*end)

    def stop(self, call: StepCall) -> None:
        """Cancel a call; its end is reported as any other."""
        ready = self._crew.ready
        if call.task is not None:
            call.task.cancel()
        elif call in ready:
            ready.remove(call)
            self.run.on_ended(call, None, asyncio.CancelledError(), self.run.clock())

    def stop_all(self, calls: Sequence[StepCall]) -> None:
        """Cancel these calls, which are all; those that have not begun never will."""
        self.over = True
        running = [call for call in calls if call.status == "running"]
        for call in running:
            if call.task is not None:
                call.task.cancel()
        if any(call.task is None for call in running):
            self._report_ends(drop_calls=True)

    def abandon(self, calls: Sequence[StepCall]) -> list[str]:
        """Wait for no call any longer; gives the names of the steps still running."""
        at_work = [call for call in calls if call.task is not None]
        for call in at_work:
            call.task = None
        return [call.spec.name for call in at_work]

    def let_go(self) -> None:
        """Hold no longer what the run was made of: it is over."""
        self.over = True
        self.run = self.ctx = self.instance = None
