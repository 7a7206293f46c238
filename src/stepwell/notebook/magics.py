"""The magics: `%%workflow`, `%%step`, `%%event`, `%workflow`. Thin, over public names.

A plain class with decorated methods gives the identical objects; magics spare a
learner the class and `self`. Cells are rewritten to `await …` before they run, for
a magic itself cannot wait. How bodies are read and run is in `sources`.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import contextlib
import re
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from IPython.core.magic import no_var_expand

import stepwell
from stepwell import Event, Workflow, step

from . import kernel, tracebacks
from .displays import show_diagram
from .errors import MagicError
from .options import PARSERS, option_names, parse_options
from .sources import (
    CHOOSER,
    TARGET,
    add_names,
    aim_steps,
    class_of,
    evaluate_pairs,
    module_text,
    parse_body,
    run_body,
    takes_event,
)

_HEAD = re.compile(r"%%(workflow|step|event)(?=\s|$)(.*)", re.DOTALL)


def rewrite(lines: list[str]) -> list[str]:
    """Turn one of our cells into an `await`, before IPython looks at it.

    A body with a syntax error is given to IPython as it is, under an empty first
    line: its own message then names the cell's own line.
    """
    found = _HEAD.match(lines[0]) if lines else None
    if found is None:
        return lines
    ip: Any = kernel.current_shell()
    body = (
        ip.input_transformer_manager.transform_cell("".join(lines[1:]))
        if lines[1:]
        else ""
    )
    try:
        parse_body(body, "<cell>")
    except SyntaxError:
        return ["\n", *lines[1:]]
    # The number of the cell is taken here, because IPython counts on before it runs.
    words = f"{found[1]!r}, {found[2].strip()!r}, {body!r}, {ip.execution_count!r}"
    return [f"{tracebacks.REWRITTEN}{words})\n"]


async def run_cell(magic: str, line: str, body: str, number: int | None = None) -> Any:
    """Run one magic cell; what the rewritten cell awaits.

    Returns:
        The result of the run for `%%workflow --run`, else None.

    Raises:
        MagicError: The options or the body cannot be used.
    """
    ip: Any = kernel.current_shell()
    try:
        given = parse_options(magic, line)
        source = "\n" + body
        count = ip.execution_count if number is None else number
        file: str = ip.compile.cache(source, count, raw_code=source)
        tree = parse_body(body, file)
        if magic == "event":
            return await _make_event(ip, given, tree, file)
        if magic == "step":
            return await _add_steps(ip, given, tree, file)
        return await _make_workflow(ip, given, tree, file, body)
    except Exception as error:
        tracebacks.shorten(error)
        raise


async def _make_workflow(
    ip: Any, given: argparse.Namespace, tree: ast.Module, file: str, body: str
) -> Any:
    names = ip.user_ns
    made: type[Workflow] = types.new_class(
        given.name, (Workflow,), exec_body=_class_body(given.timeout)
    )
    if not await _define(tree, file, names, made, given.workers):
        raise MagicError(
            f"%%workflow {given.name}: the cell has no step.",
            hint="Write a function that takes an event: "
            "`def greet(ev: StartEvent) -> StopEvent:`",
        )
    names[given.name] = made
    if given.write:
        path = Path(given.write)
        if path.suffix != ".py":
            raise MagicError(
                f"--write makes a Python module; {path} does not end in .py."
            )
        try:
            path.write_text(module_text(given.name, body), encoding="utf-8")
        except OSError as error:
            raise MagicError(
                f"--write: {path} cannot be written: {error.strerror}."
            ) from None
    if given.run is None:
        if not given.no_draw:
            show_diagram(made)
        return None
    fields = evaluate_pairs(given.run, names)
    result = await made().run(**fields)
    if given.into:
        names[given.into] = result
    return result


async def _add_steps(
    ip: Any, given: argparse.Namespace, tree: ast.Module, file: str
) -> None:
    found = ip.user_ns.get(given.name)
    if not (isinstance(found, type) and issubclass(found, Workflow)):
        known = ", ".join(workflows_in(ip.user_ns)) or "none yet"
        raise MagicError(
            f"%%step: no workflow is named {given.name}; there are: {known}."
        )
    await _define(tree, file, ip.user_ns, found, None)
    if not given.no_draw:
        show_diagram(found)


async def _make_event(
    ip: Any, given: argparse.Namespace, tree: ast.Module, file: str
) -> None:
    names = ip.user_ns
    base = names.get(given.base, getattr(stepwell, given.base, None))
    if not (isinstance(base, type) and issubclass(base, Event)):
        raise MagicError(f"%%event: --base {given.base} is no event class.")
    add_names(tree, names)
    with _known(names, {TARGET: base}):
        await run_body(class_of(given.name, tree), file, names)


async def _define(
    tree: ast.Module,
    file: str,
    names: dict[str, Any],
    made: type[Workflow],
    workers: int | None,
) -> int:
    """Run a body whose steps go to one workflow; give back how many it has."""
    more: dict[str, Any] = {"num_workers": workers} if workers else {}
    add_names(tree, names)
    count = aim_steps(tree)

    def step_if_it_takes_an_event(function: Any) -> Any:
        nonlocal count
        if not takes_event(function):
            return function
        count += 1
        return step(workflow=made, **more)(function)

    with _known(names, {TARGET: made, CHOOSER: step_if_it_takes_an_event}):
        await run_body(tree, file, names)
    return count


@contextlib.contextmanager
def _known(names: dict[str, Any], more: dict[str, Any]) -> Iterator[None]:
    """Lend a body some names for as long as it runs."""
    names.update(more)
    try:
        yield
    finally:
        for name in more:
            names.pop(name, None)


def _class_body(timeout: float | None) -> Callable[[dict[str, Any]], None]:
    """What stands in the class of a `%%workflow`: its module, and its own timeout."""

    def with_timeout(self: Workflow, *args: Any, **options: Any) -> None:
        if not args:
            options.setdefault("timeout", timeout)
        Workflow.__init__(self, *args, **options)

    def fill(body: dict[str, Any]) -> None:
        body["__module__"] = "__main__"
        if timeout is not None:
            body["__init__"] = with_timeout

    return fill


def workflows_in(names: dict[str, Any]) -> list[str]:
    """Names of the workflow classes a user has."""
    return [
        name
        for name, value in names.items()
        if isinstance(value, type)
        and issubclass(value, Workflow)
        and value is not Workflow
        and not name.startswith("_")
    ]


def list_workflows(line: str) -> None:
    """List the workflows there are, each with its graph; or draw the one named."""
    ip: Any = kernel.current_shell()
    there = workflows_in(ip.user_ns)
    wanted = line.split() or there
    for name in wanted:
        if name not in there:
            known = ", ".join(there) or "none yet"
            raise MagicError(
                f"%workflow: no workflow is named {name}; there are: {known}."
            )
        show_diagram(ip.user_ns[name])
    if not wanted:
        print("No workflow yet. Begin a cell with: %%workflow Name")


def load(ip: Any) -> None:
    """Register the magics with a shell; a second call does nothing."""
    unload(ip)
    ip.input_transformers_cleanup.append(rewrite)
    for magic in PARSERS:
        ip.register_magic_function(_plain_magic(magic), "cell", magic)
        kernel.complete_after(ip, f"%%{magic}", _completer(magic))
    ip.register_magic_function(list_workflows, "line", "workflow")


def unload(ip: Any) -> None:
    """Take everything away that `load` registered."""
    while rewrite in ip.input_transformers_cleanup:
        ip.input_transformers_cleanup.remove(rewrite)
    for magic in PARSERS:
        ip.magics_manager.magics["cell"].pop(magic, None)
        kernel.complete_after(ip, f"%%{magic}", None)
    ip.magics_manager.magics["line"].pop("workflow", None)


def _plain_magic(magic: str) -> Callable[[str, str], Any]:
    """The magic as IPython knows it: for its help, and where no cell is rewritten."""

    def plain(line: str, cell: str) -> Any:
        work = run_cell(magic, line, cell)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(work)
        return work

    plain.__name__ = magic
    plain.__doc__ = PARSERS[magic].format_help()
    made: Callable[[str, str], Any] = no_var_expand(plain)
    return made


def _completer(magic: str) -> Callable[[Any, Any], list[str]]:
    options = option_names(magic)

    def complete(_: Any, event: Any) -> list[str]:
        word = event.symbol
        if word.startswith("-"):
            return [option for option in options if option.startswith(word)]
        ip: Any = kernel.current_shell()
        return workflows_in(ip.user_ns) if magic == "step" else []

    return complete
