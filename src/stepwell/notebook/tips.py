"""What a viewer says of a box when it is pointed at: signature, fields, docstring.

Plain text in a few lines, not yet escaped. Of files only the name is said, and never
what a configuration file holds: pictures are published.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

LONGEST_LINE = 160
LONGEST_DOCSTRING = 420
MOST_FIELDS = 12

_WORDS = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "array": "list",
    "object": "dict",
    "null": "None",
}


def tip_of(node: Any, asked_by: Sequence[str] = ()) -> str:
    """Say what a node of a `WorkflowGraph` is, in a few lines.

    Args:
        node: A step, an event, a resource, a person.
        asked_by: For a resource, who is given it.
    """
    name = str(node.label or node.id)
    lines = [name]
    if node.node_type == "step":
        lines = [getattr(node, "signature", "") or name]
        workers = getattr(node, "num_workers", None)
        if workers:
            calls = "1 call" if workers == 1 else f"up to {workers} calls"
            lines.append(f"{calls} at once")
    elif node.node_type == "event":
        lines += _fields(getattr(node, "event_schema", None))
    elif node.node_type == "resource":
        lines += _maker(node)
    elif node.node_type == "resource_config":
        lines += _file(node)
    else:
        lines.append("somebody outside, who is asked and answers")
    if node.node_type in ("resource", "resource_config") and asked_by:
        lines.append("given to " + ", ".join(asked_by))
    lines = [shortened(line, LONGEST_LINE) for line in lines]
    docstring = inspect.cleandoc(getattr(node, "description", None) or "")
    if docstring:
        lines += ["", shortened(docstring, LONGEST_DOCSTRING)]
    return "\n".join(lines)


def shortened(text: str, most: int) -> str:
    """At most `most` letters; an ellipsis says that some are gone."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _fields(schema: object) -> list[str]:
    """The fields of an event, one a line, from the JSON schema of its class."""
    if not isinstance(schema, Mapping):
        return []
    fields = schema.get("properties")
    if not isinstance(fields, Mapping):
        return []
    lines = []
    for name, field in list(fields.items())[:MOST_FIELDS]:
        line = f"  {name}: {_type(field)}"
        if isinstance(field, Mapping) and "default" in field:
            line += f" = {shortened(repr(field['default']), 40)}"
        lines.append(line)
    if len(fields) > MOST_FIELDS:
        lines.append(f"  … and {len(fields) - MOST_FIELDS} more")
    return lines


def _type(field: object) -> str:
    """A JSON schema's type in the words of Python."""
    if not isinstance(field, Mapping):
        return "Any"
    if "$ref" in field:
        return str(field["$ref"]).rsplit("/", 1)[-1]
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(field.get(key), list):
            return " | ".join(dict.fromkeys(_type(each) for each in field[key]))
    if isinstance(field.get("enum"), list):
        return " | ".join(repr(value) for value in field["enum"])
    if "const" in field:
        return repr(field["const"])
    kind = field.get("type")
    if kind == "array" and "items" in field:
        return f"list[{_type(field['items'])}]"
    if kind == "object" and isinstance(field.get("additionalProperties"), Mapping):
        return f"dict[str, {_type(field['additionalProperties'])}]"
    if kind == "string" and "format" in field:
        return str(field["format"])
    return _WORDS.get(str(kind), "Any")


def _maker(node: Any) -> list[str]:
    maker = getattr(node, "getter_name", None)
    if not maker:
        return []
    file, line = getattr(node, "source_file", None), getattr(node, "source_line", None)
    where = f" in {PurePath(file).name}" if file else ""
    return [f"made by {maker}{where}{f', line {line}' if file and line else ''}"]


def _file(node: Any) -> list[str]:
    lines = []
    kind = getattr(node, "type_name", None)
    if kind and kind != node.label:
        lines.append(f"a {kind}")
    if node.config_file:
        part = f", {node.path_selector}" if node.path_selector else ""
        lines.append(f"read from {PurePath(node.config_file).name}{part}")
    return lines
