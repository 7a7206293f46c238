"""Events: the ones people subclass, and the ones a run publishes about itself.

An event is a pydantic model that also takes fields nobody declared, and reads
like a mapping. Where an event goes is decided in `graph` and `machine`; how
it is kept for readers of the stream, in `record`.
"""

from __future__ import annotations

import inspect
import logging
import sys
import warnings
from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from datetime import datetime
from enum import Enum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic._internal._model_construction import ModelMetaclass

from stepwell.errors import WorkflowArgumentError, did_you_mean
from stepwell.families import Family, join_family

__all__ = [
    "Event",
    "EventMeta",
    "EventType",
    "HumanResponseEvent",
    "InputRequiredEvent",
    "InternalDispatchEvent",
    "StartEvent",
    "StepFailedEvent",
    "StepOutput",
    "StepProgress",
    "StepState",
    "StepStateChanged",
    "StopEvent",
    "UnhandledEvent",
    "WorkflowCancelledEvent",
    "WorkflowFailedEvent",
    "WorkflowIdleEvent",
    "WorkflowTimedOutEvent",
]

_notices = logging.getLogger("stepwell.redefined")
# Fields people like to give these names; pydantic would warn that each hides a
# method of the mapping face, which is what the author of the field wants.
_MAPPING_NAMES = frozenset({"copy", "get", "items", "json", "keys", "values"})


# Before Python 3.14 the annotations of a class lie in its namespace.
_EAGER = sys.version_info < (3, 14)


class EventMeta(ModelMetaclass):
    """Gives event classes an identity that survives running their cell again.

    A class statement that is executed a second time (same module, same
    qualified name, not inside a function) makes a new class object. Instances
    of either class are then instances of both, so that steps compiled against
    the first go on taking events made by the second.
    """

    _family: Family | None

    def __new__(
        mcs,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        **kwargs: Any,
    ) -> type:
        """Build the class, quietly where a field is named like a mapping method."""
        if namespace.get("__module__") != __name__:
            kwargs.setdefault("defer_build", False)
        cls: Any
        names = namespace.get("__annotations__", () if _EAGER else _MAPPING_NAMES)
        if _MAPPING_NAMES.isdisjoint(names):
            cls = super().__new__(mcs, name, bases, namespace, **kwargs)
        else:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Field name .* shadows an")
                cls = super().__new__(mcs, name, bases, namespace, **kwargs)
        family = cls._family = join_family(cls, namespace)
        if family is not None and family.members > 1:
            _notices.info("%s redefined; steps that take it keep working.", name)
        result: type = cls
        return result

    @property
    def newest(cls) -> Any:
        """The class as its cell was last run; itself where that was once."""
        family = cls._family
        return cls if family is None else family.newest_or(cls)

    def __instancecheck__(cls, instance: Any) -> bool:
        """True for instances of the class and of its other definitions."""
        return _is_kind(type(instance), cls)

    def __subclasscheck__(cls, subclass: type) -> bool:
        """True for subclasses of the class and of its other definitions."""
        return _is_kind(subclass, cls)


def _is_kind(kind: type, wanted: EventMeta) -> bool:
    if wanted in getattr(kind, "__mro__", ()):
        return True
    if not isinstance(kind, type):
        raise TypeError("issubclass() arg 1 must be a class")
    family = wanted._family
    if family is None or family.members < 2:
        return False
    return any(base.__dict__.get("_family") is family for base in kind.__mro__)


def _init(self: Any, /, *args: Any, **fields: Any) -> None:
    """As in any pydantic model; what is wrong is said in the words of events."""
    if args and isinstance(self, StopEvent) and "result" not in fields:
        fields["result"], args = args[0], args[1:]
    if args:
        kind = type(self)
        free = [name for name in kind.model_fields if name not in fields]
        shown = repr(args[0]) if len(repr(args[0])) <= 40 else "…"
        raise WorkflowArgumentError(
            f"{kind.__name__} takes its fields by name.",
            hint=f"Write `{kind.__name__}({free[0] if free else 'value'}={shown})`.",
            event=kind.__name__,
        )
    try:
        if private := self.__private_attributes__:
            given = {name: fields.pop(name) for name in private if name in fields}
            self.__pydantic_validator__.validate_python(fields, self_instance=self)
            for name, value in given.items():
                setattr(self, name, value)
        else:
            self.__pydantic_validator__.validate_python(fields, self_instance=self)
    except ValidationError as error:
        kind = type(self)
        known = kind.model_fields
        for name, value in fields.items():
            if inspect.iscoroutine(value):
                error.add_note(f"An `await` is missing: {name}= got a coroutine.")
        for name in fields.keys() - known.keys():
            if guess := did_you_mean(name, known.keys() - fields.keys()):
                error.add_note(f"{kind.__name__} has no field {name!r}.{guess}")
        raise


