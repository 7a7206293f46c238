"""A language model behind OpenAI's chat API: OpenAI.

Builds requests and reads answers; clients and errors are in `openai.py`, which
is imported at the first call. Embeddings are in `openai_embedding.py`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from typing import Any

from .base import ChatMessage, ChatResponse, CompletionResponse, Usage
from .endpoint import Endpoint
from .errors import ModelServerError
from .streams import ResponseStream


class OpenAI:
    """A language model behind OpenAI's chat API: OpenAI's, or Ollama, vLLM and others.

    Making one opens no connection and needs no key; calling does. Every method
    has a blocking form and one beginning with ``a``. May be used from several
    threads and event loops.

    Args:
        model: Name, as the server knows it.
        temperature: Sent only if given: some models refuse it.
        max_tokens: Most tokens of an answer; the server's default if not given.
        api_key: Key; ``OPENAI_API_KEY`` if not given.
        api_base: Address of another server, for instance
            ``"http://localhost:11434/v1"`` for Ollama, which needs no key.
        timeout: Seconds to wait for an answer, each try.
        max_retries: Further tries after 408, 409, 429, 5xx and lost
            connections, with growing pauses, or as long as the server asks.
        system_prompt: Put before every conversation.
        default_headers: Headers to send with each request.
        additional_kwargs: More fields of the request body.
        base_url: The same as `api_base`.
    """

    def __init__(
        self,
        model: str = "gpt-4o-mini",
        temperature: float | None = None,
        *,
        max_tokens: int | None = None,
        api_key: str | None = None,
        api_base: str | None = None,
        timeout: float = 60.0,
        max_retries: int = 3,
        system_prompt: str | None = None,
        default_headers: Mapping[str, str] | None = None,
        additional_kwargs: Mapping[str, Any] | None = None,
        base_url: str | None = None,
    ) -> None:
        self.endpoint = Endpoint(
            model,
            api_key=api_key,
            api_base=api_base or base_url,
            timeout=timeout,
            max_retries=max_retries,
            headers=dict(default_headers or {}),
        )
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.system_prompt = system_prompt
        self.additional_kwargs = dict(additional_kwargs or {})

    @property
    def model(self) -> str:
        """The model's name."""
        return self.endpoint.model

    def __repr__(self) -> str:
        base = self.endpoint.api_base
        return f"OpenAI(model={self.model!r}{f', api_base={base!r}' if base else ''})"

    def complete(self, prompt: str, **kwargs: Any) -> CompletionResponse:
        """Answer a prompt; blocks the caller.

        Args:
            prompt: Sent as one user message.
            **kwargs: More fields of the request body, for this call.

        Raises:
            MissingAPIKeyError: No key, and no `api_base`.
            ModelServerError: The server refused, failed or is not there.
        """
        return _as_completion(self.chat([ChatMessage(content=prompt)], **kwargs))

    async def acomplete(self, prompt: str, **kwargs: Any) -> CompletionResponse:
        """Do as `complete`, leaving the event loop free."""
        return _as_completion(await self.achat([ChatMessage(content=prompt)], **kwargs))

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation; blocks the caller. See `complete`."""
        body = self._body(messages, kwargs)
        server = self.endpoint.server()
        with server.errors():
            raw = server.sync_client().chat.completions.create(**body)
        return self._answer(raw)

    async def achat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponse:
        """Do as `chat`, leaving the event loop free."""
        body = self._body(messages, kwargs)
        server = self.endpoint.server()
        client = await server.async_client()
        with server.errors():
            raw = await client.chat.completions.create(**body)
        return self._answer(raw)

    def stream_complete(
        self, prompt: str, **kwargs: Any
    ) -> Iterator[CompletionResponse]:
        """Yield the answer to a prompt as it comes; blocks between pieces.

        The last piece carries `usage`, where the server counts.

        Raises:
            ModelServerError: As for `complete`; if the stream breaks, what had
                come is in the error's ``partial_text``.
        """
        body = self._stream_body([ChatMessage(content=prompt)], kwargs)
        folded = _Folded()
        server = self.endpoint.server()
        create = server.sync_client().chat.completions.create
        with server.errors(folded.partial):
            try:
                with server.errors():
                    stream = create(**body)
            except ModelServerError as error:
                stream = create(**_without_count(body, error))
            with stream:
                for chunk in stream:
                    if (piece := folded.add(chunk)) is not None:
                        yield piece

    def astream_complete(
        self, prompt: str, **kwargs: Any
    ) -> ResponseStream[CompletionResponse]:
        """Do as `stream_complete`, leaving the event loop free.

        Returns:
            For ``async for``, awaited before or not. Reading begins the call.
        """
        return ResponseStream(self._astream([ChatMessage(content=prompt)], kwargs))

    async def _astream(
        self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]
    ) -> AsyncGenerator[CompletionResponse, None]:
        body = self._stream_body(messages, kwargs)
        folded = _Folded()
        server = self.endpoint.server()
        create = (await server.async_client()).chat.completions.create
        with server.errors(folded.partial):
            try:
                with server.errors():
                    stream = await create(**body)
            except ModelServerError as error:
                stream = await create(**_without_count(body, error))
            async with stream:
                async for chunk in stream:
                    if (piece := folded.add(chunk)) is not None:
                        yield piece

    def _body(
        self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]
    ) -> dict[str, Any]:
        said = [{"role": m.role, "content": m.content} for m in messages]
        if self.system_prompt:
            said.insert(0, {"role": "system", "content": self.system_prompt})
        body: dict[str, Any] = {"model": self.model, "messages": said}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.max_tokens is not None:
            body["max_tokens"] = self.max_tokens
        return body | self.additional_kwargs | dict(kwargs)

    def _stream_body(
        self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]
    ) -> dict[str, Any]:
        body = self._body(messages, kwargs) | {"stream": True}
        body.setdefault("stream_options", {"include_usage": True})
        return body

    def _answer(self, raw: Any) -> ChatResponse:
        choices = getattr(raw, "choices", None)
        if not choices:
            url = self.endpoint.server().url
            raise ModelServerError(
                f"{self.model} at {url} answered without any choices. "
                "Is that address an OpenAI-compatible server, with /v1 at its end?",
                model=self.model,
                url=url,
            )
        return ChatResponse(
            message=ChatMessage(
                role="assistant", content=choices[0].message.content or ""
            ),
            raw=raw,
            usage=_usage(raw.usage),
        )


class _Folded:
    """Chunks of a stream folded into pieces of an answer."""

    def __init__(self) -> None:
        self.text = ""

    def partial(self) -> str | None:
        return self.text or None

    def add(self, chunk: Any) -> CompletionResponse | None:
        usage = _usage(getattr(chunk, "usage", None))
        # The chunk that carries the usage has no choices at all.
        delta = (chunk.choices[0].delta.content or "") if chunk.choices else ""
        if not delta and usage is None:
            return None
        self.text += delta
        return CompletionResponse(text=self.text, delta=delta, raw=chunk, usage=usage)


def _without_count(body: dict[str, Any], error: ModelServerError) -> dict[str, Any]:
    """Return the request without asking for usage, if that may be what is wrong.

    Some servers refuse to count while streaming.
    """
    if error.status not in {400, 422}:
        raise error
    return {key: value for key, value in body.items() if key != "stream_options"}


def _usage(raw: Any) -> Usage | None:
    if raw is None:
        return None
    return Usage(
        prompt_tokens=raw.prompt_tokens or 0,
        completion_tokens=getattr(raw, "completion_tokens", 0) or 0,
        total_tokens=raw.total_tokens or 0,
    )


def _as_completion(answer: ChatResponse) -> CompletionResponse:
    return CompletionResponse(
        text=answer.message.content, raw=answer.raw, usage=answer.usage
    )
