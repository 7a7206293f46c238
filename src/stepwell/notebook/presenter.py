"""What stands between an awaited run and its cell: the panel, the interrupt, the error.

Registered by `install` through `stepwell.present_with`. A cell shows at most a few
panels; further runs of the same cell share one line. Panels themselves are in
`panel`, the looks of errors in `tracebacks`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from stepwell import WorkflowHandler

from . import kernel, tracebacks
from .errors import WorkflowInterrupted
from .escaping import escaped
from .markup import STATE_COLOURS
from .panel import PERIOD, RunPanel, name_of, panel_of
from .timeline import seconds

MOST_PANELS = 4
MOST_CELLS = 16
PATIENCE = 0.15
# A loop that sleeps does not hear an interrupt: wake it this often.
TICK = 0.2
_numbers = itertools.count(1)


async def present(handler: WorkflowHandler, outcome: Coroutine[Any, Any, Any]) -> Any:
    """Await a run's outcome and show the run meanwhile.

    Raises:
        WorkflowInterrupted: Somebody interrupted the cell; the run is cancelled.
    """
    cell = kernel.current_cell()
    room = _room_of(cell)
    shown = room.admit(handler)
    task = asyncio.ensure_future(outcome)
    with kernel.noticing_interrupt() as interrupted:
        try:
            await asyncio.wait({task}, timeout=PATIENCE)
            if not task.done() and shown is not None and not kernel.is_headless():
                shown.show_live(cell, awaited=True)
                room.panels_due -= 1
            while not task.done():
                await asyncio.wait({task}, timeout=TICK if shown else PERIOD)
                room.paint()
        except asyncio.CancelledError:
            if not interrupted():
                task.cancel()
                await _ended(task)
                raise
            await handler.cancel_run(reason="the cell was interrupted")
            await _ended(task)
            await _end(room, shown, cell)
            raise _interrupted(handler) from None
    await _end(room, shown, cell)
    error = None if task.cancelled() else task.exception()
    if error is not None:
        tracebacks.install_rag()
        tracebacks.shorten(error)
    return task.result()


async def _ended(task: asyncio.Future[Any]) -> None:
    """Wait for a task, and see its exception, or asyncio would print it later."""
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


async def _end(room: _Room, shown: RunPanel | None, cell: str) -> None:
    if shown is not None:
        await shown.wait_for_end()
        if cell not in shown.cells:
            room.panels_due -= 1
        shown.show_final(cell)
    room.paint()


def _interrupted(handler: WorkflowHandler) -> WorkflowInterrupted:
    return WorkflowInterrupted(
        f"the cell was interrupted, so the run of {name_of(handler)} was cancelled "
        f"after {seconds(handler.elapsed)}.",
        hint="Run the cell again to start over.",
    )


class _Room:
    """What one cell shows: a few panels, and a line for the runs beyond them."""

    def __init__(self) -> None:
        self.panels = 0
        # Panels that were granted and are not in the page yet; the line comes last.
        self.panels_due = 0
        self._crowd: list[WorkflowHandler] = []
        self._ended: Counter[str] = Counter()
        self._display_id = f"sw-crowd-{next(_numbers)}"
        self._painted_at = 0.0
        self._painted = ""

    def admit(self, handler: WorkflowHandler) -> RunPanel | None:
        """Give the run a panel, or None where it joins the line of further runs."""
        panel = panel_of(handler)
        if panel.cells and panel.final is not None:
            return panel
        if self.panels < MOST_PANELS:
            self.panels += 1
            self.panels_due += 1
            panel.follow()
            return panel
        self._crowd.append(handler)
        return None

    def paint(self, *, now: bool = False) -> None:
        """Show the line of further runs, seldom enough not to flood the page."""
        if not self._crowd and not self._ended:
            return
        if not now and self.panels_due > 0:
            return
        if not now and time.monotonic() - self._painted_at < PERIOD:
            return
        self._ended.update(h.status for h in self._crowd if h.is_done())
        self._crowd = [h for h in self._crowd if not h.is_done()]
        counts = self._ended + Counter(h.status for h in self._crowd)
        words = " · ".join(f"{n} {state}" for state, n in counts.items())
        text = f"and {counts.total()} more runs: {words}"
        if text == self._painted:
            return
        pills = " ".join(
            f'<span style="color:{STATE_COLOURS.get(state, "#6b7280")};'
            'font-weight:600">'
            f"{n} {escaped(state)}</span>"
            for state, n in counts.items()
        )
        html = (
            '<div style="font:13px/1.6 var(--jp-ui-font-family,system-ui,sans-serif);'
            'color:var(--jp-ui-font-color1,inherit);padding:2px">'
            f"and {counts.total()} more runs: {pills}</div>"
        )
        bundle = {"text/html": html, "text/plain": text}
        show = kernel.show_again if self._painted else kernel.show
        show(bundle, self._display_id)
        self._painted, self._painted_at = text, time.monotonic()


def flush() -> None:
    """Bring the lines of further runs up to date; called when a cell has ended."""
    for room in _rooms.values():
        room.paint(now=True)


def _room_of(cell: str) -> _Room:
    if cell not in _rooms:
        _rooms[cell] = _Room()
        while len(_rooms) > MOST_CELLS:
            del _rooms[next(iter(_rooms))]
    return _rooms[cell]


_rooms: dict[str, _Room] = {}
