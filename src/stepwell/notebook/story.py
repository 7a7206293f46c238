"""What steps told, as HTML: progress, texts as they come, output, questions.

Pure text from a `RunView`; everything that came from a run is escaped. The rest of a
run's panel is in `markup`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from stepwell import Question

from .escaping import escaped
from .parts import Line, Progress, TextStream
from .timeline import seconds
from .view import RunView

__all__ = [
    "CODE",
    "PALE",
    "TEXT",
    "amounts_words",
    "output_html",
    "progress_html",
    "questions_html",
    "told_html",
    "told_lines",
    "who_asks",
]

TEXT = (
    "font:13px/1.5 var(--jp-ui-font-family,system-ui,-apple-system,'Segoe "
    "UI',sans-serif);"
    "color:var(--jp-ui-font-color1,inherit)"
)
PALE = "color:var(--jp-ui-font-color2,#7b8794)"
CODE = (
    "font-family:var(--jp-code-font-family,ui-monospace,Menlo,Consolas,monospace);"
    "font-size:12px"
)
_MOST_PROGRESS = 8
_RULE = "border-top:1px solid var(--jp-border-color2,rgba(128,128,128,.25))"
_SOFT = "background:var(--jp-layout-color2,rgba(128,128,128,.12))"
_ONE_LINE = "overflow:hidden;text-overflow:ellipsis;white-space:nowrap;min-width:0"
# Colours that tell steps apart, on light pages and on dark ones.
_HUES = ("#6370f0", "#0f9d8c", "#d2691e", "#b04fd0", "#2f80ed", "#5f9e1e", "#d6497f")
_SOURCES = {
    "stderr": "#b45309",
    "WARNING": "#b45309",
    "ERROR": "#dc2626",
    "CRITICAL": "#dc2626",
}


def amounts_words(amounts: dict[str, float]) -> list[str]:
    """What a run has used, in a few words: tokens together, money in dollars."""
    parts = []
    tokens = amounts.get("tokens", 0) or sum(
        n for name, n in amounts.items() if name.endswith("_tokens")
    )
    if tokens:
        parts.append(f"{tokens:,.0f} tokens")
    for name, amount in amounts.items():
        if name == "cost":
            parts.append(f"${amount:.2f}" if amount >= 0.995 else f"${amount:.4f}")
        elif name != "tokens" and not name.endswith("_tokens"):
            parts.append(f"{amount:,.6g} {name}")
    return parts


def progress_html(view: RunView) -> str:
    """How far the calls are that say so, a bar each."""
    going_on = [each for each in view.progress.values() if not each.over]
    if not going_on:
        return ""
    left = len(going_on) - _MOST_PROGRESS
    more = f'<div style="{PALE}">and {left} more</div>' if left > 0 else ""
    rows = "".join(_progress_row(each) for each in going_on[:_MOST_PROGRESS])
    return f'<div style="{TEXT};padding:4px 2px">{rows}{more}</div>'


def _progress_row(progress: Progress) -> str:
    share = progress.share
    if share is None:
        bar, words = "", f"{progress.done:,.6g}"
    else:
        words = f"{progress.done:,.6g}/{progress.total:,.6g} · {share:.0%}"
        bar = (
            f'<span style="position:absolute;left:0;top:0;bottom:0;width:{share:.1%};'
            'background:#3b82f6;border-radius:4px"></span>'
        )
    return (
        '<div style="display:flex;gap:10px;align-items:center;line-height:20px">'
        f'<b style="font-weight:600;min-width:84px;{_ONE_LINE}">'
        f"{escaped(progress.step)}</b>"
        f'<span style="position:relative;flex:1 1 120px;max-width:260px;height:8px;'
        f'border-radius:4px;{_SOFT}">{bar}</span>'
        f'<span style="{PALE};font-variant-numeric:tabular-nums">{words}</span>'
        f'<span style="{PALE};flex:1 1 80px;{_ONE_LINE}">'
        f"{escaped(progress.text)}</span>"
        "</div>"
    )


def told_html(view: RunView, *, lines: int = 6) -> str:
    """What comes from the steps of a run that goes on: texts, and the last lines."""
    hues = _hues(view)
    parts = [_text_html(stream, hues, 118) for stream in list(view.texts.values())[-2:]]
    if view.output:
        last = list(view.output)[-lines:]
        parts.append(
            f'<div style="{_RULE};padding:4px 2px;overflow:hidden;'
            f'max-height:{lines * 19}px">{_lines_html(last, hues)}</div>'
        )
    return f'<div style="{TEXT}">{"".join(parts)}</div>' if parts else ""


def output_html(view: RunView) -> str:
    """All that is kept of what came from the steps, for a run that is over."""
    hues = _hues(view)
    parts = [_text_html(stream, hues, 260) for stream in view.texts.values()]
    if view.output:
        counts = Counter(line.step for line in view.output)
        steps = ", ".join(f"{escaped(step)} {n}" for step, n in counts.most_common(5))
        lost = view.output_made - len(view.output)
        earlier = f"… {lost:,} earlier lines not kept" if lost > 0 else ""
        number = view.output_made
        parts.append(
            f'<details open style="margin-top:6px"><summary style="{PALE};'
            f'cursor:pointer">{number:,} line{"s" if number != 1 else ""} of output · '
            f'{steps}</summary><div style="max-height:260px;overflow:auto;'
            f'padding:4px 2px"><div style="{PALE}">{earlier}</div>'
            f"{_lines_html(view.output, hues)}</div></details>"
        )
    return "".join(parts)


def told_lines(view: RunView) -> str:
    """What the steps printed and wrote, as plain text, the step before each line."""
    lines = [f"[{line.step}] {line.text}" for line in view.output]
    lines += [f"[{stream.step}] {stream.text}" for stream in view.texts.values()]
    return "\n".join(lines)


def _text_html(stream: TextStream, hues: dict[str, str], height: int) -> str:
    # Turned round, so that a long text shows its end without a script.
    hue = hues.get(stream.step, _HUES[0])
    return (
        f'<div style="{_RULE};padding:5px 2px">'
        f'<div style="{PALE};font-size:11px;line-height:16px">'
        f'<b style="font-weight:600;color:{hue}">{escaped(stream.step)}'
        f"</b> · {escaped(stream.kind)} · {stream.pieces:,} pieces</div>"
        f'<div style="display:flex;flex-direction:column-reverse;overflow:auto;'
        f'max-height:{height}px"><div style="white-space:pre-wrap;'
        f'overflow-wrap:anywhere">{escaped(stream.text)}</div></div></div>'
    )


def _lines_html(lines: Iterable[Line], hues: dict[str, str]) -> str:
    rows = []
    for line in lines:
        colour = _SOURCES.get(line.source)
        ink = f"color:{colour}" if colour else ""
        level = f"{line.source} " if line.source.isupper() else ""
        rows.append(
            '<div style="display:flex;gap:8px">'
            f'<span style="flex:none;max-width:150px;{_ONE_LINE};font-weight:600;'
            f'color:{hues.get(line.step, _HUES[0])}">{escaped(line.step)}</span>'
            f'<span style="white-space:pre-wrap;overflow-wrap:anywhere;min-width:0;'
            f'{ink}">{escaped(level + line.text)}</span></div>'
        )
    return f'<div style="{CODE};line-height:1.55">{"".join(rows)}</div>'


def questions_html(view: RunView, *, how: str = "") -> str:
    """What people are asked, where it cannot be answered in the page itself.

    Args:
        view: The run.
        how: How to answer instead, in plain words.
    """
    asked = [
        f'<div style="white-space:pre-wrap">{escaped(question.prompt)}</div>'
        f'<div style="{PALE};font-size:12px">{escaped(who_asks(question, view))}</div>'
        for question in view.questions
    ]
    if not asked:
        return ""
    hint = f'<div style="{PALE};font-size:12px">{escaped(how)}</div>' if how else ""
    return (
        '<div style="border-left:3px solid #d97706;background:rgba(217,119,6,.09);'
        f'border-radius:3px;padding:6px 10px;margin:6px 0;{TEXT}">'
        f"{''.join(asked)}{hint}</div>"
    )


def who_asks(question: Question, view: RunView) -> str:
    """Which step asks, and how long there is to answer."""
    words = [f"asked by {question.step or question.workflow or view.name}"]
    if question.due is not None:
        words.append(f"{seconds(max(question.due - view.elapsed, 0.0))} left to answer")
    return " · ".join(words)


def _hues(view: RunView) -> dict[str, str]:
    """A colour for each step, as different as their number allows."""
    return {name: _HUES[n % len(_HUES)] for n, name in enumerate(view.steps)}
