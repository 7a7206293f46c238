"""Who ran when: a run's timeline as SVG, a row for each step, a lane for each worker.

Bars narrower than the eye are drawn as one, so the size is bounded by the width, not
by the run. The data is `view`'s; colours are those of `colours`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from .colours import (
    DARK_PAGES,
    NAME_DARK,
    NAME_LIGHT,
    NOTE_DARK,
    NOTE_LIGHT,
    mark_of,
)
from .escaping import escaped
from .parts import Bar, StepView
from .picture import text_width
from .svg import FONT
from .view import RunView

MOST_LANES = 24
MOST_TIPS = 400
LONGEST_NAME = 26
# Letters as large as those around the picture, and what they are where it is drawn
# smaller than this.
NAME_SIZE, NOTE_SIZE, TICK_SIZE = 13, 12, 11
NARROW = 760
_LARGER = "{0} .t1{{font-size:16px}}{0} .t2{{font-size:14.5px}}"
# What each of so many workers has done is written out; of more, only their number.
MOST_SHARES = 4
# The most a step's lanes take together, in pixels; many lanes are thin.
_TALLEST = 96.0
# Notes change while a run goes on; their column only in leaps, and the bars with it.
_LEAP = 40
_TICKS = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Axis:
    """Where time lies in a drawing: 0 at pixel `left`, `whole` seconds at `right`."""

    left: float
    right: float
    whole: float


def axis_of(*views: RunView, width: float = 860.0) -> Axis:
    """The axis on which these runs fit, beside the names and notes of their steps."""
    steps = [(view, step) for view in views for step in view.steps.values()]
    names = [text_width(_short(step.name), NAME_SIZE + 2) for _, step in steps]
    notes = [text_width(_note(view, step), NOTE_SIZE + 2) for view, step in steps]
    left = max(names, default=0) + 28
    room = math.ceil(max(notes, default=0) / _LEAP) * _LEAP
    right = max(width - room - 12, left + 120)
    return Axis(left, right, max([view.elapsed for view in views] + [0.001]))


def timeline_svg(
    view: RunView,
    *,
    prefix: str,
    width: float = 860.0,
    inline: bool = False,
    axis: Axis | None = None,
) -> str:
    """Draw the timeline of a run.

    Args:
        view: The run.
        prefix: A class for this drawing, unique in the page.
        width: Width in pixels at full size; a narrower cell shrinks it.
        inline: As for `svg.draw_svg`.
        axis: One that other runs share; made for this run when not given.

    Returns:
        One `<svg>` element.
    """
    steps = list(view.steps.values())
    names = [_short(step.name) for step in steps]
    notes = [_note(view, step) for step in steps]
    axis = axis or axis_of(view, width=width)
    left, right, whole = axis.left, axis.right, axis.whole
    scale = (right - left) / whole
    lanes_of = _lanes(view)
    rows: list[str] = []
    tops: dict[str, tuple[float, float]] = {}
    y = 6.0
    for step, name, note in zip(steps, names, notes, strict=True):
        lanes = len(lanes_of.get(step.name, ())) or 1
        lane = 12.0 if lanes == 1 else min(7.0, _TALLEST / lanes - 1)
        height = max(lanes * (lane + 1), 13.0) + 9
        tops[step.name] = (y + 5, lane)
        middle = y + height / 2
        rows.append(
            f'<circle cx="5" cy="{middle:.1f}" {_dot(status_of(view, step))}/>'
            f'<text class="t1" x="16" y="{middle + 4.5:.1f}" font-size="{NAME_SIZE}" '
            'font-weight="500">'
            f"{escaped(name)}</text>"
            f'<text class="t2" x="{width - 1:.1f}" y="{middle + 4:.1f}" '
            f'font-size="{NOTE_SIZE}" text-anchor="end">'
            f"{_worker_tip(step)}{escaped(note)}</text>"
        )
        y += height
        rows.append(f'<path class="rule" d="M{left:.1f} {y:.1f}H{right:.1f}"/>')
    grid = [
        f'<path class="rule" d="M{left + t * scale:.1f} 4V{y:.1f}"/>'
        f'<text class="t2" x="{left + t * scale:.1f}" y="{y + 15:.1f}" '
        f'font-size="{TICK_SIZE}" text-anchor="middle">{words}</text>'
        for t, words in ticks(whole, int((right - left) / 80) or 1)
    ]
    merged = list(_merged(lanes_of, view.elapsed, scale))
    # So many bars are looked at together, not one by one.
    tips = len(merged) <= MOST_TIPS
    bars = [
        f'<rect x="{left + start * scale:.1f}" '
        f'y="{tops[step][0] + lane * (tops[step][1] + 1):.2f}"'
        f' width="{max((end - start) * scale, 1.5):.1f}" height="{tops[step][1]:.4g}" '
        f'rx="{min(2.0, tops[step][1] / 2):.1f}" '
        f'fill="{mark_of(status)}"'
        + (f"><title>{escaped(tip)}</title></rect>" if tips else "/>")
        for step, lane, start, end, status, tip in merged
    ]
    height = y + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{prefix}" role="img" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" '
        f'style="max-width:100%;height:auto;display:block;font-family:{FONT}">'
        f"<title>Timeline of {escaped(view.name)}</title>"
        f"<style>{_rules(prefix, inline)}</style>"
        f"{''.join(grid)}{''.join(rows)}{''.join(bars)}</svg>"
    )


def status_of(view: RunView, step: StepView) -> str:
    """The one word that colours a step; one that waits for a person is not at work."""
    asks = any(question.step == step.name for question in view.questions)
    if step.status == "running" and view.state == "waiting" and asks:
        return "waiting"
    return step.status


def _note(view: RunView, step: StepView) -> str:
    asks = status_of(view, step) == "waiting" and step.running == 1
    return "waits for an answer" if asks else step_words(step)


def _worker_tip(step: StepView) -> str:
    """The calls each worker has done, a line each, for who points at them."""
    if len(step.workers) < 2:
        return ""
    counts = sorted(step.workers.items())
    lines = [f"worker {number + 1}: {count:,} done" for number, count in counts]
    more = [f"and {len(lines) - MOST_LANES} more"] if len(lines) > MOST_LANES else []
    said = "\n".join([*lines[:MOST_LANES], *more])
    return f"<title>{escaped(said)}</title>"


def step_words(step: StepView) -> str:
    """What a step did, in a few words."""
    parts = []
    if step.running:
        parts.append(f"{step.running:,} running")
    if step.queued:
        parts.append(f"{step.queued:,} queued")
    if step.done and not step.lacks:
        many = f"{step.done:,} done{_shares(step)}"
        parts.append(many if step.done > 1 or parts else "done")
    if step.failed:
        parts.append(
            f"{step.failed:,} failed" if step.failed > 1 or parts else "failed"
        )
    if step.cancelled:
        parts.append(f"{step.cancelled:,} cancelled")
    if step.lacks:
        parts.append(f"has {step.lacks}")
    if step.retries:
        parts.append(f"{step.retries:,} retried")
    if step.kept and not step.calls:
        parts.append("kept from the run before")
    if step.calls and not step.running:
        parts.append(seconds(step.seconds))
    return " · ".join(parts) or "not run"


def _shares(step: StepView) -> str:
    """What each worker of a step has done, where there are some and few."""
    counts = [step.workers[number] for number in sorted(step.workers)]
    if len(counts) < 2:
        return ""
    if len(counts) > MOST_SHARES:
        return f" by {len(counts)} workers"
    return f" ({' + '.join(f'{count:,}' for count in counts)})"


def seconds(value: float) -> str:
    """A duration for people: 8 ms, 0.42 s, 3.1 s, 2 min 05 s."""
    if value < 0.0995:
        return f"{value * 1000:.0f} ms" if value >= 0.0005 else "<1 ms"
    if value < 10:
        return f"{value:.2f} s"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def ticks(whole: float, most: int) -> list[tuple[float, str]]:
    """Round times from 0 up to `whole` seconds, at most `most` + 1 of them."""
    exponent = -4
    while True:
        for one in _TICKS:
            gap = one * 10.0**exponent
            if whole / gap <= most:
                count = int(whole / gap + 1e-9)
                return [(i * gap, _tick_words(i * gap)) for i in range(count + 1)]
        exponent += 1


def _tick_words(value: float) -> str:
    if 0 < value < 0.0995:
        return f"{value * 1000:g} ms"
    return f"{value:g} s" if 0 < value < 60 else seconds(value) if value else "0"


def _lanes(view: RunView) -> dict[str, list[list[Bar]]]:
    """Bars packed into as few lanes a step as nothing overlaps: its real concurrency.

    Worker numbers are not used: a worker that is freed in the very instant in which
    the next call starts would make a lane for nothing.
    """
    lanes: dict[str, list[list[Bar]]] = {}
    for bar in view.bars:
        rows = lanes.setdefault(bar.step, [])
        for row in rows:
            end = row[-1].end
            if end is not None and end <= bar.start + 0.0005:
                row.append(bar)
                break
        else:
            if len(rows) < MOST_LANES:
                rows.append([bar])
            else:
                rows[bar.call_id % MOST_LANES].append(bar)
    return lanes


def _merged(
    lanes: dict[str, list[list[Bar]]], elapsed: float, scale: float
) -> Iterator[tuple[str, int, float, float, str, str]]:
    """Bars in lanes; neighbours closer than a pixel, of one status, become one bar."""
    for step, lane, bars in (
        (s, i, row) for s, rows in lanes.items() for i, row in enumerate(rows)
    ):
        start, end, status, count = 0.0, -1.0, "", 0
        tip = ""
        for bar in bars:
            stop = elapsed if bar.end is None else bar.end
            near = count and bar.status == status and (bar.start - end) * scale < 1.0
            if near and (
                (stop - start) * scale < 3.0 or (stop - bar.start) * scale < 1.5
            ):
                end, count = max(end, stop), count + bar.calls
                tip = f"{step}: {count} calls"
                continue
            if count:
                yield step, lane, start, end, status, tip
            start, end, status, count = bar.start, stop, bar.status, bar.calls
            again = f", attempt {bar.attempt}" if bar.attempt > 1 else ""
            took = seconds(stop - bar.start)
            tip = f"{step} on {bar.event}{again}: {bar.status}, {took}"
            if count > 1:
                tip = f"{step}: {count} calls"
        if count:
            yield step, lane, start, end, status, tip


def _rules(prefix: str, inline: bool) -> str:
    rules = (
        f".{prefix} .t1{{fill:{NAME_LIGHT}}}.{prefix} .t2{{fill:{NOTE_LIGHT}}}"
        f".{prefix} .rule{{stroke:#94a3b8;stroke-opacity:.22;fill:none}}"
    )
    dark = f".{prefix} .t1{{fill:{NAME_DARK}}}", f".{prefix} .t2{{fill:{NOTE_DARK}}}"
    larger = _LARGER.format(f".{prefix}")
    if inline:
        # The page's width, roughly; asking for the cell's costs frames.
        rules += f"@media (max-width:{NARROW + 240}px){{{larger}}}"
        return rules + "".join(f"{page} {rule}" for page in DARK_PAGES for rule in dark)
    # Of an image, the width is that at which it is drawn.
    rules += f"@media (max-width:{NARROW}px){{{larger}}}"
    return f"{rules}@media (prefers-color-scheme:dark){{{''.join(dark)}}}"


def _dot(status: str) -> str:
    """Shape and colour of the dot before a step's name; hollow before it has run."""
    if status == "idle":
        return f'r="3.3" fill="none" stroke="{mark_of(status)}" stroke-width="1.4"'
    return f'r="4" fill="{mark_of(status)}"'


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
