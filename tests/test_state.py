"""What is left of waits, retries, joins and lists, and how a run goes on with it."""

import asyncio
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resuming import (
    Answer,
    Consent,
    Done,
    Gates,
    Group,
    GroupDone,
    Item,
    Narrow,
    Other,
    Question,
    copied,
    going_on,
    idle,
    left_by,
)
from stepwell import (
    Collect,
    Context,
    HumanResponseEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Take,
    Workflow,
    catch_error,
    step,
)
from stepwell.errors import (
    WorkflowRuntimeError,
    WorkflowStalledError,
    WorkflowTimeoutError,
)
from stepwell.retry import ConstantDelayRetryPolicy
from stepwell.testing import VirtualClock

# -- people ---------------------------------------------------------------------


class TwoSteps(Workflow):
    """Asks by one step and is answered in another."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> Question:
        await ctx.store.set("asked", 1)
        return Question(text="who?")

    @step
    async def hear(self, ctx: Context, ev: Answer) -> StopEvent:
        return StopEvent(result=[ev.text, await ctx.store.get("asked")])


async def test_a_run_that_waits_for_a_person_goes_on_with_the_answer():
    handler = TwoSteps().run()
    await idle(handler)
    flow = TwoSteps()
    handler = going_on(flow, await left_by(handler))
    handler.send_event(Answer(text="me"))
    assert await handler == ["me", 1]


async def test_an_open_question_stays_open_and_is_shown_again():
    handler = TwoSteps().run()
    await idle(handler)
    handler = going_on(TwoSteps(), await left_by(handler))
    assert [question.event.text for question in handler.questions] == ["who?"]
    assert await idle(handler) == ["who?"]
    assert handler.status == "waiting"
    handler.send_event(Answer(text="me"))
    assert await handler == ["me", 1]


async def test_a_context_that_only_counts_its_questions_goes_on():
    handler = TwoSteps().run()
    await idle(handler)
    data = await left_by(handler)
    del data["questions"]["asking"]  # as it was saved before questions were
    handler = going_on(TwoSteps(), data)
    assert handler.questions == []
    await idle(handler)
    handler.send_event(Answer(text="me"))
    assert await handler == ["me", 1]


async def test_questions_that_are_open_are_asked_again_in_their_order():
    class Two(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> list[Question]:
            return [Question(text="one"), Question(text="two")]

        @step
        async def take(self, ctx: Context, ev: Answer) -> StopEvent | None:
            found = ctx.collect_events(ev, [Answer] * 2)
            return found and StopEvent(result=[event.text for event in found])

    handler = Two().run()
    await idle(handler)
    data = await left_by(handler)
    flow = Two()
    handler = going_on(flow, await left_by(going_on(flow, data)))
    assert [question.prompt for question in handler.questions] == [
        "Question(text='one')",
        "Question(text='two')",
    ]
    assert [question.step for question in handler.questions] == ["ask", "ask"]
    handler.send_event(Answer(text="1"))
    await idle(handler)
    assert [question.event.text for question in handler.questions] == ["two"]
    handler.send_event(Answer(text="2"))
    assert await handler == ["1", "2"]


async def test_steps_see_what_was_set_while_a_person_was_waited_for():
    flow = TwoSteps()
    handler = flow.run()
    await idle(handler)
    await handler.ctx.store.set("asked", 2)
    ctx = Context.from_dict(flow, await left_by(handler))
    assert await ctx.store.get("asked") == 2
    await ctx.store.set("asked", 3)
    handler = flow.run(ctx=ctx)
    handler.send_event(Answer(text="me"))
    assert await handler == ["me", 3]


class OneStep(Workflow):
    """Waits for two events inside one step."""

    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
        first = await ctx.wait_for_event(Answer, Question(text="first"))
        second = await ctx.wait_for_event(Consent, Question(text="second"))
        return StopEvent(result=[first.text, second.yes])


async def test_a_step_that_waits_begins_again_and_asks_again():
    handler = OneStep().run()
    assert await idle(handler) == ["first"]
    handler = going_on(OneStep(), await left_by(handler))
    assert await idle(handler) == ["first"]
    handler.send_event(Answer(text="a"))
    await idle(handler, times=2)
    handler.send_event(Consent(yes=True))
    assert await handler == ["a", True]


async def test_what_was_answered_before_is_not_asked_again():
    handler = OneStep().run()
    await idle(handler)
    handler.send_event(Answer(text="a"))
    assert await idle(handler, times=2) == ["first", "second"]
    handler = going_on(OneStep(), await left_by(handler))
    assert await idle(handler) == ["second"]
    handler.send_event(Consent(yes=True))
    assert await handler == ["a", True]


async def test_an_answer_may_be_sent_as_soon_as_the_run_goes_on():
    handler = OneStep().run()
    await idle(handler)
    handler.send_event(Answer(text="a"))
    await idle(handler, times=2)
    handler = going_on(OneStep(), await left_by(handler))
    # No step takes such an event, and the one that waits has not begun.
    handler.send_event(Consent(yes=True))
    assert await handler == ["a", True]


async def test_an_answer_is_kept_when_a_run_is_taken_down_before_it_is_read():
    handler = OneStep().run()
    await idle(handler)
    handler.send_event(Answer(text="a"))
    await idle(handler, times=2)
    handler = going_on(OneStep(), await left_by(handler))
    handler.send_event(Consent(yes=True))
    assert await going_on(OneStep(), await left_by(handler)) == ["a", True]


async def test_an_answer_may_be_sent_while_the_run_waits_for_its_turn():
    handler = OneStep().run()
    await idle(handler)
    handler.send_event(Answer(text="a"))
    await idle(handler, times=2)
    data = await left_by(handler)
    flow = OneStep(num_concurrent_runs=1)
    first = flow.run()
    handler = going_on(flow, data)
    assert handler.status == "queued"
    handler.send_event(Consent(yes=True))
    await first.cancel_run()
    assert await handler == ["a", True]


async def test_an_answer_goes_to_the_wait_alone_and_starts_the_step_no_second_time():
    class Both(Workflow):
        calls = 0

        @step
        async def ask(self, ctx: Context, ev: StartEvent | Answer) -> StopEvent:
            self.calls += 1
            answer = await ctx.wait_for_event(Answer)
            return StopEvent(result=answer.text)

    handler = Both().run()
    await idle(handler)
    flow = Both()
    handler = going_on(flow, await left_by(handler))
    handler.send_event(Answer(text="a"))
    assert await handler == "a"
    assert flow.calls == 1


async def test_an_event_that_nobody_waits_for_any_more_is_refused_as_ever():
    class Once(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.wait_for_event(Consent)
            await ctx.wait_for_event(Answer)
            return StopEvent()

    handler = Once().run()
    await idle(handler)
    handler = going_on(Once(), await left_by(handler))
    handler.send_event(Consent(yes=True))
    await idle(handler)
    with pytest.raises(WorkflowRuntimeError, match="no step of Once accepts Consent"):
        handler.send_event(Consent(yes=True))
    handler.send_event(Answer(text="a"))
    await handler


class Board(Workflow):
    """Several calls of one step wait for the same class of event."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> list[Item]:
        return [Item(n=n) for n in range(6)]

    @step(num_workers=2)
    async def ask(self, ctx: Context, ev: Item) -> Done:
        await ctx.wait_for_event(Consent, requirements={"about": ev.n})
        return Done(n=ev.n)

    @step
    async def end(self, done: list[Done]) -> StopEvent:
        return StopEvent(result=[event.n for event in done])


