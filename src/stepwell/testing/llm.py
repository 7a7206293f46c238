"""A language model that needs no key and no network: FakeLLM.

It has the methods of the models in `stepwell.rag` and goes wherever those go; this
room does not import that one. What it answers with is in `responses`.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel

from stepwell.context import Context
from stepwell.errors import WorkflowRuntimeError
from stepwell.testing.responses import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    ResponseStream,
    ToolSelection,
    Usage,
)
from stepwell.testing.script import Script, ScriptError, is_error

__all__ = ["FakeLLM", "Message"]

M = TypeVar("M", bound=BaseModel)
_Said = str | ToolSelection | Sequence[ToolSelection]
_Answer = _Said | BaseException | type[BaseException] | Callable[[str], _Said]
_Answers = _Answer | Sequence[_Answer]
# Keys are `str` or patterns; a mapping is invariant in them, so that naming both
# would refuse one that holds only the one kind.
_Rules = Mapping[Any, _Answers]


class Message(Protocol):
    """What a fake model reads of a message."""

    @property
    def role(self) -> str:
        """Who speaks."""
        ...

    @property
    def content(self) -> str:
        """What is said."""
        ...


class FakeLLM:
    """A language model that answers what a test, or a tutorial, tells it to.

    An answer is a text, a tool to call (`FakeLLM.calls`, or a list of several), an
    exception to raise, or a function of the prompt that gives one of these. A list is
    taken one answer a call; a single one answers every call. A mapping holds rules:
    the first key found in the prompt decides, a `str` as it stands, a compiled
    pattern by its `search`. Without answers the prompt comes back.

    The prompt of a chat is its last message. `prompts` lists the prompts in order,
    `conversations` the messages of each call. Words are counted as tokens, in the
    run's record and by `stepwell.rag.track_usage`. May be used from several threads.

    Args:
        answers: As told above.
        delay: Seconds before an answer and before each piece of a stream; of the
            asynchronous methods only, which wait with `asyncio.sleep`.
        model: What it says its name is.

    Raises:
        ScriptError: When called: the list has run out, no rule fits, or an answer is
            none.

    Example:
        >>> llm = FakeLLM({"capital": "Paris.", "": "I do not know."})
        >>> str(llm.complete("What is the capital of France?"))
        'Paris.'
        >>> [piece.delta for piece in llm.stream_complete("And now?")]
        ['I', ' do', ' not', ' know.']
        >>> llm.prompts
        ['What is the capital of France?', 'And now?']
    """

    def __init__(
        self,
        answers: _Answers | _Rules | None = None,
        *,
        delay: float = 0.0,
        model: str = "fake",
    ) -> None:
        self.model = model
        self.delay = delay
        self.prompts: list[str] = []
        self.conversations: list[list[Message]] = []
        self._numbers = itertools.count(1)
        if answers is None:
            answers = _same
        rules = answers if isinstance(answers, Mapping) else {"": answers}
        self._rules = [
            (key, Script(each, f"FakeLLM on {_shown(key)}" if key else "FakeLLM"))
            for key, each in rules.items()
        ]

    def __repr__(self) -> str:
        return f"FakeLLM(model={self.model!r}, {len(self.prompts)} calls)"

    @staticmethod
    def calls(tool_name: str, /, **tool_kwargs: Any) -> ToolSelection:
        """An answer that calls a tool, with these arguments."""
        return ToolSelection(tool_name=tool_name, tool_kwargs=tool_kwargs)

    def complete(self, prompt: str, **kwargs: Any) -> CompletionResponse:
        """Answer a prompt; further arguments are ignored."""
        return self.chat([ChatMessage(content=prompt)]).as_completion()

    async def acomplete(self, prompt: str, **kwargs: Any) -> CompletionResponse:
        """Do as `complete`, after `delay` seconds."""
        return (await self.achat([ChatMessage(content=prompt)])).as_completion()

    def chat(self, messages: Sequence[Message], **kwargs: Any) -> ChatResponse:
        """Answer a conversation; further arguments are ignored."""
        prompt = messages[-1].content
        self.prompts.append(prompt)
        self.conversations.append(list(messages))
        message = self._message(prompt)
        asked = sum(len(message.content.split()) for message in messages)
        said = len(message.content.split())
        usage = Usage(asked, said, asked + said)
        _count(self.model, usage)
        return ChatResponse(message, usage=usage)

    async def achat(self, messages: Sequence[Message], **kwargs: Any) -> ChatResponse:
        """Do as `chat`, after `delay` seconds."""
        answer = self.chat(messages)  # answers are dealt in the order of the calls
        await asyncio.sleep(self.delay)
        return answer

    def stream_complete(
        self, prompt: str, **kwargs: Any
    ) -> Iterator[CompletionResponse]:
        """Yield the answer to a prompt word by word; the last piece has `usage`."""
        for piece in self.stream_chat([ChatMessage(content=prompt)]):
            yield piece.as_completion()

    def astream_complete(
        self, prompt: str, **kwargs: Any
    ) -> ResponseStream[CompletionResponse]:
        """Do as `stream_complete`; for `async for`, awaited before or not."""

        async def pieces() -> AsyncGenerator[CompletionResponse, None]:
            async for piece in self._astream([ChatMessage(content=prompt)]):
                yield piece.as_completion()

        return ResponseStream(pieces())

    def stream_chat(
        self, messages: Sequence[Message], **kwargs: Any
    ) -> Iterator[ChatResponse]:
        """Yield the answer to a conversation word by word."""
        yield from self.chat(messages).pieces()

    def astream_chat(
        self, messages: Sequence[Message], **kwargs: Any
    ) -> ResponseStream[ChatResponse]:
        """Do as `stream_chat`; for `async for`, awaited before or not."""
        return ResponseStream(self._astream(messages))

    async def _astream(
        self, messages: Sequence[Message]
    ) -> AsyncGenerator[ChatResponse, None]:
        for piece in self.chat(messages).pieces():
            await asyncio.sleep(self.delay)
            yield piece

    def structured_predict(
        self, output_cls: type[M], prompt: str, **variables: Any
    ) -> M:
        """Answer a prompt with an object, for which the answer is the JSON."""
        for name, value in variables.items():
            prompt = prompt.replace(f"{{{name}}}", str(value))
        return output_cls.model_validate_json(self.complete(prompt).text)

    async def astructured_predict(
        self, output_cls: type[M], prompt: str, **variables: Any
    ) -> M:
        """Do as `structured_predict`, after `delay` seconds."""
        found = self.structured_predict(output_cls, prompt, **variables)
        await asyncio.sleep(self.delay)
        return found

    def _message(self, prompt: str) -> ChatMessage:
        answer = self._answer(prompt)
        if isinstance(answer, str):
            return ChatMessage("assistant", answer)
        calls = [answer] if isinstance(answer, ToolSelection) else answer
        if (
            not isinstance(calls, list | tuple)
            or not calls
            or not all(isinstance(each, ToolSelection) for each in calls)
        ):
            raise ScriptError(
                f"an answer of FakeLLM is a text, not {type(answer).__name__}.",
                hint="Give a str, FakeLLM.calls(…) or a list of them, an exception to "
                "raise, or a function of the prompt.",
            )
        numbered = [
            replace(each, tool_id=each.tool_id or f"call_{next(self._numbers)}")
            for each in calls
        ]
        return ChatMessage("assistant", tool_calls=numbered)

    def _answer(self, prompt: str) -> object:
        for key, script in self._rules:
            if key in prompt if isinstance(key, str) else key.search(prompt):
                answer = script.answer(f"the prompt {_shown(prompt)}")
                break
        else:
            keys = ", ".join(_shown(key) for key, _ in self._rules)
            raise ScriptError(
                f"no rule of FakeLLM fits the prompt {_shown(prompt)}.",
                hint=f"There are rules for {keys}; a last one for '' fits all.",
            )
        if is_error(answer):
            raise answer
        return answer(prompt) if callable(answer) else answer


def _count(model: str, usage: Usage) -> None:
    """Count words as tokens, for the step that asked and whoever tracks usage."""
    # The RAG rooms count both, where they are in use; this room does not load them.
    rooms = sys.modules.get("stepwell.rag.usage")
    if rooms is not None:
        rooms.count_usage(model, usage)
        return
    try:
        step = Context.get_step_context()
    except WorkflowRuntimeError:
        return
    step.count(
        prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens
    )


def _same(prompt: str) -> str:
    return prompt


def _shown(text: str | re.Pattern[str]) -> str:
    whole = text if isinstance(text, str) else text.pattern
    return repr(whole if len(whole) <= 60 else f"{whole[:59]}…")
