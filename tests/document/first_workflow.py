from stepwell import Workflow, step, Event, Context, StartEvent, StopEvent
from stepwell.rag import OpenAI
import asyncio

class QueryEvent(Event):
    query: str

class AnswerEvent(Event):
    answer: str

class SimpleRAGWorkflow(Workflow):
    @step
    async def retrieve(self, ctx: Context, ev: StartEvent) -> QueryEvent:
        """Step 1: store the query and pass it forward."""
        await ctx.set("query", ev.get("query"))
        return QueryEvent(query=ev.get("query"))

    @step
    async def generate(self, ctx: Context, ev: QueryEvent) -> StopEvent:
        """Step 2: generate an answer."""
        query = ev.query
        llm = OpenAI(model="gpt-4o-mini")
        response = await llm.acomplete(f"Answer this question: {query}")
        return StopEvent(result=str(response))

# Run the workflow
async def main():
    workflow = SimpleRAGWorkflow(timeout=60, verbose=True)
    result = await workflow.run(query="What is retrieval-augmented generation?")
    print(result)

asyncio.run(main())
