"""What people need to test their workflows: a runner, a clock, scripted parts.

`WorkflowTestRunner` runs a workflow and keeps what it published, `VirtualClock`
spares it the waiting, `ScriptedExecutor` decides what its steps do, `FakeLLM` and
`FakeEmbedding` stand in for models. Nothing here is imported by the engine.
"""

from stepwell.testing.clock import VirtualClock
from stepwell.testing.embedding import FakeEmbedding
from stepwell.testing.executor import Held, PerformedCall, ScriptedExecutor
from stepwell.testing.llm import FakeLLM
from stepwell.testing.runner import WorkflowTestResult, WorkflowTestRunner
from stepwell.testing.script import ScriptError

__all__ = [
    "FakeEmbedding",
    "FakeLLM",
    "Held",
    "PerformedCall",
    "ScriptError",
    "ScriptedExecutor",
    "VirtualClock",
    "WorkflowTestResult",
    "WorkflowTestRunner",
]
