"""The answerer that needs no model: it quotes the documents, and says so.

It stands in where no language model is configured. Choosing the sentences is in
`quoting.py`; asking an index is in `answer.py`.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

from .base import ChatMessage, ChatResponse, CompletionResponse
from .errors import NoLLMConfiguredError
from .quoting import Passage, Quote, best_quotes, coverage, passages_of
from .streams import ResponseStream

_OPENING = "No language model is configured; quoting the documents:"
_WEAK = (
    "No language model is configured, and the documents may not answer this; "
    "the closest they come:"
)
_NOTHING = (
    "No language model is configured, and nothing in the documents given matches "
    "this question."
)
_HOW = (
    'Set one with Settings.llm = OpenAI(model="gpt-4o-mini") and OPENAI_API_KEY, or '
    'OpenAI(model="llama3.2", api_base="http://localhost:11434/v1") for Ollama.'
)
_HOW_WITH_KEY = (
    "OPENAI_API_KEY is set, but nothing is sent anywhere until you say so: "
    'Settings.llm = OpenAI(model="gpt-4o-mini").'
)
_NO_CONTEXT = (
    "No language model is configured, and the prompt holds no documents to quote, so "
    "this is not answered. "
)
_WEAK_BELOW = 0.5


class ExtractiveLLM:
    """Answers by quoting the passages in the prompt; `Settings.llm` while unset.

    It has the methods of a language model, and never makes anything up: the
    answer is sentences of the passages, markup removed, each with the number of
    its source. Without passages in the prompt it says what it is and how to
    configure a model. Results have ``is_extractive=True``.

    Args:
        max_passages: Quotes in an answer, at most.
    """

    model = "extractive"

    def __init__(self, max_passages: int = 3) -> None:
        self.max_passages = max_passages

    def __repr__(self) -> str:
        return f"ExtractiveLLM(max_passages={self.max_passages})"

    def answer(self, question: str, passages: Sequence[Passage]) -> CompletionResponse:
        """Answer from passages, which are cited by their position, from 1."""
        quotes = best_quotes(question, passages, self.max_passages)
        return CompletionResponse(
            text=_worded(question, quotes, passages),
            is_extractive=True,
            additional_kwargs={"cited": sorted({q.passage + 1 for q in quotes})},
        )

    def complete(self, prompt: str, **kwargs: Any) -> CompletionResponse:
        """Quote from the context in `prompt` what answers the question in it.

        The question is what follows the last ``Question:``, ``Query:`` or
        ``Q:``, else the last line with a question mark; the rest is context.
        """
        question, context = read_prompt(prompt)
        passages = passages_of(context)
        if not question or not passages:
            return CompletionResponse(
                text=_NO_CONTEXT + _how_to_set_one(), is_extractive=True
            )
        return self.answer(question, passages)

    async def acomplete(self, prompt: str, **kwargs: Any) -> CompletionResponse:
        """Do as `complete`; it takes a few milliseconds."""
        return self.complete(prompt)

    def stream_complete(
        self, prompt: str, **kwargs: Any
    ) -> Iterator[CompletionResponse]:
        """Yield the answer of `complete` line by line."""
        whole = self.complete(prompt)
        text = ""
        for delta in whole.text.splitlines(keepends=True):
            text += delta
            yield whole.model_copy(update={"text": text, "delta": delta})

    def astream_complete(
        self, prompt: str, **kwargs: Any
    ) -> ResponseStream[CompletionResponse]:
        """Yield the answer of `complete` line by line."""

        async def pieces() -> AsyncGenerator[CompletionResponse, None]:
            for piece in self.stream_complete(prompt):
                yield piece

        return ResponseStream(pieces())

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer the last user message, from context in it or before it.

        Raises:
            NoLLMConfiguredError: Tools are passed, which only a model can use.
        """
        if kwargs.get("tools"):
            raise _needs_model("Tools need")
        said = [m.content for m in messages if m.role != "assistant"]
        answer = self.complete("\n\n".join(said))
        return ChatResponse(
            message=ChatMessage(role="assistant", content=answer.text),
            is_extractive=True,
        )

    async def achat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponse:
        """Do as `chat`."""
        return self.chat(messages, **kwargs)

    def stream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> Iterator[ChatResponse]:
        """Yield the answer of `chat` in one piece."""
        answer = self.chat(messages, **kwargs)
        yield answer.model_copy(update={"delta": answer.message.content})

    def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ResponseStream[ChatResponse]:
        """Yield the answer of `chat` in one piece."""

        async def pieces() -> AsyncGenerator[ChatResponse, None]:
            for piece in self.stream_chat(messages, **kwargs):
                yield piece

        return ResponseStream(pieces())

    def chat_with_tools(self, *args: Any, **kwargs: Any) -> ChatResponse:
        """Refuse: tools need a language model.

        Raises:
            NoLLMConfiguredError: Always.
        """
        raise _needs_model("Tools need")

    async def achat_with_tools(self, *args: Any, **kwargs: Any) -> ChatResponse:
        """Refuse, as `chat_with_tools`."""
        raise _needs_model("Tools need")

    def as_structured_llm(self, output_cls: Any) -> Any:
        """Refuse: answers of a class need a language model.

        Raises:
            NoLLMConfiguredError: Always.
        """
        raise _needs_model("Answers of a class need")

    def structured_predict(self, output_cls: Any, prompt: Any, **variables: Any) -> Any:
        """Refuse, as `as_structured_llm`."""
        raise _needs_model("Answers of a class need")

    async def astructured_predict(
        self, output_cls: Any, prompt: Any, **variables: Any
    ) -> Any:
        """Refuse, as `as_structured_llm`."""
        raise _needs_model("Answers of a class need")


