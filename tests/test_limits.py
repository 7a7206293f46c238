"""What keeps work in bounds: visits, kept results, cancelled steps, turns of runs."""

import asyncio
import gc
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from stepwell import (
    ConstantDelayRetryPolicy,
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    Resource,
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
    WorkflowCancelledByUser,
    WorkflowRuntimeError,
    WorkflowStepDoesNotExistError,
    WorkflowTimeoutError,
    WorkflowValidationError,
)
from stepwell.testing import VirtualClock


class Item(Event):
    n: int = 0


class Out(Event):
    n: int = 0


class Go(Event):
    pass


def only_ours():
    return asyncio.all_tasks() - {asyncio.current_task()}


# -- max_visits ---------------------------------------------------------------------


class Looping(Workflow):
    @step(max_visits=3)
    async def again(self, ev: StartEvent | Item) -> Item | StopEvent:
        n = ev.get("n", 0) + 1
        return StopEvent(result=n) if n == ev.get("until", 99) else Item(n=n)


async def test_a_loop_that_goes_round_too_often_is_named_with_its_limit():
    with pytest.raises(WorkflowRuntimeError) as caught:
        await Looping().run()
    error = caught.value
    assert "step `again` of Looping was to start for the 4th time" in str(error)
    assert "max_visits is 3" in str(error)
    assert (error.step, error.event) == ("again", "Item")


async def test_as_many_visits_as_allowed_are_fine():
    class Flow(Looping):
        @step(max_visits=3)
        async def again(self, ev: StartEvent | Item) -> Item | StopEvent:
            n = ev.get("n", 0) + 1
            return StopEvent(result=n) if n == 3 else Item(n=n)

    assert await Flow().run() == 3


async def test_visits_are_counted_anew_in_every_run():
    class Flow(Workflow):
        @step(max_visits=1)
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=1)

    flow = Flow()
    handler = flow.run()
    assert await handler == await flow.run(ctx=handler.ctx) == await flow.run() == 1


async def test_retries_are_no_visits():
    class Flow(Workflow):
        @step(max_visits=1, retry_policy=retry_policy(wait=wait_none()))
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            if ctx.retry_info().retry_number < 2:
                raise OSError
            return StopEvent(result=ctx.retry_info().retry_number)

    assert await Flow().run() == 2


async def test_going_on_after_a_wait_is_no_visit():
    class Flow(Workflow):
        @step(max_visits=1, num_workers=1)
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            asking = InputRequiredEvent()
            answer = await ctx.wait_for_event(HumanResponseEvent, waiter_event=asking)
            return StopEvent(result=answer.text)

    handler = Flow().run()
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            handler.send_event(HumanResponseEvent(text="yes"))
    assert await handler == "yes"


async def test_nothing_starts_after_a_step_went_round_too_often():
    started = []

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=1), Item(n=2)]

        @step(max_visits=1)
        async def first(self, ev: Item) -> StopEvent | None: ...

        @step
        async def second(self, ev: Item) -> None:
            started.append(ev.n)
            await asyncio.Event().wait()

    with pytest.raises(WorkflowRuntimeError, match="max_visits"):
        await Flow().run()
    assert not only_ours()
    assert 2 not in started


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "2"])
def test_max_visits_is_a_whole_number_above_0(number):
    with pytest.raises(WorkflowValidationError, match="max_visits"):

        @step(workflow=Looping, max_visits=number)
        async def other(ev: StartEvent) -> StopEvent: ...


# -- cache --------------------------------------------------------------------------


class Colour(Enum):
    RED = 1
    BLUE = 2


@dataclass
class Point:
    x: int
    y: int = 0


class Inner(BaseModel):
    value: Any = None


def counting(kept: Any = True, **options):
    """A workflow whose step is kept, and the list of the calls that it performed."""
    calls = []

    class Flow(Workflow):
        @step(cache=kept, **options)
        async def begin(self, ev: StartEvent) -> StopEvent:
            calls.append(ev)
            return StopEvent(result=len(calls))

    return Flow, calls


async def test_a_kept_step_is_not_run_again_for_an_equal_event():
    flow, calls = counting()
    assert [await flow().run(x=1), await flow().run(x=1)] == [1, 1]
    assert len(calls) == 1


async def test_a_kept_step_runs_for_an_event_with_other_fields():
    flow, _ = counting()
    assert [await flow().run(x=n) for n in (1, 2, 1, "1", 1.0)] == [1, 2, 1, 3, 4]


