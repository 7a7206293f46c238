"""The rest of what LlamaIndex Workflows has, and what only stepwell has."""

import asyncio
import contextlib
import io
import json
import sys
import types
from typing import Annotated

from pydantic import BaseModel

from parity.engines import (
    ending,
    importable,
    on_both,
    same,
    stream_of,
    trying,
)


class Limits(BaseModel):
    tokens: int
    model: str = "small"


# -- definition --------------------------------------------------------------------


async def test_steps_are_shared_by_deriving():
    async def program(w):
        class Found(w.Event):
            n: int

        class Searching(w.Workflow):
            @w.step
            async def search(self, ev: w.StartEvent) -> Found:
                return Found(n=ev.n)

        class Adding(Searching):
            @w.step
            async def end(self, ev: Found) -> w.StopEvent:
                return w.StopEvent(result=ev.n + 1)

        class Doubling(Searching):
            @w.step
            async def end(self, ev: Found) -> w.StopEvent:
                return w.StopEvent(result=ev.n * 2)

        return [await Adding().run(n=5), await Doubling().run(n=5)]

    assert await same(program) == [6, 10]


async def test_one_free_step_can_serve_several_workflows():
    async def program(w):
        class One(w.Workflow): ...

        class Two(w.Workflow): ...

        @w.step(workflow=One)
        async def begin(ev: w.StartEvent) -> w.StopEvent:
            return w.StopEvent(result=ev.n)

        Two.add_step(begin)
        return [await One().run(n=1), await Two().run(n=2)]

    assert await same(program) == [1, 2]


async def test_annotations_may_be_postponed():
    async def program(w):
        source = """
from __future__ import annotations

class Found(Event):
    n: int

class Flow(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Found | None:
        return Found(n=3)

    @step
    async def end(self, ev: Found) -> StopEvent:
        return StopEvent(result=ev.n)
"""
        module = types.ModuleType("postponed")
        vars(module).update({n: v for n, v in vars(w).items() if n != "engine"})
        sys.modules["postponed"] = module
        try:
            exec(compile(source, "postponed", "exec"), vars(module))
            return await module.Flow().run()
        finally:
            del sys.modules["postponed"]

    assert await same(program) == 3


