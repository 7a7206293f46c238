"""A run taken down as data, and gone on with: `Context.to_dict` and `from_dict`."""

import asyncio
import json
import subprocess
import sys
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resuming import (
    Consent,
    Counting,
    Done,
    Gates,
    Group,
    GroupDone,
    Item,
    Other,
    Shape,
    TypedCounting,
    Working,
    copied,
    going_on,
    left_by,
)
from stepwell import (
    Context,
    DictState,
    JsonSerializer,
    MemoryJournal,
    PickleSerializer,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)
from stepwell.calls import StepCall
from stepwell.commands import Ended
from stepwell.errors import (
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    WorkflowStalledError,
    WorkflowTimeoutError,
)
from stepwell.journals.base import RunStarted
from stepwell.machine import Machine
from stepwell.retry import ConstantDelayRetryPolicy
from stepwell.snapshots import dump
from stepwell.testing import VirtualClock

# -- the layout -----------------------------------------------------------------


async def test_free_form_state_is_a_json_text_for_each_value():
    handler = Counting().run()
    await handler
    data = copied(handler.ctx.to_dict())
    assert data["is_running"] is False
    assert data["state"]["state_data"] == {"_data": {"n": "1", "tags": '["a", 1]'}}


async def test_typed_state_is_one_text_with_the_name_of_its_class():
    handler = TypedCounting().run()
    await handler
    data = copied(handler.ctx.to_dict())
    assert json.loads(data["state"]["state_data"]) == {
        "__is_pydantic": True,
        "value": {"n": 1, "tags": []},
        "qualified_name": f"{Shape.__module__}.Shape",
    }
    assert data["state"]["state_type"] == "Shape"


async def test_a_context_is_saved_before_its_first_run():
    flow = Counting()
    ctx = Context(flow)
    await ctx.store.set("n", 5)
    data = copied(ctx.to_dict())
    assert data["is_running"] is False
    assert await going_on(flow, data) == 6


async def test_after_its_end_a_run_leaves_state_for_a_fresh_one():
    flow = TypedCounting()
    first = flow.run()
    assert await first == 1
    assert await going_on(flow, first.ctx.to_dict()) == 2


async def test_state_may_be_left_out_and_is_fresh_then():
    flow = Counting()
    handler = flow.run()
    await handler
    data = copied(handler.ctx.to_dict(include_state=False))
    assert data["state"] == {}
    assert await going_on(flow, data) == 1


async def test_the_serializer_of_a_context_writes_and_reads_it():
    flow = Counting()
    ctx = Context(flow, serializer=PickleSerializer())
    await ctx.store.set("n", 1)
    await ctx.store.set("what", object)
    data = copied(ctx.to_dict())
    again = Context.from_dict(flow, data, serializer=PickleSerializer())
    assert await again.store.get("what") is object


async def test_the_serializer_of_a_workflow_is_the_default():
    flow = Counting(serializer=PickleSerializer())
    ctx = Context(flow)
    await ctx.store.set("what", object)
    again = Context.from_dict(flow, copied(ctx.to_dict()))
    assert await again.store.get("what") is object


# -- steps at work --------------------------------------------------------------


async def test_a_step_at_work_begins_again_and_queued_ones_run_once():
    gates = Gates()
    handler = Working(gates).run(topic="cats")
    await gates.came(0)
    data = await left_by(handler)
    assert data["is_running"] is True
    assert len(data["workers"]["work"]["in_progress"]) == 1
    assert len(data["workers"]["work"]["queue"]) == 2

    again = Gates()
    again.open()
    flow = Working(again)
    assert await going_on(flow, data) == ["cats", 0, 1, 2]
    assert again.seen == [0, 1, 2]
    assert flow.begun == 0


async def test_a_restored_context_is_going_on_until_it_is_run():
    gates = Gates()
    handler = Working(gates).run(topic="cats")
    await gates.came(0)
    data = await left_by(handler)
    flow = Working(Gates())
    ctx = Context.from_dict(flow, data)
    assert ctx.is_running
    assert copied(ctx.to_dict()) == data


