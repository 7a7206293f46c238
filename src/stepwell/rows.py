"""What is kept of a call: a row of plain values, and `CallRecord`, its face for people.

Which rows there are, and the stream of a run's events, is in `record`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepwell.calls import StepCall
from stepwell.events import Event, StepState, StepStateChanged

__all__ = ["CallRecord", "Mark", "Row", "changes_of", "row_of", "told_by"]

# What is kept of a call that has ended: the fields of `CallRecord` in their order; when
# it was queued; the numbers of its being queued, begun and ended. A tuple of numbers
# and strings is nothing that garbage collection has to go through again and again.
Row = tuple[
    int,
    str,
    int,
    int,
    str,
    float | None,
    float | None,
    str,
    tuple[str, ...],
    int | None,
    str | None,
    float | None,
    int,
    int,
    int,
]
# A change of a call, or an event for those who ask for internal ones: its number, what
# is told of the call or the event, and what the call had become.
Mark = tuple[int, Row | Event, str]


def row_of(
    call: StepCall,
    status: str | None = None,
    ended: float | None = None,
    outputs: tuple[str, ...] = (),
    error: str | None = None,
    number: int = 0,
) -> Row:
    """What is told of a call: at its end, or as it stands now."""
    spec = call.spec
    return (
        call.call_id,
        spec.name,
        call.worker,
        call.attempt,
        call.event_name if spec.joins else type(call.event).__name__,
        call.started,
        ended,
        status or call.status,
        outputs,
        call.caused_by,
        error,
        call.offered,
        call.queued_as,
        call.begun_as,
        number,
    )


def changes_of(row: Row | Event) -> list[Mark]:
    """How a call came to be what it is: that it was queued, and begun."""
    if isinstance(row, Event):
        return []
    told = zip(row[12:14], ("queued", "running"), strict=True)
    return [(number, row, status) for number, status in told if number]


def told_by(number: int, what: Row | Event, status: str) -> Event:
    """What those get to read of a mark who ask for internal events."""
    if isinstance(what, Event):
        return what
    row = what
    worker = row[2] if status != "queued" else -1
    before_end = {"queued": (StepState.PREPARING, row[11])}
    before_end["running"] = (StepState.RUNNING, row[5])
    state, at = before_end.get(status, (StepState.NOT_RUNNING, row[6]))
    ended = status not in before_end
    return StepStateChanged(
        name=row[1],
        step_state=state,
        worker_id=str(worker) if worker >= 0 else "<enqueued>",
        input_event_name=row[4],
        output_event_name=", ".join(row[8]) or None if ended else None,
        call_id=row[0],
        at=at,
        attempt=row[3],
        caused_by=row[9],
        status=status,
        error=row[10] if ended else None,
    )


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
        counts: What the attempt has counted by `ctx.count`: amounts by name.
    """

    __slots__ = (
        "attempt",
        "call_id",
        "caused_by",
        "counts",
        "ended",
        "error",
        "input",
        "outputs",
        "started",
        "status",
        "step",
        "worker",
    )

    def __init__(
        self,
        told: StepCall | Row,
        counts: Mapping[str, float] | tuple[()] = (),
    ) -> None:
        if isinstance(told, StepCall):
            told = row_of(told)
        self.counts = dict(counts)
        (
            self.call_id,
            self.step,
            self.worker,
            self.attempt,
            self.input,
            self.started,
            self.ended,
            self.status,
            self.outputs,
            self.caused_by,
            self.error,
        ) = told[:11]

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
