"""A run's record as HTML: a table of its calls, its graph and timeline, its state.

Readable without scripts and without style sheets, as untrusted notebooks show it; a
script in the same piece adds the slider, filters and causes. What is in it is worked
out in `history`; the script is in `replay`.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any

from stepwell import CallRecord

from . import markup
from .colours import badge_of, badge_style
from .diagram import Diagram
from .escaping import escaped
from .history import (
    ENDS,
    MOST_CHANGES,
    History,
    amount_words,
    amounts_of,
    view_of,
)
from .replay import script_html, style_html
from .svg import as_image
from .timeline import axis_of, seconds, timeline_svg
from .view import RunView

TEXT = (
    "font:13px/1.5 var(--jp-ui-font-family,system-ui,-apple-system,'Segoe "
    "UI',sans-serif);color:var(--jp-ui-font-color1,inherit)"
)
PALE = "color:var(--jp-ui-font-color2,#6b7280)"
LONGEST_ERROR = 400
LONGEST_VALUE = 300
MOST_KEYS = 60
MOST_OUTPUTS = 6
# For pages that drop the style sheet.
_LEFT = ' style="text-align:left"'
_RIGHT = ' class="sw-n"'
_MARKS = {
    "done": "✓",
    "failed": "✗",
    "retrying": "↻",
    "cancelled": "■",
    "running": "▶",
    "queued": "…",
}


def chronicle_html(
    history: History, diagram: Diagram | None, *, state: str = ""
) -> str:
    """One run's record in one piece of HTML: no network, no widgets.

    Args:
        history: The run.
        diagram: Its workflow's graph, where it is known.
        state: What became of the run, where it is known.
    """
    prefix = f"sw-{uuid.uuid4().hex[:10]}"
    view = view_of(history.name, history.calls, history.steps, history.elapsed)
    width = markup.WIDTH if diagram is None else markup.timeline_width(diagram)
    axis = axis_of(view, width=width)
    times = ""
    if history.calls:
        timeline = timeline_svg(view, prefix=f"{prefix}-t", width=width, axis=axis)
        image = as_image(timeline, alt=f"Timeline of {history.name}", width=width)
        times = f'<div class="sw-timeline">{image}</div>'
    story = (
        f'{times}{_state_html(history)}<div class="sw-tools sw-filters"></div>'
        f'<div class="sw-chain"></div>{_table_html(history)}'
    )
    facts = [escaped(fact) for fact in totals_words(history)]
    data = {
        **replay_data(history, diagram),
        "axis": [axis.left, axis.right, axis.whole],
        "graph": diagram.svg(inline=True, prefix=f"{prefix}-g", live=True)
        if diagram
        else None,
    }
    return (
        f'<div class="sw-h {prefix}" style="{TEXT};max-width:{markup.WIDEST:.0f}px;'
        f'padding:4px 2px">{style_html()}{title_html(history.name, state, facts)}'
        f'<div class="sw-tools sw-moments"></div>{_pictures(view, diagram, story)}'
        f"{script_html(prefix, data)}</div>"
    )


def replay_data(history: History, diagram: Diagram | None) -> dict[str, Any]:
    """What the script needs to know; lists rather than names keep it small."""
    step_of = {name: place for place, name in enumerate(history.steps)}
    nodes = {n.name: n.id for n in diagram.picture.steps} if diagram else {}
    counts = Counter(call.step for call in history.rows)
    row_of = {id(call): place for place, call in enumerate(history.rows)}
    kinds = {"begin": 0, **{end: place + 1 for place, end in enumerate(ENDS)}}
    keys = list(history.state())[:MOST_KEYS]
    key_of = {key: place for place, key in enumerate(keys)}
    placed = [
        (moment, change.key, _cut(change.value, LONGEST_VALUE))
        for moment, change in history.placed_changes()
        if change.key in key_of
    ]
    cut = max(0, len(placed) - MOST_CHANGES)
    before = {
        key: value
        for place, (moment, key, value) in enumerate(placed)
        if moment < 0 or place < cut
    }
    return {
        "steps": [[name, nodes.get(name), counts[name]] for name in history.steps],
        "rows": [
            [
                call.call_id,
                step_of[call.step],
                call.attempt,
                _rounded(call.started),
                _rounded(call.ended),
                call.status,
                list(history.causes.get(call.call_id, ())),
            ]
            for call in history.rows
        ],
        "moments": [
            [
                _rounded(moment.at),
                step_of[moment.call.step],
                row_of.get(id(moment.call), -1),
                kinds[moment.kind],
                moment.call.call_id,
            ]
            for moment in history.moments
        ],
        "base": history.counts_before(),
        "columns": [kind for kind, _ in _columns(history)],
        "keys": keys,
        "before": list(before.items()),
        "changes": [
            [moment, key_of[key], value]
            for moment, key, value in placed[cut:]
            if moment >= 0
        ],
    }


def totals_words(history: History) -> list[str]:
    """A run in a few facts: calls, retries, time, amounts."""
    calls = history.calls_made
    facts = [f"{calls:,} call{'s' if calls != 1 else ''}"]
    if history.retries:
        facts.append(f"{history.retries:,} retried")
    facts.append(seconds(history.elapsed))
    for name in history.amounts:
        words = amount_words(name, history.total(name))
        facts.append(words if name == "cost" else f"{words} {name.replace('_', ' ')}")
    return facts


def title_html(name: str, state: str, facts: list[str]) -> str:
    """Name, state, and facts that are HTML already, on one line."""
    badge = ""
    if state:
        badge = f'<span style="{badge_style(state)}">{escaped(state)}</span>'
    return (
        '<div style="display:flex;align-items:center;gap:0 10px;flex-wrap:wrap">'
        f'<b style="font-size:14px;font-weight:600">{escaped(name)}</b>{badge}'
        f'<span style="{PALE};font-variant-numeric:tabular-nums">'
        f"{' · '.join(facts)}</span></div>"
    )


def _pictures(view: RunView, diagram: Diagram | None, story: str) -> str:
    if diagram is None:
        return f'<div style="margin-top:6px">{story}</div>'
    image = diagram.image(marks=markup.marks(view))
    if not markup.is_beside(diagram):
        return f'<div class="sw-graph" style="margin:6px 0">{image}</div>{story}'
    return (
        '<div style="display:flex;flex-flow:row wrap;gap:4px 18px;'
        'align-items:flex-start;margin-top:6px">'
        f'<div class="sw-graph" style="flex:0 1 {markup.graph_column(diagram):.0f}px">'
        f"{image}</div>"
        f'<div style="flex:1 1 {markup.timeline_width(diagram) * 0.6:.0f}px;'
        f'min-width:0">{story}</div></div>'
    )


def _state_html(history: History) -> str:
    state = history.state()
    if not state:
        return ""
    lines = "".join(
        f"<tr><td{_LEFT}>{escaped(key)}</td>"
        f"<td{_LEFT}>{escaped(_cut(value, LONGEST_VALUE)) or 'not set'}</td></tr>"
        for key, value in list(state.items())[:MOST_KEYS]
    )
    more = len(state) - MOST_KEYS
    rest = f'<div class="sw-pale">… {more:,} more keys</div>' if more > 0 else ""
    return (
        '<div style="max-height:220px;overflow:auto;margin-top:6px">'
        f'<table class="sw-state"><thead><tr><th{_LEFT}>state</th><th{_LEFT}></th></tr>'
        f"</thead><tbody>{lines}</tbody></table>{rest}</div>"
    )


def _columns(history: History) -> list[tuple[str, str]]:
    """Kind and heading of each column; the kind says how to sort."""
    columns = [("id", "#"), ("text", "step")]
    if history.has_retries:
        columns.append(("number", "attempt"))
    columns += [
        ("text", "on"),
        ("text", "gave"),
        ("start", "began"),
        ("took", "took"),
        ("text", "status"),
    ]
    if history.has_workers:
        columns.append(("number", "worker"))
    for name in history.amounts:
        columns.append(("number", name.replace("_", " ")))
    return columns


def _table_html(history: History) -> str:
    if not history.calls:
        return '<div class="sw-pale">no calls yet</div>'
    columns = _columns(history)
    head = "".join(
        f"<th{_LEFT if kind == 'text' else _RIGHT}>{escaped(words)}</th>"
        for kind, words in columns
    )
    longest = max((call.duration or 0.0 for call in history.rows), default=0.0)
    rows = "".join(_row_html(history, call, longest) for call in history.rows)
    return (
        f"{_left_out_html(history)}"
        '<div class="sw-box" style="max-height:430px;overflow:auto">'
        f'<table class="sw-calls"><thead><tr>{head}</tr></thead>{rows}'
        f"<tfoot><tr>{_total_html(history)}</tr></tfoot></table></div>"
    )


def _left_out_html(history: History) -> str:
    notes = []
    if history.left_out:
        notes.append(
            f"… {history.left_out:,} earlier calls: <code>record.to_pandas()</code> "
            "has them"
        )
    if history.dropped:
        notes.append(f"{history.dropped:,} older still, no longer kept")
    if history.amounts_hidden:
        hidden = ", ".join(escaped(name) for name in history.amounts_hidden)
        notes.append(f"also counted: {hidden}")
    return f'<div class="sw-pale">{" · ".join(notes)}</div>' if notes else ""


def _row_html(history: History, call: CallRecord, longest: float) -> str:
    cause = history.cause(call)
    sent = f" <em>← {escaped(cause)}</em>" if cause else ""
    amounts = amounts_of(call)
    cells = [_number(str(call.call_id)), _words(escaped(call.step))]
    if history.has_retries:
        cells.append(_number(str(call.attempt)))
    cells += [
        _words(f"{escaped(call.input)}{sent}", kind="sw-w"),
        _words(_gave(call.outputs), kind="sw-w"),
        _number("" if call.started is None else f"{call.started:,.{history.digits}f}"),
        _number(_took_html(call, longest)),
        _words(
            f"{_MARKS.get(call.status, '')} {escaped(call.status)}",
            kind=f"sw-{escaped(call.status)}",
        ),
    ]
    if history.has_workers:
        cells.append(_number(str(call.worker) if call.worker >= 0 else ""))
    for name in history.amounts:
        value = amounts.get(name)
        cells.append(_number("" if value is None else amount_words(name, value)))
    body = f"<tr>{''.join(cells)}</tr>"
    if call.error:
        body += (
            f'<tr class="sw-error"><td></td><td colspan="{len(cells) - 1}"'
            f' style="text-align:left;color:{badge_of("failed")}">'
            f"{escaped(_cut(call.error, LONGEST_ERROR))}</td></tr>"
        )
    named = "" if call.status == "done" else f' class="sw-of-{escaped(call.status)}"'
    return f"<tbody{named}>{body}</tbody>"


def _gave(outputs: Sequence[str]) -> str:
    """Names of events, those of one class that follow each other as one."""
    found: list[tuple[str, int]] = []
    for name in outputs:
        if found and found[-1][0] == name:
            found[-1] = (name, found[-1][1] + 1)
        else:
            found.append((name, 1))
    words = [name if n == 1 else f"{n} × {name}" for name, n in found[:MOST_OUTPUTS]]
    if len(found) > MOST_OUTPUTS:
        words.append("…")
    return escaped(", ".join(words))


def _number(html: str) -> str:
    return f"<td{_RIGHT}>{html}</td>"


def _words(html: str, *, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f"<td{named}{_LEFT}>{html}</td>"


def _took_html(call: CallRecord, longest: float) -> str:
    took = call.duration
    if took is None:
        return ""
    share = round(100 * took / longest) if longest else 0
    bar = f'<i style="width:{share}%"></i>' if longest else ""
    return f"{_took(took)}{bar}"


def _total_html(history: History) -> str:
    attempts = sum(call.started is not None for call in history.calls)
    words = f"{history.calls_made:,} call{'s' if history.calls_made != 1 else ''}"
    if attempts != history.calls_made:
        words += f", {attempts:,} attempts"
    span = 4 if history.has_retries else 3
    cells = [
        _number("Σ"),
        f'<td colspan="{span}"{_LEFT}>{words}</td>',
        _number(""),
        _number(seconds(history.busy)),
        _words(_failed_words(history)),
    ]
    if history.has_workers:
        cells.append(_number(""))
    cells += [_number(amount_words(n, history.total(n))) for n in history.amounts]
    return "".join(cells)


def _failed_words(history: History) -> str:
    failed = sum(call.status == "failed" for call in history.calls)
    return f"{failed:,} failed" if failed else ""


def _took(value: float) -> str:
    """A duration, more exact than `seconds` where a call took almost no time."""
    return f"{value * 1000:.2f} ms" if value < 0.00995 else seconds(value)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
