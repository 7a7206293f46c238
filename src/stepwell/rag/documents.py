"""What is read, cut and found: Document, TextNode, NodeWithScore, and lists of them.

Plain pydantic models, so that they travel inside events and across processes.
Reading files is in `readers.py`, cutting in `splitting.py`, HTML in `display.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, overload
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from .display import render_documents, render_nodes


def _new_id() -> str:
    return uuid4().hex


class Document(BaseModel):
    """A text and what is known about it, before it is cut into chunks.

    Give `id_` a stable value (the reader uses the path) where the document
    will be replaced later: the index updates by this id.
    """

    model_config = ConfigDict(extra="forbid")

    text: str = ""
    metadata: dict[str, Any] = Field(default_factory=dict)
    id_: str = Field(default_factory=_new_id)

    def __repr__(self) -> str:
        """One line: where it is from, how long it is, how it begins."""
        begins = " ".join(self.text[:60].split())
        return f"<Document {self.id_}: {len(self.text):,} letters, {begins!r}…>"

    @property
    def doc_id(self) -> str:
        """The same as `id_`."""
        return self.id_

    def get_content(self) -> str:
        """Return the text."""
        return self.text

    def _repr_html_(self) -> str:
        return render_documents([self])


class DocumentList(list[Document]):
    """The documents a reader found, in order: a list that shows as a table."""

    @overload  # type: ignore[override]  # a slice of a DocumentList is one
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> DocumentList: ...
    def __getitem__(self, index: int | slice) -> Document | DocumentList:
        found = super().__getitem__(index)
        return found if isinstance(found, Document) else DocumentList(found)

    def _repr_html_(self) -> str:
        return render_documents(self)


class TextNode(BaseModel):
    """A chunk of a document.

    ``document.text[start_char_idx:end_char_idx]`` is `text`, for chunks cut by
    `SentenceSplitter`.
    """

    model_config = ConfigDict(extra="forbid")

    text: str = ""
    id_: str = Field(default_factory=_new_id)
    ref_doc_id: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    start_char_idx: int | None = None
    end_char_idx: int | None = None

    @property
    def node_id(self) -> str:
        """The same as `id_`."""
        return self.id_

    @property
    def source(self) -> str:
        """Where the chunk stands, for people: ``file § heading``, or the id."""
        place = str(
            self.metadata.get("file_name")
            or self.metadata.get("title")
            or self.ref_doc_id
            or self.id_
        )
        if page := self.metadata.get("page_label"):
            place += f", page {page}"
        if lines := self.metadata.get("lines"):
            place += f", lines {lines}" if "–" in str(lines) else f", line {lines}"
        if rows := self.metadata.get("rows"):
            place += f", rows {rows}" if "–" in str(rows) else f", row {rows}"
        if heading := str(self.metadata.get("heading") or ""):
            # The innermost two say enough; the file says the rest.
            place += f" § {' › '.join(heading.split(' › ')[-2:])}"
        return place

    def get_content(self) -> str:
        """Return the text."""
        return self.text

    def _repr_html_(self) -> str:
        return render_nodes([self])


class NodeWithScore(BaseModel):
    """A chunk and how well it matched.

    `score` is what the list is sorted by: BM25 for lexical search, the cosine
    for dense search, a fused rank in 0..1 for hybrid search, the model's own
    number after reranking. `scores` keeps the parts by name: ``bm25``,
    ``dense``, ``rrf``, ``rerank``.
    """

    node: TextNode
    score: float | None = None
    scores: dict[str, float] = Field(default_factory=dict)

    def __repr__(self) -> str:
        """One line: how well it matched, and where it stands."""
        score = "no score" if self.score is None else f"{self.score:.2f}"
        return f"<NodeWithScore {score}: {self.source}>"

    @property
    def text(self) -> str:
        """The chunk's text."""
        return self.node.text

    @property
    def metadata(self) -> dict[str, Any]:
        """The chunk's metadata."""
        return self.node.metadata

    @property
    def node_id(self) -> str:
        """The chunk's id."""
        return self.node.id_

    @property
    def id_(self) -> str:
        """The chunk's id."""
        return self.node.id_

    @property
    def source(self) -> str:
        """Where the chunk stands, for people: ``file § heading``."""
        return self.node.source

    def get_content(self) -> str:
        """Return the chunk's text."""
        return self.node.text

    def get_score(self, raise_error: bool = False) -> float:
        """Return the score; 0.0 where there is none.

        Raises:
            ValueError: There is no score, and `raise_error` is true.
        """
        if self.score is None and raise_error:
            raise ValueError(f"node {self.id_} has no score")
        return self.score or 0.0

    def _repr_html_(self) -> str:
        return render_nodes([self])


class NodeList(list[NodeWithScore]):
    """The nodes a retriever found, best first: a list that shows as a table."""

    def __init__(
        self, nodes: Iterable[NodeWithScore] = (), *, query: str | None = None
    ) -> None:
        super().__init__(nodes)
        self.query = query

    @overload  # type: ignore[override]  # a slice of a NodeList is a NodeList
    def __getitem__(self, index: int) -> NodeWithScore: ...
    @overload
    def __getitem__(self, index: slice) -> NodeList: ...
    def __getitem__(self, index: int | slice) -> NodeWithScore | NodeList:
        found = super().__getitem__(index)
        if isinstance(found, NodeWithScore):
            return found
        return NodeList(found, query=self.query)

    def _repr_html_(self) -> str:
        return render_nodes(self, query=self.query)
