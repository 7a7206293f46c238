"""Several events for one step: B17 to B19, joins, lists and their workers."""

import asyncio
from typing import Annotated

from parity.engines import ending, on_both, same, settle, trying

# -- B17: collect_events -----------------------------------------------------------


async def test_b17_events_come_in_the_order_asked_for():
    async def program(w):
        class A(w.Event):
            n: int

        class B(w.Event):
            n: int

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> A | B | None:
                for event in (B(n=1), A(n=2), A(n=3)):
                    ctx.send_event(event)

            @w.step(num_workers=1)
            async def join(self, ctx: w.Context, ev: A | B) -> w.StopEvent | None:
                nothing = ctx.collect_events(ev, [])
                got = ctx.collect_events(ev, [A, B, A])
                if got is None:
                    return None
                return w.StopEvent(result=[nothing, [event.n for event in got]])

        return await Flow().run()

    assert await same(program) == [[], [2, 1, 3]]


async def test_b17_a_buffer_begins_anew_when_its_set_is_whole():
    async def program(w):
        class Part(w.Event):
            n: int

        class Flow(w.Workflow):
            sets = ()

            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> Part | None:
                for n in range(6):
                    ctx.send_event(Part(n=n))

            @w.step(num_workers=1)
            async def join(self, ctx: w.Context, ev: Part) -> w.StopEvent | None:
                got = ctx.collect_events(ev, [Part] * 2)
                if got:
                    self.sets = (*self.sets, [part.n for part in got])
                if len(self.sets) == 3:
                    return w.StopEvent(result=self.sets)

        return await Flow().run()

    assert await same(program) == ([0, 1], [2, 3], [4, 5])


async def test_b17_buffers_are_told_apart_by_name():
    async def program(w):
        class Part(w.Event):
            n: int

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> Part | None:
                for n in (0, 1, 2, 4):
                    ctx.send_event(Part(n=n))

            @w.step(num_workers=1)
            async def join(self, ctx: w.Context, ev: Part) -> w.StopEvent | None:
                kind = "odd" if ev.n % 2 else "even"
                got = ctx.collect_events(ev, [Part] * 3, buffer_id=kind)
                return w.StopEvent(result=[p.n for p in got]) if got else None

        return await Flow().run()

    assert await same(program) == [0, 2, 4]


async def test_b17_a_retried_step_keeps_what_it_collected():
    async def program(w):
        class Part(w.Event):
            n: int

        class Flow(w.Workflow):
            tries = 0

            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> Part | None:
                for n in range(3):
                    ctx.send_event(Part(n=n))

            @w.step(
                num_workers=1,
                retry_policy=w.retry_policy(
                    wait=w.wait_none(), stop=w.stop_after_attempt(2)
                ),
            )
            async def join(self, ctx: w.Context, ev: Part) -> w.StopEvent | None:
                got = ctx.collect_events(ev, [Part] * 3)
                if got is None:
                    return None
                self.tries += 1
                if self.tries == 1:
                    raise LookupError("try again")
                return w.StopEvent(result=[p.n for p in got])

        return await Flow(timeout=2).run()

    assert await same(program) == [0, 1, 2]


# -- B18, B19: what LlamaIndex's buffer does not do --------------------------------


async def test_b18_collecting_never_runs_a_step_again():
    # On purpose: LlamaIndex repeats a step whose buffer another worker has changed.
    async def program(w):
        class Part(w.Event):
            n: int

        class Flow(w.Workflow):
            runs = 0

            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> Part | None:
                for n in range(4):
                    ctx.send_event(Part(n=n))

            @w.step
            async def join(self, ctx: w.Context, ev: Part) -> w.StopEvent | None:
                self.runs += 1
                await settle()  # all four are under way
                if ctx.collect_events(ev, [Part] * 4):
                    return w.StopEvent(result=self.runs)

        return await Flow(timeout=2).run()

    theirs, ours = await on_both(program)
    assert theirs > 4
    assert ours == 4


async def test_b19_surplus_events_stay_for_the_next_set():
    # On purpose: LlamaIndex drops the second A, and the second set never comes.
    async def program(w):
        class A(w.Event):
            n: int

        class C(w.Event):
            n: int

        class Flow(w.Workflow):
            sets = ()

            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> A | C | None:
                for event in (A(n=1), A(n=2), C(n=1), C(n=2)):
                    ctx.send_event(event)

            @w.step(num_workers=1)
            async def join(self, ctx: w.Context, ev: A | C) -> w.StopEvent | None:
                got = ctx.collect_events(ev, [A, C])
                if got:
                    self.sets = (*self.sets, [event.n for event in got])
                if len(self.sets) == 2:
                    return w.StopEvent(result=self.sets)

        return await ending(Flow(timeout=w.brief).run())

    theirs, ours = await on_both(program)
    assert theirs == "WorkflowTimeoutError"
    assert ours == ([1, 1], [2, 2])


