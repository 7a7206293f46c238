"""What the view of a run consists of: bars, steps, lines, streams of text.

Plain data, each kind within a bound of its own. How the stream of a run is folded
into it is in `view`.
"""

from __future__ import annotations

import re
import reprlib
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from weakref import WeakSet

from stepwell import Event

# Of one stream of text, and of one line that a step said, so many letters are kept.
LONGEST_TEXT = 12_000
LONGEST_LINE = 2_000
# A repr that takes more seconds is not asked for again.
SLOW_REPR = 0.05
# Colours and cursor movements of terminals.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")


@dataclass(slots=True)
class Bar:
    """One attempt at one call of a step, in seconds since the run began.

    Of a long run, several that look like one: `calls` says how many.
    """

    step: str
    call_id: int
    attempt: int
    start: float
    end: float | None = None
    status: str = "running"
    event: str = ""
    calls: int = 1


def thinned(bars: Iterable[Bar], shortest: float) -> list[Bar]:
    """Fewer bars that look the same: short ones that follow each other become one.

    Args:
        bars: In the order in which they began.
        shortest: Seconds that can still be told apart.
    """
    kept: list[Bar] = []
    # The last bar of each lane: what overlaps stays apart.
    lanes: dict[str, list[Bar]] = {}
    for bar in bars:
        lane = lanes.setdefault(bar.step, [])
        place = next((i for i, b in enumerate(lane) if _is_before(b, bar)), len(lane))
        last = lane[place] if place < len(lane) else None
        if (
            last is not None
            and last.end is not None
            and bar.end is not None
            and last.status == bar.status != "retrying"
            and bar.start - last.end <= shortest
            and bar.end - bar.start <= shortest
        ):
            last.end, last.calls = bar.end, last.calls + bar.calls
            continue
        kept.append(bar)
        lane[place : place + 1] = [bar]
    return kept


def _is_before(earlier: Bar, bar: Bar) -> bool:
    return earlier.end is not None and earlier.end <= bar.start + 0.0005


@dataclass(slots=True)
class StepView:
    """What one step did so far: calls by status, and their time.

    `kept` counts calls of an earlier run that this one goes on from; `workers`, the
    calls that each worker has ended.
    """

    name: str
    queued: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    retries: int = 0
    kept: int = 0
    lacks: str = ""
    seconds: float = 0.0
    workers: Counter[int] = field(default_factory=Counter)

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
        if self.done or self.kept:
            return "done"
        return "cancelled" if self.cancelled else "idle"


@dataclass(slots=True)
class StateChange:
    """A key of the run's state that got another value, shown as a short repr.

    `value` is empty where the key is gone; `call_id` is the call that changed it.
    """

    at: float
    call_id: int
    key: str
    value: str


@dataclass(slots=True)
class Line:
    """A line that a step printed, logged, or said through `ctx.log`.

    `open` is one that has no end yet; `returned`, one whose next piece replaces it.
    """

    at: float
    call_id: int
    step: str
    source: str
    text: str
    open: bool = False
    returned: bool = False

    def add(self, piece: str) -> None:
        """Take more of the line; after a carriage return it begins anew."""
        before = "" if self.returned and piece else self.text
        self.text = plain_line(before + piece)
        self.returned = piece.endswith("\r")


@dataclass(slots=True)
class TextStream:
    """A text that comes piece by piece, as a language model writes it.

    `pieces` counts what has come; of a long text the end is kept.
    """

    call_id: int
    step: str
    kind: str
    text: str = ""
    pieces: int = 0

    def add(self, delta: str) -> None:
        """Take one more piece."""
        self.text += delta
        self.pieces += 1
        # Not at each piece, which would copy it all for each.
        if len(self.text) > 2 * LONGEST_TEXT:
            self.text = self.text[-LONGEST_TEXT:]


@dataclass(slots=True)
class Progress:
    """How far one call of a step has come."""

    step: str
    done: float
    total: float | None
    text: str
    over: bool = False

    @property
    def share(self) -> float | None:
        """From 0 to 1; None where nobody knows the whole."""
        if not self.total or self.total != self.total:
            return None
        return min(max(self.done / self.total, 0.0), 1.0)


def plain_line(text: str) -> str:
    """A printed line as it would stand in a terminal in the end, without colours."""
    # What a carriage return was written over is gone.
    text = _ESCAPES.sub("", text).rstrip("\r").rsplit("\r", 1)[-1]
    return text if len(text) <= LONGEST_LINE else text[: LONGEST_LINE - 1] + "…"


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
        self.maxfrozenset = self.maxset
        # Classes whose repr takes long: it is made for each change of a state.
        self._slow: WeakSet[type] = WeakSet()

    # The inherited ones sort all there is, to show the first few.

    def repr_set(self, x: set[Any], level: int) -> str:
        return self._few("{", x, "}", level) if x else "set()"

    def repr_frozenset(self, x: frozenset[Any], level: int) -> str:
        return self._few("frozenset({", x, "})", level) if x else "frozenset()"

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        few = {k: x[k] for k in islice(x, self.maxdict + 1)}
        return super().repr_dict(few, level)

    def repr_instance(self, x: Any, level: int) -> str:
        kind = type(x)
        if kind in self._slow:
            return f"<{kind.__name__}>"
        begun = time.monotonic()
        text = super().repr_instance(x, level)
        if time.monotonic() - begun > SLOW_REPR:
            self._slow.add(kind)
        return text

    def _few(self, left: str, x: Iterable[Any], right: str, level: int) -> str:
        if level <= 0:
            return f"{left}...{right}"
        few = [self.repr1(each, level - 1) for each in islice(x, self.maxset + 1)]
        shown = few if len(few) <= self.maxset else [*few[: self.maxset], "..."]
        return f"{left}{', '.join(shown)}{right}"


_words = _ShortRepr()


def short_repr(value: object) -> str:
    """A repr of at most a line, of any object, however large; never raises.

    Of classes whose repr has taken long once, only the name is shown from then on.
    """
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
        f"{key}={short_repr(value)}" for key, value in list(Event.items(event))[:8]
    )
    text = f"{type(event).__name__}({fields})"
    return text if len(text) <= 220 else text[:219] + "…"
