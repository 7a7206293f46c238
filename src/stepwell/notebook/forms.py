"""A question to people as a form: which fields it has, and what their values mean.

Plain data from a `Question`, and back from what somebody typed to the event that
answers it. Widgets for it are in `ipywidgets`; the cell's own input box, in `inputs`.
"""

from __future__ import annotations

import enum
import json
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from stepwell import Event, Question

__all__ = ["Field", "Form", "Kind", "form_of"]

Kind = Literal["text", "long text", "secret", "number", "choice", "yes/no", "json"]
# The field of an answer whose class declares none.
_RESPONSE = "response"
# Text that is longer than this, or has lines, is edited in a box.
_LONG = 80
_MOST_BUTTONS = 5
# Of a prompt, so many letters are shown.
_LONGEST_PROMPT = 8_000
# Stands for None where that is one of the choices, and not that nothing was chosen.
_NONE: Any = object()


@dataclass(frozen=True, slots=True)
class Field:
    """One thing to fill in.

    Attributes:
        name: The answer's field.
        label: The same for people.
        kind: How it is filled in.
        default: What stands there at first; None for nothing.
        required: Whether it must be filled in.
        nullable: Whether leaving it empty means None, and not its default.
        choices: For a choice: what is shown, and what it means.
        help: What its author says about it.
    """

    name: str
    label: str
    kind: Kind
    default: Any = None
    required: bool = True
    nullable: bool = False
    choices: tuple[tuple[str, Any], ...] = ()
    help: str = ""

    @property
    def typed(self) -> str:
        """The default as somebody would type it."""
        if self.default is None or self.kind == "secret":
            return ""
        if self.kind != "json":
            return str(self.default)
        try:
            return TypeAdapter(type(self.default)).dump_json(self.default).decode()
        except Exception:  # JSON cannot hold it
            return ""  # left empty, it is the default still


@dataclass(frozen=True, slots=True)
class Form:
    """What somebody is asked, and the fields of the answer."""

    question: Question
    fields: tuple[Field, ...]

    @property
    def prompt(self) -> str:
        """What is asked; the beginning of a very long text."""
        text = self.question.prompt
        longest = _LONGEST_PROMPT
        return text if len(text) <= longest else text[: longest - 1] + "…"

    @property
    def buttons(self) -> tuple[tuple[str, Any], ...]:
        """The answers as buttons, where one press may be all; else empty."""
        if len(self.fields) != 1:
            return ()
        field = self.fields[0]
        if field.kind == "yes/no":
            return (("Yes", True), ("No", False))
        few = 0 < len(field.choices) <= _MOST_BUTTONS
        short = all(len(label) <= 24 for label, _ in field.choices)
        return field.choices if few and short else ()

    def read(self, values: Mapping[str, Any]) -> tuple[Event | None, dict[str, str]]:
        """The event that answers, or what is wrong with the values, by field.

        What belongs to no one field stands under the empty name.
        """
        found: dict[str, Any] = {}
        wrong: dict[str, str] = {}
        for field in self.fields:
            value = values.get(field.name)
            if field.kind in ("number", "json") and isinstance(value, str):
                value = _parsed(value)
            if isinstance(value, str) and not value.strip():
                is_text = field.kind in ("text", "long text")
                may_be_empty = is_text and not (field.required or field.nullable)
                value = value if may_be_empty else None
            if value is None and field.required:
                wrong[field.name] = "is to be filled in"
            elif value is not None or (field.nullable and field.name in values):
                found[field.name] = None if value is _NONE else value
        if wrong:
            return None, wrong
        declares = bool(self.question.model.model_fields)
        try:
            value = found if declares else found.get(_RESPONSE)
            return self.question.answer(value), {}
        except ValidationError as error:
            names = {field.name for field in self.fields}
            declared = self.question.model.model_fields.items()
            by_alias = {info.validation_alias: name for name, info in declared}
            for each in error.errors(include_input=False, include_context=False):
                first = str(each["loc"][0]) if each["loc"] else ""
                first = by_alias.get(first, first)
                rest = ".".join(map(str, each["loc"][1:]))
                said = f"{rest}: {each['msg']}" if rest else str(each["msg"])
                name = first if first in names else ""
                wrong.setdefault(
                    name, said if name or not first else f"{first}: {said}"
                )
            return None, wrong
        except Exception as error:  # of a validator of the user's, perhaps
            return None, {"": str(error) or type(error).__name__}


