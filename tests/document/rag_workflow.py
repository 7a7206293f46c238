from stepwell import Workflow, step, Event, Context, StartEvent, StopEvent
from stepwell.rag import VectorStoreIndex, SimpleDirectoryReader, Settings
from stepwell.rag import OpenAI
from stepwell.rag import OpenAIEmbedding
from stepwell.rag import SentenceTransformerRerank
from pydantic import Field
from typing import List
import asyncio

Settings.llm = OpenAI(model="gpt-4o-mini")
Settings.embed_model = OpenAIEmbedding(model="text-embedding-3-small")

# Events with typed payloads
class RetrievedEvent(Event):
    nodes: list = Field(default_factory=list)

class RerankedEvent(Event):
    nodes: list = Field(default_factory=list)
    query: str = ""

class RAGWorkflow(Workflow):
    def __init__(self, index: VectorStoreIndex, **kwargs):
        super().__init__(**kwargs)
        self.index = index

    @step
    async def retrieve(self, ctx: Context, ev: StartEvent) -> RetrievedEvent:
        query = ev.get("query", "")
        await ctx.set("query", query)
        retriever = self.index.as_retriever(similarity_top_k=15)
        nodes = await retriever.aretrieve(query)
        return RetrievedEvent(nodes=nodes)

    @step
    async def rerank(self, ctx: Context, ev: RetrievedEvent) -> RerankedEvent:
        query = await ctx.get("query")
        reranker = SentenceTransformerRerank(
            model="cross-encoder/ms-marco-MiniLM-L-2-v2",
            top_n=5,
        )
        reranked = reranker.postprocess_nodes(ev.nodes, query_str=query)
        return RerankedEvent(nodes=reranked, query=query)

    @step
    async def synthesize(self, ctx: Context, ev: RerankedEvent) -> StopEvent:
        context_str = "\n\n".join([n.text for n in ev.nodes])
        prompt = (
            f"Context:\n{context_str}\n\n"
            f"Question: {ev.query}\n\n"
            "Answer based on the context above:"
        )
        response = await Settings.llm.acomplete(prompt)
        return StopEvent(result=str(response))

# Build and run
async def main():
    documents = SimpleDirectoryReader("data/").load_data()
    index = VectorStoreIndex.from_documents(documents)
    workflow = RAGWorkflow(index=index, timeout=120, verbose=True)
    result = await workflow.run(query="How do I configure the API rate limits?")
    print(result)

asyncio.run(main())
