"""Random workflows for the whole suite: what a run does is decided by data.

A `Script` says for each event number what the step that takes it does; the
workflow reads it and does that. So a failing example prints as plain data.
"""

import asyncio
import functools
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from stepwell import (
    Context,
    Event,
    HumanResponseEvent,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Workflow,
    catch_error,
    retry_if_exception_type,
    retry_policy,
    step,
    stop_after_attempt,
    wait_fixed,
)


class Left(Event):
    n: int


class Right(Event):
    n: int


KINDS = (Left, Right)


@dataclass
class Move:
    """What one call does: suspends, sends some events, returns some, may raise."""

    pauses: int
    sent: list[int]
    returned: list[int]
    ends: str  # "none", "stop", "raise"


moves = st.builds(
    Move,
    pauses=st.integers(0, 3),
    sent=st.lists(st.integers(0, 1), max_size=2),
    returned=st.lists(st.integers(0, 1), max_size=3),
    ends=st.sampled_from(["none"] * 12 + ["stop", "raise"]),
)
# Few enough moves that a run dies out: events beyond the script do nothing.
scripts = st.lists(moves, min_size=1, max_size=25)
workers = st.tuples(st.integers(1, 3), st.integers(1, 3))


class Raised(Exception):
    """What a scripted step raises."""


def scripted(
    script: list[Move], limits: tuple[int, int], pause, journal=None
) -> Workflow:
    """A workflow that plays the script.

    Args:
        script: Move by number of the event; numbers are given in order of making.
        limits: num_workers of the two steps.
        pause: Awaited as often as a move says.
        journal: Keeps the facts.
    """
    log: list[tuple[str, int]] = []
    made = iter(range(1, 10_000))

    def event(kind: int) -> Event:
        return KINDS[kind](n=next(made))

    async def play(ctx: Context, n: int):
        move = script[n] if n < len(script) else Move(0, [], [], "none")
        for _ in range(move.pauses):
            await pause()
        for kind in move.sent:
            ctx.send_event(event(kind))
        if move.ends == "raise":
            raise Raised(n)
        if move.ends == "stop":
            return StopEvent(result=n)
        return [event(kind) for kind in move.returned] or None

    class Scripted(Workflow):
        @step
        async def begin(
            self, ctx: Context, ev: StartEvent
        ) -> Left | Right | list[Left | Right] | StopEvent | None:
            return await play(ctx, 0)

        @step(num_workers=limits[0])
        async def left(
            self, ctx: Context, ev: Left
        ) -> list[Left | Right] | StopEvent | None:
            log.append(("left", ev.n))
            return await play(ctx, ev.n)

        @step(num_workers=limits[1])
        async def right(
            self, ctx: Context, ev: Right
        ) -> list[Left | Right] | StopEvent | None:
            log.append(("right", ev.n))
            return await play(ctx, ev.n)

    flow = Scripted(timeout=None, journal=journal)
    flow.log = log
    return flow


# -- lists in lists ------------------------------------------------------------------

LEVELS = 3
LEAVES = ["none", "out", "again", "halves", "left", "right", "twice", "sent"]
TROUBLES = ["mended", "dropped", "retried", "waits"]
Path = tuple[int, ...]


@dataclass
class Task:
    """What becomes of one item of a list, and how long its parts take, in seconds."""

    does: str
    delays: tuple[int, int]
    inner: list["Task"] | None = None


def _tasks(level: int):
    """Lists of tasks, with as many lonely halves of one side as of the other."""
    delays = st.tuples(st.integers(0, 4), st.integers(0, 4))
    one = st.builds(Task, st.sampled_from(LEAVES + TROUBLES), delays)
    if level + 1 < LEVELS:
        one |= st.builds(Task, st.just("split"), delays, _tasks(level + 1))
    return st.lists(one, max_size=4).map(_balanced)


def _balanced(tasks: list[Task]) -> list[Task]:
    sides = [[task for task in tasks if task.does == s] for s in ("left", "right")]
    for surplus in sides[0][len(sides[1]) :] + sides[1][len(sides[0]) :]:
        surplus.does = "out"
    return tasks


tasks = _tasks(0)


def gathered(tasks: list[Task], path: Path = ()) -> list:
    """What the gathering step gets of a list, worked out without running anything."""
    found: list[list] = [[] for _ in tasks]
    left = [i for i, task in enumerate(tasks) if task.does == "left"]
    right = [i for i, task in enumerate(tasks) if task.does == "right"]
    for pair in zip(left, right, strict=True):
        found[min(pair)].append([[*path, i] for i in pair])
    for i, task in enumerate(tasks):
        here = [*path, i]
        if task.does == "split":
            found[i].append(gathered(task.inner, (*path, i)))
        elif task.does == "halves":
            found[i].append([here, here])
        elif task.does in ("twice", "sent"):
            found[i] += [here, here]
        elif task.does in ("out", "again", "mended", "retried", "waits"):
            found[i].append(here)
    return [value for values in found for value in values]


class Bell(Event):
    path: Path


class Rung(HumanResponseEvent):
    path: Path


class Busy(Exception):
    """What a step raises that is tried again."""


