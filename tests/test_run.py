"""How a run behaves: routing, loops, workers, joins, failures, time."""

import asyncio
import contextlib
import contextvars
import gc
import threading
import weakref

import pytest

from stepwell import (
    ConstantDelayRetryPolicy,
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowFailedEvent,
    step,
)
from stepwell.cycle import GRACE
from stepwell.errors import (
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    WorkflowStalledError,
    WorkflowStepDoesNotExistError,
    WorkflowTimeoutError,
)
from stepwell.testing import VirtualClock


class Item(Event):
    n: int


class Out(Event):
    n: int


def only_ours() -> set[asyncio.Task]:
    return asyncio.all_tasks() - {asyncio.current_task()}


# -- routing ---------------------------------------------------------------------


async def test_a_loop_goes_round_until_a_step_stops_it():
    class Flow(Workflow):
        @step
        async def turn(self, ev: StartEvent | Item) -> Item | StopEvent:
            n = ev.get("n")
            return StopEvent(result="zero") if n == 0 else Item(n=n - 1)

    handler = Flow().run(n=500)
    assert await handler == "zero"
    assert len(handler.record) == 501


async def test_every_step_that_takes_a_class_gets_the_same_event():
    seen = []

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Item:
            return Item(n=1)

        @step
        async def left(self, ev: Item) -> Out:
            seen.append(ev)
            return Out(n=1)

        @step
        async def right(self, ev: Item) -> Out:
            seen.append(ev)
            return Out(n=2)

        @step
        async def join(self, ctx: Context, ev: Out) -> StopEvent | None:
            both = ctx.collect_events(ev, [Out, Out])
            return StopEvent(result=sorted(o.n for o in both)) if both else None

    assert await Flow().run() == [1, 2]
    assert seen[0] is seen[1]


async def test_an_event_can_be_sent_to_one_step_alone():
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Item | None:
            ctx.send_event(Item(n=1), step="right")

        @step
        async def left(self, ev: Item) -> StopEvent:
            return StopEvent(result="left")

        @step
        async def right(self, ev: Item) -> StopEvent:
            return StopEvent(result="right")

    assert await Flow().run() == "right"


def sending(event, **kwargs):
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.send_event(event, **kwargs)
            return StopEvent()

    return Flow().run()


async def test_sending_what_no_step_takes_fails_at_once_and_says_what_is_taken():
    with pytest.raises(WorkflowRuntimeError) as caught:
        await sending(Item(n=1))
    assert "no step of Flow accepts Item; accepted are: StartEvent" in str(caught.value)
    assert caught.value.__notes__ == [
        "in step `begin` of Flow, on StartEvent, attempt 1"
    ]


async def test_sending_to_a_step_that_is_not_there_guesses_the_one_meant():
    with pytest.raises(WorkflowStepDoesNotExistError, match=r"Did you mean begin\?"):
        await sending(StartEvent(), step="begins")


async def test_sending_a_stop_event_says_to_return_it():
    with pytest.raises(WorkflowRuntimeError, match=r"Write `return StopEvent\(…\)`"):
        await sending(StopEvent())


async def test_sending_something_else_than_an_event():
    with pytest.raises(WorkflowRuntimeError, match="takes an Event, not dict"):
        await sending({"n": 1})


