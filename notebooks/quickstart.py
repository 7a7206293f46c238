"""Answer a question from real documents with a workflow: the README's first command.

    python3 notebooks/quickstart.py
    python3 notebooks/quickstart.py --question "How do I test a WebSocket endpoint?"
    python3 notebooks/quickstart.py --no-notebook

The first run makes `.venv` in the repository and installs what is needed (no
torch). Then a workflow reads `notebooks/data`, finds, sorts and quotes, and tells
its progress while it runs; no key, no network. At the end the first notebook lies
executed in `quickstart-output`, to open in JupyterLab or, as a page, anywhere.
"""

import argparse
import asyncio
import os
import sys
import textwrap
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / ".ci"))

import environment  # noqa: E402
from environment import say  # noqa: E402

if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        sys.exit()
    environment.enter("tutorial")  # from here on inside .venv

from stepwell import Context, Event, StartEvent, StopEvent, Workflow, step  # noqa: E402
from stepwell.rag import (  # noqa: E402
    LexicalRerank,
    NodeWithScore,
    Response,
    Settings,
    SimpleDirectoryReader,
    VectorStoreIndex,
)

DATA = ROOT / "notebooks" / "data"
NOTEBOOK = ROOT / "notebooks" / "01_quickstart.ipynb"
OUTPUT = ROOT / "quickstart-output"
QUESTION = "How do I limit requests when the application runs behind a proxy?"


class Progress(Event):
    """Something to tell the person who waits."""

    step: str
    text: str


class Question(StartEvent):
    """What the run starts with."""

    query: str


class Retrieved(Event):
    """The passages that share words with the question."""

    nodes: list[NodeWithScore]


class Reranked(Event):
    """The best of them, best first."""

    nodes: list[NodeWithScore]


class RAGWorkflow(Workflow):
    """Retrieve, rerank, synthesize."""

    def __init__(self, index: VectorStoreIndex, **settings):
        super().__init__(**settings)
        self.index = index

    @step
    async def retrieve(self, ctx: Context, ev: Question) -> Retrieved:
        """Look the words of the question up in the index."""
        await ctx.set("query", ev.query)
        nodes = await self.index.as_retriever(similarity_top_k=8).aretrieve(ev.query)
        tell(ctx, "retrieve", f"{len(nodes)} passages")
        return Retrieved(nodes=nodes)

    @step
    async def rerank(self, ctx: Context, ev: Retrieved) -> Reranked:
        """Keep the passages that fit best."""
        query = await ctx.get("query")
        reranker = LexicalRerank(top_n=4)
        nodes = await reranker.apostprocess_nodes(ev.nodes, query_str=query)
        tell(ctx, "rerank", f"the best {len(nodes)} of them")
        return Reranked(nodes=nodes)

    @step
    async def synthesize(self, ctx: Context, ev: Reranked) -> StopEvent:
        """Let the language model answer; unset, the documents are quoted."""
        query = await ctx.get("query")
        passages = "\n\n".join(node.text for node in ev.nodes)
        prompt = f"Context:\n{passages}\n\nQuestion: {query}\n\nAnswer from it:"
        tell(ctx, "synthesize", f"asking {Settings.llm}")
        answer = await Settings.llm.acomplete(prompt)
        response = Response(
            response=str(answer),
            query=query,
            source_nodes=ev.nodes,
            is_extractive=answer.is_extractive,
        )
        return StopEvent(result=response)


def tell(ctx: Context, step: str, text: str) -> None:
    """Put a line of progress on the stream."""
    ctx.write_event_to_stream(Progress(step=step, text=text))


async def answer(question: str) -> None:
    """Run the workflow on the question; print progress, answer and sources."""
    began = time.perf_counter()
    documents = SimpleDirectoryReader(DATA).load_data()
    index = VectorStoreIndex.from_documents(documents)
    size = sum(len(document.text) for document in documents) // 1000
    spent = time.perf_counter() - began
    say("read", f"{len(documents)} documents, {size} kB, indexed in {spent:.1f} s")

    print(f"\nQuestion: {question}\n")
    handler = RAGWorkflow(index, timeout=60).run(query=question)
    async for event in handler.stream_events():
        if isinstance(event, Progress):
            say(event.step, event.text)
    response = await handler

    print()
    print_wrapped(response.response)
    print("\nThe passages it was made from:")
    for number, node in enumerate(response.source_nodes, 1):
        print(f"  [{number}] {node.source}")
    print()


def print_wrapped(text: str) -> None:
    """Print text with its long lines broken, those of code left alone."""
    in_code = False
    for line in text.splitlines():
        in_code ^= line.startswith("```")
        print(line if in_code else textwrap.fill(line, 88))


def leave_notebook() -> None:
    """Execute the first notebook into the output folder, and as a page too."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from nbconvert import HTMLExporter

    began = time.perf_counter()
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    here = {"metadata": {"path": str(NOTEBOOK.parent)}}
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        resources=here,
        timeout=300,
        store_widget_state=False,  # the final pictures are static
        extra_arguments=["--log-level=ERROR"],
    )
    try:
        client.execute()
    except CellExecutionError as error:
        sys.exit(f"{NOTEBOOK.name} did not run to its end.\n\n{error}")
    OUTPUT.mkdir(exist_ok=True)
    executed = OUTPUT / NOTEBOOK.name
    nbformat.write(notebook, executed)
    page, _ = HTMLExporter().from_notebook_node(notebook)
    executed.with_suffix(".html").write_text(page, encoding="utf-8")
    name = executed.relative_to(ROOT)
    say("notebook", f"{name}, executed in {time.perf_counter() - began:.0f} s")
    say("page", f"{name.with_suffix('.html')}, the same to look at in a browser")
    jupyter = (environment.PYTHON.parent / "jupyter").relative_to(ROOT)
    # Jupyter refuses to serve as root, as in a container, unless it is told to.
    allow = "--allow-root " if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
    print(f"\nOpen it in JupyterLab, from {ROOT}:\n\n    {jupyter} lab {allow}{name}\n")


def main() -> None:
    """Read the command line and do the work."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--question", default=QUESTION)
    parser.add_argument("--no-notebook", action="store_true")
    options = parser.parse_args()
    asyncio.run(answer(options.question))
    if not options.no_notebook:
        leave_notebook()


if __name__ == "__main__":
    main()
