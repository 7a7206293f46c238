"""The live panel and the forms made of widgets; the only file that imports ipywidgets.

Widgets change their values in place, so the page keeps its graph while colours and
counts change. What they hold comes from `markup`, `story` and `forms`; when to show,
paint and freeze is decided in `panel`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import ipywidgets

from stepwell import Event, Question

from . import markup, story
from .colours import ACCENT, DARK_PAGES, badge_style, mark_of
from .diagram import Diagram
from .escaping import escaped
from .forms import Field, Form, form_of
from .view import RunView


class Acts(Protocol):
    """What people may do to a run by its panel; called on the run's loop."""

    def stop(self) -> None:
        """Cancel the run."""
        ...

    def send(self, question: Question, event: Event) -> str:
        """Answer a question; gives what is wrong, or nothing."""
        ...

    def dismiss(self, question: Question) -> None:
        """Cancel the run, because of a question."""
        ...


class _Text(ipywidgets.HTML):  # type: ignore[misc, unused-ignore]
    """HTML whose repr does not spill its content into exported documents."""

    def __repr__(self) -> str:
        return "<run panel part>"


class _Panel(ipywidgets.VBox):  # type: ignore[misc, unused-ignore]
    """The whole panel; its repr is one line."""

    said = "<run panel>"

    def __repr__(self) -> str:
        return str(self.said)


# Where the keys are, and the arrow of a choice, which is black on dark pages too.
_ARROW = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' width='18' "
    "height='18'%3E%3Cpath fill='none' stroke='%23bbb' stroke-width='1.6' "
    "d='M5 7l4 4 4-4'/%3E%3C/svg%3E"
)
_STYLE = (
    f"<style>.sw-panel :focus-visible{{outline:2px solid {ACCENT};outline-offset:1px}}"
    # Else long lines are cut off where they should end in dots.
    ".sw-panel .widget-html-content{min-width:0}"
    # Heard, not seen: labels that are not displayed name nothing.
    ".sw-panel .widget-label{position:absolute;width:1px!important;height:1px;"
    "padding:0;overflow:hidden;clip-path:inset(50%);white-space:nowrap}"
    + "".join(
        f'{page} .sw-panel{{--jp-widgets-dropdown-arrow:url("{_ARROW}")}}'
        for page in DARK_PAGES
    )
    + "</style>"
)
# Panels of runs that are over, the last ones.
_ended: list[_Panel] = []
_MOST_ENDED = 20