async def test_a_subclass_starts_only_steps_that_ask_for_subclasses():
    class Sub(Item):
        pass

    class Exact(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Item:
            return Sub(n=1)

        @step
        async def end(self, ev: Item) -> StopEvent:
            return StopEvent(result=type(ev).__name__)

    class Open(Exact):
        @step(accept_event_subclasses=True)
        async def end(self, ev: Item) -> StopEvent:
            return StopEvent(result=type(ev).__name__)

    with pytest.raises(WorkflowRuntimeError, match="accept_event_subclasses=True"):
        await Exact().run()
    assert await Open().run() == "Sub"


def returning(value):
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent | list[Item]:
            return value

        @step
        async def end(self, ev: Item) -> None: ...

    return Flow().run()


async def test_returning_a_plain_value_says_how_to_return_it():
    with pytest.raises(WorkflowRuntimeError) as caught:
        await returning("text")
    assert "`begin` of Flow returned str 'text' instead of an Event" in str(
        caught.value
    )
    assert "return StopEvent(result=…)" in str(caught.value)


async def test_returning_an_event_class_says_so():
    with pytest.raises(WorkflowRuntimeError, match="That is the class itself"):
        await returning(Item)


async def test_returning_an_event_the_annotation_does_not_name():
    with pytest.raises(WorkflowRuntimeError, match="returned Out, but its annotation"):
        await returning(Out(n=1))


async def test_a_wrong_item_in_a_returned_list():
    with pytest.raises(WorkflowRuntimeError, match="returned int 3 instead of"):
        await returning([Item(n=1), 3])


# -- workers and joins -----------------------------------------------------------


def test_workers_never_exceed_num_workers_and_all_are_used():
    at_once, most = 0, 0

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(10)]

        @step(num_workers=3)
        async def work(self, ev: Item) -> Out:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(1)
            at_once -= 1
            return Out(n=ev.n)

        @step
        async def join(self, ctx: Context, ev: Out) -> StopEvent | None:
            outs = ctx.collect_events(ev, [Out] * 10)
            return StopEvent(result=[o.n for o in outs]) if outs else None

    clock = VirtualClock()

    async def main():
        return await Flow().run()

    assert clock.run(main()) == list(range(10))
    assert most == 3
    assert clock.now == pytest.approx(4)


def test_a_returned_list_is_joined_in_its_own_order_however_the_work_ends():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(4)]

        @step
        async def work(self, ev: Item) -> Out:
            await asyncio.sleep(10 - ev.n)
            return Out(n=ev.n)

        @step
        async def join(self, ctx: Context, ev: Out) -> StopEvent | None:
            outs = ctx.collect_events(ev, [Out] * 4)
            return StopEvent(result=[o.n for o in outs]) if outs else None

    async def main():
        return await Flow().run()

    assert VirtualClock().run(main()) == [0, 1, 2, 3]


def collecting(events, *expectations):
    """Collects `events` by each expectation in one step; gives what was released."""
    released = []

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Item | Out | None:
            for event in events:
                ctx.send_event(event)

        @step(num_workers=1)
        async def join(self, ctx: Context, ev: Item | Out) -> StopEvent | None:
            for expected in expectations:
                got = ctx.collect_events(ev, expected)
                if got:
                    released.append([(type(e).__name__, e.n) for e in got])
            if ev is events[-1]:
                return StopEvent(result=released)

    return Flow().run()


async def test_collecting_gives_the_order_of_expected_then_of_arrival():
    events = [Out(n=1), Item(n=1), Item(n=2)]
    assert await collecting(events, [Item, Out, Item]) == [
        [("Item", 1), ("Out", 1), ("Item", 2)]
    ]


async def test_surplus_events_are_kept_for_the_next_set():
    events = [Item(n=1), Item(n=2), Out(n=1), Out(n=2)]
    assert await collecting(events, [Item, Out]) == [
        [("Item", 1), ("Out", 1)],
        [("Item", 2), ("Out", 2)],
    ]


async def test_different_expected_lists_in_one_step_are_different_joins():
    events = [Item(n=1), Item(n=2), Out(n=1)]
    assert await collecting(events, [Item, Item], [Item, Out]) == [
        [("Item", 1), ("Item", 2)],
        [("Item", 1), ("Out", 1)],
    ]


async def test_collecting_nothing_gives_an_empty_list():
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            return StopEvent(result=ctx.collect_events(ev, []))

    assert await Flow().run() == []


# -- stalls ------------------------------------------------------------------------


def stall(workflow) -> WorkflowStalledError:
    """Run until the stall, and see that nothing is waited for once it is quiet."""

    async def main():
        handler = workflow.run()
        with pytest.raises(WorkflowStalledError) as caught:
            await handler
        assert handler.status == "stalled"
        assert handler.elapsed == max(call.ended for call in handler.record)
        return caught.value

    return VirtualClock().run(main())