async def test_each_of_many_waiting_calls_gets_the_event_it_requires():
    handler = Board().run()
    await idle(handler)
    handler = going_on(Board(), await left_by(handler))
    for n in (3, 5, 1, 0, 4, 2):
        handler.send_event(Consent(yes=True, about=n))
    assert await handler == list(range(6))


async def test_more_waiting_calls_than_workers_survive_a_second_snapshot():
    handler = Board().run()
    await idle(handler)
    handler = going_on(Board(), await left_by(handler))
    handler = going_on(Board(), await left_by(handler))  # most have not begun again
    await idle(handler)
    for n in range(6):
        handler.send_event(Consent(yes=True, about=n))
    assert await handler == list(range(6))


async def test_a_call_that_has_not_begun_again_yet_collects_no_second_time():
    class Collecting(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=0), Item(n=1)]

        @step(num_workers=1)
        async def work(self, ctx: Context, ev: Item) -> StopEvent | None:
            if ctx.collect_events(ev, [Item] * 3):
                return StopEvent(result="one of the two was counted twice")
            await ctx.wait_for_event(Answer)
            return None

    handler = Collecting().run()
    await idle(handler)
    handler = going_on(Collecting(), await left_by(handler))
    handler = going_on(Collecting(), await left_by(handler))
    handler.send_event(Answer(text="a"))
    handler.send_event(Answer(text="b"))
    with pytest.raises(WorkflowStalledError, match="2 of 3 Item"):
        await handler


