"""The mistakes people make first: whoever reads only the message can mend the program.

Each is a notebook cell as a beginner writes it, with what its error has to say and
the change that mends it. That change is made, and the cell has to run then.
"""

import ast
import gc
import inspect
import itertools
import re
import sys
import types
import warnings
from textwrap import dedent, indent
from typing import NamedTuple

import pytest

from stepwell.errors import StepwellError
from stepwell.testing import VirtualClock

PRELUDE = """
import asyncio
from typing import Annotated
from pydantic import BaseModel
from stepwell import *
from stepwell.errors import *
"""
_numbers = itertools.count(1)


class Outcome(NamedTuple):
    error: BaseException | None
    warned: list[str]


def run_cell(code: str, *, script: bool = False) -> Outcome:
    """Execute code as a notebook does, or as a script where no loop runs."""
    module = types.ModuleType(f"cell_{next(_numbers)}")
    clock = vars(module)["clock"] = VirtualClock()
    sys.modules[module.__name__] = module
    flags = 0 if script else ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    error = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(PRELUDE, vars(module))
        try:
            cell = types.FunctionType(
                compile(code, "<cell>", "exec", flags), vars(module)
            )
            cell() if script else clock.run(_awaited(cell))
        except Exception as raised:
            error = raised.with_traceback(None)
        del sys.modules[module.__name__]
    return Outcome(error, [str(warning.message) for warning in caught])


async def _awaited(cell) -> None:
    waiting = cell()
    if inspect.iscoroutine(waiting):
        await waiting


def told(error: BaseException) -> str:
    """All that a person sees of an error."""
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


class Mistake(NamedTuple):
    """A mistake.

    Attributes:
        name: What was done wrong.
        code: The program.
        error: Name of the class of the error.
        says: What its message has to name, the way out last.
        old: What is wrong in the program.
        new: What the message has people write in its place.
        script: Whether it is a script, where no event loop runs.
    """

    name: str
    code: str
    error: str
    says: list[str]
    old: str
    new: str
    script: bool = False


def flow(body: str, run: str = "await Flow().run()", above: str = "") -> str:
    """A cell that defines `Flow` and runs it."""
    steps = indent(dedent(body).strip(), "    ")
    return f"{dedent(above)}\nclass Flow(Workflow):\n{steps}\n\n{dedent(run).strip()}\n"


ONE_STEP = flow("""
    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=1)
""")
EVENTS = """
    class Query(Event):
        text: str = ""

    class Answer(Event):
        text: str = ""
"""


def one_step(old: str, new: str) -> str:
    """The shortest workflow with something replaced."""
    assert old in ONE_STEP
    return ONE_STEP.replace(old, new)


CHILD = one_step("class Flow", "class Child").replace("await Flow().run()", "")


def in_step(lines: str, annotation: str = "StopEvent", above: str = EVENTS) -> str:
    """The same with a context, and with other lines in its step."""
    head = (
        f"@step\nasync def begin(self, ctx: Context, ev: StartEvent) -> {annotation}:"
    )
    return flow(f"{head}\n{indent(dedent(lines).strip(), '    ')}", above=above)


def two_steps(first: str, annotation: str, second: str, takes: str = "Query") -> str:
    """A workflow of two steps that hand a `Query` over."""
    return flow(
        f"""
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> {annotation}:
        {first}

    @step
    async def end(self, ctx: Context, ev: {takes}) -> StopEvent | None:
        {second}
    """,
        above=EVENTS,
    )


