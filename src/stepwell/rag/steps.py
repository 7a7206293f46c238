"""Whether a step of stepwell is at work here, asked without importing the engine.

These rooms work with any engine and with none. Where the engine is loaded and a
step of it called us, its context takes what we counted and how far we have come.
"""

from __future__ import annotations

import sys
from typing import Any


def step_here() -> Any | None:
    """Return the context of the step that called us; None outside of steps.

    It has `count(**amounts)`, `progress(done, total, text)` and `log(text)`.
    """
    engine = sys.modules.get("stepwell.context")
    # While another thread imports the engine, the module is there, and empty.
    if engine is None or not hasattr(engine, "Context"):
        return None
    try:
        return engine.Context.get_step_context()
    except engine.WorkflowRuntimeError:
        return None
