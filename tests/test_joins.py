"""Steps with several event parameters: which events start them together."""

import asyncio
import json
import random
from typing import Annotated

import pytest

from stepwell import (
    Collect,
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Take,
    Workflow,
    catch_error,
    retry_policy,
    step,
    stop_after_attempt,
    wait_fixed,
)
from stepwell.errors import (
    WorkflowCancelledByUser,
    WorkflowStalledError,
    WorkflowValidationError,
)
from stepwell.testing import VirtualClock


class Item(Event):
    n: int


class Inner(Event):
    n: int


class A(Event):
    n: int


class B(Event):
    n: int


class Pair(Event):
    ns: tuple[int, int]


class Go(HumanResponseEvent):
    n: int


def play(workflow: Workflow, during=None, **fields):
    """Run to the end on a virtual clock; `during` is awaited with the handler."""

    async def main():
        handler = workflow.run(**fields)
        if during is not None:
            await during(handler)
        return await handler

    return VirtualClock().run(main())


class Pairing(Workflow):
    """Notes the pairs that met; subclasses say where they come from."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.pairs: list[tuple[int, int]] = []

    @step
    async def merge(self, a: A, b: B) -> Pair:
        self.pairs.append((a.n, b.n))
        return Pair(ns=(a.n, b.n))


class Sending(Pairing):
    """Sends the events it is given, from no list, and ends after so many pairs."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> A | B | None:
        for event in ev.events:
            ctx.send_event(event)

    @step
    async def end(self, ctx: Context, ev: Pair) -> StopEvent | None:
        count = (await ctx.get("pairs", 0)) + 1
        await ctx.set("pairs", count)
        return StopEvent(result=self.pairs) if count == 2 else None


class Listing(Pairing):
    """Opens a list of items and ends with all pairs made of it, as a list."""

    @step
    async def begin(self, ev: StartEvent) -> list[Item]:
        return [Item(n=n) for n in range(ev.get("count", 4))]

    @step
    async def gather(self, pairs: list[Pair]) -> StopEvent:
        return StopEvent(result=[pair.ns for pair in pairs])


# -- sets ----------------------------------------------------------------------------


def test_a_step_starts_when_one_of_each_has_come():
    flow = Sending()
    events = [B(n=1), A(n=2), A(n=3), B(n=4)]
    assert play(flow, events=events) == [(2, 1), (3, 4)]


def test_surplus_is_kept_for_the_next_sets():
    flow = Sending()
    events = [A(n=1), A(n=2), A(n=3), B(n=4), B(n=5)]
    assert play(flow, events=events) == [(1, 4), (2, 5)]


def test_the_same_class_may_stand_twice():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[A]:
            return [A(n=n) for n in range(4)]

        @step
        async def merge(self, first: A, second: A) -> Pair:
            return Pair(ns=(first.n, second.n))

        @step
        async def gather(self, pairs: list[Pair]) -> StopEvent:
            return StopEvent(result=[pair.ns for pair in pairs])

    assert play(Flow()) == [(0, 1), (2, 3)]


def test_three_parameters_and_others_that_take_no_events():
    class C(Event):
        n: int

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> A | B | C | None:
            for kind in (C, B, A):
                ctx.send_event(kind(n=len(kind.__name__)))

        @step
        async def merge(
            self, a: A, ctx: Context, b: B, x: int = 3, *, c: C
        ) -> StopEvent:
            return StopEvent(result=[type(a), type(b), type(c), x])

    assert play(Flow()) == [A, B, C, 3]


def test_sets_are_worked_on_side_by_side_up_to_num_workers():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[A | B]:
            return [kind(n=n) for n in range(4) for kind in (A, B)]

        @step(num_workers=2)
        async def merge(self, a: A, b: B) -> Pair:
            await asyncio.sleep(1)
            return Pair(ns=(a.n, b.n))

        @step
        async def gather(self, pairs: list[Pair]) -> StopEvent:
            now = asyncio.get_running_loop().time()
            return StopEvent(result=(now, len(pairs)))

    assert play(Flow()) == (2, 4)