async def test_an_answer_that_came_early_is_kept():
    class Late(Workflow):
        def __init__(self, gates):
            super().__init__()
            self.gates = gates

        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await self.gates.stop("ask")
            answer = await ctx.wait_for_event(Answer)
            return StopEvent(result=answer.text)

    gates = Gates()
    handler = Late(gates).run()
    await gates.came("ask")
    handler.send_event(Answer(text="early"))
    data = await left_by(handler)
    gates.open()
    assert await going_on(Late(gates), data) == "early"


async def test_a_call_that_was_answered_and_waits_for_its_worker_has_the_answer():
    class Busy(Workflow):
        def __init__(self, gates):
            super().__init__()
            self.gates = gates

        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=0), Item(n=1)]

        @step(num_workers=1)
        async def work(self, ctx: Context, ev: Item) -> Other:
            if ev.n == 0:
                answer = await ctx.wait_for_event(Answer)
                return Other(text=answer.text)
            await self.gates.stop(1)
            return Other(text="")

        @step
        async def end(self, found: list[Other]) -> StopEvent:
            return StopEvent(result=[event.text for event in found])

    gates = Gates()
    handler = Busy(gates).run()
    await gates.came(1)
    handler.send_event(Answer(text="a"))
    data = await left_by(handler)
    gates.open()
    assert await going_on(Busy(gates), data) == ["a", ""]


async def test_a_run_whose_questions_are_answered_stalls_and_does_not_wait():
    class Forgetting(Workflow):
        def __init__(self, gates):
            super().__init__()
            self.gates = gates

        @step
        async def ask(self, ev: StartEvent) -> Question:
            return Question(text="who?")

        @step
        async def hear(self, ev: Answer) -> StopEvent | None:
            await self.gates.stop("hear")

    gates = Gates()
    handler = Forgetting(gates).run()
    await idle(handler)
    handler.send_event(Answer(text="me"))
    await gates.came("hear")
    data = await left_by(handler)
    gates.open()
    with pytest.raises(WorkflowStalledError):
        await going_on(Forgetting(gates), data)


