"""`WorkflowTestRunner`: a run to its end, and what is left of it."""

import asyncio

import pytest

from stepwell import (
    Context,
    Event,
    StartEvent,
    StepStateChanged,
    StopEvent,
    Workflow,
    WorkflowFailedEvent,
    step,
)
from stepwell.errors import (
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    WorkflowStepDoesNotExistError,
)
from stepwell.testing import VirtualClock, WorkflowTestRunner


class Question(StartEvent):
    text: str = "why?"


class Part(Event):
    n: int


class Answer(Event):
    text: str


class Answering(Workflow):
    @step
    async def think(self, ctx: Context, ev: Question) -> Answer:
        for n in range(3):
            ctx.write_event_to_stream(Part(n=n))
        if ev.text == "fail":
            raise KeyError("no idea")
        return Answer(text=f"{ev.text} because")

    @step
    async def speak(self, ctx: Context, ev: Answer) -> StopEvent:
        await ctx.store.set("said", ev.text)
        return StopEvent(result=ev.text)


async def test_a_run_gives_its_result_and_its_events_in_order():
    test = await WorkflowTestRunner(Answering()).run(expose_internal=False)
    assert test.result == "why? because"
    assert [getattr(event, "n", None) for event in test.collected] == [0, 1, 2, None]
    assert test.event_types == {Part: 3, StopEvent: 1}
    assert test.error is None


async def test_internal_events_are_collected_unless_refused():
    runner = WorkflowTestRunner(Answering())
    assert (await runner.run()).event_types[StepStateChanged] > 0
    quiet = await runner.run(expose_internal=False)
    assert StepStateChanged not in quiet.event_types


async def test_excluded_classes_are_not_collected():
    runner = WorkflowTestRunner(Answering())
    test = await runner.run(exclude_events=[StepStateChanged, Part])
    assert Part not in test.event_types
    assert all(type(event) is not Part for event in test.collected)
    assert test.event_types[StopEvent] == 1


async def test_the_start_event_is_given_whole_or_by_its_fields():
    runner = WorkflowTestRunner(Answering())
    assert (await runner.run(Question(text="who?"))).result == "who? because"
    assert (await runner.run(text="how?")).result == "how? because"


async def test_a_start_event_and_fields_together_are_refused_as_by_the_workflow():
    with pytest.raises(WorkflowRuntimeError, match="would be lost"):
        await WorkflowTestRunner(Answering()).run(Question(), text="how?")


async def test_the_context_goes_on_and_is_given_back():
    flow = Answering()
    ctx = Context(flow)
    await ctx.store.set("before", 1)
    test = await WorkflowTestRunner(flow).run(ctx=ctx)
    assert await test.ctx.store.get("before") == 1
    assert await test.ctx.store.get("said") == "why? because"


async def test_the_calls_of_a_step_show_input_and_outputs():
    test = await WorkflowTestRunner(Answering()).run()
    (call,) = test.calls("speak")
    assert (call.input, call.outputs) == ("Answer", ("StopEvent",))
    assert len(test.record) == 2


async def test_asking_for_a_step_that_is_not_there_names_the_nearest():
    test = await WorkflowTestRunner(Answering()).run()
    with pytest.raises(WorkflowStepDoesNotExistError, match="Did you mean speak"):
        test.calls("speek")


async def test_a_run_that_fails_raises_and_leaves_what_was_collected():
    runner = WorkflowTestRunner(Answering())
    with pytest.raises(KeyError, match="no idea") as caught:
        await runner.run(text="fail")
    assert runner.last.error is caught.value
    assert runner.last.result is None
    assert runner.last.event_types[Part] == 3
    assert isinstance(runner.last.collected[-1], WorkflowFailedEvent)
    assert runner.last.calls("think")[0].status == "failed"
    assert runner.last.calls("speak") == []


async def test_the_last_run_is_missed_before_there_is_one():
    with pytest.raises(WorkflowRuntimeError, match="no run of Answering has ended"):
        _ = WorkflowTestRunner(Answering()).last


async def test_cancelling_the_runner_stops_the_run():
    started, stopped = asyncio.Event(), asyncio.Event()

    class Endless(Workflow):
        @step
        async def wait(self, ev: StartEvent) -> StopEvent:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()

    runner = WorkflowTestRunner(Endless())
    task = asyncio.create_task(runner.run())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stopped.is_set()
    assert isinstance(runner.last.error, WorkflowCancelledByUser)


def test_it_runs_on_a_virtual_clock():
    class Slow(Workflow):
        @step
        async def wait(self, ev: StartEvent) -> StopEvent:
            await asyncio.sleep(3600)
            return StopEvent(result="done")

    clock = VirtualClock()
    test = clock.run(WorkflowTestRunner(Slow(timeout=None)).run())
    assert test.result == "done"
    assert test.calls("wait")[0].duration == 3600
