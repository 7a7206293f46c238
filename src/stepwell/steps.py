"""`@step` and `@catch_error`: functions that are steps of a workflow.

What a signature says is read in `signature`; one run of a step is in `calls`;
how steps make a graph, in `graph`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, MutableMapping
from copy import copy
from typing import Any, TypeVar, cast, overload

from stepwell.errors import (
    WorkflowArgumentError,
    WorkflowValidationError,
    did_you_mean,
)
from stepwell.events import StepFailedEvent
from stepwell.retry import RetryPolicy
from stepwell.signature import DEFAULT_WORKERS, StepSpec, invalid, read_signature

__all__ = ["GRAPH_CHECKS", "catch_error", "check_names", "spec_of", "step"]

F = TypeVar("F", bound=Callable[..., Any])
_SPEC = "__stepwell_step__"
# The checks of a graph that may be passed over, by name.
GRAPH_CHECKS = ("reachability", "terminal_event", "dead_end")


@overload
def step(function: F, /) -> F: ...


@overload
def step(
    *,
    workflow: Any = None,
    num_workers: int = DEFAULT_WORKERS,
    retry_policy: RetryPolicy | None = None,
    skip_graph_checks: Iterable[str] | None = None,
    accept_event_subclasses: bool = False,
    timeout: float | None = None,
    max_visits: int | None = None,
    cache: bool | MutableMapping[str, Any] = False,
) -> Callable[[F], F]: ...


def step(
    function: F | None = None,
    /,
    *,
    workflow: Any = None,
    num_workers: int = DEFAULT_WORKERS,
    retry_policy: RetryPolicy | None = None,
    skip_graph_checks: Iterable[str] | None = None,
    accept_event_subclasses: bool = False,
    timeout: float | None = None,
    max_visits: int | None = None,
    cache: bool | MutableMapping[str, Any] = False,
    **unknown: Any,
) -> F | Callable[[F], F]:
    """Make a function a step of a workflow.

    A step has a parameter annotated with an event class (or a union of them), may
    have one annotated `Context`, and says in its return annotation which events it
    returns. Two ways to wait for several events: a parameter for each (`a: A, b: B`)
    starts the step when one of each has come; a list (`events: list[A]`) when all
    that came of a list returned earlier is there, see `Collect`. `async def` steps
    run on the event loop, plain `def` steps in a thread. The function itself is
    given back and stays callable.

    Args:
        function: The function, where the decorator is used without brackets.
        workflow: The workflow class to add a free function to.
        num_workers: How many calls of the step may run at once in one run. It
            limits concurrency; it does not multiply events.
        retry_policy: Asked after each failure whether and when to try again.
        skip_graph_checks: Checks that pass over this step: "reachability",
            "dead_end", "terminal_event".
        accept_event_subclasses: Let subclasses of the annotated event classes
            start the step as well; otherwise the class must be the same.
        timeout: Seconds one attempt may take, not counting waits for events; then
            it fails with `StepTimeoutError`, which a retry policy may take up.
        max_visits: How often the step may start in one run; a loop that goes round
            more often ends the run with an error.
        cache: Give an earlier result again, in this and in other runs, when the
            step's code and the fields of its event are the same: True to keep
            results in this process, or a mapping to keep them in, such as one on
            disk. What the step reads elsewhere, as on `self`, is not compared. It
            may not take a context: what it does there would not be done again.
        **unknown: Refused; the message names the options there are.

    Raises:
        WorkflowValidationError: The signature or an argument is not usable; the
            message says how to write it.
    """
    _refuse(unknown, "step", step)
    caller = sys._getframe(1)

    def decorate(decorated: F) -> F:
        spec = read_signature(decorated, caller, bound=workflow is None)
        spec.num_workers = _checked(spec, "num_workers", num_workers)
        if max_visits is not None:
            spec.max_visits = _checked(spec, "max_visits", max_visits)
        if retry_policy is not None:
            _check_policy(spec, retry_policy)
        spec.retry_policy = retry_policy
        is_time = isinstance(timeout, int | float) and timeout is not True
        if timeout is not None and not (is_time and timeout > 0):
            raise invalid(
                spec.name,
                f"timeout must be above 0 seconds, not {timeout!r}.",
                "Leave it out for no limit.",
            )
        spec.timeout = timeout
        if cache is not False:
            if spec.context_parameter is not None:
                raise invalid(
                    spec.name,
                    "a cached step takes no context: what it sends and stores would "
                    "not be done again when its result is known.",
                    "Remove the context parameter, or cache=….",
                )
            spec.cache = {} if cache is True else cache
            if isinstance(cache, list) or not hasattr(spec.cache, "__setitem__"):
                raise invalid(
                    spec.name,
                    f"cache is True or a mapping to keep results in, not {cache!r}.",
                )
        spec.accept_event_subclasses = accept_event_subclasses
        spec.skip_graph_checks = check_names(skip_graph_checks, f"step `{spec.name}`")
        setattr(decorated, _SPEC, spec)
        if workflow is not None:
            _add(workflow, decorated, spec)
        return decorated

    return decorate if function is None else decorate(function)


@overload
def catch_error(function: F, /) -> F: ...


@overload
def catch_error(
    *,
    for_steps: list[str] | None = None,
    max_recoveries: int = 1,
    num_workers: int = 1,
    workflow: Any = None,
) -> Callable[[F], F]: ...


def catch_error(
    function: F | None = None,
    /,
    *,
    for_steps: list[str] | None = None,
    max_recoveries: int = 1,
    num_workers: int = 1,
    workflow: Any = None,
    **unknown: Any,
) -> F | Callable[[F], F]:
    """Make a step that is called when other steps fail for good.

    It takes a `StepFailedEvent` and goes on in the failed step's stead: what it
    returns is routed as usual. When it raises, the run fails with that. It is not
    called while retries remain, for the run's timeout, or for a mistake in the
    program, such as an undeclared event.

    Args:
        function: The function, where the decorator is used without brackets.
        for_steps: Names of the steps it stands in for; by default all that no other
            one names.
        max_recoveries: How often it helps along one chain of events, from 1. The
            items of a returned list begin chains of their own; where they come
            together it may help again, but not with a step that it helped before.
        num_workers: How many calls of it may run at once in one run.
        workflow: The workflow class to add a free function to.
        **unknown: Refused; the message names the options there are.

    Raises:
        WorkflowValidationError: It does not take a `StepFailedEvent`, or an argument
            is not usable.
    """
    _refuse(unknown, "catch_error", catch_error)
    caller = sys._getframe(1)

    def decorate(decorated: F) -> F:
        spec = read_signature(decorated, caller, bound=workflow is None)
        if spec.accepts != (StepFailedEvent,) or spec.collect is not None:
            taken = ", ".join(kind.__name__ for kind in spec.accepts)
            raise invalid(
                spec.name,
                f"@catch_error takes a StepFailedEvent, not {taken}.",
                f"Write: async def {spec.name}(self, ev: StepFailedEvent) -> …",
            )
        named = for_steps is None or (
            isinstance(for_steps, list) and all(isinstance(n, str) for n in for_steps)
        )
        if not named:
            raise invalid(
                spec.name, f"for_steps is a list of step names, not {for_steps!r}."
            )
        spec.catches_errors = True
        spec.for_steps = None if for_steps is None else tuple(for_steps)
        spec.max_recoveries = _checked(spec, "max_recoveries", max_recoveries)
        spec.num_workers = _checked(spec, "num_workers", num_workers)
        setattr(decorated, _SPEC, spec)
        if workflow is not None:
            _add(workflow, decorated, spec)
        return decorated

    return decorate if function is None else decorate(function)


def _refuse(unknown: dict[str, Any], name: str, decorator: Callable[..., Any]) -> None:
    """Refuse options that a decorator does not have."""
    if unknown:
        options = [
            each.name
            for each in inspect.signature(decorator).parameters.values()
            if each.kind is each.KEYWORD_ONLY
        ]
        given = next(iter(unknown))
        raise WorkflowArgumentError(
            f"@{name} has no option {given!r}.{did_you_mean(given, options)}",
            hint=f"It has: {', '.join(options)}.",
        )


def _add(workflow: Any, function: Callable[..., Any], spec: StepSpec) -> None:
    if not hasattr(workflow, "add_step"):
        raise invalid(
            spec.name,
            f"workflow= takes a workflow class, not {workflow!r}.",
            "Write @step(workflow=MyWorkflow), without quotes, below that class.",
        )
    workflow.add_step(function)


def _check_policy(spec: StepSpec, policy: object) -> None:
    name = getattr(policy, "__name__", None)
    if name is not None:
        raise invalid(
            spec.name,
            f"retry_policy is {name} itself, and not what it makes.",
            f"Call it, for example retry_policy={name}().",
        )
    if not callable(getattr(policy, "next", None)):
        raise invalid(
            spec.name,
            f"retry_policy has no method `next`: {policy!r}.",
            "Use one from stepwell.retry, for example "
            "ConstantDelayRetryPolicy(maximum_attempts=3, delay=1).",
        )


def _checked(spec: StepSpec, option: str, number: object) -> int:
    if type(number) is not int or number < 1:
        raise invalid(
            spec.name,
            f"{option} must be a whole number above 0, not {number!r}.",
            f"Write for example {option}=4.",
        )
    return number


def check_names(names: object, owner: str) -> frozenset[str]:
    """The names of graph checks to pass over.

    Raises:
        WorkflowValidationError: There is no such check.
    """
    if names is None:
        return frozenset()
    one = isinstance(names, str) or not isinstance(names, Iterable)
    given = cast("list[str]", [names] if one else list(cast("Any", names)))
    for name in given:
        if name not in GRAPH_CHECKS:
            raise WorkflowValidationError(
                f"{owner}: skip_graph_checks names {name!r}; the checks are "
                f"{', '.join(GRAPH_CHECKS)}.{did_you_mean(str(name), GRAPH_CHECKS)}"
            )
    return frozenset(given)


def spec_of(function: object) -> StepSpec | None:
    """The spec that `@step` left on a function, None where it is no step."""
    spec = getattr(function, _SPEC, None)
    if not isinstance(spec, StepSpec):
        return None
    if function is not spec.function and callable(function):
        # A decorator above @step copied its mark: what it made is what runs.
        spec = copy(spec)
        spec.function = function
        spec.is_async = inspect.iscoroutinefunction(function)
    return spec