VALUES = [
    {"a": 1, "b": [1, 2.5, None, True]},
    {"a", "b", "c", 1},
    (1, "x", b"y"),
    Colour.RED,
    Colour.BLUE,
    Point(1, 2),
    Point(2, 1),
    Inner(value=Point(1)),
    Inner(value=1),
    StartEvent,
    datetime(2026, 1, 1, tzinfo=UTC),
    Path("a/b"),
    range(3),
    float("nan"),
    len,
    1,
    True,
    1.0,
    "1",
    b"1",
]


def again(value):
    """A value equal to that one and, where there is such a thing, not the same."""
    made = {
        dict: lambda v: {**v},
        set: lambda v: set(sorted(v, key=str, reverse=True)),
        tuple: lambda v: tuple(list(v)),
        Point: lambda v: Point(v.x, v.y),
        Inner: lambda v: v.model_copy(deep=True),
        str: lambda v: "".join(list(v)),
    }
    return made.get(type(value), lambda v: v)(value)


async def test_events_are_compared_by_what_their_fields_hold():
    flow, calls = counting()
    for value in VALUES:
        await flow().run(x=value)
    assert len(calls) == len(VALUES)
    for value in VALUES:
        await flow().run(x=again(value))
    assert len(calls) == len(VALUES)


async def test_long_values_are_compared_to_their_end():
    class Printed:
        def __init__(self, number):
            self.numbers = [*range(1000), number]

        def __repr__(self):
            return "[0, 1, 2, ...]"

        def __reduce__(self):
            return list, (self.numbers,)

    flow, _ = counting()
    assert [await flow().run(x=Printed(n)) for n in (1, 2, 1)] == [1, 2, 1]


async def test_a_field_that_cannot_be_compared_is_named():
    flow, calls = counting()
    with pytest.raises(WorkflowRuntimeError) as caught:
        await flow().run(client=threading.Lock())
    assert "`client` of StartEvent, a lock, cannot be compared" in str(caught.value)
    assert "Resource(" in str(caught.value)
    assert calls == []


async def test_kept_results_are_found_over_runs_and_instances_and_in_plain_steps():
    calls = []

    class Flow(Workflow):
        @step(cache=True)
        def begin(self, ev: StartEvent) -> StopEvent:
            calls.append(ev)
            return StopEvent(result=len(calls))

    flow = Flow()
    assert [await flow.run(), await flow.run(), await Flow().run()] == [1, 1, 1]


async def test_a_mapping_of_one_s_own_keeps_the_results():
    kept = {}
    flow, calls = counting(kept)
    await flow().run(x=1)
    assert len(kept) == 1
    kept.clear()
    await flow().run(x=1)
    assert len(calls) == 2


ON_DISK = """
import asyncio, shelve, sys
from stepwell import StartEvent, StopEvent, Workflow, step

with shelve.open(sys.argv[1]) as kept:

    class Flow(Workflow):
        @step(cache=kept)
        async def begin(self, ev: StartEvent) -> StopEvent:
            print("ran")
            return StopEvent(result=ev.x in {"a", "b", "c", "d"})

    print(asyncio.run(Flow().run_in_order()))
""".replace("Flow().run_in_order()", "main()")
ON_DISK = ON_DISK.replace(
    "    print(asyncio",
    "    async def main():\n"
    "        return await Flow().run(x='a', tags={'p', 'q', 'r', 's'})\n\n"
    "    print(asyncio",
)


