"""A run as plain data, folded from its public stream of events.

`RunView` counts calls, keeps the bars of the timeline and the last lines of the log,
each within a bound. It knows nothing of Jupyter, clocks or tasks: `panel` feeds it,
`timeline` and `markup` turn it into pictures and text.
"""

from __future__ import annotations

import reprlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from stepwell import (
    CallRecord,
    Event,
    InputRequiredEvent,
    StepStateChanged,
    StopEvent,
    UnhandledEvent,
    WorkflowCancelledEvent,
    WorkflowFailedEvent,
    WorkflowIdleEvent,
    WorkflowStalledError,
    WorkflowTimedOutEvent,
)

LONGEST_LOG = 200
MOST_BARS = 1500
OVER = frozenset({"done", "failed", "cancelled", "timed out", "stalled"})
_ENDED = frozenset({"done", "failed", "cancelled", "retrying"})


@dataclass(slots=True)
class Bar:
    """One attempt at one call of a step, in seconds since the run began."""

    step: str
    call_id: int
    attempt: int
    start: float
    end: float | None = None
    status: str = "running"
    event: str = ""


@dataclass(slots=True)
class StepView:
    """What one step did so far: calls by status, and their time."""

    name: str
    queued: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    retries: int = 0
    lacks: str = ""
    seconds: float = 0.0

    @property
    def calls(self) -> int:
        """Calls that were started, whatever became of them."""
        return self.running + self.done + self.failed + self.cancelled

    @property
    def status(self) -> str:
        """The one word that colours the step."""
        if self.failed:
            return "failed"
        if self.running:
            return "running"
        if self.lacks:
            return "waiting"
        if self.queued:
            return "queued"
        return "done" if self.done else "idle"


@dataclass(slots=True)
class Entry:
    """One line of the log. An event is put into words only when the line is shown."""

    at: float
    kind: str
    step: str
    said: str | Event

    @property
    def text(self) -> str:
        """The line's words, short, in plain text."""
        if isinstance(self.said, Event):
            self.said = event_words(self.said)
        return self.said


