"""A context outside of steps, and found inside of them."""

import asyncio
import threading

import pytest

from resuming import (
    Counting,
    Gates,
    Group,
    Item,
    Working,
    left_by,
)
from stepwell import (
    Context,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)
from stepwell.errors import (
    ContextStateError,
    WorkflowRuntimeError,
)


async def test_a_context_is_made_of_an_earlier_one():
    flow = Counting()
    handler = flow.run()
    await handler
    ctx = Context(flow, previous_context=handler.ctx.to_dict())
    assert await flow.run(ctx=ctx) == 2


async def test_a_context_of_another_workflow_is_refused_when_it_is_run():
    gates = Gates()
    handler = Working(gates).run(topic="cats")
    await gates.came(0)
    ctx = Context.from_dict(Working(gates), await left_by(handler))
    with pytest.raises(ContextStateError, match=r"has work for (begin|end|work)"):
        Counting().run(ctx=ctx)


async def test_the_result_of_a_context_is_given_when_its_run_is_over():
    flow = Counting()
    ctx = Context(flow)
    with (
        pytest.warns(DeprecationWarning, match="await the handler"),
        pytest.raises(ContextStateError, match="no"),
    ):
        ctx.get_result()
    handler = flow.run(ctx=ctx)
    with (
        pytest.warns(DeprecationWarning),
        pytest.raises(WorkflowRuntimeError, match="before the run was over"),
    ):
        ctx.get_result()
    await handler
    with pytest.warns(DeprecationWarning):
        assert ctx.get_result() == 1


class Inside(Workflow):
    """Looks for its context by itself, in code that it calls."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Item:
        found = Context.get_step_context()
        assert found.store is ctx.store
        await asyncio.gather(note("task"), note("other"))
        return Item(n=1)

    @step
    def end(self, ev: Item) -> StopEvent:
        found = Context.get_step_context()
        found.write_event_to_stream(Group(n=threading.get_ident()))
        return StopEvent(result=dict(found.store.current))


async def note(key):
    await Context.get_step_context().store.set(key, True)


async def test_code_in_a_step_and_below_it_finds_the_context():
    handler = Inside().run()
    assert await handler == {"task": True, "other": True}
    written = [e async for e in handler.stream_events() if isinstance(e, Group)]
    assert written[0].n != threading.get_ident()


def test_code_outside_of_steps_finds_no_context():
    with pytest.raises(WorkflowRuntimeError, match="outside of a step"):
        Context.get_step_context()