DB = "ev: StartEvent, db: Annotated[str, Resource(connect)]"
WRITTEN = [
    Mistake(
        "@step is forgotten",
        one_step("    @step\n", ""),
        "WorkflowConfigurationError",
        ["Flow", "Not decorated with @step: `begin`", "Put @step right above"],
        "    async def begin",
        "    @step\n    async def begin",
    ),
    Mistake(
        "@step is forgotten in the middle",
        flow(
            """
            @step
            async def begin(self, ev: StartEvent) -> Query:
                return Query()

            def middle(self, ev: Query) -> Answer:
                return Answer()

            @step
            async def end(self, ev: Answer) -> StopEvent:
                return StopEvent()
            """,
            above=EVENTS,
        ),
        "WorkflowValidationError",
        ["`end` waits for Answer", "Not decorated with @step: `middle`"],
        "    def middle",
        "    @step\n    def middle",
    ),
    Mistake(
        "self is forgotten",
        one_step("self, ", ""),
        "WorkflowValidationError",
        ["step `begin`", "its first parameter is `ev`", "Write `self` first"],
        "(ev: ",
        "(self, ev: ",
    ),
    Mistake(
        "self is forgotten before a context",
        one_step("self, ", "ctx: Context, "),
        "WorkflowValidationError",
        ["its first parameter is `ctx`", "begin(self, ctx: …, ev: …)"],
        "(ctx: ",
        "(self, ctx: ",
    ),
    Mistake(
        "the context has no annotation",
        one_step("self, ", "self, ctx, "),
        "WorkflowValidationError",
        ["step `begin`", "`ctx` has no annotation", "Write `ctx: Context`"],
        "ctx,",
        "ctx: Context,",
    ),
    Mistake(
        "the event has no annotation",
        one_step("ev: StartEvent", "event"),
        "WorkflowValidationError",
        ["step `begin`", "`event` has no annotation", "Write `event: StartEvent`"],
        "event)",
        "event: StartEvent)",
    ),
    Mistake(
        "a default in the place of the annotation",
        one_step("ev: StartEvent", "ev=StartEvent"),
        "WorkflowValidationError",
        ["step `begin`", "no parameter is annotated", "begin(self, ev: StartEvent)"],
        "ev=StartEvent",
        "ev: StartEvent",
    ),
    Mistake(
        "an event in the place of its class",
        one_step("ev: StartEvent", "ev: StartEvent()"),
        "WorkflowValidationError",
        ["parameter `ev`", "not a class", "`ev: StartEvent`"],
        "StartEvent()",
        "StartEvent",
    ),
    Mistake(
        "an event class that derives from nothing",
        "class Ask:\n    pass\n" + one_step("ev: StartEvent", "ev: Ask"),
        "WorkflowValidationError",
        ["`ev` is annotated Ask, which is no event class", "class Ask(Event)"],
        "class Ask:",
        "class Ask(StartEvent):",
    ),
    Mistake(
        "a value in the place of an event",
        one_step("ev: StartEvent", "ev: StartEvent, query: str"),
        "WorkflowValidationError",
        ["parameter `query`", "make the value a field", "`ev.query`"],
        ", query: str",
        "",
    ),
    Mistake(
        "no return annotation",
        one_step(" -> StopEvent", ""),
        "WorkflowValidationError",
        ["step `begin`", "no return annotation", "-> StopEvent"],
        "StartEvent):",
        "StartEvent) -> StopEvent:",
    ),
    Mistake(
        "a plain value in the return annotation",
        one_step("-> StopEvent", "-> str"),
        "WorkflowValidationError",
        ["step `begin`", "names str", "return StopEvent(result=…)"],
        "-> str",
        "-> StopEvent",
    ),
    Mistake(
        "a list of classes as return annotation",
        one_step("-> StopEvent", "-> [StopEvent, InputRequiredEvent]"),
        "WorkflowValidationError",
        ["step `begin`", "a list", "`-> StopEvent | InputRequiredEvent`"],
        "[StopEvent, InputRequiredEvent]",
        "StopEvent | InputRequiredEvent",
    ),
    Mistake(
        "`or` between the classes of the annotation",
        one_step("-> StopEvent", "-> InputRequiredEvent or StopEvent"),
        "WorkflowConfigurationError",
        [
            "Flow",
            "no step that returns a StopEvent",
            "`-> Other | StopEvent` with a bar",
        ],
        " or ",
        " | ",
    ),
    Mistake(
        "a misspelt class in quotes",
        dedent(EVENTS) + one_step("ev: StartEvent", 'ev: "StartEvnt"'),
        "WorkflowValidationError",
        [
            "step `begin`",
            "'StartEvnt', which is not defined",
            "Did you mean StartEvent",
        ],
        "StartEvnt",
        "StartEvent",
    ),
    Mistake(
        "a step that yields",
        one_step("return StopEvent", "yield StopEvent"),
        "WorkflowValidationError",
        ["step `begin`", "generator", "Return the event"],
        "yield",
        "return",
    ),
    Mistake(
        "a misspelt option of @step",
        one_step("@step", "@step(num_worker=2)"),
        "WorkflowArgumentError",
        ["@step", "'num_worker'", "Did you mean num_workers?"],
        "num_worker=",
        "num_workers=",
    ),
    Mistake(
        "an option of @step in quotes",
        one_step("@step", '@step(num_workers="2")'),
        "WorkflowValidationError",
        ["step `begin`", "num_workers", "'2'", "num_workers=4"],
        '"2"',
        "2",
    ),
    Mistake(
        "@step is given the event",
        one_step("@step", "@step(StartEvent)"),
        "WorkflowValidationError",
        ["@step", "the class StartEvent", "Put @step right above"],
        "@step(StartEvent)",
        "@step",
    ),
    Mistake(
        "a number as retry policy",
        one_step("@step", "@step(retry_policy=3)"),
        "WorkflowValidationError",
        ["step `begin`", "retry_policy", "ConstantDelayRetryPolicy("],
        "=3",
        "=ConstantDelayRetryPolicy(maximum_attempts=3, delay=1)",
    ),
    Mistake(
        "a retry policy that is not called",
        one_step("@step", "@step(retry_policy=ConstantDelayRetryPolicy)"),
        "WorkflowValidationError",
        ["step `begin`", "retry_policy=ConstantDelayRetryPolicy()"],
        "RetryPolicy)",
        "RetryPolicy())",
    ),
    Mistake(
        "two steps of one name",
        two_steps("return Query()", "Query", "return StopEvent()").replace(
            "def end", "def begin"
        ),
        "WorkflowValidationError",
        ["Flow", "two steps named `begin`", "name of its own"],
        "def begin(self, ctx: Context, ev: Query",
        "def end(self, ctx: Context, ev: Query",
    ),
    Mistake(
        "a step named step",
        two_steps("return Query()", "Query", "return StopEvent()").replace(
            "def begin", "def step"
        ),
        "WorkflowValidationError",
        ["Flow", "named `step`", "hides @step", "another name"],
        "def step",
        "def begin",
    ),
    Mistake(
        "a step named run",
        one_step("def begin", "def run"),
        "WorkflowValidationError",
        ["Flow", "named `run`", "another name"],
        "def run",
        "def begin",
    ),
    Mistake(
        "an inner class by way of its outer one",
        flow("""
            class Ask(StartEvent):
                pass

            @step
            async def begin(self, ev: Flow.Ask) -> StopEvent:
                return StopEvent()
        """),
        "WorkflowValidationError",
        ["Flow", "without `Flow.`"],
        "Flow.Ask",
        "Ask",
    ),
    Mistake(
        "a free function without its workflow",
        "class Flow(Workflow):\n    pass\n\n@step\n"
        "async def begin(ev: StartEvent) -> StopEvent:\n    return StopEvent()\n\n"
        "await Flow().run()\n",
        "WorkflowValidationError",
        ["step `begin`", "free function", "@step(workflow=MyWorkflow)"],
        "@step",
        "@step(workflow=Flow)",
    ),
    Mistake(
        "the name of a workflow in the place of its class",
        "class Flow(Workflow):\n    pass\n\n@step(workflow='Flow')\n"
        "async def begin(ev: StartEvent) -> StopEvent:\n    return StopEvent()\n\n"
        "await Flow().run()\n",
        "WorkflowValidationError",
        ["step `begin`", "'Flow'", "without quotes"],
        "'Flow'",
        "Flow",
    ),
    Mistake(
        "a resource without Resource",
        "def connect():\n    return 1\n"
        + one_step("ev: StartEvent", "ev: StartEvent, db: Annotated[int, connect]"),
        "WorkflowValidationError",
        ["parameter `db`", "`db: Annotated[int, Resource(connect)]`"],
        "Annotated[int, connect]",
        "Annotated[int, Resource(connect)]",
    ),
    Mistake(
        "a resource without Annotated",
        "def connect():\n    return 1\n"
        + one_step("ev: StartEvent", "ev: StartEvent, db: Resource(connect)"),
        "WorkflowValidationError",
        ["parameter `db`", "in the wrong place", "Annotated[T, Resource(connect)]"],
        "db: Resource(connect)",
        "db: Annotated[int, Resource(connect)]",
    ),
    Mistake(
        "a resource as default",
        "def connect():\n    return 1\n"
        + one_step("ev: StartEvent", "ev: StartEvent, db: int = Resource(connect)"),
        "WorkflowValidationError",
        ["parameter `db`", "`db: Annotated[int, Resource(connect)]`"],
        "db: int = Resource(connect)",
        "db: Annotated[int, Resource(connect)]",
    ),
    Mistake(
        "a resource that needs something itself",
        "def connect(url):\n    return url\n"
        + one_step("ev: StartEvent", DB).replace("result=1", "result=db"),
        "WorkflowValidationError",
        ["Flow", "step `begin`, parameter `db`", "`connect`", "`url`", "a default"],
        "(url)",
        "(url='local')",
    ),
    Mistake(
        "@catch_error takes the exception",
        flow("""
            @step
            async def begin(self, ev: StartEvent) -> StopEvent:
                raise OSError

            @catch_error
            async def mend(self, ev: OSError) -> StopEvent:
                return StopEvent(result=str(ev))
        """),
        "WorkflowValidationError",
        ["step `mend`", "parameter `ev`", "`ev: StepFailedEvent`"],
        "ev: OSError",
        "ev: StepFailedEvent",
    ),
]

