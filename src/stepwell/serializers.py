"""Values as text and back, so that a context can be saved and read again.

How one value is written, and which class it may become again; what a context
consists of is not known here. What is no plain JSON is an object with a tag:

    {"__is_value": true, "type": "tuple", "value": [1, 2]}
    {"__is_pydantic": true, "value": {"n": 1}, "qualified_name": "shop.Order"}

and `__is_component`, `__is_dataclass`, `__is_enum`, `__is_exception` like the latter.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from copy import copy
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag
from functools import cache
from importlib import import_module
from math import isfinite
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_origin
from uuid import UUID
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ValidationError

from stepwell.errors import ContextSerdeError
from stepwell.events import Event, EventMeta

__all__ = [
    "BaseSerializer",
    "JsonPickleSerializer",
    "JsonSerializer",
    "PickleSerializer",
    "UnreconstructedException",
    "ValueSerdeError",
]

_DEEPEST = 100  # values in each other, so that a stack already deep can read them
# Come back without being listed; of the builtins, a tag fits exceptions only.
_ALWAYS = ("stepwell.events.", "stepwell.store.", "builtins.")
# Where LlamaIndex has the events that are called the same here.
_FOREIGN = ("workflows.events.", "llama_index.core.workflow.events.")
_GENERAL = ("builtins", "collections.abc", "typing")
_KINDS = ("value", "pydantic", "component", "dataclass", "enum", "exception")
_TAGS = [f"__is_{kind}" for kind in _KINDS]
# By class its name as text, and whether it is a component. Safe to keep, since both
# come with its definition; weakly, since a cell that is run again makes a new class.
_MARKS: WeakKeyDictionary[type, tuple[str, bool]] = WeakKeyDictionary()
# Late: a plain import of stepwell does without json.
_quoting = cache(lambda: import_module("json.encoder").encode_basestring_ascii)


class ValueSerdeError(ContextSerdeError, ValueError):
    """A value could not be turned into text, or text into a value.

    Attributes:
        path: Where in the value, as Python would reach it: `.docs[3].embedding`.
        kind: The class that has no form in JSON, where that is the trouble.
    """

    def __init__(
        self, message: str, *, hint: str, path: str = "", kind: type | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.path = path
        self.kind = kind


class UnreconstructedException(Exception):
    """Has the message of a saved exception, an `original_type` that cannot be built."""

    def __init__(self, message: str, *, original_type: str | None = None) -> None:
        super().__init__(message)
        self.original_type = original_type


class BaseSerializer(ABC):
    """What a context needs to be saved: values to text, and back."""

    @abstractmethod
    def serialize(self, value: object) -> str:
        """The value as text."""

    @abstractmethod
    def deserialize(self, text: str) -> Any:
        """The value that `serialize` made the text of."""


class JsonSerializer(BaseSerializer):
    """Values as JSON that people can read, with their classes beside them.

    What comes back equals what was saved, classes included; what cannot is a
    ValueSerdeError that says where it lies. Saved are plain JSON; tuple, set,
    frozenset, deque, bytes, complex, NaN and infinity, dates and times, Decimal,
    UUID, Path; dictionaries with any keys; and, by the names of their classes,
    pydantic models (events among them), dataclasses, members of enums, exceptions
    without traceback, and objects with `class_name()`, `to_dict()`, `from_dict()`.

    Models are saved by field, without private attributes and `exclude=True`, and
    validated when read; their own serializers are asked for declared classes with no
    form here. What lies in two places comes back twice, a fixed offset as `timezone`.

    Args:
        allowed_types: The classes that come back, wherever they are defined, or
            qualified names, imported when first met; two classes of one name are a
            ValueSerdeError. Always allowed are events and state of the engine,
            exceptions of Python, and what a model's annotations name. Other
            exceptions become an `UnreconstructedException`. None: every class in a
            module that is already loaded; nothing is imported.
    """

    def __init__(self, *, allowed_types: Iterable[type | str] | None = None) -> None:
        listed = list(allowed_types or ())
        self._any_loaded = allowed_types is None
        self._names = {each for each in listed if isinstance(each, str)}
        self._classes: dict[str, type] = {}
        self._register(each for each in listed if not isinstance(each, str))

    def with_types(self, *classes: type) -> JsonSerializer:
        """A copy that also brings back these classes, and looks at them first.

        Of an event whose cell was run again, the newest definition comes back.
        """
        more = copy(self)
        more._classes = dict(self._classes)
        more._register(classes)
        return more

    def _register(self, classes: Iterable[object]) -> None:
        for kind in classes:
            if not isinstance(kind, type) or get_origin(kind) or kind is Any:
                raise TypeError(f"allowed types: classes or their names, not {kind!r}")
            other = self._classes.setdefault(_name(kind), kind)
            # The events that one cell defines are subclasses of each other.
            if not (issubclass(kind, other) and issubclass(other, kind)):
                message = f"two of the allowed classes are called {_name(kind)}."
                hint = "Saved values could not be told apart: allow only one."
                raise ValueSerdeError(message, hint=hint)

    def serialize(self, value: object) -> str:
        """The value as JSON text; nothing of it is changed."""
        return _write(value, "", ())

    def deserialize(self, text: str) -> Any:
        """The value saved as `text`, by this serializer or by LlamaIndex's."""
        import json  # late: a plain import of stepwell does without it

        try:
            return self._read(json.loads(text), "", None)
        except RecursionError:
            raise _malformed("", "it is nested too deep") from None
        except (json.JSONDecodeError, TypeError) as error:
            raise _malformed("", f"it is not JSON ({error})") from error

    def _read(self, data: Any, path: str, declared: Any) -> Any:
        """The value; `declared` is the annotation of the field that holds it."""
        if isinstance(data, list):
            return [self._read(v, f"{path}[{i}]", declared) for i, v in enumerate(data)]
        if not isinstance(data, dict):
            return data
        tag = next((tag for tag in _TAGS if data.get(tag)), None)
        if declared is BaseException and "exception_type" in data:  # as LlamaIndex
            name, message = data["exception_type"], data["exception_message"]
            data = {"message": message, "args": [message], "state": None}
            return self._read_exception(name, data, path, declared)
        if tag is None:
            return {k: self._read(data[k], f"{path}[{k!r}]", declared) for k in data}
        second = "type" if tag == "__is_value" else "qualified_name"
        name, value = data.get(second), data.get("value")
        if not isinstance(name, str) or data.keys() != {tag, "value", second}:
            raise _malformed(path, f"{tag} goes with 'value' and {second!r}")
        try:
            if tag == "__is_value":
                return _FORMS[name][2](self._read(value, path, declared))
            if tag == "__is_exception":
                return self._read_exception(name, value, path, declared)
            return self._build(tag, name, value, path, declared)
        except (ValueSerdeError, RecursionError):
            raise
        except ValidationError as error:
            told = [(".".join(map(str, e["loc"])), e["msg"]) for e in error.errors()]
            faults = "; ".join(f"{path}.{at}: {message}" for at, message in told)
            raise _malformed(path, f"{name} refuses {faults}") from error
        except Exception as error:
            trouble = f"it is no {name} ({type(error).__name__}: {error})"
            raise _malformed(path, trouble) from error

    def _read_exception(self, name: str, data: Any, path: str, declared: Any) -> Any:
        message = data["message"]
        with suppress(Exception):  # whatever hinders it, there is a stand-in
            kind = self._resolve(name, path, declared)
            if issubclass(kind, BaseException):
                made = kind(*self._read(data["args"], path, None))
                made.__setstate__(self._read(data["state"], path, None))
                if str(made) == message:
                    return made
        return UnreconstructedException(message, original_type=name)

    def _build(self, tag: str, name: str, data: Any, path: str, declared: Any) -> Any:
        kind = self._resolve(name, path, declared)
        if tag == "__is_pydantic" and issubclass(kind, BaseModel):
            return self._read_model(kind, data, path)
        if tag == "__is_component" and _mark(kind)[1]:
            return kind.from_dict(self._read(data, path, None))
        if tag == "__is_enum" and issubclass(kind, Enum):
            return kind(data) if issubclass(kind, Flag) else kind[data]
        if tag == "__is_dataclass":  # and fields() takes nothing else
            parts = {n: self._read(v, f"{path}.{n}", None) for n, v in data.items()}
            late = {field.name for field in fields(kind) if not field.init}
            made = kind(**{n: v for n, v in parts.items() if n not in late})
            for n, v in parts.items():  # __post_init__ had its way with them before
                object.__setattr__(made, n, v)
            return made
        raise _malformed(path, f"{name} is no class that {tag} can stand for")

    def _read_model(self, kind: type[BaseModel], data: Any, path: str) -> BaseModel:
        known = kind.model_fields
        if kind.__pydantic_root_model__:
            return kind.model_validate(self._read(data, path, known["root"].annotation))
        saved, values = dict(data), {}
        if issubclass(kind, Event):
            saved |= saved.pop("_data", {})
        for name, each in saved.items():
            field = known.get(name)
            alias = field and field.validation_alias
            alias = getattr(alias, "choices", [alias])[0]
            value = self._read(each, f"{path}.{name}", field and field.annotation)
            values[alias if isinstance(alias, str) else name] = value
        return kind.model_validate(values)

    def _resolve(self, name: str, path: str, declared: Any) -> Any:
        for kind in _classes_in(declared):
            if name == _name(kind):
                return kind
        found, listed = self._classes.get(name), name in self._names
        if found is None:  # LlamaIndex does not write what a class is nested in
            known = self._classes.values()
            short = [k for k in known if name == f"{k.__module__}.{k.__name__}"]
            found = short[0] if len(short) == 1 else None
        if found is None and name.startswith(_FOREIGN):  # also where it is loaded
            found = _find("stepwell.events." + name.rpartition(".")[2])
        if found is None and (self._any_loaded or listed or name.startswith(_ALWAYS)):
            found = _find(name, load=listed)
        if found is None:
            raise self._unresolved(name, path)
        return found.newest if isinstance(found, EventMeta) else found

    def _unresolved(self, name: str, path: str) -> ValueSerdeError:
        short = name.rpartition(".")[2]
        hint = f"pass allowed_types=[{short}, …] or use serializer.with_types({short})."
        if self._any_loaded or name in self._names:
            trouble = "is in no module that is loaded or may be imported"
            hint = f"Import the module first, or {hint}"
        else:
            listed = ", ".join(sorted({*self._classes, *self._names})) or "none listed"
            trouble, hint = f"is not allowed, but {listed}", f"To allow it, {hint}"
        where = f"{name} at {path}" if path else name
        return ValueSerdeError(f"{where} {trouble}.", hint=hint, path=path)


