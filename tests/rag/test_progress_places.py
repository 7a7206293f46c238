"""Where progress is told: in the panel of a run, below a cell, in a terminal."""

import asyncio
import io
import threading
import time
from contextlib import redirect_stderr

import pytest

from stepwell import Context, StartEvent, StopEvent, Workflow, step
from stepwell.events import StepProgress
from stepwell.rag import (
    HuggingFaceEmbedding,
    NodeWithScore,
    SentenceTransformerRerank,
    SimpleDirectoryReader,
    TextNode,
    progress,
)
from stepwell.rag.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def every_count(monkeypatch):
    """Every count is told at once, and without being asked."""
    monkeypatch.setattr(progress, "INTERVAL", 0)
    monkeypatch.setattr(progress, "UNASKED", 0)


@pytest.fixture
def folder(tmp_path):
    for name in ("a.md", "b.md", "c.md"):
        (tmp_path / name).write_text("text")
    return tmp_path


def told_by(body):
    """What a run tells whose only step does `body`, a coroutine function or not."""

    if asyncio.iscoroutinefunction(body):

        class One(Workflow):
            @step
            async def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
                return StopEvent(result=await body(ctx))
    else:

        class One(Workflow):
            @step
            def work(self, ctx: Context, ev: StartEvent) -> StopEvent:
                return StopEvent(result=body(ctx))

    async def main():
        handler = One().run()
        told = [
            (event.done, event.total, event.text)
            async for event in handler.stream_events(expose_internal=True)
            if isinstance(event, StepProgress)
        ]
        await handler
        return told

    return asyncio.run(main())


def test_reading_in_a_step_is_told_to_its_run_and_nowhere_else(
    folder, every_count, capsys
):
    async def body(ctx):
        await SimpleDirectoryReader(folder).aload_data(show_progress=True)

    assert told_by(body) == [(n, 3, "files read") for n in (0, 1, 2, 3, 3)]
    assert capsys.readouterr().err == ""


def test_a_plain_step_in_a_thread_tells_as_well(folder, every_count):
    def body(ctx):
        SimpleDirectoryReader(folder).load_data(show_progress=True)

    assert told_by(body)[-1] == (3, 3, "files read")


def test_slow_work_in_a_step_tells_without_being_asked(folder, every_count, capsys):
    async def body(ctx):
        await SimpleDirectoryReader(folder).aload_data()

    assert told_by(body)[-1] == (3, 3, "files read")
    assert capsys.readouterr().err == ""


def test_quick_work_that_was_not_asked_leaves_the_steps_own_progress_alone(folder):
    async def body(ctx):
        ctx.progress(1, 9, "mine")
        await SimpleDirectoryReader(folder).aload_data()

    assert told_by(body) == [(1, 9, "mine")]


def test_work_within_other_work_tells_only_where_it_was_asked(every_count):
    def body(ctx):
        with Progress("outer", 2) as outer:
            with Progress("inner", 1, shown=False) as inner:
                inner.advance()
            outer.advance(2)

    assert told_by(body) == [(0, 2, "outer"), (2, 2, "outer"), (2, 2, "outer")]


def test_an_error_leaves_how_far_it_had_come(every_count):
    def body(ctx):
        with pytest.raises(ValueError), Progress("pages", 5) as bar:
            bar.advance(2)
            raise ValueError

    assert told_by(body)[-1] == (2, 5, "pages")


def test_reranking_and_embedding_tell_a_step_batch_by_batch(
    tiny_cross_encoder, minilm, every_count
):
    pytest.importorskip("sentence_transformers")
    nodes = [NodeWithScore(node=TextNode(text="server " * n)) for n in range(1, 8)]

    async def rerank(ctx):
        reranker = SentenceTransformerRerank(str(tiny_cross_encoder), batch_size=3)
        await reranker.apostprocess_nodes(nodes, query_str="server")

    async def embed(ctx):
        model = HuggingFaceEmbedding(str(minilm), embed_batch_size=2)
        await model.aget_text_embedding_batch(["a", "b", "c"])

    counts = [3, 6, 7, 7]
    assert told_by(rerank) == [(n, 7, "passages reranked") for n in counts]
    assert told_by(embed) == [(n, 3, "chunks embedded") for n in (2, 3, 3)]


def test_a_thousand_counts_in_a_moment_are_told_a_few_times():
    began = time.monotonic()

    def body(ctx):
        with Progress("files read", 1000) as bar:
            for _ in range(1000):
                bar.advance()

    told = told_by(body)
    seconds = time.monotonic() - began
    assert told[0] == (0, 1000, "files read")
    assert told[-1] == (1000, 1000, "files read")
    assert len(told) <= 3 + 10 * seconds


def test_a_count_before_a_long_wait_is_told_while_it_lasts():
    shown = threading.Event()

    class Watched(Terminal):
        def write(self, text):
            if "2 of 9" in text:
                shown.set()
            return super().write(text)

    with redirect_stderr(Watched()), Progress("files read", 9) as bar:
        bar.advance()
        bar.advance()
        assert shown.wait(30), "only the next count would have told it"


def test_threads_count_together(every_count):
    with redirect_stderr(Terminal()) as terminal, Progress("read", 400) as bar:
        threads = [
            threading.Thread(target=lambda: [bar.advance() for _ in range(100)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert terminal.getvalue().endswith("\r400 of 400 read\n")


def test_works_that_go_on_at_once_share_the_line_of_a_terminal(every_count):
    with redirect_stderr(Terminal()) as terminal, Progress("outer", 2) as outer:
        with Progress("inner", 1) as inner:
            inner.advance()
        outer.advance(2)
    assert terminal.getvalue().replace("\r", "\n").splitlines() == [
        "0 of 2 outer",
        "0 of 2 outer · 0 of 1 inner",
        "0 of 2 outer · 1 of 1 inner",
        "1 of 1 inner               ",
        "0 of 2 outer",
        "2 of 2 outer",
    ]


def test_who_is_done_late_tells_nothing_any_more(every_count, capsys):
    with Progress("read", 2) as bar:
        pass
    bar.advance()
    assert capsys.readouterr().err == "0 of 2 read\n0 of 2 read\n"
