"""Agents: language models that call tools, as workflows to watch and to go on with.

`FunctionAgent` is a workflow like any other: it is drawn, watched, recorded, saved
and resumed, and runs inside the steps of others. This file is the face: what stands
in `__all__` is promised.
"""

from stepwell.agents.events import (
    AgentInput,
    AgentOutput,
    AgentStream,
    AgentWorkflowStartEvent,
    ToolCall,
    ToolCallResult,
)
from stepwell.agents.function import FunctionAgent

__all__ = [
    "AgentInput",
    "AgentOutput",
    "AgentStream",
    "AgentWorkflowStartEvent",
    "FunctionAgent",
    "ToolCall",
    "ToolCallResult",
]
