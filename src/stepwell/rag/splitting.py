"""Documents into chunks: SentenceSplitter.

Cuts at headings first, so that each chunk has one place to be cited by, then
by size through the file named after the splitter library, or through
`paragraphs.py` where that library is missing. Where headings stand is found in
`headings.py`; nodes are defined in `documents.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePath
from warnings import warn

from .documents import Document, TextNode
from .errors import InvalidOptionError, RagWarning
from .headings import MARKDOWN, has_line_numbers, sections
from .paragraphs import split_by_paragraph

Chunker = Callable[[str], list[tuple[int, str]]]
_ROWS = {".csv", ".tsv"}


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
        under, outermost first) where there are any; source code the ``lines`` it
        stands in, CSV the ``rows``. Ids are ``<document id>:<number>``.

        Raises:
            InvalidOptionError: Nobody knows the tokens of that model.
        """
        chunkers: dict[bool, Chunker] = {}
        nodes: list[TextNode] = []
        for document in documents:
            nodes += self._split(document, chunkers)
        return nodes

    def split_text(self, text: str) -> list[str]:
        """Return the chunks of a text, headings ignored."""
        return [chunk for _, chunk in self._chunker(False, stacklevel=3)(text)]

    def _split(
        self, document: Document, chunkers: dict[bool, Chunker]
    ) -> Iterator[TextNode]:
        suffix = PurePath(str(document.metadata.get("file_name", ""))).suffix.lower()
        # Three letters a token: a class that surely fits is not taken apart.
        found = sections(document.text, suffix, most=3 * self.chunk_size)
        markdown = suffix in MARKDOWN
        if markdown not in chunkers:
            chunkers[markdown] = self._chunker(markdown, stacklevel=4)
        chunk = chunkers[markdown]
        title = None
        if not has_line_numbers(suffix):
            outermost = {section.path[0] for section in found if section.path}
            title = outermost.pop() if len(outermost) == 1 else None
        counted = "rows" if suffix in _ROWS else "lines"
        lines = _Lines(document.text)
        number = 0
        for section in found:
            for start, text in chunk(document.text[section.start : section.end]):
                metadata = dict(document.metadata)
                if title is not None:
                    metadata.setdefault("title", title)
                if section.path:
                    metadata["heading"] = " › ".join(section.path)
                begin = section.start + start
                if has_line_numbers(suffix):
                    metadata[counted] = lines.of(begin, begin + len(text))
                yield TextNode(
                    text=text,
                    id_=f"{document.id_}:{number}",
                    ref_doc_id=document.id_,
                    metadata=metadata,
                    start_char_idx=begin,
                    end_char_idx=begin + len(text),
                )
                number += 1

    def _chunker(self, markdown: bool, *, stacklevel: int) -> Chunker:
        try:
            from .semantic_text_splitter import chunker
        except ImportError:
            # No wheel for musl or Pyodide: a plain splitter keeps things going.
            warn(
                "semantic-text-splitter is not installed; cutting by paragraphs and "
                'guessing token counts. Run: pip install "stepwell[rag]"',
                RagWarning,
                stacklevel=stacklevel,
            )
            return lambda text: split_by_paragraph(
                text, self.chunk_size, self.chunk_overlap
            )
        return chunker(self.chunk_size, self.chunk_overlap, self.tokenizer, markdown)


class _Lines:
    """Numbers of lines, for places asked in ascending order."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._line = 1

    def of(self, start: int, end: int) -> str:
        """Return which lines a stretch covers: ``"12"`` or ``"12–40"``."""
        if start < self._place:
            # A chunk that repeats the end of the one before.
            self._line -= self._text.count("\n", start, self._place)
        else:
            self._line += self._text.count("\n", self._place, start)
        self._place = start
        last = self._line + self._text.count("\n", start, end)
        return str(self._line) if last == self._line else f"{self._line}–{last}"
