"""The chunks of an index, as words, vectors and nodes, kept in step: Chunks.

Everything that changes an index is here. Opening, saving and asking it is in
`index.py`, searching in `retrieve.py`.
"""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from .base import Embedding, NodeVectorStore, VectorStore
from .documents import Document, TextNode
from .embedding import aembed_texts, embed_texts
from .embedding_cache import Cache, cached
from .errors import (
    IndexMismatchError,
    InvalidOptionError,
    MissingExtraError,
    RagWarning,
)
from .lexical import LexicalStore
from .settings import Settings
from .splitting import SentenceSplitter
from .stored import StoredNodes


class Chunks:
    """Chunks that can be added, replaced and deleted, by themselves or by document.

    The arguments are those of `VectorStoreIndex`, which is what people make.
    """

    def __init__(
        self,
        nodes: Sequence[TextNode] | None = None,
        *,
        embed_model: Embedding | None = None,
        vector_store: VectorStore | None = None,
        cache: Cache = None,
        language: str | None = "english",
        show_progress: bool = False,
    ) -> None:
        model = Settings.embed_model if embed_model is None else embed_model
        self.embed_model = cached(model, cache)
        self.language = language
        self.nodes: Mapping[str, TextNode] = {}
        self.lexical = LexicalStore(language)
        self.vectors: VectorStore | None = None
        self._by_document: dict[str, list[str]] = {}
        self._transformations: Sequence[SentenceSplitter] | None = None
        self._lock = threading.RLock()
        if self.embed_model is not None:
            self.vectors = (
                vector_store_class()() if vector_store is None else vector_store
            )
        elif vector_store is not None:
            raise InvalidOptionError("vector_store= needs embed_model= too.")
        if isinstance(self.vectors, NodeVectorStore):
            self._go_on_with(self.vectors)
        if nodes:
            self.insert_nodes(nodes, show_progress=show_progress)

    def _go_on_with(self, store: NodeVectorStore) -> None:
        made_with, name = store.get_model_name(), name_of(self.embed_model)
        if made_with is not None:
            check_model(made_with, name, f"{store!r} was filled")
        self.nodes = StoredNodes(store)
        # A store of its own kind is for what is too large for memory, so the words
        # go to a temporary file.
        self.lexical.close()
        self.lexical = LexicalStore(self.language, on_disk=True)
        self.lexical.add(self.nodes.values())
        for id_, document in self.nodes.documents.items():
            self._by_document.setdefault(document, []).append(id_)

    def _take(self, nodes: Sequence[TextNode], words: bytes | None) -> None:
        """Begin with nodes whose words and vectors are there already."""
        self.nodes = {node.id_: node for node in nodes}
        self.lexical.load(words, nodes)
        for node in nodes:
            document = node.ref_doc_id or node.id_
            self._by_document.setdefault(document, []).append(node.id_)

    def insert_nodes(
        self, nodes: Sequence[TextNode], *, show_progress: bool = False
    ) -> None:
        """Add chunks; one whose id is there already replaces it."""
        self._put(nodes, (), show_progress)

    async def ainsert_nodes(
        self, nodes: Sequence[TextNode], *, show_progress: bool = False
    ) -> None:
        """Do as `insert_nodes`, leaving the event loop free."""
        await self._aput(nodes, (), show_progress)

    def insert(self, document: Document) -> None:
        """Add a document; if one with its id is there, it is replaced."""
        self.refresh_ref_docs([document])

    async def ainsert(self, document: Document) -> None:
        """Do as `insert`, leaving the event loop free."""
        await self.arefresh_ref_docs([document])

    def refresh_ref_docs(
        self, documents: Iterable[Document], *, show_progress: bool = False
    ) -> list[bool]:
        """Add what is new and replace what has changed; embed nothing else.

        Documents are told apart by id and compared by the text and metadata of
        their chunks: a chunk that stayed the same is not embedded again.
        Documents that are not named stay; see `delete_ref_doc`.

        Returns:
            For each document whether it was new or had changed.
        """
        documents = list(documents)
        new, stale = self._plan(documents)
        self._put(new, stale, show_progress)
        return _touched(documents, new, stale)

    async def arefresh_ref_docs(
        self, documents: Iterable[Document], *, show_progress: bool = False
    ) -> list[bool]:
        """Do as `refresh_ref_docs`, leaving the event loop free."""
        documents = list(documents)
        new, stale = await asyncio.to_thread(self._plan, documents)
        await self._aput(new, stale, show_progress)
        return _touched(documents, new, stale)

    def delete_ref_doc(self, ref_doc_id: str) -> None:
        """Forget all chunks of a document; an unknown id is ignored."""
        with self._lock:
            self._delete(list(self._by_document.get(ref_doc_id, ())), ref_doc_id)

    async def adelete_ref_doc(self, ref_doc_id: str) -> None:
        """Do as `delete_ref_doc`, leaving the event loop free."""
        await asyncio.to_thread(self.delete_ref_doc, ref_doc_id)

    def _plan(
        self, documents: Iterable[Document]
    ) -> tuple[list[TextNode], list[tuple[str, str]]]:
        """Compare documents with what is there.

        Of documents with one id the last counts, as if inserted one by one.

        Returns:
            The chunks to be stored, and of those to be forgotten the ids, each
            behind the id of its document.
        """
        distinct = _one_an_id(documents)
        new: list[TextNode] = []
        stale: list[tuple[str, str]] = []
        nodes: dict[str, list[TextNode]] = {id_: [] for id_ in distinct}
        for node in _cut(distinct.values(), self._transformations):
            nodes.setdefault(node.ref_doc_id or node.id_, []).append(node)
        for document, cut in nodes.items():
            old = self._by_document.get(document, ())
            known = self.get_nodes(old)
            new += [node for node in cut if known.get(node.id_) != node]
            kept = {node.id_ for node in cut}
            stale += [(document, id_) for id_ in old if id_ not in kept]
        return new, stale

    def get_nodes(self, node_ids: Sequence[str]) -> dict[str, TextNode]:
        """Return those of the chunks that are there, by id."""
        if isinstance(self.nodes, StoredNodes):
            return self.nodes.of(node_ids)
        return {id_: self.nodes[id_] for id_ in node_ids if id_ in self.nodes}

    def get_ref_doc_nodes(self, ref_doc_id: str) -> list[TextNode]:
        """Return the chunks of a document, in the order they were cut."""
        with self._lock:
            ids = list(self._by_document.get(ref_doc_id, ()))
        return list(self.get_nodes(ids).values())

    def _put(
        self,
        nodes: Sequence[TextNode],
        stale: Sequence[tuple[str, str]],
        show_progress: bool,
    ) -> None:
        vectors = None
        nodes = _distinct(nodes)
        if self.embed_model is not None and nodes:
            texts = [node.text for node in nodes]
            vectors = embed_texts(self.embed_model, texts, show_progress)
        self._store(nodes, vectors, stale)

    async def _aput(
        self,
        nodes: Sequence[TextNode],
        stale: Sequence[tuple[str, str]],
        show_progress: bool,
    ) -> None:
        vectors = None
        nodes = _distinct(nodes)
        if self.embed_model is not None and nodes:
            texts = [node.text for node in nodes]
            vectors = await aembed_texts(self.embed_model, texts, show_progress)
        await asyncio.to_thread(self._store, nodes, vectors, stale)

    def _store(
        self,
        nodes: Sequence[TextNode],
        vectors: Sequence[Sequence[float]] | None,
        stale: Sequence[tuple[str, str]],
    ) -> None:
        with self._lock:
            # Vectors first: if they do not fit, nothing has changed.
            if vectors is not None and isinstance(self.vectors, NodeVectorStore):
                name = name_of(self.embed_model)
                self.vectors.add_nodes(nodes, vectors, model_name=name)
            elif vectors is not None and self.vectors is not None:
                self.vectors.add([node.id_ for node in nodes], vectors)
            self.lexical.add(nodes)
            for node in nodes:
                document = node.ref_doc_id or node.id_
                if node.id_ not in self.nodes:
                    self._by_document.setdefault(document, []).append(node.id_)
                if isinstance(self.nodes, StoredNodes):
                    self.nodes.documents[node.id_] = document
                    self.nodes.forget(node.id_)
                elif isinstance(self.nodes, dict):
                    self.nodes[node.id_] = node
            for document in dict.fromkeys(document for document, _ in stale):
                ids = [id_ for of, id_ in stale if of == document]
                self._delete(ids, document)

    def _delete(self, ids: list[str], ref_doc_id: str) -> None:
        self.lexical.delete(ids)
        if self.vectors is not None:
            self.vectors.delete(ids)
        for id_ in ids:
            if isinstance(self.nodes, StoredNodes):
                self.nodes.documents.pop(id_, None)
                self.nodes.forget(id_)
            elif isinstance(self.nodes, dict):
                self.nodes.pop(id_, None)
        gone = set(ids)
        left = [i for i in self._by_document.get(ref_doc_id, ()) if i not in gone]
        if left:
            self._by_document[ref_doc_id] = left
        else:
            self._by_document.pop(ref_doc_id, None)

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            state = {key: value for key, value in vars(self).items() if key != "_lock"}
            if isinstance(self.nodes, dict):
                state["nodes"] = dict(self.nodes)
            state["_by_document"] = {
                document: list(ids) for document, ids in self._by_document.items()
            }
            state["lexical"] = self.lexical.to_bytes()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        words = state.pop("lexical")
        vars(self).update(state)
        self._lock = threading.RLock()
        self.lexical = LexicalStore(self.language)
        self.lexical.load(words, self.nodes.values())


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


