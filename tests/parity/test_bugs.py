"""Troubles of LlamaIndex Workflows, reported or seen, as tests that stay.

Those whose cause is a rule (what collect_events keeps, who reads the stream, …) are in
the file of that rule.
"""

import asyncio
import gc
import itertools
import threading
import time
import weakref

from parity.engines import (
    ending,
    importable,
    leaves_coroutines,
    names_of,
    on_both,
    same,
    settle,
    stream_of,
    trying,
)

# -- seen in 2.26.1 ----------------------------------------------------------------


async def test_an_input_that_blocks_the_loop_longer_than_the_timeout():
    # On purpose: input() in the reader's loop is how the tutorials ask people.
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def ask(self, ev: w.StartEvent) -> w.InputRequiredEvent:
                return w.InputRequiredEvent()

            @w.step
            async def hear(self, ev: w.HumanResponseEvent) -> w.StopEvent:
                return w.StopEvent(result=ev.response)

        handler = Flow(timeout=0.15).run()
        async for event in handler.stream_events():
            if isinstance(event, w.InputRequiredEvent):
                time.sleep(0.2)  # a person types
                await handler.send_event(w.HumanResponseEvent(response="typed"))
        return await ending(handler)

    theirs, ours = await on_both(program)
    assert theirs == "WorkflowTimeoutError"
    assert ours == "typed"


@leaves_coroutines
async def test_events_are_sent_from_any_thread():
    # On purpose: LlamaIndex starts a task, and a thread has no loop to start it on.
    async def program(w):
        class Part(w.Event):
            n: int

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> Part | None:
                threads.append(threading.Thread(target=work, args=[ctx]))
                threads[0].start()
                while threads[0].is_alive():
                    await asyncio.sleep(0.001)
                return Part(n=2) if w.engine == "llamaindex" else None

            @w.step
            async def end(self, ev: Part) -> w.StopEvent:
                return w.StopEvent(result=ev.n)

        def work(ctx):
            told.append(trying(ctx.send_event, Part(n=1)))

        threads, told = [], []
        result = await Flow().run()
        threads[0].join()
        return [result, told]

    theirs, ours = await on_both(program)
    assert theirs == [2, ["RuntimeError"]]
    assert ours == [1, [None]]


# -- mended there, kept from coming back here --------------------------------------


async def test_the_delay_and_the_number_of_attempts_are_kept():
    async def program(w):
        times = []

        class Flow(w.Workflow):
            @w.step(
                retry_policy=w.retry_policy(
                    wait=w.wait_fixed(0.03), stop=w.stop_after_attempt(3)
                )
            )
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                times.append(time.monotonic())
                raise LookupError

        raised = await ending(Flow().run())
        gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
        return raised, [gap >= 0.025 for gap in gaps]

    assert await same(program) == ("LookupError", [True, True])


async def test_a_context_is_saved_after_leaving_the_stream():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def ask(
                self, ctx: w.Context, ev: w.StartEvent
            ) -> w.InputRequiredEvent:
                await ctx.store.set("n", 1)
                return w.InputRequiredEvent()

            @w.step
            async def hear(self, ev: w.HumanResponseEvent) -> w.StopEvent: ...

        handler = Flow().run()
        async for event in handler.stream_events():
            if isinstance(event, w.InputRequiredEvent):
                break
        saved = handler.ctx.to_dict()
        await handler.cancel_run()
        return saved["is_running"], saved["state"]["state_data"]

    assert await same(program) == (True, {"_data": {"n": "1"}})


async def test_a_run_is_saved_resumed_and_saved_again():
    async def program(w):
        @importable
        class Answer(w.HumanResponseEvent):
            n: int

        class Flow(w.Workflow):
            @w.step
            async def ask(self, ev: w.StartEvent) -> w.InputRequiredEvent:
                return w.InputRequiredEvent()

            @w.step
            async def hear(
                self, ctx: w.Context, ev: Answer
            ) -> w.InputRequiredEvent | w.StopEvent:
                heard = [*await ctx.store.get("heard", default=[]), ev.n]
                await ctx.store.set("heard", heard)
                if len(heard) < 3:
                    return w.InputRequiredEvent()
                return w.StopEvent(result=heard)

        async def saved_when_asking(handler):
            async for event in handler.stream_events():
                if isinstance(event, w.InputRequiredEvent):
                    break
            saved = handler.ctx.to_dict()
            await handler.cancel_run()
            return saved

        flow = Flow()
        saved = await saved_when_asking(flow.run())
        for n in (1, 2, 3):
            handler = flow.run(ctx=w.Context.from_dict(flow, saved))
            handler.ctx.send_event(Answer(n=n))
            if n < 3:
                saved = await saved_when_asking(handler)
        return await handler

    assert await same(program) == [1, 2, 3]


async def test_finished_workflows_are_let_go():
    async def program(w):
        left = []

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent(result=1)

        for _ in range(10):
            flow = Flow(timeout=3600)
            left.append(weakref.ref(flow))
            await flow.run()
            del flow
        await settle()
        gc.collect()
        return sum(ref() is not None for ref in left)

    assert await same(program) == 0


async def test_things_that_cannot_be_copied_may_stand_in_the_state():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                lock = threading.Lock()
                await ctx.store.set("lock", lock)
                await ctx.store.set("n", 1)
                async with ctx.store.edit_state() as state:
                    state.n += 1
                return w.StopEvent(
                    result=[
                        await ctx.store.get("lock") is lock,
                        await ctx.store.get("n"),
                    ]
                )

        handler = Flow().run()
        result = await handler
        saved = trying(handler.ctx.to_dict)
        return [result, saved, "lock" in saved.text]

    assert await same(program) == [[True, 2], "ValueError", True]


async def test_a_failing_step_ends_the_stream():
    async def program(w):
        class Progress(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                ctx.write_event_to_stream(Progress())
                raise LookupError

        handler = Flow().run()
        return [await names_of(handler), await ending(handler)]

    assert await same(program) == [["Progress", "WorkflowFailedEvent"], "LookupError"]


async def test_the_stop_of_an_inner_run_passed_on_does_not_end_the_outer_stream():
    # On purpose: in LlamaIndex the reader leaves before the outer run has finished.
    async def program(w):
        class Inner(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                return w.StopEvent(result="inner")

        class Outer(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                handler = Inner().run()
                async for event in handler.stream_events():
                    ctx.write_event_to_stream(event)
                return w.StopEvent(result="outer")

        return [fields["result"] for _, fields in await stream_of(Outer().run())]

    theirs, ours = await on_both(program)
    assert theirs == ["inner"]
    assert ours == ["inner", "outer"]


async def test_a_thousand_events_are_fanned_out_and_joined_in_no_time():
    # On purpose: LlamaIndex copies its state at every event (6 to 16 seconds here),
    # so it is asked for fifty.
    async def program(w):
        count = 50 if w.engine == "llamaindex" else 1000

        class Item(w.Event):
            n: int

        class Done(w.Event):
            n: int

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> Item | None:
                for n in range(count):
                    ctx.send_event(Item(n=n))

            @w.step(num_workers=8)
            async def work(self, ev: Item) -> Done:
                return Done(n=ev.n)

            @w.step
            async def end(self, ctx: w.Context, ev: Done) -> w.StopEvent | None:
                got = ctx.collect_events(ev, [Done] * count)
                return w.StopEvent(result=len(got)) if got else None

        began = time.perf_counter()
        return [await Flow().run(), time.perf_counter() - began]

    theirs, ours = await on_both(program)
    assert theirs[0] == 50
    assert ours[0] == 1000 and ours[1] < 3
