"""Python source taken apart: where its functions and classes stand.

By what lines begin with, not by parsing: code that does not compile, of another
version or full of odd escapes, has functions too. What sections are made of is in
`splitting.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Strings and comments are stepped over, so that a `def` in them is none.
_PIECE = re.compile(
    r"""
    (?P<skip> [#][^\n]*
    | (?P<triple>\"\"\"|''') (?s:.*?) (?: (?P=triple) | \Z )
    | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' )
    | ^(?P<indent>[ \t]*)
      (?: (?P<decorator>@) | (?:async[ \t]+)?(?P<kind>def|class)[ \t]+(?P<name>\w+)
        | (?P<word>[^\W\d]) )
    """,
    re.X | re.M,
)
_DOCSTRING = re.compile(
    r"""\s*(?:[#][^\n]*\n\s*)*[rRuU]?(?P<mark>\"\"\"|'''|"|')(?P<text>(?s:.*?))(?P=mark)"""
)


@dataclass(frozen=True, slots=True)
class Definition:
    """A function or class, from its decorators and comments to its last line.

    Attributes:
        start: Offset of its first character.
        end: Offset after its last.
        path: Names of the classes around it, and its own.
        is_class: Whether it is a class.
    """

    start: int
    end: int
    path: tuple[str, ...]
    is_class: bool


def docstring_line(source: str) -> str:
    """Return the first line of a module's docstring, or ""."""
    match = _DOCSTRING.match(source)
    lines = match["text"].strip().splitlines() if match else []
    return lines[0].strip() if lines else ""


def definitions(source: str) -> list[Definition]:
    """Return the functions and classes, those in classes too, in order.

    Functions within functions are part of those.
    """
    found: list[Definition] = []
    # What is open here: indent, start, path, whether it is a class, place in `found`.
    around: list[tuple[int, int, tuple[str, ...], bool, int]] = []
    decorated: int | None = None

    def close(place: int, indent: int) -> None:
        while around and around[-1][0] >= indent:
            _, start, path, is_class, index = around.pop()
            if index >= 0:
                found[index] = Definition(start, place, path, is_class)

    for match in _PIECE.finditer(source):
        if match["skip"] is not None:
            continue
        indent = len(match["indent"].expandtabs(8))
        start = match.start() if decorated is None else decorated
        begin = _comments_above(source, start)
        close(begin if match["kind"] or match["decorator"] else start, indent)
        if match["decorator"]:
            decorated = start
            continue
        decorated = None
        if match["kind"]:
            inside_function = bool(around) and not around[-1][3]
            path = (*(around[-1][2] if around else ()), match["name"])
            is_class = match["kind"] == "class"
            index = -1 if inside_function else len(found)
            if index >= 0:
                found.append(Definition(begin, len(source), path, is_class))
            # What a function holds is part of it, a class in it as well.
            is_class = is_class and not inside_function
            around.append((indent, begin, path, is_class, index))
    close(len(source), -1)
    return found


def _comments_above(source: str, start: int) -> int:
    """Return where the comment lines right above a line begin."""
    while start:
        above = source.rfind("\n", 0, start - 1) + 1
        if not source[above:start].lstrip().startswith("#"):
            break
        start = above
    return start
