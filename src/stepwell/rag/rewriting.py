"""Searching with more than the question's own words: QueryFusionRetriever, HyDE.

Several searches become one list, by the reciprocal of ranks; a language model may
word the question anew or answer it off hand. One search is in `retrieve.py`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, Protocol

from .base import NodePostprocessor
from .documents import NodeList, NodeWithScore
from .errors import InvalidOptionError, NoLLMConfiguredError
from .extractive import ExtractiveLLM
from .rerank import apostprocess, postprocess
from .retrieve import RRF_K, checked_query
from .settings import Settings
from .structured import fill

QUERY_GEN_PROMPT = """\
Write {num_queries} search queries, one a line, that would find documents answering \
the question below. Use other words than the question does: synonyms, and names of \
things it only describes. Write nothing but the queries.

Question: {query}
"""
HYDE_PROMPT = """\
Write a short passage of documentation that answers the question below. It is only \
used to search with, so it may be wrong; use the words such a passage would use.

Question: {context_str}
"""


class Retrieves(Protocol):
    """What is needed of a retriever."""

    def retrieve(self, query: str, /) -> list[NodeWithScore]:
        """Return the matching nodes, best first."""
        ...

    async def aretrieve(self, query: str, /) -> list[NodeWithScore]:
        """Return the matching nodes, best first."""
        ...


class QueryFusionRetriever:
    """Ask several retrievers, or one in several wordings, and fuse what they find.

    Fusing is by reciprocal rank, so scores of different kinds need not compare.
    With ``num_queries`` above 1 a language model words the question anew, in one
    call; all searches then run at once where awaited.

    Args:
        retrievers: Retrievers, or a single one.
        llm: Language model; `Settings.llm` at the time of the question if not given.
        num_queries: Wordings to search with, the question itself among them; 1
            needs no language model.
        similarity_top_k: How many chunks to return at most.
        retriever_weights: How much each retriever counts; all the same if not given.
        query_gen_prompt: The prompt, with places ``{num_queries}`` and ``{query}``.
        node_postprocessors: Rerankers and the like, applied in order.

    Raises:
        InvalidOptionError: No retriever, or a number that cannot be.
    """

    def __init__(
        self,
        retrievers: Sequence[Retrieves] | Retrieves,
        *,
        llm: Any = None,
        num_queries: int = 4,
        similarity_top_k: int = 5,
        retriever_weights: Sequence[float] | None = None,
        query_gen_prompt: str = QUERY_GEN_PROMPT,
        node_postprocessors: Sequence[NodePostprocessor] = (),
    ) -> None:
        several = retrievers if isinstance(retrievers, Sequence) else [retrievers]
        if not several:
            raise InvalidOptionError("QueryFusionRetriever needs a retriever.")
        if num_queries < 1 or similarity_top_k < 1:
            raise InvalidOptionError(
                f"num_queries={num_queries} and similarity_top_k={similarity_top_k} "
                "must be 1 or more."
            )
        weights = (
            [1.0] * len(several) if retriever_weights is None else retriever_weights
        )
        if len(weights) != len(several) or min(weights) < 0 or sum(weights) == 0:
            raise InvalidOptionError(
                f"retriever_weights={retriever_weights!r} must be a number, 0 or more, "
                f"for each of the {len(several)} retrievers."
            )
        self.retrievers = list(several)
        self.num_queries = num_queries
        self.similarity_top_k = similarity_top_k
        self.retriever_weights = list(weights)
        self.query_gen_prompt = query_gen_prompt
        self.node_postprocessors = list(node_postprocessors)
        self._llm = llm

    def retrieve(self, query: str) -> NodeList:
        """Return the fused chunks, best first; blocks the caller.

        Raises:
            NoLLMConfiguredError: Other wordings are asked for, and there is no
                language model.
        """
        query = checked_query(query)
        wordings = [query]
        if self.num_queries > 1:
            answer = _complete(self, self._llm, self._prompt(query))
            wordings += _queries(answer, query, self.num_queries - 1)
        lists = [r.retrieve(wording) for wording in wordings for r in self.retrievers]
        found = self._fused(lists, len(wordings), query)
        return postprocess(found, self.node_postprocessors, query)

    async def aretrieve(self, query: str) -> NodeList:
        """Do as `retrieve`, leaving the event loop free; searches run at once."""
        query = checked_query(query)
        wordings = [query]
        if self.num_queries > 1:
            answer = await _acomplete(self, self._llm, self._prompt(query))
            wordings += _queries(answer, query, self.num_queries - 1)
        lists = await asyncio.gather(
            *(r.aretrieve(wording) for wording in wordings for r in self.retrievers)
        )
        found = self._fused(lists, len(wordings), query)
        return await apostprocess(found, self.node_postprocessors, query)

    def _prompt(self, query: str) -> str:
        variables = {"num_queries": self.num_queries - 1, "query": query}
        return fill(self.query_gen_prompt, variables)

    def _fused(
        self, lists: Sequence[Sequence[NodeWithScore]], wordings: int, query: str
    ) -> NodeList:
        weights = self.retriever_weights * wordings
        return fuse_nodes(lists, weights, self.similarity_top_k, query)


class HyDERetriever:
    """Search with a passage that a language model makes up as an answer.

    Gao et al. (2022), "hypothetical document embeddings": an invented answer is
    nearer to the real one than the question is. Best with a retriever that has
    vectors, on questions that share no words with their answers.

    Args:
        retriever: What searches.
        llm: Language model; `Settings.llm` at the time of the question if not given.
        include_original: Search with the question too, and fuse both.
        hyde_prompt: The prompt, with a place ``{context_str}`` for the question.
        similarity_top_k: How many chunks to return at most; as many as the
            retriever's if not given.
        node_postprocessors: Rerankers and the like, applied in order.
    """

    def __init__(
        self,
        retriever: Retrieves,
        *,
        llm: Any = None,
        include_original: bool = True,
        hyde_prompt: str = HYDE_PROMPT,
        similarity_top_k: int | None = None,
        node_postprocessors: Sequence[NodePostprocessor] = (),
    ) -> None:
        self.retriever = retriever
        self.include_original = include_original
        self.hyde_prompt = hyde_prompt
        self.similarity_top_k = (
            similarity_top_k or getattr(retriever, "similarity_top_k", None) or 5
        )
        self.node_postprocessors = list(node_postprocessors)
        self._llm = llm

    def retrieve(self, query: str) -> NodeList:
        """Return the matching chunks, best first; blocks the caller.

        Raises:
            NoLLMConfiguredError: There is no language model.
        """
        query = checked_query(query)
        prompt = fill(self.hyde_prompt, {"context_str": query})
        passage = _complete(self, self._llm, prompt)
        lists = [self.retriever.retrieve(text) for text in self._texts(query, passage)]
        found = fuse_nodes(lists, [1.0] * len(lists), self.similarity_top_k, query)
        return postprocess(found, self.node_postprocessors, query)

    async def aretrieve(self, query: str) -> NodeList:
        """Do as `retrieve`, leaving the event loop free."""
        query = checked_query(query)
        prompt = fill(self.hyde_prompt, {"context_str": query})
        passage = await _acomplete(self, self._llm, prompt)
        lists = await asyncio.gather(
            *(self.retriever.aretrieve(text) for text in self._texts(query, passage))
        )
        found = fuse_nodes(lists, [1.0] * len(lists), self.similarity_top_k, query)
        return await apostprocess(found, self.node_postprocessors, query)

    def _texts(self, query: str, passage: str) -> list[str]:
        if not passage.strip():
            return [query]
        return [query, passage] if self.include_original else [passage]


def fuse_nodes(
    lists: Sequence[Sequence[NodeWithScore]],
    weights: Sequence[float],
    top_k: int,
    query: str,
) -> NodeList:
    """Fuse lists of nodes by the reciprocal of their ranks.

    Returns:
        Nodes whose `score`, kept as ``scores["fusion"]``, is 1 for first place in
        every list; other parts are those of each node's best place.
    """
    scores: dict[str, float] = {}
    best: dict[str, tuple[int, NodeWithScore]] = {}
    whole = sum(weights)
    for nodes, weight in zip(lists, weights, strict=True):
        for rank, node in enumerate(nodes, start=1):
            gain = weight * (RRF_K + 1) / (RRF_K + rank) / whole
            scores[node.id_] = scores.get(node.id_, 0.0) + gain
            if node.id_ not in best or rank < best[node.id_][0]:
                best[node.id_] = (rank, node)
    order = sorted(scores, key=lambda id_: -scores[id_])[:top_k]
    return NodeList(
        (
            best[id_][1].model_copy(
                update={
                    "score": scores[id_],
                    "scores": {**best[id_][1].scores, "fusion": scores[id_]},
                }
            )
            for id_ in order
        ),
        query=query,
    )


_MARK = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.):])\s*|^[\"'`]+|[\"'`]+$")


def _queries(answer: str, query: str, most: int) -> list[str]:
    """Return the lines of a model's answer, without numbers and quotes."""
    found: dict[str, str] = {}
    for line in answer.splitlines():
        text = _MARK.sub("", _MARK.sub("", line.strip())).strip()
        # Lines such as "Here are the queries:" introduce what follows.
        if text and not text.endswith(":") and text.lower() != query.lower():
            found.setdefault(text.lower(), text)
    return list(found.values())[:most]


def _complete(wanted_by: object, llm: Any, prompt: str) -> str:
    model = _model(wanted_by, llm)
    if not hasattr(model, "complete"):
        raise InvalidOptionError(
            f"{type(model).__name__} has no complete(); use: await aretrieve(…)"
        )
    return str(model.complete(prompt))


async def _acomplete(wanted_by: object, llm: Any, prompt: str) -> str:
    model = _model(wanted_by, llm)
    if hasattr(model, "acomplete"):
        return str(await model.acomplete(prompt))
    return str(await asyncio.to_thread(model.complete, prompt))


def _model(wanted_by: object, llm: Any) -> Any:
    model = Settings.llm if llm is None else llm
    if isinstance(model, ExtractiveLLM):
        raise NoLLMConfiguredError(
            f"{type(wanted_by).__name__} asks a language model to write, and none is "
            "set; ExtractiveLLM only quotes. Pass llm=, or set Settings.llm. Fusing "
            "several retrievers needs none: QueryFusionRetriever(…, num_queries=1)."
        )
    return model
