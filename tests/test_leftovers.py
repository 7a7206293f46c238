"""What a run leaves behind when it has ended: no task, no memory, no timer."""

import asyncio
import gc
import tracemalloc
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell import (
    Context,
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowTimeoutError,
    step,
)
from stepwell.testing import VirtualClock


class Item(Event):
    seconds: float


class Sleeping(Workflow):
    """Items that sleep; the sum of them ends the run."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> list[Item]:
        return [Item(seconds=s) for s in ev.naps]

    @step(num_workers=3)
    async def nap(self, ctx: Context, ev: Item) -> Item | None:
        try:
            await asyncio.sleep(ev.seconds)
        finally:
            # Cleaning up may take its time too.
            await asyncio.sleep(0.01)

    @step
    async def end(self, items: list[Item]) -> StopEvent:
        return StopEvent(result=len(items))


naps = st.lists(st.floats(0, 10), max_size=12)


def only_this_task() -> bool:
    return asyncio.all_tasks() == {asyncio.current_task()}


@settings(max_examples=40, deadline=None)
@given(naps, st.floats(0, 12))
def test_a_cancelled_run_leaves_no_task(naps, after):
    async def main():
        handler = Sleeping(timeout=None).run(naps=naps)
        await asyncio.sleep(after)
        await handler.cancel_run()
        assert only_this_task()
        if handler.status == "cancelled":
            with pytest.raises(WorkflowCancelledByUser):
                await handler

    VirtualClock().run(main())


@settings(max_examples=40, deadline=None)
@given(naps, st.floats(0.001, 12))
def test_a_run_whose_time_is_up_leaves_no_task(naps, timeout):
    async def main():
        handler = Sleeping(timeout=timeout).run(naps=naps)
        try:
            await handler
        except WorkflowTimeoutError:
            assert handler.status == "timed out"
        assert only_this_task()

    VirtualClock().run(main())


@settings(max_examples=40, deadline=None)
@given(naps, st.floats(0, 12))
def test_a_run_that_nobody_awaits_any_longer_leaves_no_task(naps, after):
    async def main():
        waiting = asyncio.ensure_future(Sleeping(timeout=None).run(naps=naps))
        await asyncio.sleep(after)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert only_this_task()

    async def ensured():
        await main()

    VirtualClock().run(ensured())


def test_ten_thousand_runs_leave_no_memory():
    class Counting(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Item:
            await ctx.store.set("n", ev.n)
            return Item(seconds=0)

        @step
        async def end(self, ctx: Context, ev: Item) -> StopEvent:
            return StopEvent(result=await ctx.store.get("n"))

    async def runs(count):
        flow = Counting(timeout=60)
        for n in range(count):
            assert await flow.run(n=n) == n

    async def main():
        await runs(500)  # what is made once is made
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        await runs(10_000)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        # Ten bytes a run would be a leak; what is measured is noise.
        assert grown < 100_000, f"{grown:,} bytes more after 10,000 runs"

    asyncio.run(main())


async def test_a_finished_run_is_collected_while_its_timeout_has_not_passed():
    class Quick(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=1)

    handlers = [Quick(timeout=3600).run() for _ in range(10)]
    await asyncio.gather(*handlers)
    there = [weakref.ref(handler._run) for handler in handlers]
    del handlers
    await asyncio.sleep(0)
    gc.collect()
    assert [ref() for ref in there] == [None] * 10
