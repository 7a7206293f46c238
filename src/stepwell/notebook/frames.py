"""Whose a frame of a traceback is, and the lines of source around it.

How errors look as a whole is in `tracebacks`.
"""

from __future__ import annotations

import asyncio
import linecache
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType

from . import kernel

_HERE = str(Path(__file__).resolve().parent.parent)
# Beside the engine: to the reader of a traceback, a library as others are.
_BESIDE = (str(Path(_HERE, "rag")), str(Path(_HERE, "testing")))
_PYTHON = sysconfig.get_path("stdlib")
_ASYNCIO = str(Path(asyncio.__file__).resolve().parent)
_BETWEEN = re.compile(
    r"[\\/](?:(?:IPython|ipykernel|tornado|concurrent[\\/]futures)[\\/]|threading\.py$)"
)
_PACKAGE = re.compile(r"(?:site|dist)-packages[\\/]([^\\/]+)")
_NESTING = re.compile(r"[\\/]nest_asyncio2?\.py$")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
# How a rewritten magic cell begins; a line nobody wrote is shown to nobody.
REWRITTEN = "await __import__('sys').modules['stepwell.notebook.magics'].run_cell("
MOST_COLUMNS = 160


@dataclass(frozen=True, slots=True)
class Place:
    """Where a frame of a traceback stands.

    Attributes:
        file: The file's name, as Python knows it.
        line: The line that was at work.
        function: The function, with its class; "" at the top of a cell.
        first: The line on which the function begins.
    """

    file: str
    line: int
    function: str
    first: int

    def name(self) -> str:
        """The place in words."""
        where = f"{kernel.cell_name(self.file)}, line {self.line}"
        return f"{where}, in {self.function}" if self.function else where

    def library(self) -> str:
        """The library that it is in, and where there."""
        found = _PACKAGE.search(self.file)
        if found:
            package = found[1].removesuffix(".py")
        elif self.file.startswith(_BESIDE):
            package = "stepwell." + Path(self.file).relative_to(_HERE).parts[0]
        elif self.file.startswith(_PYTHON):
            package = Path(self.file).relative_to(_PYTHON).parts[0].removesuffix(".py")
        else:
            package = Path(self.file).stem
        return f"{package} ({Path(self.file).name}, line {self.line})"

    def source(self) -> str:
        """The line that was at work."""
        return clean(linecache.getline(self.file, self.line).strip())

    def code(self, most: int) -> list[tuple[int, str]]:
        """The line that was at work and those above it, with their numbers."""
        first = max(self.line - most + 1, self.first, 1)
        lines = [
            (number, clean(linecache.getline(self.file, number).rstrip()))
            for number in range(first, self.line + 1)
        ]
        while lines and not lines[0][1].strip():
            del lines[0]
        return lines


def place_of(frame: FrameType, line: int) -> Place:
    """The place at which a frame is."""
    code = frame.f_code
    function = re.sub(r".*<locals>\.", "", code.co_qualname)
    if function.startswith("<module>") or function.startswith("<cell line"):
        function = ""
    return Place(code.co_filename, line, function, code.co_firstlineno)


def is_ours(file: str) -> bool:
    """Whether a file is of the engine or of the notebook wing."""
    return file.startswith(_HERE) and not file.startswith(_BESIDE)


def is_library(file: str) -> bool:
    """Whether a file is of Python's own library or of an installed package."""
    return (
        file.startswith((_PYTHON, *_BESIDE))
        or "site-packages" in file
        or "dist-packages" in file
        or file.startswith("<frozen ")
    )


def is_between(file: str, line: int) -> bool:
    """Whether a frame only carries on what others do: an event loop's, a shell's."""
    return (
        file.startswith(_ASYNCIO)
        or _BETWEEN.search(file) is not None
        or _NESTING.search(file) is not None
        or linecache.getline(file, line).startswith((REWRITTEN, "get_ipython().run_"))
    )


@dataclass(frozen=True, slots=True)
class Way:
    """The way that an exception took.

    Attributes:
        outer: Frames of the user up to the first of ours: the cell that awaits.
        inner: Frames of the user after that: the step, and what it called.
        library: The frame that raised, if it is in a library that the user called.
        through_us: Whether frames of ours are among them.
    """

    outer: list[Place]
    inner: list[Place]
    library: Place | None
    through_us: bool


def way_of(trace: TracebackType | None, *, in_step: bool = False) -> Way:
    """Sort the frames of a traceback.

    Args:
        trace: The traceback.
        in_step: Whether it is known to lead into a step.
    """
    outer: list[Place] = []
    inner: list[Place] = []
    others: list[Place] = []
    last: Place | None = None
    through_us = False
    for part in _parts(trace):
        file, line = part.tb_frame.f_code.co_filename, part.tb_lineno
        if is_ours(file):
            # What the engine raises is for whoever called it, so it is no library.
            through_us, last = True, None
        elif not is_between(file, line):
            place = place_of(part.tb_frame, line)
            if is_library(file):
                last = place
                others.append(place)
            else:
                last = None
                (inner if through_us else outer).append(place)
    if in_step and not inner and last is not None:
        # Steps that are installed, as a package: their frames are better than none.
        inner, last = others[-2:], None
    return Way(outer, inner, last, through_us)


def _parts(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def clean(text: str) -> str:
    """One line of text as it may be printed: no control characters, no endless line."""
    text = _ESCAPES.sub("", text[: 20 * MOST_COLUMNS]).replace("\t", "    ")
    shown = "".join(
        c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in text
    ).rstrip()
    return shown if len(shown) <= MOST_COLUMNS else f"{shown[: MOST_COLUMNS - 1]}…"
