"""How errors look in a cell: what, where, the user's own lines, and what to do.

At most 15 lines, whatever was raised. The exceptions themselves stay whole
(`handler.error.__traceback__` has every frame; `%debug` and, after `%xmode Verbose`,
`%tb` show them), and cells end with a real `error` output, so that automatic runs
fail. Whose a frame is, is told by `frames`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import weakref
from collections.abc import Iterator, Sequence

from stepwell import (
    StepwellError,
    WorkflowCancelledByUser,
    WorkflowHandler,
    WorkflowTimeoutError,
)

from . import interrupts, kernel, nesting
from .errors import MagicError, WorkflowInterrupted
from .frames import REWRITTEN as REWRITTEN
from .frames import Place, Way, clean, way_of

MOST_LINES = 15
# Of what somebody wrote into an exception, as much as anybody would read.
MOST_TEXT = 20_000
_RED, _GREEN, _DIM, _BOLD, _OFF = (
    "\x1b[31m",
    "\x1b[32m",
    "\x1b[2m",
    "\x1b[1m",
    "\x1b[0m",
)
_RUN = "_stepwell_run"
_WHERE = re.compile(r"in step `|in the retry policy of ")
_PYDANTIC = re.compile(r"\s*For further information visit ")


# How much each part may take, from all that is wanted down to what must be.
_SIZES: tuple[dict[str, int], ...] = (
    {"head": 6, "first": 2, "last": 3, "cell": 1, "causes": 2, "notes": 4},
    {"head": 5, "first": 2, "last": 3, "cell": 0, "causes": 2, "notes": 3},
    {"head": 4, "first": 1, "last": 3, "cell": 0, "causes": 1, "notes": 3},
    {"head": 3, "first": 1, "last": 2, "cell": 0, "causes": 1, "notes": 2},
    {"head": 2, "first": 0, "last": 2, "cell": 0, "causes": 1, "notes": 1},
    {"head": 1, "first": 0, "last": 1, "cell": 0, "causes": 1, "notes": 1},
)


def shorten(error: BaseException, handler: WorkflowHandler | None = None) -> None:
    """Prepare an exception for being shown by a cell.

    Args:
        error: The exception.
        handler: The run that it ended, to say how that may go on.
    """
    with contextlib.suppress(Exception):
        _let_speak(error)
        if handler is not None:
            setattr(error, _RUN, weakref.ref(handler))


def lines_of(error: BaseException) -> list[str] | None:
    """What a cell shows of an error that has to do with stepwell; None of others."""
    ours = (
        nesting.advice_on(error) is not None
        or _is_interrupt(error)
        or any(_concerns_us(one) for one, _ in _links(error))
    )
    return _whole(error) if ours else None


def text_of(error: BaseException) -> str:
    """The message of an exception: not endless, and whatever its `__str__` does."""
    try:
        text = str(error)
    except Exception as broken:
        return f"(no text: its __str__ raised {type(broken).__name__})"
    if len(text) > MOST_TEXT:
        return f"{text[:MOST_TEXT]}…"
    return text


def _let_speak(error: BaseException) -> None:
    """Give an exception whose `__str__` raises one that does not.

    A kernel asks for the text once more when all is shown, and would break off there,
    without an answer to whoever waits for the cell.
    """
    try:
        str(error)
    except Exception:
        kind, text = type(error), text_of(error)
        names = {"__str__": lambda _: text, "__module__": kind.__module__}
        error.__class__ = type(kind.__name__, (kind,), names)


def _whole(error: BaseException) -> list[str]:
    """The lines of an error, as many as fit."""
    members = list(_members(error))
    if len(members) > 1 and all(isinstance(m, WorkflowInterrupted) for m in members):
        # One button was pressed, however many runs it stopped.
        return [
            *_whole(members[0]),
            f"{_DIM}{len(members) - 1} more of the runs that were awaited: "
            f"likewise.{_OFF}",
        ][:MOST_LINES]
    lines: list[str] = []
    for sizes in _SIZES:
        lines = list(_parts(error, members, sizes))
        if len(lines) <= MOST_LINES:
            return lines
    return [*lines[: MOST_LINES - 1], f"{_DIM}…{_OFF}"]


def _parts(
    error: BaseException, members: Sequence[BaseException], sizes: dict[str, int]
) -> Iterator[str]:
    ours = isinstance(error, StepwellError) or _is_of_stepwell(error)
    notes = _notes(error)
    where = [note for note in notes if _WHERE.match(note)]
    way = way_of(error.__traceback__, in_step=bool(where))
    head = 11 if ours and sizes is _SIZES[0] else sizes["head"] + 4 * ours
    yield from _headline(error, head)
    # A step of a child is in a step of its parent; each says where.
    yield from where[-2:]
    if members:
        yield from _member_lines(members, 2 + sizes["notes"])
    if ours:
        yield from _one_frame(error, way)
    else:
        yield from _frames(way, sizes)
    yield from _causes(error, sizes["causes"])
    yield from _clipped(
        [line for note in notes if not _WHERE.match(note) for line in _split(note)],
        sizes["notes"],
    )
    if sizes["cell"] and not ours and way.inner and way.outer:
        yield _dim_line(way.outer[-1])
    yield from _next(error)


def _headline(error: BaseException, most: int) -> Iterator[str]:
    text = text_of(error)
    lines = [line for line in _split(text) if not _PYDANTIC.match(line)]
    name = clean(type(error).__name__)
    first, *more = _clipped(lines, most) or [""]
    yield f"{_RED}{name}{_OFF}{': ' if first else ''}{first}"
    yield from more


def _clipped(lines: list[str], most: int) -> list[str]:
    """So many of the lines, the last of them saying how many there are besides."""
    if len(lines) <= most:
        return lines
    left = len(lines) - most + 1
    if most <= 1:
        return [f"{lines[0]} {_DIM}(and {len(lines) - 1} more lines){_OFF}"][:most]
    return [*lines[: most - 1], f"{_DIM}… {left} more lines{_OFF}"]


def _frames(way: Way, sizes: dict[str, int]) -> Iterator[str]:
    """The first and the last frame of the user's, and the library that raised."""
    frames = way.inner or way.outer[-1:]
    if not frames:
        return
    first, last = frames[0], frames[-1]
    if len(frames) > 1:
        yield from _frame(first, sizes["first"])
        hidden = len(frames) - 2
        if hidden:
            plural = "frames" if hidden > 1 else "frame"
            yield f"{_DIM}… {hidden} {plural} of yours not shown{_OFF}"
    yield from _frame(last, sizes["last"])
    if way.library is not None:
        yield f"{_DIM}raised in {way.library.library()}{_OFF}"