class PickleSerializer(JsonSerializer):
    """JSON where that is possible, else the whole value as a pickle in base64.

    Warning:
        A pickle can run any code when it is read, whatever `allowed_types` says.
        Never read text that others could have written or changed.
    """

    def serialize(self, value: object) -> str:
        """The value as JSON or as a pickle; ValueSerdeError if it can be neither."""
        import pickle  # late: few need it

        try:
            return super().serialize(value)
        except ValueSerdeError as refusal:
            try:
                return b64encode(pickle.dumps(value)).decode()
            except Exception as error:
                trouble = f"has no form in JSON and cannot be pickled ({error})"
                raise _refusal(refusal.path, trouble, refusal.kind) from error

    def deserialize(self, text: str) -> Any:
        """The value saved in either form; ValueSerdeError if `text` has neither."""
        import pickle  # late: few need it

        # Pickles begin with the bytes 80 0n, "gA" in base64; no JSON text with g.
        if not isinstance(text, str) or not text.startswith("gA"):
            return super().deserialize(text)
        try:
            return pickle.loads(b64decode(text, validate=True))
        except Exception as error:
            raise _malformed("", f"as a pickle it is broken ({error})") from error


JsonPickleSerializer = PickleSerializer


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _find(name: str, *, load: bool = False) -> type | None:
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:cut])
        if load:
            with suppress(ImportError):  # the last parts may be nested classes
                import_module(module)
        found: object = sys.modules.get(module)
        for p in parts[cut:]:  # not by getattr: a lazy module would import for it
            found = vars(found).get(p) if isinstance(found, ModuleType | type) else None
        if isinstance(found, type):
            return found
    return None


