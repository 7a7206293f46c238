"""The events of an agent, which steps pass on and readers of its stream see.

Names and fields are those of LlamaIndex's agents, where those have them.
"""

from __future__ import annotations

import reprlib
from html import escape
from typing import Any

from pydantic import Field

from stepwell import Event, StartEvent, StopEvent
from stepwell.rag import ChatMessage, ToolOutput

__all__ = [
    "AgentInput",
    "AgentOutput",
    "AgentStream",
    "AgentWorkflowStartEvent",
    "ToolCall",
    "ToolCallResult",
]


class AgentWorkflowStartEvent(StartEvent):
    """What an agent is asked."""

    user_msg: str | ChatMessage | None = None
    """The question, or the task."""
    chat_history: list[ChatMessage] | None = None
    """What was said before; what this context remembers, if not given."""
    max_iterations: int | None = None
    """How often the model is asked in this run; the agent's own, if not given."""


class AgentInput(Event):
    """The conversation as the model is to answer it."""

    input: list[ChatMessage]
    current_agent_name: str = ""


class AgentStream(Event):
    """A piece of what the model says, as it says it."""

    delta: str
    current_agent_name: str = ""


class ToolCall(Event):
    """A tool that the model wants called."""

    tool_name: str
    tool_kwargs: dict[str, Any] = Field(default_factory=dict)
    tool_id: str = ""
    arguments: str = ""
    """The arguments as the model wrote them, which may be no valid JSON."""

    def __repr__(self) -> str:
        """The call as code: `ToolCall(add(a=2, b=3))`."""
        return f"ToolCall({_as_code(self)})"


class ToolCallResult(Event):
    """What a tool gave, or how it failed: see `tool_output.is_error`."""

    tool_name: str
    tool_kwargs: dict[str, Any] = Field(default_factory=dict)
    tool_id: str = ""
    tool_output: ToolOutput
    return_direct: bool = False

    def __repr__(self) -> str:
        """The call as code, and what came of it."""
        gave = "failed: " if self.tool_output.is_error else ""
        said = reprlib.repr(self.tool_output.content)
        return f"ToolCallResult({_as_code(self)} → {gave}{said})"


class AgentOutput(StopEvent):
    """What the agent answers. ``str()`` of it is the answer."""

    response: ChatMessage = Field(default_factory=lambda: ChatMessage(role="assistant"))
    current_agent_name: str = ""
    tool_calls: list[ToolCallResult] = Field(default_factory=list)
    """Every tool that was called on the way, in order, with what it gave."""

    def __str__(self) -> str:
        """The answer's text."""
        return self.response.content

    def __repr__(self) -> str:
        """The answer's beginning, and how many tools were called."""
        count = len(self.tool_calls)
        tools = f", {count} tool call{'' if count == 1 else 's'}" if count else ""
        return f"AgentOutput({_brief.repr(self.response.content)}{tools})"

    def _repr_html_(self) -> str:
        """The answer, and below it the tools that were called on the way."""
        text = (
            f'<div style="white-space:pre-wrap">{escape(self.response.content)}</div>'
        )
        if not self.tool_calls:
            return f"{_STYLE}{text}</div>"
        rows = "".join(
            f'<li style="margin:2px 0"><code>{escape(_as_code(each))}</code>'
            f"{_FAILED if each.tool_output.is_error else ' → '}"
            f"{escape(_shortened(each.tool_output.content))}</li>"
            for each in self.tool_calls
        )
        count = len(self.tool_calls)
        return (
            f'{_STYLE}{text}<details style="margin-top:6px"><summary '
            f'style="cursor:pointer;opacity:.75">{count} tool '
            f"call{'' if count == 1 else 's'}</summary>"
            f'<ol style="margin:4px 0;padding-left:2em">{rows}</ol></details></div>'
        )


# Colours are those of the page it stands on.
_STYLE = (
    '<div class="tex2jax_ignore mathjax_ignore" '
    'style="font:13px/1.5 var(--jp-ui-font-family,system-ui,sans-serif);'
    'max-width:60em;overflow-wrap:anywhere">'
)
_FAILED = ' → <span style="color:#e5484d;font-weight:600">failed</span>: '
_brief = reprlib.Repr()
_brief.maxstring = 80


def _as_code(call: ToolCall | ToolCallResult) -> str:
    """The call of a tool, as one would write it."""
    given = ", ".join(f"{key}={reprlib.repr(v)}" for key, v in call.tool_kwargs.items())
    return f"{call.tool_name}({given})"


def _shortened(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 300 else f"{flat[:300]}…"