def test_a_join_that_can_never_complete_ends_the_run_and_is_named():
    class Flow(Workflow):
        @step(num_workers=3)
        async def search(self, ev: StartEvent) -> Item:
            return Item(n=1)

        @step
        async def merge(self, ctx: Context, ev: Item) -> StopEvent | None:
            return StopEvent() if ctx.collect_events(ev, [Item] * 3) else None

    error = stall(Flow(timeout=30))
    said = str(error)
    assert "`merge` has 1 of 3 Item and waits for the rest" in said
    assert "`search`, which returns Item, ran once" in said
    assert "num_workers limits how many calls of a step run at once" in said
    assert "ctx.send_event" in said and "return a list" in said
    (join,) = error.report.joins
    assert (join.step, join.lacks) == ("merge", {"Item": 2})
    assert isinstance(error, WorkflowTimeoutError)


def test_a_step_that_returns_none_too_early_is_named():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Item | None: ...

        @step
        async def end(self, ev: Item) -> StopEvent: ...

    said = str(stall(Flow()))
    assert "The last step to finish was `begin` on StartEvent; it returned None" in said
    assert "`end` never ran: no Item was sent" in said


async def test_what_a_finished_step_left_scheduled_still_counts():
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Item | None:
            asyncio.get_running_loop().call_soon(ctx.send_event, Item(n=1))

        @step
        async def end(self, ev: Item) -> StopEvent:
            return StopEvent(result=ev.n)

    assert await Flow().run() == 1


async def test_a_run_fed_from_outside_waits_when_told_to():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> None: ...

        @step
        async def end(self, ev: Item) -> StopEvent:
            return StopEvent(result=ev.n)

    handler = Flow(on_stall="wait", timeout=None).run()
    async for event in handler.stream_events(expose_internal=True):
        if type(event).__name__ == "WorkflowIdleEvent":
            assert handler.status == "waiting"
            handler.send_event(Item(n=5))
    assert await handler == 5


# -- people ------------------------------------------------------------------------


class Ask(Workflow):
    @step
    async def ask(self, ev: StartEvent) -> InputRequiredEvent:
        return InputRequiredEvent(prefix="name?")

    @step
    async def answer(self, ev: HumanResponseEvent) -> StopEvent:
        return StopEvent(result=ev.response)


def test_a_person_may_think_for_longer_than_the_timeout():
    async def main():
        handler = Ask(timeout=5).run()
        async for event in handler.stream_events():
            if isinstance(event, InputRequiredEvent):
                await asyncio.sleep(60)
                await handler.send_event(HumanResponseEvent(response="Ada"))
        return await handler

    clock = VirtualClock()
    assert clock.run(main()) == "Ada"
    assert clock.now == pytest.approx(60)


async def test_the_stall_is_still_found_after_the_answer():
    class Flow(Ask):
        @step
        async def answer(self, ev: HumanResponseEvent) -> StopEvent | None: ...

    handler = Flow(timeout=30).run()
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            handler.send_event(HumanResponseEvent(response="Ada"))
    with pytest.raises(WorkflowStalledError):
        await handler


# -- failures ----------------------------------------------------------------------


async def test_a_step_s_exception_comes_out_as_itself_with_a_note():
    mine = ValueError("boom")

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            raise mine

    handler = Flow().run()
    for _ in range(2):
        with pytest.raises(ValueError, match="boom") as caught:
            await handler
        assert caught.value is mine
    assert mine.__notes__ == ["in step `begin` of Flow, on StartEvent, attempt 1"]
    assert handler.status == "failed" and handler.error is mine
    last = [event async for event in handler.stream_events()][-1]
    assert isinstance(last, WorkflowFailedEvent)
    assert (last.step_name, last.exception) == ("begin", mine)


async def test_a_failure_stops_the_steps_beside_it():
    stopped = asyncio.Event()

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item | Out]:
            return [Item(n=1), Out(n=1)]

        @step
        async def slow(self, ev: Item) -> StopEvent:
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()

        @step
        async def bad(self, ev: Out) -> StopEvent:
            raise KeyError("x")

    with pytest.raises(KeyError):
        await Flow().run()
    assert stopped.is_set()
    assert not only_ours()