DECLARED = [
    Mistake(
        "no step takes the start event",
        dedent(EVENTS) + one_step("StartEvent", "Query"),
        "WorkflowConfigurationError",
        ["Flow", "accepts a StartEvent", "async def begin(self, ev: StartEvent)"],
        "ev: Query",
        "ev: StartEvent",
    ),
    Mistake(
        "no step returns the stop event",
        dedent(EVENTS) + one_step("-> StopEvent", "-> Query"),
        "WorkflowConfigurationError",
        ["Flow", "returns a StopEvent", "`-> StopEvent`"],
        "-> Query",
        "-> StopEvent",
    ),
    Mistake(
        "a workflow without steps",
        "class Flow(Workflow):\n    pass\n\nawait Flow().run()\n",
        "WorkflowConfigurationError",
        ["Flow has no steps", "@step", "def begin(self, ev: StartEvent) -> StopEvent"],
        "    pass",
        "    @step\n    async def begin(self, ev: StartEvent) -> StopEvent:\n"
        "        return StopEvent()",
    ),
    Mistake(
        "two classes of start event",
        flow(
            """
            @step
            async def begin(self, ev: Ask) -> StopEvent:
                return StopEvent()

            @step
            async def beside(self, ev: StartEvent) -> None: ...
            """,
            above="class Ask(StartEvent): ...\n",
        ),
        "WorkflowConfigurationError",
        ["Flow", "Ask, StartEvent", "one class"],
        "ev: StartEvent",
        "ev: Ask",
    ),
    Mistake(
        "state without defaults",
        "class State(BaseModel):\n    count: int\n"
        + one_step("self, ", "self, ctx: Context[State], "),
        "WorkflowConfigurationError",
        ["State", "Flow", "`begin`", "no default for count", "State a default"],
        "count: int",
        "count: int = 0",
    ),
    Mistake(
        "a misspelt option",
        one_step("Flow()", "Flow(timeot=3)"),
        "WorkflowArgumentError",
        ["Flow(…) takes no timeot=", "Did you mean timeout?"],
        "timeot",
        "timeout",
    ),
    Mistake(
        "a misspelt option handed on by a subclass",
        flow(
            """
            def __init__(self, model="small", **kwargs):
                super().__init__(**kwargs)

            @step
            async def begin(self, ev: StartEvent) -> StopEvent:
                return StopEvent()
            """,
            "await Flow(modle='big').run()",
        ),
        "WorkflowArgumentError",
        ["Flow(…) takes no modle=", "Did you mean model?", "It takes: model, timeout"],
        "modle",
        "model",
    ),
    Mistake(
        "an __init__ that hands no options on",
        flow(
            """
            def __init__(self):
                super().__init__()

            @step
            async def begin(self, ev: StartEvent) -> StopEvent:
                return StopEvent()
            """,
            "await Flow(timeout=3).run()",
        ),
        "WorkflowArgumentError",
        ["Flow.__init__ does not take timeout=", "super().__init__(**kwargs)"],
        "__init__(self):\n        super().__init__()",
        "__init__(self, **kwargs):\n        super().__init__(**kwargs)",
    ),
    Mistake(
        "a misspelt event class",
        two_steps("return Query()", "Query", "return StopEvent()", "Quary").replace(
            "class Answer", "class Quary"
        ),
        "WorkflowValidationError",
        ["`end` waits for Quary", "`begin` returns Query", "Did you mean Query?"],
        "ev: Quary",
        "ev: Query",
    ),
    Mistake(
        "an event that is sent and not declared",
        two_steps("ctx.send_event(Query())", "None", "return StopEvent()"),
        "WorkflowValidationError",
        ["Flow", "`end` waits for Query", "ctx.send_event must stand in its return"],
        "-> None",
        "-> Query | None",
    ),
    Mistake(
        "a step that takes the stop event",
        two_steps("return StopEvent()", "StopEvent", "print(ev)", "StopEvent"),
        "WorkflowValidationError",
        ["Flow", "`end` accepts StopEvent", "event of your own"],
        "begin(self, ctx: Context, ev: StartEvent) -> StopEvent:\n"
        "        return StopEvent()\n\n    @step\n"
        "    async def end(self, ctx: Context, ev: StopEvent) -> StopEvent | None:\n"
        "        print(ev)",
        "begin(self, ctx: Context, ev: StartEvent) -> Query:\n"
        "        return Query()\n\n    @step\n"
        "    async def end(self, ctx: Context, ev: Query) -> StopEvent | None:\n"
        "        return StopEvent()",
    ),
    Mistake(
        "a step that takes any event",
        two_steps("return Query()", "Query", "return StopEvent()", "Event"),
        "WorkflowValidationError",
        ["`end` takes Event", "exact class", "`ev: A | B`"],
        "ev: Event",
        "ev: Query",
    ),
    Mistake(
        "two classes of one name",
        two_steps("return Other()", "Other", "return StopEvent()").replace(
            "\nclass Flow",
            "\nother = {'Event': Event, '__name__': 'my_events'}\n"
            "exec('class Query(Event): ...', other)\nOther = other['Query']\n"
            "class Flow",
        ),
        "WorkflowValidationError",
        ["`end` waits for Query", "two classes named Query", "my_events.Query"],
        "Other = other['Query']",
        "Other = Query",
    ),
    Mistake(
        "an answer that is no answer",
        two_steps(
            "return InputRequiredEvent()", "InputRequiredEvent", "return StopEvent()"
        ).replace(
            "await Flow().run()",
            "handler = Flow().run()\nhandler.send_event(Query())\nawait handler",
        ),
        "WorkflowValidationError",
        ["`end` waits for Query", "from outside derives from HumanResponseEvent"],
        "class Query(Event)",
        "class Query(HumanResponseEvent)",
    ),
]
ASK = "class Ask(StartEvent):\n    query: str\n"
CALLED = [
    Mistake(
        "a run without a name for its argument",
        one_step("run()", "run('why?')"),
        "WorkflowRuntimeError",
        ["Flow.run()", "by name", "workflow.run(query='why?')"],
        "run('why?')",
        "run(query='why?')",
    ),
    Mistake(
        "a start event without its name",
        ASK + one_step("StartEvent", "Ask").replace("run()", "run(Ask(query=''))"),
        "WorkflowRuntimeError",
        ["Flow.run()", "by name", "run(start_event=…)"],
        "run(Ask",
        "run(start_event=Ask",
    ),
    Mistake(
        "a context by another name",
        one_step("await Flow().run()", "f = Flow()\nawait f.run(context=Context(f))"),
        "WorkflowRuntimeError",
        ["Flow.run()", "as context=", "run(ctx=…)"],
        "context=",
        "ctx=",
    ),
    Mistake(
        "a run where no loop runs",
        one_step("await Flow().run()", "import asyncio\nasyncio.run(Flow().run())"),
        "NoRunningLoopError",
        ["Flow.run() needs a running event loop", "run_sync(…)"],
        "asyncio.run(Flow().run())",
        "Flow().run_sync()",
        script=True,
    ),
    Mistake(
        "a misspelt field of the start event",
        ASK + one_step("StartEvent", "Ask").replace("run()", "run(qurey='why?')"),
        "WorkflowRuntimeError",
        ["Flow.run()", "Ask: query: Field required", "qurey", "Did you mean query?"],
        "qurey",
        "query",
    ),
    Mistake(
        "run on the class",
        one_step("Flow().run()", "Flow.run(query='why?')"),
        "WorkflowArgumentError",
        ["Flow.run(…) was called on the class", "Flow().run(…)"],
        "Flow.run",
        "Flow().run",
    ),
    Mistake(
        "reading the stream of a workflow",
        one_step(
            "await Flow().run()",
            "flow = handler = Flow()\nif flow is handler:\n    flow.run()\n"
            "async for event in flow.stream_events(): pass",
        ),
        "AttributeError",
        ["'Flow' object has no attribute 'stream_events'", "`handler.stream_events("],
        "handler = Flow()\nif flow is handler:\n    flow.run()\n"
        "async for event in flow.",
        "Flow()\nhandler = flow.run()\nasync for event in handler.",
    ),
    Mistake(
        "a method of other libraries",
        one_step("run()", "invoke()"),
        "AttributeError",
        ["'Flow'", "'invoke'", "`await workflow.run(…)`"],
        "invoke",
        "run",
    ),
    Mistake(
        "an item of a run that was not awaited",
        one_step("result=1", "result={'x': 1}").replace(
            "await Flow().run()", "answer = Flow().run()\nanswer['x']"
        ),
        "WorkflowArgumentError",
        ["WorkflowHandler", "['x']", "`result = await handler`"],
        "answer = Flow",
        "answer = await Flow",
    ),
    Mistake(
        "an attribute of a run that was not awaited",
        one_step("result=1", "result='yes'").replace(
            "await Flow().run()", "answer = Flow().run()\nanswer.upper()"
        ),
        "AttributeError",
        ["WorkflowHandler", "'upper'", "`result = await handler`"],
        "answer = Flow",
        "answer = await Flow",
    ),
    Mistake(
        "the result of a run before its end",
        one_step("await Flow().run()", "handler = Flow().run()\nhandler.result()"),
        "WorkflowRuntimeError",
        ["Flow", "still going on", "`result = await handler`"],
        "handler.result()",
        "result = await handler",
    ),
    Mistake(
        "a context of a class",
        one_step("await Flow().run()", "ctx = Context(Flow)"),
        "ContextStateError",
        ["Context", "the class Flow", "Context(Flow())"],
        "Context(Flow)",
        "Context(Flow())",
    ),
    Mistake(
        "one context for two runs at once",
        one_step(
            "await Flow().run()",
            "flow = Flow()\nctx = Context(flow)\nflow.run(ctx=ctx)\n"
            "await flow.run(ctx=ctx)",
        ),
        "ContextStateError",
        ["this context", "still going on", "Await that run first"],
        "\nflow.run(ctx=ctx)",
        "\nawait flow.run(ctx=ctx)",
    ),
    Mistake(
        "a context that has no run",
        one_step("await Flow().run()", "Context(Flow()).send_event(StartEvent())"),
        "ContextStateError",
        ["ctx.send_event", "needs a run", "workflow.run(ctx=ctx)"],
        "Context(Flow()).send_event(StartEvent())",
        "flow = Flow()\nctx = Context(flow)\nawait flow.run(ctx=ctx)",
    ),
    Mistake(
        "an event after the end",
        two_steps("return StopEvent()", "StopEvent", "...", "HumanResponseEvent")
        + "handler = Flow().run()\nawait handler\n"
        "handler.send_event(HumanResponseEvent())\n",
        "WorkflowRuntimeError",
        ["HumanResponseEvent", "after the end of the run of Flow", "Start a new run"],
        "await handler\nhandler.send_event(HumanResponseEvent())\n",
        "handler.send_event(HumanResponseEvent())\nawait handler\n",
    ),
]