def test_an_event_that_goes_to_a_join_and_to_another_step_goes_to_both():
    class Flow(Sending):
        @step
        async def alone(self, ev: A) -> None:
            self.pairs.append((ev.n, -1))

    events = [A(n=1), B(n=2), A(n=3), B(n=4)]
    assert sorted(play(Flow(), events=events)) == [(1, -1), (1, 2), (3, -1), (3, 4)]


def test_an_event_may_be_sent_to_the_joining_step_alone():
    class Flow(Sending):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> A | B | None:
            for event in ev.events:
                ctx.send_event(event, step="merge")

        @step
        async def alone(self, ev: A) -> StopEvent:
            return StopEvent(result="alone")

    events = [A(n=1), B(n=2), A(n=3), B(n=4)]
    assert play(Flow(), events=events) == [(1, 2), (3, 4)]


def test_a_set_is_retried_as_a_whole():
    tried = []

    class Flow(Sending):
        @step(retry_policy=retry_policy(stop=stop_after_attempt(2), wait=wait_fixed(1)))
        async def merge(self, a: A, b: B) -> Pair:
            tried.append((a.n, b.n))
            if len(tried) == 1:
                raise OSError
            self.pairs.append((a.n, b.n))
            return Pair(ns=(a.n, b.n))

    events = [A(n=1), B(n=2), A(n=3), B(n=4)]
    assert sorted(play(Flow(), events=events)) == [(1, 2), (3, 4)]
    assert sorted(tried) == [(1, 2), (1, 2), (3, 4)]


def test_the_error_of_a_joining_step_holds_its_events():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[A | B]:
            return [A(n=1), B(n=2)]

        @step
        async def merge(self, a: A, b: B) -> StopEvent:
            raise OSError

        @catch_error
        async def recover(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent(result=ev.input_event)

    assert play(Flow()) == (A(n=1), B(n=2))


# -- sets in lists -------------------------------------------------------------------


def test_items_of_one_returned_list_meet_at_once():
    class Flow(Pairing):
        @step
        async def begin(self, ev: StartEvent) -> list[A | B | Item]:
            return [Item(n=0), A(n=1), B(n=2)]

        @step
        async def slow(self, ev: Item) -> None:
            await asyncio.sleep(30)

        @step
        async def end(self, ev: Pair) -> StopEvent:
            return StopEvent(result=asyncio.get_running_loop().time())

    assert play(Flow()) == 0


def test_what_is_made_of_one_item_meets_however_the_work_ends():
    class Flow(Listing):
        @step
        async def make_a(self, ev: Item) -> A:
            await asyncio.sleep(10 - ev.n)
            return A(n=ev.n)

        @step
        async def make_b(self, ev: Item) -> B:
            await asyncio.sleep((7 * ev.n) % 5)
            return B(n=ev.n)

    flow = Flow()
    assert play(flow) == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert flow.pairs != sorted(flow.pairs)


def test_what_met_nothing_of_its_own_item_meets_when_the_list_has_ended():
    class Flow(Listing):
        @step
        async def make(self, ev: Item) -> A | B:
            await asyncio.sleep(10 - ev.n)
            return A(n=ev.n) if ev.n < 2 else B(n=ev.n)

    assert play(Flow()) == [(0, 2), (1, 3)]


def test_what_items_of_a_list_meet_in_stands_in_that_list():
    class Flow(Pairing):
        @step
        async def begin(self, ev: StartEvent) -> list[A | B]:
            return [A(n=0), B(n=1), B(n=2), A(n=3)]

        @step
        async def work(self, ev: Pair) -> Inner:
            await asyncio.sleep(10 - ev.ns[0])
            return Inner(n=ev.ns[0])

        @step
        async def gather(self, events: list[Inner]) -> StopEvent:
            return StopEvent(result=[event.n for event in events])

    assert play(Flow()) == [0, 3]


def test_what_is_left_of_a_list_meets_what_stands_around_it():
    class Flow(Pairing):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> list[A] | B:
            ctx.send_event(B(n=9))
            return [A(n=1)]

        @step
        async def end(self, ev: Pair) -> StopEvent:
            return StopEvent(result=ev.ns)

    assert play(Flow()) == (1, 9)


def test_what_is_left_of_a_list_waits_for_the_rest_of_its_outer_item():
    class Flow(Listing):
        @step
        async def split(self, ev: Item) -> list[Inner]:
            return [Inner(n=ev.n)]

        @step
        async def make_a(self, ev: Inner) -> A:
            await asyncio.sleep(10 - ev.n)
            return A(n=ev.n)

        @step
        async def make_b(self, ev: Item) -> B:
            await asyncio.sleep(ev.n)
            return B(n=ev.n)

    assert play(Flow()) == [(0, 0), (1, 1), (2, 2), (3, 3)]


def test_the_gathering_step_starts_once_with_sets_from_inside_and_across_items():
    lists = []

    class Flow(Listing):
        @step
        async def make(self, ctx: Context, ev: Item) -> A | B | None:
            if ev.n != 2:
                ctx.send_event(A(n=ev.n))
            await asyncio.sleep(1)
            if ev.n != 1:
                ctx.send_event(B(n=ev.n))

        @step
        async def merge(self, a: A, b: B) -> Pair:
            await asyncio.sleep(5)
            return Pair(ns=(a.n, b.n))

        @step
        async def gather(self, pairs: list[Pair]) -> StopEvent:
            lists.append(pairs)
            return StopEvent(result=[pair.ns for pair in pairs])

    assert play(Flow()) == [(0, 0), (1, 2), (3, 3)]
    assert len(lists) == 1


def test_lists_do_not_mix():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(2)]

        @step
        async def split(self, ev: Item) -> list[A | B]:
            await asyncio.sleep(ev.n)
            # The first list lacks what the second has too many of.
            return [A(n=ev.n), A(n=ev.n)] if ev.n == 0 else [B(n=1), B(n=1), A(n=1)]

        @step
        async def merge(self, a: A, b: B) -> Pair:
            return Pair(ns=(a.n, b.n))

        @step
        async def gather(self, pairs: list[Pair]) -> Inner:
            return Inner(n=len(pairs))

        @step
        async def end(self, events: list[Inner]) -> StopEvent:
            return StopEvent(result=[event.n for event in events])

    assert play(Flow()) == [0, 1]


