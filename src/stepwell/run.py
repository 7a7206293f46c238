"""A run: the one place that owns tasks and time.

It feeds the machine with facts, carries out the commands that come back, and
writes both into the record. What is decided, is decided in `machine`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stepwell.attempts import add_note, failed
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
    WakeAt,
)
from stepwell.context import Context
from stepwell.errors import JournalUnavailable, WorkflowRuntimeError
from stepwell.events import Event, StopEvent, WorkflowFailedEvent
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
    TimerFired,
    WaitBegan,
    WaitDropped,
)
from stepwell.machine import Machine
from stepwell.record import RunRecord
from stepwell.steps import StepCall

__all__ = [
    "GRACE",
    "Run",
    "inside_step",
]

# How long a step may go on after it was told to stop, before the run's outcome
# is given without waiting for it. Seconds.
GRACE = 5.0

inside_step: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "stepwell_inside_step", default=False
)


class Run:
    """One run of a workflow, from its start event to its outcome.

    Args:
        machine: A fresh machine.
        instance: The workflow, given to steps as `self`.
        ctx: Holds the state; is attached to this run.
        run_id: Names the run in journals and messages.
        executor: Performs the calls.
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
        self._instance = instance
        self._executor = executor
        self._journal = journal
        self._verbose = verbose
        self._thread = threading.get_ident()
        self._began = self.loop.time()
        # Every call starts from the context variables of whoever started the run.
        self._variables = contextvars.copy_context()
        self._variables.run(inside_step.set, True)
        self._tasks: dict[asyncio.Future[Any], StepCall] = {}
        self._answers: dict[int, asyncio.Future[Event | None]] = {}
        self._next_wait = 1
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._unwritten: list[Fact] = []
        self._held: list[Command] = []
        self._writer: asyncio.Task[None] | None = None
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

    def start(self, event: Event) -> None:
        """Begin with the start event."""
        self._feed(RunStarted(self.now, event))

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
        self._here(lambda: self._write(event))

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
            if self._journal is not None:
                self._unwritten.append(fact)
            answer = commands[0] if commands else None
            return answer.events if isinstance(answer, Reply) else None

        if threading.get_ident() == self._thread:
            return ask()
        answered: concurrent.futures.Future[list[Event] | None] = (
            concurrent.futures.Future()
        )

        def answer() -> None:
            try:
                answered.set_result(ask())
            except Exception as error:
                answered.set_exception(error)

        self.loop.call_soon_threadsafe(answer)
        return answered.result()

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
        try:
            self._feed(
                WaitBegan(
                    self.now, call.call_id, wait_id, kind, requirements, asking, timeout
                )
            )
            return await answer
        finally:
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
            if self._journal is None:
                return self._carry_out(commands, fact.at)
        except Exception as error:
            # Whatever breaks in here must end the run, not leave it hanging.
            return self._abort(error)
        # Decided at once, so that facts and decisions have one order; carried out
        # when the facts are safe.
        self._unwritten.append(fact)
        for command in commands:
            if isinstance(command, WakeAt):
                self._set_timer(command)  # or a hanging journal would stop the clock
            else:
                self._held.append(command)
        ended = commands[-1] if commands else None
        if isinstance(ended, Ended) and ended.status != "done":
            # A journal that hangs must not keep a run from being stopped.
            self._grace = self.loop.call_later(GRACE, self._end_unrecorded, ended)
        if self._writer is None:
            self._writer = self.loop.create_task(self._write_facts(self._journal))

    async def _write_facts(self, journal: Journal) -> None:
        try:
            while self._unwritten:
                facts, self._unwritten = self._unwritten, []
                commands, self._held = self._held, []
                try:
                    await journal.append(self.run_id, facts)
                except BaseException as error:
                    self._lose_journal(error)
                    if isinstance(error, Exception):
                        return
                    raise
                try:
                    self._carry_out(commands, facts[-1].at)
                except Exception as error:
                    return self._abort(error)
        finally:
            self._writer = None

    def _end_unrecorded(self, ended: Ended) -> None:
        if self._writer is not None:
            self._writer.cancel()
        self._end(ended)

    def _lose_journal(self, error: BaseException) -> None:
        name = self.machine.plan.name
        lost = JournalUnavailable(
            f"the journal could not record a step of {name}, so the run stopped: "
            f"{error!r}",
            hint="Nothing ran on unrecorded. Mend the journal and run again.",
            workflow=name,
        )
        lost.__cause__ = error
        self._abort(lost)

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
                self._start_call(command.call)
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
            elif kind is Quiet:
                # One turn of the loop, for what a finished step left scheduled.
                self.loop.call_soon(self._settle)
            elif kind is Ended:
                assert isinstance(command, Ended)
                self._end(command)

    def _start_call(self, call: StepCall) -> None:
        spec = call.spec
        if self._verbose:
            _say(f"Running step {spec.name}")
        arguments: dict[str, Any] = {spec.event_parameter: call.event}
        if spec.context_parameter is not None:
            arguments[spec.context_parameter] = self.ctx.for_call(call)
        try:
            body = self._executor.perform(call, self._instance, arguments)
            task: asyncio.Future[Any] = self.loop.create_task(
                body, name=spec.name, context=self._variables.copy()
            )
        except Exception as error:
            task = self.loop.create_future()
            task.set_exception(error)
        self._tasks[task] = call
        task.add_done_callback(self._on_done, context=self._variables)

    def _on_done(self, task: asyncio.Future[Any]) -> None:
        # In a callback and not in a `finally` of the body: a task cancelled before
        # its first step never enters its body.
        call = self._tasks.pop(task)
        try:
            self._take_outcome(task, call)
        except Exception as error:
            self._abort(error)

    def _take_outcome(self, task: asyncio.Future[Any], call: StepCall) -> None:
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
            name = ended.call.spec.name
            if ended.error is not None:
                kind = type(ended.error).__name__
                _say(f"Step {name} raised {kind} ({ended.status})")
            elif ended.outputs:
                made = ", ".join(kind.__name__ for kind in ended.outputs)
                _say(f"Step {name} produced event {made}")
            else:
                _say(f"Step {name} produced no event")

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
        for task in tuple(self._tasks):
            task.cancel()
        self._grace = self.loop.call_later(GRACE, self._give_up)

    def _give_up(self) -> None:
        for task, call in self._tasks.items():
            self.unstoppable.append(call.spec.name)
            task.remove_done_callback(self._on_done)
        self._tasks.clear()
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


def _say(line: str) -> None:
    """Print for `verbose`; a closed or broken output is no reason to fail a run."""
    with contextlib.suppress(OSError, ValueError):
        print(line)