async def test_b19_different_lists_in_one_step_are_different_joins():
    # On purpose: in LlamaIndex they share a buffer; the first whole set empties it.
    async def program(w):
        class A(w.Event): ...

        class B(w.Event): ...

        class Flow(w.Workflow):
            sets = ()

            @w.step
            async def begin(self, ctx: w.Context, ev: w.StartEvent) -> A | B | None:
                for event in (A(), B(), A(), B()):
                    ctx.send_event(event)

            @w.step(num_workers=1)
            async def join(self, ctx: w.Context, ev: A | B) -> w.StopEvent | None:
                if ctx.collect_events(ev, [type(ev)] * 2):
                    self.sets = (*self.sets, type(ev).__name__)
                return w.StopEvent(result=self.sets) if len(self.sets) == 2 else None

        return await ending(Flow(timeout=w.brief).run())

    theirs, ours = await on_both(program)
    assert theirs == "WorkflowTimeoutError"
    assert ours == ("A", "B")


# -- lists of events ---------------------------------------------------------------


async def test_lists_start_workers_and_are_joined():
    async def program(w):
        class Task(w.Event):
            n: int

        class Done(w.Event):
            n: int

        class Flow(w.Workflow):
            @w.step
            async def split(self, ev: w.StartEvent) -> list[Task]:
                return [Task(n=n) for n in range(ev.count)]

            @w.step(num_workers=8)
            async def work(self, ev: Task) -> Done:
                return Done(n=ev.n * 10)

            @w.step
            async def join(self, events: list[Done]) -> w.StopEvent:
                return w.StopEvent(result=sorted(event.n for event in events))

        return [await Flow().run(count=5), await Flow().run(count=0)]

    assert await same(program) == [[0, 10, 20, 30, 40], []]


async def test_lists_are_joined_in_the_order_they_were_returned_in():
    # On purpose: LlamaIndex gives them in the order in which the workers finished.
    async def program(w):
        class Task(w.Event):
            n: int

        class Done(w.Event):
            n: int

        class Flow(w.Workflow):
            @w.step
            async def split(self, ev: w.StartEvent) -> list[Task]:
                self.turn = [asyncio.Event() for _ in range(4)]
                self.turn[3].set()
                return [Task(n=n) for n in range(4)]

            @w.step
            async def work(self, ev: Task) -> Done:
                await self.turn[ev.n].wait()  # the last one finishes first
                asyncio.get_running_loop().call_later(0.002, self.turn[ev.n - 1].set)
                return Done(n=ev.n)

            @w.step
            async def join(self, events: list[Done]) -> w.StopEvent:
                return w.StopEvent(result=[event.n for event in events])

        return await Flow().run()

    theirs, ours = await on_both(program)
    assert theirs == [3, 2, 1, 0]
    assert ours == [0, 1, 2, 3]


async def test_lists_can_be_cut_short_by_take():
    async def program(w):
        class Task(w.Event):
            n: int

        class Done(w.Event):
            n: int

        class Flow(w.Workflow):
            @w.step
            async def split(self, ev: w.StartEvent) -> list[Task]:
                return [Task(n=n) for n in range(4)]

            @w.step(num_workers=1)
            async def work(self, ev: Task) -> Done:
                return Done(n=ev.n)

            @w.step
            async def join(
                self, events: Annotated[list[Done], w.Collect(w.Take(2))]
            ) -> w.StopEvent:
                return w.StopEvent(result=[event.n for event in events])

        return await Flow().run()

    assert await same(program) == [0, 1]


async def test_lists_of_a_union_are_joined_whole():
    async def program(w):
        class Good(w.Event):
            n: int

        class Bad(w.Event):
            n: int

        class Task(w.Event):
            n: int

        class Flow(w.Workflow):
            @w.step
            async def split(self, ev: w.StartEvent) -> list[Task]:
                return [Task(n=n) for n in range(4)]

            @w.step
            async def work(self, ev: Task) -> Good | Bad:
                return Bad(n=ev.n) if ev.n % 2 else Good(n=ev.n)

            @w.step
            async def join(
                self, events: Annotated[list[Good | Bad], w.Collect(w.All())]
            ) -> w.StopEvent:
                named = [(type(event).__name__, event.n) for event in events]
                return w.StopEvent(result=sorted(named))

        return await Flow().run()

    assert await same(program) == [("Bad", 1), ("Bad", 3), ("Good", 0), ("Good", 2)]