def _needs_model(what: str) -> NoLLMConfiguredError:
    return NoLLMConfiguredError(f"{what} a language model. {_how_to_set_one()}")


def _how_to_set_one() -> str:
    return _HOW_WITH_KEY if os.environ.get("OPENAI_API_KEY") else _HOW


_QUESTION = re.compile(r"^[ \t]*(?:question|query|q)[ \t]*:[ \t]*", re.I | re.M)
_CONTEXT = re.compile(
    r"^[ \t]*(?:context(?: information)?|documents?|passages|sources)[ \t]*"
    r"(?:is below)?[ \t]*:[ \t]*$|^[ \t]*context[ \t]*:",
    re.I | re.M,
)


def read_prompt(prompt: str) -> tuple[str, str]:
    """Return the question and the context of a prompt, each "" if it has none."""
    marks = list(_QUESTION.finditer(prompt))
    if marks:
        before = prompt[: marks[-1].start()]
        question, _, after = prompt[marks[-1].end() :].strip().partition("\n\n")
    else:
        lines = prompt.strip().split("\n")
        asking = [i for i, line in enumerate(lines) if line.rstrip().endswith("?")]
        if not asking:
            return "", ""
        question = lines[asking[-1]].strip()
        before = "\n".join(lines[: asking[-1]])
        after = "\n".join(lines[asking[-1] + 1 :])
    for text in (before, after):
        if label := _CONTEXT.search(text):
            return question.strip(), text[label.end() :].strip()
    return question.strip(), before.strip()


def _worded(question: str, quotes: Sequence[Quote], passages: Sequence[Passage]) -> str:
    if not quotes:
        return _NOTHING
    weak = coverage(question, quotes) < _WEAK_BELOW
    parts = [_WEAK if weak else _OPENING]
    for quote in quotes:
        said = f"“{quote.text}” [{quote.passage + 1}]"
        parts.append(f"{said}\n```\n{quote.code}\n```" if quote.code else said)
    cited = dict.fromkeys(sorted(quote.passage for quote in quotes))
    parts.append(
        "\n".join(
            f"[{number + 1}] {passages[number].source or 'the context given'}"
            for number in cited
        )
    )
    return "\n\n".join(parts)
