"""A run as plain data, folded from its public stream of events.

`RunView` counts calls, keeps the bars of the timeline, what steps said and the last
lines of the log, each within a bound. It knows nothing of Jupyter, clocks or tasks:
`panel` feeds it, `timeline` and `markup` turn it into pictures and text. What it
consists of is in `parts`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from stepwell import (
    CallRecord,
    Event,
    InputRequiredEvent,
    Question,
    StepOutput,
    StepProgress,
    StepStateChanged,
    StopEvent,
    UnhandledEvent,
    WorkflowCancelledEvent,
    WorkflowFailedEvent,
    WorkflowIdleEvent,
    WorkflowStalledError,
    WorkflowTimedOutEvent,
)

from .parts import (
    Bar,
    Entry,
    Line,
    Progress,
    StateChange,
    StepView,
    TextStream,
    thinned,
)

LONGEST_LOG = 200
LONGEST_OUTPUT = 500
MOST_BARS = 1500
MOST_TEXTS = 12
MOST_PROGRESS = 50
MOST_CHANGES = 2000
# So many texts of one call, so short on the average, are the pieces of one.
_PIECES = 8
_SHORT = 12
OVER = frozenset({"done", "failed", "cancelled", "timed out", "stalled"})
_ENDED = frozenset({"done", "failed", "cancelled", "retrying"})


@dataclass(slots=True)
class RunView:
    """One run, as far as it has been told. `changes` grows with everything learnt."""

    name: str
    steps: dict[str, StepView] = field(default_factory=dict)
    state: str = "running"
    elapsed: float = 0.0
    error: BaseException | None = None
    result: str = ""
    bars: list[Bar] = field(default_factory=list)
    log: deque[Entry] = field(default_factory=lambda: deque(maxlen=LONGEST_LOG))
    lines_made: int = 0
    output: deque[Line] = field(default_factory=lambda: deque(maxlen=LONGEST_OUTPUT))
    output_made: int = 0
    texts: dict[tuple[int, int, str], TextStream] = field(default_factory=dict)
    pieces_lost: int = 0
    progress: dict[int, Progress] = field(default_factory=dict)
    states: deque[StateChange] = field(
        default_factory=lambda: deque(maxlen=MOST_CHANGES)
    )
    questions: list[Question] = field(default_factory=list)
    amounts: dict[str, float] = field(default_factory=dict)
    stale: bool = False
    changes: int = 0
    _status: dict[int, str] = field(default_factory=dict)
    _pieces: dict[tuple[int, int, str], list[tuple[Entry, str]]] = field(
        default_factory=dict
    )
    _messages: set[tuple[int, int, str]] = field(default_factory=set)
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
        questions: Iterable[Question] = (),
        amounts: dict[str, float] | None = None,
        stale: bool = False,
    ) -> None:
        """Take the run's state and clock from its handler, and what it asks people.

        Once the state is a final one, calls that were still open are closed as
        cancelled: the run no longer waits for them.
        """
        asked = [] if state in OVER else list(questions)
        if state != self.state or self.over or asked != self.questions:
            self.changes += 1
        self.state, self.elapsed, self.error = state, elapsed, error
        self.questions, self.stale = asked, stale
        self.amounts = amounts or {}
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

    def apply(self, event: Event, call_id: int = 0) -> None:
        """Take one event of the stream, internal ones included, of one call or none."""
        self.changes += 1
        if isinstance(event, StepStateChanged):
            self._step_changed(event)
        elif isinstance(event, StepOutput):
            self.say(event.name, event.call_id, event.source, event.text, event.at)
        elif isinstance(event, StepProgress):
            self._progressed(event)
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
            self._note("waiting", self._step_of(call_id), event)
        # By the class, as an event may have a field of the name `get`.
        elif isinstance(delta := Event.get(event, "delta"), str):
            self._written(event, call_id, delta)
        elif not self._is_next_piece(event, call_id):
            self._note("event", self._step_of(call_id), event)
            self._look_for_text(event, call_id)

    def say(self, step: str, call_id: int, source: str, text: str, at: float) -> None:
        """Take what a step printed or logged; a line may come in pieces."""
        ended = source not in ("stdout", "stderr") or text.endswith("\n")
        lines = text.removesuffix("\n").split("\n")
        for number, each in enumerate(lines):
            last = self._open_line(call_id, source) if number == 0 else None
            if last is None:
                last = Line(at, call_id, step, source, "")
                self.output.append(last)
                self.output_made += 1
            last.add(each)
            last.open = not ended and number == len(lines) - 1
        self.changes += 1

    def _open_line(self, call_id: int, source: str) -> Line | None:
        for line in list(self.output)[-20:]:
            if line.open and line.call_id == call_id and line.source == source:
                return line
        return None

    def change_state(self, at: float, call_id: int, values: dict[str, Any]) -> None:
        """Note keys of the run's state that were set; those with `None` are gone."""
        for key, value in values.items():
            shown = "" if value is None else value
            self.states.append(StateChange(at, call_id, key, shown))

    def keep(self, steps: Iterable[str]) -> None:
        """Note the calls of an earlier run that this one goes on from."""
        for name in steps:
            self.steps.setdefault(name, StepView(name)).kept += 1

    def _step_of(self, call_id: int) -> str:
        bar = self._open.get(call_id)
        return bar.step if bar is not None else ""

    def _key_of_text(self, event: Event, call_id: int) -> tuple[int, int, str]:
        bar = self._open.get(call_id)
        # Another attempt begins its text anew.
        return (call_id, bar.attempt if bar else 0, type(event).__name__)

    def _is_next_piece(self, event: Event, call_id: int) -> bool:
        """Take the next piece of what was found to be a text, if it is one."""
        text = _only_text(event)
        if text is None or self._key_of_text(event, call_id) not in self.texts:
            return False
        self._written(event, call_id, text)
        return True

    def _look_for_text(self, event: Event, call_id: int) -> None:
        """Whether a call writes word after word, in a field of any name.

        Tutorials stream what a model says as events with one field. So many of them,
        and so short, are a text and no messages: they become one, and leave the log.
        """
        text, key = _only_text(event), self._key_of_text(event, call_id)
        if text is None or not call_id or key in self._messages:
            return
        pieces = self._pieces.setdefault(key, [])
        pieces.append((self.log[-1], text))
        if len(pieces) < _PIECES:
            return
        del self._pieces[key]
        if sum(len(text) for _, text in pieces) > _PIECES * _SHORT:
            self._messages.add(key)
            return
        lines = {id(line) for line, _ in pieces}
        kept = [line for line in self.log if id(line) not in lines]
        self.lines_made -= len(self.log) - len(kept)
        self.log = deque(kept, maxlen=LONGEST_LOG)
        for _, text in pieces:
            self._written(event, call_id, text)

    def _written(self, event: Event, call_id: int, delta: str) -> None:
        """A piece of a text: they are put together, and not a line of the log each."""
        bar, key = self._open.get(call_id), self._key_of_text(event, call_id)
        stream = self.texts.get(key)
        if stream is None:
            if len(self.texts) >= MOST_TEXTS:
                over = [each for each in self.texts if each[0] not in self._open]
                if not over:
                    self.pieces_lost += 1
                    return
                self.pieces_lost += self.texts.pop(over[0]).pieces
            step = bar.step if bar else ""
            stream = self.texts[key] = TextStream(call_id, step, key[2])
        stream.add(delta)

    def _progressed(self, event: StepProgress) -> None:
        self.progress[event.call_id] = Progress(
            event.name, event.done, event.total, event.text
        )
        if len(self.progress) > MOST_PROGRESS:
            over = [key for key, each in self.progress.items() if each.over]
            del self.progress[over[0] if over else next(iter(self.progress))]

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
            if status == "done":
                step.workers[call.worker] += 1
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
            if status == "done" and event.worker_id.isdigit():
                step.workers[int(event.worker_id)] += 1
            self._say_end(event, step)
        elif status in ("done", "failed", "cancelled"):
            # Its beginning was no longer kept when this reader came.
            setattr(step, status, getattr(step, status) + 1)
            self._say_end(event, step)

    def _begin(self, event: StepStateChanged, step: StepView) -> None:
        bar = Bar(event.name, event.call_id, event.attempt, event.at)
        bar.event = event.input_event_name
        self.bars.append(bar)
        if len(self.bars) > MOST_BARS:
            self.bars = thinned(self.bars, self.elapsed / MOST_BARS)
            if len(self.bars) > 3 * MOST_BARS // 4:
                going_on = [bar for bar in self.bars if bar.end is None]
                ended = [bar for bar in self.bars if bar.end is not None]
                kept = ended[-MOST_BARS // 2 :] + going_on
                self.bars = sorted(kept, key=lambda bar: bar.start)
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
        if call_id in self.progress:
            self.progress[call_id].over = True

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


def _only_text(event: Event) -> str | None:
    """The text of an event that has nothing else."""
    values = list(Event.values(event))
    return values[0] if len(values) == 1 and isinstance(values[0], str) else None