def _frame(place: Place, most: int) -> Iterator[str]:
    yield f"{_GREEN}{place.name()}{_OFF}"
    lines = place.code(most) if most else []
    texts = kernel.highlighted([text for _, text in lines])
    for (number, _), text in zip(lines, texts, strict=True):
        if number == place.line:
            arrow = "-" * max(1, 6 - len(str(number))) + "> "
            yield f"{_GREEN}{arrow}{number}{_OFF} {text}"
        else:
            yield f"{_DIM}{number:>8}{_OFF} {text}"


def _one_frame(error: BaseException, way: Way) -> Iterator[str]:
    """The line that an error of ours came from, which its message is about."""
    # A magic's mistake is in the line above it, not in any line of Python.
    if isinstance(error, MagicError):
        return
    frames = way.inner or way.outer
    if frames and frames[-1].source():
        yield _dim_line(frames[-1])


def _dim_line(place: Place) -> str:
    return f"{_DIM}{place.name()}: {place.source()}{_OFF}"


def _causes(error: BaseException, most: int) -> Iterator[str]:
    """What an exception was raised from, or while handling, a line for each."""
    links = list(_links(error))[1:]
    for link, means in links[:most]:
        yield f"{_DIM}{means}{_OFF} {_in_one_line(link)}"
    if len(links) > most:
        yield f"{_DIM}… {len(links) - most} more before that{_OFF}"


def _in_one_line(error: BaseException) -> str:
    text = next(iter(_split(text_of(error))), "")
    way = way_of(error.__traceback__)
    frames = way.inner or way.outer
    place = f" {_DIM}· {frames[-1].name()}{_OFF}" if frames else ""
    text = clean(f"{type(error).__name__}: {text}" if text else type(error).__name__)
    return f"{text}{place}"


def _member_lines(members: Sequence[BaseException], most: int) -> Iterator[str]:
    for number, member in enumerate(members[:most], start=1):
        where = next((n for n in _notes(member) if _WHERE.match(n)), "")
        yield f"  {number}. {_in_one_line(member)}{f' · {where}' if where else ''}"
    if len(members) > most:
        yield f"  {_DIM}… and {len(members) - most} more{_OFF}"


def _members(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group, and in the groups in it."""
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            if isinstance(member, BaseExceptionGroup):
                yield from _members(member)
            else:
                yield member


def _notes(error: BaseException) -> list[str]:
    notes = getattr(error, "__notes__", ())
    if not isinstance(notes, list | tuple):
        return []
    # Thousands of notes are nobody's reading, and made cleaning them slow.
    few = [*notes[:20], *notes[max(20, len(notes) - 20) :]]
    return [
        "\n".join(_split(note[:MOST_TEXT])) for note in few if isinstance(note, str)
    ]


def _split(text: str) -> list[str]:
    return [line for line in map(clean, text.splitlines()) if line.strip()]


def _links(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """An exception and those behind it, each with what ties it to the one before."""
    seen: set[int] = set()
    link: BaseException | None = error
    means = ""
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link, means
        if link.__cause__ is not None:
            link, means = link.__cause__, "caused by"
        elif not link.__suppress_context__:
            link, means = link.__context__, "while handling"
        else:
            link = None


def _concerns_us(error: BaseException) -> bool:
    """Whether an exception came from a run, or from a call of stepwell."""
    return (
        _is_of_stepwell(error)
        or hasattr(error, _RUN)
        or any(_WHERE.match(note) for note in _notes(error))
        or way_of(error.__traceback__).through_us
        or any(map(_concerns_us, _members(error)))
    )


def _is_interrupt(error: BaseException) -> bool:
    """Whether a cell that awaited something else than a run was interrupted."""
    return isinstance(error, asyncio.CancelledError) and interrupts.came()


def _is_of_stepwell(error: BaseException) -> bool:
    module = type(error).__module__
    return isinstance(error, StepwellError) or module.startswith("stepwell.")


def _next(error: BaseException) -> Iterator[str]:
    """How the run may go on, where it is the one that `_handler` names."""
    advice = nesting.advice_on(error)
    if advice:
        yield advice
    if _is_interrupt(error):
        yield "The cell was interrupted. Runs that it did not await go on."
    if type(error) is KeyboardInterrupt and not any(map(_WHERE.match, _notes(error))):
        yield "The cell was interrupted, and the run that it waited for was cancelled."
    handler = getattr(error, _RUN, lambda: None)()
    if handler is not None and kernel.can_resume(handler):
        stopped = isinstance(error, WorkflowCancelledByUser | WorkflowTimeoutError)
        when = "To go on from there" if stopped else "After mending it"
        yield f"{when}: {_BOLD}await _handler.resume(){_OFF}"
