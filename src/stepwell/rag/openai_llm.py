"""A language model behind OpenAI's chat API: OpenAI.

Sends and waits. What is sent and what came is in `openai_chat.py`; clients and
errors are in `openai.py`, which is imported at the first call. Embeddings are in
`openai_embedding.py`.
"""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from typing import Any, TypeVar

from pydantic import BaseModel

from .base import ChatMessage, ChatResponse, CompletionResponse
from .endpoint import Endpoint
from .errors import ModelServerError
from .openai_chat import Folded, as_completion, read_answer, request_body, without_count
from .rounds import MAX_ITERATIONS, achat_with_tools, chat_with_tools
from .streams import ResponseStream
from .structured import StructuredLLM, fill
from .tools import FunctionTool
from .usage import count_usage

M = TypeVar("M", bound=BaseModel)
Tools = Iterable[FunctionTool | Callable[..., Any]]


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
        return as_completion(self.chat([ChatMessage(content=prompt)], **kwargs))

    async def acomplete(self, prompt: str, **kwargs: Any) -> CompletionResponse:
        """Do as `complete`, leaving the event loop free."""
        return as_completion(await self.achat([ChatMessage(content=prompt)], **kwargs))

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation; blocks the caller. See `complete`.

        With ``tools=``, a list of `FunctionTool`, the answer may be that some are
        to be called: its ``message.tool_calls``. `chat_with_tools` calls them.
        """
        server = self.endpoint.server()
        body = server.fields(self._body(messages, kwargs))
        with server.errors():
            raw = server.sync_client().chat.completions.create(**body)
        return self._answer(raw)

    async def achat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponse:
        """Do as `chat`, leaving the event loop free."""
        server = await self.endpoint.aserver()
        body = server.fields(self._body(messages, kwargs))
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
        for piece in self.stream_chat([ChatMessage(content=prompt)], **kwargs):
            yield as_completion(piece)

    def astream_complete(
        self, prompt: str, **kwargs: Any
    ) -> ResponseStream[CompletionResponse]:
        """Do as `stream_complete`, leaving the event loop free.

        Returns:
            For ``async for``, awaited before or not. Reading begins the call.
        """

        async def pieces() -> AsyncGenerator[CompletionResponse, None]:
            messages = [ChatMessage(content=prompt)]
            # Closed with this one, and not when somebody happens to collect it.
            async with aclosing(self._astream(messages, kwargs)) as stream:
                async for piece in stream:
                    yield as_completion(piece)

        return ResponseStream(pieces())

    def stream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> Iterator[ChatResponse]:
        """Yield the answer to a conversation as it comes. See `stream_complete`.

        Tools that are called grow in ``message.tool_calls``; they are whole in the
        last piece.
        """
        server = self.endpoint.server()
        body = server.fields(self._body(messages, kwargs, streamed=True))
        folded = Folded()
        create = server.sync_client().chat.completions.create
        with server.errors(folded.partial):
            try:
                with server.errors():
                    stream = create(**body)
            except ModelServerError as error:
                stream = create(**without_count(body, error))
            try:
                with stream:
                    for chunk in stream:
                        if (piece := folded.add(chunk)) is not None:
                            yield piece
            finally:
                # Left early or broken off, it has cost something all the same.
                count_usage(self.model, folded.usage)

    def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ResponseStream[ChatResponse]:
        """Do as `stream_chat`, leaving the event loop free; see `astream_complete`."""
        return ResponseStream(self._astream(messages, kwargs))

    async def _astream(
        self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]
    ) -> AsyncGenerator[ChatResponse, None]:
        server = await self.endpoint.aserver()
        body = server.fields(self._body(messages, kwargs, streamed=True))
        folded = Folded()
        create = (await server.async_client()).chat.completions.create
        with server.errors(folded.partial):
            try:
                with server.errors():
                    stream = await create(**body)
            except ModelServerError as error:
                stream = await create(**without_count(body, error))
            try:
                async with stream:
                    async for chunk in stream:
                        if (piece := folded.add(chunk)) is not None:
                            yield piece
            finally:
                # Left early or broken off, it has cost something all the same.
                count_usage(self.model, folded.usage)

    def chat_with_tools(
        self,
        tools: Tools,
        user_msg: str | ChatMessage | None = None,
        *,
        chat_history: Sequence[ChatMessage] = (),
        max_iterations: int = MAX_ITERATIONS,
        **kwargs: Any,
    ) -> ChatResponse:
        """Answer with the help of tools, which are called at once; blocks the caller.

        What a tool raises, and arguments that do not fit, go back to the model. An
        agent whose calls can be watched is `stepwell.agents.FunctionAgent`.

        Args:
            tools: `FunctionTool`, or functions, of which they are made.
            user_msg: What is asked.
            chat_history: What was said before.
            max_iterations: How often the model is asked.
            **kwargs: More fields of the request body.

        Raises:
            MaxIterationsError: It still called tools when asked for the last time.
            ModelServerError: The server refused, failed or is not there.
        """
        said = _conversation(chat_history, user_msg)
        return chat_with_tools(self, tools, said, max_iterations, **kwargs)

    async def achat_with_tools(
        self,
        tools: Tools,
        user_msg: str | ChatMessage | None = None,
        *,
        chat_history: Sequence[ChatMessage] = (),
        max_iterations: int = MAX_ITERATIONS,
        **kwargs: Any,
    ) -> ChatResponse:
        """Do as `chat_with_tools`, leaving the event loop free."""
        said = _conversation(chat_history, user_msg)
        return await achat_with_tools(self, tools, said, max_iterations, **kwargs)

    def as_structured_llm(self, output_cls: type[M]) -> StructuredLLM[M]:
        """Return this model with answers of a pydantic class, in their ``raw``."""
        return StructuredLLM(self, output_cls)

    def structured_predict(
        self, output_cls: type[M], prompt: Any, **variables: Any
    ) -> M:
        """Answer a prompt with an object of a pydantic class; blocks the caller.

        Args:
            output_cls: The class.
            prompt: A text, with a place ``{name}`` for each variable.
            **variables: What to put there.

        Raises:
            StructuredOutputError: Two answers in turn were not of that class.
            ModelServerError: The server refused, failed or is not there.
        """
        answer = StructuredLLM(self, output_cls).complete(fill(prompt, variables))
        return answer.raw  # type: ignore[no-any-return]  # of the class, by parse

    async def astructured_predict(
        self, output_cls: type[M], prompt: Any, **variables: Any
    ) -> M:
        """Do as `structured_predict`, leaving the event loop free."""
        llm = StructuredLLM(self, output_cls)
        answer = await llm.acomplete(fill(prompt, variables))
        return answer.raw  # type: ignore[no-any-return]  # of the class, by parse

    def _body(
        self,
        messages: Sequence[ChatMessage],
        kwargs: Mapping[str, Any],
        *,
        streamed: bool = False,
    ) -> dict[str, Any]:
        said = list(messages)
        if self.system_prompt:
            said.insert(0, ChatMessage(role="system", content=self.system_prompt))
        options: dict[str, Any] = {}
        if self.temperature is not None:
            options["temperature"] = self.temperature
        if self.max_tokens is not None:
            options["max_tokens"] = self.max_tokens
        options |= {**self.additional_kwargs, **kwargs}
        return request_body(self.model, said, options, streamed=streamed)

    def _answer(self, raw: Any) -> ChatResponse:
        if (answer := read_answer(raw)) is None:
            url = self.endpoint.server().url
            raise ModelServerError(
                f"{self.model} at {url} answered without any choices. "
                "Is that address an OpenAI-compatible server, with /v1 at its end?",
                model=self.model,
                url=url,
            )
        count_usage(self.model, answer.usage)
        return answer


def _conversation(
    history: Sequence[ChatMessage], said: str | ChatMessage | None
) -> list[ChatMessage]:
    if said is None:
        return list(history)
    message = ChatMessage(content=said) if isinstance(said, str) else said
    return [*history, message]
