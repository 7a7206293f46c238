"""Runs side by side as HTML: how they ended, step by step, and on one time scale.

Static and without scripts: pictures are images, so it looks the same wherever a
notebook is opened. The figures are those of `stepwell.compare`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from stepwell import CallRecord

from .chronicle import PALE, TEXT, title_html
from .colours import badge_style, mark_of
from .diagram import Diagram
from .escaping import escaped
from .history import amount_words, amounts_of, last_time, total, view_of
from .markup import WIDEST, WIDTH, graph_column, is_beside, timeline_width
from .svg import Mark, as_image
from .timeline import axis_of, seconds, timeline_svg


class Figures(Protocol):
    """What is shown of a run's or a step's figures."""

    @property
    def calls(self) -> int:
        """Calls that began."""
        ...

    @property
    def retries(self) -> int:
        """Attempts that were tried again."""
        ...

    @property
    def failed(self) -> int:
        """Calls that failed for good."""
        ...


class Run(Protocol):
    """What is shown of one run; `stepwell.comparison` says what its parts mean."""

    @property
    def number(self) -> int:
        """Its place, from 1."""
        ...

    @property
    def name(self) -> str:
        """Name of its workflow."""
        ...

    @property
    def status(self) -> str:
        """As of its handler, or empty."""
        ...

    @property
    def elapsed(self) -> float:
        """Seconds from its beginning to its end."""
        ...

    @property
    def outcome(self) -> str:
        """Its result or error in short, or empty."""
        ...

    @property
    def failed(self) -> bool:
        """Whether the outcome is an error."""
        ...

    @property
    def calls(self) -> Sequence[CallRecord]:
        """The calls of its record."""
        ...

    @property
    def workflow(self) -> Any:
        """The workflow, or None."""
        ...

    @property
    def steps(self) -> Mapping[str, Figures]:
        """Figures by step."""
        ...

    @property
    def total(self) -> Figures:
        """Figures of all steps together."""
        ...


class Comparison(Protocol):
    """What is shown of a `stepwell.Comparison`."""

    @property
    def runs(self) -> Sequence[Run]:
        """The runs, in the order in which they were given."""
        ...

    @property
    def steps(self) -> Sequence[str]:
        """Names of the steps of all runs."""
        ...

    def to_rows(self) -> list[dict[str, Any]]:
        """A dictionary for each step in each run."""
        ...


MOST_AMOUNTS = 4
# States whose colours say: took less, about as much, more time than in the first run.
_LESS, _SAME, _MORE = "done", "cancelled", "waiting"
_LINE = "1px solid var(--jp-border-color2,rgba(128,128,128,.28))"
# Within so much of 1, a ratio is no news.
_NOISE = 0.05
# Width of the column of names, in per cent.
_FIRST = 14.0
_CELL = (
    f"padding:4px 14px 5px 2px;vertical-align:top;text-align:left;border-bottom:{_LINE}"
)


def comparison_html(comparison: Comparison, diagram: Diagram | None) -> str:
    """Runs side by side in one piece of HTML: no network, no widgets, no scripts.

    Args:
        comparison: The runs.
        diagram: The graph of their workflow, where it is one and the same.
    """
    cards = "".join(_card_html(run, comparison.runs[0]) for run in comparison.runs)
    width = WIDTH if diagram is None else timeline_width(diagram)
    story = f"{_steps_html(comparison)}{_timelines_html(comparison, width)}"
    if diagram is not None and is_beside(diagram):
        column = max(graph_column(diagram), 200.0)
        story = (
            '<div style="display:flex;flex-flow:row wrap;gap:4px 18px;'
            'align-items:flex-start">'
            f'<div style="flex:0 1 {column:.0f}px">{_graph_html(comparison, diagram)}'
            f'</div><div style="flex:1 1 {width * 0.6:.0f}px;min-width:0">{story}'
            "</div></div>"
        )
    elif diagram is not None:
        story += _graph_html(comparison, diagram)
    return (
        f'<div style="{TEXT};max-width:{WIDEST:.0f}px;padding:4px 2px">'
        '<div style="display:flex;flex-flow:row wrap;gap:8px 12px;margin-bottom:10px">'
        f"{cards}</div>{story}</div>"
    )


def is_of_one_workflow(comparison: Comparison) -> bool:
    """Whether the runs are of one workflow, be its cell run again in between."""
    kinds = {_kind(run.workflow) for run in comparison.runs}
    return len(kinds) == 1 and None not in kinds


def _kind(workflow: Any) -> tuple[str, str] | None:
    if workflow is None:
        return None
    return type(workflow).__module__, type(workflow).__qualname__


def _card_html(run: Run, base: Run) -> str:
    figures = run.total
    facts = [seconds(run.elapsed)]
    if run is not base and base.elapsed and run.status == base.status:
        facts.append(f"{_ratio_words(run.elapsed / base.elapsed)} of run 1")
    facts += [f"{figures.calls:,} call{'s' if figures.calls != 1 else ''}"]
    if figures.retries:
        facts.append(f"{figures.retries:,} retried")
    if figures.failed:
        facts.append(f"{figures.failed:,} failed")
    for name in _amounts(run):
        words = amount_words(name, total(run.calls, name))
        facts.append(words if name == "cost" else f"{words} {name.replace('_', ' ')}")
    outcome = ""
    if run.outcome:
        sign, state = ("✗", "failed") if run.failed else ("→", "done")
        outcome = (
            '<div style="overflow:hidden;text-overflow:ellipsis;white-space:nowrap;'
            "font-family:var(--jp-code-font-family,ui-monospace,Menlo,Consolas,"
            f'monospace);font-size:12px"><b style="color:{mark_of(state)}">{sign}</b> '
            f"{escaped(' '.join(run.outcome.split()))}</div>"
        )
    title = title_html(f"{run.number} · {run.name}", run.status, [])
    return (
        f'<div style="flex:1 1 240px;min-width:0;border:{_LINE};border-radius:8px;'
        f'padding:8px 12px">{title}<div style="{PALE}">'
        f"{escaped(' · '.join(facts))}</div>{outcome}</div>"
    )


def _steps_html(comparison: Comparison) -> str:
    """A line for each step: for each run its calls, its time and a bar."""
    runs = comparison.runs
    rows = {(row["step"], row["run"]): row for row in comparison.to_rows()}
    if not rows:
        return f'<div style="{PALE};margin:8px 0">no calls yet</div>'
    longest = max(row["seconds"] for row in rows.values()) or 1.0
    each = (100 - _FIRST) / len(runs)
    heads = "".join(_head(f"run {run.number}", each) for run in runs)
    lines = []
    for step in comparison.steps:
        cells = [
            _step_cell(rows[step, run.number], longest, first=run is runs[0])
            for run in runs
        ]
        lines.append(
            f'<tr style="background:none"><td style="{_CELL};font-weight:600;'
            f'overflow-wrap:anywhere">'
            f"{escaped(step)}</td>{''.join(cells)}</tr>"
        )
    return (
        '<table style="width:100%;table-layout:fixed;border-collapse:collapse;'
        'font-size:12px;margin:0 0 10px">'
        f"<thead><tr>{_head('step', _FIRST)}{heads}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _head(words: str, width: float) -> str:
    return (
        f'<th style="{_CELL};{PALE};font-weight:500;width:{width:.1f}%">'
        f"{escaped(words)}</th>"
    )


def _step_cell(row: dict[str, Any], longest: float, *, first: bool) -> str:
    if not row["calls"]:
        return f'<td style="{_CELL};{PALE}">not called</td>'
    words = [f"{row['calls']:,} call{'s' if row['calls'] != 1 else ''}"]
    if row["retries"]:
        words.append(f"{row['retries']:,} retried")
    if row["failed"]:
        words.append(f"{row['failed']:,} failed")
    words.append(seconds(row["seconds"]))
    against, state = "", _SAME
    if not first and row["ratio"] is not None:
        if _is_noise(row):
            against = f' <span style="{PALE}">≈</span>'
        else:
            state = _LESS if row["ratio"] < 1 else _MORE
            against = (
                f' <span style="{badge_style(state)};padding:0 6px">'
                f"{_ratio_words(row['ratio'])}</span> "
                f'<span style="{PALE}">{_difference_words(row["difference"])}</span>'
            )
    share = 100 * row["seconds"] / longest
    return (
        f'<td style="{_CELL}">{" · ".join(words)}{against}'
        f'<div style="height:4px;min-width:1px;border-radius:2px;width:{share:.1f}%;'
        f'background:{mark_of(state)};margin-top:3px"></div></td>'
    )


def _is_noise(row: dict[str, Any]) -> bool:
    """Whether a step took as long as in the first run, as far as clocks can tell."""
    same: bool = abs(row["ratio"] - 1) <= _NOISE or abs(row["difference"]) < 0.0005
    return same


def _ratio_words(ratio: float) -> str:
    return f"{ratio:.2f}×" if ratio < 10 else f"{ratio:,.0f}×"


def _difference_words(difference: float) -> str:
    sign = "+" if difference >= 0 else "\N{MINUS SIGN}"
    return f"{sign}{seconds(abs(difference))}"


def _timelines_html(comparison: Comparison, width: float) -> str:
    """The timelines below each other, on one scale."""
    views = []
    alike = is_of_one_workflow(comparison)
    for run in comparison.runs:
        end = max(run.elapsed, last_time(run.calls))
        steps = comparison.steps if alike else list(run.steps)
        views.append(view_of(run.name, run.calls, steps, end))
    if not comparison.steps:
        return ""
    axis = axis_of(*views, width=width)
    parts = []
    for run, view in zip(comparison.runs, views, strict=True):
        name = f"sw-{uuid.uuid4().hex[:10]}"
        svg = timeline_svg(view, prefix=name, width=width, axis=axis)
        alt = f"Timeline of run {run.number}, {run.name}"
        parts.append(
            f'<div style="{PALE};font-size:12px;margin-top:6px">run {run.number}</div>'
            f"{as_image(svg, alt=alt, width=width)}"
        )
    return "".join(parts)


def _graph_html(comparison: Comparison, diagram: Diagram) -> str:
    """The graph, with what each step's time was of that in the first run."""
    last = comparison.runs[-1].number
    marks = {}
    for row in comparison.to_rows():
        if row["run"] != last:
            continue
        ratio: float | None = row["ratio"]
        if ratio is None:
            status = "queued" if row["calls"] else "idle"
            marks[row["step"]] = Mark(status, "new" if row["calls"] else "")
        elif _is_noise(row):
            marks[row["step"]] = Mark("idle")
        else:
            status = "done" if ratio < 1 else "waiting"
            marks[row["step"]] = Mark(status, _ratio_words(ratio))
    return (
        f'<div style="{PALE};font-size:12px;margin:4px 0">time in each step, run '
        f"{last} against run 1</div>{diagram.image(marks=marks)}"
    )


def _amounts(run: Run) -> list[str]:
    names = dict.fromkeys(name for call in run.calls for name in amounts_of(call))
    return list(names)[:MOST_AMOUNTS]