def test_retries_wait_out_their_delay_and_count_their_attempts():
    attempts = []

    class Flow(Workflow):
        @step(retry_policy=ConstantDelayRetryPolicy(maximum_attempts=3, delay=10))
        async def flaky(self, ev: StartEvent) -> StopEvent:
            attempts.append(asyncio.get_running_loop().time())
            if len(attempts) < 3:
                raise OSError("again")
            return StopEvent(result="third")

    async def main():
        handler = Flow().run()
        return await handler, list(handler.record)

    result, calls = VirtualClock().run(main())
    assert result == "third"
    assert attempts == pytest.approx([0, 10, 20])
    assert [c.status for c in calls] == ["retrying", "retrying", "done"]
    assert [c.attempt for c in calls] == [1, 2, 3]


def test_the_last_attempt_s_exception_comes_out():
    class Flow(Workflow):
        @step(retry_policy=ConstantDelayRetryPolicy(maximum_attempts=2, delay=1))
        async def flaky(self, ev: StartEvent) -> StopEvent:
            raise OSError("always")

    async def main():
        await Flow().run()

    with pytest.raises(OSError, match="always") as caught:
        VirtualClock().run(main())
    assert caught.value.__notes__ == [
        "in step `flaky` of Flow, on StartEvent, attempt 2"
    ]


async def test_a_retry_policy_that_raises_fails_the_run():
    class Broken:
        def next(self, elapsed_time, attempts, error):
            raise ZeroDivisionError

    class Flow(Workflow):
        @step(retry_policy=Broken())
        async def flaky(self, ev: StartEvent) -> StopEvent:
            raise OSError

    with pytest.raises(ZeroDivisionError) as caught:
        await Flow().run()
    assert "in the retry policy of step `flaky`" in caught.value.__notes__


# -- the end -----------------------------------------------------------------------


def test_the_timeout_names_the_steps_still_running_and_leaves_no_task():
    class Flow(Workflow):
        @step
        async def slow(self, ev: StartEvent) -> StopEvent:
            await asyncio.sleep(1000)

    async def main():
        with pytest.raises(WorkflowTimeoutError) as caught:
            await Flow(timeout=30).run()
        assert not only_ours()
        return str(caught.value)

    clock = VirtualClock()
    said = clock.run(main())
    assert "did not finish within 30 seconds (still running: slow)" in said
    assert clock.now == pytest.approx(30)


async def test_a_stop_event_cancels_siblings_and_silences_them():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item | Out]:
            return [Item(n=1), Out(n=1)]

        @step
        async def slow(self, ctx: Context, ev: Item) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ctx.write_event_to_stream(Item(n=99))

        @step
        async def fast(self, ev: Out) -> StopEvent:
            return StopEvent(result="fast")

    handler = Flow().run()
    assert await handler == "fast"
    assert [type(e) async for e in handler.stream_events()] == [StopEvent]
    assert not only_ours()
    assert {c.step: c.status for c in handler.record} == {
        "begin": "done",
        "slow": "cancelled",
        "fast": "done",
    }


async def test_cancel_run_stops_everything():
    started = asyncio.Event()

    class Flow(Workflow):
        @step
        async def slow(self, ev: StartEvent) -> StopEvent:
            started.set()
            await asyncio.Event().wait()

    handler = Flow().run()
    await started.wait()
    await handler.cancel_run()
    assert handler.is_done() and handler.status == "cancelled"
    assert not only_ours()
    with pytest.raises(WorkflowCancelledByUser, match=r"cancel_run\(\)"):
        await handler


def test_a_step_that_swallows_its_cancellation_cannot_hang_the_run():
    class Flow(Workflow):
        @step
        async def stubborn(self, ev: StartEvent) -> StopEvent:
            for _ in range(100):
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(10)

    async def main():
        with pytest.raises(WorkflowTimeoutError) as caught:
            await Flow(timeout=1).run()
        return caught.value.__notes__, clock.now

    clock = VirtualClock()
    notes, now = clock.run(main())
    assert "swallows its cancellation: `stubborn`" in notes[0]
    assert now == pytest.approx(1 + GRACE)