def _classes_in(annotation: Any) -> list[type]:
    inner = [kind for each in get_args(annotation) for kind in _classes_in(each)]
    found = (annotation, get_origin(annotation), *inner)
    return [kind for kind in found if isinstance(kind, type)]


def _refusal(path: str, trouble: str, kind: type | None = None) -> ValueSerdeError:
    what = f"a value of type {_name(kind)}" if kind else "a value"
    message = f"{what}{path and ' at ' + path} {trouble}."
    hint = "Make it a field that is JSON-able or whose class has a pydantic serializer,"
    hint += " keep it out of what is saved, or use PickleSerializer()."
    return ValueSerdeError(message, hint=hint, path=path, kind=kind)


def _malformed(path: str, trouble: str) -> ValueSerdeError:
    hint = "Read the whole text with the serializer that wrote it (PickleSerializer for"
    hint += " a pickle), and with the classes it was written with."
    message = f"what was saved{path and ' at ' + path} cannot be read: {trouble}."
    return ValueSerdeError(message, hint=hint, path=path)


def _moment(value: datetime | time) -> object:
    zone = value.tzinfo
    if value.fold or (zone and zone.utcoffset(None) is None):
        return [value.replace(tzinfo=None).isoformat(), zone, value.fold]
    return value.isoformat()


