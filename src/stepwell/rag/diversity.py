"""Nodes that differ from each other: MMR.

A chunk that says what a better one said already makes room for another. Nothing
is searched here; it works on what a retriever or a reranker gives.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Sequence

from .documents import NodeList, NodeWithScore
from .errors import InvalidOptionError
from .rerank import question_if_any
from .words import STOP_WORDS, stems

_LARGE = 10_000
# Letters that take about ten milliseconds to read; beyond, a thread is worth it.
_MANY = 50
# Nodes above which comparing each with each takes as long.


class MMR:
    """Choose nodes that match and yet differ: maximal marginal relevance.

    Carbonell and Goldstein (1998): each node chosen is the one with the best
    balance of its own score and of how little it repeats those chosen before. Give
    it more nodes than it is to keep, for instance those of
    ``index.as_retriever(20)``. How alike two nodes are is told by their words, so
    it works with each mode, store and reranker.

    Args:
        top_n: Nodes to keep.
        mmr_threshold: Weight of the score, 0..1: 1 keeps the order that was, 0
            minds only differences.

    Raises:
        InvalidOptionError: A number out of range.
    """

    def __init__(self, top_n: int = 5, *, mmr_threshold: float = 0.5) -> None:
        if top_n < 1:
            raise InvalidOptionError(f"top_n={top_n} must be 1 or more.")
        if not 0 <= mmr_threshold <= 1:
            raise InvalidOptionError(
                f"mmr_threshold={mmr_threshold} must be between 0 and 1."
            )
        self.top_n = top_n
        self.mmr_threshold = mmr_threshold

    def __repr__(self) -> str:
        return f"MMR(top_n={self.top_n}, mmr_threshold={self.mmr_threshold})"

    def postprocess_nodes(
        self,
        nodes: Sequence[NodeWithScore],
        query_bundle: str | None = None,
        query_str: str | None = None,
    ) -> NodeList:
        """Return the `top_n` nodes chosen, in the order of choice.

        Their `score` is the balance, which ``scores["mmr"]`` keeps; the parts that
        were there stay. The input is not changed.
        """
        query = question_if_any(query_bundle, query_str)
        relevance = _scaled([node.get_score() for node in nodes])
        vectors = _vectors([stems(node.text) for node in nodes])
        nearest = [0.0] * len(nodes)
        left = list(range(len(nodes)))
        weight = self.mmr_threshold
        chosen: list[NodeWithScore] = []
        while left and len(chosen) < self.top_n:
            # max() takes the first of equals: the better one of the list given.
            best = max(
                left, key=lambda i: weight * relevance[i] - (1 - weight) * nearest[i]
            )
            value = weight * relevance[best] - (1 - weight) * nearest[best]
            parts = {**nodes[best].scores, "mmr": value}
            chosen.append(
                nodes[best].model_copy(update={"score": value, "scores": parts})
            )
            left.remove(best)
            for i in left:
                nearest[i] = max(nearest[i], _cosine(vectors[i], vectors[best]))
        return NodeList(chosen, query=query)

    async def apostprocess_nodes(
        self,
        nodes: Sequence[NodeWithScore],
        query_bundle: str | None = None,
        query_str: str | None = None,
    ) -> NodeList:
        """Do as `postprocess_nodes`; where there is much to compare, in a thread."""
        if len(nodes) <= _MANY and sum(len(node.text) for node in nodes) < _LARGE:
            return self.postprocess_nodes(nodes, query_bundle, query_str)
        return await asyncio.to_thread(
            self.postprocess_nodes, nodes, query_bundle, query_str
        )


def _scaled(scores: Sequence[float]) -> list[float]:
    """Bring scores of any kind to 0..1: BM25 has no top, a logit may be negative."""
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    if high == low:
        return [1.0] * len(scores)
    low = min(low, 0.0)
    return [(score - low) / (high - low) for score in scores]


def _vectors(texts: Sequence[Sequence[str]]) -> list[dict[str, float]]:
    """Return unit vectors of words; one that all texts have tells nothing."""
    counts = [Counter(w for w in text if w not in STOP_WORDS) for text in texts]
    holding = Counter(word for count in counts for word in count)
    vectors = []
    for count in counts:
        vector = {
            word: (1 + math.log(times)) * math.log(1 + len(texts) / holding[word])
            for word, times in count.items()
        }
        length = math.sqrt(sum(value * value for value in vector.values())) or 1.0
        vectors.append({word: value / length for word, value in vector.items()})
    return vectors


def _cosine(one: dict[str, float], other: dict[str, float]) -> float:
    if len(one) > len(other):
        one, other = other, one
    return sum(value * other.get(word, 0.0) for word, value in one.items())