def form_of(question: Question) -> Form:
    """The form of a question: a field for each that nobody else fills in."""
    model, given = question.model, question.given
    offered = question.offered
    fields = [
        _field(name, info, offered.get(name))
        for name, info in model.model_fields.items()
        if name not in given
    ]
    if not model.model_fields:
        default = Event.get(question.event, "default")
        kind: Kind = "text"
        if isinstance(default, bool):
            kind = "yes/no"
        elif isinstance(default, int | float):
            kind = "number"
        elif _is_long(default):
            kind = "long text"
        fields = [Field(_RESPONSE, "", kind, default)]
    if len(fields) == 1:
        only = fields[0]
        if only.default is None:
            only = replace(only, default=Event.get(question.event, "default"))
        if question.choices:
            only = replace(only, kind="choice", choices=_pairs(question.choices))
        fields = [only]
    return Form(question, tuple(fields))


def _pairs(values: Iterable[Any]) -> tuple[tuple[str, Any], ...]:
    """What is shown of values to choose from, and what that means; each once."""
    pairs: dict[str, Any] = {}
    for value in values:
        pairs.setdefault(str(value), _NONE if value is None else value)
    return tuple(pairs.items())


def _field(name: str, info: FieldInfo, offered: Any) -> Field:
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    default = offered
    if default is None and not info.is_required() and info.default_factory is None:
        default = info.default
    kind, choices, optional = _kind(info.annotation)
    if kind == "text" and (extra.get("format") == "textarea" or _is_long(default)):
        kind = "long text"
    label = info.title or name.replace("_", " ").strip().capitalize()
    if isinstance(default, enum.Enum):
        default = next((v for _, v in choices if v == default), None)
    return Field(
        name,
        label,
        kind,
        default,
        required=info.is_required() and not optional,
        nullable=optional,
        choices=choices,
        help=info.description or "",
    )


def _kind(annotation: Any) -> tuple[Kind, tuple[tuple[str, Any], ...], bool]:
    """How values of a type are filled in, the choices, and whether None will do."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _kind(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        some = [a for a in typing.get_args(annotation) if a is not type(None)]
        optional = len(some) < len(typing.get_args(annotation))
        if len(some) == 1:
            kind, choices, _ = _kind(some[0])
            return kind, choices, optional
        plain = all(one in (str, int, float, bool) for one in some)
        return ("text" if plain and str in some else "json"), (), optional
    if origin is Literal:
        return "choice", _pairs(typing.get_args(annotation)), False
    if isinstance(annotation, type):
        if issubclass(annotation, enum.Enum):
            members = tuple((str(m.value), m) for m in annotation)
            return "choice", members, False
        if issubclass(annotation, bool):
            return "yes/no", (), False
        if issubclass(annotation, int | float):
            return "number", (), False
        if issubclass(annotation, SecretStr):
            return "secret", (), False
        if issubclass(annotation, list | tuple | set | dict) or hasattr(
            annotation, "model_fields"
        ):
            return "json", (), False
    if annotation is Any or origin is None:
        return "text", (), annotation is Any
    return "json", (), False


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and (len(value) > _LONG or "\n" in value)


def _parsed(text: str) -> Any:
    """What was typed, as JSON; as it is where that is none."""
    try:
        return json.loads(text) if text.strip() else None
    except ValueError:
        return text
