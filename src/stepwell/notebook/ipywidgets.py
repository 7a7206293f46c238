"""The live panel made of widgets; the only file that imports ipywidgets.

Widgets change their values in place, so the page keeps its graph while colours and
counts change. What they hold comes from `markup`; when to show, paint and freeze is
decided in `panel`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import ipywidgets

from . import markup
from .diagram import Diagram
from .view import RunView


class _Text(ipywidgets.HTML):  # type: ignore[misc, unused-ignore]
    """HTML whose repr does not spill its content into exported documents."""

    def __repr__(self) -> str:
        return "<run panel part>"


class _Panel(ipywidgets.VBox):  # type: ignore[misc, unused-ignore]
    """The whole panel; its repr is one line."""

    said = "<run panel>"

    def __repr__(self) -> str:
        return str(self.said)


class WidgetFace:
    """A run's live panel: header with a stop button, graph, timeline, log.

    Args:
        diagram: The workflow's graph.
        prefix: Makes the classes in the page unique.
        stop: Called on the run's loop when somebody presses Stop.
    """

    def __init__(self, diagram: Diagram, prefix: str, stop: Callable[[], None]) -> None:
        self._diagram = diagram
        self._prefix = prefix
        self._loop = asyncio.get_running_loop()
        self._stop = stop
        self._changes = -1
        self._ticks = 0
        layout = ipywidgets.Layout
        self._header = _Text(layout=layout(flex="1 1 auto"))
        self._button = ipywidgets.Button(
            description="Stop",
            icon="stop",
            tooltip="Cancel this run",
            layout=layout(width="92px", height="26px", flex="0 0 auto"),
        )
        self._button.on_click(self._pressed)
        self._graph = _Text(markup.graph_html(diagram, prefix))
        self._style = _Text(layout=layout(display="none"))
        self._timeline = _Text()
        self._log = _Text()
        if markup.is_beside(diagram):
            self._graph.layout = layout(
                flex=f"0 1 {markup.graph_column(diagram):.0f}px", margin="0 16px 0 0"
            )
            story = ipywidgets.VBox(
                [self._timeline, self._log],
                layout=layout(flex="1 1 360px", min_width="0"),
            )
            body = ipywidgets.Box(
                [self._graph, story],
                layout=layout(
                    display="flex", flex_flow="row wrap", align_items="flex-start"
                ),
            )
        else:
            body = ipywidgets.VBox([self._graph, self._timeline, self._log])
        body.layout.overflow = "hidden"
        top = ipywidgets.HBox(
            [self._header, self._button],
            layout=layout(align_items="center", justify_content="space-between"),
        )
        self.widget = _Panel(
            [top, body, self._style],
            layout=layout(max_width="1000px", overflow="hidden", padding="4px 2px"),
        )

    def bundle(self, view: RunView) -> dict[str, Any]:
        """The widget with a static picture beside it, for viewers without widgets."""
        self.paint(view)
        self.widget.said = markup.one_line(view)
        bundle = dict(self.widget._repr_mimebundle_())
        bundle["text/plain"] = markup.one_line(view)
        bundle["text/html"] = markup.whole_html(
            view, self._diagram, prefix=self._prefix
        )
        return bundle

    def paint(self, view: RunView) -> None:
        """Send what changed since the last time; called by the panel's one loop."""
        self._header.value = markup.header_html(view)
        changed = view.changes != self._changes
        if changed:
            self._changes = view.changes
            self._style.value = markup.style_rules(view, self._diagram, self._prefix)
            lines = 10 if markup.is_beside(self._diagram) else 5
            self._log.value = markup.live_log_html(view, lines=lines)
        self._ticks += 1
        # Running bars grow with time alone; half the rate is plenty for those.
        if changed or self._ticks % 2 == 0:
            self._timeline.value = markup.timeline_html(
                view, self._diagram, self._prefix
            )

    def close(self) -> None:
        """Give the widgets back to the page and the kernel."""
        left: list[ipywidgets.Widget] = [self.widget]
        while left:
            widget = left.pop()
            left += getattr(widget, "children", ())
            widget.close()

    def _pressed(self, _: Any) -> None:
        # On some kernels this is another thread: only the loop may touch the run.
        self._loop.call_soon_threadsafe(self._begin_stop)

    def _begin_stop(self) -> None:
        self._button.description, self._button.disabled = "Stopping", True
        self._stop()
