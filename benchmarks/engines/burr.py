"""Burr: actions that replace an immutable state, one after another."""

import asyncio
from itertools import pairwise
from time import perf_counter

from burr.core import ApplicationBuilder, GraphBuilder, action, default, expr
from burr.core.action import streaming_action
from burr.core.parallelism import MapStates


def starting(graph, entry, last, field):
    """Runs of a graph: an application each, as they cannot be used twice."""

    async def start(**state):
        app = (
            ApplicationBuilder()
            .with_graph(graph)
            .with_state(**state)
            .with_entrypoint(entry)
            .build()
        )
        _, _, ended = await app.arun(halt_after=[last])
        return ended[field]

    return start


@action(reads=["n"], writes=["n"])
async def keep(state):
    return state.update(n=state["n"])


@action(reads=["n"], writes=["n"])
async def add_one(state):
    return state.update(n=state["n"] + 1)


@action(reads=["n"], writes=["n"])
async def turn(state):
    return state.update(n=state["n"] - 1)


@action(reads=["n"], writes=["n"])
async def nap(state):
    await asyncio.sleep(0.01)
    return state.update(n=state["n"] - 1)


@action(reads=["until"], writes=["over"])
async def hurry(state):
    return state.update(over=perf_counter() >= state["until"])


@action(reads=[], writes=["n"])
async def begin(state):
    return state


@action(reads=[], writes=["answer"])
async def end(state):
    return state.update(answer=0)


@action(reads=["k"], writes=["late"])
async def work(state):
    return state.update(late=state["k"])


class Work(MapStates):
    def action(self, state, inputs):
        return work

    def states(self, state, context, inputs):
        for k in range(state["n"]):
            yield state.update(k=k)

    async def reduce(self, state, states):
        return state.update(total=sum([s["late"] async for s in states]))

    def is_async(self):
        return True

    @property
    def reads(self):
        return ["n"]

    @property
    def writes(self):
        return ["total"]


def looping(body):
    graph = (
        GraphBuilder()
        .with_actions(body=body, end=end)
        .with_transitions(("body", "body", expr("n > 0")), ("body", "end", default))
        .build()
    )
    return starting(graph, "body", "end", "answer")


class Burr:
    IMPORT = "from burr.core import ApplicationBuilder, action\n"
    FIRST = """
import asyncio

@action(reads=["n"], writes=["n"])
async def first(state):
    return state.update(n=state["n"])

@action(reads=["n"], writes=["n"])
async def second(state):
    return state.update(n=state["n"] + 1)

@action(reads=["n"], writes=["n"])
async def third(state):
    return state.update(n=state["n"] + 1)

app = (
    ApplicationBuilder()
    .with_actions(first=first, second=second, third=third)
    .with_transitions(("first", "second"), ("second", "third"))
    .with_state(n=0)
    .with_entrypoint("first")
    .build()
)
print(asyncio.run(app.arun(halt_after=["third"]))[2]["n"])
"""

    def three(self):
        graph = (
            GraphBuilder()
            .with_actions(first=keep, second=add_one, third=add_one)
            .with_transitions(("first", "second"), ("second", "third"))
            .build()
        )
        start = starting(graph, "first", "third", "n")
        return lambda k: start(n=k)

    def loop(self):
        return self.counting_down(turn, "zero")

    def idle(self):
        return self.counting_down(nap, "rested")

    def counting_down(self, body, answer):
        start = looping(body)

        async def run(n):
            # It comes to its end after the body, so it cannot run it no time at all.
            return answer if not n or await start(n=n) == 0 else None

        return run

    def busy(self):
        graph = (
            GraphBuilder()
            .with_actions(body=hurry, end=end)
            .with_transitions(("body", "end", expr("over")), ("body", "body", default))
            .build()
        )
        start = starting(graph, "body", "end", "answer")

        async def run(deadline):
            return "late" if await start(until=deadline) == 0 else None

        return run

    def chain(self, n):
        names = [f"action{k}" for k in range(n)]
        graph = (
            GraphBuilder()
            .with_actions(**dict.fromkeys(names, add_one))
            .with_transitions(*pairwise(names))
            .build()
        )
        start = starting(graph, names[0], names[-1], "n")
        return lambda: start(n=0)

    def fan_out_free(self, n):
        graph = (
            GraphBuilder()
            .with_actions(begin=begin, work=Work())
            .with_transitions(("begin", "work"))
            .build()
        )
        start = starting(graph, "begin", "work", "total")
        return lambda n: start(n=n)

    async def stream(self, produce, take):
        @streaming_action(reads=[], writes=["written"])
        async def write(state):
            async for value in produce():
                yield {"value": value}, None
            yield {"written": True}, state.update(written=True)

        app = (
            ApplicationBuilder()
            .with_actions(write=write)
            .with_transitions()
            .with_entrypoint("write")
            .build()
        )
        _, results = await app.astream_result(halt_after=["write"])
        async for result in results:
            take(result["value"])
        await results.get()

    def state(self):
        @action(reads=[], writes=["k", "total"])
        async def use(state):
            total = 0
            for k in range(state["n"]):
                state = state.update(k=k)
                total += state["k"]
            return state.update(total=total)

        graph = GraphBuilder().with_actions(use=use).with_transitions().build()
        start = starting(graph, "use", "use", "total")
        return lambda n: start(n=n)


ENGINE = Burr()
