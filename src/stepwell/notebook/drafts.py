"""One magic cell while it runs: its body executed, the steps it makes held back.

A workflow is given all steps of a cell or none. What a cell then shows and says is
in `magics`; how a body is read, in `sources`.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import contextlib
import inspect
import logging
from collections.abc import Callable, Iterator
from typing import Any

from stepwell import Event, StepwellError, Workflow, step

from .errors import MagicError
from .sources import (
    AWAITED,
    CHOOSER,
    TARGET,
    VALUE,
    add_names,
    compiled,
    defined_names,
    keep_value,
    parse_body,
    run_body,
    takes_event,
)


class MagicCell:
    """One magic cell while it runs: its options, its body, and the user's names."""

    def __init__(
        self, ip: Any, given: argparse.Namespace, body: str, line: int, number: int
    ) -> None:
        self.given = given
        self.names: dict[str, Any] = ip.user_ns
        self.line = line
        if body.lstrip().startswith("%%"):
            other = body.split(maxsplit=1)[0]
            raise MagicError(
                f"{other} and a magic of stepwell cannot share a cell.",
                hint="Give each a cell of its own.",
            )
        # Under as many lines as stand above it, so that its lines have their numbers.
        self._body = "\n" * line + as_python(ip, body)
        self.file: str = ip.compile.cache(self._body, number, raw_code=self._body)
        self._flags: int = ip.compile.flags
        self.tree = parse_body(self._body, self.file, flags=self._flags)
        add_names(self.tree, self.names)
        # What the body defines again; asked before it does.
        self.redefined = [
            name
            for name in (given.name, *defined_names(self.tree))
            if is_kind(self.names.get(name), Event, Workflow)
        ]

    async def run(self, tree: ast.Module, lent: dict[str, Any]) -> Any:
        """Run a body, lending it some names; gives its last expression's value."""
        if tree is self.tree:
            keep_value(tree, self._body)
        code = compiled(tree, self.file, flags=self._flags)
        self.names.update(lent)
        try:
            with gathered_notices(self.redefined):
                await run_body(code, self.names)
            return self.names.get(VALUE)
        finally:
            awaited = [name for name in self.names if name.startswith(AWAITED)]
            for name in (*lent, *awaited, VALUE):
                self.names.pop(name, None)


class Draft:
    """Takes the steps of a body for a workflow, which gets them all or none."""

    def __init__(self, workers: int | None = None) -> None:
        self._options: dict[str, Any] = {"num_workers": workers} if workers else {}
        self._added: list[Any] = []

    def add_step(self, function: Callable[..., Any]) -> None:
        """Take a step; what `@step(workflow=…)` calls."""
        self._added.append(function)

    def choose(self, function: Any) -> Any:
        """Take a function without decorators, if it can be a step."""
        if takes_event(function):
            try:
                step(workflow=self, **self._options)(function)
            except StepwellError as error:
                if "self" not in inspect.signature(function).parameters:
                    error.add_note(
                        "A helper that takes an event and is no step has a name that "
                        f"begins with an underscore: _{function.__name__}."
                    )
                raise
        return function

    async def fill(self, cell: MagicCell) -> Any:
        """Run a cell's body, and take its steps; gives the body's value."""
        there = {name for name in defined_names(cell.tree) if name in cell.names}
        value = await cell.run(cell.tree, {TARGET: self, CHOOSER: self.choose})
        for at, function in enumerate(self._added):
            name = function.__name__
            bound: Any = cell.names.get(name)
            # A decorator above @step has made something else of it: that is the step.
            if bound is not function and inspect.unwrap(bound) is function:
                self._added[at] = bound
            # As in a class, a step named `print` does not hide what all cells use.
            if hasattr(builtins, name) and name not in there:
                cell.names.pop(name, None)
        return value

    def give_to(self, workflow: type[Workflow]) -> tuple[list[str], list[str]]:
        """Add the steps to a workflow; gives the names of those new and replaced."""
        there = steps_of(workflow)
        new: list[str] = []
        old: list[str] = []
        for function in self._added:
            name = function.__name__
            if (before := there.get(name)) is not None:
                # It takes the place of the other, wherever that was written.
                function.__module__ = before.__module__
                function.__qualname__ = before.__qualname__
            names = new if before is None else old
            if name not in (*new, *old):
                names.append(name)
            workflow.add_step(function)
        return new, old


@contextlib.contextmanager
def gathered_notices(said: list[str] | None) -> Iterator[None]:
    """Keep back what a cell says in one line of its own.

    Args:
        said: Names that it will speak of; None for all.
    """

    def is_news(record: logging.LogRecord) -> bool:
        first = record.args[0] if isinstance(record.args, tuple) else None
        return said is not None and first not in said

    notices = logging.getLogger("stepwell.redefined")
    notices.addFilter(is_news)
    try:
        yield
    finally:
        notices.removeFilter(is_news)


def steps_of(workflow: type[Workflow]) -> dict[str, Callable[..., Any]]:
    """The functions of a workflow's steps, by name; none where it is unfinished."""
    with contextlib.suppress(StepwellError):
        return {spec.name: spec.function for spec in workflow.compile().steps}
    return {}


def is_kind(value: Any, *kinds: type) -> bool:
    """Whether a value is a class derived from one of these."""
    return isinstance(value, type) and issubclass(value, kinds)


def as_python(ip: Any, body: str) -> str:
    """A body with its magics and `!` commands as Python, its lines where they were."""
    lines = body.splitlines(keepends=True)
    blank = 0
    while blank < len(lines) and not lines[blank].strip():
        blank += 1
    rest = "".join(lines[blank:])
    made: str = ip.input_transformer_manager.transform_cell(rest) if rest else ""
    return "\n" * blank + made
