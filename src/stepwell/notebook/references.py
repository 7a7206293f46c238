"""Which names code reads, and the import statements that bring them.

What is done about each name is decided in `modules`.
"""

from __future__ import annotations

import ast
import dis
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Any

_LOADS = ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS")
# Code that runs while the module is imported, though it is a function's.
_AT_ONCE = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "__annotate__")


def unwrapped(value: Any) -> Any:
    """What decorators were put around; the value itself where that is none."""
    try:
        return inspect.unwrap(value)
    except ValueError:
        return value


def globals_of(code: CodeType, at_once: bool = True) -> Iterator[tuple[str, int, bool]]:
    """Global names that code reads: name, line, and whether while it is imported."""
    instructions = list(dis.get_instructions(code))
    own = {each.argval for each in instructions if each.opname == "STORE_NAME"}
    for each in instructions:
        if each.opname in _LOADS and each.argval not in own:
            line = each.positions.lineno if each.positions else None
            yield each.argval, line or code.co_firstlineno, at_once
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            is_function = bool(inner.co_flags & inspect.CO_OPTIMIZED)
            runs = not is_function or inner.co_name in _AT_ONCE
            yield from globals_of(inner, at_once and runs)


def names_in_text(node: ast.AST) -> Iterator[tuple[str, int]]:
    """Names in annotations that are written as text."""
    for each in ast.walk(node):
        for part in ("annotation", "returns"):
            for text in _texts_in(getattr(each, part, None)):
                for name in re.findall(r"\w+", str(text.value)):
                    yield name, text.lineno


def _texts_in(annotation: ast.AST | None) -> Iterator[ast.Constant]:
    """The parts of an annotation that are written as text; no values of `Literal`."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        yield annotation
    if isinstance(annotation, ast.Subscript):
        said = annotation.value
        name = getattr(said, "id", getattr(said, "attr", ""))
        inner = annotation.slice
        if name == "Annotated" and isinstance(inner, ast.Tuple):
            inner = inner.elts[0]
        if name != "Literal":
            yield from _texts_in(inner)
    elif annotation is not None:
        for child in ast.iter_child_nodes(annotation):
            yield from _texts_in(child)


def import_lines(statements: Iterable[str]) -> str:
    """Import statements as people order them: Python's own, then installed ones."""
    plain = {each for each in statements if each.startswith("import ")}
    members: dict[str, set[str]] = {}
    for each in statements:
        if found := re.fullmatch(r"from (\S+) import (.+)", each):
            members.setdefault(found[1], set()).add(found[2])
    lines = list(plain)
    for module, names in members.items():
        line = f"from {module} import {', '.join(sorted(names))}"
        if len(line) > 88:
            inside = textwrap.indent(",\n".join(sorted(names)), "    ")
            line = f"from {module} import (\n{inside},\n)"
        lines.append(line)

    def is_own(line: str) -> bool:
        return line.split()[1].partition(".")[0] in sys.stdlib_module_names

    lines.sort(key=lambda line: (line.startswith("from "), line))
    groups = [
        [line for line in lines if is_own(line)],
        [line for line in lines if not is_own(line)],
    ]
    return "\n\n".join("\n".join(group) for group in groups if group)


def imported_from(statement: str) -> Any:
    """What an import statement binds its name to; of loaded modules only."""
    found = re.fullmatch(r"(?:from (\S+) )?import (\S+)(?: as \S+)?", statement)
    if found is None:
        return None
    module, said = found[1] or found[2], found[2]
    if found[1] is None and " as " not in statement:
        return sys.modules.get(module.partition(".")[0])
    if found[1] is None:
        return sys.modules.get(module)
    if module not in sys.modules:
        return None
    value = getattr(importlib.import_module(module), said, None)
    return sys.modules.get(f"{module}.{said}") if value is None else value