# The two marks of the method that it stands for: validation need not call it, and
# a shell shows the fields of an event when it is asked how to make one.
vars(_init).update(
    __pydantic_base_init__=True, __signature__=inspect.signature(BaseModel.__init__)
)


def _declared_only(schema: dict[str, Any]) -> None:
    # Language models that fill in an event shall keep to its fields.
    schema.pop("additionalProperties", None)


class Event(BaseModel, metaclass=EventMeta):
    """A typed message that starts the steps which accept its class.

    Declare fields as in any pydantic model; fields that were not declared are
    kept as given. An event reads like a mapping over all of them: `ev["x"]`,
    `ev.get("x", default)`, `"x" in ev`, `ev.items()`, `len(ev)`. An event is
    always true, empty or not.
    """

    # The classes of this file are built at their first use, to keep the import
    # light; `EventMeta` has all others built where they are defined.
    model_config = ConfigDict(
        extra="allow",
        arbitrary_types_allowed=True,
        protected_namespaces=(),
        defer_build=True,
        json_schema_extra=_declared_only,
    )

    # Type checkers make one of the fields that are declared, and shall not see this.
    locals()["__init__"] = _init

    def _fields(self) -> dict[str, Any]:
        extra = self.__pydantic_extra__
        return {**self.__dict__, **extra} if extra else self.__dict__

    def __getattr__(self, name: str) -> Any:
        """The value of a field nobody declared; the error names the fields."""
        try:
            return super().__getattr__(name)  # type: ignore[misc]  # hidden by pydantic
        except AttributeError:
            if name.startswith("_"):
                raise
            raise AttributeError(self._lacks(name), name=name, obj=self) from None

    def __getitem__(self, key: str) -> Any:
        """The value of one field; KeyError names the fields there are."""
        try:
            return self._fields()[key]
        except KeyError:
            raise KeyError(self._lacks(key)) from None

    def _lacks(self, name: object) -> str:
        """Say that there is no such field, and which there are."""
        known = list(self._fields())
        guess = did_you_mean(str(name), known)
        if not guess:
            is_start = isinstance(self, StartEvent)
            made = "workflow.run" if is_start else type(self).__name__
            guess = f" It is given where the event is made: {made}({name}=…)."
        return (
            f"{type(self).__name__} has no field {name!r}; it has: "
            f"{', '.join(known) or 'none'}.{guess}"
        )

    def __setitem__(self, key: str, value: Any) -> None:
        """Set one field, declared or not."""
        setattr(self, key, value)

    def __contains__(self, key: object) -> bool:
        """True where a field of this name is set."""
        return key in self._fields()

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        """Names of the fields, declared ones first."""
        return iter(self._fields())

    def __len__(self) -> int:
        """Number of fields."""
        return len(self._fields())

    def __bool__(self) -> bool:
        """True always: an event without fields is still an event."""
        return True

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a field, or `default` where there is none."""
        return self._fields().get(key, default)

    def keys(self) -> KeysView[str]:
        """Names of the fields."""
        return self._fields().keys()

    def values(self) -> ValuesView[Any]:
        """Values of the fields."""
        return self._fields().values()

    def items(self) -> ItemsView[str, Any]:
        """Pairs of name and value."""
        return self._fields().items()

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, their values as they are."""
        return dict(self._fields())


class StartEvent(Event):
    """The event `Workflow.run` makes from its keyword arguments."""


