"""What must hold for all lists, whatever becomes of their items and in what order."""

import asyncio
import json
from collections import Counter
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell import (
    Collect,
    Context,
    Event,
    LocalExecutor,
    MemoryJournal,
    StartEvent,
    StopEvent,
    Take,
    Workflow,
    step,
)
from stepwell.calls import StepCall
from stepwell.commands import Ended, Reply, Resume, WakeAt
from stepwell.errors import WorkflowCancelledByUser
from stepwell.machine import Machine
from stepwell.testing import VirtualClock
from strategies import gathered, listing, tasks

workers = st.integers(1, 4)


def play(tasks, num_workers, journal=None):
    """Run the tasks to the end; gives the workflow, the handler and the result."""

    async def main():
        flow = listing(tasks, num_workers, journal)
        handler = flow.run(run_id="r")
        result = await handler
        assert asyncio.all_tasks() == {asyncio.current_task()}, "a task was left"
        return flow, handler, result

    return VirtualClock().run(main())


def lists(tasks):
    """The lists that the tasks open, with the level of each."""
    yield 0, tasks
    for task in tasks:
        for level, inner in lists(task.inner) if task.inner is not None else ():
            yield level + 1, inner


@settings(max_examples=200, deadline=None)
@given(tasks, workers)
def test_a_list_holds_all_that_its_items_give_in_their_order(tasks, num_workers):
    assert play(tasks, num_workers)[2] == gathered(tasks)


@settings(max_examples=100, deadline=None)
@given(tasks, workers)
def test_each_list_is_gathered_once(tasks, num_workers):
    _, handler, _ = play(tasks, num_workers)
    ran = Counter(call.step for call in handler.record)
    wanted = Counter(f"gather_{level}" for level, _ in lists(tasks))
    assert {s: n for s, n in ran.items() if s.startswith("gather")} == wanted


@settings(max_examples=100, deadline=None)
@given(tasks, workers)
def test_each_item_is_worked_on_once(tasks, num_workers):
    flow, _, _ = play(tasks, num_workers)
    retried = Counter((len(path) - 1, path, None) for path in flow.tried)
    wanted = sum(len(inner) for _, inner in lists(tasks))
    again = sum(task.does == "again" for _, inner in lists(tasks) for task in inner)
    worked = Counter(flow.worked) - retried
    assert set(worked.values()) <= {1}
    assert len(worked) == wanted + again


@settings(max_examples=100, deadline=None)
@given(tasks, workers)
def test_every_call_of_a_list_ends_exactly_once(tasks, num_workers):
    journal = MemoryJournal()
    flow, handler, _ = play(tasks, num_workers, journal)
    told = fold(flow, journal)
    started = {t[1] for t in told if isinstance(t, tuple) and t[0] == "start"}
    rows = [row for row in told if isinstance(row, dict)]
    over = [row["call_id"] for row in rows if row["status"] != "retrying"]
    assert sorted(over) == sorted(started)
    assert all(row["ended"] is not None for row in rows)
    assert {call.status for call in handler.record} <= {"done", "failed", "retrying"}


def fold(flow, journal):
    """Drive a fresh machine with the recorded facts; gives its commands as data."""

    async def facts():
        return [fact async for fact in journal.read("r")]

    machine = Machine(flow.compile())
    told = []
    for fact in asyncio.run(facts()):
        for command in machine.apply(fact):
            told.append(
                {
                    StepCall: lambda c: ("start", c.call_id, c.spec.name, c.event),
                    WakeAt: lambda c: ("wake", c.at),
                    Resume: lambda c: ("resume", c.wait_id, c.event),
                    Reply: lambda c: ("reply", c.events),
                    Ended: lambda c: ("ended", c.status, c.stop),
                }.get(type(command), lambda c: (type(c).__name__,))(command)
            )
    return [*machine.record.to_rows(), *told]


@settings(max_examples=100, deadline=None)
@given(tasks, workers)
def test_replaying_the_facts_of_lists_gives_the_same_commands(tasks, num_workers):
    journal = MemoryJournal()
    flow, handler, result = play(tasks, num_workers, journal)
    told = fold(flow, journal)
    assert told == fold(flow, journal)
    assert told[-1] == ("ended", "done", StopEvent(result=result))
    started = {t[1:3] for t in told if isinstance(t, tuple) and t[0] == "start"}
    assert started == {(call.call_id, call.step) for call in handler.record}


