"""Saved contexts that cannot be read, and values that cannot be saved."""

import asyncio
import json
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from resuming import (
    Answer,
    Consent,
    Counting,
    Done,
    Gates,
    Group,
    Item,
    Narrow,
    Other,
    Question,
    Shape,
    TypedCounting,
    copied,
    going_on,
    left_by,
)
from stepwell import (
    Context,
    InMemoryStateStore,
    JsonSerializer,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)
from stepwell.errors import (
    ContextSerdeError,
)
from stepwell.retry import ConstantDelayRetryPolicy
from stepwell.testing import VirtualClock

# -- what cannot be read --------------------------------------------------------


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=10,
)


def refused(data, flow, told=None):
    """Check that the data is refused clearly; gives the error."""
    with pytest.raises(ContextSerdeError, match=told) as caught:
        Context.from_dict(flow, data)
    assert type(flow).__name__ in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "garbage", [None, [], {}, "", "{}", 7, {"version": 2}, {"is_running": True}]
)
def test_what_is_no_saved_context_is_refused(garbage):
    refused(garbage, Counting(), "saved context cannot be used for Counting")


def test_text_is_refused_with_the_way_to_read_it():
    refused(json.dumps(Context(Counting()).to_dict()), Counting(), r"json\.loads")


@settings(deadline=None)
@given(json_values)
def test_any_json_is_refused_and_nothing_else_happens(data):
    refused(data, Counting())


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {"version": st.just(2), "is_running": st.booleans(), "state": json_values},
        optional={"written_by": st.just("stepwell"), "format": st.just(1)}
        | {key: json_values for key in ("workers", "streams", "early", "questions")},
    )
)
def test_what_looks_like_a_saved_context_is_refused_or_read(data):
    try:
        Context.from_dict(Counting(), data)
    except ContextSerdeError as error:
        assert "Counting" in str(error)


@pytest.mark.parametrize("version", [0, 1, 3, "2", 99, None, 2.0, True])
def test_another_version_is_refused_with_its_number(version):
    data = {**Context(Counting()).to_dict(), "version": version}
    refused(data, Counting(), f"version {version!r}")


@pytest.mark.parametrize("number", [0, 2, None, "1"])
def test_another_format_is_refused_with_its_number(number):
    data = {**Context(Counting()).to_dict(), "format": number}
    refused(data, Counting(), f"format {number!r}")


