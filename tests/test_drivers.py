"""The two ways of turning calls into tasks do the same; the plain one is the oracle."""

import asyncio
import contextvars
import time
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
from stepwell.testing import VirtualClock
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


# -- several runs at once -------------------------------------------------------


started_by: contextvars.ContextVar[int] = contextvars.ContextVar("started_by")


class Owned(Work):
    """Work that looks whether it sees the variables of whoever started its run."""

    def __init__(self, owner):
        super().__init__(3)
        self.owner = owner

    async def _work(self, ctx, ev):
        assert started_by.get() == self.owner
        result = await super()._work(ctx, ev)
        assert started_by.get() == self.owner
        return result


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(trees, st.integers(0, 2)), min_size=2, max_size=6))
def test_runs_at_once_do_not_meet_whoever_started_them(works):
    async def main():
        flows = []

        async def start(tree, owner):
            started_by.set(owner)
            flow = Owned(owner)
            flows.append((flow, named(tree)))
            with pytest.raises(WorkflowStalledError):
                await flow.run(root=flows[-1][1])

        await asyncio.gather(*(start(tree, owner) for tree, owner in works))
        assert asyncio.all_tasks() == {asyncio.current_task()}
        for flow, root in flows:
            assert Counter(flow.done) == Counter(names(root))
            assert flow.most <= 3

    for driver in (Tasks, Relay):
        driven_by(driver, main)


class Item(Event):
    n: int


class Many(Workflow):
    """Items that wait for a gate, or fail, or end the run, by their number."""

    def __init__(self, gate):
        super().__init__(timeout=None)
        self.gate = gate
        self.begun = []
        self.stopped = 0

    @step
    async def begin(self, ev: StartEvent) -> list[Item]:
        return [Item(n=n) for n in ev.numbers]

    @step(num_workers=100)
    async def work(self, ev: Item) -> StopEvent | None:
        self.begun.append(ev.n)
        if ev.n == 0:
            return StopEvent(result="ended early")
        if ev.n < 0:
            raise ValueError("failed")
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        return StopEvent(result="went on")


async def test_a_run_that_ends_takes_its_own_calls_along_and_no_others(driver):
    gate = asyncio.Event()
    waiting = [Many(gate) for _ in range(3)]
    handlers = [flow.run(numbers=[1, 2, 3]) for flow in waiting]
    ending, failing, cancelled = Many(gate), Many(gate), Many(gate)
    assert await ending.run(numbers=[5, 0, 6, 7]) == "ended early"
    with pytest.raises(ValueError, match="failed"):
        await failing.run(numbers=[5, -1, 6, 7])
    handler = cancelled.run(numbers=[5, 6])
    while len(cancelled.begun) < 2:
        await asyncio.sleep(0)
    await handler.cancel_run()
    assert ending.stopped == len([n for n in ending.begun if n > 0])
    assert failing.stopped == len([n for n in failing.begun if n > 0])
    assert cancelled.stopped == 2
    assert [flow.stopped for flow in waiting] == [0, 0, 0]
    assert not any(other.is_done() for other in handlers)
    gate.set()
    assert [await other for other in handlers] == ["went on"] * 3
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_thousand_runs_that_do_not_suspend_need_few_tasks():
    class Short(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Item:
            seen.add(asyncio.current_task())
            return Item(n=ev.n)

        @step
        async def end(self, ev: Item) -> StopEvent:
            seen.add(asyncio.current_task())
            return StopEvent(result=ev.n)

    seen = set()
    flow = Short()
    assert await asyncio.gather(*(flow.run(n=n) for n in range(1000))) == list(
        range(1000)
    )
    assert len(seen) < 10


async def test_a_variable_that_cannot_be_compared_breaks_no_run(driver):
    class Incomparable:
        def __eq__(self, other):
            raise ValueError("the truth value of this is ambiguous")

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Item:
            odd.set(Incomparable())
            return Item(n=1)

        @step
        async def end(self, ev: Item) -> StopEvent:
            return StopEvent(result=odd.get(None))

    odd = contextvars.ContextVar("odd")
    here = Incomparable()
    odd.set(here)
    assert await Flow().run() is here
    first, second = await asyncio.gather(Flow().run(), Flow().run())
    assert first is here and second is here


async def test_a_task_cancelled_before_it_began_holds_nobody_up():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result="ran")

    before = asyncio.all_tasks()
    handler = Flow().run()
    for task in asyncio.all_tasks() - before:
        task.cancel()  # as a careless clean-up does
    assert await handler == "ran"


async def test_runs_started_with_equal_variables_do_not_share_them(driver):
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Item:
            await asyncio.sleep(0)
            seen.get().append(ev.who)
            return Item(n=1)

        @step
        async def end(self, ev: Item) -> StopEvent:
            return StopEvent(result=list(seen.get()))

    async def request(who):
        seen.set([])  # as empty as those of the others, and its own
        result = await Flow().run(who=who)
        return result, seen.get()

    seen = contextvars.ContextVar("seen")
    got = await asyncio.gather(*(request(who) for who in "abc"))
    assert got == [([who], [who]) for who in "abc"]


async def test_a_variable_set_to_an_equal_value_is_not_left_to_other_steps(driver):
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            if ev.fresh:
                notes.set({})
            notes.get()[ev.who] = True
            return StopEvent()

    notes = contextvars.ContextVar("notes")
    notes.set({})
    await asyncio.gather(
        Flow().run(who="a", fresh=True), Flow().run(who="b", fresh=False)
    )
    assert notes.get() == {"b": True}


def test_a_run_that_ended_in_time_is_not_late_because_of_others(driver):
    class Quick(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result="in time")

    class Busy(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            clock.now += 1.0
            until = time.perf_counter() + 0.002  # long enough to be made to give way
            while time.perf_counter() < until:
                pass
            return StopEvent()

    async def main():
        quick = Quick(timeout=3).run()
        busy = [Busy(timeout=None).run() for _ in range(20)]
        assert await quick == "in time"
        await asyncio.gather(*busy)

    clock = VirtualClock()
    clock.run(main())


async def test_a_retry_policy_is_asked_in_the_context_of_its_own_call(driver):
    class Asked:
        def next(self, elapsed, attempts, error):
            ctx = Context.get_step_context()
            asked.append((str(error), ctx._call.event.who))
            return None

    class Flow(Workflow):
        @step(retry_policy=Asked())
        async def begin(self, ev: StartEvent) -> StopEvent:
            if ev.who == "b":
                raise ValueError("b")
            return StopEvent()

    asked = []
    runs = [Flow().run(who=who) for who in "abc"]
    await asyncio.gather(*runs, return_exceptions=True)
    if driver is Relay:  # a task has none of the step's variables when it has ended
        assert asked == [("b", "b")]
