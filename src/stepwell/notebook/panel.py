"""The panel of a run: when it appears, is painted, and freezes; who may have one.

A `RunPanel` follows one run's stream into a `RunView` and repaints its displays a few
times a second; at the end each display becomes static HTML, which survives kernel
restarts, exports and viewers without widgets. What is shown is in `markup`, widgets
in `ipywidgets`, the hook that awaited runs pass through in `presenter`.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import logging
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from stepwell import (
    Context,
    Event,
    Question,
    RunRecord,
    StepwellError,
    WorkflowHandler,
    WorkflowRuntimeError,
)

from . import kernel, markup, output, story
from .choices import chosen
from .diagram import Diagram
from .parts import StepView, short_repr
from .view import RunView

PERIOD = 0.11
log = logging.getLogger("stepwell.notebook")
_numbers = itertools.count(1)


class Face(Protocol):
    """One live display of a run."""

    def bundle(self, view: RunView) -> dict[str, Any]:
        """What to show first."""
        ...

    def paint(self, view: RunView) -> None:
        """Bring the display up to date."""
        ...

    def close(self, html: str) -> None:
        """Show how the run ended, and let go of what the display holds."""
        ...


class UpdatingFace:
    """A live display without widgets: the whole HTML is sent again each time."""

    def __init__(self, diagram: Diagram, prefix: str, display_id: str) -> None:
        self._diagram = diagram
        self._prefix = prefix
        self._display_id = display_id
        self._changes = -1
        self._ticks = 0

    def bundle(self, view: RunView) -> dict[str, Any]:
        """The run as it stands, as HTML and in one line."""
        html = markup.whole_html(view, self._diagram, prefix=self._prefix, inline=True)
        return {"text/html": html, "text/plain": markup.one_line(view)}

    def paint(self, view: RunView) -> None:
        """Send it again, unless only its clock has moved."""
        self._ticks += 1
        if view.changes != self._changes or self._ticks % 8 == 0:
            self._changes = view.changes
            kernel.show_again(self.bundle(view), self._display_id)

    def close(self, html: str) -> None:
        """Nothing is held, and the end was shown as everything before."""


class RunPanel:
    """Everything shown of one run, in however many cells.

    Args:
        handler: The run. It is let go of when the run is over.
    """

    def __init__(self, handler: WorkflowHandler) -> None:
        self.prefix = f"sw-r{next(_numbers)}"
        self.name = name_of(handler)
        self.view = RunView(self.name)
        self.cells: set[str] = set()
        self.final: dict[str, Any] | None = None
        self.final_brief: dict[str, Any] | None = None
        self._brief: set[str] = set()
        self._handler: WorkflowHandler | None = handler
        self._diagram: Diagram | None = None
        self._faces: dict[str, Face] = {}
        self._following: asyncio.Task[None] | None = None
        self._hurry: asyncio.Future[None]
        self._state: dict[str, str] = {}
        _by_record[handler.record] = self

    @property
    def diagram(self) -> Diagram:
        """The workflow's graph, laid out when first needed."""
        if self._diagram is None:
            assert self._handler is not None
            self._diagram = diagram_of(self._handler.workflow)
            for name in self._diagram.steps_in_order():
                self.view.steps.setdefault(name, StepView(name))
        return self._diagram

    def follow(self) -> None:
        """Begin to read the run's stream; needs the run's event loop."""
        if self._following is None and self._handler is not None:
            self._take_over(self._handler.resumed_from)
            self._run_id = self._handler.run_id
            output.lead_here(self._run_id, echo=chosen.echo)
            self._handler.record.was_read = True  # so nobody need be told to read it
            self._handler.ctx.store.watch(self._state_changed)
            self._state_changed("")
            self._hurry = asyncio.get_running_loop().create_future()
            self._following = asyncio.get_running_loop().create_task(
                self._follow(self._handler), name=f"stepwell panel {self.prefix}"
            )

    def _take_over(self, earlier: WorkflowHandler | None) -> None:
        """Count what the runs that this one goes on from have done."""
        while earlier is not None:
            _ = self.diagram  # which knows the steps in their order
            self.view.keep(c.step for c in earlier.record if c.status == "done")
            earlier = earlier.resumed_from

    def show_live(self, cell: str, *, awaited: bool = False) -> None:
        """Show a display in this cell that follows the run, unless there is one.

        Args:
            cell: The cell it stands in.
            awaited: Whether the cell waits for the run and so shows its error itself.
        """
        if cell in self.cells:
            return
        self.cells.add(cell)
        display_id = f"{self.prefix}-{len(self.cells)}"
        if self.final is not None or self._handler is None:
            kernel.show(self.final or {}, display_id)
            return
        if awaited:
            self._brief.add(display_id)
        face = self._new_face(display_id, awaited=awaited)
        self._look(self._handler)
        kernel.show(face.bundle(self.view), display_id)
        self._faces[display_id] = face
        self.follow()

    def show_final(self, cell: str) -> None:
        """Show how the run ended in the cell that awaited it, if nothing is there."""
        if cell not in self.cells and self.final_brief is not None:
            self.cells.add(cell)
            kernel.show(self.final_brief, f"{self.prefix}-{len(self.cells)}")

    async def wait_for_end(self) -> None:
        """Wait until the run is over and its displays are frozen."""
        self.follow()
        if self._following is not None:
            if not self._hurry.done():
                self._hurry.set_result(None)
            await asyncio.wait({self._following})

    def _new_face(self, display_id: str, *, awaited: bool) -> Face:
        module = _widgets()
        if module is None:
            return UpdatingFace(self.diagram, display_id, display_id)
        heard = not awaited or kernel.hears_widgets_while_awaiting()
        face: Face = module.WidgetFace(self.diagram, display_id, self, is_heard=heard)
        return face

    def stop(self) -> None:
        """Cancel the run, because somebody pressed the button for it."""
        self._cancel("the Stop button was pressed")

    def dismiss(self, question: Question) -> None:
        """Cancel the run, because somebody does not want to answer."""
        self._cancel(f"{question.prompt!r} was not answered: Cancel was pressed")

    def send(self, question: Question, event: Event) -> str:
        """Answer a question; gives what is wrong, or nothing."""
        if self._handler is None or question not in self._handler.questions:
            return "This was answered already."
        try:
            self._handler.send_event(event)
        except StepwellError as error:
            return str(error)
        return ""

    def _cancel(self, reason: str) -> None:
        if self._handler is not None:
            task = asyncio.get_running_loop().create_task(
                self._handler.cancel_run(reason=reason)
            )
            _kept.add(task)
            task.add_done_callback(_kept.discard)

    async def _follow(self, handler: WorkflowHandler) -> None:
        _ = self.diagram
        reader = asyncio.create_task(self._read(handler))
        while not reader.done() or not handler.is_done():
            if reader.done():
                await asyncio.sleep(0.01)
            else:
                await asyncio.wait({reader}, timeout=PERIOD)
            self._paint(handler)
        if not reader.cancelled() and reader.exception() is not None:
            log.debug("the panel lost the stream", exc_info=reader.exception())
        self._freeze(handler)

    async def _read(self, handler: WorkflowHandler) -> None:
        """Fold the stream, many events at a time where they come fast.

        A callback that had the time to run says that the stream ran dry. Then events
        may gather for half a frame: a busy run is not disturbed for each of them.
        """
        loop = asyncio.get_running_loop()
        ran_dry = asyncio.Event()
        loop.call_soon(ran_dry.set)
        async for event, call_id in handler.record.follow():
            self.view.apply(event, call_id)
            if ran_dry.is_set() and not self._hurry.done():
                await asyncio.wait({self._hurry}, timeout=PERIOD / 2)
                ran_dry.clear()
                loop.call_soon(ran_dry.set)

    def _look(self, handler: WorkflowHandler) -> None:
        """Take state and clock from the handler."""
        result = ""
        if handler.status == "done" and handler.is_done() and handler.error is None:
            value = handler.result()
            result = "" if value is None else short_repr(value)
        self.view.observe(
            handler.status,
            handler.elapsed,
            error=handler.error,
            result=result,
            questions=handler.questions,
            amounts=handler.record.amounts,
            stale=handler.is_stale,
        )

    def _state_changed(self, path: str) -> None:
        """Note what has changed in the run's state; called from inside its steps."""
        if self._handler is None:
            return
        state = self._handler.ctx.store.current
        held = {**state.__dict__, **(state.__pydantic_extra__ or {})}
        keys = [path.split(".")[0]] if path else [*held, *(self._state.keys() - held)]
        values: dict[str, str | None] = {}
        for key in keys:
            shown = short_repr(held[key]) if key in held else None
            if shown != self._state.get(key):
                values[key] = shown
                if shown is None:
                    self._state.pop(key, None)
                else:
                    self._state[key] = shown
        try:
            call_id = Context.get_step_context().call_id
        except WorkflowRuntimeError:
            call_id = 0
        self.view.change_state(self._handler.elapsed, call_id, values)

    def _paint(self, handler: WorkflowHandler) -> None:
        if not self._faces:
            return
        self._look(handler)
        for display_id, face in list(self._faces.items()):
            try:
                face.paint(self.view)
            except Exception:
                # A picture that cannot be painted must not end anybody's run.
                log.warning("a run's panel could not be painted", exc_info=True)
                del self._faces[display_id]

    def _freeze(self, handler: WorkflowHandler) -> None:
        self._take_rest(handler)
        output.let_go(self._run_id)
        handler.ctx.store.watch(None)
        self._look(handler)
        self.final = static_bundle(self.view, self.diagram, self.prefix)
        self.final_brief = static_bundle(
            self.view, self.diagram, self.prefix, brief=True
        )
        for display_id, face in self._faces.items():
            bundle = self.final_brief if display_id in self._brief else self.final
            face.close(bundle["text/html"])
            kernel.show_again(bundle, display_id)
        self._faces.clear()
        self._handler = None
        self.view.error = None

    def give_output_back(self) -> None:
        """Let what the steps print go to the cell: there will be no panel for it."""
        output.let_go(self._run_id)
        for line in self.view.output:
            print(f"[{line.step}] {line.text}")

    def _take_rest(self, handler: WorkflowHandler) -> None:
        """Take what steps printed without an end of line, and nobody has seen yet."""
        for call_id, source, text in output.taken_so_far(self._run_id):
            step = next((b.step for b in self.view.bars if b.call_id == call_id), "")
            self.view.say(step, call_id, source, text, handler.elapsed)


