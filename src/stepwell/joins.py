"""Events that wait for others inside a run, until a set of them is whole.

For `ctx.collect_events` and for steps with several event parameters. Plain data
that `machine` keeps and changes; lists of events are gathered in `calls`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence

from stepwell.events import Event
from stepwell.signature import StepSpec

__all__ = ["Join", "Place"]

# A returned list, by the number of the call that returned it, and a place in it.
Place = tuple[int, int]


class Join:
    """Events of one set, as far as they have come.

    Attributes:
        step: The step that waits for the set.
        buffer_id: Tells joins of one step apart; empty for its event parameters.
        expected: The classes of the set, one entry an event.
        given: The object that they were last given as.
        missing: How many events the next whole set still lacks.
        have: The events kept, by class, with the place each came from.
        need: How many of each class make a set.
        recoveries: How often handlers have helped on the ways of these events.
    """

    __slots__ = (
        "_overlaps",
        "buffer_id",
        "expected",
        "given",
        "have",
        "missing",
        "need",
        "recoveries",
        "step",
    )

    def __init__(
        self, step: StepSpec, buffer_id: str, expected: Sequence[type[Event]]
    ) -> None:
        self.step = step
        self.buffer_id = buffer_id
        self.given = expected
        self.expected = list(expected)
        self.need = Counter(self.expected)
        self.have: dict[type[Event], deque[tuple[Place | None, Event]]] = {
            kind: deque() for kind in self.need
        }
        self.missing = len(self.expected)
        self.recoveries: Mapping[str, int] = {}
        # Whether one event may do for several of the parameters.
        self._overlaps = (
            not buffer_id
            and step.accept_event_subclasses
            and any(
                issubclass(a, b) for a in self.need for b in self.need if a is not b
            )
        )

    def is_of(self, expected: Sequence[type[Event]]) -> bool:
        """Whether this is the list it was last given, the very object."""
        return self.given is expected and len(expected) == len(self.expected)

    def add(self, event: Event, place: Place | None, *, again: bool = False) -> None:
        """Keep an event; `again` says that its call may have added it before."""
        kind: type[Event] | None = type(event)
        if self._overlaps or kind not in self.have:
            kind = self._kind(event)
            if kind is None:
                return
        held = self.have[kind]
        if again and any(e is event for _, e in held):
            return
        held.append((place, event))
        if len(held) <= self.need[kind]:
            self.missing -= 1

    def _kind(self, event: Event) -> type[Event] | None:
        """The class of the set that an event is to stand for."""
        fits = [kind for kind in self.have if isinstance(event, kind)]
        lacking = [kind for kind in fits if len(self.have[kind]) < self.need[kind]]
        # The narrowest, to leave the wider ones to events that fit nowhere else.
        return max(lacking or fits, key=lambda kind: len(kind.__mro__), default=None)

    def rest(self) -> list[tuple[Place | None, Event]]:
        """What is kept, by class, with the place each came from."""
        return [pair for held in self.have.values() for pair in held]

    @property
    def lacking(self) -> list[type[Event]]:
        """The classes of which a begun set lacks events; none if nothing has come."""
        if not any(self.have.values()):
            return []
        return [kind for kind, n in self.need.items() if len(self.have[kind]) < n]

    def take(self) -> list[tuple[Place | None, Event]]:
        """One whole set, in the order of `expected`; what is surplus stays."""
        sets: dict[type[Event], deque[tuple[Place | None, Event]]] = {}
        for kind, count in self.need.items():
            held = self.have[kind]
            if len(held) == count:
                self.have[kind] = deque()
                taken = list(held)
            else:
                taken = [held.popleft() for _ in range(count)]
            sets[kind] = _in_order(taken)
        if self._overlaps:
            rest = self.rest()
            self.have = {kind: deque() for kind in self.need}
            self.missing = len(self.expected)
            for place, event in rest:
                self.add(event, place)
        else:
            short = (n - len(self.have[kind]) for kind, n in self.need.items())
            self.missing = sum(n for n in short if n > 0)
        if len(sets) == 1:
            return list(sets.popitem()[1])
        return [sets[kind].popleft() for kind in self.expected]


def _in_order(
    taken: list[tuple[Place | None, Event]],
) -> deque[tuple[Place | None, Event]]:
    """By arrival; the events of one returned list by their place in it."""
    first = taken[0][0]
    if first is not None:
        number = first[0]
        if all(place is not None and place[0] == number for place, _ in taken):
            taken.sort(key=lambda pair: pair[0] or ())
    return deque(taken)
