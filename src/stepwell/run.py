"""A run: what steps and callers may ask of it, from any thread.

What they ask becomes a fact, and goes its way in `cycle`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from stepwell.calls import StepCall
from stepwell.children import Child, Children
from stepwell.commands import Reply
from stepwell.cycle import Cycle
from stepwell.errors import WorkflowRuntimeError
from stepwell.events import Event, StopEvent, WorkflowIdleEvent
from stepwell.hints import about_sent
from stepwell.journals.base import (
    CancelAsked,
    EventsCollected,
    EventSent,
    RunStarted,
    StepCancelled,
    WaitBegan,
    WaitDropped,
)
from stepwell.left import Snapshot
from stepwell.questions import Answers, Question

__all__ = ["Run"]

A = TypeVar("A")


class Run(Cycle):
    """One run of a workflow, from its start event to its outcome; see `Cycle`."""

    __slots__ = ()

    # -- what the outside may ask ----------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether the outcome is settled and every step has stopped."""
        return self.outcome.done()

    @property
    def status(self) -> str:
        """queued, running, waiting, done, failed, cancelled, timed out or stalled."""
        return self.status_at_end or self.machine.status

    @property
    def running_steps(self) -> list[str]:
        """Names of the steps that have calls running."""
        return self.machine.running_steps

    def queue(self, event: Event | None, left: Snapshot | None) -> None:
        """Note that the run waits for its turn, and what it will begin with."""
        self.machine.queue(event, left)

    def start(self, event: Event | None, left: Snapshot | None = None) -> None:
        """Begin with the start event, or with what an earlier run left undone.

        Time counts from here: a run may have waited for its turn.
        """
        early, self._early = self._early, None
        if self.is_over or self._ending is not None:
            return
        self._began = self.clock()
        self.wall = time.time()
        if event is None or self._ledger is not None:
            self._feed(RunStarted(0.0, event, self.wall, left))
        else:
            try:
                self._follow(self.machine.started(0.0, event, self.wall), 0.0)
                self._tasks.kick()
            except Exception as error:
                self._abort(error)
        for act in early or ():
            act()

    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` called whenever the status may be another."""
        self._watcher = changed

    def snapshot(self) -> Snapshot:
        """What is left to do, and whether the run counts as still going on."""

        def ask() -> Snapshot:
            # A step that has just ended shall not begin again.
            self._tasks.catch_up()
            return self.machine.snapshot(self.now)

        return self._asked(ask)

    def cancel(self, reason: str) -> None:
        """Stop everything, from any thread; the outcome says that it was."""

        def stop() -> None:
            self._tasks.catch_up()  # what has ended may be the end of the run
            self._feed(CancelAsked(self.now, reason))

        self._here(stop)

    def send(
        self, event: Event, step: str | None = None, call: StepCall | None = None
    ) -> None:
        """Route an event from a call, or from outside; from any thread.

        Raises:
            WorkflowRuntimeError: It can go nowhere, or comes from outside after
                the end of the run.
        """
        machine = self.machine
        if call is not None and step is None and self._is_direct(call):
            # The shorter way for what steps send to steps: it is sure to be taken.
            route = machine.plan.routes.get(type(event))
            if route is not None and route.plain:
                at = self.clock() - self._began
                try:
                    self._follow(machine.sent(at, event, route, call), at)
                    self._tasks.kick()
                except Exception as error:
                    self._abort(error)
                return
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
        self._begun(lambda: self._feed(EventSent(self.now, event, call_id, step)))

    def _is_direct(self, call: StepCall) -> bool:
        """Whether what a call asks for may be done on the spot, and without a fact."""
        # The first says that it is at work, the second that it is asked in its task
        # or another one on this thread.
        return (
            self._ledger is None
            and call.status == "running"
            and threading.get_ident() == self._thread
        )

    def _send_to_children(self, event: Event, step: str | None) -> bool:
        """Give an event from outside to the children that take it.

        Returns:
            Whether that was all: this run itself does not take it.
        """
        if step is not None or not isinstance(event, Event):
            return False
        taking = self._children.taking(event) if self._children else []
        for child in taking:
            child.send_event(event)
        own = self.machine.plan.route(type(event)).takers
        return bool(taking) and not own and not self.machine.awaits(event)

    def takes(self, event: Event) -> bool:
        """Whether a step accepts an event, or waits for it."""
        if self.machine.over:
            return False
        if self.machine.takes(event):
            return True
        return self._children is not None and bool(self._children.taking(event))

    def publish(self, event: Event, call: StepCall | None = None) -> None:
        """Show an event on the stream; from any thread."""
        machine = self.machine
        route = machine.plan.routes.get(type(event))
        if route is None:
            if not isinstance(event, Event):
                shown, advice = about_sent(event, "write_event_to_stream")
                raise WorkflowRuntimeError(
                    f"write_event_to_stream takes an Event, not {shown}.",
                    hint=advice,
                    workflow=machine.plan.name,
                    step=call.spec.name if call else None,
                )
            route = machine.plan.route(type(event))
        if route.asks:
            self.send(event, None, call)
        elif threading.get_ident() != self._thread:
            self.loop.call_soon_threadsafe(self.show, event, call)
        elif not machine.over and (call is None or not call.stopping):
            self.record.write_event(event, call.call_id if call is not None else 0)

    def show(self, event: Event, call: StepCall | None = None) -> None:
        """Put an event on the stream; no step gets it. On the run's own thread."""
        if not self.machine.over and (call is None or not call.stopping):
            self.record.write_event(event, call.call_id if call is not None else 0)

    def tell(self, event: Event) -> None:
        """Put an internal event on the stream; from any thread."""
        self._here(lambda: self.record.write_internal(event))

    @property
    def questions(self) -> list[Question]:
        """What people were asked and have not answered, by this run or its children."""
        # Nobody is to be asked what `answers` will answer, soon or after a while.
        own = list(self.machine.questions) if self.answers is None else []
        return own + (self._children.questions if self._children else [])

    def _note_question(self, event: Event) -> None:
        """See to it that a question is answered, or not waited for too long."""
        found = [q for q in self.machine.questions if q.event is event]
        if not found:
            return
        question, within = found[-1], found[-1].answer_within
        key = -2 * id(question)
        if self.answers is not None:
            answering = self._answer_prepared(question, key, self.answers)
            self._timers[key] = self.loop.create_task(answering)
        if within is not None:
            late = self.loop.call_later(within, self._answer_late, question, key - 1)
            self._timers[key - 1] = late

    async def _answer_prepared(
        self, question: Question, key: int, prepared: Answers
    ) -> None:
        """Give the answer that was prepared, or end the run at one that has none."""
        try:
            if question in self.machine.questions:
                answer = await prepared.to(question)
                if question in self.machine.questions:
                    self.send(answer)
        except Exception as problem:
            self.cancel(str(problem).rstrip("."))
            if self._ending is not None and self._ending.error is not None:
                self._ending.error.__cause__ = problem
        finally:
            self._timers.pop(key, None)

    def _answer_late(self, question: Question, key: int) -> None:
        self._timers.pop(key, None)
        if question in self.machine.questions:
            self.cancel(
                f"nobody answered {question.prompt!r} within "
                f"{question.answer_within:g} seconds"
            )

    def cancel_step(self, step: str, call: StepCall | None = None) -> None:
        """Stop all other calls of a step; from any thread.

        Raises:
            WorkflowStepDoesNotExistError: There is no step of that name.
        """
        self.machine.plan.check_step(step, call.spec.name if call else None)
        call_id = call.call_id if call else None
        self._begun(lambda: self._feed(StepCancelled(self.now, call_id, step)))

    async def run_child(self, handler: Child, call: StepCall) -> StopEvent:
        """Follow a workflow that a step of this run has started, to its end."""
        if self._children is None:
            self._children = Children(self)
        return await self._children.follow(handler, call)

    def suspend(self, call: StepCall) -> int:
        """Count a call as waiting, for something that is no event of this run."""
        wait_id = self._next_wait
        self._next_wait += 1
        kind = WorkflowIdleEvent  # which nobody ever sends
        self.bodies.stop_clock(call)
        self._feed(WaitBegan(self.now, call.call_id, wait_id, kind, {}))
        return wait_id

    def unsuspend(self, call: StepCall, wait_id: int) -> None:
        """Count a call as running again."""
        self.bodies.start_clock(call)
        self._feed(WaitDropped(self.now, call.call_id, wait_id))

    def collect(
        self,
        call: StepCall,
        event: Event,
        expected: Sequence[type[Event]],
        buffer_id: str,
    ) -> list[Event] | None:
        """Join events; from any thread, which then waits for the answer."""
        if self._is_direct(call):
            return self.machine.collected(call, event, expected, buffer_id)

        def ask() -> list[Event] | None:
            fact = EventsCollected(self.now, call.call_id, event, expected, buffer_id)
            commands = self.machine.apply(fact)
            if self._ledger is not None:
                self._ledger.enter_alone(fact)
            answer = commands[0] if commands else None
            return answer.events if isinstance(answer, Reply) else None

        return self._asked(ask)

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
        self.bodies.stop_clock(call)
        try:
            self._feed(
                WaitBegan(
                    self.now, call.call_id, wait_id, kind, requirements, asking, timeout
                )
            )
            return await answer
        finally:
            self.bodies.start_clock(call)
            del self._answers[wait_id]
            if not answer.done() or answer.cancelled():
                self._feed(WaitDropped(self.now, call.call_id, wait_id))

    def _asked(self, ask: Callable[[], A]) -> A:
        """What the run's own thread says, which another one waits for."""
        if threading.get_ident() == self._thread or not self.loop.is_running():
            return ask()

        async def asked() -> A:
            return ask()

        return asyncio.run_coroutine_threadsafe(asked(), self.loop).result()

    # -- facts in, commands out --------------------------------------------------

    def _here(self, act: Callable[[], None]) -> None:
        """Do something on the run's own thread: now, or soon if this is another."""
        if threading.get_ident() == self._thread:
            act()
        else:
            self.loop.call_soon_threadsafe(act)

    def _begun(self, act: Callable[[], None]) -> None:
        """Do something on the run's own thread, once the run has begun."""

        def now_or_then() -> None:
            if self._early is None:
                act()
            else:
                self._early.append(act)

        self._here(now_or_then)