def _class(name: str, level: int) -> type[Event]:
    body = {"__annotations__": {"path": Path, "value": Any}, "value": None}
    body |= {"__module__": __name__, "__qualname__": f"{name}{level}"}
    return type(f"{name}{level}", (Event,), body)


ITEMS, OUTS, HALVES, LEFTS, RIGHTS, DOUBLES = (
    [_class(name, level) for level in range(LEVELS)]
    for name in ("Item", "Out", "Half", "Left", "Right", "Double")
)


def listing(
    tasks: list[Task], num_workers: int, journal=None, executor=None
) -> Workflow:
    """A workflow whose lists and items do what the tasks say.

    Args:
        tasks: One for each item of the outermost list.
        num_workers: Of the steps that take items.
        journal: Keeps the facts.
        executor: Performs the calls.
    """
    options = {"timeout": None, "journal": journal, "executor": executor}
    flow = _listing_class(num_workers)(**options)
    flow.tasks = Task("split", (0, 0), tasks)
    flow.worked, flow.gathered, flow.tried = [], [], set()
    return flow


@functools.cache
def _listing_class(num_workers: int) -> type[Workflow]:
    class Listing(Workflow):
        def task(self, event: Event) -> Task:
            task = self.tasks
            for i in event.path:
                task = task.inner[i]
            return task

        async def pause(self, event: Event, which: int) -> None:
            await asyncio.sleep(self.task(event).delays[which])

        @step
        async def begin(self, ev: StartEvent) -> list[ITEMS[0]]:
            return [ITEMS[0](path=(i,)) for i in range(len(self.tasks.inner))]

        @step(num_workers=num_workers)
        async def ring(self, ctx: Context, ev: Bell) -> None:
            await self.pause(ev, 1)
            ctx.send_event(Rung(path=ev.path))

    members = {}
    for level in range(LEVELS):
        members |= _steps_of(level, num_workers)
    return type(Listing)("Listing", (Listing,), members)


def _steps_of(level: int, num_workers: int) -> dict[str, Any]:
    """The steps for the items of one level, by name."""
    Item, Out, Half = ITEMS[level], OUTS[level], HALVES[level]
    Left, Right, Double = LEFTS[level], RIGHTS[level], DOUBLES[level]
    Above = OUTS[level - 1] if level else StopEvent
    Given = Item | Out | Half | Left | Right | Double | Bell | None
    if level + 1 < LEVELS:
        Inner = ITEMS[level + 1]
        Given |= list[Inner]
    again = retry_policy(
        retry=retry_if_exception_type(Busy),
        wait=wait_fixed(3),
        stop=stop_after_attempt(3),
    )

    def out(event: Event) -> Event:
        return Out(path=event.path, value=list(event.path))

    async def work(self, ctx: Context, ev: Item) -> Given:
        does = self.task(ev).does
        self.worked.append((level, ev.path, ev.value))
        await self.pause(ev, 0)
        if does in ("mended", "dropped"):
            raise LookupError(does)
        if does == "retried" and ev.path not in self.tried:
            self.tried.add(ev.path)
            raise Busy
        if does == "again" and ev.value is None:
            return Item(path=ev.path, value="again")
        if does == "sent":
            ctx.send_event(out(ev))
            await self.pause(ev, 1)
        if does == "waits":
            ctx.send_event(Bell(path=ev.path))
            await ctx.wait_for_event(Rung, requirements={"path": ev.path})
        if does == "split":
            return [Inner(path=(*ev.path, i)) for i in range(len(self.task(ev).inner))]
        kinds = {"halves": Half, "left": Left, "right": Right, "twice": Double}
        if does in kinds:
            return kinds[does](path=ev.path)
        return None if does == "none" else out(ev)

    async def left(self, ev: Half) -> Left:
        await self.pause(ev, 0)
        return Left(path=ev.path)

    async def right(self, ev: Half) -> Right:
        await self.pause(ev, 1)
        return Right(path=ev.path)

    async def merge(self, a: Left, b: Right) -> Out:
        await self.pause(a, 1)
        return Out(path=min(a.path, b.path), value=[list(a.path), list(b.path)])

    async def once(self, ev: Double) -> Out:
        await self.pause(ev, 0)
        return out(ev)

    async def twice(self, ev: Double) -> Out:
        await self.pause(ev, 1)
        return out(ev)

    async def recover(self, ev: StepFailedEvent) -> Out | None:
        await self.pause(ev.input_event, 1)
        return out(ev.input_event) if "mended" in str(ev.exception) else None

    async def gather(self, outs: list[Out]) -> Above:
        self.gathered.append([out.path for out in outs])
        values = [out.value for out in outs]
        return Above(path=(), value=values) if level else StopEvent(result=values)

    decorators = {
        work: step(num_workers=num_workers, retry_policy=again),
        recover: catch_error(for_steps=[f"work_{level}"], max_recoveries=9),
        right: step(num_workers=num_workers),
    }
    functions = (work, left, right, merge, once, twice, recover, gather)
    for function in functions:
        function.__name__ = f"{function.__name__}_{level}"
        function.__qualname__ = f"Listing.{function.__name__}"
    return {f.__name__: decorators.get(f, step)(f) for f in functions}