def _distinct(nodes: Sequence[TextNode]) -> list[TextNode]:
    """Return the nodes; of several with one id only the last."""
    return list({node.id_: node for node in nodes}.values())


def _touched(
    documents: Sequence[Document],
    new: Sequence[TextNode],
    stale: Sequence[tuple[str, str]],
) -> list[bool]:
    changed = {node.ref_doc_id for node in new} | {document for document, _ in stale}
    return [document.id_ in changed for document in documents]


def _one_an_id(documents: Iterable[Document]) -> dict[str, Document]:
    distinct: dict[str, Document] = {}
    doubled: dict[str, None] = {}
    for document in documents:
        other = distinct.setdefault(document.id_, document)
        if other != document:
            doubled[document.id_] = None
            distinct[document.id_] = document
    if doubled:
        some = ", ".join(map(repr, list(doubled)[:3]))
        warnings.warn(
            f"Several documents have the same id and are not the same: {some}"
            f"{' and others' if len(doubled) > 3 else ''}. Only the last of each was "
            "taken. Give each document an id_ of its own.",
            RagWarning,
            stacklevel=4,
        )
    return distinct


def vector_store_class() -> Any:
    """Return the store that keeps vectors in memory, numpy being there.

    Raises:
        MissingExtraError: It is not.
    """
    try:
        from .numpy import NumpyVectorStore
    except ModuleNotFoundError as error:
        raise MissingExtraError.for_package("numpy", "rag", "A vector index") from error
    return NumpyVectorStore


def name_of(model: Any) -> str | None:
    """Return what an embedding model is called; its class where it has no name."""
    if model is None:
        return None
    return str(getattr(model, "model_name", None) or type(model).__qualname__)


def check_model(
    expected: str | None, got: str | None, what: str, *, dim: int | None = None
) -> None:
    """Compare the model that made some vectors with the one at hand.

    Of a model in a folder the folder's name counts: it may lie elsewhere here.

    Raises:
        IndexMismatchError: They are not the same.
    """
    if expected is None:
        raise IndexMismatchError(
            f"{what} without an embedding model, and searches by words. Load it "
            "without embed_model=, or build it anew with one."
        )
    if got is not None and PurePath(got).name == PurePath(expected).name:
        return
    size = f" ({dim} dimensions)" if dim else ""
    instead = f"the model given is {got!r}" if got else "no model is given"
    raise IndexMismatchError(
        f"{what} with the embedding model {expected!r}{size}, and {instead}. Pass "
        "that one as embed_model=, set Settings.embed_model, or build the index anew"
        + (", or search by words alone: words_only=True." if dim else "."),
        expected=dim,
    )
