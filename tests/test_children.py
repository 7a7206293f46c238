"""Workflows that steps run inside their own run: `await ctx.run(child, …)`."""

import asyncio
import contextlib
import threading

import pytest

from stepwell import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Workflow,
    catch_error,
    retry_policy,
    step,
    wait_none,
)
from stepwell.errors import (
    ContextStateError,
    StepTimeoutError,
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    WorkflowTimeoutError,
    WorkflowValidationError,
)
from stepwell.testing import VirtualClock


class Note(Event):
    text: str


class Item(Event):
    n: int = 0


def only_ours():
    return asyncio.all_tasks() - {asyncio.current_task()}


def on_a_clock(main):
    """What a coroutine gives, on a clock of its own that leaves no task behind."""

    async def around():
        try:
            return await main()
        finally:
            assert not only_ours()

    clock = VirtualClock()
    return clock.run(around()), clock.now


class Doubling(Workflow):
    @step
    async def double(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=2 * ev.n)


class Parent(Workflow):
    """Runs the child it is made with, with the fields of its start event."""

    def __init__(self, child, **options):
        super().__init__(**options)
        self.child = child

    @step
    async def outer(self, ctx: Context, ev: StartEvent) -> StopEvent:
        return StopEvent(result=await ctx.run(self.child, **dict(ev.items())))


# -- the result ---------------------------------------------------------------------


async def test_a_step_gets_the_result_of_the_workflow_it_runs():
    assert await Parent(Doubling()).run(n=21) == 42


