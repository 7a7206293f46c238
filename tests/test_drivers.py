"""The two ways of turning calls into tasks do the same; the plain one is the oracle."""

import asyncio
import contextvars
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stepwell.cycle
from stepwell import (
    Context,
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowStalledError,
    step,
)
from stepwell.relay import Relay
from stepwell.tasks import Tasks
from strategies import Raised, scripted, scripts, workers

DRIVERS = {"tasks": Tasks, "relay": Relay}
mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="")


def driven_by(driver, main):
    """Run a coroutine whose workflows are driven in one of the ways."""
    before = stepwell.cycle.DRIVER
    stepwell.cycle.DRIVER = driver
    try:
        return asyncio.run(main())
    finally:
        stepwell.cycle.DRIVER = before


@pytest.fixture(params=DRIVERS)
def driver(request):
    before = stepwell.cycle.DRIVER
    stepwell.cycle.DRIVER = DRIVERS[request.param]
    yield DRIVERS[request.param]
    stepwell.cycle.DRIVER = before


def story(driver, script, limits):
    """What happened, in order, where steps never suspend."""
    for move in script:
        move.pauses = 0

    async def main():
        flow = scripted(script, limits, None)
        try:
            outcome = await flow.run()
        except (Raised, WorkflowStalledError) as error:
            outcome = type(error)
        return outcome, flow.log

    return driven_by(driver, main)


@settings(max_examples=150, deadline=None)
@given(scripts, workers)
def test_where_no_step_suspends_all_happens_in_the_same_order(script, limits):
    assert story(Relay, script, limits) == story(Tasks, script, limits)


class Node(Event):
    """A part of a tree of work: what its step does is in the event."""

    name: str
    pauses: int
    how: str
    below: list


def nodes(below):
    return st.fixed_dictionaries(
        {
            "pauses": st.integers(0, 3),
            "how": st.sampled_from(["send", "list", "leave mark", "cancel itself"]),
            "below": below,
        }
    )


trees = st.recursive(
    nodes(st.just([])), lambda tree: nodes(st.lists(tree, max_size=4)), max_leaves=30
)


def named(tree, name="0"):
    below = [named(child, f"{name}.{i}") for i, child in enumerate(tree["below"])]
    return Node(name=name, pauses=tree["pauses"], how=tree["how"], below=below)


def names(node):
    return [node.name, *(name for child in node.below for name in names(child))]


class Work(Workflow):
    """Does all the work of a tree and gives the names of what was done."""

    def __init__(self, limit):
        super().__init__(timeout=None, on_stall="fail")
        self.limit = limit
        self.done = []
        self.running = self.most = 0

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Node:
        return ev.root

    async def _work(self, ctx, ev):
        assert mark.get() == "", "another step's context variable is seen here"
        assert Context.get_step_context()._call.event is ev
        self.running += 1
        self.most = max(self.most, self.running)
        for _ in range(ev.pauses):
            await asyncio.sleep(0)
        if ev.how == "leave mark":
            mark.set(ev.name)
        if ev.how == "cancel itself":
            task = asyncio.current_task()
            task.cancel()
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                task.uncancel()
        assert Context.get_step_context()._call.event is ev
        self.running -= 1
        self.done.append(ev.name)
        if ev.how == "send":
            for child in ev.below:
                ctx.send_event(child)
            return None
        return list(ev.below)

    @step(num_workers=3)
    async def work(self, ctx: Context, ev: Node) -> list[Node] | StopEvent | None:
        return await self._work(ctx, ev)


@settings(max_examples=150, deadline=None)
@given(trees)
def test_all_of_a_tree_of_work_is_done_once_however_it_is_driven(tree):
    root = named(tree)

    async def main():
        flow = Work(3)
        with pytest.raises(WorkflowStalledError):
            await flow.run(root=root)  # it ends when there is nothing left to do
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert flow.most <= 3
        return Counter(flow.done)

    for driver in (Tasks, Relay):
        assert driven_by(driver, main) == Counter(names(root))


async def test_a_step_that_never_ends_keeps_no_other_from_beginning(driver):
    class Stuck(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Node]:
            return [named({"pauses": 0, "how": "send", "below": []})] * 100

        @step(num_workers=200)
        async def work(self, ev: Node) -> StopEvent:
            begun.append(1)
            if len(begun) == 100:
                return StopEvent(result="all began")
            await asyncio.Event().wait()

    begun = []
    assert await Stuck(timeout=None).run() == "all began"


async def test_other_tasks_get_their_turn_beside_steps_that_never_suspend(driver):
    class Busy(Workflow):
        @step
        async def turn(self, ev: StartEvent | Node) -> Node | StopEvent:
            if stop.is_set():
                return StopEvent(result="stopped")
            return Node(name="", pauses=0, how="", below=[])

    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, stop.set)
    assert await Busy(timeout=None).run() == "stopped"


async def test_a_step_may_cancel_a_task_group_of_its_own(driver):
    class Group(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Node:
            with pytest.raises(ExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    group.create_task(asyncio.Event().wait())
                    group.create_task(self.fail())
            return named({"pauses": 0, "how": "send", "below": []})

        async def fail(self):
            raise ValueError("one of the group")

        @step
        async def end(self, ev: Node) -> StopEvent:
            assert asyncio.current_task().cancelling() == 0
            return StopEvent(result="went on")

    assert await Group().run() == "went on"


async def test_time_limits_hold_inside_steps_and_end_with_them(driver):
    class Limited(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Node:
            async with asyncio.timeout(0.001):
                pass
            return named({"pauses": 0, "how": "send", "below": []})

        @step
        async def end(self, ev: Node) -> StopEvent:
            await asyncio.sleep(0.005)  # past the limit of the step before
            return StopEvent(result="unharmed")

    assert await Limited().run() == "unharmed"
