"""What a file holds as text, by format: text, notebook, HTML, PDF, Word.

Takes one path and returns its parts; choosing files and reporting those that
were skipped is in `readers.py`. PDF and Word go through the files named after
the libraries that read them, imported only when such a file turns up.
"""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from typing import Any

from .errors import MissingExtraError


class Unreadable(Exception):
    """Says why a file gives no text; the reader turns it into a skipped file."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Part:
    """A text out of a file: the whole of it, or one page."""

    text: str
    name: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


def read_parts(path: Path, encoding: str | None) -> tuple[list[Part], str | None]:
    """Return the parts of a file, and the encoding where it was a guess.

    Raises:
        Unreadable: The file gives no text.
        MissingExtraError: The library for this format is not installed.
    """
    data = path.read_bytes()
    suffix = path.suffix.lower()
    guess: str | None = None
    if suffix == ".pdf":
        parts = _pdf(data)
    elif suffix == ".docx":
        parts = [Part(html_to_text(_docx(data)))]
    else:
        text, guess = decode(data, encoding)
        if suffix == ".ipynb":
            text = notebook_to_text(text)
        elif suffix in {".html", ".htm", ".xhtml"}:
            text = html_to_text(text)
        parts = [Part(text)]
    parts = [part for part in parts if part.text.strip()]
    if not parts:
        raise Unreadable(
            "a PDF without text, maybe scanned" if suffix == ".pdf" else "no text"
        )
    return parts, guess


def decode(data: bytes, encoding: str | None = None) -> tuple[str, str | None]:
    r"""Decode bytes that should be text.

    Tries a byte order mark, then UTF-8, then cp1252 as the likeliest other
    one. UTF-16 needs its mark: without, anything of even length decodes.

    Returns:
        The text with ``\n`` line ends, and the encoding if it was a guess.

    Raises:
        Unreadable: The bytes are not text.
    """
    guess = None
    if encoding is not None:
        try:
            text = data.decode(encoding)
        except (UnicodeDecodeError, LookupError) as error:
            raise Unreadable(f"cannot be decoded as {encoding}") from error
    elif data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        text = data.decode("utf-32", "replace")
    elif data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16", "replace")
    else:
        if b"\0" in data:
            raise Unreadable("binary, not text")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            # Five bytes of cp1252 stand for nothing; keep the rest of the file.
            text, guess = data.decode("cp1252", "replace"), "cp1252"
    controls = sum(1 for char in text[:20_000] if char < " " and char not in "\t\n\r\f")
    if "\0" in text or controls > 0.1 * min(len(text), 20_000):
        raise Unreadable("binary, not text")
    return text.replace("\r\n", "\n").replace("\r", "\n"), guess


def notebook_to_text(source: str) -> str:
    """Return the cells of a notebook as Markdown, code fenced; no outputs."""
    try:
        cells = json.loads(source)["cells"]
        pieces = []
        for cell in cells:
            lines = cell["source"]
            text = lines if isinstance(lines, str) else "".join(lines)
            if not text.strip():
                continue
            pieces.append(
                f"```python\n{text}\n```" if cell["cell_type"] == "code" else text
            )
    except (ValueError, KeyError, TypeError) as error:
        raise Unreadable("not a notebook (nbformat 4)") from error
    return "\n\n".join(pieces)


def _load(vendor: str, package: str, wanted_by: str) -> Any:
    try:
        return import_module(f".{vendor}", __package__)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise MissingExtraError.for_package(package, "files", wanted_by) from error


def _pdf(data: bytes) -> list[Part]:
    if b"%PDF" not in data[:1024]:
        raise Unreadable("named .pdf but not a PDF")
    pages = _load("pypdfium2", "pypdfium2", "A PDF").page_texts(data)
    return [
        Part(text, f"page={number}", {"page_label": str(number)})
        for number, text in enumerate(pages, start=1)
    ]


def _docx(data: bytes) -> str:
    if not data.startswith(b"PK"):
        raise Unreadable("named .docx but not a Word file")
    html: str = _load("mammoth", "mammoth", "A Word file").docx_to_html(data)
    return html


_BLOCK_TAGS = """
p div section article header footer main aside nav ul ol table tr dl dt dd blockquote
figure figcaption form fieldset address hr
"""
_BLOCKS = frozenset(_BLOCK_TAGS.split())
_HIDDEN = {"script", "style", "noscript", "template", "svg", "head"}
_HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}


def html_to_text(source: str) -> str:
    """Return the text of an HTML page as Markdown-like lines.

    Headings keep their level, list items and code their shape; scripts, styles
    and the like are dropped.
    """
    parser = _Text()
    parser.feed(source)
    parser.close()
    text = "".join(parser.out)
    text = re.sub(r"[ \t]+\n", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.out: list[str] = []
        self._hidden = 0
        self._pre = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in _HIDDEN:
            self._hidden += 1
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

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag == "pre" and self._pre:
            self._pre -= 1
            self.out.append("\n```\n\n")
        elif tag in _HEADINGS or tag in _BLOCKS:
            self._break()

    def _break(self) -> None:
        # A paragraph inside a list item or a cell stays on its line.
        if self.out and not self.out[-1].endswith(("- ", " | ", "\n\n")):
            self.out.append("\n\n")

    def handle_data(self, data: str) -> None:
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
