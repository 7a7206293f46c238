"""Waiting for events inside a step: B24."""

import asyncio
import contextvars
import threading

import pytest

from parity.engines import (
    ending,
    importable,
    leaves_coroutines,
    names_of,
    on_both,
    same,
    settle,
    stream_of,
)

# -- what is the same --------------------------------------------------------------


async def test_b24_a_step_waits_for_an_answer():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def ask(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                answer = await ctx.wait_for_event(
                    w.HumanResponseEvent,
                    waiter_event=w.InputRequiredEvent(prefix="name?"),
                    waiter_id="name",
                )
                return w.StopEvent(result=answer.response)

        handler = Flow().run()
        events = []
        async for event in handler.stream_events():
            events.append(type(event).__name__)
            if isinstance(event, w.InputRequiredEvent):
                await handler.send_event(w.HumanResponseEvent(response="Ada"))
        return [await handler, events]

    assert await same(program) == ["Ada", ["InputRequiredEvent", "StopEvent"]]


async def test_b24_an_answer_is_known_by_its_requirements():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def ask(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                answer = await ctx.wait_for_event(
                    w.HumanResponseEvent,
                    waiter_event=w.InputRequiredEvent(),
                    requirements={"user": "ada", "round": 2},
                )
                return w.StopEvent(result=answer.response)

        handler = Flow().run()
        async for event in handler.stream_events():
            if isinstance(event, w.InputRequiredEvent):
                for user, turn in (("bob", 2), ("ada", 1), ("ada", 2)):
                    handler.ctx.send_event(
                        w.HumanResponseEvent(
                            user=user, round=turn, response=f"{user} {turn}"
                        )
                    )
        return await handler

    assert await same(program) == "ada 2"


async def test_b24_a_wait_has_its_own_timeout():
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def ask(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                try:
                    await ctx.wait_for_event(w.HumanResponseEvent, timeout=0.02)
                except TimeoutError:
                    return w.StopEvent(result="nobody came")

        return await Flow().run()

    assert await same(program) == "nobody came"


async def test_b24_other_steps_get_the_awaited_event_too():
    async def program(w):
        class Answer(w.HumanResponseEvent):
            text: str

        class Flow(w.Workflow):
            heard = ()

            @w.step
            async def ask(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                answer = await ctx.wait_for_event(
                    Answer, waiter_event=w.InputRequiredEvent()
                )
                await settle()
                return w.StopEvent(result=[answer.text, self.heard])

            @w.step
            async def listen(self, ev: Answer) -> None:
                self.heard = (*self.heard, ev.text)

        handler = Flow().run()
        async for event in handler.stream_events():
            if isinstance(event, w.InputRequiredEvent):
                await handler.send_event(Answer(text="yes"))
        return await handler

    assert await same(program) == ["yes", ("yes",)]


async def test_b24_a_context_saved_while_waiting_goes_on_waiting():
    async def program(w):
        @importable
        class Answer(w.HumanResponseEvent):
            text: str

        class Flow(w.Workflow):
            @w.step
            async def ask(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                answer = await ctx.wait_for_event(
                    Answer, waiter_event=w.InputRequiredEvent(prefix="?")
                )
                return w.StopEvent(result=answer.text)

        flow = Flow()
        handler = flow.run()
        async for event in handler.stream_events():
            if isinstance(event, w.InputRequiredEvent):
                break
        saved = handler.ctx.to_dict()
        await handler.cancel_run()
        handler = flow.run(ctx=w.Context.from_dict(flow, saved))
        await settle()
        await handler.send_event(Answer(text="later"))
        return await handler

    assert await same(program) == "later"


# -- what differs ------------------------------------------------------------------


async def test_b24_waiting_does_not_run_the_step_again():
    # On purpose: what stands before the wait happens once.
    async def program(w):
        class Flow(w.Workflow):
            runs = 0

            @w.step
            async def ask(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                self.runs += 1
                await ctx.wait_for_event(
                    w.HumanResponseEvent, waiter_event=w.InputRequiredEvent()
                )
                return w.StopEvent(result=self.runs)

        handler = Flow().run()
        async for event in handler.stream_events():
            if isinstance(event, w.InputRequiredEvent):
                await handler.send_event(w.HumanResponseEvent())
        return await handler

    theirs, ours = await on_both(program)
    assert theirs == 2
    assert ours == 1


@pytest.mark.parametrize("ids", [(None, None), ("first", "second")])
async def test_b24_two_waits_in_a_row_get_two_answers(ids):
    # On purpose: LlamaIndex gives both the same one, which one depends on waiter_id.
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def ask(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                answers = [
                    await ctx.wait_for_event(
                        w.HumanResponseEvent,
                        waiter_event=w.InputRequiredEvent(n=n),
                        waiter_id=ids[n],
                    )
                    for n in range(2)
                ]
                return w.StopEvent(result=[answer.text for answer in answers])

        handler = Flow(timeout=5).run()
        asked = 0
        async for event in handler.stream_events():
            if isinstance(event, w.InputRequiredEvent):
                asked += 1
                await handler.send_event(w.HumanResponseEvent(text=f"answer {asked}"))
        return [asked, await ending(handler)]

    theirs, ours = await on_both(program)
    same_twice = "answer 2" if all(ids) else "answer 1"
    assert theirs[1] == [same_twice, same_twice]
    assert ours == [2, ["answer 1", "answer 2"]]


async def test_b24_an_answer_ends_one_wait():
    # On purpose: the first of those who wait; LlamaIndex gives it to all of them.
    async def program(w):
        class Question(w.Event):
            n: int

        class Answered(w.Event):
            text: str

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> Question | None:
                for n in range(2):
                    ctx.send_event(Question(n=n))

            @w.step
            async def ask(self, ctx: w.Context, ev: Question) -> Answered:
                answer = await ctx.wait_for_event(w.HumanResponseEvent)
                return Answered(text=f"{ev.n}: {answer.text}")

            @w.step
            async def end(self, ctx: w.Context, ev: Answered) -> w.StopEvent | None:
                got = ctx.collect_events(ev, [Answered] * 2)
                return w.StopEvent(result=[a.text for a in got]) if got else None

        handler = Flow(timeout=w.brief).run()
        for text in ("first", "second"):
            await settle()
            if not handler.is_done():
                handler.ctx.send_event(w.HumanResponseEvent(text=text))
        return await handler

    theirs, ours = await on_both(program)
    assert sorted(theirs) == ["0: first", "1: first"]
    assert ours == ["0: first", "1: second"]


async def test_b24_an_answer_that_came_too_early_is_not_lost():
    # On purpose: LlamaIndex drops it, and the step waits for another one.
    async def program(w):
        gate = asyncio.Event()

        class Flow(w.Workflow):
            @w.step
            async def ask(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                await gate.wait()
                answer = await ctx.wait_for_event(w.HumanResponseEvent)
                return w.StopEvent(result=answer.text)

        handler = Flow(timeout=w.brief).run()
        await settle()
        await handler.send_event(w.HumanResponseEvent(text="early"))
        await settle()
        gate.set()
        return await ending(handler)

    theirs, ours = await on_both(program)
    assert theirs == "WorkflowTimeoutError"
    assert ours == "early"


async def test_b24_the_clock_stops_while_a_step_waits_for_a_person():
    # On purpose: timeout is for the work, and wait_for_event has a timeout of its own.
    async def program(w):
        class Flow(w.Workflow):
            @w.step
            async def ask(self, ctx: w.Context, ev: w.StartEvent) -> w.StopEvent:
                answer = await ctx.wait_for_event(w.HumanResponseEvent)
                return w.StopEvent(result=answer.text)

        handler = Flow(timeout=0.15).run()
        await asyncio.sleep(0.25)
        if w.engine == "stepwell":  # for LlamaIndex it is too late
            await handler.send_event(w.HumanResponseEvent(text="slow"))
        return await ending(handler)

    theirs, ours = await on_both(program)
    assert theirs == "WorkflowTimeoutError"
    assert ours == "slow"


# -- B29: plain functions ----------------------------------------------------------


async def test_b29_plain_steps_run_in_a_thread_with_the_context_variables():
    async def program(w):
        variable = contextvars.ContextVar("variable", default="unset")

        class Flow(w.Workflow):
            @w.step
            def begin(self, ev: w.StartEvent) -> w.StopEvent:
                here = threading.current_thread() is threading.main_thread()
                return w.StopEvent(result=[variable.get(), here])

        variable.set("set")
        return await Flow().run()

    assert await same(program) == ["set", False]


@leaves_coroutines
async def test_b29_plain_steps_may_send_and_write():
    # On purpose: in LlamaIndex they have no loop to do it on.
    async def program(w):
        class Progress(w.Event): ...

        class Part(w.Event):
            n: int

        class Flow(w.Workflow):
            @w.step
            def begin(self, ctx: w.Context, ev: w.StartEvent) -> Part | None:
                ctx.write_event_to_stream(Progress())
                for n in range(2):
                    ctx.send_event(Part(n=n))

            @w.step
            def join(self, ctx: w.Context, ev: Part) -> w.StopEvent | None:
                got = ctx.collect_events(ev, [Part] * 2)
                return w.StopEvent(result=len(got)) if got else None

        handler = Flow(timeout=1).run()
        return [await names_of(handler), await ending(handler)]

    theirs, ours = await on_both(program)
    assert theirs == [["WorkflowFailedEvent"], "RuntimeError"]
    assert ours == [["Progress", "StopEvent"], 2]


async def test_b29_code_below_a_step_finds_its_context():
    async def program(w):
        def note(text):
            w.Context.get_step_context().write_event_to_stream(w.Event(text=text))

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                note("from below")
                return w.StopEvent()

        async def outside():
            w.Context.get_step_context()

        return [await stream_of(Flow().run()), await ending(outside())]

    assert await same(program) == [
        [("Event", {"text": "from below"}), ("StopEvent", {})],
        "WorkflowRuntimeError",
    ]


async def test_b29_attributes_of_an_instance_last_over_its_runs():
    async def program(w):
        class Flow(w.Workflow):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self.seen = []

            @w.step
            async def begin(self, ev: w.StartEvent) -> w.StopEvent:
                self.seen.append(ev.n)
                return w.StopEvent(result=list(self.seen))

        flow = Flow(timeout=5)
        await flow.run(n=1)
        await asyncio.gather(flow.run(n=2), flow.run(n=3))
        return flow.seen

    assert await same(program) == [1, 2, 3]
