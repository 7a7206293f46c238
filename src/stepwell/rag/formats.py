"""What a file holds as text, by format: text, notebook, HTML, CSV, PDF, Word.

Takes one path and returns its parts; choosing files and reporting those that
were skipped is in `readers.py`. PDF and Word go through the files named after
the libraries that read them, imported only when such a file turns up.
"""

from __future__ import annotations

import codecs
import json
import re
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from .csv_rows import read_rows
from .errors import MissingExtraError
from .hypertext import declared_encoding, html_to_text, html_to_title_and_text
from .python_source import docstring_line

_HTML = {".html", ".htm", ".xhtml"}
_CSV = {".csv", ".tsv"}
_PYTHON = {".py", ".pyi", ".pyw"}
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", re.M)


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


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a file.

    Attributes:
        parts: Its texts.
        guess: The encoding, where it was a guess.
        left_out: What was left out of it, in a few words, or "".
    """

    parts: list[Part]
    guess: str = ""
    left_out: str = ""


def read_parts(path: Path, encoding: str | None) -> Reading:
    """Return what a file holds.

    Raises:
        Unreadable: The file gives no text.
        MissingExtraError: The library for this format is not installed.
    """
    data = path.read_bytes()
    suffix = path.suffix.lower()
    guess = left_out = ""
    if suffix == ".pdf":
        parts = _pdf(data)
    elif suffix == ".docx":
        parts = [Part(html_to_text(_docx(data)))]
    else:
        text, guess = decode(data, encoding, _declared(data, suffix))
        about: dict[str, Any] = {}
        if suffix == ".ipynb":
            text = notebook_to_text(text)
        elif suffix in _HTML:
            title, text = html_to_title_and_text(text)
            about = {"title": title} if title else {}
        elif suffix in _CSV:
            rows = read_rows(text, suffix)
            text = rows.text
            about = {"columns": list(rows.columns), "row_count": rows.rows}
            if rows.left_out:
                left_out = f"{rows.left_out:,} rows after row {rows.rows:,}"
        elif suffix in _PYTHON and (line := docstring_line(text)):
            about = {"title": line}
        parts = [Part(text, metadata=about)]
    parts = [part for part in parts if part.text.strip()]
    if not parts:
        raise Unreadable(
            "a PDF without text, maybe scanned" if suffix == ".pdf" else "no text"
        )
    return Reading(parts, guess, left_out)


def _declared(data: bytes, suffix: str) -> str | None:
    """Return the encoding that a file itself says it has."""
    if suffix in _HTML:
        return declared_encoding(data)
    if suffix in _PYTHON:
        # Python looks for it in the first two lines.
        match = _COOKIE.search(b"\n".join(data[:1000].splitlines()[:2]))
        return match[1].decode("ascii") if match else None
    return None


def decode(
    data: bytes, encoding: str | None = None, declared: str | None = None
) -> tuple[str, str]:
    r"""Decode bytes that should be text.

    Tries a byte order mark, then UTF-8, then what the file declares, then cp1252
    as the likeliest other one. UTF-16 needs its mark: without, anything of even
    length decodes. UTF-8 with a few broken bytes stays UTF-8.

    Args:
        data: The file.
        encoding: What its reader was told to use, instead of finding out.
        declared: What the file says of itself, which may be wrong.

    Returns:
        The text with ``\n`` line ends, and the encoding if it was a guess, or "".

    Raises:
        Unreadable: The bytes are not text.
    """
    guess = ""
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
            text, guess = _decode_other(data, declared)
    controls = sum(1 for char in text[:20_000] if char < " " and char not in "\t\n\r\f")
    if "\0" in text or controls > 0.1 * min(len(text), 20_000):
        raise Unreadable("binary, not text")
    return text.replace("\r\n", "\n").replace("\r", "\n"), guess


def _decode_other(data: bytes, declared: str | None) -> tuple[str, str]:
    if declared is not None:
        try:
            return data.decode(declared), ""
        except (UnicodeError, LookupError):
            pass
    text = data.decode("utf-8-sig", "replace")
    broken = text.count("\N{REPLACEMENT CHARACTER}")
    # Letters of another encoding hardly ever make up valid UTF-8 by chance.
    if broken < len(text) - len(text.encode("ascii", "ignore")) - broken:
        places = "one place" if broken == 1 else f"{broken:,} places"
        return text, f"UTF-8 but for {places}"
    # Five bytes of cp1252 stand for nothing; keep the rest of the file.
    return data.decode("cp1252", "replace"), "cp1252"


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
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable("not a notebook (nbformat 4)") from error
    return whole_letters("\n\n".join(pieces))


def whole_letters(text: str) -> str:
    """Return a text without halves of letters, which JSON and file names may hold.

    No file and no database can keep one.
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


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
