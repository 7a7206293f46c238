"""Cells as source: the magic line and its body, which statements are steps, running it.

Pure but for `run_body`, which executes. Line numbers are the cell's own. Options and
their meaning are in `options`, how a workflow is written as a module in `modules`.
"""

from __future__ import annotations

import ast
import inspect
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Annotated, Any, Union
from weakref import WeakKeyDictionary

import stepwell
from stepwell import Event

from .errors import MagicError

TARGET = "__stepwell_target__"
CHOOSER = "__stepwell_step_if_it_takes_an_event__"
VALUE = "__stepwell_value__"
AWAITED = "__stepwell_awaited_"
_HEAD = re.compile(r"%%(workflow|step|event)(?=\s|$)(.*)", re.DOTALL)
_STEP_MAKERS = ("step", "catch_error")


@dataclass(frozen=True, slots=True)
class Head:
    """The magic line of a cell.

    Attributes:
        magic: Name of the magic, without `%%`.
        line: What stands behind it.
        above: How many lines of the cell, blank or comments, stand above it.
    """

    magic: str
    line: str
    above: int


@dataclass(frozen=True, slots=True)
class Origin:
    """The cell that a magic made a class of.

    Attributes:
        file: The name that tracebacks find its source by.
        base: For an event, the class it is derived from, as written.
        timeout: For a workflow, the seconds its runs may take.
        workers: For a workflow, how many calls of a step run at once.
    """

    file: str
    base: str = ""
    timeout: float | None = None
    workers: int | None = None


# Where the classes that magics made come from, for whoever writes them to a file.
ORIGINS: WeakKeyDictionary[type, Origin] = WeakKeyDictionary()


def head_of(lines: list[str]) -> Head | None:
    """Find the magic line of one of our cells, below blank lines and comments."""
    for above, line in enumerate(lines):
        text = line.strip()
        if found := _HEAD.match(text):
            return Head(found[1], found[2].strip(), above)
        if text and not text.startswith("#"):
            return None
    return None


def parse_body(body: str, file: str, *, flags: int = 0) -> ast.Module:
    """Parse a cell's body, which may await at its top level.

    Args:
        body: The cell, with empty lines in the place of the magic line and those above.
        file: The name that tracebacks find the source by.
        flags: What earlier cells asked for with `from __future__ import …`.
    """
    wanted = flags | ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(body, file, "exec", wanted, dont_inherit=True)
    assert isinstance(tree, ast.Module)
    return tree


def compiled(tree: ast.Module, file: str, *, flags: int = 0) -> CodeType:
    """Compile a body; finds the mistakes that parsing does not."""
    wanted = flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    made: CodeType = compile(tree, file, "exec", wanted, dont_inherit=True)
    return made


async def run_body(code: CodeType, names: dict[str, Any]) -> None:
    """Execute a compiled body in `names`; it may await at its top level."""
    made = types.FunctionType(code, names)()
    if inspect.iscoroutine(made):
        await made


def keep_value(tree: ast.Module, body: str) -> None:
    """Keep what a body's last expression gives, as a cell does; not before a `;`."""
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr) or last.end_lineno is None:
        return
    line = body.split("\n")[last.end_lineno - 1].encode("utf-8")
    if not line[last.end_col_offset :].lstrip().startswith(b";"):
        kept = ast.Assign([ast.Name(VALUE, ast.Store())], last.value)
        tree.body[-1] = ast.fix_missing_locations(ast.copy_location(kept, last))


def aim_steps(tree: ast.Module, name: str, *, workers: int | None = None) -> None:
    """Point every step of the body at the workflow being made.

    `@step` and `@catch_error` get `workflow=` added, unless they name another one. A
    function without decorators gets one that makes it a step if it takes an event.

    Args:
        tree: The body.
        name: Name of the workflow.
        workers: How many calls of a step run at once, where it does not say.
    """
    for item in tree.body:
        if not isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if item.decorator_list:
            item.decorator_list = [
                aimed(each, name, TARGET, workers=workers) or each
                for each in item.decorator_list
            ]
        else:
            chooser: ast.expr = ast.Name(CHOOSER, ast.Load())
            item.decorator_list = [ast.copy_location(chooser, item)]
    ast.fix_missing_locations(tree)


