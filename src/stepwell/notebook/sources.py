"""Cells as source: which statements are steps, and running a body in the user's names.

Pure but for `run_body`, which executes. Line numbers are the cell's own. Options and
their meaning are in `magics`.
"""

from __future__ import annotations

import ast
import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any

import stepwell
from stepwell import Event

from .errors import MagicError

TARGET = "__stepwell_target__"
CHOOSER = "__stepwell_step_if_it_takes_an_event__"


def parse_body(body: str, file: str, *, first_line: int = 2) -> ast.Module:
    """Parse a cell's body; a syntax error names the cell's own line.

    Args:
        body: The cell without its magic line.
        file: The name that tracebacks find the source by.
        first_line: The cell's line on which the body begins.
    """
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(
        "\n" * (first_line - 1) + body, file, "exec", flags, dont_inherit=True
    )
    assert isinstance(tree, ast.Module)
    return tree


def aim_steps(tree: ast.Module) -> int:
    """Point every step of the body at the workflow being made.

    `@step` and `@step(num_workers=3)` get `workflow=` added, unless they name one. A
    function without decorators gets one that makes it a step if it takes an event.

    Returns:
        How many functions carry `@step`.
    """
    aimed = 0
    for item in tree.body:
        if not isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if item.decorator_list:
            found = [_aimed(one) for one in item.decorator_list]
            aimed += any(found)
            item.decorator_list = [
                new or old for new, old in zip(found, item.decorator_list, strict=True)
            ]
        else:
            chooser: ast.expr = ast.Name(CHOOSER, ast.Load())
            item.decorator_list = [ast.copy_location(chooser, item)]
    ast.fix_missing_locations(tree)
    return aimed


def add_names(tree: ast.Module, names: dict[str, Any]) -> None:
    """Give a body the names of stepwell that it uses and its author did not import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in stepwell.__all__:
            names.setdefault(node.id, getattr(stepwell, node.id))


def class_of(name: str, tree: ast.Module) -> ast.Module:
    """A module with one class: the given body, derived from the target."""
    made = ast.parse(f"class {name}({TARGET}): pass")
    first = made.body[0]
    assert isinstance(first, ast.ClassDef)
    first.body = tree.body or first.body
    return made


def module_text(name: str, body: str) -> str:
    """A workflow cell as a plain module: imports, the class, its steps with `@step`.

    Comments and layout of the body are kept; only decorators are put in.
    """
    tree = ast.parse(body)
    lines = body.strip("\n").splitlines()
    skipped = body[: len(body) - len(body.lstrip("\n"))].count("\n")
    edits: list[tuple[int, int, str]] = []
    for item in tree.body:
        if not isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for decorator in item.decorator_list:
            aimed = _aimed(decorator, name)
            if aimed is not None:
                text = f"@{ast.unparse(aimed)}"
                edits.append(
                    (decorator.lineno, decorator.end_lineno or decorator.lineno, text)
                )
        if not item.decorator_list and _names_event(item):
            edits.append((item.lineno, item.lineno - 1, f"@step(workflow={name})"))
    if edits:
        at = min(first for first, _, _ in edits)
        edits.append((at, at - 1, f"\nclass {name}(Workflow):\n    pass\n\n"))
    for first, last, text in sorted(edits, key=lambda e: e[0], reverse=True):
        lines[first - 1 - skipped : last - skipped] = [text]
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    imported = sorted({"Workflow", "step"} | (used & set(stepwell.__all__)))
    head = (
        f'"""The workflow {name}, written by %%workflow."""\n\n'
        "from __future__ import annotations\n"
    )
    return (
        f"{head}\nfrom stepwell import {', '.join(imported)}\n\n"
        + "\n".join(lines)
        + "\n"
    )


def takes_event(function: Any) -> bool:
    """Whether a function can be a step: a parameter is annotated with an event."""
    if not inspect.isfunction(function):
        return False
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError):
        # An unknown name in an annotation: let `step` say so, in its own words.
        return True
    hints.pop("return", None)
    return any(_is_event(part) for hint in hints.values() for part in _parts(hint))


async def run_body(tree: ast.Module, file: str, names: dict[str, Any]) -> None:
    """Execute a parsed body in `names`; it may await at its top level."""
    code = compile(
        tree, file, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
    )
    made = types.FunctionType(code, names)()
    if inspect.iscoroutine(made):
        await made


def split_words(line: str) -> list[str]:
    """Split a magic's line at spaces outside brackets and quotes.

    `--run q="two words" k=[1, 2]` gives `--run`, `q="two words"`, `k=[1, 2]`: quotes
    stay, for the values are Python.
    """
    words: list[str] = []
    word, depth, quote = "", 0, ""
    for before, char in zip(" " + line, line, strict=False):
        if quote:
            word += char
            if char == quote and before != "\\":
                quote = ""
            continue
        if char in "\"'":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char.isspace() and depth <= 0:
            if word:
                words.append(word)
            word = ""
            continue
        word += char
    if quote or depth > 0:
        raise MagicError(f"a quote or bracket is not closed: {line.strip()}")
    return [*words, word] if word else words


def evaluate_pairs(pairs: list[str], names: Mapping[str, Any]) -> dict[str, Any]:
    """Turn `key=expression` words into values, evaluated in the user's names."""
    values: dict[str, Any] = {}
    for pair in pairs:
        key, sign, expression = pair.rstrip(",").partition("=")
        if not sign or not key.isidentifier() or not expression:
            raise MagicError(
                f"--run takes key=expression, not {pair!r}.",
                hint='Write for example: --run query="What is a stepwell?" k=3',
            )
        try:
            values[key] = eval(expression, dict(names))
        except Exception as error:
            raise MagicError(
                f"--run {key}={expression} is not usable Python: "
                f"{type(error).__name__}: {error}.",
                hint=f'Text needs quotes, as in {key}="…".',
            ) from None
    return values


def _names_event(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a parameter's annotation reads like an event class."""
    arguments = [
        *function.args.posonlyargs,
        *function.args.args,
        *function.args.kwonlyargs,
    ]
    return any(
        isinstance(node, ast.Name)
        and node.id not in ("Context", "str", "int", "float", "bool")
        for one in arguments
        if one.annotation is not None
        for node in ast.walk(one.annotation)
    )


def _aimed(decorator: ast.expr, target: str = TARGET) -> ast.expr | None:
    """The decorator with `workflow=` added, or None where it is not `step`."""
    call = decorator if isinstance(decorator, ast.Call) else None
    name = call.func if call else decorator
    if not (
        (isinstance(name, ast.Name) and name.id == "step")
        or (isinstance(name, ast.Attribute) and name.attr == "step")
    ):
        return None
    given = list(call.keywords) if call else []
    if any(keyword.arg == "workflow" for keyword in given):
        return decorator
    aim = ast.keyword("workflow", ast.Name(target, ast.Load()))
    made = ast.Call(name, list(call.args) if call else [], [*given, aim])
    return ast.copy_location(made, decorator)


def _parts(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) or (hint,)


def _is_event(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Event)
