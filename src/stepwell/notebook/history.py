"""The record of a run as plain data within bounds: calls, moments, causes, amounts.

A moment is a call's beginning or end; the state of the run at each is what a reader
steps through. HTML is made in `chronicle`, the script that steps is in `replay`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import NamedTuple, Protocol

from stepwell import CallRecord

from .view import RunView

MOST_ROWS = 1_000
MOST_MOMENTS = 2_000
MOST_CHANGES = 2_000
MOST_AMOUNTS = 6
# How many calls are named where many have sent the events of one.
MOST_NAMED = 3
# The order in which they are read; whatever else was counted comes after them.
_KNOWN_AMOUNTS = ("prompt_tokens", "completion_tokens", "total_tokens", "cost")
ENDS = ("done", "failed", "cancelled", "retrying")


class Change(Protocol):
    """A change of a run's state: a value, as short text, that a key was given."""

    @property
    def at(self) -> float:
        """Seconds since the run began."""
        ...

    @property
    def call_id(self) -> int:
        """The call that made it."""
        ...

    @property
    def key(self) -> str:
        """Which part of the state."""
        ...

    @property
    def value(self) -> str:
        """What it became; empty where the key is gone."""
        ...


class Moment(NamedTuple):
    """A call's beginning, or its end with what became of it."""

    at: float
    call: CallRecord
    kind: str


def causes_of(calls: Iterable[CallRecord]) -> dict[int, tuple[int, ...]]:
    """The calls that each call has its events from, by its number.

    The record names one: for a step that takes a list, the call that returned the list
    whose items were worked on. Who sent the events themselves is worked out: the calls
    which that led to, and which gave such events before.
    """
    by_number = {call.call_id: call for call in calls}
    children: dict[int | None, list[CallRecord]] = {}
    for call in by_number.values():
        children.setdefault(call.caused_by, []).append(call)
    found: dict[int, tuple[int, ...]] = {}
    for call in by_number.values():
        source = call.caused_by
        known = () if source is None else (source,)
        senders: list[int] = []
        if call.input.startswith("list[") and call.started is not None:
            kinds = set(call.input[5:-1].split(" | "))
            way = [by_number[source]] if source in by_number else []
            way = way or list(children.get(source, ()))
            seen = {call.call_id}
            while way:
                here = way.pop()
                if here.call_id in seen or (here.started or 0.0) > call.started:
                    continue
                seen.add(here.call_id)
                if not kinds.isdisjoint(here.outputs):
                    senders.append(here.call_id)
                way += children.get(here.call_id, ())
        found[call.call_id] = tuple(sorted(senders)) or known
    return found


