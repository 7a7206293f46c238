"""pydantic-graph: steps joined by a `GraphBuilder`; loops by `BaseNode` classes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter

from pydantic_graph import (
    BaseNode,
    End,
    GraphBuilder,
    GraphRunContext,
    StepContext,
    reduce_sum,
)


@dataclass
class Turn(BaseNode[None, None, str]):
    n: int

    async def run(self, ctx: GraphRunContext) -> Turn | End[str]:
        return Turn(self.n - 1) if self.n else End("zero")


@dataclass
class Nap(BaseNode[None, None, str]):
    n: int

    async def run(self, ctx: GraphRunContext) -> Nap | End[str]:
        if not self.n:
            return End("rested")
        await asyncio.sleep(0.01)
        return Nap(self.n - 1)


@dataclass
class Busy(BaseNode[None, None, str]):
    until: float

    async def run(self, ctx: GraphRunContext) -> Busy | End[str]:
        return Busy(self.until) if perf_counter() < self.until else End("late")


def looping(node):
    graph = GraphBuilder(input_type=node, output_type=str)
    graph.add(graph.edge_from(graph.start_node).to(node), graph.node(node))
    graph = graph.build()
    return lambda given: graph.run(inputs=node(given))


def in_a_row(graph, steps):
    nodes = [graph.start_node, *steps, graph.end_node]
    graph.add(*(graph.edge_from(a).to(b) for a, b in pairwise(nodes)))
    return graph.build()


class PydanticGraph:
    IMPORT = "from pydantic_graph import GraphBuilder, StepContext\n"
    FIRST = """
import asyncio
g = GraphBuilder(input_type=int, output_type=int)

@g.step
async def first(ctx: StepContext[None, None, int]) -> int:
    return ctx.inputs

@g.step
async def second(ctx: StepContext[None, None, int]) -> int:
    return ctx.inputs + 1

@g.step
async def third(ctx: StepContext[None, None, int]) -> int:
    return ctx.inputs + 1

g.add(
    g.edge_from(g.start_node).to(first),
    g.edge_from(first).to(second),
    g.edge_from(second).to(third),
    g.edge_from(third).to(g.end_node),
)
print(asyncio.run(g.build().run(inputs=0)))
"""

    def three(self):
        g = GraphBuilder(input_type=int, output_type=int)

        @g.step
        async def first(ctx: StepContext[None, None, int]) -> int:
            return ctx.inputs

        @g.step
        async def second(ctx: StepContext[None, None, int]) -> int:
            return ctx.inputs + 1

        @g.step
        async def third(ctx: StepContext[None, None, int]) -> int:
            return ctx.inputs + 1

        graph = in_a_row(g, [first, second, third])
        return lambda k: graph.run(inputs=k)

    def loop(self):
        return looping(Turn)

    def idle(self):
        return looping(Nap)

    def busy(self):
        return looping(Busy)

    def chain(self, n):
        g = GraphBuilder(input_type=int, output_type=int)

        def make_step(k):
            async def body(ctx: StepContext[None, None, int]) -> int:
                return ctx.inputs + 1

            return g.step(body, node_id=f"step{k}")

        graph = in_a_row(g, [make_step(k) for k in range(n)])
        return lambda: graph.run(inputs=0)

    def fan_out_free(self, n):
        g = GraphBuilder(input_type=int, output_type=int)

        @g.step
        async def begin(ctx: StepContext[None, None, int]) -> list[int]:
            return list(range(ctx.inputs))

        @g.step
        async def work(ctx: StepContext[None, None, int]) -> int:
            return ctx.inputs

        join = g.join(reduce_sum, initial=0)
        g.add(
            g.edge_from(g.start_node).to(begin),
            g.edge_from(begin).map().to(work),
            g.edge_from(work).to(join),
            g.edge_from(join).to(g.end_node),
        )
        graph = g.build()
        return lambda n: graph.run(inputs=n)


ENGINE = PydanticGraph()
