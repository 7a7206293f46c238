"""What workflow classes see to while they are written and called.

The names in a class body, the arguments of a class and of `run`, and the names that
people look for on a workflow and that are elsewhere. `Workflow` itself is in
`workflow`; what a step's signature says is read in `signature`.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MethodType
from typing import Any, TypeVar, cast

from stepwell.context import Context
from stepwell.errors import (
    WorkflowArgumentError,
    WorkflowRuntimeError,
    WorkflowValidationError,
    did_you_mean,
)
from stepwell.events import Event, StartEvent
from stepwell.families import Family, join_family
from stepwell.steps import spec_of
from stepwell.store import DictState

__all__ = [
    "MEANT",
    "ClassBody",
    "WorkflowMeta",
    "argument_error",
    "check_arguments",
    "for_instances",
    "forgotten_steps",
    "no_attribute",
    "renewed",
    "steps_that_hide",
    "usable",
]

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class ClassBody(dict[str, Any]):
    """The names in the body of a workflow class, while it is executed.

    Args:
        name: Name of the class.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def __setitem__(self, key: str, value: Any) -> None:
        """Bind a name; a step does not silently take another's place."""
        there = self.get(key)
        if spec_of(value) and spec_of(there):
            again = inspect.unwrap(value) is inspect.unwrap(cast("Any", there))
            if not again:  # by a decorator that wraps it
                raise WorkflowValidationError(
                    f"{self._name} has two steps named `{key}`; only the second would "
                    "be there.",
                    hint="Give each step a name of its own.",
                    workflow=self._name,
                    step=key,
                )
        super().__setitem__(key, value)

    def __getitem__(self, key: str) -> Any:
        """The value of a name; KeyError lets Python look outside of the class."""
        # Only while the body runs: annotations may be looked up long after it.
        around = sys._getframe(1)
        is_running = around.f_locals is self
        if key in self:
            value = super().__getitem__(key)
            if key == "step" and is_running and spec_of(value):
                raise WorkflowValidationError(
                    f"a step of {self._name} is named `step`, which hides @step from "
                    "the lines below it.",
                    hint="Give that step another name.",
                    workflow=self._name,
                    step=key,
                )
            return value
        if key == self._name and is_running and key not in around.f_globals:
            raise WorkflowValidationError(
                f"the body of {key} names {key} itself, which is not there before its "
                "end.",
                hint=f"Write the names of its inner classes without `{key}.`, or "
                "define them above it.",
                workflow=key,
            )
        raise KeyError(key)


