"""What to write instead: advice on the mistakes that people make most.

Words only. `signature` asks here about annotations that it cannot use, `plan`
about values that are no events, `attempts` about Python's own errors from the body
of a step. Advice that needs the graph or the run stands where those are known.
"""

from __future__ import annotations

import contextlib
import inspect
import re
import typing
from collections.abc import Sequence
from typing import Any

from stepwell.errors import did_you_mean
from stepwell.events import Event, EventMeta, StopEvent
from stepwell.resources import ResourceDescriptor

__all__ = [
    "about_error",
    "about_parameter",
    "about_return",
    "about_sent",
    "about_stop",
    "about_value",
]


def about_parameter(
    parameter: inspect.Parameter, kind: Any, marks: Sequence[Any]
) -> tuple[str, str]:
    """Why nothing can be given for a step's parameter, and what to write.

    Args:
        parameter: The parameter.
        kind: Its annotation as an object; None where there is none.
        marks: What else stands in it, if it is `Annotated[kind, *marks]`.
    """
    name = parameter.name
    if name == "self":
        return "a free function is given no `self`.", (
            "Leave `self` out, or move the function into the class."
        )
    if parameter.annotation is parameter.empty:
        wanted = "Context" if name in ("ctx", "context") else "StartEvent"
        other = "" if wanted == "Context" else ", or the class of the event it takes"
        return f"parameter `{name}` has no annotation.", (
            f"Write `{name}: {wanted}`{other}."
        )
    resource = next((m for m in (kind, *marks) if _is_resource(m)), None)
    maker = next((m for m in marks if callable(m)), None)
    if resource is not None or maker is not None:
        types = [m for m in (kind, *marks) if isinstance(m, type) and m is not resource]
        shown = _shown(types[0]) if types else "T"
        fix = f"Write `{name}: Annotated[{shown}, {_as_resource(resource, maker)}]`."
        if isinstance(resource, ResourceDescriptor):
            return f"the resource of parameter `{name}` is in the wrong place.", fix
        return f"parameter `{name}` is annotated with no resource.", fix
    if isinstance(kind, Event):
        return f"parameter `{name}` is annotated with an event, not a class.", (
            f"Write the class: `{name}: {type(kind).__name__}`."
        )
    if isinstance(kind, list | tuple):
        return f"parameter `{name}` is annotated with a {type(kind).__name__}.", (
            f"Write `{name}: {' | '.join(map(_shown, kind))}`."
        )
    if isinstance(kind, type) and issubclass(kind, BaseException):
        return f"parameter `{name}` is annotated with an exception.", (
            f"Put @catch_error above the step and write `{name}: StepFailedEvent`; "
            f"the exception is `{name}.exception`."
        )
    if _is_own_class(kind):
        return (
            f"parameter `{name}` is annotated {_shown(kind)}, which is no event class.",
            f"Derive it from Event: `class {_shown(kind)}(Event)`. Something that is "
            f"no event is given by `Annotated[{_shown(kind)}, Resource(make_it)]`.",
        )
    return f"nothing can be given for parameter `{name}`.", (
        f"A step takes an event: make the value a field of it and read `ev.{name}`. "
        f"Or give `{name}` a default, or write `Annotated[T, Resource(make_it)]`."
    )


def about_return(step: str, kind: Any) -> tuple[str, str]:
    """Why a return annotation cannot be used, and what to write.

    Args:
        step: Name of the step.
        kind: What stands there in the place of an event class.
    """
    inside = kind if isinstance(kind, list | tuple) else typing.get_args(kind)
    events = [_shown(each) for each in inside if isinstance(each, EventMeta)]
    shown = _shown(kind) if inside is not kind else f"a {type(kind).__name__}"
    problem = f"its return annotation names {shown}, which is no event class."
    if events:
        union = " | ".join(events)
        return problem, (
            f"Write `-> {union}` for one of them, `-> list[{union}]` for several."
        )
    if isinstance(kind, Event):
        return "its return annotation is an event, not a class.", (
            f"Write the class: `-> {type(kind).__name__}`."
        )
    if kind is Any or kind is object:
        return problem, "Name the event classes, or write `-> Event` for any of them."
    if _is_own_class(kind):
        return problem, f"Derive it from Event: `class {shown}(Event)`."
    return problem, (
        f"Write `async def {step}(…) -> StopEvent` and `return StopEvent(result=…)`: "
        "plain values go into fields of events."
    )


def about_value(value: object, returns: Sequence[type[Event]]) -> tuple[str, str]:
    """What a step returned, or somebody sent, that is no event, and what to write.

    Args:
        value: What it was.
        returns: The classes that the step may return.
    """
    if inspect.iscoroutine(value):
        name = value.__qualname__.rpartition(".")[2]
        value.close()
        return f"the coroutine of `{name}`", (
            f"An `await` is missing: `return await` before the call of `{name}(…)`."
        )
    if isinstance(value, type) and issubclass(value, Event):
        name = value.__name__
        return f"the class {name}", (
            f"That is the class itself; make an instance: `{name}(…)`."
        )
    if _is_run(value):
        return "a run of a workflow", _AWAIT_RUN
    text, kind = repr(value), type(value).__name__
    shown = f"{kind} {text}" if len(text) <= 40 else kind
    if isinstance(value, tuple | set) and any(isinstance(v, Event) for v in value):
        return shown, "Several events go into a list: return [A(…), B(…)]."
    if isinstance(value, list):
        return shown, "A returned list holds events, not lists: flatten it."
    if not returns:
        return shown, "Return None, as the annotation says, or name an event class."
    wanted = next((k for k in returns if issubclass(k, StopEvent)), returns[0])
    own = [name for name in wanted.model_fields if name != "result"]
    field = own[0] if own else "result" if issubclass(wanted, StopEvent) else "value"
    return shown, (
        f"Put it into a field of an event: `return {wanted.__name__}({field}=…)`."
    )


