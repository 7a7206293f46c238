"""What stands between an awaited run and its cell: the panel, the interrupt, the error.

Registered by `install` through `stepwell.present_with`. A cell shows at most a few
panels; further runs of the same cell share one line. Panels themselves are in
`panel`, the looks of errors in `tracebacks`.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Coroutine
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from stepwell import WorkflowHandler

from . import interrupts, kernel, nesting, tracebacks
from .choices import chosen
from .crowd import Crowd
from .errors import StepExited, WorkflowInterrupted
from .frames import Place
from .inputs import Attendant
from .panel import RunPanel, name_of, panel_of
from .parts import short_repr
from .timeline import seconds

MOST_PANELS = 4
MOST_CELLS = 16
PATIENCE = 0.15
# A loop that sleeps does not hear an interrupt: wake it this often.
TICK = 0.2
# Seconds that an interrupted cell waits for the steps of its run to stop.
STOPPED_WITHIN = 0.2
# Seconds after which the engine waits no longer for a step to stop.
GRACE = 5.0


async def present(handler: WorkflowHandler, outcome: Coroutine[Any, Any, Any]) -> Any:
    """Await a run's outcome and show the run meanwhile.

    Raises:
        WorkflowInterrupted: Somebody interrupted the cell; the run is cancelled.
        StepExited: A step called `sys.exit()`, and not the cell's own task awaits.
    """
    if (notice := nesting.notice_unsafe_patch()) is not None:
        print(notice, file=sys.stderr)
    if chosen.panel == "off":
        room, cell = _Room(), ""
    else:
        cell = kernel.current_cell()
        room = _room_of(cell)
        room.admit(handler)
    kernel.name_handler(handler)
    handler.record.was_read = True  # the attendant sees to its questions
    attendant = Attendant(handler, lambda: room.has_form(handler))
    task = asyncio.ensure_future(_held(outcome))
    with interrupts.awaiting():
        try:
            await asyncio.wait({task}, timeout=PATIENCE)
            shown = room.panel_of(handler)
            live = chosen.panel == "live" and not kernel.is_headless()
            if not task.done() and shown is not None and live:
                shown.show_live(cell, awaited=True)
                room.note_shown(handler)
            while not task.done():
                attendant.look()
                await asyncio.wait({task}, timeout=TICK)
                room.paint()
        except asyncio.CancelledError:
            if not interrupts.came_just_now():
                task.cancel()
                await _ended(task)
                raise
            place = interrupts.place_of_interrupt()
            going_on = _steps_going_on(handler, stopped=place is not None)
            asked = [question.prompt for question in handler.questions]
            await handler.cancel_run(
                reason="the cell was interrupted", timeout=STOPPED_WITHIN
            )
            if not handler.is_done():
                # It swallows its cancellation; its panel freezes when it has ended.
                _left.add(task)
                task.add_done_callback(_see)
                room.paint()
            else:
                await _ended(task)
            if place is None or handler.status in ("cancelled", "running", "waiting"):
                if handler.is_done():
                    await _end(room, handler, cell)
                error = _interrupted(handler, going_on, asked, place)
                tracebacks.shorten(error)
                raise error from None
            # A step took the interrupt as its own, and gave or raised what it would.
            _uncancel()
        finally:
            attendant.leave()
    await _end(room, handler, cell)
    failure = None if task.cancelled() else task.exception()
    if failure is not None:
        tracebacks.shorten(failure, handler)
    value, exit_of_step = task.result()
    if exit_of_step is None:
        return value
    tracebacks.shorten(exit_of_step, handler)
    if kernel.awaits_cell():
        raise exit_of_step
    raise StepExited(exit_of_step) from None


async def _held(
    outcome: Coroutine[Any, Any, Any],
) -> tuple[Any, KeyboardInterrupt | SystemExit | None]:
    """The outcome; what would end the kernel, were a task to raise it, beside it."""
    try:
        return await outcome, None
    except (KeyboardInterrupt, SystemExit) as raised:
        return None, raised


def _uncancel() -> None:
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


def _see(task: asyncio.Future[Any]) -> None:
    """See how a task ended, or asyncio would print it."""
    _left.discard(task)
    if not task.cancelled():
        task.exception()


async def _ended(task: asyncio.Future[Any]) -> None:
    """Wait for a task, and see its exception, or asyncio would print it later."""
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


async def _end(room: _Room, handler: WorkflowHandler, cell: str) -> None:
    shown = room.panel_of(handler)
    if shown is not None:
        await shown.wait_for_end()
        room.note_shown(handler)
        shown.show_final(cell)
    room.paint()


def _steps_going_on(handler: WorkflowHandler, *, stopped: bool) -> list[str]:
    """Names of the steps that are at work, or were until they were stopped."""
    wanted = {"running", "cancelled"} if stopped else {"running"}
    return list(dict.fromkeys(c.step for c in handler.record if c.status in wanted))


def _interrupted(
    handler: WorkflowHandler,
    going_on: list[str],
    asked: list[str],
    place: Place | None,
) -> WorkflowInterrupted:
    """The error of an interrupted cell: what was stopped, where, how it may go on."""
    name = name_of(handler)
    if handler.status == "done":
        return WorkflowInterrupted(
            f"the cell was interrupted when the run of {name} had just ended.",
            hint="`await _handler` gives its result."
            if kernel.is_named(handler)
            else None,
            workflow=name,
        )
    steps = ", ".join(f"`{step}`" for step in going_on[:4])
    more = f" and {len(going_on) - 4} more" if len(going_on) > 4 else ""
    where = f", in {steps}{more}" if steps else ""
    if asked and not steps:
        where = f", while it waited for an answer to {short_repr(asked[0])}"
    said = [
        f"the cell was interrupted, so the run of {name} was cancelled after "
        f"{seconds(handler.elapsed)}{where}."
    ]
    if place is not None and place.source():
        said.append(f"{place.name()}: {place.source()}")
    in_threads = [step for step in going_on if _is_in_thread(handler, step)]
    if in_threads:
        names = ", ".join(f"`{step}`" for step in in_threads[:4])
        said.append(
            f"{names} runs in a thread, which cannot be stopped: it goes on until it "
            "returns, and nobody takes what it returns."
        )
    hint = "Run the cell again to start over."
    if not handler.is_done():
        said.append(f"{steps} swallows its cancellation and has not stopped yet.")
        if kernel.is_named(handler):
            hint = (
                f"After {GRACE:.0f} seconds at most it is left to itself; then `await "
                "_handler.resume()` goes on from there."
            )
    elif kernel.can_resume(handler):
        hint = f"`await _handler.resume()` goes on from there. {hint}"
    return WorkflowInterrupted(
        "\n".join(said),
        hint=hint,
        workflow=name,
        step=going_on[0] if going_on else None,
    )


def _is_in_thread(handler: WorkflowHandler, step: str) -> bool:
    """Whether the body of a step is a plain function."""
    function = inspect.unwrap(getattr(type(handler.workflow), step, None) or print)
    return inspect.isfunction(function) and not inspect.iscoroutinefunction(function)


class _Room:
    """What one cell shows: a few panels, or a table of many runs, or both.

    Runs that begin together and are many share the table, all of them; those of a
    loop have panels until there are too many.
    """

    def __init__(self) -> None:
        # Weakly, as runs and their results are not kept for having been shown.
        self._panels: WeakKeyDictionary[WorkflowHandler, RunPanel] = WeakKeyDictionary()
        self._granted = 0
        # Panels that are granted and not in the page yet; the table comes after them.
        self._due: WeakSet[WorkflowHandler] = WeakSet()
        self._crowd = Crowd()

    def admit(self, handler: WorkflowHandler) -> None:
        """Take a run in that the cell awaits."""
        panel = panel_of(handler)
        if handler in self._panels or (panel.cells and panel.final is not None):
            self._panels[handler] = panel
        elif self._granted < MOST_PANELS and not len(self._crowd):
            self._granted += 1
            self._panels[handler] = panel
            self._due.add(handler)
            panel.follow()
        else:
            for early in list(self._due):
                self._granted -= 1
                self._panels.pop(early).give_output_back()
                self._crowd.add(early, name_of(early))
            self._crowd.is_rest = bool(self._granted)
            self._due.clear()
            self._crowd.add(handler, name_of(handler))

    def panel_of(self, handler: WorkflowHandler) -> RunPanel | None:
        """The run's panel; None where it stands in the table."""
        return self._panels.get(handler)

    def has_form(self, handler: WorkflowHandler) -> bool:
        """Whether the run has a panel in which people can answer what it asks."""
        panel = self._panels.get(handler)
        return panel is not None and panel.has_form

    def note_shown(self, handler: WorkflowHandler) -> None:
        """Note that a panel is in the page, or need not be."""
        self._due.discard(handler)

    def paint(self, *, now: bool = False) -> None:
        """Bring the table up to date."""
        if now or not self._due:
            self._crowd.paint(now=now)


def flush() -> None:
    """Bring the tables of runs up to date; called when a cell has ended."""
    for room in _rooms.values():
        room.paint(now=True)


def _room_of(cell: str) -> _Room:
    if cell not in _rooms:
        _rooms[cell] = _Room()
        while len(_rooms) > MOST_CELLS:
            del _rooms[next(iter(_rooms))]
    return _rooms[cell]


_rooms: dict[str, _Room] = {}
# Interrupted runs whose steps have not stopped yet.
_left: set[asyncio.Future[Any]] = set()