class Full(Workflow):
    """Has something in every corner of what is saved, once it waits."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> list[Item] | Other:
        await ctx.store.set("n", 1)
        ctx.send_event(Other())
        return [Item(n=n) for n in range(4)]

    @step(num_workers=1)
    async def work(self, ev: Item) -> Done:
        if ev.n == 2:
            await asyncio.sleep(100)
        return Done(n=ev.n)

    @step(
        num_workers=8,
        retry_policy=ConstantDelayRetryPolicy(maximum_attempts=9, delay=50),
    )
    async def other(self, ctx: Context, ev: Item) -> Group:
        if ev.n == 1 and ctx.retry_info().retry_number < 3:
            raise KeyError(1)
        if ev.n == 2:
            answer = await ctx.wait_for_event(Answer, Question(text="2?"))
            await ctx.wait_for_event(Consent, Question(text=answer.text))
        if ev.n == 3:
            ctx.collect_events(ev, [Item] * 5)
            if ctx.collect_events(ev, [Item], "own"):
                await asyncio.sleep(100)
        return Group(n=ev.n)

    @step
    async def both(self, one: Other, two: Narrow) -> None: ...

    @step
    async def sent(self, ctx: Context, ev: Other) -> Narrow | None: ...

    @step
    async def end(self, done: list[Done | Group]) -> StopEvent:
        return StopEvent(result=sorted(event.n for event in done))


def full() -> dict:
    async def main():
        flow = Full(timeout=None)
        handler = flow.run()
        await asyncio.sleep(1)
        handler.send_event(Answer(text="a"))
        handler.send_event(Answer(text="early"))
        await asyncio.sleep(1)
        return await left_by(handler)

    return VirtualClock().run(main())


def test_a_context_full_of_everything_goes_on():
    data = full()
    workers = data["workers"]
    assert workers["work"]["queue"] and workers["work"]["in_progress"]
    assert workers["other"]["collected_events"]
    assert workers["both"]["static_collect_events"]
    assert data["early"] and any(each["gathered"] for each in data["streams"])

    async def main():
        handler = going_on(Full(timeout=None), data)
        handler.send_event(Consent(yes=True))
        return await handler

    assert VirtualClock().run(main()) == [0, 0, 1, 1, 2, 2, 3, 3]


def places(data, path=()):
    """Every place in nested data."""
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in items:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def changed(data, path, value):
    """A copy of the data with one value replaced, or removed for `...`."""
    data = json.loads(json.dumps(data))
    holder = data
    for key in path[:-1]:
        holder = holder[key]
    if value is ...:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return data


OPTIONAL = {"store_type", "state_type", "state_module", "state_data", "asking"}


def test_a_context_that_lacks_any_key_is_refused():
    data, flow = full(), Full()
    named = {"workers", "gathered", "recovery_counts", "_data", "collected_events"}
    for path in places(data):
        inside = isinstance(path[-1], int) or (len(path) > 1 and path[-2] in named)
        if path[-1] not in OPTIONAL and not inside:
            refused(changed(data, path, ...), flow)


@pytest.mark.parametrize("value", [None, "x", -1, 1.5, [], {}, [[]], True, 10**400])
def test_a_context_with_any_value_replaced_is_refused_or_goes_on(value):
    data, flow = full(), Full(timeout=None)

    async def go_on(ctx):
        handler = flow.run(ctx=ctx)
        await asyncio.sleep(5)
        await handler.cancel_run()
        assert handler.is_done()

    for path in places(data):
        wrong = changed(data, path, value)
        try:
            ctx = Context.from_dict(flow, wrong)
        except ContextSerdeError as error:
            assert "Full" in str(error)
        else:
            if ctx.is_running:
                VirtualClock().run(go_on(ctx))


def test_the_place_of_what_is_wrong_is_told():
    data = full()
    path = ("workers", "work", "in_progress", 0, "attempts")
    refused(changed(data, path, "two"), Full(), r"workers\.work\.in_progress\.0\.attem")


def test_an_unknown_step_is_refused_with_those_there_are():
    data = full()
    data["workers"]["wrok"] = data["workers"].pop("work")
    refused(data, Full(), "names step 'wrok'; there is: begin, .*Did you mean work")


def test_a_step_without_work_may_be_gone():
    data = full()
    data["workers"]["gone"] = {**data["workers"]["end"], "visits": 3}
    Context.from_dict(Full(), data)


def test_a_class_that_is_not_in_the_graph_is_refused():
    data = full()
    sets = data["workers"]["other"]["collected_events"]["default"]
    sets[0]["expected"][0] = f"{Item.__module__}.Itme"
    refused(data, Full(), r"Itme, which is not in the graph. Did you mean .*Item")


def test_an_event_of_a_class_that_is_gone_is_refused():
    data = full()
    call = data["workers"]["work"]["in_progress"][0]
    call["event"] = call["event"].replace("Item", "Itme")
    error = refused(data, Full(), r"(?s)event of step `work`.*Itme.*Import the module")
    assert isinstance(error, ValueError)


def test_a_step_that_no_longer_takes_the_event_is_refused():
    data = full()
    call = data["workers"]["work"]["in_progress"][0]
    call["event"] = call["event"].replace("Item", "Done")
    refused(data, Full(), "step `work` was given Done, and it takes Item")


def test_a_step_that_takes_a_list_is_not_given_an_event():
    data = full()
    worker = data["workers"]
    worker["end"]["queue"] = worker.pop("work")["in_progress"]
    refused(data, Full(), "step `end` was given Item, and it takes Done, Group")


def test_a_step_that_no_longer_takes_those_events_together_is_refused():
    data = full()
    joined = data["workers"]["both"]["static_collect_events"][0]
    joined["expected"].reverse()
    refused(data, Full(), "`both` no longer takes")


def test_two_calls_with_one_number_are_refused():
    data = full()
    first, second = data["workers"]["work"]["queue"][0], data["workers"]["work"]
    second["queue"].append(first)
    refused(data, Full(), "step `work` has the number")


def test_two_lists_with_one_number_are_refused():
    data = full()
    data["streams"].append(data["streams"][-1])
    refused(data, Full(), "a list of events has the number 1")


def test_a_place_in_a_list_that_is_not_there_is_refused():
    data = full()
    data["streams"].pop()
    refused(data, Full(), "names the list 1, which is not in it")


def test_nothing_is_changed_by_what_is_refused():
    data = full()
    wrong = changed(data, ("workers", "work", "queue", 0, "event"), "{}")
    kept = json.dumps(wrong)
    refused(wrong, Full())
    assert json.dumps(wrong) == kept


# -- state that cannot be saved or read -----------------------------------------


async def test_state_that_cannot_be_saved_is_refused_with_its_key():
    ctx = Context(Counting())
    await ctx.store.set("fine", 1)
    await ctx.store.set("client", {"inner": threading.Lock()})
    with pytest.raises(ValueError, match=r"the state's key 'client' cannot be saved"):
        ctx.to_dict()
    with pytest.raises(ContextSerdeError, match=r"\['inner'\]"):
        ctx.to_dict()
    assert ctx.to_dict(include_state=False)["state"] == {}


async def test_typed_state_that_cannot_be_saved_is_refused_with_its_field():
    class Holding(BaseModel):
        client: object = None

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context[Holding], ev: StartEvent) -> StopEvent: ...

    ctx = Context(Flow())
    await ctx.store.set("client", threading.Lock())
    with pytest.raises(ValueError, match=r"the state Holding cannot.* at \.client"):
        ctx.to_dict()


async def test_a_memory_that_cannot_be_saved_is_left_out_with_a_warning():
    flow = Counting()
    ctx = Context(flow)
    await ctx.store.set("n", 1)
    await ctx.store.set("memory", threading.Lock())
    with pytest.warns(UserWarning, match="left out: the state's key 'memory'"):
        data = ctx.to_dict()
    again = Context.from_dict(flow, copied(data))
    assert dict(await again.store.get_state()) == {"n": 1}


async def test_an_event_that_cannot_be_saved_is_refused_with_step_and_event():
    class Flow(Workflow):
        def __init__(self, gates):
            super().__init__()
            self.gates = gates

        @step
        async def begin(self, ev: StartEvent) -> Item:
            return Item(n=1, lock=threading.Lock())

        @step
        async def end(self, ev: Item) -> StopEvent:
            await self.gates.stop("end")
            return StopEvent()

    gates = Gates()
    handler = Flow(gates).run()
    await gates.came("end")
    with pytest.raises(ValueError, match=r"Item that step `end`.* at \.lock") as caught:
        handler.ctx.to_dict()
    assert (caught.value.step, caught.value.event) == ("end", "Item")
    assert isinstance(caught.value, ContextSerdeError)
    gates.open()
    await handler


@pytest.mark.parametrize("trouble", [TypeError("no"), KeyError("no"), None])
async def test_a_serializer_of_ones_own_that_fails_is_told_clearly(trouble):
    class Broken(JsonSerializer):
        def serialize(self, value):
            if trouble:
                raise trouble
            return b"no text"

        deserialize = serialize

    ctx = Context(Counting())
    await ctx.store.set("n", 1)
    with pytest.raises(ContextSerdeError, match=r"(?s)key 'n' cannot be saved.*no"):
        ctx.to_dict(Broken())
    if trouble:
        with pytest.raises(ContextSerdeError, match="key 'n' cannot be restored"):
            Context.from_dict(Counting(), ctx.to_dict(), Broken())


async def test_free_form_state_becomes_the_model_that_the_steps_name_now():
    ctx = Context(Counting())
    await ctx.store.set("n", 4)
    assert await going_on(TypedCounting(), ctx.to_dict()) == 5


@pytest.mark.parametrize("key, value", [("n", "many"), ("m", 1)])
async def test_free_form_state_that_does_not_fit_the_model_is_refused(key, value):
    ctx = Context(Counting())
    await ctx.store.set(key, value)
    error = refused(ctx.to_dict(), TypedCounting(), f"{key}.*Shape|Shape: {key}")
    assert isinstance(error, ValueError)


async def test_a_state_of_another_class_is_refused():
    class Elsewhere(BaseModel):
        n: int = 0

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context[Elsewhere], ev: StartEvent) -> StopEvent: ...

    data = Context(TypedCounting()).to_dict()
    error = refused(data, Flow(), "the state is Shape, not Elsewhere")
    assert isinstance(error, ValueError)


async def test_a_store_alone_is_saved_and_restored():
    store = InMemoryStateStore(Shape(n=3))
    data = copied(store.to_dict(JsonSerializer()))
    again = InMemoryStateStore.from_dict(data, JsonSerializer())
    assert await again.get_state() == Shape(n=3)
