"""A place below the cell of a notebook, by IPython. Nothing else here imports it."""

from __future__ import annotations

from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import display


class Below:
    """One output of the cell that runs, shown anew each time, by its display id.

    It needs no widgets: what was shown last stays in the notebook when it is saved,
    exported, or opened without a kernel.
    """

    def __init__(self) -> None:
        self._handle: Any = None

    @classmethod
    def here(cls) -> Below | None:
        """Return a place; None where IPython is no notebook's, or not at work."""
        shell = get_ipython()
        # In a terminal IPython has no kernel: a line of text is better there.
        return cls() if getattr(shell, "kernel", None) is not None else None

    def show(self, html: str, text: str) -> None:
        """Show HTML in this place, or `text` where none can be shown."""
        bundle = {"text/html": html, "text/plain": text}
        if self._handle is None:
            self._handle = display(  # type: ignore[no-untyped-call]  # theirs
                bundle, raw=True, display_id=True
            )
        else:
            self._handle.update(bundle, raw=True)
