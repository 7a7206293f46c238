"""How far a piece of work has come, told where somebody looks: Progress.

Inside a step it is told to the step's context, and so in the panel of the run; in a
notebook, as a bar below the cell; else as one line of stderr. It counts and tells,
and knows nothing of files or models. Files are counted in `readers.py`, chunks where
batches are made, passages where they are reranked.
"""

from __future__ import annotations

import contextvars
import sys
import threading
import time
from contextvars import ContextVar
from types import TracebackType
from typing import Any, ClassVar, Protocol, TextIO

from .looks import progress_line
from .steps import step_here

INTERVAL = 0.1
"""Seconds between two tellings of one piece of work, at least."""
UNASKED = 0.3
"""Seconds that work in a step takes before it tells of itself without being asked."""

_around: ContextVar[tuple[Progress, ...]] = ContextVar(
    "stepwell_rag_progress", default=()
)


class Progress:
    """Tells how far some work has come, such as ``12 of 40 files read``.

    Use it as a context manager, and call `advance` from any thread. After an error
    what was told last says how far the work had come. It tells no more than ten times
    a second, and the last count always.

    Args:
        what: What is counted and done with it, for instance ``"files read"``.
        total: How many there are; for none, nothing is told.
        shown: False tells nothing, except within a step: there, work that takes a
            while is told of, unless it is part of other work that is.
    """

    def __init__(self, what: str, total: int, *, shown: bool = True) -> None:
        self.what = what
        self.total = total
        self.done = 0
        self._shown = shown
        self._place: _Place | None = None
        self._lock = threading.Lock()
        self._due = 0.0
        self._told: int | None = None
        self._over = threading.Event()
        self._behind = False
        self._token: Any = None

    def __enter__(self) -> Progress:
        around = _around.get()
        self._place = self._find_place(around) if self.total else None
        if self._place is not None:
            self._began = time.monotonic()
            self._token = _around.set((*around, self))
            if self._shown:
                with self._lock:
                    self._tell()
            else:
                self._due = self._began + UNASKED
        return self

    def advance(self, by: int = 1) -> None:
        """Count `by` more as done; from any thread."""
        with self._lock:
            self.done += by
            if not by or self._place is None or self._over.is_set():
                # A request that was given up may still be answered: too late to tell.
                return
            if time.monotonic() >= self._due:
                self._tell()
            elif not self._behind:
                self._behind = True
                self._catch_up()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._over.set()
            if self._place is None:
                return
            _around.reset(self._token)
            if self._told is not None:
                self._place.end(self, failed=error is not None)

    @property
    def seconds(self) -> float:
        """How long the work has been going on."""
        return time.monotonic() - self._began

    def __str__(self) -> str:
        return f"{self.done} of {self.total} {self.what}"

    def _find_place(self, around: tuple[Progress, ...]) -> _Place | None:
        if (ctx := step_here()) is not None:
            # Part of other work: that tells already, unless this was asked for.
            return _Step(ctx) if self._shown or not around else None
        if not self._shown:
            return None
        stream = sys.stderr
        if stream is None:
            # A windowed program has none.
            return None
        if (display := _notebook_display()) is not None:
            return _Notebook(display)
        return _Terminal(stream) if stream.isatty() else _Log(stream)

    def _tell(self) -> None:
        assert self._place is not None
        self._place.tell(self)
        self._told = self.done
        self._due = time.monotonic() + INTERVAL

    def _catch_up(self) -> None:
        """Tell a count that came too soon after another, once its time has come."""

        def wait() -> None:
            while True:
                left = self._due - time.monotonic()
                if left <= 0 or self._over.wait(left):
                    break
            with self._lock:
                self._behind = False
                if not self._over.is_set() and self._told != self.done:
                    self._tell()

        # A copy of the context, by which Jupyter knows whose output it is.
        run = contextvars.copy_context().run
        thread = threading.Thread(target=run, args=(wait,), daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # Where there are no threads, the next count in time will be told.
            self._behind = False


class _Place(Protocol):
    """Where progress is told."""

    def tell(self, progress: Progress) -> None: ...

    def end(self, progress: Progress, *, failed: bool) -> None: ...


class _Step:
    """The context of the step at work, and so the panel of its run."""

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx

    def tell(self, progress: Progress) -> None:
        self._ctx.progress(progress.done, progress.total, progress.what)

    def end(self, progress: Progress, *, failed: bool) -> None:
        self.tell(progress)


class _Notebook:
    """A bar below the cell, which becomes a line that stays."""

    def __init__(self, display: Any) -> None:
        self._display = display

    def tell(self, progress: Progress) -> None:
        self._display.show(_html(progress, ""), str(progress))

    def end(self, progress: Progress, *, failed: bool) -> None:
        ending = "stopped" if failed else "over"
        self._display.show(_html(progress, ending), str(progress))


def _html(progress: Progress, ending: str) -> str:
    return progress_line(
        progress.what, progress.done, progress.total, progress.seconds, ending
    )


def _notebook_display() -> Any | None:
    """Return a place below the cell that runs; None where no notebook runs."""
    # Asked of what is loaded: whoever is in a notebook has IPython loaded.
    if "IPython" not in sys.modules:
        return None
    from .ipython import Below

    return Below.here()


class _Log:
    """A line at the beginning and one at the end, so that logs stay short."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._begun = False

    def tell(self, progress: Progress) -> None:
        if not self._begun:
            self._begun = True
            self._write(progress)

    def end(self, progress: Progress, *, failed: bool) -> None:
        self._write(progress)

    def _write(self, progress: Progress) -> None:
        self._stream.write(f"{progress}\n")
        self._stream.flush()


class _Terminal:
    """One line of a terminal that is written again and again.

    Work that goes on at once shares the line; what is over leaves a line of its own.
    """

    _at_work: ClassVar[list[Progress]] = []
    _lock: ClassVar[threading.Lock] = threading.Lock()
    _written: ClassVar[int] = 0

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def tell(self, progress: Progress) -> None:
        with self._lock:
            again = bool(self._at_work)
            if progress not in self._at_work:
                self._at_work.append(progress)
            self._write("\r" if again else "", self._line(), "")

    def end(self, progress: Progress, *, failed: bool) -> None:
        with self._lock:
            if progress in self._at_work:
                self._at_work.remove(progress)
            if progress.done != progress._told or self._at_work:
                self._write("\r", str(progress), "\n")
            else:
                self._write("", "", "\n")
            _Terminal._written = 0
            if self._at_work:
                self._write("", self._line(), "")

    def _line(self) -> str:
        return " · ".join(map(str, self._at_work))

    def _write(self, before: str, line: str, after: str) -> None:
        # Blanks over what is left of a longer line.
        blanks = " " * (_Terminal._written - len(line)) if line else ""
        self._stream.write(f"{before}{line}{blanks}{after}")
        self._stream.flush()
        if line:
            _Terminal._written = len(line)
