"""Event-driven workflows that live in a notebook.

Steps are `async` functions that take an event and return an event; stepwell
routes the events. The names below are the promised ones; each is also
importable from the room it lives in. RAG parts are in `stepwell.rag`, agents in
`stepwell.agents`, what the notebook shows in `stepwell.notebook`.
"""

import sys as _sys
from typing import Any as _Any

from stepwell.collect import All, Cardinality, Collect, Take
from stepwell.context import Context
from stepwell.drawing import draw_with as _draw_with
from stepwell.errors import (
    ContextSerdeError,
    ContextStateError,
    JournalUnavailable,
    MissingExtraError,
    NoRunningLoopError,
    StepTimeoutError,
    StepwellError,
    WorkflowCancelledByUser,
    WorkflowConfigurationError,
    WorkflowRuntimeError,
    WorkflowStalledError,
    WorkflowStepDoesNotExistError,
    WorkflowTimeoutError,
    WorkflowValidationError,
)
from stepwell.events import (
    Event,
    EventType,
    HumanResponseEvent,
    InputRequiredEvent,
    InternalDispatchEvent,
    StartEvent,
    StepFailedEvent,
    StepOutput,
    StepProgress,
    StepState,
    StepStateChanged,
    StopEvent,
    UnhandledEvent,
    WorkflowCancelledEvent,
    WorkflowFailedEvent,
    WorkflowIdleEvent,
    WorkflowTimedOutEvent,
)
from stepwell.executors import Executor, LocalExecutor
from stepwell.handler import WorkflowHandler, present_with
from stepwell.journals import Fact, Journal, MemoryJournal
from stepwell.progress import tqdm
from stepwell.questions import Question
from stepwell.record import RunRecord
from stepwell.resources import (
    Resource,
    ResourceConfig,
    ResourceCycleError,
    ResourceDefinition,
    ResourceDescriptor,
    ResourceError,
    ResourceFileNotFoundError,
    ResourceManager,
)
from stepwell.retry import (
    ConstantDelayRetryPolicy,
    ExponentialBackoffRetryPolicy,
    RetryCondition,
    RetryInfo,
    RetryPolicy,
    StopCondition,
    WaitStrategy,
    retry_all,
    retry_always,
    retry_any,
    retry_if_exception,
    retry_if_exception_cause_type,
    retry_if_exception_message,
    retry_if_exception_type,
    retry_if_not_exception_message,
    retry_if_not_exception_type,
    retry_never,
    retry_policy,
    retry_unless_exception_type,
    stop_after_attempt,
    stop_after_delay,
    stop_all,
    stop_any,
    stop_before_delay,
    stop_never,
    wait_chain,
    wait_combine,
    wait_exponential,
    wait_exponential_jitter,
    wait_fixed,
    wait_full_jitter,
    wait_incrementing,
    wait_none,
    wait_random,
    wait_random_exponential,
)
from stepwell.rows import CallRecord
from stepwell.serializers import (
    BaseSerializer,
    JsonPickleSerializer,
    JsonSerializer,
    PickleSerializer,
    UnreconstructedException,
    ValueSerdeError,
)
from stepwell.steps import catch_error, step
from stepwell.store import DictState, InMemoryStateStore
from stepwell.workflow import Workflow

__version__ = "0.1.0"

