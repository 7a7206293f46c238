"""`Collect`: how many events of a list a step waits for, and how that is written."""

import asyncio
from typing import Annotated

import pytest

from stepwell import (
    All,
    Collect,
    Context,
    Event,
    HumanResponseEvent,
    StartEvent,
    StopEvent,
    Take,
    Workflow,
    retry_policy,
    step,
    stop_after_attempt,
    wait_fixed,
)
from stepwell.errors import WorkflowValidationError
from stepwell.testing import VirtualClock

TWICE = retry_policy(stop=stop_after_attempt(2), wait=wait_fixed(5))


class Item(Event):
    n: int


class Out(Event):
    n: int


class Other(Event):
    n: int


class Inner(Event):
    n: int


class Sum(Event):
    ns: list[int]


class Go(HumanResponseEvent):
    n: int


def play(workflow: Workflow, **fields):
    """Run to the end on a virtual clock."""
    return VirtualClock().run(_awaited(workflow, **fields))


async def _awaited(workflow, **fields):
    return await workflow.run(**fields)


def numbers(events) -> list[int]:
    return [event.n for event in events]


class Numbered(Workflow):
    """Opens a list of `count` items; subclasses say what becomes of them."""

    @step
    async def begin(self, ev: StartEvent) -> list[Item]:
        return [Item(n=n) for n in range(ev.get("count", 4))]


# -- the first few of a list -------------------------------------------------------


