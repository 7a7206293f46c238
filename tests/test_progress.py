"""What a step says about itself: progress, log, amounts; and the store's watcher."""

import asyncio
import contextlib

import pytest

from stepwell import (
    Context,
    ContextStateError,
    DictState,
    Event,
    InMemoryStateStore,
    StartEvent,
    StepOutput,
    StepProgress,
    StepStateChanged,
    StopEvent,
    Workflow,
    retry_policy,
    step,
    tqdm,
    wait_none,
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


async def test_who_watches_a_store_no_longer_leaves_another_one_alone():
    first, second = [], []
    store = InMemoryStateStore(DictState())
    store.watch(first.append)
    store.watch(second.append)
    store.unwatch(first.append)
    await store.set("a", 1)
    assert (first, second) == ([], ["a"])
    store.unwatch(second.append)
    await store.set("b", 1)
    assert (first, second) == ([], ["a"])


async def test_a_follower_left_behind_goes_on_with_what_is_kept():
    class Flow(Workflow):
        @step
        async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
            for n in range(150_000):
                ctx.write_event_to_stream(notes[n % 2])
            return StopEvent()

    notes = [Event(n=0), Event(n=1)]
    handler = Flow().run()
    pairs = [pair async for pair in handler.record.follow()]
    kept = [event for event, _ in pairs if "n" in event]
    assert 0 < len(kept) == 150_000 - handler.record.dropped_events
    told = [event.status for event, _ in pairs if isinstance(event, StepStateChanged)]
    assert told == ["running", "done"]
    assert type(pairs[-1][0]) is StopEvent


# -- as code that was written for the tqdm library uses it -----------------------------


async def bars_of(loop, kind=StepProgress):
    """What a step tells that runs `loop`, and what that gave."""

    class Flow(Workflow):
        @step
        def only(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=loop())

    handler = Flow().run()
    events = await told(handler, kind)
    return events, await handler


async def test_values_may_be_shown_from_a_dictionary():
    def loop():
        bar = tqdm(total=2, desc="fit", mininterval=0)
        bar.set_postfix({"loss": 0.5}, epoch=1)

    events, _ = await bars_of(loop)
    assert events[-1].text == "fit loss=0.5, epoch=1"


async def test_a_bar_that_is_disabled_tells_nothing_and_iterates():
    events, got = await bars_of(lambda: list(tqdm([1, 2], disable=True)))
    assert (events, got) == ([], [1, 2])


async def test_a_bar_iterates_whatever_a_for_loop_does():
    class Pages:
        def __getitem__(self, index):
            return "abc"[index]

        def __len__(self):
            return 3

    events, got = await bars_of(lambda: list(tqdm(Pages())))
    assert got == ["a", "b", "c"]
    assert (events[-1].done, events[-1].total) == (3, 3)


async def test_an_iterable_of_both_kinds_is_awaited_where_that_is_asked_for():
    class Both:
        def __iter__(self):
            return iter("sync")

        async def __aiter__(self):
            for letter in "async":
                yield letter

    assert "".join([letter async for letter in tqdm(Both())]) == "async"
    assert "".join([letter async for letter in tqdm("sync")]) == "sync"
    assert "".join(tqdm(Both())) == "sync"


def test_a_bar_without_items_says_so_and_endless_ones_have_no_total():
    with pytest.raises(TypeError, match="nothing to iterate"):
        list(tqdm(total=3))
    bar = tqdm(total=float("inf"))
    assert bar.total is None
    with pytest.raises(TypeError):
        len(bar)


async def test_what_is_written_past_a_bar_is_in_the_steps_log(capsys):
    events, _ = await bars_of(lambda: tqdm.write("half way"), StepOutput)
    assert [(e.text, e.source) for e in events] == [("half way", "stdout")]
    tqdm.write("outside")
    assert capsys.readouterr().out == "outside\n"


@pytest.mark.parametrize("how", ["break", "raise", "nested", "generator"])
async def test_the_last_report_is_right_however_the_loop_ended(how):
    def loop():
        if how == "break":
            for n in tqdm(range(9), mininterval=3600):
                if n == 4:
                    break
        elif how == "raise":
            with contextlib.suppress(LookupError):
                for n in tqdm(range(9), mininterval=3600):
                    if n == 4:
                        raise LookupError
        elif how == "generator":
            items = (n for n in tqdm(range(9), mininterval=3600))
            for _ in range(5):
                next(items)
            items.close()
        else:
            for _ in tqdm(range(4), "outer", mininterval=3600):
                for _ in tqdm(range(3), "inner", mininterval=3600):
                    pass

    events, _ = await bars_of(loop)
    assert (events[0].done, events[-1].done) == (0, 4)


# -- bounds, latecomers, threads -------------------------------------------------------


async def test_latecomers_are_told_the_last_lines_of_a_long_log_in_their_order():
    class Flow(Workflow):
        @step
        async def talk(self, ctx: Context, ev: StartEvent) -> StopEvent:
            for n in range(10_000):
                ctx.log(str(n))
            return StopEvent()

    handler = Flow().run()
    await handler
    said = [int(event.text) for event in await told(handler, StepOutput)]
    assert said == list(range(7_000, 10_000))


async def test_readers_who_go_away_are_not_counted_as_an_audience():
    gate = asyncio.Event()

    class Flow(Workflow):
        @step
        async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.write_event_to_stream(Event())
            await gate.wait()
            return StopEvent()

    handler = Flow().run()
    async for _ in handler.stream_events():
        assert handler.record.audience == 1
        break
    follower = handler.record.follow()
    await anext(follower)
    while handler.record.audience:
        await asyncio.sleep(0)
    assert handler.record.listeners == 1
    await follower.aclose()
    assert handler.record.listeners == 0
    gate.set()
    await handler


async def test_amounts_from_threads_and_retries_add_up():
    class Flow(Workflow):
        @step(num_workers=4, retry_policy=retry_policy(wait=wait_none()))
        def use(self, ctx: Context, ev: Event) -> StopEvent | None:
            for _ in range(500):
                ctx.count(tokens=1)
            if ctx.retry_info().retry_number == 0 and ev.n == 0:
                raise ValueError
            return ctx.collect_events(ev, [Event] * 4) and StopEvent()

        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> list[Event]:
            return [Event(n=n) for n in range(4)]

    handler = Flow().run()
    await handler
    used = [call.counts.get("tokens") for call in handler.record if call.step == "use"]
    assert used == [500] * 5
    assert handler.record.amounts == {"tokens": 2500}
