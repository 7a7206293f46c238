"""What a step may touch: send, stream, collect, wait, and the store.

A context is a thin face; what stands behind it is the run, reached through the
`Door` below. The data of the store lives in `store`; the form in which a context
is saved, in `snapshots`.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, Generic, Protocol, cast

from pydantic import BaseModel
from typing_extensions import TypeVar

from stepwell.calls import StepCall
from stepwell.diagnosis import check_awaited
from stepwell.door import Door, Owner
from stepwell.errors import ContextStateError, WorkflowRuntimeError
from stepwell.events import Event, StepOutput, StepProgress, StopEvent
from stepwell.left import Snapshot
from stepwell.plan import Plan
from stepwell.retry import RetryInfo
from stepwell.serializers import BaseSerializer, JsonSerializer
from stepwell.store import DictState, InMemoryStateStore, default_state

__all__ = [
    "Context",
    "current_call",
]

# Without a model in brackets, `Context` has state of no declared shape.
S = TypeVar("S", bound=BaseModel, default=DictState)
E = TypeVar("E", bound=Event)
_MISSING: Any = object()
_making_a_store = threading.Lock()
_counting = threading.Lock()


class _Runnable(Protocol):
    def run(self, *args: Any, **kwargs: Any) -> Any: ...


# The context and the call of the step that runs here.
current_call: ContextVar[tuple[Context[Any], StepCall] | None] = ContextVar(
    "stepwell_current_call", default=None
)


def _snapshots() -> ModuleType:
    from stepwell import snapshots  # late: few programs save one, and it is large

    return snapshots


class Context(Generic[S]):
    """A step's access to its run, and the caller's to the state between runs.

    Steps get one by a parameter annotated `Context`, or `Context[MyState]` for
    state with a declared shape. Outside, `Context(workflow)` makes one to set
    state before a run and to pass to `workflow.run(ctx=ctx)`, again and again.

    Args:
        workflow: The workflow whose state the context holds.
        previous_context: What `to_dict` gave, to go on from.
        serializer: Turns values into text and back; by default the workflow's own,
            else JSON.

    Raises:
        ContextSerdeError: `previous_context` cannot be read.
    """

    __slots__ = ("_call", "_door", "_home", "_left", "_serializer", "_store")

    def __init__(
        self,
        workflow: Owner,
        previous_context: Mapping[str, Any] | None = None,
        serializer: BaseSerializer | None = None,
    ) -> None:
        if isinstance(workflow, type):
            raise ContextStateError(
                f"Context takes a workflow, not the class {workflow.__name__}.",
                hint=f"Write Context({workflow.__name__}()).",
            )
        # None for the plain ones, which are made when needed: most runs need neither.
        self._serializer = serializer or workflow.serializer
        self._store: InMemoryStateStore[S] | None = None
        self._left: Snapshot | None = None
        self._door: Door | None = None
        self._call: StepCall | None = None
        # The context that one call's face of it shares all but the call with.
        self._home: Context[S] | None = None
        if previous_context is not None:
            plan = workflow.compile()
            state, self._left = _snapshots().load(
                previous_context, plan, self._serializer or JsonSerializer()
            )
            self._store = InMemoryStateStore(state)
        elif workflow.state_type is not DictState:
            state = default_state(workflow.state_type)
            self._store = cast("InMemoryStateStore[S]", InMemoryStateStore(state))

    @classmethod
    def from_dict(
        cls,
        workflow: Owner,
        data: Mapping[str, Any],
        serializer: BaseSerializer | None = None,
    ) -> Context[S]:
        """The context that `to_dict` saved.

        Where the run was still going on, `workflow.run(ctx=…)` goes on with it: no
        start event is sent, and steps that were at work begin again, so what they
        had done by then is done twice.

        Args:
            workflow: The workflow it belonged to; its steps may have changed since.
            data: What `to_dict` gave.
            serializer: Turns values back; by default the workflow's own, else JSON,
                which makes no class but those of the workflow's graph and of modules
                that are loaded.

        Raises:
            ContextSerdeError: The data is no saved context, or of another version, or
                does not fit the workflow; the message says where.
        """
        if data is None:
            _snapshots().load(data, workflow.compile())  # which refuses it
        return cls(workflow, data, serializer)

    def to_dict(
        self,
        serializer: BaseSerializer | None = None,
        *,
        include_state: bool = True,
        resumable: bool = False,
    ) -> dict[str, Any]:
        """The state, and what the run has left to do, as data that JSON can hold.

        Works before a run, while it goes on, and after its end. A run that was
        cancelled counts as still going on, so that it can be resumed.

        Args:
            serializer: Turns values into text; by default the context's own.
            include_state: Whether to save the state as well.
            resumable: Save a run that failed or ran out of time as still going on, for
                `workflow.run(ctx=Context.from_dict(workflow, data))` to resume.

        Raises:
            ContextSerdeError: A value cannot be saved; the message names the key, or
                the step and the event. Also a ValueError.
        """
        home = self._home or self
        left = home._left if home._door is None else home._door.snapshot()
        if resumable and left is not None and not left.is_running and left.may_go_on:
            left = left.to_go_on()
        data: dict[str, Any] = _snapshots().dump(
            home.store.current,
            left or Snapshot(is_running=False),
            serializer or home._serializer or JsonSerializer(),
            include_state=include_state,
        )
        return data

    @staticmethod
    def get_step_context() -> Context[Any]:
        """The context of the step that is running here, for code it calls.

        Raises:
            WorkflowRuntimeError: No step is.
        """
        found = current_call.get()
        if found is None:
            raise WorkflowRuntimeError(
                "Context.get_step_context() was called outside of a step.",
                hint="Call it in a step, or in code that a step calls.",
            )
        ctx, call = found
        return ctx.for_call(call)

    def for_call(self, call: StepCall) -> Context[S]:
        """The face of this context that one call gets; they share the store."""
        # The other slots stay empty: what they hold is asked of the home.
        face: Context[S] = Context.__new__(Context)
        face._home = self._home or self
        face._door = self._door
        face._call = call
        return face

    def attach(self, door: Door) -> None:
        """Give the context a run.

        Raises:
            ContextStateError: It belongs to a run that is still going on.
        """
        home = self._home or self
        if home._door is not None and not home._door.is_over:
            raise ContextStateError(
                "this context belongs to a run that is still going on.",
                hint="Await that run first, or start this one without ctx=….",
            )
        home._door = self._door = door
        home._left = None

    def take_left(self, plan: Plan) -> Snapshot | None:
        """What an earlier run left to do, if this context was saved during one.

        Raises:
            ContextStateError: That was a run of a workflow with other steps.
        """
        left = (self._home or self)._left
        if left is None or not left.is_running:
            return None
        left.check(plan)
        return left

    @property
    def store(self) -> InMemoryStateStore[S]:
        """The state that all steps of the run share."""
        home = self._home or self
        if home._store is None:
            with _making_a_store:  # plain steps may be first in several threads
                if home._store is None:
                    made = InMemoryStateStore(DictState())
                    home._store = cast("InMemoryStateStore[S]", made)
        return home._store

    @property
    def run_id(self) -> str:
        """Names the run; empty where there was none yet."""
        door = (self._home or self)._door
        return door.run_id if door is not None else ""

    @property
    def parent(self) -> Context[Any] | None:
        """The context of the step that began this run, while it goes on; or None."""
        begun_in = self._door.begun_in if self._door is not None else None
        return begun_in[0].for_call(begun_in[1]) if begun_in is not None else None

    @property
    def call_id(self) -> int:
        """Number of the call of a step that has this context; 0 outside of steps."""
        return self._call.call_id if self._call is not None else 0

    def put_back(self, left: Snapshot | None) -> None:
        """Have the next run with this context go on from what a run left to do."""
        (self._home or self)._left = left

    @property
    def is_running(self) -> bool:
        """Whether a run goes on, or was saved going on and not yet taken up."""
        home = self._home or self
        if home._door is None:
            return home._left is not None and home._left.is_running
        return not home._door.is_over

    async def get(self, key: str, default: Any = _MISSING) -> Any:
        """The value that `set` kept under `key`; the same as `store.get`.

        Raises:
            ValueError: Nothing is there and no `default` was given.
        """
        if default is _MISSING:
            return await self.store.get(key)
        return await self.store.get(key, default)

    async def set(self, key: str, value: Any) -> None:
        """Keep `value` under `key` for the other steps; the same as `store.set`."""
        await self.store.set(key, value)

    def send_event(self, message: Event, step: str | None = None) -> None:
        """Send an event at once, beside whatever the step returns later.

        May be called from a thread. Events go to every step that accepts their
        class, or to `step` alone.

        Raises:
            WorkflowRuntimeError: No step accepts the event.
            WorkflowStepDoesNotExistError: There is no step of that name.
        """
        door = self._door or self._run("send_event")
        door.send(message, step, self._call)

    def write_event_to_stream(self, ev: Event | None) -> None:
        """Show an event to everybody who reads the run's stream.

        It starts no step. None is ignored; after the end of the run nothing is
        written. May be called from a thread.

        Raises:
            WorkflowRuntimeError: `ev` is not an event.
        """
        if ev is not None:
            door = self._door or self._run("write_event_to_stream")
            door.publish(ev, self._call)

    def progress(self, done: float, total: float | None = None, text: str = "") -> None:
        """Say how far the step has come, for whoever watches the run.

        May be called as often as you like, and from a thread. Around a loop,
        `stepwell.tqdm` does it by itself.

        Args:
            done: How many units are done.
            total: How many there are; None where nobody knows.
            text: What is being done, in a few words.
        """
        self._tell("progress", StepProgress, done=done, total=total, text=text)

    def log(self, text: str, *, source: str = "log") -> None:
        """Say something in the step's log, for whoever watches the run.

        Readers of `stream_events(expose_internal=True)` get it as a `StepOutput`. May
        be called from a thread.

        Args:
            text: What to say.
            source: Where it comes from: "stdout", "WARNING", a word of your own.
        """
        self._tell("log", StepOutput, text=str(text), source=source)

    def count(self, **amounts: float) -> None:
        """Add amounts to what this attempt at the step has used, for the run's record.

        Any names will do. `prompt_tokens`, `completion_tokens` and `cost` (in US
        dollars) are summed up for the whole run. May be called from a thread.
        """
        call, door = self._inside("count"), self._run("count")
        with _counting:
            door.record.count(call, amounts)

    def _tell(self, asked: str, kind: type[Event], **fields: Any) -> None:
        call, door = self._inside(asked), self._run(asked)
        name, number = call.spec.name, call.call_id
        door.tell(kind(name=name, call_id=number, at=door.now, **fields))

    def collect_events(
        self,
        ev: Event,
        expected: Sequence[type[Event]],
        buffer_id: str | None = None,
    ) -> list[Any] | None:
        """Keep an event until all the others that are waited for have come too.

        Args:
            ev: The event the step was given.
            expected: The classes to wait for, one entry for each event. Lists
                that differ are different joins, and so are different buffers.
                A list that is given again and again is not to be changed.
            buffer_id: Keeps joins with equal lists in one step apart.

        Returns:
            None while events are missing. With the last one, a list in the order
            of `expected`; within a class in the order of arrival, or of the list
            they were returned in. Events beyond the set stay for the next one.
        """
        call = self._call or self._inside("collect_events")
        door = self._door or self._run("collect_events")
        classes: Any = expected
        if not isinstance(expected, list):
            several = isinstance(expected, Iterable) and not isinstance(expected, Event)
            classes = list(expected) if several else [expected]
        return door.collect(call, ev, classes, buffer_id or "default")

    async def wait_for_event(
        self,
        event_type: type[E],
        waiter_event: Event | None = None,
        waiter_id: str | None = None,
        requirements: Mapping[str, Any] | None = None,
        timeout: float | None = 2000,
    ) -> E:
        """Suspend the step until an event comes, as from a person.

        The step goes on where it stopped; its body is not run again. While it
        waits it leaves its worker to other calls, and while nothing else runs the
        workflow's timeout stands still. Each event ends one wait, in the order in
        which they began; an answer that came before is taken at once.

        Args:
            event_type: The class to wait for, exactly.
            waiter_event: Shown on the stream when the wait begins.
            waiter_id: Accepted for programs that need it elsewhere; waits are told
                apart without it.
            requirements: Values that fields of the event must have.
            timeout: Seconds to wait; None for ever.

        Raises:
            TimeoutError: The event did not come in time.
        """
        call, door = self._inside("wait_for_event"), self._run("wait_for_event")
        check_awaited(call.spec, event_type, waiter_event)
        event = await door.wait(
            call, event_type, waiter_event, requirements or {}, timeout
        )
        if event is None:
            raise TimeoutError(
                f"no {event_type.__name__} came within {timeout:g} seconds"
            )
        return cast("E", event)

    def retry_info(self) -> RetryInfo:
        """Where the step stands in its attempts, and what the last one raised."""
        call, door = self._inside("retry_info"), self._run("retry_info")
        if call.attempt == 1:
            return RetryInfo(0, 0.0, None, None)
        past = call.past
        failed_at = datetime.fromtimestamp(door.wall + past.last_failed, UTC)
        elapsed = max(0.0, door.now - call.first_started)
        return RetryInfo(call.attempt - 1, elapsed, past.last_error, failed_at)

    def cancel_step(self, step: str) -> None:
        """Stop every other call of a step: queued, delayed, waiting or running.

        The run goes on; nothing more comes from those calls. May be called from a
        thread.

        Raises:
            WorkflowStepDoesNotExistError: There is no step of that name.
        """
        self._run("cancel_step").cancel_step(step, self._call)

    async def run(self, workflow: _Runnable, **kwargs: Any) -> Any:
        """Run another workflow inside this step, and give its result.

        Its events show on this run's stream, save for its stop event; what is sent
        to this run and taken by its steps reaches them. It ends with this step, and
        while it waits for a person, this run's clock stands still too.

        Args:
            workflow: A workflow; it has a state of its own.
            **kwargs: As for `workflow.run`.

        Raises:
            Exception: What its run raises.
        """
        call, door = self._inside("run"), self._run("run")
        if isinstance(workflow, type) or not hasattr(workflow, "run"):
            name = getattr(workflow, "__name__", "")
            made = f"{name}()" if name else "workflow"
            shown = f"the class {name}" if name else type(workflow).__name__
            raise ContextStateError(
                f"ctx.run takes a workflow, not {shown}.",
                hint=f"Write `await ctx.run({made}, …)`, with the fields of its start "
                "event by name.",
            )
        if door.answers is not None:
            kwargs.setdefault("answers", door.answers)
        stop = await door.run_child(workflow.run(**kwargs), call)
        return stop.result if type(stop) is StopEvent else stop

    def get_result(self) -> Any:
        """The result of the context's run, once it is over. Deprecated.

        Raises:
            ContextStateError: There is no run yet.
            WorkflowRuntimeError: It is still going on.
            Exception: What ended the run.
        """
        warnings.warn(
            "Context.get_result() is deprecated: await the handler instead.",
            DeprecationWarning,
            stacklevel=2,
        )
        outcome = self._run("get_result").outcome
        if not outcome.done():
            raise WorkflowRuntimeError(
                "ctx.get_result() was called before the run was over.",
                hint="Await the handler: result = await workflow.run(…).",
            )
        stop = outcome.result()
        return stop.result if type(stop) is StopEvent else stop

    async def running_steps(self) -> list[str]:
        """Names of the steps that have calls running, in the order declared."""
        return self._run("running_steps").running_steps

    def _inside(self, asked: str) -> StepCall:
        if self._call is None:
            raise ContextStateError(
                f"ctx.{asked} works inside a step only.",
                hint="Call it on the context that the step gets as parameter; from "
                "outside there is handler.send_event(…).",
            )
        return self._call

    def _run(self, asked: str) -> Door:
        if self._door is None:
            raise ContextStateError(
                f"ctx.{asked} needs a run, and this context has none yet.",
                hint="Start one with workflow.run(ctx=ctx).",
            )
        return self._door