def test_results_on_disk_are_found_by_another_process(tmp_path):
    command = [sys.executable, "-c", ON_DISK, str(tmp_path / "kept")]
    said = [
        subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert [text.split() for text in said] == [["ran", "True"], ["True"]]


def cell(body, kept, **names):
    """A workflow as a cell defines it, with the body of its kept step."""
    space = {"step": step, "Workflow": Workflow, "StartEvent": StartEvent}
    space |= {"StopEvent": StopEvent, "kept": kept, "__name__": "a_notebook", **names}
    exec(
        "class Flow(Workflow):\n"
        "    @step(cache=kept)\n"
        f"    async def begin(self, ev: StartEvent{body}",
        space,
    )
    return space["Flow"]()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (") -> StopEvent: return StopEvent(result=1)", "result=2)"),
        (") -> StopEvent: return StopEvent(result=abs(ev.x))", "result=str(ev.x))"),
        (") -> StopEvent: return StopEvent(result=ev.x.real)", "result=ev.x.imag)"),
        (", k=1) -> StopEvent: return StopEvent(result=k)", ", k=2) -> StopEvent:"),
        (
            ", *, k=1) -> StopEvent: return StopEvent(result=k)",
            ", *, k=2) -> StopEvent:",
        ),
        (
            ") -> StopEvent: return StopEvent(result=(lambda: 1)())",
            "result=(lambda: 2)())",
        ),
        (
            ") -> StopEvent: return StopEvent(result=ev.x in {'a', 'b'})",
            "result=ev.x in {'a', 'c'})",
        ),
    ],
    ids=["constant", "name", "attribute", "default", "keyword", "lambda", "set"],
)
async def test_a_kept_step_runs_again_when_its_code_was_edited(before, after):
    if after.startswith("result"):
        after = before[: before.index("result")] + after
    else:
        after = after + before[before.index(": return") + 1 :]
    kept = {}
    await cell(before, kept).run(x=1)
    await cell(before, kept).run(x=1)
    assert len(kept) == 1, "the same cell run again"
    await cell(after, kept).run(x=1)
    assert len(kept) == 2, "the cell edited"


async def test_moving_a_step_to_other_lines_is_no_edit():
    kept = {}
    await cell(") -> StopEvent:\n        return StopEvent(result=1)", kept).run()
    await cell(") -> StopEvent:\n\n\n        return StopEvent(result=1)", kept).run()
    assert len(kept) == 1


async def test_steps_made_by_one_function_are_told_apart_by_what_it_gave_them():
    kept = {}

    def make(answer):
        class Flow(Workflow):
            @step(cache=kept)
            async def begin(self, ev: StartEvent) -> StopEvent:
                return StopEvent(result=answer)

        return Flow()

    assert [await make(a).run() for a in ("x", "y", "x")] == ["x", "y", "x"]
    assert len(kept) == 2


async def test_a_wrapped_step_is_looked_at_inside():
    def traced(function):
        async def around(*args, **kwargs):
            return await function(*args, **kwargs)

        around.__wrapped__ = function
        around.__name__, around.__qualname__ = "begin", "Flow.begin"
        around.__annotations__ = function.__annotations__
        return around

    kept = {}
    body = ") -> StopEvent: return StopEvent(result={})"
    for result in (1, 2):
        source = body.format(result)
        space = {"StartEvent": StartEvent, "StopEvent": StopEvent}
        exec(f"async def begin(self, ev: StartEvent{source}", space)

        class Flow(Workflow):
            begin = step(cache=kept)(traced(space["begin"]))

        assert await Flow().run() == result


async def test_what_a_kept_event_becomes_later_does_not_change_the_kept_one():
    class Flow(Workflow):
        @step(cache=True)
        async def begin(self, ev: StartEvent) -> Item:
            return Item(n=1, parts=["a"])

        @step
        async def end(self, ev: Item) -> StopEvent:
            ev.n += 1
            ev.parts.append("b")
            return StopEvent(result=(ev.n, ev.parts))

    assert [await Flow().run() for _ in range(3)] == [(2, ["a", "b"])] * 3


async def test_a_kept_list_of_events_is_given_whole():
    class Flow(Workflow):
        @step(cache=True)
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(3)]

        @step
        async def end(self, items: list[Item]) -> StopEvent:
            return StopEvent(result=[item.n for item in items])

    assert [await Flow().run() for _ in range(2)] == [[0, 1, 2]] * 2


async def test_a_step_that_returned_nothing_is_kept_too():
    calls = []

    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Item | StopEvent:
            ctx.send_event(Item())
            await asyncio.sleep(0)
            return StopEvent(result=len(calls))

        @step(cache=True)
        async def silent(self, ev: Item) -> None:
            calls.append(ev)

    for _ in range(3):
        await Flow().run()
    assert len(calls) == 1


async def test_steps_that_take_lists_and_sets_are_kept_by_all_their_events():
    calls = []

    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in ev.numbers]

        @step(cache=True)
        async def end(self, items: list[Item]) -> StopEvent:
            calls.append([item.n for item in items])
            return StopEvent(result=sum(calls[-1]))

    runs = ([1, 2], [2, 1], [1, 2], [1], [2, 1])
    assert [await Flow().run(numbers=n) for n in runs] == [3, 3, 3, 1, 3]
    assert calls == [[1, 2], [2, 1], [1]]


