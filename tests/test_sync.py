"""`run_sync`, where nothing can be awaited."""

import asyncio
import contextvars

import pytest

from stepwell import StartEvent, StopEvent, Workflow, step
from stepwell.errors import WorkflowRuntimeError

who = contextvars.ContextVar("who", default="nobody")


class Asking(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=who.get())


class Plain(Workflow):
    @step
    def begin(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=Asking().run_sync())


class Nested(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=Asking().run_sync())


async def test_a_plain_def_step_may_call_it():
    assert await Plain().run() == "nobody"


async def test_an_async_step_may_call_it_and_blocks_its_loop():
    assert await Nested().run() == "nobody"


async def test_context_variables_of_the_caller_reach_the_steps():
    who.set("caller")
    assert Asking().run_sync() == "caller"


async def test_it_is_refused_on_its_own_thread_where_it_would_wait_for_itself():
    with pytest.raises(WorkflowRuntimeError, match="Write `await workflow"):
        Nested().run_sync()


async def test_it_leaves_its_thread_fit_for_the_next_call():
    for _ in range(3):
        with pytest.raises(WorkflowRuntimeError):
            Nested().run_sync()
        assert Asking().run_sync() == "nobody"


async def test_what_is_wrong_with_the_arguments_is_raised_here():
    with pytest.raises(WorkflowRuntimeError, match="by name"):
        Asking().run_sync("positional")


async def test_runs_of_its_thread_and_of_the_caller_s_loop_do_not_meet():
    handler = Asking().run()
    assert await asyncio.to_thread(Asking().run_sync) == "nobody"
    assert Asking().run_sync() == await handler
