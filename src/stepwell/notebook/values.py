"""Values as Python: which can be written out, which assignments may be done again.

For constants of a notebook that go into a module; see `modules`.
"""

from __future__ import annotations

import ast
import builtins
import math
import pprint
import re
import types
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from .cells import Statement

# Calls of these give an equal value again, and do nothing besides.
_CALM = ("re", "pathlib", "typing", "functools", "operator", "collections", "stepwell")
_PLAIN = (bool, int, float, complex, str, bytes, types.NoneType)


def literal(value: Any) -> str | None:
    """A plain value as Python, or None where it is not plain."""
    try:
        plain = _is_plain(value)
    except RecursionError:
        return None
    if not plain:
        return None
    text = pprint.pformat(value, width=80, sort_dicts=False)
    if type(value) is str and not re.search(r"[\"\\\n]", value) and text[0] == "'":
        return f'"{text[1:-1]}"'
    return text


def _is_plain(value: Any) -> bool:
    if type(value) is float:
        return math.isfinite(value)
    if type(value) in (list, tuple, set, frozenset):
        return all(_is_plain(each) for each in value)
    if type(value) is dict:
        return all(_is_plain(each) for pair in value.items() for each in pair)
    return type(value) in _PLAIN


def says_again(statement: Statement, value: Any, names: Mapping[str, Any]) -> bool:
    """Whether making an assignment again gives an equal value and does nothing else."""
    expression: Any = getattr(statement.node, "value", None)
    try:
        written = ast.literal_eval(expression)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        pass
    else:
        # What begins empty is filled by runs, and begins empty in the module too.
        same = written == value or written in ([], {}, set())
        return type(written) is type(value) and bool(same)
    if literal(value) is not None or isinstance(expression, ast.Await):
        return False
    if isinstance(expression, ast.Lambda):
        return True
    return all(
        _is_calm(_resolved(call.func, names), value)
        for call in ast.walk(expression)
        if isinstance(call, ast.Call)
    ) and _lasts(value)


def _is_calm(called: Any, value: Any) -> bool:
    """Whether a call is known to do nothing but give its value."""
    module = (getattr(called, "__module__", None) or "").partition(".")[0]
    if isinstance(called, type):
        return isinstance(value, called) or module in (*_CALM, "builtins")
    return module in _CALM


def _lasts(value: Any) -> bool:
    """Whether a value is such that an equal one does as well."""
    kind = type(value)
    if isinstance(value, type | PurePath | re.Pattern) or kind.__module__ in _CALM:
        return True
    if kind.__module__.startswith(("stepwell.", "typing", "types")):
        return True
    if kind.__module__ in ("decimal", "fractions", "datetime", "enum", "builtins"):
        return True
    made_here = kind.__module__ == "__main__"
    fields = ("__dataclass_fields__", "model_fields", "_fields", "__members__")
    return made_here and any(hasattr(kind, each) for each in fields)


def _resolved(node: ast.expr, names: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return names.get(node.id, getattr(builtins, node.id, None))
    if isinstance(node, ast.Attribute):
        owner = _resolved(node.value, names)
        if isinstance(owner, type | types.ModuleType):
            return getattr(owner, node.attr, None)
    return None