RETURNED = [
    Mistake(
        "a text is returned",
        one_step("return StopEvent(result=1)", "return 'done'"),
        "WorkflowRuntimeError",
        ["`begin` of Flow returned str 'done'", "`return StopEvent(result=…)`"],
        "'done'",
        "StopEvent(result='done')",
    ),
    Mistake(
        "a dictionary is returned",
        two_steps("return {'text': 'hi'}", "Query", "return StopEvent()"),
        "WorkflowRuntimeError",
        ["`begin` of Flow returned dict", "`return Query(text=…)`"],
        "{'text': 'hi'}",
        "Query(text='hi')",
    ),
    Mistake(
        "a tuple is returned",
        two_steps("return Query(), Query()", "list[Query]", "return StopEvent()"),
        "WorkflowRuntimeError",
        ["`begin` of Flow returned tuple", "go into a list"],
        "return Query(), Query()",
        "return [Query(), Query()]",
    ),
    Mistake(
        "an event class is returned",
        one_step("StopEvent(result=1)", "StopEvent"),
        "WorkflowRuntimeError",
        ["`begin` of Flow returned the class StopEvent", "`StopEvent(…)`"],
        "return StopEvent",
        "return StopEvent()",
    ),
    Mistake(
        "an await is missing",
        flow("""
            async def _ask(self):
                return StopEvent(result=1)

            @step
            async def begin(self, ev: StartEvent) -> StopEvent:
                return self._ask()
        """),
        "WorkflowRuntimeError",
        ["`begin` of Flow returned the coroutine of `_ask`", "`return await`"],
        "return self",
        "return await self",
    ),
    Mistake(
        "a run is returned",
        flow(
            """
            @step
            async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
                return StopEvent(result=Child().run())
            """,
            above=CHILD,
        ),
        "WorkflowRuntimeError",
        ["`begin` of Flow", "a run of a workflow", "`await ctx.run(workflow, …)`"],
        "Child().run()",
        "await ctx.run(Child())",
    ),
    Mistake(
        "a list is returned where one event is declared",
        two_steps("return [Query(), Query()]", "Query", "return StopEvent()"),
        "WorkflowRuntimeError",
        ["`begin` of Flow returned a list", "annotation says Query", "-> list[Query]"],
        "-> Query",
        "-> list[Query]",
    ),
    Mistake(
        "one event is returned where a list is declared",
        two_steps("return Query()", "list[Query]", "return StopEvent()"),
        "WorkflowRuntimeError",
        ["`begin` of Flow returned Query", "says list[Query]", "list[Query] | Query"],
        "-> list[Query]",
        "-> list[Query] | Query",
    ),
    Mistake(
        "an event is returned that was not declared",
        two_steps("return StopEvent()", "Query", "return StopEvent()"),
        "WorkflowRuntimeError",
        ["`begin` of Flow returned StopEvent", "says Query", "`-> Query | StopEvent`"],
        "-> Query",
        "-> Query | StopEvent",
    ),
    Mistake(
        "a subclass is returned that no step names",
        two_steps("return Special()", "Query", "return StopEvent()").replace(
            "\nclass Flow", "\nclass Special(Query): ...\n\nclass Flow"
        ),
        "WorkflowRuntimeError",
        [
            "`begin`",
            "Special",
            "`end` accepts its base class Query",
            "event_subclasses",
        ],
        "@step\n    async def end",
        "@step(accept_event_subclasses=True)\n    async def end",
    ),
    Mistake(
        "result is misspelt",
        one_step("result=1", "results=1"),
        "WorkflowRuntimeError",
        ["`begin` of Flow", "results=", "`StopEvent(result=…)`"],
        "results=",
        "result=",
    ),
    Mistake(
        "the result is something to await",
        in_step("await ctx.set('n', 1)\nreturn StopEvent(result=ctx.get('n'))"),
        "WorkflowRuntimeError",
        ["`begin` of Flow", "coroutine of `get`", "`await` is missing"],
        "result=ctx",
        "result=await ctx",
    ),
    Mistake(
        "return is forgotten",
        two_steps("Query()", "Query", "return StopEvent()"),
        "WorkflowStalledError",
        ["`begin` on StartEvent; it returned None", "Is a `return` missing in `begin`"],
        "        Query()",
        "        return Query()",
    ),
    Mistake(
        "num_workers is to multiply events",
        two_steps(
            "return Query()",
            "Query | list[Query]",
            "return StopEvent() if ctx.collect_events(ev, [Query] * 3) else None",
        ).replace(
            "@step\n    async def end", "@step(num_workers=3)\n    async def end"
        ),
        "WorkflowStalledError",
        ["`end` has 1 of 3 Query", "num_workers limits", "return a list of them"],
        "return Query()",
        "return [Query(), Query(), Query()]",
    ),
    Mistake(
        "events are collected that the step does not take",
        flow(
            """
            @step
            async def begin(self, ev: StartEvent) -> Query:
                return Query()

            @step
            async def answer(self, ev: Query) -> Answer:
                return Answer()

            @step
            async def log(self, ev: Answer) -> None: ...

            @step
            async def end(self, ctx: Context, ev: Query) -> StopEvent | None:
                both = ctx.collect_events(ev, [Query, Answer])
                return StopEvent() if both else None
            """,
            above=EVENTS,
        ),
        "WorkflowStalledError",
        ["`end` has 1 of 1 Query, 0 of 1 Answer", "does not take it", "Query | Answer"],
        "end(self, ctx: Context, ev: Query)",
        "end(self, ctx: Context, ev: Query | Answer)",
    ),
    Mistake(
        "a loop without a way out",
        "class Again(Event): ...\n"
        + flow("""
            @step(max_visits=3)
            async def begin(self, ev: StartEvent | Again) -> Again | StopEvent:
                return Again()
        """),
        "WorkflowRuntimeError",
        ["`begin` of Flow", "max_visits is 3", "a StopEvent"],
        "return Again()",
        "return StopEvent()",
    ),
]

