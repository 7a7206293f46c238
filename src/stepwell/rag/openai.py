"""Clients of OpenAI's API and what their errors mean, by the openai library.

The only file that imports openai, itself imported at the first call. The classes
people use are in `openai_llm.py` and `openai_embedding.py`.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import openai

from .errors import MissingAPIKeyError, ModelServerError, ModelTimeoutError, RagError
from .loops import PerLoop

_DEFAULT_BASE = "https://api.openai.com/v1"
# The HTTP library beneath: httpx of openai 2, httpx2 of openai 3. Of a stream that is
# being read, openai 2 lets its errors through.
_http: Any = sys.modules[openai.DefaultHttpxClient.__bases__[0].__module__]


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

    def fields(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a chat request as the library takes it: fields it does not know apart.

        Servers have fields of their own, such as ``top_k``.
        """
        known = _known_fields()
        given = {key: value for key, value in body.items() if key in known}
        more = {key: value for key, value in body.items() if key not in known}
        if more:
            given["extra_body"] = {**more, **(given.get("extra_body") or {})}
        return given

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
        except _http.TransportError as error:
            is_slow = isinstance(error, _http.TimeoutException)
            raise self._lost(partial(), is_slow=is_slow) from error
        except json.JSONDecodeError as error:
            # The library lets that through, of answers and of streams.
            text = partial()
            kept = f" What had come ({len(text)} characters) is kept." if text else ""
            raise ModelServerError(
                f"{self.model} at {self.url} sent what is no JSON: {error.msg} at "
                f"{_around(error.doc, error.pos)}. Is that an OpenAI-compatible "
                f"server, and nothing in between?{kept}",
                model=self.model,
                url=self.url,
                partial_text=text,
            ) from error

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
            advice = _advice(error, facts["retry_after"])
            return ModelServerError(
                f"{where} answered {error.status_code}{said}. {advice}", **facts
            )
        if isinstance(error, openai.APIConnectionError):
            is_slow = isinstance(error, openai.APITimeoutError)
            return self._lost(partial, is_slow=is_slow)
        # What a stream says went wrong while it was on its way comes here too.
        kept = "" if not partial else " What had come is in the error's partial_text."
        return ModelServerError(f"{where}: {_short(str(error))}.{kept}", **facts)

    def _lost(self, partial: str | None, *, is_slow: bool) -> ModelServerError:
        """The error for a connection that was not made, went silent or broke."""
        where = f"{self.model} at {self.url}"
        kept = f"{len(partial or '')} characters; they are in the error's partial_text."
        kind: type[ModelServerError] = ModelServerError
        if is_slow:
            kind = ModelTimeoutError
            message = (
                f"{where} fell silent for {self.timeout:g} s after {kept} Raise "
                "timeout=, or try again."
                if partial
                else f"{where} did not answer within {self.timeout:g} s "
                f"({self.max_retries + 1} tries). Raise timeout=, or try again later."
            )
        elif partial:
            message = f"{where} broke off after {kept} Try again."
        else:
            message = (
                f"{where} could not be reached. Check that the server runs, the "
                "address, and the network."
            )
        return kind(message, model=self.model, url=self.url, partial_text=partial)


@functools.cache
def _known_fields() -> frozenset[str]:
    create = openai.resources.chat.completions.Completions.create
    return frozenset(inspect.signature(create).parameters)


def _seconds(header: str | None) -> float | None:
    try:
        return None if header is None else float(header)
    except ValueError:
        return None


def _server_words(error: openai.APIStatusError) -> str:
    """Return what the server said, in whichever of the usual shapes it said it."""
    said: object = error.body
    for name in ("message", "detail", "error", "message"):
        if isinstance(said, dict) and name in said:
            said = said[name]
    if said is None:
        said = error.response.text
    is_page = isinstance(said, str) and said.lstrip()[:1] == "<"
    words = "" if is_page else str(said).strip()
    return f": {_short(words)}" if words else ""


def _short(said: str) -> str:
    flat = " ".join(said.split()).rstrip(".")
    return f"{flat[:200]}{'…' if len(flat) > 200 else ''}"


def _around(text: str, place: int) -> str:
    begin = max(0, place - 20)
    return repr(text[begin : begin + 40])


def _advice(error: openai.APIStatusError, retry_after: float | None) -> str:
    status = error.status_code
    if error.code == "insufficient_quota":
        return "The account has no quota left: check its plan; waiting does not help."
    if error.code == "context_length_exceeded":
        return "Send less: fewer or shorter passages (similarity_top_k=, chunk_size)."
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
