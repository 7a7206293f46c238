"""What all displays of this room share: fonts, colours, escaping, small pieces.

The colours and fonts are those of a run's panel: of the notebook's theme where it has
one, else inherited, and greys that suit light and dark pages. Whole displays are made
in `display.py`. Documents are untrusted: every text passes through `escaped`.
"""

from __future__ import annotations

import re
from html import escape

from .words import query_words, stem

TEXT = (
    "font:13px/1.5 var(--jp-ui-font-family,system-ui,-apple-system,'Segoe "
    "UI',sans-serif);"
    "color:var(--jp-ui-font-color1,inherit)"
)
PALE = "color:var(--jp-ui-font-color2,#7b8794)"
RULE = "border-top:1px solid var(--jp-border-color2,rgba(128,128,128,.25))"
SOFT = "background:var(--jp-layout-color2,rgba(128,128,128,.12))"
CODE = (
    "font-family:var(--jp-code-font-family,ui-monospace,Menlo,Consolas,monospace);"
    "font-size:12px"
)
BAR = "#3b82f6"
ONE_LINE = "overflow:hidden;text-overflow:ellipsis;white-space:nowrap;min-width:0"
MOST_LETTERS = 4_000
# What XML cannot hold, and marks that turn the direction of all that follows.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069"
    "\ud800-\udfff\ufffe\uffff]"
)
# Improves a display where a page lets it through; an untrusted one drops it.
_STYLE = """<style>
.stepwell-rag mark{background:rgba(234,179,8,.28);color:inherit;border-radius:2px}
.stepwell-rag summary:hover b{text-decoration:underline}
.stepwell-rag details[open]>summary .snippet{display:none}
.stepwell-rag details:target>summary b{text-decoration:underline}
</style>"""


def escaped(text: str) -> str:
    """Text that stands for itself in HTML and in its attributes."""
    return escape(_FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text))


def page(body: str) -> str:
    """Return a display around its content."""
    # Formulas would be set by the page; what documents hold is shown as it is.
    return (
        f'<div class="stepwell-rag tex2jax_ignore mathjax_ignore" style="{TEXT};'
        f'max-width:900px;padding:4px 2px">{_STYLE}{body}</div>'
    )


def pre(text: str) -> str:
    """Return a block that keeps its lines, around HTML."""
    return (
        f'<pre style="{CODE};{SOFT};color:inherit;border-radius:4px;margin:6px 0;'
        "padding:8px 10px;white-space:pre-wrap;overflow-wrap:anywhere;max-height:320px;"
        f'overflow:auto">{text}</pre>'
    )


def pale(html: str) -> str:
    """Return a quiet line around HTML."""
    return f'<div style="{PALE};font-size:12px">{html}</div>'


def bounded(text: str, most: int = MOST_LETTERS) -> tuple[str, str]:
    """Return the beginning of a text, and what says how much more there is, or ""."""
    if len(text) <= most:
        return text, ""
    return text[:most], f" … {len(text) - most:,} more letters"


def snippet(text: str, max_chars: int) -> str:
    """Return the beginning of a text on one line."""
    # Underlines of headings and fences of code say nothing on one line.
    begin = text[: 4 * max_chars + 400]
    flat = " ".join(
        re.sub(r"^[ \t]*[^\w\s]{3,}\w*[ \t]*$", "", begin, flags=re.M).split()
    )
    if len(flat) <= max_chars and len(begin) == len(text):
        return flat
    return flat[:max_chars].rsplit(" ", 1)[0] + " …"


class Marker:
    """Escapes a text and marks the words of a query in it."""

    def __init__(self, query: str | None) -> None:
        self._stems = {stem(word) for word in query_words(query or "")}

    def __call__(self, text: str) -> str:
        """Return the text as HTML."""
        if not self._stems:
            return escaped(text)
        return "".join(
            f"<mark>{escaped(piece)}</mark>"
            if piece and stem(piece.lower()) in self._stems
            else escaped(piece)
            for piece in re.split(r"(\w+)", text)
        )


def bar(share: float, width: str = "flex:1 1 120px;max-width:260px;height:8px") -> str:
    """Return a bar of which a share is filled."""
    return (
        f'<span style="position:relative;display:inline-block;{width};{SOFT};'
        f'border-radius:4px"><span style="position:absolute;left:0;top:0;bottom:0;'
        f'width:{min(max(share, 0.0), 1.0):.1%};background:{BAR};border-radius:4px">'
        "</span></span>"
    )


def progress_line(
    what: str, done: int, total: int, seconds: float, ending: str = ""
) -> str:
    """Return how far some work is: a bar while it goes on, then a line that stays.

    Args:
        what: What is counted, for instance ``"files read"``.
        done: How many are done.
        total: How many there are.
        seconds: How long it has been going on.
        ending: ``""`` while it goes on, then ``"over"`` or ``"stopped"``.
    """
    counted = f"{done:,} of {total:,} {escaped(what)}"
    if ending:
        mark, colour = ("✓", "#16a34a") if ending == "over" else ("✗", "#dc2626")
        stopped = ", then stopped" if ending == "stopped" else ""
        return (
            f'<div style="{TEXT};line-height:20px"><span style="color:{colour}">{mark}'
            f'</span> {counted}{stopped} <span style="{PALE}">· {duration(seconds)}'
            "</span></div>"
        )
    left = seconds * (total - done) / done if done else 0.0
    words = f" · {duration(left)} left" if left >= 1 else ""
    return (
        f'<div style="{TEXT};display:flex;gap:10px;align-items:center;'
        f'line-height:20px">{bar(done / total)}'
        f'<span style="font-variant-numeric:tabular-nums">{counted}</span>'
        f'<span style="{PALE};font-variant-numeric:tabular-nums">'
        f"{done / total:.0%}{words}</span></div>"
    )


def duration(seconds: float) -> str:
    """Return a length of time for people: ``0.3 s``, ``12 s``, ``3 min 20 s``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def size(count: float) -> str:
    """Return a number of bytes for people: ``1.5 MB``."""
    for unit in ("bytes", "KB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
