"""A run on paper: its state and what it has left to do, as data that JSON can hold.

What is taken down is decided in `state`; how one value becomes text, in
`serializers`. The layout has the names of LlamaIndex Workflows where both engines
know the thing:

    version      2
    written_by   "stepwell", and `format`: what the rest of the names means
    is_running   whether there is something to go on with
    state        {state_type, state_module, state_data: {"_data": {key: text}}}
                 for free-form state; for a model, state_data is text
    workers      {step: {queue: […], in_progress: […], collected_events: {…}}}
    streams      lists of events that work goes on in
    elapsed_alive  seconds that the run's clock had used
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError

from stepwell.errors import ContextSerdeError, did_you_mean
from stepwell.events import Event
from stepwell.plan import Plan
from stepwell.serializers import BaseSerializer, JsonSerializer, ValueSerdeError
from stepwell.state import CallLeft, FanoutLeft, JoinLeft, Place, Snapshot
from stepwell.store import DictState, default_state

__all__ = ["dump", "load"]

_VERSION = 2
_FORMAT = 1


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
    workers: dict[str, dict[str, Any]] = {}

    def worker(step: str) -> dict[str, Any]:
        return workers.setdefault(
            step,
            {
                "queue": [],
                "in_progress": [],
                "collected_events": {},
                "collected_waiters": [],
            },
        )

    for call in left.calls:
        where = "in_progress" if call.running else "queue"
        worker(call.step)[where].append(_dump_call(call, serializer))
    for name in left.visits:
        worker(name)["visits"] = left.visits[name]
    joins = [_dump_join(join, serializer) for join in left.joins]
    return {
        "version": _VERSION,
        "written_by": "stepwell",
        "format": _FORMAT,
        "is_running": left.is_running,
        "state": _dump_state(state, serializer) if include_state else {},
        "workers": workers,
        "joins": joins,
        "streams": [_dump_fanout(fanout, serializer) for fanout in left.fanouts],
        "early": [_text(e, serializer, "an early answer") for e in left.early],
        "questions": {"open": left.open_questions, "asked": left.asked},
        "elapsed_alive": left.elapsed,
        "next_call": left.next_call,
    }


def _text(value: Any, serializer: BaseSerializer, what: str) -> str:
    try:
        return serializer.serialize(value)
    except ValueError as error:
        raise ValueSerdeError(
            f"{what} cannot be saved: {getattr(error, 'message', error)}",
            hint=getattr(error, "hint", None)
            or "Keep it out of events and state, or pass PickleSerializer().",
            path=getattr(error, "path", ""),
            kind=getattr(error, "kind", None),
        ) from error


def _dump_state(state: BaseModel, serializer: BaseSerializer) -> dict[str, Any]:
    kind = type(state)
    told: dict[str, Any] = {
        "store_type": "in_memory",
        "state_type": kind.__name__,
        "state_module": kind.__module__,
    }
    if not isinstance(state, DictState):
        what = f"the state {kind.__name__}"
        return {**told, "state_data": _text(state, serializer, what)}
    values: dict[str, str] = {}
    for key, value in {**state.__dict__, **(state.__pydantic_extra__ or {})}.items():
        try:
            values[key] = _text(value, serializer, f"the state's key {key!r}")
        except ContextSerdeError as error:
            if key != "memory":
                raise
            # Chat memories of other libraries stand here, and are made anew.
            warnings.warn(f"left out: {error.message}", stacklevel=4)
    return {**told, "state_data": {"_data": values}}


def _dump_call(call: CallLeft, serializer: BaseSerializer) -> dict[str, Any]:
    what = f"an event that step `{call.step}` was given"
    told: dict[str, Any] = {
        "event": _text(call.event, serializer, what),
        "attempts": call.attempt - 1,
        "call_id": call.call_id,
        "caused_by": call.caused_by,
        "place": call.place,
        "recovery_counts": dict(call.recoveries),
        "delay": call.delay,
        "spent": call.spent,
        "last_exception": None,
        "taken": [
            [
                buffer,
                _names(kinds),
                _text(list(got), serializer, what),
            ]
            for buffer, kinds, got in call.taken
        ],
    }
    if call.last_error is not None:
        what = f"the last error of step `{call.step}`"
        told["last_exception"] = _text(call.last_error, serializer, what)
    return told


def _dump_join(join: JoinLeft, serializer: BaseSerializer) -> dict[str, Any]:
    what = f"an event that step `{join.step}` has collected"
    return {
        "step": join.step,
        "buffer_id": join.buffer_id,
        "expected": _names(join.expected),
        "have": [[place, _text(event, serializer, what)] for place, event in join.have],
        "at": join.at,
    }


def _dump_fanout(fanout: FanoutLeft, serializer: BaseSerializer) -> dict[str, Any]:
    what = "an event that was gathered for step `{}`"
    return {
        "number": fanout.number,
        "source_step": fanout.step,
        "place": fanout.place,
        "gathered": {
            step: [[i, _text(e, serializer, what.format(step))] for i, e in held]
            for step, held in fanout.gathered.items()
        },
        "served": list(fanout.served),
        "recovery_counts": dict(fanout.recoveries),
    }


def _names(kinds: Iterable[type[Event]]) -> list[str]:
    """Event classes as their names."""
    return [f"{kind.__module__}.{kind.__qualname__}" for kind in kinds]


def load(
    data: Mapping[str, Any], plan: Plan, serializer: BaseSerializer | None = None
) -> tuple[BaseModel, Snapshot]:
    """The state and what is left to do, from what `dump` made of them.

    Args:
        data: As `dump` gave it, or as LlamaIndex Workflows saved it, as long as no
            list of events was being worked on.
        plan: The workflow as it is now.
        serializer: Turns values back; by default JSON.

    Raises:
        ContextSerdeError: The data is no saved context, or of another version, or
            names steps or classes that the workflow does not have.
    """
    try:
        return _Loader(plan, serializer).load(data)
    except ContextSerdeError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise ContextSerdeError(
            f"this is no saved context of {plan.name}: "
            f"{type(error).__name__}: {error}.",
            hint="Pass what ctx.to_dict() gave, unchanged.",
            workflow=plan.name,
        ) from error


class _Loader:
    """Reads one saved context."""

    def __init__(self, plan: Plan, serializer: BaseSerializer | None) -> None:
        self._plan = plan
        self._kinds: dict[str, type[Event]] = {}
        for spec in plan.steps:
            for kind in (*spec.accepts, *spec.returns):
                self._kinds[f"{kind.__module__}.{kind.__qualname__}"] = kind.newest
        self._serializer = serializer or JsonSerializer()
        if isinstance(self._serializer, JsonSerializer):
            # The graph's classes come back wherever they were defined.
            own = (*self._kinds.values(), plan.state_type)
            self._serializer = self._serializer.with_types(*own)

    def load(self, data: Mapping[str, Any]) -> tuple[BaseModel, Snapshot]:
        if not isinstance(data, Mapping):
            self._refuse(f"it is {type(data).__name__}, not a dictionary.")
        version = data.get("version")
        known = type(version) is int and version in (1, _VERSION)
        ours = data.get("written_by") == "stepwell"
        if not known or (ours and data.get("format") != _FORMAT):
            shown = f"version {version!r}"
            if ours:
                shown += f", format {data.get('format')!r}"
            self._refuse(
                f"it has {shown}; this release reads version {_VERSION}, "
                f"format {_FORMAT}."
            )
        state = self._state(data.get("state") or {})
        if not data["is_running"]:
            return state, Snapshot(is_running=False)
        if not ours:
            return state, self._foreign(data)
        calls: list[CallLeft] = []
        for name, held in data["workers"].items():
            if any(held.get(key) for key in ("queue", "in_progress", "visits")):
                self._step(name)
            for where in ("queue", "in_progress"):
                running = where == "in_progress"
                calls += [self._call(name, each, running) for each in held[where]]
        calls.sort(key=lambda call: call.call_id)
        questions = data["questions"]
        return state, Snapshot(
            calls=calls,
            fanouts=[self._fanout(each) for each in data["streams"]],
            joins=[self._join(each) for each in data["joins"]],
            early=[self._event(text) for text in data["early"]],
            open_questions=questions["open"],
            asked=questions["asked"],
            visits={
                n: w["visits"] for n, w in data["workers"].items() if "visits" in w
            },
            elapsed=float(data["elapsed_alive"]),
            next_call=data["next_call"],
        )

    def _foreign(self, data: Mapping[str, Any]) -> Snapshot:
        """What another engine had queued: plain events, each for one step."""
        calls: list[CallLeft] = []
        for name, held in (data.get("workers") or {}).items():
            waiting = held.get("collected_events") or held.get("static_collect_events")
            if waiting or data.get("streams"):
                self._refuse(
                    "it comes from another engine, in the middle of a join or a list "
                    "of events, which cannot be taken over.",
                )
            for each in [*held.get("in_progress", ()), *held.get("queue", ())]:
                given = each if isinstance(each, str) else each["event"]
                self._step(name)
                calls.append(CallLeft(name, self._event(given), 1, len(calls) + 1))
        return Snapshot(calls=calls, next_call=len(calls) + 1)

    def _state(self, told: Mapping[str, Any]) -> BaseModel:
        wanted = self._plan.state_type
        if not told or told.get("state_data") is None:
            return default_state(wanted)
        data = told["state_data"]
        if isinstance(data, str):
            state = self._value(data, "the state")
            if not isinstance(state, wanted) and wanted is not DictState:
                shown = type(state).__name__
                self._refuse(
                    f"its state is {shown}, and {wanted.__name__} is expected."
                )
            if isinstance(state, BaseModel):
                return state
            self._refuse(f"its state is {type(state).__name__}, and no model.")
        values = {
            key: self._value(text, f"the state's key {key!r}")
            for key, text in data["_data"].items()
        }
        try:
            return wanted(**values)
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()
            )
            self._refuse(f"its state does not fit {wanted.__name__}: {wrong}.")

    def _value(self, text: object, what: str) -> Any:
        if not isinstance(text, str):
            self._refuse(f"{what} is {type(text).__name__}, not text.")
        try:
            return self._serializer.deserialize(text)
        except ContextSerdeError as error:
            raise ContextSerdeError(
                f"{what} cannot be restored: {error.message}",
                hint=error.hint,
                workflow=self._plan.name,
            ) from error
        except ValueError as error:
            self._refuse(f"{what} cannot be restored: {error}.")

    def _event(self, text: object) -> Event:
        event = self._value(text, "an event")
        if not isinstance(event, Event):
            self._refuse(f"it holds {type(event).__name__} where an event belongs.")
        return event

    def _call(self, step: str, told: Mapping[str, Any], running: bool) -> CallLeft:
        error = told["last_exception"]
        return CallLeft(
            step=step,
            event=self._given(step, told["event"]),
            attempt=told["attempts"] + 1,
            call_id=told["call_id"],
            caused_by=told["caused_by"],
            place=_place(told["place"]),
            recoveries=dict(told["recovery_counts"]),
            taken=tuple(
                (buffer, self._classes(kinds), tuple(self._value(got, "an event")))
                for buffer, kinds, got in told["taken"]
            ),
            delay=told["delay"],
            spent=told["spent"],
            last_error=None if error is None else self._value(error, "an error"),
            running=running,
        )

    def _given(self, name: str, text: object) -> Any:
        """What a step was given, if it still takes that."""
        spec = self._plan.by_name[name]
        value = self._value(text, f"an event of step `{name}`")
        several = isinstance(value, list | tuple)
        if several != spec.joins or not all(
            isinstance(part, Event) for part in (value if several else [value])
        ):
            self._refuse(
                f"step `{name}` was given what it no longer takes: {spec.signature}."
            )
        return value

    def _join(self, told: Mapping[str, Any]) -> JoinLeft:
        return JoinLeft(
            step=self._step(told["step"]),
            buffer_id=told["buffer_id"],
            expected=self._classes(told["expected"]),
            have=[(_place(place), self._event(text)) for place, text in told["have"]],
            at=_place(told["at"]),
        )

    def _fanout(self, told: Mapping[str, Any]) -> FanoutLeft:
        source = told["source_step"]
        return FanoutLeft(
            number=told["number"],
            step=None if source is None else self._step(source),
            place=_place(told["place"]),
            gathered={
                self._step(name): [(i, self._event(text)) for i, text in held]
                for name, held in told["gathered"].items()
            },
            served=tuple(map(self._step, told["served"])),
            recoveries=dict(told["recovery_counts"]),
        )

    def _classes(self, names: list[str]) -> list[type[Event]]:
        for name in names:
            if name not in self._kinds:
                close = did_you_mean(name, self._kinds)
                self._refuse(f"it names {name}, which is not in the graph.{close}")
        return [self._kinds[name] for name in names]

    def _step(self, name: str) -> str:
        known = self._plan.by_name
        if name not in known:
            self._refuse(
                f"it names step {name!r}; there is: {', '.join(known)}."
                f"{did_you_mean(str(name), known)}"
            )
        return name

    def _refuse(self, problem: str) -> NoReturn:
        raise ContextSerdeError(
            f"this saved context cannot be used for {self._plan.name}: {problem}",
            hint="Pass what ctx.to_dict() gave, unchanged, to the same workflow.",
            workflow=self._plan.name,
        )


def _place(told: Any) -> Place | None:
    return None if told is None else (int(told[0]), int(told[1]))
