"""What a step may touch: send, stream, collect, and the store.

A context is a thin face; what stands behind it is the run, reached through the
`Door` below. The data of the store lives in `store`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, Protocol, cast

from pydantic import BaseModel
from typing_extensions import TypeVar

from stepwell.errors import ContextStateError
from stepwell.events import Event
from stepwell.steps import StepCall
from stepwell.store import DictState, InMemoryStateStore, default_state

__all__ = [
    "Context",
    "Door",
]

# Without a model in brackets, `Context` has state of no declared shape.
S = TypeVar("S", bound=BaseModel, default=DictState)
E = TypeVar("E", bound=Event)
_MISSING: Any = object()


class Door(Protocol):
    """What a context needs of a run."""

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        ...

    @property
    def running_steps(self) -> list[str]:
        """Names of the steps that have calls running."""
        ...

    def send(self, event: Event, step: str | None, call: StepCall | None) -> None:
        """Route an event."""
        ...

    def publish(self, event: Event, call: StepCall | None) -> None:
        """Show an event on the stream."""
        ...

    def collect(
        self,
        call: StepCall,
        event: Event,
        expected: Sequence[type[Event]],
        buffer_id: str,
    ) -> list[Event] | None:
        """Join events."""
        ...

    async def wait(
        self,
        call: StepCall,
        kind: type[Event],
        asking: Event | None,
        requirements: Mapping[str, Any],
        timeout: float | None,
    ) -> Event | None:
        """Suspend a call until an event comes."""
        ...


class _HasState(Protocol):
    @property
    def state_type(self) -> type[BaseModel]: ...


class Context(Generic[S]):
    """A step's access to its run, and the caller's to the state between runs.

    Steps get one by a parameter annotated `Context`, or `Context[MyState]` for
    state with a declared shape. Outside, `Context(workflow)` makes one to set
    state before a run and to pass to `workflow.run(ctx=ctx)`, again and again.

    Args:
        workflow: The workflow whose state the context holds.
    """

    __slots__ = ("_call", "_door", "_store")

    def __init__(self, workflow: _HasState) -> None:
        if isinstance(workflow, type):
            raise ContextStateError(
                f"Context takes a workflow, not the class {workflow.__name__}.",
                hint=f"Write Context({workflow.__name__}()).",
            )
        state = default_state(workflow.state_type)
        self._store = cast("InMemoryStateStore[S]", InMemoryStateStore(state))
        self._door: Door | None = None
        self._call: StepCall | None = None

    def for_call(self, call: StepCall) -> Context[S]:
        """The face of this context that one call gets; they share the store."""
        face: Context[S] = Context.__new__(Context)
        face._store = self._store
        face._door = self._door
        face._call = call
        return face

    def attach(self, door: Door) -> None:
        """Give the context a run.

        Raises:
            ContextStateError: It belongs to a run that is still going on.
        """
        if self._door is not None and not self._door.is_over:
            raise ContextStateError(
                "this context belongs to a run that is still going on.",
                hint="Await that run first, or start this one without ctx=….",
            )
        self._door = door

    @property
    def store(self) -> InMemoryStateStore[S]:
        """The state that all steps of the run share."""
        return self._store

    @property
    def is_running(self) -> bool:
        """Whether the context's run has begun and not ended."""
        return self._door is not None and not self._door.is_over

    async def get(self, key: str, default: Any = _MISSING) -> Any:
        """The value that `set` kept under `key`; the same as `store.get`.

        Raises:
            ValueError: Nothing is there and no `default` was given.
        """
        if default is _MISSING:
            return await self._store.get(key)
        return await self._store.get(key, default)

    async def set(self, key: str, value: Any) -> None:
        """Keep `value` under `key` for the other steps; the same as `store.set`."""
        await self._store.set(key, value)

    def send_event(self, message: Event, step: str | None = None) -> None:
        """Send an event at once, beside whatever the step returns later.

        May be called from a thread. Events go to every step that accepts their
        class, or to `step` alone.

        Raises:
            WorkflowRuntimeError: No step accepts the event.
            WorkflowStepDoesNotExistError: There is no step of that name.
        """
        self._run("send_event").send(message, step, self._call)

    def write_event_to_stream(self, ev: Event | None) -> None:
        """Show an event to everybody who reads the run's stream.

        It starts no step. None is ignored; after the end of the run nothing is
        written. May be called from a thread.

        Raises:
            WorkflowRuntimeError: `ev` is not an event.
        """
        if ev is not None:
            self._run("write_event_to_stream").publish(ev, self._call)

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
            buffer_id: Keeps joins with equal lists in one step apart.

        Returns:
            None while events are missing. With the last one, a list in the order
            of `expected`; within a class in the order of arrival, or of the list
            they were returned in. Events beyond the set stay for the next one.
        """
        if self._call is None:
            raise ContextStateError(
                "ctx.collect_events works inside a step only.",
                hint="Call it on the context that the step gets as parameter.",
            )
        door = self._run("collect_events")
        classes: Any = expected
        if not isinstance(expected, list):
            classes = [expected] if isinstance(expected, type) else list(expected)
        return door.collect(self._call, ev, classes, buffer_id or "default")

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
        if self._call is None:
            raise ContextStateError(
                "ctx.wait_for_event works inside a step only.",
                hint="Call it on the context that the step gets as parameter.",
            )
        event = await self._run("wait_for_event").wait(
            self._call, event_type, waiter_event, requirements or {}, timeout
        )
        if event is None:
            raise TimeoutError(
                f"no {event_type.__name__} came within {timeout:g} seconds"
            )
        return cast("E", event)

    async def running_steps(self) -> list[str]:
        """Names of the steps that have calls running, in the order declared."""
        return self._run("running_steps").running_steps

    def _run(self, asked: str) -> Door:
        if self._door is None:
            raise ContextStateError(
                f"ctx.{asked} needs a run, and this context has none yet.",
                hint="Start one with workflow.run(ctx=ctx).",
            )
        return self._door
