"""An embedding model that needs no key, no network and no weights: FakeEmbedding.

It has the methods of the models in `stepwell.rag`, which is not imported.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Sequence
from typing import Any

__all__ = ["FakeEmbedding"]

_WORD = re.compile(r"\w+")


class FakeEmbedding:
    """An embedding model that counts words: texts that share words are close.

    Every word adds to one of `dim` numbers, chosen by its CRC-32 and so the same in
    each process; long words count more, since they say more. Vectors have length 1.
    `texts` and `queries` list what was embedded, in order.

    Args:
        dim: Dimensions. The fewer, the more words fall together.

    Raises:
        ValueError: Less than one dimension.

    Example:
        >>> model = FakeEmbedding()
        >>> cat, cats, tax = model.get_text_embedding_batch(
        ...     ["the cat sleeps", "a cat eats", "income tax"]
        ... )
        >>> cosine = lambda a, b: sum(x * y for x, y in zip(a, b))
        >>> cosine(cat, cats) > cosine(cat, tax)
        True
    """

    def __init__(self, dim: int = 64) -> None:
        if dim < 1:
            raise ValueError(f"dim must be 1 or more, not {dim}")
        self.dim = dim
        self.texts: list[str] = []
        self.queries: list[str] = []

    def __repr__(self) -> str:
        return f"FakeEmbedding(dim={self.dim})"

    def get_text_embedding_batch(
        self, texts: Sequence[str], **kwargs: Any
    ) -> list[list[float]]:
        """Embed passages: `(n_texts, dim)`, in order; more arguments are ignored."""
        self.texts.extend(texts)
        return [self._vector(text) for text in texts]

    def get_text_embedding(self, text: str) -> list[float]:
        """Embed one passage: `(dim,)`."""
        return self.get_text_embedding_batch([text])[0]

    def get_query_embedding(self, query: str) -> list[float]:
        """Embed one question: `(dim,)`, as a passage of the same words."""
        self.queries.append(query)
        return self._vector(query)

    async def aget_text_embedding_batch(
        self, texts: Sequence[str], **kwargs: Any
    ) -> list[list[float]]:
        """Do as `get_text_embedding_batch`."""
        return self.get_text_embedding_batch(texts)

    async def aget_text_embedding(self, text: str) -> list[float]:
        """Do as `get_text_embedding`."""
        return self.get_text_embedding(text)

    async def aget_query_embedding(self, query: str) -> list[float]:
        """Do as `get_query_embedding`."""
        return self.get_query_embedding(query)

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * self.dim
        # A text without words is one of its own, so that no vector is all zeros.
        for word in _WORD.findall(text.lower()) or [text]:
            vector[zlib.crc32(word.encode()) % self.dim] += len(word) or 1
        length = math.hypot(*vector)
        return [number / length for number in vector]