async def test_a_workflow_inside_another_is_run_by_a_step():
    async def program(w):
        class Inner(w.Workflow):
            @w.step
            async def double(self, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent(result=ev.n * 2)

        class Outer(w.Workflow):
            def __init__(self, inner, **options):
                super().__init__(**options)
                self.inner = inner

            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent(result=await self.inner.run(n=ev.n) + 1)

        return await Outer(Inner(), timeout=5).run(n=4)

    assert await same(program) == 9


# -- resources ---------------------------------------------------------------------


async def test_resources_are_made_once_or_for_every_call():
    async def program(w):
        made = []

        def shared():
            made.append("shared")
            return object()

        async def fresh():
            made.append("fresh")
            return object()

        class Middle(w.Event):
            one: object

        class Flow(w.Workflow):
            @w.step
            async def begin(
                self,
                ev: w.StartEvent,
                one: Annotated[object, w.Resource(shared)],
                other: Annotated[object, w.Resource(fresh, cache=False)],
            ) -> Middle:
                return Middle(one=one)

            @w.step
            async def end(
                self,
                ev: Middle,
                one: Annotated[object, w.Resource(shared)],
                other: Annotated[object, w.Resource(fresh, cache=False)],
            ) -> w.StopEvent:
                return w.StopEvent(result=ev.one is one)

        flow = Flow()
        return [await flow.run(), await flow.run(), sorted(made)]

    assert await same(program) == [True, True, [*["fresh"] * 4, "shared"]]


async def test_resources_may_need_each_other():
    async def program(w):
        def address():
            return "there"

        def client(at: Annotated[str, w.Resource(address)], retries: int = 3):
            return f"client of {at}, {retries}"

        class Flow(w.Workflow):
            @w.step
            async def begin(
                self, ev: w.StartEvent, one: Annotated[str, w.Resource(client)]
            ) -> w.StopEvent:
                return w.StopEvent(result=one)

        return await Flow().run()

    assert await same(program) == "client of there, 3"


async def test_resources_can_be_given_beforehand():
    async def program(w):
        def client():
            raise AssertionError("was given")

        class Flow(w.Workflow):
            @w.step
            async def begin(
                self, ev: w.StartEvent, one: Annotated[str, w.Resource(client)]
            ) -> w.StopEvent:
                return w.StopEvent(result=one)

        manager = w.ResourceManager()
        await manager.set(client.__qualname__, "fake")
        flow = Flow(resource_manager=manager)
        return [await flow.run(), manager.get_all()[client.__qualname__]]

    assert await same(program) == ["fake", "fake"]


async def test_resources_may_be_read_from_a_file(tmp_path):
    path = tmp_path / "limits.json"
    path.write_text(json.dumps({"big": {"limits": {"tokens": 9}}, "tokens": 1}))

    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(
                self,
                ev: w.StartEvent,
                all: Annotated[Limits, w.ResourceConfig(str(path))],
                big: Annotated[
                    Limits,
                    w.ResourceConfig(
                        config_file=str(path),
                        path_selector="big.limits",
                        label="limits",
                        description="How much may be asked for.",
                    ),
                ],
            ) -> w.StopEvent:
                return w.StopEvent(result=[all.tokens, big.tokens, big.model])

        return await Flow().run()

    assert await same(program) == [1, 9, "small"]


async def test_resources_that_cannot_be_had_are_refused_before_the_run(tmp_path):
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps({"tokens": "many"}))

    async def program(w):
        def flow_with(resource):
            class Flow(w.Workflow):
                @w.step
                async def begin(
                    self, ev: w.StartEvent, one: Annotated[Limits, resource]
                ) -> w.StopEvent: ...

            return Flow()

        def circle(one: Annotated[str, w.Resource(lambda: "x")]): ...

        def failing():
            raise LookupError("no key")

        async def check(flow):
            # validate() makes them with asyncio.run, so it needs a thread here
            return await asyncio.to_thread(
                trying, flow.validate, validate_resources=True
            )

        return [
            trying(flow_with(w.ResourceConfig(str(wrong))).validate),
            trying(flow_with(w.ResourceConfig(str(tmp_path / "no.json"))).validate),
            trying(w.ResourceConfig, "limits.yaml"),
            await check(flow_with(w.Resource(failing))),
        ]

    assert await same(program) == [
        "WorkflowValidationError",
        "WorkflowValidationError",
        "ValueError",
        "WorkflowValidationError",
    ]


async def test_resources_of_a_run_are_refused_as_it_begins(tmp_path):
    async def program(w):
        missing = w.ResourceConfig(str(tmp_path / "no.json"))

        class Flow(w.Workflow):
            @w.step
            async def begin(
                self, ev: w.StartEvent, one: Annotated[Limits, missing]
            ) -> w.StopEvent: ...

        async def whole():
            return await Flow().run()

        return await ending(whole())

    assert await same(program) == "WorkflowValidationError"


async def test_resources_in_a_circle_are_an_error():
    async def program(w):
        def first(other): ...
        def second(other): ...

        first.__annotations__["other"] = Annotated[str, w.Resource(second)]
        second.__annotations__["other"] = Annotated[str, w.Resource(first)]
        raised = await ending(w.ResourceManager().get(w.Resource(first)))
        return raised, " -> " in raised.text

    assert await same(program) == ("ValueError", True)


# -- drawing -----------------------------------------------------------------------


async def test_the_graph_as_data():
    async def program(w):
        def client(): ...

        class Question(w.InputRequiredEvent):
            text: str

        class Answer(w.HumanResponseEvent):
            text: str

        class Flow(w.Workflow):
            """Asks once."""

            @w.step
            async def ask(
                self, ev: w.StartEvent, one: Annotated[str, w.Resource(client)]
            ) -> Question | None:
                """Asks."""

            @w.step
            async def hear(self, ev: Answer) -> w.StopEvent: ...

        graph = w.get_workflow_representation(Flow)
        labels = {node.id: node.label for node in graph.nodes}
        labels["external_step"] = "outside"
        arrows = {(labels[e.source], labels[e.target], e.label) for e in graph.edges}
        only_steps = graph.filter_by_node_type("event", "resource", "external")
        questions = [
            node
            for node in graph.nodes
            if node.node_type == "event" and node.is_subclass_of("InputRequiredEvent")
        ]
        return [
            graph.name,
            graph.description,
            sorted(type(node).__name__ for node in graph.nodes),
            sorted(arrows, key=str),
            sorted(node.id for node in only_steps.nodes),
            [
                (q.event_types[:2], q.produced_by, list(q.event_schema["properties"]))
                for q in questions
            ],
            next(n.description for n in graph.nodes if n.id == "ask"),
        ]

    name, description, kinds, arrows, steps, questions, ask = await same(program)
    assert (name, description, steps, ask) == (
        "Flow",
        "Asks once.",
        ["ask", "hear"],
        "Asks.",
    )
    assert kinds.count("WorkflowEventNode") == 4
    assert ("ask", "Question", None) in arrows and ("ask", "str", "one") in arrows
    assert questions == [(["Question", "InputRequiredEvent"], ["ask"], ["text"])]


