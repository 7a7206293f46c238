"""What a run waits for: calls for events, and questions for their answers.

Plain data that `machine` keeps and changes; nothing here decides.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from stepwell.calls import StepCall
from stepwell.events import Event

__all__ = ["Questions", "Wait", "Waits"]

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
        timer: The timer that ends it, 0 for none.
    """

    __slots__ = ("asks", "call", "kind", "requirements", "timer", "wait_id")

    def __init__(
        self,
        wait_id: int,
        call: StepCall,
        kind: type[Event],
        requirements: Mapping[str, Any],
    ) -> None:
        self.wait_id = wait_id
        self.call = call
        self.kind = kind
        self.requirements = requirements
        self.asks = False
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


class Waits:
    """All calls of a run that are suspended until an event comes.

    Attributes:
        open: The waits by their number, in the order in which they began.
        early: Answers that came before anybody waited for them.
    """

    def __init__(self) -> None:
        self.open: dict[int, Wait] = {}
        self.early: deque[Event] = deque(maxlen=_EARLY)
        self._waits_of_call: dict[int, int] = {}

    def add(self, wait: Wait) -> None:
        """Note that a wait has begun."""
        self.open[wait.wait_id] = wait
        call_id = wait.call.call_id
        self._waits_of_call[call_id] = self._waits_of_call.get(call_id, 0) + 1

    def remove(self, wait: Wait) -> bool:
        """Note that a wait is over; True says that its call waits no longer."""
        del self.open[wait.wait_id]
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

    def take_early(self, wait: Wait) -> Event | None:
        """An answer that came before the wait began; it is no longer kept."""
        early = next((event for event in self.early if wait.fits(event)), None)
        if early is not None:
            self.early.remove(early)
        return early

    def clear(self) -> None:
        """Forget everything."""
        self.open.clear()
        self.early.clear()
        self._waits_of_call.clear()


class Questions:
    """How many questions to people outside are without an answer.

    Attributes:
        open: The number of them.
        ever: Whether there ever was one.
    """

    __slots__ = ("ever", "open")

    def __init__(self) -> None:
        self.open = 0
        self.ever = False

    def ask(self) -> None:
        """One more."""
        self.ever = True
        self.open += 1

    def answer(self) -> None:
        """One less; more answers than questions are no credit for the next one."""
        self.open = max(0, self.open - 1)