def _read_moment(kind: Any, data: Any) -> Any:
    if isinstance(data, str):
        return kind.fromisoformat(data)
    return kind.fromisoformat(data[0]).replace(tzinfo=data[1], fold=data[2])


_TICK = timedelta(microseconds=1)
# The class, the simpler value written in its stead, and the way back from that.
_FORMS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "dict": (dict, dict.items, dict),
    "tuple": (tuple, list, tuple),
    "set": (set, lambda v: sorted(v, key=repr), set),
    "frozenset": (frozenset, lambda v: sorted(v, key=repr), frozenset),
    "deque": (deque, lambda v: [*v, v.maxlen], lambda d: deque(d[:-1], d[-1])),
    "bytes": (bytes, lambda v: b64encode(v).decode(), b64decode),
    "int": (int, hex, lambda d: int(d, 16)),
    "float": (float, repr, float),
    "complex": (complex, str, complex),
    "Decimal": (Decimal, str, Decimal),
    "UUID": (UUID, str, UUID),
    "Path": (type(Path()), str, Path),
    "timezone": (timezone, lambda v: v.utcoffset(None), timezone),
    "ZoneInfo": (ZoneInfo, str, ZoneInfo),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, _moment, lambda d: _read_moment(time, d)),
    "datetime": (datetime, _moment, lambda d: _read_moment(datetime, d)),
    "timedelta": (timedelta, lambda v: v // _TICK, lambda d: d * _TICK),
}
_FORM_NAMES = {form[0]: name for name, form in _FORMS.items()}


def _plain(value: Any) -> str | None:
    """The text of a value without parts that JSON has as it is; of others None."""
    kind = type(value)
    if kind is str:
        return str(_quoting()(value))
    if kind is int:  # Python reads so many digits
        return repr(value) if value.bit_length() < 2000 else None
    if value is None or kind is bool:
        return "null" if value is None else str(value).lower()
    return repr(value) if kind is float and isfinite(value) else None


def _object(texts: Iterable[tuple[str, str]]) -> str:
    quote, entries = _quoting(), []
    for name, text in texts:
        entries.append(f"{quote(name)}: {text}")
    return f"{{{', '.join(entries)}}}"


def _write(value: Any, path: str, above: tuple[int, ...]) -> str:
    """The value as text; `above` identifies the values it lies in."""
    if text := _plain(value):
        return text
    if above and (id(value) in above or len(above) >= _DEEPEST):
        deep = f"lies in {_DEEPEST} others, which is too deep"
        raise _refusal(path, "contains itself" if id(value) in above else deep)
    kind, above = type(value), (*above, id(value))
    if kind is list:
        return f"[{', '.join(_parts(enumerate(value), path, above))}]"
    try:
        if kind is dict:
            if any(type(key) is not str or key[:5] == "__is_" for key in value):
                pairs = [_parts([(k, k), (k, value[k])], path, above) for k in value]
                text = ", ".join(f"[{key}, {each}]" for key, each in pairs)
                return f'{{"__is_value": true, "type": "dict", "value": [{text}]}}'
            return _object(zip(value, _parts(value.items(), path, above), strict=True))
        if form := _FORM_NAMES.get(kind):
            text = _write(_FORMS[form][1](value), path, above)
            return f'{{"__is_value": true, "type": "{form}", "value": {text}}}'
        return _write_object(value, kind, path, above)
    except ValueSerdeError:
        raise
    except Exception as error:  # of a to_dict(), a repr(), a property
        raise _refusal(path, f"cannot be taken apart ({error})", kind) from error