__all__ = [
    "All",
    "BaseSerializer",
    "CallRecord",
    "Cardinality",
    "Collect",
    "Comparison",
    "ConstantDelayRetryPolicy",
    "Context",
    "ContextSerdeError",
    "ContextStateError",
    "DictState",
    "Event",
    "EventType",
    "Executor",
    "ExponentialBackoffRetryPolicy",
    "Fact",
    "HumanResponseEvent",
    "InMemoryStateStore",
    "InputRequiredEvent",
    "InternalDispatchEvent",
    "Journal",
    "JournalUnavailable",
    "JsonPickleSerializer",
    "JsonSerializer",
    "LocalExecutor",
    "MemoryJournal",
    "MissingExtraError",
    "NoRunningLoopError",
    "PickleSerializer",
    "Question",
    "Resource",
    "ResourceConfig",
    "ResourceCycleError",
    "ResourceDefinition",
    "ResourceDescriptor",
    "ResourceError",
    "ResourceFileNotFoundError",
    "ResourceManager",
    "RetryCondition",
    "RetryInfo",
    "RetryPolicy",
    "RunRecord",
    "StartEvent",
    "StepFailedEvent",
    "StepOutput",
    "StepProgress",
    "StepState",
    "StepStateChanged",
    "StepTimeoutError",
    "StepwellError",
    "StopCondition",
    "StopEvent",
    "Take",
    "UnhandledEvent",
    "UnreconstructedException",
    "ValueSerdeError",
    "WaitStrategy",
    "Workflow",
    "WorkflowCancelledByUser",
    "WorkflowCancelledEvent",
    "WorkflowConfigurationError",
    "WorkflowEventNode",
    "WorkflowExternalNode",
    "WorkflowFailedEvent",
    "WorkflowGenericNode",
    "WorkflowGraph",
    "WorkflowGraphEdge",
    "WorkflowGraphNode",
    "WorkflowHandler",
    "WorkflowIdleEvent",
    "WorkflowNodeBase",
    "WorkflowResourceConfigNode",
    "WorkflowResourceNode",
    "WorkflowRuntimeError",
    "WorkflowStalledError",
    "WorkflowStepDoesNotExistError",
    "WorkflowStepNode",
    "WorkflowTestResult",
    "WorkflowTestRunner",
    "WorkflowTimedOutEvent",
    "WorkflowTimeoutError",
    "WorkflowValidationError",
    "catch_error",
    "compare",
    "get_workflow_representation",
    "load_ipython_extension",
    "present_with",
    "retry_all",
    "retry_always",
    "retry_any",
    "retry_if_exception",
    "retry_if_exception_cause_type",
    "retry_if_exception_message",
    "retry_if_exception_type",
    "retry_if_not_exception_message",
    "retry_if_not_exception_type",
    "retry_never",
    "retry_policy",
    "retry_unless_exception_type",
    "step",
    "stop_after_attempt",
    "stop_after_delay",
    "stop_all",
    "stop_any",
    "stop_before_delay",
    "stop_never",
    "tqdm",
    "unload_ipython_extension",
    "wait_chain",
    "wait_combine",
    "wait_exponential",
    "wait_exponential_jitter",
    "wait_fixed",
    "wait_full_jitter",
    "wait_incrementing",
    "wait_none",
    "wait_random",
    "wait_random_exponential",
]


# What only drawing, comparing and testing need, by the room it is in.
_LATE = {
    "Comparison": "comparison",
    "WorkflowEventNode": "representation",
    "WorkflowExternalNode": "representation",
    "WorkflowGenericNode": "representation",
    "WorkflowGraph": "representation",
    "WorkflowGraphEdge": "representation",
    "WorkflowGraphNode": "representation",
    "WorkflowNodeBase": "representation",
    "WorkflowResourceConfigNode": "representation",
    "WorkflowResourceNode": "representation",
    "WorkflowStepNode": "representation",
    "WorkflowTestResult": "testing",
    "WorkflowTestRunner": "testing",
    "compare": "comparison",
    "get_workflow_representation": "representation",
}


def __getattr__(name: str) -> _Any:
    """Load what few programs need when it is first asked for."""
    if _LATE.get(name) == "representation":
        from stepwell import representation

        return getattr(representation, name)
    if _LATE.get(name) == "comparison":
        from stepwell import comparison

        return getattr(comparison, name)
    if name in _LATE:
        from stepwell import testing

        return getattr(testing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_ipython_extension(ipython: _Any) -> None:
    """Answer `%load_ext stepwell`: the magics, beside the displays."""
    from stepwell import notebook

    notebook.load(ipython)


def unload_ipython_extension(ipython: _Any) -> None:
    """Answer `%unload_ext stepwell`: take back what loading did."""
    from stepwell import notebook

    notebook.unload(ipython)


def _draw(
    workflow: _Any, format: str | None, *, path: _Any = None, resources: bool = False
) -> str | bytes:
    """Draw a workflow; what draws is loaded when something is first drawn."""
    from stepwell import notebook

    return notebook.draw(workflow, format, path=path, resources=resources)


_draw_with(_draw)


def _greet_ipython() -> None:
    """Show workflows and runs in the notebook that imports the package."""
    ipython = _sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None:
        from stepwell import notebook

        notebook.install(shell)


_greet_ipython()
