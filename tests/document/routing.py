from stepwell import Workflow, step, Event, Context, StartEvent, StopEvent
from stepwell.rag import Settings
from typing import Union

class SimpleQueryEvent(Event):
    query: str

class ComplexQueryEvent(Event):
    query: str

class QueryRoutingWorkflow(Workflow):
    @step
    async def classify_query(
        self, ctx: Context, ev: StartEvent
    ) -> Union[SimpleQueryEvent, ComplexQueryEvent]:
        query = ev.get("query", "")
        await ctx.set("query", query)
        # Route based on query complexity
        # In production: use an LLM classifier
        if len(query.split()) < 5:
            return SimpleQueryEvent(query=query)
        else:
            return ComplexQueryEvent(query=query)

    @step
    async def handle_simple(self, ctx: Context, ev: SimpleQueryEvent) -> StopEvent:
        # Fast path: direct LLM answer
        response = await Settings.llm.acomplete(ev.query)
        return StopEvent(result=f"[simple] {response}")

    @step
    async def handle_complex(self, ctx: Context, ev: ComplexQueryEvent) -> StopEvent:
        # Slow path: multi-step RAG
        response = await Settings.llm.acomplete(
            f"Decompose and answer thoroughly: {ev.query}"
        )
        return StopEvent(result=f"[complex] {response}")
