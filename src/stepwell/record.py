"""The run record: what happened in a run, when, and what caused it.

Written as things happen, calls by the machine and events by the run; read by
anybody: as rows of calls, and as the stream of events, which every reader follows
with a cursor of its own. Bounded, and always on. Facts for recovery are kept
elsewhere, by `journals`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

from stepwell.calls import StepCall
from stepwell.errors import WorkflowRuntimeError
from stepwell.events import Event, StepState, StepStateChanged, WorkflowIdleEvent
from stepwell.sleepers import Sleepers

__all__ = ["CALLS_KEPT", "EVENTS_KEPT", "CallRecord", "RunRecord"]

CALLS_KEPT = 3_000
EVENTS_KEPT = 100_000
# Readers of a full stream give the loop back to everybody else this often.
_BURST = 256


class CallRecord:
    """One attempt at one call of a step, as it stands when it is looked at.

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
        self.input = call.event_name
        self.started = call.started
        self.ended = call.ended
        self.status = call.status
        self.outputs = tuple([kind.__name__ for kind in call.outputs])
        self.caused_by = call.caused_by
        self.error = call.error

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


class RunRecord:
    """The story of one run; iterating gives its calls, oldest first.

    Kept are the last `calls_kept` calls (3,000; under 2 MiB) and the last
    `events_kept` events of the stream (100,000; about 0.5 KB each for small
    events). `dropped_calls` and `dropped_events` count what was let go.

    What calls do is written as it is decided, and so with a journal a moment before
    it is carried out; events, as they are shown.
    """

    __slots__ = (
        "_before",
        "_closed",
        "_dropped",
        "_events",
        "_events_kept",
        "_events_start",
        "_kept",
        "calls",
        "marks",
        "marks_start",
        "readers",
        "was_read",
        "when_idle",
    )

    def __init__(
        self, *, calls_kept: int = CALLS_KEPT, events_kept: int = EVENTS_KEPT
    ) -> None:
        # Lists, cut from time to time: a deque alone is larger than a short run. The
        # machine writes into the first two, for every call. A mark is a change of a
        # call: in one place the call, in the next its status then; or an event for
        # those who ask for internal ones, and nothing. Two places, and no pair, since
        # three objects less for each call are felt in garbage collection.
        self.calls: list[StepCall] = []
        self.marks: list[StepCall | Event | str] = []
        self.marks_start = 0
        self._kept = calls_kept
        self._dropped = 0
        self._events: list[Event] = []
        # The place in the marks at which each of these events was written.
        self._before: list[int] = []
        self._events_start = 0
        self._events_kept = events_kept
        # Those who wait for something to read.
        self.readers = Sleepers()
        self._closed = False
        # Whether anybody reads or ever read the stream, and whom to tell that the run
        # waits.
        self.was_read = False
        self.when_idle: Callable[[], None] | None = None

    def __iter__(self) -> Iterator[CallRecord]:
        """The calls kept, oldest first."""
        return iter([CallRecord(call) for call in self.calls[-self._kept :]])

    def __len__(self) -> int:
        """How many calls are kept."""
        return min(len(self.calls), self._kept)

    @property
    def dropped_calls(self) -> int:
        """How many calls are no longer kept."""
        return self._dropped + len(self.calls) - len(self)

    @property
    def dropped_events(self) -> int:
        """How many events of the stream are no longer kept."""
        return self._events_start

    def to_rows(self) -> list[dict[str, Any]]:
        """The calls as dictionaries, oldest first: ready for a table."""
        return [row.to_dict() for row in self]

    def __repr__(self) -> str:
        """One line for people."""
        steps = Counter(call.spec.name for call in self.calls[-self._kept :])
        shown = ", ".join(f"{n} {step}" for step, n in steps.items()) or "no calls"
        dropped = f", {self.dropped_calls} older dropped" if self.dropped_calls else ""
        return f"<RunRecord: {shown}{dropped}>"

    # -- written by the run --------------------------------------------------

    # What happens to every call the machine writes by itself, into `calls` and
    # `marks`, and calls `trim` every now and then; these are for what is more seldom.

    def write_event(self, event: Event) -> None:
        """Put an event on the stream."""
        if self._closed:
            return
        events = self._events
        events.append(event)
        self._before.append(self.marks_start + len(self.marks))
        if len(events) > self._events_kept:
            surplus = len(events) - self._events_kept * 3 // 4
            del events[:surplus], self._before[:surplus]
            self._events_start += surplus
        if self.readers.any:
            self.readers.wake()

    def write_internal(self, event: Event) -> None:
        """Put an event on the stream for those who ask for internal ones."""
        if self._closed:
            return
        self.marks += (event, "")
        self.trim()
        if self.when_idle is not None and type(event) is WorkflowIdleEvent:
            self.when_idle()
        self.readers.wake()

    def add(self, call: StepCall) -> None:
        """Keep a call from now on."""
        self.calls.append(call)
        self.trim()

    def write_queued(self, call: StepCall, at: float) -> None:
        """Note that a call waits for a worker."""
        call.offered = at
        call.status = "queued"
        self.marks += (call, "queued")

    def write_ended(
        self,
        call: StepCall,
        at: float,
        status: str,
        outputs: tuple[type[Event], ...] = (),
        error: BaseException | None = None,
    ) -> None:
        """Note that an attempt is over; a second end of one call is ignored."""
        if call.ended is not None or call.status == "new":
            return
        call.ended = at
        call.status = status
        call.outputs = outputs
        if error is not None:
            call.error = _shown(error)
        if not self._closed:
            self.marks += (call, status)

    def trim(self) -> None:
        """Forget what is not to be kept; to be called every now and then."""
        surplus = len(self.calls) - self._kept
        if surplus > 0:
            del self.calls[:surplus]
            self._dropped += surplus
        # Two changes of each call are enough to know it by; three where it waited.
        surplus = len(self.marks) - 4 * self._kept
        if surplus > 0:
            surplus += surplus % 2
            del self.marks[:surplus]
            self.marks_start += surplus

    def close(self, stop: Event) -> None:
        """End the stream with `stop`; nothing is written to it after that."""
        if not self._closed:
            self.write_event(stop)
            self._closed = True
        self.readers.wake()

    def settle(self, at: float) -> None:
        """Note of every call that was not seen to end that it was cancelled."""
        for call in self.calls:
            if call.ended is None:
                call.status = "cancelled"
                call.ended = at
                call.let_go()

    # -- read by anybody -----------------------------------------------------

    async def read(self, *, expose_internal: bool = False) -> AsyncIterator[Event]:
        """The events from the first one on, until the run is over.

        Raises:
            WorkflowRuntimeError: The reader fell so far behind that events it had
                not read are no longer kept.
        """
        self.was_read = True
        next_event, next_mark, burst = 0, 0, 0
        events, before, marks = self._events, self._before, self.marks
        while True:
            place = next_event - self._events_start
            if place < 0:
                raise WorkflowRuntimeError(
                    f"a reader of the stream is {-place:,} events late; the stream no "
                    "longer keeps them.",
                    hint="Read the stream while the run goes on, or write fewer "
                    "events to it.",
                )
            is_next = place < len(events)
            if expose_internal:
                index = max(next_mark - self.marks_start, 0)
                next_mark = self.marks_start + index
                if is_next and before[place] <= next_mark:
                    index = len(marks)
            if expose_internal and index < len(marks):
                next_mark += 2
                yield _internal(marks[index], marks[index + 1])
            elif is_next:
                next_event += 1
                yield events[place]
            elif self._closed:
                return
            else:
                burst = 0
                await self.readers.sleep(partial(self._has_more, next_event))
                continue
            burst += 1
            if burst >= _BURST:
                burst = 0
                await asyncio.sleep(0)

    def _has_more(self, read: int) -> bool:
        return self._closed or self._events_start + len(self._events) > read


def _shown(error: BaseException) -> str:
    """Class and text of an exception, in at most 500 letters."""
    name = type(error).__name__
    try:
        return f"{name}: {error}"[:500]
    except Exception:  # its own __str__ is broken
        return name


def _internal(what: StepCall | Event | str, status: StepCall | Event | str) -> Event:
    """What those get to read of a mark who ask for internal events."""
    if not isinstance(what, StepCall):
        assert isinstance(what, Event)
        return what
    state = {"queued": StepState.PREPARING, "running": StepState.RUNNING}
    ended = status not in state
    at = {"queued": "offered", "running": "started"}.get(str(status), "ended")
    worker = what.worker if status != "queued" else -1
    outputs = [kind.__name__ for kind in what.outputs]
    return StepStateChanged(
        name=what.spec.name,
        step_state=state.get(str(status), StepState.NOT_RUNNING),
        worker_id=str(worker) if worker >= 0 else "<enqueued>",
        input_event_name=what.event_name,
        output_event_name=", ".join(outputs) or None if ended else None,
        call_id=what.call_id,
        at=getattr(what, at),
        attempt=what.attempt,
        caused_by=what.caused_by,
        status=str(status),
        error=what.error if ended else None,
    )
