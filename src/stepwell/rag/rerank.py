"""Reordering retrieved nodes by the words they share with the question.

The reranker with a model is in `local.py`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from .documents import NodeList, NodeWithScore
from .errors import InvalidOptionError
from .words import query_words, spell_out, stem, stems


class LexicalRerank:
    """Reorder nodes by the words they share with the question; needs no model.

    BM25 among the nodes given, with a milder weight for rare words than in a
    search: these nodes were found by the topic's words, so all of them have
    those, and they would count for nothing. The place a node comes from counts
    as part of its text. English endings do not matter.

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

        Nodes that share no word with the question come last, as they were.

        Raises:
            InvalidOptionError: No question was passed.
        """
        query = question_of(query_bundle, query_str)
        texts = [stems(f"{node.text} {spell_out(node.source)}") for node in nodes]
        asked = dict.fromkeys(stem(word) for word in query_words(query))
        return reordered(nodes, _bm25(list(asked), texts), self.top_n, query)

    async def apostprocess_nodes(
        self,
        nodes: Sequence[NodeWithScore],
        query_bundle: str | None = None,
        query_str: str | None = None,
    ) -> NodeList:
        """Do as `postprocess_nodes`; it takes a few milliseconds."""
        return self.postprocess_nodes(nodes, query_bundle, query_str)


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


def question_of(query_bundle: object, query_str: str | None) -> str:
    """Return the question, whichever of the two ways it was passed."""
    given = query_str if query_str is not None else query_bundle
    text = getattr(given, "query_str", given)
    if not isinstance(text, str) or not text.strip():
        raise InvalidOptionError("postprocess_nodes needs query_str=, the question.")
    return text


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
