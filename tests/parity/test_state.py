"""State, saved contexts, and events as data: B25 to B28, and B30."""

import asyncio
import json

import pytest
from pydantic import BaseModel, Field

from parity.engines import ending, importable, on_both, same, settle, trying


class Profile(BaseModel):
    name: str = "nobody"
    tags: list[str] = Field(default_factory=list)
    extra: dict = Field(default_factory=dict)


class Wider(Profile):
    age: int = 0


class NoDefault(BaseModel):
    name: str


def one_step(w, body, state=None):
    """A workflow whose only step runs `body(ctx)`; its outcome is the result."""
    kind = w.Context if state is None else w.Context[state]

    class Flow(w.Workflow):
        @w.step
        async def begin(self, ctx: kind, ev: w.StartEvent) -> w.StopEvent:
            return w.StopEvent(result=await body(ctx))

    return Flow(timeout=2)


# -- B25: the store ----------------------------------------------------------------


async def test_b25_values_are_kept_by_dotted_paths():
    async def program(w):
        async def body(ctx):
            store = ctx.store
            await store.set("user.name", "Ada")
            await store.set("tags", ["a", "b"])
            await store.set("user.score.total", 3)
            return [
                await store.get("user.name"),
                await store.get("tags.1"),
                await store.get("user"),
                await store.get("nothing", default="fallback"),
                await store.get("nothing", default=None),
                await ending(store.get("nothing")),
                await ending(store.get("user.nothing")),
            ]

        return await one_step(w, body).run()

    assert await same(program) == [
        "Ada",
        "b",
        {"name": "Ada", "score": {"total": 3}},
        "fallback",
        None,
        "ValueError",
        "ValueError",
    ]


async def test_b25_state_is_read_and_edited_as_a_whole():
    async def program(w):
        async def body(ctx):
            async with ctx.store.edit_state() as state:
                state.count = 1
                state["name"] = "Ada"
            async with ctx.store.edit_state() as state:
                state.count += 1
            state = await ctx.store.get_state()
            await ctx.store.set("count", 5)
            return [
                type(state).__name__,
                state.count,
                state["name"],
                state.get("nothing", 7),
                "name" in state,
                sorted(state.keys()),
                sorted(state.items()),
                state.to_dict() == dict(state.items()),
                await ctx.store.get("count"),
            ]

        return await one_step(w, body).run()

    assert await same(program) == [
        "DictState",
        2,
        "Ada",
        7,
        True,
        ["count", "name"],
        [("count", 2), ("name", "Ada")],
        True,
        5,
    ]


async def test_b25_an_edit_that_fails_leaves_no_trace():
    async def program(w):
        async def body(ctx):
            await ctx.store.set("list", [1])
            try:
                async with ctx.store.edit_state() as state:
                    state["list"].append(2)
                    state["other"] = 1
                    raise LookupError
            except LookupError:
                pass
            return [
                await ctx.store.get("list"),
                await ctx.store.get("other", default=0),
            ]

        return await one_step(w, body).run()

    assert await same(program) == [[1], 0]


async def test_b25_an_edit_inside_an_edit_is_an_error():
    async def program(w):
        async def body(ctx):
            async with ctx.store.edit_state():
                return await ending(ctx.store.set("x", 1))

        outcome = await one_step(w, body).run()
        return type(outcome).__name__

    assert await same(program) == "Raised"


async def test_b25_clear_goes_back_to_the_defaults():
    async def program(w):
        async def body(ctx):
            await ctx.store.set("name", "Ada")
            await ctx.store.clear()
            return await ctx.store.get("name", default="gone")

        return [
            await one_step(w, body).run(),
            await one_step(w, body, Profile).run(),
        ]

    assert await same(program) == ["gone", "nobody"]


async def test_b25_state_with_a_declared_shape():
    async def program(w):
        async def body(ctx):
            await ctx.store.set("name", "Ada")
            await ctx.store.set("extra.deep.er", 1)
            async with ctx.store.edit_state() as state:
                state.tags.append("new")
            state = await ctx.store.get_state()
            return [
                type(state).__name__,
                state.model_dump(),
                await ending(ctx.store.set("nmae", "typo")),
                await ending(ctx.store.get("nmae")),
            ]

        return await one_step(w, body, Profile).run()

    assert await same(program) == [
        "Profile",
        {"name": "Ada", "tags": ["new"], "extra": {"deep": {"er": 1}}},
        "ValueError",
        "ValueError",
    ]


