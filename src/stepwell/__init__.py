"""Event-driven workflows that live in a notebook.

Steps are `async` functions that take an event and return an event; stepwell
routes the events. The names below are the promised ones; each is also
importable from the room it lives in. RAG parts are in `stepwell.rag`, what the
notebook shows in `stepwell.notebook`.
"""

import sys as _sys
from typing import Any as _Any

from stepwell.context import Context
from stepwell.errors import (
    ContextSerdeError,
    ContextStateError,
    JournalUnavailable,
    MissingExtraError,
    NoRunningLoopError,
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
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
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
from stepwell.record import CallRecord, RunRecord
from stepwell.retry import (
    ConstantDelayRetryPolicy,
    ExponentialBackoffRetryPolicy,
    RetryCondition,
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
    wait_incrementing,
    wait_none,
    wait_random,
    wait_random_exponential,
)
from stepwell.steps import step
from stepwell.store import DictState, InMemoryStateStore
from stepwell.workflow import Workflow

__version__ = "0.1.0"

__all__ = [
    "CallRecord",
    "ConstantDelayRetryPolicy",
    "Context",
    "ContextSerdeError",
    "ContextStateError",
    "DictState",
    "Event",
    "Executor",
    "ExponentialBackoffRetryPolicy",
    "Fact",
    "HumanResponseEvent",
    "InMemoryStateStore",
    "InputRequiredEvent",
    "Journal",
    "JournalUnavailable",
    "LocalExecutor",
    "MemoryJournal",
    "MissingExtraError",
    "NoRunningLoopError",
    "RetryCondition",
    "RetryPolicy",
    "RunRecord",
    "StartEvent",
    "StepState",
    "StepStateChanged",
    "StepwellError",
    "StopCondition",
    "StopEvent",
    "UnhandledEvent",
    "WaitStrategy",
    "Workflow",
    "WorkflowCancelledByUser",
    "WorkflowCancelledEvent",
    "WorkflowConfigurationError",
    "WorkflowEventNode",
    "WorkflowExternalNode",
    "WorkflowFailedEvent",
    "WorkflowGraph",
    "WorkflowGraphEdge",
    "WorkflowHandler",
    "WorkflowIdleEvent",
    "WorkflowRuntimeError",
    "WorkflowStalledError",
    "WorkflowStepDoesNotExistError",
    "WorkflowStepNode",
    "WorkflowTimedOutEvent",
    "WorkflowTimeoutError",
    "WorkflowValidationError",
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
    "step",
    "stop_after_attempt",
    "stop_after_delay",
    "stop_all",
    "stop_any",
    "stop_before_delay",
    "stop_never",
    "unload_ipython_extension",
    "wait_chain",
    "wait_combine",
    "wait_exponential",
    "wait_exponential_jitter",
    "wait_fixed",
    "wait_incrementing",
    "wait_none",
    "wait_random",
    "wait_random_exponential",
]


_LATE = {
    "WorkflowEventNode",
    "WorkflowExternalNode",
    "WorkflowGraph",
    "WorkflowGraphEdge",
    "WorkflowStepNode",
    "get_workflow_representation",
}


def __getattr__(name: str) -> _Any:
    """Load what only drawing needs when it is first asked for."""
    if name in _LATE:
        from stepwell import representation

        return getattr(representation, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_ipython_extension(ipython: _Any) -> None:
    """Answer `%load_ext stepwell`: the magics, beside the displays."""
    from stepwell import notebook

    notebook.load(ipython)


def unload_ipython_extension(ipython: _Any) -> None:
    """Answer `%unload_ext stepwell`: take back what loading did."""
    from stepwell import notebook

    notebook.unload(ipython)


def _greet_ipython() -> None:
    """Show workflows and runs in the notebook that imports the package."""
    ipython = _sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None:
        from stepwell import notebook

        notebook.install(shell)


_greet_ipython()
