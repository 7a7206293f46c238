"""The line of a magic: its words, its options, and mistakes said in one line.

What the options do is in `magics`; what Tab offers, in `completions`.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import inspect
import keyword
import re
from collections.abc import Sequence
from pathlib import Path
from types import CodeType
from typing import Any, NoReturn

import stepwell

from .errors import MagicError

_PAIR_HINT = (
    'Write for example: --run query="What is a stepwell?" k=3; '
    "what contains spaces stands in brackets or quotes."
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong and what would work, instead of leaving Python."""
        if found := re.fullmatch(r"unrecognized arguments: (.*)", message):
            word = found[1].split()[0]
            options = [text for act in self._actions for text in act.option_strings]
            near = difflib.get_close_matches(word, options, 1, 0.7)
            message += f"; did you mean {near[0]}?" if near else ""
        usage = " ".join(self.format_usage().removeprefix("usage:").split())
        said = message if message.endswith("?") else f"{message}."
        raise MagicError(f"{self.prog}: {said}", hint=f"Write: {usage}")


class _Once(argparse.Action):
    """An option that is given at most once; a second one would hide the first."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option: str | None = None,
    ) -> None:
        if getattr(namespace, self.dest) not in (None, self.default):
            parser.error(f"{option} is given twice")
        setattr(namespace, self.dest, values)


def parse_options(magic: str, line: str) -> argparse.Namespace:
    """Read the line of a magic.

    Args:
        magic: As it is written, with its percent signs.
        line: What stands behind it.

    Raises:
        MagicError: It has an unknown option, or lacks what it needs.
    """
    try:
        given = PARSERS[magic].parse_args(split_words(line))
    except MagicError as error:
        raise error from None
    if magic == "%workflow":
        _check_listing(given)
        return given
    if not _is_name(given.name):
        raise MagicError(f"{magic}: {given.name!r} cannot be the name of a class.")
    if given.name in stepwell.__all__:
        raise MagicError(
            f"{magic}: {given.name} is a name of stepwell itself, which later cells "
            "need.",
            hint="Choose another name.",
        )
    if magic == "%%workflow":
        _check_workflow(given)
    return given


def _check_workflow(given: argparse.Namespace) -> None:
    if given.workers is not None and given.workers < 1:
        raise MagicError(f"--workers must be at least 1, not {given.workers}.")
    if given.timeout is not None and not given.timeout > 0:
        raise MagicError(f"--timeout must be above 0 seconds, not {given.timeout:g}.")
    if given.background and given.run is None:
        raise MagicError("--background goes with --run, which is missing.")
    if given.into is not None and given.run is None:
        raise MagicError("--into keeps the result of --run, which is missing.")
    if given.into is not None:
        if not _is_name(given.into):
            raise MagicError(
                f"--into: {given.into!r} cannot be the name of a variable."
            )
        if given.into == given.name or given.into in stepwell.__all__:
            raise MagicError(
                f"--into {given.into} would hide the class of that name.",
                hint="Choose another name.",
            )
    _check_path(given.write)
    parse_pairs(given.run or [])


def _check_listing(given: argparse.Namespace) -> None:
    _check_path(given.write)
    if given.write is not None and len(given.names) != 1:
        raise MagicError(
            "%workflow --write writes one workflow.",
            hint="Write: %workflow Name --write file.py",
        )


def _check_path(path: str | None) -> None:
    if path is not None and not Path(path).stem.isidentifier():
        raise MagicError(
            f"--write: {path} cannot be imported under that name.",
            hint="Use a name of letters, digits and underscores, such as "
            f"{_importable(path)}.py",
        )
    if path is not None and Path(path).suffix != ".py":
        raise MagicError(f"--write makes a Python module; {path} does not end in .py.")


def _importable(path: str) -> str:
    stem = re.sub(r"\W+", "_", Path(path).stem).strip("_") or "workflow"
    return stem if stem.isidentifier() else f"_{stem}"


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)


def split_words(line: str) -> list[str]:
    """Split a magic's line at spaces outside brackets and quotes, up to a comment.

    `--run q="two words" k=[1, 2]` gives `--run`, `q="two words"`, `k=[1, 2]`: quotes
    stay, for the values are Python.
    """
    words: list[str] = []
    word, depth, quote, escape = "", 0, "", False
    for char in line:
        if quote:
            word += char
            if char == quote and not escape:
                quote = ""
            escape = char == "\\" and not escape
            continue
        if char == "#" and not word and depth <= 0:
            break
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
        raise MagicError(f"a quote or bracket is not closed: {line.strip()}.")
    return [*words, word] if word else words


def parse_pairs(pairs: Sequence[str]) -> dict[str, str]:
    """Take `key=expression` words apart.

    Raises:
        MagicError: One is no such pair, is given twice, or is no Python.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        key, sign, expression = pair.rstrip(",").partition("=")
        if not sign or not _is_name(key) or not expression:
            raise MagicError(
                f"--run takes key=expression, not {pair!r}.", hint=_PAIR_HINT
            )
        if key in found:
            raise MagicError(f"--run: {key} is given twice.")
        found[key] = expression
        try:
            _code_of(expression)
        except (SyntaxError, ValueError) as error:
            raise _unusable(key, expression, error) from None
    return found


async def evaluate_pairs(pairs: Sequence[str], names: dict[str, Any]) -> dict[str, Any]:
    """Turn `key=expression` words into values, evaluated in the user's names.

    An expression may await: `doc=(await fetch())`.

    Raises:
        MagicError: An expression cannot be evaluated.
    """
    values: dict[str, Any] = {}
    for key, expression in parse_pairs(pairs).items():
        code = _code_of(expression)
        try:
            value = eval(code, names)
            if code.co_flags & inspect.CO_COROUTINE:
                value = await value
        except Exception as error:
            raise _unusable(key, expression, error) from None
        values[key] = value
    return values