async def test_b25_set_state_takes_the_whole_and_merges_a_base_class():
    async def program(w):
        async def body(ctx):
            await ctx.store.set("age", 3)
            await ctx.store.set_state(Profile(name="base"))
            merged = (await ctx.store.get_state()).model_dump()
            await ctx.store.set_state(Wider(name="wide", age=4))
            whole = (await ctx.store.get_state()).model_dump()
            return [merged, whole]

        return await one_step(w, body, Wider).run()

    rest = {"tags": [], "extra": {}}
    assert await same(program) == [
        {"name": "base", "age": 3, **rest},
        {"name": "wide", "age": 4, **rest},
    ]


async def test_b25_state_is_not_validated_when_set():
    async def program(w):
        async def body(ctx):
            await ctx.store.set("name", 5)
            return await ctx.store.get("name")

        return await one_step(w, body, Profile).run()

    assert await same(program) == 5


async def test_b25_a_shape_without_defaults_cannot_be_a_state():
    async def program(w):
        async def body(ctx): ...

        run = trying(one_step(w, body, NoDefault).run)
        return await ending(run) if hasattr(run, "ctx") else run

    theirs, ours = await on_both(program)
    assert theirs == "ValidationError"
    assert ours == "StepwellError" and "no default for name" in ours.text


