"""Errors of the notebook wing, under the engine's root.

    StepwellError
    ├── ChoiceError           there is no such way to show runs (also ValueError)
    ├── DrawingError          a graph cannot be drawn that way (also ValueError)
    ├── MagicError            a magic was called with something it cannot use
    ├── StepExited            a step called `sys.exit()`, in a run that a task awaits
    └── WorkflowInterrupted   the person stopped the cell that awaited a run

How errors are shown in a cell is in `tracebacks`.
"""

from __future__ import annotations

from stepwell import StepwellError

__all__ = [
    "ChoiceError",
    "DrawingError",
    "MagicError",
    "StepExited",
    "WorkflowInterrupted",
]


class ChoiceError(StepwellError, ValueError):
    """There is no such way to show runs."""


class DrawingError(StepwellError, ValueError):
    """A workflow's graph cannot be drawn in the way that was asked for."""


class MagicError(StepwellError):
    """A magic was called with options, names or a body that it cannot use."""


class StepExited(StepwellError):
    """A step raised `SystemExit` or `KeyboardInterrupt` in a run that a task awaits.

    As it is, it would go through the event loop and end the kernel.

    Args:
        raised: What the step raised.
    """

    def __init__(self, raised: BaseException) -> None:
        where = getattr(raised, "__notes__", None) or ["in a step"]
        super().__init__(
            f"{type(raised).__name__} was raised {where[0]}.",
            hint="To end a run early, return a StopEvent; to end it with an error, "
            "raise an exception.",
        )
        self.raised = raised


class WorkflowInterrupted(StepwellError):
    """The cell that awaited a run was interrupted, and the run was cancelled."""
