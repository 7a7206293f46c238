"""Functions of a cell as methods of a class, as somebody would write them.

Text in, text out: comments and layout stay. Which functions are methods is decided
in `modules`.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Mapping, Sequence

from .cells import Statement
from .sources import aimed


def can_be_method(statement: Statement) -> bool:
    """Whether a function means the same as a method, with `self` put in front."""
    node = statement.node
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    if not (node.args.posonlyargs or node.args.args):
        return False
    # Inside a class, Python gives names with two underscores another name.
    mangled = r"\b__\w*(?<!__)\b"
    return not re.search(mangled, "\n".join(statement.lines))


def methods_of(statement: Statement) -> dict[str, Statement]:
    """The methods that a class statement defines."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    inside = getattr(statement.node, "body", [])
    return {
        item.name: Statement(statement.cell, item)
        for item in inside
        if isinstance(item, kinds)
    }


def class_lines(
    name: str, about: str, timeout: float | None, methods: Iterable[list[str]]
) -> list[str]:
    """The lines of a workflow class.

    Args:
        name: Name of the class.
        about: Its docstring.
        timeout: Seconds that its runs may take, if it says.
        methods: The lines of each method, moved into the class.
    """
    parts: list[list[str]] = []
    if about:
        simple = not re.search(r'"""|\\|"$', about)
        text = f'"""{about}"""' if simple else repr(about)
        parts.append(indented(text.split("\n")))
    if timeout is not None:
        seconds = int(timeout) if timeout == int(timeout) else timeout
        parts.append(
            [
                f"    def __init__(self, timeout={seconds}, **options):",
                "        super().__init__(timeout, **options)",
            ]
        )
    lines = [f"class {name}(Workflow):"]
    for part in [*parts, *methods] or [["    pass"]]:
        lines += [*([""] if len(lines) > 1 else []), *part]
    return lines


def with_methods(statement: Statement, methods: Mapping[str, list[str]]) -> list[str]:
    """The lines of a class statement with some of its methods replaced."""
    lines = statement.lines
    last = statement.node.end_lineno or statement.node.lineno
    before = last - len(lines)
    for name, old in reversed(methods_of(statement).items()):
        if name in methods:
            end = old.node.end_lineno or old.node.lineno
            lines[old.first - 1 - before : end - before] = methods[name]
    return lines


def method(statement: Statement, name: str, workers: int | None) -> list[str]:
    """The lines of a function as a method of a workflow class."""
    return indented(with_self(decorated(statement, name, None, workers), statement))


def decorated(
    statement: Statement, name: str, target: str | None, workers: int | None
) -> list[str]:
    """The lines of a function that is a step, with the decorators that say so.

    Args:
        statement: The function as it stands in its cell.
        name: Name of its workflow.
        target: What `workflow=` is to name; None for a method.
        workers: How many calls run at once, where the function does not say.
    """
    options = [f"num_workers={workers}"] if workers else []
    options += [f"workflow={target}"] if target else []
    return statement.with_decorators(
        lambda each: aimed(each, name, target, workers=workers),
        f"@step({', '.join(options)})" if options else "@step",
    )


def with_self(lines: Sequence[str], statement: Statement) -> list[str]:
    """The lines of a function with `self` as its first parameter.

    Args:
        lines: The function, with whatever decorators it is to have.
        statement: The function as it stands in its cell.
    """
    node = statement.node
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    first = (*node.args.posonlyargs, *node.args.args)[0]
    below = (node.end_lineno or node.lineno) - first.lineno
    changed = list(lines)
    at = len(changed) - 1 - below
    # Columns of a syntax tree count bytes.
    line = changed[at].encode("utf-8")
    column = first.col_offset
    changed[at] = (line[:column] + b"self, " + line[column:]).decode("utf-8")
    return changed


def indented(lines: Sequence[str], *, docstrings: bool = True) -> list[str]:
    """Lines moved into a class, but for those inside a string of several lines.

    Args:
        lines: The lines.
        docstrings: Whether strings that stand alone are moved too, as Python takes
            the indentation out of them.
    """
    text = "\n".join(lines) + "\n"
    fixed: set[int] = set()
    alone = {
        node.value.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    opened = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        name = tokenize.tok_name[token.type]
        if name == "STRING" and not (docstrings and token.start[0] in alone):
            fixed.update(range(token.start[0] + 1, token.end[0] + 1))
        elif name == "FSTRING_START":
            opened = token.start[0]
        elif name == "FSTRING_END":
            fixed.update(range(opened + 1, token.end[0] + 1))
    return [
        line if number in fixed or not line else f"    {line}"
        for number, line in enumerate(lines, 1)
    ]
