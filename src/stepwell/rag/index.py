"""Chunks made searchable: VectorStoreIndex.

Where an index comes from, how it is saved and how it is asked. What changes it is
in `chunks.py`; searching is in `retrieve.py`, answering in `answer.py`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from .answer import QueryEngine
from .base import Embedding, NodePostprocessor, NodeVectorStore, VectorStore
from .chunks import Chunks, check_model, name_of, vector_store_class
from .display import render_index
from .documents import Document
from .embedding_cache import Cache, cached
from .errors import IndexFileError, IndexMismatchError, InvalidOptionError
from .filters import Filters
from .persistence import Facts, open_index, write_index
from .retrieve import Mode, Retriever
from .settings import Settings
from .splitting import SentenceSplitter


class VectorStoreIndex(Chunks):
    """An index over chunks, searched by words, and by vectors where a model is set.

    Without an embedding model nothing leaves this process: the index is
    lexical (BM25). Build one with `from_documents`.

    May be used from several threads. A failed call changes nothing; what was
    embedded in it is kept where there is a cache.

    Args:
        nodes: Chunks to begin with.
        embed_model: Embedding model; `Settings.embed_model` if not given. With
            neither, the index is lexical.
        vector_store: Where to keep vectors; a matrix in memory by default. One
            that keeps nodes too (`NodeVectorStore`) is gone on with as it is.
        cache: Where embedded texts are kept, so that to run a cell again costs
            nothing: a file, or True for `Settings.cache_dir`, or False for
            nowhere. If not given, hosted and local models are cached, and
            classes of your own only if they have a ``cache_key``.
        language: ``"english"`` stems words; None for other languages.
        show_progress: Tell how many of `nodes` are embedded. Without
            an embedding model there is nothing to wait for, or to tell.
    """

    @classmethod
    def from_vector_store(
        cls,
        vector_store: NodeVectorStore,
        *,
        embed_model: Embedding | None = None,
        cache: Cache = None,
        language: str | None = "english",
    ) -> VectorStoreIndex:
        """Open what is in a vector store; what is inserted goes there too.

        Nothing is embedded. Texts stay in the store; the index of words is made
        anew from them, in a temporary file, at some 4 seconds for 100,000 chunks.

        Args:
            vector_store: A store that keeps nodes, such as `LanceDBVectorStore`.
            embed_model: The model it was filled with; `Settings.embed_model` if
                not given.
            cache: As for the class.
            language: As for the class.

        Raises:
            IndexMismatchError: It was filled with another embedding model.
            InvalidOptionError: The store keeps no nodes, or there is no model.
        """
        if not isinstance(vector_store, NodeVectorStore):
            raise InvalidOptionError(
                f"{type(vector_store).__name__} keeps vectors and no texts, so there "
                "is nothing to open. It needs the methods of NodeVectorStore; or pass "
                "vector_store= together with nodes."
            )
        return cls(
            embed_model=embed_model,
            vector_store=vector_store,
            cache=cache,
            language=language,
        )

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[Document],
        *,
        transformations: Sequence[SentenceSplitter] | None = None,
        embed_model: Embedding | None = None,
        vector_store: VectorStore | None = None,
        cache: Cache = None,
        language: str | None = "english",
        show_progress: bool = False,
    ) -> VectorStoreIndex:
        """Build an index from documents; blocks the caller.

        Args:
            documents: What to index.
            transformations: A splitter, in a list, in place of
                ``SentenceSplitter(Settings.chunk_size, Settings.chunk_overlap)``;
                also for what is inserted later.
            embed_model: As for the class.
            vector_store: As for the class.
            cache: As for the class.
            language: As for the class.
            show_progress: As for the class.

        Raises:
            MissingAPIKeyError: The embedding model is hosted, and has no key.
            ModelServerError: Its server refused or failed.
        """
        index = cls(
            embed_model=embed_model,
            vector_store=vector_store,
            cache=cache,
            language=language,
        )
        index._transformations = transformations
        index._put(*index._plan(documents), show_progress)
        return index

    @classmethod
    async def afrom_documents(
        cls,
        documents: Iterable[Document],
        *,
        transformations: Sequence[SentenceSplitter] | None = None,
        embed_model: Embedding | None = None,
        vector_store: VectorStore | None = None,
        cache: Cache = None,
        language: str | None = "english",
        show_progress: bool = False,
    ) -> VectorStoreIndex:
        """Do as `from_documents`, leaving the event loop free."""
        index = await asyncio.to_thread(
            cls,
            embed_model=embed_model,
            vector_store=vector_store,
            cache=cache,
            language=language,
        )
        index._transformations = transformations
        plan = await asyncio.to_thread(index._plan, list(documents))
        await index._aput(*plan, show_progress)
        return index

    def __len__(self) -> int:
        return len(self.nodes)

    def __repr__(self) -> str:
        kind = "lexical" if self.embed_model is None else "hybrid"
        return (
            f"<VectorStoreIndex: {len(self.nodes)} chunks of "
            f"{len(self._by_document)} documents, {kind}>"
        )

    def _repr_html_(self) -> str:
        with self._lock:
            held = {name: len(ids) for name, ids in self._by_document.items()}
            few = [ids[len(ids) // 2] for ids in islice(self._by_document.values(), 3)]
            sample = [self.nodes[id_] for id_ in few]
        by_words = self.embed_model is None
        return render_index(
            held,
            sample,
            kind="searched by words" if by_words else "searched by words and vectors",
            model=name_of(self.embed_model),
            dims=None if self.vectors is None else self.vectors.dim,
        )

    def persist(self, path: str | os.PathLike[str]) -> None:
        """Write the index to one file, replacing what is there.

        The file holds chunks, vectors, words, and the name of the embedding
        model. Metadata is written as JSON, so dates come back as texts. What is
        inserted later is not in it until it is written again.

        Raises:
            InvalidOptionError: `path` is a folder, metadata cannot be written,
                or the chunks are kept in a store of their own.
        """
        with self._lock:
            if self.vectors is not None and not hasattr(self.vectors, "to_blocks"):
                raise InvalidOptionError(
                    f"{self.vectors!r} keeps the vectors of this index, so there is "
                    "nothing to write. VectorStoreIndex.from_vector_store(store) opens "
                    "a store that keeps nodes too."
                )
            ids = list(self.nodes)
            has_vectors = self.vectors is not None and len(self.vectors) > 0
            write_index(
                Path(path),
                Facts(
                    chunks=len(ids),
                    language=self.language,
                    model=name_of(self.embed_model),
                    dim=self.vectors.dim if self.vectors is not None else None,
                ),
                self.nodes.values(),
                self.vectors.to_blocks(ids)  # type: ignore[union-attr]  # NumpyVectorStore
                if has_vectors
                else (),
                self.lexical.to_bytes(),
            )

    async def apersist(self, path: str | os.PathLike[str]) -> None:
        """Do as `persist`, leaving the event loop free."""
        await asyncio.to_thread(self.persist, path)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        embed_model: Embedding | None = None,
        cache: Cache = None,
        transformations: Sequence[SentenceSplitter] | None = None,
        words_only: bool = False,
    ) -> VectorStoreIndex:
        """Read an index that `persist` wrote. Nothing is embedded.

        Args:
            path: The file.
            embed_model: The model it was built with; `Settings.embed_model` if
                not given. An index without vectors takes none.
            cache: As for the class.
            transformations: The splitter it was built with, for what is inserted
                from now on; as for `from_documents`.
            words_only: Leave the vectors, and need no model.

        Raises:
            MissingPathError: There is no such file.
            IndexFileError: It holds no index, or one that is damaged.
            IndexMismatchError: It was built with another embedding model.
        """
        path = Path(path)
        with open_index(path) as stored:
            facts = stored.facts
            model = Settings.embed_model if embed_model is None else embed_model
            # An index of words takes no model because one happens to be set.
            if words_only or (facts.model is None and embed_model is None):
                model = None
            else:
                what = f"{path} was built"
                check_model(facts.model, name_of(model), what, dim=facts.dim)
            with Settings.use(embed_model=None):
                index = cls(language=facts.language)
            index._transformations = transformations
            index._take(stored.nodes, stored.words)
            if model is not None:
                index.embed_model = cached(model, cache)
                store = vector_store_class()
                try:
                    index.vectors = (
                        store()
                        if facts.dim is None
                        else store.from_blocks(
                            list(index.nodes), facts.dim, stored.vectors
                        )
                    )
                except IndexMismatchError as error:
                    raise IndexFileError(
                        f"{path} is damaged: {error} Build the index anew.",
                        path=str(path),
                    ) from error
        return index

    @classmethod
    async def aload(
        cls,
        path: str | os.PathLike[str],
        *,
        embed_model: Embedding | None = None,
        cache: Cache = None,
        transformations: Sequence[SentenceSplitter] | None = None,
        words_only: bool = False,
    ) -> VectorStoreIndex:
        """Do as `load`, leaving the event loop free."""
        return await asyncio.to_thread(
            cls.load,
            path,
            embed_model=embed_model,
            cache=cache,
            transformations=transformations,
            words_only=words_only,
        )

    def as_retriever(
        self,
        similarity_top_k: int = 5,
        *,
        mode: Mode = "auto",
        filters: Filters | None = None,
        min_score: float | None = None,
        node_postprocessors: Sequence[NodePostprocessor] = (),
    ) -> Retriever:
        """Return a retriever over this index; see `Retriever` for the arguments."""
        return Retriever(
            self,
            similarity_top_k=similarity_top_k,
            mode=mode,
            filters=filters,
            min_score=min_score,
            node_postprocessors=node_postprocessors,
        )

    def as_query_engine(
        self,
        similarity_top_k: int = 5,
        *,
        llm: Any = None,
        node_postprocessors: Sequence[NodePostprocessor] = (),
        mode: Mode = "auto",
        filters: Filters | None = None,
        text_qa_template: Any = None,
        streaming: bool = False,
    ) -> QueryEngine:
        """Return what answers questions from this index.

        Args:
            similarity_top_k: Chunks to retrieve.
            llm: Language model; `Settings.llm` at the time of the question if
                not given.
            node_postprocessors: Rerankers and the like, applied in order.
            mode: As for `as_retriever`.
            filters: As for `as_retriever`.
            text_qa_template: The prompt; see `QueryEngine`.
            streaming: Answer piece by piece; see `QueryEngine`.
        """
        retriever = self.as_retriever(similarity_top_k, mode=mode, filters=filters)
        return QueryEngine(
            retriever,
            llm=llm,
            node_postprocessors=node_postprocessors,
            text_qa_template=text_qa_template,
            streaming=streaming,
        )
