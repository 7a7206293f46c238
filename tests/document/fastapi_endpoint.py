import asyncio
from pydantic import BaseModel
from stepwell import Workflow, step, Context, StartEvent, StopEvent

class QueryRequest(BaseModel):
    query: str

class Echo(Workflow):
    @step
    async def answer(self, ctx: Context, ev: StartEvent) -> StopEvent:
        await ctx.set("query", ev.query)
        await meeting_point.wait()  # every request is inside before one goes on
        return StopEvent(result=f"answer to {await ctx.get('query')}")

meeting_point = asyncio.Barrier(20)
workflow = Echo(timeout=10)

# -- the document's part ------------------------------------------------------
from fastapi import FastAPI
app = FastAPI()

@app.post("/query")
async def query_endpoint(request: QueryRequest):
    result = await workflow.run(query=request.query)
    return {"answer": result}