def test_a_stopped_list_lets_nothing_meet_any_more():
    class Flow(Listing):
        @step
        async def make(self, ev: Item) -> A | B | Inner:
            if ev.n == 3:
                await asyncio.sleep(1)
                return Inner(n=ev.n)
            return A(n=ev.n) if ev.n < 2 else B(n=ev.n)

        @step
        async def first(
            self, events: Annotated[list[Inner], Collect(Take(1), cancel_rest=True)]
        ) -> None:
            await asyncio.sleep(1)

    flow = Flow()
    assert play(flow) == []
    assert flow.pairs == []


def test_what_has_met_nothing_yet_is_kept_when_a_run_is_stopped():
    class Flow(Pairing):
        @step
        async def begin(self, ev: StartEvent) -> list[A | Item | Inner]:
            return [A(n=0), Item(n=1), Inner(n=2)]

        @step
        async def make(self, ev: Item) -> A:
            return A(n=ev.n)

        @step
        async def slow(self, ctx: Context, ev: Inner) -> B | None:
            await asyncio.sleep(10)
            ctx.send_event(B(n=2))
            ctx.send_event(B(n=3))

        @step
        async def gather(self, pairs: list[Pair]) -> StopEvent:
            return StopEvent(result=[pair.ns for pair in pairs])

    async def main():
        flow = Flow()
        handler = flow.run()
        await asyncio.sleep(5)
        with pytest.raises(WorkflowCancelledByUser):
            await handler.cancel_run()
            await handler
        left = json.loads(json.dumps(handler.ctx.to_dict()))
        return await flow.run(ctx=Context.from_dict(flow, left))

    assert VirtualClock().run(main()) == [(0, 2), (1, 3)]


def test_an_unhurried_order_changes_no_pair():
    for seed in range(5):
        delays = random.Random(seed)

        class Flow(Listing):
            @step(num_workers=3)
            async def make_a(self, ev: Item, delays=delays) -> A:
                await asyncio.sleep(delays.random())
                return A(n=ev.n)

            @step(num_workers=2)
            async def make_b(self, ev: Item, delays=delays) -> B:
                await asyncio.sleep(delays.random())
                return B(n=ev.n)

        assert play(Flow()) == [(0, 0), (1, 1), (2, 2), (3, 3)]