async def test_a_stop_event_of_a_class_of_its_own_is_given_itself():
    class Done(StopEvent):
        n: int

    class Child(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Done:
            return Done(n=ev.n)

    assert await Parent(Child()).run(n=1) == Done(n=1)


async def test_a_start_event_may_be_given_whole():
    class Begin(StartEvent):
        n: int

    class Child(Workflow):
        @step
        async def begin(self, ev: Begin) -> StopEvent:
            return StopEvent(result=ev.n)

    class Flow(Parent):
        @step
        async def outer(self, ctx: Context, ev: StartEvent) -> StopEvent:
            return StopEvent(result=await ctx.run(self.child, start_event=Begin(n=3)))

    assert await Flow(Child()).run() == 3


async def test_a_child_has_a_state_of_its_own():
    class Child(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.set("x", "child")
            return StopEvent()

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.set("x", "parent")
            await ctx.run(Child())
            return StopEvent(result=await ctx.get("x"))

    assert await Flow().run() == "parent"


async def test_two_children_may_run_at_once():
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            both = [ctx.run(Doubling(), n=n) for n in (1, 2)]
            return StopEvent(result=await asyncio.gather(*both))

    assert await Flow().run() == [2, 4]


async def test_a_child_may_have_a_child():
    assert await Parent(Parent(Parent(Doubling()))).run(n=1) == 2


async def test_a_workflow_may_run_itself_as_its_child():
    class Factorial(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            below = await ctx.run(self, n=ev.n - 1) if ev.n > 1 else 1
            return StopEvent(result=ev.n * below)

    assert await Factorial().run(n=5) == 120


async def test_code_that_a_step_calls_may_run_children():
    async def ask(n):
        return await Context.get_step_context().run(Doubling(), n=n)

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=await ask(4))

    assert await Flow().run() == 8


# -- what is not run ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("child", "said"),
    [
        (
            Doubling,
            r"not the class Doubling\.\nWrite `await ctx.run\(Doubling\(\), …",
        ),
        (3, "ctx.run takes a workflow, not int"),
    ],
)
async def test_what_is_no_workflow_is_refused(child, said):
    with pytest.raises(ContextStateError, match=said):
        await Parent(child).run(n=1)


async def test_a_child_is_run_inside_a_step_only():
    with pytest.raises(ContextStateError, match="inside a step only"):
        await Context(Doubling()).run(Doubling(), n=1)


async def test_a_child_that_cannot_run_as_written_fails_the_step():
    class Child(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Item | StopEvent: ...

    with pytest.raises(WorkflowValidationError, match="Child cannot run as written"):
        await Parent(Child()).run()


# -- failures -----------------------------------------------------------------------


class Failing(Workflow):
    tries = 0

    @step
    async def inner(self, ev: StartEvent) -> StopEvent:
        self.tries += 1
        if self.tries <= ev.get("failures", 99):
            raise OSError(f"try {self.tries}")
        return StopEvent(result=self.tries)


async def test_the_exception_of_a_child_is_raised_in_the_step_as_itself():
    with pytest.raises(OSError, match="try 1") as caught:
        await Parent(Failing()).run()
    assert caught.value.__notes__ == [
        "in step `inner` of Failing, on StartEvent, attempt 1",
        "in step `outer` of Parent, on StartEvent, attempt 1",
    ]


async def test_a_failed_child_is_run_again_by_the_step_s_policy():
    class Flow(Parent):
        @step(retry_policy=retry_policy(wait=wait_none()))
        async def outer(self, ctx: Context, ev: StartEvent) -> StopEvent:
            return StopEvent(result=await ctx.run(self.child, failures=2))

    assert await Flow(Failing()).run() == 3


async def test_a_failed_child_is_for_the_handler_of_the_step():
    class Flow(Parent):
        @catch_error
        async def recover(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent(result=(ev.step_name, str(ev.exception)))

    assert await Flow(Failing()).run() == ("outer", "try 1")


async def test_a_step_may_catch_what_its_child_raises():
    class Flow(Parent):
        @step
        async def outer(self, ctx: Context, ev: StartEvent) -> StopEvent:
            with contextlib.suppress(OSError):
                await ctx.run(self.child)
            return StopEvent(result="caught")

    assert await Flow(Failing()).run() == "caught"


def test_a_child_s_own_timeout_is_raised_in_the_step():
    class Child(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            await asyncio.sleep(100)

    async def main():
        with pytest.raises(WorkflowTimeoutError, match="Child did not finish within 5"):
            await Parent(Child(timeout=5)).run()

    assert on_a_clock(main)[1] == pytest.approx(5)


# -- the stream ---------------------------------------------------------------------


class Telling(Workflow):
    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Item:
        ctx.write_event_to_stream(Note(text="child 1"))
        return Item()

    @step
    async def end(self, ctx: Context, ev: Item) -> StopEvent:
        ctx.write_event_to_stream(Note(text="child 2"))
        return StopEvent(result="child's")


class Around(Parent):
    @step
    async def outer(self, ctx: Context, ev: StartEvent) -> StopEvent:
        ctx.write_event_to_stream(Note(text="before"))
        await ctx.run(self.child)
        ctx.write_event_to_stream(Note(text="after"))
        return StopEvent(result="parent's")


@pytest.mark.parametrize("child", [Telling(), Around(Telling())], ids=["one", "two"])
async def test_a_child_s_events_show_on_the_stream_in_order_but_not_its_last(child):
    handler = Around(child).run()
    events = [event async for event in handler.stream_events()]
    texts = [event.text for event in events[:-1]]
    inner = ["before", "child 1", "child 2", "after"]
    expected = inner if isinstance(child, Telling) else ["before", *inner, "after"]
    assert texts == expected
    assert events[-1] == StopEvent(result="parent's")


async def test_the_steps_of_a_child_are_not_told_as_the_parent_s():
    handler = Around(Telling()).run()
    names = {
        event.name
        async for event in handler.stream_events(expose_internal=True)
        if "name" in event
    }
    assert names == {"outer"}
    assert [call.step for call in handler.record] == ["outer"]


async def test_a_child_s_event_starts_no_step_of_the_parent():
    class Flow(Around):
        @step
        async def listen(self, ev: StartEvent) -> Note | None: ...

        @step
        async def never(self, ev: Note) -> StopEvent:
            return StopEvent(result="took it")

    assert await Flow(Telling()).run() == "parent's"


# -- people -------------------------------------------------------------------------


class Asking(Workflow):
    """Asks one question, and works for `work` seconds before and after it."""

    @step
    async def begin(self, ev: StartEvent) -> InputRequiredEvent:
        await asyncio.sleep(ev.get("work", 0))
        return InputRequiredEvent(work=ev.get("work", 0), who=ev.get("who"))

    @step
    async def end(self, ev: HumanResponseEvent) -> StopEvent:
        await asyncio.sleep(ev.get("work", 0))
        return StopEvent(result=ev.text)


class AskingInStep(Workflow):
    """The same, in one step that waits for the answer."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        work = ev.get("work", 0)
        await asyncio.sleep(work)
        answer = await ctx.wait_for_event(
            HumanResponseEvent, waiter_event=InputRequiredEvent(work=work)
        )
        await asyncio.sleep(work)
        return StopEvent(result=answer.text)


BOTH = pytest.mark.parametrize("child", [Asking, AskingInStep])


async def answering(handler, after=0):
    """The result of a run whose questions are answered after some seconds."""
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            await asyncio.sleep(after)
            handler.send_event(HumanResponseEvent(text="yes", work=event.work))
    return await handler


@BOTH
async def test_a_child_s_question_is_answered_through_the_parent(child):
    assert await answering(Parent(child()).run()) == "yes"


@BOTH
async def test_a_grandchild_s_question_is_answered_through_all_of_them(child):
    assert await answering(Parent(Parent(child())).run()) == "yes"


@BOTH
@pytest.mark.parametrize("depth", [1, 2])
def test_all_clocks_stand_still_while_a_child_waits_for_a_person(child, depth):
    async def main():
        flow = child(timeout=15)
        for _ in range(depth):
            flow = Parent(flow, timeout=15)
        return await answering(flow.run(work=5), after=1000)

    assert on_a_clock(main) == ("yes", pytest.approx(1010))


@BOTH
def test_the_parent_s_clock_goes_on_when_the_child_has_its_answer(child):
    async def main():
        with pytest.raises(WorkflowTimeoutError, match="Parent did not finish"):
            await answering(Parent(child(), timeout=15).run(work=10), after=1000)

    assert on_a_clock(main)[1] == pytest.approx(1015)


@BOTH
def test_a_step_s_time_limit_stands_still_while_its_child_waits(child):
    class Flow(Parent):
        @step(timeout=15)
        async def outer(self, ctx: Context, ev: StartEvent) -> StopEvent:
            return StopEvent(result=await ctx.run(self.child, work=ev.work))

    async def main(work):
        return await answering(Flow(child(), timeout=None).run(work=work), after=1000)

    assert on_a_clock(lambda: main(5)) == ("yes", pytest.approx(1010))
    with pytest.raises(StepTimeoutError):
        on_a_clock(lambda: main(10))


@BOTH
async def test_the_parent_says_that_it_waits(child):
    handler = Parent(child()).run()
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            while handler.status != "waiting":
                await asyncio.sleep(0)
            handler.send_event(HumanResponseEvent(text="yes"))
    assert await handler == "yes"


@BOTH
async def test_a_step_whose_child_waits_leaves_its_worker_to_others(child):
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(3)]

        @step(num_workers=1)
        async def outer(self, ctx: Context, ev: Item) -> StopEvent | None:
            asked.append(ev.n)
            return StopEvent(result=await ctx.run(child(), who=ev.n))

    asked = []
    handler = Flow().run()
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent) and len(asked) == 3:
            handler.send_event(HumanResponseEvent(text="yes"))
    assert await handler == "yes"
    assert asked == [0, 1, 2]
    assert not only_ours()


def test_while_one_of_two_children_works_the_clock_goes_on():
    class Working(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            await asyncio.sleep(100)

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            both = ctx.run(Asking()), ctx.run(Working(timeout=None))
            await asyncio.gather(*both)

    async def main():
        with pytest.raises(WorkflowTimeoutError, match="Flow did not finish"):
            await Flow(timeout=20).run()

    assert on_a_clock(main)[1] == pytest.approx(20)


def test_a_child_that_waits_for_ever_is_waited_for_and_can_be_cancelled():
    async def main():
        handler = Parent(Asking(timeout=5), timeout=5).run()
        await asyncio.sleep(1000)
        assert handler.status == "waiting"
        await handler.cancel_run()
        with pytest.raises(WorkflowCancelledByUser, match=r"cancel_run\(\)"):
            await handler

    on_a_clock(main)


async def test_an_event_that_both_take_goes_to_both():
    class Listening(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> InputRequiredEvent:
            return InputRequiredEvent()

        @step
        async def end(self, ctx: Context, ev: HumanResponseEvent) -> StopEvent:
            return StopEvent(result=f"child got {ev.text}")

    class Flow(Parent):
        @step
        async def outer(self, ctx: Context, ev: StartEvent) -> Note:
            return Note(text=await ctx.run(self.child))

        @step
        async def listen(self, ev: HumanResponseEvent) -> Note:
            return Note(text=f"parent got {ev.text}")

        @step
        async def both(self, ctx: Context, ev: Note) -> StopEvent | None:
            notes = ctx.collect_events(ev, [Note] * 2)
            return StopEvent(result=sorted(n.text for n in notes)) if notes else None

    handler = Flow(Listening()).run()
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            handler.send_event(HumanResponseEvent(text="x"))
    assert await handler == ["child got x", "parent got x"]


async def test_what_neither_takes_is_refused():
    handler = Parent(Asking()).run()
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            with pytest.raises(WorkflowRuntimeError, match="no step of Parent accepts"):
                handler.send_event(Note(text="x"))
            handler.send_event(HumanResponseEvent(text="yes"))
    assert await handler == "yes"


async def test_an_answer_that_comes_before_the_child_waits_for_it_is_kept():
    class Child(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.write_event_to_stream(InputRequiredEvent())
            await answered.wait()
            answer = await ctx.wait_for_event(HumanResponseEvent)
            return StopEvent(result=answer.text)

    answered = asyncio.Event()
    handler = Parent(Child()).run()
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            handler.send_event(HumanResponseEvent(text="early"))
            answered.set()
    assert await handler == "early"


async def test_an_answer_may_come_from_another_thread():
    handler = Parent(AskingInStep()).run()
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            answer = HumanResponseEvent(text="yes")
            thread = threading.Thread(target=handler.send_event, args=(answer,))
            thread.start()
            thread.join()
    assert await handler == "yes"


# -- the end ------------------------------------------------------------------------


class Endless(Workflow):
    """Notes in `ended` when its step is stopped."""

    def __init__(self, **options):
        super().__init__(timeout=None, **options)
        self.ended = []
        self.started = asyncio.Event()

    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.append(True)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("end", ["cancelled", "timed out", "failed", "stopped"])
def test_a_child_ends_with_its_parent(end, depth):
    child = flow = Endless()
    for _ in range(depth - 1):
        flow = Parent(flow, timeout=None)

    class Flow(Parent):
        @step
        async def beside(self, ev: StartEvent) -> StopEvent | None:
            await asyncio.sleep(1)
            if end == "failed":
                raise OSError
            return StopEvent() if end == "stopped" else None

    async def main():
        handler = Flow(flow, timeout=10).run()
        await asyncio.sleep(0.5)
        if end == "cancelled":
            await handler.cancel_run()
        with contextlib.suppress(
            OSError, WorkflowTimeoutError, WorkflowCancelledByUser
        ):
            await handler
        assert handler.status == ("done" if end == "stopped" else end)
        assert child.ended == [True]
        assert not only_ours()

    on_a_clock(main)


async def test_a_child_ends_when_its_step_is_cancelled():
    child = Endless()

    class Flow(Parent):
        @step
        async def beside(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await child.started.wait()
            ctx.cancel_step("outer")
            while "outer" in await ctx.running_steps():
                await asyncio.sleep(0)
            return StopEvent(result=list(child.ended))

    assert await Flow(child).run() == [True]
    assert not only_ours()


@BOTH
async def test_a_child_that_waits_ends_when_its_step_is_cancelled(child):
    class Flow(Parent):
        @step
        async def beside(self, ctx: Context, ev: Item) -> StopEvent:
            ctx.cancel_step("outer")
            while "outer" in await ctx.running_steps():
                await asyncio.sleep(0)
            return StopEvent(result="went on")

    handler = Flow(child(), on_stall="wait").run()
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            while handler.status != "waiting":
                await asyncio.sleep(0)
            handler.send_event(Item())
    assert await handler == "went on"
    assert not only_ours()


def test_a_child_ends_when_its_step_takes_too_long():
    child = Endless()

    class Flow(Parent):
        @step(timeout=5)
        async def outer(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.run(self.child)

    async def main():
        with pytest.raises(StepTimeoutError):
            await Flow(child).run()
        assert child.ended == [True]

    assert on_a_clock(main)[1] == pytest.approx(5)


async def test_a_child_of_a_task_that_was_left_behind_ends_with_the_run():
    child = Endless()

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Item:
            self.left_behind = asyncio.create_task(ctx.run(child))
            return Item()

        @step
        async def end(self, ev: Item) -> StopEvent:
            await child.started.wait()
            return StopEvent(result="done")

    flow = Flow()
    assert await flow.run() == "done"
    with pytest.raises(asyncio.CancelledError):
        await flow.left_behind
    assert child.ended == [True]
    assert not only_ours()


def test_one_child_that_fails_ends_the_other_where_the_step_asks_for_that():
    child = Endless()

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            async with asyncio.TaskGroup() as group:
                group.create_task(ctx.run(child))
                group.create_task(ctx.run(Failing()))

    async def main():
        with pytest.raises(ExceptionGroup):
            await Flow().run()
        assert child.ended == [True]

    on_a_clock(main)


def test_a_child_that_swallows_its_cancellation_cannot_hang_the_parent():
    class Stubborn(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            for _ in range(100):
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(1000)

    async def main():
        handler = Parent(Stubborn(timeout=None)).run()
        await asyncio.sleep(1)
        await handler.cancel_run(timeout=20)
        assert handler.is_done()
        return clock.now

    clock = VirtualClock()
    assert clock.run(main()) < 20


async def test_a_child_that_somebody_else_cancels_raises_that_in_the_step():
    class Child(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            asyncio.current_task().cancel()
            await asyncio.sleep(1)

    with pytest.raises(WorkflowCancelledByUser, match="cancelled itself"):
        await Parent(Child()).run()


async def test_children_of_one_instance_keep_to_its_turns():
    class Child(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            going.append(1)
            most.append(len(going))
            await asyncio.sleep(0)
            going.pop()
            return StopEvent(result=ev.n)

    class Flow(Parent):
        @step
        async def outer(self, ctx: Context, ev: StartEvent) -> StopEvent:
            all_of_them = [ctx.run(self.child, n=n) for n in range(5)]
            return StopEvent(result=await asyncio.gather(*all_of_them))

    going, most = [], []
    assert await Flow(Child(num_concurrent_runs=1)).run() == [0, 1, 2, 3, 4]
    assert max(most) == 1


@BOTH
async def test_a_run_saved_while_its_child_waits_asks_again_when_it_goes_on(child):
    flow = Parent(child())
    handler = flow.run()
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            saved = handler.ctx.to_dict()
            await handler.cancel_run()
    again = flow.run(ctx=Context.from_dict(flow, saved))
    assert await answering(again) == "yes"


async def test_a_run_knows_the_step_that_began_it_until_its_end():
    class Inner(Workflow):
        @step
        async def inner(self, ctx: Context, ev: StartEvent) -> StopEvent:
            parents.append((ctx.parent.run_id, ctx.parent.call_id))
            contexts.append(ctx)
            return StopEvent()

    class Outer(Workflow):
        @step
        async def outer(self, ctx: Context, ev: StartEvent) -> StopEvent:
            await ctx.run(Inner())
            await Inner().run()
            return StopEvent(result=(ctx.run_id, ctx.call_id, ctx.parent))

    parents, contexts = [], []
    run_id, call_id, parent = await Outer().run()
    assert parents == [(run_id, call_id)] * 2
    assert [parent, *(ctx.parent for ctx in contexts)] == [None] * 3
