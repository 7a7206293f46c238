"""Two engines under the same names, and what a program does on each of them.

A program is an async function written once: it takes the names as `w`, as after
`import … as w`, and gives back plain data. What it raises counts as its outcome.
"""

import asyncio
import importlib
import inspect
import sys
from types import SimpleNamespace

import pytest

import stepwell
import stepwell.testing

# The modules of LlamaIndex Workflows that people import names from.
MODULES = (
    "workflows",
    "workflows.events",
    "workflows.errors",
    "workflows.retry_policy",
    "workflows.collect",
    "workflows.resource",
    "workflows.context",
    "workflows.context.serializers",
    "workflows.context.state_store",
    "workflows.decorators",
    "workflows.handler",
    "workflows.testing",
    "workflows.testing.runner",
    "workflows.representation",
    "workflows.types",
)


def public_names(module):
    """What a module offers: its `__all__`, or what it defines without an underscore."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return list(listed)
    # A type alias counts as defined there; type variables are spelling.
    return [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and not name.isupper()
        and not inspect.ismodule(thing)
        and getattr(thing, "__module__", None) in (module.__name__, None)
    ]


def _llamaindex():
    names = {}
    for path in MODULES:
        module = importlib.import_module(path)
        names |= {name: getattr(module, name) for name in public_names(module)}
    return names


# `brief` is a run's timeout where LlamaIndex has to sit it out and stepwell does not.
LLAMAINDEX = SimpleNamespace(**_llamaindex(), engine="llamaindex", brief=0.1)
STEPWELL = SimpleNamespace(
    **{name: getattr(stepwell, name) for name in stepwell.__all__},
    engine="stepwell",
    brief=60,
)


def leaves_coroutines(test):
    """For a program in which LlamaIndex forgets to await something."""
    for ignored in (
        "ignore:coroutine .* was never awaited:RuntimeWarning",
        "ignore::pytest.PytestUnraisableExceptionWarning",
    ):
        test = pytest.mark.filterwarnings(ignored)(test)
    return pytest.mark.usefixtures("leftovers")(test)


class Raised:
    """An exception as an outcome: equal to another that one `except` would catch.

    That is the point of comparison, because stepwell's classes have more bases: a
    program written for LlamaIndex has to catch by the name it knows.
    """

    def __init__(self, error):
        self.error = error
        self.kinds = [kind.__name__ for kind in type(error).__mro__]
        self.text = str(error)

    def __eq__(self, other):
        if isinstance(other, str):
            return other in self.kinds
        return isinstance(other, Raised) and (
            self.kinds[0] in other.kinds or other.kinds[0] in self.kinds
        )

    __hash__ = None

    def __repr__(self):
        return f"Raised({self.kinds[0]}: {self.text})"


async def ending(awaitable):
    """What awaiting gives, or what it raises."""
    try:
        return await awaitable
    except (Exception, asyncio.CancelledError) as error:
        return Raised(error)


async def settle():
    """Let everything go on that can, until only time or another event helps."""
    for _ in range(100):
        await asyncio.sleep(0)


def trying(function, *args, **kwargs):
    """What calling gives, or what it raises."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return Raised(error)


def importable(kind):
    """A class of a program as if it stood at the top of its module.

    LlamaIndex restores saved events by importing their classes, so those inside a
    function do not come back (test_bugs has that as a test of its own).
    """
    kind.__qualname__ = kind.__name__
    setattr(sys.modules[kind.__module__], kind.__name__, kind)
    return kind


def fields_of(event):
    """The fields of an event of either engine, declared or not, without empty ones."""
    fields = {name: getattr(event, name) for name in type(event).model_fields}
    fields |= event.items()
    fields["result"] = getattr(event, "result", None)
    return {name: value for name, value in fields.items() if value is not None}


def shown(event):
    """An event as its class name and its fields."""
    return type(event).__name__, fields_of(event)


async def stream_of(handler, **options):
    """All events of a run's stream, shown."""
    return [shown(event) async for event in handler.stream_events(**options)]


async def names_of(handler, **options):
    """The class names of all events of a run's stream."""
    return [name for name, _ in await stream_of(handler, **options)]


async def on_both(program):
    """What a program does on LlamaIndex Workflows, and on stepwell."""
    outcomes = []
    for names in (LLAMAINDEX, STEPWELL):
        outcomes.append(await ending(program(names)))
        await _sweep()
    return tuple(outcomes)


async def same(program):
    """The outcome of a program, which must be the same on both engines."""
    theirs, ours = await on_both(program)
    assert ours == theirs, f"llamaindex: {theirs!r}\nstepwell: {ours!r}"
    return ours


async def _sweep():
    """Stop what an abandoned run left behind, so that it meets no later program."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
