"""The jobs for engines with the names of LlamaIndex Workflows: ours, and that one.

The same text for both; they differ in where the names are imported from.
"""

import asyncio
from time import perf_counter, process_time


def jobs_with(
    Context, Event, StartEvent, StopEvent, Workflow, step, Mid, Late, names_imported
):
    """The jobs, with an engine's names, and two event classes that have an `n`."""

    class SameNames:
        finished = True

        IMPORT, FIRST = names_imported, FIRST_RUN

        def three(self):
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

            flow = Three(timeout=None)
            return lambda k: flow.run(n=k)

        def loop(self):
            class Loop(Workflow):
                @step
                async def turn(self, ev: StartEvent | Mid) -> Mid | StopEvent:
                    return Mid(n=ev.n - 1) if ev.n else StopEvent(result="zero")

            flow = Loop(timeout=None)
            return lambda n: flow.run(n=n)

        def chain(self, n):
            events = [
                type(f"Event{k}", (Event,), {"__annotations__": {"n": int}})
                for k in range(1, n)
            ]
            takes = [StartEvent, *events]
            gives = [*events, StopEvent]

            def make_step(name, given, made):
                last = made is StopEvent

                async def body(self, ev):
                    return made(result=ev.n + 1) if last else made(n=ev.n + 1)

                body.__name__ = name
                body.__qualname__ = f"Chain.{name}"
                body.__annotations__ = {"ev": given, "return": made}
                return step(body)

            steps = {
                f"step{k}": make_step(f"step{k}", takes[k], gives[k]) for k in range(n)
            }
            flow = type("Chain", (Workflow,), steps)(timeout=None)
            return lambda: flow.run(n=0)

        def fan_out(self, workers, nap=None):
            class FanOut(Workflow):
                @step
                async def begin(self, ctx: Context, ev: StartEvent) -> Mid | None:
                    self.expected = [Late] * ev.n
                    for n in range(ev.n):
                        ctx.send_event(Mid(n=n))

                @step(num_workers=workers)
                async def work(self, ev: Mid) -> Late:
                    if nap is not None:
                        await asyncio.sleep(nap)
                    return Late(n=ev.n)

                @step
                async def join(self, ctx: Context, ev: Late) -> StopEvent | None:
                    late = ctx.collect_events(ev, self.expected)
                    return StopEvent(result=sum(e.n for e in late)) if late else None

            flow = FanOut(timeout=None)
            return lambda n: flow.run(n=n)

        def fan_out_free(self, n):
            return self.fan_out(n)

        def lists(self, workers):
            class Lists(Workflow):
                @step
                async def begin(self, ev: StartEvent) -> list[Mid]:
                    return [Mid(n=n) for n in range(ev.n)]

                @step(num_workers=workers)
                async def work(self, ev: Mid) -> Late:
                    return Late(n=ev.n)

                @step
                async def join(self, late: list[Late]) -> StopEvent:
                    return StopEvent(result=sum(e.n for e in late))

            flow = Lists(timeout=None)
            return lambda n: flow.run(n=n)

        def lists_free(self, n):
            return self.lists(n)

        def idle(self):
            class Idle(Workflow):
                @step
                async def turn(self, ev: StartEvent | Mid) -> Mid | StopEvent:
                    if not ev.n:
                        return StopEvent(result="rested")
                    await asyncio.sleep(0.01)
                    return Mid(n=ev.n - 1)

            flow = Idle(timeout=None)
            return lambda n: flow.run(n=n)

        def busy(self):
            class Again(Event):
                until: float

            class Busy(Workflow):
                @step
                async def turn(self, ev: StartEvent | Again) -> Again | StopEvent:
                    if perf_counter() < ev.until:
                        return Again(until=ev.until)
                    return StopEvent(result="late")

            flow = Busy(timeout=None)
            return lambda deadline: flow.run(until=deadline)

        async def stream(self, produce, take):
            class Progress(Event):
                value: float

            class Stream(Workflow):
                @step
                async def write(self, ctx: Context, ev: StartEvent) -> StopEvent:
                    async for value in produce():
                        ctx.write_event_to_stream(Progress(value=value))
                    return StopEvent(result="written")

            handler = Stream(timeout=None).run()
            async for ev in handler.stream_events():
                if type(ev) is Progress:
                    take(ev.value)
            await handler

        def state(self):
            class State(Workflow):
                @step
                async def use(self, ctx: Context, ev: StartEvent) -> StopEvent:
                    total = 0
                    for k in range(ev.n):
                        await ctx.store.set("k", k)
                        total += await ctx.store.get("k")
                    return StopEvent(result=total)

            flow = State(timeout=None)
            return lambda n: flow.run(n=n)

        def pending(self):
            return Pending()

        def sleepers(self):
            return Sleepers()

        async def stalled(self, timeout):
            class Stalled(Workflow):
                @step
                async def begin(self, ev: StartEvent) -> Mid:
                    return Mid(n=0)

                @step
                async def join(self, ctx: Context, ev: Mid) -> StopEvent | None:
                    two = ctx.collect_events(ev, [Mid] * 2)
                    return StopEvent() if two else None

            try:
                await Stalled(timeout=timeout).run()
            except Exception:
                return "failed"

    class Pending:
        """A run with events that wait for the one worker, who is held up."""

        def __init__(self):
            self.go_on = go_on = asyncio.Event()
            self.held_up = held_up = asyncio.Event()

            class Sum(Workflow):
                @step
                async def begin(self, ctx: Context, ev: StartEvent) -> Mid | None:
                    await ctx.store.set("n", ev.n)
                    for n in range(ev.n):
                        ctx.send_event(Mid(n=n))

                @step(num_workers=1)
                async def work(self, ev: Mid) -> Late:
                    held_up.set()
                    await go_on.wait()
                    return Late(n=ev.n)

                @step(num_workers=1)
                async def join(self, ctx: Context, ev: Late) -> StopEvent | None:
                    # Counted, since joins are not what this is about.
                    seen = await ctx.store.get("seen", default=0) + 1
                    total = await ctx.store.get("total", default=0) + ev.n
                    await ctx.store.set("seen", seen)
                    await ctx.store.set("total", total)
                    whole = seen == await ctx.store.get("n")
                    return StopEvent(result=total) if whole else None

            self.flow = Sum(timeout=None)

        async def begin(self, n):
            self.handler = self.flow.run(n=n)
            await self.held_up.wait()
            # Until all that was sent has come to rest, which may take seconds.
            working = True
            while working:
                before = process_time()
                await asyncio.sleep(0.05)
                working = process_time() - before > 0.01

        def take(self):
            return self.handler.ctx.to_dict()

        async def resume(self, data):
            await self.handler.cancel_run()
            self.go_on.set()
            return await self.flow.run(ctx=Context.from_dict(self.flow, data))

    class Sleepers:
        """A run whose workers all sleep."""

        def __init__(self):
            self.started = self.stopped = 0
            self.asleep = asyncio.Event()

        async def begin(self, n):
            sleepers = self

            class Sleep(Workflow):
                @step
                async def begin(self, ctx: Context, ev: StartEvent) -> Mid | None:
                    for k in range(n):
                        ctx.send_event(Mid(n=k))

                @step(num_workers=n)
                async def work(self, ev: Mid) -> StopEvent:
                    sleepers.started += 1
                    if sleepers.started == n:
                        sleepers.asleep.set()
                    try:
                        await asyncio.sleep(3600)
                    except asyncio.CancelledError:
                        sleepers.stopped += 1
                        raise
                    return StopEvent()

            self.handler = Sleep(timeout=None).run()
            await self.asleep.wait()

        async def cancel(self):
            await self.handler.cancel_run()
            try:
                await self.handler
            except Exception as error:
                assert "cancel" in type(error).__name__.lower(), error

    return SameNames()


FIRST_RUN = """
import asyncio

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

async def main():
    return await Three().run(n=0)

print(asyncio.run(main()))
"""
