"""Documents into chunks: SentenceSplitter.

Cuts at headings first, so that each chunk has one place to be cited by, then
by size through the file named after the splitter library. Nodes are defined in
`documents.py`; what is searched in them is the matter of `lexical.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from warnings import warn

from .documents import Document, TextNode
from .errors import InvalidOptionError, RagWarning

_RST = {".rst", ".rest"}
_MARKDOWN = {".md", ".markdown", ".mdx", ".ipynb", ".html", ".htm", ".xhtml", ".docx"}
_PLAIN = {".txt", ".text", ""}

Chunker = Callable[[str], list[tuple[int, str]]]


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


class SentenceSplitter:
    """Cut documents into chunks that end where sentences or blocks do.

    Args:
        chunk_size: Most tokens in a chunk.
        chunk_overlap: Tokens repeated from the chunk before, within a section;
            an eighth of the size if not given.
        tokenizer: OpenAI model whose tokens are counted; needs no network.

    Raises:
        InvalidOptionError: The overlap is not smaller than the size.
    """

    def __init__(
        self,
        chunk_size: int = 512,
        chunk_overlap: int | None = None,
        *,
        tokenizer: str = "gpt-4o",
    ) -> None:
        if chunk_overlap is None:
            chunk_overlap = chunk_size // 8
        if chunk_size < 1 or not 0 <= chunk_overlap < chunk_size:
            raise InvalidOptionError(
                f"chunk_overlap={chunk_overlap} must be 0 or more and less than "
                f"chunk_size={chunk_size}."
            )
        self.chunk_size = chunk_size
        self.chunk_overlap = chunk_overlap
        self.tokenizer = tokenizer

    def get_nodes_from_documents(self, documents: Iterable[Document]) -> list[TextNode]:
        """Return the chunks of all documents, in order.

        A chunk inherits its document's metadata, and gets ``title`` (the one
        heading over the whole document) and ``heading`` (the headings it stands
        under, outermost first) where there are any. Ids are ``<document id>:<number>``.
        """
        nodes: list[TextNode] = []
        for document in documents:
            nodes += self._split(document)
        return nodes

    def split_text(self, text: str) -> list[str]:
        """Return the chunks of a text, headings ignored."""
        return [chunk for _, chunk in self._chunker(markdown=False)(text)]

    def _split(self, document: Document) -> Iterator[TextNode]:
        suffix = PurePath(str(document.metadata.get("file_name", ""))).suffix.lower()
        found = sections(document.text, suffix)
        chunk = self._chunker(markdown=suffix in _MARKDOWN)
        outermost = {section.path[0] for section in found if section.path}
        title = outermost.pop() if len(outermost) == 1 else None
        number = 0
        for section in found:
            for start, text in chunk(document.text[section.start : section.end]):
                metadata = dict(document.metadata)
                if title is not None:
                    metadata.setdefault("title", title)
                if section.path:
                    metadata["heading"] = " › ".join(section.path)
                begin = section.start + start
                yield TextNode(
                    text=text,
                    id_=f"{document.id_}:{number}",
                    ref_doc_id=document.id_,
                    metadata=metadata,
                    start_char_idx=begin,
                    end_char_idx=begin + len(text),
                )
                number += 1

    def _chunker(self, *, markdown: bool) -> Chunker:
        try:
            from .semantic_text_splitter import chunker
        except ModuleNotFoundError:
            # No wheel for musl or Pyodide: a plain splitter keeps things going.
            warn(
                "semantic-text-splitter is not installed; cutting by paragraphs and "
                'guessing token counts. Run: pip install "stepwell[rag]"',
                RagWarning,
                stacklevel=4,
            )
            return lambda text: split_by_paragraph(text, self.chunk_size)
        return chunker(self.chunk_size, self.chunk_overlap, self.tokenizer, markdown)


def split_by_paragraph(text: str, chunk_size: int) -> list[tuple[int, str]]:
    """Cut at blank lines, else at spaces, counting four characters a token."""
    most = 4 * chunk_size
    pieces = [
        (match.start() + begin, match.group()[begin : begin + most])
        for match in re.finditer(r"(?:[^\n]|\n(?![ \t]*\n))+", text)
        for begin in range(0, len(match.group()), most)
    ]
    chunks: list[tuple[int, int]] = []
    for start, piece in pieces:
        if not piece.strip():
            continue
        end = start + len(piece)
        if chunks and end - chunks[-1][0] <= most:
            chunks[-1] = (chunks[-1][0], end)
        else:
            chunks.append((start, end))
    return [_trimmed(text, start, end) for start, end in chunks]


def _trimmed(text: str, start: int, end: int) -> tuple[int, str]:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), piece.strip()


def sections(text: str, suffix: str) -> list[Section]:
    """Return the sections of a text; one for all of it where none are marked.

    Args:
        text: The document.
        suffix: File extension, which decides what a heading looks like. Source
            code has none: a ``#`` there is a comment.
    """
    marks: list[tuple[int, int, str]] = []
    if suffix in _MARKDOWN:
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