class History:
    """What a record tells, put in order and cut to what a page can hold.

    Args:
        name: The workflow's name.
        calls: The calls of the record, oldest first.
        changes: Changes of the state, oldest first.
        steps: Names of the steps in the order in which to show them.
        dropped: How many earlier calls the record no longer keeps.
        elapsed: Seconds the run took so far; worked out from its calls if not given.
    """

    def __init__(
        self,
        name: str,
        calls: Iterable[CallRecord],
        *,
        changes: Iterable[Change] = (),
        steps: Iterable[str] = (),
        dropped: int = 0,
        elapsed: float | None = None,
    ) -> None:
        self.name = name
        self.calls = list(calls)
        self.dropped = dropped
        self.steps = list(dict.fromkeys([*steps, *(c.step for c in self.calls)]))
        self.elapsed = last_time(self.calls) if elapsed is None else elapsed
        # Those that began last; calls that have not begun come after all others.
        latest = sorted(self.calls, key=lambda c: (c.started is None, c.started or 0.0))
        shown = {id(call) for call in latest[-MOST_ROWS:]}
        # So that two calls of a short run do not seem to begin at once.
        self.digits = 4 if self.elapsed < 1 else 3 if self.elapsed < 100 else 1
        self.rows = [call for call in self.calls if id(call) in shown]
        self.left_out = len(self.calls) - len(self.rows)
        moments = _moments(self.calls)
        cut = max(0, len(moments) - MOST_MOMENTS)
        self.before, self.moments = moments[:cut], moments[cut:]
        self._step_of = {call.call_id: call.step for call in self.calls}
        self.causes = causes_of(self.calls)
        amounts = {name for call in self.calls for name in amounts_of(call)}
        known = [name for name in _KNOWN_AMOUNTS if name in amounts]
        names = known + sorted(amounts - set(known))
        self.amounts, self.amounts_hidden = names[:MOST_AMOUNTS], names[MOST_AMOUNTS:]
        self.has_retries = any(c.attempt > 1 for c in self.calls) or self.retries > 0
        self.has_workers = any(call.worker > 0 for call in self.calls)
        self.changes = list(changes)

    @property
    def retries(self) -> int:
        """Attempts that failed and were tried again."""
        return sum(call.status == "retrying" for call in self.calls)

    @property
    def calls_made(self) -> int:
        """Calls that were started; attempts at one count once."""
        return len({call.call_id for call in self.calls if call.started is not None})

    @property
    def busy(self) -> float:
        """Seconds of all calls together."""
        return sum(call.duration or 0.0 for call in self.calls)

    def total(self, amount: str) -> float:
        """The sum of one amount over all calls."""
        return total(self.calls, amount)

    def cause(self, call: CallRecord) -> str:
        """Who sent the events of a call; empty for what came from outside."""
        causes = self.causes.get(call.call_id, ())
        if not causes:
            return ""
        numbers = ", ".join(f"#{number}" for number in causes[:MOST_NAMED])
        more = (
            f" and {len(causes) - MOST_NAMED} more" if len(causes) > MOST_NAMED else ""
        )
        steps = dict.fromkeys(self._step_of.get(number, "") for number in causes)
        return f"{numbers}{more} {', '.join(steps)}".rstrip()

    def counts_before(self) -> list[list[int]]:
        """By step, as `ENDS` and running, what was counted before the first moment."""
        running: Counter[str] = Counter()
        ended: Counter[tuple[str, str]] = Counter()
        for _, call, kind in self.before:
            running[call.step] += 1 if kind == "begin" else -1
            if kind != "begin":
                ended[call.step, kind] += 1
        return [[running[s], *(ended[s, end] for end in ENDS)] for s in self.steps]

    def placed_changes(self) -> list[tuple[int, Change]]:
        """Changes with the moment from which on they are seen, -1 before the first.

        It is the first moment after them, and never the beginning of their own call
        or one before: clocks may stand still meanwhile.
        """
        begins: dict[int, list[int]] = {}
        for number, moment in enumerate(self.moments):
            if moment.kind == "begin":
                begins.setdefault(moment.call.call_id, []).append(number)
        placed, place = [], -1 if self.before else 0
        for change in self.changes:
            if self.before and change.at <= self.before[-1].at:
                placed.append((-1, change))
                continue
            for begin in begins.get(change.call_id, ()):  # one for each attempt
                if self.moments[begin].at <= change.at:
                    place = max(place, begin + 1)
            while place < len(self.moments) and self.moments[place].at < change.at:
                place += 1
            placed.append((min(place, len(self.moments) - 1), change))
        return placed

    def state(self) -> dict[str, str]:
        """The state as the last changes left it; of keys that are gone, no text."""
        return {change.key: change.value for change in self.changes}


def view_of(
    name: str, calls: Sequence[CallRecord], steps: Iterable[str], elapsed: float
) -> RunView:
    """A run's calls as the pictures want them, all of them."""
    view = RunView.of_steps(name, steps)
    view.take_calls(calls)
    started = [call for call in calls if call.started is not None]
    for bar, call in zip(view.bars, started, strict=True):
        bar.event = call.input
    for step in view.steps.values():
        step.seconds = sum(c.duration or 0.0 for c in started if c.step == step.name)
    view.elapsed = elapsed
    return view


def last_time(calls: Iterable[CallRecord]) -> float:
    """When the last thing happened, in seconds since the run began."""
    return max((t for c in calls for t in (c.started, c.ended) if t), default=0.0)


def amounts_of(call: CallRecord) -> dict[str, float]:
    """What a call counted, as far as it is a number."""
    return {name: v for name, v in call.counts.items() if isfinite(v)}


def total(calls: Iterable[CallRecord], amount: str) -> float:
    """The sum of one amount over some calls."""
    return sum(amounts_of(call).get(amount, 0.0) for call in calls)


def amount_words(name: str, value: float) -> str:
    """An amount for people: dollars where it is a cost, else a number."""
    if name == "cost":
        digits = 2 if abs(value) >= 100 else 4
        return f"${value:,.{digits}f}" if value else "$0"
    if float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:,.3f}".rstrip("0").rstrip(".")


def _moments(calls: Iterable[CallRecord]) -> list[Moment]:
    found = []
    for call in calls:
        if call.started is not None:
            found.append(Moment(call.started, call, "begin"))
            if call.ended is not None and call.status in ENDS:
                found.append(Moment(call.ended, call, call.status))
    # Of what happens at one time, a call's end comes after its beginning, and what it
    # caused after that: a cause has the smaller number.
    return sorted(found, key=lambda m: (m.at, m.call.call_id, m.kind != "begin"))
