"""A run on paper: its state and what it has left to do, as data that JSON can hold.

What is taken down is decided in `state`; the layout is in `saved`, which says more
than this, and has the names of LlamaIndex Workflows where both engines know the thing:

    version        2
    written_by     "stepwell", and `format`: what the rest of the names means
    is_running     whether there is something to go on with
    state          what `store` makes of the state; {} where that was left out
    workers        by step: queue, in_progress, collected_events, visits
    streams        lists of events that work goes on in
    elapsed_alive  seconds that the run's clock had used
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from stepwell.events import Event
from stepwell.graph import same_class
from stepwell.left import CallLeft, FanoutLeft, JoinLeft, Place, Snapshot
from stepwell.llama_index import take_over
from stepwell.plan import Plan
from stepwell.questions import Question, answer_class
from stepwell.saved import Reader, SavedCall, SavedContext, SavedList, SavedSet
from stepwell.serializers import BaseSerializer
from stepwell.store import dump_state
from stepwell.texts import event_to_text, to_text
from stepwell.waits import class_names

__all__ = ["dump", "load"]

_VERSION = 2
_FORMAT = 1

_GIVEN = "that step `{}` was given"
_COLLECTED = "that step `{}` has collected"
_GATHERED = "gathered for step `{}`"
_ASKED = "by which step `{}` asked somebody"


def dump(
    state: BaseModel,
    left: Snapshot,
    serializer: BaseSerializer,
    *,
    include_state: bool = True,
) -> dict[str, Any]:
    """A state and what is left to do, as data.

    Raises:
        ContextSerdeError: Some value cannot be saved; says which. Also a ValueError.
    """
    if not left.is_running:
        # Nothing will go on with what a failed run has left.
        left = Snapshot(is_running=False, next_call=left.next_call)
    return {
        "version": _VERSION,
        "written_by": "stepwell",
        "format": _FORMAT,
        "is_running": left.is_running,
        "state": dump_state(state, serializer) if include_state else {},
        **_Dump(left, serializer).data(),
    }


class _Dump:
    """Writes down what one run has left to do."""

    def __init__(self, left: Snapshot, serializer: BaseSerializer) -> None:
        self._left = left
        self._serializer = serializer
        self._workers: dict[str, dict[str, Any]] = {}
        # Which call a collected event belongs to: it must not be collected again.
        owned = left.calls if left.joins else ()
        self._owners = {(c.step, id(c.event)): c.call_id for c in owned}

    def data(self) -> dict[str, Any]:
        left = self._left
        for name, count in left.visits.items():
            self._worker(name)["visits"] = count
        for call in left.calls:
            where = "in_progress" if call.running else "queue"
            self._worker(call.step)[where].append(self._call(call))
        for join in left.joins:
            worker, joined = self._worker(join.step), self._join(join)
            if join.buffer_id:
                worker["collected_events"].setdefault(join.buffer_id, []).append(joined)
            else:
                worker["static_collect_events"].append(joined)
        return {
            "workers": self._workers,
            "streams": [self._fanout(fanout) for fanout in left.fanouts],
            "early": [self._text(e, "that came early") for e in left.early],
            "questions": {
                "open": left.open_questions,
                "asking": [
                    {"event": self._text(q.event, _ASKED, q.step), "step": q.step}
                    for q in left.asking
                ],
                "asked": left.asked,
            },
            "elapsed_alive": left.elapsed,
            "next_call": left.next_call,
        }

    def _worker(self, step: str) -> dict[str, Any]:
        if step not in self._workers:
            self._workers[step] = {
                "queue": [],
                "in_progress": [],
                "collected_events": {},
                "static_collect_events": [],
                "visits": 0,
            }
        return self._workers[step]

    def _call(self, call: CallLeft) -> dict[str, Any]:
        step, error = call.step, None
        if call.last_error is not None:
            what = f"the last error of step `{step}`"
            error = to_text(call.last_error, self._serializer, what, step=step)
        return {
            "event": event_to_text(call.event, self._serializer, _GIVEN, step),
            "attempts": call.attempt - 1,
            "call_id": call.call_id,
            "caused_by": call.caused_by,
            "place": _position(call.place),
            "recovery_counts": dict(call.recoveries),
            "delay": call.delay,
            "spent": call.spent,
            "last_exception": error,
            "last_failed_at": call.last_failed,
            "taken": self._taken(call) if call.taken else [],
            "answers": self._given(call.answers, step) if call.answers else [],
            "awaited": [*call.awaited],
        }

    def _taken(self, call: CallLeft) -> list[dict[str, Any]]:
        return [
            {
                "buffer_id": buffer_id,
                "expected": _names(kinds),
                "events": self._given(events, call.step),
            }
            for buffer_id, kinds, events in call.taken
        ]

    def _given(self, events: Iterable[Event], step: str) -> list[str]:
        return [self._text(event, _GIVEN, step) for event in events]

    def _join(self, join: JoinLeft) -> dict[str, Any]:
        return {
            "expected": _names(join.expected),
            "events": [
                {
                    "event": self._text(event, _COLLECTED, join.step),
                    "place": _position(place),
                    "call": self._owners.get((join.step, id(event))),
                }
                for place, event in join.have
            ],
            "at": _position(join.at),
            "recovery_counts": dict(join.recoveries),
        }

    def _fanout(self, fanout: FanoutLeft) -> dict[str, Any]:
        return {
            "number": fanout.number,
            "source_step": fanout.step,
            "place": _position(fanout.place),
            "gathered": {
                step: [
                    {
                        "index": index,
                        "event": self._text(event, _GATHERED, step),
                    }
                    for index, event in held
                ]
                for step, held in fanout.gathered.items()
            },
            "served": list(fanout.served),
            "recovery_counts": dict(fanout.recoveries),
        }

    def _text(self, event: Any, where: str, step: str | None = None) -> str:
        return event_to_text(event, self._serializer, where, step)


def _names(kinds: Iterable[type[Event]]) -> list[str]:
    return [class_names(kind)[0] for kind in kinds]


def _position(place: Place | None) -> list[int] | None:
    return None if place is None else list(place)


def load(
    data: Any, plan: Plan, serializer: BaseSerializer | None = None
) -> tuple[BaseModel, Snapshot]:
    """The state and what is left to do, from what `dump` made of them.

    Args:
        data: As `dump` gave it, or as LlamaIndex Workflows saved it.
        plan: The workflow as it is now.
        serializer: Turns values back; by default JSON.

    Raises:
        ContextSerdeError: The data is no saved context, or of another version, or
            names steps or classes that the workflow does not have. Where a value is
            the trouble, also a ValueError.
    """
    reader = Reader(plan, serializer)
    if not isinstance(data, Mapping):
        kind = type(data).__name__
        hint = ", which json.loads() makes of text" if isinstance(data, str) else ""
        reader.refuse(f"it is {kind}, and not a dictionary{hint}.")
    version, ours = data.get("version"), data.get("written_by") == "stepwell"
    known = (_VERSION,) if ours else (1, _VERSION)
    if type(version) is not int or version not in known:
        reader.refuse(f"it has version {version!r}, and version {_VERSION} is read.")
    if ours and (type(data.get("format")) is not int or data["format"] != _FORMAT):
        shown = data.get("format")
        reader.refuse(f"it has format {shown!r}, and format {_FORMAT} is read.")
    if type(data.get("is_running")) is not bool or "state" not in data:
        reader.refuse("it does not say is_running, or has no state.")
    state = reader.state(data["state"])
    if ours:
        saved = reader.layout(SavedContext, dict(data))
        left = _Load(reader, saved).snapshot() if data["is_running"] else None
    else:
        left = take_over(data, reader) if data["is_running"] else None
    return state, left or Snapshot(is_running=False)


class _Load:
    """Reads what one run had left to do."""

    def __init__(self, reader: Reader, saved: SavedContext) -> None:
        self._reader = reader
        self._saved = saved
        self._calls: dict[int, CallLeft] = {}
        self._lists: set[int] = set()

    def snapshot(self) -> Snapshot:
        saved = self._saved
        streams = [self._fanout(each) for each in saved["streams"]]
        joins: list[JoinLeft] = []
        for name, worker in saved["workers"].items():
            for each in worker["queue"]:
                self._call(name, each, running=False)
            for each in worker["in_progress"]:
                self._call(name, each, running=True)
            for buffer_id, sets in worker["collected_events"].items():
                joins += [self._join(name, buffer_id, each) for each in sets]
            joins += [self._join(name, "", s) for s in worker["static_collect_events"]]
        return Snapshot(
            calls=[self._calls[number] for number in sorted(self._calls)],
            fanouts=streams,
            joins=joins,
            early=[self._reader.event(e, "an answer") for e in saved["early"]],
            open_questions=saved["questions"]["open"],
            asking=self._asking(),
            asked=saved["questions"]["asked"],
            visits={
                name: worker["visits"] for name, worker in saved["workers"].items()
            },
            elapsed=saved["elapsed_alive"],
            next_call=saved["next_call"],
        )

    def _asking(self) -> list[Question]:
        saved, plan = self._saved["questions"], self._reader.plan
        found = []
        for each in saved.get("asking", []):
            event = self._reader.event(each["event"], "a question")
            kind = answer_class(type(event), plan.heard)
            asked = Question(event, kind, step=each["step"], workflow=plan.name)
            found.append(asked)
        if len(found) > saved["open"]:
            self._reader.refuse(f"{len(found)} questions are open, not {saved['open']}")
        return found

    def _call(self, step: str, saved: SavedCall, running: bool) -> None:
        reader, number = self._reader, saved["call_id"]
        spec = reader.step(step)
        what = f"an event of step `{step}`"
        if number in self._calls or not 0 < number < self._saved["next_call"]:
            reader.refuse(f"a call of step `{step}` has the number {number}.")
        if saved["delay"] is not None and not saved["attempts"]:
            reader.refuse(f"call {number} is to be tried again, and was never tried.")
        error = None
        if saved["last_exception"] is not None:
            error = reader.value(saved["last_exception"], f"an error of step `{step}`")
            if not isinstance(error, BaseException):
                reader.refuse(f"an error of step `{step}` is {type(error).__name__}.")
        self._calls[number] = CallLeft(
            step=step,
            event=reader.given(spec, reader.value(saved["event"], what)),
            attempt=saved["attempts"] + 1,
            call_id=number,
            caused_by=saved["caused_by"],
            place=self._place(saved["place"]),
            recoveries=saved["recovery_counts"],
            taken=tuple(
                (
                    taken["buffer_id"],
                    reader.kinds(taken["expected"]),
                    tuple(reader.event(text, what) for text in taken["events"]),
                )
                for taken in saved["taken"]
            ),
            delay=saved["delay"],
            spent=saved["spent"],
            last_error=error,
            last_failed=saved["last_failed_at"],
            answers=tuple(reader.event(text, what) for text in saved["answers"]),
            awaited=tuple(saved["awaited"]),
            running=running,
        )

    def _join(self, step: str, buffer_id: str, saved: SavedSet) -> JoinLeft:
        reader, spec = self._reader, self._reader.step(step)
        names = saved["expected"]
        expected = reader.kinds(names)
        whole = spec.joins and spec.collect is None
        if not buffer_id and not (
            whole
            and len(expected) == len(spec.accepts)
            and all(map(same_class, expected, spec.accepts))
        ):
            reader.refuse(f"step `{step}` no longer takes {', '.join(names)}.")
        what = f"an event that step `{step}` has collected"
        have: list[tuple[Place | None, Event]] = []
        for each in saved["events"]:
            owner = self._calls.get(each["call"] or 0)
            event = owner.event if owner else reader.event(each["event"], what)
            # The list it came in may have come to its end.
            have.append((_place(each["place"]), event))
        place, counts = self._place(saved["at"]), saved["recovery_counts"]
        return JoinLeft(step, buffer_id, expected, have, place, counts)

    def _fanout(self, saved: SavedList) -> FanoutLeft:
        reader, number = self._reader, saved["number"]
        place = self._place(saved["place"])
        source = saved["source_step"]
        if source is not None:
            reader.step(source)
        known = number in self._lists or number >= self._saved["next_call"]
        if known or (source is None) != (number == 0) or (place and not number):
            reader.refuse(f"a list of events has the number {number}.")
        gathered: dict[str, list[tuple[int, Event]]] = {}
        for name, held in saved["gathered"].items():
            spec = reader.step(name)
            if not self._collects(name):
                reader.refuse(f"step `{name}` no longer takes a list of events.")
            what = f"an event gathered for step `{name}`"
            events = [reader.event(each["event"], what) for each in held]
            reader.given(spec, events)
            places = [each["index"] for each in held]
            gathered[name] = list(zip(places, events, strict=True))
        self._lists.add(number)
        return FanoutLeft(
            number,
            source,
            place,
            gathered,
            tuple(filter(self._collects, saved["served"])),
            saved["recovery_counts"],
        )

    def _collects(self, step: str) -> bool:
        spec = self._reader.plan.by_name.get(step)
        return spec is not None and spec.collect is not None

    def _place(self, position: list[int] | None) -> Place | None:
        place = _place(position)
        if place is not None and (not place[0] or place[0] not in self._lists):
            self._reader.refuse(f"it names the list {place[0]}, which is not in it.")
        return place


def _place(position: list[int] | None) -> Place | None:
    return None if position is None else (position[0], position[1])
