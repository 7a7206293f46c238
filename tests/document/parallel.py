from stepwell import Workflow, step, Event, Context, StartEvent, StopEvent
import asyncio

class SearchResultEvent(Event):
    source: str
    results: str

class ParallelSearchWorkflow(Workflow):
    @step(num_workers=3)  # run 3 workers concurrently
    async def search_sources(self, ctx: Context, ev: StartEvent) -> SearchResultEvent:
        query = ev.get("query")
        # In production: each worker searches a different source
        await asyncio.sleep(0.1)  # simulate async search
        return SearchResultEvent(
            source="knowledge_base",
            results=f"Results from knowledge base for: {query}"
        )

    @step
    async def merge_results(self, ctx: Context, ev: SearchResultEvent) -> StopEvent:
        # Collect results from all parallel workers
        results = ctx.collect_events(ev, [SearchResultEvent] * 3)
        if results is None:
            return None  # not all results ready yet
        merged = "\n".join([f"[{r.source}] {r.results}" for r in results])
        return StopEvent(result=merged)
