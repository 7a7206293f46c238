"""State that the steps of one run share: free-form, or a pydantic model.

Only data lives here, and the form in which it is saved. Which run a store belongs
to, and who may reach it, is decided in `context`.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import (
    AsyncIterator,
    Callable,
    ItemsView,
    Iterator,
    KeysView,
    Mapping,
    ValuesView,
)
from contextlib import asynccontextmanager
from copy import copy
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from stepwell.dotted import MISSING, child_of, deep_copy, parts_of
from stepwell.errors import ContextStateError, WorkflowRuntimeError, did_you_mean
from stepwell.serializers import BaseSerializer, ValueSerdeError
from stepwell.texts import from_text, to_text

__all__ = [
    "DictState",
    "InMemoryStateStore",
    "default_state",
    "dump_state",
    "load_state",
]

S = TypeVar("S", bound=BaseModel)


class DictState(BaseModel):
    """State without a declared shape: any name may be set, as key or attribute.

    As a mapping it shows what was set beside the fields that a subclass declares.
    """

    # Built at its first use, to keep the import light; see below for its subclasses.
    model_config = ConfigDict(
        extra="allow", arbitrary_types_allowed=True, defer_build=True
    )

    def __getitem__(self, key: str) -> Any:
        """The value kept under `key`; KeyError where there is none."""
        try:
            return (self.__pydantic_extra__ or {})[key]
        except KeyError:
            message = f"the state has no {key!r}; {_not_set(self, key)}"
            raise KeyError(message) from None

    def __getattr__(self, name: str) -> Any:
        """The value kept under `name`; the error names what there is."""
        try:
            return super().__getattr__(name)  # type: ignore[misc]  # hidden by pydantic
        except AttributeError:
            if name.startswith("_"):
                raise
            message = f"the state has no {name!r}; {_not_set(self, name)}"
            raise AttributeError(message, name=name, obj=self) from None

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

    def to_dict(self) -> dict[str, Any]:
        """Values by key, as they are."""
        return dict(self.__pydantic_extra__ or {})

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        """The keys, in the order in which they were set first."""
        return iter(self.__pydantic_extra__ or {})

    def __len__(self) -> int:
        """How many keys there are."""
        return len(self.__pydantic_extra__ or {})

    def __bool__(self) -> bool:
        """True, also while nothing is set."""
        return True

    def keys(self) -> KeysView[str]:
        """The keys."""
        return (self.__pydantic_extra__ or {}).keys()

    def values(self) -> ValuesView[Any]:
        """The values."""
        return (self.__pydantic_extra__ or {}).values()

    def items(self) -> ItemsView[str, Any]:
        """Keys with their values."""
        return (self.__pydantic_extra__ or {}).items()


# What is wrong with the classes of users shall be said where they are defined.
DictState.model_config["defer_build"] = False


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
        self._editing_on: asyncio.AbstractEventLoop | None = None
        self._editor: asyncio.Task[Any] | None = None
        self._watcher: Callable[[str], None] | None = None

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
        """Replace the whole state; one of a base class replaces what that declares.

        Raises:
            ValueError: `state` is of a class that does not fit the store's.
        """
        here, given = type(self._state), type(state)
        whole = isinstance(state, here)
        if not whole and (given is BaseModel or not issubclass(here, given)):
            raise ValueError(f"the store holds {here.__name__}, not {given.__name__}")
        await self._writable()
        if whole:
            self._state = state
        else:
            more = {**state.__dict__, **(state.__pydantic_extra__ or {})}
            self._state = self._state.model_copy(update=more)
        self._changed()

    def _changed(self) -> None:
        if self._watcher is not None:
            self._watcher("")

    async def get(self, path: str, default: Any = MISSING) -> Any:
        """The value at `path`.

        Raises:
            ValueError: Nothing is there and no `default` was given; the message
                names what is.
        """
        value: Any = self._state
        if type(path) is str and path and "." not in path:
            # The shorter way for most, to where `child_of` would find it first.
            if type(value) is DictState:  # which declares nothing
                held = value.__pydantic_extra__
            else:
                held = getattr(value, "__dict__", None)
            if held and path in held:
                return held[path]
        for part in parts_of(path):
            value = child_of(value, part)
            if value is MISSING:
                if default is not MISSING:
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
        holder: Any = self._state
        if type(holder) is DictState and type(path) is str and path and "." not in path:
            # The shorter way for most: what `_put` does where nothing is declared.
            holder[path] = value
            if self._watcher is not None:
                self._watcher(path)
            return
        *way, last = parts_of(path)
        for part in way:
            inner = child_of(holder, part)
            if inner is MISSING:
                inner = {}
                self._put(holder, part, inner, path)
            holder = inner
        self._put(holder, last, value, path)
        if self._watcher is not None:
            self._watcher(path)

    async def clear(self) -> None:
        """Go back to an empty state: the class with nothing but its defaults.

        Raises:
            ValueError: The state's class has fields without a default.
        """
        await self._writable()
        try:
            self._state = default_state(type(self._state))
        except WorkflowRuntimeError as error:
            raise ValueError(error.message) from error
        self._changed()

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
        loop = asyncio.get_running_loop()
        if self._editing_on is not loop:
            # A lock belongs to the loop on which somebody first waited for it.
            self._editing_on, self._editing = loop, asyncio.Lock()
        async with self._editing:
            self._editor = asyncio.current_task()
            draft = deep_copy(self._state)
            try:
                yield draft
                self._state = draft
                self._changed()
            finally:
                self._editor = None

    def watch(self, changed: Callable[[str], None] | None) -> None:
        """Have `changed` called after each change, with its path; the last one only.

        The path is empty where the whole state may be another. It is called in the
        code that makes the change: let it be short, and raise nothing.
        """
        self._watcher = changed

    def unwatch(self, changed: Callable[[str], None]) -> None:
        """Call `changed` no longer; another one that came after it goes on."""
        if self._watcher == changed:
            self._watcher = None

    def move_to(self, kind: type[BaseModel]) -> None:
        """Keep the state in a class that its module has defined anew since.

        Raises:
            ValueError: The new class refuses it.
        """
        here = type(self._state)
        same = (here.__module__, here.__qualname__)
        if here is not kind and same == (kind.__module__, kind.__qualname__):
            held = {**self._state.__dict__, **(self._state.__pydantic_extra__ or {})}
            self._state = cast("S", kind(**held))

    def to_dict(self, serializer: BaseSerializer) -> dict[str, Any]:
        """The state as data that JSON can hold.

        Raises:
            ContextSerdeError: A value cannot be saved. Also a ValueError.
        """
        return dump_state(self._state, serializer)

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], serializer: BaseSerializer
    ) -> InMemoryStateStore[Any]:
        """A store with the state that `to_dict` saved.

        Raises:
            ContextSerdeError: It cannot be restored. Also a ValueError.
        """
        return InMemoryStateStore(load_state(data, serializer))

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
        name = type(holder).__name__
        if isinstance(holder, BaseModel):
            fields, extra = type(holder).model_fields, holder.__pydantic_extra__
            if part not in fields and extra is not None:
                # Not by attribute: names that methods have may be kept as well.
                extra[part] = value
                return
            if part not in fields:
                raise ValueError(
                    f"{name} has no field {part!r} (path {path!r}); it has: "
                    f"{', '.join(fields) or 'none'}.{did_you_mean(part, fields)}"
                )
        try:
            if isinstance(holder, list):
                holder[int(part)] = value
            elif isinstance(holder, dict):
                holder[part] = value
            else:
                setattr(holder, part, value)
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise ValueError(
                f"{part!r} of path {path!r} cannot be set in a {name}: {error}"
            ) from error

    def _not_found(self, path: str) -> str:
        return f"Path {path!r} not found in state; {_not_set(self._state, path)}"


def dump_state(state: BaseModel, serializer: BaseSerializer) -> dict[str, Any]:
    """A state as data: free-form, text for each value; a model, one text for it all.

    Raises:
        ValueSerdeError: A value cannot be saved; names its key.
    """
    kind = type(state)
    told = {
        "store_type": "in_memory",
        "state_type": kind.__name__,
        "state_module": kind.__module__,
    }
    if not isinstance(state, DictState):
        text = to_text(state, serializer, f"the state {kind.__name__}")
        return {**told, "state_data": text}
    texts: dict[str, str] = {}
    for key, value in {**state.__dict__, **(state.__pydantic_extra__ or {})}.items():
        try:
            texts[key] = to_text(value, serializer, f"the state's key {key!r}")
        except ValueSerdeError as error:
            if key != "memory":
                raise
            # Memories of other libraries stand here, and are made anew by them.
            warnings.warn(f"left out: {error.message}", stacklevel=2)
    return {**told, "state_data": {"_data": texts}}


def load_state(
    data: Mapping[str, Any],
    serializer: BaseSerializer,
    wanted: type[BaseModel] = DictState,
) -> BaseModel:
    """The state that was saved; the default one where `data` has none.

    Args:
        data: What `dump_state` gave, here or in LlamaIndex Workflows.
        serializer: Turns text into values.
        wanted: The class that the steps name. With `DictState`, any will do.

    Raises:
        ValueSerdeError: It cannot be restored; says why.
    """
    if not isinstance(data, Mapping):
        raise _unreadable(f"is {type(data).__name__}, and no dictionary")
    stored = data.get("store_type", "in_memory")
    if stored != "in_memory":
        raise _unreadable(f"lies elsewhere, in a store of type {stored!r}")
    held = data.get("state_data")
    if held is None:
        return default_state(wanted)
    if isinstance(held, str):
        state = from_text(held, serializer, "the state")
        if not isinstance(state, wanted if wanted is not DictState else BaseModel):
            raise _unreadable(f"is {type(state).__name__}, not {wanted.__name__}")
        return state
    texts = held.get("_data") if isinstance(held, Mapping) else None
    if not isinstance(texts, Mapping):
        raise _unreadable("has no '_data'")
    values: dict[str, Any] = {}
    for key, text in texts.items():
        if not isinstance(key, str):
            raise _unreadable(f"has the key {key!r}, which is no text")
        values[key] = from_text(text, serializer, f"the state's key {key!r}")
    fields = wanted.model_fields
    strange = [] if wanted.model_config.get("extra") == "allow" else values.keys()
    if lost := ", ".join(repr(key) for key in strange if key not in fields):
        raise _unreadable(f"has {lost}, and {wanted.__name__} has no such field")
    try:
        return wanted.model_validate(values)
    except ValidationError as error:
        wrong = "; ".join(f"{_at(e['loc'])}: {e['msg']}" for e in error.errors())
        raise _unreadable(f"does not fit {wanted.__name__}: {wrong}") from error


def _unreadable(trouble: str) -> ValueSerdeError:
    hint = "Pass what was saved, unchanged, with the class of state it was saved with."
    return ValueSerdeError(f"the state {trouble}.", hint=hint)


def _at(place: tuple[int | str, ...]) -> str:
    return ".".join(map(str, place))


def _not_set(state: BaseModel, name: str) -> str:
    """Say what is kept, and how something gets there."""
    known = [*type(state).model_fields, *(state.__pydantic_extra__ or {})]
    return f"set so far: {', '.join(known) or 'nothing'}." + (
        did_you_mean(name, known)
        or f" Set it first with `await ctx.set({name!r}, value)`, or read it with "
        f"`await ctx.get({name!r}, default)`."
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