async def test_lists_may_be_empty_or_none():
    async def program(w):
        class Task(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def split(self, ev: w.StartEvent) -> list[Task] | None:
                return [] if ev.kind == "empty" else None

            @w.step
            async def join(self, events: list[Task]) -> w.StopEvent:
                return w.StopEvent(result=events)

        return [
            await Flow(timeout=w.brief).run(kind="empty"),
            await ending(Flow(timeout=w.brief).run(kind="none")),
        ]

    assert await same(program) == [[], "WorkflowTimeoutError"]


async def test_lists_without_a_producer_are_refused():
    async def program(w):
        class Task(w.Event): ...

        class Flow(w.Workflow):
            @w.step
            async def begin(self, ev: w.StartEvent) -> Task:
                return Task()

            @w.step
            async def join(self, events: list[Task]) -> w.StopEvent:
                return w.StopEvent(result=len(events))

        run = trying(Flow().run)
        return await ending(run) if hasattr(run, "ctx") else run

    theirs, ours = await on_both(program)
    assert theirs == "WorkflowValidationError"
    assert ours == 1


async def test_lists_take_in_what_is_sent_on_the_way():
    # On purpose: LlamaIndex ignores it with a warning in its log, and the set is short.
    async def program(w):
        class Task(w.Event):
            n: int

        class Done(w.Event):
            n: int

        class Flow(w.Workflow):
            @w.step
            async def split(self, ev: w.StartEvent) -> list[Task]:
                return [Task(n=n) for n in range(2)]

            @w.step
            async def work(self, ctx: w.Context, ev: Task) -> Done:
                ctx.send_event(Done(n=ev.n + 10))
                return Done(n=ev.n)

            @w.step
            async def join(self, events: list[Done]) -> w.StopEvent:
                return w.StopEvent(result=sorted(event.n for event in events))

        return await Flow().run()

    theirs, ours = await on_both(program)
    assert theirs == [0, 1]
    assert ours == [0, 1, 10, 11]


async def test_lists_within_lists_are_joined_level_by_level():
    async def program(w):
        class Page(w.Event):
            n: int

        class Line(w.Event):
            n: int

        class Read(w.Event):
            n: int

        class Whole(w.Event):
            n: int

        class Flow(w.Workflow):
            @w.step
            async def pages(self, ev: w.StartEvent) -> list[Page]:
                return [Page(n=n) for n in (1, 2)]

            @w.step
            async def lines(self, ev: Page) -> list[Line]:
                return [Line(n=ev.n * 10 + n) for n in (1, 2, 3)]

            @w.step
            async def read(self, ev: Line) -> Read:
                return Read(n=ev.n)

            @w.step
            async def page(self, events: list[Read]) -> Whole:
                return Whole(n=sum(event.n for event in events))

            @w.step
            async def book(self, events: list[Whole]) -> w.StopEvent:
                return w.StopEvent(result=sorted(event.n for event in events))

        return await Flow().run()

    assert await same(program) == [36, 66]


async def test_joins_pair_what_comes_from_one_item_of_a_list():
    # On purpose: LlamaIndex pairs whatever comes first.
    async def program(w):
        class Task(w.Event):
            n: int

        class A(w.Event):
            n: int

        class B(w.Event):
            n: int

        class Pair(w.Event):
            pair: tuple

        class Flow(w.Workflow):
            @w.step
            async def split(self, ev: w.StartEvent) -> list[Task]:
                return [Task(n=n) for n in range(3)]

            @w.step
            async def left(self, ev: Task) -> A:
                if ev.n == 0:
                    await settle()
                return A(n=ev.n)

            @w.step(num_workers=1)
            async def right(self, ev: Task) -> B:
                return B(n=ev.n)

            @w.step
            async def both(self, a: A, b: B) -> Pair:
                return Pair(pair=(a.n, b.n))

            @w.step
            async def join(self, events: list[Pair]) -> w.StopEvent:
                return w.StopEvent(result=sorted(event.pair for event in events))

        return await ending(Flow(timeout=1).run())

    theirs, ours = await on_both(program)
    assert (0, 0) not in theirs
    assert ours == [(0, 0), (1, 1), (2, 2)]