def test_a_cancelled_awaiter_cancels_the_run_unless_another_one_awaits_too():
    class Flow(Workflow):
        @step
        async def slow(self, ev: StartEvent) -> StopEvent:
            await asyncio.sleep(10)
            return StopEvent(result="done")

    async def alone():
        handler = Flow().run()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(handler, 1)
        assert handler.status == "cancelled" and not only_ours()
        with pytest.raises(WorkflowCancelledByUser, match="task that awaited it"):
            await handler

    async def with_company():
        handler = Flow().run()

        async def friend():
            return await handler

        other = asyncio.create_task(friend())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(handler, 1)
        return await other

    VirtualClock().run(alone())
    assert VirtualClock().run(with_company()) == "done"


async def test_finished_runs_leave_no_memory_behind():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=ev)

    flow = Flow(timeout=1000)
    gone = []
    for n in range(50):
        handler = flow.run(n=n)
        gone.append(weakref.ref(await handler))
        gone.append(weakref.ref(handler))
    del handler
    await asyncio.sleep(0)
    gc.collect()
    assert not [ref for ref in gone if ref() is not None]


# -- plain functions, threads, context variables -----------------------------------


async def test_plain_steps_run_in_a_thread_and_may_use_their_context():
    class Flow(Workflow):
        @step
        def begin(self, ctx: Context, ev: StartEvent) -> Item | None:
            assert threading.current_thread() is not threading.main_thread()
            ctx.write_event_to_stream(Out(n=1))
            for n in range(3):
                ctx.send_event(Item(n=n))

        @step
        def join(self, ctx: Context, ev: Item) -> StopEvent | None:
            items = ctx.collect_events(ev, [Item] * 3)
            return StopEvent(result=sum(i.n for i in items)) if items else None

    handler = Flow().run()
    assert await handler == 3
    assert [type(e) async for e in handler.stream_events()] == [Out, StopEvent]


async def test_context_variables_reach_steps_and_do_not_leak_between_them():
    who = contextvars.ContextVar("who", default="nobody")

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Item | None:
            seen = who.get()
            who.set("begin")
            ctx.send_event(Item(n=len(seen)))

        @step
        def end(self, ev: Item) -> StopEvent:
            return StopEvent(result=(ev.n, who.get()))

    who.set("caller")
    assert await Flow().run() == (6, "caller")


async def test_asyncio_timeout_and_current_task_work_inside_steps():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            try:
                async with asyncio.timeout(0.001):
                    await asyncio.Event().wait()
            except TimeoutError:
                return StopEvent(result=asyncio.current_task().get_name())

    assert await Flow().run() == "begin"


def test_run_sync_without_a_loop():
    assert Echo().run_sync(x=3) == 3


async def test_run_sync_inside_a_loop_blocks_for_the_result():
    assert Echo().run_sync(x=4) == 4
    assert Echo().run_sync(x=5) == 5


async def test_run_sync_of_a_failing_step_raises_it_here():
    with pytest.raises(ZeroDivisionError):
        Echo().run_sync(x=None)


class Echo(Workflow):
    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=ev.x if ev.x is not None else 1 / 0)


async def test_many_runs_of_one_instance_do_not_meet():
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Item:
            await ctx.set("n", ev.n)
            await asyncio.sleep(0)
            return Item(n=ev.n)

        @step
        async def end(self, ctx: Context, ev: Item) -> StopEvent:
            return StopEvent(result=(ev.n, await ctx.get("n")))

    flow = Flow()
    results = await asyncio.gather(*(flow.run(n=n) for n in range(200)))
    assert results == [(n, n) for n in range(200)]


async def test_verbose_prints_what_starts_and_what_it_made(capsys):
    await Echo(verbose=True).run(x=1)
    assert capsys.readouterr().out.splitlines() == [
        "Running step begin",
        "Step begin produced event StopEvent",
    ]


async def test_a_run_goes_on_while_the_caller_does_something_else():
    handler = Echo().run(x=1)
    assert not handler.is_done()
    while not handler.is_done():
        await asyncio.sleep(0)
    assert handler.result() == 1


# -- names ------------------------------------------------------------------------


async def test_the_name_of_a_run_that_goes_on_is_not_given_twice():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            await gate.wait()
            return StopEvent()

    gate = asyncio.Event()
    handler = Flow().run()
    with pytest.raises(WorkflowRuntimeError, match="going on already"):
        Flow().run(run_id=handler.run_id)
    gate.set()
    await handler
    await Flow().run(run_id=handler.run_id)
