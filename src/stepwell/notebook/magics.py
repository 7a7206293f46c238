"""The magics: `%%workflow`, `%%step`, `%%event`, `%workflow`. Thin, over public names.

A plain class with decorated methods gives the identical objects; magics spare a
learner the class and `self`. Cells are rewritten to `await …` before they run, for
a magic itself cannot wait. How bodies are read and run is in `sources`, how options
are, in `options`; steps are held back by `drafts`; files are made by `modules`.
"""

from __future__ import annotations

import ast
import asyncio
import re
import types
from collections.abc import Callable
from typing import Any

from IPython.core.magic import no_var_expand

import stepwell
from stepwell import Event, Workflow, WorkflowHandler

from . import completions, kernel, tracebacks
from .displays import show_diagram
from .drafts import Draft, MagicCell, as_python, gathered_notices, is_kind
from .errors import MagicError
from .modules import write_module
from .options import PARSERS, evaluate_pairs, parse_options, parse_pairs
from .sources import (
    ORIGINS,
    TARGET,
    Origin,
    aim_steps,
    compiled,
    defined_names,
    event_module,
    functions_in,
    head_of,
    parse_body,
)
from .svg import Mark

_CELL_MAGICS = ("workflow", "step", "event")
_TIMERS = re.compile(r"\s*%%(time|timeit|capture|prun)\b")


def rewrite(lines: list[str]) -> list[str]:
    """Turn one of our cells into an `await`, before IPython looks at it.

    A body with a syntax error is given to IPython as it is, below a comment: its own
    message then names the cell's own line.
    """
    head = head_of(lines)
    body = "".join(lines[head.above + 1 :]) if head else ""
    if head is None and lines and _TIMERS.match(lines[0]):
        # They cannot wait. What is asked of them is said instead of run.
        head, body = head_of(lines[1:]), lines[0]
    if head is None:
        return lines
    ip: Any = kernel.current_shell()
    try:
        source = "" if body.startswith("%%") else as_python(ip, body)
        compiled(parse_body(source, "<cell>", flags=ip.compile.flags), "<cell>")
    except SyntaxError:
        # Comments, as IPython takes empty lines away and would count from there.
        return ["#\n"] * (head.above + 1) + lines[head.above + 1 :]
    # The number of the cell is taken here, because IPython counts on before it runs.
    words = (head.magic, head.line, body, ip.execution_count, head.above)
    return [f"{tracebacks.REWRITTEN}{', '.join(map(repr, words))})\n"]


# So that a terminal asks for the body of the magic before it runs anything.
rewrite.has_side_effects = True  # type: ignore[attr-defined]


async def run_cell(
    magic: str, line: str, body: str, number: int | None = None, above: int = 0
) -> Any:
    """Run one magic cell; what the rewritten cell awaits.

    Args:
        magic: Name of the magic, without `%%`.
        line: What stands behind it.
        body: The rest of the cell.
        number: The number of the cell.
        above: How many lines of the cell stand above the magic.

    Returns:
        What the cell's value is: the result of `%%workflow --run`, its handler with
        `--background`, else the body's last expression.

    Raises:
        MagicError: The options or the body cannot be used.
    """
    ip: Any = kernel.current_shell()
    try:
        given = parse_options(f"%%{magic}", line)
        count = ip.execution_count if number is None else number
        cell = MagicCell(ip, given, body, above + 1, count)
        if magic == "event":
            return await _make_event(cell)
        if magic == "step":
            return await _add_steps(cell)
        return await _make_workflow(cell)
    except Exception as error:
        tracebacks.shorten(error)
        raise


async def _make_workflow(cell: MagicCell) -> Any:
    given, names = cell.given, cell.names
    _refuse_to_hide(cell, given.name)
    made: type[Workflow] = types.new_class(
        given.name, (Workflow,), exec_body=_class_body(given.timeout, cell.tree)
    )
    aim_steps(cell.tree, given.name, workers=given.workers)
    draft = Draft(given.workers)
    value = await draft.fill(cell)
    if not any(draft.give_to(made)):
        raise _no_step(cell, "%%workflow")
    ORIGINS[made] = Origin(cell.file, timeout=given.timeout, workers=given.workers)
    names[given.name] = made
    if cell.redefined:
        print(
            f"{', '.join(dict.fromkeys(cell.redefined))} redefined; runs that have "
            "begun go on as they began."
        )
    if given.write:
        pairs = None if given.run is None else parse_pairs(given.run)
        print(write_module(made, given.write, names, run=pairs))
    if given.run is None:
        if not given.no_draw:
            show_diagram(made)
        return value
    fields = await evaluate_pairs(given.run, names)
    handler = made().run(**fields)
    result = handler if given.background else await handler
    if given.into:
        names[given.into] = result
    return result


async def _add_steps(cell: MagicCell) -> Any:
    given = cell.given
    found = cell.names.get(given.name)
    if not (isinstance(found, type) and issubclass(found, Workflow)):
        raise _no_workflow("%%step", given.name, cell.names)
    _refuse_to_hide(cell, None)
    aim_steps(cell.tree, given.name)
    cell.redefined.remove(given.name)
    draft = Draft()
    value = await draft.fill(cell)
    with gathered_notices(None):
        new, old = draft.give_to(found)
    if not (new or old):
        raise _no_step(cell, "%%step")
    said = [f"`{name}` replaced" for name in old] + [f"`{name}` added" for name in new]
    said += [f"{name} redefined" for name in cell.redefined]
    print(f"{given.name}: {', '.join(said)}.")
    if not given.no_draw:
        marks = {name: Mark("done", "new") for name in new}
        marks |= {name: Mark("waiting", "changed") for name in old}
        show_diagram(found, marks=marks)
    return value


