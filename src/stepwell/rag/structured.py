"""Answers of a class that was asked for: StructuredLLM.

The server is asked to keep to the class's schema. Many servers accept that and do
not do it, so each answer is validated, and a wrong one is sent back once, with
what is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from .base import ChatMessage, ChatResponse, CompletionResponse, Usage
from .errors import InvalidOptionError, ModelServerError, StructuredOutputError
from .tools import describe

M = TypeVar("M", bound=BaseModel)


class StructuredLLM(Generic[M]):
    """A language model whose answers are of one pydantic class.

    Of a response, ``raw`` is the object and ``text`` its JSON. Made by
    ``llm.as_structured_llm(Model)``, or of any object with ``chat`` or ``achat``.

    Args:
        llm: The model that is asked.
        output_cls: The class of the answers.

    Example:
        >>> from pydantic import BaseModel
        >>> from stepwell.testing import FakeLLM
        >>> class City(BaseModel):
        ...     name: str
        >>> llm = StructuredLLM(FakeLLM('{"name": "Bern"}'), City)
        >>> llm.complete("The capital of Switzerland?").raw
        City(name='Bern')
    """

    def __init__(self, llm: Any, output_cls: type[M]) -> None:
        if not (isinstance(output_cls, type) and issubclass(output_cls, BaseModel)):
            raise InvalidOptionError(
                f"Structured answers need a pydantic model class, not {output_cls!r}."
            )
        self.llm = llm
        self.output_cls = output_cls
        # Some servers refuse to be told a schema; found out at the first request.
        self._tells_schema = True

    @property
    def model(self) -> str:
        """The model's name."""
        return str(getattr(self.llm, "model", type(self.llm).__name__))

    def __repr__(self) -> str:
        return f"StructuredLLM({self.llm!r}, {self.output_cls.__name__})"

    def complete(self, prompt: str, **kwargs: Any) -> CompletionResponse:
        """Answer a prompt; blocks the caller.

        Raises:
            StructuredOutputError: The answer was wrong, and so was the second one.
            ModelServerError: The server refused, failed or is not there.
        """
        return _completion(self.chat([ChatMessage(content=prompt)], **kwargs))

    async def acomplete(self, prompt: str, **kwargs: Any) -> CompletionResponse:
        """Do as `complete`, leaving the event loop free."""
        return _completion(await self.achat([ChatMessage(content=prompt)], **kwargs))

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation; blocks the caller. See `complete`."""
        trial = _Trial(self.output_cls, self.model, messages)
        while True:
            try:
                answer = self.llm.chat(trial.messages, **self._request(kwargs))
            except ModelServerError as error:
                self._ask_in_words(trial, error)
                continue
            if (found := trial.read(answer)) is not None:
                return found

    async def achat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponse:
        """Do as `chat`, leaving the event loop free."""
        trial = _Trial(self.output_cls, self.model, messages)
        while True:
            try:
                answer = await self.llm.achat(trial.messages, **self._request(kwargs))
            except ModelServerError as error:
                self._ask_in_words(trial, error)
                continue
            if (found := trial.read(answer)) is not None:
                return found

    def _request(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        if not self._tells_schema:
            return dict(kwargs)
        return {"response_format": response_format(self.output_cls), **kwargs}

    def _ask_in_words(self, trial: _Trial[M], error: ModelServerError) -> None:
        """Put the schema into the prompt, if the server refused to be told it."""
        if error.status not in {400, 422} or not self._tells_schema:
            raise error
        self._tells_schema = False
        trial.say_schema()


class _Trial(Generic[M]):
    """One question, its first answer, and its second where that was wrong."""

    def __init__(
        self, kind: type[M], model: str, messages: Sequence[ChatMessage]
    ) -> None:
        self._kind = kind
        self._model = model
        self._usage: list[Usage] = []
        self._was_wrong = False
        self.messages = list(messages)

    def say_schema(self) -> None:
        schema = json.dumps(self._kind.model_json_schema(), ensure_ascii=False)
        self.messages.append(
            ChatMessage(content=f"Answer with JSON only, of this schema:\n{schema}")
        )

    def read(self, answer: Any) -> ChatResponse | None:
        """Return the answer as what was asked for; None to ask once more."""
        text = str(answer)
        usage = getattr(answer, "usage", None)
        if usage is not None:
            self._usage.append(Usage.model_validate(usage, from_attributes=True))
        try:
            found = parse(self._kind, text)
        except ValidationError as error:
            wrong = describe(error)
            if self._was_wrong:
                raise StructuredOutputError(
                    f"{self._model} was to answer with a {self._kind.__name__} and "
                    f"twice did not: {_flat(wrong)}. It said: {_flat(text)}",
                    raw=text,
                    model=self._model,
                ) from error
            self._was_wrong = True
            self.messages += [
                ChatMessage(role="assistant", content=text),
                ChatMessage(content=f"That is not what was asked for: {wrong}."),
            ]
            self.say_schema()
            return None
        return ChatResponse(
            message=ChatMessage(role="assistant", content=found.model_dump_json()),
            raw=found,
            usage=_sum(self._usage),
        )


def parse(kind: type[M], text: str) -> M:
    """Read a model's answer, with or without a fence or words around its JSON.

    Raises:
        ValidationError: It holds no JSON, or not of that class.
    """
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        for part in _json_parts(text):
            try:
                return kind.model_validate_json(part)
            except ValidationError:
                continue
        raise error


_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)```", re.S | re.I)


def _json_parts(text: str) -> list[str]:
    parts = _FENCE.findall(text)
    start, end = text.find("{"), text.rfind("}")
    return [*parts, text[start : end + 1]] if 0 <= start < end else parts


def response_format(kind: type[BaseModel]) -> dict[str, Any]:
    """Return what a chat request says to get answers of a class."""
    schema = kind.model_json_schema()
    strict = _is_closed(schema)
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", kind.__name__)[:64]
    return {
        "type": "json_schema",
        "json_schema": {
            "name": name,
            "schema": _strict(schema) if strict else schema,
            "strict": strict,
        },
    }


def _is_closed(schema: Any) -> bool:
    """Whether every object in a schema names its fields, as strict servers demand."""
    if isinstance(schema, list):
        return all(_is_closed(each) for each in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("additionalProperties") not in (None, False):
        return False
    if schema.get("type") == "object" and "properties" not in schema:
        return False
    return all(_is_closed(each) for each in schema.values())


def _strict(schema: Any) -> Any:
    """Return a schema as OpenAI's strict mode wants it.

    All fields are required, none may be added, defaults are gone, and nothing
    stands beside a reference.
    """
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema and len(schema) > 1:
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return {"anyOf": [{"$ref": schema["$ref"]}], **_strict(beside)}
    made = {
        key: {name: _strict(each) for name, each in value.items()}
        if key in ("properties", "$defs") and isinstance(value, dict)
        else value
        if key in ("enum", "const", "required")
        else _strict(value)
        for key, value in schema.items()
        if key != "default"
    }
    if schema.get("type") == "object":
        made["additionalProperties"] = False
        made["required"] = list(schema.get("properties", {}))
    return made


def fill(prompt: Any, variables: Mapping[str, Any]) -> str:
    """Return a prompt with its ``{variables}`` filled in; other braces stay.

    Args:
        prompt: A text, or a template object with its text in ``template``.
        variables: By name; each must stand in the text.

    Raises:
        InvalidOptionError: One does not.
    """
    text = str(getattr(prompt, "template", prompt))
    if missing := [name for name in variables if f"{{{name}}}" not in text]:
        places = ", ".join(f"{{{name}}}" for name in missing)
        raise InvalidOptionError(f"The prompt has no place for {places}.")
    if not variables:
        return text
    names = "|".join(re.escape(name) for name in variables)
    # In one pass: a value may hold what looks like a place.
    return re.sub(rf"\{{({names})\}}", lambda found: str(variables[found[1]]), text)


def _sum(parts: Sequence[Usage]) -> Usage | None:
    if not parts:
        return None
    return Usage(
        prompt_tokens=sum(each.prompt_tokens for each in parts),
        completion_tokens=sum(each.completion_tokens for each in parts),
        total_tokens=sum(each.total_tokens for each in parts),
    )


def _flat(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 200 else f"{flat[:200]}…"


def _completion(answer: ChatResponse) -> CompletionResponse:
    return CompletionResponse(
        text=answer.message.content, raw=answer.raw, usage=answer.usage
    )
