"""The one way from plain code into a run: waiting for a coroutine to end.

Used by `Workflow.run_sync`, and where a check has to wait for something.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

from stepwell.errors import WorkflowRuntimeError

__all__ = ["finish"]

# Seconds that the thread gets to stop what was interrupted.
_HEARD_WITHIN = 0.3


def finish(work: Coroutine[Any, Any, Any], name: str) -> Any:
    """Run a coroutine to its end, whether or not a loop is running here.

    Without a running loop this is `asyncio.run`; inside one the work takes place on a
    loop in a thread of its own, which is kept.

    Raises:
        WorkflowRuntimeError: Called on that thread itself.
    """
    if _is_loop_running():
        return _LoopThread.shared().run(work, name)
    return asyncio.run(work)


def _is_loop_running() -> bool:
    # By itself, so that errors of the work are not said to come while handling this.
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _LoopThread:
    """One event loop on a daemon thread, for `run_sync` inside a running loop."""

    _shared: _LoopThread | None = None
    _making = threading.Lock()

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(
            target=self.loop.run_forever, name="stepwell-run_sync", daemon=True
        )
        self.thread.start()

    @classmethod
    def shared(cls) -> _LoopThread:
        with cls._making:
            # A process that was forked has the object, and not the thread.
            if cls._shared is None or not cls._shared.thread.is_alive():
                cls._shared = cls()
            return cls._shared

    def run(self, work: Coroutine[Any, Any, Any], name: str) -> Any:
        if threading.current_thread() is self.thread:
            work.close()
            raise WorkflowRuntimeError(
                f"{name} was to be waited for in a step that run_sync() runs, on the "
                "thread that would have to do the work.",
                hint="Write `await workflow.run(…)` inside steps; call run_sync() and "
                "validate(validate_resources=True) outside of them.",
                workflow=name,
            )
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except BaseException as error:
            future.cancel()
            if isinstance(error, KeyboardInterrupt) and self._is_stuck():
                error.add_note(
                    f"a step of {name} never awaits: it goes on in its thread until "
                    "it returns"
                )
            raise

    def _is_stuck(self) -> bool:
        """Whether a step keeps the loop to itself; then others get another thread."""
        heard = threading.Event()
        self.loop.call_soon_threadsafe(heard.set)
        if heard.wait(_HEARD_WITHIN / 2):
            return False
        _cancel_in(self.thread)
        if heard.wait(_HEARD_WITHIN / 2):
            return False
        with self._making:
            if _LoopThread._shared is self:
                _LoopThread._shared = None
        return True


def _cancel_in(thread: threading.Thread) -> None:
    """Raise `CancelledError` in a thread, as soon as it executes Python."""
    import ctypes  # late: only an interrupt needs it

    # Only CPython can.
    if thread.ident is not None and hasattr(ctypes, "pythonapi"):
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(asyncio.CancelledError)
        )
