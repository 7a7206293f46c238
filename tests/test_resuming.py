"""Going on with a run by hand, after its step was mended: `handler.resume()`."""

import asyncio

import pytest

from stepwell import (
    Context,
    ContextStateError,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    WorkflowStalledError,
    WorkflowTimeoutError,
    retry_policy,
    step,
    stop_after_attempt,
)


class Read(Event):
    text: str


def flow_of(last, **options):
    """A workflow whose costly first step has been seen; the last step is given."""
    seen = []

    class Flow(Workflow):
        @step
        async def read(self, ctx: Context, ev: StartEvent) -> Read:
            seen.append(ev.path)
            await ctx.set("pages", 3)
            return Read(text="words")

        last.__name__ = "finish"
        finish = step(**options)(last) if options else step(last)

    return Flow, seen


async def broken(self, ctx: Context, ev: Read) -> StopEvent:
    raise ValueError("no")


async def mended(self, ctx: Context, ev: Read) -> StopEvent:
    return StopEvent(result=f"{ev.text}, {await ctx.get('pages')} pages")


async def test_a_failed_step_begins_again_with_what_came_before_it_kept():
    broken_flow, seen = flow_of(broken)
    mended_flow, _ = flow_of(mended)
    handler = broken_flow().run(path="a.txt")
    with pytest.raises(ValueError, match="no"):
        await handler
    assert handler.is_resumable
    again = handler.resume(mended_flow())
    assert await again == "words, 3 pages"
    assert again.resumed_from is handler
    assert seen == ["a.txt"]
    assert [call.step for call in again.record] == ["finish"]


async def test_the_class_as_it_is_defined_now_goes_on():
    names = {"__name__": "cells", **{k: globals()[k] for k in _USED}}
    cell = (
        "class Flow(Workflow):\n"
        "    @step\n"
        "    async def first(self, ev: StartEvent) -> Read:\n"
        "        return Read(text='x')\n"
        "    @step\n"
        "    async def second(self, ev: Read) -> StopEvent:\n"
        "        return StopEvent(result={})\n"
    )
    exec(cell.format("1 / 0"), names)
    flow = names["Flow"](timeout=7)
    flow.kept = "as it was"
    handler = flow.run()
    with pytest.raises(ZeroDivisionError):
        await handler
    exec(cell.format("self.kept + ev.text"), names)
    assert await handler.resume() == "as it wasx"
    assert type(flow).newest is names["Flow"]


_USED = ("Workflow", "step", "StartEvent", "StopEvent", "Read")


async def test_attempts_and_clock_begin_anew():
    tries = []

    async def flaky(self, ctx: Context, ev: Read) -> StopEvent:
        tries.append(ctx.retry_info().retry_number)
        if len(tries) < 4:
            raise ValueError
        return StopEvent(result=len(tries))

    flow, _ = flow_of(flaky, retry_policy=retry_policy(stop=stop_after_attempt(2)))
    handler = flow().run(path="a")
    with pytest.raises(ValueError):
        await handler
    assert await handler.resume() == 4
    assert tries == [0, 1, 0, 1]


async def test_a_cancelled_run_goes_on_where_it_was():
    started, gate = asyncio.Event(), asyncio.Event()

    async def slow(self, ctx: Context, ev: Read) -> StopEvent:
        started.set()
        await gate.wait()
        return StopEvent(result="done")

    flow, seen = flow_of(slow)
    handler = flow().run(path="a")
    await started.wait()
    await handler.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await handler
    gate.set()
    assert await handler.resume() == "done"
    assert seen == ["a"]


async def test_a_run_that_ran_out_of_time_has_all_of_it_again():
    class Never(Workflow):
        @step
        async def wait(self, ev: StartEvent) -> StopEvent:
            if not hasattr(self, "woken"):
                await asyncio.Event().wait()
            return StopEvent(result="woken")

    flow = Never(timeout=0.01)
    handler = flow.run()
    with pytest.raises(WorkflowTimeoutError):
        await handler
    flow.woken = True
    assert await handler.resume() == "woken"


async def test_what_is_left_of_a_list_is_done_and_nothing_twice():
    done = []

    class Part(Event):
        n: int

    class Done(Event):
        n: int

    class Split(Workflow):
        broken = True

        @step
        async def split(self, ev: StartEvent) -> list[Part]:
            return [Part(n=n) for n in range(4)]

        @step(num_workers=1)
        async def work(self, ev: Part) -> Done:
            if ev.n == 2 and self.broken:
                raise ValueError("two")
            done.append(ev.n)
            return Done(n=ev.n)

        @step
        async def join(self, ev: list[Done]) -> StopEvent:
            return StopEvent(result=[e.n for e in ev])

    flow = Split()
    handler = flow.run()
    with pytest.raises(ValueError):
        await handler
    flow.broken = False
    assert await handler.resume() == [0, 1, 2, 3]
    assert sorted(done) == [0, 1, 2, 3]


async def test_an_open_question_is_asked_again():
    class Ask(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> InputRequiredEvent:
            return InputRequiredEvent(prompt="Name?")

        @step
        async def take(self, ev: HumanResponseEvent) -> StopEvent:
            return StopEvent(result=ev.response)

    handler = Ask().run()
    async for _ in handler.stream_events():
        break
    await handler.cancel_run()
    again = handler.resume()
    async for event in again.stream_events():
        assert event.prompt == "Name?"
        break
    (question,) = again.questions
    again.send_event(question.answer("Ada"))
    assert await again == "Ada"


async def test_runs_that_cannot_go_on_say_why():
    class Never(Workflow):
        @step
        async def first(self, ev: StartEvent) -> Read:
            return Read(text="x")

        @step
        async def join(self, ctx: Context, ev: Read) -> StopEvent | None:
            return ctx.collect_events(ev, [Read] * 2) and StopEvent()

    flow, _ = flow_of(mended)
    done = flow().run(path="a")
    with pytest.raises(WorkflowRuntimeError, match="still going on"):
        done.resume()
    await done
    assert not done.is_resumable
    with pytest.raises(WorkflowRuntimeError, match="has its result"):
        done.resume()
    stalled = Never().run()
    with pytest.raises(WorkflowStalledError):
        await stalled
    with pytest.raises(WorkflowRuntimeError, match="is stalled, and none of its steps"):
        stalled.resume()


async def test_a_step_that_is_gone_or_takes_something_else_is_named():
    class Other(Event):
        pass

    class Gone(Workflow):
        @step
        async def read(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

    class Changed(Workflow):
        @step
        async def read(self, ev: StartEvent) -> Other:
            return Other()

        @step
        async def finish(self, ev: Other) -> StopEvent:
            return StopEvent()

    flow, _ = flow_of(broken)
    handler = flow().run(path="a")
    with pytest.raises(ValueError):
        await handler
    with pytest.raises(ContextStateError, match="work for finish"):
        handler.resume(Gone())
    with pytest.raises(ContextStateError, match="on Read, which it no longer takes"):
        handler.resume(Changed())
    flow.finish = step(mended)
    assert await handler.resume() == "words, 3 pages"
