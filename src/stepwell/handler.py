"""What the caller of `Workflow.run` holds: await it, stream it, send to it, stop it.

Viewers such as the notebook's panel may present a run while it is awaited; they
register themselves with `present_with`, so that this file knows none of them.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from typing import Any

from stepwell.classes import renewed
from stepwell.context import Context, current_call
from stepwell.cycle import GRACE, Cycle
from stepwell.errors import (
    StepwellError,
    WorkflowArgumentError,
    WorkflowRuntimeError,
    did_you_mean,
)
from stepwell.events import Event, HumanResponseEvent, StopEvent
from stepwell.questions import Question
from stepwell.record import RunRecord
from stepwell.run import Run
from stepwell.turns import keep_name

__all__ = ["Presenter", "WorkflowHandler", "present_with"]

Presenter = Callable[["WorkflowHandler", Coroutine[Any, Any, Any]], Awaitable[Any]]

_presenter: Presenter | None = None
_notices = logging.getLogger("stepwell.waiting")


def present_with(
    presenter: Presenter | None,
    failed: Callable[[str, BaseException, asyncio.Future[StopEvent]], None]
    | None = None,
) -> Presenter | None:
    """Let a viewer stand between a run and the code that awaits it.

    Args:
        presenter: Called with the handler and the coroutine of its outcome each
            time a handler is awaited outside steps. It must await the coroutine
            once, and return or raise what that does. None removes it.
        failed: Called on the run's own thread when a run has ended with an error,
            with the workflow's name, the error, and the outcome that holds it. While
            there is one, a step that raises `SystemExit` ends its run alone.

    Returns:
        The presenter there was before.
    """
    global _presenter
    previous, _presenter = _presenter, presenter
    Cycle.viewer = failed
    return previous


def _no_attribute(handler: object, name: str) -> Any:
    """Say what a handler has, and how to come by the result that was wanted."""
    known = [known for known in dir(type(handler)) if not known.startswith("_")]
    advice = "\nThe result is had by awaiting it: `result = await handler`."
    raise AttributeError(
        f"a WorkflowHandler has no attribute {name!r}.{did_you_mean(name, known)}"
        + (advice if not name.startswith("_") else ""),
        name=name,
        obj=handler,
    )


def _no_item(handler: object, key: object) -> Any:
    """Say how to come by the result that was wanted."""
    raise WorkflowArgumentError(
        f"a WorkflowHandler is a run and not its result: it has no [{key!r}].",
        hint="Await it first: `result = await handler`.",
    )


class WorkflowHandler:
    """A run that has begun. `await` it, again and again, for its result.

    Awaiting gives the `result` of a plain `StopEvent`, or the event itself where
    the workflow ends with a subclass. It raises what ended the run: the exception
    of a step as it is, or an error of `stepwell.errors`. When the task that awaits
    is cancelled and no other one awaits too, the run is cancelled with it.
    """

    __slots__ = (
        "__weakref__",
        "_ctx",
        "_run",
        "_waiters",
        "_warned",
        "_workflow",
        "resumed_from",
    )

    def __init__(self, run: Run, workflow: Any, ctx: Context[Any]) -> None:
        self.resumed_from: WorkflowHandler | None = None
        self._run = run
        self._workflow = workflow
        self._ctx = ctx
        self._waiters = 0
        self._warned = False

    # Type checkers, which find such mistakes by themselves, shall not see these.
    locals().update(__getattr__=_no_attribute, __getitem__=_no_item)

    def __await__(self) -> Generator[Any, Any, Any]:
        """Wait for the result."""
        if _presenter is not None and current_call.get() is None:
            return _presenter(self, self._outcome()).__await__()
        return self._wait(_value)

    async def _outcome(self) -> Any:
        return _value(await self.stop_event_result())

    async def stop_event_result(self) -> StopEvent:
        """Wait for the stop event itself, plain or not; raises as awaiting does."""
        stop: StopEvent = await _Waiting(self._wait(lambda stop: stop))
        return stop

    def _wait(self, give: Callable[[StopEvent], Any]) -> Generator[Any, Any, Any]:
        # A generator and no coroutine, as is what it waits for: each layer of those
        # has a price, and thousands may wait for runs at once.
        run = self._run
        self._waiters += 1
        if not run.outcome.done():
            run.record.when_idle = self._warn_if_alone
            if run.status == "waiting":
                self._warn_if_alone()
        try:
            # Not the outcome itself: it is the run's, not this waiter's to cancel.
            while not run.outcome.done():
                bed = run.finished().bed()
                if not run.outcome.done():
                    yield from bed
            return give(run.result())
        except asyncio.CancelledError:
            if self._waiters == 1 and not run.is_over:
                run.cancel("the task that awaited it was cancelled")
                yield from asyncio.wait([run.outcome], timeout=2 * GRACE).__await__()
                if run.outcome.done():
                    run.outcome.exception()
            raise
        finally:
            self._waiters -= 1
            # The traceback of what is raised holds this frame, which would hold the
            # run, which holds what is raised.
            del self, run

    def _warn_if_alone(self) -> None:
        """Log that the run waits for somebody, if nobody could have noticed."""
        run = self._run
        fed = run.machine.wait_when_stalled or run.record.was_read
        if fed or run.answers is not None or not self._waiters or self._warned:
            return
        self._warned = True  # once is enough
        steps = run.machine.plan.steps
        heard = [
            k for s in steps for k in s.accepts if issubclass(k, HumanResponseEvent)
        ]
        kind = heard[0].__name__ if heard else "HumanResponseEvent"
        _notices.warning(
            "%s waits for somebody to answer, and nobody reads its stream. Keep "
            "`handler = workflow.run(…)`, see what it asks with `async for event in "
            "handler.stream_events()`, and answer with `handler.send_event(%s(…))`.",
            run.machine.plan.name,
            kind,
        )

    # -- facts -------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        """Names the run in messages and journals."""
        keep_name(self._run)  # whoever knows it may give it to another run
        return self._run.run_id

    @property
    def ctx(self) -> Context[Any]:
        """The run's context, with its store; may be given to a later run."""
        return self._ctx

    @property
    def workflow(self) -> Any:
        """The workflow that runs."""
        return self._workflow

    @property
    def record(self) -> RunRecord:
        """What happened so far: the calls of steps, when, and caused by what."""
        return self._run.record

    @property
    def status(self) -> str:
        """queued, running, waiting, done, failed, cancelled, timed out or stalled."""
        return self._run.status

    @property
    def questions(self) -> list[Question]:
        """What people were asked and have not answered, oldest first.

        Empty in a run that was given `answers`, which asks nobody.
        `handler.send_event(question.answer(value))` answers one.
        """
        return self._run.questions

    @property
    def is_stale(self) -> bool:
        """Whether the run goes on with steps that have been defined anew since."""
        kind = type(self._workflow)
        if self._run.is_over:
            return False
        try:
            now = [spec.function for spec in kind.newest.compile().steps]
        except StepwellError:
            return True  # the new ones do not make a workflow yet
        return now != [spec.function for spec in self._run.machine.plan.steps]

    @property
    def is_resumable(self) -> bool:
        """Whether `resume` can go on with the run: it ended before its work did."""
        left = self._run.machine.left
        return self._run.is_over and left is not None and left.may_go_on

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, until its end."""
        ended = self._run.ended_at
        return self._run.now if ended is None else ended

    @property
    def error(self) -> BaseException | None:
        """What ended the run, once it is over; None for a run with a result."""
        outcome = self._run.outcome
        return outcome.exception() if outcome.done() else None

    def is_done(self) -> bool:
        """Whether the run is over, with a result or without."""
        return self._run.is_over

    def result(self) -> Any:
        """The result of a run that is over; raises as awaiting does.

        Raises:
            WorkflowRuntimeError: The run is still going on.
        """
        if not self._run.outcome.done():
            raise WorkflowRuntimeError(
                f"the run of {self._run.machine.plan.name} is still going on "
                f"({self.status}).",
                hint="Write `result = await handler`.",
            )
        return _value(self._run.result())

    def get_stop_event(self) -> StopEvent | None:
        """The stop event of a run that ended with one; None otherwise."""
        outcome = self._run.outcome
        if not outcome.done() or outcome.exception() is not None:
            return None
        return outcome.result()

    # -- acts --------------------------------------------------------------------

    def stream_events(self, expose_internal: bool = False) -> AsyncIterator[Event]:
        """Follow the run's events, from the first one to its stop event.

        Every call gives a reader of its own, so several may read side by side and
        a late one misses nothing. The last 100,000 events are kept. A failure of
        the run shows as its last event; it is raised by awaiting only.

        Args:
            expose_internal: Give `StepStateChanged`, `WorkflowIdleEvent` and
                `UnhandledEvent` as well.

        Raises:
            WorkflowRuntimeError: The reader is later than what is kept.
        """
        return self._run.record.read(expose_internal=expose_internal)

    def send_event(self, event: Event, step: str | None = None) -> Awaitable[None]:
        """Send an event into the run, to every step that takes it or to one.

        It is sent at once, and may come from any thread; awaiting what is given
        back is allowed and does nothing.

        Raises:
            WorkflowRuntimeError: No step accepts the event, or the run is over.
            WorkflowStepDoesNotExistError: There is no step of that name.
        """
        self._run.send(event, step)
        return _Nothing()

    def resume(self, workflow: Any = None, *, answers: Any = None) -> WorkflowHandler:
        """Go on with a run that failed, was stopped or ran out of time.

        Steps that had ended keep what they returned, and the state is what it was.
        The call that failed begins again on its event, as do those that were at work;
        what they had changed by then, in the state or elsewhere, they change twice,
        and workflows that they ran begin from the start. What people had answered is
        not asked again. A step whose cell has been run again since is the new one.

        May be done again, once the new run is over: it begins where this run ended, on
        the state as it is by then. `ctx.to_dict(resumable=True)` keeps it for another
        day.

        Args:
            workflow: The workflow to go on with, which must have the steps that are
                to begin again; by default the same, as its class is defined now, with
                the attributes that it has: `__init__` is not called again.
            answers: As for `Workflow.run`.

        Returns:
            The handler of a new run, with this one as its `resumed_from`; `await` it
            for the result.

        Raises:
            WorkflowRuntimeError: It is still going on, or was resumed and that is; it
                has its result, or nothing is left to begin again.
            ContextStateError: A step that is to begin again is gone, or does not take
                its event any more.
        """
        left, name = self._run.machine.left, self._run.machine.plan.name
        if not self._run.is_over:
            raise WorkflowRuntimeError(
                f"the run of {name} is still going on ({self.status}).",
                hint="Await it, or stop it first: `await handler.cancel_run()`.",
                workflow=name,
            )
        if self._ctx.is_running:
            raise WorkflowRuntimeError(
                f"the run of {name} shares its state with one that is still going on.",
                hint="Was it resumed already? Await that run, or stop it first.",
                workflow=name,
            )
        if left is None or not left.may_go_on:
            ended = "has its result" if self.error is None else f"is {self.status}"
            raise WorkflowRuntimeError(
                f"the run of {name} {ended}, and none of its steps has anything left "
                "to do.",
                hint="Start a new one with `workflow.run(…)`; ctx=handler.ctx keeps "
                "the state.",
                workflow=name,
            )
        chosen = renewed(self._workflow) if workflow is None else workflow
        self._ctx.put_back(left.to_go_on())
        try:
            self._ctx.store.move_to(chosen.state_type)
            again: WorkflowHandler = chosen.run(ctx=self._ctx, answers=answers)
        finally:
            self._ctx.put_back(None)  # whoever begins with this context begins anew
        again.resumed_from = self
        return again

    async def cancel_run(
        self, *, timeout: float = 5.0, reason: str = "cancel_run() was called"
    ) -> None:
        """Stop the run and wait until its steps have stopped.

        Never raises for the run; awaiting it then raises `WorkflowCancelledByUser`.

        Args:
            timeout: Seconds to wait for steps that are slow to stop.
            reason: Why, for the message of the error.
        """
        run = self._run
        if run.is_over:
            return
        run.cancel(reason)
        await asyncio.wait([run.outcome], timeout=timeout)
        if run.outcome.done():
            run.outcome.exception()

    def takes(self, event: Event) -> bool:
        """Whether a step of the run accepts an event, or waits for one like it."""
        return self._run.takes(event)

    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` called whenever `status` may be another; the last one only.

        It is called on the run's own thread, from inside the engine: let it be
        short, and raise nothing.
        """
        self._run.watch(changed)

    # -- as elsewhere, deprecated ------------------------------------------------

    def done(self) -> bool:
        """Deprecated: `is_done()`."""
        _deprecated("done()", "is_done()")
        return self.is_done()

    def cancel(self) -> None:
        """Deprecated: `await cancel_run()`, which also waits for the steps to stop."""
        _deprecated("cancel()", "await handler.cancel_run()")
        self._run.cancel("cancel() was called")

    def cancelled(self) -> bool:
        """Deprecated: `status == "cancelled"`."""
        _deprecated("cancelled()", 'status == "cancelled"')
        return self.status == "cancelled"

    def exception(self) -> BaseException | None:
        """Deprecated: `error`."""
        _deprecated("exception()", "error")
        return self.error

    def __repr__(self) -> str:
        """One line for people: workflow, status, time."""
        state = f"{self.status}, {self.elapsed:.1f} s"
        todo = "" if self._run.is_over else "; await it for the result"
        return f"<WorkflowHandler {self.run_id}: {state}{todo}>"


def _deprecated(old: str, new: str) -> None:
    warnings.warn(
        f"WorkflowHandler.{old} is deprecated: use {new}.",
        DeprecationWarning,
        stacklevel=3,
    )


def _value(stop: StopEvent) -> Any:
    return stop.result if type(stop) is StopEvent else stop


class _Waiting:
    """A generator of the steps of waiting, to be awaited."""

    def __init__(self, steps: Generator[Any, Any, Any]) -> None:
        self._steps = steps

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._steps


class _Nothing:
    """Something to await that is there already."""

    def __await__(self) -> Generator[Any, Any, None]:
        return
        yield
