"""Markdown and reStructuredText taken apart into what can be quoted.

A chunk becomes units: sentences, list items, table rows, blocks of code, each
under its heading, with inline markup removed. It aims at reading well, not at
parsing every construct; what it does not know stays as text. Choosing among
units is in `quoting.py`.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .words import sentences

Kind = Literal["sentence", "item", "row", "code"]


@dataclass(frozen=True, slots=True)
class Unit:
    """The least that is quoted: a sentence, item, row, or block of code.

    Attributes:
        kind: Which of these it is.
        text: Its text; code keeps its lines.
        block: Number of the paragraph or list item it belongs to.
        heading: Heading it stands under within the chunk, or "".
    """

    kind: Kind
    text: str
    block: int
    heading: str


_FENCE = re.compile(r"^(\s*)(```+|~~~+)")
_ATX = re.compile(r"^ {0,3}#{1,6}\s+(.*?)(?:\s+#+)?\s*$")
_UNDERLINE = re.compile(r"^([=\-`:.'\"~^_*+#<>])\1{2,}\s*$")
_ITEM = re.compile(r"^(\s*)(?:[-*+•]|\d{1,3}[.)]|#\.)\s+(?=\S)")
_ROW = re.compile(r"^(\s*)\* - ?")
_DIRECTIVE = re.compile(r"^(\s*)\.\. (?:([\w:+-]+)::\s*(.*)|.*)$")
_OPTION = re.compile(r"^\s*:[\w-]+:(?:\s|$)")
_ADMONITION = re.compile(r"^(\s*)(?:!!!|\?\?\?\+?|===\+?)\s+\S")
_DROPPED_LINE = re.compile(
    r"^\s*(?::::?\s*\S*.*|<!--.*-->|<[^>]+>|\|?[\s:|+=-]{3,}\|?|\[[^\]]+\]:\s+\S+)\s*$"
)
_CODE_LINE = re.compile(
    r"^\s*(?:@\w[\w.]*(?:\(|$)|(?:async )?def \w+\(|class \w+[(:]|import \w+|"
    r"from [\w.]+ import |(?:if|for|while|with|try|except|return|raise)\b.*[:)]$|"
    r"[\w.]+ = \S|[\w.]+\($|[)\]}]+[,:]?$|\$ \w)"
)
_CODE_DIRECTIVES = {
    "code",
    "code-block",
    "sourcecode",
    "parsed-literal",
    "literalinclude",
}
_ADMONITIONS = {"note", "tip", "hint", "warning", "caution", "important", "seealso"}
_SILENT_NAMES = """
image figure toctree contents currentmodule module include raw index only highlight
automodule autoclass autofunction autosummary grid
"""
_SILENT_DIRECTIVES = frozenset(_SILENT_NAMES.split())


def units(text: str) -> list[Unit]:
    """Return the units of a chunk, in order."""
    return list(_Scan().lines(text.expandtabs(4).split("\n")))


class _Scan:
    def __init__(self) -> None:
        self._block = 0
        self._heading = ""

    def _prose(self, kind: Kind, text: str) -> Iterator[Unit]:
        text = plain(text)
        if not re.search(r"\w", text):
            return
        self._block += 1
        pieces = [text] if kind == "row" else sentences(text)
        for piece in pieces:
            yield Unit(kind, piece, self._block, self._heading)

    def _code(self, lines: list[str]) -> Iterator[Unit]:
        text = textwrap.dedent("\n".join(lines)).strip("\n").rstrip()
        if text.strip():
            self._block += 1
            yield Unit("code", text, self._block, self._heading)

    def lines(self, lines: list[str]) -> Iterator[Unit]:
        paragraph: list[str] = []
        literal = False
        index = 0

        def flush() -> Iterator[Unit]:
            nonlocal literal
            if paragraph:
                literal = paragraph[-1].rstrip().endswith("::")
                item = _ITEM.match(paragraph[0])
                body = "\n".join(paragraph)
                if item:
                    yield from self._prose("item", body[item.end() :])
                elif _CODE_LINE.match(paragraph[0]):
                    # A chunk that begins within a block has lost its fence.
                    yield from self._code(list(paragraph))
                elif index > len(paragraph) and _is_definition(paragraph):
                    # Not for the first lines of a chunk, whose indent is trimmed.
                    term, rest = paragraph[0].strip().rstrip(":"), paragraph[1:]
                    yield from self._prose("item", "\n".join([f"{term}:", *rest]))
                else:
                    yield from self._prose("sentence", body)
                paragraph.clear()

        while index < len(lines):
            line = lines[index]
            indent = len(line) - len(line.lstrip())
            if not line.strip():
                yield from flush()
                index += 1
                continue
            if fence := _FENCE.match(line):
                yield from flush()
                end = index + 1
                while end < len(lines) and not lines[end].strip().startswith(fence[2]):
                    end += 1
                yield from self._code(lines[index + 1 : end])
                index = end + 1
            elif not paragraph and (atx := _ATX.match(line)):
                self._heading = plain(atx[1])
                index += 1
            elif (
                len(paragraph) == 1
                and _UNDERLINE.match(line)
                and len(line.rstrip()) >= len(paragraph[0].strip())
            ):
                self._heading = plain(paragraph.pop())
                index += 1
            elif not paragraph and (row := _ROW.match(line)):
                end = _block_end(lines, index + 1, len(row[1]) + 1)
                yield from self._row(lines[index:end], row.end())
                index = end
            elif directive := _DIRECTIVE.match(line):
                yield from flush()
                end = _block_end(lines, index + 1, indent + 1)
                yield from self._directive(directive, lines[index + 1 : end])
                index = end
            elif not paragraph and _ADMONITION.match(line):
                end = _block_end(lines, index + 1, indent + 1)
                yield from self.lines(_dedent(lines[index + 1 : end]))
                index = end
            elif not paragraph and indent >= (1 if literal else 4):
                end = _block_end(lines, index, 1 if literal else 4)
                body = lines[index:end]
                if literal or not _looks_like_prose(body):
                    yield from self._code(body)
                else:
                    yield from self.lines(_dedent(body))
                literal = False
                index = end
            elif _DROPPED_LINE.match(line):
                index += 1
            elif line.lstrip().startswith("|") and line.rstrip().endswith("|"):
                yield from flush()
                cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
                yield from self._prose("row", " — ".join(filter(None, cells)))
                index += 1
            else:
                if paragraph and (_ITEM.match(line) or indent < _indent(paragraph[-1])):
                    yield from flush()
                paragraph.append(line.lstrip("> ") if line.startswith(">") else line)
                index += 1
        yield from flush()

    def _row(self, lines: list[str], begin: int) -> Iterator[Unit]:
        """One row of a list-table: its cells, with dashes between."""
        cells: list[list[str]] = [[]]
        for number, line in enumerate(lines):
            text = line[begin:] if number == 0 else line.strip()
            if number and re.match(r"- ", line.strip()) and _indent(line) < begin:
                cells.append([])
                text = line.strip()[2:]
            if directive := _DIRECTIVE.match(text):
                text = directive[3] or ""
            if text.strip():
                cells[-1].append(text.strip())
        said = [" ".join(cell) for cell in cells if cell]
        yield from self._prose("row", " — ".join(said))

    def _directive(self, match: re.Match[str], body: list[str]) -> Iterator[Unit]:
        name, argument = match[2] or "", match[3] or ""
        while body and (_OPTION.match(body[0]) or not body[0].strip()):
            body = body[1:]
        if name in _CODE_DIRECTIVES:
            yield from self._code(body)
        elif name and name not in _SILENT_DIRECTIVES:
            inner = _dedent(body)
            if argument and name in _ADMONITIONS:
                inner = [argument, *inner]
            elif argument and not name.startswith(("version", "deprecated")):
                inner = [argument, "", *inner]
            yield from self.lines(inner)


def _is_definition(lines: list[str]) -> bool:
    """Tell a term with its definition indented below it."""
    return (
        len(lines) > 1
        and _indent(lines[1]) > _indent(lines[0])
        and len(lines[0].strip()) <= 60
        and not lines[0].rstrip().endswith((".", ",", ";", "!", "?"))
    )


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _block_end(lines: list[str], start: int, least: int) -> int:
    """Return where lines indented by at least `least` (or blank) stop."""
    end = start
    for index in range(start, len(lines)):
        if lines[index].strip():
            if _indent(lines[index]) < least:
                break
            end = index + 1
    return end


def _dedent(lines: list[str]) -> list[str]:
    return textwrap.dedent("\n".join(lines)).split("\n")


def _looks_like_prose(lines: list[str]) -> bool:
    """Tell an indented continuation of a list item from indented code."""
    first = next(line.strip() for line in lines if line.strip())
    if _ITEM.match(first) or _FENCE.match(first) or _DIRECTIVE.match(first):
        return True
    return bool(re.match(r"[A-Z`:*][^=(){};]*(?:[.:,]|\w)$", first)) and " " in first


_INLINE = [
    (re.compile(r"!\[[^\]]*\]\([^)]*\)"), ""),
    (re.compile(r"\[([^\]]+)\](?:\([^)]*\)|\[[^\]]*\])(?:\{[^}]*\})?"), r"\1"),
    (re.compile(r":[\w:+-]+:`~(?:[^`<]*\.)?([^`<.]+)`"), r"`\1`"),
    (re.compile(r":[\w:+-]+:`([^`<]+?)\s*<[^`]*>`"), r"\1"),
    (re.compile(r":(?:ref|doc|term|any|std:\w+):`(?:[\w/.-]+:)?([^`]+)`"), r"\1"),
    (re.compile(r":[\w:+-]+:`([^`]+)`"), r"`\1`"),
    (re.compile(r"`([^`<]+?)\s*<[^`>]+>`__?"), r"\1"),
    (re.compile(r"``([^`]+)``"), r"`\1`"),
    (re.compile(r"`([^`]+)`__?(?!\w)"), r"\1"),
    (re.compile(r"\*\*([^*]+)\*\*"), r"\1"),
    (re.compile(r"(?<![\w*])[*_]([^*_\s][^*_]*?)[*_](?![\w*])"), r"\1"),
    (re.compile(r"\s*\{[#.:][^}]*\}"), ""),
    (re.compile(r"</?(?:a|b|i|em|strong|br|span|img|p|small|code)\b[^>]*>"), ""),
    (re.compile(r"::(?=\s*$)"), ":"),
]


def plain(text: str) -> str:
    """Return `text` on one line without inline markup; code keeps backticks."""
    for pattern, replacement in _INLINE:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())
