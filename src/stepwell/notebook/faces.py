"""Displays of one run: what each can do, and those that need no widgets.

Those of widgets are in `ipywidgets`; when they are shown, painted and frozen is
decided in `panel`.
"""

from __future__ import annotations

from typing import Any, Protocol

from . import kernel, markup
from .diagram import Diagram
from .view import RunView

__all__ = ["Face", "StillFace", "UpdatingFace"]


class Face(Protocol):
    """One live display of a run; `takes_answers` says whether it shows forms."""

    takes_answers: bool

    def bundle(self, view: RunView) -> dict[str, Any]:
        """What to show first."""
        ...

    def paint(self, view: RunView) -> int:
        """Bring the display up to date; gives how many letters that took."""
        ...

    def close(self, html: str) -> None:
        """Show how the run ended, and let go of what the display holds."""
        ...


class UpdatingFace:
    """A live display without widgets: the whole HTML is sent again each time."""

    takes_answers = False

    def __init__(self, diagram: Diagram, prefix: str, display_id: str) -> None:
        self._diagram = diagram
        self._prefix = prefix
        self._display_id = display_id
        self._changes = -1
        self._ticks = 0

    def bundle(self, view: RunView) -> dict[str, Any]:
        """The run as it stands, as HTML and in one line."""
        html = markup.whole_html(view, self._diagram, prefix=self._prefix, inline=True)
        return {"text/html": html, "text/plain": markup.one_line(view)}

    def paint(self, view: RunView) -> int:
        """Send it again, unless only its clock has moved."""
        self._ticks += 1
        if view.changes == self._changes and self._ticks % 8:
            return 0
        self._changes = view.changes
        bundle = self.bundle(view)
        kernel.show_again(bundle, self._display_id)
        return len(bundle["text/html"])

    def close(self, html: str) -> None:
        """Nothing is held, and the end was shown as everything before."""


class StillFace:
    """A display that stays as it is, until the run's end takes its place."""

    takes_answers = False

    def __init__(self, bundle: dict[str, Any]) -> None:
        self._bundle = bundle

    def bundle(self, view: RunView) -> dict[str, Any]:
        """What it was made with."""
        return self._bundle

    def paint(self, view: RunView) -> int:
        """Leave it as it is."""
        return 0

    def close(self, html: str) -> None:
        """Nothing is held."""
