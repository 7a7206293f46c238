"""How errors look in a cell: the user's own lines, and what to do; nothing of ours.

The exceptions themselves stay whole (`handler.error.__traceback__` has every frame),
and cells still end with a real `error` output, so that automatic runs fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import linecache
import sys
import sysconfig
import traceback
from pathlib import Path
from types import MethodType, TracebackType
from typing import Any

from stepwell import StepwellError

from .errors import MagicError

_HERE = str(Path(__file__).resolve().parent.parent)
_PYTHON = sysconfig.get_path("stdlib")
_ASYNCIO = str(Path(asyncio.__file__).resolve().parent)
_RED, _DIM, _OFF = "\x1b[31m", "\x1b[2m", "\x1b[0m"
# How a rewritten magic cell begins; a line nobody wrote is shown to nobody.
REWRITTEN = "await __import__('sys').modules['stepwell.notebook.magics'].run_cell("
_RENDER = "_render_traceback_"


def shorten(error: BaseException) -> None:
    """Let a cell show this exception with its user's frames only.

    IPython asks an exception for `_render_traceback_`; it is set on this one object
    and changes nothing else about it.
    """
    if not hasattr(error, _RENDER):
        with contextlib.suppress(AttributeError, TypeError):
            setattr(error, _RENDER, MethodType(_user_lines, error))


def install(*roots: type[BaseException]) -> None:
    """Let cells show the errors of these trees as their message alone."""
    for root in (StepwellError, *roots):
        if _RENDER not in vars(root):
            setattr(root, _RENDER, _short_lines)


def install_rag() -> None:
    """Do the same for the errors of `stepwell.rag`, if it has been imported."""
    module = sys.modules.get("stepwell.rag.errors")
    root = getattr(module, "RagError", None)
    if isinstance(root, type) and issubclass(root, BaseException):
        install(root)


def user_frames(trace: TracebackType | None) -> list[TracebackType]:
    """The parts of a traceback that are not stepwell's own and not asyncio's."""
    found = []
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        line = linecache.getline(file, trace.tb_lineno)
        ours = file.startswith((_HERE, _ASYNCIO)) or "concurrent/futures" in file
        ours = ours or line.startswith((REWRITTEN, "get_ipython().run_"))
        if not ours and "IPython" not in file:
            found.append(trace)
        trace = trace.tb_next
    return found


def _is_library(part: TracebackType) -> bool:
    """Whether a frame is of Python's own library or of an installed package."""
    file = part.tb_frame.f_code.co_filename
    return file.startswith(_PYTHON) or "site-packages" in file


def _short_lines(error: BaseException) -> list[str]:
    """An error of ours: its message, notes, and the user's line it came from."""
    lines = [f"{_RED}{type(error).__name__}{_OFF}: {error}"]
    lines += getattr(error, "__notes__", [])
    frames = user_frames(error.__traceback__)
    # A magic's mistake is in the line above it, not in any line of Python.
    if frames and not isinstance(error, MagicError):
        mine = [part for part in frames if not _is_library(part)] or frames
        last = traceback.extract_tb(mine[-1], limit=1)[0]
        if last.line:
            lines.append(
                f"{_DIM}{_place(last.filename)}line {last.lineno}: {last.line}{_OFF}"
            )
    return lines


def _user_lines(error: BaseException) -> list[str]:
    """A user's exception, shown as IPython shows any, without the frames between."""
    whole: dict[int, tuple[BaseException, TracebackType | None]] = {}
    link: BaseException | None = error
    while link is not None and id(link) not in whole:
        whole[id(link)] = (link, link.__traceback__)
        link = link.__cause__ or (
            None if link.__suppress_context__ else link.__context__
        )
    try:
        for one, trace in whole.values():
            one.__traceback__ = _joined(user_frames(trace)) or trace
        return _as_ipython_shows(error)
    finally:
        for one, trace in whole.values():
            one.__traceback__ = trace


def _joined(frames: list[TracebackType]) -> TracebackType | None:
    joined: TracebackType | None = None
    for part in reversed(frames):
        joined = TracebackType(joined, part.tb_frame, part.tb_lasti, part.tb_lineno)
    return joined


def _as_ipython_shows(error: BaseException) -> list[str]:
    from .kernel import current_shell

    shell: Any = current_shell()
    with contextlib.suppress(Exception):
        made = shell.InteractiveTB.structured_traceback(
            type(error), error, error.__traceback__
        )
        return [str(line) for line in made]
    return "".join(traceback.format_exception(error)).splitlines()


def _place(file: str) -> str:
    """A file's name for people; a cell's made-up file name says nothing to them."""
    from .kernel import cell_name

    return f"{cell_name(file)}, "