async def test_a_question_that_is_asked_again_is_one_question():
    class Silent(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
            await ctx.wait_for_event(Answer, Question(text="who?"))

    handler = Silent().run()
    await idle(handler)
    handler = going_on(Silent(), await left_by(handler))
    await idle(handler)
    handler.send_event(Answer(text="me"))
    with pytest.raises(WorkflowStalledError):
        await handler


async def test_a_retry_does_not_ask_again_what_was_answered():
    class Trying(Workflow):
        @step(retry_policy=ConstantDelayRetryPolicy(maximum_attempts=3, delay=0))
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            answer = await ctx.wait_for_event(Answer, Question(text="who?"))
            if ctx.retry_info().retry_number < 2:
                raise KeyError
            return StopEvent(result=answer.text)

    handler = Trying().run()
    asked = await idle(handler)
    handler.send_event(Answer(text="me"))
    assert await handler == "me"
    assert asked == ["who?"]


# -- retries, recoveries, limits ------------------------------------------------


class Retrying(Workflow):
    """Fails three times, an hour apart, and tells what it knew each time."""

    def __init__(self, told, **options):
        super().__init__(**options)
        self.told = told

    @step(retry_policy=ConstantDelayRetryPolicy(maximum_attempts=5, delay=3600))
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
        info = ctx.retry_info()
        error = info.last_exception and info.last_exception.args
        self.told.append((info.retry_number, info.elapsed_seconds, error))
        if info.retry_number < 3:
            raise KeyError(info.retry_number)
        return StopEvent(result=info.last_failed_at)


def test_a_delayed_retry_waits_for_the_rest_of_its_delay():
    clock, told = VirtualClock(), []

    async def main():
        handler = Retrying(told, timeout=None).run()
        await asyncio.sleep(3600 + 1800)  # half way between the second and the third
        data = await left_by(handler)
        before = clock.now
        await going_on(Retrying(told, timeout=None), data)
        return clock.now - before

    assert clock.run(main()) == 1800 + 3600


def test_attempts_their_time_and_their_error_count_on():
    clock, told = VirtualClock(), []

    async def main():
        handler = Retrying(told, timeout=None).run()
        await asyncio.sleep(3600 + 1800)
        data = await left_by(handler)
        await asyncio.sleep(1_000_000)  # nobody runs it: that does not count
        return await going_on(Retrying(told, timeout=None), data)

    clock.run(main())
    assert told == [
        (0, 0.0, None),
        (1, 3600.0, (0,)),
        (2, 7200.0, (1,)),
        (3, 10800.0, (2,)),
    ]


def test_when_an_attempt_failed_is_known_after_going_on():
    clock, told, failed = VirtualClock(), [], []

    class Looking(Workflow):
        @step(retry_policy=ConstantDelayRetryPolicy(maximum_attempts=2, delay=60))
        async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
            info = ctx.retry_info()
            failed.append(info.last_failed_at)
            if not info.retry_number:
                raise KeyError
            await asyncio.sleep(10)
            return StopEvent()

    async def main():
        handler = Looking(timeout=None).run()
        await asyncio.sleep(65)  # in the middle of the second attempt
        await going_on(Looking(timeout=None), await left_by(handler))

    clock.run(main())
    _, live, restored = failed
    assert abs((live - restored).total_seconds()) < 0.001
    assert told == []


async def test_an_attempt_at_work_is_the_same_attempt_again():
    class Second(Workflow):
        def __init__(self, gates):
            super().__init__()
            self.gates = gates

        @step(retry_policy=ConstantDelayRetryPolicy(maximum_attempts=2, delay=0))
        async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
            number = ctx.retry_info().retry_number
            if number:
                await self.gates.stop(number)
                return StopEvent(result=repr(ctx.retry_info().last_exception))
            raise ValueError("first")

    gates = Gates()
    handler = Second(gates).run()
    await gates.came(1)
    data = await left_by(handler)
    gates.open()
    assert await going_on(Second(gates), data) == "ValueError('first')"


class Recovering(Workflow):
    """Fails for good until its two recoveries are used up."""

    def __init__(self, gates, failures):
        super().__init__()
        self.gates = gates
        self.failures = failures

    @step
    async def begin(self, ev: StartEvent) -> Item:
        return Item(n=0)

    @step
    async def work(self, ev: Item) -> StopEvent:
        await self.gates.stop(ev.n)
        raise KeyError(ev.n)

    @catch_error(max_recoveries=2)
    async def help(self, ev: StepFailedEvent) -> Item:
        self.failures.append((ev.input_event.n, ev.exception.args, ev.attempts))
        await self.gates.stop(f"help {ev.input_event.n}")
        return Item(n=ev.input_event.n + 1)


async def test_recoveries_count_on():
    failures = []
    gates = Gates(0, "help 0")
    handler = Recovering(gates, failures).run()
    await gates.came(1)  # helped once
    data = await left_by(handler)
    gates.open()
    with pytest.raises(KeyError, match="2"):
        await going_on(Recovering(gates, failures), data)
    assert failures == [(0, (0,), 1), (1, (1,), 1)]


async def test_a_recovery_at_work_gets_the_failure_again():
    failures = []
    gates = Gates(0)
    handler = Recovering(gates, failures).run()
    await gates.came("help 0")
    data = await left_by(handler)
    gates.open()
    with pytest.raises(KeyError, match="2"):
        await going_on(Recovering(gates, failures), data)
    assert failures == [(0, (0,), 1), (0, (0,), 1), (1, (1,), 1)]


class Helped(Workflow):
    """A failing step of two events, one of which its helper gives again."""

    def __init__(self, gates, helped):
        super().__init__()
        self.gates = gates
        self.helped = helped

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Item | Other | None:
        for event in (Other(), Item(n=0), Item(n=1)):
            ctx.send_event(event)

    @step
    async def work(self, ev: Item) -> Done:
        await self.gates.stop(ev.n)
        return Done(n=ev.n)

    @step
    async def both(self, one: Done, two: Other) -> StopEvent:
        raise KeyError(one.n)

    @catch_error
    async def help(self, ev: StepFailedEvent) -> Other:
        self.helped.append(ev.exception.args[0])
        return Other()


@pytest.mark.parametrize("leaving", [False, True])
async def test_recoveries_of_events_that_wait_in_a_join_count_on(leaving):
    helped, gates = [], Gates(0)
    handler = Helped(gates, helped).run()
    while not helped:
        await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)
    if leaving:
        handler = going_on(Helped(gates, helped), await left_by(handler))
    gates.open()
    with pytest.raises(KeyError, match="1"):
        await handler
    assert helped == [0]