def panel_of_record(record: RunRecord) -> RunPanel | None:
    """The panel of the run that has this record, if it was ever shown."""
    return _by_record.get(record)


def panel_of(handler: WorkflowHandler) -> RunPanel:
    """The one panel of a run, made when first asked for."""
    found = _panels.get(handler)
    if found is None:
        found = _panels[handler] = RunPanel(handler)
    return found


def static_bundle(
    view: RunView, diagram: Diagram, prefix: str, *, brief: bool = False
) -> dict[str, Any]:
    """A run as it stands, for display: HTML without scripts, and one line of text."""
    html = markup.whole_html(view, diagram, prefix=prefix, brief=brief)
    text = markup.one_line(view)
    said = story.told_lines(view)
    return {"text/html": html, "text/plain": f"{text}\n{said}" if said else text}


def show_handler(handler: WorkflowHandler) -> None:
    """Display a handler that is a cell's last value.

    Where somebody watches, that is the live panel. Headless runners ignore what
    comes after the cell, so there it is the run as it stands.
    """
    kernel.name_handler(handler)
    if chosen.panel == "off":
        return kernel.show_once({"text/plain": repr(handler)})
    panel = panel_of(handler)
    if not kernel.is_headless() and chosen.panel == "live":
        panel.show_live(kernel.current_cell())
        return
    cell = kernel.current_cell()
    if cell in panel.cells:
        return  # awaited in the same cell, and so shown there
    bundle = panel.final
    if bundle is None:
        now = RunView.of_steps(panel.view.name, panel.diagram.steps_in_order())
        now.take_calls(handler.record)
        now.observe(handler.status, handler.elapsed, error=handler.error)
        bundle = static_bundle(now, panel.diagram, panel.prefix)
    kernel.show(bundle, f"{panel.prefix}-now")


def diagram_of(workflow: Any) -> Diagram:
    """The graph of a workflow; laid out again only when the class has changed."""
    kind = type(workflow)
    picture = Diagram.picture_of(workflow)
    known = _diagrams.get(kind)
    if known is None or known.picture != picture:
        known = _diagrams[kind] = Diagram(picture)
    return known


def name_of(handler: WorkflowHandler) -> str:
    """The workflow's name for people."""
    return str(handler.workflow.workflow_name)


def _widgets() -> Any | None:
    try:
        return importlib.import_module(".ipywidgets", __package__)
    except ImportError:
        return None


_panels: WeakKeyDictionary[WorkflowHandler, RunPanel] = WeakKeyDictionary()
_by_record: WeakKeyDictionary[RunRecord, RunPanel] = WeakKeyDictionary()
_diagrams: WeakKeyDictionary[type, Diagram] = WeakKeyDictionary()
_kept: set[asyncio.Task[None]] = set()
