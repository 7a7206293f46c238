"""Values inside values: by dotted paths, and copies of a whole state.

What may be written where is decided in `store`.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy, deepcopy
from typing import Any, TypeVar

from pydantic import BaseModel

__all__ = ["MISSING", "child_of", "deep_copy", "parts_of"]

S = TypeVar("S", bound=BaseModel)
# Stands for a value that is not there.
MISSING: Any = object()


def parts_of(path: object) -> list[str]:
    """The parts of a dotted path.

    Raises:
        ValueError: It is no path.
    """
    if not isinstance(path, str) or not path:
        raise ValueError(
            f"a path in the state is text such as 'user.name', not {path!r}"
        )
    return path.split(".")


def child_of(value: Any, part: str) -> Any:
    """What a value has under a name, key or index; `MISSING` where it has none."""
    if isinstance(value, BaseModel):
        for inside in (value.__dict__, value.__pydantic_extra__ or {}):
            if part in inside:
                return inside[part]
        if callable(getattr(type(value), part, None)):
            return MISSING  # a method, which is no part of the state
    if isinstance(value, Mapping):
        return value.get(part, MISSING)
    if isinstance(value, list | tuple):
        try:
            return value[int(part)]
        except (ValueError, IndexError):
            return MISSING
    return getattr(value, part, MISSING)


def deep_copy(state: S) -> S:
    """Copy the state through; what refuses to be copied is shared."""
    result, copied = copy(state), dict[int, Any]()
    for held in (result.__dict__, result.__pydantic_extra__ or {}):
        for key, value in held.items():
            held[key] = _copied(value, copied)
    return result


def _copied(value: Any, copied: dict[int, Any]) -> Any:
    """Copy a value; `copied` holds what was, by identity, as `deepcopy` keeps it."""
    if id(value) in copied:
        return copied[id(value)]
    if type(value) is list:
        items = copied[id(value)] = list[Any]()
        items += [_copied(item, copied) for item in value]
        return items
    if type(value) is dict:
        entries = copied[id(value)] = dict[Any, Any]()
        entries |= {key: _copied(item, copied) for key, item in value.items()}
        return entries
    before = len(copied)
    try:
        return deepcopy(value, copied)
    except Exception:  # a lock, a client, a socket: shared on purpose
        for half_done in list(copied)[before:]:
            del copied[half_done]
        copied[id(value)] = value
        return value
