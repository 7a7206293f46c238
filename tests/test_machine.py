"""The pure machine, and what must hold for every workflow and order of events."""

import asyncio
import contextlib
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell import MemoryJournal, StartEvent, StepStateChanged
from stepwell.calls import StepCall
from stepwell.commands import Ended
from stepwell.errors import WorkflowStalledError
from stepwell.journals.base import Fact, RunStarted
from stepwell.machine import Machine
from strategies import Left, Raised, Right, scripted, scripts, workers


def play(script, limits, journal=None):
    """Run a script to its end; gives the workflow, the handler and what came out."""

    async def main():
        flow = scripted(script, limits, lambda: asyncio.sleep(0), journal)
        handler = flow.run(run_id="r")
        try:
            outcome = ("result", await handler)
        except Raised as error:
            outcome = ("raised", error.args[0])
        except WorkflowStalledError:
            outcome = ("stalled", None)
        assert asyncio.all_tasks() == {asyncio.current_task()}, "a task was left"
        return flow, handler, outcome

    return asyncio.run(main())


def fold(plan, facts):
    """Drive a fresh machine with recorded facts; gives its commands as data."""
    machine = Machine(plan)
    told = []
    for fact in facts:
        for command in machine.apply(fact):
            if isinstance(command, StepCall):
                name = command.spec.name
                told.append(("start", command.call_id, name, command.worker))
            elif isinstance(command, Ended):
                told.append((command.status, repr(command.error)))
    return machine, told + machine.record.to_rows()


async def kept(journal) -> list[Fact]:
    return [fact async for fact in journal.read("r")]


@settings(max_examples=150, deadline=None)
@given(scripts, workers)
def test_replay_of_the_facts_equals_the_live_run(script, limits):
    journal = MemoryJournal()
    flow, handler, outcome = play(script, limits, journal)
    facts = asyncio.run(kept(journal))
    machine, told = fold(flow.compile(), facts)
    assert machine.over and machine.status == handler.status
    started = [t[1:] for t in told if isinstance(t, tuple) and t[0] == "start"]
    live = [
        (c.call_id, c.step, c.worker) for c in handler.record if c.started is not None
    ]
    assert sorted(started) == sorted(live)
    assert fold(flow.compile(), facts)[1] == told, "the fold is not deterministic"
    assert outcome[0] == {"done": "result", "failed": "raised"}.get(
        handler.status, handler.status
    )


@settings(max_examples=150, deadline=None)
@given(scripts, workers)
def test_every_started_call_ends_exactly_once(script, limits):
    _, handler, _ = play(script, limits)
    for call in handler.record:
        assert call.ended is not None
        assert call.status in {"done", "failed", "cancelled"}
    ids = [call.call_id for call in handler.record]
    assert len(ids) == len(set(ids))


@settings(max_examples=150, deadline=None)
@given(scripts, workers)
def test_no_event_is_lost_and_none_goes_where_it_is_not_taken(script, limits):
    flow, handler, outcome = play(script, limits)
    for step, n in flow.log:
        assert {"left": Left, "right": Right}[step].__name__ in {
            call.input for call in handler.record if call.step == step
        }
        assert n > 0
    assert max(Counter(flow.log).values(), default=1) == 1, "an event came twice"
    if outcome[0] == "stalled":
        # Nothing cut the run short, so every event that was made was taken.
        made = sum(
            len(script[n].sent) + len(script[n].returned)
            for n in [0, *(n for _, n in flow.log)]
            if n < len(script)
        )
        assert len(flow.log) == made


@settings(max_examples=100, deadline=None)
@given(scripts, workers)
def test_workers_never_exceed_num_workers(script, limits):
    _, handler, _ = play(script, limits)
    for step, limit in (("left", limits[0]), ("right", limits[1])):
        calls = [c for c in handler.record if c.step == step and c.started is not None]
        assert all(0 <= c.worker < limit for c in calls)
        for call in calls:
            at_once = [
                c
                for c in calls
                if c.worker == call.worker
                and c is not call
                and c.started < call.ended
                and call.started < c.ended
            ]
            assert not at_once, "two calls on one worker at one time"


@settings(max_examples=100, deadline=None)
@given(scripts, workers)
def test_whoever_comes_late_is_told_the_same_story(script, limits):
    async def main():
        flow = scripted(script, limits, lambda: asyncio.sleep(0))

        async def read():
            stream = handler.stream_events(expose_internal=True)
            return [(type(event), event.to_dict()) async for event in stream]

        handler = flow.run()
        live = asyncio.create_task(read())
        await asyncio.sleep(0)
        halfway = asyncio.create_task(read())
        with contextlib.suppress(Raised, WorkflowStalledError):
            await handler
        told = [await live, await halfway]
        assert told[0] == told[1] == await read()
        assert [kind for kind, _ in told[0]].count(StepStateChanged) >= 2

    asyncio.run(main())


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(6)))
def test_the_order_of_completions_does_not_change_a_fan_in(order):
    from stepwell import Context, Event, StopEvent, Workflow, step

    class Item(Event):
        n: int

    class Out(Event):
        n: int

    async def main():
        gates = [asyncio.Event() for _ in order]

        class Flow(Workflow):
            @step
            async def begin(self, ev: StartEvent) -> list[Item]:
                return [Item(n=n) for n in range(len(order))]

            @step(num_workers=6)
            async def work(self, ev: Item) -> Out:
                await gates[ev.n].wait()
                return Out(n=ev.n)

            @step
            async def join(self, ctx: Context, ev: Out) -> StopEvent | None:
                outs = ctx.collect_events(ev, [Out] * len(order))
                return StopEvent(result=[o.n for o in outs]) if outs else None

        handler = Flow().run()
        for n in order:
            gates[n].set()
            await asyncio.sleep(0)
        return await handler

    assert asyncio.run(main()) == list(range(6))


def test_the_machine_neither_copies_nor_keeps_what_is_done():
    flow = scripted([], (1, 1), None)
    machine = Machine(flow.compile())
    event = StartEvent()
    (call,) = machine.apply(RunStarted(0.0, event))
    assert call.event is event
    assert list(machine.calls) == [1]
