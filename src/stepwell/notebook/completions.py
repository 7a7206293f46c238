"""What Tab offers on the line of a magic: options, workflows, events, fields.

Completion of the body is IPython's own. The options themselves are in `options`.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
import textwrap
from collections.abc import Mapping
from typing import Any

from IPython.core.completer import SimpleCompletion, context_matcher

import stepwell
from stepwell import Event, StartEvent, Workflow

from . import kernel
from .options import PARSERS, option_names


def workflows_in(names: Mapping[str, Any]) -> list[str]:
    """Names of the workflow classes a user has."""
    return _kinds_in(names, Workflow)


def events_in(names: Mapping[str, Any]) -> list[str]:
    """Names of the event classes a user has, and of those to derive from."""
    given = ["Event", "StartEvent", "StopEvent"]
    given += ["InputRequiredEvent", "HumanResponseEvent"]
    return list(dict.fromkeys([*_kinds_in(names, Event), *given]))


def _kinds_in(names: Mapping[str, Any], kind: type) -> list[str]:
    return [
        name
        for name, value in names.items()
        if isinstance(value, type)
        and issubclass(value, kind)
        and not name.startswith("_")
        and value is not getattr(stepwell, name, None)
    ]


def answer(context: Any) -> dict[str, Any]:
    """Answer IPython when Tab is pressed; with nothing outside the line of a magic."""
    line = context.line_with_cursor.lstrip()
    name = line.split(maxsplit=1)[0] if line.strip() else ""
    offers: list[str] = []
    before = context.text_until_cursor
    word = re.split(r"[\s=]", before)[-1]
    if name in PARSERS and before.lstrip() != name:
        written = before[: len(before) - len(word)].split()[1:]
        lines = context.full_text.split("\n")
        body = "\n".join(lines[context.cursor_line + 1 :])
        offers = _offers(name, word, written, body)
    found = [each for each in offers if each.startswith(word)]
    return {
        "completions": [SimpleCompletion(text=each, type="magic") for each in found],
        "matched_fragment": word,
        "ordered": True,
        "suppress": bool(found),
    }


# The same function as IPython knows it.
matcher: Any = context_matcher(identifier="stepwell.magics")(answer)


def _offers(magic: str, word: str, written: list[str], body: str) -> list[str]:
    ip: Any = kernel.current_shell()
    options = [text for text in option_names(magic) if text not in written]
    current = next((each for each in reversed(written) if each.startswith("--")), "")
    if word.startswith("-"):
        return options
    if written and written[-1] == "--base":
        return events_in(ip.user_ns)
    if magic in ("%%step", "%workflow") and current != "--write":
        named = magic == "%%step" and bool(written)
        return options if named else workflows_in(ip.user_ns)
    if current == "--run" and written[-1][-1:] != "=":
        there = [each.partition("=")[0] for each in written]
        fields = [*_read_in(body), *_start_fields(ip.user_ns.get(written[0]))]
        return [f"{each}=" for each in dict.fromkeys(fields) if each not in there]
    return []


def _read_in(body: str) -> list[str]:
    """What a body reads of its start event, or declares in one."""
    with contextlib.suppress(SyntaxError, ValueError):
        found: list[str] = []
        starts = {"StartEvent"}
        for item in ast.parse(body).body:
            if isinstance(item, ast.ClassDef) and starts & {
                getattr(base, "id", None) for base in item.bases
            }:
                starts.add(item.name)
                fields = (each for each in item.body if isinstance(each, ast.AnnAssign))
                found += [getattr(each.target, "id", "") for each in fields]
            elif isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
                taken = {
                    each.arg
                    for each in item.args.args
                    if getattr(each.annotation, "id", None) in starts
                }
                found += _read_from(item, taken)
        return found
    return []


def _start_fields(workflow: Any) -> list[str]:
    """What a workflow's start event takes: its fields, or what its steps read of it."""
    if not (isinstance(workflow, type) and issubclass(workflow, Workflow)):
        return []
    found: list[str] = []
    with contextlib.suppress(Exception):
        plan = workflow.compile()
        found += plan.start_class.model_fields
        for spec in plan.steps:
            if any(issubclass(kind, StartEvent) for kind in spec.accepts):
                source = textwrap.dedent(inspect.getsource(spec.function))
                found += _read_from(ast.parse(source), set(spec.event_parameters))
    return list(dict.fromkeys(found))


def _read_from(tree: ast.AST, parameters: set[str]) -> list[str]:
    return [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in parameters
        and not hasattr(Event, node.attr)
    ]
