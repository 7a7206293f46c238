"""The options of the magics, as parsers whose mistakes are one line in the cell.

What the options do is in `magics`; how a line is split into words, in `sources`.
"""

from __future__ import annotations

import argparse
import keyword
from typing import NoReturn

import stepwell

from .errors import MagicError
from .sources import split_words


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong and what would work, instead of leaving Python."""
        usage = " ".join(self.format_usage().removeprefix("usage:").split())
        raise MagicError(f"{self.prog}: {message}.", hint=f"Write: {usage}")


def parse_options(magic: str, line: str) -> argparse.Namespace:
    """Read the line of a magic.

    Raises:
        MagicError: It has an unknown option, or lacks what it needs.
    """
    given = PARSERS[magic].parse_args(split_words(line))
    if not _is_name(given.name):
        raise MagicError(f"%%{magic}: {given.name!r} cannot be the name of a class.")
    if given.name in stepwell.__all__:
        raise MagicError(
            f"%%{magic}: {given.name} is a name of stepwell itself, which later cells "
            "need.",
            hint="Choose another name.",
        )
    if magic == "workflow":
        _check_workflow(given)
    return given


def _check_workflow(given: argparse.Namespace) -> None:
    if given.workers is not None and given.workers < 1:
        raise MagicError(f"--workers must be at least 1, not {given.workers}.")
    if given.timeout is not None and not given.timeout > 0:
        raise MagicError(f"--timeout must be above 0 seconds, not {given.timeout:g}.")
    if given.into is not None and given.run is None:
        raise MagicError("--into keeps the result of --run, which is missing.")
    if given.into is not None and not _is_name(given.into):
        raise MagicError(f"--into: {given.into!r} cannot be the name of a variable.")


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)


def option_names(magic: str) -> list[str]:
    """The option words of a magic, for completion."""
    return [text for act in PARSERS[magic]._actions for text in act.option_strings]


def _parser(magic: str, description: str) -> _Parser:
    return _Parser(
        prog=f"%%{magic}",
        description=description,
        add_help=False,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _workflow_parser() -> _Parser:
    parser = _parser(
        "workflow",
        """Make a workflow of the events and functions in this cell.

Functions that take an event are steps, with or without @step, and need no self:

    %%workflow Greeter --run name="Ada"
    def greet(ev: StartEvent) -> StopEvent:
        return StopEvent(result=f"Hello, {ev.name}")""",
    )
    add = parser.add_argument
    add("name", help="name of the workflow class to make")
    add("--timeout", type=float, metavar="S", help="seconds a run may take")
    add("--workers", type=int, metavar="N", help="calls of a step that run at once")
    add("--no-draw", action="store_true", help="do not draw the graph")
    add("--run", nargs="*", metavar="key=expr", help="run it with these fields")
    add("--into", metavar="var", help="keep the result of --run under this name")
    add("--write", metavar="file.py", help="write the cell as a plain module too")
    return parser


def _step_parser() -> _Parser:
    parser = _parser(
        "step",
        "Add this cell's functions to a workflow as steps, or replace its steps.",
    )
    parser.add_argument("name", metavar="workflow", help="the class to add steps to")
    parser.add_argument("--no-draw", action="store_true", help="do not draw the graph")
    return parser


def _event_parser() -> _Parser:
    parser = _parser("event", "Make an event class; each line of the cell is a field.")
    parser.add_argument("name", help="name of the event class to make")
    parser.add_argument("--base", default="Event", help="event class to derive from")
    return parser


PARSERS: dict[str, argparse.ArgumentParser] = {
    "workflow": _workflow_parser(),
    "step": _step_parser(),
    "event": _event_parser(),
}