# -- subclasses ----------------------------------------------------------------------


class Special(A): ...


def test_a_subclass_is_taken_where_the_step_accepts_subclasses():
    class Flow(Sending):
        @step(accept_event_subclasses=True)
        async def merge(self, a: A, b: B) -> Pair:
            self.pairs.append((a.n, b.n))
            return Pair(ns=(a.n, b.n))

    events = [Special(n=1), B(n=2), B(n=3), A(n=4)]
    assert play(Flow(), events=events) == [(1, 2), (4, 3)]


def overlapping(events):
    """What starts a step that takes a class and its subclass; events in this order."""

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> A | Special | B | None:
            for event in ev.events:
                ctx.send_event(event)

        @step(accept_event_subclasses=True)
        async def merge(self, any: A, special: Special, b: B) -> StopEvent:
            return StopEvent(result=(any.n, special.n, b.n))

    return play(Flow(), events=events)


@pytest.mark.parametrize("first", [A, Special])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1), (2, 1, 0)])
def test_of_a_class_and_its_subclass_each_gets_one_that_fits(first, order):
    events = [first(n=0), Special(n=1), B(n=2)]
    got = overlapping([events[i] for i in order])
    assert sorted(got) == [0, 1, 2] and got[2] == 2
    assert first is Special or got[0] == 0


def test_surplus_of_a_subclass_serves_for_its_class_in_the_next_set():
    pairs = []

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Special | B | None:
            for event in [Special(n=n) for n in range(4)] + [B(n=9), B(n=9)]:
                ctx.send_event(event)

        @step(accept_event_subclasses=True)
        async def merge(self, any: A, special: Special, b: B) -> StopEvent | None:
            pairs.append({any.n, special.n})
            return StopEvent() if len(pairs) == 2 else None

    play(Flow())
    assert pairs == [{0, 1}, {2, 3}]


# -- people --------------------------------------------------------------------------


def test_a_parameter_may_be_a_persons_answer():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> A:
            return A(n=1)

        @step
        async def ask(self, ev: StartEvent) -> InputRequiredEvent:
            return InputRequiredEvent(prefix="Go?")

        @step
        async def merge(self, a: A, go: Go) -> StopEvent:
            return StopEvent(result=(a.n, go.n))

    async def answer(handler):
        await asyncio.sleep(1000)
        handler.send_event(Go(n=7))

    assert play(Flow(), answer) == (1, 7)


# -- stalls --------------------------------------------------------------------------


def stall(workflow: Workflow) -> WorkflowStalledError:
    with pytest.raises(WorkflowStalledError) as caught:
        play(workflow)
    return caught.value


def test_a_set_that_can_never_be_whole_ends_the_run_and_is_named():
    class Flow(Pairing):
        @step
        async def begin(self, ev: StartEvent) -> list[A] | B:
            return [A(n=1), A(n=2)]

        @step
        async def end(self, ev: Pair) -> StopEvent:
            return StopEvent()

    error = stall(Flow())
    assert "`merge` has 2 of 1 A, 0 of 1 B" in str(error)
    assert "`begin`, which returns B, ran once" in str(error)
    assert [report.lacks for report in error.report.joins] == [{"B": 1}]


def test_a_set_of_one_class_twice_that_is_not_whole_is_named():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[A]:
            return [A(n=1)]

        @step
        async def merge(self, first: A, second: A) -> StopEvent:
            return StopEvent()

    assert "`merge` has 1 of 2 A" in str(stall(Flow()))


# -- how it is written ---------------------------------------------------------------


@pytest.mark.parametrize("first, second", [(A, A | B), (A | B, A)])
def test_a_union_among_several_event_parameters_is_refused(first, second):
    with pytest.raises(WorkflowValidationError, match="a union"):

        class Flow(Workflow):
            @step
            async def merge(self, a: first, b: second) -> StopEvent:
                return StopEvent()
