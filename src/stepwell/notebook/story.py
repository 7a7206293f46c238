"""What steps told, as HTML: progress, texts as they come, output, questions.

Pure text from a `RunView`; everything that came from a run is escaped. The rest of a
run's panel is in `markup`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from stepwell import Question

from .colours import badge_of, mark_of
from .escaping import escaped
from .forms import form_of
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
    "progress_rows",
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
PALE = "color:var(--jp-ui-font-color2,#6b7280)"
CODE = (
    "font-family:var(--jp-code-font-family,ui-monospace,Menlo,Consolas,monospace);"
    "font-size:12px"
)
_MOST_PROGRESS = 8
_RULE = "border-top:1px solid var(--jp-border-color2,rgba(128,128,128,.25))"
_EDGE = "border-bottom:1px solid var(--jp-border-color2,rgba(128,128,128,.25))"
_SOFT = "background:var(--jp-layout-color2,rgba(128,128,128,.12))"
# Turned round, so that what is long shows its end without a script.
_FROM_BELOW = "display:flex;flex-direction:column-reverse"
_LEVEL = "color:#fff;border-radius:4px;padding:0 5px;font-size:11px"
_ONE_LINE = "overflow:hidden;text-overflow:ellipsis;white-space:nowrap;min-width:0"
# Colours that tell steps apart, as marks beside their names.
_HUES = ("#6370f0", "#0f9d8c", "#d2691e", "#b04fd0", "#2f80ed", "#5f9e1e", "#d6497f")
# What is said of where a line comes from, and in which state's colour.
_SOURCES = {
    "stderr": "warning",
    "WARNING": "warning",
    "ERROR": "failed",
    "CRITICAL": "failed",
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


def progress_html(view: RunView, *, rows: int = 0) -> str:
    """How far the calls are that say so, a bar each.

    Args:
        view: The run.
        rows: For how many bars there is room even where there are fewer.
    """
    going_on = [each for each in view.progress.values() if not each.over]
    if not going_on and not rows:
        return ""
    left = len(going_on) - _MOST_PROGRESS
    more = f'<div style="{PALE}">and {left} more</div>' if left > 0 else ""
    bars = "".join(_progress_row(each) for each in going_on[:_MOST_PROGRESS])
    return (
        f'<div style="{TEXT};padding:4px 2px;min-height:{20 * rows}px">{bars}{more}'
        "</div>"
    )


def progress_rows(view: RunView) -> int:
    """How many bars there are now."""
    going_on = sum(not each.over for each in view.progress.values())
    return min(going_on, _MOST_PROGRESS + 1)


def _progress_row(progress: Progress) -> str:
    share = progress.share
    if share is None:
        bar, words = "", f"{progress.done:,.6g}"
    else:
        words = f"{progress.done:,.6g}/{progress.total:,.6g} · {share:.0%}"
        bar = (
            f'<span style="position:absolute;left:0;top:0;bottom:0;width:{share:.1%};'
            f'background:{mark_of("running")};border-radius:4px"></span>'
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
    """What comes from the steps of a run that goes on: texts, and the last lines.

    Boxes have one of two heights, so that what is below them moves once, not with
    every line.
    """
    hues = _hues(view)
    parts = []
    for stream in list(view.texts.values())[-2:]:
        short = len(stream.text) < 160 and stream.text.count("\n") < 2
        parts.append(_text_html(stream, hues, 40 if short else 118, fixed=True))
    parts += _more_texts(view, len(view.texts) - 2)
    if view.output:
        last = list(view.output)[-lines:]
        room = 2 if view.output_made <= 2 else lines
        parts.append(
            f'<div style="{_RULE};padding:4px 2px"><div style="{_FROM_BELOW};'
            f'overflow:hidden;height:{room * 19}px"><div style="margin-bottom:auto">'
            f"{_lines_html(last, hues)}</div></div></div>"
        )
    return f'<div style="{TEXT}">{"".join(parts)}</div>' if parts else ""


def output_html(view: RunView) -> str:
    """All that is kept of what came from the steps, for a run that is over."""
    hues = _hues(view)
    height = 260 if len(view.texts) <= 2 else 118
    parts = [_text_html(stream, hues, height) for stream in view.texts.values()]
    parts += _more_texts(view, 0)
    if view.output:
        counts = Counter(line.step for line in view.output)
        steps = ", ".join(f"{escaped(step)} {n}" for step, n in counts.most_common(5))
        lost = view.output_made - len(view.output)
        earlier = f"… {lost:,} earlier lines not kept" if lost > 0 else ""
        number = view.output_made
        # The edge at which lines are cut off, where they are.
        edge = f"{_EDGE};" if len(view.output) > 13 else ""
        parts.append(
            f'<details open style="margin-top:6px"><summary style="{PALE};'
            f'cursor:pointer">{number:,} line{"s" if number != 1 else ""} of output · '
            f'{steps}</summary><div style="max-height:260px;overflow:auto;{edge}'
            f'padding:4px 2px"><div style="{PALE}">{earlier}</div>'
            f"{_lines_html(view.output, hues)}</div></details>"
        )
    return "".join(parts)


def _more_texts(view: RunView, hidden: int) -> list[str]:
    """That some texts are not shown, and that pieces of others are not kept."""
    said = [f"and {hidden} more texts"] if hidden > 0 else []
    if view.pieces_lost:
        said.append(f"{view.pieces_lost:,} pieces of further texts not kept")
    return [f'<div style="{PALE};font-size:12px">{" · ".join(said)}</div>'] * bool(said)


def told_lines(view: RunView) -> str:
    """What the steps printed and wrote, as plain text, the step before each line."""
    lines = [f"[{line.step}] {line.text}" for line in view.output]
    lines += [f"[{stream.step}] {stream.text}" for stream in view.texts.values()]
    return "\n".join(lines)


def _text_html(
    stream: TextStream, hues: dict[str, str], height: int, *, fixed: bool = False
) -> str:
    hue = hues.get(stream.step, _HUES[0])
    pieces = f"{stream.pieces:,} piece{'s' if stream.pieces != 1 else ''}"
    least = "" if fixed else "max-"
    return (
        f'<div style="{_RULE};padding:5px 2px">'
        f'<div style="{PALE};font-size:12px;line-height:18px">'
        f"{_step_html(stream.step, hue)}"
        f" · {escaped(stream.kind)} · {pieces}</div>"
        f'<div style="{_FROM_BELOW};overflow:auto;{least}height:{height}px">'
        '<div style="white-space:pre-wrap;overflow-wrap:anywhere;margin-bottom:auto">'
        f"{escaped(stream.text)}</div></div></div>"
    )


def _step_html(name: str, hue: str) -> str:
    """A step's name, its colour before it: as letters it would be too pale."""
    return (
        f'<span style="border-left:3px solid {hue};padding-left:6px;font-weight:600;'
        f'color:var(--jp-ui-font-color1,inherit)">{escaped(name)}</span>'
    )


