"""The user's own document: each snippet as printed, with only its imports changed.

The snippets are the files in `tests/document`; whole programs run as programs,
with real sockets to a model server on this machine.
"""

import asyncio
import contextlib
import importlib.util
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import uvicorn

from rag.conftest import server, tiny_cross_encoder  # noqa: F401
from stepwell import Context, Event, StartEvent, StopEvent, step
from stepwell.errors import WorkflowStalledError
from stepwell.testing import VirtualClock

SNIPPETS = Path(__file__).parent / "document"
RATE_LIMITS = (
    "# Rate limits\n\nThe gateway allows 100 requests per minute by default. "
    "Set `limits.per_minute` in gateway.toml to configure the API rate limits.\n"
)


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, SNIPPETS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def program(name: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "error", str(SNIPPETS / f"{name}.py")],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def project(tmp_path):
    """A folder with the document's `data/` in it."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "limits.md").write_text(RATE_LIMITS)
    (tmp_path / "data" / "cooking.txt").write_text("Boil the eggs for six minutes.")
    return tmp_path


@pytest.fixture
def model(server):  # noqa: F811
    return {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "test"}


@pytest.fixture
def hub(tmp_path, tiny_cross_encoder):  # noqa: F811
    """A model cache that has a cross-encoder under the name the document uses."""
    name = "models--cross-encoder--ms-marco-MiniLM-L-2-v2"
    (tmp_path / "hub" / name / "snapshots").mkdir(parents=True)
    (tmp_path / "hub" / name / "refs").mkdir()
    (tmp_path / "hub" / name / "refs" / "main").write_text("0" * 40)
    (tmp_path / "hub" / name / "snapshots" / ("0" * 40)).symlink_to(tiny_cross_encoder)
    return {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}


def test_first_workflow_answers_through_the_model(project, model, server):  # noqa: F811
    ran = program("first_workflow", project, **model)
    question = "Answer this question: What is retrieval-augmented generation?"
    assert ran.stdout.splitlines() == [
        "Running step retrieve",
        "Step retrieve produced event QueryEvent",
        "Running step generate",
        "Step generate produced event StopEvent",
        f"You asked: {question}",
    ], ran.stderr
    ((path, body),) = server.requests
    assert path == "/v1/chat/completions"
    assert body["model"] == "gpt-4o-mini"


def test_first_workflow_without_a_key_says_what_to_set(project):
    ran = program("first_workflow", project)
    assert ran.returncode == 1
    last = ran.stderr.strip().split("MissingAPIKeyError", 1)[1]
    assert "OPENAI_API_KEY" in last and "api_key=" in last
    assert "in step `generate` of SimpleRAGWorkflow, on QueryEvent, attempt 1" in last


def test_rag_workflow_retrieves_reranks_and_answers(project, model, hub, server):  # noqa: F811
    ran = program("rag_workflow", project, **model, **hub)
    assert ran.returncode == 0, ran.stderr
    answer = ran.stdout.split("produced event StopEvent\n")[1]
    assert answer.startswith("You asked: Context:\n")
    assert "Set `limits.per_minute` in gateway.toml" in answer
    assert "Question: How do I configure the API rate limits?" in answer
    assert answer.rstrip().endswith("Answer based on the context above:")
    assert {path for path, _ in server.requests} == {
        "/v1/embeddings",
        "/v1/chat/completions",
    }
    assert all(
        body["model"] == "text-embedding-3-small"
        for path, body in server.requests
        if path == "/v1/embeddings"
    )


def test_rag_workflow_with_a_reranker_that_cannot_be_had(project, model, tmp_path):
    began = time.monotonic()
    ran = program(
        "rag_workflow",
        project,
        **model,
        HF_HUB_CACHE=str(tmp_path / "empty"),
        HF_HUB_OFFLINE="1",
    )
    assert ran.returncode == 1
    said = ran.stderr.strip().split("ModelUnavailableError", 1)[1]
    assert "cross-encoder/ms-marco-MiniLM-L-2-v2" in said
    assert "in step `rerank` of RAGWorkflow, on RetrievedEvent, attempt 1" in said
    # Starting Python and importing torch included.
    assert time.monotonic() - began < 60


async def test_routing_takes_the_short_and_the_long_way(server, monkeypatch):  # noqa: F811
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    module = load("routing")
    from stepwell.rag import OpenAI, Settings

    Settings.llm = OpenAI(model="gpt-4o-mini")
    try:
        flow = module.QueryRoutingWorkflow()
        assert (
            await flow.run(query="What is RAG?") == "[simple] You asked: What is RAG?"
        )
        long = "Compare dense and sparse retrieval for me"
        assert await flow.run(query=long) == (
            f"[complex] You asked: Decompose and answer thoroughly: {long}"
        )
    finally:
        Settings.reset()


def test_parallel_as_printed_ends_at_once_and_teaches():
    async def main():
        handler = load("parallel").ParallelSearchWorkflow(timeout=30).run(query="q")
        with pytest.raises(WorkflowStalledError) as caught:
            await handler
        # On this clock time passes only where something waits: nothing did.
        assert handler.elapsed == max(call.ended for call in handler.record)
        return str(caught.value)

    clock = VirtualClock()
    said = clock.run(main())
    assert clock.now == pytest.approx(0.1)
    assert "`merge_results` has 1 of 3 SearchResultEvent" in said
    assert "`search_sources`, which returns SearchResultEvent, ran once" in said
    assert "return a list" in said and "ctx.send_event" in said


async def test_parallel_mended_by_sending_three_events_or_returning_a_list():
    module = load("parallel")
    Result = module.SearchResultEvent

    class Source(Event):
        name: str
        query: str

    class Sending(module.ParallelSearchWorkflow):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> Source | None:
            for name in ("wiki", "docs", "web"):
                ctx.send_event(Source(name=name, query=ev.query))

        @step(num_workers=3)
        async def search_sources(self, ctx: Context, ev: Source) -> Result:
            await asyncio.sleep(0)
            return Result(source=ev.name, results=f"about {ev.query}")

    class Returning(Sending):
        @step
        async def begin(self, ctx: Context, ev: StartEvent) -> list[Source]:
            return [Source(name=n, query=ev.query) for n in ("wiki", "docs", "web")]

    merged = "[wiki] about q\n[docs] about q\n[web] about q"
    assert await Sending(timeout=30).run(query="q") == merged
    assert await Returning(timeout=30).run(query="q") == merged


def test_streaming_prints_progress_then_the_result(project):
    ran = program("streaming", project)
    assert ran.stdout.splitlines() == [
        "Progress: Step 1: Retrieving documents...",
        "Progress: Step 2: Generating answer...",
        "Result: Final answer here",
    ], ran.stderr


async def test_state_is_shared_by_set_and_get():
    assert await load("shared_state").SharedState().run() == "value"


@contextlib.asynccontextmanager
async def serving(app):
    """A real server on this machine; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="error", lifespan="off")
    served = uvicorn.Server(config)
    task = asyncio.create_task(served.serve(sockets=[listener]))
    try:
        yield "http://127.0.0.1:{1}".format(*listener.getsockname())
    finally:
        served.should_exit = True
        await task


