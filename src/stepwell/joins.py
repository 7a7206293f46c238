"""What is waited for inside a run: events for a join, and events for a call.

Plain data that `machine` keeps and changes; nothing here decides.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

from stepwell.events import Event
from stepwell.steps import Branch, StepCall, StepSpec

__all__ = ["Join", "Wait"]


class Join:
    """Events that one `collect_events` has gathered so far.

    Attributes:
        missing: How many events the next whole set still lacks.
        have: The events kept, by class, with the branch each came on.
        need: How many of each class make a set.
    """

    __slots__ = ("buffer_id", "expected", "have", "missing", "need", "step")

    def __init__(
        self, step: StepSpec, buffer_id: str, expected: Sequence[type[Event]]
    ) -> None:
        self.step = step
        self.buffer_id = buffer_id
        self.expected = list(expected)
        self.need = Counter(self.expected)
        self.have: dict[type[Event], deque[tuple[Branch | None, Event]]] = {
            kind: deque() for kind in self.need
        }
        self.missing = len(self.expected)

    def add(self, event: Event, branch: Branch | None, again: bool) -> None:
        """Keep an event; `again` says that its call may have added it before."""
        kind = type(event)
        if kind not in self.have:
            kind = next((k for k in self.have if isinstance(event, k)), kind)
        held = self.have.get(kind)
        if held is None or (again and any(e is event for _, e in held)):
            return
        held.append((branch, event))
        if len(held) <= self.need[kind]:
            self.missing -= 1

    @property
    def lacking(self) -> list[type[Event]]:
        """The classes of which a begun set lacks events; none if nothing has come."""
        if not any(self.have.values()):
            return []
        return [kind for kind, n in self.need.items() if len(self.have[kind]) < n]

    def take(self) -> list[Event]:
        """One whole set, in the order of `expected`; what is surplus stays."""
        sets: dict[type[Event], deque[Event]] = {}
        for kind, count in self.need.items():
            held = self.have[kind]
            sets[kind] = _in_order([held.popleft() for _ in range(count)])
        self.missing = sum(max(0, n - len(self.have[k])) for k, n in self.need.items())
        return [sets[kind].popleft() for kind in self.expected]


def _in_order(taken: list[tuple[Branch | None, Event]]) -> deque[Event]:
    """By arrival; the events of one returned list by their place in it."""
    fanouts = {branch.fanout if branch else None for branch, _ in taken}
    if len(fanouts) == 1 and None not in fanouts:
        taken.sort(key=lambda pair: pair[0].index if pair[0] else 0)
    return deque(event for _, event in taken)


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
