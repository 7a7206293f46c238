"""What becomes of nodes after retrieval: LexicalRerank, and postprocessors in a row.

The reranker with a model is in `local.py`; `diversity.py` and `expansion.py` hold
postprocessors that choose and enlarge.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Sequence

from .base import NodePostprocessor
from .documents import NodeList, NodeWithScore
from .errors import InvalidOptionError
from .words import query_words, spell_out, stem, stems

_ORDER = 2.0
# How much the order nodes came in counts, words being 1. On the labelled questions
# words alone made hybrid search worse (hit@5 .77 to .70); with this it gets better
# (hit@1 .54 to .56, MRR .64 to .65).
_LARGE = 10_000
# Letters that take about ten milliseconds to read; beyond, a thread is worth it.


class LexicalRerank:
    """Reorder nodes by the words they share with the question; needs no model.

    BM25 among the nodes given, with a milder weight for rare words than in a
    search: these nodes were found by the topic's words, so all of them have
    those, and they would count for nothing. The place a node comes from counts
    as part of its text. English endings do not matter. The order the nodes came in
    counts too: the search saw all documents, and vectors see more than words.

    Args:
        top_n: Nodes to keep.
    """

    def __init__(self, top_n: int = 2) -> None:
        if top_n < 1:
            raise InvalidOptionError(f"top_n={top_n} must be 1 or more.")
        self.top_n = top_n

    def __repr__(self) -> str:
        return f"LexicalRerank(top_n={self.top_n})"

    def postprocess_nodes(
        self,
        nodes: Sequence[NodeWithScore],
        query_bundle: str | None = None,
        query_str: str | None = None,
    ) -> NodeList:
        """Return the `top_n` best nodes; the input is not changed.

        Their `score` is between 0 and 1, and 1 for what came first and matches best.

        Raises:
            InvalidOptionError: No question was passed.
        """
        query = question_of(query_bundle, query_str)
        texts = [stems(f"{node.text} {spell_out(node.source)}") for node in nodes]
        asked = dict.fromkeys(stem(word) for word in query_words(query))
        matched = _bm25(list(asked), texts)
        best = max(matched, default=0.0) or 1.0
        scores = [
            (words / best + _ORDER * before) / (1 + _ORDER)
            for words, before in zip(matched, _places(nodes), strict=True)
        ]
        return reordered(nodes, scores, self.top_n, query)

    async def apostprocess_nodes(
        self,
        nodes: Sequence[NodeWithScore],
        query_bundle: str | None = None,
        query_str: str | None = None,
    ) -> NodeList:
        """Do as `postprocess_nodes`; where there is much to read, in a thread."""
        if sum(len(node.text) for node in nodes) < _LARGE:
            return self.postprocess_nodes(nodes, query_bundle, query_str)
        return await asyncio.to_thread(
            self.postprocess_nodes, nodes, query_bundle, query_str
        )


def _bm25(asked: Sequence[str], texts: Sequence[Sequence[str]]) -> list[float]:
    counts = [Counter(text) for text in texts]
    average = sum(map(len, texts)) / max(1, len(texts))
    scores = [0.0] * len(texts)
    for word in asked:
        holding = sum(1 for count in counts if count[word])
        weight = math.log(1 + len(texts) / (holding + 1))
        for i, count in enumerate(counts):
            if tf := count[word]:
                length = 0.25 + 0.75 * len(texts[i]) / average
                scores[i] += weight * tf * 2.2 / (tf + 1.2 * length)
    return scores


def _places(nodes: Sequence[NodeWithScore]) -> list[float]:
    """Return 1 for nodes that came first, and less by rank; equal scores are equal."""
    places: list[float] = []
    rank, score = 1, nodes[0].score if nodes else None
    for number, node in enumerate(nodes, start=1):
        if node.score != score:
            rank, score = number, node.score
        places.append(11 / (10 + rank))
    return places


def question_of(query_bundle: object, query_str: str | None) -> str:
    """Return the question, whichever of the two ways it was passed."""
    given = query_str if query_str is not None else query_bundle
    text = getattr(given, "query_str", given)
    if not isinstance(text, str) or not text.strip():
        raise InvalidOptionError("postprocess_nodes needs query_str=, the question.")
    return text


def question_if_any(query_bundle: object, query_str: str | None) -> str | None:
    """The question where one was passed, for those who can do without."""
    if query_bundle is None and query_str is None:
        return None
    return question_of(query_bundle, query_str)


def reordered(
    nodes: Sequence[NodeWithScore], scores: Sequence[float], top_n: int, query: str
) -> NodeList:
    """Return the `top_n` nodes of the highest scores; equal ones keep their order."""
    order = sorted(range(len(nodes)), key=lambda i: -scores[i])[:top_n]
    return NodeList(
        (
            nodes[i].model_copy(
                update={
                    "score": scores[i],
                    "scores": {**nodes[i].scores, "rerank": scores[i]},
                }
            )
            for i in order
        ),
        query=query,
    )


def postprocess(
    nodes: NodeList, processors: Sequence[NodePostprocessor], query: str
) -> NodeList:
    """Apply postprocessors in order; blocks the caller."""
    found: list[NodeWithScore] = nodes
    for processor in processors:
        found = processor.postprocess_nodes(found, query_str=query)
    return found if isinstance(found, NodeList) else NodeList(found, query=query)


async def apostprocess(
    nodes: NodeList, processors: Sequence[NodePostprocessor], query: str
) -> NodeList:
    """Apply postprocessors in order, leaving the event loop free.

    One without ``apostprocess_nodes`` runs in a thread.
    """
    found: list[NodeWithScore] = nodes
    for processor in processors:
        if (apply := getattr(processor, "apostprocess_nodes", None)) is not None:
            found = await apply(found, query_str=query)
        else:
            found = await asyncio.to_thread(
                processor.postprocess_nodes, found, query_str=query
            )
    return found if isinstance(found, NodeList) else NodeList(found, query=query)