def aimed(
    decorator: ast.expr, name: str, target: str | None, *, workers: int | None = None
) -> ast.expr | None:
    """A `@step` that belongs to `name`, with `workflow=target`; else None.

    Args:
        decorator: Any decorator.
        name: Name of the workflow.
        target: What the workflow shall be called; None for a method, which needs none.
        workers: How many calls run at once, where the decorator does not say.
    """
    call = decorator if isinstance(decorator, ast.Call) else None
    maker = call.func if call else decorator
    said = getattr(maker, "id", getattr(maker, "attr", None))
    if said not in _STEP_MAKERS:
        return None
    given = list(call.keywords) if call else []
    aim = ast.keyword("workflow", ast.Name(target or "", ast.Load()))
    place = next((i for i, k in enumerate(given) if k.arg == "workflow"), None)
    if place is not None and getattr(given[place].value, "id", None) != name:
        return None
    if place is not None:
        given[place : place + 1] = [aim] if target else []
    if workers and said == "step" and "num_workers" not in {k.arg for k in given}:
        given.append(ast.keyword("num_workers", ast.Constant(workers)))
    if target and place is None:
        given.append(aim)
    arguments = list(call.args) if call else []
    made = ast.Call(maker, arguments, given) if given or arguments else maker
    return ast.fix_missing_locations(ast.copy_location(made, decorator))


def event_module(name: str, tree: ast.Module, line: int) -> ast.Module:
    """A module that makes an event of a body, derived from the target.

    Imports go before the class, for they are no fields. So does what a field awaits,
    for a class cannot wait.
    """
    before: list[ast.stmt] = []
    inside: list[ast.stmt] = []
    for item in tree.body:
        if isinstance(item, ast.Import | ast.ImportFrom):
            before.append(item)
            continue
        _refuse_untyped(name, item)
        value = getattr(item, "value", None)
        if isinstance(value, ast.expr) and _awaits(value):
            kept = f"{AWAITED}{len(before)}__"
            before.append(
                ast.copy_location(
                    ast.Assign([ast.Name(kept, ast.Store())], value), item
                )
            )
            new = ast.copy_location(ast.Name(kept, ast.Load()), value)
            item.value = new  # type: ignore[attr-defined]
        elif _awaits(item):
            raise MagicError(
                f"%%event {name}: only the value of a field can be awaited, line "
                f"{item.lineno} awaits elsewhere."
            )
        inside.append(item)
    (made,) = ast.parse(f"class {name}({TARGET}): pass").body
    assert isinstance(made, ast.ClassDef)
    ast.increment_lineno(made, line - 1)
    made.body = inside or made.body
    return ast.fix_missing_locations(ast.Module([*before, made], []))


def _refuse_untyped(event: str, item: ast.stmt) -> None:
    """Refuse a field without a type, in the words of who writes cells."""
    field: ast.expr | None = None
    kind = "str"
    if isinstance(item, ast.Assign) and len(item.targets) == 1:
        (field,) = item.targets
        if isinstance(item.value, ast.Constant):
            kind = type(item.value.value).__name__
        elif not isinstance(item.value, ast.List | ast.Dict | ast.Tuple | ast.Set):
            return
    elif isinstance(item, ast.Expr):
        field = item.value
    if isinstance(field, ast.Name) and not field.id.startswith(("_", "model_")):
        raise MagicError(
            f"%%event {event}: line {item.lineno} gives the field {field.id} no type.",
            hint=f"Write for example: {field.id}: {kind}",
        )


def defined_names(tree: ast.Module) -> dict[str, int]:
    """Classes and functions that a body defines, each with its line."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {item.name: item.lineno for item in tree.body if isinstance(item, kinds)}


def functions_in(tree: ast.Module) -> list[str]:
    """Functions that a body defines and that are not named as helpers."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    functions = (item.name for item in tree.body if isinstance(item, kinds))
    return [name for name in functions if not name.startswith("_")]


def add_names(tree: ast.Module, names: dict[str, Any]) -> None:
    """Give a body the names of stepwell that it uses and its author did not import."""
    for name in _used(tree):
        if name in stepwell.__all__:
            names.setdefault(name, getattr(stepwell, name))


def takes_event(function: Any) -> bool:
    """Whether a function without decorators is a step.

    It is when a parameter is annotated with an event, or a list of them, and its name
    does not begin with an underscore.
    """
    if not inspect.isfunction(function) or function.__name__.startswith("_"):
        return False
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError, SyntaxError):
        # An unknown name in an annotation: let `step` say so, in its own words.
        return True
    hints.pop("return", None)
    return any(_is_event(hint) for hint in hints.values())


def _is_event(hint: Any) -> bool:
    if typing.get_origin(hint) in (Union, types.UnionType, list, Annotated):
        return any(_is_event(part) for part in typing.get_args(hint))
    return isinstance(hint, type) and issubclass(hint, Event)


def _used(tree: ast.AST) -> Iterator[str]:
    """Names in a body, those in annotations that are written as text as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        for field in ("annotation", "returns"):
            text = getattr(getattr(node, field, None), "value", None)
            if isinstance(text, str):
                yield from re.findall(r"\w+", text)


def _awaits(node: ast.AST) -> bool:
    """Whether running a statement waits, leaving out functions defined in it."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return False
    if isinstance(node, ast.Await) or getattr(node, "is_async", False):
        return True
    return any(_awaits(child) for child in ast.iter_child_nodes(node))
