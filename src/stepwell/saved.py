"""A saved context as data: its layout, and its parts read for a workflow.

What a run makes of the parts is in `state`. Contexts that LlamaIndex Workflows saved
have another layout, which is in `llama_index`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NoReturn, NotRequired, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from stepwell.errors import ContextSerdeError, did_you_mean
from stepwell.events import Event, StepFailedEvent
from stepwell.graph import accepts
from stepwell.plan import Plan
from stepwell.serializers import BaseSerializer, JsonSerializer, ValueSerdeError
from stepwell.signature import StepSpec
from stepwell.store import load_state
from stepwell.texts import from_text
from stepwell.waits import class_names

__all__ = [
    "Count",
    "Moment",
    "Reader",
    "SavedCall",
    "SavedContext",
    "SavedEvent",
    "SavedItem",
    "SavedList",
    "SavedQuestion",
    "SavedQuestions",
    "SavedSet",
    "SavedTaken",
    "SavedWorker",
]

Count = Annotated[int, Field(ge=0)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
# Epoch seconds, as far as a calendar goes.
Moment = Annotated[float, Field(ge=0, lt=2.5e11, allow_inf_nan=False)]
# A list by the number of the call that returned it, and a place in it.
_Position = Annotated[list[Count], Field(min_length=2, max_length=2)]
L = TypeVar("L")
_adapters: dict[type, TypeAdapter[Any]] = {}


class SavedEvent(TypedDict):
    """An event with the place it came from; `call` is the call that had added it."""

    event: str
    place: _Position | None
    call: Count | None


class SavedSet(TypedDict):
    """Events for one step that wait for each other; `at` says where."""

    expected: list[str]
    events: list[SavedEvent]
    at: _Position | None
    recovery_counts: dict[str, Count]


class SavedTaken(TypedDict):
    """A whole set that a call had taken."""

    buffer_id: str
    expected: list[str]
    events: list[str]


class SavedCall(TypedDict):
    """A call; `attempts` counts those that failed, `delay` and `spent` are seconds."""

    event: str
    attempts: Count
    call_id: Count
    caused_by: Count | None
    place: _Position | None
    recovery_counts: dict[str, Count]
    delay: _Seconds | None
    spent: _Seconds
    last_exception: str | None
    last_failed_at: Moment | None
    taken: list[SavedTaken]
    answers: list[str]
    awaited: list[str]


class SavedWorker(TypedDict):
    """What one step has left to do, and how often it had begun before."""

    queue: list[SavedCall]
    in_progress: list[SavedCall]
    collected_events: dict[str, list[SavedSet]]
    static_collect_events: list[SavedSet]
    visits: Count


class SavedItem(TypedDict):
    """An event that was gathered, with its place in the list."""

    index: Count
    event: str


class SavedList(TypedDict):
    """A returned list of events; number 0 is the run as a whole."""

    number: Count
    source_step: str | None
    place: _Position | None
    gathered: dict[str, list[SavedItem]]
    served: list[str]
    recovery_counts: dict[str, Count]


class SavedQuestion(TypedDict):
    """A question that no step waits for itself, and the step that asked it."""

    event: str
    step: str


class SavedQuestions(TypedDict):
    """How many questions are open, which ones, and whether there ever was one."""

    open: Count
    asking: NotRequired[list[SavedQuestion]]  # early ones lack it
    asked: bool


class SavedContext(TypedDict):
    """All of it, save for the state and what tells the layout."""

    workers: dict[str, SavedWorker]
    streams: list[SavedList]
    early: list[str]
    questions: SavedQuestions
    elapsed_alive: _Seconds
    next_call: Annotated[int, Field(ge=1)]


class Reader:
    """Reads the parts of a saved context for a workflow.

    Args:
        plan: The workflow as it is now.
        serializer: Turns text into values; by default JSON.
    """

    def __init__(self, plan: Plan, serializer: BaseSerializer | None) -> None:
        self.plan = plan
        self._kinds = {class_names(kind)[0]: kind.newest for kind in _kinds(plan)}
        self._serializer = serializer or JsonSerializer()
        if isinstance(self._serializer, JsonSerializer):
            # The graph's classes come back wherever they were defined.
            own = (*self._kinds.values(), plan.state_type)
            self._serializer = self._serializer.with_types(*own)

    def layout(self, kind: type[L], data: Any) -> L:
        """The data as the part of the layout that it should be."""
        # Strict, so that nothing is taken for something else.
        try:
            return _adapter(kind).validate_python(data, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            self.refuse(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.")

    def state(self, data: Any) -> BaseModel:
        """The state, of the class that the workflow's steps name."""
        try:
            return load_state(data, self._serializer, self.plan.state_type)
        except ValueSerdeError as error:
            raise self._about(error) from error

    def step(self, name: str) -> StepSpec:
        """The step of this name."""
        known = self.plan.by_name
        if name not in known:
            self.refuse(
                f"it names step {name!r}; there is: {', '.join(known)}."
                f"{did_you_mean(name, known)}"
            )
        return known[name]

    def kinds(self, names: Sequence[str]) -> list[type[Event]]:
        """The event classes of these names."""
        for name in names:
            if name not in self._kinds:
                close = did_you_mean(name, self._kinds)
                self.refuse(f"it names {name}, which is not in the graph.{close}")
        return [self._kinds[name] for name in names]

    def value(self, text: str, what: str) -> Any:
        """A value of any class; `what` names it in messages."""
        try:
            return from_text(text, self._serializer, what)
        except ValueSerdeError as error:
            raise self._about(error) from error

    def event(self, text: str, what: str) -> Event:
        """An event; `what` names it in messages."""
        event = self.value(text, what)
        if not isinstance(event, Event):
            self.refuse(
                f"{what} is of class {type(event).__name__}, which is no event."
            )
        return event

    def given(self, spec: StepSpec, value: Any) -> Any:
        """What a step was given, if it still takes that."""
        parts = value if spec.joins else [value]
        fits = isinstance(parts, list | tuple) and all(
            isinstance(part, Event) and _takes(spec, type(part)) for part in parts
        )
        if fits and spec.joins and spec.collect is None:
            fits = len(parts) == len(spec.accepts) and all(
                isinstance(part, kind)
                for part, kind in zip(parts, spec.accepts, strict=True)
            )
        if not fits:
            shown = parts if isinstance(parts, list | tuple) else [parts]
            names = ", ".join(type(part).__name__ for part in shown) or "nothing"
            self.refuse(
                f"step `{spec.name}` was given {names}, and it takes "
                f"{', '.join(kind.__name__ for kind in spec.accepts)}."
            )
        if not spec.joins:
            return value
        return tuple(parts) if spec.collect is None else list(parts)

    def refuse(self, problem: str) -> NoReturn:
        """Refuse the whole."""
        raise ContextSerdeError(
            f"this saved context cannot be used for {self.plan.name}: {problem}",
            hint="Pass what ctx.to_dict() gave, unchanged, to the workflow it is of.",
            workflow=self.plan.name,
        )

    def _about(self, error: ValueSerdeError) -> ValueSerdeError:
        """The error of a value, saying which workflow it is about."""
        told = ValueSerdeError(
            f"this saved context cannot be used for {self.plan.name}: {error.message}",
            hint=error.hint or "",
            path=error.path,
            kind=error.kind,
        )
        told.workflow = self.plan.name
        return told


def _adapter(kind: type[L]) -> TypeAdapter[L]:
    """What checks a part of the layout; made at its first use."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def _kinds(plan: Plan) -> Iterator[type[Event]]:
    """The classes in a graph, and below them those that steps take as well."""
    for spec in plan.steps:
        yield from (*spec.accepts, *spec.returns)
        if spec.accept_event_subclasses:
            for kind in spec.accepts:
                yield from _below(kind)


def _below(kind: type[Event]) -> Iterator[type[Event]]:
    for each in kind.__subclasses__():
        yield each
        yield from _below(each)


def _takes(spec: StepSpec, kind: type[Event]) -> bool:
    return accepts(spec, kind) or (spec.catches_errors and kind is StepFailedEvent)