class StopEvent(Event):
    """Ends the run that a step returns it in.

    `await handler` gives `result` for a plain `StopEvent`, and the event itself
    for a subclass.
    """

    result: Any = None

    def __str__(self) -> str:
        """Of a plain stop event its result; of others their fields."""
        return str(self.result) if type(self) is StopEvent else super().__str__()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """The schema, with `result` left out of dumps that have none in it."""
        # Not by @model_serializer: importing that takes longer than all of this.
        schema = handler(source)
        dumping = {"type": "function-wrap", "function": _without_none}
        handler.resolve_ref_schema(schema).setdefault("serialization", dumping)
        return schema


def _without_none(stop: StopEvent, dump: Any) -> Any:
    data = dump(stop)
    if isinstance(data, dict) and data.get("result", 0) is None:
        del data["result"]  # a subclass is its own result
    return data


class InputRequiredEvent(Event):
    """Asks a person for something; published on the stream when returned.

    What is asked is the first of its fields `prompt`, `question`, `prefix`, `message`
    and `msg` that holds text; `choices` or `options` list the answers to choose from,
    `default` is the one to begin with. A run whose question has a number in its field
    `answer_within` is cancelled when so many seconds have passed without an answer.

    A viewer makes a form of it, with a field for each field of the answer, which is a
    `answered_by`, else what the step waits for, else what other steps take.
    """

    answered_by: ClassVar[type[BaseModel] | None] = None


class HumanResponseEvent(Event):
    """A person's answer, sent in from outside by `handler.send_event`."""


class WorkflowTimedOutEvent(StopEvent):
    """Last event of the stream of a run whose time was up, or that stalled."""

    timeout: float | None = None
    active_steps: list[str] = []


class WorkflowCancelledEvent(StopEvent):
    """Last event of the stream of a run that was cancelled."""


class WorkflowFailedEvent(StopEvent):
    """Last event of the stream of a run that an exception ended."""

    step_name: str | None
    exception: BaseException
    attempts: int = 1
    elapsed_seconds: float = 0.0


class StepFailedEvent(Event):
    """A step failed for good; given to the `@catch_error` step that covers it.

    `attempts` counts from 1, `elapsed_seconds` from the first attempt's start;
    `failed_at` has UTC as its time zone. `input_event` is what the step was given:
    an event, or a list or tuple of them.
    """

    step_name: str
    input_event: Any
    exception: BaseException
    attempts: int = 1
    elapsed_seconds: float = 0.0
    failed_at: datetime


class InternalDispatchEvent(Event):
    """Base class of the events that the stream shows with `expose_internal=True`."""


class WorkflowIdleEvent(InternalDispatchEvent):
    """The run waits for somebody outside it. Internal: `expose_internal=True`."""


class UnhandledEvent(InternalDispatchEvent):
    """No step takes an event that was sent. Internal: `expose_internal=True`."""

    event_type: str
    qualified_name: str
    step_name: str | None = None
    idle: bool = False


class StepState(Enum):
    """Where one call of a step stands."""

    PREPARING = "preparing"
    RUNNING = "running"
    NOT_RUNNING = "not_running"


class StepStateChanged(InternalDispatchEvent):
    """A call of a step was queued, started or ended. Internal.

    `at` is in seconds since the run began; `call_id` counts the calls of the
    run; `caused_by` is the call that sent the input event, None where it came
    from outside; `status` is one of queued, running, done, failed, cancelled,
    retrying.
    """

    name: str
    step_state: StepState
    worker_id: str
    input_event_name: str
    output_event_name: str | None = None
    call_id: int = 0
    at: float = 0.0
    attempt: int = 1
    caused_by: int | None = None
    status: str = "running"
    error: str | None = None


class StepProgress(InternalDispatchEvent):
    """How far a call of a step has come, by its own account. Internal.

    `done` of `total` units, or of an unknown number where that is None; `at` is in
    seconds since the run began.
    """

    name: str
    call_id: int = 0
    at: float = 0.0
    done: float
    total: float | None = None
    text: str = ""


class StepOutput(InternalDispatchEvent):
    """What a call of a step said for people to read. Internal.

    `source` is "stdout", "stderr", "log", or the level of a log record, as "WARNING";
    `at` is in seconds since the run began.
    """

    name: str
    call_id: int = 0
    at: float = 0.0
    text: str
    source: str = "log"


EventType = type[Event]
