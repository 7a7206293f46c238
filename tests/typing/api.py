"""How the library is meant to be used, read by the type checker only."""

from pathlib import Path
from typing import assert_type

from pydantic import BaseModel

from stepwell import (
    CallRecord,
    ConstantDelayRetryPolicy,
    Context,
    Event,
    RetryPolicy,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowHandler,
    step,
)
from stepwell.testing import VirtualClock


class State(BaseModel):
    count: int = 0


class Query(StartEvent):
    text: str


class Hit(Event):
    score: float


class Answer(StopEvent):
    text: str


class Flow(Workflow):
    @step(num_workers=8, retry_policy=ConstantDelayRetryPolicy(delay=1))
    async def search(self, ctx: Context[State], ev: Query) -> list[Hit] | Answer:
        assert_type(ev.text, str)
        assert_type(await ctx.store.get_state(), State)
        ctx.write_event_to_stream(Hit(score=0.5))
        async with ctx.store.edit_state() as state:
            assert_type(state.count, int)
        return [Hit(score=1.0)]

    @step
    def join(self, ctx: Context[State], ev: Hit) -> Answer | None:
        hits = ctx.collect_events(ev, [Hit] * 3)
        return None if hits is None else Answer(text=str(len(hits)))


@step(workflow=Flow)
async def extra(ctx: Context, ev: Hit | StartEvent) -> None:
    await ctx.set("topic", ev.topic)


class Mine:
    def next(
        self, elapsed_time: float, attempts: int, error: Exception
    ) -> float | None:
        return None


async def main() -> None:
    flow = Flow(timeout=None, verbose=True)
    handler = flow.run(text="q")
    assert_type(handler, WorkflowHandler)
    async for event in handler.stream_events():
        assert_type(event, Event)
    await handler
    await handler.send_event(Hit(score=1))
    assert_type(Flow.draw(), str)
    assert_type(flow.draw("html", resources=True), str)
    assert_type(flow.draw("png", path="graph.png"), bytes)
    assert_type(Flow.draw(path=Path("graph.png")), str | bytes)
    assert_type(flow.to_dot() + Flow.to_mermaid(resources=True), str)
    assert_type(handler.get_stop_event(), StopEvent | None)
    for call in handler.record:
        assert_type(call, CallRecord)
        assert_type(call.duration, float | None)


policy: RetryPolicy = Mine()
VirtualClock().run(main())
