"""What becomes of steps that fail: retries, time limits, and `@catch_error`."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import Annotated

import pytest

from stepwell import (
    Collect,
    ConstantDelayRetryPolicy,
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Take,
    Workflow,
    WorkflowFailedEvent,
    catch_error,
    retry_if_exception_type,
    retry_policy,
    step,
    stop_after_attempt,
    wait_none,
)
from stepwell.errors import (
    StepTimeoutError,
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
    WorkflowValidationError,
)
from stepwell.testing import VirtualClock


class Item(Event):
    n: int = 0


class Out(Event):
    n: int = 0


def only_ours():
    return asyncio.all_tasks() - {asyncio.current_task()}


class Failing(Workflow):
    """Its first step raises what is given as `error`."""

    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        raise ev.error


class Recovering(Failing):
    @catch_error
    async def recover(self, ev: StepFailedEvent) -> StopEvent:
        return StopEvent(result=ev)


# -- what a handler is given, and what its answer does ------------------------------


async def test_a_handler_ends_the_run_in_the_failed_step_s_stead():
    handler = Recovering().run(error=KeyError("x"))
    failed = await handler
    assert handler.status == "done"
    assert failed.step_name == "begin"
    assert isinstance(failed.input_event, StartEvent)
    assert isinstance(failed.exception, KeyError)


def test_a_handler_is_told_of_all_attempts_and_of_the_time_they_took():
    class Flow(Workflow):
        @step(retry_policy=ConstantDelayRetryPolicy(maximum_attempts=3, delay=10))
        async def begin(self, ev: StartEvent) -> StopEvent:
            raise OSError("again")

        @catch_error
        async def recover(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent(result=(ev.attempts, ev.elapsed_seconds, ev.failed_at))

    async def main():
        return await Flow().run()

    attempts, elapsed, failed_at = VirtualClock().run(main())
    assert attempts == 3
    assert elapsed == pytest.approx(20)
    assert failed_at.utcoffset() == timedelta(0)
    # 20 seconds of the run have passed, of which the clock on the wall knows nothing.
    assert abs(failed_at - datetime.now(UTC) - timedelta(seconds=20)) < timedelta(10)


async def test_the_exception_a_handler_gets_says_where_it_was_raised():
    failed = await Recovering().run(error=KeyError("x"))
    assert failed.exception.__notes__ == [
        "in step `begin` of Recovering, on StartEvent, attempt 1"
    ]


async def test_a_handler_is_not_called_while_retries_remain():
    class Flow(Workflow):
        tries = 0

        @step(retry_policy=retry_policy(wait=wait_none()))
        async def begin(self, ev: StartEvent) -> StopEvent:
            self.tries += 1
            if self.tries < 3:
                raise OSError("again")
            return StopEvent(result="third")

        @catch_error
        async def recover(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent(result="recovered")

    assert await Flow().run() == "third"


async def test_what_a_handler_returns_goes_on_to_the_steps_that_take_it():
    class Flow(Failing):
        @catch_error
        async def recover(self, ev: StepFailedEvent) -> Out | None:
            return Out(n=7)

        @step
        async def end(self, ev: Out) -> StopEvent:
            return StopEvent(result=ev.n)

    assert await Flow().run(error=OSError()) == 7


async def test_a_handler_that_returns_nothing_leaves_the_rest_going_on():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item | Out]:
            return [Item(), Out()]

        @step
        async def bad(self, ev: Item) -> None:
            raise OSError

        @step
        async def good(self, ctx: Context, ev: Out) -> StopEvent:
            await ctx.wait_for_event(HumanResponseEvent)
            return StopEvent(result="good")

        @catch_error
        async def recover(self, ctx: Context, ev: StepFailedEvent) -> None:
            await ctx.set("failed", ev.step_name)
            ctx.write_event_to_stream(Out(n=1))

    handler = Flow().run()
    async for event in handler.stream_events():
        if isinstance(event, Out):
            handler.send_event(HumanResponseEvent())
    assert await handler == "good"
    assert await handler.ctx.get("failed") == "bad"


async def test_what_a_handler_raises_ends_the_run():
    second = ValueError("second")

    class Flow(Failing):
        @catch_error
        async def recover(self, ev: StepFailedEvent) -> StopEvent:
            raise second

    handler = Flow().run(error=KeyError("first"))
    with pytest.raises(ValueError, match="second") as caught:
        await handler
    assert caught.value is second
    last = [event async for event in handler.stream_events()][-1]
    assert isinstance(last, WorkflowFailedEvent)
    assert last.step_name == "recover"


async def test_a_plain_def_handler_with_a_context_works():
    class Flow(Failing):
        @catch_error
        def recover(self, ctx: Context, ev: StepFailedEvent) -> StopEvent:
            ctx.write_event_to_stream(Item(n=1))
            return StopEvent(result=ev.step_name)

    handler = Flow().run(error=OSError())
    assert await handler == "begin"
    assert [type(e) async for e in handler.stream_events()] == [Item, StopEvent]


async def test_the_record_shows_the_failed_call_and_its_handler():
    handler = Recovering().run(error=KeyError("x"))
    await handler
    failed, helped = handler.record
    assert (failed.step, failed.status, failed.error) == (
        "begin",
        "failed",
        "KeyError: 'x'",
    )
    assert (helped.step, helped.input, helped.status) == (
        "recover",
        "StepFailedEvent",
        "done",
    )
    assert helped.caused_by == failed.call_id


# -- which handler is called --------------------------------------------------------


async def test_a_handler_that_names_steps_comes_before_the_one_for_all():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Item:
            if ev.early:
                raise OSError
            return Item()

        @step
        async def end(self, ev: Item) -> StopEvent:
            raise OSError

        @catch_error
        async def anything(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent(result="anything")

        @catch_error(for_steps=["end"])
        async def at_the_end(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent(result="at the end")

    assert await Flow().run(early=True) == "anything"
    assert await Flow().run(early=False) == "at the end"


async def test_a_step_that_no_handler_covers_ends_the_run():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Item:
            raise OSError("mine")

        @step
        async def end(self, ev: Item) -> StopEvent: ...

        @catch_error(for_steps=["end"])
        async def recover(self, ev: StepFailedEvent) -> StopEvent: ...

    with pytest.raises(OSError, match="mine"):
        await Flow().run()


async def test_a_free_function_becomes_a_handler():
    class Flow(Failing):
        pass

    @catch_error(workflow=Flow, for_steps=["begin"])
    async def recover(ev: StepFailedEvent) -> StopEvent:
        return StopEvent(result="free")

    assert await Flow().run(error=OSError()) == "free"


async def test_a_subclass_inherits_handlers_and_may_replace_them():
    class Derived(Recovering):
        @catch_error
        async def recover(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent(result="derived")

    assert await Derived().run(error=OSError()) == "derived"
    assert (await Recovering().run(error=OSError())).step_name == "begin"


# -- how often ----------------------------------------------------------------------


async def test_a_loop_through_a_handler_comes_to_an_end():
    rounds = []

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Item:
            return Item()

        @step
        async def work(self, ev: Item) -> StopEvent:
            rounds.append(ev.n)
            raise OSError(f"round {ev.n}")

        @catch_error(max_recoveries=3)
        async def again(self, ev: StepFailedEvent) -> Item:
            return Item(n=ev.input_event.n + 1)

    with pytest.raises(OSError, match="round 3"):
        await Flow().run()
    assert rounds == [0, 1, 2, 3]


async def test_a_handler_that_has_helped_often_enough_is_named_in_a_note():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent | Item) -> StopEvent:
            raise OSError("always")

        @catch_error(max_recoveries=2)
        async def again(self, ev: StepFailedEvent) -> Item:
            return Item()

    with pytest.raises(OSError, match="always") as caught:
        await Flow().run()
    assert "`again` was not called again" in caught.value.__notes__[-1]
    assert "max_recoveries=2" in caught.value.__notes__[-1]


async def test_a_handler_helps_once_along_one_chain_by_default():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Item:
            raise OSError("first")

        @step
        async def end(self, ev: Item) -> StopEvent:
            raise OSError("second")

        @catch_error
        async def recover(self, ev: StepFailedEvent) -> Item:
            return Item()

    with pytest.raises(OSError, match="second"):
        await Flow().run()


async def test_every_item_of_a_list_may_be_recovered_as_often():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(5)]

        @step
        async def work(self, ev: Item) -> Out:
            if ev.n % 2:
                raise OSError
            return Out(n=ev.n)

        @catch_error
        async def recover(self, ev: StepFailedEvent) -> Out:
            return Out(n=-ev.input_event.n)

        @step
        async def end(self, outs: list[Out]) -> StopEvent:
            return StopEvent(result=[out.n for out in outs])

    assert await Flow().run() == [0, -1, 2, -3, 4]


async def test_every_handler_has_a_count_of_its_own():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Item:
            raise OSError("first")

        @step
        async def end(self, ev: Item) -> StopEvent:
            raise OSError("second")

        @catch_error(for_steps=["begin"])
        async def one(self, ev: StepFailedEvent) -> Item:
            return Item()

        @catch_error(for_steps=["end"])
        async def two(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent(result="two")

    assert await Flow().run() == "two"


async def test_a_handler_may_help_again_in_the_next_run():
    flow = Recovering()
    for _ in range(3):
        assert (await flow.run(error=OSError())).attempts == 1


async def test_a_loop_through_a_list_does_not_forget_how_often_it_was_helped():
    rounds = []

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent | Out) -> list[Item]:
            rounds.append(ev)
            return [Item(n=1), Item(n=2)]

        @step
        async def work(self, ev: Item) -> Item | HumanResponseEvent:
            raise OSError("always")

        @catch_error
        async def recover(self, ev: StepFailedEvent) -> HumanResponseEvent:
            return HumanResponseEvent()

        @step
        async def join(self, all: list[HumanResponseEvent]) -> Out | StopEvent:
            return Out()

    with pytest.raises(OSError, match="always"):
        await Flow(timeout=5).run()
    assert len(rounds) == 2


async def test_a_loop_through_a_list_is_bounded_where_failed_items_are_left_out():
    rounds = []

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent | Out) -> list[Item]:
            rounds.append(ev)
            return [Item(n=1), Item(n=2)]

        @step
        async def work(self, ev: Item) -> HumanResponseEvent:
            raise OSError("always")

        @catch_error
        async def leave_out(self, ev: StepFailedEvent) -> None: ...

        @step
        async def join(self, all: list[HumanResponseEvent]) -> Out | StopEvent:
            return Out()

    with pytest.raises(OSError, match="always"):
        await Flow(timeout=5).run()
    assert len(rounds) == 2


class Slow(Event):
    pass


class Fast(Event):
    pass


class Looping(Workflow):
    """A loop through a set; the event whose step was helped comes first."""

    rounds = 0

    @step
    async def begin(self, ev: StartEvent | Out) -> list[Item | Slow]:
        self.rounds += 1
        return [Item(), Slow()]

    @step
    async def work(self, ev: Item) -> Fast:
        raise OSError("always")

    @step
    async def clean(self, ctx: Context, ev: Slow) -> HumanResponseEvent:
        while "recover" not in await ctx.get("helped", ""):
            await asyncio.sleep(0)
        return HumanResponseEvent()

    @catch_error
    async def recover(self, ctx: Context, ev: StepFailedEvent) -> Fast:
        await ctx.set("helped", "recover")
        return Fast()


async def test_a_loop_through_a_set_does_not_forget_how_often_it_was_helped():
    class Flow(Looping):
        @step
        async def join(self, a: Fast, b: HumanResponseEvent) -> Out | StopEvent:
            return Out()

    flow = Flow(timeout=5)
    with pytest.raises(OSError, match="always"):
        await flow.run()
    assert flow.rounds == 2


async def test_a_loop_through_collect_events_does_not_forget_it_either():
    class Flow(Looping):
        @step
        async def join(
            self, ctx: Context, ev: Fast | HumanResponseEvent
        ) -> Out | StopEvent | None:
            both = ctx.collect_events(ev, [Fast, HumanResponseEvent])
            return Out() if both else None

    flow = Flow(timeout=5)
    with pytest.raises(OSError, match="always"):
        await flow.run()
    assert flow.rounds == 2


async def test_the_step_after_a_list_may_be_helped_although_its_items_were():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=1), Item(n=2)]

        @step
        async def work(self, ev: Item) -> Out:
            raise OSError

        @step
        async def join(self, outs: list[Out]) -> StopEvent:
            raise OSError

        @catch_error
        async def recover(self, ev: StepFailedEvent) -> Out | StopEvent:
            return Out() if ev.step_name == "work" else StopEvent(result="helped")

    assert await Flow().run() == "helped"


# -- lists and sets -----------------------------------------------------------------


async def test_a_handler_gets_the_list_that_a_step_failed_on():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(3)]

        @step
        async def join(self, items: list[Item]) -> StopEvent:
            raise OSError

        @catch_error
        async def recover(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent(result=[item.n for item in ev.input_event])

    assert await Flow().run() == [0, 1, 2]


async def test_a_handler_gets_the_events_of_a_join_that_failed_as_a_tuple():
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Item | Out:
            ctx.send_event(Out(n=2))
            return Item(n=1)

        @step
        async def join(self, item: Item, out: Out) -> StopEvent:
            raise OSError

        @catch_error
        async def recover(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent(result=ev.input_event)

    assert await Flow().run() == (Item(n=1), Out(n=2))


async def test_a_recovered_item_keeps_its_place_in_the_list():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(4)]

        @step
        async def work(self, ev: Item) -> Out:
            if ev.n == 1:
                raise OSError
            return Out(n=ev.n)

        @catch_error
        async def recover(self, ev: StepFailedEvent) -> Out:
            return Out(n=100)

        @step
        async def end(self, outs: list[Out]) -> StopEvent:
            return StopEvent(result=[out.n for out in outs])

    assert await Flow().run() == [0, 100, 2, 3]


@pytest.mark.parametrize("options", [{}, {"num_workers": 3}], ids=["one", "three"])
async def test_a_handler_is_called_once_at_a_time_unless_it_says_otherwise(options):
    running, most = [], []

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(5)]

        @step
        async def work(self, ev: Item) -> Out:
            raise OSError

        @catch_error(**options)
        async def recover(self, ev: StepFailedEvent) -> Out:
            running.append(ev)
            for _ in range(3):
                await asyncio.sleep(0)
            most.append(len(running))
            running.pop()
            return Out()

        @step
        async def end(self, outs: list[Out]) -> StopEvent:
            return StopEvent(result=len(outs))

    assert await Flow().run() == 5
    assert max(most) == options.get("num_workers", 1)


async def test_an_item_whose_handler_returns_nothing_is_left_out_of_the_list():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(3)]

        @step
        async def work(self, ev: Item) -> Out:
            if ev.n == 0:
                raise OSError
            return Out(n=ev.n)

        @catch_error
        async def skip(self, ev: StepFailedEvent) -> None: ...

        @step
        async def end(self, outs: list[Out]) -> StopEvent:
            return StopEvent(result=[out.n for out in outs])

    assert await Flow().run() == [1, 2]


async def test_a_handler_s_list_is_gathered_like_a_step_s():
    class Flow(Failing):
        @catch_error
        async def recover(self, ev: StepFailedEvent) -> list[Item]:
            return [Item(n=n) for n in range(3)]

        @step
        async def join(self, items: list[Item]) -> StopEvent:
            return StopEvent(result=len(items))

    assert await Flow().run(error=OSError()) == 3


async def test_a_failure_of_a_call_that_was_told_to_stop_is_not_handled():
    failed = []

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(3)]

        @step
        async def work(self, ev: Item) -> Out:
            if ev.n:
                try:
                    await asyncio.Event().wait()
                finally:
                    raise OSError
            return Out(n=ev.n)

        @catch_error
        async def recover(self, ev: StepFailedEvent) -> None:
            failed.append(ev)

        @step
        async def end(
            self,
            ctx: Context,
            outs: Annotated[list[Out], Collect(Take(1), cancel_rest=True)],
        ) -> StopEvent:
            while len(await ctx.running_steps()) > 1:
                await asyncio.sleep(0)
            return StopEvent(result=[out.n for out in outs])

    assert await Flow().run() == [0]
    assert failed == []


# -- what no handler is called for --------------------------------------------------


def test_the_timeout_of_the_run_is_no_step_s_failure():
    class Flow(Recovering):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            await asyncio.sleep(100)

    async def main():
        with pytest.raises(WorkflowTimeoutError):
            await Flow(timeout=1).run()
        assert not only_ours()

    VirtualClock().run(main())


async def test_a_cancelled_run_calls_no_handler():
    started = asyncio.Event()

    class Flow(Recovering):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            started.set()
            await asyncio.Event().wait()

    handler = Flow().run()
    await started.wait()
    await handler.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await handler
    assert [call.step for call in handler.record] == ["begin"]


async def test_an_undeclared_event_is_a_mistake_and_not_handled():
    class Flow(Recovering):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return Item()

    with pytest.raises(WorkflowRuntimeError, match="returned Item"):
        await Flow().run()


async def test_a_step_that_went_round_too_often_is_not_handled():
    class Flow(Recovering):
        @step(max_visits=2)
        async def begin(self, ev: StartEvent | Item) -> Item | StopEvent:
            return Item()

    with pytest.raises(WorkflowRuntimeError, match="max_visits"):
        await Flow().run()


class Leave(BaseException):
    pass


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_what_is_no_exception_is_not_handled(plain):
    class Flow(Recovering):
        if plain:

            @step
            def begin(self, ev: StartEvent) -> StopEvent:
                raise Leave

        else:

            @step
            async def begin(self, ev: StartEvent) -> StopEvent:
                raise Leave

    with pytest.raises(Leave):
        await Flow().run()


def test_system_exit_in_a_step_leaves_the_program():
    async def main():
        await Recovering().run(error=SystemExit(3))

    with pytest.raises(SystemExit) as caught:
        asyncio.run(main())
    assert caught.value.code == 3


async def test_nobody_can_send_the_event_of_a_failure():
    class Flow(Recovering):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            failed = StepFailedEvent(
                step_name="x",
                input_event=ev,
                exception=OSError(),
                failed_at=datetime.now(UTC),
            )
            for to in (None, "recover"):
                with pytest.raises(WorkflowRuntimeError, match="made by the run"):
                    ctx.send_event(failed, to)
            return StopEvent(result="refused")

    assert await Flow().run() == "refused"


async def test_a_policy_that_raises_keeps_the_step_s_own_exception_as_its_cause():
    class Broken:
        def next(self, elapsed_time, attempts, error):
            raise ZeroDivisionError

    class Flow(Workflow):
        @step(retry_policy=Broken())
        async def begin(self, ev: StartEvent) -> StopEvent:
            raise KeyError("x")

    with pytest.raises(ZeroDivisionError) as caught:
        await Flow().run()
    assert isinstance(caught.value.__cause__, KeyError)


# -- handlers that contradict each other ---------------------------------------------


def refused(*handlers):
    """What is said about a workflow with these handlers."""

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Item: ...

        @step
        async def end(self, ev: Item) -> StopEvent: ...

    for number, options in enumerate(handlers, start=1):

        async def recover(ev: StepFailedEvent) -> StopEvent: ...

        recover.__name__ = recover.__qualname__ = f"recover_{number}"
        catch_error(workflow=Flow, **options)(recover)
    with pytest.raises(WorkflowValidationError) as caught:
        Flow().validate()
    return str(caught.value)


def test_two_handlers_for_all_steps_are_refused():
    assert "`recover_1` and `recover_2` are both @catch_error" in refused({}, {})


def test_a_handler_for_an_unknown_step_is_refused_with_a_guess():
    assert "'begni', which is not there. Did you mean begin?" in refused(
        {"for_steps": ["begni"]}
    )


def test_a_step_that_two_handlers_name_is_refused():
    said = refused({"for_steps": ["end"]}, {"for_steps": ["begin", "end"]})
    assert "`end` is named by two @catch_error steps, `recover_1` and" in said


def test_a_handler_that_names_a_handler_is_refused():
    said = refused({"for_steps": ["recover_2"]}, {"for_steps": ["end"]})
    assert "`recover_1` names `recover_2`, which is a @catch_error itself" in said


def test_all_contradictions_are_told_at_once():
    said = refused({}, {}, {"for_steps": ["x"]})
    assert "are both" in said and "'x'" in said


async def test_contradictions_are_refused_before_a_run_begins():
    class Flow(Failing):
        @catch_error(for_steps=["beginn"])
        async def recover(self, ev: StepFailedEvent) -> StopEvent: ...

    with pytest.raises(WorkflowValidationError, match=r"Did you mean begin\?"):
        Flow().run()


@pytest.mark.parametrize("kind", [StartEvent, Event, StepFailedEvent | Item])
def test_a_handler_takes_a_step_failed_event_and_nothing_else(kind):
    with pytest.raises(WorkflowValidationError, match="takes a StepFailedEvent"):

        @catch_error(workflow=Failing)
        async def recover(ev: kind) -> StopEvent: ...


@pytest.mark.parametrize("option", ["max_recoveries", "num_workers"])
@pytest.mark.parametrize("number", [0, -1, 1.5, True, "2"])
def test_numbers_of_a_handler_are_whole_and_above_0(option, number):
    with pytest.raises(WorkflowValidationError, match=option):

        @catch_error(workflow=Failing, **{option: number})
        async def recover(ev: StepFailedEvent) -> StopEvent: ...


@pytest.mark.parametrize("names", ["begin", [1], ("begin",)])
def test_for_steps_is_a_list_of_names(names):
    with pytest.raises(WorkflowValidationError, match="for_steps is a list"):

        @catch_error(workflow=Failing, for_steps=names)
        async def recover(ev: StepFailedEvent) -> StopEvent: ...


def test_a_step_that_takes_failures_without_being_a_handler_is_refused():
    class Flow(Failing):
        @step
        async def recover(self, ev: StepFailedEvent) -> StopEvent: ...

    with pytest.raises(WorkflowValidationError, match="write @catch_error above it"):
        Flow().validate()


def test_a_step_that_returns_a_failure_is_told_to_raise():
    class Flow(Recovering):
        @step
        async def extra(self, ev: StartEvent) -> StepFailedEvent: ...

    with pytest.raises(WorkflowValidationError, match="raise an exception"):
        Flow().validate()


# -- retry_info ---------------------------------------------------------------------


def test_retry_info_tells_each_attempt_where_it_stands():
    seen = []

    class Flow(Workflow):
        @step(retry_policy=ConstantDelayRetryPolicy(maximum_attempts=3, delay=10))
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            seen.append(ctx.retry_info())
            if len(seen) < 3:
                raise OSError(len(seen))
            return StopEvent()

    async def main():
        await Flow().run()

    VirtualClock().run(main())
    first, second, third = seen
    assert first == (0, 0.0, None, None)
    assert (second.retry_number, third.retry_number) == (1, 2)
    assert (second.elapsed_seconds, third.elapsed_seconds) == pytest.approx((10, 20))
    assert (str(second.last_exception), str(third.last_exception)) == ("1", "2")
    assert third.last_failed_at - second.last_failed_at == timedelta(seconds=10)
    assert third.last_failed_at.tzinfo is UTC


async def test_retry_info_is_there_for_code_that_a_step_calls():
    def helper():
        return Context.get_step_context().retry_info().retry_number

    class Flow(Workflow):
        @step(retry_policy=retry_policy(wait=wait_none()))
        def begin(self, ev: StartEvent) -> StopEvent:
            if not helper():
                raise OSError
            return StopEvent(result=helper())

    assert await Flow().run() == 1


# -- time limits of steps -----------------------------------------------------------


def run(flow, **fields):
    """The result of a run, on a clock of its own, and the seconds it took."""

    async def main():
        try:
            return await flow.run(**fields)
        finally:
            assert not only_ours()

    clock = VirtualClock()
    return clock.run(main()), clock.now


def test_a_step_s_timeout_names_step_event_and_attempt():
    class Slow(Workflow):
        @step(timeout=5, retry_policy=ConstantDelayRetryPolicy(2, delay=1))
        async def begin(self, ev: StartEvent) -> StopEvent:
            await asyncio.sleep(100)

    with pytest.raises(StepTimeoutError) as caught:
        run(Slow())
    error = caught.value
    assert (error.step, error.event, error.attempt) == ("begin", "StartEvent", 2)
    assert "`begin` of Slow took longer than the 5 seconds" in str(error)
    assert "on StartEvent, attempt 2" in str(error)
    assert isinstance(error, TimeoutError)


def test_a_step_s_timeout_is_retried_by_a_policy():
    class Flow(Workflow):
        @step(
            timeout=5,
            retry_policy=retry_policy(
                retry=retry_if_exception_type(StepTimeoutError),
                wait=wait_none(),
                stop=stop_after_attempt(3),
            ),
        )
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            attempt = ctx.retry_info().retry_number
            await asyncio.sleep(100 if attempt < 2 else 1)
            return StopEvent(result=attempt)

    assert run(Flow()) == (2, pytest.approx(11))


def test_a_step_s_timeout_is_handled_like_any_failure():
    class Flow(Workflow):
        @step(timeout=5)
        async def begin(self, ev: StartEvent) -> StopEvent:
            await asyncio.sleep(100)

        @catch_error
        async def recover(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent(result=type(ev.exception).__name__)

    assert run(Flow()) == ("StepTimeoutError", pytest.approx(5))


def test_a_timeout_error_of_the_step_itself_is_left_as_it_is():
    mine = TimeoutError("mine")

    class Flow(Workflow):
        @step(timeout=5)
        async def begin(self, ev: StartEvent) -> StopEvent:
            raise mine

    with pytest.raises(TimeoutError) as caught:
        run(Flow())
    assert caught.value is mine


def test_asyncio_timeout_inside_a_step_with_a_timeout_is_the_step_s_own():
    class Flow(Workflow):
        @step(timeout=5)
        async def begin(self, ev: StartEvent) -> StopEvent:
            try:
                async with asyncio.timeout(1):
                    await asyncio.sleep(100)
            except TimeoutError as error:
                return StopEvent(result=type(error).__name__)

    assert run(Flow()) == ("TimeoutError", pytest.approx(1))


def test_a_step_that_is_stopped_by_its_timeout_may_clean_up():
    cleaned = []

    class Flow(Workflow):
        @step(timeout=5)
        async def begin(self, ev: StartEvent) -> StopEvent:
            try:
                await asyncio.sleep(100)
            finally:
                await asyncio.sleep(1)
                cleaned.append(True)

    with pytest.raises(StepTimeoutError):
        run(Flow())
    assert cleaned


class Asking(Workflow):
    @step(timeout=5)
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await asyncio.sleep(2)
        asking = InputRequiredEvent()
        answer = await ctx.wait_for_event(HumanResponseEvent, waiter_event=asking)
        await asyncio.sleep(ev.work)
        return StopEvent(result=answer.text)


def answered(flow, after=60, **fields):
    async def main():
        handler = flow.run(**fields)
        async for event in handler.stream_events():
            if isinstance(event, InputRequiredEvent):
                await asyncio.sleep(after)
                handler.send_event(HumanResponseEvent(text="yes"))
        return await handler

    clock = VirtualClock()
    return clock.run(main()), clock.now


def test_waiting_for_an_event_does_not_count_towards_a_step_s_timeout():
    assert answered(Asking(), work=2) == ("yes", pytest.approx(64))


def test_a_step_s_timeout_goes_on_after_a_wait_with_what_was_left():
    with pytest.raises(StepTimeoutError):
        answered(Asking(), work=4)


def test_a_step_s_timeout_rests_until_the_last_of_several_waits_has_ended():
    class Flow(Workflow):
        @step(timeout=5)
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            one = ctx.wait_for_event(Item, waiter_event=InputRequiredEvent())
            two = ctx.wait_for_event(HumanResponseEvent)
            first, second = await asyncio.gather(one, two)
            return StopEvent(result=(first.n, second.text))

    async def main():
        handler = Flow().run()
        await asyncio.sleep(1)
        handler.send_event(Item(n=1))
        await asyncio.sleep(60)
        handler.send_event(HumanResponseEvent(text="yes"))
        return await handler

    assert VirtualClock().run(main()) == (1, "yes")


def test_a_wait_of_a_step_whose_time_is_up_already_does_no_harm():
    class Flow(Workflow):
        @step(timeout=5)
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            try:
                await asyncio.sleep(100)
            finally:
                with pytest.raises(TimeoutError, match="no Item came"):
                    await ctx.wait_for_event(Item, timeout=1)

    with pytest.raises(StepTimeoutError):
        run(Flow())


async def test_a_plain_def_step_has_a_timeout_too_and_its_thread_is_left_behind():
    release, ended = threading.Event(), threading.Event()

    class Flow(Workflow):
        @step(timeout=0.01)
        def begin(self, ev: StartEvent) -> StopEvent:
            release.wait(30)
            ended.set()
            return StopEvent(result="too late")

    handler = Flow().run()
    with pytest.raises(StepTimeoutError, match="Its thread cannot be stopped"):
        await handler
    release.set()
    assert await asyncio.to_thread(ended.wait, 30)


@pytest.mark.parametrize("seconds", [0, -1, "5", True, float("nan")])
def test_a_timeout_is_above_0_seconds(seconds):
    with pytest.raises(WorkflowValidationError, match="timeout must be above 0"):

        @step(workflow=Failing, timeout=seconds)
        async def other(ev: StartEvent) -> StopEvent: ...


# -- nothing is left behind ---------------------------------------------------------


def test_a_stop_event_leaves_no_task_behind_whatever_is_still_going_on():
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> list[Item | Out]:
            return [*(Item(n=n) for n in range(4)), Out()]

        @step(retry_policy=ConstantDelayRetryPolicy(9, delay=50), timeout=500)
        async def retried(self, ev: Item) -> None:
            raise OSError

        @step(num_workers=1)
        async def queued(self, ev: Item) -> None:
            await asyncio.sleep(1000)

        @step
        async def waiting(self, ctx: Context, ev: Item) -> None:
            await ctx.wait_for_event(HumanResponseEvent)

        @step
        async def end(self, ev: Out) -> StopEvent:
            await asyncio.sleep(60)
            return StopEvent(result="done")

        @catch_error
        async def recover(self, ev: StepFailedEvent) -> None: ...

    assert run(Flow(timeout=None)) == ("done", pytest.approx(60))