def _parts(items: Iterable[Any], path: str, above: tuple[int, ...]) -> list[str]:
    return [_plain(v) or _write(v, f"{path}[{k!r}]", above) for k, v in items]


def _write_object(value: Any, kind: type, path: str, above: tuple[int, ...]) -> str:
    name, is_component = _MARKS.get(kind) or _mark(kind)
    if isinstance(value, BaseModel) and not is_component:
        tag, text = "pydantic", _write_model(value, kind, path, above)
    elif isinstance(value, Enum):
        data = value.value if issubclass(kind, Flag) else value.name
        tag, text = "enum", _plain(data) or int.__repr__(data)
    elif is_component:
        tag, text = "component", _write(value.to_dict(), path, above)
    elif isinstance(value, BaseException):
        texts = {"message": _quoting()(str(value)), "args": "null"}
        if isinstance(value, UnreconstructedException) and value.original_type:
            name = _quoting()(value.original_type)
        with suppress(Exception):  # then the message has to do
            build, args, state = (*value.__reduce__(), None)[:3]  # more than in args
            if _quoting()(_name(build)) == name:
                both = [_write(each, path, above) for each in ([*args], state)]
                texts["args"], texts["state"] = both
        tag, text = "exception", _object(texts.items())
    elif is_dataclass(kind):
        names = [field.name for field in fields(kind)]
        if strays := getattr(value, "__dict__", {}).keys() - names:
            raise _refusal(path, f"has more than its fields: {', '.join(strays)}", kind)
        texts = {n: _write(getattr(value, n), f"{path}.{n}", above) for n in names}
        tag, text = "dataclass", _object(texts.items())
    else:
        raise _refusal(path, "has no form in JSON", kind)
    return f'{{"__is_{tag}": true, "value": {text}, "qualified_name": {name}}}'


def _mark(kind: type) -> tuple[str, bool]:
    found = [getattr(kind, n, None) for n in ("class_name", "to_dict", "from_dict")]
    return _MARKS.setdefault(kind, (_quoting()(_name(kind)), all(map(callable, found))))


def _write_model(model: Any, kind: Any, path: str, above: tuple[int, ...]) -> str:
    # Quicker by pydantic's inner name for them, which 2.10 brought.
    declared = getattr(model, "__pydantic_fields__", None) or kind.model_fields
    texts: dict[str, str] = {}
    for name, value in model.__dict__.items():
        if name in declared and not declared[name].exclude:
            texts[name] = _plain(value) or _field(model, name, f"{path}.{name}", above)
    if extra := model.__pydantic_extra__:
        more = {name: _write(v, f"{path}.{name}", above) for name, v in extra.items()}
        # There LlamaIndex puts the free fields of an event, and there they are sought.
        boxed = "_data" in more and isinstance(model, Event)
        texts |= {"_data": _object(more.items())} if boxed else more
    return texts["root"] if model.__pydantic_root_model__ else _object(texts.items())


def _field(model: BaseModel, name: str, path: str, above: tuple[int, ...]) -> str:
    try:
        return _write(model.__dict__[name], path, above)
    except ValueSerdeError as refusal:
        # What is declared, pydantic can read, so it may write it; not what it guesses.
        declared = _classes_in(type(model).model_fields[name].annotation)
        named = tuple(k for k in declared if k.__module__ not in _GENERAL)
        with suppress(Exception):
            if refusal.kind in declared or issubclass(refusal.kind or object, named):
                dumped = model.model_dump(mode="json", include={name})[name]
                if "**********" not in str(dumped):  # how pydantic masks a secret
                    return _write(dumped, path, above)
        raise
