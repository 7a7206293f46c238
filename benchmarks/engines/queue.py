"""The engine people write first: an `asyncio.Queue`, and a task for each step."""

import asyncio
from time import perf_counter

from pydantic import BaseModel

from engines.limit import Late, Mid, Start, Stop, Until


async def serve(start, steps):
    queue, done = asyncio.Queue(), asyncio.get_running_loop().create_future()
    tasks = set()

    async def perform(step, ev):
        for made in await step(ev) or ():
            if type(made) is Stop:
                done.set_result(made.result)
                queue.put_nowait(None)
            else:
                queue.put_nowait(made)

    queue.put_nowait(start)
    while (ev := await queue.get()) is not None:
        task = asyncio.create_task(perform(steps[type(ev)], ev))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    return done.result()


async def first(ev):
    return [Mid(n=ev.n)]


async def second(ev):
    return [Late(n=ev.n + 1)]


async def third(ev):
    return [Stop(result=ev.n + 1)]


class Queue:
    def three(self):
        steps = {Start: first, Mid: second, Late: third}
        return lambda k: asyncio.create_task(serve(Start(n=k), steps))

    def loop(self):
        async def turn(ev):
            return [Mid(n=ev.n - 1) if ev.n else Stop(result="zero")]

        steps = {Start: turn, Mid: turn}
        return lambda n: asyncio.create_task(serve(Start(n=n), steps))

    def chain(self, n):
        events = [
            type(f"Event{k}", (BaseModel,), {"__annotations__": {"n": int}})
            for k in range(1, n)
        ]

        def make_step(made):
            async def body(ev):
                return [made(result=ev.n + 1) if made is Stop else made(n=ev.n + 1)]

            return body

        made = [*events, Stop]
        steps = dict(zip([Start, *events], map(make_step, made), strict=True))
        return lambda: asyncio.create_task(serve(Start(n=0), steps))

    def fan_out(self, workers, nap=None):
        async def run(n):
            free, late = asyncio.Semaphore(workers), []

            async def begin(ev):
                return [Mid(n=k) for k in range(ev.n)]

            async def work(ev):
                async with free:
                    if nap is not None:
                        await asyncio.sleep(nap)
                    return [Late(n=ev.n)]

            async def join(ev):
                late.append(ev)
                return [Stop(result=sum(e.n for e in late))] if len(late) == n else []

            return await serve(Start(n=n), {Start: begin, Mid: work, Late: join})

        return lambda n: asyncio.create_task(run(n))

    def fan_out_free(self, n):
        return self.fan_out(n)

    def idle(self):
        async def turn(ev):
            if not ev.n:
                return [Stop(result="rested")]
            await asyncio.sleep(0.01)
            return [Mid(n=ev.n - 1)]

        steps = {Start: turn, Mid: turn}
        return lambda n: asyncio.create_task(serve(Start(n=n), steps))

    def busy(self):
        async def turn(ev):
            if perf_counter() < ev.until:
                return [Until(until=ev.until)]
            return [Stop(result="late")]

        steps = {Until: turn}
        return lambda until: asyncio.create_task(serve(Until(until=until), steps))


ENGINE = Queue()
