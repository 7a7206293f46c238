"""Facts in, commands out: the circle that a run goes round, and its end.

The one place that owns time: whatever happens becomes a fact for `machine`, and
what it answers is carried out here, through `tasks` or `relay`, timers and the
record. What steps and callers may ask of a run is in `run`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, ClassVar

from stepwell.attempts import add_note, failed
from stepwell.bodies import Bodies
from stepwell.calls import StepCall
from stepwell.children import Children
from stepwell.commands import (
    Command,
    DropTimer,
    Ended,
    Order,
    Publish,
    Quiet,
    Reply,
    Resume,
    StopCall,
    WakeAt,
)
from stepwell.context import Context, current_call
from stepwell.events import Event, StopEvent, WorkflowFailedEvent
from stepwell.executors import Executor
from stepwell.journals.base import (
    CallCancelled,
    CallReturned,
    CancelAsked,
    Fact,
    Journal,
    Settled,
    TimerFired,
)
from stepwell.ledger import Ledger
from stepwell.machine import Machine
from stepwell.questions import Answers
from stepwell.relay import Relay
from stepwell.resources import ResourceManager
from stepwell.sleepers import Sleepers
from stepwell.tasks import Tasks
from stepwell.verbose import Chatter

__all__ = ["DRIVER", "GRACE", "Cycle"]

# How long a step may go on after it was told to stop, before the run's outcome
# is given without waiting for it. Seconds.
GRACE = 5.0
# What turns calls into tasks; tests run the plain way beside this one.
DRIVER: type[Relay] | type[Tasks] = Relay


class Cycle:
    """The circle of facts and commands that a run consists of.

    Args:
        machine: A fresh machine.
        instance: The workflow, given to steps as `self`.
        ctx: Holds the state; is attached to this run.
        loop: The event loop that runs here.
        run_id: Names the run in journals and messages.
        executor: Performs the calls.
        resources: Makes what is injected into steps.
        journal: Keeps the facts, before their commands are carried out; None to
            keep none.
        verbose: Print a line for each call's start and end.

    Attributes:
        viewer: Told of each run that ends with an error: its name, the error, and
            the outcome that holds it. While there is one, a step that exits ends its
            run, and not the event loop, which is the viewer's.
    """

    viewer: ClassVar[
        Callable[[str, BaseException, asyncio.Future[StopEvent]], None] | None
    ] = None

    __slots__ = (
        "__weakref__",
        "_answers",
        "_began",
        "_bodies",
        "_chatter",
        "_children",
        "_early",
        "_ending",
        "_executor",
        "_grace",
        "_ledger",
        "_next_wait",
        "_resources",
        "_tasks",
        "_thread",
        "_timers",
        "_trace",
        "_unended",
        "_waiters",
        "_watcher",
        "answers",
        "begun_in",
        "clock",
        "ended_at",
        "loop",
        "machine",
        "outcome",
        "record",
        "run_id",
        "status_at_end",
        "unstoppable",
        "wall",
    )

    def __init__(
        self,
        machine: Machine,
        instance: object,
        ctx: Context[Any],
        loop: asyncio.AbstractEventLoop,
        *,
        run_id: str,
        executor: Executor,
        resources: ResourceManager,
        journal: Journal | None = None,
        verbose: bool = False,
    ) -> None:
        self.machine = machine
        self.run_id = run_id
        self.record = machine.record
        self.loop = loop
        self.outcome: asyncio.Future[StopEvent] = loop.create_future()
        # Who waits for the outcome.
        self._waiters: Sleepers | None = None
        self.status_at_end: str | None = None
        self.ended_at: float | None = None
        self.unstoppable: Sequence[str] = ()
        self._executor = executor
        self._resources = resources
        self._bodies: Bodies | None = None
        # The step in which it was begun, until its end: runs may begin runs for ever.
        self.begun_in = current_call.get()
        # Called after each fact, for a run that is the child of another.
        self._watcher: Callable[[], None] | None = None
        # What came from outside while the run waits for its turn.
        self._early: list[Callable[[], None]] | None = []
        # What to answer to its questions, for a run that nobody is asked by.
        self.answers: Answers | None = None
        # The workflows that steps run inside this run; made when there are some.
        self._children: Children | None = None
        self._chatter = Chatter(machine.record) if verbose else None
        self._thread = threading.get_ident()
        # The loop's own, that of a test perhaps; the usual one without its detour.
        own = getattr(loop, "__dict__", {})
        usual = type(loop).time is asyncio.BaseEventLoop.time and "time" not in own
        self.clock: Callable[[], float] = time.monotonic if usual else loop.time
        self._began = self.clock()
        self.wall = 0.0
        self._tasks = DRIVER(self, loop, ctx, instance, executor)
        machine.employer = self._tasks
        self._next_wait = 1
        self._answers: dict[int, asyncio.Future[Event | None]] = {}
        # By the machine's numbers, and below 0 what sees to questions.
        self._timers: dict[int, asyncio.TimerHandle | asyncio.Task[None]] = {}
        self._ledger: Ledger | None = None
        if journal is not None:
            name = machine.plan.name
            self._ledger = Ledger(journal, run_id, name, self._carry_out, self._abort)
        else:
            machine.start_by(self._tasks.start)
        # How the run ended, and how many calls are still to come to their end then.
        self._ending: Ended | None = None
        self._unended = 0
        self._grace: asyncio.TimerHandle | None = None
        # That of the error at the end: a future gives it once, and then none.
        self._trace: TracebackType | None = None

    @property
    def bodies(self) -> Bodies:
        """Performs the calls of steps that ask for more than their event."""
        if self._bodies is None:
            name = self.machine.plan.name
            self._bodies = Bodies(self._executor, self._resources, name)
        return self._bodies

    def finished(self) -> Sleepers:
        """Those who sleep until the outcome is there."""
        if self._waiters is None:
            self._waiters = Sleepers()
        return self._waiters

    def result(self) -> StopEvent:
        """The stop event of a run that is over; raises what ended it instead.

        With the traceback that it had then, however often it is raised.
        """
        outcome, trace = self.outcome, self._trace
        error = outcome.exception()
        if error is None:
            return outcome.result()
        try:
            raise error.with_traceback(trace)
        finally:
            # The traceback holds this frame, which would hold what is raised.
            del self, outcome, trace, error

    @property
    def now(self) -> float:
        """Seconds since the run began; 0 while it waits for its turn."""
        return self.clock() - self._began if self._early is None else 0.0

    def _feed(self, fact: Fact) -> None:
        try:
            commands = self.machine.apply(fact)
            if self._ledger is None:
                self._follow(commands, fact.at)
                return self._tasks.kick()
            self._tell()
        except Exception as error:
            # Whatever breaks in here must end the run, not leave it hanging.
            return self._abort(error)
        # Decided at once, so that facts and decisions have one order; carried out
        # when the facts are safe. Timers at once, or a hanging journal would stop
        # the clock.
        later = [c for c in commands if not isinstance(c, WakeAt)]
        for command in commands:
            if isinstance(command, WakeAt):
                self._set_timer(command)
        ended = commands[-1] if commands else None
        if isinstance(ended, Ended) and ended.status != "done":
            # A journal that hangs must not keep a run from being stopped.
            self._grace = self.loop.call_later(GRACE, self._end_unrecorded, ended)
        self._ledger.enter(fact, later)

    def _follow(self, commands: list[Command], at: float) -> None:
        """Carry out what a fact led to, and tell those who watch."""
        if self._watcher is not None or self._chatter is not None:
            self._tell()
        if commands:
            for command in commands:
                if isinstance(command, StepCall):
                    self._tasks.start(command)
                else:
                    _ORDERS[type(command)](self, command, at)
        if self.record.readers.any:
            self.record.readers.wake()

    def _tell(self) -> None:
        if self._watcher is not None:
            self._watcher()
        if self._chatter is not None:
            self._chatter.go_on()

    def _end_unrecorded(self, ended: Ended) -> None:
        assert self._ledger is not None
        self._ledger.close()
        self._end(ended, self.now)

    def _abort(self, error: BaseException) -> None:
        self.machine.over = True
        self.record.part()
        stop = WorkflowFailedEvent(step_name=None, exception=error)
        self._end(Ended(stop, error, "failed"), self.now)

    def _carry_out(self, commands: list[Command], at: float) -> None:
        """Carry out what facts led to that a journal has kept by now."""
        self._follow(commands, at)
        self._tasks.kick()

    def _stop_call(self, command: StopCall, at: float) -> None:
        self._tasks.stop(command.call)

    def _publish(self, command: Publish, at: float) -> None:
        if command.internal:
            self.record.write_internal(command.event)
        else:
            self.record.write_event(command.event, command.call_id)
            self._note_question(command.event)

    def _note_question(self, event: Event) -> None:
        """An event was shown that may ask people something; a run sees to that."""

    def _answer(self, command: Resume, at: float) -> None:
        answer = self._answers.get(command.wait_id)
        if answer is not None and not answer.done():
            answer.set_result(command.event)

    def _settle_soon(self, command: Quiet, at: float) -> None:
        # One turn of the loop, for what a finished step left scheduled.
        self.loop.call_soon(self._settle)

    def _drop_timer(self, command: DropTimer, at: float) -> None:
        timer = self._timers.pop(command.timer, None)
        if timer is not None:
            timer.cancel()

    def on_ended(
        self, call: StepCall, value: Any, error: BaseException | None, now: float
    ) -> None:
        """A call has come to its end, seen at `now` on the run's clock."""
        at = now - self._began
        try:
            if error is None and self._ledger is None and self._ending is None:
                commands = self.machine.returned(at, call.call_id, value)
                if commands or self._watcher is not None or self._chatter is not None:
                    self._follow(commands, at)
                elif self.record.readers.any:
                    self.record.readers.wake()
            elif self._ending is not None:
                self._note_end(call, at, error)
            elif error is None:
                self._feed(CallReturned(at, call.call_id, value))
            elif isinstance(error, asyncio.CancelledError):
                if isinstance(error, KeyboardInterrupt):
                    # A viewer's way to stop what never awaits; the call is left to do.
                    reason = f"it was interrupted in step `{call.spec.name}`"
                    self._feed(CancelAsked(at, reason))
                else:
                    self._feed(CallCancelled(at, call.call_id))
            else:
                self._feed(failed(call, error, at, self.machine.plan.name))
        except Exception as broken:
            self._abort(broken)

    def _note_end(
        self, call: StepCall, now: float, error: BaseException | None
    ) -> None:
        """A call has come to its end after the run had."""
        stopped = isinstance(error, asyncio.CancelledError)
        status = "done" if error is None else "cancelled"
        self.record.write_ended(call, now, status, error=None if stopped else error)
        self._unended -= 1
        if not self._unended:
            self._finish()

    def _set_timer(self, command: WakeAt, at: float = 0.0) -> None:
        delay = max(0.0, command.at - self.now)
        timer = command.timer
        self._timers[timer] = self.loop.call_later(delay, self._fire, timer)

    def _fire(self, timer: int) -> None:
        self._timers.pop(timer, None)
        self._tasks.catch_up()  # what has ended has ended in time
        self._feed(TimerFired(self.now, timer))

    def _settle(self) -> None:
        if not self.machine.over:
            self._feed(Settled(self.now))

    # -- the end -----------------------------------------------------------------

    def _end(self, ended: Ended, at: float) -> None:
        """Close the stream and stop what runs; the outcome waits for the last."""
        if self._ending is not None:
            return
        if self._grace is not None:
            self._grace.cancel()
        self._ending = ended
        self.status_at_end = ended.status
        self.ended_at = at
        self.record.close(ended.stop)
        if self._timers:
            for handle in self._timers.values():
                handle.cancel()
            self._timers.clear()
        self._unended = len(self._tasks)
        if self.record.open:
            self._tasks.stop_all(self.record.open)
        if self._unended:
            self._grace = self.loop.call_later(GRACE, self._give_up)
        else:
            self._finish()

    def _give_up(self) -> None:
        self.unstoppable = self._tasks.abandon(self.record.open)
        self._finish()

    def _finish(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        if self.outcome.done():
            return
        assert self._ending is not None
        if self.record.open:
            self.record.settle(self.now)
        error = self._ending.error
        if self.unstoppable:
            names = ", ".join(f"`{name}`" for name in self.unstoppable)
            note = f"still running, because it swallows its cancellation: {names}"
            if error is not None:
                add_note(error, note)
        if error is None:
            self.outcome.set_result(self._ending.stop)
        else:
            self._trace = error.__traceback__
            self.outcome.set_exception(error)
            if Cycle.viewer is not None:
                Cycle.viewer(self.machine.plan.name, error, self.outcome)
        if self._waiters is not None:
            self._waiters.wake()
        # Whoever keeps the run keeps its record and outcome, and no circle of objects
        # that only garbage collection could take apart.
        self.record.when_idle = self.begun_in = None
        self._tasks.let_go()


_ORDERS: dict[type[Order], Callable[[Cycle, Any, float], None]] = {
    StopCall: Cycle._stop_call,
    Publish: Cycle._publish,
    Resume: Cycle._answer,
    WakeAt: Cycle._set_timer,
    DropTimer: Cycle._drop_timer,
    Quiet: Cycle._settle_soon,
    Ended: Cycle._end,
    Reply: lambda run, command, at: None,
}
