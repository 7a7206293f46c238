"""A run: the one place that owns tasks and time.

It feeds the machine with facts, carries out the commands that come back, and
writes both into the record. What is decided, is decided in `machine`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from stepwell.attempts import add_note, failed
from stepwell.bodies import Bodies
from stepwell.calls import StepCall
from stepwell.children import Child, follow
from stepwell.commands import (
    CallEnded,
    CallQueued,
    Command,
    DropTimer,
    Ended,
    Publish,
    Quiet,
    Reply,
    Resume,
    StartCall,
    StopCall,
    WakeAt,
)
from stepwell.context import Context
from stepwell.errors import WorkflowRuntimeError
from stepwell.events import (
    Event,
    StopEvent,
    WorkflowFailedEvent,
    WorkflowIdleEvent,
)
from stepwell.executors import Executor
from stepwell.journals.base import (
    CallCancelled,
    CallReturned,
    CancelAsked,
    EventsCollected,
    EventSent,
    Fact,
    Journal,
    RunStarted,
    Settled,
    StepCancelled,
    TimerFired,
    WaitBegan,
    WaitDropped,
)
from stepwell.ledger import Ledger
from stepwell.machine import Machine
from stepwell.record import RunRecord
from stepwell.resources import ResourceManager
from stepwell.state import Snapshot
from stepwell.tasks import Tasks
from stepwell.verbose import say_ended, say_started

__all__ = [
    "GRACE",
    "Run",
    "WorkflowChild",
]

# How long a step may go on after it was told to stop, before the run's outcome
# is given without waiting for it. Seconds.
GRACE = 5.0


class WorkflowChild(Child, Protocol):
    """The handler of a workflow that a step runs, as its parent sees it."""

    def takes(self, event: Event) -> bool:
        """Whether it accepts an event, or waits for it."""
        ...

    def send_event(self, event: Event) -> object:
        """Send it an event."""
        ...


class Run:
    """One run of a workflow, from its start event to its outcome.

    Args:
        machine: A fresh machine.
        instance: The workflow, given to steps as `self`.
        ctx: Holds the state; is attached to this run.
        run_id: Names the run in journals and messages.
        executor: Performs the calls.
        resources: Makes what is injected into steps.
        journal: Keeps the facts, before their commands are carried out; None to
            keep none.
        verbose: Print a line for each call's start and end.
    """

    def __init__(
        self,
        machine: Machine,
        instance: object,
        ctx: Context[Any],
        *,
        run_id: str,
        executor: Executor,
        resources: ResourceManager,
        journal: Journal | None = None,
        verbose: bool = False,
    ) -> None:
        self.machine = machine
        self.run_id = run_id
        self.ctx = ctx
        self.record = RunRecord()
        self.loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[StopEvent] = self.loop.create_future()
        self.status_at_end: str | None = None
        self.ended_at: float | None = None
        self.unstoppable: list[str] = []
        self._bodies = Bodies(executor, resources, machine.plan.name)
        self._children: list[WorkflowChild] = []
        self._verbose = verbose
        self._thread = threading.get_ident()
        self._began = self.loop.time()
        self.wall = time.time()
        self._tasks = Tasks(ctx, instance, executor, self._bodies, self._on_done)
        self._answers: dict[int, asyncio.Future[Event | None]] = {}
        self._next_wait = 1
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._ledger: Ledger | None = None
        if journal is not None:
            name = machine.plan.name
            self._ledger = Ledger(journal, run_id, name, self._carry_out, self._abort)
        self._ending: Ended | None = None
        self._grace: asyncio.TimerHandle | None = None
        ctx.attach(self)

    # -- what the outside may ask ----------------------------------------------

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return self.loop.time() - self._began

    @property
    def is_over(self) -> bool:
        """Whether the outcome is settled and every step has stopped."""
        return self.outcome.done()

    @property
    def status(self) -> str:
        """running, waiting, done, failed, cancelled, timed out or stalled."""
        return self.status_at_end or self.machine.status

    @property
    def running_steps(self) -> list[str]:
        """Names of the steps that have calls running."""
        return self.machine.running_steps

    def start(self, event: Event | None, left: Snapshot | None = None) -> None:
        """Begin with the start event, or with what an earlier run left undone.

        Time counts from here: a run may have waited for its turn.
        """
        if self.is_over or self._ending is not None:
            return
        self._began = self.loop.time()
        self.wall = time.time()
        self._feed(RunStarted(self.now, event, self.wall, left))

    def snapshot(self) -> Snapshot:
        """What is left to do, and whether the run counts as still going on."""
        return self.machine.snapshot(self.now)

    def cancel(self, reason: str) -> None:
        """Stop everything, from any thread; the outcome says that it was."""
        self._here(lambda: self._feed(CancelAsked(self.now, reason)))

    def send(
        self, event: Event, step: str | None = None, call: StepCall | None = None
    ) -> None:
        """Route an event from a call, or from outside; from any thread.

        Raises:
            WorkflowRuntimeError: It can go nowhere, or comes from outside after
                the end of the run.
        """
        if call is None and self._send_to_children(event, step):
            return
        source = call.spec.name if call else None
        awaited = self.machine.awaits(event)
        self.machine.plan.check_sent(event, step, source, awaited=awaited)
        if self.machine.over:
            if call is None:
                name = self.machine.plan.name
                raise WorkflowRuntimeError(
                    f"{type(event).__name__} came after the end of the run of {name}.",
                    hint="Start a new run, with ctx=handler.ctx to keep its state.",
                    workflow=name,
                    event=type(event).__name__,
                )
            return
        call_id = call.call_id if call else None
        self._here(lambda: self._feed(EventSent(self.now, event, call_id, step)))

    def _send_to_children(self, event: Event, step: str | None) -> bool:
        """Give an event from outside to the children that take it."""
        if not self._children or step is not None or not isinstance(event, Event):
            return False
        taken = [child for child in tuple(self._children) if child.takes(event)]
        for child in taken:
            child.send_event(event)
        own = self.machine.plan.route(type(event)).takers
        return bool(taken) and not own and not self.machine.awaits(event)

    def takes(self, event: Event) -> bool:
        """Whether a step accepts an event, or waits for it."""
        if self.machine.over:
            return False
        return bool(
            self.machine.plan.route(type(event)).takers
            or self.machine.awaits(event)
            or any(child.takes(event) for child in tuple(self._children))
        )

    def publish(self, event: Event, call: StepCall | None = None) -> None:
        """Show an event on the stream; from any thread."""
        if not isinstance(event, Event):
            raise WorkflowRuntimeError(
                f"write_event_to_stream takes an Event, not {type(event).__name__}.",
                hint="Define `class Progress(Event)` with the value as a field.",
                workflow=self.machine.plan.name,
                step=call.spec.name if call else None,
            )
        if self.machine.plan.route(type(event)).asks:
            return self.send(event, None, call)
        self.show(event)

    def show(self, event: Event) -> None:
        """Put an event on the stream; no step gets it. From any thread."""
        self._here(lambda: self._write(event))

    def cancel_step(self, step: str, call: StepCall | None = None) -> None:
        """Stop all other calls of a step; from any thread.

        Raises:
            WorkflowStepDoesNotExistError: There is no step of that name.
        """
        self.machine.plan.check_step(step, call.spec.name if call else None)
        call_id = call.call_id if call else None
        self._here(lambda: self._feed(StepCancelled(self.now, call_id, step)))

    async def run_child(self, handler: WorkflowChild, call: StepCall) -> StopEvent:
        """Follow a workflow that a step of this run has started, to its end."""
        self._children.append(handler)
        try:
            return await follow(handler, self, call)
        finally:
            self._children.remove(handler)

    def suspend(self, call: StepCall) -> int:
        """Count a call as waiting, for something that is no event of this run."""
        wait_id = self._next_wait
        self._next_wait += 1
        kind = WorkflowIdleEvent  # which nobody ever sends
        self._feed(WaitBegan(self.now, call.call_id, wait_id, kind, {}))
        return wait_id

    def unsuspend(self, call: StepCall, wait_id: int) -> None:
        """Count a call as running again."""
        self._feed(WaitDropped(self.now, call.call_id, wait_id))

    def collect(
        self,
        call: StepCall,
        event: Event,
        expected: Sequence[type[Event]],
        buffer_id: str,
    ) -> list[Event] | None:
        """Join events; from any thread, which then waits for the answer."""

        def ask() -> list[Event] | None:
            fact = EventsCollected(self.now, call.call_id, event, expected, buffer_id)
            commands = self.machine.apply(fact)
            if self._ledger is not None:
                self._ledger.enter_alone(fact)
            answer = commands[0] if commands else None
            return answer.events if isinstance(answer, Reply) else None

        if threading.get_ident() == self._thread:
            return ask()

        async def asked() -> list[Event] | None:
            return ask()

        return asyncio.run_coroutine_threadsafe(asked(), self.loop).result()

    async def wait(
        self,
        call: StepCall,
        kind: type[Event],
        asking: Event | None,
        requirements: Mapping[str, Any],
        timeout: float | None,
    ) -> Event | None:
        """Suspend a call until an event comes; None says that time was up."""
        wait_id = self._next_wait
        self._next_wait += 1
        answer: asyncio.Future[Event | None] = self.loop.create_future()
        self._answers[wait_id] = answer
        seconds = self._bodies.stop_clock(call)
        try:
            self._feed(
                WaitBegan(
                    self.now, call.call_id, wait_id, kind, requirements, asking, timeout
                )
            )
            return await answer
        finally:
            self._bodies.start_clock(call, seconds)
            del self._answers[wait_id]
            if not answer.done() or answer.cancelled():
                self._feed(WaitDropped(self.now, call.call_id, wait_id))

    # -- facts in, commands out --------------------------------------------------

    def _here(self, act: Callable[[], None]) -> None:
        """Do something on the run's own thread: now, or soon if this is another."""
        if threading.get_ident() == self._thread:
            act()
        else:
            self.loop.call_soon_threadsafe(act)

    def _write(self, event: Event) -> None:
        if not self.machine.over:
            self.record.write_event(event, self.now)

    def _feed(self, fact: Fact) -> None:
        try:
            commands = self.machine.apply(fact)
            if self._ledger is None:
                return self._carry_out(commands, fact.at)
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

    def _end_unrecorded(self, ended: Ended) -> None:
        assert self._ledger is not None
        self._ledger.close()
        self._end(ended)

    def _abort(self, error: BaseException) -> None:
        self.machine.over = True
        stop = WorkflowFailedEvent(step_name=None, exception=error)
        self._end(Ended(stop, error, "failed"))

    def _carry_out(self, commands: list[Command], at: float) -> None:
        record = self.record
        for command in commands:
            kind = type(command)
            if kind is StartCall:
                assert isinstance(command, StartCall)
                record.write_started(command.call, at)
                if self._verbose:
                    say_started(command.call)
                self._tasks.start(command.call)
            elif kind is CallEnded:
                assert isinstance(command, CallEnded)
                self._note_end(command, at)
            elif kind is CallQueued:
                assert isinstance(command, CallQueued)
                record.write_queued(command.call, at)
            elif kind is Publish:
                assert isinstance(command, Publish)
                record.write_event(command.event, at, command.internal)
            elif kind is WakeAt:
                assert isinstance(command, WakeAt)
                self._set_timer(command)
            elif kind is DropTimer:
                assert isinstance(command, DropTimer)
                timer = self._timers.pop(command.timer, None)
                if timer is not None:
                    timer.cancel()
            elif kind is Resume:
                assert isinstance(command, Resume)
                answer = self._answers.get(command.wait_id)
                if answer is not None and not answer.done():
                    answer.set_result(command.event)
            elif kind is StopCall:
                assert isinstance(command, StopCall)
                self._tasks.stop(command.call)
            elif kind is Quiet:
                # One turn of the loop, for what a finished step left scheduled.
                self.loop.call_soon(self._settle)
            elif kind is Ended:
                assert isinstance(command, Ended)
                self._end(command)

    def _on_done(self, call: StepCall, task: asyncio.Future[Any]) -> None:
        try:
            self._take_outcome(call, task)
        except Exception as error:
            self._abort(error)

    def _take_outcome(self, call: StepCall, task: asyncio.Future[Any]) -> None:
        now = self.now
        error = None if task.cancelled() else task.exception()
        if self._ending is not None:
            status = "cancelled" if task.cancelled() or error else "done"
            self.record.write_ended(call, now, status, error=error)
            if not self._tasks:
                self._finish()
        elif task.cancelled():
            self._feed(CallCancelled(now, call.call_id))
        elif error is None:
            self._feed(CallReturned(now, call.call_id, task.result()))
        else:
            self._feed(failed(call, error, now, self.machine.plan.name))

    def _note_end(self, ended: CallEnded, at: float) -> None:
        self.record.write_ended(
            ended.call, at, ended.status, ended.outputs, ended.error
        )
        if self._verbose:
            say_ended(ended)

    def _set_timer(self, command: WakeAt) -> None:
        delay = max(0.0, command.at - self.now)
        timer = command.timer
        self._timers[timer] = self.loop.call_later(delay, self._fire, timer)

    def _fire(self, timer: int) -> None:
        self._timers.pop(timer, None)
        self._feed(TimerFired(self.now, timer))

    def _settle(self) -> None:
        if not self.machine.over:
            self._feed(Settled(self.now))

    # -- the end -----------------------------------------------------------------

    def _end(self, ended: Ended) -> None:
        """Close the stream and stop what runs; the outcome waits for the last."""
        if self._ending is not None:
            return
        if self._grace is not None:
            self._grace.cancel()
        self._ending = ended
        self.status_at_end = ended.status
        self.ended_at = self.now
        self.record.close(ended.stop)
        for handle in self._timers.values():
            handle.cancel()
        self._timers.clear()
        if not self._tasks:
            return self._finish()
        self._tasks.stop_all()
        self._grace = self.loop.call_later(GRACE, self._give_up)

    def _give_up(self) -> None:
        self.unstoppable = self._tasks.abandon()
        self._finish()

    def _finish(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        if self.outcome.done():
            return
        assert self._ending is not None
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
            self.outcome.set_exception(error)