@settings(max_examples=100, deadline=None)
@given(tasks, workers, st.floats(0, 30))
def test_a_run_stopped_and_gone_on_with_gathers_the_same(tasks, num_workers, after):
    # What a call has sent before the stop, it sends again.
    for _, inner in lists(tasks):
        for task in inner:
            task.does = "twice" if task.does == "sent" else task.does

    async def main():
        flow = listing(tasks, num_workers)
        handler = flow.run()
        await asyncio.sleep(after)
        if handler.is_done():
            return await handler
        try:
            await handler.cancel_run()
            return await handler
        except WorkflowCancelledByUser:
            ctx = Context.from_dict(flow, handler.ctx.to_dict())
            return await flow.run(ctx=ctx)

    assert VirtualClock().run(main()) == gathered(tasks)


# -- the first few -------------------------------------------------------------------


class Item(Event):
    n: int


class Out(Event):
    n: int


class Taken(Event):
    ns: list[int]


delays = st.lists(st.integers(0, 5), max_size=8)


@settings(max_examples=100, deadline=None)
@given(delays, st.integers(1, 5), st.integers(1, 4), st.booleans())
def test_take_gives_the_first_that_came_and_once(delays, n, num_workers, cancel):
    done, taken = [], []

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=i) for i in range(len(delays))]

        @step(num_workers=num_workers)
        async def work(self, ev: Item) -> Out | None:
            await asyncio.sleep(delays[ev.n])
            if delays[ev.n] == 5:
                return None
            done.append(ev.n)
            return Out(n=ev.n)

        @step
        async def gather(
            self, outs: Annotated[list[Out], Collect(Take(n), cancel_rest=cancel)]
        ) -> Taken:
            taken.append([out.n for out in outs])
            return Taken(ns=taken[-1])

        @step
        async def end(self, ev: Taken) -> StopEvent:
            await asyncio.sleep(100)
            return StopEvent(result=ev.ns)

    async def main():
        return await Flow(timeout=None).run()

    result = VirtualClock().run(main())
    assert taken == [result] == [done[:n]]
    if cancel and len(done) > n:
        # Only what came in the same instant, before it could be stopped.
        assert {sum(delays[: i + 1]) for i in done[n:]}


# -- a failure, and going on with it by hand -----------------------------------------


class Broken(BaseException):
    """What no step recovers from."""


class Breaks(LocalExecutor):
    """Performs calls, and lets one fail: before its body, or when that is done."""

    def __init__(self):
        self.left, self.after = -1, False

    def perform(self, call, instance, arguments):
        self.left -= 1
        body = super().perform(call, instance, arguments)
        return body if self.left != -1 else self.broken(body)

    async def broken(self, body):
        if self.after:
            await body
        else:
            body.close()
        raise Broken


def resumed_by_hand(flow, handler):
    return handler.resume()


def restored_from_disk(flow, handler):
    data = json.loads(json.dumps(handler.ctx.to_dict(resumable=True)))
    return flow.run(ctx=Context.from_dict(flow, data))


@pytest.mark.parametrize("go_on", [resumed_by_hand, restored_from_disk])
@settings(max_examples=150, deadline=None)
@given(tasks, workers, st.lists(st.tuples(st.integers(0, 40), st.booleans())))
def test_a_run_that_failed_and_was_resumed_gathers_the_same(
    go_on, tasks, num_workers, breaks
):
    # What a call has sent before it failed, it sends again.
    for _, inner in lists(tasks):
        for task in inner:
            task.does = "twice" if task.does == "sent" else task.does

    async def main():
        flow = listing(tasks, num_workers, executor=(executor := Breaks()))
        handler = flow.run()
        for executor.left, executor.after in breaks:
            try:
                return await handler
            except Broken:
                assert handler.is_resumable
                handler = go_on(flow, handler)
        executor.left = -1
        return await handler

    assert VirtualClock().run(main()) == gathered(tasks)
