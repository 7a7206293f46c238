"""`ctx.wait_for_event`: a step that stops until somebody answers."""

import asyncio

import pytest

from stepwell import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StepStateChanged,
    StopEvent,
    Workflow,
    WorkflowIdleEvent,
    step,
)
from stepwell.errors import (
    ContextStateError,
    WorkflowRuntimeError,
    WorkflowStalledError,
    WorkflowTimeoutError,
)
from stepwell.testing import VirtualClock


class Item(Event):
    n: int


class Approval(HumanResponseEvent):
    yes: bool


async def asked(handler) -> list[InputRequiredEvent]:
    """The questions asked until the run goes idle or ends."""
    questions = []
    async for event in handler.stream_events(expose_internal=True):
        if isinstance(event, InputRequiredEvent):
            questions.append(event)
        if isinstance(event, WorkflowIdleEvent):
            return questions
    return questions


class Asking(Workflow):
    """Asks twice in one step, and counts how often its body ran."""

    bodies = 0

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        self.bodies += 1
        answers = []
        for question in ("first", "second"):
            answer = await ctx.wait_for_event(
                HumanResponseEvent, waiter_event=InputRequiredEvent(prefix=question)
            )
            answers.append(answer.response)
        return StopEvent(result=answers)


async def test_two_waits_get_the_first_and_the_second_answer_and_no_body_runs_again():
    flow = Asking()
    handler = flow.run()
    seen = []
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            seen.append(event.prefix)
            handler.send_event(HumanResponseEvent(response=f"to {event.prefix}"))
    assert await handler == ["to first", "to second"]
    assert seen == ["first", "second"]
    assert flow.bodies == 1


async def test_answers_that_come_before_the_wait_are_not_lost():
    handler = Asking().run()
    handler.send_event(HumanResponseEvent(response=1))
    handler.send_event(HumanResponseEvent(response=2))
    assert await handler == [1, 2]


async def test_only_an_answer_that_meets_the_requirements_ends_the_wait():
    class Flow(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            answer = await ctx.wait_for_event(
                HumanResponseEvent, requirements={"user": "ada"}
            )
            return StopEvent(result=answer.response)

    handler = Flow().run()
    await asked(handler)
    handler.send_event(HumanResponseEvent(user="bob", response="no"))
    handler.send_event(HumanResponseEvent(user="ada", response="yes"))
    assert await handler == "yes"


async def test_waiting_calls_leave_their_worker_to_others():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(5)]

        @step(num_workers=1)
        async def approve(self, ctx: Context, ev: Item) -> StopEvent | None:
            answer = await ctx.wait_for_event(
                Approval,
                waiter_event=InputRequiredEvent(n=ev.n),
                requirements={"n": ev.n},
            )
            await ctx.set(f"n{ev.n}", answer.yes)
            if ctx.collect_events(ev, [Item] * 5):
                state = await ctx.store.get_state()
                return StopEvent(result=[state[f"n{n}"] for n in range(5)])

    handler = Flow().run()
    questions = await asked(handler)
    assert [q.n for q in questions] == [0, 1, 2, 3, 4], "all are asked at once"
    for n in reversed(range(5)):
        handler.send_event(Approval(n=n, yes=bool(n % 2)))
    assert await handler == [False, True, False, True, False]
    states = [
        e
        async for e in handler.stream_events(expose_internal=True)
        if isinstance(e, StepStateChanged)
    ]
    workers = {e.worker_id for e in states if e.name == "approve"}
    assert workers <= {"0", "<enqueued>"}, "never more than one worker"


async def test_resumed_calls_share_the_workers_there_are():
    at_once, most = 0, 0

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(6)]

        @step(num_workers=2)
        async def work(self, ctx: Context, ev: Item) -> StopEvent | None:
            nonlocal at_once, most
            await ctx.wait_for_event(Approval)
            at_once += 1
            most = max(most, at_once)
            for _ in range(5):
                await asyncio.sleep(0)
            at_once -= 1
            return StopEvent() if ctx.collect_events(ev, [Item] * 6) else None

    handler = Flow().run()
    await asked(handler)
    for _ in range(6):
        handler.send_event(Approval(yes=True))
    await handler
    assert most == 2


