"""The jobs, once for each engine. `python workloads.py ENGINE JOB N` times one.

Prints the CPU seconds of the job alone; imports and definitions are not in it.
"""

import asyncio
import sys
import time

from pydantic import BaseModel

JOBS = {"latency": 300, "loop": 10_000, "fanout": 1_000, "concurrent": 1_000}
ENGINES = ("limit", "queue", "stepwell", "llama-index-workflows")
WORKERS = 8


def with_workflows(api):
    """Jobs for stepwell and for its peer with the same names."""
    Workflow, step, Context, Event, StartEvent, StopEvent = api

    class Mid(Event):
        n: int

    class Late(Event):
        n: int

    class Three(Workflow):
        @step
        async def first(self, ev: StartEvent) -> Mid:
            return Mid(n=ev.n)

        @step
        async def second(self, ev: Mid) -> Late:
            return Late(n=ev.n + 1)

        @step
        async def third(self, ev: Late) -> StopEvent:
            return StopEvent(result=ev.n + 1)

    class Loop(Workflow):
        @step
        async def turn(self, ev: StartEvent | Mid) -> Mid | StopEvent:
            return Mid(n=ev.n - 1) if ev.n else StopEvent(result="zero")

    class FanOut(Workflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Mid | None:
            await ctx.store.set("n", ev.n)
            for n in range(ev.n):
                ctx.send_event(Mid(n=n))

        @step(num_workers=WORKERS)
        async def work(self, ev: Mid) -> Late:
            return Late(n=ev.n)

        @step
        async def join(self, ctx: Context, ev: Late) -> StopEvent | None:
            late = ctx.collect_events(ev, [Late] * await ctx.store.get("n"))
            return StopEvent(result=sum(e.n for e in late)) if late else None

    async def latency(n):
        flow = Three(timeout=None)
        for k in range(n):
            assert await flow.run(n=k) == k + 2

    async def loop(n):
        assert await Loop(timeout=None).run(n=n) == "zero"

    async def fanout(n):
        assert await FanOut(timeout=None).run(n=n) == n * (n - 1) // 2

    async def concurrent(n):
        flow = Three(timeout=None)
        results = await asyncio.gather(*(flow.run(n=k) for k in range(n)))
        assert results == [k + 2 for k in range(n)]

    return latency, loop, fanout, concurrent


class Start(BaseModel):
    n: int


class Mid(BaseModel):
    n: int


class Late(BaseModel):
    n: int


class Stop(BaseModel):
    result: object


def by_direct_awaits():
    """No engine: functions that await each other, one task a run."""

    async def first(ev):
        return Mid(n=ev.n)

    async def second(ev):
        return Late(n=ev.n + 1)

    async def third(ev):
        return Stop(result=ev.n + 1)

    async def three(k):
        return (await third(await second(await first(Start(n=k))))).result

    async def turn(ev):
        return Mid(n=ev.n - 1) if ev.n else Stop(result="zero")

    async def latency(n):
        for k in range(n):
            assert await asyncio.create_task(three(k)) == k + 2

    async def loop(n):
        ev = Start(n=n)
        while not isinstance(ev, Stop):
            ev = await turn(ev)
        assert ev.result == "zero"

    async def work(ev):
        return Late(n=ev.n)

    async def fanout(n):
        todo = iter([Mid(n=k) for k in range(n)])
        late = []

        async def worker():
            for ev in todo:
                late.append(await work(ev))

        await asyncio.gather(*(worker() for _ in range(WORKERS)))
        assert Stop(result=sum(e.n for e in late)).result == n * (n - 1) // 2

    async def concurrent(n):
        results = await asyncio.gather(*(three(k) for k in range(n)))
        assert results == [k + 2 for k in range(n)]

    return latency, loop, fanout, concurrent


def by_queue():
    """The engine people write first: a queue, and a task for each step."""

    async def serve(start, steps):
        queue, done = asyncio.Queue(), asyncio.get_running_loop().create_future()
        tasks = set()

        async def perform(step, ev):
            for made in await step(ev) or ():
                if isinstance(made, Stop):
                    done.set_result(made.result)
                else:
                    queue.put_nowait(made)

        queue.put_nowait(start)
        while not done.done():
            getting = asyncio.ensure_future(queue.get())
            await asyncio.wait({getting, done}, return_when="FIRST_COMPLETED")
            if not getting.done():
                getting.cancel()
                break
            ev = getting.result()
            task = asyncio.create_task(perform(steps[type(ev)], ev))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        return await done

    async def first(ev):
        return [Mid(n=ev.n)]

    async def second(ev):
        return [Late(n=ev.n + 1)]

    async def third(ev):
        return [Stop(result=ev.n + 1)]

    async def turn(ev):
        return [Mid(n=ev.n - 1) if ev.n else Stop(result="zero")]

    three = {Start: first, Mid: second, Late: third}

    async def latency(n):
        for k in range(n):
            assert await serve(Start(n=k), three) == k + 2

    async def loop(n):
        assert await serve(Start(n=n), {Start: turn, Mid: turn}) == "zero"

    async def fanout(n):
        free, late = asyncio.Semaphore(WORKERS), []

        async def begin(ev):
            return [Mid(n=k) for k in range(ev.n)]

        async def work(ev):
            async with free:
                return [Late(n=ev.n)]

        async def join(ev):
            late.append(ev)
            return [Stop(result=sum(e.n for e in late))] if len(late) == n else None

        steps = {Start: begin, Mid: work, Late: join}
        assert await serve(Start(n=n), steps) == n * (n - 1) // 2

    async def concurrent(n):
        results = await asyncio.gather(*(serve(Start(n=k), three) for k in range(n)))
        assert results == [k + 2 for k in range(n)]

    return latency, loop, fanout, concurrent


def jobs_of(engine):
    if engine == "limit":
        return by_direct_awaits()
    if engine == "queue":
        return by_queue()
    if engine == "stepwell":
        import stepwell as names
    else:
        import workflows as names
        import workflows.events

        names.Event = workflows.events.Event
        names.StartEvent = workflows.events.StartEvent
        names.StopEvent = workflows.events.StopEvent
    return with_workflows(
        (
            names.Workflow,
            names.step,
            names.Context,
            names.Event,
            names.StartEvent,
            names.StopEvent,
        )
    )


def main():
    engine, job, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
    function = dict(zip(JOBS, jobs_of(engine), strict=True))[job]

    async def timed():
        await function(min(n, 10))  # first uses are not what is measured
        began = time.process_time()
        await function(n)
        return time.process_time() - began

    print(asyncio.run(timed()))


if __name__ == "__main__":
    main()