async def test_a_run_that_goes_on_may_be_given_a_name():
    gates = Gates()
    handler = Working(gates).run(topic="cats")
    await gates.came(0)
    data = await left_by(handler)
    handler = going_on(Working(gates), data, run_id="the second")
    assert handler.run_id == "the second"
    gates.open()
    await handler


async def test_a_run_is_taken_down_again_and_again():
    gates = Gates()
    handler = Working(gates).run(topic="cats")
    await gates.came(0)
    for n in (1, 2):
        data = await left_by(handler)
        gates = Gates(n - 1)
        handler = going_on(Working(gates), data)
        await gates.came(n)
    gates.open()
    assert await handler == ["cats", 0, 1, 2]
    assert gates.seen == [1, 2]


async def test_the_same_data_may_be_gone_on_with_twice():
    gates = Gates()
    handler = Working(gates).run(topic="cats")
    await gates.came(0)
    data = await left_by(handler)
    gates.open()
    for _ in range(2):
        assert await going_on(Working(gates), data) == ["cats", 0, 1, 2]


async def test_a_run_goes_on_beside_the_one_it_was_taken_from():
    gates = Gates()
    first = Working(gates).run(topic="cats")
    await gates.came(0)
    second = going_on(Working(gates), copied(first.ctx.to_dict()))
    gates.open()
    assert await first == await second == ["cats", 0, 1, 2]


async def test_a_start_event_for_a_run_that_goes_on_is_refused():
    gates = Gates()
    handler = Working(gates).run(topic="cats")
    await gates.came(0)
    data = await left_by(handler)
    flow = Working(gates)
    ctx = Context.from_dict(flow, data)
    for wrong in ({"topic": "dogs"}, {"start_event": StartEvent(topic="dogs")}):
        with pytest.raises(
            WorkflowRuntimeError, match=r"(?s)goes on with.*run\(ctx=ctx\)"
        ):
            flow.run(ctx=ctx, **wrong)
    gates.open()
    assert await flow.run(ctx=ctx) == ["cats", 0, 1, 2]


async def test_after_a_run_that_went_on_the_next_one_is_fresh_with_its_state():
    gates = Gates()
    handler = Working(gates).run(topic="cats")
    await gates.came(0)
    data = await left_by(handler)
    gates.open()
    flow = Working(gates)
    handler = going_on(flow, data)
    await handler
    await handler.ctx.store.set("kept", 1)
    assert handler.ctx.to_dict()["is_running"] is False
    later = flow.run(ctx=handler.ctx, topic="dogs")
    assert await later == ["dogs", 0, 1, 2]
    assert await later.ctx.store.get("kept") == 1


def test_a_run_goes_on_on_another_event_loop():
    async def first():
        gates = Gates()
        handler = Working(gates).run(topic="cats")
        await gates.came(0)
        return await left_by(handler)

    async def second(data):
        gates = Gates()
        gates.open()
        return await going_on(Working(gates), data)

    assert asyncio.run(second(asyncio.run(first()))) == ["cats", 0, 1, 2]


async def test_a_context_of_a_run_is_saved_from_a_thread():
    gates = Gates()
    handler = Working(gates).run(topic="cats")
    await gates.came(0)
    data = copied(await asyncio.to_thread(handler.ctx.to_dict))
    assert [len(data["workers"]["work"][k]) for k in ("in_progress", "queue")] == [1, 2]
    gates.open()
    await handler


async def test_a_step_may_save_its_own_run():
    class Flow(Workflow):
        @step
        def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            return StopEvent(result=ctx.to_dict())

    data = copied(await Flow().run())
    assert len(data["workers"]["begin"]["in_progress"]) == 1


