"""The run record: what happened in a run, when, and what caused it.

Written by `run` as things happen, read by anybody: as rows of calls, and as the
stream of events, which every reader follows with a cursor of its own. Bounded,
and always on. Facts for recovery are kept elsewhere, by `journals`.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Generic, TypeVar

from stepwell.calls import StepCall
from stepwell.errors import WorkflowRuntimeError
from stepwell.events import Event, StepState, StepStateChanged, WorkflowIdleEvent

__all__ = ["CALLS_KEPT", "EVENTS_KEPT", "CallRecord", "RunRecord"]

CALLS_KEPT = 3_000
EVENTS_KEPT = 100_000
T = TypeVar("T")
# Readers of a full stream give the loop back to everybody else this often.
_BURST = 256


class CallRecord:
    """One attempt at one call of a step.

    Attributes:
        call_id: Number of the call within the run, from 1.
        step: Name of the step.
        worker: Number of the worker, from 0; -1 while queued.
        attempt: Which attempt this was, from 1.
        input: Class name of the event that started it.
        started: Seconds since the run began; None while queued.
        ended: Seconds since the run began; None while it runs.
        status: queued, running, done, failed, cancelled or retrying.
        outputs: Class names of the events it returned.
        caused_by: The call that sent its event; None where it came from outside.
        error: What it raised, as `Class: message`.
    """

    __slots__ = (
        "attempt",
        "call_id",
        "caused_by",
        "ended",
        "error",
        "input",
        "outputs",
        "started",
        "status",
        "step",
        "worker",
    )

    def __init__(self, call: StepCall) -> None:
        self.call_id = call.call_id
        self.step = call.spec.name
        self.worker = call.worker
        self.attempt = call.attempt
        kind = type(call.event)
        self.input = call.event_name if call.spec.joins else kind.__name__
        self.started: float | None = None
        self.ended: float | None = None
        self.status = "queued"
        self.outputs: tuple[str, ...] = ()
        self.caused_by = call.caused_by
        self.error: str | None = None

    @property
    def duration(self) -> float | None:
        """Seconds it took; None while it has not ended."""
        if self.started is None or self.ended is None:
            return None
        return self.ended - self.started

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __repr__(self) -> str:
        """One line for people."""
        took = self.duration
        shown = "" if took is None else f" {took * 1000:.1f} ms"
        call = f"{self.call_id} {self.step}({self.input})"
        return f"<CallRecord {call} {self.status}{shown}>"


# A change of one call, placed among the events written before it: seconds of the
# run, the number of those events, the call's row, its status and worker then (the
# row goes on changing); or an internal event in the place of these. A tuple, since
# two are made for each call.
_Mark = tuple[float, int, CallRecord | None, str, int, Event | None]


class RunRecord:
    """The story of one run; iterating gives its calls, oldest first.

    Kept are the last `calls_kept` calls (3,000; under 2 MiB) and the last
    `events_kept` events of the stream (100,000; about 0.5 KB each for small
    events). `dropped_calls` and `dropped_events` count what was let go.
    """

    def __init__(
        self, *, calls_kept: int = CALLS_KEPT, events_kept: int = EVENTS_KEPT
    ) -> None:
        self._rows: deque[CallRecord] = deque(maxlen=calls_kept)
        self._open: dict[int, CallRecord] = {}
        self._events = _Log[Event](events_kept)
        self._marks = _Log[_Mark](2 * calls_kept)
        self._waiting: list[asyncio.Future[None]] = []
        self._closed = False
        self._loop = asyncio.get_running_loop()
        # Whether anybody ever read the stream, and whom to tell that the run waits.
        self.was_read = False
        self.when_idle: Callable[[], None] | None = None
        self.dropped_calls = 0

    def __iter__(self) -> Iterator[CallRecord]:
        """The calls kept, oldest first."""
        return iter(tuple(self._rows))

    def __len__(self) -> int:
        """How many calls are kept."""
        return len(self._rows)

    @property
    def dropped_events(self) -> int:
        """How many events of the stream are no longer kept."""
        return self._events.start

    def to_rows(self) -> list[dict[str, Any]]:
        """The calls as dictionaries, oldest first: ready for a table."""
        return [row.to_dict() for row in self._rows]

    def __repr__(self) -> str:
        """One line for people."""
        steps = Counter(row.step for row in self._rows)
        shown = ", ".join(f"{n} {step}" for step, n in steps.items()) or "no calls"
        dropped = f", {self.dropped_calls} older dropped" if self.dropped_calls else ""
        return f"<RunRecord: {shown}{dropped}>"

    # -- written by the run --------------------------------------------------

    def write_event(self, event: Event, at: float, internal: bool = False) -> None:
        """Put an event on the stream, for all readers or for those who ask."""
        if self._closed:
            return
        if internal:
            self._marks.append((at, self._events.end, None, "", -1, event))
            if self.when_idle is not None and type(event) is WorkflowIdleEvent:
                self.when_idle()
        else:
            self._events.append(event)
        self._wake()

    def write_queued(self, call: StepCall, at: float) -> None:
        """Note that a call waits for a worker."""
        row = self._new_row(call)
        self._mark(at, row)

    def write_started(self, call: StepCall, at: float) -> None:
        """Note that a call runs."""
        row = self._open.get(call.call_id) or self._new_row(call)
        row.started = at
        row.worker = call.worker
        row.status = "running"
        self._mark(at, row)

    def write_ended(
        self,
        call: StepCall,
        at: float,
        status: str,
        outputs: tuple[type[Event], ...] = (),
        error: BaseException | None = None,
    ) -> None:
        """Note that an attempt is over; a second end of one call is ignored."""
        row = self._open.pop(call.call_id, None)
        if row is None:
            return
        row.ended = at
        row.status = status
        if outputs:
            row.outputs = tuple([kind.__name__ for kind in outputs])
        if error is not None:
            row.error = _shown(error)
        self._mark(at, row)

    def close(self, stop: Event) -> None:
        """End the stream with `stop`; nothing is written to it after that."""
        if not self._closed:
            self._events.append(stop)
            self._closed = True
        self._wake()

    def settle(self, at: float) -> None:
        """Note of every call that was not seen to end that it was cancelled."""
        for row in self._open.values():
            row.status = "cancelled"
            row.ended = at
        self._open.clear()

    def _new_row(self, call: StepCall) -> CallRecord:
        row = self._open[call.call_id] = CallRecord(call)
        rows = self._rows
        if len(rows) == rows.maxlen:
            self.dropped_calls += 1
        rows.append(row)
        return row

    def _mark(self, at: float, row: CallRecord) -> None:
        if self._closed:
            return
        # Written out, and not by calls: this happens twice for each call.
        events, marks = self._events, self._marks
        before = events.start + len(events.items)
        marks.items.append((at, before, row, row.status, row.worker, None))
        if len(marks.items) > marks.keep:
            marks.trim()
        if self._waiting:
            self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            loop = future.get_loop()
            if loop is self._loop:
                _release(future)
            elif not loop.is_closed():
                # A reader on another event loop, in another thread.
                loop.call_soon_threadsafe(_release, future)

    # -- read by anybody -----------------------------------------------------

    async def read(self, *, expose_internal: bool = False) -> AsyncIterator[Event]:
        """The events from the first one on, until the run is over.

        Raises:
            WorkflowRuntimeError: The reader fell so far behind that events it had
                not read are no longer kept.
        """
        self.was_read = True
        next_event, next_mark, burst = 0, 0, 0
        events, marks = self._events, self._marks
        while True:
            mark = marks.at(next_mark) if expose_internal else None
            if mark is not None and mark[1] <= next_event:
                next_mark = max(next_mark, marks.start) + 1
                yield mark[5] or _state_changed(mark)
            elif next_event < events.end:
                if next_event < events.start:
                    raise WorkflowRuntimeError(
                        f"a reader of the stream is {events.start - next_event:,} "
                        "events late; the stream no longer keeps them.",
                        hint="Read the stream while the run goes on, or write fewer "
                        "events to it.",
                    )
                event = events.at(next_event)
                next_event += 1
                assert event is not None
                yield event
            elif self._closed:
                return
            else:
                future: asyncio.Future[None] = (
                    asyncio.get_running_loop().create_future()
                )
                self._waiting.append(future)
                burst = 0
                await future
                continue
            burst += 1
            if burst >= _BURST:
                burst = 0
                await asyncio.sleep(0)


class _Log(Generic[T]):
    """A list that forgets its oldest items, in constant time an item."""

    __slots__ = ("items", "keep", "start")

    def __init__(self, keep: int) -> None:
        self.items: list[T] = []
        self.keep = keep
        self.start = 0

    @property
    def end(self) -> int:
        """Number of items ever appended."""
        return self.start + len(self.items)

    def append(self, item: T) -> None:
        """Add an item; when full, forget the oldest."""
        self.items.append(item)
        if len(self.items) > self.keep:
            self.trim()

    def trim(self) -> None:
        """Drop a quarter of what is kept, the oldest."""
        surplus = len(self.items) - self.keep * 3 // 4
        del self.items[:surplus]
        self.start += surplus

    def at(self, place: int) -> T | None:
        """The item at `place`, or the oldest kept after it; None past the end."""
        index = max(place - self.start, 0)
        return self.items[index] if index < len(self.items) else None


def _release(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _shown(error: BaseException) -> str:
    """Class and text of an exception, in at most 500 letters."""
    name = type(error).__name__
    try:
        return f"{name}: {error}"[:500]
    except Exception:  # its own __str__ is broken
        return name


def _state_changed(mark: _Mark) -> StepStateChanged:
    at, _, row, status, worker, _ = mark
    assert row is not None
    state = {"queued": StepState.PREPARING, "running": StepState.RUNNING}
    ended = status not in state
    return StepStateChanged(
        name=row.step,
        step_state=state.get(status, StepState.NOT_RUNNING),
        worker_id=str(worker) if worker >= 0 else "<enqueued>",
        input_event_name=row.input,
        output_event_name=", ".join(row.outputs) or None if ended else None,
        call_id=row.call_id,
        at=at,
        attempt=row.attempt,
        caused_by=row.caused_by,
        status=status,
        error=row.error if ended else None,
    )
