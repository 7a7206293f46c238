"""Making workflows and starting runs: options, arguments, where it may be called."""

import asyncio

import pytest

from stepwell import Context, Event, StartEvent, StopEvent, Workflow, step
from stepwell.errors import (
    ContextStateError,
    NoRunningLoopError,
    WorkflowRuntimeError,
    WorkflowValidationError,
)


class Echo(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        count = await ctx.get("count", 0) + 1
        await ctx.set("count", count)
        return StopEvent(result=(ev.get("x"), count))


def test_run_outside_a_loop_says_what_to_write():
    with pytest.raises(NoRunningLoopError) as caught:
        Echo().run(x=1)
    said = str(caught.value)
    assert "Echo.run() needs a running event loop" in said
    assert "await workflow.run(" in said and "run_sync" in said
    assert isinstance(caught.value, RuntimeError)


async def test_positional_arguments_are_refused_with_the_way_to_write_them():
    with pytest.raises(WorkflowRuntimeError, match="run\\(query='hello'\\)"):
        Echo().run("hello")


async def test_missing_fields_of_the_start_event_are_named():
    class Query(StartEvent):
        text: str
        top_k: int = 3

    class Flow(Workflow):
        @step
        async def begin(self, ev: Query) -> StopEvent:
            return StopEvent(result=(ev.text, ev.top_k))

    with pytest.raises(WorkflowRuntimeError) as caught:
        Flow().run(txt="q")
    assert "text: Field required" in str(caught.value)
    assert "It takes: text, top_k" in str(caught.value)
    assert await Flow().run(text="q") == ("q", 3)
    assert await Flow().run(start_event=Query(text="q", top_k=1)) == ("q", 1)
    with pytest.raises(WorkflowRuntimeError, match="starts from Query, not from Start"):
        Flow().run(start_event=StartEvent())
    with pytest.raises(ValueError, match="must be a StartEvent"):
        Flow().run(start_event=Event())


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_that_is_no_time_is_refused(timeout):
    with pytest.raises(WorkflowValidationError, match="timeout"):
        Echo(timeout=timeout)


def test_an_unknown_way_to_stall_is_refused():
    with pytest.raises(WorkflowValidationError, match="on_stall"):
        Echo(on_stall="hope")


async def test_a_subclass_that_forgets_super_init_works():
    class Flow(Echo):
        def __init__(self):
            self.index = "kept"

    assert await Flow().run(x=1) == (1, 1)


async def test_a_context_given_again_keeps_its_state():
    flow = Echo()
    ctx = Context(flow)
    await ctx.store.set("count", 10)
    assert await flow.run(x=1, ctx=ctx) == (1, 11)
    handler = flow.run(x=2, ctx=ctx)
    assert handler.ctx is ctx
    with pytest.raises(ContextStateError, match="still going on"):
        flow.run(x=3, ctx=ctx)
    assert await handler == (2, 12)
    assert await flow.run(x=1) == (1, 1)


def test_a_context_without_a_run_says_so():
    with pytest.raises(ContextStateError, match="needs a run"):
        Context(Echo()).send_event(StartEvent())


def test_names_events_and_classes_are_there_to_look_at():
    flow = Echo(workflow_name="mine")
    assert flow.workflow_name == "mine"
    assert flow.events == [StartEvent, StopEvent]
    assert flow.start_event_class is StartEvent
    assert flow.stop_event_class is StopEvent


async def test_events_made_by_a_cell_run_again_still_find_their_steps():
    namespace = {"Event": Event, "__name__": "notebook_of_routes"}
    cell = "class Mid(Event):\n    n: int\n"
    exec(cell, namespace)
    old = namespace["Mid"]

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> old | StopEvent:
            return namespace["Mid"](n=1)

        @step
        async def end(self, ctx: Context, ev: old) -> StopEvent | None:
            joined = ctx.collect_events(ev, [old])
            return StopEvent(result=[e.n for e in joined]) if joined else None

    flow = Flow(timeout=1)
    assert await flow.run() == [1]
    exec(cell, namespace)
    assert namespace["Mid"] is not old
    assert await flow.run() == [1]


async def test_the_same_workflow_runs_on_one_loop_after_another():
    flow = Echo()
    first = await flow.run(x=1)
    second = await asyncio.to_thread(lambda: asyncio.run(_run(flow)))
    assert first == second == (1, 1)


async def _run(flow):
    return await flow.run(x=1)
