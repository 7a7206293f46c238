"""Functions that a language model may call: FunctionTool, ToolOutput.

What a function takes is read from its signature and docstring; what a model sends
is validated by pydantic before the function sees it. How a signature is read is in
`parameters.py`; asking a model and running what it calls, in `rounds.py`.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from .base import ChatMessage, ToolSelection
from .errors import InvalidOptionError
from .parameters import read_docstring, schema_of, without_titles

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class ToolOutput(BaseModel):
    """What a tool gave. ``str()`` of it is what the model is told."""

    content: str = ""
    tool_name: str = ""
    tool_id: str = ""
    tool_kwargs: dict[str, Any] = Field(default_factory=dict)
    raw_output: Any = Field(default=None, repr=False, exclude=True)
    """What the function returned; it is not carried across processes."""
    is_error: bool = False
    """True when the tool failed; the content says how."""

    def __str__(self) -> str:
        return self.content

    def as_message(self) -> ChatMessage:
        """Return the message that tells the model."""
        return ChatMessage(role="tool", content=self.content, tool_call_id=self.tool_id)


class FunctionTool:
    """A function that a language model may call. Made by `from_defaults`.

    Attributes:
        name: What the model calls it.
        description: What the model is told about it.
        fn_schema: A pydantic model of its arguments.
        return_direct: Whether its output is the answer, and no model is asked
            again.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        name: str,
        description: str,
        fn_schema: type[BaseModel],
        async_fn: Callable[..., Awaitable[Any]] | None = None,
        return_direct: bool = False,
    ) -> None:
        self.fn = fn
        self.async_fn = async_fn
        self.name = name
        self.description = description
        self.fn_schema = fn_schema
        self.return_direct = return_direct

    @classmethod
    def from_defaults(
        cls,
        fn: Callable[..., Any],
        name: str | None = None,
        description: str | None = None,
        *,
        async_fn: Callable[..., Awaitable[Any]] | None = None,
        return_direct: bool = False,
    ) -> FunctionTool:
        """Make a tool of a function, plain or asynchronous.

        Types and defaults of its parameters tell the model what to send. They are
        described by ``Annotated[int, Field(description="…")]``, or by an ``Args:``
        section in the docstring.

        Args:
            fn: The function.
            name: What the model calls it; the function's name if not given.
            description: What the model is told; the docstring's text if not given.
            async_fn: What to await instead, where an event loop runs.
            return_direct: Take its output for the answer.

        Raises:
            InvalidOptionError: A name that models cannot call, or a parameter that
                cannot be given by name.

        Example:
            >>> def add(a: int, b: int = 1) -> int:
            ...     "Add two numbers."
            ...     return a + b
            >>> tool = FunctionTool.from_defaults(add)
            >>> tool.name, tool.description, tool(a="2")
            ('add', 'Add two numbers.', 3)
        """
        if not callable(fn):
            raise InvalidOptionError(f"A tool is made of a function, not {fn!r}.")
        name = str(name or getattr(fn, "__name__", type(fn).__name__))
        if not _NAME.fullmatch(name):
            raise InvalidOptionError(
                f"A tool may not be called {name!r}: give name= with 1 to 64 letters, "
                "digits, _ or -."
            )
        told, arguments = read_docstring(inspect.getdoc(fn) or "")
        return cls(
            fn,
            name=name,
            description=told if description is None else description,
            fn_schema=schema_of(fn, name, arguments),
            async_fn=async_fn,
            return_direct=return_direct,
        )

    def __repr__(self) -> str:
        return f"FunctionTool({self.name}{inspect.signature(self.fn)})"

    def __call__(self, **kwargs: Any) -> Any:
        """Validate the arguments and return what the function returns."""
        if self.is_async:
            raise InvalidOptionError(
                f"The tool {self.name} is asynchronous; use: await tool.acall(…)"
            )
        return self.fn(**self.validated(kwargs))

    def call(self, **kwargs: Any) -> ToolOutput:
        """Call the function; blocks the caller.

        Raises:
            ValidationError: The arguments do not fit.
            InvalidOptionError: The function is asynchronous.
            Exception: What the function raises.
        """
        return self._output(self(**kwargs), kwargs)

    async def acall(self, **kwargs: Any) -> ToolOutput:
        """Do as `call`, leaving the event loop free: a plain function gets a thread."""
        arguments = self.validated(kwargs)
        if self.async_fn is not None:
            found = await self.async_fn(**arguments)
        elif self.is_async:
            found = await self.fn(**arguments)
        else:
            found = await asyncio.to_thread(self.fn, **arguments)
            if inspect.isawaitable(found):
                found = await found
        return self._output(found, kwargs)

    @property
    def is_async(self) -> bool:
        """Whether the function has to be awaited."""
        fn = self.fn
        return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(
            getattr(fn, "__call__", None)  # noqa: B004  # objects with async __call__
        )

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments as JSON Schema."""
        schema: dict[str, Any] = without_titles(self.fn_schema.model_json_schema())
        schema.setdefault("properties", {})
        return schema

    def to_openai_tool(self) -> dict[str, Any]:
        """Return what a chat request says of the tool."""
        function = {"name": self.name, "parameters": self.parameters}
        if self.description:
            function["description"] = self.description
        return {"type": "function", "function": function}

    def validated(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments as the function's annotations have them.

        Raises:
            ValidationError: They do not fit.
        """
        read = self.fn_schema.model_validate(dict(kwargs))
        # What was not sent is left to the function's own defaults.
        return {
            str(field.alias): getattr(read, key)
            for key, field in self.fn_schema.model_fields.items()
            if key in read.model_fields_set
        }

    def _output(self, found: Any, kwargs: dict[str, Any]) -> ToolOutput:
        return ToolOutput(
            content=_as_text(found),
            tool_name=self.name,
            tool_kwargs=kwargs,
            raw_output=found,
        )


