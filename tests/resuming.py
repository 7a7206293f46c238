"""What the tests of runs that are left and gone on with have in common."""

import asyncio
import json

from pydantic import BaseModel

from stepwell import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowIdleEvent,
    step,
)


class Item(Event):
    n: int


class Done(Event):
    n: int


class Other(Event):
    n: int = 0


class Question(InputRequiredEvent):
    text: str


class Answer(HumanResponseEvent):
    text: str


class Consent(Event):
    yes: bool
    about: int = 0


class Narrow(Item):
    pass


class Group(Event):
    n: int


class GroupDone(Event):
    items: list[str]


class Gates:
    """What steps stop at until a test opens it; `seen` is who came, in order."""

    def __init__(self, *opened):
        self._opened = set(opened)
        self._all = False
        self._changed = asyncio.Event()
        self.seen = []

    def _change(self):
        self._changed.set()
        self._changed = asyncio.Event()

    async def stop(self, who):
        self.seen.append(who)
        self._change()
        while not (self._all or who in self._opened):
            await self._changed.wait()

    async def came(self, *expected):
        """Wait until all of these stand there, or stood."""
        while set(expected) - set(self.seen):
            await self._changed.wait()

    def open(self, *who):
        """Let these through, or everybody."""
        self._opened |= set(who)
        self._all = not who
        self._change()


def copied(data):
    """The data as it comes back from a file; that changes nothing in it."""
    back = json.loads(json.dumps(data))
    assert back == data
    return back


async def left_by(handler) -> dict:
    """What a run that is going on has left, and an end to it."""
    data = copied(handler.ctx.to_dict())
    await handler.cancel_run()
    return data


def going_on(flow, data, **options):
    return flow.run(ctx=Context.from_dict(flow, data), **options)


async def idle(handler, *, times=1):
    """Wait until a run waits for somebody; gives what it asked by then."""
    asked = []
    async for event in handler.stream_events(expose_internal=True):
        if isinstance(event, InputRequiredEvent):
            asked.append(event.text)
        if isinstance(event, WorkflowIdleEvent):
            times -= 1
            if not times:
                return asked
    raise AssertionError(f"the run ended: {handler.status}")


class Shape(BaseModel):
    n: int = 0
    tags: list[str] = []


class Counting(Workflow):
    """Counts its runs in free-form state."""

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> StopEvent:
        n = await ctx.store.get("n", 0) + 1
        await ctx.store.set("n", n)
        await ctx.store.set("tags", ["a", n])
        return StopEvent(result=n)


class TypedCounting(Workflow):
    @step
    async def begin(self, ctx: Context[Shape], ev: StartEvent) -> StopEvent:
        async with ctx.store.edit_state() as state:
            state.n += 1
        return StopEvent(result=state.n)


class Working(Workflow):
    """Three items for a step with one worker; the results are joined."""

    def __init__(self, gates, **options):
        super().__init__(**options)
        self.gates = gates
        self.begun = 0

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> Item | None:
        self.begun += 1
        await ctx.store.set("topic", ev.topic)
        for n in range(3):
            ctx.send_event(Item(n=n))

    @step(num_workers=1)
    async def work(self, ctx: Context, ev: Item) -> Done:
        await self.gates.stop(ev.n)
        return Done(n=ev.n)

    @step
    async def end(self, ctx: Context, ev: Done) -> StopEvent | None:
        found = ctx.collect_events(ev, [Done] * 3)
        if found is None:
            return None
        topic = await ctx.store.get("topic")
        return StopEvent(result=[topic, *(event.n for event in found)])
