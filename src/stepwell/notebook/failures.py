"""Runs that failed in the background: said once, below the next cell that ends.

What awaits a run, reads its error or has a panel of it has seen the failure; asyncio
notes that, and would otherwise print it when the run is collected, long after.
"""

from __future__ import annotations

import asyncio
from typing import Any

from stepwell import WorkflowCancelledByUser

from . import kernel, tracebacks
from .frames import clean

MOST_LINES = 5
_failed: list[tuple[str, str, asyncio.Future[Any]]] = []


def note(name: str, error: BaseException, outcome: asyncio.Future[Any]) -> None:
    """A run has ended with an error; the engine calls this.

    Args:
        name: The workflow's name.
        error: What ended the run.
        outcome: What holds the error, and knows whether anybody looked.
    """
    tracebacks.shorten(error)
    if isinstance(error, WorkflowCancelledByUser):
        # Whoever cancelled it knows.
        outcome.exception()
        return
    _failed.append((name, kernel.cell_number(), outcome))


def unseen() -> list[str]:
    """A line for each of the runs that failed and that nobody looked at; then none."""
    lines = []
    for name, cell, outcome in _failed:
        if not getattr(outcome, "_log_traceback", True):
            continue
        error = outcome.exception()
        if error is None:
            continue
        text = tracebacks.text_of(error).strip().splitlines()
        what = f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
        started = f" (cell In[{cell}])" if cell else ""
        lines.append(
            f"The run of {name}{started} failed: {clean(what)}. "
            "Await its handler to see where."
        )
    _failed.clear()
    if len(lines) > MOST_LINES:
        left = len(lines) - MOST_LINES + 1
        lines[MOST_LINES - 1 :] = [f"… and {left} more runs failed."]
    return lines
