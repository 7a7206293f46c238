"""An embedding model behind OpenAI's API: OpenAIEmbedding.

Batches within the limits of the API and decodes what comes; clients and errors
are in `openai.py`, which is imported at the first call.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from .endpoint import Endpoint
from .errors import InvalidOptionError, ModelServerError
from .openai_chat import read_usage
from .progress import Progress
from .usage import count_usage

_MOST_INPUTS = 2_048
_MOST_TOKENS = 300_000
# Limits of one request. Tokens are estimated from above by a third of the bytes,
# which holds for CJK text too.
_COUNTED = "chunks embedded"


class OpenAIEmbedding:
    """An embedding model behind OpenAI's API.

    Making one opens no connection and needs no key; calling does. An empty text
    is sent as a space, since the API refuses it.

    Args:
        model: Name, as the server knows it.
        dimensions: Shorten vectors to so many, where the model can.
        embed_batch_size: Most texts in a request, up to 2,048.
        num_workers: Requests on the way at once.
        api_key: Key; ``OPENAI_API_KEY`` if not given.
        api_base: Address of another server; then no key is needed.
        timeout: Seconds to wait for an answer, each try.
        max_retries: Further tries, as for `OpenAI`.
        default_headers: Headers to send with each request.
        base_url: The same as `api_base`.

    Raises:
        InvalidOptionError: A batch size out of range.
    """

    def __init__(
        self,
        model: str = "text-embedding-3-small",
        dimensions: int | None = None,
        *,
        embed_batch_size: int = 100,
        num_workers: int = 4,
        api_key: str | None = None,
        api_base: str | None = None,
        timeout: float = 60.0,
        max_retries: int = 3,
        default_headers: Mapping[str, str] | None = None,
        base_url: str | None = None,
    ) -> None:
        if not 1 <= embed_batch_size <= _MOST_INPUTS:
            raise InvalidOptionError(
                f"embed_batch_size={embed_batch_size} must be 1 to {_MOST_INPUTS}."
            )
        if num_workers < 1:
            raise InvalidOptionError(f"num_workers={num_workers} must be 1 or more.")
        self.endpoint = Endpoint(
            model,
            api_key=api_key,
            api_base=api_base or base_url,
            timeout=timeout,
            max_retries=max_retries,
            headers=dict(default_headers or {}),
        )
        self.dimensions = dimensions
        self.embed_batch_size = embed_batch_size
        self.num_workers = num_workers
        # Some servers know only floats; found out at the first request.
        self._encoding = "base64"

    @property
    def model_name(self) -> str:
        """The model's name."""
        return self.endpoint.model

    @property
    def cache_key(self) -> str:
        """What the vectors depend on; see `CachedEmbedding`."""
        base = self.endpoint.api_base or os.environ.get("OPENAI_BASE_URL") or ""
        return f"openai {base} {self.model_name} {self.dimensions}"

    def __repr__(self) -> str:
        base = self.endpoint.api_base
        more = f", api_base={base!r}" if base else ""
        return f"OpenAIEmbedding(model={self.model_name!r}{more})"

    def get_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False
    ) -> list[list[float]]:
        """Embed passages: ``(n_texts, dim)``, in the order given. Blocks.

        Args:
            texts: The passages.
            show_progress: Tell how many are embedded, as requests are
                answered.

        Raises:
            MissingAPIKeyError: No key, and no `api_base`.
            ModelServerError: The server refused, failed or is not there.
        """
        if not texts:
            return []
        batches = list(self._batches(texts))
        with Progress(_COUNTED, len(texts), shown=show_progress) as progress:

            def embed(batch: list[str]) -> list[list[float]]:
                vectors = self._embed(batch)
                progress.advance(len(batch))
                return vectors

            if len(batches) == 1:
                return embed(batches[0])
            with ThreadPoolExecutor(min(self.num_workers, len(batches))) as pool:
                # Usage counts for whoever called; a copy each, since a context
                # cannot be entered twice at once.
                around = [copy_context() for _ in batches]
                return _joined(pool.map(lambda c, b: c.run(embed, b), around, batches))

    def get_text_embedding(self, text: str) -> list[float]:
        """Embed one passage: ``(dim,)``. Blocks."""
        return self.get_text_embedding_batch([text])[0]

    def get_query_embedding(self, query: str) -> list[float]:
        """Embed one question: ``(dim,)``. Blocks."""
        return self.get_text_embedding(query)

    async def aget_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False
    ) -> list[list[float]]:
        """Do as `get_text_embedding_batch`, leaving the event loop free."""
        if not texts:
            return []
        free = asyncio.Semaphore(self.num_workers)
        with Progress(_COUNTED, len(texts), shown=show_progress) as progress:

            async def embed(batch: list[str]) -> list[list[float]]:
                async with free:
                    vectors = await self._aembed(batch)
                progress.advance(len(batch))
                return vectors

            tasks = [asyncio.ensure_future(embed(b)) for b in self._batches(texts)]
            try:
                # Not a TaskGroup: that would wrap the one clear error in a group.
                return _joined(await asyncio.gather(*tasks))
            finally:
                for task in tasks:
                    task.cancel()

    async def aget_text_embedding(self, text: str) -> list[float]:
        """Do as `get_text_embedding`, leaving the event loop free."""
        return (await self.aget_text_embedding_batch([text]))[0]

    async def aget_query_embedding(self, query: str) -> list[float]:
        """Do as `get_query_embedding`, leaving the event loop free."""
        return await self.aget_text_embedding(query)

    def _batches(self, texts: Sequence[str]) -> Iterator[list[str]]:
        batch: list[str] = []
        tokens = 0
        for text in texts:
            size = len(text.encode()) // 3 + 1
            if batch and (
                len(batch) == self.embed_batch_size or tokens + size > _MOST_TOKENS
            ):
                yield batch
                batch, tokens = [], 0
            batch.append(text or " ")
            tokens += size
        yield batch

    def _body(self, batch: list[str]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.endpoint.model,
            "input": batch,
            "encoding_format": self._encoding,
        }
        if self.dimensions is not None:
            body["dimensions"] = self.dimensions
        return body

    def _embed(self, batch: list[str]) -> list[list[float]]:
        server = self.endpoint.server()
        try:
            with server.errors():
                answer = server.sync_client().embeddings.create(**self._body(batch))
        except ModelServerError as error:
            if not self._falls_back(error):
                raise
            return self._embed(batch)
        return self._vectors(answer, len(batch))

    async def _aembed(self, batch: list[str]) -> list[list[float]]:
        server = await self.endpoint.aserver()
        client = await server.async_client()
        try:
            with server.errors():
                answer = await client.embeddings.create(**self._body(batch))
        except ModelServerError as error:
            if not self._falls_back(error):
                raise
            return await self._aembed(batch)
        return self._vectors(answer, len(batch))

    def _falls_back(self, error: ModelServerError) -> bool:
        """Ask for floats from now on, if it was base64 that the server refused."""
        if error.status not in {400, 422} or "encoding_format" not in str(error):
            return False
        was_base64, self._encoding = self._encoding == "base64", "float"
        return was_base64

    def _vectors(self, answer: Any, wanted: int) -> list[list[float]]:
        data = sorted(getattr(answer, "data", None) or (), key=lambda item: item.index)
        if len(data) != wanted:
            url = self.endpoint.server().url
            raise ModelServerError(
                f"{self.endpoint.model} at {url} returned {len(data)} "
                f"vectors for {wanted} texts.",
                model=self.endpoint.model,
                url=url,
            )
        count_usage(self.endpoint.model, read_usage(answer), embedding=True)
        return [_decoded(item.embedding) for item in data]


def _decoded(embedding: str | Sequence[float]) -> list[float]:
    """Return the numbers; servers send base64 of float32, or a list."""
    if not isinstance(embedding, str):
        return list(embedding)
    numbers = array("f", base64.b64decode(embedding))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def _joined(parts: Any) -> list[list[float]]:
    return [vector for part in parts for vector in part]