async def test_a_run_that_waits_for_its_turn_is_saved_with_its_start_event():
    gates = Gates()
    flow = Working(gates, num_concurrent_runs=1)
    first = flow.run(topic="cats")
    second = flow.run(topic="dogs")
    assert second.status == "queued"
    data = await left_by(second)
    gates.open()
    await first
    assert await going_on(flow, data) == ["dogs", 0, 1, 2]


# -- how a run ends -------------------------------------------------------------


async def test_the_context_of_a_cancelled_run_itself_starts_a_fresh_one():
    gates = Gates()
    flow = Working(gates)
    handler = flow.run(topic="cats")
    await gates.came(0)
    await handler.cancel_run()
    assert not handler.ctx.is_running
    gates.open()
    assert await flow.run(ctx=handler.ctx, topic="dogs") == ["dogs", 0, 1, 2]


async def test_a_cancelled_run_goes_on():
    gates = Gates()
    handler = Working(gates).run(topic="cats")
    await gates.came(0)
    await handler.cancel_run()
    data = copied(handler.ctx.to_dict())
    assert data["is_running"] is True
    gates.open()
    assert await going_on(Working(gates), data) == ["cats", 0, 1, 2]


def test_a_run_whose_event_loop_was_closed_goes_on():
    gates = None

    async def main():
        nonlocal gates
        gates = Gates()
        handler = Working(gates).run(topic="cats")
        await gates.came(0)
        return handler

    async def second(data):
        gates = Gates()
        gates.open()
        return await going_on(Working(gates), data)

    handler = asyncio.run(main())
    with pytest.raises(WorkflowCancelledByUser):
        handler.result()
    data = copied(handler.ctx.to_dict())
    assert asyncio.run(second(data)) == ["cats", 0, 1, 2]


class Failing(Workflow):
    """Counts its runs, and fails the first time."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Item:
        n = await ctx.store.get("n", 0) + 1
        await ctx.store.set("n", n)
        return Item(n=n, strange=object())

    @step
    async def end(self, ev: Item) -> StopEvent:
        if ev.n == 1:
            raise KeyError("first")
        return StopEvent(result=ev.n)


async def test_after_a_failure_a_new_run_starts_with_the_state_that_was():
    flow = Failing()
    handler = flow.run()
    with pytest.raises(KeyError):
        await handler
    data = copied(handler.ctx.to_dict())
    assert data["is_running"] is False
    assert await going_on(flow, data) == 2


def test_after_a_timeout_a_new_run_starts_with_the_state_that_was():
    class Slow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            n = await ctx.store.get("n", 0) + 1
            await ctx.store.set("n", n)
            await asyncio.sleep(100 if n == 1 else 1)
            return StopEvent(result=n)

    async def main():
        flow = Slow(timeout=10)
        handler = flow.run()
        with pytest.raises(WorkflowTimeoutError):
            await handler
        data = copied(handler.ctx.to_dict())
        assert data["is_running"] is False
        return await going_on(flow, data)

    assert VirtualClock().run(main()) == 2


async def test_after_a_stall_a_new_run_starts_with_the_state_that_was():
    class Stalling(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent | None:
            n = await ctx.store.get("n", 0) + 1
            await ctx.store.set("n", n)
            return StopEvent(result=n) if n > 1 else None

    flow = Stalling()
    handler = flow.run()
    with pytest.raises(WorkflowStalledError):
        await handler
    data = copied(handler.ctx.to_dict())
    assert data["is_running"] is False
    assert await going_on(flow, data) == 2


# -- a process of its own -------------------------------------------------------


ASKING = """
    import asyncio, json, sys
    from stepwell import *

    def flow():
        class Order(Event):
            dish: str

        class Served(Event):
            dish: str

        class Reply(HumanResponseEvent):
            text: str

        class Dinner(Workflow):
            @step
            async def begin(self, ctx: Context, ev: StartEvent) -> list[Order]:
                await ctx.store.set("guest", ev.guest)
                return [Order(dish=dish) for dish in ("soup", "tea")]

            @step(num_workers=1)
            async def serve(self, ctx: Context, ev: Order) -> Served:
                if ev.dish == "tea":
                    await ctx.wait_for_event(Reply)
                return Served(dish=ev.dish)

            @step
            async def end(self, ctx: Context, all: list[Served]) -> StopEvent:
                guest = await ctx.store.get("guest")
                return StopEvent(result=[guest, *(each.dish for each in all)])

        return Dinner(), Reply

    async def first():
        handler = flow()[0].run(guest="Ada")
        async for event in handler.stream_events(expose_internal=True):
            if isinstance(event, WorkflowIdleEvent):
                break
        print(json.dumps(handler.ctx.to_dict()))

    async def second(data):
        dinner, Reply = flow()
        handler = dinner.run(ctx=Context.from_dict(dinner, data))
        handler.send_event(Reply(text="now"))
        print(json.dumps(await handler))
