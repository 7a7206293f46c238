"""What `Workflow(verbose=True)` prints: a line when a step starts and when it ends."""

from __future__ import annotations

import contextlib

from stepwell.calls import StepCall
from stepwell.commands import CallEnded

__all__ = ["say_ended", "say_started"]


def say_started(call: StepCall) -> None:
    """Print that a call runs."""
    _say(f"Running step {call.spec.name}")


def say_ended(ended: CallEnded) -> None:
    """Print how an attempt ended."""
    name = ended.call.spec.name
    if ended.error is not None:
        kind = type(ended.error).__name__
        _say(f"Step {name} raised {kind} ({ended.status})")
    elif ended.outputs:
        made = ", ".join(kind.__name__ for kind in ended.outputs)
        _say(f"Step {name} produced event {made}")
    else:
        _say(f"Step {name} produced no event")


def _say(line: str) -> None:
    # A closed or broken output is no reason to fail a run.
    with contextlib.suppress(OSError, ValueError):
        print(line)
