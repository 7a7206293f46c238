"""What fake models answer with: shaped like the answers of `stepwell.rag`.

Classes of their own, because the engine's rooms do not know that one; they have
the same names and fields, and nothing the real ones lack.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, TypeVar

__all__ = [
    "ChatMessage",
    "ChatResponse",
    "CompletionResponse",
    "ResponseStream",
    "ToolSelection",
    "Usage",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens one call cost, counted as words."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ToolSelection:
    """A tool that a model wants called, and with what."""

    tool_id: str = ""
    tool_name: str = ""
    tool_kwargs: dict[str, object] = field(default_factory=dict)
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a chat: who speaks, and what is said."""

    role: str = "user"
    content: str = ""
    tool_calls: list[ToolSelection] = field(default_factory=list)
    tool_call_id: str | None = None

    def __str__(self) -> str:
        return f"{self.role}: {self.content}"


@dataclass(frozen=True, slots=True)
class CompletionResponse:
    """Answer to a prompt. `str()` of it is the text."""

    text: str = ""
    delta: str | None = None
    raw: object = field(default=None, repr=False)
    usage: Usage | None = None
    additional_kwargs: dict[str, object] = field(default_factory=dict)
    is_extractive: bool = False

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """Answer to a list of messages. `str()` of it is the answer's text."""

    message: ChatMessage = field(default_factory=lambda: ChatMessage("assistant"))
    delta: str | None = None
    raw: object = field(default=None, repr=False)
    usage: Usage | None = None
    is_extractive: bool = False

    def __str__(self) -> str:
        return self.message.content

    def as_completion(self) -> CompletionResponse:
        """The same answer, as to a prompt."""
        return CompletionResponse(
            text=self.message.content, delta=self.delta, usage=self.usage
        )

    def pieces(self) -> Iterator[ChatResponse]:
        """The answer word by word, as a stream gives it; the last piece is whole."""
        whole = self.message
        words: list[str] = re.findall(r"\s*\S+|\s+$", whole.content) or [""]
        said = ""
        for number, word in enumerate(words, start=1):
            said += word
            if number == len(words):
                yield ChatResponse(whole, delta=word, usage=self.usage)
            else:
                yield ChatResponse(ChatMessage(whole.role, said), delta=word)


class ResponseStream(Generic[T]):
    """Pieces of an answer, to be awaited first or iterated at once. One reader."""

    def __init__(self, pieces: AsyncGenerator[T, None]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[T]:
        return self._pieces

    def __await__(self) -> Generator[None, None, ResponseStream[T]]:
        # No yield is ever reached: it makes this a generator, as `await` needs.
        yield from ()
        return self

    async def __aenter__(self) -> ResponseStream[T]:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop the answer."""
        await self._pieces.aclose()