async def test_visits_count_on():
    class Looping(Workflow):
        def __init__(self, gates):
            super().__init__()
            self.gates = gates

        @step(max_visits=5)
        async def turn(self, ev: StartEvent | Item) -> Item | StopEvent:
            n = ev.get("n", 0)
            await self.gates.stop(n)
            return Item(n=n + 1)

    gates = Gates(0, 1)
    handler = Looping(gates).run()
    await gates.came(2)  # the third visit, which is made again and counts once
    again = Gates(2)
    handler = going_on(Looping(again), await left_by(handler))
    await again.came(3)
    data = await left_by(handler)
    last = Gates()
    last.open()
    with pytest.raises(WorkflowRuntimeError, match="max_visits is 5"):
        await going_on(Looping(last), data)
    assert last.seen == [3, 4]


class Sleeping(Workflow):
    @step
    async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await asyncio.sleep(ev.seconds)
        return StopEvent(result="slept")


def test_the_time_that_a_run_was_alive_adds_up_to_its_timeout():
    clock = VirtualClock()

    async def main():
        handler = Sleeping(timeout=10).run(seconds=7)
        await asyncio.sleep(4)
        data = await left_by(handler)
        assert data["elapsed_alive"] == 4
        await asyncio.sleep(1000)
        began = clock.now
        handler = going_on(Sleeping(timeout=10), data)
        with pytest.raises(WorkflowTimeoutError):
            await handler
        return clock.now - began

    assert clock.run(main()) == 6


def test_time_alive_adds_up_without_a_timeout_too():
    clock = VirtualClock()

    async def main():
        handler = Sleeping(timeout=None).run(seconds=100)
        await asyncio.sleep(4)
        handler = going_on(Sleeping(timeout=None), await left_by(handler))
        await asyncio.sleep(5)
        data = await left_by(handler)
        assert data["elapsed_alive"] == 9
        with pytest.raises(WorkflowTimeoutError):
            await going_on(Sleeping(timeout=10), data)
        return clock.now

    assert clock.run(main()) == 10


