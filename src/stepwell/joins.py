"""Events that wait for others inside a run, until a set of them is whole.

For `ctx.collect_events` and for steps with several event parameters. Plain data
that `machine` keeps and changes; lists of events are gathered in `calls`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from stepwell.calls import Branch
from stepwell.events import Event
from stepwell.signature import StepSpec

__all__ = ["Join"]


class Join:
    """Events of one set, as far as they have come.

    Attributes:
        step: The step that waits for the set.
        buffer_id: Tells joins of one step apart; empty for its event parameters.
        expected: The classes of the set, one entry an event.
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

    def rest(self) -> list[Event]:
        """What is kept, by class."""
        return [event for held in self.have.values() for _, event in held]

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
