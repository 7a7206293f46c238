"""State that the steps of one run share: free-form, or a pydantic model.

Only data lives here. Which run a store belongs to, and who may reach it, is
decided in `context`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from copy import copy, deepcopy
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from stepwell.errors import ContextStateError, WorkflowRuntimeError, did_you_mean

__all__ = [
    "DictState",
    "InMemoryStateStore",
    "default_state",
]

S = TypeVar("S", bound=BaseModel)
_MISSING: Any = object()


class DictState(BaseModel):
    """State without a declared shape: any name may be set, as key or attribute."""

    model_config = ConfigDict(extra="allow", arbitrary_types_allowed=True)

    def __getitem__(self, key: str) -> Any:
        """The value kept under `key`; KeyError where there is none."""
        return (self.__pydantic_extra__ or {})[key]

    def __setitem__(self, key: str, value: Any) -> None:
        """Keep `value` under `key`."""
        extra = self.__pydantic_extra__
        assert extra is not None  # extra fields are allowed
        extra[key] = value

    def __contains__(self, key: object) -> bool:
        """True where something is kept under `key`."""
        return key in (self.__pydantic_extra__ or {})

    def get(self, key: str, default: Any = None) -> Any:
        """The value kept under `key`, or `default`."""
        return (self.__pydantic_extra__ or {}).get(key, default)


class InMemoryStateStore(Generic[S]):
    """The state of one run, read and written by dotted paths.

    A path names a field, then keys of mappings, indexes of lists or attributes:
    `"user.tags.0"`. Values are kept and given as they are, never copied.

    Args:
        initial_state: The state to begin with; the store owns it from then on.
    """

    def __init__(self, initial_state: S) -> None:
        self._state = initial_state
        self._editing = asyncio.Lock()
        self._editor: asyncio.Task[Any] | None = None

    @property
    def state_type(self) -> type[S]:
        """The class of the state."""
        return type(self._state)

    @property
    def current(self) -> S:
        """The state itself, not a copy."""
        return self._state

    async def get_state(self) -> S:
        """A shallow copy of the whole state; nested values are shared."""
        return copy(self._state)

    async def set_state(self, state: S) -> None:
        """Replace the whole state.

        Raises:
            ValueError: `state` is of a class that does not fit the store's.
        """
        if not isinstance(state, type(self._state)):
            raise ValueError(
                f"the store holds {type(self._state).__name__}, "
                f"not {type(state).__name__}"
            )
        await self._writable()
        self._state = state

    async def get(self, path: str, default: Any = _MISSING) -> Any:
        """The value at `path`.

        Raises:
            ValueError: Nothing is there and no `default` was given; the message
                names what is.
        """
        value: Any = self._state
        for part in _parts(path):
            value = _child(value, part)
            if value is _MISSING:
                if default is not _MISSING:
                    return default
                raise ValueError(self._not_found(path))
        return value

    async def set(self, path: str, value: Any) -> None:
        """Set the value at `path`, making dictionaries on the way to it.

        Raises:
            ValueError: The state's class has no such field, or refuses the value.
        """
        if self._editor is not None:
            await self._writable()
        *way, last = _parts(path)
        holder: Any = self._state
        for part in way:
            inner = _child(holder, part)
            if inner is _MISSING:
                inner = {}
                self._put(holder, part, inner, path)
            holder = inner
        self._put(holder, last, value, path)

    async def clear(self) -> None:
        """Go back to an empty state: the class with nothing but its defaults.

        Raises:
            ValueError: The state's class has fields without a default.
        """
        await self._writable()
        self._state = default_state(type(self._state))

    @asynccontextmanager
    async def edit_state(self) -> AsyncIterator[S]:
        """Edit the state as one change: kept at the end, dropped on an exception.

        Other edits and writes wait; reads see the state as it was before. The
        object given is a deep copy, save for values that cannot be copied, which
        are shared.

        Raises:
            ContextStateError: The task that is editing tried to edit again.
        """
        await self._writable()
        async with self._editing:
            self._editor = asyncio.current_task()
            draft = _deep(self._state)
            try:
                yield draft
                self._state = draft
            finally:
                self._editor = None

    async def _writable(self) -> None:
        if self._editor is None:
            return
        if self._editor is asyncio.current_task():
            raise ContextStateError(
                "the store was written inside `async with ctx.store.edit_state()`.",
                hint="Change the state object that edit_state() gave instead.",
            )
        async with self._editing:
            return

    def _put(self, holder: Any, part: str, value: Any, path: str) -> None:
        if isinstance(holder, DictState):
            extra = holder.__pydantic_extra__
            assert extra is not None  # extra fields are allowed
            extra[part] = value
        elif isinstance(holder, BaseModel):
            fields = type(holder).model_fields
            if part not in fields and holder.model_config.get("extra") != "allow":
                name = type(holder).__name__
                raise ValueError(
                    f"{name} has no field {part!r} (path {path!r}); it has: "
                    f"{', '.join(fields) or 'none'}.{did_you_mean(part, fields)}"
                )
            setattr(holder, part, value)
        elif isinstance(holder, list):
            holder[int(part)] = value
        elif isinstance(holder, dict):
            holder[part] = value
        else:
            setattr(holder, part, value)

    def _not_found(self, path: str) -> str:
        state = self._state
        known = [*type(state).model_fields, *(state.__pydantic_extra__ or {})]
        return (
            f"Path {path!r} not found in state; set so far: "
            f"{', '.join(known) or 'nothing'}.{did_you_mean(path, known)} "
            "Pass default=… where it may be missing."
        )


def default_state(kind: type[S]) -> S:
    """A state of class `kind` with its defaults.

    Raises:
        WorkflowRuntimeError: Some field has no default.
    """
    try:
        return kind()
    except ValidationError as error:
        lacking = ", ".join(str(e["loc"][0]) for e in error.errors() if e["loc"])
        raise WorkflowRuntimeError(
            f"{kind.__name__} cannot be the state of a run: no default for {lacking}.",
            hint="Give every field of the state class a default.",
        ) from None


def _parts(path: object) -> list[str]:
    if not isinstance(path, str) or not path:
        raise ValueError(
            f"a path in the state is text such as 'user.name', not {path!r}"
        )
    return path.split(".")


def _child(value: Any, part: str) -> Any:
    if isinstance(value, DictState):
        return (value.__pydantic_extra__ or {}).get(part, _MISSING)
    if isinstance(value, BaseModel):
        inside = value.__dict__
        if part in inside:
            return inside[part]
        extra = value.__pydantic_extra__
        return extra.get(part, _MISSING) if extra else _MISSING
    if isinstance(value, Mapping):
        return value.get(part, _MISSING)
    if isinstance(value, list | tuple):
        try:
            return value[int(part)]
        except (ValueError, IndexError):
            return _MISSING
    return getattr(value, part, _MISSING)


def _deep(state: S) -> S:
    """Copy the state through; what refuses to be copied is shared."""
    result = copy(state)
    for held in (result.__dict__, result.__pydantic_extra__ or {}):
        for key, value in held.items():
            try:
                held[key] = deepcopy(value)
            except Exception:  # a lock, a client, a socket: shared on purpose
                held[key] = value
    return result
