"""Where the sections of a text begin and end, and what their headings are.

Markdown, reStructuredText and Python are told apart by the extension of the file. It
looks for headings only; what else stands in a text is taken apart in `markup.py`, and
cut to size in `splitting.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .python_source import definitions

_RST = {".rst", ".rest"}
MARKDOWN = {".md", ".markdown", ".mdx", ".ipynb", ".html", ".htm", ".xhtml", ".docx"}
"""Extensions of files whose text is Markdown once they are read."""
_PLAIN = {".txt", ".text", ""}
_PYTHON = {".py", ".pyi", ".pyw"}


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of a text under one heading.

    Attributes:
        start: Offset of its first character, the heading included.
        end: Offset after its last.
        path: Headings from the outermost to its own; empty before the first.
    """

    start: int
    end: int
    path: tuple[str, ...]


def has_line_numbers(suffix: str) -> bool:
    """Tell whether people find a place in such a file by the number of its line."""
    return suffix not in MARKDOWN | _RST | _PLAIN | {".pdf"}


def sections(text: str, suffix: str, *, most: int = 0) -> list[Section]:
    """Return the sections of a text; one for all of it where none are marked.

    Args:
        text: The document.
        suffix: File extension, which decides what a heading looks like. Source
            code has none: a ``#`` there is a comment. In Python, functions and
            classes make sections.
        most: A class of so many letters, or fewer, is one section; a longer one
            has its functions for sections.
    """
    if suffix in _PYTHON:
        return _python_sections(text, most)
    marks: list[tuple[int, int, str]] = []
    if suffix in MARKDOWN:
        marks = _markdown_headings(text)
    elif suffix in _RST:
        marks = _underlined_headings(text)
    elif suffix in _PLAIN:
        marks = _markdown_headings(text) or _underlined_headings(text)
    if not marks:
        return [Section(0, len(text), ())]
    found = []
    if text[: marks[0][0]].strip():
        found.append(Section(0, marks[0][0], ()))
    stack: list[tuple[int, str]] = []
    for index, (start, level, heading) in enumerate(marks):
        while stack and stack[-1][0] >= level:
            stack.pop()
        stack.append((level, heading))
        end = marks[index + 1][0] if index + 1 < len(marks) else len(text)
        body = text[start:end].split("\n", 1)
        # A heading with nothing below it is said by the path of what follows.
        if index + 1 < len(marks) and not (
            body[1:] and body[1].strip(" \n=-~^\"'*+#`")
        ):
            continue
        found.append(Section(start, end, tuple(title for _, title in stack)))
    return found


def _python_sections(text: str, most: int) -> list[Section]:
    found: list[Section] = []
    place = 0
    # The classes around this place: what is left of them comes between functions.
    around: list[tuple[int, tuple[str, ...]]] = []

    def add(end: int, path: tuple[str, ...]) -> None:
        nonlocal place
        if text[place:end].strip():
            found.append(Section(place, end, path))
        place = max(place, end)

    for definition in definitions(text):
        if definition.start < place:
            # Within a section already.
            continue
        while around and around[-1][0] <= definition.start:
            add(*around.pop())
        add(definition.start, around[-1][1] if around else ())
        length = definition.end - definition.start
        if definition.is_class and length > most:
            around.append((definition.end, definition.path))
        else:
            add(definition.end, definition.path)
    while around:
        add(*around.pop())
    add(len(text), ())
    return found or [Section(0, len(text), ())]


_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_ATX = re.compile(r" {0,3}(#{1,6})[ \t]+(.+?)(?:[ \t]+#+)?[ \t]*$")
_ANCHOR = re.compile(r"\s*\{[#.:][^}]*\}\s*$")


def _markdown_headings(text: str) -> list[tuple[int, int, str]]:
    found = []
    fence = ""
    offset = 0
    for line in text.split("\n"):
        if match := _FENCE.match(line):
            if not fence:
                fence = match[1]
            elif match[1].startswith(fence):
                fence = ""
        elif not fence and (match := _ATX.match(line)):
            found.append((offset, len(match[1]), _plain(_ANCHOR.sub("", match[2]))))
        offset += len(line) + 1
    return found


_UNDERLINE = re.compile(r"([=\-`:.'\"~^_*+#<>])\1{2,}[ \t]*$")


def _underlined_headings(text: str) -> list[tuple[int, int, str]]:
    """Find headings of reStructuredText; levels by the order of their marks."""
    found: list[tuple[int, int, str]] = []
    styles: list[tuple[str, bool]] = []
    lines = text.split("\n")
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line) + 1)
    for index in range(1, len(lines)):
        title = lines[index - 1]
        mark = _UNDERLINE.match(lines[index])
        if not mark or not title.strip() or _UNDERLINE.match(title):
            continue
        over = index >= 2 and lines[index - 2].rstrip() == lines[index].rstrip()
        if title[0].isspace() and not over:
            continue
        # Tables draw lines too, but not under one full-width title after a blank.
        before = (
            lines[index - (3 if over else 2)] if index >= (3 if over else 2) else ""
        )
        if before.strip() and not before.startswith(".."):
            continue
        if len(lines[index].rstrip()) < len(title.strip()):
            continue
        style = (mark[1], over)
        if style not in styles:
            styles.append(style)
        start = offsets[index - (2 if over else 1)]
        found.append((start, styles.index(style) + 1, _plain(title)))
    return found


def _plain(heading: str) -> str:
    heading = re.sub(r":[\w:+-]+:`~?([^`<]+?)(?:\s*<[^`]*>)?`", r"\1", heading)
    heading = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[`*]+", "", heading).strip()