class WidgetFace:
    """A run's live panel: header with a stop button, forms, graph, timeline, logs.

    Args:
        diagram: The workflow's graph.
        prefix: Makes the classes in the page unique.
        acts: What pressing a button does.
        is_heard: Says whether what people do to widgets reaches this kernel while the
            cell goes on; as long as it does not, no form pretends that it would.
    """

    def __init__(
        self,
        diagram: Diagram,
        prefix: str,
        acts: Acts,
        *,
        is_heard: Callable[[], bool] = lambda: True,
    ) -> None:
        self._diagram = diagram
        self._prefix = prefix
        self._loop = asyncio.get_running_loop()
        self._acts = acts
        self._is_heard = is_heard
        self.takes_answers = is_heard()
        self._forms: dict[Question, _FormBox] = {}
        self._changes = -1
        self._ticks = 0
        self._rows = 0
        layout = ipywidgets.Layout
        self._header = _Text(layout=layout(flex="1 1 auto"))
        self._button = ipywidgets.Button(
            description="Stop",
            icon="stop",
            tooltip="Cancel this run",
            layout=layout(width="92px", height="26px", flex="0 0 auto"),
        )
        self._button.on_click(self._pressed)
        if not self.takes_answers:
            self._button.layout.display = "none"
        self._asking = ipywidgets.VBox(layout=layout(margin="0"))
        self._questions = _Text()
        self._progress = _Text()
        self._told = _Text()
        self._graph = _Text(_STYLE + markup.graph_html(diagram, prefix))
        self._style = _Text(layout=layout(display="none"))
        self._timeline = _Text()
        self._log = _Text()
        if markup.is_beside(diagram):
            self._graph.layout = layout(
                flex=f"0 1 {markup.graph_column(diagram):.0f}px", margin="0 16px 0 0"
            )
            story = ipywidgets.VBox(
                [self._progress, self._timeline, self._told, self._log],
                layout=layout(flex="1 1 360px", min_width="0"),
            )
            body = ipywidgets.Box(
                [self._graph, story],
                layout=layout(
                    display="flex", flex_flow="row wrap", align_items="flex-start"
                ),
            )
        else:
            body = ipywidgets.VBox(
                [self._graph, self._progress, self._timeline, self._told, self._log]
            )
        body.layout.overflow = "hidden"
        top = ipywidgets.HBox(
            [self._header, self._button],
            layout=layout(align_items="center", justify_content="space-between"),
        )
        self.widget = _Panel(
            [top, self._questions, self._asking, body, self._style],
            layout=layout(
                max_width=f"{markup.WIDEST:.0f}px",
                overflow="hidden",
                padding="4px 2px",
            ),
        )
        self.widget.add_class("sw-panel")

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

    def paint(self, view: RunView) -> int:
        """Send what changed since the last time; called by the panel's one loop."""
        now = {self._header: markup.header_html(view)}
        changed = view.changes != self._changes
        if changed:
            self._changes = view.changes
            told = bool(view.output or view.texts)
            # Room that bars have taken they keep: nothing jumps between two loops.
            self._rows = max(self._rows, story.progress_rows(view))
            lines = 10 if markup.is_beside(self._diagram) else 5
            now |= {
                self._style: markup.style_rules(view, self._diagram, self._prefix),
                self._log: markup.live_log_html(view, lines=4 if told else lines),
                self._told: story.told_html(view),
                self._progress: story.progress_html(view, rows=self._rows),
            }
            self._ask(view)
        elif view.questions and not self.takes_answers:
            self._ask(view)
        for form in self._forms.values():
            form.paint(view)
        self._ticks += 1
        # Running bars grow with time alone; half the rate is plenty for those.
        if changed or self._ticks % 2 == 0:
            now[self._timeline] = markup.timeline_html(
                view, self._diagram, self._prefix
            )
        letters = 0
        for part, html in now.items():
            if part.value != html:
                part.value = html
                letters += len(html)
        return letters

    def _ask(self, view: RunView) -> None:
        """Show a form for each question that is open, and no other."""
        if not self.takes_answers and self._is_heard():
            # The page has opened a channel for it since.
            self.takes_answers, self._button.layout.display = True, None
            self._questions.value = ""
        if not self.takes_answers:
            how = "Type the answer into the input box of the cell that waits."
            self._questions.value = story.questions_html(view, how=how)
            return
        if list(self._forms) == view.questions:
            return
        for question in [q for q in self._forms if q not in view.questions]:
            _close(self._forms.pop(question).widget)
        for question in view.questions:
            if question not in self._forms:
                box = _FormBox(form_of(question), self._loop, self._acts)
                self._forms[question] = box
        self._asking.children = [form.widget for form in self._forms.values()]

    def close(self, html: str) -> None:
        """Show how the run ended, and give most widgets back to page and kernel.

        One that shows the end is kept, for the last runs: a page that was opened again
        meanwhile is reached by its widgets alone.
        """
        left = self.widget.children
        self.widget.children = [_Text(html)]
        for widget in left:
            _close(widget)
        _ended.append(self.widget)
        if len(_ended) > _MOST_ENDED:
            _close(_ended.pop(0))

    def _pressed(self, _: Any) -> None:
        # On some kernels this is another thread: only the loop may touch the run.
        self._loop.call_soon_threadsafe(self._begin_stop)

    def _begin_stop(self) -> None:
        self._button.description, self._button.disabled = "Stopping", True
        self._acts.stop()


def _close(widget: ipywidgets.Widget) -> None:
    left: list[ipywidgets.Widget] = [widget]
    while left:
        one = left.pop()
        left += getattr(one, "children", ())
        one.close()


# The page tells of the Enter key first, and then what stands in the field. Seconds.
_SETTLED = 0.2