class WorkflowMeta(type):
    """The class of workflow classes, by which viewers recognise them.

    It counts the changes made to any of them, so that a compiled plan is known to
    be fresh without looking at the steps again.
    """

    changes = 0

    @classmethod
    def __prepare__(
        mcs, name: str, bases: tuple[type, ...], /, **kwargs: Any
    ) -> ClassBody:
        """The names of a class body, which refuse what would be lost."""
        return ClassBody(name)

    _family: Family | None

    def __init__(
        cls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        """Note which definition of the class this is."""
        super().__init__(name, bases, namespace)
        # Not by the usual way, which looks for changes of steps.
        type.__setattr__(cls, "_family", join_family(cls, namespace))

    @property
    def newest(cls) -> Any:
        """The class as its cell was last run; itself where that was once."""
        family = cls._family
        return cls if family is None else family.newest_or(cls)

    def __call__(cls: type[T], *args: Any, **kwargs: Any) -> T:
        """Make a workflow; an argument that it does not take is named."""
        try:
            made: T = super().__call__(*args, **kwargs)  # type: ignore[misc]
        except TypeError as error:
            if wrong := argument_error(cls, error):
                raise wrong from None
            raise
        return made

    def __setattr__(cls, name: str, value: Any) -> None:
        """Set an attribute of the class; plans are made anew after it."""
        before = cls.__dict__.get(name)
        super().__setattr__(name, value)
        if name == "_free_steps" or spec_of(before) or spec_of(value):
            WorkflowMeta.changes += 1


def renewed(workflow: T) -> T:
    """The workflow as its class is defined now, with all that it had.

    Itself, unless its class was defined again since: by running its cell again, say.
    """
    kind: Any = type(workflow)
    if kind.newest is kind:
        return workflow
    made: T = object.__new__(kind.newest)
    state: Any = object.__getstate__(workflow)
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    vars(made).update(attributes or {})
    for name, value in (slots or {}).items():
        setattr(made, name, value)
    return made


class _ForInstances:
    """A method that says so when it is called on the class."""

    def __init__(self, method: Callable[..., Any]) -> None:
        functools.update_wrapper(cast("Any", self), method)
        self._method = method

    def __get__(self, instance: object, owner: type) -> Callable[..., Any]:
        method = self._method
        if instance is not None:
            return MethodType(method, instance)

        @functools.wraps(method)
        def called(*args: Any, **kwargs: Any) -> Any:
            if args and isinstance(type(args[0]), type(owner)):
                return method(*args, **kwargs)
            raise WorkflowArgumentError(
                f"{owner.__name__}.{method.__name__}(…) was called on the class.",
                hint="Make a workflow first, with brackets: "
                f"{owner.__name__}().{method.__name__}(…)",
                workflow=owner.__name__,
            )

        return called


def for_instances(method: F) -> F:
    """Decorate a method that people call on the class by mistake."""
    return cast("F", _ForInstances(method))


def steps_that_hide(cls: type, base: type) -> dict[str, Any]:
    """The steps of a class that have the name of something its base has.

    Raises:
        WorkflowValidationError: One is named `run`, by which people start runs.
    """
    found = {
        name: member
        for name, member in vars(cls).items()
        if hasattr(base, name) and spec_of(member)
    }
    if "run" in found:
        raise WorkflowValidationError(
            f"a step of {cls.__name__} is named `run`, and every Workflow has that "
            "already.",
            hint="Give the step another name.",
            workflow=cls.__name__,
            step="run",
        )
    return found


def forgotten_steps(bases: Sequence[type]) -> list[str]:
    """Public methods that look like steps and are none: somebody may have forgotten.

    Those that take or return events, or else all that are `async`.
    """
    likely: list[str] = []
    others: list[str] = []
    for base in bases:
        for name, member in vars(base).items():
            function = getattr(member, "__func__", member)
            if name.startswith("_") or isinstance(member, staticmethod):
                continue
            if not inspect.isfunction(function) or spec_of(member) is not None:
                continue
            kinds = function.__annotations__.values()
            if any(isinstance(k, type) and issubclass(k, Event) for k in kinds):
                likely.append(name)
            elif inspect.iscoroutinefunction(function):
                others.append(name)
    return likely or others


def argument_error(cls: type, error: TypeError) -> WorkflowArgumentError | None:
    """What to say of an argument that no `__init__` of a workflow class takes.

    Args:
        cls: The class that was called.
        error: What Python says; None comes back where it is about something else.
    """
    found = re.search(r"(\w+)\.__init__\(\) got an unexpected .*? '(\w+)'", str(error))
    bases = {base.__name__: base for base in cls.__mro__}
    if found is None or found[1] not in bases:
        return None
    taking, given = found.groups()
    options: dict[str, None] = {}
    for base in cls.__mro__:
        own = vars(base).get("__init__") if base is not object else None
        parameters = inspect.signature(own).parameters if own else {}
        for each in list(parameters.values())[1:]:
            if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
                options[each.name] = None
    if given in options:
        return WorkflowArgumentError(
            f"{taking}.__init__ does not take {given}=, which other workflows take.",
            hint="Let it take **kwargs and hand them on: super().__init__(**kwargs).",
            workflow=cls.__name__,
        )
    return WorkflowArgumentError(
        f"{cls.__name__}(…) takes no {given}=.{did_you_mean(given, options)}",
        hint=f"It takes: {', '.join(options)}.",
        workflow=cls.__name__,
    )


def check_arguments(
    workflow: str,
    start: type[StartEvent],
    args: Sequence[Any],
    start_event: StartEvent | None,
    fields: Mapping[str, Any],
) -> None:
    """Refuse arguments of `run` that make no start event.

    Args:
        workflow: Name of the workflow.
        start: Its class of start event.
        args: The positional arguments.
        start_event: The start event that was given.
        fields: The keyword arguments that are to be its fields.

    Raises:
        WorkflowRuntimeError: With the way to write them.
    """
    problem = hint = ""
    if args:
        given = args[0]
        problem = "takes the fields of its start event by name"
        if isinstance(given, StartEvent):
            hint = "start_event=…"
        elif isinstance(given, Context):
            hint = "ctx=…"
        elif isinstance(given, dict):
            hint = "**fields"
        else:
            field = next(iter(start.model_fields), "query")
            hint = f"{field}={given!r}" if len(repr(given)) <= 60 else f"{field}=…"
    for name in _MEANT.keys() & fields.keys() - start.model_fields.keys():
        kind, wanted = _MEANT[name]
        if isinstance(fields[name], kind):
            problem = f"takes its {kind.__name__} as {wanted}=, not as {name}="
            hint = f"{wanted}=…"
    if problem:
        raise WorkflowRuntimeError(
            f"{workflow}.run() {problem}.",
            hint=f"Write: workflow.run({hint})",
            workflow=workflow,
        )
    if start_event is not None and fields:
        raise WorkflowRuntimeError(
            f"{workflow}.run() got start_event= and also {', '.join(fields)}=, which "
            "would be lost.",
            hint="Put the fields into the start event.",
            workflow=workflow,
        )


# Names under which people pass what `run` takes under another.
_MEANT: dict[str, tuple[type, str]] = {
    "context": (Context, "ctx"),
    "ev": (StartEvent, "start_event"),
    "event": (StartEvent, "start_event"),
    "start": (StartEvent, "start_event"),
}
# Fields of these names may be meant as something else.
MEANT = frozenset(_MEANT)


def usable(ctx: object, workflow: Any) -> Context[Any]:
    """The context that a run was given, if its state is what the steps expect.

    Raises:
        WorkflowRuntimeError: It is not, or no context at all.
    """
    if not isinstance(ctx, Context):
        raise WorkflowRuntimeError(
            f"ctx= takes a Context, not {type(ctx).__name__}.",
            hint=f"Make one with Context({type(workflow).__name__}()).",
            workflow=workflow.workflow_name,
        )
    there, wanted = ctx.store.state_type, workflow.state_type
    if wanted is not DictState and not issubclass(there, wanted):
        raise WorkflowRuntimeError(
            f"the context holds {there.__name__}, and the steps of "
            f"{workflow.workflow_name} expect {wanted.__name__}.",
            hint="Make the context with the workflow that is to use it.",
            workflow=workflow.workflow_name,
        )
    return ctx


_OF_CONTEXT = ("write_event_to_stream", "collect_events", "wait_for_event", "store")
_OF_HANDLER = ("stream_events", "cancel_run", "result", "is_done")
_OF_OTHERS = ("invoke", "ainvoke", "arun", "execute", "kickoff", "start")


def no_attribute(workflow: object, name: str) -> Any:
    """Say that a workflow has no such attribute, and what has one.

    Raises:
        AttributeError: Always.
    """
    advice = ""
    if name in (*_OF_CONTEXT, "send_event"):
        advice = (
            f"\nIn a step it is `ctx.{name}`: give the step a parameter `ctx: Context`."
        )
    if name in (*_OF_HANDLER, "send_event"):
        advice += (
            f"\nA run has it: `handler = workflow.run(…)`, then `handler.{name}(…)`."
        )
    if name in _OF_OTHERS:
        advice = "\nWrite `await workflow.run(…)`."
    raise AttributeError(
        f"{type(workflow).__name__!r} object has no attribute {name!r}{advice}",
        name=name,
        obj=workflow,
    )
