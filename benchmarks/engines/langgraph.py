"""LangGraph: nodes that change a shared state, superstep by superstep."""

import asyncio
import operator
from time import perf_counter
from typing import Annotated, TypedDict

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

# More supersteps than any job takes; by default it stops after 25.
MANY = {"recursion_limit": 10_000_000}


class State(TypedDict):
    n: int


class Until(TypedDict):
    until: float
    over: bool


class Sum(TypedDict):
    n: int
    late: Annotated[list[int], operator.add]
    total: int


async def run(graph, start, **config):
    return await graph.ainvoke(start, {**MANY, **config})


class LangGraph:
    IMPORT = """
from typing import TypedDict
from langgraph.graph import END, START, StateGraph
"""
    FIRST = """
import asyncio

class State(TypedDict):
    n: int

async def first(state):
    return {"n": state["n"]}

async def second(state):
    return {"n": state["n"] + 1}

async def third(state):
    return {"n": state["n"] + 1}

graph = StateGraph(State)
graph.add_sequence([first, second, third])
graph.add_edge(START, "first")
graph.add_edge("third", END)
print(asyncio.run(graph.compile().ainvoke({"n": 0}))["n"])
"""

    def three(self):
        async def first(state):
            return {"n": state["n"]}

        async def second(state):
            return {"n": state["n"] + 1}

        async def third(state):
            return {"n": state["n"] + 1}

        graph = StateGraph(State)
        graph.add_sequence([first, second, third])
        graph.add_edge(START, "first")
        graph.add_edge("third", END)
        graph = graph.compile()

        async def start(k):
            return (await run(graph, {"n": k}))["n"]

        return start

    def loop(self):
        return looping(self.turn, "zero")

    async def turn(self, state):
        return {"n": state["n"] - 1}

    def idle(self):
        return looping(self.nap, "rested")

    async def nap(self, state):
        await asyncio.sleep(0.01)
        return {"n": state["n"] - 1}

    def chain(self, n):
        def make_node(k):
            async def node(state):
                return {"n": state["n"] + 1}

            return f"node{k}", node

        graph = StateGraph(State)
        graph.add_sequence([make_node(k) for k in range(n)])
        graph.add_edge(START, "node0")
        graph.add_edge(f"node{n - 1}", END)
        graph = graph.compile()

        async def start():
            return (await run(graph, {"n": 0}))["n"]

        return start

    def fan_out(self, workers, nap=None):
        return summing(nap, max_concurrency=workers)

    def fan_out_free(self, n):
        return summing(None)

    def busy(self):
        async def turn(state):
            return {"over": perf_counter() >= state["until"]}

        graph = StateGraph(Until)
        graph.add_node(turn)
        graph.add_edge(START, "turn")
        graph.add_conditional_edges("turn", lambda s: END if s["over"] else "turn")
        graph = graph.compile()

        async def start(deadline):
            await run(graph, {"until": deadline, "over": False})
            return "late"

        return start

    async def stream(self, produce, take):
        async def write(state):
            writer = get_stream_writer()
            async for value in produce():
                writer({"value": value})
            return {"n": 1}

        graph = StateGraph(State)
        graph.add_node(write)
        graph.add_edge(START, "write")
        graph.add_edge("write", END)
        async for event in graph.compile().astream({"n": 0}, stream_mode="custom"):
            take(event["value"])


def looping(turn, answer):
    graph = StateGraph(State)
    graph.add_node("turn", turn)
    graph.add_conditional_edges(START, lambda s: "turn" if s["n"] else END)
    graph.add_conditional_edges("turn", lambda s: "turn" if s["n"] else END)
    graph = graph.compile()

    async def start(n):
        return answer if (await run(graph, {"n": n}))["n"] == 0 else None

    return start


def summing(nap, **config):
    async def begin(state):
        return {}

    async def work(state):
        if nap is not None:
            await asyncio.sleep(nap)
        return {"late": [state["n"]]}

    async def join(state):
        return {"total": sum(state["late"])}

    graph = StateGraph(Sum)
    for node in (begin, work, join):
        graph.add_node(node)
    graph.add_edge(START, "begin")
    graph.add_conditional_edges(
        "begin", lambda s: [Send("work", {"n": k}) for k in range(s["n"])], ["work"]
    )
    graph.add_edge("work", "join")
    graph.add_edge("join", END)
    graph = graph.compile()

    async def start(n):
        return (await run(graph, {"n": n, "late": []}, **config))["total"]

    return start


ENGINE = LangGraph()
