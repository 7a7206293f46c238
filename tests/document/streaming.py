from stepwell import Workflow, step, Event, Context, StartEvent, StopEvent
import asyncio

class ProgressEvent(Event):
    message: str

class StreamingWorkflow(Workflow):
    @step
    async def step1(self, ctx: Context, ev: StartEvent) -> StopEvent:
        ctx.write_event_to_stream(ProgressEvent(message="Step 1: Retrieving documents..."))
        await asyncio.sleep(1)  # simulate work
        ctx.write_event_to_stream(ProgressEvent(message="Step 2: Generating answer..."))
        await asyncio.sleep(1)
        return StopEvent(result="Final answer here")

async def main():
    workflow = StreamingWorkflow(timeout=30)
    handler = workflow.run(query="test question")
    # Stream progress events as they arrive
    async for event in handler.stream_events():
        if isinstance(event, ProgressEvent):
            print(f"Progress: {event.message}")
    # Get final result
    result = await handler
    print(f"Result: {result}")

asyncio.run(main())
