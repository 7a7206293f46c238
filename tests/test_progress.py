"""What a step says about itself: progress, log, amounts; and the store's watcher."""

import asyncio

import pytest

from stepwell import (
    Context,
    ContextStateError,
    Event,
    StartEvent,
    StepOutput,
    StepProgress,
    StopEvent,
    Workflow,
    step,
    tqdm,
)


async def told(handler, kind):
    stream = handler.stream_events(expose_internal=True)
    return [event async for event in stream if isinstance(event, kind)]


async def test_progress_is_told_to_those_who_ask_for_internal_events():
    class Flow(Workflow):
        @step
        async def load(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.progress(0, 2, "reading")
            await asyncio.to_thread(ctx.progress, 1, 2)
            ctx.progress(2, 2, "done")
            return StopEvent()

    handler = Flow().run()
    events = await told(handler, StepProgress)
    assert [(e.name, e.done, e.total, e.text) for e in events] == [
        ("load", 0, 2, "reading"),
        ("load", 1, 2, ""),
        ("load", 2, 2, "done"),
    ]
    late = await told(handler, StepProgress)
    assert [e.done for e in late] == [2]


async def test_a_bar_tells_where_its_loop_stands():
    class Flow(Workflow):
        @step
        async def load(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=[n for n in tqdm("abc", "letters", mininterval=0)])

    handler = Flow().run()
    events = await told(handler, StepProgress)
    assert [(e.done, e.total) for e in events] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert events[0].text == "letters"
    assert await handler == ["a", "b", "c"]


async def test_a_fast_loop_is_told_of_at_its_beginning_and_its_end():
    class Flow(Workflow):
        @step
        def load(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=sum(tqdm(range(50_000), mininterval=3600)))

    handler = Flow().run()
    assert [e.done for e in await told(handler, StepProgress)] == [0, 50_000]
    assert await handler == 1249975000


async def test_a_bar_may_be_moved_by_hand_and_iterate_asynchronously():
    async def letters():
        for letter in "ab":
            yield letter

    class Flow(Workflow):
        @step
        async def load(self, ev: StartEvent) -> StopEvent:
            got = [letter async for letter in tqdm(letters(), mininterval=0)]
            with tqdm(total=10, desc="x", mininterval=0, unit="B") as bar:
                bar.update(4)
                bar.set_postfix(loss=0.25)
            return StopEvent(result=(got, bar.n))

    handler = Flow().run()
    events = await told(handler, StepProgress)
    assert (events[-1].done, events[-1].total) == (4, 10)
    assert events[-1].text == "x loss=0.25"
    assert await handler == (["a", "b"], 4)


def test_outside_of_steps_a_bar_only_iterates():
    assert list(tqdm([1, 2])) == [1, 2]
    assert len(tqdm([1, 2])) == 2


async def test_a_steps_log_names_the_step_and_its_call():
    class Flow(Workflow):
        @step
        async def talk(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.log("hello", source="stdout")
            return StopEvent()

    (event,) = await told(Flow().run(), StepOutput)
    said = (event.name, event.call_id, event.text, event.source)
    assert said == ("talk", 1, "hello", "stdout")


async def test_amounts_are_added_up_for_each_attempt():
    class Flow(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.count(prompt_tokens=10, cost=0.25)
            ctx.count(prompt_tokens=5)
            return StopEvent()

    handler = Flow().run()
    await handler
    (call,) = handler.record
    assert call.counts == {"prompt_tokens": 15, "cost": 0.25}
    with pytest.raises(ContextStateError, match="inside a step only"):
        handler.ctx.count(tokens=1)


async def test_events_come_with_the_call_that_wrote_them():
    class Flow(Workflow):
        @step
        async def one(self, ctx: Context, ev: StartEvent) -> Event:
            ctx.write_event_to_stream(Event(n=1))
            return Event()

        @step
        async def two(self, ctx: Context, ev: Event) -> StopEvent:
            await asyncio.to_thread(ctx.write_event_to_stream, Event(n=2))
            return StopEvent()

    handler = Flow().run()
    pairs = [(e, n) async for e, n in handler.record.follow()]
    assert [(e.n, n) for e, n in pairs if "n" in e] == [(1, 1), (2, 2)]


async def test_the_store_tells_who_watches_what_changed():
    changes = []

    class Flow(Workflow):
        @step
        async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.set("a", 1)
            await ctx.store.set("b.c", 2)
            async with ctx.store.edit_state() as state:
                state["d"] = 3
            return StopEvent()

    flow = Flow()
    ctx = Context(flow)
    ctx.store.watch(changes.append)
    await flow.run(ctx=ctx)
    assert changes == ["a", "b.c", ""]
    ctx.store.watch(None)
