"""No engine: functions that await each other, with pydantic events, one task a run.

What the jobs cost by hand. It is no floor where asyncio's own parts are the slow ones:
its queue in `stream`, a task for each call in `fan_out` without limit.
"""

import asyncio
from time import perf_counter

from pydantic import BaseModel


class Start(BaseModel):
    n: int


class Mid(BaseModel):
    n: int


class Late(BaseModel):
    n: int


class Stop(BaseModel):
    result: object


class Progress(BaseModel):
    value: float


class Until(BaseModel):
    until: float


async def first(ev):
    return Mid(n=ev.n)


async def second(ev):
    return Late(n=ev.n + 1)


async def third(ev):
    return Stop(result=ev.n + 1)


class Limit:
    IMPORT = "import asyncio\nfrom pydantic import BaseModel\n"
    FIRST = """
class Mid(BaseModel):
    n: int

class Late(BaseModel):
    n: int

class Stop(BaseModel):
    result: object

async def first(n):
    return Mid(n=n)

async def second(ev):
    return Late(n=ev.n + 1)

async def third(ev):
    return Stop(result=ev.n + 1)

async def main():
    return (await third(await second(await first(0)))).result

print(asyncio.run(main()))
"""

    def three(self):
        async def run(k):
            return (await third(await second(await first(Start(n=k))))).result

        return lambda k: asyncio.create_task(run(k))

    def loop(self):
        async def turn(ev):
            return Mid(n=ev.n - 1) if ev.n else Stop(result="zero")

        async def run(n):
            ev = Start(n=n)
            while type(ev) is not Stop:
                ev = await turn(ev)
            return ev.result

        return lambda n: asyncio.create_task(run(n))

    def chain(self, n):
        events = [
            type(f"Event{k}", (BaseModel,), {"__annotations__": {"n": int}})
            for k in range(1, n)
        ]

        def make_step(made):
            async def body(ev):
                return made(result=ev.n + 1) if made is Stop else made(n=ev.n + 1)

            return body

        steps = [make_step(made) for made in [*events, Stop]]

        async def run():
            ev = Start(n=0)
            for step in steps:
                ev = await step(ev)
            return ev.result

        return lambda: asyncio.create_task(run())

    def fan_out(self, workers, nap=None):
        async def work(ev):
            if nap is not None:
                await asyncio.sleep(nap)
            return Late(n=ev.n)

        async def run(n):
            todo = iter([Mid(n=k) for k in range(n)])
            late = []

            async def worker():
                for ev in todo:
                    late.append(await work(ev))

            await asyncio.gather(*(worker() for _ in range(workers)))
            return Stop(result=sum(e.n for e in late)).result

        return lambda n: asyncio.create_task(run(n))

    def fan_out_free(self, n):
        async def work(ev):
            return Late(n=ev.n)

        async def run(n):
            late = await asyncio.gather(*(work(Mid(n=k)) for k in range(n)))
            return Stop(result=sum(e.n for e in late)).result

        return lambda n: asyncio.create_task(run(n))

    lists, lists_free = fan_out, fan_out_free

    def idle(self):
        async def turn(ev):
            if not ev.n:
                return Stop(result="rested")
            await asyncio.sleep(0.01)
            return Mid(n=ev.n - 1)

        async def run(n):
            ev = Start(n=n)
            while type(ev) is not Stop:
                ev = await turn(ev)
            return ev.result

        return lambda n: asyncio.create_task(run(n))

    def busy(self):
        async def turn(ev):
            if perf_counter() < ev.until:
                return Until(until=ev.until)
            return Stop(result="late")

        async def run(deadline):
            ev = Until(until=deadline)
            while type(ev) is not Stop:
                ev = await turn(ev)
            return ev.result

        return lambda deadline: asyncio.create_task(run(deadline))

    async def stream(self, produce, take):
        queue = asyncio.Queue()

        async def write():
            async for value in produce():
                queue.put_nowait(Progress(value=value))
            queue.put_nowait(Stop(result="written"))

        writing = asyncio.create_task(write())
        while type(ev := await queue.get()) is Progress:
            take(ev.value)
        await writing

    def state(self):
        data = {}

        async def set_(key, value):
            data[key] = value

        async def get(key):
            return data[key]

        async def run(n):
            total = 0
            for k in range(n):
                await set_("k", k)
                total += await get("k")
            return total

        return lambda n: asyncio.create_task(run(n))

    def pending(self):
        return Pending()

    def sleepers(self):
        return Sleepers()


class Pending:
    """Events in a list, and the list as data."""

    async def begin(self, n):
        self.events = [Mid(n=k) for k in range(n)]

    def take(self):
        return [ev.model_dump(mode="json") for ev in self.events]

    async def resume(self, data):
        return sum(Mid(**fields).n for fields in data)


class Sleepers:
    """Tasks that sleep."""

    def __init__(self):
        self.started = self.stopped = 0

    async def begin(self, n):
        asleep = asyncio.Event()

        async def work(ev):
            self.started += 1
            if self.started == n:
                asleep.set()
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                self.stopped += 1
                raise

        self.tasks = [asyncio.create_task(work(Mid(n=k))) for k in range(n)]
        await asleep.wait()

    async def cancel(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


ENGINE = Limit()