class First(Numbered):
    """Takes the first two of four; item n takes 10 - n seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[int] = []
        self.got: list[list[int]] = []

    @step
    async def work(self, ev: Item) -> Out:
        await asyncio.sleep(10 - ev.n)
        self.done.append(ev.n)
        return Out(n=ev.n)

    @step
    async def gather(self, events: Annotated[list[Out], Collect(Take(2))]) -> Sum:
        self.got.append(numbers(events))
        return Sum(ns=numbers(events))

    @step
    async def end(self, ev: Sum) -> StopEvent:
        await asyncio.sleep(20)
        return StopEvent(result=ev.ns)


def test_take_gives_the_first_that_came_in_the_order_they_came():
    assert play(First()) == [3, 2]


def test_take_does_not_wait_for_the_rest():
    clock = VirtualClock()
    clock.run(_awaited(First()))
    assert clock.now == 8 + 20


def test_what_comes_after_take_is_worked_on_and_ignored():
    flow = First()
    play(flow)
    assert flow.done == [3, 2, 1, 0]
    assert flow.got == [[3, 2]]


def test_take_gives_fewer_at_the_end_where_fewer_came():
    flow = First()
    assert play(flow, count=1) == [0]
    assert flow.got == [[0]]


def test_take_of_an_empty_list_gives_an_empty_list():
    assert play(First(), count=0) == []


def test_take_of_events_in_no_list_starts_with_each_few_that_have_come():
    got = []

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Item | None:
            for n in range(5):
                ctx.send_event(Item(n=n))
                await asyncio.sleep(1)

        @step
        async def gather(
            self, events: Annotated[list[Item], Collect(Take(2))]
        ) -> StopEvent | None:
            got.append(numbers(events))
            return StopEvent() if len(events) < 2 else None

    play(Flow())
    assert got == [[0, 1], [2, 3], [4]]


class CancelRest(First):
    @step
    async def gather(
        self, events: Annotated[list[Out], Collect(Take(2), cancel_rest=True)]
    ) -> Sum:
        self.got.append(numbers(events))
        return Sum(ns=numbers(events))


def test_cancel_rest_stops_the_work_that_is_still_going_on():
    flow = CancelRest()
    assert play(flow) == [3, 2]
    assert flow.done == [3, 2]


def test_cancel_rest_lets_queued_items_never_begin():
    class Flow(CancelRest):
        @step(num_workers=1)
        async def work(self, ev: Item) -> Out:
            self.done.append(ev.n)
            return Out(n=ev.n)

    flow = Flow()
    assert play(flow) == [0, 1]
    assert flow.done == [0, 1]


def test_cancel_rest_ends_what_waits_to_be_retried():
    class Flow(CancelRest):
        @step(retry_policy=TWICE)
        async def work(self, ev: Item) -> Out:
            self.done.append(ev.n)
            if ev.n == 0:
                raise OSError
            await asyncio.sleep(1)
            return Out(n=ev.n)

    flow = Flow()
    play(flow)
    assert flow.done.count(0) == 1


def test_cancel_rest_ends_what_waits_for_an_event():
    class Flow(CancelRest):
        @step
        async def work(self, ctx: Context, ev: Item) -> Out:
            if ev.n == 0:
                await ctx.wait_for_event(Go)
            self.done.append(ev.n)
            return Out(n=ev.n)

    flow = Flow()
    assert play(flow) == [1, 2]
    assert 0 not in flow.done


def test_cancel_rest_starts_nothing_from_the_lists_inside():
    class Flow(Workflow):
        inner: list[list[int]]

        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(3)]

        @step
        async def split(self, ev: Item) -> list[Inner]:
            return [Inner(n=10 * ev.n + i) for i in range(2)]

        @step(num_workers=6)
        async def work(self, ev: Inner) -> Other:
            await asyncio.sleep(ev.n)
            return Other(n=ev.n)

        @step
        async def gather_inner(self, events: list[Other]) -> Out:
            self.inner.append(numbers(events))
            return Out(n=len(events))

        @step
        async def gather(
            self, events: Annotated[list[Out], Collect(Take(1), cancel_rest=True)]
        ) -> Sum:
            return Sum(ns=numbers(events))

        @step
        async def end(self, ev: Sum) -> StopEvent:
            await asyncio.sleep(30)
            return StopEvent(result=ev.ns)

    flow = Flow()
    flow.inner = []
    assert play(flow) == [2]
    assert flow.inner == [[0, 1]]


def test_cancel_rest_ignores_what_a_step_sends_while_it_is_being_stopped():
    late = []

    class Flow(CancelRest):
        @step
        async def work(self, ctx: Context, ev: Item) -> Out | Other:
            try:
                await asyncio.sleep(10 - ev.n)
            except asyncio.CancelledError:
                ctx.send_event(Other(n=ev.n))
                raise
            return Out(n=ev.n)

        @step
        async def note(self, ev: Other) -> None:
            late.append(ev.n)

    assert play(Flow()) == [3, 2]
    assert late == []


def test_cancel_rest_leaves_other_lists_alone():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(2)]

        @step
        async def split(self, ev: Item) -> list[Inner]:
            return [Inner(n=10 * ev.n + i) for i in range(3)]

        @step(num_workers=6)
        async def work(self, ev: Inner) -> Other:
            await asyncio.sleep(ev.n)
            return Other(n=ev.n)

        @step
        async def first(
            self, events: Annotated[list[Other], Collect(Take(1), cancel_rest=True)]
        ) -> Out:
            return Out(n=events[0].n)

        @step
        async def gather(self, events: list[Out]) -> StopEvent:
            return StopEvent(result=numbers(events))

    assert play(Flow()) == [0, 10]


def test_beside_take_with_cancel_rest_a_whole_list_holds_what_had_come():
    class Flow(CancelRest):
        @step
        async def whole(self, events: list[Out]) -> None:
            self.whole_list = numbers(events)

    flow = Flow()
    play(flow)
    assert flow.whole_list == [2, 3]


# -- how it is written -------------------------------------------------------------


@pytest.mark.parametrize("mark", [Collect(), Collect(All())])
def test_collect_all_means_the_same_as_a_plain_list(mark):
    class Flow(Numbered):
        @step
        async def work(self, ev: Item) -> Out:
            await asyncio.sleep(10 - ev.n)
            return Out(n=ev.n)

        @step
        async def gather(self, events: Annotated[list[Out], mark]) -> StopEvent:
            return StopEvent(result=numbers(events))

    assert play(Flow()) == [0, 1, 2, 3]


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "2", None])
def test_take_wants_a_whole_number_above_nothing(n):
    with pytest.raises(WorkflowValidationError, match="whole number above 0"):
        Take(n)


@pytest.mark.parametrize("cardinality", [2, "all", All, Take, Collect()])
def test_collect_wants_all_or_take(cardinality):
    with pytest.raises(WorkflowValidationError, match=r"All\(\) or Take\(n\)"):
        Collect(cardinality)


def test_collect_has_a_rest_to_cancel_only_with_take():
    with pytest.raises(WorkflowValidationError, match=r"Take\(n\)"):
        Collect(All(), cancel_rest=True)


def test_how_many_is_compared_by_value_and_printed_as_written():
    assert Take(2) == Take(2) != Take(3) and All() == All() != Take(1)
    assert len({Take(2), Take(2), All(), All()}) == 2
    shown = "Collect(Take(2), cancel_rest=True)"
    assert repr(Collect(Take(2), cancel_rest=True)) == shown
    assert repr(Collect()) == "Collect(All())"


def test_collect_on_what_is_no_list_is_refused():
    with pytest.raises(WorkflowValidationError, match="is no list of events"):

        class Flow(Workflow):
            @step
            async def begin(self, ev: Annotated[StartEvent, Collect()]) -> StopEvent:
                return StopEvent()


@pytest.mark.parametrize("mark", [Take(2), All(), Take, Collect])
def test_how_many_without_collect_is_refused(mark):
    with pytest.raises(WorkflowValidationError, match=r"Collect\(Take\(2\)\)"):

        class Flow(Workflow):
            @step
            async def gather(self, events: Annotated[list[Item], mark]) -> None: ...
