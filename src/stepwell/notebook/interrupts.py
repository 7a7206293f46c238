"""The stop button: told to those who await a run, and to steps that never await.

ipykernel turns an interrupt of an awaiting cell into a cancellation of the cell's
task. That is not enough: it looks like the one that `asyncio.timeout` makes, and a
step that computes, or sleeps without awaiting, keeps the loop from ever hearing it.
What an awaited run makes of an interrupt is in `presenter`.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from .frames import Place, is_between, is_library, is_ours, place_of

# Seconds that a loop gets to hear of an interrupt, before what keeps it is stopped;
# how often that is tried, and for how long.
HEARD_WITHIN = 0.15
AGAIN_AFTER = 0.05
_MOST_TRIES = 100
# Passes of the loop until a cancellation has gone from the cell, through the tasks
# that it awaits, to the runs that those await.
_PASSES = 10
_LATELY = 1.0
_TASK = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE
_IN_LOOP = asyncio.Handle._run.__code__


class StepInterrupted(KeyboardInterrupt, asyncio.CancelledError):
    """Raised in a step that keeps the event loop to itself when the cell is stopped.

    A step may catch it as `KeyboardInterrupt`, to give back what it has by then. To
    asyncio it is a cancellation, and so stops one task; a mere `KeyboardInterrupt`
    would go on through the loop and end the kernel.
    """


def watch() -> None:
    """Stand before the kernel's handler of SIGINT until the cell at work ends.

    For cells that await: the kernel puts its handler there before they begin, and
    takes it away, with what stands before it, when they end.
    """
    _watch.begin()


def end() -> None:
    """The cell at work ends; its loop is not to be looked after any longer."""
    _watch.end()


def came() -> bool:
    """Whether the cell at work was interrupted."""
    return _watch.came


def came_just_now() -> bool:
    """Whether a cancellation that arrives now is that of an interrupt."""
    return _watch.is_spreading or time.monotonic() - _watch.spread_at < _LATELY


@contextlib.contextmanager
def awaiting() -> Iterator[None]:
    """Say that a run is awaited: what keeps it from being heard of is stopped too."""
    _watch.awaited += 1
    try:
        yield
    finally:
        _watch.awaited -= 1


def place_of_interrupt() -> Place | None:
    """Where the user's code was when it had to be stopped, in the cell at work."""
    return _watch.place


class _Watch:
    """Hears of SIGINT before the kernel does."""

    def __init__(self) -> None:
        self.came = False
        # When the loop last heard of an interrupt.
        self.spread_at = -_LATELY
        self.place: Place | None = None
        self.awaited = 0
        self._before: Any = None
        # Whether an interrupt has come, and those who await may not have heard of it.
        self.is_spreading = False
        self._interrupts = self._tries = 0
        # Held while a signal is sent, and none is sent once the cell has ended: the
        # kernel's own handler, which is there again then, would raise.
        self._sending = threading.Lock()
        self._sent = False

    def end(self) -> None:
        with self._sending:
            self.is_spreading = False

    def begin(self) -> None:
        self.end()
        self._sent = False
        self.came, self.spread_at, self.place = False, -_LATELY, None
        if threading.current_thread() is not threading.main_thread():
            return
        now = signal.getsignal(signal.SIGINT)
        if now != self._take:
            self._before = now
            signal.signal(signal.SIGINT, self._take)

    def _take(self, number: int, frame: FrameType | None) -> None:
        sent, self._sent = self._sent, False
        if sent or self.is_spreading:
            # Tried again by the timer, or pressed again: whatever runs keeps the loop.
            if self.is_spreading:
                self._stop(frame)
            return
        self.came, self.place = True, None
        with contextlib.suppress(RuntimeError):
            loop = asyncio.get_running_loop()
            self.is_spreading, self._tries = True, 0
            loop.call_soon_threadsafe(self._hear, loop, _PASSES)
            self._interrupts += 1
            self._look_later(HEARD_WITHIN, self._interrupts)
        if callable(self._before):
            self._before(number, frame)

    def _hear(self, loop: asyncio.AbstractEventLoop, passes: int) -> None:
        """The loop has made a pass since the interrupt came."""
        self.spread_at = time.monotonic()
        if passes > 0:
            loop.call_soon(self._hear, loop, passes - 1)
        else:
            self.is_spreading = False

    def _look_later(self, seconds: float, interrupt: int) -> None:
        timer = threading.Timer(seconds, self._look, (interrupt,))
        timer.daemon = True
        timer.start()

    def _look(self, interrupt: int) -> None:
        """Interrupt the main thread again if its loop is still kept; on a timer."""
        with self._sending:
            if interrupt != self._interrupts:
                return
            self._tries += 1
            if not self.is_spreading or self._tries > _MOST_TRIES:
                self.is_spreading = False
                return
            self._look_later(AGAIN_AFTER, interrupt)
            self._sent = True
            main = threading.main_thread().ident
            if main is not None and hasattr(signal, "pthread_kill"):
                signal.pthread_kill(main, signal.SIGINT)
            else:
                signal.raise_signal(signal.SIGINT)

    def _stop(self, frame: FrameType | None) -> None:
        """Stop the task at work, unless what is at work is not the user's."""
        place, in_step = _users_place(frame)
        if place is not None and (in_step or self.awaited):
            self.place = place
            raise StepInterrupted


def _users_place(frame: FrameType | None) -> tuple[Place | None, bool]:
    """Where the user's code is at work in a task, and whether for a run.

    Nowhere inside of stepwell, asyncio or the shell, whose state it would break.
    """
    place: Place | None = None
    in_task = False
    while frame is not None and frame.f_code is not _IN_LOOP:
        file = frame.f_code.co_filename
        if is_ours(file):
            # A step is awaited; what the engine calls by the way is not to be broken.
            is_step = place is not None and bool(frame.f_code.co_flags & _TASK)
            return place if is_step else None, is_step
        if place is None and is_between(file, frame.f_lineno):
            return None, False
        if place is None and not is_library(file):
            place = place_of(frame, frame.f_lineno)
        in_task = in_task or bool(frame.f_code.co_flags & _TASK)
        frame = frame.f_back
    return place if in_task else None, False


_watch = _Watch()
