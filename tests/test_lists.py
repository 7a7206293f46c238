"""Lists of events: returned by a step, worked through, and taken whole by another."""

import asyncio

import pytest

from stepwell import (
    Context,
    Event,
    HumanResponseEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Workflow,
    catch_error,
    retry_policy,
    step,
    stop_after_attempt,
    wait_fixed,
)
from stepwell.errors import (
    WorkflowRuntimeError,
    WorkflowStalledError,
    WorkflowValidationError,
)
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


def play(workflow: Workflow, during=None, **fields):
    """Run to the end on a virtual clock; `during` is awaited with the handler."""

    async def main():
        handler = workflow.run(**fields)
        if during is not None:
            await during(handler)
        return await handler

    return VirtualClock().run(main())


def numbers(events) -> list[int]:
    return [event.n for event in events]


class Numbered(Workflow):
    """Opens a list of `count` items; subclasses say what becomes of them."""

    @step
    async def begin(self, ev: StartEvent) -> list[Item]:
        return [Item(n=n) for n in range(ev.get("count", 4))]


class Gathered(Numbered):
    """Ends with the numbers in the list it gets, and notes each list it gets."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.got: list[list[int]] = []

    @step
    async def gather(self, events: list[Out]) -> StopEvent:
        self.got.append(numbers(events))
        return StopEvent(result=numbers(events))


# -- all of a list -----------------------------------------------------------------


def test_all_is_in_the_order_of_the_list_however_the_work_ends():
    class Flow(Gathered):
        @step
        async def work(self, ev: Item) -> Out:
            await asyncio.sleep(10 - ev.n)
            return Out(n=ev.n)

    assert play(Flow()) == [0, 1, 2, 3]


def test_the_items_themselves_can_be_taken_as_a_list():
    class Flow(Numbered):
        @step
        async def gather(self, events: list[Item]) -> StopEvent:
            return StopEvent(result=numbers(events))

    assert play(Flow()) == [0, 1, 2, 3]


def test_several_events_from_one_item_stand_together_as_they_came():
    class Flow(Gathered):
        @step
        async def work(self, ctx: Context, ev: Item) -> Out:
            await asyncio.sleep(1 - ev.n)
            ctx.send_event(Out(n=10 * ev.n))
            await asyncio.sleep(2)
            ctx.send_event(Out(n=10 * ev.n + 1))
            return Out(n=10 * ev.n + 2)

    assert play(Flow(), count=2) == [0, 1, 2, 10, 11, 12]


def test_a_list_of_a_union_holds_events_of_all_its_classes():
    class Flow(Numbered):
        @step
        async def work(self, ev: Item) -> Out | Other:
            await asyncio.sleep(10 - ev.n)
            return (Out if ev.n % 2 else Other)(n=ev.n)

        @step
        async def gather(self, events: list[Out | Other]) -> StopEvent:
            return StopEvent(result=[(type(e).__name__, e.n) for e in events])

    names = [("Other", 0), ("Out", 1), ("Other", 2), ("Out", 3)]
    assert play(Flow()) == names


def test_a_list_takes_subclasses_where_its_step_accepts_them():
    class Special(Out): ...

    class Flow(Numbered):
        @step
        async def work(self, ev: Item) -> Out | Special:
            return (Special if ev.n % 2 else Out)(n=ev.n)

        @step(accept_event_subclasses=True)
        async def gather(self, events: list[Out]) -> StopEvent:
            return StopEvent(result=[type(e).__name__ for e in events])

    assert play(Flow()) == ["Out", "Special", "Out", "Special"]


def test_an_empty_list_starts_the_gathering_step_once_with_an_empty_list():
    class Flow(Gathered):
        @step
        async def work(self, ev: Item) -> Out: ...

    flow = Flow()
    assert play(flow, count=0) == []
    assert flow.got == [[]]


def test_items_that_all_end_in_none_give_an_empty_list():
    class Flow(Gathered):
        @step
        async def work(self, ev: Item) -> Out | None: ...

    flow = Flow()
    assert play(flow) == []
    assert flow.got == [[]]


def test_returning_none_in_the_place_of_a_list_starts_nothing():
    gathered = []

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item] | None:
            return None

        @step
        async def gather(self, events: list[Item]) -> None:
            gathered.append(events)

        @step
        async def later(self, ev: StartEvent) -> StopEvent:
            await asyncio.sleep(1)
            return StopEvent(result="later")

    assert play(Flow()) == "later"
    assert gathered == []


def test_returning_another_class_alone_opens_no_list():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item] | Other:
            return Other(n=7)

        @step
        async def gather(self, events: list[Item]) -> StopEvent:
            return StopEvent(result="gathered")

        @step
        async def alone(self, ev: Other) -> StopEvent:
            await asyncio.sleep(1)
            return StopEvent(result=ev.n)

    assert play(Flow()) == 7


def test_every_step_that_takes_the_list_gets_it():
    class Flow(Numbered):
        @step
        async def work(self, ev: Item) -> Out:
            return Out(n=ev.n)

        @step
        async def add(self, events: list[Out]) -> Sum:
            return Sum(ns=[sum(numbers(events))])

        @step
        async def count(self, events: list[Out]) -> Sum:
            return Sum(ns=[len(events)])

        @step
        async def end(self, ctx: Context, ev: Sum) -> StopEvent | None:
            sums = ctx.collect_events(ev, [Sum] * 2)
            return StopEvent(result=sorted(s.ns for s in sums)) if sums else None

    assert play(Flow()) == [[4], [6]]


def test_a_plain_def_step_returns_and_takes_lists_too():
    class Flow(Workflow):
        @step
        def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(3)]

        @step
        def work(self, ev: Item) -> Out:
            return Out(n=ev.n)

        @step
        def gather(self, events: list[Out]) -> StopEvent:
            return StopEvent(result=numbers(events))

    assert asyncio.run(_awaited(Flow())) == [0, 1, 2]


async def _awaited(workflow):
    return await workflow.run()


def test_the_gathering_step_starts_when_the_last_work_has_ended_and_no_later():
    class Flow(Gathered):
        @step
        async def work(self, ev: Item) -> Out:
            await asyncio.sleep(ev.n)
            return Out(n=ev.n)

    clock = VirtualClock()
    clock.run(_awaited(Flow()))
    assert clock.now == 3


def test_work_beside_the_list_does_not_hold_it_up():
    class Flow(Gathered):
        @step
        async def work(self, ev: Item) -> Out:
            return Out(n=ev.n)

        @step
        async def beside(self, ev: StartEvent) -> None:
            await asyncio.sleep(30)

    clock = VirtualClock()
    clock.run(_awaited(Flow()))
    assert clock.now == 0


# -- lists in lists ----------------------------------------------------------------


class Nested(Workflow):
    """Two levels: three items, of n + `least` inner ones each."""

    @step
    async def begin(self, ev: StartEvent) -> list[Item]:
        return [Item(n=n) for n in range(3)]

    @step
    async def split(self, ev: Item) -> list[Inner]:
        return [Inner(n=10 * ev.n + i) for i in range(ev.n)]

    @step(num_workers=9)
    async def work(self, ev: Inner) -> Out:
        await asyncio.sleep(40 - ev.n)
        return Out(n=ev.n)

    @step
    async def gather_inner(self, events: list[Out]) -> Sum:
        return Sum(ns=numbers(events))

    @step
    async def gather(self, events: list[Sum]) -> StopEvent:
        return StopEvent(result=[event.ns for event in events])


def test_lists_in_lists_are_gathered_level_by_level():
    assert play(Nested()) == [[], [10], [20, 21]]


def test_an_inner_list_is_gathered_when_it_has_ended_and_not_with_the_outer_one():
    starts = {}

    class Flow(Nested):
        @step
        async def gather_inner(self, events: list[Out]) -> Sum:
            starts[len(events)] = asyncio.get_running_loop().time()
            return Sum(ns=numbers(events))

    play(Flow())
    assert starts == {0: 0, 1: 30, 2: 20}


def test_only_inner_lists_gathered_gives_one_call_for_each():
    got = []

    class Flow(Nested):
        @step
        async def gather_inner(self, events: list[Out]) -> Sum:
            got.append(numbers(events))
            return Sum(ns=[])

        @step
        async def gather(self, events: list[Sum]) -> StopEvent:
            return StopEvent(result=len(events))

    assert play(Flow()) == 3
    assert sorted(got) == [[], [10], [20, 21]]


def test_a_step_may_open_lists_in_lists_of_its_own():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=3)]

        @step
        async def halve(self, ev: Item) -> list[Item] | Out:
            if ev.n == 0:
                return Out(n=1)
            return [Item(n=ev.n - 1), Item(n=ev.n - 1)]

        @step
        async def add(self, events: list[Out]) -> Out | StopEvent:
            return Out(n=sum(numbers(events)))

        @step
        async def end(self, events: list[Out]) -> Sum:
            return Sum(ns=numbers(events))

        @step
        async def stop(self, ev: Sum) -> StopEvent | None:
            return StopEvent(result=ev.ns) if ev.ns == [8] else None

    assert play(Flow()) == [8]


def test_a_gathering_step_may_open_the_next_list():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(8)]

        @step
        async def work(self, ev: Item) -> Out:
            await asyncio.sleep(10 - ev.n)
            return Out(n=ev.n)

        @step
        async def tournament(self, events: list[Out]) -> list[Item] | StopEvent:
            if len(events) == 1:
                return StopEvent(result=events[0].n)
            return [Item(n=b.n) for _, b in zip(events[::2], events[1::2], strict=True)]

    assert play(Flow()) == 7


# -- what may happen to an item ----------------------------------------------------


def test_an_item_that_is_retried_is_waited_for():
    tried = []

    class Flow(Gathered):
        @step(retry_policy=TWICE)
        async def work(self, ev: Item) -> Out:
            tried.append(ev.n)
            if ev.n == 1 and tried.count(1) == 1:
                raise OSError
            return Out(n=ev.n)

    assert play(Flow()) == [0, 1, 2, 3]


def test_an_item_that_waits_for_an_event_is_waited_for():
    class Flow(Gathered):
        @step(num_workers=1)
        async def work(self, ctx: Context, ev: Item) -> Out:
            go = await ctx.wait_for_event(Go, requirements={"n": ev.n})
            return Out(n=go.n)

    async def answer(handler):
        for n in (2, 0, 1):
            await asyncio.sleep(1)
            handler.send_event(Go(n=n))

    assert play(Flow(), answer, count=3) == [0, 1, 2]


def test_an_item_whose_wait_times_out_and_is_caught_is_waited_for():
    class Flow(Gathered):
        @step
        async def work(self, ctx: Context, ev: Item) -> Out | None:
            try:
                await ctx.wait_for_event(Go, timeout=10 - ev.n)
            except TimeoutError:
                return Out(n=ev.n)

    assert play(Flow()) == [0, 1, 2, 3]


class Recovering(Gathered):
    """Item 1 fails for good, and another step says what becomes of it."""

    @step
    async def work(self, ev: Item) -> Out:
        if ev.n == 1:
            raise OSError
        return Out(n=ev.n)


def test_an_item_that_recovers_from_an_error_stands_in_its_place():
    class Flow(Recovering):
        @catch_error
        async def recover(self, ev: StepFailedEvent) -> Out:
            await asyncio.sleep(5)
            return Out(n=-ev.input_event.n)

    flow = Flow()
    assert play(flow) == [0, -1, 2, 3]
    assert flow.got == [[0, -1, 2, 3]]


def test_an_item_that_fails_for_good_and_is_let_go_is_left_out():
    class Flow(Recovering):
        @catch_error
        async def recover(self, ev: StepFailedEvent) -> None: ...

    assert play(Flow()) == [0, 2, 3]


def test_an_item_that_recovers_by_another_list_is_gathered_in_it():
    class Flow(Recovering):
        @catch_error
        async def recover(self, ev: StepFailedEvent) -> list[Inner]:
            return [Inner(n=5), Inner(n=6)]

        @step
        async def mend(self, events: list[Inner]) -> Out:
            return Out(n=sum(numbers(events)))

    assert play(Flow()) == [0, 11, 2, 3]


def test_a_gathering_step_that_is_retried_gets_the_same_list():
    got = []

    class Flow(Numbered):
        @step(retry_policy=TWICE)
        async def gather(self, events: list[Item]) -> StopEvent:
            got.append(numbers(events))
            if len(got) == 1:
                raise OSError
            return StopEvent(result=got)

    assert play(Flow()) == [[0, 1, 2, 3], [0, 1, 2, 3]]


def test_the_error_of_a_gathering_step_holds_the_list():
    class Flow(Numbered):
        @step
        async def gather(self, events: list[Item]) -> StopEvent:
            raise OSError

        @catch_error
        async def recover(self, ev: StepFailedEvent) -> StopEvent:
            return StopEvent(result=numbers(ev.input_event))

    assert play(Flow()) == [0, 1, 2, 3]


def test_items_of_a_step_that_is_cancelled_are_left_out():
    class Flow(Gathered):
        @step(num_workers=2)
        async def work(self, ctx: Context, ev: Item) -> Out:
            await asyncio.sleep(1 if ev.n == 0 else 30)
            return Out(n=ev.n)

        @step
        async def stop(self, ctx: Context, ev: StartEvent) -> None:
            await asyncio.sleep(20)
            ctx.cancel_step("work")

    flow = Flow()
    assert play(flow) == [0]
    assert flow.got == [[0]]


def test_cancelling_all_items_gives_an_empty_list():
    class Flow(Gathered):
        @step(num_workers=1)
        async def work(self, ctx: Context, ev: Item) -> Out:
            await asyncio.sleep(30)
            return Out(n=ev.n)

        @step
        async def stop(self, ctx: Context, ev: StartEvent) -> None:
            await asyncio.sleep(20)
            ctx.cancel_step("work")

    assert play(Flow()) == []


def test_cancelling_the_gathering_step_does_not_stop_a_list_that_ends_through_it():
    # The list ends because its work is stopped: what starts then is not meant.
    class Flow(Gathered):
        @step(num_workers=1)
        async def work(self, ev: Item) -> Out | list[Item]:
            await asyncio.sleep(30)
            return Out(n=ev.n)

        @step(num_workers=1)
        async def gather(self, events: list[Out]) -> StopEvent | None:
            await asyncio.sleep(5)
            return StopEvent(result="gathered")

        @step
        async def stop(self, ctx: Context, ev: StartEvent) -> None:
            await asyncio.sleep(20)
            ctx.cancel_step("work")
            ctx.cancel_step("gather")

    assert play(Flow()) == "gathered"


def test_an_item_that_goes_to_several_steps_is_waited_for_in_all_of_them():
    class Flow(Gathered):
        @step
        async def slow(self, ev: Item) -> Out:
            await asyncio.sleep(10 - ev.n)
            return Out(n=ev.n + 10)

        @step
        async def fast(self, ev: Item) -> Out:
            return Out(n=ev.n)

        @step
        async def silent(self, ev: Item) -> None:
            await asyncio.sleep(30)

    clock = VirtualClock()
    flow = Flow()
    assert clock.run(_awaited(flow)) == [0, 10, 1, 11, 2, 12, 3, 13]
    assert clock.now == 30
    assert len(flow.got) == 1


def test_items_may_go_round_in_a_loop_and_on_through_other_steps():
    class Flow(Gathered):
        @step
        async def round(self, ev: Item) -> Item | Other:
            await asyncio.sleep(1)
            return Item(n=ev.n + 4) if ev.n < 12 else Other(n=ev.n)

        @step
        async def onward(self, ev: Other) -> Out:
            await asyncio.sleep(20 - ev.n)
            return Out(n=ev.n)

    flow = Flow()
    assert play(flow) == [12, 13, 14, 15]
    assert len(flow.got) == 1


def test_what_an_item_sends_belongs_to_it():
    class Flow(Gathered):
        @step
        async def work(self, ctx: Context, ev: Item) -> Other | None:
            ctx.send_event(Other(n=ev.n))
            ctx.send_event(Other(n=ev.n + 10))

        @step
        async def onward(self, ev: Other) -> Out:
            await asyncio.sleep(20 - ev.n)
            return Out(n=ev.n)

    flow = Flow()
    assert play(flow, count=2) == [10, 0, 11, 1]
    assert len(flow.got) == 1


def test_what_an_item_sends_while_it_waits_belongs_to_it():
    class Flow(Gathered):
        @step
        async def work(self, ctx: Context, ev: Item) -> Out | None:
            async def send():
                await asyncio.sleep(2 - ev.n)
                ctx.send_event(Out(n=ev.n))

            await asyncio.gather(send(), ctx.wait_for_event(Go))

    async def answer(handler):
        for n in range(2):
            await asyncio.sleep(5)
            handler.send_event(Go(n=n))

    flow = Flow()
    assert play(flow, answer, count=2) == [0, 1]
    assert len(flow.got) == 1


def test_what_an_item_sends_from_a_plain_def_step_belongs_to_it():
    class Flow(Gathered):
        @step
        def work(self, ctx: Context, ev: Item) -> Out | None:
            ctx.send_event(Out(n=ev.n))

    flow = Flow()
    assert asyncio.run(_awaited(flow)) == [0, 1, 2, 3]
    assert len(flow.got) == 1


def test_what_an_item_sends_straight_to_the_gathering_step_belongs_to_it():
    class Flow(Gathered):
        @step
        async def work(self, ctx: Context, ev: Item) -> Out | None:
            await asyncio.sleep(2 - ev.n)
            ctx.send_event(Out(n=ev.n), step="gather")

    assert play(Flow(), count=2) == [0, 1]


def test_what_an_item_sends_unannounced_belongs_to_its_list():
    class Flow(Gathered):
        @step
        async def work(self, ctx: Context, ev: Item) -> None:
            await asyncio.sleep(2 - ev.n)
            ctx.send_event(Out(n=ev.n))

    flow = Flow(disable_validation=True)
    assert play(flow, count=2) == [0, 1]
    assert len(flow.got) == 1


def test_a_list_of_events_of_any_class_is_gathered_in_its_order():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Event]:
            return [Item(n=n) for n in range(3)]

        @step
        async def work(self, ev: Item) -> Out:
            await asyncio.sleep(3 - ev.n)
            return Out(n=ev.n)

        @step
        async def gather(self, events: list[Out]) -> StopEvent:
            return StopEvent(result=numbers(events))

    assert play(Flow()) == [0, 1, 2]


def test_a_stop_event_from_an_item_ends_the_run():
    class Flow(Gathered):
        @step
        async def work(self, ev: Item) -> Out | StopEvent:
            await asyncio.sleep(ev.n)
            return StopEvent(result="early") if ev.n == 1 else Out(n=ev.n)

    flow = Flow()
    assert play(flow) == "early"
    assert flow.got == []


# -- events in no list -------------------------------------------------------------


def test_events_in_no_list_are_handed_over_when_the_run_goes_quiet():
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Item | None:
            for n in range(3):
                ctx.send_event(Item(n=n))

        @step
        async def work(self, ev: Item) -> Out:
            await asyncio.sleep(3 - ev.n)
            return Out(n=ev.n)

        @step
        async def gather(self, events: list[Out]) -> StopEvent:
            return StopEvent(result=numbers(events))

    assert play(Flow()) == [2, 1, 0]


def test_events_in_no_list_are_handed_over_each_time_the_run_goes_quiet():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> Item:
            return Item(n=0)

        @step
        async def gather(self, events: list[Item]) -> Out | StopEvent:
            n = events[0].n + 1
            return StopEvent(result=n) if n == 3 else Out(n=n)

        @step
        async def onward(self, ev: Out) -> Item:
            return Item(n=ev.n)

    assert play(Flow()) == 3


def test_events_from_outside_are_handed_over_when_the_run_goes_quiet():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> None: ...

        @step
        async def gather(self, events: list[Go]) -> StopEvent | None:
            if len(events) == 2:
                return StopEvent(result=numbers(events))

    async def send(handler):
        await asyncio.sleep(1)
        handler.send_event(Go(n=1))
        await asyncio.sleep(1)
        handler.send_event(Go(n=2))
        handler.send_event(Go(n=3))

    assert play(Flow(on_stall="wait"), send) == [2, 3]


def test_a_list_and_events_in_no_list_are_not_mixed():
    class Flow(Workflow):
        got: list[list[int]]

        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> list[Item] | Out:
            ctx.send_event(Out(n=100))
            return [Item(n=n) for n in range(3)]

        @step
        async def work(self, ev: Item) -> Out:
            return Out(n=ev.n)

        @step
        async def gather(self, events: list[Out]) -> StopEvent | None:
            self.got.append(numbers(events))
            return StopEvent() if len(self.got) == 2 else None

    flow = Flow()
    flow.got = []
    play(flow)
    assert flow.got == [[0, 1, 2], [100]]


def test_a_run_whose_last_list_led_nowhere_stalls_and_says_so():
    class Flow(Numbered):
        @step
        async def gather(self, events: list[Item]) -> StopEvent | None: ...

    with pytest.raises(WorkflowStalledError, match=r"`gather` on list\[Item\]"):
        play(Flow())


# -- how it is written -------------------------------------------------------------


def test_a_list_beside_another_event_parameter_is_refused():
    with pytest.raises(WorkflowValidationError, match="a list of events stands beside"):

        class Flow(Workflow):
            @step
            async def gather(self, events: list[Item], other: Other) -> None: ...


def test_an_event_parameter_beside_a_list_is_refused():
    with pytest.raises(WorkflowValidationError, match="a list of events stands beside"):

        class Flow(Workflow):
            @step
            async def gather(self, other: Other, events: list[Item]) -> None: ...


class Returning(Workflow):
    """Returns what it is given."""

    @step
    async def begin(self, ev: StartEvent) -> list[Item] | Other | StopEvent:
        return ev.value

    @step
    async def end(self, ev: Item | Other) -> StopEvent:
        return StopEvent(result=ev.n)


def test_an_event_that_may_be_returned_only_in_a_list_is_refused_alone():
    with pytest.raises(WorkflowRuntimeError, match=r"returned Item, .*list\[Item\]"):
        play(Returning(), value=Item(n=1))


def test_a_list_is_refused_where_the_annotation_names_none():
    class Flow(Returning):
        @step
        async def begin(self, ev: StartEvent) -> Item | Other | StopEvent:
            return ev.value

    with pytest.raises(WorkflowRuntimeError, match=r"returned a list.*Item \| Other"):
        play(Flow(), value=[Item(n=1)])


def test_a_step_that_may_return_any_event_may_return_a_list_of_them():
    class Flow(Returning):
        @step
        async def begin(self, ev: StartEvent) -> Event | StopEvent:
            return ev.value

    assert play(Flow(), value=[Item(n=1)]) == 1


def test_none_in_a_returned_list_is_left_out():
    assert play(Returning(), value=[None, Item(n=1)]) == 1