def _code_of(expression: str) -> CodeType:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    made: CodeType = compile(expression, "<--run>", "eval", flags, dont_inherit=True)
    return made


def _unusable(key: str, expression: str, error: Exception) -> MagicError:
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return MagicError(
        f"--run {key}={expression} is not usable Python: {type(error).__name__}: "
        f"{said}.",
        hint=f'Text needs quotes, as in {key}="…".',
    )


def option_names(magic: str) -> list[str]:
    """The option words of a magic, for completion."""
    return [text for act in PARSERS[magic]._actions for text in act.option_strings]


def _parser(magic: str, usage: str, description: str, more: str) -> _Parser:
    made = _Parser(
        prog=magic,
        usage=f"%(prog)s {usage}",
        description=description,
        epilog=more,
        add_help=False,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # Help is shown by IPython, which colours it itself; Python 3.14 would too.
    vars(made)["color"] = False
    return made


def _workflow_parser() -> _Parser:
    parser = _parser(
        "%%workflow",
        "Name [--timeout S] [--workers N] [--no-draw] [--run key=expr …] "
        "[--background] [--into var] [--write file.py]",
        """Make a workflow of the events and functions in this cell.

Functions that take an event are steps, with or without @step, and need no self:

    %%workflow Greeter --run name="Ada"
    class Named(Event):
        name: str

    async def look_up(ev: StartEvent) -> Named:
        return Named(name=ev.name.title())

    @step(num_workers=2)
    def greet(ev: Named) -> StopEvent:
        return StopEvent(result=f"Hello, {ev.name}")""",
        """What the cell shows: the graph, or with --run the run, whose result is the
cell's value. Without --run that is the cell's last expression, as ever.

A helper that takes an event and is no step has a name that begins with an
underscore: def _initials(ev: Named) -> str. Names of stepwell need no import. The
body may use await, %magics and !commands; what it defines stays defined.

Values of --run are Python expressions: n=len(words), k=(a + b), doc=(await fetch()).

--write makes a module that runs without a notebook. It holds the workflow and
whatever its steps use of other cells: events, functions, imports, constants. Other
statements of the cell are left out. Steps added later: %workflow Name --write file.py

Make or replace single steps with %%step, events with %%event; see %workflow for what
there is.""",
    )
    add = parser.add_argument
    add("name", metavar="Name", help="name of the workflow class to make")
    add("--timeout", type=float, metavar="S", action=_Once, help=_TIMEOUT)
    add("--workers", type=int, metavar="N", action=_Once, help=_WORKERS)
    add("--no-draw", action="store_true", help="do not draw the graph")
    add(
        "--run",
        nargs="*",
        metavar="key=expr",
        action="extend",
        help="run it with these fields of its start event",
    )
    add(
        "--background",
        action="store_true",
        help="only start the run: the cell ends, its value is the handler",
    )
    add(
        "--into",
        metavar="var",
        action=_Once,
        help="keep the result under this name, or the handler with --background",
    )
    add("--write", metavar="file.py", action=_Once, help="write it as a module too")
    return parser


_TIMEOUT = "seconds a run may take; 45 if not given"
_WORKERS = "calls of a step that run at once, where the step does not say; 4"


def _step_parser() -> _Parser:
    parser = _parser(
        "%%step",
        "Workflow [--no-draw]",
        """Add this cell's functions to a workflow as steps, or replace its steps.

    %%step Greeter
    def greet(ev: Named) -> StopEvent:
        return StopEvent(result=f"Good day, {ev.name}")

A function with the name of a step takes its place, also the place of a method of a
class. The graph is drawn with the change marked.""",
        """All or nothing: if one of the functions cannot be a step, none is added. Runs
that have begun go on with the steps they began with. Which functions are steps is
decided as in %%workflow.""",
    )
    parser.add_argument("name", metavar="Workflow", help="the class to add steps to")
    parser.add_argument("--no-draw", action="store_true", help="do not draw the graph")
    return parser


def _event_parser() -> _Parser:
    parser = _parser(
        "%%event",
        "Name [--base Base]",
        """Make an event class; the cell is what stands in the class.

    %%event Found --base StopEvent
    \"\"\"A document that answers the question.\"\"\"
    title: str
    score: float = 0.0""",
        """Run again, the cell redefines the event; steps that take it keep working.
Imports in the cell are done before the class, and so is what a field awaits.""",
    )
    parser.add_argument("name", metavar="Name", help="name of the event class to make")
    parser.add_argument(
        "--base",
        metavar="Base",
        default="Event",
        action=_Once,
        help="event class to derive from; Event if not given",
    )
    return parser


def _listing_parser() -> _Parser:
    parser = _parser(
        "%workflow",
        "[Name …] [--write file.py]",
        """Draw the workflows there are, or those named.

    %workflow
    %workflow Greeter
    %workflow Greeter --write greeter.py""",
        """--write makes a module that imports and runs without a notebook: the workflow
as it is now, whatever cells it came from, and what its steps use.""",
    )
    parser.add_argument("names", nargs="*", metavar="Name", help="which to draw")
    parser.add_argument(
        "--write", metavar="file.py", action=_Once, help="write it as a module"
    )
    return parser


PARSERS: dict[str, argparse.ArgumentParser] = {
    "%%workflow": _workflow_parser(),
    "%%step": _step_parser(),
    "%%event": _event_parser(),
    "%workflow": _listing_parser(),
}