def test_the_time_a_person_takes_does_not_count():
    clock = VirtualClock()

    async def main():
        handler = TwoSteps(timeout=10).run()
        await idle(handler)
        await asyncio.sleep(1000)
        data = await left_by(handler)
        assert data["elapsed_alive"] < 1
        handler = going_on(TwoSteps(timeout=10), data)
        await asyncio.sleep(1000)
        handler.send_event(Answer(text="late"))
        return await handler

    assert clock.run(main()) == ["late", 1]


# -- joins ----------------------------------------------------------------------


class Joining(Workflow):
    """Two items for one `collect_events`, and a gate on both of its sides."""

    def __init__(self, gates):
        super().__init__()
        self.gates = gates

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> list[Item]:
        return [Item(n=n) for n in range(ev.n)]

    @step(num_workers=8)
    async def work(self, ev: Item) -> Done:
        await self.gates.stop(ev.n)
        return Done(n=ev.n)

    @step(num_workers=8)
    async def end(self, ctx: Context, ev: Done) -> StopEvent | None:
        found = ctx.collect_events(ev, [Done] * 3)
        await self.gates.stop(f"end {ev.n}")
        if found is not None:
            return StopEvent(result=[event.n for event in found])
        return None


async def test_a_half_filled_join_is_filled_after_going_on():
    gates = Gates(0, 1, "end 0", "end 1")
    handler = Joining(gates).run(n=3)
    await gates.came("end 0", "end 1", 2)
    await asyncio.sleep(0)
    data = await left_by(handler)
    gates.open()
    assert await going_on(Joining(gates), data) == [0, 1, 2]


async def test_a_join_keeps_the_order_of_the_list_its_events_came_from():
    gates = Gates(2, "end 2")
    handler = Joining(gates).run(n=3)
    await gates.came("end 2")
    data = await left_by(handler)
    gates.open()
    assert await going_on(Joining(gates), data) == [0, 1, 2]


async def test_a_step_that_collected_and_begins_again_counts_once():
    gates = Gates(0)
    handler = Joining(gates).run(n=2)
    await gates.came("end 0", 1)  # 0 is collected, and its step is still at work
    data = await left_by(handler)
    gates.open()
    with pytest.raises(WorkflowStalledError, match="2 of 3 Done"):
        await going_on(Joining(gates), data)


async def test_a_step_that_had_the_whole_set_gets_it_again():
    gates = Gates(0, 1, 2, "end 0", "end 1")
    handler = Joining(gates).run(n=3)
    await gates.came("end 2")
    data = await left_by(handler)
    gates.open()
    assert await going_on(Joining(gates), data) == [0, 1, 2]


async def test_a_join_of_subclasses_is_filled_after_going_on():
    class Wide(Workflow):
        def __init__(self, gates):
            super().__init__()
            self.gates = gates

        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Item | Done:
            ctx.send_event(Narrow(n=1))
            return Done(n=2)

        @step(accept_event_subclasses=True)
        async def end(self, ctx: Context, ev: Item | Done) -> StopEvent | None:
            if isinstance(ev, Done):
                await self.gates.stop("end")
            found = ctx.collect_events(ev, [Narrow, Done])
            return StopEvent(result=[event.n for event in found]) if found else None

    gates = Gates()
    handler = Wide(gates).run()
    await gates.came("end")
    data = await left_by(handler)
    gates.open()
    assert await going_on(Wide(gates), data) == [1, 2]


