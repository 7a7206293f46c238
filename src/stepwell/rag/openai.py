"""Clients of OpenAI's API and what their errors mean, by the openai library.

The only file that imports openai, itself imported at the first call. The classes
people use are in `openai_llm.py` and `openai_embedding.py`.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import openai

from .errors import MissingAPIKeyError, ModelServerError, ModelTimeoutError, RagError
from .loops import PerLoop

_DEFAULT_BASE = "https://api.openai.com/v1"


class Server:
    """Where a model is served: address, key, and clients made when first needed.

    The library refuses to build a client without a key, so building waits for
    the first call; then a missing key is one clear error.
    """

    def __init__(
        self,
        model: str,
        *,
        api_key: str | None,
        api_base: str | None,
        timeout: float,
        max_retries: int,
        headers: Mapping[str, str],
    ) -> None:
        self.model = model
        self.url = api_base or os.environ.get("OPENAI_BASE_URL") or _DEFAULT_BASE
        self.timeout = timeout
        self.max_retries = max_retries
        self._api_key = api_key
        self._headers = headers
        self._lock = threading.Lock()
        self._client: openai.OpenAI | None = None
        self._clients: PerLoop[openai.AsyncOpenAI] = PerLoop(
            self._make_async, lambda client: client.close()
        )

    def sync_client(self) -> openai.OpenAI:
        """Return the blocking client; it may be used from several threads."""
        with self._lock:
            if self._client is None:
                self._client = self._make_sync()
            return self._client

    async def async_client(self) -> openai.AsyncOpenAI:
        """Return the client of the running event loop."""
        return await self._clients.get()

    def _make_sync(self) -> openai.OpenAI:
        options = self._options()
        connections = openai.DefaultHttpxClient(timeout=self.timeout)
        client = openai.OpenAI(**options, http_client=connections)
        # Before garbage collection can come upon its sockets, in whatever order.
        weakref.finalize(client, connections.close)
        return client

    def _make_async(self) -> openai.AsyncOpenAI:
        # The library's own wrapper closes itself in __del__, on whatever loop
        # happens to run then; a plain client leaves closing to PerLoop.
        return openai.AsyncOpenAI(
            **self._options(),
            http_client=openai.DefaultAsyncHttpxClient(timeout=self.timeout),
        )

    def _options(self) -> dict[str, Any]:
        key = self._api_key or os.environ.get("OPENAI_API_KEY")
        if not key:
            if self.url == _DEFAULT_BASE:
                raise MissingAPIKeyError(
                    f"{self.model} needs an API key. Set OPENAI_API_KEY or pass "
                    'api_key=; or use a local server, api_base="http://localhost:'
                    '11434/v1" for Ollama; or leave Settings.llm and '
                    "Settings.embed_model unset to work without a model.",
                    model=self.model,
                    variable="OPENAI_API_KEY",
                )
            key = "not-needed"
        return {
            "api_key": key,
            "base_url": self.url,
            "timeout": self.timeout,
            "max_retries": self.max_retries,
            "default_headers": dict(self._headers),
        }

    @contextmanager
    def errors(
        self, partial: Callable[[], str | None] = lambda: None
    ) -> Iterator[None]:
        """Turn errors of the library into one `ModelServerError`.

        Args:
            partial: Gives what a stream has delivered so far.
        """
        try:
            yield
        except openai.OpenAIError as error:
            raise self._explained(error, partial()) from error

    def _explained(self, error: openai.OpenAIError, partial: str | None) -> RagError:
        facts: dict[str, Any] = {
            "model": self.model,
            "url": self.url,
            "partial_text": partial,
        }
        where = f"{self.model} at {self.url}"
        if isinstance(error, openai.APIStatusError):
            facts["status"] = error.status_code
            facts["retry_after"] = _seconds(error.response.headers.get("retry-after"))
            said = _server_words(error)
            advice = _advice(error.status_code, facts["retry_after"])
            return ModelServerError(
                f"{where} answered {error.status_code}{said}. {advice}", **facts
            )
        if isinstance(error, openai.APITimeoutError):
            return ModelTimeoutError(
                f"{where} did not answer within {self.timeout:g} s "
                f"({self.max_retries + 1} tries). Raise timeout=, or try again later.",
                **facts,
            )
        if isinstance(error, openai.APIConnectionError):
            if partial:
                message = (
                    f"{where} broke off after {len(partial)} characters; they are in "
                    "the error's partial_text. Try again."
                )
            else:
                message = (
                    f"{where} could not be reached. Check that the server runs, the "
                    "address, and the network."
                )
            return ModelServerError(message, **facts)
        return ModelServerError(f"{where}: {error}", **facts)


def _seconds(header: str | None) -> float | None:
    try:
        return None if header is None else float(header)
    except ValueError:
        return None


def _server_words(error: openai.APIStatusError) -> str:
    body = error.body
    said = body.get("message") if isinstance(body, dict) else None
    if not isinstance(said, str) or not said.strip():
        return ""
    flat = " ".join(said.split()).rstrip(".")
    return f": {flat[:200]}{'…' if len(flat) > 200 else ''}"


def _advice(status: int, retry_after: float | None) -> str:
    if status == 401:
        return "Check the key: OPENAI_API_KEY or api_key=."
    if status == 403:
        return "The key may not use this model."
    if status == 404:
        return "Check model= and api_base=."
    if status == 429:
        wait = "a little" if retry_after is None else f"{retry_after:g} s"
        return f"Too many requests, or no quota left: wait {wait}, or check the plan."
    if status >= 500:
        return "The server failed; try again later."
    return "The server refused the request."
