"""What the caller holds: the stream for many readers, results, presenting."""

import asyncio

import pytest

from stepwell import (
    Context,
    Event,
    StartEvent,
    StepState,
    StepStateChanged,
    StopEvent,
    Workflow,
    WorkflowCancelledEvent,
    present_with,
    step,
)
from stepwell.errors import WorkflowCancelledByUser, WorkflowRuntimeError


class Progress(Event):
    n: int


class Counting(Workflow):
    @step
    async def count(self, ctx: Context, ev: StartEvent) -> StopEvent:
        for n in range(ev.get("to", 3)):
            ctx.write_event_to_stream(Progress(n=n))
            await asyncio.sleep(0)
        return StopEvent(result="counted")


async def read(handler, **kwargs):
    return [event async for event in handler.stream_events(**kwargs)]


async def test_readers_side_by_side_and_late_ones_all_get_every_event():
    handler = Counting().run()
    first, second = await asyncio.gather(read(handler), read(handler))
    late = await read(handler)
    assert [getattr(e, "n", None) for e in first] == [0, 1, 2, None]
    assert first == second == late
    assert isinstance(first[-1], StopEvent)


async def test_events_arrive_while_the_run_goes_on():
    handler = Counting().run(to=5)
    async for event in handler.stream_events():
        if isinstance(event, Progress) and event.n == 2:
            assert not handler.is_done()
            break
    assert await handler == "counted"


async def test_a_reader_that_is_later_than_what_is_kept_is_told():
    handler = Counting().run(to=10)
    handler.record._events_kept = 4
    await handler
    assert handler.record.dropped_events > 0
    with pytest.raises(WorkflowRuntimeError, match="events late"):
        await read(handler)


async def test_internal_events_tell_of_every_call_in_order():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Progress]:
            return [Progress(n=0), Progress(n=1)]

        @step(num_workers=1)
        async def end(self, ctx: Context, ev: Progress) -> StopEvent | None:
            ctx.write_event_to_stream(ev)
            return StopEvent() if ev.n else None

    handler = Flow().run()
    told = [
        (e.name, e.status, e.call_id) if isinstance(e, StepStateChanged) else e
        for e in await read(handler, expose_internal=True)
    ]
    assert told == [
        ("begin", "running", 1),
        ("begin", "done", 1),
        ("end", "running", 2),
        ("end", "queued", 3),
        Progress(n=0),
        ("end", "done", 2),
        ("end", "running", 3),
        Progress(n=1),
        ("end", "done", 3),
        StopEvent(),
    ]
    states = [
        e
        for e in await read(handler, expose_internal=True)
        if isinstance(e, StepStateChanged)
    ]
    queued = next(e for e in states if e.status == "queued")
    assert (queued.step_state, queued.worker_id) == (StepState.PREPARING, "<enqueued>")
    assert queued.caused_by == 1
    assert [e.at for e in states] == sorted(e.at for e in states)
    assert states[1].output_event_name == "Progress, Progress"


async def test_the_record_says_what_ran_when_and_why():
    handler = Counting().run()
    await handler
    (call,) = handler.record
    assert (call.step, call.input, call.status) == ("count", "StartEvent", "done")
    assert call.outputs == ("StopEvent",)
    assert 0 <= call.started <= call.ended <= handler.elapsed
    assert handler.record.to_rows()[0]["step"] == "count"


async def test_a_long_loop_keeps_a_bounded_record():
    class Flow(Workflow):
        @step
        async def turn(self, ev: StartEvent | Progress) -> Progress | StopEvent:
            n = ev.get("n", 4000)
            return Progress(n=n - 1) if n else StopEvent()

    handler = Flow().run()
    await handler
    assert len(handler.record) == 3000
    assert handler.record.dropped_calls == 1001


async def test_awaiting_twice_gives_the_same_object():
    handler = Counting().run()
    assert await handler is await handler
    assert await asyncio.gather(handler, handler) == ["counted", "counted"]


async def test_a_stop_event_subclass_is_the_result_itself():
    class Answer(StopEvent):
        text: str

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Answer:
            return Answer(text="a")

    handler = Flow().run()
    answer = await handler
    assert isinstance(answer, Answer) and answer.text == "a"
    assert handler.get_stop_event() is answer
    assert handler.result() is answer


async def test_result_before_the_end_says_to_await():
    handler = Counting().run()
    with pytest.raises(WorkflowRuntimeError, match="await handler"):
        handler.result()
    assert handler.get_stop_event() is None
    await handler


async def test_sending_after_the_end_says_so():
    handler = Counting().run()
    await handler
    with pytest.raises(WorkflowRuntimeError, match="after the end of the run"):
        handler.send_event(StartEvent())


async def test_a_cancelled_run_ends_its_stream_with_the_fact():
    handler = Counting().run(to=10_000)
    await handler.cancel_run()
    assert isinstance((await read(handler))[-1], WorkflowCancelledEvent)
    await handler.cancel_run()


async def test_a_cancelled_run_says_why():
    handler = Counting().run(to=10_000)
    await handler.cancel_run(reason="it took too long")
    with pytest.raises(WorkflowCancelledByUser, match="cancelled: it took too long"):
        await handler


async def test_writing_something_else_than_an_event_is_refused():
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.write_event_to_stream(None)
            ctx.write_event_to_stream("text")
            return StopEvent()

    with pytest.raises(WorkflowRuntimeError, match="takes an Event, not str"):
        await Flow().run()


async def test_a_stop_event_written_by_hand_does_not_end_the_stream():
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.write_event_to_stream(StopEvent(result="child"))
            ctx.write_event_to_stream(Progress(n=1))
            return StopEvent(result="parent")

    handler = Flow().run()
    assert [type(e) for e in await read(handler)] == [StopEvent, Progress, StopEvent]
    assert await handler == "parent"


async def test_a_presenter_stands_between_a_run_and_who_awaits_it_outside_steps():
    seen = []

    async def presenter(handler, outcome):
        seen.append(handler.workflow)
        return await outcome

    class Parent(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=await Counting().run())

    parent = Parent()
    assert present_with(presenter) is None
    try:
        assert await parent.run() == "counted"
    finally:
        assert present_with(None) is presenter
    assert seen == [parent]


async def test_the_handler_says_what_it_is_in_one_line():
    handler = Counting().run(run_id="mine")
    assert repr(handler).startswith("<WorkflowHandler mine: running")
    await handler
    assert repr(handler).startswith("<WorkflowHandler mine: done")