def _lines_html(lines: Iterable[Line], hues: dict[str, str]) -> str:
    rows = []
    for line in lines:
        state = _SOURCES.get(line.source)
        level = ""
        if state:
            level = f'<span style="{_LEVEL};background:{badge_of(state)}">'
            level += f"{escaped(line.source)}</span> "
        elif line.source.isupper():
            level = f"{escaped(line.source)} "
        rows.append(
            '<div style="display:flex;gap:8px">'
            f'<span style="flex:none;max-width:150px;{_ONE_LINE}">'
            f"{_step_html(line.step, hues.get(line.step, _HUES[0]))}</span>"
            '<span style="white-space:pre-wrap;overflow-wrap:anywhere;min-width:0">'
            f"{level}{escaped(line.text)}</span></div>"
        )
    return f'<div style="{CODE};line-height:1.55">{"".join(rows)}</div>'


def questions_html(view: RunView, *, how: str = "") -> str:
    """What people are asked, where it cannot be answered in the page itself.

    Args:
        view: The run.
        how: How to answer instead, in plain words.
    """
    asked = [
        f'<div style="white-space:pre-wrap">{escaped(form_of(question).prompt)}</div>'
        f'<div style="{PALE};font-size:12px">{escaped(who_asks(question, view))}</div>'
        for question in view.questions
    ]
    if not asked:
        return ""
    hint = f'<div style="{PALE};font-size:12px">{escaped(how)}</div>' if how else ""
    return (
        f'<div style="border-left:3px solid {mark_of("waiting")};'
        "background:rgba(217,119,6,.09);"
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
