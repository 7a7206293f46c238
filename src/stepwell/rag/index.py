"""Chunks made searchable: VectorStoreIndex.

Cuts documents, embeds the chunks where there is a model, and keeps words,
vectors and nodes in step. Searching is in `retrieve.py`, answering in
`answer.py`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from .answer import QueryEngine
from .base import Embedding, NodePostprocessor, VectorStore
from .documents import Document, TextNode
from .errors import InvalidOptionError, MissingExtraError
from .lexical import LexicalStore
from .progress import Progress
from .retrieve import Mode, Retriever
from .settings import Settings
from .splitting import SentenceSplitter


class VectorStoreIndex:
    """An index over chunks, searched by words, and by vectors where a model is set.

    Without an embedding model nothing leaves this process: the index is
    lexical (BM25). Build one with `from_documents`.

    Args:
        nodes: Chunks to begin with.
        embed_model: Embedding model; `Settings.embed_model` if not given. With
            neither, the index is lexical.
        vector_store: Where to keep vectors; a matrix in memory by default.
        language: ``"english"`` stems words; None for other languages.
        show_progress: Tell on stderr how many of `nodes` are embedded. Without
            an embedding model there is nothing to wait for, or to tell.
    """

    def __init__(
        self,
        nodes: Sequence[TextNode] | None = None,
        *,
        embed_model: Embedding | None = None,
        vector_store: VectorStore | None = None,
        language: str | None = "english",
        show_progress: bool = False,
    ) -> None:
        self._prepare(embed_model, vector_store, language)
        if nodes:
            self.insert_nodes(nodes, show_progress=show_progress)

    def _prepare(
        self,
        embed_model: Embedding | None,
        vector_store: VectorStore | None,
        language: str | None,
    ) -> None:
        self.embed_model = Settings.embed_model if embed_model is None else embed_model
        self.language = language
        self.nodes: dict[str, TextNode] = {}
        self.lexical = LexicalStore(language)
        self.vectors: VectorStore | None = None
        self._by_document: dict[str, list[str]] = {}
        if self.embed_model is not None:
            self.vectors = _new_store() if vector_store is None else vector_store
        elif vector_store is not None:
            raise InvalidOptionError("vector_store= needs embed_model= too.")

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[Document],
        *,
        transformations: Sequence[SentenceSplitter] | None = None,
        embed_model: Embedding | None = None,
        language: str | None = "english",
        show_progress: bool = False,
    ) -> VectorStoreIndex:
        """Build an index from documents; blocks the caller.

        Args:
            documents: What to index.
            transformations: A splitter, in a list, in place of
                ``SentenceSplitter(Settings.chunk_size, Settings.chunk_overlap)``.
            embed_model: As for the class.
            language: As for the class.
            show_progress: As for the class.

        Raises:
            MissingAPIKeyError: The embedding model is hosted, and has no key.
            ModelServerError: Its server refused or failed.
        """
        index = cls(embed_model=embed_model, language=language)
        nodes = _cut(documents, transformations)
        index.insert_nodes(nodes, show_progress=show_progress)
        return index

    @classmethod
    async def afrom_documents(
        cls,
        documents: Iterable[Document],
        *,
        transformations: Sequence[SentenceSplitter] | None = None,
        embed_model: Embedding | None = None,
        language: str | None = "english",
        show_progress: bool = False,
    ) -> VectorStoreIndex:
        """Do as `from_documents`, leaving the event loop free."""
        index = cls(embed_model=embed_model, language=language)
        nodes = await asyncio.to_thread(_cut, list(documents), transformations)
        await index.ainsert_nodes(nodes, show_progress=show_progress)
        return index

    def __len__(self) -> int:
        return len(self.nodes)

    def __repr__(self) -> str:
        kind = "lexical" if self.embed_model is None else "hybrid"
        return (
            f"<VectorStoreIndex: {len(self.nodes)} chunks of "
            f"{len(self._by_document)} documents, {kind}>"
        )

    def insert_nodes(
        self, nodes: Sequence[TextNode], *, show_progress: bool = False
    ) -> None:
        """Add chunks; one whose id is there already replaces it."""
        vectors = None
        if self.embed_model is not None and nodes:
            texts = [node.text for node in nodes]
            vectors = embed_texts(self.embed_model, texts, show_progress)
        self._store(nodes, vectors)

    async def ainsert_nodes(
        self, nodes: Sequence[TextNode], *, show_progress: bool = False
    ) -> None:
        """Do as `insert_nodes`, leaving the event loop free."""
        vectors = None
        if self.embed_model is not None and nodes:
            texts = [node.text for node in nodes]
            vectors = await aembed_texts(self.embed_model, texts, show_progress)
        await asyncio.to_thread(self._store, nodes, vectors)

    def _store(
        self, nodes: Sequence[TextNode], vectors: Sequence[Sequence[float]] | None
    ) -> None:
        # Vectors first: if they do not fit, nothing has changed.
        if vectors is not None and self.vectors is not None:
            self.vectors.add([node.id_ for node in nodes], vectors)
        self.lexical.add(nodes)
        for node in nodes:
            if node.id_ not in self.nodes:
                self._by_document.setdefault(node.ref_doc_id or node.id_, []).append(
                    node.id_
                )
            self.nodes[node.id_] = node

    def insert(self, document: Document) -> None:
        """Add a document; if one with its id is there, it is replaced."""
        nodes = _cut([document], None)
        stale = self._stale(document, nodes)
        self.insert_nodes(nodes)
        self._delete(stale, document.id_)

    async def ainsert(self, document: Document) -> None:
        """Do as `insert`, leaving the event loop free."""
        nodes = await asyncio.to_thread(_cut, [document], None)
        stale = self._stale(document, nodes)
        await self.ainsert_nodes(nodes)
        self._delete(stale, document.id_)

    def _stale(self, document: Document, nodes: Sequence[TextNode]) -> list[str]:
        """Return ids of chunks the document had and has no longer."""
        kept = {node.id_ for node in nodes}
        return [i for i in self._by_document.get(document.id_, ()) if i not in kept]

    def delete_ref_doc(self, ref_doc_id: str) -> None:
        """Forget all chunks of a document; an unknown id is ignored."""
        self._delete(list(self._by_document.get(ref_doc_id, ())), ref_doc_id)

    def _delete(self, ids: list[str], ref_doc_id: str) -> None:
        self.lexical.delete(ids)
        if self.vectors is not None:
            self.vectors.delete(ids)
        for id_ in ids:
            self.nodes.pop(id_, None)
        gone = set(ids)
        left = [i for i in self._by_document.get(ref_doc_id, ()) if i not in gone]
        if left:
            self._by_document[ref_doc_id] = left
        else:
            self._by_document.pop(ref_doc_id, None)

    def as_retriever(
        self,
        similarity_top_k: int = 5,
        *,
        mode: Mode = "auto",
        filters: Mapping[str, Any] | None = None,
        min_score: float | None = None,
    ) -> Retriever:
        """Return a retriever over this index; see `Retriever` for the arguments."""
        return Retriever(
            self,
            similarity_top_k=similarity_top_k,
            mode=mode,
            filters=filters,
            min_score=min_score,
        )

    def as_query_engine(
        self,
        similarity_top_k: int = 5,
        *,
        llm: Any = None,
        node_postprocessors: Sequence[NodePostprocessor] = (),
        mode: Mode = "auto",
        filters: Mapping[str, Any] | None = None,
    ) -> QueryEngine:
        """Return what answers questions from this index.

        Args:
            similarity_top_k: Chunks to retrieve.
            llm: Language model; `Settings.llm` at the time of the question if
                not given.
            node_postprocessors: Rerankers and the like, applied in order.
            mode: As for `as_retriever`.
            filters: As for `as_retriever`.
        """
        retriever = self.as_retriever(similarity_top_k, mode=mode, filters=filters)
        return QueryEngine(retriever, llm=llm, node_postprocessors=node_postprocessors)

    def __getstate__(self) -> dict[str, Any]:
        # A SQLite connection cannot travel to another process: it is refilled.
        return {key: value for key, value in vars(self).items() if key != "lexical"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.lexical = LexicalStore(self.language)
        self.lexical.add(self.nodes.values())


def embed_texts(
    model: Any, texts: list[str], show_progress: bool = False
) -> Sequence[Sequence[float]]:
    """Embed passages, showing progress by the model's own means or by counting.

    Returns:
        Vectors ``(n_texts, dim)``, in order.
    """
    embed = model.get_text_embedding_batch
    vectors: Sequence[Sequence[float]]
    if not show_progress:
        vectors = embed(texts)
        return vectors
    if _shows_progress(embed):
        vectors = embed(texts, show_progress=True)
        return vectors
    counted: list[Sequence[float]] = []
    with Progress("chunks embedded", len(texts)) as progress:
        for batch in _batches(model, texts):
            counted.extend(embed(batch))
            progress.advance(len(batch))
    return counted


async def aembed_texts(
    model: Any, texts: list[str], show_progress: bool = False
) -> Sequence[Sequence[float]]:
    """Do as `embed_texts` without blocking the loop, whichever way `model` offers."""
    embed = getattr(model, "aget_text_embedding_batch", None)
    vectors: Sequence[Sequence[float]]
    if embed is None:
        return await asyncio.to_thread(embed_texts, model, texts, show_progress)
    if not show_progress:
        vectors = await embed(texts)
        return vectors
    if _shows_progress(embed):
        vectors = await embed(texts, show_progress=True)
        return vectors
    counted: list[Sequence[float]] = []
    with Progress("chunks embedded", len(texts)) as progress:
        for batch in _batches(model, texts):
            counted.extend(await embed(batch))
            progress.advance(len(batch))
    return counted


def _shows_progress(embed: Callable[..., Any]) -> bool:
    # Asked only of a model that is to show progress: any other object with the
    # methods of `Embedding` goes on working without the argument.
    return "show_progress" in inspect.signature(embed).parameters


def _batches(model: Any, texts: list[str]) -> Iterator[list[str]]:
    # Only a model knows how many texts it takes well; one that does not say gets all.
    size = getattr(model, "embed_batch_size", None) or len(texts)
    for start in range(0, len(texts), size):
        yield texts[start : start + size]


def _cut(
    documents: Iterable[Document], transformations: Sequence[SentenceSplitter] | None
) -> list[TextNode]:
    if transformations is None:
        transformations = [
            SentenceSplitter(
                Settings.chunk_size,
                min(Settings.chunk_overlap, Settings.chunk_size // 2),
            )
        ]
    if len(transformations) != 1:
        raise InvalidOptionError("transformations= takes one splitter, in a list.")
    return transformations[0].get_nodes_from_documents(documents)


def _new_store() -> VectorStore:
    try:
        from .numpy import NumpyVectorStore
    except ModuleNotFoundError as error:
        raise MissingExtraError.for_package("numpy", "rag", "A vector index") from error
    return NumpyVectorStore()
