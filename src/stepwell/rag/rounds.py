"""Rounds of asking a language model and running the tools it calls.

They end with an answer that calls none. An agent, whose rounds can be watched and
go on after an interruption, is in `stepwell.agents`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Protocol

from .base import ChatMessage, ChatResponse, ToolSelection
from .errors import InvalidOptionError, MaxIterationsError
from .tools import FunctionTool, ToolOutput, acall_tool, as_tools, call_tool

MAX_ITERATIONS = 8


class Chatting(Protocol):
    """What the rounds need of a language model."""

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        """Answer a conversation, perhaps by calling some of ``tools=``."""
        ...

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        """Do as `chat`."""
        ...


def chat_with_tools(
    llm: Chatting,
    tools: Iterable[FunctionTool | Callable[..., Any]],
    messages: Sequence[ChatMessage],
    max_iterations: int,
    **kwargs: Any,
) -> ChatResponse:
    """Ask, run the tools that are called, tell what they gave, and ask again.

    Tools of one round run in threads, at once.

    Raises:
        MaxIterationsError: The model never came to an answer.
    """
    rounds = _Rounds(llm, tools, messages, max_iterations)
    while True:
        answer = llm.chat(rounds.messages, **rounds.request(kwargs))
        if not (wanted := rounds.calls(answer)):
            return answer  # type: ignore[no-any-return]  # any model's own class
        rounds.told(_call_at_once(rounds.tools, wanted))


async def achat_with_tools(
    llm: Chatting,
    tools: Iterable[FunctionTool | Callable[..., Any]],
    messages: Sequence[ChatMessage],
    max_iterations: int,
    **kwargs: Any,
) -> ChatResponse:
    """Do as `chat_with_tools`, leaving the event loop free."""
    rounds = _Rounds(llm, tools, messages, max_iterations)
    while True:
        answer = await llm.achat(rounds.messages, **rounds.request(kwargs))
        if not (wanted := rounds.calls(answer)):
            return answer  # type: ignore[no-any-return]  # any model's own class
        running = [acall_tool(rounds.tools, each) for each in wanted]
        rounds.told(await asyncio.gather(*running))


class _Rounds:
    """A conversation that goes on until the model calls no more tools."""

    def __init__(
        self,
        llm: Any,
        tools: Iterable[FunctionTool | Callable[..., Any]],
        messages: Sequence[ChatMessage],
        most: int,
    ) -> None:
        if most < 1:
            raise InvalidOptionError(f"max_iterations={most} must be 1 or more.")
        self.tools = as_tools(tools)
        self.messages = list(messages)
        self._model = str(getattr(llm, "model", type(llm).__name__))
        self._most = most
        self._count = 0

    def request(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        # A server may refuse an empty list.
        return {**kwargs, "tools": self.tools} if self.tools else dict(kwargs)

    def calls(self, answer: Any) -> list[ToolSelection]:
        wanted: list[ToolSelection] = list(answer.message.tool_calls)
        self._count += 1
        if wanted and self._count >= self._most:
            names = tuple(each.tool_name for each in wanted)
            raise MaxIterationsError.after(self._count, self._model, names)
        self.messages.append(answer.message)
        return wanted

    def told(self, outputs: Sequence[ToolOutput]) -> None:
        self.messages += [output.as_message() for output in outputs]


def _call_at_once(
    tools: Sequence[FunctionTool], wanted: Sequence[ToolSelection]
) -> list[ToolOutput]:
    if len(wanted) == 1:
        return [call_tool(tools, wanted[0])]
    with ThreadPoolExecutor(len(wanted)) as pool:
        running = [
            # A copy for each: a context cannot be entered twice at once.
            pool.submit(copy_context().run, call_tool, tools, each)
            for each in wanted
        ]
        return [each.result() for each in running]