DONE = [
    Mistake(
        "a misspelt field",
        two_steps(
            "return Query(text='hi')", "Query", "return StopEvent(result=ev.txt)"
        ),
        "AttributeError",
        ["Query has no field 'txt'", "Did you mean text?", "step `end` of Flow"],
        "ev.txt",
        "ev.text",
    ),
    Mistake(
        "a field that the run was not given",
        one_step("result=1", "result=ev.query"),
        "AttributeError",
        ["StartEvent has no field 'query'", "workflow.run(query=…)", "`begin` of Flow"],
        "run()",
        "run(query='why?')",
    ),
    Mistake(
        "a field named like a method",
        one_step("result=1", "result=list(ev.items)").replace(
            "run()", "run(items=[1])"
        ),
        "TypeError",
        ["`begin` of Flow", "named like a method", 'ev["items"]'],
        "ev.items",
        'ev["items"]',
    ),
    Mistake(
        "a misspelt field of a new event",
        two_steps("return Query(txet='hi')", "Query", "return StopEvent()").replace(
            'text: str = ""', "text: str"
        ),
        "ValidationError",
        ["Query has no field 'txet'", "Did you mean text?", "`begin` of Flow"],
        "txet",
        "text",
    ),
    Mistake(
        "a field without its name",
        two_steps("return Query('hi')", "Query", "return StopEvent()"),
        "WorkflowArgumentError",
        ["Query takes its fields by name", "`Query(text='hi')`", "`begin` of Flow"],
        "Query('hi')",
        "Query(text='hi')",
    ),
    Mistake(
        "a misspelt key of the state",
        in_step(
            "await ctx.set('query', 1)\nreturn StopEvent(result=await ctx.get('qurey'))"
        ),
        "ValueError",
        ["'qurey'", "set so far: query", "Did you mean query?", "`begin` of Flow"],
        "'qurey'",
        "'query'",
    ),
    Mistake(
        "ctx.set is not awaited",
        in_step("ctx.set('n', 1)\nreturn StopEvent(result=await ctx.get('n'))"),
        "ValueError",
        ["'n'", "set so far: nothing", "`await ctx.set('n', value)`"],
        "ctx.set",
        "await ctx.set",
    ),
    Mistake(
        "ctx.get is not awaited",
        in_step("return StopEvent(result=ctx.get('n', 0) + 1)"),
        "TypeError",
        ["'coroutine'", "`begin` of Flow", "An `await` is missing"],
        "ctx.get('n', 0)",
        "await ctx.get('n', 0)",
    ),
    Mistake(
        "something to await becomes a field",
        two_steps("return Query(text=ctx.get('n', ''))", "Query", "return StopEvent()"),
        "ValidationError",
        ["Query", "An `await` is missing: text= got a coroutine", "`begin` of Flow"],
        "ctx.get",
        "await ctx.get",
    ),
    Mistake(
        "ctx.wait_for_event is not awaited",
        in_step(
            "answer = ctx.wait_for_event(HumanResponseEvent)\n"
            "return StopEvent(result=answer.response)"
        ).replace(
            "await Flow().run()",
            "handler = Flow().run()\n"
            "handler.send_event(HumanResponseEvent(response=1))\nawait handler",
        ),
        "AttributeError",
        ["'response'", "`begin` of Flow", "`await` is missing", "wait_for_event("],
        "= ctx.wait",
        "= await ctx.wait",
    ),
    Mistake(
        "ctx.send_event is awaited",
        two_steps(
            "await ctx.send_event(Query())", "Query | None", "return StopEvent()"
        ),
        "TypeError",
        ["`begin` of Flow", "Remove that `await`: ctx.send_event"],
        "await ctx.send",
        "ctx.send",
    ),
    Mistake(
        "the context is no dictionary",
        in_step("ctx['n'] = 1\nreturn StopEvent()"),
        "TypeError",
        ["'Context'", "`begin` of Flow", "`await ctx.set(key, value)`"],
        "ctx['n'] = 1",
        "await ctx.set('n', 1)",
    ),
    Mistake(
        "the context of older versions",
        in_step("ctx.data = {'n': 1}\nreturn StopEvent()"),
        "AttributeError",
        ["'Context'", "'data'", "`begin` of Flow", "`await ctx.set(key, value)`"],
        "ctx.data = {'n': 1}",
        "await ctx.set('n', 1)",
    ),
    Mistake(
        "state that was never set",
        in_step("""
            async with ctx.store.edit_state() as state:
                state.count += 1
            return StopEvent()
        """),
        "AttributeError",
        ["no 'count'", "set so far: nothing", "`await ctx.set('count', value)`"],
        "async with",
        "await ctx.set('count', 0)\n        async with",
    ),
    Mistake(
        "async is missing before with",
        in_step("""
            with ctx.store.edit_state() as state:
                state['n'] = 1
            return StopEvent()
        """),
        "TypeError",
        ["`begin` of Flow", "`async with"],
        "with ctx",
        "async with ctx",
    ),
    Mistake(
        "an event in the place of its class is collected",
        two_steps(
            "return Query()",
            "Query",
            "return StopEvent(result=ctx.collect_events(ev, [ev]))",
        ),
        "WorkflowRuntimeError",
        ["ctx.collect_events in step `end`", "[A, B], or [A] * 3"],
        "[ev]",
        "[Query]",
    ),
    Mistake(
        "arguments of collect_events the other way round",
        two_steps(
            "return Query()",
            "Query",
            "return StopEvent(result=ctx.collect_events([Query], ev))",
        ),
        "WorkflowRuntimeError",
        ["ctx.collect_events in step `end`", "[A, B], or [A] * 3"],
        "[Query], ev",
        "ev, [Query]",
    ),
    Mistake(
        "a class is sent",
        two_steps("ctx.send_event(Query)", "Query | None", "return StopEvent()"),
        "WorkflowRuntimeError",
        ["send_event", "the class Query", "`Query(…)`", "`begin` of Flow"],
        "send_event(Query)",
        "send_event(Query())",
    ),
    Mistake(
        "a list is sent",
        two_steps("ctx.send_event([Query()])", "Query | None", "return StopEvent()"),
        "WorkflowRuntimeError",
        ["send_event", "not list", "`for event in events: ctx.send_event(event)`"],
        "ctx.send_event([Query()])",
        "for event in [Query()]: ctx.send_event(event)",
    ),
    Mistake(
        "an event is sent to a misspelt step",
        two_steps(
            "ctx.send_event(Query(), 'ende')", "Query | None", "return StopEvent()"
        ),
        "WorkflowStepDoesNotExistError",
        ["Flow has no step 'ende'", "begin, end", "Did you mean end?"],
        "'ende'",
        "'end'",
    ),
    Mistake(
        "the stop event is sent",
        in_step("ctx.send_event(StopEvent())"),
        "WorkflowRuntimeError",
        ["StopEvent", "only when a step returns it", "`return StopEvent(…)`"],
        "ctx.send_event(StopEvent())",
        "return StopEvent()",
    ),
    Mistake(
        "the stop event is raised",
        in_step("raise StopEvent(result=1)"),
        "TypeError",
        ["`begin` of Flow", "returned, not raised", "`return StopEvent(result=…)`"],
        "raise",
        "return",
    ),
    Mistake(
        "an answer in the place of its class is waited for",
        in_step(
            "answer = await ctx.wait_for_event(HumanResponseEvent())\n"
            "return StopEvent(result=answer.response)"
        ).replace(
            "await Flow().run()",
            "handler = Flow().run()\n"
            "handler.send_event(HumanResponseEvent(response=1))\nawait handler",
        ),
        "WorkflowRuntimeError",
        [
            "ctx.wait_for_event in step `begin`",
            "ctx.wait_for_event(HumanResponseEvent)",
        ],
        "event(HumanResponseEvent())\n        return",
        "event(HumanResponseEvent)\n        return",
    ),
    Mistake(
        "an event is sent by way of self",
        two_steps("self.send_event(Query())", "Query | None", "return StopEvent()"),
        "AttributeError",
        ["'Flow'", "'send_event'", "`ctx.send_event`"],
        "self.send",
        "ctx.send",
    ),
    Mistake(
        "a text is written to the stream",
        "class Progress(Event):\n    text: str\n"
        + in_step("ctx.write_event_to_stream('half')\nreturn StopEvent()"),
        "WorkflowRuntimeError",
        ["write_event_to_stream takes an Event, not str", "with the value as a field"],
        "'half'",
        "Progress(text='half')",
    ),
    Mistake(
        "a loop is started inside a step",
        in_step("asyncio.run(ctx.set('n', 1))\nreturn StopEvent()"),
        "RuntimeError",
        ["running event loop", "`begin` of Flow", "write `await`"],
        "asyncio.run(ctx.set('n', 1))",
        "await ctx.set('n', 1)",
    ),
    Mistake(
        "a workflow class is run inside a step",
        flow(
            """
            @step
            async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
                return StopEvent(result=await ctx.run(Child))
            """,
            above=CHILD,
        ),
        "ContextStateError",
        ["ctx.run", "the class Child", "`await ctx.run(Child(), …)`"],
        "ctx.run(Child)",
        "ctx.run(Child())",
    ),
    Mistake(
        "a run takes too long",
        in_step("await asyncio.sleep(50)\nreturn StopEvent()"),
        "WorkflowTimeoutError",
        ["Flow did not finish within 45 seconds", "still running: begin", "timeout=…"],
        "Flow()",
        "Flow(timeout=60)",
    ),
    Mistake(
        "a step takes too long",
        in_step("await asyncio.sleep(5)\nreturn StopEvent()").replace(
            "@step", "@step(timeout=3)"
        ),
        "StepTimeoutError",
        [
            "`begin` of Flow",
            "3 seconds",
            "on StartEvent, attempt 1",
            "@step(timeout=…)",
        ],
        "timeout=3",
        "timeout=6",
    ),
    Mistake(
        "a step keeps the loop from everything else",
        in_step(
            "clock.now += 60  # time.sleep(60)\nawait asyncio.sleep(1)\n"
            "return StopEvent()"
        ),
        "WorkflowTimeoutError",
        ["Flow", "event loop was blocked for 15 seconds", "plain `def`", "to_thread"],
        "clock.now += 60  #",
        "#",
    ),
    Mistake(
        "an exception in a step",
        in_step("return StopEvent(result=1 / 0)"),
        "ZeroDivisionError",
        ["division by zero", "in step `begin` of Flow, on StartEvent, attempt 1"],
        "1 / 0",
        "1 / 1",
    ),
]
MISTAKES = [*WRITTEN, *DECLARED, *CALLED, *RETURNED, *DONE]
EVERY_MISTAKE = pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.name)
# What says nothing to a beginner: modules and files of ours, addresses, and what
# Python calls classes.
INNER = re.compile(
    r"stepwell\.(?!retry)\w|\.py\b|/src/|0x[0-9a-f]{4}|<class |<function |EventMeta"
)