class _ShortRepr(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 90
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 4
        self.maxlevel = 3


_words = _ShortRepr()


def short_repr(value: object) -> str:
    """A repr of at most a line, of any object, however large; never raises."""
    try:
        text = _words.repr(value)
    except Exception as problem:
        text = f"<{type(value).__name__}: repr raised {type(problem).__name__}>"
    return (
        " ".join(text.split())
        if len(text) <= 300
        else " ".join(text[:299].split()) + "…"
    )


def event_words(event: Event) -> str:
    """An event on one line: its class and its fields, shortened."""
    fields = ", ".join(
        f"{key}={short_repr(value)}" for key, value in list(event.items())[:8]
    )
    text = f"{type(event).__name__}({fields})"
    return text if len(text) <= 220 else text[:219] + "…"


@dataclass(slots=True)
class RunView:
    """One run, as far as it has been told. `changes` grows with everything learnt."""

    name: str
    steps: dict[str, StepView] = field(default_factory=dict)
    state: str = "running"
    elapsed: float = 0.0
    error: BaseException | None = None
    result: str = ""
    bars: deque[Bar] = field(default_factory=lambda: deque(maxlen=MOST_BARS))
    log: deque[Entry] = field(default_factory=lambda: deque(maxlen=LONGEST_LOG))
    lines_made: int = 0
    changes: int = 0
    _status: dict[int, str] = field(default_factory=dict)
    _open: dict[int, Bar] = field(default_factory=dict)

    @classmethod
    def of_steps(cls, name: str, steps: Iterable[str]) -> RunView:
        """A run that has not begun, of a workflow with these steps."""
        return cls(name, {step: StepView(step) for step in steps})

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return self.state in OVER

    @property
    def steps_done(self) -> int:
        """Steps that have done something and have nothing left to do now."""
        return sum(step.status == "done" for step in self.steps.values())

    @property
    def calls(self) -> int:
        """Calls that were started, over all steps."""
        return sum(step.calls for step in self.steps.values())

    def observe(
        self,
        state: str,
        elapsed: float,
        *,
        error: BaseException | None = None,
        result: str = "",
    ) -> None:
        """Take the run's state and clock from its handler.

        Once the state is a final one, calls that were still open are closed as
        cancelled: the run no longer waits for them.
        """
        if state != self.state or self.over:
            self.changes += 1
        self.state, self.elapsed, self.error = state, elapsed, error
        self.result = result or self.result
        if not self.over:
            return
        if isinstance(error, WorkflowStalledError):
            for join in error.report.joins:
                if join.step in self.steps:
                    have, need = sum(join.have.values()), sum(join.need.values())
                    self.steps[join.step].lacks = f"{have} of {need}"
        for call_id in list(self._status):
            if self._status[call_id] in ("queued", "retrying"):
                self.steps[self._open[call_id].step].queued -= 1
                self._status.pop(call_id)
                self._open.pop(call_id)
            else:
                self._close(call_id, "cancelled", elapsed)

    def apply(self, event: Event) -> None:
        """Take one event of the stream, internal ones included."""
        self.changes += 1
        if isinstance(event, StepStateChanged):
            self._step_changed(event)
        elif isinstance(event, UnhandledEvent):
            self._note("warning", "", f"no step takes {event.event_type}")
        elif isinstance(event, WorkflowIdleEvent):
            self._note("waiting", "", "waits for somebody outside")
        elif isinstance(event, WorkflowFailedEvent):
            name = type(event.exception).__name__
            self._note("failed", event.step_name or "", f"{name}: {event.exception}")
        elif isinstance(event, WorkflowTimedOutEvent):
            self._note("failed", "", "the run ended without a StopEvent")
        elif isinstance(event, WorkflowCancelledEvent):
            self._note("cancelled", "", "the run was cancelled")
        elif isinstance(event, StopEvent):
            self._note("stop", "", event)
        elif isinstance(event, InputRequiredEvent):
            self._note("waiting", "", event)
        else:
            self._note("event", "", event)

    def take_calls(self, calls: Iterable[CallRecord]) -> None:
        """Take the calls that a run recorded, all at once, instead of its stream."""
        for call in calls:
            step = self.steps.setdefault(call.step, StepView(call.step))
            if call.started is None:
                step.queued += call.status == "queued"
                continue
            status = "running" if call.ended is None else call.status
            counted = {"retrying": "retries"}.get(status, status)
            setattr(step, counted, getattr(step, counted) + 1)
            self.bars.append(
                Bar(
                    call.step,
                    call.call_id,
                    call.attempt,
                    call.started,
                    call.ended,
                    status,
                )
            )
        self.changes += 1

    def _step_changed(self, event: StepStateChanged) -> None:
        call_id, status = event.call_id, event.status
        self.elapsed = max(self.elapsed, event.at)
        step = self.steps.get(event.name)
        if step is None:
            step = self.steps[event.name] = StepView(event.name)
        before = self._status.get(call_id)
        if status == "queued" and before is None:
            step.queued += 1
            self._status[call_id] = "queued"
            self._open[call_id] = Bar(event.name, call_id, event.attempt, event.at)
        elif status == "running" and before != "running":
            if before is not None:
                step.queued -= 1
            step.running += 1
            self._status[call_id] = "running"
            self._begin(event, step)
        elif status in _ENDED and before is not None:
            if before in ("queued", "retrying"):
                step.queued -= 1
                step.running += 1
                self._begin(event, step)
            self._close(call_id, status, event.at)
            self._say_end(event, step)
        elif status in ("done", "failed", "cancelled"):
            # Its beginning was no longer kept when this reader came.
            setattr(step, status, getattr(step, status) + 1)
            self._say_end(event, step)

    def _begin(self, event: StepStateChanged, step: StepView) -> None:
        bar = Bar(event.name, event.call_id, event.attempt, event.at)
        bar.event = event.input_event_name
        self.bars.append(bar)
        self._open[event.call_id] = bar

    def _close(self, call_id: int, status: str, at: float) -> None:
        bar = self._open[call_id]
        step = self.steps[bar.step]
        bar.end, bar.status = at, status
        step.running -= 1
        step.seconds += max(at - bar.start, 0.0)
        if status == "retrying":
            step.queued += 1
            step.retries += 1
            self._status[call_id] = "retrying"
            return
        setattr(step, status, getattr(step, status) + 1)
        self._status.pop(call_id)
        self._open.pop(call_id)

    def _say_end(self, event: StepStateChanged, step: StepView) -> None:
        if event.status == "done":
            words = f"{event.input_event_name} → {event.output_event_name or 'nothing'}"
        elif event.status == "retrying":
            words = f"attempt {event.attempt} failed, tries again: {event.error or ''}"
        elif event.status == "failed":
            words = f"on {event.input_event_name}: {event.error or 'failed'}"
        else:
            words = "cancelled"
        self._note(event.status, step.name, words, event.at)

    def _note(
        self, kind: str, step: str, said: str | Event, at: float | None = None
    ) -> None:
        self.log.append(Entry(self.elapsed if at is None else at, kind, step, said))
        self.lines_made += 1
