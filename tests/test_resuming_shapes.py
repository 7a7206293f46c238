"""`handler.resume()` in all shapes of runs: lists, joins, waits, retries, children."""

import asyncio
import threading
from typing import Annotated

import pytest

from stepwell import (
    Collect,
    Context,
    ContextStateError,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    MemoryJournal,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Take,
    Workflow,
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    catch_error,
    retry_policy,
    step,
    stop_after_attempt,
    wait_fixed,
)
from stepwell.machine import Machine
from stepwell.testing import VirtualClock


class Part(Event):
    n: int = 0


class Done(Event):
    n: int = 0


class Left(Event):
    n: int = 0


class Right(Event):
    n: int = 0


class Name(HumanResponseEvent):
    pass


class Broken(Exception):
    pass


async def failed(handler, error=Broken):
    """The handler, once its run has failed."""
    with pytest.raises(error):
        await handler
    assert handler.is_resumable
    return handler


def mended(handler, **options):
    """The run resumed, after what broke its steps was mended."""
    handler.workflow.broken = False
    return handler.resume(**options)


class Breaking(Workflow):
    broken = True

    def fail_once(self):
        if self.broken:
            raise Broken


class Two(Breaking):
    @step
    async def first(self, ev: StartEvent) -> Part:
        return Part()

    @step
    async def second(self, ctx: Context, ev: Part) -> StopEvent:
        await ctx.set("tries", await ctx.get("tries", 0) + 1)
        self.fail_once()
        return StopEvent(result=await ctx.get("tries"))


async def test_what_the_failed_attempt_did_to_the_state_stays():
    assert await mended(await failed(Two().run())) == 2


# -- who may resume, and when ----------------------------------------------------------


async def test_a_second_resume_is_refused_while_the_first_goes_on_and_allowed_after():
    gate = asyncio.Event()

    class Held(Breaking):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            self.fail_once()
            await gate.wait()
            return StopEvent(result="done")

    handler = await failed(Held().run())
    again = mended(handler)
    with pytest.raises(WorkflowRuntimeError, match="Was it resumed already"):
        handler.resume()
    gate.set()
    assert await again == "done"
    assert await handler.resume() == "done"


async def test_a_resumed_run_that_fails_again_is_resumed_too():
    handler = await failed(Two().run())
    again = await failed(handler.resume())
    last = mended(again)
    assert await last == 3
    assert last.resumed_from.resumed_from is handler


