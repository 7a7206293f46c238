"""What steps print and log, led into the logs of their runs instead of the cell.

Standard output and error are stood in for, and log records are looked at as they are
made. Only what comes from a step of a run that is being shown is taken; everything
else goes where it always went. How it is shown is in `markup`.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from stepwell import Context, WorkflowRuntimeError

__all__ = [
    "StepStream",
    "install",
    "lead_here",
    "let_go",
    "taken_so_far",
    "uninstall",
]

# A line without an end is kept back until so many letters have come.
_LONGEST_PIECE = 4_000
# Of what is printed at once, so many letters are kept by the run's record: the last.
_MOST_AT_ONCE = 100_000
# Within so many calls a handler of log records has written what it was given.
_DEEPEST_HANDLER = 30
# (call, step's source) and the text that has no end yet; by run.
_pending: dict[str, dict[tuple[int, str], tuple[Context[Any], str]]] = {}
_lock = threading.Lock()
_echo: set[str] = set()


def lead_here(run_id: str, *, echo: bool = False) -> None:
    """Take what the steps of a run print and log into its log from now on.

    Args:
        run_id: The run.
        echo: Whether the cell shall go on to show it too.
    """
    _pending.setdefault(run_id, {})
    if echo:
        _echo.add(run_id)


def let_go(run_id: str) -> None:
    """Let what a run's steps print go to the cell again."""
    _pending.pop(run_id, None)
    _echo.discard(run_id)


def taken_so_far(run_id: str) -> list[tuple[int, str, str]]:
    """Lines without an end, that nobody has seen: call, source and text."""
    with _lock:
        there = _pending.get(run_id)
        if not there:
            return []
        _pending[run_id] = {}
    return [(call_id, source, text) for (call_id, source), (_, text) in there.items()]


class StepStream:
    """Stands for `sys.stdout` or `sys.stderr`, and is otherwise the same."""

    def __init__(self, stream: Any, source: str) -> None:
        self.__dict__.update(_stream=stream, _source=source)

    def write(self, text: str) -> int:
        """Write to the log of the step at work, or to the cell."""
        ctx = _step_here()
        if ctx is None or not isinstance(text, str):
            return int(self._stream.write(text))
        if ctx.run_id in _echo:
            self._stream.write(text)
        if self._source == "stderr" and _repeats_a_record():
            return len(text)
        _take(ctx, self._source, text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write one after the other."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Let go of what has no end yet."""
        ctx = _step_here()
        if ctx is not None:
            _take(ctx, self._source, "", flush=True)
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        """Whatever else the stream has."""
        return getattr(self.__dict__["_stream"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set it where it belongs; IPython wraps `write` for as long as a cell runs."""
        if hasattr(type(self), name):
            self.__dict__[name] = value
        else:
            setattr(self.__dict__["_stream"], name, value)


def install() -> None:
    """Stand in for the streams and look at log records; again does nothing."""
    if not isinstance(sys.stdout, StepStream):
        sys.stdout = StepStream(sys.stdout, "stdout")
    if not isinstance(sys.stderr, StepStream):
        sys.stderr = StepStream(sys.stderr, "stderr")
    made = logging.getLogRecordFactory()
    if not isinstance(made, _Records):
        logging.setLogRecordFactory(_Records(made))


def uninstall() -> None:
    """Undo `install`, as far as nobody else came in between."""
    if isinstance(sys.stdout, StepStream):
        sys.stdout = sys.stdout.__dict__["_stream"]
    if isinstance(sys.stderr, StepStream):
        sys.stderr = sys.stderr.__dict__["_stream"]
    made = logging.getLogRecordFactory()
    if isinstance(made, _Records):
        logging.setLogRecordFactory(made.before)


class _Records:
    """Makes log records as before, and tells the step at work of them.

    Not a handler: one on the root logger would keep `logging.basicConfig` from
    working, and Python from printing warnings by itself.
    """

    def __init__(self, before: Callable[..., logging.LogRecord]) -> None:
        self.before = before

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self.before(*args, **kwargs)
        ctx = _step_here() if _is_told(record) else None
        if ctx is not None:
            try:
                said = record.getMessage()
            except Exception:  # its arguments do not fit; logging says so itself
                return record
            error = record.exc_info[1] if record.exc_info else None
            if error is not None:
                said += f"\n{type(error).__name__}: {error}"
            ctx.log(f"{record.name}: {said}", source=record.levelname)
        return record


def _is_told(record: logging.LogRecord) -> bool:
    """Whether the step at work is told of a record; our own are for the cell."""
    return not record.name.startswith("stepwell")


def _repeats_a_record() -> bool:
    """Whether a handler writes a log record here that the step was told of."""
    frame: FrameType | None = sys._getframe(2)
    for _ in range(_DEEPEST_HANDLER):
        if frame is None or frame.f_code is logging.Handler.handleError.__code__:
            return False  # it says what is wrong with the record
        if frame.f_code is logging.Handler.handle.__code__:
            return _is_told(frame.f_locals["record"])
        frame = frame.f_back
    return False


def _take(ctx: Context[Any], source: str, text: str, *, flush: bool = False) -> None:
    key = (ctx.call_id, source)
    with _lock:
        there = _pending.get(ctx.run_id)
        if there is None:
            return
        text = there.pop(key, (ctx, ""))[1] + text
        if not flush and "\n" not in text and len(text) < _LONGEST_PIECE:
            there[key] = (ctx, text)
            return
    # Up to the last line's end; what follows may be the beginning of the next one.
    whole, end, rest = text.rpartition("\n")
    if rest and not flush and end:
        with _lock:
            there[key] = (ctx, rest)
        text = whole + end
    lost = len(text) - _MOST_AT_ONCE
    if lost > 0:
        text = f"… {lost:,} letters not kept\n{text[lost:]}"
    if text:
        ctx.log(text, source=source)


def _step_here() -> Context[Any] | None:
    """The context of the step at work, if its run is being shown and goes on.

    For a run that a step has begun and that is not shown itself, it is that step's.
    """
    if not _pending:
        return None
    try:
        ctx: Context[Any] | None = Context.get_step_context()
    except WorkflowRuntimeError:
        return None
    while ctx is not None and not (ctx.run_id in _pending and ctx.is_running):
        ctx = ctx.parent
    return ctx
