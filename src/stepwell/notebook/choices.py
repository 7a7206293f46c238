"""What people choose about how runs are shown, for all cells of the notebook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from .errors import ChoiceError

__all__ = ["Choices", "chosen", "configure"]

_Panel = Literal["live", "final", "off"]


@dataclass
class Choices:
    """How runs are shown; see `configure`."""

    panel: _Panel = "live"
    echo: bool = False


chosen = Choices()


def configure(*, panel: _Panel | None = None, echo: bool | None = None) -> None:
    """Choose how runs are shown in this notebook, from the next one on.

    Args:
        panel: "live" shows a run while it goes on; "final" only how it ended; "off"
            nothing, so that what steps print goes to their cells.
        echo: Whether what steps print shall show in their cells too, beside the panel.

    Raises:
        ChoiceError: There is no such way to show a run.
    """
    if panel is not None:
        if panel not in get_args(_Panel):
            raise ChoiceError(
                f"panel= is one of {', '.join(get_args(_Panel))}, not {panel!r}."
            )
        chosen.panel = panel
    if echo is not None:
        chosen.echo = bool(echo)
