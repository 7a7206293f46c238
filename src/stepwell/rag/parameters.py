"""What a function takes, as a schema that a language model can be shown.

Read from its signature and docstring, with Google's sections. The tools made of
functions are in `tools.py`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from .errors import InvalidOptionError


def schema_of(
    fn: Callable[..., Any], name: str, described: Mapping[str, str]
) -> type[BaseModel]:
    """Return a model of a function's parameters.

    Its fields have names of their own and the parameters' as aliases: a parameter
    may be called ``copy`` or ``_id``, which a field may not.
    """
    try:
        hints = get_type_hints(
            fn if inspect.isroutine(fn) else type(fn).__call__, include_extras=True
        )
    except NameError as error:
        raise InvalidOptionError(
            f"The annotations of the tool {name} cannot be read: {error}. Define what "
            "they name at the top of the module or cell."
        ) from error
    fields: dict[str, Any] = {}
    for number, each in enumerate(inspect.signature(fn).parameters.values()):
        if each.kind not in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY):
            raise InvalidOptionError(
                f"A model gives arguments by name; the tool {name} takes {each}. Wrap "
                "it in a function with plain parameters."
            )
        default = ... if each.default is each.empty else each.default
        hint = hints.get(each.name, Any)
        options: dict[str, Any] = {"alias": each.name}
        if each.name in described and not _is_described(hint):
            options["description"] = described[each.name]
        fields[f"field_{number}"] = (hint, Field(default, **options))
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    try:
        model = create_model(f"{name}_arguments", __config__=config, **fields)
        model.model_json_schema()
    except Exception as error:
        which = next((each for each in fields.values() if not _is_json(each)), None)
        said = "something" if which is None else which[1].alias
        raise InvalidOptionError(
            f"The tool {name} takes {said}, which no model can send as JSON. Give its "
            "function plain parameters, and get other things inside of it."
        ) from error
    return model


def _is_json(field: tuple[Any, FieldInfo]) -> bool:
    try:
        config = ConfigDict(arbitrary_types_allowed=True)
        create_model("One", __config__=config, one=(field[0], ...)).model_json_schema()
    except Exception:
        return False
    return True


def _is_described(hint: Any) -> bool:
    """Whether an annotation says itself what the parameter is."""
    return any(
        isinstance(each, FieldInfo) and each.description is not None
        for each in getattr(hint, "__metadata__", ())
    )


_SECTION = re.compile(
    r"^(args|arguments|parameters|returns?|raises|yields?|examples?|notes?)\s*:?\s*$",
    re.I,
)
_ARGUMENT = re.compile(r"^(\s*)\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return what a docstring says before its sections, and of each argument."""
    told: list[str] = []
    found: dict[str, str] = {}
    section, current, depth = "", "", 0
    for line in text.splitlines():
        if heading := _SECTION.match(line):
            section, current, depth = heading[1].lower(), "", 0
        elif not section:
            told.append(line)
        elif section in ("args", "arguments", "parameters"):
            match = _ARGUMENT.match(line)
            if match and (not current or len(match[1]) <= depth):
                current, depth = match[2], len(match[1])
                found[current] = match[3].strip()
            elif current and line.strip():
                found[current] = f"{found[current]} {line.strip()}".strip()
    return "\n".join(told).strip(), found


def without_titles(schema: Any) -> Any:
    """Return a schema without pydantic's titles, which only repeat the names."""
    if isinstance(schema, list):
        return [without_titles(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: without_titles(each) for name, each in value.items()}
        if key in ("properties", "$defs")
        else without_titles(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
    }