class _FormBox:
    """One question with its fields; lives until it is answered, by whomever."""

    def __init__(self, form: Form, loop: asyncio.AbstractEventLoop, acts: Acts) -> None:
        self._form = form
        self._loop = loop
        self._acts = acts
        layout = ipywidgets.Layout
        self._meta = _Text()
        self._wrong = {field.name: _Text() for field in form.fields}
        self._wrong[""] = _Text()
        self._controls: dict[str, ipywidgets.Widget] = {}
        prompt = _Text(
            f'<div style="{story.TEXT};font-weight:600;white-space:pre-wrap;'
            f'overflow-wrap:anywhere">{escaped(form.prompt)}</div>'
        )
        rows: list[ipywidgets.Widget] = []
        buttons = [self._button(label, value) for label, value in form.buttons]
        if not buttons:
            rows = [self._row(field) for field in form.fields]
            send = ipywidgets.Button(
                description="Send", button_style="primary", layout=layout(width="92px")
            )
            send.on_click(lambda _: self._soon(self._submit))
            buttons = [send]
        cancel = ipywidgets.Button(
            description="Cancel",
            tooltip="Stop the run instead of answering",
            layout=layout(width="92px"),
        )
        cancel.on_click(lambda _: self._soon(self._dismiss))
        self._buttons = [*buttons, cancel]
        self.widget = ipywidgets.VBox(
            [
                prompt,
                self._meta,
                *rows,
                self._wrong[""],
                ipywidgets.HBox(self._buttons, layout=layout(flex_flow="row wrap")),
            ],
            layout=layout(
                border_left=f"3px solid {mark_of('waiting')}",
                padding="4px 10px",
                margin="6px 0",
                max_width="640px",
            ),
        )

    def paint(self, view: RunView) -> None:
        """Say who asks, and how long there is to answer."""
        self._meta.value = (
            f'<div style="{story.PALE};font-size:12px;line-height:18px">'
            f"{escaped(story.who_asks(self._form.question, view))}</div>"
        )

    def _button(self, label: str, value: Any) -> ipywidgets.Widget:
        """A button that is the whole answer."""
        field = self._form.fields[0]
        button = ipywidgets.Button(
            description=label,
            button_style="primary" if value == field.default else "",
            layout=ipywidgets.Layout(width="auto", min_width="72px"),
        )
        button.on_click(lambda _: self._soon(self._send, {field.name: value}))
        return button

    def _row(self, field: Field) -> ipywidgets.Widget:
        control = self._controls[field.name] = _control(field, self._form.prompt)
        if isinstance(control, ipywidgets.Text):
            # The Enter key; `on_submit`, which says the same, is deprecated.
            control.on_msg(self._heard)
        label = _Text(
            f'<div style="{story.TEXT}">{escaped(field.label)}'
            f"{' *' if field.required and len(self._form.fields) > 1 else ''}"
            f'<span style="{story.PALE};font-size:12px"> {escaped(field.help)}</span>'
            "</div>"
        )
        shown = [label] if field.label or field.help else []
        return ipywidgets.VBox([*shown, control, self._wrong[field.name]])

    def _heard(self, _: Any, content: Any, buffers: Any) -> None:
        if isinstance(content, dict) and content.get("event") == "submit":
            self._soon(self._loop.call_later, _SETTLED, self._submit)

    def _soon(self, act: Callable[..., object], *args: Any) -> None:
        # On some kernels this is another thread: only the loop may touch the run.
        self._loop.call_soon_threadsafe(act, *args)

    def _submit(self) -> None:
        self._send({name: control.value for name, control in self._controls.items()})

    def _send(self, values: dict[str, Any]) -> None:
        if self._buttons[0].disabled:
            return
        event, wrong = self._form.read(values)
        if event is not None:
            problem = self._acts.send(self._form.question, event)
            wrong = {"": problem} if problem else {}
        for name, text in self._wrong.items():
            said = wrong.get(name, "")
            text.value = said and (
                f'<div role="alert" style="{story.TEXT};font-size:12px;'
                f'line-height:18px;white-space:pre-wrap">{_WRONG} {escaped(said)}</div>'
            )
        if not wrong:
            self._rest()

    def _dismiss(self) -> None:
        self._rest()
        self._acts.dismiss(self._form.question)

    def _rest(self) -> None:
        for widget in [*self._buttons, *self._controls.values()]:
            widget.disabled = True


_WRONG = f'<span style="{badge_style("failed")};padding:0 6px">!</span>'


def _control(field: Field, prompt: str) -> ipywidgets.Widget:
    """What a field is filled in with."""
    layout = ipywidgets.Layout(width="auto", max_width="520px")
    # The name that screen readers say; what is seen stands above, with its help.
    name = field.label or prompt
    if field.kind == "yes/no" or field.choices:
        options = list(field.choices) or [("Yes", True), ("No", False)]
        values = [value for _, value in options]
        index = values.index(field.default) if field.default in values else None
        if len(options) > 5:
            return ipywidgets.Dropdown(
                options=options, index=index, layout=layout, description=name
            )
        # All in a row, where the page knows how.
        return ipywidgets.RadioButtons(
            options=options,
            index=index,
            layout=layout,
            orientation="horizontal",
            description=name,
        )
    kind, hint = ipywidgets.Text, {"number": "a number", "json": "JSON"}
    if field.kind == "secret":
        kind = ipywidgets.Password
    elif field.kind in ("long text", "json"):
        kind = ipywidgets.Textarea
    return kind(
        value=field.typed,
        placeholder=hint.get(field.kind, ""),
        # Letters that are sent one by one arrive after the button that sends them.
        continuous_update=False,
        layout=layout,
        description=name,
    )
