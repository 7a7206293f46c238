"""Letting pasted `asyncio.run(main())` work in a cell, with the patch safe here.

stepwell itself never needs it: cells may `await`. The archived nest_asyncio loses
queued cells on ipykernel 7 and later; its maintained fork does not.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect

from stepwell import MissingExtraError, WorkflowRuntimeError

_REFUSALS = (
    "cannot be called from a running event loop",  # asyncio.run, asyncio.Runner
    "This event loop is already running",  # loop.run_until_complete
    "Cannot run the event loop while another loop is running",
)
_LOSES_CELLS = (
    "nest_asyncio is archived and loses queued cells on this kernel. Restart the kernel"
)
_said = False


def allow_nested() -> str:
    """Let `asyncio.run()` and `run_until_complete()` be called while a loop runs.

    Returns:
        The name of the package whose patch is in force.

    Raises:
        MissingExtraError: The package that is safe on this kernel is not installed.
        WorkflowRuntimeError: Something in this kernel has applied the one that is not.
    """
    if _unsafe_patch_is_applied():
        raise WorkflowRuntimeError(
            "something in this kernel has applied nest_asyncio already: "
            f"{_LOSES_CELLS[0].lower()}{_LOSES_CELLS[1:]}",
            hint="and call allow_nested() before anything else applies it.",
        )
    names = ["nest_asyncio2"] if _is_new_kernel() else ["nest_asyncio2", "nest_asyncio"]
    for name in names:
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name).apply()
            return name
    raise MissingExtraError("nest-asyncio2", extra="notebook", feature="allow_nested()")


def advice_on(error: BaseException) -> str | None:
    """What to do about a pasted `asyncio.run(main())`; None for any other error."""
    if type(error) is not RuntimeError or not _is_refusal(error):
        return None
    return (
        "In a notebook a loop runs already: write `await main()`, or call "
        "stepwell.notebook.allow_nested() once and run the cell again."
    )


def close_what_was_refused(error: BaseException) -> None:
    """Close the coroutine that `asyncio.run()` did not run.

    Otherwise Python says, in whatever cell it comes to be collected, that it "was
    never awaited", which the error has just said in better words.
    """
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_globals.get("__name__", "").startswith("asyncio."):
            for value in frame.f_locals.values():
                is_new = (
                    inspect.iscoroutine(value)
                    and inspect.getcoroutinestate(value) == inspect.CORO_CREATED
                )
                if is_new:
                    value.close()
        trace = trace.tb_next


def notice_unsafe_patch() -> str | None:
    """What to tell of an archived nest_asyncio in force on a new kernel; once."""
    global _said
    if _said or not _unsafe_patch_is_applied():
        return None
    _said = True
    return (
        f"{_LOSES_CELLS} and, where something needs nested loops, call "
        "stepwell.notebook.allow_nested() first: it applies nest-asyncio2."
    )


def _is_refusal(error: BaseException) -> bool:
    text = error.args[0] if len(error.args) == 1 else None
    return isinstance(text, str) and any(said in text for said in _REFUSALS)


def _unsafe_patch_is_applied() -> bool:
    """Whether asyncio bears the mark of nest_asyncio, and not that of its fork too."""
    marked = hasattr(asyncio, "_nest_patched")
    return marked and not hasattr(asyncio, "_nest_asyncio2") and _is_new_kernel()


def _is_new_kernel() -> bool:
    try:
        ipykernel = importlib.import_module("ipykernel")
    except ImportError:
        return False
    return int(ipykernel.version_info[0]) >= 7