class Meeting(Workflow):
    """A step with two event parameters, on its own or on the items of a list."""

    def __init__(self, gates):
        super().__init__()
        self.gates = gates

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> list[Item]:
        return [Item(n=n) for n in range(3)]

    @step(num_workers=8)
    async def left(self, ev: Item) -> Done:
        return Done(n=ev.n)

    @step(num_workers=8)
    async def right(self, ev: Item) -> Other:
        await self.gates.stop(ev.n)
        return Other(n=ev.n)

    @step
    async def both(self, one: Done, two: Other) -> Answer:
        return Answer(text=f"{one.n}{two.n}")

    @step
    async def end(self, all_of_them: list[Answer]) -> StopEvent:
        return StopEvent(result=[event.text for event in all_of_them])


async def test_event_parameters_that_wait_for_each_other_meet_after_going_on():
    gates = Gates(1)
    handler = Meeting(gates).run()
    await gates.came(0, 1, 2)
    await asyncio.sleep(0)
    data = await left_by(handler)
    gates.open()
    assert await going_on(Meeting(gates), data) == ["00", "11", "22"]


async def test_event_parameters_that_stand_in_no_list_meet_after_going_on():
    class Pair(Workflow):
        def __init__(self, gates):
            super().__init__()
            self.gates = gates

        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Item | Other:
            ctx.send_event(Other(n=1))
            return Item(n=2)

        @step
        async def work(self, ev: Item) -> Done:
            await self.gates.stop("work")
            return Done(n=ev.n)

        @step
        async def both(self, one: Done, two: Other) -> StopEvent:
            return StopEvent(result=[one.n, two.n])

    gates = Gates()
    handler = Pair(gates).run()
    await gates.came("work")
    data = await left_by(handler)
    gates.open()
    assert await going_on(Pair(gates), data) == [2, 1]


# -- lists ----------------------------------------------------------------------


class Nested(Workflow):
    """Lists in a list, each gathered by its own step."""

    def __init__(self, gates):
        super().__init__()
        self.gates = gates

    @step
    async def begin(self, ev: StartEvent) -> list[Group]:
        return [Group(n=n) for n in range(3)]

    @step(num_workers=8)
    async def open_group(self, ev: Group) -> list[Item]:
        await self.gates.stop(f"group {ev.n}")
        return [Item(n=10 * ev.n + i) for i in range(3)]

    @step(num_workers=8)
    async def work(self, ev: Item) -> Done:
        await self.gates.stop(ev.n)
        return Done(n=ev.n)

    @step
    async def close_group(self, done: list[Done]) -> GroupDone:
        await self.gates.stop(f"close {done[0].n}")
        return GroupDone(items=[str(event.n) for event in done])

    @step
    async def end(self, groups: list[GroupDone]) -> StopEvent:
        return StopEvent(result=[group.items for group in groups])


NESTED = [["0", "1", "2"], ["10", "11", "12"], ["20", "21", "22"]]


@pytest.mark.parametrize(
    "opened",
    [
        (),
        ("group 1",),
        ("group 0", "group 1", 10, 11, 2),
        ("group 0", 0, 1, 2),  # the first group is gathered, and is being closed
        ("group 2", 20, 21, 22, "close 20", "group 0"),  # the last one is closed
    ],
)
async def test_lists_inside_lists_are_completed_after_going_on(opened):
    gates = Gates(*opened)
    handler = Nested(gates).run()
    await gates.came("group 0", "group 1", "group 2", *opened)
    for _ in range(5):
        await asyncio.sleep(0)
    data = await left_by(handler)
    gates.open()
    assert await going_on(Nested(gates), data) == NESTED


class Racing(Workflow):
    """Takes the first two of a list, and stops or leaves the others."""

    def __init__(self, gates):
        super().__init__()
        self.gates = gates

    @step
    async def begin(self, ev: StartEvent) -> list[Item]:
        return [Item(n=n) for n in range(4)]

    @step(num_workers=8)
    async def work(self, ev: Item) -> Done:
        await self.gates.stop(ev.n)
        return Done(n=ev.n)

    @step
    async def end(
        self, done: Annotated[list[Done], Collect(Take(2), cancel_rest=True)]
    ) -> StopEvent:
        await self.gates.stop("end")
        return StopEvent(result=[event.n for event in done])


