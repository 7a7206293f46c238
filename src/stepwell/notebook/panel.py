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
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, ref

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
from .faces import Face, StillFace, UpdatingFace
from .parts import StepView, short_repr
from .view import OVER, RunView

PERIOD = 0.11
# Letters that all panels together send in a second, in the long run. Servers drop
# whatever comes from a kernel that sends a million bytes a second.
MOST_LETTERS = 500_000
# The part of its time that an event loop may spend on painting a panel.
MOST_TIME = 0.2
log = logging.getLogger("stepwell.notebook")
_numbers = itertools.count(1)


class RunPanel:
    """Everything shown of one run, in however many cells.

    Args:
        handler: The run. It is kept by the panel only while that follows it.
    """

    def __init__(self, handler: WorkflowHandler) -> None:
        self.prefix = f"sw-r{next(_numbers)}"
        self.name = name_of(handler)
        self.view = RunView(self.name)
        self.cells: set[str] = set()
        self.final: dict[str, Any] | None = None
        self.final_brief: dict[str, Any] | None = None
        self._brief: set[str] = set()
        self._workflow = handler.workflow
        self._handler_ref = ref(handler)
        self._diagram: Diagram | None = None
        self._faces: dict[str, Face] = {}
        self._following: asyncio.Task[None] | None = None
        self._hurry: asyncio.Future[None]
        self._state: dict[str, str] = {}
        # Painted again not before then, by `time.monotonic()`.
        self._rests_until = 0.0
        self._has_failed = False
        self._has_read_all = False
        _by_record[handler.record] = self

    @property
    def _handler(self) -> WorkflowHandler | None:
        """The run, unless it is over and shown to be, or nobody has it any more."""
        return None if self.final is not None else self._handler_ref()

    @property
    def state(self) -> str:
        """What has become of the run; empty where nobody has seen it end."""
        handler = self._handler
        if handler is not None:
            return handler.status
        return self.view.state if self.final is not None else ""

    @property
    def has_form(self) -> bool:
        """Whether somebody can answer here while a cell awaits the run."""
        shows = any(face.takes_answers for face in self._faces.values())
        return shows and kernel.hears_widgets_while_awaiting()

    @property
    def diagram(self) -> Diagram:
        """The workflow's graph, laid out when first needed."""
        if self._diagram is None:
            self._diagram = diagram_of(self._workflow)
            for name in self._diagram.steps_in_order():
                self.view.steps.setdefault(name, StepView(name))
        return self._diagram

    def follow(self) -> None:
        """Begin to read the run's stream; needs the run's event loop."""
        handler = self._handler
        if self._following is None and handler is not None:
            self._take_over(handler.resumed_from)
            self._run_id = handler.run_id
            output.lead_here(self._run_id, echo=chosen.echo)
            handler.record.was_read = True  # so nobody need be told to read it
            handler.ctx.store.watch(self._state_changed)
            self._state_changed("")
            self._hurry = asyncio.get_running_loop().create_future()
            self._following = asyncio.get_running_loop().create_task(
                self._follow(handler), name=f"stepwell panel {self.prefix}"
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
        handler = self._handler
        if handler is None:
            kernel.show(self.final or {}, display_id)
            return
        if awaited:
            self._brief.add(display_id)
        bundle: dict[str, Any] = {"text/plain": markup.one_line(self.view)}
        face: Face = StillFace(bundle)
        with self._harmless():
            self._look(handler)
            made = self._new_face(display_id, awaited=awaited)
            bundle = made.bundle(self.view)
            face = made
        self._show(face, bundle, display_id)

    def show_still(self, cell: str, bundle: dict[str, Any]) -> None:
        """Show the run as it stands in this cell, and how it ended when it has."""
        self.cells.add(cell)
        self._show(StillFace(bundle), bundle, f"{self.prefix}-{len(self.cells)}")

    def _show(self, face: Face, bundle: dict[str, Any], display_id: str) -> None:
        kernel.show(bundle, display_id)
        self._faces[display_id] = face
        _live.add(self)
        self.follow()

    def show_final(self, cell: str) -> None:
        """Show how the run ended in the cell that awaited it, if nothing is there."""
        if cell not in self.cells and self.final_brief is not None:
            self.cells.add(cell)
            kernel.show(self.final_brief, f"{self.prefix}-{len(self.cells)}")

    async def wait_for_end(self) -> None:
        """Wait until the run is over and its displays are frozen."""
        self.follow()
        if self._following is None:
            return
        loop = self._following.get_loop()
        if loop is not asyncio.get_running_loop():
            # It was displayed where another loop runs than the run's own.
            there = asyncio.run_coroutine_threadsafe(self.wait_for_end(), loop)
            return await asyncio.wrap_future(there)
        if not self._hurry.done():
            self._hurry.set_result(None)
        await asyncio.wait({self._following})

    def _new_face(self, display_id: str, *, awaited: bool) -> Face:
        module = _widgets()
        if module is None:
            return UpdatingFace(self.diagram, display_id, display_id)
        heard = kernel.hears_widgets_while_awaiting if awaited else lambda: True
        face: Face = module.WidgetFace(self.diagram, display_id, self, is_heard=heard)
        return face

    def stop(self) -> None:
        """Cancel the run, because somebody pressed the button for it."""
        self._cancel("the Stop button was pressed")

    def dismiss(self, question: Question) -> None:
        """Cancel the run, because somebody does not want to answer."""
        asked = short_repr(question.prompt)
        self._cancel(f"{asked} was not answered: Cancel was pressed")

    def send(self, question: Question, event: Event) -> str:
        """Answer a question; gives what is wrong, or nothing."""
        handler = self._handler
        if handler is None or question not in handler.questions:
            return "This was answered already."
        try:
            handler.send_event(event)
        except StepwellError as error:
            return str(error)
        return ""

    def _cancel(self, reason: str) -> None:
        handler = self._handler
        if handler is not None:
            task = asyncio.get_running_loop().create_task(
                handler.cancel_run(reason=reason)
            )
            _kept.add(task)
            task.add_done_callback(_kept.discard)

    async def _follow(self, handler: WorkflowHandler) -> None:
        reader = asyncio.create_task(self._read(handler))
        try:
            while not reader.done() or not handler.is_done():
                if reader.done():
                    self._has_read_all = True
                    await asyncio.sleep(0.01)
                else:
                    await asyncio.wait({reader}, timeout=PERIOD)
                self._paint(handler)
            if not reader.cancelled() and reader.exception() is not None:
                log.debug("the panel lost the stream", exc_info=reader.exception())
        finally:
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
            with self._harmless():
                self.view.apply(event, call_id)
            if ran_dry.is_set() and not self._hurry.done():
                await asyncio.wait({self._hurry}, timeout=PERIOD / 2)
                ran_dry.clear()
                loop.call_soon(ran_dry.set)

    def _look(self, handler: WorkflowHandler) -> None:
        """Take state and clock from the handler.

        A run counts as over when all of its stream has been read too: the view ends
        what is still open then.
        """
        state, error, result = handler.status, handler.error, ""
        if state in OVER and not self._has_read_all:
            state, error = "running", None
        elif state == "done" and handler.is_done() and error is None:
            value = handler.result()
            result = "" if value is None else short_repr(value)
        self.view.observe(
            state,
            handler.elapsed,
            error=error,
            result=result,
            questions=handler.questions,
            amounts=handler.record.amounts,
            stale=handler.is_stale,
        )

    def _state_changed(self, path: str) -> None:
        """Note what has changed in the run's state; called from inside its steps."""
        handler = self._handler
        if handler is None:
            return
        state = handler.ctx.store.current
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
        self.view.change_state(handler.elapsed, call_id, values)

    def _paint(self, handler: WorkflowHandler) -> None:
        begun = time.monotonic()
        if not self._faces or begun < self._rests_until:
            return
        letters = 0
        with self._harmless():
            self._look(handler)
            letters = sum([face.paint(self.view) for face in self._faces.values()])
        now = time.monotonic()
        self._rests_until = now + max(
            PERIOD / 2, letters * len(_live) / MOST_LETTERS, (now - begun) / MOST_TIME
        )

    @contextmanager
    def _harmless(self) -> Iterator[None]:
        """What goes wrong in here is logged once, and ends nobody's run."""
        try:
            yield
        except Exception:
            level = logging.DEBUG if self._has_failed else logging.WARNING
            log.log(level, "a run's panel could not be painted", exc_info=True)
            self._has_failed = True

    def _freeze(self, handler: WorkflowHandler) -> None:
        self._has_read_all = True
        self._take_rest(handler)
        output.let_go(self._run_id)
        handler.ctx.store.unwatch(self._state_changed)
        _live.discard(self)
        final: dict[str, Any] = {"text/plain": repr(handler)}
        brief = final
        with self._harmless():
            self._look(handler)
            final = static_bundle(self.view, self.diagram, self.prefix)
            brief = static_bundle(self.view, self.diagram, self.prefix, brief=True)
        for display_id, face in self._faces.items():
            bundle = brief if display_id in self._brief else final
            with self._harmless():
                face.close(bundle.get("text/html", ""))
                kernel.show_again(bundle, display_id)
        self._faces.clear()
        self.final, self.final_brief = final, brief
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
    panel, cell = panel_of(handler), kernel.current_cell()
    watched = not kernel.is_headless()
    if watched and chosen.panel == "live":
        panel.show_live(cell)
        return
    if cell in panel.cells:
        return  # awaited in the same cell, and so shown there
    bundle = panel.final
    if bundle is None:
        now = RunView.of_steps(panel.view.name, panel.diagram.steps_in_order())
        now.take_calls(handler.record)
        now.observe(handler.status, handler.elapsed, error=handler.error)
        bundle = static_bundle(now, panel.diagram, panel.prefix)
        if watched:
            return panel.show_still(cell, bundle)
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
# Panels that are being painted.
_live: WeakSet[RunPanel] = WeakSet()