async def test_a_call_that_failed_is_not_kept():
    calls = []

    class Flow(Workflow):
        @step(cache=True, retry_policy=retry_policy(wait=wait_none()))
        async def begin(self, ev: StartEvent) -> StopEvent:
            calls.append(ev)
            if len(calls) == 1:
                raise OSError
            return StopEvent(result="second")

    assert [await Flow().run() for _ in range(2)] == ["second"] * 2
    assert len(calls) == 2


async def test_a_result_that_cannot_be_kept_is_an_error_that_says_so():
    class Flow(Workflow):
        @step(cache=True)
        async def begin(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=threading.Lock())

    with pytest.raises(TypeError) as caught:
        await Flow().run()
    assert "while keeping the result of step `begin`" in caught.value.__notes__


async def test_a_kept_result_shows_in_the_record_as_any_other():
    flow, _ = counting()
    await flow().run()
    handler = flow().run()
    await handler
    [call] = handler.record
    assert (call.step, call.status, call.outputs) == ("begin", "done", ("StopEvent",))


async def test_a_kept_step_may_be_given_resources():
    made = []

    class Flow(Workflow):
        @step(cache=True)
        async def begin(
            self, ev: StartEvent, n: Annotated[int, Resource(lambda: made.append(1))]
        ) -> StopEvent:
            return StopEvent(result=len(made))

    assert [await Flow().run() for _ in range(2)] == [1, 1]
    assert made == [1], "for a kept result nothing is made"


async def test_equal_calls_at_once_may_both_run():
    flow, _ = counting()
    assert sorted(await asyncio.gather(flow().run(), flow().run())) in ([1, 1], [1, 2])


def test_a_kept_step_takes_no_context():
    with pytest.raises(WorkflowValidationError, match="a cached step takes no context"):

        @step(workflow=Looping, cache=True)
        async def other(ctx: Context, ev: StartEvent) -> StopEvent: ...


@pytest.mark.parametrize("kept", ["results", 1, [], None])
def test_what_keeps_nothing_is_no_cache(kept):
    with pytest.raises(WorkflowValidationError, match="cache is True or a mapping"):

        @step(workflow=Looping, cache=kept)
        async def other(ev: StartEvent) -> StopEvent: ...


# -- cancel_step --------------------------------------------------------------------


class Racing(Workflow):
    """`judge` stops `racer` when it gets Go; what racers do is up to the subclass."""

    def __init__(self, **options):
        super().__init__(**options)
        self.log = []

    @step
    async def begin(self, ev: StartEvent) -> list[Item | Go]:
        return [*(Item(n=n) for n in range(3)), Go()]

    @step
    async def judge(self, ctx: Context, ev: Go) -> StopEvent:
        await asyncio.sleep(1)
        ctx.cancel_step("racer")
        await asyncio.sleep(1)
        return StopEvent(result=self.log)


def raced(flow):
    async def main():
        handler = flow.run()
        result = await handler
        assert not only_ours()
        return result, [c.status for c in handler.record if c.step == "racer"]

    clock = VirtualClock()
    result, statuses = clock.run(main())
    assert clock.now == pytest.approx(2)
    return result, statuses


def test_cancel_step_stops_calls_that_run_and_lets_them_clean_up():
    class Flow(Racing):
        @step
        async def racer(self, ev: Item) -> None:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                self.log.append(f"cancelled {ev.n}")
                raise
            finally:
                self.log.append(f"cleaned {ev.n}")

    log, statuses = raced(Flow())
    assert sorted(log) == [f"{what} {n}" for what in ("cancelled", "cleaned")
                           for n in range(3)]  # fmt: skip
    assert statuses == ["cancelled"] * 3


def test_cancel_step_stops_calls_that_are_queued():
    class Flow(Racing):
        @step(num_workers=1)
        async def racer(self, ev: Item) -> None:
            self.log.append(ev.n)
            await asyncio.sleep(100)

    log, statuses = raced(Flow())
    assert log == [0]
    assert statuses == ["cancelled"] * 3