async def test_b25_the_most_derived_shape_is_taken():
    async def program(w):
        class Middle(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(
                self, ctx: w.Context[Profile], ev: w.StartEvent
            ) -> Middle: ...

            @w.step
            async def end(self, ctx: w.Context[Wider], ev: Middle) -> w.StopEvent: ...

        state = await w.Context(Flow()).store.get_state()
        return type(state).__name__

    assert await same(program) == "Wider"


async def test_b25_unrelated_shapes_are_refused():
    async def program(w):
        class Other(BaseModel):
            x: int = 0

        class Middle(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context[Profile], ev: w.StartEvent) -> Middle:
                return Middle()

            @w.step
            async def end(self, ctx: w.Context[Other], ev: Middle) -> w.StopEvent:
                return w.StopEvent()

        def start():
            return Flow().run()

        run = trying(start)
        return await ending(run) if hasattr(run, "ctx") else run

    theirs, ours = await on_both(program)
    assert theirs == "ValueError"
    assert ours == "WorkflowConfigurationError"


async def test_b25_get_and_set_on_the_context_itself():
    # On purpose: LlamaIndex took them away in 2.0, and tutorials still have them.
    async def program(w):
        async def body(ctx):
            await ctx.set("n", 1)
            return [await ctx.get("n"), await ctx.get("m", default=2)]

        return await ending(one_step(w, body).run())

    theirs, ours = await on_both(program)
    assert theirs == "AttributeError"
    assert ours == [1, 2]


# -- B26: one context for several runs ---------------------------------------------


async def test_b26_a_context_keeps_its_state_over_runs():
    async def program(w):
        async def body(ctx):
            count = await ctx.store.get("count", default=0) + 1
            await ctx.store.set("count", count)
            return count

        flow = one_step(w, body)
        ctx = w.Context(flow)
        await ctx.store.set("count", 10)
        counts = [await flow.run(ctx=ctx) for _ in range(3)]
        handler = flow.run(ctx=ctx)
        counts.append(await handler)
        return [counts, handler.ctx is ctx, await ctx.store.get("count")]

    assert await same(program) == [[11, 12, 13, 14], True, 14]


async def test_b26_a_context_serves_one_run_at_a_time():
    async def program(w):
        gate = asyncio.Event()

        async def body(ctx):
            await gate.wait()

        flow = one_step(w, body)
        handler = flow.run()
        again = trying(flow.run, ctx=handler.ctx)
        gate.set()
        await handler
        return [again, handler.ctx.is_running]

    assert await same(program) == ["ContextStateError", False]


async def test_b26_a_saved_run_begins_its_unfinished_steps_again():
    async def program(w):
        gate, entered = asyncio.Event(), asyncio.Event()

        @importable
        class Middle(w.Event):
            n: int

        class Flow(w.Workflow):
            runs = ()

            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> Middle:
                self.runs = (*self.runs, "begin")
                await ctx.store.set("kept", ev.n)
                return Middle(n=ev.n + 1)

            @w.step
            async def end(self, ctx: w.Context, ev: Middle) -> w.StopEvent:
                self.runs = (*self.runs, "end")
                entered.set()
                await gate.wait()
                return w.StopEvent(result=[ev.n, await ctx.store.get("kept")])

        flow = Flow()
        handler = flow.run(n=1)
        await entered.wait()
        saved = json.loads(json.dumps(handler.ctx.to_dict()))
        await handler.cancel_run()
        gate.set()
        ctx = w.Context.from_dict(flow, saved)
        resumed = ctx.is_running
        first = await flow.run(ctx=ctx)
        second = await flow.run(ctx=ctx, n=5)
        return [resumed, first, flow.runs, second]

    assert await same(program) == [
        True,
        [2, 1],
        ("begin", "end", "end", "begin", "end"),
        [6, 5],
    ]


async def test_b26_a_run_that_goes_on_takes_no_new_start():
    # On purpose: LlamaIndex goes on with the old one and drops the new fields.
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def ask(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                await ctx.wait_for_event(w.HumanResponseEvent)
                return w.StopEvent(result=ev.n)

        flow = Flow()
        handler = flow.run(n=1)
        await settle()
        saved = handler.ctx.to_dict()
        await handler.cancel_run()
        again = trying(flow.run, ctx=w.Context.from_dict(flow, saved), n=2)
        if not hasattr(again, "ctx"):
            return again
        await settle()
        await again.send_event(w.HumanResponseEvent())
        return await again

    theirs, ours = await on_both(program)
    assert theirs == 1
    assert ours == "WorkflowRuntimeError"


async def test_b26_what_was_collected_is_saved():
    async def program(w):
        @importable
        class Part(w.HumanResponseEvent):
            n: int

        class Flow(w.Workflow):
            @w.step
            async def ask(self, ev: w.StartEvent) -> w.InputRequiredEvent:
                return w.InputRequiredEvent()

            @w.step
            async def join(self, ctx: w.Context, ev: Part) -> w.StopEvent | None:
                got = ctx.collect_events(ev, [Part] * 2)
                return w.StopEvent(result=[part.n for part in got]) if got else None

        flow = Flow()
        handler = flow.run()
        async for event in handler.stream_events(expose_internal=True):
            if isinstance(event, w.InputRequiredEvent):
                await handler.send_event(Part(n=1))
            elif (
                getattr(event, "name", None) == "join"
                and event.step_state is w.StepState.NOT_RUNNING
            ):
                break
        saved = json.loads(json.dumps(handler.ctx.to_dict()))
        await handler.cancel_run()
        handler = flow.run(ctx=w.Context.from_dict(flow, saved))
        await handler.send_event(Part(n=2))
        return await handler

    assert await same(program) == [1, 2]


# -- B27: saved contexts -----------------------------------------------------------


async def test_b27_a_saved_context_is_plain_data_with_known_names():
    async def program(w):
        async def body(ctx):
            await ctx.store.set("n", 1)
            await ctx.store.set("text", "x")

        flow = one_step(w, body)
        handler = flow.run()
        await handler
        saved = handler.ctx.to_dict()
        restored = w.Context.from_dict(flow, json.loads(json.dumps(saved)))
        return [
            saved["version"],
            saved["is_running"],
            saved["state"]["store_type"],
            saved["state"]["state_type"],
            saved["state"]["state_data"],
            saved["workers"].get("begin", {}).get("queue", []),
            await restored.store.get("text"),
        ]

    assert await same(program) == [
        2,
        False,
        "in_memory",
        "DictState",
        {"_data": {"n": "1", "text": '"x"'}},
        [],
        "x",
    ]


async def test_b27_models_in_the_state_come_back():
    async def program(w):
        async def body(ctx):
            await ctx.store.set("who", Profile(name="Ada"))
            await ctx.store.set("all", [Profile(tags=["x"])])

        flow = one_step(w, body)
        handler = flow.run()
        await handler
        restored = w.Context.from_dict(flow, handler.ctx.to_dict())
        who, everyone = await restored.store.get("who"), await restored.store.get("all")
        return [type(who) is Profile, who.name, everyone[0].tags]

    assert await same(program) == [True, "Ada", ["x"]]


async def test_b27_a_declared_state_comes_back():
    async def program(w):
        async def body(ctx):
            await ctx.store.set("name", "Ada")
            return (await ctx.store.get_state()).name

        flow = one_step(w, body, Profile)
        ctx = w.Context(flow)
        await flow.run(ctx=ctx)
        restored = w.Context.from_dict(flow, ctx.to_dict())
        state = await restored.store.get_state()
        return [type(state).__name__, state.name]

    assert await same(program) == ["Profile", "Ada"]


async def test_b27_what_cannot_be_saved_is_named():
    async def program(w):
        async def body(ctx):
            await ctx.store.set("socket", object())

        handler = one_step(w, body).run()
        await handler
        raised = trying(handler.ctx.to_dict)
        return raised, "socket" in raised.text

    assert await same(program) == ("ValueError", True)


async def test_b27_a_chat_memory_that_cannot_be_saved_is_left_out_with_a_warning():
    async def program(w):
        async def body(ctx):
            await ctx.store.set("memory", object())
            await ctx.store.set("n", 1)

        handler = one_step(w, body).run()
        await handler
        with pytest.warns(Warning, match="memory"):
            saved = handler.ctx.to_dict()
        return saved["state"]["state_data"]

    assert await same(program) == {"_data": {"n": "1"}}


async def test_b27_the_state_may_be_left_out():
    async def program(w):
        async def body(ctx):
            await ctx.store.set("n", 1)

        flow = one_step(w, body)
        handler = flow.run()
        await handler
        saved = handler.ctx.to_dict(include_state=False)
        restored = w.Context.from_dict(flow, saved)
        return [saved["state"], await restored.store.get("n", default="gone")]

    assert await same(program) == [{}, "gone"]


async def test_b27_a_context_can_be_saved_before_its_run():
    async def program(w):
        async def body(ctx):
            return await ctx.store.get("n")

        flow = one_step(w, body)
        ctx = w.Context(flow)
        await ctx.store.set("n", 3)
        saved = ctx.to_dict()
        return [
            saved["is_running"],
            await flow.run(ctx=w.Context.from_dict(flow, saved)),
        ]

    assert await same(program) == [False, 3]


async def test_b27_pickle_saves_what_json_cannot():
    async def program(w):
        async def body(ctx):
            await ctx.store.set("odd", {1, 2})

        flow = one_step(w, body)
        handler = flow.run()
        await handler
        saved = handler.ctx.to_dict(serializer=w.PickleSerializer())
        restored = w.Context.from_dict(flow, saved, serializer=w.PickleSerializer())
        return await restored.store.get("odd")

    assert await same(program) == {1, 2}


async def test_b27_data_that_is_no_context_is_refused():
    async def program(w):
        async def body(ctx): ...

        return trying(w.Context.from_dict, one_step(w, body), {"version": 99})

    theirs, ours = await on_both(program)
    assert theirs == "ValidationError" or theirs == "ContextSerdeError"
    assert ours == "ContextSerdeError"


async def test_b27_serializers_turn_values_into_text_and_back():
    async def program(w):
        @importable
        class Found(w.Event):
            n: int

        told = []
        for serializer in (w.JsonSerializer(), w.PickleSerializer()):
            text = serializer.serialize(
                {"event": Found(n=1, extra="x"), "models": [Profile(name="Ada")]}
            )
            back = serializer.deserialize(text)
            told.append(
                [
                    isinstance(text, str),
                    type(back["event"]) is Found,
                    back["event"].n,
                    back["event"].extra,
                    back["models"][0].name,
                ]
            )
        limited = w.JsonSerializer(allowed_types=[Found])
        text = limited.serialize(Profile())
        return [told, trying(limited.deserialize, text)]

    outcome = await same(program)
    assert outcome[0] == [[True, True, 1, "x", "Ada"]] * 2
    assert outcome[1] == "ValueError"


async def test_b27_a_serializer_may_be_the_workflows_own():
    async def program(w):
        class Loud(w.JsonSerializer):
            used = 0

            def serialize(self, value):
                Loud.used += 1
                return super().serialize(value)

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                await ctx.store.set("n", 1)
                return w.StopEvent()

        serializer = Loud()
        flow = Flow(serializer=serializer)
        handler = flow.run()
        await handler
        handler.ctx.to_dict()
        return [flow.serializer is serializer, Loud.used > 0]

    assert await same(program) == [True, True]


async def test_b27_private_attributes_of_events_are_not_saved():
    async def program(w):
        @importable
        class Found(w.Event):
            n: int
            _secret: str = "default"

        event = Found(n=1, _secret="given")
        back = w.JsonSerializer().deserialize(w.JsonSerializer().serialize(event))
        return [event._secret, back._secret, back.n]

    assert await same(program) == ["given", "default", 1]


# -- B28: events as data -----------------------------------------------------------


async def test_b28_an_event_takes_fields_nobody_declared():
    async def program(w):
        class Found(w.Event):
            n: int
            _secret: str = "s"

        event = Found(n="1", text="hello")
        event.more = [1]
        event["other"] = 2
        event._secret = "t"
        event.n = "not validated"
        return [
            event.n,
            event.text,
            event["text"],
            event.more,
            event.other,
            event.get("text"),
            event.get("nothing"),
            event.get("nothing", 3),
            "text" in event,
            "nothing" in event,
            bool(w.Event()),
            event._secret,
            trying(lambda: event.nothing),
            trying(lambda: event["nothing"]),
            trying(Found, text="no n"),
        ]

    assert await same(program) == [
        "not validated",
        "hello",
        "hello",
        [1],
        2,
        "hello",
        None,
        3,
        True,
        False,
        True,
        "t",
        "AttributeError",
        "KeyError",
        "ValueError",
    ]


async def test_b28_events_without_declared_fields_are_mappings():
    async def program(w):
        event = w.Event(a=1, b=2)
        return [
            sorted(event.keys()),
            sorted(event.values()),
            sorted(event.items()),
            len(event),
            sorted(event),
            dict(event.items()),
            event.to_dict(),
        ]

    assert await same(program) == [
        ["a", "b"],
        [1, 2],
        [("a", 1), ("b", 2)],
        2,
        ["a", "b"],
        {"a": 1, "b": 2},
        {"a": 1, "b": 2},
    ]


async def test_b28_events_are_models_that_compare_copy_and_have_a_schema():
    async def program(w):
        class Item(w.Event):
            """A thing to look up."""

            name: str = Field(description="What it is called.")
            tags: list[str] = Field(default_factory=list)

        class Plan(BaseModel):
            items: list[Item]

        item = Item(name="a", note="x")
        copied = item.model_copy(update={"name": "b"})
        plan = Plan.model_validate_json('{"items": [{"name": "c"}]}')
        return [
            item == Item(name="a", note="x"),
            item == Item(name="a", note="y"),
            [copied.name, copied.note],
            type(plan.items[0]) is Item,
            Item.model_json_schema(),
            Plan.model_json_schema()["required"],
            w.StopEvent(result=1) == w.StopEvent(result=1),
        ]

    outcome = await same(program)
    assert outcome[:4] == [True, False, ["b", "x"], True]
    assert "additionalProperties" not in outcome[4]


async def test_b28_declared_fields_stand_among_the_others():
    # On purpose: LlamaIndex's mapping knows only the fields nobody declared.
    async def program(w):
        class Found(w.Event):
            n: int

        event = Found(n=1, text="x")
        return [
            event.get("n"),
            "n" in event,
            list(event),
            len(event),
            trying(dict, event),
        ]

    theirs, ours = await on_both(program)
    assert theirs == [None, False, ["text"], 1, {"text": "x"}]
    assert ours == [1, True, ["n", "text"], 2, {"n": 1, "text": "x"}]


async def test_b28_the_repr_shows_every_field():
    # On purpose: LlamaIndex hides the fields nobody declared.
    async def program(w):
        class Found(w.Event):
            n: int

        return repr(Found(n=1, text="x"))

    theirs, ours = await on_both(program)
    assert theirs == "Found(n=1)"
    assert ours == "Found(n=1, text='x')"


async def test_b28_a_dump_is_flat():
    # On purpose: what goes in as keywords comes out as keywords.
    async def program(w):
        class Found(w.Event):
            n: int

        return Found(n=1, text="x").model_dump()

    theirs, ours = await on_both(program)
    assert theirs == {"n": 1, "_data": {"text": "x"}}
    assert ours == {"n": 1, "text": "x"}


async def test_b28_a_stop_event_comes_back_whole():
    # On purpose: LlamaIndex loses what stands beside the result.
    async def program(w):
        serializer = w.JsonSerializer()
        stop = w.StopEvent(result=1, extra=2)
        back = serializer.deserialize(serializer.serialize(stop))
        return [back.result, back.get("extra")]

    theirs, ours = await on_both(program)
    assert theirs == [1, None]
    assert ours == [1, 2]


async def test_b28_a_stop_event_without_extras_comes_back():
    async def program(w):
        @importable
        class Answer(w.StopEvent):
            text: str

        serializer = w.JsonSerializer()
        stops = [w.StopEvent(result={"a": 1}), Answer(text="yes")]
        back = [serializer.deserialize(serializer.serialize(stop)) for stop in stops]
        return [back[0].result, back[1].text, type(back[1]) is Answer]

    assert await same(program) == [{"a": 1}, "yes", True]


# -- B30: what is gone -------------------------------------------------------------


async def test_b30_what_llamaindex_removed_is_not_here_either():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent()

        flow = Flow()
        gone = ["send_event", "stream_events", "add_workflows", "run_step"]
        handler = flow.run()
        await handler
        return [
            [hasattr(flow, name) for name in gone],
            [hasattr(handler.ctx, name) for name in ("data", "session")],
            asyncio.isfuture(handler),
        ]

    assert await same(program) == [[False] * 4, [False] * 2, False]
