"""What every executor does. A new one adds its id to `EXECUTORS`."""

import asyncio

import pytest

from stepwell import LocalExecutor, StartEvent, StopEvent, Workflow, step
from stepwell.testing import ScriptedExecutor

EXECUTORS = {"local": LocalExecutor, "scripted": lambda: ScriptedExecutor({})}


@pytest.fixture(params=EXECUTORS)
def executor(request):
    return EXECUTORS[request.param]()


async def test_async_and_plain_bodies_give_what_they_return(executor):
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=ev.x + 1)

    class Plain(Workflow):
        @step
        def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=ev.x + 2)

    assert await Flow(executor=executor).run(x=1) == 2
    assert await Plain(executor=executor).run(x=1) == 3


@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_a_body_that_raises_raises_its_own_exception(executor, kind):
    class Flow(Workflow):
        if kind == "async":

            @step
            async def begin(self, ev: StartEvent) -> StopEvent:
                raise KeyError("mine")
        else:

            @step
            def begin(self, ev: StartEvent) -> StopEvent:
                raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await Flow(executor=executor).run()


async def test_a_cancelled_body_stops(executor):
    started, stopped = asyncio.Event(), asyncio.Event()

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()

    handler = Flow(executor=executor).run()
    await started.wait()
    await handler.cancel_run()
    assert stopped.is_set()