def test_cancel_step_stops_calls_that_wait_for_their_next_attempt():
    class Flow(Racing):
        @step(retry_policy=ConstantDelayRetryPolicy(9, delay=1.5))
        async def racer(self, ev: Item) -> None:
            self.log.append(ev.n)
            raise OSError

    log, statuses = raced(Flow())
    assert sorted(log) == [0, 1, 2]
    assert statuses == ["retrying"] * 3


def test_cancel_step_stops_calls_that_wait_for_an_event():
    class Flow(Racing):
        @step
        async def racer(self, ctx: Context, ev: Item) -> None:
            try:
                await ctx.wait_for_event(HumanResponseEvent)
            finally:
                self.log.append(ev.n)

    log, statuses = raced(Flow())
    assert sorted(log) == [0, 1, 2]
    assert statuses == ["cancelled"] * 3


def test_cancel_step_calls_no_handler():
    class Flow(Racing):
        @step
        async def racer(self, ev: Item) -> None:
            await asyncio.sleep(100)

        @catch_error
        async def recover(self, ev: StepFailedEvent) -> None:
            self.log.append(ev)

    assert raced(Flow())[0] == []


def test_a_list_whose_items_were_cancelled_is_handed_on_without_them():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item | Go]:
            return [*(Item(n=n) for n in range(3)), Go()]

        @step
        async def judge(self, ctx: Context, ev: Go) -> None:
            await asyncio.sleep(1)
            ctx.cancel_step("racer")

        @step
        async def racer(self, ev: Item) -> Out:
            await asyncio.sleep(0 if ev.n == 1 else 100)
            return Out(n=ev.n)

        @step
        async def end(self, outs: list[Out]) -> StopEvent:
            return StopEvent(result=[out.n for out in outs])

    async def main():
        return await Flow().run()

    assert VirtualClock().run(main()) == [1]


async def test_the_call_that_asks_is_spared():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item]:
            return [Item(n=n) for n in range(3)]

        @step
        async def racer(self, ctx: Context, ev: Item) -> StopEvent:
            if ev.n == 1:
                await asyncio.sleep(0)
                ctx.cancel_step("racer")
                await asyncio.sleep(0)
                return StopEvent(result=ev.n)
            await asyncio.Event().wait()

    handler = Flow().run()
    assert await handler == 1
    calls = [call for call in handler.record if call.step == "racer"]
    assert [call.status for call in calls] == ["cancelled", "done", "cancelled"]


async def test_what_a_stopped_call_returns_sends_and_shows_all_the_same_is_dropped():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item | Go]:
            return [Item(), Go()]

        @step
        async def stubborn(self, ctx: Context, ev: Item) -> Out:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ctx.send_event(Out(n=1))
                ctx.write_event_to_stream(Out(n=2))
            return Out(n=3)

        @step
        async def judge(self, ctx: Context, ev: Go) -> StopEvent:
            await asyncio.sleep(0)
            ctx.cancel_step("stubborn")
            while "stubborn" in await ctx.running_steps():
                await asyncio.sleep(0)
            return StopEvent(result="judged")

        @step
        async def never(self, ev: Out) -> StopEvent:
            return StopEvent(result=f"got {ev.n}")

    handler = Flow().run()
    assert await handler == "judged"
    assert [type(e) async for e in handler.stream_events()] == [StopEvent]
    assert [c.status for c in handler.record if c.step == "stubborn"] == ["cancelled"]


async def test_a_stopped_call_that_raises_something_else_ends_nothing():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item | Go]:
            return [Item(), Go()]

        @step
        async def clumsy(self, ev: Item) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                raise OSError

        @step
        async def judge(self, ctx: Context, ev: Go) -> StopEvent:
            await asyncio.sleep(0)
            ctx.cancel_step("clumsy")
            while "clumsy" in await ctx.running_steps():
                await asyncio.sleep(0)
            return StopEvent(result="judged")

    assert await Flow().run() == "judged"


async def test_a_worker_of_a_stopped_call_is_free_for_the_next():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item | Go]:
            return [Item(n=0), Go()]

        @step(num_workers=1)
        async def racer(self, ev: Item) -> StopEvent:
            if ev.n == 0:
                await asyncio.Event().wait()
            return StopEvent(result=ev.n)

        @step
        async def judge(self, ctx: Context, ev: Go) -> Item:
            await asyncio.sleep(0)
            ctx.cancel_step("racer")
            return Item(n=1)

    assert await Flow().run() == 1