# Something that is to be awaited and is not.
FORGOTTEN = re.compile(r"(?<!await )\b(ctx\.\w+|\w+\(\)\.run|asyncio\.\w+)\(")


@pytest.fixture(autouse=True)
def coroutines_nobody_awaited_are_collected_here(request):
    """An error that holds one is held by its own traceback, until it is collected."""
    yield
    given = getattr(request.node, "callspec", None)
    mistake = given and given.params.get("mistake")
    if mistake is None or FORGOTTEN.search(mistake.code):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "coroutine .* was never awaited")
            gc.collect()


@EVERY_MISTAKE
def test_the_message_names_what_is_wrong_and_what_to_write(mistake):
    error = run_cell(mistake.code, script=mistake.script).error
    assert type(error).__name__ == mistake.error, told(error)
    missing = [part for part in mistake.says if part not in told(error)]
    assert not missing, f"{missing} not in:\n{told(error)}"


@EVERY_MISTAKE
def test_what_the_message_says_mends_the_program(mistake):
    assert mistake.code.count(mistake.old) == 1, mistake.code
    mended = mistake.code.replace(mistake.old, mistake.new)
    error = run_cell(mended, script=mistake.script).error
    assert error is None, told(error)


@EVERY_MISTAKE
def test_messages_are_short_have_advice_and_show_nothing_of_the_inside(mistake):
    error = run_cell(mistake.code, script=mistake.script).error
    assert len(told(error)) < 800
    assert "None" not in vars(error).values()
    if isinstance(error, StepwellError):
        assert not INNER.search(str(error)), str(error)
        assert "\n" in str(error), f"no advice: {error}"
        assert str(error).splitlines()[0][-1] in ".:?"
    else:
        assert not type(error).__module__.startswith("stepwell")


