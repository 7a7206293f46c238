"""What a step is, read once from its signature: `StepSpec`.

A mistake in a signature is reported here, when the step is written. The
decorators are in `steps`; how steps make a graph is in `graph`.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, MutableMapping, Sequence
from types import FrameType, NoneType, UnionType
from typing import Any, Union

from pydantic import BaseModel

from stepwell.collect import All, Cardinality, Collect, Take
from stepwell.errors import WorkflowValidationError, did_you_mean
from stepwell.events import Event
from stepwell.hints import about_parameter, about_return
from stepwell.resources import ResourceDefinition, ResourceDescriptor
from stepwell.retry import RetryPolicy

__all__ = ["DEFAULT_WORKERS", "StepSpec", "invalid", "read_signature"]

DEFAULT_WORKERS = 4
# Written alone, these do nothing.
_MARKS = (Collect, All, Take)


class StepSpec:
    """What a step is: its function and what the signature says.

    Attributes:
        name: Name of the function.
        index: Its place among the steps of a plan.
        passed: What it has returned so far and may, by class: alone, and in a list.
            Kept by the plan it belongs to, which knows where such events go.
        function: The function as written; takes `self` first where `bound`.
        bound: Whether the step is a method.
        accepts: Event classes that start it, or that it waits for.
        returns: Event classes it may return, alone or in a list.
        bare: Those of them that it returns alone.
        listed: Those of them that it returns in a list.
        event_parameters: Names of the parameters that take events: one, or one for
            each class in `accepts`.
        collect: How a list of events is gathered; None where it takes no list.
        joins: Whether it waits for several events before it starts.
        resources: What else is injected, by parameter.
        context_parameter: Name of the parameter annotated `Context`, if any.
        state_type: The model in `Context[Model]`, if any.
        num_workers: How many calls may run at once in one run.
        retry_policy: What to do when a call fails.
        accept_event_subclasses: Whether subclasses of `accepts` start it too.
        skip_graph_checks: Names of the checks that pass over it.
        timeout: Seconds an attempt may take; None for no limit.
        max_visits: How often it may start in one run; None for no limit.
        cache: Where its results are kept; None to keep none.
        catches_errors: Whether it is called when other steps fail.
        for_steps: The steps it is called for; None for all the rest.
        max_recoveries: How often it is called along one chain of events.
        form: What the function takes by position, where nothing else is to be done to
            call and await it: "event" or "context, event"; anything else is called by
            names. None until it is worked out.
        is_async: Whether the function is `async def`; others run in a thread.
        description: The docstring.
        signature: The signature as text, for people.
    """

    __slots__ = (
        "accept_event_subclasses",
        "accepts",
        "bare",
        "bound",
        "cache",
        "catches_errors",
        "collect",
        "context_parameter",
        "description",
        "event_parameters",
        "for_steps",
        "form",
        "function",
        "index",
        "is_async",
        "joins",
        "listed",
        "max_recoveries",
        "max_visits",
        "name",
        "num_workers",
        "passed",
        "resources",
        "retry_policy",
        "returns",
        "signature",
        "skip_graph_checks",
        "state_type",
        "timeout",
    )

    def __init__(self, function: Callable[..., Any], *, bound: bool) -> None:
        self.name = function.__name__
        self.function = function
        self.bound = bound
        self.index = -1
        self.passed: tuple[dict[type, Any], dict[type, Any]] = ({}, {})
        self.num_workers = DEFAULT_WORKERS
        self.retry_policy: RetryPolicy | None = None
        self.accept_event_subclasses = False
        self.accepts: tuple[type[Event], ...] = ()
        self.returns: tuple[type[Event], ...] = ()
        self.bare: tuple[type[Event], ...] = ()
        self.listed: tuple[type[Event], ...] = ()
        self.event_parameters: tuple[str, ...] = ()
        self.collect: Collect | None = None
        self.joins = False
        self.resources: tuple[ResourceDefinition, ...] = ()
        self.skip_graph_checks: frozenset[str] = frozenset()
        self.timeout: float | None = None
        self.max_visits: int | None = None
        self.cache: MutableMapping[str, Any] | None = None
        self.catches_errors = False
        self.for_steps: tuple[str, ...] | None = None
        self.max_recoveries = 1
        self.context_parameter: str | None = None
        self.state_type: type[BaseModel] | None = None
        self.form: str | None = None
        self.is_async = inspect.iscoroutinefunction(function)
        self.description = inspect.getdoc(function)
        self.signature = ""

    def work_out_form(self) -> str:
        """Work out `form`, at the first call: decorators have set all by then."""
        self.form = ""
        surrounded = self.resources or not (self.timeout is None is self.cache)
        if not (self.is_async and not self.joins and not surrounded):
            return self.form
        names = {self.event_parameters[0]: "event", self.context_parameter: "context"}
        # Of the function itself: what one around it takes by position is not known.
        signature = inspect.signature(self.function, follow_wrapped=False)
        parameters = list(signature.parameters.values())
        given = parameters[1:] if self.bound else parameters
        positional = {
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            inspect.Parameter.POSITIONAL_ONLY,
        }
        asked = [p for p in given if p.name in names or p.default is p.empty]
        if given[: len(asked)] == asked and all(p.kind in positional for p in asked):
            self.form = ", ".join(names.get(p.name, "") for p in asked)
        return self.form


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
    is_class = isinstance(function, type)
    if is_class or not callable(function) or not hasattr(function, "__name__"):
        shown = f"the class {function.__name__}" if is_class else repr(function)
        raise WorkflowValidationError(
            f"@step decorates functions, not {shown}.",
            hint="Put @step right above `async def name(self, ev: StartEvent) -> …`.",
        )
    name = function.__name__
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise invalid(
            name,
            "it is a generator (it contains `yield`).",
            "Return the event, return a list of events, or send events on the way "
            "with ctx.send_event(…) and ctx.write_event_to_stream(…).",
        )
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    if bound and not _takes_self(parameters, function):
        raise invalid(
            name,
            "a free function must say which workflow it belongs to.",
            "Write @step(workflow=MyWorkflow), or move it into the class and give "
            "it `self` as first parameter.",
        )
    spec = StepSpec(function, bound=bound)
    names = _names_around(function, caller)
    hints = _resolve_hints(function, names)
    if bound and _is_given(hints.get(parameters[0].name)):
        shown = ", ".join(f"{parameter.name}: …" for parameter in parameters)
        raise invalid(
            name,
            f"its first parameter is `{parameters[0].name}`, and a step is a method.",
            f"Write `self` first: async def {name}(self, {shown}) -> …",
        )
    for parameter in parameters[1:] if bound else parameters:
        _read_parameter(spec, parameter, hints.get(parameter.name), names)
    if not spec.accepts:
        shown = ", ".join(p.name for p in (parameters[1:] if bound else parameters))
        raise invalid(
            name,
            "no parameter is annotated with an event class"
            + (f" (it has: {shown})." if shown else "."),
            f"Write for example: async def {name}(self, ev: StartEvent) -> StopEvent",
        )
    if "return" not in hints:
        raise invalid(
            name,
            "it has no return annotation, so the graph cannot be drawn or checked.",
            f"Write for example: async def {name}(…) -> StopEvent, or -> None "
            "for a step that returns no event.",
        )
    spec.bare, spec.listed = _returned_events(name, hints["return"])
    spec.returns = tuple(dict.fromkeys((*spec.bare, *spec.listed)))
    spec.signature = _signature_text(spec)
    return spec


def invalid(name: str, problem: str, hint: str | None = None) -> Exception:
    """The error of a step that cannot be one as written."""
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


def _is_given(hint: Any) -> bool:
    """Whether steps are given such a thing: an event, or a context."""
    return any(_is_event(member) or _is_context(member) for member in _members(hint))


def _names_around(
    function: Callable[..., Any], caller: FrameType | None
) -> dict[str, Any]:
    """The local names of the classes and functions around a step."""
    # Those, and no others that happen to be running.
    around = set(function.__qualname__.split("."))
    module = getattr(inspect.unwrap(function), "__globals__", None)
    names: dict[str, Any] = {}
    frame = caller
    while frame is not None and frame.f_code.co_name != "<module>":
        if frame.f_globals is module and frame.f_code.co_name in around:
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    return names


def _resolve_hints(
    function: Callable[..., Any], names: dict[str, Any]
) -> dict[str, Any]:
    """Annotations as objects; names are looked up where the step was written."""
    try:
        hints = typing.get_type_hints(function, localns=names, include_extras=True)
    except NameError as error:
        known = {**getattr(function, "__globals__", {}), **names}
        likely = [name for name, value in known.items() if _is_event(value)]
        inside = error.name in function.__qualname__.split(".")
        raise invalid(
            function.__name__,
            f"an annotation names {error.name!r}, which is not defined here."
            + did_you_mean(str(error.name), likely),
            f"In the body of {error.name} write the class without `{error.name}.`"
            if inside
            else "Define or import the class above the step.",
        ) from None
    except Exception as error:
        raise invalid(
            function.__name__,
            f"an annotation cannot be read: {type(error).__name__}: {error}.",
            "Write the class itself, or its name in quotes.",
        ) from None
    if hints.get("return") is NoneType:
        hints["return"] = None
    return hints


def _read_parameter(
    spec: StepSpec, parameter: inspect.Parameter, hint: Any, names: dict[str, Any]
) -> None:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return
    marks: tuple[Any, ...] = ()
    if typing.get_origin(hint) is typing.Annotated:
        hint, *rest = typing.get_args(hint)
        marks = tuple(rest)
    resource = next((m for m in marks if isinstance(m, ResourceDescriptor)), None)
    if resource is not None:
        definition = ResourceDefinition.bind(parameter.name, resource, hint, names)
        spec.resources = (*spec.resources, definition)
        return
    members = tuple(m for m in _members(hint) if m is not None and m is not NoneType)
    if len(members) == 1 and _is_context(members[0]):
        spec.context_parameter = parameter.name
        for argument in typing.get_args(members[0]):
            if isinstance(argument, type) and issubclass(argument, BaseModel):
                spec.state_type = argument
        return
    for mark in marks:
        if isinstance(mark, Cardinality) or any(mark is k for k in _MARKS):
            raise invalid(
                spec.name,
                f"`{parameter.name}` is marked with {getattr(mark, '__name__', mark)}, "
                "which does nothing outside Collect(…).",
                f"Write `{parameter.name}: Annotated[list[MyEvent], "
                "Collect(Take(2))]`.",
            )
    collect = next((m for m in marks if isinstance(m, Collect)), None)
    inside = _listed(members[0]) if len(members) == 1 else None
    if inside is not None and inside and all(map(_is_event, inside)):
        return _take_events(spec, parameter.name, inside, collect or Collect())
    if collect is not None:
        raise invalid(
            spec.name,
            f"`{parameter.name}` is marked with Collect and is no list of events.",
            f"Write `{parameter.name}: Annotated[list[MyEvent], Collect(Take(2))]`.",
        )
    if members and all(map(_is_event, members)):
        return _take_events(spec, parameter.name, members, None)
    default = parameter.default
    if isinstance(default, ResourceDescriptor):
        marks = (*marks, default)
    elif default is not parameter.empty:
        return
    raise invalid(spec.name, *about_parameter(parameter, hint, marks))


def _take_events(
    spec: StepSpec, name: str, kinds: tuple[type[Event], ...], collect: Collect | None
) -> None:
    """Note that a parameter takes events of these classes."""
    first = not spec.event_parameters
    if not first and (spec.collect or collect):
        raise invalid(
            spec.name,
            "a parameter that takes a list of events stands beside another that "
            "takes events.",
            "Take one list (`events: list[A | B]`), or one event a parameter "
            "(`a: A, b: B`).",
        )
    if not first and (len(kinds) > 1 or len(spec.accepts) > len(spec.event_parameters)):
        raise invalid(
            spec.name,
            "of several event parameters, one is annotated with a union.",
            "A step with several event parameters starts when one event of each has "
            "come: give each a single class, or take the union alone.",
        )
    spec.event_parameters = (*spec.event_parameters, name)
    spec.accepts = (*spec.accepts, *kinds)
    spec.collect = collect
    spec.joins = collect is not None or not first


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


def _listed(hint: Any) -> tuple[Any, ...] | None:
    """The members of the X in `list[X]`; None where it is no list."""
    if typing.get_origin(hint) not in (list, Sequence):
        return (Event,) if hint is list else None
    inside = _members(typing.get_args(hint)[0])
    return tuple(m for m in inside if m is not None and m is not NoneType)


def _returned_events(
    name: str, hint: Any
) -> tuple[tuple[type[Event], ...], tuple[type[Event], ...]]:
    """The event classes returned alone, and those returned in lists."""
    alone: dict[type[Event], None] = {}
    in_lists: dict[type[Event], None] = {}
    for member in _members(hint):
        if member is None or member is NoneType:
            continue
        inside = _listed(member)
        for kind in (member,) if inside is None else inside:
            if not _is_event(kind):
                raise invalid(name, *about_return(name, kind))
            (alone if inside is None else in_lists)[kind] = None
    return tuple(alone), tuple(in_lists)


def _signature_text(spec: StepSpec) -> str:
    takes = " | ".join(kind.__name__ for kind in spec.accepts)
    given = [f"{spec.context_parameter}: Context"] if spec.context_parameter else []
    if spec.collect is not None:
        given.append(f"{spec.event_parameters[0]}: list[{takes}]")
    elif spec.joins:
        pairs = zip(spec.event_parameters, spec.accepts, strict=True)
        given += [f"{name}: {kind.__name__}" for name, kind in pairs]
    else:
        given.append(f"{spec.event_parameters[0]}: {takes}")
    gives = [kind.__name__ for kind in spec.bare]
    if spec.listed:
        gives.append(f"list[{' | '.join(kind.__name__ for kind in spec.listed)}]")
    return f"{spec.name}({', '.join(given)}) -> {' | '.join(gives) or 'None'}"
