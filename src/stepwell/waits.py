"""What a run waits for: calls for events, and questions for their answers.

Plain data that `machine` keeps and changes; nothing here decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stepwell.calls import NOTHING, StepCall
from stepwell.events import Event, WorkflowIdleEvent
from stepwell.questions import Question
from stepwell.signature import StepSpec

__all__ = ["NO_WAITS", "Wait", "Waits", "class_names"]

# Answers kept for a step that has not begun to wait for them.
_EARLY = 1_000


class Wait:
    """A call that is suspended until an event comes.

    Attributes:
        wait_id: Number of the wait within the run.
        call: The call that waits.
        kind: The class of event it waits for.
        requirements: Values that fields of the event must have.
        asks: Whether it asked somebody with an event of its own.
        timeout: Seconds it waits; None for ever.
        timer: The timer that ends it, 0 for none.
    """

    __slots__ = (
        "asks",
        "call",
        "kind",
        "requirements",
        "timeout",
        "timer",
        "wait_id",
    )

    def __init__(
        self,
        wait_id: int,
        call: StepCall,
        kind: type[Event],
        requirements: Mapping[str, Any],
        timeout: float | None = None,
    ) -> None:
        self.wait_id = wait_id
        self.call = call
        self.kind = kind
        self.requirements = requirements
        self.asks = False
        self.timeout = timeout
        self.timer = 0

    def fits(self, event: Event) -> bool:
        """Whether this is an event it waits for."""
        # isinstance, so that a class whose cell was run again still fits.
        kind = type(event)
        same = kind is self.kind or (
            isinstance(event, self.kind) and issubclass(self.kind, kind)
        )
        return same and all(
            getattr(event, name, None) == value
            for name, value in self.requirements.items()
        )


class _Again:
    """What a call that begins again need not wait for, and what it waited for.

    Attributes:
        call: The call.
        unread: The answers it got before and has not asked for again.
        awaited: Names of the classes it waited for when it was saved; until it comes
            to that again, such events are kept for it.
    """

    __slots__ = ("awaited", "call", "unread")

    def __init__(self, call: StepCall, awaited: Iterable[str]) -> None:
        self.call = call
        self.unread = list(call.past.answers)
        self.awaited = list(awaited)


class Waits:
    """All calls of a run that are suspended until an event comes.

    Attributes:
        open: The waits by their number, in the order in which they began.
        early: Answers that came before anybody waited for them.
        again: By number, the calls that begin again after they had waited.
        any: Whether there is any of `open` or `again`.
        questions: How many questions to people outside are without an answer.
        asking: Those of them that are known; a context that was saved has their
            number alone.
        asked: Whether there ever was one.
    """

    __slots__ = (
        "_waits_of_call",
        "again",
        "any",
        "asked",
        "asking",
        "early",
        "open",
        "questions",
    )

    def __init__(self) -> None:
        self.questions = 0
        self.asking: tuple[Question, ...] = ()
        self.asked = False
        self.clear()

    def ask(self, question: Question) -> None:
        """One question more."""
        self.asked = True
        self.questions += 1
        self.asking = (*self.asking, question)

    def answer(
        self, event: Event | None, wait: Wait | None, *, loosely: bool = False
    ) -> None:
        """One less; more answers than questions are no credit for the next one.

        Args:
            event: The answer, if there is one.
            wait: The wait that is over, if one is. A question that a wait has asked
                ends with it, and only so.
            loosely: Whether an event of another class than was expected answers too.
        """
        if not self.questions:
            return
        number = wait.wait_id if wait is not None and wait.asks else 0
        asking = [q for q in self.asking if q.wait_id == number]
        fitting = [q for q in asking if isinstance(event, q.answer_class)]
        over = next(iter(fitting or (asking if number or loosely else ())), None)
        if over is not None:
            self.asking = tuple(q for q in self.asking if q is not over)
        elif number or not loosely or self.questions == len(self.asking):
            return
        self.questions -= 1

    def clear(self) -> None:
        """Forget whatever is waited for."""
        self.asking = ()
        self.any = False
        self.open: dict[int, Wait] = NOTHING
        self.early: list[Event] | tuple[()] = ()
        self.again: dict[int, _Again] = NOTHING
        self._waits_of_call: dict[int, int] = NOTHING

    def add(self, wait: Wait) -> None:
        """Note that a wait has begun."""
        self.any = True
        if self.open is NOTHING:
            self.open, self._waits_of_call = {}, {}
        self.open[wait.wait_id] = wait
        call_id = wait.call.call_id
        self._waits_of_call[call_id] = self._waits_of_call.get(call_id, 0) + 1

    def remove(self, wait: Wait) -> bool:
        """Note that a wait is over; True says that its call waits no longer."""
        del self.open[wait.wait_id]
        self.any = bool(self.open or self.again)
        call_id = wait.call.call_id
        left = self._waits_of_call[call_id] - 1
        if left:
            self._waits_of_call[call_id] = left
            return False
        del self._waits_of_call[call_id]
        return True

    def of_call(self, call_id: int) -> list[Wait]:
        """The waits of one call."""
        return [w for w in self.open.values() if w.call.call_id == call_id]

    def fitting(self, event: Event) -> Wait | None:
        """The first wait that an event ends."""
        return next((w for w in tuple(self.open.values()) if w.fits(event)), None)

    def timed_by(self, timer: int) -> Wait | None:
        """The wait that a timer ends."""
        return next((w for w in self.open.values() if w.timer == timer), None)

    def keep(self, event: Event) -> None:
        """Keep an answer for whoever will wait for it."""
        self.early = [*self.early, event][-_EARLY:]

    def take_early(self, wait: Wait) -> Event | None:
        """An answer that came before the wait began; it is no longer kept."""
        return _take(self.early, wait) if self.early else None

    def begin_again(self, call: StepCall, awaited: Iterable[str] = ()) -> None:
        """Note that a call starts from the top, with the answers it has got."""
        if call.past.answers or awaited:
            if self.again is NOTHING:
                self.again = {}
            self.again[call.call_id] = _Again(call, awaited)
            self.any = True

    def forget(self, call_id: int) -> None:
        """Note that a call which began again has come to its end."""
        self.again.pop(call_id, None)
        self.any = bool(self.open or self.again)

    def take_unread(self, wait: Wait) -> Event | None:
        """What a call that begins again was answered before, if it was."""
        again = self.again.get(wait.call.call_id)
        if again is None:
            return None
        answer = _take(again.unread, wait)
        if answer is None:
            # It has come to what it was waiting for.
            names = class_names(wait.kind)
            name = next((name for name in again.awaited if name in names), None)
            if name is not None:
                again.awaited.remove(name)
        return answer

    def awaited_again(self, event: Event) -> list[StepSpec]:
        """The steps that waited for such an event and are on their way to it."""
        names = class_names(type(event))
        return [
            again.call.spec
            for again in self.again.values()
            if any(name in again.awaited for name in names)
        ]

    def awaited_by_call(self) -> dict[int, list[str]]:
        """Names of the classes that each call waits for, by its number."""
        found = {number: list(again.awaited) for number, again in self.again.items()}
        for wait in self.open.values():
            if wait.kind is not WorkflowIdleEvent:  # that stands for something else
                names = found.setdefault(wait.call.call_id, [])
                names.append(class_names(wait.kind)[0])
        return found


# Of runs that have waited for nothing. Not to be changed.
NO_WAITS = Waits()


def class_names(kind: type) -> tuple[str, str]:
    """The name of a class with its module; then as LlamaIndex writes nested ones."""
    return (
        f"{kind.__module__}.{kind.__qualname__}",
        f"{kind.__module__}.{kind.__name__}",
    )


def _take(kept: list[Event], wait: Wait) -> Event | None:
    """The first event that ends a wait; it is no longer kept."""
    for index, event in enumerate(kept):
        if wait.fits(event):
            del kept[index]
            return event
    return None
