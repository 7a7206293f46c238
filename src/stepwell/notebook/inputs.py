"""Questions to people asked in the cell's input box, where widgets are not heard.

The box works in an awaiting cell on every kernel. What a form consists of is in
`forms`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from stepwell import Event, Question, StepwellError, WorkflowHandler

from . import kernel
from .forms import Field, Form, form_of
from .parts import short_repr

__all__ = ["Attendant", "ask"]

_boxes: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
# Seconds that a page has to open a channel for its widgets.
_HEARD_WITHIN = 1.5
_YES = {"y", "yes", "true", "1", "j", "ja", "oui", "si", "sí"}
# So many choices are named where one is to be typed.
_MOST_CHOICES = 30
_NO = {"n", "no", "false", "0", "nein", "non"}


class Attendant:
    """Has people asked what an awaited run asks, where no form of it is heard.

    Where nobody is there at all, the run ends: nothing waits for ever.

    Args:
        handler: The run.
        has_form: Says whether people can answer in a form. A run that stands in a
            table has none, nor has one that is not shown.
    """

    def __init__(self, handler: WorkflowHandler, has_form: Callable[[], bool]) -> None:
        self._handler = handler
        self._has_form = has_form
        self._task: asyncio.Task[None] | None = None
        self._question: Question | None = None
        # When that was first seen, and nothing was there to answer it in.
        self._seen_at = 0.0

    def look(self) -> None:
        """Ask what has not been asked yet; called again and again."""
        handler = self._handler
        if self._task is not None and not self._task.done():
            if self._question not in handler.questions:
                self._task.cancel()  # somebody has answered by code
            return
        asking = handler.questions
        # Whoever reads the stream may be about to answer.
        if not asking or handler.record.audience or handler.status != "waiting":
            return
        if self._question is not asking[0]:
            self._question, self._seen_at = asking[0], time.monotonic()
        is_new = time.monotonic() - self._seen_at < _HEARD_WITHIN
        if kernel.is_headless():
            work = self._give_up(asking[0])
        elif self._has_form() or (is_new and kernel.may_yet_hear_widgets()):
            return
        else:
            work = self._ask(asking[0])
        self._task = asyncio.get_running_loop().create_task(work)

    def leave(self) -> None:
        """Ask no more: the run has ended, or nobody awaits it any longer."""
        if self._task is not None:
            self._task.cancel()

    async def _ask(self, question: Question) -> None:
        loop = asyncio.get_running_loop()
        # A cell has one input box, and other runs of it may ask too.
        async with _boxes.setdefault(loop, asyncio.Lock()):
            event = await ask(question)
        with contextlib.suppress(StepwellError):  # the run has ended meanwhile
            self._handler.send_event(event)

    async def _give_up(self, question: Question) -> None:
        kind, asked = type(question.event).__name__, short_repr(question.prompt)
        await self._handler.cancel_run(
            reason=f"{kind} asks {asked}, and nobody can answer here. Pass "
            "answers=… to run()"
        )


async def ask(question: Question) -> Event:
    """Ask for the answer's fields one by one, until they make an answer."""
    form = form_of(question)
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    while True:
        # What was right is not asked for again.
        fields = [field for field in form.fields if field.name in wrong] or form.fields
        for number, field in enumerate(fields):
            said = wrong.get(field.name) or (wrong.get("") if number == 0 else "")
            text = _words(form, field, first=number == 0, wrong=said or "")
            typed = await kernel.ask_line(text, secret=field.kind == "secret")
            values[field.name] = _meant(field, typed)
        event, wrong = form.read(values)
        if event is not None:
            return event


def _words(form: Form, field: Field, *, first: bool, wrong: str) -> str:
    parts = [f"({wrong})"] if wrong else []
    if first:
        parts.append(form.prompt)
    if field.label:
        parts.append(f"{field.label}:")
    if field.choices:
        labels = [label for label, _ in field.choices]
        more = len(labels) - _MOST_CHOICES
        listed = ", ".join(labels[:_MOST_CHOICES])
        listed += f" and {more} more" if more > 0 else ""
        parts.append(f"[{listed}]")
    elif field.kind == "yes/no":
        parts.append("[yes/no]")
    if field.default is not None:
        parts.append(f"(nothing for {short_repr(field.default)})")
    return " ".join(parts) + " "


def _meant(field: Field, typed: str) -> Any:
    """What was meant by some letters: a choice by its words or its number."""
    text = typed.strip()
    if not text:
        return field.default
    low = text.lower()
    if field.kind == "yes/no":
        return True if low in _YES else False if low in _NO else text
    for label, value in field.choices:
        if label.lower() == low:
            return value
    if field.choices and text.isdigit() and 0 < int(text) <= len(field.choices):
        return field.choices[int(text) - 1][1]
    return typed