def about_sent(value: object, by: str = "send_event") -> tuple[str, str]:
    """What was sent that is no event, and what to write.

    Args:
        value: What it was.
        by: The method that it was given to.
    """
    if isinstance(value, type):
        return about_value(value, ())
    if inspect.iscoroutine(value):
        name = value.__qualname__.rpartition(".")[2]
        value.close()
        return f"the coroutine of `{name}`", _await_it(name)
    if isinstance(value, list | tuple | set):
        return type(value).__name__, (
            f"Send each event by itself: `for event in events: ctx.{by}(event)`."
        )
    return type(value).__name__, (
        "Define `class MyEvent(Event)` with the value as a field, and send that."
    )


# Results of these types are never wrong.
_PLAIN = frozenset({bool, bytes, dict, float, int, list, set, str, tuple})


def about_stop(event: StopEvent) -> tuple[str, str] | None:
    """What is wrong with a stop event, and what to write; None if nothing is."""
    if type(event.result) in _PLAIN:
        return None
    if inspect.iscoroutine(event.result):
        name = event.result.__qualname__.rpartition(".")[2]
        event.result.close()
        return f"whose result is the coroutine of `{name}`", _await_it(name)
    if _is_run(event.result):
        return "whose result is a run of a workflow", _AWAIT_RUN
    if type(event) is StopEvent and event.result is None:
        for name in event.__pydantic_extra__ or ():
            if did_you_mean(name, ["result"]):
                return f"with {name}= and no result", "Write `StopEvent(result=…)`."
    return None


def about_error(error: BaseException) -> str | None:
    """What an error of Python's own in a step most likely means; None if unknown."""
    with contextlib.suppress(Exception):  # texts of strangers: anything may happen
        found = getattr(error, "obj", None)
        if inspect.iscoroutine(found):
            return _await_it(found.__qualname__.rpartition(".")[2])
        if isinstance(error, TypeError | AttributeError | RuntimeError | TimeoutError):
            text = str(error)
            for pattern, advice in _ADVICE:
                match = re.search(pattern, text)
                if match:
                    return match.expand(advice)
    return None


_AWAIT_RUN = (
    "Await it for its result: `await ctx.run(workflow, …)` in a step, `await handler` "
    "elsewhere."
)
_STATE = (
    "Shared state is kept with `await ctx.set(key, value)` and read with "
    "`await ctx.get(key)`."
)
# What Python says, in all the words it has used since 3.11, and what to do.
_ADVICE = [
    (
        r"'Context' object has no attribute '(stream_events|cancel_run|result)'",
        r"That is a method of the handler: `handler = workflow.run(…)`.",
    ),
    (
        r"'Context' object (has no attribute|is not subscriptable|does not support i)",
        _STATE,
    ),
    (r"'InMemoryStateStore' object (is not subscri|does not support i)", _STATE),
    (
        r"'coroutine' object|'coroutine' and|and 'coroutine'",
        "An `await` is missing where that value was made.",
    ),
    (r"'WorkflowHandler' (and|object)|and 'WorkflowHandler'", _AWAIT_RUN),
    (
        r"ContextManager'? (object )?(does not support the c|can't be)",
        "Write `async with … as …:` there.",
    ),
    (
        r"'?(NoneType|list)'? (object )?can't be (used in 'await' expression|awaited)",
        "Remove that `await`: ctx.send_event, ctx.write_event_to_stream and "
        "ctx.collect_events are called without it.",
    ),
    (
        r"can't be (used in 'await' expression|awaited)",
        "To run a workflow inside a step: `await ctx.run(workflow, …)`.",
    ),
    (
        r"^no \w+ came within",
        "Wait longer with `ctx.wait_for_event(…, timeout=…)`; None is no limit.",
    ),
    (
        r"exceptions must derive from BaseException",
        "An event is returned, not raised: `return StopEvent(result=…)`.",
    ),
    (
        r"'method' object is not (iterable|subscriptable)",
        "A field named like a method of events (items, keys, values, get, copy) is "
        'read as `ev["items"]`, or declared in the class.',
    ),
    (
        r"'async_generator' object is not iterable",
        "Write `async for` there.",
    ),
    (
        r"(from a running event loop|event loop is already running)",
        "A step may `await` by itself: write `await` in the place of that call.",
    ),
]


def _await_it(name: str) -> str:
    return (
        f"An `await` is missing before the call of `{name}(…)`; "
        "a step that awaits is an `async def`."
    )


def _is_run(value: object) -> bool:
    return hasattr(value, "stop_event_result")  # `handler` stands far above this file


def _is_resource(mark: Any) -> bool:
    """Whether something is a resource, or a class of them."""
    return hasattr(mark, "set_type_annotation")


def _as_resource(resource: Any, maker: Any) -> str:
    if isinstance(resource, ResourceDescriptor):
        inside = resource.name.rpartition("<locals>.")[2]
        return f"{type(resource).__name__}({inside})"
    inside = "make_it" if resource else getattr(maker, "__name__", "make_it")
    return f"Resource({inside})"


def _is_own_class(kind: Any) -> bool:
    """Whether somebody may have meant this class to be an event class."""
    known = {"builtins", "typing", "collections", "collections.abc"}
    return isinstance(kind, type) and kind.__module__ not in known


def _shown(kind: Any) -> str:
    return getattr(kind, "__name__", None) or repr(kind)