async def test_an_unknown_step_cannot_be_cancelled():
    class Flow(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
            ctx.cancel_step("begni")

    with pytest.raises(WorkflowStepDoesNotExistError, match=r"Did you mean begin\?"):
        await Flow().run()


async def test_cancel_step_may_come_from_a_thread_and_from_outside():
    class Flow(Workflow):
        @step
        async def begin(self, ev: StartEvent) -> list[Item | Go]:
            return [Item(), Go()]

        @step
        async def racer(self, ev: Item) -> Out:
            self.started.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.stopped.set()

        @step
        def judge(self, ctx: Context, ev: Go) -> None:
            if self.asks:
                ctx.cancel_step("racer")

        @step
        async def end(self, outs: list[Out]) -> StopEvent:
            return StopEvent(result=len(outs))

    flow = Flow()
    flow.started, flow.stopped, flow.asks = asyncio.Event(), asyncio.Event(), True
    assert await flow.run() == 0
    flow.started, flow.asks = asyncio.Event(), False
    handler = flow.run()
    await flow.started.wait()
    flow.stopped.clear()
    handler.ctx.cancel_step("racer")
    assert await handler == 0
    assert flow.stopped.is_set()


# -- num_concurrent_runs ------------------------------------------------------------


class Turn(Workflow):
    """Takes `seconds`, and notes when which run begins."""

    def __init__(self, limit=1, **options):
        super().__init__(num_concurrent_runs=limit, **options)
        self.began = []

    @step
    async def begin(self, ev: StartEvent) -> StopEvent:
        self.began.append(ev.name)
        await asyncio.sleep(ev.get("seconds", 10))
        return StopEvent(result=ev.name)


def on_a_clock(main):
    clock = VirtualClock()
    return clock.run(main()), clock.now


def test_runs_beyond_the_limit_wait_for_their_turn_in_their_order():
    flow = Turn(2)

    async def main():
        handlers = [flow.run(name=n) for n in range(5)]
        statuses = [handler.status for handler in handlers]
        await asyncio.sleep(1)
        assert flow.began == [0, 1]
        return statuses, await asyncio.gather(*handlers)

    (statuses, results), took = on_a_clock(main)
    assert statuses == ["running"] * 2 + ["queued"] * 3
    assert results == flow.began == [0, 1, 2, 3, 4]
    assert took == pytest.approx(30)


def test_a_queued_run_s_clock_starts_at_its_turn():
    flow = Turn(timeout=12)

    async def main():
        first, second = flow.run(name=1), flow.run(name=2)
        await asyncio.sleep(5)
        assert (first.elapsed, second.elapsed) == (5, 0)
        await asyncio.gather(first, second)
        assert (first.elapsed, second.elapsed) == (10, 10)
        with pytest.raises(WorkflowTimeoutError):
            await flow.run(name=3, seconds=13)

    on_a_clock(main)


def test_a_queued_run_that_is_cancelled_never_begins():
    flow = Turn()

    async def main():
        first, second, third = (flow.run(name=n) for n in range(3))
        await second.cancel_run()
        assert second.status == "cancelled"
        with pytest.raises(WorkflowCancelledByUser):
            await second
        assert await asyncio.gather(first, third) == [0, 2]
        assert flow.began == [0, 2]

    on_a_clock(main)


@pytest.mark.parametrize("how", ["fails", "is cancelled", "times out"])
def test_a_run_that_ends_without_a_result_gives_its_turn_on(how):
    class Flow(Turn):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            if ev.name == 1:
                return StopEvent(result="second")
            if how == "fails":
                raise OSError
            await asyncio.sleep(100)

    flow = Flow(timeout=50)

    async def main():
        first, second = flow.run(name=0), flow.run(name=1)
        if how == "is cancelled":
            await first.cancel_run()
        assert await second == "second"
        assert first.error is not None

    on_a_clock(main)


def test_runs_of_different_instances_do_not_wait_for_each_other():
    async def main():
        return await asyncio.gather(*(Turn().run(name=n) for n in range(3)))

    assert on_a_clock(main) == ([0, 1, 2], pytest.approx(10))


def test_a_run_waiting_for_a_person_keeps_its_turn():
    class Flow(Turn):
        @step
        async def begin(self, ev: StartEvent) -> InputRequiredEvent | StopEvent:
            self.began.append(ev.name)
            return InputRequiredEvent() if ev.name == 0 else StopEvent(result="second")

        @step
        async def answer(self, ev: HumanResponseEvent) -> StopEvent:
            return StopEvent(result="first")

    flow = Flow()

    async def main():
        first, second = flow.run(name=0), flow.run(name=1)
        await asyncio.sleep(1000)
        assert (first.status, second.status) == ("waiting", "queued")
        first.send_event(HumanResponseEvent())
        return await asyncio.gather(first, second)

    assert on_a_clock(main)[0] == ["first", "second"]


def test_what_is_sent_to_a_queued_run_reaches_it_when_it_has_begun():
    class Flow(Turn):
        @step
        async def other(self, ctx: Context, ev: Item) -> None:
            self.began.append(f"item {ev.n}")

    flow = Flow(on_stall="wait")

    async def main():
        first, second = flow.run(name=0), flow.run(name=1)
        second.send_event(Item(n=7))
        second.ctx.cancel_step("begin")
        await asyncio.sleep(1)
        assert flow.began == [0]
        await first
        await asyncio.sleep(1)
        assert flow.began == [0, "item 7"]
        await second.cancel_run()

    on_a_clock(main)


def test_a_run_of_a_loop_that_died_gives_its_turn_back():
    class Flow(Turn):
        @step
        async def ask(self, ev: StartEvent) -> InputRequiredEvent | None:
            return InputRequiredEvent() if ev.name == "left" else None

        @step
        async def begin(self, ev: StartEvent | HumanResponseEvent) -> StopEvent | None:
            return None if ev.get("name") == "left" else StopEvent(result="second")

    flow = Flow()

    async def left():
        handler = flow.run(name="left")
        async for event in handler.stream_events():
            if isinstance(event, InputRequiredEvent):
                return

    async def main():
        return await flow.run(name="second")

    asyncio.run(left())
    assert on_a_clock(main)[0] == "second"


def test_runs_of_several_threads_share_the_turns():
    flow = Turn()
    going, most = [], []

    class Counted(Turn):
        @step
        async def begin(self, ev: StartEvent) -> StopEvent:
            going.append(ev.name)
            most.append(len(going))
            await asyncio.sleep(0)
            going.remove(ev.name)
            return StopEvent(result=ev.name)

    flow = Counted()
    results = []

    def work(number):
        async def main():
            return [await flow.run(name=(number, n)) for n in range(20)]

        results.append(asyncio.run(main()))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(name for each in results for name in each) == [
        (number, n) for number in range(4) for n in range(20)
    ]
    assert max(most) == 1


async def test_runs_that_are_over_are_not_held_by_their_turns():
    flow = Turn()
    handlers = [flow.run(name=n, seconds=0) for n in range(3)]
    await handlers[1].cancel_run()
    await asyncio.gather(handlers[0], handlers[2])
    await asyncio.sleep(0)
    del handlers
    gc.collect()
    assert not [o for o in gc.get_objects() if type(o).__name__ == "Run"
                and o.machine.plan.name == "Turn"]  # fmt: skip


@pytest.mark.parametrize("end", ["saved", "cancelled"])
def test_a_queued_run_is_saved_with_its_start_event(end):
    flow = Turn()

    async def main():
        first, second = flow.run(name=0), flow.run(name=1)
        if end == "cancelled":
            await second.cancel_run()
        saved = Context.from_dict(flow, second.ctx.to_dict())
        assert saved.is_running
        await first
        assert await Turn().run(ctx=saved) == 1
        await second.cancel_run()

    on_a_clock(main)


@pytest.mark.parametrize("end", ["saved", "cancelled"])
def test_a_queued_run_that_goes_on_with_an_earlier_one_does_not_lose_it(end):
    flow = Turn()

    async def main():
        earlier = flow.run(name="earlier")
        await asyncio.sleep(1)
        await earlier.cancel_run()
        first = flow.run(name=0)
        queued = flow.run(ctx=Context.from_dict(flow, earlier.ctx.to_dict()))
        if end == "cancelled":
            await queued.cancel_run()
        again = Context.from_dict(flow, queued.ctx.to_dict())
        assert again.is_running
        await first
        await queued.cancel_run()
        assert await Turn().run(ctx=again) == "earlier"

    on_a_clock(main)


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "2"])
def test_num_concurrent_runs_is_a_whole_number_above_0(limit):
    with pytest.raises(WorkflowValidationError, match="num_concurrent_runs"):
        Turn(limit)