async def test_the_first_of_a_list_are_taken_after_going_on():
    gates = Gates(2)
    handler = Racing(gates).run()
    await gates.came(0, 1, 2, 3)
    await asyncio.sleep(0)
    data = await left_by(handler)
    gates = Gates(3, "end")
    assert await going_on(Racing(gates), data) == [2, 3]


async def test_what_was_stopped_does_not_begin_again():
    gates = Gates(1, 2)
    handler = Racing(gates).run()
    await gates.came(0, 1, 2, 3, "end")
    data = await left_by(handler)
    again = Gates("end")
    assert await going_on(Racing(again), data) == [1, 2]
    assert again.seen == ["end"]


async def test_a_list_whose_last_work_was_being_stopped_comes_to_its_end():
    class Stubborn(Workflow):
        def __init__(self, gates):
            super().__init__()
            self.gates = gates

        @step
        async def begin(self, ev: StartEvent) -> list[Item | Other]:
            return [Item(n=1), Other()]

        @step
        async def work(self, ev: Item) -> Done:
            try:
                await self.gates.stop("work")
            except asyncio.CancelledError:
                await self.gates.stop("stopping")
            return Done(n=1)

        @step
        async def other(self, ctx: Context, ev: Other) -> Done:
            await self.gates.stop("other")
            ctx.cancel_step("work")
            return Done(n=2)

        @step
        async def end(self, done: list[Done]) -> StopEvent:
            return StopEvent(result=[event.n for event in done])

    gates = Gates()
    handler = Stubborn(gates).run()
    await gates.came("work", "other")
    gates.open("other")
    await gates.came("stopping")
    await asyncio.sleep(0)
    data = copied(handler.ctx.to_dict())
    gates.open()
    assert await handler == [2]
    assert await going_on(Stubborn(gates), data) == [2]


# -- any moment ---------------------------------------------------------------


class Numbered(HumanResponseEvent):
    about: int
    number: int


class Interviewing(Workflow):
    """Two questions to each of four items, of which two are at work at a time."""

    def __init__(self, pauses):
        super().__init__(timeout=None)
        self.pauses = pauses

    async def pause(self, n):
        await asyncio.sleep(self.pauses[n % len(self.pauses)])

    @step
    async def begin(self, ev: StartEvent) -> list[Item]:
        await self.pause(0)
        return [Item(n=n) for n in range(4)]

    @step(num_workers=2)
    async def work(self, ctx: Context, ev: Item) -> Done:
        answers = []
        for number in range(2):
            await self.pause(ev.n + number)
            required = {"about": ev.n, "number": number}
            answer = await ctx.wait_for_event(Numbered, requirements=required)
            answers.append(answer.number)
        await self.pause(ev.n)
        return Done(n=ev.n, answers=answers)

    @step
    async def end(self, done: list[Done]) -> StopEvent:
        return StopEvent(result=[(event.n, event.answers) for event in done])


LEAVE = -1


@settings(max_examples=40, deadline=None)
@given(
    pauses=st.lists(st.integers(0, 2), min_size=1, max_size=5),
    acts=st.lists(st.just(LEAVE) | st.integers(0, 4), max_size=8),
    order=st.permutations([(n, number) for n in range(4) for number in range(2)]),
)
def test_each_answer_counts_once_whenever_it_is_sent_and_the_run_is_left(
    pauses, acts, order
):
    async def main():
        handler, unsent = Interviewing(pauses).run(), list(order)
        for act in [*acts, *[0] * len(order)]:
            if act == LEAVE:
                data = await left_by(handler)
                handler = going_on(Interviewing(pauses), data)
                continue
            await asyncio.sleep(act)
            if unsent:
                about, number = unsent.pop()
                handler.send_event(Numbered(about=about, number=number))
        return await handler

    assert VirtualClock().run(main()) == [(n, [0, 1]) for n in range(4)]