async def test_twenty_requests_at_once_to_one_instance_under_fastapi():
    # The snippet's workflow lets no request end before all twenty are inside.
    app = load("fastapi_endpoint").app
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as client:
        replies = await asyncio.gather(
            *(client.post("/query", json={"query": f"q{n}"}) for n in range(20))
        )
    assert [r.json() for r in replies] == [
        {"answer": f"answer to q{n}"} for n in range(20)
    ]


async def test_a_failing_step_may_return_a_fallback_event():
    Graceful = load("fallback").Graceful

    async def works():
        return "data"

    async def fails():
        raise OSError("down")

    assert await Graceful(works).run() == "data"
    assert await Graceful(fails).run() == "fallback: down"


def test_only_the_import_lines_differ_from_the_peer_s():
    for snippet in SNIPPETS.glob("*.py"):
        imports = re.findall(r"^from (\S+)", snippet.read_text(), re.MULTILINE)
        ours = {name for name in imports if name.startswith("stepwell")}
        assert ours <= {"stepwell", "stepwell.rag"}, snippet.name
        assert "stepwell" in ours


def test_the_document_s_core_imports_are_there():
    from stepwell import Context, Event, StartEvent, Workflow

    assert all((Context, Event, StartEvent, StopEvent, Workflow, step))