def test_what_python_says_of_a_forgotten_await_names_the_method():
    cell = in_step("ctx.set('n', 1)\nreturn StopEvent(result=await ctx.get('n', 0))")
    outcome = run_cell(cell)
    assert outcome.error is None
    assert outcome.warned == ["coroutine 'Context.set' was never awaited"]


def test_a_run_that_is_shown_says_that_it_is_to_be_awaited():
    shown = one_step("await Flow().run()", "assert 'await it' in repr(Flow().run())")
    assert run_cell(shown).error is None
    shown = shown.replace("Flow().run()", "await Flow().run()")
    assert isinstance(run_cell(shown).error, AssertionError)


QUESTION = two_steps(
    "return InputRequiredEvent()",
    "InputRequiredEvent",
    "return StopEvent(result=ev.response)",
    "HumanResponseEvent",
)
ANSWER = """
async for event in handler.stream_events():
    if isinstance(event, InputRequiredEvent):
        handler.send_event(HumanResponseEvent(response="yes"))
"""


def test_a_question_that_nobody_can_see_is_told_to_the_log(caplog):
    run_cell(QUESTION.replace("await", "await asyncio.wait_for(") + ", 9)")
    (said,) = caplog.messages
    assert "Flow waits for somebody to answer, and nobody reads its stream" in said
    assert "handler.stream_events()" in said
    assert "handler.send_event(HumanResponseEvent(…))" in said