async def test_a_refused_resume_leaves_the_context_as_it_was():
    class Other(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            return StopEvent()

    handler = await failed(Two().run())
    with pytest.raises(ContextStateError, match="has no such step"):
        handler.resume(Other())
    handler.workflow.broken = False
    # From the beginning, on the state that is there.
    assert await handler.workflow.run(ctx=handler.ctx, fresh=True) == 2
    assert await handler.resume() == 3


def test_a_run_is_resumed_on_another_event_loop():
    async def fail():
        return await failed(Two().run())

    async def go_on(handler):
        return await mended(handler)

    assert asyncio.run(go_on(asyncio.run(fail()))) == 2


async def test_a_run_that_was_stopped_while_it_listened_listens_again():
    class Listens(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> None:
            return None

        @step
        async def take(self, ev: Name) -> StopEvent:
            return StopEvent(result=ev.response)

    handler = Listens().run()
    while handler.status != "waiting":
        await asyncio.sleep(0)
    await handler.cancel_run()
    again = handler.resume()
    again.send_event(Name(response="Ada"))
    assert await again == "Ada"


async def test_a_run_cancelled_in_the_queue_waits_for_its_turn_again():
    gate = asyncio.Event()

    class One(Workflow):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            await gate.wait()
            return StopEvent(result=ev.n)

    flow = One(num_concurrent_runs=1)
    first, second = flow.run(n=1), flow.run(n=2)
    assert second.status == "queued"
    await second.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await second
    again = second.resume()
    assert again.status == "queued"
    gate.set()
    assert [await first, await again] == [1, 2]


# -- lists and joins -------------------------------------------------------------------


class Split(Breaking):
    """Item 2 of 4 fails once; the list is taken whole."""

    def __init__(self, **options):
        super().__init__(**options)
        self.done = []

    @step
    async def split(self, ev: StartEvent) -> list[Part]:
        return [Part(n=n) for n in range(4)]

    @step(num_workers=2)
    async def work(self, ev: Part) -> Done:
        if ev.n == 2:
            self.fail_once()
        self.done.append(ev.n)
        return Done(n=ev.n)


class Whole(Split):
    @step
    async def join(self, ev: list[Done]) -> StopEvent:
        self.fail_once()
        return StopEvent(result=[event.n for event in ev])


async def test_items_that_were_at_work_begin_again_and_the_list_is_whole():
    handler = await failed(Whole().run())
    assert await mended(handler) == [0, 1, 2, 3]
    # Item 3 was at work beside the one that failed: what it did is done again.
    assert sorted(handler.workflow.done) == [0, 1, 2, 3, 3]


async def test_the_step_that_takes_the_list_begins_again_with_all_of_it():
    class JoinFails(Split):
        @step
        async def join(self, ev: list[Done]) -> StopEvent:
            if not hasattr(self, "past"):
                self.past = True
                raise Broken
            return StopEvent(result=[event.n for event in ev])

    handler = await failed(JoinFails().run())
    again = await failed(mended(handler))
    assert await again.resume() == [0, 1, 2, 3]
    assert [call.step for call in again.record][-1] == "join"


async def test_the_first_few_of_a_list_are_counted_across_the_failure():
    class Few(Split):
        @step
        async def join(self, ev: Annotated[list[Done], Collect(Take(3))]) -> StopEvent:
            return StopEvent(result=len(ev))

    handler = await failed(Few().run())
    assert await mended(handler) == 3


async def test_several_parameters_meet_across_the_failure():
    class Pair(Breaking):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Left | Right | None:
            ctx.send_event(Left(n=1))
            ctx.send_event(Right(n=2))
            return None

        @step
        async def left(self, ev: Left) -> Part:
            return Part(n=ev.n)

        @step
        async def right(self, ev: Right) -> Done:
            await asyncio.sleep(0)
            self.fail_once()
            return Done(n=ev.n)

        @step
        async def both(self, a: Part, b: Done) -> StopEvent:
            return StopEvent(result=(a.n, b.n))

    assert await mended(await failed(Pair().run())) == (1, 2)


async def test_lists_in_lists_are_gathered_level_by_level():
    class Nested(Breaking):
        @step
        async def outer(self, ev: StartEvent) -> list[Left]:
            return [Left(n=n) for n in range(3)]

        @step
        async def inner(self, ev: Left) -> list[Part]:
            return [Part(n=10 * ev.n + n) for n in range(3)]

        @step(num_workers=1)
        async def work(self, ev: Part) -> Done:
            if ev.n == 11:
                self.fail_once()
            return Done(n=ev.n)

        @step
        async def join(self, ev: list[Done]) -> Right:
            return Right(n=sum(event.n for event in ev))

        @step
        async def end(self, ev: list[Right]) -> StopEvent:
            return StopEvent(result=[event.n for event in ev])

    assert await mended(await failed(Nested().run())) == [3, 33, 63]


class Collects(Breaking):
    """Fails with two of three events in the buffer, before or after it has added."""

    def __init__(self, when, **options):
        super().__init__(**options)
        self.when = when

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Part | None:
        for n in range(3):
            ctx.send_event(Part(n=n))

    @step(num_workers=1)
    async def join(self, ctx: Context, ev: Part) -> StopEvent | None:
        if ev.n == self.when[0] and self.when[1] == "before":
            self.fail_once()
        found = ctx.collect_events(ev, [Part] * 3)
        if ev.n == self.when[0] and self.when[1] == "after":
            self.fail_once()
        return found and StopEvent(result=[event.n for event in found])


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_buffer_keeps_its_events_and_takes_none_twice(n, when):
    handler = await failed(Collects((n, when)).run())
    assert await mended(handler) == [0, 1, 2]


async def test_a_buffer_goes_on_when_the_cell_defined_its_events_anew():
    names = {"__name__": "cells_of_shapes", "Broken": Broken}
    cell = (
        "from stepwell import *\n"
        "class Piece(Event):\n    n: int\n"
        "class Flow(Workflow):\n"
        "    @step\n"
        "    async def begin(self, ctx: Context, ev: StartEvent) -> Piece | None:\n"
        "        for n in range(3): ctx.send_event(Piece(n=n))\n"
        "    @step(num_workers=1)\n"
        "    async def join(self, ctx: Context, ev: Piece) -> StopEvent | None:\n"
        "        if ev.n == 2: {}\n"
        "        found = ctx.collect_events(ev, [Piece] * 3)\n"
        "        return found and StopEvent(result=[e.n for e in found])\n"
    )
    exec(cell.format("raise Broken"), names)
    handler = await failed(names["Flow"]().run())
    exec(cell.format("pass"), names)
    assert await handler.resume() == [0, 1, 2]


def takes_one(cls):
    async def join(self, ev: Done) -> StopEvent:
        return StopEvent()

    cls.join = step(join)


def takes_another(cls):
    async def join(self, ev: list[Left]) -> StopEvent:
        return StopEvent()

    async def left(self, ev: Done) -> Left:
        return Left()

    cls.join, cls.left = step(join), step(left)


@pytest.mark.parametrize("change", [takes_one, takes_another])
async def test_a_step_that_takes_a_list_in_another_way_is_named(change):
    class Changing(Whole):
        pass

    handler = await failed(Changing().run())
    change(Changing)
    with pytest.raises(ContextStateError, match="step `join`"):
        mended(handler)


# -- recovery, retries, visits ---------------------------------------------------------


async def test_a_step_that_catches_errors_begins_again_on_the_failure():
    class Caught(Breaking):
        @step
        async def only(self, ev: StartEvent) -> StopEvent:
            raise LookupError("gone")

        @catch_error
        async def mend(self, ev: StepFailedEvent) -> StopEvent:
            self.fail_once()
            return StopEvent(result=str(ev.exception))

    assert await mended(await failed(Caught().run())) == "gone"


async def test_a_failure_after_a_recovery_does_not_recover_again():
    class Recovered(Breaking):
        recovered = 0

        @step
        async def first(self, ev: StartEvent) -> Part:
            raise LookupError

        @step
        async def second(self, ev: Part) -> StopEvent:
            self.fail_once()
            return StopEvent(result=self.recovered)

        @catch_error(for_steps=["first"])
        async def mend(self, ev: StepFailedEvent) -> Part:
            self.recovered += 1
            return Part()

    assert await mended(await failed(Recovered().run())) == 1


def test_a_retry_that_was_due_comes_when_it_was_due():
    class Retried(Breaking):
        tries = 0

        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Left | Right | None:
            ctx.send_event(Left())
            ctx.send_event(Right())

        @step(
            retry_policy=retry_policy(wait=wait_fixed(10), stop=stop_after_attempt(2))
        )
        async def flaky(self, ctx: Context, ev: Left) -> StopEvent:
            self.tries += 1
            if self.tries < 2:
                raise ValueError
            return StopEvent(result=ctx.retry_info().retry_number)

        @step
        async def breaks(self, ev: Right) -> None:
            await asyncio.sleep(4)
            self.fail_once()

    async def main():
        handler = await failed(Retried().run())
        again = mended(handler)
        return await again, again.elapsed

    assert VirtualClock().run(main()) == (1, 6)


async def test_a_step_that_went_round_too_often_goes_on_with_a_higher_limit():
    class Round(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Part | Left | None:
            ctx.send_event(Left())
            return Part()

        @step
        async def beside(self, ev: Left) -> None:
            await asyncio.Event().wait()

        @step(max_visits=3)
        async def turn(self, ev: Part) -> Part | StopEvent:
            return await turn(self, ev)

    seen = []

    async def turn(self, ev: Part) -> Part | StopEvent:
        seen.append(ev.n)
        return Part(n=ev.n + 1) if ev.n < 5 else StopEvent(result=ev.n)

    handler = await failed(Round().run(), WorkflowRuntimeError)
    again = await failed(handler.resume(), WorkflowRuntimeError)
    assert seen == [0, 1, 2]
    Round.turn = step(max_visits=9)(turn)
    assert await handler.resume() == 5
    assert seen == [0, 1, 2, 3, 4, 5]
    assert again.status == "failed"


async def test_a_list_that_was_cut_short_by_too_many_visits_is_not_gone_on_with():
    class Many(Split):
        @step(max_visits=2)
        async def check(self, ev: Part) -> Done:
            return Done(n=ev.n)

        @step
        async def join(self, ev: list[Done]) -> StopEvent:
            return StopEvent()

    flow = Many()
    flow.broken = False
    handler = flow.run()
    with pytest.raises(WorkflowRuntimeError):
        await handler
    assert not handler.is_resumable


def test_a_step_that_was_too_slow_has_its_whole_time_again():
    class Slow(Breaking):
        @step(timeout=5)
        async def only(self, ev: StartEvent) -> StopEvent:
            await asyncio.sleep(9 if self.broken else 4)
            return StopEvent(result="in time")

    async def main():
        handler = Slow().run()
        with pytest.raises(TimeoutError):
            await handler
        return await mended(handler)

    assert VirtualClock().run(main()) == "in time"


async def test_kept_results_are_used_again():
    made = []

    class Cached(Breaking):
        @step(cache=True)
        async def costly(self, ev: Left) -> Part:
            made.append(ev.n)
            return Part(n=ev.n)

        @step
        async def begin(self, ev: StartEvent) -> Left:
            return Left(n=1)

        @step
        async def end(self, ev: Part) -> StopEvent | Left:
            self.fail_once()
            return Left(n=1) if not hasattr(self, "round") else StopEvent(result=ev.n)

    handler = await failed(Cached().run())
    handler.workflow.round = 1
    assert await mended(handler) == 1
    assert made == [1]


async def test_a_plain_step_begins_again_in_a_thread():
    class Plain(Breaking):
        @step
        def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
            self.fail_once()
            here = threading.current_thread() is threading.main_thread()
            return StopEvent(result=here)

    assert await mended(await failed(Plain().run())) is False


# -- waits and children ----------------------------------------------------------------


async def asked(handler):
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            return handler.questions


async def test_what_was_answered_before_the_failure_is_not_asked_again():
    begun = []

    class Asks(Breaking):
        @step
        async def only(self, ctx: Context, ev: StartEvent) -> StopEvent:
            begun.append(1)
            asking = InputRequiredEvent(prompt="Name?")
            name = await ctx.wait_for_event(Name, waiter_event=asking)
            self.fail_once()
            other = await ctx.wait_for_event(Name, waiter_event=asking)
            return StopEvent(result=[name.response, other.response])

    handler = Asks().run()
    await asked(handler)
    handler.send_event(Name(response="Ada"))
    again = mended(await failed(handler))
    (question,) = await asked(again)
    again.send_event(question.answer("Bob"))
    assert await again == ["Ada", "Bob"]
    assert begun == [1, 1]


async def test_a_wait_that_was_open_when_another_step_failed_asks_again():
    class Asks(Breaking):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Left | Right | None:
            ctx.send_event(Left())
            ctx.send_event(Right())

        @step
        async def ask(self, ctx: Context, ev: Left) -> StopEvent:
            asking = InputRequiredEvent(prompt="Name?")
            return StopEvent(
                result=(await ctx.wait_for_event(Name, waiter_event=asking)).response
            )

        @step
        async def breaks(self, ev: Right) -> None:
            await asyncio.sleep(0)
            self.fail_once()

    again = mended(await failed(Asks().run()), answers=["Ada"])
    assert await again == "Ada"


async def test_a_child_begins_from_the_start_when_its_parent_is_resumed():
    begun = []

    class Child(Breaking):
        @step
        async def first(self, ev: StartEvent) -> Part:
            begun.append("child")
            return Part(n=ev.n)

        @step
        async def second(self, ev: Part) -> StopEvent:
            self.fail_once()
            return StopEvent(result=ev.n)

    child = Child()

    class Parent(Workflow):
        @step
        async def before(self, ev: StartEvent) -> Part:
            begun.append("parent")
            return Part(n=3)

        @step
        async def run_it(self, ctx: Context, ev: Part) -> StopEvent:
            return StopEvent(result=await ctx.run(child, n=ev.n))

    handler = await failed(Parent().run())
    child.broken = False
    assert await handler.resume() == 3
    assert begun == ["parent", "child", "child"]


# -- journals and saved contexts -------------------------------------------------------


async def test_the_facts_of_a_resumed_run_tell_all_of_it():
    journal = MemoryJournal()
    handler = await failed(Whole(journal=journal).run())
    again = mended(handler)
    assert await again == [0, 1, 2, 3]
    facts = [fact async for fact in journal.read(again.run_id)]
    machine = Machine(handler.workflow.compile())
    commands = [command for fact in facts for command in machine.apply(fact)]
    assert commands[-1].stop.result == [0, 1, 2, 3]
    assert machine.record.to_rows() == again.record.to_rows()


async def test_a_failed_run_is_saved_as_resumable_only_when_that_is_asked_for():
    handler = await failed(Whole().run())
    flow = Whole()
    flow.broken = False
    ctx = Context.from_dict(flow, handler.ctx.to_dict(resumable=True))
    assert ctx.is_running
    assert await flow.run(ctx=ctx) == [0, 1, 2, 3]
    assert not Context.from_dict(flow, handler.ctx.to_dict()).is_running
    assert not Context.from_dict(flow, ctx.to_dict(resumable=True)).is_running


async def test_answers_go_to_questions_and_not_into_a_start_event_that_was_sent():
    class Given(StartEvent):
        answers: list[str]

    class Asks(Breaking):
        @step
        async def begin(self, ev: Given) -> InputRequiredEvent:
            self.fail_once()
            return InputRequiredEvent(prompt="Name?")

        @step
        async def end(self, ev: Name) -> StopEvent:
            return StopEvent(result=ev.response)

    handler = await failed(Asks().run(answers=["a field"]))
    assert await mended(handler, answers=["Ada"]) == "Ada"
