"""`@step`, and a step in its two tenses: what it is (spec), one run of it (call).

The signature is read once, when the function is decorated, so a mistake in it
is reported there. How steps make a graph is in `graph`; when a call runs, in
`machine`; who runs it, in `executors`.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Sequence
from copy import copy
from types import FrameType, NoneType, UnionType
from typing import Any, TypeVar, Union, overload

from pydantic import BaseModel

from stepwell.errors import WorkflowValidationError
from stepwell.events import Event
from stepwell.retry import RetryPolicy

__all__ = [
    "DEFAULT_WORKERS",
    "Branch",
    "StepCall",
    "StepSpec",
    "read_signature",
    "spec_of",
    "step",
]

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_WORKERS = 4
_SPEC = "__stepwell_step__"


class StepSpec:
    """What a step is: its function and what the signature says.

    Attributes:
        name: Name of the function.
        function: The function as written; takes `self` first where `bound`.
        bound: Whether the step is a method.
        accepts: Event classes that start it.
        returns: Event classes it may return.
        event_parameter: Name of the parameter that takes the event.
        context_parameter: Name of the parameter annotated `Context`, if any.
        state_type: The model in `Context[Model]`, if any.
        num_workers: How many calls may run at once in one run.
        retry_policy: What to do when a call fails.
        accept_event_subclasses: Whether subclasses of `accepts` start it too.
        is_async: Whether the function is `async def`; others run in a thread.
        description: The docstring.
        signature: The signature as text, for people.
    """

    __slots__ = (
        "accept_event_subclasses",
        "accepts",
        "bound",
        "context_parameter",
        "description",
        "event_parameter",
        "function",
        "index",
        "is_async",
        "name",
        "num_workers",
        "retry_policy",
        "returns",
        "signature",
        "state_type",
    )

    def __init__(self, function: Callable[..., Any], *, bound: bool) -> None:
        self.name = function.__name__
        self.function = function
        self.bound = bound
        self.index = -1
        self.num_workers = DEFAULT_WORKERS
        self.retry_policy: RetryPolicy | None = None
        self.accept_event_subclasses = False
        self.accepts: tuple[type[Event], ...] = ()
        self.returns: tuple[type[Event], ...] = ()
        self.event_parameter = ""
        self.context_parameter: str | None = None
        self.state_type: type[BaseModel] | None = None
        self.is_async = inspect.iscoroutinefunction(function)
        self.description = inspect.getdoc(function)
        self.signature = ""


class Branch:
    """Where an event stands in a list that a step returned.

    Attributes:
        fanout: Id of the call that returned the list.
        index: Place in the list, from 0.
        parent: The branch that call was itself on.
    """

    __slots__ = ("fanout", "index", "parent")

    def __init__(self, fanout: int, index: int, parent: Branch | None) -> None:
        self.fanout = fanout
        self.index = index
        self.parent = parent


class StepCall:
    """One event given to one step: made when offered, run when a worker is free.

    Attributes:
        call_id: Number of the call within its run, from 1.
        spec: The step.
        event: The event that started it.
        worker: Number of the worker, from 0; -1 while the call is queued.
        attempt: Which attempt runs, from 1.
        first_started: When the first attempt began, in seconds of the run.
        caused_by: The call that sent the event, None where it came from outside.
        branch: Where the event stands in a returned list, if in any.
        taken: The sets it got from joins: buffer, expected classes, events.
    """

    __slots__ = (
        "attempt",
        "branch",
        "call_id",
        "caused_by",
        "event",
        "first_started",
        "spec",
        "taken",
        "worker",
    )

    def __init__(
        self,
        call_id: int,
        spec: StepSpec,
        event: Event,
        caused_by: int | None,
        branch: Branch | None,
    ) -> None:
        self.call_id = call_id
        self.spec = spec
        self.event = event
        self.worker = -1
        self.attempt = 1
        self.first_started = 0.0
        self.caused_by = caused_by
        self.branch = branch
        self.taken: tuple[tuple[str, list[type[Event]], tuple[Event, ...]], ...] = ()

    @property
    def event_name(self) -> str:
        """Class name of the event."""
        return type(self.event).__name__


@overload
def step(function: F, /) -> F: ...


@overload
def step(
    *,
    workflow: Any = None,
    num_workers: int = DEFAULT_WORKERS,
    retry_policy: RetryPolicy | None = None,
    accept_event_subclasses: bool = False,
) -> Callable[[F], F]: ...


def step(
    function: F | None = None,
    /,
    *,
    workflow: Any = None,
    num_workers: int = DEFAULT_WORKERS,
    retry_policy: RetryPolicy | None = None,
    accept_event_subclasses: bool = False,
) -> F | Callable[[F], F]:
    """Make a function a step of a workflow.

    A step has one parameter annotated with an event class (or a union of them),
    may have one annotated `Context`, and says in its return annotation which
    events it returns. `async def` steps run on the event loop, plain `def` steps
    in a thread. The function itself is given back and stays callable.

    Args:
        function: The function, where the decorator is used without brackets.
        workflow: The workflow class to add a free function to.
        num_workers: How many calls of the step may run at once in one run. It
            limits concurrency; it does not multiply events.
        retry_policy: Asked after each failure whether and when to try again.
        accept_event_subclasses: Let subclasses of the annotated event classes
            start the step as well; otherwise the class must be the same.

    Raises:
        WorkflowValidationError: The signature or an argument is not usable; the
            message says how to write it.
    """
    caller = sys._getframe(1)

    def decorate(decorated: F) -> F:
        spec = read_signature(decorated, caller, bound=workflow is None)
        if type(num_workers) is not int or num_workers < 1:
            raise _invalid(
                spec.name,
                f"num_workers must be a whole number above 0, not {num_workers!r}.",
            )
        spec.num_workers = num_workers
        if retry_policy is not None and not callable(
            getattr(retry_policy, "next", None)
        ):
            raise _invalid(
                spec.name,
                f"retry_policy has no method `next`: {retry_policy!r}.",
                "Use one from stepwell.retry, for example "
                "ConstantDelayRetryPolicy(maximum_attempts=3, delay=1).",
            )
        spec.retry_policy = retry_policy
        spec.accept_event_subclasses = accept_event_subclasses
        setattr(decorated, _SPEC, spec)
        if workflow is not None:
            workflow.add_step(decorated)
        return decorated

    return decorate if function is None else decorate(function)


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


def read_signature(
    function: Callable[..., Any], caller: FrameType | None, *, bound: bool
) -> StepSpec:
    """Read a step's signature.

    Args:
        function: The function to be a step.
        caller: The frame to resolve names in that its module does not know.
        bound: Whether the first parameter is `self`.

    Raises:
        WorkflowValidationError: It cannot be a step as written.
    """
    if not callable(function) or not hasattr(function, "__name__"):
        raise WorkflowValidationError(
            f"@step decorates functions, not {function!r}.",
            hint="Put @step right above `async def name(self, ev: StartEvent) -> …`.",
        )
    name = function.__name__
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise _invalid(
            name,
            "it is a generator (it contains `yield`).",
            "Return the event, return a list of events, or send events on the way "
            "with ctx.send_event(…) and ctx.write_event_to_stream(…).",
        )
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    if bound and _is_nested(function) and _first_is_event(function, parameters):
        raise _invalid(
            name,
            "its first parameter is the event, and a step is a method.",
            f"Write `self` first: async def {name}(self, ev: StartEvent) -> …",
        )
    if bound and not _takes_self(parameters, function):
        raise _invalid(
            name,
            "a free function must say which workflow it belongs to.",
            "Write @step(workflow=MyWorkflow), or move it into the class and give "
            "it `self` as first parameter.",
        )
    spec = StepSpec(function, bound=bound)
    hints = _resolve_hints(function, caller)
    for parameter in parameters[1:] if bound else parameters:
        _read_parameter(spec, parameter, hints.get(parameter.name))
    if not spec.accepts:
        shown = ", ".join(p.name for p in (parameters[1:] if bound else parameters))
        raise _invalid(
            name,
            "no parameter is annotated with an event class"
            + (f" (it has: {shown})." if shown else "."),
            f"Write for example: async def {name}(self, ev: StartEvent) -> StopEvent",
        )
    if "return" not in hints:
        raise _invalid(
            name,
            "it has no return annotation, so the graph cannot be drawn or checked.",
            f"Write for example: async def {name}(…) -> StopEvent, or -> None "
            "for a step that returns no event.",
        )
    spec.returns = _returned_events(name, hints["return"])
    spec.signature = _signature_text(spec, hints)
    return spec


def _invalid(name: str, problem: str, hint: str | None = None) -> Exception:
    return WorkflowValidationError(f"step `{name}`: {problem}", hint=hint, step=name)


def _takes_self(
    parameters: list[inspect.Parameter], function: Callable[..., Any]
) -> bool:
    # A method is recognised by an unannotated first parameter: a free function's
    # first parameter is the annotated event.
    unannotated = bool(parameters) and parameters[0].annotation is inspect._empty
    return bool(parameters) and (_is_nested(function) or unannotated)


def _is_nested(function: Callable[..., Any]) -> bool:
    """Whether it stands in a class body."""
    return "." in function.__qualname__.rsplit("<locals>.", 1)[-1]


def _first_is_event(
    function: Callable[..., Any], parameters: list[inspect.Parameter]
) -> bool:
    first = function.__annotations__.get(parameters[0].name) if parameters else None
    return any(_is_event(member) for member in _members(first))


def _resolve_hints(
    function: Callable[..., Any], caller: FrameType | None
) -> dict[str, Any]:
    """Annotations as objects; names are looked up where the step was written."""
    # The classes and functions around it, and no others that happen to be running.
    around = set(function.__qualname__.split("."))
    module = getattr(inspect.unwrap(function), "__globals__", None)
    names: dict[str, Any] = {}
    frame = caller
    while frame is not None and frame.f_code.co_name != "<module>":
        if frame.f_globals is module and frame.f_code.co_name in around:
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    try:
        hints = typing.get_type_hints(function, localns=names, include_extras=True)
    except NameError as error:
        raise _invalid(
            function.__name__,
            f"an annotation names {error.name!r}, which is not defined here.",
            "Define or import the class above the step.",
        ) from None
    except Exception as error:
        raise _invalid(
            function.__name__,
            f"an annotation cannot be read: {type(error).__name__}: {error}.",
            "Write the class itself, or its name in quotes.",
        ) from None
    if hints.get("return") is NoneType:
        hints["return"] = None
    return hints


def _read_parameter(
    spec: StepSpec, parameter: inspect.Parameter, hint: Any | None
) -> None:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return
    members = tuple(m for m in _members(hint) if m is not None and m is not NoneType)
    if len(members) == 1 and _is_context(members[0]):
        spec.context_parameter = parameter.name
        for argument in typing.get_args(members[0]):
            if isinstance(argument, type) and issubclass(argument, BaseModel):
                spec.state_type = argument
        return
    events = tuple(m for m in members if _is_event(m))
    if events and len(events) == len(members):
        if spec.accepts:
            raise _invalid(
                spec.name,
                f"two parameters take events: `{spec.event_parameter}` and "
                f"`{parameter.name}`.",
                "Take one event parameter, a union where several classes may come, "
                "and join events with ctx.collect_events(ev, [A, B]).",
            )
        spec.accepts = events
        spec.event_parameter = parameter.name
        return
    if parameter.default is not parameter.empty:
        return
    likely = {"ctx": "Context", "context": "Context", "ev": "StartEvent"}
    wanted = likely.get(parameter.name)
    if hint is None and wanted is not None:
        raise _invalid(
            spec.name,
            f"parameter `{parameter.name}` has no annotation.",
            f"Write `{parameter.name}: {wanted}`"
            + (", or the event class that starts it." if wanted != "Context" else "."),
        )
    raise _invalid(
        spec.name,
        f"nothing can be given for parameter `{parameter.name}`.",
        "A step takes one event (`ev: StartEvent`) and may take `ctx: Context`; "
        "give any other parameter a default.",
    )


def _members(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the hint alone."""
    if typing.get_origin(hint) in (Union, UnionType):
        return tuple(m for part in typing.get_args(hint) for m in _members(part))
    if typing.get_origin(hint) is typing.Annotated:
        return _members(typing.get_args(hint)[0])
    if type(hint).__name__ == "TypeAliasType":  # `type AB = A | B`, Python 3.12
        return _members(hint.__value__)
    return (hint,)


