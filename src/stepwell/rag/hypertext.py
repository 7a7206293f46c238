"""HTML as Markdown-like text: headings, lists, tables and code keep their shape.

It goes through a page once from front to back, whatever stands in it: the parser of
the standard library needs hours for some broken pages of a few megabytes. Scripts
and styles are dropped. Which files are HTML is known in `formats.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

_BLOCK_TAGS = """
p div section article header footer main aside nav ul ol table tr dl dt dd blockquote
figure figcaption form fieldset address hr body caption details summary
"""
_BLOCKS = frozenset(_BLOCK_TAGS.split())
# Their content is text to the next end tag of theirs, tags in it are none.
_DROPPED = frozenset({"script", "style", "textarea", "iframe", "noembed", "noframes"})
_RAW = _DROPPED | {"title", "xmp"}
_HIDDEN = frozenset({"noscript", "template", "svg"})
_HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}

_NAME = re.compile(r"</?([a-zA-Z][^\s/>]*)")
_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]+)""", re.I)
_DECLARED_WITHIN = 4096


def html_to_text(source: str) -> str:
    """Return the text of an HTML page as Markdown-like lines.

    Headings keep their level, list items and code their shape; scripts, styles
    and the like are dropped.
    """
    return html_to_title_and_text(source)[1]


def html_to_title_and_text(source: str) -> tuple[str, str]:
    """Return what `html_to_text` does, after the title of the page, or ""."""
    text = _Text()
    for kind, value in _tokens(source):
        if kind == "text":
            text.data(unescape(value))
        elif kind == "title":
            # Only the first is the page's; drawings have titles of their own.
            text.title = text.title or " ".join(unescape(value).split())
        elif kind == "start":
            text.start(value)
        else:
            text.end(value)
    found = "".join(text.out)
    found = re.sub(r"[ \t]+\n", "\n", found)
    return text.title, re.sub(r"\n{3,}", "\n\n", found).strip()


def declared_encoding(data: bytes) -> str | None:
    """Return the encoding that a page says it has, if it says so early on."""
    match = _CHARSET.search(data[:_DECLARED_WITHIN])
    return match[1].decode("ascii", "ignore") if match else None


def _tokens(source: str) -> Iterator[tuple[str, str]]:
    """Yield ``("text" | "title" | "start" | "end", value)``.

    Every character is looked at a few times at most: what is opened and never
    closed reaches to the end of the page, as it does in a browser.
    """
    place, length = 0, len(source)
    while place < length:
        opening = source.find("<", place)
        if opening == -1:
            opening = length
        if opening > place:
            yield "text", source[place:opening]
        if opening == length:
            return
        name = _NAME.match(source, opening)
        if source.startswith("<!--", opening):
            place = _after(source, "-->", opening + 2)
        elif source.startswith(("<!", "<?", "</"), opening) and name is None:
            place = _after(source, ">", opening)
        elif name is None:
            yield "text", "<"
            place = opening + 1
        else:
            place = _tag_end(source, name.end())
            tag = name[1].lower()
            if source[opening + 1] == "/":
                yield "end", tag
            elif tag in _RAW:
                closing = re.compile(rf"</{tag}(?=[\s/>])", re.I).search(source, place)
                until = closing.start() if closing else length
                if tag not in _DROPPED:
                    yield "title" if tag == "title" else "text", source[place:until]
                place = until
            else:
                yield "start", tag


def _after(source: str, mark: str, start: int) -> int:
    found = source.find(mark, start)
    return len(source) if found == -1 else found + len(mark)


# What can end a tag, or begin a quoted value in it.
_STOP = re.compile(r""">|=\s*(["'])""")


def _tag_end(source: str, start: int) -> int:
    place, length = start, len(source)
    while place < length:
        match = _STOP.search(source, place)
        if match is None:
            return length
        if match[0] == ">":
            return match.end()
        closing = source.find(match[1], match.end())
        if closing == -1:
            # A quote nobody closes: taken for none, or all the rest were lost.
            return _after(source, ">", place)
        place = closing + 1
    return length


class _Text:
    def __init__(self) -> None:
        self.out: list[str] = []
        self.title = ""
        self._hidden = ""
        self._depth = 0
        self._pre = 0

    def start(self, tag: str) -> None:
        if self._hidden:
            self._depth += tag == self._hidden
        elif tag in _HIDDEN:
            self._hidden, self._depth = tag, 1
        elif tag in _HEADINGS:
            self.out.append(f"\n\n{_HEADINGS[tag]} ")
        elif tag == "pre":
            self._pre += 1
            self.out.append("\n\n```\n")
        elif tag == "li":
            self.out.append("\n- ")
        elif tag == "br":
            self.out.append("\n")
        elif tag in {"td", "th"}:
            self.out.append(" | ")
        elif tag in _BLOCKS:
            self._break()

    def end(self, tag: str) -> None:
        if self._hidden:
            if tag == self._hidden:
                self._depth -= 1
                if not self._depth:
                    self._hidden = ""
        elif tag == "pre" and self._pre:
            self._pre -= 1
            self.out.append("\n```\n\n")
        elif tag in _HEADINGS or tag in _BLOCKS:
            self._break()

    def _break(self) -> None:
        # A paragraph inside a list item or a cell stays on its line.
        if self.out and not self.out[-1].endswith(("- ", " | ", "\n\n")):
            self.out.append("\n\n")

    def data(self, data: str) -> None:
        if self._hidden:
            return
        if self._pre:
            self.out.append(data)
            return
        text = re.sub(r"\s+", " ", data)
        if not self.out or self.out[-1].endswith(("\n", " ")):
            text = text.lstrip()
        if text:
            self.out.append(text)
