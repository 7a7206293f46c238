"""More of a document around what was found: ExpandContext.

Small chunks are found best and large ones answer best; so small ones are looked
for, and what stands around them is given back. Cutting is in `splitting.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal, Protocol

from .documents import NodeList, NodeWithScore, TextNode
from .errors import InvalidOptionError
from .rerank import question_if_any

_WIDEST_GAP = 200
# Between neighbours lies white space that the splitter trimmed, or a heading with
# nothing under it. Whatever is wider was deleted, or never indexed.


class Kept(Protocol):
    """What is needed of an index: the chunks of a document."""

    def get_ref_doc_nodes(self, ref_doc_id: str) -> list[TextNode]:
        """Return the chunks of a document, in the order they were cut."""
        ...


class ExpandContext:
    """Give back more than the chunks found: their neighbours, or whole sections.

    What overlaps or touches becomes one node, at the place of the best, so nothing
    comes twice. Apply it last: rerankers judge small chunks better.

    Args:
        index: Where the chunks come from.
        by: ``"section"`` for all chunks under the same heading, ``"document"`` for
            all there are, or a number: so many chunks before and after each.

    Raises:
        InvalidOptionError: None of these.
    """

    def __init__(
        self, index: Kept, by: Literal["section", "document"] | int = "section"
    ) -> None:
        number = isinstance(by, int) and not isinstance(by, bool) and by >= 0
        if by not in ("section", "document") and not number:
            raise InvalidOptionError(
                f"by={by!r} must be 'section', 'document', or a number of chunks to "
                "add on either side."
            )
        self.by = by
        self._index = index

    def __repr__(self) -> str:
        return f"ExpandContext(by={self.by!r})"

    def postprocess_nodes(
        self,
        nodes: Sequence[NodeWithScore],
        query_bundle: str | None = None,
        query_str: str | None = None,
    ) -> NodeList:
        """Return the nodes made larger; the input is not changed.

        ``document.text[start_char_idx:end_char_idx]`` is their text, but for what
        stands between two chunks, which is left blank. Score, parts, metadata and
        id are those of the best chunk in each. A chunk without offsets, or that
        the index no longer has, stays as it is.
        """
        query = question_if_any(query_bundle, query_str)
        documents: dict[str, list[TextNode]] = {}
        spans: list[_Span] = []
        for rank, found in enumerate(nodes):
            node = found.node
            if node.ref_doc_id is not None and node.ref_doc_id not in documents:
                around = self._index.get_ref_doc_nodes(node.ref_doc_id)
                documents[node.ref_doc_id] = _in_order(around)
            chunks = self._around(node, documents.get(node.ref_doc_id or "", []))
            spans.append(_Span(rank, found, chunks))
        return NodeList((span.node() for span in _merged(spans)), query=query)

    async def apostprocess_nodes(
        self,
        nodes: Sequence[NodeWithScore],
        query_bundle: str | None = None,
        query_str: str | None = None,
    ) -> NodeList:
        """Do as `postprocess_nodes`, in a thread: chunks may lie in a database."""
        return await asyncio.to_thread(
            self.postprocess_nodes, nodes, query_bundle, query_str
        )

    def _around(self, node: TextNode, siblings: list[TextNode]) -> list[TextNode]:
        """Return the node with those that belong to it, without a wide gap."""
        place = next((i for i, n in enumerate(siblings) if n.id_ == node.id_), None)
        if place is None:
            return [node]
        first = last = place
        while first > 0 and self._goes_on(siblings, first - 1, first, place):
            first -= 1
        while last + 1 < len(siblings) and self._goes_on(
            siblings, last, last + 1, place
        ):
            last += 1
        if isinstance(self.by, int):
            first, last = max(first, place - self.by), min(last, place + self.by)
        return siblings[first : last + 1]

    def _goes_on(
        self, siblings: list[TextNode], left: int, right: int, place: int
    ) -> bool:
        one, other = siblings[left], siblings[right]
        if (other.start_char_idx or 0) - (one.end_char_idx or 0) > _WIDEST_GAP:
            return False
        if self.by != "section":
            return True
        outer = one if left < place else other
        heading = siblings[place].metadata.get("heading")
        return bool(outer.metadata.get("heading") == heading)


class _Span:
    """A stretch of a document, as the chunks that make it up."""

    def __init__(
        self, rank: int, found: NodeWithScore, chunks: Sequence[TextNode]
    ) -> None:
        self.rank = rank
        self.found = found
        self.chunks = list(chunks)

    @property
    def has_offsets(self) -> bool:
        node = self.found.node
        return node.start_char_idx is not None and node.ref_doc_id is not None

    @property
    def start(self) -> int:
        return min(chunk.start_char_idx or 0 for chunk in self.chunks)

    @property
    def end(self) -> int:
        return max(chunk.end_char_idx or 0 for chunk in self.chunks)

    def meets(self, other: _Span) -> bool:
        """Whether both share a chunk, or letters."""
        if self.found.node.ref_doc_id != other.found.node.ref_doc_id:
            return False
        return self.start < other.end and other.start < self.end

    def take(self, other: _Span) -> None:
        """Add the chunks of a span that was ranked lower."""
        known = {chunk.id_ for chunk in self.chunks}
        self.chunks += [chunk for chunk in other.chunks if chunk.id_ not in known]
        self.chunks.sort(key=lambda chunk: chunk.start_char_idx or 0)

    def node(self) -> NodeWithScore:
        if len(self.chunks) == 1:
            return self.found
        text, end = "", self.start
        for chunk in self.chunks:
            begin = chunk.start_char_idx or 0
            if begin > end:
                text += _blank(begin - end)
            text += chunk.text[max(0, end - begin) :]
            end = max(end, begin + len(chunk.text))
        larger = self.found.node.model_copy(
            update={
                "text": text,
                "start_char_idx": self.start,
                "end_char_idx": self.start + len(text),
            }
        )
        return self.found.model_copy(update={"node": larger})


def _merged(spans: Sequence[_Span]) -> list[_Span]:
    """Join spans that meet, into the one of the best rank."""
    kept: list[_Span] = []
    for span in spans:
        met = [other for other in kept if span.has_offsets and other.meets(span)]
        if not met:
            kept.append(span)
            continue
        # A span may close the gap between two that were apart.
        for other in (span, *met[1:]):
            met[0].take(other)
        kept = [other for other in kept if other not in met[1:]]
    return kept


def _in_order(nodes: Sequence[TextNode]) -> list[TextNode]:
    placed = [node for node in nodes if node.start_char_idx is not None]
    return sorted(placed, key=lambda node: node.start_char_idx or 0)


def _blank(letters: int) -> str:
    """Return so many letters of white space: a break, and an indent after it."""
    return "\n" * min(letters, 2) + " " * (letters - 2)