def _is_event(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Event)


def _is_context(hint: Any) -> bool:
    # By name, not by class: `context` stands beside this room, not below it.
    origin = typing.get_origin(hint) or hint
    return isinstance(origin, type) and any(
        base.__name__ == "Context" for base in origin.__mro__
    )


def _returned_events(name: str, hint: Any) -> tuple[type[Event], ...]:
    found: list[type[Event]] = []
    for member in _members(hint):
        if member is None or member is NoneType:
            continue
        inner = (member,)
        if typing.get_origin(member) in (list, Sequence):
            inner = _members(typing.get_args(member)[0])
        elif member is list:
            inner = (Event,)
        for kind in inner:
            if kind is None or kind is NoneType:
                continue
            if not _is_event(kind):
                shown = getattr(kind, "__name__", None) or repr(kind)
                raise _invalid(
                    name,
                    f"its return annotation names {shown}, which is no event class.",
                    "Return an Event subclass, a union or list of them, or None; "
                    "plain values go into a field, as in StopEvent(result=value).",
                )
            found.append(kind)
    return tuple(dict.fromkeys(found))


def _signature_text(spec: StepSpec, hints: dict[str, Any]) -> str:
    takes = " | ".join(kind.__name__ for kind in spec.accepts)
    gives = " | ".join(kind.__name__ for kind in spec.returns) or "None"
    context = f"{spec.context_parameter}: Context, " if spec.context_parameter else ""
    return f"{spec.name}({context}{spec.event_parameter}: {takes}) -> {gives}"
