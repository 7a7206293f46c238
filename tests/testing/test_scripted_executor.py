"""`ScriptedExecutor`: a test decides what steps return, raise and wait for."""

import asyncio

import pytest

from stepwell import (
    ConstantDelayRetryPolicy,
    Context,
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)
from stepwell.errors import StepwellError, WorkflowCancelledByUser
from stepwell.testing import (
    Held,
    PerformedCall,
    ScriptedExecutor,
    ScriptError,
    VirtualClock,
    WorkflowTestRunner,
)


class Query(Event):
    n: int


class Hit(Event):
    text: str


class Searching(Workflow):
    """Searches three times; its `search` must not run in a test."""

    @step
    async def plan(self, ev: StartEvent) -> list[Query] | StopEvent:
        return [Query(n=n) for n in range(3)]

    @step(num_workers=1, retry_policy=ConstantDelayRetryPolicy(2, delay=10))
    async def search(self, ev: Query) -> Hit:
        raise AssertionError("ran really")

    @step
    async def join(self, ctx: Context, ev: Hit) -> StopEvent | None:
        hits = ctx.collect_events(ev, [Hit] * 3)
        return hits and StopEvent(result=[hit.text for hit in hits])


def searching(answers) -> tuple[Searching, ScriptedExecutor]:
    executor = ScriptedExecutor({"search": answers})
    return Searching(executor=executor), executor


async def test_a_list_is_taken_one_answer_a_call():
    flow, _ = searching([Hit(text="a"), Hit(text="b"), Hit(text="c")])
    assert await flow.run() == ["a", "b", "c"]


async def test_an_answer_that_is_no_list_serves_every_call():
    flow, _ = searching(Hit(text="same"))
    assert await flow.run() == ["same"] * 3


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_a_function_is_given_the_event(kind):
    def plain(event):
        return Hit(text=f"hit {event.n}")

    async def later(event):
        await asyncio.sleep(0)
        return plain(event)

    flow, _ = searching(plain if kind == "plain" else later)
    assert await flow.run() == ["hit 0", "hit 1", "hit 2"]


async def test_an_item_that_is_a_list_is_what_the_step_returns():
    executor = ScriptedExecutor(
        {
            "plan": [[Query(n=7), Query(n=8), Query(n=9)]],
            "search": lambda event: Hit(text=str(event.n)),
        }
    )
    assert await Searching(executor=executor).run() == ["7", "8", "9"]


async def test_none_is_what_a_step_returns_that_returns_nothing():
    done = StopEvent(result="joined")
    executor = ScriptedExecutor({"search": Hit(text=""), "join": [None, None, done]})
    assert await Searching(executor=executor).run() == "joined"


async def test_scripts_can_be_stacked():
    inner = ScriptedExecutor({"plan": StopEvent(result="planned")})
    outer = ScriptedExecutor({"search": Hit(text="")}, otherwise=inner)
    assert await Searching(executor=outer).run() == "planned"
    assert len(inner.calls) == len(outer.calls) == 1


def test_an_exception_is_raised_and_the_retry_policy_is_asked():
    flow, executor = searching(
        [ValueError("down"), Hit(text="a"), ConnectionError, *[Hit(text="b")] * 2]
    )
    clock = VirtualClock()
    test = clock.run(WorkflowTestRunner(flow).run())
    assert sorted(test.result) == ["a", "b", "b"]
    assert clock.now >= 10
    attempts = [call.attempt for call in executor.calls if call.step == "search"]
    assert sorted(attempts) == [1, 1, 1, 2, 2]


async def test_an_exception_without_a_retry_ends_the_run_as_itself():
    error = LookupError("gone")
    executor = ScriptedExecutor({"plan": [error]})
    with pytest.raises(LookupError) as caught:
        await Searching(executor=executor).run()
    assert caught.value is error


async def test_the_calls_are_recorded_scripted_or_not():
    flow, executor = searching(Hit(text="x"))
    await flow.run()
    first = executor.calls[0]
    assert isinstance(first, PerformedCall)
    assert (first.step, type(first.event), first.attempt) == ("plan", StartEvent, 1)
    searched = [call.event.n for call in executor.calls if call.step == "search"]
    assert searched == [0, 1, 2]


def test_a_script_that_runs_out_says_whose_it_was_and_how_long():
    flow, _ = searching([Hit(text="a"), Hit(text="b")])
    with pytest.raises(ScriptError, match=r"`search` has run out.* 2 call\(s\)") as e:
        VirtualClock().run(WorkflowTestRunner(flow).run())
    assert isinstance(e.value, StepwellError)
    assert isinstance(e.value, AssertionError)


async def test_a_step_that_the_workflow_lacks_is_told_with_the_nearest_name():
    executor = ScriptedExecutor({"serach": Hit(text="a")})
    with pytest.raises(ScriptError, match="Did you mean search"):
        await Searching(executor=executor).run()


def test_a_class_instead_of_an_event_is_refused_at_once():
    with pytest.raises(ScriptError, match=r"Give an instance: Hit\("):
        ScriptedExecutor({"search": [Hit(text="a"), Hit]})


async def test_plain_steps_are_scripted_too():
    class Plain(Workflow):
        @step
        def begin(self, ev: StartEvent) -> StopEvent:
            raise AssertionError("ran really")

    executor = ScriptedExecutor({"begin": StopEvent(result=1)})
    assert await Plain(executor=executor).run() == 1


async def test_a_held_call_waits_until_the_test_lets_it_go():
    held = Held()
    flow, executor = searching([Hit(text="a"), held, Hit(text="c")])
    handler = flow.run()
    await held.started()
    assert not handler.is_done()
    assert [call.event.n for call in executor.calls if call.step == "search"] == [0, 1]
    held.release(Hit(text="b"))
    assert await handler == ["a", "b", "c"]


async def test_what_a_held_call_is_given_may_be_an_exception_or_a_function():
    first, second = Held(), Held()
    executor = ScriptedExecutor({"plan": [first, second]})
    handler = Searching(executor=executor).run()
    await first.started()
    first.release(OSError("lost"))
    with pytest.raises(OSError, match="lost"):
        await handler
    handler = Searching(executor=executor).run(result="echo")
    await second.started()
    second.release(lambda event: StopEvent(result=event.result))
    assert await handler == "echo"


async def test_a_held_call_can_be_cancelled():
    held = Held()
    handler = Searching(executor=ScriptedExecutor({"plan": held})).run()
    await held.started()
    await handler.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await handler


async def test_a_held_call_is_released_once():
    held = Held()
    held.release(Hit(text="early"))
    with pytest.raises(ScriptError, match="released already"):
        held.release(Hit(text="late"))
    flow, _ = searching(held)
    assert await flow.run() == ["early"] * 3


def test_waiting_for_a_call_that_never_comes_ends_and_says_so():
    with pytest.raises(ScriptError, match="no call was held within 10 seconds"):
        VirtualClock().run(Held().started())