class QueryEngineTool:
    """Makes a tool of a query engine, so that a model may search documents."""

    @staticmethod
    def from_defaults(
        query_engine: Any,
        name: str = "search_documents",
        description: str = "Answers a question from the documents, with sources.",
        *,
        return_direct: bool = False,
    ) -> FunctionTool:
        """Return a tool that takes a question, ``input``.

        Args:
            query_engine: What ``index.as_query_engine()`` gives.
            name: What the model calls it.
            description: What the documents are about.
            return_direct: Take its answer for the answer.
        """

        def ask(input: str) -> str:
            return _cited(query_engine.query(input))

        async def aask(input: str) -> str:
            return _cited(await query_engine.aquery(input))

        return FunctionTool.from_defaults(
            ask, name, description, async_fn=aask, return_direct=return_direct
        )


def as_tools(tools: Iterable[FunctionTool | Callable[..., Any]]) -> list[FunctionTool]:
    """Return tools, made of the functions among them.

    Raises:
        InvalidOptionError: Two have one name.
    """
    made: dict[str, FunctionTool] = {}
    for each in tools:
        tool = each if isinstance(each, FunctionTool) else None
        tool = tool or FunctionTool.from_defaults(each)
        if tool.name in made:
            raise InvalidOptionError(f"Two tools are called {tool.name}; give name=.")
        made[tool.name] = tool
    return list(made.values())


def call_tool(tools: Sequence[FunctionTool], wanted: ToolSelection) -> ToolOutput:
    """Run what a model called; a failure becomes an output that tells the model."""
    try:
        tool, arguments = _chosen(tools, wanted)
        output = tool.call(**arguments)
    except Exception as error:
        output = _failed(wanted, error)
    return _marked(output, wanted)


async def acall_tool(
    tools: Sequence[FunctionTool], wanted: ToolSelection
) -> ToolOutput:
    """Do as `call_tool`, leaving the event loop free."""
    try:
        tool, arguments = _chosen(tools, wanted)
        output = await tool.acall(**arguments)
    except Exception as error:
        output = _failed(wanted, error)
    return _marked(output, wanted)


def _chosen(
    tools: Sequence[FunctionTool], wanted: ToolSelection
) -> tuple[FunctionTool, dict[str, Any]]:
    by_name = {tool.name: tool for tool in tools}
    if (tool := by_name.get(wanted.tool_name)) is None:
        raise LookupError(
            f"There is no tool {wanted.tool_name!r}; there are: {', '.join(by_name)}."
        )
    arguments = wanted.tool_kwargs
    if wanted.arguments and not arguments:
        read = read_arguments(wanted.arguments)
        if read is None:
            raise ValueError(
                f"The arguments are no JSON object: {_short(wanted.arguments)}"
            )
        arguments = read
    return tool, arguments


def read_arguments(text: str) -> dict[str, Any] | None:
    """Return a model's arguments; None where they are no JSON object."""
    try:
        read = json.loads(text) if text.strip() else {}
    except ValueError:
        return None
    return read if isinstance(read, dict) else None


def _failed(wanted: ToolSelection, error: Exception) -> ToolOutput:
    if isinstance(error, ValidationError):
        said = f"Wrong arguments for {wanted.tool_name}: {describe(error)}"
    elif isinstance(error, LookupError | ValueError) and not str(error).strip():
        said = type(error).__name__
    else:
        said = f"{type(error).__name__}: {error}"
    return ToolOutput(
        content=said,
        tool_kwargs=wanted.tool_kwargs,
        raw_output=error,
        is_error=True,
    )


def _marked(output: ToolOutput, wanted: ToolSelection) -> ToolOutput:
    marks = {"tool_name": wanted.tool_name, "tool_id": wanted.tool_id}
    return output.model_copy(update=marks)


def describe(error: ValidationError) -> str:
    """Return what is wrong, field by field, in one line that a model can act on."""
    return "; ".join(
        f"{'.'.join(map(str, each['loc'])) or 'the whole'}: {each['msg']}"
        for each in error.errors(include_url=False)
    )


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"


def _as_text(found: Any) -> str:
    if isinstance(found, str):
        return found
    if isinstance(found, BaseModel) and type(found).__str__ is BaseModel.__str__:
        return found.model_dump_json()
    if isinstance(found, dict | list | tuple | bool | None):
        return json.dumps(found, default=_plain, ensure_ascii=False)
    return str(found)


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def _cited(answer: Any) -> str:
    """An answer with its sources, as far as it does not list them itself."""
    sources = getattr(answer, "source_nodes", ())
    if getattr(answer, "is_extractive", False) or not sources:
        return str(answer)
    lines = [f"[{n}] {node.source}" for n, node in enumerate(sources, start=1)]
    return f"{answer}\n\nSources:\n" + "\n".join(lines)
