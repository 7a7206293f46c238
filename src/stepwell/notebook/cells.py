"""Where the cells of this notebook define things: the statements that bound a name.

Read from the sources that IPython keeps for tracebacks, the cell that ran last first.
What of it goes into a module is decided in `modules`.
"""

from __future__ import annotations
import __future__

import ast
import inspect
import linecache
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from types import CodeType
from typing import Any

from . import kernel
from .sources import parse_body

_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


class Cell:
    """The source of one cell, or of a file."""

    def __init__(self, file: str, number: int) -> None:
        self.file = file
        self.number = number
        self.lines = [line.rstrip("\r\n") for line in linecache.getlines(file)]

    @cached_property
    def tree(self) -> ast.Module:
        """Its statements; none where it is no Python."""
        try:
            return parse_body("\n".join(self.lines) + "\n", self.file)
        except (SyntaxError, ValueError):
            return ast.Module([], [])

    @property
    def flags(self) -> int:
        """What it asks for with `from __future__ import …`, as flags of `compile`."""
        asked = 0
        for node in self.tree.body:
            if isinstance(node, ast.ImportFrom) and node.module == "__future__":
                for each in node.names:
                    asked |= int(getattr(__future__, each.name).compiler_flag)
        return asked

    def statements(self) -> Iterator[Statement]:
        """Its statements, the last first."""
        for node in reversed(self.tree.body):
            yield Statement(self, node)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a cell."""

    cell: Cell
    node: ast.stmt

    @property
    def tree(self) -> ast.Module:
        """The statement alone, as a module."""
        return ast.Module([self.node], [])

    @property
    def place(self) -> tuple[int, int]:
        """The number of its cell, and its line."""
        return self.cell.number, self.node.lineno

    @property
    def first(self) -> int:
        """Its first line: that of its first decorator."""
        decorators: list[ast.expr] = getattr(self.node, "decorator_list", [])
        return min([self.node.lineno, *(each.lineno for each in decorators)])

    @property
    def lines(self) -> list[str]:
        """Its lines, with the comments right above it."""
        first = self.first
        while first > 1 and self.cell.lines[first - 2].lstrip().startswith("#"):
            first -= 1
        return self.cell.lines[first - 1 : self.node.end_lineno]

    @property
    def text(self) -> str:
        """Its lines as text."""
        return "\n".join(self.lines)

    def with_decorators(
        self, change: Callable[[ast.expr], ast.expr | None], otherwise: str
    ) -> list[str]:
        """Its lines with other decorators.

        Args:
            change: Gives what to write for a decorator; None to leave it as it is.
            otherwise: What to write above a function that has none.
        """
        lines = self.lines
        end = self.node.end_lineno or self.node.lineno
        offset = end - len(lines) + 1
        decorators: list[ast.expr] = getattr(self.node, "decorator_list", [])
        if not decorators:
            lines.insert(self.node.lineno - offset, otherwise)
        for each in reversed(decorators):
            new = change(each)
            if new is not None and ast.dump(new) != ast.dump(each):
                last = each.end_lineno or each.lineno
                lines[each.lineno - offset : last - offset + 1] = [
                    f"@{ast.unparse(new)}"
                ]
        return lines


class Cells:
    """All cells whose source is known."""

    def __init__(self) -> None:
        self._cells = {file: Cell(file, number) for number, file in kernel.cells()}

    def cell(self, file: str) -> Cell:
        """The cell, or other source, of a file name as tracebacks have it."""
        if file not in self._cells:
            self._cells[file] = Cell(file, 0)
        return self._cells[file]

    def _statements(self) -> Iterator[Statement]:
        for cell in list(self._cells.values()):
            yield from cell.statements()

    def function_statement(self, function: Any) -> Statement | None:
        """The statement that made a function, if it stands at the top of a cell."""
        code = function.__code__
        for statement in self.cell(code.co_filename).statements():
            is_function = isinstance(statement.node, _FUNCTIONS)
            if is_function and statement.first == code.co_firstlineno:
                return statement
        return None

    def class_statement(self, kind: type) -> Statement | None:
        """The statement that made a class, if it stands at the top of a cell."""
        for code in _methods_of(kind):
            self.cell(code.co_filename)  # %run brings files that are no cells.
        for statement in self._statements():
            if _fits(statement, kind):
                return statement
        return None

    def assignment(self, name: str) -> Statement | None:
        """The assignment that bound a name, where nothing bound it later."""
        for statement in self._statements():
            node = statement.node
            if name in _bound_by(node):
                target = _target_of(node)
                return statement if target == name else None
        return None

    def imports(self, name: str) -> Iterator[str]:
        """Imports that bound a name, each as a statement for this name alone."""
        for statement in self._statements():
            for node in ast.walk(statement.node):
                if isinstance(node, ast.Import):
                    for each in node.names:
                        if name == (each.asname or each.name.partition(".")[0]):
                            yield f"import {_named(each)}"
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    for each in node.names:
                        if name == (each.asname or each.name):
                            yield f"from {node.module} import {_named(each)}"


def _named(alias: ast.alias) -> str:
    return f"{alias.name} as {alias.asname}" if alias.asname else alias.name


def _fits(statement: Statement, kind: type) -> bool:
    """Whether a statement is the one that made a class."""
    node = statement.node
    if not (isinstance(node, ast.ClassDef) and node.name == kind.__name__):
        return False
    inside = range(node.lineno, (node.end_lineno or node.lineno) + 1)
    for code in _methods_of(kind):
        here = code.co_filename == statement.cell.file
        if not (here and code.co_firstlineno in inside):
            return False
    line = getattr(kind, "__firstlineno__", None)
    if line is not None and line not in (statement.first, node.lineno):
        return False
    said = {
        item.target.id
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }
    try:
        return said == set(inspect.get_annotations(kind))
    except NameError:
        return True  # Python 3.14 evaluates annotations only now.


def _methods_of(kind: type) -> list[CodeType]:
    """The code of what a class statement defines as functions."""
    functions = [m for m in list(vars(kind).values()) if inspect.isfunction(m)]
    inside = f"{kind.__qualname__}."
    return [f.__code__ for f in functions if f.__code__.co_qualname.startswith(inside)]


def _bound_by(node: ast.stmt) -> set[str]:
    """The names that a statement binds at the top of a cell."""
    if isinstance(node, _FUNCTIONS | ast.ClassDef):
        return {node.name}
    return {
        each.id
        for each in ast.walk(node)
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    }


def _target_of(node: ast.stmt) -> str | None:
    """The one name that a plain assignment binds."""
    target: Any = getattr(node, "target", getattr(node, "name", None))
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        (target,) = node.targets
    elif not (getattr(node, "value", None) and not isinstance(node, ast.AugAssign)):
        return None
    return target.id if isinstance(target, ast.Name) else None