def test_a_wait_has_a_time_of_its_own_and_the_run_s_clock_stands_still():
    class Flow(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            try:
                await ctx.wait_for_event(Approval, timeout=600)
            except TimeoutError as error:
                await asyncio.sleep(3)
                return StopEvent(result=str(error))

    async def main():
        return await Flow(timeout=5).run()

    clock = VirtualClock()
    assert clock.run(main()) == "no Approval came within 600 seconds"
    assert clock.now == pytest.approx(603)


def test_the_run_s_clock_goes_on_after_the_answer():
    class Flow(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await asyncio.sleep(3)
            await ctx.wait_for_event(Approval)
            await asyncio.sleep(3)

    async def main():
        handler = Flow(timeout=5).run()
        await asked(handler)
        await asyncio.sleep(100)
        handler.send_event(Approval(yes=True))
        with pytest.raises(WorkflowTimeoutError):
            await handler

    clock = VirtualClock()
    clock.run(main())
    assert clock.now == pytest.approx(105)


def test_a_wait_may_be_given_up_by_the_step_itself():
    class Flow(Workflow):
        @step(num_workers=1)
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            try:
                async with asyncio.timeout(10):
                    await ctx.wait_for_event(
                        Approval, waiter_event=InputRequiredEvent()
                    )
            except TimeoutError:
                return StopEvent(result="went on alone")

    async def main():
        return await Flow().run()

    assert VirtualClock().run(main()) == "went on alone"


async def test_two_waits_at_once_in_one_step():
    class Flow(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            both = await asyncio.gather(
                ctx.wait_for_event(Approval, requirements={"who": "a"}),
                ctx.wait_for_event(Approval, requirements={"who": "b"}),
            )
            return StopEvent(result=[e.yes for e in both])

    handler = Flow().run()
    await asked(handler)
    handler.send_event(Approval(who="b", yes=False))
    handler.send_event(Approval(who="a", yes=True))
    assert await handler == [True, False]


async def test_other_steps_get_the_answer_too_but_not_the_one_that_waits():
    seen = []

    class Flow(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent | Approval) -> StopEvent:
            seen.append(("ask", type(ev).__name__))
            await ctx.wait_for_event(Approval)
            return StopEvent()

        @step
        async def listen(self, ev: Approval) -> None:
            seen.append(("listen", ev.yes))

    handler = Flow().run()
    await asked(handler)
    handler.send_event(Approval(yes=True))
    await handler
    assert ("listen", True) in seen
    assert ("ask", "Approval") not in seen


async def test_a_plain_event_may_be_waited_for_and_only_then_be_sent():
    class Flow(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            return StopEvent(result=(await ctx.wait_for_event(Item)).n)

    handler = Flow().run()
    with pytest.raises(WorkflowRuntimeError, match="no step of Flow accepts Item"):
        handler.send_event(Item(n=1))
    await asked(handler)
    handler.send_event(Item(n=2))
    assert await handler == 2


async def test_a_stall_after_the_answer_is_found_at_once():
    class Flow(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
            await ctx.wait_for_event(Item, waiter_event=InputRequiredEvent())

    handler = Flow(timeout=60).run()
    await asked(handler)
    handler.send_event(Item(n=1))
    with pytest.raises(WorkflowStalledError):
        await handler


async def test_cancelling_a_waiting_run_leaves_nothing_behind():
    handler = Asking().run()
    await asked(handler)
    await handler.cancel_run()
    assert handler.status == "cancelled"
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_waiting_outside_a_step_is_refused():
    with pytest.raises(ContextStateError, match="inside a step"):
        await Context(Asking()).wait_for_event(Approval)


async def test_a_task_left_behind_that_waits_does_not_break_the_run():
    left = []

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Item:
            left.append(asyncio.ensure_future(ctx.wait_for_event(Approval)))
            await asyncio.sleep(0)
            return Item(n=1)

        @step
        async def end(self, ev: Item) -> StopEvent:
            return StopEvent(result=ev.n)

    assert await Flow().run() == 1
    with pytest.raises(TimeoutError):
        await left[0]