def test_a_question_that_somebody_sees_is_not(caplog):
    handler = QUESTION.replace("await Flow", "handler = Flow")
    assert run_cell(handler + ANSWER + "await handler").error is None
    assert caplog.messages == []


KEPT = "@step(cache=True)\n    async def end(self, "
HARMLESS = {
    "brackets after @step": one_step("@step", "@step()"),
    "a plain def": one_step("async def", "def"),
    "the result without its name": one_step("result=1", "1"),
    "one class in the place of a list": two_steps(
        "return Query()",
        "Query",
        "return StopEvent(result=ctx.collect_events(ev, Query))",
    ),
    "a default that can be changed": """
        class Bag(Event):
            things: list = []
        Bag().things.append(1)
        assert Bag().things == []
    """,
    "a field named like a method": """
        class Bag(Event):
            items: list = []
        assert Bag(items=[1]).items == [1]
    """,
    "such a field of a kept result's event": two_steps(
        "return Query(items=[1])", "Query", "return StopEvent()"
    )
    .replace('text: str = ""', "items: list = []", 1)
    .replace("@step\n    async def end(self, ctx: Context, ", KEPT),
    "events inside of the class": flow("""
        class Ask(StartEvent):
            pass

        @step
        async def begin(self, ev: Ask) -> StopEvent:
            return StopEvent()
    """),
    "a list of events that come one by one": two_steps(
        "return Query()", "Query", "return StopEvent()", "list[Query]"
    ),
    "an event class that is defined again": dedent(EVENTS)
    + two_steps("return Query()", "Query", "return StopEvent()").replace(
        "await Flow().run()", "class Query(Event): ...\nawait Flow().run()"
    ),
    "an __init__ without super": flow("""
        def __init__(self):
            self.model = "small"

        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=self.model)
    """),
    "a class that is defined again": ONE_STEP + ONE_STEP,
}


@pytest.mark.parametrize("code", HARMLESS.values(), ids=HARMLESS)
def test_what_looks_like_a_mistake_and_is_none(code):
    error = run_cell(dedent(code)).error
    assert error is None, told(error)
