"""What a kept result of a step is filed under, and copies of what is kept.

For `@step(cache=…)`. Where results are kept is the step's mapping; when they are
looked up, in `bodies`.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from types import CodeType, FunctionType
from typing import Any

from pydantic import BaseModel

from stepwell.calls import StepCall
from stepwell.errors import WorkflowRuntimeError
from stepwell.events import Event

__all__ = ["copied", "key_of"]

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...))
_OF_CODE = ("co_code", "co_consts", "co_names", "co_freevars", "co_exceptiontable")


def key_of(call: StepCall) -> str:
    """What the result of a call is filed under: its step, the code, its event.

    The same in every process, where the event holds the same values.

    Raises:
        WorkflowRuntimeError: A field of the event cannot be compared.
    """
    function = call.spec.function
    told = [f"{function.__module__}.{function.__qualname__}", *_code(function)]
    event = call.event
    for part in event if isinstance(event, list | tuple) else [event]:
        told.append(_name(type(part)))
        for name, value in sorted(Event.items(part)):  # `items` may be a field of it
            try:
                told.append(f"{name}={_told(value)}")
            except Exception as error:
                raise WorkflowRuntimeError(
                    f"step `{call.spec.name}` keeps its results by the fields of its "
                    f"event, and `{name}` of {type(part).__name__}, a "
                    f"{type(value).__name__}, cannot be compared: {error}",
                    hint="Give the step such a thing with "
                    "Annotated[T, Resource(make_it)], or leave cache=… away.",
                    step=call.spec.name,
                    event=call.event_name,
                    attempt=call.attempt,
                ) from error
    return hashlib.sha256("\0".join(told).encode("utf-8", "replace")).hexdigest()


def copied(value: Any) -> Any:
    """Events to hand out again: changing one must not change what is kept."""
    if isinstance(value, list):
        return [copied(item) for item in value]
    return value.model_copy(deep=True) if isinstance(value, Event) else value


def _told(value: Any) -> str:
    """A value as text: the same for equal values, and for no others."""
    kind = type(value)
    if kind in _PLAIN:
        return repr(value)
    if isinstance(value, type):
        return _name(value)
    if isinstance(value, Enum):
        return f"{_name(kind)}.{value.name}"
    inside: Iterator[str]
    if isinstance(value, list | tuple):
        inside = map(_told, value)
    elif isinstance(value, set | frozenset):
        inside = iter(sorted(map(_told, value)))
    elif isinstance(value, dict):
        inside = (f"{_told(k)}:{_told(v)}" for k, v in value.items())
    elif isinstance(value, BaseModel):
        parts = (value.__dict__, value.__pydantic_extra__, value.__pydantic_private__)
        inside = map(_told, parts)
    elif is_dataclass(value):
        inside = (_told(getattr(value, field.name)) for field in fields(value))
    elif isinstance(value, CodeType):
        # Not its bytes alone: they name most things by number only.
        inside = (_told(getattr(value, name)) for name in _OF_CODE)
    elif isinstance(value, FunctionType):
        inside = iter(_code(value))
    else:
        import pickle  # late: few events hold such values

        return f"{_name(kind)}({hashlib.sha256(pickle.dumps(value)).hexdigest()})"
    return f"{_name(kind)}({', '.join(inside)})"


def _code(function: Any) -> Iterator[str]:
    """What a function does, as texts that change when somebody edits it."""
    while function is not None:
        code = getattr(function, "__code__", None)
        for part in (
            code,
            getattr(function, "__defaults__", None),
            getattr(function, "__kwdefaults__", None),
            # Of what a function around it gives it, what cannot change by itself.
            [c for c in _given(function) if type(c) in _PLAIN],
        ):
            try:
                yield _told(part)
            except Exception:  # a default that has no value to compare
                yield _name(type(part))
        function = getattr(function, "__wrapped__", None)


def _given(function: Any) -> list[Any]:
    try:
        return list(inspect.getclosurevars(function).nonlocals.values())
    except TypeError:  # no plain function
        return []


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
