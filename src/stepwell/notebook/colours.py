"""Colours of states and of kinds of boxes, for everything a notebook shows.

One state has one colour in graph, timeline, table, record and comparison. Three tables:
`MARKS` for bars and dots, which stand out from light pages and dark ones; `BADGES` for
what white letters stand on; inks for boxes, of light pages and of dark ones. Plain text
has the page's own colour, with a mark beside it. Tests compute the contrasts.
"""

from __future__ import annotations

from dataclasses import dataclass

from .picture import Kind


@dataclass(frozen=True, slots=True)
class Ink:
    """Fill, outline and text colour of one kind of box."""

    fill: str
    line: str
    text: str


LIGHT: dict[Kind, Ink] = {
    "step": Ink("#eef2ff", "#6366f1", "#312e81"),
    "event": Ink("#f8fafc", "#cbd5e1", "#475569"),
    "start": Ink("#ecfdf5", "#6ee7b7", "#065f46"),
    "stop": Ink("#f1f5f9", "#94a3b8", "#334155"),
    "human": Ink("#fffbeb", "#fcd34d", "#92400e"),
    "person": Ink("#fef3c7", "#f59e0b", "#92400e"),
    "resource": Ink("#ecfeff", "#22b8cf", "#155e75"),
}
DARK: dict[Kind, Ink] = {
    "step": Ink("#272a52", "#818cf8", "#e0e7ff"),
    "event": Ink("#20262f", "#4b5563", "#cbd5e1"),
    "start": Ink("#0f2e26", "#2fae84", "#a7f3d0"),
    "stop": Ink("#2a3038", "#64748b", "#e2e8f0"),
    "human": Ink("#33280f", "#a9791c", "#fde68a"),
    "person": Ink("#3d2e0c", "#d97706", "#fde68a"),
    "resource": Ink("#0c2b33", "#1c8ba0", "#a5f3fc"),
}
STATUS_LIGHT: dict[str, Ink] = {
    "queued": Ink("#f5f3ff", "#7c86f5", "#4338ca"),
    "running": Ink("#dbeafe", "#2563eb", "#1e3a8a"),
    "done": Ink("#dcfce7", "#22a35a", "#14532d"),
    "failed": Ink("#fee2e2", "#dc2626", "#7f1d1d"),
    "waiting": Ink("#fef3c7", "#d97706", "#78350f"),
    "cancelled": Ink("#eceef1", "#7f8896", "#374151"),
    "idle": Ink("#f8fafc", "#cbd5e1", "#64748b"),
}
STATUS_DARK: dict[str, Ink] = {
    "queued": Ink("#27243f", "#7c86f5", "#c7d2fe"),
    "running": Ink("#172d57", "#60a5fa", "#dbeafe"),
    "done": Ink("#12331f", "#34b56b", "#bbf7d0"),
    "failed": Ink("#451a1a", "#f87171", "#fecaca"),
    "waiting": Ink("#3d2e0c", "#fbbf24", "#fde68a"),
    "cancelled": Ink("#2d333c", "#8b95a5", "#d1d5db"),
    "idle": Ink("#20262f", "#4b5563", "#94a3b8"),
}
# A run's states and a call's, and what a run's log tells of.
MARKS: dict[str, str] = {
    "queued": "#7c86f5",
    "running": "#3b82f6",
    "waiting": "#d97706",
    "retrying": "#d97706",
    "warning": "#d97706",
    "done": "#22a35a",
    "stop": "#22a35a",
    "failed": "#dc2626",
    "stalled": "#ea580c",
    "timed out": "#ea580c",
    "cancelled": "#7f8896",
    "event": "#6366f1",
}
BADGES: dict[str, str] = {
    "queued": "#4f46e5",
    "running": "#2563eb",
    "waiting": "#b45309",
    "retrying": "#b45309",
    "warning": "#b45309",
    "done": "#15803d",
    "failed": "#dc2626",
    "stalled": "#c2410c",
    "timed out": "#c2410c",
    "cancelled": "#6b7280",
}
# Of whatever is in none of the tables.
MARK = "#7f8896"
BADGE = "#6b7280"
# Where the keys are, and what is chosen.
ACCENT = "#6366f1"
EDGE = "#8491a5"
LOOP = "#a855f7"
GIVEN = "#1d9cb2"
# What stands in a picture beside its boxes: names, and what is said of them.
NAME_LIGHT, NAME_DARK = "#374151", "#d1d5db"
NOTE_LIGHT, NOTE_DARK = "#5b6675", "#9aa5b4"
DARK_PAGES = ('[data-jp-theme-light="false"]', ".vscode-dark", 'html[theme="dark"]')


def mark_of(state: str) -> str:
    """The colour of a bar or a dot."""
    return MARKS.get(state, MARK)


def badge_of(state: str) -> str:
    """The colour below white letters."""
    return BADGES.get(state, BADGE)


def badge_style(state: str) -> str:
    """Inline style of a state's word, or of a count, on its colour."""
    return (
        f"background:{badge_of(state)};color:#fff;border-radius:9px;padding:1px 9px;"
        "font-size:11px;font-weight:600;line-height:16px;white-space:nowrap"
    )


def dot_html(state: str) -> str:
    """A round mark to stand before a word."""
    return (
        f'<span style="display:inline-block;background:{mark_of(state)};width:8px;'
        'height:8px;border-radius:50%;margin-right:6px"></span>'
    )
