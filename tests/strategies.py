"""Random workflows for the whole suite: what a run does is decided by data.

A `Script` says for each event number what the step that takes it does; the
workflow reads it and does that. So a failing example prints as plain data.
"""

from dataclasses import dataclass

from hypothesis import strategies as st

from stepwell import Context, Event, StartEvent, StopEvent, Workflow, step


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
