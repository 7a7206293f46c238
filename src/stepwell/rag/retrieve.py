"""From a question to the chunks that match it: Retriever.

Ranks by words, by vectors, or by both fused; the stores themselves are in
`lexical.py` and `numpy.py`, and `index.py` fills them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from .base import Embedding, NodePostprocessor, NodeVectorStore, VectorStore
from .documents import NodeList, NodeWithScore, TextNode
from .errors import InvalidOptionError
from .filters import Filters, as_filters
from .lexical import LexicalStore
from .quoting import remember
from .rerank import apostprocess, postprocess

Mode = Literal["auto", "lexical", "dense", "hybrid"]
MODES: tuple[Mode, ...] = ("auto", "lexical", "dense", "hybrid")

RRF_K = 10
# Reciprocal rank fusion with k=60 is customary; on two labelled sets of ours 10
# was best or near best on both paraphrases (.789) and identifiers (.960).
_LARGE = 20_000
# Chunks above which a search takes long enough to be worth a thread.


class Searched(Protocol):
    """What a retriever needs of an index."""

    lexical: LexicalStore
    vectors: VectorStore | None
    embed_model: Embedding | None
    nodes: Mapping[str, TextNode]

    def get_nodes(self, node_ids: Sequence[str]) -> dict[str, TextNode]:
        """Return those of the chunks that are there, by id."""
        ...


class Retriever:
    """Finds the chunks that match a question. Made by ``index.as_retriever()``.

    Args:
        index: Where to look.
        similarity_top_k: How many chunks to return at most.
        mode: ``"lexical"`` (words), ``"dense"`` (vectors), ``"hybrid"`` (both,
            fused), or ``"auto"``: hybrid with an embedding model, else lexical.
        filters: Metadata a chunk must have, for instance
            ``{"file_name": "guide.md"}``; a list of values means any of them.
            `MetadataFilters` says more: ranges, and, or, not.
        min_score: Leave out chunks that score less.
        node_postprocessors: Rerankers, `MMR`, `ExpandContext` and the like, applied
            in order to the `similarity_top_k` chunks found.

    Raises:
        InvalidOptionError: An unknown mode, or one that needs a model where
            the index has none.
    """

    def __init__(
        self,
        index: Searched,
        *,
        similarity_top_k: int = 5,
        mode: Mode = "auto",
        filters: Filters | None = None,
        min_score: float | None = None,
        node_postprocessors: Sequence[NodePostprocessor] = (),
    ) -> None:
        if mode not in MODES:
            raise InvalidOptionError(
                f"mode={mode!r} is none of {', '.join(map(repr, MODES))}."
            )
        if similarity_top_k < 1:
            raise InvalidOptionError(
                f"similarity_top_k={similarity_top_k} must be 1 or more."
            )
        if mode == "auto":
            mode = "lexical" if index.vectors is None else "hybrid"
        elif mode != "lexical" and index.vectors is None:
            raise InvalidOptionError(
                f"mode={mode!r} needs vectors, and this index has none. Build it with "
                "embed_model=, or set Settings.embed_model before."
            )
        self.mode = mode
        self.similarity_top_k = similarity_top_k
        self.filters = as_filters(filters)
        self.min_score = min_score
        self.node_postprocessors = list(node_postprocessors)
        self._index = index

    def retrieve(self, query: str) -> NodeList:
        """Return the matching chunks, best first; blocks the caller.

        Fewer than `similarity_top_k` come back, or none, when fewer match.
        """
        query = checked_query(query)
        vector = None
        if self._needs_vector():
            assert self._index.embed_model is not None
            vector = self._index.embed_model.get_query_embedding(query)
        found = self._search(query, vector)
        return postprocess(found, self.node_postprocessors, query)

    async def aretrieve(self, query: str) -> NodeList:
        """Return the matching chunks, best first."""
        query = checked_query(query)
        vector = None
        if self._needs_vector():
            assert self._index.embed_model is not None
            vector = await aembed_query(self._index.embed_model, query)
        vectors = self._index.vectors
        if len(self._index.nodes) > _LARGE or isinstance(vectors, NodeVectorStore):
            found = await asyncio.to_thread(self._search, query, vector)
        else:
            found = self._search(query, vector)
        return await apostprocess(found, self.node_postprocessors, query)

    def _needs_vector(self) -> bool:
        return self.mode != "lexical" and bool(self._index.nodes)

    def _search(self, query: str, vector: Sequence[float] | None) -> NodeList:
        allowed = self._allowed()
        # Some more than asked for: fusing wants depth, and copies drop out.
        depth = max(2 * self.similarity_top_k, 30)
        ranked: list[tuple[str, float, dict[str, float]]]
        if self.mode == "lexical":
            found = self._index.lexical.query(query, depth, allowed=allowed)
            ranked = [(id_, score, {"bm25": score}) for id_, score in found]
        else:
            dense = []
            if vector is not None and self._index.vectors is not None:
                dense = self._index.vectors.query(vector, depth, allowed=allowed)
            if self.mode == "dense":
                ranked = [(id_, score, {"dense": score}) for id_, score in dense]
            else:
                words = self._index.lexical.query(query, depth, allowed=allowed)
                ranked = fuse(bm25=words, dense=dense)
        nodes: list[NodeWithScore] = []
        seen: set[str] = set()
        known = self._index.get_nodes([id_ for id_, _, _ in ranked])
        for id_, score, parts in ranked:
            node = known.get(id_)
            if node is None or node.text in seen:
                continue
            if self.min_score is not None and score < self.min_score:
                continue
            seen.add(node.text)
            nodes.append(NodeWithScore(node=node, score=score, scores=parts))
            if len(nodes) == self.similarity_top_k:
                break
        remember(nodes)
        return NodeList(nodes, query=query)

    def _allowed(self) -> set[str] | None:
        if (filters := self.filters) is None:
            return None
        return {
            id_
            for id_, node in list(self._index.nodes.items())
            if filters.matches(node.metadata)
        }


def fuse(
    **rankings: Sequence[tuple[str, float]],
) -> list[tuple[str, float, dict[str, float]]]:
    """Fuse rankings by the reciprocal of their ranks, all of equal weight.

    Cormack, Clarke and Büttcher (2009), scaled so that first place in every
    ranking is 1.

    Args:
        **rankings: ``(id, score)`` pairs by name, each best first.

    Returns:
        ``(id, fused score, parts by name and "rrf")``, best first.
    """
    parts: dict[str, dict[str, float]] = {}
    for name, ranking in rankings.items():
        for rank, (id_, score) in enumerate(ranking, start=1):
            entry = parts.setdefault(id_, {"rrf": 0.0})
            entry[name] = score
            entry["rrf"] += (RRF_K + 1) / (RRF_K + rank) / len(rankings)
    fused = [(id_, entry["rrf"], entry) for id_, entry in parts.items()]
    return sorted(fused, key=lambda item: -item[1])


async def aembed_query(model: Any, query: str) -> Sequence[float]:
    """Embed a question without blocking the loop, whichever way `model` offers."""
    if hasattr(model, "aget_query_embedding"):
        vector: Sequence[float] = await model.aget_query_embedding(query)
        return vector
    return await asyncio.to_thread(model.get_query_embedding, query)


def checked_query(query: str) -> str:
    """Return the text of a question; an object with ``query_str`` will do."""
    text = getattr(query, "query_str", query)
    if not isinstance(text, str):
        raise InvalidOptionError(f"A query must be a text, not {type(query).__name__}.")
    return text