async def test_the_graph_without_its_events_has_their_names_on_the_arrows():
    async def program(w):
        class Found(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> Found: ...
            @w.step
            async def end(self, ev: Found) -> w.StopEvent: ...

        graph = w.get_workflow_representation(Flow()).filter_by_node_type("event")
        return [(edge.source, edge.target, edge.label) for edge in graph.edges]

    assert await same(program) == [("begin", "end", "Found")]


async def test_the_schema_of_a_stop_event_has_its_own_fields():
    async def program(w):
        class Answer(w.StopEvent):
            text: str

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> Answer: ...

        graph = w.get_workflow_representation(Flow)
        node = next(node for node in graph.nodes if node.id == "Answer")
        return list(node.event_schema["properties"])

    theirs, ours = await on_both(program)
    assert theirs == ["text"]
    assert set(ours) >= {"text"}


# -- testing, talking --------------------------------------------------------------


async def test_the_test_runner_collects_what_a_run_publishes():
    async def program(w):
        class Progress(w.Event):
            n: int

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                for n in range(3):
                    ctx.write_event_to_stream(Progress(n=n))
                await ctx.store.set("kept", ev.text)
                return w.StopEvent(result="done")

        runner = w.WorkflowTestRunner(Flow())
        whole = await runner.run(start_event=w.StartEvent(text="x"))
        some = await runner.run(
            start_event=w.StartEvent(text="y"),
            expose_internal=False,
            exclude_events=[w.StopEvent],
        )
        return [
            whole.result,
            {kind.__name__: n for kind, n in whole.event_types.items()},
            await whole.ctx.store.get("kept"),
            [type(event).__name__ for event in some.collected],
            some.event_types[Progress],
        ]

    assert await same(program) == [
        "done",
        {"StepStateChanged": 2, "Progress": 3, "StopEvent": 1},
        "x",
        ["Progress"] * 3,
        3,
    ]


async def test_verbose_prints_what_the_steps_do():
    # On purpose: the words are others.
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent()

        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            await Flow(verbose=True).run()
            silent = len(out.getvalue())
            await Flow().run()
        return [silent == len(out.getvalue()), out.getvalue().splitlines()]

    theirs, ours = await on_both(program)
    assert theirs[0] and "[begin:0] complete with StopEvent" in theirs[1]
    assert ours == [
        True,
        ["Running step begin", "Step begin produced event StopEvent"],
    ]


async def test_the_steps_at_work_can_be_asked_for():
    async def program(w):
        entered, gate = asyncio.Event(), asyncio.Event()

        class Flow(w.Workflow):
            @w.step
            async def work(self, ev: w.StartEvent) -> w.StopEvent:
                entered.set()
                await gate.wait()
                return w.StopEvent(result=1)

        handler = Flow().run()
        await entered.wait()
        running = await handler.ctx.running_steps()
        gate.set()
        await handler
        return [running, handler.ctx.is_running]

    assert await same(program) == [["work"], False]


async def test_a_run_is_fed_from_outside():
    async def program(w):
        class Tick(w.HumanResponseEvent):
            n: int

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.InputRequiredEvent:
                return w.InputRequiredEvent()

            @w.step
            async def tick(self, ctx: w.Context, ev: Tick) -> w.StopEvent | None:
                total = await ctx.store.get("total", default=0) + ev.n
                await ctx.store.set("total", total)
                ctx.write_event_to_stream(w.Event(total=total))
                return w.StopEvent(result=total) if total >= 6 else None

        handler = Flow().run()
        seen = []
        async for event in handler.stream_events():
            seen.append(type(event).__name__)
            if isinstance(event, w.InputRequiredEvent):
                for n in (1, 2, 3):
                    handler.ctx.send_event(Tick(n=n))
        return [seen, await handler]

    assert await same(program) == [
        ["InputRequiredEvent", "Event", "Event", "Event", "StopEvent"],
        6,
    ]


async def test_the_stream_is_read_from_the_handler_alone():
    # On purpose: one door is enough, and the context is what steps have.
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent()

        handler = Flow().run()
        await handler
        stream = trying(lambda: handler.ctx.stream_events())
        if not hasattr(stream, "__aiter__"):
            return stream
        return [type(event).__name__ async for event in stream][-1]

    theirs, ours = await on_both(program)
    assert theirs == "StopEvent"
    assert ours == "AttributeError"


# -- what only stepwell has --------------------------------------------------------


async def test_a_step_may_have_a_timeout_of_its_own():
    # On purpose: one limit for the whole run says little about its steps.
    async def program(w):
        def define():
            class Flow(w.Workflow):
                @w.step(timeout=0.01)
                async def dream(self, ev: w.StartEvent) -> w.StopEvent:
                    await asyncio.sleep(60)

            return Flow

        made = trying(define)
        return await ending(made().run()) if isinstance(made, type) else made

    theirs, ours = await on_both(program)
    assert theirs == "TypeError"
    assert ours == "StepTimeoutError" and ours == "TimeoutError"


async def test_a_loop_may_have_a_limit():
    # On purpose: a model that never says "done" should cost no more than this.
    async def program(w):
        def define():
            class Again(w.Event): ...

            class Flow(w.Workflow):
                @w.step(max_visits=3)
                async def turn(self, ev: w.StartEvent | Again) -> Again | w.StopEvent:
                    return Again()

            return Flow

        made = trying(define)
        return await ending(made().run()) if isinstance(made, type) else made

    theirs, ours = await on_both(program)
    assert theirs == "TypeError"
    assert ours == "WorkflowRuntimeError" and "max_visits" in ours.text


async def test_a_step_may_keep_its_results():
    # On purpose: while one edits the last step, the first ones need not be paid again.
    async def program(w):
        calls = []

        def define():
            class Flow(w.Workflow):
                @w.step(cache=True)
                async def ask(self, ev: w.StartEvent) -> w.StopEvent:
                    calls.append(ev.n)
                    return w.StopEvent(result=ev.n * 2)

            return Flow

        made = trying(define)
        if not isinstance(made, type):
            return made
        return [[await made().run(n=n) for n in (1, 1, 2)], calls]

    theirs, ours = await on_both(program)
    assert theirs == "TypeError"
    assert ours == [[2, 2, 4], [1, 2]]


async def test_a_step_can_run_a_workflow_as_its_child():
    # On purpose: the child's events show on the parent's stream, its stop does not.
    async def program(w):
        class Progress(w.Event): ...

        class Inner(w.Workflow):
            @w.step
            async def double(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                ctx.write_event_to_stream(Progress(n=ev.n))
                return w.StopEvent(result=ev.n * 2)

        class Outer(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent(result=await ctx.run(Inner(), n=4))

        handler = Outer().run()
        return [await stream_of(handler), await ending(handler)][:2]

    theirs, ours = await on_both(program)
    assert theirs[1] == "AttributeError"
    assert ours == [[("Progress", {"n": 4}), ("StopEvent", {"result": 8})], 8]


async def test_a_step_can_cancel_another():
    # On purpose: the slower of two branches need not run on for nothing.
    async def program(w):
        told = []
        waiting = asyncio.Event()

        class Found(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def slow(self, ev: w.StartEvent) -> Found:
                waiting.set()
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    told.append("cancelled")
                    raise

            @w.step
            async def quick(self, ctx: w.Context, ev: w.StartEvent) -> Found:
                await waiting.wait()
                ctx.cancel_step("slow")
                return Found()

            @w.step
            async def end(self, ev: Found) -> w.StopEvent:
                return w.StopEvent(result="found")

        return [await ending(Flow().run()), told[:1]]

    theirs, ours = await on_both(program)
    assert theirs[0] == "AttributeError"
    assert ours == ["found", ["cancelled"]]


async def test_a_run_that_failed_can_go_on():
    async def program(w):
        class Found(w.Event):
            n: int

        done = []

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> Found:
                done.append("begin")
                return Found(n=6)

            @w.step
            async def end(self, ev: Found) -> w.StopEvent:
                done.append("end")
                return w.StopEvent(result=ev.n / (len(done) - 2))

        handler = Flow().run()
        return [await ending(handler), await ending(go_on(handler)), done]

    async def go_on(handler):
        return await handler.resume()

    theirs, ours = await on_both(program)
    assert theirs == ["ZeroDivisionError", "AttributeError", ["begin", "end"]]
    assert ours == ["ZeroDivisionError", 6.0, ["begin", "end", "end"]]


async def test_what_a_run_asks_can_be_looked_up():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def ask(self, ev: w.StartEvent) -> w.InputRequiredEvent:
                return w.InputRequiredEvent(prefix="Name?")

            @w.step
            async def take(self, ev: w.HumanResponseEvent) -> w.StopEvent:
                return w.StopEvent(result=ev.response)

        handler = Flow().run()
        async for event in handler.stream_events():
            if isinstance(event, w.InputRequiredEvent):
                break
        asked = trying(lambda: [question.prompt for question in handler.questions])
        if w.engine == "stepwell":
            handler.send_event(handler.questions[0].answer("Ada"))
        else:
            handler.ctx.send_event(w.HumanResponseEvent(response="Ada"))
        return [asked, await handler]

    theirs, ours = await on_both(program)
    assert theirs == ["AttributeError", "Ada"]
    assert ours == [["Name?"], "Ada"]


async def test_a_step_says_how_far_it_is_and_what_it_used():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def only(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                ctx.progress(1, 2, "reading")
                ctx.log("half of it")
                for _ in w.tqdm(range(2)):
                    ctx.count(pages=3)
                return w.StopEvent(result="read")

        handler = Flow().run()
        outcome = await ending(handler)
        if outcome != "read":
            return outcome
        return [outcome, dict(handler.record.amounts)]

    theirs, ours = await on_both(program)
    assert theirs == "AttributeError"
    assert ours == ["read", {"pages": 6}]


async def test_a_step_defined_again_replaces_the_first():
    # On purpose: running a notebook's cell again is how it is edited.
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent()

        def cell(result):
            @w.step(workflow=Flow)
            async def more(ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent(result=result)

            return more.__name__

        return [trying(cell, 1), trying(cell, 2)]

    theirs, ours = await on_both(program)
    assert theirs == ["more", "WorkflowValidationError"]
    assert ours == ["more", "more"]


async def test_errors_have_one_root_and_the_builtin_one_would_catch():
    # On purpose: `except TimeoutError` works, and so does one name for all of them.
    async def program(w):
        names = [
            "WorkflowValidationError",
            "WorkflowRuntimeError",
            "WorkflowTimeoutError",
            "WorkflowConfigurationError",
        ]
        return {n: [k.__name__ for k in getattr(w, n).__mro__[1:-2]] for n in names}

    theirs, ours = await on_both(program)
    assert set(map(tuple, theirs.values())) == {("Exception",)}
    assert all("StepwellError" in bases for bases in ours.values())
    assert "RuntimeError" in ours["WorkflowRuntimeError"]
    assert "TimeoutError" in ours["WorkflowTimeoutError"]
    assert "WorkflowValidationError" in ours["WorkflowConfigurationError"]


async def test_a_class_inside_a_function_comes_back_from_a_saved_context():
    # On purpose: in a notebook, classes stand in functions and cells.
    async def program(w):
        entered = asyncio.Event()

        class Middle(w.Event):
            n: int

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> Middle:
                return Middle(n=ev.n)

            @w.step
            async def end(self, ctx: w.Context, ev: Middle) -> w.StopEvent:
                if not await ctx.store.get("again", default=False):
                    entered.set()
                    await asyncio.sleep(60)
                return w.StopEvent(result=ev.n)

        flow = Flow()
        handler = flow.run(n=4)
        await entered.wait()
        await handler.ctx.store.set("again", True)
        saved = handler.ctx.to_dict()
        await handler.cancel_run()
        return await flow.run(ctx=w.Context.from_dict(flow, saved))

    theirs, ours = await on_both(program)
    assert theirs == "AttributeError"
    assert ours == 4


async def test_what_one_engine_saved_before_a_run_the_other_can_read():
    saved = {}

    async def program(w):
        @importable
        class Kept(w.Event):
            n: int

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent(result=await ctx.store.get("who.name"))

        flow = Flow()
        if "here" in saved:
            return await flow.run(ctx=w.Context.from_dict(flow, saved["here"]))
        ctx = w.Context(flow)
        await ctx.store.set("who", {"name": "Ada"})
        saved["here"] = ctx.to_dict()
        return await flow.run(ctx=ctx)

    assert await same(program) == "Ada"
