"""What a notebook shows of workflows and runs, and the magics.

`install` is called when stepwell is imported in a notebook, `load` and `unload` by
`%load_ext stepwell`. The functions in `__all__` work in scripts too: nothing here
needs IPython, ipywidgets or graphviz until something is shown.
"""

from __future__ import annotations

from typing import Any

from .choices import configure
from .diagram import draw, to_dot, to_mermaid
from .errors import (
    ChoiceError,
    DrawingError,
    MagicError,
    StepExited,
    WorkflowInterrupted,
)
from .nesting import allow_nested

__all__ = [
    "ChoiceError",
    "DrawingError",
    "MagicError",
    "StepExited",
    "WorkflowInterrupted",
    "allow_nested",
    "configure",
    "draw",
    "install",
    "load",
    "to_dot",
    "to_mermaid",
    "unload",
]


def install(ip: Any) -> None:
    """Teach an IPython shell to show workflows and runs. Cheap; again does nothing.

    Args:
        ip: The shell, as `get_ipython()` gives it.
    """
    from . import displays

    displays.install(ip)


def load(ip: Any) -> None:
    """Add the magics to a shell, beside the displays; for `%load_ext stepwell`."""
    from . import displays, magics

    displays.install(ip)
    displays.lead_output()
    magics.load(ip)


def unload(ip: Any) -> None:
    """Take the magics away again, and what steps print back to the cells.

    For `%unload_ext stepwell`. Workflows and runs are still shown.
    """
    from . import magics, output

    magics.unload(ip)
    output.uninstall()
