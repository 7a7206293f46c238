"""Errors of the notebook wing, under the engine's root.

    StepwellError
    ├── DrawingError          a graph cannot be drawn that way (also ValueError)
    ├── MagicError            a magic was called with something it cannot use
    └── WorkflowInterrupted   the person stopped the cell that awaited a run

How errors are shown in a cell is in `tracebacks`.
"""

from __future__ import annotations

from stepwell import StepwellError

__all__ = ["DrawingError", "MagicError", "WorkflowInterrupted"]


class DrawingError(StepwellError, ValueError):
    """A workflow's graph cannot be drawn in the way that was asked for."""


class MagicError(StepwellError):
    """A magic was called with options, names or a body that it cannot use."""


class WorkflowInterrupted(StepwellError):
    """The cell that awaited a run was interrupted, and the run was cancelled."""
