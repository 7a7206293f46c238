"""The run record: what happened in a run, when, and what caused it.

Written as things happen, calls by the machine and events by the run; read by
anybody: as rows of calls, and as the stream of events, which every reader follows
with a cursor of its own. Bounded, and always on. Facts for recovery are kept
elsewhere, by `journals`.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from stepwell.calls import StepCall
from stepwell.errors import WorkflowRuntimeError
from stepwell.events import (
    Event,
    StepProgress,
    WorkflowIdleEvent,
)
from stepwell.rows import CallRecord, Mark, Row, changes_of, row_of, told_by
from stepwell.sleepers import Sleepers
from stepwell.tables import json_of, table_of

__all__ = [
    "CALLS_KEPT",
    "EVENTS_KEPT",
    "Live",
    "RunRecord",
]

CALLS_KEPT = 3_000
EVENTS_KEPT = 100_000
# So many calls are put away together, and dropped together.
_SHEET = 256
# Readers in several threads may come and go at once.
_counting = threading.Lock()
# Readers of a full stream give the loop back to everybody else this often.
_BURST = 256


class Live(Protocol):
    """What knows which calls of a run have not ended: its machine."""

    def live_calls(self) -> list[StepCall]:
        """The calls."""
        ...


# Stands for an empty list of these; nobody writes into it.
_UNHEARD: list[Mark] = []
# Stands for an empty dictionary of what few runs have; likewise.
_NOTHING: dict[Any, Any] = {}


class RunRecord:
    """The story of one run; iterating gives its calls, oldest first.

    Kept are the last `calls_kept` calls that ended (3,000; under 2 MiB), those that
    have not, and the last `events_kept` events of the stream (100,000; about 0.5 KB
    each for small events). `dropped_calls` and `dropped_events` count what was let go.

    What calls do is written as it is decided, and so with a journal a moment before
    it is carried out; events, as they are shown.
    """

    __slots__ = (
        "__weakref__",
        "_amounts",
        "_closed",
        "_counts",
        "_dropped",
        "_events",
        "_events_kept",
        "_events_start",
        "_internal",
        "_kept",
        "_progress",
        "_sheets",
        "audience",
        "listeners",
        "live",
        "marks",
        "marks_start",
        "number",
        "open",
        "readers",
        "rows",
        "was_read",
        "when_idle",
    )

    def __init__(
        self, *, calls_kept: int = CALLS_KEPT, events_kept: int = EVENTS_KEPT
    ) -> None:
        # Lists, cut from time to time: a deque alone is larger than a short run.
        # The last calls that ended; those before them are on sheets, which are nothing
        # that garbage collection has to go through either.
        self.rows: list[Row] = []
        self._sheets: tuple[tuple[Row, ...], ...] = ()
        # Knows the calls that have not ended, while the run goes on; and those of them
        # that were there when it ended.
        self.live: Live | None = None
        self.open: Sequence[StepCall] = ()
        # Counts all that is told: calls being queued, begun and ended, internal events.
        self.number = 0
        self._kept = calls_kept
        self._dropped = 0
        # Threes: an event, the number of what had been told last by then, and the call
        # that wrote it, 0 for none.
        self._events: list[Any] = []
        self._events_start = 0
        self._events_kept = events_kept
        self._internal: list[tuple[int, Event]] | tuple[()] = ()
        # The last word of each call on how far it is; and what calls have counted, by
        # call and attempt.
        self._progress: dict[int, tuple[int, Event]] = _NOTHING
        self._counts: dict[tuple[int, int], dict[str, float]] = _NOTHING
        self._amounts: dict[str, float] = _NOTHING
        # What is told while somebody listens to all of it; the story so far is worked
        # out for those who come later.
        self.listeners = 0
        self.marks: list[Mark] = _UNHEARD
        self.marks_start = 0
        # Those who wait for something to read.
        self.readers = Sleepers()
        self._closed = False
        # How many read the stream now, besides those who only follow it; whether any
        # ever did; and whom to tell that the run waits.
        self.audience = 0
        self.was_read = False
        self.when_idle: Callable[[], None] | None = None

    def __iter__(self) -> Iterator[CallRecord]:
        """The calls kept, oldest first."""
        counts = self._counts
        rows = self._told()
        return iter([CallRecord(r, counts.get((r[0], r[3]), ())) for r in rows])

    def __len__(self) -> int:
        """How many calls are kept."""
        return len(self._ended()) + len(self._going_on())

    def _ended(self) -> list[Row]:
        last = self.rows
        rows = [row for sheet in self._sheets for row in sheet]
        return list(dict.fromkeys([*rows, *last]))[-self._kept :]

    def _going_on(self) -> list[StepCall]:
        return list(self.open) if self.live is None else self.live.live_calls()

    def _told(self) -> list[Row]:
        rows = self._ended() + [row_of(call) for call in self._going_on()]
        # By call and attempt, whichever ended first.
        return sorted(rows, key=lambda row: (row[0], row[3]))

    @property
    def dropped_calls(self) -> int:
        """How many calls are no longer kept."""
        there = len(self._sheets) * _SHEET + len(self.rows)
        return self._dropped + max(0, there - self._kept)

    @property
    def dropped_events(self) -> int:
        """How many events of the stream are no longer kept."""
        return self._events_start

    @property
    def amounts(self) -> dict[str, float]:
        """What the steps of the run have counted, by `ctx.count`, over all of them."""
        return dict(self._amounts)

    def to_rows(self) -> list[dict[str, Any]]:
        """The calls as dictionaries, oldest first: ready for a table."""
        return [call.to_dict() for call in self]

    def to_json(self, *, indent: int | None = None) -> str:
        """The calls as JSON text, for files and other programs.

        `{"version": 1, "calls": […], "dropped_calls": 0, "dropped_events": 0}`, where
        a call has the attributes of `CallRecord` and its `duration`, in seconds. What
        JSON has no number for, NaN and the infinities, is null.

        Args:
            indent: Spaces by which a level is moved in; None for one line.
        """
        rows = [{**call.to_dict(), "duration": call.duration} for call in self]
        names = ("dropped_calls", "dropped_events")
        return json_of(rows, {n: getattr(self, n) for n in names}, indent=indent)

    def to_pandas(self) -> Any:
        """The calls as a `pandas.DataFrame`: an attempt a row, by `call_id`.

        Times are floats, in seconds since the run began; `worker` and `caused_by` are
        whole numbers or missing; `outputs` is text, class names joined by commas. What
        steps counted by `ctx.count` follows: a column of floats for each amount.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return table_of(self.to_rows())

    def __repr__(self) -> str:
        """One line for people."""
        steps = Counter(row[1] for row in self._told())
        shown = ", ".join(f"{n} {step}" for step, n in steps.items()) or "no calls"
        dropped = f", {self.dropped_calls} older dropped" if self.dropped_calls else ""
        return f"<RunRecord: {shown}{dropped}>"

    # -- written by the run --------------------------------------------------

    def write_event(self, event: Event, call_id: int = 0) -> None:
        """Put an event on the stream, for the call that wrote it."""
        if self._closed:
            return
        events = self._events
        events += (event, self.number, call_id)  # at once, for other threads' readers
        if len(events) > 3 * self._events_kept:
            surplus = len(events) // 3 - self._events_kept * 3 // 4
            del events[: 3 * surplus]
            self._events_start += surplus
        if self.readers.any:
            self.readers.wake()

    def write_internal(self, event: Event) -> None:
        """Put an event on the stream for those who ask for internal ones."""
        if self._closed:
            return
        number = self.number = self.number + 1
        if isinstance(event, StepProgress):
            # Only how far a call is now: loops tell it for each of their items.
            told = self._progress = self._progress or {}
            told[event.call_id] = (number, event)
            if len(told) > self._kept:
                del told[next(iter(told))]
        else:
            # Copied only now and then: a step may log a line for each of its items.
            if not self._internal or len(self._internal) >= 2 * self._kept:
                self._internal = [*self._internal[-self._kept :]]
            self._internal.append((number, event))
        if self.listeners:
            self.mark(number, event, "")
        if self.when_idle is not None and type(event) is WorkflowIdleEvent:
            self.when_idle()
        self.readers.wake()

    def count(self, call: StepCall, amounts: Mapping[str, float]) -> None:
        """Add to what an attempt at a call has counted."""
        if self._counts is _NOTHING:
            self._counts = {}
        there = self._counts.setdefault((call.call_id, call.attempt), {})
        whole = self._amounts = self._amounts or {}
        for name, amount in amounts.items():
            there[name] = there.get(name, 0) + amount
            whole[name] = whole.get(name, 0) + amount
        if len(self._counts) > self._kept:
            del self._counts[next(iter(self._counts))]

    def write_queued(self, call: StepCall, at: float) -> None:
        """Note that a call waits for a worker."""
        call.offered, call.status = at, "queued"
        number = call.queued_as = self.number = self.number + 1
        if self.listeners:
            self.mark(number, call, "queued")

    def write_done(
        self, call: StepCall, at: float, outputs: tuple[str, ...] = ()
    ) -> None:
        """As `write_ended` of a call that did what it should: quick, for most do."""
        number = self.number = self.number + 1
        spec, rows = call.spec, self.rows
        # As in `row_of`, written out.
        row: Row = (
            call.call_id,
            spec.name,
            call.worker,
            call.attempt,
            call.event_name if spec.joins else type(call.event).__name__,
            call.started,
            at,
            "done",
            outputs,
            call.caused_by,
            None,
            call.offered,
            call.queued_as,
            call.begun_as,
            number,
        )
        rows.append(row)
        call.status = "over"
        if len(rows) == _SHEET:
            self._put_away()
        if self.listeners:
            self.mark(number, row, "done")

    def write_ended(
        self,
        call: StepCall,
        at: float,
        status: str,
        outputs: tuple[str, ...] = (),
        error: BaseException | None = None,
    ) -> None:
        """Note that an attempt is over; a second end of one call is ignored."""
        if call.status == "over":
            return
        shown = None if error is None else _shown(error)
        number = self.number = self.number + 1
        rows = self.rows
        if call.status != "new":
            row = row_of(call, status, at, outputs, shown, number)
            rows.append(row)
            if len(rows) == _SHEET:
                self._put_away()
            if self.listeners:
                self.mark(number, row, status)
        call.status = "over"

    def _put_away(self) -> None:
        """Begin a new sheet; drop the oldest one that is not needed."""
        # In this order: a reader in another thread finds rows twice rather than never.
        self._sheets = (*self._sheets, tuple(self.rows))
        self.rows = []
        if (len(self._sheets) - 1) * _SHEET >= self._kept:
            self._sheets = self._sheets[1:]
            self._dropped += _SHEET

    def mark(self, number: int, what: StepCall | Row | Event, status: str) -> None:
        """Tell those who listen to all that happens."""
        if self._closed:
            return
        if self.marks is _UNHEARD:
            self.marks = []
        if isinstance(what, StepCall):
            what = row_of(what)  # which holds no event
        self.marks.append((number, what, status))
        surplus = len(self.marks) - 4 * self._kept
        if surplus > 0:
            del self.marks[: surplus + _SHEET]
            self.marks_start += surplus + _SHEET

    def part(self) -> None:
        """Note that the run has ended, and with it all that is to come."""
        self.open = self._going_on()
        self.live = None

    def close(self, stop: Event) -> None:
        """End the stream with `stop`; nothing is written to it after that."""
        if not self._closed:
            self.write_event(stop)
            self._closed = True
        if self.readers.any:
            self.readers.wake()

    def settle(self, at: float) -> None:
        """Note of every call that was not seen to end that it was cancelled."""
        for call in self.open:
            self.write_ended(call, at, "cancelled")
        self.open = ()

    # -- read by anybody -----------------------------------------------------

    def read(self, *, expose_internal: bool = False) -> AsyncIterator[Event]:
        """The events from the first one on, until the run is over.

        Raises:
            WorkflowRuntimeError: The reader fell so far behind that events it had
                not read are no longer kept.
        """
        return self._read(expose_internal, False)

    def follow(self) -> AsyncIterator[tuple[Event, int]]:
        """All events, internal ones too, each with the number of the call it is of.

        The number is 0 where an event is of no call. A reader that is later than what
        is kept goes on with the oldest that is.
        """
        return self._read(True, True)

    async def _read(self, expose_internal: bool, numbered: bool) -> AsyncIterator[Any]:
        self.was_read = True
        if not numbered:
            self.audience += 1
        marks: Iterator[Mark | None] | None = None
        if expose_internal:
            self.listen()
            marks = self._follow(self.marks_start + len(self.marks))
        try:
            next_event, burst, mark = 0, 0, None
            while True:
                place = next_event - self._events_start
                if place < 0 and numbered:
                    next_event, place = self._events_start, 0
                if place < 0:
                    raise WorkflowRuntimeError(
                        f"a reader of the stream is {-place:,} events late; the "
                        "stream no longer keeps them.",
                        hint="Read the stream while the run goes on, or write fewer "
                        "events to it.",
                    )
                is_next = 3 * place < len(self._events)
                if marks is not None and mark is None:
                    mark = next(marks)
                if mark and not (is_next and self._events[3 * place + 1] < mark[0]):
                    now, mark = mark, None
                    told = told_by(*now)
                    yield (told, getattr(told, "call_id", 0)) if numbered else told
                elif is_next:
                    next_event += 1
                    event = self._events[3 * place]
                    yield (event, self._events[3 * place + 2]) if numbered else event
                elif self._closed:
                    return
                else:
                    burst, bed = 0, self.readers.bed()
                    if marks is not None:
                        mark = next(marks)
                    if not (mark or self._closed or 3 * place < len(self._events)):
                        await bed
                    continue
                burst += 1
                if burst >= _BURST:
                    burst = 0
                    await asyncio.sleep(0)
        finally:
            if not numbered:
                self.audience -= 1
            if expose_internal:
                self.leave()

    def listen(self) -> None:
        """Have all that happens kept from now on, for somebody who reads it."""
        with _counting:
            self.listeners += 1

    def leave(self) -> None:
        """Listen no longer; what nobody listens to is not kept."""
        with _counting:
            self.listeners -= 1
            if not self.listeners:
                self.marks_start += len(self.marks)
                self.marks = _UNHEARD

    def _story_so_far(self) -> list[Mark]:
        """All that was told of calls, and internal events, as far as they are kept."""
        # Those that are going on first: one that ends meanwhile, in another thread, is
        # among the ended ones too then.
        rows = [row_of(call) for call in self._going_on()] + self._ended()
        internal = [*self._internal][-self._kept :]
        others = [*internal, *list(self._progress.values())]
        told: dict[int, Mark] = {n: (n, event, "") for n, event in others}
        for row in rows:
            told.update((mark[0], mark) for mark in changes_of(row))
            if row[14]:
                told[row[14]] = (row[14], row, row[7])
        story = list(told.values())
        if self._closed:
            # What ended after the stream had is no part of it.
            last = self._events[-2]
            story = [mark for mark in story if mark[0] <= last]
        story.sort(key=lambda mark: mark[0])
        return story

    def _follow(self, place: int) -> Iterator[Mark | None]:
        """The story so far, then what is told from a place on; None in between."""
        joined = self.number
        story = self._story_so_far()
        yield from story
        # The story is put together while another thread may go on telling: what is in
        # it may be told as well, and of a call that was just ending, the beginning not.
        known = {number for number, _, _ in story}
        while True:
            index = max(0, place - self.marks_start)
            if index == len(self.marks):
                yield None
                continue
            place = self.marks_start + index + 1
            mark = self.marks[index]
            if mark[0] not in known:
                for earlier in changes_of(mark[1]):
                    if earlier[0] <= joined and earlier[0] not in known:
                        known.add(earlier[0])
                        yield earlier
                yield mark


def _shown(error: BaseException) -> str:
    """Class and text of an exception, in at most 500 letters."""
    name = type(error).__name__
    try:
        return f"{name}: {error}"[:500]
    except Exception:  # its own __str__ is broken
        return name
