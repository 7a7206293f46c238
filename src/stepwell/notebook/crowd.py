"""Many runs of one cell: a table with a line for each, instead of a panel for each.

Plain HTML, sent again a few times a second while anything changes. When runs come
here, and when they have panels of their own, is decided in `presenter`.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from dataclasses import dataclass

from stepwell import WorkflowHandler

from . import kernel
from .colours import badge_style, dot_html, mark_of
from .escaping import escaped
from .parts import short_repr
from .story import CODE, PALE, TEXT
from .timeline import seconds

__all__ = ["Crowd"]

_MOST_ROWS = 200
# Seconds between two pictures: a table of many rows is larger than a panel's changes.
_PERIOD = 0.25
_ORDER = ("failed", "stalled", "timed out", "waiting", "running", "queued")
_numbers = itertools.count(1)


@dataclass(slots=True)
class _Row:
    """What is shown of one run; kept when its handler is not."""

    number: int
    name: str
    handler: WorkflowHandler | None
    state: str = "running"
    elapsed: float = 0.0
    calls: str = ""
    outcome: str = ""

    def look(self) -> bool:
        """Bring it up to date; says whether anything but its clock has changed."""
        handler = self.handler
        if handler is None:
            return False
        before = (self.state, self.calls, self.outcome)
        self.state, self.elapsed = handler.status, handler.elapsed
        steps = Counter(call.step for call in handler.record)
        running = {c.step for c in handler.record if c.status == "running"}
        at = f" · in {', '.join(sorted(running))}" if running else ""
        self.calls = f"{steps.total()} call{'s' if steps.total() != 1 else ''}{at}"
        if handler.is_done():
            self.handler = None
            if handler.error is not None:
                said = str(handler.error).split("\n", 1)[0]
                self.outcome = f"{type(handler.error).__name__}: {said}"
            else:
                self.outcome = short_repr(handler.result())
        return before != (self.state, self.calls, self.outcome)


class Crowd:
    """The table of the runs of one cell."""

    def __init__(self) -> None:
        self._rows: list[_Row] = []
        self._display_id = f"sw-crowd-{next(_numbers)}"
        self._painted_at = 0.0
        self._is_shown = False
        self._is_fresh = True
        # Whether other runs of the cell have panels of their own.
        self.is_rest = False

    def __len__(self) -> int:
        """How many runs there are."""
        return len(self._rows)

    def add(self, handler: WorkflowHandler, name: str) -> None:
        """Take a run in."""
        self._rows.append(_Row(len(self._rows) + 1, name, handler))
        self._is_fresh = False

    def paint(self, *, now: bool = False) -> None:
        """Show the table, seldom enough not to flood the page."""
        if not self._rows:
            return
        if not now and time.monotonic() - self._painted_at < _PERIOD:
            return
        changed = [row.look() for row in self._rows]
        if (
            self._is_fresh
            and not any(changed)
            and all(r.handler is None for r in self._rows)
        ):
            return
        self._is_fresh = True
        show = kernel.show_again if self._is_shown else kernel.show
        show({"text/html": self._html(), "text/plain": self._line()}, self._display_id)
        self._is_shown, self._painted_at = True, time.monotonic()

    def _counts(self) -> list[tuple[str, int]]:
        counts = Counter(row.state for row in self._rows)
        known = [s for s in _ORDER if s in counts]
        rest = [s for s in counts if s not in _ORDER]
        return [(state, counts[state]) for state in (*known, *rest)]

    def _line(self) -> str:
        words = " · ".join(f"{n} {state}" for state, n in self._counts())
        whole = len(self._rows)
        more = f"and {whole} more" if self.is_rest else f"{whole}"
        return f"{more} run{'s' if whole != 1 else ''}: {words}"

    def _html(self) -> str:
        pills = " ".join(
            f'<span style="{badge_style(state)}">{n:,} {escaped(state)}</span>'
            for state, n in self._counts()
        )
        whole = len(self._rows)
        over = sum(row.handler is None for row in self._rows)
        names = Counter(row.name for row in self._rows)
        title = ", ".join(f"{n} × {escaped(name)}" for name, n in names.most_common(4))
        shown = self._most_telling()
        more = whole - len(shown)
        # Where nobody is at work any more, results get the room.
        calls = "26%" if over < whole else "92px"
        rows = "".join(_row_html(row, calls) for row in shown)
        left = f'<div style="{PALE}">and {more:,} more</div>' if more > 0 else ""
        return (
            f'<div style="{TEXT};max-width:1000px;padding:4px 2px">'
            '<div style="display:flex;gap:10px;align-items:center;flex-wrap:wrap">'
            f'<b style="font-size:14px;font-weight:600">{title}</b>{pills}'
            f'<span style="{PALE}">{over:,}/{whole:,} ended</span></div>'
            '<div style="height:6px;border-radius:3px;margin:6px 0;overflow:hidden;'
            f'background:rgba(128,128,128,.18);display:flex">{self._bar()}</div>'
            '<div style="max-height:320px;overflow:auto">'
            '<table style="border-collapse:collapse;width:100%;font-size:12px;'
            f'table-layout:fixed">{rows}</table></div>{left}</div>'
        )

    def _bar(self) -> str:
        whole = len(self._rows)
        return "".join(
            f'<span style="width:{n / whole:.2%};background:{mark_of(state)}"></span>'
            for state, n in self._counts()
            if state not in ("running", "queued")
        )

    def _most_telling(self) -> list[_Row]:
        """The rows to show: all in their order, or those first that went wrong."""
        if len(self._rows) <= _MOST_ROWS:
            return self._rows
        rank = {state: place for place, state in enumerate(_ORDER)}
        rows = sorted(self._rows, key=lambda row: rank.get(row.state, len(_ORDER)))
        return sorted(rows[:_MOST_ROWS], key=lambda row: row.number)


def _row_html(row: _Row, calls: str) -> str:
    one_line = "overflow:hidden;text-overflow:ellipsis;white-space:nowrap"
    left = f"text-align:left;padding:2px 12px 2px 2px;{one_line}"
    number = f"text-align:right;padding:2px 14px 2px 2px;{one_line}"
    said = f' title="{escaped(row.outcome)}"' if row.outcome else ""
    return (
        f'<tr style="background:none"><td style="{left};width:34px;{PALE}">'
        f"{row.number}</td>"
        f'<td style="{left};width:92px">{dot_html(row.state)}{escaped(row.state)}</td>'
        f'<td style="{number};width:82px;font-variant-numeric:tabular-nums">'
        f"{seconds(row.elapsed)}</td>"
        f'<td style="{left};width:{calls}">{escaped(row.calls)}</td>'
        f'<td style="{left};{CODE}"{said}>{escaped(row.outcome)}</td></tr>'
    )