"""
MAIN = """
    data = sys.stdin.read()
    asyncio.run(second(json.loads(data)) if data else first())
"""


def printed_by(arguments, data=""):
    """What a fresh Python prints when it is given the data."""
    done = subprocess.run(
        [sys.executable, *arguments],
        input=data,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_fresh_process_goes_on_with_events_defined_in_a_function(tmp_path):
    script = tmp_path / "dinner.py"
    script.write_text(textwrap.dedent(ASKING) + textwrap.dedent(MAIN))
    data = printed_by([script])
    assert "flow.<locals>.Order" in data
    assert json.loads(printed_by([script], data)) == ["Ada", "soup", "tea"]


def test_a_fresh_process_goes_on_with_what_a_module_defines(tmp_path):
    (tmp_path / "shop.py").write_text(textwrap.dedent(ASKING))
    script = tmp_path / "main.py"
    script.write_text("import sys\nfrom shop import *\n" + textwrap.dedent(MAIN))
    data = printed_by([script])
    assert "shop.flow.<locals>.Order" in data
    assert json.loads(printed_by([script], data)) == ["Ada", "soup", "tea"]


# -- any moment -----------------------------------------------------------------


class Tree(Workflow):
    """Lists in lists, pairs that meet, retries and a join; one outcome, always.

    What each item does is said by the plan in its start event. `pauses` are awaited
    before and after everything, so that a run can be left anywhere.
    """

    def __init__(self, plan):
        super().__init__(timeout=None)
        self.plan = plan

    async def pause(self, n):
        for _ in range(self.plan[n % len(self.plan)]):
            await asyncio.sleep(1)

    @step
    async def begin(self, ev: StartEvent) -> list[Group]:
        await self.pause(0)
        return [Group(n=n) for n in range(ev.groups)]

    @step(num_workers=2)
    async def open_group(self, ev: Group) -> list[Item]:
        await self.pause(ev.n)
        return [Item(n=10 * ev.n + i) for i in range(3)]

    @step(
        num_workers=2,
        retry_policy=ConstantDelayRetryPolicy(maximum_attempts=2, delay=3),
    )
    async def work(self, ctx: Context, ev: Item) -> Done:
        await self.pause(ev.n)
        if self.plan[ev.n % len(self.plan)] == 2 and not ctx.retry_info().retry_number:
            raise KeyError(ev.n)
        return Done(n=ev.n)

    @step
    async def aside(self, ev: Item) -> Other:
        await self.pause(ev.n + 1)
        return Other(n=ev.n)

    @step(num_workers=2)
    async def both(self, done: Done, other: Other) -> Consent:
        await self.pause(done.n)
        return Consent(yes=done.n == other.n, about=done.n)

    @step
    async def close_group(self, found: list[Consent]) -> GroupDone:
        await self.pause(len(found))
        return GroupDone(items=[f"{each.about}{each.yes}" for each in found])

    @step
    async def collect(self, ctx: Context, ev: GroupDone) -> StopEvent | None:
        await self.pause(len(ev.items))
        found = ctx.collect_events(ev, [GroupDone] * await ctx.store.get("groups"))
        await self.pause(2)
        if found is None:
            return None
        return StopEvent(result=[group.items for group in found])


@settings(max_examples=60, deadline=None)
@given(
    plan=st.lists(st.integers(0, 2), min_size=1, max_size=7),
    groups=st.integers(1, 3),
    left_at=st.lists(st.integers(0, 8), max_size=6),
)
def test_a_run_that_is_left_anywhere_any_number_of_times_has_the_same_outcome(
    plan, groups, left_at
):
    async def main():
        flow = Tree(plan)
        ctx = Context(flow)
        await ctx.store.set("groups", groups)
        handler = flow.run(ctx=ctx, groups=groups)
        for seconds in left_at:
            await asyncio.sleep(seconds + 0.5)
            if handler.is_done():
                break
            data = copied(handler.ctx.to_dict())
            assert copied(Context.from_dict(Tree(plan), data).to_dict()) == data
            await handler.cancel_run()
            handler = going_on(Tree(plan), data)
        return await handler

    expected = [[f"{10 * n + i}True" for i in range(3)] for n in range(groups)]
    assert VirtualClock().run(main()) == expected


# -- a journal ------------------------------------------------------------------


def fold(plan, facts):
    """Drive a fresh machine with the facts; gives its commands as data."""
    machine, told = Machine(plan), []
    for fact in facts:
        for command in machine.apply(fact):
            if isinstance(command, StepCall):
                told.append((command.call_id, command.spec.name, command.attempt))
            elif isinstance(command, Ended):
                told.append((command.status, command.stop))
    return told


def test_the_journal_of_a_run_that_went_on_folds_to_the_same_commands_each_time():
    async def main():
        flow, journal = Tree([1, 2]), MemoryJournal()
        ctx = Context(flow)
        await ctx.store.set("groups", 2)
        handler = flow.run(ctx=ctx, groups=2)
        await asyncio.sleep(4.5)
        data = await left_by(handler)
        flow = Tree([1, 2])
        flow._Workflow__journal = journal
        handler = going_on(flow, data, run_id="r")
        result = await handler
        facts = [fact async for fact in journal.read("r")]
        assert isinstance(facts[0], RunStarted) and facts[0].event is None
        told = fold(flow.compile(), facts)
        assert told == fold(flow.compile(), facts)
        assert told[-1] == ("done", StopEvent(result=result))
        started = told[:-1]
        live = [(row.call_id, row.step, row.attempt) for row in handler.record]
        assert sorted(started) == sorted(live)

    VirtualClock().run(main())


def test_what_is_left_is_not_changed_by_the_run_that_goes_on_with_it():
    async def main():
        flow = Tree([1, 2])
        ctx = Context(flow)
        await ctx.store.set("groups", 2)
        handler = flow.run(ctx=ctx, groups=2)
        await asyncio.sleep(4.5)
        ctx = Context.from_dict(flow, await left_by(handler))
        left = ctx.take_left(flow.compile())
        before = dump(DictState(), left, JsonSerializer())
        await flow.run(ctx=ctx)
        assert dump(DictState(), left, JsonSerializer()) == before

    VirtualClock().run(main())


async def test_a_list_that_a_step_was_given_is_not_changed_for_the_next_one():
    class Emptying(Workflow):
        def __init__(self, gates):
            super().__init__()
            self.gates = gates

        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(3)]

        @step
        async def end(self, items: list[Item]) -> StopEvent:
            found = [items.pop().n for _ in range(len(items))]
            await self.gates.stop("end")
            return StopEvent(result=found)

    gates = Gates()
    handler = Emptying(gates).run()
    await gates.came("end")
    data = await left_by(handler)
    gates.open()
    assert await going_on(Emptying(gates), data) == [2, 1, 0]
