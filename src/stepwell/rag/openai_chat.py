"""Requests and answers of OpenAI's chat API, as plain data: what is sent, what came.

Knows the shape of both and imports no vendor. Who sends them is in
`openai_llm.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .base import ChatMessage, ChatResponse, CompletionResponse, ToolSelection, Usage
from .errors import ModelServerError
from .tools import FunctionTool, read_arguments


def message_body(message: ChatMessage) -> dict[str, Any]:
    """Return a message as the API takes it."""
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        body["content"] = message.content or None
        body["tool_calls"] = [
            {
                "id": each.tool_id,
                "type": "function",
                "function": {
                    "name": each.tool_name,
                    "arguments": each.arguments or json.dumps(each.tool_kwargs),
                },
            }
            for each in message.tool_calls
        ]
    return body


def request_body(
    model: str,
    messages: Sequence[ChatMessage],
    options: Mapping[str, Any],
    *,
    streamed: bool = False,
) -> dict[str, Any]:
    """Return a chat request.

    Args:
        model: The model's name.
        messages: The conversation.
        options: More fields; ``tools`` may hold `FunctionTool`.
        streamed: Ask for a stream, with the usage at its end.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": [message_body(each) for each in messages],
        **options,
    }
    if tools := body.get("tools"):
        body["tools"] = [
            each.to_openai_tool() if isinstance(each, FunctionTool) else each
            for each in tools
        ]
    if streamed:
        body["stream"] = True
        body.setdefault("stream_options", {"include_usage": True})
    return body


def read_answer(raw: Any) -> ChatResponse | None:
    """Return what a server answered; None where it is no chat answer."""
    if not (choices := getattr(raw, "choices", None)):
        return None
    said = choices[0].message
    return ChatResponse(
        message=ChatMessage(
            role="assistant",
            content=said.content or getattr(said, "refusal", None) or "",
            tool_calls=[
                selection(each.id, each.function.name, each.function.arguments)
                for each in said.tool_calls or ()
                # Others than functions are not what this room offers.
                if getattr(each, "function", None) is not None
            ],
        ),
        raw=raw,
        usage=read_usage(raw),
    )


def selection(
    id_: str | None, name: str | None, arguments: str | None
) -> ToolSelection:
    """Return a tool call as a model wrote it."""
    return ToolSelection(
        tool_id=id_ or "",
        tool_name=name or "",
        tool_kwargs=read_arguments(arguments or "") or {},
        arguments=arguments or "",
    )


def read_usage(raw: Any) -> Usage | None:
    """Return the tokens an answer or a chunk tells; None where it tells none."""
    if (told := getattr(raw, "usage", None)) is None:
        return None
    return Usage(
        prompt_tokens=told.prompt_tokens or 0,
        completion_tokens=getattr(told, "completion_tokens", 0) or 0,
        total_tokens=told.total_tokens or 0,
    )


class Folded:
    """Chunks of a stream folded into pieces of an answer."""

    def __init__(self) -> None:
        self.text = ""
        self.usage: Usage | None = None
        self._calls: dict[int, dict[str, str]] = {}

    def partial(self) -> str | None:
        """Return what has come so far, if anything has."""
        return self.text or None

    def add(self, chunk: Any) -> ChatResponse | None:
        """Take a chunk; returns a piece unless there is nothing in it to show."""
        usage = read_usage(chunk)
        self.usage = usage or self.usage
        # The chunk that carries the usage has no choices at all.
        delta = chunk.choices[0].delta if chunk.choices else None
        text = (getattr(delta, "content", None) or "") if delta else ""
        calls = (getattr(delta, "tool_calls", None) or ()) if delta else ()
        for call in calls:
            self._take_call(call)
        if not text and usage is None and not calls:
            return None
        self.text += text
        return ChatResponse(
            message=ChatMessage(
                role="assistant", content=self.text, tool_calls=self.tool_calls
            ),
            delta=text,
            raw=chunk,
            usage=usage,
        )

    @property
    def tool_calls(self) -> list[ToolSelection]:
        """The tools called so far; the last one's arguments may be incomplete."""
        return [
            selection(call["id"], call["name"], call["arguments"])
            for _, call in sorted(self._calls.items())
        ]

    def _take_call(self, part: Any) -> None:
        index = getattr(part, "index", None)
        if index is None:
            # Some servers leave it out: whole calls then, or more of the last one.
            index = len(self._calls) - (0 if part.id or not self._calls else 1)
        call = self._calls.setdefault(index, {"id": "", "name": "", "arguments": ""})
        # Some servers say id and name again with each piece of the arguments.
        call["id"] = part.id or call["id"]
        if (function := part.function) is not None:
            call["name"] = function.name or call["name"]
            call["arguments"] += function.arguments or ""


def without_count(body: dict[str, Any], error: ModelServerError) -> dict[str, Any]:
    """Return a request without asking for usage, if that may be what is wrong.

    Some servers refuse to count while streaming.
    """
    if error.status not in {400, 422} or "stream_options" not in body:
        raise error
    return {key: value for key, value in body.items() if key != "stream_options"}


def as_completion(answer: ChatResponse) -> CompletionResponse:
    """Return the answer to a conversation as one to a prompt."""
    return CompletionResponse(
        text=answer.message.content,
        delta=answer.delta,
        raw=answer.raw,
        usage=answer.usage,
    )