async def _make_event(cell: MagicCell) -> Any:
    given, names = cell.given, cell.names
    base: Any = Event
    if given.base != "Event":
        first, *rest = given.base.split(".")
        base = names.get(first, getattr(stepwell, first, None))
        for part in rest:
            base = getattr(base, part, None)
    if not is_kind(base, Event):
        known = ", ".join(completions.events_in(names))
        raise MagicError(
            f"%%event: --base {given.base} is no event class; there are: {known}."
        )
    tree = event_module(given.name, cell.tree, cell.line)
    again = is_kind(names.get(given.name), Event)
    await cell.run(tree, {TARGET: base})
    ORIGINS[names[given.name]] = Origin(cell.file, base=given.base)
    if again:
        print(f"{given.name} redefined; steps that take it keep working.")


def _refuse_to_hide(cell: MagicCell, own: str | None) -> None:
    """Refuse a body that defines what later cells need, or the workflow itself."""
    for name, line in defined_names(cell.tree).items():
        if name in stepwell.__all__:
            raise MagicError(
                f"line {line} defines {name}, a name of stepwell itself, which later "
                "cells need.",
                hint="Choose another name.",
            )
        if name == own:
            raise MagicError(
                f"line {line} defines {name}, which %%workflow {name} makes itself.",
                hint=f"Leave `class {name}(…):` out, with `self`; or leave the magic "
                "out, for a class needs none.",
            )


def _no_step(cell: MagicCell, magic: str) -> MagicError:
    there = functions_in(cell.tree)
    said = f"; no event is in the annotations of {', '.join(there)}" if there else ""
    name = there[0] if there else "greet"
    return MagicError(
        f"{magic} {cell.given.name}: the cell has no step{said}.",
        hint="Write a function that takes an event: "
        f"`def {name}(ev: StartEvent) -> StopEvent:`",
    )


def _class_body(
    timeout: float | None, tree: ast.Module
) -> Callable[[dict[str, Any]], None]:
    """What stands in the class of a `%%workflow`: whose it is, and its own timeout."""

    def with_timeout(
        self: Workflow, timeout: float | None = timeout, **options: Any
    ) -> None:
        Workflow.__init__(self, timeout, **options)

    def fill(body: dict[str, Any]) -> None:
        body["__module__"] = "__main__"
        if text := ast.get_docstring(tree):
            body["__doc__"] = text
        if timeout is not None:
            body["__init__"] = with_timeout

    return fill


def _no_workflow(magic: str, name: str, names: dict[str, Any]) -> MagicError:
    known = ", ".join(completions.workflows_in(names)) or "none yet"
    return MagicError(f"{magic}: no workflow is named {name}; there are: {known}.")


def list_workflows(line: str) -> None:
    """List the workflows there are, each with its graph; or draw those named."""
    ip: Any = kernel.current_shell()
    given = parse_options("%workflow", line)
    there = completions.workflows_in(ip.user_ns)
    wanted = given.names or there
    for name in wanted:
        if name not in there:
            raise _no_workflow("%workflow", name, ip.user_ns)
    if given.write:
        print(write_module(ip.user_ns[wanted[0]], given.write, ip.user_ns))
        return
    for name in wanted:
        show_diagram(ip.user_ns[name])
    if not wanted:
        print("No workflow yet. Begin a cell with: %%workflow Name")


def load(ip: Any) -> None:
    """Register the magics with a shell; a second call changes nothing."""
    unload(ip)
    ip.input_transformers_cleanup.insert(0, rewrite)
    # Shift-Tab on %%workflow asks for the line magic of that name: it tells of both.
    texts = [PARSERS[name].format_help() for name in ("%workflow", "%%workflow")]
    list_workflows.__doc__ = "\n".join(texts)
    wanted: list[tuple[str, str, Callable[..., Any]]]
    wanted = [("cell", name, _plain_magic(name)) for name in _CELL_MAGICS]
    for kind, name, function in [*wanted, ("line", "workflow", list_workflows)]:
        known = ip.magics_manager.magics[kind]
        _replaced[kind, name] = known.get(name)
        ip.register_magic_function(no_var_expand(function), kind, name)
    kernel.complete_with(ip, completions.matcher, wanted=True)


def unload(ip: Any) -> None:
    """Take everything away that `load` registered, and give back what it replaced."""
    transformers = ip.input_transformers_cleanup
    transformers[:] = [each for each in transformers if each is not rewrite]
    for (kind, name), before in _replaced.items():
        known = ip.magics_manager.magics[kind]
        known.pop(name, None)
        if before is not None:
            known[name] = before
    _replaced.clear()
    kernel.complete_with(ip, completions.matcher, wanted=False)


# The magics of the same names that were there before ours.
_replaced: dict[tuple[str, str], Any] = {}


def _plain_magic(magic: str) -> Callable[[str, str], Any]:
    """The magic as IPython knows it: for its help, and where no cell is rewritten.

    That is `get_ipython().run_cell_magic(…)`, as `nbconvert --to script` writes it.
    Where no event loop runs, it waits until the cell is done, and with --background
    until the run is, for what is left behind would end with the loop.
    """

    async def to_the_end(line: str, cell: str) -> Any:
        made = await run_cell(magic, line, cell)
        if isinstance(made, WorkflowHandler):
            await made
        return made

    def plain(line: str, cell: str) -> Any:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(to_the_end(line, cell))
        return run_cell(magic, line, cell)

    plain.__name__ = magic
    plain.__doc__ = PARSERS[f"%%{magic}"].format_help()
    return plain
